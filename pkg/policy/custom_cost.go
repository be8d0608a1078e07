package policy

import (
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/ast"
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

// allowance is what the rules of a policy may cost together while it judges an image. It is for one goroutine.
type allowance struct{ spent uint64 }

// checkEvery is after how many units is looked whether anybody still waits.
const checkEvery = 256

// spend charges for what is about to be done, and ends the evaluation if that is too much or nobody waits any more. Whoever gets an error of it
// must not do it.
func (v *variables) spend(cost uint64) error {
	if v.ended != nil {
		return v.ended
	}
	before := v.spent
	v.spent += cost
	v.c.rules.spent += cost
	switch {
	case v.spent > maxCost:
		v.ended = errTooCostly
	case v.c.rules.spent > maxRulesCost:
		v.ended = errAllTooMuch
	case before/checkEvery != v.spent/checkEvery && v.gone():
		v.ended = errInterrupted
	}
	return v.ended
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
