package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TrustRoot says whose certificate authorities, transparency logs and timestamp authorities count. Authorities refer to it by name.
// Where no object is called sigstore-public, that name means the public good instance, whose root comes with the release.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=troot,categories=pratique
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Fresh",type=string,JSONPath=`.status.conditions[?(@.type=="Fresh")].status`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TrustRoot struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   TrustRootSpec   `json:"spec"`
	Status TrustRootStatus `json:"status,omitempty"`
}

// TrustRootList is a list of TrustRoot.
//
// +kubebuilder:object:root=true
type TrustRootList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TrustRoot `json:"items"`
}

// TrustRootSpec says where trusted roots come from, and how much proof is asked of them.
//
// +kubebuilder:validation:XPreserveUnknownFields
type TrustRootSpec struct {
	// sources are united: whoever any of them trusts is trusted. Several are for the time while one replaces another.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Sources []TrustRootSource `json:"sources"`

	// thresholds say of how many distinct logs and authorities proof is asked, where it is asked at all.
	// +optional
	Thresholds *TrustRootThresholds `json:"thresholds,omitempty"`
}

// TrustRootSource is where one trusted_root.json comes from. Exactly one of its fields is set.
//
// +kubebuilder:validation:XPreserveUnknownFields
// +kubebuilder:validation:XValidation:rule="(has(self.public) ? 1 : 0) + (has(self.data) ? 1 : 0) + (has(self.secretRef) ? 1 : 0) + (has(self.configMapRef) ? 1 : 0) + (has(self.tuf) ? 1 : 0) == 1",message="exactly one of public, data, secretRef, configMapRef and tuf must be set"
type TrustRootSource struct {
	// public: the Sigstore project's public good instance, as this release knows it.
	// +optional
	Public *PublicTrustRoot `json:"public,omitempty"`

	// data is the text of a trusted_root.json.
	// +optional
	// +kubebuilder:validation:MaxLength=262144
	Data string `json:"data,omitempty"`

	// secretRef names an entry, which holds a trusted_root.json, of a Secret of the install's namespace.
	// +optional
	SecretRef *KeySelector `json:"secretRef,omitempty"`

	// configMapRef names an entry, which holds a trusted_root.json, of a ConfigMap of the install's namespace.
	// +optional
	ConfigMapRef *KeySelector `json:"configMapRef,omitempty"`

	// tuf: a mirror that is asked again and again (The Update Framework).
	// +optional
	TUF *TUFSource `json:"tuf,omitempty"`
}

// PublicTrustRoot is the public good instance. There is nothing to say of it.
//
// +kubebuilder:validation:XPreserveUnknownFields
type PublicTrustRoot struct{}

// TUFSource is a repository of The Update Framework that has a trusted_root.json.
//
// +kubebuilder:validation:XPreserveUnknownFields
type TUFSource struct {
	// mirror is the repository's URL, by https.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Mirror string `json:"mirror"`

	// root is the text of the root.json to begin with; it may be left out for https://tuf-repo-cdn.sigstore.dev alone.
	// +optional
	// +kubebuilder:validation:MaxLength=512000
	Root string `json:"root,omitempty"`

	// target is the name of the trusted root in the repository; default trusted_root.json.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Target string `json:"target,omitempty"`

	// refreshEvery is how often the mirror is asked, from 1m to 720h; default 24h.
	// +optional
	RefreshEvery *metav1.Duration `json:"refreshEvery,omitempty"`
}

// TrustRootThresholds say of how many distinct logs and authorities proof is asked, where it is asked at all.
//
// +kubebuilder:validation:XPreserveUnknownFields
type TrustRootThresholds struct {
	// logs that must have an entry; default 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=8
	Logs *int32 `json:"logs,omitempty"`

	// timestamps by distinct authorities; default 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=8
	Timestamps *int32 `json:"timestamps,omitempty"`

	// signedCertificateTimestamps that a Fulcio certificate must have; default 1. 0: none is asked for.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=8
	SignedCertificateTimestamps *int32 `json:"signedCertificateTimestamps,omitempty"`
}

// TrustRootStatus tells what became of a TrustRoot.
type TrustRootStatus struct {
	// observedGeneration is the generation that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Ready is True when at least one source is in use; False when there is none, in which case the policies
	// that refer to it can't be used. Fresh is False when a source could not be read again.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// digest identifies what is trusted: the texts in force and the thresholds. Policies' statuses show it.
	// +optional
	Digest string `json:"digest,omitempty"`

	// sources tells of each source, in the order of spec.sources.
	// +optional
	// +listType=atomic
	Sources []TrustRootSourceStatus `json:"sources,omitempty"`

	// trustedRoots are the texts in force, each a trusted_root.json.
	// +optional
	// +listType=atomic
	TrustedRoots []string `json:"trustedRoots,omitempty"`
}

// TrustRootSourceStatus tells what became of one source.
type TrustRootSourceStatus struct {
	// kind is public, data, secretRef, configMapRef or tuf.
	Kind string `json:"kind"`

	// digest is sha256 of the text in force; absent where the source is not in use.
	// +optional
	Digest string `json:"digest,omitempty"`

	// fetchedAt is when that text was first read.
	// +optional
	FetchedAt *metav1.Time `json:"fetchedAt,omitempty"`

	// expires is until when a mirror's text is used if the mirror can't be asked again.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`

	// error says why the last reading failed. Beside a digest, the text read before is still in use.
	// +optional
	Error string `json:"error,omitempty"`
}
