package compile

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// The times of a StatusWriter.
const (
	statusTimeout  = 10 * time.Second // of one write: nobody waits for it
	statusBackoff  = time.Second      // before a failed write is tried again, doubled each time
	statusBackoffs = time.Minute      // at most
)

// fieldManager is the name under which statuses are written.
const fieldManager = "pratique"

// StatusWriter writes the statuses of a Store's policies, TrustRoots and ImageExceptions, where they differ from what is there. One replica does.
type StatusWriter struct {
	store      *Store
	client     client.StatusClient
	queue      workqueue.TypedRateLimitingInterface[key]
	roots      *rootStatusWriter
	exceptions *exceptionStatusWriter
}

// NewStatusWriter returns what writes the statuses of a store's objects with a client.
func NewStatusWriter(s *Store, c client.StatusClient) *StatusWriter {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[key](statusBackoff, statusBackoffs)
	return &StatusWriter{
		store: s, client: c, queue: workqueue.NewTypedRateLimitingQueue(limiter),
		roots: newRootStatusWriter(s.roots, c), exceptions: newExceptionStatusWriter(s.exceptions, c),
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: two writers would only be in each other's way.
func (w *StatusWriter) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable: it writes until the context ends.
func (w *StatusWriter) Start(ctx context.Context) error {
	var others sync.WaitGroup
	defer others.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	others.Go(func() { w.roots.run(ctx) })
	others.Go(func() { w.exceptions.run(ctx) })
	defer context.AfterFunc(ctx, w.queue.ShutDown)()
	defer w.queue.ShutDown()
	for _, k := range w.store.follow(w.queue.Add) {
		w.queue.Add(k)
	}
	defer w.store.follow(nil)
	for {
		k, shutdown := w.queue.Get()
		if shutdown {
			return nil
		}
		w.next(ctx, k)
	}
}

func (w *StatusWriter) next(ctx context.Context, k key) {
	defer w.queue.Done(k)
	defer func() {
		if v := recover(); v != nil {
			log.FromContext(ctx).Error(fmt.Errorf("panic: %v", v), "writing a policy's status", "policy", k.String(), "stack", string(debug.Stack()))
		}
	}()
	err := w.write(ctx, k)
	switch {
	case err == nil:
		w.queue.Forget(k)
		return
	case apierrors.IsConflict(err), apierrors.IsNotFound(err): // it has changed, of which the informer will tell
	case ctx.Err() == nil:
		log.FromContext(ctx).Error(err, "writing a policy's status", "policy", k.String())
	}
	w.queue.AddRateLimited(k)
}

// write patches the status of a policy, if it isn't what it should be. The patch holds only against the version of the object
// that it was made from: one that was replaced meanwhile keeps what it has, until it was compiled itself.
func (w *StatusWriter) write(ctx context.Context, k key) error {
	object, p, report, ok := w.store.compiled(k)
	if !ok {
		return nil
	}
	patched, differs, err := withStatus(object, p, report, time.Now())
	if err != nil || !differs {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	patch := client.MergeFromWithOptions(object, client.MergeFromWithOptimisticLock{})
	return w.client.Status().Patch(ctx, patched, patch, client.FieldOwner(fieldManager))
}

// withStatus returns a copy of an object with the status that it should have, and whether that differs.
func withStatus(object *unstructured.Unstructured, p *policy.Policy, r Report, now time.Time) (*unstructured.Unstructured, bool, error) {
	var previous v1alpha1.PolicyStatus
	was, _ := object.Object["status"].(map[string]any)
	if runtime.DefaultUnstructuredConverter.FromUnstructured(was, &previous) != nil {
		previous = v1alpha1.PolicyStatus{} // not as we write it: write it anew
	}
	status := StatusOf(object, p, r, previous, now)
	if equality.Semantic.DeepEqual(previous, status) {
		return nil, false, nil
	}
	wanted, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&status)
	if err != nil {
		return nil, false, err
	}
	patched := object.DeepCopy()
	patched.Object["status"] = wanted
	return patched, true, nil
}

// follow sets who is told of each policy whose status may have changed, and returns the policies there are.
func (s *Store) follow(f func(key)) []key {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watcher = f
	var keys []key
	for namespace, entries := range s.entries {
		for name := range entries {
			keys = append(keys, key{Namespace: namespace, Name: name})
		}
	}
	return keys
}

// compiled returns a policy as it was compiled, and the object that it was compiled from, which isn't to be changed.
func (s *Store) compiled(k key) (*unstructured.Unstructured, *policy.Policy, Report, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[k.Namespace][k.Name]
	if !ok || e.object == nil {
		return nil, nil, Report{}, false
	}
	return e.object, e.policy, e.report, true
}
