package compile

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// exceptionsLookAgain is how long exceptions are left alone at most, of which one ends sometime: a clock may be set. Policies don't hang
// on it, for they look at the time themselves; the statuses do.
const exceptionsLookAgain = time.Hour

// exceptionStore holds the ImageExceptions of a cluster, and gives those of each namespace that are in force.
type exceptionStore struct {
	queue   workqueue.TypedDelayingInterface[string] // of namespaces
	changed func()                                   // told when those in force are others

	published sync.RWMutex
	inForce   map[string][]*policy.Exception // by namespace; the slices are shared and aren't changed

	mu      sync.Mutex
	objects map[string]map[string]*unstructured.Unstructured // by namespace, then name, as the informer gave them; not to be changed
	entries map[string]map[string]*exceptionEntry            // as objects are
	watcher func(policy.Name)                                // told of each that may have a new status
}

// exceptionEntry is one ImageException. It isn't changed once it is in the store.
type exceptionEntry struct {
	object   *unstructured.Unstructured
	raw      []byte             // what was compiled; nil where it is one of too many, and was not
	compiled *compiledException // of raw
	report   ExceptionReport
}

func newExceptionStore(changed func()) *exceptionStore {
	return &exceptionStore{
		queue: workqueue.NewTypedDelayingQueue[string](), changed: changed, inForce: map[string][]*policy.Exception{},
		objects: map[string]map[string]*unstructured.Unstructured{}, entries: map[string]map[string]*exceptionEntry{},
	}
}

// of returns the exceptions of a namespace. The slice is shared: it must not be changed.
func (s *exceptionStore) of(namespace string) []*policy.Exception {
	s.published.RLock()
	defer s.published.RUnlock()
	return s.inForce[namespace]
}

func (s *exceptionStore) saw(obj any) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		s.keep(keyOf(u), u)
	}
}

func (s *exceptionStore) lost(obj any) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		s.keep(keyOf(u), nil)
	}
}

// keep remembers an exception's object, or with nil that it is gone, and has its namespace brought up to date.
func (s *exceptionStore) keep(k key, u *unstructured.Unstructured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.objects[k.Namespace]
	switch {
	case u == nil:
		if delete(own, k.Name); len(own) == 0 {
			delete(s.objects, k.Namespace)
		}
	case own == nil:
		s.objects[k.Namespace] = map[string]*unstructured.Unstructured{k.Name: u}
	default:
		own[k.Name] = u
	}
	s.queue.Add(k.Namespace)
}

// first brings every namespace up to date, before anything is answered.
func (s *exceptionStore) first(ctx context.Context) {
	s.mu.Lock()
	namespaces := slices.Sorted(maps.Keys(s.objects))
	s.mu.Unlock()
	for _, namespace := range namespaces {
		s.update(ctx, namespace)
	}
}

// work brings namespaces up to date until the queue is shut down.
func (s *exceptionStore) work(ctx context.Context) {
	for {
		namespace, shutdown := s.queue.Get()
		if shutdown {
			return
		}
		s.update(ctx, namespace)
		s.queue.Done(namespace)
	}
}

// update finds out which exceptions of a namespace are in force now, and publishes them if they are others than before. It is called by
// one goroutine at a time.
func (s *exceptionStore) update(ctx context.Context, namespace string) {
	now := time.Now()
	s.mu.Lock()
	objects, old := maps.Clone(s.objects[namespace]), s.entries[namespace]
	s.mu.Unlock()
	next, found := map[string]*exceptionEntry{}, exceptionsInForce{now: now}
	for _, u := range byAge(objects) {
		e := &exceptionEntry{object: u}
		e.report = found.take(u.GetDeletionTimestamp() != nil, func() compiledException { return e.compile(ctx, old[u.GetName()]) })
		next[u.GetName()] = e
	}
	s.mu.Lock()
	if s.entries[namespace] = next; len(next) == 0 {
		delete(s.entries, namespace)
	}
	watcher := s.watcher
	s.mu.Unlock()
	s.publish(namespace, found.list)
	if !found.next.IsZero() {
		s.queue.AddAfter(namespace, min(found.next.Sub(now), exceptionsLookAgain))
	}
	for name, e := range next {
		e.describe(ctx, old[name])
		if watcher != nil {
			watcher(keyOf(e.object))
		}
	}
	for name, e := range old {
		if next[name] == nil {
			log.FromContext(ctx).Info("exception is gone", "exception", keyOf(e.object).String())
		}
	}
}

// byAge are the objects, the oldest first.
func byAge(objects map[string]*unstructured.Unstructured) []*unstructured.Unstructured {
	return slices.SortedFunc(maps.Values(objects), func(a, b *unstructured.Unstructured) int {
		return exceptionBefore(a.GetCreationTimestamp().Time, b.GetCreationTimestamp().Time, a.GetName(), b.GetName())
	})
}

// compile compiles an exception, if what it says is not what it said before.
func (e *exceptionEntry) compile(ctx context.Context, old *exceptionEntry) compiledException {
	raw, err := essence(e.object)
	if err != nil {
		raw = nil // which then can't be read, and excuses nothing
	}
	if e.raw = raw; old != nil && old.compiled != nil && raw != nil && bytes.Equal(old.raw, raw) {
		e.compiled = old.compiled
		return *e.compiled
	}
	c := compileException(ctx, raw, keyOf(e.object), e.object.GetCreationTimestamp().Time)
	e.compiled = &c
	return c
}

// publish has the exceptions of a namespace count. Where they are the same as before, the slice stays the same one.
func (s *exceptionStore) publish(namespace string, list []*policy.Exception) {
	s.published.Lock()
	same := slices.Equal(s.inForce[namespace], list)
	switch {
	case same:
	case len(list) == 0:
		delete(s.inForce, namespace)
	default:
		s.inForce[namespace] = list
	}
	s.published.Unlock()
	if !same {
		s.changed()
	}
}

// describe logs what became of an exception, if it is something else than before.
func (e *exceptionEntry) describe(ctx context.Context, old *exceptionEntry) {
	if old != nil && old.report == e.report {
		return
	}
	logger := log.FromContext(ctx).WithValues("exception", keyOf(e.object).String())
	if e.report.Reason != ReasonInForce {
		logger.Info("exception excuses nothing", "reason", e.report.Reason, "message", e.report.Message)
		return
	}
	made := e.compiled.exception
	logger.Info("exception is in force", "owner", made.Owner, "until", seconds(e.report.Until).Format(time.RFC3339), "ids", len(made.IDs))
}

// follow sets who is told of each exception whose status may have changed, and returns those that there are.
func (s *exceptionStore) follow(f func(policy.Name)) []policy.Name {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watcher = f
	var all []policy.Name
	for namespace, own := range s.entries {
		for name := range own {
			all = append(all, policy.Name{Namespace: namespace, Name: name})
		}
	}
	return all
}

// known returns an exception's object, which isn't to be changed, and what became of it.
func (s *exceptionStore) known(k policy.Name) (*unstructured.Unstructured, ExceptionReport, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[k.Namespace][k.Name]
	if !ok {
		return nil, ExceptionReport{}, false
	}
	return e.object, e.report, true
}
