package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// about is a VEX statement of a status about a vulnerability in all of the image, made at a time.
func about(id, status, at string) string {
	more := ""
	if status == "not_affected" {
		more = `,"justification":"component_not_present"`
	}
	return `{"vulnerability":{"name":"` + id + `"},"status":"` + status + `","timestamp":"` + at + `"` + more + `}`
}

// aliased is about a vulnerability by two names.
func aliased(id, alias, status, at string) string {
	return strings.Replace(about(id, status, at), `"}`, `","aliases":["`+alias+`"]}`, 1)
}

func TestVEXOnlyEverRemovesFindings(t *testing.T) {
	t.Parallel()
	const early, late, ahead = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", "2026-12-01T00:00:00Z"
	image := verifytest.Digest("image").Hex
	advisory := vuln{"ELSA-2026-1", "zlib", "1.2", "", "CRITICAL", "", []string{"CVE-2026-2222", "CVE-2026-2223"}}
	product := func(p string) string {
		return strings.Replace(about(zlib.id, "not_affected", late), `"status"`, `"products":[`+p+`],"status"`, 1)
	}
	for what, tc := range map[string]struct {
		found     vuln
		documents [][]string
		outcome   policy.Outcome
	}{
		"not affected":                          {zlib, [][]string{{about(zlib.id, "not_affected", early)}}, policy.Satisfied},
		"fixed":                                 {zlib, [][]string{{about(zlib.id, "fixed", early)}}, policy.Satisfied},
		"affected":                              {zlib, [][]string{{about(zlib.id, "affected", early)}}, policy.Violated},
		"under investigation":                   {zlib, [][]string{{about(zlib.id, "under_investigation", early)}}, policy.Violated},
		"another vulnerability":                 {zlib, [][]string{{about(openssl.id, "fixed", early)}}, policy.Violated},
		"by an alias":                           {zlib, [][]string{{about("GHSA-zzzz", "fixed", early)}}, policy.Satisfied},
		"no document":                           {zlib, nil, policy.Violated},
		"not affected, and later affected":      {zlib, [][]string{{about(zlib.id, "not_affected", early), about(zlib.id, "affected", late)}}, policy.Violated},
		"affected, and later fixed":             {zlib, [][]string{{about(zlib.id, "fixed", late), about(zlib.id, "affected", early)}}, policy.Satisfied},
		"later affected in another document":    {zlib, [][]string{{about(zlib.id, "not_affected", early)}, {about(zlib.id, "affected", late)}}, policy.Violated},
		"later investigated in another":         {zlib, [][]string{{about(zlib.id, "not_affected", early)}, {about(zlib.id, "under_investigation", late)}}, policy.Violated},
		"earlier affected in another":           {zlib, [][]string{{about(zlib.id, "not_affected", late)}, {about(zlib.id, "affected", early)}}, policy.Satisfied},
		"both at one time":                      {zlib, [][]string{{about(zlib.id, "not_affected", early), about(zlib.id, "affected", early)}}, policy.Violated},
		"both at one time, the other way round": {zlib, [][]string{{about(zlib.id, "affected", early), about(zlib.id, "not_affected", early)}}, policy.Violated},
		"dated ahead":                           {zlib, [][]string{{about(zlib.id, "fixed", ahead)}}, policy.Violated},
		"affected, dated ahead":                 {zlib, [][]string{{about(zlib.id, "fixed", early), about(zlib.id, "affected", ahead)}}, policy.Violated},
		"the image by its digest":               {zlib, [][]string{{product(`{"hashes":{"sha-256":"` + image + `"}}`)}}, policy.Satisfied},
		"another image by its digest":           {zlib, [][]string{{product(`{"@id":"pkg:oci/api@sha256%3A` + strings.Repeat("1", 64) + `"}`)}}, policy.Violated},
		"an image without digest":               {zlib, [][]string{{product(`{"@id":"pkg:oci/api"}`)}}, policy.Violated},
		"the package":                           {zlib, [][]string{{product(`{"@id":"pkg:apk/alpine/zlib@1.2"}`)}}, policy.Satisfied},
		"another version of the package":        {zlib, [][]string{{product(`{"@id":"pkg:apk/alpine/zlib@1.3"}`)}}, policy.Violated},
		"the image, narrowed to another part":   {zlib, [][]string{{product(`{"hashes":{"sha-256":"` + image + `"},"subcomponents":[{"@id":"pkg:apk/alpine/bash"}]}`)}}, policy.Violated},
		"one CVE of an advisory over two":       {advisory, [][]string{{about("CVE-2026-2222", "fixed", early)}}, policy.Violated},
		"both CVEs of an advisory":              {advisory, [][]string{{about("CVE-2026-2222", "fixed", early), about("CVE-2026-2223", "not_affected", early)}}, policy.Satisfied},
		"one CVE, by the advisory's name too":   {advisory, [][]string{{aliased("CVE-2026-2222", "ELSA-2026-1", "fixed", early)}}, policy.Violated},
		"each CVE, by the advisory's name too":  {advisory, [][]string{{aliased("CVE-2026-2222", "ELSA-2026-1", "fixed", early), aliased("CVE-2026-2223", "ELSA-2026-1", "fixed", early)}}, policy.Satisfied},
		"the advisory, by one of its CVEs too":  {advisory, [][]string{{aliased("ELSA-2026-1", "CVE-2026-2222", "fixed", early)}}, policy.Violated},
		"the advisory by another of its names":  {vuln{"ELSA-2026-1", "zlib", "1.2", "", "CRITICAL", "", []string{"CVE-1", "CVE-2", "ORACLE-1"}}, [][]string{{about("ORACLE-1", "fixed", early)}}, policy.Violated},
		"the advisory, and a CVE later not":     {advisory, [][]string{{about("ELSA-2026-1", "fixed", early), about("CVE-2026-2223", "affected", late)}}, policy.Violated},
		"a CVE later not, in another document":  {advisory, [][]string{{about("CVE-2026-2223", "affected", late)}, {about("ELSA-2026-1", "fixed", early)}}, policy.Violated},
		"a CVE not, and the advisory later":     {advisory, [][]string{{about("CVE-2026-2223", "affected", early), about("ELSA-2026-1", "fixed", late)}}, policy.Satisfied},
		"both CVEs, and the advisory later not": {advisory, [][]string{{about("CVE-2026-2222", "fixed", early), about("CVE-2026-2223", "fixed", early), about("ELSA-2026-1", "affected", late)}}, policy.Violated},
		"affected in what was 2300":             {advisory, [][]string{{about("ELSA-2026-1", "fixed", early), about("CVE-2026-2223", "affected", "2300-01-01T00:00:00Z")}}, policy.Violated},
		"the advisory itself":                   {advisory, [][]string{{about("ELSA-2026-1", "fixed", early)}}, policy.Satisfied},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.scan(trivyScan(scanned, tc.found))
			for _, d := range tc.documents {
				s.vex(d...)
			}
			reason := policy.TooManyVulnerabilities
			if tc.outcome == policy.Satisfied {
				reason = policy.Verified
			}
			v := s.verdict(policy.VulnerabilityRules{Max: noneBad, VEX: []verify.Authority{s.vexBy}})
			check(t, v, tc.outcome, reason)
			if tc.outcome == policy.Satisfied && !strings.Contains(v.Results[0].Detail, "by VEX: "+tc.found.id) {
				t.Errorf("what VEX took away isn't told: %s", v.Results[0].Detail)
			}
		})
	}
}

func TestVEXOfNobodyTrustedRemovesNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.scan(trivyScan(scanned, zlib))
	s.vexer = verifytest.NewSigner(t, 9)
	s.vex(about(zlib.id, "fixed", "2026-11-01T00:00:00Z"))
	s.scan(trivyScan(scanned.Add(-time.Hour), zlib)) // no VEX, and not counted as such
	check(t, s.verdict(policy.VulnerabilityRules{Max: noneBad, VEX: []verify.Authority{s.vexBy}}), policy.Violated, policy.TooManyVulnerabilities,
		"; 1 VEX document by others, or about another image, don't count")
	s = newScene(t)
	s.scan(trivyScan(scanned, zlib))
	s.vex(about(zlib.id, "fixed", "2026-11-01T00:00:00Z"))
	check(t, s.verdict(policy.VulnerabilityRules{Max: noneBad}), policy.Violated, policy.TooManyVulnerabilities) // nobody's VEX is asked for
}

func TestADocumentThatCannotBeReadTakesBackTheOthers(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.scan(trivyScan(scanned, zlib))
	s.vex(about(zlib.id, "fixed", "2026-11-01T00:00:00Z"))
	s.vex(`{"vulnerability":{"name":"CVE-2026-2222"},"status":"not_affected"}`)
	check(t, s.verdict(policy.VulnerabilityRules{Max: noneBad, VEX: []verify.Authority{s.vexBy}}), policy.Violated, policy.TooManyVulnerabilities,
		"VEX takes nothing away: a document by security", "without justification")
}

