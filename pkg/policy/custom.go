package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// MaxRules bounds the rules over one predicate: who needs more writes a predicate that says what they come to.
const MaxRules = 32

// maxPredicateType bounds a predicate type, in bytes: those in use are of some fifty.
const maxPredicateType = 512

// Rule is a rule in CEL over a predicate.
type Rule struct {
	// CEL is the expression, which must be true. CheckRule says what may be written.
	CEL string
	// Message is shown to people where it isn't.
	Message string
}

// custom is the requirement that a statement of any type satisfies rules.
//
//	predicateType   the full URI
//	by              the authorities that count
//	rules           expressions in CEL, every one of which must be true, each with the message that is shown where it is not
//
// The newest statement of that type counts, whatever it says; none that the rules like better is looked for. What isn't true is refused: false, and
// equally what is no truth value, what can't be evaluated (a field that isn't there), and what costs too much.
//
// Rules see the verified statement, who signed it, and what is asked to run, and nothing else: no clock, no network, no other paper.
type custom struct {
	by            []verify.Authority
	questions     []verify.Question
	predicateType string
	rules         []*rule
}

// NewCustom returns the requirement that the newest statement of a predicate type by one of the authorities satisfies all the rules. An error names the
// field, the rule and the position in it.
func NewCustom(by []verify.Authority, predicateType string, rules []Rule) (Requirement, error) {
	if len(by) == 0 {
		return nil, errors.New("by: names no authority, so nobody could satisfy it")
	}
	if err := CheckPredicateType(predicateType); err != nil {
		return nil, fmt.Errorf("predicateType: %w", err)
	}
	if len(rules) == 0 || len(rules) > MaxRules {
		return nil, fmt.Errorf("rules: %d, want 1 to %d", len(rules), MaxRules)
	}
	r := custom{by: by, predicateType: predicateType}
	for _, a := range by {
		q, err := verify.WholePapers(a, predicateType)
		if err != nil {
			return nil, fmt.Errorf("predicateType: %w", err)
		}
		r.questions = append(r.questions, q)
	}
	compiler, err := NewRuleCompiler()
	if err != nil {
		return nil, err
	}
	for i, text := range rules {
		if text.Message == "" {
			return nil, fmt.Errorf("rules[%d].message: empty: say what people are to be told where the rule isn't true", i)
		}
		compiled, err := compiler.compile(text)
		if err != nil {
			return nil, fmt.Errorf("rules[%d].cel: %w", i, err)
		}
		r.rules = append(r.rules, compiled)
	}
	return r, nil
}

// absoluteURI is a URI with a scheme (RFC 3986, 4.3) and something behind it that is no mere punctuation.
var absoluteURI = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:/{0,2}[A-Za-z0-9][!-~]*$`)

// CheckPredicateType says what is wrong with the type that a custom requirement names: it must be one type, as the statement has it, which is a
// URI (in-toto Statement v1).
func CheckPredicateType(t string) error {
	switch {
	case t == "":
		return errors.New("empty: write the full URI, for instance https://acme.example/review/v1")
	case len(t) > maxPredicateType:
		return fmt.Errorf("%d bytes, at most %d", len(t), maxPredicateType)
	case strings.Contains(t, "*"):
		return errors.New("one type is wanted, without *")
	case !absoluteURI.MatchString(t):
		return fmt.Errorf("%.80q is no full URI: write it as the statement has it, for instance https://acme.example/review/v1", t)
	case t == verify.CosignSign:
		return errors.New("a signature has no predicate: require signature")
	}
	return nil
}

// Name implements Requirement.
func (r custom) Name() string { return "custom" }

// Subject implements Requirement.
func (r custom) Subject() Subject { return EachPlatform }

// Questions implements Requirement.
func (r custom) Questions() []verify.Question { return r.questions }

// String says of what, and by whom.
func (r custom) String() string { return r.predicateType + " by " + namesOf(r.by, " or ") }

// Judge implements Requirement.
func (r custom) Judge(c Case, findings []verify.Findings) Result {
	all := papers[*predicate.Whole]{requirement: r.Name(), what: "statement", none: NoStatement, by: r.by}
	got := all.judge(c, findings, func(p paper[*predicate.Whole]) Result { return r.content(c, p) })
	got.Detail = printable(r.predicateType) + ": " + got.Detail
	return got
}

// content evaluates the rules on one statement: all of them, so that whoever has to mend it sees all that is wrong.
func (r custom) content(c Case, p paper[*predicate.Whole]) Result {
	vars := newVariables(c, p)
	var wrong []string
	failed := false
	for i, rule := range r.rules {
		verdict, err := rule.holds(vars)
		if errors.Is(err, errInterrupted) {
			return Result{Reason: Overtime, Detail: "the rules were not evaluated in time"}
		}
		if errors.Is(err, errTooCostly) {
			failed = true
			wrong = append(wrong, fmt.Sprintf("rules 1 to %d cost too much on this statement", i+1))
			break
		}
		if errors.Is(err, errAllTooMuch) {
			failed = true
			wrong = append(wrong, "the rules of this policy cost too much together on this image, over all statements and platforms")
			break
		}
		if err != nil {
			failed = true
			wrong = append(wrong, fmt.Sprintf("rule %d (%s) can't be evaluated: %s", i+1, ruleMessage(rule.message), printable(err.Error())))
		} else if !verdict {
			wrong = append(wrong, ruleMessage(rule.message))
		}
	}
	switch {
	case len(wrong) == 0:
		return Result{Outcome: Satisfied, Reason: Verified, Detail: fmt.Sprintf("%s true, in the statement by %s", holdTrue(len(r.rules)), p.by)}
	case failed:
		return Result{Outcome: Violated, Reason: RuleFailed, Detail: fewOf(wrong)}
	}
	return Result{Outcome: Violated, Reason: RuleViolated, Detail: fewOf(wrong)}
}

// ruleMessage is a rule's message for people: one line of ASCII.
func ruleMessage(text string) string { return printableName(text) }

// fewOf joins what is wrong, the first few.
func fewOf(wrong []string) string {
	const most = 3
	if more := len(wrong) - most; more > 0 {
		return strings.Join(wrong[:most], "; ") + fmt.Sprintf("; and %d more", more)
	}
	return strings.Join(wrong, "; ")
}

func holdTrue(n int) string {
	if n == 1 {
		return "1 rule is"
	}
	return fmt.Sprintf("%d rules are", n)
}
