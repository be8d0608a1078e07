package policy_test

import (
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/policy"
)

const sha = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestReferencesThatBothParsersReadAlike(t *testing.T) {
	t.Parallel()
	for written, want := range map[string]struct {
		host, path, tag string
		byTag           bool
	}{
		"nginx":                              {"docker.io", "library/nginx", "latest", true},
		"nginx:1.27":                         {"docker.io", "library/nginx", "1.27", true},
		"docker.io/nginx":                    {"docker.io", "library/nginx", "latest", true},
		"index.docker.io/library/nginx":      {"docker.io", "library/nginx", "latest", true},
		"ghcr.io/org/app:v1":                 {"ghcr.io", "org/app", "v1", true},
		"ghcr.io:443/org/app:v1":             {"ghcr.io", "org/app", "v1", true},
		"index.docker.io:443/acme/app":       {"docker.io", "acme/app", "latest", true},
		"registry-1.docker.io:443/acme/app":  {"docker.io", "acme/app", "latest", true},
		"10.0.0.1:5000/app":                  {"10.0.0.1:5000", "app", "latest", true},
		"ghcr.io/org/app@" + sha:             {"ghcr.io", "org/app", "", false},
		"ghcr.io/org/app:v1@" + sha:          {"ghcr.io", "org/app", "v1", false},
		"registry.example:5000/a/b/c":        {"registry.example:5000", "a/b/c", "latest", true},
		"localhost:5000/app":                 {"localhost:5000", "app", "latest", true},
		"registry-1.docker.io/library/nginx": {"docker.io", "library/nginx", "latest", true},
	} {
		t.Run(written, func(t *testing.T) {
			t.Parallel()
			r, err := policy.ParseReference(written)
			if err != nil {
				t.Fatal(err)
			}
			if r.Host() != want.host || r.Path() != want.path || r.Tag() != want.tag || r.ByTag() != want.byTag || r.String() != written {
				t.Errorf("host %q path %q tag %q by tag %t", r.Host(), r.Path(), r.Tag(), r.ByTag())
			}
		})
	}
}

// seeds are the references on which the field's parsers differ (security.md section 0), and some more.
func seeds() []string {
	return []string{
		"ghcr.io/trusted/../evil", "ghcr.io//app", "ghcr.io/./app", "http://ghcr.io/app", "docker://ghcr.io/app", "g\u04bbcr.io/app",
		"ghcr.io./app", "-ghcr.io/app", "ghcr.io:/app", "/app", "app:-v1", "app:.v1", "ghcr.io/a", "Foo/bar", "LOCALHOST/app",
		"ghcr.io/app@sha512:" + strings.Repeat("a", 128), "ghcr.io/app@sha256:abc", "ghcr.io/app@" + sha + "@" + sha,
		"app ", " app", "app\n", "app\x1b[31m", "", ":", "@", "app@", "app:", "GHCR.io/app", "ghcr.io/App", "ghcr.io/app:v1:v2",
		strings.Repeat("a", 64), strings.Repeat("a/", 600) + "x", "[::1]:5000/app", "127.0.0.1:5000/app", "xn--80ak6aa92e.com/app",
	}
}

func TestRow33_WhatTheParsersReadDifferentlyIsRefused(t *testing.T) {
	t.Parallel()
	refused := []string{
		"ghcr.io/trusted/../evil", "ghcr.io//app", "ghcr.io/./app", "http://ghcr.io/app", "docker://ghcr.io/app", "g\u04bbcr.io/app",
		"ghcr.io./app", "-ghcr.io/app", "ghcr.io:/app", "/app", "app:-v1", "app:.v1", "Foo/bar", "LOCALHOST/app",
		strings.Repeat("a", 64), strings.Repeat("a/", 600) + "x",
		// one place, spelled otherwise: a deny by the usual spelling would not hold them
		"ghcr.io:0443/app", "ghcr.io:00443/org/app", "registry.example:05000/app", "ghcr.io:0/app", "ghcr.io:65536/app",
		"[::1]:5000/app", "[::ffff:10.0.0.1]/app", "127.1:5000/app", "010.0.0.1/app", "10.0.0.0x1/app", "registry-1.docker.io/nginx",
		// what the node takes for the ID of an image that it has
		sha, "sha256:abcdef012345", "sha512:" + strings.Repeat("a", 128), "sha384:x",
	}
	for _, s := range refused {
		if r, err := policy.ParseReference(s); err == nil {
			t.Errorf("%q was read as host %q path %q", s, r.Host(), r.Path())
		}
	}
}

