{{/* The namespaces whose Pods are never judged, one a line: the release's own first. */}}
{{- define "pratique.exemptNamespaces" -}}
{{ concat (list .Release.Namespace) .Values.exemptNamespaces | uniq | toYaml }}
{{- end -}}

{{/* Every other one, by the name, which the API server itself sets and nobody can change. */}}
{{- define "pratique.namespaceSelector" -}}
matchExpressions:
- key: kubernetes.io/metadata.name
  operator: NotIn
  values:
  {{- include "pratique.exemptNamespaces" . | nindent 2 }}
{{- end -}}

{{/* Every way by which a Pod gets an image. */}}
{{- define "pratique.podRules" -}}
- apiGroups: [""]
  apiVersions: [v1]
  resources: [pods]
  operations: [CREATE, UPDATE]
  scope: Namespaced
- apiGroups: [""]
  apiVersions: [v1]
  resources: [pods/ephemeralcontainers] # "pods" doesn't include it
  operations: [UPDATE]
  scope: Namespaced
{{- end -}}

{{/*
A CEL expression: not an update, or one after which a list has other names or images, or has them in another
order. It is called with the steps from an object to its PodSpec. A list of containers that is null counts as
one that isn't there: before an object is checked it may have either.
*/}}
{{- define "pratique.imagesChanged" -}}
request.operation != 'UPDATE' ||
[[object, oldObject]
  {{- range . }}
  .map({{ . }})
  {{- end }}
  .map(pod, [
    (has(pod.containers) && pod.containers != null ? pod.containers : [])
      .map(c, [c.name, has(c.image) ? c.image : '']),
    (has(pod.initContainers) ? pod.initContainers : [])
      .map(c, [c.name, has(c.image) ? c.image : '']),
    (has(pod.ephemeralContainers) ? pod.ephemeralContainers : [])
      .map(c, [c.name, has(c.image) ? c.image : '']),
    (has(pod.volumes) ? pod.volumes : []).filter(v, has(v.image))
      .map(v, [v.name, has(v.image.reference) ? v.image.reference : ''])
  ])
].exists(images, images[0] != images[1])
{{- end -}}

{{/* The steps from a Pod, and from what holds a Pod's template, as a JSON list. */}}
{{- define "pratique.inPod" -}}
["o, o.spec"]
{{- end -}}

{{- define "pratique.inTemplate" -}}
[
  "o, has(o.spec) ? o.spec : {}",
  "s, has(s.jobTemplate) && has(s.jobTemplate.spec) ? s.jobTemplate.spec : s",
  "s, has(s.template) && has(s.template.spec) ? s.template.spec : {}"
]
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
{{- fail "webhook.caBundle is set without webhook.url: the webhook in the cluster makes its own CA and writes it here itself, or cert-manager does" -}}
{{- end -}}
service:
  namespace: {{ .Release.Namespace | quote }}
  name: {{ include "pratique.webhook" . }}
  port: 443
  path: {{ $.path }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Has cert-manager write the CA into a webhook object. */}}
{{- define "pratique.injectCA" -}}
{{- if .Values.certManager.enabled -}}
annotations:
  cert-manager.io/inject-ca-from: {{ printf "%s/%s" .Release.Namespace (include "pratique.certSecret" .) | quote }}
{{- end -}}
{{- end -}}

{{/*
The flags that say how the webhook judges, one a line; a webhook outside the cluster is given the same.
*/}}
{{- define "pratique.flags" -}}
- --namespace={{ .Release.Namespace }}
- --unmatched-images={{ .Values.unmatchedImages }}
- --rollout={{ .Values.rollout }}
- --pin={{ .Values.pin.enabled }}
{{- range .Values.plainHTTP }}
- --plain-http={{ . }}
{{- end }}
{{- if .Values.denyPrivate }}
- --deny-private
{{- end }}
- --log-level={{ .Values.logLevel }}
{{- end -}}

{{/* What a webhook outside the cluster can't be given by the chart. */}}
{{- define "pratique.check" -}}
{{- if .Values.webhook.url -}}
{{- if .Values.registries -}}
{{- fail "registries is set with webhook.url: the webhook outside the cluster reads a file of its own, given with --registries=FILE" -}}
{{- end -}}
{{- if .Values.certManager.enabled -}}
{{- fail "certManager.enabled is set with webhook.url: the webhook outside the cluster has its certificate in --cert-dir" -}}
{{- end -}}
{{- end -}}
{{- $seen := dict -}}
{{- range .Values.registries -}}
{{- if hasKey $seen .prefix -}}
{{- fail (printf "registries names the prefix %s twice: one entry a prefix" .prefix) -}}
{{- end -}}
{{- $_ := set $seen .prefix true -}}
{{- end -}}
{{- end -}}

{{/* What isn't said by flags. The API server is asked without the proxy, by the address that its Service has. */}}
{{- define "pratique.environment" -}}
{{- with (.Values.resources.limits).memory }}
- name: GOMEMLIMIT
  value: {{ include "pratique.goMemoryLimit" . }}
{{- end }}
{{- if .Values.proxy.url }}
{{- range list "HTTP_PROXY" "HTTPS_PROXY" }}
- name: {{ . }}
  value: {{ $.Values.proxy.url | quote }}
{{- end }}
- name: NO_PROXY
  value: {{ prepend (.Values.proxy.exclude | default list) "$(KUBERNETES_SERVICE_HOST)" | join "," | quote }}
{{- end }}
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
