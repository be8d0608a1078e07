package distribution_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/distribution"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func get(t *testing.T, url, accept string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestPapersLieUnderTheFallbackTag(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithBackend(distribution.New(t)))
	via := papers.Via(reg.Options()...)
	key := papers.NewKey(t, papers.P256)
	for ref, image := range map[string]remote.Taggable{
		"team/app:v1": evilregistry.RandomImage(1), "team/multi:v1": evilregistry.RandomIndex(2),
	} {
		pushed := reg.Push(t, ref, image)
		signed := papers.SignBundle(t, pushed, key, via)
		attested := papers.AttestBundle(t, pushed, key, "https://spdx.dev/Document", map[string]any{}, via)
		legacy := papers.SignLegacy(t, pushed, key, via)
		repo := reg.URL() + "/v2/" + pushed.RepositoryStr()
		if status, body := get(t, repo+"/referrers/"+pushed.DigestStr(), "*/*"); status != 404 {
			t.Errorf("%s: referrers API: %d %s", ref, status, body)
		}
		index, err := remote.Referrers(pushed) // over the network
		if err != nil {
			t.Fatal(err)
		}
		m, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Manifests) != 2 {
			t.Errorf("%s: %d referrers, want %s and %s", ref, len(m.Manifests), signed.Manifest, attested.Manifest)
		}
		if status, body := get(t, repo+"/blobs/"+signed.Blob, "*/*"); status != 200 || body != string(signed.Bytes) {
			t.Errorf("%s: bundle: %d %s", ref, status, body)
		}
		tag := strings.Replace(pushed.DigestStr(), ":", "-", 1) + ".sig"
		if status, body := get(t, repo+"/manifests/"+tag, manifestType); status != 200 || !strings.Contains(body, legacy.Blob) {
			t.Errorf("%s: legacy signature: %d %s", ref, status, body)
		}
		if status, body := get(t, repo+"/manifests/"+tag, "application/json"); status != 404 {
			t.Errorf("%s: without the manifest's type in Accept: %d %s", ref, status, body)
		}
	}
}

func TestFaultsLieOverThisBackendToo(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithBackend(distribution.New(t)),
		evilregistry.WithTokenAuth(map[string]string{"ann": "a"}, "private/**"))
	pushed := reg.Push(t, "team/app:v1", evilregistry.RandomImage(1))
	reg.Push(t, "private/app:v1", evilregistry.RandomImage(1))
	if _, err := remote.Get(pushed); err != nil {
		t.Errorf("public: %v", err)
	}
	if _, err := remote.Get(reg.Repo("private/app").Tag("v1")); err == nil {
		t.Error("private: an anonymous client read it")
	}
	rule := reg.On(evilregistry.Match{Kind: evilregistry.Manifest}, evilregistry.FlipByte(0))
	if _, err := remote.Get(pushed); err == nil || rule.Hits() != 1 {
		t.Errorf("flipped: %v after %d hits", err, rule.Hits())
	}
}

func TestDeletedTagsAreGone(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithBackend(distribution.New(t)))
	reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	reg.Delete(t, "app:v1")
	if status, body := get(t, reg.URL()+"/v2/app/manifests/v1", manifestType); status != 404 {
		t.Errorf("%d %s", status, body)
	}
}
