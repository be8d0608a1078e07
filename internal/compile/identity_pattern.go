package compile

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// Bounds of the programs that patterns are compiled to, in steps: a kilobyte of text can ask for repetitions that make a
// hundred thousand. What names an issuer or a subject needs as many as it has characters, and some.
const (
	maxPatternSteps = 2048
	// maxPolicySteps bounds the patterns of one policy together, so that it is checked in a fraction of a second: 256 patterns
	// of 128 characters.
	maxPolicySteps = 32 << 10
	// rangesPerStep is how many ranges of characters count as a step: what people write has fewer in a class.
	rangesPerStep = 8
)

// anchored compiles a pattern of an identity so that it must match the whole of a name, whatever is in it: as
// \A(?:PATTERN)\z, after PATTERN has been parsed by itself. Unanchored, https://github.com/acme/.* is found in
// https://evil.example/?https://github.com/acme/ too.
//
// The syntax is RE2's, as Go's package regexp has it.
func anchored(pattern string) (*regexp.Regexp, error) {
	if _, err := stepsOf(pattern); err != nil {
		return nil, err
	}
	whole, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil { // a \Q without \E would quote our anchor
		return nil, errors.New("can't be anchored: it leaves a quotation open; end \\Q with \\E")
	}
	return whole, nil
}

// stepsOf returns about how many steps a pattern is compiled to, or what is wrong with it.
func stepsOf(pattern string) (int, error) {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if se, ok := errors.AsType[*syntax.Error](err); ok { // also a ) without its (, which would end the group that we put around it
		return 0, fmt.Errorf("is no RE2: %s in %.40q; a pattern is no glob: write [^/]* for what one segment may be, and \\. for a dot", se.Code, se.Expr)
	}
	if err != nil {
		return 0, fmt.Errorf("is no RE2: %w", err)
	}
	switch w := read(tree); {
	case w.lines:
		return 0, errors.New("(?m) lets ^ and $ match inside of a name: leave the three out, the pattern is anchored for you")
	case w.glob != "":
		return 0, fmt.Errorf("%q repeats the character before the *, as globs don't: write [^/]* for what one segment may be", w.glob)
	case w.steps > maxPatternSteps:
		return 0, fmt.Errorf("repeats too much: about %d steps, at most %d; write + or * in place of large counts, and no class of thousands of characters", w.steps, maxPatternSteps)
	default:
		return w.steps, nil
	}
}

// reading is what is found in a pattern.
type reading struct {
	lines bool   // ^ or $ of lines, not of the text
	glob  string // a * after a character that nobody means to repeat
	steps int
}

// read reads a pattern's tree, whose depth the parser bounds (1,000).
func read(re *syntax.Regexp) reading {
	var r reading
	for _, sub := range re.Sub {
		s := read(sub)
		r.lines = r.lines || s.lines
		if r.glob == "" {
			r.glob = s.glob
		}
		r.steps += s.steps
	}
	switch re.Op {
	case syntax.OpBeginLine, syntax.OpEndLine:
		r.lines = true
		r.steps++
	case syntax.OpLiteral:
		r.steps = len(re.Rune)
	case syntax.OpCharClass: // [^/] has two ranges, \w four, \pL six hundred, each of which is held and tried
		r.steps += max(1, len(re.Rune)/2/rangesPerStep)
	case syntax.OpConcat:
	case syntax.OpStar:
		r.steps++
		if one := re.Sub[0]; one.Op == syntax.OpLiteral && len(one.Rune) == 1 && strings.ContainsRune("/@", one.Rune[0]) {
			r.glob = string(one.Rune) + "*"
		}
	case syntax.OpRepeat:
		r.steps *= max(1, re.Min, re.Max)
	default:
		r.steps++
	}
	return r
}

// strangeIssuers are issuers that nobody trusts, of the shapes that issuers have. A pattern that matches one leaves open who
// the issuer is. The .invalid names are nobody's, by RFC 2606.
func strangeIssuers() []string {
	return []string{"https://stranger.invalid", "https://stranger.invalid/realms/any", "https://oidc.stranger.invalid:8443/"}
}

// strangers are subjects that nobody trusts: of places where anybody can get a name, and of each kind.
func strangers() []string {
	return []string{
		"https://github.com/stranger/any/.github/workflows/any.yaml@refs/heads/any",
		"https://gitlab.com/stranger/any//.gitlab-ci.yml@refs/heads/any",
		"https://stranger.invalid", "https://stranger.invalid/any",
		"stranger@stranger.invalid", "stranger@gmail.com",
		"spiffe://stranger.invalid/ns/any/sa/any",
		"stranger.invalid", "stranger", "CN=stranger",
		"",
	}
}

// matchesStranger tells whether an anchored pattern matches a name that is a stranger's, and which: one of those given, one
// at a host that only begins as the pattern's does, or one of a domain that only ends so.
func matchesStranger(whole *regexp.Regexp, pattern string, strangers []string) (who string, ok bool) {
	p := partsOf(pattern)
	if _, host, ok := strings.Cut(p.begin, "://"); ok && host != "" && !strings.Contains(host, "/") && p.goesOn(".stranger.invalid") {
		return p.begin + ".stranger.invalid", true
	}
	if strings.Contains(p.end, ".") && !strings.Contains(p.end, "@") && !strings.HasPrefix(p.end, ".") {
		strangers = append(strangers, "stranger@stranger-"+p.end, "https://stranger-"+p.end)
	}
	for _, who := range strangers {
		if whole.MatchString(who) {
			return who, true
		}
	}
	return "", false
}

// neighbour returns an owner at a pattern's host whose name only begins as the one that the pattern writes out, if the
// pattern can be about it too: https://github\.com/acme.* is about acme-stranger.
func neighbour(pattern string) (owner string, ok bool) {
	p := partsOf(pattern)
	_, rest, _ := strings.Cut(p.begin, "://")
	_, owner, _ = strings.Cut(rest, "/")
	if owner == "" || strings.Contains(owner, "/") || !p.goesOn("-stranger") {
		return "", false
	}
	return owner + "-stranger", true
}

// parts are what of a pattern stands there as it is, at its beginning and at its end, and what comes between.
type parts struct {
	begin, end string
	next       *syntax.Regexp // after begin
}

func partsOf(pattern string) (p parts) {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return p
	}
	list := []*syntax.Regexp{tree}
	if tree.Op == syntax.OpConcat {
		list = tree.Sub
	}
	list = slices.DeleteFunc(slices.Clone(list), func(re *syntax.Regexp) bool {
		return re.Op == syntax.OpBeginText || re.Op == syntax.OpEndText || re.Op == syntax.OpEmptyMatch
	})
	literal := func(re *syntax.Regexp) string {
		if re.Op != syntax.OpLiteral {
			return ""
		}
		return string(re.Rune)
	}
	if len(list) > 0 {
		p.begin, p.end = literal(list[0]), literal(list[len(list)-1])
	}
	if len(list) > 1 {
		p.next = list[1]
	}
	return p
}

// goesOn tells whether what comes after the beginning can be a text.
func (p parts) goesOn(text string) bool {
	if p.next == nil {
		return false
	}
	next, err := regexp.Compile(`\A(?:` + p.next.String() + `)\z`)
	return err == nil && next.MatchString(text)
}
