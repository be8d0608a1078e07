package v1alpha1

// Authority is someone who may vouch for an image. Exactly one of key, keyless and certificate is set.
//
// +kubebuilder:validation:XPreserveUnknownFields
// +kubebuilder:validation:XValidation:rule="(has(self.key) ? 1 : 0) + (has(self.keyless) ? 1 : 0) + (has(self.certificate) ? 1 : 0) == 1",message="exactly one of key, keyless and certificate must be set"
type Authority struct {
	// name is how requirements refer to it.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// key: whoever holds one of these public keys' private halves.
	// +optional
	Key *KeyAuthority `json:"key,omitempty"`

	// keyless: whoever had such an identity confirmed by a Fulcio certificate.
	// +optional
	Keyless *KeylessAuthority `json:"keyless,omitempty"`

	// certificate: whoever holds such a certificate of an own PKI.
	// +optional
	Certificate *CertificateAuthority `json:"certificate,omitempty"`

	// log says whether a transparency log entry is asked for: Optional (default for key and certificate) or Required
	// (default for keyless). What is Optional need not be there; where it is there, its time counts.
	// +optional
	Log Demand `json:"log,omitempty"`

	// timestamp says whether a signed timestamp (RFC 3161) is asked for: Optional (default) or Required.
	// +optional
	Timestamp Demand `json:"timestamp,omitempty"`

	// repository is where this authority's papers are kept, as HOST/PATH, if not beside the image.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Repository string `json:"repository,omitempty"`
}

// Demand says whether something must be there.
//
// +kubebuilder:validation:Enum=Optional;Required
type Demand string

// The demands.
const (
	DemandOptional Demand = "Optional"
	DemandRequired Demand = "Required"
)

// KeyAuthority is one or several public keys, as PEM (PKIX "PUBLIC KEY"). Exactly one source is set.
//
// +kubebuilder:validation:XPreserveUnknownFields
// +kubebuilder:validation:XValidation:rule="(has(self.data) ? 1 : 0) + (has(self.secretRef) ? 1 : 0) + (has(self.configMapRef) ? 1 : 0) + (has(self.kms) ? 1 : 0) == 1",message="exactly one of data, secretRef, configMapRef and kms must be set"
type KeyAuthority struct {
	// data holds the keys themselves, as PEM.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	Data string `json:"data,omitempty"`

	// secretRef names a Secret of the policy's own namespace (of the install's for a ClusterImagePolicy).
	// +optional
	SecretRef *KeySelector `json:"secretRef,omitempty"`

	// configMapRef names a ConfigMap of the policy's own namespace (of the install's for a ClusterImagePolicy).
	// +optional
	ConfigMapRef *KeySelector `json:"configMapRef,omitempty"`

	// kms is the URI of a key in a key management service; only in a ClusterImagePolicy.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	KMS string `json:"kms,omitempty"`

	// trustRoot names the TrustRoot whose logs and timestamp authorities count. Left out, it is sigstore-public where log or
	// timestamp says anything, and otherwise none: the signature alone counts, and has no time.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	TrustRoot string `json:"trustRoot,omitempty"`
}

// KeySelector names one entry of a Secret or ConfigMap.
//
// +kubebuilder:validation:XPreserveUnknownFields
type KeySelector struct {
	// name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// key of the entry in it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// KeylessAuthority is a set of identities that a Fulcio of the trust root confirms.
//
// +kubebuilder:validation:XPreserveUnknownFields
type KeylessAuthority struct {
	// trustRoot names the TrustRoot whose certificate authorities, logs and timestamp authorities count; default sigstore-public.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	TrustRoot string `json:"trustRoot,omitempty"`

	// identities of which a certificate must match one.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Identities []Identity `json:"identities"`
}

// Identity is an issuer and a subject, each exact or an RE2 pattern that is anchored for you.
//
// +kubebuilder:validation:XPreserveUnknownFields
// +kubebuilder:validation:XValidation:rule="has(self.issuer) != has(self.issuerPattern)",message="exactly one of issuer and issuerPattern must be set: is it there by another name? An identity has issuer or issuerPattern, subject or subjectPattern, and extensions"
// +kubebuilder:validation:XValidation:rule="has(self.subject) != has(self.subjectPattern)",message="exactly one of subject and subjectPattern must be set: is it there by another name? An identity has issuer or issuerPattern, subject or subjectPattern, and extensions"
type Identity struct {
	// issuer is the exact URL of the OIDC issuer.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Issuer string `json:"issuer,omitempty"`

	// issuerPattern is RE2, anchored at both ends.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	IssuerPattern string `json:"issuerPattern,omitempty"`

	// subject is the exact subject alternative name.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Subject string `json:"subject,omitempty"`

	// subjectPattern is RE2, anchored at both ends.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	SubjectPattern string `json:"subjectPattern,omitempty"`

	// extensions are Fulcio's certificate extensions by Fulcio's own names, exact.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Extensions map[string]string `json:"extensions,omitempty"`
}

// CertificateAuthority is a set of identities that certificates of an own PKI confirm.
//
// +kubebuilder:validation:XPreserveUnknownFields
type CertificateAuthority struct {
	// trustRoot names the TrustRoot whose logs and timestamp authorities count. Left out, it is sigstore-public where log or
	// timestamp says anything, and otherwise none: the certificate must then be valid now.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	TrustRoot string `json:"trustRoot,omitempty"`

	// roots are the trusted roots, as PEM.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	Roots string `json:"roots"`

	// identities of which a certificate must match one.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Identities []CertificateIdentity `json:"identities"`
}

// CertificateIdentity is a subject alternative name (or subject), exact or an RE2 pattern that is anchored for you.
//
// +kubebuilder:validation:XPreserveUnknownFields
// +kubebuilder:validation:XValidation:rule="has(self.subject) != has(self.subjectPattern)",message="exactly one of subject and subjectPattern must be set: is it there by another name? A certificate's identity has nothing else"
type CertificateIdentity struct {
	// subject is the exact name.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Subject string `json:"subject,omitempty"`

	// subjectPattern is RE2, anchored at both ends.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	SubjectPattern string `json:"subjectPattern,omitempty"`
}
