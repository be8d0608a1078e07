package verify_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// hanging takes every question and answers none, until the asker gives up.
type hanging struct {
	*verifytest.Registry
	present bool // only the question for the manifest alone

	mu                  sync.Mutex
	asked, atOnce, peak int
}

func (h *hanging) hang(ctx context.Context) error {
	h.mu.Lock()
	h.asked++
	h.atOnce++
	h.peak = max(h.peak, h.atOnce)
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	h.atOnce--
	h.mu.Unlock()
	return &verify.FetchError{Err: ctx.Err()}
}

func (h *hanging) List(ctx context.Context, image name.Digest, types []string) (verify.Listing, error) {
	if h.present {
		return h.Registry.List(ctx, image, types)
	}
	return verify.Listing{}, h.hang(ctx)
}

func (h *hanging) Present(ctx context.Context, _ name.Digest) error { return h.hang(ctx) }

func (h *hanging) counts() (asked, atOnce, peak int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked, h.atOnce, h.peak
}

// until waits for something that is about to become true.
func until(t *testing.T, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !true(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func imageAt(host string, n int) name.Digest {
	repo, err := name.NewRepository(host + "/app")
	if err != nil {
		panic(err) // the hosts are these tests' own
	}
	return repo.Digest(verifytest.Digest(fmt.Sprint(n)).String())
}

// flood asks for some images of each host, in goroutines that end with ctx.
func flood(ctx context.Context, v *verify.Verifier, f verify.Fetcher, a verify.Authority, hosts, images int) (wait func() []verify.Findings) {
	out := make([]verify.Findings, hosts*images)
	var wg sync.WaitGroup
	for i := range out {
		wg.Add(1)
		go func() {
			defer wg.Done()
			out[i] = v.Findings(ctx, f, imageAt(fmt.Sprintf("r%d.example", i%hosts), i), verify.SignaturesBy(a), verify.Held)[0]
		}()
	}
	return func() []verify.Findings { wg.Wait(); return out }
}

// Not parallel: it counts goroutines.
func TestWhatHangsIsBoundedAndEndsWithItsRequests(t *testing.T) {
	s := verifytest.NewSigner(t, 1)
	a := verifytest.Authority(t, "release", s)
	for what, tc := range map[string]struct{ hosts, images, peak int }{
		"one registry":     {1, 1000, 128},
		"twelve of them":   {12, 300, 1024},
		"beyond the line":  {1, 2500, 128},
		"a handful of all": {2, 10, 20},
	} {
		t.Run(what, func(t *testing.T) {
			h, v, before := &hanging{Registry: verifytest.NewRegistry()}, newVerifier(t, verify.Options{}), runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			wait := flood(ctx, v, h, a, tc.hosts, tc.images)
			until(t, "as much is asked at once as may be", func() bool { _, n, _ := h.counts(); return n == tc.peak })
			time.Sleep(20 * time.Millisecond)
			cancel()
			busy := 0
			for _, f := range wait() {
				if len(f.Evidence) != 0 || len(f.Unanswered) != 1 || f.Unanswered[0].Kind != verify.Unavailable {
					t.Fatalf("%+v", f)
				}
				if strings.Contains(f.Unanswered[0].Error(), "too many images are being looked at; try again") {
					busy++
				}
			}
			until(t, "all that was begun has ended", func() bool { _, n, _ := h.counts(); return n == 0 && runtime.NumGoroutine() <= before+4 })
			asked, _, peak := h.counts()
			// Whose turn came as all were leaving has asked nobody, and was not told that there is no room.
			if all := tc.hosts * tc.images; peak > tc.peak || busy > all-asked || busy < all-asked-tc.peak {
				t.Errorf("at most %d at once, %d of %d asked, %d told that there is no room", peak, asked, all, busy)
			}
			if _, entries := v.Size(); entries != 0 {
				t.Errorf("%d of these answers were kept", entries)
			}
		})
	}
}

func TestARegistryThatHangsLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	a, v := verifytest.Authority(t, "release", s), newVerifier(t, verify.Options{})
	h := &hanging{Registry: verifytest.NewRegistry()}
	ctx, cancel := context.WithCancel(t.Context())
	wait := flood(ctx, v, h, a, 7, 400)
	until(t, "seven shares are taken", func() bool { _, n, _ := h.counts(); return n == 7*128 })
	well := verifytest.NewRegistry()
	well.Sign(s, image)
	if f := one(t, v, well, image, a, verify.Held); len(f.Evidence) != 1 {
		t.Errorf("%+v", f)
	}
	cancel()
	wait()
}

func TestAnAnswerForWantOfRoomIsNeitherKeptNorAnOutage(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), imageAt("r0.example", -1)
	hash := verifytest.Digest("-1")
	a, c := []verify.Authority{verifytest.Authority(t, "release", s)}, newClock()
	v := newVerifier(t, verify.Options{Clock: c.Now})
	well, h := verifytest.NewRegistry(), &hanging{Registry: verifytest.NewRegistry()}
	well.Sign(s, hash)
	if f := v.Findings(t.Context(), well, image, verify.SignaturesBy(a...), verify.Held)[0]; len(f.Evidence) != 1 {
		t.Fatalf("%+v", f)
	}
	c.pass(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	wait := flood(ctx, v, h, a[0], 1, 128)
	until(t, "the registry's share is taken", func() bool { _, n, _ := h.counts(); return n == 128 })
	brief, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	f := v.Findings(brief, well, image, verify.SignaturesBy(a...), verify.Held)[0]
	if len(f.Evidence) != 0 || f.Stale || len(f.Unanswered) != 1 || f.Unanswered[0].Kind != verify.Unavailable {
		t.Errorf("whoever floods us could have served what was revoked: %+v", f)
	}
	// Who has time waits for a turn.
	later := make(chan verify.Findings)
	go func() { later <- v.Findings(t.Context(), well, image, verify.SignaturesBy(a...), verify.Held)[0] }()
	time.Sleep(10 * time.Millisecond)
	cancel()
	wait()
	if f := <-later; len(f.Evidence) != 1 || f.Stale || len(f.Unanswered) != 0 {
		t.Errorf("%+v", f)
	}
}

func TestAGatheringEndsWithTheLastWhoWaits(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	a, v := []verify.Authority{verifytest.Authority(t, "release", s)}, newVerifier(t, verify.Options{})
	h := &hanging{Registry: verifytest.NewRegistry()}
	var leave []context.CancelFunc
	left := make(chan verify.Findings)
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		leave = append(leave, cancel)
		go func() { left <- v.Findings(ctx, h, at(image), verify.SignaturesBy(a...), verify.Held)[0] }()
		until(t, "it is asked", func() bool { n, _, _ := h.counts(); return n == 1 })
		time.Sleep(10 * time.Millisecond)
	}
	for i, cancel := range leave {
		if _, n, _ := h.counts(); n != 1 {
			t.Fatalf("%d left, and %d questions are going on", i, n)
		}
		cancel()
		<-left
		time.Sleep(10 * time.Millisecond)
	}
	until(t, "it has ended", func() bool { _, n, _ := h.counts(); return n == 0 })
	well := verifytest.NewRegistry()
	well.Sign(s, image)
	if f := one(t, v, well, image, a[0], verify.Held); len(f.Evidence) != 1 {
		t.Errorf("who comes after that is told %+v", f)
	}
}

