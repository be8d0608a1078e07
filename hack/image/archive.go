package main

import (
	"archive/tar"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// write makes the archive's file. It comes into its place whole, or not at all.
func write(output string, i index, name string) (err error) {
	dir := filepath.Dir(output)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, "."+filepath.Base(output)+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(file.Name())
		}
	}()
	if err := archive(file, i, name); err != nil {
		return err
	}
	if err := file.Chmod(0o644); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), output)
}

// archive writes an index under a name, as a tar of an OCI image layout (image-layout.md): in order, and without what
// depends on when and by whom it was written.
func archive(to io.Writer, i index, name string) error {
	files, err := layout(i, name)
	if err != nil {
		return err
	}
	w := tar.NewWriter(to)
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := w.WriteHeader(header(dir, directory, 0)); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(header(name, 0o644, len(files[name]))); err != nil {
			return err
		}
		if _, err := w.Write(files[name]); err != nil {
			return err
		}
	}
	return w.Close()
}

// layout returns the files of an image layout that holds an index and all that it names.
func layout(i index, name string) (map[string][]byte, error) {
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	add := func(blob []byte) { files["blobs/sha256/"+describe("", blob).Digest.Hex] = blob }
	add(i.manifest)
	for _, image := range i.images {
		parts, err := blobs(image)
		if err != nil {
			return nil, err
		}
		for _, part := range parts {
			add(part)
		}
	}
	// The name is here alone, which nobody pushes: the digest doesn't depend on where the image goes.
	called := describe(types.OCIImageIndex, i.manifest)
	called.Annotations = map[string]string{
		"org.opencontainers.image.ref.name": name, // of the OCI specification
		"io.containerd.image.name":          name, // what containerd takes for a full name
	}
	var err error
	files["index.json"], err = json.Marshal(indexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []descriptor{called}})
	return files, err
}

// blobs returns all that one image is made of.
func blobs(image v1.Image) ([][]byte, error) {
	manifest, err := image.RawManifest()
	if err != nil {
		return nil, err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return nil, err
	}
	out := [][]byte{manifest, config}
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	for _, layer := range layers {
		content, err := layer.Compressed()
		if err != nil {
			return nil, err
		}
		blob, err := io.ReadAll(content)
		if err != nil {
			return nil, err
		}
		out = append(out, blob)
	}
	return out, nil
}
