package predicate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatANameOfAFindingStandsFor(t *testing.T) {
	t.Parallel()
	one, second, both := onePart(0), onePart(1), onePart(0).With(onePart(1))
	advisory := Finding{ID: "ELSA-7", Aliases: []string{"GHSA-x", "CVE-1-2", "cve-1-1", "CVE-1-1"}}
	cve := Finding{ID: "CVE-1-1", Aliases: []string{"CVE-1-2", "GHSA-x"}}
	for what, tc := range map[string]struct {
		f     Finding
		name  string
		want  Parts
		parts int
	}{
		"an advisory over two by its own name": {advisory, "elsa-7", both, 2},
		"one of its CVEs":                      {advisory, "CVE-1-1", one, 2},
		"the other":                            {advisory, "cve-1-2", second, 2},
		"a CVE that it isn't over":             {advisory, "CVE-1-3", Parts{}, 2},
		"another of its names":                 {advisory, "GHSA-x", Parts{}, 2},
		"a CVE by itself":                      {cve, "CVE-1-1", one, 1},
		"another CVE that is its alias":        {cve, "CVE-1-2", Parts{}, 1},
		"an advisory that is its alias":        {cve, "ghsa-x", one, 1},
		"what isn't its name":                  {cve, "GHSA-y", Parts{}, 1},
		"an advisory over one by the CVE":      {Finding{ID: "ELSA-7", Aliases: []string{"CVE-1-1"}}, "CVE-1-1", one, 1},
		"an advisory over none":                {Finding{ID: "ELSA-7"}, "ELSA-7", one, 1},
	} {
		s := scanOf(t, tc.f)
		if got := s.Part(0, tc.name); got != tc.want || s.Parts(0) != tc.parts {
			t.Errorf("%s: %b of %d, want %b of %d", what, got, s.Parts(0), tc.want, tc.parts)
		}
	}
	if got := scanOf(t, advisory).Finding(0).Aliases; len(got) != 3 {
		t.Errorf("a name in two cases is two: %q", got)
	}
}

func withPURL(finding, purl string) string {
	return strings.Replace(finding, `"Severity"`, fmt.Sprintf(`"PkgIdentifier":{"PURL":%q},"Severity"`, purl), 1)
}

