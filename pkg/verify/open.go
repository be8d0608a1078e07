package verify

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"
)

// opened is a candidate taken apart, before any signature was checked: all of it is a claim. It is made once for all
// authorities, and used by one goroutine at a time.
type opened struct {
	form          Form
	subject       string // the digest it claims to be about, for people
	about         bool   // whether that is the image
	concerns      bool   // whether it is about the image, or of an index about one of its children
	predicateType string
	signer        string // the signer it claims, for people
	hint          []byte // the SHA-256 of the key that it claims

	leaf    *x509.Certificate   // the signer's certificate, if one came with it
	chain   []*x509.Certificate // what else came with that
	climbs  int                 // what it could cost to build a chain of them
	chained bool                // it is a bundle of v0.3 with a chain, which Sigstore's specification has no room for

	artifact func() sgverify.ArtifactPolicyOption // a fresh one for each use: it may hold a reader
	bundle   *bundle.Bundle
	unsaid   bool                  // a legacy object, which may be tried with a key and with its certificate
	stamped  []byte                // what a timestamp authority may have stamped in place of the signature
	isntBy   map[Fingerprint]error // keys that didn't sign it
	entries  int                   // transparency log entries
	stamps   int                   // signed timestamps
	old      *oldEntry
	payload  []byte                    // what was signed
	stated   []byte                    // of that, the predicate
	also     []v1.Hash                 // subjects of the statement beside the image
	content  sgverify.SignatureContent // of the bundle; see signatureContent
	message  *loggedMessage            // what the log knows the envelope as, where that isn't an envelope
	unread   []string                  // what came with a legacy object and can't be read, which is as if it weren't there
}

// open takes a candidate apart.
func open(image v1.Hash, c Candidate) (*opened, error) {
	switch c.Paper.Kind {
	case LegacySignature:
		return openLegacySignature(image, c)
	case LegacyAttestation:
		return openLegacyAttestation(image, c)
	case Referrer:
		o, err := openBundle(c.Payload)
		if err != nil {
			return o, err
		}
		if o.bundle.GetDsseEnvelope() == nil {
			return o, errors.New("bundle of a bare message signature, which says nothing about an image")
		}
		return o, o.envelope(image)
	}
	return &opened{}, errors.New("neither signature nor attestation nor bundle")
}

// openBundle reads a Sigstore bundle, v0.1 to v0.3, whatever it holds.
func openBundle(text []byte) (*opened, error) {
	o := &opened{form: FormBundle}
	var payload []byte
	if len(text) > MaxSmallPaper {
		var err error
		if text, payload, err = cutPayload(text); err != nil {
			return o, fmt.Errorf("not a Sigstore bundle: %w", err)
		}
		if len(text) > MaxSmallPaper {
			return o, fmt.Errorf("bundle: %d bytes beside its payload, over the bound of %d", len(text), MaxSmallPaper)
		}
	}
	var pb protobundle.Bundle
	if err := protojson.Unmarshal(text, &pb); err != nil { // duplicate and unknown names are errors
		return o, errors.New("not a Sigstore bundle")
	}
	if payload != nil {
		pb.GetDsseEnvelope().Payload = payload
	}
	return o, o.take(&pb)
}

