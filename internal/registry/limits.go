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
	// maxRequests bounds the requests in flight to all registries: so many took less than 80 MiB of heap and stacks, the
	// servers in the same process. Eight registries that don't answer can fill it, for the time that their callers have.
	maxRequests = 512
	// maxBytes bounds the bytes of bodies being read at once, over all registries: 64 of the largest manifests.
	maxBytes = 256 << 20
	// maxHostBytes is the share of them that one registry may hold, so that one that dribbles can't stop the others:
	// four of the largest manifests.
	maxHostBytes = maxBytes / 16
	// smallBody is what a body may take without waiting: nearly all manifests, signatures and bundles are smaller, so
	// that whoever fills the shares doesn't stop them. All requests together take 32 MiB so.
	smallBody = 64 << 10
)

// limits share out requests and memory among registries.
type limits struct {
	requests, bytes *semaphore.Weighted

	mu    sync.Mutex
	hosts map[string]*hostLimits
}

// hostLimits are one registry's share, kept while somebody uses it.
type hostLimits struct {
	users           int
	requests, bytes *semaphore.Weighted
}

func newLimits() *limits {
	return &limits{
		requests: semaphore.NewWeighted(maxRequests), bytes: semaphore.NewWeighted(maxBytes), hosts: map[string]*hostLimits{},
	}
}

// enter waits for one of the registry's request slots, and then for one of all: who waits for the registry keeps no
// other from its own. The caller calls leave when its request is over, body and all.
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
	leaveHost := func() {
		h.requests.Release(1)
		l.forget(host, h)
	}
	if err := l.requests.Acquire(ctx, 1); err != nil {
		leaveHost()
		return nil, failureOf(err)
	}
	return func() {
		l.requests.Release(1)
		leaveHost()
	}, nil
}

func (l *limits) forget(host string, h *hostLimits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.users--; h.users == 0 {
		delete(l.hosts, host)
	}
}

// reservation is the memory of one body that is being read. It grows as bytes come: for what is merely announced, or
// might come, nothing is held but of the registry's own share.
type reservation struct {
	limits *limits
	host   *hostLimits
	most   int64 // that it may grow to
	held   int64 // of limits; if more than 0, most is held of the host's share
}

// reserve makes a reservation for a body from this registry, of most bytes in the end. The caller has entered, and
// calls free when the body is read.
func (l *limits) reserve(host string, most int64) *reservation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &reservation{limits: l, host: l.hosts[host], most: most}
}

// grow waits until a body may be of n bytes. A body that is no longer small first takes all it may need of its
// registry's share: were the share taken step by step, many bodies of one registry could wait for each other. Those of
// many registries can, once sixteen have sent us their full shares; then it ends with the first caller's deadline.
func (r *reservation) grow(ctx context.Context, n int64) error {
	if n <= smallBody || n <= r.held {
		return nil
	}
	if r.held == 0 {
		if err := r.host.bytes.Acquire(ctx, r.most); err != nil {
			return failureOf(err)
		}
	}
	if err := r.limits.bytes.Acquire(ctx, n-r.held); err != nil {
		if r.held == 0 {
			r.host.bytes.Release(r.most)
		}
		return failureOf(err)
	}
	r.held = n
	return nil
}

// free gives everything back.
func (r *reservation) free() {
	if r.held > 0 {
		r.limits.bytes.Release(r.held)
		r.host.bytes.Release(r.most)
		r.held = 0
	}
}
