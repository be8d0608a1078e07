package admission_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// maxRecord is the bound of a Record as JSON: what the decision log says of itself.
const maxRecord = 64 << 10

// denying are so many policies that deny everything, with the longest reason.
func denying(t testing.TB, n int, because string) []*policy.Policy {
	t.Helper()
	var all []*policy.Policy
	for i := range n {
		all = append(all, &policy.Policy{
			Name: policy.Name{Namespace: "payments", Name: fmt.Sprintf("p%d", i)}, Action: policy.ActionDeny,
			Because: strings.Repeat(because, 512), Images: about(t, "**"), Digest: "sha256:" + strings.Repeat("0", 64),
		})
	}
	return all
}

// wide is a Pod of so many containers.
func wide(n int, reference, container func(i int) string) *corev1.Pod {
	p := pod()
	for i := range n {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: container(i), Image: reference(i)})
	}
	return p
}

func numbered(format string) func(int) string {
	return func(i int) string { return fmt.Sprintf(format, i) }
}

// line is the JSON of a record, which may not be larger than the bound.
func line(t *testing.T, rec admission.Record) string {
	t.Helper()
	text, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > maxRecord {
		t.Errorf("a record of %d bytes", len(text))
	}
	return string(text)
}

func TestARecordIsBoundedWhateverIsAsked(t *testing.T) {
	t.Parallel()
	warning := denying(t, 64, "w")
	for _, p := range warning {
		p.Mode = policy.Warn
	}
	for what, tc := range map[string]struct {
		policies []*policy.Policy
		pod      *corev1.Pod
		user     string
	}{
		"many images by many policies":      {denying(t, 64, "x"), wide(256, numbered("x.example/a%d:1"), numbered("c%d")), "alice"},
		"reasons that JSON escapes":         {denying(t, 64, "<"), wide(256, numbered("x.example/a%d:1"), numbered("c%d")), "alice"},
		"policies that warn":                {warning, wide(256, numbered("x.example/a%d:1"), numbered("c%d")), "alice"},
		"a container with a very long name": {denying(t, 1, "x"), wide(1, numbered("x.example/a%d:1"), func(int) string { return strings.Repeat("A", 2<<20) }), "alice"},
		"a very long reference":             {denying(t, 1, "x"), wide(1, func(int) string { return strings.Repeat("a", 2<<20) }, numbered("c%d")), "alice"},
		"a very long user":                  {denying(t, 64, "\\"), wide(256, numbered("x.example/a%d:1"), numbered("<<c%d")), strings.Repeat("\x01", 1<<20)},
		"one image in many places": {denying(t, 64, "x"), wide(256, func(int) string { return "x.example/a:1" },
			func(i int) string { return fmt.Sprintf("%d", i) + strings.Repeat("<", 200) }), "alice"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			rec := &recorder{}
			h := &admission.Pods{Evaluator: newEvaluator(t, sets{"payments": {Namespaced: tc.policies, Unmatched: policy.UnmatchedAllow}}, newHub()), Recorder: rec}
			req := review(t, admissionv1.Create, tc.pod, nil)
			req.UserInfo.Username, req.Name = tc.user, strings.Repeat("n", 1<<20)
			resp := h.Handle(t.Context(), req)
			line(t, rec.records[0])
			for key, text := range resp.AuditAnnotations {
				if len(text) > 8<<10 {
					t.Errorf("annotation %s has %d bytes", key, len(text))
				}
			}
			warned := 0
			for _, w := range resp.Warnings {
				warned += len(w)
			}
			if len(resp.Result.Message) > 4<<10 || warned > 4<<10 {
				t.Errorf("a message of %d bytes, warnings of %d", len(resp.Result.Message), warned)
			}
		})
	}
}

