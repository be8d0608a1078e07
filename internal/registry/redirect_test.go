package registry

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// blobs are what storage behind registries serves; redirects of them are normal.
var blobs = evilregistry.Match{Kind: evilregistry.Blob}

func TestRow45_CredentialsStayBehindOnARedirect(t *testing.T) {
	t.Parallel()
	for name, auth := range map[string]evilregistry.Option{
		"Basic":   evilregistry.WithBasicAuth(map[string]string{"u": "p"}, "app"),
		"a token": evilregistry.WithTokenAuth(map[string]string{"u": "p"}, "app"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t, evilregistry.WithTLS("registry.example.com"), auth, evilregistry.WithRealm("https://registry.example.com/token"))
			storage := evilregistry.New(t, evilregistry.WithTLS("storage.example.net"))
			image := signed(t, reg, "app:v1")
			c := namedClient(t, Options{}, map[string]*evilregistry.Registry{"registry.example.com:443": reg, "storage.example.net:443": storage})
			a := c.With(credentialsFor(t, "registry.example.com", "u", "p"))
			image = mustDigest(t, "registry.example.com/app@"+image.DigestStr())
			l := list(t, a, image)
			p := one(t, l, verify.PlaceSignatures)
			reg.Once(blobs, evilregistry.Redirect("https://storage.example.net", 307))
			_, err := a.Fetch(within(t, admission), image, p, verify.MaxPaper)
			wantKind(t, err, verify.NotFound) // the storage has nothing
			if storage.Count(0) != 1 {
				t.Fatalf("the storage was asked %d times", storage.Count(0))
			}
			for _, r := range storage.Requests() {
				for _, header := range []string{"Authorization", "Cookie", "Referer"} {
					if r.Header.Get(header) != "" {
						t.Errorf("the storage was sent %s: %s", header, r.Header.Get(header))
					}
				}
			}
			// Back at the registry the credentials are its own again.
			fetchAll(t, a, image, l.Papers)
		})
	}
}

func TestRow54_RedirectsOfEachRequest(t *testing.T) {
	t.Parallel()
	for _, kind := range []evilregistry.Kind{evilregistry.Ping, evilregistry.Token, evilregistry.ManifestByTag, evilregistry.ManifestByDigest, evilregistry.Blob, evilregistry.Referrers} {
		for _, tc := range []struct {
			name, to string // %s: the canary's host and port
		}{
			{"to loopback", "https://%s"},
			{"to loopback by plain http", "http://%s"},
			{"to a name of loopback", "https://localhost:%p"},
			{"to metadata", "https://169.254.169.254"},
			{"to metadata by plain http", "http://169.254.169.254"},
			{"to a file", "file:///etc/passwd"},
			{"with credentials", "https://user:password@%s"},
			{"to an IPv6 spelling of loopback", "https://[::ffff:127.0.0.1]:%p"},
		} {
			t.Run(kind.String()+" "+tc.name, func(t *testing.T) {
				t.Parallel()
				var asked atomic.Int64
				canary := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1) }))
				defer canary.Close()
				host := canary.Listener.Addr().String()
				_, port, _ := net.SplitHostPort(host)
				var opts []evilregistry.Option
				if kind == evilregistry.Token {
					opts = append(opts, evilregistry.WithTokenAuth(map[string]string{"u": "p"}, "app"))
				}
				reg := evilregistry.New(t, opts...)
				image := signed(t, reg, "app:v1")
				c := testClient(t, Options{}, reg)
				a := c.With(credentialsFor(t, reg.Host(), "u", "p"))
				var p verify.Paper
				if kind == evilregistry.Blob {
					p = one(t, list(t, a, image), verify.PlaceSignatures)
				}
				location := strings.NewReplacer("%s", host, "%p", port).Replace(tc.to)
				if kind == evilregistry.Referrers && !strings.HasPrefix(location, "file") {
					location += "/v2/app/referrers/" + image.DigestStr()
				}
				rule := reg.On(evilregistry.Match{Kind: kind}, evilregistry.Redirect(location, 307))
				var err error
				switch kind {
				case evilregistry.ManifestByTag:
					_, err = a.Resolve(within(t, admission), image.Context().Tag("v1"))
				case evilregistry.Blob:
					_, err = a.Fetch(within(t, admission), image, p, verify.MaxPaper)
				case evilregistry.Referrers:
					l := list(t, a, image)
					if e := unanswered(l, verify.PlaceReferrers); e != nil {
						err = e
					} else if !strings.HasPrefix(tc.to, "file") {
						t.Errorf("the place counts as answered: %+v", l)
					} else {
						return
					}
				default:
					_, err = a.List(within(t, admission), image, nil)
				}
				wantKind(t, err, verify.Forbidden)
				if rule.Hits() == 0 {
					t.Error("the redirect was not met")
				}
				if asked.Load() != 0 {
					t.Errorf("the canary got %d requests", asked.Load())
				}
			})
		}
	}
}

