package registry

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// clock is a clock that a test sets.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

func TestRow39_HeadDigestLie(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	lie := "sha256:" + strings.Repeat("a", 64)
	rule := reg.On(evilregistry.Match{}, evilregistry.FalseDigestHeader(lie))
	got, err := testClient(t, Options{}, reg).With(Credentials{}).Resolve(within(t, admission), tag(t, reg, "app:v1"))
	if err != nil {
		t.Fatal(err)
	}
	if got.DigestStr() != image.DigestStr() || got.DigestStr() == lie {
		t.Errorf("resolved to %s, want the digest of the body, %s", got.DigestStr(), image.DigestStr())
	}
	if rule.Hits() == 0 {
		t.Error("the lie wasn't told")
	}
	for _, r := range reg.Requests() {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.Path)
		}
	}
}

func TestRow40_EveryLaterReadIsByTheDigestResolvedFirst(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	first, second := evilregistry.RandomImage(1), evilregistry.RandomImage(2)
	image := reg.Push(t, "app:v1", first)
	other, err := second.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	// The registry shows the one image at the first read, by tag or digest, and the other ever after.
	for schedule := range 20 {
		reg.ClearFaults()
		reg.On(evilregistry.Match{Kind: evilregistry.Manifest, If: func(r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/v1") || strings.Contains(r.URL.Path, ":")
		}}, evilregistry.Sometimes(float64(schedule)/19, uint64(schedule), evilregistry.ReplaceBody(other)))
		c := testClient(t, Options{}, reg)
		got, err := c.With(Credentials{}).Resolve(within(t, admission), tag(t, reg, "app:v1"))
		if err != nil {
			t.Fatal(err)
		}
		want := image.DigestStr()
		if got.DigestStr() != want && got.DigestStr() != hashOf(other).String() {
			t.Fatalf("resolved to %s, which was never shown", got)
		}
		reader := testClient(t, Options{}, reg).With(Credentials{}) // one that doesn't hold the manifest
		for range 5 {
			if _, err := reader.List(within(t, admission), image, nil); err != nil {
				wantKind(t, err, verify.Malformed)
			}
		}
	}
}

func TestRow36_TheTagBesideADigestIsNeverAsked(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	b := reg.Push(t, "app:v2", evilregistry.RandomImage(2))
	image := mustDigest(t, reg.Host()+"/app:v1@"+b.DigestStr()) // v1 is another image
	list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
	asked := false
	for _, r := range reg.Requests() {
		if r.Ref == "v1" || r.Ref == "v2" {
			t.Errorf("asked for the tag: %s", r.Path)
		}
		asked = asked || r.Ref == b.DigestStr() && r.Kind == evilregistry.ManifestByDigest
	}
	if !asked {
		t.Error("the digest wasn't asked for")
	}
}

func TestRow42_ResolveRefusesAnAmbiguousManifest(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	planted := reg.Plant(t, "app", ociManifest, evilregistry.AmbiguousManifest(ociManifest), "both")
	a := testClient(t, Options{}, reg).With(Credentials{})
	_, err := a.Resolve(within(t, admission), tag(t, reg, "app:both"))
	wantKind(t, err, verify.Malformed)
	_, err = a.List(within(t, admission), planted, nil)
	wantKind(t, err, verify.Malformed)
	reg.On(evilregistry.Match{Ref: "v1"}, evilregistry.WrongContentType(ociIndex))
	_, err = a.Resolve(within(t, admission), tag(t, reg, "app:v1"))
	wantKind(t, err, verify.Malformed)
}

