package main

import (
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// made is when all papers are made: the instance of Sigstore that signs some of them does it then. Nothing here looks at the clock.
func made() time.Time { return verifytest.Then() }

// judgedAt is when they are judged.
func judgedAt() time.Time { return made().Add(time.Hour) }

// licenses are as many distinct expressions as a base image with some programs has.
func licenses() []string {
	single := []string{"MIT", "Apache-2.0", "BSD-3-Clause", "BSD-2-Clause", "ISC", "Zlib", "MPL-2.0", "LGPL-2.1-or-later", "Unlicense", "CC0-1.0"}
	out := append([]string{"NOASSERTION", "LicenseRef-GAP", "GPLv2+ with autoconf exception"}, single...)
	for i, a := range single {
		out = append(out, a+" AND "+single[(i+1)%len(single)], a+" OR GPL-2.0-only")
	}
	for _, a := range single[:7] {
		out = append(out, "("+a+" OR GPL-3.0-or-later) AND (Zlib OR curl)")
	}
	return out
}

// spdx is an SPDX 2.3 document as syft writes one, of so many packages, or of at least so many bytes where that is more.
func spdx(packages, bytes int) []byte {
	var b strings.Builder
	all := licenses()
	b.WriteString(`{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT","name":"image","documentNamespace":"https://acme.example/sbom/1",`)
	fmt.Fprintf(&b, `"creationInfo":{"creators":["Tool: syft-1.55.0"],"created":%q},"packages":[`, stamp(made()))
	n := 0
	for ; n < packages || b.Len() < bytes*4/5; n++ {
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"package-%d","SPDXID":"SPDXRef-Package-deb-package-%d","versionInfo":"1.%d.0-2","supplier":"Organization: acme","downloadLocation":"NOASSERTION",`+
			`"filesAnalyzed":false,"sourceInfo":"acquired package info from DPKG DB: /var/lib/dpkg/status","licenseConcluded":"NOASSERTION","licenseDeclared":%q,"copyrightText":"NOASSERTION",`+
			`"externalRefs":[{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:deb/debian/package-%d@1.%d.0-2?arch=amd64&distro=debian-12"}]}`,
			n, n, n%20, all[n%len(all)], n, n%20)
	}
	b.WriteString(`],"relationships":[`)
	for i := 0; i < n || b.Len() < bytes; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"spdxElementId":"SPDXRef-DOCUMENT","relatedSpdxElement":"SPDXRef-Package-deb-package-%d","relationshipType":"CONTAINS"}`, i%n)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

// severities of a scan's findings: most are low.
const (
	criticals = 1
	highs     = 4
	mediums   = 45
)

// finding is what a scan calls its finding of a number.
func finding(i int) string { return fmt.Sprintf("CVE-2026-%d", 1000+i) }

// scan is what `trivy image --format cosign-vuln --scanners vuln,secret` writes, with so many findings and no secret.
func scan(findings int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `{"invocation":{"parameters":["image","--format","cosign-vuln","--scanners","vuln,secret"]},"scanner":{"uri":"pkg:github/aquasecurity/trivy@0.68.1","version":"0.68.1",`+
		`"db":{"lastUpdate":%q},"result":{"SchemaVersion":2,"CreatedAt":%q,"ArtifactType":"container_image","Results":[{"Target":"app","Class":"os-pkgs","Type":"debian","Vulnerabilities":[`,
		stamp(made().Add(-time.Hour)), stamp(made()))
	for i := range findings {
		severity := "LOW"
		switch {
		case i < criticals:
			severity = "CRITICAL"
		case i < criticals+highs:
			severity = "HIGH"
		case i < criticals+highs+mediums:
			severity = "MEDIUM"
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"VulnerabilityID":%q,"PkgName":"package-%d","InstalledVersion":"1.%d.0-2","FixedVersion":"1.%d.1-1","Status":"fixed","Severity":%q,`+
			`"PkgIdentifier":{"PURL":"pkg:deb/debian/package-%d@1.%d.0-2?arch=amd64&distro=debian-12"},"PrimaryURL":"https://avd.aquasec.com/nvd/cve-2026-%d","Title":"package-%d: one may read past the end of a buffer",`+
			`"Description":"A flaw was found in package-%d. One who can send it a crafted file may read past the end of a buffer.","CweIDs":["CWE-125"],"PublishedDate":"2026-05-01T00:00:00Z"}`,
			finding(i), i%400, i%20, i%20, severity, i%400, i%20, 1000+i, i%400, i%400)
	}
	fmt.Fprintf(&b, `]},{"Target":"/etc/app.yaml","Class":"secret"}]}},"metadata":{"scanStartedOn":%q,"scanFinishedOn":%q}}`, stamp(made()), stamp(made()))
	return []byte(b.String())
}

// vex says of the first two high findings, and of some that the scan doesn't have, that they don't affect the image.
func vex(image v1.Hash) []byte {
	var statements []string
	for i := range 20 {
		statements = append(statements, fmt.Sprintf(`{"vulnerability":{"name":%q},"products":[{"@id":"pkg:oci/api@sha256%%3A%s"}],"status":"not_affected","justification":"vulnerable_code_not_in_execute_path"}`,
			finding(criticals+i%2+1_000*(i/2)), image.Hex))
	}
	return fmt.Appendf(nil, `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://acme.example/vex/1","author":"security@acme.example","timestamp":%q,"version":1,"statements":[%s]}`,
		stamp(made()), strings.Join(statements, ","))
}

// workflow is what builds.
const workflow = "https://github.com/acme/app/.github/workflows/release.yaml@refs/heads/main"

// provenance is SLSA v1 as GitHub's attest-build-provenance writes it.
func provenance() []byte {
	return []byte(`{"buildDefinition":{"buildType":"https://actions.github.io/buildtypes/workflow/v1","externalParameters":{"workflow":{"ref":"refs/heads/main",` +
		`"repository":"https://github.com/acme/app","path":".github/workflows/release.yaml"}},"internalParameters":{"github":{"event_name":"push","runner_environment":"github-hosted"}},` +
		`"resolvedDependencies":[{"uri":"git+https://github.com/acme/app@refs/heads/main","digest":{"gitCommit":"3f786850e387550fdab836ed7e6dc881de23001b"}}]},` +
		`"runDetails":{"builder":{"id":"` + workflow + `"},"metadata":{"invocationId":"https://github.com/acme/app/actions/runs/4711/attempts/1"}}}`)
}

const (
	reviewType = "https://acme.example/review/v1"
	testResult = `{"result":"PASSED","configuration":[{"name":".github/workflows/ci.yaml","digest":{"gitBlob":"ebe4add40f63c3c98bc9b32ff1e736f04120b023"}}],` +
		`"url":"https://github.com/acme/app/actions/runs/4711","passedTests":["smoke","migrations"]}`
	review = `{"approved":true,"reviewer":"lead@acme.example","findings":[{"id":"R1","severity":"low"},{"id":"R2","severity":"low"}]}`
)

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// repository is where the image of these papers runs.
const repository = "registry.example.com/payments/api"

// paper is one predicate of an image, and whose.
type paper struct {
	by, kind  string
	predicate []byte
}

// papersOf are all that a policy with every requirement wants of an image, in realistic sizes: 400 packages under 40 licences, and 200 findings.
func papersOf(image v1.Hash) ([]paper, error) {
	consent, err := predicate.NewApproval("production", made(), "looked at by hand", "CHG-4711")
	if err != nil {
		return nil, err
	}
	moved, err := predicate.NewPromotion(predicate.Stage{Repository: "registry.example.com/staging/api", Environment: "staging"},
		predicate.Stage{Repository: repository, Environment: "production"}, made(), nil)
	if err != nil {
		return nil, err
	}
	return []paper{
		{"scanner", predicate.TypeSPDX, spdx(400, 0)}, {"scanner", predicate.TypeCosignVuln, scan(200)}, {"security", predicate.TypeOpenVEX, vex(image)},
		{"ci", predicate.TypeProvenance1, provenance()}, {"ci", predicate.TypeTestResult, []byte(testResult)}, {"lead", predicate.TypeApproval, consent},
		{"promoter", predicate.TypePromotion, moved}, {"ci", reviewType, []byte(review)},
	}, nil
}

// authorities are those that the policy knows.
func authorities() []string {
	return []string{"release", "scanner", "ci", "security", "lead", "promoter"}
}

// everything is a policy with every requirement, none of which is met in the shortest way: limits are exceeded but for VEX and exceptions, licences
// need exceptions, and rules loop.
func everything(keys map[string]signer) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: production, namespace: %s}
spec:
  images: {include: ["registry.example.com/payments/**"]}
  references: {tags: Allow, deny: [latest]}
  authorities:
`, namespace)
	for _, name := range authorities() {
		fmt.Fprintf(&b, "  - {name: %s, key: {data: %q}}\n", name, keys[name].pem())
	}
	fmt.Fprintf(&b, `  require:
    signature: {by: [release]}
    sbom:
      by: [scanner]
      formats: [SPDX, CycloneDX]
      minPackages: 100
      maxAge: 168h
      licenses:
        deny: ["GPL-*", "AGPL-*", "SSPL-*"]
        unknown: Warn
        exceptions: [{package: "package-2*", license: LicenseRef-GAP, reason: "build time only", expires: "2027-01-31"}]
    vulnerabilities:
      by: [scanner]
      maxAge: 168h
      max: {critical: 0, high: 0, medium: 50}
      warn: {low: 500}
      scanners: [trivy, grype]
      maxDatabaseAge: 120h
      exceptions:
      - {id: %s, reason: "mitigated by WAF rule 7", expires: "2027-01-31"}
      - {id: %s, reason: "mitigated by WAF rule 8", expires: "2027-01-31"}
      - {id: %s, reason: "mitigated by WAF rule 9", expires: "2027-01-31"}
      vex: {by: [security]}
    secrets: {by: [scanner], maxAge: 168h}
    provenance:
      by: [ci]
      builders: [%q]
      sources: ["git+https://github.com/acme/app"]
      refs: ["refs/heads/main"]
    tests: [{name: smoke, by: [ci]}]
    approvals: {by: [lead], environment: production, maxAge: 720h}
    promotion: {by: [promoter], to: production}
    custom:
    - predicateType: %q
      by: [ci]
      rules:
      - {cel: "predicate.approved == true", message: "not reviewed"}
      - {cel: "predicate.findings.all(f, f.severity == 'low')", message: "the review found something"}
      - {cel: "image.repository.startsWith('payments/')", message: "of another team"}
`, finding(0), finding(criticals+2), finding(criticals+3), workflow, reviewType)
	return b.String()
}
