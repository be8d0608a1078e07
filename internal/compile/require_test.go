package compile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// requiring returns a spec with the authorities release (a key) and ci (keyless), and requirements given in YAML, whose lines need no indentation.
func requiring(key, require string) string {
	return "images: {include: [registry.example.com/**]}\nauthorities:\n- name: release\n  key:\n    data: |\n" + indent(key, 6) + `
- name: ci
  keyless:
    trustRoot: sigstore-public
    identities: [{issuer: "https://token.actions.githubusercontent.com", subject: "https://github.com/acme/app/.github/workflows/release.yaml@refs/heads/main"}]
require:
` + indent(require, 2) + "\n"
}

// everything is every requirement there is, as the contract shows it.
const everything = `
signature:       {by: [release], atLeast: 1}
sbom:
  by: [release]
  formats: [SPDX, CycloneDX]
  minPackages: 1
  licenses: {deny: ["GPL-*", "AGPL-*"], allow: [], unknown: Warn, exceptions: [{package: "readline*", license: GPL-3.0-or-later, reason: "build time only", expires: "2027-01-31"}]}
vulnerabilities:
  by: [release]
  maxAge: 168h
  max:  {critical: 0, high: 0, medium: 10}
  warn: {low: 50}
  unknown: high
  onlyFixable: false
  scanners: ["trivy", "grype"]
  maxDatabaseAge: 120h
  exceptions: [{id: CVE-2023-12345, reason: "mitigated by WAF rule 7", expires: "2027-01-31"}]
  vex: {by: [ci]}
secrets:         {by: [release], maxAge: 168h}
provenance:      {by: [ci], builders: ["https://github.com/acme/app/.github/workflows/release.yaml@refs/heads/main"], sources: ["git+https://github.com/acme/app"], refs: ["refs/heads/main"], buildTypes: []}
tests:           [{name: smoke, by: [ci], maxAge: 720h}]
approvals:       {by: [release], atLeast: 1, environment: production, maxAge: 720h}
promotion:       {by: [release], to: production}
custom:          [{predicateType: "https://acme.example/review/v1", by: [ci], rules: [{cel: "predicate.approved == true", message: "not reviewed"}]}]
`

const acceptEverything = `acceptSummary: {by: [release], verifierID: "https://acme.example/promoter", insteadOf: [sbom, vulnerabilities, provenance], maxAge: 168h}
`

func TestEveryRequirementIsCompiled(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	text := clusterWide(acceptEverything + "namespaceExceptions: {severities: [medium, low], maxDuration: 720h}\n" + requiring(key, everything))
	obj := mustDecode(t, text)
	if errs := Validate(obj); len(errs) > 0 {
		t.Fatal(errs)
	}
	p, r := Compiler{}.Compile(t.Context(), obj)
	if p.Unusable != "" || r.Reason != ReasonCompiled {
		t.Fatalf("unusable: %s", p.Unusable)
	}
	var names []string
	for _, r := range p.Requirements {
		names = append(names, r.Name())
	}
	if want := []string{"signature", "sbom", "vulnerabilities", "secrets", "provenance", "tests", "approvals", "promotion", "custom"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	if p.AcceptSummary == nil || !p.AcceptSummary.For("sbom") || p.AcceptSummary.For("signature") || p.AcceptSummary.For("tests") {
		t.Errorf("a summary stands for other requirements than it says: %v", p.AcceptSummary)
	}
	if n := p.NamespaceExceptions; n == nil || !slices.Equal(n.Severities, []string{"medium", "low"}) || n.MaxDuration != 720*time.Hour {
		t.Errorf("namespaces may loosen it by %+v", n)
	}
	if got := warningsAt(obj, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)); len(got) > 0 {
		t.Errorf("warnings: %q", got)
	}
}

