package docs_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/demo/documents"
)

const (
	day     = 24 * time.Hour
	mainRef = "refs/heads/main"
	program = "acme/app"
	flow    = "release.yaml"
	review  = "https://acme.example/review/v1"
	manager = "https://acme.example/promoter"
)

// stagingPapers are all that staging.yaml asks for.
func stagingPapers() []paper {
	return []paper{signature(withKey(0)), sbomBy(withKey(1), "MIT", "GPL-2.0-only"), scanBy(withKey(1), time.Hour)}
}

// productionPapers are all that production.yaml asks for.
func productionPapers() []paper {
	builder := workflow(program, flow, mainRef)
	return []paper{
		signature(withKey(0)), sbomBy(withKey(1), "MIT", "Apache-2.0 OR GPL-2.0-only"), scanBy(withKey(1), time.Hour),
		built(builder, program, flow, mainRef), stating(builder, documents.TypeTestResult, documents.TestResult(true, "smoke")),
		approvalBy(withKey(2), "production", day),
	}
}

// several are so many findings of a severity.
func several(n int, severity string) []string { return slices.Repeat([]string{severity}, n) }

// paperCases are what the examples promise that ask for more than signatures.
func paperCases() map[string][]paperCase {
	out := map[string][]paperCase{
		"development.yaml": {
			{"a clean scan", "lab", "any/api", nil, []paper{scanBy(withKey(0), day)}, true, policy.Verified, ""},
			{"a critical finding", "lab", "any/api", nil, []paper{scanBy(withKey(0), day, "CRITICAL")}, true, policy.TooManyVulnerabilities, "CVE-2026-1000"},
			{"no scan", "lab", "any/api", nil, nil, true, policy.NoScan, "no scan found, wanted one by scanner"},
		},
		"staging.yaml": {
			{"all papers", "stage", "any/api", nil, stagingPapers(), true, policy.Verified, ""},
			{"not signed", "stage", "any/api", nil, but(stagingPapers(), verify.CosignSign), false, policy.NoTrustedSignature, ""},
			{"without an SBOM", "stage", "any/api", nil, but(stagingPapers(), documents.TypeSPDX), false, policy.NoSBOM, ""},
			{"without a scan", "stage", "any/api", nil, but(stagingPapers(), documents.TypeScan), false, policy.NoScan, ""},
			{"5 high findings", "stage", "any/api", nil, but(stagingPapers(), documents.TypeScan, scanBy(withKey(1), day, several(5, "HIGH")...)), true, policy.TooManyVulnerabilities, "5 high (warn above 0)"},
			{"6 high findings", "stage", "any/api", nil, but(stagingPapers(), documents.TypeScan, scanBy(withKey(1), day, several(6, "HIGH")...)), false, policy.TooManyVulnerabilities, "6 high (max 5)"},
			{"50 medium findings", "stage", "any/api", nil, but(stagingPapers(), documents.TypeScan, scanBy(withKey(1), day, several(50, "MEDIUM")...)), true, policy.TooManyVulnerabilities, "50 medium (warn above 0)"},
			{"51 medium findings", "stage", "any/api", nil, but(stagingPapers(), documents.TypeScan, scanBy(withKey(1), day, several(51, "MEDIUM")...)), false, policy.TooManyVulnerabilities, "51 medium (max 50)"},
			{"the excused critical finding", "stage", "any/api", nil, but(stagingPapers(), documents.TypeScan, scanOf(withKey(1), day, waived("CRITICAL"))), true, policy.Verified, ""},
			{"a scan of last week", "stage", "any/api", nil, but(stagingPapers(), documents.TypeScan, scanBy(withKey(1), 8*day)), false, policy.TooOld, "8 days old (max 7 days)"},
			{"no papers, in another environment", "lab", "any/api", nil, nil, true, policy.NoPolicyInForce, ""},
		},
		"production.yaml": productionCases(),
		"sbom.yaml": {
			{"an SBOM", "catalog", "catalog/api", nil, []paper{sbomBy(withKey(0), "MIT")}, true, policy.Verified, ""},
			{"one of nothing", "catalog", "catalog/api", nil, []paper{stating(withKey(0), predicate.TypeCycloneDX, emptySBOM())}, false, policy.TooFewPackages, ""},
			{"an old one", "catalog", "catalog/api", nil, []paper{sbomOf(withKey(0), 91*day, "MIT")}, false, policy.TooOld, ""},
			{"somebody else's", "catalog", "catalog/api", nil, []paper{sbomBy(withPKIOf(), "MIT")}, false, policy.NoSBOM, ""},
		},
		"licenses.yaml": {
			{"MIT", "proprietary", "proprietary/api", nil, []paper{sbomBy(withKey(0), "MIT", "LGPL-2.1-only", "MIT OR GPL-2.0-only")}, true, policy.Verified, ""},
			{"GPL", "proprietary", "proprietary/api", nil, []paper{sbomBy(withKey(0), "MIT", "GPL-3.0-or-later")}, false, policy.LicenseDenied, "package1"},
			{"MIT AND GPL", "proprietary", "proprietary/api", nil, []paper{sbomBy(withKey(0), "MIT AND GPL-2.0-only")}, false, policy.LicenseDenied, ""},
			{"the excused package", "proprietary", "proprietary/api", nil, []paper{stating(withKey(0), documents.TypeSPDX, documents.SPDX("api", time.Now(), documents.Package{Name: "readline-dev", Version: "8.2", License: "GPL-3.0-or-later"}))}, true, policy.Verified, ""},
			{"an unknown licence", "proprietary", "proprietary/api", nil, []paper{sbomBy(withKey(0), "MIT", "")}, true, policy.LicenseUnknown, "package1"},
		},
		"vulnerabilities.yaml": {
			{"3 high findings", "billing", "billing/api", nil, []paper{scanBy(withKey(0), day, several(3, "HIGH")...)}, true, policy.Verified, ""},
			{"3 high ones and an unknown", "billing", "billing/api", nil, []paper{scanBy(withKey(0), day, "HIGH", "HIGH", "HIGH", "UNKNOWN")}, false, policy.TooManyVulnerabilities, "4 high (max 3)"},
			{"a critical finding", "billing", "billing/api", nil, []paper{scanBy(withKey(0), day, "CRITICAL")}, false, policy.TooManyVulnerabilities, "1 critical (max 0): CVE-2026-1000"},
			{"a critical finding without a fix", "billing", "billing/api", nil, []paper{scanOf(withKey(0), day, documents.Finding{ID: "CVE-2026-1", Severity: "CRITICAL", Package: "zlib", Version: "1.2"})}, true, policy.Verified, ""},
			{"the excused one", "billing", "billing/api", nil, []paper{scanOf(withKey(0), day, waived("CRITICAL"))}, true, policy.Verified, ""},
			{"21 medium ones", "billing", "billing/api", nil, []paper{scanBy(withKey(0), day, several(21, "MEDIUM")...)}, true, policy.TooManyVulnerabilities, "21 medium (warn above 20)"},
			{"a newer bad one", "billing", "billing/api", nil, []paper{scanBy(withKey(0), 2*day), scanBy(withKey(0), day, "CRITICAL")}, false, policy.TooManyVulnerabilities, ""},
			{"an old one", "billing", "billing/api", nil, []paper{scanBy(withKey(0), 8*day)}, false, policy.TooOld, ""},
			{"none", "billing", "billing/api", nil, nil, false, policy.NoScan, ""},
		},
		"vex.yaml": {
			{"explained away", "orders", "orders/api", nil, []paper{scanOf(withKey(0), day, waived("HIGH")), vexBy(1, "CVE-2023-12345")}, true, policy.Verified, ""},
			{"explained away by the scanner", "orders", "orders/api", nil, []paper{scanOf(withKey(0), day, waived("HIGH")), vexBy(0, "CVE-2023-12345")}, false, policy.TooManyVulnerabilities, ""},
			{"another explained away", "orders", "orders/api", nil, []paper{scanOf(withKey(0), day, waived("HIGH")), vexBy(1, "CVE-2023-54321")}, false, policy.TooManyVulnerabilities, ""},
			{"explained away, without a scan", "orders", "orders/api", nil, []paper{vexBy(1, "CVE-2023-12345")}, false, policy.NoScan, ""},
		},
		"secrets.yaml": {
			{"a scan that looked", "web", "web/api", nil, []paper{scanBy(withKey(0), day, "CRITICAL")}, true, policy.Verified, ""},
			{"one that found some", "web", "web/api", nil, []paper{stating(withKey(0), documents.TypeScan, secretScan())}, false, policy.SecretsFound, "aws-access-key-id"},
			{"one that didn't look", "web", "web/api", nil, []paper{stating(withKey(0), documents.TypeScan, blindScan())}, false, policy.NoSecretScan, "--scanners vuln,secret"},
			{"an old one", "web", "web/api", nil, []paper{scanBy(withKey(0), 8*day)}, false, policy.TooOld, ""},
		},
		"provenance.yaml": {
			{"built by the workflow", "app", "app/api", nil, []paper{built(workflow(program, flow, mainRef), program, flow, mainRef)}, true, policy.Verified, ""},
			{"built by a fork's", "app", "app/api", nil, []paper{built(workflow("mallory/app", flow, mainRef), "mallory/app", flow, mainRef)}, false, policy.NoProvenance, "https://github.com/mallory/app/"},
			{"by our workflow, of another builder", "app", "app/api", nil, []paper{built(workflow(program, flow, mainRef), "mallory/app", flow, mainRef)}, false, policy.WrongBuilder, ""},
			{"none", "app", "app/api", nil, []paper{signature(workflow(program, flow, mainRef))}, false, policy.NoProvenance, ""},
		},
		"tests.yaml":           testsCases(),
		"approvals.yaml":       approvalsCases(),
		"promotion.yaml":       promotionCases(),
		"custom-rule.yaml":     customCases(),
		"accept-summary.yaml":  summaryCases(),
		"image-exception.yaml": exceptionCases(),
		"platforms.yaml":       platformCases(),
	}
	return out
}

