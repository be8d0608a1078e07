package papers_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// bench is an image in memory, with papers, and one policy about it.
type bench struct {
	*memory
	t      testing.TB
	people *people
	now    time.Time
	image  v1.Hash
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, people: everyone(t), memory: newMemory(), now: verifytest.Then()}
	b.image = b.put(t, evilregistry.RandomImage(3))
	return b
}

// lay attaches a paper about the image.
func (b *bench) lay(by signer, at time.Time, kind, predicate string) {
	b.t.Helper()
	b.attach(b.t, b.image, by.attest(b.t, at, kind, predicate, b.image), kind)
}

// judge judges the image at a time by a requirement, by the authorities that everybody knows and one more.
func (b *bench) judge(at time.Time, more, require string) policy.Result {
	b.t.Helper()
	d := newDesk(b.t, at, b.memory)
	text := imagePolicy(b.people, b.repository(), "", require)
	if more != "" {
		text = strings.Replace(text, "  require:\n", more+"  require:\n", 1)
	}
	d.load(b.t, text, b.people.trustRoot)
	_, results := d.decide(b.t, b.repository(), b.image)
	wanted, _, _ := strings.Cut(require, ":")
	got, ok := results[wanted]
	if !ok {
		b.t.Fatalf("no result of %s: %v", wanted, results)
	}
	return got
}

const scanOfAWeek = "vulnerabilities: {by: [BY], maxAge: 168h, max: {critical: 0}}"

func wantBy(who ...string) string {
	return strings.ReplaceAll(scanOfAWeek, "BY", strings.Join(who, ", "))
}

// Security.md row 78: a scan is good to the second that it is a week old, whoever tells its time.
func TestRow78_AScanIsGoodToTheSecond(t *testing.T) {
	t.Parallel()
	everyone := everyone(t)
	for who, by := range map[string]signer{"release": everyone.release, "ci": everyone.ci} {
		b := newBench(t)
		b.lay(by, b.now, predicate.TypeCosignVuln, cleanScan(t, said{at: b.now}))
		for _, tt := range []struct {
			after  time.Duration
			reason policy.Reason
		}{
			{-5*time.Minute - time.Second, policy.DatedAhead},
			{-5 * time.Minute, policy.Verified},
			{week - time.Second, policy.Verified},
			{week, policy.Verified},
			{week + time.Second, policy.TooOld},
		} {
			got := b.judge(b.now.Add(tt.after), "", wantBy(who))
			if got.Reason != tt.reason || got.Outcome.Passes() != (tt.reason == policy.Verified) {
				t.Errorf("by %s, %s after: %s %s: %s; want %s", who, tt.after, got.Outcome, got.Reason, got.Detail, tt.reason)
			}
		}
	}
}

// Security.md row 78: what a predicate says of its time can make it older, and never younger than the log that saw it. The earlier counts.
func TestRow78_AForgedDateMakesNothingYounger(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old := b.now.Add(-week - time.Hour)
	b.lay(b.people.ci, old, predicate.TypeCosignVuln, cleanScan(t, said{at: b.now}))
	is(t, b.judge(b.now, "", wantBy("ci")), policy.Violated, policy.TooOld)

	b = newBench(t)
	b.lay(b.people.ci, b.now, predicate.TypeCosignVuln, cleanScan(t, said{at: old}))
	is(t, b.judge(b.now, "", wantBy("ci")), policy.Violated, policy.TooOld)

	b = newBench(t) // nor does one that is dated ahead hide the newest that isn't
	b.lay(b.people.ci, b.now.Add(-time.Hour), predicate.TypeCosignVuln, criticalScan(t, said{at: b.now.Add(-time.Hour)}))
	b.lay(b.people.ci, b.now.Add(-2*time.Hour), predicate.TypeCosignVuln, cleanScan(t, said{at: b.now.Add(time.Hour)}))
	is(t, b.judge(b.now, "", wantBy("ci")), policy.Violated, policy.TooManyVulnerabilities)
}

// stamped is an authority of the key of release, whose papers must be stamped.
func (b *bench) stamped() string {
	pem := strings.ReplaceAll(strings.TrimSpace(string(b.people.release.Key().PEM())), "\n", "\n        ")
	return "  - name: stamped\n    key:\n      trustRoot: here\n      data: |\n        " + pem + "\n    timestamp: Required\n"
}

