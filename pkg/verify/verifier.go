package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/semaphore"
)

// Freshness says how old findings may be.
type Freshness uint8

// The two that callers need.
const (
	// Held takes what is known, within ServeFor and RefreshFor: for a first look.
	Held Freshness = iota
	// Anew takes only what was listed within NothingFor: before anyone is refused.
	Anew
)

// Event is something that a Verifier did, to be counted.
type Event string

// The events.
const (
	EventHit     Event = "hit"     // findings held were good enough
	EventMiss    Event = "miss"    // the registry was asked
	EventInherit Event = "inherit" // evidence that other credentials brought was served to these, which may read the image
	EventStale   Event = "stale"   // the registry fails, older evidence was served
	EventRefresh Event = "refresh" // evidence was served and listed anew behind the request
	EventEvicted Event = "evicted" // findings were dropped for want of room
	EventPanic   Event = "panic"   // a verification panicked and became a refusal
)

// gatherTimeout bounds one gathering of papers, whoever waits for it: twice what any admission may wait.
const gatherTimeout = 20 * time.Second

// Options of a Verifier. The zero value is good.
type Options struct {
	// CacheBytes bounds the findings held; 0 means DefaultCacheBytes.
	CacheBytes int64
	// Clock tells the time; nil means time.Now.
	Clock func() time.Time
	// Observe is told what happens; nil means nobody. It must not block.
	Observe func(Event)
	// Panicked is given the value and stack of a recovered panic; nil means nobody.
	Panicked func(value any, stack []byte)
}

// Verifier finds out what authorities said about digests, and remembers it. It is safe for concurrent use.
type Verifier struct {
	clock    func() time.Time
	observe  func(Event)
	panicked func(any, []byte)
	cache    *cache
	holders  *lru.Cache[holding, Access]
	gathers  *flights[question, *gathered]
	apart    *flights[question, *gathered] // of papers that are kept in another repository
	presents *flights[question, struct{}]
	// judging bounds the verifications at work to the processors there are: more would only be slower, all of them.
	judging    chan struct{}
	held       *room               // of small papers that are held until they are judged
	room       *semaphore.Weighted // for large papers, in bytes that they take while they are verified
	refreshing sync.Map            // of key: what is listed anew behind a request now
	refreshes  chan struct{}       // bounds that
}

// NewVerifier returns a Verifier that knows nothing yet.
func NewVerifier(o Options) (*Verifier, error) {
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.CacheBytes < 0 {
		return nil, errors.New("a cache of less than nothing")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Observe == nil {
		o.Observe = func(Event) {}
	}
	if o.Panicked == nil {
		o.Panicked = func(any, []byte) {}
	}
	c, err := newCache(o.CacheBytes)
	if err != nil {
		return nil, err
	}
	holders, err := lru.New[holding, Access](maxHolders)
	if err != nil {
		return nil, err
	}
	t := newTurns(maxAtOnce, maxInLine) // one for all: a manifest read takes less than a gathering, and is followed by one where it fails
	return &Verifier{
		clock: o.Clock, observe: o.Observe, panicked: o.Panicked, cache: c, holders: holders,
		gathers: newFlights[question, *gathered](t), apart: newFlights[question, *gathered](newTurns(maxApart, maxInLine/2)), presents: newFlights[question, struct{}](t),
		judging: make(chan struct{}, runtime.GOMAXPROCS(0)), refreshes: make(chan struct{}, maxRefreshes), room: semaphore.NewWeighted(maxLargeBytes), held: newRoom(maxHeldBytes),
	}, nil
}

// Size returns the bytes and the number of findings held.
func (v *Verifier) Size() (bytes int64, entries int) { return v.cache.size() }

// Findings returns what is known of the image in answer to each question, in their order. The registry
// is asked at most once for all of them and for everyone who asks at the same time; that outlives any
// one caller, and ends with the last. So many images are looked at at once, and so many wait for their turn; beyond that, as without a turn
// within ctx, nothing is learnt. What can't be learnt, for whatever reason, is in Findings.Unanswered, and never looks like "nothing found".
//
// Papers that an authority keeps in another repository are sought there, side by side with the others.
func (v *Verifier) Findings(ctx context.Context, f Fetcher, image name.Digest, questions []Question, fresh Freshness) []Findings {
	shelves := shelvesOf(questions)
	if len(shelves) > MaxShelves+1 {
		too := &FetchError{Kind: TooMany, Host: image.RegistryStr(), Err: fmt.Errorf("papers are kept in %d repositories: at most %d", len(shelves), MaxShelves)}
		out := make([]Findings, len(questions))
		for i := range out {
			out[i] = Findings{ListedAt: v.clock(), Unanswered: []*FetchError{too}}
		}
		return out
	}
	if len(shelves) == 1 && shelves[0].at == (name.Repository{}) {
		return v.findings(ctx, f, image, questions, fresh)
	}
	out := make([]Findings, len(questions))
	var wg sync.WaitGroup
	for _, s := range shelves {
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer v.recover(func(err error) { s.fill(out, unknown(v.clock(), image, err)) })
			from := f
			if s.at != (name.Repository{}) {
				var err error
				if from, err = f.Elsewhere(s.at); err != nil {
					s.fill(out, unknown(v.clock(), image, err))
					return
				}
			}
			own := make([]Question, 0, len(s.which))
			for _, i := range s.which {
				own = append(own, questions[i])
			}
			for n, found := range v.findings(ctx, from, image, own, fresh) {
				out[s.which[n]] = found
			}
		}()
	}
	wg.Wait()
	return out
}