func TestWhatARecordHasNoRoomForIsCounted(t *testing.T) {
	t.Parallel()
	rec := &recorder{}
	// Each image is allowed by 40 policies with the longest reasons, and the very last one is denied by one policy.
	policies := denying(t, 40, "y")
	for _, p := range policies {
		p.Action, p.References.Tags = policy.ActionAllow, policy.TagsAllow
	}
	last := denying(t, 1, "x")[0]
	last.Name.Name, last.Images = "last", about(t, "x.example/a99")
	h := &admission.Pods{Evaluator: newEvaluator(t, sets{"payments": {Namespaced: append(policies, last)}}, newHub()), Recorder: rec}
	digest := "@" + verifytest.Digest("x").String()
	h.Handle(t.Context(), review(t, admissionv1.Create, wide(100, func(i int) string { return fmt.Sprintf("x.example/a%d", i) + digest }, numbered("c%d")), nil))
	got := rec.records[0]
	text := line(t, got)
	if !strings.Contains(text, "payments/last") || !strings.Contains(text, string(policy.DeniedByPolicy)) {
		t.Error("what refuses isn't there")
	}
	written, omitted := 0, 0
	for _, img := range got.Images {
		for _, v := range img.Verdicts {
			written += len(v.Results)
		}
	}
	for _, o := range got.Omitted {
		omitted += o.Count
		if o.Outcome != "exempt" || o.Reason != string(policy.AllowedByPolicy) || o.Requirement != "allow" || o.Mode != "Enforce" {
			t.Errorf("%+v is left out", o)
		}
	}
	if written+omitted != 4001 || omitted == 0 || written < 50 {
		t.Errorf("%d results are written and %d omitted, want 4001 in all", written, omitted)
	}
	if n := len(got.Images); got.Images[n-1].Image != "x.example/a99"+digest || !got.Images[n-1].Refused {
		t.Error("the images are not in the order of the Pod")
	}
	// A decision of the usual size has everything, in its order.
	rec.records = nil
	h.Handle(t.Context(), review(t, admissionv1.Create, pod("x.example/a1"+digest), nil))
	if got := rec.records[0]; len(got.Images) != 1 || len(got.Images[0].Verdicts) != 40 || got.Images[0].Verdicts[39].Policy != "payments/p39" || got.Omitted != nil {
		t.Errorf("%+v", got)
	}
}

func TestTheRecordOfAPinIsBounded(t *testing.T) {
	t.Parallel()
	h := newHub()
	d := verifytest.Digest("v1")
	for i := range 256 {
		if i != 255 {
			h.tag(fmt.Sprintf("r.example/app%d:v1", i), d)
		}
	}
	pins, rec := pinner(t, h, pinning(t, "**", verifytest.NewSigner(t, 1)))
	req := review(t, admissionv1.Create, wide(256, numbered("r.example/app%d:v1"), func(int) string { return strings.Repeat("A", 8<<10) }), nil)
	resp := pins.Handle(t.Context(), req)
	if len(resp.Patches) != 255 {
		t.Errorf("%d patches", len(resp.Patches))
	}
	got := rec.records[0]
	if text := line(t, got); got.Decision != "unresolved" || !strings.Contains(text, `"r.example/app255:v1"`) {
		t.Errorf("%s: what could not be resolved isn't there", got.Decision)
	}
	if len(got.Omitted) != 1 || got.Omitted[0].Outcome != "pinned" || got.Omitted[0].Count+len(got.Images) != 256 {
		t.Errorf("%d images, omitted %+v", len(got.Images), got.Omitted)
	}
	for key, text := range resp.AuditAnnotations {
		if len(text) > 8<<10 {
			t.Errorf("annotation %s has %d bytes", key, len(text))
		}
	}
}

func TestARefusedPolicysRecordIsBounded(t *testing.T) {
	t.Parallel()
	rec := &recorder{}
	var problems []string
	for range 10_000 {
		problems = append(problems, strings.Repeat("<", 600))
	}
	h := &admission.Policies{Check: func([]byte) ([]string, []string) { return problems, problems }, Recorder: rec}
	resp := h.Handle(t.Context(), review(t, admissionv1.Create, []byte(`{"spec":{}}`), nil))
	line(t, rec.records[0])
	if d := rec.records[0].Detail; len(d) > 4<<10 || !strings.Contains(d, " more") {
		t.Errorf("a detail of %d bytes", len(d))
	}
	if len(resp.Result.Message) > 4<<10 || !strings.HasSuffix(resp.Result.Message, " more") {
		t.Errorf("a message of %d bytes", len(resp.Result.Message))
	}
}

