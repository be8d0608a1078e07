package compile

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// ConditionReady is the type of the condition that says whether a policy is in force as written.
const ConditionReady = "Ready"

// StatusOf returns the status of an object that was compiled to p. previous is the status it has, from which conditions of
// others and the time of the last transition are kept; now is the time of a transition.
func StatusOf(obj Object, p *policy.Policy, r Report, previous v1alpha1.PolicyStatus, now time.Time) v1alpha1.PolicyStatus {
	status := v1alpha1.PolicyStatus{
		ObservedGeneration: obj.GetGeneration(),
		Conditions:         previous.DeepCopy().Conditions,
		Mode:               v1alpha1.Mode(p.Mode.String()),
		Rule:               p.Summary(),
		PolicyDigest:       p.Digest,
	}
	ready := metav1.Condition{
		Type:               ConditionReady,
		Status:             metav1.ConditionTrue,
		ObservedGeneration: obj.GetGeneration(),
		LastTransitionTime: metav1.NewTime(now.UTC().Truncate(time.Second)), // what survives being stored
		Reason:             r.Reason,
		Message:            r.Message,
	}
	if p.Unusable != "" {
		ready.Status = metav1.ConditionFalse
	}
	meta.SetStatusCondition(&status.Conditions, ready)
	for _, a := range r.Authorities {
		status.Authorities = append(status.Authorities, v1alpha1.AuthorityStatus{
			Name:          a.Name,
			Fingerprint:   a.Fingerprint,
			PublicKeys:    a.PublicKeys,
			LastReadError: firstOf(a.NotReadAgain, a.Problem),
		})
	}
	return status
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
