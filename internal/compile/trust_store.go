package compile

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
)

// firstTrustTimeout bounds what is waited for before the first answer: the first refresh of mirrors, and the Secrets and ConfigMaps of
// TrustRoots. A mirror that doesn't answer by then must not keep the webhook from starting: what refers to it alone refuses, until it
// does.
const firstTrustTimeout = 10 * time.Second

// rootCompilers are how many TrustRoots are read side by side: reading waits for Secrets, and hardly computes.
const rootCompilers = 2

// rootState is what policies are told of a TrustRoot. It isn't changed once published: what is told anew is another state.
type rootState struct{ trusted }

// trustStore holds the TrustRoots of a cluster, and tells its Store when what one of them trusts has changed.
type trustStore struct {
	materials Materials
	namespace string
	plainHTTP []string
	keeper    *trust.Keeper
	embedded  *rootState // of DefaultTrustRoot, where there is no such object
	queue     workqueue.TypedDelayingInterface[string]
	changed   func(name string) // told when another state is published

	wanting sync.Mutex // held while the keeper is told what is wanted

	mu      sync.Mutex
	objects map[string]*unstructured.Unstructured // as the informer gave them; not to be changed
	entries map[string]*rootEntry
	mirrors map[string][]trust.MirrorConfig // which each TrustRoot follows
	moved   map[string]bool                 // those of which a mirror has told
	watcher func(name string)               // told of each that may have a new status
}

// newTrustStore returns a store that knows the public good root alone, and makes what follows mirrors.
func newTrustStore(m Materials, namespace string, o trust.Options, changed func(string)) (*trustStore, error) {
	embedded, err := publicGood()
	if err != nil {
		return nil, err
	}
	s := &trustStore{
		materials: m, namespace: namespace, plainHTTP: o.PlainHTTP, changed: changed,
		embedded: &rootState{trusted{TrustInForce: TrustInForce{Trust: embedded}}},
		queue:    workqueue.NewTypedDelayingQueue[string](),
		objects:  map[string]*unstructured.Unstructured{}, entries: map[string]*rootEntry{},
		mirrors: map[string][]trust.MirrorConfig{}, moved: map[string]bool{},
	}
	theirs := o.OnChange
	o.OnChange = func(c trust.MirrorConfig) {
		s.heard(c)
		if theirs != nil {
			theirs(c)
		}
	}
	s.keeper, err = trust.NewKeeper(o)
	return s, err
}

// lookup returns the state of a name; nil if there is no such TrustRoot.
func (s *trustStore) lookup(name string) *rootState {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[name]; ok {
		return e.state
	}
	if name == DefaultTrustRoot {
		return s.embedded
	}
	return nil
}

// current tells whether what was looked up is still so.
func (s *trustStore) current(seen map[string]*rootState) bool {
	for name, state := range seen {
		if s.lookup(name) != state {
			return false
		}
	}
	return true
}

// lookups implements TrustRoots for one compilation, and remembers what it told.
type lookups struct {
	store *trustStore
	seen  map[string]*rootState
}

// TrustRoot implements TrustRoots.
func (l *lookups) TrustRoot(_ context.Context, name string) (TrustInForce, error) {
	state := l.store.lookup(name)
	l.seen[name] = state
	if state == nil {
		return TrustInForce{}, errNoTrustRoot(name)
	}
	return state.TrustInForce, state.err
}

func (s *trustStore) saw(obj any) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		s.keep(u.GetName(), u)
	}
}

func (s *trustStore) lost(obj any) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		s.keep(u.GetName(), nil)
	}
}

// keep remembers a TrustRoot's object, or with nil that it is gone, and has it brought up to date; all if by it they became too many,
// or no longer are.
func (s *trustStore) keep(name string, u *unstructured.Unstructured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	were := len(s.objects)
	if u == nil {
		delete(s.objects, name)
	} else {
		s.objects[name] = u
	}
	s.queue.Add(name)
	if (were > MaxTrustRoots) != (len(s.objects) > MaxTrustRoots) {
		for other := range s.objects {
			s.queue.Add(other)
		}
	}
}

