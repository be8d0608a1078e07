package papers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// said is what a paper says of itself.
type said struct {
	at          time.Time // zero: nothing
	about       []v1.Hash
	environment string // empty: production
	repository  string // where the image runs, host/path
	policy      string // the digest of the policy that it was judged by
}

func (s said) where() string {
	if s.environment == "" {
		return "production"
	}
	return s.environment
}

// document reads a document that pkg/predicate has from a tool, and makes it of a time.
func document(t testing.TB, name string, at time.Time) string {
	t.Helper()
	return dated(t, timeless(t, name), at)
}

// times are the members that say when a tool made a document, with the comma behind them.
var times = regexp.MustCompile(`"(?:created|CreatedAt|scanStartedOn|scanFinishedOn)": ?"[^"]*"\s*,?`)

// dated writes all times of a document anew; the zero time takes them out.
func dated(t testing.TB, text string, at time.Time) string {
	t.Helper()
	if !times.MatchString(text) {
		t.Fatal("the document has no time")
	}
	text = times.ReplaceAllStringFunc(text, func(member string) string {
		if at.IsZero() {
			return ""
		}
		name, _, _ := strings.Cut(member, ":")
		end := ""
		if strings.HasSuffix(member, ",") {
			end = ","
		}
		return name + `:"` + at.UTC().Format(time.RFC3339) + `"` + end
	})
	return regexp.MustCompile(`,(\s*})`).ReplaceAllString(text, "$1")
}

// replaced replaces a text that must be there.
func replaced(t testing.TB, text, from, to string) string {
	t.Helper()
	if !strings.Contains(text, from) {
		t.Fatalf("%s isn't in the document", from)
	}
	return strings.ReplaceAll(text, from, to)
}

func goodSBOM(t testing.TB, s said) string { return document(t, "sbom/syft-spdx-2.3.json", s.at) }

func shortSBOM(t testing.TB, s said) string { return document(t, "sbom/github-spdx-2.3.json", s.at) }

func deniedSBOM(t testing.TB, s said) string {
	return replaced(t, goodSBOM(t, s), `"licenseDeclared":"Zlib"`, `"licenseDeclared":"Zlib AND AGPL-3.0-only"`)
}

func cleanScan(t testing.TB, s said) string {
	return document(t, "scan/cosign-vuln-trivy-clean.json", s.at)
}

func criticalScan(t testing.TB, s said) string {
	return document(t, "scan/cosign-vuln-trivy.json", s.at)
}

func secretScan(t testing.TB, s said) string {
	return document(t, "scan/cosign-vuln-trivy-secrets-sought.json", s.at)
}

// openVEX says of both critical findings of criticalScan what a status is, for the digests that it is about.
func openVEX(s said, status string) string {
	var products []string
	for _, h := range s.about {
		products = append(products, fmt.Sprintf(`{"@id": "pkg:oci/api@sha256%%3A%s?repository_url=registry.example.com%%2Fpayments"}`, h.Hex))
	}
	statement := func(id string) string {
		return fmt.Sprintf(`{"vulnerability": {"name": %q}, "products": [%s], %s}`, id, strings.Join(products, ", "), status)
	}
	stamp := ""
	if !s.at.IsZero() {
		stamp = fmt.Sprintf(`"timestamp": %q, `, s.at.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf(`{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://acme.example/vex/1", "author": "security@acme.example", %s"version": 1,
		"statements": [%s, %s]}`, stamp, statement("CVE-2026-1111"), statement("CVE-2026-2222"))
}

func notAffected(_ testing.TB, s said) string {
	return openVEX(s, `"status": "not_affected", "justification": "vulnerable_code_not_in_execute_path"`)
}

func affected(_ testing.TB, s said) string {
	return openVEX(s, `"status": "affected", "action_statement": "update"`)
}

func built(t testing.TB, _ said) string { return timeless(t, "provenance/github-attest.v1.json") }

func builtElsewhere(t testing.TB, s said) string {
	return replaced(t, built(t, s), `"repository": "https://github.com/acme/app"`, `"repository": "https://github.com/mallory/app"`)
}

func tested(_ testing.TB, s said) string {
	return testResult("PASSED", `"passedTests": ["smoke", "migrations"]`)
}

func failed(_ testing.TB, s said) string {
	return testResult("FAILED", `"passedTests": ["migrations"], "failedTests": ["smoke"]`)
}

func testResult(result, tests string) string {
	return fmt.Sprintf(`{"result": %q, "configuration": [{"name": ".github/workflows/ci.yaml", "digest": {"gitBlob": "ebe4add40f63c3c98bc9b32ff1e736f04120b023"}}],
		"url": "https://github.com/acme/app/actions/runs/4711", %s}`, result, tests)
}

func approval(t testing.TB, s said) string {
	t.Helper()
	if s.at.IsZero() { // which nobody can make with NewApproval
		return fmt.Sprintf(`{"environment": %q}`, s.where())
	}
	text, err := predicate.NewApproval(s.where(), s.at, "looked at by hand", "CHG-4711")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func promotion(t testing.TB, s said) string {
	t.Helper()
	text, err := predicate.NewPromotion(predicate.Stage{Repository: "registry.example.com/staging/api", Environment: "staging"},
		predicate.Stage{Repository: s.repository, Environment: s.where()}, s.at, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func summary(t testing.TB, s said, passed bool) string {
	t.Helper()
	fields := predicate.SummaryFields{
		Verifier: "https://acme.example/promoter", Verified: s.at, Resource: s.repository + "@" + s.about[0].String(), PolicyURI: "pratique:payments/production",
		PolicyDigest: s.policy, Passed: passed, Levels: []string{"SLSA_BUILD_LEVEL_2"},
	}
	if !passed {
		fields.Levels = nil
	}
	if s.at.IsZero() {
		fields.Verified = time.Unix(0, 0)
	}
	text, err := predicate.NewSummary(fields)
	if err != nil {
		t.Fatal(err)
	}
	if s.at.IsZero() {
		return replaced(t, string(text), `"timeVerified":"1970-01-01T00:00:00Z",`, "")
	}
	return string(text)
}

func passedVSA(t testing.TB, s said) string { return summary(t, s, true) }

func failedVSA(t testing.TB, s said) string { return summary(t, s, false) }

func reviewed(testing.TB, said) string {
	return `{"approved": true, "reviewer": "lead@acme.example", "findings": []}`
}

func rejected(testing.TB, said) string {
	return `{"approved": false, "reviewer": "lead@acme.example", "findings": ["a backdoor"]}`
}

func broken(testing.TB, said) string { return `{"nothing": "of it"}` }

func twofold(testing.TB, said) string { return `{"approved": true, "approved": false}` }

func empty(testing.TB, said) string { return `{}` }

// timeless is a document as it is: one that has no time, or keeps its own.
func timeless(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "pkg", "predicate", "testdata", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
