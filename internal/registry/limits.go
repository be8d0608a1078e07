package registry

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/semaphore"

	"github.com/pratique-dev/pratique/pkg/verify"
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

	// maxLarge is what reading the largest paper takes, in bytes: see largeCost. Papers over largeBody have pools of their
	// own, so that however many of them come, and however slowly, there is the room above for the small ones.
	maxLarge = (verify.MaxPaper+1)/4*5 + 5
	// maxLargeBytes is for those of all registries: three of the largest, or a dozen of usual size.
	maxLargeBytes = 3 * maxLarge
	// maxUnnamedLargeBytes is for those of all the registries that the install's list doesn't name, which leaves those that
	// it does room for one of the largest. One registry, one site and all that aren't proven may each have one of the largest.
	maxUnnamedLargeBytes = 2 * maxLarge

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

// share is an amount of requests, of bytes, and of bytes of large bodies, that some have together.
type share struct {
	requests, bytes, large *semaphore.Weighted
}

func newShare(requests, bytes, large int64) *share {
	return &share{semaphore.NewWeighted(requests), semaphore.NewWeighted(bytes), semaphore.NewWeighted(large)}
}

// limits share out requests and memory among registries.
type limits struct {
	all, unnamed, doubted *share
	named                 func(host string) bool // by the install's list
	now                   func() time.Time

	mu     sync.Mutex
	kept   map[shareKey]*keptShare
	large  map[string]int              // large bodies that are being read, by host
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
		all: newShare(maxRequests, maxBytes, maxLargeBytes), unnamed: newShare(maxUnnamedRequests, maxUnnamedBytes, maxUnnamedLargeBytes),
		doubted: newShare(maxDoubtedRequests, maxDoubtedBytes, maxLarge),
		named:   named, now: time.Now, kept: map[shareKey]*keptShare{}, large: map[string]int{},
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
			k.share, k.proven = newShare(maxHostRequests, maxHostBytes, maxLarge), make(chan struct{})
		case siteShare:
			k.share = newShare(maxSiteRequests, maxSiteBytes, maxLarge)
		case doubtedSiteShare:
			k.share = newShare(maxDoubtedSiteRequests, maxDoubtedSiteBytes, maxLarge)
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
	waited time.Duration // of that, for memory, and for large bodies as long as they came at a good rate
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
