package registry

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

func TestWhoJoinsACallThatIsNearlyOverTriesOnceMore(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	for name, tc := range map[string]struct {
		first, second error // nil: an answer
		has           time.Duration
		calls         int64
		want          error
	}{
		"it ran out of time":               {context.DeadlineExceeded, nil, 5 * time.Second, 2, nil},
		"it ran out of time, twice":        {context.DeadlineExceeded, context.DeadlineExceeded, 5 * time.Second, 2, context.DeadlineExceeded},
		"it failed":                        {failed, nil, 5 * time.Second, 1, failed},
		"it ran out of time, and so it is": {context.DeadlineExceeded, nil, 20 * time.Millisecond, 1, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f flights[string, int]
			var calls atomic.Int64
			begun, end := make(chan bool), make(chan bool)
			work := func(context.Context) (int, error) {
				if calls.Add(1) == 1 {
					close(begun)
					<-end
					return 0, tc.first
				}
				return 1, tc.second
			}
			first := make(chan error)
			go func() {
				_, err := f.do(within(t, 5*time.Second), "key", 5*time.Second, panicGuard{}, work)
				first <- err
			}()
			<-begun
			time.AfterFunc(100*time.Millisecond, func() { close(end) })
			_, err := f.do(within(t, tc.has), "key", 5*time.Second, panicGuard{}, work)
			if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if err := <-first; !errors.Is(err, tc.first) { // its own time is up, so it doesn't try again
				t.Errorf("who began it got %v", err)
			}
			if n := calls.Load(); n != tc.calls {
				t.Errorf("%d calls, want %d", n, tc.calls)
			}
		})
	}
}