// heard has the TrustRoots read again that follow a mirror.
func (s *trustStore) heard(c trust.MirrorConfig) {
	key := c.Key()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, own := range s.mirrors {
		if slices.ContainsFunc(own, func(m trust.MirrorConfig) bool { return m.Key() == key }) {
			s.moved[name] = true
			s.queue.Add(name)
		}
	}
}

// want notes which mirrors a TrustRoot follows.
func (s *trustStore) want(name string, sources []v1alpha1.TrustRootSource) {
	var own []trust.MirrorConfig
	for i := range sources {
		if sources[i].TUF != nil {
			own = append(own, mirrorOf(sources[i].TUF))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if delete(s.mirrors, name); len(own) > 0 {
		s.mirrors[name] = own
	}
}

// follow has all mirrors followed that are wanted, and no others. It returns them.
func (s *trustStore) follow() []trust.MirrorConfig {
	s.wanting.Lock()
	defer s.wanting.Unlock()
	var wanted []trust.MirrorConfig
	s.mu.Lock()
	for _, name := range slices.Sorted(maps.Keys(s.mirrors)) {
		wanted = append(wanted, s.mirrors[name]...)
	}
	s.mu.Unlock()
	s.keeper.Set(wanted)
	return wanted
}

// first reads every TrustRoot there is, and waits some time for their mirrors.
func (s *trustStore) first(ctx context.Context) {
	until := time.Now().Add(firstTrustTimeout)
	s.mu.Lock()
	objects := maps.Clone(s.objects)
	s.mu.Unlock()
	if len(objects) <= MaxTrustRoots {
		for name, object := range objects {
			s.prepare(name, object)
		}
	}
	wanted := s.follow()
	names := slices.Sorted(maps.Keys(objects))
	for _, name := range names { // while the mirrors are asked
		s.update(ctx, name, until)
	}
	waiting, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for _, c := range wanted {
		if s.keeper.WaitFirst(waiting, c) != nil && waiting.Err() != nil {
			break
		}
	}
	until = time.Now().Add(readTimeout) // for all of them: what isn't read by then is read while the webhook answers
	for _, name := range names {
		if s.follows(name) {
			s.update(ctx, name, until)
		}
	}
	log.FromContext(ctx).Info("trust roots are known", "trustRoots", len(objects), "mirrors", len(wanted))
}

// follows tells whether a TrustRoot has mirrors, and has it read again if so.
func (s *trustStore) follows(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mirrors[name]) > 0 {
		s.moved[name] = true
	}
	return s.moved[name]
}

// prepare notes which mirrors a TrustRoot follows, before it is read. What is wrong with it shows when it is.
func (s *trustStore) prepare(name string, object *unstructured.Unstructured) {
	defer func() { _ = recover() }() // of which update tells, which reads the same
	raw, err := essence(object)
	if err != nil {
		return
	}
	if t, err := s.decode(raw); err == nil {
		s.want(name, t.Spec.Sources)
	}
}

// work brings TrustRoots up to date until the queue is shut down.
func (s *trustStore) work(ctx context.Context) {
	for {
		name, shutdown := s.queue.Get()
		if shutdown {
			return
		}
		s.update(ctx, name, time.Time{})
		s.queue.Done(name)
	}
}

// update brings one TrustRoot up to date. One whose reading panics can't be used; the others live on.
func (s *trustStore) update(ctx context.Context, name string, until time.Time) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		log.FromContext(ctx).Error(fmt.Errorf("panic: %v", v), "reading a TrustRoot", "trustRoot", name, "stack", string(debug.Stack()))
		s.mu.Lock()
		next := &rootEntry{object: s.objects[name]}
		s.mu.Unlock()
		next.unusable(name, ReasonInternalError, fmt.Errorf("reading it failed: panic: %v", v))
		s.put(ctx, name, nil, next)
		s.queue.AddAfter(name, rereadAfter)
	}()
	s.reconcile(ctx, name, until)
}
