package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

func TestListFindsPapersInEveryPlace(t *testing.T) {
	t.Parallel()
	for name, api := range map[string]bool{"with the referrers API": true, "with the fallback tag": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t, evilregistry.WithReferrersAPI(api))
			image := signed(t, reg, "team/app:v1")
			a := testClient(t, Options{}, reg).With(Credentials{})
			l := list(t, a, image)
			if len(l.Unanswered) != 0 {
				t.Fatalf("unanswered: %v", l.Unanswered)
			}
			at := verify.PlaceReferrers
			if !api {
				at = verify.PlaceFallbackTag
			}
			for place, kind := range map[verify.Place]verify.Kind{
				verify.PlaceSignatures: verify.LegacySignature, verify.PlaceAttestation: verify.LegacyAttestation, at: verify.Referrer,
			} {
				got := papersAt(l, place)
				if len(got) != 1 || got[0].Kind != kind {
					t.Errorf("%s: %+v, want one of kind %d", place, got, kind)
				}
			}
			for _, c := range fetchAll(t, a, image, l.Papers) {
				if !json.Valid(c.Payload) {
					t.Errorf("%s: the payload is no JSON: %.60s", c.Paper.Place, c.Payload)
				}
				if c.Paper.Kind == verify.LegacySignature && c.Paper.Annotations["dev.cosignproject.cosign/signature"] == "" {
					t.Error("a legacy signature without its signature")
				}
				if c.Paper.Kind == verify.Referrer && !strings.Contains(c.Paper.MediaType, "sigstore.bundle") {
					t.Errorf("a bundle of media type %q", c.Paper.MediaType)
				}
			}
		})
	}
}

func TestListOfAnImageWithoutPapers(t *testing.T) {
	t.Parallel()
	for name, api := range map[string]bool{"with the referrers API": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t, evilregistry.WithReferrersAPI(api))
			image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
			l := list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
			if len(l.Papers) != 0 || len(l.Unanswered) != 0 {
				t.Fatalf("got %+v, want nothing, from places that all answered", l)
			}
		})
	}
}

func TestListOfAnImageThatIsNotThere(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Repo("app").Digest(someHash)
	_, err := testClient(t, Options{}, reg).With(Credentials{}).List(within(t, admission), image, nil)
	if fe := wantKind(t, err, verify.NotFound); fe.Place != verify.PlaceManifest || !fe.Answer() {
		t.Errorf("got %+v", fe)
	}
}

// Two signatures over one image have the same payload, and so the same digest.
func TestListKeepsSignaturesOfTwoKeysApart(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	via := papers.Via(reg.Options()...)
	papers.SignLegacy(t, image, papers.NewKey(t, papers.P256), via)
	papers.SignLegacy(t, image, papers.NewKey(t, papers.P256), via)
	got := papersAt(list(t, testClient(t, Options{}, reg).With(Credentials{}), image), verify.PlaceSignatures)
	if len(got) != 2 || got[0].Digest != got[1].Digest {
		t.Fatalf("got %+v, want two papers of one digest", got)
	}
}

func TestUnionCountsAReferrerOnce(t *testing.T) {
	t.Parallel()
	digest := hashOf([]byte("x"))
	paper := func(place verify.Place, artifactType string, annotations map[string]string, size int64) verify.Paper {
		return verify.Paper{Kind: verify.Referrer, Place: place, Digest: digest, Size: size, ArtifactType: artifactType, Annotations: annotations}
	}
	same := union([][]verify.Paper{
		{paper(verify.PlaceReferrers, "a", map[string]string{"k": "v"}, 5)},
		{paper(verify.PlaceFallbackTag, "a", map[string]string{"k": "v"}, 5)},
	})
	if len(same) != 1 || same[0].Place != verify.PlaceReferrers || same[0].ArtifactType != "a" || same[0].Annotations["k"] != "v" || same[0].Size != 5 {
		t.Errorf("got %+v", same)
	}
	differing := union([][]verify.Paper{
		{paper(verify.PlaceReferrers, "a", map[string]string{"k": "v"}, 5)},
		{paper(verify.PlaceFallbackTag, "b", map[string]string{"k": "w"}, 6)},
	})
	if len(differing) != 1 || differing[0].ArtifactType != "" || differing[0].Annotations != nil || differing[0].Size != 0 {
		t.Errorf("hints that disagree were kept: %+v", differing)
	}
	legacy := verify.Paper{Kind: verify.LegacySignature, Digest: digest, Annotations: map[string]string{"s": "1"}}
	other := legacy
	other.Annotations = map[string]string{"s": "2"}
	if got := union([][]verify.Paper{{legacy, other, legacy}}); len(got) != 2 {
		t.Errorf("%d papers, want 2: one for each signature", len(got))
	}
}

