package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// entry is what an image has at a path.
type entry struct {
	Mode int64
	Data string // of a file; directories have none
}

// entries reads the layers of an image, lowest first, as they are unpacked one over the other.
func entries(t *testing.T, image v1.Image) map[string]entry {
	t.Helper()
	out := map[string]entry{}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for in := tar.NewReader(content); ; {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			unchangeable(t, h)
			out["/"+h.Name] = entry{h.Mode, string(data)}
		}
	}
	return out
}

// unchangeable complains if whoever isn't root could write to an entry, or if it tells when or by whom it was made.
func unchangeable(t *testing.T, h *tar.Header) {
	t.Helper()
	if h.Mode&0o7022 != 0 {
		t.Errorf("%s has mode %o: others could write to it, or become another", h.Name, h.Mode)
	}
	if h.Typeflag != tar.TypeDir && h.Typeflag != tar.TypeReg {
		t.Errorf("%s is of type %c, neither a file nor a directory", h.Name, h.Typeflag)
	}
	if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" {
		t.Errorf("%s belongs to %d:%d, %q:%q: want root, by number", h.Name, h.Uid, h.Gid, h.Uname, h.Gname)
	}
	if h.ModTime.Unix() != 0 || !h.AccessTime.IsZero() || !h.ChangeTime.IsZero() || len(h.PAXRecords) > 0 {
		t.Errorf("%s has a time or more: %v, %v, %v, %v", h.Name, h.ModTime, h.AccessTime, h.ChangeTime, h.PAXRecords)
	}
}

