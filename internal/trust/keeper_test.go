package trust_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/internal/trust/trusttest"
)

// watched counts what a Keeper tells.
type watched struct {
	mu      sync.Mutex
	changes []string
	results []trust.Result
	panics  int
}

func (w *watched) options(transport http.RoundTripper) trust.Options {
	return trust.Options{
		Transport: transport,
		OnChange: func(c trust.MirrorConfig) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.changes = append(w.changes, c.URL)
		},
		Observe: func(r trust.Result) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.results = append(w.results, r)
		},
		OnPanic: func(any, []byte) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.panics++
		},
	}
}

// take returns the results so far, and forgets all it has counted.
func (w *watched) take() (results []trust.Result, changes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	results, changes = w.results, len(w.changes)
	w.results, w.changes = nil, nil
	return results, changes
}

// start runs a Keeper until the bubble's function ends; a goroutine that is left over then fails the test (synctest).
func start(t *testing.T, o trust.Options) *trust.Keeper {
	t.Helper()
	k, err := trust.NewKeeper(o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- k.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Start: %v", err)
		}
	})
	return k
}

func config(repo *trusttest.Repository) trust.MirrorConfig {
	return trust.MirrorConfig{URL: "https://mirror.test", Root: repo.Root()}
}

func TestTheKeeperFetchesAtOnceAndThenByThePeriod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		repo, w := trusttest.New(t, text(0)), &watched{}
		k := start(t, w.options(repo.Transport()))
		c := config(repo)
		if s := k.State(c); !errors.Is(s.Err, trust.ErrNotFollowed) {
			t.Errorf("before Set: %v", s.Err)
		}
		if err := k.WaitFirst(t.Context(), c); !errors.Is(err, trust.ErrNotFollowed) {
			t.Errorf("before Set: %v", err)
		}
		k.Set([]trust.MirrorConfig{c})
		if err := k.WaitFirst(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if s := k.State(c); !bytes.Equal(s.TrustedRoot, text(0)) || s.Err != nil {
			t.Fatalf("after the first refresh: %d bytes, %v", len(s.TrustedRoot), s.Err)
		}
		synctest.Wait()
		if results, changes := w.take(); !slices.Equal(results, []trust.Result{trust.ResultUpdated}) || changes != 1 {
			t.Errorf("results %v, %d changes", results, changes)
		}
		repo.SetTarget(text(1))
		time.Sleep(21 * time.Hour)
		synctest.Wait()
		if results, _ := w.take(); len(results) != 0 {
			t.Errorf("asked again after 21 hours: %v", results)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if results, changes := w.take(); !slices.Equal(results, []trust.Result{trust.ResultUpdated}) || changes != 1 {
			t.Errorf("after a day: results %v, %d changes", results, changes)
		}
		if s := k.State(c); !bytes.Equal(s.TrustedRoot, text(1)) {
			t.Errorf("after a day: %v", s.Err)
		}
		k.Set(nil)
		if s := k.State(c); !errors.Is(s.Err, trust.ErrNotFollowed) {
			t.Errorf("no longer wanted: %v", s.Err)
		}
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		if results, _ := w.take(); len(results) != 0 {
			t.Errorf("asked after it was no longer wanted: %v", results)
		}
	})
}

func TestTheKeeperTriesAgainWithGrowingPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		repo, w := trusttest.New(t, text(0)), &watched{}
		repo.Down(true)
		began := time.Now()
		var at []time.Duration
		o := w.options(repo.Transport())
		var mu sync.Mutex
		o.Observe = func(trust.Result) {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(began))
		}
		k := start(t, o)
		k.Set([]trust.MirrorConfig{config(repo)})
		if err := k.WaitFirst(t.Context(), config(repo)); err != nil {
			t.Fatalf("a first refresh that failed is waited for too: %v", err)
		}
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		mu.Lock()
		for i, want := range []time.Duration{0, 1, 3, 7, 15, 31} {
			want *= time.Minute
			if i >= len(at) || at[i] < want || at[i] > want*5/4 {
				t.Fatalf("try %d of %v, want it within %s and %s", i, at, want, want*5/4)
			}
		}
		mu.Unlock()
		repo.Down(false)
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		if s := k.State(config(repo)); s.TrustedRoot == nil || s.Err != nil {
			t.Errorf("once it is up again: %v", s.Err)
		}
	})
}

