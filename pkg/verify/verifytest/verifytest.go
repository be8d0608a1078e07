// Package verifytest makes signed papers in memory and offers them as a registry would: a Fetcher that works, for the tests of
// every layer above. What it makes is signed for real, and goes through the real Verifier.
package verifytest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Signer is a key pair.
type Signer struct {
	private ed25519.PrivateKey
	key     verify.Key
}

// NewSigner returns the signer of a seed: the same seed is the same signer.
func NewSigner(tb testing.TB, seed byte) Signer {
	tb.Helper()
	private := ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), seed))
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		tb.Fatal(err)
	}
	keys, err := verify.ParseKeys(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		tb.Fatal(err)
	}
	return Signer{private: private, key: keys[0]}
}

// Key returns the signer's public key.
func (s Signer) Key() verify.Key { return s.key }

// Authority returns the authority of some signers.
func Authority(tb testing.TB, name string, signers ...Signer) verify.Authority {
	tb.Helper()
	var keys []verify.Key
	for _, s := range signers {
		keys = append(keys, s.key)
	}
	a, err := verify.NewKeyAuthority(name, keys, verify.Terms{})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// Digest returns the digest of some text, which stands for an image.
func Digest(text string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256([]byte(text)))}
}

// Registry is a verify.Fetcher over papers in memory.
type Registry struct {
	// Creds tells credentials apart.
	Creds verify.Access

	mu     sync.Mutex
	papers map[v1.Hash][]verify.Candidate
	down   error
	places []*verify.FetchError
	broken error
	lists  int
	fetch  int
	shown  int
	block  chan struct{}
	below  map[v1.Hash][]verify.Child
	others map[string]*Registry
}

var _ verify.Fetcher = (*Registry)(nil)

// NewRegistry returns an empty one: every image is there, without papers.
func NewRegistry() *Registry { return &Registry{papers: map[v1.Hash][]verify.Candidate{}} }

// Sign attaches a legacy signature on the image.
func (r *Registry) Sign(s Signer, image v1.Hash) { r.attach(image, LegacySignature(s, image)) }

// Attach attaches a candidate to an image, whatever it says.
func (r *Registry) Attach(image v1.Hash, c verify.Candidate) { r.attach(image, c) }

func (r *Registry) attach(image v1.Hash, c verify.Candidate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.papers[image] = append(r.papers[image], c)
}

// Clear takes away all papers of an image.
func (r *Registry) Clear(image v1.Hash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.papers, image)
}

// Fail makes listing fail; nil mends it.
func (r *Registry) Fail(err error) { r.mu.Lock(); r.down = err; r.mu.Unlock() }

// FailPlace makes places not answer; none mends it.
func (r *Registry) FailPlace(e ...*verify.FetchError) { r.mu.Lock(); r.places = e; r.mu.Unlock() }

// FailFetch makes fetching fail; nil mends it.
func (r *Registry) FailFetch(err error) { r.mu.Lock(); r.broken = err; r.mu.Unlock() }

// Block makes listings wait until the returned function is called.
func (r *Registry) Block() (release func()) {
	ch := make(chan struct{})
	r.mu.Lock()
	r.block = ch
	r.mu.Unlock()
	return sync.OnceFunc(func() {
		r.mu.Lock()
		r.block = nil
		r.mu.Unlock()
		close(ch)
	})
}

// Counts returns how often it was asked for a listing and for a paper.
func (r *Registry) Counts() (lists, fetches int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lists, r.fetch
}

// List implements verify.Fetcher.
func (r *Registry) List(ctx context.Context, image name.Digest, _ []string) (verify.Listing, error) {
	h, err := v1.NewHash(image.DigestStr())
	if err != nil {
		return verify.Listing{}, err
	}
	r.mu.Lock()
	r.lists++
	block := r.block
	r.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return verify.Listing{}, &verify.FetchError{Err: ctx.Err()}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != nil {
		return verify.Listing{}, r.down
	}
	l := verify.Listing{Unanswered: r.places}
	l.Children, l.Index = r.below[h]
	for _, c := range r.papers[h] {
		l.Papers = append(l.Papers, c.Paper)
	}
	return l, nil
}

