package trust_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/internal/trust/trusttest"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// text returns a trusted root that can be used; another number is another text.
func text(n int) []byte { return append(trust.PublicGood(), bytes.Repeat([]byte("\n"), n)...) }

// bed is a repository, a mirror of it and their time.
type bed struct {
	*testing.T
	clock   *clock
	repo    *trusttest.Repository
	mirror  *trust.Mirror
	results []trust.Result
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{T: t, clock: newClock()}
	b.repo = trusttest.At(t, text(0), b.clock.Now())
	b.mirror = b.newMirror()
	return b
}

func (b *bed) newMirror() *trust.Mirror {
	b.Helper()
	m, err := trust.NewMirror(trust.MirrorConfig{URL: b.repo.URL(), Root: b.repo.Root()}, trust.Options{
		PlainHTTP: []string{b.repo.Host()}, Clock: b.clock.Now,
		Observe: func(r trust.Result) { b.results = append(b.results, r) },
		OnPanic: func(r any, stack []byte) { b.Errorf("a panic was caught: %v\n%s", r, stack) },
	})
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// good refreshes and wants a text served.
func (b *bed) good(want []byte) trust.State {
	b.Helper()
	if err := b.mirror.Refresh(b.Context()); err != nil {
		b.Fatalf("refresh: %v", err)
	}
	return b.serves(want, "")
}

// serves wants a text in the State, and in its error, if any, a phrase.
func (b *bed) serves(want []byte, phrase string) trust.State {
	b.Helper()
	s := b.mirror.State()
	if !bytes.Equal(s.TrustedRoot, want) {
		b.Fatalf("serves a text of %d bytes, want one of %d; error: %v", len(s.TrustedRoot), len(want), s.Err)
	}
	switch {
	case phrase == "" && s.Err != nil:
		b.Fatalf("State.Err is %v", s.Err)
	case phrase != "" && (s.Err == nil || !strings.Contains(s.Err.Error(), phrase)):
		b.Fatalf("State.Err is %v, want %q in it", s.Err, phrase)
	}
	return s
}

// bad refreshes and wants a failure of a kind, with a phrase in it.
func (b *bed) bad(kind trust.Result, phrase string) {
	b.Helper()
	err := b.mirror.Refresh(b.Context())
	var failure *trust.MirrorError
	if !errors.As(err, &failure) {
		b.Fatalf("refresh: %v, want a MirrorError with %q", err, phrase)
	}
	if failure.Result != kind || !strings.Contains(err.Error(), phrase) || !strings.Contains(err.Error(), b.repo.URL()) {
		b.Fatalf("refresh: %v (%s), want %q and the mirror's URL in it (%s)", err, failure.Result, phrase, kind)
	}
}

func TestTheFirstRefreshServesTheTarget(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	if s := b.mirror.State(); s.TrustedRoot != nil || !errors.Is(s.Err, trust.ErrNotFetched) {
		t.Fatalf("before it was asked: %+v", s)
	}
	s := b.good(text(0))
	now := b.clock.Now()
	if !s.FetchedAt.Equal(now) || !s.CheckedAt.Equal(now) || s.Digest != trust.Digest(text(0)) {
		t.Errorf("fetched %s, checked %s, digest %s", s.FetchedAt, s.CheckedAt, s.Digest)
	}
	if want := now.Add(trusttest.TimestampLasts); !s.Expires.Equal(want) {
		t.Errorf("expires %s, want the timestamp's %s", s.Expires, want)
	}
	s.TrustedRoot[0] = 'x'
	b.serves(text(0), "")
}

func TestExpiryIsTheEarliestOfAllRoles(t *testing.T) {
	t.Parallel()
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			want := b.clock.Now().Add(time.Hour)
			b.repo.Expire(role, want)
			if s := b.good(text(0)); !s.Expires.Equal(want) {
				t.Fatalf("expires %s, want %s", s.Expires, want)
			}
			b.clock.pass(time.Hour)
			b.serves(text(0), "")
			b.clock.pass(time.Second)
			b.serves(nil, role+".json version")
		})
	}
}