// MaxShelves bounds the repositories, beside the image's own, where the papers of one image are sought: each costs what an image costs, and
// whoever may write policies decides how many there are.
const MaxShelves = 16

// shelf is a repository where papers are kept, and which questions are about papers there. The zero Repository is the image's own.
type shelf struct {
	at    name.Repository
	which []int
}

func (s shelf) fill(out []Findings, f Findings) {
	for _, i := range s.which {
		out[i] = f
	}
}

func shelvesOf(questions []Question) []shelf {
	var out []shelf
	known := map[string]int{} // by name; the image's own has none
	for i, q := range questions {
		at, name := q.authority.terms.Repository, ""
		if q.authority.terms.elsewhere() {
			name = at.Name()
		}
		n, ok := known[name]
		if !ok {
			n = len(out)
			known[name] = n
			out = append(out, shelf{at: at})
		}
		out[n].which = append(out[n].which, i)
	}
	return out
}

// findings answers questions about papers that are kept in one place.
func (v *Verifier) findings(ctx context.Context, f Fetcher, image name.Digest, questions []Question, fresh Freshness) []Findings {
	out := make([]Findings, len(questions))
	var ask []int
	now := v.clock()
	behind := false
	for i, q := range questions {
		held, ok := v.cache.get(keyOf(f, image, q))
		switch use := held.usable(now, fresh); {
		case ok && use == useNow:
			out[i] = held
		case ok && use == useAndRefresh:
			out[i], behind = held, true
		default:
			ask = append(ask, i)
		}
	}
	if len(ask) == 0 {
		v.observe(EventHit)
		if behind {
			v.refresh(ctx, f, image, questions)
		}
		return out
	}
	if fresh == Held && v.inherit(ctx, f, image, questions, ask, out) {
		return out
	}
	v.observe(EventMiss)
	v.ask(ctx, f, image, questions, ask, out)
	return out
}

// ask fills in the findings of some of the questions from the registry.
func (v *Verifier) ask(ctx context.Context, f Fetcher, image name.Digest, questions []Question, which []int, out []Findings) {
	wanted := make([]Question, 0, len(which))
	for _, i := range which {
		wanted = append(wanted, questions[i])
	}
	g := v.gather(ctx, f, image, wanted, false)
	for _, i := range which {
		if g == nil { // a gathering had just ended when ours began
			held, ok := v.cache.get(keyOf(f, image, questions[i]))
			if ok && held.usable(v.clock(), Anew) == useNow {
				out[i] = held
				continue
			}
			g = v.gather(ctx, f, image, wanted, true)
		}
		var dropped bool
		if out[i], dropped = v.judge(ctx, f, image, questions[i], g); dropped { // others asked, and their large papers are gone
			g = v.gather(ctx, f, image, wanted, true)
			out[i], _ = v.judge(ctx, f, image, questions[i], g)
		}
	}
}

