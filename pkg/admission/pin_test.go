package admission_test

import (
	"encoding/json"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// pinning is a policy over some images that pins tags.
func pinning(t testing.TB, images string, s verifytest.Signer) *policy.Policy {
	t.Helper()
	p := signedBy(t, images, s)
	p.References.Tags = policy.TagsPin
	return p
}

// pinner is a handler of /pin in namespace payments.
func pinner(t testing.TB, h *hub, policies ...*policy.Policy) (*admission.Pins, *recorder) {
	t.Helper()
	e := newEvaluator(t, sets{"payments": {Namespaced: policies}}, h)
	e.Pinning = true
	rec := &recorder{}
	pins := &admission.Pins{Evaluator: e, Recorder: rec}
	if err := pins.Validate(); err != nil {
		t.Fatal(err)
	}
	return pins, rec
}

// applied is the Pod that the API server makes of a request and its answer.
func applied(t testing.TB, req ctrladmission.Request, resp ctrladmission.Response) *corev1.Pod {
	t.Helper()
	raw := req.Object.Raw
	if len(resp.Patches) > 0 {
		text, err := json.Marshal(resp.Patches)
		if err != nil {
			t.Fatal(err)
		}
		patch, err := jsonpatch.DecodePatch(text)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err = patch.Apply(raw); err != nil {
			t.Fatal(err)
		}
	}
	var pod corev1.Pod
	if err := json.Unmarshal(raw, &pod); err != nil {
		t.Fatal(err)
	}
	return &pod
}

// everywhere is a Pod with one image in each of its lists.
func everywhere(image string) *corev1.Pod {
	p := pod(image)
	p.Spec.InitContainers = []corev1.Container{{Name: "init", Image: image}}
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: image}}}
	p.Spec.Volumes = []corev1.Volume{{Name: "empty"}, {Name: "data", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image}}}}
	return p
}

func TestEveryTagOfAPodIsPinned(t *testing.T) {
	t.Parallel()
	h, d := newHub(), verifytest.Digest("v1")
	h.tag("r.example/app:v1", d)
	pins, rec := pinner(t, h, pinning(t, "**", verifytest.NewSigner(t, 1)))
	req := review(t, admissionv1.Create, everywhere("r.example/app:v1"), nil)
	resp := pins.Handle(t.Context(), req)
	if !resp.Allowed {
		t.Fatal("refused")
	}
	got := applied(t, req, resp)
	n := 0
	for _, i := range admission.Images(&got.Spec) {
		n++
		if i.Reference != "r.example/app:v1@"+d.String() {
			t.Errorf("%s is %s", i, i.Reference)
		}
	}
	if n != 4 || h.resolves != 1 {
		t.Errorf("%d images, %d requests to resolve", n, h.resolves)
	}
	if len(rec.records) != 1 || rec.records[0].Decision != "pinned" || rec.records[0].Webhook != admission.WebhookPin {
		t.Errorf("%+v", rec.records)
	}
	if a := resp.AuditAnnotations["pinned"]; !strings.Contains(a, "container/c0=r.example/app:v1@"+d.String()) {
		t.Errorf("annotations %v", resp.AuditAnnotations)
	}
	// What was pinned is not pinned again, whoever reinvokes.
	again := review(t, admissionv1.Create, got, nil)
	if resp := pins.Handle(t.Context(), again); len(resp.Patches) != 0 || !resp.Allowed {
		t.Errorf("%+v", resp)
	}
}

func TestOnlyWhatIsNewInAnUpdateIsPinned(t *testing.T) {
	t.Parallel()
	h, d := newHub(), verifytest.Digest("v1")
	h.tag("r.example/app:v1", d)
	pins, _ := pinner(t, h, pinning(t, "**", verifytest.NewSigner(t, 1)))
	before, now := pod("r.example/app:v1"), pod("r.example/app:v1")
	now.Labels = map[string]string{"a": "b"}
	if resp := pins.Handle(t.Context(), review(t, admissionv1.Update, now, before)); len(resp.Patches) != 0 || h.resolves != 0 {
		t.Errorf("an update without a new image: %+v, %d requests", resp.Patches, h.resolves)
	}
	now = everywhere("r.example/app:v1")
	req := review(t, admissionv1.Update, now, before)
	got := applied(t, req, pins.Handle(t.Context(), req))
	for _, i := range admission.Images(&got.Spec) {
		if pinned := strings.Contains(i.Reference, "@"); pinned != (i.List != admission.Containers) {
			t.Errorf("%s is %s", i, i.Reference)
		}
	}
}