func TestResolveHoldsATagForSeconds(t *testing.T) {
	t.Parallel()
	var at clock
	reg := evilregistry.New(t)
	first := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	c := testClient(t, Options{Clock: at.now}, reg)
	a, ref := c.With(Credentials{}), tag(t, reg, "app:v1")
	resolve := func() string {
		t.Helper()
		d, err := a.Resolve(within(t, admission), ref)
		if err != nil {
			t.Fatal(err)
		}
		return d.DigestStr()
	}
	if got := resolve(); got != first.DigestStr() {
		t.Fatalf("got %s", got)
	}
	moved := reg.Push(t, "app:v1", evilregistry.RandomImage(2))
	at.advance(tagAge / 2)
	if got := resolve(); got != first.DigestStr() {
		t.Errorf("asked again within %s", tagAge)
	}
	at.advance(tagAge / 2)
	if got := resolve(); got != moved.DigestStr() {
		t.Errorf("the tag was moved %s ago and is still the old one", tagAge)
	}
	other, err := c.With(credentialsFor(t, reg.Host(), "u", "p")).Resolve(within(t, admission), ref)
	if err != nil || other.DigestStr() != moved.DigestStr() {
		t.Errorf("another reader: %v, %v", other, err)
	}
	if n := reg.Count(evilregistry.ManifestByTag); n != 3 {
		t.Errorf("%d requests, want 3: two of the one reader, one of the other", n)
	}
}

func TestAFailureToResolveIsNotHeld(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	a := testClient(t, Options{}, reg).With(Credentials{})
	reg.Times(1+maxRetries, evilregistry.Match{Kind: evilregistry.ManifestByTag}, evilregistry.Status(503, nil, ""))
	_, err := a.Resolve(within(t, admission), tag(t, reg, "app:v1"))
	wantKind(t, err, verify.Unavailable)
	if _, err := a.Resolve(within(t, admission), tag(t, reg, "app:v1")); err != nil {
		t.Errorf("right after the failure: %v", err)
	}
	_, err = a.Resolve(within(t, admission), tag(t, reg, "app:v2"))
	wantKind(t, err, verify.NotFound)
	reg.Push(t, "app:v2", evilregistry.RandomImage(2))
	if _, err := a.Resolve(within(t, admission), tag(t, reg, "app:v2")); err != nil {
		t.Errorf("right after it was pushed: %v", err)
	}
}

func TestManyWhoResolveATagCostOneRequest(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithDelay(100*time.Millisecond))
	reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	a, ref := testClient(t, Options{}, reg).With(Credentials{}), tag(t, reg, "app:v1")

	// The first to ask leaves before the answer comes.
	ctx, leave := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer leave()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := a.Resolve(ctx, ref)
		wantGone(t, err)
	})
	time.Sleep(5 * time.Millisecond)
	for range 100 {
		wg.Go(func() {
			if _, err := a.Resolve(within(t, admission), ref); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := reg.Count(evilregistry.ManifestByTag); n != 1 {
		t.Errorf("%d requests for one tag", n)
	}
	if n := reg.Count(evilregistry.Ping); n != 1 {
		t.Errorf("%d pings", n)
	}
}

func wantGone(t *testing.T, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "no answer in the time given") {
		t.Errorf("got %v, want the caller's own deadline", err)
	}
}

func TestWhatResolveReadIsNotReadAgain(t *testing.T) {
	t.Parallel()
	var at clock
	reg := evilregistry.New(t)
	reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	a := testClient(t, Options{Clock: at.now}, reg).With(Credentials{})
	image, err := a.Resolve(within(t, admission), tag(t, reg, "app:v1"))
	if err != nil {
		t.Fatal(err)
	}
	list(t, a, image)
	if n := reg.Count(evilregistry.ManifestByDigest); n != 0 {
		t.Errorf("the manifest was read %d times again", n)
	}
	at.advance(manifestFresh)
	list(t, a, image)
	if n := reg.Count(evilregistry.ManifestByDigest); n != 1 {
		t.Errorf("%s later the manifest was read %d times, want once: it may be gone, or closed to us", manifestFresh, n)
	}
}

func TestRow34_SpellingsOfOneNameAreTheSameOrRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		spelling string
		refused  bool
		hub      bool // asked with the credentials of Docker Hub
	}{
		{spelling: "alpine", hub: true},
		{spelling: "library/alpine", hub: true},
		{spelling: "docker.io/alpine", hub: true},
		{spelling: "docker.io/library/alpine", hub: true},
		{spelling: "index.docker.io/library/alpine", hub: true},
		{spelling: "registry-1.docker.io/library/alpine"},
		{spelling: "registry.hub.docker.com/library/alpine"},
		{spelling: "docker.io:443/library/alpine"},
		{spelling: "DOCKER.IO/library/alpine", refused: true},
		{spelling: "Index.Docker.io/library/alpine", refused: true},
		{spelling: "docker.io./library/alpine", refused: true},
		{spelling: "-docker.io/library/alpine", refused: true},
		{spelling: "docker.io:/library/alpine", refused: true},
		{spelling: "g\u04bbcr.io/app", refused: true},
		{spelling: "ghcr.io/trusted/../evil", refused: true},
		{spelling: "ghcr.io//app", refused: true},
		{spelling: "ghcr.io/./app", refused: true},
		{spelling: "ghcr.io/app/", refused: true},
	} {
		t.Run(tc.spelling, func(t *testing.T) {
			t.Parallel()
			repo, err := name.NewRepository(tc.spelling)
			if err == nil {
				err = checkTarget(repo)
			}
			if (err != nil) != tc.refused {
				t.Fatalf("refused: %v, want %v", err, tc.refused)
			}
			if err != nil {
				return
			}
			creds := credentialsFor(t, "https://index.docker.io/v1/", "u", "p")
			if got := len(creds.For(repo).entries) == 1; got != tc.hub {
				t.Errorf("asked with Docker Hub's credentials: %v, want %v", got, tc.hub)
			}
		})
	}
}