// productionCases are an image with all papers, and images that lack each in turn, or have a bad one.
func productionCases() []paperCase {
	builder := workflow(program, flow, mainRef)
	out := []paperCase{
		{"all papers", "live", "proprietary/api", nil, productionPapers(), true, policy.Verified, ""},
		{"all papers, in a namespace without a label", "fresh", "proprietary/api", nil, productionPapers(), true, policy.Verified, ""},
		{"no papers, in a namespace without a label", "fresh", "proprietary/api", nil, nil, false, policy.NoTrustedSignature, ""},
		{"all papers, but not of the proprietary images", "live", "open/api", nil, productionPapers(), false, policy.NoPolicyMatches, ""},
		{"10 medium findings", "live", "proprietary/api", nil, but(productionPapers(), documents.TypeScan, scanBy(withKey(1), day, several(10, "MEDIUM")...)), true, policy.TooManyVulnerabilities, "10 medium (warn above 0)"},
	}
	for _, c := range []struct {
		name, kind string
		by         []paper
		reason     policy.Reason
	}{
		{"not signed", verify.CosignSign, nil, policy.NoTrustedSignature},
		{"signed by the scanner", verify.CosignSign, []paper{signature(withKey(1))}, policy.NoTrustedSignature},
		{"without an SBOM", documents.TypeSPDX, nil, policy.NoSBOM},
		{"with a package under GPL", documents.TypeSPDX, []paper{sbomBy(withKey(1), "MIT", "GPL-2.0-only")}, policy.LicenseDenied},
		{"with a package under AGPL", documents.TypeSPDX, []paper{sbomBy(withKey(1), "AGPL-3.0-only")}, policy.LicenseDenied},
		{"without a scan", documents.TypeScan, nil, policy.NoScan},
		{"with 11 medium findings", documents.TypeScan, []paper{scanBy(withKey(1), day, several(11, "MEDIUM")...)}, policy.TooManyVulnerabilities},
		{"with a scan of last week", documents.TypeScan, []paper{scanBy(withKey(1), 8*day)}, policy.TooOld},
		{"without provenance", documents.TypeProvenance, nil, policy.NoProvenance},
		{"built from a branch", documents.TypeProvenance, []paper{built(builder, program, flow, "refs/heads/try")}, policy.WrongBuilder},
		{"without a smoke test", documents.TypeTestResult, nil, policy.NoTestResult},
		{"with a smoke test that failed", documents.TypeTestResult, []paper{stating(builder, documents.TypeTestResult, documents.TestResult(false, "smoke", "load"))}, policy.TestFailed},
		{"without an approval", predicate.TypeApproval, nil, policy.NoApproval},
		{"approved for staging", predicate.TypeApproval, []paper{approvalBy(withKey(2), "staging", day)}, policy.WrongEnvironment},
		{"approved by the release key", predicate.TypeApproval, []paper{approvalBy(withKey(0), "production", day)}, policy.NoApproval},
		{"approved last quarter", predicate.TypeApproval, []paper{approvalBy(withKey(2), "production", 31*day)}, policy.TooOld},
	} {
		out = append(out, paperCase{c.name, "live", "proprietary/api", nil, but(productionPapers(), c.kind, c.by...), false, c.reason, ""})
	}
	return out
}

