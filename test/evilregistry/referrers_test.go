package evilregistry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/test/evilregistry"
)

func TestReferrersAreListedPagedAndPadded(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	want := map[string]bool{}
	for i := range 7 {
		want[pushReferrer(t, reg, "app", image, i)] = true
	}
	c := client(t)
	read := func(url string) ([]string, string) {
		got := ask(t, c, "GET", url)
		var index v1.IndexManifest
		if err := json.Unmarshal([]byte(got.body), &index); err != nil || got.status != 200 || got.header.Get("Content-Type") != "application/vnd.oci.image.index.v1+json" {
			t.Fatalf("%v %+v", err, got)
		}
		var digests []string
		for _, d := range index.Manifests {
			digests = append(digests, d.Digest.String())
		}
		return digests, got.header.Get("Link")
	}
	good := func(digests []string) int {
		n := 0
		for _, d := range digests {
			if want[d] {
				n++
			}
		}
		return n
	}
	url := referrersURL(reg, image)
	if got, link := read(url); good(got) != 7 || len(got) != 7 || link != "" {
		t.Errorf("honest: %v, %q", got, link)
	}
	walk := func() (all []string, pages int) {
		for at := url; ; pages++ {
			got, link := read(at)
			all = append(all, got...)
			next, ok := strings.CutSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
			if !ok {
				return all, pages + 1
			}
			at = reg.URL() + next
		}
	}
	rule := reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.ReferrersPages(3))
	if all, pages := walk(); good(all) != 7 || len(all) != 7 || pages != 3 {
		t.Errorf("pages of 3: %d of %d good on %d pages", good(all), len(all), pages)
	}
	rule.Remove()
	rule = reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.ReferrersCount(1000, evilregistry.Junk{Seed: 1}))
	first, _ := read(url)
	if good(first) != 7 || len(first) != 1000 {
		t.Errorf("padded: %d of %d good", good(first), len(first))
	}
	if again, _ := read(url); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Error("the same seed listed in another order")
	}
	rule.Remove()
	rule = reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.ReferrersCount(1000, evilregistry.Junk{HideReal: true, ArtifactType: "x/y"}))
	if got, _ := read(url); good(got) != 0 || len(got) != 1000 {
		t.Errorf("hidden: %d of %d good", good(got), len(got))
	}
	rule.Remove()
	rule = reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.Stack(
		evilregistry.ReferrersPages(100), evilregistry.ReferrersCount(1000, evilregistry.Junk{})))
	if all, pages := walk(); good(all) != 7 || len(all) != 1000 || pages != 10 {
		t.Errorf("padded pages: %d of %d good on %d pages", good(all), len(all), pages)
	}
	rule.Remove()
	reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.EmptyReferrers())
	if got, _ := read(url); len(got) != 0 {
		t.Errorf("EmptyReferrers: %v", got)
	}
}

func TestTheGoodReferrerMayStandAnywhere(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	good := pushReferrer(t, reg, "app", image, 0)
	c := client(t)
	places := map[int]bool{}
	for seed := range uint64(200) {
		rule := reg.On(evilregistry.Match{}, evilregistry.ReferrersCount(8, evilregistry.Junk{Seed: seed}))
		var index v1.IndexManifest
		if err := json.Unmarshal([]byte(ask(t, c, "GET", referrersURL(reg, image)).body), &index); err != nil {
			t.Fatal(err)
		}
		for i, d := range index.Manifests {
			if d.Digest.String() == good {
				places[i] = true
			}
		}
		rule.Remove()
	}
	if len(places) != 8 {
		t.Errorf("in 200 orders of 8 it stood at %d places", len(places))
	}
}

func TestAMillionReferrersAreStreamed(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	reg.On(evilregistry.Match{}, evilregistry.ReferrersCount(1_000_000, evilregistry.Junk{}))
	req, err := http.NewRequestWithContext(t.Context(), "GET", referrersURL(reg, image), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	_ = resp.Body.Close()
	if err != nil || bytes.Count(head, []byte(`"digest"`)) < 10_000 {
		t.Errorf("%d bytes, %v", len(head), err)
	}
	eventually(t, func() bool { q := reg.Requests(); return !q[0].End.IsZero() })
}

func TestArtifactTypesAreHonestWhenAsked(t *testing.T) {
	t.Parallel()
	for _, honest := range []bool{false, true} {
		var opts []evilregistry.Option
		want := "application/vnd.oci.empty.v1+json" // ggcr's registry: the config's type
		if honest {
			opts, want = append(opts, evilregistry.WithArtifactTypes()), evilregistry.BundleType
		}
		reg := evilregistry.New(t, opts...)
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		pushReferrer(t, reg, "app", image, 0)
		types := func(query string) (out []string) {
			var index v1.IndexManifest
			got := ask(t, client(t), "GET", referrersURL(reg, image)+query)
			if err := json.Unmarshal([]byte(got.body), &index); err != nil {
				t.Fatal(err)
			}
			for _, d := range index.Manifests {
				out = append(out, d.ArtifactType)
			}
			return out
		}
		if got := types(""); len(got) != 1 || got[0] != want {
			t.Errorf("honest %t: %v, want %s", honest, got, want)
		}
		if got := types("?artifactType=other/type"); honest && len(got) != 0 {
			t.Errorf("filtered: %v", got)
		}
	}
}

func TestWithoutTheReferrersAPITheFallbackTagIsKept(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithReferrersAPI(false))
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	if got := ask(t, client(t), "GET", referrersURL(reg, image)); got.status != 404 {
		t.Errorf("referrers API: %d", got.status)
	}
	first, second := pushReferrer(t, reg, "app", image, 0), pushReferrer(t, reg, "app", image, 1)
	got := ask(t, client(t), "GET", reg.URL()+"/v2/app/manifests/"+strings.Replace(image.DigestStr(), ":", "-", 1))
	if !strings.Contains(got.body, first) || !strings.Contains(got.body, second) {
		t.Errorf("fallback tag: %+v", got)
	}
}
