package layout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Repository is one repository of a registry, spoken to in the words of the OCI
// distribution specification 1.1, without authentication. It changes nothing it
// carries, which a general client may (media types, compression, field order).
type Repository struct {
	Client *http.Client
	// Base is the registry's URL without a path: http://127.0.0.1:5000.
	Base string
	// Name is the repository's: interop/app.
	Name string
}

// Pull reads the whole repository: what the tags name, the children of indexes,
// and what the registry lists as referrers of any of these. Whatever none of
// these leads to (the former target of a moved tag) is left behind.
func (r Repository) Pull(ctx context.Context) (Contents, error) {
	tags, err := r.tags(ctx)
	if err != nil {
		return Contents{}, err
	}
	c := New()
	for _, tag := range tags {
		m, err := r.Manifest(ctx, tag)
		if err != nil {
			return Contents{}, err
		}
		c.Tags[tag] = m.Digest()
		if err := r.follow(ctx, c, m.Digest()); err != nil {
			return Contents{}, err
		}
	}
	return c, c.Check()
}

// follow adds to c the manifest with the digest given and all it leads to.
func (r Repository) follow(ctx context.Context, c Contents, digest string) error {
	if _, ok := c.Manifests[digest]; ok {
		return nil
	}
	m, err := r.Manifest(ctx, digest)
	if err != nil {
		return err
	}
	c.Manifests[digest] = m
	if len(c.Manifests) > MaxObjects {
		return fmt.Errorf("repository %s: more than %d manifests", r.Name, MaxObjects)
	}
	l, err := m.Links()
	if err != nil {
		return err
	}
	for _, desc := range l.blobs() {
		if c.Blobs[desc.Digest], err = r.Blob(ctx, desc.Digest); err != nil {
			return err
		}
	}
	next, err := r.Referrers(ctx, digest)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	for _, desc := range append(l.Manifests, next...) {
		if err := r.follow(ctx, c, desc.Digest); err != nil {
			return err
		}
	}
	return nil
}

// Push writes c into the repository, blobs first and children before the
// indexes that name them, then reads every object back and compares it.
func (r Repository) Push(ctx context.Context, c Contents) error {
	if err := c.Check(); err != nil {
		return err
	}
	for _, d := range slices.Sorted(maps.Keys(c.Blobs)) {
		if err := r.putBlob(ctx, c.Blobs[d]); err != nil {
			return err
		}
	}
	for _, d := range c.pushOrder() {
		if err := r.PutManifest(ctx, d, c.Manifests[d]); err != nil {
			return err
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(c.Tags)) {
		if err := r.PutManifest(ctx, tag, c.Manifests[c.Tags[tag]]); err != nil {
			return err
		}
	}
	return r.compare(ctx, c)
}

// pushOrder is the digests of c's manifests: images, then what refers to a
// subject, then indexes, and by digest within each.
func (c Contents) pushOrder() []string {
	rank := func(digest string) int {
		l, err := c.Manifests[digest].Links()
		switch {
		case err == nil && l.Manifests != nil:
			return 2
		case err == nil && l.Subject != nil:
			return 1
		}
		return 0
	}
	order := slices.Sorted(maps.Keys(c.Manifests))
	slices.SortStableFunc(order, func(a, b string) int { return rank(a) - rank(b) })
	return order
}

// compare reads c's objects from the repository.
func (r Repository) compare(ctx context.Context, c Contents) error {
	for _, d := range slices.Sorted(maps.Keys(c.Blobs)) {
		got, err := r.Blob(ctx, d)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, c.Blobs[d]) {
			return fmt.Errorf("blob %s changed on its way", d)
		}
	}
	refs := maps.Clone(c.Tags)
	for d := range c.Manifests {
		refs[d] = d
	}
	for _, ref := range slices.Sorted(maps.Keys(refs)) {
		d := refs[ref]
		got, err := r.Manifest(ctx, ref)
		if err != nil {
			return err
		}
		if !bytes.Equal(got.Body, c.Manifests[d].Body) || got.MediaType != c.Manifests[d].MediaType {
			return fmt.Errorf("manifest %s changed on its way", ref)
		}
	}
	return nil
}

