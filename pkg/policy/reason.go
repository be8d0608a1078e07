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
