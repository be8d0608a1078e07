package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/distribution"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

const papersHost = "papers.example.org"

// mustElsewhere is a reader's papers in another repository.
func mustElsewhere(t *testing.T, from verify.Fetcher, repo name.Repository) verify.Fetcher {
	t.Helper()
	f, err := from.Elsewhere(repo)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// readerOf is a Reader as it is made here.
func readerOf(t *testing.T, c *Client, creds Credentials, repo string) *opened {
	t.Helper()
	return mustOpen(t, c, creds, repo).(*opened)
}

// signIn keeps one paper of each layout in a repository of another registry than the image's.
func signIn(t *testing.T, image name.Digest, home, at *evilregistry.Registry, repo string) {
	t.Helper()
	k := papers.NewKey(t, papers.P256)
	via, in := papers.Via(at.Options()...), papers.In(at.Repo(repo))
	papers.SignLegacy(t, image, k, via, in)
	papers.AttestLegacy(t, image, k, "https://example.com/review/v1", map[string]bool{"good": true}, via, in)
	papers.SignBundle(t, image, k, via, in, papers.ImageVia(home.Options()...))
}

// mustList lists, and fails the test if it can't.
func mustList(t *testing.T, f verify.Fetcher, image name.Digest) verify.Listing {
	t.Helper()
	l, err := f.List(within(t, admission), image, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestPapersOfEachLayoutAreFoundElsewhereAndNotWithTheImage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		options func(*testing.T) []evilregistry.Option
		bundle  verify.Place
	}{
		{"a registry with the referrers API", func(*testing.T) []evilregistry.Option { return nil }, verify.PlaceReferrers},
		{"a registry without it", func(*testing.T) []evilregistry.Option {
			return []evilregistry.Option{evilregistry.WithReferrersAPI(false)}
		}, verify.PlaceFallbackTag},
		{"distribution", func(t *testing.T) []evilregistry.Option {
			return []evilregistry.Option{evilregistry.WithBackend(distribution.New(t))}
		}, verify.PlaceFallbackTag},
	} {
		for what, img := range map[string]remote.Taggable{
			"an image": evilregistry.RandomImage(1),
			"an index": evilregistry.RandomIndex(1, v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64"}),
		} {
			t.Run(tc.name+", "+what, func(t *testing.T) {
				t.Parallel()
				home, away := evilregistry.New(t), evilregistry.New(t, tc.options(t)...)
				image := home.Push(t, "team/app:v1", img)
				signIn(t, image, home, away, "papers/app")
				r := readerOf(t, testClient(t, Options{}, home, away), Credentials{}, image.Repository.Name())
				if l := mustList(t, r, image); len(l.Papers) != 0 || len(l.Unanswered) != 0 {
					t.Fatalf("beside the image: %+v", l)
				}
				f := mustElsewhere(t, r, away.Repo("papers/app"))
				l := mustList(t, f, image)
				if len(l.Papers) != 3 || len(l.Unanswered) != 0 || l.Index != (what == "an index") || l.Index != (len(l.Children) == 2) {
					t.Fatalf("got %+v", l)
				}
				for place, kind := range map[verify.Place]verify.Kind{
					verify.PlaceSignatures: verify.LegacySignature, verify.PlaceAttestation: verify.LegacyAttestation, tc.bundle: verify.Referrer,
				} {
					if p := one(t, l, place); p.Kind != kind {
						t.Errorf("%s: %+v", place, p)
					}
				}
				for _, p := range l.Papers {
					c, err := f.Fetch(within(t, admission), image, p, verify.MaxPaper)
					if err != nil || !json.Valid(c.Payload) {
						t.Errorf("%s: %.60s, %v", p.Place, c.Payload, err)
					}
				}
				if n := away.Count(evilregistry.ManifestByDigest); n != 1 { // the bundle's own
					t.Errorf("%d manifests were read by digest where the papers are", n)
				}
				if r.Access() == f.Access() || f.Access() == (verify.Access{}) {
					t.Error("it passes for the image's own reader")
				}
			})
		}
	}
}

func TestRow48_PapersInAnotherRepositoryAreFoundOnlyWhereTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "team/app:v1", evilregistry.RandomImage(1))
	tag := strings.Replace(image.DigestStr(), ":", "-", 1) + ".sig"
	papers.SignLegacy(t, image, papers.NewKey(t, papers.P256), papers.Via(reg.Options()...), papers.In(reg.Repo("first")))
	signatures, err := remote.Image(reg.Repo("first").Tag(tag), reg.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	reg.Push(t, "copied:"+tag, signatures)
	papers.SignBundle(t, image, papers.NewKey(t, papers.P256), papers.Via(reg.Options()...)) // beside the image
	r := readerOf(t, testClient(t, Options{}, reg), Credentials{}, image.Repository.Name())
	for repo, want := range map[string]verify.Place{
		"team/app": verify.PlaceReferrers, "first": verify.PlaceSignatures, "copied": verify.PlaceSignatures,
		"team": "", "team/app/below": "", "nowhere": "",
	} {
		f := mustElsewhere(t, r, reg.Repo(repo))
		l := mustList(t, f, image)
		if len(l.Unanswered) != 0 || len(l.Papers) != len(papersAt(l, want)) || (want != "") != (len(l.Papers) == 1) {
			t.Errorf("%s: got %+v, want one of %q", repo, l, want)
		}
		for _, p := range l.Papers {
			if _, err := f.Fetch(within(t, admission), image, p, verify.MaxPaper); err != nil {
				t.Errorf("%s: %v", repo, err)
			}
		}
	}
}

func TestRow46_PapersElsewhereAreReadFromAPIAndFallbackTag(t *testing.T) {
	t.Parallel()
	home, away := evilregistry.New(t), evilregistry.New(t)
	image := home.Push(t, "app:v1", evilregistry.RandomImage(1))
	papers.SignBundle(t, image, papers.NewKey(t, papers.P256), papers.Via(away.Options()...), papers.ImageVia(home.Options()...),
		papers.In(away.Repo("papers")), papers.FallbackTag())
	rule := away.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.EmptyReferrers())
	f := mustElsewhere(t, readerOf(t, testClient(t, Options{}, home, away), Credentials{}, image.Repository.Name()), away.Repo("papers"))
	l := mustList(t, f, image)
	if rule.Hits() != 1 || len(l.Papers) != 1 || len(l.Unanswered) != 0 {
		t.Fatalf("%d lists were empty; got %+v", rule.Hits(), l)
	}
	if _, err := f.Fetch(within(t, admission), image, one(t, l, verify.PlaceFallbackTag), verify.MaxPaper); err != nil {
		t.Error(err)
	}
}

