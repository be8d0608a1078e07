package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// inToto is the payload type of the envelopes.
const inToto = "application/vnd.in-toto+json"

// signer is a P-256 key, as cosign makes it.
type signer struct {
	key *ecdsa.PrivateKey
	der []byte // the public key, as PKIX
}

func newSigner() (signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return signer{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	return signer{key, der}, err
}

// pem is the public key as policies have it.
func (s signer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: s.der})
}

// authority is whoever has the key.
func (s signer) authority(name string) (verify.Authority, error) {
	keys, err := verify.ParseKeys(s.pem())
	if err != nil {
		return verify.Authority{}, err
	}
	return verify.NewKeyAuthority(name, keys, verify.Terms{})
}

// envelope is a DSSE envelope (DSSE 1.0.2) around a statement.
func (s signer) envelope(statement []byte) (map[string]any, error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(inToto), inToto, len(statement), statement))
	sig, err := ecdsa.SignASN1(rand.Reader, s.key, sum[:])
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"payloadType": inToto, "payload": base64.StdEncoding.EncodeToString(statement),
		"signatures": []any{map[string]any{"sig": base64.StdEncoding.EncodeToString(sig)}},
	}, nil
}

// bundle is a statement in a bundle, as cosign 3 writes it.
func (s signer) bundle(statement []byte) (verify.Candidate, error) {
	envelope, err := s.envelope(statement)
	if err != nil {
		return verify.Candidate{}, err
	}
	hint := sha256.Sum256(s.der)
	return verifytest.Pack(map[string]any{
		"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
		"verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": base64.StdEncoding.EncodeToString(hint[:])}},
		"dsseEnvelope":         envelope,
	}), nil
}

// legacy is a statement in the .att layout, as cosign 2 writes it.
func (s signer) legacy(statement []byte) (verify.Candidate, error) {
	envelope, err := s.envelope(statement)
	if err != nil {
		return verify.Candidate{}, err
	}
	c := verifytest.Pack(envelope)
	c.Paper.Kind, c.Paper.Place = verify.LegacyAttestation, verify.PlaceAttestation
	c.Paper.Annotations = map[string]string{verifytest.SignatureAnnotation: ""}
	return c, nil
}
