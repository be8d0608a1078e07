package server

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/pratique-dev/pratique/test/cluster"
)

func TestInClusterNeedsItsNames(t *testing.T) {
	t.Parallel()
	whole := InCluster{Namespace: "n", Secret: "s", Service: "w", CertDir: t.TempDir(), WebhookConfigurations: []string{"c"}}
	for name, change := range map[string]func(*InCluster){
		"no namespace":     func(c *InCluster) { c.Namespace = "" },
		"no Secret":        func(c *InCluster) { c.Secret = "" },
		"no Service":       func(c *InCluster) { c.Service = "" },
		"no directory":     func(c *InCluster) { c.CertDir = "" },
		"no configuration": func(c *InCluster) { c.WebhookConfigurations = nil },
		"no configuration but a mutating one": func(c *InCluster) {
			c.WebhookConfigurations, c.MutatingWebhookConfigurations = nil, []string{"c"}
		},
		"a configuration without a name":          func(c *InCluster) { c.WebhookConfigurations = []string{"c", ""} },
		"a mutating configuration without a name": func(c *InCluster) { c.MutatingWebhookConfigurations = []string{""} },
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
// the certificate is renewed under the same CA, and the CA stays in the webhook objects whoever writes there.
func testReplicasShareACertificate(t *testing.T, c *cluster.Cluster) {
	const namespace, name = "pratique-system", "pratique-webhook-tls"
	createSecret(t, c, namespace, name)
	validating := c.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if _, err := validating.Create(t.Context(), uncalled("keeper", "images", "policies"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	mutating := c.Client().AdmissionregistrationV1().MutatingWebhookConfigurations()
	if _, err := mutating.Create(t.Context(), mutatingOf(uncalled("keeper", "pin", "other")), metav1.CreateOptions{}); err != nil {
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
			WebhookConfigurations: []string{"keeper"}, MutatingWebhookConfigurations: []string{"keeper"},
			controller: fmt.Sprintf("keeper-%d", i),
		}))
	}
	for i, r := range ready {
		select {
		case <-r:
		case <-time.After(time.Minute):
			t.Fatalf("replica %d was not ready within a minute", i)
		}
	}
	bundles := bundlesOf(c, "keeper", "images", "policies", "pin", "other")
	first := agree(t, bundles, dirs)

	// Each edits an object and returns the caBundle of its second webhook, as it is then.
	for kind, patch := range map[string]func(how string) ([]byte, error){
		"validating": func(how string) ([]byte, error) {
			edited, err := validating.Patch(t.Context(), "keeper", types.JSONPatchType, []byte(how), metav1.PatchOptions{})
			return edited.Webhooks[1].ClientConfig.CABundle, err
		},
		"mutating": func(how string) ([]byte, error) {
			edited, err := mutating.Patch(t.Context(), "keeper", types.JSONPatchType, []byte(how), metav1.PatchOptions{})
			return edited.Webhooks[1].ClientConfig.CABundle, err
		},
	} {
		for what, edit := range map[string]string{
			"is taken away": `[{"op":"remove","path":"/webhooks/1/clientConfig/caBundle"}]`,
			"is another's":  fmt.Sprintf(`[{"op":"replace","path":"/webhooks/1/clientConfig/caBundle","value":%q}]`, foreignBundle(t)),
		} {
			t.Run("the "+kind+" object gets its CA back where it "+what, func(t *testing.T) {
				before, err := bundles(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				after, err := patch(edit)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Equal(after, before["pin.pratique.dev"]) {
					t.Fatal("the CA is still there")
				}
				agree(t, bundles, dirs)
			})
		}
	}
	t.Run("a mutating object that comes again gets its CA", func(t *testing.T) {
		if err := mutating.Delete(t.Context(), "keeper", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := mutating.Create(t.Context(), mutatingOf(uncalled("keeper", "pin", "other")), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		agree(t, bundles, dirs)
	})
	t.Run("the certificate is renewed under the same CA", func(t *testing.T) {
		secrets := c.Client().CoreV1().Secrets(namespace)
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
		agree(t, bundles, dirs)
		after, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if string(after.Data[caCertFile]) != string(before.Data[caCertFile]) {
			t.Error("the CA changed with the certificate")
		}
	})
}

// testAMissingObjectKeepsNobodyFromReadiness starts replicas of which either object is missing, or both: pinning is off, an
// admin has stood down, or the chart isn't there yet. What isn't there calls nobody; when it comes it gets its CA.
func testAMissingObjectKeepsNobodyFromReadiness(t *testing.T, c *cluster.Cluster) {
	for name, has := range map[string]struct{ validating, mutating bool }{
		"no-mutating":   {validating: true},
		"no-validating": {mutating: true},
		"neither":       {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := "system-" + name
			createSecret(t, c, namespace, name)
			config := keeperConfig(t, c, namespace, name, name)
			validating, mutating := uncalled(name, "images"), mutatingOf(uncalled(name, "pin"))
			create := func(v, m bool) {
				t.Helper()
				registration := c.Client().AdmissionregistrationV1()
				if v {
					if _, err := registration.ValidatingWebhookConfigurations().Create(t.Context(), validating, metav1.CreateOptions{}); err != nil {
						t.Fatal(err)
					}
				}
				if m {
					if _, err := registration.MutatingWebhookConfigurations().Create(t.Context(), mutating, metav1.CreateOptions{}); err != nil {
						t.Fatal(err)
					}
				}
			}
			create(has.validating, has.mutating)
			dir := t.TempDir()
			ready := replica(t, config, InCluster{
				Namespace: namespace, Secret: name, Service: "pratique-webhook", CertDir: dir,
				WebhookConfigurations: []string{name}, MutatingWebhookConfigurations: []string{name}, controller: name,
			})
			select {
			case <-ready:
			case <-time.After(time.Minute):
				t.Fatal("not ready within a minute")
			}
			create(!has.validating, !has.mutating)
			agree(t, bundlesOf(c, name, "images", "pin"), []string{dir}, "pratique-webhook."+namespace+".svc")
		})
	}
}

// createSecret makes a namespace with an empty Secret.
func createSecret(t *testing.T, c *cluster.Cluster, namespace, name string) {
	t.Helper()
	if err := c.CreateNamespace(t.Context(), namespace, nil); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := c.Client().CoreV1().Secrets(namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// foreignBundle is the CA of somebody else, as JSON has it.
func foreignBundle(t *testing.T) string {
	t.Helper()
	d := &CertDir{Dir: t.TempDir()}
	if err := d.Ensure(); err != nil {
		t.Fatal(err)
	}
	bundle, err := d.CABundle()
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(bundle)
}

// bundlesOf reads the caBundles of the objects of that name, by webhook: those of the given paths, no others.
func bundlesOf(c *cluster.Cluster, name string, paths ...string) func(context.Context) (map[string][]byte, error) {
	return func(ctx context.Context) (map[string][]byte, error) {
		validating, err := c.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		mutating, err := c.Client().AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		bundles := map[string][]byte{}
		for _, hook := range validating.Webhooks {
			bundles[hook.Name] = hook.ClientConfig.CABundle
		}
		for _, hook := range mutating.Webhooks {
			bundles[hook.Name] = hook.ClientConfig.CABundle
		}
		for _, path := range paths {
			if _, ok := bundles[path+".pratique.dev"]; !ok || len(bundles) != len(paths) {
				return nil, fmt.Errorf("the objects have the webhooks %v, want %v", slices.Sorted(maps.Keys(bundles)), paths)
			}
		}
		return bundles, nil
	}
}

// agree waits until all replicas have one certificate that every webhook's caBundle vouches for, and returns it.
func agree(t *testing.T, read func(context.Context) (map[string][]byte, error), dirs []string, hosts ...string) *x509.Certificate {
	t.Helper()
	if len(hosts) == 0 {
		hosts = []string{"pratique-webhook.pratique-system.svc", "pratique-webhook.pratique-system.svc.cluster.local"}
	}
	var leaf *x509.Certificate
	var why string
	eventuallyBecause(t, &why, func() bool {
		bundles, err := read(t.Context())
		if err != nil {
			why = err.Error()
			return false
		}
		leaf = readLeaf(t, dirs[0])
		for name, bundle := range bundles {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(bundle)
			for _, host := range hosts {
				if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots}); err != nil {
					why = fmt.Sprintf("%s: %v", name, err)
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
	user := "keeper-of-" + configuration
	rules := fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: %[3]s, namespace: %[1]s}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [secrets], verbs: [update], resourceNames: [%[4]s]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: %[3]s, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %[3]s}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[3]s}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: %[3]s}
rules:
- {apiGroups: [admissionregistration.k8s.io], resources: [validatingwebhookconfigurations, mutatingwebhookconfigurations], verbs: [list, watch]}
- {apiGroups: [admissionregistration.k8s.io], resources: [validatingwebhookconfigurations, mutatingwebhookconfigurations], verbs: [update], resourceNames: [%[2]s]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[3]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %[3]s}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[3]s}]
`, namespace, configuration, user, secret)
	return userWith(t, c, user, rules)
}

// userWith is the access of a user who may do what the given objects say.
func userWith(t *testing.T, c *cluster.Cluster, user, rules string) *rest.Config {
	t.Helper()
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

// uncalled is a configuration with one webhook for each path, that nobody is to call.
func uncalled(name string, paths ...string) *admissionregistrationv1.ValidatingWebhookConfiguration {
	configuration := webhooks(name, nil, "https://127.0.0.1:1", paths...)
	for i := range configuration.Webhooks {
		configuration.Webhooks[i].NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"none": "such"}}
	}
	return configuration
}

// mutatingOf is the same for mutating webhooks.
func mutatingOf(v *admissionregistrationv1.ValidatingWebhookConfiguration) *admissionregistrationv1.MutatingWebhookConfiguration {
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: v.ObjectMeta}
	for _, hook := range v.Webhooks {
		configuration.Webhooks = append(configuration.Webhooks, admissionregistrationv1.MutatingWebhook{
			Name: hook.Name, ClientConfig: hook.ClientConfig, FailurePolicy: hook.FailurePolicy, SideEffects: hook.SideEffects,
			TimeoutSeconds: hook.TimeoutSeconds, AdmissionReviewVersions: hook.AdmissionReviewVersions,
			NamespaceSelector: hook.NamespaceSelector, Rules: hook.Rules,
		})
	}
	return configuration
}
