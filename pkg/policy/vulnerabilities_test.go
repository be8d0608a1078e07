package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// scanned is when the scans of these tests finished, and judged when they are judged.
var (
	scanned = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	judged  = scanned.Add(24 * time.Hour)
)

// vuln is a finding as trivy writes it.
type vuln struct {
	id, pkg, version, fixed, severity, purl string
	aliases                                 []string
}

func (v vuln) json() string {
	ids := ""
	for i, a := range v.aliases {
		if i > 0 {
			ids += ","
		}
		ids += fmt.Sprintf("%q", a)
	}
	return fmt.Sprintf(`{"VulnerabilityID":%q,"VendorIDs":[%s],"PkgName":%q,"InstalledVersion":%q,"FixedVersion":%q,"Severity":%q,"PkgIdentifier":{"PURL":%q}}`,
		v.id, ids, v.pkg, v.version, v.fixed, v.severity, v.purl)
}

// trivyScan is a scan by trivy that finished at a time.
func trivyScan(at time.Time, list ...vuln) []byte {
	var all []string
	for _, v := range list {
		all = append(all, v.json())
	}
	return cosignVuln(at, `{"SchemaVersion":2,"Results":[{"Target":"app","Class":"os-pkgs","Vulnerabilities":[`+strings.Join(all, ",")+`]}]}`, "")
}

// cosignVuln is a scanner's result in cosign's predicate.
func cosignVuln(at time.Time, result, database string) []byte {
	finished := ""
	if !at.IsZero() {
		finished = at.Format(time.RFC3339)
	}
	return fmt.Appendf(nil, `{"scanner":{"uri":"x","version":"1.2","db":{"lastUpdate":%q},"result":%s},"metadata":{"scanFinishedOn":%q}}`, database, result, finished)
}

var (
	openssl = vuln{"CVE-2026-1111", "openssl", "3.0.1", "3.0.2", "CRITICAL", "pkg:apk/alpine/openssl@3.0.1", nil}
	zlib    = vuln{"CVE-2026-2222", "zlib", "1.2", "", "CRITICAL", "pkg:apk/alpine/zlib@1.2", []string{"GHSA-zzzz", "RHSA-7"}}
	bash    = vuln{"CVE-2026-3333", "bash", "5.2", "5.3", "HIGH", "pkg:apk/alpine/bash@5.2", nil}
	curl    = vuln{"CVE-2026-4444", "curl", "8.0", "", "MEDIUM", "pkg:apk/alpine/curl@8.0", nil}
	odd     = vuln{"CVE-2026-5555", "odd", "1", "", "UNKNOWN", "pkg:apk/alpine/odd@1", nil}
)

type limit = map[predicate.Severity]int

// noneBad allows nothing critical or high.
var noneBad = limit{predicate.SeverityCritical: 0, predicate.SeverityHigh: 0}

// scene is an image with papers, and a policy over it.
type scene struct {
	world
	image    v1.Hash
	img      policy.Image
	by       verify.Authority
	signer   verifytest.Signer
	vexer    verifytest.Signer
	vexBy    verify.Authority
	excepted *policy.NamespaceExceptions
	ns       string
}

func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{world: newWorld(t), image: verifytest.Digest("image"), signer: verifytest.NewSigner(t, 1), vexer: verifytest.NewSigner(t, 2), ns: "payments"}
	s.by, s.vexBy = verifytest.Authority(t, "release", s.signer), verifytest.Authority(t, "security", s.vexer)
	s.img = pinned(t, s.image)
	s.img.Now, s.img.Namespace = judged, "payments"
	return s
}

// scan attaches scans.
func (s *scene) scan(all ...[]byte) {
	for _, text := range all {
		s.Attach(s.image, verifytest.Attest(s.signer, predicate.TypeCosignVuln, text, s.image))
	}
}

// vex attaches a VEX document of some statements.
func (s *scene) vex(statements ...string) {
	text := `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"x","author":"a","timestamp":"2026-11-01T00:00:00Z","version":1,"statements":[` + strings.Join(statements, ",") + `]}`
	s.Attach(s.image, verifytest.Attest(s.vexer, predicate.TypeOpenVEX, []byte(text), s.image))
}

// verdict judges the image by the rules, with a verifier that knows nothing yet.
func (s *scene) verdict(rules policy.VulnerabilityRules) policy.Verdict {
	s.t.Helper()
	r, err := policy.NewVulnerabilities([]verify.Authority{s.by}, rules)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.judge(r)
}

func (s *scene) judge(r policy.Requirement) policy.Verdict {
	s.t.Helper()
	p := &policy.Policy{
		Name: policy.Name{Namespace: s.ns, Name: "production"}, Action: policy.ActionRequire, NamespaceExceptions: s.excepted,
		Images: policy.Matcher{Include: []policy.Pattern{mustPattern(s.t, "**")}}, Requirements: []policy.Requirement{r},
	}
	return p.Judge(s.img, s.know(s.img))
}

