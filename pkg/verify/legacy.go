package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
)

// signatureAnnotation is where cosign keeps the signature of a legacy payload, in base64.
const signatureAnnotation = "dev.cosignproject.cosign/signature"

// bundleV01 is the media type of the oldest bundle, the form that legacy objects are brought into: it asks for
// nothing that they don't have.
const bundleV01 = "application/vnd.dev.sigstore.bundle+json;version=0.1"

// oldEntry is a Rekor entry of a kind that sigstore-go doesn't read.
type oldEntry struct{}

// openLegacySignature brings a simple signing payload and the signature in its annotation into the form of a bundle. The signed
// artifact is the payload; that the payload names the image is checked here, on the very bytes that are verified.
func openLegacySignature(image v1.Hash, c Candidate) (*opened, error) {
	o := &opened{form: FormLegacy, predicateType: CosignSign, unsaid: true, payload: c.Payload}
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
	return o, o.take(withKeyMaterial(&protobundle.Bundle{Content: &protobundle.Bundle_MessageSignature{
		MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]},
			Signature:     sig,
		},
	}}))
}

// openLegacyAttestation brings a DSSE envelope of cosign's .att layout into the form of a bundle.
func openLegacyAttestation(image v1.Hash, c Candidate) (*opened, error) {
	o := &opened{form: FormLegacy, unsaid: true}
	env, err := parseEnvelope(c.Payload)
	if err != nil {
		return o, err
	}
	if err := o.take(withKeyMaterial(&protobundle.Bundle{Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: env}})); err != nil {
		return o, err
	}
	return o, o.envelope(image)
}

// withKeyMaterial completes a legacy object: signed by a key, of the oldest bundle version.
func withKeyMaterial(pb *protobundle.Bundle) *protobundle.Bundle {
	pb.MediaType = bundleV01
	pb.VerificationMaterial = &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{}},
	}
	return pb
}
