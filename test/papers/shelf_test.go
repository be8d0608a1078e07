package papers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	emptyimage "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// shelf is where images and their papers are.
type shelf interface {
	admission.Registries
	// repository is where the images are: host/path.
	repository() string
	// put puts an image, or an index, there.
	put(t testing.TB, what remote.Taggable) v1.Hash
	// attach attaches a paper to an image, whatever it is about. The type is what it says of itself without a signature.
	attach(t testing.TB, image v1.Hash, c verify.Candidate, kind string)
	// oversize attaches a paper that is over the bound.
	oversize(t testing.TB, image v1.Hash)
	// hide makes one place fail where papers of an image may be: that of bundles.
	hide(t testing.TB, image v1.Hash)
	// requests is how often the registry was asked for anything.
	requests() int
}

// parts are an index's manifests, with their platforms.
func parts(t testing.TB, index v1.ImageIndex) []v1.Descriptor {
	t.Helper()
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	return m.Manifests
}

// memory is a shelf in memory.
type memory struct {
	*verifytest.Registry

	mu     sync.Mutex
	hidden []v1.Hash
}

func newMemory() *memory { return &memory{Registry: verifytest.NewRegistry()} }

// Open implements admission.Registries.
func (m *memory) Open(context.Context, string, []string) (admission.Opener, error) {
	return func(name.Repository) (admission.Registry, error) { return m, nil }, nil
}

// Resolve implements admission.Registry.
func (m *memory) Resolve(context.Context, name.Tag) (name.Digest, error) {
	return name.Digest{}, &verify.FetchError{Kind: verify.NotFound, Err: errors.New("no tags here")}
}

// List implements verify.Fetcher.
func (m *memory) List(ctx context.Context, image name.Digest, kinds []string) (verify.Listing, error) {
	l, err := m.Registry.List(ctx, image, kinds)
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.hidden, func(h v1.Hash) bool { return h.String() == image.DigestStr() }) {
		l.Unanswered = append(slices.Clone(l.Unanswered), &verify.FetchError{Place: verify.PlaceReferrers, Host: image.RegistryStr(), Err: errors.New("503 Service Unavailable")})
	}
	return l, err
}

// Fetch implements verify.Fetcher.
func (m *memory) Fetch(ctx context.Context, image name.Digest, p verify.Paper, most int64) (verify.Candidate, error) {
	c, err := m.Registry.Fetch(ctx, image, p, most)
	var too *verify.FetchError
	if errors.As(err, &too) && too.Kind == verify.TooLarge && too.Size > verify.MaxPaper { // in a registry's own words
		too.Host, too.Err = image.RegistryStr(), fmt.Errorf("a paper of %d bytes is over the bound of %d", too.Size, verify.MaxPaper)
	}
	return c, err
}

func (m *memory) repository() string { return "registry.example.com/payments/api" }

func (m *memory) put(t testing.TB, what remote.Taggable) v1.Hash {
	t.Helper()
	image, ok := what.(interface{ Digest() (v1.Hash, error) })
	if !ok {
		t.Fatalf("a %T has no digest", what)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	index, ok := what.(v1.ImageIndex)
	if !ok {
		return digest
	}
	var children []verify.Child
	for _, d := range parts(t, index) {
		children = append(children, verify.Child{Digest: d.Digest, Platform: verify.NewPlatform(d.Platform.OS, d.Platform.Architecture, d.Platform.Variant)})
	}
	m.Index(digest, children...)
	return digest
}

func (m *memory) attach(_ testing.TB, image v1.Hash, c verify.Candidate, _ string) {
	m.Attach(image, c)
}

// overBound is one byte more than a paper may have. It is never written to, nor read.
var overBound = sync.OnceValue(func() []byte { return make([]byte, verify.MaxPaper+1) })

func (m *memory) oversize(_ testing.TB, image v1.Hash) {
	m.Attach(image, verify.Candidate{Payload: overBound(), Paper: verify.Paper{
		Kind: verify.Referrer, Place: verify.PlaceReferrers, Digest: verifytest.Digest("over the bound"), ArtifactType: papers.BundleType,
	}})
}

func (m *memory) hide(_ testing.TB, image v1.Hash) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hidden = append(m.hidden, image)
}

func (m *memory) requests() int {
	lists, fetches := m.Counts()
	return lists + fetches + m.Shown()
}

// served is a shelf in a registry on loopback, which is read as the webhook reads one.
type served struct {
	*evilregistry.Registry
	client   *registry.Client
	path     string
	fallback bool // bundles are under the fallback tag, for there is no referrers API
}