// FuzzRow33_ParserDifferential: whatever is accepted names, for the kubelet's parser and for the one that fetches, one and the same image.
func FuzzRow33_ParserDifferential(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := policy.ParseReference(s)
		if err != nil {
			return
		}
		theirs, err := reference.ParseDockerRef(s)
		if err != nil {
			t.Fatalf("%q: the kubelet refuses it: %v", s, err)
		}
		ours, err := name.ParseReference(s)
		if err != nil {
			t.Fatalf("%q: it can't be fetched: %v", s, err)
		}
		if reference.Path(theirs) != ours.Context().RepositoryStr() || r.Path() != reference.Path(theirs) {
			t.Fatalf("%q: paths %q, %q, %q", s, reference.Path(theirs), ours.Context().RepositoryStr(), r.Path())
		}
		if d, ok := theirs.(reference.Digested); ok {
			if h, has := r.Digest(); !has || h.String() != d.Digest().String() {
				t.Fatalf("%q: digest %v, the kubelet's %s", s, h, d.Digest())
			}
		} else if tag, ok := theirs.(reference.Tagged); !ok || tag.Tag() != r.Tag() {
			t.Fatalf("%q: tag %q", s, r.Tag())
		}
	})
}

func TestRow34_SpellingsOfOneRegistryAreOneOrRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"nginx", "library/nginx", "docker.io/nginx", "docker.io/library/nginx", "index.docker.io/nginx", "index.docker.io/library/nginx",
		"registry-1.docker.io/library/nginx", "registry.hub.docker.com/library/nginx", "docker.io:443/library/nginx", "nginx:latest",
		"docker.io/nginx:latest", "index.docker.io/library/nginx:latest",
		// and these, which are refused
		"Docker.io/nginx", "DOCKER.IO/library/nginx", "docker.io./nginx", "docker.io//nginx", "docker.io/./nginx", "https://docker.io/nginx",
		"docker.io/Nginx", "docker.io:/nginx", "/nginx", "nginx/", "docker.io/library/../library/nginx", "nginx:", "nginx@",
	} {
		r, err := policy.ParseReference(s)
		if err == nil && (r.Host() != "docker.io" || r.Path() != "library/nginx") {
			t.Errorf("%q is host %q path %q", s, r.Host(), r.Path())
		}
	}
	a, err1 := policy.ParseReference("ghcr.io/org/app")
	b, err2 := policy.ParseReference("ghcr.io:443/org/app")
	if err1 != nil || err2 != nil || a.Host() != b.Host() {
		t.Error(":443 makes another registry")
	}
}

func TestRow36_BesideADigestTheTagOnlyInforms(t *testing.T) {
	t.Parallel()
	r, err := policy.ParseReference("ghcr.io/org/app:evil@" + sha)
	if err != nil {
		t.Fatal(err)
	}
	if h, ok := r.Digest(); !ok || h.String() != sha || r.ByTag() {
		t.Errorf("digest %v, by tag %t", h, r.ByTag())
	}
}

func TestRow37_OnlySHA256IsVerified(t *testing.T) {
	t.Parallel()
	_, err := policy.ParseReference("ghcr.io/app/x@sha512:" + strings.Repeat("a", 128))
	if err == nil {
		t.Fatal("a sha512 digest was accepted")
	}
}

func TestRow38_NoControlCharacterGetsIntoAReference(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"app\n", "app\x1b[31m", "app\x00", "ap\tp", "a\u202epp", "\ufeffapp"} {
		if _, err := policy.ParseReference(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}
