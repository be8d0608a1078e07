package predicate

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func vulnOf(result string) string {
	return `{"scanner":{"uri":"pkg:github/x/y","result":` + result + `},"metadata":{"scanFinishedOn":"2026-11-21T10:00:00Z"}}`
}

func mustScan(t testing.TB, predicateType, text string) *Scan {
	t.Helper()
	f, err := Read(predicateType, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f.(*Scan)
}

func TestRow84_AnEmptyOrPartialScanIsNoCleanOne(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct{ kind, text, says string }{
		"nothing at all":                       {TypeCosignVuln, `{}`, "scanner: absent"},
		"null":                                 {TypeCosignVuln, `null`, "not an object but null"},
		"a scanner without result":             {TypeCosignVuln, `{"scanner":{"uri":"pkg:github/aquasecurity/trivy"}}`, "scanner.result: absent"},
		"a result of null":                     {TypeCosignVuln, vulnOf(`null`), "not an object but null"},
		"a result as a string":                 {TypeCosignVuln, vulnOf(`"{}"`), "not an object but a string"},
		"a result of no known shape":           {TypeCosignVuln, vulnOf(`{"vulnerabilities":[]}`), "of no known shape"},
		"results in another case":              {TypeCosignVuln, vulnOf(`{"SchemaVersion":2,"results":[]}`), `"results" for "Results"`},
		"two shapes at once":                   {TypeCosignVuln, vulnOf(`{"SchemaVersion":2,"Results":[{"Target":"a","Class":"os-pkgs"}],"matches":[]}`), "several shapes"},
		"trivy without Results":                {TypeCosignVuln, vulnOf(`{"SchemaVersion":2,"ArtifactName":"scratch"}`), "no Results"},
		"trivy with Results of null":           {TypeCosignVuln, vulnOf(`{"SchemaVersion":2,"Results":null}`), "not a list but null"},
		"trivy with no Result":                 {TypeCosignVuln, vulnOf(`{"SchemaVersion":2,"Results":[]}`), "none of Results is about packages or secrets"},
		"trivy with an empty Result":           {TypeCosignVuln, vulnOf(`{"SchemaVersion":2,"Results":[{}]}`), "no Target"},
		"trivy of licences alone":              {TypeCosignVuln, vulnOf(`{"SchemaVersion":2,"Results":[{"Target":"OS Packages","Class":"license"}]}`), "none of Results"},
		"trivy of its configuration alone":     {TypeCosignVuln, vulnOf(`{"SchemaVersion":2,"Results":[{"Target":"a","Class":"config","Vulnerabilities":null}]}`), "none of Results"},
		"trivy of nothing in configuration":    {TypeCosignVuln, vulnOf(`{"SchemaVersion":2,"Results":[{"Target":"a","Class":"config","Vulnerabilities":[]}]}`), "none of Results"},
		"trivy of another version":             {TypeCosignVuln, vulnOf(`{"SchemaVersion":3,"Results":[{"Target":"a","Class":"os-pkgs"}]}`), "only trivy's report of version 2"},
		"trivy without version":                {TypeCosignVuln, vulnOf(`{"Results":[{"Target":"a","Class":"os-pkgs"}]}`), "no SchemaVersion"},
		"trivy with Results twice":             {TypeCosignVuln, vulnOf(`{"SchemaVersion":2,"Results":[{"Target":"a","Vulnerabilities":[{"VulnerabilityID":"CVE-1"}]}],"Results":[{"Target":"a"}]}`), "a name occurs twice"},
		"trivy with a finding without id":      {TypeCosignVuln, vulnOf(`{"SchemaVersion":2,"Results":[{"Target":"a","Vulnerabilities":[{"Severity":"LOW"}]}]}`), "without identifier"},
		"trivy with vulnerabilities elsewhere": {TypeCosignVuln, vulnOf(`{"SchemaVersion":2,"Results":[{"Target":"a","vulnerabilities":[]}]}`), `"vulnerabilities" for "Vulnerabilities"`},
		"grype with matches of null":           {TypeCosignVuln, vulnOf(`{"matches":null,"descriptor":{"name":"grype"}}`), "not a list but null"},
		"grype without matches":                {TypeCosignVuln, vulnOf(`{"descriptor":{"name":"grype"}}`), "matches: absent"},
		"grype with a bad database":            {TypeCosignVuln, vulnOf(`{"matches":[],"descriptor":{"db":{"status":{"valid":false}}}}`), "database wasn't valid"},
		"grype with a match of nothing":        {TypeCosignVuln, vulnOf(`{"matches":[{}]}`), "vulnerability: absent"},
		"SARIF without runs":                   {TypeSARIF, `{"version":"2.1.0"}`, "runs: absent"},
		"SARIF with no run":                    {TypeSARIF, `{"version":"2.1.0","runs":[]}`, "runs: absent or empty"},
		"SARIF without results":                {TypeSARIF, `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"Trivy"}}}]}`, "results: absent"},
		"SARIF with results of null":           {TypeSARIF, `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"Trivy"}},"results":null}]}`, "not a list but null"},
		"SARIF of a linter":                    {TypeSARIF, `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"ESLint"}},"results":[]}]}`, "only the logs of trivy and grype"},
		"SARIF of a run that failed":           {TypeSARIF, `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"grype"}},"invocations":[{"executionSuccessful":false}],"results":[]}]}`, "the scan failed"},
		"SARIF of another version":             {TypeSARIF, `{"version":"2.0.0","runs":[{"tool":{"driver":{"name":"grype"}},"results":[]}]}`, "only SARIF 2.1.0"},
		"SARIF with a result of no rule":       {TypeSARIF, `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"grype"}},"results":[{"message":{"text":"x"}}]}]}`, "a result without a rule"},
		"SARIF with a package that is a line":  {TypeSARIF, `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"Trivy"}},"results":[{"ruleId":"CVE-1","message":{"text":"Package: a\nSeverity: LOW\nInstalled Version: 1\nSeverity: CRITICAL"}}]}]}`, "two lines"},
		"vulns without scanner":                {TypeInTotoVulns02, `{"metadata":{}}`, "scanner: absent"},
		"vulns without result":                 {TypeInTotoVulns02, `{"scanner":{"uri":"x"}}`, "scanner.result: absent"},
		"vulns with a result of null":          {TypeInTotoVulns02, `{"scanner":{"uri":"x","result":null}}`, "not a list but null"},
		"vulns without uri":                    {TypeInTotoVulns02, `{"scanner":{"result":[]}}`, "scanner.uri: absent"},
		"vulns with an entry of nothing":       {TypeInTotoVulns01, `{"scanner":{"uri":"x","result":[{}]}}`, "without identifier"},
		"something behind it":                  {TypeCosignVuln, vulnOf(`{"matches":[]}`) + `{}`, "something follows"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f, err := Read(tc.kind, []byte(tc.text))
			if err == nil {
				t.Fatalf("read as %v", dumpScan(f.(*Scan)))
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%q doesn't say %q", err, tc.says)
			}
		})
	}
}

