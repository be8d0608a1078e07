package registry

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Bounds over all that runs at once.
const (
	// maxHostRequests bounds the requests in flight to one registry: ten images looked for in all six places at once,
	// and few enough that no registry takes us for an attack.
	maxHostRequests = 64
	// maxBytes bounds the bytes of bodies being read at once, over all registries: four of the largest payloads.
	maxBytes = 256 << 20
	// maxHostBytes is the share of them that one registry may hold, so that one that dribbles can't stop the others.
	maxHostBytes = maxBytes / 2
)

// limits share out requests and memory among registries.
type limits struct {
	bytes *semaphore.Weighted
	mu    sync.Mutex
	hosts map[string]*hostLimits
}

// hostLimits are one registry's share, kept while somebody uses it.
type hostLimits struct {
	users           int
	requests, bytes *semaphore.Weighted
}

func newLimits() *limits {
	return &limits{bytes: semaphore.NewWeighted(maxBytes), hosts: map[string]*hostLimits{}}
}

// enter waits for one of the registry's request slots. The caller calls leave when its request is over, body and all.
func (l *limits) enter(ctx context.Context, host string) (leave func(), err error) {
	l.mu.Lock()
	h, ok := l.hosts[host]
	if !ok {
		h = &hostLimits{requests: semaphore.NewWeighted(maxHostRequests), bytes: semaphore.NewWeighted(maxHostBytes)}
		l.hosts[host] = h
	}
	h.users++
	l.mu.Unlock()
	if err := h.requests.Acquire(ctx, 1); err != nil {
		l.forget(host, h)
		return nil, failureOf(err)
	}
	return func() {
		h.requests.Release(1)
		l.forget(host, h)
	}, nil
}

func (l *limits) forget(host string, h *hostLimits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.users--; h.users == 0 {
		delete(l.hosts, host)
	}
}

// reserve waits until n bytes may be held for a body from this registry. The caller has entered, and calls the
// function returned when the body is read.
func (l *limits) reserve(ctx context.Context, host string, n int64) (free func(), err error) {
	l.mu.Lock()
	h := l.hosts[host]
	l.mu.Unlock()
	if err := h.bytes.Acquire(ctx, n); err != nil {
		return nil, failureOf(err)
	}
	if err := l.bytes.Acquire(ctx, n); err != nil {
		h.bytes.Release(n)
		return nil, failureOf(err)
	}
	return func() {
		l.bytes.Release(n)
		h.bytes.Release(n)
	}, nil
}
