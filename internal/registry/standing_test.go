package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// staller takes connections, and says the head of an answer and no more to all but a ping.
func staller(t *testing.T) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		w.Header().Set("Content-Type", ociIndex)
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("{"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// plainClient returns a client that speaks plain http to these names, which lead to these addresses; those of one domain
// lead to one address.
func plainClient(t *testing.T, o Options, addresses map[string]string) *Client {
	t.Helper()
	o.Guard = NewGuard(GuardOptions{})
	o.Timeouts.complete()
	find := func(host string) string {
		if at, ok := addresses[host]; ok {
			return at
		}
		_, parent, _ := strings.Cut(host, ".")
		return addresses["*."+parent]
	}
	plain := hostSet{}
	for i := range 300 {
		plain[HostPort{host: fmt.Sprintf("%d.evil.example", i)}] = true
	}
	for host := range addresses {
		plain[HostPort{host: host}] = true
	}
	c, err := newClient(o, plain, func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		var d net.Dialer
		return d.DialContext(ctx, network, find(host))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestRowR02_OnePodWhoseImagesStallStopsNoOtherRegistry(t *testing.T) {
	t.Parallel()
	good := evilregistry.New(t)
	good.Push(t, "team/app:v1", evilregistry.RandomImage(1))
	c := plainClient(t, Options{Registries: registries(t, "{prefix: named.example.org}")}, map[string]string{
		"*.evil.example": staller(t),
		"known.example":  good.Host(), "first.example": good.Host(), "named.example.org": good.Host(),
	})
	resolve := func(host string) error {
		ref, err := name.NewTag(host + "/team/app:v1")
		if err != nil {
			t.Fatal(err)
		}
		c.tags.Purge()
		_, err = c.With(Credentials{}).Resolve(within(t, 2*time.Second), ref)
		return err
	}
	if err := resolve("known.example"); err != nil {
		t.Fatal("before: ", err)
	}
	v, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 256 { // the images of one Pod
		ref := mustDigest(t, fmt.Sprintf("%d.evil.example/x@sha256:%064x", i%16, i))
		wg.Go(func() { v.Findings(ctx, c.With(Credentials{}), ref, make([]verify.Question, 1), verify.Held) })
	}
	time.Sleep(500 * time.Millisecond)
	for _, host := range []string{"known.example", "named.example.org", "first.example"} {
		if err := resolve(host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	cancel()
	wg.Wait()
}

func TestRowR02_WhatStallsHoldsAQuarterOfAllAndEachSiteLittle(t *testing.T) {
	t.Parallel()
	l := newLimits(func(host string) bool { return host == "named.example" })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	seats := map[string][]*seat{}
	for i := range 2 * maxDoubtedRequests {
		for _, host := range []string{fmt.Sprintf("%d.evil.example", i), fmt.Sprintf("evil-%d.example", i/16)} {
			wg.Go(func() {
				s, err := l.enter(ctx, host)
				if err != nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				seats[siteOf(host)] = append(seats[siteOf(host)], s)
			})
		}
	}
	wg.Wait()
	all := 0
	for site, these := range seats {
		if all += len(these); len(these) > maxDoubtedSiteRequests {
			t.Errorf("%s holds %d", site, len(these))
		}
	}
	if all != maxDoubtedRequests {
		t.Errorf("%d requests, want %d", all, maxDoubtedRequests)
	}
	// What they send holds no more either.
	for _, these := range seats {
		for _, s := range these {
			quick, stop := context.WithTimeout(t.Context(), time.Millisecond)
			_ = s.reserve(MaxManifest+1, false).grow(quick, MaxManifest+1)
			stop()
		}
	}
	if rest := int64(maxBytes - maxDoubtedBytes); !l.all.bytes.TryAcquire(rest) {
		t.Error("more bytes are held than a quarter")
	} else {
		l.all.bytes.Release(rest)
	}
	l.note("known.test", nil, 0)
	l.note("known.test", nil, 0)
	for _, host := range []string{"known.test", "named.example"} {
		var mine []*seat
		for range maxHostRequests {
			mine = append(mine, mustEnter(t, l, host))
		}
		if err := mine[0].reserve(MaxManifest+1, false).grow(within(t, time.Second), MaxManifest+1); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestRowR02_RegistriesThatAreNamedHaveRoomWhateverOthersDo(t *testing.T) {
	t.Parallel()
	l := newLimits(func(host string) bool { return host == "named.example" })
	enter := func(host string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		_, err := l.enter(ctx, host)
		return err
	}
	// They behave, until they are proven, and then they stall.
	entered := map[string]int{}
	for i := range 16 {
		for j := range 4 {
			host := fmt.Sprintf("%d.evil-%d.test", j, i)
			l.note(host, nil, 0)
			l.note(host, nil, 0)
			for range maxHostRequests {
				if enter(host) != nil {
					break
				}
				entered[siteOf(host)]++
			}
		}
	}
	all := 0
	for site, n := range entered {
		if all += n; n > maxSiteRequests {
			t.Errorf("%s has %d requests", site, n)
		}
	}
	if all != maxUnnamedRequests {
		t.Errorf("%d requests, want %d", all, maxUnnamedRequests)
	}
	for range maxRequests - maxUnnamedRequests {
		if err := enter("named.example"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARegistryIsProvenByWholeAnswersAndLosesItByStalls(t *testing.T) {
	t.Parallel()
	const stall = time.Duration(-1)
	answer := func(l *limits, took ...time.Duration) {
		for _, d := range took {
			if d == stall {
				l.note("a.example", context.DeadlineExceeded, 9*time.Second)
				continue
			}
			l.note("a.example", nil, d)
		}
	}
	many := make([]time.Duration, 10*maxCredit)
	for name, tc := range map[string]struct {
		do   func(l *limits)
		want bool
	}{
		"it was never asked":                     {func(*limits) {}, false},
		"it answered once":                       {func(l *limits) { answer(l, 0) }, false},
		"it answered as often as it takes":       {func(l *limits) { answer(l, 0, 0) }, true},
		"it answered, and stalled":               {func(l *limits) { answer(l, 0, 0, stall) }, false},
		"it stalled, and answered since":         {func(l *limits) { answer(l, 0, 0, stall, 0) }, true},
		"it stalled without end, then answered":  {func(l *limits) { answer(l, stall, stall, stall, 0, 0) }, true},
		"of many answers one stalled":            {func(l *limits) { answer(l, append(many, stall)...) }, true},
		"of many answers, as many as fill it":    {func(l *limits) { answer(l, append(many, stall, stall, stall, stall, stall, stall)...) }, false},
		"its answers take long":                  {func(l *limits) { answer(l, slowAnswer, slowAnswer, slowAnswer) }, false},
		"it answered, and then slowly":           {func(l *limits) { answer(l, 0, 0, slowAnswer) }, false},
		"it has it not":                          {func(l *limits) { l.note("a.example", &failure{status: 404}, 0); answer(l, 0) }, true},
		"it is turned away, that says nothing":   {func(l *limits) { l.note("a.example", errors.New("refused"), 0); answer(l, 0) }, false},
		"the caller had no time left":            {func(l *limits) { answer(l, 0, 0); l.note("a.example", context.DeadlineExceeded, 10*time.Millisecond) }, true},
		"the caller went":                        {func(l *limits) { answer(l, 0, 0); l.note("a.example", context.Canceled, 2*time.Second) }, true},
		"the caller went, late":                  {func(l *limits) { answer(l, 0, 0); l.note("a.example", context.Canceled, slowAnswer) }, false},
		"a step took too long, which isn't ours": {func(l *limits) { answer(l, 0, 0); l.note("a.example", &net.DNSError{IsTimeout: true}, 3*time.Second) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLimits(nil)
			tc.do(l)
			s := mustEnter(t, l, "a.example")
			if got := s.narrow == l.kept[shareKey{hostShare, "a.example"}].share; got != tc.want {
				t.Errorf("proven: %v, want %v", got, tc.want)
			}
			s.release()
			wantAllFree(t, l)
		})
	}
}

func TestTheTableOfStandingsIsBounded(t *testing.T) {
	t.Parallel()
	l := newLimits(nil)
	l.note("used.example", nil, 0)
	for i := range 3 * maxStandings {
		l.note(fmt.Sprintf("%d.example", i), nil, 0)
		l.note(fmt.Sprintf("%d.evil.example", i), context.DeadlineExceeded, time.Minute)
		l.note("used.example", nil, 0)
	}
	if n := l.credit.Len(); n != maxStandings {
		t.Errorf("%d registries are remembered, want %d", n, maxStandings)
	}
	if !l.credit.Contains("used.example") {
		t.Error("one that is in use is forgotten")
	}
	for _, host := range l.credit.Keys() {
		if strings.HasSuffix(host, ".evil.example") {
			t.Fatalf("%s never answered and is remembered", host)
		}
	}
}

func TestWhoWaitsForARegistryThatIsProvenMeanwhileGoesOn(t *testing.T) {
	t.Parallel()
	l := newLimits(nil)
	var first []*seat
	for range maxDoubtedSiteRequests {
		first = append(first, mustEnter(t, l, "a.example"))
	}
	entered := make(chan *seat)
	const more = 20
	for range more {
		go func() {
			s, err := l.enter(within(t, 5*time.Second), "a.example")
			if err != nil {
				t.Error(err)
				s = &seat{limits: l}
			}
			entered <- s
		}()
	}
	select {
	case <-entered:
		t.Error("more than the share of what isn't proven")
	case <-time.After(20 * time.Millisecond):
	}
	first[0].leave(nil)
	first[1].leave(nil)
	together := first[2:]
	for range more { // side by side, and not by turns
		together = append(together, <-entered)
	}
	for _, s := range together {
		s.leave(nil)
	}
	// Once it has lost that, who comes waits again, also while others are there.
	seats := []*seat{mustEnter(t, l, "a.example")}
	for range 20 {
		l.note("a.example", context.DeadlineExceeded, time.Minute)
	}
	for range maxDoubtedSiteRequests {
		seats = append(seats, mustEnter(t, l, "a.example"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := l.enter(ctx, "a.example"); err == nil {
		t.Error("more than the share of what isn't proven any more")
	}
	for _, s := range seats {
		s.leave(nil)
	}
	wantAllFree(t, l)
}

func TestARegistryThatIsAskedForTheFirstTimeIsAskedAtNormalSpeed(t *testing.T) {
	t.Parallel()
	var inFlight, most atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		n := inFlight.Add(1)
		defer inFlight.Add(-1)
		for have := most.Load(); n > have && !most.CompareAndSwap(have, n); have = most.Load() {
		}
		time.Sleep(100 * time.Millisecond)
		http.NotFound(w, r)
	}))
	t.Cleanup(s.Close)
	c := plainClient(t, Options{}, map[string]string{"first.example": s.Listener.Addr().String()})
	start := time.Now()
	ref, err := name.NewRepository("first.example/app")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			err := c.With(Credentials{}).Present(within(t, admission), ref.Digest(fmt.Sprintf("sha256:%064x", i)))
			wantKind(t, err, verify.NotFound)
		})
	}
	wg.Wait()
	if took := time.Since(start); most.Load() != 5 || took > time.Second {
		t.Errorf("%d side by side, in %s", most.Load(), took)
	}
}

func TestSitesOfRegistries(t *testing.T) {
	t.Parallel()
	for registry, want := range map[string]string{
		"a.evil.example":      "evil.example",
		"A.Evil.Example:5000": "evil.example",
		"b.c.evil.co.uk":      "evil.co.uk",
		"192.0.2.1:5000":      "192.0.2.1",
		"[2001:db8:1:2::3]":   "2001:db8:1::/48",
		"[2001:db8:1:9::4]:5": "2001:db8:1::/48",
		"[::ffff:192.0.2.1]":  "192.0.2.1",
		"localhost:5000":      "localhost",
		"registry.team.svc":   "team.svc",
	} {
		if got := siteOf(registry); got != want {
			t.Errorf("%s: %s, want %s", registry, got, want)
		}
	}
}

func TestRow54_TokenServicesThatAreLetThroughByNameAreReachedByThemselvesAlone(t *testing.T) {
	t.Parallel()
	list := registries(t, "{prefix: registry.corp.example, dialPrivate: true}", "{prefix: 'plain.corp.example:5000', plainHTTP: true}",
		"{prefix: shop.corp.example, tokenHosts: [registry.corp.example]}")
	realms := realms{registries: list, fixed: map[string][]string{"old.corp.example": {"registry.corp.example"}}}
	for _, tc := range []struct {
		registry, to string
		want         bool
	}{
		{"evil.corp.example", "https://registry.corp.example/admin/gc?run=1", false},
		{"evil.corp.example", "https://registry.corp.example:443/x", false},
		{"evil.corp.example", "http://plain.corp.example:5000/anything", false},
		{"evil.corp.example", "https://login.corp.example/token", true},
		{"registry.corp.example", "https://registry.corp.example/token", true},
		{"shop.corp.example", "https://registry.corp.example/token", true},
		{"old.corp.example", "https://registry.corp.example/token", true},
	} {
		repo, err := name.NewRepository(tc.registry + "/x")
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []bool{false, true} {
			err := realms.check(rules{passes{registries: list}}, repo, url.URL{Scheme: "https", Host: tc.registry}, mustURL(t, tc.to), secret)
			if (err == nil) != tc.want {
				t.Errorf("a challenge of %s names %s, with a secret: %v: %v", tc.registry, tc.to, secret, err)
			}
		}
	}
}
