package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pratique-dev/pratique/pkg/admission"
)

// pipe is a stdout that is read a line at a time, by next.
type pipe struct {
	got  bytes.Buffer // read it when nobody writes
	read chan struct{}
}

func newPipe() *pipe { return &pipe{read: make(chan struct{})} }

// Write implements io.Writer: it blocks until somebody reads.
func (p *pipe) Write(line []byte) (int, error) {
	<-p.read
	return p.got.Write(line)
}

// open lets everything through from now on.
func (p *pipe) open() { close(p.read) }

// next reads one line.
func (p *pipe) next() { p.read <- struct{}{} }

// recording returns what records to the pipe.
func recording(t *testing.T, p *pipe) *Telemetry {
	t.Helper()
	tel, err := New(prometheus.NewRegistry(), p)
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

// decision is one whose line has some KiB.
func decision(uid string, kib int) admission.Record {
	return admission.Record{UID: uid, Webhook: admission.WebhookImages, Decision: allowed, Detail: strings.Repeat("x", kib<<10)}
}

// fill records until the queue is full, while nobody reads, and returns how many there are.
func fill(t *testing.T, tel *Telemetry) int {
	t.Helper()
	const kib = 256
	n := maxWaiting/(kib<<10) - 1 // a line has a little more than its detail
	began := time.Now()
	for i := range n {
		tel.Record(decision(fmt.Sprint(i), kib))
	}
	if took := time.Since(began); took > 0 {
		t.Errorf("with room for them, %d decisions took %s", n, took)
	}
	return n
}

func TestADecisionDoesNotWaitForTheLogToBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipe()
		tel := recording(t, p)
		began := time.Now()
		for i := range 1000 {
			tel.Record(decision(fmt.Sprint(i), 1))
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("1000 decisions took %s", took)
		}
		p.open()
		if err := tel.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(p.got.String(), "\n"), "\n")
		if len(lines) != 1000 {
			t.Fatalf("%d lines, want 1000", len(lines))
		}
		for i, line := range lines {
			if !strings.Contains(line, fmt.Sprintf(`"uid":"%d"`, i)) {
				t.Fatalf("line %d is %.100s", i, line)
			}
		}
	})
}

func TestALogThatNobodyReadsDelaysADecisionByATenthOfASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipe()
		tel := recording(t, p)
		n := fill(t, tel)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				began := time.Now()
				tel.Record(decision("late", 512))
				if took := time.Since(began); took != maxBlock {
					t.Errorf("it took %s, want %s", took, maxBlock)
				}
			})
		}
		all.Wait()
		if got := testutil.ToFloat64(tel.dropped); got != 3 {
			t.Errorf("%v are counted as dropped, want 3", got)
		}
		if got := testutil.ToFloat64(tel.decisions.WithLabelValues(admission.WebhookImages, allowed)); got != float64(n+3) {
			t.Errorf("%v decisions are counted, want %d: a dropped line is no dropped decision", got, n+3)
		}
		p.open()
		if err := tel.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := bytes.Count(p.got.Bytes(), []byte("\n")); got != n || bytes.Contains(p.got.Bytes(), []byte("late")) {
			t.Errorf("%d lines, want the %d that were not dropped", got, n)
		}
		tel.Record(decision("after", 512))
		if err := tel.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(p.got.Bytes(), []byte("after")) {
			t.Error("with room again, a decision is not logged")
		}
	})
}

func TestADecisionTakesTheRoomThatItsWaitBrings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipe()
		tel := recording(t, p)
		n := fill(t, tel)
		const uids = 2
		var all sync.WaitGroup
		for i := range uids {
			all.Go(func() {
				began := time.Now()
				tel.Record(decision(fmt.Sprintf("waits-%d", i), 512)) // twice what one reading makes room for
				if took := time.Since(began); took != maxBlock/2 {
					t.Errorf("it took %s, want %s", took, maxBlock/2)
				}
			})
		}
		time.Sleep(maxBlock / 4)
		p.next()
		time.Sleep(maxBlock / 4)
		for range 2 * uids {
			p.next()
		}
		all.Wait()
		p.open()
		if err := tel.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := bytes.Count(p.got.Bytes(), []byte("\n")); got != n+uids {
			t.Errorf("%d lines, want %d", got, n+uids)
		}
		if got := testutil.ToFloat64(tel.dropped); got != 0 {
			t.Errorf("%v are counted as dropped", got)
		}
	})
}

func TestALineLargerThanTheQueueIsWrittenAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipe()
		tel := recording(t, p)
		tel.Record(decision("large", 2*maxWaiting>>10))
		tel.Record(decision("small", 1))
		if got := testutil.ToFloat64(tel.dropped); got != 1 {
			t.Errorf("%v are dropped, want the one behind it", got)
		}
		p.open()
		if err := tel.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := p.got.Len(); got < 2*maxWaiting {
			t.Errorf("%d bytes are written", got)
		}
	})
}

func TestFlushTellsWhatIsNotWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipe()
		tel := recording(t, p)
		if err := tel.Flush(t.Context()); err != nil {
			t.Errorf("with nothing to write: %v", err)
		}
		for range 3 {
			tel.Record(decision("u", 1))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := tel.Flush(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "3 decisions are not written") || time.Since(began) != time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		p.open()
		if err := tel.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if got := bytes.Count(p.got.Bytes(), []byte("\n")); got != 3 {
			t.Errorf("%d lines, want 3", got)
		}
	})
}

// torn is a stdout that breaks within the second line.
type torn struct {
	bytes.Buffer
	lines int
}

func (w *torn) Write(line []byte) (int, error) {
	w.lines++
	if w.lines == 2 {
		n, _ := w.Buffer.Write(line[:10])
		return n, errors.New("disk full")
	}
	return w.Buffer.Write(line)
}

func TestALineThatBreaksOffSpoilsNoOther(t *testing.T) {
	t.Parallel()
	out := &torn{}
	tel, err := New(prometheus.NewRegistry(), out)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		tel.Record(decision(fmt.Sprint(i), 0))
	}
	if err := tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := testutil.ToFloat64(tel.lost); got != 1 {
		t.Errorf("%v are counted as lost, want 1", got)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 4 || len(lines[1]) != 10 {
		t.Fatalf("the lines are %q", lines)
	}
	for _, i := range []int{0, 2, 3} {
		if !strings.HasPrefix(lines[i], "{") || !strings.HasSuffix(lines[i], "}") {
			t.Errorf("line %d is %q", i, lines[i])
		}
	}
}

func TestManyDecisionsAtOnceAreAllWritten(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	tel, err := New(prometheus.NewRegistry(), &out)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for j := range 50 {
				tel.Record(decision(fmt.Sprintf("%d-%d", i, j), 0))
			}
		})
	}
	all.Wait()
	if err := tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(out.String()) {
		seen[line] = true
	}
	if len(seen) != 2500 || testutil.ToFloat64(tel.dropped) != 0 {
		t.Errorf("%d distinct lines and %v dropped, want 2500 and 0", len(seen), testutil.ToFloat64(tel.dropped))
	}
}
