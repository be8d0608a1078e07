package verifytest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Signing says who signs, when, and who sees it. Exactly one of Person, Holder and Key signs.
type Signing struct {
	Person *Person
	Holder *Holder
	Key    *Signer

	// At is when it is signed, logged and stamped; zero: Then.
	At time.Time
	// Logs are where it is logged.
	Logs []Log
	// Hashed logs an envelope in Rekor v1 as a hashedrekord of what is signed, and not as an envelope.
	Hashed bool
	// Stamps are by which of the instance's two timestamp authorities it is stamped, each 0 or 1.
	Stamps []int
	// StampedAt is when; zero: At.
	StampedAt time.Time

	// Version of the bundle; empty: 0.3.
	Version string
	// Chain keeps the certificate as a chain, with what is above it, and after that More.
	Chain bool
	More  []*x509.Certificate
}

// Log is a log, and what it gives.
type Log uint8

// The logs.
const (
	RekorV1        Log = iota // promise (signed entry timestamp) and inclusion proof
	RekorV1Promise            // promise alone, as in a bundle of v0.1
	RekorV1Proof              // proof alone, which tells no time
	RekorV2                   // proof, which tells no time
)

// Statement returns a bundle of an in-toto Statement of a predicate type about an image. With verify.CosignSign it is a signature.
func (s *Sigstore) Statement(tb testing.TB, by Signing, image v1.Hash, predicateType string) verify.Candidate {
	tb.Helper()
	return packed(verify.Referrer, verify.PlaceReferrers, s.Envelope(tb, by, Statement(image, predicateType)))
}

// Sign returns a bundle that is a signature on an image.
func (s *Sigstore) Sign(tb testing.TB, by Signing, image v1.Hash) verify.Candidate {
	tb.Helper()
	return s.Statement(tb, by, image, verify.CosignSign)
}

// Envelope returns a bundle with a DSSE envelope, as a JSON object to be changed at will: see Pack.
func (s *Sigstore) Envelope(tb testing.TB, by Signing, payload []byte) map[string]any {
	tb.Helper()
	const kind = "application/vnd.in-toto+json"
	w := s.work(tb, by)
	w.signed = fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
	w.signature = signed(tb, w.key, w.signed)
	var hash crypto.Hash
	if by.Hashed {
		hash = w.prehashed()
	}
	return w.bundle(map[string]any{"dsseEnvelope": map[string]any{
		"payloadType": kind, "payload": b64(payload), "signatures": []any{map[string]any{"sig": b64(w.signature)}},
	}}, func() map[string]any {
		if by.Hashed {
			return w.hashedRekord(hash)
		}
		return w.dsse(payload)
	})
}

// Blob returns a bundle with a signature over a file, as a JSON object.
func (s *Sigstore) Blob(tb testing.TB, by Signing, data []byte) map[string]any {
	tb.Helper()
	w := s.work(tb, by)
	w.signed, w.signature = data, signed(tb, w.key, data)
	hash := crypto.SHA256
	if len(by.Logs) > 0 {
		hash = w.prehashed()
	}
	h := hash.New()
	h.Write(data)
	sum, name := h.Sum(nil), strings.ReplaceAll(hash.String(), "SHA-", "SHA2_")
	return w.bundle(map[string]any{"messageSignature": map[string]any{
		"messageDigest": map[string]any{"algorithm": name, "digest": b64(sum)}, "signature": b64(w.signature),
	}}, func() map[string]any { return w.hashedRekord(hash) })
}

// prehashed returns the hash by which a log that takes no more knows what is signed. With ed25519 it is signed anew, by Ed25519ph (RFC 8032, 5.1).
func (w *work) prehashed() crypto.Hash {
	private, ok := w.key.(ed25519.PrivateKey)
	if !ok {
		return crypto.SHA256
	}
	sum := sha512.Sum512(w.signed)
	var err error
	if w.signature, err = private.Sign(rand.Reader, sum[:], &ed25519.Options{Hash: crypto.SHA512}); err != nil {
		w.tb.Fatal(err)
	}
	return crypto.SHA512
}

// Pack makes a paper of a bundle.
func Pack(bundle map[string]any) verify.Candidate {
	return packed(verify.Referrer, verify.PlaceReferrers, bundle)
}

// Stamp returns a signed timestamp (RFC 3161) over a message by one of the instance's authorities.
func (s *Sigstore) Stamp(tb testing.TB, which int, message []byte, at time.Time) []byte {
	tb.Helper()
	sum := sha256.Sum256(message)
	return s.StampHashed(tb, which, sum[:], at)
}

// StampHashed is Stamp over a message of which only the SHA-256 is known.
func (s *Sigstore) StampHashed(tb testing.TB, which int, sum []byte, at time.Time) []byte {
	tb.Helper()
	t := s.stampers[which]
	out, err := (&timestamp.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: sum, Time: at, Policy: []int{1, 3, 6, 1, 4, 1, 57264, 2},
	}).CreateResponseWithOpts(t.leaf, t.key, crypto.SHA256)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// work is one signature in the making.
type work struct {
	tb  testing.TB
	on  *Sigstore
	by  Signing
	ctx context.Context

	key         crypto.Signer
	certificate *x509.Certificate // nil: a bare key
	above       []*x509.Certificate
	signed      []byte // the message
	signature   []byte
}

