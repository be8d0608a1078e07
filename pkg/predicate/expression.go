package predicate

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/github/go-spdx/v2/spdxexp/spdxlicenses"
)

// Bounds of one licence expression. What is beyond them is an error: cut short, an expression would mean something else.
const (
	// MaxLicense bounds the bytes of one licence as written. Some tools put a licence's whole text where its name belongs; the GPL has 35 KiB.
	MaxLicense = 64 << 10
	// MaxLicenseDepth bounds how deep parentheses nest: people write two, generators of Linux distributions some four.
	MaxLicenseDepth = 32
	// MaxLicenseTerms bounds the identifiers in one expression, and the licences that one package has at once: the longest that distributions
	// write (of texlive, of linux-firmware) have some hundred.
	MaxLicenseTerms = 1000
	// MaxTerms bounds the distinct identifiers in all licences of one SBOM: the SPDX list has some 700, a distribution that makes up its own
	// some thousand.
	MaxTerms = 100_000
)

// TermKind says what is known of one identifier in a licence.
type TermKind uint8

// The kinds of terms.
const (
	// TermUnsaid is NOASSERTION, NONE, or nothing at all.
	TermUnsaid TermKind = iota
	// TermListed is an identifier on the SPDX licence list, deprecated ones too, with or without a +.
	TermListed
	// TermRef is LicenseRef-..., alone or behind DocumentRef-...: a licence that SPDX has no name for. Its text is elsewhere in the document.
	TermRef
	// TermText is anything else: "GPLv2+", "Public Domain", a whole licence's text.
	TermText
	// TermMention is a word of a TermText that is on the SPDX list, or has the look of an identifier: it begins with a letter, and has a digit
	// or a hyphen. It says nothing of what may be done, but a ban of it holds: neither "GPL-3.0-only, MIT" nor "MIT, GPL-3" is an expression.
	TermMention
)

// Term is one identifier in a licence: what a policy's globs are held against.
type Term struct {
	// ID is as written but for its case, which is lower: identifiers are told apart without regard to case. An exception (WITH ...) is no part
	// of it, a + is.
	ID string
	// Text is as first written, for people.
	Text string
	// Name is what the document calls a TermRef, in lower case; empty if it doesn't say. Trivy's references are hashes of it.
	Name string
	Kind TermKind
}

// Standing is what a policy thinks of a term, and so of a licence. The zero value is the worst. They are ordered.
type Standing uint8

// The standings.
const (
	// StandingDenied is what may not be used.
	StandingDenied Standing = iota
	// StandingUnread is what isn't an SPDX identifier. Where it is one of two choices, the other decides: "GPL-2.0 or later" offers no way around
	// the GPL.
	StandingUnread
	// StandingUnknown is a licence that is named, but that nobody judged.
	StandingUnknown
	// StandingGood is what may be used.
	StandingGood
)

// The operations of a compiled expression; other numbers are terms.
const (
	opAnd = ^uint32(0)
	opOr  = opAnd - 1
)

// expression is a licence in reverse Polish order: terms, by their number, and operations on the two before. It is judged without allocating, on
// every admission and for each licence of an image. Of go-spdx only the list of identifiers is used, when a document is read: its Satisfies parses
// anew each time, knows no denial, and takes "LicenseRef-a OR MIT" for not satisfied by LicenseRef-a. Tests hold ours to it elsewhere.
type expression []uint32

// standing judges an expression, by what is thought of each term: AND is the worse of two, OR the better.
func (x expression) standing(of func(term uint32) Standing) Standing {
	var stack [2*MaxLicenseDepth + 8]Standing // each parenthesis leaves at most two operands waiting, one of OR and one of AND
	top := 0
	for _, op := range x {
		switch op {
		case opAnd:
			top--
			stack[top-1] = min(stack[top-1], stack[top])
		case opOr:
			top--
			stack[top-1] = either(stack[top-1], stack[top])
		default:
			stack[top] = of(op)
			top++
		}
	}
	if top != 1 {
		return StandingDenied
	}
	return stack[0]
}

func either(a, b Standing) Standing {
	if low, high := min(a, b), max(a, b); low != StandingDenied || high != StandingUnread {
		return high
	}
	return StandingDenied
}