// vexBy is the word of a key's owner that a finding doesn't matter.
func vexBy(key int, id string) paper {
	return paper{by: withKey(key), kind: documents.TypeVEX, text: func(on subjectOf) []byte { return documents.VEX(on.image.String(), time.Now(), id) }}
}

// withPKIOf is somebody whom no example trusts.
func withPKIOf() signing { return keyless("mallory@acme.example", google, nil) }

// secretScan is a scan that found a secret, and blindScan one that didn't look for any.
func secretScan() []byte {
	return fmt.Appendf(nil, `{"scanner": {"uri": "pkg:github/aquasecurity/trivy@0.68.1", "version": "0.68.1", "db": {}, "result": {"SchemaVersion": 2, "Results": [
		{"Target": "/app/.env", "Class": "secret", "Secrets": [{"RuleID": "aws-access-key-id", "Severity": "CRITICAL"}]}]}}, "metadata": {"scanFinishedOn": %q}}`, today())
}

// emptySBOM is a bill of materials of nothing.
func emptySBOM() []byte {
	return fmt.Appendf(nil, `{"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"timestamp": %q}, "components": []}`, today())
}

func blindScan() []byte {
	return fmt.Appendf(nil, `{"scanner": {"uri": "pkg:github/aquasecurity/trivy@0.68.1", "version": "0.68.1", "db": {}, "result": {"SchemaVersion": 2, "Results": [
		{"Target": "api (alpine 3.22.1)", "Class": "os-pkgs"}]}}, "metadata": {"scanFinishedOn": %q}}`, today())
}

