package policy

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/parser"
)

// CEL's own interpreter charges for a step once it is done, and a step of it may take for ever: comparing lists, adding them, loading a time zone. So
// CEL parses and checks rules here, and what it checked is translated to steps of our own, each of which is charged for before it is done. What
// has no such step can't be written. What is left is what rules over JSON need.

// Bounds of what a rule may put together.
const (
	// maxParts bounds the parts of a list or map that are not all written out: it is made anew each time it is come to.
	maxParts = 16
	// maxNested bounds loops within loops: a report has results, which have places.
	maxNested = 3
	// maxChained bounds loops over what loops gathered: what is to be gathered can be said in one map and one filter.
	maxChained = 3
)

// translator translates a checked expression to steps, and refuses what has none.
type translator struct {
	ast   *ast.AST
	loops []string // the variables of the loops around
	slots int      // how many of them there are at most
}

// translate returns the steps of a checked expression, and how many variables its loops have.
func translate(checked *cel.Ast) (step, int, error) {
	t := translator{ast: checked.NativeRep()}
	s, err := t.of(t.ast.Expr())
	return s, t.slots, err
}

// refuse says what is wrong with a part of the expression, and where.
func (t *translator) refuse(e ast.Expr, format string, args ...any) error {
	at := t.ast.SourceInfo().GetStartLocation(e.ID())
	return positioned(at.Line(), at.Column(), fmt.Sprintf(format, args...))
}

// of translates a part of the expression.
func (t *translator) of(e ast.Expr) (step, error) {
	switch e.Kind() {
	case ast.LiteralKind:
		return t.literal(e)
	case ast.IdentKind:
		return t.name(e)
	case ast.SelectKind:
		return t.field(e)
	case ast.CallKind:
		return t.call(e)
	case ast.ListKind:
		return t.list(e)
	case ast.MapKind:
		return t.mapping(e)
	case ast.ComprehensionKind:
		return t.loop(e)
	case ast.StructKind, ast.UnspecifiedExprKind:
	}
	return nil, t.refuse(e, "messages of protocol buffers mean nothing here")
}

