package promote

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/sign"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// MaxKeyPEM bounds the file of a private key, in bytes: that of an RSA key of 8192 bits, encrypted, has some ten thousand.
const MaxKeyPEM = 64 << 10

// SigningKey is a private key that signs papers. However it is printed, only the fingerprint of its public half is told (security.md, row 97). The zero
// SigningKey signs nothing.
type SigningKey struct {
	signer crypto.Signer
	public verify.Key
}

// ParseSigningKey reads a private key in PEM: as cosign writes it (ENCRYPTED SIGSTORE PRIVATE KEY, or COSIGN in older ones), or one that nothing
// protects (PRIVATE KEY in PKCS #8, EC PRIVATE KEY, RSA PRIVATE KEY). Kinds and sizes are those that a policy may trust: ECDSA on P-256, P-384 and
// P-521, RSA of 2048 to 8192 bits, ed25519. The password is asked for only where it is needed. No error tells anything of the key or of the password.
func ParseSigningKey(text []byte, password func() ([]byte, error)) (SigningKey, error) {
	if len(text) > MaxKeyPEM {
		return SigningKey{}, fmt.Errorf("a file of %d bytes: at most %d are a private key", len(text), MaxKeyPEM)
	}
	block, rest := pem.Decode(text)
	if block != nil && block.Type == "EC PARAMETERS" { // which openssl writes before the key, and the key has too
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return SigningKey{}, errors.New("no private key in PEM: want what cosign generate-key-pair writes to cosign.key")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return SigningKey{}, errors.New("more than one PEM block: want the one of the private key")
	}
	private, err := parsePrivate(block, password)
	if err != nil {
		return SigningKey{}, err
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return SigningKey{}, fmt.Errorf("a key of type %T can't sign: want ECDSA, RSA or ed25519", private)
	}
	der, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return SigningKey{}, fmt.Errorf("its public half can't be written: %w", err)
	}
	public, err := verify.ParseKeys(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		return SigningKey{}, fmt.Errorf("no policy could trust it: %w", err)
	}
	return SigningKey{signer, public[0]}, nil
}

func parsePrivate(block *pem.Block, password func() ([]byte, error)) (key any, err error) {
	der := block.Bytes
	switch block.Type {
	case "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY":
		if der, err = decrypt(der, password); err != nil {
			return nil, err
		}
		key, err = x509.ParsePKCS8PrivateKey(der)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(der)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(der)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(der)
	case "PUBLIC KEY":
		return nil, errors.New("this is the public half: give the private key, cosign.key")
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("it is encrypted as openssl does it: make a cosign key of it by `cosign import-key-pair --key FILE`")
	case "CERTIFICATE":
		return nil, errors.New("this is a certificate: give the private key")
	default:
		return nil, fmt.Errorf("PEM block of type %.64q: want ENCRYPTED SIGSTORE PRIVATE KEY, as cosign generate-key-pair writes it", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("PEM block of type %s that holds no such key", block.Type) // parsers quote what they read
	}
	return key, nil
}

// decrypt opens what cosign encrypts: scrypt and NaCl's secretbox, with parameters that are known.
func decrypt(text []byte, password func() ([]byte, error)) ([]byte, error) {
	if password == nil {
		return nil, errors.New("the key is encrypted, and there is no password")
	}
	secret, err := password()
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	der, err := encrypted.Decrypt(text, secret)
	if err != nil {
		return nil, errors.New("the password is wrong, or the file isn't as cosign writes it")
	}
	return der, nil
}

// Public is the public half, which an authority of a policy may have.
func (k SigningKey) Public() verify.Key { return k.public }

// Format implements fmt.Formatter: whatever the verb, only the fingerprint is told.
func (k SigningKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// String tells the fingerprint of the public half.
func (k SigningKey) String() string {
	if k.signer == nil {
		return "no key"
	}
	return "key " + k.public.Fingerprint().String()
}

// MarshalText implements encoding.TextMarshaler, by which JSON and logs print values.
func (k SigningKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// hash says what a signature is over, as Sigstore's algorithm registry has it; 0 for the message itself.
func (k SigningKey) hash() crypto.Hash {
	switch public := k.signer.Public().(type) {
	case ed25519.PublicKey:
		return 0
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P384():
			return crypto.SHA384
		case elliptic.P521():
			return crypto.SHA512
		}
	}
	return crypto.SHA256
}

// keypair is a key as sigstore-go signs with it.
type keypair struct{ key SigningKey }

var _ sign.Keypair = keypair{}

// GetHashAlgorithm implements sign.Keypair.
func (p keypair) GetHashAlgorithm() protocommon.HashAlgorithm {
	switch p.key.hash() {
	case crypto.SHA256:
		return protocommon.HashAlgorithm_SHA2_256
	case crypto.SHA384:
		return protocommon.HashAlgorithm_SHA2_384
	case crypto.SHA512:
		return protocommon.HashAlgorithm_SHA2_512
	}
	return protocommon.HashAlgorithm_HASH_ALGORITHM_UNSPECIFIED
}

// GetSigningAlgorithm implements sign.Keypair; it is told to certificate authorities alone.
func (keypair) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	return protocommon.PublicKeyDetails_PUBLIC_KEY_DETAILS_UNSPECIFIED
}

// GetHint implements sign.Keypair: how cosign names a key in a bundle.
func (p keypair) GetHint() []byte {
	print := p.key.public.Fingerprint()
	return []byte(base64.StdEncoding.EncodeToString(print[:]))
}

// GetKeyAlgorithm implements sign.Keypair.
func (p keypair) GetKeyAlgorithm() string {
	switch p.key.signer.Public().(type) {
	case ed25519.PublicKey:
		return "ED25519"
	case *rsa.PublicKey:
		return "RSA"
	}
	return "ECDSA"
}

// GetPublicKey implements sign.Keypair.
func (p keypair) GetPublicKey() crypto.PublicKey { return p.key.signer.Public() }

// GetPublicKeyPem implements sign.Keypair.
func (p keypair) GetPublicKeyPem() (string, error) { return string(p.key.public.PEM()), nil }

// SignData implements sign.Keypair: the signature, and what it is over.
func (p keypair) SignData(_ context.Context, data []byte) (signature, over []byte, err error) {
	over = data
	hash := p.key.hash()
	if hash != 0 {
		h := hash.New()
		h.Write(data)
		over = h.Sum(nil)
	}
	signature, err = p.key.signer.Sign(rand.Reader, over, hash)
	return signature, over, err
}
