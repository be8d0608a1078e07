package compile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
)

// rootEntry is one TrustRoot. It isn't changed once it is in the store, but for object.
type rootEntry struct {
	uid      types.UID
	raw      []byte                     // what was read, the uid included
	object   *unstructured.Unstructured // the newest with that content
	over     bool                       // it is one of too many, and wasn't read
	sources  []v1alpha1.TrustRootSource // none where it can't be used
	kept     map[source]keptKey         // what Secrets and ConfigMaps held, for the day when they can't be read
	due      time.Time                  // when they are to be read again; zero: never
	wait     time.Duration              // how long until due, where one of them is missing
	material string                     // what was united
	united   union                      // and what came of it
	state    *rootState
	failing  failing
	report   RootReport
}

var errNotTrustRoot = errors.New("no TrustRoot")

// reconcile reads a TrustRoot if it, its Secrets and ConfigMaps or its mirrors may have changed, and publishes it if that made a
// difference. Where until is set, it is read no longer than until then.
func (s *trustStore) reconcile(ctx context.Context, name string, until time.Time) {
	s.mu.Lock()
	object, old, moved := s.objects[name], s.entries[name], s.moved[name]
	over := len(s.objects) > MaxTrustRoots
	delete(s.moved, name)
	s.mu.Unlock()
	if object == nil {
		s.want(name, nil)
		s.follow()
		s.put(ctx, name, old, nil)
		return
	}
	raw, err := essence(object)
	now := time.Now()
	unchanged := err == nil && old != nil && bytes.Equal(old.raw, raw) && old.over == over
	if unchanged && !moved && (old.due.IsZero() || now.Before(old.due)) {
		s.mu.Lock()
		old.object = object
		s.mu.Unlock()
		s.schedule(name, old)
		s.tell(name)
		return
	}
	next := &rootEntry{uid: object.GetUID(), raw: raw, object: object, over: over}
	if old != nil && old.uid == next.uid {
		next.kept = old.kept
	}
	t, err := s.decode(raw)
	switch {
	case over:
		next.unusable(name, ReasonTooManyTrustRoots, fmt.Errorf("more than %d TrustRoots: delete some; until then none that is there can be used", MaxTrustRoots))
	case err != nil:
		next.unusable(name, ReasonInvalidField, err)
	default:
		next.sources = t.Spec.Sources
	}
	if !unchanged {
		s.want(name, next.sources)
		s.follow()
	}
	if next.sources != nil {
		s.read(ctx, name, t, old, next, until)
		next.plan(old, now, unchanged)
	}
	if ctx.Err() != nil {
		return // what can't be read while we are being stopped says nothing of it
	}
	s.put(ctx, name, old, next)
	s.schedule(name, next)
}

// decode reads a TrustRoot as strictly as policies are read.
func (s *trustStore) decode(raw []byte) (*v1alpha1.TrustRoot, error) {
	obj, err := Decode(raw)
	if err != nil {
		return nil, err
	}
	t, ok := obj.(*v1alpha1.TrustRoot)
	if !ok {
		return nil, fmt.Errorf("%w: %T", errNotTrustRoot, obj)
	}
	if errs := Validate(t, s.plainHTTP...); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	return t, nil
}