// take keeps a bundle and says who claims to have signed it.
func (o *opened) take(pb *protobundle.Bundle) (err error) {
	if err := modestBundle(pb); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	o.unread = append(o.unread, modestStamps(pb)...)
	var opts []bundle.Option
	if o.chained = pb.GetVerificationMaterial().GetX509CertificateChain() != nil && !old(pb); o.chained {
		opts = append(opts, bundle.AllowCertificateChain())
	}
	if o.bundle, err = bundle.NewBundle(pb, opts...); err != nil {
		return fmt.Errorf("bundle: %s", clip(err.Error()))
	}
	o.message = loggedMessageOf(o.bundle)
	material := pb.GetVerificationMaterial()
	o.entries = len(material.GetTlogEntries())
	o.stamps = len(material.GetTimestampVerificationData().GetRfc3161Timestamps())
	if key := material.GetPublicKey(); key != nil {
		if hint, err := base64.StdEncoding.DecodeString(key.GetHint()); err == nil && len(hint) == sha256.Size {
			o.signer, o.hint = "key "+Fingerprint(hint).String(), hint
		}
		return nil
	}
	chain := material.GetX509CertificateChain().GetCertificates()
	if c := material.GetCertificate(); c != nil {
		chain = []*protocommon.X509Certificate{c}
	}
	parsed := make([]*x509.Certificate, 0, len(chain))
	for _, c := range chain {
		cert, err := x509.ParseCertificate(c.GetRawBytes())
		if err != nil {
			return fmt.Errorf("bundle: certificate %d: %s", len(parsed)+1, clip(err.Error()))
		}
		parsed = append(parsed, cert)
	}
	if len(parsed) == 0 {
		return errors.New("bundle: neither key nor certificate")
	}
	o.certified(parsed[0], parsed[1:])
	return nil
}

// old tells whether a bundle is of a version before 0.3, the first in which a certificate comes alone.
func old(pb *protobundle.Bundle) bool {
	version, err := (&bundle.Bundle{Bundle: pb}).Version()
	return err == nil && (strings.HasPrefix(version, "v0.1") || strings.HasPrefix(version, "v0.2"))
}

// certified notes the certificates that came with a signature.
func (o *opened) certified(leaf *x509.Certificate, chain []*x509.Certificate) {
	o.leaf, o.chain, o.signer = leaf, above(chain), "a certificate"
	o.climbs = climbsOf(leaf, o.chain)
	if leaf == nil {
		return
	}
	if names := namesOf(leaf); len(names) > 0 {
		o.signer = "a certificate of " + clip(names[0])
	}
}

// envelope reads what the bundle's DSSE envelope states.
func (o *opened) envelope(image v1.Hash) error {
	env := o.bundle.GetDsseEnvelope()
	if env.GetPayloadType() != payloadInToto {
		return fmt.Errorf("payload type %q: want %s", clip(env.GetPayloadType()), payloadInToto)
	}
	s, err := parseStatement(env.GetPayload())
	if err != nil {
		return fmt.Errorf("statement: %w", err)
	}
	sum, err := hex.DecodeString(image.Hex)
	if err != nil {
		return err
	}
	o.payload, o.predicateType, o.about = env.GetPayload(), s.predicateType, s.about(image)
	o.stated, o.also = s.predicate, s.beside(image)
	if len(s.subjects) > 0 {
		o.subject = s.subjects[0].String()
	}
	if !o.about && len(s.subjects) > 0 { // whether it concerns the image is decided here; of sigstore-go the signature is wanted
		if sum, err = hex.DecodeString(s.subjects[0].Hex); err != nil {
			return err
		}
	}
	o.artifact = func() sgverify.ArtifactPolicyOption { return sgverify.WithArtifactDigest("sha256", sum) }
	return nil
}

// entity is a bundle with another say on what it is verified with.
type entity struct {
	*bundle.Bundle
	content sgverify.VerificationContent // nil: what the bundle says
}

// VerificationContent implements sgverify.VerificationProvider.
func (e *entity) VerificationContent() (sgverify.VerificationContent, error) {
	if e.content != nil {
		return e.content, nil
	}
	return e.Bundle.VerificationContent()
}

var (
	errNoKey         = errors.New("it is signed with a certificate, not with a bare key")
	errNoCertificate = errors.New("no certificate came with it")
)

// byKey is what was opened as something signed by a bare key.
func (o *opened) byKey() (*entity, error) {
	if o.bundle == nil || o.leaf != nil && !o.unsaid {
		return nil, errNoKey
	}
	return &entity{Bundle: o.bundle}, nil
}

