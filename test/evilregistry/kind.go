package evilregistry

import (
	"net/http"
	"strings"
)

// Kind says what a request asks for. Kinds are bits, so that several can be
// named at once: Manifest is ManifestByTag|ManifestByDigest. The zero Kind, in
// a Match, means any.
type Kind uint16

// The kinds of request that the OCI distribution protocol and its token
// extension know. HEAD counts as the kind that GET would be.
const (
	// Ping is the API version check, /v2/.
	Ping Kind = 1 << iota
	// Token is a request to the token endpoint, /token.
	Token
	// ManifestByTag is a manifest named by tag: also `.sig`, `.att` and
	// fallback tags.
	ManifestByTag
	// ManifestByDigest is a manifest named by digest.
	ManifestByDigest
	// Blob is a blob named by digest.
	Blob
	// Referrers is the referrers API of OCI distribution 1.1.
	Referrers
	// Upload is any step of a blob upload.
	Upload
	// Tags is the list of a repository's tags.
	Tags
	// Other is anything else: the catalog, and paths no registry has.
	Other

	// Manifest is a manifest, however named.
	Manifest = ManifestByTag | ManifestByDigest
	// Login is what a client does before it asks for content.
	Login = Ping | Token
)

// String names the kinds in k, joined by "|"; "Any" for none.
func (k Kind) String() string {
	names := [...]string{"Ping", "Token", "ManifestByTag", "ManifestByDigest", "Blob", "Referrers", "Upload", "Tags", "Other"}
	var in []string
	for i, name := range names {
		if k&(1<<i) != 0 {
			in = append(in, name)
		}
	}
	if len(in) == 0 {
		return "Any"
	}
	return strings.Join(in, "|")
}

// tokenPath is where tokens are given out: on the registry's own port, for
// ggcr refuses a realm on any other loopback address.
const tokenPath = "/token"

// target is a request's URL taken apart.
type target struct {
	kind Kind
	repo string // path of the repository, without host
	ref  string // tag or digest, if any
}

// classify reads a request's path. Names are split from the end, because a
// repository's own path may hold a segment "manifests" or "blobs".
func classify(r *http.Request) target {
	path := r.URL.Path
	if path == tokenPath {
		return target{kind: Token}
	}
	if path == "/v2" || path == "/v2/" {
		return target{kind: Ping}
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return target{kind: Other}
	}
	if i := strings.LastIndex(rest, "/blobs/uploads"); i > 0 {
		return target{kind: Upload, repo: rest[:i]}
	}
	parts := strings.Split(rest, "/")
	if len(parts) < 3 {
		return target{kind: Other}
	}
	out := target{repo: strings.Join(parts[:len(parts)-2], "/"), ref: parts[len(parts)-1]}
	switch parts[len(parts)-2] {
	case "manifests":
		out.kind = ManifestByTag
		if strings.Contains(out.ref, ":") {
			out.kind = ManifestByDigest
		}
	case "blobs":
		out.kind = Blob
	case "referrers":
		out.kind = Referrers
	case "tags":
		out.kind, out.ref = Tags, ""
	default:
		return target{kind: Other}
	}
	return out
}
