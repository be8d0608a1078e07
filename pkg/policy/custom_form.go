package policy

import (
	"fmt"
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

// CEL bounds neither what an expression may build nor what a single step costs: [x, x] gone through again and again, or x + x of lists, is a value of
// 2^n parts after n steps that cost a few units each, and comparing two such values takes for ever in one step that nothing interrupts. So of values
// only some may be gone through, put into lists and compared. What is left costs no more than the size of the statement times the loops in it, and
// every loop is metered.

// form is what is known of a value that an expression stands for.
type form uint8

// The forms, each including those before it.
const (
	// scalar: a number, a text, a time, a truth value, a type.
	scalar form = iota
	// part: a part of what is given, or a constant that is written out. It is a tree, and no larger than what is given.
	part
	// listing: a list of parts, which may be the same one many times.
	listing
	// built: anything else.
	built
)

// former finds out the form of an expression, and refuses expressions that could grow without bound.
type former struct {
	ast      *ast.AST
	loops    map[string]int // variables of the loops around, by how many of them have the name
	gathered []form         // what the loops around gather
}

// checkForm refuses what Check says.
func checkForm(checked *cel.Ast) error {
	f := former{ast: checked.NativeRep(), loops: map[string]int{}}
	_, err := f.of(f.ast.Expr())
	return err
}

// refuse says what is wrong with a part of the expression, and where.
func (f *former) refuse(e ast.Expr, format string, args ...any) error {
	at := f.ast.SourceInfo().GetStartLocation(e.ID())
	return positioned(at.Line(), at.Column(), fmt.Sprintf(format, args...))
}

// of is the form of an expression.
func (f *former) of(e ast.Expr) (form, error) {
	switch e.Kind() {
	case ast.LiteralKind:
		return scalar, nil
	case ast.IdentKind:
		return f.ident(e.AsIdent()), nil
	case ast.SelectKind:
		return f.field(e)
	case ast.CallKind:
		return f.call(e)
	case ast.ListKind:
		return f.list(e.AsList().Elements())
	case ast.MapKind:
		var all []ast.Expr
		for _, entry := range e.AsMap().Entries() {
			all = append(all, entry.AsMapEntry().Key(), entry.AsMapEntry().Value())
		}
		return f.list(all)
	case ast.ComprehensionKind:
		return f.loop(e)
	case ast.StructKind, ast.UnspecifiedExprKind:
	}
	return built, f.refuse(e, "messages of protocol buffers mean nothing here")
}

func (f *former) ident(name string) form {
	if name == parser.HiddenAccumulatorName || name == parser.AccumulatorName {
		if n := len(f.gathered); n > 0 {
			return f.gathered[n-1]
		}
		return built
	}
	return part
}

// field is the form of what a name selects.
func (f *former) field(e ast.Expr) (form, error) {
	s := e.AsSelect()
	inside, err := f.of(s.Operand())
	if err != nil {
		return built, err
	}
	if s.Operand().Kind() == ast.IdentKind {
		name := s.Operand().AsIdent()
		if fields, ok := fieldsOfVariables()[name]; ok && f.loops[name] == 0 && !slices.Contains(fields, s.FieldName()) {
			return built, f.refuse(e, "%s has no field %.64s, but %s", name, s.FieldName(), strings.Join(fields, ", "))
		}
	}
	switch {
	case s.IsTestOnly():
		return scalar, nil
	case inside == built:
		return built, nil
	}
	return part, nil
}

// list is the form of a list or map that is written out.
func (f *former) list(elements []ast.Expr) (form, error) {
	out := part
	for _, e := range elements {
		inside, err := f.of(e)
		switch {
		case err != nil:
			return built, err
		case inside >= listing:
			out = built
		case !constant(e) && out == part:
			out = listing
		}
	}
	return out, nil
}

// constant tells whether an expression is written out.
func constant(e ast.Expr) bool {
	switch e.Kind() {
	case ast.LiteralKind:
		return true
	case ast.ListKind:
		return !slices.ContainsFunc(e.AsList().Elements(), func(e ast.Expr) bool { return !constant(e) })
	case ast.MapKind:
		return !slices.ContainsFunc(e.AsMap().Entries(), func(e ast.EntryExpr) bool {
			return !constant(e.AsMapEntry().Key()) || !constant(e.AsMapEntry().Value())
		})
	case ast.UnspecifiedExprKind, ast.CallKind, ast.ComprehensionKind, ast.IdentKind, ast.SelectKind, ast.StructKind:
	}
	return false
}

// call is the form of what a function or an operator returns.
func (f *former) call(e ast.Expr) (form, error) {
	call := e.AsCall()
	args := call.Args()
	if call.IsMemberFunction() {
		args = append([]ast.Expr{call.Target()}, args...)
	}
	forms := make([]form, len(args))
	for i, arg := range args {
		var err error
		if forms[i], err = f.of(arg); err != nil {
			return built, err
		}
	}
	switch call.FunctionName() {
	case operators.Equals, operators.NotEquals:
		if a, b := f.simple(args[0], forms[0]), f.simple(args[1], forms[1]); !a && !b && (forms[0] > part || forms[1] > part) {
			return built, f.refuse(e, "lists that the rule makes can't be compared: compare what they are made of")
		}
	case operators.In, operators.OldIn:
		if !f.simple(args[0], forms[0]) && forms[1] > part {
			return built, f.refuse(e, "it isn't known that what is sought in a list is a text or a number: write string(...) in ...")
		}
	case overloads.Matches:
		if err := f.pattern(args[1]); err != nil {
			return built, err
		}
	case operators.Conditional:
		return max(forms[1], forms[2]), nil
	case operators.Index, "dyn":
		if operators.Index == call.FunctionName() && forms[0] == listing {
			return part, nil
		}
		return forms[0], nil
	case operators.Add:
		if !f.isScalar(e) {
			return built, nil
		}
	}
	return scalar, nil
}

// simple tells whether a value has no parts.
func (f *former) simple(e ast.Expr, is form) bool { return is == scalar || f.isScalar(e) }

// isScalar tells whether the type of an expression is known to have no parts.
func (f *former) isScalar(e ast.Expr) bool {
	switch f.ast.GetType(e.ID()).Kind() {
	case types.BoolKind, types.BytesKind, types.DoubleKind, types.DurationKind, types.IntKind, types.NullTypeKind, types.StringKind,
		types.TimestampKind, types.TypeKind, types.UintKind:
		return true
	}
	return false
}

// pattern checks the pattern of matches, which has to be written out: what it costs hangs on it.
func (f *former) pattern(e ast.Expr) error {
	var text types.String
	if e.Kind() == ast.LiteralKind {
		text, _ = e.AsLiteral().(types.String)
	}
	if text == "" {
		return f.refuse(e, "the pattern of matches must be written out, as a text that isn't empty")
	}
	if _, err := instructions(string(text)); err != nil {
		return f.refuse(e, "%v", err)
	}
	return nil
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

// loop is the form of what a macro returns: all, exists, exists_one, map or filter.
func (f *former) loop(e ast.Expr) (form, error) {
	l := e.AsComprehension()
	over, err := f.of(l.IterRange())
	switch {
	case err != nil:
		return built, err
	case over == built:
		return built, f.refuse(l.IterRange(), "a list that the rule puts together from lists can't be gone through")
	case l.HasIterVar2():
		return built, f.refuse(e, "loops have one variable")
	}
	f.loops[l.IterVar()]++
	defer func() { f.loops[l.IterVar()]-- }()
	if l.AccuInit().Kind() != ast.ListKind {
		f.gathered = append(f.gathered, scalar)
		defer func() { f.gathered = f.gathered[:len(f.gathered)-1] }()
		for _, inside := range []ast.Expr{l.AccuInit(), l.LoopCondition(), l.LoopStep(), l.Result()} {
			if _, err := f.of(inside); err != nil {
				return built, err
			}
		}
		return scalar, nil
	}
	condition, element, ok := gathering(l)
	if !ok {
		return built, f.refuse(e, "loops are all, exists, exists_one, map and filter")
	}
	if condition != nil {
		if _, err := f.of(condition); err != nil {
			return built, err
		}
	}
	switch is, err := f.of(element); {
	case err != nil:
		return built, err
	case is > part:
		return built, nil
	case over == part && element.Kind() == ast.IdentKind && element.AsIdent() == l.IterVar():
		return part, nil // some of the parts, each once
	}
	return listing, nil
}

// gathering takes apart what map and filter are expanded to: [condition ?] gathered + [element] [: gathered].
func gathering(l ast.ComprehensionExpr) (condition, element ast.Expr, ok bool) {
	isGathered := func(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == l.AccuVar() }
	step := l.LoopStep()
	if l.AccuInit().AsList().Size() != 0 || step.Kind() != ast.CallKind || !isGathered(l.Result()) || l.LoopCondition().Kind() != ast.LiteralKind {
		return nil, nil, false
	}
	if args := step.AsCall().Args(); step.AsCall().FunctionName() == operators.Conditional {
		if len(args) != 3 || !isGathered(args[2]) || args[1].Kind() != ast.CallKind {
			return nil, nil, false
		}
		condition, step = args[0], args[1]
	}
	args := step.AsCall().Args()
	if step.AsCall().FunctionName() != operators.Add || len(args) != 2 || !isGathered(args[0]) || args[1].Kind() != ast.ListKind || args[1].AsList().Size() != 1 {
		return nil, nil, false
	}
	return condition, args[1].AsList().Elements()[0], true
}
