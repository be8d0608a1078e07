package policy_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// packagesOf are the names of all packages of the papers that were chosen.
func packagesOf(t *testing.T, c policy.Chosen) (out []string) {
	t.Helper()
	for _, p := range c.Papers {
		facts, ok := p.Facts.(*predicate.SBOM)
		if !ok {
			t.Fatalf("facts of type %T", p.Facts)
		}
		for _, l := range facts.Licenses() {
			for one := range l.All() {
				out = append(out, one.Name)
			}
		}
	}
	slices.Sort(out)
	return out
}

func TestWhatIsToldIsWhatARequirementIsJudgedBy(t *testing.T) {
	t.Parallel()
	release, stranger := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2)
	image, other := verifytest.Digest("image"), verifytest.Digest("other")
	const hour = time.Hour
	by := func(s verifytest.Signer, before time.Duration, name string) verify.Candidate {
		return attested(s, image, predicate.TypeSPDX, spdx(before, [2]string{name, "MIT"}))
	}
	down := &verify.FetchError{Place: verify.PlaceReferrers, Err: errors.New("down")}
	for says, c := range map[string]struct {
		attach  []verify.Candidate
		rules   policy.SBOMRules
		failing *verify.FetchError
		want    []string
		outcome policy.Outcome
	}{
		"the newest": {[]verify.Candidate{by(release, 2*hour, "old"), by(release, hour, "new")}, policy.SBOMRules{}, nil, []string{"new"}, policy.Satisfied},
		"nothing of a stranger": {[]verify.Candidate{by(release, 2*hour, "ours"), by(stranger, hour, "forged")}, policy.SBOMRules{}, nil,
			[]string{"ours"}, policy.Satisfied},
		"nothing of another image": {[]verify.Candidate{attested(release, other, predicate.TypeSPDX, spdx(hour, [2]string{"other", "MIT"}))}, policy.SBOMRules{}, nil,
			nil, policy.Violated},
		"nothing that nobody signed": {[]verify.Candidate{unsigned(verify.PlaceSBOM, "text/spdx+json")}, policy.SBOMRules{}, nil, nil, policy.Violated},
		"one that is refused too":    {[]verify.Candidate{by(release, 2*hour, "old")}, policy.SBOMRules{MaxAge: hour}, nil, []string{"old"}, policy.Violated},
		"nothing dated ahead":        {[]verify.Candidate{by(release, -hour, "ahead"), by(release, hour, "new")}, policy.SBOMRules{}, nil, []string{"new"}, policy.Satisfied},
		"of the wanted format alone": {[]verify.Candidate{by(release, 2*hour, "spdx"), attested(release, image, predicate.TypeCycloneDX, cyclonedx(hour, "cyclonedx"))},
			policy.SBOMRules{Formats: []string{"SPDX"}}, nil, []string{"spdx"}, policy.Satisfied},
		"both of two of one time": {[]verify.Candidate{by(release, hour, "one"), by(release, hour, "two")}, policy.SBOMRules{}, nil, []string{"one", "two"}, policy.Satisfied},
		"what stands beside one that has no time, since it can't be read": {[]verify.Candidate{by(release, hour, "old"), attested(release, image, predicate.TypeSPDX, "{}")}, policy.SBOMRules{}, nil,
			[]string{"old"}, policy.Violated},
		"nothing where a newer may be unseen": {[]verify.Candidate{by(release, hour, "new")}, policy.SBOMRules{}, down, nil, policy.Undetermined},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, a := range c.attach {
				w.Attach(image, a)
			}
			if c.failing != nil {
				w.FailPlace(c.failing)
			}
			img := pinned(t, image)
			img.Now, img.Namespace = sbomDay(), "payments"
			p := requireSBOM(t, c.rules, verifytest.Authority(t, "release", release))
			got := p.Chosen(img, w.know(img), "sbom")
			if len(got) != 1 || got[0].Digest != image {
				t.Fatalf("%+v", got)
			}
			if diff := cmp.Diff(c.want, packagesOf(t, got[0])); diff != "" {
				t.Error(diff)
			}
			if got[0].Result.Outcome != c.outcome {
				t.Errorf("%s: %s", got[0].Result.Outcome, got[0].Result.Detail)
			}
			if diff := cmp.Diff(p.Judge(img, w.know(img)).Results, []policy.Result{got[0].Result}); diff != "" {
				t.Error("it is judged otherwise:\n", diff)
			}
		})
	}
}

