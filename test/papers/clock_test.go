package papers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

const week = 7 * 24 * time.Hour

// watched is an image in a registry whose requests are counted, and the policies about it.
type watched struct {
	t      *testing.T
	people *people
	*served
	desk  *desk
	image v1.Hash
	more  []string // documents beside the policy
}

// watch puts an image there, with a scan by release of that time. Its two critical findings are CVE-2026-1111 and CVE-2026-2222.
func watch(t *testing.T, now time.Time, scan write) *watched {
	t.Helper()
	w := &watched{t: t, people: everyone(t), served: newServed(t, false, evilregistry.WithArtifactTypes())("payments/api")}
	w.image, w.desk = w.put(t, evilregistry.RandomImage(3)), newDesk(t, now, w.served)
	w.attach(t, w.image, w.people.release.attest(t, now, predicate.TypeCosignVuln, scan(t, said{at: now}), w.image), predicate.TypeCosignVuln)
	return w
}

// require puts a policy in force.
func (w *watched) require(require ...string) {
	w.t.Helper()
	documents := append([]string{imagePolicy(w.people, w.repository(), "", require...), w.people.trustRoot}, w.more...)
	w.desk.load(w.t, documents...)
}

// want judges, and holds outcome and reason to what is wanted.
func (w *watched) want(when, requirement string, outcome policy.Outcome, reason policy.Reason) policy.Result {
	w.t.Helper()
	decision, results := w.desk.decide(w.t, w.repository(), w.image)
	got := results[requirement]
	if got.Outcome != outcome || got.Reason != reason || decision.Allowed() != outcome.Passes() {
		w.t.Errorf("%s: %s %s: %s (%s); want %s %s", when, got.Outcome, got.Reason, got.Detail, decision.Word(), outcome, reason)
	}
	return got
}

// quiet holds the registry to not having been asked.
func (w *watched) quiet(when string, f func()) {
	w.t.Helper()
	w.Reset()
	f()
	for _, r := range w.Requests() {
		w.t.Errorf("%s: the registry was asked for %s %s", when, r.Kind, r.Path)
	}
}

// turn tells of a decision that time alone changes: at end it is another than just before.
func (w *watched) turn(end time.Time, requirement string, reason policy.Reason) {
	w.t.Helper()
	w.desk.clock.set(end.Add(-8 * time.Minute))
	w.want("8 minutes before", requirement, policy.Satisfied, policy.Verified)
	w.quiet("2 minutes before", func() {
		w.desk.clock.set(end.Add(-2 * time.Minute))
		w.want("2 minutes before", requirement, policy.Satisfied, policy.Verified)
	})
	// What is held is minutes old, and nobody is refused by that alone: what there is is listed anew. No paper is read again.
	w.desk.clock.set(end.Add(time.Second))
	w.Reset()
	w.want("a second after", requirement, policy.Violated, reason)
	if n := w.Count(evilregistry.Blob); n > 0 || w.Count(0) == 0 {
		w.t.Errorf("a second after: %d requests, %d of them for papers", w.Count(0), n)
	}
	// The clock set back, and listed a second before it ends: then the end itself needs no request.
	w.desk.clock.set(end.Add(-time.Second))
	w.want("a second before", requirement, policy.Satisfied, policy.Verified)
	w.quiet("a second after, all held", func() {
		w.desk.clock.set(end.Add(time.Second))
		w.want("a second after, all held", requirement, policy.Violated, reason)
		w.want("again", requirement, policy.Violated, reason)
	})
	w.desk.clock.set(end.Add(-time.Second))
	w.want("a second before, again", requirement, policy.Satisfied, policy.Verified)
}

// Security.md rows 78 and 92: what is held are facts, and the clock is asked on each request.
func TestTimeMovedPastAScansMaxAgeChangesTheDecision(t *testing.T) {
	t.Parallel()
	now := verifytest.Then()
	w := watch(t, now, cleanScan)
	w.require("vulnerabilities: {by: [release], maxAge: 168h, max: {critical: 0}}")
	w.turn(now.Add(week), "vulnerabilities", policy.TooOld)
}

func TestTimeMovedPastAnExceptionsEndChangesTheDecision(t *testing.T) {
	t.Parallel()
	now := verifytest.Then()
	for name, end := range map[string]struct {
		expires string
		at      time.Time
	}{
		"a day, which is good to its end": {"2026-10-05", time.Date(2026, 10, 6, 0, 0, 0, 0, time.UTC)},
		"a time":                          {"2026-10-05T08:30:00Z", time.Date(2026, 10, 5, 8, 30, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := watch(t, now, criticalScan)
			w.require(fmt.Sprintf(`vulnerabilities: {by: [release], max: {critical: 0}, exceptions: [{id: CVE-2026-1111, reason: "not reached", expires: %q},
  {id: CVE-2026-2222, reason: "not reached", expires: "2027-01-31"}]}`, end.expires))
			w.turn(end.at, "vulnerabilities", policy.TooManyVulnerabilities)
		})
	}
}

func TestTimeMovedPastALicenceExceptionsEndChangesTheDecision(t *testing.T) {
	t.Parallel()
	now := verifytest.Then()
	w := watch(t, now, cleanScan)
	w.attach(t, w.image, w.people.release.attest(t, now, predicate.TypeSPDX, deniedSBOM(t, said{at: now}), w.image), predicate.TypeSPDX)
	w.require(`sbom: {by: [release], licenses: {deny: ["AGPL-*"], unknown: Allow, exceptions: [{package: "zlib*", license: AGPL-3.0-only, reason: "ours", expires: "2026-10-05"}]}}`)
	w.turn(time.Date(2026, 10, 6, 0, 0, 0, 0, time.UTC), "sbom", policy.LicenseDenied)
}

