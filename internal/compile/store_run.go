package compile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
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
	defer s.shutDown()
	var keeping sync.WaitGroup
	defer keeping.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keeping.Go(func() {
		if err := s.roots.keeper.Start(ctx); err != nil {
			log.FromContext(ctx).Error(err, "following the mirrors of trust roots")
		}
	})
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
	s.roots.first(ctx)
	s.exceptions.first(ctx)
	s.first(ctx)
	context.AfterFunc(ctx, s.shutDown)
	var workers sync.WaitGroup
	for range compilers {
		workers.Go(func() { s.work(ctx, s.queue) })
	}
	for range clusterCompilers {
		workers.Go(func() { s.work(ctx, s.clusterQueue) })
	}
	for range rootCompilers {
		workers.Go(func() { s.roots.work(ctx) })
	}
	workers.Go(func() { s.exceptions.work(ctx) }) // alone: nothing is waited for
	workers.Wait()
	return nil
}

// queueOf is where a policy waits to be brought up to date.
func (s *Store) queueOf(k key) workqueue.TypedDelayingInterface[key] {
	if k.Namespace == "" {
		return s.clusterQueue
	}
	return s.queue
}

func (s *Store) shutDown() {
	s.queue.ShutDown()
	s.clusterQueue.ShutDown()
	s.roots.queue.ShutDown()
	s.exceptions.queue.ShutDown()
}

// watch registers with the informers, and returns what tells that each has delivered all there was.
func (s *Store) watch(ctx context.Context) ([]toolscache.InformerSynced, error) {
	var synced []toolscache.InformerSynced
	for _, w := range []struct {
		object  client.Object
		handler toolscache.ResourceEventHandler
	}{
		{newNamespace(), handler(s.sawNamespace, s.lostNamespace)},
		{newObject(KindTrustRoot), handler(s.roots.saw, s.roots.lost)},
		{newObject(KindImageException), handler(s.exceptions.saw, s.exceptions.lost)},
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
		s.keep(keyOf(u), u)
	}
}

func (s *Store) lostPolicy(obj any) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		s.keep(keyOf(u), nil)
	}
}

// keep remembers a policy's object, or with nil that it is gone, and has the policy brought up to date; all of its
// namespace if by it they became too many, or no longer are.
func (s *Store) keep(k key, u *unstructured.Unstructured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.objects[k.Namespace]
	were := len(own)
	switch {
	case u == nil:
		delete(own, k.Name)
		if len(own) == 0 {
			delete(s.objects, k.Namespace)
		}
	case own == nil:
		own = map[string]*unstructured.Unstructured{k.Name: u}
		s.objects[k.Namespace] = own
	default:
		own[k.Name] = u
	}
	s.queueOf(k).Add(k)
	if bound := boundOf(k.Namespace); (were > bound) != (len(own) > bound) {
		for name := range own {
			s.queueOf(k).Add(key{Namespace: k.Namespace, Name: name})
		}
	}
}

// keyOf names a policy. The API server gives no namespaced object without a namespace, and no other with one.
func keyOf(u *unstructured.Unstructured) key {
	return key{Namespace: u.GetNamespace(), Name: u.GetName()}
}

// first compiles every policy there is and publishes them together: nothing is answered by half of the policies.
func (s *Store) first(ctx context.Context) {
	s.mu.Lock()
	all := inTurn(s.objects)
	s.mu.Unlock()
	until := time.Now().Add(firstTimeout)
	keys := make(chan key, len(all))
	for _, k := range all {
		keys <- k
	}
	close(keys)
	var workers sync.WaitGroup
	for range compilers {
		workers.Go(func() {
			for k := range keys {
				s.update(ctx, k, until)
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

// inTurn returns the policies there are in the order in which they are compiled first, while time is short: the cluster's, then
// one of each namespace, then another of each. So whoever writes many of them waits for them longest.
func inTurn(objects map[string]map[string]*unstructured.Unstructured) []key {
	var all []key
	turn := map[key]int{}
	for namespace, own := range objects {
		for i, name := range slices.Sorted(maps.Keys(own)) {
			k := key{Namespace: namespace, Name: name}
			all = append(all, k)
			if turn[k] = 0; namespace != "" {
				turn[k] = 1 + i
			}
		}
	}
	slices.SortFunc(all, func(a, b key) int {
		return cmp.Or(cmp.Compare(turn[a], turn[b]), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// work brings the policies of a queue up to date until it is shut down.
func (s *Store) work(ctx context.Context, queue workqueue.TypedDelayingInterface[key]) {
	for {
		k, shutdown := queue.Get()
		if shutdown {
			return
		}
		s.update(ctx, k, time.Time{})
		queue.Done(k)
	}
}

// update brings one policy up to date. Compiling has its own guard; this one is for what is around it: a policy that can't
// even be kept refuses everything rather than to be missing.
func (s *Store) update(ctx context.Context, k key, until time.Time) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		log.FromContext(ctx).Error(fmt.Errorf("panic: %v", v), "keeping a policy up to date", "policy", k.String(), "stack", string(debug.Stack()))
		b := s.compiler.newBuild()
		b.policy.Name = k
		b.unusable(ReasonInternalError, fmt.Sprintf("keeping it up to date failed: panic: %v", v))
		s.put(ctx, k, nil, &entry{policy: b.policy, report: b.report})
		s.queueOf(k).AddAfter(k, retryAfter)
	}()
	s.reconcile(ctx, k, until)
}

func (s *Store) changed() {
	if s.config.OnChange != nil {
		s.config.OnChange()
	}
}
