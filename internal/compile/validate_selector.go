package compile

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Bounds of a namespaceSelector. Every namespace is held against each of its terms, again after each edit of a
// ClusterImagePolicy.
const (
	maxSelectorTerms  = 64   // labels and expressions
	maxSelectorValues = 1024 // of one expression: the names of as many namespaces
)

// selector checks a namespaceSelector: that it is one, and that there can be a namespace that it selects.
func (c *checker) selector(at *field.Path, s *metav1.LabelSelector) {
	if s == nil || c.tooMany(at, len(s.MatchLabels)+len(s.MatchExpressions), maxSelectorTerms) {
		return
	}
	for i, e := range s.MatchExpressions {
		if c.tooMany(at.Child("matchExpressions").Index(i).Child("values"), len(e.Values), maxSelectorValues) {
			return
		}
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		c.invalid(at, "%v: want matchLabels, or matchExpressions with In, NotIn, Exists or DoesNotExist", err)
		return
	}
	if label, ok := contradiction(selector); ok {
		c.invalid(at, "no namespace can match what it says of the label %s, so that the policy would never be in force: "+
			"all of its terms must hold at once; for one or the other write one In with both values, or two policies", label)
	}
}

// contradiction returns a label of which a selector wants what can't be.
func contradiction(s labels.Selector) (label string, ok bool) {
	terms, _ := s.Requirements()
	byLabel := map[string][]labels.Requirement{}
	for _, r := range terms {
		byLabel[r.Key()] = append(byLabel[r.Key()], r)
	}
	for _, r := range terms { // in their order, so that the same one is always named
		if !satisfiable(r.Key(), byLabel[r.Key()]) {
			return r.Key(), true
		}
	}
	return "", false
}

// satisfiable tells whether a namespace can have, or lack, one label so that all terms about it hold.
func satisfiable(label string, terms []labels.Requirement) bool {
	holds := func(l labels.Set) bool {
		return !slices.ContainsFunc(terms, func(r labels.Requirement) bool { return !r.Matches(l) })
	}
	named := label == corev1.LabelMetadataName // which every namespace has, and which is its name
	if !named && holds(labels.Set{}) {
		return true
	}
	finite := false
	for _, r := range terms {
		if o := r.Operator(); o != selection.In && o != selection.Equals && o != selection.DoubleEquals {
			continue
		}
		finite = true
		for value := range r.Values() {
			if holds(labels.Set{label: value}) && (!named || len(validation.IsDNS1123Label(value)) == 0) {
				return true
			}
		}
	}
	// Where no term lists the values that may be, some value is none of those that may not be.
	return !finite && !slices.ContainsFunc(terms, func(r labels.Requirement) bool { return r.Operator() == selection.DoesNotExist })
}

// escapesBy returns a label without which a namespace is not selected. A namespace that has just been made has none but its
// name, and whoever makes namespaces may leave labels out: what a policy is to hold for everybody must hold for such a one.
func escapesBy(s *metav1.LabelSelector) (label string, ok bool) {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil || selector.Empty() {
		return "", false
	}
	terms, _ := selector.Requirements()
	for _, r := range terms {
		if r.Key() != corev1.LabelMetadataName && !r.Matches(labels.Set{}) {
			return r.Key(), true
		}
	}
	return "", false
}