func today() string { return time.Now().UTC().Format(time.RFC3339) }

func testsCases() []paperCase {
	tester := workflow(program, "test.yaml", mainRef)
	result := func(by signing, passed bool, tests ...string) paper {
		return stating(by, documents.TypeTestResult, documents.TestResult(passed, tests...))
	}
	return []paperCase{
		{"both passed", "app", "app/api", nil, []paper{result(tester, true, "smoke", "load")}, true, policy.Verified, ""},
		{"both passed, in results of their own", "app", "app/api", nil, []paper{result(tester, true, "smoke"), result(tester, true, "load")}, true, policy.Verified, ""},
		{"the load test is missing", "app", "app/api", nil, []paper{result(tester, true, "smoke")}, false, policy.NoTestResult, "none of load"},
		{"the smoke test failed", "app", "app/api", nil, []paper{result(tester, false, "smoke", "load")}, false, policy.TestFailed, "smoke: "},
		{"another workflow says so", "app", "app/api", nil, []paper{result(workflow(program, flow, mainRef), true, "smoke", "load")}, false, policy.NoTestResult, ""},
	}
}

func approvalsCases() []paperCase {
	const in = "production"
	return []paperCase{
		{"by two", "payments", "payments/api", nil, []paper{approvalBy(withKey(0), in, day), approvalBy(withKey(2), in, day)}, true, policy.Verified, ""},
		{"by one", "payments", "payments/api", nil, []paper{approvalBy(withKey(0), in, day)}, false, policy.TooFewApprovals, ""},
		{"by one, twice", "payments", "payments/api", nil, []paper{approvalBy(withKey(0), in, day), approvalBy(withKey(0), in, 2*day)}, false, policy.TooFewApprovals, ""},
		{"by one, and by one for staging", "payments", "payments/api", nil, []paper{approvalBy(withKey(0), in, day), approvalBy(withKey(1), "staging", day)}, false, policy.TooFewApprovals, ""},
		{"by one, and by one long ago", "payments", "payments/api", nil, []paper{approvalBy(withKey(0), in, day), approvalBy(withKey(1), in, 31*day)}, false, policy.TooFewApprovals, ""},
		{"by nobody", "payments", "payments/api", nil, nil, false, policy.NoApproval, ""},
	}
}

func promotionCases() []paperCase {
	return []paperCase{
		{"promoted", "payments", "production/api", nil, []paper{promotionBy(withKey(0), "production", "production/api")}, true, policy.Verified, ""},
		{"promoted to staging", "payments", "production/api", nil, []paper{promotionBy(withKey(0), "staging", "production/api")}, false, policy.WrongEnvironment, ""},
		{"promoted into another repository", "payments", "production/api", nil, []paper{promotionBy(withKey(0), "production", "production/else")}, false, policy.WrongRepository, ""},
		{"copied by hand", "payments", "production/api", nil, []paper{signature(withKey(0))}, false, policy.NoPromotion, ""},
	}
}

