package verify

import (
	"errors"
	"unsafe"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// said is what a statement says beside its type. It isn't changed once made.
type said struct {
	facts predicate.Facts
	err   error     // why the predicate can't be read
	also  []v1.Hash // what it is about beside the image
}

// size is about how many bytes it holds.
func (t *said) size() int64 {
	if t == nil {
		return 0
	}
	n := int64(unsafe.Sizeof(*t))
	for _, h := range t.also {
		n += int64(unsafe.Sizeof(h)) + int64(len(h.Hex))
	}
	if t.facts != nil {
		n += t.facts.Size()
	}
	if t.err != nil {
		n += int64(len(t.err.Error()))
	}
	return n
}

// tellOf returns what a candidate states that was found to be by the question's authority, read once for all who ask. A signature's type says
// all that it says.
func (q Question) tellOf(c *sealed, image v1.Hash) *said {
	o, err := c.open(image)
	if err != nil || o.predicateType == CosignSign {
		return nil
	}
	as := 0
	if q.whole {
		as = 1
	}
	if c.said[as] == nil {
		c.said[as] = o.tell(q.whole)
	}
	return c.said[as]
}

// tell reads the predicate.
func (o *opened) tell(whole bool) *said {
	t := &said{also: o.also}
	switch {
	case o.stated == nil:
		t.err = errors.New("the statement has no predicate")
	case whole:
		if w, err := predicate.ReadWhole(o.stated); err != nil {
			t.err = err
		} else {
			t.facts = w
		}
	default:
		t.facts, t.err = predicate.Read(o.predicateType, o.stated)
	}
	if t.err != nil {
		t.err = errors.New(clip(t.err.Error()))
	}
	return t
}
