package apiserver

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pratique-dev/pratique/test/bed"
)

// review is what an API server would ask about a Pod that is being created in a namespace.
func review(namespace string, p *corev1.Pod) *admissionv1.AdmissionReview {
	return &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID:       types.UID("of-a-test"),
			Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Namespace: namespace, Name: p.Name, Operation: admissionv1.Create,
			Object: runtime.RawExtension{Raw: podJSON(p)},
		},
	}
}

func podJSON(p *corev1.Pod) []byte {
	p = p.DeepCopy()
	p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // a Pod always can
	}
	return text
}

// post asks a webhook directly, and returns its answer; nil if that is none.
func post(t *testing.T, w *bed.Webhook, body []byte) (answer *admissionv1.AdmissionResponse, status int, text string) {
	t.Helper()
	client, err := w.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL()+"/validate?timeout=10s", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var got admissionv1.AdmissionReview
	if err := json.Unmarshal(said, &got); err != nil {
		return nil, resp.StatusCode, string(said)
	}
	return got.Response, resp.StatusCode, string(said)
}

// ask posts a review, which must be answered.
func ask(t *testing.T, w *bed.Webhook, r *admissionv1.AdmissionReview) *admissionv1.AdmissionResponse {
	t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	answer, status, text := post(t, w, body)
	if answer == nil {
		t.Fatalf("no answer: status %d: %s", status, text)
	}
	if answer.UID != r.Request.UID {
		t.Errorf("the answer is about %q, asked was %q", answer.UID, r.Request.UID)
	}
	return answer
}

// webhook starts a second webhook beside the bed's own, which no API server asks. Unless told who it is, it reads all that the bed's own
// reads, and can't be elected to write statuses: tests wait for them to know what the one has read that the API server asks.
func (s *scene) webhook(o bed.WebhookOptions) *bed.Webhook {
	s.t.Helper()
	if o.Kubeconfig == "" {
		const reader = "second-webhook"
		s.may(reader, rule("", "*", "get list watch"), rule("pratique.dev", "*", "get list watch"), rule("networking.k8s.io", "*", "get list watch"))
		o.Kubeconfig = filepath.Join(s.t.TempDir(), "kubeconfig")
		s.want("making a user", s.bed.Cluster.WriteUserKubeconfig(o.Kubeconfig, reader))
	}
	o.Flags = append(o.Flags, "--plain-http", "127.0.0.1")
	w, err := s.bed.NewWebhook(o)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := w.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := w.Stop(); err != nil {
			s.t.Error(err)
		}
	})
	return w
}
