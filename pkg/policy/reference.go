package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// MaxReference bounds a reference, in bytes: a repository may have 255, a tag 128, a digest 71, and a host 253.
const MaxReference = 1024

// Reference is an image as a Pod writes it, understood alike by the parser of kubelet and containerd
// (distribution/reference) and by the one that fetches (ggcr). The zero Reference names nothing.
type Reference struct {
	written  string
	host     string // canonical, for matching
	path     string
	tag      string // as written, "latest" where neither tag nor digest is; empty beside a lone digest
	digest   v1.Hash
	fetch    name.Repository
	explicit bool
}

// canonicalHost returns the one name of a registry that has several: the port of https is dropped, and the names under which
// Docker Hub answers are one. Two spellings that lead to one place must be one for a policy, or a deny by the one would not hold the other.
func canonicalHost(host string) string {
	host = strings.TrimSuffix(host, ":443")
	switch host {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return "docker.io"
	}
	return host
}

// checkHost refuses spellings of a host that lead where another spelling leads.
func checkHost(host string) error {
	if host != strings.ToLower(host) {
		return fmt.Errorf("registry host %q: write it in lower case", host)
	}
	if strings.HasPrefix(host, "[") {
		return fmt.Errorf("registry host %q: an IPv6 address has many spellings; use a name", host)
	}
	name, port, hasPort := strings.Cut(host, ":")
	if n, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || n == 0 || port != strconv.FormatUint(n, 10)) {
		return fmt.Errorf("registry host %q: a port is 1 to 65535, without leading zeros", host)
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	if numeric := strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x"); numeric && !plainIPv4(name) {
		return fmt.Errorf("registry host %q: write an IPv4 address as four decimal numbers", host)
	}
	return nil
}

// plainIPv4 tells whether a host is an IPv4 address in its one usual spelling.
func plainIPv4(host string) bool {
	parts := strings.Split(host, ".")
	for _, p := range parts {
		if n, err := strconv.ParseUint(p, 10, 8); err != nil || p != strconv.FormatUint(n, 10) {
			return false
		}
	}
	return len(parts) == 4
}

// looksLikeImageID tells a string that container runtimes take for the ID of an image that is on the node already
// (digest.Parse accepts it), and not for the name of one to pull.
func looksLikeImageID(s string) bool {
	algorithm, _, ok := strings.Cut(s, ":")
	return ok && (algorithm == "sha256" || algorithm == "sha384" || algorithm == "sha512")
}

// ParseReference reads a reference. It accepts only what both parsers accept and agree on, for a reference that we read
// one way and the kubelet another would be checked in one place and run from another (security.md rows 33 to 38).
func ParseReference(s string) (Reference, error) {
	if len(s) > MaxReference {
		return Reference{}, fmt.Errorf("reference of %d bytes: at most %d", len(s), MaxReference)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return Reference{}, errors.New("reference has a character that isn't printable ASCII")
		}
	}
	if looksLikeImageID(s) {
		return Reference{}, errors.New("the node would take it for the ID of an image that it has; name the image by registry and repository")
	}
	theirs, err := reference.ParseDockerRef(s)
	if err != nil {
		return Reference{}, fmt.Errorf("kubelet would not take it: %w", err)
	}
	ours, err := name.ParseReference(s, name.WeakValidation)
	if err != nil {
		return Reference{}, fmt.Errorf("not a reference: %w", err)
	}
	ref := Reference{written: s, fetch: ours.Context(), path: ours.Context().RepositoryStr()}
	ref.host = canonicalHost(ours.Context().RegistryStr())
	if err := checkHost(ours.Context().RegistryStr()); err != nil {
		return Reference{}, err
	}
	if theirHost := canonicalHost(reference.Domain(theirs)); theirHost != ref.host {
		return Reference{}, fmt.Errorf("registry is ambiguous: %q or %q", theirHost, ref.host)
	}
	if theirPath := reference.Path(theirs); theirPath != ref.path {
		return Reference{}, fmt.Errorf("repository is ambiguous: %q or %q", theirPath, ref.path)
	}
	if ref.host == "docker.io" && !strings.Contains(ref.path, "/") {
		return Reference{}, fmt.Errorf("repository %q: Docker Hub's own images are library/%s", ref.path, ref.path)
	}
	if err := ref.readTagAndDigest(s, theirs, ours); err != nil {
		return Reference{}, err
	}
	return ref, nil
}

// readTagAndDigest takes both as written: the parsers drop a tag that stands beside a digest.
func (r *Reference) readTagAndDigest(s string, theirs reference.Named, ours name.Reference) error {
	if d, ok := theirs.(reference.Digested); ok {
		if d.Digest().Algorithm() != "sha256" {
			return fmt.Errorf("digest by %s: only sha256 is verified", d.Digest().Algorithm())
		}
		h, err := v1.NewHash(d.Digest().String())
		if err != nil {
			return err
		}
		r.digest = h
	}
	if od, ok := ours.(name.Digest); ok != (r.digest != v1.Hash{}) || ok && od.DigestStr() != r.digest.String() {
		return errors.New("digest is ambiguous")
	}
	rest, _, _ := strings.Cut(s, "@")
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		r.tag, r.explicit = rest[i+1:], true
	} else if r.digest == (v1.Hash{}) {
		r.tag = "latest"
	}
	if ot, ok := ours.(name.Tag); ok && ot.TagStr() != r.tag {
		return errors.New("tag is ambiguous")
	}
	if tt, ok := theirs.(reference.Tagged); ok && tt.Tag() != r.tag {
		return errors.New("tag is ambiguous")
	}
	return nil
}

// String returns the reference as it was written.
func (r Reference) String() string { return r.written }

// WithDigest returns the reference with its tag, "latest" where none is written, and a digest beside it.
func (r Reference) WithDigest(d v1.Hash) string { return r.withTag() + "@" + d.String() }

// Host returns the registry by its canonical name, for matching: Docker Hub's names are docker.io, and :443 is dropped.
func (r Reference) Host() string { return r.host }

// Path returns the repository's path within the registry.
func (r Reference) Path() string { return r.path }

// Repository returns where to fetch from.
func (r Reference) Repository() name.Repository { return r.fetch }

// Tag returns the tag as written, also beside a digest; "latest" where neither is written; empty beside a lone digest.
func (r Reference) Tag() string { return r.tag }

// Digest returns the digest as written; ok is false where there is none.
func (r Reference) Digest() (h v1.Hash, ok bool) { return r.digest, r.digest != v1.Hash{} }

// ByTag tells that only a tag says which image is meant.
func (r Reference) ByTag() bool { return r.digest == v1.Hash{} }
