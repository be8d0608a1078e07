package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Require lists what an image must show. Requirements are independent: a policy with only
// vulnerabilities asks for no signature. At least one is set.
//
// +kubebuilder:validation:XPreserveUnknownFields
// +kubebuilder:validation:MinProperties=1
type Require struct {
	// signature: the image itself was signed.
	// +optional
	Signature *SignatureRequirement `json:"signature,omitempty"`

	// sbom: a bill of materials.
	// +optional
	SBOM *SBOMRequirement `json:"sbom,omitempty"`

	// vulnerabilities: a scan, and what it may have found.
	// +optional
	Vulnerabilities *VulnerabilitiesRequirement `json:"vulnerabilities,omitempty"`

	// secrets: a scan that looked for secrets in the layers found none.
	// +optional
	Secrets *SecretsRequirement `json:"secrets,omitempty"`

	// provenance: who built it, from what.
	// +optional
	Provenance *ProvenanceRequirement `json:"provenance,omitempty"`

	// tests that passed.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	Tests []TestRequirement `json:"tests,omitempty"`

	// approvals by people.
	// +optional
	Approvals *ApprovalsRequirement `json:"approvals,omitempty"`

	// promotion: it was promoted to this environment.
	// +optional
	Promotion *PromotionRequirement `json:"promotion,omitempty"`

	// custom rules over any predicate.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	Custom []CustomRequirement `json:"custom,omitempty"`
}

// SignatureRequirement asks for signatures on the digest that runs.
//
// +kubebuilder:validation:XPreserveUnknownFields
type SignatureRequirement struct {
	// by names the authorities that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	By []string `json:"by"`

	// atLeast is how many distinct signers are needed; default 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	AtLeast *int32 `json:"atLeast,omitempty"`
}

// SBOMRequirement asks for a bill of materials.
//
// +kubebuilder:validation:XPreserveUnknownFields
type SBOMRequirement struct {
	// by names the authorities that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	By []string `json:"by"`

	// formats that count: SPDX, CycloneDX; empty: any.
	// +optional
	// +kubebuilder:validation:MaxItems=2
	Formats []SBOMFormat `json:"formats,omitempty"`

	// minPackages is how many packages it must name.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	MinPackages *int32 `json:"minPackages,omitempty"`

	// maxAge of the document.
	// +optional
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`

	// licenses that its packages may have.
	// +optional
	Licenses *Licenses `json:"licenses,omitempty"`
}

// SBOMFormat names a format of bills of materials.
//
// +kubebuilder:validation:Enum=SPDX;CycloneDX
type SBOMFormat string

// Licenses says which licences packages may have; globs match one whole SPDX identifier without regard to case.
//
// +kubebuilder:validation:XPreserveUnknownFields
type Licenses struct {
	// deny lists what may not be there.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	Deny []string `json:"deny,omitempty"`

	// allow lists what may be there; empty: any that isn't denied.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	Allow []string `json:"allow,omitempty"`

	// unknown says what an unknown licence does: Allow, Warn or Deny.
	// +optional
	// +kubebuilder:validation:Enum=Allow;Warn;Deny
	Unknown string `json:"unknown,omitempty"`

	// exceptions by package and licence.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	Exceptions []LicenseException `json:"exceptions,omitempty"`
}

// LicenseException excuses one licence in some packages until it expires.
//
// +kubebuilder:validation:XPreserveUnknownFields
type LicenseException struct {
	// package is a glob over package names.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Package string `json:"package"`
	// license is the SPDX identifier.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	License string `json:"license"`
	// reason is shown to people.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason"`
	// expires is a date (good through that day, UTC) or RFC 3339.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Expires string `json:"expires"`
}

// VulnerabilitiesRequirement asks for a scan and limits what it found.
//
// +kubebuilder:validation:XPreserveUnknownFields
type VulnerabilitiesRequirement struct {
	// by names the authorities that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	By []string `json:"by"`

	// maxAge of the scan.
	// +optional
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`

	// max by severity; above: the requirement is violated; a severity left out is not limited.
	// +optional
	Max *SeverityCounts `json:"max,omitempty"`

	// warn by severity; above: a warning.
	// +optional
	Warn *SeverityCounts `json:"warn,omitempty"`

	// unknown says how an unknown severity counts.
	// +optional
	// +kubebuilder:validation:Enum=critical;high;medium;low;negligible
	Unknown string `json:"unknown,omitempty"`

	// onlyFixable leaves out findings without a fix.
	// +optional
	OnlyFixable bool `json:"onlyFixable,omitempty"`

	// scanners that count; empty: any.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	Scanners []string `json:"scanners,omitempty"`

	// maxDatabaseAge of the scanner's database at the time of the scan.
	// +optional
	MaxDatabaseAge *metav1.Duration `json:"maxDatabaseAge,omitempty"`

	// exceptions by vulnerability id.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	Exceptions []VulnerabilityException `json:"exceptions,omitempty"`

	// vex says whose VEX documents count.
	// +optional
	VEX *VEX `json:"vex,omitempty"`
}

// SeverityCounts counts findings by severity.
//
// +kubebuilder:validation:XPreserveUnknownFields
type SeverityCounts struct {
	// +optional
	// +kubebuilder:validation:Minimum=0
	Critical *int32 `json:"critical,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	High *int32 `json:"high,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	Medium *int32 `json:"medium,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	Low *int32 `json:"low,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	Negligible *int32 `json:"negligible,omitempty"`
}

