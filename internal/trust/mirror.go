package trust

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// State is what is known of a mirror at a moment. The zero State serves nothing.
type State struct {
	// TrustedRoot is the text in force, the caller's own copy; nil where none is served, and then Err says why.
	TrustedRoot []byte
	// Digest is that of the last good text, also where it is served no longer: sha256 and hexadecimal.
	Digest string
	// FetchedAt is when that text was had first; zero before the first good refresh.
	FetchedAt time.Time
	// CheckedAt is when the mirror last vouched for it; zero before the first good refresh.
	CheckedAt time.Time
	// Expires is when the first of the metadata that vouch for it does, or when a newer root, learnt by a refresh that then
	// failed, took that away or will; zero before the first good refresh.
	Expires time.Time
	// Err is why the last refresh failed, or why nothing is served. Beside a TrustedRoot it tells that this one is kept.
	Err error
}

// good is the outcome of good refreshes.
type good struct {
	seen      seen
	text      []byte
	digest    string
	fetchedAt time.Time
	checkedAt time.Time
	expires   expiry
	unvouched *unvouched // nil while it may be served until it expires
}

// Mirror is one TUF repository of which one target is wanted. It is safe for concurrent use. Everything is in memory.
type Mirror struct {
	config  MirrorConfig
	base    *url.URL
	options Options
	client  *http.Client
	turn    chan struct{} // held by the refresh under way

	mu   sync.Mutex
	root []byte // the newest root.json of the chain that begins at the pinned one
	last *good
	err  error // of the last refresh; ErrNotFetched before the first
}

// NewMirror returns a Mirror that has nothing yet: it asks nobody before Refresh. An error names the field of the
// configuration that can't be used, or the Options' PlainHTTP.
func NewMirror(c MirrorConfig, o Options) (*Mirror, error) {
	plain, err := parseHosts(o.PlainHTTP)
	if err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if err := c.check(plain); err != nil {
		return nil, err
	}
	base, err := c.base(plain)
	if err != nil {
		return nil, err
	}
	if o.Transport == nil {
		o.Transport = newTransport(plain)
	}
	return &Mirror{
		config: c, base: base, options: o.withDefaults(), client: newClient(o.Transport), turn: make(chan struct{}, 1),
		root: slices.Clone(c.Root), err: ErrNotFetched,
	}, nil
}

// Refresh asks the mirror once, within two minutes and the context's deadline. Refreshes of one Mirror wait for each
// other. A failure is a *MirrorError, or the context's own where that ended before the mirror was asked; the newest
// root of the chain is kept even so. What State serves stays as it was, unless that root doesn't vouch for it any longer:
// then nothing is served until the next good refresh.
func (m *Mirror) Refresh(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-m.turn }()
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()

	r := m.refresher(ctx)
	o, newest, err := r.refresh(m.options.OnPanic)
	result, err := m.settle(ctx, r, o, newest, err)
	m.options.Observe(result)
	return err
}

// refresher begins from what is known. Only the holder of the turn changes that.
func (m *Mirror) refresher(ctx context.Context) *refresher {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &refresher{
		files:  newFetcher(ctx, m.client, m.options.UserAgent, m.base),
		config: m.config, now: m.options.Clock(), known: m.root,
	}
	if m.last != nil {
		r.held, r.last = m.last.text, &m.last.seen
	}
	return r
}

// settle keeps what a refresh brought, and words why it brought nothing.
func (m *Mirror) settle(ctx context.Context, r *refresher, o *offer, newest []byte, err error) (Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	learnt := !bytes.Equal(newest, m.root)
	m.root = newest
	if err != nil {
		if learnt && m.last != nil {
			m.last = m.last.under(newest, r.now)
		}
		result := classify(ctx, err)
		m.err = &MirrorError{URL: m.config.URL, Result: result, Err: err}
		return result, m.err
	}
	m.err = nil
	if r.last.repeats(o.root, o.seen.timestamp) {
		m.last = m.last.again(o.root, r.now)
		return ResultUnchanged, nil
	}
	before := m.last
	m.last = &good{
		seen: o.seen, text: o.text, digest: Digest(o.text),
		fetchedAt: r.now, checkedAt: r.now, expires: firstExpiry(o.root, &o.seen),
	}
	if before != nil && before.digest == m.last.digest {
		m.last.fetchedAt = before.fetchedAt
		return ResultUnchanged, nil
	}
	return ResultUpdated, nil
}

// again is the same outcome, vouched for once more under a root that may be newer.
func (g *good) again(root *metadata.Metadata[metadata.RootType], now time.Time) *good {
	next := *g
	next.checkedAt, next.expires, next.unvouched = now, firstExpiry(root, &g.seen), nil
	return &next
}

// State tells what is known, judged by the Clock at this moment: a text whose metadata have expired is not in it, nor one
// that the newest root known doesn't vouch for.
func (m *Mirror) State() State {
	now := m.options.Clock()
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.last
	if g == nil {
		return State{Err: m.err}
	}
	s := State{Digest: g.digest, FetchedAt: g.fetchedAt, CheckedAt: g.checkedAt, Expires: g.expires.at, Err: m.err}
	if g.unvouched != nil {
		s.Err = g.unvouched.err(m.config.URL, m.err)
		return s
	}
	if now.After(g.expires.at) {
		s.Err = expired(m.config.URL, g.expires, m.err)
		return s
	}
	s.TrustedRoot = slices.Clone(g.text)
	return s
}