// stamp attaches a paper by the key of release, stamped at a time.
func (b *bench) stamp(at time.Time, kind, predicate string) {
	b.t.Helper()
	b.Attach(b.image, b.people.ci.of.Attest(b.t, verifytest.Signing{Key: &b.people.release.Signer, Stamps: []int{0}, StampedAt: at}, kind, []byte(predicate), b.image))
}

// Security.md row 78: whoever may push can have an old signature by a bare key stamped today. That makes nothing younger: without a time of its own
// the paper has none.
func TestRow78_StampingAnOldPaperAnewMakesItNoYounger(t *testing.T) {
	t.Parallel()
	old := verifytest.Then().Add(-week - time.Hour)
	for _, tt := range []struct {
		name         string
		own, stamped time.Time
		outcome      policy.Outcome
		reason       policy.Reason
	}{
		{"fresh, and stamped then", verifytest.Then(), verifytest.Then(), policy.Satisfied, policy.Verified},
		{"old, and stamped today", old, verifytest.Then(), policy.Violated, policy.TooOld},
		{"of no time, and stamped today", time.Time{}, verifytest.Then(), policy.Violated, policy.NoTime},
		{"said to be of today, and stamped long ago", verifytest.Then(), old, policy.Violated, policy.TooOld},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.stamp(tt.stamped, predicate.TypeCosignVuln, cleanScan(t, said{at: tt.own}))
			is(t, b.judge(b.now, b.stamped(), wantBy("stamped")), tt.outcome, tt.reason)
		})
	}
	t.Run("an old result of a test that is stamped after a newer failure doesn't hide it", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		b.stamp(b.now.Add(-time.Hour), predicate.TypeTestResult, failed(t, said{}))
		b.stamp(b.now, predicate.TypeTestResult, tested(t, said{}))
		is(t, b.judge(b.now, b.stamped(), "tests: [{name: smoke, by: [stamped]}]"), policy.Violated, policy.TestFailed)
	})
}

// Security.md row 79: what a stage says of itself is worth nothing in the next, and what says nothing of a stage is bound by who signed it.
func TestRow79_PapersOfStagingAreWorthNothingInProduction(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	staging := said{at: b.now, environment: "staging", repository: b.repository()}
	b.lay(b.people.lead, b.now, predicate.TypeApproval, approval(t, staging))
	b.lay(b.people.promoter, b.now, predicate.TypePromotion, promotion(t, staging))
	b.lay(b.people.security, b.now, predicate.TypeCosignVuln, cleanScan(t, staging)) // whose key is that of another stage
	b.lay(b.people.security, b.now, predicate.TypeSPDX, goodSBOM(t, staging))
	is(t, b.judge(b.now, "", "approvals: {by: [lead], environment: production}"), policy.Violated, policy.WrongEnvironment, "staging", "wanted production")
	is(t, b.judge(b.now, "", "promotion: {by: [promoter], to: production}"), policy.Violated, policy.WrongEnvironment, "staging")
	is(t, b.judge(b.now, "", wantBy("release")), policy.Violated, policy.NoScan)
	is(t, b.judge(b.now, "", "sbom: {by: [release]}"), policy.Violated, policy.NoSBOM)
	is(t, b.judge(b.now, "", "approvals: {by: [lead], environment: staging}"), policy.Satisfied, policy.Verified)
}

// Security.md row 80: the type of a paper is what was signed, and the annotation of its manifest is nobody's word. cosign 2.6.5 with a signing
// config writes the type of a signature there, whatever it attests.
func TestRow80_AnAnnotationMakesNoPaperOfAnotherType(t *testing.T) {
	t.Parallel()
	people := everyone(t)
	now := verifytest.Then()
	s := newServed(t, false, evilregistry.WithArtifactTypes())("payments/api")
	image := s.put(t, evilregistry.RandomImage(3))
	s.attach(t, image, people.release.attest(t, now, predicate.TypeSPDX, goodSBOM(t, said{at: now}), image), predicate.TypeCosignVuln)
	d := newDesk(t, now, s)
	d.load(t, imagePolicy(people, s.repository(), "", wantBy("release")), people.trustRoot)
	_, got := d.decide(t, s.repository(), image)
	is(t, got["vulnerabilities"], policy.Violated, policy.NoScan)
}

