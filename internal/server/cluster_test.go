package server

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/semaphore"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/pratique-dev/pratique/test/cluster"
	"github.com/pratique-dev/pratique/test/cluster/clustertest"
)

// TestCluster holds what only a real API server can tell.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := clustertest.ForTest(t, cluster.Options{})
	t.Run("answers", func(t *testing.T) { testAnswersReachPeople(t, c) })
	t.Run("keeper", func(t *testing.T) { testReplicasShareACertificate(t, c) })
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

func TestInClusterNeedsItsNames(t *testing.T) {
	t.Parallel()
	whole := InCluster{Namespace: "n", Secret: "s", Service: "w", CertDir: t.TempDir(), WebhookConfigurations: []string{"c"}}
	for name, change := range map[string]func(*InCluster){
		"no namespace":     func(c *InCluster) { c.Namespace = "" },
		"no Secret":        func(c *InCluster) { c.Secret = "" },
		"no Service":       func(c *InCluster) { c.Service = "" },
		"no directory":     func(c *InCluster) { c.CertDir = "" },
		"no configuration": func(c *InCluster) { c.WebhookConfigurations = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := whole
			change(&c)
			if _, err := c.AddTo(nil); err == nil {
				t.Error("no error")
			}
		})
	}
}

// testReplicasShareACertificate starts three replicas on an empty Secret at once. It is R12 of security.md in a cluster:
// the certificate is renewed under the same CA, and the CA stays in the webhook object whoever writes there.
func testReplicasShareACertificate(t *testing.T, c *cluster.Cluster) {
	const namespace, name = "pratique-system", "pratique-webhook-tls"
	if err := c.CreateNamespace(t.Context(), namespace, nil); err != nil {
		t.Fatal(err)
	}
	secrets := c.Client().CoreV1().Secrets(namespace)
	if _, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	configurations := c.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations()
	hooks := webhooks("keeper", nil, "https://127.0.0.1:1", "images", "policies")
	for i := range hooks.Webhooks { // nothing here is to be called
		hooks.Webhooks[i].NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"none": "such"}}
	}
	if _, err := configurations.Create(t.Context(), hooks, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config := keeperConfig(t, c, namespace, name, "keeper")

	var dirs []string
	var ready []<-chan struct{}
	for i := range 3 {
		dir := t.TempDir()
		dirs = append(dirs, dir)
		ready = append(ready, replica(t, config, InCluster{
			Namespace: namespace, Secret: name, Service: "pratique-webhook", CertDir: dir,
			WebhookConfigurations: []string{"keeper"}, controller: fmt.Sprintf("keeper-%d", i),
		}))
	}
	for i, r := range ready {
		select {
		case <-r:
		case <-time.After(time.Minute):
			t.Fatalf("replica %d was not ready within a minute", i)
		}
	}
	first := agree(t, configurationsOf(c, "keeper"), dirs)

	t.Run("the webhook object gets its CA back", func(t *testing.T) {
		patch := []byte(`[{"op":"remove","path":"/webhooks/1/clientConfig/caBundle"}]`)
		without, err := configurations.Patch(t.Context(), "keeper", types.JSONPatchType, patch, metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(without.Webhooks[1].ClientConfig.CABundle) > 0 {
			t.Fatal("the CA is still there")
		}
		agree(t, configurationsOf(c, "keeper"), dirs)
	})
	t.Run("the certificate is renewed under the same CA", func(t *testing.T) {
		before, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		patch := []byte(`[{"op":"remove","path":"/data/tls.crt"}]`) // as good as expired
		if _, err := secrets.Patch(t.Context(), name, types.JSONPatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the replicas have another certificate", func() bool {
			for _, dir := range dirs {
				if readLeaf(t, dir).Equal(first) {
					return false
				}
			}
			return true
		})
		agree(t, configurationsOf(c, "keeper"), dirs)
		after, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if string(after.Data[caCertFile]) != string(before.Data[caCertFile]) {
			t.Error("the CA changed with the certificate")
		}
	})
}

// agree waits until all replicas have one certificate that every webhook's caBundle vouches for, and returns it.
func agree(t *testing.T, read func() (*admissionregistrationv1.ValidatingWebhookConfiguration, error), dirs []string) *x509.Certificate {
	t.Helper()
	var leaf *x509.Certificate
	var why string
	eventuallyBecause(t, &why, func() bool {
		hooks, err := read()
		if err != nil {
			why = err.Error()
			return false
		}
		leaf = readLeaf(t, dirs[0])
		for _, hook := range hooks.Webhooks {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(hook.ClientConfig.CABundle)
			for _, host := range []string{"pratique-webhook.pratique-system.svc", "pratique-webhook.pratique-system.svc.cluster.local"} {
				if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots}); err != nil {
					why = fmt.Sprintf("%s: %v", hook.Name, err)
					return false
				}
			}
		}
		for i, dir := range dirs {
			if p, err := readPair(dir, certFile, keyFile); err != nil || p.fits() != nil || !readLeaf(t, dir).Equal(leaf) {
				why = fmt.Sprintf("replica %d has another certificate", i)
				return false
			}
		}
		return true
	})
	if left := time.Until(leaf.NotAfter); left > clusterLeafLife || left < clusterLeafLife-time.Hour {
		t.Errorf("the certificate is good for %s, want %s", left, clusterLeafLife)
	}
	return leaf
}

// eventuallyBecause is eventually, with what was wrong last.
func eventuallyBecause(t *testing.T, why *string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(60 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within a minute: %s", *why)
		}
	}
}

// replica starts a manager with the keeper alone.
func replica(t *testing.T, config *rest.Config, keeper InCluster) <-chan struct{} {
	t.Helper()
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Logger:                 logr.Discard(),
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
	})
	if err != nil {
		t.Fatal(err)
	}
	ready, err := keeper.AddTo(mgr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("a replica ended with %v", err)
		}
	})
	return ready
}

// keeperConfig is the access of a user who may do what the comment on InCluster says, and nothing else.
func keeperConfig(t *testing.T, c *cluster.Cluster, namespace, secret, configuration string) *rest.Config {
	t.Helper()
	const user = "keeper"
	rules := fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: keeper, namespace: %[1]s}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [secrets], verbs: [update], resourceNames: [%[4]s]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: keeper, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: keeper}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[3]s}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: keeper}
rules:
- {apiGroups: [admissionregistration.k8s.io], resources: [validatingwebhookconfigurations], verbs: [list, watch]}
- {apiGroups: [admissionregistration.k8s.io], resources: [validatingwebhookconfigurations], verbs: [update], resourceNames: [%[2]s]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: keeper}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: keeper}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[3]s}]
`, namespace, configuration, user, secret)
	kubectl := c.KubectlCommand(t.Context(), "apply", "-f", "-")
	kubectl.Stdin = strings.NewReader(rules)
	if out, err := kubectl.CombinedOutput(); err != nil {
		t.Fatalf("kubectl apply: %v\n%s", err, out)
	}
	config, err := c.UserConfig(user)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func configurationsOf(c *cluster.Cluster, name string) func() (*admissionregistrationv1.ValidatingWebhookConfiguration, error) {
	return func() (*admissionregistrationv1.ValidatingWebhookConfiguration, error) {
		return c.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(context.Background(), name, metav1.GetOptions{})
	}
}

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
