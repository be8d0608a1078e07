// Package layout holds one small repository whole: its image manifests, the
// papers beside them, their blobs and its tags, as bytes. It can be read from
// and written to an OCI image layout on disk, and pulled from and pushed to a
// registry, and every step keeps each byte: what has another digest after a
// step than before is an error. That is what lets a signature made once by a
// real tool be served again years later.
//
// Nothing here understands signatures, and nothing here is fit for hostile
// input at scale: everything is held in memory, within MaxObject and
// MaxObjects.
package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Media types of the OCI image specification, version 1.1.
const (
	MediaTypeManifest = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeIndex    = "application/vnd.oci.image.index.v1+json"
)

const (
	// MaxObject bounds one blob, manifest or answer, in bytes. The largest
	// object of a fixture is a bundle of a few KiB.
	MaxObject = 1 << 20
	// MaxObjects bounds the manifests, and apart from them the blobs, of one
	// repository. The fullest fixture has fewer than ten of each.
	MaxObjects = 64
)

// ErrNotFound says that a repository has no such manifest, or that its registry
// has no referrers API.
var ErrNotFound = errors.New("not found")

// Manifest is an image manifest or index as a registry keeps it.
type Manifest struct {
	MediaType string
	Body      []byte
}

// Digest is the sha256 digest of the manifest's bytes, "sha256:" and hex.
func (m Manifest) Digest() string { return Digest(m.Body) }

// Digest is the sha256 digest of body as OCI writes it: "sha256:" and 64
// lower-case hex digits.
func Digest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Contents is everything in one repository. The maps' keys are digests, but for
// Tags, whose keys are tags and whose values are digests of Manifests.
type Contents struct {
	Manifests map[string]Manifest
	Blobs     map[string][]byte
	Tags      map[string]string
}

// New returns an empty repository.
func New() Contents {
	return Contents{Manifests: map[string]Manifest{}, Blobs: map[string][]byte{}, Tags: map[string]string{}}
}

// AddManifest adds m under its digest and the tags given.
func (c Contents) AddManifest(m Manifest, tags ...string) {
	c.Manifests[m.Digest()] = m
	for _, tag := range tags {
		c.Tags[tag] = m.Digest()
	}
}

// AddBlob adds a blob under its digest.
func (c Contents) AddBlob(body []byte) { c.Blobs[Digest(body)] = body }

// Descriptor is the part of an OCI descriptor that is needed here.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// Links are the outgoing references of a manifest or index.
type Links struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Config       *Descriptor       `json:"config"`
	Layers       []Descriptor      `json:"layers"`
	Manifests    []Descriptor      `json:"manifests"`
	Subject      *Descriptor       `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
}

// Links reads m's references.
func (m Manifest) Links() (Links, error) {
	var l Links
	if err := json.Unmarshal(m.Body, &l); err != nil {
		return Links{}, fmt.Errorf("manifest %s: %w", m.Digest(), err)
	}
	if l.MediaType != "" && l.MediaType != m.MediaType {
		return Links{}, fmt.Errorf("manifest %s: kept as %q and says %q", m.Digest(), m.MediaType, l.MediaType)
	}
	return l, nil
}

// blobs are the digests of the blobs that l names.
func (l Links) blobs() []Descriptor {
	if l.Config == nil {
		return l.Layers
	}
	return append([]Descriptor{*l.Config}, l.Layers...)
}

// Referrers returns the digests, sorted, of the manifests whose subject is the
// digest given.
func (c Contents) Referrers(digest string) ([]string, error) {
	var found []string
	for _, d := range slices.Sorted(maps.Keys(c.Manifests)) {
		l, err := c.Manifests[d].Links()
		if err != nil {
			return nil, err
		}
		if l.Subject != nil && l.Subject.Digest == digest {
			found = append(found, d)
		}
	}
	return found, nil
}

// Check says whether c is whole: every key is its value's digest, every tag,
// blob and child that is named is there with the size it is named with, and no
// blob is there that nothing names. A subject may be absent, as OCI allows.
func (c Contents) Check() error {
	if len(c.Manifests) > MaxObjects || len(c.Blobs) > MaxObjects {
		return fmt.Errorf("%d manifests and %d blobs: more than %d", len(c.Manifests), len(c.Blobs), MaxObjects)
	}
	for d, body := range c.Blobs {
		if Digest(body) != d {
			return fmt.Errorf("blob %s has digest %s", d, Digest(body))
		}
	}
	for tag, d := range c.Tags {
		if _, ok := c.Manifests[d]; !ok {
			return fmt.Errorf("tag %s: manifest %s: %w", tag, d, ErrNotFound)
		}
	}
	named := map[string]bool{}
	for d, m := range c.Manifests {
		if m.Digest() != d {
			return fmt.Errorf("manifest %s has digest %s", d, m.Digest())
		}
		if err := c.checkLinks(m, named); err != nil {
			return fmt.Errorf("manifest %s: %w", d, err)
		}
	}
	for d := range c.Blobs {
		if !named[d] {
			return fmt.Errorf("blob %s belongs to no manifest", d)
		}
	}
	return nil
}

// checkLinks checks what m names and notes the blobs among it in named.
func (c Contents) checkLinks(m Manifest, named map[string]bool) error {
	l, err := m.Links()
	if err != nil {
		return err
	}
	for _, desc := range l.blobs() {
		body, ok := c.Blobs[desc.Digest]
		if !ok {
			return fmt.Errorf("blob %s: %w", desc.Digest, ErrNotFound)
		}
		if int64(len(body)) != desc.Size {
			return fmt.Errorf("blob %s has %d bytes, not %d", desc.Digest, len(body), desc.Size)
		}
		named[desc.Digest] = true
	}
	for _, desc := range l.Manifests {
		child, ok := c.Manifests[desc.Digest]
		if !ok {
			return fmt.Errorf("child %s: %w", desc.Digest, ErrNotFound)
		}
		if int64(len(child.Body)) != desc.Size {
			return fmt.Errorf("child %s has %d bytes, not %d", desc.Digest, len(child.Body), desc.Size)
		}
	}
	return nil
}

// FallbackTag is the referrers tag of the OCI distribution specification 1.1,
// for registries without the referrers API: "sha256-" and hex.
func FallbackTag(digest string) string { return strings.Replace(digest, ":", "-", 1) }
