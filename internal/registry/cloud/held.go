package cloud

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Bounds of what is held.
const (
	// maxHeld bounds the passwords held, of some kilobytes each: one for a region or a registry, of which an install
	// names a handful.
	maxHeld = 256
	// maxAge is how long one is held, whatever it is good for: so that the registries of one region, asked together, are
	// one login, and whoever was turned away with a password a minute old gets another one.
	maxAge = time.Minute
	// early is how long before it expires it isn't served any more: a request may take some of it.
	early = 2 * time.Minute
	// maxLife bounds what a cloud may say of a password's life: none gives more than a day.
	maxLife = 24 * time.Hour
)

// grant is what a cloud gave: a user and a password. It is a secret.
type grant struct {
	username, password string
	expires            time.Time
}

// Format implements fmt.Formatter, so that no verb shows anything.
func (grant) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[credentials]")) }

// held is a grant and when it was got.
type held struct {
	grant
	since time.Time
}

// work gets a grant.
type work func(context.Context) (grant, error)

// logins holds grants, and lets those who ask for one that is being got wait for it.
type logins struct {
	now func() time.Time

	mu      sync.Mutex
	have    *simplelru.LRU[string, held]
	running map[string]*flight
}

// flight is a grant that is being got, by one of its callers.
type flight struct {
	done      chan struct{} // closed when the rest is there
	got       grant
	err       error
	abandoned bool // the caller's own time ended it, or a panic: it says nothing to those who wait
}

func newLogins(now func() time.Time) *logins {
	have, err := simplelru.NewLRU[string, held](maxHeld, nil)
	if err != nil {
		panic(err) // only for a size that isn't positive
	}
	return &logins{now: now, have: have, running: map[string]*flight{}}
}

// login returns the grant of a key: the one held, or else what get returns. One caller gets it, and the others wait, each
// no longer than its own ctx. Host is the registry in errors.
func (l *logins) login(ctx context.Context, host, key string, get work) (username, password string, expires time.Time, err error) {
	g, err := l.grant(ctx, key, get)
	if err != nil {
		return "", "", time.Time{}, named(err, host)
	}
	return g.username, g.password, g.expires, nil
}

func (l *logins) grant(ctx context.Context, key string, get work) (grant, error) {
	for {
		if err := ctx.Err(); err != nil {
			return grant{}, silence(err, "nobody was asked", "")
		}
		l.mu.Lock()
		if g, ok := l.usable(key); ok {
			l.mu.Unlock()
			return g, nil
		}
		f, running := l.running[key]
		if !running {
			f = &flight{done: make(chan struct{})}
			l.running[key] = f
		}
		l.mu.Unlock()
		if !running {
			return l.lead(ctx, key, f, get)
		}
		select {
		case <-f.done:
			if !f.abandoned {
				return f.got, f.err
			}
		case <-ctx.Done():
			return grant{}, silence(ctx.Err(), "another login to the same place", "")
		}
	}
}

// usable returns the grant that is held for a key, if it is still to be served. The caller holds the lock.
func (l *logins) usable(key string) (grant, bool) {
	h, ok := l.have.Get(key)
	now := l.now()
	if !ok || now.Sub(h.since) >= maxAge || !now.Before(h.expires.Add(-early)) {
		return grant{}, false
	}
	return h.grant, true
}

// lead gets a grant for all who wait for it.
func (l *logins) lead(ctx context.Context, key string, f *flight, get work) (g grant, err error) {
	f.abandoned = true // until get has returned
	defer func() {
		l.mu.Lock()
		if err == nil && !f.abandoned {
			l.have.Add(key, held{g, l.now()})
		} else {
			l.have.Remove(key)
		}
		delete(l.running, key)
		l.mu.Unlock()
		f.got, f.err = g, err
		close(f.done)
	}()
	if g, err = get(ctx); err == nil {
		g, err = l.check(g)
	}
	f.abandoned = err != nil && ctx.Err() != nil
	return g, err
}

// check refuses what is no password that is good for some time.
func (l *logins) check(g grant) (grant, error) {
	now := l.now()
	switch {
	case g.username == "" || g.password == "":
		return grant{}, fail(verify.Malformed, "the cloud answered without a password")
	case g.expires.IsZero():
		return grant{}, fail(verify.Malformed, "the cloud answered with a password and not with its end")
	case !now.Before(g.expires):
		return grant{}, expired("the password that the cloud gave", g.expires, now)
	}
	if last := now.Add(maxLife); g.expires.After(last) {
		g.expires = last
	}
	return g, nil
}

// expired is the Error for something that had its end before it was there.
func expired(what string, at, now time.Time) *Error {
	return fail(verify.Unavailable, "%s expired at %s, and it is %s here: see to the node's clock, or ask again",
		what, at.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
}

// errNoSecret is what an answer without the fields of a secret is called.
var errNoSecret = errors.New("without the credentials that were asked for")