func TestAReferrerThatTwoPlacesDescribeDifferentlyIsFetched(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t) // ggcr's list says the config's type for the artifact's, and has no annotations
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	papers.SignBundle(t, image, papers.NewKey(t, papers.P256), papers.Via(reg.Options()...), papers.FallbackTag())
	a := testClient(t, Options{}, reg).With(Credentials{})
	l := list(t, a, image)
	if len(l.Papers) != 1 {
		t.Fatalf("got %+v, want one paper", l.Papers)
	}
	fetchAll(t, a, image, l.Papers)
}

func TestAPlaceThatFailsIsNamedAndTheOthersAreRead(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		place verify.Place
		match evilregistry.Match
		fault evilregistry.Fault
		want  verify.FetchKind
	}{
		{"signatures answer 503", verify.PlaceSignatures, evilregistry.Match{Ref: "*.sig"}, evilregistry.Status(503, nil, ""), verify.Unavailable},
		{"attestations answer 403", verify.PlaceAttestation, evilregistry.Match{Ref: "*.att"}, evilregistry.Status(403, nil, ""), verify.Unauthorized},
		{"referrers answer 500", verify.PlaceReferrers, evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.Status(500, nil, ""), verify.Unavailable},
		{"referrers answer 401", verify.PlaceReferrers, evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.Status(401, nil, ""), verify.Unauthorized},
		{"referrers answer 429", verify.PlaceReferrers, evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.RetryAfter(time.Hour), verify.Unavailable},
		{"the fallback tag is cut short", verify.PlaceFallbackTag, evilregistry.Match{Kind: evilregistry.ManifestByTag, Ref: "sha256-*[0-9a-f]"}, evilregistry.CloseConnection(), verify.Unavailable},
		{"referrers are no JSON", verify.PlaceReferrers, evilregistry.Match{Kind: evilregistry.Referrers},
			evilregistry.Status(200, http.Header{"Content-Type": {ociIndex}}, "{"), verify.Malformed},
		{"signatures are ambiguous", verify.PlaceSignatures, evilregistry.Match{Ref: "*.sig"}, evilregistry.ManifestAndIndex(), verify.Malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t)
			image := signed(t, reg, "app:v1")
			if tc.place == verify.PlaceFallbackTag {
				tc.match = evilregistry.Match{Kind: evilregistry.ManifestByTag, If: func(r *http.Request) bool {
					return strings.HasSuffix(r.URL.Path, strings.Replace(image.DigestStr(), ":", "-", 1))
				}}
			}
			rule := reg.On(tc.match, tc.fault)
			l := list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
			if rule.Hits() == 0 {
				t.Fatal("the fault was not met")
			}
			if e := unanswered(l, tc.place); e == nil || e.Kind != tc.want || len(l.Unanswered) != 1 {
				t.Fatalf("unanswered: %v, want %s: %s", l.Unanswered, tc.place, tc.want)
			}
			if tc.want == verify.Unavailable && unanswered(l, tc.place).Answer() {
				t.Error("an outage counts as an answer")
			}
			found := map[verify.Place]bool{}
			for _, p := range l.Papers {
				found[p.Place] = true
			}
			for _, place := range []verify.Place{verify.PlaceSignatures, verify.PlaceAttestation, verify.PlaceReferrers} {
				if found[place] != (place != tc.place) {
					t.Errorf("%s found: %v", place, found[place])
				}
			}
		})
	}
}

