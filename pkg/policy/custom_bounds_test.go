package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// mostGarbage bounds the bytes that rules may take, however short, while a policy judges an image: it is 64 a unit.
const mostGarbage = 64 << 20

// counted counts how often steps are done.
type counted struct {
	step
	done *uint64
}

func (c counted) eval(v *variables) (any, error) {
	*c.done++
	return c.step.eval(v)
}

// withCounters puts a counter on a step and all that it is made of.
func withCounters(s step, done *uint64) step {
	of := func(s *step) {
		if *s != nil {
			*s = withCounters(*s, done)
		}
	}
	list := func(all []step) {
		for i := range all {
			of(&all[i])
		}
	}
	switch s := s.(type) {
	case *member:
		of(&s.of)
	case *present:
		of(&s.of)
	case listing:
		list(s)
	case *mapping:
		list(s.parts)
	case *junction:
		list(s.args)
	case *choice:
		of(&s.when)
		of(&s.then)
		of(&s.otherwise)
	case *unary:
		of(&s.of)
	case *binary:
		of(&s.a)
		of(&s.b)
	case *matching:
		of(&s.of)
	case *loop:
		of(&s.over)
		of(&s.test)
		of(&s.element)
	}
	return counted{s, done}
}

// large makes a predicate of nearly predicate.MaxWhole, whose bulk is somewhere that rules look at.
func large(t *testing.T, r *rand.Rand) *variables {
	t.Helper()
	parts := map[string]string{"n": "3", "f": "2.5", "s": `"high"`, "yes": "true", "at": `"2026-03-01T09:30:00Z"`, "l": `["a", 1]`, "m": `{"a": 1}`,
		"items": `[{"id": "CVE-1", "n": 1, "tags": ["a"]}]`, "nested": `[[1, 2], {"a": [1]}]`}
	bulk := func(one func(i int) string) string {
		var b strings.Builder
		for i := 0; b.Len() < predicate.MaxWhole-2048; i++ {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(one(i))
		}
		return b.String()
	}
	switch r.IntN(7) {
	case 0:
		parts["l"] = "[" + bulk(func(int) string { return "1" }) + "]"
	case 1:
		parts["items"] = "[" + bulk(func(i int) string { return fmt.Sprintf(`{"id": "CVE-%d", "n": %d.5, "tags": ["a"]}`, i, i) }) + "]"
	case 2:
		parts["s"] = `"` + strings.Repeat("abcdefgh", predicate.MaxWhole/8-256) + `"`
	case 3:
		parts["m"] = "{" + bulk(func(i int) string { return fmt.Sprintf(`"%d": %d`, i, i) }) + "}"
	case 4:
		parts["nested"] = "[" + bulk(func(int) string { return "[]" }) + "]"
	case 5:
		parts["nested"] = "[" + strings.Repeat("[", 90) + bulk(func(int) string { return "[1]" }) + strings.Repeat("]", 90) + "]"
	case 6:
		parts["l"] = "[" + bulk(func(int) string { return `"abcdefghijklmnop"` }) + "]"
	}
	var all []string
	for name, value := range parts {
		all = append(all, fmt.Sprintf("%q: %s", name, value))
	}
	return stated(t, "{"+strings.Join(all, ",")+"}")
}

