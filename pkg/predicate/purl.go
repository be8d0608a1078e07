package predicate

import (
	"net/url"
	"strings"
)

// samePackage tells whether a package URL (ECMA-427) names the package of another: the same type, namespace and name, the version if it has one,
// and every qualifier that it has.
func samePackage(wanted, got string) bool {
	w, wVersion, wQualifiers, ok := splitPURL(wanted)
	g, gVersion, gQualifiers, okToo := splitPURL(got)
	if !ok || !okToo || w != g || wVersion != "" && wVersion != gVersion {
		return false
	}
	for key, values := range wQualifiers {
		if len(values) != 1 || gQualifiers.Get(key) != values[0] {
			return false
		}
	}
	return true
}

// splitPURL takes a package URL apart: type, namespace and name in one, the version, and the qualifiers. The subpath is dropped.
func splitPURL(purl string) (name, version string, qualifiers url.Values, ok bool) {
	rest, ok := strings.CutPrefix(purl, "pkg:")
	if !ok {
		return "", "", nil, false
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	kind, rest, ok := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	if !ok || kind == "" || rest == "" {
		return "", "", nil, false
	}
	if at := strings.LastIndexByte(rest, '@'); at > 0 {
		rest, version = rest[:at], rest[at+1:]
	}
	n, err := url.PathUnescape(rest)
	if err != nil || n == "" {
		return "", "", nil, false
	}
	v, err := url.PathUnescape(version)
	if err != nil {
		return "", "", nil, false
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return "", "", nil, false
	}
	return strings.ToLower(kind) + "/" + n, v, q, true
}
