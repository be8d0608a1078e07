package telemetry

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// maxWaiting is how many bytes of lines may wait to be written: some 10,000 of the usual size, seconds of the busiest
	// cluster's, and a sixteenth of the 256 MiB that the webhook should be able to live in.
	maxWaiting = 16 << 20
	// maxBlock is how long a decision waits for room when that many do, before its line is dropped: less than the 250 ms
	// that lie between the end of the shortest judgement and the moment from which the answer isn't the handler's any more.
	maxBlock = 100 * time.Millisecond
)

// decisionLog is a bounded queue of lines and at most one goroutine that writes them, one at a time and in their order. The
// goroutine runs while there are lines, whatever else the process does: the server answers before the manager's other parts
// have begun, and after they have ended.
type decisionLog struct {
	out  io.Writer
	lost func() // told of each line that could not be written

	mu      sync.Mutex
	lines   [][]byte      // those that are not written yet, the one that is being written first
	bytes   int           // of all of them
	idle    chan struct{} // closed when there are none; nil while nobody writes
	room    chan struct{} // closed when one has been written; nil while nobody waits for that
	severed bool          // what is written ends within a line; only the writer uses it
}

// put takes a line, to be written soon, or says that there is no room for it, and was none for maxBlock.
func (l *decisionLog) put(line []byte) bool {
	var late <-chan time.Time
	for {
		room := l.take(line)
		if room == nil {
			return true
		}
		if late == nil {
			late = time.After(maxBlock)
		}
		select {
		case <-room:
		case <-late:
			return false
		}
	}
}

// take takes a line if there is room for it, and else returns what is closed when it is worth asking again. A line that is
// larger than the queue goes where there is no other; an admission.Record has 64 KiB at most.
func (l *decisionLog) take(line []byte) (room <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) > 0 && l.bytes+len(line) > maxWaiting {
		if l.room == nil {
			l.room = make(chan struct{})
		}
		return l.room
	}
	l.lines = append(l.lines, line)
	l.bytes += len(line)
	if l.idle == nil {
		l.idle = make(chan struct{})
		go l.write()
	}
	return nil
}

// write writes lines until there are none.
func (l *decisionLog) write() {
	for line := l.first(); line != nil; line = l.next() {
		if l.severed { // nobody could read a line that begins within another
			line = append([]byte{'\n'}, line...)
		}
		n, err := l.out.Write(line)
		if n > 0 {
			l.severed = n < len(line)
		}
		if err != nil {
			l.lost()
		}
	}
}

func (l *decisionLog) first() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[0]
}

// next forgets the line that has been written and returns the one after it, nil if there is none.
func (l *decisionLog) next() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes -= len(l.lines[0])
	l.lines[0] = nil
	l.lines = l.lines[1:]
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
	if len(l.lines) > 0 {
		return l.lines[0]
	}
	l.lines = nil
	close(l.idle)
	l.idle = nil
	return nil
}

// waiting is how many lines are not written yet, and what is closed when none are; nil if none are.
func (l *decisionLog) waiting() (int, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines), l.idle
}

// flush waits until every line that was put has been written, or the context is done.
func (l *decisionLog) flush(ctx context.Context) error {
	_, idle := l.waiting()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		n, _ := l.waiting()
		return fmt.Errorf("%d decisions are not written to the decision log: %w", n, context.Cause(ctx))
	}
}
