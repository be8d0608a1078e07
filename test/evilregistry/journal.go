package evilregistry

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// maxLoggedBody bounds how much of a token request's body is kept: more than
// any honest form of a login holds.
const maxLoggedBody = 4 << 10

// Request is one request as the registry saw it.
type Request struct {
	Method string
	Host   string // the Host header
	Path   string
	Query  string // raw, without "?"
	Kind   Kind
	Repo   string // repository path, empty for Ping, Token and Other
	Ref    string // tag or digest, if the path names one

	// Authorization is the header as it came, empty if there was none.
	Authorization string
	// Header holds all the request's headers.
	Header http.Header
	// Body holds up to 4 KiB of a Token request's body, where OAuth2 puts
	// its secrets; it is empty for other kinds.
	Body string

	// Status is the answer's status; 0 if no status line was sent.
	Status int
	// Bytes is how many bytes of body were sent.
	Bytes int64
	// Fault names the fault that answered, empty if none did.
	Fault string
	// Start is when the request reached the registry, before any delay.
	Start time.Time
	// End is when the last byte of the answer was about to be sent; zero
	// while the request is in flight. It is taken before that write and not
	// after it, so that a request the client makes because of this answer
	// always starts at or after End.
	End time.Time
}

// journal is the list of what came.
type journal struct {
	mu         sync.Mutex
	countsOnly bool
	entries    []*Request
	counts     map[Kind]int
}

// begin writes a request down on arrival, so that Requests is in order of
// arrival and shows what is still in flight.
func (j *journal) begin(r *http.Request, to target) *Request {
	entry := &Request{
		Method: r.Method, Host: r.Host, Path: r.URL.Path, Query: r.URL.RawQuery,
		Kind: to.kind, Repo: to.repo, Ref: to.ref, Start: time.Now(),
	}
	if !j.countsOnly {
		entry.Authorization = r.Header.Get("Authorization")
		entry.Header = r.Header.Clone()
		if to.kind == Token && r.Body != nil {
			head, _ := io.ReadAll(io.LimitReader(r.Body, maxLoggedBody))
			entry.Body = string(head)
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counts[to.kind]++
	if !j.countsOnly {
		j.entries = append(j.entries, entry)
	}
	return entry
}

// note records which fault answers.
func (j *journal) note(entry *Request, fault string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	entry.Fault = fault
}

// end completes an entry.
func (j *journal) end(entry *Request, answer *recorder) {
	j.mu.Lock()
	defer j.mu.Unlock()
	entry.Status, entry.Bytes, entry.End = answer.status, answer.bytes, answer.last
	if entry.End.IsZero() { // nothing was sent
		entry.End = time.Now()
	}
}

func (j *journal) snapshot() []Request {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Request, len(j.entries))
	for i, entry := range j.entries {
		out[i] = *entry
		out[i].Header = entry.Header.Clone()
	}
	return out
}

// Requests returns what came since the start or the last Reset, in order of
// arrival. It is nil under WithCountsOnly.
func (r *Registry) Requests() []Request { return r.journal.snapshot() }

// Count returns how many requests of any of these kinds came since the start
// or the last Reset; with kind 0, how many in all.
func (r *Registry) Count(kind Kind) int {
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	n := 0
	for k, count := range r.journal.counts {
		if kind == 0 || kind&k != 0 {
			n += count
		}
	}
	return n
}

// Counts returns the number of requests by kind.
func (r *Registry) Counts() map[Kind]int {
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	return maps.Clone(r.journal.counts)
}

// Reset forgets the requests seen so far. Faults, tokens and content stay.
func (r *Registry) Reset() {
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	r.journal.entries = nil
	r.journal.counts = map[Kind]int{}
}

// SerialDepth is the length of the longest chain of finished requests in which
// each began only after the one before had been answered: the number of round
// trips the client waited for one after another. Kinds given are left out;
// SerialDepth(Login) leaves out pings and tokens.
//
// Measure it under WithDelay. Without a delay requests that a client sent side
// by side may still follow one another by chance and count as a chain; the
// delay should be well above the scheduling noise of the machine (50 ms).
func (r *Registry) SerialDepth(except ...Kind) int {
	var skip Kind
	for _, k := range except {
		skip |= k
	}
	return serialDepth(r.Requests(), skip)
}

// serialDepth is the greedy answer to interval scheduling: always take the
// request that ends first among those that start after the last one taken.
func serialDepth(requests []Request, skip Kind) int {
	done := slices.DeleteFunc(requests, func(q Request) bool {
		return q.End.IsZero() || q.Kind&skip != 0
	})
	slices.SortFunc(done, func(a, b Request) int { return a.End.Compare(b.End) })
	depth, last := 0, time.Time{}
	for _, q := range done {
		if depth == 0 || !q.Start.Before(last) {
			depth, last = depth+1, q.End
		}
	}
	return depth
}

// recorder watches an answer go out.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	last   time.Time // before the latest write
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.last = time.Now()
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.last = time.Now()
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController flush and hijack.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