func TestRow34_ANameOfAnotherSpellingIsNotAsked(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	a := testClient(t, Options{}, reg).With(Credentials{})
	_, port, _ := strings.Cut(reg.Host(), ":")
	for _, host := range []string{"LOCALHOST:" + port, "localhost.:" + port} {
		repo, err := name.NewRepository(host + "/app")
		if err != nil {
			continue
		}
		_, err = a.Resolve(within(t, admission), repo.Tag("v1"))
		wantKind(t, err, verify.Forbidden)
		_, err = a.List(within(t, admission), repo.Digest(someHash), nil)
		wantKind(t, err, verify.Forbidden)
		_, err = a.Fetch(within(t, admission), repo.Digest(someHash), verify.Paper{Kind: verify.LegacySignature, Digest: hashOf(nil)}, verify.MaxPaper)
		wantKind(t, err, verify.Forbidden)
	}
	if reg.Count(0) != 0 {
		t.Error("it was asked")
	}
}

// A port may be written in many ways, of which one is dialled and another is matched by policies and credentials.
func TestAPortOfAnotherSpellingIsNotAsked(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]verify.FetchKind{
		"registry.example.com": 0, "registry.example.com:443": 0, "registry.example.com:1": 0, "registry.example.com:65535": 0,
		"127.0.0.1:5000": 0, "[::1]": 0, "[::1]:5000": 0, "[2001:db8::1]:443": 0, "[::ffff:127.0.0.1]:5000": 0,

		"registry.example.com:0443": verify.Malformed, "registry.example.com:0": verify.Malformed, "registry.example.com:00": verify.Malformed,
		"registry.example.com:65536": verify.Malformed, "registry.example.com:65979": verify.Malformed, "registry.example.com:": verify.Malformed,
		"registry.example.com:+443": verify.Malformed, "registry.example.com:4_43": verify.Malformed, "registry.example.com:https": verify.Malformed,
		"[::1]:0443": verify.Malformed,

		"registry.example.com.:443": verify.Forbidden, "Registry.example.com:443": verify.Forbidden, ":443": verify.Forbidden, "": verify.Forbidden,
		"a:1:443": verify.Forbidden, "::1": verify.Forbidden, "[0:0::1]:443": verify.Forbidden, "[::FFFF:1]": verify.Forbidden, "[::1%25eth0]": verify.Forbidden,
		"[127.0.0.1]:443": verify.Forbidden, "[::1:443": verify.Forbidden, "[]": verify.Forbidden, "[::ffff:7f00:1]:443": verify.Forbidden,
	} {
		err := checkHost(host)
		if want == 0 && err != nil || want != 0 && (err == nil || failureOf(err).kind != want) {
			t.Errorf("%q: got %v, want %v", host, err, want)
		}
	}
}
