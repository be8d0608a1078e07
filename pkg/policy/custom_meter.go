package policy

import (
	"regexp"

	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
)

// CEL's own meter takes a list for as large as it is long, whatever is in it, and a regular expression for as large as it is written; and each turn of
// a loop takes it longer than the one before. So rules are metered here: every step of a program notes what came of it and adds what it did cost to the
// variables that it is evaluated on, which end the evaluation when that is too much.

// meterName is the name by which a program finds the variables that it is evaluated on. No rule can write it.
const meterName = "@meter"

// checkEvery is after how many units is looked whether anybody still waits.
const checkEvery = 256

// metered puts meters into a program while it is made, and counts its steps.
type metered struct{ steps int }

// step is one step of a program, by its number.
type step int

func (s step) number() int { return int(s) }

// note takes what came of a step.
func (s step) note(frame *interpreter.ExecutionFrame, v ref.Val, cost uint64) ref.Val {
	m, _ := frame.ResolveName(meterName)
	m.(*variables).spend(cost, int(s), v)
	return v
}

// The steps: of a name or field, of a call, of matches, and any other.
type (
	meteredAttribute struct {
		interpreter.InterpretableAttribute
		step
	}
	meteredCall struct {
		interpreter.InterpretableCall
		step
	}
	meteredMatches struct {
		interpreter.InterpretableV2
		step
		text    interpreter.InterpretableV2
		pattern *regexp.Regexp
		steps   uint64
	}
	meteredOther struct {
		interpreter.InterpretableV2
		step
	}
)

// decorate puts a meter on a step.
func (m *metered) decorate(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	if _, done := i.(interface{ number() int }); done {
		return i, nil
	}
	if list, ok := i.(interpreter.InterpretableConstructor); ok && allConstant(list.InitVals()) {
		return i, nil // it becomes a constant
	}
	if _, ok := i.(interpreter.InterpretableConst); ok {
		return i, nil
	}
	if call, ok := i.(interpreter.InterpretableCall); ok && call.Function() != overloads.Matches && allConstant(call.Args()) {
		return i, nil // likewise, or it takes no longer than it is written
	}
	n := step(m.steps)
	m.steps++
	switch i := i.(type) {
	case interpreter.InterpretableAttribute:
		return &meteredAttribute{i, n}, nil
	case interpreter.InterpretableCall:
		if i.Function() != overloads.Matches {
			return &meteredCall{i, n}, nil
		}
		written, _ := i.Args()[1].(interpreter.InterpretableConst) // as checkForm has seen to
		text, _ := written.Value().(types.String)
		pattern, err := regexp.Compile(string(text))
		if err != nil {
			return nil, err
		}
		steps, err := instructions(string(text))
		return &meteredMatches{i, n, i.Args()[0], pattern, steps}, err
	}
	return &meteredOther{i, n}, nil
}

func allConstant(all []interpreter.InterpretableV2) bool {
	for _, i := range all {
		if _, ok := i.(interpreter.InterpretableConst); !ok {
			return false
		}
	}
	return true
}

// Exec implements interpreter.InterpretableV2.
func (a *meteredAttribute) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return a.note(frame, a.InterpretableAttribute.Exec(frame), 1)
}

// Eval implements interpreter.Interpretable.
func (a *meteredAttribute) Eval(vars interpreter.Activation) ref.Val {
	return a.Exec(interpreter.AsFrame(vars))
}

// Exec implements interpreter.InterpretableV2.
func (c *meteredCall) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	v := c.InterpretableCall.Exec(frame)
	found, _ := frame.ResolveName(meterName)
	vars := found.(*variables)
	vars.spend(callCost(c.Function(), c.Args(), v, vars), int(c.step), v)
	return v
}

// Eval implements interpreter.Interpretable.
func (c *meteredCall) Eval(vars interpreter.Activation) ref.Val {
	return c.Exec(interpreter.AsFrame(vars))
}

// Exec implements interpreter.InterpretableV2.
func (m *meteredMatches) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	v := m.text.Exec(frame)
	text, ok := v.(types.String)
	if !ok {
		return m.note(frame, types.MaybeNoSuchOverloadErr(v), 1)
	}
	found, _ := frame.ResolveName(meterName)
	found.(*variables).spend(1+(1+uint64(len(text)))*m.steps/stepsAUnit, int(m.step), nil)
	return m.note(frame, types.Bool(m.pattern.MatchString(string(text))), 0)
}

// Eval implements interpreter.Interpretable.
func (m *meteredMatches) Eval(vars interpreter.Activation) ref.Val {
	return m.Exec(interpreter.AsFrame(vars))
}

// Exec implements interpreter.InterpretableV2.
func (o *meteredOther) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return o.note(frame, o.InterpretableV2.Exec(frame), 1)
}

// Eval implements interpreter.Interpretable.
func (o *meteredOther) Eval(vars interpreter.Activation) ref.Val {
	return o.Exec(interpreter.AsFrame(vars))
}

// spend notes what came of a step and what it did cost, and ends the evaluation if that is too much or nobody waits.
func (v *variables) spend(cost uint64, step int, value ref.Val) {
	v.values[step] = value
	before := v.spent
	v.spent += cost
	if v.spent > maxCost {
		panic(interpreter.EvalCancelledError{Cause: interpreter.CostLimitExceeded, Message: "it costs too much"})
	}
	if before/checkEvery != v.spent/checkEvery && v.gone() {
		panic(interpreter.EvalCancelledError{Cause: interpreter.ContextCancelled, Message: "nobody waits"})
	}
}

// gone tells whether nobody waits any more.
func (v *variables) gone() bool {
	select {
	case <-v.c.Image.Done:
		return true
	default:
		return false
	}
}

// valueOf is what came of an argument.
func (v *variables) valueOf(arg interpreter.InterpretableV2) ref.Val {
	switch arg := arg.(type) {
	case interpreter.InterpretableConst:
		return arg.Value()
	case interface{ number() int }:
		return v.values[arg.number()]
	}
	return nil
}
