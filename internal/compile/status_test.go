package compile

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
			PublicKeys: []v1alpha1.PublicKeyStatus{{Fingerprint: p.Authorities()[0].Keys()[0].Fingerprint().String(), PEM: pem}},
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
	if len(later.Conditions) != 2 || later.Conditions[0] != others {
		t.Fatalf("conditions of others are lost: %s", pretty(t, later.Conditions))
	}
	if got := later.Conditions[1]; got.Status != metav1.ConditionTrue || !got.LastTransitionTime.Time.Equal(someTime.Add(time.Hour)) {
		t.Errorf("%s", pretty(t, got))
	}
}
