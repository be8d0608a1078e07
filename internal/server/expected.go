package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ExpectedWebhook is what a webhook's registration has to be. It may ask for more: more rules, fewer exemptions, fewer
// conditions. What asks for less is wrong.
type ExpectedWebhook struct {
	// Name is the webhook's, images.pratique.dev for example.
	Name string
	// Mutating says that it is in the MutatingWebhookConfiguration.
	Mutating bool
	// Path is where it is called. Empty means that it isn't looked at.
	Path string
	// FailurePolicy is exactly what it has to be, Fail or Ignore.
	FailurePolicy admissionregistrationv1.FailurePolicyType
	// Rules are what has to be asked about: each group, version, resource and operation of each. A nil Scope means "*".
	Rules []admissionregistrationv1.RuleWithOperations
	// ExemptNamespaces are those that the namespaceSelector may pass over, by kubernetes.io/metadata.name NotIn and in no
	// other way.
	ExemptNamespaces []string
	// MatchConditions are those that there may be, by name; one with an Expression has to have that one, whitespace aside.
	MatchConditions []admissionregistrationv1.MatchCondition
}

func (w ExpectedWebhook) validate() error {
	switch {
	case w.Name == "":
		return errors.New("it has no name")
	case len(w.Rules) == 0:
		return errors.New("it has no rules: say what it is to be asked about")
	case w.FailurePolicy != admissionregistrationv1.Fail && w.FailurePolicy != admissionregistrationv1.Ignore:
		return fmt.Errorf("its failurePolicy is %q: want Fail or Ignore", w.FailurePolicy)
	}
	for _, r := range w.Rules {
		if len(r.APIGroups) == 0 || len(r.APIVersions) == 0 || len(r.Resources) == 0 || len(r.Operations) == 0 {
			return errors.New("one of its rules names no group, version, resource or operation")
		}
	}
	return nil
}

// hook is what validating and mutating webhooks have in common.
type hook struct {
	client            admissionregistrationv1.WebhookClientConfig
	rules             []admissionregistrationv1.RuleWithOperations
	failurePolicy     *admissionregistrationv1.FailurePolicyType
	matchPolicy       *admissionregistrationv1.MatchPolicyType
	namespaceSelector *metav1.LabelSelector
	objectSelector    *metav1.LabelSelector
	matchConditions   []admissionregistrationv1.MatchCondition
}

// differs says in what the registration asks for less than is expected, or elsewhere.
func (h hook) differs(want ExpectedWebhook, service types.NamespacedName) []string {
	var wrong []string
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if got := valueOr(h.failurePolicy, admissionregistrationv1.Fail); got != want.FailurePolicy {
		add("failurePolicy is %s, want %s", got, want.FailurePolicy)
	}
	if valueOr(h.matchPolicy, admissionregistrationv1.Equivalent) != admissionregistrationv1.Equivalent {
		add("matchPolicy is %s, want Equivalent: other versions of an API pass by", *h.matchPolicy)
	}
	if missing := h.missing(want.Rules); len(missing) > 0 {
		add("its rules don't name %s", some(missing))
	}
	if s := h.objectSelector; s != nil && len(s.MatchLabels)+len(s.MatchExpressions) > 0 {
		add("it has an objectSelector: whoever writes an object writes its labels")
	}
	wrong = append(wrong, exempts(h.namespaceSelector, want.ExemptNamespaces)...)
	if unknown := h.unknownConditions(want.MatchConditions); len(unknown) > 0 {
		add("it has matchConditions that aren't ours: %s", some(unknown))
	}
	if len(h.client.CABundle) == 0 {
		add("caBundle is empty")
	}
	return append(wrong, h.elsewhere(want.Path, service)...)
}

// missing are the operations on resources that have to be asked about and aren't.
func (h hook) missing(want []admissionregistrationv1.RuleWithOperations) []string {
	var out []string
	for _, w := range want {
		for _, group := range w.APIGroups {
			for _, version := range w.APIVersions {
				for _, resource := range w.Resources {
					for _, operation := range w.Operations {
						covered := slices.ContainsFunc(h.rules, func(r admissionregistrationv1.RuleWithOperations) bool {
							return covers(r, group, version, resource, operation, w.Scope)
						})
						if !covered {
							out = append(out, fmt.Sprintf("%s of %s", operation, strings.TrimPrefix(group+"/"+resource, "/")))
						}
					}
				}
			}
		}
	}
	return out
}

