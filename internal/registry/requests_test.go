package registry

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// The serial depth is how many round trips an admission waits for one after another, which with a distant registry is
// all that its time is made of. Issue 1 asks for at most 2 with a legacy signature, 3 with a bundle and 4 with a
// bundle under the fallback tag, by digest, in a repository that is known; one more by tag.
func TestSerialDepthOfOneSignature(t *testing.T) { // not parallel: it measures time
	const delay = 60 * time.Millisecond
	k := papers.NewKey(t, papers.P256)
	for _, tc := range []struct {
		name  string
		api   bool
		sign  func(*testing.T, name.Digest, papers.Option)
		place verify.Place
		want  int
	}{
		{"legacy", true, func(t *testing.T, d name.Digest, o papers.Option) { papers.SignLegacy(t, d, k, o) }, verify.PlaceSignatures, 2},
		{"bundle", true, func(t *testing.T, d name.Digest, o papers.Option) { papers.SignBundle(t, d, k, o) }, verify.PlaceReferrers, 3},
		{"fallback tag", false, func(t *testing.T, d name.Digest, o papers.Option) { papers.SignBundle(t, d, k, o) }, verify.PlaceFallbackTag, 3},
	} {
		for _, byTag := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, by tag %v", tc.name, byTag), func(t *testing.T) {
				reg := evilregistry.New(t, evilregistry.WithReferrersAPI(tc.api), evilregistry.WithTokenAuth(map[string]string{"u": "p"}, "app"))
				image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
				tc.sign(t, image, papers.Via(reg.Options()...))
				a := testClient(t, Options{}, reg).With(credentialsFor(t, reg.Host(), "u", "p"))
				known := reg.Push(t, "app:other", evilregistry.RandomImage(2)) // the repository is known by another image
				list(t, a, known)
				reg.Reset()
				reg.SetDelay(delay)

				want := tc.want
				if byTag {
					want++
					resolved, err := a.Resolve(within(t, admission), tag(t, reg, "app:v1"))
					if err != nil || resolved.DigestStr() != image.DigestStr() {
						t.Fatalf("resolved to %v, %v", resolved, err)
					}
				}
				p := one(t, list(t, a, image), tc.place)
				fetchAll(t, a, image, []verify.Paper{p})
				if got := reg.SerialDepth(); got != want {
					for _, r := range reg.Requests() {
						t.Logf("%s %s %s", r.Kind, r.Path, r.Start.Format("05.000"))
					}
					t.Errorf("serial depth %d, want %d", got, want)
				}
				if n := reg.Count(evilregistry.Login); n != 0 {
					t.Errorf("%d requests to log in to a repository that is known", n)
				}
				if limit := 5 + want - 1; reg.Count(0) > limit {
					t.Errorf("%d requests in all, want at most %d", reg.Count(0), limit)
				}
			})
		}
	}
}