// check compares a verdict of one result.
func check(t *testing.T, v policy.Verdict, outcome policy.Outcome, reason policy.Reason, says ...string) {
	t.Helper()
	if len(v.Results) != 1 {
		t.Fatalf("%d results", len(v.Results))
	}
	r := v.Results[0]
	if r.Outcome != outcome || r.Reason != reason {
		t.Errorf("%s %s: %s; want %s %s", r.Outcome, r.Reason, r.Detail, outcome, reason)
	}
	for _, text := range says {
		if absent, not := strings.CutPrefix(text, "!"); not == strings.Contains(r.Detail, absent) {
			t.Errorf("%q: %q", r.Detail, text)
		}
	}
	for _, w := range v.Warnings {
		if len(w.Text) > 120 || strings.ContainsAny(w.Text, "\n\r") {
			t.Errorf("a warning that the API server drops: %q", w.Text)
		}
	}
}

func TestVulnerabilities(t *testing.T) {
	t.Parallel()
	many := make([]vuln, 0, 12)
	for i := range 12 {
		many = append(many, vuln{fmt.Sprintf("CVE-2026-9%03d", i), "p", "1", "", "MEDIUM", "", nil})
	}
	for what, tc := range map[string]struct {
		scans   [][]byte
		rules   policy.VulnerabilityRules
		outcome policy.Outcome
		reason  policy.Reason
		says    []string
	}{
		"nothing found": {
			[][]byte{trivyScan(scanned)}, policy.VulnerabilityRules{Max: noneBad}, policy.Satisfied, policy.Verified, []string{"no vulnerability by trivy 1.2"}},
		"some, within the limits": {
			[][]byte{trivyScan(scanned, curl, bash)}, policy.VulnerabilityRules{Max: limit{predicate.SeverityCritical: 0, predicate.SeverityHigh: 1}},
			policy.Satisfied, policy.Verified, []string{"1 high, 1 medium by trivy"}},
		"too many": {
			[][]byte{trivyScan(scanned, curl, zlib, openssl, bash)}, policy.VulnerabilityRules{Max: noneBad}, policy.Violated, policy.TooManyVulnerabilities,
			[]string{"2 critical (max 0): CVE-2026-1111 openssl 3.0.1 (fixed in 3.0.2), CVE-2026-2222 zlib 1.2 (no fix); 1 high (max 0): CVE-2026-3333 bash 5.2 (fixed in 5.3)", "!curl"}},
		"more than are named": {
			[][]byte{trivyScan(scanned, many...)}, policy.VulnerabilityRules{Max: limit{predicate.SeverityMedium: 10}}, policy.Violated, policy.TooManyVulnerabilities,
			[]string{"12 medium (max 10): CVE-2026-9000 p 1 (no fix), CVE-2026-9001 p 1 (no fix), CVE-2026-9002 p 1 (no fix) and 9 more"}},
		"a severity that isn't limited": {
			[][]byte{trivyScan(scanned, openssl)}, policy.VulnerabilityRules{Max: limit{predicate.SeverityHigh: 0}}, policy.Satisfied, policy.Verified, nil},
		"an unknown severity counts as high": {
			[][]byte{trivyScan(scanned, odd)}, policy.VulnerabilityRules{Max: noneBad}, policy.Violated, policy.TooManyVulnerabilities,
			[]string{"1 high (max 0): CVE-2026-5555 odd 1 (severity unknown, no fix)"}},
		"an unknown severity counts as said": {
			[][]byte{trivyScan(scanned, odd)}, policy.VulnerabilityRules{Max: noneBad, Unknown: predicate.SeverityLow}, policy.Satisfied, policy.Verified, []string{"1 low"}},
		"only those with a fix": {
			[][]byte{trivyScan(scanned, zlib)}, policy.VulnerabilityRules{Max: noneBad, OnlyFixable: true}, policy.Satisfied, policy.Verified, []string{"no vulnerability with a fix"}},
		"only those with a fix, and there is one": {
			[][]byte{trivyScan(scanned, zlib, openssl)}, policy.VulnerabilityRules{Max: noneBad, OnlyFixable: true}, policy.Violated, policy.TooManyVulnerabilities,
			[]string{"1 critical (max 0): CVE-2026-1111", "!zlib"}},
		"only those with a fix, of a format that tells none": {
			[][]byte{cosignVuln(scanned, `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"grype"}},"results":[{"ruleId":"CVE-2026-1111-openssl","message":{"text":"A critical vulnerability in apk package: openssl, version 3.0.1 was found at: x"}}]}]}`, "")},
			policy.VulnerabilityRules{Max: noneBad, OnlyFixable: true}, policy.Violated, policy.TooManyVulnerabilities, []string{"CVE-2026-1111 openssl 3.0.1"}},
		"row 85: an older clean scan beside a newer bad one": {
			[][]byte{trivyScan(scanned.Add(-time.Hour)), trivyScan(scanned, openssl)}, policy.VulnerabilityRules{Max: noneBad}, policy.Violated, policy.TooManyVulnerabilities, nil},
		"an older bad scan beside a newer clean one": {
			[][]byte{trivyScan(scanned), trivyScan(scanned.Add(-time.Hour), openssl)}, policy.VulnerabilityRules{Max: noneBad}, policy.Satisfied, policy.Verified, nil},
		"two of the same time": {
			[][]byte{trivyScan(scanned), trivyScan(scanned, openssl)}, policy.VulnerabilityRules{Max: noneBad}, policy.Violated, policy.TooManyVulnerabilities, nil},
		"no scan": {
			nil, policy.VulnerabilityRules{Max: noneBad}, policy.Violated, policy.NoScan, []string{"no scan found, wanted one by release"}},
		"a scan that is too old": {
			[][]byte{trivyScan(scanned.Add(-8 * 24 * time.Hour))}, policy.VulnerabilityRules{Max: noneBad, MaxAge: 168 * time.Hour}, policy.Violated, policy.TooOld, nil},
		"a scan without a time": {
			[][]byte{trivyScan(time.Time{})}, policy.VulnerabilityRules{Max: noneBad, MaxAge: 168 * time.Hour}, policy.Violated, policy.NoTime, nil},
		"a scan that can't be read": {
			[][]byte{cosignVuln(scanned, `{"SchemaVersion":2}`, "")}, policy.VulnerabilityRules{Max: noneBad}, policy.Violated, policy.PaperMalformed, []string{"no Results"}},
		"a scan for secrets alone": {
			[][]byte{cosignVuln(scanned, `{"SchemaVersion":2,"Results":[{"Target":"x","Class":"secret","Secrets":[]}]}`, "")}, policy.VulnerabilityRules{Max: noneBad},
			policy.Violated, policy.NoScan, []string{"1 scan by release found, but none that looked for vulnerabilities"}},
		"by a scanner that counts": {
			[][]byte{trivyScan(scanned)}, policy.VulnerabilityRules{Max: noneBad, Scanners: []string{"Grype", "TRIVY"}}, policy.Satisfied, policy.Verified, nil},
		"by another scanner": {
			[][]byte{trivyScan(scanned)}, policy.VulnerabilityRules{Max: noneBad, Scanners: []string{"grype"}}, policy.Violated, policy.WrongScanner, []string{"made by trivy 1.2, wanted one of grype"}},
		"by a scanner that says it is another": {
			[][]byte{cosignVuln(scanned, `{"matches":[]}`, "")}, policy.VulnerabilityRules{Max: noneBad, Scanners: []string{"x"}}, policy.Violated, policy.WrongScanner, []string{"made by grype"}},
		"a newer one by another scanner": {
			[][]byte{trivyScan(scanned, openssl), cosignVuln(scanned.Add(time.Hour), `{"matches":[]}`, "")}, policy.VulnerabilityRules{Max: noneBad, Scanners: []string{"trivy"}},
			policy.Violated, policy.TooManyVulnerabilities, nil},
		"a fresh database": {
			[][]byte{cosignVuln(scanned, `{"matches":[]}`, "2026-11-16T12:00:00Z")}, policy.VulnerabilityRules{Max: noneBad, MaxDatabaseAge: 96 * time.Hour}, policy.Satisfied, policy.Verified, nil},
		"row 84: a database of 10 days": {
			[][]byte{cosignVuln(scanned, `{"matches":[]}`, "2026-11-10T12:00:00Z")}, policy.VulnerabilityRules{Max: noneBad, MaxDatabaseAge: 120 * time.Hour}, policy.Violated, policy.DatabaseTooOld,
			[]string{"used a database of 2026-11-10 12:00 UTC: 10 days old then (max 5 days)"}},
		"a database of no time, where none is asked for": {
			[][]byte{trivyScan(scanned)}, policy.VulnerabilityRules{Max: noneBad}, policy.Satisfied, policy.Verified, nil},
		"row 84: a database of no time": {
			[][]byte{trivyScan(scanned)}, policy.VulnerabilityRules{Max: noneBad, MaxDatabaseAge: 120 * time.Hour}, policy.Violated, policy.NoTime, []string{"doesn't say of when its database was"}},
		"a database of after the scan": {
			[][]byte{cosignVuln(scanned, `{"matches":[]}`, "2026-11-20T13:00:00Z")}, policy.VulnerabilityRules{Max: noneBad, MaxDatabaseAge: 120 * time.Hour}, policy.Violated, policy.DatabaseTooOld, []string{"after the scan itself"}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.scan(tc.scans...)
			check(t, s.verdict(tc.rules), tc.outcome, tc.reason, tc.says...)
		})
	}
}

