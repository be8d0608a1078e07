package server

import (
	"context"
	"errors"
	"net/http"
	"time"
)

const (
	// DefaultDrainDelay is how long to serve on after SIGTERM. A Pod is told to end and taken out of its Service at the
	// same moment, and every node learns of the latter in its own time, mostly within a second or two.
	DefaultDrainDelay = 5 * time.Second
	// ShutdownTimeout is how long what is in flight may take to end after the delay, as the manager's
	// GracefulShutdownTimeout: the longest that the API server waits for anything, and a little. A Pod needs a
	// terminationGracePeriodSeconds of more than the delay and this together.
	ShutdownTimeout = MaxTimeout + 2*time.Second
)

// Drain is the end of a server that is asked to end: it is not ready from that moment on, and serves as before for a
// while, for the Service still sends requests; with every answer it closes the connection, for the API server would keep
// it and go on asking; then it takes no more, and finishes what it has.
type Drain struct {
	asked <-chan struct{}
}

// NewDrain returns the Drain that begins when asked is done, and the context to start the manager with, which is done
// the given delay later. That makes the delay come before everything else: while it lasts, informers, caches and leader
// election go on.
func NewDrain(asked context.Context, delay time.Duration) (*Drain, context.Context) {
	ctx, stop := context.WithCancel(context.WithoutCancel(asked))
	context.AfterFunc(asked, func() { time.AfterFunc(delay, stop) })
	return &Drain{asked: asked.Done()}, ctx
}

// Draining tells whether the server was asked to end.
func (d *Drain) Draining() bool {
	select {
	case <-d.asked:
		return true
	default:
		return false
	}
}

// Ready is a readiness check: an error while draining.
func (d *Drain) Ready(*http.Request) error {
	if d.Draining() {
		return errors.New("draining: this replica is about to end")
	}
	return nil
}

// Handler returns next with its share of the drain: answers given while draining close their connection (in HTTP/2, by
// GOAWAY), and what is in flight is not interrupted.
//
// It is interrupted otherwise: controller-runtime derives the context of every request from that of the server, and so
// would end them all at the moment it begins to wait for them. A caller that went away ends its request as ever.
func (d *Drain) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
		defer cancel(nil)
		stop := context.AfterFunc(r.Context(), func() {
			if !d.Draining() {
				cancel(context.Cause(r.Context()))
			}
		})
		defer stop()
		next.ServeHTTP(&lastAnswer{ResponseWriter: w, drain: d}, r.WithContext(ctx))
	})
}

// lastAnswer closes the connection if the server drains by the time of the answer.
type lastAnswer struct {
	http.ResponseWriter
	drain *Drain
	begun bool
}

// WriteHeader implements http.ResponseWriter.
func (w *lastAnswer) WriteHeader(code int) {
	if !w.begun && w.drain.Draining() {
		w.Header().Set("Connection", "close")
	}
	w.begun = true
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *lastAnswer) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *lastAnswer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
