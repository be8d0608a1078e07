package predicate

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxWhole bounds the bytes of a predicate that is kept whole, for rules in CEL: what people write rules about is some KiB. A larger one can't be
// judged by such rules.
const MaxWhole = 256 << 10

// Whole is a predicate of any type, kept whole.
type Whole struct {
	value any
	size  int64
}

// valueOverhead is what a value takes in memory beside its own text, in bytes: an interface, and its part of a map or list.
const valueOverhead = 64

// ReadWhole keeps a predicate as it is. An error says that it is no JSON, or larger than MaxWhole.
func ReadWhole(predicate []byte) (*Whole, error) {
	if len(predicate) > MaxWhole {
		return nil, fmt.Errorf("a predicate of %d bytes: only up to %d can be judged by rules", len(predicate), MaxWhole)
	}
	w := &Whole{}
	err := read(predicate, func(s *scanner) (err error) {
		w.value, err = w.build(s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// build reads the next value. Numbers without fraction or exponent that fit are int64, others float64.
func (w *Whole) build(s *scanner) (any, error) {
	w.size += valueOverhead
	switch s.kind() {
	case '{':
		out := map[string]any{}
		err := s.members(func(name string) (func() error, error) {
			w.size += int64(len(name))
			return func() (err error) {
				out[name], err = w.build(s)
				return err
			}, nil
		})
		return out, err
	case '[':
		out := []any{}
		err := s.list(func() error {
			v, err := w.build(s)
			out = append(out, v)
			return err
		})
		return out, err
	case '"':
		var text string
		err := s.text(&text)
		w.size += int64(len(text))
		return text, err
	}
	v, err := s.dec.ReadValue()
	if err != nil {
		return nil, broken(err)
	}
	return scalar(v)
}

// scalar reads a number, true, false or null.
func scalar(v jsontext.Value) (any, error) {
	switch v.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return v.Kind() == 't', nil
	}
	if !bytes.ContainsAny(v, ".eE") {
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return n, nil
		}
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil {
		return nil, fmt.Errorf("%q is no number that can be told", clip(string(v)))
	}
	return f, nil
}

// Value is the predicate: map[string]any, []any, string, int64, float64, bool or nil. It must not be changed.
func (w *Whole) Value() any { return w.value }

// Time implements Facts: of a predicate of any type nothing says where its time is.
func (w *Whole) Time() time.Time { return time.Time{} }

// Size implements Facts.
func (w *Whole) Size() int64 { return w.size }

func (w *Whole) facts() {}
