package verify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// MaxPolicyPEM bounds the PEM text of one authority, in bytes: about 80 RSA-4096 keys, and what one
// etcd object can carry many times over.
const MaxPolicyPEM = 64 << 10

// Bounds of RSA moduli, in bits: below 2048 a key is weak (NIST SP 800-131A); above 8192 one
// verification costs more than the whole budget of an admission.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// Fingerprint identifies key material: the SHA-256 of a key's PKIX DER, or of an authority's resolved material.
type Fingerprint [sha256.Size]byte

// String returns the fingerprint as people are shown it: SHA256:<64 hex digits>.
func (f Fingerprint) String() string { return "SHA256:" + hex.EncodeToString(f[:]) }

// Key is one public key that may vouch. The zero Key verifies nothing.
type Key struct {
	public      crypto.PublicKey
	fingerprint Fingerprint
	verifier    root.TimeConstrainedVerifier
}

// Fingerprint returns the SHA-256 of the key's PKIX DER: two PEM texts of one key have one fingerprint.
func (k Key) Fingerprint() Fingerprint { return k.fingerprint }

// PEM returns the key as a PEM block of type PUBLIC KEY (PKIX).
func (k Key) PEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		return nil // the zero Key
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// ParseKeys reads one or several public keys in PEM (PKIX, "PUBLIC KEY"), as `cosign generate-key-pair`
// writes them: ECDSA on P-256, P-384 or P-521, RSA of 2048 to 8192 bits, or ed25519. Anything else in the text,
// and any weaker key, is an error.
func ParseKeys(text []byte) ([]Key, error) {
	if len(text) > MaxPolicyPEM {
		return nil, fmt.Errorf("PEM of %d bytes is over the bound of %d", len(text), MaxPolicyPEM)
	}
	var keys []Key
	seen := map[Fingerprint]bool{}
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		block, after := pem.Decode(rest)
		if block == nil || !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return nil, fmt.Errorf("no PEM block in what follows key %d: want -----BEGIN PUBLIC KEY-----", len(keys))
		}
		rest = after
		key, err := parseKey(block)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", len(keys)+1, err)
		}
		if !seen[key.fingerprint] {
			seen[key.fingerprint] = true
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("no public key in it: want -----BEGIN PUBLIC KEY-----")
	}
	return keys, nil
}

func parseKey(block *pem.Block) (Key, error) {
	switch block.Type {
	case "PUBLIC KEY":
	case "CERTIFICATE":
		return Key{}, errors.New("this is a certificate: use authorities[].certificate, or extract its public key")
	case "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return Key{}, errors.New("this is a private key: take it out of here and use the public one")
	default:
		return Key{}, fmt.Errorf("PEM block of type %q: want PUBLIC KEY", block.Type)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Key{}, fmt.Errorf("not a PKIX public key: %w", err)
	}
	return newKey(public)
}

// newKey checks a key's strength and prepares what verifies with it.
func newKey(public crypto.PublicKey) (Key, error) {
	hashes, err := strongHashes(public)
	if err != nil {
		return Key{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, err
	}
	any, err := newAnyHash(public, hashes)
	if err != nil {
		return Key{}, err
	}
	return Key{public: public, fingerprint: sha256.Sum256(der), verifier: root.NewExpiringKey(any, time.Time{}, time.Time{})}, nil
}

// fingerprintOf is the fingerprint of any public key.
func fingerprintOf(public crypto.PublicKey) (Fingerprint, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	return sha256.Sum256(der), err
}

// strongHashes says with which hashes a key of this kind signs, the commonest first, and refuses weak keys.
// cosign 2 signs with SHA-256 whatever the curve; cosign 3 follows Sigstore's algorithm registry.
func strongHashes(public crypto.PublicKey) ([]crypto.Hash, error) {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []crypto.Hash{crypto.SHA256}, nil
		case elliptic.P384():
			return []crypto.Hash{crypto.SHA256, crypto.SHA384}, nil
		case elliptic.P521():
			return []crypto.Hash{crypto.SHA256, crypto.SHA512}, nil
		}
		return nil, errors.New("ECDSA key on a weak or unknown curve: want P-256, P-384 or P-521")
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return nil, fmt.Errorf("RSA key of %d bits: want %d to %d", bits, minRSABits, maxRSABits)
		}
		return []crypto.Hash{crypto.SHA256}, nil
	case ed25519.PublicKey:
		return []crypto.Hash{crypto.Hash(0), crypto.SHA512}, nil
	}
	return nil, fmt.Errorf("key of type %T: want ECDSA, RSA or ed25519", public)
}

// anyHash verifies with one key under each of the hashes that signers use with its kind.
type anyHash struct {
	public    crypto.PublicKey
	verifiers []signature.Verifier
}

func newAnyHash(public crypto.PublicKey, hashes []crypto.Hash) (*anyHash, error) {
	a := &anyHash{public: public}
	for _, h := range hashes {
		var opts []signature.LoadOption
		switch _, ed := public.(ed25519.PublicKey); {
		case ed && h == crypto.SHA512:
			opts = append(opts, options.WithED25519ph())
		case !ed:
			opts = append(opts, options.WithHash(h))
		}
		v, err := signature.LoadVerifierWithOpts(public, opts...)
		if err != nil {
			return nil, err
		}
		a.verifiers = append(a.verifiers, v)
	}
	return a, nil
}

// VerifySignature implements signature.Verifier.
func (a *anyHash) VerifySignature(sig, message io.Reader, opts ...signature.VerifyOption) error {
	s, err := io.ReadAll(sig) // both are in memory already, and were bounded where they were read
	if err != nil {
		return err
	}
	if len(a.verifiers) == 1 { // it needn't be read twice, nor held: a large paper is hashed as it comes
		return a.verifiers[0].VerifySignature(bytes.NewReader(s), message, opts...)
	}
	m, err := io.ReadAll(message)
	if err != nil {
		return err
	}
	first := errors.New("no hash to verify with")
	for i, v := range a.verifiers {
		err := v.VerifySignature(bytes.NewReader(s), bytes.NewReader(m), opts...)
		if err == nil {
			return nil
		}
		if i == 0 {
			first = err
		}
	}
	return first
}

// PublicKey implements signature.PublicKeyProvider.
func (a *anyHash) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return a.public, nil
}