// VulnerabilityException excuses one vulnerability until it expires.
//
// +kubebuilder:validation:XPreserveUnknownFields
type VulnerabilityException struct {
	// id or any alias of it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	ID string `json:"id"`
	// reason is shown to people.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason"`
	// expires is a date (good through that day, UTC) or RFC 3339.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Expires string `json:"expires"`
}

// VEX names the authorities whose VEX documents may remove findings.
//
// +kubebuilder:validation:XPreserveUnknownFields
type VEX struct {
	// by names the authorities that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	By []string `json:"by"`
}

// SecretsRequirement asks for a scan that looked for secrets in the layers and found none.
//
// +kubebuilder:validation:XPreserveUnknownFields
type SecretsRequirement struct {
	// by names the authorities that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	By []string `json:"by"`

	// maxAge of the scan.
	// +optional
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
}

// ProvenanceRequirement asks for SLSA provenance. Each pair of lists, exact and of patterns, is one set of what counts; both
// empty: any.
//
// +kubebuilder:validation:XPreserveUnknownFields
type ProvenanceRequirement struct {
	// by names the authorities that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	By []string `json:"by"`

	// builders by builder id, exact.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Builders []string `json:"builders,omitempty"`

	// builderPatterns are RE2 over builder ids, anchored at both ends.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	BuilderPatterns []string `json:"builderPatterns,omitempty"`

	// sources it was built from, exact; compared without their @ref.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Sources []string `json:"sources,omitempty"`

	// sourcePatterns are RE2 over sources without their @ref, anchored at both ends.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	SourcePatterns []string `json:"sourcePatterns,omitempty"`

	// refs it was built from, exact, for instance refs/heads/main.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Refs []string `json:"refs,omitempty"`

	// refPatterns are RE2 over refs, anchored at both ends.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	RefPatterns []string `json:"refPatterns,omitempty"`

	// buildTypes that count, exact.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	BuildTypes []string `json:"buildTypes,omitempty"`

	// buildTypePatterns are RE2 over build types, anchored at both ends.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	BuildTypePatterns []string `json:"buildTypePatterns,omitempty"`
}

// TestRequirement asks for one test that passed.
//
// +kubebuilder:validation:XPreserveUnknownFields
type TestRequirement struct {
	// name of the test: a configuration's name or an entry of passedTests.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`
	// by names the authorities that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	By []string `json:"by"`
	// maxAge of the result.
	// +optional
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
}

// ApprovalsRequirement asks people for their consent, for this digest and environment.
//
// +kubebuilder:validation:XPreserveUnknownFields
type ApprovalsRequirement struct {
	// by names the authorities that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	By []string `json:"by"`
	// atLeast is how many distinct signers are needed; default 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	AtLeast *int32 `json:"atLeast,omitempty"`
	// environment that the approval names.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Environment string `json:"environment"`
	// maxAge of the approval.
	// +optional
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
}

// PromotionRequirement asks for the promotion of this digest to an environment.
//
// +kubebuilder:validation:XPreserveUnknownFields
type PromotionRequirement struct {
	// by names the authorities that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	By []string `json:"by"`
	// to is the environment that the promotion names.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	To string `json:"to"`
}

// CustomRequirement judges any predicate with CEL.
//
// +kubebuilder:validation:XPreserveUnknownFields
type CustomRequirement struct {
	// predicateType, the full URI.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	PredicateType string `json:"predicateType"`
	// by names the authorities that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	By []string `json:"by"`
	// rules, all of which must hold.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Rules []CustomRule `json:"rules"`
}

// CustomRule is one CEL expression and what to say when it doesn't hold.
//
// +kubebuilder:validation:XPreserveUnknownFields
type CustomRule struct {
	// cel is the expression.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	CEL string `json:"cel"`
	// message is shown when it doesn't hold.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message"`
}

// AcceptSummary lets a verification summary of this signer and verifier stand in for requirements.
//
// +kubebuilder:validation:XPreserveUnknownFields
type AcceptSummary struct {
	// by names the authorities that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	By []string `json:"by"`
	// verifierID is the verifier that the summary names.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	VerifierID string `json:"verifierID"`
	// insteadOf lists the requirements, by their names in require.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=32
	InsteadOf []string `json:"insteadOf"`
	// maxAge of the summary.
	// +optional
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
}
