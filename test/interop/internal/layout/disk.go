package layout

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// refName is the annotation by which an OCI image layout names a tag.
const refName = "org.opencontainers.image.ref.name"

// index is the index.json of an OCI image layout.
type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []Descriptor `json:"manifests"`
}

// Read reads an OCI image layout and checks it. A file in it that index.json
// does not lead to is an error: it would look like part of the fixture and never
// be served.
func Read(fsys fs.FS) (Contents, error) {
	var idx index
	body, err := readObject(fsys, "index.json")
	if err != nil {
		return Contents{}, err
	}
	if err := json.Unmarshal(body, &idx); err != nil {
		return Contents{}, fmt.Errorf("index.json: %w", err)
	}
	c := New()
	for _, desc := range idx.Manifests {
		body, err := readBlob(fsys, desc.Digest)
		if err != nil {
			return Contents{}, err
		}
		if int64(len(body)) != desc.Size {
			return Contents{}, fmt.Errorf("manifest %s has %d bytes, not %d", desc.Digest, len(body), desc.Size)
		}
		c.Manifests[desc.Digest] = Manifest{MediaType: desc.MediaType, Body: body}
		if tag := desc.Annotations[refName]; tag != "" {
			c.Tags[tag] = desc.Digest
		}
	}
	files, err := fs.ReadDir(fsys, "blobs/sha256")
	if err != nil {
		return Contents{}, err
	}
	for _, file := range files {
		digest := "sha256:" + file.Name()
		if _, ok := c.Manifests[digest]; ok {
			continue
		}
		if c.Blobs[digest], err = readBlob(fsys, digest); err != nil {
			return Contents{}, err
		}
	}
	return c, c.Check()
}

func readBlob(fsys fs.FS, digest string) ([]byte, error) {
	hex, ok := strings.CutPrefix(digest, "sha256:")
	if !ok {
		return nil, fmt.Errorf("digest %q: only sha256 is known", digest)
	}
	return readObject(fsys, path.Join("blobs/sha256", hex))
}

func readObject(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxObject {
		return nil, fmt.Errorf("%s: %d bytes: more than %d", name, info.Size(), MaxObject)
	}
	return fs.ReadFile(fsys, name)
}

// Write writes c as an OCI image layout into dir, which must not exist: tagged
// manifests with their ref.name annotation, one entry a tag, and plain entries
// for the untagged.
func (c Contents) Write(dir string) error {
	if err := c.Check(); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	objects := maps.Clone(c.Blobs)
	for d, m := range c.Manifests {
		objects[d] = m.Body
	}
	for d, body := range objects {
		name := filepath.Join(blobs, strings.TrimPrefix(d, "sha256:"))
		if err := os.WriteFile(name, body, 0o644); err != nil {
			return err
		}
	}
	body, err := json.MarshalIndent(c.index(), "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), append(body, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "oci-layout"), []byte("{\"imageLayoutVersion\": \"1.0.0\"}\n"), 0o644)
}

// index lists c: first the tags in their order, then the untagged manifests in
// the order of their digests.
func (c Contents) index() index {
	idx := index{SchemaVersion: 2, MediaType: MediaTypeIndex}
	tagged := map[string]bool{}
	entry := func(digest string) Descriptor {
		m := c.Manifests[digest]
		return Descriptor{MediaType: m.MediaType, Digest: digest, Size: int64(len(m.Body))}
	}
	for _, tag := range slices.Sorted(maps.Keys(c.Tags)) {
		desc := entry(c.Tags[tag])
		desc.Annotations = map[string]string{refName: tag}
		idx.Manifests = append(idx.Manifests, desc)
		tagged[desc.Digest] = true
	}
	for _, d := range slices.Sorted(maps.Keys(c.Manifests)) {
		if !tagged[d] {
			idx.Manifests = append(idx.Manifests, entry(d))
		}
	}
	return idx
}