func TestAPaperThatIsToldSaysWhoseAndOfWhenItIs(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	w := newWorld(t)
	paper := attested(s, image, predicate.TypeSPDX, spdx(time.Hour, [2]string{"zlib", "Zlib"}))
	w.Attach(image, paper)
	img := pinned(t, image)
	img.Now = sbomDay()
	got := requireSBOM(t, policy.SBOMRules{}, verifytest.Authority(t, "release", s)).Chosen(img, w.know(img), "sbom")[0].Papers
	if len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	p := got[0]
	if p.By != "release" || p.Signer != "key "+s.Key().Fingerprint().String() || p.Source != paper.Paper.Digest || !p.At.Equal(sbomDay().Add(-time.Hour)) || p.Excused != nil {
		t.Errorf("%+v", p)
	}
}

func TestOfAnIndexEachPlatformHasItsOwn(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigner(t, 1)
	index, amd, arm := verifytest.Digest("index"), verifytest.Digest("amd"), verifytest.Digest("arm")
	w := newWorld(t)
	w.Index(index, verify.Child{Digest: amd, Platform: verify.NewPlatform("linux", "amd64", "")}, verify.Child{Digest: arm, Platform: verify.NewPlatform("linux", "arm64", "")})
	w.Attach(index, verifytest.Attest(s, predicate.TypeSPDX, []byte(spdx(time.Hour, [2]string{"both", "MIT"})), index, amd, arm))
	w.Attach(arm, attested(s, arm, predicate.TypeSPDX, spdx(time.Minute, [2]string{"arm", "MIT"})))
	w.Attach(index, attested(s, index, predicate.TypeSPDX, spdx(time.Second, [2]string{"index", "MIT"})))
	img := pinned(t, index)
	img.Now = sbomDay()
	p := requireSBOM(t, policy.SBOMRules{}, verifytest.Authority(t, "release", s))
	chosen := p.Chosen(img, w.know(img), "sbom")
	got := map[string][]string{}
	for _, c := range chosen {
		got[c.Platform.String()] = packagesOf(t, c)
	}
	if diff := cmp.Diff(map[string][]string{"linux/amd64": {"both"}, "linux/arm64": {"arm"}}, got); diff != "" {
		t.Error(diff)
	}
	none, err := policy.ParsePlatform("linux/riscv64")
	if err != nil {
		t.Fatal(err)
	}
	p.Platforms = []policy.Platform{none}
	chosen = p.Chosen(img, w.know(img), "sbom")
	if len(chosen) != 1 || chosen[0].Result.Reason != policy.PlatformMissing || len(chosen[0].Papers) != 0 {
		t.Errorf("%+v", chosen)
	}
}

