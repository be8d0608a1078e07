package compile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/cluster"
	"github.com/pratique-dev/pratique/test/cluster/clustertest"
)

const (
	chart = "../../deploy/helm/pratique/"
	// install is the namespace that the chart's golden rendering is of.
	install = "pratique-system"
	// patience bounds what is waited for: keys are read again after 30 s, and the machine may be busy.
	patience = 3 * time.Minute

	firstKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
`
	secondKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEtR3zH3Bu48vW2CKcTEq99+RKOW1p
PWtLPtbhBtWrkHqIEnIaOWLRqvdtI/s4CURyQ4apUWXqT2y+UNqg7B1ioA==
-----END PUBLIC KEY-----
`
)

// bench is a cluster with our CRDs, and a Store and a StatusWriter in it that have only the rights that the chart gives.
type bench struct {
	*cluster.Cluster
	store *compile.Store
	admin client.Client
}

func TestAgainstARealAPIServer(t *testing.T) {
	t.Parallel()
	c := clustertest.ForTest(t, cluster.Options{})
	for _, crd := range []string{"imagepolicies", "clusterimagepolicies", "trustroots", "imageexceptions"} {
		if _, stderr, err := c.Kubectl(t.Context(), "apply", "--server-side", "-f", chart+"crd-bases/pratique.dev_"+crd+".yaml"); err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
	}
	if _, stderr, err := c.Kubectl(t.Context(), "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	for _, ns := range []string{install, "payments", "dev"} {
		if err := c.CreateNamespace(t.Context(), ns, map[string]string{"env": ns}); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench{Cluster: c, admin: newClient(t, c.RESTConfig())}
	b.start(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"a policy is in force and its status published", inForce},
		{"a typo that the schema keeps makes the policy refuse", typoKept},
		{"a cluster policy selects by labels, also of a new namespace", newNamespaces},
		{"a key in a Secret is waited for, then in use, then replaced", keyInSecret},
		{"a TrustRoot is read, refused where it is wrong, and followed", trustRoots},
		{"exceptions that nobody looked at are judged where they are used", exceptions},
		{"the CLI finds what the webhook found, without access to Secrets", askedByTheCLI},
		{"a restarted API server's policies are followed again", restarted},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, b) })
	}
}

func newScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	return s
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{Scheme: newScheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start starts the Store as main does, with the chart's own ClusterRole.
func (b *bench) start(t *testing.T) {
	t.Helper()
	config := b.asWebhook(t)
	informers, err := cache.New(config, cache.Options{Scheme: newScheme(t), DefaultTransform: cache.TransformStripManagedFields()})
	if err != nil {
		t.Fatal(err)
	}
	live := newClient(t, config)
	b.store, err = compile.NewStore(compile.StoreConfig{Informers: informers, Live: live, Namespace: install})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Set(t.Context(), "payments"); !errors.Is(err, compile.ErrNotSynced) {
		t.Errorf("before the start: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	parts := []func(context.Context) error{informers.Start, b.store.Start, compile.NewStatusWriter(b.store, live).Start}
	for _, start := range parts {
		go func() { done <- start(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range parts {
			if err := <-done; err != nil {
				t.Errorf("a part ended with %v", err)
			}
		}
	})
	eventually(t, "synced", func() error {
		if !b.store.Synced() {
			return compile.ErrNotSynced
		}
		return nil
	})
}

// asWebhook is a user with the rights of the chart's ClusterRole, and no other.
func (b *bench) asWebhook(t *testing.T) *rest.Config {
	t.Helper()
	golden, err := os.ReadFile(chart + "testdata/golden/default.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole
	for document := range bytes.SplitSeq(golden, []byte("\n---\n")) {
		if bytes.Contains(document, []byte("\nkind: ClusterRole\n")) || bytes.HasPrefix(document, []byte("kind: ClusterRole\n")) {
			if err := yaml.Unmarshal(document, &role); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(role.Rules) == 0 {
		t.Fatal("the chart has no ClusterRole")
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "webhook"}},
	}
	for _, obj := range []client.Object{&role, binding} {
		if err := b.admin.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
	config, err := b.UserConfig("webhook")
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within %v: %v", what, patience, err)
}

func (b *bench) apply(t *testing.T, text string) {
	t.Helper()
	cmd := b.KubectlCommand(t.Context(), "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, text)
	}
}

func imagePolicy(namespace, name, spec string) string {
	return "apiVersion: pratique.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nspec:\n  " + strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ") + "\n"
}

func inline(key string) string {
	return "images: {include: [registry.example.com/**]}\nauthorities:\n- name: release\n  key:\n    data: |\n      " +
		strings.ReplaceAll(strings.TrimSpace(key), "\n", "\n      ") + "\nrequire: {signature: {by: [release]}}"
}

// find returns a policy of a namespace, as the Store has it.
func (b *bench) find(t *testing.T, namespace, name string) (*policy.Policy, error) {
	t.Helper()
	set, err := b.store.Set(t.Context(), namespace)
	if err != nil {
		return nil, err
	}
	for _, p := range set.All() {
		if p.Name.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no policy %s in %s", name, namespace)
}

// usable waits for a policy to be usable.
func (b *bench) usable(t *testing.T, namespace, name string) (found *policy.Policy) {
	t.Helper()
	eventually(t, name+" usable", func() error {
		p, err := b.find(t, namespace, name)
		if err == nil && p.Unusable != "" {
			err = errors.New(p.Unusable)
		}
		found = p
		return err
	})
	return found
}

// ready waits for a status whose condition Ready has a reason, and is about the object's own generation.
func (b *bench) ready(t *testing.T, namespace, name, reason string) (p v1alpha1.ImagePolicy) {
	t.Helper()
	eventually(t, "status of "+name, func() error {
		if err := b.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &p); err != nil {
			return err
		}
		c := meta.FindStatusCondition(p.Status.Conditions, compile.ConditionReady)
		if c == nil || c.Reason != reason || p.Status.ObservedGeneration != p.Generation {
			return fmt.Errorf("%+v", p.Status)
		}
		return nil
	})
	return p
}

func inForce(t *testing.T, b *bench) {
	b.apply(t, imagePolicy("payments", "inline", "references: {tags: Pin}\n"+strings.Replace(inline(firstKey), "/**]", "/**], platforms: [linux/amd64]", 1)))
	p := b.usable(t, "payments", "inline")
	got := b.ready(t, "payments", "inline", compile.ReasonCompiled)
	if got.Status.PolicyDigest != p.Digest || got.Status.Mode != v1alpha1.ModeEnforce || got.Status.Authorities[0].PublicKeys[0].PEM != firstKey {
		t.Errorf("status %+v", got.Status)
	}
	if c := meta.FindStatusCondition(got.Status.Conditions, compile.ConditionGuaranteed); c == nil || c.Status != metav1.ConditionTrue || c.Reason != compile.ReasonRolloutEnforce {
		t.Errorf("Guaranteed: %+v", c)
	}
	stdout, stderr, err := b.Kubectl(t.Context(), "-n", "payments", "get", "pip", "inline")
	words := strings.Fields(stdout)
	if want := strings.Fields("NAME MODE READY RULE GUARANTEED AGE inline Enforce True require signature by release True"); err != nil || len(words) != len(want)+1 || !slices.Equal(words[:len(want)], want) {
		t.Errorf("kubectl get: %v %s\n%s", err, stderr, stdout)
	}

	// What was written isn't written again: the object stays as it is.
	time.Sleep(2 * time.Second)
	if again := b.ready(t, "payments", "inline", compile.ReasonCompiled); again.ResourceVersion != got.ResourceVersion {
		t.Errorf("written again, from %s to %s", got.ResourceVersion, again.ResourceVersion)
	}
	b.apply(t, imagePolicy("payments", "inline", "mode: Audit\n"+inline(secondKey)))
	eventually(t, "the edit", func() error {
		now, err := b.find(t, "payments", "inline")
		if err == nil && (now.Mode != policy.Audit || now.Digest == p.Digest) {
			err = errors.New("the old one")
		}
		return err
	})
	eventually(t, "nothing guaranteed of what refuses nothing", func() error {
		got := b.ready(t, "payments", "inline", compile.ReasonCompiled)
		if c := meta.FindStatusCondition(got.Status.Conditions, compile.ConditionGuaranteed); c != nil {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	if _, stderr, err := b.Kubectl(t.Context(), "-n", "payments", "delete", "pip", "inline"); err != nil {
		t.Fatal(stderr)
	}
	eventually(t, "the deletion", func() error {
		if _, err := b.find(t, "payments", "inline"); err == nil {
			return errors.New("still there")
		}
		return nil
	})
}

func typoKept(t *testing.T, b *bench) {
	b.apply(t, imagePolicy("payments", "typo", strings.Replace(inline(firstKey), "by: [release]", "by: [release], atleast: 2", 1)))
	b.apply(t, imagePolicy("payments", "typo-above", "refernces: {tags: Allow}\n"+inline(firstKey)))
	b.ready(t, "payments", "typo-above", compile.ReasonInvalidField)
	got := b.ready(t, "payments", "typo", compile.ReasonInvalidField)
	p, err := b.find(t, "payments", "typo")
	if err != nil || !strings.Contains(p.Unusable, `unknown field "spec.require.signature.atleast"`) {
		t.Errorf("%v, %+v", err, p)
	}
	if c := got.Status.Conditions[0]; c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "atleast") {
		t.Errorf("%+v", c)
	}
}

func newNamespaces(t *testing.T, b *bench) {
	b.apply(t, "apiVersion: pratique.dev/v1alpha1\nkind: ClusterImagePolicy\nmetadata: {name: selecting}\nspec:\n  namespaceSelector: {matchLabels: {team: web}}\n  images: {include: ['**']}\n  deny: {reason: r}\n")
	t.Cleanup(func() {
		if _, stderr, err := b.Kubectl(context.Background(), "delete", "cpip", "selecting"); err != nil {
			t.Error(stderr)
		}
	})
	for i := range 50 { // each asked for in the moment in which it is made: the informer may lag behind
		name := fmt.Sprintf("web-%d", i)
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": "web"}}}
		if i == 0 {
			eventually(t, "the policy", func() error {
				var p v1alpha1.ClusterImagePolicy
				if err := b.admin.Get(t.Context(), client.ObjectKey{Name: "selecting"}, &p); err != nil {
					return err
				}
				if p.Status.ObservedGeneration == 0 {
					return errors.New("not seen yet")
				}
				return nil
			})
		}
		if err := b.admin.Create(t.Context(), ns); err != nil {
			t.Fatal(err)
		}
		if _, err := b.find(t, name, "selecting"); err != nil {
			t.Errorf("%s escapes: %v", name, err)
		}
	}
	if _, err := b.find(t, "payments", "selecting"); err == nil {
		t.Error("payments is selected")
	}
	if _, err := b.store.Set(t.Context(), "nowhere"); !errors.Is(err, compile.ErrNamespaceUnknown) {
		t.Errorf("a namespace that isn't there: %v", err)
	}
}

const fromSecret = `
images: {include: [registry.example.com/**]}
authorities:
- name: release
  key: {secretRef: {name: cosign-pub, key: cosign.pub}}
require: {signature: {by: [release]}}`

func keyInSecret(t *testing.T, b *bench) {
	b.apply(t, imagePolicy("payments", "secret", fromSecret))
	got := b.ready(t, "payments", "secret", compile.ReasonKeyUnavailable)
	if m := got.Status.Conditions[0].Message; !strings.Contains(m, "Secret payments/cosign-pub: not found") {
		t.Errorf("message %q", m)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "cosign-pub"}, StringData: map[string]string{"cosign.pub": firstKey}}
	if err := b.admin.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	first := b.usable(t, "payments", "secret")
	b.ready(t, "payments", "secret", compile.ReasonCompiled)

	secret.StringData = map[string]string{"cosign.pub": secondKey}
	if err := b.admin.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new key", func() error {
		now, err := b.find(t, "payments", "secret")
		if err == nil && now.Digest == first.Digest {
			err = errors.New("the old key")
		}
		return err
	})
	eventually(t, "the new key in the status", func() error {
		if now := b.ready(t, "payments", "secret", compile.ReasonCompiled); now.Status.Authorities[0].PublicKeys[0].PEM != secondKey {
			return errors.New("the old key")
		}
		return nil
	})
}

func trustRootObject(sources string) string {
	return "apiVersion: pratique.dev/v1alpha1\nkind: TrustRoot\nmetadata: {name: corp}\nspec: {sources: [" + sources + "]}\n"
}

func trustRoots(t *testing.T, b *bench) {
	for name, sources := range map[string]string{
		"no source": "", "two in one": "{public: {}, secretRef: {name: s, key: k}}", "none in one": "{}", "nine": strings.Repeat("{public: {}}, ", 9),
	} {
		cmd := b.KubectlCommand(t.Context(), "apply", "-f", "-")
		cmd.Stdin = strings.NewReader(trustRootObject(sources))
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "spec.sources") {
			t.Errorf("the schema takes %s: %v %s", name, err, out)
		}
	}
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	b.apply(t, imagePolicy("payments", "keyless", "images: {include: [registry.example.com/**]}\nauthorities:\n- name: ci\n  repository: registry.example.com/papers\n  keyless:\n    trustRoot: corp\n    identities: [{issuer: 'https://issuer.example.com', subject: dev@example.com, extensions: {runnerEnvironment: github-hosted}}]\nrequire: {signature: {by: [ci]}}"))
	b.ready(t, "payments", "keyless", compile.ReasonTrustRootUnavailable)
	b.apply(t, trustRootObject(fmt.Sprintf("{data: %q}", text)))
	first := b.usable(t, "payments", "keyless")
	got := b.ready(t, "payments", "keyless", compile.ReasonCompiled)
	if a := got.Status.Authorities[0]; a.TrustRoot == nil || a.TrustRoot.Name != "corp" || a.TrustRoot.Digest == "" || len(a.Identities) != 1 {
		t.Errorf("%+v", a)
	}
	root := b.rootReady(t, "corp", metav1.ConditionTrue)
	if len(root.Status.TrustedRoots) != 1 || root.Status.TrustedRoots[0] != string(text) || root.Status.Digest != got.Status.Authorities[0].TrustRoot.Digest {
		t.Errorf("%+v", root.Status)
	}
	stdout, stderr, err := b.Kubectl(t.Context(), "get", "troot", "corp")
	if words := strings.Fields(stdout); err != nil || len(words) != 8 || strings.Join(words[:7], " ") != "NAME READY FRESH AGE corp True True" {
		t.Errorf("kubectl get: %v %s\n%s", err, stderr, stdout)
	}
	b.apply(t, trustRootObject("{public: {}, mirorr: x}"))
	b.ready(t, "payments", "keyless", compile.ReasonTrustRootUnavailable)
	if c := meta.FindStatusCondition(b.rootReady(t, "corp", metav1.ConditionFalse).Status.Conditions, compile.ConditionReady); c.Reason != compile.ReasonInvalidField || !strings.Contains(c.Message, "mirorr") {
		t.Errorf("%+v", c)
	}
	b.apply(t, trustRootObject("{public: {}}"))
	if second := b.usable(t, "payments", "keyless"); second.Digest == first.Digest {
		t.Error("the old root")
	}
	b.ready(t, "payments", "keyless", compile.ReasonCompiled)
	b.rootReady(t, "corp", metav1.ConditionTrue)
}

// rootReady waits for a TrustRoot's status to be about its own generation, and to have a condition Ready of a status.
func (b *bench) rootReady(t *testing.T, name string, want metav1.ConditionStatus) (r v1alpha1.TrustRoot) {
	t.Helper()
	eventually(t, "status of "+name, func() error {
		if err := b.admin.Get(t.Context(), client.ObjectKey{Name: name}, &r); err != nil {
			return err
		}
		if c := meta.FindStatusCondition(r.Status.Conditions, compile.ConditionReady); c == nil || c.Status != want || r.Status.ObservedGeneration != r.Generation {
			return fmt.Errorf("%+v", r.Status)
		}
		return nil
	})
	return r
}

func askedByTheCLI(t *testing.T, b *bench) {
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "reader"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.Group}, Resources: []string{"imagepolicies", "clusterimagepolicies", "imageexceptions"}, Verbs: []string{"list"}},
		{APIGroups: []string{v1alpha1.Group}, Resources: []string{"trustroots"}, Verbs: []string{"get"}},
	}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "reader"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "developer"}},
	}
	for _, obj := range []client.Object{role, binding} {
		if err := b.admin.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
	config, err := b.UserConfig("developer")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := compile.FromCluster(t.Context(), compile.ClusterQuery{Reader: newClient(t, config), Namespace: "payments"})
	if err != nil || len(answer.Unresolved) != 0 || len(answer.Notes) != 0 {
		t.Fatalf("%v, %v, %v", err, answer.Unresolved, answer.Notes)
	}
	for _, p := range answer.Set.Namespaced {
		ours, err := b.find(t, "payments", p.Name.Name)
		if err != nil || ours.Digest != p.Digest || ours.Unusable != p.Unusable || ours.Summary() != p.Summary() {
			t.Errorf("%s: %v\nCLI     %s %q\nwebhook %+v", p.Name, err, p.Digest, p.Unusable, ours)
		}
	}
	if len(answer.Set.Namespaced) != 4 {
		t.Errorf("%d policies, want keyless, secret, typo and typo-above", len(answer.Set.Namespaced))
	}
}

func restarted(t *testing.T, b *bench) {
	if err := b.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.find(t, "payments", "secret"); err != nil || !b.store.Synced() {
		t.Errorf("without an API server: %v", err)
	}
	if err := b.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.apply(t, imagePolicy("dev", "later", inline(firstKey)))
	b.usable(t, "dev", "later")
}
