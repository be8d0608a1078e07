package verify

import (
	"container/list"
	"sync"
)

// The bounds of what a Verifier does at once.
const (
	// maxAtOnce bounds the images looked at: each takes six goroutines or so and up to as many connections, 60 KiB while a registry
	// keeps us waiting, so that all take about 64 MiB. The requests of one rollout are about few images, and a registry is sent fewer
	// requests at once than the images of its share.
	maxAtOnce = 1024
	// maxApart bounds those of them whose papers are kept in another repository. They have turns of their own: a policy's author
	// chooses that repository, and one that hangs must not keep the image's registry from others.
	maxApart = 512
	// maxInLine bounds those that wait for their turn, at some 700 bytes each: what is beyond would be out of time before it.
	maxInLine = 16 << 10
	// hostShare is the part of both bounds that one site may take, with all its registries: seven that hang leave room for the others.
	hostShare = 8
	// maxRefreshes bounds what is listed anew behind requests, so that it doesn't take the turns of requests that wait. What is
	// beyond is left to the next request for it.
	maxRefreshes = 64
)

// turns shares out what may be done at once among registries, those of one site together. The sites that have work in line come one after the other, and
// the work of one in the order in which it came. What waits is no goroutine yet.
type turns struct {
	most, mostInLine         int // over all registries
	hostMost, hostMostInLine int // of one

	mu     sync.Mutex
	busy   int
	inline int
	queues map[string]*queue // by site, while it has work
	ready  list.List         // of *queue: those with work in line that may begin as far as their own share goes
}

// queue is the work of one site.
type queue struct {
	host string
	busy int
	line list.List     // of *turn
	at   *list.Element // in turns.ready, or nil
}

// turn is work, in line or begun.
type turn struct {
	queue *queue
	at    *list.Element // in queue.line, or nil once it has begun or was withdrawn
	work  func()
}

func newTurns(most, mostInLine int) *turns {
	return &turns{
		most: most, mostInLine: mostInLine, hostMost: most / hostShare, hostMostInLine: mostInLine / hostShare,
		queues: map[string]*queue{},
	}
}

// take does work in a goroutine of its own when it is its turn, which may be at once. It returns false where the line is too long.
func (t *turns) take(host string, work func()) (*turn, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q, ok := t.queues[host]
	if !ok {
		q = &queue{host: host}
	}
	full := t.busy >= t.most || q.busy >= t.hostMost
	if full && (t.inline >= t.mostInLine || q.line.Len() >= t.hostMostInLine) {
		return nil, false
	}
	t.queues[host] = q
	w := &turn{queue: q, work: work}
	w.at = q.line.PushBack(w)
	t.inline++
	t.settle(q)
	t.next()
	return w, true
}

// inLine tells whether the work has not begun.
func (t *turns) inLine(w *turn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return w.at != nil
}

// withdraw takes work out of the line, and tells whether it was there. It does nothing once that has begun.
func (t *turns) withdraw(w *turn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.at == nil {
		return false
	}
	t.unline(w)
	t.settle(w.queue)
	return true
}

func (t *turns) unline(w *turn) {
	w.queue.line.Remove(w.at)
	w.at = nil
	t.inline--
}

// settle brings a queue into or out of those that are ready, and forgets it once it is empty.
func (t *turns) settle(q *queue) {
	ready := q.line.Len() > 0 && q.busy < t.hostMost
	switch {
	case ready && q.at == nil:
		q.at = t.ready.PushBack(q)
	case !ready && q.at != nil:
		t.ready.Remove(q.at)
		q.at = nil
	}
	if q.busy == 0 && q.line.Len() == 0 {
		delete(t.queues, q.host)
	}
}

// next begins what there is room for. The registry whose turn it was goes behind the others.
func (t *turns) next() {
	for t.busy < t.most && t.ready.Len() > 0 {
		q, _ := t.ready.Front().Value.(*queue)
		w, _ := q.line.Front().Value.(*turn)
		t.unline(w)
		t.busy++
		q.busy++
		t.ready.MoveToBack(q.at)
		t.settle(q)
		go t.run(w)
	}
}

func (t *turns) run(w *turn) {
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.busy--
		w.queue.busy--
		t.settle(w.queue)
		t.next()
	}()
	w.work()
}
