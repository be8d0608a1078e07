package compile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

// statuses takes the patches of statuses as an API server does, and gives them back to the informers.
type statuses struct {
	client.SubResourceWriter
	w       *world
	patches []string
	err     error
}

func (s *statuses) Status() client.SubResourceWriter { return s }

func (s *statuses) Patch(_ context.Context, obj client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	data, err := patch.Data(obj)
	if err != nil {
		return err
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.patches = append(s.patches, string(data))
	if s.err != nil {
		return s.err
	}
	var p struct {
		Metadata struct{ ResourceVersion string }
		Status   map[string]any
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	kind := obj.GetObjectKind().GroupVersionKind().Kind
	current := s.w.current(kind, obj.GetNamespace(), obj.GetName())
	if current == nil || current.GetResourceVersion() != p.Metadata.ResourceVersion {
		return apierrors.NewConflict(schema.GroupResource{}, obj.GetName(), errors.New("it has changed"))
	}
	status, _, err := unstructured.NestedMap(current.Object, "status")
	if err != nil {
		return err
	}
	if status == nil {
		status = map[string]any{}
	}
	for k, v := range p.Status {
		if v == nil {
			delete(status, k)
			continue
		}
		status[k] = runtime.DeepCopyJSONValue(v)
	}
	current.Object["status"] = status
	s.w.sources[kind].Modify(current)
	return nil
}

// current is a policy as the cluster holds it.
func (w *world) current(kind, namespace, name string) *unstructured.Unstructured {
	list, err := w.sources[kind].FakeControllerSource.List(metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	var found *unstructured.Unstructured
	err = meta.EachListItem(list, func(o runtime.Object) error {
		if u, ok := o.(*unstructured.Unstructured); ok && u.GetNamespace() == namespace && u.GetName() == name {
			found = u
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

func (w *world) status(t testing.TB, kind, namespace, name string) v1alpha1.PolicyStatus {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	u := w.current(kind, namespace, name)
	if u == nil {
		t.Fatalf("no %s %s/%s", kind, namespace, name)
	}
	var s v1alpha1.PolicyStatus
	status, _, err := unstructured.NestedMap(u.Object, "status")
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(status, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// writer starts a StatusWriter, whose patches fail as long as err is set.
func (w *world) writer(err error) *statuses {
	s := &statuses{w: w, err: err}
	sw := NewStatusWriter(w.store, s)
	if !sw.NeedLeaderElection() || w.store.NeedLeaderElection() {
		w.t.Error("the wrong one needs an election")
	}
	w.running.Go(func() {
		if err := sw.Start(w.ctx); err != nil {
			w.t.Errorf("Start: %v", err)
		}
	})
	return s
}

func (s *statuses) count() int {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return len(s.patches)
}

func TestStatusWriterWritesWhatBecameOfPolicies(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(namespaced(signedBy(newKey(t))), 4, "1")
		w.apply(clusterWide(bySecret), 2, "2")
		w.start()
		s := w.writer(nil)
		w.settle()
		got := w.status(t, KindImagePolicy, "payments", "production")
		if got.ObservedGeneration != 4 || got.Conditions[0].Status != metav1.ConditionTrue || got.Rule != "require signature by release" || len(got.Authorities[0].PublicKeys) != 1 {
			t.Errorf("%s", pretty(t, got))
		}
		got = w.status(t, KindClusterImagePolicy, "", "everywhere")
		if got.ObservedGeneration != 2 || got.Conditions[0].Status != metav1.ConditionFalse || got.Conditions[0].Reason != ReasonKeyUnavailable {
			t.Errorf("%s", pretty(t, got))
		}

		w.secret("pratique-system", "cosign-pub", "cosign.pub", newKey(t))
		time.Sleep(retryAfter + time.Second)
		synctest.Wait()
		got = w.status(t, KindClusterImagePolicy, "", "everywhere")
		if got.Conditions[0].Status != metav1.ConditionTrue || got.Authorities[0].LastReadError != "" || got.PolicyDigest == "" {
			t.Errorf("%s", pretty(t, got))
		}
		w.away(errors.New("connection refused"))
		time.Sleep(rereadAfter + time.Second)
		synctest.Wait()
		got = w.status(t, KindClusterImagePolicy, "", "everywhere")
		if got.Conditions[0].Status != metav1.ConditionTrue || !strings.Contains(got.Authorities[0].LastReadError, "connection refused") || len(got.Authorities[0].PublicKeys) != 1 {
			t.Errorf("%s", pretty(t, got))
		}
		n := s.count()
		time.Sleep(time.Hour)
		if got := s.count(); got != n {
			t.Errorf("%d writes in an hour in which nothing changed", got-n)
		}
		if n > 6 {
			t.Errorf("%d writes for 4 changes", n)
		}
	})
}

func TestStatusWriterLeavesARightStatusAlone(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		u := w.apply(namespaced(signedBy(newKey(t))), 1, "1")
		w.start()
		s := w.writer(nil)
		w.settle()
		n := s.count()
		if n == 0 {
			t.Fatal("nothing was written")
		}
		w.mu.Lock()
		now := w.current(KindImagePolicy, "payments", "production")
		w.mu.Unlock()
		now.SetLabels(map[string]string{"a": "b"})
		w.sources[KindImagePolicy].Modify(now)
		w.settle()
		if got := s.count(); got != n {
			t.Errorf("%d writes for a label", got-n)
		}
		u.SetGeneration(1) // and someone wipes the status
		w.sources[KindImagePolicy].Modify(u)
		w.settle()
		if got := w.status(t, KindImagePolicy, "payments", "production"); got.Rule == "" {
			t.Errorf("not written again: %s", pretty(t, got))
		}
	})
}

func TestStatusWriterTriesAgainButNotHard(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(namespaced(signedBy(newKey(t))), 1, "1")
		w.start()
		s := w.writer(errors.New("away"))
		w.settle()
		time.Sleep(10 * time.Minute)
		if n := s.count(); n < 5 || n > 20 {
			t.Errorf("%d tries in 10 minutes", n)
		}
		w.mu.Lock()
		s.err = nil
		w.mu.Unlock()
		time.Sleep(statusBackoffs)
		synctest.Wait()
		if got := w.status(t, KindImagePolicy, "payments", "production"); got.Rule == "" {
			t.Errorf("never written: %s", pretty(t, got))
		}
	})
}

// The patch says which version of the object it is for, and touches nothing but the status.
func TestStatusPatchIsSafeAgainstConflicts(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(namespaced(signedBy(newKey(t))), 1, "1")
		w.start()
		s := w.writer(nil)
		w.settle()
		for _, text := range s.patches {
			var patch map[string]map[string]any
			if err := json.Unmarshal([]byte(text), &patch); err != nil {
				t.Fatal(err)
			}
			if len(patch) != 2 || len(patch["metadata"]) != 1 || patch["metadata"]["resourceVersion"] == "" || patch["status"] == nil {
				t.Errorf("patch %s", text)
			}
		}
	})
}

func TestTheStatusesSayThatAnAuditRolloutGuaranteesNothing(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		config := w.store.config
		config.RolloutAudit = true
		w.store.shutDown()
		var err error
		if w.store, err = NewStore(config); err != nil {
			t.Fatal(err)
		}
		w.apply(namespaced(signedBy(newKey(t))), 1, "1")
		w.apply(named(namespaced("mode: Warn\n"+signedBy(newKey(t))), "warns"), 1, "2")
		for i := range MaxPolicies + 1 {
			w.apply(named(inNamespace(namespaced(allowAll), "greedy"), fmt.Sprintf("p-%d", i)), 1, fmt.Sprint("p", i))
		}
		w.start()
		w.writer(nil)
		w.settle()
		for _, p := range []struct{ namespace, name string }{{"payments", "production"}, {"greedy", "p-0"}} {
			got := meta.FindStatusCondition(w.status(t, KindImagePolicy, p.namespace, p.name).Conditions, ConditionGuaranteed)
			if got == nil || got.Status != metav1.ConditionFalse || got.Reason != ReasonRolloutAudit {
				t.Errorf("%s: %s", p.name, pretty(t, got))
			}
		}
		if got := w.status(t, KindImagePolicy, "payments", "warns").Conditions; len(got) != 1 {
			t.Errorf("%s", pretty(t, got))
		}
	})
}
