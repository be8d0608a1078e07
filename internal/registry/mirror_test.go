package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// pair is an origin, registry.example.com/team, and its mirror, mirror.example.net/cache.
type pair struct {
	origin, mirror *evilregistry.Registry
	client         *Client
	image          name.Digest // at the origin
}

const (
	originHost = "registry.example.com"
	mirrorHost = "mirror.example.net"
)

// pairOf starts a pair. The same image, app:v1, is pushed to both where it says so; it has no papers.
func pairOf(t *testing.T, o Options, atOrigin, atMirror bool, options ...evilregistry.Option) *pair {
	t.Helper()
	p := &pair{
		origin: evilregistry.New(t, append(options, evilregistry.WithTLS(originHost))...),
		mirror: evilregistry.New(t, append(options, evilregistry.WithTLS(mirrorHost))...),
	}
	img := evilregistry.RandomImage(1)
	var digest name.Digest
	if atMirror {
		digest = p.mirror.Push(t, "cache/app:v1", img)
	}
	if atOrigin {
		digest = p.origin.Push(t, "team/app:v1", img)
	}
	p.image = mustDigest(t, originHost+"/team/app@"+digest.DigestStr())
	if o.Registries == nil {
		o.Registries = registries(t, "{prefix: "+originHost+"/team, mirror: "+mirrorHost+"/cache}")
	}
	p.client = namedClient(t, o, map[string]*evilregistry.Registry{originHost + ":443": p.origin, mirrorHost + ":443": p.mirror})
	return p
}

// sign signs the image at one of the two.
func (p *pair) sign(t *testing.T, reg *evilregistry.Registry, k papers.Key) {
	t.Helper()
	path := "team/app"
	if reg == p.mirror {
		path = "cache/app"
	}
	papers.SignLegacy(t, reg.Repo(path).Digest(p.image.DigestStr()), k, papers.Via(reg.Options()...))
}

func (p *pair) open(t *testing.T, creds Credentials) Reader {
	t.Helper()
	return mustOpen(t, p.client, creds, originHost+"/team/app")
}

func TestAMirrorStandsInForItsPrefix(t *testing.T) {
	t.Parallel()
	p := pairOf(t, Options{}, true, true)
	p.sign(t, p.mirror, papers.NewKey(t, papers.P256))
	r := p.open(t, Credentials{})
	got, err := r.Resolve(within(t, admission), p.image.Repository.Tag("v1"))
	if err != nil || got.Name() != p.image.Name() {
		t.Fatalf("%s, %v; want the origin's name, %s", got, err, p.image)
	}
	l, err := r.List(within(t, admission), got, nil)
	if err != nil || len(l.Papers) != 1 || len(l.Unanswered) != 0 {
		t.Fatalf("%+v, %v", l, err)
	}
	if _, err := r.Fetch(within(t, admission), got, l.Papers[0], verify.MaxPaper); err != nil {
		t.Error(err)
	}
	if n := p.origin.Count(evilregistry.Blob | evilregistry.ManifestByTag); n != 3 { // .sig, .att and the fallback tag
		t.Errorf("the origin was asked %d times: %v", n, p.origin.Counts())
	}
	if err := r.Present(within(t, admission), got); err != nil {
		t.Error(err)
	}
	for _, repo := range []string{originHost + "/other/app", originHost + "/teamx/app"} {
		if _, ok := mustOpen(t, p.client, Credentials{}, repo).(*opened).view.(*Access); !ok {
			t.Errorf("%s has a mirror", repo)
		}
	}
	_, err = r.List(within(t, admission), mustDigest(t, originHost+"/team/other@"+p.image.DigestStr()), nil)
	wantKind(t, err, verify.Forbidden)
}

