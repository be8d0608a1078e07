package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Error says why there is no login. Its text names the registry, who was asked, what came of it and what to do. It holds
// nothing secret: of an answer it repeats the status and a code out of a closed list. It is one line of ASCII, of some 250
// bytes with a host's name as clouds give them.
type Error struct {
	// Kind is Unavailable if nothing is known (no answer, a server's trouble, an identity that isn't set up whole),
	// Unauthorized if the cloud knows the identity and says no, Forbidden if our own rules forbid to ask, Malformed or
	// TooLarge if the answer can't be used.
	Kind verify.FetchKind
	// Host is the registry, as printable ASCII.
	Host string
	// Status is the HTTP status that the login ended with; 0 if no answer came, or none was asked for.
	Status int

	text  string
	cause error // for errors.Is: the context's or the network's
}

// Error implements error.
func (e *Error) Error() string {
	return "login to " + e.Host + ": " + e.text
}

// Unwrap returns the context's or the network's error, if that was the cause.
func (e *Error) Unwrap() error { return e.cause }

// fail makes an Error whose registry is filled in at the edge.
func fail(kind verify.FetchKind, format string, args ...any) *Error {
	return &Error{Kind: kind, text: fmt.Sprintf(format, args...)}
}

// named returns an error of a login with the registry in it.
func named(err error, host string) error {
	var e *Error
	if !errors.As(err, &e) {
		e = silence(err, "it", "")
	}
	out := *e
	out.Host = shown(host)
	return &out
}

// silence is the Error for a request that got no answer.
func silence(err error, who, cure string) *Error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // the URL adds nothing to who was asked
	}
	what := printable(err.Error(), maxCause)
	switch {
	case errors.Is(err, context.Canceled):
		what = "cancelled while waiting for the answer"
	case errors.Is(err, context.DeadlineExceeded):
		what = "no answer in the time given"
	}
	return &Error{Kind: verify.Unavailable, text: sentence(who, what, cure), cause: err}
}

// refusal is the Error for an answer other than 200. Code is what it calls itself, empty if that isn't known.
func refusal(status int, code, who, cure string) *Error {
	e := &Error{Status: status}
	what := strings.TrimSpace("answered " + strconv.Itoa(status) + " " + http.StatusText(status))
	if code != "" {
		what += ", " + code
	}
	switch {
	case transient(status, code):
		cure = ""
	case status >= 300 && status < 400:
		e.Kind, cure = verify.Malformed, "redirects are not followed with credentials"
	default:
		e.Kind = verify.Unauthorized
	}
	e.text = sentence(who, what, cure)
	return e
}

// transient tells whether an answer is about the server and not about us. AWS says some of these with status 400, and
// Azure's metadata service says 410 while it is updated.
func transient(status int, code string) bool {
	switch code {
	case "Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "IDPCommunicationError",
		"ServerException", "InternalFailure", "ServiceUnavailable", "temporarily_unavailable":
		return true
	}
	return status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status == http.StatusGone || status >= 500
}

// sentence puts together who was asked, what came of it and what to do.
func sentence(who, what, cure string) string {
	if cure != "" {
		cure = ": " + cure
	}
	return who + ": " + what + cure
}

const (
	// maxShown bounds what is shown of a host or a path, in bytes: a longest host's name fits.
	maxShown = 256
	// maxCause bounds what is shown of an error of the network, in bytes: its end is the part that says least.
	maxCause = 120
)

// shown makes a host safe to show: as it is, or quoted if it isn't plain.
func shown(host string) string {
	if len(host) <= maxHost && !strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return host
	}
	return `"` + printable(host, maxShown) + `"`
}

// printable makes text safe to show: ASCII, control characters escaped, bounded.
func printable(s string, limit int) string {
	q := strconv.QuoteToASCII(s[:min(len(s), limit)])
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	if len(q) > limit || len(s) > limit {
		q = q[:min(len(q), limit-3)] + "..."
	}
	return q
}
