package evilregistry_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pratique-dev/pratique/test/evilregistry"
)

// client is a plain HTTP client whose connections are not shared between tests.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// reply is an answer read to its end, or to its error.
type reply struct {
	status int
	header http.Header
	body   string
	err    error // of the request or of reading the body
}

func ask(t *testing.T, c *http.Client, method, url string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body), err}
}

// manifestURL is where a pushed thing can be read, by digest.
func manifestURL(reg *evilregistry.Registry, d name.Digest) string {
	return fmt.Sprintf("%s/v2/%s/manifests/%s", reg.URL(), d.RepositoryStr(), d.DigestStr())
}

func referrersURL(reg *evilregistry.Registry, d name.Digest) string {
	return fmt.Sprintf("%s/v2/%s/referrers/%s", reg.URL(), d.RepositoryStr(), d.DigestStr())
}

func tlsConfig(pool *x509.CertPool) *tls.Config { return &tls.Config{RootCAs: pool} }

// rawManifest is a manifest to be put as it is.
type rawManifest []byte

func (m rawManifest) RawManifest() ([]byte, error) { return m, nil }

func (m rawManifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// pushReferrer pushes a small artifact about image, the i-th of its kind, and
// returns its digest.
func pushReferrer(t *testing.T, reg *evilregistry.Registry, repo string, image name.Digest, i int) string {
	t.Helper()
	subject, err := remote.Head(image, reg.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	config := static.NewLayer([]byte("{}"), "application/vnd.oci.empty.v1+json")
	if err := remote.WriteLayer(reg.Repo(repo), config, reg.Options()...); err != nil {
		t.Fatal(err)
	}
	digest, err := config.Digest()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: evilregistry.BundleType,
		Config:  v1.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Size: 2, Digest: digest},
		Layers:  []v1.Descriptor{},
		Subject: subject, Annotations: map[string]string{"i": fmt.Sprint(i)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return reg.Push(t, repo, rawManifest(raw)).DigestStr()
}

// eventually waits for what the server does after the client has its answer.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("did not happen in 10 s")
		}
	}
}
