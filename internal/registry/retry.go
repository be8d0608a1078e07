package registry

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// maxRetries bounds the tries after the first: a registry that fails three times in a row isn't mended by a fourth
	// within the ten seconds of an admission.
	maxRetries = 2
	// firstPause is the mean pause before the second try; before the third it is three times that.
	firstPause = 150 * time.Millisecond
	// maxRetryAfter bounds the pause that a registry may ask for where the caller has no deadline.
	maxRetryAfter = 30 * time.Second
	// lastTry is the least time that a try needs to be worth waiting for.
	lastTry = 50 * time.Millisecond
)

// retrier repeats what failed of the moment.
type retrier struct {
	sleep func(context.Context, time.Duration) error
}

// do calls try until it succeeds, fails for good, or the caller's deadline leaves no time for another.
func (r retrier) do(ctx context.Context, try func() error) error {
	pause := firstPause
	for left := maxRetries; ; left-- {
		err := try()
		if err == nil {
			return nil
		}
		f := failureOf(err)
		if !f.again || left == 0 || ctx.Err() != nil {
			return f
		}
		wait := jitter(pause)
		if f.wait > 0 {
			wait = f.wait
		}
		if !fits(ctx, wait) {
			return tooLate(f)
		}
		if err := r.sleep(ctx, wait); err != nil {
			return f
		}
		pause *= 3
	}
}

// fits tells whether a pause and another try fit before the deadline.
func fits(ctx context.Context, wait time.Duration) bool {
	deadline, ok := ctx.Deadline()
	if !ok {
		return wait <= maxRetryAfter
	}
	return time.Until(deadline) > wait+lastTry
}

// tooLate says why there was no other try.
func tooLate(f *failure) error {
	late := *f
	if f.wait > 0 {
		late.text = fmt.Sprintf("%s; it asks to wait %s, longer than there is time", f.text, f.wait)
	}
	return &late
}

// jitter spreads a pause over a half to one and a half of it, so that many who failed together don't return together.
func jitter(mean time.Duration) time.Duration {
	return mean/2 + rand.N(mean)
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
