package compile

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

var someTime = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

func TestStatusOfAPolicyInForce(t *testing.T) {
	t.Parallel()
	pem := newKey(t)
	obj := mustDecode(t, namespaced("mode: Audit\n"+signedBy(pem)))
	obj.SetGeneration(3)
	p, r := Compiler{}.Compile(t.Context(), obj)
	got := StatusOf(obj, p, r, v1alpha1.PolicyStatus{}, someTime)
	want := v1alpha1.PolicyStatus{
		ObservedGeneration: 3,
		Mode:               v1alpha1.ModeAudit,
		Rule:               "require signature by release",
		PolicyDigest:       p.Digest,
		Conditions: []metav1.Condition{{
			Type: "Ready", Status: metav1.ConditionTrue, Reason: "Compiled", ObservedGeneration: 3,
			LastTransitionTime: metav1.NewTime(someTime), Message: "in force: require signature by release",
		}},
		Authorities: []v1alpha1.AuthorityStatus{{
			Name: "release", Fingerprint: r.Authorities[0].Fingerprint,
			PublicKeys: []v1alpha1.PublicKeyStatus{{Fingerprint: p.Questions()[0].Authority().Keys()[0].Fingerprint().String(), PEM: pem}},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestStatusOfAnUnusablePolicy(t *testing.T) {
	t.Parallel()
	obj := mustDecode(t, namespaced(bySecret))
	p, r := Compiler{Materials: &shelf{}}.Compile(t.Context(), obj)
	got := StatusOf(obj, p, r, v1alpha1.PolicyStatus{}, someTime)
	c := got.Conditions[0]
	if c.Status != metav1.ConditionFalse || c.Reason != ReasonKeyUnavailable || c.Message != p.Unusable || got.Rule != "unusable" || got.PolicyDigest != "" {
		t.Errorf("%s", pretty(t, got))
	}
	if a := got.Authorities[0]; a.Fingerprint != "" || a.LastReadError != "Secret payments/cosign-pub: not found" {
		t.Errorf("%s", pretty(t, a))
	}
}

func TestStatusKeepsTheTimeOfTheLastTransition(t *testing.T) {
	t.Parallel()
	obj := mustDecode(t, namespaced(bySecret))
	missing := Compiler{Materials: &shelf{}}
	there := Compiler{Materials: &shelf{entries: map[source]string{{kindSecret, "payments", "cosign-pub", "cosign.pub"}: newKey(t)}}}
	others := metav1.Condition{Type: "Reviewed", Status: metav1.ConditionTrue, Reason: "ByHand", LastTransitionTime: metav1.NewTime(someTime)}

	p, r := missing.Compile(t.Context(), obj)
	first := StatusOf(obj, p, r, v1alpha1.PolicyStatus{Conditions: []metav1.Condition{others}}, someTime)
	again := StatusOf(obj, p, r, first, someTime.Add(time.Hour))
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the same state has another status, -first +again:\n%s", diff)
	}
	p, r = there.Compile(t.Context(), obj)
	later := StatusOf(obj, p, r, first, someTime.Add(time.Hour))
	if len(later.Conditions) != 3 || later.Conditions[0] != others {
		t.Fatalf("conditions of others are lost: %s", pretty(t, later.Conditions))
	}
	if got := later.Conditions[1]; got.Status != metav1.ConditionTrue || !got.LastTransitionTime.Time.Equal(someTime.Add(time.Hour)) {
		t.Errorf("%s", pretty(t, got))
	}
}

// conditionOf returns a condition of the status that a spec gets under a rollout, from a status that it had before.
func conditionOf(t *testing.T, spec string, audit bool, before v1alpha1.PolicyStatus, kind string) (v1alpha1.PolicyStatus, *metav1.Condition) {
	t.Helper()
	obj := mustDecode(t, namespaced(spec))
	p, r := Compiler{Materials: &shelf{}, RolloutAudit: audit}.Compile(t.Context(), obj)
	status := StatusOf(obj, p, r, before, someTime)
	return status, meta.FindStatusCondition(status.Conditions, kind)
}

func TestWithTheRolloutAtAuditAnEnforcingPolicyIsNotGuaranteed(t *testing.T) {
	t.Parallel()
	enforcing := signedBy(newKey(t))
	status, ready := conditionOf(t, enforcing, true, v1alpha1.PolicyStatus{}, ConditionReady)
	want := "in force, but not guaranteed: the install's rollout is audit, so images are admitted while the webhook doesn't answer"
	if ready.Status != metav1.ConditionTrue || ready.Reason != ReasonCompiled || ready.Message != want {
		t.Errorf("%s", pretty(t, ready))
	}
	loose := meta.FindStatusCondition(status.Conditions, ConditionGuaranteed)
	if loose == nil || loose.Status != metav1.ConditionFalse || loose.Reason != ReasonRolloutAudit || !strings.Contains(loose.Message, "while the webhook doesn't answer") {
		t.Errorf("%s", pretty(t, loose))
	}

	status, held := conditionOf(t, enforcing, false, status, ConditionGuaranteed)
	if held == nil || held.Status != metav1.ConditionTrue || held.Reason != ReasonRolloutEnforce || held.Message == "" {
		t.Errorf("%s", pretty(t, held))
	}
	if ready := meta.FindStatusCondition(status.Conditions, ConditionReady); ready.Message != "in force: require signature by release" {
		t.Errorf("%s", pretty(t, ready))
	}

	for _, mode := range []string{"Warn", "Audit"} { // which refuse nothing, and so have nothing to guarantee
		for _, audit := range []bool{true, false} {
			status, none := conditionOf(t, "mode: "+mode+"\n"+enforcing, audit, status, ConditionGuaranteed)
			if ready := meta.FindStatusCondition(status.Conditions, ConditionReady); none != nil || ready.Message != "in force: require signature by release" {
				t.Errorf("%s: %s", mode, pretty(t, status.Conditions))
			}
		}
	}
}

func TestAnUnusablePolicyIsNotGuaranteedEither(t *testing.T) {
	t.Parallel()
	status, loose := conditionOf(t, bySecret, true, v1alpha1.PolicyStatus{}, ConditionGuaranteed)
	if loose == nil || loose.Status != metav1.ConditionFalse {
		t.Errorf("%s", pretty(t, status.Conditions))
	}
	if ready := meta.FindStatusCondition(status.Conditions, ConditionReady); ready.Message != "authority release: Secret payments/cosign-pub: not found" {
		t.Errorf("why it is unusable isn't said first: %s", pretty(t, ready))
	}
}

func TestKeysThatWereNotReadAgainAndTheRolloutAreBothSaid(t *testing.T) {
	t.Parallel()
	_, r := Compiler{Materials: kept{newKey(t)}, RolloutAudit: true}.Compile(t.Context(), mustDecode(t, namespaced(bySecret)))
	if !strings.HasPrefix(r.Message, "in force with keys read before, but not guaranteed: ") || !strings.HasSuffix(r.Message, "the API server is away") {
		t.Errorf("%s", r.Message)
	}
}