func TestWhereVEXCannotBeListedItMatters(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		found   []vuln
		rules   policy.VulnerabilityRules
		outcome policy.Outcome
		reason  policy.Reason
		says    string
	}{
		"and the requirement fails without it": {
			[]vuln{zlib}, policy.VulnerabilityRules{Max: noneBad}, policy.Undetermined, policy.RegistryUnavailable, "VEX documents could not be read"},
		"and the requirement holds without it": {
			[]vuln{curl}, policy.VulnerabilityRules{Max: noneBad}, policy.Satisfied, policy.Verified, "1 medium"},
		"and an exception does without it": {
			[]vuln{zlib}, policy.VulnerabilityRules{Max: noneBad, Exceptions: []policy.VulnerabilityException{{ID: zlib.id, Reason: "r", Expires: "2027-01-31"}}}, policy.Satisfied, policy.Verified, "excepted"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.scan(trivyScan(scanned, tc.found...))
			rules := tc.rules
			rules.VEX = []verify.Authority{s.vexBy}
			r, err := policy.NewVulnerabilities([]verify.Authority{s.by}, rules)
			if err != nil {
				t.Fatal(err)
			}
			known := s.know(s.img)
			var findings []verify.Findings
			for i, q := range r.Questions() {
				f := known(s.image, q)
				if i == 1 {
					f = verify.Findings{Unanswered: []*verify.FetchError{errDown}}
				}
				findings = append(findings, f)
			}
			got := r.Judge(policy.Case{Digest: s.image, Image: s.img}, findings)
			check(t, policy.Verdict{Results: []policy.Result{got}}, tc.outcome, tc.reason, tc.says)
		})
	}
}

// TestWhateverIsAddedOnlyLoosensWhatItNames holds that neither VEX nor exceptions of other vulnerabilities change a refusal.
func TestWhateverIsAddedOnlyLoosensWhatItNames(t *testing.T) {
	t.Parallel()
	others := []string{openssl.id, bash.id, curl.id, "CVE-2026-222", "CVE-2026-22222", "RHSA-77"}
	s := newScene(t)
	s.scan(trivyScan(scanned, zlib, openssl, bash, curl))
	var statements []string
	var exceptions []policy.VulnerabilityException
	for _, id := range others {
		statements = append(statements, about(id, "fixed", "2026-11-01T00:00:00Z"))
		exceptions = append(exceptions, policy.VulnerabilityException{ID: id, Reason: "r", Expires: "2027-01-31"})
	}
	s.vex(statements...)
	s.img.Exceptions = []*policy.Exception{exceptionOf(t, judged.Add(-time.Hour), judged.Add(time.Hour), others...)}
	check(t, s.verdict(policy.VulnerabilityRules{Max: noneBad, VEX: []verify.Authority{s.vexBy}, Exceptions: exceptions}), policy.Violated, policy.TooManyVulnerabilities,
		"1 critical (max 0): CVE-2026-2222 zlib 1.2 (no fix)")
}

