package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// workDay is when the cases of these tests are judged.
func workDay() time.Time { return time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC) }

func readFacts[F predicate.Facts](t *testing.T, kind, text string) F {
	t.Helper()
	facts, err := predicate.Read(kind, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return facts.(F)
}

// scanOfMany is a scan of n findings, with the names that names gives each: the first is its identifier.
func scanOfMany(t *testing.T, n int, names func(i int) []string) *predicate.Scan {
	t.Helper()
	var b strings.Builder
	b.WriteString(`{"scanner":{"result":{"SchemaVersion":2,"Results":[{"Target":"x","Class":"os-pkgs","Vulnerabilities":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		all := names(i)
		fmt.Fprintf(&b, `{"VulnerabilityID":%q,"PkgName":"p%d","PkgIdentifier":{"PURL":"pkg:apk/alpine/p%d@1"},"Severity":"CRITICAL","VendorIDs":["`, all[0], i, i)
		b.WriteString(strings.Join(all[1:], `","`) + `"]}`)
	}
	b.WriteString(`]}]}}}`)
	return readFacts[*predicate.Scan](t, predicate.TypeCosignVuln, b.String())
}

// vexOfMany is a document of n statements, each about what name gives it.
func vexOfMany(t *testing.T, n int, name func(i int) string, more string) *predicate.VEX {
	t.Helper()
	var b strings.Builder
	b.WriteString(`{"@context":"https://openvex.dev/ns/v0.2.0","author":"a","timestamp":"2026-11-01T00:00:00Z","statements":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"vulnerability":%q,"status":"fixed"%s}`, name(i), more)
	}
	b.WriteString(`]}`)
	return readFacts[*predicate.VEX](t, predicate.TypeOpenVEX, b.String())
}

func strict(exceptions ...excused) vulnerabilities {
	v := vulnerabilities{exceptions: exceptions}
	for s := range v.warn {
		v.warn[s] = -1
	}
	return v
}

// TestFactsAtTheirBoundsAreJudgedWithinANumberOfSteps holds that exceptions cost as much as the scan has names, and don't multiply with its findings.
func TestFactsAtTheirBoundsAreJudgedWithinANumberOfSteps(t *testing.T) {
	t.Parallel()
	until := workDay().AddDate(1, 0, 0)
	for what, tc := range map[string]struct {
		findings int
		names    func(i int) []string // of a finding
		excepted func(i int) string
		gone     int // of the findings
	}{
		"one advisory over all, which each exception names": {predicate.MaxFindings,
			func(i int) []string { return []string{fmt.Sprintf("CVE-2026-%d", i), "RHSA-1"} }, func(int) string { return "RHSA-1" }, predicate.MaxFindings},
		"advisories over as many CVEs as there may be": {10_000,
			func(i int) []string {
				all := []string{fmt.Sprintf("ELSA-%d", i)}
				for j := range 64 {
					all = append(all, fmt.Sprintf("CVE-2026-%d", j))
				}
				return all
			}, func(i int) string { return fmt.Sprintf("CVE-2026-%d", i%63) }, 0},
		"each exception another": {predicate.MaxFindings,
			func(i int) []string { return []string{fmt.Sprintf("CVE-2026-%d", i)} }, func(i int) string { return fmt.Sprintf("CVE-2026-%d", i) }, maxExceptions},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			scan := scanOfMany(t, tc.findings, tc.names)
			c := Case{Image: Image{Now: workDay()}}
			v := strict()
			for i := range maxExceptions {
				v.exceptions = append(v.exceptions, excused{id: tc.excepted(i), until: until})
			}
			for i := range 64 {
				e := &Exception{Name: Name{Namespace: "a", Name: fmt.Sprint(i)}, Created: workDay(), Until: until}
				for j := range 64 {
					e.IDs = append(e.IDs, tc.excepted((i*64+j)%maxExceptions))
				}
				c.Excuses, c.Barred = append(c.Excuses, Excuse{Exception: e, Severities: []string{"low"}}), append(c.Barred, Barred{Exception: e})
			}
			count := findingCount{rules: &v.rules, scan: scan}
			count.countAll()
			v.excuse(c, &count)
			v.barred(c, &count)
			if count.excused.n != tc.gone {
				t.Errorf("%d of %d findings are excused, want %d", count.excused.n, scan.Len(), tc.gone)
			}
			names := 0
			for i := range scan.Len() {
				names += 1 + len(scan.Finding(i).Aliases)
			}
			if most := 4 * (names + maxExceptions); count.steps > most { // for the policy, for the namespace, and twice to tell of what is barred
				t.Errorf("%d steps for %d names, want at most %d", count.steps, names, most)
			}
		})
	}
}