func TestWhoIsShownTheImageByTheMirrorAloneIsNotToldOfTheOriginsPapers(t *testing.T) {
	t.Parallel()
	origin := evilregistry.New(t, evilregistry.WithTLS(originHost), evilregistry.WithBasicAuth(map[string]string{"o": "op"}, "**"))
	mirror := evilregistry.New(t, evilregistry.WithTLS(mirrorHost))
	img := evilregistry.RandomImage(1)
	mirror.Push(t, "cache/app:v1", img)
	digest := origin.Push(t, "team/app:v1", img).DigestStr()
	image := mustDigest(t, originHost+"/team/app@"+digest)
	k := papers.NewKey(t, papers.P256)
	papers.SignLegacy(t, origin.Repo("team/app").Digest(digest), k, papers.Via(origin.Options()...))
	c := namedClient(t, Options{Registries: registries(t, "{prefix: "+originHost+"/team, mirror: "+mirrorHost+"/cache}")},
		map[string]*evilregistry.Registry{originHost + ":443": origin, mirrorHost + ":443": mirror})
	keys, err := verify.ParseKeys(k.PublicPEM)
	if err != nil {
		t.Fatal(err)
	}
	release, err := verify.NewKeyAuthority("release", keys, verify.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		who      string
		creds    Credentials
		evidence int
	}{
		{"who has the pull secret", credentialsFor(t, originHost, "o", "op"), 1},
		{"who has none", Credentials{}, 0},
	} {
		r := mustOpen(t, c, tc.creds, image.Repository.Name())
		f := v.Findings(within(t, admission), r, image, verify.SignaturesBy(release), verify.Held)
		if len(f[0].Evidence) != tc.evidence {
			t.Errorf("%s: %d evidence, want %d", tc.who, len(f[0].Evidence), tc.evidence)
		}
		if err := r.Present(within(t, admission), image); (err == nil) != (tc.evidence > 0) {
			t.Errorf("%s: present: %v", tc.who, err)
		}
	}
}

func TestNamesAtAMirror(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200)
	for _, tc := range []struct{ prefix, mirror, repo, want string }{
		{"registry.example.com", "mirror.example.net", "registry.example.com/team/app", "mirror.example.net/team/app"},
		{"registry.example.com", "mirror.example.net:5000/cache", "registry.example.com/app", "mirror.example.net:5000/cache/app"},
		{"registry.example.com/team", "mirror.example.net", "registry.example.com/team/a/b", "mirror.example.net/a/b"},
		{"registry.example.com/team/app", "mirror.example.net/x", "registry.example.com/team/app", "mirror.example.net/x"},
		{"registry.example.com/team/app", "mirror.example.net", "registry.example.com/team/app", ""},
		{"docker.io", "mirror.example.net/hub", "nginx", "mirror.example.net/hub/library/nginx"},
		{"docker.io/library", "mirror.example.net/hub", "nginx", "mirror.example.net/hub/nginx"},
		{"registry.example.com", "mirror.example.net/" + long, "registry.example.com/" + long, ""},
	} {
		l := registries(t, "{prefix: "+tc.prefix+", mirror: "+tc.mirror+"}").now()
		repo := mustRepo(t, tc.repo)
		e := l.find(repo)
		if e == nil {
			t.Errorf("%s isn't covered by %s", tc.repo, tc.prefix)
			continue
		}
		got, ok := e.mirror.standIn(e.prefix, repo)
		if ok != (tc.want != "") || ok && got.Name() != tc.want {
			t.Errorf("%s at %s: %s, %v; want %q", tc.repo, tc.mirror, got, ok, tc.want)
		}
	}
}

