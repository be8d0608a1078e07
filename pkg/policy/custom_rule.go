package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
)

// Bounds of a rule.
const (
	// MaxExpression bounds a rule, in bytes: what is longer nobody reads, and its program is held for each policy.
	MaxExpression = 4096
	// maxExpressionDepth bounds the nesting of an expression: its compiler recurses.
	maxExpressionDepth = 50
	// maxExpressionNodes bounds an expression after its macros are expanded, which copy what they are given.
	maxExpressionNodes = 4096
	// maxPatternSteps bounds the instructions of a regular expression: matching takes up to as many steps for each byte.
	maxPatternSteps = 512
	// maxCost bounds what the rules of a requirement may cost together on one statement, in units of a step, some 50 ns: a loop over the 3,000
	// findings that predicate.MaxWhole holds costs some 20,000.
	maxCost = 200_000
	// maxRulesCost bounds what all rules of a policy may cost together while it judges an image: all its requirements, of every platform and of every
	// statement that may be the newest. It is some 50 ms, and at most 64 MB that become garbage.
	maxRulesCost = 1_000_000
	// maxEstimate bounds what a rule may be expected to cost before anything is known of the statement: five times as much as it may really
	// cost, since what is expected is the worst of an ordinary statement.
	maxEstimate = 1_000_000
)

// The types of what rules see.
const (
	varPredicate    = "predicate"
	varSubject      = "subject"
	varSigner       = "signer"
	varVerifiedTime = "verifiedTime"
	varImage        = "image"
	varRequest      = "request"
)

// fieldsOfVariables are the fields of those variables that have the same ones always.
func fieldsOfVariables() map[string][]string {
	return map[string][]string{
		varSubject: {"digest"},
		varSigner:  {"name", "text", "key", "issuer", "subject"},
		varImage:   {"reference", "registry", "repository", "tag", "digest"},
		varRequest: {"namespace"}, // as in a ValidatingAdmissionPolicy; namespace alone is a word that CEL reserves
	}
}

// RuleCompiler compiles rules. It is safe for concurrent use.
type RuleCompiler struct {
	env *cel.Env
}

// NewRuleCompiler returns one. An error is a fault of this program.
func NewRuleCompiler() (*RuleCompiler, error) {
	texts := cel.MapType(cel.StringType, cel.StringType)
	env, err := cel.NewEnv(
		cel.Variable(varPredicate, cel.DynType),
		cel.Variable(varSubject, cel.MapType(cel.StringType, texts)),
		cel.Variable(varSigner, texts),
		cel.Variable(varVerifiedTime, cel.TimestampType),
		cel.Variable(varImage, texts),
		cel.Variable(varRequest, texts),
		cel.ParserExpressionSizeLimit(MaxExpression),
		cel.ParserRecursionLimit(maxExpressionDepth),
		cel.ExpressionNodeLimit(maxExpressionNodes),
		cel.CrossTypeNumericComparisons(true), // JSON has one kind of numbers: 7.5 >= 7 is true
		cel.DefaultUTCTimeZone(true),
		cel.EnableHiddenAccumulatorName(true), // no rule can name what a loop gathers
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals()),
	)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return &RuleCompiler{env: env}, nil
}

// Check says what is wrong with a rule's expression, and where. An expression must
//
//   - be CEL (https://github.com/google/cel-spec), of which there are: the operators; the macros has, all, exists, exists_one, map and filter; the
//     functions size, startsWith, endsWith, contains, matches, string, int, double, timestamp, duration and dyn; and those that tell a part of a time,
//     in UTC, such as getHours();
//   - see these variables:
//     predicate (the predicate, as it is), subject (digest, by algorithm), signer (name, that of the authority; text, for people; key, its fingerprint;
//     issuer and subject of a keyless signature, else ""), verifiedTime (a timestamp: when a log or a timestamp authority saw the signature; without
//     such a witness a rule that asks for it fails), image (reference, registry, repository, tag, digest) and request (namespace);
//   - be a truth value, as far as that can be told;
//   - put together lists and maps of at most 16 parts, none of which is such a list or map, unless all parts are constants; and not add lists;
//   - nest loops at most 3 deep, and have at most 3 that go one over what the other gathers;
//   - write out the patterns of matches;
//   - not be expected to cost more than a bound.
func (c *RuleCompiler) Check(expression string) error {
	_, err := c.compile(Rule{CEL: expression})
	return err
}

// rule is a compiled rule. It isn't changed once made, and may be evaluated by many at once.
type rule struct {
	message string
	program step
	turns   int // the variables of its loops
}

// compile compiles a rule.
func (c *RuleCompiler) compile(text Rule) (r *rule, err error) {
	defer func() { // an expression that makes its compiler fail can't be a rule
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("it makes the compiler of CEL fail: %.96v", p)
		}
	}()
	switch {
	case strings.TrimSpace(text.CEL) == "":
		return nil, errors.New("empty: write an expression in CEL, for instance predicate.approved == true")
	case len(text.CEL) > MaxExpression:
		return nil, fmt.Errorf("%d bytes, at most %d", len(text.CEL), MaxExpression)
	}
	ast, issues := c.env.Compile(text.CEL)
	if issues.Err() != nil {
		return nil, firstIssue(issues)
	}
	if t := ast.OutputType(); !t.IsExactType(types.BoolType) && !t.IsExactType(types.DynType) {
		return nil, fmt.Errorf("it is of type %s, and must be true or false", cel.FormatCELType(t))
	}
	program, turns, err := translate(ast)
	if err != nil {
		return nil, err
	}
	estimate, err := c.env.EstimateCost(ast, estimator{})
	switch {
	case err != nil:
		return nil, err
	case estimate.Max > maxEstimate:
		return nil, errors.New("it may cost too much: loops within loops multiply, as do texts that are added to themselves")
	}
	return &rule{message: text.Message, program: program, turns: turns}, nil
}

// firstIssue words what CEL says is wrong, and where.
func firstIssue(issues *cel.Issues) error {
	all := issues.Errors()
	if len(all) == 0 {
		return issues.Err()
	}
	return positioned(all[0].Location.Line(), all[0].Location.Column(), all[0].Message)
}

// positioned says where in an expression something is wrong. CEL counts columns from 0.
func positioned(line, column int, what string) error {
	if line < 1 {
		return errors.New(printableName(what))
	}
	return fmt.Errorf("line %d, column %d: %s", line, column+1, printableName(what))
}

// What ends an evaluation, beside what is wrong with the rule.
var (
	errInterrupted = errors.New("nobody waits for the answer any more")
	errTooCostly   = errors.New("it costs too much on this statement")
	errAllTooMuch  = errors.New("the rules of this policy cost too much together")
)

// holds evaluates a rule.
func (r *rule) holds(vars *variables) (is bool, err error) {
	defer func() { // what makes a step fail isn't true
		if p := recover(); p != nil {
			is, err = false, errors.New("it makes this program fail")
		}
	}()
	vars.turns = make([]any, r.turns)
	if vars.gone() {
		return false, errInterrupted
	}
	if err := vars.spend(1); err != nil {
		return false, err
	}
	out, err := r.program.eval(vars)
	if vars.ended != nil {
		return false, vars.ended
	}
	if err != nil {
		return false, err
	}
	is, ok := out.(bool)
	if !ok {
		return false, errors.New("it is neither true nor false")
	}
	return is, nil
}
