package policy_test

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

const (
	promoterID = "https://acme.example/promoter"
	asksFor    = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)

// summed is a good summary of an image, changed at will.
func summed(t testing.TB, image v1.Hash, change func(*predicate.SummaryFields)) string {
	t.Helper()
	f := predicate.SummaryFields{
		Verifier: promoterID, Verified: nowFor().Add(-time.Hour), Resource: "registry.example/app@" + image.String(), PolicyURI: "pratique:payments/production",
		PolicyDigest: asksFor, Passed: true, ValidUntil: nowFor().Add(time.Hour),
	}
	if change != nil {
		change(&f)
	}
	text, err := predicate.NewSummary(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// judgedWith has a policy that wants a signature by ci, provenance by ci, and takes a summary by promoter for the provenance, judge an image.
func judgedWith(t testing.TB, image v1.Hash, at time.Time, papers ...verify.Candidate) policy.Verdict {
	t.Helper()
	ci := verifytest.NewSigner(t, 1)
	signed, err := policy.NewSignature([]verify.Authority{verifytest.Authority(t, "ci", ci)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	summary, err := policy.NewSummary([]verify.Authority{verifytest.Authority(t, "promoter", verifytest.NewSigner(t, 2))},
		policy.SummaryRules{VerifierID: promoterID, InsteadOf: []string{"provenance", "sbom"}, MaxAge: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	p := policy.Policy{
		Name: policy.Name{Name: "production"}, Action: policy.ActionRequire, Digest: asksFor, AcceptSummary: summary,
		Images:       policy.Matcher{Include: []policy.Pattern{mustPattern(t, "**")}},
		Requirements: []policy.Requirement{signed, provenanceBy(t, wantedProvenance(), verifytest.Authority(t, "ci", ci))},
	}
	w, img := newWorld(t), pinned(t, image)
	img.Now = at
	for _, c := range papers {
		w.Attach(image, c)
	}
	v := p.Judge(img, w.know(img))
	if len(v.Results) != 2 {
		t.Fatalf("%d results: %+v", len(v.Results), v.Results)
	}
	return v
}

func TestASummaryStandsForTheListedRequirementsAndNoOther(t *testing.T) {
	t.Parallel()
	image := verifytest.Digest("image")
	v := judgedWith(t, image, nowFor(), sayingBy(verifytest.NewSigner(t, 2), image, predicate.TypeSummary, summed(t, image, nil)))
	verdictIs(t, v.Results[0], policy.Violated, policy.NoTrustedSignature)
	verdictIs(t, v.Results[1], policy.Satisfied, policy.VerifiedBySummary, "verified by "+promoterID+" on 2026-10-01 12:00 UTC, in a VSA by promoter")
	if want := nowFor().Add(time.Hour); !v.Results[1].Until.Equal(want) {
		t.Errorf("it holds until %v, want %v", v.Results[1].Until, want)
	}
}

func TestWhenASummaryStandsForNothing(t *testing.T) {
	t.Parallel()
	image, other := verifytest.Digest("image"), verifytest.Digest("other")
	promoter, stranger := verifytest.NewSigner(t, 2), verifytest.NewSigner(t, 3)
	by := func(change func(*predicate.SummaryFields)) verify.Candidate {
		return sayingBy(promoter, image, predicate.TypeSummary, summed(t, image, change))
	}
	resource := func(text string) func(*predicate.SummaryFields) {
		return func(f *predicate.SummaryFields) { f.Resource = text }
	}
	ago := func(d time.Duration) func(*predicate.SummaryFields) {
		return func(f *predicate.SummaryFields) { f.Verified, f.ValidUntil = nowFor().Add(-d), time.Time{} }
	}
	until := func(d time.Duration) func(*predicate.SummaryFields) {
		return func(f *predicate.SummaryFields) { f.ValidUntil = nowFor().Add(d) }
	}
	failed := func(at time.Duration) func(*predicate.SummaryFields) {
		return func(f *predicate.SummaryFields) { f.Passed, f.Verified = false, nowFor().Add(-at) }
	}
	purl := func(name, more string) string {
		return "pkg:oci/" + name + "@" + strings.Replace(image.String(), ":", "%3A", 1) + "?arch=amd64&repository_url=" + more
	}
	for what, tc := range map[string]struct {
		papers []verify.Candidate
		stands bool
		says   string
	}{
		"it is as wanted":                     {[]verify.Candidate{by(nil)}, true, ""},
		"its resource is of scheme oci":       {[]verify.Candidate{by(resource("oci://registry.example/app@" + image.String()))}, true, ""},
		"its resource has a tag too":          {[]verify.Candidate{by(resource("registry.example/app:1.0@" + image.String()))}, true, ""},
		"its resource is a package URL":       {[]verify.Candidate{by(resource(purl("app", "registry.example/app")))}, true, ""},
		"it says not until when it holds":     {[]verify.Candidate{by(until(0)), by(ago(time.Minute))}, true, ""},
		"it ends now":                         {[]verify.Candidate{by(until(0))}, true, ""},
		"it ended a second ago":               {[]verify.Candidate{by(until(-time.Second))}, false, "was valid until 2026-10-01 12:59 UTC"},
		"it is as old as may be":              {[]verify.Candidate{by(ago(24 * time.Hour))}, true, ""},
		"it is a second too old":              {[]verify.Candidate{by(ago(24*time.Hour + time.Second))}, false, "max 24 h"},
		"there is none":                       {nil, false, "no VSA found, wanted one by promoter"},
		"a stranger made it":                  {[]verify.Candidate{sayingBy(stranger, image, predicate.TypeSummary, summed(t, image, nil))}, false, "none by promoter"},
		"another verifier verified":           {[]verify.Candidate{by(func(f *predicate.SummaryFields) { f.Verifier += "2" })}, false, "1 VSA found, but none of verifier " + promoterID},
		"it is about another digest":          {[]verify.Candidate{sayingBy(promoter, other, predicate.TypeSummary, summed(t, image, nil))}, false, "another digest"},
		"its resource is another digest":      {[]verify.Candidate{by(resource("registry.example/app@" + other.String()))}, false, "none for this image in registry.example/app: it is for registry.example/app@sha256:"},
		"its resource is another repository":  {[]verify.Candidate{by(resource("registry.example/staging/app@" + image.String()))}, false, "it is for registry.example/staging/app@"},
		"its resource has no digest":          {[]verify.Candidate{by(resource("registry.example/app:1.0"))}, false, "none for this image"},
		"its resource is a web page":          {[]verify.Candidate{by(resource("https://registry.example/app@" + image.String()))}, false, "none for this image"},
		"its package URL is elsewhere":        {[]verify.Candidate{by(resource(purl("app", "registry.example/staging/app")))}, false, "none for this image"},
		"its package URL has another name":    {[]verify.Candidate{by(resource(purl("api", "registry.example/app")))}, false, "none for this image"},
		"its package URL has two places":      {[]verify.Candidate{by(resource(purl("app", "registry.example/app&repository_url=evil.example/app")))}, false, "none for this image"},
		"its package URL has none":            {[]verify.Candidate{by(resource("pkg:oci/app@" + image.String()))}, false, "none for this image"},
		"the policy asked for something else": {[]verify.Candidate{by(func(f *predicate.SummaryFields) { f.PolicyDigest = "sha256:" + strings.Repeat("0", 64) })}, false, "none under this policy as it is now: policy digest sha256:000000"},
		"it says FAILED":                      {[]verify.Candidate{by(failed(time.Hour))}, false, "says FAILED"},
		"a newer one says FAILED":             {[]verify.Candidate{by(nil), by(failed(time.Minute))}, false, "says FAILED"},
		"an older one says FAILED":            {[]verify.Candidate{by(nil), by(failed(2 * time.Hour))}, true, ""},
		"another policy's newer says FAILED": {[]verify.Candidate{by(nil), by(func(f *predicate.SummaryFields) {
			failed(time.Minute)(f)
			f.PolicyDigest = "sha256:" + strings.Repeat("0", 64)
		})}, true, ""},
		"it is dated ahead": {[]verify.Candidate{by(ago(-6 * time.Minute))}, false, "ahead of this clock"},
		"it can't be read":  {[]verify.Candidate{sayingBy(promoter, image, predicate.TypeSummary, `{}`)}, false, "verifier.id: missing"},
		"it says no time":   {[]verify.Candidate{sayingBy(promoter, image, predicate.TypeSummary, strings.Replace(summed(t, image, nil), "timeVerified", "time", 1))}, false, "doesn't say when it was made"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			got := judgedWith(t, image, nowFor(), tc.papers...).Results[1]
			if tc.stands {
				verdictIs(t, got, policy.Satisfied, policy.VerifiedBySummary)
				return
			}
			verdictIs(t, got, policy.Violated, policy.NoProvenance, "no summary stands for it: ", tc.says)
		})
	}
}

func TestWhyNoSummaryStandsIsToldOnce(t *testing.T) {
	t.Parallel()
	image, key := verifytest.Digest("image"), verifytest.NewSigner(t, 1)
	by := []verify.Authority{verifytest.Authority(t, "ci", key)}
	substitute, err := policy.NewSummary([]verify.Authority{verifytest.Authority(t, "promoter", verifytest.NewSigner(t, 2))},
		policy.SummaryRules{VerifierID: promoterID, InsteadOf: []string{"sbom", "provenance", "tests"}, MaxAge: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	list, err := policy.NewSBOM(by, policy.SBOMRules{})
	if err != nil {
		t.Fatal(err)
	}
	smoke, err := policy.NewTest(by, "smoke", 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &policy.Policy{
		Name: policy.Name{Name: "p"}, Action: policy.ActionRequire, Images: policy.Matcher{Include: []policy.Pattern{mustPattern(t, "**")}}, AcceptSummary: substitute, Digest: "sha256:" + strings.Repeat("a", 64),
		Requirements: []policy.Requirement{requireSignature(t, 1, by...).Requirements[0], list, provenanceBy(t, wantedProvenance(), by[0]), smoke},
	}
	w, img := newWorld(t), pinned(t, image)
	img.Now = nowFor()
	const why = "no summary stands for it: "
	count := func() (n int, first string) {
		for _, r := range p.Judge(img, w.know(img)).Results {
			if strings.Contains(r.Detail, why) {
				if n++; n == 1 {
					first = r.Requirement
				}
			}
		}
		return n, first
	}
	if n, first := count(); n != 1 || first != "sbom" {
		t.Errorf("told %d times, first of %s", n, first)
	}
	w = newWorld(t)
	w.Attach(image, sayingBy(key, image, predicate.TypeSPDX, `{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"a","packages":[{"SPDXID":"SPDXRef-a","name":"a"}]}`))
	if n, first := count(); n != 1 || first != "provenance" {
		t.Errorf("told %d times, first of %s", n, first)
	}
}

func TestWithoutASummaryThePapersAreJudged(t *testing.T) {
	t.Parallel()
	image := verifytest.Digest("image")
	good := provenanceByCI(t, image)
	v := judgedWith(t, image, nowFor(), good)
	verdictIs(t, v.Results[1], policy.Satisfied, policy.Verified, "built by "+releaseWorkflow)
	late := summed(t, image, func(f *predicate.SummaryFields) { f.ValidUntil = nowFor().Add(-time.Minute) })
	v = judgedWith(t, image, nowFor(), good, sayingBy(verifytest.NewSigner(t, 2), image, predicate.TypeSummary, late))
	verdictIs(t, v.Results[1], policy.Satisfied, policy.Verified, "built by "+releaseWorkflow)
}

// provenanceByCI is provenance by ci, as judgedWith wants it.
func provenanceByCI(t testing.TB, image v1.Hash) verify.Candidate {
	t.Helper()
	return sayingBy(verifytest.NewSigner(t, 1), image, predicate.TypeProvenance1, provenanceOf(releaseWorkflow, "https://github.com/acme/app", "refs/heads/main", "2026-10-01T11:00:00Z"))
}

func TestSummaryRulesThatCanNotBeMeantAreErrorsThatNameTheField(t *testing.T) {
	t.Parallel()
	by := []verify.Authority{verifytest.Authority(t, "promoter", verifytest.NewSigner(t, 2))}
	good := policy.SummaryRules{VerifierID: promoterID, InsteadOf: []string{"sbom"}, MaxAge: time.Hour}
	with := func(change func(*policy.SummaryRules)) policy.SummaryRules {
		r := good
		change(&r)
		return r
	}
	instead := func(names ...string) policy.SummaryRules {
		return with(func(r *policy.SummaryRules) { r.InsteadOf = names })
	}
	for want, rules := range map[string]policy.SummaryRules{
		"verifierID: empty":                             with(func(r *policy.SummaryRules) { r.VerifierID = "" }),
		"insteadOf: names no":                           instead(),
		"insteadOf[1]: nothing stands for signature":    instead("sbom", "signature"),
		"insteadOf[0]: nothing stands for approvals":    instead("approvals"),
		`insteadOf[0]: "vulns" is no requirement`:       instead("vulns"),
		"insteadOf[1]: sbom is there twice":             instead("sbom", "sbom"),
		"maxAge: missing":                               with(func(r *policy.SummaryRules) { r.MaxAge = 0 }),
		"maxAge: missing or not positive, so that a su": with(func(r *policy.SummaryRules) { r.MaxAge = -time.Second }),
	} {
		if s, err := policy.NewSummary(by, rules); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v: want an error with %q", s, err, want)
		}
	}
	if _, err := policy.NewSummary(nil, good); err == nil || !strings.Contains(err.Error(), "by: names no authority") {
		t.Error(err)
	}
	s, err := policy.NewSummary(by, with(func(r *policy.SummaryRules) { r.InsteadOf = policy.Summarizable() }))
	if err != nil {
		t.Fatal(err)
	}
	if s.For("signature") || s.For("approvals") || !s.For("vulnerabilities") {
		t.Error("it stands for what it must not, or not for what it may")
	}
}