func TestAnOutageOfAMirrorIsNoneOfTheImage(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]evilregistry.Fault{
		"it fails":         evilregistry.Status(503, nil, ""),
		"it breaks off":    evilregistry.CloseConnection(),
		"it hangs":         evilregistry.Hang(),
		"it has nothing":   evilregistry.Status(404, nil, ""),
		"it wants a login": evilregistry.Status(401, nil, ""),
		"it asks to wait":  evilregistry.RetryAfter(5 * time.Second),
		"it leads astray":  evilregistry.Redirect("http://169.254.169.254", 307),
		"it says nonsense": evilregistry.ReplaceBody([]byte("{}")),
		"it is very large": evilregistry.Huge(64 << 20),
		"it dribbles":      evilregistry.Stall(50 * time.Millisecond),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pairOf(t, Options{Timeouts: Timeouts{Mirror: 300 * time.Millisecond}}, true, true)
			p.sign(t, p.origin, papers.NewKey(t, papers.P256))
			anyImage := evilregistry.Match{Repo: "**/app"}
			rule := p.mirror.On(anyImage, fault)
			ctx := within(t, admission) // one admission's time for all of it
			r := p.open(t, Credentials{})
			got, err := r.Resolve(ctx, p.image.Repository.Tag("v1"))
			if err != nil || got.Name() != p.image.Name() {
				t.Fatalf("%s, %v", got, err)
			}
			l, err := r.List(ctx, got, nil)
			if err != nil || len(l.Papers) != 1 {
				t.Fatalf("%+v, %v", l, err)
			}
			if _, err := r.Fetch(ctx, got, l.Papers[0], verify.MaxPaper); err != nil {
				t.Error(err)
			}
			if err := r.Present(ctx, got); err == nil {
				t.Error("both show the image, it is said")
			}
			if rule.Hits() == 0 {
				t.Error("the mirror was not asked")
			}
			if len(l.Unanswered) != 0 {
				t.Errorf("unanswered: %v", l.Unanswered)
			}
		})
	}
}

func TestAMirrorThatIsGone(t *testing.T) {
	t.Parallel()
	p := pairOf(t, Options{}, true, true)
	p.mirror.Close()
	l, err := p.open(t, Credentials{}).List(within(t, admission), p.image, nil)
	if err != nil || len(l.Unanswered) != 0 { // the origin said all there is
		t.Fatalf("%+v, %v", l, err)
	}
	// Where the origin leaves something open, the mirror might have had it.
	p.origin.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.Status(503, nil, ""))
	p.client.contents = newContents()
	l, err = p.open(t, Credentials{}).List(within(t, admission), p.image, nil)
	if err != nil || len(l.Unanswered) != 2 {
		t.Fatalf("%+v, %v", l, err)
	}
	hosts := map[string]bool{}
	for _, e := range l.Unanswered {
		hosts[e.Host] = !e.Answer()
	}
	if !hosts[originHost] || !hosts[mirrorHost] {
		t.Errorf("unanswered: %v", l.Unanswered)
	}
}

