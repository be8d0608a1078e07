package compile

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica admits, and so every one compiles.
func (s *Store) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it keeps the policies up to date until the context ends. An informer that can't be
// had yet is asked for again; until all are synced, Set says ErrNotSynced.
func (s *Store) Start(ctx context.Context) error {
	if s.started.Swap(true) {
		return errors.New("the policy store was started before")
	}
	defer s.queue.ShutDown()
	registrations, err := s.watch(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), registrations...) {
		return nil // the context has ended
	}
	s.first(ctx)
	context.AfterFunc(ctx, s.queue.ShutDown)
	var workers sync.WaitGroup
	for range compilers {
		workers.Go(func() {
			for s.next(ctx) {
			}
		})
	}
	workers.Wait()
	return nil
}

// watch registers with the informers, and returns what tells that each has delivered all there was.
func (s *Store) watch(ctx context.Context) ([]toolscache.InformerSynced, error) {
	var synced []toolscache.InformerSynced
	for _, w := range []struct {
		object  client.Object
		handler toolscache.ResourceEventHandler
	}{
		{newNamespace(), handler(s.sawNamespace, s.lostNamespace)},
		{newObject(KindClusterImagePolicy), handler(s.sawPolicy, s.lostPolicy)},
		{newObject(KindImagePolicy), handler(s.sawPolicy, s.lostPolicy)},
	} {
		informer, err := s.informer(ctx, w.object)
		if err != nil {
			return nil, err
		}
		registration, err := informer.AddEventHandler(w.handler)
		if err != nil {
			return nil, fmt.Errorf("watching %s: %w", w.object.GetObjectKind().GroupVersionKind().Kind, err)
		}
		synced = append(synced, registration.HasSynced)
	}
	return synced, nil
}

// informer asks for an informer until there is one.
func (s *Store) informer(ctx context.Context, obj client.Object) (cache.Informer, error) {
	for {
		informer, err := s.config.Informers.GetInformer(ctx, obj, cache.BlockUntilSynced(false))
		if err == nil {
			return informer, nil
		}
		log.FromContext(ctx).Error(err, "no informer yet; asking again", "kind", obj.GetObjectKind().GroupVersionKind().Kind)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(informerRetry):
		}
	}
}

// handler makes an event handler of what to do with an object that is there and one that is gone.
func handler(saw, lost func(any)) toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    saw,
		UpdateFunc: func(_, now any) { saw(now) },
		DeleteFunc: func(obj any) {
			if last, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = last.Obj
			}
			lost(obj)
		},
	}
}

func (s *Store) sawNamespace(obj any) {
	if o, err := meta.Accessor(obj); err == nil {
		s.namespaces.set(o.GetName(), o.GetLabels())
	}
}

func (s *Store) lostNamespace(obj any) {
	if o, err := meta.Accessor(obj); err == nil {
		s.namespaces.remove(o.GetName())
	}
}

func (s *Store) sawPolicy(obj any) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		s.mu.Lock()
		s.objects[keyOf(u)] = u
		s.mu.Unlock()
		s.queue.Add(keyOf(u))
	}
}

func (s *Store) lostPolicy(obj any) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		s.mu.Lock()
		delete(s.objects, keyOf(u))
		s.mu.Unlock()
		s.queue.Add(keyOf(u))
	}
}

// keyOf names a policy. The API server gives no namespaced object without a namespace, and no other with one.
func keyOf(u *unstructured.Unstructured) key {
	return key{Namespace: u.GetNamespace(), Name: u.GetName()}
}

// first compiles every policy there is and publishes them together: nothing is answered by half of the policies.
func (s *Store) first(ctx context.Context) {
	s.mu.Lock()
	keys := make(chan key, len(s.objects))
	for k := range s.objects {
		keys <- k
	}
	s.mu.Unlock()
	close(keys)
	var workers sync.WaitGroup
	for range compilers {
		workers.Go(func() {
			for k := range keys {
				s.update(ctx, k)
			}
		})
	}
	workers.Wait()
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	s.snapshot.Store(newSnapshot(s.entries))
	s.mu.Unlock()
	log.FromContext(ctx).Info("policies are in force", "policies", cap(keys))
	s.changed()
}

// next takes one policy from the queue and brings it up to date; false means that the queue was shut down.
func (s *Store) next(ctx context.Context) bool {
	k, shutdown := s.queue.Get()
	if shutdown {
		return false
	}
	defer s.queue.Done(k)
	s.update(ctx, k)
	return true
}

// update brings one policy up to date. Compiling has its own guard; this one is for what is around it: a policy that can't
// even be kept refuses everything rather than to be missing.
func (s *Store) update(ctx context.Context, k key) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		log.FromContext(ctx).Error(fmt.Errorf("panic: %v", v), "keeping a policy up to date", "policy", k.String(), "stack", string(debug.Stack()))
		b := newBuild()
		b.policy.Name = k
		b.unusable(ReasonInternalError, fmt.Sprintf("keeping it up to date failed: panic: %v", v))
		s.put(ctx, k, nil, &entry{policy: b.policy, report: b.report})
		s.queue.AddAfter(k, retryAfter)
	}()
	s.reconcile(ctx, k)
}

func (s *Store) changed() {
	if s.config.OnChange != nil {
		s.config.OnChange()
	}
}