func (s *Sigstore) work(tb testing.TB, by Signing) *work {
	tb.Helper()
	if by.At.IsZero() {
		by.At = Then()
	}
	if by.StampedAt.IsZero() {
		by.StampedAt = by.At
	}
	if by.Version == "" {
		by.Version = "0.3"
	}
	w := &work{tb: tb, on: s, by: by, ctx: tb.Context()}
	switch {
	case by.Person != nil:
		h := s.certify(tb, *by.Person, by.At)
		w.key, w.certificate, w.above = h.key, h.Certificate, []*x509.Certificate{s.fulcio.certificate}
	case by.Holder != nil:
		w.key, w.certificate, w.above = by.Holder.key, by.Holder.Certificate, by.Holder.Chain
	case by.Key != nil:
		w.key = by.Key.private
	default:
		tb.Fatal("nobody signs")
	}
	return w
}

func signed(tb testing.TB, key crypto.Signer, message []byte) []byte {
	tb.Helper()
	digest, hash := message, crypto.Hash(0)
	if _, whole := key.(ed25519.PrivateKey); !whole {
		if hash = crypto.SHA256; isP384(key) {
			hash = crypto.SHA384
		}
		h := hash.New()
		h.Write(message)
		digest = h.Sum(nil)
	}
	sig, err := key.Sign(rand.Reader, digest, hash)
	if err != nil {
		tb.Fatal(err)
	}
	return sig
}

func isP384(key crypto.Signer) bool {
	public, ok := key.Public().(*ecdsa.PublicKey)
	return ok && public.Curve.Params().BitSize == 384
}

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// bundle puts it all together.
func (w *work) bundle(content map[string]any, body func() map[string]any) map[string]any {
	material := map[string]any{}
	raw := func(c *x509.Certificate) any { return map[string]any{"rawBytes": b64(c.Raw)} }
	switch {
	case w.certificate == nil:
		print := w.by.Key.key.Fingerprint()
		material["publicKey"] = map[string]any{"hint": b64(print[:])}
	case w.by.Chain || w.by.Version != "0.3":
		chain := []any{raw(w.certificate)}
		if w.by.Chain {
			for _, c := range slices.Concat(w.above, w.by.More) {
				chain = append(chain, raw(c))
			}
		}
		material["x509CertificateChain"] = map[string]any{"certificates": chain}
	default:
		material["certificate"] = raw(w.certificate)
	}
	var entries, stamps []any
	for _, l := range w.by.Logs {
		entries = append(entries, w.entry(l, body))
	}
	for _, which := range w.by.Stamps {
		stamps = append(stamps, map[string]any{"signedTimestamp": b64(w.on.Stamp(w.tb, which, w.signature, w.by.StampedAt))})
	}
	if entries != nil {
		material["tlogEntries"] = entries
	}
	if stamps != nil {
		material["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": stamps}
	}
	content["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=" + w.by.Version
	if w.by.Version == "0.3" {
		content["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.3+json"
	}
	content["verificationMaterial"] = material
	return content
}

// verifier is the signer's certificate, or else key, in PEM, as Rekor v1 keeps it.
func (w *work) verifier() []byte {
	if w.certificate != nil {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.certificate.Raw})
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: w.der()})
}

// dsse is the body of Rekor v1's entry for an envelope (type dsse 0.0.1).
func (w *work) dsse(payload []byte) map[string]any {
	return map[string]any{"apiVersion": "0.0.1", "kind": "dsse", "spec": map[string]any{
		"envelopeHash": hashed(w.signed), "payloadHash": hashed(payload),
		"signatures": []any{map[string]any{"signature": b64(w.signature), "verifier": b64(w.verifier())}},
	}}
}

// hashedRekord is the body of Rekor v1's entry for a digest of what is signed (type hashedrekord 0.0.1).
func (w *work) hashedRekord(hash crypto.Hash) map[string]any {
	h := hash.New()
	h.Write(w.signed)
	algorithm, sum := strings.ToLower(strings.ReplaceAll(hash.String(), "-", "")), h.Sum(nil)
	return map[string]any{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": map[string]any{
		"data":      map[string]any{"hash": map[string]any{"algorithm": algorithm, "value": fmt.Sprintf("%x", sum)}},
		"signature": map[string]any{"content": b64(w.signature), "publicKey": map[string]any{"content": b64(w.verifier())}},
	}}
}

func hashed(data []byte) map[string]any {
	return map[string]any{"algorithm": "sha256", "value": fmt.Sprintf("%x", sha256.Sum256(data))}
}

// BareKey is the signer of a holder's key without the certificate.
func (h Holder) BareKey(tb testing.TB) verify.Key {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(h.key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	keys, err := verify.ParseKeys(bytes.TrimSpace(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	if err != nil {
		tb.Fatal(err)
	}
	return keys[0]
}

// Bare returns a signature on an image with the key of a holder's certificate, which doesn't come with it.
func (s *Sigstore) Bare(tb testing.TB, h Holder, image v1.Hash) verify.Candidate {
	tb.Helper()
	b := s.Envelope(tb, Signing{Holder: &h}, Statement(image, verify.CosignSign))
	print := h.BareKey(tb).Fingerprint()
	b["verificationMaterial"] = map[string]any{"publicKey": map[string]any{"hint": b64(print[:])}}
	return Pack(b)
}
