package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/test/cluster"
	"github.com/pratique-dev/pratique/test/cluster/clustertest"
)

// TestCluster holds what only a real API server can tell.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := clustertest.ForTest(t, cluster.Options{})
	t.Run("answers", func(t *testing.T) { testAnswersReachPeople(t, c) })
	t.Run("passes", func(t *testing.T) { testFailuresPassTheAPIServer(t, c) })
	t.Run("keeper", func(t *testing.T) { testReplicasShareACertificate(t, c) })
	t.Run("registration", func(t *testing.T) { testRow24OnTheAPIServer(t, c) })
	t.Run("missing objects", func(t *testing.T) { testAMissingObjectKeepsNobodyFromReadiness(t, c) })
}

// testAnswersReachPeople asks the API server to create Pods before handlers that fail, with a certificate from a
// CertDir: what it says has to be our words, never its own "failed calling webhook".
func testAnswersReachPeople(t *testing.T, c *cluster.Cluster) {
	d := &CertDir{Dir: t.TempDir()}
	if err := d.Ensure(); err != nil {
		t.Fatal(err)
	}
	bundle, err := d.CABundle()
	if err != nil {
		t.Fatal(err)
	}
	s := prepare(t, Options{CertDir: d.Dir})
	crowd := semaphore.NewWeighted(minWeight)
	s.server.Register("/stuck", Deadline(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		time.Sleep(5 * time.Second)
	}), DeadlineOptions{}))
	s.server.Register("/panics", Deadline(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic("key of the tenant")
	}), DeadlineOptions{}))
	s.server.Register("/crowded", &guard{load: crowd, next: http.HandlerFunc(echoAllowance)})
	ctx, stop := contextOf(t)
	s.stop, s.ended = stop, make(chan error, 1)
	go func() { s.ended <- s.server.Start(ctx) }()
	eventually(t, "the server serves", func() bool { return s.server.StartedChecker()(nil) == nil })

	for _, path := range []string{"stuck", "panics", "crowded"} {
		if err := c.CreateNamespace(t.Context(), path, nil); err != nil {
			t.Fatal(err)
		}
	}
	hooks := webhooks("answers", bundle, s.url, "stuck", "panics", "crowded")
	if _, err := c.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), hooks, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		reason metav1.StatusReason
		words  string
	}{
		"stuck":  {metav1.StatusReasonServerTimeout, `admission webhook "stuck.pratique.dev" denied the request: Overtime: not judged within 1.75s`},
		"panics": {metav1.StatusReasonInternalError, `admission webhook "panics.pratique.dev" denied the request: InternalError: the webhook failed`},
	} {
		var err error
		eventually(t, "the API server asks "+path, func() bool {
			err = createPod(t, c.Client(), path)
			return err != nil && strings.Contains(err.Error(), "webhook")
		})
		if apierrors.ReasonForError(err) != want.reason || !strings.HasPrefix(err.Error(), want.words) {
			t.Errorf("%s: the API server said %q (%s), want %q (%s)", path, err, apierrors.ReasonForError(err), want.words, want.reason)
		}
	}

	// Who was refused for load comes again by itself: client-go minds Retry-After.
	if !crowd.TryAcquire(minWeight) {
		t.Fatal("the bound is taken")
	}
	time.AfterFunc(500*time.Millisecond, func() { crowd.Release(minWeight) })
	began := time.Now()
	if err := createPod(t, c.Client(), "crowded"); err != nil {
		t.Errorf("a Pod refused for load, and tried again: %v", err)
	}
	if took := time.Since(began); took < retryAfter*time.Second {
		t.Errorf("the Pod took %s; it was never refused", took)
	}
}

