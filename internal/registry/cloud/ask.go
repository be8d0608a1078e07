package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Bounds of one request.
const (
	// maxAnswer bounds the headers and the body of an answer, in bytes: tokens are some 2 to 8 KiB.
	maxAnswer = 64 << 10
	// maxTokenFile bounds a file with a token of a Pod, in bytes: those of ServiceAccounts are 1 to 2 KiB.
	maxTokenFile = 64 << 10
	// maxRetries bounds the tries after the first, as for the registries themselves.
	maxRetries = 2
	// firstPause is the mean pause before the second try; before the third it is three times that.
	firstPause = 150 * time.Millisecond
	// lastTry is the least time that a try needs to be worth waiting for.
	lastTry = 50 * time.Millisecond
	// maxWait bounds the pause that a service may ask for: a login is over by then.
	maxWait = 5 * time.Second
)

// step is one request of a login.
type step struct {
	client      *http.Client
	method, url string
	header      map[string]string
	body        string
	sign        func(context.Context, *http.Request) error // nil for none; called anew for each try

	who      string // is asked, for messages
	silent   string // what to do if it doesn't answer; empty if there is nothing to say
	declined string // what to do if it says no

	code func(body []byte) string // what a refusal calls itself: one of a closed list, or empty
	read func(body []byte) error  // reads the answer; its error says what is wrong, and nothing of the content
}

// ask sends a request, with two more tries where another may help and there is time for it.
func (c *caller) ask(ctx context.Context, s step) error {
	pause := firstPause
	for left := maxRetries; ; left-- {
		again, wait, err := s.try(ctx)
		if err == nil {
			return nil
		}
		if wait == 0 {
			wait = pause/2 + rand.N(pause)
		}
		if !again || left == 0 || wait > maxWait || !fits(ctx, wait) || sleep(ctx, wait) != nil {
			return err
		}
		pause *= 3
	}
}

// try sends a request once. Again says whether another try may help, wait how long the service asks to wait before it.
func (s step) try(ctx context.Context) (again bool, wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, s.method, s.url, strings.NewReader(s.body))
	if err != nil {
		return false, 0, fail(verify.Unavailable, "%s: not an address that can be asked", s.who)
	}
	req.Header.Set("User-Agent", "pratique")
	for name, value := range s.header {
		req.Header.Set(name, value)
	}
	if s.sign != nil {
		if s.sign(ctx, req) != nil {
			return false, 0, fail(verify.Unavailable, "%s: the request could not be signed", s.who)
		}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return broken(err), 0, silence(err, s.who, s.silent)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)) // one more tells a full one from one too long
	switch {
	case err != nil:
		return broken(err), 0, silence(err, s.who, s.silent)
	case len(body) > maxAnswer:
		return false, 0, fail(verify.TooLarge, "%s: an answer over the bound of %d bytes", s.who, maxAnswer)
	case resp.StatusCode != http.StatusOK:
		code := s.code(body)
		return transient(resp.StatusCode, code), retryAfter(resp.Header), refusal(resp.StatusCode, code, s.who, s.declined)
	}
	if err := s.read(body); err != nil {
		return false, 0, fail(verify.Malformed, "%s: answered %v", s.who, err)
	}
	return false, 0, nil
}

// broken tells whether a connection broke or was turned away, which another try may mend. A time-out isn't among them:
// it has used up the time of another try.
func broken(err error) bool {
	return slices.ContainsFunc([]error{syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF},
		func(e error) bool { return errors.Is(err, e) })
}

// retryAfter reads Retry-After (RFC 9110, 10.2.3) in seconds; 0 if it is absent or a date.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// fits tells whether a pause and another try fit before the deadline.
func fits(ctx context.Context, wait time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > wait+lastTry
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

// form is the header of a body that url.Values encodes.
func form() map[string]string {
	return map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
}

// object reads an answer that is a JSON object. The error doesn't repeat encoding/json's, which quotes what it read.
func object(body []byte, into any) error {
	if json.Unmarshal(body, into) != nil {
		return errors.New("something else than the JSON object that was asked for")
	}
	return nil
}

// oneOf returns a code if it is in a list, and else nothing: what isn't known isn't repeated, for it may be a secret that
// was sent.
func oneOf(code string, known ...string) string {
	if slices.Contains(known, code) {
		return code
	}
	return ""
}

// readToken reads the file in which a Pod finds a token. Variable is the one of the environment that names it.
func readToken(variable, path string) (string, error) {
	bad := func(kind verify.FetchKind, what string) (string, error) {
		return "", fail(kind, "the file of %s %s: it is mounted for a ServiceAccount with such an identity", variable, what)
	}
	info, err := os.Stat(path) // before it is opened, which on a pipe doesn't end
	if err != nil {
		return bad(verify.Unavailable, unreadable(err))
	}
	if !info.Mode().IsRegular() {
		return bad(verify.Unavailable, "is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return bad(verify.Unavailable, unreadable(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	token := strings.TrimSpace(string(data))
	switch {
	case err != nil:
		return bad(verify.Unavailable, unreadable(err))
	case len(data) > maxTokenFile:
		return bad(verify.TooLarge, "is over the bound of "+strconv.Itoa(maxTokenFile)+" bytes")
	case token == "":
		return bad(verify.Unavailable, "is empty")
	}
	return token, nil
}

// unreadable says why a file can't be read, without its path: whoever reads it knows the variable.
func unreadable(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return "can't be read (" + printable(err.Error(), maxCause) + ")"
}

// values makes a form out of pairs. Those without a value are left out.
func values(pairs ...string) string {
	out := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out.Set(pairs[i], pairs[i+1])
		}
	}
	return out.Encode()
}