func TestRow74_TheKeeperTellsOfAnExpiryWhenItHappens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		repo, w := trusttest.New(t, text(0)), &watched{}
		repo.Expire(metadata.TIMESTAMP, time.Now().Add(30*time.Second))
		o := w.options(repo.Transport())
		var seen []bool
		var mu sync.Mutex
		var k *trust.Keeper
		o.OnChange = func(c trust.MirrorConfig) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, k.State(c).TrustedRoot != nil)
		}
		k = start(t, o)
		k.Set([]trust.MirrorConfig{config(repo)})
		time.Sleep(31 * time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(seen, []bool{true, false}) {
			t.Errorf("told of %v, want that it is served, then that it isn't", seen)
		}
	})
}

func TestAMirrorThatSignsForShortIsAskedBeforeItExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		repo, w := trusttest.New(t, text(0)), &watched{}
		repo.Expire(metadata.TIMESTAMP, time.Now().Add(10*time.Hour))
		k := start(t, w.options(repo.Transport()))
		k.Set([]trust.MirrorConfig{config(repo)})
		time.Sleep(4 * time.Hour)
		repo.Expire(metadata.TIMESTAMP, time.Now().Add(100*time.Hour))
		time.Sleep(90 * time.Minute)
		synctest.Wait()
		if s := k.State(config(repo)); time.Until(s.Expires) < 90*time.Hour {
			t.Errorf("not asked again after half of its time: expires in %s", time.Until(s.Expires))
		}
	})
}

func TestThoseWhoWantTheSameMirrorShareIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		repo, w := trusttest.New(t, text(0)), &watched{}
		k := start(t, w.options(repo.Transport()))
		seldom, often := config(repo), config(repo)
		often.RefreshEvery, often.URL = time.Hour, often.URL+"/"
		k.Set([]trust.MirrorConfig{seldom, often})
		time.Sleep(time.Minute)
		synctest.Wait()
		if results, _ := w.take(); len(results) != 1 {
			t.Errorf("asked %d times at first, want once", len(results))
		}
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if results, _ := w.take(); len(results) != 1 {
			t.Errorf("asked %d times in the hour, want once", len(results))
		}
		// With the hasty one gone, and back.
		k.Set([]trust.MirrorConfig{seldom})
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if results, _ := w.take(); len(results) != 0 {
			t.Errorf("asked %d times in ten hours, want none", len(results))
		}
		k.Set([]trust.MirrorConfig{seldom, often})
		synctest.Wait()
		if results, _ := w.take(); len(results) != 1 {
			t.Errorf("asked %d times once the shorter period counts again, want once at once", len(results))
		}
		if a, b := k.State(seldom), k.State(often); a.Digest == "" || a.Digest != b.Digest {
			t.Errorf("%q and %q", a.Digest, b.Digest)
		}
	})
}

func TestMirrorsThatCannotBeFollowedSayWhy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		repo, w := trusttest.New(t, text(0)), &watched{}
		k := start(t, w.options(repo.Transport()))
		bad := config(repo)
		bad.URL = "http://mirror.test"
		wanted := []trust.MirrorConfig{bad}
		for i := range trust.MaxMirrors + 1 {
			c := config(repo)
			c.URL += fmt.Sprintf("/%d", i)
			wanted = append(wanted, c)
		}
		k.Set(wanted)
		synctest.Wait()
		if err := k.State(bad).Err; err == nil || errors.Is(err, trust.ErrNotFollowed) {
			t.Errorf("by plain http: %v", err)
		}
		if err := k.WaitFirst(t.Context(), bad); err == nil {
			t.Error("waited for what can't be followed")
		}
		last := wanted[len(wanted)-1]
		if err := k.State(last).Err; err == nil || err.Error() != "more than 64 mirrors are named: take away those that aren't needed" {
			t.Errorf("one too many: %v", err)
		}
		k.Set(wanted[len(wanted)-1:])
		synctest.Wait()
		if err := k.WaitFirst(t.Context(), last); err != nil {
			t.Errorf("once there is room: %v", err)
		}
	})
}

