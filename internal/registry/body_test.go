package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// pattern reads as size bytes, none of which are held.
func pattern(size int64) io.Reader {
	return io.LimitReader(endless{bytes.Repeat([]byte("a paper of many words. "), 1<<12)}, size)
}

type endless struct{ block []byte }

func (e endless) Read(p []byte) (int, error) { return copy(p, e.block), nil }

// patterned describes that many bytes of the pattern as a layer of the .att manifest.
func patterned(t *testing.T, size int64) verify.Paper {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, io.MultiReader(sized(size)...)); err != nil {
		t.Fatal(err)
	}
	return verify.Paper{
		Kind: verify.LegacyAttestation, Place: verify.PlaceAttestation, Size: size,
		Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))},
	}
}

// sized is the pattern in blocks of 64 KiB, as a server writes it, whatever sizes are read.
func sized(size int64) []io.Reader {
	block := make([]byte, 64<<10)
	_, _ = io.ReadFull(pattern(int64(len(block))), block)
	var all []io.Reader
	for ; size > 0; size -= int64(len(block)) {
		all = append(all, bytes.NewReader(block[:min(size, int64(len(block)))]))
	}
	return all
}

// keeper answers for blobs with what write writes, and counts those answers.
func keeper(t *testing.T, write func(w http.ResponseWriter, r *http.Request)) (*Access, name.Digest, *atomic.Int64) {
	t.Helper()
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			asked.Add(1)
			write(w, r)
		}
	}))
	t.Cleanup(s.Close)
	host := strings.TrimPrefix(s.URL, "http://")
	c := testClient(t, Options{PlainHTTP: []string{host}})
	prove(c, host)
	return c.With(Credentials{}), mustDigest(t, host+"/app@"+someHash), &asked
}

// writesPattern writes this many bytes of the pattern.
func writesPattern(size int64, announced bool) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		if announced {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		_, _ = io.Copy(w, struct{ io.Reader }{io.MultiReader(sized(size)...)})
	}
}

func TestTheLargestPaperIsReadInBoundedMemory(t *testing.T) { // not parallel: it measures
	p := patterned(t, verify.MaxPaper)
	for _, announced := range []bool{true, false} {
		a, image, _ := keeper(t, writesPattern(verify.MaxPaper, announced))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		got, err := a.Fetch(within(t, time.Minute), image, p, verify.MaxPaper)
		runtime.ReadMemStats(&after)
		if err != nil || int64(len(got.Payload)) != p.Size {
			t.Fatalf("%d bytes, %v", len(got.Payload), err)
		}
		// One buffer, the smaller ones before it, which are garbage by then, and what is around it.
		if took := after.TotalAlloc - before.TotalAlloc; took > verify.MaxPaper/4*7 {
			t.Errorf("announced %v: %d MiB were allotted for %d", announced, took>>20, p.Size>>20)
		}
		if cap(got.Payload) > len(got.Payload)+1<<16 {
			t.Errorf("%d bytes are held for %d", cap(got.Payload), len(got.Payload))
		}
		got.Release()
		wantAllFree(t, a.client.limits)
	}
}

// What is announced is not allotted.
func TestRow50_ALargePaperThatDoesNotComeTakesNoMemory(t *testing.T) { // not parallel: it measures
	a, image, _ := keeper(t, writesPattern(smallBody/2, false))
	p := patterned(t, 16)
	p.Size = verify.MaxPaper
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := a.Fetch(within(t, admission), image, p, verify.MaxPaper)
	runtime.ReadMemStats(&after)
	wantKind(t, err, verify.Malformed)
	if took := after.TotalAlloc - before.TotalAlloc; took > 4<<20 {
		t.Errorf("%d KiB were allotted for what never came", took>>10)
	}
}

