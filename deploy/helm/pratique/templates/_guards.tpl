{{/*
What the guards share. A guard's matchConditions say which requests are its business, its one validation who may
make them: whoever holds a verb of the group pratique.dev, which RBAC grants like any other.
*/}}

{{/* Name and labels of a guard: called with (dict "root" $ "name" "policies"). */}}
{{- define "pratique.guardMetadata" -}}
metadata:
  name: {{ include "pratique.fullname" .root }}-{{ .name }}
  labels:
    {{- include "pratique.labels" .root | nindent 4 }}
{{- end -}}

{{/* What puts it in force; called likewise. */}}
{{- define "pratique.guardBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
{{ include "pratique.guardMetadata" . }}
spec:
  policyName: {{ include "pratique.fullname" .root }}-{{ .name }}
  validationActions: [Deny]
{{- end -}}

{{/*
CEL: not a deletion by which the cluster clears up, of what is in a namespace that goes or has lost its last owner.
*/}}
{{- define "pratique.notClearedUp" -}}
request.operation != 'DELETE' || !(request.userInfo.username in [
  'system:kube-controller-manager',
  'system:serviceaccount:kube-system:namespace-controller',
  'system:serviceaccount:kube-system:generic-garbage-collector'
])
{{- end -}}

{{/*
CEL: an update gave the object an owner. The garbage collector, which may clear up, would take it away with that
one, or at once where there is none.
*/}}
{{- define "pratique.newOwner" -}}
object.metadata.?ownerReferences.orValue([]).exists(now,
  !oldObject.metadata.?ownerReferences.orValue([]).exists(was,
    was.uid == now.uid && was.name == now.name && was.kind == now.kind && was.apiVersion == now.apiVersion))
{{- end -}}

{{/* CEL: an update changed labels. */}}
{{- define "pratique.labelsChanged" -}}
object.metadata.?labels.orValue({}) != oldObject.metadata.?labels.orValue({})
{{- end -}}

{{/* CEL: an update changed a webhook in more than the caBundle. A test holds the fields to Kubernetes' own types. */}}
{{- define "pratique.webhooksChanged" -}}
[[object, oldObject].map(o, o.?webhooks.orValue([]).map(w, [
  w.?name, w.?clientConfig.?url, w.?clientConfig.?service, w.?rules, w.?failurePolicy, w.?matchPolicy,
  w.?namespaceSelector, w.?objectSelector, w.?sideEffects, w.?timeoutSeconds, w.?admissionReviewVersions,
  w.?matchConditions, w.?reinvocationPolicy
]))].exists(asked, asked[0] != asked[1])
{{- end -}}

{{/* Part of a message, in CEL: the cure. Called with CEL for the resource, for the object's name, and a verb. */}}
{{- define "pratique.grant" -}}
' with the rule {apiGroups: [pratique.dev], resources: [' + {{ .resource }} + '], resourceNames: ["' +
{{ .name }} + '"], verbs: [{{ .verb }}]}'
{{- end -}}