// An ImageException counts for the policy, until it ends; then all that is held says that there are two findings too many. Files of exceptions
// leave out what has ended by the machine's own clock, so that this one's times are counted from that.
func TestTimeMovedPastAnImageExceptionsEndChangesTheDecision(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	w := watch(t, now, criticalScan)
	end := now.Add(10 * 24 * time.Hour)
	w.more = []string{fmt.Sprintf(`apiVersion: pratique.dev/v1alpha1
kind: ImageException
metadata: {name: xz, namespace: %s, creationTimestamp: %q}
spec: {owner: payments@acme.example, reason: not reachable, expires: %q, images: [%q], ids: [CVE-2026-1111, CVE-2026-2222]}
`, namespace, now.Add(-time.Hour).Format(time.RFC3339), end.Format(time.RFC3339), w.repository())}
	w.require("vulnerabilities: {by: [release], max: {critical: 0}}")
	if got := w.want("at first", "vulnerabilities", policy.Satisfied, policy.Verified); len(got.Used) != 2 || !got.Until.Equal(end) {
		t.Errorf("used %+v, until %v", got.Used, got.Until)
	}
	w.turn(end, "vulnerabilities", policy.TooManyVulnerabilities)
}

// A summary stands until its own end, or for as long as the policy takes it; then the papers themselves are asked for.
func TestTimeMovedPastASummarysAgeChangesTheDecision(t *testing.T) {
	t.Parallel()
	now := verifytest.Then()
	w := watch(t, now, criticalScan)
	w.desk.load(t, imagePolicy(w.people, w.repository(),
		"acceptSummary: {by: [promoter], verifierID: \"https://acme.example/promoter\", insteadOf: [vulnerabilities], maxAge: 168h}",
		"vulnerabilities: {by: [release], max: {critical: 0}}"), w.people.trustRoot)
	s := said{at: now, about: []v1.Hash{w.image}, repository: w.repository(), policy: w.desk.digest()}
	w.attach(t, w.image, w.people.promoter.attest(t, now, predicate.TypeSummary, passedVSA(t, s), w.image), predicate.TypeSummary)
	w.desk.clock.set(now.Add(week))
	w.want("as old as it may be", "vulnerabilities", policy.Satisfied, policy.VerifiedBySummary)
	w.desk.clock.set(now.Add(week + time.Second))
	got := w.want("a second older", "vulnerabilities", policy.Violated, policy.TooManyVulnerabilities)
	if !strings.Contains(got.Detail, "no summary stands for it: the newest VSA") {
		t.Errorf("nothing says why the summary doesn't count: %s", got.Detail)
	}
}

// An edit acts on the next request. Where the facts are held it costs none, and where they aren't it costs no more than them.
func TestAPolicyEditActsAtOnceOnWhatIsHeld(t *testing.T) {
	t.Parallel()
	now := verifytest.Then()
	w := watch(t, now, criticalScan)
	w.attach(t, w.image, w.people.release.attest(t, now, predicate.TypeSPDX, goodSBOM(t, said{at: now}), w.image), predicate.TypeSPDX)
	w.require("vulnerabilities: {by: [release], max: {critical: 2, high: 2}}")
	w.want("at first", "vulnerabilities", policy.Satisfied, policy.Verified)
	for _, edit := range []struct {
		require string
		outcome policy.Outcome
		reason  policy.Reason
	}{
		{"vulnerabilities: {by: [release], max: {critical: 0}}", policy.Violated, policy.TooManyVulnerabilities},
		{"vulnerabilities: {by: [release], max: {critical: 2}, maxAge: 24h}", policy.Satisfied, policy.Verified},
		{"vulnerabilities: {by: [release], max: {critical: 2}, scanners: [grype]}", policy.Violated, policy.WrongScanner},
		{"vulnerabilities: {by: [release], max: {critical: 0}, onlyFixable: true}", policy.Violated, policy.TooManyVulnerabilities},
		{"vulnerabilities: {by: [release], max: {critical: 1}, onlyFixable: true}", policy.Satisfied, policy.Verified},
		{`vulnerabilities: {by: [release], max: {critical: 1}, exceptions: [{id: CVE-2026-2222, reason: "no", expires: "2027-01-31"}]}`, policy.Satisfied, policy.Verified},
		{`vulnerabilities: {by: [release], max: {critical: 1}, exceptions: [{id: CVE-2026-2222, reason: "no", expires: "2026-09-30"}]}`, policy.Violated, policy.TooManyVulnerabilities},
	} {
		w.quiet(edit.require, func() {
			w.require(edit.require)
			w.want(edit.require, "vulnerabilities", edit.outcome, edit.reason)
		})
	}
	w.quiet("minutes later", func() {
		w.desk.clock.add(9 * time.Minute)
		w.require("vulnerabilities: {by: [release], max: {critical: 2, high: 2, medium: 1}, scanners: [trivy]}")
		w.want("minutes later", "vulnerabilities", policy.Satisfied, policy.Verified)
	})
	w.Reset()
	w.require("vulnerabilities: {by: [release], max: {critical: 2}}", "sbom: {by: [release], minPackages: 5}")
	w.want("a requirement more", "sbom", policy.Satisfied, policy.Verified)
	if n := w.Count(evilregistry.Blob); n != 1 {
		t.Errorf("%d papers were read for the requirement that is new, want the SBOM", n)
	}
	w.quiet("and then", func() {
		w.require("vulnerabilities: {by: [release], max: {critical: 2}}", `sbom: {by: [release], licenses: {deny: ["AGPL-*"], unknown: Allow}}`)
		w.want("and then", "sbom", policy.Satisfied, policy.Verified)
	})
}
