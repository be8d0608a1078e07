package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

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
	artifact      func() sgverify.ArtifactPolicyOption // a fresh one for each use: it holds a reader
	entity        *protobundle.Bundle
}

// examine checks one candidate against an authority. It returns evidence, or the reason why it isn't.
func (a Authority) examine(image v1.Hash, c Candidate) (ev Evidence, miss *Miss) {
	defer func() {
		if p := recover(); p != nil {
			ev, miss = Evidence{}, &Miss{Reason: MissMalformed, Claimed: "it makes the verification fail", Source: c.Paper.Digest}
		}
	}()
	o, err := open(image, c)
	if err != nil {
		return Evidence{}, &Miss{Reason: MissMalformed, Form: o.form, Claimed: err.Error(), Source: c.Paper.Digest}
	}
	if !o.about {
		return Evidence{}, &Miss{Reason: MissOtherSubject, Form: o.form, Claimed: o.subject, Source: c.Paper.Digest}
	}
	for _, key := range a.keys {
		if key.verifies(o) {
			return Evidence{
				subject: image, authority: a.fingerprint, signer: key.fingerprint,
				predicateType: o.predicateType, form: o.form, source: c.Paper.Digest,
			}, nil
		}
	}
	return Evidence{}, &Miss{Reason: MissOtherSigner, Form: o.form, Claimed: o.signer, Source: c.Paper.Digest}
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
		o.signer = "key " + Fingerprint(hint).String()
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
