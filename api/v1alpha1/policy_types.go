package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ImagePolicy says which images may run in its own namespace. All matching policies must pass: an
// ImagePolicy can only add to what the cluster's policies ask for.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=pip,categories=pratique
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.status.mode`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Rule",type=string,JSONPath=`.status.rule`
// +kubebuilder:printcolumn:name="Guaranteed",type=string,JSONPath=`.status.conditions[?(@.type=="Guaranteed")].status`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ImagePolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ImagePolicySpec `json:"spec"`
	Status PolicyStatus    `json:"status,omitempty"`
}

// ImagePolicyList is a list of ImagePolicy.
//
// +kubebuilder:object:root=true
type ImagePolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ImagePolicy `json:"items"`
}

// ClusterImagePolicy says which images may run in the namespaces that it selects: all that are not
// exempt from the webhook where it has no namespaceSelector.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=cpip,categories=pratique
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.status.mode`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Rule",type=string,JSONPath=`.status.rule`
// +kubebuilder:printcolumn:name="Guaranteed",type=string,JSONPath=`.status.conditions[?(@.type=="Guaranteed")].status`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ClusterImagePolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ClusterImagePolicySpec `json:"spec"`
	Status PolicyStatus           `json:"status,omitempty"`
}

// ClusterImagePolicyList is a list of ClusterImagePolicy.
//
// +kubebuilder:object:root=true
type ClusterImagePolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterImagePolicy `json:"items"`
}

// Mode says what a policy's refusal does.
//
// +kubebuilder:validation:Enum=Enforce;Warn;Audit
type Mode string

// The modes. An absent mode is Enforce.
const (
	ModeEnforce Mode = "Enforce" // the request is refused
	ModeWarn    Mode = "Warn"    // the request passes, its author sees a warning
	ModeAudit   Mode = "Audit"   // the request passes, the audit log tells
)

// ImagePolicySpec is what an ImagePolicy asks for. Exactly one of require, allow and deny is set.
//
// +kubebuilder:validation:XValidation:rule="(has(self.require) ? 1 : 0) + (has(self.allow) ? 1 : 0) + (has(self.deny) ? 1 : 0) == 1",message="exactly one of require, allow and deny must be set"
// +kubebuilder:validation:XValidation:rule="!has(self.acceptSummary) || has(self.require)",message="acceptSummary stands in for requirements: it needs require"
// +kubebuilder:validation:XPreserveUnknownFields
type ImagePolicySpec struct {
	// mode is Enforce (default), Warn or Audit.
	// +optional
	Mode Mode `json:"mode,omitempty"`

	// images says which images the policy is about.
	Images Images `json:"images"`

	// references says how an image may be named.
	// +optional
	References *References `json:"references,omitempty"`

	// authorities are those who may vouch for an image, by name.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	Authorities []Authority `json:"authorities,omitempty"`

	// require lists what an image must show; every requirement that is set must hold.
	// +optional
	Require *Require `json:"require,omitempty"`

	// allow lets the matching images in without papers, as far as this policy goes.
	// +optional
	Allow *Because `json:"allow,omitempty"`

	// deny refuses the matching images; with a digest in images.include this is revocation.
	// +optional
	Deny *Because `json:"deny,omitempty"`

	// acceptSummary lets a verification summary (SLSA VSA) stand in for the listed requirements.
	// +optional
	AcceptSummary *AcceptSummary `json:"acceptSummary,omitempty"`
}

// ClusterImagePolicySpec is ImagePolicySpec, its rules included, with what only the cluster's administrators may say.
//
// +kubebuilder:validation:XPreserveUnknownFields
type ClusterImagePolicySpec struct {
	ImagePolicySpec `json:",inline"`

	// namespaceSelector selects the namespaces by their labels; absent means every namespace that isn't exempt.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`

	// namespaceExceptions says how far a namespace's ImageException may loosen this policy.
	// +optional
	NamespaceExceptions *NamespaceExceptions `json:"namespaceExceptions,omitempty"`
}

// Images selects images by reference.
//
// +kubebuilder:validation:XPreserveUnknownFields
type Images struct {
	// include lists patterns of host and path, matched apart and by segment: * stays inside a segment,
	// ** crosses; a pattern may end in @sha256:... A lone ** is any image of any host.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Include []string `json:"include"`

	// exclude lists patterns that the policy is not about.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Exclude []string `json:"exclude,omitempty"`

	// platforms lists the children of an index that must have papers, as os/arch[/variant]; default: every runnable one.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=98
	Platforms []string `json:"platforms,omitempty"`
}