// known tells whether the findings of all these questions are as fresh as can be.
func (v *Verifier) known(f Fetcher, image name.Digest, questions []Question) bool {
	now := v.clock()
	for _, q := range questions {
		held, ok := v.cache.get(keyOf(f, image, q))
		if !ok || held.usable(now, Anew) != useNow {
			return false
		}
	}
	return true
}

func keyOf(f Fetcher, image name.Digest, q Question) key {
	return key{repository: image.Context().Name(), digest: image.DigestStr(), access: f.Access(), question: q.fingerprint}
}

type use uint8

const (
	useNot use = iota
	useNow
	useAndRefresh
)

// usable says what findings of their age are good for. An age below zero is a clock that was set back: they are not used.
func (f Findings) usable(now time.Time, fresh Freshness) use {
	age := now.Sub(f.ListedAt)
	switch {
	case f.ListedAt.IsZero() || age < 0:
		return useNot
	case slices.ContainsFunc(f.Evidence, func(e Evidence) bool { return !e.good(now) }):
		return useNot
	case fresh == Anew && f.inherited: // a refusal rests on what its own credentials are shown
		return useNot
	case age <= NothingFor:
		return useNow
	case fresh == Anew || len(f.Evidence) == 0:
		return useNot
	case age <= ServeFor:
		return useNow
	case age <= RefreshFor:
		return useAndRefresh
	}
	return useNot
}

// refresh lists the papers anew behind the request.
func (v *Verifier) refresh(ctx context.Context, f Fetcher, image name.Digest, questions []Question) {
	at := keyOf(f, image, Question{})
	if _, already := v.refreshing.LoadOrStore(at, true); already {
		return
	}
	select {
	case v.refreshes <- struct{}{}:
	default: // the next request tries again
		v.refreshing.Delete(at)
		return
	}
	v.observe(EventRefresh)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), gatherTimeout)
	go func() {
		defer func() { cancel(); <-v.refreshes; v.refreshing.Delete(at) }()
		defer v.recover(nil)
		v.gather(ctx, f, image, questions, true)
	}()
}

// judge examines what was gathered for one question, once for all who wait, and keeps the
// findings unless a place failed to answer: an outage is never kept. What was gathered for others may be without the large papers: then that is
// said, and the findings are of no use.
func (v *Verifier) judge(ctx context.Context, f Fetcher, image name.Digest, q Question, g *gathered) (out Findings, dropped bool) {
	defer v.recover(func(err error) { out = unknown(g.at, image, err) })
	if g.ours != nil {
		return unknown(g.at, image, g.ours), false
	}
	k := keyOf(f, image, q)
	g.mu.Lock() // before a turn is taken, so that who waits here holds up nobody else
	defer g.mu.Unlock()
	if done, ok := g.judged[k]; ok {
		return done, false
	}
	if len(g.candidates) > 0 { // else there is nothing to verify, and who ran out of time still gets what is held
		select {
		case v.judging <- struct{}{}:
			defer func() { <-v.judging }()
		case <-ctx.Done():
			return unknown(g.at, image, fmt.Errorf("no turn to verify in the time there was: %w", ctx.Err())), false
		}
	}
	found, err := q.findings(ctx, image, g, v.clock())
	if err != nil && !errors.Is(err, errTooManyChecks) {
		return found, errors.Is(err, errDropped) // is good as far as it goes; who has more time may find out the rest
	}
	held, ok := v.cache.get(k)
	switch {
	case ok && !held.inherited && held.ListedAt.After(found.ListedAt): // a slower listing doesn't replace one that was begun after it
	case !slices.ContainsFunc(g.unanswered, outage): // every place answered, if not each with a listing
		for range v.cache.put(k, found) {
			v.observe(EventEvicted)
		}
		v.hold(k, found)
	case ok && v.clock().Sub(held.ListedAt) <= KeepFor:
		// Only what a failing place may still have: where a place answered without it, it is gone.
		kept := slices.DeleteFunc(slices.Clone(held.Evidence), func(e Evidence) bool { return !g.mayHave(e) || !e.good(v.clock()) })
		if len(kept) > 0 {
			v.observe(EventStale)
			found.Evidence = union(found.Evidence, kept)
			// What is listed and wasn't looked at may be newer than what is held, whether the registry failed or we had no room or time for it: whoever may
			// push decides how much there is to look at. A signature is one all the same.
			found.Stale, found.ListedAt, found.part = true, held.ListedAt, len(held.Unanswered) > 0 || len(g.unfetched) > 0 || g.cut
			if !g.listed { // what a digest is doesn't change
				found.Index, found.Children = held.Index, held.Children
			}
		}
	}
	if g.judged == nil {
		g.judged = map[key]Findings{}
	}
	g.judged[k] = found
	return found, false
}

