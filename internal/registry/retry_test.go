package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// pauses notes the pauses that a client makes, in the place of making them.
func pauses(c *Client) func() []time.Duration {
	var mu sync.Mutex
	var all []time.Duration
	c.retrier.sleep = func(ctx context.Context, d time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, d)
		return ctx.Err()
	}
	return func() []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

func TestRowR01_ARegistryThatIsDown(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := signed(t, reg, "app:v1")
	c := testClient(t, Options{}, reg)
	c.retrier.sleep = sleep // the real pauses
	reg.Close()
	start := time.Now()
	_, err := c.With(Credentials{}).List(within(t, admission), image, nil)
	if fe := wantKind(t, err, verify.Unavailable); fe.Answer() || !strings.Contains(fe.Error(), "refused") {
		t.Errorf("got %v", fe)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestRowR03_TooManyRequests(t *testing.T) {
	t.Parallel()
	match := evilregistry.Match{Kind: evilregistry.ManifestByTag}
	t.Run("twice, then an answer", func(t *testing.T) {
		t.Parallel()
		reg := evilregistry.New(t)
		reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		reg.Times(2, match, evilregistry.RetryAfter(2*time.Second))
		c := testClient(t, Options{}, reg)
		made := pauses(c)
		if _, err := c.With(Credentials{}).Resolve(within(t, admission), tag(t, reg, "app:v1")); err != nil {
			t.Fatal(err)
		}
		for _, d := range made() {
			if d != 2*time.Second {
				t.Errorf("paused %s, want the 2 s asked for", d)
			}
		}
		if len(made()) != 2 {
			t.Errorf("%d pauses, want 2", len(made()))
		}
	})
	t.Run("always", func(t *testing.T) {
		t.Parallel()
		reg := evilregistry.New(t)
		rule := reg.On(match, evilregistry.RetryAfter(time.Second))
		c := testClient(t, Options{}, reg)
		pauses(c)
		_, err := c.With(Credentials{}).Resolve(within(t, admission), tag(t, reg, "app:v1"))
		if fe := wantKind(t, err, verify.Unavailable); !strings.Contains(fe.Error(), `429 Too Many Requests: "TOOMANYREQUESTS: slow down"`) {
			t.Errorf("got %v", fe)
		}
		if rule.Hits() != 1+maxRetries {
			t.Errorf("asked %d times", rule.Hits())
		}
	})
	t.Run("for longer than there is time", func(t *testing.T) {
		t.Parallel()
		reg := evilregistry.New(t)
		rule := reg.On(match, evilregistry.RetryAfter(time.Minute))
		c := testClient(t, Options{}, reg)
		made := pauses(c)
		_, err := c.With(Credentials{}).Resolve(within(t, admission), tag(t, reg, "app:v1"))
		if fe := wantKind(t, err, verify.Unavailable); !strings.Contains(fe.Error(), "asks to wait 1m0s, longer than there is time") {
			t.Errorf("got %v", fe)
		}
		if rule.Hits() != 1 || len(made()) != 0 {
			t.Errorf("asked %d times, paused %v", rule.Hits(), made())
		}
	})
}

func TestRowR04_ServerErrorsAreTriedTwiceMore(t *testing.T) {
	t.Parallel()
	for _, status := range []int{500, 502, 503, 504, 429, 408} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t)
			image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
			match := evilregistry.Match{Kind: evilregistry.ManifestByTag, Ref: "v1"}
			reg.Times(maxRetries, match, evilregistry.Status(status, nil, ""))
			c := testClient(t, Options{}, reg)
			made := pauses(c)
			got, err := c.With(Credentials{}).Resolve(within(t, admission), tag(t, reg, "app:v1"))
			if err != nil || got.DigestStr() != image.DigestStr() {
				t.Fatalf("got %v, %v", got, err)
			}
			all := made()
			if len(all) != 2 || all[0] < firstPause/2 || all[0] > firstPause*3/2 || all[1] < firstPause*3/2 || all[1] > firstPause*9/2 {
				t.Errorf("paused %v", all)
			}
		})
	}
	for _, share := range []float64{0.1, 0.5, 1} {
		t.Run(fmt.Sprintf("at a rate of %v nothing is left out in silence", share), func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t)
			image := signed(t, reg, "app:v1")
			reg.On(evilregistry.Match{}, evilregistry.Sometimes(share, 7, evilregistry.Status(503, nil, "")))
			for range 10 {
				l, err := testClient(t, Options{}, reg).With(Credentials{}).List(within(t, admission), image, nil)
				if err != nil {
					wantKind(t, err, verify.Unavailable)
					continue
				}
				if len(l.Papers)+len(l.Unanswered) < 3 {
					t.Errorf("%d papers and %d places that didn't answer: something is missing in silence", len(l.Papers), len(l.Unanswered))
				}
			}
		})
	}
}

func TestAnswersAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	for status, kind := range map[int]verify.FetchKind{403: verify.Unauthorized, 404: verify.NotFound, 400: verify.Unavailable, 418: verify.Unavailable, 204: verify.Unavailable} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t)
			rule := reg.On(evilregistry.Match{Kind: evilregistry.ManifestByTag}, evilregistry.Status(status, nil, ""))
			_, err := testClient(t, Options{}, reg).With(Credentials{}).Resolve(within(t, admission), tag(t, reg, "app:v1"))
			wantKind(t, err, kind)
			if rule.Hits() != 1 {
				t.Errorf("asked %d times", rule.Hits())
			}
		})
	}
}

func TestRowR05_BodiesCutShort(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(int) evilregistry.Fault{"closed": evilregistry.Truncate, "reset": evilregistry.Reset} {
		for _, n := range []int{0, 1, 50, 300} {
			t.Run(fmt.Sprintf("%s after %d bytes", name, n), func(t *testing.T) {
				t.Parallel()
				reg := evilregistry.New(t)
				image := signed(t, reg, "app:v1")
				a := testClient(t, Options{}, reg).With(Credentials{})
				reg.Once(evilregistry.Match{Kind: evilregistry.ManifestByDigest}, fault(n))
				l := list(t, a, image)
				reg.Once(evilregistry.Match{Kind: evilregistry.Blob}, fault(n))
				reg.Once(evilregistry.Match{Kind: evilregistry.ManifestByDigest}, fault(n))
				fetchAll(t, a, image, l.Papers)

				reg.On(evilregistry.Match{Kind: evilregistry.ManifestByTag}, fault(n))
				_, err := a.Resolve(within(t, admission), tag(t, reg, "app:v1"))
				wantKind(t, err, verify.Unavailable)
			})
		}
	}
}

func TestRow52_SlowAnswersEndWithTheCallersTime(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]evilregistry.Fault{
		"one byte a second": evilregistry.Stall(time.Second),
		"nothing at all":    evilregistry.Hang(),
	} {
		for where, match := range map[string]evilregistry.Match{
			"the ping": {Kind: evilregistry.Ping}, "the token": {Kind: evilregistry.Token},
			"the manifest": {Kind: evilregistry.ManifestByDigest}, "everything": {},
		} {
			t.Run(name+", "+where, func(t *testing.T) {
				t.Parallel()
				reg := evilregistry.New(t, evilregistry.WithTokenAuth(nil))
				image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
				if where == "the manifest" {
					reg = evilregistry.New(t)
					image = reg.Push(t, "app:v1", evilregistry.RandomImage(1))
				}
				reg.On(match, fault)
				other := evilregistry.New(t)
				theirs := other.Push(t, "app:v1", evilregistry.RandomImage(2))
				c := testClient(t, Options{}, reg, other)
				prove(c, reg.Host(), other.Host()) // they are on one address, and to one that isn't proven little is given
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				start := time.Now()
				var wg sync.WaitGroup
				for range 2 * maxHostRequests { // more than the registry's share
					wg.Go(func() {
						_, err := c.With(Credentials{}).List(ctx, image, nil)
						var fe *verify.FetchError
						if !errors.As(err, &fe) || fe.Kind != verify.Unavailable {
							t.Errorf("got %v", err)
						}
					})
				}
				if _, err := c.With(Credentials{}).List(within(t, admission), theirs, nil); err != nil {
					t.Errorf("another registry: %v", err)
				}
				wg.Wait()
				if took := time.Since(start); took > 3*time.Second {
					t.Errorf("took %s", took)
				}
			})
		}
	}
}

