package compile

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// entry is one compiled policy. It isn't changed once it is in the Store, but for object.
type entry struct {
	uid    types.UID
	raw    []byte                     // what was compiled, the uid included
	object *unstructured.Unstructured // the newest with that content
	policy *policy.Policy
	report Report
	kept   map[source]keptKey    // the keys that were read, for the day when they can't be
	told   map[source]told       // what came of reading them
	roots  map[string]*rootState // the TrustRoots that it refers to, as they were; nil for one that wasn't there
	due    time.Time             // when they are to be read again; zero: never
	wait   time.Duration         // how long until due, where the policy can't be used without them
	over   bool                  // it is one of too many, and wasn't compiled
}

// reconcile compiles a policy if it or its keys may have changed, and publishes it if that made a difference. Where until is
// set, keys are read no longer than until then.
func (s *Store) reconcile(ctx context.Context, k key, until time.Time) {
	s.mu.Lock()
	object, old := s.objects[k.Namespace][k.Name], s.entries[k.Namespace][k.Name]
	over := len(s.objects[k.Namespace]) > boundOf(k.Namespace)
	s.mu.Unlock()
	if object == nil {
		s.put(ctx, k, old, nil)
		return
	}
	raw, err := essence(object)
	unchanged := err == nil && old != nil && bytes.Equal(old.raw, raw) && old.over == over && s.roots.current(old.roots)
	if unchanged && (old.due.IsZero() || time.Now().Before(old.due)) {
		s.mu.Lock()
		old.object = object
		s.mu.Unlock()
		s.schedule(k, old)
		s.tell(k)
		return
	}
	next := &entry{uid: object.GetUID(), raw: raw, object: object, over: over}
	if old != nil && old.uid == next.uid {
		next.kept = old.kept
	}
	if over {
		next.policy, next.report = s.compiler.oneOfTooMany(k)
	} else {
		s.compile(ctx, k, old, next, until, unchanged)
	}
	if ctx.Err() != nil {
		return // what can't be read while we are being stopped says nothing of the policy
	}
	s.put(ctx, k, old, next)
	s.schedule(k, next)
	if !s.roots.current(next.roots) { // one has changed since it was looked up, when we weren't yet among those who are told
		s.queueOf(k).Add(k)
	}
}

// compile compiles an entry, and says when its keys are to be read again. Where nothing has changed but that they are due, they are
// read, and what was compiled of the same keys before is kept: compiling a policy may take half a second.
func (s *Store) compile(ctx context.Context, k key, old, next *entry, until time.Time, unchanged bool) {
	now := time.Now()
	if end := now.Add(compileTimeout); until.IsZero() || end.Before(until) {
		until = end
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	keys := newLastGood(eachOnce(s.compiler.Materials), next.kept, now)
	if unchanged && keys.asBefore(ctx, old.told) {
		next.policy, next.report, next.roots = old.policy, old.report, old.roots
	} else {
		compiler := s.compiler
		found := &lookups{store: s.roots, seen: map[string]*rootState{}}
		compiler.Materials, compiler.TrustRoots = keys, found
		next.policy, next.report = compiler.compileRaw(ctx, next.raw, k)
		next.roots = found.seen
	}
	next.kept, next.told = keys.now, keys.told
	switch {
	case next.report.waiting():
		next.wait = retryAfter
		if old != nil && old.wait > 0 && bytes.Equal(old.raw, next.raw) {
			next.wait = min(2*old.wait, rereadAfter)
		}
		next.due = now.Add(next.wait)
	case next.report.referring():
		next.due = now.Add(rereadAfter)
	}
}

// essence is what of an object is compiled: its spec, and who it is. Its status and the rest of its metadata change often
// and mean nothing here.
func essence(u *unstructured.Unstructured) ([]byte, error) {
	what := map[string]any{}
	for field, value := range u.Object {
		if field != "metadata" && field != "status" {
			what[field] = value
		}
	}
	what["metadata"] = map[string]any{"name": u.GetName(), "namespace": u.GetNamespace(), "uid": string(u.GetUID())}
	return json.Marshal(what)
}

// same tells whether two entries are alike for those who judge by them.
func (e *entry) same(o *entry) bool {
	return bytes.Equal(e.raw, o.raw) &&
		e.policy.Unusable == o.policy.Unusable && e.policy.KeysNotReadAgain == o.policy.KeysNotReadAgain &&
		reflect.DeepEqual(e.report, o.report)
}

// trustChanged has the policies compiled anew that refer to a TrustRoot.
func (s *Store) trustChanged(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for namespace, own := range s.entries {
		for policy, e := range own {
			if _, refers := e.roots[name]; refers {
				k := key{Namespace: namespace, Name: policy}
				s.queueOf(k).Add(k)
			}
		}
	}
}

// put replaces the entry of a policy; nil takes it out. Where old and next are alike the policy stays the same one.
func (s *Store) put(ctx context.Context, k key, old, next *entry) {
	if old == nil && next == nil {
		return
	}
	alike := old != nil && next != nil && next.same(old)
	if alike {
		next.policy, next.report = old.policy, old.report
	}
	s.mu.Lock()
	if next == nil {
		delete(s.entries[k.Namespace], k.Name)
		if len(s.entries[k.Namespace]) == 0 {
			delete(s.entries, k.Namespace)
		}
	} else {
		if s.entries[k.Namespace] == nil {
			s.entries[k.Namespace] = map[string]*entry{}
		}
		s.entries[k.Namespace][k.Name] = next
	}
	snap := s.snapshot.Load()
	if snap != nil && !alike {
		s.snapshot.Store(snap.with(k.Namespace, s.entries[k.Namespace]))
	}
	s.mu.Unlock()
	if !alike {
		describe(ctx, k, next)
		if snap != nil {
			s.changed()
		}
	}
	s.tell(k)
}

func describe(ctx context.Context, k key, e *entry) {
	logger := log.FromContext(ctx).WithValues("policy", k.String())
	switch {
	case e == nil:
		logger.Info("policy is gone")
	case e.policy.Unusable != "":
		logger.Info("policy can't be used and refuses what it matches", "reason", e.report.Reason, "message", e.report.Message)
	default:
		logger.Info("policy is in force", "mode", e.policy.Mode.String(), "rule", e.policy.Summary(), "digest", e.policy.Digest)
	}
}

// schedule has a policy's keys read again when that is due.
func (s *Store) schedule(k key, e *entry) {
	if !e.due.IsZero() {
		s.queueOf(k).AddAfter(k, time.Until(e.due))
	}
}

// tell says to whoever writes statuses that one may have to be written.
func (s *Store) tell(k key) {
	s.mu.Lock()
	watcher := s.watcher
	s.mu.Unlock()
	if watcher != nil {
		watcher(k)
	}
}
