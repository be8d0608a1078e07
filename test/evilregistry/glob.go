package evilregistry

import (
	"fmt"
	"path"
	"strings"
)

// glob reports whether name matches pattern, both split at "/". A segment is
// matched as path.Match does, so * stays inside one segment; a segment ** is
// any number of segments.
func glob(pattern, name string) bool {
	return globSegments(strings.Split(pattern, "/"), strings.Split(name, "/"))
}

func globSegments(pattern, name []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for skip := 0; skip <= len(name); skip++ {
				if globSegments(pattern[1:], name[skip:]) {
					return true
				}
			}
			return false
		}
		if len(name) == 0 {
			return false
		}
		if ok, err := path.Match(pattern[0], name[0]); err != nil || !ok {
			return false
		}
		pattern, name = pattern[1:], name[1:]
	}
	return len(name) == 0
}

// mustGlob panics on a pattern that could never match, which in a test would
// otherwise look like a client that survived the fault.
func mustGlob(pattern string) {
	for segment := range strings.SplitSeq(pattern, "/") {
		if _, err := path.Match(segment, ""); err != nil {
			panic(fmt.Sprintf("evilregistry: pattern %q: %v", pattern, err))
		}
	}
}