// Manifest reads the manifest with the tag or digest given; ErrNotFound where
// there is none. One read by digest has that digest.
func (r Repository) Manifest(ctx context.Context, ref string) (Manifest, error) {
	accept := http.Header{"Accept": {MediaTypeManifest, MediaTypeIndex}}
	body, header, err := r.do(ctx, http.MethodGet, r.url("manifests", ref), accept, nil)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{MediaType: header.Get("Content-Type"), Body: body}
	if strings.HasPrefix(ref, "sha256:") && m.Digest() != ref {
		return Manifest{}, fmt.Errorf("manifest %s arrived as %s", ref, m.Digest())
	}
	return m, nil
}

// PutManifest writes m under a tag or its own digest.
func (r Repository) PutManifest(ctx context.Context, ref string, m Manifest) error {
	header := http.Header{"Content-Type": {m.MediaType}}
	_, answer, err := r.do(ctx, http.MethodPut, r.url("manifests", ref), header, m.Body)
	if err != nil {
		return err
	}
	if got := answer.Get("Docker-Content-Digest"); got != m.Digest() {
		return fmt.Errorf("manifest %s was stored as %s", m.Digest(), got)
	}
	return nil
}

// Referrers is the answer of the registry's referrers API; ErrNotFound where it
// has none.
func (r Repository) Referrers(ctx context.Context, digest string) ([]Descriptor, error) {
	body, _, err := r.do(ctx, http.MethodGet, r.url("referrers", digest), nil, nil)
	if err != nil {
		return nil, err
	}
	var idx index
	if err := json.Unmarshal(body, &idx); err != nil {
		return nil, fmt.Errorf("referrers of %s: %w", digest, err)
	}
	return idx.Manifests, nil
}

func (r Repository) tags(ctx context.Context) ([]string, error) {
	body, _, err := r.do(ctx, http.MethodGet, r.url("tags", "list"), nil, nil)
	if err != nil {
		return nil, err
	}
	var list struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("tags of %s: %w", r.Name, err)
	}
	return list.Tags, nil
}

// Blob reads a blob, which has the digest given; ErrNotFound where there is none.
func (r Repository) Blob(ctx context.Context, digest string) ([]byte, error) {
	body, _, err := r.do(ctx, http.MethodGet, r.url("blobs", digest), nil, nil)
	if err != nil {
		return nil, err
	}
	if Digest(body) != digest {
		return nil, fmt.Errorf("blob %s arrived as %s", digest, Digest(body))
	}
	return body, nil
}

// putBlob uploads in two steps, POST then PUT: a registry need not offer one.
func (r Repository) putBlob(ctx context.Context, body []byte) error {
	start := r.url("blobs", "uploads") + "/"
	_, header, err := r.do(ctx, http.MethodPost, start, nil, nil)
	if err != nil {
		return err
	}
	base, err := url.Parse(start)
	if err != nil {
		return err
	}
	upload, err := base.Parse(header.Get("Location"))
	if err != nil {
		return fmt.Errorf("upload location: %w", err)
	}
	query := upload.Query()
	query.Set("digest", Digest(body))
	upload.RawQuery = query.Encode()
	octets := http.Header{"Content-Type": {"application/octet-stream"}}
	_, _, err = r.do(ctx, http.MethodPut, upload.String(), octets, body)
	return err
}

func (r Repository) url(kind, ref string) string {
	return r.Base + "/v2/" + r.Name + "/" + kind + "/" + ref
}

// do sends one request and reads the whole answer, within MaxObject.
func (r Repository) do(ctx context.Context, method, url string, header http.Header, body []byte) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	maps.Copy(req.Header, header)
	resp, err := r.Client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, MaxObject+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s %s: %w", method, url, err)
	case len(answer) > MaxObject:
		return nil, nil, fmt.Errorf("%s %s: an answer of more than %d bytes", method, url, MaxObject)
	case resp.StatusCode == http.StatusNotFound:
		return nil, nil, fmt.Errorf("%s %s: %w", method, url, ErrNotFound)
	case resp.StatusCode/100 != 2:
		return nil, nil, fmt.Errorf("%s %s: %s: %.200q", method, url, resp.Status, answer)
	}
	return answer, resp.Header, nil
}
