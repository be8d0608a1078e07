package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/pratique-dev/pratique/test/interop"
	"github.com/pratique-dev/pratique/test/interop/internal/layout"
)

// makeAll makes every fixture of the plan and writes layouts and keys into out.
func makeAll(ctx context.Context, w *workbench, hosts map[interop.Registry]string, out string) ([]interop.Fixture, error) {
	for _, dir := range []string{"layouts", "keys"} {
		if err := os.MkdirAll(filepath.Join(out, dir), 0o755); err != nil {
			return nil, err
		}
	}
	for _, key := range append([]string{"a", "b"}, keyTypes()...) {
		body, err := os.ReadFile(filepath.Join(w.dirs[interop.Cosign3], key+".pub"))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(out, "keys", key+".pub"), body, 0o644); err != nil {
			return nil, err
		}
	}
	fixtures := plan()
	for i := range fixtures {
		f := &fixtures[i]
		fmt.Println("make", f.Name)
		c, err := makeFixture(ctx, w, hosts[f.Registry], f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if err := c.Write(filepath.Join(out, "layouts", f.Name)); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return fixtures, writeList(out, fixtures)
}

// makeFixture pushes f's image to the registry at host, has f's tool make its
// papers and pulls the repository. It fills in the digests and commands of f.
func makeFixture(ctx context.Context, w *workbench, host string, f *interop.Fixture) (layout.Contents, error) {
	repo := layout.Repository{Client: http.DefaultClient, Base: "http://" + host, Name: f.Repository}
	none := layout.Contents{}
	var err error
	if f.Digest, err = pushImage(ctx, repo, f.Tag, f.Name); err != nil {
		return none, err
	}
	subject := f.Digest
	if f.State == interop.OtherDigest {
		if f.OtherDigest, err = pushImage(ctx, repo, "other", f.Name+" other"); err != nil {
			return none, err
		}
		subject = f.OtherDigest
	}
	for _, key := range f.Signers {
		args := signCommand(*f, key, reference(host, *f, subject))
		if f.State == interop.SBOMInstead {
			args = attestCommand(*f, key, reference(host, *f, subject))
		}
		if err := w.cosign(ctx, f.Tool, args...); err != nil {
			return none, err
		}
		f.Commands = append(f.Commands, shown(f.Tool, args, host))
	}
	if f.State == interop.OtherDigest {
		if err := replay(ctx, repo, f); err != nil {
			return none, err
		}
	}
	return repo.Pull(ctx)
}

// pushImage pushes an image for linux/amd64 whose one file holds text, and tags
// it. The same text gives the same digest.
func pushImage(ctx context.Context, repo layout.Repository, tag, text string) (string, error) {
	var archive bytes.Buffer
	tw := tar.NewWriter(&archive)
	if err := tw.WriteHeader(&tar.Header{Name: "name", Mode: 0o444, Size: int64(len(text))}); err != nil {
		return "", err
	}
	if _, err := tw.Write([]byte(text)); err != nil {
		return "", err
	}
	if err := tw.Close(); err != nil {
		return "", err
	}
	layer := archive.Bytes()
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[%q]}}`, layout.Digest(layer))
	m := layout.Manifest{MediaType: layout.MediaTypeManifest, Body: fmt.Appendf(nil,
		`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		layout.MediaTypeManifest,
		"application/vnd.oci.image.config.v1+json", layout.Digest(config), len(config),
		"application/vnd.oci.image.layer.v1.tar", layout.Digest(layer), len(layer))}
	c := layout.New()
	c.AddBlob(layer)
	c.AddBlob(config)
	c.AddManifest(m, tag)
	return m.Digest(), repo.Push(ctx, c)
}