func TestWaitFirstEndsWithItsContextOrTheWish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		repo, w := trusttest.New(t, text(0)), &watched{}
		k := start(t, w.options(stalled{}))
		c := config(repo)
		k.Set([]trust.MirrorConfig{c})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := k.WaitFirst(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WaitFirst: %v", err)
		}
		go func() {
			time.Sleep(time.Second)
			k.Set(nil)
		}()
		if err := k.WaitFirst(t.Context(), c); !errors.Is(err, trust.ErrNotFollowed) {
			t.Errorf("WaitFirst: %v", err)
		}
	})
}

// stalled never answers.
type stalled struct{}

func (stalled) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

func TestAStalledMirrorIsGivenUpAndDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		repo, w := trusttest.New(t, text(0)), &watched{}
		k := start(t, w.options(split{repo.Transport()}))
		good, bad := config(repo), config(repo)
		bad.URL = "https://stalled.test"
		k.Set([]trust.MirrorConfig{bad, good})
		if err := k.WaitFirst(t.Context(), good); err != nil {
			t.Fatal(err)
		}
		if s := k.State(bad); !errors.Is(s.Err, trust.ErrNotFetched) {
			t.Errorf("while it stalls: %v", s.Err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if s := k.State(bad); s.Err == nil || errors.Is(s.Err, trust.ErrNotFetched) {
			t.Errorf("after the time of one request: %v", s.Err)
		}
	})
}

// split lets one host stall.
type split struct{ rest http.RoundTripper }

func (s split) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host == "stalled.test" {
		return stalled{}.RoundTrip(req)
	}
	return s.rest.RoundTrip(req)
}

func TestAPanicEndsNothing(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(*trust.Options){
		"in OnChange":      func(o *trust.Options) { o.OnChange = func(trust.MirrorConfig) { panic("OnChange") } },
		"in Observe":       func(o *trust.Options) { o.Observe = func(trust.Result) { panic("Observe") } },
		"in the transport": func(o *trust.Options) { o.Transport = panics{} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				repo, w := trusttest.New(t, text(0)), &watched{}
				o := w.options(repo.Transport())
				breakIt(&o)
				k := start(t, o)
				c := config(repo)
				k.Set([]trust.MirrorConfig{c})
				if err := k.WaitFirst(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				before := len(repo.Asked())
				repo.SetTarget(text(1))
				time.Sleep(25 * time.Hour)
				synctest.Wait()
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.panics < 2 {
					t.Errorf("told of %d panics, want one for each refresh", w.panics)
				}
				if name != "in the transport" && len(repo.Asked()) == before {
					t.Error("never asked again")
				}
			})
		})
	}
}

type panics struct{}

func (panics) RoundTrip(*http.Request) (*http.Response, error) { panic("transport") }

func TestAKeeperStartsOnce(t *testing.T) {
	t.Parallel()
	k, err := trust.NewKeeper(trust.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.Start(ctx); err != nil {
		t.Errorf("Start: %v", err)
	}
	if err := k.Start(ctx); err == nil {
		t.Error("started twice")
	}
	if k.NeedLeaderElection() {
		t.Error("followed by the leader alone")
	}
}

// Wishes change while refreshes run and readers read: for the race detector, and for goroutines that are left over.
func TestAKeeperUnderChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		repo, w := trusttest.New(t, text(0)), &watched{}
		k := start(t, w.options(repo.Transport()))
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for j := range 50 {
					c := config(repo)
					c.URL += fmt.Sprintf("/%d", (i+j)%5)
					c.RefreshEvery = time.Duration(1+j%3) * time.Minute
					k.Set([]trust.MirrorConfig{c, config(repo)})
					k.State(c)
					time.Sleep(time.Duration(j) * time.Second)
				}
			})
		}
		all.Wait()
		if err := k.WaitFirst(t.Context(), config(repo)); err != nil {
			t.Error(err)
		}
		if s := k.State(config(repo)); s.TrustedRoot == nil {
			t.Error(s.Err)
		}
	})
}