func TestAResultWithATargetAndNoVulnerabilitiesIsClean(t *testing.T) {
	t.Parallel()
	for _, result := range []string{
		`{"SchemaVersion":2,"Results":[{"Target":"x (alpine 3.19)","Class":"os-pkgs","Type":"alpine"}]}`,
		`{"Results":[{"Target":"x","Vulnerabilities":null}],"SchemaVersion":2}`,
		`{"SchemaVersion":2,"Results":[{"Target":"","Class":"lang-pkgs","Vulnerabilities":[]}]}`,
		`{"matches":[]}`,
	} {
		s := mustScan(t, TypeCosignVuln, vulnOf(result))
		if s.Len() != 0 || !s.SoughtVulnerabilities() {
			t.Errorf("%s: %s", result, dumpScan(s))
		}
	}
}

func TestAScanSaysWhatItLookedFor(t *testing.T) {
	t.Parallel()
	const clean = `{"SchemaVersion":2,"Results":[{"Target":"x","Class":"os-pkgs"}]}`
	const secret = `{"SchemaVersion":2,"Results":[{"Target":"x","Class":"secret","Secrets":[{"RuleID":"r"}]}]}`
	for what, tc := range map[string]struct {
		parameters, result string
		vulns, secrets     bool
	}{
		"nothing said":                          {`null`, clean, true, false},
		"arguments":                             {`["image","--scanners","vuln,secret","app"]`, clean, true, true},
		"an argument with its value":            {`["--scanners=secret,vuln"]`, clean, true, true},
		"the flag's older name":                 {`["--security-checks","secret,vuln"]`, clean, true, true},
		"a command line":                        {`"trivy image --scanners vuln,secret app"`, clean, true, true},
		"an object":                             {`{"scanners":"vuln,secret"}`, clean, true, true},
		"an object with a list":                 {`{"scanners":["vuln","secret"]}`, clean, true, true},
		"the flag twice":                        {`["--scanners","vuln","--scanners","secret"]`, clean, true, true},
		"vulnerabilities alone":                 {`["--scanners","vuln"]`, clean, true, false},
		"secrets alone, and packages listed":    {`["--scanners","secret"]`, clean, false, true},
		"secrets alone, and yet a finding":      {`["--scanners","secret"]`, `{"SchemaVersion":2,"Results":[{"Target":"x","Class":"os-pkgs","Vulnerabilities":[{"VulnerabilityID":"CVE-1-1"}]}]}`, true, true},
		"the configuration's secrets":           {`["--image-config-scanners","secret"]`, clean, true, false},
		"the word elsewhere":                    {`["image","secret","--format=secret"]`, clean, true, false},
		"a secret was found":                    {`null`, secret, false, true},
		"a Secrets that is empty":               {`null`, `{"SchemaVersion":2,"Results":[{"Target":"x","Class":"os-pkgs","Secrets":[]}]}`, true, true},
		"a Result of Class secret without any":  {`null`, `{"SchemaVersion":2,"Results":[{"Target":"x","Class":"secret"}]}`, false, true},
		"grype never looks for secrets":         {`["--scanners","vuln,secret"]`, `{"matches":[]}`, true, false},
		"the value is the last argument's":      {`["--scanners"]`, clean, true, false},
		"a flag inside an object inside a list": {`[{"args":["--scanners","vuln,secret"]}]`, clean, true, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			for _, text := range []string{
				`{"invocation":{"parameters":` + tc.parameters + `},"scanner":{"result":` + tc.result + `}}`,
				`{"scanner":{"result":` + tc.result + `},"invocation":{"parameters":` + tc.parameters + `}}`,
			} {
				s := mustScan(t, TypeCosignVuln, text)
				if s.SoughtVulnerabilities() != tc.vulns || s.SoughtSecrets() != tc.secrets {
					t.Errorf("vulnerabilities %v, secrets %v", s.SoughtVulnerabilities(), s.SoughtSecrets())
				}
			}
		})
	}
}