// Security.md row 86: whatever rules are made of, and whatever the statement has: what was charged bounds the steps that were done and the memory that
// they took. It isn't parallel, since it counts what is allocated.
func TestRow86_WhatIsChargedBoundsStepsAndMemory(t *testing.T) {
	c := compiler(t)
	evaluated, ended := 0, 0
	var worst float64
	for seed := range uint64(30) {
		p := &phrases{Rand: rand.New(rand.NewPCG(seed, 1986))}
		on := large(t, p.Rand)
		shared := &allowance{}
		var all []*rule
		for len(all) < 30 {
			expression := p.truth(5)
			if r, err := c.compile(Rule{CEL: expression, Message: "m"}); err == nil {
				all = append(all, r)
			}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, r := range all {
			of := on.c
			of.rules = shared
			vars := newVariables(of, on.p)
			_, _ = r.holds(vars)
			evaluated++
			if vars.ended != nil {
				ended++
			}
		}
		runtime.ReadMemStats(&after)
		taken, spent := after.TotalAlloc-before.TotalAlloc, shared.spent
		if most := 64*min(spent, maxRulesCost) + 1<<20; taken > most || taken > mostGarbage+1<<20 {
			t.Errorf("seed %d: %d bytes for %d units, want at most %d", seed, taken, spent, most)
		}
		worst = max(worst, float64(taken)/float64(spent+16384))
		var done uint64
		vars := newVariables(on.c, on.p)
		for _, r := range all {
			r.program = withCounters(r.program, &done)
			_, _ = r.holds(vars)
		}
		if done > 4*(vars.spent+uint64(len(all))) {
			t.Errorf("seed %d: %d steps for %d units", seed, done, vars.spent)
		}
	}
	if evaluated < 900 || ended < 8 {
		t.Errorf("%d rules were evaluated, %d were ended: too few to tell", evaluated, ended)
	}
	t.Logf("%d rules, %d ended; at most %.1f bytes a unit", evaluated, ended, worst)
}

// What took seconds or a gigabyte within its cost, each with what becomes of it now: refused at admission, or charged for what it does.
func TestRow86_WhatOnceTookSecondsIsRefusedOrCharged(t *testing.T) {
	c := compiler(t)
	ones := "[" + strings.Repeat("1,", 100_000) + "1]"
	parts := strings.Repeat("1,", 1300)
	for name, tt := range map[string]struct {
		rule string
		at   string // what the admission says, or else
		what string // what comes of it: true, or an error
	}{
		"long lists in a loop":           {rule: `size(predicate.map(x, [x,` + parts + `1])) > 0`, at: "at most 16 unless all are written out"},
		"long lists in lists":            {rule: `size(predicate.map(x, [[x,` + parts + `1]])) > 0`, at: "at most 16 unless all are written out"},
		"a long list indexed":            {rule: `size(predicate.filter(x, [x,` + parts + `1][0] == 1)) > 0`, at: "at most 16 unless all are written out"},
		"lists added many times":         {rule: `[predicate].exists(p, 2 in ` + sum("p", 900) + `)`, what: "+ doesn't go with this kind of value"},
		"what is sought in lists added":  {rule: `2 in (predicate` + strings.Repeat("+predicate", 40) + `)`, what: "+ doesn't go with this kind of value"},
		"a time zone in a loop":          {rule: `predicate.all(x, timestamp("2026-01-01T00:00:00Z").getHours("Europe/Berlin") >= 0)`, at: "takes no time zone"},
		"a time zone that there isn't":   {rule: `predicate.all(x, verifiedTime.getHours(predicate[0]) >= 0 || true)`, at: "takes no time zone"},
		"a list with one that is short":  {rule: `predicate.exists(x, predicate == [1]) || predicate[0] == 1`, what: "costs too much"},
		"a list with itself":             {rule: `predicate.all(x, predicate == predicate)`, what: "costs too much"},
		"a list sought in another":       {rule: `predicate.all(x, predicate in [predicate, predicate])`, what: "costs too much"},
		"a list held in each turn":       {rule: `size(predicate.map(x, predicate.map(y, y))) > 0`, at: "can't be gone through"},
		"a list made in each turn":       {rule: `predicate.all(x, size(predicate.map(y, y)) > 0)`, what: "costs too much"},
		"texts that are long":            {rule: `predicate.map(x, "` + strings.Repeat("a", 3000) + `" + string(x)).all(x, size(x) > 0)`, what: "costs too much"},
		"many texts that can't be times": {rule: `predicate.all(x, timestamp("` + strings.Repeat("2", 3000) + `" + string(x)) > verifiedTime || true)`, what: "costs too much"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := c.compile(Rule{CEL: tt.rule})
			if tt.at != "" {
				if err == nil || !strings.Contains(err.Error(), tt.at) {
					t.Errorf("%v, want an error with %q", err, tt.at)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			on := stated(t, ones)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err = r.holds(on)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), tt.what) {
				t.Errorf("%v, want an error with %q", err, tt.what)
			}
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 64*maxCost+1<<20 {
				t.Errorf("it took %d bytes", taken)
			}
			if on.spent > maxCost+predicate.MaxWhole/bytesAUnit {
				t.Errorf("it cost %d units", on.spent)
			}
		})
	}
}