// terms are all terms that the licences of one document have, each once.
type terms struct {
	all    []Term
	number map[termKey]uint32
	texts  uint32   // how many texts were read
	last   []uint32 // of each term, the text that mentioned it last, counted from 1
}

type termKey struct {
	id   string
	kind TermKind
}

func (t *terms) add(id string, kind TermKind) uint32 {
	key := termKey{strings.ToLower(id), kind}
	n, ok := t.number[key]
	if !ok {
		n = uint32(len(t.all))
		put(&t.number, key, n)
		t.all = append(t.all, Term{ID: key.id, Text: id, Kind: kind})
	}
	return n
}

// license compiles a licence as somebody wrote it: an expression of SPDX 2.3 Annex D, its operators in any case, or else one term that is
// its whole text. An error is about a bound.
func (t *terms) license(text string) (expression, error) {
	if len(text) > MaxLicense {
		return nil, fmt.Errorf("a licence of %d bytes, want at most %d", len(text), MaxLicense)
	}
	if unsaid(text) {
		return expression{t.add(cmp.Or(text, noAssertion), TermUnsaid)}, nil
	}
	p := licenseParser{rest: text, terms: t}
	before := len(t.all)
	p.next()
	out, err := p.any(0)
	switch {
	case err == nil && p.token == "":
		return out, nil
	case err == nil || errors.Is(err, errNoExpression):
		for _, term := range t.all[before:] { // what it took for identifiers
			delete(t.number, termKey{term.ID, term.Kind})
		}
		t.all = t.all[:before]
		return t.text(text)
	}
	return nil, err
}

// noAssertion is what stands for a licence that nobody named.
const noAssertion = "NOASSERTION"

// unsaid tells a licence that nobody named.
func unsaid(text string) bool {
	return text == "" || strings.EqualFold(text, noAssertion) || strings.EqualFold(text, "NONE")
}

// text compiles what is no expression: its whole text, and each word in it that is an identifier, or may be meant for one.
func (t *terms) text(text string) (expression, error) {
	out := expression{t.add(text, TermText)}
	if hash, ok := strings.CutPrefix(text, "sha256:"); ok && strings.Trim(hash, "0123456789abcdef") == "" { // so syft names a whole licence's text
		return out, nil
	}
	t.texts++
	for word := range wordsOf(text) {
		if !bannable(word) {
			continue
		}
		n := t.add(word, TermMention)
		for int(n) >= len(t.last) {
			t.last = append(t.last, 0)
		}
		if t.last[n] == t.texts {
			continue
		}
		t.last[n] = t.texts
		if out = append(out, n, opAnd); len(out) > 2*MaxLicenseTerms {
			return nil, errTooManyTerms
		}
	}
	return out, nil
}

// wordsOf are the words of a text: idstrings, without dots and hyphens around them, with a + that follows.
func wordsOf(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for text != "" {
			n := strings.IndexFunc(text, func(r rune) bool { return !isIDRune(r) })
			if n < 0 {
				n = len(text)
			}
			word := strings.Trim(text[:n], ".-")
			if strings.HasPrefix(text[n:], "+") {
				word, n = word+"+", n+1
			}
			if word != "" && word != "+" && !yield(word) {
				return
			}
			text = text[n+skipped(text[n:]):]
		}
	}
}

// skipped is how many bytes of a text come before its next word.
func skipped(text string) int {
	if n := strings.IndexFunc(text, isIDRune); n >= 0 {
		return n
	}
	return len(text)
}

// bannable tells a word that a ban may be about. "GPL-compatible" is said of what isn't under the GPL.
func bannable(word string) bool {
	id := strings.TrimSuffix(word, "+")
	if listed(id) {
		return true
	}
	letter := 'a' <= id[0]|0x20 && id[0]|0x20 <= 'z'
	return letter && strings.ContainsAny(id, "-0123456789") && !strings.HasSuffix(strings.ToLower(id), "-compatible")
}

// and compiles that several licences apply at once.
func and(all ...expression) expression {
	var out expression
	for i, x := range all {
		if out = append(out, x...); i > 0 {
			out = append(out, opAnd)
		}
	}
	return out
}

