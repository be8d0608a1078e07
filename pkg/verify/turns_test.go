package verify

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestRegistriesTakeTurns(t *testing.T) {
	t.Parallel()
	turns := newTurns(hostShare, 5*hostShare) // one at once for each registry
	began, end := make(chan string, 16), map[string]chan struct{}{}
	take := func(host string) *turn {
		t.Helper()
		if end[host] == nil {
			end[host] = make(chan struct{})
		}
		wait := end[host]
		got, ok := turns.take(host, func() { began <- host; <-wait })
		if !ok {
			t.Fatalf("%s: no room", host)
		}
		return got
	}
	first := strings.Split("abcdefgh", "")
	for _, host := range first {
		take(host)
		<-began
	}
	var last *turn
	for _, host := range []string{"x", "x", "x", "y", "y", "z", "y"} {
		last = take(host)
	}
	if !turns.inLine(last) || !turns.withdraw(last) || turns.inLine(last) || turns.withdraw(last) {
		t.Error("the last is in line until it is withdrawn")
	}
	for _, step := range []struct{ ends, begins string }{
		{"a", "x"}, {"b", "y"}, {"c", "z"}, {"d", ""}, {"x", "x"}, {"y", "y"}, {"y", ""}, {"x", "x"}, {"x", ""},
	} {
		end[step.ends] <- struct{}{}
		if step.begins != "" {
			if got := <-began; got != step.begins {
				t.Errorf("after %s comes %s, want %s", step.ends, got, step.begins)
			}
		}
	}
	for _, c := range end {
		close(c)
	}
	for left := 1; left > 0; runtime.Gosched() {
		turns.mu.Lock()
		left = turns.busy + turns.inline + len(turns.queues) + turns.ready.Len()
		turns.mu.Unlock()
	}
	if n := len(began); n != 0 {
		t.Errorf("%d more began", n)
	}
}

func TestTheLineIsBounded(t *testing.T) {
	t.Parallel()
	turns, end := newTurns(hostShare, 2*hostShare), make(chan struct{})
	for host, want := range map[string]int{"a": 3, "b": 3} { // one begins, two wait
		for n := range 5 {
			if _, ok := turns.take(host, func() { <-end }); ok != (n < want) {
				t.Errorf("%s: number %d taken: %t", host, n, ok)
			}
		}
	}
	close(end)
}

func TestALineOfThousandsIsCheapAndTakesNoGoroutine(t *testing.T) {
	turns, end := newTurns(hostShare, maxInLine), make(chan struct{})
	before, heap := runtime.NumGoroutine(), heapOf()
	fl := newFlights[question, int](turns)
	for n := range maxInLine / hostShare {
		if _, err := fl.board(t.Context(), question{digest: string(rune(n))}, "host", func(context.Context) (int, error) { <-end; return 0, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if n := runtime.NumGoroutine() - before; n > 2 {
		t.Errorf("%d goroutines more", n)
	}
	per := (heapOf() - heap) / (maxInLine / hostShare)
	if per > 1200 {
		t.Errorf("%d bytes each", per)
	}
	t.Logf("%d bytes each", per)
	close(end)
	runtime.KeepAlive(fl)
}

func heapOf() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestWorkThatEndsWithoutAWordIsAnError(t *testing.T) {
	t.Parallel()
	fl := newFlights[string, int](newTurns(hostShare, hostShare))
	if _, err := fl.ask(t.Context(), "q", "host", func(context.Context) (int, error) { runtime.Goexit(); return 1, nil }); !errors.Is(err, errNothing) {
		t.Errorf("error %v", err)
	}
}

func TestFlightsOfManyAtOnceAllLand(t *testing.T) {
	t.Parallel()
	turns := newTurns(2*hostShare, 4096*hostShare)
	fl := newFlights[int, int](turns)
	var wg sync.WaitGroup
	for i := range 4000 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%3 == 0 {
				cancel()
			}
			got, err := fl.ask(ctx, i%50, string(rune('a'+i%7)), func(context.Context) (int, error) { runtime.Gosched(); return i % 50, nil })
			if err == nil && got != i%50 || err != nil && i%3 != 0 {
				t.Errorf("%d: %d, %v", i, got, err)
			}
		}()
	}
	wg.Wait()
	if fl.mu.Lock(); len(fl.going) != 0 {
		t.Errorf("%d are going on", len(fl.going))
	}
	fl.mu.Unlock()
}

// TestWhatIsCountedOfAnIndexIsWhatItTakes: 64 children are counted, with all that they hold.
func TestWhatIsCountedOfAnIndexIsWhatItTakes(t *testing.T) {
	const indexes = 500
	c, err := newCache(1 << 30)
	if err != nil {
		t.Fatal(err)
	}
	before := heapOf()
	for n := range indexes {
		f := Findings{Index: true, Children: make([]Child, 64)}
		for i := range f.Children {
			// As they come from a JSON document: the hexadecimal part of a longer string.
			text := strings.Clone("sha256:" + strings.Repeat("0", 64))
			f.Children[i] = Child{Digest: v1.Hash{Algorithm: text[:6], Hex: text[7:]}, Platform: Platform{OS: strings.Clone("linux"), Architecture: strings.Clone("amd64")}}
		}
		c.put(key{repository: strings.Clone("registry.example/app"), digest: string(rune(n))}, f)
	}
	took := heapOf() - before
	counted, entries := c.size()
	least := took * 19 / 20
	if RaceBuild { // 7% more is allotted than otherwise
		least = took * 9 / 10
	}
	if entries != indexes || counted < least {
		t.Errorf("%d indexes take %d bytes, and %d are counted", entries, took, counted)
	}
	t.Logf("%d bytes each, %d counted", took/indexes, counted/indexes)
	runtime.KeepAlive(c)
}

func TestWhoHoldsEvidenceIsRememberedInSoManyBytesEach(t *testing.T) {
	v, err := NewVerifier(Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := heapOf()
	for n := range maxHolders + 1000 {
		v.hold(key{repository: "registry.example/app", digest: fmt.Sprintf("sha256:%064x", n)}, Findings{Evidence: make([]Evidence, 1)})
	}
	per := (heapOf() - before) / maxHolders
	if n := v.holders.Len(); n != maxHolders || per > 512 {
		t.Errorf("%d are remembered, in %d bytes each", n, per)
	}
	t.Logf("%d bytes each", per)
	runtime.KeepAlive(v)
}