// byCertificate is what was opened as something signed by the certificate that came with it.
func (o *opened) byCertificate() (*entity, error) {
	if o.bundle == nil || o.leaf == nil {
		return nil, errNoCertificate
	}
	leaf := *o.leaf // sigstore-go changes what it is given: it takes away that an extension is critical
	return &entity{o.bundle, withChain{bundle.NewCertificate(&leaf), o.chain}}, nil
}

// withChain is a certificate with what else came with it, of which a chain to a trusted root may be built.
type withChain struct {
	sgverify.VerificationContent
	between []*x509.Certificate
}

// Intermediates implements sgverify.VerificationContent.
func (c withChain) Intermediates() []*x509.Certificate { return c.between }

// heldKey is what was opened as something signed by the key that is in its certificate.
func (o *opened) heldKey() (*entity, error) {
	if o.bundle == nil || o.leaf == nil {
		return nil, errNoCertificate
	}
	return &entity{o.bundle, certifiedKey{}}, nil
}

// certifiedKey stands for the key of a certificate that is judged elsewhere. It has no say on logs.
type certifiedKey struct{}

// CompareKey implements sgverify.VerificationContent.
func (certifiedKey) CompareKey(any, root.TrustedMaterial) bool { return false }

// ValidAtTime implements sgverify.VerificationContent.
func (certifiedKey) ValidAtTime(time.Time, root.TrustedMaterial) bool { return false }

// Certificate implements sgverify.VerificationContent.
func (certifiedKey) Certificate() *x509.Certificate { return nil }

// Intermediates implements sgverify.VerificationContent.
func (certifiedKey) Intermediates() []*x509.Certificate { return nil }

// PublicKey implements sgverify.VerificationContent.
func (certifiedKey) PublicKey() sgverify.PublicKeyProvider { return bundle.PublicKey{} }

// material is what is trusted on terms, and with a key that, for what was opened.
func (o *opened) material(t Terms, key root.TimeConstrainedVerifier) root.TrustedMaterial {
	var m root.TrustedMaterial = &root.BaseTrustedMaterial{}
	if t.Trust != nil {
		m = t.Trust.material
	}
	if o.stamps > 0 {
		m = byWhomTheyName{m}
	}
	if o.stamped != nil {
		m = alsoStamped{m, o.stamped}
	}
	if key != nil {
		m = withKey{m, key}
	}
	return m
}

// verify has sigstore-go check the whole: log entries, timestamps, certificate, signature, subject and identity.
func (o *opened) verify(b *entity, m root.TrustedMaterial, now time.Time, opts []sgverify.VerifierOption, who ...sgverify.PolicyOption) (*sgverify.VerificationResult, error) {
	if o.artifact == nil || b == nil {
		return nil, errors.New("nothing to verify")
	}
	v, err := sgverify.NewVerifier(m, slices.Concat(opts, []sgverify.VerifierOption{sgverify.WithoutStatementPredicate()})...)
	if err != nil {
		return nil, err
	}
	about := o.artifact
	if o.message != nil {
		if !o.concerns { // sigstore-go compares subjects of envelopes only
			return nil, errors.New("failed to verify signature: the statement names another digest")
		}
		about = o.message.artifact
	}
	res, err := v.Verify(o.signed(b), sgverify.NewPolicy(about(), who...))
	switch {
	case err != nil:
		return nil, err
	case res == nil || res.Signature == nil:
		return nil, errors.New("nothing was verified")
	}
	if err := o.everyStamp(m, res); err != nil {
		return nil, err
	}
	at := earliest(res)
	if at.IsZero() {
		at = now
	}
	if logs := o.outdated(m, at); logs != nil { // whether it holds without them: a log may be optional, or one of several
		res, err := o.verify(b, without{m, logs}, now, opts, who...)
		if err != nil {
			return nil, untimely(m, logs, at, err)
		}
		return res, nil
	}
	return res, nil
}