func TestANewTargetReplacesTheOld(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	first := b.good(text(0))
	b.clock.pass(time.Hour)
	if s := b.good(text(0)); !s.FetchedAt.Equal(first.FetchedAt) || !s.CheckedAt.Equal(b.clock.Now()) {
		t.Errorf("unchanged: fetched %s, checked %s", s.FetchedAt, s.CheckedAt)
	}
	b.repo.SetTarget(text(1))
	if s := b.good(text(1)); !s.FetchedAt.Equal(b.clock.Now()) {
		t.Errorf("changed: fetched %s", s.FetchedAt)
	}
	b.repo.Expire(metadata.TIMESTAMP, b.clock.Now().Add(48*time.Hour))
	if s := b.good(text(1)); !s.Expires.Equal(b.clock.Now().Add(48 * time.Hour)) {
		t.Errorf("a newer timestamp: expires %s", s.Expires)
	}
	want := []trust.Result{trust.ResultUpdated, trust.ResultUnchanged, trust.ResultUpdated, trust.ResultUnchanged}
	if !slices.Equal(b.results, want) {
		t.Errorf("observed %v, want %v", b.results, want)
	}
}

func TestTheTextHeldIsNotFetchedAgain(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.good(text(0))
	b.good(text(0))
	n := 0
	for _, path := range b.repo.Asked() {
		if path == b.repo.TargetPath() {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the target was fetched %d times", n)
	}
}

func TestTheChainOfRootsIsCarriedOn(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.good(text(0))
	b.repo.RotateRoot()
	b.repo.RotateRoot()
	b.good(text(0))
	before := len(b.repo.Asked())
	b.good(text(0))
	asked := b.repo.Asked()[before:]
	if asked[0] != "4.root.json" {
		t.Errorf("a later refresh begins with %s, want the one after the newest known, 4.root.json", asked[0])
	}
	// A mirror set back to its first root is not followed there: its timestamp is good under both, so it is served on,
	// and the chain stays where it was.
	saved := b.repo.Save()
	delete(saved, "2.root.json")
	delete(saved, "3.root.json")
	b.repo.Restore(saved)
	b.good(text(0))
}

func TestARootIsKeptFromARefreshThatFailedLater(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stolen := b.repo.Save()
	b.good(text(0))
	b.repo.RotateRole(metadata.TIMESTAMP) // its key was stolen
	b.repo.Answer("timestamp.json", http.NotFoundHandler())
	b.bad(trust.ResultUnreachable, "status 404")
	b.repo.Answer("timestamp.json", nil)
	b.repo.Restore(stolen) // the thief answers with what the old key signed, and hides the root that says so
	b.bad(trust.ResultRefused, "timestamp")
	b.serves(nil, "keys were replaced")
}

func TestAPinnedRootThatExpiredLeadsToTheNewest(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.clock.pass(trusttest.RootLasts + time.Hour)
	b.bad(trust.ResultRefused, "root.json is expired")
	for _, role := range []string{metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		b.repo.Expire(role, b.clock.Now().Add(240*time.Hour))
	}
	b.good(text(0))
}

// An attacker with a stolen key may put versions forward so far that nothing true can follow. The key is replaced and
// versions begin anew (TUF specification 5.3.11): that is no rollback.
func TestVersionsBeginAnewWithANewKey(t *testing.T) {
	t.Parallel()
	for _, role := range []string{metadata.SNAPSHOT, metadata.TIMESTAMP} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.repo.SetVersion(metadata.SNAPSHOT, 1<<30)
			b.repo.SetVersion(metadata.TIMESTAMP, 1<<40)
			b.good(text(0))
			b.repo.RotateRole(role)
			b.repo.SetTarget(text(1))
			b.repo.SetVersion(metadata.SNAPSHOT, 7)
			b.repo.SetVersion(metadata.TIMESTAMP, 9)
			b.good(text(1))
			// From there on the new versions count.
			b.repo.SetVersion(metadata.TIMESTAMP, 8)
			b.bad(trust.ResultRefused, "rolled back: timestamp.json is version 8, and version 9 was seen")
		})
	}
}

