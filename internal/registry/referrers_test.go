package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// fuzzed is an Access to a registry that gives one answer after another, by path and query.
func fuzzed(f *testing.F) (a *Access, answer *func(*http.Request) *http.Response) {
	f.Helper()
	answer = new(func(*http.Request) *http.Response)
	c, err := New(Options{})
	if err != nil {
		f.Fatal(err)
	}
	c.wire.route = always(func(r *http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, ContentLength: -1, Request: r}
		if r.URL.Path != "/v2/" {
			resp = (*answer)(r)
		}
		return resp, nil
	})
	return c.With(Credentials{}), answer
}

// given is an answer with a body; no body is 404.
func given(r *http.Request, mediaType string, body []byte) *http.Response {
	resp := &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: http.NoBody, ContentLength: -1, Request: r}
	if body != nil {
		resp.StatusCode, resp.Body = http.StatusOK, io.NopCloser(bytes.NewReader(body))
		resp.Header.Set("Content-Type", mediaType)
	}
	return resp
}

// FuzzReferrersList gives a list of referrers in one page, or in two if the first leads to a second. What is taken is
// what a decoder that knows nothing of our rules finds, within the bounds, and nobody else was asked for it.
func FuzzReferrersList(f *testing.F) {
	a, answer := fuzzed(f)
	repo := mustRepo(f, "registry.example.com/app")
	image := hashOf([]byte("image"))
	f.Fuzz(func(t *testing.T, mediaType, link string, first, second []byte) {
		var read [][]byte
		*answer = func(r *http.Request) *http.Response {
			if r.URL.Scheme != "https" || r.URL.Host != "registry.example.com" || r.URL.Path != "/v2/app/referrers/"+image.String() {
				t.Fatalf("asked for %s", r.URL)
			}
			if read = append(read, first); len(read) == 1 {
				resp := given(r, mediaType, append([]byte{}, first...))
				resp.Header["Link"] = []string{link}
				return resp
			}
			read[len(read)-1] = second
			return given(r, ociIndex, append([]byte{}, second...))
		}
		got, err := a.referrers(t.Context(), repo, image)
		if len(read) == 0 || len(read) > 2 {
			t.Fatalf("%d pages were read", len(read))
		}
		if err != nil {
			wantFailure(t, err, verify.Malformed, verify.TooLarge, verify.TooMany, verify.Forbidden)
			return
		}
		if is, _, err := mime.ParseMediaType(mediaType); err != nil || is != ociIndex {
			if len(got) != 0 {
				t.Fatalf("%d papers by what is no index, %q", len(got), mediaType)
			}
			return
		}
		if len(got) > verify.MaxListed || checkListing(got) != nil {
			t.Fatalf("%d papers are over a bound", len(got))
		}
		var want []string
		for _, page := range read {
			digests, err := digestsIn(page)
			if err != nil {
				t.Fatalf("taken, and not an index: %v", err)
			}
			want = append(want, digests...)
		}
		for i, p := range got {
			if p.Kind != verify.Referrer || p.Place != verify.PlaceReferrers || p.Size < 0 || i >= len(want) || p.Digest.String() != want[i] {
				t.Fatalf("paper %d is %+v, want one of %v", i, p, want)
			}
		}
		if len(want) != len(got) {
			t.Fatalf("%d papers of %d", len(got), len(want))
		}
	})
}

// digestsIn returns the digests that an index lists.
func digestsIn(body []byte) (all []string, _ error) {
	var index struct {
		Manifests []struct {
			Digest string `json:"digest"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(body, &index); err != nil {
		return nil, err
	}
	for _, m := range index.Manifests {
		all = append(all, m.Digest)
	}
	return all, nil
}

// FuzzIndex gives an index, and another below it wherever the first names someHash. What a node may run of the first is
// among what is found, and no more than the bound.
func FuzzIndex(f *testing.F) {
	a, answer := fuzzed(f)
	repo := mustRepo(f, "registry.example.com/app")
	f.Fuzz(func(t *testing.T, body, nested []byte) {
		below := hashOf(nested)
		body = bytes.ReplaceAll(body, []byte(someHash), []byte(below.String()))
		*answer = func(r *http.Request) *http.Response {
			if strings.HasSuffix(r.URL.Path, "/"+below.String()) {
				return given(r, "", append([]byte{}, nested...))
			}
			return given(r, "", nil)
		}
		d, err := parseDocument(body, ociIndex)
		if err != nil {
			wantFailure(t, err, verify.Malformed)
			return
		}
		w, err := a.children(t.Context(), repo, hashOf(body), d)
		if err != nil {
			wantFailure(t, err, verify.Malformed, verify.IndexTooLarge, verify.TooLarge, verify.NotFound)
			return
		}
		got := w.found
		if len(got) == 0 || len(got) > verify.MaxChildren {
			t.Fatalf("%d children", len(got))
		}
		named, err := digestsIn(body)
		if err != nil {
			t.Fatalf("taken, and not an index: %v", err)
		}
		more, _ := digestsIn(nested) // it need not be one: it may not be read
		named = append(named, more...)
		found := map[v1.Hash]bool{}
		for i, c := range got {
			if found[c.Digest] = true; slices.Contains(got[:i], c) || !slices.Contains(named, c.Digest.String()) {
				t.Fatalf("child %d, %+v, is there twice, or nobody named it", i, c)
			}
		}
		for _, m := range d.Manifests {
			if !m.index() && (m.Platform == nil || m.Platform.OS != "unknown") && !found[m.Digest] {
				t.Fatalf("a node may run %s, which was left out", m.Digest)
			}
		}
	})
}

// wantFailure fails unless an error is of one of these kinds.
func wantFailure(t *testing.T, err error, kinds ...verify.FetchKind) {
	t.Helper()
	var failed *failure
	if !errors.As(err, &failed) || !slices.Contains(kinds, failed.kind) {
		t.Fatalf("refused with %v", err)
	}
}