func TestRegistriesWithoutTheReferrersAPIHaveAnswered(t *testing.T) {
	t.Parallel()
	elsewhere := func(location string) evilregistry.Fault { return evilregistry.Redirect(location, 303) }
	for name, fault := range map[string]evilregistry.Fault{
		"404": evilregistry.Status(404, nil, ""),
		"400": evilregistry.Status(400, nil, ""),
		"405": evilregistry.Status(405, nil, ""),
		"406": evilregistry.Status(406, nil, ""),
		"a page for people": evilregistry.Status(200, http.Header{"Content-Type": {"text/html; charset=utf-8"}},
			"<html>sign in</html>"),
		"a redirect to a page for people, as ghcr.io": elsewhere("https://github.example/-/v2/packages/container/package/app%2Freferrers%2Fsha256"),
		"a redirect to a login, as registry.k8s.io":   elsewhere("https://accounts.example/v3/signin"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t)
			image := signed(t, reg, "app:v1")
			rule := reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, fault)
			l := list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
			if rule.Hits() != 1 {
				t.Errorf("asked %d times, want once", rule.Hits())
			}
			if len(l.Unanswered) != 0 {
				t.Errorf("unanswered: %v", l.Unanswered)
			}
			if got := papersAt(l, verify.PlaceReferrers); len(got) != 0 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestWhatLiesUnderTheFallbackTagByChance(t *testing.T) {
	t.Parallel()
	fallbackTag := func(d string) string { return strings.Replace(d, ":", "-", 1) }
	t.Run("an image is somebody's tag", func(t *testing.T) {
		t.Parallel()
		reg := evilregistry.New(t, evilregistry.WithReferrersAPI(false))
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		reg.Push(t, "app:"+fallbackTag(image.DigestStr()), evilregistry.RandomImage(2))
		l := list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
		if len(l.Papers) != 0 || len(l.Unanswered) != 0 {
			t.Errorf("got %+v", l)
		}
	})
	t.Run("the image itself, as registry.gitlab.com gives", func(t *testing.T) {
		t.Parallel()
		reg := evilregistry.New(t, evilregistry.WithReferrersAPI(false))
		image := reg.Push(t, "app:v1", evilregistry.RandomIndex(1))
		reg.Push(t, "app:"+fallbackTag(image.DigestStr()), evilregistry.RandomIndex(1))
		l := list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
		if len(l.Papers) != 0 || len(l.Unanswered) != 0 {
			t.Errorf("an index's children were taken for its papers: %+v", l)
		}
	})
	t.Run("no manifest at all", func(t *testing.T) {
		t.Parallel()
		reg := evilregistry.New(t, evilregistry.WithReferrersAPI(false))
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		reg.Plant(t, "app", ociIndex, []byte("nonsense"), fallbackTag(image.DigestStr()))
		l := list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
		if e := unanswered(l, verify.PlaceFallbackTag); e == nil || e.Kind != verify.Malformed {
			t.Errorf("unanswered: %v", l.Unanswered)
		}
	})
}

func TestRow46_ReferrersAreReadFromAPIAndFallbackTag(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	papers.SignBundle(t, image, papers.NewKey(t, papers.P256), papers.Via(reg.Options()...), papers.FallbackTag())
	reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.EmptyReferrers())
	l := list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
	if len(papersAt(l, verify.PlaceFallbackTag)) != 1 || len(l.Unanswered) != 0 {
		t.Fatalf("got %+v, want the bundle under the fallback tag, for the API hides it", l)
	}
}

func TestRow46_OneGoodPaperAmongJunkIsListed(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		reg := evilregistry.New(t)
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		good := papers.SignBundle(t, image, papers.NewKey(t, papers.P256), papers.Via(reg.Options()...))
		reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.Stack(
			evilregistry.ReferrersPages(9), evilregistry.ReferrersCount(64, evilregistry.Junk{Seed: seed})))
		l := list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
		if len(l.Papers) != 64 {
			t.Fatalf("%d papers over several pages, want 64", len(l.Papers))
		}
		if !slices.ContainsFunc(l.Papers, func(p verify.Paper) bool { return p.Digest.String() == good.Manifest.DigestStr() }) {
			t.Fatal("the good one is not among them")
		}
	}
}

func TestRow46_MorePapersThanTheBoundAreRefusedInBoundedTime(t *testing.T) {
	t.Parallel()
	count := func(n int) evilregistry.Fault { return evilregistry.ReferrersCount(n, evilregistry.Junk{}) }
	for _, tc := range []struct {
		name  string
		fault evilregistry.Fault
		want  verify.FetchKind // of List; Unavailable here: List succeeds
	}{
		{"the bound itself is taken", count(verify.MaxListed), verify.Unavailable},
		{"one more", count(verify.MaxListed + 1), verify.TooMany},
		{"10,000 on one page", count(10_000), verify.TooMany},
		{"1,500 on many pages", evilregistry.Stack(evilregistry.ReferrersPages(100), count(1500)), verify.TooMany},
		{"pages without end", evilregistry.Func(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", ociIndex)
			w.Header().Set("Link", fmt.Sprintf(`<%s?n=%sx>; rel="next"`, r.URL.Path, r.URL.Query().Get("n")))
			fmt.Fprint(w, `{"schemaVersion":2,"manifests":[]}`)
		}), verify.TooMany},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t)
			image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
			reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, tc.fault)
			l, err := testClient(t, Options{}, reg).With(Credentials{}).List(within(t, admission), image, nil)
			if tc.want == verify.Unavailable {
				if err != nil || len(l.Papers) != verify.MaxListed {
					t.Fatalf("got %d papers and %v", len(l.Papers), err)
				}
				return
			}
			wantKind(t, err, tc.want)
			if n := reg.Count(evilregistry.Referrers); n > maxPages {
				t.Errorf("%d pages were read", n)
			}
		})
	}
}

