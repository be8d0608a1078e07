package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/test/interop/internal/layout"
)

// Types the tools write.
const (
	typeLegacySignature = "application/vnd.dev.cosign.simplesigning.v1+json"
	typeEnvelope        = "application/vnd.dsse.envelope.v1+json"
	typeBundle          = "application/vnd.dev.sigstore.bundle.v0.3+json"
	predicateSignature  = "https://sigstore.dev/cosign/sign/v1"
	predicateSPDX       = "https://spdx.dev/Document"
)

// paper is a signature or attestation found beside an image.
type paper struct {
	// Kind is "signature", or an attestation's predicate type.
	Kind string
	// Digest is the image it speaks of.
	Digest string
	// Signers are the keys, among all there are, whose signature it carries.
	Signers []string
}

// TestPapersAreWhatTheStatePromises reads the papers of each fixture as a
// verifier would, from the registry alone, and checks the signatures with the
// standard library, so with nothing of sigstore's.
func TestPapersAreWhatTheStatePromises(t *testing.T) {
	t.Parallel()
	keys := publicKeys(t)
	for _, f := range Fixtures() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			r := reader{t, repository(Serve(t, f), f), f, keys}
			if diff := cmp.Diff(promised(f), r.papers(f.Digest)); diff != "" {
				t.Errorf("papers beside the image (-promised +found):\n%s", diff)
			}
			if f.State != OtherDigest {
				return
			}
			own := []paper{{Kind: "signature", Digest: f.OtherDigest, Signers: f.Signers}}
			if diff := cmp.Diff(own, r.papers(f.OtherDigest)); diff != "" {
				t.Errorf("papers beside the other image (-promised +found):\n%s", diff)
			}
		})
	}
}

// promised is what the state says lies beside the image, by signer.
func promised(f Fixture) []paper {
	var list []paper
	for _, signer := range f.Signers {
		p := paper{Kind: "signature", Digest: f.Digest, Signers: []string{signer}}
		switch f.State {
		case SBOMInstead:
			p.Kind = predicateSPDX
		case OtherDigest:
			p.Digest = f.OtherDigest
		}
		list = append(list, p)
	}
	return list
}

// reader reads a fixture's papers.
type reader struct {
	*testing.T
	layout.Repository
	fixture Fixture
	keys    map[string]crypto.PublicKey
}

// papers returns the papers beside the image with the digest given, by signer.
// It looks everywhere, and what lies where the fixture's layout and registry
// have nothing to do fails the test.
func (r reader) papers(digest string) []paper {
	r.Helper()
	tag := layout.FallbackTag(digest)
	var found []paper
	for _, suffix := range []string{".sig", ".att"} {
		if m, ok := r.manifest(tag + suffix); ok {
			r.only(r.fixture.Layout == Legacy, tag+suffix)
			found = append(found, r.legacy(m)...)
		}
	}
	if m, ok := r.manifest(tag); ok {
		r.only(r.fixture.Layout == Bundle && r.fixture.Registry == FallbackTag, tag)
		l, err := m.Links()
		r.check(err)
		r.fallbackHints(l.Manifests)
		found = append(found, r.bundles(digest, l.Manifests)...)
	}
	list, err := r.Referrers(r.Context(), digest)
	if has := !errors.Is(err, layout.ErrNotFound); has {
		r.check(err)
		r.only(r.fixture.Registry == ReferrersAPI, "the referrers API")
		r.only(r.fixture.Layout == Bundle || len(list) == 0, "a referrer")
		found = append(found, r.bundles(digest, list)...)
	} else {
		r.only(r.fixture.Registry == FallbackTag, "a registry without the referrers API")
	}
	slices.SortFunc(found, func(a, b paper) int { return slices.Compare(a.Signers, b.Signers) })
	return found
}

// fallbackHints checks what README.md says of the tools' fallback entries.
func (r reader) fallbackHints(entries []layout.Descriptor) {
	want := map[Tool]string{Cosign2: "application/vnd.oci.empty.v1+json", Cosign3: typeBundle}[r.fixture.Tool]
	for _, entry := range entries {
		if entry.ArtifactType != want || entry.Annotations != nil {
			r.Errorf("fallback entry has artifactType %q and annotations %v", entry.ArtifactType, entry.Annotations)
		}
	}
}

func (r reader) legacy(m layout.Manifest) []paper {
	var raw struct {
		Layers []layout.Descriptor `json:"layers"`
	}
	r.check(json.Unmarshal(m.Body, &raw))
	var found []paper
	for _, layer := range raw.Layers {
		body, err := r.Blob(r.Context(), layer.Digest)
		r.check(err)
		switch layer.MediaType {
		case typeLegacySignature:
			found = append(found, r.simplesigning(body, layer.Annotations["dev.cosignproject.cosign/signature"]))
		case typeEnvelope:
			p, _ := r.envelope(body)
			found = append(found, p)
		default:
			r.Errorf("layer of type %s", layer.MediaType)
		}
	}
	return found
}

func (r reader) simplesigning(payload []byte, signature string) paper {
	var claim struct {
		Critical struct {
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
			Type string `json:"type"`
		} `json:"critical"`
	}
	r.check(json.Unmarshal(payload, &claim))
	if claim.Critical.Type != "cosign container image signature" {
		r.Errorf("payload of type %q", claim.Critical.Type)
	}
	sig, err := base64.StdEncoding.DecodeString(signature)
	r.check(err)
	return paper{Kind: "signature", Digest: claim.Critical.Image.Digest, Signers: r.signers(payload, sig)}
}