func TestRow84_AnEmptyScanAndAnOldDatabaseAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{}`, `{"scanner":{}}`, string(cosignVuln(scanned, `{}`, "")), string(cosignVuln(scanned, `{"SchemaVersion":2,"Results":null}`, ""))} {
		s := newScene(t)
		s.scan([]byte(text))
		check(t, s.verdict(policy.VulnerabilityRules{Max: noneBad}), policy.Violated, policy.PaperMalformed)
	}
	s := newScene(t)
	s.scan(cosignVuln(scanned, `{"matches":[]}`, scanned.Add(-240*time.Hour).Format(time.RFC3339)))
	check(t, s.verdict(policy.VulnerabilityRules{Max: noneBad, MaxDatabaseAge: 239 * time.Hour}), policy.Violated, policy.DatabaseTooOld)
	check(t, s.verdict(policy.VulnerabilityRules{Max: noneBad, MaxDatabaseAge: 240 * time.Hour}), policy.Satisfied, policy.Verified)
}

func TestRow85_AnOldCleanScanDoesNotOutliveANewerBadOne(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.scan(trivyScan(scanned.Add(-time.Hour)), trivyScan(scanned, openssl))
	check(t, s.verdict(policy.VulnerabilityRules{Max: noneBad}), policy.Violated, policy.TooManyVulnerabilities)
}

func TestAScanAboveWarnIsWarnedOf(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.scan(trivyScan(scanned, curl, bash))
	v := s.verdict(policy.VulnerabilityRules{Max: limit{predicate.SeverityCritical: 0}, Warn: limit{predicate.SeverityHigh: 0, predicate.SeverityMedium: 1}})
	check(t, v, policy.Satisfied, policy.Verified)
	if len(v.Warnings) != 1 || v.Warnings[0].Reason != policy.TooManyVulnerabilities || !strings.HasPrefix(v.Warnings[0].Text, "1 high (warn above 0): CVE-2026-3333 bash 5.2 (fixed in 5.3)") {
		t.Errorf("%+v", v.Warnings)
	}
	if v = s.verdict(policy.VulnerabilityRules{Max: noneBad, Warn: limit{predicate.SeverityHigh: 0}}); len(v.Warnings) != 0 {
		t.Errorf("a refusal is warned of: %+v", v.Warnings)
	}
}

func TestExceptionsOfAPolicy(t *testing.T) {
	t.Parallel()
	except := func(expires string, ids ...string) (out []policy.VulnerabilityException) {
		for _, id := range ids {
			out = append(out, policy.VulnerabilityException{ID: id, Reason: "why not", Expires: expires})
		}
		return out
	}
	advisory := vuln{"ELSA-2026-1", "openssl", "3", "", "CRITICAL", "", []string{"CVE-2026-1111", "CVE-2026-1112", "ORACLE-1"}}
	for what, tc := range map[string]struct {
		found      []vuln
		exceptions []policy.VulnerabilityException
		outcome    policy.Outcome
		warned     string
	}{
		"by its id":                             {[]vuln{zlib}, except("2027-01-31", "CVE-2026-2222"), policy.Satisfied, ""},
		"by its id in another case":             {[]vuln{zlib}, except("2027-01-31", "cve-2026-2222"), policy.Satisfied, ""},
		"by an alias":                           {[]vuln{zlib}, except("2027-01-31", "GHSA-zzzz"), policy.Satisfied, ""},
		"by an advisory's name":                 {[]vuln{zlib}, except("2027-01-31", "RHSA-7"), policy.Satisfied, ""},
		"of another":                            {[]vuln{zlib}, except("2027-01-31", "CVE-2026-222"), policy.Violated, ""},
		"of one of two":                         {[]vuln{zlib, openssl}, except("2027-01-31", "CVE-2026-2222"), policy.Violated, ""},
		"of both":                               {[]vuln{zlib, openssl}, except("2027-01-31", "CVE-2026-2222", "CVE-2026-1111"), policy.Satisfied, ""},
		"that has ended":                        {[]vuln{zlib}, except("2026-11-20", "CVE-2026-2222"), policy.Violated, ""},
		"on its last day":                       {[]vuln{zlib}, except("2026-11-21", "CVE-2026-2222"), policy.Satisfied, "exception ends 2026-11-21: CVE-2026-2222"},
		"at its last moment":                    {[]vuln{zlib}, except("2026-11-21T12:00:01Z", "CVE-2026-2222"), policy.Satisfied, "exception ends 2026-11-21: CVE-2026-2222"},
		"past its last moment":                  {[]vuln{zlib}, except("2026-11-21T12:00:00Z", "CVE-2026-2222"), policy.Violated, ""},
		"14 days before its end":                {[]vuln{zlib}, except("2026-12-05T12:00:00Z", "CVE-2026-2222"), policy.Satisfied, "exception ends 2026-12-05: CVE-2026-2222"},
		"more than 14 days before its end":      {[]vuln{zlib}, except("2026-12-05T12:00:01Z", "CVE-2026-2222"), policy.Satisfied, ""},
		"that isn't used isn't warned of":       {[]vuln{curl}, except("2026-11-21", "CVE-2026-4444"), policy.Satisfied, ""},
		"of one CVE of an advisory over two":    {[]vuln{advisory}, except("2027-01-31", "CVE-2026-1111"), policy.Violated, ""},
		"of both CVEs of an advisory":           {[]vuln{advisory}, except("2027-01-31", "CVE-2026-1111", "cve-2026-1112"), policy.Satisfied, ""},
		"of the advisory over two CVEs":         {[]vuln{advisory}, except("2027-01-31", "ELSA-2026-1"), policy.Satisfied, ""},
		"of another name of the advisory":       {[]vuln{advisory}, except("2027-01-31", "ORACLE-1"), policy.Violated, ""},
		"of another name of one over one CVE":   {[]vuln{{"ELSA-2026-1", "openssl", "3", "", "CRITICAL", "", []string{"CVE-2026-1111", "ORACLE-1"}}}, except("2027-01-31", "ORACLE-1"), policy.Satisfied, ""},
		"of a CVE that is another's alias":      {[]vuln{{"CVE-2026-1", "p", "1", "", "CRITICAL", "", []string{"CVE-2026-2"}}}, except("2027-01-31", "CVE-2026-2"), policy.Violated, ""},
		"of the same CVE twice, of two it has":  {[]vuln{advisory}, except("2027-01-31", "CVE-2026-1111", "CVE-2026-1111"), policy.Violated, ""},
		"of a CVE in two packages takes both":   {[]vuln{zlib, {"CVE-2026-2222", "zlib-dev", "1.2", "", "CRITICAL", "", nil}}, except("2027-01-31", "CVE-2026-2222"), policy.Satisfied, ""},
		"of a severity that isn't over a limit": {[]vuln{zlib, curl}, except("2027-01-31", "CVE-2026-4444"), policy.Violated, ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.scan(trivyScan(scanned, tc.found...))
			reason := policy.TooManyVulnerabilities
			if tc.outcome == policy.Satisfied {
				reason = policy.Verified
			}
			v := s.verdict(policy.VulnerabilityRules{Max: noneBad, Exceptions: tc.exceptions})
			check(t, v, tc.outcome, reason)
			got := ""
			for _, w := range v.Warnings {
				got += w.Text
			}
			if got != tc.warned {
				t.Errorf("warned %q, want %q", got, tc.warned)
			}
			if len(v.Used) > 0 {
				t.Errorf("the policy's own is told as the namespace's: %v", v.Used)
			}
		})
	}
}

func TestAnExceptionIsToldAndEndsTheVerdict(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.scan(trivyScan(scanned, zlib))
	v := s.verdict(policy.VulnerabilityRules{Max: noneBad, MaxAge: 1000 * time.Hour, Exceptions: []policy.VulnerabilityException{{ID: "CVE-2026-2222", Reason: "r", Expires: "2026-12-24"}}})
	check(t, v, policy.Satisfied, policy.Verified, "no vulnerability by trivy 1.2; excepted: CVE-2026-2222")
	if want := time.Date(2026, 12, 25, 0, 0, 0, 0, time.UTC); !v.Results[0].Until.Equal(want) {
		t.Errorf("it ends %s, want %s", v.Results[0].Until, want)
	}
}

// exceptionOf is an ImageException of the namespace payments, for all images.
func exceptionOf(t testing.TB, created, until time.Time, ids ...string) *policy.Exception {
	t.Helper()
	return &policy.Exception{
		Name: policy.Name{Namespace: "payments", Name: "waf"}, Owner: "team-a", Reason: "mitigated", IDs: ids, Created: created, Until: until,
		Images: policy.Matcher{Include: []policy.Pattern{mustPattern(t, "registry.example/**")}},
	}
}

func TestRow20_ExceptionsOfANamespace(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	good := func(t testing.TB) *policy.Exception {
		return exceptionOf(t, judged.Add(-day), judged.Add(29*day), "CVE-2026-2222")
	}
	for what, tc := range map[string]struct {
		ns        string // of the policy; empty: a cluster's
		within    *policy.NamespaceExceptions
		exception func(testing.TB) *policy.Exception
		outcome   policy.Outcome
	}{
		"for a policy of its namespace": {"payments", nil, good, policy.Satisfied},
		"for a cluster's policy that allows none": {
			"", nil, good, policy.Violated},
		"for a cluster's policy that allows others": {
			"", &policy.NamespaceExceptions{Severities: []string{"medium", "low"}}, good, policy.Violated},
		"for a cluster's policy that allows it": {
			"", &policy.NamespaceExceptions{Severities: []string{"critical"}}, good, policy.Satisfied},
		"for a cluster's policy, as long as it may last": {
			"", &policy.NamespaceExceptions{Severities: []string{"critical"}, MaxDuration: 30 * day}, good, policy.Satisfied},
		"for a cluster's policy, longer than it may last": {
			"", &policy.NamespaceExceptions{Severities: []string{"critical"}, MaxDuration: 30*day - time.Second}, good, policy.Violated},
		"for a policy of another namespace": {"shop", nil, good, policy.Violated},
		"for a policy of another namespace, whatever it allows": {
			"shop", &policy.NamespaceExceptions{Severities: []string{"critical"}}, good, policy.Violated},
		"of another namespace, for a cluster's policy that allows it": {
			"", &policy.NamespaceExceptions{Severities: []string{"critical"}}, func(t testing.TB) *policy.Exception {
				e := good(t)
				e.Name.Namespace = "shop"
				return e
			}, policy.Violated},
		"that has ended": {"payments", nil, func(t testing.TB) *policy.Exception {
			return exceptionOf(t, judged.Add(-day), judged, "CVE-2026-2222")
		}, policy.Violated},
		"of another vulnerability": {"payments", nil, func(t testing.TB) *policy.Exception {
			return exceptionOf(t, judged.Add(-day), judged.Add(day), "CVE-2026-9999")
		}, policy.Violated},
		"of another namespace": {"payments", nil, func(t testing.TB) *policy.Exception {
			e := good(t)
			e.Name.Namespace = "shop"
			return e
		}, policy.Violated},
		"of other images": {"payments", nil, func(t testing.TB) *policy.Exception {
			e := good(t)
			e.Images.Include = []policy.Pattern{mustPattern(t, "registry.example/other")}
			return e
		}, policy.Violated},
		"older than 90 days, whatever it says": {"payments", nil, func(t testing.TB) *policy.Exception {
			return exceptionOf(t, judged.Add(-91*day), judged.Add(day), "CVE-2026-2222")
		}, policy.Violated},
		"that doesn't say when it was made": {"payments", nil, func(t testing.TB) *policy.Exception {
			return exceptionOf(t, time.Time{}, judged.Add(day), "CVE-2026-2222")
		}, policy.Violated},
		"made ahead of our clock": {"payments", nil, func(t testing.TB) *policy.Exception {
			return exceptionOf(t, judged.Add(time.Hour), judged.Add(day), "CVE-2026-2222")
		}, policy.Violated},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.ns, s.excepted = tc.ns, tc.within
			s.img.Exceptions = []*policy.Exception{tc.exception(t)}
			s.scan(trivyScan(scanned, zlib))
			v := s.verdict(policy.VulnerabilityRules{Max: noneBad})
			if tc.outcome != policy.Satisfied {
				check(t, v, tc.outcome, policy.TooManyVulnerabilities)
				if len(v.Used) > 0 {
					t.Errorf("used: %v", v.Used)
				}
				return
			}
			check(t, v, policy.Satisfied, policy.Verified, "excepted: CVE-2026-2222")
			want := policy.Use{Exception: "payments/waf", Owner: "team-a", ID: "CVE-2026-2222", Until: judged.Add(29 * day)}
			if len(v.Used) != 1 || v.Used[0] != want {
				t.Errorf("used: %+v", v.Used)
			}
			if !v.Results[0].Until.Equal(want.Until) {
				t.Errorf("it ends %s", v.Results[0].Until)
			}
		})
	}
}

func TestTheRefusalNamesAnExceptionThatDoesNotCount(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	within := func(most time.Duration, severities ...string) *policy.NamespaceExceptions {
		return &policy.NamespaceExceptions{Severities: severities, MaxDuration: most}
	}
	named := func(name string, ids ...string) *policy.Exception {
		e := exceptionOf(t, judged.Add(-day), judged.Add(29*day), ids...)
		e.Name.Name = name
		return e
	}
	elsewhere := named("elsewhere", zlib.id)
	elsewhere.Images.Include = []policy.Pattern{mustPattern(t, "registry.example/other")}
	ended := exceptionOf(t, judged.Add(-2*day), judged.Add(-day), zlib.id)
	foreign := named("waf", zlib.id)
	foreign.Name.Namespace = "shop"
	for what, tc := range map[string]struct {
		ns         string
		within     *policy.NamespaceExceptions
		exceptions []*policy.Exception
		want       string // empty: nothing is told
	}{
		"of other severities":            {"", within(0, "high", "medium", "low"), []*policy.Exception{named("x", zlib.id)}, "exception payments/x doesn't count here: only for severities high, medium, low"},
		"that lasts too long":            {"", within(7*day, "critical"), []*policy.Exception{named("x", "cve-2026-2222")}, "exception payments/x doesn't count here: only those of at most 7 days"},
		"where none counts":              {"", nil, []*policy.Exception{named("x", zlib.id)}, "exception payments/x doesn't count here: the policy has no namespaceExceptions"},
		"of another vulnerability":       {"", nil, []*policy.Exception{named("x", "CVE-2026-9999")}, ""},
		"of what isn't over its limit":   {"", within(0, "low"), []*policy.Exception{named("x", curl.id)}, ""},
		"of other images":                {"", nil, []*policy.Exception{elsewhere}, ""},
		"that has ended":                 {"", nil, []*policy.Exception{ended}, ""},
		"of another namespace":           {"", nil, []*policy.Exception{foreign}, ""},
		"by the policy of its namespace": {"shop", nil, []*policy.Exception{named("x", zlib.id)}, ""},
		"beside three more": {"", nil, []*policy.Exception{named("a", zlib.id), named("b", zlib.id), named("c", zlib.id), named("d", zlib.id)},
			"exception payments/a doesn't count here: the policy has no namespaceExceptions; exception payments/b doesn't count here: the policy has no namespaceExceptions; 2 exceptions more likewise"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.ns, s.excepted, s.img.Exceptions = tc.ns, tc.within, tc.exceptions
			s.scan(trivyScan(scanned, zlib, curl))
			v := s.verdict(policy.VulnerabilityRules{Max: limit{predicate.SeverityCritical: 0, predicate.SeverityMedium: 10}})
			if tc.want == "" {
				check(t, v, policy.Violated, policy.TooManyVulnerabilities, "1 critical (max 0)", "!doesn't count")
				return
			}
			check(t, v, policy.Violated, policy.TooManyVulnerabilities, "1 critical (max 0)")
			if got := v.Results[0].Detail; !strings.HasSuffix(got, "; "+tc.want) {
				t.Errorf("%s\nwant %s at its end", got, tc.want)
			}
			if len(v.Used) > 0 {
				t.Errorf("used: %v", v.Used)
			}
		})
	}
}

func TestAWarningOfAVerdictNamesItsRequirement(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.scan(trivyScan(scanned, zlib))
	v := s.verdict(policy.VulnerabilityRules{Warn: noneBad})
	if len(v.Warnings) != 1 || v.Warnings[0].Requirement != "vulnerabilities" {
		t.Errorf("%+v", v.Warnings)
	}
}

func TestAnUnknownSeverityIsExcusedAsWhatItCountsAs(t *testing.T) {
	t.Parallel()
	for severity, outcome := range map[string]policy.Outcome{"high": policy.Satisfied, "low": policy.Violated, "unknown": policy.Violated} {
		s := newScene(t)
		s.ns, s.excepted = "", &policy.NamespaceExceptions{Severities: []string{severity}}
		s.img.Exceptions = []*policy.Exception{exceptionOf(t, judged.Add(-time.Hour), judged.Add(time.Hour), odd.id)}
		s.scan(trivyScan(scanned, odd))
		if got := s.verdict(policy.VulnerabilityRules{Max: noneBad}).Outcome(); got != outcome {
			t.Errorf("%s: %s", severity, got)
		}
	}
}

func TestAnExceptionThatIsNotNeededIsNotUsed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.img.Exceptions = []*policy.Exception{exceptionOf(t, judged.Add(-time.Hour), judged.Add(time.Hour), curl.id, zlib.id)}
	s.scan(trivyScan(scanned, curl, zlib))
	v := s.verdict(policy.VulnerabilityRules{Max: limit{predicate.SeverityCritical: 0, predicate.SeverityMedium: 10}})
	check(t, v, policy.Satisfied, policy.Verified, "1 medium", "excepted: CVE-2026-2222")
	if len(v.Used) != 1 || v.Used[0].ID != zlib.id {
		t.Errorf("used: %+v", v.Used)
	}
	if len(v.Warnings) != 1 || v.Warnings[0].Text != "exception ends 2026-11-21: CVE-2026-2222 (payments/waf)" {
		t.Errorf("%+v", v.Warnings)
	}
}

func TestWhatARequirementCannotSayIsAnError(t *testing.T) {
	t.Parallel()
	by := []verify.Authority{verifytest.Authority(t, "release", verifytest.NewSigner(t, 1))}
	exception := func(e policy.VulnerabilityException) policy.VulnerabilityRules {
		return policy.VulnerabilityRules{Exceptions: []policy.VulnerabilityException{e}}
	}
	for field, rules := range map[string]policy.VulnerabilityRules{
		"maxAge:":                {MaxAge: -1},
		"maxDatabaseAge:":        {MaxDatabaseAge: -1},
		"max.high:":              {Max: limit{predicate.SeverityHigh: -1}},
		"warn.low:":              {Warn: limit{predicate.SeverityLow: -1}},
		"max: an unknown":        {Max: limit{predicate.SeverityUnknown: 1}},
		"unknown:":               {Unknown: 99},
		"scanners[1]:":           {Scanners: []string{"trivy", " "}},
		"scanners: 17":           {Scanners: make([]string, 17)},
		"exceptions[0].id:":      exception(policy.VulnerabilityException{ID: " ", Reason: "r", Expires: "2027-01-31"}),
		"exceptions[0].reason:":  exception(policy.VulnerabilityException{ID: "CVE-1-1", Expires: "2027-01-31"}),
		"exceptions[0].expires:": exception(policy.VulnerabilityException{ID: "CVE-1-1", Reason: "r", Expires: "soon"}),
		"exceptions: 257":        {Exceptions: make([]policy.VulnerabilityException, 257)},
		"vex.by:":                {VEX: []verify.Authority{}},
	} {
		if _, err := policy.NewVulnerabilities(by, rules); err == nil || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := policy.NewVulnerabilities(nil, policy.VulnerabilityRules{}); err == nil || !strings.HasPrefix(err.Error(), "by:") {
		t.Errorf("by nobody: %v", err)
	}
	if _, err := policy.NewVulnerabilities(by, exception(policy.VulnerabilityException{ID: "CVE-1-1", Reason: "r", Expires: "1999-01-31"})); err != nil {
		t.Errorf("an exception that has ended makes no bad policy: %v", err)
	}
}

func TestWhenSomethingExpires(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2027-01-31": "2027-02-01T00:00:00Z", "2028-02-29": "2028-03-01T00:00:00Z", "2027-01-31T12:00:00Z": "2027-01-31T12:00:00Z",
		"2027-01-31t12:00:00+02:00": "2027-01-31T10:00:00Z", "2027-02-30": "", "31.1.2027": "", "": "", "2027-01-31T12:00:00": "", "2027-1-1": "",
	} {
		got, err := policy.ParseExpires(text)
		if want == "" {
			if err == nil {
				t.Errorf("%q is read as %s", text, got)
			}
			continue
		}
		if err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}

// errDown is what a registry says that is down.
var errDown = &verify.FetchError{Kind: verify.Unavailable, Place: verify.PlaceReferrers, Err: errors.New("503 Service Unavailable")}

func TestWhereTheScansCannotBeListedItIsUndetermined(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.scan(trivyScan(scanned))
	s.FailPlace(errDown)
	check(t, s.verdict(policy.VulnerabilityRules{Max: noneBad}), policy.Undetermined, policy.RegistryUnavailable)
}

func TestOfSeveralPlatformsEachHasItsScan(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	amd, arm := verifytest.Digest("amd64"), verifytest.Digest("arm64")
	know := func(scans map[v1.Hash][]byte) policy.Knowledge {
		w := newWorld(t)
		for h, text := range scans {
			w.Attach(h, verifytest.Attest(s.signer, predicate.TypeCosignVuln, text, h))
		}
		return func(digest v1.Hash, q verify.Question) verify.Findings {
			d := s.img.Reference.Repository().Digest(digest.String())
			f := w.v.Findings(w.t.Context(), w, d, []verify.Question{q}, verify.Anew)[0]
			if digest == s.image {
				f.Index, f.Children = true, []verify.Child{
					{Digest: amd, Platform: verify.NewPlatform("linux", "amd64", "")}, {Digest: arm, Platform: verify.NewPlatform("linux", "arm64", "")}}
			}
			return f
		}
	}
	r, err := policy.NewVulnerabilities([]verify.Authority{s.by}, policy.VulnerabilityRules{Max: noneBad})
	if err != nil {
		t.Fatal(err)
	}
	p := &policy.Policy{Name: policy.Name{Name: "p"}, Action: policy.ActionRequire, Images: policy.Matcher{Include: []policy.Pattern{mustPattern(t, "**")}}, Requirements: []policy.Requirement{r}}
	check(t, p.Judge(s.img, know(map[v1.Hash][]byte{amd: trivyScan(scanned), arm: trivyScan(scanned)})), policy.Satisfied, policy.Verified, "2 platforms")
	check(t, p.Judge(s.img, know(map[v1.Hash][]byte{amd: trivyScan(scanned), arm: trivyScan(scanned, openssl)})), policy.Violated, policy.TooManyVulnerabilities, "linux/arm64")
	check(t, p.Judge(s.img, know(map[v1.Hash][]byte{amd: trivyScan(scanned)})), policy.Violated, policy.NoScan, "linux/arm64")
}
