package registry

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

func TestRow51_CompressedAnswersAreRefused(t *testing.T) { // not parallel: it measures
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := io.Copy(z, io.LimitReader(spaces{}, 94<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	bomb := packed.String()
	for name, kind := range map[string]evilregistry.Kind{
		"a manifest by tag": evilregistry.ManifestByTag, "a manifest by digest": evilregistry.ManifestByDigest,
		"a blob": evilregistry.Blob, "referrers": evilregistry.Referrers,
	} {
		t.Run(name, func(t *testing.T) {
			reg := evilregistry.New(t)
			image := signed(t, reg, "app:v1")
			a := testClient(t, Options{}, reg).With(Credentials{})
			p := one(t, list(t, testClient(t, Options{}, reg).With(Credentials{}), image), verify.PlaceSignatures)
			rule := reg.On(evilregistry.Match{Kind: kind}, evilregistry.Status(200, http.Header{
				"Content-Encoding": {"gzip"}, "Content-Type": {ociIndex}}, bomb))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var err error
			switch kind {
			case evilregistry.ManifestByTag:
				_, err = a.Resolve(within(t, admission), image.Context().Tag("v1"))
			case evilregistry.ManifestByDigest:
				_, err = a.List(within(t, admission), image, nil)
			case evilregistry.Blob:
				_, err = a.Fetch(within(t, admission), image, p, verify.MaxPaper)
			default:
				if e := unanswered(list(t, a, image), verify.PlaceReferrers); e != nil {
					err = e
				}
			}
			runtime.ReadMemStats(&after)
			if fe := wantKind(t, err, verify.Malformed); !strings.Contains(fe.Error(), `encoded as "gzip"`) {
				t.Errorf("got %v", fe)
			}
			if rule.Hits() != 1 {
				t.Errorf("asked %d times", rule.Hits())
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
				t.Errorf("%d MiB were allotted for a bomb of 94", got>>20)
			}
		})
	}
}

// spaces is a text of spaces without end.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestNothingButPlainBytesIsAskedFor(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTokenAuth(nil, "private"))
	image := signed(t, reg, "app:v1")
	a := testClient(t, Options{UserAgent: "pratique/test"}, reg).With(Credentials{})
	fetchAll(t, a, image, list(t, a, image).Papers)
	for _, r := range reg.Requests() {
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("%s: Accept-Encoding %q", r.Path, got)
		}
		if got := r.Header.Get("User-Agent"); got != "pratique/test" {
			t.Errorf("%s: User-Agent %q", r.Path, got)
		}
		if got := r.Header.Get("Accept"); r.Kind&evilregistry.Manifest != 0 && (strings.Contains(got, "v1+prettyjws") || !strings.Contains(got, ociIndex)) {
			t.Errorf("%s: Accept %q", r.Path, got)
		}
	}
	// identity, named, is no encoding
	reg.On(evilregistry.Match{Kind: evilregistry.ManifestByTag}, evilregistry.Header("Content-Encoding", "identity"))
	if _, err := a.Resolve(within(t, admission), image.Context().Tag("v1")); err != nil {
		t.Error(err)
	}
}