var (
	errNoExpression = errors.New("no licence expression")
	errTooDeep      = fmt.Errorf("a licence with parentheses more than %d deep", MaxLicenseDepth)
	errTooManyNames = fmt.Errorf("licences with more than %d distinct identifiers", MaxTerms)
	errTooManyTerms = fmt.Errorf("a licence with more than %d identifiers", MaxLicenseTerms)
)

// licenseParser reads an expression by recursive descent. WITH binds closer than AND, and AND closer than OR.
type licenseParser struct {
	rest  string
	token string // the next one: a parenthesis or a word; empty at the end
	terms *terms
	count int
}

// next moves to the next token.
func (p *licenseParser) next() {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	n := strings.IndexAny(p.rest, " \t\r\n()")
	switch {
	case n < 0:
		n = len(p.rest)
	case n == 0:
		n = 1
	}
	p.token, p.rest = p.rest[:n], p.rest[n:]
}

func (p *licenseParser) any(depth int) (expression, error) {
	return p.binary("OR", opOr, func() (expression, error) {
		return p.binary("AND", opAnd, func() (expression, error) { return p.one(depth) })
	})
}

// binary reads operands with one operator between them; each is applied at once, so that the stack stays small.
func (p *licenseParser) binary(operator string, op uint32, operand func() (expression, error)) (expression, error) {
	out, err := operand()
	for err == nil && strings.EqualFold(p.token, operator) {
		p.next()
		var right expression
		right, err = operand()
		out = append(append(out, right...), op)
	}
	return out, err
}

// one reads a term, with its exception, or what is in parentheses.
func (p *licenseParser) one(depth int) (expression, error) {
	if p.token == "(" {
		if depth == MaxLicenseDepth {
			return nil, errTooDeep
		}
		p.next()
		out, err := p.any(depth + 1)
		if err == nil && p.token != ")" {
			err = errNoExpression
		}
		p.next()
		return out, err
	}
	kind, ok := kindOf(p.token)
	if !ok {
		return nil, errNoExpression
	}
	if p.count++; p.count > MaxLicenseTerms {
		return nil, errTooManyTerms
	}
	id := p.token
	out := expression{p.terms.add(id, kind)}
	p.next()
	if !strings.EqualFold(p.token, "WITH") {
		return out, nil
	}
	p.next()
	if !isID(p.token) || isOperator(p.token) {
		return nil, errNoExpression
	}
	// An exception permits more, so what it is added to decides. What isn't on the list may as well restrict ("MIT WITH Commons-Clause").
	if known, _ := spdxlicenses.IsException(p.token); !known {
		out = append(out, p.terms.add(id+" WITH "+p.token, TermText), opAnd)
	}
	p.next()
	return out, nil
}

// kindOf says what an identifier is; ok is false for what can't be one.
func kindOf(word string) (kind TermKind, ok bool) {
	document, ref, qualified := strings.Cut(word, ":")
	if !qualified {
		document, ref = "", word
	}
	switch id := strings.TrimSuffix(word, "+"); {
	case after(ref, "LicenseRef-") && (!qualified || after(document, "DocumentRef-")):
		return TermRef, true
	case !isID(id) || isOperator(id):
		return 0, false
	case unsaid(word):
		return TermUnsaid, true
	case listed(id):
		return TermListed, true
	}
	return TermText, true
}

// after tells an identifier that has something behind a prefix.
func after(word, prefix string) bool {
	return len(word) > len(prefix) && strings.EqualFold(word[:len(prefix)], prefix) && isID(word)
}

func isOperator(word string) bool {
	return strings.EqualFold(word, "AND") || strings.EqualFold(word, "OR") || strings.EqualFold(word, "WITH")
}

// listed tells an identifier of the SPDX licence list, whether deprecated or not.
func listed(id string) bool {
	if ok, _ := spdxlicenses.IsActiveLicense(id); ok {
		return true
	}
	ok, _ := spdxlicenses.IsDeprecatedLicense(id)
	return ok
}

// isID tells an idstring: letters, digits, dots and hyphens.
func isID(word string) bool {
	return word != "" && strings.IndexFunc(word, func(r rune) bool { return !isIDRune(r) }) < 0
}

func isIDRune(r rune) bool {
	return r == '-' || r == '.' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}
