package admission

import (
	"context"
	"fmt"
	"sync"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// A judgement is one image by one policy. A review of a few KiB can ask for very many of them, and what came of each is held until
// the review is answered: some 200 bytes, a little text, and the findings that it rests on.
const (
	// maxJudgements bounds those of one review: as many images as there may be, by as many policies as a namespace may have of its
	// own, and the install's rule. No Pod that runs comes near.
	maxJudgements = MaxImages * (64 + 1)
	// maxHeld bounds those that are held at once, of all reviews: those of four of the largest, some tens of MiB.
	maxHeld = 4 * maxJudgements
	// maxHeldByOne is what one namespace may have of maxHeld, so that whoever asks for much keeps only himself waiting.
	maxHeldByOne = maxJudgements
	// freeJudgements is up to where a review doesn't wait: a dozen images by ten policies. As many reviews as the server lets in
	// (2,048) have no more of such than maxHeld four times over.
	freeJudgements = 128
)

// turns gives reviews that ask for many judgements room for them, and lets them wait while there is none. The zero turns has all
// of its room.
type turns struct {
	mu    sync.Mutex
	held  int
	by    map[string]int // by namespace
	freed chan struct{}  // closed when room was given back; nil while nobody waits for that
}

// turn is one review's part of turns: none to begin with.
type turn struct {
	in        *turns
	namespace string
	held      int
}

// begin waits for room for so many judgements, as long as the context lasts.
func (t *turn) begin(ctx context.Context, namespace string, judgements int) error {
	if judgements <= freeJudgements {
		return nil
	}
	for {
		freed := t.in.take(namespace, judgements)
		if freed == nil {
			t.namespace, t.held = namespace, judgements
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return fmt.Errorf("no room for its %d judgements in the time there was: %w", judgements, ctx.Err())
		}
	}
}

// end gives back what the review has.
func (t *turn) end() {
	if t.held == 0 {
		return
	}
	t.in.give(t.namespace, t.held)
	t.held = 0
}

// take takes room if there is any, and else returns what is closed when it is worth asking again.
func (t *turns) take(namespace string, n int) (freed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held+n > maxHeld || t.by[namespace]+n > maxHeldByOne {
		if t.freed == nil {
			t.freed = make(chan struct{})
		}
		return t.freed
	}
	if t.by == nil {
		t.by = map[string]int{}
	}
	t.held += n
	t.by[namespace] += n
	return nil
}

func (t *turns) give(namespace string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held -= n
	if t.by[namespace] -= n; t.by[namespace] == 0 {
		delete(t.by, namespace)
	}
	if t.freed != nil {
		close(t.freed)
		t.freed = nil
	}
}

// judgements is how many there will be at most. What matches by a digest that isn't known yet is counted.
func judgements(set policy.Set, images []Judged) int {
	if n := len(images) * (len(set.Cluster) + len(set.Namespaced) + 1); n <= freeJudgements {
		return n
	}
	n := 0
	for _, j := range images {
		ref, err := policy.ParseReference(j.Written)
		if err != nil {
			n += set.SelectInvalid().Verdicts()
			continue
		}
		digest, _ := ref.Digest()
		n += set.Select(ref, digest).Verdicts()
	}
	return n
}