// fixed is an index of made-up programs, the same in every test.
func fixed(t *testing.T) index {
	t.Helper()
	made, err := build([]program{{"amd64", []byte("one")}, {"arm64", []byte("other")}}, "/webhook", []byte("trust"), about{
		title: "pratique-webhook", version: "v1", revision: "0123456789abcdef", source: "https://example.com/source", licenses: "Apache-2.0",
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// platforms returns an index's images by the architecture that the index names.
func platforms(t *testing.T, made index) map[string]v1.Image {
	t.Helper()
	out := map[string]v1.Image{}
	for i, m := range decode[v1.IndexManifest](t, made.manifest).Manifests {
		digest, err := made.images[i].Digest()
		if err != nil || m.Digest != digest || m.Platform.OS != "linux" || m.MediaType != types.OCIManifestSchema1 {
			t.Fatalf("the index has %+v, and the image is %s, %v", m, digest, err)
		}
		out[m.Platform.Architecture] = made.images[i]
	}
	return out
}

func TestTheConfigSaysWhoRunsWhatAndNothingElse(t *testing.T) {
	t.Parallel()
	images := platforms(t, fixed(t))
	if got := slices.Sorted(maps.Keys(images)); !slices.Equal(got, []string{"amd64", "arm64"}) {
		t.Fatalf("the platforms are %v", got)
	}
	for architecture, image := range images {
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		diffs := config.RootFS.DiffIDs
		want := &v1.ConfigFile{
			Architecture: architecture,
			OS:           "linux",
			Created:      v1.Time{Time: epoch()},
			// No variable, volume, port, shell or check: every field that isn't here is empty.
			Config: v1.Config{
				User: "65532:65532", Entrypoint: []string{"/webhook"}, WorkingDir: "/",
				Labels: map[string]string{
					"org.opencontainers.image.title":    "pratique-webhook",
					"org.opencontainers.image.version":  "v1",
					"org.opencontainers.image.revision": "0123456789abcdef",
					"org.opencontainers.image.source":   "https://example.com/source",
					"org.opencontainers.image.licenses": "Apache-2.0",
				},
			},
			RootFS: v1.RootFS{Type: "layers", DiffIDs: diffs},
			History: []v1.History{
				{Created: v1.Time{Time: epoch()}, CreatedBy: "COPY /etc/ssl/certs/ca-certificates.crt"},
				{Created: v1.Time{Time: epoch()}, CreatedBy: "COPY /webhook"},
			},
		}
		if diff := cmp.Diff(want, config); diff != "" {
			t.Errorf("%s: (-want, +got):\n%s", architecture, diff)
		}
	}
}

func TestAnImageHasTheProgramTheCertificatesAndNothingElse(t *testing.T) {
	t.Parallel()
	images := platforms(t, fixed(t))
	for architecture, program := range map[string]string{"amd64": "one", "arm64": "other"} {
		want := map[string]entry{
			"/etc/":                              {Mode: 0o755},
			"/etc/ssl/":                          {Mode: 0o755},
			"/etc/ssl/certs/":                    {Mode: 0o755},
			"/etc/ssl/certs/ca-certificates.crt": {0o444, "trust"},
			"/webhook":                           {0o555, program},
		}
		if diff := cmp.Diff(want, entries(t, images[architecture])); diff != "" {
			t.Errorf("%s: (-want, +got):\n%s", architecture, diff)
		}
	}
}

func TestTheIndexAndItsManifestsTellWhatTheyAre(t *testing.T) {
	t.Parallel()
	made := fixed(t)
	want := map[string]string{
		"org.opencontainers.image.title":    "pratique-webhook",
		"org.opencontainers.image.version":  "v1",
		"org.opencontainers.image.revision": "0123456789abcdef",
		"org.opencontainers.image.source":   "https://example.com/source",
		"org.opencontainers.image.licenses": "Apache-2.0",
	}
	manifest := decode[v1.IndexManifest](t, made.manifest)
	if diff := cmp.Diff(want, manifest.Annotations); diff != "" {
		t.Errorf("the index: (-want, +got):\n%s", diff)
	}
	if manifest.MediaType != types.OCIImageIndex {
		t.Errorf("the index is a %s", manifest.MediaType)
	}
	images := platforms(t, made)
	for architecture, image := range images {
		m, err := image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, m.Annotations); diff != "" {
			t.Errorf("%s: (-want, +got):\n%s", architecture, diff)
		}
		if m.Config.MediaType != types.OCIConfigJSON || m.Layers[0].MediaType != types.OCILayer || m.Layers[1].MediaType != types.OCILayer {
			t.Errorf("%s: a type that isn't OCI's: %+v", architecture, m)
		}
	}
}

// skopeo copy --all decodes an index and encodes it again, by the specification's Go types. What these don't have, or have
// in another order, would change the digest that was printed.
func TestAnIndexHasTheFieldsOfTheSpecificationInItsOrder(t *testing.T) {
	t.Parallel()
	made, err := build([]program{{"amd64", []byte("one")}}, "/app", []byte("trust"), about{title: "app", version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := made.images[0].RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[`+
		`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%x","size":%d,`+
		`"platform":{"architecture":"amd64","os":"linux"}}],`+
		`"annotations":{"org.opencontainers.image.title":"app","org.opencontainers.image.version":"v1"}}`, sha256.Sum256(raw), len(raw))
	if diff := cmp.Diff(want, string(made.manifest)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsntKnownIsntToldOfTheImage(t *testing.T) {
	t.Parallel()
	got := about{title: "app", version: "v1"}.annotations()
	want := map[string]string{"org.opencontainers.image.title": "app", "org.opencontainers.image.version": "v1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A config has the digests of its layers before compression, and so depends on no version of gzip: made on any day and
// machine, it has this digest. Who changes what is in an image changes it here.
func TestAnImageIsTheSameOnEveryDayAndMachine(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"amd64": "sha256:cb51216cd474088afe24a0ee02f72e3ffb8d452356046028ea134f4191482b17",
		"arm64": "sha256:45189a743212d7be0e9c1987b1ddffaee39b567fed3757a0b86fd461dc365d0e",
	}
	images := platforms(t, fixed(t))
	for architecture, image := range images {
		got, err := image.ConfigName()
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != want[architecture] {
			t.Errorf("the config for %s is %s, want %s", architecture, got, want[architecture])
		}
	}
}

func TestTheSameContentsAreTheSameArchive(t *testing.T) {
	t.Parallel()
	var archives [2]bytes.Buffer
	for i := range archives {
		if err := archive(&archives[i], fixed(t), "example.com/webhook:v1"); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0].Bytes(), archives[1].Bytes()) {
		t.Error("two archives of the same differ")
	}
}

func TestPlatformsShareTheLayerOfTheCertificates(t *testing.T) {
	t.Parallel()
	images := platforms(t, fixed(t))
	var first [2]v1.Hash
	for i, architecture := range []string{"amd64", "arm64"} {
		m, err := images[architecture].Manifest()
		if err != nil {
			t.Fatal(err)
		}
		first[i] = m.Layers[0].Digest
	}
	if first[0] != first[1] {
		t.Errorf("%s and %s: want one", first[0], first[1])
	}
}