// bundles reads the manifests listed, each of which has the digest as its
// subject and holds one bundle.
func (r reader) bundles(digest string, list []layout.Descriptor) []paper {
	var found []paper
	for _, desc := range list {
		m, ok := r.manifest(desc.Digest)
		if !ok {
			r.Fatalf("referrer %s is listed and absent", desc.Digest)
		}
		l, err := m.Links()
		r.check(err)
		if l.Subject == nil || l.Subject.Digest != digest || l.ArtifactType != typeBundle || len(l.Layers) != 1 {
			r.Fatalf("referrer %s: %s", desc.Digest, m.Body)
		}
		body, err := r.Blob(r.Context(), l.Layers[0].Digest)
		r.check(err)
		found = append(found, r.bundle(body, l.Annotations["dev.sigstore.bundle.predicateType"]))
	}
	return found
}

func (r reader) bundle(body []byte, predicateType string) paper {
	var bundle struct {
		MediaType            string `json:"mediaType"`
		VerificationMaterial struct {
			PublicKey struct {
				Hint string `json:"hint"`
			} `json:"publicKey"`
		} `json:"verificationMaterial"`
		Envelope json.RawMessage `json:"dsseEnvelope"`
	}
	r.check(json.Unmarshal(body, &bundle))
	p, got := r.envelope(bundle.Envelope)
	if bundle.MediaType != typeBundle || got != predicateType {
		r.Errorf("bundle of type %s, with a %s, annotated %s", bundle.MediaType, got, predicateType)
	}
	if got == predicateSignature {
		p.Kind = "signature"
	}
	for _, signer := range p.Signers {
		if want := hint(r.T, r.keys[signer]); bundle.VerificationMaterial.PublicKey.Hint != want {
			r.Errorf("hint is %s, and %s has %s", bundle.VerificationMaterial.PublicKey.Hint, signer, want)
		}
	}
	return p
}

// envelope reads a DSSE envelope around an in-toto statement.
func (r reader) envelope(body []byte) (paper, string) {
	var envelope struct {
		PayloadType string `json:"payloadType"`
		Payload     []byte `json:"payload"`
		Signatures  []struct {
			Sig []byte `json:"sig"`
		} `json:"signatures"`
	}
	r.check(json.Unmarshal(body, &envelope))
	var statement struct {
		PredicateType string `json:"predicateType"`
		Subject       []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	r.check(json.Unmarshal(envelope.Payload, &statement))
	if len(envelope.Signatures) != 1 || len(statement.Subject) != 1 {
		r.Fatalf("%d signatures over %d subjects", len(envelope.Signatures), len(statement.Subject))
	}
	message := fmt.Appendf(nil, "DSSEv1 %d %s %d %s",
		len(envelope.PayloadType), envelope.PayloadType, len(envelope.Payload), envelope.Payload)
	return paper{
		Kind:    statement.PredicateType,
		Digest:  "sha256:" + statement.Subject[0].Digest["sha256"],
		Signers: r.signers(message, envelope.Signatures[0].Sig),
	}, statement.PredicateType
}

// signers are the names of the keys that made the signature.
func (r reader) signers(message, signature []byte) []string {
	var names []string
	for name, key := range r.keys {
		if verify(key, message, signature) {
			names = append(names, name)
		}
	}
	return names
}

func (r reader) manifest(ref string) (layout.Manifest, bool) {
	m, err := r.Manifest(r.Context(), ref)
	if errors.Is(err, layout.ErrNotFound) {
		return layout.Manifest{}, false
	}
	r.check(err)
	return m, true
}

func (r reader) only(ok bool, what string) {
	if !ok {
		r.Errorf("a fixture of layout %s for registry %s has %s", r.fixture.Layout, r.fixture.Registry, what)
	}
}

func (r reader) check(err error) {
	if err != nil {
		r.Helper()
		r.Fatal(err)
	}
}

// verify checks a signature in the one scheme that both tools use for a key of
// its type, as the comment of KeyType has it.
func verify(key crypto.PublicKey, message, signature []byte) bool {
	sum256, sum384, sum512 := sha256.Sum256(message), sha512.Sum384(message), sha512.Sum512(message)
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		digest := map[int][]byte{256: sum256[:], 384: sum384[:], 521: sum512[:]}[key.Curve.Params().BitSize]
		return ecdsa.VerifyASN1(key, digest, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum256[:], signature) == nil
	case ed25519.PublicKey:
		return ed25519.VerifyWithOptions(key, sum512[:], signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
	}
	return false
}

// hint is the one both tools write: base64 of the SHA-256 of the PKIX key.
func hint(t *testing.T, key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func publicKeys(t *testing.T) map[string]crypto.PublicKey {
	t.Helper()
	keys := map[string]crypto.PublicKey{}
	for _, name := range []string{"a", "b", "rsa2048", "rsa3072", "ed25519", "p384", "p521"} {
		block, rest := pem.Decode(PublicKey(t, name))
		if block == nil || len(rest) > 0 {
			t.Fatalf("key %s is not one PEM block", name)
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatalf("key %s: %v", name, err)
		}
		keys[name] = key
	}
	return keys
}

func TestKeysAreWhatTheirNamesSay(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"a": "ECDSA 256", "b": "ECDSA 256", "p384": "ECDSA 384", "p521": "ECDSA 521",
		"rsa2048": "RSA 2048", "rsa3072": "RSA 3072", "ed25519": "Ed25519",
	}
	got := map[string]string{}
	for name, key := range publicKeys(t) {
		switch key := key.(type) {
		case *ecdsa.PublicKey:
			got[name] = fmt.Sprint("ECDSA ", key.Curve.Params().BitSize)
		case *rsa.PublicKey:
			got[name] = fmt.Sprint("RSA ", key.N.BitLen())
		case ed25519.PublicKey:
			got[name] = "Ed25519"
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}