func TestALargeBufferGrowsAsBytesCome(t *testing.T) {
	t.Parallel()
	for _, most := range []int64{largeBody + 2, 20 << 20, verify.MaxPaper + 1} {
		held, steps := int64(firstBuffer), 0
		for ; held < most; steps++ {
			larger := next(held, most, true)
			if larger <= held || larger > most || larger > 4*held || held+larger > largeCost(most) {
				t.Fatalf("after %d comes %d of %d, which is counted as %d", held, larger, most, largeCost(most))
			}
			held = larger
		}
		if steps > 16 {
			t.Errorf("%d steps to %d", steps, most)
		}
	}
	if largeCost(verify.MaxPaper+1) > maxLarge {
		t.Errorf("the largest paper takes %d, more than the %d that there are", largeCost(verify.MaxPaper+1), maxLarge)
	}
}

func TestLargePapersThatAreNotWhatTheySay(t *testing.T) {
	t.Parallel()
	const size = 3 << 20
	p := patterned(t, size)
	wrong := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, size)) }
	for name, tc := range map[string]struct {
		write func(http.ResponseWriter, *http.Request)
		want  verify.FetchKind
	}{
		"a byte longer":              {writesPattern(size+1, false), verify.Malformed},
		"a byte longer, and says so": {writesPattern(size+1, true), verify.Malformed},
		"much longer":                {writesPattern(64<<20, false), verify.Malformed},
		"over every bound":           {writesPattern(1<<30, true), verify.TooLarge},
		"shorter":                    {writesPattern(size-1, false), verify.Malformed},
		"shorter, and says so":       {writesPattern(size-1, true), verify.Malformed},
		"other content":              {wrong, verify.Malformed},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			_, _ = w.Write(make([]byte, size/2))
		}, verify.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, image, _ := keeper(t, tc.write)
			_, err := a.Fetch(within(t, admission), image, p, verify.MaxPaper)
			wantKind(t, err, tc.want)
			wantAllFree(t, a.client.limits)
		})
	}
}

func TestLargePapersAreNotKept(t *testing.T) {
	t.Parallel()
	for size, kept := range map[int64]bool{maxContentEntry: true, maxContentEntry + 1: false} {
		a, image, asked := keeper(t, writesPattern(size, true))
		p := patterned(t, size)
		for range 2 {
			if _, err := a.Fetch(within(t, admission), image, p, verify.MaxPaper); err != nil {
				t.Fatal(err)
			}
		}
		if n := asked.Load(); (n == 1) != kept {
			t.Errorf("%d bytes: asked for %d times", size, n)
		}
	}
}

// dribbles writes some of the pattern, and then a byte now and then.
func dribbles(first int64) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		writesPattern(first, false)(w, r)
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func TestRow52_ALargePaperThatDribblesIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, first := range []int64{smallBody + 1, 2 << 20} {
		a, image, asked := keeper(t, dribbles(first))
		a.client.pace = pace{least: 64 << 10, window: 100 * time.Millisecond}
		p := patterned(t, 16)
		p.Size = verify.MaxPaper
		ctx := within(t, admission)
		_, err := a.Fetch(ctx, image, p, verify.MaxPaper)
		if fe := wantKind(t, err, verify.Unavailable); !strings.Contains(fe.Error(), "given up: of a large paper less than 64 KiB came in 100ms") {
			t.Errorf("got %v", fe)
		}
		if ctx.Err() != nil || asked.Load() != 1 {
			t.Errorf("%v, asked for %d times", ctx.Err(), asked.Load())
		}
		wantAllFree(t, a.client.limits)
	}
}

func TestALargePaperThatComesAtAGoodRateTakesItsTime(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	var a *Access
	var image name.Digest
	var host string
	var ahead atomic.Int64 // of the clock: an hour passes while the body comes
	write := func(w http.ResponseWriter, _ *http.Request) {
		for i, block := range sized(size) {
			_, _ = io.Copy(w, block)
			_ = http.NewResponseController(w).Flush()
			if i == 0 {
				continue
			}
			for !a.client.limits.readsLarge(host) {
				time.Sleep(time.Millisecond)
			}
			if ahead.Load() == 0 {
				time.Sleep(50 * time.Millisecond) // it is watched from about now
				ahead.Store(int64(time.Hour))
			}
		}
	}
	a, image, _ = keeper(t, write)
	a.client.pace = pace{least: 1, window: 100 * time.Millisecond}
	start := time.Now()
	a.client.limits.now = func() time.Time { return start.Add(time.Duration(ahead.Load())) }
	host = image.RegistryStr()
	a.client.limits.credit.Add(host, maxCredit-1)
	if _, err := a.Fetch(within(t, admission), image, patterned(t, size), verify.MaxPaper); err != nil {
		t.Fatal(err)
	}
	if ahead.Load() == 0 {
		t.Fatal("no time passed")
	}
	if credit, _ := a.client.limits.credit.Get(host); credit < maxCredit/2+1 {
		t.Errorf("its registry is taken for one that stalls: %d of %d", credit, maxCredit)
	}
}

