package promote_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/promote"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

const review = "https://acme.example/review/v1"

// image is the digest that some text stands for.
func image(t *testing.T, text string) name.Digest {
	t.Helper()
	d, err := name.NewDigest("registry.example/team/app@" + verifytest.Digest(text).String())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// evidence has the webhook's own verifier look at a bundle that is kept with an image.
func evidence(t *testing.T, b promote.Bundle, image name.Digest, by verify.Key, terms verify.Terms) []verify.Evidence {
	t.Helper()
	r := verifytest.NewRegistry()
	h, err := v1.NewHash(image.DigestStr())
	if err != nil {
		t.Fatal(err)
	}
	r.Attach(h, verify.Candidate{Payload: b.JSON, Paper: verify.Paper{
		Kind: verify.Referrer, Place: verify.PlaceReferrers, Digest: verifytest.Digest(string(b.JSON)), Size: int64(len(b.JSON)),
	}})
	authority, err := verify.NewKeyAuthority("by", []verify.Key{by}, terms)
	if err != nil {
		t.Fatal(err)
	}
	question, err := verify.Statements(authority, b.PredicateType)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.NewVerifier(verify.Options{Clock: verifytest.Then})
	if err != nil {
		t.Fatal(err)
	}
	found := v.Findings(t.Context(), r, image, []verify.Question{question}, verify.Anew)[0]
	if len(found.Misses) > 0 {
		t.Logf("misses: %+v", found.Misses)
	}
	return found.Evidence
}

func TestWhatIsSignedIsWhatAPolicyIsToldAndOfWhichImages(t *testing.T) {
	t.Parallel()
	key := newKey(t, "P-256")
	text, err := predicate.NewApproval("production", verifytest.Then(), "looked at <by hand> & found good", "CHG-1")
	if err != nil {
		t.Fatal(err)
	}
	index, child, other := image(t, "index"), image(t, "child"), image(t, "other")
	b, err := key.Sign(t.Context(), promote.Statement{Subjects: []name.Digest{index, child}, PredicateType: predicate.TypeApproval, Predicate: text}, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := evidence(t, b, index, key.Public(), verify.Terms{})
	if len(found) != 1 {
		t.Fatalf("%d pieces of evidence, want 1", len(found))
	}
	facts, err := found[0].Facts()
	if err != nil {
		t.Fatal(err)
	}
	approval, ok := facts.(*predicate.Approval)
	if !ok {
		t.Fatalf("facts of type %T", facts)
	}
	got := []string{approval.Environment(), approval.Reason(), approval.Ticket(), approval.Time().String()}
	want := []string{"production", "looked at <by hand> & found good", "CHG-1", verifytest.Then().String()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct {
		image name.Digest
		about bool
	}{{index, true}, {child, true}, {other, false}} {
		h, err := v1.NewHash(c.image.DigestStr())
		if err != nil {
			t.Fatal(err)
		}
		if found[0].About(h) != c.about {
			t.Errorf("about %s: %v", c.image, !c.about)
		}
	}
	if found := evidence(t, b, other, key.Public(), verify.Terms{}); len(found) != 0 {
		t.Errorf("it counts for an image that it doesn't name: %v", found)
	}
	if found := evidence(t, b, index, newKey(t, "P-256").Public(), verify.Terms{}); len(found) != 0 {
		t.Errorf("it counts as another key's: %v", found)
	}
}

func TestABundleIsOfVersion03AndNamesItsKeyAsCosignDoes(t *testing.T) {
	t.Parallel()
	key := newKey(t, "P-256")
	b, err := key.Sign(t.Context(), promote.Statement{Subjects: []name.Digest{image(t, "a")}, PredicateType: review, Predicate: []byte(`{"ok": true}`)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		MediaType            string `json:"mediaType"`
		VerificationMaterial struct {
			PublicKey struct {
				Hint []byte `json:"hint"` // base64
			} `json:"publicKey"`
		} `json:"verificationMaterial"`
		Envelope struct {
			Payload     []byte `json:"payload"`
			PayloadType string `json:"payloadType"`
		} `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(b.JSON, &got); err != nil {
		t.Fatal(err)
	}
	print := key.Public().Fingerprint()
	if got.MediaType != promote.BundleType || !bytes.Equal(got.VerificationMaterial.PublicKey.Hint, print[:]) || got.Envelope.PayloadType != "application/vnd.in-toto+json" {
		t.Errorf("%s", b.JSON)
	}
	want := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"registry.example/team/app","digest":{"sha256":"` + verifytest.Digest("a").Hex +
		`"}}],"predicateType":"https://acme.example/review/v1","predicate":{"ok":true}}`
	if diff := cmp.Diff(want, string(got.Envelope.Payload)); diff != "" {
		t.Error(diff)
	}
}

func TestASignatureIsOneToo(t *testing.T) {
	t.Parallel()
	key := newKey(t, "P-256")
	b, err := key.Sign(t.Context(), promote.Statement{Subjects: []name.Digest{image(t, "a")}, PredicateType: verify.CosignSign, Predicate: []byte("{}")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if found := evidence(t, b, image(t, "a"), key.Public(), verify.Terms{}); len(found) != 1 {
		t.Errorf("%d pieces of evidence, want 1", len(found))
	}
}

func TestWhatAWebhookCouldNotReadIsNotSigned(t *testing.T) {
	t.Parallel()
	key, one := newKey(t, "P-256"), []name.Digest{image(t, "a")}
	sha512, err := name.NewDigest("registry.example/team/app@sha256:" + strings.Repeat("0", 64))
	if err != nil {
		t.Fatal(err)
	}
	many := make([]name.Digest, promote.MaxSubjects+1)
	for i := range many {
		many[i] = sha512
	}
	for says, c := range map[string]struct {
		s    promote.Statement
		want string
	}{
		"about nothing":         {promote.Statement{PredicateType: review, Predicate: []byte("{}")}, "a statement about 0 images: want 1 to 65"},
		"about too much":        {promote.Statement{many, review, []byte("{}")}, "a statement about 66 images: want 1 to 65"},
		"of an image by no one": {promote.Statement{[]name.Digest{{}}, review, []byte("{}")}, "want a sha256 digest"},
		"of no type":            {promote.Statement{one, "", []byte("{}")}, `predicate type "": want a URI`},
		"of a type in a word":   {promote.Statement{one, "spdx", []byte("{}")}, `predicate type "spdx": want a URI`},
		"of a type with blanks": {promote.Statement{one, "https://acme.example/a b", []byte("{}")}, "want a URI"},
		"of a type without end": {promote.Statement{one, "https://acme.example/" + strings.Repeat("a", promote.MaxPredicateType), []byte("{}")}, "at most 1024"},
		"no JSON":               {promote.Statement{one, review, []byte("{")}, "it can't be read as https://acme.example/review/v1: "},
		"nothing":               {promote.Statement{one, review, nil}, "it can't be read as https://acme.example/review/v1: "},
		"a name twice":          {promote.Statement{one, review, []byte(`{"a": 1, "a": 2}`)}, "a name occurs twice in one object"},
		"two documents":         {promote.Statement{one, review, []byte(`{} {}`)}, "something follows the JSON value"},
		"too large for rules":   {promote.Statement{one, review, []byte(`"` + strings.Repeat("a", predicate.MaxWhole) + `"`)}, "only up to 262144 can be judged by rules"},
		"an empty SBOM":         {promote.Statement{one, predicate.TypeSPDX, []byte("{}")}, "it can't be read as https://spdx.dev/Document: "},
		"an approval of nowhere": {promote.Statement{one, predicate.TypeApproval, []byte(`{"approvedAt": "2026-03-01T09:30:00Z"}`)},
			"it can't be read as https://pratique.dev/attestation/approval/v1: environment: missing"},
		"a signature that says more": {promote.Statement{one, verify.CosignSign, []byte(`{"a": 1}`)}, "its predicate is {}"},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b, err := key.Sign(t.Context(), c.s, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || b.JSON != nil {
				t.Errorf("got %.200v, want %q", err, c.want)
			}
		})
	}
}

func TestTheZeroKeySignsNothing(t *testing.T) {
	t.Parallel()
	_, err := promote.SigningKey{}.Sign(t.Context(), promote.Statement{Subjects: []name.Digest{image(t, "a")}, PredicateType: review, Predicate: []byte("{}")}, nil)
	if err == nil || err.Error() != "no key to sign with" {
		t.Error(err)
	}
}

// shelf keeps papers in memory.
type shelf struct {
	kept []promote.Bundle
	err  error
}

// Attach implements promote.Store.
func (s *shelf) Attach(_ context.Context, image name.Digest, b promote.Bundle) (name.Digest, error) {
	if s.err != nil {
		return name.Digest{}, s.err
	}
	s.kept = append(s.kept, b)
	return image.Context().Digest(verifytest.Digest(string(b.JSON)).String()), nil
}

func TestAnAttestorKeepsWhatItSigned(t *testing.T) {
	t.Parallel()
	key, at := newKey(t, "P-256"), &shelf{}
	a := promote.Attestor{Key: key, Store: at}
	p, err := a.Attest(t.Context(), image(t, "a"), promote.Statement{Subjects: []name.Digest{image(t, "a")}, PredicateType: review, Predicate: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	if len(at.kept) != 1 || !bytes.Equal(at.kept[0].JSON, p.JSON) || p.At.DigestStr() != verifytest.Digest(string(p.JSON)).String() || !p.Stamped.IsZero() {
		t.Errorf("%+v, %+v", p, at)
	}
}

func TestAnAttestorKeepsNothingElse(t *testing.T) {
	t.Parallel()
	key, full := newKey(t, "P-256"), errors.New("the disk is full")
	for says, c := range map[string]struct {
		subject string
		text    string
		err     error
		want    string
	}{
		"with another image":   {"b", "{}", nil, "the statement isn't about registry.example/team/app@sha256:"},
		"that can't be read":   {"a", "{", nil, "it can't be read"},
		"where it is not kept": {"a", "{}", full, "it is signed, but could not be kept: the disk is full"},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			at := &shelf{err: c.err}
			p, err := promote.Attestor{Key: key, Store: at}.Attest(t.Context(), image(t, "a"),
				promote.Statement{Subjects: []name.Digest{image(t, c.subject)}, PredicateType: review, Predicate: []byte(c.text)})
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || len(at.kept) != 0 || p.JSON != nil {
				t.Errorf("got %v, %+v, want %q", err, p, c.want)
			}
			if c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("%v isn't %v", err, c.err)
			}
		})
	}
}
