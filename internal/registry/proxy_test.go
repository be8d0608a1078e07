package registry

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http/httpproxy"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// testProxy is an HTTP proxy that resolves the names it knows, as a company's does those that only it can.
type testProxy struct {
	server *httptest.Server
	named  map[string]*evilregistry.Registry // by host:port
	status int                               // of every answer; 0: it does its work

	mu     sync.Mutex
	asked  []string // host:port
	logins []string // Proxy-Authorization
}

func newProxy(t *testing.T, secure bool, named map[string]*evilregistry.Registry) *testProxy {
	t.Helper()
	p := &testProxy{named: named}
	p.server = httptest.NewUnstartedServer(p)
	p.server.EnableHTTP2 = false
	if secure {
		p.server.StartTLS()
	} else {
		p.server.Start()
	}
	t.Cleanup(p.server.CloseClientConnections)
	t.Cleanup(p.server.Close)
	return p
}

// ServeHTTP implements http.Handler.
func (p *testProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to := r.Host
	if r.Method != http.MethodConnect {
		to = dialAddress("http", r.URL.Host)
	}
	p.mu.Lock()
	p.asked, p.logins = append(p.asked, to), append(p.logins, r.Header.Get("Proxy-Authorization"))
	p.mu.Unlock()
	reg, ok := p.named[to]
	switch {
	case p.status != 0:
		http.Error(w, canarySecret, p.status)
	case !ok:
		http.Error(w, "no such host here", http.StatusBadGateway)
	case r.Method == http.MethodConnect:
		p.tunnel(w, reg.Host())
	default:
		p.forward(w, r, reg.Host())
	}
}

func (p *testProxy) tunnel(w http.ResponseWriter, host string) {
	far, err := net.Dial("tcp", host)
	if err != nil {
		http.Error(w, "", http.StatusBadGateway)
		return
	}
	defer far.Close()
	w.WriteHeader(http.StatusOK)
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer near.Close()
	done := make(chan bool, 2)
	go func() { _, _ = io.Copy(far, buffered); done <- true }()
	go func() { _, _ = io.Copy(near, far); done <- true }()
	<-done
}

func (p *testProxy) forward(w http.ResponseWriter, r *http.Request, host string) {
	out := r.Clone(r.Context())
	out.RequestURI, out.URL.Host = "", host
	out.Header.Del("Proxy-Authorization") // as a proxy must (RFC 9110, 11.7.1)
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		http.Error(w, "", http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	for key, values := range resp.Header {
		w.Header()[key] = values
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

func (p *testProxy) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Clone(p.asked)
	slices.Sort(all)
	return slices.Compact(all)
}

// by is the choice of proxy that an environment with this one would make.
func (p *testProxy) by(noProxy string) func(*url.URL) (*url.URL, error) {
	return (&httpproxy.Config{HTTPProxy: p.server.URL, HTTPSProxy: p.server.URL, NoProxy: noProxy}).ProxyFunc()
}

// clientBehind returns a client behind a proxy, with the whole dial guard.
func clientBehind(t *testing.T, o Options, named map[string]*evilregistry.Registry) *Client {
	t.Helper()
	if o.RootCAs == nil {
		o.RootCAs = x509.NewCertPool()
	}
	for _, r := range named {
		o.RootCAs.AppendCertsFromPEM(r.CAPEM())
	}
	return testClient(t, o)
}

func names(hosts ...string) func(string) bool {
	return func(host string) bool { return slices.Contains(hosts, host) }
}

func TestAProxyIsUsedForTheHostsThatAreNamed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		secure  bool
		named   []string
		entries []string
	}{
		"by a policy":              {named: []string{"reg.example.com"}},
		"by an entry":              {entries: []string{"{prefix: reg.example.com/other}"}},
		"as a mirror":              {entries: []string{"{prefix: other.example.com, mirror: reg.example.com}"}},
		"by way of a proxy by TLS": {secure: true, named: []string{"reg.example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t, evilregistry.WithTLS("reg.example.com"))
			image := signed(t, reg, "app:v1")
			proxy := newProxy(t, tc.secure, map[string]*evilregistry.Registry{"reg.example.com:443": reg})
			o := Options{Proxy: proxy.by(""), Named: names(tc.named...), Registries: registries(t, tc.entries...)}
			if tc.secure {
				o.RootCAs = x509.NewCertPool()
				o.RootCAs.AddCert(proxy.server.Certificate())
			}
			c := clientBehind(t, o, proxy.named)
			image = mustDigest(t, "reg.example.com/app@"+image.DigestStr())
			a := c.With(Credentials{})
			fetchAll(t, a, image, list(t, a, image).Papers)
			if got := proxy.seen(); !slices.Equal(got, []string{"reg.example.com:443"}) {
				t.Errorf("the proxy was asked for %v", got)
			}
		})
	}
}

