package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/cluster"
	"github.com/pratique-dev/pratique/test/cluster/clustertest"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// readers lets the user dev read policies, and nothing else: above all no Secret.
const readers = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: policy-reader}
rules:
- {apiGroups: [pratique.dev], resources: [imagepolicies, clusterimagepolicies, trustroots, imageexceptions], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: policy-reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: policy-reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: dev}]
`

const bySecret = `apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: production, namespace: payments}
spec:
  images: {include: ["**"]}
  authorities:
  - name: release
    key: {secretRef: {name: cosign-pub, key: cosign.pub}}
  require:
    signature: {by: [release]}
`

const byTrustRoot = `apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: keyless, namespace: builds}
spec:
  images: {include: ["**"]}
  authorities:
  - name: ci
    keyless:
      trustRoot: acme
      identities: [{issuer: "https://issuer.example.com", subject: dev@example.com}]
  require:
    signature: {by: [ci]}
---
apiVersion: pratique.dev/v1alpha1
kind: TrustRoot
metadata: {name: acme}
spec:
  sources: [{secretRef: {name: acme-root, key: trusted_root.json}}]
`

// asked is a cluster with policies, and who asks about them.
type asked struct {
	*cluster.Cluster
	t            *testing.T
	dir          string
	registry     *evilregistry.Registry
	signed, bare string
	release      papers.Key
}

func TestWithoutFilesTheClusterIsAsked(t *testing.T) {
	t.Parallel()
	a := &asked{Cluster: clustertest.ForTest(t, cluster.Options{}), t: t, dir: t.TempDir(), registry: evilregistry.New(t)}
	a.prepare()
	dev, admin := a.kubeconfig("dev"), a.Kubeconfig()

	a.policy("status of the first generation", bySecret)
	a.publish()
	a.expect("the keys of the status, by somebody without access to Secrets", 0, "ok: by release", "", dev, "payments", a.signed)
	a.expect("an unsigned image", 1, "NoTrustedSignature: not signed", "", dev, "payments", a.bare)
	a.expect("another namespace's policies", 0, "NoPolicyInForce", "\nWARNING: NOTHING WAS CHECKED: none of the cluster's policies is about namespace default", dev, "default", a.bare)
	a.expect("somebody without access to policies", 3, "", "kubectl pratique: no -f, and the cluster's policies can't be read: listing ClusterImagePolicy objects: ", a.kubeconfig("nobody"), "payments", a.signed)

	a.keyless()

	a.policy("a change, of which the status knows nothing", strings.Replace(bySecret, `["**"]`, `["**"], exclude: ["docker.io/**"]`, 1))
	a.expect("a stale status, by somebody without access to Secrets", 3, "", "authority release: Secret payments/cosign-pub: reading it is forbidden", dev, "payments", a.signed)
	a.expect("a stale status, by somebody with it", 0, "ok: by release", "note: ImagePolicy payments/production: its status is stale (of generation 1, the policy is at 2)", admin, "payments", a.signed)

	a.policy("a policy by labels", "apiVersion: pratique.dev/v1alpha1\nkind: ClusterImagePolicy\nmetadata: {name: everywhere}\nspec:\n  namespaceSelector: {matchLabels: {env: production}}\n  images: {include: ['**']}\n  deny: {reason: closed for the holidays}\n")
	a.expect("the namespace's labels", 1, "DeniedByPolicy: closed for the holidays", "note: ClusterImagePolicy everywhere: no status yet: is the webhook running?", admin, "payments", a.signed)
	a.expect("the labels of another namespace", 0, "NoPolicyInForce", "WARNING: NOTHING WAS CHECKED: none of the cluster's policies", admin, "default", a.signed)
	a.expect("labels that may not be read", 3, "", "the namespace's labels can't be told", dev, "payments", a.signed)
}

// keyless asks about a policy whose TrustRoot is in a Secret that only the install can read.
func (a *asked) keyless() {
	a.t.Helper()
	s, someone := verifytest.NewSigstore(a.t), verifytest.Someone()
	image := a.registry.Push(a.t, "team/keyless", evilregistry.RandomImage(3))
	h, err := v1.NewHash(image.DigestStr())
	if err != nil {
		a.t.Fatal(err)
	}
	signed := s.Sign(a.t, verifytest.Signing{Person: &someone, Logs: []verifytest.Log{verifytest.RekorV1}}, h)
	papers.PushBundle(a.t, image, verify.CosignSign, signed.Payload, papers.Via(a.registry.Options()...))

	a.policy("a policy by a TrustRoot", byTrustRoot)
	dev := a.kubeconfig("dev")
	a.expect("a TrustRoot without a status, whose Secret may not be read", 3, "", "authority ci: TrustRoot acme: ", dev, "builds", image.String())
	text := string(s.TrustedRoot(a.t))
	patch, err := json.Marshal(map[string]any{"status": map[string]any{
		"observedGeneration": 1, "trustedRoots": []string{text},
		"sources":    []any{map[string]string{"kind": "secretRef", "digest": trust.Digest([]byte(text))}},
		"conditions": []any{map[string]any{"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-10-01T12:00:00Z"}},
	}})
	if err != nil {
		a.t.Fatal(err)
	}
	a.kubectl("patch", "trustroot", "acme", "--subresource=status", "--type=merge", "-p", string(patch))
	a.expect("the trusted root of the status", 0, "ok: by ci (dev@example.com (https://issuer.example.com))", "note: ImagePolicy builds/keyless: no status yet", dev, "builds", image.String())

	a.unusable(dev, image.String())
}

// unusable asks where one policy of two can't be used.
func (a *asked) unusable(dev, image string) {
	a.t.Helper()
	a.policy("another policy, whose Secret isn't there", strings.NewReplacer("name: production, namespace: payments", "name: lost, namespace: builds", "cosign-pub", "lost-pub").Replace(bySecret))
	a.expect("the other policy is judged", 3, "ok: by ci (dev@example.com", "ImagePolicy builds/lost: authority release: Secret builds/lost-pub: reading it is forbidden", dev, "builds", image)
	a.kubectl("patch", "-n", "builds", "imagepolicy", "lost", "--subresource=status", "--type=merge", "-p",
		`{"status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "False", "reason": "KeyUnavailable", "message": "not found", "lastTransitionTime": "2026-10-01T12:00:00Z"}]}}`)
	a.expect("one that the cluster can't use either refuses, as it does there", 2, "PolicyUnusable: authority release: Secret builds/lost-pub", "ImagePolicy builds/keyless: no status yet", dev, "builds", image)
}

