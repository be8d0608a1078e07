// Command image puts a static program into an OCI image archive, without docker and without asking anybody:
//
//	go run ./hack/image -binary amd64=dist/linux-amd64/webhook -binary arm64=dist/linux-arm64/webhook \
//	    -name docker.io/library/pratique-webhook:v1 -o dist/pratique-webhook-v1.tar
//
// The archive is a tar of an OCI image layout that holds one index, and the index one image for each platform.
// skopeo's oci-archive:, ctr images import, podman load and docker load (with the containerd image store) take it.
//
// An image has the program at /NAME-OF-ITS-FILE, the certificates of public authorities, without which a program
// could read no registry, and nothing else: no shell, no package manager, no user database, no variable. It runs as
// a user that isn't root, and needs to write nowhere. The Dockerfile describes the same image for those who build
// with docker; a test compares the two.
//
// The same programs under the same name are the same bytes, on whatever machine and day: nothing inside has a time,
// an owner or an order that depends on them, and the certificates are of a version that go.mod pins.
//
// `make image` calls this, for the webhook and for the CLI.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// order is what was asked for, as the flags have it.
type order struct {
	binaries     []string // PATH or ARCH=PATH
	name         string   // of the image, with its tag
	certificates string   // a PEM file; empty: the pinned ones
	output       string   // the archive

	revision, source, licenses string // for the annotations; empty: none
}

func main() {
	var o order
	flag.Func("binary", "a static program for linux, as `[ARCH=]PATH`; once for each platform, by the same file name", func(value string) error {
		o.binaries = append(o.binaries, value)
		return nil
	})
	flag.StringVar(&o.name, "name", "", "the image's full name and `tag`, such as docker.io/library/pratique-webhook:v1")
	flag.StringVar(&o.certificates, "certificates", "", "PEM `file` of the authorities to trust, instead of the public ones")
	flag.StringVar(&o.output, "o", "", "the `archive` to write")
	flag.StringVar(&o.revision, "revision", "", "the `commit` that the program was built from, to be told in the image")
	flag.StringVar(&o.source, "source", "", "the `URL` of the program's source, to be told in the image")
	flag.StringVar(&o.licenses, "licenses", "", "its licences as an SPDX `expression`, to be told in the image")
	show := flag.Bool("print-certificates", false, "print the certificates that would go into the image, and do nothing else")
	flag.Parse()
	err := errors.New("unknown argument " + flag.Arg(0))
	switch {
	case flag.NArg() > 0:
	case *show:
		err = showCertificates(os.Stdout, o.certificates)
	default:
		err = run(o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// showCertificates writes the certificates alone: the Dockerfile gets them this way.
func showCertificates(to io.Writer, file string) error {
	certificates, err := authorities(file)
	if err != nil {
		return err
	}
	_, err = to.Write(certificates)
	return err
}

// run makes the archive and says what is in it.
func run(o order, to io.Writer) error {
	if len(o.binaries) == 0 || o.name == "" || o.output == "" {
		return errors.New("-binary, -name and -o are needed")
	}
	tagged, err := fullName(o.name)
	if err != nil {
		return err
	}
	programs, entrypoint, err := load(o.binaries)
	if err != nil {
		return err
	}
	certificates, err := authorities(o.certificates)
	if err != nil {
		return err
	}
	path := reference.Path(tagged)
	made, err := build(programs, entrypoint, certificates, about{
		title: path[strings.LastIndex(path, "/")+1:], version: tagged.Tag(), revision: o.revision, source: o.source, licenses: o.licenses,
	})
	if err != nil {
		return err
	}
	if err := write(o.output, made, o.name); err != nil {
		return err
	}
	return tell(to, o, made)
}

// fullName reads the image's name as containerd does. It must say all that containerd would otherwise fill in.
func fullName(written string) (reference.NamedTagged, error) {
	named, err := reference.ParseNamed(written)
	if err != nil {
		return nil, fmt.Errorf("-name %q: %w: it has the form REGISTRY/REPOSITORY:TAG, "+
			"and the tag letters, digits, _ . and -, no more than 128, the first none of . and -", written, err)
	}
	tagged, ok := named.(reference.NamedTagged)
	if _, digested := named.(reference.Digested); !ok || digested {
		return nil, fmt.Errorf("-name %q: it needs a tag, and no digest", written)
	}
	return tagged, nil
}

// load reads the programs, in the order of their architectures, and returns where they are in the image.
func load(binaries []string) (programs []program, entrypoint string, err error) {
	for _, binary := range binaries {
		path, want := binary, ""
		// A path that has a = of its own can be written as ./PATH.
		if before, after, ok := strings.Cut(binary, "="); ok && !strings.ContainsAny(before, `/\`) {
			path, want = after, before
		}
		p, err := open(path, want)
		if err != nil {
			return nil, "", fmt.Errorf("-binary %s: %w", binary, err)
		}
		at := "/" + filepath.Base(path)
		switch {
		case slices.ContainsFunc(programs, func(q program) bool { return q.architecture == p.architecture }):
			return nil, "", fmt.Errorf("-binary %s: it is the second for %s", binary, p.architecture)
		case entrypoint != "" && at != entrypoint:
			return nil, "", fmt.Errorf("-binary %s: its file is called otherwise than the first, %s: "+
				"one image runs one program on all platforms", binary, entrypoint[1:])
		case strings.HasPrefix(roots, at+"/"):
			return nil, "", fmt.Errorf("-binary %s: %s is a directory of the image: call the file otherwise", binary, at)
		}
		programs, entrypoint = append(programs, p), at
	}
	slices.SortFunc(programs, func(a, b program) int { return strings.Compare(a.architecture, b.architecture) })
	return programs, entrypoint, nil
}

// tell prints the digest to name the image by, and those of its platforms.
func tell(to io.Writer, o order, i index) error {
	archive, err := os.Stat(o.output)
	if err != nil {
		return err
	}
	fmt.Fprintf(to, "%s, %d MiB\n  %s@%s\n", o.output, archive.Size()>>20, o.name, describe("", i.manifest).Digest)
	for _, image := range i.images {
		digest, err := image.Digest()
		if err != nil {
			return err
		}
		config, err := image.ConfigFile()
		if err != nil {
			return err
		}
		fmt.Fprintf(to, "  %s/%s %s\n", config.OS, config.Architecture, digest)
	}
	return nil
}
