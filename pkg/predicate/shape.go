package predicate

import (
	"errors"
	"fmt"
	"slices"
)

// The predicates that are often attested under another's type, as messages call them.
const (
	shapeTrivy     = "trivy's own JSON"
	shapeGrype     = "grype's own JSON"
	shapeSPDX      = "SPDX"
	shapeCycloneDX = "CycloneDX"
)

// mistaken returns the error of a reader that could read nothing, or, where the document is a known one of another kind, one that says of which
// and what to do. cures has what to do by the shape. It is a hint to people and decides nothing: what comes in is an error, and so is what goes out.
func mistaken(text []byte, err error, cures map[string]string) error {
	shape := shapeOf(text)
	if cure := cures[shape]; cure != "" {
		return fmt.Errorf("this is %s: %s", shape, cure)
	}
	return err
}

// shapeOf tells by the names at the top of a document what it is; empty where they fit none or several, and for broken JSON.
func shapeOf(text []byte) string {
	marks := []string{"SchemaVersion", "Results", "ArtifactName", "matches", "descriptor", "spdxVersion", "@graph", "bomFormat"}
	there := map[string]bool{}
	err := read(text, func(s *scanner) error {
		return s.members(func(name string) (func() error, error) {
			if slices.Contains(marks, name) {
				there[name] = true
			}
			return nil, nil
		})
	})
	if err != nil {
		return ""
	}
	var shapes []string
	for _, one := range []struct {
		shape string
		is    bool
	}{
		{shapeTrivy, there["SchemaVersion"] && (there["Results"] || there["ArtifactName"])},
		{shapeGrype, there["matches"] && there["descriptor"]},
		{shapeSPDX, there["spdxVersion"] || there["@graph"]},
		{shapeCycloneDX, there["bomFormat"]},
	} {
		if one.is {
			shapes = append(shapes, one.shape)
		}
	}
	if len(shapes) != 1 {
		return ""
	}
	return shapes[0]
}

// notCosignVuln words the error of a document without a scanner.
func notCosignVuln(text []byte, err error) error {
	if err == nil {
		err = errors.New("scanner: absent: nothing says what was found")
	}
	return mistaken(text, err, map[string]string{
		shapeTrivy:     "scan with --format cosign-vuln",
		shapeGrype:     "put it into scanner.result of cosign's vuln predicate (docs/papers.md)",
		shapeSPDX:      "an SBOM, and no scan; attest it with --type spdxjson",
		shapeCycloneDX: "an SBOM, and no scan; attest it with --type cyclonedx",
	})
}

// notSPDX words the error of a document that isn't one of SPDX.
func notSPDX(text []byte, err error) error {
	return mistaken(text, err, map[string]string{shapeCycloneDX: "attest it with --type cyclonedx"})
}

// notCycloneDX words the error of a document that isn't one of CycloneDX.
func notCycloneDX(text []byte, err error) error {
	return mistaken(text, err, map[string]string{shapeSPDX: "attest it with --type spdxjson"})
}
