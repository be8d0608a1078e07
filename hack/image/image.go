package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// user is who the program runs as: any but root, as numbers, so that the kubelet can check runAsNonRoot.
	user = "65532:65532"
	// roots is where Go, and most else, looks for the certificates of the authorities that it trusts.
	roots = "/etc/ssl/certs/ca-certificates.crt"
	// The modes of what is inside: whoever runs may read and execute, and change nothing.
	readable, executable, directory = 0o444, 0o555, 0o755
)

// epoch is the time of everything inside, so that the same contents are the same digest.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

// about is what the image says of itself. What is empty isn't said.
type about struct{ title, version, revision, source, licenses string }

// annotations returns it under the keys of the OCI image specification (annotations.md).
func (a about) annotations() map[string]string {
	out := map[string]string{
		"org.opencontainers.image.title":    a.title,
		"org.opencontainers.image.version":  a.version,
		"org.opencontainers.image.revision": a.revision,
		"org.opencontainers.image.source":   a.source,
		"org.opencontainers.image.licenses": a.licenses,
	}
	maps.DeleteFunc(out, func(_, value string) bool { return value == "" })
	return out
}

// index is an image for several platforms: what is pushed under one name, and named by one digest.
type index struct {
	manifest []byte
	images   []v1.Image // one for each platform, by architecture
}

// indexManifest is the manifest of an index, as image-index.md of the OCI specification has it. Its fields are in the
// order of the specification's own Go types: skopeo, which decodes an index and writes it anew, so keeps its digest.
type indexManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	Manifests     []descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// descriptor names a blob, as descriptor.md has it.
type descriptor struct {
	MediaType   types.MediaType   `json:"mediaType"`
	Digest      v1.Hash           `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platform         `json:"platform,omitempty"`
}

// platform is what an image runs on.
type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// build makes an index of one image for each program. The index and its manifests carry the annotations, and the configs
// the same as labels, which is where docker shows them.
func build(programs []program, entrypoint string, certificates []byte, a about) (index, error) {
	// The certificates change more seldom than the program: a layer of their own isn't pulled anew, and all platforms
	// have the same.
	trust, err := layerOf(roots, readable, certificates)
	if err != nil {
		return index{}, err
	}
	var out index
	manifest := indexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Annotations: a.annotations()}
	for _, p := range programs {
		runs, err := layerOf(entrypoint, executable, p.data)
		if err != nil {
			return index{}, err
		}
		image, err := imageOf(p.architecture, entrypoint, a, trust, runs)
		if err != nil {
			return index{}, err
		}
		raw, err := image.RawManifest()
		if err != nil {
			return index{}, err
		}
		d := describe(types.OCIManifestSchema1, raw)
		d.Platform = &platform{p.architecture, "linux"}
		manifest.Manifests = append(manifest.Manifests, d)
		out.images = append(out.images, image)
	}
	out.manifest, err = json.Marshal(manifest)
	return out, err
}

// describe returns the descriptor of a blob.
func describe(mediaType types.MediaType, blob []byte) descriptor {
	sum := sha256.Sum256(blob)
	return descriptor{MediaType: mediaType, Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}, Size: int64(len(blob))}
}

// layer is a layer and the file that it is for.
type layer struct {
	v1.Layer
	path string
}

// imageOf makes the image of one platform.
func imageOf(architecture, entrypoint string, a about, layers ...layer) (v1.Image, error) {
	image, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{
		Architecture: architecture,
		OS:           "linux",
		Created:      v1.Time{Time: epoch()},
		Config: v1.Config{
			Entrypoint: []string{entrypoint},
			User:       user,
			WorkingDir: "/",
			Labels:     a.annotations(),
		},
		RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	for _, l := range layers {
		image, err = mutate.Append(image, mutate.Addendum{
			Layer:   l,
			History: v1.History{Created: v1.Time{Time: epoch()}, CreatedBy: "COPY " + l.path},
		})
		if err != nil {
			return nil, err
		}
	}
	return mutate.Annotations(image, a.annotations()).(v1.Image), nil
}

// layerOf makes a layer of one file, and of the directories that lead to it. It is compressed here and once, so that
// nothing but this and Go's gzip decides its digest.
func layerOf(path string, mode int64, data []byte) (layer, error) {
	var compressed bytes.Buffer
	squeeze := gzip.NewWriter(&compressed)
	w := tar.NewWriter(squeeze)
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			if err := w.WriteHeader(header(path[1:i+1], directory, 0)); err != nil {
				return layer{}, err
			}
		}
	}
	if err := w.WriteHeader(header(path[1:], mode, len(data))); err != nil {
		return layer{}, err
	}
	if _, err := w.Write(data); err != nil {
		return layer{}, err
	}
	if err := w.Close(); err != nil {
		return layer{}, err
	}
	if err := squeeze.Close(); err != nil {
		return layer{}, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(compressed.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	return layer{l, path}, err
}

// header is that of a file, or, if its name ends in a slash, of a directory. It belongs to root, and is of no day.
func header(name string, mode int64, size int) *tar.Header {
	kind := byte(tar.TypeReg)
	if name[len(name)-1] == '/' {
		kind = tar.TypeDir
	}
	return &tar.Header{Typeflag: kind, Name: name, Mode: mode, Size: int64(size), ModTime: epoch(), Format: tar.FormatUSTAR}
}
