package documents_test

import (
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/test/demo/documents"
)

// TestEachDocumentIsReadAsItIsMeant: what nobody can read would be refused for that, and not for what it is to show.
func TestEachDocumentIsReadAsItIsMeant(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	const image = "registry.example.com/shop/api@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	for kind, c := range map[string]struct {
		text []byte
		is   func(predicate.Facts) bool
	}{
		documents.TypeSPDX: {documents.SPDX(image, at, documents.Package{Name: "zlib", Version: "1.2", License: "MIT"}, documents.Package{Name: "bash", Version: "5"}),
			func(f predicate.Facts) bool { s, ok := f.(*predicate.SBOM); return ok && s.Time().Equal(at) }},
		documents.TypeScan: {documents.Scan(image, at, documents.Finding{ID: "CVE-2026-1", Severity: "HIGH", Package: "zlib", Version: "1.2", Fixed: "1.3"}),
			func(f predicate.Facts) bool {
				s, ok := f.(*predicate.Scan)
				if !ok || s.Len() != 1 || !s.SoughtSecrets() || len(s.Secrets()) != 0 || !s.Time().Equal(at) {
					return false
				}
				v := s.Finding(0)
				return v.ID == "CVE-2026-1" && v.Severity == predicate.SeverityHigh && v.Fixed == "1.3"
			}},
		documents.TypeProvenance: {documents.Provenance("acme/app", "release.yaml", "refs/heads/main"), func(f predicate.Facts) bool {
			p, ok := f.(*predicate.Provenance)
			return ok && p.KnownBuildType() && p.Builder() == "https://github.com/acme/app/.github/workflows/release.yaml@refs/heads/main" &&
				len(p.Sources()) == 1 && p.Sources()[0] == "git+https://github.com/acme/app"
		}},
		documents.TypeTestResult: {documents.TestResult(false, "smoke", "load"), func(f predicate.Facts) bool {
			r, ok := f.(*predicate.TestResult)
			return ok && r.Result() == predicate.ResultFailed && r.Mentions("smoke") == predicate.MentionFailed && r.Mentions("load") == predicate.MentionPassed
		}},
		documents.TypeVEX: {documents.VEX(image, at, "CVE-2026-1"), func(f predicate.Facts) bool { v, ok := f.(*predicate.VEX); return ok && v.Names() == 1 }},
	} {
		if facts, err := predicate.Read(kind, c.text); err != nil || !c.is(facts) {
			t.Errorf("%s is read as %+v, %v", kind, facts, err)
		}
	}
}
