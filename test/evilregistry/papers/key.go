package papers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 and SHA-512 for crypto.Hash
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"testing"
)

// KeyKind is a type and size of key.
type KeyKind string

// The kinds of key that NewKey makes. RSA1024 is there to be refused.
const (
	P256    KeyKind = "ECDSA P-256"
	P384    KeyKind = "ECDSA P-384"
	P521    KeyKind = "ECDSA P-521"
	RSA1024 KeyKind = "RSA 1024"
	RSA2048 KeyKind = "RSA 2048"
	RSA3072 KeyKind = "RSA 3072"
	Ed25519 KeyKind = "Ed25519"
)

// Key is a signing key and the ways in which its public half is named.
//
// Hash is what a signature is over, and a verifier must agree with it:
//
//	ECDSA P-256   SHA-256   ASN.1
//	ECDSA P-384   SHA-384   ASN.1
//	ECDSA P-521   SHA-512   ASN.1
//	RSA           SHA-256   PKCS #1 v1.5
//	Ed25519       none      pure Ed25519 over the message itself
//
// This is the algorithm registry of sigstore v1.10.11 (LoadDefaultVerifier), and
// WithHash makes the rest of what is found in registries. Measured with the
// programs themselves, for keys imported with `cosign import-key-pair`, and the
// same for legacy signatures, legacy attestations and bundles:
//
//	              cosign v2.6.5 and v3.1.3 sign   their verify --key takes
//	P-256, RSA    SHA-256                         SHA-256
//	P-384         SHA-384                         SHA-256
//	P-521         SHA-512                         SHA-256
//	Ed25519       Ed25519ph (SHA-512)             pure Ed25519
//
// So for the last three cosign refuses, unless told
// --signature-digest-algorithm, what it has just signed; older cosign and its
// KMS keys sign over SHA-256 whatever the curve. A verifier that is to take all
// of them tries both hashes of a curve, and both forms of Ed25519: they are
// separate domains, so that nothing signed as one verifies as the other.
type Key struct {
	Kind      KeyKind
	Private   crypto.Signer
	Hash      crypto.Hash // 0: the message itself is signed
	PublicPEM []byte      // "PUBLIC KEY", PKIX
	// Fingerprint is "SHA256:" and the hex SHA-256 of the PKIX DER.
	Fingerprint string
	// Hint is how a bundle names the key: the base64 of the same SHA-256.
	Hint string
}

// NewKey makes a fresh key.
func NewKey(t testing.TB, kind KeyKind) Key {
	t.Helper()
	k, err := GenerateKey(kind)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// GenerateKey makes a fresh key, for programs that are not tests.
func GenerateKey(kind KeyKind) (Key, error) {
	private, err := generate(kind)
	if err != nil {
		return Key{}, fmt.Errorf("papers: %s key: %w", kind, err)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return Key{}, fmt.Errorf("papers: %s public key: %w", kind, err)
	}
	sum := sha256.Sum256(der)
	k := Key{
		Kind: kind, Private: private, Hash: crypto.SHA256,
		PublicPEM:   pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		Fingerprint: "SHA256:" + hex.EncodeToString(sum[:]),
		Hint:        base64.StdEncoding.EncodeToString(sum[:]),
	}
	switch kind {
	case P384:
		k.Hash = crypto.SHA384
	case P521:
		k.Hash = crypto.SHA512
	case Ed25519:
		k.Hash = 0
	}
	return k, nil
}

func generate(kind KeyKind) (crypto.Signer, error) {
	switch kind {
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case P521:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case RSA1024:
		return rsa.GenerateKey(rand.Reader, 1024)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case Ed25519:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	return nil, fmt.Errorf("no such kind")
}

// WithHash is the same key signing over another hash. For Ed25519, SHA-512
// means Ed25519ph.
func (k Key) WithHash(h crypto.Hash) Key {
	k.Hash = h
	return k
}

// Sign signs a message.
func (k Key) Sign(message []byte) ([]byte, error) {
	if k.Hash == 0 {
		return k.Private.Sign(rand.Reader, message, crypto.Hash(0))
	}
	h := k.Hash.New()
	h.Write(message)
	return k.Private.Sign(rand.Reader, h.Sum(nil), k.Hash)
}