// Requirements are independent: each stands alone, without a signature.
func TestEachRequirementStandsAlone(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	for name, require := range map[string]string{
		"sbom": "sbom: {by: [release]}", "vulnerabilities": "vulnerabilities: {by: [release]}", "secrets": "secrets: {by: [release]}",
		"provenance": "provenance: {by: [release]}", "tests": "tests: [{name: smoke, by: [release]}]", "approvals": "approvals: {by: [release], environment: production}",
		"promotion": "promotion: {by: [release], to: production}",
		"custom":    `custom: [{predicateType: "https://acme.example/review/v1", by: [release], rules: [{cel: predicate.approved, message: m}]}]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(requiring(key, require), "- name: ci", "- name: spare", 1)
			p, _ := Compiler{}.Compile(t.Context(), mustDecode(t, namespaced(text)))
			if p.Unusable != "" {
				t.Fatal(p.Unusable)
			}
			if len(p.Requirements) != 1 || p.Requirements[0].Name() != name {
				t.Errorf("requirements %v", p.Requirements)
			}
			if !refuses(t, p, "registry.example.com/app") {
				t.Error("an image without papers passes")
			}
		})
	}
}

// The digest says the rules in force: what is left to us is as if it were written.
func TestDefaultsAreInTheDigest(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	digest := func(require string) string {
		t.Helper()
		p, _ := Compiler{}.Compile(t.Context(), mustDecode(t, namespaced(requiring(key, require))))
		if p.Unusable != "" || p.Digest == "" {
			t.Fatalf("%s: unusable: %s", require, p.Unusable)
		}
		return p.Digest
	}
	for _, tt := range []struct{ left, written, other string }{
		{"signature: {by: [release]}", "signature: {by: [release], atLeast: 1}", "signature: {by: [release, ci], atLeast: 2}"},
		{"sbom: {by: [release]}", "sbom: {by: [release], minPackages: 1}", "sbom: {by: [release], minPackages: 2}"},
		{"sbom: {by: [release], licenses: {deny: [MIT]}}", "sbom: {by: [release], licenses: {deny: [MIT], unknown: Warn}}", "sbom: {by: [release], licenses: {deny: [MIT], unknown: Deny}}"},
		{"vulnerabilities: {by: [release]}", "vulnerabilities: {by: [release], unknown: high, onlyFixable: false}", "vulnerabilities: {by: [release], unknown: low}"},
		{"vulnerabilities: {by: [release], maxAge: 168h}", "vulnerabilities: {by: [release], maxAge: 10080m}", "vulnerabilities: {by: [release], maxAge: 169h}"},
		{"approvals: {by: [release], environment: e}", "approvals: {by: [release], environment: e, atLeast: 1}", "approvals: {by: [release], environment: f}"},
	} {
		if digest(tt.left) != digest(tt.written) {
			t.Errorf("%s: another digest than %s", tt.left, tt.written)
		}
		if digest(tt.left) == digest(tt.other) {
			t.Errorf("%s: the digest of %s", tt.left, tt.other)
		}
	}
}

func TestRequirementsAreRefused(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	long := strings.Repeat("x", 2000)
	many := func(n int, format string) string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf(format, i))
		}
		return "[" + strings.Join(out, ", ") + "]"
	}
	for _, tt := range []struct{ name, require, field, why string }{
		{"sbom by nobody", "sbom: {by: []}", "spec.require.sbom.by", "name at least one authority"},
		{"sbom by a stranger", "sbom: {by: [nobody]}", "spec.require.sbom.by[0]", "spec.authorities has: release, ci"},
		{"sbom of another format", "sbom: {by: [release], formats: [SPDX, spdx]}", "spec.require.sbom.formats[1]", "supported values"},
		{"sbom of one format twice", "sbom: {by: [release], formats: [SPDX, SPDX]}", "spec.require.sbom.formats[1]", "Duplicate"},
		{"sbom of negative packages", "sbom: {by: [release], minPackages: -1}", "spec.require.sbom.minPackages", "want 0 to"},
		{"sbom of more packages than may be", "sbom: {by: [release], minPackages: 900000}", "spec.require.sbom.minPackages", "want 0 to"},
		{"sbom of no age", "sbom: {by: [release], maxAge: 0s}", "spec.require.sbom.maxAge", "more than nothing"},
		{"sbom of negative age", "sbom: {by: [release], maxAge: -1h}", "spec.require.sbom.maxAge", "more than nothing"},
		{"sbom of any age, written out", "sbom: {by: [release], maxAge: 100000h}", "spec.require.sbom.maxAge", "ten years"},
		{"licence that is empty", "sbom: {by: [release], licenses: {deny: ['']}}", "spec.require.sbom.licenses.deny[0]", "SPDX identifier"},
		{"family of licences", "sbom: {by: [release], licenses: {deny: [MIT, gpl]}}", "spec.require.sbom.licenses.deny[1]", "gpl is no SPDX identifier and matches none: write gpl-*"},
		{"family of licences of one version", "sbom: {by: [release], licenses: {deny: [GPL-2, AGPL-*]}}", "spec.require.sbom.licenses.deny[0]", "GPL-2 is no SPDX identifier and matches none: write GPL-2*"},
		{"licence that is an expression", "sbom: {by: [release], licenses: {deny: ['MIT OR GPL-2.0']}}", "spec.require.sbom.licenses.deny[0]", "want an identifier"},
		{"licence with a blank", "sbom: {by: [release], licenses: {allow: [' MIT']}}", "spec.require.sbom.licenses.allow[0]", "want an identifier"},
		{"licence too long", "sbom: {by: [release], licenses: {allow: [" + long + "]}}", "spec.require.sbom.licenses.allow[0]", "at most 128"},
		{"licences too many", "sbom: {by: [release], licenses: {allow: " + many(257, "l%d") + "}}", "spec.require.sbom.licenses.allow", "at most 256"},
		{"licences unknown", "sbom: {by: [release], licenses: {unknown: warn}}", "spec.require.sbom.licenses.unknown", "supported values"},
		{"licence exception for no package", "sbom: {by: [release], licenses: {exceptions: [{package: '', license: MIT, reason: r, expires: '2027-01-31'}]}}", "spec.require.sbom.licenses.exceptions[0].package", "name the packages"},
		{"licence exception for no licence", "sbom: {by: [release], licenses: {exceptions: [{package: p, license: '', reason: r, expires: '2027-01-31'}]}}", "spec.require.sbom.licenses.exceptions[0].license", "name the licence"},
		{"licence exception without a reason", "sbom: {by: [release], licenses: {exceptions: [{package: p, license: MIT, reason: ' ', expires: '2027-01-31'}]}}", "spec.require.sbom.licenses.exceptions[0].reason", "say why"},
		{"licence exception without an end", "sbom: {by: [release], licenses: {exceptions: [{package: p, license: MIT, reason: r, expires: ''}]}}", "spec.require.sbom.licenses.exceptions[0].expires", "write a date"},
		{"licence exception of an end that is none", "sbom: {by: [release], licenses: {exceptions: [{package: p, license: MIT, reason: r, expires: soon}]}}", "spec.require.sbom.licenses.exceptions[0].expires", "want a date"},

		{"vulnerabilities by nobody", "vulnerabilities: {by: []}", "spec.require.vulnerabilities.by", "name at least one"},
		{"vulnerabilities of no age", "vulnerabilities: {by: [release], maxAge: 0s}", "spec.require.vulnerabilities.maxAge", "more than nothing"},
		{"database of no age", "vulnerabilities: {by: [release], maxDatabaseAge: 0s}", "spec.require.vulnerabilities.maxDatabaseAge", "more than nothing"},
		{"negative count", "vulnerabilities: {by: [release], max: {critical: -1}}", "spec.require.vulnerabilities.max.critical", "0 or more"},
		{"negative warning", "vulnerabilities: {by: [release], warn: {low: -5}}", "spec.require.vulnerabilities.warn.low", "0 or more"},
		{"unknown as unknown", "vulnerabilities: {by: [release], unknown: unknown}", "spec.require.vulnerabilities.unknown", "supported values"},
		{"unknown in another case", "vulnerabilities: {by: [release], unknown: High}", "spec.require.vulnerabilities.unknown", "supported values"},
		{"scanner that is empty", "vulnerabilities: {by: [release], scanners: [' ']}", "spec.require.vulnerabilities.scanners[0]", "name a scanner"},
		{"scanner with a blank", "vulnerabilities: {by: [release], scanners: ['trivy 0.5']}", "spec.require.vulnerabilities.scanners[0]", "blank"},
		{"scanner twice", "vulnerabilities: {by: [release], scanners: [trivy, Trivy]}", "spec.require.vulnerabilities.scanners[1]", "Duplicate"},
		{"vex by nobody", "vulnerabilities: {by: [release], vex: {by: []}}", "spec.require.vulnerabilities.vex.by", "name at least one"},
		{"exception for nothing", "vulnerabilities: {by: [release], exceptions: [{id: '', reason: r, expires: '2027-01-31'}]}", "spec.require.vulnerabilities.exceptions[0].id", "name the vulnerability"},
		{"exception for many", "vulnerabilities: {by: [release], exceptions: [{id: 'CVE-*', reason: r, expires: '2027-01-31'}]}", "spec.require.vulnerabilities.exceptions[0].id", "CVE"},
		{"exception twice", "vulnerabilities: {by: [release], exceptions: [{id: GO-2024-2687, reason: r, expires: '2027-01-31'}, {id: go-2024-2687, reason: r, expires: '2027-01-31'}]}", "spec.require.vulnerabilities.exceptions[1].id", "Duplicate"},
		{"exception without a reason", "vulnerabilities: {by: [release], exceptions: [{id: CVE-2024-3094, reason: '', expires: '2027-01-31'}]}", "spec.require.vulnerabilities.exceptions[0].reason", "say why"},
		{"exception of an end that is none", "vulnerabilities: {by: [release], exceptions: [{id: CVE-2024-3094, reason: r, expires: '2027-02-30'}]}", "spec.require.vulnerabilities.exceptions[0].expires", "want a date"},

		{"secrets by nobody", "secrets: {by: []}", "spec.require.secrets.by", "name at least one"},
		{"secrets of no age", "secrets: {by: [release], maxAge: 0s}", "spec.require.secrets.maxAge", "more than nothing"},

		{"provenance by nobody", "provenance: {by: []}", "spec.require.provenance.by", "name at least one"},
		{"any builder as a pattern", "provenance: {by: [ci], builderPatterns: ['.*']}", "spec.require.provenance.builderPatterns[0]", "matches anybody's"},
		{"any builder of github", "provenance: {by: [ci], builderPatterns: ['https://github\\.com/.*']}", "spec.require.provenance.builderPatterns[0]", "matches anybody's"},
		{"builder pattern that is a glob", "provenance: {by: [ci], builderPatterns: ['https://github.com/acme/*']}", "spec.require.provenance.builderPatterns[0]", "globs"},
		{"builder pattern that is broken", "provenance: {by: [ci], builderPatterns: ['https://(acme']}", "spec.require.provenance.builderPatterns[0]", "no RE2"},
		{"any source as a pattern", "provenance: {by: [ci], sourcePatterns: ['git\\+https://github\\.com/.*']}", "spec.require.provenance.sourcePatterns[0]", "matches anybody's"},
		{"any ref as a pattern, those of pull requests too", "provenance: {by: [ci], refPatterns: ['refs/.*']}", "spec.require.provenance.refPatterns[0]", "refs/pull/1/merge"},
		{"any build type as a pattern", "provenance: {by: [ci], buildTypePatterns: ['https://.*']}", "spec.require.provenance.buildTypePatterns[0]", "matches anybody's"},
		{"builder that is empty", "provenance: {by: [ci], builders: ['']}", "spec.require.provenance.builders[0]", "as the provenance has it"},
		{"source with a blank", "provenance: {by: [ci], sources: ['git+https://github.com/acme/app ']}", "spec.require.provenance.sources[0]", "blank"},
		{"ref too long", "provenance: {by: [ci], refs: [" + long + "]}", "spec.require.provenance.refs[0]", "at most 512"},
		{"builders too many", "provenance: {by: [ci], builders: " + many(65, "https://b%d.example") + "}", "spec.require.provenance.builders", "at most 64"},
		{"patterns that make too many steps", "provenance: {by: [ci], builderPatterns: " + many(40, "'https://acme%d\\.example/[a-z]{1,900}'") + "}", "spec.require.provenance.builderPatterns[35]", "steps together"},

		{"test without a name", "tests: [{name: '', by: [ci]}]", "spec.require.tests[0].name", "passedTests"},
		{"test with a blank", "tests: [{name: 'smoke ', by: [ci]}]", "spec.require.tests[0].name", "begins or ends with a blank"},
		{"test twice", "tests: [{name: smoke, by: [ci]}, {name: smoke, by: [release]}]", "spec.require.tests[1].name", "Duplicate"},
		{"test by nobody", "tests: [{name: smoke, by: []}]", "spec.require.tests[0].by", "name at least one"},
		{"test of no age", "tests: [{name: smoke, by: [ci], maxAge: 0s}]", "spec.require.tests[0].maxAge", "more than nothing"},
		{"tests too many", "tests: " + many(65, "{name: t%d, by: [ci]}"), "spec.require.tests", "at most 64"},

		{"approvals by nobody", "approvals: {by: [], environment: e}", "spec.require.approvals.by", "name at least one"},
		{"approvals for nowhere", "approvals: {by: [release], environment: ''}", "spec.require.approvals.environment", "name the environment"},
		{"approvals for a strange place", "approvals: {by: [release], environment: ' production'}", "spec.require.approvals.environment", "blank"},
		{"approvals by nobody at least", "approvals: {by: [release], environment: e, atLeast: 0}", "spec.require.approvals.atLeast", "want 1 to 64"},
		{"approvals by more than there are", "approvals: {by: [release, ci], environment: e, atLeast: 3}", "spec.require.approvals.atLeast", "nobody could satisfy it"},
		{"approvals of no age", "approvals: {by: [release], environment: e, maxAge: 0s}", "spec.require.approvals.maxAge", "more than nothing"},

		{"promotion by nobody", "promotion: {by: [], to: e}", "spec.require.promotion.by", "name at least one"},
		{"promotion to nowhere", "promotion: {by: [release], to: ''}", "spec.require.promotion.to", "name the environment"},

		{"custom by nobody", "custom: [{predicateType: 'https://a.example/t', by: [], rules: [{cel: 'true', message: m}]}]", "spec.require.custom[0].by", "name at least one"},
		{"custom of no type", "custom: [{predicateType: '', by: [ci], rules: [{cel: 'true', message: m}]}]", "spec.require.custom[0].predicateType", "full URI"},
		{"custom of half a type", "custom: [{predicateType: review, by: [ci], rules: [{cel: 'true', message: m}]}]", "spec.require.custom[0].predicateType", "full URI"},
		{"custom without rules", "custom: [{predicateType: 'https://a.example/t', by: [ci], rules: []}]", "spec.require.custom[0].rules", "at least one rule"},
		{"custom of too many rules", "custom: [{predicateType: 'https://a.example/t', by: [ci], rules: " + many(33, "{cel: 'true', message: m%d}") + "}]", "spec.require.custom[0].rules", "at most 32"},
		{"custom of too many rules together", "custom: " + many(5, "{predicateType: 'https://a.example/t%d', by: [ci], rules: ["+strings.Repeat("{cel: 'true', message: m}, ", 30)+"]}"), "spec.require.custom", "at most 128 in one policy"},
		{"custom of rules that are long together", "custom: [{predicateType: 'https://a.example/t', by: [ci], rules: " + many(9, "{cel: 'predicate.a == \""+strings.Repeat("x", 4000)+"\"', message: m%d}") + "}]", "spec.require.custom", "at most 32768 in one policy"},
		{"custom rule without a message", "custom: [{predicateType: 'https://a.example/t', by: [ci], rules: [{cel: 'true', message: ''}]}]", "spec.require.custom[0].rules[0].message", "say what"},
		{"custom rule that is empty", "custom: [{predicateType: 'https://a.example/t', by: [ci], rules: [{cel: '', message: m}]}]", "spec.require.custom[0].rules[0].cel", "CEL"},
		{"custom rule with a typo", "custom: [{predicateType: 'https://a.example/t', by: [ci], rules: [{cel: 'true', message: m}, {cel: 'predicat.ok', message: m}]}]", "spec.require.custom[0].rules[1].cel", "line 1, column 1: undeclared reference to 'predicat'"},
		{"custom rule that is a number", "custom: [{predicateType: 'https://a.example/t', by: [ci], rules: [{cel: '1', message: m}]}]", "spec.require.custom[0].rules[0].cel", "true or false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			refused(t, namespaced(requiring(key, tt.require)), tt.field, tt.why)
		})
	}
}

// refused makes sure that an object is refused for a field, and that a stored one refuses what it matches.
func refused(t *testing.T, text, field, why string) {
	t.Helper()
	obj, err := Decode(toJSON(t, text))
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, obj, field, why)
	if p, _ := (Compiler{}).Compile(t.Context(), obj); p.Unusable == "" || len(p.Requirements) > 0 || p.AcceptSummary != nil {
		t.Errorf("stored, it is %q with %d requirements, want unusable", p.Unusable, len(p.Requirements))
	}
}

// Security.md row 86: a rule that grows exponentially is refused when the policy is admitted.
func TestRow86_ARuleThatGrowsIsRefusedAtAdmission(t *testing.T) {
	t.Parallel()
	rule := "[1]" + strings.Repeat(".map(x, [x, x])", 40) + ".exists(x, x == x)"
	refused(t, namespaced(requiring(newKey(t), "custom: [{predicateType: 'https://a.example/t', by: [ci], rules: [{cel: '"+rule+"', message: m}]}]")),
		"spec.require.custom[0].rules[0].cel", "can't be gone through")
}

func TestSummariesAreRefused(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	for _, tt := range []struct{ name, summary, field, why string }{
		{"by nobody", "{by: [], verifierID: v, insteadOf: [sbom], maxAge: 1h}", "spec.acceptSummary.by", "name at least one"},
		{"by a stranger", "{by: [nobody], verifierID: v, insteadOf: [sbom], maxAge: 1h}", "spec.acceptSummary.by[0]", "not defined"},
		{"of any verifier", "{by: [release], verifierID: '', insteadOf: [sbom], maxAge: 1h}", "spec.acceptSummary.verifierID", "anybody"},
		{"of a verifier with a blank", "{by: [release], verifierID: ' v', insteadOf: [sbom], maxAge: 1h}", "spec.acceptSummary.verifierID", "blank"},
		{"for nothing", "{by: [release], verifierID: v, insteadOf: [], maxAge: 1h}", "spec.acceptSummary.insteadOf", "the policy has: signature, sbom"},
		{"for a signature", "{by: [release], verifierID: v, insteadOf: [signature], maxAge: 1h}", "spec.acceptSummary.insteadOf[0]", "nothing stands for signature"},
		{"for an approval", "{by: [release], verifierID: v, insteadOf: [approvals], maxAge: 1h}", "spec.acceptSummary.insteadOf[0]", "nothing stands for approvals"},
		{"for what isn't required", "{by: [release], verifierID: v, insteadOf: [sbom, provenance], maxAge: 1h}", "spec.acceptSummary.insteadOf[1]", "doesn't require provenance"},
		{"for what there is not", "{by: [release], verifierID: v, insteadOf: [sboms], maxAge: 1h}", "spec.acceptSummary.insteadOf[0]", "supported values"},
		{"for one twice", "{by: [release], verifierID: v, insteadOf: [sbom, sbom], maxAge: 1h}", "spec.acceptSummary.insteadOf[1]", "Duplicate"},
		{"for good", "{by: [release], verifierID: v, insteadOf: [sbom]}", "spec.acceptSummary.maxAge", "how old"},
		{"of no age", "{by: [release], verifierID: v, insteadOf: [sbom], maxAge: 0s}", "spec.acceptSummary.maxAge", "more than nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			refused(t, namespaced("acceptSummary: "+tt.summary+"\n"+requiring(key, "signature: {by: [release]}\nsbom: {by: [release]}")), tt.field, tt.why)
		})
	}
	refused(t, namespaced("images: {include: [registry.example.com/**]}\nacceptSummary: {by: [release], verifierID: v, insteadOf: [sbom], maxAge: 1h}\nallow: {reason: r}"), "spec.acceptSummary", "stands in for requirements")
}

func TestWarningsOfRequirements(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ name, require, want string }{
		{"a licence with a typo", "sbom: {by: [release], licenses: {deny: [GPL-*, 'GLP-*']}}", "spec.require.sbom.licenses.deny[1]: denies nothing that SPDX lists; did you mean GPL-*?"},
		{"an allowed licence with a typo", "sbom: {by: [release], licenses: {allow: [mit, Apache2.0]}}", "spec.require.sbom.licenses.allow[1]: allows nothing that SPDX lists; did you mean Apache-2.0?"},
		{"an allowed family", "sbom: {by: [release], licenses: {allow: [GPL]}}", "spec.require.sbom.licenses.allow[0]: allows nothing that SPDX lists; did you mean GPL-*?"},
		{"an excused family", "sbom: {by: [release], licenses: {deny: [GPL-*], exceptions: [{package: p, license: GPL, reason: r, expires: '2027-01-31'}]}}", "spec.require.sbom.licenses.exceptions[0]: excuses nothing that SPDX lists; did you mean GPL-*?"},
		{"a licence in words", "sbom: {by: [release], licenses: {deny: [Public Domain]}}", "spec.require.sbom.licenses.deny[0]: denies nothing that SPDX lists; a typo, or the words of an SBOM?"},
		{"a family beside its glob", "sbom: {by: [release], licenses: {deny: [GPL, GPL-*]}}", ""},
		{"licences that are known", "sbom: {by: [release], licenses: {deny: [GPL-*, agpl-3.0-only, GPL-2.0+, LicenseRef-acme, '*-only', 'BSD-?-Clause']}}", ""},
		{"an SBOM of nothing", "sbom: {by: [release], minPackages: 0}", "spec.require.sbom.minPackages: 0: an SBOM of nothing will do"},
		{"a licence exception that has ended", "sbom: {by: [release], licenses: {deny: [GPL-*], exceptions: [{package: p, license: MIT, reason: r, expires: '2026-11-20'}]}}", "spec.require.sbom.licenses.exceptions[0]: ended at 2026-11-21T00:00:00Z, so that it excuses nothing"},
		{"no licence denied", "sbom: {by: [release], licenses: {}}", "spec.require.sbom.licenses: denies no licence; name some in deny, or in allow those that may be used"},
		{"no licence denied, and none unknown", "sbom: {by: [release], licenses: {unknown: Allow}}", "spec.require.sbom.licenses: denies no licence; name some in deny, or in allow those that may be used"},
		{"unknown licences denied", "sbom: {by: [release], licenses: {unknown: Deny}}", ""},
		{"unknown licences warned of", "sbom: {by: [release], licenses: {unknown: Warn}}", ""},
		{"no licence allowed", "sbom: {by: [release], licenses: {allow: []}}", "spec.require.sbom.licenses.allow: empty, which means any licence; name those that may be used"},
		{"no licence allowed beside those denied", "sbom: {by: [release], licenses: {deny: [GPL-*], allow: []}}", ""},
		{"no format", "sbom: {by: [release], formats: []}", "spec.require.sbom.formats: empty, which means any; leave it out, or name those that count"},
		{"a limit above what there is", "vulnerabilities: {by: [release], max: {negligible: 2147483647}}", "spec.require.vulnerabilities.max.negligible: 2147483647 is more than scans find, so that it limits nothing"},
		{"a high limit", "vulnerabilities: {by: [release], max: {low: 10000}}", ""},
		{"unknown severities not limited", "vulnerabilities: {by: [release], max: {critical: 0}, unknown: negligible}", "spec.require.vulnerabilities.unknown: negligible isn't limited, so any number not rated yet will do; set max.negligible"},
		{"unknown severities limited", "vulnerabilities: {by: [release], max: {critical: 0, negligible: 9}, unknown: negligible}", ""},
		{"a rule that is always true", "custom: [{predicateType: 'https://acme.example/r/v1', by: [ci], rules: [{cel: 'predicate.a', message: m}, {cel: ' (true) ', message: m}]}]",
			"spec.require.custom[0].rules[1].cel: looks at nothing, so that it says the same of every statement"},
		{"a rule of words", "custom: [{predicateType: 'https://acme.example/r/v1', by: [ci], rules: [{cel: '1 == 1', message: m}]}]",
			"spec.require.custom[0].rules[0].cel: looks at nothing, so that it says the same of every statement"},
		{"rules that look at something", "custom: [{predicateType: 'https://acme.example/r/v1', by: [ci], rules: [{cel: 'signer.name == \"ci\"', message: m}, {cel: 'image.tag != \"x\"', message: m}, " +
			"{cel: 'request.namespace == \"x\"', message: m}, {cel: 'verifiedTime < timestamp(\"2030-01-01T00:00:00Z\")', message: m}, {cel: 'subject.digest.size() == 1', message: m}]}]", ""},
		{"an exception that has ended", "vulnerabilities: {by: [release], max: {high: 0}, exceptions: [{id: CVE-2024-3094, reason: r, expires: '2026-11-21T12:00:00Z'}]}", "spec.require.vulnerabilities.exceptions[0]: ended at 2026-11-21T12:00:00Z, so that it excuses nothing"},
		{"an exception on its last day", "vulnerabilities: {by: [release], max: {high: 0}, exceptions: [{id: CVE-2024-3094, reason: r, expires: '2026-11-22'}]}", ""},
		{"a warning that never comes", "vulnerabilities: {by: [release], max: {high: 5}, warn: {high: 5}}", "spec.require.vulnerabilities.warn.high: 5 never warns: above 5, its max, it is refused"},
		{"a warning that comes first", "vulnerabilities: {by: [release], max: {high: 5}, warn: {high: 4}}", ""},
		{"a scan that may find anything", "vulnerabilities: {by: [release], maxAge: 1h}", "spec.require.vulnerabilities: limits nothing: it wants a scan, whatever that found; set max or warn"},
		{"any builder", "provenance: {by: [ci]}", "spec.require.provenance: names no builder, so that whatever its signers say has built it will do"},
		{"a source with its ref", "provenance: {by: [ci], builders: [b], sources: ['git+https://github.com/acme/app@refs/heads/main']}", "spec.require.provenance.sources[0]: what is behind the @ isn't compared; write it in refs"},
		{"a test's age by a key", "tests: [{name: smoke, by: [release], maxAge: 1h}]", "spec.require.tests[0].maxAge: a test result has no time, and by a key none can be told: it is refused"},
		{"a test's age by a key or an identity", "tests: [{name: smoke, by: [release, ci], maxAge: 1h}]", ""},
		{"a test of any age by a key", "tests: [{name: smoke, by: [release]}]", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			obj := mustDecode(t, namespaced(requiring(key, tt.require)))
			if errs := Validate(obj); len(errs) > 0 {
				t.Fatal(errs)
			}
			got := warningsAt(obj, now)
			switch {
			case tt.want == "" && len(got) > 0:
				t.Errorf("%q, want none", got)
			case tt.want != "" && !slices.Equal(got, []string{tt.want}):
				t.Errorf("%q\nwant %q", got, tt.want)
			case len(tt.want) > maxWarning:
				t.Errorf("%d characters", len(tt.want))
			}
		})
	}
}

func TestGlobsMatchWholeIdentifiers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		glob, text string
		want       bool
	}{
		{"mit", "mit", true}, {"mit", "mit-0", false}, {"mit*", "mit-0", true}, {"*", "", true}, {"?", "", false}, {"*-only", "gpl-3.0-only", true},
		{"*-only", "gpl-3.0-only-x", false}, {"g*-*-o*y", "gpl-3.0-only", true}, {"bsd-?-clause", "bsd-3-clause", true}, {"gpl-*", "lgpl-2.1", false},
		{"**", "x", true}, {"", "", true}, {"", "x", false},
	} {
		if got := globMatches(tt.glob, tt.text); got != tt.want {
			t.Errorf("globMatches(%q, %q) = %v", tt.glob, tt.text, got)
		}
	}
}
