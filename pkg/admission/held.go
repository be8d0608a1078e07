package admission

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"k8s.io/apimachinery/pkg/types"
)

// entryBytes is what is held of an object besides its content, in bytes: names, and the cache's own.
const entryBytes = 512

// held holds what was read of objects, each for the same while, bounded in number and in bytes: the least used go first.
type held[V any] struct {
	mu    sync.Mutex // one put at a time; what expires takes the counter's lock alone
	most  int
	lru   *expirable.LRU[types.NamespacedName, sized[V]]
	count struct {
		sync.Mutex
		bytes int
	}
}

type sized[V any] struct {
	value V
	bytes int
}

func newHeld[V any](entries, bytes int, hold time.Duration) *held[V] {
	h := &held[V]{most: bytes}
	h.lru = expirable.NewLRU(entries, func(_ types.NamespacedName, s sized[V]) { h.add(-s.bytes) }, hold)
	return h
}

func (h *held[V]) get(at types.NamespacedName) (V, bool) {
	s, ok := h.lru.Get(at)
	return s.value, ok
}

// put holds a value of so many bytes. One that is larger than all may be together is not held.
func (h *held[V]) put(at types.NamespacedName, value V, bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	bytes += entryBytes
	h.lru.Remove(at) // else it would be overwritten, and nobody told
	if bytes > h.most {
		return
	}
	for h.add(0)+bytes > h.most {
		if _, _, ok := h.lru.RemoveOldest(); !ok {
			break
		}
	}
	h.add(bytes)
	h.lru.Add(at, sized[V]{value, bytes})
}

// add counts bytes that are held, or no longer, and returns all.
func (h *held[V]) add(bytes int) int {
	h.count.Lock()
	defer h.count.Unlock()
	h.count.bytes += bytes
	return h.count.bytes
}
