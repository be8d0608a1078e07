package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/distribution"
	"github.com/pratique-dev/pratique/test/keyless"
)

// cosigns are the clients of both major versions, or the reason to do without.
func cosigns(t *testing.T) map[int]string {
	t.Helper()
	programs := map[int]string{}
	for _, major := range []int{2, 3} {
		file, err := keyless.Cosign(major)
		if errors.Is(err, keyless.ErrNoPrograms) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		programs[major] = file
	}
	return programs
}

// runCosign runs a client in a directory, without a network but loopback.
func runCosign(t *testing.T, program, dir string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "DOCKER_CONFIG=" + dir, "COSIGN_PASSWORD=secret", "HTTPS_PROXY=http://127.0.0.1:1"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// smallSBOM is an SPDX document of one package.
const smallSBOM = `{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "app", "dataLicense": "CC0-1.0", "documentNamespace": "https://acme.example/app",
 "creationInfo": {"created": "2026-03-01T09:30:00Z", "creators": ["Tool: hand"]},
 "packages": [{"SPDXID": "SPDXRef-1", "name": "openssl", "versionInfo": "3.0.1", "downloadLocation": "NOASSERTION", "licenseConcluded": "Apache-2.0"}]}`

// TestWhatIsMadeHereCosignVerifies: real clients, real registries with and without the referrers API, and the key that each made.
func TestWhatIsMadeHereCosignVerifies(t *testing.T) {
	programs := cosigns(t)
	dir := t.TempDir()
	for major, program := range programs {
		if out, err := runCosign(t, program, dir, "generate-key-pair", "--output-key-prefix", fmt.Sprintf("made%d", major)); err != nil {
			t.Fatalf("cosign %d generate-key-pair: %v\n%s", major, err, out)
		}
	}
	if out, err := runCosign(t, programs[3], dir, "trusted-root", "create", "--out", "trusted-root.json"); err != nil {
		t.Fatalf("cosign trusted-root create: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "sbom.json"), []byte(smallSBOM), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("COSIGN_PASSWORD", "secret")
	t.Setenv("DOCKER_CONFIG", dir)
	for kind, backend := range map[string]http.Handler{"with the referrers API": nil, "with the fallback tag": distribution.New(t)} {
		var options []evilregistry.Option
		if backend != nil {
			options = append(options, evilregistry.WithBackend(backend))
		}
		r := evilregistry.New(t, options...)
		for by := range programs {
			image := r.Push(t, fmt.Sprintf("team/app%d:v1", by), evilregistry.RandomImage(uint64(by)))
			key := filepath.Join(dir, fmt.Sprintf("made%d", by))
			makePapers(t, r.Host(), key+".key", filepath.Join(dir, "sbom.json"), image)
			for major, program := range programs {
				for _, paper := range []string{predicate.TypeApproval, "spdxjson"} {
					verify := func(key string, image name.Digest) (string, error) {
						args := []string{"verify-attestation", "--key", key + ".pub", "--insecure-ignore-tlog", "--trusted-root", "trusted-root.json", "--type", paper}
						if major == 2 {
							args = append(args, "--new-bundle-format")
						}
						return runCosign(t, program, dir, append(args, image.String())...)
					}
					where := fmt.Sprintf("%s, key of cosign %d: cosign %d verify-attestation --type %s", kind, by, major, paper)
					if out, err := verify(key, image); err != nil {
						t.Errorf("%s: %v\n%s", where, err, out)
					}
					if paper != predicate.TypeApproval {
						continue
					}
					if out, err := verify(filepath.Join(dir, fmt.Sprintf("made%d", 5-by)), image); err == nil {
						t.Errorf("%s: takes it for the other key's\n%s", where, out)
					}
				}
			}
		}
	}
}

// makePapers approves an image and attests its SBOM, as people do.
func makePapers(t *testing.T, host, key, sbom string, image name.Digest) {
	t.Helper()
	for _, args := range [][]string{
		{"approve", "--environment", "production", "--reason", "a & b <c>"},
		{"attest", "--type", "spdx", "--predicate", sbom},
	} {
		var out, notes bytes.Buffer
		args = append(append([]string{"pratique"}, args...), "--plain-http", host, "--key", key, image.String())
		if code := Main(args, &out, &notes); code != exitAllowed {
			t.Fatalf("%s: exit %d\n%s%s", strings.Join(args, " "), code, out.String(), notes.String())
		}
	}
}
