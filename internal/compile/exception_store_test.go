package compile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// excuse puts an ImageException into the cluster, made at some time. Its uid is its name.
func (w *world) excuse(text string, made time.Time) *unstructured.Unstructured {
	w.t.Helper()
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(toJSON(w.t, text)); err != nil {
		w.t.Fatal(err)
	}
	u.SetGeneration(1)
	u.SetUID(types.UID(u.GetName()))
	u.SetCreationTimestamp(metav1.NewTime(made))
	w.sources[KindImageException].Modify(u.DeepCopy())
	return u
}

// exceptionStatus is the status of an ImageException of payments.
func (w *world) exceptionStatus(name string) v1alpha1.ImageExceptionStatus {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	u := w.current(KindImageException, "payments", name)
	if u == nil {
		w.t.Fatalf("no ImageException %s", name)
	}
	var s v1alpha1.ImageExceptionStatus
	status, _, err := unstructured.NestedMap(u.Object, "status")
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(status, &s)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// ready is the condition Ready of an ImageException: its status, reason and message.
func (w *world) ready(name string) string {
	w.t.Helper()
	c := meta.FindStatusCondition(w.exceptionStatus(name).Conditions, ConditionReady)
	if c == nil {
		return "absent"
	}
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

func excepted(list []*policy.Exception) []string {
	out := []string{}
	for _, e := range list {
		out = append(out, e.Name.String())
	}
	return out
}

func (w *world) wantExceptions(namespace string, want ...string) {
	w.t.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, excepted(w.set(namespace).Exceptions)); diff != "" {
		w.t.Errorf("exceptions of %s (-want +got):\n%s", namespace, diff)
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// TestRow20_AnExceptionIsItsNamespacesAlone: that of one tenant isn't even shown to those who judge another's images.
func TestRow20_AnExceptionIsItsNamespacesAlone(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		now := time.Now()
		w.namespace("payments", nil, true)
		w.namespace("shop", nil, true)
		w.excuse(exception("b", excusing(day(now.AddDate(0, 0, 10)))), now.Add(-2*time.Hour))
		w.excuse(exception("a", excusing(day(now.AddDate(0, 0, 10)))), now.Add(-time.Hour))
		w.excuse(inNamespace(exception("c", excusing(day(now.AddDate(0, 0, 10)))), "shop"), now)
		w.start()
		w.wantExceptions("payments", "payments/b", "payments/a") // the oldest first
		w.wantExceptions("shop", "shop/c")
		before := w.changed()
		u := w.excuse(exception("d", excusing(day(now.AddDate(0, 0, 10)))), now)
		w.settle()
		w.wantExceptions("payments", "payments/b", "payments/a", "payments/d")
		if w.changed() != before+1 {
			t.Errorf("%d changes, want 1", w.changed()-before)
		}
		w.remove(u)
		w.settle()
		w.wantExceptions("payments", "payments/b", "payments/a")
		w.wantExceptions("shop", "shop/c")
	})
}

// TestAnExceptionEndsByItself, with nobody touching it: it is no longer among those in force, and its status says so.
func TestAnExceptionEndsByItself(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		now := time.Now()
		w.namespace("payments", nil, true)
		w.excuse(exception("short", excusing(day(now.AddDate(0, 0, 1)))), now)
		w.excuse(exception("long", excusing("2026-12-31")), now.Add(-time.Minute))
		w.start()
		w.writer(nil)
		w.settle()
		end, last := seconds(now).AddDate(0, 0, 2).Truncate(24*time.Hour), seconds(now).Add(policy.MaxExceptionAge-time.Minute)
		w.wantExceptions("payments", "payments/long", "payments/short")
		if got, want := w.ready("short"), "True InForce: in force until "+end.Format(time.RFC3339); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got, want := w.ready("long"), "True InForce: in force until "+last.Format(time.RFC3339)+", 90 days after it was made, which is before the end of spec.expires"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if s := w.exceptionStatus("long"); s.ObservedGeneration != 1 || !s.Expires.Time.Equal(last) {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Until(end) - time.Second)
		synctest.Wait()
		w.wantExceptions("payments", "payments/long", "payments/short")
		time.Sleep(2 * time.Second)
		w.settle()
		w.wantExceptions("payments", "payments/long")
		if got := w.ready("short"); !strings.HasPrefix(got, "False Expired: it ended "+end.Format(time.RFC3339)+", and excuses nothing any more: delete it") {
			t.Error(got)
		}
		time.Sleep(time.Until(last))
		w.settle()
		w.wantExceptions("payments")
		if got := w.ready("long"); !strings.HasPrefix(got, "False Expired: ") {
			t.Error(got)
		}
	})
}

