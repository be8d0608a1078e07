package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// maxQuoted bounds what is quoted of a registry's own words, in bytes: enough for any honest sentence, and several
// of them still fit into one answer to kubectl.
const maxQuoted = 256

// maxErrorBody bounds what is read of the body of an answer that is an error, in bytes. Only a sentence of it is used.
const maxErrorBody = 8 << 10

// failure is what went wrong with one question, before it is known to which place it was put.
type failure struct {
	kind   verify.FetchKind
	status int           // HTTP status; 0 if there was no answer
	again  bool          // another try may help
	wait   time.Duration // how long the registry asks to wait before it; 0 if it doesn't say
	size   int64         // of what is too large, in bytes, where that is told
	text   string        // for people; ASCII
	cause  error         // for errors.Is; not shown
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }

// refuse makes a failure that another try would not mend.
func refuse(kind verify.FetchKind, format string, args ...any) *failure {
	err := fmt.Errorf(format, args...)
	return &failure{kind: kind, text: err.Error(), cause: errors.Unwrap(err)}
}

// failureOf turns any error into a failure: ours as they are, those of the network by what they mean.
func failureOf(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var outer *url.Error // its text repeats the URL, which after a redirect may hold a signature
	if errors.As(err, &outer) {
		err = outer.Err
	}
	f = &failure{kind: verify.Unavailable, text: printable(err.Error()), cause: err}
	var unknown x509.UnknownAuthorityError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		f.text = "no answer in the time given"
	case errors.Is(err, context.Canceled):
		f.text = "cancelled while waiting for the answer"
	case errors.As(err, &unknown):
		f.text = "its certificate is by an authority that isn't known here: for a private CA, give its certificates as caBundle of an entry for the host in `registries`"
	case errors.As(err, &certificate):
	default:
		f.again = broken(err)
	}
	return f
}

// broken tells whether a connection broke or was turned away, which another try may mend. A time-out isn't among
// them: it has used up the time that another try would need.
func broken(err error) bool {
	for _, e := range []error{syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, e) {
			return true
		}
	}
	// HTTP/2 says these only in words: net/http doesn't export its error types.
	text := err.Error()
	return strings.Contains(text, "http2: server sent GOAWAY") || strings.Contains(text, "stream error:") ||
		strings.Contains(text, "server closed idle connection")
}

// newStatus says what a status other than 200 means.
func newStatus(code int, h http.Header, now time.Time) *failure {
	f := &failure{status: code, text: strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))}
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		f.kind = verify.Unauthorized
	case code == http.StatusNotFound:
		f.kind = verify.NotFound
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		f.again, f.wait = true, retryAfter(h, now)
	}
	return f
}

// statusFailure says what an answer other than 200 means, with the registry's words. If it was sent something secret, it is quoted no
// further than by the specification's own codes: some registries, and proxies before them, repeat what they were sent,
// and who reads our messages need not be one who may read the Secret.
func statusFailure(resp *http.Response, now time.Time, secret bool) *failure {
	f := newStatus(resp.StatusCode, resp.Header, now)
	if words := registryWords(resp, secret); words != "" {
		f.text += ": " + words
	}
	return f
}

// registryWords quotes the first error of a body in the form of the OCI distribution specification ("Error Codes").
func registryWords(resp *http.Response, secret bool) string {
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" {
		return ""
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return ""
	}
	var said struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &said) != nil || len(said.Errors) == 0 {
		return ""
	}
	first := said.Errors[0]
	if secret {
		if !slices.Contains(errorCodes(), first.Code) {
			return ""
		}
		first.Message = ""
	}
	words := strings.Trim(first.Code+": "+first.Message, ": ")
	if words == "" {
		return ""
	}
	return quote(words)
}

// errorCodes are those of the OCI distribution specification 1.1 ("Error Codes"), and Docker's own that registries still use.
func errorCodes() []string {
	return []string{
		"BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID",
		"MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS",
		"UNKNOWN", "UNAVAILABLE", "TAG_INVALID", "PAGINATION_NUMBER_INVALID",
	}
}

// quote makes untrusted text safe to show: ASCII, control characters escaped, in quotes, at most maxQuoted bytes.
func quote(s string) string {
	if len(s) > maxQuoted {
		s = s[:maxQuoted]
	}
	q := strconv.QuoteToASCII(s)
	if len(q) <= maxQuoted {
		return q
	}
	const ellipsis = `..."`
	cut := maxQuoted - len(ellipsis)
	for i := 1; i <= 10 && i <= cut; i++ { // not in the middle of an escape, the longest of which is \U0010ffff
		if q[cut-i] == '\\' {
			cut -= i
			break
		}
	}
	return q[:cut] + ellipsis
}

// printable makes the text of an error safe to show, without quotes.
func printable(s string) string {
	q := strconv.QuoteToASCII(s)
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	if len(q) > maxQuoted {
		q = q[:maxQuoted-3] + "..."
	}
	return q
}

// retryAfter reads Retry-After (RFC 9110, 10.2.3): seconds or a date. 0 if it is absent or can't be read.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// statusOf returns the HTTP status that an error came with, else 0.
func statusOf(err error) int {
	var f *failure
	if errors.As(err, &f) {
		return f.status
	}
	return 0
}

// fetchError says to which question at which registry an error was the answer. Nil stays nil.
func fetchError(place verify.Place, host string, err error) *verify.FetchError {
	var done *verify.FetchError
	if errors.As(err, &done) {
		return done
	}
	f := failureOf(err)
	return &verify.FetchError{Kind: f.kind, Place: place, Host: printable(host), Size: f.size, Err: f}
}