// Security.md row 85: of all scans the newest decides, whoever of the authorities made it, in which format, where it lies, and in which order they
// are listed.
func TestRow85_AnOldCleanScanDoesNotHideANewCriticalOne(t *testing.T) {
	t.Parallel()
	now := verifytest.Then()
	old, recent := now.Add(-48*time.Hour), now.Add(-time.Hour)
	people := everyone(t)
	sarif := func(t testing.TB) string { return timeless(t, "scan/grype.sarif.json") }
	type one struct {
		by   signer
		at   time.Time
		kind string
		text func(testing.TB) string
		old  bool // in the older layout
	}
	clean := func(at time.Time) func(testing.TB) string {
		return func(t testing.TB) string { return cleanScan(t, said{at: at}) }
	}
	critical := func(at time.Time) func(testing.TB) string {
		return func(t testing.TB) string { return criticalScan(t, said{at: at}) }
	}
	for name, tt := range map[string][]one{
		"by one key":                             {{people.release, old, predicate.TypeCosignVuln, clean(old), false}, {people.release, recent, predicate.TypeCosignVuln, critical(recent), false}},
		"by two authorities":                     {{people.release, old, predicate.TypeCosignVuln, clean(old), false}, {people.ci, recent, predicate.TypeCosignVuln, critical(recent), false}},
		"by the other two":                       {{people.ci, old, predicate.TypeCosignVuln, clean(old), false}, {people.release, recent, predicate.TypeCosignVuln, critical(recent), false}},
		"in another place":                       {{people.release, old, predicate.TypeCosignVuln, clean(old), false}, {people.release, recent, predicate.TypeCosignVuln, critical(recent), true}},
		"in another format, which tells no time": {{people.release, recent, predicate.TypeCosignVuln, clean(recent), false}, {people.release, recent, predicate.TypeSARIF, sarif, false}},
		"of the same second":                     {{people.release, recent, predicate.TypeCosignVuln, clean(recent), false}, {people.release, recent, predicate.TypeCosignVuln, critical(recent), false}},
	} {
		for _, backwards := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", backwards: ", backwards), func(t *testing.T) {
				t.Parallel()
				b, papers := newBench(t), slices.Clone(tt)
				if backwards {
					slices.Reverse(papers)
				}
				for _, p := range papers {
					c := p.by.attest(t, p.at, p.kind, p.text(t), b.image)
					if p.old {
						c = p.by.legacy(t, p.at, p.kind, p.text(t), b.image)
					}
					b.attach(t, b.image, c, p.kind)
				}
				got := b.judge(now, "", "vulnerabilities: {by: [release, ci], max: {critical: 0}}")
				is(t, got, policy.Violated, policy.TooManyVulnerabilities, "CVE-2026-1111")
			})
		}
	}
}

// Never half from one paper and half from another: each requirement is satisfied by one object whole.
func TestRow85_NoPaperIsMadeOfTwoHalves(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	at := b.now.Add(-time.Hour)
	b.lay(b.people.ci, at, predicate.TypeProvenance1, builtElsewhere(t, said{}))                                                     // the right builder, the wrong source
	b.lay(b.people.ci, at, predicate.TypeProvenance1, replaced(t, built(t, said{}), `"id": "`+workflow+`"`, `"id": "`+intruder+`"`)) // the other way round
	is(t, b.judge(b.now, "", wantBuild), policy.Violated, policy.WrongSource)
}

// Security.md row 92: rules see the namespace and the time that the paper was signed anew each time, though nothing is read again.
func TestRow92_RulesAreEvaluatedAnewOnWhatIsHeld(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.lay(b.people.ci, b.now, reviewType, `{"approved": true, "namespaces": ["payments"]}`)
	d := newDesk(t, b.now, b.memory)
	require := `custom: [{predicateType: "` + reviewType + `", by: [ci], rules: [{cel: "RULE", message: "not reviewed"}]}]`
	load := func(rule string) {
		d.load(t, imagePolicy(b.people, b.repository(), "", strings.Replace(require, "RULE", rule, 1)), b.people.trustRoot)
	}
	for i, tt := range []struct {
		rule    string
		outcome policy.Outcome
	}{
		{"predicate.approved", policy.Satisfied},
		{"request.namespace in predicate.namespaces", policy.Satisfied},
		{"!(request.namespace in predicate.namespaces)", policy.Violated},
		{"predicate.approved == false", policy.Violated},
		{"predicate.reviewer == 'lead'", policy.Violated},
		{"predicate.approved", policy.Satisfied},
	} {
		load(tt.rule)
		before := b.requests()
		_, got := d.decide(t, b.repository(), b.image)
		if got["custom"].Outcome != tt.outcome {
			t.Errorf("%s: %s %s: %s", tt.rule, got["custom"].Outcome, got["custom"].Reason, got["custom"].Detail)
		}
		if n := b.requests() - before; i > 0 && n > 0 {
			t.Errorf("%s: %d requests", tt.rule, n)
		}
	}
}