func TestPinNeverRefusesAndAsksNothingAboutWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigner(t, 1)
	deny := pinning(t, "**", s)
	deny.References.Tags = policy.TagsDeny
	for what, tc := range map[string]struct {
		pod      any
		policies []*policy.Policy
		op       admissionv1.Operation
	}{
		"no policy matches":   {pod: pod("r.example/app:v1"), policies: []*policy.Policy{pinning(t, "other.example/**", s)}},
		"no policy at all":    {pod: pod("r.example/app:v1")},
		"tags are allowed":    {pod: pod("r.example/app:v1"), policies: []*policy.Policy{signedBy(t, "**", s)}},
		"tags are denied too": {pod: pod("r.example/app:v1"), policies: []*policy.Policy{pinning(t, "**", s), deny}},
		"a digest":            {pod: pod("r.example/app@" + verifytest.Digest("x").String()), policies: []*policy.Policy{pinning(t, "**", s)}},
		"not a reference":     {pod: pod("../x", ""), policies: []*policy.Policy{pinning(t, "**", s)}},
		"too many images":     {pod: pod(make([]string, 300)...), policies: []*policy.Policy{pinning(t, "**", s)}},
		"no Pod":              {pod: []byte(`null`), policies: []*policy.Policy{pinning(t, "**", s)}},
		"no JSON":             {pod: []byte(`{`), policies: []*policy.Policy{pinning(t, "**", s)}},
		"a deletion":          {pod: pod("r.example/app:v1"), policies: []*policy.Policy{pinning(t, "**", s)}, op: admissionv1.Delete},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHub()
			h.tag("r.example/app:v1", verifytest.Digest("v1"))
			pins, rec := pinner(t, h, tc.policies...)
			op := tc.op
			if op == "" {
				op = admissionv1.Create
			}
			req := review(t, op, tc.pod, nil)
			resp := pins.Handle(t.Context(), req)
			if !resp.Allowed || len(resp.Patches) != 0 || h.resolves != 0 || len(h.asked) != 0 || len(rec.records) != 0 {
				t.Errorf("allowed %t, patches %v, %d requests, secrets %v, records %v", resp.Allowed, resp.Patches, h.resolves, h.asked, rec.records)
			}
		})
	}
}

// Turning pinning on and off changes the webhook object and the replicas at different moments: whoever is asked pins, or the Pods
// between them would be refused.
func TestWhoeverIsAskedToPinPins(t *testing.T) {
	t.Parallel()
	h, s, d := newHub(), verifytest.NewSigner(t, 1), verifytest.Digest("v1")
	h.tag("r.example/app:v1", d)
	h.Sign(s, d)
	pins, _ := pinner(t, h, pinning(t, "**", s))
	pins.Evaluator.Pinning = false
	req := review(t, admissionv1.Create, pod("r.example/app:v1"), nil)
	got := applied(t, req, pins.Handle(t.Context(), req))
	if got.Spec.Containers[0].Image != "r.example/app:v1@"+d.String() {
		t.Errorf("%+v", got.Spec.Containers)
	}
	// And what is pinned so is admitted by that replica, as it is by the others.
	if d := pins.Evaluator.Decide(t.Context(), admission.Query{Namespace: "payments", Images: admission.Images(&got.Spec)}); !d.Allowed() {
		t.Error(d.Message())
	}
}

func TestWhatCanNotBePinnedIsLeftToValidate(t *testing.T) {
	t.Parallel()
	h := newHub()
	h.tag("r.example/app:v1", verifytest.Digest("v1"))
	pins, rec := pinner(t, h, pinning(t, "**", verifytest.NewSigner(t, 1)))
	req := review(t, admissionv1.Create, pod("r.example/app:v1", "r.example/gone:v1"), nil)
	resp := pins.Handle(t.Context(), req)
	got := applied(t, req, resp)
	if !resp.Allowed || !strings.Contains(got.Spec.Containers[0].Image, "@") || got.Spec.Containers[1].Image != "r.example/gone:v1" {
		t.Errorf("%+v", got.Spec.Containers)
	}
	if len(rec.records) != 1 || rec.records[0].Decision != "unresolved" || rec.records[0].Reasons[0] != string(policy.ImageNotFound) {
		t.Errorf("%+v", rec.records)
	}
	if !strings.Contains(resp.AuditAnnotations["unresolved"], "r.example/gone:v1") {
		t.Errorf("%v", resp.AuditAnnotations)
	}
	// And /validate refuses it, with the reason.
	d := pins.Evaluator.Decide(t.Context(), admission.Query{Namespace: "payments", Images: admission.Images(&got.Spec)})
	if d.Allowed() || !strings.Contains(d.Message(), "ImageNotFound") {
		t.Error(d.Message())
	}
}

func TestATagThatCameUnpinnedIsRefusedThoughItsImageIsSigned(t *testing.T) {
	t.Parallel()
	s, h, d := verifytest.NewSigner(t, 1), newHub(), verifytest.Digest("v1")
	h.tag("r.example/app:v1", d)
	h.Sign(s, d)
	pins, _ := pinner(t, h, pinning(t, "**", s))
	q := admission.Query{Namespace: "payments", Images: containers("r.example/app:v1")}
	if got := pins.Evaluator.Decide(t.Context(), q); got.Allowed() || got.Reasons()[0] != policy.NotPinned {
		t.Errorf("%v", got.Reasons())
	}
	q.Ahead = true
	if got := pins.Evaluator.Decide(t.Context(), q); !got.Allowed() {
		t.Errorf("a template: %s", got.Message())
	}
	pins.Evaluator.Pinning = false
	if got := pins.Evaluator.Decide(t.Context(), q); got.Allowed() || got.Reasons()[0] != policy.TagNotAllowed {
		t.Errorf("with pinning off: %v", got.Reasons())
	}
}

func TestRow96_APanicWhilePinningPinsNothing(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigner(t, 1)
	for what, e := range map[string]*admission.Evaluator{
		"in the policies": newEvaluator(t, panicking{}, newHub()),
		"in the registry": newEvaluator(t, sets{"payments": {Namespaced: []*policy.Policy{pinning(t, "**", s)}}}, broken{newHub()}),
	} {
		e.Pinning = true
		told := make(chan any, 4)
		e.Panicked = func(v any, _ []byte) { told <- v }
		resp := (&admission.Pins{Evaluator: e, Recorder: &recorder{}}).Handle(t.Context(), review(t, admissionv1.Create, pod("a.example/x:1"), nil))
		if !resp.Allowed || len(resp.Patches) != 0 || len(told) != 1 {
			t.Errorf("%s: %+v, told %d times", what, resp, len(told))
		}
	}
}