func TestABundleHoldsBehindAProxyThatHasAnother(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTLS("reg.example.com"))
	image := signed(t, reg, "app:v1")
	proxy := newProxy(t, true, map[string]*evilregistry.Registry{"reg.example.com:443": reg})
	roots := x509.NewCertPool()
	roots.AddCert(proxy.server.Certificate())
	c := testClient(t, Options{Proxy: proxy.by(""), RootCAs: roots, Registries: registries(t, "{prefix: reg.example.com, caBundle: "+indented(reg.CAPEM())+"}")})
	list(t, c.With(Credentials{}), mustDigest(t, "reg.example.com/app@"+image.DigestStr()))
}

func TestPlainHTTPByWayOfAProxy(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := signed(t, reg, "app:v1")
	proxy := newProxy(t, false, map[string]*evilregistry.Registry{"reg.example.com:80": reg})
	c := testClient(t, Options{Proxy: proxy.by(""), Registries: registries(t, "{prefix: reg.example.com, plainHTTP: true}")})
	list(t, c.With(Credentials{}), mustDigest(t, "reg.example.com/app@"+image.DigestStr()))
	if got := proxy.seen(); !slices.Equal(got, []string{"reg.example.com:80"}) {
		t.Errorf("the proxy was asked for %v", got)
	}
}

func TestRow54_BehindAProxyNoHostIsAskedThatNobodyNamed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		host    string   // of the image
		entries []string // of the registries
		named   []string // by policies
		asked   []string // of the proxy, with port 443
	}{
		{name: "a host of a reference", host: "canary.example.net", named: []string{"reg.example.com"}},
		{name: "by nobody at all", host: "canary.example.net"},
		{name: "a name within another", host: "canary.example.net.evil", named: []string{"canary.example.net"}},
		{name: "a name around another", host: "x.canary.example.net", named: []string{"canary.example.net"}},
		{name: "another port", host: "canary.example.net:8443", named: []string{"canary.example.net"}},
		{name: "another port than an entry's", host: "canary.example.net:8443", entries: []string{"{prefix: canary.example.net}"}},
		{name: "the port of https, written", host: "reg.example.com:443", named: []string{"reg.example.com"}, asked: []string{"reg.example.com"}},
		{name: "Docker Hub", host: "index.docker.io", named: []string{"docker.io"}, asked: []string{"index.docker.io"}},
		{name: "Docker Hub by an entry", host: "index.docker.io", entries: []string{"{prefix: docker.io/library}"}, asked: []string{"index.docker.io"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			proxy := newProxy(t, false, nil)
			c := testClient(t, Options{Proxy: proxy.by(""), Named: names(tc.named...), Registries: registries(t, tc.entries...)})
			_, err := c.With(Credentials{}).List(within(t, admission), mustDigest(t, tc.host+"/library/app@"+someHash), nil)
			if tc.asked == nil {
				fe := wantKind(t, err, verify.Forbidden)
				for _, want := range []string{tc.host, "`images` of a policy", "`registries`"} {
					if !strings.Contains(fe.Error(), want) {
						t.Errorf("%q isn't said: %v", want, fe)
					}
				}
			}
			var want []string
			for _, host := range tc.asked {
				want = append(want, host+":443")
			}
			if got := proxy.seen(); !slices.Equal(got, want) {
				t.Errorf("the proxy was asked for %v, want %v", got, want)
			}
		})
	}
}

