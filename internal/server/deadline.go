package server

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/semaphore"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// The times a request has. The API server says in the query how long it waits, as "?timeout=10s": the timeoutSeconds of
// the webhook object, or what is left of its own request, rounded up to whole seconds.
const (
	// DefaultTimeout is taken where the query has no timeout, or none that can be read: the API server's own default
	// for timeoutSeconds.
	DefaultTimeout = 10 * time.Second
	// MinTimeout and MaxTimeout are the bounds that the API server sets to timeoutSeconds. A timeout beyond them was
	// not sent by it, and is moved to the nearer one.
	MinTimeout = 1 * time.Second
	MaxTimeout = 30 * time.Second

	// What we keep back is a tenth of the timeout, and at least minMargin: the API server's clock starts before ours,
	// at the dial and the handshake, and stops after ours, when it has read the answer.
	marginShare = 10
	minMargin   = 500 * time.Millisecond
)

// The bounds of what is in flight behind one Deadline.
const (
	// MaxBody is the largest AdmissionReview that is read, in bytes: controller-runtime's bound, which allows for two
	// objects of 3 MiB each, twice what etcd accepts, and 1 MiB around them.
	MaxBody = 7 << 20
	// maxLoad is how many bytes of reviews may be in flight: a quarter of the 256 MiB that the webhook should be able to
	// live in, since a decoded review takes several times the space of its bytes. What is beyond is refused at once: a
	// quick refusal is tried again, while a queue ends in time-outs. Where OnFailure is Pass it is a passingShare of that,
	// for what may be passed over must not take the memory of what may not.
	maxLoad = 64 << 20
	// passingShare is the part of every bound that a Deadline has whose failures pass: a half, room still for 1,024 Pods
	// and for three of the largest bodies.
	passingShare = 2
	// smallReview is the largest review, in bytes, that may take of smallReserve. A Pod's is seldom above some tens of KiB.
	smallReview = 128 << 10
	// smallReserve is how many bytes of maxLoad larger reviews can't have, so that whoever sends a few of them doesn't get the
	// Pods of everybody else refused: room for 128 of the largest small ones, and for 512 Pods.
	smallReserve = 16 << 20
	// minWeight is what a request counts at least, for its goroutines, buffers and connection. So no more than
	// maxLoad/minWeight = 2,048 requests are in flight: room for the 1,000 Pods of one rollout that all wait for the
	// same verification.
	minWeight = 32 << 10
)

// Failure says what is answered to a review that was not judged.
type Failure int

const (
	// Refuse refuses it. It is the zero value, and what every value but Pass means.
	Refuse Failure = iota
	// Pass allows it, as it is, since what it asks for is judged elsewhere: a template's Pods are, and so is a Pod whose tags
	// were not rewritten.
	Pass
)

// DeadlineOptions say what a failure means and who is told. The zero value refuses and tells nobody.
type DeadlineOptions struct {
	// OnFailure says what becomes of a review that was not judged: for want of time or room, by a panic or a handler that
	// says nothing, or because it is too large or unreadable.
	OnFailure Failure
	// Warning is the line that whoever asked gets with a Pass, with the reason put behind it: ASCII, and no more of it is
	// sent than what fits into MaxWarning. Empty means that no warning is sent.
	Warning string
	// Log gets a line for each answer that is not the handler's, with the stack where there was a panic.
	Log logr.Logger
	// OnRefuse is called with the reason of each of the refusals among them: policy.Overtime, policy.Overloaded,
	// policy.InternalError or policy.InvalidRequest. Nil means that nobody counts them.
	OnRefuse func(policy.Reason)
	// OnPass is the same for what passed without a judgement.
	OnPass func(policy.Reason)
	// OnPanic is called with what the handler panicked with, also when its answer was no longer waited for. Nil means
	// that nobody counts them.
	OnPanic func(value any)
}

// Deadline returns a handler that answers every review in time, whatever next does.
//
// Next gets the whole body, at most MaxBody, and a context that ends a margin before the API server stops waiting: long
// enough before to word a refusal of its own. If it has not answered by half of that margin, or panicked, or written
// nothing, the answer is ours: allowed false, with the request's UID and a reason, or as OnFailure says. A late answer is
// dropped, and what next still does counts towards the bounds of what is in flight.
//
// Next runs in a goroutine of its own. A goroutine that next starts must recover its own panics: nobody else can.
// An admission.Webhook of controller-runtime is given WithRecoverPanic(false), or it words the panic itself and hands
// its value to whoever made the request.
func Deadline(next http.Handler, o DeadlineOptions) http.Handler {
	load, large := int64(maxLoad), int64(maxLoad-smallReserve)
	if o.OnFailure == Pass {
		load, large = load/passingShare, large/passingShare
	}
	return &guard{next: next, options: o, load: semaphore.NewWeighted(load), large: semaphore.NewWeighted(large)}
}

// guard is the handler that Deadline returns.
type guard struct {
	next    http.Handler
	options DeadlineOptions
	load    *semaphore.Weighted // in bytes, of all reviews
	large   *semaphore.Weighted // and of those larger than smallReview
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	budget := budgetFor(r.URL.Query().Get("timeout"))
	answerBy := arrived.Add(budget.answer)

	held := &share{load: g.load, large: g.large}
	body, err := readBody(w, r, held, answerBy)
	if err != nil {
		held.release()
		g.fail(w, body, refusalOf(err, budget))
		return
	}

	ctx, cancel := context.WithDeadline(r.Context(), arrived.Add(budget.judge))
	defer cancel()
	done := g.start(withBody(r.WithContext(ctx), body), held)

	late := time.NewTimer(time.Until(answerBy))
	defer late.Stop()
	select {
	case a := <-done:
		if !a.complete() {
			g.fail(w, body, refusalOf(errNoAnswer, budget))
			return
		}
		a.copyTo(w)
	case <-late.C:
		g.fail(w, body, refusalOf(errOvertime, budget))
	}
}

// start runs the handler and returns where its answer will be. The answer belongs to the handler until it is sent, so
// that one nobody waits for is dropped without a lock.
func (g *guard) start(r *http.Request, held *share) <-chan *answer {
	done := make(chan *answer, 1) // room for an answer that nobody waits for
	go func() {
		a := newAnswer()
		defer func() {
			if value := recover(); value != nil {
				g.options.Log.Error(errNoAnswer, "the handler panicked", "path", r.URL.Path, "panic", value, "stack", string(debug.Stack()))
				if g.options.OnPanic != nil {
					g.options.OnPanic(value)
				}
			}
			held.release()
			done <- a
		}()
		g.next.ServeHTTP(a, r)
		a.ended = true
	}()
	return done
}

// Why a review was not judged.
var (
	errOvertime   = errors.New("out of time")
	errOverloaded = errors.New("too much is in flight")
	errTooLarge   = errors.New("the request body is too large")
	errUnreadable = errors.New("reading the request body")
	errNoAnswer   = errors.New("the handler gave no answer")
)

// budget is how the time is spent, counted from the arrival of the request.
type budget struct {
	judge  time.Duration // until here the handler may ask and think
	answer time.Duration // from here on the answer is ours
}

// budgetFor shares out the timeout that the API server gave in the query.
func budgetFor(timeout string) budget {
	total := DefaultTimeout
	if d, err := time.ParseDuration(timeout); err == nil {
		total = min(max(d, MinTimeout), MaxTimeout)
	}
	margin := max(minMargin, total/marginShare)
	return budget{judge: total - margin, answer: total - margin/2}
}
