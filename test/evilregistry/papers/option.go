package papers

import (
	"crypto/x509"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Media types and annotations, as cosign writes them.
const (
	// SimpleSigningType is the layer of a legacy signature.
	SimpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json"
	// EnvelopeType is the layer of a legacy attestation.
	EnvelopeType = "application/vnd.dsse.envelope.v1+json"
	// InTotoType is the payload type of an envelope around a statement.
	InTotoType = "application/vnd.in-toto+json"
	// BundleType is the layer and the artifactType of a bundle of version 0.3.
	BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	// EmptyType is the config of a bundle's manifest.
	EmptyType = "application/vnd.oci.empty.v1+json"

	// SignatureAnnotation holds a legacy signature, base64; on a legacy
	// attestation it is there and empty.
	SignatureAnnotation = "dev.cosignproject.cosign/signature"
	// CertificateAnnotation and ChainAnnotation hold PEM.
	CertificateAnnotation = "dev.sigstore.cosign/certificate"
	ChainAnnotation       = "dev.sigstore.cosign/chain"
	// LogAnnotation holds Rekor's signed entry timestamp, TimestampAnnotation
	// an RFC 3161 token; both JSON.
	LogAnnotation       = "dev.sigstore.cosign/bundle"
	TimestampAnnotation = "dev.sigstore.cosign/rfc3161timestamp"
	// PredicateAnnotation holds the predicate type, on the manifest of a
	// bundle. It is not signed. cosign v2.6.5 `attest --signing-config`
	// writes the type of a signature there whatever it attests.
	PredicateAnnotation = "dev.sigstore.bundle.predicateType"

	// SignaturePredicate is the predicate type of a bundle that is a
	// signature.
	SignaturePredicate = "https://sigstore.dev/cosign/sign/v1"
	// CriticalType is what a legacy payload says it is.
	CriticalType = "cosign container image signature"
)

// Option changes what a maker writes. Without options it writes what an honest
// cosign would. An option that does not apply to a layout is ignored there.
type Option func(*spec)

// spec is what the options add up to.
type spec struct {
	remote     []remote.Option
	image      []remote.Option // nil: as remote
	repository *name.Repository
	created    time.Time

	// the signed payload
	claimDigest    string
	duplicate      string
	claimReference *string
	criticalType   string
	optional       map[string]any
	statementType  string
	nullSubject    bool
	noPredicate    bool
	moreSubjects   int
	padding        int
	rewritePayload func([]byte) []byte

	// the signature
	payloadType  string
	mangle       bool
	second       *Key
	certificates []*x509.Certificate

	// the bundle
	version          string
	hint             *string
	messageSignature bool
	logEntries       int
	rewriteBundle    func([]byte) []byte

	// the manifest
	annotations   map[string]string
	noAnnotations bool
	artifactType  *string
	noSubject     bool
	junkLayers    int
	fallback      bool
	poorFallback  bool
}

func newSpec(opts []Option) *spec {
	s := &spec{
		criticalType: CriticalType, payloadType: InTotoType, version: "0.3",
		annotations: map[string]string{}, created: time.Now().UTC(),
	}
	for _, opt := range opts {
		opt(s)
	}
	return s
}

// Via sets how the registry is reached; with evilregistry's Options, behind the
// back of its journal and its faults.
func Via(opts ...remote.Option) Option {
	return func(s *spec) { s.remote = append(s.remote, opts...) }
}

// ImageVia sets how the image's registry is reached where it is another one than
// that of the paper. See In.
func ImageVia(opts ...remote.Option) Option {
	return func(s *spec) { s.image = append(s.image, opts...) }
}

// In stores the paper in another repository than the image's.
func In(repo name.Repository) Option { return func(s *spec) { s.repository = &repo } }

// Created is what the manifest of a bundle says of its age (default: now).
func Created(at time.Time) Option { return func(s *spec) { s.created = at.UTC() } }

// Version is the bundle's: "0.1", "0.2" or "0.3" (default).
func Version(v string) Option { return func(s *spec) { s.version = v } }

// Claims are signed annotations (cosign sign -a): the legacy payload's
// `optional`, or the annotations of a bundle's subject.
func Claims(claims map[string]any) Option { return func(s *spec) { s.optional = claims } }

// StatementType sets the statement's _type. cosign's signatures have Statement/v1
// (default of SignBundle), its attestations Statement/v0.1 (default elsewhere).
func StatementType(uri string) Option { return func(s *spec) { s.statementType = uri } }

// NoPredicate leaves `predicate` out of the statement, as cosign v2.6.5
// `sign --new-bundle-format` does; v3 writes {}.
func NoPredicate() Option { return func(s *spec) { s.noPredicate = true } }

// Certificates puts a certificate, and its chain, where a bare key would be:
// the bundle's verification material, or the annotations of a legacy layer. In
// a bundle of version 0.3 one certificate is `certificate`, several are
// `x509CertificateChain`; older versions know only the latter.
func Certificates(chain ...*x509.Certificate) Option {
	return func(s *spec) { s.certificates = chain }
}

// FallbackTag keeps the tag sha256-<hex> up to date although the registry has
// the referrers API.
func FallbackTag() Option { return func(s *spec) { s.fallback = true } }

// PoorFallbackTag is FallbackTag with what cosign v2.6.5 writes into it: the
// config's media type for an artifactType, and no annotations.
func PoorFallbackTag() Option { return func(s *spec) { s.fallback, s.poorFallback = true, true } }

// The lies.

// ClaimDigest makes the signed payload name another digest ("sha256:...") than
// the image's.
func ClaimDigest(digest string) Option { return func(s *spec) { s.claimDigest = digest } }

// ClaimReference makes a legacy payload name another docker-reference, and a
// statement's subject have this name.
func ClaimReference(ref string) Option { return func(s *spec) { s.claimReference = &ref } }

// ClaimType makes a legacy payload's critical.type another.
func ClaimType(kind string) Option { return func(s *spec) { s.criticalType = kind } }

// DuplicateKeys makes the signed payload hold its subject twice: this digest
// first, the true one last. Go's encoding/json sees the last, other parsers
// the first.
func DuplicateKeys(digest string) Option { return func(s *spec) { s.duplicate = digest } }

// NullSubject makes the statement's subject null.
func NullSubject() Option { return func(s *spec) { s.nullSubject = true } }

// MoreSubjects puts n other subjects before the true one.
func MoreSubjects(n int) Option { return func(s *spec) { s.moreSubjects = n } }

// Padding adds n bytes to the signed payload, as a claim named padding.
func Padding(n int) Option { return func(s *spec) { s.padding = n } }

// RewritePayload changes the payload before it is signed.
func RewritePayload(f func([]byte) []byte) Option { return func(s *spec) { s.rewritePayload = f } }

// PayloadType makes the envelope's payload type another; it is signed so.
func PayloadType(mediaType string) Option { return func(s *spec) { s.payloadType = mediaType } }

// MangleSignature changes one bit of the signature.
func MangleSignature() Option { return func(s *spec) { s.mangle = true } }

// SecondSignature adds another key's signature to the envelope.
func SecondSignature(k Key) Option { return func(s *spec) { s.second = &k } }

// Hint makes the bundle name another key, or with "" none.
func Hint(hint string) Option { return func(s *spec) { s.hint = &hint } }

// MessageSignature makes a bundle without an envelope: the bare signature of
// the image's manifest, as cosign sign-blob would make of it. It has no
// predicate type. The key must sign over SHA-256.
func MessageSignature() Option { return func(s *spec) { s.messageSignature = true } }

// LogEntries adds n forged transparency log entries: each truly about this
// signature, which a verifier checks when it parses them, and signed by no log.
// sigstore allows 32. The key must sign over a hash.
func LogEntries(n int) Option { return func(s *spec) { s.logEntries = n } }

// RewriteBundle changes the bundle's JSON before it is stored.
func RewriteBundle(f func([]byte) []byte) Option { return func(s *spec) { s.rewriteBundle = f } }

// Annotate sets an annotation that is not signed: of the legacy layer, or of the
// bundle's manifest. See HostileAnnotations.
func Annotate(key, value string) Option { return func(s *spec) { s.annotations[key] = value } }

// NoAnnotations leaves the manifest of a bundle without any.
func NoAnnotations() Option { return func(s *spec) { s.noAnnotations = true } }

// ArtifactType makes the manifest of a bundle say it is something else, or with
// "" nothing.
func ArtifactType(mediaType string) Option { return func(s *spec) { s.artifactType = &mediaType } }

// NoOCISubject leaves `subject` out of the manifest of a bundle: no registry
// will list it.
func NoOCISubject() Option { return func(s *spec) { s.noSubject = true } }

// JunkLayers puts n layers that verify under no key before the legacy one.
func JunkLayers(n int) Option { return func(s *spec) { s.junkLayers = n } }

// HostileAnnotations are sets of layer annotations that end the process of a
// verifier built on cosign v2.6.5, by name. Give each pair to Annotate.
func HostileAnnotations() map[string]map[string]string {
	return map[string]map[string]string{
		"certificate without a block": {CertificateAnnotation: "\n"},
		"log body that is a number": {
			LogAnnotation: `{"SignedEntryTimestamp":"c2V0","Payload":{"body":1,"integratedTime":1,"logIndex":1,"logID":"00"}}`,
		},
		"log body that is null": {
			LogAnnotation: `{"SignedEntryTimestamp":"c2V0","Payload":{"body":null,"integratedTime":1,"logIndex":1,"logID":"00"}}`,
		},
		"timestamp that is garbage": {TimestampAnnotation: `{"SignedRFC3161Timestamp":"Z2FyYmFnZQ=="}`},
	}
}
