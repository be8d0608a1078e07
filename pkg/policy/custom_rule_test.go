package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

func compiler(t testing.TB) *RuleCompiler {
	t.Helper()
	c, err := NewRuleCompiler()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// stated is a statement whose predicate is a JSON text. Nobody verified it: what is tested here is what rules make of it.
func stated(t testing.TB, text string) *variables {
	t.Helper()
	whole, err := predicate.ReadWhole([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	ref, err := ParseReference("registry.example/payments/api:1.4.2")
	if err != nil {
		t.Fatal(err)
	}
	h := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ab", 32)}
	c := Case{Digest: h, Image: Image{Reference: ref, Digest: h, Namespace: "payments"}}
	return newVariables(c, paper[*predicate.Whole]{facts: whole, by: "ci"})
}

func TestWhatRulesSee(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	vars := `{"approved": true, "score": 7.5, "count": 3, "tags": ["a", "b"], "note": null,
		"items": [{"id": "CVE-1", "tags": ["x"]}, {"id": "CVE-2", "tags": []}], "at": "2026-03-01T09:30:00Z"}`
	for _, tt := range []struct {
		rule string
		want string // true, false, or what the error has
	}{
		{`predicate.approved`, "true"},
		{`predicate.approved == true`, "true"},
		{`!predicate.approved`, "false"},
		{`predicate.score >= 7`, "true"},
		{`predicate.score > 8`, "false"},
		{`predicate.count == 3 && predicate.count < 3.5`, "true"},
		{`predicate.note == null`, "true"},
		{`"a" in predicate.tags`, "true"},
		{`predicate.tags == ["a", "b"]`, "true"},
		{`predicate.tags[0] == "a" && size(predicate.tags) == 2`, "true"},
		{`has(predicate.missing)`, "false"},
		{`predicate.missing == 1`, "no such key: missing"},
		{`predicate.score`, "neither true nor false"},
		{`predicate.items.all(i, i.id.startsWith("CVE-"))`, "true"},
		{`predicate.items.exists(i, i.tags.exists(t, t == "x"))`, "true"},
		{`predicate.items.exists_one(i, i.id == "CVE-2")`, "true"},
		{`predicate.items.filter(i, size(i.tags) == 0).all(i, i.id == "CVE-2")`, "true"},
		{`"CVE-1" in predicate.items.map(i, i.id)`, "true"},
		{`predicate.items.map(i, string(i.id)).exists(id, id == "CVE-2")`, "true"},
		{`predicate.items[0].id.matches("^CVE-[0-9]+$")`, "true"},
		{`timestamp(predicate.at) > timestamp("2026-01-01T00:00:00Z")`, "true"},
		{`subject.digest.sha256.startsWith("abab") && image.digest == "sha256:" + subject.digest.sha256`, "true"},
		{`image.registry == "registry.example" && image.repository == "payments/api" && image.tag == "1.4.2"`, "true"},
		{`image.reference == "registry.example/payments/api:1.4.2" && request.namespace == "payments"`, "true"},
		{`signer.name == "ci" && signer.issuer == ""`, "true"},
		{`verifiedTime > timestamp("2026-01-01T00:00:00Z")`, "verifiedTime isn't known"},
		{`predicate.approved || verifiedTime > timestamp("2026-01-01T00:00:00Z")`, "true"},
		{`predicate.count / 0 == 1`, "divi"},
		{`[predicate.count, 4].all(n, n > 2)`, "true"},
		{`{"a": predicate.count}["a"] == 3`, "true"},
		{`predicate.count + 1 == 4`, "true"},
		{`(predicate.approved ? predicate.tags : predicate.items).size() == 2`, "true"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			r, err := c.compile(Rule{CEL: tt.rule, Message: "m"})
			if err != nil {
				t.Fatal(err)
			}
			on := stated(t, vars)
			got, err := r.holds(on)
			switch {
			case err != nil && !strings.Contains(err.Error(), tt.want):
				t.Errorf("error %q, want one with %q", err, tt.want)
			case err == nil && map[bool]string{true: "true", false: "false"}[got] != tt.want:
				t.Errorf("%v, want %s", got, tt.want)
			case on.spent == 0 && strings.Contains(tt.rule, "=="):
				t.Error("it cost nothing")
			}
		})
	}
}

func TestRulesAreRefusedWhenThePolicyIsAdmitted(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	for name, tt := range map[string]struct{ rule, want string }{
		"nothing":                          {" ", "empty"},
		"broken syntax, with its place":    {"predicate.a ==", "line 1, column 15"},
		"an unknown variable":              {"now > verifiedTime", "line 1, column 1: undeclared reference to 'now'"},
		"an unknown function":              {"http.get(predicate.url)", "undeclared reference"},
		"a clock":                          {"predicate.at < timestamp.now()", "undeclared reference"},
		"a number":                         {"1 + 1", "of type int"},
		"a text":                           {"request.namespace", "of type string"},
		"a typo in a field of ours":        {`signer.isuer == "x"`, "signer has no field isuer"},
		"a typo on the second line":        {"predicate.a &&\n  image.repo == \"x\"", "line 2, column 8: image has no field repo"},
		"a pattern that isn't written out": {"predicate.a.matches(predicate.b)", "must be written out"},
		"a broken pattern":                 {`predicate.a.matches("(")`, "missing closing"},
		"a pattern of too many steps":      {`predicate.a.matches("(a{100}){10}")`, "at most 512"},
		"a message of protocol buffers":    {`google.protobuf.Struct{} == predicate`, "protocol buffers"},
		"what a loop gathers":              {`predicate.a.exists(x, __result__ == x)`, "undeclared reference"},
		"a wrong time":                     {`verifiedTime > timestamp("yesterday")`, "timestamp"},
		"too long":                         {"true" + strings.Repeat(" ", MaxExpression), "at most 4096"},
		"too deep":                         {strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100), "recursion"},
		"a list of lists gone through":     {"predicate.a.map(x, [x, x]).all(y, true)", "can't be gone through"},
		"lists that are added":             {"size([1] + predicate.a) > 1", "lists can't be added: go through each"},
		"a key that isn't written out":     {"{predicate.a: 1}.b == 1", "keys of a map must be written out"},
		"a key that is there twice":        {`{"a": 1, "a": 2}.a == 1`, "twice"},
		"bytes":                            {`b"a" == b"a"`, "neither bytes nor unsigned"},
		"what makes bytes":                 {`bytes(predicate.a).size() > 1`, "bytes isn't there for rules"},
		"an unsigned number":               {`predicate.a == 1u`, "neither bytes nor unsigned"},
		"a type":                           {`type(predicate.a) == string`, "for rules"},
		"a time zone":                      {`verifiedTime.getHours("Europe/Berlin") > 8`, "takes no time zone here: it tells UTC, so write getHours()"},
		"a list of too many parts":         {"[predicate.a" + strings.Repeat(", 1", maxParts) + "].exists(x, x == 2)", "a list or map of 17 parts, at most 16"},
		"loops nested too deep":            {"predicate.all(a, a.all(b, b.all(c, c.all(d, d))))", "3 deep"},
		"loops chained behind a condition": {"(false ? [] : (true ? predicate.map(a, a).map(a, a) : []).map(a, a)).all(a, a)", "one over what the other gathers"},
		"loops chained too long":           {"predicate.map(a, a).map(a, a).map(a, a).map(a, a).all(a, a)", "one over what the other gathers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := c.Check(tt.rule); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want an error with %q", err, tt.want)
			}
		})
	}
}

