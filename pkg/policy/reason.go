package policy

import "github.com/pratique-dev/pratique/pkg/verify"

// Reason is why, for machines: the same code in the kubectl message, the audit annotation, the log, the metric label and
// docs/reasons.md. The set is closed.
type Reason string

// The reasons.
const (
	Verified         Reason = "Verified"
	AllowedByPolicy  Reason = "AllowedByPolicy"
	NoPolicyInForce  Reason = "NoPolicyInForce"
	ImagesUnchanged  Reason = "ImagesUnchanged"
	NoImages         Reason = "NoImages"
	TagMayMove       Reason = "TagMayMove"
	EvidenceIsStale  Reason = "EvidenceIsStale"
	KeyNotReadAgain  Reason = "KeyNotReadAgain"
	DeniedByPolicy   Reason = "DeniedByPolicy"
	NoPolicyMatches  Reason = "NoPolicyMatches"
	PolicyUnusable   Reason = "PolicyUnusable"
	InvalidReference Reason = "InvalidReference"
	TagNotAllowed    Reason = "TagNotAllowed"
	NotPinned        Reason = "NotPinned"

	NoTrustedSignature Reason = "NoTrustedSignature"
	TooFewSigners      Reason = "TooFewSigners"

	NoSBOM            Reason = "NoSBOM"
	NoScan            Reason = "NoScan"
	NoSecretScan      Reason = "NoSecretScan"
	NoProvenance      Reason = "NoProvenance"
	NoTestResult      Reason = "NoTestResult"
	NoApproval        Reason = "NoApproval"
	NoPromotion       Reason = "NoPromotion"
	NoStatement       Reason = "NoStatement"
	PaperMalformed    Reason = "PaperMalformed"
	TooOld            Reason = "TooOld"
	NoTime            Reason = "NoTime"
	DatedAhead        Reason = "DatedAhead"
	VerifiedBySummary Reason = "VerifiedBySummary"
	NoSummary         Reason = "NoSummary"

	WrongFormat            Reason = "WrongFormat"
	TooFewPackages         Reason = "TooFewPackages"
	LicenseDenied          Reason = "LicenseDenied"
	LicenseUnknown         Reason = "LicenseUnknown"
	TooManyVulnerabilities Reason = "TooManyVulnerabilities"
	WrongScanner           Reason = "WrongScanner"
	DatabaseTooOld         Reason = "DatabaseTooOld"
	SecretsFound           Reason = "SecretsFound"
	ExceptionEnding        Reason = "ExceptionEnding"
	WrongBuilder           Reason = "WrongBuilder"
	WrongSource            Reason = "WrongSource"
	WrongRef               Reason = "WrongRef"
	WrongBuildType         Reason = "WrongBuildType"
	BuilderNotSigner       Reason = "BuilderNotSigner"
	TestFailed             Reason = "TestFailed"
	TooFewApprovals        Reason = "TooFewApprovals"
	WrongEnvironment       Reason = "WrongEnvironment"
	WrongRepository        Reason = "WrongRepository"
	RuleViolated           Reason = "RuleViolated"
	RuleFailed             Reason = "RuleFailed"

	RegistryUnavailable  Reason = "RegistryUnavailable"
	RegistryUnauthorized Reason = "RegistryUnauthorized"
	RegistryForbidden    Reason = "RegistryForbidden"
	ImageNotFound        Reason = "ImageNotFound"
	ImageMalformed       Reason = "ImageMalformed"
	IndexTooLarge        Reason = "IndexTooLarge"
	PlatformMissing      Reason = "PlatformMissing"
	TooLarge             Reason = "TooLarge"
	TooManyPapers        Reason = "TooManyPapers"
	TooManyImages        Reason = "TooManyImages"

	NotReady         Reason = "NotReady"
	NamespaceUnknown Reason = "NamespaceUnknown"
	InvalidRequest   Reason = "InvalidRequest"
	InvalidPolicy    Reason = "InvalidPolicy"
	Overtime         Reason = "Overtime"
	Overloaded       Reason = "Overloaded"
	InternalError    Reason = "InternalError"
)

// Reasons returns every reason, for metrics that start at zero and for the test that holds docs/reasons.md to them.
func Reasons() []Reason {
	return []Reason{
		Verified, AllowedByPolicy, NoPolicyInForce, ImagesUnchanged, NoImages, TagMayMove, EvidenceIsStale, KeyNotReadAgain,
		DeniedByPolicy, NoPolicyMatches, PolicyUnusable, InvalidReference, TagNotAllowed, NotPinned,
		NoTrustedSignature, TooFewSigners,
		NoSBOM, NoScan, NoSecretScan, NoProvenance, NoTestResult, NoApproval, NoPromotion, NoStatement,
		PaperMalformed, TooOld, NoTime, DatedAhead, VerifiedBySummary, NoSummary,
		WrongFormat, TooFewPackages, LicenseDenied, LicenseUnknown, TooManyVulnerabilities, WrongScanner, DatabaseTooOld, SecretsFound,
		ExceptionEnding, WrongBuilder, WrongSource, WrongRef, WrongBuildType, BuilderNotSigner, TestFailed,
		TooFewApprovals, WrongEnvironment, WrongRepository, RuleViolated, RuleFailed,
		RegistryUnavailable, RegistryUnauthorized, RegistryForbidden, ImageNotFound, ImageMalformed, IndexTooLarge, PlatformMissing,
		TooLarge, TooManyPapers, TooManyImages,
		NotReady, NamespaceUnknown, InvalidRequest, InvalidPolicy, Overtime, Overloaded, InternalError,
	}
}

// ReasonOf says why something could not be read.
func ReasonOf(e *verify.FetchError) Reason {
	switch e.Kind {
	case verify.Unauthorized:
		return RegistryUnauthorized
	case verify.NotFound:
		return ImageNotFound
	case verify.Forbidden:
		return RegistryForbidden
	case verify.Malformed:
		return ImageMalformed
	case verify.TooLarge:
		return TooLarge
	case verify.TooMany:
		return TooManyPapers
	case verify.IndexTooLarge:
		return IndexTooLarge
	case verify.Unavailable:
	}
	return RegistryUnavailable
}
