package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const ref = "docker.io/library/pratique-webhook:v1"

// scene is a directory with programs for both platforms.
type scene struct{ dir, amd64, arm64 string }

func newScene(t *testing.T) scene {
	t.Helper()
	s := scene{dir: t.TempDir()}
	s.amd64 = s.file(t, "amd64/webhook", compiled(t, "linux", "amd64"))
	s.arm64 = s.file(t, "arm64/webhook", compiled(t, "linux", "arm64"))
	return s
}

func (s scene) file(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(s.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// A second build, in another directory and with the platforms in another order, gives the same archive.
func TestTwoBuildsAreOneDigest(t *testing.T) {
	t.Parallel()
	var told [2]bytes.Buffer
	var archives [2][]byte
	for i := range archives {
		s := newScene(t)
		o := order{
			binaries: []string{"amd64=" + s.amd64, s.arm64}, name: ref, output: filepath.Join(s.dir, "image.tar"),
			revision: "0123456789abcdef", source: "https://example.com/source", licenses: "Apache-2.0",
		}
		if i == 1 {
			o.binaries = []string{s.arm64, s.amd64}
		}
		if err := run(o, &told[i]); err != nil {
			t.Fatal(err)
		}
		var err error
		if archives[i], err = os.ReadFile(o.output); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two builds of the same differ")
	}
	_, first, _ := strings.Cut(told[0].String(), "\n")
	_, second, _ := strings.Cut(told[1].String(), "\n")
	lines := strings.Split(first, "\n")
	if first != second || len(lines) != 4 || !strings.HasPrefix(lines[0], "  "+ref+"@sha256:") ||
		!strings.HasPrefix(lines[1], "  linux/amd64 sha256:") || !strings.HasPrefix(lines[2], "  linux/arm64 sha256:") {
		t.Errorf("told:\n%s%s", told[0].String(), told[1].String())
	}
	if top := decode[struct{ Manifests []struct{ Digest string } }](t, files(t, bytes.NewReader(archives[0]))["index.json"]); !strings.HasSuffix(lines[0], "@"+top.Manifests[0].Digest) {
		t.Errorf("told %s, and the archive has %s", lines[0], top.Manifests[0].Digest)
	}
}

func TestOneProgramIsEnough(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	app := s.file(t, "app", compiled(t, "linux", "amd64"))
	programs, entrypoint, err := load([]string{app})
	if err != nil || len(programs) != 1 || programs[0].architecture != "amd64" || entrypoint != "/app" {
		t.Errorf("got %d programs, %q, %v", len(programs), entrypoint, err)
	}
}

func TestAnOrderThatCouldNotRunIsRefusedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	program, err := os.ReadFile(s.amd64)
	if err != nil {
		t.Fatal(err)
	}
	script, other, etc := s.file(t, "script", []byte("#!/bin/sh\n")), s.file(t, "other", program), s.file(t, "etc", program)
	foreign := s.file(t, "foreign", compiled(t, "freebsd", "amd64"))
	nothing := s.file(t, "nothing.pem", nil)
	both := []string{s.amd64, s.arm64}
	for name, test := range map[string]struct {
		order order
		want  string
	}{
		"no program":                     {order{name: ref}, "-binary, -name and -o are needed"},
		"no name":                        {order{binaries: both}, "-binary, -name and -o are needed"},
		"a script":                       {order{binaries: []string{script}, name: ref}, "no program for linux"},
		"a program of another system":    {order{binaries: []string{foreign}, name: ref}, "GOOS=linux"},
		"a program that isn't there":     {order{binaries: []string{s.dir + "/none"}, name: ref}, "no such file"},
		"a program of another platform":  {order{binaries: []string{"arm64=" + s.amd64}, name: ref}, "it is for amd64 and not for arm64: build it with GOARCH=arm64"},
		"a platform that isn't known":    {order{binaries: []string{"arm=" + s.amd64}, name: ref}, `none for "arm"`},
		"two for one platform":           {order{binaries: []string{s.amd64, s.amd64}, name: ref}, "the second for amd64"},
		"programs of two names":          {order{binaries: []string{other, s.arm64}, name: ref}, "called otherwise than the first, other"},
		"a program named as a directory": {order{binaries: []string{etc}, name: ref}, "/etc is a directory"},
		"a name without a tag":           {order{binaries: both, name: "docker.io/library/webhook"}, "needs a tag"},
		"a name with a digest":           {order{binaries: both, name: "docker.io/library/webhook:v1@sha256:" + strings.Repeat("0", 64)}, "no digest"},
		"a name that isn't whole":        {order{binaries: both, name: "webhook:v1"}, "canonical"},
		"a version that can't be a tag":  {order{binaries: both, name: "docker.io/library/webhook:v1.0.0+build"}, "it has the form REGISTRY/REPOSITORY:TAG"},
		"a tag that begins with a dash":  {order{binaries: both, name: "docker.io/library/webhook:-dirty"}, "it has the form REGISTRY/REPOSITORY:TAG"},
		"no version":                     {order{binaries: both, name: "docker.io/library/webhook:"}, "it has the form REGISTRY/REPOSITORY:TAG"},
		"certificates that aren't there": {order{binaries: both, name: ref, certificates: s.dir + "/none"}, "-certificates"},
		"a bundle without a certificate": {order{binaries: both, name: ref, certificates: nothing}, "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			test.order.output = filepath.Join(dir, "image.tar")
			var told bytes.Buffer
			err := run(test.order, &told)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that says %q", err, test.want)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 || told.Len() > 0 {
				t.Errorf("left behind: %v, %v, %s", left, err, told.String())
			}
		})
	}
}

func TestAVersionAsGitTellsItIsATag(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v0.1.0", "0.1.0", "v0.1.0-4-g0123abc", "989c81e", "989c81e-dirty", "v0.1.0-dirty", "unknown"} {
		tagged, err := fullName("docker.io/library/pratique-webhook:" + version)
		if err != nil || tagged.Tag() != version {
			t.Errorf("%s: got %v, %v", version, tagged, err)
		}
	}
}
