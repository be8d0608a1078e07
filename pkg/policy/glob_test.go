package policy

import (
	"strings"
	"testing"
)

func TestWildcardMatchesAWholeName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		glob, name string
		want       bool
	}{
		{"GPL-*", "gpl-3.0-only", true}, {"GPL-*", "lgpl-2.1-only", false}, {"GPL-*", "gpl", false}, {"gpl-*", "gpl-", true},
		{"*GPL*", "agpl-3.0", true}, {"*", "", true}, {"*", "anything at all", true}, {"mit", "mit", true}, {"mit", "mit-0", false},
		{"MIT-?", "mit-0", true}, {"mit-?", "mit-", false}, {"*-only", "gpl-2.0-only", true}, {"*-only", "gpl-2.0-only+", false},
		{"a*b*c", "abbbc", true}, {"a*b*c", "acb", false}, {"a**c", "abc", true}, {"a*?c", "ac", false}, {"a*?c", "abc", true}, {"*a", "aaa", true},
		{"a*b?c*", "axxbyczz", true}, {"*ab*ab", "ab", false}, {"*ab*ab", "abab", true}, {"ab*ba", "aba", false}, {"a?*?b", "axb", false}, {"a?*?b", "axyb", true},
		{"**", "", true}, {"?", "", false}, {"*?a*", "aa", true}, {"[a-z]", "[a-z]", true}, {"[a-z]", "b", false},
	} {
		w, err := parseWildcard(c.glob, true)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.matches(c.name); got != c.want {
			t.Errorf("%q matches %q: %v", c.glob, c.name, got)
		}
	}
}

func TestWildcardThatCouldMatchNothingIsRefused(t *testing.T) {
	t.Parallel()
	for glob, want := range map[string]string{"": "empty", "  ": "empty", " MIT": "space", strings.Repeat("a", MaxGlob+1): "at most 256",
		"a*b*c*d*e*": "has 5 *, want at most 4"} {
		if _, err := parseWildcard(glob, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", glob, err, want)
		}
	}
}

// FuzzWildcard holds matches to the plain definition.
func FuzzWildcard(f *testing.F) {
	f.Add("a*b?c*", "axxbyczz")
	f.Add("**", "")
	f.Fuzz(func(t *testing.T, glob, name string) {
		w, err := parseWildcard(glob, false)
		if err != nil || len(glob)+len(name) > 40 {
			return
		}
		if got, want := w.matches(name), plainly(glob, name); got != want {
			t.Errorf("%q matches %q: %v, want %v", glob, name, got, want)
		}
	})
}

// plainly matches with a table, as slowly as the definition reads.
func plainly(glob, name string) bool {
	reach := make([]bool, len(name)+1)
	reach[0] = true
	for i := range len(glob) {
		next := make([]bool, len(name)+1)
		for j := range next {
			if glob[i] == '*' {
				next[j] = reach[j] || j > 0 && next[j-1]
			} else {
				next[j] = j > 0 && reach[j-1] && (glob[i] == '?' || glob[i] == name[j-1])
			}
		}
		reach = next
	}
	return reach[len(name)]
}
