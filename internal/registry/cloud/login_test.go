package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// firsts are the first requests of each cloud's login where the environment says nothing.
func firsts() map[string]string {
	return map[string]string{"ecr": "PUT " + imds + "api/token", "gar": gceAsk, "acr": azureAsk}
}

func TestSlowMetadataEndsWithTheCallersContext(t *testing.T) {
	t.Parallel()
	for cloud, c := range constructors() {
		t.Run(cloud, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).on(firsts()[cloud], hang)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			began := time.Now()
			user, password, expires, err := c.login(w.options())(ctx, c.host)
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("it took %v", took)
			}
			e := refused(t, answer{user, password, expires.UTC()}, err, c.host, "no answer in the time given", "metadata")
			if e.Kind != verify.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("it is %v and %v", e.Kind, errors.Unwrap(e))
			}
		})
	}
}

func TestALoginWhoseCallerHasGoneAsksNothing(t *testing.T) {
	t.Parallel()
	for _, c := range constructors() {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		user, password, expires, err := c.login(w.options())(ctx, c.host)
		refused(t, answer{user, password, expires.UTC()}, err, c.host, "cancelled")
		if !errors.Is(err, context.Canceled) || len(w.requests()) != 0 {
			t.Errorf("%v, having asked %q", err, w.requests())
		}
	}
}

func TestMetadataThatIsNotThereIsSaidWithTheCure(t *testing.T) {
	t.Parallel()
	cures := map[string]string{"ecr": "EKS Pod Identity or IRSA", "gar": "auth.secretRef", "acr": "Azure Workload Identity"}
	for cloud, c := range constructors() {
		t.Run(cloud, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			o := w.options()
			w.plain.Close()
			a, err := ask(t, c.login(o), c.host)
			if e := refused(t, a, err, c.host, "169.254.169.254", "connection refused", cures[cloud]); e.Kind != verify.Unavailable || e.Status != 0 {
				t.Errorf("it is %v with status %d", e.Kind, e.Status)
			}
		})
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	to := func(w *world, url string) http.HandlerFunc {
		w.on("GET "+url+"/", func(http.ResponseWriter, *http.Request) { t.Errorf("%s was asked", url) })
		w.on("POST "+url+"/", func(http.ResponseWriter, *http.Request) { t.Errorf("%s was asked", url) })
		return func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, url+"/", http.StatusTemporaryRedirect)
		}
	}
	for _, test := range []struct {
		name  string
		login func(Options) Login
		host  string
		setUp func(*world)
	}{
		{"by metadata", NewGAR, garName, func(w *world) { w.on(gceAsk, to(w, "http://evil.example")) }},
		{"by STS", NewECR, ecrName, func(w *world) { w.irsa().on(stsAsk, to(w, "https://evil.example")) }},
		{"by ECR", NewECR, ecrName, func(w *world) { w.instance("169.254.169.254").on(ecrAsk, to(w, "https://evil.example")) }},
		{"by the registry", NewACR, acrName, func(w *world) { w.on(azureAsk, text(aadJSON)).on(acrAsk, to(w, "https://evil.example")) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			test.setUp(w)
			a, err := ask(t, test.login(w.options()), test.host)
			if e := refused(t, a, err, test.host, "307 Temporary Redirect", "not followed"); e.Kind != verify.Malformed {
				t.Errorf("the kind is %v", e.Kind)
			}
		})
	}
}

func TestAnAnswerWithoutEndIsRefused(t *testing.T) {
	t.Parallel()
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte(strings.Repeat(canary, 4096))); err != nil {
				return
			}
		}
	}
	for cloud, c := range constructors() {
		t.Run(cloud, func(t *testing.T) {
			t.Parallel()
			a, err := ask(t, c.login(newWorld(t).on(firsts()[cloud], endless).options()), c.host)
			if e := refused(t, a, err, c.host, "over the bound of 65536 bytes"); e.Kind != verify.TooLarge {
				t.Errorf("the kind is %v", e.Kind)
			}
		})
	}
}

