package verify

import (
	"hash/maphash"
	"math"
	"sync"
	"time"
	"unsafe"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// How long findings are good for. Policies, ages and exceptions are judged anew on every request, so these bound
// only how late a change in the registry is seen.
const (
	// ServeFor is how long evidence is served without a question to the registry.
	ServeFor = 10 * time.Minute
	// RefreshFor is how long it is served while the papers are listed anew behind the request; after that they are listed first.
	RefreshFor = 20 * time.Minute
	// KeepFor is how long it is kept while the registry fails.
	KeepFor = 24 * time.Hour
	// NothingFor is how long "nothing more found" is believed: a refusal never rests on an older listing.
	NothingFor = 5 * time.Second
)

// DefaultCacheBytes is the memory that findings may take unless told otherwise: 100,000 images with one signature each.
const DefaultCacheBytes = 256 << 20

// cacheShards spreads the locks, and is few enough that the facts of the largest papers fit into one shard: 16 MiB, unless told otherwise.
const cacheShards = 16

// key says what findings are about. It is a struct and not a joined string, so that no two collide by their seams.
type key struct {
	repository string
	digest     string
	access     Access
	question   Fingerprint
}

// cache holds findings, bounded by bytes.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]shard
}

type shard struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[key, Findings]
	bytes int64
	most  int64
}

func newCache(bytes int64) (*cache, error) {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		s := &c.shards[i]
		s.most = bytes / cacheShards
		lru, err := simplelru.NewLRU(math.MaxInt, func(k key, f Findings) { s.bytes -= cost(k, f) })
		if err != nil {
			return nil, err
		}
		s.lru = lru
	}
	return c, nil
}

func (c *cache) shard(k key) *shard {
	return &c.shards[maphash.Comparable(c.seed, k)%cacheShards]
}

func (c *cache) get(k key) (Findings, bool) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lru.Get(k)
}

// put stores findings and evicts the longest unused until the shard is within its bytes. What is larger than a shard isn't kept.
func (c *cache) put(k key, f Findings) (evicted int) {
	s, size := c.shard(k), cost(k, f)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lru.Remove(k)
	if size > s.most {
		return 0
	}
	s.lru.Add(k, f)
	s.bytes += size
	for s.bytes > s.most {
		if _, _, ok := s.lru.RemoveOldest(); !ok {
			break
		}
		evicted++
	}
	return evicted
}

// size returns the bytes and entries held.
func (c *cache) size() (bytes int64, entries int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		bytes += s.bytes
		entries += s.lru.Len()
		s.mu.Unlock()
	}
	return bytes, entries
}

// entryOverhead is what the map and the list of an LRU add to an entry, in bytes, measured and rounded up.
const entryOverhead = 512

// childOverhead is what the strings of a child take beyond their length, in bytes: the text that a digest is a part of, and rounding.
const childOverhead = 24

// cost estimates the bytes that an entry holds on the heap.
func cost(k key, f Findings) int64 {
	n := entryOverhead + int64(unsafe.Sizeof(k)) + int64(len(k.repository)+len(k.digest)) + int64(unsafe.Sizeof(f))
	for _, e := range f.Evidence {
		n += int64(unsafe.Sizeof(e)) + int64(len(e.subject.Hex)+len(e.source.Hex)+len(e.predicateType)+len(e.who.Value().Text)) + e.said.size()
	}
	for _, c := range f.Children { // shared among authorities, and counted for each
		n += childOverhead + int64(unsafe.Sizeof(c)) + int64(len(c.Digest.Hex)+len(c.Platform.OS)+len(c.Platform.Architecture)+len(c.Platform.Variant))
	}
	for _, m := range f.Misses {
		n += int64(unsafe.Sizeof(m)) + int64(len(m.Claimed)+len(m.Why)+len(m.Source.Hex))
	}
	for _, u := range f.Unanswered {
		n += int64(unsafe.Sizeof(*u)) + 32 + int64(len(u.Host)+len(u.Err.Error()))
	}
	return n
}