func TestLimitsOfLargeBodies(t *testing.T) {
	t.Parallel()
	l := newLimits(func(host string) bool { return strings.HasSuffix(host, ".example") })
	for _, host := range []string{"a.test", "b.test", "c.test", "sub.a.test", "other.org"} {
		for range provenBy {
			l.note(host, nil, 0)
		}
	}
	var ends []func()
	begin := func(host string, size int64) error {
		s := mustEnter(t, l, host)
		r := s.reserve(size+1, true)
		ends = append(ends, func() { r.free(); s.leave(nil) })
		if err := r.grow(t.Context(), smallBody); err != nil {
			t.Errorf("what is small waited: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return r.grow(ctx, smallBody+1)
	}
	for _, tc := range []struct {
		what, host string
		size       int64
		in         bool
	}{
		{"the largest of a registry", "a.test", verify.MaxPaper, true},
		{"another of the same", "a.test", 2 << 20, false},
		{"another of the same site", "sub.a.test", 2 << 20, false},
		{"the largest of another", "other.org", verify.MaxPaper, true},
		{"a third, where nobody named any", "b.test", verify.MaxPaper, false},
		{"one that the list names", "named.example", verify.MaxPaper, true},
		{"one more that the list names", "two.example", 2 << 20, false},
	} {
		if err := begin(tc.host, tc.size); (err == nil) != tc.in {
			t.Errorf("%s: %v", tc.what, err)
		}
	}
	// Whatever they hold, there is as much as before for all that is small.
	if !l.all.bytes.TryAcquire(maxBytes) {
		t.Error("large bodies hold what small ones wait for")
	}
	l.all.bytes.Release(maxBytes)
	for _, end := range ends {
		end()
	}
	wantAllFree(t, l)

	// Registries that aren't proven share one.
	l, ends = newLimits(nil), nil
	for range provenBy {
		l.note("c.test", nil, 0)
	}
	for i, in := range []bool{true, false} {
		if err := begin(fmt.Sprintf("new%d.net", i), verify.MaxPaper); (err == nil) != in {
			t.Errorf("the largest of registry %d that isn't proven: %v", i, err)
		}
	}
	if err := begin("c.test", verify.MaxPaper); err != nil {
		t.Errorf("one that is proven: %v", err)
	}
	for _, end := range ends {
		end()
	}
	wantAllFree(t, l)
}

// Who has read a large body holds it, and the next of that registry waits until it is let go, though the request is long over.
func TestALargeBodyIsCountedUntilItIsLetGo(t *testing.T) {
	t.Parallel()
	l := newLimits(nil)
	for range provenBy {
		l.note("a.test", nil, 0)
	}
	s := mustEnter(t, l, "a.test")
	r := s.reserve(verify.MaxPaper+1, true)
	if err := r.grow(t.Context(), smallBody+1); err != nil {
		t.Fatal(err)
	}
	release := r.keep()
	r.free()
	s.leave(nil)
	grow := func() error {
		s := mustEnter(t, l, "a.test")
		defer s.leave(nil)
		r := s.reserve(verify.MaxPaper+1, true)
		defer r.free()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return r.grow(ctx, smallBody+1)
	}
	if grow() == nil {
		t.Error("there was room while it was held")
	}
	release()
	release() // once is enough
	if err := grow(); err != nil {
		t.Error(err)
	}
	wantAllFree(t, l)
	if r := (&reservation{seat: s, most: 10}); r.keep() != nil {
		t.Error("a small body is held")
	}
}