func TestOfAScanItIsToldWhatIsExcusedAndByWhat(t *testing.T) {
	t.Parallel()
	until := judged.Add(time.Hour).Format(time.RFC3339)
	zlibExcused := []policy.VulnerabilityException{{ID: "GHSA-zzzz", Reason: "not reachable", Expires: until}}
	for says, c := range map[string]struct {
		rules     policy.VulnerabilityRules
		vex       bool
		exception bool
		want      map[string]string
	}{
		"nothing": {policy.VulnerabilityRules{Max: noneBad}, false, false, map[string]string{"CVE-2026-1111": "", "CVE-2026-2222": "", "CVE-2026-4444": "", "CVE-2026-5555": ""}},
		"by an exception of the policy, though nothing is limited": {policy.VulnerabilityRules{Exceptions: zlibExcused}, false, false,
			map[string]string{"CVE-2026-1111": "", "CVE-2026-2222": "exception", "CVE-2026-4444": "", "CVE-2026-5555": ""}},
		"by one of the namespace": {policy.VulnerabilityRules{}, false, true,
			map[string]string{"CVE-2026-1111": "", "CVE-2026-2222": "", "CVE-2026-4444": "exception", "CVE-2026-5555": ""}},
		"by VEX, before any exception": {policy.VulnerabilityRules{Exceptions: zlibExcused}, true, false,
			map[string]string{"CVE-2026-1111": "", "CVE-2026-2222": "VEX", "CVE-2026-4444": "", "CVE-2026-5555": ""}},
		"for want of a fix": {policy.VulnerabilityRules{OnlyFixable: true}, false, false,
			map[string]string{"CVE-2026-1111": "", "CVE-2026-2222": "no fix", "CVE-2026-4444": "no fix", "CVE-2026-5555": "no fix"}},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.scan(trivyScan(scanned, openssl, zlib, curl, odd), trivyScan(scanned.Add(-time.Hour), bash))
			if c.vex {
				s.vex(about("CVE-2026-2222", "not_affected", "2026-11-01T00:00:00Z"))
			}
			c.rules.VEX = []verify.Authority{s.vexBy}
			if c.exception {
				s.img.Exceptions = []*policy.Exception{{
					Name: policy.Name{Namespace: "payments", Name: "curl"}, Owner: "ann", Reason: "soon", IDs: []string{"CVE-2026-4444"},
					Images: policy.Matcher{Include: []policy.Pattern{mustPattern(t, "**")}}, Created: scanned, Until: judged.Add(time.Hour),
				}}
			}
			r, err := policy.NewVulnerabilities([]verify.Authority{s.by}, c.rules)
			if err != nil {
				t.Fatal(err)
			}
			p := &policy.Policy{
				Name: policy.Name{Namespace: "payments", Name: "production"}, Action: policy.ActionRequire,
				Images: policy.Matcher{Include: []policy.Pattern{mustPattern(t, "**")}}, Requirements: []policy.Requirement{r},
			}
			chosen := p.Chosen(s.img, s.know(s.img), "vulnerabilities")
			if len(chosen) != 1 || len(chosen[0].Papers) != 1 {
				t.Fatalf("%+v", chosen)
			}
			facts, ok := chosen[0].Papers[0].Facts.(*predicate.Scan)
			if !ok {
				t.Fatalf("facts of type %T", chosen[0].Papers[0].Facts)
			}
			got := map[string]string{}
			for i := range facts.Len() {
				got[facts.Finding(i).ID] = chosen[0].Papers[0].Excused[i]
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(s.judge(r).Results, []policy.Result{chosen[0].Result}); diff != "" {
				t.Error("it is judged otherwise:\n", diff)
			}
		})
	}
}

func TestOnlyWhatIsJudgedByItsNewestPaperCanBeTold(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	by := verifytest.Authority(t, "release", s)
	w, img := newWorld(t), pinned(t, image)
	sbom := requireSBOM(t, policy.SBOMRules{}, by)
	unusable := *sbom
	unusable.Unusable = "broken"
	allowing := *sbom
	allowing.Action = policy.ActionAllow
	unresolved := img
	unresolved.Digest = v1.Hash{}
	for says, c := range map[string]struct {
		p           *policy.Policy
		img         policy.Image
		requirement string
		questions   int
		chosen      int
	}{
		"an SBOM":                      {sbom, img, "sbom", 1, 1},
		"a scan that isn't asked for":  {sbom, img, "vulnerabilities", 0, 0},
		"a signature":                  {requireSignature(t, 1, by), img, "signature", 0, 0},
		"of an unusable policy":        {&unusable, img, "sbom", 0, 0},
		"of a policy that allows":      {&allowing, img, "sbom", 0, 0},
		"of a tag that isn't resolved": {sbom, unresolved, "sbom", 1, 0},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			if n := len(c.p.Chooses(c.requirement)); n != c.questions {
				t.Errorf("%d questions, want %d", n, c.questions)
			}
			if n := len(c.p.Chosen(c.img, w.know(c.img), c.requirement)); n != c.chosen {
				t.Errorf("%d chosen, want %d", n, c.chosen)
			}
		})
	}
}

func TestALicenseGlobMatchesWholeIdentifiers(t *testing.T) {
	t.Parallel()
	facts, err := predicate.Read(predicate.TypeSPDX, []byte(spdx(time.Hour, [2]string{"a", "MIT OR GPL-2.0-only"})))
	if err != nil {
		t.Fatal(err)
	}
	sbom, ok := facts.(*predicate.SBOM)
	if !ok {
		t.Fatalf("facts of type %T", facts)
	}
	for text, want := range map[string]bool{"MIT": true, "mit": true, "gpl-*": true, "GPL": false, "*": true, "LGPL-*": false} {
		g, err := policy.ParseLicenseGlob(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Matches(sbom, &sbom.Licenses()[0]); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if (policy.LicenseGlob{}).Matches(sbom, &sbom.Licenses()[0]) {
		t.Error("the zero glob matches")
	}
	for _, text := range []string{"", " ", "MIT OR X", " MIT"} {
		if _, err := policy.ParseLicenseGlob(text); err == nil {
			t.Errorf("%q is a glob", text)
		}
	}
}
