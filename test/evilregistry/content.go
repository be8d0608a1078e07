package evilregistry

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Direct is a way into the backend that involves no network: requests over it
// are not logged, delayed, authenticated or faulted.
func (r *Registry) Direct() http.RoundTripper { return direct{r} }

type direct struct{ registry *Registry }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	in := req.Clone(req.Context())
	in.RequestURI, in.RemoteAddr = req.URL.RequestURI(), "127.0.0.1:1"
	if in.Host == "" {
		in.Host = req.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer func() { _ = in.Body.Close() }()
	rec := httptest.NewRecorder()
	d.registry.content(rec, in)
	resp := rec.Result()
	resp.Request = req
	return resp, nil
}

// Options are for ggcr's remote functions, to read and change the backend
// behind the registry's back, through Direct.
func (r *Registry) Options() []remote.Option {
	return []remote.Option{remote.WithTransport(r.Direct())}
}

// Push stores an image or an index, with all that is in it, under ref: a path
// in this registry, with a tag or without ("team/app:v1", "team/app"). It
// returns what was pushed, by digest.
func (r *Registry) Push(t testing.TB, ref string, what remote.Taggable) name.Digest {
	t.Helper()
	raw, err := what.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	path, tag, tagged := strings.Cut(ref, ":")
	digest := r.Repo(path).Digest(digestOf(raw))
	to := name.Reference(digest)
	if tagged {
		to = digest.Context().Tag(tag)
	}
	if err := remote.Push(to, what, r.Options()...); err != nil {
		t.Fatalf("evilregistry: push %s: %v", ref, err)
	}
	return digest
}

// Delete removes a manifest: by tag ("team/app:v1") only the tag, by digest
// ("team/app@sha256:...") the manifest itself.
func (r *Registry) Delete(t testing.TB, ref string) {
	t.Helper()
	path, digest, byDigest := strings.Cut(ref, "@")
	what := name.Reference(nil)
	if byDigest {
		what = r.Repo(path).Digest(digest)
	} else {
		path, tag, _ := strings.Cut(ref, ":")
		what = r.Repo(path).Tag(tag)
	}
	if err := remote.Delete(what, r.Options()...); err != nil {
		t.Fatalf("evilregistry: delete %s: %v", ref, err)
	}
}

// Plant stores a document as a manifest without the checks a registry makes:
// an index whose children do not exist, a document that is two things at once,
// no JSON at all. It can be asked for by its digest and by the tags given.
func (r *Registry) Plant(t testing.TB, repo, mediaType string, body []byte, tags ...string) name.Digest {
	t.Helper()
	digest := r.Repo(repo).Digest(digestOf(body))
	for _, ref := range append([]string{digest.DigestStr()}, tags...) {
		r.plants.put("/v2/"+repo+"/manifests/"+ref, mediaType, body)
	}
	return digest
}

// PlantBlob stores a blob without an upload and returns its digest.
func (r *Registry) PlantBlob(repo string, body []byte) string {
	digest := digestOf(body)
	r.plants.put("/v2/"+repo+"/blobs/"+digest, "application/octet-stream", body)
	return digest
}

// plants are documents by path.
type plants struct {
	mu   sync.RWMutex
	docs map[string]plant
}

type plant struct {
	mediaType string
	body      []byte
}

func (p *plants) put(path, mediaType string, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.docs == nil {
		p.docs = map[string]plant{}
	}
	p.docs[path] = plant{mediaType, bytes.Clone(body)}
}

// serve answers if something is planted at the request's path.
func (p *plants) serve(w http.ResponseWriter, r *http.Request) bool {
	p.mu.RLock()
	doc, ok := p.docs[r.URL.Path]
	p.mu.RUnlock()
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	w.Header().Set("Content-Type", doc.mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(doc.body)))
	w.Header().Set(digestHeader, digestOf(doc.body))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = io.Copy(w, bytes.NewReader(doc.body))
	}
	return true
}

// PlantNested plants an index in an index, depth of them, around a tiny image,
// and returns the outermost. Depth 1 is an ordinary index.
func (r *Registry) PlantNested(t testing.TB, repo string, depth int) name.Digest {
	t.Helper()
	inner := r.Push(t, repo, RandomImage(uint64(depth)))
	head, err := remote.Head(inner, r.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	size, mediaType := head.Size, head.MediaType
	for range depth {
		digest, err := v1.NewHash(inner.DigestStr())
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(v1.IndexManifest{
			SchemaVersion: 2, MediaType: types.OCIImageIndex,
			Manifests: []v1.Descriptor{{
				MediaType: mediaType, Size: size, Digest: digest, Platform: &v1.Platform{OS: "linux", Architecture: "amd64"},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		inner = r.Plant(t, repo, indexType, body)
		size, mediaType = int64(len(body)), types.OCIImageIndex
	}
	return inner
}
