package registry

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/pratique-dev/pratique/pkg/verify"
)

const (
	// maxAccesses bounds the credential sets held at once: about one for each namespace with pull secrets of its own.
	maxAccesses = 2048
	// maxAccessBytes bounds the bytes that they hold together: four times what so many hold of usual size, one secret
	// of 2 KiB and what is around it. Who makes Secrets without end pushes out others' accesses, which costs those a
	// login, and no memory.
	maxAccessBytes = 16 << 20
	// accessUnused is for how long one is held that nobody asks for: a Secret that is gone shouldn't live on here, and
	// who reads less often than that can log in again.
	accessUnused = 30 * time.Minute
	// accessOverhead and entryHeld are what an access and each of its entries hold besides the text of its secrets, in bytes.
	accessOverhead = 512
	entryHeld      = 256
)

// accesses hold the accesses in use, the one that was asked for last at the end.
type accesses struct {
	now func() time.Time

	mu    sync.Mutex
	lru   *simplelru.LRU[verify.Access, *heldAccess]
	bytes int
}

type heldAccess struct {
	*Access
	bytes int
	used  time.Time
}

func newAccesses(now func() time.Time) *accesses {
	a := &accesses{now: now}
	a.lru, _ = simplelru.NewLRU(maxAccesses, func(_ verify.Access, gone *heldAccess) { // fails only for a size of 0
		a.bytes -= gone.bytes
	})
	return a
}

// get returns the access with the id of the one made, which is held if there is none.
func (a *accesses) get(made *Access) *Access {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	held, ok := a.lru.Get(made.id)
	if !ok {
		held = &heldAccess{Access: made, bytes: made.creds.held()}
		a.lru.Add(made.id, held)
		a.bytes += held.bytes
	}
	held.used = now
	for {
		_, oldest, some := a.lru.GetOldest()
		if !some || a.bytes <= maxAccessBytes && now.Sub(oldest.used) < accessUnused {
			return held.Access
		}
		a.lru.RemoveOldest()
	}
}

// held is what an access with these credentials holds, in bytes.
func (c Credentials) held() int {
	n := accessOverhead
	for _, e := range c.entries {
		n += entryHeld + len(e.encode())
	}
	return n
}
