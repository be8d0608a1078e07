package compile

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
)

const (
	// maxRules bounds the rules of one policy over all its custom requirements: each is evaluated for each image that is judged, and for each of
	// its platforms.
	maxRules = 128
	// maxRuleText bounds the bytes of those rules together: they are compiled whenever the policy is looked at, at some milliseconds a KiB.
	maxRuleText = 32 << 10
)

// custom checks requirements over any predicate. Their rules are compiled, as they will be when the policy is in force.
func (c *checker) custom(at *field.Path, list []v1alpha1.CustomRequirement) {
	if len(list) == 0 || c.tooMany(at, len(list), maxRequirements) {
		return
	}
	rules, text := 0, 0
	for _, r := range list {
		rules += len(r.Rules)
		for _, rule := range r.Rules {
			text += len(rule.CEL)
		}
	}
	switch {
	case rules > maxRules:
		c.invalid(at, "%d rules, at most %d in one policy: split the policy, or state what they come to as a predicate", rules, maxRules)
		return
	case text > maxRuleText:
		c.invalid(at, "rules of %d bytes, at most %d in one policy: split the policy, or state what they come to as a predicate", text, maxRuleText)
		return
	}
	compiler, err := policy.NewRuleCompiler()
	if err != nil {
		c.add(field.InternalError(at, err))
		return
	}
	for i, r := range list {
		c.by(at.Index(i).Child("by"), r.By)
		if r.PredicateType == "" {
			c.required(at.Index(i).Child("predicateType"), "write the full URI, for instance https://acme.example/review/v1")
		} else if err := policy.CheckPredicateType(r.PredicateType); err != nil {
			c.invalid(at.Index(i).Child("predicateType"), "%s", line(err.Error(), maxProblem))
		}
		c.rules(at.Index(i).Child("rules"), r.Rules, compiler)
	}
}

func (c *checker) rules(at *field.Path, rules []v1alpha1.CustomRule, compiler *policy.RuleCompiler) {
	if len(rules) == 0 {
		c.required(at, "write at least one rule, for instance {cel: \"predicate.approved == true\", message: \"not reviewed\"}")
		return
	}
	if c.tooMany(at, len(rules), policy.MaxRules) {
		return
	}
	for i, r := range rules {
		if c.full() {
			return
		}
		c.said(at.Index(i).Child("message"), r.Message, maxReason, "say what people are to be told where the rule isn't true")
		if c.badLength(at.Index(i).Child("cel"), r.CEL, policy.MaxExpression, "write an expression in CEL, for instance predicate.approved == true") {
			continue
		}
		if err := compiler.Check(r.CEL); err != nil {
			c.invalid(at.Index(i).Child("cel"), "%s", line(err.Error(), maxProblem))
		}
	}
}
