package admission_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// recorder keeps what it is told.
type recorder struct {
	mu      sync.Mutex
	records []admission.Record
}

func (r *recorder) Record(rec admission.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, rec)
}

func pod(images ...string) *corev1.Pod {
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: "elsewhere"}}
	for i, image := range images {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: image})
	}
	return p
}

func raw(t testing.TB, o any) runtime.RawExtension {
	t.Helper()
	if o == nil {
		return runtime.RawExtension{}
	}
	if b, ok := o.([]byte); ok {
		return runtime.RawExtension{Raw: b}
	}
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return runtime.RawExtension{Raw: b}
}

func review(t testing.TB, op admissionv1.Operation, now, before any) ctrladmission.Request {
	t.Helper()
	return ctrladmission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: "uid-1", Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Namespace: "payments", Operation: op, UserInfo: authenticationv1.UserInfo{Username: "alice"},
		Object: raw(t, now), OldObject: raw(t, before),
	}}
}

// TestResponses holds whole answers: a review in, the response out, as testdata/responses/NAME.json. UPDATE_GOLDEN=1 writes them anew.
func TestResponses(t *testing.T) {
	t.Parallel()
	s, stranger, h := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2), newHub()
	good, bad, wrong := verifytest.Digest("good"), verifytest.Digest("bad"), verifytest.Digest("wrong")
	h.Sign(s, good)
	h.Attach(wrong, verifytest.Bundle(stranger, wrong, verify.CosignSign, "0.3"))
	h.tag("r.example/payments/api:1.4.2", bad)
	h.tag("r.example/payments/web:1", good)
	production := signedBy(t, "r.example/payments/**", s)
	warns := signedBy(t, "**", stranger)
	warns.Mode, warns.Name.Name = policy.Warn, "trial"
	denies := &policy.Policy{Name: policy.Name{Name: "revoked"}, Action: policy.ActionDeny, Because: "CVE-2026-1111, use 1.4.3", Images: about(t, "r.example/payments/old")}
	set := policy.Set{Namespaced: []*policy.Policy{production, warns, denies}}
	down := newHub()
	down.Fail(&verify.FetchError{Host: "r.example", Place: verify.PlaceManifest, Err: errors.New("connection refused")})

	signed := "r.example/payments/api@" + good.String()
	unsigned := "r.example/payments/api@" + bad.String()
	finalizer := pod(unsigned)
	finalizer.Finalizers = []string{"example.com/keep"}
	named := pod(unsigned)
	named.Name, named.GenerateName = "", "app-"
	upgraded := pod(signed, unsigned)
	upgraded.Spec.Containers[1].Name = "new"
	for name, tc := range map[string]struct {
		req ctrladmission.Request
		hub *hub
	}{
		"signed":                {review(t, admissionv1.Create, pod(signed), nil), h},
		"unsigned":              {review(t, admissionv1.Create, pod(unsigned), nil), h},
		"row12-generate-name":   {review(t, admissionv1.Create, named, nil), h},
		"wrong-key":             {review(t, admissionv1.Create, pod(signed, "r.example/payments/copy@"+wrong.String()), nil), h},
		"tag-of-unsigned":       {review(t, admissionv1.Create, pod("r.example/payments/api:1.4.2"), nil), h},
		"tag-allowed":           {review(t, admissionv1.Create, pod("r.example/payments/web:1"), nil), h},
		"unknown-tag":           {review(t, admissionv1.Create, pod("r.example/payments/api:none"), nil), h},
		"no-policy-matches":     {review(t, admissionv1.Create, pod("docker.io/library/nginx:1"), nil), h},
		"revoked":               {review(t, admissionv1.Create, pod("r.example/payments/old@"+good.String()), nil), h},
		"invalid-reference":     {review(t, admissionv1.Create, pod("r.example/payments//x"), nil), h},
		"registry-down":         {review(t, admissionv1.Create, pod(signed), nil), down},
		"row09-finalizer":       {review(t, admissionv1.Update, pod(unsigned), finalizer), h},
		"row10-image-changed":   {review(t, admissionv1.Update, pod(unsigned), pod(signed)), h},
		"row11-container-added": {review(t, admissionv1.Update, upgraded, pod(signed)), h},
		"row26-no-object":       {review(t, admissionv1.Create, nil, nil), h},
		"row26-null":            {review(t, admissionv1.Create, []byte("null"), nil), h},
		"row26-no-old-object":   {review(t, admissionv1.Update, pod(signed), nil), h},
		"row26-broken":          {review(t, admissionv1.Create, []byte(`{"spec":{"containers":7}}`), nil), h},
		"delete":                {review(t, admissionv1.Delete, nil, pod(signed)), h},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := &recorder{}
			handler := &admission.Pods{Evaluator: newEvaluator(t, sets{"payments": set}, tc.hub), Recorder: rec, Clock: func() time.Time { return time.Unix(1793491200, 0) }}
			if err := handler.Validate(); err != nil {
				t.Fatal(err)
			}
			resp := handler.Handle(t.Context(), tc.req)
			if len(rec.records) != 1 || (rec.records[0].Decision == "refused") == resp.Allowed {
				t.Fatalf("%d records, allowed %t: %+v", len(rec.records), resp.Allowed, rec.records)
			}
			golden(t, filepath.Join("testdata", "responses", name+".json"), resp)
		})
	}
}

