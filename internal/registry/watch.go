package registry

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// errOtherScheme answers ggcr where it tries the scheme that a registry isn't spoken to by.
var errOtherScheme = errors.New("not the scheme of this registry")

// watch stands between ggcr's login and the network. It holds ggcr to our rules, and keeps what went wrong, because
// ggcr's own errors repeat what a token service says, in which secrets may be.
type watch struct {
	next  http.RoundTripper
	allow func(*http.Request) error
	guard panicGuard // ggcr calls from goroutines of its own
	now   func() time.Time

	mu     sync.Mutex // ggcr may ping from two goroutines
	sent   bool
	failed *failure
}

// RoundTrip implements http.RoundTripper.
func (w *watch) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := w.allow(req); err != nil {
		if !errors.Is(err, errOtherScheme) {
			w.keep(failureOf(err))
		}
		return nil, err
	}
	w.begin()
	var resp *http.Response
	err := w.guard.run(func() (err error) {
		resp, err = w.next.RoundTrip(req)
		return err
	})
	switch {
	case err != nil:
		w.keep(failureOf(err))
	case resp.StatusCode >= http.StatusBadRequest:
		f := newStatus(resp.StatusCode, resp.Header, w.now())
		if f.kind == verify.NotFound { // it says nothing about an image
			f.kind = verify.Malformed
		}
		w.keep(f)
	case resp.StatusCode >= http.StatusMultipleChoices: // unless another request follows, ggcr refuses to follow it
		w.keep(refuse(verify.Forbidden, "a redirect to %s", quote(resp.Header.Get("Location"))))
	}
	return resp, err
}

// begin notes that a request is sent: what the one before failed of doesn't count any more.
func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent, w.failed = true, nil
}

func (w *watch) keep(f *failure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = f
}

// explain says what a login failed of.
func (w *watch) explain(what string, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.failed != nil:
		f := *w.failed
		f.text = what + ": " + f.text
		return &f
	case errors.Is(err, errOtherScheme) || !w.sent: // ggcr refused; its words are about the challenge only
		return refuse(verify.Forbidden, "%s: %s", what, printable(err.Error()))
	}
	return refuse(verify.Malformed, "%s: what it answered can't be used", what)
}

// redirects counts the redirects that led to a request.
func redirects(req *http.Request) int {
	n := 0
	for from := req.Response; from != nil && from.Request != nil; from = from.Request.Response {
		n++
	}
	return n
}