func TestManifestReadsAreBoundedAndEndWithTheirRequests(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigner(t, 1)
	a, v := verifytest.Authority(t, "release", s), newVerifier(t, verify.Options{})
	held, h := verifytest.NewRegistry(), &hanging{Registry: verifytest.NewRegistry(), present: true}
	h.Creds = verify.Access{2}
	const images = 300
	for n := range images {
		held.Sign(s, verifytest.Digest(fmt.Sprint(n)))
	}
	flood(t.Context(), v, held, a, 1, images)()
	ctx, cancel := context.WithCancel(t.Context())
	wait := flood(ctx, v, h, a, 1, images)
	until(t, "the registry's share is taken", func() bool { _, n, _ := h.counts(); return n == 128 })
	time.Sleep(10 * time.Millisecond)
	cancel()
	wait()
	until(t, "all have ended", func() bool { _, n, _ := h.counts(); return n == 0 })
	if _, _, peak := h.counts(); peak > 128 {
		t.Errorf("%d at once", peak)
	}
}

func TestWhatIsListedBehindRequestsIsBounded(t *testing.T) {
	t.Parallel()
	s, c := verifytest.NewSigner(t, 1), newClock()
	var mu sync.Mutex
	refreshes := 0
	v := newVerifier(t, verify.Options{Clock: c.Now, Observe: func(e verify.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e == verify.EventRefresh {
			refreshes++
		}
	}})
	a, reg := verifytest.Authority(t, "release", s), verifytest.NewRegistry()
	const images = 100
	for n := range images {
		reg.Sign(s, verifytest.Digest(fmt.Sprint(n)))
	}
	flood(t.Context(), v, reg, a, 1, images)()
	c.pass(verify.ServeFor + time.Second)
	release := reg.Block()
	defer release()
	for range 3 {
		for _, f := range flood(t.Context(), v, reg, a, 1, images)() {
			if len(f.Evidence) != 1 {
				t.Fatalf("%+v", f)
			}
		}
	}
	until(t, "they are asked for", func() bool { lists, _ := reg.Counts(); return lists >= images+64 })
	mu.Lock()
	if refreshes != 64 {
		t.Errorf("%d at once", refreshes)
	}
	mu.Unlock()
	release()
	until(t, "the others are listed at later requests", func() bool {
		return !slices.ContainsFunc(flood(t.Context(), v, reg, a, 1, images)(), func(f verify.Findings) bool { return !f.ListedAt.Equal(c.Now()) })
	})
}

