package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// nobody is the user and group that the program runs as: any but root, as a number, so that runAsNonRoot can check it.
	nobody = 65532
	// entrypoint is where the program is in the image.
	entrypoint = "/webhook"
	// roots is where Go looks for the certificates of the authorities that it trusts.
	roots = "/etc/ssl/certs/ca-certificates.crt"
)

// epoch is the time of everything inside, so that the same contents are the same digest.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

// content is one file of the image.
type content struct {
	path string
	mode int64
	data []byte
}

// build makes an image of a static program and of the authorities' certificates, without which it could read no
// registry. There is nothing else in it: no shell, no package manager, no user database.
func build(program, certificates []byte, architecture string) (v1.Image, error) {
	image, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{
		Architecture: architecture,
		OS:           "linux",
		Created:      v1.Time{Time: epoch()},
		Config: v1.Config{
			Entrypoint: []string{entrypoint},
			User:       fmt.Sprintf("%d:%d", nobody, nobody),
			WorkingDir: "/",
		},
		RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	// The certificates change more seldom than the program: a layer of their own isn't pulled anew.
	for _, c := range []content{{roots, 0o444, certificates}, {entrypoint, 0o555, program}} {
		layer, err := layerOf(c)
		if err != nil {
			return nil, err
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			return nil, err
		}
	}
	return image, nil
}

// layerOf makes a layer of one file, and of the directories that lead to it.
func layerOf(c content) (v1.Layer, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, dir := range parents(c.path) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: epoch()}); err != nil {
			return nil, err
		}
	}
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: c.path[1:], Mode: c.mode, Size: int64(len(c.data)), ModTime: epoch()})
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(c.data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buffer.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
}

// parents returns the directories above an absolute path, outermost first.
func parents(path string) []string {
	var out []string
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			out = append(out, path[1:i+1])
		}
	}
	return out
}

// archive writes an image as a tar of an OCI image layout, under a name.
func archive(w io.Writer, image v1.Image, name string) (err error) {
	dir, err := os.MkdirTemp("", "pratique-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	to, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	names := map[string]string{
		"org.opencontainers.image.ref.name": name, // of the OCI specification
		"io.containerd.image.name":          name, // what containerd takes for a full name
	}
	if err := to.AppendImage(image, layout.WithAnnotations(names)); err != nil {
		return err
	}
	return pack(w, dir)
}

// pack writes the files of a directory, in order and without what depends on when and by whom they were written.
func pack(to io.Writer, dir string) error {
	w := tar.NewWriter(to)
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		below, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		below = filepath.ToSlash(below)
		if entry.IsDir() {
			return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: below + "/", Mode: 0o755, ModTime: epoch()})
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: below, Mode: 0o644, Size: int64(len(data)), ModTime: epoch()}); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	return w.Close()
}