func TestARepositoryOfPapersThatIsNotThereHasAnswered(t *testing.T) {
	t.Parallel()
	home, away := evilregistry.New(t), evilregistry.New(t)
	image := signed(t, home, "app:v1")
	away.On(evilregistry.Match{}, evilregistry.Status(404, nil, `{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}`))
	f := mustElsewhere(t, readerOf(t, testClient(t, Options{}, home, away), Credentials{}, image.Repository.Name()), away.Repo("papers"))
	if l := mustList(t, f, image); len(l.Papers) != 0 || len(l.Unanswered) != 0 {
		t.Errorf("got %+v", l)
	}
}

func TestPapersElsewhereOfAnImageThatIsNotThere(t *testing.T) {
	t.Parallel()
	home, away := evilregistry.New(t), evilregistry.New(t)
	image := home.Repo("app").Digest(someHash)
	rule := away.On(evilregistry.Match{}, evilregistry.Hang())
	f := mustElsewhere(t, readerOf(t, testClient(t, Options{}, home, away), Credentials{}, image.Repository.Name()), away.Repo("papers"))
	start := time.Now()
	_, err := f.List(within(t, admission), image, nil)
	if fe := wantKind(t, err, verify.NotFound); fe.Place != verify.PlaceManifest || fe.Host != home.Host() {
		t.Errorf("got %+v", fe)
	}
	if took := time.Since(start); took > admission/2 {
		t.Errorf("%d requests for its papers were waited for, %s", rule.Hits(), took)
	}
}

// away is an image at registry.example.com/team, and its papers at papers.example.org/kept.
type away struct {
	home, papers *evilregistry.Registry
	client       *Client
	image        name.Digest
	at           name.Repository
}

// awayOf starts both. Each lets in a user of its own, if it asks for credentials.
func awayOf(t *testing.T, o Options, gateHome, gatePapers gate) *away {
	t.Helper()
	options := func(host string, g gate, user string) []evilregistry.Option {
		all := []evilregistry.Option{evilregistry.WithTLS(host), evilregistry.WithRealm("https://" + host + "/token")}
		if g != nil {
			all = append(all, g(map[string]string{user: canarySecret + user}, "**"))
		}
		return all
	}
	a := &away{
		home:   evilregistry.New(t, options(originHost, gateHome, "home")...),
		papers: evilregistry.New(t, options(papersHost, gatePapers, "papers")...),
		at:     mustRepo(t, papersHost+"/kept"),
	}
	a.image = mustDigest(t, originHost+"/team/app@"+a.home.Push(t, "team/app:v1", evilregistry.RandomImage(1)).DigestStr())
	signIn(t, a.image, a.home, a.papers, "kept")
	a.client = namedClient(t, o, map[string]*evilregistry.Registry{originHost + ":443": a.home, papersHost + ":443": a.papers})
	return a
}

func (a *away) open(t *testing.T, creds Credentials) *opened {
	t.Helper()
	return readerOf(t, a.client, creds, originHost+"/team/app")
}

// sentOnly fails if a registry was sent another secret than this user's, or not that one; with no user, if it was sent any.
// A token that its own service gave is none.
func sentOnly(t *testing.T, reg, other *evilregistry.Registry, user string) {
	t.Helper()
	sent := map[string]bool{}
	for _, r := range reg.Requests() {
		sent[r.Authorization] = true
		own := (secret{username: user, password: canarySecret + user}).basic()
		if strings.HasPrefix(r.Authorization, "Basic ") && (user == "" || r.Authorization != own) || strings.Contains(fmt.Sprint(r.Body, r.Query), canarySecret) {
			t.Errorf("%s was sent another's credentials", r.Host)
		}
	}
	for _, r := range other.Requests() {
		if r.Authorization != "" && sent[r.Authorization] {
			t.Errorf("what %s was sent, the other was sent as well", r.Host)
		}
	}
	if own := (secret{username: user, password: canarySecret + user}).basic(); user != "" && !sent[own] {
		t.Errorf("%s was not sent the credentials of %s", reg.Host(), user)
	}
}

