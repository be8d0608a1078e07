package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// maxHeldBytes bounds the small papers, in bytes, that are held over all images until they are judged: thousands of images with a few papers of
	// some KiB. What is read of a registry is its own to send, and as large as it likes within MaxSmallPaper.
	maxHeldBytes = 128 << 20
	// maxSiteShare is the share of them that one site may have: a quarter.
	maxSiteShare = 4
	// heldWait is how long a paper is waited with for room: papers are judged in milliseconds.
	heldWait = 2 * time.Second
	// maxAccount bounds what one gathering holds at once: more than the papers of nearly all images. Others are fetched after those were judged, one
	// at a time, so that no image has a site's whole share.
	maxAccount = 4 << 20
	// maxKeptBytes bounds the papers of one image that are kept for who comes to its gathering late with other questions.
	maxKeptBytes = 64 << 10
)

// errNoRoom says that too much was held by others, and errLater that enough is held for this image.
var (
	errNoRoom = errors.New("too many papers are being looked at; try again")
	errLater  = errors.New("enough papers of this image are held")
)

// room shares out memory among sites.
type room struct {
	most int64

	mu    sync.Mutex
	all   int64
	sites map[string]int64
	freed chan struct{} // closed when some becomes free
}

func newRoom(most int64) *room {
	return &room{most: most, sites: map[string]int64{}, freed: make(chan struct{})}
}

// take takes some for a site, or returns what to wait for.
func (r *room) take(site string, n int64) (wait <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all+n > r.most || r.sites[site]+n > r.most/maxSiteShare {
		return r.freed
	}
	r.all += n
	r.sites[site] += n
	return nil
}

func (r *room) give(site string, n int64) {
	if n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all -= n
	if r.sites[site] -= n; r.sites[site] == 0 {
		delete(r.sites, site)
	}
	close(r.freed)
	r.freed = make(chan struct{})
}

// account is what one gathering holds of a room.
type account struct {
	room *room
	site string

	mu   sync.Mutex
	held int64
}

func (r *room) account(site string) *account { return &account{room: r, site: site} }

// take counts bytes that came, and waits a while where there is no room for them: then they are let go.
func (a *account) take(ctx context.Context, n int64) error {
	if n == 0 {
		return nil
	}
	a.mu.Lock()
	if a.held+n > maxAccount {
		a.mu.Unlock()
		return errLater
	}
	a.held += n // so that no two have the last of it
	a.mu.Unlock()
	err := a.wait(ctx, n)
	if err != nil {
		a.mu.Lock()
		a.held -= n
		a.mu.Unlock()
	}
	return err
}

func (a *account) wait(ctx context.Context, n int64) error {
	timer := time.NewTimer(heldWait)
	defer timer.Stop()
	for {
		wait := a.room.take(a.site, n)
		if wait == nil {
			return nil
		}
		select {
		case <-wait:
		case <-timer.C:
			return errNoRoom
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errNoRoom, ctx.Err())
		}
	}
}

// close gives everything back, and says how much it was.
func (a *account) close() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.held
	a.held = 0
	a.room.give(a.site, n)
	return n
}

// drop lets go of papers once they were judged for all that was asked, but for a few small ones: who comes late with other questions has
// those, or gathers anew.
func (g *gathered) drop(held int64) {
	if g == nil || held <= maxKeptBytes {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.candidates {
		c.drop()
	}
}