// testFailuresPassTheAPIServer asks the API server to create Pods before handlers that fail and whose failures pass. Each is
// registered with failurePolicy Fail, so that what is created was allowed by an answer of ours.
func testFailuresPassTheAPIServer(t *testing.T, c *cluster.Cluster) {
	d := &CertDir{Dir: t.TempDir()}
	if err := d.Ensure(); err != nil {
		t.Fatal(err)
	}
	bundle, err := d.CABundle()
	if err != nil {
		t.Fatal(err)
	}
	s := prepare(t, Options{CertDir: d.Dir})
	asked := make(chan string, 100)
	fails := func(path string, h http.HandlerFunc, warning string) {
		g, _ := Deadline(h, DeadlineOptions{
			OnFailure: Pass, Warning: warning, OnPass: func(reason policy.Reason) { asked <- path + " " + string(reason) },
		}).(*guard)
		if h == nil {
			g.load = semaphore.NewWeighted(0)
		}
		s.server.Register("/"+path, g)
	}
	fails("late", func(http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Second) }, templates)
	fails("broken", func(http.ResponseWriter, *http.Request) { panic("key of the tenant") }, templates)
	fails("full", nil, templates)
	fails("late-pin", func(http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Second) }, "")
	fails("broken-pin", func(http.ResponseWriter, *http.Request) { panic("key of the tenant") }, "")
	ctx, stop := contextOf(t)
	s.stop, s.ended = stop, make(chan error, 1)
	go func() { s.ended <- s.server.Start(ctx) }()
	eventually(t, "the server serves", func() bool { return s.server.StartedChecker()(nil) == nil })

	registration := c.Client().AdmissionregistrationV1()
	validating := webhooks("passes", bundle, s.url, "late", "broken", "full")
	if _, err := registration.ValidatingWebhookConfigurations().Create(t.Context(), validating, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	mutating := mutatingOf(webhooks("passes", bundle, s.url, "late-pin", "broken-pin"))
	if _, err := registration.MutatingWebhookConfigurations().Create(t.Context(), mutating, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		reason   policy.Reason
		warnings []string
	}{
		"late":       {policy.Overtime, []string{templates + " (Overtime)"}},
		"broken":     {policy.InternalError, []string{templates + " (InternalError)"}},
		"full":       {policy.Overloaded, []string{templates + " (Overloaded)"}},
		"late-pin":   {policy.Overtime, nil},
		"broken-pin": {policy.InternalError, nil},
	} {
		if err := c.CreateNamespace(t.Context(), path, nil); err != nil {
			t.Fatal(err)
		}
		var said warnings
		config := c.RESTConfig()
		config.WarningHandler = &said
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the API server asks "+path, func() bool {
			said = nil
			if err := createPod(t, client, path); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			select {
			case got := <-asked:
				if got != path+" "+string(want.reason) {
					t.Errorf("asked %s, want %s for %s", got, path, want.reason)
				}
				return true
			default: // it doesn't know of the webhook yet
				return false
			}
		})
		if !slices.Equal(said, want.warnings) {
			t.Errorf("%s: whoever created the Pod got the warnings %q, want %q", path, said, want.warnings)
		}
	}
}

// warnings is a rest.WarningHandler that keeps them.
type warnings []string

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _, text string) { *w = append(*w, text) }

// webhooks is a configuration with one webhook for each path, for the Pods of the namespace of the same name.
func webhooks(name string, bundle []byte, url string, paths ...string) *admissionregistrationv1.ValidatingWebhookConfiguration {
	fail, none, timeout := admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone, int32(2)
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, path := range paths {
		at := url + "/" + path
		configuration.Webhooks = append(configuration.Webhooks, admissionregistrationv1.ValidatingWebhook{
			Name:                    path + ".pratique.dev",
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: &at, CABundle: bundle},
			FailurePolicy:           &fail,
			SideEffects:             &none,
			TimeoutSeconds:          &timeout,
			AdmissionReviewVersions: []string{"v1"},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: path}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		})
	}
	return configuration
}

func createPod(t *testing.T, client kubernetes.Interface, namespace string) error {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "pod-"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "registry.example/app:1"}}},
	}
	_, err := client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	return err
}

// echoAllowance allows a review under its UID.
func echoAllowance(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Request struct{ UID types.UID } }
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		panic(err)
	}
	fmt.Fprintf(w, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":%q,"allowed":true}}`, asked.Request.UID)
}