func TestRow57_TheImagesCredentialsAreNotSentToWhereItsPapersAre(t *testing.T) {
	t.Parallel()
	home := credentialsFor(t, originHost, "home", canarySecret+"home")
	kept := credentialsFor(t, papersHost+"/kept", "papers", canarySecret+"papers")
	for _, tc := range []struct {
		name    string
		creds   Credentials
		entries []string
		let     bool // into the papers' repository
	}{
		{name: "a pull secret for each", creds: Merge(home, kept), let: true},
		{name: "a pull secret for the image, the install's for the papers", creds: home, let: true,
			entries: []string{"{prefix: " + papersHost + "/kept, auth: {secretRef: {name: papers}}}"}},
		{name: "the install's for both", let: true, entries: []string{
			"{prefix: " + papersHost + ", auth: {secretRef: {name: papers}}}", "{prefix: " + originHost + ", auth: {secretRef: {name: home}}}"}},
		{name: "for the image alone", creds: home},
		{name: "for the image, and for another repository there", creds: Merge(home, credentialsFor(t, papersHost+"/kep", "papers", canarySecret+"papers"))},
		{name: "the install's for the image, whose Secret has more", entries: []string{"{prefix: " + originHost + ", auth: {secretRef: {name: both}}}"}},
	} {
		for kind, g := range map[string]gate{"by Basic": evilregistry.WithBasicAuth, "for a token": evilregistry.WithTokenAuth} {
			t.Run(tc.name+" "+kind, func(t *testing.T) {
				t.Parallel()
				forHome, forPapers := `"`+originHost+`":{"username":"home","password":"`+canarySecret+`home"}`,
					`"`+papersHost+`":{"username":"papers","password":"`+canarySecret+`papers"}`
				a := awayOf(t, Options{
					Registries: registries(t, tc.entries...),
					Secret: secretOf(t, map[string]string{
						"home": `{"auths":{` + forHome + `}}`, "papers": `{"auths":{` + forPapers + `}}`, "both": `{"auths":{` + forHome + "," + forPapers + `}}`,
					}),
				}, g, g)
				f := mustElsewhere(t, a.open(t, tc.creds), a.at)
				l := mustList(t, f, a.image)
				sentOnly(t, a.home, a.papers, "home")
				if tc.let {
					if len(l.Papers) != 3 || len(l.Unanswered) != 0 {
						t.Fatalf("got %+v", l)
					}
					for _, p := range l.Papers {
						if _, err := f.Fetch(within(t, admission), a.image, p, verify.MaxPaper); err != nil {
							t.Error(err)
						}
					}
					sentOnly(t, a.papers, a.home, "papers")
					return
				}
				if a.papers.Count(0) == 0 {
					t.Error("the papers were not asked for")
				}
				sentOnly(t, a.papers, a.home, "")
				if len(l.Papers) != 0 || len(l.Unanswered) != 4 {
					t.Fatalf("got %+v", l)
				}
				for _, e := range l.Unanswered {
					if fe := wantKind(t, e, verify.Unauthorized); fe.Host != papersHost {
						t.Errorf("another is named than who turned us away: %v", fe)
					}
				}
				_, err := f.Fetch(within(t, admission), a.image, verify.Paper{Kind: verify.LegacySignature, Digest: hashOf(nil)}, verify.MaxPaper)
				if fe := wantKind(t, err, verify.Unauthorized); fe.Host != papersHost {
					t.Errorf("another is named than who turned us away: %v", fe)
				}
			})
		}
	}
}

func TestAPrivateImageWithPublicPapersAndTheOtherWayAround(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		home, papers gate
		creds        func(*testing.T) Credentials
		clean        func(*away) *evilregistry.Registry // who is sent nothing
	}{
		"papers for anyone": {
			evilregistry.WithTokenAuth, nil, func(t *testing.T) Credentials { return credentialsFor(t, originHost, "home", canarySecret+"home") },
			func(a *away) *evilregistry.Registry { return a.papers },
		},
		"an image for anyone": {
			nil, evilregistry.WithTokenAuth, func(t *testing.T) Credentials { return credentialsFor(t, papersHost, "papers", canarySecret+"papers") },
			func(a *away) *evilregistry.Registry { return a.home },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := awayOf(t, Options{}, tc.home, tc.papers)
			if l := mustList(t, mustElsewhere(t, a.open(t, tc.creds(t)), a.at), a.image); len(l.Papers) != 3 || len(l.Unanswered) != 0 {
				t.Errorf("got %+v", l)
			}
			unseen(t, tc.clean(a))
		})
	}
}