// failing answers with a status so many times, and then as next.
func failing(times int32, status int, head string, next http.HandlerFunc) http.HandlerFunc {
	var n atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) <= times {
			if head != "" {
				w.Header().Set("Retry-After", head)
			}
			w.WriteHeader(status)
			return
		}
		next(w, r)
	}
}

func TestWhatFailedOfTheMomentIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, status := range []int{408, 410, 429, 500, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).on(gceAsk, failing(2, status, "", text(gceJSON(3599))))
			must(t, NewGAR(w.options()), garName)
		})
	}
	t.Run("but not more than twice", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t).on(gceAsk, failing(100, 503, "", nil))
		a, err := ask(t, NewGAR(w.options()), garName)
		refused(t, a, err, garName, "503")
		if got := len(w.requests()); got != 1+maxRetries {
			t.Errorf("%d requests, want %d", got, 1+maxRetries)
		}
	})
	t.Run("and not what is an answer", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t).on(gceAsk, failing(100, 403, "", nil))
		a, err := ask(t, NewGAR(w.options()), garName)
		refused(t, a, err, garName, "403")
		if got := len(w.requests()); got != 1 {
			t.Errorf("%d requests, want 1", got)
		}
	})
	t.Run("and a signed request is signed anew", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t).instance("169.254.169.254").ecr(ecrAsk, "eu-west-1")
		w.on(ecrAsk, failing(1, 503, "", w.answers[ecrAsk]))
		must(t, NewECR(w.options()), ecrName)
	})
	t.Run("after the pause that was asked for", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t).on(gceAsk, failing(1, 429, "1", text(gceJSON(3599))))
		began := time.Now()
		must(t, NewGAR(w.options()), garName)
		if took := time.Since(began); took < time.Second {
			t.Errorf("it waited %v, and was asked to wait 1 s", took)
		}
	})
	t.Run("unless that is longer than there is time", func(t *testing.T) {
		t.Parallel()
		for _, pause := range []string{"3", "3600"} {
			w := newWorld(t).on(gceAsk, failing(1, 429, pause, text(gceJSON(3599))))
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			user, password, expires, err := NewGAR(w.options())(ctx, garName)
			refused(t, answer{user, password, expires.UTC()}, err, garName, "429")
			if ctx.Err() != nil {
				t.Error("it waited all the same")
			}
			cancel()
		}
	})
}

func TestAPasswordIsHeldForAWhileAndNotUntilItExpires(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		seconds int // of the password
		after   time.Duration
		logins  int
	}{
		{"a moment later it is served again", 3600, time.Second, 1},
		{"just before a minute has passed it is", 3600, maxAge - time.Second, 1},
		{"after a minute it is got anew", 3600, maxAge, 2},
		{"two minutes before its end it is got anew", 150, 30 * time.Second, 2},
		{"just before that it isn't", 150, 29 * time.Second, 1},
		{"one with less than two minutes is not held at all", 119, 0, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).on(gceAsk, text(gceJSON(test.seconds)))
			now := start
			w.now = func() time.Time { return now }
			l := NewGAR(w.options())
			must(t, l, garName)
			now = now.Add(test.after)
			if got := must(t, l, "gcr.io"); !got.Expires.After(now) {
				t.Errorf("at %v it returned what expired at %v", now, got.Expires)
			}
			if got := len(w.requests()); got != test.logins {
				t.Errorf("%d logins, want %d", got, test.logins)
			}
		})
	}
}

func TestAFailureIsNotHeldAndAPasswordIsNotServedAfterOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t).on(gceAsk, text(gceJSON(3600)))
	now := start
	w.now = func() time.Time { return now }
	l := NewGAR(w.options())
	must(t, l, garName)
	now = now.Add(maxAge)
	w.on(gceAsk, echo(403, "ECHO"))
	a, err := ask(t, l, garName)
	refused(t, a, err, garName, "403")
	w.on(gceAsk, text(gceJSON(3600)))
	must(t, l, garName)
}