// TagRule says what happens to an image named by a tag.
//
// +kubebuilder:validation:Enum=Pin;Deny;Allow
type TagRule string

// The tag rules.
const (
	TagsPin   TagRule = "Pin"   // rewritten to its digest on Pods
	TagsDeny  TagRule = "Deny"  // refused, with the digest to use
	TagsAllow TagRule = "Allow" // checked, not rewritten, with a warning of the race
)

// References says how an image may be named.
//
// +kubebuilder:validation:XPreserveUnknownFields
type References struct {
	// tags says what happens to an image named by a tag without a digest: Pin (default), Deny or Allow.
	// +optional
	Tags TagRule `json:"tags,omitempty"`

	// allow lists globs of which a written tag must match one; empty: any.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	Allow []string `json:"allow,omitempty"`

	// deny lists globs of which a written tag must match none.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	Deny []string `json:"deny,omitempty"`
}

// Because carries the reason that people are shown.
//
// +kubebuilder:validation:XPreserveUnknownFields
type Because struct {
	// reason is shown to people and kept in the audit log.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason"`
}

// NamespaceExceptions bounds what a namespace's exceptions may loosen in a cluster policy.
//
// +kubebuilder:validation:XPreserveUnknownFields
type NamespaceExceptions struct {
	// severities lists the severities whose findings a namespace may except.
	// +optional
	// +kubebuilder:validation:MaxItems=5
	// +kubebuilder:validation:items:Enum=critical;high;medium;low;negligible
	Severities []string `json:"severities,omitempty"`

	// maxDuration bounds how long such an exception lasts.
	// +optional
	MaxDuration *metav1.Duration `json:"maxDuration,omitempty"`
}

// PolicyStatus tells what became of a policy.
type PolicyStatus struct {
	// observedGeneration is the generation that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Ready is True when the policy is in force as written; False when it can't be used, in
	// which case it refuses what it matches. Guaranteed, on policies that enforce, is True when their
	// refusals hold also while the webhook doesn't answer; False when the install lets images in meanwhile.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// mode is the mode in force.
	// +optional
	Mode Mode `json:"mode,omitempty"`

	// rule is what was compiled, in one line.
	// +optional
	Rule string `json:"rule,omitempty"`

	// authorities lists the authorities as resolved.
	// +optional
	// +listType=map
	// +listMapKey=name
	Authorities []AuthorityStatus `json:"authorities,omitempty"`

	// policyDigest is sha256 of the RFC 8785 JSON of what is asked for: the authorities by fingerprint, the requirements, the platforms that
	// these are about, and acceptSummary.
	// +optional
	PolicyDigest string `json:"policyDigest,omitempty"`
}

// AuthorityStatus tells which material an authority stands for.
type AuthorityStatus struct {
	// name of the authority in the policy.
	Name string `json:"name"`

	// fingerprint identifies the resolved material: another key is another fingerprint.
	// +optional
	Fingerprint string `json:"fingerprint,omitempty"`

	// publicKeys are the public keys in use.
	// +optional
	PublicKeys []PublicKeyStatus `json:"publicKeys,omitempty"`

	// identities are those of whom one must have signed, in words: subject and issuer, patterns between slashes.
	// +optional
	// +listType=atomic
	Identities []string `json:"identities,omitempty"`

	// trustRoot is whose logs, certificate authorities and timestamp authorities count.
	// +optional
	TrustRoot *TrustRootInUse `json:"trustRoot,omitempty"`

	// lastReadError says why the last reading of a referenced Secret or ConfigMap failed, or why the authority can't be had; beside a fingerprint, the material read before is still in use.
	// +optional
	LastReadError string `json:"lastReadError,omitempty"`
}

// TrustRootInUse is a TrustRoot that an authority refers to.
type TrustRootInUse struct {
	// name of the TrustRoot.
	Name string `json:"name"`

	// digest identifies what is trusted, as the TrustRoot's own status shows it; absent where it can't be used.
	// +optional
	Digest string `json:"digest,omitempty"`

	// message says what is to be known of it.
	// +optional
	Message string `json:"message,omitempty"`
}

// PublicKeyStatus is one public key in use.
type PublicKeyStatus struct {
	// fingerprint is SHA256:<hex of the SHA-256 of the key's PKIX DER>.
	Fingerprint string `json:"fingerprint"`

	// pem is the key as a PEM block, PKIX.
	PEM string `json:"pem"`
}
