package policy

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/cel-go/common/types"
)

// phrases makes expressions of what rules have. It is made of a seed, so that what fails can be looked at again.
type phrases struct {
	*rand.Rand
	vars []string // of the loops around
}

func (p *phrases) pick(all ...string) string { return all[p.IntN(len(all))] }

// scalar, list and truth are expressions that are meant to be of the kind; what the predicate has may be of another.
func (p *phrases) scalar(deep int) string {
	if deep <= 0 || p.IntN(4) == 0 {
		return p.pick("1", "-3", "2.5", `"a"`, `"high"`, `""`, "true", "null", "predicate.n", "predicate.f", "predicate.s", "predicate.missing", "predicate.at",
			"request.namespace", "image.tag", "subject.digest.sha256", "9223372036854775807", `timestamp("2026-01-01T00:00:00Z")`, `duration("36h")`, p.variable())
	}
	deep--
	s, l := func() string { return p.scalar(deep) }, func() string { return p.list(deep) }
	switch p.IntN(16) {
	case 0:
		return "size(" + p.pick(s(), l()) + ")"
	case 1:
		return "(dyn(" + s() + ") " + p.pick("+", "-", "*", "/", "%") + " dyn(" + s() + "))"
	case 2:
		return "string(dyn(" + s() + "))"
	case 3:
		return "int(dyn(" + s() + "))"
	case 4:
		return "double(dyn(" + s() + "))"
	case 5:
		return "timestamp(dyn(" + s() + "))"
	case 6:
		return "duration(dyn(" + s() + "))"
	case 7:
		return "dyn(" + l() + ")[" + p.pick("0", "1", "5", `"a"`, `"id"`) + "]"
	case 8:
		return "(" + p.truth(deep) + " ? dyn(" + s() + ") : dyn(" + s() + "))"
	case 9:
		return "dyn(" + s() + ")." + p.pick("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds") + "()"
	case 10:
		return "-dyn(" + s() + ")"
	case 11:
		return "dyn(" + p.variable() + ")." + p.pick("id", "n", "tags", "a")
	}
	return s()
}

func (p *phrases) variable() string {
	if len(p.vars) == 0 {
		return "predicate.n"
	}
	return p.vars[p.IntN(len(p.vars))]
}

func (p *phrases) list(deep int) string {
	if deep <= 0 || p.IntN(3) == 0 {
		return p.pick("predicate.l", "predicate.items", "predicate.m", "predicate.s", "predicate", `["a", "b"]`, "[1, 2.0, 3]", `{"a": 1}`, "predicate.nested", p.variable())
	}
	deep--
	switch p.IntN(5) {
	case 0:
		return "[" + p.scalar(deep) + ", dyn(" + p.scalar(deep) + ")]"
	case 1:
		return `{"a": ` + p.scalar(deep) + `, "id": dyn(` + p.scalar(deep) + ")}"
	case 2:
		return p.loop(deep, "filter", p.truth)
	case 3:
		return p.loop(deep, "map", p.scalar)
	}
	return p.list(deep)
}

func (p *phrases) loop(deep int, name string, body func(int) string) string {
	over := "dyn(" + p.list(deep) + ")"
	if name == "map" || name == "filter" { // a map's keys are in no order in CEL
		over = p.pick("predicate.l", "predicate.items", "predicate.nested", `["a", "b"]`)
		if deep > 1 && p.IntN(3) == 0 {
			over = p.loop(deep-1, "filter", p.truth)
		}
	}
	v := string(rune('x' + len(p.vars)%3))
	p.vars = append(p.vars, v)
	defer func() { p.vars = p.vars[:len(p.vars)-1] }()
	return over + "." + name + "(" + v + ", " + body(deep) + ")"
}

func (p *phrases) truth(deep int) string {
	if deep <= 0 {
		return p.pick("true", "false", "predicate.yes", "predicate.n == 3", `predicate.s == "a"`, "has(predicate.n)", "has(predicate.missing)", "has(predicate.m.a)", "has(predicate.n.a)")
	}
	deep--
	switch p.IntN(12) {
	case 0:
		return "(" + p.truth(deep) + p.pick(" && ", " || ") + p.truth(deep) + ")"
	case 1:
		return "!" + p.truth(deep)
	case 2, 3:
		return "(dyn(" + p.scalar(deep) + ") " + p.pick("==", "!=", "<", "<=", ">", ">=") + " dyn(" + p.scalar(deep) + "))"
	case 4:
		return "(dyn(" + p.list(deep) + ") " + p.pick("==", "!=") + " dyn(" + p.list(deep) + "))"
	case 5:
		return "(dyn(" + p.scalar(deep) + ") in dyn(" + p.list(deep) + "))"
	case 6:
		return "dyn(" + p.scalar(deep) + ")." + p.pick("startsWith", "endsWith", "contains") + "(dyn(" + p.scalar(deep) + "))"
	case 7:
		return "dyn(" + p.scalar(deep) + `).matches("^[a-h]+$")`
	case 8:
		return "(" + p.truth(deep) + " ? " + p.truth(deep) + " : " + p.truth(deep) + ")"
	case 9, 10:
		return p.loop(deep, p.pick("all", "exists", "exists_one"), p.truth)
	}
	return "has(dyn(" + p.list(deep) + ").a)"
}

// Rules mean what CEL's own interpreter makes of them, in thousands of expressions over every kind of value; and whatever fails, no value is told.
func TestRulesMeanWhatTheyMeanInCEL(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	text := `{"n": 3, "f": 2.5, "s": "secret", "yes": true, "at": "2026-03-01T09:30:00Z", "l": ["a", "b", 1, 1.0, null, true], "m": {"a": 1, "b": "a"},
		"items": [{"id": "secret-1", "n": 1, "tags": ["a"]}, {"id": "CVE-2", "n": 2.0, "tags": []}, {"n": null}], "nested": [[1, 2], [1.0, 2], {"a": [1]}, {"a": [1]}]}`
	told, same := 0, 0
	for seed := range uint64(1500) {
		p := &phrases{Rand: rand.New(rand.NewPCG(seed, 86))}
		expression := p.truth(4)
		r, err := c.compile(Rule{CEL: expression, Message: "m"})
		if err != nil {
			continue
		}
		ast, issues := c.env.Compile(expression)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		program, err := c.env.Program(ast)
		if err != nil {
			continue // it has a constant that is refused before it is evaluated
		}
		on := stated(t, text)
		vars := map[string]any{}
		for _, name := range []string{varPredicate, varSubject, varImage, varRequest} {
			vars[name], _ = on.given(name)
		}
		told++
		out, _, wantErr := program.Eval(vars)
		want, isBool := out.(types.Bool)
		got, err := r.holds(on)
		if bool(want) && isBool && wantErr == nil {
			same++
		}
		if (err != nil) != (wantErr != nil || !isBool) || err == nil && got != bool(want) {
			t.Errorf("seed %d: %s\nis %v, %v\nin CEL %v, %v", seed, expression, got, err, out, wantErr)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("seed %d: %s\ntells a value: %v", seed, expression, err)
		}
	}
	if told < 800 || same < 80 {
		t.Errorf("%d expressions were evaluated, %d of them true: too few to tell", told, same)
	}
}