// A new root key changes nothing for the versions of the others.
func TestVersionsGoOnUnderANewRootKey(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.repo.SetTarget(text(1))
	b.good(text(1))
	b.repo.RotateRoot()
	b.repo.RotateRole(metadata.TARGETS)
	b.repo.SetVersion(metadata.TIMESTAMP, 1)
	b.bad(trust.ResultRefused, "rolled back: timestamp.json is version 1, and version 2 was seen")
}

func TestAnUnusableTextDoesNotReplaceTheLastGoodOne(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		target []byte
		phrase string
	}{
		"garbage":            {[]byte("not a root"), "signed but can't be used"},
		"nothing":            {nil, "signed but can't be used"},
		"another media type": {[]byte(`{"mediaType": "application/json"}`), "media type"},
		"nobody named":       {[]byte(`{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`), "names no"},
		"too long":           {bytes.Repeat([]byte(" "), trust.MaxTrustedRoot+1), "more than the 262144 that it may be"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.good(text(0))
			b.repo.SetTarget(c.target)
			b.bad(trust.ResultRefused, c.phrase)
			b.serves(text(0), c.phrase)
			b.repo.SetTarget(text(2))
			b.good(text(2))
		})
	}
}

func TestATargetThatIsNotThereIsSaid(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	m, err := trust.NewMirror(trust.MirrorConfig{URL: b.repo.URL(), Root: b.repo.Root(), Target: "other/root.json"},
		trust.Options{PlainHTTP: []string{b.repo.Host()}, Clock: b.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	b.mirror = m
	b.bad(trust.ResultRefused, "target other/root.json not found")
}

func TestRefreshEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	b.repo.Answer("timestamp.json", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		select {
		case <-hold:
		case <-req.Context().Done():
		}
	}))
	ctx, cancel := contextWithTimeout(t, 50*time.Millisecond)
	defer cancel()
	err := b.mirror.Refresh(ctx)
	var failure *trust.MirrorError
	if !errors.As(err, &failure) || failure.Result != trust.ResultUnreachable {
		t.Fatalf("refresh: %v", err)
	}
	if err := b.mirror.Refresh(ctx); err == nil {
		t.Fatal("a refresh with a context that has ended succeeded")
	}
}

func TestRefreshesOfOneMirrorAreSafeSideBySide(t *testing.T) {
	t.Parallel()
	clock := newClock()
	repo := trusttest.At(t, text(0), clock.Now())
	m, err := trust.NewMirror(trust.MirrorConfig{URL: "https://mirror.test/tuf", Root: repo.Root()},
		trust.Options{Transport: http.RoundTripper(rebased{repo, "/tuf"}), Clock: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if i%2 == 0 {
				repo.SetTarget(text(i))
			}
			// A refresh may fall between two publications; it must only be whole or an error.
			_ = m.Refresh(t.Context())
			if s := m.State(); s.TrustedRoot != nil && trust.Digest(s.TrustedRoot) != s.Digest {
				t.Errorf("a State of two moments")
			}
		})
	}
	all.Wait()
	if err := m.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
}

// go-tuf looks for metadata in the directory that the process runs in, even with its cache off. What lies there is not
// ours: here it would make the mirror's own metadata look old.
func TestFilesOfTheWorkingDirectoryAreNotRead(t *testing.T) {
	b := newBed(t)
	old := b.repo.Save()
	b.repo.SetTarget(text(1))
	t.Chdir(t.TempDir())
	for from, to := range map[string]string{
		"timestamp.json": "timestamp.json", "2.snapshot.json": "snapshot.json", "2.targets.json": "targets.json",
	} {
		if err := os.WriteFile(to, b.repo.Save()[from], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.repo.Restore(old)
	b.good(text(0))
	entries, err := os.ReadDir(".")
	if err != nil || len(entries) != 3 {
		t.Errorf("%d files in the directory, want the 3 that were there; %v", len(entries), err)
	}
}

// rebased serves a repository below a path.
type rebased struct {
	repo *trusttest.Repository
	path string
}

func (r rebased) RoundTrip(req *http.Request) (*http.Response, error) {
	rest, ok := strings.CutPrefix(req.URL.Path, r.path)
	if !ok {
		return nil, fmt.Errorf("asked for %s", req.URL)
	}
	again := req.Clone(req.Context())
	again.URL.Path = rest
	return r.repo.Transport().RoundTrip(again)
}
