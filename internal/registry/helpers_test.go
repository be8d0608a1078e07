package registry

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// testClient returns a client that may ask these registries, and whose pauses between tries take no time.
func testClient(t *testing.T, o Options, regs ...*evilregistry.Registry) *Client {
	t.Helper()
	var exempt []HostPort
	for _, r := range regs {
		if r.CAPool() == nil {
			o.PlainHTTP = append(o.PlainHTTP, r.Host())
			continue
		}
		if o.RootCAs == nil {
			o.RootCAs = x509.NewCertPool()
		}
		o.RootCAs.AppendCertsFromPEM(r.CAPEM())
		host, err := ParseHostPort(r.Host())
		if err != nil {
			t.Fatal(err)
		}
		exempt = append(exempt, host)
	}
	if o.Guard == nil {
		o.Guard = NewGuard(GuardOptions{Exempt: exempt})
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	c.retrier.sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	c.grace = 3 * time.Second // for machines that are busy
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// namedClient returns a client for which names, as HOST:PORT, lead to these registries, past DNS and past the guard.
func namedClient(t *testing.T, o Options, named map[string]*evilregistry.Registry) *Client {
	t.Helper()
	pool := x509.NewCertPool()
	for _, r := range named {
		pool.AppendCertsFromPEM(r.CAPEM()) // none for one by plain http
	}
	o.RootCAs = pool
	o.Guard = NewGuard(GuardOptions{})
	o.Timeouts.complete()
	c, err := newClient(o, hostSet{}, func(ctx context.Context, network, address string) (net.Conn, error) {
		r, ok := named[address]
		if !ok {
			return nil, errors.New("no such host in this test: " + address)
		}
		var d net.Dialer
		return d.DialContext(ctx, network, r.Host())
	})
	if err != nil {
		t.Fatal(err)
	}
	c.retrier.sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	c.grace = 3 * time.Second // for machines that are busy
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// transportOf returns the transport that a URL is asked by.
func transportOf(t *testing.T, c *Client, url string) *http.Transport {
	t.Helper()
	got, err := c.transports.route(mustURL(t, url))
	if err != nil {
		t.Fatal(err)
	}
	return got.(*http.Transport)
}

// within returns a context with the time that an admission has, so that nothing hangs longer than that.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

const admission = 10 * time.Second

// signed pushes an image with a legacy signature, a legacy attestation and a bundle.
func signed(t *testing.T, reg *evilregistry.Registry, ref string) name.Digest {
	t.Helper()
	image := reg.Push(t, ref, evilregistry.RandomImage(1))
	k := papers.NewKey(t, papers.P256)
	via := papers.Via(reg.Options()...)
	papers.SignLegacy(t, image, k, via)
	papers.AttestLegacy(t, image, k, "https://example.com/review/v1", map[string]bool{"good": true}, via)
	papers.SignBundle(t, image, k, via)
	return image
}

// mustDigest parses a reference by digest.
func mustDigest(t *testing.T, ref string) name.Digest {
	t.Helper()
	d, err := name.NewDigest(ref)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// tag names a tag in a registry.
func tag(t *testing.T, reg *evilregistry.Registry, ref string) name.Tag {
	t.Helper()
	got, err := name.NewTag(reg.Host() + "/" + ref)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// wantKind fails unless err is a *verify.FetchError of this kind, and returns it.
func wantKind(t *testing.T, err error, want verify.FetchKind) *verify.FetchError {
	t.Helper()
	var fe *verify.FetchError
	if !errors.As(err, &fe) {
		t.Fatalf("got error %v (%T), want a *verify.FetchError that is %s", err, err, want)
	}
	if fe.Kind != want {
		t.Fatalf("got %s (%v), want %s", fe.Kind, fe, want)
	}
	for _, c := range fe.Error() {
		if c < ' ' || c > '~' {
			t.Fatalf("message %q holds %q", fe.Error(), c)
		}
	}
	return fe
}

// papersAt returns the papers of a place.
func papersAt(l verify.Listing, place verify.Place) []verify.Paper {
	var out []verify.Paper
	for _, p := range l.Papers {
		if p.Place == place {
			out = append(out, p)
		}
	}
	return out
}

// unanswered returns the error of a place that didn't answer, nil if it did.
func unanswered(l verify.Listing, place verify.Place) *verify.FetchError {
	for _, e := range l.Unanswered {
		if e.Place == place {
			return e
		}
	}
	return nil
}

// list lists, and fails the test if it can't.
func list(t *testing.T, a *Access, image name.Digest) verify.Listing {
	t.Helper()
	l, err := a.List(within(t, admission), image, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// fetchAll fetches every paper, and fails the test if one can't be.
func fetchAll(t *testing.T, a *Access, image name.Digest, all []verify.Paper) []verify.Candidate {
	t.Helper()
	var out []verify.Candidate
	for _, p := range all {
		c, err := a.Fetch(within(t, admission), image, p, verify.MaxPaper)
		if err != nil {
			t.Fatalf("%s %s: %v", p.Place, p.Digest, err)
		}
		out = append(out, c)
	}
	return out
}

// credentialsFor makes a docker config with one entry.
func credentialsFor(t *testing.T, location, user, password string) Credentials {
	t.Helper()
	c, err := ParseDockerConfig([]byte(`{"auths":{"` + location + `":{"username":"` + user + `","password":"` + password + `"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// nowhere is an HTTP client that reaches nothing.
func nowhere() *http.Client {
	return &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("nowhere") })}
}