// Fetch implements verify.Fetcher.
func (r *Registry) Fetch(_ context.Context, image name.Digest, p verify.Paper, most int64) (verify.Candidate, error) {
	h, err := v1.NewHash(image.DigestStr())
	if err != nil {
		return verify.Candidate{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetch++
	if r.broken != nil {
		return verify.Candidate{}, r.broken
	}
	for _, c := range r.papers[h] {
		if c.Paper.Digest != p.Digest {
			continue
		}
		if n := int64(len(c.Payload)); n > most {
			return verify.Candidate{}, &verify.FetchError{Kind: verify.TooLarge, Place: p.Place, Size: n, Err: fmt.Errorf("a paper of %d bytes is over the bound of %d", n, most)}
		}
		return c, nil
	}
	return verify.Candidate{}, &verify.FetchError{Kind: verify.NotFound, Place: p.Place, Err: errors.New("gone")}
}

// Index makes a digest that of an index.
func (r *Registry) Index(index v1.Hash, children ...verify.Child) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.below == nil {
		r.below = map[v1.Hash][]verify.Child{}
	}
	r.below[index] = children
}

// Shelf makes another registry the one that reads a repository where papers are kept apart.
func (r *Registry) Shelf(papers name.Repository, other *Registry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.others == nil {
		r.others = map[string]*Registry{}
	}
	r.others[papers.Name()] = other
}

// Elsewhere implements verify.Fetcher.
func (r *Registry) Elsewhere(papers name.Repository) (verify.Fetcher, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	other, ok := r.others[papers.Name()]
	if !ok {
		return nil, &verify.FetchError{Kind: verify.NotFound, Host: papers.RegistryStr(), Err: errors.New("no such repository")}
	}
	return other, nil
}

// Present implements verify.Fetcher.
func (r *Registry) Present(context.Context, name.Digest) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shown++
	return r.down
}

// Shown returns how often it was asked for an image's manifest alone.
func (r *Registry) Shown() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shown
}

// Access implements verify.Fetcher.
func (r *Registry) Access() verify.Access { return r.Creds }

// SimpleSigning returns cosign's legacy payload about an image.
func SimpleSigning(image v1.Hash) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":""},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, image)
}

// LegacySignature returns a legacy signature on an image.
func LegacySignature(s Signer, image v1.Hash) verify.Candidate {
	return SignPayload(s, SimpleSigning(image))
}

// SignPayload returns a legacy signature over any payload.
func SignPayload(s Signer, payload []byte) verify.Candidate {
	sig := base64.StdEncoding.EncodeToString(ed25519.Sign(s.private, payload))
	return verify.Candidate{Payload: payload, Paper: verify.Paper{
		Kind: verify.LegacySignature, Place: verify.PlaceSignatures, Size: int64(len(payload)),
		Digest:      Digest(string(payload) + sig),
		Annotations: map[string]string{"dev.cosignproject.cosign/signature": sig},
	}}
}

// Statement returns an in-toto Statement of a predicate type about an image, with an empty predicate.
func Statement(image v1.Hash, predicateType string) []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`, image.Hex, predicateType)
}

// Bundle returns a Sigstore bundle of a version ("0.1", "0.2" or "0.3") about an image.
func Bundle(s Signer, image v1.Hash, predicateType, version string) verify.Candidate {
	return BundleOf(s, Statement(image, predicateType), version)
}

// BundleOf returns a Sigstore bundle over any payload, as an in-toto Statement.
func BundleOf(s Signer, payload []byte, version string) verify.Candidate {
	mediaType := "application/vnd.dev.sigstore.bundle+json;version=" + version
	if version == "0.3" {
		mediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	}
	print := s.key.Fingerprint()
	doc := map[string]any{
		"mediaType":            mediaType,
		"verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": base64.StdEncoding.EncodeToString(print[:])}},
		"dsseEnvelope":         envelope(s, payload),
	}
	return packed(verify.Referrer, verify.PlaceReferrers, doc)
}

// LegacyAttestation returns a DSSE envelope as cosign's .att layout keeps it. Its annotation tells the type as given there.
func LegacyAttestation(s Signer, image v1.Hash, predicateType, annotated string) verify.Candidate {
	c := packed(verify.LegacyAttestation, verify.PlaceAttestation, envelope(s, Statement(image, predicateType)))
	if annotated != "" {
		c.Paper.Annotations = map[string]string{"predicateType": annotated}
	}
	return c
}

func envelope(s Signer, payload []byte) map[string]any {
	const kind = "application/vnd.in-toto+json"
	pae := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
	return map[string]any{
		"payloadType": kind, "payload": base64.StdEncoding.EncodeToString(payload),
		"signatures": []any{map[string]any{"sig": base64.StdEncoding.EncodeToString(ed25519.Sign(s.private, pae))}},
	}
}

func packed(kind verify.Kind, place verify.Place, doc any) verify.Candidate {
	payload, err := json.Marshal(doc)
	if err != nil {
		panic(err) // maps of strings always marshal
	}
	return verify.Candidate{Payload: payload, Paper: verify.Paper{
		Kind: kind, Place: place, Digest: Digest(string(payload)), Size: int64(len(payload)),
	}}
}