func TestRow54_BehindAProxyRedirectsAndRealmsLeadToNamedHosts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		entries []string
		named   []string
		kind    evilregistry.Kind
		asked   bool
	}{
		{name: "a redirect of a blob", kind: evilregistry.Blob},
		{name: "a redirect of a blob to a host that a policy names", kind: evilregistry.Blob, named: []string{"canary.example.net"}, asked: true},
		{name: "a redirect of a blob to a host that an entry names", kind: evilregistry.Blob, entries: []string{"{prefix: canary.example.net}"}, asked: true},
		{name: "a redirect of a manifest", kind: evilregistry.ManifestByDigest},
		{name: "a redirect of a ping", kind: evilregistry.Ping},
		{name: "a token service", kind: evilregistry.Token},
		{name: "a token service that is named for another", kind: evilregistry.Token, entries: []string{"{prefix: reg.example.com/other, tokenHosts: [canary.example.net]}"}, asked: true},
		{name: "a token service that is named", kind: evilregistry.Token, entries: []string{"{prefix: reg.example.com, tokenHosts: [canary.example.net]}"}, asked: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var gate []evilregistry.Option
			if tc.kind == evilregistry.Token {
				gate = append(gate, evilregistry.WithTokenAuth(nil, "app"), evilregistry.WithRealm("https://canary.example.net/token"))
			}
			reg := evilregistry.New(t, append(gate, evilregistry.WithTLS("reg.example.com"))...)
			canary := evilregistry.New(t, evilregistry.WithTLS("canary.example.net"))
			image := signed(t, reg, "app:v1")
			if tc.kind != evilregistry.Token {
				reg.On(evilregistry.Match{Kind: tc.kind}, evilregistry.Redirect("https://canary.example.net", 307))
			}
			proxy := newProxy(t, false, map[string]*evilregistry.Registry{"reg.example.com:443": reg, "canary.example.net:443": canary})
			c := clientBehind(t, Options{Proxy: proxy.by(""), Named: names(append(tc.named, "reg.example.com")...), Registries: registries(t, tc.entries...)}, proxy.named)
			a := c.With(Credentials{})
			image = mustDigest(t, "reg.example.com/app@"+image.DigestStr())
			l, err := a.List(within(t, admission), image, nil)
			if tc.kind == evilregistry.Blob {
				if err != nil {
					t.Fatal(err)
				}
				_, err = a.Fetch(within(t, admission), image, one(t, l, verify.PlaceSignatures), verify.MaxPaper)
			}
			if err == nil {
				t.Error("let in")
			}
			if !tc.asked {
				wantKind(t, err, verify.Forbidden)
			}
			if got := slices.Contains(proxy.seen(), "canary.example.net:443"); got != tc.asked {
				t.Errorf("the proxy was asked for the canary: %v (%v)", got, err)
			}
			if (canary.Count(0) > 0) != tc.asked {
				t.Errorf("the canary got %d requests", canary.Count(0))
			}
		})
	}
}

func TestRow54_BehindAProxyAddressesAreJudgedAllTheSame(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		host    string
		entries []string
		refused bool
	}{
		{host: "169.254.169.254", refused: true},
		{host: "169.254.169.254", entries: []string{"{prefix: 169.254.169.254, dialPrivate: true}"}, refused: true},
		{host: "[fd00:ec2::254]", refused: true},
		{host: "169.254.1.1", refused: true},
		{host: "0.0.0.0", refused: true},
		{host: "10.96.0.1", refused: true}, // a Service
		{host: "192.168.1.1", refused: true},
		{host: "192.168.1.1", entries: []string{"{prefix: 192.168.1.1, dialPrivate: true}"}},
		{host: "[64:ff9b::a9fe:a9fe]", refused: true},
		{host: "127.1", refused: true},
		{host: "2130706433", refused: true},
		{host: "0x7f000001", refused: true},
		{host: "0x7f.1", refused: true},
		{host: "0177.0.0.1", refused: true},
		{host: "1.0x7f", refused: true},
		{host: "93.184.216.34"},
		{host: "0x7f.example"},
		{host: "1.example"},
	} {
		guard := NewGuard(GuardOptions{DenyPrivate: true})
		guard.SetServiceRanges(serviceRanges())
		c := testClient(t, Options{
			Guard: guard, Named: func(string) bool { return true }, Registries: registries(t, tc.entries...),
			Proxy: func(*url.URL) (*url.URL, error) { return url.Parse("http://proxy.example:3128") },
		})
		_, err := c.transports.route(mustURL(t, "https://"+tc.host+"/v2/"))
		if (err != nil) != tc.refused || err != nil && failureOf(err).kind != verify.Forbidden {
			t.Errorf("%s with %v: %v, refused: %v", tc.host, tc.entries, err, tc.refused)
		}
	}
}

