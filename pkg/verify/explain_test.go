package verify_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// explain asks a registry in memory about an image that has some papers.
func explain(tb testing.TB, image v1.Hash, questions []verify.Question, papers ...verify.Candidate) verify.Explanation {
	tb.Helper()
	r := verifytest.NewRegistry()
	for _, p := range papers {
		r.Attach(image, p)
	}
	return explainFrom(tb, r, image, questions)
}

func explainFrom(tb testing.TB, r *verifytest.Registry, image v1.Hash, questions []verify.Question) verify.Explanation {
	tb.Helper()
	v, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	e := v.Explain(tb.Context(), r, digestIn(tb, "registry.example/app", image), questions)
	if bytes, entries := v.Size(); bytes != 0 || entries != 0 {
		tb.Errorf("it kept %d bytes in %d findings", bytes, entries)
	}
	if len(e.Answers) != len(questions) {
		tb.Fatalf("%d answers to %d questions", len(e.Answers), len(questions))
	}
	return e
}

func digestIn(tb testing.TB, repository string, image v1.Hash) name.Digest {
	tb.Helper()
	d, err := name.NewDigest(repository + "@" + image.String())
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func TestAnExplanationNamesEveryPlaceAndWhatItAnswered(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	r := verifytest.NewRegistry()
	r.Sign(s, image)
	r.Attach(image, verifytest.Bundle(s, image, verify.CosignSign, "0.3"))
	r.Attach(image, verifytest.Bundle(s, image, "https://spdx.dev/Document", "0.3"))
	r.FailPlace(&verify.FetchError{Kind: verify.Unavailable, Place: verify.PlaceFallbackTag, Host: "registry.example", Err: errors.New("503")},
		&verify.FetchError{Kind: verify.Unavailable, Place: verify.PlaceManifest, Host: "mirror.example", Err: errors.New("down")})
	e := explainFrom(t, r, image, verify.SignaturesBy(verifytest.Authority(t, "release", s)))
	type place struct {
		Place  verify.Place
		Name   string
		Papers int
		Failed bool
	}
	var got []place
	for _, p := range e.Shelves[0].Places {
		got = append(got, place{p.Place, p.Name, len(p.Papers), p.Err != nil})
	}
	tag := "registry.example/app:sha256-" + image.Hex
	want := []place{
		{verify.PlaceSignatures, tag + ".sig", 1, false},
		{verify.PlaceAttestation, tag + ".att", 0, false},
		{verify.PlaceReferrers, "registry.example/app@" + image.String(), 2, false},
		{verify.PlaceFallbackTag, tag, 0, true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if o := e.Shelves[0].Others; len(o) != 1 || o[0].Host != "mirror.example" {
		t.Errorf("other failures %v", o)
	}
	a := e.Answers[0]
	if len(a.Examined) != 3 || len(a.Accepted()) != 2 || len(a.Unanswered) != 0 {
		t.Errorf("%d examined, %d accepted, unanswered %v", len(a.Examined), len(a.Accepted()), a.Unanswered)
	}
}

func TestAnExplanationHasEveryMissTheNearestFirst(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	someone := verifytest.Someone()
	elsewhere, colleague := someone, someone
	elsewhere.Issuer, colleague.Subject = "https://other.example.com", "colleague@example.com"
	logs := []verifytest.Log{verifytest.RekorV1}
	var papers []verify.Candidate
	for i := range verify.MaxMisses { // more than findings have room for
		papers = append(papers, verifytest.LegacySignature(verifytest.NewSigner(t, byte(i+1)), image))
	}
	papers = append(papers,
		verifytest.Bundle(verifytest.NewSigner(t, 1), image, "https://spdx.dev/Document", "0.3"),
		s.Sign(t, verifytest.Signing{Person: &someone, Logs: logs}, verifytest.Digest("other")),
		s.Sign(t, verifytest.Signing{Person: &elsewhere, Logs: logs}, image),
		s.Sign(t, verifytest.Signing{Person: &colleague, Logs: logs}, image),
		s.Sign(t, verifytest.Signing{Person: &someone, Stamps: []int{0}}, image),
		s.Sign(t, verifytest.Signing{Person: &someone, Logs: logs}, image),
	)
	a := explain(t, image, verify.SignaturesBy(s.Authority(t, "someone", someone.Issuer, someone.Subject)), papers...).Answers[0]
	if len(a.Examined) != len(papers) || len(a.Accepted()) != 1 {
		t.Fatalf("%d of %d papers examined, %d accepted", len(a.Examined), len(papers), len(a.Accepted()))
	}
	seen := a.Examined[0].Seen
	if len(seen) != 1 || !seen[0].Log || seen[0].Name == "" || !seen[0].Time.Equal(verifytest.Then()) {
		t.Errorf("seen by %+v, want a log at %s", seen, verifytest.Then())
	}
	var reasons []verify.MissReason
	for _, e := range a.Examined[1:] {
		reasons = append(reasons, e.Miss.Reason)
	}
	want := []verify.MissReason{verify.MissUnproven, verify.MissOtherSubject, verify.MissOtherSigner, verify.MissOtherSigner}
	for range verify.MaxMisses {
		want = append(want, verify.MissOtherSigner)
	}
	want = append(want, verify.MissOtherType)
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Error(diff)
	}
	for i, claimed := range []string{"colleague@example.com (https://issuer.example.com)", "dev@example.com (https://other.example.com)"} {
		if got := a.Examined[3+i].Miss.Claimed; got != claimed {
			t.Errorf("of other signers, number %d is %q, want %q", i+1, got, claimed)
		}
	}
}

func TestAnExtensionThatDiffersIsNamed(t *testing.T) {
	t.Parallel()
	s, image, p := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	p.Extensions = map[int]string{12: "https://github.com/acme/fork"}
	id, err := verify.NewIdentity(verify.IdentitySpec{Issuer: p.Issuer, Subject: p.Subject, Extensions: map[string]string{"sourceRepositoryURI": "https://github.com/acme/app"}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := verify.NewKeylessAuthority("ci", s.Trust(t, verify.DefaultThresholds()), []verify.Identity{id}, verify.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	e := explain(t, image, verify.SignaturesBy(a), s.Sign(t, verifytest.Signing{Person: &p, Logs: []verifytest.Log{verifytest.RekorV1}}, image))
	const want = `dev@example.com (https://issuer.example.com), whose sourceRepositoryURI is "https://github.com/acme/fork"`
	if m := e.Answers[0].Examined[0].Miss; m == nil || m.Reason != verify.MissOtherSigner || m.Claimed != want {
		t.Errorf("%+v", m)
	}
}

func TestAnExplanationTellsPapersThatAreKeptElsewhereApart(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	there, err := name.NewRepository("papers.example/app")
	if err != nil {
		t.Fatal(err)
	}
	nowhere, err := name.NewRepository("nowhere.example/app")
	if err != nil {
		t.Fatal(err)
	}
	in := func(repository name.Repository) verify.Authority {
		a, err := verify.NewKeyAuthority("in "+repository.Name(), []verify.Key{s.Key()}, verify.Terms{Repository: repository})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	r, other := verifytest.NewRegistry(), verifytest.NewRegistry()
	r.Shelf(there, other)
	other.Sign(s, image)
	e := explainFrom(t, r, image, verify.SignaturesBy(verifytest.Authority(t, "beside", s), in(there), in(nowhere)))
	for i, want := range []struct {
		repository string
		accepted   int
		failed     bool
	}{{"registry.example/app", 0, false}, {"papers.example/app", 1, false}, {"nowhere.example/app", 0, true}} {
		a := e.Answers[i]
		shelf := e.Shelves[a.Shelf]
		if shelf.Repository.Name() != want.repository || len(a.Accepted()) != want.accepted || (shelf.Err != nil) != want.failed {
			t.Errorf("%s: in %s, %d accepted, failure %v; want %+v", a.Question.Authority().Name(), shelf.Repository, len(a.Accepted()), shelf.Err, want)
		}
	}
}

func TestAnExplanationOfWhatCannotBeReadSaysSo(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	by := verify.SignaturesBy(verifytest.Authority(t, "release", s))
	r := verifytest.NewRegistry()
	r.Fail(&verify.FetchError{Kind: verify.Unauthorized, Place: verify.PlaceManifest, Host: "registry.example", Err: errors.New("401")})
	if e := explainFrom(t, r, image, by); e.Shelves[0].Err == nil || e.Shelves[0].Err.Kind != verify.Unauthorized || len(e.Shelves[0].Places) != 0 {
		t.Errorf("a registry that says no: %+v", e.Shelves[0])
	}
	r = verifytest.NewRegistry()
	r.Sign(s, image)
	r.FailFetch(&verify.FetchError{Kind: verify.Unavailable, Host: "registry.example", Err: errors.New("503")})
	if e := explainFrom(t, r, image, by); len(e.Answers[0].Unanswered) != 1 || len(e.Answers[0].Examined) != 0 || e.Shelves[0].Err != nil {
		t.Errorf("a paper that can't be fetched: %+v", e.Answers[0])
	}
	r = verifytest.NewRegistry()
	for i := range verify.MaxVerified + 1 {
		r.Attach(image, verifytest.LegacySignature(verifytest.NewSigner(t, byte(i)), image))
	}
	if e := explainFrom(t, r, image, by); len(e.Answers[0].Unanswered) != 1 || e.Answers[0].Unanswered[0].Kind != verify.TooMany {
		t.Errorf("more papers than are verified: %+v", e.Answers[0])
	}
}

func TestWhatATrustHoldsIsToldByAddress(t *testing.T) {
	t.Parallel()
	got := verifytest.NewSigstore(t).Trust(t, verify.DefaultThresholds()).Holds()
	want := verify.Holds{
		CertificateAuthorities: []string{"https://fulcio.example.com"},
		CertificateLogs:        []string{"https://ct.example.com"},
		Logs:                   []string{"https://rekor1.example.com", "https://rekor2.example.com"},
		TimestampAuthorities:   []string{"https://timestamp1.example.com", "https://timestamp2.example.com"},
		Thresholds:             verify.DefaultThresholds(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAnExplanationTellsWhatACertificateSaysAndByWhatItDiffers(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	hosted, own, bare := verifytest.Someone(), verifytest.Someone(), verifytest.Someone()
	hosted.Extensions = map[int]string{11: "github-hosted", 12: "https://github.com/acme/app"}
	own.Extensions = map[int]string{11: "self-hosted"}
	id, err := verify.NewIdentity(verify.IdentitySpec{Issuer: hosted.Issuer, Subject: hosted.Subject, Extensions: map[string]string{"runnerEnvironment": "github-hosted"}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := verify.NewKeylessAuthority("ci", s.Trust(t, verify.DefaultThresholds()), []verify.Identity{id}, verify.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	stranger := verifytest.Person{Subject: "mallory@example.com", Issuer: hosted.Issuer, Extensions: own.Extensions}
	type told struct {
		Says    []verify.Extension
		Differs verify.Extension
	}
	for what, tc := range map[string]struct {
		by   verifytest.Person
		want told
	}{
		"what is accepted":       {hosted, told{Says: []verify.Extension{{Name: "runnerEnvironment", Value: "github-hosted"}, {Name: "sourceRepositoryURI", Value: "https://github.com/acme/app"}}}},
		"another extension":      {own, told{[]verify.Extension{{Name: "runnerEnvironment", Value: "self-hosted"}}, verify.Extension{Name: "runnerEnvironment", Value: "self-hosted"}}},
		"without the extension":  {bare, told{nil, verify.Extension{Name: "runnerEnvironment"}}},
		"another subject's, too": {stranger, told{Says: []verify.Extension{{Name: "runnerEnvironment", Value: "self-hosted"}}}},
	} {
		e := explain(t, image, verify.SignaturesBy(a), s.Sign(t, verifytest.Signing{Person: &tc.by, Logs: []verifytest.Log{verifytest.RekorV1}}, image)).Answers[0].Examined
		if len(e) != 1 {
			t.Fatalf("%s: %d papers examined", what, len(e))
		}
		if diff := cmp.Diff(tc.want, told{e[0].Says, e[0].Differs}); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
}

func TestAnExplanationNamesTheLogThatTellsNoTime(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	by := verifytest.Signing{Person: &someone, Logs: []verifytest.Log{verifytest.RekorV2}, Stamps: []int{0}}
	a := s.Authority(t, "someone", someone.Issuer, someone.Subject)
	seen := explain(t, image, verify.SignaturesBy(a), s.Sign(t, by, image)).Answers[0].Examined[0].Seen
	want := []verify.Witness{{Name: "https://timestamp1.example.com", Time: verifytest.Then()}, {Log: true, Name: "https://rekor2.example.com"}}
	if diff := cmp.Diff(want, seen, cmpopts.EquateApproxTime(0)); diff != "" {
		t.Error(diff)
	}
	unknown := verifytest.All()
	unknown.RekorV2 = nil
	id, err := verify.NewIdentity(verify.IdentitySpec{Issuer: someone.Issuer, Subject: someone.Subject})
	if err != nil {
		t.Fatal(err)
	}
	without, err := verify.NewKeylessAuthority("someone", s.TrustOf(t, unknown, verify.DefaultThresholds()), []verify.Identity{id}, verify.Terms{Log: verify.Optional})
	if err != nil {
		t.Fatal(err)
	}
	one := explain(t, image, verify.SignaturesBy(without), s.Sign(t, by, image)).Answers[0].Examined[0]
	if one.Miss != nil || len(one.Seen) != 1 || one.Seen[0].Log {
		t.Errorf("by a trust root without that log: %+v, seen by %+v", one.Miss, one.Seen)
	}
}

func TestAnExplanationNamesTheCertificateOfAChainThatEnded(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	name := verifytest.Leaf{DNS: []string{"release.example.com"}}
	late := name
	late.Valid = verifytest.Before()
	long, over := verifytest.NewPKI(t, verifytest.Always()), verifytest.NewPKI(t, verifytest.Before())
	ended := long.Intermediate(t, verifytest.Before())
	for what, tc := range map[string]struct {
		pki, from *verifytest.PKI
		leaf      verifytest.Leaf
		stamps    []int
		want      string // the subject; empty: none
		root      bool
	}{
		"the policy's own root":     {over, over.Intermediate(t, verifytest.Always()), name, nil, over.Certificate().Subject.String(), true},
		"it, by a timestamp":        {over, over, name, []int{0}, over.Certificate().Subject.String(), true},
		"an intermediate":           {long, ended, name, nil, ended.Certificate().Subject.String(), false},
		"the signer's":              {long, long, late, nil, "", false}, // it has no subject
		"none: it is another PKI's": {long, verifytest.NewPKI(t, verifytest.Always()), name, nil, "-", false},
	} {
		holder := tc.from.Issue(t, tc.leaf)
		by := verifytest.Signing{Holder: &holder, Chain: true, Version: "0.2", Stamps: tc.stamps}
		a := tc.pki.Authority(t, "corporate", verify.Terms{Trust: s.Trust(t, verify.DefaultThresholds())}, "release.example.com")
		e := explain(t, image, verify.SignaturesBy(a), s.Sign(t, by, image)).Answers[0].Examined[0]
		switch {
		case e.Miss == nil:
			t.Errorf("%s: it was accepted", what)
		case tc.want == "-" && e.Ended != nil, tc.want != "-" && e.Ended == nil:
			t.Errorf("%s: %+v (%s)", what, e.Ended, e.Miss.Why)
		case e.Ended == nil:
		case e.Ended.Subject != tc.want || e.Ended.Root != tc.root || !e.Ended.At.After(e.Ended.Until):
			t.Errorf("%s: %+v, want %q, root %t", what, e.Ended, tc.want, tc.root)
		case tc.stamps != nil && !e.Ended.At.Equal(verifytest.Then()):
			t.Errorf("%s: judged by %s, want the timestamp's %s", what, e.Ended.At, verifytest.Then())
		}
	}
}
