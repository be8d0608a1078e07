package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// Who may read the repositories below private/, by tokens as registries give them out.
const reader, password = "reader", "e2e only"

// registry is test/evilregistry, which listens on loopback alone, behind the address that nodes and Pods reach.
type registry struct {
	*evilregistry.Registry
	address string
}

func startRegistry(t *testing.T, address string) *registry {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("E2E_REGISTRY: %v", err)
	}
	r := &registry{address: address}
	r.Registry = evilregistry.New(t,
		evilregistry.WithTokenAuth(map[string]string{reader: password}, "private/**"),
		evilregistry.WithRealm("http://"+address+"/token"), evilregistry.WithCountsOnly())
	behind := &url.URL{Scheme: "http", Host: r.Host()}
	server := &http.Server{
		Handler:           &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(behind) }},
		ReadHeaderTimeout: time.Minute,
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the registry's front: %v", err)
		}
	}()
	t.Cleanup(func() { _ = server.Close() })
	return r
}

// push stores an image under a path and tag, and returns its digest by the name that nodes use.
func (r *registry) push(t *testing.T, ref string, image remote.Taggable) name.Digest {
	t.Helper()
	d := r.Push(t, ref, image)
	out, err := name.NewDigest(fmt.Sprintf("%s/%s@%s", r.address, d.Context().RepositoryStr(), d.DigestStr()), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sign stores a signature beside an image that was pushed.
func (r *registry) sign(t *testing.T, d name.Digest, k papers.Key) {
	t.Helper()
	papers.SignBundle(t, d, k, papers.Via(r.Options()...))
}
