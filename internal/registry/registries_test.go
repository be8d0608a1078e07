package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// registries parses a file with these entries, each the text after "- ".
func registries(t *testing.T, entries ...string) *Registries {
	t.Helper()
	r, err := ParseRegistries(registriesFile(entries...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func registriesFile(entries ...string) []byte {
	return []byte("registries: [" + strings.Join(entries, ",\n") + "]\n")
}

// indented is PEM as a value of YAML in one line.
func indented(pem []byte) string { return fmt.Sprintf("%q", pem) }

func mustRepo(t testing.TB, s string) name.Repository {
	t.Helper()
	r, err := name.NewRepository(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWhatIsSaidOfAHostHoldsForItAlone(t *testing.T) {
	t.Parallel()
	r := registries(t, "{prefix: plain.example/x, plainHTTP: true}", "{prefix: plain.example:8443/y}", "{prefix: inner.example:5000/x, dialPrivate: true}",
		"{prefix: inner.example:5000/y, dialPrivate: true}", "{prefix: vault.example, dialPrivate: true}", "{prefix: both.example:80, plainHTTP: true}", "{prefix: both.example, dialPrivate: true}")
	p := passes{registries: r}
	for address, want := range map[string]struct{ plain, through bool }{
		"plain.example:80":       {true, true},
		"PLAIN.example:80":       {true, true},
		"plain.example:443":      {},
		"plain.example:8443":     {},
		"x.plain.example:80":     {},
		"inner.example:5000":     {false, true},
		"inner.example:443":      {},
		"inner.example:50000":    {},
		"vault.example:443":      {false, true},
		"vault.example:80":       {},
		"vault.example.evil:443": {},
		"both.example:80":        {true, true},
		"both.example:443":       {false, true},
	} {
		if plain, through := p.plain(address), p.through(address); plain != want.plain || through != want.through {
			t.Errorf("%s: plain http %v, let through %v; want %+v", address, plain, through, want)
		}
	}
	if got := p.scheme("plain.example") + p.scheme("plain.example:8443") + p.scheme("vault.example"); got != "httphttpshttps" {
		t.Errorf("schemes %s", got)
	}
}

func TestRegistriesMayNotContradictTheFlags(t *testing.T) {
	t.Parallel()
	ca := evilregistry.New(t, evilregistry.WithTLS()).CAPEM()
	path := filepath.Join(t.TempDir(), "registries.yaml")
	write(t, path, registriesFile("{prefix: reg.example:5000, plainHTTP: true}", "{prefix: other.example, plainHTTP: false}"))
	r, err := LoadRegistries(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{PlainHTTP: []string{"reg.example:5000"}, Registries: r}); err != nil {
		t.Fatal(err)
	}
	for _, entry := range []string{"{prefix: reg.example:5000/x, plainHTTP: false}", "{prefix: reg.example:5000, caBundle: " + indented(ca) + "}"} {
		_, err := New(Options{PlainHTTP: []string{"reg.example:5000"}, Registries: registries(t, entry)})
		if err == nil || !strings.Contains(err.Error(), "registries[0] (reg.example:5000") || !strings.Contains(err.Error(), "--plain-http") {
			t.Errorf("%s: %v", entry, err)
		}
		write(t, path, registriesFile(entry)) // and the same later
		if changed, err := r.Reload(); changed || err == nil || !strings.Contains(err.Error(), "--plain-http") {
			t.Errorf("reloaded: %v, %v", changed, err)
		}
		if !r.now().host("reg.example:5000").plain {
			t.Error("the last good list is gone")
		}
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	next := path + ".next"
	if err := errors.Join(os.WriteFile(next, data, 0o600), os.Rename(next, path)); err != nil {
		t.Fatal(err)
	}
}

func TestABadFileKeepsTheLastGoodList(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registries.yaml")
	if _, err := LoadRegistries(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that isn't there: %v", err)
	}
	write(t, path, []byte("registries: [{}]\n"))
	if _, err := LoadRegistries(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is wrong: %v", err)
	}
	good := registriesFile("{prefix: ghcr.io/org}")
	write(t, path, good)
	r, err := LoadRegistries(path)
	if err != nil {
		t.Fatal(err)
	}
	has := func(want string) {
		t.Helper()
		if r.now().find(mustRepo(t, want)) == nil {
			t.Errorf("%s isn't covered any more", want)
		}
	}
	has("ghcr.io/org/app")
	for what, bad := range map[string][]byte{"wrong": []byte("registries: [{}]\n"), "empty": {}, "too large": bytes.Repeat([]byte("#"), MaxRegistries+1)} {
		write(t, path, bad)
		for range 2 { // it says so each time
			if changed, err := r.Reload(); changed || err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v, %v", what, changed, err)
			}
		}
		has("ghcr.io/org/app")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if changed, err := r.Reload(); changed || err == nil {
		t.Errorf("gone: %v, %v", changed, err)
	}
	has("ghcr.io/org/app")
	write(t, path, good)
	if changed, err := r.Reload(); changed || err != nil {
		t.Errorf("back as it was: %v, %v", changed, err)
	}
	write(t, path, registriesFile("{prefix: ghcr.io/other}"))
	if changed, err := r.Reload(); !changed || err != nil {
		t.Errorf("a new list: %v, %v", changed, err)
	}
	has("ghcr.io/other/app")
	if r.now().find(mustRepo(t, "ghcr.io/org/app")) != nil {
		t.Error("the old list is still there")
	}
}

func TestRegistriesAreWatched(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registries.yaml")
	write(t, path, registriesFile("{prefix: ghcr.io/one}"))
	r, err := LoadRegistries(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	changed, failed, ended := make(chan bool, 16), make(chan error, 16), make(chan bool)
	go func() {
		defer close(ended)
		r.Watch(ctx, time.Millisecond, func() { changed <- true }, func(err error) { failed <- err })
	}()
	write(t, path, registriesFile("{prefix: ghcr.io/two}"))
	<-changed
	write(t, path, []byte("registries: [{}]\n"))
	if err := <-failed; !strings.Contains(err.Error(), "prefix: missing") {
		t.Error(err)
	}
	time.Sleep(50 * time.Millisecond) // some fifty more looks
	write(t, path, registriesFile("{prefix: ghcr.io/three}"))
	<-changed
	stop()
	<-ended
	if len(failed) != 0 || len(changed) != 0 {
		t.Errorf("%d more errors and %d more changes", len(failed), len(changed))
	}
	if r.now().find(mustRepo(t, "ghcr.io/three/app")) == nil {
		t.Error("the new list isn't there")
	}
}

func TestRowR07_ANewAuthorityCountsAtOnceAndTheOldOneNoMore(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTLS())
	image := signed(t, reg, "app:v1")
	path := filepath.Join(t.TempDir(), "registries.yaml")
	entry := func(ca []byte) []byte {
		return registriesFile("{prefix: " + reg.Host() + ", dialPrivate: true, caBundle: " + indented(ca) + "}")
	}
	first := reg.CAPEM()
	write(t, path, entry(first))
	r, err := LoadRegistries(path)
	if err != nil {
		t.Fatal(err)
	}
	c := testClient(t, Options{Registries: r})
	ask := func() error { return c.With(Credentials{}).Present(within(t, admission), image) }
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	old := transportOf(t, c, reg.URL())

	reg.RotateCA(t)
	c.CloseIdleConnections() // as time does
	c.contents = newContents()
	if fe := wantKind(t, ask(), verify.Unavailable); !strings.Contains(fe.Error(), "caBundle") {
		t.Errorf("the error doesn't say what to do: %v", fe)
	}
	write(t, path, entry(reg.CAPEM()))
	if changed, err := r.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if err := ask(); err != nil {
		t.Errorf("by the new authority: %v", err)
	}
	if transportOf(t, c, reg.URL()) == old {
		t.Error("the connections are those of the old authority")
	}

	// The old one alone, while a connection by the new one is open: it is not used.
	write(t, path, entry(first))
	if changed, err := r.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	c.contents = newContents()
	wantKind(t, ask(), verify.Unavailable)
	if n := len(c.transports.held); n != 1 {
		t.Errorf("%d transports are held", n)
	}

	// Both, as while a CA is replaced.
	write(t, path, entry(append(slices.Clone(first), reg.CAPEM()...)))
	if changed, err := r.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if err := ask(); err != nil {
		t.Errorf("by one of two: %v", err)
	}
}

func TestABundleIsForItsHostAlone(t *testing.T) {
	t.Parallel()
	one, two := evilregistry.New(t, evilregistry.WithTLS("one.example")), evilregistry.New(t, evilregistry.WithTLS("two.example"))
	image := signed(t, one, "app:v1")
	named := map[string]*evilregistry.Registry{"one.example:443": one, "two.example:443": two}
	// two.example has the bundle of one.example, which namedClient knows as well as that of two.example.
	c := namedClient(t, Options{Registries: registries(t, "{prefix: two.example, caBundle: "+indented(one.CAPEM())+"}")}, named)
	if err := c.With(Credentials{}).Present(within(t, admission), mustDigest(t, "one.example/app@"+image.DigestStr())); err != nil {
		t.Error(err)
	}
	err := c.With(Credentials{}).Present(within(t, admission), mustDigest(t, "two.example/app@"+image.DigestStr()))
	if fe := wantKind(t, err, verify.Unavailable); !strings.Contains(fe.Error(), "caBundle") {
		t.Errorf("a bundle adds to the authorities that there are, and should replace them: %v", fe)
	}
}

func TestAHostThatIsNotLetThroughAnyMoreIsNotAskedOnAnOpenConnection(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := signed(t, reg, "app:v1")
	path := filepath.Join(t.TempDir(), "registries.yaml")
	write(t, path, registriesFile("{prefix: "+reg.Host()+", plainHTTP: true}"))
	r, err := LoadRegistries(path)
	if err != nil {
		t.Fatal(err)
	}
	c := testClient(t, Options{Registries: r})
	list(t, c.With(Credentials{}), image)
	write(t, path, registriesFile())
	if changed, err := r.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	asked := reg.Count(0)
	c.contents = newContents()
	wantKind(t, c.With(Credentials{}).Present(within(t, admission), image), verify.Forbidden)
	if reg.Count(0) != asked {
		t.Error("it was asked")
	}
	// And let through again, at once.
	write(t, path, registriesFile("{prefix: "+reg.Host()+"/app, plainHTTP: true}"))
	if changed, err := r.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	list(t, c.With(Credentials{}), image)
}

func TestConnectionsThatAreReplacedAreClosed(t *testing.T) {
	t.Parallel()
	closed := make(chan bool, 16)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- true
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	host := server.Listener.Addr().String()
	path := filepath.Join(t.TempDir(), "registries.yaml")
	write(t, path, registriesFile("{prefix: "+host+", plainHTTP: true}"))
	r, err := LoadRegistries(path)
	if err != nil {
		t.Fatal(err)
	}
	c := testClient(t, Options{Registries: r})
	_ = c.With(Credentials{}).Present(within(t, admission), mustDigest(t, host+"/app@"+someHash)) // a connection is all that is wanted
	write(t, path, registriesFile())
	if changed, err := r.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	select {
	case <-closed:
	case <-time.After(admission):
		t.Error("the connection is still open")
	}
}

func TestAHostThatIsSpokenToOtherwiseIsLoggedInToAnew(t *testing.T) {
	t.Parallel()
	secure := evilregistry.New(t, evilregistry.WithTLS("reg.example.com"), evilregistry.WithBasicAuth(map[string]string{"u": "p"}, "app"))
	plain := evilregistry.New(t, evilregistry.WithBasicAuth(map[string]string{"u": "p"}, "app"))
	image := mustDigest(t, "reg.example.com/app@"+secure.Push(t, "app:v1", evilregistry.RandomImage(1)).DigestStr())
	plain.Push(t, "app:v1", evilregistry.RandomImage(1))
	path := filepath.Join(t.TempDir(), "registries.yaml")
	write(t, path, registriesFile())
	r, err := LoadRegistries(path)
	if err != nil {
		t.Fatal(err)
	}
	c := namedClient(t, Options{Registries: r}, map[string]*evilregistry.Registry{"reg.example.com:443": secure, "reg.example.com:80": plain})
	a := c.With(credentialsFor(t, "reg.example.com", "u", "p"))
	for _, step := range []struct {
		entries []string
		asked   *evilregistry.Registry
	}{{nil, secure}, {[]string{"{prefix: reg.example.com, plainHTTP: true}"}, plain}, {nil, secure}} {
		write(t, path, registriesFile(step.entries...))
		if _, err := r.Reload(); err != nil {
			t.Fatal(err)
		}
		c.contents = newContents()
		secure.Reset()
		plain.Reset()
		if err := a.Present(within(t, admission), image); err != nil {
			t.Errorf("%v: %v", step.entries, err)
		}
		for _, reg := range []*evilregistry.Registry{secure, plain} {
			if (reg.Count(0) > 0) != (reg == step.asked) {
				t.Errorf("%v: %s was asked %d times", step.entries, reg.URL(), reg.Count(0))
			}
		}
	}
}

func TestRow54_DialPrivateLetsOneHostThrough(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTLS())
	image := signed(t, reg, "app:v1")
	_, port, _ := strings.Cut(reg.Host(), ":")
	strict := NewGuard(GuardOptions{DenyPrivate: true})
	c := testClient(t, Options{Guard: strict, RootCAs: reg.CAPool(), Registries: registries(t, "{prefix: "+reg.Host()+"/app, dialPrivate: true}")})
	list(t, c.With(Credentials{}), image)
	asked := reg.Count(0)
	wantKind(t, c.With(Credentials{}).Present(within(t, admission), mustDigest(t, "localhost:"+port+"/app@"+image.DigestStr())), verify.Forbidden)
	c = testClient(t, Options{Guard: strict, RootCAs: reg.CAPool(), Registries: registries(t, "{prefix: "+reg.Host()+"/app}")})
	wantKind(t, c.With(Credentials{}).Present(within(t, admission), image), verify.Forbidden)
	c = testClient(t, Options{Registries: registries(t, "{prefix: 169.254.169.254, dialPrivate: true, plainHTTP: true}")})
	wantKind(t, c.With(Credentials{}).Present(within(t, admission), mustDigest(t, "169.254.169.254/app@"+image.DigestStr())), verify.Forbidden)
	if reg.Count(0) != asked {
		t.Error("it was asked by another name, or without being named")
	}
}

func TestRegistriesMayBeReplacedWhileTheyAreUsed(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithCountsOnly())
	image := signed(t, reg, "app:v1")
	path := filepath.Join(t.TempDir(), "registries.yaml")
	file := func(n int) []byte {
		return registriesFile("{prefix: "+reg.Host()+", plainHTTP: true}", fmt.Sprintf("{prefix: other.example/n%d}", n))
	}
	write(t, path, file(0))
	r, err := LoadRegistries(path)
	if err != nil {
		t.Fatal(err)
	}
	c := testClient(t, Options{Registries: r})
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 20 {
				got, err := c.Open(t.Context(), Credentials{}, image.Repository)
				if err == nil {
					_, err = got.List(within(t, admission), image, nil)
				}
				if err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for n := range 20 {
		write(t, path, file(n+1))
		if changed, err := r.Reload(); !changed || err != nil {
			t.Errorf("%v, %v", changed, err)
		}
	}
	wg.Wait()
}