// newServed returns shelves, each in a repository of its own.
func newServed(t testing.TB, fallback bool, options ...evilregistry.Option) func(path string) *served {
	t.Helper()
	reg := evilregistry.New(t, options...)
	client, err := registry.New(registry.Options{PlainHTTP: []string{reg.Host()}})
	if err != nil {
		t.Fatal(err)
	}
	return func(path string) *served {
		return &served{Registry: reg, client: client, path: path, fallback: fallback}
	}
}

// Open implements admission.Registries.
func (s *served) Open(context.Context, string, []string) (admission.Opener, error) {
	return func(name.Repository) (admission.Registry, error) { return s.client.With(registry.Credentials{}), nil }, nil
}

func (s *served) repository() string { return s.Host() + "/" + s.path }

func (s *served) requests() int { return s.Count(0) }

func (s *served) put(t testing.TB, what remote.Taggable) v1.Hash {
	t.Helper()
	digest, err := v1.NewHash(s.Push(t, s.path, what).DigestStr())
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func (s *served) attach(t testing.TB, image v1.Hash, c verify.Candidate, kind string) {
	t.Helper()
	switch c.Paper.Kind {
	case verify.Referrer:
		papers.PushBundle(t, s.Repo(s.path).Digest(image.String()), kind, c.Payload, papers.Via(s.Options()...))
	case verify.LegacySignature:
		s.layer(t, image, ".sig", papers.SimpleSigningType, c)
	case verify.LegacyAttestation:
		s.layer(t, image, ".att", papers.EnvelopeType, c)
	case verify.Unsigned:
		t.Fatal("nobody attaches that so")
	}
}

// layer adds a paper to one of cosign's tags.
func (s *served) layer(t testing.TB, image v1.Hash, suffix string, mediaType types.MediaType, c verify.Candidate) {
	t.Helper()
	tag := s.Repo(s.path).Tag("sha256-" + image.Hex + suffix)
	manifest, err := remote.Image(tag, s.Options()...)
	if err != nil {
		manifest = mutate.ConfigMediaType(mutate.MediaType(emptyimage.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	}
	manifest, err = mutate.Append(manifest, mutate.Addendum{Layer: static.NewLayer(c.Payload, mediaType), Annotations: c.Paper.Annotations})
	if err == nil {
		err = remote.Write(tag, manifest, s.Options()...)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// oversize plants the manifest of a bundle that says to be over the bound, and lists it: nobody has to push that much.
func (s *served) oversize(t testing.TB, image v1.Hash) {
	t.Helper()
	subject, err := remote.Head(s.Repo(s.path).Digest(image.String()), s.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	layer := v1.Descriptor{MediaType: papers.BundleType, Size: verify.MaxPaper + 1, Digest: verifytest.Digest("over the bound")}
	config := v1.Descriptor{MediaType: papers.EmptyType, Size: 2, Digest: verifytest.Digest("{}")}
	s.PlantBlob(s.path, []byte("{}"))
	manifest := map[string]any{
		"schemaVersion": 2, "mediaType": types.OCIManifestSchema1, "artifactType": papers.BundleType, "config": config, "layers": []v1.Descriptor{layer}, "subject": subject,
	}
	body, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	planted, err := v1.NewHash(s.Plant(t, s.path, string(types.OCIManifestSchema1), body).DigestStr())
	if err != nil {
		t.Fatal(err)
	}
	listed := v1.Descriptor{MediaType: types.OCIManifestSchema1, Size: int64(len(body)), Digest: planted, ArtifactType: papers.BundleType}
	if !s.fallback {
		s.On(evilregistry.Match{Kind: evilregistry.Referrers, Repo: s.path, Ref: image.String()}, evilregistry.ReferrersCount(0, evilregistry.Junk{Good: []v1.Descriptor{listed}}))
		return
	}
	list := &v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	if had, err := remote.Index(s.fallbackTag(image), s.Options()...); err == nil {
		if list, err = had.IndexManifest(); err != nil {
			t.Fatal(err)
		}
	}
	list.Manifests = append(list.Manifests, listed)
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	s.Plant(t, s.path, string(types.OCIImageIndex), text, strings.Replace(image.String(), ":", "-", 1))
}

func (s *served) fallbackTag(image v1.Hash) name.Tag {
	return s.Repo(s.path).Tag(strings.Replace(image.String(), ":", "-", 1))
}

func (s *served) hide(_ testing.TB, image v1.Hash) {
	m := evilregistry.Match{Kind: evilregistry.Referrers, Repo: s.path, Ref: image.String()}
	if s.fallback {
		m = evilregistry.Match{Kind: evilregistry.ManifestByTag, Repo: s.path, Ref: strings.Replace(image.String(), ":", "-", 1)}
	}
	s.On(m, evilregistry.RetryAfter(time.Hour)) // longer than anybody waits: so that it isn't asked again and again
}
