package policy

import (
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

// What an ordinary statement is expected to hold, for the estimate of what a rule costs.
const (
	// expectedSize is of its lists, maps and texts, and belowSize of those that are within a list: a report has a hundred results of ten
	// lines rather than of a hundred.
	expectedSize, belowSize = 100, 10
	// expectedText is of what is given beside it: names and digests.
	expectedText = 256
)

// estimator tells CEL how large what is given may be, before it is.
type estimator struct{}

var _ checker.CostEstimator = estimator{}

// EstimateSize implements checker.CostEstimator. Where nil is returned CEL goes by what it knows of the expression, and where it knows nothing, by the
// worst.
func (estimator) EstimateSize(n checker.AstNode) *checker.SizeEstimate {
	path := n.Path()
	size := uint64(expectedText)
	switch {
	case len(path) == 0:
		return nil
	case path[0] == varPredicate:
		size = expectedSize
		for _, step := range path[1:] {
			if step == "@items" || step == "@values" {
				size = belowSize
			}
		}
	case path[0] == varSubject, path[0] == varSigner, path[0] == varImage, path[0] == varRequest:
	case n.Expr().Kind() == ast.IdentKind: // of a loop over what isn't given: CEL knows
		return nil
	case path[0] == "@items" || path[0] == "@values" || path[0] == "@keys": // a part of one
		size = belowSize
	default:
		return nil
	}
	return &checker.SizeEstimate{Min: 0, Max: size}
}

// EstimateCallCost implements checker.CostEstimator: CEL knows.
func (estimator) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// bytesAUnit is how many bytes of text are gone through in one unit of cost.
const bytesAUnit = 16

// stepsAUnit is how many steps of a regular expression's program are made in one unit of cost.
const stepsAUnit = 8

// callCost is what a call did cost.
func callCost(function string, args []interpreter.InterpretableV2, result ref.Val, vars *variables) uint64 {
	cost := uint64(1)
	switch {
	case len(args) == 2 && (function == operators.Equals || function == operators.NotEquals):
		a, b := vars.valueOf(args[0]), vars.valueOf(args[1])
		if hasParts(a) && hasParts(b) {
			return cost + min(weight(a), weight(b))
		}
		return cost + min(textLength(a), textLength(b))/bytesAUnit
	case len(args) == 2 && (function == operators.In || function == operators.OldIn):
		in := vars.valueOf(args[1])
		if _, ok := in.(traits.Mapper); ok {
			return cost + weight(vars.valueOf(args[0]))
		}
		return cost + weight(in)
	}
	for _, a := range args {
		cost += textLength(vars.valueOf(a)) / bytesAUnit
	}
	return cost + textLength(result)/bytesAUnit
}

func hasParts(v ref.Val) bool {
	switch v.(type) {
	case traits.Mapper, traits.Lister:
		return true
	}
	return false
}

// weight is what it costs to go through all of a value.
func weight(v ref.Val) uint64 {
	n := 1 + textLength(v)/bytesAUnit
	switch v := v.(type) {
	case traits.Mapper:
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			n += weight(key)
			if value, ok := v.Find(key); ok {
				n += weight(value)
			}
		}
	case traits.Lister:
		for it := v.Iterator(); it.HasNext() == types.True; {
			n += weight(it.Next())
		}
	}
	return n
}

func textLength(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v))
	case types.Bytes:
		return uint64(len(v))
	}
	return 0
}
