package papers_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/distribution"
)

// TestTheTableHoldsOverRealRegistries: each cell again, with the images and papers in a registry on loopback, read as the webhook reads it: ggcr's
// with the referrers API, and the CNCF's, which has none and keeps the fallback tag.
func TestTheTableHoldsOverRealRegistries(t *testing.T) {
	t.Parallel()
	for _, backend := range []struct {
		name     string
		fallback bool
		options  func(testing.TB) []evilregistry.Option
	}{
		{"referrers API", false, func(testing.TB) []evilregistry.Option { return []evilregistry.Option{evilregistry.WithArtifactTypes()} }},
		{"fallback tag", true, func(t testing.TB) []evilregistry.Option {
			return []evilregistry.Option{evilregistry.WithBackend(distribution.New(t))}
		}},
	} {
		t.Run(backend.name, func(t *testing.T) {
			t.Parallel()
			shelves := newServed(t, backend.fallback, backend.options(t)...)
			for y, r := range rows() {
				for x, col := range columns() {
					if col.whyNot(r) != "" {
						continue
					}
					t.Run(r.name+": "+col.name, func(t *testing.T) {
						t.Parallel()
						there := newCell(t, r, col, shelves(fmt.Sprintf("row-%d/column-%d", y, x)))
						col.stage(there)
						got := there.judge()
						check(t, r, col, got)
						here := newCell(t, r, col, newMemory())
						col.stage(here)
						if want := here.judge(); got.Outcome != want.Outcome || got.Reason != want.Reason {
							t.Errorf("%s %s (%s), and in memory %s %s (%s)", got.Outcome, got.Reason, got.Detail, want.Outcome, want.Reason, want.Detail)
						}
						if slices.Contains(undetermined(), col.name) && got.Outcome == policy.Undetermined && there.shelf.requests() == 0 {
							t.Error("nobody asked the registry")
						}
					})
				}
			}
		})
	}
}
