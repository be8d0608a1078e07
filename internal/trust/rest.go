package trust

import (
	"context"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

const (
	// firstRetry is the pause after one failure; each further one doubles it, up to the mirror's own period. It is also the
	// pause after the failure by which a text ceased to be served, however many came before.
	firstRetry = time.Minute
	// lastRetry bounds the pause while nothing is served, before up to a quarter of it is added: an outage outlasts its cause
	// by 20 minutes at most, and a static site doesn't mind being asked so often.
	lastRetry = 16 * time.Minute
	// lastShare is the share of the time until the expiry of what is served that a pause may take: half, so that a
	// mirror which signs for a day and is asked once a day is asked in time, and again, and again, before it is too late.
	lastShare = 2
)

// follow refreshes one mirror until nobody wants it any longer. A panic doesn't end it.
func (k *Keeper) follow(ctx context.Context, e *entry) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // a refresh under way ends with the wish for it
		select {
		case <-e.gone:
			cancel()
		case <-stop:
		}
	}()
	failures := 0
	for ctx.Err() == nil {
		failures = k.once(ctx, e, failures)
		k.rest(ctx, e, failures)
	}
}

// once makes one refresh, and counts on from the failures before it: none after a success, and anew where this one has
// ended what was served. Who asks is told of a change.
func (k *Keeper) once(ctx context.Context, e *entry, failures int) (now int) {
	now = failures + 1
	defer func() {
		if r := recover(); r != nil {
			k.options.OnPanic(r, debug.Stack())
		}
	}()
	before := e.mirror.State()
	defer e.firstEnded(ctx)
	err := e.mirror.Refresh(ctx)
	if ctx.Err() != nil {
		return now // whatever it was, nobody is to act on it
	}
	after := e.mirror.State()
	if !after.same(before) {
		k.guarded(func() { k.options.OnChange(e.config) })
	}
	switch {
	case err == nil:
		return 0
	case before.TrustedRoot != nil && after.TrustedRoot == nil:
		return 1
	}
	return now
}

// firstEnded lets go those who wait for the first refresh, unless it was broken off. follow alone calls it.
func (e *entry) firstEnded(ctx context.Context) {
	select {
	case <-e.first:
	default:
		if ctx.Err() == nil {
			close(e.first)
		}
	}
}

// rest waits until the mirror is to be asked again, and tells of an expiry on the way.
func (k *Keeper) rest(ctx context.Context, e *entry, failures int) {
	began, luck := k.options.Clock(), rand.Float64()
	for {
		now := k.options.Clock()
		s := e.mirror.State()
		served, left := s.TrustedRoot != nil, time.Duration(-1)
		if served {
			left = s.Expires.Sub(now)
		}
		wait := pause(time.Duration(e.every.Load()), failures, served, luck) - now.Sub(began)
		if left >= 0 {
			wait = min(wait, max(left/lastShare, MinRefresh))
		}
		if wait <= 0 {
			return
		}
		if k.sleep(ctx, e, wait, left) {
			return
		}
	}
}

// sleep waits, and tells whether the time has come. It returns early when the wish changes or the text expires.
func (k *Keeper) sleep(ctx context.Context, e *entry, wait, left time.Duration) bool {
	due := time.NewTimer(wait)
	defer due.Stop()
	var expiry <-chan time.Time
	if left >= 0 && left < wait {
		t := time.NewTimer(left + time.Nanosecond) // at its very expiry it is still good
		defer t.Stop()
		expiry = t.C
	}
	select {
	case <-ctx.Done():
		return true
	case <-due.C:
		return true
	case <-e.wake:
	case <-expiry:
		k.guarded(func() { k.options.OnChange(e.config) })
	}
	return false
}

// pause is how long to wait after a refresh: the period, less up to a tenth, so that replicas don't ask in step; after
// failures, or where nothing is served, a minute, doubled with each, and up to a quarter more, but never longer than that;
// while nothing is served the doubling ends at lastRetry. luck is in [0, 1).
func pause(every time.Duration, failures int, served bool, luck float64) time.Duration {
	usual := every - time.Duration(luck*float64(every)/10)
	if failures == 0 && served {
		return usual
	}
	again := firstRetry << min(max(failures-1, 0), 16) // 45 days: longer than any period
	if !served {
		again = min(again, lastRetry)
	}
	return min(again+time.Duration(luck*float64(again)/4), usual)
}

// same tells whether two States say the same.
func (s State) same(t State) bool {
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	return s.Digest == t.Digest && (s.TrustedRoot == nil) == (t.TrustedRoot == nil) && s.FetchedAt.Equal(t.FetchedAt) &&
		s.CheckedAt.Equal(t.CheckedAt) && s.Expires.Equal(t.Expires) && text(s.Err) == text(t.Err)
}
