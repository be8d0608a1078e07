package apiserver

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/deploy/helm"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/bed"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// trustRoot is a TrustRoot that has the name of the scene's namespace, unless another is given.
const trustRoot = `
apiVersion: pratique.dev/v1alpha1
kind: TrustRoot
metadata: {name: {{or .name .ns}}}
spec:
  sources: [{{.sources}}]
  {{with .more}}{{.}}{{end}}
`

// builtBy is the policy of these tests: images of the scene's registry must be signed by the release workflow of acme/app, as the
// TrustRoot of the scene's namespace sees it.
const builtBy = `
apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: built, namespace: {{.ns}}}
spec:
  images: {include: ["{{.host}}/**"]}
  authorities:
  - name: ci
    keyless:
      trustRoot: {{.ns}}
      identities:
      - issuer: https://token.actions.githubusercontent.com
        subject: https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main
  require: {signature: {by: [ci]}}
`

// data is the source of a TrustRoot that has the whole of an instance's trusted root.
func data(t *testing.T, of *verifytest.Sigstore) string {
	t.Helper()
	return "{data: " + quoted(string(of.TrustedRoot(t))) + "}"
}

// built pushes an image that a repository's release workflow has signed, as an instance of Sigstore saw.
func (s *scene) built(by *verifytest.Sigstore, repository string) name.Digest {
	s.t.Helper()
	d := s.unsigned("shop/built")
	bed.SignKeyless(s.t, by, bed.Workflow(repository), d, papers.Via(s.reg.Options()...))
	return d
}

// trustRoot applies a TrustRoot and waits until its status is about it; it returns the status.
func (s *scene) trustRoot(sources string, values ...with) v1alpha1.TrustRootStatus {
	s.t.Helper()
	u, err := s.tryPolicy(trustRoot, append([]with{{"sources": sources}}, values...)...)
	if err != nil {
		s.t.Fatalf("applying the TrustRoot: %v", err)
	}
	return s.waitRoot(u, "to be read", func(v1alpha1.TrustRootStatus) bool { return true })
}

// waitRoot waits until the status is about the TrustRoot as it is now and pleases ok.
func (s *scene) waitRoot(u *unstructured.Unstructured, what string, ok func(v1alpha1.TrustRootStatus) bool) v1alpha1.TrustRootStatus {
	s.t.Helper()
	var status v1alpha1.TrustRootStatus
	s.eventually("TrustRoot "+u.GetName()+" "+what, func() error {
		status = v1alpha1.TrustRootStatus{}
		now, err := s.statusOf(u, &status)
		if err != nil {
			return err
		}
		if status.ObservedGeneration != now.GetGeneration() || !ok(status) {
			return fmt.Errorf("generation %d has the conditions %+v and the sources %+v", now.GetGeneration(), status.Conditions, status.Sources)
		}
		return nil
	})
	return status
}

// waitPolicy waits until a policy's status pleases ok.
func (s *scene) waitPolicy(what string, ok func(v1alpha1.PolicyStatus) bool) v1alpha1.PolicyStatus {
	s.t.Helper()
	return s.waitStatus(s.object(s.fill(builtBy)), what, ok)
}

