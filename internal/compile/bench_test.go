package compile

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// exceptionsOfEach is how many exceptions a namespace has.
const exceptionsOfEach = 3

// populated is a Store as it is after a start in a cluster of 1,000 namespaces, each with a policy and some exceptions, and 50 cluster policies.
func populated(tb testing.TB) *Store {
	tb.Helper()
	s := &Store{exceptions: newExceptionStore(func() {}), namespaces: namespaces{m: map[string]*namespace{}}}
	entries := map[string]map[string]*entry{"": {}}
	selector, err := labels.Parse("env in (production, staging), team notin (web)")
	if err != nil {
		tb.Fatal(err)
	}
	for i := range 50 {
		name := fmt.Sprintf("cluster-%d", i)
		entries[""][name] = &entry{policy: &policy.Policy{Name: key{Name: name}}, report: Report{Namespaces: selector}}
	}
	for i := range 1000 {
		ns := fmt.Sprintf("namespace-%d", i)
		entries[ns] = map[string]*entry{"own": {policy: &policy.Policy{Name: key{Namespace: ns, Name: "own"}}, report: Report{Namespaces: labels.Everything()}}}
		s.namespaces.set(ns, labels.Set{"env": "production", "team": "payments"})
		for n := range exceptionsOfEach {
			s.exceptions.inForce[ns] = append(s.exceptions.inForce[ns], &policy.Exception{Name: policy.Name{Namespace: ns, Name: fmt.Sprint("exception-", n)}})
		}
	}
	s.snapshot.Store(newSnapshot(entries))
	return s
}

func BenchmarkSet(b *testing.B) {
	s := populated(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if set, err := s.Set(b.Context(), "namespace-500"); err != nil || len(set.Cluster) != 50 || len(set.Namespaced) != 1 || len(set.Exceptions) != exceptionsOfEach {
				b.Fatal(len(set.Cluster), len(set.Exceptions), err)
			}
		}
	})
}

// Set is called for every admission: for a namespace that was asked for before it makes nothing anew.
func TestSetAllocatesNothing(t *testing.T) {
	s := populated(t)
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		if set, err := s.Set(ctx, "namespace-7"); err != nil || len(set.Exceptions) != exceptionsOfEach {
			t.Errorf("%d exceptions, %v", len(set.Exceptions), err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A change of a namespace's own policies leaves what other namespaces remember of the cluster's.
func TestAChangeInOneNamespaceDisturbsNoOther(t *testing.T) {
	t.Parallel()
	s := populated(t)
	if _, err := s.Set(t.Context(), "namespace-7"); err != nil {
		t.Fatal(err)
	}
	n, _ := s.namespaces.get("namespace-7")
	before := n.chosen.Load()
	old := s.snapshot.Load()
	s.snapshot.Store(old.with("namespace-8", nil))
	if set, err := s.Set(t.Context(), "namespace-8"); err != nil || len(set.Namespaced) != 0 {
		t.Errorf("%v, %v", set.Namespaced, err)
	}
	if set, err := s.Set(t.Context(), "namespace-7"); err != nil || len(set.Namespaced) != 1 || n.chosen.Load() != before {
		t.Errorf("%v, %v", set.Namespaced, err)
	}
	if len(old.namespaced) != 1000 {
		t.Error("the old snapshot was changed")
	}
	s.snapshot.Store(s.snapshot.Load().with("", nil))
	if set, err := s.Set(t.Context(), "namespace-7"); err != nil || len(set.Cluster) != 0 {
		t.Errorf("%d cluster policies, %v", len(set.Cluster), err)
	}
}
