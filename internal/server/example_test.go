package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pratique-dev/pratique/internal/server"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// A handler that panics refuses the request, under the request's UID.
func ExampleDeadline() {
	h := server.Deadline(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic("a bug")
	}), server.DeadlineOptions{OnRefuse: func(r policy.Reason) { fmt.Println("counted:", r) }})

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/validate?timeout=10s", strings.NewReader(
		`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"705ab4f5"}}`)))
	_, _ = io.Copy(outline{}, w.Body)
	// Output:
	// counted: InternalError
	// {"uid":"705ab4f5","allowed":false,"status":{"metadata":{},"status":"Failure","message":"InternalError: the webhook failed while it judged this request; its log says how","reason":"InternalError","code":500},
}

// Where failures pass, the same panic allows the request: whatever it makes is judged elsewhere.
func ExampleDeadline_pass() {
	h := server.Deadline(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic("a bug")
	}), server.DeadlineOptions{OnFailure: server.Pass, Warning: "pratique: this template was not judged; its Pods will be"})

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/workloads?timeout=10s", strings.NewReader(
		`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"705ab4f5"}}`)))
	fmt.Print(w.Body)
	// Output:
	// {"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"705ab4f5","allowed":true,"auditAnnotations":{"decision":"unjudged","reasons":"InternalError"},"warnings":["pratique: this template was not judged; its Pods will be (InternalError)"]}}
}

// A watch that tells when somebody has ephemeral containers passed over.
func ExampleNewRegistration() {
	watch := func(mgr ctrl.Manager, gauge func(webhook string, registered bool), log logr.Logger) error {
		registration, err := server.NewRegistration(server.RegistrationConfig{
			Reader: mgr.GetAPIReader(), Validating: "pratique", Report: gauge, Log: log,
			Webhooks: []server.ExpectedWebhook{{
				Name: "images.pratique.dev", Path: "/validate", FailurePolicy: admissionregistrationv1.Fail,
				Rules: []admissionregistrationv1.RuleWithOperations{{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
				}, {
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Update},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods/ephemeralcontainers"}},
				}},
				ExemptNamespaces: []string{"pratique-system", "kube-system"},
			}},
		})
		if err != nil {
			return err
		}
		return mgr.Add(registration)
	}
	_ = watch
}

// The whole of a webhook outside a cluster: a certificate in a directory, a server, its health and its end.
func ExampleNew() {
	serve := func(judge admission.Handler, synced func() bool, log logr.Logger) error {
		drain, ctx := server.NewDrain(ctrl.SetupSignalHandler(), server.DefaultDrainDelay)
		certs := &server.CertDir{Dir: "certs", Hosts: []string{"webhook.example"}, Log: log}
		if err := certs.Ensure(); err != nil { // now there is certs/ca.crt, for the webhook object's caBundle
			return err
		}
		srv, err := server.New(server.Options{Port: 9443, CertDir: certs.Dir, Drain: drain, Log: log})
		if err != nil {
			return err
		}
		hook := (&admission.Webhook{Handler: judge}).WithRecoverPanic(false) // Deadline's to recover
		srv.Register("/validate", server.Deadline(hook, server.DeadlineOptions{Log: log}))

		timeout := server.ShutdownTimeout
		mgr, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
			WebhookServer: srv, HealthProbeBindAddress: ":8081", GracefulShutdownTimeout: &timeout,
		})
		if err != nil {
			return err
		}
		mgr.GetWebhookServer() // which adds it
		if err := mgr.Add(certs); err != nil {
			return err
		}
		if err := server.AddChecks(mgr, map[string]healthz.Checker{
			"certificate": srv.CertificateReady,
			"draining":    drain.Ready,
			"policies":    server.Holds("policies are not synced", synced),
		}); err != nil {
			return err
		}
		return mgr.Start(ctx)
	}
	_ = serve
}

// outline prints the beginning of a response.
type outline struct{}

func (outline) Write(p []byte) (int, error) {
	_, response, _ := strings.Cut(string(p), `"response":`)
	before, _, _ := strings.Cut(response, `"auditAnnotations"`)
	fmt.Println(before)
	return len(p), nil
}