// Security.md row 86: an expression that grows exponentially is refused before it is ever evaluated.
func TestRow86_ExpressionsThatGrowAreRefusedAtAdmission(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	digits := "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
	nested := func(over func(int) string, n int) string {
		text := "true"
		for i := n; i > 0; i-- {
			v := string(rune('a' + i))
			text = over(i) + ".all(" + v + ", " + text + ")"
		}
		return text
	}
	for name, rule := range map[string]string{
		"loops within loops over constants":         nested(func(int) string { return digits }, 7),
		"loops within loops over the predicate":     nested(func(int) string { return "predicate.a" }, 4),
		"texts added to themselves":                 `["a"]` + strings.Repeat(".map(x, x + x)", 40) + `.exists(x, x == "b")`,
		"texts of the predicate added to itself":    `predicate.a` + strings.Repeat(".map(x, string(x) + string(x))", 40) + `.exists(x, x == "b")`,
		"lists added to themselves":                 `[[1]]` + strings.Repeat(".map(x, x + x)", 40) + `.exists(x, x == x)`,
		"parts of the predicate added":              `[predicate.a]` + strings.Repeat(".map(x, x + x)", 40) + `.exists(x, true)`,
		"lists put into lists":                      `[1]` + strings.Repeat(".map(x, [x, x])", 40) + `.exists(x, x == x)`,
		"maps put into maps":                        `[predicate]` + strings.Repeat(`.map(x, {"a": x, "b": x})`, 40) + `.exists(x, x == x)`,
		"lists of the same loop put into lists":     `predicate.a` + strings.Repeat(".map(x, predicate.a.map(y, x))", 10) + `.exists(x, x == x)`,
		"lists behind a condition":                  `[[1]]` + strings.Repeat(".map(x, true ? x + x : x)", 40) + `.exists(x, x == x)`,
		"lists behind an index":                     `[[1]]` + strings.Repeat(".map(x, [x + x][0])", 40) + `.exists(x, x == x)`,
		"lists behind a field":                      `[[1]]` + strings.Repeat(`.map(x, {"a": x + x}.a)`, 40) + `.exists(x, x == x)`,
		"lists behind dyn":                          `[dyn([1])]` + strings.Repeat(`.map(x, dyn(x + x))`, 40) + `.exists(x, x == x)`,
		"lists that are long put into lists":        `size(predicate.map(x, [x` + strings.Repeat(", 1", 1300) + `])) > 0`,
		"maps that are long put into lists":         `size(predicate.map(x, {"a": x` + manyKeys(300) + `})) > 0`,
		"a filter of what was put together":         `[[1]].map(x, [x, x]).filter(x, true).all(x, true)`,
		"patterns that take long, over all of them": `predicate.a.all(x, predicate.b.all(y, predicate.c.all(z, x.matches("a{100}b{100}"))))`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.Check(rule)
			if err == nil {
				t.Error("it was compiled")
				return
			}
			t.Log(err)
		})
	}
}

