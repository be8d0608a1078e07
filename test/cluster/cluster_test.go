package cluster_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pratique-dev/pratique/test/cluster"
	"github.com/pratique-dev/pratique/test/cluster/clustertest"
)

// patience bounds what a test waits for on a busy machine; on an idle one it
// is there at once.
const patience = 30 * time.Second

func TestCluster(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	c := clustertest.ForTest(t, cluster.Options{})
	t.Logf("started in %v", time.Since(begin).Round(time.Millisecond))

	for _, test := range []struct {
		name string
		run  func(*testing.T, *cluster.Cluster)
	}{
		{"a Pod with an image volume is stored and read back", podIsStored},
		{"the pull secrets of the ServiceAccount are merged", pullSecretsAreMerged},
		{"a webhook on loopback refuses and annotates the audit log", webhookIsCalled},
		{"a user has only the rights that RBAC gives", userIsJudgedByRBAC},
		{"a kubeconfig is enough for another user", kubeconfigIsEnough},
		{"kubectl shows the API server's own words", kubectlSpeaks},
		{"the audit log tells who created what and how it ended", auditLogTells},
		{"waiting for an audit event that never comes ends in time", auditWaitEnds},
		{"a second API server is not started beside the one there is", secondStartIsRefused},
		// Last, for what it does to everybody else.
		{"a restarted API server has the same data at the same address", restartKeepsData},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, c) })
	}
}

func podIsStored(t *testing.T, c *cluster.Cluster) {
	namespace(t, c, "stored")
	pod := pod("app")
	pod.Spec.Volumes = []corev1.Volume{{
		Name: "model",
		VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{
			Reference: "registry.example.com/models/m:1", PullPolicy: corev1.PullIfNotPresent,
		}},
	}}
	create(t, c, "stored", pod)
	got, err := c.Client().CoreV1().Pods("stored").Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Spec.Containers[0].Image != "registry.example.com/app:1" {
		t.Errorf("image is %q", got.Spec.Containers[0].Image)
	}
	if diff := cmp.Diff(pod.Spec.Volumes[0], got.Spec.Volumes[0]); diff != "" {
		t.Errorf("image volume (-created +read):\n%s", diff)
	}
}

