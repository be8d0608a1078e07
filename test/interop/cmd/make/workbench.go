package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pratique-dev/pratique/test/interop"
)

// workbench runs the cosign programs, each in a folder of its own that holds its
// keys and the SPDX document, and in an environment that has nothing of the
// user's.
type workbench struct {
	programs map[interop.Tool]string
	dirs     map[interop.Tool]string
	home     string
	env      []string // NAME=VALUE, beside what output sets
}

func newWorkbench(ctx context.Context, scratch, sbom string, programs map[interop.Tool]string) (*workbench, error) {
	w := &workbench{programs: programs, dirs: map[interop.Tool]string{}, home: filepath.Join(scratch, "home")}
	if err := os.Mkdir(w.home, 0o700); err != nil {
		return nil, err
	}
	document, err := os.ReadFile(sbom)
	if err != nil {
		return nil, err
	}
	for _, tool := range tools() {
		w.dirs[tool] = filepath.Join(scratch, program(tool))
		if err := os.Mkdir(w.dirs[tool], 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(w.dirs[tool], "sbom.spdx.json"), document, 0o600); err != nil {
			return nil, err
		}
		if err := w.checkVersion(ctx, tool); err != nil {
			return nil, err
		}
	}
	if err := w.makeKeys(ctx); err != nil {
		return nil, err
	}
	for _, tool := range tools() {
		if err := w.cosign(ctx, tool, "trusted-root", "create", "--out", "trusted-root.json"); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// cosign runs one command; the error holds what the program printed.
func (w *workbench) cosign(ctx context.Context, tool interop.Tool, args ...string) error {
	_, err := w.output(ctx, tool, args...)
	return err
}

func (w *workbench) output(ctx context.Context, tool interop.Tool, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, w.programs[tool], args...)
	cmd.Dir = w.dirs[tool]
	cmd.Env = []string{
		"HOME=" + w.home, "DOCKER_CONFIG=" + w.home, "COSIGN_PASSWORD=interop",
		"HTTPS_PROXY=http://127.0.0.1:1", // nothing listens there: no log, no TUF
	}
	cmd.Env = append(cmd.Env, w.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", program(tool), strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

// checkVersion refuses a program that is not the version its fixtures will claim.
func (w *workbench) checkVersion(ctx context.Context, tool interop.Tool) error {
	out, err := w.output(ctx, tool, "version")
	if err != nil {
		return err
	}
	_, want, _ := strings.Cut(string(tool), " ")
	for line := range strings.Lines(string(out)) {
		if version, ok := strings.CutPrefix(line, "GitVersion:"); ok {
			if got := strings.TrimSpace(version); got != "v"+want {
				return fmt.Errorf("%s is %s, not v%s", w.programs[tool], got, want)
			}
			return nil
		}
	}
	return fmt.Errorf("%s does not tell its version", w.programs[tool])
}

// makeKeys has cosign 3 generate a and b, which both tools use, and each tool
// import the keys of the other types.
func (w *workbench) makeKeys(ctx context.Context) error {
	from, to := w.dirs[interop.Cosign3], w.dirs[interop.Cosign2]
	for _, name := range []string{"a", "b"} {
		if err := w.cosign(ctx, interop.Cosign3, "generate-key-pair", "--output-key-prefix", name); err != nil {
			return err
		}
		for _, file := range []string{name + ".key", name + ".pub"} {
			body, err := os.ReadFile(filepath.Join(from, file))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(to, file), body, 0o600); err != nil {
				return err
			}
		}
	}
	for _, name := range keyTypes() {
		if err := w.importKey(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// importKey makes a key of the type named and has both tools import it.
func (w *workbench) importKey(ctx context.Context, name string) error {
	key, err := generate(name)
	if err != nil {
		return err
	}
	return w.imported(ctx, name, key)
}

// imported has both tools import a private key under a name.
func (w *workbench) imported(ctx context.Context, name string, key any) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	body := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	var publics [][]byte
	for _, tool := range tools() {
		file := filepath.Join(w.dirs[tool], name+".pem")
		if err := os.WriteFile(file, body, 0o600); err != nil {
			return err
		}
		if err := w.cosign(ctx, tool, "import-key-pair", "--key", name+".pem", "--output-key-prefix", name); err != nil {
			return err
		}
		public, err := os.ReadFile(filepath.Join(w.dirs[tool], name+".pub"))
		if err != nil {
			return err
		}
		publics = append(publics, public)
	}
	if !bytes.Equal(publics[0], publics[1]) {
		return fmt.Errorf("key %s: the tools disagree about its public half", name)
	}
	return nil
}

func generate(name string) (any, error) {
	switch name {
	case "rsa2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "rsa3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "p384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "p521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	}
	return nil, errors.New("no such key type: " + name)
}
