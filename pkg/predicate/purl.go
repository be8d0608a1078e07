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

// packageOf is the package that a package URL is of: type, namespace and name, without the rest.
func packageOf(purl string) (string, bool) {
	rest, ok := strings.CutPrefix(purl, "pkg:")
	if !ok {
		return "", false
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, _, _ = strings.Cut(rest, "?")
	kind, rest, ok := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	if !ok || kind == "" || rest == "" {
		return "", false
	}
	if at := strings.LastIndexByte(rest, '@'); at > 0 {
		rest = rest[:at]
	}
	name, err := url.PathUnescape(rest)
	if err != nil || name == "" {
		return "", false
	}
	return strings.ToLower(kind) + "/" + name, true
}

// splitPURL takes a package URL apart: the package, its version, and the qualifiers. The subpath is dropped.
func splitPURL(purl string) (name, version string, qualifiers url.Values, ok bool) {
	if name, ok = packageOf(purl); !ok {
		return "", "", nil, false
	}
	rest, _, _ := strings.Cut(strings.TrimPrefix(purl, "pkg:"), "#")
	rest, query, _ := strings.Cut(rest, "?")
	_, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
	if at := strings.LastIndexByte(rest, '@'); at > 0 {
		version = rest[at+1:]
	}
	version, err := url.PathUnescape(version)
	if err != nil {
		return "", "", nil, false
	}
	if qualifiers, err = url.ParseQuery(query); err != nil {
		return "", "", nil, false
	}
	return name, version, qualifiers, true
}
