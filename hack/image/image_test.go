package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const pem = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"

// compiled returns a static program for an architecture.
func compiled(t *testing.T, architecture string) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module example.com/nothing\n\ngo 1.26.0\n",
		"main.go": "package main\n\nfunc main() {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", "nothing", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture, "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building a program: %v\n%s", err, out)
	}
	program, err := os.ReadFile(filepath.Join(dir, "nothing"))
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// unpack reads an archive as an OCI layout of one image, and returns it with its annotations.
func unpack(t *testing.T, r io.Reader) (v1.Image, map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(to, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("the layout's index is %+v, %v", manifest, err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return image, manifest.Manifests[0].Annotations
}

func TestTheArchiveHoldsTheProgramTheCertificatesAndNothingElse(t *testing.T) {
	t.Parallel()
	program := compiled(t, "arm64")
	dir := t.TempDir()
	binary, bundle, output := filepath.Join(dir, "p"), filepath.Join(dir, "ca.crt"), filepath.Join(dir, "image.tar")
	for file, data := range map[string][]byte{binary: program, bundle: []byte(pem)} {
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const ref = "docker.io/library/pratique-webhook:v1"
	if err := run(binary, ref, bundle, output); err != nil {
		t.Fatal(err)
	}
	archived, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	image, annotations := unpack(t, bytes.NewReader(archived))
	if err := validate.Image(image); err != nil {
		t.Errorf("not a sound image: %v", err)
	}
	for _, key := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
		if got := annotations[key]; got != ref { // as the kubelet writes it: docker.io, and not index.docker.io
			t.Errorf("its name, by %s, is %q", key, got)
		}
	}

	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != "arm64" || config.Config.User != "65532:65532" || !cmp.Equal(config.Config.Entrypoint, []string{"/webhook"}) {
		t.Errorf("config is %+v", config)
	}

	files := map[string]string{}
	for in := tar.NewReader(mutate.Extract(image)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Mode&0o222 != 0 {
			t.Errorf("%s belongs to %d with mode %o: whoever runs could change it", h.Name, h.Uid, h.Mode)
		}
		files["/"+strings.TrimPrefix(h.Name, "/")] = string(data)
	}
	if diff := cmp.Diff(map[string]string{entrypoint: string(program), roots: pem}, files); diff != "" {
		t.Error("the files aren't the program and the certificates")
	}
}

func TestTheSameContentsAreTheSameArchive(t *testing.T) {
	t.Parallel()
	var archives [2]bytes.Buffer
	for i := range archives {
		image, err := build([]byte("program"), []byte(pem), "amd64")
		if err != nil {
			t.Fatal(err)
		}
		if err := archive(&archives[i], image, "example.com/webhook:v1"); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0].Bytes(), archives[1].Bytes()) {
		t.Error("two archives of the same differ")
	}
}

func TestWhatCouldNotRunIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := file("good", string(compiled(t, "amd64")))
	script, bundle, empty := file("script", "#!/bin/sh\n"), file("ca.crt", pem), file("empty.crt", "")
	const ref = "example.com/webhook:v1"
	for name, test := range map[string]struct{ binary, ref, certificates, want string }{
		"a script":                       {script, ref, bundle, "no program for linux"},
		"a program that isn't there":     {filepath.Join(dir, "none"), ref, bundle, "no such file"},
		"a name without a tag":           {good, "example.com/webhook", bundle, "tag"},
		"no name":                        {good, "", bundle, "-name"},
		"certificates that aren't there": {good, ref, filepath.Join(dir, "none.crt"), "no certificates"},
		"a bundle without certificates":  {good, ref, empty, "has no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output := filepath.Join(t.TempDir(), "image.tar")
			err := run(test.binary, test.ref, test.certificates, output)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that says %q", err, test.want)
			}
			if _, err := os.Stat(output); err == nil {
				t.Error("an archive was left")
			}
		})
	}
}

func TestAProgramLinkedAgainstCIsRefused(t *testing.T) {
	t.Parallel()
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Skipf("there is no /bin/sh to try: %v", err)
	}
	if !bytes.HasPrefix(shell, []byte("\x7fELF")) || !bytes.Contains(shell[:min(len(shell), 4096)], []byte("/ld-")) {
		t.Skip("/bin/sh is no program that names a dynamic linker, so there is nothing to refuse")
	}
	if _, err := static(shell); err == nil || !strings.Contains(err.Error(), "C library") {
		t.Errorf("got %v", err)
	}
}
