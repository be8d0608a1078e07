package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// loop creates Pods without end: of unsigned images, to see whether one gets in, and of signed ones, to see whether one is kept
// out. What it gets in asks for a node that isn't there, so that it never runs.
type loop struct {
	pods     typedcorev1.PodInterface
	unsigned []attempt // the doors that are tried, in turn
	signed   []attempt
	end      context.CancelFunc
	ended    chan struct{}

	mu     sync.Mutex
	phase  *phase
	phases []*phase
}

// attempt is one way to create a Pod.
type attempt struct {
	door string
	tag  bool // it names its image by a tag
	spec corev1.PodSpec
}

// phase is a part of the story: what is to happen in it, and what did.
type phase struct {
	name       string
	promise    promise
	begin, end time.Time
	unsigned   map[string]int // outcome -> times
	signed     map[string]int
	wrong      []string
}

// promise is what has to hold for as long as a phase lasts.
type promise struct {
	closed bool // no unsigned image is admitted
	open   bool // every signed image is admitted, by its digest
	pins   bool // and by its tag too, and that is pinned
}

// What the phases promise.
var (
	nothing  = promise{}
	openOnly = promise{open: true}
	shut     = promise{closed: true}                         // while no webhook answers
	digests  = promise{closed: true, open: true}             // with pin.enabled=false, and on the way to it and back
	inForce  = promise{closed: true, open: true, pins: true} // the rest of the time
)

// The outcomes. A refusal by the webhook is called by its reason.
const (
	admitted = "admitted"
	moving   = "admitted by a tag"
	unasked  = "no webhook answers" // the API server refuses by itself: failurePolicy Fail
)

// never is where the loop's Pods want to run.
var never = map[string]string{"e2e": "nowhere"}

// breath is how long the loop waits between two attempts, so that two cores are left for what it watches.
const breath = 40 * time.Millisecond

// tagged is an image by its tag and by its digest.
type tagged struct {
	tag    string
	digest name.Digest
}

// startLoop starts the loop, which goes on until it is stopped.
func startLoop(kube kubernetes.Interface, unsigned, signed tagged) *loop {
	of := func(image string) corev1.PodSpec {
		return corev1.PodSpec{NodeSelector: never, Containers: []corev1.Container{{Name: "app", Image: image}}}
	}
	good, bad := signed.digest.String(), unsigned.digest.String()
	initial, volume := of(good), of(good)
	initial.InitContainers = []corev1.Container{{Name: "first", Image: bad}}
	volume.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: bad}}}}
	ctx, end := context.WithCancel(context.Background()) // it outlives the step that starts it
	l := &loop{
		pods: kube.CoreV1().Pods(shop), end: end, ended: make(chan struct{}),
		unsigned: []attempt{
			{"tag", true, of(unsigned.tag)}, {"digest", false, of(bad)}, {"init container", false, initial}, {"image volume", false, volume},
		},
		signed: []attempt{{"tag", true, of(signed.tag)}, {"digest", false, of(good)}},
	}
	l.enter("before the install", openOnly)
	go l.run(ctx)
	return l
}

// enter begins a phase.
func (l *loop) enter(name string, holds promise) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.phase != nil {
		l.phase.end = now
	}
	l.phase = &phase{name: name, promise: holds, begin: now, unsigned: map[string]int{}, signed: map[string]int{}}
	l.phases = append(l.phases, l.phase)
}

func (l *loop) now() *phase {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.phase
}

// stop ends the loop and waits for it.
func (l *loop) stop() {
	l.end()
	<-l.ended
}

func (l *loop) run(ctx context.Context) {
	defer close(l.ended)
	for n := 0; ctx.Err() == nil; n++ {
		l.try(ctx, n, l.unsigned[n%len(l.unsigned)], false)
		l.try(ctx, n, l.signed[n%len(l.signed)], true)
	}
}