func TestRowR02_BodiesThatDribbleDontStopOtherRegistries(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int64{"that are small": largeBody, "that are large": verify.MaxPaper} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bodiesThatDribble(t, size)
		})
	}
}

func bodiesThatDribble(t *testing.T, size int64) {
	t.Helper()
	reg, other := evilregistry.New(t), evilregistry.New(t)
	image, theirs := signed(t, reg, "app:v1"), signed(t, other, "app:v1")
	c := testClient(t, Options{}, reg, other)
	a := c.With(Credentials{})
	p := one(t, list(t, a, image), verify.PlaceSignatures)
	l := list(t, a, theirs)
	p.Size = size // each of them may grow to the bound
	reg.On(evilregistry.Match{Kind: evilregistry.Blob}, evilregistry.Stall(50*time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() { _, _ = a.Fetch(ctx, image, p, verify.MaxPaper) })
	}
	time.Sleep(100 * time.Millisecond)
	start := time.Now()
	fetchAll(t, a, theirs, l.Papers)
	if took := time.Since(start); took > 700*time.Millisecond {
		t.Errorf("another registry's papers took %s", took)
	}
	cancel()
	wg.Wait()
	c.limits.mu.Lock()
	defer c.limits.mu.Unlock()
	if len(c.limits.kept) != 0 {
		t.Errorf("limits of %d registries are held with no request in flight", len(c.limits.kept))
	}
	if !c.limits.all.bytes.TryAcquire(maxBytes) {
		t.Error("bytes are reserved with no request in flight")
	}
}

func TestRetryAfterForms(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"7":                             7 * time.Second,
		"-7":                            0,
		"1e3":                           0,
		"99999999999999999999":          0,
		"soon":                          0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second,
		"Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestRowR06_ANameThatDoesNotResolve(t *testing.T) {
	t.Parallel()
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	transportOf(t, c, "https://registry.example").DialContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "server misbehaving", Name: "registry.example", IsTemporary: true}}
	}
	_, err = c.With(Credentials{}).List(within(t, admission), mustDigest(t, "registry.example/app@"+someHash), nil)
	if fe := wantKind(t, err, verify.Unavailable); fe.Answer() {
		t.Error("a name that doesn't resolve counts as an answer")
	}
}

func TestErrorTextIsShortASCII(t *testing.T) {
	t.Parallel()
	for _, words := range []string{
		strings.Repeat("a", 10_000), strings.Repeat("\x1b[31m", 1000), strings.Repeat("\u4e16", 1000), "\"quotes\"\nand lines\x00", strings.Repeat(`\`, 500),
		strings.Repeat("\U0001F600", 100),
	} {
		for _, shown := range []string{quote(words), printable(words)} {
			if len(shown) > maxQuoted {
				t.Errorf("%d bytes are shown", len(shown))
			}
			for _, c := range shown {
				if c < ' ' || c > '~' {
					t.Errorf("%q is shown", c)
				}
			}
		}
	}
	reg := evilregistry.New(t)
	body := `{"errors":[{"code":"DENIED","message":"` + strings.Repeat(`\u001b[31m`, 200) + `"}]}`
	reg.On(evilregistry.Match{Kind: evilregistry.ManifestByTag}, evilregistry.Status(403, nil, body))
	_, err := testClient(t, Options{}, reg).With(Credentials{}).Resolve(within(t, admission), tag(t, reg, "app:v1"))
	if fe := wantKind(t, err, verify.Unauthorized); len(fe.Error()) > maxQuoted+100 || !strings.Contains(fe.Error(), "DENIED") {
		t.Errorf("got %d bytes: %v", len(fe.Error()), fe)
	}
}