func TestARedirectDoesNotReachHostsThatAreLetThroughByName(t *testing.T) {
	t.Parallel()
	inner := evilregistry.New(t)
	reg, https := evilregistry.New(t), evilregistry.New(t, evilregistry.WithTLS())
	image := signed(t, reg, "app:v1")
	for name, location := range map[string]string{"plain http": inner.URL(), "https": https.URL()} {
		t.Run(name, func(t *testing.T) {
			c := testClient(t, Options{}, reg, inner, https) // all three are let through
			a := c.With(Credentials{})
			p := one(t, list(t, a, image), verify.PlaceSignatures)
			rule := reg.Once(blobs, evilregistry.Redirect(location, 307))
			_, err := a.Fetch(within(t, admission), image, p, verify.MaxPaper)
			wantKind(t, err, verify.Forbidden)
			rule.Remove()
		})
	}
	if n := inner.Count(0) + https.Count(0); n != 0 {
		t.Errorf("they were asked %d times", n)
	}
}

func TestRedirectsAreFollowedToABound(t *testing.T) {
	t.Parallel()
	for hops, followed := range map[int]bool{1: true, maxRedirects: true, maxRedirects + 1: false, 100: false} {
		t.Run(fmt.Sprint(hops), func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t)
			image := signed(t, reg, "app:v1")
			a := testClient(t, Options{}, reg).With(Credentials{})
			p := one(t, list(t, a, image), verify.PlaceSignatures)
			rule := reg.Times(hops, blobs, evilregistry.Redirect(reg.URL(), 307))
			_, err := a.Fetch(within(t, admission), image, p, verify.MaxPaper)
			if followed && err != nil {
				t.Errorf("%d redirects to the registry itself: %v", hops, err)
			}
			if !followed {
				wantKind(t, err, verify.Forbidden)
				if rule.Hits() > maxRedirects+1 {
					t.Errorf("%d redirects were followed", rule.Hits()-1)
				}
			}
		})
	}
}

func TestARegistryBehindARedirector(t *testing.T) { // as registry.k8s.io
	t.Parallel()
	front := evilregistry.New(t, evilregistry.WithTLS("registry.example.com"))
	back := evilregistry.New(t, evilregistry.WithTLS("pkg.example.net"))
	image := signed(t, back, "app:v1")
	front.On(evilregistry.Match{}, evilregistry.Redirect("https://pkg.example.net", 307))
	a := namedClient(t, Options{}, map[string]*evilregistry.Registry{
		"registry.example.com:443": front, "pkg.example.net:443": back,
	}).With(Credentials{})
	back.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.ReferrersPages(1))
	image = mustDigest(t, "registry.example.com/app@"+image.DigestStr())
	l := list(t, a, image)
	if len(l.Papers) != 3 || len(l.Unanswered) != 0 {
		t.Fatalf("got %+v", l)
	}
	fetchAll(t, a, image, l.Papers)
}

func TestRedirectRules(t *testing.T) {
	t.Parallel()
	named, err := parseHosts([]string{"inner.example", "registry.example:5000"})
	if err != nil {
		t.Fatal(err)
	}
	r := rules{passes{flags: named, exempt: hostSet{{host: "vault.example"}: true}}}
	for _, tc := range []struct {
		name, from, to string
		hops           int
		refused        bool
	}{
		{name: "to storage", from: "https://registry.example/v2/", to: "https://storage.example/x?signature=1", hops: 1},
		{name: "to itself", from: "https://registry.example/v2/", to: "https://registry.example:443/v3/", hops: 1},
		{name: "to itself, by plain http as it is", from: "http://registry.example:5000/v2/", to: "http://REGISTRY.example:5000/v3/", hops: 1},
		{name: "from plain http to storage", from: "http://registry.example:5000/v2/", to: "https://storage.example/", hops: 1},
		{name: "to plain http", from: "https://registry.example/v2/", to: "http://storage.example/", hops: 1, refused: true},
		{name: "to itself by plain http", from: "https://registry.example/v2/", to: "http://registry.example/v2/", hops: 1, refused: true},
		{name: "to another scheme", from: "https://registry.example/v2/", to: "ftp://storage.example/", hops: 1, refused: true},
		{name: "to a named host", from: "https://registry.example/v2/", to: "http://inner.example/", hops: 1, refused: true},
		{name: "to a named host by https", from: "https://registry.example/v2/", to: "https://inner.example/", hops: 1, refused: true},
		{name: "to an exempt host", from: "https://registry.example/v2/", to: "https://vault.example/", hops: 1, refused: true},
		{name: "from a named host to another port of it", from: "http://inner.example:5000/v2/", to: "https://inner.example:6443/", hops: 1, refused: true},
		{name: "to itself with credentials", from: "https://registry.example/v2/", to: "https://user:password@registry.example/v2/", hops: 1, refused: true},
		{name: "once too often", from: "https://registry.example/v2/", to: "https://registry.example/", hops: maxRedirects + 1, refused: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			from, to := mustURL(t, tc.from), mustURL(t, tc.to)
			if err := r.redirect(from, to, tc.hops); (err != nil) != tc.refused {
				t.Errorf("got %v, refused: %v", err, tc.refused)
			}
		})
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