func TestRow60_PlainHTTPIsRefusedUnlessTheHostIsNamed(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	_, port, _ := strings.Cut(reg.Host(), ":")
	hosts := []string{"localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port, "registry.localhost:" + port, "10.0.0.1:" + port, "192.168.0.1:" + port}
	dialled := map[string]bool{}
	var mu sync.Mutex
	for _, o := range []Options{{}, {PlainHTTP: []string{"other.example"}}, {Guard: NewGuard(GuardOptions{Exempt: []HostPort{{host: "127.0.0.1"}, {host: "localhost"}}})}} {
		o.Timeouts.Dial = 200 * time.Millisecond
		c := testClient(t, o)
		c.wire.route = always(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			dialled[r.URL.Scheme] = true
			mu.Unlock()
			return nil, io.ErrUnexpectedEOF
		})
		for _, host := range hosts {
			_, err := c.With(Credentials{}).List(within(t, admission), mustDigest(t, host+"/app@"+image.DigestStr()), nil)
			wantKind(t, err, verify.Unavailable)
		}
	}
	if dialled["http"] || !dialled["https"] {
		t.Errorf("schemes that were tried: %v, want https alone", dialled)
	}
	if reg.Count(0) != 0 {
		t.Error("the registry was asked")
	}

	c := testClient(t, Options{}) // all of it, dial guard included
	for _, host := range hosts[:4] {
		_, err := c.With(Credentials{}).List(within(t, admission), mustDigest(t, host+"/app@"+image.DigestStr()), nil)
		if host == hosts[3] && err != nil && strings.Contains(err.Error(), "no such host") {
			continue // whether *.localhost resolves is the resolver's affair
		}
		if fe := wantKind(t, err, verify.Forbidden); !strings.Contains(fe.Error(), "loopback") {
			t.Errorf("%s: %v", host, fe)
		}
	}
	if _, err := c.wire.of("x", KindBlob, 1).RoundTrip(request(t, "http://registry.example/")); failureOf(err).kind != verify.Forbidden {
		t.Errorf("plain http to a host that isn't named: %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// always is a route that leads to one place.
func always(f roundTripper) func(*url.URL) (http.RoundTripper, error) {
	return func(*url.URL) (http.RoundTripper, error) { return f, nil }
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestABodyHasItsBound(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		size     int
		announce bool
		refused  bool
	}{
		{"below", 9, true, false}, {"at the bound", 10, true, false}, {"above", 11, true, true},
		{"at the bound, unannounced", 10, false, false}, {"above, unannounced", 11, false, true}, {"far above, unannounced", 1000, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var seen []RequestInfo
			w := &wire{now: time.Now, observe: func(i RequestInfo) { seen = append(seen, i) }, route: always(func(r *http.Request) (*http.Response, error) {
				resp := &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1, Request: r, Body: io.NopCloser(strings.NewReader(strings.Repeat("x", tc.size)))}
				if tc.announce {
					resp.ContentLength = int64(tc.size)
				}
				return resp, nil
			})}
			resp, err := w.of("registry.example", KindBlob, 10).RoundTrip(request(t, "https://registry.example/"))
			read := 0
			if err == nil {
				var body []byte
				body, err = io.ReadAll(resp.Body)
				read = len(body)
				if _, again := resp.Body.Read(make([]byte, 1)); (again == io.EOF) == tc.refused {
					t.Errorf("a further read says %v", again)
				}
				resp.Body.Close()
				resp.Body.Close()
			}
			if tc.refused != (err != nil) || err != nil && failureOf(err).kind != verify.TooLarge {
				t.Errorf("got %v", err)
			}
			if err == nil && read != tc.size {
				t.Errorf("%d bytes, want %d", read, tc.size)
			}
			if len(seen) != 1 || (seen[0].Failure == "too_large") != tc.refused || seen[0].Status != 200 || seen[0].Registry != "registry.example" || seen[0].Kind != KindBlob {
				t.Errorf("observed %+v", seen)
			}
		})
	}
}

func TestRequestsAreObserved(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	counts, sizes := map[RequestKind]int{}, map[RequestKind]int64{}
	reg := evilregistry.New(t, evilregistry.WithTokenAuth(nil, "private"))
	image := signed(t, reg, "app:v1")
	a := testClient(t, Options{Observe: func(i RequestInfo) {
		mu.Lock()
		defer mu.Unlock()
		counts[i.Kind]++
		sizes[i.Kind] += i.Bytes
		if i.Registry != reg.Host() || i.Status == 0 || i.Duration <= 0 || i.Failure != "" {
			t.Errorf("observed %+v", i)
		}
	}}, reg).With(Credentials{})
	fetchAll(t, a, image, list(t, a, image).Papers)
	want := map[RequestKind]int{KindPing: 1, KindToken: 1, KindManifest: 2, KindTag: 3, KindReferrers: 1, KindBlob: 3}
	for kind, n := range want {
		if counts[kind] != n || sizes[kind] == 0 {
			t.Errorf("%s: %d requests, %d bytes; want %d requests", kind, counts[kind], sizes[kind], n)
		}
	}
	if total := reg.Count(0); total != 11 {
		t.Errorf("the registry saw %d requests", total)
	}
}

func TestRowR07_CertificatesByUnknownAuthorities(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTLS())
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
	c := testClient(t, Options{}, reg) // it knows the same authority, and has no connection yet
	reg.RotateCA(t)
	_, err := c.With(Credentials{}).Resolve(within(t, admission), tag(t, reg, "app:v1"))
	if fe := wantKind(t, err, verify.Unavailable); !strings.Contains(fe.Error(), "private CA") || fe.Answer() {
		t.Errorf("got %v", fe)
	}
	list(t, testClient(t, Options{}, reg).With(Credentials{}), image)

	empty := testClient(t, Options{RootCAs: x509.NewCertPool(), Guard: NewGuard(GuardOptions{Exempt: []HostPort{{host: "127.0.0.1"}}})})
	_, err = empty.With(Credentials{}).List(within(t, admission), image, nil)
	wantKind(t, err, verify.Unavailable)
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	c := testClient(t, Options{})
	direct := transportOf(t, c, "https://registry.example")
	if got := direct.TLSClientConfig.MinVersion; got != tls.VersionTLS12 {
		t.Errorf("least version %x", got)
	}
	if direct.Proxy != nil {
		t.Error("a proxy that nobody asked for would hide addresses from the guard")
	}
}

func TestRequestsToOneRegistryAreBounded(t *testing.T) {
	t.Parallel()
	l := newLimits(func(host string) bool { return host == "a.example" })
	var seats []*seat
	for range maxHostRequests {
		seats = append(seats, mustEnter(t, l, "a.example"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := l.enter(ctx, "a.example"); err == nil {
		t.Error("one more than the bound was let in")
	}
	mustEnter(t, l, "b.example").leave(nil)
	seats[0].leave(nil)
	mustEnter(t, l, "a.example").leave(nil)
	for _, s := range seats[1:] {
		s.leave(nil)
	}
	wantAllFree(t, l)
}