func trivyOf(vulnerabilities ...string) string {
	return vulnOf(`{"SchemaVersion":2,"Results":[{"Target":"x","Class":"os-pkgs","Vulnerabilities":[` + strings.Join(vulnerabilities, ",") + `]}]}`)
}

func found(id, pkg, version, severity string, aliases ...string) string {
	return fmt.Sprintf(`{"VulnerabilityID":%q,"PkgName":%q,"InstalledVersion":%q,"Severity":%q,"VendorIDs":[%s]}`, id, pkg, version, severity, quoted(aliases))
}

func quoted(list []string) string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%q", s))
	}
	return strings.Join(out, ",")
}

func TestOneVulnerabilityOfAPackageVersionCountsOnce(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		list []string
		want []string
	}{
		"listed twice": {
			[]string{found("CVE-1-1", "a", "1", "LOW"), found("CVE-1-1", "a", "1", "HIGH")}, []string{"high CVE-1-1 []"}},
		"in two packages": {
			[]string{found("CVE-1-1", "a", "1", "LOW"), found("CVE-1-1", "b", "1", "LOW")}, []string{"low CVE-1-1 []", "low CVE-1-1 []"}},
		"in two versions": {
			[]string{found("CVE-1-1", "a", "1", "LOW"), found("CVE-1-1", "a", "2", "LOW")}, []string{"low CVE-1-1 []", "low CVE-1-1 []"}},
		"as GHSA with the CVE for an alias, and as CVE": {
			[]string{found("GHSA-x", "a", "1", "LOW", "CVE-1-1"), found("CVE-1-1", "a", "1", "UNKNOWN")}, []string{"low CVE-1-1 [GHSA-x]"}},
		"as CVE with the GHSA for an alias, and as bare GHSA": {
			[]string{found("CVE-1-1", "a", "1", "LOW", "GHSA-x"), found("GHSA-x", "a", "1", "LOW")}, []string{"low CVE-1-1 [GHSA-x]"}},
		"as bare GHSA, the alias told for another package": {
			[]string{found("GHSA-x", "a", "1", "LOW"), found("CVE-1-1", "a", "1", "LOW"), found("CVE-1-1", "b", "1", "LOW", "GHSA-x")},
			[]string{"low CVE-1-1 [GHSA-x]", "low CVE-1-1 [GHSA-x]"}},
		"two CVEs of one advisory": {
			[]string{found("CVE-1-1", "a", "1", "LOW", "RHSA-7"), found("CVE-1-2", "a", "1", "LOW", "RHSA-7")}, []string{"low CVE-1-1 [RHSA-7]", "low CVE-1-2 [RHSA-7]"}},
		"an advisory that goes with one CVE here, and itself": {
			[]string{found("CVE-1-1", "a", "1", "LOW", "RHSA-7"), found("RHSA-7", "a", "1", "LOW")}, []string{"low CVE-1-1 [RHSA-7]", "low RHSA-7 []"}},
		"an advisory over two CVEs, and one of them": {
			[]string{found("ELSA-7", "a", "1", "LOW", "CVE-1-1", "CVE-1-2"), found("CVE-1-1", "a", "1", "LOW")},
			[]string{"low CVE-1-1 []", "low ELSA-7 [CVE-1-1 CVE-1-2]"}},
		"one GHSA that stands for two CVEs": {
			[]string{found("CVE-1-1", "a", "1", "LOW", "GHSA-x"), found("CVE-1-2", "a", "1", "LOW", "GHSA-x"), found("GHSA-x", "a", "1", "LOW")},
			[]string{"low CVE-1-1 [GHSA-x]", "low CVE-1-2 [GHSA-x]", "low GHSA-x []"}},
		"without a package each stands for itself": {
			[]string{found("CVE-1-1", "", "", "LOW"), found("CVE-1-1", "", "", "LOW")}, []string{"low CVE-1-1 []", "low CVE-1-1 []"}},
		"in another case": {
			[]string{found("cve-1-1", "a", "1", "LOW"), found("CVE-1-1", "a", "1", "LOW")}, []string{"low cve-1-1 [CVE-1-1]"}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			for _, list := range [][]string{tc.list, reversed(tc.list)} {
				s := mustScan(t, TypeCosignVuln, trivyOf(list...))
				var got []string
				for i := range s.Len() {
					f := s.Finding(i)
					got = append(got, fmt.Sprint(f.Severity, " ", f.ID, " ", f.Aliases))
				}
				if what == "in another case" { // which spelling stays hangs on the order
					got, tc.want = got[:len(got):len(got)], got
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func reversed(list []string) []string {
	out := make([]string, 0, len(list))
	for i := len(list) - 1; i >= 0; i-- {
		out = append(out, list[i])
	}
	return out
}

func TestFindingsAreFoundByAnyOfTheirNames(t *testing.T) {
	t.Parallel()
	s := mustScan(t, TypeCosignVuln, trivyOf(
		found("CVE-1-1", "a", "1", "LOW", "RHSA-7"), found("CVE-1-2", "a", "1", "HIGH", "RHSA-7"), found("CVE-1-1", "b", "1", "LOW"), found("CVE-1-11", "b", "1", "LOW")))
	for name, want := range map[string][]string{
		"CVE-1-1": {"CVE-1-1 a", "CVE-1-1 b"}, "cve-1-1": {"CVE-1-1 a", "CVE-1-1 b"}, "rhsa-7": {"CVE-1-2 a", "CVE-1-1 a"}, "CVE-1-11": {"CVE-1-11 b"},
		"CVE-1": nil, "": nil, "CVE-1-111": nil,
	} {
		var got []string
		for _, i := range s.Named(nil, name) {
			f := s.Finding(i)
			got = append(got, f.ID+" "+f.Package)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWhatIsKnownOfAFix(t *testing.T) {
	t.Parallel()
	trivy := func(more string) string {
		return trivyOf(`{"VulnerabilityID":"CVE-1-1","PkgName":"a","InstalledVersion":"1","Severity":"LOW"` + more + `}`)
	}
	grype := func(fix string) string {
		return vulnOf(`{"matches":[{"vulnerability":{"id":"CVE-1-1","severity":"Low","fix":` + fix + `},"artifact":{"name":"a","version":"1"}}]}`)
	}
	for text, want := range map[string]Fix{
		trivy(``): FixNone, trivy(`,"FixedVersion":"2"`): FixKnown, trivy(`,"Status":"fixed"`): FixKnown, trivy(`,"Status":"will_not_fix"`): FixNone,
		trivy(`,"Status":"under_investigation"`): FixNone, trivy(`,"Status":"not_affected"`): FixNone,
		grype(`{"versions":["2"],"state":"fixed"}`): FixKnown, grype(`{"versions":[],"state":"wont-fix"}`): FixNone, grype(`{"versions":[],"state":"unknown"}`): FixNone,
		grype(`{"versions":[],"state":"fixed"}`): FixKnown, grype(`null`): FixNone,
	} {
		s := mustScan(t, TypeCosignVuln, text)
		if s.Len() != 1 || s.Finding(0).Fix != want {
			t.Errorf("%s: %s", text, dumpScan(s))
		}
		n := 0
		if want != FixNone {
			n = 1
		}
		if s.Count(SeverityLow, false) != 1 || s.Count(SeverityLow, true) != n {
			t.Errorf("%s: counts %d, %d", text, s.Count(SeverityLow, false), s.Count(SeverityLow, true))
		}
	}
	s := mustScan(t, TypeInTotoVulns02, `{"scanner":{"uri":"https://example.com/scan","result":[{"id":"CVE-1-1","severity":[{"method":"x","score":"low"}]}]}}`)
	if s.Finding(0).Fix != FixUntold || s.Count(SeverityLow, true) != 1 {
		t.Errorf("what in-toto doesn't tell is taken for no fix: %s", dumpScan(s))
	}
}

func TestSeverities(t *testing.T) {
	t.Parallel()
	for score, want := range map[string]Severity{
		"10": SeverityCritical, "9.0": SeverityCritical, "8.9": SeverityHigh, "7": SeverityHigh, "6.9": SeverityMedium, "4.0": SeverityMedium, "3.9": SeverityLow, "0.1": SeverityLow,
		"0": SeverityUnknown, "0.0": SeverityUnknown, "-1": SeverityUnknown, "10.1": SeverityUnknown, "NaN": SeverityUnknown, "Inf": SeverityUnknown, "": SeverityUnknown,
		"CRITICAL": SeverityCritical, "Important": SeverityHigh, "moderate": SeverityMedium, "Low": SeverityLow, "Negligible": SeverityNegligible, "informational": SeverityNegligible,
		"UNKNOWN": SeverityUnknown, "bad": SeverityUnknown, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H": SeverityUnknown,
	} {
		if got := rated("nvd", score); got != want {
			t.Errorf("%q: %s, want %s", score, got, want)
		}
	}
	if got := rated("EPSS", "9.5"); got != SeverityUnknown {
		t.Errorf("a probability is taken for a severity: %s", got)
	}
	for s := range Severity(Severities) {
		if got, ok := ParseSeverity(strings.ToUpper(s.String())); !ok || got != s {
			t.Errorf("%s is read as %s", s, got)
		}
	}
}

func TestTheEarliestTimeOfAScanCounts(t *testing.T) {
	t.Parallel()
	s := mustScan(t, TypeCosignVuln, `{"scanner":{"db":{"lastUpdate":"2026-11-02T00:00:00Z"},"result":{"matches":[],"descriptor":{"timestamp":"2026-11-03T00:00:00+02:00","db":{"built":"2026-11-01T00:00:00Z","status":{"built":"2026-11-02T12:00:00Z"}}}}},
		"metadata":{"scanStartedOn":"2026-11-20T00:00:00Z","scanFinishedOn":"2026-11-21T00:00:00Z"}}`)
	if got := s.Time(); !got.Equal(time.Date(2026, 11, 2, 22, 0, 0, 0, time.UTC)) {
		t.Errorf("an old result in a new envelope is of %s", got)
	}
	if got := s.Database(); !got.Equal(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("database of %s", got)
	}
	if got := mustScan(t, TypeCosignVuln, `{"scanner":{"result":{"matches":[]}},"metadata":{"scanFinishedOn":"0001-01-01T00:00:00Z"}}`).Time(); !got.IsZero() {
		t.Errorf("no time is %s", got)
	}
	sarif := mustScan(t, TypeSARIF, `{"version":"2.1.0","runs":[{"invocations":[{"endTimeUtc":"2026-11-21T00:00:00Z","executionSuccessful":true}],"results":[],"tool":{"driver":{"name":"grype"}}}]}`)
	if got := sarif.Time(); got.IsZero() {
		t.Error("SARIF's end isn't read")
	}
}

func TestTheNameOfATool(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"pkg:github/aquasecurity/trivy@244fd47e07d1004f0aed9": "trivy", "https://github.com/anchore/grype": "grype", "https://github.com/aquasecurity/trivy.git#v1": "trivy",
		"https://scan.example/": "scan.example", "Trivy": "trivy", "https://github.com/aquasecurity/trivy@v1?x=y/z": "trivy", "": "",
	} {
		if got := toolOf(uri); got != want {
			t.Errorf("%q: %q, want %q", uri, got, want)
		}
	}
}

func TestWhatAScanMayHoldIsBounded(t *testing.T) {
	t.Parallel()
	many := make([]string, MaxFindings+1)
	for i := range many {
		many[i] = found(fmt.Sprintf("CVE-1-%d", i), "a", "1", "LOW")
	}
	aliases := make([]string, maxAliases+1)
	for i := range aliases {
		aliases[i] = fmt.Sprint(i)
	}
	for what, text := range map[string]string{
		"findings":       trivyOf(many...),
		"aliases":        trivyOf(found("CVE-1-1", "a", "1", "LOW", aliases...)),
		"a package name": trivyOf(found("CVE-1-1", strings.Repeat("a", maxWord+1), "1", "LOW")),
		"depth":          vulnOf(strings.Repeat(`{"x":`, 200) + "1" + strings.Repeat("}", 200)),
	} {
		if f, err := Read(TypeCosignVuln, []byte(text)); err == nil {
			t.Errorf("%s: over the bound, and read as %d bytes", what, f.Size())
		}
	}
	if _, err := Read(TypeCosignVuln, []byte(trivyOf(many[:MaxFindings]...))); err != nil {
		t.Errorf("as many as there may be: %v", err)
	}
}

// manyFindings is a scan of n findings, as trivy writes them, in some 500 packages.
func manyFindings(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"VulnerabilityID":"CVE-2026-%05d","PkgID":"pkg-%d@1.2.3-r4","PkgName":"pkg-%d","PkgIdentifier":{"PURL":"pkg:apk/alpine/pkg-%d@1.2.3-r4?arch=x86_64"},"InstalledVersion":"1.2.3-r4","FixedVersion":"1.2.%d-r0","Status":"fixed","Severity":"MEDIUM","Title":%q,"Description":%q,"References":["https://example.com/a","https://example.com/b"]}`,
			i/2, i%500, i%500, i%500, 4+i%7, "a title that says what it is", strings.Repeat("what it does, and to whom. ", 20))
	}
	return trivyOf(list...)
}

func TestRow84_AScanOf20000FindingsIsSmall(t *testing.T) { // not parallel: it measures what is allocated
	text := []byte(manyFindings(20_000))
	s, err := readCosignVuln(text)
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 20_000 {
		t.Fatalf("%d findings", s.Len())
	}
	t.Logf("%d bytes of text, %d of facts", len(text), s.Size())
	if most := int64(2 << 20); s.Size() > most {
		t.Errorf("it takes %d bytes, want at most %d", s.Size(), most)
	}
	if got := allocated(func() { _, err = readCosignVuln(text) }); got > 3*uint64(len(text)) {
		t.Errorf("reading %d bytes allocates %d in all", len(text), got)
	}
}

// allocated is how many bytes f allocates in all: no less than its peak.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestTheSizeOfAScanIsWhatItHolds(t *testing.T) { // not parallel: it measures the heap
	text := []byte(manyFindings(5_000))
	var kept []*Scan
	const copies = 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range copies {
		s, err := readCosignVuln(text)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, s)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	held, said := int64(after.HeapAlloc)-int64(before.HeapAlloc), kept[0].Size()*copies
	t.Logf("%d held, %d said", held, said)
	if said < held*9/10 || said > held*3/2 {
		t.Errorf("it says %d bytes, and %d are held", said, held)
	}
	runtime.KeepAlive(kept)
	runtime.KeepAlive(text)
}

func FuzzCosignVuln(f *testing.F) { fuzzScan(f, TypeCosignVuln, "cosign-vuln*.json") }
func FuzzSARIF(f *testing.F)      { fuzzScan(f, TypeSARIF, "*.sarif.json") }
func FuzzInTotoVulns(f *testing.F) {
	fuzzScan(f, TypeInTotoVulns02, "vulns*.json")
}

// fuzzScan feeds a reader, and checks what holds of every Scan: that it says that it looked for something, that every finding is found
// by its own name, and that the counts add up.
func fuzzScan(f *testing.F, kind, pattern string) {
	files, err := filepath.Glob(filepath.Join("testdata/scan", pattern))
	if err != nil || len(files) == 0 {
		f.Fatal("nothing to begin with")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(vulnOf(`{"matches":[]}`)))
	f.Add([]byte(trivyOf(found("CVE-1-1", "a", "1", "LOW", "GHSA-x"), found("GHSA-x", "a", "1", "HIGH"))))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := Read(kind, text)
		if err != nil {
			if strings.Contains(err.Error(), "makes its reader fail") {
				t.Fatal(err)
			}
			return
		}
		s := got.(*Scan)
		n := 0
		for severity := range Severity(Severities) {
			n += s.Count(severity, false)
			if s.Count(severity, true) > s.Count(severity, false) {
				t.Error("more fixable than there are")
			}
		}
		if n != s.Len() {
			t.Errorf("%d counted of %d", n, s.Len())
		}
		for i := range s.Len() {
			x := s.Finding(i)
			if len(x.Aliases) > maxAliases || s.Part(i, x.ID) != s.All(i) {
				t.Fatalf("finding %d, of %d aliases, isn't all that it is about", i, len(x.Aliases))
			}
			var parts Parts
			for _, name := range x.Aliases {
				if isCVE(name) && !isCVE(x.ID) && s.Part(i, name).Empty() {
					t.Fatalf("finding %d isn't about its %q", i, name)
				}
				parts = parts.With(s.Part(i, name))
			}
			if parts.With(s.All(i)) != s.All(i) || s.Parts(i) > 1 && parts != s.All(i) {
				t.Fatalf("finding %d is about %b by its aliases, of %b", i, parts, s.All(i))
			}
			for _, name := range append([]string{x.ID}, x.Aliases...) {
				if !contains(s.Named(nil, name), i) {
					t.Fatalf("finding %d isn't found by %q", i, name)
				}
			}
		}
		if s.Scanner() == "" {
			t.Error("a scan by nobody")
		}
	})
}

func contains(list []int, n int) bool {
	for _, x := range list {
		if x == n {
			return true
		}
	}
	return false
}