// covers tells whether a rule asks about the operation on the resource, by name or wildcard.
func covers(r admissionregistrationv1.RuleWithOperations, group, version, resource string,
	operation admissionregistrationv1.OperationType, scope *admissionregistrationv1.ScopeType) bool {
	got := valueOr(r.Scope, admissionregistrationv1.AllScopes)
	if got != admissionregistrationv1.AllScopes && got != valueOr(scope, admissionregistrationv1.AllScopes) {
		return false
	}
	parent, sub, isSub := strings.Cut(resource, "/")
	wide := []string{resource, "*/*"}
	if isSub { // "*" has no subresources
		wide = append(wide, parent+"/*", "*/"+sub)
	} else {
		wide = append(wide, "*", resource+"/*")
	}
	return has(r.APIGroups, group, "*") && has(r.APIVersions, version, "*") && has(r.Resources, wide...) &&
		has(r.Operations, operation, admissionregistrationv1.OperationAll)
}

// exempts says what a namespaceSelector passes over beyond the namespaces given.
func exempts(s *metav1.LabelSelector, allowed []string) []string {
	if s == nil {
		return nil
	}
	var wrong []string
	if len(s.MatchLabels) > 0 {
		wrong = append(wrong, "its namespaceSelector has matchLabels: every namespace without them passes by")
	}
	for _, e := range s.MatchExpressions {
		if e.Key != corev1.LabelMetadataName || e.Operator != metav1.LabelSelectorOpNotIn {
			wrong = append(wrong, fmt.Sprintf("its namespaceSelector asks for %.80q %s: whoever writes a namespace's labels exempts it", e.Key, e.Operator))
			continue
		}
		var others []string
		for _, namespace := range e.Values {
			if !slices.Contains(allowed, namespace) {
				others = append(others, namespace)
			}
		}
		if len(others) > 0 {
			wrong = append(wrong, "its namespaceSelector exempts "+some(others))
		}
	}
	return wrong
}

// unknownConditions are the names of matchConditions that may pass over what has to be judged.
func (h hook) unknownConditions(known []admissionregistrationv1.MatchCondition) []string {
	var out []string
	for _, c := range h.matchConditions {
		if !slices.ContainsFunc(known, func(k admissionregistrationv1.MatchCondition) bool {
			return k.Name == c.Name && (k.Expression == "" || slices.Equal(strings.Fields(k.Expression), strings.Fields(c.Expression)))
		}) {
			out = append(out, c.Name)
		}
	}
	return out
}

// elsewhere says that somebody else is called.
func (h hook) elsewhere(path string, service types.NamespacedName) []string {
	if service == (types.NamespacedName{}) {
		return nil
	}
	s := h.client.Service
	switch {
	case s == nil:
		return []string{fmt.Sprintf("it isn't the Service %s that is called", service)}
	case s.Namespace != service.Namespace || s.Name != service.Name:
		return []string{fmt.Sprintf("the Service %.200s is called, want %s", s.Namespace+"/"+s.Name, service)}
	case path != "" && valueOr(s.Path, "/") != path:
		return []string{fmt.Sprintf("it is called at %.200q, want %q", valueOr(s.Path, "/"), path)}
	}
	return nil
}

// has tells whether the list has one of the words.
func has[T comparable](list []T, words ...T) bool {
	return slices.ContainsFunc(list, func(x T) bool { return slices.Contains(words, x) })
}

// maxNamed is how many of the things that are wrong are named in a line of the log; the rest are counted.
const maxNamed = 5

// some names the first of the words, each cut to 80 characters, and counts the rest.
func some(words []string) string {
	var short []string
	for _, w := range words[:min(len(words), maxNamed)] {
		short = append(short, fmt.Sprintf("%.80s", w))
	}
	line := strings.Join(short, ", ")
	if more := len(words) - len(short); more > 0 {
		line += fmt.Sprintf(" and %d more", more)
	}
	return line
}

func valueOr[T any](p *T, or T) T {
	if p == nil {
		return or
	}
	return *p
}