// Some registries hide with 404 what a credential may not read, so that it can't be told from what isn't there.
func TestThePapersAreSoughtWithTheCredentialThatOpensThem(t *testing.T) {
	t.Parallel()
	old, good := credentialsFor(t, papersHost+"/kept", "old", "x"), credentialsFor(t, papersHost, "papers", canarySecret+"papers")
	for status, api := range map[int]bool{401: true, 403: false, 404: true} {
		for _, layout := range []string{"signature", "bundle", "none"} {
			t.Run(fmt.Sprintf("%d to the first, %s", status, layout), func(t *testing.T) {
				t.Parallel()
				home := evilregistry.New(t, evilregistry.WithTLS(originHost))
				kept := evilregistry.New(t, evilregistry.WithTLS(papersHost), evilregistry.WithReferrersAPI(api))
				turnedAway := kept.On(evilregistry.Match{If: func(r *http.Request) bool {
					user, _, _ := r.BasicAuth()
					return r.URL.Path != "/v2/" && user != "papers"
				}}, evilregistry.Status(status, http.Header{"Www-Authenticate": {`Basic realm="x"`}}, ""))
				image := mustDigest(t, originHost+"/app@"+home.Push(t, "app:v1", evilregistry.RandomImage(1)).DigestStr())
				kept.Push(t, "kept:other", evilregistry.RandomImage(2)) // for ggcr knows no referrers of a repository that isn't there
				k, via, in := papers.NewKey(t, papers.P256), papers.Via(kept.Options()...), papers.In(kept.Repo("kept"))
				want := 1
				switch layout {
				case "signature":
					papers.SignLegacy(t, image, k, via, in)
				case "bundle":
					papers.SignBundle(t, image, k, via, in, papers.ImageVia(home.Options()...))
				case "none":
					want = 0
				}
				c := namedClient(t, Options{}, map[string]*evilregistry.Registry{originHost + ":443": home, papersHost + ":443": kept})
				r := readerOf(t, c, Merge(old, good), originHost+"/app")
				for round := range 2 {
					before := turnedAway.Hits()
					l := mustList(t, mustElsewhere(t, r, mustRepo(t, papersHost+"/kept")), image)
					// Nothing there, no list of referrers, and one of two turned away: who could say that it isn't hidden?
					unknown := layout == "none" && status == 403 && len(l.Unanswered) == 4
					if len(l.Papers) != want || len(l.Unanswered) != 0 && !unknown {
						t.Errorf("got %+v", l)
					}
					if settled := api || layout != "none"; round == 1 && settled && turnedAway.Hits() != before {
						t.Errorf("%d requests with the wrong one, though it is known", turnedAway.Hits()-before)
					}
				}
			})
		}
	}
}

// awayBehindMirror puts a mirror in front of the papers' repository.
func awayBehindMirror(t *testing.T, atMirror bool) (*away, *evilregistry.Registry) {
	t.Helper()
	a := awayOf(t, Options{}, nil, nil)
	mirror := evilregistry.New(t, evilregistry.WithTLS(mirrorHost))
	if atMirror {
		signIn(t, a.image, a.home, mirror, "cache/kept")
	}
	a.client = namedClient(t, Options{Registries: registries(t, "{prefix: "+papersHost+", mirror: "+mirrorHost+"/cache}")},
		map[string]*evilregistry.Registry{originHost + ":443": a.home, papersHost + ":443": a.papers, mirrorHost + ":443": mirror})
	return a, mirror
}

