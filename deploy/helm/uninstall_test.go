package helm

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/test/cluster"
	"github.com/pratique-dev/pratique/test/cluster/clustertest"
)

// hooks returns the hooks that helm renders beside everything else.
func hooks(t *testing.T, args ...string) []client.Object {
	t.Helper()
	return slices.DeleteFunc(decode(t, withHooks(t, chart, args...)), func(o client.Object) bool { return o.GetAnnotations()["helm.sh/hook"] == "" })
}

// TestTheUninstallHookIsTheWebhookObjectsWithoutWebhooks: of the same kinds and names, so that helm deletes those
// before it makes these, and only on uninstall.
func TestTheUninstallHookIsTheWebhookObjectsWithoutWebhooks(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args []string
		want map[string]int
	}{
		"as it comes":              {nil, map[string]int{"ValidatingWebhookConfiguration": 1, "MutatingWebhookConfiguration": 1}},
		"outside the cluster":      {outside(t), map[string]int{"ValidatingWebhookConfiguration": 1, "MutatingWebhookConfiguration": 1}},
		"without pinning":          {values(t, "pin: {enabled: false}"), map[string]int{"ValidatingWebhookConfiguration": 1}},
		"turned off":               {values(t, "uninstallHook: false"), map[string]int{}},
		"a release called another": {[]string{"--name-template", "other"}, map[string]int{"ValidatingWebhookConfiguration": 1, "MutatingWebhookConfiguration": 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := hooks(t, c.args...)
			if diff := cmp.Diff(c.want, kinds(found)); diff != "" {
				t.Errorf("hooks by kind (-want +rendered):\n%s", diff)
			}
			object := only[*admissionregistrationv1.ValidatingWebhookConfiguration](t, decode(t, template(t, c.args...))).Name
			for _, hook := range found {
				annotations := hook.GetAnnotations()
				if hook.GetName() != object || annotations["helm.sh/hook"] != "pre-delete" || annotations["helm.sh/hook-delete-policy"] != "before-hook-creation,hook-succeeded" {
					t.Errorf("%T %s: %s", hook, hook.GetName(), annotations)
				}
				switch hook := hook.(type) {
				case *admissionregistrationv1.ValidatingWebhookConfiguration:
					if len(hook.Webhooks) != 0 {
						t.Errorf("it asks %d webhooks", len(hook.Webhooks))
					}
				case *admissionregistrationv1.MutatingWebhookConfiguration:
					if len(hook.Webhooks) != 0 {
						t.Errorf("it asks %d webhooks", len(hook.Webhooks))
					}
				}
			}
		})
	}
}

// release is one on a real API server, where no webhook runs: with failurePolicy Fail, every Pod is refused.
type release struct {
	*cluster.Cluster
	kube kubernetes.Interface
}

// helm runs helm against the cluster.
func (r release) helm(t *testing.T, args ...string) {
	t.Helper()
	stdout, stderr, err := run(t, append(args, "--namespace", Namespace, "--kubeconfig", r.Kubeconfig())...)
	if err != nil {
		t.Fatalf("helm %s: %v\n%s%s", args, err, stdout, stderr)
	}
}

// objects returns the webhook objects, whoever's they are.
func (r release) objects(t *testing.T) ([]admissionregistrationv1.ValidatingWebhookConfiguration, []admissionregistrationv1.MutatingWebhookConfiguration) {
	t.Helper()
	validating, err := r.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mutating, err := r.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return validating.Items, mutating.Items
}

// asked says whom the API server asks: each object's UID, and its webhooks with the length of the CA they have.
func (r release) asked(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	validating, mutating := r.objects(t)
	for _, o := range validating {
		says := []string{string(o.UID)}
		for _, w := range o.Webhooks {
			says = append(says, fmt.Sprintf("%s %d", w.Name, len(w.ClientConfig.CABundle)))
		}
		found["validating "+o.Name] = says
	}
	for _, o := range mutating {
		says := []string{string(o.UID)}
		for _, w := range o.Webhooks {
			says = append(says, fmt.Sprintf("%s %d", w.Name, len(w.ClientConfig.CABundle)))
		}
		found["mutating "+o.Name] = says
	}
	return found
}

