package policy

import (
	"errors"
	"math/bits"
	"regexp"
	"slices"
)

// The steps that rules are made of. A value is what JSON has, as predicate.Whole has it: nil, bool, int64, float64, string, []any and
// map[string]any; or a time.Time or a time.Duration. None is ever changed. No error has a value in it: an answer goes to whoever deploys, who need not
// be one who may read the statement.

// step is a part of a rule. It isn't changed once made, and may be evaluated by many at once.
type step interface {
	eval(v *variables) (any, error)
}

type (
	// constant is a value that is written out, or made of such.
	constant struct{ value any }
	// given is a variable that rules see, by its name.
	given string
	// turn is the variable of a loop: of the outermost, it is 0.
	turn int
	// member is a field of a map.
	member struct {
		of      step
		name    string
		missing error
	}
	// present tells whether a map has a field.
	present struct {
		of    step
		name  string
		wrong error
	}
	// listing is a list that is written out.
	listing []step
	// mapping is a map that is written out.
	mapping struct {
		names []string
		parts []step
	}
	// junction is && or ||: until one is false or true. As CEL has it, what can't be evaluated doesn't matter where another part decides.
	junction struct {
		args  []step
		until bool
		wrong error
	}
	// choice is a ? b : c.
	choice struct {
		when, then, otherwise step
		wrong                 error
	}
	// unary is a function of one value, which is charged for by what it does.
	unary struct {
		of    step
		f     func(v *variables, a any) (any, error)
		wrong error
	}
	// binary is a function of two.
	binary struct {
		a, b  step
		f     func(v *variables, a, b any) (any, error)
		wrong error
	}
	// matching tells whether a text has a match of a pattern.
	matching struct {
		of      step
		pattern *regexp.Regexp
		steps   uint64
		wrong   error
	}
	// loop goes through a list, or the keys of a map.
	loop struct {
		kind             loopKind
		over             step
		test             step // nil: all pass
		element          step // what is gathered
		slot             turn
		chained          int // how many loops what is gone through comes from
		wrong, undecided error
	}
)

type loopKind uint8

const (
	all loopKind = iota
	exists
	existsOne
	gather // map and filter
)

// Unit costs: what is done is charged before, by the greater of its time (a unit is some 50 ns) and its memory (a unit is at most 64 bytes).
const (
	partCost     = 2  // a part of a list that is made, which may be copied while it grows
	entryCost    = 4  // an entry of a map that is made
	bytesAUnit   = 16 // bytes of text gone through or copied
	stepsAUnit   = 4  // steps of a regular expression's program
	parsingCost  = 8  // reading a time or a number of a text
	maxParseText = 64 // bytes of a text that is read as a time or a number: those that are one are shorter
)

// errKind is a function's answer to a kind of value that it doesn't go with. Steps word it.
var errKind = errors.New("another kind of value is wanted")

func (c constant) eval(*variables) (any, error) { return c.value, nil }

func (g given) eval(v *variables) (any, error) { return v.given(string(g)) }

func (t turn) eval(v *variables) (any, error) { return v.turns[t], nil }

func (m *member) eval(v *variables) (any, error) {
	of, err := m.of.eval(v)
	if err == nil {
		err = v.spend(1)
	}
	if err != nil {
		return nil, err
	}
	fields, _ := of.(map[string]any)
	value, ok := fields[m.name]
	if !ok {
		return nil, m.missing
	}
	return value, nil
}

func (p *present) eval(v *variables) (any, error) {
	of, err := p.of.eval(v)
	if err == nil {
		err = v.spend(1)
	}
	if err != nil {
		return nil, err
	}
	if _, is := of.([]any); is {
		return nil, p.wrong
	}
	fields, _ := of.(map[string]any) // a text or a number has none
	_, ok := fields[p.name]
	return ok, nil
}

