package verify

import (
	"context"
	"errors"
	"sync"
)

// flights answer a question once for all who ask it at the same time. A flight doesn't die with whoever began it, as long as
// somebody waits for it, and ends with the last who does: so what is in flight is bounded by the requests there are. It begins when it
// is its turn. That is why this isn't golang.org/x/sync/singleflight, which doesn't count who waits.
type flights[Q comparable, T any] struct {
	turns *turns

	mu    sync.Mutex
	going map[Q]*flight[T]
}

// flight is one question under way.
type flight[T any] struct {
	waiting int // guarded by flights.mu
	turn    *turn
	stop    context.CancelFunc
	done    chan struct{} // closed once value and err are there
	value   T
	err     error
}

func newFlights[Q comparable, T any](t *turns) *flights[Q, T] {
	return &flights[Q, T]{turns: t, going: map[Q]*flight[T]{}}
}

// errBusy says that it never was the question's turn: nobody was asked, and nothing is known.
var errBusy = errors.New("too many images are being looked at; try again")

// errNothing says that work ended without a word.
var errNothing = errors.New("nothing was found out")

// ask returns what work returns, which may have been begun by somebody else who asked the same. Its context has the values
// of whoever began it, no deadline, and ends when nobody waits any more. Work recovers its own panics. An error is work's, the end of
// ctx, or errBusy. The host is the registry on whose share it is done.
func (s *flights[Q, T]) ask(ctx context.Context, question Q, host string, work func(context.Context) (T, error)) (T, error) {
	var none T
	f, err := s.board(ctx, question, host, work)
	if err != nil {
		return none, err
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		if err := s.leave(question, f, ctx.Err()); err != nil {
			return none, err
		}
	}
	return f.value, f.err
}

// board joins the flight of a question, or begins one.
func (s *flights[Q, T]) board(ctx context.Context, question Q, host string, work func(context.Context) (T, error)) (*flight[T], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.going[question]; ok {
		f.waiting++
		return f, nil
	}
	f := &flight[T]{waiting: 1, done: make(chan struct{}), err: errNothing}
	ctx, f.stop = context.WithCancel(context.WithoutCancel(ctx))
	turn, ok := s.turns.take(host, func() {
		defer s.land(question, f)
		f.value, f.err = work(ctx)
	})
	if !ok {
		f.stop()
		return nil, errBusy
	}
	f.turn = turn
	s.going[question] = f
	return f, nil
}

// leave is called by who waits no longer. It returns nil if the answer has just come. The last who leaves ends the flight, and who
// asks after that begins another.
func (s *flights[Q, T]) leave(question Q, f *flight[T], why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-f.done:
		return nil
	default:
	}
	inLine := false
	if f.waiting--; f.waiting > 0 {
		inLine = s.turns.inLine(f.turn)
	} else {
		delete(s.going, question)
		inLine = s.turns.withdraw(f.turn)
		f.stop()
	}
	if inLine {
		return errBusy
	}
	return why
}

// land tells the answer to all who wait.
func (s *flights[Q, T]) land(question Q, f *flight[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.going[question] == f {
		delete(s.going, question)
	}
	f.stop()
	close(f.done)
}
