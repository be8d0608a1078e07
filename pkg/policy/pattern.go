package policy

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Pattern selects images. Host and path are matched apart and by segment (a host's segments are its labels): * stays inside
// a segment, ** crosses. A trailing /** wants at least one more segment; a ** in the middle may stand for none. A port is compared
// exactly. A lone ** is any image of any host. A pattern may end in @sha256:... The zero Pattern matches nothing.
type Pattern struct {
	text   string
	any    bool
	host   []string
	port   string
	path   []string
	digest v1.Hash
}

// Match is what a pattern or a policy has to say about a reference.
type Match uint8

// The matches.
const (
	MatchNo       Match = iota // it is not about it
	MatchYes                   // it is
	MatchByDigest              // the name fits, and the digest would decide, but isn't known
)

// ParsePattern reads a pattern.
func ParsePattern(s string) (Pattern, error) {
	p := Pattern{text: s}
	rest, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		h, err := v1.NewHash(digest)
		if err != nil || h.Algorithm != "sha256" {
			return Pattern{}, fmt.Errorf("pattern %q: after @ comes sha256: and 64 hex digits", s)
		}
		p.digest = h
	}
	if rest == "**" {
		p.any = true
		return p, nil
	}
	host, repo, ok := strings.Cut(rest, "/")
	if !ok || host == "" || repo == "" {
		return Pattern{}, fmt.Errorf("pattern %q: want HOST/PATH, for instance registry.example.com/team/**", s)
	}
	if host != "localhost" && !strings.ContainsAny(host, ".:*") {
		return Pattern{}, fmt.Errorf("pattern %q: %q is no registry host; images of Docker Hub are docker.io/%s", s, host, rest)
	}
	if err := p.parseHost(host); err != nil {
		return Pattern{}, fmt.Errorf("pattern %q: %w", s, err)
	}
	p.path = strings.Split(repo, "/")
	if canonicalHost(host) == "docker.io" && len(p.path) == 1 && repo != "**" {
		return Pattern{}, fmt.Errorf("pattern %q: it matches nothing, for Docker Hub's own images are docker.io/library/%s", s, repo)
	}
	for _, seg := range p.path {
		if err := checkSegment(seg, "abcdefghijklmnopqrstuvwxyz0123456789._-"); err != nil {
			return Pattern{}, fmt.Errorf("pattern %q: %w", s, err)
		}
	}
	return p, nil
}

func (p *Pattern) parseHost(host string) error {
	h, port, hasPort := strings.Cut(canonicalHost(host), ":")
	if n, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || n == 0 || port != strconv.FormatUint(n, 10)) {
		return fmt.Errorf("%q is no port: want 1 to 65535, without leading zeros", port)
	}
	p.port = port
	p.host = strings.Split(h, ".")
	for _, label := range p.host {
		if err := checkSegment(label, "abcdefghijklmnopqrstuvwxyz0123456789-"); err != nil {
			return err
		}
	}
	return nil
}

// checkSegment refuses what could never match, or would match something else than its author thinks.
func checkSegment(seg, alphabet string) error {
	switch {
	case seg == "**":
		return nil
	case seg == "":
		return errors.New("an empty segment")
	case strings.Contains(seg, "**"):
		return fmt.Errorf("** must be a whole segment, in %q", seg)
	case strings.Trim(seg, alphabet+"*") != "":
		return fmt.Errorf("%q has a character that no image name has (a pattern names repositories: tags are for references.allow and deny)", seg)
	}
	for _, r := range seg {
		if r != '*' && !strings.ContainsRune(alphabet, r) {
			return fmt.Errorf("%q has the character %q, which no image name has", seg, r)
		}
	}
	return nil
}

// Any tells a lone **, which is any image of any host.
func (p Pattern) Any() bool { return p.any }

// MatchesHost tells whether the pattern names a registry, as HOST or HOST:PORT; a lone ** names none.
func (p Pattern) MatchesHost(registry string) bool {
	host, port, _ := strings.Cut(canonicalHost(registry), ":")
	return !p.any && len(p.host) > 0 && port == p.port && segments(p.host, strings.Split(host, "."))
}

// String returns the pattern as written.
func (p Pattern) String() string { return p.text }

// Match tells whether the pattern is about a reference; digest is the resolved one, or the zero Hash while that isn't known.
func (p Pattern) Match(r Reference, digest v1.Hash) Match {
	if !p.any {
		host, port, _ := strings.Cut(r.host, ":")
		if r.host == "" || len(p.host) == 0 || port != p.port {
			return MatchNo
		}
		if !segments(p.host, strings.Split(host, ".")) || !segments(p.path, strings.Split(r.path, "/")) {
			return MatchNo
		}
	}
	switch none := (v1.Hash{}); {
	case p.digest == none:
		return MatchYes
	case digest == none:
		return MatchByDigest
	case digest == p.digest:
		return MatchYes
	}
	return MatchNo
}

// segments matches segment by segment, in time of at most len(pattern) x len(got): patterns are written by tenants.
func segments(pattern, got []string) bool {
	for len(pattern) > 0 && pattern[0] != "**" {
		if len(got) == 0 || !glob(pattern[0], got[0]) {
			return false
		}
		pattern, got = pattern[1:], got[1:]
	}
	if len(pattern) <= 1 {
		return len(got) > 0 == (len(pattern) == 1) // all of both is used up, or a last ** takes what is left
	}
	reach := make([]bool, len(got)+1) // reach[j]: what was seen of pattern matches got[:j]
	reach[0] = true
	for i, p := range pattern {
		next := make([]bool, len(got)+1)
		before := false // reach of some shorter part
		for j := range next {
			switch {
			case p != "**":
				next[j] = j > 0 && reach[j-1] && glob(p, got[j-1])
			case i == len(pattern)-1:
				next[j] = before
			default:
				next[j] = before || reach[j]
			}
			before = before || reach[j]
		}
		reach = next
	}
	return reach[len(got)]
}

// glob matches one segment: checkSegment left no other metacharacter than *.
func glob(pattern, s string) bool {
	ok, err := path.Match(pattern, s)
	return ok && err == nil
}

// Matcher says which images a policy is about.
type Matcher struct {
	Include []Pattern
	Exclude []Pattern
}

// Match tells whether the policy is about a reference: some include matches and no exclude does.
func (m Matcher) Match(r Reference, digest v1.Hash) Match {
	in := best(m.Include, r, digest)
	if in == MatchNo {
		return MatchNo
	}
	switch best(m.Exclude, r, digest) {
	case MatchYes:
		return MatchNo
	case MatchByDigest:
		return MatchByDigest
	case MatchNo:
	}
	return in
}

func best(patterns []Pattern, r Reference, digest v1.Hash) Match {
	out := MatchNo
	for _, p := range patterns {
		switch p.Match(r, digest) {
		case MatchYes:
			return MatchYes
		case MatchByDigest:
			out = MatchByDigest
		case MatchNo:
		}
	}
	return out
}
