package evilregistry

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is one way of misbehaving. Make one with the functions of this package
// and put it into the script with On, Once or Times. A Fault may be used by
// several rules; one that counts (Swap, Sometimes) then counts across them.
type Fault struct {
	name string
	// serve answers r. next is the registry as it would have answered.
	serve func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

// String names the fault, as Request.Fault does.
func (f Fault) String() string { return f.name }

// Pass answers as if there were no fault: a step for Swap, and an early rule
// that shields some requests from a later one.
func Pass() Fault {
	return Fault{"Pass", func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) }}
}

// Func answers with h.
func Func(h http.HandlerFunc) Fault {
	return Fault{"Func", func(w http.ResponseWriter, r *http.Request, _ http.Handler) { h(w, r) }}
}

// Stack applies faults together: the first meets the request first, and works
// on the answer last. Stack(Delay(d), Status(503, nil, "")) is a late 503.
func Stack(faults ...Fault) Fault {
	names := make([]string, len(faults))
	for i, f := range faults {
		names[i] = f.name
	}
	return Fault{strings.Join(names, "+"), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		for i := len(faults) - 1; i >= 0; i-- {
			f, inner := faults[i], next
			next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(w, r, inner) })
		}
		next.ServeHTTP(w, r)
	}}
}

// Swap answers the first request with the first fault, the second with the
// second, and stays at the last: a registry that says something else on each
// read. Use Pass for the truth.
func Swap(faults ...Fault) Fault {
	if len(faults) == 0 {
		panic("evilregistry: Swap of nothing")
	}
	var mu sync.Mutex
	next := 0
	return Fault{"Swap", func(w http.ResponseWriter, r *http.Request, real http.Handler) {
		mu.Lock()
		f := faults[next]
		if next < len(faults)-1 {
			next++
		}
		mu.Unlock()
		f.serve(w, r, real)
	}}
}

// Sometimes applies f to about this share (0 to 1) of the requests; the choice
// follows from the seed and the order of arrival.
func Sometimes(share float64, seed uint64, f Fault) Fault {
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, seed))
	return Fault{fmt.Sprintf("Sometimes(%g,%s)", share, f.name), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		hit := dice.Float64() < share
		mu.Unlock()
		if hit {
			f.serve(w, r, next)
		} else {
			next.ServeHTTP(w, r)
		}
	}}
}

// Status answers with this status, these headers (may be nil) and this body.
func Status(code int, header http.Header, body string) Fault {
	return Fault{fmt.Sprintf("Status(%d)", code), func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for k, values := range header {
			w.Header()[http.CanonicalHeaderKey(k)] = values
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}}
}

// RetryAfter answers 429 with a Retry-After of this many whole seconds, rounded
// up. For a date, or nonsense, in its place use Status.
func RetryAfter(wait time.Duration) Fault {
	seconds := int64((wait + time.Second - 1) / time.Second)
	f := Status(http.StatusTooManyRequests, http.Header{
		"Retry-After":  {strconv.FormatInt(seconds, 10)},
		"Content-Type": {"application/json"},
	}, `{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}`)
	f.name = fmt.Sprintf("RetryAfter(%d)", seconds)
	return f
}

// Delay waits, then answers truthfully.
func Delay(d time.Duration) Fault {
	return Fault{fmt.Sprintf("Delay(%s)", d), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		pause(r.Context(), d)
		next.ServeHTTP(w, r)
	}}
}

// Stall sends the headers at once, then one byte each interval until the client
// leaves (slow-loris from the server's side): first the true body, then
// spaces, which JSON allows. The length is not announced.
func Stall(interval time.Duration) Fault {
	return Fault{fmt.Sprintf("Stall(%s)", interval), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		a := capture(next, r)
		a.header.Del("Content-Length")
		a.begin(w)
		flusher := http.NewResponseController(w)
		for i := 0; ; i++ {
			if flusher.Flush() != nil {
				return
			}
			pause(r.Context(), interval)
			char := []byte{' '}
			if i < len(a.body) {
				char[0] = a.body[i]
			}
			if _, err := w.Write(char); err != nil {
				return
			}
		}
	}}
}

// Hang takes the request and says nothing, not even a status, until the client
// leaves.
func Hang() Fault {
	return Fault{"Hang", func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}}
}

// CloseConnection closes the connection without an answer. Go's transport
// repeats a GET by itself if the connection had been used before; Count then
// shows more requests than the client made.
func CloseConnection() Fault {
	return Fault{"CloseConnection", func(http.ResponseWriter, *http.Request, http.Handler) {
		panic(http.ErrAbortHandler)
	}}
}

// Truncate announces the whole body, sends n bytes of it and closes the
// connection. A body of n bytes or fewer arrives whole.
func Truncate(n int) Fault {
	return Fault{fmt.Sprintf("Truncate(%d)", n), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		a := capture(next, r)
		if n >= len(a.body) {
			a.send(w, r)
			return
		}
		a.header.Set("Content-Length", strconv.Itoa(len(a.body)))
		a.begin(w)
		_, _ = w.Write(a.body[:n])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}}
}

// Reset announces the whole body, sends at most n bytes of it and resets the
// connection (TCP RST), so that the client's read fails instead of ending.
func Reset(n int) Fault {
	return Fault{fmt.Sprintf("Reset(%d)", n), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		a := capture(next, r)
		a.header.Set("Content-Length", strconv.Itoa(len(a.body)))
		a.begin(w)
		_, _ = w.Write(a.body[:min(n, len(a.body))])
		control := http.NewResponseController(w)
		_ = control.Flush()
		if conn, _, err := control.Hijack(); err == nil {
			resetConn(conn)
		}
		panic(http.ErrAbortHandler)
	}}
}

// resetConn closes with RST, under TLS too.
func resetConn(conn net.Conn) {
	if under, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = under.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// Redirect answers with this status and Location. A location without a path,
// such as another registry's URL, gets the path and query of the request.
func Redirect(location string, code int) Fault {
	return Fault{fmt.Sprintf("Redirect(%d)", code), func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		to := location
		if u, err := url.Parse(location); err == nil && u.Host != "" && u.Path == "" {
			to += r.URL.RequestURI()
		}
		w.Header().Set("Location", to)
		w.WriteHeader(code)
	}}
}

// answer is a truthful answer, held back to be spoiled.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// capture asks next and keeps what it says.
func capture(next http.Handler, r *http.Request) *answer {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	result := rec.Result()
	return &answer{result.StatusCode, result.Header, rec.Body.Bytes()}
}

// begin sends the status line and the headers.
func (a *answer) begin(w http.ResponseWriter) {
	for k, values := range a.header {
		w.Header()[k] = values
	}
	w.WriteHeader(a.status)
}

// send sends the whole answer with its true length. To HEAD it leaves the
// length as the registry gave it, and sends no body.
func (a *answer) send(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodHead {
		a.header.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	a.begin(w)
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.body)
	}
}

// pause waits for d. If the client leaves meanwhile, the handler ends there.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	}
}
