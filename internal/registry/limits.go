package registry

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/semaphore"
)

// Bounds over all that runs at once. Which of them a registry is held to depends on its standing: see standing.go.
const (
	// maxHostRequests bounds the requests in flight to one registry: ten images looked for in all six places at once,
	// and few enough that no registry takes us for an attack.
	maxHostRequests = 64
	// maxRequests bounds the requests in flight to all registries: so many took less than 80 MiB of heap and stacks, the
	// servers in the same process.
	maxRequests = 512
	// maxBytes bounds the bytes of bodies being read at once, over all registries: 64 of the largest manifests.
	maxBytes = 256 << 20
	// maxHostBytes is the share of them that one registry may hold, so that one that dribbles can't stop the others:
	// four of the largest manifests.
	maxHostBytes = maxBytes / 16
	// smallBody is what a body may take without waiting: nearly all manifests, signatures and bundles are smaller, so
	// that whoever fills the shares doesn't stop them. All requests together take 32 MiB so.
	smallBody = 64 << 10

	// maxUnnamedRequests and maxUnnamedBytes are for all the registries that the install's list doesn't name: an eighth
	// is left to those that it does, whatever anyone's images do. It is a full registry's share.
	maxUnnamedRequests = maxRequests / 8 * 7
	maxUnnamedBytes    = maxBytes / 8 * 7
	// maxSiteRequests and maxSiteBytes are for all those of one site: whoever has a domain has any number of hosts.
	maxSiteRequests = maxRequests / 4
	maxSiteBytes    = maxBytes / 4
	// maxDoubtedRequests and maxDoubtedBytes are for all the registries that aren't proven, so that those that only take
	// our time leave the others three quarters of all.
	maxDoubtedRequests = maxRequests / 4
	maxDoubtedBytes    = maxBytes / 4
	// maxDoubtedSiteRequests is for those of one site: one image is asked about five times side by side. Sixteen sites
	// that stall, and not sixteen names, stop the registries that are asked for the first time, and only these.
	maxDoubtedSiteRequests = 8
	// maxDoubtedSiteBytes is one of the largest manifests, and papers beside it.
	maxDoubtedSiteBytes = maxHostBytes / 2
)

// share is an amount of requests and of bytes that some have together.
type share struct {
	requests, bytes *semaphore.Weighted
}

func newShare(requests, bytes int64) *share {
	return &share{semaphore.NewWeighted(requests), semaphore.NewWeighted(bytes)}
}

// limits share out requests and memory among registries.
type limits struct {
	all, unnamed, doubted *share
	named                 func(host string) bool // by the install's list
	now                   func() time.Time

	mu     sync.Mutex
	kept   map[shareKey]*keptShare
	credit *simplelru.LRU[string, int] // whole answers of late, of those that gave any; see note
}

// shareKey tells shares of hosts and sites apart.
type shareKey struct {
	kind shareKind
	name string
}

type shareKind int

const (
	hostShare shareKind = iota
	siteShare
	doubtedSiteShare
)

// keptShare is the share of a host or a site, kept while somebody uses it.
type keptShare struct {
	*share
	users  int
	proven chan struct{} // of a host: closed when it is proven
}

// newLimits returns limits for which named tells what hosts the install names; nil for none.
func newLimits(named func(host string) bool) *limits {
	if named == nil {
		named = func(string) bool { return false }
	}
	l := &limits{
		all: newShare(maxRequests, maxBytes), unnamed: newShare(maxUnnamedRequests, maxUnnamedBytes),
		doubted: newShare(maxDoubtedRequests, maxDoubtedBytes),
		named:   named, now: time.Now, kept: map[shareKey]*keptShare{},
	}
	l.credit, _ = simplelru.NewLRU[string, int](maxStandings, nil) // fails only for a size of 0
	return l
}

// use takes hold of a share, whose user calls forget.
func (l *limits) use(key shareKey) *keptShare {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.kept[key]
	if !ok {
		k = &keptShare{}
		switch key.kind {
		case hostShare:
			k.share, k.proven = newShare(maxHostRequests, maxHostBytes), make(chan struct{})
		case siteShare:
			k.share = newShare(maxSiteRequests, maxSiteBytes)
		case doubtedSiteShare:
			k.share = newShare(maxDoubtedSiteRequests, maxDoubtedSiteBytes)
		}
		l.kept[key] = k
	}
	k.users++
	return k
}