// condition is a condition of a TrustRoot.
func condition(status v1alpha1.TrustRootStatus, kind string) metav1.Condition {
	if c := meta.FindStatusCondition(status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}

func TestATrustRootThatCanNotBeUsedIsRefused(t *testing.T) {
	s := parallelScene(t, "trust-bad")
	good := data(t, verifytest.NewSigstore(t))
	for name, c := range map[string]struct {
		values with
		says   string
	}{
		"a typo in the spec":       {with{"sources": good, "more": "threshold: {logs: 1}"}, `unknown field "spec.threshold": did you mean thresholds?`},
		"a typo in a source":       {with{"sources": "{public: {}, dat: x}"}, `unknown field "spec.sources[0].dat": did you mean data?`},
		"a typo in a mirror":       {with{"sources": "{tuf: {mirror: https://tuf-repo-cdn.sigstore.dev, refreshevery: 1h}}"}, `unknown field "spec.sources[0].tuf.refreshevery": did you mean refreshEvery?`},
		"a typo in the thresholds": {with{"sources": good, "more": "thresholds: {log: 2}"}, `unknown field "spec.thresholds.log": did you mean logs?`},
		"something about public":   {with{"sources": "{public: {mirror: x}}"}, `unknown field "spec.sources[0].public.mirror"`},
		"a namespace of a Secret":  {with{"sources": "{secretRef: {name: a, key: b, namespace: c}}"}, "a TrustRoot reads Secrets and ConfigMaps of the install's namespace only"},
		"no trusted root":          {with{"sources": "{data: '{}'}"}, "spec.sources[0].data"},
		"no JSON":                  {with{"sources": "{data: nothing}"}, "spec.sources[0].data"},
		"plain http":               {with{"sources": "{tuf: {mirror: http://tuf.example.com, root: '{}'}}"}, "spec.sources[0].tuf.mirror"},
		"a mirror without a root":  {with{"sources": "{tuf: {mirror: https://tuf.example.com}}"}, "spec.sources[0].tuf.root"},
		"a mirror asked too often": {with{"sources": "{tuf: {mirror: https://tuf-repo-cdn.sigstore.dev, refreshEvery: 1s}}"}, "spec.sources[0].tuf.refreshEvery"},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t, s.ns)
			_, err := s.tryPolicy(trustRoot, c.values)
			s.wantRefusedBy("policies.pratique.dev", err, c.says)
		})
	}
	for what, c := range map[string]struct {
		values with
		says   string
	}{
		"two sources in one": {with{"sources": "{public: {}, data: x}"}, "exactly one of public, data, secretRef, configMapRef and tuf must be set"},
		"an empty source":    {with{"sources": "{}"}, "exactly one of public, data, secretRef, configMapRef and tuf must be set"},
		"no source":          {with{"sources": ""}, "spec.sources"},
		"no log at all":      {with{"sources": good, "more": "thresholds: {logs: 0}"}, "spec.thresholds.logs"},
	} {
		_, err := s.tryPolicy(trustRoot, c.values)
		status, ok := err.(apierrors.APIStatus)
		if !ok || status.Status().Code != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s, which the schema refuses by itself: %v", what, err)
		}
	}
	typo := s.fill(trustRoot, with{"sources": good, "more": "threshold: {logs: 1}"})
	if said, err := s.kubectl(typo, "apply", "--validate=false", "-f", "-"); err == nil || !strings.Contains(said, `unknown field "spec.threshold"`) {
		t.Errorf("kubectl apply of a typo: %v\n%s", err, said)
	}
	if _, err := s.policies(s.object(s.fill(trustRoot, with{"sources": good}))).Get(s.ctx, s.ns, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after nothing but refusals: %v", err)
	}
}