func golden(t *testing.T, file string, resp ctrladmission.Response) {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	doc := map[string]any{"response": resp.AdmissionResponse}
	if resp.Result != nil && resp.Result.Message != "" {
		doc["message"] = strings.Split(resp.Result.Message, "\n") // so that people can read it here
	}
	if err := enc.Encode(doc); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; UPDATE_GOLDEN=1 writes it", err)
	}
	if !bytes.Equal(want, b.Bytes()) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, b.Bytes(), want)
	}
}

func TestRow13_OnlyTheRequestsNamespaceCounts(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigner(t, 1)
	h := newHub()
	// The Pod of pod() says that it is in "elsewhere", where everything is allowed.
	open := policy.Set{Unmatched: policy.UnmatchedAllow}
	closed := policy.Set{Namespaced: []*policy.Policy{signedBy(t, "**", s)}}
	p := pod("r.example/app@" + verifytest.Digest("x").String())
	p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	handler := &admission.Pods{Evaluator: newEvaluator(t, sets{"payments": closed, "elsewhere": open}, h), Recorder: &recorder{}}
	if handler.Handle(t.Context(), review(t, admissionv1.Create, p, nil)).Allowed {
		t.Error("the Pod's own word about its namespace was believed")
	}
	for _, asked := range h.asked {
		if asked != "payments/pull" {
			t.Errorf("secret %s was asked for", asked)
		}
	}
	if len(h.asked) == 0 {
		t.Error("the pull secret was not asked for")
	}
}

func TestAnotherKindIsRefusedWithTheCure(t *testing.T) {
	t.Parallel()
	handler := &admission.Pods{Evaluator: newEvaluator(t, sets{}, newHub()), Recorder: &recorder{}}
	req := review(t, admissionv1.Create, pod("nginx"), nil)
	req.Kind.Kind = "Deployment"
	resp := handler.Handle(t.Context(), req)
	if resp.Allowed || !strings.Contains(resp.Result.Message, "ValidatingWebhookConfiguration") {
		t.Errorf("allowed %t: %s", resp.Allowed, resp.Result.Message)
	}
}

func TestRow31_ADryRunIsJudgedAlike(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigner(t, 1)
	handler := &admission.Pods{Evaluator: newEvaluator(t, sets{"payments": {Namespaced: []*policy.Policy{signedBy(t, "**", s)}}}, newHub()), Recorder: &recorder{}}
	req := review(t, admissionv1.Create, pod("r.example/app@"+verifytest.Digest("x").String()), nil)
	dry := true
	req.DryRun = &dry
	if handler.Handle(t.Context(), req).Allowed {
		t.Error("a dry run is allowed what the real one isn't")
	}
}

// FuzzRow38_MessagesArePrintable: whatever a Pod writes, what people see is printable ASCII within its bounds.
func FuzzRow38_MessagesArePrintable(f *testing.F) {
	f.Add("r.example/app:1", "c", 3)
	f.Add("\x1b[31mr.example/app", "\u202e", 200)
	f.Add(strings.Repeat("a/", 900)+"x", "c\nd", 256)
	s := verifytest.NewSigner(f, 1)
	set := sets{"payments": {Namespaced: []*policy.Policy{signedBy(f, "**", s)}}}
	f.Fuzz(func(t *testing.T, image, name string, n int) {
		if n < 0 || n > 300 {
			return
		}
		var images []admission.Image
		for i := range n {
			images = append(images, admission.Image{List: admission.Containers, Name: name, Reference: image + strings.Repeat("x", i%7)})
		}
		d := newEvaluator(t, set, newHub()).Decide(t.Context(), admission.Query{Namespace: "payments", Images: images})
		if d.Allowed() {
			t.Fatal("allowed")
		}
		printable(t, d.Message(), 4<<10, true)
		total := 0
		for _, w := range d.Warnings() {
			printable(t, w, 120, false)
			total += len(w)
		}
		if total > 4<<10 {
			t.Fatalf("%d bytes of warnings", total)
		}
		for k, v := range d.Annotations() {
			if len(v) > 8<<10 {
				t.Fatalf("annotation %s has %d bytes", k, len(v))
			}
			printable(t, v, 8<<10, false)
		}
	})
}

func printable(t *testing.T, s string, most int, lines bool) {
	t.Helper()
	if len(s) > most {
		t.Fatalf("%d bytes, at most %d", len(s), most)
	}
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c > '~') && !(lines && c == '\n') {
			t.Fatalf("byte %#x in %q", c, s)
		}
	}
}

func TestALongRefusalStandsInItsFirstKilobyte(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigner(t, 1)
	var images []admission.Image
	for i := range admission.MaxImages {
		images = append(images, admission.Image{List: admission.Containers, Name: fmt.Sprintf("c%d", i), Reference: "r.example/app@" + verifytest.Digest(fmt.Sprint(i)).String()})
	}
	d := newEvaluator(t, sets{"ns": {Namespaced: []*policy.Policy{signedBy(t, "**", s)}}}, newHub()).Decide(t.Context(), admission.Query{Namespace: "ns", Images: images})
	m := d.Message()
	if len(m) > 4<<10 || !strings.Contains(m[:1<<10], "256 of 256 images refused") || !strings.Contains(m[:1<<10], "NoTrustedSignature") {
		t.Errorf("%d bytes:\n%s", len(m), m)
	}
	if !strings.Contains(m, "more refused") || !strings.Contains(m, "\n  explain: kubectl pratique verify -n ns --explain r.example/app@") {
		t.Errorf("the rest isn't counted, or the next command is missing:\n%s", m)
	}
}
