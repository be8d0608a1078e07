package compile

import (
	"slices"
	"strings"

	"github.com/github/go-spdx/v2/spdxexp/spdxlicenses"
)

// maxGuesses bounds the typos of one policy that a name is looked for: each is compared with some 700 names.
const maxGuesses = 16

// licenses are the identifiers of the SPDX licence list, once they were needed.
type licenses struct {
	ids     []string // as SPDX writes them
	lower   []string
	guesses int
}

func (l *licenses) load() {
	if l.ids != nil {
		return
	}
	l.ids = slices.Concat(spdxlicenses.GetLicenses(), spdxlicenses.GetDeprecated())
	for _, id := range l.ids {
		l.lower = append(l.lower, strings.ToLower(id))
	}
}

// match tells whether a glob is about an identifier.
func (l *licenses) match(glob string) bool {
	l.load()
	glob = strings.ToLower(glob)
	bare := strings.TrimSuffix(glob, "+") // "or later", as SPDX 2 writes it
	return slices.ContainsFunc(l.lower, func(id string) bool { return globMatches(glob, id) || globMatches(bare, id) })
}

// family returns the glob of the identifiers that begin with a text which is none itself: GPL-* for GPL. It returns nothing for a glob, for what is
// an identifier, and for what none begins with.
func (l *licenses) family(text string) string {
	if strings.ContainsAny(text, "*?") || l.match(text) {
		return ""
	}
	begins := func(with string) bool {
		return slices.ContainsFunc(l.lower, func(id string) bool { return strings.HasPrefix(id, strings.ToLower(with)) })
	}
	switch {
	case begins(text + "-"):
		return text + "-*"
	case begins(text):
		return text + "*"
	}
	return ""
}

// reached tells whether one of some globs is about an identifier of a family; it isn't where there is no family.
func (l *licenses) reached(family string, globs []string) bool {
	if family == "" {
		return false
	}
	family = strings.ToLower(family)
	var members []string
	for _, id := range l.lower {
		if globMatches(family, id) {
			members = append(members, id)
		}
	}
	return slices.ContainsFunc(globs, func(g string) bool {
		g = strings.ToLower(g)
		return len(g) <= maxLicense && slices.ContainsFunc(members, func(id string) bool { return globMatches(g, id) })
	})
}

// nearest returns what was probably meant by a text that is about no identifier: that of its family, or the one that at most two slips lead
// to; of a glob that only ends in a star, its begin is compared. Nothing if none is so near.
func (l *licenses) nearest(text string) string {
	if family := l.family(text); family != "" {
		return family
	}
	stem, star := strings.CutSuffix(strings.ToLower(text), "*")
	if l.guesses++; l.guesses > maxGuesses || strings.ContainsAny(stem, "*?") {
		return ""
	}
	best, most := "", min(2, len(stem)/3)+1
	for i, id := range l.lower {
		name := l.ids[i]
		if star {
			id, name = id[:min(len(id), len(stem))], name[:min(len(name), len(stem))]+"*"
		}
		if len(id)-len(stem) >= most || len(stem)-len(id) >= most {
			continue
		}
		if n := slips(stem, id); n < most {
			best, most = name, n
		}
	}
	return best
}

// isLicenseRef tells whether a glob is about licences that documents make up.
func isLicenseRef(glob string) bool {
	glob = strings.ToLower(glob)
	return strings.HasPrefix(glob, "licenseref-") || strings.HasPrefix(glob, "documentref-")
}

// globMatches tells whether a glob of * and ? matches the whole of a text.
func globMatches(glob, text string) bool {
	retryGlob, retryText := -1, 0 // after the last *, and from where in the text to try it next
	g, t := 0, 0
	for t < len(text) {
		switch {
		case g < len(glob) && glob[g] == '*':
			g++
			retryGlob, retryText = g, t
		case g < len(glob) && (glob[g] == '?' || glob[g] == text[t]):
			g++
			t++
		case retryGlob >= 0:
			retryText++
			g, t = retryGlob, retryText
		default:
			return false
		}
	}
	return strings.Trim(glob[g:], "*") == ""
}
