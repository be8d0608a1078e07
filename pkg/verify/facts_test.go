package verify_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

const acme = "https://acme.example/review/v1"

func wholePapers(t testing.TB, a verify.Authority, predicateType string) verify.Question {
	t.Helper()
	q, err := verify.WholePapers(a, predicateType)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func sboms(t testing.TB, a verify.Authority) verify.Question {
	t.Helper()
	q, err := verify.Papers(a, predicate.KindSBOM)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// spdx returns an SPDX document of at least so many bytes.
func spdx(bytes int) []byte {
	var b strings.Builder
	b.WriteString(`{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"image","creationInfo":{"created":"2026-10-01T12:00:00Z"},"packages":[`)
	for i := 0; i == 0 || b.Len() < bytes; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"SPDXID":"SPDXRef-Package-%d","name":"package-%d","versionInfo":"1.%d.0","licenseConcluded":"NOASSERTION","licenseDeclared":"MIT","copyrightText":"NOASSERTION","downloadLocation":"NOASSERTION","filesAnalyzed":false,"externalRefs":[{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:deb/debian/package-%d@1.%d.0?arch=amd64&distro=debian-12"}]}`, i, i, i%20, i, i%20)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

func TestEvidenceHasTheFactsThatWereStated(t *testing.T) {
	t.Parallel()
	s, image, other := verifytest.NewSigner(t, 1), verifytest.Digest("image"), verifytest.Digest("other")
	a, reg := verifytest.Authority(t, "release", s), verifytest.NewRegistry()
	reg.Attach(image, verifytest.Attest(s, acme, []byte(`{"approved": true, "by": ["x"]}`), image, other))
	f := ask(t, newVerifier(t, verify.Options{}), reg, image, wholePapers(t, a, acme))
	if len(f.Evidence) != 1 {
		t.Fatalf("%+v", f)
	}
	e := f.Evidence[0]
	if !e.About(image) || !e.About(other) || e.About(verifytest.Digest("third")) || e.About(v1.Hash{}) {
		t.Errorf("about %v", e)
	}
	facts, err := e.Facts()
	whole, ok := facts.(*predicate.Whole)
	if err != nil || !ok {
		t.Fatalf("%v, %v", facts, err)
	}
	if m, ok := whole.Value().(map[string]any); !ok || m["approved"] != true {
		t.Errorf("%v", whole.Value())
	}
	if e.Firm() || e.SignedBy().Text != e.Who() {
		t.Errorf("a bare key's: %v, %v", e.Firm(), e.SignedBy())
	}
}

func TestRow77_AStatementAboutAnotherDigestIsNoEvidence(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	a := verifytest.Authority(t, "release", s)
	for name, payload := range map[string]string{
		"another digest":  string(verifytest.StatementOf(acme, []byte(`{}`), verifytest.Digest("other"))),
		"null":            `{"_type":"https://in-toto.io/Statement/v1","subject":[null],"predicateType":"` + acme + `","predicate":{}}`,
		"null for a list": `{"_type":"https://in-toto.io/Statement/v1","subject":null,"predicateType":"` + acme + `","predicate":{}}`,
		"none":            `{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"` + acme + `","predicate":{}}`,
		"no digest":       `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{}}],"predicateType":"` + acme + `","predicate":{}}`,
		"null digest":     `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":null}],"predicateType":"` + acme + `","predicate":{}}`,
		"sha512":          `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha512":"` + image.Hex + `"}}],"predicateType":"` + acme + `","predicate":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := verifytest.NewRegistry()
			reg.Attach(image, verifytest.BundleOf(s, []byte(payload), "0.3"))
			f := ask(t, newVerifier(t, verify.Options{}), reg, image, wholePapers(t, a, acme))
			if len(f.Evidence) != 0 || len(f.Misses) != 1 {
				t.Errorf("%+v", f)
			}
		})
	}
}

// A paper that an authority signed and that can't be read is evidence that says so: it may be the newest.
func TestRow82_APredicateThatCannotBeReadIsEvidenceWithoutFacts(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	a := verifytest.Authority(t, "release", s)
	for name, payload := range map[string]string{
		"a name twice":      string(verifytest.StatementOf(acme, []byte(`{"approved": false, "approved": true}`), image)),
		"deep inside":       string(verifytest.StatementOf(acme, []byte(`{"a": [{"b": 1, "b": 2}]}`), image)),
		"no predicate":      `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + image.Hex + `"}}],"predicateType":"` + acme + `"}`,
		"too large to keep": string(verifytest.StatementOf(acme, []byte(`"`+strings.Repeat("x", predicate.MaxWhole)+`"`), image)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := verifytest.NewRegistry()
			reg.Attach(image, verifytest.BundleOf(s, []byte(payload), "0.3"))
			f := ask(t, newVerifier(t, verify.Options{}), reg, image, wholePapers(t, a, acme))
			if len(f.Evidence) != 1 {
				t.Fatalf("%+v", f)
			}
			if facts, err := f.Evidence[0].Facts(); facts != nil || err == nil {
				t.Errorf("%v, %v", facts, err)
			}
		})
	}
	for name, payload := range map[string]string{
		"two subjects lists":    `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + image.Hex + `"}}],"subject":[],"predicateType":"` + acme + `","predicate":{}}`,
		"another case":          `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + image.Hex + `"}}],"Subject":[],"predicateType":"` + acme + `","predicate":{}}`,
		"two predicates":        `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + image.Hex + `"}}],"predicateType":"` + acme + `","predicate":{},"PREDICATE":{}}`,
		"two types":             `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + image.Hex + `"}}],"predicateType":"x","predicateType":"` + acme + `","predicate":{}}`,
		"two digests of a kind": `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + image.Hex + `","SHA256":"` + image.Hex + `"}}],"predicateType":"` + acme + `","predicate":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := verifytest.NewRegistry()
			reg.Attach(image, verifytest.BundleOf(s, []byte(payload), "0.3"))
			if f := ask(t, newVerifier(t, verify.Options{}), reg, image, wholePapers(t, a, acme)); len(f.Evidence) != 0 {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestRow81_AnEnvelopeOfAnotherPayloadTypeIsNoStatement(t *testing.T) {
	t.Parallel()
	s, person, image := verifytest.NewSigstore(t), verifytest.Someone(), verifytest.Digest("image")
	a := s.Authority(t, "ci", person.Issuer, person.Subject)
	for _, kind := range []string{"application/vnd.in-toto+json", "application/json", "application/vnd.in-toto+json; charset=utf-8", ""} {
		doc := s.Envelope(t, verifytest.Signing{Person: &person, Logs: []verifytest.Log{verifytest.RekorV1}}, verifytest.StatementOf(acme, []byte(`{}`), image))
		env, ok := doc["dsseEnvelope"].(map[string]any)
		if !ok {
			t.Fatal("no envelope")
		}
		env["payloadType"] = kind
		reg := verifytest.NewRegistry()
		reg.Attach(image, verifytest.Pack(doc))
		f := ask(t, newVerifier(t, verify.Options{Clock: then}), reg, image, wholePapers(t, a, acme))
		if want := kind == "application/vnd.in-toto+json"; (len(f.Evidence) == 1) != want {
			t.Errorf("%q: %+v", kind, f)
		}
	}
}

func TestALargePaperIsVerifiedByItselfAndDropped(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	a, reg := verifytest.Authority(t, "release", s), verifytest.NewRegistry()
	big := verifytest.Attest(s, predicate.TypeSPDX, spdx(3<<20), image)
	reg.Attach(image, big)
	reg.Attach(image, verifytest.Attest(verifytest.NewSigner(t, 2), predicate.TypeSPDX, spdx(2<<20), image))
	f := ask(t, newVerifier(t, verify.Options{}), reg, image, sboms(t, a))
	if len(f.Evidence) != 1 || f.Evidence[0].Source() != big.Paper.Digest || len(f.Misses) != 1 || f.Misses[0].Reason != verify.MissOtherSigner {
		t.Fatalf("%+v", f)
	}
	facts, err := f.Evidence[0].Facts()
	if sbom, ok := facts.(*predicate.SBOM); err != nil || !ok || sbom.Packages() < 5000 {
		t.Errorf("%v, %v", facts, err)
	}
	broken := big
	broken.Payload = slices.Clone(big.Payload)
	broken.Payload[len(broken.Payload)/2] ^= 1
	reg = verifytest.NewRegistry()
	reg.Attach(image, broken)
	if f := ask(t, newVerifier(t, verify.Options{}), reg, image, sboms(t, a)); len(f.Evidence) != 0 {
		t.Errorf("a byte was changed: %+v", f)
	}
}

// Two who ask different things of one image at one time get each their answer, though the large paper is dropped for the first.
func TestWhoComesToAnothersGatheringIsToldOfLargePapersToo(t *testing.T) {
	t.Parallel()
	first, second, image := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2), verifytest.Digest("image")
	reg := verifytest.NewRegistry()
	reg.Attach(image, verifytest.Attest(first, predicate.TypeSPDX, spdx(2<<20), image))
	reg.Attach(image, verifytest.Attest(second, predicate.TypeSPDX, spdx(2<<20), image))
	release := reg.Block()
	v := newVerifier(t, verify.Options{})
	var wg sync.WaitGroup
	for _, s := range []verifytest.Signer{first, second} {
		a := verifytest.Authority(t, "release", s)
		wg.Add(1)
		go func() {
			defer wg.Done()
			if f := ask(t, v, reg, image, sboms(t, a)); len(f.Evidence) != 1 || len(f.Unanswered) != 0 {
				t.Errorf("%+v", f)
			}
		}()
	}
	for v.Waiting() < 2 {
		runtime.Gosched()
	}
	release()
	wg.Wait()
}

func TestPapersOfOneImageThatTakeTooMuchAreNotLookedAt(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	a, reg := verifytest.Authority(t, "release", s), verifytest.NewRegistry()
	reg.Attach(image, verifytest.Attest(s, predicate.TypeSPDX, spdx(2<<20), image))
	for i := range 4 { // said to be as large as may be, and never sent
		c := verifytest.Attest(verifytest.NewSigner(t, byte(i+2)), predicate.TypeSPDX, spdx(1), image)
		c.Payload = append(c.Payload, make([]byte, 80<<20)...)
		reg.Attach(image, c)
	}
	f := ask(t, newVerifier(t, verify.Options{}), reg, image, sboms(t, a))
	whole, why := f.Whole()
	if whole || why.Kind != verify.TooLarge {
		t.Errorf("%v, %v", whole, why)
	}
	if len(f.Evidence) != 1 {
		t.Errorf("the smallest was not looked at: %+v", f)
	}
}

func TestWhatIsFoundOfAChildAndOfItsIndexIsOneAnswer(t *testing.T) {
	t.Parallel()
	s, index, child := verifytest.NewSigner(t, 1), verifytest.Digest("index"), verifytest.Digest("child")
	a, reg := verifytest.Authority(t, "release", s), verifytest.NewRegistry()
	reg.Attach(index, verifytest.Attest(s, acme, []byte(`{}`), index, child))
	reg.Attach(index, verifytest.Attest(s, acme, []byte(`{"n":1}`), index))
	reg.Index(index, verify.Child{Digest: child})
	reg.Attach(index, verifytest.Attest(s, acme, []byte(`{"n":2}`), child))
	reg.Attach(index, verifytest.Attest(s, acme, []byte(`{"n":3}`), verifytest.Digest("another image's")))
	reg.Attach(index, verifytest.Attest(s, verify.CosignSign, []byte(`{}`), child))
	v, q := newVerifier(t, verify.Options{}), wholePapers(t, a, acme)
	above, below := ask(t, v, reg, index, q), ask(t, v, reg, child, q)
	got := below.With(above, child)
	if len(above.Evidence) != 3 || len(below.Evidence) != 0 || len(got.Evidence) != 2 || !got.Evidence[0].About(child) || !got.Evidence[1].About(child) {
		t.Fatalf("%+v", got)
	}
	if got.Evidence[1].About(index) || got.Evidence[1].Subject() != (v1.Hash{}) {
		t.Errorf("what names a child alone is said to be about the index: %+v", got.Evidence[1])
	}
	if f := ask(t, v, reg, index, verify.Signatures(a)); len(f.Evidence) != 0 {
		t.Errorf("the signature of a child is one of its index: %+v", f)
	}
	if len(got.Misses) < 2 || got.Misses[0].Reason != verify.MissOtherSubject {
		t.Errorf("misses %+v", got.Misses)
	}
	reg.Fail(&verify.FetchError{Host: "r", Err: errors.New("away")})
	lost := ask(t, newVerifier(t, verify.Options{}), reg, index, q)
	if whole, _ := below.With(lost, child).Whole(); whole {
		t.Error("the index could not be asked")
	}
	if whole, _ := got.Whole(); !whole {
		t.Error("both were asked")
	}
}

func TestOnlyAShortCertificatesTimeTellsWhenItWasSigned(t *testing.T) {
	t.Parallel()
	s, person, image := verifytest.NewSigstore(t), verifytest.Someone(), verifytest.Digest("image")
	keyless := s.Authority(t, "ci", person.Issuer, person.Subject)
	reg := verifytest.NewRegistry()
	reg.Attach(image, s.Attest(t, verifytest.Signing{Person: &person, Logs: []verifytest.Log{verifytest.RekorV1}}, acme, []byte(`{}`), image))
	f := ask(t, newVerifier(t, verify.Options{Clock: then}), reg, image, wholePapers(t, keyless, acme))
	if len(f.Evidence) != 1 || !f.Evidence[0].Firm() || f.Evidence[0].Time().IsZero() {
		t.Fatalf("%+v", f)
	}
	if by := f.Evidence[0].SignedBy(); by.Issuer != person.Issuer || by.Subject != person.Subject {
		t.Errorf("%+v", by)
	}
	pki := verifytest.NewPKI(t, verifytest.Always())
	long := pki.Issue(t, verifytest.Leaf{Emails: []string{"lead@corp.example"}, Valid: verifytest.Always()})
	own := pki.Authority(t, "lead", verify.Terms{Timestamp: verify.Required, Trust: s.Trust(t, verify.DefaultThresholds())}, "lead@corp.example")
	reg = verifytest.NewRegistry()
	reg.Attach(image, s.Attest(t, verifytest.Signing{Holder: &long, Stamps: []int{0}}, acme, []byte(`{}`), image))
	f = ask(t, newVerifier(t, verify.Options{Clock: then}), reg, image, wholePapers(t, own, acme))
	if len(f.Evidence) != 1 || f.Evidence[0].Firm() || f.Evidence[0].Time().IsZero() {
		t.Errorf("a certificate of years: %+v", f)
	}
}

func TestWhatIsStaleIsWholeOnlyIfItWasBefore(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	a, reg := verifytest.Authority(t, "release", s), verifytest.NewRegistry()
	reg.Attach(image, verifytest.Attest(s, acme, []byte(`{}`), image))
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	v, q := newVerifier(t, verify.Options{Clock: clock}), wholePapers(t, a, acme)
	if whole, _ := ask(t, v, reg, image, q).Whole(); !whole {
		t.Fatal("not whole")
	}
	now = now.Add(time.Hour)
	reg.Fail(&verify.FetchError{Host: "r", Err: errors.New("away")})
	f := ask(t, v, reg, image, q)
	if whole, _ := f.Whole(); !whole || !f.Stale || len(f.Evidence) != 1 {
		t.Errorf("%+v", f)
	}
}

func ask(t testing.TB, v *verify.Verifier, reg *verifytest.Registry, image v1.Hash, q verify.Question) verify.Findings {
	t.Helper()
	out := v.Findings(t.Context(), reg, at(image), []verify.Question{q}, verify.Held)
	if len(out) != 1 {
		t.Fatalf("%d answers", len(out))
	}
	return out[0]
}

// What was listed first may be told last: what was newly attached since must not be forgotten for it.
func TestASlowerListingDoesNotReplaceANewerOne(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	a := verifytest.Authority(t, "release", s)
	old, newer := verifytest.NewRegistry(), verifytest.NewRegistry()
	old.Attach(image, verifytest.Attest(s, acme, []byte(`{"n":1}`), image))
	newer.Attach(image, verifytest.Attest(s, acme, []byte(`{"n":1}`), image))
	newer.Attach(image, verifytest.Attest(s, acme, []byte(`{"n":2}`), image))
	var mu sync.Mutex
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); now = now.Add(time.Millisecond); return now }
	v, q := newVerifier(t, verify.Options{Clock: clock}), wholePapers(t, a, acme)
	slow := verify.GatherOf(t.Context(), v, old, at(image), q)
	if f := ask(t, v, newer, image, q); len(f.Evidence) != 2 {
		t.Fatalf("%+v", f)
	}
	slow()
	if f := ask(t, v, newer, image, q); len(f.Evidence) != 2 {
		t.Errorf("the older listing is held: %+v", f)
	}
}

// promising names papers of the largest size, and never sends them.
type promising struct{ *verifytest.Registry }

func (p promising) Fetch(ctx context.Context, image name.Digest, paper verify.Paper, most int64) (verify.Candidate, error) {
	if most < verify.MaxPaper {
		return verify.Candidate{}, &verify.FetchError{Kind: verify.TooLarge, Size: verify.MaxPaper, Err: errors.New("large")}
	}
	<-ctx.Done()
	return verify.Candidate{}, &verify.FetchError{Err: ctx.Err()}
}

func TestRow106_WhoPromisesLargePapersKeepsNobodyElseFromTheirs(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	a, good, evil := verifytest.Authority(t, "release", s), verifytest.NewRegistry(), verifytest.NewRegistry()
	good.Attach(image, verifytest.Attest(s, predicate.TypeSPDX, spdx(2<<20), image))
	v, q := newVerifier(t, verify.Options{}), sboms(t, a)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 8 {
		other := verifytest.Digest(fmt.Sprint("other", i))
		evil.Attach(other, verifytest.Attest(s, predicate.TypeSPDX, spdx(1), other))
		wg.Add(1)
		go func() {
			defer wg.Done()
			v.Findings(ctx, promising{evil}, at(other), []verify.Question{q}, verify.Held)
		}()
	}
	for v.Waiting() < 8 {
		runtime.Gosched()
	}
	if f := ask(t, v, good, image, q); len(f.Evidence) != 1 {
		t.Errorf("%+v", f)
	}
	stop()
	wg.Wait()
}

func TestALargePapersMemoryIsGivenBackOnceItIsDropped(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	a, reg := verifytest.Authority(t, "release", s), verifytest.NewRegistry()
	c := verifytest.Attest(s, predicate.TypeSPDX, spdx(2<<20), image)
	released := 0
	c.Release = func() { released++ }
	reg.Attach(image, c)
	if f := ask(t, newVerifier(t, verify.Options{}), reg, image, sboms(t, a)); len(f.Evidence) != 1 || released != 1 {
		t.Errorf("released %d times: %+v", released, f)
	}
}

// Whoever may push decides what is read before any signature is checked. Not parallel: it measures.
func TestRow50_WhatIsReadOfALargePaperBeforeItsSignatureTakesLittleMoreThanItself(t *testing.T) {
	const size = 8 << 20
	most := uint64(6)
	if verify.RaceBuild {
		most = 12
	}
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	many := func(begin, each, end string) []byte {
		return []byte(begin + strings.Repeat(each+",", size/(len(each)+1)) + each + end)
	}
	names := func() []byte {
		var b strings.Builder
		b.WriteString(`{"_type":"https://in-toto.io/Statement/v1"`)
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, `,"%x":0`, i)
		}
		b.WriteString("}")
		return []byte(b.String())
	}
	subject := `"subject":[{"digest":{"sha256":"` + image.Hex + `"}}]`
	raw := func(kind verify.Kind, text []byte) verify.Candidate {
		return verify.Candidate{Payload: text, Paper: verify.Paper{Kind: kind, Place: verify.PlaceReferrers, Digest: verifytest.Digest("paper"), Size: int64(len(text))}}
	}
	q := sboms(t, verifytest.Authority(t, "release", s))
	for what, c := range map[string]verify.Candidate{
		"log entries":          raw(verify.Referrer, many(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{"payload":"AAAA","payloadType":"x"},"verificationMaterial":{"tlogEntries":[`, `{}`, `]}}`)),
		"signatures":           raw(verify.LegacyAttestation, many(`{"payloadType":"application/vnd.in-toto+json","payload":"AAAA","signatures":[`, `{}`, `]}`)),
		"names of a bundle":    raw(verify.Referrer, names()),
		"subjects":             verifytest.BundleOf(s, many(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"`+predicate.TypeSPDX+`","predicate":{},"subject":[`, `0`, `]}`), "0.3"),
		"names of a statement": verifytest.BundleOf(s, names(), "0.3"),
		"digests of a subject": verifytest.BundleOf(s, many(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"`+predicate.TypeSPDX+`","predicate":{},"subject":[{"digest":{"a":"b"`, `"c":"d"`, `}}]}`), "0.3"),
		"names of a predicate": verifytest.BundleOf(s, many(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"`+predicate.TypeSPDX+`",`+subject+`,"predicate":{"a":[`, `{}`, `]}}`), "0.3"),
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		_, miss, err := verify.Examine(t.Context(), q, image, c, then())
		runtime.ReadMemStats(&after)
		if err != nil || miss == nil && what != "names of a predicate" {
			t.Errorf("%s: %+v, %v", what, miss, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > most*uint64(len(c.Payload)) {
			t.Errorf("%s: %d MiB are allotted for %d", what, took>>20, len(c.Payload)>>20)
		}
	}
}

// Papers that wait for each other's judging are held within a bound, of each site within its share.
func TestRow94_PapersThatAreHeldAreBounded(t *testing.T) {
	t.Parallel()
	r := verify.NewRoom(100)
	a, b := r.Account("a.example"), r.Account("b.example")
	if err := a.Take(t.Context(), 25); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if a.Take(ended, 1) == nil {
		t.Error("a site has more than its share")
	}
	if err := b.Take(t.Context(), 25); err != nil {
		t.Error(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Take(t.Context(), 20) }()
	if n := a.Close(); n != 25 {
		t.Errorf("%d given back", n)
	}
	if err := <-done; err != nil {
		t.Errorf("what became free wasn't had: %v", err)
	}
	a.Close()
	b.Close()
	if all, sites := r.Held(); all != 0 || sites != 0 {
		t.Errorf("%d held of %d sites", all, sites)
	}
}

// Who comes late with other questions gathers anew what was dropped.
func TestPapersOverAFewAreDroppedOnceTheyAreJudged(t *testing.T) {
	t.Parallel()
	first, second, image := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2), verifytest.Digest("image")
	reg := verifytest.NewRegistry()
	for _, s := range []verifytest.Signer{first, second} {
		reg.Attach(image, verifytest.Attest(s, predicate.TypeSPDX, spdx(200<<10), image))
	}
	release := reg.Block()
	v := newVerifier(t, verify.Options{})
	var wg sync.WaitGroup
	for _, s := range []verifytest.Signer{first, second} {
		a := verifytest.Authority(t, "release", s)
		wg.Add(1)
		go func() {
			defer wg.Done()
			if f := ask(t, v, reg, image, sboms(t, a)); len(f.Evidence) != 1 || len(f.Unanswered) != 0 {
				t.Errorf("%+v", f)
			}
		}()
	}
	for v.Waiting() < 2 {
		runtime.Gosched()
	}
	release()
	wg.Wait()
	if n := v.HeldBytes(); n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
}

// Whoever may push can attach more than there is room or time for. What was verified before then counts as a signature, and not as the newest.
func TestRow85_JunkDoesNotHideANewerStatement(t *testing.T) {
	t.Parallel()
	s, evil, image := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2), verifytest.Digest("image")
	a, reg := verifytest.Authority(t, "release", s), verifytest.NewRegistry()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	v, q := newVerifier(t, verify.Options{Clock: func() time.Time { return now }}), wholePapers(t, a, acme)
	reg.Attach(image, verifytest.Attest(s, acme, []byte(`{"approved": true}`), image))
	if f := ask(t, v, reg, image, q); len(f.Evidence) != 1 {
		t.Fatalf("%+v", f)
	}
	for i := range 60 {
		c := verifytest.Attest(evil, acme, fmt.Appendf(nil, `{"n":%d}`, i), image)
		c.Payload = append(c.Payload, strings.Repeat(" ", verify.MaxSmallPaper-len(c.Payload))...)
		c.Paper.Digest = verifytest.Digest(fmt.Sprint("junk", i))
		reg.Attach(image, c)
	}
	reg.Attach(image, verifytest.Attest(s, acme, []byte(`{"approved": false}`), image))
	now = now.Add(20 * time.Hour)
	if f := ask(t, v, reg, image, q); len(f.Evidence) != 2 || f.Stale || len(f.Unanswered) != 0 {
		t.Errorf("among much junk: %d pieces of evidence, stale %v, %v", len(f.Evidence), f.Stale, f.Unanswered)
	}
	// And where one that is listed can't be had at all, what is held isn't all that there is.
	now = now.Add(20 * time.Hour)
	reg.FailFetch(&verify.FetchError{Host: "r", Err: errors.New("away")})
	f := ask(t, v, reg, image, q)
	if whole, _ := f.Whole(); whole || !f.Stale || len(f.Evidence) == 0 {
		t.Errorf("whole %v, stale %v, %d pieces of evidence", whole, f.Stale, len(f.Evidence))
	}
}