// TestManyWideReviewsAtOnceTakeLittleMemory: what 100 callers with a review of 15 KB each, which is 16,640 judgements, make us hold.
// It is not parallel, for it measures the heap.
func TestManyWideReviewsAtOnceTakeLittleMemory(t *testing.T) {
	e := newEvaluator(t, sets{"payments": {Namespaced: denying(t, 64, "x")}, "victim": {Unmatched: policy.UnmatchedAllow}}, newHub())
	h := &admission.Pods{Evaluator: e, Recorder: &recorder{}}
	req := review(t, admissionv1.Create, wide(256, numbered("x.example/a%d:1"), numbered("c%d")), nil)
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for range 100 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if resp := h.Handle(ctx, req); resp.Allowed || !strings.Contains(resp.Result.Message, string(policy.DeniedByPolicy)) {
				t.Errorf("allowed %t: %.200s", resp.Allowed, resp.Result.Message)
			}
		}()
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	victim := review(t, admissionv1.Create, pod("r.example/app:v1"), nil)
	victim.Namespace = "victim"
	var peak uint64
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(5 * time.Millisecond):
		}
		if resp := h.Handle(ctx, victim); !resp.Allowed {
			t.Error("somebody else's Pod is refused")
		}
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapInuse-min(now.HeapInuse, before.HeapInuse))
	}
	t.Logf("100 at once: %d MiB more of heap at the peak", peak>>20)
	if peak > 128<<20 {
		t.Errorf("100 reviews at once take %d MiB, want at most 128", peak>>20)
	}
}

// stuck is a registry that answers nobody in time.
type stuck struct {
	*hub
	asked chan struct{}
}

func (s stuck) Open(context.Context, string, []string) (admission.Opener, error) {
	return always(s), nil
}

func (s stuck) Resolve(ctx context.Context, t name.Tag) (name.Digest, error) {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return name.Digest{}, &verify.FetchError{Kind: verify.Unavailable, Host: t.RegistryStr(), Err: ctx.Err()}
}

func TestWhoAsksForMuchKeepsOnlyHimselfWaiting(t *testing.T) {
	t.Parallel()
	// 256 images by 63 policies that deny and one that wants a signature, at a registry that doesn't answer: all the room that one
	// namespace may have.
	greedy := append(denying(t, 63, "x"), signedBy(t, "**", verifytest.NewSigner(t, 1)))
	other := denying(t, 64, "x")
	reg := stuck{newHub(), make(chan struct{}, 1)}
	e := newEvaluator(t, sets{"payments": {Namespaced: greedy}, "other": {Namespaced: other}}, reg)
	images := func(n int) []admission.Image {
		spec := wide(n, numbered("x.example/a%d:1"), numbered("c%d")).Spec
		return admission.Images(&spec)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.Decide(ctx, admission.Query{Namespace: "payments", Images: images(256)})
	}()
	<-reg.asked
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if d := e.Decide(short, admission.Query{Namespace: "payments", Images: images(5)}); d.Allowed() || d.Reasons()[0] != policy.Overloaded {
		t.Errorf("the namespace's next: %v", d.Reasons())
	}
	for _, n := range []int{1, 256} {
		if d := e.Decide(t.Context(), admission.Query{Namespace: "other", Images: images(n)}); d.Allowed() || !slices.Contains(d.Reasons(), policy.DeniedByPolicy) {
			t.Errorf("%d images of another namespace: %v", n, d.Reasons())
		}
	}
	cancel()
	<-ended
	gone, stop := context.WithCancel(t.Context())
	stop()
	if d := e.Decide(gone, admission.Query{Namespace: "payments", Images: images(5)}); d.Reasons()[0] == policy.Overloaded {
		t.Error("the room was not given back")
	}
}

func TestMoreJudgementsThanCanBeMadeAreRefused(t *testing.T) {
	t.Parallel()
	e := newEvaluator(t, sets{"payments": {Cluster: denying(t, 2, "x"), Namespaced: denying(t, 64, "x")}}, newHub())
	spec := wide(256, numbered("x.example/a%d:1"), numbered("c%d")).Spec
	d := e.Decide(t.Context(), admission.Query{Namespace: "payments", Images: admission.Images(&spec)})
	if d.Allowed() || d.Reasons()[0] != policy.TooManyImages || !strings.Contains(d.Message(), "17152 judgements: at most 16640") {
		t.Error(d.Message())
	}
}