func TestPackagesOfTwoEcosystemsAreTwo(t *testing.T) {
	t.Parallel()
	low, critical := found("CVE-1-1", "openssl", "1.1.1", "LOW"), found("CVE-1-1", "openssl", "1.1.1", "CRITICAL")
	for what, tc := range map[string]struct {
		purls [2]string
		want  []string // severity and URL
	}{
		"of another type":         {[2]string{"pkg:deb/debian/openssl@1.1.1", "pkg:conan/openssl@1.1.1"}, []string{"critical pkg:conan/openssl@1.1.1", "low pkg:deb/debian/openssl@1.1.1"}},
		"of another namespace":    {[2]string{"pkg:deb/debian/openssl@1.1.1", "pkg:deb/ubuntu/openssl@1.1.1"}, []string{"critical pkg:deb/ubuntu/openssl@1.1.1", "low pkg:deb/debian/openssl@1.1.1"}},
		"of no URL, and of one":   {[2]string{"pkg:deb/debian/openssl@1.1.1", ""}, []string{"critical ", "low pkg:deb/debian/openssl@1.1.1"}},
		"the same":                {[2]string{"pkg:deb/debian/openssl@1.1.1", "pkg:deb/debian/openssl@1.1.1"}, []string{"critical pkg:deb/debian/openssl@1.1.1"}},
		"of another architecture": {[2]string{"pkg:deb/debian/openssl@1.1.1?arch=i386", "pkg:deb/debian/openssl@1.1.1?arch=amd64"}, []string{"critical "}},
	} {
		s := mustScan(t, TypeCosignVuln, trivyOf(withPURL(low, tc.purls[0]), withPURL(critical, tc.purls[1])))
		var got []string
		for i := range s.Len() {
			f := s.Finding(i)
			got = append(got, f.Severity.String()+" "+f.PURL)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
}

// TestListsAreBoundedWhereTheyAreRead gives readers a MiB or more of elements as short as may be: they are to be refused before they are built.
func TestListsAreBoundedWhereTheyAreRead(t *testing.T) { // not parallel: it measures what is allocated
	const n = 1 << 19
	vex := func(more string) string { return vexDoc(`{"vulnerability":{"name":"x"` + more) }
	statements := make([]string, 50)
	for i := range statements {
		statements[i] = `{"vulnerability":"x","status":"fixed","products":[{}` + strings.Repeat(`,{}`, maxProducts-1) + `]}`
	}
	match := func(more string) string {
		return vulnOf(`{"matches":[{"vulnerability":{"id":"x"` + more + `}]}`)
	}
	for what, tc := range map[string]struct{ kind, text string }{
		"products of a statement":          {TypeOpenVEX, vex(`},"status":"fixed","products":[{}` + strings.Repeat(`,{}`, n) + `]}`)},
		"products of many statements":      {TypeOpenVEX, vexDoc(statements...)},
		"subcomponents of a product":       {TypeOpenVEX, vex(`},"status":"fixed","products":[{"subcomponents":[{}` + strings.Repeat(`,{}`, n) + `]}]}`)},
		"aliases of a statement":           {TypeOpenVEX, vex(`,"aliases":[""` + strings.Repeat(`,""`, n) + `]},"status":"fixed"}`)},
		"aliases of a finding of trivy":    {TypeCosignVuln, trivyOf(`{"VulnerabilityID":"x","VendorIDs":[""` + strings.Repeat(`,""`, n) + `]}`)},
		"other names of a match of grype":  {TypeCosignVuln, match(`},"relatedVulnerabilities":[{"id":""}` + strings.Repeat(`,{"id":""}`, n) + `]`)},
		"versions with a fix, of grype":    {TypeCosignVuln, match(`,"fix":{"versions":["a"` + strings.Repeat(`,"a"`, n) + `]}}`)},
		"rules of SARIF without a name":    {TypeSARIF, `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"grype","rules":[{}` + strings.Repeat(`,{}`, n) + `]}},"results":[]}]}`},
		"results of SARIF without a rule":  {TypeSARIF, `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"grype"}},"results":[{}` + strings.Repeat(`,{}`, n) + `]}]}`},
		"names of a finding, put together": {TypeCosignVuln, trivyOf(manyNames(2 * maxAliases)...)},
	} {
		var err error
		got := allocated(func() { _, err = Read(tc.kind, []byte(tc.text)) })
		if most := uint64(32 << 20); err == nil || got > most { // in all, and so a multiple of what is held at once
			t.Errorf("%s: %v, with %d bytes for %d of text", what, err, got, len(tc.text))
		}
	}
	if got := allocated(func() { // as many commands as there are bytes, but two
		mustScan(t, TypeCosignVuln, `{"invocation":{"parameters":"`+strings.Repeat("a ", n)+`"},"scanner":{"result":{"matches":[]}}}`)
	}); got > 12<<20 {
		t.Errorf("a command line of a MiB takes %d bytes", got)
	}
}

// manyNames are listings of one finding, each under another name.
func manyNames(n int) (list []string) {
	for i := range n {
		list = append(list, found("CVE-1-1", "a", "1", "LOW", fmt.Sprintf("RHSA-%d", i)))
	}
	return list
}

func TestTheVersionsWithAFixAreGatheredOnce(t *testing.T) { // not parallel: it measures what is allocated
	versions := strings.TrimSuffix(strings.Repeat(`"a",`, maxWord/3-1), ",")
	text := vulnOf(`{"matches":[{"vulnerability":{"id":"x","fix":{"versions":[` + versions + `]}}}]}`)
	var s *Scan
	if got, most := allocated(func() { s = mustScan(t, TypeCosignVuln, text) }), uint64(20*len(text)); got > most {
		t.Errorf("%d bytes for %d of text", got, len(text))
	}
	if got := s.Finding(0).Fixed; strings.Count(got, "a, ") != maxWord/3-2 {
		t.Errorf("%d bytes of versions", len(got))
	}
}

func TestAMessageIsCutForASecretAlone(t *testing.T) {
	t.Parallel()
	log := func(kind, text string) string {
		return `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"Trivy","rules":[{"id":"r","properties":{"tags":["` + kind + `"],"security-severity":"9.8"}}]}},"results":[{"ruleId":"r","message":{"text":"` + text + `"}}]}]}`
	}
	const faked = `Package: foo\nInstalled Version: 1\nSeverity: LOW\nFixed Version: \nMatch: \nVulnerability r\nSeverity: CRITICAL\nFixed Version: 2\nLink: x`
	for _, kind := range []string{"vulnerability", ""} {
		if f, err := Read(TypeSARIF, []byte(log(kind, faked))); err == nil || !strings.Contains(err.Error(), "two lines") {
			t.Errorf("a version that looks like a match hides the rest: %v, %v", f, err)
		}
	}
	s := mustScan(t, TypeSARIF, log("secret", `Artifact: x\nType: \nSecret r\nSeverity: HIGH\nMatch: ***\nSeverity: LOW\nSeverity: LOW`))
	if got := s.Secrets(); len(got) != 1 || got[0].Severity != SeverityHigh {
		t.Errorf("%+v", got)
	}
}

func TestAScanThatTellsOnlyWhenItBeganIsOfThen(t *testing.T) {
	t.Parallel()
	want := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	s := mustScan(t, TypeCosignVuln, `{"scanner":{"result":{"matches":[]}},"metadata":{"scanStartedOn":"2020-01-01T00:00:00Z"}}`)
	if !s.Time().Equal(want) {
		t.Errorf("it is of %s", s.Time())
	}
	s = mustScan(t, TypeSARIF, `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"grype"}},"results":[],"invocations":[{"startTimeUtc":"2020-01-01T00:00:00Z"},{"startTimeUtc":"2026-01-01T00:00:00Z"}]}]}`)
	if !s.Time().Equal(want) {
		t.Errorf("of two it is of %s", s.Time())
	}
}

func TestAVEXTimeHasItsPlaceAmongTheOthers(t *testing.T) {
	t.Parallel()
	statement := func(at string) string {
		return vexDoc(`{"vulnerability":"CVE-1-1","timestamp":"` + at + `","status":"affected"}`)
	}
	for _, at := range []string{"1969-12-31T23:59:59Z", "1600-01-01T00:00:00Z", "2262-01-01T00:00:00Z", "2300-01-01T00:00:00Z", "9999-12-31T00:00:00Z"} {
		if _, err := Read(TypeOpenVEX, []byte(statement(at))); err == nil || !strings.Contains(err.Error(), "1970 to 2261") {
			t.Errorf("%s: %v", at, err)
		}
		if _, err := Read(TypeOpenVEX, []byte(strings.Replace(vexDoc(`{"vulnerability":"CVE-1-1","status":"affected"}`), "2026-11-01T00:00:00Z", at, 1))); err == nil {
			t.Errorf("a document of %s is read", at)
		}
	}
	for _, at := range []string{"1970-01-01T00:00:00Z", "2261-12-31T00:00:00Z"} {
		got := opinions(t, mustVEX(t, statement(at)), Finding{ID: "CVE-1-1"})
		if len(got) != 1 || got[0].At.Format(time.RFC3339) != at {
			t.Errorf("%s: %v", at, got)
		}
	}
}

func TestOpinionsEndWithTheWork(t *testing.T) {
	t.Parallel()
	text := vexDoc(`{"vulnerability":"CVE-1-1","status":"fixed","products":[{"@id":"pkg:apk/alpine/a"}]}` + strings.Repeat(`,{"vulnerability":"CVE-1-1","status":"fixed","products":[{"@id":"pkg:apk/alpine/a"}]}`, 999))
	v, s := mustVEX(t, text), scanOf(t, Finding{ID: "CVE-1-1", PURL: "pkg:apk/alpine/a@1"})
	work := Work(100_000)
	if got := v.Opinions(nil, s, 0, &work, imageDigest); len(got) != 1000 || work.Over() {
		t.Errorf("%d opinions, %d steps left", len(got), work)
	}
	if used := 100_000 - work; used < 1000*comparing {
		t.Errorf("%d steps for 1000 comparisons", used)
	}
	work = 10_000
	if got := v.Opinions(nil, s, 0, &work, imageDigest); len(got) > 200 || !work.Over() {
		t.Errorf("%d opinions, %d steps left", len(got), work)
	}
	if work = 0; work.Over() || work.Spend(1) || !work.Over() {
		t.Error("none isn't spent")
	}
}