func TestManyWhoAskAtOnceGetTheAnswerOfOne(t *testing.T) {
	t.Parallel()
	asked, let := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w := newWorld(t).on(gceAsk, func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(asked) })
		<-let
		text(gceJSON(3600))(w, r)
	})
	l := NewGAR(w.options())
	var wg sync.WaitGroup
	errs := make(chan error, 50)
	for range cap(errs) {
		wg.Go(func() {
			_, _, _, err := l(t.Context(), garName)
			errs <- err
		})
	}
	<-asked
	close(let)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if got := len(w.requests()); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
}

// waiting starts a login that waits for another, and returns how it ended.
func waiting(ctx context.Context, l *logins, get work) <-chan error {
	out := make(chan error, 1)
	go func() {
		_, password, _, err := l.login(ctx, garName, "key", get)
		if err == nil && password == "" {
			err = errors.New("neither a password nor an error")
		}
		out <- err
	}()
	return out
}

func TestWhoWaitsForALoginOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	good := func(context.Context) (grant, error) {
		return grant{"user", canary, start.Add(time.Hour)}, nil
	}
	begin := func(t *testing.T, end func(context.Context) (grant, error)) (*logins, <-chan error, context.CancelFunc) {
		l := newLogins(func() time.Time { return start })
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		in := make(chan struct{})
		leader := waiting(ctx, l, func(ctx context.Context) (grant, error) {
			close(in)
			return end(ctx)
		})
		<-in
		return l, leader, cancel
	}
	t.Run("who has gone", func(t *testing.T) {
		t.Parallel()
		l, leader, cancel := begin(t, func(ctx context.Context) (grant, error) {
			<-ctx.Done()
			return grant{}, silence(ctx.Err(), "somebody", "")
		})
		follower := waiting(t.Context(), l, good)
		time.Sleep(10 * time.Millisecond) // most often the follower waits by then; if not, it logs in itself
		cancel()
		if err := <-leader; !errors.Is(err, context.Canceled) {
			t.Errorf("the first got %v", err)
		}
		if err := <-follower; err != nil {
			t.Errorf("the second got %v", err)
		}
	})
	t.Run("and goes when its own time is over", func(t *testing.T) {
		t.Parallel()
		let := make(chan struct{})
		l, leader, _ := begin(t, func(ctx context.Context) (grant, error) {
			<-let
			return good(ctx)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := <-waiting(ctx, l, good); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), garName) {
			t.Errorf("the second got %v", err)
		}
		close(let)
		if err := <-leader; err != nil {
			t.Errorf("the first got %v", err)
		}
	})
	t.Run("and isn't stuck behind a panic", func(t *testing.T) {
		t.Parallel()
		l := newLogins(func() time.Time { return start })
		in, let, panicked := make(chan struct{}), make(chan struct{}), make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			_, _, _, _ = l.login(t.Context(), garName, "key", func(context.Context) (grant, error) {
				close(in)
				<-let
				panic("no")
			})
		}()
		<-in
		follower := waiting(t.Context(), l, good)
		time.Sleep(10 * time.Millisecond) // most often the follower waits by then
		close(let)
		if err := <-follower; err != nil {
			t.Error(err)
		}
		if <-panicked == nil {
			t.Error("the panic was swallowed: whoever called has to hear of it")
		}
	})
}

func TestOnlySoManyPasswordsAreHeld(t *testing.T) {
	t.Parallel()
	l := newLogins(func() time.Time { return start })
	for i := range maxHeld + 10 {
		if _, _, _, err := l.login(t.Context(), garName, fmt.Sprint(i), func(context.Context) (grant, error) {
			return grant{"user", canary, start.Add(time.Hour)}, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.have.Len(); got != maxHeld {
		t.Errorf("%d are held, want %d", got, maxHeld)
	}
}

func TestAPasswordIsNotPrinted(t *testing.T) {
	t.Parallel()
	g := grant{"user", canary, start}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, value := range []any{g, &g, held{g, start}, map[string]held{"": {g, start}}} {
			if got := fmt.Sprintf(verb, value); strings.Contains(got, canary) || strings.Contains(got, fmt.Sprintf("%x", canary)) {
				t.Errorf("%s of a %T is %s", verb, value, got)
			}
		}
	}
}
