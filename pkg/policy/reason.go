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

	NoTrustedSignature Reason = "NoTrustedSignature"
	TooFewSigners      Reason = "TooFewSigners"

	RegistryUnavailable  Reason = "RegistryUnavailable"
	RegistryUnauthorized Reason = "RegistryUnauthorized"
	RegistryForbidden    Reason = "RegistryForbidden"
	ImageNotFound        Reason = "ImageNotFound"
	ImageMalformed       Reason = "ImageMalformed"
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
		DeniedByPolicy, NoPolicyMatches, PolicyUnusable, InvalidReference, TagNotAllowed,
		NoTrustedSignature, TooFewSigners,
		RegistryUnavailable, RegistryUnauthorized, RegistryForbidden, ImageNotFound, ImageMalformed,
		TooLarge, TooManyPapers, TooManyImages,
		NotReady, NamespaceUnknown, InvalidRequest, InvalidPolicy, Overtime, Overloaded, InternalError,
	}
}

// reasonOf says why something could not be read.
func reasonOf(e *verify.FetchError) Reason {
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
	case verify.Unavailable:
	}
	return RegistryUnavailable
}