// sum adds a name to itself so many times, nested as little as can be.
func sum(name string, n int) string {
	if n == 1 {
		return name
	}
	return "(" + sum(name, n/2) + "+" + sum(name, n-n/2) + ")"
}

// No step goes on where nobody waits: those that go through large values look, too.
func TestRow86_LongStepsAreInterrupted(t *testing.T) {
	t.Parallel()
	long, keys := make([]any, 100_000), map[string]any{}
	for i := range long {
		long[i] = int64(1)
		keys[fmt.Sprint(i)] = int64(1)
	}
	for name, does := range map[string]func(v *variables) error{
		"lists compared": func(v *variables) error { _, err := v.equal(long, append([]any{}, long...)); return err },
		"maps compared":  func(v *variables) error { _, err := v.equal(keys, keys); return err },
		"a list sought":  func(v *variables) error { _, err := in(v, int64(2), long); return err },
		"a list looped": func(v *variables) error {
			v.turns = make([]any, 1)
			_, err := (&loop{over: constant{long}, test: constant{true}}).eval(v)
			return err
		},
	} {
		on := stated(t, "{}")
		gone := make(chan struct{})
		close(gone)
		on.c.Image.Done = gone
		if err := does(on); !errors.Is(err, errInterrupted) || on.spent > 2*checkEvery {
			t.Errorf("%s: %v after %d units", name, err, on.spent)
		}
	}
}

// What a statement holds isn't told to whoever deploys: errors say which rule, where in it and what kind of thing is wrong.
func TestRow86_ErrorsTellNoValues(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	for rule, want := range map[string]string{
		`{"a": true}[predicate.finding]`:                                   "no such key",
		`predicate[predicate.finding]`:                                     "no such key",
		`predicate.list[predicate.many] == 1`:                              "no such index",
		`timestamp(predicate.finding) > timestamp("2026-01-01T00:00:00Z")`: "a text is no time of RFC 3339",
		`duration(predicate.finding) > duration("1s")`:                     "a text is no length of time",
		`int(predicate.finding) > 1`:                                       "a text is no number",
		`double(predicate.finding) > 1.0`:                                  "a text is no number",
		`predicate.finding > 1`:                                            "line 1, column 19: > doesn't go with this kind of value",
		`predicate.finding + 1 == 2`:                                       "+ doesn't go with this kind of value",
		`predicate.finding.all(x, x)`:                                      "what is gone through is neither a list nor a map",
		`predicate.finding`:                                                "it is neither true nor false",
		`predicate.list.all(x, x)`:                                         "what is asked of each is neither true nor false",
		`predicate.finding ? true : false`:                                 "doesn't go with this kind of value",
		`predicate.finding.field == 1`:                                     "no such key: field",
		`predicate.many + 9223372036854775807 > 0`:                         "out of range",
		`predicate.many / (predicate.many - predicate.many) == 1`:          "division by zero",
		`predicate.list.exists(x, x.startsWith(predicate.many))`:           "startsWith doesn't go with",
		`predicate.list.matches("a")`:                                      "matches doesn't go with",
		`has(predicate.list.finding)`:                                      "a list has no fields",
		`size(predicate.many) == 1`:                                        "size doesn't go with",
		`0.0 / 0.0 < 1.0 || predicate.nothing`:                             "can't be put in order",
	} {
		r, err := c.compile(Rule{CEL: rule})
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			continue
		}
		ok, err := r.holds(stated(t, `{"finding": "internal-host\u001b[31m: CVE-2026-1", "many": 4711, "list": ["internal-host"]}`))
		switch {
		case err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v, %v, want an error with %q", rule, ok, err, want)
		case strings.Contains(err.Error(), "internal-host") || strings.Contains(err.Error(), "4711"):
			t.Errorf("%s: it tells a value: %v", rule, err)
		}
	}
}
