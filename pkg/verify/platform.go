package verify

import (
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	// MaxIndexDepth bounds how deep indexes are nested: an index of images, or an index of such indexes.
	MaxIndexDepth = 2
	// MaxChildren bounds the manifests below an index, over all depths, those that don't run included: no image is built for half as
	// many platforms, and each may need papers of its own.
	MaxChildren = 64
)

// Child is a manifest below an index that a node may run.
type Child struct {
	Digest   v1.Hash
	Platform Platform
}

// Platform is where an image runs, in the words of the OCI image specification. The zero Platform is one that nobody told.
type Platform struct {
	OS           string
	Architecture string
	Variant      string
}

// NewPlatform returns a platform in the one spelling that container runtimes bring it into before they compare (the OCI image
// specification's "platform", and containerd's package platforms): a child that calls itself linux/x86_64 runs on linux/amd64.
func NewPlatform(os, architecture, variant string) Platform {
	p := Platform{OS: strings.ToLower(os), Architecture: strings.ToLower(architecture), Variant: strings.ToLower(variant)}
	if p.OS == "macos" {
		p.OS = "darwin"
	}
	switch p.Architecture {
	case "i386":
		p.Architecture, p.Variant = "386", ""
	case "x86_64", "x86-64", "amd64":
		p.Architecture = "amd64"
		if p.Variant == "v1" {
			p.Variant = ""
		}
	case "aarch64", "arm64":
		p.Architecture = "arm64"
		if p.Variant == "8" || p.Variant == "v8" {
			p.Variant = ""
		}
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	case "arm":
		switch p.Variant {
		case "", "7":
			p.Variant = "v7"
		case "5", "6", "8":
			p.Variant = "v" + p.Variant
		}
	}
	return p
}

// Told tells whether the platform says where the image runs.
func (p Platform) Told() bool {
	return p.OS != "" && p.OS != "unknown" && p.Architecture != "" && p.Architecture != "unknown"
}

// String returns os/architecture[/variant].
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}