func customCases() []paperCase {
	reviewed := func(text string) paper { return stating(withKey(0), review, []byte(text)) }
	return []paperCase{
		{"reviewed", "app", "app/api", nil, []paper{reviewed(`{"approved": true, "findings": [{"severity": "minor"}], "repository": "app/api"}`)}, true, policy.Verified, ""},
		{"not approved", "app", "app/api", nil, []paper{reviewed(`{"approved": false, "findings": [], "repository": "app/api"}`)}, false, policy.RuleViolated, "the review did not approve it"},
		{"with a blocker", "app", "app/api", nil, []paper{reviewed(`{"approved": true, "findings": [{"severity": "blocker"}], "repository": "app/api"}`)}, false, policy.RuleViolated, "the review has an open blocker"},
		{"of another repository", "app", "app/api", nil, []paper{reviewed(`{"approved": true, "findings": [], "repository": "app/else"}`)}, false, policy.RuleViolated, "the review is of another repository"},
		{"without findings", "app", "app/api", nil, []paper{reviewed(`{"approved": true, "repository": "app/api"}`)}, false, policy.RuleFailed, ""},
		{"not reviewed", "app", "app/api", nil, nil, false, policy.NoStatement, ""},
	}
}

func summaryCases() []paperCase {
	summary := func(verifier string, change bool) paper { return summaryBy(withKey(2), verifier, "summarized", change) }
	signed := signature(withKey(0))
	return []paperCase{
		{"a summary", "payments", "production/api", nil, []paper{signed, summary(manager, false)}, true, policy.VerifiedBySummary, ""},
		{"the papers themselves", "payments", "production/api", nil, []paper{signed, sbomBy(withKey(1), "MIT"), scanBy(withKey(1), day)}, true, policy.Verified, ""},
		{"neither", "payments", "production/api", nil, []paper{signed}, false, policy.NoSBOM, ""},
		{"a summary of before the policy was changed", "payments", "production/api", nil, []paper{signed, summary(manager, true)}, false, policy.NoScan, ""},
		{"a summary of another verifier", "payments", "production/api", nil, []paper{signed, summary("https://acme.example/else", false)}, false, policy.NoScan, ""},
		{"a summary, and no signature", "payments", "production/api", nil, []paper{summary(manager, false)}, false, policy.NoTrustedSignature, ""},
	}
}

func exceptionCases() []paperCase {
	return []paperCase{
		{"the excused finding", "shop", "shop/api", nil, []paper{scanOf(withKey(0), day, waived("HIGH"))}, true, policy.Verified, ""},
		{"the excused finding, critical", "shop", "shop/api", nil, []paper{scanOf(withKey(0), day, waived("CRITICAL"))}, false, policy.TooManyVulnerabilities, "CVE-2023-12345"},
		{"the excused finding, and another", "shop", "shop/api", nil, []paper{scanOf(withKey(0), day, waived("HIGH"), documents.Finding{ID: "CVE-2026-1", Severity: "HIGH", Package: "zlib", Version: "1.2"})}, false, policy.TooManyVulnerabilities, "1 high (max 0): CVE-2026-1"},
		{"the excused finding in another image", "shop", "shop/tool", nil, []paper{scanOf(withKey(0), day, waived("HIGH"))}, false, policy.TooManyVulnerabilities, ""},
		{"the excused finding in another namespace", "live", "shop/api", nil, []paper{scanOf(withKey(0), day, waived("HIGH"))}, false, policy.TooManyVulnerabilities, ""},
	}
}

func platformCases() []paperCase {
	const amd, arm, windows = "linux/amd64", "linux/arm64", "windows/amd64"
	all := []string{amd, arm, windows}
	signed, bom, scan := signature(withKey(0)), sbomBy(withKey(1), "MIT"), scanBy(withKey(1), day)
	return []paperCase{
		{"each has its own", "edge", "edge/api", all, []paper{signed, bom.at(amd), bom.at(arm), scan.at(amd), scan.at(arm)}, true, policy.Verified, ""},
		{"one on the index names both", "edge", "edge/api", all, []paper{signed, bom.about(amd, arm), scan.about(amd, arm)}, true, policy.Verified, ""},
		{"one on the index names the index alone", "edge", "edge/api", all, []paper{signed, bom, scan.about(amd, arm)}, false, policy.NoSBOM, "the index, which does not name this platform among its subjects"},
		{"one has none", "edge", "edge/api", all, []paper{signed, bom.about(amd, arm), scan.at(amd)}, false, policy.NoScan, arm},
		{"one has a critical finding", "edge", "edge/api", all, []paper{signed, bom.about(amd, arm), scan.at(amd), scanBy(withKey(1), day, "CRITICAL").at(arm)}, false, policy.TooManyVulnerabilities, arm},
		{"a platform is signed, and not the index", "edge", "edge/api", all, []paper{signed.at(amd), bom.about(amd, arm), scan.about(amd, arm)}, false, policy.NoTrustedSignature, ""},
		{"one isn't in the index", "edge", "edge/api", []string{amd, windows}, []paper{signed, bom.at(amd), scan.at(amd)}, true, policy.Verified, ""},
	}
}
