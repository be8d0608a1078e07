package compile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Thousands of references that nobody answers must not keep the webhook from starting: a tenant may write them.
func TestSecretsThatDoNotAnswerDelayTheFirstAnswerForHalfAMinuteAtMost(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.namespace("greedy", nil, true)
		w.secret("payments", "cosign-pub", "cosign.pub", newKey(t))
		w.secret("pratique-system", "cosign-pub", "cosign.pub", newKey(t))
		w.apply(namespaced(bySecret), 1, "own")
		w.apply(clusterWide(bySecret), 1, "cluster")
		var authorities strings.Builder
		for i := range maxAuthorities {
			fmt.Fprintf(&authorities, "- {name: a%d, key: {secretRef: {name: s%d, key: k}}}\n", i, i)
		}
		for i := range MaxPolicies {
			w.apply(named(inNamespace(namespaced("images: {include: ['**']}\nauthorities:\n"+authorities.String()+"require: {signature: {by: [a0]}}"), "greedy"), fmt.Sprintf("p-%d", i)), 1, fmt.Sprint(i))
		}
		w.slowly("/greedy/", time.Hour)
		w.start()
		if w.store.Synced() {
			t.Fatal("nothing was waited for")
		}
		time.Sleep(firstTimeout)
		if !w.store.Synced() {
			t.Fatal("not synced after firstTimeout")
		}
		set := w.set("payments")
		if p := only(t, set.Namespaced); p.Unusable != "" {
			t.Errorf("another namespace's policy: %s", p.Unusable)
		}
		if p := only(t, set.Cluster); p.Unusable != "" {
			t.Errorf("the cluster's policy: %s", p.Unusable)
		}
		if got := w.set("greedy").Namespaced; len(got) != MaxPolicies || !strings.Contains(got[0].Unusable, "deadline exceeded") || !refuses(t, got[0], "registry.example.com/app") {
			t.Errorf("%d policies, the first unusable for %q", len(got), got[0].Unusable)
		}
		w.slowly("nothing", 0)
		time.Sleep(10 * time.Minute)
		if got := w.set("greedy").Namespaced; !strings.Contains(got[0].Unusable, "not found") {
			t.Errorf("not asked again: %q", got[0].Unusable)
		}
	})
}

func TestThePoliciesOfTheClusterAndOneOfEachNamespaceAreCompiledFirst(t *testing.T) {
	t.Parallel()
	objects := map[string]map[string]*unstructured.Unstructured{
		"":       {"b": nil, "a": nil},
		"greedy": {"3": nil, "1": nil, "2": nil},
		"dev":    {"x": nil},
		"prod":   {"y": nil, "z": nil},
	}
	var got []string
	for _, k := range inTurn(objects) {
		got = append(got, k.String())
	}
	if want := []string{"a", "b", "dev/x", "greedy/1", "prod/y", "greedy/2", "prod/z", "greedy/3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// One policy holds a compiler no longer than its keys are good for.
func TestAPolicyWhoseSecretsDoNotAnswerIsGivenUpAfterAWhile(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.start()
		w.slowly("/payments/", time.Hour)
		var authorities strings.Builder
		for i := range maxAuthorities {
			fmt.Fprintf(&authorities, "- {name: a%d, key: {secretRef: {name: s%d, key: k}}}\n", i, i)
		}
		w.apply(namespaced("images: {include: ['**']}\nauthorities:\n"+authorities.String()+"require: {signature: {by: [a0]}}"), 1, "1")
		time.Sleep(compileTimeout + time.Second)
		p := only(t, w.set("payments").Namespaced)
		if !strings.Contains(p.Unusable, "deadline exceeded") || !refuses(t, p, "registry.example.com/app") {
			t.Errorf("unusable %q", p.Unusable)
		}
	})
}

// While it is being stopped, what can't be read any more is no news of a policy.
func TestTheEndOfTheProcessIsNoNewsOfAPolicy(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.secret("payments", "cosign-pub", "cosign.pub", newKey(t))
		w.apply(namespaced(bySecret), 1, "1")
		w.start()
		before := only(t, w.set("payments").Namespaced)
		w.slowly("/payments/", time.Hour)
		time.Sleep(rereadAfter + time.Second) // it is being read again
		w.stop()
		w.running.Wait()
		set, err := w.store.Set(t.Context(), "payments")
		if err != nil && !errors.Is(err, ErrNamespaceUnknown) {
			t.Fatal(err)
		}
		if p := only(t, set.Namespaced); p != before {
			t.Errorf("it was changed: %+v", p)
		}
	})
}
