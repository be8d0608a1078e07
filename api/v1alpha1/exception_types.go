package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ImageException excuses vulnerabilities in some images, for a time: for the policies of its own namespace, and for a
// ClusterImagePolicy as far as its namespaceExceptions go. It loosens nothing but what policies say of vulnerabilities, and never
// a signature or a provenance. What it says can't be changed: write another, and delete this one.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=pie,categories=pratique
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expires`
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.spec.owner`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.spec.reason`
// +kubebuilder:printcolumn:name="In force",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ImageException struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ImageExceptionSpec   `json:"spec"`
	Status ImageExceptionStatus `json:"status,omitempty"`
}

// ImageExceptionList is a list of ImageException.
//
// +kubebuilder:object:root=true
type ImageExceptionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ImageException `json:"items"`
}

// ImageExceptionSpec says what is excused, in which images, for how long, and who answers for it.
//
// +kubebuilder:validation:XPreserveUnknownFields
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="an ImageException can't be changed: write another, and delete this one"
type ImageExceptionSpec struct {
	// owner is who answers for it: a person or a team, as people find them.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Owner string `json:"owner"`

	// reason is shown to people and kept in the audit log.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason"`

	// expires is a date (good through that day, UTC) or RFC 3339, at most 90 days after the exception was created.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Expires string `json:"expires"`

	// images lists patterns, as images.include of policies does, of the images that it is about.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Images []string `json:"images"`

	// ids lists the vulnerabilities, each by its id or any alias, for instance CVE-2024-3094 or GHSA-7ww5-4wqc-m92c.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	IDs []string `json:"ids"`
}

// ImageExceptionStatus tells what became of an exception.
type ImageExceptionStatus struct {
	// observedGeneration is the generation that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Ready is True while the exception is in force; False when it has ended, can't be used, or is one of too many
	// in its namespace, and so excuses nothing.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// expires is when it ends: what spec.expires says, or 90 days after it was created where that is earlier.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
}
