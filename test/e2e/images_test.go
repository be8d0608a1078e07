package e2e

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// builder makes images that a node can run: the program in the folder app, and a line of text that it says.
type builder struct {
	program      []byte
	architecture string
}

func newBuilder(t *testing.T, root, architecture string) *builder {
	t.Helper()
	file := filepath.Join(t.TempDir(), "app")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", file, "./test/e2e/app")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building app: %v\n%s", err, said)
	}
	program, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return &builder{program, architecture}
}

// image makes the image that says this.
func (b *builder) image(t *testing.T, says string) v1.Image {
	t.Helper()
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	for _, f := range []struct {
		name    string
		mode    int64
		content []byte
	}{{"app", 0o555, b.program}, {"says", 0o444, []byte(says)}} {
		err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content))})
		if err == nil {
			_, err = w.Write(f.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(image, &v1.ConfigFile{
		OS: "linux", Architecture: b.architecture, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{Entrypoint: []string{"/app"}, User: "65532:65532"},
	})
	if err != nil {
		t.Fatal(err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
	if err == nil {
		image, err = mutate.AppendLayers(image, layer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// unsigned pushes an image that nobody signed, and that says its own name.
func (s *stage) unsigned(t *testing.T, ref string) name.Digest {
	t.Helper()
	return s.reg.push(t, ref, s.images.image(t, "unsigned "+ref))
}

// signed pushes an image and its signature.
func (s *stage) signed(t *testing.T, ref string) name.Digest {
	t.Helper()
	d := s.reg.push(t, ref, s.images.image(t, "signed "+ref))
	s.reg.sign(t, d, s.release)
	return d
}

// pushArchive pushes what an OCI archive holds, for nodes that nothing can be loaded onto, and returns its digest.
func (s *stage) pushArchive(t *testing.T, ref string) name.Digest {
	t.Helper()
	dir := t.TempDir()
	if err := unpack(filepath.Join(s.root, s.archive), dir); err != nil {
		t.Fatalf("%s: %v", s.archive, err)
	}
	all, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := all.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(manifest.Manifests); n != 1 {
		t.Fatalf("%s holds %d images: want 1", s.archive, n)
	}
	index, err := all.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return s.reg.push(t, ref, index)
}

// unpack unpacks a tar of plain files, which is what `make image` writes.
func unpack(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch to := filepath.Join(dir, filepath.FromSlash(h.Name)); {
		case !filepath.IsLocal(h.Name):
			return fmt.Errorf("%s leads out of it", h.Name)
		case h.Typeflag == tar.TypeDir:
			if err := os.MkdirAll(to, 0o700); err != nil {
				return err
			}
		case h.Typeflag == tar.TypeReg:
			if err := write(to, r); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is of type %s", h.Name, fs.FileMode(h.Mode))
		}
	}
}

func write(file string, from io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}