// A registry that fails when a decision is due has what it had before served for it; what it may hide since is said.
func TestWhatIsHeldIsServedWhileTheRegistryFailsAndStillGrowsOld(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.lay(b.people.release, b.now, predicate.TypeCosignVuln, cleanScan(t, said{at: b.now}))
	d := newDesk(t, b.now, b.memory)
	d.load(t, imagePolicy(b.people, b.repository(), "", strings.Replace(wantBy("release"), "168h", "2h", 1)), b.people.trustRoot)
	_, got := d.decide(t, b.repository(), b.image)
	is(t, got["vulnerabilities"], policy.Satisfied, policy.Verified)
	b.Fail(&verify.FetchError{Kind: verify.Unavailable, Host: "registry.example.com", Err: errors.New("503 Service Unavailable")})
	d.clock.add(time.Hour)
	decision, got := d.decide(t, b.repository(), b.image)
	is(t, got["vulnerabilities"], policy.Satisfied, policy.Verified)
	if !strings.Contains(fmt.Sprint(decision.Describe()[0].Stale), "true") {
		t.Error("nothing says that it rests on what was there before")
	}
	d.clock.add(time.Hour + time.Second)
	_, got = d.decide(t, b.repository(), b.image)
	is(t, got["vulnerabilities"], policy.Violated, policy.TooOld)
}

// VEX documents that are kept elsewhere, where a newer one may be hidden: what is there takes nothing away, and that it might is said.
func TestAHiddenVEXDocumentMayTakeBackTheOneThatIsThere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.lay(b.people.release, b.now, predicate.TypeCosignVuln, criticalScan(t, said{at: b.now}))
	shelf, err := name.NewRepository("registry.example.com/papers")
	if err != nil {
		t.Fatal(err)
	}
	apart := verifytest.NewRegistry()
	b.Shelf(shelf, apart)
	s := said{at: b.now.Add(-time.Hour), about: []v1.Hash{b.image}}
	apart.Attach(b.image, b.people.security.attest(t, s.at, predicate.TypeOpenVEX, notAffected(t, s), b.image))
	pem := strings.ReplaceAll(strings.TrimSpace(string(b.people.security.Key().PEM())), "\n", "\n        ")
	apartBy := "  - name: apart\n    repository: registry.example.com/papers\n    key:\n      data: |\n        " + pem + "\n"
	const require = "vulnerabilities: {by: [release], max: {critical: 0}, vex: {by: [apart]}}"
	is(t, b.judge(b.now, apartBy, require), policy.Satisfied, policy.Verified, "not affected or fixed by VEX: CVE-2026-1111, CVE-2026-2222")
	apart.FailPlace(&verify.FetchError{Place: verify.PlaceReferrers, Host: "registry.example.com", Err: errors.New("503 Service Unavailable")})
	is(t, b.judge(b.now, apartBy, require), policy.Undetermined, policy.RegistryUnavailable, "VEX documents could not be read", "CVE-2026-1111")
	is(t, b.judge(b.now, apartBy, strings.Replace(require, "critical: 0", "critical: 2", 1)), policy.Satisfied, policy.Verified) // which needs none
}

// Security.md rows 80, 85 and 107: an annotation that says what a bundle is about decides nothing. cosign 2.6.5 attest --signing-config writes the
// type of a signature there, whatever it attests: a newer scan that it attested must not be taken for a signature, and an older one counted in
// its place.
func TestRow107_ASignaturesAnnotationDoesNotHideANewerScan(t *testing.T) {
	t.Parallel()
	people, now := everyone(t), verifytest.Then()
	s := newServed(t, false, evilregistry.WithArtifactTypes())("payments/api")
	image := s.put(t, evilregistry.RandomImage(3))
	scan := func(doc write, at time.Time, annotated string) {
		s.attach(t, image, people.release.attest(t, at, predicate.TypeCosignVuln, doc(t, said{at: at}), image), annotated)
	}
	scan(cleanScan, now.Add(-48*time.Hour), predicate.TypeCosignVuln)
	scan(criticalScan, now.Add(-time.Hour), verify.CosignSign)
	d := newDesk(t, now, s)
	d.load(t, imagePolicy(people, s.repository(), "", wantBy("release")), people.trustRoot)
	_, got := d.decide(t, s.repository(), image)
	is(t, got["vulnerabilities"], policy.Violated, policy.TooManyVulnerabilities)
}