// TestAKeylessAuthorityJudgesByItsTrustRoot: what it trusts is in its status, the policy hangs on it, and without it nothing is judged.
func TestAKeylessAuthorityJudgesByItsTrustRoot(t *testing.T) {
	s := parallelScene(t, "trust")
	ours, theirs := verifytest.NewSigstore(t), verifytest.NewSigstore(t)
	good, fork, elsewhere := s.built(ours, "acme/app").String(), s.built(ours, "mallory/app").String(), s.built(theirs, "acme/app").String()
	bykey := s.signed("shop/api").String()

	// The policy first: people apply both at once.
	status := s.policy(builtBy)
	if c := ready(status); c.Status != metav1.ConditionFalse || c.Reason != "TrustRootUnavailable" || !strings.Contains(c.Message, "TrustRoot trust: not found") {
		t.Errorf("without the TrustRoot Ready is %+v", c)
	}
	s.refuses(pod("early", good), "PolicyUnusable", "TrustRoot trust: not found")

	root := s.trustRoot(data(t, ours))
	if c := condition(root, "Ready"); c.Status != metav1.ConditionTrue {
		t.Errorf("Ready is %+v", c)
	}
	if c := condition(root, "Fresh"); c.Status != metav1.ConditionTrue {
		t.Errorf("Fresh is %+v", c)
	}
	if !strings.HasPrefix(strings.ToLower(root.Digest), "sha256:") || len(root.TrustedRoots) != 1 || root.TrustedRoots[0] == "" ||
		len(root.Sources) != 1 || root.Sources[0].Kind != "data" || !strings.HasPrefix(root.Sources[0].Digest, "sha256:") || root.Sources[0].Error != "" {
		t.Errorf("the status is %+v", root)
	}
	status = s.waitPolicy("to be usable once the TrustRoot is there", func(st v1alpha1.PolicyStatus) bool { return ready(st).Status == metav1.ConditionTrue })
	if len(status.Authorities) != 1 || status.Authorities[0].TrustRoot == nil || len(status.Authorities[0].Identities) != 1 {
		t.Fatalf("the policy's authorities are %+v", status.Authorities)
	}
	if by := *status.Authorities[0].TrustRoot; by.Name != "trust" || by.Digest != root.Digest {
		t.Errorf("the policy goes by %+v, not by the digest %s", by, root.Digest)
	}
	said, err := s.kubectl("", "get", "troot", "trust")
	if s.want("kubectl get troot", err); !strings.Contains(strings.Join(strings.Fields(said), " "), "NAME READY FRESH AGE trust True True ") {
		t.Errorf("kubectl get troot says:\n%s", said)
	}
	s.admits(pod("good", good))
	const workflow = "/.github/workflows/release.yml@refs/heads/main (https://token.actions.githubusercontent.com)"
	s.refuses(pod("fork", fork), "NoTrustedSignature", "none by ci; nearest: https://github.com/mallory/app"+workflow)
	s.refuses(pod("elsewhere", elsewhere), "NoTrustedSignature", "nearest: https://github.com/acme/app"+workflow+", but ")
	s.refuses(pod("key", bykey), "NoTrustedSignature", "nearest: key SHA256:")

	roots := s.policies(s.object(s.fill(trustRoot, with{"sources": "{public: {}}"})))
	s.want("deleting the TrustRoot", roots.Delete(s.ctx, "trust", metav1.DeleteOptions{}))
	s.waitPolicy("to say that its TrustRoot is gone", func(st v1alpha1.PolicyStatus) bool {
		return ready(st).Status == metav1.ConditionFalse && ready(st).Reason == "TrustRootUnavailable"
	})
	s.refuses(pod("gone", good), "PolicyUnusable", "TrustRoot trust: not found") // though its evidence is held

	s.trustRoot(data(t, ours))
	s.waitPolicy("to be usable again", func(st v1alpha1.PolicyStatus) bool { return ready(st).Status == metav1.ConditionTrue })
	s.admits(pod("again", good))
	s.refuses(pod("fork-again", fork), "NoTrustedSignature")
}

// TestTwoRootsSideBySideAreAMigration: the new root beside the old one, and then without it; the one is written in the TrustRoot, the
// other in a Secret of the install's namespace.
func TestTwoRootsSideBySideAreAMigration(t *testing.T) {
	s := parallelScene(t, "trust-both")
	before, after := verifytest.NewSigstore(t), verifytest.NewSigstore(t)
	old, fresh := s.built(before, "acme/app").String(), s.built(after, "acme/app").String()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: s.ns}, Data: map[string][]byte{"trusted_root.json": after.TrustedRoot(t)}}
	s.in(t, helm.Namespace).secret(secret)
	const next = "{secretRef: {name: trust-both, key: trusted_root.json}}"

	s.trustRoot(data(t, before))
	first := s.policy(builtBy)
	s.admits(pod("old", old))
	s.refuses(pod("fresh", fresh), "NoTrustedSignature")

	both := s.trustRoot(data(t, before) + ", " + next)
	if c := condition(both, "Ready"); c.Status != metav1.ConditionTrue || len(both.TrustedRoots) != 2 || len(both.Sources) != 2 || both.Sources[1].Kind != "secretRef" {
		t.Fatalf("Ready is %+v, the sources are %+v", c, both.Sources)
	}
	second := s.waitPolicy("to go by both", func(st v1alpha1.PolicyStatus) bool { return st.PolicyDigest != first.PolicyDigest })
	s.admits(pod("old-still", old))
	s.admits(pod("fresh", fresh))

	s.trustRoot(next)
	s.waitPolicy("to go by the new one alone", func(st v1alpha1.PolicyStatus) bool { return st.PolicyDigest != second.PolicyDigest })
	s.refuses(pod("old-no-more", old), "NoTrustedSignature")
	s.admits(pod("fresh-still", fresh))

	// A source that can't be had takes nothing from the other.
	half := s.trustRoot("{secretRef: {name: nowhere, key: a}}, " + next)
	if c := condition(half, "Ready"); c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, "sources[0] (secretRef) is not in use") {
		t.Errorf("with a source that isn't there Ready is %+v", c)
	}
	if c := condition(half, "Fresh"); c.Status != metav1.ConditionFalse {
		t.Errorf("with a source that isn't there Fresh is %+v", c)
	}
	s.admits(pod("fresh-by-half", fresh))
}
