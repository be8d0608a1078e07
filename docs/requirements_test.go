package docs_test

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/demo/documents"
)

// TestTheRefusalsOfThePagesAreReal: a block "text refusal FILE CASE..." has lines that people are told in that case of an example, whatever the
// digests, keys and times. A line that ends in three dots is the beginning of one.
func TestTheRefusalsOfThePagesAreReal(t *testing.T) {
	t.Parallel()
	cases, shown := paperCases(), 0
	for _, path := range policyPages {
		for _, b := range readPage(t, path).blocks(t) {
			if !b.is("text", "refusal") {
				continue
			}
			shown++
			t.Run(b.where, func(t *testing.T) {
				t.Parallel()
				file, name := b.info[2], strings.Join(b.info[3:], " ")
				i := slices.IndexFunc(cases[file], func(c paperCase) bool { return c.name == name })
				if i < 0 {
					t.Fatalf("examples/%s has no case %q", file, name)
				}
				decision := cases[file][i].decide(t, file)
				told := strings.Split(decision.Message()+"\n"+strings.Join(decision.Warnings(), "\n"), "\n")
				for i := range told {
					told[i] = likeAny(told[i])
				}
				for _, line := range b.lines {
					begin, cut := strings.CutSuffix(likeAny(line), "...")
					if !slices.ContainsFunc(told, func(is string) bool { return is == likeAny(line) || cut && strings.HasPrefix(is, begin) }) {
						t.Errorf("nobody is told\n%s\nbut\n%s", likeAny(line), strings.Join(told, "\n"))
					}
				}
			})
		}
	}
	if shown < 20 {
		t.Errorf("only %d refusals are shown", shown)
	}
}