// TestAStandInThatIsDownHidesNoRevocation: in a listing, "the manifest didn't answer" is one of the two that can be asked.
func TestAStandInThatIsDownHidesNoRevocation(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	a := verifytest.Authority(t, "release", s)
	at := func(place verify.Place, host string) *verify.FetchError {
		return &verify.FetchError{Place: place, Host: host, Err: errors.New("connection refused")}
	}
	const mirror, registry = "mirror.example", "registry.example"
	for what, tc := range map[string]struct {
		down []*verify.FetchError
		kept bool
	}{
		"the mirror is down, and the registry has none":                {[]*verify.FetchError{at(verify.PlaceManifest, mirror)}, false},
		"the registry is down, and its mirror of images has none":      {[]*verify.FetchError{at(verify.PlaceManifest, registry)}, true},
		"the mirror is down, and at the registry the place it was in":  {[]*verify.FetchError{at(verify.PlaceManifest, mirror), at(verify.PlaceSignatures, registry)}, true},
		"the mirror is down, and at the registry another place is too": {[]*verify.FetchError{at(verify.PlaceManifest, mirror), at(verify.PlaceReferrers, registry)}, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			reg, c := verifytest.NewRegistry(), newClock()
			v := newVerifier(t, verify.Options{Clock: c.Now})
			reg.Sign(s, image)
			one(t, v, reg, image, a, verify.Held)
			reg.Clear(image)
			reg.FailPlace(tc.down...)
			for range 3 {
				c.pass(time.Hour)
				f := one(t, v, reg, image, a, verify.Anew)
				if (len(f.Evidence) == 1) != tc.kept || f.Stale != tc.kept || len(f.Unanswered) != len(tc.down) {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}
