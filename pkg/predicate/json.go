package predicate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds the nesting of objects and lists: what tools write is some ten deep.
const maxDepth = 128

// scanner reads JSON forward, once, without building what isn't asked for. Its methods are called where the value is that they read; each
// reads it whole.
//
// jsontext refuses names that are there twice, invalid UTF-8, and what the JSON grammar doesn't allow.
type scanner struct {
	dec *jsontext.Decoder
}

func scan(text []byte) *scanner {
	return &scanner{dec: jsontext.NewDecoder(bytes.NewBuffer(text))} // reads a bytes.Buffer in place
}

// read has f read the one value of a text, and refuses what follows it.
func read(text []byte, f func(s *scanner) error) error {
	s := scan(text)
	if err := f(s); err != nil {
		return err
	}
	if _, err := s.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

// kind is what comes next: '{', '[', '"', '0', 't', 'f' or 'n'; 0 where the text is broken or ends.
func (s *scanner) kind() jsontext.Kind { return s.dec.PeekKind() }

// names are the names of an object that a reader knows. Others are passed over; one of these in another case is an error.
type names map[string]func() error

// object reads an object: for each name that is known, what it maps to reads the value. Null is an error.
func (s *scanner) object(known names) error {
	if err := s.begin('{', "an object"); err != nil {
		return err
	}
	for s.kind() != '}' {
		quoted, err := s.dec.ReadValue()
		if err != nil {
			return broken(err)
		}
		f, name, err := known.find(quoted)
		if err != nil {
			return err
		}
		if f == nil {
			if err := s.skip(); err != nil {
				return err
			}
			continue
		}
		if err := f(); err != nil {
			return within(string(name), err)
		}
	}
	_, err := s.dec.ReadToken()
	return broken(err)
}

// find returns what reads the value of a name, and the name without its quotes; nil for one that isn't known. It allocates nothing: there are
// many names in a large document.
func (n names) find(quoted []byte) (f func() error, raw []byte, err error) {
	if len(quoted) < 2 || quoted[0] != '"' {
		return nil, nil, errors.New("broken JSON")
	}
	raw = quoted[1 : len(quoted)-1] // a part of the text that is read, which doesn't change
	if bytes.IndexByte(raw, '\\') >= 0 {
		if raw, err = jsontext.AppendUnquote(nil, quoted); err != nil {
			return nil, nil, errors.New("broken JSON")
		}
	}
	if f, ok := n[string(raw)]; ok {
		return f, raw, nil
	}
	runes := utf8.RuneCount(raw)
	for k := range n {
		if len(k) == runes && sameFold(k, raw) {
			return nil, nil, fmt.Errorf("%q for %q", clip(string(raw)), k)
		}
	}
	return nil, raw, nil
}

// sameFold tells whether encoding/json, as others use it, would take a name for a known one, which is ASCII: it folds by Unicode, where the long s
// is an s and the sign of Kelvin a k.
func sameFold(known string, raw []byte) bool {
	for i := range len(known) {
		r, n := utf8.DecodeRune(raw)
		switch {
		case r == '\u017f':
			r = 's'
		case r == '\u212a':
			r = 'k'
		case 'A' <= r && r <= 'Z':
			r += 'a' - 'A'
		}
		k := rune(known[i])
		if 'A' <= k && k <= 'Z' {
			k += 'a' - 'A'
		}
		if r != k {
			return false
		}
		raw = raw[n:]
	}
	return len(raw) == 0
}

// members reads an object of any names: read returns what reads the value of one, or nil to pass it over.
func (s *scanner) members(read func(name string) (func() error, error)) error {
	if err := s.begin('{', "an object"); err != nil {
		return err
	}
	for s.kind() != '}' {
		tok, err := s.dec.ReadToken()
		if err != nil {
			return broken(err)
		}
		if tok.Kind() != '"' {
			return errors.New("broken JSON")
		}
		name := tok.String()
		f, err := read(name)
		if err != nil {
			return err
		}
		if f == nil {
			f = s.skip
		}
		if err := f(); err != nil {
			return within(name, err)
		}
	}
	_, err := s.dec.ReadToken()
	return broken(err)
}

// list reads a list: each reads one element. Null is an error.
func (s *scanner) list(each func() error) error {
	if err := s.begin('[', "a list"); err != nil {
		return err
	}
	for n := 0; s.kind() != ']'; n++ {
		if err := each(); err != nil {
			return within(fmt.Sprintf("[%d]", n), err)
		}
	}
	_, err := s.dec.ReadToken()
	return broken(err)
}

func (s *scanner) begin(kind jsontext.Kind, what string) error {
	if s.kind() != kind {
		return fmt.Errorf("not %s but %s", what, s.what())
	}
	if s.dec.StackDepth() >= maxDepth {
		return fmt.Errorf("nested more than %d deep", maxDepth)
	}
	_, err := s.dec.ReadToken()
	return broken(err)
}

// what is what comes next, for messages.
func (s *scanner) what() string {
	switch s.kind() {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "broken JSON"
}

// text reads a string into to. Null is an error.
func (s *scanner) text(to *string) error {
	if s.kind() != '"' {
		return fmt.Errorf("not a string but %s", s.what())
	}
	tok, err := s.dec.ReadToken()
	if err != nil {
		return broken(err)
	}
	*to = tok.String()
	return nil
}

// textOrNull reads a string into to; null leaves it as it is.
func (s *scanner) textOrNull(to *string) error {
	if s.kind() == 'n' {
		return s.skip()
	}
	return s.text(to)
}

// time reads a time of RFC 3339 into to; null and "" leave it as it is.
func (s *scanner) time(to *time.Time) error {
	var text string
	if err := s.textOrNull(&text); err != nil || text == "" {
		return err
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return fmt.Errorf("%q is no time (RFC 3339)", clip(text))
	}
	*to = at.UTC()
	return nil
}

// flag reads true or false into to.
func (s *scanner) flag(to *bool) error {
	if k := s.kind(); k != 't' && k != 'f' {
		return fmt.Errorf("not true or false but %s", s.what())
	}
	tok, err := s.dec.ReadToken()
	if err != nil {
		return broken(err)
	}
	*to = tok.Bool()
	return nil
}

// skip passes a value over.
func (s *scanner) skip() error { return broken(s.dec.SkipValue()) }

// value returns the JSON of a value; it is a copy.
func (s *scanner) value() ([]byte, error) {
	v, err := s.dec.ReadValue()
	if err != nil {
		return nil, broken(err)
	}
	return bytes.Clone(v), nil
}

// orNull passes a null over, and has f read anything else.
func (s *scanner) orNull(f func() error) func() error {
	return func() error {
		if s.kind() == 'n' {
			return s.skip()
		}
		return f()
	}
}

// broken words an error of jsontext, without what it quotes.
func broken(err error) error {
	if err == nil {
		return nil
	}
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errors.New("a name occurs twice in one object")
	case errors.As(err, &syntax):
		return fmt.Errorf("broken JSON at byte %d", syntax.ByteOffset)
	}
	return errors.New("broken JSON")
}

// pathError is an error with the path of the value that it is about.
type pathError struct {
	path string
	err  error
}

func (e pathError) Error() string { return e.path + ": " + e.err.Error() }
func (e pathError) Unwrap() error { return e.err }

// within says inside which name or element something is wrong.
func within(name string, err error) error {
	var inner pathError
	if !errors.As(err, &inner) {
		return pathError{clip(name), err}
	}
	sep := "."
	if strings.HasPrefix(inner.path, "[") {
		sep = ""
	}
	return pathError{clip(clip(name) + sep + inner.path), inner.err}
}

// clip shortens what a stranger wrote, for messages.
func clip(s string) string {
	const most = 96
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