func (l listing) eval(v *variables) (any, error) {
	if err := v.spend(1 + partCost*uint64(len(l))); err != nil {
		return nil, err
	}
	out := make([]any, len(l))
	for i, part := range l {
		var err error
		if out[i], err = part.eval(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (m *mapping) eval(v *variables) (any, error) {
	if err := v.spend(entryCost * uint64(2+len(m.parts))); err != nil {
		return nil, err
	}
	out := make(map[string]any, len(m.parts))
	for i, part := range m.parts {
		value, err := part.eval(v)
		if err != nil {
			return nil, err
		}
		out[m.names[i]] = value
	}
	return out, nil
}

func (j *junction) eval(v *variables) (any, error) {
	if err := v.spend(1); err != nil {
		return nil, err
	}
	var failed error
	for _, arg := range j.args {
		value, err := arg.eval(v)
		if v.ended != nil {
			return nil, v.ended
		}
		switch is, ok := value.(bool); {
		case failed != nil && (err != nil || !ok):
		case err != nil:
			failed = err
		case !ok:
			failed = j.wrong
		case is == j.until:
			return is, nil
		}
	}
	if failed != nil {
		return nil, failed
	}
	return !j.until, nil
}

func (c *choice) eval(v *variables) (any, error) {
	when, err := c.when.eval(v)
	if err == nil {
		err = v.spend(1)
	}
	if err != nil {
		return nil, err
	}
	switch when {
	case true:
		return c.then.eval(v)
	case false:
		return c.otherwise.eval(v)
	}
	return nil, c.wrong
}

func (u *unary) eval(v *variables) (any, error) {
	of, err := u.of.eval(v)
	if err == nil {
		err = v.spend(1)
	}
	if err != nil {
		return nil, err
	}
	out, err := u.f(v, of)
	if err == errKind {
		err = u.wrong
	}
	return out, err
}

func (b *binary) eval(v *variables) (any, error) {
	one, err := b.a.eval(v)
	if err != nil {
		return nil, err
	}
	other, err := b.b.eval(v)
	if err == nil {
		err = v.spend(1)
	}
	if err != nil {
		return nil, err
	}
	out, err := b.f(v, one, other)
	if err == errKind {
		err = b.wrong
	}
	return out, err
}

func (m *matching) eval(v *variables) (any, error) {
	of, err := m.of.eval(v)
	if err != nil {
		return nil, err
	}
	text, ok := of.(string)
	if err := v.spend(1 + (1+uint64(len(text)))*m.steps/stepsAUnit); err != nil {
		return nil, err
	}
	if !ok {
		return nil, m.wrong
	}
	return m.pattern.MatchString(text), nil
}

// eval goes through a list or the keys of a map, which are put in order, so that a rule says the same each time.
func (l *loop) eval(v *variables) (any, error) {
	over, err := l.over.eval(v)
	if err == nil {
		err = v.spend(1)
	}
	if err != nil {
		return nil, err
	}
	switch over := over.(type) {
	case []any:
		r := running{loop: l, v: v}
		for _, of := range over {
			if r.turn(of) {
				break
			}
		}
		return r.result()
	case map[string]any:
		if err := v.spend(uint64(len(over)) * uint64(1+bits.Len(uint(len(over)))/2)); err != nil {
			return nil, err
		}
		names := make([]string, 0, len(over))
		for name := range over {
			names = append(names, name)
		}
		slices.Sort(names)
		r := running{loop: l, v: v}
		for _, name := range names {
			if r.turn(name) {
				break
			}
		}
		return r.result()
	}
	return nil, l.wrong
}

// running is a loop that is gone through.
type running struct {
	*loop
	v        *variables
	gathered []any
	passed   int
	decided  bool  // all or exists: one decides
	failed   error // the first part that can't be evaluated, which doesn't matter to all and exists where another decides
}

// turn makes one turn, and tells whether it is the last.
func (r *running) turn(of any) bool {
	if r.failed = firstError(r.failed, r.v.spend(1)); r.v.ended != nil {
		return true
	}
	r.v.turns[r.slot] = of
	passes := true
	if r.test != nil {
		value, err := r.test.eval(r.v)
		is, ok := value.(bool)
		if err == nil && !ok {
			err = r.undecided
		}
		if err != nil {
			r.failed = firstError(r.failed, err)
			return r.v.ended != nil || r.kind == existsOne || r.kind == gather
		}
		passes = is
	}
	switch r.kind {
	case all, exists:
		r.decided = passes == (r.kind == exists)
		return r.decided
	case existsOne:
		if passes {
			r.passed++
		}
	case gather:
		if passes {
			r.failed = r.gather()
		}
	}
	return r.failed != nil && r.kind != all && r.kind != exists
}

func (r *running) gather() error {
	value, err := r.element.eval(r.v)
	if err == nil {
		err = r.v.spend(partCost)
	}
	if err == nil {
		r.gathered = append(r.gathered, value)
	}
	return err
}

func (r *running) result() (any, error) {
	switch {
	case r.v.ended != nil:
		return nil, r.v.ended
	case r.decided:
		return r.kind == exists, nil
	case r.failed != nil:
		return nil, r.failed
	}
	switch r.kind {
	case existsOne:
		return r.passed == 1, nil
	case gather:
		return r.gathered, nil
	case all, exists:
	}
	return r.kind == all, nil
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
