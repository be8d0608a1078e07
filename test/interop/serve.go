package interop

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// NewRegistry returns an empty registry of the kind given, for Load: ggcr's own,
// with its referrers API switched on or off. It keeps everything in memory and
// logs nothing.
func NewRegistry(kind Registry) http.Handler {
	return registry.New(
		registry.WithReferrersSupport(kind == ReferrersAPI),
		registry.Logger(log.New(io.Discard, "", 0)),
	)
}

// Load puts fixtures into the registry that handler is, without a network, and
// ends the test where that fails. Use it to wrap the registry in faults, TLS or
// authentication afterwards.
func Load(tb testing.TB, handler http.Handler, fixtures ...Fixture) {
	tb.Helper()
	client := &http.Client{Transport: inProcess{handler}}
	for _, f := range fixtures {
		if err := f.Push(tb.Context(), client, "http://registry.invalid"); err != nil {
			tb.Fatal(err)
		}
	}
}

// Serve starts a registry on loopback, over plain http, that holds the fixtures,
// and returns its host and port. The registry is of the fixtures' kind, so they
// must be of one; it is closed when the test ends.
func Serve(tb testing.TB, fixtures ...Fixture) string {
	tb.Helper()
	if len(fixtures) == 0 {
		tb.Fatal("no fixture to serve")
	}
	kind := fixtures[0].Registry
	for _, f := range fixtures {
		if f.Registry != kind {
			tb.Fatalf("%s is for a registry of kind %s, and %s for %s", fixtures[0].Name, kind, f.Name, f.Registry)
		}
	}
	handler := NewRegistry(kind)
	Load(tb, handler, fixtures...)
	server := httptest.NewServer(handler)
	tb.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// inProcess is a transport that ends in a handler.
type inProcess struct{ handler http.Handler }

func (t inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	t.handler.ServeHTTP(recorder, req)
	resp := recorder.Result()
	resp.Request = req
	return resp, nil
}