func TestRow54_WhatIsNotProxiedIsDialledUnderTheGuard(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTLS())
	image := signed(t, reg, "app:v1")
	_, port, _ := strings.Cut(reg.Host(), ":")
	proxy := newProxy(t, false, nil)
	own := proxy.server.Listener.Addr().String()
	for name, tc := range map[string]struct{ host, noProxy string }{
		"a host of NO_PROXY":                {host: "localtest.example:" + port, noProxy: "localtest.example"},
		"loopback, which is never proxied":  {host: reg.Host()},
		"the proxy itself, as a registry":   {host: own},
		"the proxy itself, out of NO_PROXY": {host: own, noProxy: own},
		"localhost":                         {host: "localhost:" + port, noProxy: "localhost"},
	} {
		c := clientBehind(t, Options{Proxy: proxy.by(tc.noProxy), Named: func(string) bool { return true }}, map[string]*evilregistry.Registry{"": reg})
		_, err := c.With(Credentials{}).List(within(t, admission), mustDigest(t, tc.host+"/app@"+image.DigestStr()), nil)
		if name == "a host of NO_PROXY" {
			wantKind(t, err, verify.Unavailable) // there is no such host
			continue
		}
		if fe := wantKind(t, err, verify.Forbidden); !strings.Contains(fe.Error(), "loopback") {
			t.Errorf("%s: %v", name, fe)
		}
	}
	if len(proxy.seen()) != 0 || reg.Count(0) != 0 {
		t.Errorf("the proxy was asked for %v, the registry %d times", proxy.seen(), reg.Count(0))
	}
	// And one that the install lets through is asked, past the proxy.
	c := clientBehind(t, Options{Proxy: proxy.by(""), Registries: registries(t, "{prefix: "+reg.Host()+", dialPrivate: true}")}, map[string]*evilregistry.Registry{"": reg})
	list(t, c.With(Credentials{}), image)
}

func TestAProxyAtAMetadataAddressIsRefused(t *testing.T) {
	t.Parallel()
	c := testClient(t, Options{Named: names("reg.example.com"), Proxy: func(*url.URL) (*url.URL, error) { return url.Parse("http://169.254.169.254:80") }})
	_, err := c.With(Credentials{}).List(within(t, admission), mustDigest(t, "reg.example.com/app@"+someHash), nil)
	wantKind(t, err, verify.Forbidden)
}

func TestTheProxysPasswordIsTheProxysAlone(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTLS("reg.example.com"))
	image := signed(t, reg, "app:v1")
	proxy := newProxy(t, false, map[string]*evilregistry.Registry{"reg.example.com:443": reg})
	withPassword := func(*url.URL) (*url.URL, error) {
		return url.Parse("http://u:" + canarySecret + "@" + proxy.server.Listener.Addr().String())
	}
	image = mustDigest(t, "reg.example.com/app@"+image.DigestStr())
	c := clientBehind(t, Options{Proxy: withPassword, Named: names("reg.example.com")}, proxy.named)
	list(t, c.With(Credentials{}), image)
	unseen(t, reg)
	if len(proxy.logins) == 0 || proxy.logins[0] != (secret{username: "u", password: canarySecret}).basic() {
		t.Errorf("the proxy was sent %q", proxy.logins)
	}
	for what, o := range map[string]Options{
		"it refuses":       {Proxy: withPassword, Named: names("reg.example.com")},
		"it can't be read": {Proxy: func(*url.URL) (*url.URL, error) { return nil, errors.New("proxy http://u:" + canarySecret + "@x") }},
	} {
		proxy.status = http.StatusProxyAuthRequired
		c := clientBehind(t, o, proxy.named)
		_, err := c.With(Credentials{}).List(within(t, admission), image, nil)
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), canarySecret) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAChoiceOfProxyThatChangesIsNoWayPastTheGuard(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTLS())
	image := signed(t, reg, "app:v1")
	calls := 0
	var mu sync.Mutex
	fickle := func(*url.URL) (*url.URL, error) { // a proxy the first time, and none when it comes to dialling
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls%2 == 1 {
			return url.Parse("http://127.0.0.1:1")
		}
		return nil, nil
	}
	c := clientBehind(t, Options{Proxy: fickle, Named: func(string) bool { return true }, Guard: NewGuard(GuardOptions{})}, map[string]*evilregistry.Registry{"": reg})
	// By name, for an address would be refused before.
	_, port, _ := strings.Cut(reg.Host(), ":")
	_, err := c.With(Credentials{}).List(within(t, admission), mustDigest(t, "localhost:"+port+"/app@"+image.DigestStr()), nil)
	wantKind(t, err, verify.Forbidden)
	if reg.Count(0) != 0 {
		t.Error("it was asked")
	}

}
