{{/* The namespaces whose Pods are never judged, one a line: the release's own first. */}}
{{- define "pratique.exemptNamespaces" -}}
{{ concat (list .Release.Namespace) .Values.exemptNamespaces | uniq | toYaml }}
{{- end -}}

{{/* Where the API server finds the webhook: called with (dict "root" $ "path" "/validate"). */}}
{{- define "pratique.clientConfig" -}}
{{- with .root -}}
{{- if .Values.webhook.url -}}
url: {{ printf "%s%s" (trimSuffix "/" .Values.webhook.url) $.path | quote }}
{{- with .Values.webhook.caBundle }}
caBundle: {{ . | quote }}
{{- end }}
{{- else -}}
{{- if .Values.webhook.caBundle -}}
{{- fail "webhook.caBundle is set without webhook.url: the webhook in the cluster makes its own CA and writes it here itself" -}}
{{- end -}}
service:
  namespace: {{ .Release.Namespace | quote }}
  name: {{ include "pratique.webhook" . }}
  port: 443
  path: {{ $.path }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The flags that say how the webhook judges, one a line; a webhook outside the cluster is given the same.
*/}}
{{- define "pratique.flags" -}}
- --namespace={{ .Release.Namespace }}
- --unmatched-images={{ .Values.unmatchedImages }}
{{- range .Values.plainHTTP }}
- --plain-http={{ . }}
{{- end }}
- --log-level={{ .Values.logLevel }}
{{- end -}}

{{/* 90% of the memory limit, in the Go runtime's unit: the rest is for what the runtime doesn't count. */}}
{{- define "pratique.goMemoryLimit" -}}
{{- $unit := regexFind "[KMG]i$" . -}}
{{- $amount := trimSuffix $unit . | int64 -}}
{{- if eq $unit "Gi" -}}
{{- $unit = "Mi" -}}
{{- $amount = mul $amount 1024 -}}
{{- end -}}
{{ div (mul $amount 9) 10 }}{{ $unit }}B
{{- end -}}
