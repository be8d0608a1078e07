{{/*
Names and labels. The objects of a release called pratique are called pratique or pratique-webhook; those of
a release called x, x-pratique or x-pratique-webhook.
*/}}

{{- define "pratique.fullname" -}}
{{- if contains "pratique" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-pratique" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "pratique.webhook" -}}
{{ include "pratique.fullname" . }}-webhook
{{- end -}}

{{/* The Secret that holds the serving certificate and its CA; also cert-manager's Certificate that fills it. */}}
{{- define "pratique.certSecret" -}}
{{ include "pratique.webhook" . }}-tls
{{- end -}}

{{/* The CA that the chart has cert-manager make. */}}
{{- define "pratique.certManagerCA" -}}
{{ include "pratique.webhook" . }}-ca
{{- end -}}

{{/* The ConfigMap that holds what the webhook is told about registries. */}}
{{- define "pratique.registries" -}}
{{ include "pratique.fullname" . }}-registries
{{- end -}}

{{- define "pratique.selectorLabels" -}}
app.kubernetes.io/name: pratique
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end -}}

{{- define "pratique.labels" -}}
app.kubernetes.io/name: pratique
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The webhook's image: the digest wins over the tag, and no tag means the chart's appVersion. */}}
{{- define "pratique.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
