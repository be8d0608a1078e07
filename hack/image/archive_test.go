package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// files reads an archive, and complains about what depends on when and by whom it was written.
func files(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	var names []string
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		unchangeable(t, h)
		names = append(names, strings.TrimSuffix(h.Name, "/"))
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if out[h.Name], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("the archive isn't sorted: %v", names)
	}
	return out
}

// follow reads the blob that a descriptor names, checks its size and digest, and takes it out of the files.
func follow(t *testing.T, archived map[string][]byte, d v1.Descriptor) []byte {
	t.Helper()
	name := "blobs/sha256/" + d.Digest.Hex
	data, ok := archived[name]
	sum := sha256.Sum256(data)
	if !ok || d.Digest.Algorithm != "sha256" || int64(len(data)) != d.Size || hex.EncodeToString(sum[:]) != d.Digest.Hex {
		t.Fatalf("%s %s of %d bytes: there are %d, of sha256:%x", d.MediaType, d.Digest, d.Size, len(data), sum)
	}
	return data
}

// decode reads JSON into a T.
func decode[T any](t *testing.T, data []byte) (out T) {
	t.Helper()
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return out
}

// The layout is read here as image-layout.md of the OCI specification has it.
func TestTheArchiveIsALayoutInWhichEveryDigestIsRight(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	const name = "docker.io/library/pratique-webhook:v1"
	made := fixed(t)
	if err := archive(&out, made, name); err != nil {
		t.Fatal(err)
	}
	archived := files(t, &out)
	if got := decode[map[string]string](t, archived["oci-layout"]); !maps.Equal(got, map[string]string{"imageLayoutVersion": "1.0.0"}) {
		t.Errorf("oci-layout says %v", got)
	}
	top := decode[v1.IndexManifest](t, archived["index.json"])
	if top.SchemaVersion != 2 || len(top.Manifests) != 1 || top.Manifests[0].MediaType != types.OCIImageIndex {
		t.Fatalf("index.json is %+v: want one index", top)
	}
	if digest := describe("", made.manifest).Digest; top.Manifests[0].Digest != digest {
		t.Errorf("the archive has %s, and %s is told", top.Manifests[0].Digest, digest)
	}
	names := map[string]string{"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name}
	if got := top.Manifests[0].Annotations; !maps.Equal(got, names) {
		t.Errorf("it is called %v", got)
	}

	seen := map[string]bool{"oci-layout": true, "index.json": true}
	visit := func(d v1.Descriptor) []byte {
		seen["blobs/sha256/"+d.Digest.Hex] = true
		return follow(t, archived, d)
	}
	var architectures []string
	for _, m := range decode[v1.IndexManifest](t, visit(top.Manifests[0])).Manifests {
		architectures = append(architectures, m.Platform.String())
		manifest := decode[v1.Manifest](t, visit(m))
		config := decode[v1.ConfigFile](t, visit(manifest.Config))
		if config.OS+"/"+config.Architecture != m.Platform.String() {
			t.Errorf("the config for %s is for %s/%s", m.Platform, config.OS, config.Architecture)
		}
		for _, l := range manifest.Layers {
			visit(l)
		}
	}
	if !slices.Equal(architectures, []string{"linux/amd64", "linux/arm64"}) {
		t.Errorf("the platforms are %v", architectures)
	}
	for name := range archived {
		if !seen[name] {
			t.Errorf("%s is in the archive, and nothing names it", name)
		}
	}
}

func TestTheArchiveReadsAsASoundImage(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := archive(&out, fixed(t), "example.com/webhook:v1"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range files(t, &out) {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	top, err := ocilayout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(top); err != nil {
		t.Error(err)
	}
}

func TestAnArchiveComesIntoItsPlaceWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	output := filepath.Join(dir, "made", "image.tar")
	if err := write(output, fixed(t), "example.com/webhook:v1"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(output); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the archive is %v, %v: want it readable by all", info.Mode(), err)
	}
	broken := fixed(t)
	broken.images[1] = failing{broken.images[1]}
	if err := write(output, broken, "example.com/webhook:v1"); !errors.Is(err, errFailing) {
		t.Fatalf("got %v", err)
	}
	after, err := os.ReadFile(output)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("what failed changed what was there: %v", err)
	}
	left, err := os.ReadDir(filepath.Dir(output))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

var errFailing = errors.New("this image can't be read")

// failing is an image whose content can't be had.
type failing struct{ v1.Image }

func (failing) RawConfigFile() ([]byte, error) { return nil, errFailing }