func TestAMirrorThatKeepsUsWaitingDoesSoOnce(t *testing.T) {
	t.Parallel()
	const patience = 700 * time.Millisecond
	p := pairOf(t, Options{Timeouts: Timeouts{Mirror: patience}}, true, true)
	p.mirror.On(evilregistry.Match{}, evilregistry.Hang())
	r := p.open(t, Credentials{})
	start := time.Now()
	if _, err := r.Resolve(within(t, admission), p.image.Repository.Tag("v1")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < patience {
		t.Errorf("the origin was asked after %s", took)
	}
	start = time.Now()
	p.client.tags.Purge()
	if _, err := r.Resolve(within(t, admission), p.image.Repository.Tag("v1")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("the next step took %s", took)
	}
}

func TestAMirrorThatFailedIsAskedAloneAgainOnceItAnswers(t *testing.T) {
	t.Parallel()
	p := pairOf(t, Options{}, true, true)
	rule := p.mirror.On(evilregistry.Match{}, evilregistry.Status(503, nil, ""))
	r := p.open(t, Credentials{})
	if _, err := r.Resolve(within(t, admission), p.image.Repository.Tag("v1")); err != nil || !p.client.isSlow(mirrorHost) {
		t.Fatalf("%v; slow: %v", err, p.client.isSlow(mirrorHost))
	}
	rule.Remove()
	p.origin.On(evilregistry.Match{}, evilregistry.Hang())
	p.client.tags.Purge()
	if _, err := r.Resolve(within(t, admission), p.image.Repository.Tag("v1")); err != nil || p.client.isSlow(mirrorHost) {
		t.Errorf("%v; slow: %v", err, p.client.isSlow(mirrorHost))
	}
	if p.origin.Count(0) == 0 {
		t.Error("the origin was not asked beside it")
	}
}

func TestRow28_AMirrorThatServesOtherContentIsNotBelieved(t *testing.T) {
	t.Parallel()
	p := pairOf(t, Options{}, true, true)
	p.sign(t, p.origin, papers.NewKey(t, papers.P256))
	p.copySignatures(t)
	other := p.mirror.Push(t, "cache/other:v1", evilregistry.RandomImage(7))
	raw, err := remote.Get(other, p.mirror.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	swap := evilregistry.Stack(evilregistry.Header("Docker-Content-Digest", p.image.DigestStr()), evilregistry.ReplaceBody(raw.Manifest))
	for name, tc := range map[string]struct {
		match evilregistry.Match
		fault evilregistry.Fault
	}{
		"another image":   {evilregistry.Match{Kind: evilregistry.ManifestByDigest}, swap},
		"a changed paper": {evilregistry.Match{Kind: evilregistry.Blob}, evilregistry.FlipByte(3)},
		"a changed image": {evilregistry.Match{Kind: evilregistry.ManifestByDigest}, evilregistry.FlipByte(5)},
		"no content":      {evilregistry.Match{Kind: evilregistry.Blob}, evilregistry.ReplaceBody(nil)},
		"a false digest":  {evilregistry.Match{}, evilregistry.FalseDigestHeader("sha256:" + strings.Repeat("0", 64))},
	} {
		t.Run(name, func(t *testing.T) {
			p.client.contents = newContents()
			p.mirror.ClearFaults()
			rule := p.mirror.On(tc.match, tc.fault)
			r := p.open(t, Credentials{})
			l, err := r.List(within(t, admission), p.image, nil)
			if err != nil || len(l.Papers) != 1 {
				t.Fatalf("%+v, %v", l, err)
			}
			c, err := r.Fetch(within(t, admission), p.image, l.Papers[0], verify.MaxPaper)
			if err != nil || hashOf(c.Payload) != l.Papers[0].Digest {
				t.Errorf("%v", err)
			}
			if rule.Hits() == 0 {
				t.Error("the fault was not met")
			}
		})
	}
	// And a mirror alone that does so gives nothing.
	p.mirror.ClearFaults()
	p.client.contents = newContents()
	p.mirror.On(evilregistry.Match{Kind: evilregistry.ManifestByDigest}, evilregistry.FlipByte(5))
	p.origin.On(evilregistry.Match{}, evilregistry.Status(404, nil, ""))
	_, err = p.open(t, Credentials{}).List(within(t, admission), p.image, nil)
	if fe := wantKind(t, err, verify.NotFound); !strings.Contains(fe.Error(), mirrorHost) || !strings.Contains(fe.Error(), "other content") {
		t.Errorf("what the mirror did isn't told: %v", fe)
	}
}

func TestPapersAreSoughtAtTheMirrorAndAtTheOrigin(t *testing.T) {
	t.Parallel()
	one, two := papers.NewKey(t, papers.P256), papers.NewKey(t, papers.P256)
	for name, tc := range map[string]struct {
		atOrigin, atMirror bool
		mirror, origin     []papers.Key // who signed there
		fault              *evilregistry.Fault
		at                 string
		papers             int
		unanswered         int
		asksOrigin         bool
		copied             bool // the origin's signatures to the mirror
	}{
		"papers at both":                               {true, true, []papers.Key{one}, []papers.Key{two}, nil, "", 2, 0, true, false},
		"a mirror of images alone":                     {true, true, nil, []papers.Key{one, two}, nil, "", 2, 0, true, false},
		"papers at neither":                            {true, true, nil, nil, nil, "", 0, 0, true, false},
		"an image that the mirror hasn't":              {true, false, nil, []papers.Key{one}, nil, "", 1, 0, true, false},
		"an image that the origin hasn't":              {false, true, nil, nil, nil, "", 0, 0, true, false},
		"an image that the origin hasn't, with papers": {false, true, []papers.Key{one}, nil, nil, "", 1, 0, true, false},
		"a place at the mirror that fails":             {true, true, []papers.Key{one}, []papers.Key{two}, fault(evilregistry.Status(503, nil, "")), "mirror place", 2, 0, true, false},
		"the same paper at both":                       {true, true, nil, []papers.Key{one}, nil, "", 1, 0, true, true},
		"the same paper at both, one place failing":    {true, true, nil, []papers.Key{one}, fault(evilregistry.Status(503, nil, "")), "mirror place", 1, 0, true, true},
		"an origin that fails":                         {true, true, nil, []papers.Key{one}, fault(evilregistry.Status(503, nil, "")), "origin", 0, 1, true, false},
		"an origin that fails, with papers at both":    {true, true, nil, []papers.Key{one}, fault(evilregistry.Status(503, nil, "")), "origin", 1, 1, true, true},
		"an origin that wants a login":                 {true, true, nil, []papers.Key{one}, fault(evilregistry.Status(401, nil, "")), "origin", 0, 1, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pairOf(t, Options{}, tc.atOrigin, tc.atMirror)
			// Signing by one key twice gives two signatures: the same is copied.
			for _, k := range tc.origin {
				p.sign(t, p.origin, k)
			}
			for _, k := range tc.mirror {
				p.sign(t, p.mirror, k)
			}
			if tc.copied {
				p.copySignatures(t)
			}
			switch tc.at {
			case "origin":
				p.origin.On(evilregistry.Match{}, *tc.fault)
			case "mirror place":
				p.mirror.On(evilregistry.Match{Kind: evilregistry.Referrers}, *tc.fault)
			}
			asked := p.origin.Count(0)
			r := p.open(t, Credentials{})
			l, err := r.List(within(t, admission), p.image, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(l.Papers) != tc.papers || len(l.Unanswered) != tc.unanswered {
				t.Errorf("%d papers, unanswered %v; want %d and %d", len(l.Papers), l.Unanswered, tc.papers, tc.unanswered)
			}
			if (p.origin.Count(0) > asked) != tc.asksOrigin {
				t.Errorf("the origin was asked %d times", p.origin.Count(0)-asked)
			}
			for _, paper := range l.Papers {
				if _, err := r.Fetch(within(t, admission), p.image, paper, verify.MaxPaper); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func fault(f evilregistry.Fault) *evilregistry.Fault { return &f }

// copySignatures copies the image's signatures from the origin to the mirror.
func (p *pair) copySignatures(t *testing.T) {
	t.Helper()
	tag := strings.Replace(p.image.DigestStr(), ":", "-", 1) + ".sig"
	signatures, err := remote.Image(p.origin.Repo("team/app").Tag(tag), p.origin.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	p.mirror.Push(t, "cache/app:"+tag, signatures)
}

func TestWhatNeitherCanTell(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mirror, origin int
		want           verify.FetchKind
	}{
		"neither has it":                                   {404, 404, verify.NotFound},
		"neither is for us":                                {401, 403, verify.Unauthorized},
		"one hasn't it and the other isn't ours":           {404, 401, verify.Unauthorized},
		"neither answers":                                  {503, 503, verify.Unavailable},
		"the origin doesn't answer":                        {404, 503, verify.Unavailable},
		"the mirror doesn't answer":                        {503, 404, verify.Unavailable}, // it may have what the origin hasn't
		"the mirror doesn't answer, the origin turns away": {503, 401, verify.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pairOf(t, Options{}, true, true)
			anyImage := evilregistry.Match{Repo: "**/app"}
			p.mirror.On(anyImage, evilregistry.Status(tc.mirror, nil, ""))
			p.origin.On(anyImage, evilregistry.Status(tc.origin, nil, ""))
			r := p.open(t, Credentials{})
			_, list := r.List(within(t, admission), p.image, nil)
			_, resolve := r.Resolve(within(t, admission), p.image.Repository.Tag("v1"))
			_, fetch := r.Fetch(within(t, admission), p.image, verify.Paper{Kind: verify.LegacySignature, Digest: hashOf(nil)}, verify.MaxPaper)
			if r.Present(within(t, admission), p.image) == nil {
				t.Error("both show the image, it is said")
			}
			for what, err := range map[string]error{"list": list, "resolve": resolve, "fetch": fetch} {
				if fe := wantKind(t, err, tc.want); !strings.Contains(fe.Error(), mirrorHost) || !strings.Contains(fe.Error(), originHost) {
					t.Errorf("%s: not both are named: %v", what, fe)
				}
			}
		})
	}
}

func TestEachIsAskedWithItsOwnCredentials(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ pod, entries string }{
		"of the Pod":     {pod: `{"auths":{"` + originHost + `":{"username":"o","password":"op"},"` + mirrorHost + `":{"username":"m","password":"mp"}}}`},
		"of the install": {pod: `{}`, entries: ", auth: {secretRef: {name: both}}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both := `{"auths":{"` + originHost + `":{"username":"o","password":"op"},"` + mirrorHost + `":{"username":"m","password":"mp"}}}`
			origin := evilregistry.New(t, evilregistry.WithTLS(originHost), evilregistry.WithBasicAuth(map[string]string{"o": "op"}, "**"))
			mirror := evilregistry.New(t, evilregistry.WithTLS(mirrorHost), evilregistry.WithBasicAuth(map[string]string{"m": "mp"}, "**"))
			img := evilregistry.RandomImage(1)
			mirror.Push(t, "cache/app:v1", img)
			image := mustDigest(t, originHost+"/team/app@"+origin.Push(t, "team/app:v1", img).DigestStr())
			c := namedClient(t, Options{
				Registries: registries(t, "{prefix: "+originHost+"/team, mirror: "+mirrorHost+"/cache"+tc.entries+"}", "{prefix: "+mirrorHost+"/cache"+tc.entries+"}"),
				Secret:     secretOf(t, map[string]string{"both": both}),
			}, map[string]*evilregistry.Registry{originHost + ":443": origin, mirrorHost + ":443": mirror})
			creds, err := ParseDockerConfig([]byte(tc.pod))
			if err != nil {
				t.Fatal(err)
			}
			l, err := mustOpen(t, c, creds, image.Repository.Name()).List(within(t, admission), image, nil)
			if err != nil || len(l.Unanswered) != 0 {
				t.Fatalf("%+v, %v", l, err)
			}
			for reg, want := range map[*evilregistry.Registry]secret{origin: {username: "o", password: "op"}, mirror: {username: "m", password: "mp"}} {
				let := 0
				for _, r := range reg.Requests() {
					if r.Authorization == want.basic() {
						let++
					} else if r.Authorization != "" {
						t.Errorf("%s was sent another's credentials", r.Host)
					}
				}
				if let == 0 {
					t.Errorf("%s was sent no credentials", reg.Host())
				}
			}
		})
	}
}

func TestRow57_TheCredentialsOfTheOriginAreNotSentToItsMirror(t *testing.T) {
	t.Parallel()
	p := pairOf(t, Options{
		Registries: registries(t, "{prefix: "+originHost+"/team, mirror: "+mirrorHost+"/cache, auth: {secretRef: {name: regcred}}}"),
		Secret: secretOf(t, map[string]string{
			// The Secret has something for the mirror as well, which no entry says to use there.
			"regcred": `{"auths":{"` + originHost + `":{"username":"u","password":"` + canarySecret + `"},"` + mirrorHost + `":{"username":"u","password":"` + canarySecret + `"}}}`,
		}),
	}, true, true)
	p.mirror.On(evilregistry.Match{}, evilregistry.Status(401, http.Header{"Www-Authenticate": {`Basic realm="x"`}}, ""))
	l, err := p.open(t, credentialsFor(t, originHost, "pod", canarySecret)).List(within(t, admission), p.image, nil)
	if err != nil {
		t.Fatalf("%+v, %v", l, err)
	}
	if p.mirror.Count(0) == 0 {
		t.Error("the mirror was not asked")
	}
	unseen(t, p.mirror)
}

func TestTheChildrenOfAnIndexComeFromEitherPlace(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]string{"both": "", "the mirror": "origin", "the origin": "mirror"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pairOf(t, Options{}, true, true)
			index := evilregistry.RandomIndex(1, v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64"})
			p.mirror.Push(t, "cache/app:index", index)
			image := mustDigest(t, originHost+"/team/app@"+p.origin.Push(t, "team/app:index", index).DigestStr())
			for at, reg := range map[string]*evilregistry.Registry{"origin": p.origin, "mirror": p.mirror} {
				if at == down {
					reg.On(evilregistry.Match{}, evilregistry.Status(503, nil, ""))
				}
			}
			l, err := p.open(t, Credentials{}).List(within(t, admission), image, nil)
			if err != nil || !l.Index || len(l.Children) != 2 {
				t.Errorf("%+v, %v", l, err)
			}
		})
	}
}

func TestTheBoundOnPapersCountsOverMirrorAndOrigin(t *testing.T) {
	t.Parallel()
	p := pairOf(t, Options{}, true, true)
	layers := make([]string, verify.MaxListed/2+1)
	for i := range layers {
		layers[i] = strings.Replace(someLayer, someHash, hashOf([]byte{byte(i), byte(i >> 8)}).String(), 1)
	}
	body := `{"schemaVersion":2,"config":` + someConfig + `,"layers":[` + strings.Join(layers, ",") + `]}`
	p.mirror.Plant(t, "cache/app", ociManifest, []byte(body), strings.Replace(p.image.DigestStr(), ":", "-", 1)+".sig")
	p.origin.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.ReferrersCount(verify.MaxListed/2+1, evilregistry.Junk{}))
	p.mirror.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.Status(503, nil, ""))
	_, err := p.open(t, Credentials{}).List(within(t, admission), p.image, nil)
	wantKind(t, err, verify.TooMany)
}

func TestAPanicWhileAMirrorIsReadBecomesAnError(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	panics := 0
	p := pairOf(t, Options{OnPanic: func(any, []byte) { mu.Lock(); panics++; mu.Unlock() }}, true, true)
	p.client.wire.route = always(func(*http.Request) (*http.Response, error) { panic("boom") })
	_, err := p.open(t, Credentials{}).List(within(t, admission), p.image, nil)
	wantKind(t, err, verify.Unavailable)
	if mu.Lock(); panics == 0 {
		t.Error("nobody was told")
	}
	mu.Unlock()
}

func TestWhoLeavesDoesNotMakeAMirrorSlow(t *testing.T) {
	t.Parallel()
	p := pairOf(t, Options{}, true, true)
	ctx, stop := context.WithCancel(t.Context())
	p.mirror.On(evilregistry.Match{}, evilregistry.Func(func(http.ResponseWriter, *http.Request) { stop(); time.Sleep(20 * time.Millisecond) }))
	p.origin.On(evilregistry.Match{}, evilregistry.Hang())
	if err := p.open(t, Credentials{}).Present(ctx, p.image); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if p.client.isSlow(mirrorHost) {
		t.Error("the mirror counts as slow")
	}
}