// findings examines each candidate. An error says that not all were: what was found until then is there as well.
func (q Question) findings(ctx context.Context, image name.Digest, g *gathered, now time.Time) (Findings, error) {
	f := Findings{ListedAt: g.at, Seen: g.seen, Index: g.index, Children: g.children, Unanswered: briefly(g.unanswered), Misses: slices.Clone(g.misses)}
	subject, err := hashOf(image)
	if err != nil {
		f.Unanswered = append(f.Unanswered, &FetchError{Kind: Malformed, Place: PlaceManifest, Err: err})
		return f, nil
	}
	cut := q.each(ctx, subject, g, now, func(l looked) {
		if l.miss != nil {
			f.Misses = append(f.Misses, *l.miss)
			return
		}
		f.Evidence = append(f.Evidence, l.evidence)
	})
	switch {
	case errors.Is(cut, errTooManyChecks):
		f.Unanswered = append(f.Unanswered, &FetchError{Kind: TooMany, Host: image.RegistryStr(), Err: cut})
	case cut != nil:
		f.Unanswered = append(f.Unanswered, &FetchError{Kind: Unavailable, Place: PlaceManifest, Host: image.RegistryStr(), Err: cut})
	}
	slices.SortStableFunc(f.Misses, nearer)
	if len(f.Misses) > MaxMisses {
		f.Misses = slices.Clone(f.Misses[:MaxMisses])
	}
	return f, cut
}

// briefly keeps of failures what is told: the first few, outages first, as short texts that hold on to nothing.
func briefly(all []*FetchError) []*FetchError {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b *FetchError) int { return cmp.Compare(rank(a), rank(b)) })
	var out []*FetchError
	for _, e := range sorted[:min(len(sorted), MaxUnanswered)] {
		out = append(out, &FetchError{Kind: e.Kind, Place: e.Place, Host: clip(e.Host), Err: errors.New(shorten(e.Err))})
	}
	return out
}

func rank(e *FetchError) int {
	if outage(e) {
		return 0
	}
	return 1
}

// shorten is the text of a failure, in at most as many bytes as a registry's own words are quoted.
func shorten(err error) string {
	const most = 384
	text := "no reason was given"
	if err != nil {
		text = err.Error()
	}
	return strings.Clone(text[:min(len(text), most)])
}

func outage(e *FetchError) bool { return !e.Answer() }

func union(a, b []Evidence) []Evidence {
	out := slices.Clone(a)
	for _, e := range b {
		if !slices.ContainsFunc(out, e.same) {
			out = append(out, e)
		}
	}
	return out
}

// unknown is what is said when something of ours failed.
func unknown(at time.Time, image name.Digest, err error) Findings {
	return Findings{ListedAt: at, Unanswered: []*FetchError{{
		Kind: Unavailable, Place: PlaceManifest, Host: image.RegistryStr(), Err: err,
	}}}
}

// ErrPanic marks a failure that was a panic.
var ErrPanic = errors.New("internal error: a verification panicked")

// recover turns a panic into an error: every goroutine of this package defers it.
func (v *Verifier) recover(set func(error)) {
	p := recover()
	if p == nil {
		return
	}
	v.observe(EventPanic)
	v.panicked(p, debug.Stack())
	if set != nil {
		set(ErrPanic)
	}
}
