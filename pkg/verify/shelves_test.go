package verify_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

func keptAt(t testing.TB, s verifytest.Signer, at string) verify.Authority {
	t.Helper()
	terms := verify.Terms{}
	if at != "" {
		ref, err := name.ParseReference(at + ":x")
		if err != nil {
			t.Fatal(err)
		}
		terms.Repository = ref.Context()
	}
	a, err := verify.NewKeyAuthority("kept at "+at, []verify.Key{s.Key()}, terms)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRow48_PapersCountWhereTheyAreKeptAndNowhereElse(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	beside, one, two := verifytest.NewRegistry(), verifytest.NewRegistry(), verifytest.NewRegistry()
	beside.Shelf(name.MustParseReference("papers.example/one:x").Context(), one)
	beside.Shelf(name.MustParseReference("papers.example/two:x").Context(), two)
	authorities := []verify.Authority{keptAt(t, s, ""), keptAt(t, s, "papers.example/one"), keptAt(t, s, "papers.example/two"), keptAt(t, s, "papers.example/three")}
	where := []*verifytest.Registry{beside, one, two}
	for i, shelf := range where {
		for _, r := range where {
			r.Clear(image)
		}
		shelf.Sign(s, image)
		v := newVerifier(t, verify.Options{})
		out := v.Findings(t.Context(), beside, at(image), verify.SignaturesBy(authorities...), verify.Held)
		for n, f := range out[:3] {
			if (len(f.Evidence) == 1) != (n == i) || len(f.Unanswered) != 0 {
				t.Errorf("papers on shelf %d: evidence for shelf %d: %d, unanswered %v", i, n, len(f.Evidence), f.Unanswered)
			}
		}
		if f := out[3]; len(f.Evidence) != 0 || len(f.Unanswered) != 1 {
			t.Errorf("a shelf that there isn't: %+v", f)
		}
	}
}

// TestShelvesAreNotMixedUp: many ask at once, with one and the same credentials, for papers on two shelves.
func TestShelvesAreNotMixedUp(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	beside, elsewhere := verifytest.NewRegistry(), verifytest.NewRegistry()
	beside.Shelf(name.MustParseReference("papers.example/one:x").Context(), elsewhere)
	elsewhere.Sign(s, image)
	here, there := keptAt(t, s, ""), keptAt(t, s, "papers.example/one")
	for range 20 {
		v := newVerifier(t, verify.Options{})
		release := [2]func(){beside.Block(), elsewhere.Block()}
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				a := []verify.Authority{here, there}[i%2]
				f := v.Findings(t.Context(), beside, at(image), verify.SignaturesBy(a), verify.Held)[0]
				if (len(f.Evidence) == 1) != (i%2 == 1) {
					t.Errorf("%s: evidence %d", a.Name(), len(f.Evidence))
				}
			}()
		}
		time.Sleep(time.Millisecond)
		release[0]()
		release[1]()
		wg.Wait()
	}
}

func TestAnOutageOfOneShelfIsNoOutageOfAnother(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	beside, elsewhere := verifytest.NewRegistry(), verifytest.NewRegistry()
	beside.Shelf(name.MustParseReference("papers.example/one:x").Context(), elsewhere)
	beside.Sign(s, image)
	elsewhere.Fail(&verify.FetchError{Kind: verify.Unavailable, Place: verify.PlaceManifest, Host: "papers.example", Err: errors.New("down")})
	out := newVerifier(t, verify.Options{}).Findings(t.Context(), beside, at(image), verify.SignaturesBy(keptAt(t, s, "papers.example/one"), keptAt(t, s, "")), verify.Held)
	if len(out[0].Evidence) != 0 || len(out[0].Unanswered) == 0 || len(out[1].Evidence) != 1 || len(out[1].Unanswered) != 0 {
		t.Errorf("%+v", out)
	}
}

func TestSixteenAuthoritiesOverSixteenSignaturesFetchEachObjectOnce(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	trust := s.Trust(t, verify.DefaultThresholds())
	reg := verifytest.NewRegistry()
	var authorities []verify.Authority
	for i := range 16 {
		p := verifytest.Person{Issuer: "https://issuer.example.com", Subject: fmt.Sprintf("dev%d@example.com", i)}
		reg.Attach(image, s.Sign(t, verifytest.Signing{Person: &p, Logs: v1Log()}, image))
		authorities = append(authorities, keyless(t, trust, verify.Terms{}, p))
	}
	v := newVerifier(t, verify.Options{Clock: then})
	out := v.Findings(t.Context(), reg, at(image), verify.SignaturesBy(authorities...), verify.Held)
	for i, f := range out {
		if len(f.Evidence) != 1 || f.Evidence[0].Who() != fmt.Sprintf("dev%d@example.com (https://issuer.example.com)", i) {
			t.Errorf("authority %d: %+v", i, f)
		}
	}
	if lists, fetches := reg.Counts(); lists != 1 || fetches != 16 {
		t.Errorf("%d listings and %d objects, want 1 and 16", lists, fetches)
	}
}

