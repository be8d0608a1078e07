package layout

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
)

// sample is a repository with an image, a referrer of it without a tag, and an
// index of the referrer tagged twice.
func sample() Contents {
	c := New()
	blob := func(text string) string {
		c.AddBlob([]byte(text))
		return fmt.Sprintf(`{"mediaType":"text/plain","digest":%q,"size":%d}`, Digest([]byte(text)), len(text))
	}
	add := func(mediaType, fields string, tags ...string) string {
		m := Manifest{MediaType: mediaType, Body: fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,%s}`, mediaType, fields)}
		c.AddManifest(m, tags...)
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, m.Digest(), len(m.Body))
	}
	image := add(MediaTypeManifest, `"config":`+blob("{}")+`,"layers":[`+blob("layer")+`]`, "v1")
	paper := add(MediaTypeManifest, `"config":`+blob("{}")+`,"layers":[`+blob("paper")+`],"subject":`+image)
	add(MediaTypeIndex, `"manifests":[`+paper+`]`, FallbackTag(c.Tags["v1"]), "again")
	return c
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sample")
	if err := sample().Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := Read(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Errorf("read (-written +read):\n%s", diff)
	}
}

func TestWhatIsPushedIsPulled(t *testing.T) {
	t.Parallel()
	for _, api := range []bool{true, false} {
		t.Run(fmt.Sprintf("with referrers API %t", api), func(t *testing.T) {
			t.Parallel()
			r := start(t, newRegistry(api))
			if err := r.Push(t.Context(), sample()); err != nil {
				t.Fatal(err)
			}
			got, err := r.Pull(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sample(), got); diff != "" {
				t.Errorf("pulled (-pushed +pulled):\n%s", diff)
			}
		})
	}
}

func TestReadRefusesALayoutThatIsNotWhole(t *testing.T) {
	t.Parallel()
	blob := func(text string) string {
		return "blobs/sha256/" + strings.TrimPrefix(Digest([]byte(text)), "sha256:")
	}
	tests := map[string]struct {
		file string
		edit func(body []byte) []byte // nil: the file is removed
		want string
	}{
		"a blob has another byte":            {blob("layer"), func([]byte) []byte { return []byte("later") }, "has digest"},
		"a blob is longer":                   {blob("layer"), func(b []byte) []byte { return append(b, '!') }, "has digest"},
		"a blob is larger than any may be":   {blob("layer"), func([]byte) []byte { return make([]byte, MaxObject+1) }, "more than 1048576"},
		"a blob is missing":                  {blob("paper"), nil, "not found"},
		"a file belongs to nothing":          {blob("stray"), func([]byte) []byte { return []byte("stray") }, "belongs to no manifest"},
		"the index is missing":               {"index.json", nil, "no such file"},
		"the index is not JSON":              {"index.json", func([]byte) []byte { return []byte("{") }, "index.json"},
		"the index has a digest of its own":  {"index.json", replace("sha256:", "sha512:"), "only sha256"},
		"the index has another size":         {"index.json", replace(`"size": `, `"size": 1`), "bytes, not 1"},
		"the index has another media type":   {"index.json", replace(MediaTypeManifest, "text/plain"), `and says`},
		"the index leads out of the layout":  {"index.json", replace("sha256:", "sha256:../../../"), "invalid argument"},
		"the index leaves out a manifest":    {"index.json", func([]byte) []byte { return []byte(`{"manifests":[]}`) }, "belongs to no manifest"},
		"the index names what is not there":  {"index.json", replace(`"sha256:`, `"sha256:0`), "no such file"},
		"the index is larger than it may be": {"index.json", func([]byte) []byte { return make([]byte, MaxObject+1) }, "more than 1048576"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "sample")
			if err := sample().Write(dir); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, test.file)
			if test.edit == nil {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			} else {
				body, err := os.ReadFile(file)
				if err != nil && test.file != blob("stray") {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, test.edit(body), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Read(os.DirFS(dir))
			wantError(t, err, test.want)
		})
	}
}

func TestCheckRefusesContentsThatAreNotWhole(t *testing.T) {
	t.Parallel()
	image := func(c Contents) string { return c.Tags["v1"] }
	tests := map[string]struct {
		edit func(Contents)
		want string
	}{
		"a tag leads nowhere":        {func(c Contents) { c.Tags["v2"] = Digest(nil) }, "tag v2"},
		"a child is missing":         {func(c Contents) { dropUntagged(c) }, "child"},
		"a manifest is misfiled":     {func(c Contents) { c.Manifests[image(c)] = Manifest{Body: []byte("{}")} }, "has digest"},
		"a manifest is not JSON":     {func(c Contents) { c.AddManifest(Manifest{Body: []byte("{")}) }, "unexpected end"},
		"there are too many of them": {func(c Contents) { fill(c, MaxObjects) }, "more than 64"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := sample()
			test.edit(c)
			wantError(t, c.Check(), test.want)
		})
	}
}

// dropUntagged removes the manifests without a tag.
func dropUntagged(c Contents) {
	tagged := map[string]bool{}
	for _, d := range c.Tags {
		tagged[d] = true
	}
	maps.DeleteFunc(c.Manifests, func(d string, _ Manifest) bool { return !tagged[d] })
}

func fill(c Contents, n int) {
	for i := range n {
		c.AddManifest(Manifest{Body: fmt.Appendf(nil, `{"n":%d}`, i)})
	}
}

func TestPushFailsWhereARegistryChangesBytes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		kind string // of object, in the path
		want string
	}{
		"of a manifest": {"/manifests/", "changed on its way"},
		"of a blob":     {"/blobs/", "arrived as"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			honest := newRegistry(false)
			r := start(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.Method != http.MethodGet || !strings.Contains(req.URL.Path, test.kind) {
					honest.ServeHTTP(w, req)
					return
				}
				recorder := httptest.NewRecorder()
				honest.ServeHTTP(recorder, req)
				w.Header().Set("Content-Type", recorder.Header().Get("Content-Type"))
				w.Write(append(recorder.Body.Bytes(), '\n'))
			}))
			wantError(t, r.Push(t.Context(), sample()), test.want)
		})
	}
}

func TestPushFailsWhereARegistryStoresSomethingElse(t *testing.T) {
	t.Parallel()
	honest := newRegistry(false)
	r := start(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/") {
			req.Body = io.NopCloser(io.MultiReader(req.Body, strings.NewReader("\n")))
		}
		honest.ServeHTTP(w, req)
	}))
	wantError(t, r.Push(t.Context(), sample()), "was stored as")
}

func TestPullFailsWhereARegistryAnswersWithTooMuch(t *testing.T) {
	t.Parallel()
	r := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write(make([]byte, MaxObject+1))
	}))
	_, err := r.Pull(t.Context())
	wantError(t, err, "more than 1048576 bytes")
}

func TestPullFailsWhereARegistryFails(t *testing.T) {
	t.Parallel()
	r := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "on fire", http.StatusInternalServerError)
	}))
	_, err := r.Pull(t.Context())
	wantError(t, err, "500")
}

func newRegistry(referrers bool) http.Handler {
	return registry.New(registry.WithReferrersSupport(referrers), registry.Logger(log.New(io.Discard, "", 0)))
}

func start(t *testing.T, handler http.Handler) Repository {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return Repository{Client: server.Client(), Base: server.URL, Name: "a/b"}
}

func replace(old, new string) func([]byte) []byte {
	return func(body []byte) []byte { return bytes.ReplaceAll(body, []byte(old), []byte(new)) }
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want one with %q", err, want)
	}
}