// try makes one attempt and writes down what became of it. One during which the phase changed counts for neither, since nobody
// can tell in which it was judged.
func (l *loop) try(ctx context.Context, n int, a attempt, signed bool) {
	began := l.now()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("loop-%t-%d", signed, n), Labels: map[string]string{"e2e": "loop"}}, Spec: a.spec}
	created, err := l.pods.Create(ctx, pod, metav1.CreateOptions{})
	outcome := outcomeOf(err)
	if err == nil && !strings.Contains(created.Spec.Containers[0].Image, "@") {
		outcome = moving
	}
	if err == nil {
		at := int64(0)
		_ = l.pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &at}) // else it stays with its namespace
	}
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	if began == l.phase {
		began.note(a, signed, outcome, err)
	}
	l.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(breath):
	}
}

// note writes an attempt down. Its loop is locked.
func (p *phase) note(a attempt, signed bool, outcome string, err error) {
	counts := p.unsigned
	if signed {
		counts = p.signed
	}
	counts[outcome]++
	wrong := func(format string, args ...any) {
		p.wrong = append(p.wrong, time.Now().Format("15:04:05.000")+": "+fmt.Sprintf(format, args...))
	}
	in := outcome == admitted || outcome == moving
	switch holds := p.promise; {
	case !signed && in && holds.closed:
		wrong("an unsigned image was admitted by %s", a.door)
	case signed && !in && holds.open && (holds.pins || !holds.closed || !a.tag):
		wrong("a signed image by %s was refused: %v", a.door, err)
	case signed && outcome == moving && holds.closed:
		wrong("a signed image was admitted by a tag that was not pinned")
	}
}

// reason finds the reason of a refusal: the first word of the kind that docs/reasons.md lists.
var reason = regexp.MustCompile(`\b(?:[A-Z][a-z]+){2,}\b`)

// outcomeOf tells by the API server's words who decided, and why.
func outcomeOf(err error) string {
	switch {
	case err == nil:
		return admitted
	case strings.Contains(err.Error(), "failed calling webhook"):
		return unasked
	}
	if _, said, ok := strings.Cut(err.Error(), `"images.pratique.dev" denied the request`); ok {
		if found := reason.FindString(said); found != "" {
			return found
		}
	}
	return err.Error()
}

// judge ends the loop, tells what it saw, and fails the test for what it should not have seen.
func (l *loop) judge(t *testing.T) {
	t.Helper()
	l.stop()
	const row = "%-28s %4s   %-70s %s"
	lines := []string{fmt.Sprintf(row, "while", "s", "an unsigned image", "a signed image")}
	for _, p := range l.phases {
		if p.end.IsZero() {
			p.end = time.Now()
		}
		lines = append(lines, fmt.Sprintf(row, p.name, fmt.Sprintf("%.0f", p.end.Sub(p.begin).Seconds()), tally(p.unsigned), tally(p.signed)))
	}
	t.Log("\n" + strings.Join(lines, "\n"))
	for _, p := range l.phases {
		const most = 5
		for _, wrong := range p.wrong[:min(most, len(p.wrong))] {
			t.Errorf("%s: %s", p.name, wrong)
		}
		if more := len(p.wrong) - most; more > 0 {
			t.Errorf("%s: and %d more", p.name, more)
		}
		if len(p.unsigned) == 0 || len(p.signed) == 0 {
			t.Errorf("%s: nothing was tried", p.name)
		}
	}
}

// tally writes outcomes, the most frequent first.
func tally(counts map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return counts[b] - counts[a] })
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%d %s", counts[k], k[:min(len(k), 100)])
	}
	return strings.Join(keys, ", ")
}

// admits tells whether the loop got an unsigned image in since the phase began: it can tell the one from the other.
func (l *loop) admits() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase.unsigned[admitted]+l.phase.unsigned[moving] == 0 {
		return errors.New("none was admitted")
	}
	return nil
}
