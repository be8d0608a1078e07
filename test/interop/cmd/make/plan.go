package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pratique-dev/pratique/test/interop"
)

// keyTypes are the keys besides a and b, both ECDSA P-256.
func keyTypes() []string { return []string{"rsa2048", "rsa3072", "ed25519", "p384", "p521"} }

// plan lists the fixtures to make, without what only making them tells.
func plan() []interop.Fixture {
	var list []interop.Fixture
	add := func(tool interop.Tool, lay interop.Layout, reg interop.Registry, state interop.State, signers ...string) {
		parts := []string{program(tool), string(lay), string(reg), string(state)}
		if state == interop.KeyType {
			parts = append(parts, signers...)
		}
		name := strings.Join(parts, "-")
		list = append(list, interop.Fixture{
			Name: name, Tool: tool, Layout: lay, Registry: reg, State: state,
			Repository: "interop/" + name, Tag: "v1", Signers: signers,
		})
	}
	for _, tool := range tools() {
		for _, lay := range []interop.Layout{interop.Legacy, interop.Bundle} {
			for _, reg := range []interop.Registry{interop.ReferrersAPI, interop.FallbackTag} {
				add(tool, lay, reg, interop.Signed, "a")
				add(tool, lay, reg, interop.OtherKey, "b")
				add(tool, lay, reg, interop.OtherDigest, "a")
				add(tool, lay, reg, interop.SBOMInstead, "a")
				add(tool, lay, reg, interop.TwoSigners, "a", "b")
			}
			for _, key := range keyTypes() {
				add(tool, lay, interop.ReferrersAPI, interop.KeyType, key)
			}
		}
	}
	return list
}

func tools() []interop.Tool { return []interop.Tool{interop.Cosign2, interop.Cosign3} }

// program is the name the commands give to a tool.
func program(tool interop.Tool) string {
	if tool == interop.Cosign2 {
		return "cosign2"
	}
	return "cosign3"
}

// signCommand is the command by which f's tool signs image with a key, in f's
// layout and without a transparency log.
func signCommand(f interop.Fixture, key, image string) []string {
	return slices.Concat([]string{"sign", "--key", key + ".key"}, layoutFlags(f), []string{"-y", image})
}

// attestCommand is the same for the attestation of an SPDX document.
func attestCommand(f interop.Fixture, key, image string) []string {
	return slices.Concat([]string{"attest", "--key", key + ".key"}, layoutFlags(f),
		[]string{"--type", "spdxjson", "--predicate", "sbom.spdx.json", "-y", image})
}

// layoutFlags: cosign 2 writes the legacy layout unless told otherwise, cosign 3
// writes bundles.
func layoutFlags(f interop.Fixture) []string {
	switch {
	case f.Tool == interop.Cosign2 && f.Layout == interop.Legacy:
		return []string{"--tlog-upload=false"}
	case f.Tool == interop.Cosign2:
		return []string{"--tlog-upload=false", "--new-bundle-format"}
	case f.Layout == interop.Bundle:
		return []string{"--tlog-upload=false", "--use-signing-config=false"}
	}
	return []string{"--tlog-upload=false", "--use-signing-config=false", "--new-bundle-format=false"}
}

// verifyCommand is the command by which tool, which need not be f's, is asked
// for a signature by a key. The trusted root is empty; without one the tools
// seek it on the network.
func verifyCommand(tool interop.Tool, f interop.Fixture, key, image string) []string {
	flags := []string{"verify", "--key", key + ".pub", "--insecure-ignore-tlog", "--trusted-root", "trusted-root.json"}
	if tool == interop.Cosign2 && f.Layout == interop.Bundle {
		flags = append(flags, "--new-bundle-format")
	}
	switch key { // both sign with the curve's own hash and verify with SHA-256
	case "p384":
		flags = append(flags, "--signature-digest-algorithm", "sha384")
	case "p521":
		flags = append(flags, "--signature-digest-algorithm", "sha512")
	}
	return append(flags, image)
}

// shown is a command as the README prints it.
func shown(tool interop.Tool, args []string, host string) string {
	line := program(tool) + " " + strings.Join(args, " ")
	return strings.ReplaceAll(line, host, "$REGISTRY")
}

// reference is the image of f in the registry at host.
func reference(host string, f interop.Fixture, digest string) string {
	return fmt.Sprintf("%s/%s@%s", host, f.Repository, digest)
}