// TestRow20_TooManyExceptionsOfANamespaceLeaveOutTheNewest: they cost others nothing, and excuse nothing.
func TestRow20_TooManyExceptionsOfANamespaceLeaveOutTheNewest(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		now := time.Now()
		w.namespace("payments", nil, true)
		w.excuse(exception("ended", excusing("1999-12-31")), now.AddDate(0, 0, -10)) // which takes no room
		w.excuse(exception("broken", excusing("never")), now.AddDate(0, 0, -10))
		var want []string
		var first *unstructured.Unstructured
		for i := range MaxExceptions + 2 {
			name := fmt.Sprintf("e-%03d", i)
			u := w.excuse(exception(name, excusing(day(now.AddDate(0, 0, 10)))), now.Add(time.Duration(i-1000)*time.Second))
			if want = append(want, "payments/"+name); i == 0 {
				first = u
			}
		}
		w.start()
		w.writer(nil)
		w.settle()
		w.wantExceptions("payments", want[:MaxExceptions]...)
		for _, name := range want[MaxExceptions:] {
			if got := w.ready(strings.TrimPrefix(name, "payments/")); !strings.HasPrefix(got, "False TooManyExceptions: it excuses nothing: 64 older ImageExceptions are in force in this namespace") {
				t.Errorf("%s: %s", name, got)
			}
		}
		if got := w.ready("broken"); !strings.HasPrefix(got, "False InvalidField: it excuses nothing: spec.expires: ") {
			t.Error(got)
		}
		w.remove(first)
		w.settle()
		w.wantExceptions("payments", want[1:MaxExceptions+1]...)
		if got := w.ready(strings.TrimPrefix(want[MaxExceptions], "payments/")); !strings.HasPrefix(got, "True InForce") {
			t.Error(got)
		}
	})
}

// TestRow20_AnExceptionThatIsBeingDeletedExcusesNothing, though a finalizer keeps it: else whoever may set one could keep what was withdrawn.
func TestRow20_AnExceptionThatIsBeingDeletedExcusesNothing(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		now := time.Now()
		w.namespace("payments", nil, true)
		good := excusing(day(now.AddDate(0, 0, 10)))
		w.excuse(exception("stays", good), now.Add(-time.Hour))
		deleted := func(u *unstructured.Unstructured) {
			u.SetFinalizers([]string{"acme.example/keep"})
			u.SetDeletionTimestamp(&metav1.Time{Time: now})
			w.sources[KindImageException].Modify(u)
		}
		for i := range MaxExceptions { // which take no room either
			deleted(w.excuse(exception(fmt.Sprintf("before-%02d", i), good), now.Add(-2*time.Hour)))
		}
		goes := w.excuse(exception("goes", good), now)
		w.start()
		w.writer(nil)
		w.settle()
		w.wantExceptions("payments", "payments/stays", "payments/goes")
		if got := w.ready("goes"); !strings.HasPrefix(got, "True InForce") {
			t.Error(got)
		}
		changes := w.changed()
		deleted(goes)
		w.settle()
		w.wantExceptions("payments", "payments/stays")
		for _, name := range []string{"goes", "before-00"} {
			if got := w.ready(name); got != "False Terminating: it excuses nothing: it is being deleted, and goes once its finalizers are removed" {
				t.Error(got)
			}
		}
		if w.changed() != changes+1 {
			t.Errorf("%d changes, want 1", w.changed()-changes)
		}
	})
}

// TestRow20_AnExceptionThatWasChangedIsJudgedAsItIs: the schema lets nobody, and yet a store may be written to by other ways.
func TestRow20_AnExceptionThatWasChangedIsJudgedAsItIs(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		now := time.Now()
		w.namespace("payments", nil, true)
		good := excusing(day(now.AddDate(0, 0, 10)))
		w.excuse(exception("xz", good), now)
		w.start()
		w.writer(nil)
		w.settle()
		was, changes := w.set("payments").Exceptions[0], w.changed()
		labelled := w.excuse(exception("xz", good), now)
		labelled.SetLabels(map[string]string{"a": "b"})
		w.sources[KindImageException].Modify(labelled)
		w.settle()
		if w.set("payments").Exceptions[0] != was || w.changed() != changes {
			t.Error("a label made another exception of it")
		}
		w.excuse(exception("xz", good+"packages: [openssl]\n"), now)
		w.settle()
		w.wantExceptions("payments")
		if got := w.ready("xz"); !strings.Contains(got, `False InvalidField: it excuses nothing: unknown field "spec.packages"`) {
			t.Error(got)
		}
		if s := w.exceptionStatus("xz"); s.Expires != nil {
			t.Errorf("it is to end %v", s.Expires)
		}
		w.excuse(exception("xz", good), now.Add(-policy.MaxExceptionAge)) // another one, of before
		w.settle()
		w.wantExceptions("payments")
		if got := w.ready("xz"); !strings.HasPrefix(got, "False Expired") {
			t.Error(got)
		}
	})
}

// TestRow18_NothingIsAnsweredBeforeExceptionsAreKnown: a webhook that has just started must not refuse what is excused.
func TestRow18_NothingIsAnsweredBeforeExceptionsAreKnown(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.excuse(exception("xz", excusing(day(time.Now().AddDate(0, 0, 10)))), time.Now())
		hang := make(chan struct{})
		w.sources[KindImageException].hang = hang
		first := "none"
		w.store.config.OnChange = func() {
			if set, err := w.store.Set(w.ctx, "payments"); err == nil && first == "none" {
				first = strings.Join(excepted(set.Exceptions), " ")
			}
		}
		w.start()
		time.Sleep(time.Hour)
		if _, err := w.store.Set(w.ctx, "payments"); !errors.Is(err, ErrNotSynced) || w.store.Synced() {
			t.Errorf("it answers: %v", err)
		}
		close(hang)
		w.settle()
		w.wantExceptions("payments", "payments/xz")
		if first != "payments/xz" {
			t.Errorf("the first answer had %s", first)
		}
	})
}