func (l *limits) forget(key shareKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kept[key]
	if k.users--; k.users == 0 {
		delete(l.kept, key)
	}
}

// seat is one request's place among all: a slot of each share that it is held to.
type seat struct {
	limits *limits
	host   string
	since  time.Time
	waited time.Duration // of that, for memory
	used   []shareKey
	slots  []*share
	// narrow is the share of bytes of the registry, or of the site that isn't proven; wide are those beyond it.
	narrow *share
	wide   []*share
}

// enter waits for a slot of the registry's share, and then for one of each wider share: who waits for the registry
// keeps no other from its own. The caller calls leave when its request is over, body and all.
func (l *limits) enter(ctx context.Context, host string) (*seat, error) {
	s := &seat{limits: l, host: host}
	if err := s.enter(ctx); err != nil {
		s.release()
		return nil, failureOf(err)
	}
	s.since = l.now()
	return s, nil
}

func (s *seat) enter(ctx context.Context) error {
	l := s.limits
	own := s.use(shareKey{hostShare, s.host})
	if err := s.take(ctx, own.share); err != nil {
		return err
	}
	if l.named(s.host) {
		s.narrow, s.wide = own.share, []*share{l.all}
		return s.take(ctx, l.all)
	}
	doubted, err := s.enterDoubted(ctx, own)
	if err != nil {
		return err
	}
	if !doubted {
		site := s.use(shareKey{siteShare, siteOf(s.host)})
		if err := s.take(ctx, site.share); err != nil {
			return err
		}
		s.narrow, s.wide = own.share, []*share{site.share}
	}
	s.wide = append(s.wide, l.unnamed, l.all)
	if err := s.take(ctx, l.unnamed); err != nil {
		return err
	}
	return s.take(ctx, l.all)
}

// enterDoubted waits for slots of those shares that registries have that aren't proven, until this one is.
func (s *seat) enterDoubted(ctx context.Context, own *keptShare) (doubted bool, err error) {
	proven := s.limits.untilProven(s.host, own)
	if proven == nil {
		return false, nil
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-proven:
			stop()
		case <-waiting.Done():
		}
	}()
	before := len(s.slots)
	site := s.use(shareKey{doubtedSiteShare, siteOf(s.host)})
	for _, each := range []*share{site.share, s.limits.doubted} {
		if err := s.take(waiting, each); err != nil {
			s.giveBack(before)
			return false, ctx.Err() // nil: proven while it waited
		}
	}
	s.narrow, s.wide = site.share, []*share{s.limits.doubted}
	return true, nil
}

func (s *seat) use(key shareKey) *keptShare {
	s.used = append(s.used, key)
	return s.limits.use(key)
}

func (s *seat) take(ctx context.Context, from *share) error {
	if err := from.requests.Acquire(ctx, 1); err != nil {
		return err
	}
	s.slots = append(s.slots, from)
	return nil
}

// giveBack gives slots back but for the first n.
func (s *seat) giveBack(n int) {
	for _, each := range s.slots[n:] {
		each.requests.Release(1)
	}
	s.slots = s.slots[:n]
}

func (s *seat) release() {
	s.giveBack(0)
	for _, key := range s.used {
		s.limits.forget(key)
	}
	s.used = nil
}

// leave gives all slots back, and notes how the request ended: with err, or with a whole answer.
func (s *seat) leave(err error) {
	s.limits.note(s.host, err, s.limits.now().Sub(s.since)-s.waited)
	s.release()
}

// reservation is the memory of one body that is being read. It grows as bytes come: for what is merely announced, or
// might come, nothing is held but of the registry's own share.
type reservation struct {
	seat *seat
	most int64 // that it may grow to
	held int64 // of the wide shares; if more than 0, most is held of the narrow one
}

// reserve makes a reservation for a body, of most bytes in the end. The caller calls free when the body is read.
func (s *seat) reserve(most int64) *reservation { return &reservation{seat: s, most: most} }

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

// free gives everything back.
func (r *reservation) free() {
	if r.held == 0 {
		return
	}
	for _, each := range r.seat.wide {
		each.bytes.Release(r.held)
	}
	r.seat.narrow.bytes.Release(r.most)
	r.held = 0
}