// fillCA writes a CA into every webhook, as cert-controller and cert-manager do.
func (r release) fillCA(t *testing.T) {
	t.Helper()
	admission := r.kube.AdmissionregistrationV1()
	validating, mutating := r.objects(t)
	for _, o := range validating {
		for i := range o.Webhooks {
			o.Webhooks[i].ClientConfig.CABundle = []byte(someCertificate)
		}
		if _, err := admission.ValidatingWebhookConfigurations().Update(t.Context(), &o, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range mutating {
		for i := range o.Webhooks {
			o.Webhooks[i].ClientConfig.CABundle = []byte(someCertificate)
		}
		if _, err := admission.MutatingWebhookConfigurations().Update(t.Context(), &o, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// pod tries to make a Pod, and makes none.
func (r release) pod(ctx context.Context) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: unsigned}}}}
	_, err := r.kube.CoreV1().Pods("shop").Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// eventually waits until the API server has taken up what it was told.
func (r release) eventually(t *testing.T, what string, is func(error) bool) {
	t.Helper()
	var err error
	for range 100 {
		if err = r.pod(t.Context()); is(err) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s: %v", what, err)
}

// deletions notes the names of webhook objects and Deployments as they are deleted, in the order of the API server's
// own revisions.
type deletions struct {
	mu   sync.Mutex
	seen map[string]string // by what it was: the revision
}

func (d *deletions) follow(t *testing.T, what string, start func(context.Context, metav1.ListOptions) (watch.Interface, error)) {
	t.Helper()
	events, err := start(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(events.Stop)
	go func() {
		for event := range events.ResultChan() {
			if event.Type != watch.Deleted {
				continue
			}
			if object, err := meta.Accessor(event.Object); err == nil {
				d.mu.Lock()
				if _, before := d.seen[what]; !before { // the hook's own is deleted after it
					d.seen[what] = object.GetResourceVersion()
				}
				d.mu.Unlock()
			}
		}
	}()
}

// TestUninstallTakesTheWebhooksAwayFirst runs helm against a real API server: an upgrade and a rollback keep the
// webhook objects and their CA, the output of helm template can't empty them, and uninstall leaves nobody to ask.
func TestUninstallTakesTheWebhooksAwayFirst(t *testing.T) {
	t.Parallel()
	c := clustertest.ForTest(t, cluster.Options{})
	r := release{c, c.Client()}
	for _, ns := range []string{Namespace, "shop"} {
		if err := c.CreateNamespace(t.Context(), ns, nil); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(err error) bool {
		return err != nil && strings.Contains(err.Error(), `failed calling webhook "`+imagesWebhook+`"`)
	}
	passes := func(err error) bool { return err == nil }

	r.helm(t, "install", "pratique", chart)
	r.fillCA(t)
	r.eventually(t, "with the webhook installed and nobody there, a Pod", refused)
	installed := r.asked(t)
	if len(installed) != 2 || len(installed["validating pratique"]) != webhooks-pinning+1 || len(installed["mutating pratique"]) != pinning+1 {
		t.Fatalf("installed are %s", installed)
	}

	for _, command := range [][]string{{"upgrade", "pratique", chart, "--set", "logLevel=debug"}, {"rollback", "pratique", "1"}} {
		r.helm(t, command...)
		if diff := cmp.Diff(installed, r.asked(t)); diff != "" {
			t.Errorf("helm %s (-before +after):\n%s", command[0], diff)
		}
	}
	r.helm(t, "upgrade", "pratique", chart, "--set", "pin.enabled=false")
	if now := r.asked(t); len(now) != 1 || len(now["validating pratique"]) != webhooks-pinning+1 {
		t.Errorf("after an upgrade without pinning there are %s", now)
	}
	r.helm(t, "rollback", "pratique", "1")
	r.fillCA(t)
	installed = r.asked(t)

	rendering := strings.Join(withHooks(t, chart, "--show-only", "templates/webhooks.yaml", "--show-only", "templates/uninstall.yaml"), "---\n")
	for _, how := range [][]string{{"apply", "-f", "-"}, {"apply", "--server-side", "--force-conflicts", "-f", "-"}, {"replace", "-f", "-"}} {
		apply := c.KubectlCommand(t.Context(), how...)
		apply.Stdin = strings.NewReader(rendering)
		said, err := apply.CombinedOutput()
		if err == nil || strings.Count(string(said), "metadata.deletionGracePeriodSeconds: Invalid value: 0: field is immutable") != 2 {
			t.Errorf("kubectl %s of helm template's output, hooks and all: %v\n%s", how, err, said)
		}
		for object, says := range r.asked(t) {
			if len(says) != len(installed[object]) {
				t.Errorf("kubectl %s left %s with %s", how, object, says)
			}
		}
	}

	gone := &deletions{seen: map[string]string{}}
	gone.follow(t, "validating", r.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Watch)
	gone.follow(t, "mutating", r.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Watch)
	gone.follow(t, "deployment", r.kube.AppsV1().Deployments(Namespace).Watch)
	r.helm(t, "uninstall", "pratique")
	if left := r.asked(t); len(left) != 0 {
		t.Errorf("after uninstall there are %s", left)
	}
	r.eventually(t, "with nobody to be asked, a Pod", passes)
	gone.check(t)

	r.helm(t, "install", "pratique", chart, "--set", "uninstallHook=false")
	r.eventually(t, "with the webhook installed again, a Pod", refused)
	r.helm(t, "uninstall", "pratique")
	if left := r.asked(t); len(left) != 0 {
		t.Errorf("after uninstall without the hook there are %s", left)
	}
}

// check waits for all three deletions, and compares the revisions.
func (d *deletions) check(t *testing.T) {
	t.Helper()
	var at [3]uint64
	for range 100 {
		d.mu.Lock()
		for i, what := range []string{"validating", "mutating", "deployment"} {
			at[i], _ = strconv.ParseUint(d.seen[what], 10, 64)
		}
		d.mu.Unlock()
		if !slices.Contains(at[:], 0) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if slices.Contains(at[:], 0) || at[0] > at[2] || at[1] > at[2] {
		t.Errorf("deleted at the revisions %d (validating, mutating, Deployment): want the webhook objects first", at)
	}
}