func TestVEXIsComparedWithinItsWork(t *testing.T) {
	t.Parallel()
	each := func(i int) []string { return []string{fmt.Sprintf("CVE-2026-%d", i)} }
	one := func(int) []string { return []string{"CVE-2026-1"} }
	products := `,"products":[{"@id":"pkg:apk/alpine/p1"}` + strings.Repeat(`,{"@id":"pkg:apk/alpine/p1"}`, 9) + `]`
	for what, tc := range map[string]struct {
		scan *predicate.Scan
		vex  *predicate.VEX
		gone int // -1: too much work
	}{
		"as many findings and statements as there may be, each of its own": {
			scanOfMany(t, predicate.MaxFindings, each), vexOfMany(t, predicate.MaxStatements, func(i int) string { return each(i)[0] }, ""), predicate.MaxStatements},
		"all of one name": {
			scanOfMany(t, 4000, one), vexOfMany(t, 4000, func(i int) string { return one(i)[0] }, ""), -1},
		"one statement of what all have": {
			scanOfMany(t, predicate.MaxFindings, one), vexOfMany(t, 1, func(i int) string { return one(i)[0] }, ""), predicate.MaxFindings},
		"one finding, and a package's URL many times": {
			scanOfMany(t, 2, one), vexOfMany(t, predicate.MaxStatements, func(i int) string { return one(i)[0] }, products), -1},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			v := strict()
			count := findingCount{rules: &v.rules, scan: tc.scan}
			count.countAll()
			before := count.counts
			hex := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
			work := vexWork
			did := v.removeByVEX(Case{Digest: hex, Image: Image{Digest: hex, Now: workDay()}}, &count, vexSaid{documents: []*predicate.VEX{tc.vex}, work: &work})
			switch {
			case did != (tc.gone >= 0):
				t.Errorf("compared: %v", did)
			case !did && (count.vexed.n > 0 || count.counts != before):
				t.Errorf("%d go, though not all could be compared", count.vexed.n)
			case did && count.vexed.n != tc.gone:
				t.Errorf("%d go, want %d", count.vexed.n, tc.gone)
			}
		})
	}
}

func TestVEXThatIsTooMuchWorkIsTold(t *testing.T) {
	t.Parallel()
	const n = 4000
	one := func(int) []string { return []string{"CVE-2026-1"} }
	scan, doc := scanOfMany(t, n, one), vexOfMany(t, n, func(i int) string { return one(i)[0] }, "")
	work := vexWork
	said := func() vexSaid { return vexSaid{documents: []*predicate.VEX{doc}, work: &work} }
	hex := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	c := Case{Digest: hex, Image: Image{Digest: hex, Now: workDay()}}
	p := paper[*predicate.Scan]{facts: scan, at: workDay()}
	for range 2 { // of a second scan nothing is compared: the work is of the judgement
		got := strict().content(c, p, said)
		if got.Outcome != Violated || got.Reason != TooManyVulnerabilities || !strings.Contains(got.Detail, "; VEX takes nothing away: scan and documents name so many") {
			t.Errorf("%s %s: %s", got.Outcome, got.Reason, got.Detail)
		}
	}
	if scan, doc = scanOfMany(t, n, one), vexOfMany(t, 1, func(i int) string { return one(i)[0] }, ""); !work.Over() {
		t.Error("the work isn't spent")
	}
	work = vexWork
	if got := strict().content(c, paper[*predicate.Scan]{facts: scan, at: workDay()}, said); got.Outcome != Satisfied {
		t.Errorf("of one statement: %s: %s", got.Outcome, got.Detail)
	}
}
