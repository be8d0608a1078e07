package registry

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// flights lets many who ask for the same thing at once wait for one answer. The work outlives whoever asked first: it
// ends with its own time-out. A result is handed to those who waited and not kept. The zero flights are ready for use.
type flights[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*flight[V]
}

type flight[V any] struct {
	done  chan struct{} // closed when value and err are there
	value V
	err   error
}

// do returns what work returns, having started it unless it runs already for this key. When ctx ends first, the work
// goes on for the others. Work that runs already may be short of time: who joined it, and has time left when its time is
// up, tries once more.
func (f *flights[K, V]) do(ctx context.Context, key K, timeout time.Duration, guard panicGuard, work func(context.Context) (V, error)) (V, error) {
	value, joined, err := f.once(ctx, key, timeout, guard, work)
	if joined && timedOut(err) && ctx.Err() == nil {
		value, _, err = f.once(ctx, key, timeout, guard, work)
	}
	return value, err
}

// once starts work or joins it, and waits for its end.
func (f *flights[K, V]) once(ctx context.Context, key K, timeout time.Duration, guard panicGuard, work func(context.Context) (V, error)) (_ V, joined bool, _ error) {
	f.mu.Lock()
	call, running := f.calls[key]
	if !running {
		if f.calls == nil {
			f.calls = map[K]*flight[V]{}
		}
		call = &flight[V]{done: make(chan struct{})}
		f.calls[key] = call
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		go func() {
			defer cancel()
			call.err = guard.run(func() (err error) {
				call.value, err = work(detached)
				return err
			})
			f.mu.Lock()
			delete(f.calls, key)
			f.mu.Unlock()
			close(call.done)
		}()
	}
	f.mu.Unlock()
	select {
	case <-call.done:
		return call.value, running, call.err
	case <-ctx.Done():
		var none V
		return none, running, failureOf(ctx.Err())
	}
}

// queue lets who would ask for the same thing at once come after who asks for it already, to find it held by then. Unlike
// a flight, nothing outlives who asks, and who finds nothing asks as well, without waiting again. The zero queue is ready for use.
type queue[K comparable] struct {
	mu   sync.Mutex
	busy map[K]chan struct{} // closed when who asks is done
}

// after calls work, if somebody is at work for this key once that one is done or ctx ends.
func (q *queue[K]) after(ctx context.Context, key K, work func() error) error {
	q.mu.Lock()
	before, busy := q.busy[key]
	if !busy {
		if q.busy == nil {
			q.busy = map[K]chan struct{}{}
		}
		done := make(chan struct{})
		q.busy[key] = done
		defer func() {
			q.mu.Lock()
			delete(q.busy, key)
			q.mu.Unlock()
			close(done)
		}()
	}
	q.mu.Unlock()
	if busy {
		select {
		case <-before:
		case <-ctx.Done():
		}
	}
	return work()
}

// panicGuard turns a panic into an error, and reports it.
type panicGuard struct {
	report func(value any, stack []byte) // may be nil
}

// run calls work. A panic in it comes out as a failure that says nothing about the image.
func (g panicGuard) run(work func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			if g.report != nil {
				g.report(value, debug.Stack())
			}
			err = refuse(verify.Unavailable, "internal error while reading the registry: %s", printable(fmt.Sprint(value)))
		}
	}()
	return work()
}

// each calls the works side by side and returns when all are done, with their errors in the same order.
func (g panicGuard) each(works ...func() error) []error {
	errs := make([]error, len(works))
	var wg sync.WaitGroup
	for i, work := range works {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = g.run(work)
		}()
	}
	wg.Wait()
	return errs
}
