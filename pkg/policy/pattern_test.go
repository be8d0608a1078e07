package policy_test

import (
	"fmt"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
)

func mustReference(t testing.TB, s string) policy.Reference {
	t.Helper()
	r, err := policy.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustPattern(t testing.TB, s string) policy.Pattern {
	t.Helper()
	p, err := policy.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWhichImagesAPatternIsAbout(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, image string
		want           bool
	}{
		{"**", "nginx", true},
		{"**", "registry.example:5000/a/b", true},
		{"registry.example/payments/**", "registry.example/payments/api:1", true},
		{"registry.example/payments/**", "registry.example/payments/a/b/c", true},
		{"registry.example/payments/**", "registry.example/payments", false},
		{"registry.example/payments/**", "registry.example/paymentsevil/api", false},
		{"registry.example/payments/**", "registry.example:5000/payments/api", false},
		{"registry.example:5000/payments/**", "registry.example:5000/payments/api", true},
		{"registry.example/payments/*", "registry.example/payments/api", true},
		{"registry.example/payments/*", "registry.example/payments/a/b", false},
		{"registry.example/*/api", "registry.example/payments/api", true},
		{"registry.example/**/api", "registry.example/api", true},
		{"registry.example/**/api", "registry.example/a/b/api", true},
		{"registry.example/**/api", "registry.example/a/b/apix", false},
		{"registry.example/**/b/**", "registry.example/a/b/c/d", true},
		{"registry.example/**/b/**", "registry.example/a/b", false},
		{"registry.example/**/b/**/d", "registry.example/b/d", true},
		{"registry.example/a/**/**", "registry.example/a/b", true},
		{"registry.example/a/b", "registry.example/a", false},
		{"registry.example/team-*/app", "registry.example/team-a/app", true},
		{"*.example.com/app", "eu.example.com/app", true},
		{"*.example.com/app", "a.eu.example.com/app", false},
		{"**.example.com/app", "a.eu.example.com/app", true},
		{"**.example.com/app", "example.com/app", true},
		{"**.example.com/app", "notexample.com/app", false},
		{"docker.io/library/**", "nginx", true},
		{"index.docker.io/library/nginx", "nginx", true},
		{"docker.io/nginx", "nginx", false}, // patterns name repositories in full
		{"ghcr.io:443/org/**", "ghcr.io/org/app", true},
		{"localhost/app", "localhost/app", true},
	} {
		p, err := policy.ParsePattern(tc.pattern)
		if err != nil {
			if tc.want {
				t.Errorf("%s: %v", tc.pattern, err)
			}
			continue
		}
		got := p.Match(mustReference(t, tc.image), v1.Hash{}) == policy.MatchYes
		if got != tc.want {
			t.Errorf("%s matches %s: %t", tc.pattern, tc.image, got)
		}
	}
}

func TestPatternsThatCouldNeverMatchAreRefusedWithTheCure(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		"":                              "HOST/PATH",
		"nginx":                         "HOST/PATH",
		"library/nginx":                 "docker.io/library/nginx",
		"registry.example/":             "HOST/PATH",
		"docker.io/nginx":               "docker.io/library/nginx",
		"index.docker.io/*":             "docker.io/library/*",
		"registry.example//app":         "empty segment",
		"registry.example/a**":          "whole segment",
		"registry.example/app:v1":       "no image name has",
		"registry.example/App":          "no image name has",
		"Registry.example/app":          "no image name has",
		"registry.example/[ab]":         "no image name has",
		"registry.example/a?":           "no image name has",
		"registry.example:x/app":        "no port",
		"registry.example:05000/app":    "no port",
		"registry.example/app@sha256:1": "64 hex digits",
		"registry.example/app@sha512:" + strings.Repeat("a", 128): "sha256",
	} {
		if _, err := policy.ParsePattern(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one that says %q", pattern, err, want)
		}
	}
}

// TestAPatternCannotBeMadeToTakeLong: a matcher that backtracks would need minutes for this one.
func TestAPatternCannotBeMadeToTakeLong(t *testing.T) {
	t.Parallel()
	p := mustPattern(t, "a.example/"+strings.Repeat("**/x/", 60)+"y")
	if p.Match(mustReference(t, "a.example/"+strings.Repeat("x/", 100)+"z"), v1.Hash{}) != policy.MatchNo {
		t.Error("it matches")
	}
	if p.Match(mustReference(t, "a.example/"+strings.Repeat("x/", 100)+"y"), v1.Hash{}) != policy.MatchYes {
		t.Error("it doesn't match")
	}
}

func TestRow35_AGlobNeverLeavesItsHost(t *testing.T) {
	t.Parallel()
	p := mustPattern(t, "*.registry.example.com/myorg/*")
	for _, s := range []string{
		"attacker.com/x.registry.example.com/myorg/app", "attacker.com/registry.example.com/myorg/app", "registry.example.com.attacker.com/myorg/app",
		"x.registry.example.com:8443/myorg/app", "x.y.registry.example.com/myorg/app", "registry.example.com/myorg/app",
	} {
		if p.Match(mustReference(t, s), v1.Hash{}) != policy.MatchNo {
			t.Errorf("it matches %s", s)
		}
	}
}

// FuzzRow35_HostsMatchLabelByLabel: a pattern with a literal host matches that host and no other.
func FuzzRow35_HostsMatchLabelByLabel(f *testing.F) {
	f.Add("registry.example.com", "myorg/**", "attacker.com/x.registry.example.com/myorg/app")
	f.Add("registry.example.com", "**", "registry.example.com:5000/app")
	f.Fuzz(func(t *testing.T, host, path, image string) {
		if strings.ContainsAny(host, "*/@") {
			return
		}
		p, err := policy.ParsePattern(host + "/" + path)
		if err != nil {
			return
		}
		r, err := policy.ParseReference(image)
		if err != nil || p.Match(r, v1.Hash{}) == policy.MatchNo {
			return
		}
		same, err := policy.ParseReference(host + "/x/y")
		if err != nil || same.Host() != r.Host() {
			t.Errorf("%s/%s matches %s, whose host is %s", host, path, image, r.Host())
		}
	})
}

func TestADigestInAPatternDecidesOnceItIsKnown(t *testing.T) {
	t.Parallel()
	p := mustPattern(t, "registry.example/app@"+sha)
	tag := mustReference(t, "registry.example/app:1")
	h, err := v1.NewHash(sha)
	if err != nil {
		t.Fatal(err)
	}
	other := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	if got := p.Match(tag, v1.Hash{}); got != policy.MatchByDigest {
		t.Errorf("unresolved: %d", got)
	}
	if got := p.Match(tag, h); got != policy.MatchYes {
		t.Errorf("that digest: %d", got)
	}
	if got := p.Match(tag, other); got != policy.MatchNo {
		t.Errorf("another digest: %d", got)
	}
	m := policy.Matcher{Include: []policy.Pattern{mustPattern(t, "**")}, Exclude: []policy.Pattern{p}}
	if m.Match(tag, v1.Hash{}) != policy.MatchByDigest || m.Match(tag, h) != policy.MatchNo || m.Match(tag, other) != policy.MatchYes {
		t.Error("an exclusion by digest isn't decided by the digest")
	}
}

func ExampleParsePattern() {
	_, err := policy.ParsePattern("library/nginx")
	fmt.Println(err)
	// Output: pattern "library/nginx": "library" is no registry host; images of Docker Hub are docker.io/library/nginx
}
