package apiserver

import (
	"encoding/json"
	pemfile "encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// swapper is a mutating webhook that puts another image into the first container.
type swapper struct {
	image atomic.Pointer[string]
	asked atomic.Int64
}

// ServeHTTP implements http.Handler.
func (s *swapper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Request == nil {
		http.Error(w, "no review", http.StatusBadRequest)
		return
	}
	s.asked.Add(1)
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/containers/0/image","value":%q}]`, *s.image.Load())
	kind := admissionv1.PatchTypeJSONPatch
	in.Response = &admissionv1.AdmissionResponse{UID: in.Request.UID, Allowed: true, Patch: []byte(patch), PatchType: &kind}
	in.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(in) // the API server says what it didn't get
}

// swap makes the API server ask a swapper about the Pods of the namespace, and waits until it does.
func (s *scene) swap(image string) *swapper {
	s.t.Helper()
	swap := &swapper{}
	swap.image.Store(&image)
	server := httptest.NewTLSServer(swap)
	s.t.Cleanup(server.Close)
	ca := pemfile.EncodeToMemory(&pemfile.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	fail, none := admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: s.ns},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "swap.tests.example", ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &server.URL, CABundle: ca},
			FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": s.ns}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}
	_, err := s.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(s.ctx, configuration, metav1.CreateOptions{})
	s.want("installing a mutating webhook", err)
	s.eventually("the API server to ask the mutating webhook", func() error {
		_, _ = s.kube.CoreV1().Pods(s.ns).Create(s.ctx, pod("probe", image), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if swap.asked.Load() == 0 {
			return fmt.Errorf("it was not asked")
		}
		return nil
	})
	return swap
}

func TestRow26_WhatAnotherWebhookMakesOfThePodIsJudged(t *testing.T) {
	s := parallelScene(t, "row26")
	s.policy(signedBy)
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/miner").String()
	swap := s.swap(bad)
	s.refuses(pod("api", good), "container c0: "+bad, "NoTrustedSignature")
	swap.image.Store(&good)
	if got := s.admits(pod("api", bad)).Spec.Containers[0].Image; got != good {
		t.Errorf("the Pod has %s, want what the other webhook put in", got)
	}
}

// TestRow26_WhatCanNotBeReadIsRefused asks the webhook past the API server, which never sends such things, until the day when a
// patch of somebody's fails.
func TestRow26_WhatCanNotBeReadIsRefused(t *testing.T) {
	s := parallelScene(t, "row26b")
	good := s.signed("shop/api").String() // no policy: an ordinary Pod would be allowed
	if answer := ask(t, s.bed.Webhook, review(s.ns, pod("api", good))); !answer.Allowed {
		t.Fatalf("an ordinary Pod is refused, so that what follows proves nothing: %s", answer.Result.Message)
	}
	whole := podJSON(pod("api", good))
	for _, c := range []struct {
		name string
		edit func(*admissionv1.AdmissionRequest)
	}{
		{"an object that is null", func(r *admissionv1.AdmissionRequest) { r.Object.Raw = []byte("null") }},
		{"no object", func(r *admissionv1.AdmissionRequest) { r.Object = runtime.RawExtension{} }},
		{"an empty object", func(r *admissionv1.AdmissionRequest) { r.Object.Raw = []byte("{}") }},
		{"an object that is a list", func(r *admissionv1.AdmissionRequest) { r.Object.Raw = []byte("[]") }},
		{"an object that is a text", func(r *admissionv1.AdmissionRequest) { r.Object.Raw = []byte(`"pod"`) }},
		{"containers that are a text", func(r *admissionv1.AdmissionRequest) { r.Object.Raw = []byte(`{"spec":{"containers":"none"}}`) }},
		{"a spec in another case", func(r *admissionv1.AdmissionRequest) {
			r.Object.Raw = []byte(`{"Spec":{"containers":[{"name":"c0","image":"` + good + `"}]}}`)
		}},
		{"another kind", func(r *admissionv1.AdmissionRequest) {
			r.Kind = metav1.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
		}},
		{"an operation that is not ours", func(r *admissionv1.AdmissionRequest) { r.Operation = admissionv1.Delete }},
		{"no operation", func(r *admissionv1.AdmissionRequest) { r.Operation = "" }},
		{"an update of nothing", func(r *admissionv1.AdmissionRequest) { r.Operation = admissionv1.Update }},
		{"an update of null", func(r *admissionv1.AdmissionRequest) {
			r.Operation, r.OldObject.Raw = admissionv1.Update, []byte("null")
		}},
		{"an update to null", func(r *admissionv1.AdmissionRequest) {
			r.Operation, r.Object.Raw, r.OldObject.Raw = admissionv1.Update, []byte("null"), whole
		}},
	} {
		r := review(s.ns, pod("api", good))
		c.edit(r.Request)
		answer := ask(t, s.bed.Webhook, r)
		if answer.Allowed || answer.Result == nil || answer.Result.Message == "" {
			t.Errorf("%s: %+v", c.name, answer)
		}
	}
	for name, body := range map[string]string{
		"nothing": "", "null": "null", "no JSON": "pod", "an empty object": "{}", "a review without a request": `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`,
		"half a review": `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"a","object":{`,
	} {
		if answer, status, text := post(t, s.bed.Webhook, []byte(body)); answer != nil && answer.Allowed {
			t.Errorf("%s is allowed: %d %s", name, status, text)
		}
	}
}

func TestRow31_ADryRunIsJudgedAlike(t *testing.T) {
	s := parallelScene(t, "row31")
	s.policy(signedBy)
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/api").String()
	dry := func(image string) (*corev1.Pod, error) {
		return s.kube.CoreV1().Pods(s.ns).Create(s.ctx, pod("api", image), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	}
	_, err := dry(bad)
	s.wantRefused(err, "container c0: "+bad, "NoTrustedSignature")
	if d := s.lastDecision(); !d.DryRun || d.Decision != "refused" {
		t.Errorf("the log says %s, dry run %v", d.Decision, d.DryRun)
	}
	_, err = dry(good)
	s.want("a dry run of a signed Pod", err)
	if d := s.lastDecision(); !d.DryRun || d.Decision != "allowed" {
		t.Errorf("the log says %s, dry run %v", d.Decision, d.DryRun)
	}
	s.wantNoPod("")
	events, err := s.kube.CoreV1().Events(s.ns).List(s.ctx, metav1.ListOptions{})
	s.want("listing Events", err)
	if len(events.Items) != 0 {
		t.Errorf("dry runs left %d Events", len(events.Items))
	}
	if out, err := s.kubectl("", "-n", s.ns, "run", "api", "--image="+bad, "--dry-run=server"); err == nil {
		t.Errorf("kubectl run --dry-run=server with an unsigned image: %s", out)
	}
}