// read reads the sources of a TrustRoot, and unites what they have.
func (s *trustStore) read(ctx context.Context, name string, t *v1alpha1.TrustRoot, old, next *rootEntry, until time.Time) {
	now := time.Now()
	if end := now.Add(compileTimeout); until.IsZero() || end.Before(until) {
		until = end
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	entries := newLastGoodRoots(eachOnce(s.materials), next.kept, now)
	reader := sourceReader{
		materials: entries, namespace: s.namespace,
		mirror: func(_ context.Context, c trust.MirrorConfig) trust.State { return s.keeper.State(c) },
	}
	readings := reader.readAll(ctx, t.Spec.Sources)
	next.kept = entries.now
	var before failing
	if old != nil {
		before = old.failing
	}
	next.failing = logFailures(ctx, name, t.Spec.Sources, readings, before)
	thresholds := thresholdsOf(t.Spec.Thresholds)
	next.material = material(readings, thresholds)
	if some := slices.ContainsFunc(readings, func(r rootReading) bool { return r.text != nil }); some && old != nil && old.material == next.material {
		next.united = old.united // it is costly to make
	} else {
		next.united = unite(readings, thresholds)
	}
	next.united.leaveOut(readings)
	next.state = &rootState{trusted{TrustInForce: TrustInForce{Trust: next.united.trust, Note: left(readings), Kept: keptOf(name, readings)}}}
	if next.united.err != nil {
		next.state = &rootState{trusted{err: errNoSource(name, readings)}}
	}
	next.report = rootReportOf(readings, next.united.trust, next.united.err)
}

// plan says when Secrets and ConfigMaps are to be read again: soon if one is missing.
func (e *rootEntry) plan(old *rootEntry, now time.Time, unchanged bool) {
	refers, waits := false, false
	for _, r := range e.report.Sources {
		if r.Kind == sourceSecret || r.Kind == sourceConfigMap {
			refers, waits = true, waits || r.Digest == "" && !r.Unfit
		}
	}
	switch {
	case waits:
		e.wait = retryAfter
		if old != nil && old.wait > 0 && unchanged {
			e.wait = min(2*old.wait, rereadAfter)
		}
		e.due = now.Add(e.wait)
	case refers:
		e.due = now.Add(rereadAfter)
	}
}

// unusable says why nothing can be judged by a TrustRoot. Policies are told the same, unless it is ours.
func (e *rootEntry) unusable(name, reason string, err error) {
	e.sources = nil
	e.state = &rootState{trusted{err: fmt.Errorf("TrustRoot %s: %w", name, err)}}
	if reason == ReasonInternalError {
		e.state.err = fmt.Errorf("TrustRoot %s: reading it failed: %s", name, seeRoot(name))
	}
	e.report = RootReport{Reason: reason, Message: line(err.Error(), maxMessage)}
}

// same tells whether two states are alike for those who judge by them.
func (s *rootState) same(o *rootState) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.TrustInForce == o.TrustInForce && fmt.Sprint(s.err) == fmt.Sprint(o.err)
}

// put replaces the entry of a TrustRoot; nil takes it out. Where old and next tell policies the same, the state stays the same one.
func (s *trustStore) put(ctx context.Context, name string, old, next *rootEntry) {
	before := s.lookup(name)
	s.mu.Lock()
	if next == nil {
		delete(s.entries, name)
	} else {
		if old != nil && next.state.same(old.state) {
			next.state = old.state
		}
		s.entries[name] = next
	}
	s.mu.Unlock()
	if s.lookup(name) != before {
		describeRoot(ctx, name, next)
		s.changed(name)
	}
	s.tell(name)
}

func describeRoot(ctx context.Context, name string, e *rootEntry) {
	logger := log.FromContext(ctx).WithValues("trustRoot", name)
	switch {
	case e == nil:
		logger.Info("trust root is gone")
	case e.state.err != nil:
		logger.Info("trust root can't be used, and policies that refer to it refuse what they match", "reason", e.report.Reason, "message", e.report.Message)
	default:
		logger.Info("trust root is in force", "digest", e.report.Digest, "message", e.report.Message)
	}
}

func (s *trustStore) schedule(name string, e *rootEntry) {
	if !e.due.IsZero() {
		s.queue.AddAfter(name, time.Until(e.due))
	}
}

// tell says to whoever writes statuses that one may have to be written.
func (s *trustStore) tell(name string) {
	s.mu.Lock()
	watcher := s.watcher
	s.mu.Unlock()
	if watcher != nil {
		watcher(name)
	}
}

// watch sets who is told of each TrustRoot whose status may have changed, and returns the TrustRoots there are.
func (s *trustStore) watch(f func(string)) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watcher = f
	var names []string
	for name := range s.entries {
		names = append(names, name)
	}
	return names
}

// read returns a TrustRoot as it was read, and the object that it was read from, which isn't to be changed.
func (s *trustStore) known(name string) (*unstructured.Unstructured, RootReport, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[name]
	if !ok || e.object == nil {
		return nil, RootReport{}, false
	}
	return e.object, e.report, true
}