func (t *translator) all(list []ast.Expr) ([]step, error) {
	out := make([]step, len(list))
	for i, e := range list {
		var err error
		if out[i], err = t.of(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (t *translator) literal(e ast.Expr) (step, error) {
	switch v := e.AsLiteral().(type) {
	case types.Bool:
		return constant{bool(v)}, nil
	case types.Int:
		return constant{int64(v)}, nil
	case types.Double:
		return constant{float64(v)}, nil
	case types.String:
		return constant{string(v)}, nil
	case types.Null:
		return constant{}, nil
	}
	return nil, t.refuse(e, "JSON has neither bytes nor unsigned numbers: write a text or a number, such as 1")
}

// name translates the name of a variable: of the nearest loop that has it, or of what rules see.
func (t *translator) name(e ast.Expr) (step, error) {
	name := e.AsIdent()
	for i := len(t.loops) - 1; i >= 0; i-- {
		if t.loops[i] == name {
			return turn(i), nil
		}
	}
	switch name {
	case varPredicate, varSubject, varSigner, varVerifiedTime, varImage, varRequest:
		return given(name), nil
	}
	return nil, t.refuse(e, "%.64s means nothing here: rules see predicate, subject, signer, verifiedTime, image and request", name)
}

func (t *translator) field(e ast.Expr) (step, error) {
	s := e.AsSelect()
	of, err := t.of(s.Operand())
	if err != nil {
		return nil, err
	}
	if name, ok := of.(given); ok {
		if fields, known := fieldsOfVariables()[string(name)]; known && !slices.Contains(fields, s.FieldName()) {
			return nil, t.refuse(e, "%s has no field %.64s, but %s", name, s.FieldName(), strings.Join(fields, ", "))
		}
	}
	if s.IsTestOnly() {
		return &present{of: of, name: s.FieldName(), wrong: t.refuse(e, "has of a list: a list has no fields")}, nil
	}
	return &member{of: of, name: s.FieldName(), missing: errors.New("no such key: " + s.FieldName())}, nil
}

// list translates a list that is written out.
func (t *translator) list(e ast.Expr) (step, error) {
	parts, err := t.parts(e, e.AsList().Elements())
	if err != nil {
		return nil, err
	}
	if !allConstant(parts) {
		return listing(parts), nil
	}
	out := make([]any, len(parts))
	for i, p := range parts {
		out[i] = p.(constant).value
	}
	return constant{out}, nil
}

// mapping translates a map that is written out.
func (t *translator) mapping(e ast.Expr) (step, error) {
	var names []string
	var values []ast.Expr
	for _, entry := range e.AsMap().Entries() {
		key := entry.AsMapEntry().Key()
		name, ok := text(key)
		switch {
		case !ok:
			return nil, t.refuse(key, "keys of a map must be written out, as texts")
		case slices.Contains(names, name):
			return nil, t.refuse(key, "a key of a map is there twice")
		}
		names, values = append(names, name), append(values, entry.AsMapEntry().Value())
	}
	parts, err := t.parts(e, values)
	if err != nil {
		return nil, err
	}
	if !allConstant(parts) {
		return &mapping{names, parts}, nil
	}
	out := make(map[string]any, len(parts))
	for i, p := range parts {
		out[names[i]] = p.(constant).value
	}
	return constant{out}, nil
}

// parts translates the parts of a list or map.
func (t *translator) parts(whole ast.Expr, list []ast.Expr) ([]step, error) {
	parts, err := t.all(list)
	if err != nil || allConstant(parts) {
		return parts, err
	}
	if len(parts) > maxParts {
		return nil, t.refuse(whole, "a list or map of %d parts, at most %d unless all are written out as constants", len(parts), maxParts)
	}
	return parts, t.flat(list, parts)
}

// flat refuses lists of lists that the rule makes: what it makes holds parts of the predicate, scalars and constants.
func (t *translator) flat(list []ast.Expr, parts []step) error {
	for i, p := range parts {
		if makes(p) {
			return t.refuse(list[i], "lists that the rule puts together from lists can't be gone through: put texts or numbers into it")
		}
	}
	return nil
}

// makes tells whether a step may make a list or map.
func makes(s step) bool {
	switch s := s.(type) {
	case listing, *mapping:
		return true
	case *loop:
		return s.kind == gather
	case *choice:
		return makes(s.then) || makes(s.otherwise)
	}
	return false
}

func allConstant(parts []step) bool {
	return !slices.ContainsFunc(parts, func(s step) bool { _, ok := s.(constant); return !ok })
}

// text is a text that is written out.
func text(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// call translates what a function or an operator returns.
func (t *translator) call(e ast.Expr) (step, error) {
	call, name := e.AsCall(), e.AsCall().FunctionName()
	list := call.Args()
	if call.IsMemberFunction() {
		list = append([]ast.Expr{call.Target()}, list...)
	}
	args, err := t.all(list)
	if err != nil {
		return nil, err
	}
	spelled := spelling(name)
	wrong := t.refuse(e, "%s doesn't go with this kind of value", spelled)
	switch {
	case name == operators.LogicalAnd || name == operators.LogicalOr:
		return &junction{args: args, until: name == operators.LogicalOr, wrong: wrong}, nil
	case name == operators.Conditional && len(args) == 3:
		return &choice{args[0], args[1], args[2], wrong}, nil
	case name == "dyn" && len(args) == 1:
		return args[0], nil
	case name == overloads.Matches && len(args) == 2:
		return t.matches(list[1], args[0], wrong)
	case name == operators.Add && len(list) == 2 && (t.kind(list[0]) == types.ListKind || t.kind(list[1]) == types.ListKind):
		return nil, t.refuse(e, "lists can't be added: go through each of them")
	}
	if f := unaryFunction(name); f != nil && len(args) == 1 {
		return &unary{args[0], f, wrong}, nil
	}
	if f := binaryFunction(name); f != nil && len(args) == 2 {
		return &binary{args[0], args[1], f, wrong}, nil
	}
	if strings.HasPrefix(name, "get") && len(args) == 2 {
		return nil, t.refuse(e, "%s takes no time zone here: it tells UTC, so write %s()", spelled, spelled)
	}
	return nil, t.refuse(e, "%s isn't there for rules: they have size, startsWith, endsWith, contains, matches, string, int, double, timestamp and duration", spelled)
}

func (t *translator) kind(e ast.Expr) types.Kind { return t.ast.GetType(e.ID()).Kind() }

// spelling is how an operator is written.
func spelling(name string) string {
	if written, ok := operators.FindReverse(name); ok && written != "" {
		return written
	}
	if name == operators.Index {
		return "[]"
	}
	return name
}

// matches translates matches, whose pattern has to be written out: what it costs hangs on it.
func (t *translator) matches(e ast.Expr, of step, wrong error) (step, error) {
	pattern, _ := text(e)
	if pattern == "" {
		return nil, t.refuse(e, "the pattern of matches must be written out, as a text that isn't empty")
	}
	steps, err := instructions(pattern)
	if err != nil {
		return nil, t.refuse(e, "%v", err)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, t.refuse(e, "%v", err)
	}
	return &matching{of: of, pattern: re, steps: steps, wrong: wrong}, nil
}

// instructions are those of the program that a regular expression (RE2) is compiled to.
func instructions(pattern string) (uint64, error) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, err
	}
	program, err := syntax.Compile(re.Simplify())
	switch {
	case err != nil:
		return 0, err
	case len(program.Inst) > maxPatternSteps:
		return 0, fmt.Errorf("a pattern of %d steps, at most %d: write less repetitions", len(program.Inst), maxPatternSteps)
	}
	return uint64(len(program.Inst)), nil
}

// loop translates what the macros all, exists, exists_one, map and filter are expanded to.
func (t *translator) loop(e ast.Expr) (step, error) {
	l := e.AsComprehension()
	if len(t.loops) >= maxNested {
		return nil, t.refuse(e, "it may cost too much: loops within loops multiply, and may be %d deep", maxNested)
	}
	over, err := t.of(l.IterRange())
	if err != nil {
		return nil, err
	}
	out := &loop{over: over, slot: turn(len(t.loops)), wrong: t.refuse(l.IterRange(), "what is gone through is neither a list nor a map"),
		undecided: t.refuse(e, "what is asked of each is neither true nor false")}
	out.chained = chained(over)
	if out.chained >= maxChained {
		return nil, t.refuse(e, "it may cost too much: at most %d loops may go one over what the other gathers", maxChained)
	}
	kind, test, element, ok := unfold(l)
	if !ok || l.HasIterVar2() {
		return nil, t.refuse(e, "loops are all, exists, exists_one, map and filter, with one variable")
	}
	t.loops = append(t.loops, l.IterVar())
	defer func() { t.loops = t.loops[:len(t.loops)-1] }()
	t.slots = max(t.slots, len(t.loops))
	out.kind = kind
	if test != nil {
		if out.test, err = t.of(test); err != nil {
			return nil, err
		}
	}
	if element != nil {
		if out.element, err = t.of(element); err != nil {
			return nil, err
		}
		return out, t.flat([]ast.Expr{element}, []step{out.element})
	}
	return out, nil
}

// chained tells how many loops what a step makes comes from.
func chained(s step) int {
	switch s := s.(type) {
	case *loop:
		if s.kind == gather {
			return s.chained + 1
		}
	case *choice:
		return max(chained(s.then), chained(s.otherwise))
	}
	return 0
}

// unfold tells which macro a loop was, what it asks of each (nil: nothing), and what it gathers. CEL expands them to an accumulator and a step.
func unfold(l ast.ComprehensionExpr) (kind loopKind, test, element ast.Expr, ok bool) {
	accu := func(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == parser.HiddenAccumulatorName }
	next := l.LoopStep()
	if l.AccuVar() != parser.HiddenAccumulatorName || next.Kind() != ast.CallKind {
		return 0, nil, nil, false
	}
	name, args := next.AsCall().FunctionName(), next.AsCall().Args()
	switch init := l.AccuInit(); {
	case name == operators.LogicalAnd && len(args) == 2 && accu(args[0]) && accu(l.Result()):
		return all, args[1], nil, true
	case name == operators.LogicalOr && len(args) == 2 && accu(args[0]) && accu(l.Result()):
		return exists, args[1], nil, true
	case name == operators.Conditional && init.Kind() == ast.LiteralKind && len(args) == 3 && accu(args[2]) && l.Result().Kind() == ast.CallKind:
		return existsOne, args[0], nil, true
	case init.Kind() != ast.ListKind || init.AsList().Size() != 0 || !accu(l.Result()):
		return 0, nil, nil, false
	case name == operators.Conditional && len(args) == 3 && accu(args[2]) && args[1].Kind() == ast.CallKind:
		test, next = args[0], args[1]
	}
	name, args = next.AsCall().FunctionName(), next.AsCall().Args()
	if name != operators.Add || len(args) != 2 || !accu(args[0]) || args[1].Kind() != ast.ListKind || args[1].AsList().Size() != 1 {
		return 0, nil, nil, false
	}
	return gather, test, args[1].AsList().Elements()[0], true
}
