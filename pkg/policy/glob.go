package policy

import (
	"errors"
	"fmt"
	"strings"
)

// MaxGlob bounds the bytes of a glob over names of packages or licences: none of those that are worth naming is longer.
const MaxGlob = 256

// wildcard is a glob over a whole name that isn't cut into segments: * stands for any characters, or none; ? for one byte.
type wildcard struct {
	text    string // as written
	pattern string // what is compared: text, or text in lower case
	fixed   int    // how many bytes at its beginning stand for themselves
}

// parseWildcard reads a glob. With fold it is held against names in lower case.
func parseWildcard(text string, fold bool) (wildcard, error) {
	switch {
	case strings.TrimSpace(text) == "":
		return wildcard{}, errors.New("empty: it would match nothing")
	case len(text) > MaxGlob:
		return wildcard{}, fmt.Errorf("%d bytes, want at most %d", len(text), MaxGlob)
	case strings.TrimSpace(text) != text:
		return wildcard{}, fmt.Errorf("%q begins or ends with a space, so it would match nothing", text)
	}
	w := wildcard{text: text, pattern: text}
	if fold {
		w.pattern = strings.ToLower(text)
	}
	if w.fixed = strings.IndexAny(w.pattern, "*?"); w.fixed < 0 {
		w.fixed = len(w.pattern)
	}
	return w, nil
}

// exact tells a glob that names one thing.
func (w wildcard) exact() bool { return w.fixed == len(w.pattern) }

// matches tells whether it matches the whole name. It takes time of at most len(pattern) x len(name): after a mismatch only the last * need
// take more.
func (w wildcard) matches(name string) bool {
	if !strings.HasPrefix(name, w.pattern[:w.fixed]) {
		return false
	}
	p, s := w.pattern[w.fixed:], name[w.fixed:]
	if p == "*" {
		return true
	}
	i, j, star, from := 0, 0, -1, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, from = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == s[j]):
			i++
			j++
		case star >= 0:
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(p[i:], "*") == ""
}
