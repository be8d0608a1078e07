package compile

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// The types of conditions.
const (
	// ConditionReady says whether a policy is in force as written.
	ConditionReady = "Ready"
	// ConditionGuaranteed says whether the refusals of a policy that enforces hold also while the webhook doesn't answer. A
	// policy of another mode refuses nothing, and hasn't got it.
	ConditionGuaranteed = "Guaranteed"
)

// The reasons of the condition Guaranteed.
const (
	ReasonRolloutEnforce = "RolloutEnforce" // while the webhook doesn't answer, the API server refuses
	ReasonRolloutAudit   = "RolloutAudit"   // while the webhook doesn't answer, the API server admits
)

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
	set := func(kind string, holds bool, reason, message string) {
		c := metav1.Condition{
			Type:               kind,
			Status:             metav1.ConditionFalse,
			ObservedGeneration: obj.GetGeneration(),
			LastTransitionTime: metav1.NewTime(now.UTC().Truncate(time.Second)), // what survives being stored
			Reason:             reason,
			Message:            message,
		}
		if holds {
			c.Status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&status.Conditions, c)
	}
	set(ConditionReady, p.Unusable == "", r.Reason, r.Message)
	switch {
	case p.Mode != policy.Enforce:
		meta.RemoveStatusCondition(&status.Conditions, ConditionGuaranteed)
	case r.RolloutAudit:
		set(ConditionGuaranteed, false, ReasonRolloutAudit, notGuaranteed)
	default:
		set(ConditionGuaranteed, true, ReasonRolloutEnforce, "images are refused also while the webhook doesn't answer")
	}
	for _, a := range r.Authorities {
		one := v1alpha1.AuthorityStatus{
			Name:          a.Name,
			Fingerprint:   a.Fingerprint,
			PublicKeys:    a.PublicKeys,
			Identities:    a.Identities,
			LastReadError: firstOf(a.NotReadAgain, a.Problem),
		}
		if a.TrustRoot != "" {
			one.TrustRoot = &v1alpha1.TrustRootInUse{Name: a.TrustRoot, Digest: a.TrustRootDigest, Message: joined(a.TrustRootNote, a.TrustRootKept)}
		}
		status.Authorities = append(status.Authorities, one)
	}
	return status
}

// joined is what there is of two texts.
func joined(a, b string) string {
	if a != "" && b != "" {
		return a + "; " + b
	}
	return firstOf(a, b)
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
