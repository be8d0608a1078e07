// Package documents writes what tools say about an image, in the shape in which they say it: the predicates that the demo and the tests of
// the examples sign. Each is as small as the tool would make it for an image with next to nothing in it.
package documents

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// The types of the predicates that are written here, by their URIs.
const (
	TypeSPDX       = "https://spdx.dev/Document"
	TypeScan       = "https://cosign.sigstore.dev/attestation/vuln/v1"
	TypeProvenance = "https://slsa.dev/provenance/v1"
	TypeTestResult = "https://in-toto.io/attestation/test-result/v0.1"
	TypeVEX        = "https://openvex.dev/ns/v0.2.0"
)

// Package is a package that an SBOM names. License is an SPDX expression; empty is one that isn't known.
type Package struct{ Name, Version, License string }

// SPDX is a bill of materials as `syft IMAGE -o spdx-json` writes it: SPDX 2.3, made at a time.
func SPDX(image string, at time.Time, packages ...Package) []byte {
	listed := []any{map[string]any{
		"SPDXID": "SPDXRef-DocumentRoot-Image", "name": image, "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
		"licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "primaryPackagePurpose": "CONTAINER",
	}}
	for _, p := range packages {
		declared := p.License
		if declared == "" {
			declared = "NOASSERTION"
		}
		listed = append(listed, map[string]any{
			"SPDXID": "SPDXRef-Package-apk-" + p.Name, "name": p.Name, "versionInfo": p.Version, "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
			"licenseConcluded": "NOASSERTION", "licenseDeclared": declared,
			"externalRefs": []any{map[string]any{
				"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl(p.Name, p.Version),
			}},
		})
	}
	return text(map[string]any{
		"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": image,
		"documentNamespace": "https://anchore.com/syft/image/" + image,
		"creationInfo":      map[string]any{"created": stamp(at), "creators": []string{"Organization: Anchore, Inc", "Tool: syft-1.55.0"}},
		"packages":          listed,
	})
}

// Finding is a vulnerability that a scan found. Severity is a word such as CRITICAL; Fixed is the version that mends it, empty for none.
type Finding struct{ ID, Severity, Package, Version, Fixed string }

// Scan is a scan as `trivy image --scanners vuln,secret --format cosign-vuln IMAGE` writes it, with the parameters that say what was looked for. It
// ended at a time, and found no secret.
func Scan(image string, at time.Time, findings ...Finding) []byte {
	listed := make([]any, 0, len(findings))
	for _, f := range findings {
		found := map[string]any{
			"VulnerabilityID": f.ID, "PkgName": f.Package, "InstalledVersion": f.Version, "Severity": f.Severity, "Status": "affected",
			"PkgIdentifier": map[string]any{"PURL": purl(f.Package, f.Version)},
		}
		if f.Fixed != "" {
			found["FixedVersion"], found["Status"] = f.Fixed, "fixed"
		}
		listed = append(listed, found)
	}
	result := map[string]any{"Target": image + " (alpine 3.22.1)", "Class": "os-pkgs", "Type": "alpine"}
	if len(listed) > 0 {
		result["Vulnerabilities"] = listed
	}
	return text(map[string]any{
		"invocation": map[string]any{"parameters": map[string]any{"scanners": "vuln,secret"}, "uri": "", "event_id": "", "builder.id": ""},
		"scanner": map[string]any{
			"uri": "pkg:github/aquasecurity/trivy@0.68.1", "version": "0.68.1", "db": map[string]any{"uri": "", "version": ""},
			"result": map[string]any{
				"SchemaVersion": 2, "CreatedAt": stamp(at), "ArtifactName": image, "ArtifactType": "container_image", "Results": []any{result},
			},
		},
		"metadata": map[string]any{"scanStartedOn": stamp(at), "scanFinishedOn": stamp(at)},
	})
}

// Provenance is what actions/attest-build-provenance writes of a build of a repository of GitHub, such as acme/app, by a workflow of it, such as
// release.yaml, at a ref: SLSA provenance v1.
func Provenance(repository, workflow, ref string) []byte {
	at := "https://github.com/" + repository
	return text(map[string]any{
		"buildDefinition": map[string]any{
			"buildType":            "https://actions.github.io/buildtypes/workflow/v1",
			"externalParameters":   map[string]any{"workflow": map[string]any{"ref": ref, "repository": at, "path": ".github/workflows/" + workflow}},
			"internalParameters":   map[string]any{"github": map[string]any{"event_name": "push", "runner_environment": "github-hosted"}},
			"resolvedDependencies": []any{map[string]any{"uri": "git+" + at + "@" + ref, "digest": map[string]any{"gitCommit": strings.Repeat("3f78", 10)}}},
		},
		"runDetails": map[string]any{
			"builder":  map[string]any{"id": at + "/.github/workflows/" + workflow + "@" + ref},
			"metadata": map[string]any{"invocationId": at + "/actions/runs/4711/attempts/1"},
		},
	})
}

// TestResult is an in-toto test result of a run of tests, which passed, or of which the first failed.
func TestResult(passed bool, tests ...string) []byte {
	result := map[string]any{"result": "PASSED", "configuration": []any{map[string]any{"name": "tests.yaml"}}, "passedTests": tests}
	if !passed {
		result["result"], result["passedTests"], result["failedTests"] = "FAILED", tests[1:], tests[:1]
	}
	return text(result)
}

// VEX is an OpenVEX document of one statement, as vexctl writes it: a vulnerability doesn't affect an image, HOST/PATH@DIGEST.
func VEX(image string, at time.Time, id string) []byte {
	repository, digest, _ := strings.Cut(image, "@")
	product := fmt.Sprintf("pkg:oci/%s@%s?repository_url=%s", repository[strings.LastIndexByte(repository, '/')+1:], url.QueryEscape(digest), url.QueryEscape(repository))
	return text(map[string]any{
		"@context": TypeVEX, "@id": "https://acme.example/vex/" + id, "author": "security@acme.example", "timestamp": stamp(at), "version": 1,
		"statements": []any{map[string]any{
			"vulnerability": map[string]any{"name": id}, "products": []any{map[string]any{"@id": product}},
			"status": "not_affected", "justification": "vulnerable_code_not_in_execute_path",
		}},
	})
}

func purl(name, version string) string { return fmt.Sprintf("pkg:apk/alpine/%s@%s", name, version) }

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// text is JSON. What is written here is maps, lists and texts, which always can be.
func text(value any) []byte {
	out, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return out
}
