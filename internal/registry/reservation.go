package registry

import (
	"context"
	"sync"
	"time"
)

// maxKept is how long the memory of a large body stays counted at most once it is read: longer than anybody looks at papers. Somebody may have
// asked for it who waits no longer.
const maxKept = 30 * time.Second

// reservation is the memory of one body that is being read. It grows as bytes come: for what is merely announced, or
// might come, nothing is held but of the registry's own share.
type reservation struct {
	seat  *seat
	most  int64 // that it may grow to
	large bool  // of the pools for large bodies
	held  int64 // of the wide shares; if more than 0, most is held of the narrow one
}

// reserve makes a reservation for a body, of most bytes in the end. The caller calls free when the body is read.
func (s *seat) reserve(most int64, large bool) *reservation {
	return &reservation{seat: s, most: most, large: large}
}

// grow waits until a body may be of n bytes. A body that is no longer small first takes all it may need of its
// registry's share: were the share taken step by step, many bodies of one registry could wait for each other. Those of
// many registries can, once they have sent us their full shares, and as many of those as fill a wider one; then it ends
// with the first caller's deadline.
func (r *reservation) grow(ctx context.Context, n int64) error {
	if n <= smallBody || n <= r.held {
		return nil
	}
	start := r.seat.limits.now()
	defer func() { r.seat.waited += r.seat.limits.now().Sub(start) }()
	if r.large {
		return r.growLarge(ctx)
	}
	if r.held == 0 {
		if err := r.seat.narrow.bytes.Acquire(ctx, r.most); err != nil {
			return failureOf(err)
		}
	}
	for i, each := range r.seat.wide {
		err := each.bytes.Acquire(ctx, n-r.held)
		if err == nil {
			continue
		}
		for _, taken := range r.seat.wide[:i] {
			taken.bytes.Release(n - r.held)
		}
		if r.held == 0 {
			r.seat.narrow.bytes.Release(r.most)
		}
		return failureOf(err)
	}
	r.held = n
	return nil
}

// growLarge takes all that a large body will need, and of every share, now that some of it has come: were it taken step by
// step, two that are nearly there could wait for each other.
func (r *reservation) growLarge(ctx context.Context) error {
	if r.held > 0 {
		return nil
	}
	shares := r.shares()
	for i, each := range shares {
		if err := each.large.Acquire(ctx, largeCost(r.most)); err != nil {
			for _, taken := range shares[:i] {
				taken.large.Release(largeCost(r.most))
			}
			return failureOf(err)
		}
	}
	r.held = r.most
	r.seat.limits.countLarge(r.seat.host, 1)
	return nil
}

// shares are all that a large body is held to, the narrow one first.
func (r *reservation) shares() []*share { return append([]*share{r.seat.narrow}, r.seat.wide...) }

// largeCost is what reading a large body takes, in bytes: its buffer, and at the last step the one before it, of a quarter.
func largeCost(n int64) int64 { return n/4*5 + 5 }

// free gives everything back.
func (r *reservation) free() {
	if r.held == 0 {
		return
	}
	if r.large {
		for _, each := range r.shares() {
			each.large.Release(largeCost(r.most))
		}
		r.held = 0
		r.seat.limits.countLarge(r.seat.host, -1)
		return
	}
	for _, each := range r.seat.wide {
		each.bytes.Release(r.held)
	}
	r.seat.narrow.bytes.Release(r.most)
	r.held = 0
}

// keep keeps the memory of a large body counted until what it returns is called, though the request is over: who read it holds it still. The
// reservation is then free of it. It returns nil where nothing is held.
func (r *reservation) keep() (release func()) {
	if !r.large || r.held == 0 {
		return nil
	}
	l, shares, keys, cost := r.seat.limits, r.shares(), r.seat.used, largeCost(r.most)
	l.again(keys)
	l.countLarge(r.seat.host, -1)
	r.held = 0
	var once sync.Once
	free := func() {
		once.Do(func() {
			for _, each := range shares {
				each.large.Release(cost)
			}
			for _, key := range keys {
				l.forget(key)
			}
		})
	}
	timer := time.AfterFunc(maxKept, free)
	return func() { timer.Stop(); free() }
}

// again takes hold of shares once more, whose user calls forget for each.
func (l *limits) again(keys []shareKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		l.kept[key].users++
	}
}

// countLarge counts the large bodies that are being read from a registry.
func (l *limits) countLarge(host string, by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.large[host] += by; l.large[host] == 0 {
		delete(l.large, host)
	}
}

// readsLarge tells whether a large body is coming from a registry; one that comes too slowly is given up.
func (l *limits) readsLarge(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.large[host] > 0
}
