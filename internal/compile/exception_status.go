package compile

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// StatusOfException returns the status of an ImageException. previous is the status it has, from which conditions of others and the time
// of the last transition are kept; now is the time of a transition.
func StatusOfException(obj metav1.Object, r ExceptionReport, previous v1alpha1.ImageExceptionStatus, now time.Time) v1alpha1.ImageExceptionStatus {
	status := v1alpha1.ImageExceptionStatus{
		ObservedGeneration: obj.GetGeneration(), Conditions: previous.DeepCopy().Conditions, Expires: timeOf(r.Until),
	}
	c := metav1.Condition{
		Type: ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: obj.GetGeneration(),
		LastTransitionTime: metav1.NewTime(seconds(now)), Reason: r.Reason, Message: r.Message,
	}
	if r.Reason == ReasonInForce {
		c.Status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&status.Conditions, c)
	return status
}

// exceptionStatusWriter writes the statuses of ImageExceptions, where they differ from what is there. It is the StatusWriter's own, and
// serves one goroutine.
type exceptionStatusWriter struct {
	store  *exceptionStore
	client client.StatusClient
	queue  workqueue.TypedRateLimitingInterface[policy.Name]
}

func newExceptionStatusWriter(s *exceptionStore, c client.StatusClient) *exceptionStatusWriter {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[policy.Name](statusBackoff, statusBackoffs)
	return &exceptionStatusWriter{store: s, client: c, queue: workqueue.NewTypedRateLimitingQueue(limiter)}
}

// run writes until the context ends.
func (w *exceptionStatusWriter) run(ctx context.Context) {
	defer context.AfterFunc(ctx, w.queue.ShutDown)()
	defer w.queue.ShutDown()
	for _, k := range w.store.follow(w.queue.Add) {
		w.queue.Add(k)
	}
	defer w.store.follow(nil)
	for {
		k, shutdown := w.queue.Get()
		if shutdown {
			return
		}
		w.next(ctx, k)
	}
}

func (w *exceptionStatusWriter) next(ctx context.Context, k policy.Name) {
	defer w.queue.Done(k)
	defer func() {
		if v := recover(); v != nil {
			log.FromContext(ctx).Error(fmt.Errorf("panic: %v", v), "writing an exception's status", "exception", k.String(), "stack", string(debug.Stack()))
		}
	}()
	err := w.write(ctx, k)
	switch {
	case err == nil:
		w.queue.Forget(k)
		return
	case apierrors.IsConflict(err), apierrors.IsNotFound(err): // it has changed, of which the informer will tell
	case ctx.Err() == nil:
		log.FromContext(ctx).Error(err, "writing an exception's status", "exception", k.String())
	}
	w.queue.AddRateLimited(k)
}

// write patches the status of an exception, if it isn't what it should be, and only as it is in the version that it was made from.
func (w *exceptionStatusWriter) write(ctx context.Context, k policy.Name) error {
	object, report, ok := w.store.known(k)
	if !ok {
		return nil
	}
	patched, differs, err := withExceptionStatus(object, report, time.Now())
	if err != nil || !differs {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	patch := client.MergeFromWithOptions(object, client.MergeFromWithOptimisticLock{})
	return w.client.Status().Patch(ctx, patched, patch, client.FieldOwner(fieldManager))
}

// withExceptionStatus returns a copy of an exception with the status that it should have, and whether that differs.
func withExceptionStatus(object *unstructured.Unstructured, r ExceptionReport, now time.Time) (*unstructured.Unstructured, bool, error) {
	var previous v1alpha1.ImageExceptionStatus
	was, _ := object.Object["status"].(map[string]any)
	if runtime.DefaultUnstructuredConverter.FromUnstructured(was, &previous) != nil {
		previous = v1alpha1.ImageExceptionStatus{} // not as we write it: write it anew
	}
	status := StatusOfException(object, r, previous, now)
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