func TestPapersElsewhereComeFromTheMirrorOfTheirRepository(t *testing.T) {
	t.Parallel()
	down, missing := evilregistry.Status(503, nil, ""), evilregistry.Status(404, nil, "")
	for _, tc := range []struct {
		name           string
		atMirror       bool
		mirror, origin *evilregistry.Fault
		want           int // papers
		originAsked    bool
		outage         []string // hosts of the outages that are told
	}{
		{name: "both have some", atMirror: true, want: 6, originAsked: true},
		{name: "the mirror has them, the origin is down", atMirror: true, origin: fault(down), want: 3, originAsked: true,
			outage: []string{papersHost, papersHost, papersHost, papersHost}},
		{name: "the mirror has none", want: 3, originAsked: true},
		{name: "the mirror is down", mirror: fault(down), want: 3, originAsked: true},
		{name: "the mirror has none, the origin is down", origin: fault(down), originAsked: true,
			outage: []string{papersHost, papersHost, papersHost, papersHost}},
		{name: "both are down", mirror: fault(down), origin: fault(down), originAsked: true,
			outage: []string{papersHost, papersHost, papersHost, papersHost, mirrorHost}},
		{name: "neither has any", origin: fault(missing), originAsked: true},
		{name: "the mirror is down, the origin has none", mirror: fault(down), origin: fault(missing), originAsked: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a, mirror := awayBehindMirror(t, tc.atMirror)
			if tc.mirror != nil {
				mirror.On(evilregistry.Match{}, *tc.mirror)
			}
			if tc.origin != nil {
				a.papers.On(evilregistry.Match{}, *tc.origin)
			}
			f := mustElsewhere(t, a.open(t, Credentials{}), a.at)
			l := mustList(t, f, a.image)
			if len(l.Papers) != tc.want {
				t.Errorf("%d papers, want %d", len(l.Papers), tc.want)
			}
			var outage []string
			places := map[verify.Place]bool{}
			for _, e := range l.Unanswered {
				if wantKind(t, e, verify.Unavailable); e.Host == papersHost {
					places[e.Place] = true
				} else if e.Place != verify.PlaceManifest { // by which package verify knows that it only stands in
					t.Errorf("the mirror's is %v", e)
				}
				outage = append(outage, e.Host)
			}
			if !slices.Equal(outage, tc.outage) || len(tc.outage) > 0 && (len(places) != 4 || places[verify.PlaceManifest]) {
				t.Errorf("unanswered: %v", l.Unanswered)
			}
			if asked := a.papers.Count(0) > 0; asked != tc.originAsked {
				t.Errorf("the origin was asked: %v", asked)
			}
			if slow := a.client.isSlow(mirrorHost); slow != (tc.mirror != nil) {
				t.Errorf("the mirror counts as slow: %v", slow)
			}
			for _, p := range l.Papers {
				if _, err := f.Fetch(within(t, admission), a.image, p, verify.MaxPaper); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestPapersElsewhereOfAnImageBehindAMirror(t *testing.T) {
	t.Parallel()
	p := pairOf(t, Options{}, true, true)
	kept := evilregistry.New(t, evilregistry.WithTLS(papersHost))
	signIn(t, p.image, p.origin, kept, "kept")
	p.client = namedClient(t, Options{Registries: registries(t, "{prefix: "+originHost+"/team, mirror: "+mirrorHost+"/cache}")},
		map[string]*evilregistry.Registry{originHost + ":443": p.origin, mirrorHost + ":443": p.mirror, papersHost + ":443": kept})
	f := mustElsewhere(t, readerOf(t, p.client, Credentials{}, originHost+"/team/app"), mustRepo(t, papersHost+"/kept"))
	if l := mustList(t, f, p.image); len(l.Papers) != 3 || len(l.Unanswered) != 0 {
		t.Errorf("got %+v", l)
	}
	if p.origin.Count(0) != 0 || p.mirror.Count(evilregistry.Referrers|evilregistry.ManifestByTag) != 0 {
		t.Errorf("the origin was asked %d times; papers were asked for where the image is", p.origin.Count(0))
	}
	_, err := f.List(within(t, admission), mustDigest(t, originHost+"/other/app@"+p.image.DigestStr()), nil)
	wantKind(t, err, verify.Forbidden)
}

func TestRow54_PapersAreNotSoughtWhereTheDialGuardForbids(t *testing.T) {
	t.Parallel()
	home := evilregistry.New(t)
	image := signed(t, home, "app:v1")
	inside := evilregistry.New(t, evilregistry.WithTLS()) // on loopback, and not let through
	_, port, _ := strings.Cut(inside.Host(), ":")
	c := testClient(t, Options{}, home)
	for _, host := range []string{inside.Host(), "localhost:" + port} {
		l := mustList(t, mustElsewhere(t, readerOf(t, c, Credentials{}, image.Repository.Name()), mustRepo(t, host+"/papers")), image)
		if len(l.Papers) != 0 || len(l.Unanswered) != 4 {
			t.Fatalf("got %+v", l)
		}
		for _, e := range l.Unanswered {
			if fe := wantKind(t, e, verify.Forbidden); fe.Host != host {
				t.Errorf("another is named than who isn't asked: %v", fe)
			}
		}
	}
	if n := inside.Count(0); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestRow52_PapersAreSoughtByPlainHTTPOnlyWhereItIsNamed(t *testing.T) {
	t.Parallel()
	home, kept := evilregistry.New(t), evilregistry.New(t)
	image := home.Push(t, "app:v1", evilregistry.RandomImage(1))
	signIn(t, image, home, kept, "kept")
	host, err := ParseHostPort(kept.Host())
	if err != nil {
		t.Fatal(err)
	}
	c := testClient(t, Options{Guard: NewGuard(GuardOptions{Exempt: []HostPort{host}})}, home)
	insecure := kept.Repo("kept") // the name says that it is; a policy doesn't decide that
	l := mustList(t, mustElsewhere(t, readerOf(t, c, Credentials{}, image.Repository.Name()), insecure), image)
	if len(l.Papers) != 0 || len(l.Unanswered) != 4 || kept.Count(0) != 0 {
		t.Errorf("%d requests by plain http: %+v", kept.Count(0), l)
	}
}

func TestBehindAProxyPapersAreSoughtWhereTheirHostIsNamed(t *testing.T) {
	t.Parallel()
	home, kept := evilregistry.New(t, evilregistry.WithTLS(originHost)), evilregistry.New(t, evilregistry.WithTLS(papersHost))
	image := mustDigest(t, originHost+"/app@"+home.Push(t, "app:v1", evilregistry.RandomImage(1)).DigestStr())
	signIn(t, image, home, kept, "kept")
	for name, tc := range map[string]struct {
		named   []string
		entries []string
		want    int
	}{
		"by nobody":   {named: []string{originHost}},
		"by a policy": {named: []string{originHost, papersHost}, want: 3},
		"by an entry": {named: []string{originHost}, entries: []string{"{prefix: " + papersHost + "}"}, want: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := newProxy(t, false, map[string]*evilregistry.Registry{originHost + ":443": home, papersHost + ":443": kept})
			c := clientBehind(t, Options{Proxy: proxy.by(""), Named: names(tc.named...), Registries: registries(t, tc.entries...)}, proxy.named)
			l := mustList(t, mustElsewhere(t, readerOf(t, c, Credentials{}, originHost+"/app"), mustRepo(t, papersHost+"/kept")), image)
			if len(l.Papers) != tc.want || (tc.want == 0) != (len(l.Unanswered) == 4) {
				t.Errorf("got %+v", l)
			}
			for _, e := range l.Unanswered {
				wantKind(t, e, verify.Forbidden)
			}
			if asked := slices.Contains(proxy.seen(), papersHost+":443"); asked != (tc.want > 0) {
				t.Errorf("the proxy was asked for %v", proxy.seen())
			}
		})
	}
}

func TestAReferrerElsewhereIsAboutThisImage(t *testing.T) {
	t.Parallel()
	home, kept := evilregistry.New(t), evilregistry.New(t)
	image := home.Push(t, "app:v1", evilregistry.RandomImage(1))
	other := home.Push(t, "app:v2", evilregistry.RandomImage(2))
	about := papers.SignBundle(t, other, papers.NewKey(t, papers.P256), papers.In(kept.Repo("kept")), papers.Via(kept.Options()...), papers.ImageVia(home.Options()...))
	kept.Plant(t, "kept", ociIndex, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":0}]}`,
		ociIndex, ociManifest, about.Manifest.DigestStr()), strings.Replace(image.DigestStr(), ":", "-", 1))
	f := mustElsewhere(t, readerOf(t, testClient(t, Options{}, home, kept), Credentials{}, image.Repository.Name()), kept.Repo("kept"))
	_, err := f.Fetch(within(t, admission), image, one(t, mustList(t, f, image), verify.PlaceFallbackTag), verify.MaxPaper)
	if fe := wantKind(t, err, verify.Malformed); !strings.Contains(fe.Error(), "subject") {
		t.Errorf("%v", fe)
	}
}

func TestTheBoundOnPapersHoldsElsewhere(t *testing.T) {
	t.Parallel()
	for n, refused := range map[int]bool{verify.MaxListed: false, verify.MaxListed + 1: true} {
		home, kept := evilregistry.New(t), evilregistry.New(t)
		image := home.Push(t, "app:v1", evilregistry.RandomImage(1))
		kept.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.ReferrersCount(n, evilregistry.Junk{}))
		l, err := mustElsewhere(t, readerOf(t, testClient(t, Options{}, home, kept), Credentials{}, image.Repository.Name()), kept.Repo("kept")).
			List(within(t, admission), image, nil)
		if !refused {
			if err != nil || len(l.Papers) != n {
				t.Errorf("%d papers, %v", len(l.Papers), err)
			}
			continue
		}
		if fe := wantKind(t, err, verify.TooMany); fe.Host != kept.Host() {
			t.Errorf("another is named than who has them: %v", fe)
		}
	}
}

func TestEvidenceOfPapersElsewhereIsNotInheritedByWhoMayReadTheImage(t *testing.T) {
	t.Parallel()
	home, kept := evilregistry.New(t), evilregistry.New(t)
	image := home.Push(t, "app:v1", evilregistry.RandomImage(1))
	f := mustElsewhere(t, readerOf(t, testClient(t, Options{}, home, kept), Credentials{}, image.Repository.Name()), kept.Repo("kept"))
	if fe := wantKind(t, f.Present(within(t, admission), image), verify.Unavailable); !strings.Contains(fe.Error(), kept.Host()+"/kept") {
		t.Errorf("%v", fe)
	}
	if n := home.Count(0) + kept.Count(0); n != 0 {
		t.Errorf("%d requests for what can't be shown", n)
	}
}

func TestTheAccessElsewhereIsOfBothCredentialsAndThePlace(t *testing.T) {
	t.Parallel()
	c := testClient(t, Options{})
	at := func(repo string, creds ...Credentials) verify.Access {
		return mustElsewhere(t, readerOf(t, c, Merge(creds...), "registry.example.com/app"), mustRepo(t, repo)).Access()
	}
	image, kept := credentialsFor(t, "registry.example.com", "u", "p"), credentialsFor(t, papersHost, "u", "p")
	base := at(papersHost+"/kept", image, kept)
	if base != at(papersHost+"/kept", kept, image, credentialsFor(t, "quay.io", "u", "p")) {
		t.Error("a pull secret for a third makes another reader")
	}
	seen := map[verify.Access]string{base: "both", {}: "nobody"}
	for what, other := range map[string]verify.Access{
		"another place":            at(papersHost+"/other", image, kept),
		"another host":             at("papers.example.com/kept", image, kept),
		"without the image's":      at(papersHost+"/kept", kept),
		"without the papers'":      at(papersHost+"/kept", image),
		"anonymous":                at(papersHost + "/kept"),
		"anonymous, another place": at(papersHost + "/other"),
		"another password":         at(papersHost+"/kept", image, credentialsFor(t, papersHost, "u", "q")),
		"of the image alone":       readerOf(t, c, image, "registry.example.com/app").Access(),
		"of the papers alone":      readerOf(t, c, kept, papersHost+"/kept").Access(),
	} {
		if before, ok := seen[other]; ok {
			t.Errorf("%s is the reader of %s", what, before)
		}
		seen[other] = what
	}
}

func TestElsewhereIsAboutTheImageHoweverOftenItIsSaid(t *testing.T) {
	t.Parallel()
	c := testClient(t, Options{})
	creds := Merge(credentialsFor(t, "registry.example.com", "u", "p"), credentialsFor(t, papersHost, "u", "p"))
	r := readerOf(t, c, creds, "registry.example.com/app")
	there := mustElsewhere(t, r, mustRepo(t, papersHost+"/kept"))
	if got := mustElsewhere(t, there, mustRepo(t, "registry.example.com/app")); got != verify.Fetcher(r) {
		t.Errorf("papers beside the image are not read by its own reader: %v", got)
	}
	if got := mustElsewhere(t, mustElsewhere(t, r, mustRepo(t, "quay.io/x")), mustRepo(t, papersHost+"/kept")); got.Access() != there.Access() {
		t.Error("it matters by which way the papers' repository is named")
	}
	if hub := readerOf(t, c, creds, "docker.io/library/app"); mustElsewhere(t, hub, mustRepo(t, "index.docker.io/library/app")) != verify.Fetcher(hub) {
		t.Error("Docker Hub is elsewhere from itself")
	}
}

func TestElsewhereOfAnAccess(t *testing.T) {
	t.Parallel()
	home, kept := evilregistry.New(t), evilregistry.New(t, evilregistry.WithBasicAuth(map[string]string{"u": "p"}, "**"))
	image := signed(t, home, "app:v1")
	signIn(t, image, home, kept, "kept")
	c := testClient(t, Options{}, home, kept)
	a := c.With(Merge(credentialsFor(t, home.Host(), "h", "h"), credentialsFor(t, kept.Host(), "u", "p")))
	if l := mustList(t, mustElsewhere(t, a, kept.Repo("kept")), image); len(l.Papers) != 3 || len(l.Unanswered) != 0 {
		t.Errorf("got %+v", l)
	}
	sent := (secret{username: "h", password: "h"}).basic()
	if slices.ContainsFunc(kept.Requests(), func(r evilregistry.Request) bool { return r.Authorization == sent }) {
		t.Error("the image's credentials were sent to where the papers are")
	}
	if l := mustList(t, mustElsewhere(t, a, home.Repo("app")), image); len(l.Papers) != 3 || len(l.Unanswered) != 0 {
		t.Errorf("beside the image: %+v", l)
	}
}

func TestElsewhereRefuses(t *testing.T) {
	t.Parallel()
	c := testClient(t, Options{})
	var many []Credentials
	for i := range 40 {
		many = append(many, credentialsFor(t, fmt.Sprintf("r%d.example.com", i), "u", strings.Repeat("x", maxAuthorization-1)))
	}
	registry := mustRepo(t, "registry.example.com/app")
	dotted, err := name.NewRepository("papers.example.org./kept")
	if err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		creds  Credentials
		papers name.Repository
		want   verify.FetchKind
	}{
		"a host of another spelling":    {Credentials{}, dotted, verify.Forbidden},
		"more credentials than a Pod's": {Merge(many...), mustRepo(t, papersHost+"/kept"), verify.TooLarge},
	} {
		_, err := readerOf(t, c, tc.creds, registry.Name()).Elsewhere(tc.papers)
		if fe := wantKind(t, err, tc.want); fe.Host != tc.papers.RegistryStr() {
			t.Errorf("%s: another is named than the papers' registry: %v", what, fe)
		}
	}
	if _, err := readerOf(t, c, Merge(many...), registry.Name()).Elsewhere(registry); err != nil {
		t.Errorf("beside the image: %v", err)
	}
	if _, err := c.With(Credentials{}).Elsewhere(dotted); err == nil {
		t.Error("an access takes a host of another spelling")
	}
	var full strings.Builder // as many as one docker config may have
	for i := range maxEntries {
		fmt.Fprintf(&full, `,"r%d.example":{"auth":"dTpw"}`, i)
	}
	whole, err := ParseDockerConfig([]byte(`{"auths":{` + full.String()[1:] + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readerOf(t, c, whole, registry.Name()).Elsewhere(mustRepo(t, papersHost+"/kept")); err != nil {
		t.Errorf("one docker config of the most entries: %v", err)
	}
}

func TestAPanicWhilePapersElsewhereAreReadBecomesAnError(t *testing.T) {
	t.Parallel()
	var panics atomic.Int64
	a := awayOf(t, Options{OnPanic: func(any, []byte) { panics.Add(1) }}, nil, nil)
	f := mustElsewhere(t, a.open(t, Credentials{}), a.at)
	broken := &elsewhere{guard: a.client.guard, image: f.(*elsewhere).image, papers: panicking{f.(*elsewhere).papers}, at: a.at}
	_, err := broken.List(within(t, admission), a.image, nil)
	if wantKind(t, err, verify.Unavailable); panics.Load() != 1 {
		t.Errorf("%d panics were told of", panics.Load())
	}
}

type panicking struct{ view }

func (panicking) seek(context.Context, name.Digest, []string) (verify.Listing, error) { panic("boom") }

// The papers are asked for while the image's manifest is still on its way.
func TestPapersElsewhereDoNotWaitForTheImage(t *testing.T) {
	t.Parallel()
	for name, creds := range map[string]func(*testing.T) Credentials{
		"anonymous": func(*testing.T) Credentials { return Credentials{} },
		"with several credentials for each": func(t *testing.T) Credentials {
			return Merge(credentialsFor(t, originHost+"/team", "a", "a"), credentialsFor(t, originHost, "b", "b"),
				credentialsFor(t, papersHost+"/kept", "a", "a"), credentialsFor(t, papersHost, "b", "b"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := awayOf(t, Options{}, nil, nil)
			asked := make(chan struct{})
			var all atomic.Int64
			a.papers.On(evilregistry.Match{Kind: evilregistry.Referrers | evilregistry.ManifestByTag, If: func(*http.Request) bool {
				if all.Add(1) == 4 {
					close(asked)
				}
				return false
			}}, evilregistry.Pass())
			a.home.On(evilregistry.Match{Kind: evilregistry.ManifestByDigest, If: func(r *http.Request) bool {
				select {
				case <-asked:
				case <-r.Context().Done():
				}
				return false
			}}, evilregistry.Pass())
			if l := mustList(t, mustElsewhere(t, a.open(t, creds(t)), a.at), a.image); len(l.Papers) != 3 || len(l.Unanswered) != 0 {
				t.Errorf("got %+v", l)
			}
		})
	}
}

// As TestSerialDepthOfOneSignature, with the papers in another repository of the same registry, which sees all requests.
func TestSerialDepthOfPapersElsewhere(t *testing.T) { // not parallel: it measures time
	const delay = 60 * time.Millisecond
	k := papers.NewKey(t, papers.P256)
	for _, tc := range []struct {
		name        string
		sign        func(*testing.T, name.Digest, ...papers.Option)
		place       verify.Place
		depth, most int
	}{
		{"legacy", func(t *testing.T, d name.Digest, o ...papers.Option) { papers.SignLegacy(t, d, k, o...) }, verify.PlaceSignatures, 2, 6},
		{"bundle", func(t *testing.T, d name.Digest, o ...papers.Option) { papers.SignBundle(t, d, k, o...) }, verify.PlaceReferrers, 3, 7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reg := evilregistry.New(t, evilregistry.WithTokenAuth(map[string]string{"u": "p"}, "**"))
			image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
			tc.sign(t, image, papers.Via(reg.Options()...), papers.In(reg.Repo("kept")))
			f := mustElsewhere(t, readerOf(t, testClient(t, Options{}, reg), credentialsFor(t, reg.Host(), "u", "p"), image.Repository.Name()), reg.Repo("kept"))
			mustList(t, f, reg.Push(t, "app:other", evilregistry.RandomImage(2))) // both repositories are known
			reg.Reset()
			reg.SetDelay(delay)

			if _, err := f.Fetch(within(t, admission), image, one(t, mustList(t, f, image), tc.place), verify.MaxPaper); err != nil {
				t.Fatal(err)
			}
			if got := reg.SerialDepth(); got != tc.depth {
				t.Errorf("serial depth %d, want %d", got, tc.depth)
			}
			if reg.Count(evilregistry.Login) != 0 || reg.Count(0) != tc.most {
				t.Errorf("%v: want %d, and none to log in", reg.Counts(), tc.most)
			}
			for _, r := range reg.Requests() {
				if own := r.Repo == "app"; own != (r.Ref == image.DigestStr() && r.Kind == evilregistry.ManifestByDigest) {
					t.Errorf("%s %s", r.Kind, r.Path)
				}
			}
		})
	}
}

func TestTheManifestIsReadOnceForPapersInSeveralPlaces(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]evilregistry.Fault{
		"it is there":              evilregistry.Delay(50 * time.Millisecond),
		"the first to ask is told": evilregistry.Stack(evilregistry.Delay(50*time.Millisecond), evilregistry.Status(404, nil, "")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t)
			index := evilregistry.RandomIndex(1, v1.Platform{OS: "linux", Architecture: "amd64"})
			image := reg.Push(t, "app:v1", index)
			reg.Once(evilregistry.Match{Kind: evilregistry.ManifestByDigest}, first)
			r := readerOf(t, testClient(t, Options{}, reg), Credentials{}, image.Repository.Name())
			readers := []verify.Fetcher{r, mustElsewhere(t, r, reg.Repo("kept")), mustElsewhere(t, r, reg.Repo("other"))}
			errs := make(chan error)
			for _, f := range readers {
				go func() {
					_, err := f.List(within(t, admission), image, nil)
					errs <- err
				}()
			}
			failed := 0
			for range readers {
				if <-errs != nil {
					failed++
				}
			}
			told := name != "it is there"
			if n := reg.Count(evilregistry.ManifestByDigest); told != (failed == 1) || !told && n != 1 {
				t.Errorf("%d of %d failed, after %d requests", failed, len(readers), n)
			}
		})
	}
}
