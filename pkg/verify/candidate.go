package verify

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// MaxListed bounds the papers listed for one image, over all places: far above what tools attach, and 1,000
// descriptors are some 300 KiB of listing. Above it the image is refused rather than judged by a part.
const MaxListed = 1000

// MaxVerified bounds the papers of one image that are fetched and verified, after those were left out whose own
// description says that they can't be what is sought. Above it the image is refused.
const MaxVerified = 64

// MaxPayload bounds what one attestation states, in bytes: bills of materials of large images are some 20 MiB.
const MaxPayload = 64 << 20

// MaxPaper bounds one paper as it is kept, in bytes: an envelope or bundle with a payload of MaxPayload in base64, and room for the rest of it.
const MaxPaper = MaxPayload/3*4 + 2<<20

// MaxSmallPaper is what a paper may have to be fetched and verified side by side with others; larger ones come after, one at a time. Nearly all
// that isn't a bill of materials or a long scan is smaller.
const MaxSmallPaper = 1 << 20

// Place is where a paper was listed. All are read, for signers use any of them.
type Place string

// The places.
const (
	PlaceManifest    Place = "manifest"     // the image itself
	PlaceSignatures  Place = "sha256-.sig"  // cosign's legacy tag for signatures
	PlaceAttestation Place = "sha256-.att"  // cosign's legacy tag for attestations
	PlaceReferrers   Place = "referrers"    // the OCI 1.1 referrers API
	PlaceFallbackTag Place = "referrersTag" // the OCI 1.1 fallback tag, for registries without that API
	PlaceSBOM        Place = "sha256-.sbom" // cosign's tag for bills of materials that nobody signed
	PlaceIndex       Place = "index"        // the index itself: BuildKit keeps what it states about a child beside it, unsigned
)

// Kind says how a paper is packed, which follows from where it was listed.
type Kind uint8

// The kinds.
const (
	LegacySignature   Kind = iota + 1 // a layer of the .sig manifest: simple signing, signature in an annotation
	LegacyAttestation                 // a layer of the .att manifest: a DSSE envelope
	Referrer                          // a manifest that refers to the image: its one layer may be a Sigstore bundle
	Unsigned                          // something about the image that nobody signed: it is told to people, and never fetched
)

// Paper is something that a registry says is attached to an image. All of it is untrusted, and a hint at most.
type Paper struct {
	Kind   Kind
	Place  Place
	Digest v1.Hash // of the layer (legacy kinds) or of the manifest (Referrer)
	Size   int64   // bytes, as the descriptor says

	MediaType    string
	ArtifactType string
	Annotations  map[string]string
}

// Listing is what is attached to an image.
type Listing struct {
	Papers []Paper
	// Unanswered lists the places that could not be read. "Nothing found" means nothing while it isn't empty.
	Unanswered []*FetchError
	// Index says that the image is an index of manifests. Children are those of them that a node may run, at least one.
	Index    bool
	Children []Child
}

// Candidate is a paper with its bytes: untrusted, and of another type than Evidence for that reason.
type Candidate struct {
	Paper   Paper
	Payload []byte // the layer: simple signing JSON, DSSE envelope JSON or bundle JSON
	// Release is called once Payload is no longer held, so that the Fetcher may take memory for others; nil where that is no matter.
	Release func()
}

// done lets go of the payload.
func (c *Candidate) done() {
	c.Payload = nil
	if c.Release != nil {
		c.Release()
	}
}

// Access identifies the credentials that a Fetcher reads with, as a hash: what one set of
// credentials was shown isn't told to another. The zero Access is anonymous.
type Access [sha256.Size]byte

// Fetcher reads a registry with one set of credentials. What it returns is complete or an error, within the bounds of
// this package, and content always hashes to the digest it was asked for by. Errors are *FetchError.
type Fetcher interface {
	// List checks that the image is there, reads what is below it if it is an index, and names what is attached to it, in every
	// Place. It fails only where the image itself can't be read or a bound is exceeded; other places that don't answer are in
	// Listing.Unanswered. The predicate types are those that are sought: where SBOMs are among them (SeeksSBOM), it names those that nobody
	// signed as well, as far as it can.
	List(ctx context.Context, image name.Digest, types []string) (Listing, error)
	// Fetch reads one paper of at most so many bytes, which are at most MaxPaper. One that is said to be larger is TooLarge, with its size, and isn't asked for.
	Fetch(ctx context.Context, image name.Digest, p Paper, most int64) (Candidate, error)
	// Present reads the image's manifest anew, by which the registry shows that these credentials may read the image.
	Present(ctx context.Context, image name.Digest) error
	// Elsewhere returns a Fetcher of the same image whose papers are kept in another repository, read with what of the same credentials
	// is for that one. Its List reads the image's own manifest where the image is, and papers there alone.
	Elsewhere(papers name.Repository) (Fetcher, error)
	// Access identifies the credentials used.
	Access() Access
}

// FetchKind says what kept something from being read. The zero value is the one that says nothing about the image.
type FetchKind uint8

// The kinds of failure.
const (
	Unavailable   FetchKind = iota // time-out, 429, 5xx, DNS, TLS, broken connection: nothing is known
	Unauthorized                   // 401 or 403: an answer
	NotFound                       // 404: an answer
	Forbidden                      // our own rules forbid to ask: plain http, a guarded address, a redirect
	Malformed                      // what came isn't what it says it is
	TooLarge                       // a bound was exceeded
	TooMany                        // more papers than the bound
	IndexTooLarge                  // an index that is nested too deep, or with too many children
)

// String returns the kind as a word for logs and metric labels.
func (k FetchKind) String() string {
	switch k {
	case Unauthorized:
		return "unauthorized"
	case NotFound:
		return "not_found"
	case Forbidden:
		return "forbidden"
	case Malformed:
		return "malformed"
	case TooLarge:
		return "too_large"
	case TooMany:
		return "too_many"
	case IndexTooLarge:
		return "index_too_large"
	}
	return "unavailable"
}

// FetchError is a failure to read from a registry.
type FetchError struct {
	Kind  FetchKind
	Place Place  // which question failed
	Host  string // the registry asked
	Size  int64  // of what is TooLarge, in bytes, where that is told
	Err   error
}

// Error implements error.
func (e *FetchError) Error() string {
	if e.Place == "" {
		return fmt.Sprintf("%s: %v", e.Host, e.Err)
	}
	return fmt.Sprintf("%s of %s: %v", e.Place, e.Host, e.Err)
}

// Unwrap returns the cause.
func (e *FetchError) Unwrap() error { return e.Err }

// Answer tells whether the registry answered: such an error is knowledge and not an outage.
func (e *FetchError) Answer() bool { return e.Kind != Unavailable }
