package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"
)

// signatureAnnotation is where cosign keeps the signature of a legacy payload, in base64.
const signatureAnnotation = "dev.cosignproject.cosign/signature"

// bundleV01 is the media type of the oldest bundle, the form that legacy objects are brought into: it asks for
// nothing that they don't have.
const bundleV01 = "application/vnd.dev.sigstore.bundle+json;version=0.1"

// opened is a candidate taken apart, before any signature was checked: all of it is a claim.
type opened struct {
	form          Form
	subject       string // the digest it claims to be about, for people
	about         bool   // whether that is the image
	predicateType string
	signer        string                               // the signer it claims, for people
	hint          []byte                               // the SHA-256 of the key that it claims
	artifact      func() sgverify.ArtifactPolicyOption // a fresh one for each use: it holds a reader
	entity        *protobundle.Bundle
}

// MaxChecks bounds the signature checks, candidates times keys, that one authority costs for one image: one check takes 0.1 ms
// (P-256) to 3 ms (P-521), and whoever may push papers, or write a policy of many keys, decides how many there could be. Above it
// the image is refused.
const MaxChecks = 512

// errTooManyChecks says that the bound was reached.
var errTooManyChecks = fmt.Errorf("more than %d signature checks", MaxChecks)

// budget is the work that is left for one authority and image.
type budget struct{ checks int }

func (b *budget) spend() error {
	if b.checks >= MaxChecks {
		return errTooManyChecks
	}
	b.checks++
	return nil
}

// examine checks one candidate against an authority. It returns evidence, or the reason why it isn't; an error says that there was
// no time or budget left to find out.
func (a Authority) examine(ctx context.Context, image v1.Hash, c Candidate, left *budget) (ev Evidence, miss *Miss, err error) {
	defer func() {
		if p := recover(); p != nil {
			ev, miss, err = Evidence{}, &Miss{Reason: MissMalformed, Claimed: "it makes the verification fail", Source: c.Paper.Digest}, nil
		}
	}()
	missed := func(why MissReason, claimed string, form Form) (Evidence, *Miss, error) {
		return Evidence{}, &Miss{Reason: why, Form: form, Claimed: claimed, Source: c.Paper.Digest}, nil
	}
	o, err := open(image, c)
	switch {
	case err != nil:
		return missed(MissMalformed, err.Error(), o.form)
	case o.predicateType != CosignSign: // before any signature is checked: only signatures are sought so far
		return missed(MissOtherType, clip(o.predicateType), o.form)
	case !o.about:
		return missed(MissOtherSubject, o.subject, o.form)
	}
	for _, key := range a.likeliest(o) {
		if err := errors.Join(ctx.Err(), left.spend()); err != nil {
			return Evidence{}, nil, err
		}
		if key.verifies(o) {
			return Evidence{
				subject: image, authority: a.fingerprint, signer: key.fingerprint,
				predicateType: o.predicateType, form: o.form, source: c.Paper.Digest, place: c.Paper.Place,
			}, nil, nil
		}
	}
	return missed(MissOtherSigner, o.signer, o.form)
}

// likeliest returns the authority's keys, the one that the candidate hints at first.
func (a Authority) likeliest(o opened) []Key {
	for i, k := range a.keys {
		if i > 0 && o.hint != nil && bytes.Equal(o.hint, k.fingerprint[:]) {
			return slices.Concat([]Key{k}, a.keys[:i], a.keys[i+1:])
		}
	}
	return a.keys
}

// verifies checks the signature and, once more and by sigstore-go, the subject.
func (k Key) verifies(o opened) bool {
	if k.verifier == nil || o.artifact == nil || o.entity == nil {
		return false
	}
	b, err := bundle.NewBundle(o.entity) // not shared: a Bundle isn't safe for concurrent use
	if err != nil {
		return false
	}
	res, err := k.verifier.Verify(b, sgverify.NewPolicy(o.artifact(), sgverify.WithKey()))
	return err == nil && res != nil
}