// What can't be told before it is seen is metered.
func TestRow86_WhatCostsTooMuchIsNotTrue(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	numbers := "[" + strings.Repeat("1,", 3000) + "1]"
	for name, tt := range map[string]struct{ rule, predicate string }{
		"loops within loops":          {`predicate.all(x, predicate.all(y, x == y))`, numbers},
		"large values compared":       {`predicate.a.all(x, predicate.b == predicate.c)`, `{"a":` + numbers + `,"b":` + numbers + `,"c":` + numbers + `}`},
		"large values in a made list": {`predicate.a.all(x, predicate.b in predicate.a.map(y, predicate.c))`, `{"a":[` + strings.Repeat("1,", 99) + `1],"b":[` + numbers + `],"c":[` + numbers + `]}`},
		"large values sought":         {`predicate.a.all(x, predicate.b in predicate.c)`, `{"a":` + numbers + `,"b":` + numbers + `,"c":[` + numbers + `]}`},
		"long texts measured":         {`predicate.a.all(x, size(predicate.b) > 1)`, `{"a":` + numbers + `,"b":"` + strings.Repeat("x", 200_000) + `"}`},
		"long texts matched":          {`predicate.a.all(x, predicate.b.matches("^(a|b|x)*$"))`, `{"a":` + numbers + `,"b":"` + strings.Repeat("x", 100_000) + `"}`},
		"long texts searched":         {`predicate.a.all(x, predicate.b.contains("xxxxy") == false)`, `{"a":` + numbers + `,"b":"` + strings.Repeat("x", 200_000) + `"}`},
		"long texts compared":         {`predicate.a.all(x, predicate.b == predicate.c)`, `{"a":` + numbers + `,"b":"` + strings.Repeat("x", 90_000) + `","c":"` + strings.Repeat("x", 90_000) + `"}`},
		"long texts added and added":  {`predicate.a.all(x, size(predicate.b + predicate.b) > 1)`, `{"a":` + numbers + `,"b":"` + strings.Repeat("x", 200_000) + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := c.compile(Rule{CEL: tt.rule})
			if err != nil {
				t.Fatal(err)
			}
			on := stated(t, tt.predicate)
			if ok, err := r.holds(on); !errors.Is(err, errTooCostly) {
				t.Errorf("%v, %v, cost %d: want that it costs too much", ok, err, on.spent)
			}
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `, "%d": 1`, i)
	}
	return b.String()
}