// prepare makes images, the Secret and who may read what.
func (a *asked) prepare() {
	a.t.Helper()
	a.release = papers.NewKey(a.t, papers.P256)
	signed := a.registry.Push(a.t, "team/signed", evilregistry.RandomImage(1))
	papers.SignBundle(a.t, signed, a.release, papers.Via(a.registry.Options()...))
	a.signed, a.bare = signed.String(), a.registry.Push(a.t, "team/bare", evilregistry.RandomImage(2)).String()

	a.kubectl("apply", "-f", filepath.Join("..", "..", "deploy", "helm", "pratique", "crd-bases"))
	a.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "imagepolicies.pratique.dev", "clusterimagepolicies.pratique.dev", "trustroots.pratique.dev", "imageexceptions.pratique.dev")
	for namespace, labels := range map[string]map[string]string{"payments": {"env": "production"}, "builds": nil} {
		if err := a.CreateNamespace(a.t.Context(), namespace, labels); err != nil {
			a.t.Fatal(err)
		}
	}
	a.apply(readers)
	a.apply(fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: cosign-pub, namespace: payments}, stringData: {cosign.pub: %q}}", a.release.PublicPEM))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) { // authorization follows its objects with a delay
		_, complaint, err := a.Kubectl(a.t.Context(), "auth", "can-i", "--as=dev", "list", "clusterimagepolicies.pratique.dev")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("dev may not list policies: %v\n%s", err, complaint)
		}
	}
}

// kubeconfig writes one for a user.
func (a *asked) kubeconfig(user string) string {
	a.t.Helper()
	file := filepath.Join(a.dir, user)
	if err := a.WriteUserKubeconfig(file, user); err != nil {
		a.t.Fatal(err)
	}
	return file
}

func (a *asked) kubectl(args ...string) {
	a.t.Helper()
	if _, complaint, err := a.Kubectl(a.t.Context(), args...); err != nil {
		a.t.Fatalf("%v\n%s", err, complaint)
	}
}

func (a *asked) apply(document string) {
	a.t.Helper()
	cmd := a.KubectlCommand(a.t.Context(), "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(document)
	if out, err := cmd.CombinedOutput(); err != nil {
		a.t.Fatalf("%v\n%s", err, out)
	}
}

func (a *asked) policy(what, document string) {
	a.t.Helper()
	a.t.Log("apply:", what)
	a.apply(document)
}

// publish writes the status that the webhook would.
func (a *asked) publish() {
	a.t.Helper()
	patch, err := json.Marshal(map[string]any{"status": map[string]any{
		"observedGeneration": 1,
		"authorities": []any{map[string]any{
			"name": "release",
			"publicKeys": []any{map[string]string{
				"fingerprint": a.release.Fingerprint, "pem": string(a.release.PublicPEM),
			}},
		}},
	}})
	if err != nil {
		a.t.Fatal(err)
	}
	a.kubectl("patch", "-n", "payments", "imagepolicy", "production", "--subresource=status", "--type=merge", "-p", string(patch))
}

// expect runs the program. An empty text for stderr means that it says nothing there.
func (a *asked) expect(what string, code int, stdout, stderr, kubeconfig, namespace, image string) {
	a.t.Run(what, func(t *testing.T) {
		var out, complaint bytes.Buffer
		got := Main([]string{"kubectl-pratique", "verify", "--kubeconfig", kubeconfig, "-n", namespace, "--plain-http", a.registry.Host(), image}, &out, &complaint)
		if got != code {
			t.Errorf("exit code %d, want %d", got, code)
		}
		if !strings.Contains(out.String(), stdout) {
			t.Errorf("stdout without %q", stdout)
		}
		if stderr == "" && complaint.Len() > 0 || !strings.Contains(complaint.String(), stderr) {
			t.Errorf("stderr is not %q", stderr)
		}
		if t.Failed() {
			t.Logf("stdout:\n%s\nstderr:\n%s", &out, &complaint)
		}
	})
}
