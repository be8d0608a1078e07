package registry

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

func TestLimitsOfRequestsToAllRegistries(t *testing.T) {
	t.Parallel()
	l := newLimits(func(host string) bool { return strings.HasSuffix(host, ".example") })
	var seats []*seat
	for i := range maxRequests {
		seats = append(seats, mustEnter(t, l, fmt.Sprintf("%d.example", i%(maxRequests/8))))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := l.enter(ctx, "other.example"); err == nil {
		t.Error("one more than the bound was let in")
	} else if failureOf(err).kind != verify.Unavailable {
		t.Errorf("got %v", err)
	}
	seats[0].leave(nil)
	mustEnter(t, l, "other.example").leave(nil)
	for _, s := range seats[1:] {
		s.leave(nil)
	}
	wantAllFree(t, l)
}

// mustEnter takes a seat.
func mustEnter(t *testing.T, l *limits, host string) *seat {
	t.Helper()
	s, err := l.enter(within(t, time.Second), host)
	if err != nil {
		t.Fatal(host, ": ", err)
	}
	return s
}

// prove has registries be proven, as they are once they have been asked for a while.
func prove(c *Client, hosts ...string) {
	for _, host := range hosts {
		for range maxCredit {
			c.limits.note(host, nil, 0)
		}
	}
}

// wantAllFree fails unless nothing is held.
func wantAllFree(t *testing.T, l *limits) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) != 0 {
		t.Errorf("shares of %d registries and sites are held", len(l.kept))
	}
	if len(l.large) != 0 {
		t.Errorf("large bodies of %d registries are being read", len(l.large))
	}
	for what, s := range map[string]struct {
		*share
		requests, bytes, large int64
	}{
		"of all":     {l.all, maxRequests, maxBytes, maxLargeBytes},
		"of unnamed": {l.unnamed, maxUnnamedRequests, maxUnnamedBytes, maxUnnamedLargeBytes},
		"of doubted": {l.doubted, maxDoubtedRequests, maxDoubtedBytes, maxLarge},
	} {
		if !s.share.large.TryAcquire(s.large) {
			t.Error("bytes of large bodies are held ", what)
		}
		if !s.share.requests.TryAcquire(s.requests) {
			t.Error("requests are held ", what)
		}
		if !s.share.bytes.TryAcquire(s.bytes) {
			t.Error("bytes are held ", what)
		}
	}
}

func TestLimitsReserveWhatABodyGrowsTo(t *testing.T) {
	t.Parallel()
	l := newLimits(func(host string) bool { return strings.HasSuffix(host, ".example") })
	var ends []func()
	begin := func(host string) *reservation {
		s := mustEnter(t, l, host)
		r := s.reserve(MaxManifest+1, false)
		ends = append(ends, func() { r.free(); s.leave(nil) })
		return r
	}
	grow := func(r *reservation, n int64) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return r.grow(ctx, n)
	}
	must := func(r *reservation, n int64) {
		t.Helper()
		if err := grow(r, n); err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	// One registry may hold a sixteenth, and what isn't there isn't held.
	var first [3]*reservation
	for i := range first {
		first[i] = begin("a.example")
		must(first[i], 2*smallBody)
	}
	if free := int64(maxBytes - 3*2*smallBody); !l.all.bytes.TryAcquire(free) {
		t.Error("more is held than has come")
	} else {
		l.all.bytes.Release(free)
	}
	fourth := begin("a.example")
	must(fourth, smallBody)
	if err := grow(fourth, smallBody+1); err == nil {
		t.Error("a registry holds more than its share")
	}
	first[0].free()
	must(fourth, 2*smallBody)
	// Others aren't stopped by it, until all is held; small bodies never are.
	for i := range maxBytes/maxHostBytes + 1 {
		for range 3 {
			r := begin(fmt.Sprintf("%d.example", i))
			must(r, smallBody+1)
			_ = grow(r, MaxManifest+1)
		}
	}
	var large []*reservation
	for i := range 64 { // what is left
		r := begin(fmt.Sprintf("left-%d.example", i))
		large = append(large, r)
		_ = grow(r, MaxManifest+1)
	}
	late := begin("late.example")
	if err := grow(late, MaxManifest+1); err == nil {
		t.Error("more is held than the bound")
	}
	must(late, smallBody)
	for _, r := range large {
		r.free()
	}
	must(late, MaxManifest+1)
	for _, end := range ends {
		end()
	}
	wantAllFree(t, l)
}

// dribbler answers as a manifest, without a length, first some bytes, and then one every now and then.
func dribbler(t *testing.T, first int) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		w.Header().Set("Content-Type", ociIndex)
		_, _ = w.Write([]byte(strings.Repeat(" ", first)))
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestRowR02_AnswersWithoutALengthDontStopOtherRegistries(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]int{"that have hardly begun": 1, "that are past what is small": smallBody + 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slow, other := dribbler(t, first), evilregistry.New(t)
			image := signed(t, other, "app:v1")
			port := slow.URL[strings.LastIndexByte(slow.URL, ':'):]
			hosts := []string{"127.0.0.1" + port, "localhost" + port}
			c := testClient(t, Options{PlainHTTP: hosts}, other)
			prove(c, other.Host())
			prove(c, hosts...) // else they'd have little
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			var wg sync.WaitGroup
			for i := range 2 * maxHostRequests {
				ref := mustDigest(t, fmt.Sprintf("%s/app@sha256:%064x", hosts[i%2], i))
				wg.Go(func() { _, _ = c.With(Credentials{}).List(ctx, ref, nil) })
			}
			time.Sleep(300 * time.Millisecond)
			if most := int64(maxBytes - 2*maxHostRequests*2*smallBody); !c.limits.all.bytes.TryAcquire(most) {
				t.Error("more is held than has come")
			} else {
				c.limits.all.bytes.Release(most)
			}
			quick, stop := context.WithTimeout(t.Context(), 2*time.Second)
			defer stop()
			if l, err := c.With(Credentials{}).List(quick, image, nil); err != nil || len(l.Unanswered) != 0 {
				t.Errorf("another registry, while 2 dribble: %v, unanswered %v", err, l.Unanswered)
			}
			cancel()
			wg.Wait()
			wantAllFree(t, c.limits)
		})
	}
}