// open takes a candidate apart.
func open(image v1.Hash, c Candidate) (opened, error) {
	switch c.Paper.Kind {
	case LegacySignature:
		return openLegacySignature(image, c)
	case LegacyAttestation:
		return openLegacyAttestation(image, c)
	case Referrer:
		return openBundle(image, c)
	}
	return opened{}, errors.New("neither signature nor attestation nor bundle")
}

// openLegacySignature brings a simple signing payload and the signature in its annotation into the form of a bundle. The signed
// artifact is the payload; that the payload names the image is checked here, on the very bytes that are verified.
func openLegacySignature(image v1.Hash, c Candidate) (opened, error) {
	o := opened{form: FormLegacy, predicateType: CosignSign}
	payload, err := parseSimpleSigning(c.Payload)
	if err != nil {
		return o, fmt.Errorf("simple signing payload: %w", err)
	}
	o.subject, o.about = payload.digest.String(), payload.digest == image
	sig, err := base64.StdEncoding.DecodeString(c.Paper.Annotations[signatureAnnotation])
	if err != nil || len(sig) == 0 {
		return o, fmt.Errorf("annotation %s is no base64", signatureAnnotation)
	}
	sum := sha256.Sum256(c.Payload)
	o.artifact = func() sgverify.ArtifactPolicyOption { return sgverify.WithArtifact(bytes.NewReader(c.Payload)) }
	o.entity = withKeyMaterial(&protobundle.Bundle{Content: &protobundle.Bundle_MessageSignature{
		MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]},
			Signature:     sig,
		},
	}})
	return o, nil
}

// openLegacyAttestation brings a DSSE envelope of cosign's .att layout into the form of a bundle.
func openLegacyAttestation(image v1.Hash, c Candidate) (opened, error) {
	o := opened{form: FormLegacy}
	env, err := parseEnvelope(c.Payload)
	if err != nil {
		return o, err
	}
	return openEnvelope(o, image, withKeyMaterial(&protobundle.Bundle{
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: env},
	}))
}

// openBundle reads a Sigstore bundle, v0.1 to v0.3.
func openBundle(image v1.Hash, c Candidate) (opened, error) {
	o := opened{form: FormBundle}
	var pb protobundle.Bundle
	if err := protojson.Unmarshal(c.Payload, &pb); err != nil { // duplicate and unknown names are errors
		return o, errors.New("not a Sigstore bundle")
	}
	b, err := bundle.NewBundle(&pb)
	if err != nil {
		return o, fmt.Errorf("bundle: %s", clip(err.Error()))
	}
	key := b.GetVerificationMaterial().GetPublicKey()
	if key == nil {
		o.signer = "a certificate"
	} else if hint, err := base64.StdEncoding.DecodeString(key.GetHint()); err == nil && len(hint) == sha256.Size {
		o.signer, o.hint = "key "+Fingerprint(hint).String(), hint
	}
	if b.GetDsseEnvelope() == nil {
		return o, errors.New("bundle of a bare message signature, which says nothing about an image")
	}
	return openEnvelope(o, image, &pb)
}

// openEnvelope reads what a bundle's DSSE envelope states.
func openEnvelope(o opened, image v1.Hash, pb *protobundle.Bundle) (opened, error) {
	env := pb.GetDsseEnvelope()
	if env.GetPayloadType() != payloadInToto {
		return o, fmt.Errorf("payload type %q: want %s", clip(env.GetPayloadType()), payloadInToto)
	}
	s, err := parseStatement(env.GetPayload())
	if err != nil {
		return o, fmt.Errorf("statement: %w", err)
	}
	sum, err := hex.DecodeString(image.Hex)
	if err != nil {
		return o, err
	}
	o.predicateType, o.about = s.predicateType, s.about(image)
	if len(s.subjects) > 0 {
		o.subject = s.subjects[0].String()
	}
	o.artifact = func() sgverify.ArtifactPolicyOption { return sgverify.WithArtifactDigest("sha256", sum) }
	o.entity = pb
	return o, nil
}

// withKeyMaterial completes a legacy object: signed by a key, of the oldest bundle version.
func withKeyMaterial(pb *protobundle.Bundle) *protobundle.Bundle {
	pb.MediaType = bundleV01
	pb.VerificationMaterial = &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{}},
	}
	return pb
}