func TestRow49_TooManySignaturesInOneManifest(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	layers := make([]string, verify.MaxListed+1)
	for i := range layers {
		layers[i] = strings.Replace(someLayer, someHash, hashOf([]byte{byte(i), byte(i >> 8)}).String(), 1)
	}
	body := `{"schemaVersion":2,"config":` + someConfig + `,"layers":[` + strings.Join(layers, ",") + `]}`
	reg.Plant(t, "app", ociManifest, []byte(body), strings.Replace(image.DigestStr(), ":", "-", 1)+".sig")
	_, err := testClient(t, Options{}, reg).With(Credentials{}).List(within(t, admission), image, nil)
	wantKind(t, err, verify.TooMany)
}

func TestTheBoundOnPapersCountsOverAllPlaces(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := signed(t, reg, "app:v1") // two legacy papers beside the referrers
	reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.ReferrersCount(verify.MaxListed-1, evilregistry.Junk{}))
	_, err := testClient(t, Options{}, reg).With(Credentials{}).List(within(t, admission), image, nil)
	wantKind(t, err, verify.TooMany)
}

func TestRow56_TheNextPageIsWhereTheFirstWas(t *testing.T) {
	t.Parallel()
	canary := evilregistry.New(t)
	for name, link := range map[string]string{
		"another host":          `<` + canary.URL() + `/v2/app/referrers/x>; rel="next"`,
		"another repository":    `</v2/other/referrers/DIGEST?last=1>; rel=next`,
		"another image":         `</v2/app/referrers/` + someHash + `?last=1>; rel="next"`,
		"another path":          `</v2/app/blobs/DIGEST>; rel="next"`,
		"a host without scheme": `<//` + canary.Host() + `/v2/app/referrers/DIGEST>; rel="next"`,
		"credentials":           `<http://user:password@HOST/v2/app/referrers/DIGEST?n=1>; rel="next"`,
		"itself":                `<>; rel="next"`,
		"two of them":           `</v2/app/referrers/DIGEST?a=1>; rel="next", </v2/app/referrers/DIGEST?b=1>; rel="next"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t)
			image := signed(t, reg, "app:v1")
			link := strings.NewReplacer("DIGEST", image.DigestStr(), "HOST", reg.Host()).Replace(link)
			reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.Header("Link", link))
			l := list(t, testClient(t, Options{}, reg, canary).With(Credentials{}), image)
			if e := unanswered(l, verify.PlaceReferrers); e == nil || e.Kind != verify.Forbidden && e.Kind != verify.Malformed {
				t.Errorf("unanswered: %v", l.Unanswered)
			}
			if n := reg.Count(evilregistry.Referrers); n != 1 {
				t.Errorf("%d pages were read, want 1", n)
			}
		})
	}
	t.Cleanup(func() {
		if n := canary.Count(0); n != 0 {
			t.Errorf("the other host was asked %d times", n)
		}
	})
}

func TestLinkTargets(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		`</a>; rel="next"`:                    "/a",
		`</a>; rel=next`:                      "/a",
		`</a>;rel="next";title="x"`:           "/a",
		`</a>; title="x"; REL="Next"`:         "/a",
		`</a>; rel="prev", </b>; rel="next"`:  "/b",
		`</a>; rel="prev"`:                    "",
		`</a>`:                                "",
		`/a; rel="next"`:                      "",
		`</a; rel="next"`:                     "",
		`</a>; rel="next", </b>; rel="next"`:  "/a /b",
		``:                                    "",
		`<>; rel="next"`:                      "",
		`<https://h/a?x=1,2;3>; rel = "next"`: "https://h/a?x=1,2;3",
	} {
		if got := strings.Join(linkTargets(header), " "); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
}

func TestListEndsWithTheCallersTime(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := signed(t, reg, "app:v1")
	reg.On(evilregistry.Match{Ref: "*.sig"}, evilregistry.Hang())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	l, err := testClient(t, Options{}, reg).With(Credentials{}).List(ctx, image, nil)
	if err != nil {
		t.Fatal(err)
	}
	if e := unanswered(l, verify.PlaceSignatures); e == nil || e.Kind != verify.Unavailable {
		t.Errorf("unanswered: %v", l.Unanswered)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestAPanicBecomesAnError(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := signed(t, reg, "app:v1")
	reported := make(chan any, 100)
	c := testClient(t, Options{
		OnPanic: func(value any, stack []byte) {
			if len(stack) == 0 {
				value = "no stack"
			}
			reported <- value
		},
		Observe: func(info RequestInfo) {
			if info.Kind == KindReferrers {
				panic("boom\x1b[31m")
			}
		},
	}, reg)
	l := list(t, c.With(Credentials{}), image)
	if e := unanswered(l, verify.PlaceReferrers); e == nil || e.Kind != verify.Unavailable {
		t.Errorf("unanswered: %v", l.Unanswered)
	} else {
		wantKind(t, e, verify.Unavailable)
	}
	if got := <-reported; got != "boom\x1b[31m" {
		t.Errorf("reported: %v", got)
	}
	if _, err := c.With(Credentials{}).Resolve(within(t, admission), tag(t, reg, "app:v1")); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestAPanicDuringALoginBecomesAnError(t *testing.T) {
	t.Parallel()
	for _, kind := range []RequestKind{KindPing, KindToken} {
		reg := evilregistry.New(t, evilregistry.WithTokenAuth(nil, "private"))
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		reg.On(evilregistry.Match{Kind: evilregistry.Login}, evilregistry.CloseConnection()) // observed inside ggcr's goroutine
		var reports atomic.Int64
		c := testClient(t, Options{
			OnPanic: func(any, []byte) { reports.Add(1) },
			Observe: func(info RequestInfo) {
				if info.Kind == kind {
					panic("boom")
				}
			},
		}, reg)
		if kind == KindToken {
			reg.ClearFaults()
			reg.On(evilregistry.Match{Kind: evilregistry.Token}, evilregistry.CloseConnection())
		}
		_, err := c.With(Credentials{}).List(within(t, admission), image, nil)
		wantKind(t, err, verify.Unavailable)
		if reports.Load() == 0 {
			t.Errorf("%s: the panic wasn't reported", kind)
		}
	}
}

func TestWhatListsSayIsBoundedOverAllPagesAndPlaces(t *testing.T) {
	t.Parallel()
	// Pages of 40 referrers with 50 KiB of annotations each: any one page is well below the bound.
	page := func(n int) string {
		var all []string
		for i := range 40 {
			all = append(all, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":1,"annotations":{"k":%q}}`,
				ociManifest, hashOf(fmt.Appendf(nil, "%d of %d", i, n)), strings.Repeat("x", 50<<10)))
		}
		return `{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[` + strings.Join(all, ",") + `]}`
	}
	for pages, refused := range map[int]bool{2: false, 3: true, 10: true} {
		t.Run(fmt.Sprintf("%d pages", pages), func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t)
			image := signed(t, reg, "app:v1")
			rule := reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.Func(func(w http.ResponseWriter, r *http.Request) {
				n, _ := strconv.Atoi(r.URL.Query().Get("n"))
				w.Header().Set("Content-Type", ociIndex)
				if n+1 < pages {
					w.Header().Set("Link", fmt.Sprintf(`<%s?n=%d>; rel="next"`, r.URL.Path, n+1))
				}
				fmt.Fprint(w, page(n))
			}))
			l := list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
			if e := unanswered(l, verify.PlaceReferrers); refused != (e != nil) || e != nil && e.Kind != verify.TooLarge {
				t.Errorf("unanswered: %v", l.Unanswered)
			}
			if rule.Hits() > 3 {
				t.Errorf("%d pages were read", rule.Hits())
			}
			one(t, l, verify.PlaceSignatures)
		})
	}
	t.Run("two places together", func(t *testing.T) {
		t.Parallel()
		reg := evilregistry.New(t)
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		layer := func(what string) string {
			return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[{"digest":%q,"size":1,"annotations":{"k":%q}}]}`,
				ociManifest, someConfig, hashOf([]byte(what)), strings.Repeat("x", 3<<20))
		}
		for _, suffix := range []string{".sig", ".att"} {
			reg.Plant(t, "app", ociManifest, []byte(layer(suffix)), strings.Replace(image.DigestStr(), ":", "-", 1)+suffix)
		}
		_, err := testClient(t, Options{}, reg).With(Credentials{}).List(within(t, admission), image, nil)
		wantKind(t, err, verify.TooLarge)
	})
}
