package papers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// SignBundle stores a signature as cosign v3 does: a bundle, as a referrer of
// the image. On a registry without the referrers API, or under FallbackTag, the
// tag sha256-<hex> is kept as well.
func SignBundle(t testing.TB, image name.Digest, k Key, opts ...Option) Paper {
	t.Helper()
	return AttestBundle(t, image, k, SignaturePredicate, struct{}{}, opts...)
}

// AttestBundle stores an attestation as cosign v3 does. The predicate is anything
// that encoding/json takes; a json.RawMessage keeps its order and its repeated
// keys.
func AttestBundle(t testing.TB, image name.Digest, k Key, predicateType string, predicate any, opts ...Option) Paper {
	t.Helper()
	s := newSpec(opts)
	bundle, err := s.bundle(image, k, predicateType, predicate)
	if err == nil {
		var p Paper
		if p, err = s.storeBundle(image, predicateType, bundle); err == nil {
			return p
		}
	}
	t.Fatal(err)
	return Paper{}
}

// PushBundle stores bytes, whatever they are, where a bundle would be.
func PushBundle(t testing.TB, image name.Digest, predicateType string, bundle []byte, opts ...Option) Paper {
	t.Helper()
	p, err := newSpec(opts).storeBundle(image, predicateType, bundle)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// storeBundle writes the bundle's blob, the empty config and the manifest.
func (s *spec) storeBundle(image name.Digest, predicateType string, bundle []byte) (Paper, error) {
	repo := s.home(image)
	manifest, err := s.bundleManifest(image, predicateType, bundle)
	if err != nil {
		return Paper{}, err
	}
	for _, layer := range []v1.Layer{
		static.NewLayer([]byte("{}"), EmptyType), static.NewLayer(bundle, manifest.Layers[0].MediaType),
	} {
		if err := remote.WriteLayer(repo, layer, s.remote...); err != nil {
			return Paper{}, fmt.Errorf("papers: blob: %w", err)
		}
	}
	raw, err := json.Marshal(manifest)
	if err != nil {
		return Paper{}, fmt.Errorf("papers: manifest: %w", err)
	}
	p, err := newPaper(repo, types.OCIManifestSchema1, raw, bundle, manifest.ArtifactType, manifest.Annotations)
	if err != nil {
		return Paper{}, err
	}
	// ggcr keeps the fallback tag itself where the registry answers 404.
	if err := remote.Put(p.Manifest, document{raw, types.OCIManifestSchema1}, s.remote...); err != nil {
		return Paper{}, fmt.Errorf("papers: manifest: %w", err)
	}
	if s.fallback {
		return p, s.keepFallback(image, p)
	}
	return p, nil
}

func (s *spec) bundleManifest(image name.Digest, predicateType string, bundle []byte) (*v1.Manifest, error) {
	via := s.remote
	if s.image != nil {
		via = s.image
	}
	subject, err := remote.Head(image, via...)
	if err != nil {
		return nil, fmt.Errorf("papers: subject: %w", err)
	}
	layerType := types.MediaType(s.mediaType())
	artifactType := s.mediaType()
	if s.artifactType != nil {
		artifactType = *s.artifactType
	}
	config, configSize, err := v1.SHA256(bytes.NewReader([]byte("{}")))
	if err != nil {
		return nil, fmt.Errorf("papers: config: %w", err)
	}
	layer, layerSize, err := v1.SHA256(bytes.NewReader(bundle))
	if err != nil {
		return nil, fmt.Errorf("papers: bundle: %w", err)
	}
	m := &v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifactType,
		Config: v1.Descriptor{MediaType: EmptyType, ArtifactType: artifactType, Digest: config, Size: configSize},
		Layers: []v1.Descriptor{{MediaType: layerType, Digest: layer, Size: layerSize}},
	}
	if !s.noSubject {
		m.Subject = &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}
	}
	if !s.noAnnotations {
		content := "dsse-envelope"
		if s.messageSignature {
			content = "message-signature"
		}
		m.Annotations = map[string]string{
			"org.opencontainers.image.created": s.created.Format(time.RFC3339),
			"dev.sigstore.bundle.content":      content,
			PredicateAnnotation:                predicateType,
		}
		maps.Copy(m.Annotations, s.annotations)
	}
	return m, nil
}

// keepFallback lists a paper under the fallback tag (OCI distribution 1.1,
// "Referrers Tag Schema"). It reads and then writes: two at once lose one.
func (s *spec) keepFallback(image name.Digest, p Paper) error {
	tag := s.home(image).Tag(strings.Replace(image.DigestStr(), ":", "-", 1))
	list := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	got, err := remote.Get(tag, s.remote...)
	if err == nil {
		err = json.Unmarshal(got.Manifest, &list)
	}
	if err != nil && !missing(err) {
		return fmt.Errorf("papers: fallback tag: %w", err)
	}
	entry := p.Descriptor
	if s.poorFallback {
		entry.ArtifactType, entry.Annotations = EmptyType, nil
	}
	list.Manifests = slices.DeleteFunc(list.Manifests, func(d v1.Descriptor) bool { return d.Digest == entry.Digest })
	list.Manifests = append(list.Manifests, entry)
	raw, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("papers: fallback tag: %w", err)
	}
	if err := remote.Put(tag, document{raw, types.OCIImageIndex}, s.remote...); err != nil {
		return fmt.Errorf("papers: fallback tag: %w", err)
	}
	return nil
}

// document is a manifest to be put as it is.
type document struct {
	raw       []byte
	mediaType types.MediaType
}

// RawManifest implements remote.Taggable.
func (d document) RawManifest() ([]byte, error) { return d.raw, nil }

// MediaType tells remote.Put what to call it.
func (d document) MediaType() (types.MediaType, error) { return d.mediaType, nil }

func newPaper(repo name.Repository, mediaType types.MediaType, manifest, body []byte, artifactType string, annotations map[string]string) (Paper, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(manifest))
	if err != nil {
		return Paper{}, fmt.Errorf("papers: %w", err)
	}
	blob, _, err := v1.SHA256(bytes.NewReader(body))
	if err != nil {
		return Paper{}, fmt.Errorf("papers: %w", err)
	}
	return Paper{
		Manifest: repo.Digest(digest.String()),
		Descriptor: v1.Descriptor{
			MediaType: mediaType, Digest: digest, Size: size, ArtifactType: artifactType, Annotations: annotations,
		},
		Blob: blob.String(), Bytes: body,
	}, nil
}