func BenchmarkRules(b *testing.B) {
	b.Run("compiler", func(b *testing.B) {
		for b.Loop() {
			compiler(b)
		}
	})
	c := compiler(b)
	worst := `[1]` + strings.Repeat(".map(x, [x, x])", 200) + `.exists(x, x == x)`
	for name, text := range map[string]string{"a field": `predicate.approved == true`, "worst": worst, "loop": `predicate.items.all(i, i.id.startsWith("CVE-"))`} {
		b.Run("compile "+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = c.Check(text)
			}
		})
	}
	items := `{"approved": true, "items": [` + strings.Repeat(`{"id": "CVE-1"},`, 19) + `{"id": "CVE-1"}]}`
	for name, text := range map[string]string{
		"a field": `predicate.approved == true`, "twenty items": `predicate.items.all(i, i.id.startsWith("CVE-"))`,
		"signer": `signer.name == "ci" && image.registry == "registry.example"`,
	} {
		b.Run("evaluate "+name, func(b *testing.B) {
			r, err := c.compile(Rule{CEL: text})
			if err != nil {
				b.Fatal(err)
			}
			vars := stated(b, items)
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := r.holds(newVariables(vars.c, vars.p)); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
	b.Run("evaluate while somebody waits", func(b *testing.B) {
		r, err := c.compile(Rule{CEL: `predicate.approved == true`})
		if err != nil {
			b.Fatal(err)
		}
		vars := stated(b, items)
		vars.c.Image.Done = make(chan struct{})
		b.ReportAllocs()
		for b.Loop() {
			if ok, err := r.holds(newVariables(vars.c, vars.p)); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("evaluate at the limit", func(b *testing.B) {
		r, err := c.compile(Rule{CEL: `predicate.all(x, x == 1)`})
		if err != nil {
			b.Fatal(err)
		}
		vars := stated(b, "["+strings.Repeat("1,", 50000)+"1]")
		for b.Loop() {
			_, _ = r.holds(newVariables(vars.c, vars.p))
		}
	})
}

// A loop that isn't metered could go on for ever: each turn costs something, whatever is in it.
func TestRow86_EveryTurnOfEveryLoopIsMetered(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	const turns = 1000
	list := "[" + strings.Repeat("1,", turns-1) + "1]"
	for _, rule := range []string{
		`predicate.all(x, true)`, `predicate.all(x, x == 1)`, `!predicate.exists(x, false)`, `!predicate.exists(x, x == 2)`, `!predicate.exists_one(x, true)`,
		`size(predicate.map(x, 1)) > 1`, `size(predicate.map(x, x)) > 1`, `size(predicate.map(x, true, 1)) > 1`, `size(predicate.filter(x, true)) > 1`,
		`predicate.all(x, true ? true : x)`, `predicate.all(x, "a".matches("a"))`, `predicate.all(x, [1, 2] == [1, 2])`,
		`predicate.all(x, has(signer.name))`, `predicate.all(x, 1 in [1, 2])`, `predicate.all(x, x in [1, 2])`, `predicate.all(x, {"a": x}.a == 1)`,
	} {
		r, err := c.compile(Rule{CEL: rule})
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			continue
		}
		on := stated(t, list)
		if ok, err := r.holds(on); !ok || err != nil {
			t.Errorf("%s: %v, %v", rule, ok, err)
		}
		if on.spent < turns {
			t.Errorf("%s: cost %d for %d turns", rule, on.spent, turns)
		}
	}
}