var (
	anyHost = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	anyKey  = regexp.MustCompile(`SHA256:[0-9a-f]{12}[0-9a-f]*`)
	anyHash = regexp.MustCompile(`sha256:[0-9a-f]{12}[0-9a-f]*`)
	anyTime = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d UTC`)
)

// likeAny is a line without what is another each time.
func likeAny(line string) string {
	line = anyHost.ReplaceAllString(strings.TrimSpace(line), exampleHost)
	line = anyKey.ReplaceAllString(line, "SHA256:KEY")
	return anyTime.ReplaceAllString(anyHash.ReplaceAllString(line, "sha256:DIGEST"), "TIME")
}

// TestTheFieldsOfRequirementsAreThoseOfTheTypes: each section's table.
func TestTheFieldsOfRequirementsAreThoseOfTheTypes(t *testing.T) {
	t.Parallel()
	p := readPage(t, "docs/requirements.md")
	own := func(inner ...string) func(string) bool {
		return func(path string) bool { return slices.Contains(inner, path) }
	}
	for _, c := range []struct {
		section, column string
		typ             reflect.Type
		whole           func(string) bool // what is described as a whole
	}{
		{"SBOM", "field", reflect.TypeFor[v1alpha1.SBOMRequirement](), own("licenses")},
		{"Licences", "field of `licenses`", reflect.TypeFor[v1alpha1.Licenses](), own()},
		{"Vulnerabilities", "field", reflect.TypeFor[v1alpha1.VulnerabilitiesRequirement](), own("max", "warn", "exceptions")},
		{"Secrets", "field", reflect.TypeFor[v1alpha1.SecretsRequirement](), own()},
		{"Provenance", "field", reflect.TypeFor[v1alpha1.ProvenanceRequirement](), own()},
		{"Tests", "field", reflect.TypeFor[v1alpha1.TestRequirement](), own()},
		{"Approvals", "field", reflect.TypeFor[v1alpha1.ApprovalsRequirement](), own()},
		{"Promotion", "field", reflect.TypeFor[v1alpha1.PromotionRequirement](), own()},
		{"Custom", "field", reflect.TypeFor[v1alpha1.CustomRequirement](), own()},
		{"A summary in place of papers", "field of `acceptSummary`", reflect.TypeFor[v1alpha1.AcceptSummary](), own()},
	} {
		var listed []string
		for _, row := range p.section(t, c.section).rows(t, c.column) {
			listed = append(listed, codes(row[0])...)
		}
		sameLists(t, "docs/requirements.md, "+c.section, listed, fieldsOf(c.typ, "", c.whole))
	}
	sameLists(t, "docs/requirements.md, requirements", column(t, p, "requirement"), requirementNames())
	var stands []string
	for _, row := range p.section(t, "A summary in place of papers").rows(t, "field of `acceptSummary`") {
		if plain(row[0]) == "insteadOf" {
			stands = codes(row[2])
		}
	}
	sameLists(t, "docs/requirements.md, insteadOf", stands, policy.Summarizable())
}

// requirementNames are the names below require.
func requirementNames() []string {
	return fieldsOf(reflect.TypeFor[v1alpha1.Require](), "", func(string) bool { return true })
}

// TestTheVariablesOfRulesAreThoseOfThePage: each variable that the page has compiles, with its fields, and no other does.
func TestTheVariablesOfRulesAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	compiler, err := policy.NewRuleCompiler()
	if err != nil {
		t.Fatal(err)
	}
	rows := readPage(t, "docs/requirements.md").section(t, "Custom").rows(t, "variable")
	if len(rows) != 6 {
		t.Errorf("%d variables", len(rows))
	}
	for _, row := range rows {
		name := plain(row[0])
		expression := "size(" + name + ") > 0"
		if name == "verifiedTime" {
			expression = name + ` > timestamp("2026-01-01T00:00:00Z")`
		}
		if err := compiler.Check(expression); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "predicate" || name == "verifiedTime" {
			continue
		}
		for _, field := range codes(row[1]) {
			if field != `""` && !strings.Contains(field, ".") {
				if err := compiler.Check("size(" + name + "." + field + ") > 0"); err != nil {
					t.Errorf("%s.%s: %v", name, field, err)
				}
			}
		}
		if err := compiler.Check(name + ".none == ''"); err == nil {
			t.Errorf("%s has any field", name)
		}
	}
	if err := compiler.Check("size(namespace) > 0"); err == nil {
		t.Error("there are other variables")
	}
}

func TestTheTypesOfPapersAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	p := readPage(t, "docs/papers.md")
	have := map[string]predicate.Kind{
		"SBOM": predicate.KindSBOM, "scan": predicate.KindScan, "provenance": predicate.KindProvenance, "test result": predicate.KindTests,
		"VEX": predicate.KindVEX, "summary": predicate.KindSummary, "approval": predicate.KindApproval, "promotion": predicate.KindPromotion,
	}
	for _, row := range p.rows(t, "paper") {
		kind, ok := have[row[0]]
		if !ok {
			t.Errorf("%q is no kind of paper", row[0])
			continue
		}
		delete(have, row[0])
		sameLists(t, "docs/papers.md, "+row[0], codes(row[1]), kind.Types())
	}
	if len(have) > 0 {
		t.Errorf("docs/papers.md doesn't have %v", have)
	}
}

// TestThePredicatesOfThePageAreRead: those that it shows whole.
func TestThePredicatesOfThePageAreRead(t *testing.T) {
	t.Parallel()
	p := readPage(t, "docs/papers.md")
	for section, kind := range map[string]string{
		"Test results": predicate.TypeTestResult, "Approvals": predicate.TypeApproval, "Promotions": predicate.TypePromotion, "Summaries": predicate.TypeSummary,
	} {
		read := 0
		for _, b := range p.section(t, section).blocks(t) {
			if !b.is("json") {
				continue
			}
			read++
			if _, err := predicate.Read(kind, []byte(b.text())); err != nil {
				t.Errorf("%s: %v", b.where, err)
			}
		}
		if read != 1 {
			t.Errorf("docs/papers.md, %s: %d predicates", section, read)
		}
	}
}

// TestGrypesReportIsWrappedAsThePageSays: what the page's jq makes of it is a scan with its own time.
func TestGrypesReportIsWrappedAsThePageSays(t *testing.T) {
	t.Parallel()
	if text := readFile(t, "docs/papers.md"); !strings.Contains(text, `jq '{scanner: {uri: "pkg:github/anchore/grype", result: .}, metadata: {scanFinishedOn: .descriptor.timestamp}}'`) {
		t.Fatal("docs/papers.md wraps it in another way")
	}
	report := json.RawMessage(readFile(t, "pkg/predicate/testdata/scan/grype.json"))
	var told struct{ Descriptor struct{ Timestamp string } }
	if err := json.Unmarshal(report, &told); err != nil {
		t.Fatal(err)
	}
	wrapped, err := json.Marshal(map[string]any{
		"scanner": map[string]any{"uri": "pkg:github/anchore/grype", "result": report}, "metadata": map[string]any{"scanFinishedOn": told.Descriptor.Timestamp},
	})
	if err != nil {
		t.Fatal(err)
	}
	facts, err := predicate.Read(predicate.TypeCosignVuln, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if scan, ok := facts.(*predicate.Scan); !ok || scan.Scanner() != "grype" || scan.Len() == 0 || scan.Time().IsZero() {
		t.Errorf("it is read as %v", facts)
	}
}

func TestExceptionsAreDescribed(t *testing.T) {
	t.Parallel()
	p := readPage(t, "docs/exceptions.md")
	never := func(string) bool { return false }
	sameLists(t, "docs/exceptions.md, Every field", column(t, p.section(t, "Every field"), "field"), fieldsOf(reflect.TypeFor[v1alpha1.ImageExceptionSpec](), "", never))
	conditions := func(path string) bool { return path == "conditions" }
	status := p.section(t, "Status")
	sameLists(t, "docs/exceptions.md, Status", column(t, status, "field of `status`"), fieldsOf(reflect.TypeFor[v1alpha1.ImageExceptionStatus](), "", conditions))
	sameLists(t, "docs/exceptions.md, reasons of Ready", column(t, status, "reason of `Ready`"),
		append(constants(t, "internal/compile/exception.go", "Reason"), compile.ReasonInvalidField, compile.ReasonInternalError))
}

// TestRow78_AnOldPaperShownAgainIsRefused: what was true once is pushed again, signed anew, or dated ahead.
func TestRow78_AnOldPaperShownAgainIsRefused(t *testing.T) {
	t.Parallel()
	tester := workflow(program, "test.yaml", mainRef)
	before := func(t testing.TB, w *world) (*verifytest.Sigstore, verifytest.Signing) {
		s, how := tester(t, w)
		how.At = how.At.Add(-31 * day)
		return s, how
	}
	clean, bad := scanBy(withKey(0), 8*day), scanBy(withKey(0), day, "CRITICAL")
	for file, cases := range map[string][]paperCase{
		"vulnerabilities.yaml": {
			{"a clean scan of last week, signed today", "billing", "billing/api", nil, []paper{clean}, false, policy.TooOld, "8 days old"},
			{"it again, beside yesterday's bad one", "billing", "billing/api", nil, []paper{bad, clean}, false, policy.TooManyVulnerabilities, "1 critical"},
			{"a scan dated ahead, to stay the newest", "billing", "billing/api", nil, []paper{scanBy(withKey(0), -time.Hour)}, false, policy.DatedAhead, ""},
		},
		"tests.yaml": {
			{"a test result that was logged a month ago", "app", "app/api", nil,
				[]paper{stating(before, documents.TypeTestResult, documents.TestResult(true, "smoke", "load"))}, false, policy.TooOld, "smoke: "},
		},
	} {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, file)
			})
		}
	}
}
