package compile

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// rootStatusWriter writes the statuses of TrustRoots, where they differ from what is there; where they differ only in times and words,
// once in rootStatusPause. It is the StatusWriter's own, and serves one goroutine.
type rootStatusWriter struct {
	store   *trustStore
	client  client.StatusClient
	queue   workqueue.TypedRateLimitingInterface[string]
	written map[string]time.Time
}

func newRootStatusWriter(s *trustStore, c client.StatusClient) *rootStatusWriter {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](statusBackoff, statusBackoffs)
	return &rootStatusWriter{store: s, client: c, queue: workqueue.NewTypedRateLimitingQueue(limiter), written: map[string]time.Time{}}
}

// run writes until the context ends.
func (w *rootStatusWriter) run(ctx context.Context) {
	defer context.AfterFunc(ctx, w.queue.ShutDown)()
	defer w.queue.ShutDown()
	for _, name := range w.store.watch(w.queue.Add) {
		w.queue.Add(name)
	}
	defer w.store.watch(nil)
	for {
		name, shutdown := w.queue.Get()
		if shutdown {
			return
		}
		w.next(ctx, name)
	}
}

func (w *rootStatusWriter) next(ctx context.Context, name string) {
	defer w.queue.Done(name)
	defer func() {
		if v := recover(); v != nil {
			log.FromContext(ctx).Error(fmt.Errorf("panic: %v", v), "writing a TrustRoot's status", "trustRoot", name, "stack", string(debug.Stack()))
		}
	}()
	err := w.write(ctx, name)
	switch {
	case err == nil:
		w.queue.Forget(name)
		return
	case apierrors.IsConflict(err), apierrors.IsNotFound(err): // it has changed, of which the informer will tell
	case ctx.Err() == nil:
		log.FromContext(ctx).Error(err, "writing a TrustRoot's status", "trustRoot", name)
	}
	w.queue.AddRateLimited(name)
}

// write patches the status of a TrustRoot, if it isn't what it should be, and only as it is in the version that it was made from.
func (w *rootStatusWriter) write(ctx context.Context, name string) error {
	object, report, ok := w.store.known(name)
	if !ok {
		delete(w.written, name)
		return nil
	}
	now := time.Now()
	patched, differs, minor, err := withRootStatus(object, report, now)
	if err != nil || !differs {
		return err
	}
	if wait := w.written[name].Add(rootStatusPause).Sub(now); minor && wait > 0 {
		w.queue.AddAfter(name, wait)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	patch := client.MergeFromWithOptions(object, client.MergeFromWithOptimisticLock{})
	if err := w.client.Status().Patch(ctx, patched, patch, client.FieldOwner(fieldManager)); err != nil {
		return err
	}
	w.written[name] = now
	return nil
}