func TestAQuestionIsAboutItsTypesAlone(t *testing.T) {
	t.Parallel()
	const spdx, scan, cyclone = "https://spdx.dev/Document", "https://cosign.sigstore.dev/attestation/vuln/v1", "https://cyclonedx.org/bom"
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	by := verifytest.Signing{Person: &someone, Logs: v1Log()}
	a := keyless(t, s.Trust(t, verify.DefaultThresholds()), verify.Terms{})
	hinted := func(c verify.Candidate, predicateType string) verify.Candidate {
		c.Paper.Annotations = map[string]string{"dev.sigstore.bundle.predicateType": predicateType}
		return c
	}
	reg := verifytest.NewRegistry()
	reg.Attach(image, hinted(s.Sign(t, by, image), verify.CosignSign))
	reg.Attach(image, hinted(s.Statement(t, by, image, spdx), spdx))
	reg.Attach(image, hinted(s.Statement(t, by, image, cyclone), cyclone))
	reg.Attach(image, hinted(s.Statement(t, by, image, scan), scan))
	reg.Attach(image, hinted(s.Statement(t, by, image, scan), spdx)) // the hint lies: what is signed counts
	ask := func(types ...string) verify.Question {
		t.Helper()
		q, err := verify.Statements(a, types...)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	for _, tc := range []struct {
		q       verify.Question
		types   []string // of the evidence
		fetches int
	}{
		{verify.Signatures(a), []string{verify.CosignSign}, 1},
		// What is hinted to be a signature is looked at too: see notSought.
		{ask(spdx), []string{spdx}, 3},
		{ask(spdx, cyclone), []string{spdx, cyclone}, 4},
		{ask("https://cyclonedx.org/*"), []string{cyclone}, 2},
		{ask("https://example.com/none"), nil, 1},
	} {
		_, before := reg.Counts()
		f := newVerifier(t, verify.Options{Clock: then}).Findings(t.Context(), reg, at(image), []verify.Question{tc.q}, verify.Held)[0]
		_, after := reg.Counts()
		if len(f.Evidence) != len(tc.types) || after-before != tc.fetches {
			t.Errorf("%v: %d pieces of evidence, %d fetched", tc.q.Types(), len(f.Evidence), after-before)
			continue
		}
		for i, e := range f.Evidence {
			if e.PredicateType() != tc.types[i] || e.Time() != then() || e.Subject() != image {
				t.Errorf("%v: evidence %d of type %s at %s", tc.q.Types(), i, e.PredicateType(), e.Time())
			}
		}
	}
	if verify.Signatures(a).Fingerprint() != ask(verify.CosignSign).Fingerprint() || ask(spdx, cyclone).Fingerprint() != ask(cyclone, spdx, spdx).Fingerprint() ||
		ask(spdx).Fingerprint() == ask(cyclone).Fingerprint() || ask(spdx).Fingerprint() == verify.Signatures(a).Fingerprint() {
		t.Error("what a question is")
	}
	for what, types := range map[string][]string{"no type": nil, "any type": {"*"}, "a type without a name": {""}, "too many": make([]string, 17)} {
		if _, err := verify.Statements(a, types...); err == nil {
			t.Errorf("a question of %s", what)
		}
	}
	zero := newVerifier(t, verify.Options{}).Findings(t.Context(), reg, at(image), []verify.Question{{}}, verify.Held)[0]
	if len(zero.Evidence) != 0 {
		t.Error("the zero question has an answer")
	}
	if q, err := verify.Statements(verify.Authority{}, spdx); err == nil {
		if f := newVerifier(t, verify.Options{}).Findings(t.Context(), reg, at(image), []verify.Question{q}, verify.Held)[0]; len(f.Evidence) != 0 {
			t.Error("nobody said something")
		}
	}
}

func TestRow47_ASignatureThatIsTakenAwayIsGone(t *testing.T) {
	t.Parallel()
	s, image, c := verifytest.NewSigner(t, 1), verifytest.Digest("image"), newClock()
	reg, v, a := verifytest.NewRegistry(), newVerifier(t, verify.Options{Clock: c.Now}), verifytest.Authority(t, "release", s)
	reg.Sign(s, image)
	if f := one(t, v, reg, image, a, verify.Held); len(f.Evidence) != 1 {
		t.Fatalf("%+v", f)
	}
	reg.Clear(image)
	c.pass(verify.RefreshFor + time.Second)
	if f := one(t, v, reg, image, a, verify.Held); len(f.Evidence) != 0 || len(f.Unanswered) != 0 {
		t.Errorf("after the time that it is held for: %+v", f)
	}
}

func TestRow107_AnnotationsNeverCount(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	a := keyless(t, s.Trust(t, verify.DefaultThresholds()), verify.Terms{})
	claims := map[string]string{
		"dev.sigstore.bundle.predicateType": verify.CosignSign, "predicateType": verify.CosignSign, "dev.sigstore.bundle.content": "dsse-envelope",
		"org.opencontainers.image.revision": "main", "subject": image.String(),
	}
	by := verifytest.Signing{Person: &someone, Logs: v1Log()}
	for what, tc := range map[string]struct {
		paper verify.Candidate
		want  verify.MissReason
	}{
		"of a type that isn't signed":    {s.Statement(t, by, image, "https://spdx.dev/Document"), verify.MissOtherType},
		"of a subject that isn't signed": {s.Sign(t, by, verifytest.Digest("other")), verify.MissOtherSubject},
	} {
		tc.paper.Paper.Annotations = claims
		t.Run(what, func(t *testing.T) { refused(t, a, image, then(), tc.paper, tc.want) })
	}
	good := s.Sign(t, by, image)
	good.Paper.Annotations = map[string]string{"subject": verifytest.Digest("other").String(), "org.example/by": "somebody else"}
	verified(t, a, image, then(), good)
	hidden := s.Sign(t, by, image)
	hidden.Paper.Annotations = map[string]string{"dev.sigstore.bundle.predicateType": "https://spdx.dev/Document"}
	refused(t, a, image, then(), hidden, verify.MissOtherType) // a hint may hide what it is on, as taking it away would
}

func TestRow75_AStatementIsAboutTheImageThatWasAskedFor(t *testing.T) {
	t.Parallel()
	s, image, other, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Digest("other"), verifytest.Someone()
	a := keyless(t, s.Trust(t, verify.DefaultThresholds()), verify.Terms{})
	by := verifytest.Signing{Person: &someone, Logs: v1Log()}
	sign := func(subjects string) verify.Candidate {
		return verifytest.Pack(s.Envelope(t, by, fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[%s],"predicateType":%q,"predicate":{}}`, subjects, verify.CosignSign)))
	}
	of := func(alg, hex string) string { return fmt.Sprintf(`{"name":%q,"digest":{%q:%q}}`, image.Hex, alg, hex) }
	refused(t, a, image, then(), sign(of("sha256", other.Hex)), verify.MissOtherSubject)
	refused(t, a, image, then(), sign(of("sha512", image.Hex)), verify.MissOtherSubject)
	refused(t, a, image, then(), sign(of("SHA256", image.Hex)), verify.MissOtherSubject)
	refused(t, a, image, then(), sign(`{"name":"x","digest":{}}`), verify.MissOtherSubject, verify.MissMalformed)
	verified(t, a, image, then(), sign(of("sha256", other.Hex)+","+of("sha256", image.Hex)))
}

// shelved is a registry whose papers of every repository elsewhere are in one other.
type shelved struct {
	*verifytest.Registry
	papers verify.Fetcher
}

func (s shelved) Elsewhere(name.Repository) (verify.Fetcher, error) { return s.papers, nil }

// TestRow106_ARepositoryOfPapersThatHangsLeavesTheImagesRegistryToOthers: who may write policies says where papers are sought. That these
// places hang takes no turn from others' images of the same registry.
func TestRow106_ARepositoryOfPapersThatHangsLeavesTheImagesRegistryToOthers(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	slow, well := &hanging{Registry: verifytest.NewRegistry()}, verifytest.NewRegistry()
	well.Sign(s, image)
	v := newVerifier(t, verify.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var kept []verify.Authority
	for i := range verify.MaxShelves {
		kept = append(kept, keptAt(t, s, fmt.Sprintf("slow%d.example/papers", i)))
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			v.Findings(ctx, shelved{verifytest.NewRegistry(), slow}, at(verifytest.Digest(fmt.Sprint(i))), verify.SignaturesBy(kept...), verify.Held)
		}()
	}
	until(t, "all turns of papers elsewhere are taken", func() bool { _, n, _ := slow.counts(); return n == 512 })
	if f := one(t, v, well, image, verifytest.Authority(t, "release", s), verify.Held); len(f.Evidence) != 1 {
		t.Errorf("%+v", f)
	}
	cancel()
	wg.Wait()
}

func TestRow50_PapersAreSoughtInSoManyRepositories(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	beside, papers := verifytest.NewRegistry(), verifytest.NewRegistry()
	beside.Sign(s, image)
	papers.Sign(s, image)
	kept := []verify.Authority{keptAt(t, s, "")}
	for i := range verify.MaxShelves {
		kept = append(kept, keptAt(t, s, fmt.Sprintf("papers%d.example/papers", i)))
	}
	for i, f := range newVerifier(t, verify.Options{}).Findings(t.Context(), shelved{beside, papers}, at(image), verify.SignaturesBy(kept...), verify.Held) {
		if len(f.Evidence) != 1 || len(f.Unanswered) != 0 {
			t.Errorf("%d: %+v", i, f)
		}
	}
	lists, _ := papers.Counts()
	kept = append(kept, keptAt(t, s, "onemore.example/papers"))
	for i, f := range newVerifier(t, verify.Options{}).Findings(t.Context(), shelved{beside, papers}, at(image), verify.SignaturesBy(kept...), verify.Held) {
		if len(f.Evidence) != 0 || len(f.Unanswered) != 1 || f.Unanswered[0].Kind != verify.TooMany {
			t.Errorf("%d: %+v", i, f)
		}
	}
	if again, _ := papers.Counts(); again != lists {
		t.Errorf("%d listings more, though it is refused", again-lists)
	}
}
