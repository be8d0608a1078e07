package evilregistry

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

func TestClassifyReadsPathsFromTheEnd(t *testing.T) {
	t.Parallel()
	const digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	for path, want := range map[string]target{
		"/v2":                                 {kind: Ping},
		"/v2/":                                {kind: Ping},
		"/token":                              {kind: Token},
		"/v2/a/manifests/v1":                  {ManifestByTag, "a", "v1"},
		"/v2/a/b/manifests/" + digest:         {ManifestByDigest, "a/b", digest},
		"/v2/a/manifests/b/manifests/v1":      {ManifestByTag, "a/manifests/b", "v1"},
		"/v2/a/blobs/" + digest:               {Blob, "a", digest},
		"/v2/a/blobs/uploads/":                {kind: Upload, repo: "a"},
		"/v2/a/blobs/uploads/17":              {kind: Upload, repo: "a"},
		"/v2/a/b/referrers/" + digest:         {Referrers, "a/b", digest},
		"/v2/a/tags/list":                     {kind: Tags, repo: "a"},
		"/v2/_catalog":                        {kind: Other},
		"/v1/search":                          {kind: Other},
		"/v2/a/sbom/" + digest:                {kind: Other},
		"/v2/blobs/blobs/manifests/latest":    {ManifestByTag, "blobs/blobs", "latest"},
		"/v2/manifests/v1":                    {kind: Other},
		"/v2/a/manifests/sha256-44136.sig":    {ManifestByTag, "a", "sha256-44136.sig"},
		"/v2/uploads/blobs/uploads/x?y=blobs": {kind: Upload, repo: "uploads"},
	} {
		if got := classify(&http.Request{URL: &url.URL{Path: path}}); got != want {
			t.Errorf("classify(%q) = %+v, want %+v", path, got, want)
		}
	}
}

func TestGlobKeepsStarInsideASegment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"*", "a", true},
		{"*", "a/b", false},
		{"**", "a/b", true},
		{"**", "a", true},
		{"team/*", "team/app", true},
		{"team/*", "team/app/x", false},
		{"team/**", "team/app/x", true},
		{"team/**", "team", true},
		{"team/**", "teamevil/app", false},
		{"/v2/**/manifests/*.sig", "/v2/a/b/manifests/sha256-1.sig", true},
		{"/v2/**/manifests/*.sig", "/v2/a/b/manifests/v1", false},
		{"a/**/b/**/c", "a/x/b/c", true},
		{"a/**/b/**/c", "a/x/c", false},
		{"sha256:*", "sha256:ab", true},
	} {
		if got := glob(c.pattern, c.name); got != c.want {
			t.Errorf("glob(%q, %q) = %t", c.pattern, c.name, got)
		}
	}
}

func TestAMalformedPatternPanicsInsteadOfNeverMatching(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	new(Registry).On(Match{Path: "/v2/[/**"}, Pass())
}

func TestSerialDepthIsTheLongestChain(t *testing.T) {
	t.Parallel()
	epoch := time.Unix(0, 0)
	at := func(kind Kind, start, end int) Request {
		return Request{Kind: kind, Start: epoch.Add(time.Duration(start)), End: epoch.Add(time.Duration(end))}
	}
	inFlight := Request{Kind: Blob, Start: epoch.Add(90)}
	for _, c := range []struct {
		name     string
		requests []Request
		skip     Kind
		want     int
	}{
		{"nothing", nil, 0, 0},
		{"one", []Request{at(Blob, 0, 5)}, 0, 1},
		{"side by side counts once", []Request{at(Blob, 0, 5), at(Blob, 1, 6), at(Blob, 2, 7)}, 0, 1},
		{"one after another, touching", []Request{at(Blob, 0, 5), at(Blob, 5, 9), at(Blob, 9, 12)}, 0, 3},
		{"a long one beside three short", []Request{at(Blob, 0, 100), at(Blob, 1, 5), at(Blob, 6, 9), at(Blob, 10, 20)}, 0, 3},
		{"order of arrival does not matter", []Request{at(Blob, 6, 9), at(Blob, 1, 5)}, 0, 2},
		{"logins can be left out", []Request{at(Ping, 0, 1), at(Token, 2, 3), at(Blob, 4, 5)}, Login, 1},
		{"logins count otherwise", []Request{at(Ping, 0, 1), at(Token, 2, 3), at(Blob, 4, 5)}, 0, 3},
		{"what is in flight does not count", []Request{at(Blob, 0, 5), inFlight}, 0, 1},
	} {
		if got := serialDepth(c.requests, c.skip); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestKindNamesItself(t *testing.T) {
	t.Parallel()
	for kind, want := range map[Kind]string{
		0: "Any", Ping: "Ping", Manifest: "ManifestByTag|ManifestByDigest", Login | Blob: "Ping|Token|Blob", Other: "Other",
	} {
		if got := kind.String(); got != want {
			t.Errorf("%d: %q, want %q", kind, got, want)
		}
	}
}