func BenchmarkVulnerabilitiesOfCachedFacts(b *testing.B) {
	s := newScene(b)
	var list []vuln
	for i := range 400 {
		v := curl
		v.id, v.severity = curl.id+string(rune('a'+i%26))+string(rune('a'+i/26)), [...]string{"HIGH", "MEDIUM", "LOW", "LOW"}[i%4]
		list = append(list, v)
	}
	s.scan(trivyScan(scanned, list...))
	var exceptions []policy.VulnerabilityException
	for _, v := range list {
		if v.severity == "HIGH" && len(exceptions) < 20 {
			exceptions = append(exceptions, policy.VulnerabilityException{ID: v.id, Reason: "r", Expires: "2027-01-31"})
		}
	}
	for what, rules := range map[string]policy.VulnerabilityRules{
		"holds":      {Max: limit{predicate.SeverityCritical: 0, predicate.SeverityHigh: 500}, MaxAge: 168 * time.Hour},
		"refuses":    {Max: noneBad, MaxAge: 168 * time.Hour},
		"exceptions": {Max: limit{predicate.SeverityHigh: 80}, MaxAge: 168 * time.Hour, Exceptions: exceptions},
	} {
		b.Run(what, func(b *testing.B) {
			r, err := policy.NewVulnerabilities([]verify.Authority{s.by}, rules)
			if err != nil {
				b.Fatal(err)
			}
			know := s.know(s.img)
			var findings []verify.Findings
			for _, q := range r.Questions() {
				findings = append(findings, know(s.image, q))
			}
			c := policy.Case{Digest: s.image, Image: s.img}
			if got := r.Judge(c, findings); got.Outcome == policy.Undetermined {
				b.Fatal(got.Detail)
			}
			b.ReportAllocs()
			for b.Loop() {
				r.Judge(c, findings)
			}
		})
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	report := func(parameters, results string) []byte {
		return []byte(`{"invocation":{"parameters":` + parameters + `},"scanner":{"version":"1.2","result":{"SchemaVersion":2,"Results":[{"Target":"app","Class":"os-pkgs"}` + results + `]}},"metadata":{"scanFinishedOn":"` + scanned.Format(time.RFC3339) + `"}}`)
	}
	const found = `,{"Target":"/app/deploy.sh","Class":"secret","Secrets":[{"RuleID":"aws-access-key-id","Severity":"CRITICAL","Match":"AKIA-NEVER-TOLD","Title":"AKIA-NEVER-TOLD"}]}`
	old := strings.Replace(string(report(`"--scanners vuln,secret"`, ``)), "2026-11-20", "2026-11-01", 1)
	for what, tc := range map[string]struct {
		scans   [][]byte
		outcome policy.Outcome
		reason  policy.Reason
		says    string
	}{
		"looked, and found none":            {[][]byte{report(`"--scanners vuln,secret"`, ``)}, policy.Satisfied, policy.Verified, "none found by trivy 1.2"},
		"looked, and found one":             {[][]byte{report(`null`, found)}, policy.Violated, policy.SecretsFound, "1 secret found by trivy 1.2: aws-access-key-id in /app/deploy.sh"},
		"didn't look":                       {[][]byte{report(`null`, ``)}, policy.Violated, policy.NoSecretScan, "1 scan by release found, but none says that it looked for secrets"},
		"no scan":                           {nil, policy.Violated, policy.NoSecretScan, "no secret scan found"},
		"a newer one that didn't look":      {[][]byte{report(`null`, found), trivyScan(scanned.Add(time.Hour))}, policy.Violated, policy.SecretsFound, "aws-access-key-id"},
		"an older one without, a newer one": {[][]byte{[]byte(old), report(`null`, found)}, policy.Violated, policy.SecretsFound, ""},
		"too old":                           {[][]byte{[]byte(old)}, policy.Violated, policy.TooOld, ""},
		"one that can't be read":            {[][]byte{[]byte(`{}`)}, policy.Violated, policy.PaperMalformed, ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.scan(tc.scans...)
			r, err := policy.NewSecrets([]verify.Authority{s.by}, 168*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			check(t, s.judge(r), tc.outcome, tc.reason, tc.says, "!NEVER-TOLD")
		})
	}
	if _, err := policy.NewSecrets(nil, 0); err == nil || !strings.HasPrefix(err.Error(), "by:") {
		t.Errorf("by nobody: %v", err)
	}
	if _, err := policy.NewSecrets([]verify.Authority{verifytest.Authority(t, "a", verifytest.NewSigner(t, 1))}, -1); err == nil || !strings.HasPrefix(err.Error(), "maxAge:") {
		t.Errorf("a negative age: %v", err)
	}
}
