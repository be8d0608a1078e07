package registry

import (
	"bytes"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

const (
	// maxContentBytes bounds the content cache, in bytes held: a quarter of what the evidence of 100,000 images may take.
	maxContentBytes = 64 << 20
	// maxContentEntry bounds one entry of it: signatures and bundles are kilobytes; one SBOM shouldn't push out thousands.
	maxContentEntry = 1 << 20
	// entryOverhead is what an entry costs besides its content and the name of its repository: key, list element, map
	// slot, and the digest in hexadecimal.
	entryOverhead = 576
	// manifestFresh is for how long a manifest that was read shows that the image is there and that it may be read:
	// the time between resolving a tag and listing what is attached.
	manifestFresh = 10 * time.Second
)

// contentKey is what content is kept under: what one reader was shown isn't told to another.
type contentKey struct {
	access     verify.Access
	repository string
	digest     v1.Hash
}

// content is a manifest or a blob whose hash was checked.
type content struct {
	body      []byte
	mediaType string    // of a manifest, from the header it came with or its own field; empty for a blob
	readAt    time.Time // when the registry last gave it
}

// contents is a cache of content by digest, bounded by bytes. It needs no expiry: a digest is always the same bytes.
type contents struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[contentKey, content]
	bytes int
}

func newContents() *contents {
	c := &contents{}
	// The bound is by bytes; the number is the most of the smallest entries that they allow.
	c.lru, _ = simplelru.NewLRU(maxContentBytes/entryOverhead, func(key contentKey, gone content) { // fails only for a size of 0
		c.bytes -= cost(key, gone)
	})
	return c
}

// get returns content that must not be changed.
func (c *contents) get(key contentKey) (content, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Get(key)
}

// cost is what an entry holds, in bytes.
func cost(key contentKey, what content) int {
	return cap(what.body) + len(key.repository) + entryOverhead
}

// put keeps a copy of content: the buffer that it was read into may be many times as large.
func (c *contents) put(key contentKey, what content) {
	if len(what.body) > maxContentEntry {
		return
	}
	what.body = bytes.Clone(what.body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lru.Remove(key)
	c.lru.Add(key, what)
	c.bytes += cost(key, what)
	for c.bytes > maxContentBytes {
		c.lru.RemoveOldest()
	}
}
