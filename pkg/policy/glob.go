package policy

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds of globs over names of packages or licences.
const (
	// MaxGlob bounds the bytes of one: none of those that are worth naming is longer.
	MaxGlob = 256
	// MaxStars bounds the * in one: each is searched for by itself, and "*a*b*" says what anybody wants.
	MaxStars = 4
	// MaxGlobName bounds the bytes of a name that an exception or an allowance may match: what is longer was made to be, and stays as it is.
	MaxGlobName = 512
)

// wildcard is a glob over a whole name that isn't cut into segments: * stands for any characters, or none; ? for one byte.
type wildcard struct {
	text    string   // as written
	fixed   string   // what a name begins with: the whole of a glob without * and ?
	parts   []string // between stars, in the case that is compared; a glob has one more of them than stars
	any     bool     // it has a ?
	literal bool     // it has neither
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
	case strings.Count(text, "*") > MaxStars:
		return wildcard{}, fmt.Errorf("%q has %d *, want at most %d", text, strings.Count(text, "*"), MaxStars)
	}
	pattern := text
	if fold {
		pattern = strings.ToLower(text)
	}
	w := wildcard{text: text, fixed: pattern, parts: strings.Split(pattern, "*"), any: strings.Contains(pattern, "?")}
	if n := strings.IndexAny(pattern, "*?"); n >= 0 {
		w.fixed = pattern[:n]
	}
	w.literal = len(w.fixed) == len(pattern)
	return w, nil
}

// exact tells a glob that names one thing.
func (w *wildcard) exact() bool { return w.literal }

// cost is about how many steps matches takes, of a few nanoseconds each: what a star stands for is searched for, once through the name.
func (w *wildcard) cost(name string) int {
	const compared = 4
	switch {
	case !strings.HasPrefix(name, w.fixed), len(w.parts) == 1, len(w.parts) == 2 && w.parts[1] == "":
		return compared
	case w.any:
		return compared + len(name)*(len(w.text)+1)
	}
	return compared + len(name)
}

// matches tells whether it matches the whole name. What is between two stars is taken where it comes first: what follows has then the most left to
// match. Without a ? it takes one search through the name.
func (w *wildcard) matches(name string) bool {
	if !strings.HasPrefix(name, w.fixed) {
		return false
	}
	if w.literal {
		return len(name) == len(w.fixed)
	}
	first, last := w.parts[0], w.parts[len(w.parts)-1]
	if len(w.parts) == 1 {
		return len(name) == len(first) && w.at(name, first)
	}
	if len(name) < len(first)+len(last) || !w.at(name, first) || !w.at(name[len(name)-len(last):], last) {
		return false
	}
	rest := name[len(first) : len(name)-len(last)]
	for _, part := range w.parts[1 : len(w.parts)-1] {
		n := w.find(rest, part)
		if n < 0 {
			return false
		}
		rest = rest[n+len(part):]
	}
	return true
}

// at tells whether a name begins with a part.
func (w *wildcard) at(name, part string) bool {
	if !w.any {
		return strings.HasPrefix(name, part)
	}
	if len(name) < len(part) {
		return false
	}
	for i := range len(part) {
		if part[i] != '?' && part[i] != name[i] {
			return false
		}
	}
	return true
}

// find is where a part comes first in a name, or -1.
func (w *wildcard) find(name, part string) int {
	if !w.any {
		return strings.Index(name, part)
	}
	for n := 0; n+len(part) <= len(name); n++ {
		if w.at(name[n:], part) {
			return n
		}
	}
	return -1
}
