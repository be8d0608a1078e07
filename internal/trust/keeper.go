package trust

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// MaxMirrors bounds the mirrors that one process follows: each is a goroutine, two trusted roots and a root.json, and
// every replica asks all of them. An install has one or two.
const MaxMirrors = 64

// Keeper follows any number of mirrors, each in its own goroutine. Those who want the same mirror share it.
type Keeper struct {
	options Options
	changed chan struct{} // holds one: the wanted set isn't what is followed
	started atomic.Bool
	ended   chan struct{}

	mu      sync.Mutex
	entries map[string]*entry // by key
	refused map[string]error  // by key: wanted, and why not followed
}

// entry is one mirror that is wanted.
type entry struct {
	config MirrorConfig
	mirror *Mirror
	first  chan struct{} // closed once the first refresh has ended
	gone   chan struct{} // closed once it is wanted no longer
	wake   chan struct{} // holds one: every has changed
	every  atomic.Int64  // time.Duration
}

// NewKeeper returns a Keeper that follows nothing yet. An error is the Options' PlainHTTP.
func NewKeeper(o Options) (*Keeper, error) {
	plain, err := parseHosts(o.PlainHTTP)
	if err != nil {
		return nil, err
	}
	if o.Transport == nil {
		o.Transport = newTransport(plain)
	}
	return &Keeper{
		options: o.withDefaults(), changed: make(chan struct{}, 1), ended: make(chan struct{}),
		entries: map[string]*entry{}, refused: map[string]error{},
	}, nil
}

// NeedLeaderElection implements controller-runtime's interface of that name by its shape: every replica admits, and so
// every one follows.
func (k *Keeper) NeedLeaderElection() bool { return false }

// Start follows what Set wants until the context ends, and returns when the last goroutine has. It may be called once.
func (k *Keeper) Start(ctx context.Context) error {
	if k.started.Swap(true) {
		return errors.New("the keeper of trust roots was started before")
	}
	defer close(k.ended)
	var followers sync.WaitGroup
	defer followers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	following := map[*entry]bool{}
	for {
		for _, e := range k.wanted() {
			if following[e] {
				continue
			}
			following[e] = true
			followers.Go(func() { k.follow(ctx, e) })
		}
		for e := range following {
			select {
			case <-e.gone:
				delete(following, e) // follow ends by itself
			default:
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.changed:
		}
	}
}

// wanted lists what is to be followed.
func (k *Keeper) wanted() []*entry {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]*entry, 0, len(k.entries))
	for _, e := range k.entries {
		all = append(all, e)
	}
	return all
}

// Set says which mirrors are wanted, all of them: what was followed and isn't among them is followed no longer, and
// forgotten. It doesn't block, and may be called before Start. Of several that are the same mirror the shortest
// RefreshEvery counts. One that can't be followed is not an error here: its State says why.
func (k *Keeper) Set(wanted []MirrorConfig) {
	every, order, refused := k.sort(wanted)
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, e := range k.entries {
		if _, still := every[key]; !still {
			close(e.gone)
			delete(k.entries, key)
		}
	}
	for _, c := range order {
		key, often := c.Key(), every[c.Key()]
		if e, ok := k.entries[key]; ok {
			if e.every.Swap(int64(often)) != int64(often) {
				poke(e.wake)
			}
			continue
		}
		if len(k.entries) >= MaxMirrors {
			refused[key] = fmt.Errorf("more than %d mirrors are named: take away those that aren't needed", MaxMirrors)
			continue
		}
		m, err := NewMirror(c, k.options)
		if err != nil {
			refused[key] = err
			continue
		}
		e := &entry{
			config: c, mirror: m, first: make(chan struct{}), gone: make(chan struct{}), wake: make(chan struct{}, 1),
		}
		e.every.Store(int64(often))
		k.entries[key] = e
	}
	k.refused = refused
	poke(k.changed)
}

// sort checks what is wanted, and joins those that are the same mirror, in the order given.
func (k *Keeper) sort(wanted []MirrorConfig) (every map[string]time.Duration, order []MirrorConfig, refused map[string]error) {
	every, refused = map[string]time.Duration{}, map[string]error{}
	for _, c := range wanted {
		c = c.withDefaults()
		key := c.Key()
		if err := c.Check(k.options); err != nil {
			refused[key] = err
			continue
		}
		before, again := every[key]
		if !again {
			order = append(order, c)
		}
		if !again || c.RefreshEvery < before {
			every[key] = c.RefreshEvery
		}
	}
	return every, order, refused
}

// State tells what is known of a mirror. Err is ErrNotFollowed for one that Set didn't want, ErrNotFetched for one
// whose first refresh hasn't ended, and otherwise as State says.
func (k *Keeper) State(c MirrorConfig) State {
	e, err := k.entry(c)
	if err != nil {
		return State{Err: err}
	}
	return e.mirror.State()
}

func (k *Keeper) entry(c MirrorConfig) (*entry, error) {
	key := c.Key()
	k.mu.Lock()
	defer k.mu.Unlock()
	if e, ok := k.entries[key]; ok {
		return e, nil
	}
	if err, ok := k.refused[key]; ok {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %s", ErrNotFollowed, c.URL)
}

// WaitFirst waits until a mirror's first refresh has ended, well or badly: State says which. An error is why there will
// be none: the context's, ErrNotFollowed, or what State says of a configuration that can't be followed.
func (k *Keeper) WaitFirst(ctx context.Context, c MirrorConfig) error {
	e, err := k.entry(c)
	if err != nil {
		return err
	}
	select {
	case <-e.first:
		return nil
	default:
	}
	select {
	case <-e.first:
		return nil
	case <-e.gone:
	case <-k.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	return fmt.Errorf("%w any longer: %s", ErrNotFollowed, c.URL)
}

// guarded calls one of the Options' functions: what it does wrong doesn't end the goroutine.
func (k *Keeper) guarded(f func()) {
	defer func() {
		if r := recover(); r != nil {
			k.options.OnPanic(r, debug.Stack())
		}
	}()
	f()
}

// poke leaves word in a channel that holds one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
