// Command image puts a static program into an OCI image archive, without docker:
//
//	go run ./hack/image -binary dist/webhook -name docker.io/library/pratique-webhook:v1 -o dist/pratique-webhook.tar
//
// The archive is a tar of an OCI image layout. podman load, docker load (25 and newer), ctr images import and
// skopeo's oci-archive: take it, and its digest stays what is printed here. The image has the program, the
// certificates of this machine's authorities, and nothing else; it runs as a user that isn't root. `make image` calls this.
package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

func main() {
	binary := flag.String("binary", "", "the program: static, for linux")
	ref := flag.String("name", "", "the image's name with its tag, such as docker.io/library/pratique-webhook:v1")
	certificates := flag.String("certificates", "", "PEM `file` of the authorities that registries' certificates may be by (default: this machine's)")
	output := flag.String("o", "", "the archive to write")
	flag.Parse()
	if err := run(*binary, *ref, *certificates, *output); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(binary, ref, certificates, output string) error {
	if binary == "" || ref == "" || output == "" {
		return errors.New("-binary, -name and -o are needed")
	}
	if _, err := name.NewTag(ref, name.StrictValidation); err != nil {
		return err
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	architecture, err := static(program)
	if err != nil {
		return fmt.Errorf("%s: %w", binary, err)
	}
	pem, err := authorities(certificates)
	if err != nil {
		return err
	}
	image, err := build(program, pem, architecture)
	if err != nil {
		return err
	}
	var buffer bytes.Buffer
	if err := archive(&buffer, image, ref); err != nil {
		return err
	}
	if err := os.WriteFile(output, buffer.Bytes(), 0o644); err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s@%s, linux/%s, %d MiB\n", output, ref, digest, architecture, buffer.Len()>>20)
	return nil
}

// static makes sure that a program runs where there is no C library, and returns its architecture in Go's words.
func static(program []byte) (architecture string, err error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return "", fmt.Errorf("no program for linux: %w", err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", errors.New("linked against a C library, which the image doesn't have: build it with CGO_ENABLED=0")
		}
	}
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	}
	return "", fmt.Errorf("for %v, neither amd64 nor arm64", f.Machine)
}

// bundles returns where systems keep the certificates of their authorities: Debian, Fedora, SUSE, Alpine and macOS.
func bundles() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
	}
}

// authorities reads the certificates that go into the image.
func authorities(file string) ([]byte, error) {
	from := bundles()
	if file != "" {
		from = []string{file}
	}
	for _, f := range from {
		pem, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(pem, []byte("-----BEGIN CERTIFICATE-----")) {
			return nil, fmt.Errorf("%s has no certificate", f)
		}
		return pem, nil
	}
	return nil, fmt.Errorf("no certificates in %s: without them the image could read no registry; name a file with -certificates", strings.Join(from, ", "))
}
