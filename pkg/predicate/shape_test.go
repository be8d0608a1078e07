package predicate

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWhatIsAttestedUnderAnothersTypeIsCalledByItsName: the error says what to do.
func TestWhatIsAttestedUnderAnothersTypeIsCalledByItsName(t *testing.T) {
	t.Parallel()
	const (
		spdx      = `{"spdxVersion": "SPDX-2.3", "packages": []}`
		cyclonedx = `{"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {}, "components": []}`
		trivy     = `{"SchemaVersion": 2, "ArtifactName": "a", "Metadata": {}, "Results": []}`
		absent    = "scanner: absent: nothing says what was found"
	)
	grype, err := os.ReadFile(filepath.Join("testdata", "scan", "grype.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ kind, text, want string }{
		"trivy's report":                        {TypeCosignVuln, trivy, "this is trivy's own JSON: scan with --format cosign-vuln"},
		"trivy's report of nothing":             {TypeCosignVuln, `{"SchemaVersion": 2, "ArtifactName": "a"}`, "this is trivy's own JSON: scan with --format cosign-vuln"},
		"grype's report":                        {TypeCosignVuln, string(grype), "this is grype's own JSON: put it into scanner.result of cosign's vuln predicate (docs/papers.md)"},
		"SPDX as a scan":                        {TypeCosignVuln, spdx, "this is SPDX: an SBOM, and no scan; attest it with --type spdxjson"},
		"CycloneDX as a scan":                   {TypeCosignVuln, cyclonedx, "this is CycloneDX: an SBOM, and no scan; attest it with --type cyclonedx"},
		"CycloneDX as SPDX":                     {TypeSPDX, cyclonedx, "this is CycloneDX: attest it with --type cyclonedx"},
		"SPDX as CycloneDX":                     {TypeCycloneDX, spdx, "this is SPDX: attest it with --type spdxjson"},
		"SPDX 3 as CycloneDX":                   {TypeCycloneDX, `{"@context": "c", "@graph": []}`, "this is SPDX: attest it with --type spdxjson"},
		"CycloneDX as SPDX, in a string":        {TypeSPDX, `"{\"bomFormat\": \"CycloneDX\"}"`, "this is CycloneDX: attest it with --type cyclonedx"},
		"nothing as a scan":                     {TypeCosignVuln, `{}`, absent},
		"nothing as SPDX":                       {TypeSPDX, `{}`, "no spdxVersion"},
		"nothing as CycloneDX":                  {TypeCycloneDX, `{}`, "no bomFormat"},
		"two shapes":                            {TypeCosignVuln, `{"spdxVersion": "SPDX-2.3", "bomFormat": "CycloneDX"}`, absent},
		"half of grype's":                       {TypeCosignVuln, `{"matches": []}`, absent},
		"a report that breaks off":              {TypeCosignVuln, trivy[:len(trivy)-1], `"Metadata" for "metadata"`},
		"a scan that is wrong in what is in it": {TypeCosignVuln, `{"scanner": {}, "SchemaVersion": 2, "Results": []}`, "scanner.result: absent: nothing says what was found"},
		"SPDX of an unknown version beside it":  {TypeSPDX, `{"spdxVersion": "SPDX-9", "packages": [], "bomFormat": "CycloneDX"}`, `spdxVersion "SPDX-9", want SPDX-2.2 or SPDX-2.3`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Read(tt.kind, []byte(tt.text)); err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}