func pullSecretsAreMerged(t *testing.T, c *cluster.Cluster) {
	namespace(t, c, "merged")
	accounts := c.Client().CoreV1().ServiceAccounts("merged")
	account, err := accounts.Get(t.Context(), "default", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	account.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	if _, err := accounts.Update(t.Context(), account, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	// The admission plugin reads ServiceAccounts from a watch.
	deadline := time.Now().Add(patience)
	for {
		got, err := c.Client().CoreV1().Pods("merged").Create(t.Context(), pod("app"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			t.Fatal(err)
		}
		if cmp.Equal(got.Spec.ImagePullSecrets, account.ImagePullSecrets) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the Pod's pull secrets are %v, want %v", got.Spec.ImagePullSecrets, account.ImagePullSecrets)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func webhookIsCalled(t *testing.T, c *cluster.Cluster) {
	namespace(t, c, "hooked")
	hook := httptest.NewTLSServer(http.HandlerFunc(refuseAndAnnotate))
	defer hook.Close()
	configurations := c.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if _, err := configurations.Create(t.Context(), webhookConfiguration(hook), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	defer configurations.Delete(context.Background(), "test", metav1.DeleteOptions{})

	// The API server learns of the webhook by a watch: until then it allows.
	pods := c.Client().CoreV1().Pods("hooked")
	deadline := time.Now().Add(patience)
	var err error
	for time.Now().Before(deadline) {
		if _, err = pods.Create(t.Context(), pod("app"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	const want = `admission webhook "test.pratique.dev" denied the request: not today`
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
		t.Fatalf("got %v, want forbidden: %s", err, want)
	}
	event := auditEvent(t, c, func(e cluster.AuditEvent) bool {
		return e.ObjectRef.Namespace == "hooked" && e.ObjectRef.Resource == "pods" && e.ResponseStatus.Code == http.StatusForbidden
	})
	if got := event.Annotations["test.pratique.dev/decision"]; got != "refused" {
		t.Errorf("annotation decision is %q in %v", got, event.Annotations)
	}
}

func userIsJudgedByRBAC(t *testing.T, c *cluster.Cluster) {
	namespace(t, c, "judged")
	config, err := c.UserConfig("jo", "dev")
	if err != nil {
		t.Fatal(err)
	}
	jo, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = jo.CoreV1().Pods("judged").Create(t.Context(), pod("app"), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Fatalf("got %v, want forbidden", err)
	}
	event := auditEvent(t, c, func(e cluster.AuditEvent) bool { return e.User.Username == "jo" })
	if !slices.Contains(event.User.Groups, "dev") {
		t.Errorf("groups are %v, without dev", event.User.Groups)
	}
}

func kubeconfigIsEnough(t *testing.T, c *cluster.Cluster) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := c.WriteUserKubeconfig(file, "system:serviceaccount:ns:robot", "system:serviceaccounts"); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, err := c.Kubectl(t.Context(), "--kubeconfig", file, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
	if err != nil || stdout != "system:serviceaccount:ns:robot" {
		t.Errorf("whoami says %q, %q, %v", stdout, stderr, err)
	}
}

func kubectlSpeaks(t *testing.T, c *cluster.Cluster) {
	stdout, stderr, err := c.Kubectl(t.Context(), "get", "namespace", "default", "-o", "name")
	if err != nil || stdout != "namespace/default\n" {
		t.Errorf("kubectl get says %q, %q, %v", stdout, stderr, err)
	}
	_, stderr, err = c.Kubectl(t.Context(), "get", "namespace", "nowhere")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("error is %v, want exit status 1", err)
	}
	if want := "Error from server (NotFound): namespaces \"nowhere\" not found\n"; stderr != want {
		t.Errorf("stderr is %q, want %q", stderr, want)
	}
}

func auditLogTells(t *testing.T, c *cluster.Cluster) {
	namespace(t, c, "told")
	event := auditEvent(t, c, func(e cluster.AuditEvent) bool {
		return e.Verb == "create" && e.ObjectRef.Resource == "namespaces" && e.ObjectRef.Name == "told"
	})
	if event.User.Username != "admin" || event.ResponseStatus.Code != http.StatusCreated {
		t.Errorf("event is %+v, want user admin and code 201", event)
	}
	if event.Annotations["authorization.k8s.io/decision"] != "allow" {
		t.Errorf("annotations are %v", event.Annotations)
	}
}

func auditWaitEnds(t *testing.T, c *cluster.Cluster) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := c.WaitForAuditEvent(ctx, func(cluster.AuditEvent) bool { return false })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
}

func secondStartIsRefused(t *testing.T, c *cluster.Cluster) {
	if err := c.StartAPIServer(t.Context()); err == nil {
		t.Error("a second API server was started")
	}
}

func restartKeepsData(t *testing.T, c *cluster.Cluster) {
	namespace(t, c, "kept")
	create(t, c, "kept", pod("app"))
	before, err := c.AuditEvents()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := c.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	if _, err := c.Client().CoreV1().Pods("kept").Get(t.Context(), "app", metav1.GetOptions{}); err == nil {
		t.Error("a stopped API server answered")
	}
	if err := c.RestartAPIServer(t.Context()); err != nil { // of a stopped one: a start
		t.Fatal(err)
	}
	t.Logf("stopped in %v, ready again in %v", stopped.Sub(begin).Round(time.Millisecond), time.Since(stopped).Round(time.Millisecond))
	if _, err := c.Client().CoreV1().Pods("kept").Get(t.Context(), "app", metav1.GetOptions{}); err != nil {
		t.Errorf("the Pod is gone: %v", err)
	}
	create(t, c, "kept", pod("later"))
	auditEvent(t, c, func(e cluster.AuditEvent) bool { return e.ObjectRef.Name == "later" })
	after, err := c.AuditEvents()
	if err != nil {
		t.Fatal(err)
	}
	if len(after) <= len(before) {
		t.Errorf("%d audit events after the restart, %d before", len(after), len(before))
	}
}

func TestControllerManagerTurnsADeploymentIntoPods(t *testing.T) {
	t.Parallel()
	c := clustertest.ForTest(t, cluster.Options{ControllerManager: true})
	namespace(t, c, "web")
	labels := map[string]string{"app": "web"}
	template := pod("")
	template.Labels = labels
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: template.ObjectMeta, Spec: template.Spec},
		},
	}
	if _, err := c.Client().AppsV1().Deployments("web").Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	event := auditEvent(t, c, func(e cluster.AuditEvent) bool {
		return e.Verb == "create" && e.ObjectRef.Resource == "pods" && e.ObjectRef.Namespace == "web"
	})
	if want := "system:serviceaccount:kube-system:replicaset-controller"; event.User.Username != want || event.ResponseStatus.Code != http.StatusCreated {
		t.Errorf("the Pod was created by %q with code %d, want %q and 201", event.User.Username, event.ResponseStatus.Code, want)
	}
}

func TestStopRemovesTheDirectoryAndKeepsTheLogs(t *testing.T) {
	t.Parallel()
	dir, logs := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "logs")
	c := clustertest.ForTest(t, cluster.Options{Dir: dir, LogDir: logs})
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
	for _, name := range []string{"etcd.log", "kube-apiserver.log", "audit.log"} {
		if info, err := os.Stat(filepath.Join(logs, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s was not kept: %v", name, err)
		}
	}
	if _, _, err := c.Kubectl(t.Context(), "get", "namespaces"); err == nil {
		t.Error("a stopped cluster answered kubectl")
	}
	if err := c.Stop(); err != nil {
		t.Errorf("stopping again: %v", err)
	}
}

func TestStartQuotesTheLogOfAProgramThatDies(t *testing.T) {
	t.Parallel()
	if _, err := cluster.Binaries(); err != nil && testing.Short() {
		t.Skipf("-short, and no API server to start: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "state")
	_, err := cluster.Start(t.Context(), cluster.Options{Dir: dir, APIServerFlags: []string{"--no-such-flag"}})
	if err == nil || !strings.Contains(err.Error(), "kube-apiserver ended (exit status 1)") || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestStartRefusesADirectoryThatIsInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	precious := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := cluster.Start(t.Context(), cluster.Options{Dir: dir, Binaries: programs(t, "etcd", "kube-apiserver", "kubectl")})
	if err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

// namespace makes a namespace and removes nothing: each test has its own.
func namespace(t *testing.T, c *cluster.Cluster, name string) {
	t.Helper()
	if err := c.CreateNamespace(t.Context(), name, nil); err != nil {
		t.Fatal(err)
	}
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example.com/app:1"}}},
	}
}

func create(t *testing.T, c *cluster.Cluster, namespace string, pod *corev1.Pod) {
	t.Helper()
	if _, err := c.Client().CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func auditEvent(t *testing.T, c *cluster.Cluster, match func(cluster.AuditEvent) bool) cluster.AuditEvent {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	event, err := c.WaitForAuditEvent(ctx, match)
	if err != nil {
		t.Fatal(err)
	}
	return event
}

// refuseAndAnnotate is the smallest webhook that says no.
func refuseAndAnnotate(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 7<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil || review.Request == nil {
		http.Error(w, "not a review", http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{
		UID:              review.Request.UID,
		Result:           &metav1.Status{Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: "not today"},
		AuditAnnotations: map[string]string{"decision": "refused"},
	}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review) // the API server reports what it could not read
}

func webhookConfiguration(hook *httptest.Server) *admissionregistrationv1.ValidatingWebhookConfiguration {
	url := hook.URL + "/validate"
	none := admissionregistrationv1.SideEffectClassNone
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hook.Certificate().Raw})
	return &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "test"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name:                    "test.pratique.dev",
			AdmissionReviewVersions: []string{"v1"},
			SideEffects:             &none,
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: ca},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "hooked"}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}
}

// programs makes a directory with files that look like programs.
func programs(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
