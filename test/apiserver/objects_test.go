package apiserver

import (
	"crypto/x509"
	pemfile "encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/deploy/helm"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// rereadWithin is how soon a key that was replaced in a Secret must act: referenced Secrets are read again every 30 s.
const rereadWithin = 35 * time.Second

// anyPolicy is a policy of which a test writes what matters: authorities and what it does.
const anyPolicy = `
apiVersion: pratique.dev/v1alpha1
kind: {{or .kind "ImagePolicy"}}
metadata: {name: {{or .name "tried"}}{{if ne .kind "ClusterImagePolicy"}}, namespace: {{.ns}}{{end}}}
spec:
  images: {{or .images "{include: [registry.example.com/team/app]}"}}
  {{with .references}}references: {{.}}{{end}}
  authorities: [{{or .authorities (print "{name: release, key: {data: " .release "}}")}}]
  {{or .does "require: {signature: {by: [release]}}"}}
`

// badPolicies are refused by /validate-policy: the schema lets them through, since it preserves in spec what it doesn't know, so that
// nothing is dropped unseen, or since it can't tell.
func badPolicies(t *testing.T) []struct {
	name   string
	values with
	says   string
} {
	weak := papers.NewKey(t, papers.RSA1024)
	der, err := x509.MarshalPKCS8PrivateKey(papers.NewKey(t, papers.P256).Private)
	if err != nil {
		t.Fatal(err)
	}
	private := string(pemfile.EncodeToMemory(&pemfile.Block{Type: "PRIVATE KEY", Bytes: der}))
	return []struct {
		name   string
		values with
		says   string
	}{
		{"a typo in the spec", with{"does": "require: {signature: {by: [release]}}\n  modes: Warn"}, `unknown field "spec.modes"`},
		{"a typo in the images", with{"images": "{include: [registry.example.com/a], excludes: [registry.example.com/a]}"}, `unknown field "spec.images.excludes"`},
		{"a typo in the references", with{"references": "{tag: Deny}"}, `unknown field "spec.references.tag"`},
		{"a typo in a reason", with{"does": "deny: {reason: a, because: b}"}, `unknown field "spec.deny.because"`},
		{"another case", with{"does": "require: {signature: {by: [release]}}\n  Mode: Warn"}, `unknown field "spec.Mode"`},
		{"a selector of namespaces in a namespace", with{"does": "require: {signature: {by: [release]}}\n  namespaceSelector: {}"}, `unknown field "spec.namespaceSelector"`},
		{"a typo in a requirement", with{"does": "require: {signature: {by: [release], atleast: 2}}"}, `unknown field "spec.require.signature.atleast"`},
		{"a typo beside a requirement", with{"does": "require: {signature: {by: [release]}, sboms: {by: [release]}}"}, `unknown field "spec.require.sboms"`},
		{"a typo in an authority", with{"authorities": `{name: release, keys: 1, key: {data: ` + pem(papers.NewKey(t, papers.P256)) + `}}`}, `unknown field "spec.authorities[0].keys"`},
		{"a typo in a key", with{"authorities": `{name: release, key: {secretref: {name: a, key: b}, data: ` + pem(papers.NewKey(t, papers.P256)) + `}}`},
			`unknown field "spec.authorities[0].key.secretref"`},
		{"a typo in a reference", with{"authorities": `{name: release, key: {secretRef: {name: a, key: b, namespace: c}}}`}, `unknown field "spec.authorities[0].key.secretRef.namespace"`},
		{"an authority that nobody defined", with{"does": "require: {signature: {by: [relaese]}}"}, `"relaese" is not defined; spec.authorities has: release`},
		{"a weak key", with{"authorities": `{name: release, key: {data: ` + pem(weak) + `}}`}, "spec.authorities[0].key.data"},
		{"a private key", with{"authorities": `{name: release, key: {data: ` + quoted(private) + `}}`}, "spec.authorities[0].key.data"},
		{"no PEM", with{"authorities": `{name: release, key: {data: not a key}}`}, "spec.authorities[0].key.data"},
		{"two PEMs, one of them weak", with{"authorities": `{name: release, key: {data: ` + quoted(string(papers.NewKey(t, papers.P256).PublicPEM)+string(weak.PublicPEM)) + `}}`},
			"spec.authorities[0].key.data"},
		{"more signers than there are", with{"does": "require: {signature: {by: [release], atLeast: 2}}"}, "spec.require.signature.atLeast"},
		{"an exception that ends at no time", with{"does": `require: {sbom: {by: [release], licenses: {deny: ["GPL-*"], exceptions: [{package: a, license: MIT, reason: b, expires: tomorrow}]}}}`},
			"spec.require.sbom.licenses.exceptions[0].expires"},
		{"a typo in a severity", with{"does": "require: {signature: {by: [release]}, vulnerabilities: {by: [release], max: {criticl: 0}}}"}, `unknown field "spec.require.vulnerabilities.max.criticl"`},
		{"a builder that is anybody", with{"does": `require: {provenance: {by: [release], builderPatterns: [".*"]}}`}, "spec.require.provenance.builderPatterns[0]"},
		{"a rule that is no CEL", with{"does": `require: {custom: [{predicateType: "https://acme.example/review/v1", by: [release], rules: [{cel: "predicate.", message: a}]}]}`},
			"spec.require.custom[0].rules[0].cel"},
		{"a rule that is no bool", with{"does": `require: {custom: [{predicateType: "https://acme.example/review/v1", by: [release], rules: [{cel: "1 + 1", message: a}]}]}`},
			"spec.require.custom[0].rules[0].cel"},
		{"a typo in an identity", with{"authorities": `{name: release, keyless: {identities: [{issuer: "https://a.example", subject: b, extension: {}}]}}`},
			`unknown field "spec.authorities[0].keyless.identities[0].extension": did you mean extensions?`},
		{"an identity of anybody", with{"authorities": `{name: release, keyless: {identities: [{issuer: "https://a.example", subjectPattern: ".*"}]}}`},
			"spec.authorities[0].keyless.identities[0].subjectPattern"},
		{"a KMS in a namespace", with{"authorities": `{name: release, key: {kms: "awskms:///a"}}`}, "only in a ClusterImagePolicy"},
		{"a tag glob that matches no tag", with{"references": `{tags: Allow, deny: ["v1:*"]}`}, "spec.references.deny[0]"},
		{"an image without a host", with{"images": "{include: [nginx]}"}, "spec.images.include[0]"},
		{"a host without a path", with{"images": `{include: ["registry.example.com"]}`}, "spec.images.include[0]"},
		{"a summary of what isn't asked for", with{"does": "require: {signature: {by: [release]}}\n  acceptSummary: {by: [release], verifierID: \"https://acme.example/promoter\", insteadOf: [sbom], maxAge: 1h}"}, "spec.acceptSummary.insteadOf[0]"},
	}
}

func TestAPolicyThatCanNotBeUsedIsRefused(t *testing.T) {
	s := parallelScene(t, "objects-bad")
	for _, c := range badPolicies(t) {
		t.Run(c.name, func(t *testing.T) {
			s := s.in(t, s.ns)
			_, err := s.tryPolicy(anyPolicy, c.values)
			s.wantRefusedBy("policies.pratique.dev", err, "InvalidPolicy: this policy could not be used\n", c.says)
			if strings.Contains(fmt.Sprint(err), "PRIVATE KEY") {
				t.Errorf("the refusal repeats a private key: %v", err)
			}
		})
	}
	list, err := s.objects.Resource(v1alpha1.GroupVersion().WithResource("imagepolicies")).Namespace(s.ns).List(s.ctx, metav1.ListOptions{})
	s.want("listing policies", err)
	if len(list.Items) != 0 {
		t.Errorf("%d policies are there after nothing but refusals", len(list.Items))
	}
}

// The schema's own rules answer before any webhook, and with the webhook down.
func TestTheSchemaRefusesByItself(t *testing.T) {
	s := parallelScene(t, "objects-schema")
	for _, c := range []struct {
		name   string
		values with
		says   string
	}{
		{"require and allow", with{"does": "require: {signature: {by: [release]}}\n  allow: {reason: a}"}, "exactly one of require, allow and deny must be set"},
		{"allow and deny", with{"does": "allow: {reason: a}\n  deny: {reason: a}"}, "exactly one of require, allow and deny must be set"},
		{"no require, allow or deny", with{"does": "mode: Warn"}, "exactly one of require, allow and deny must be set"},
		{"a require that asks for nothing", with{"does": "require: {}"}, "spec.require"},
		{"a signature by nobody", with{"does": "require: {signature: {by: []}}"}, "spec.require.signature.by"},
		{"a signature by whom", with{"does": "require: {signature: {atLeast: 1}}"}, "spec.require.signature.by"},
		{"atLeast none", with{"does": "require: {signature: {by: [release], atLeast: 0}}"}, "spec.require.signature.atLeast"},
		{"two sources of a key", with{"authorities": "{name: release, key: {data: a, secretRef: {name: a, key: b}}}"}, "exactly one of data, secretRef, configMapRef and kms must be set"},
		{"no source of a key", with{"authorities": "{name: release, key: {}}"}, "exactly one of data, secretRef, configMapRef and kms must be set"},
		{"an authority that is nobody", with{"authorities": "{name: release}"}, "exactly one of key, keyless and certificate must be set"},
		{"an identity without a subject", with{"authorities": `{name: release, keyless: {identities: [{issuer: "https://a.example"}]}}`}, "exactly one of subject and subjectPattern must be set"},
		{"a keyless authority of nobody", with{"authorities": `{name: release, keyless: {identities: []}}`}, "spec.authorities[0].keyless.identities"},
		{"no image", with{"images": "{include: []}"}, "spec.images.include"},
		{"a mode in lower case", with{"does": "mode: enforce\n  allow: {reason: a}"}, "spec.mode"},
		{"a rule for tags that doesn't exist", with{"references": "{tags: Never}"}, "spec.references.tags"},
		{"an empty reason", with{"does": `deny: {reason: ""}`}, "spec.deny.reason"},
	} {
		_, err := s.tryPolicy(anyPolicy, c.values)
		status, ok := err.(apierrors.APIStatus)
		if !ok || status.Status().Code != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestKubectlApplyRefusesATypo(t *testing.T) {
	s := parallelScene(t, "objects-kubectl")
	typos := map[string]string{
		"spec.require.signature.atleast": s.fill(anyPolicy, with{"does": "require: {signature: {by: [release], atleast: 2}}"}),
		"spec.images.excluded":           s.fill(anyPolicy, with{"images": "{include: [registry.example.com/a], excluded: [b]}"}),
	}
	refused := func(args ...string) {
		for field, text := range typos {
			said, err := s.kubectl(text, args...)
			if err == nil || !strings.Contains(said, `unknown field "`+field+`"`) {
				t.Errorf("kubectl %s: %v\n%s", strings.Join(args, " "), err, said)
			}
		}
	}
	refused("apply", "-f", "-")
	refused("apply", "--validate=false", "-f", "-")
	refused("create", "--validate=ignore", "-f", "-")
	if said, err := s.kubectl(s.fill(anyPolicy), "apply", "-f", "-"); err != nil {
		t.Fatalf("kubectl apply of a good policy: %v\n%s", err, said)
	}
	refused("apply", "--validate=false", "-f", "-") // of one that is there, which is a patch
	refused("apply", "--validate=false", "--server-side", "-f", "-")
}

func TestAGoodPolicyIsNotReplacedByABadOne(t *testing.T) {
	s := parallelScene(t, "objects-update")
	s.policy(signedBy)
	bad := s.unsigned("shop/api").String()
	_, err := s.tryPolicy(strings.ReplaceAll(signedBy, "by: [release]", "by: [release], atleast: 1"))
	s.wantRefusedBy("policies.pratique.dev", err, "atleast")
	s.refuses(pod("api", bad), "NoTrustedSignature")
	if said, err := s.kubectl("", "-n", s.ns, "label", "imagepolicy", "signed", "a=b"); err != nil {
		t.Errorf("labelling a policy: %v\n%s", err, said)
	}
	if said, err := s.kubectl("", "-n", s.ns, "delete", "imagepolicy", "signed"); err != nil {
		t.Errorf("deleting a policy: %v\n%s", err, said)
	}
	s.eventually("the deleted policy to be out of force", func() error {
		_, err := s.create(pod("api", bad))
		return err
	})
}

func TestTheStatusSaysWhatIsInForce(t *testing.T) {
	s := parallelScene(t, "objects-status")
	status := s.policy(signedBy)
	c := ready(status)
	if c.Status != metav1.ConditionTrue || c.Reason != "Compiled" || !strings.Contains(c.Message, "require signature by release") || c.LastTransitionTime.IsZero() {
		t.Errorf("Ready is %+v", c)
	}
	if status.Mode != v1alpha1.ModeEnforce || status.Rule != "require signature by release" || !strings.HasPrefix(status.PolicyDigest, "sha256:") {
		t.Errorf("the status is %+v", status)
	}
	if len(status.Authorities) != 1 || status.Authorities[0].Name != "release" || len(status.Authorities[0].PublicKeys) != 1 {
		t.Fatalf("the authorities are %+v", status.Authorities)
	}
	key := status.Authorities[0].PublicKeys[0]
	if key.Fingerprint != s.release.Fingerprint || key.PEM != string(s.release.PublicPEM) {
		t.Errorf("the published key is %+v, want %s", key, s.release.Fingerprint)
	}
	said, err := s.kubectl("", "-n", s.ns, "get", "pip")
	s.want("kubectl get pip", err)
	fields := strings.Fields(strings.Join(strings.Split(said, "\n")[1:], "\n"))
	if !strings.HasPrefix(strings.Join(fields, " "), "signed Enforce True require signature by release ") {
		t.Errorf("kubectl get pip says:\n%s", said)
	}
	// The digest is over what is asked for, and so not over the mode or the images.
	if again := s.policy(signedBy, with{"mode": "Warn"}); again.PolicyDigest != status.PolicyDigest {
		t.Errorf("another mode has another digest: %s and %s", again.PolicyDigest, status.PolicyDigest)
	}
	if other := s.policy(signedBy, with{"release": pem(papers.NewKey(t, papers.P256))}); other.PolicyDigest == status.PolicyDigest {
		t.Error("another key has the same digest")
	}
}

func TestAPolicyWithoutItsSecretRefusesAndSaysSo(t *testing.T) {
	s := parallelScene(t, "objects-secret")
	status := s.policy(anyPolicy, with{"images": fmt.Sprintf(`{include: ["%s/**"]}`, s.reg.Host()), "authorities": "{name: release, key: {secretRef: {name: cosign-pub, key: cosign.pub}}}"})
	if c := ready(status); c.Status != metav1.ConditionFalse || c.Reason != "KeyUnavailable" || !strings.Contains(c.Message, "Secret objects-secret/cosign-pub: not found") {
		t.Errorf("without the Secret Ready is %+v", c)
	}
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/api").String()
	s.refuses(pod("api", good), "PolicyUnusable", "Secret objects-secret/cosign-pub: not found")

	s.secret(keySecret("cosign-pub", s.release))
	u := s.object(s.fill(anyPolicy))
	s.waitStatus(u, "to be usable once the Secret is there", func(st v1alpha1.PolicyStatus) bool { return ready(st).Status == metav1.ConditionTrue })
	s.admits(pod("api", good))
	s.refuses(pod("bad", bad), "NoTrustedSignature")
}

func keySecret(name string, k papers.Key) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"cosign.pub": k.PublicPEM}}
}

// TestAKeyThatIsReplacedInItsSecretActs takes half a minute, the pause between two readings of a Secret.
func TestAKeyThatIsReplacedInItsSecretActs(t *testing.T) {
	s := parallelScene(t, "objects-rotate")
	s.secret(keySecret("cosign-pub", s.release))
	s.policy(anyPolicy, with{"images": fmt.Sprintf(`{include: ["%s/**"]}`, s.reg.Host()), "authorities": "{name: release, key: {secretRef: {name: cosign-pub, key: cosign.pub}}}"})
	next := papers.NewKey(t, papers.Ed25519)
	old, fresh := s.signed("shop/api"), s.unsigned("shop/api")
	s.sign(fresh, next)
	s.admits(pod("old", old.String())) // its evidence is held from now on, for the old key
	s.refuses(pod("fresh", fresh.String()), "NoTrustedSignature")

	_, err := s.kube.CoreV1().Secrets(s.ns).Update(s.ctx, keySecret("cosign-pub", next), metav1.UpdateOptions{})
	s.want("replacing the key", err)
	replaced := time.Now()
	s.within(rereadWithin, "the new key to act", func() error {
		_, err := s.create(pod("fresh", fresh.String()))
		if err != nil {
			time.Sleep(time.Second)
		}
		return err
	})
	t.Logf("the new key acted after %s", time.Since(replaced).Round(time.Second))
	s.refuses(pod("old-again", old.String()), "NoTrustedSignature", "nearest: key SHA256:"+s.release.Fingerprint[len("SHA256:"):][:12])
	s.waitStatus(s.object(s.fill(anyPolicy)), "to publish the new key", func(st v1alpha1.PolicyStatus) bool {
		return len(st.Authorities) == 1 && len(st.Authorities[0].PublicKeys) == 1 && st.Authorities[0].PublicKeys[0].Fingerprint == next.Fingerprint
	})

	// What is no longer there stays in use as it was read last, and the policy says so.
	s.want("deleting the Secret", s.kube.CoreV1().Secrets(s.ns).Delete(s.ctx, "cosign-pub", metav1.DeleteOptions{}))
	s.within(rereadWithin, "the status to say that the key can't be read again", func() error {
		u := s.object(s.fill(anyPolicy))
		now, err := s.policies(u).Get(s.ctx, u.GetName(), metav1.GetOptions{})
		if err == nil && !strings.Contains(fmt.Sprint(now.Object["status"]), "cosign-pub: not found") {
			err = fmt.Errorf("%v", now.Object["status"])
			time.Sleep(time.Second)
		}
		return err
	})
	s.warnings.take()
	s.admits(pod("kept", fresh.String()))
	if said := strings.Join(s.warnings.take(), "\n"); !strings.Contains(said, "KeyNotReadAgain") {
		t.Errorf("nobody is warned that the key could not be read again: %q", said)
	}
}

func TestAKeyInAConfigMap(t *testing.T) {
	s := parallelScene(t, "objects-configmap")
	_, err := s.kube.CoreV1().ConfigMaps(s.ns).Create(s.ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "keys"}, Data: map[string]string{"release.pub": string(s.release.PublicPEM)},
	}, metav1.CreateOptions{})
	s.want("making the ConfigMap", err)
	status := s.policy(anyPolicy, with{"images": fmt.Sprintf(`{include: ["%s/**"]}`, s.reg.Host()), "authorities": "{name: release, key: {configMapRef: {name: keys, key: release.pub}}}"})
	if c := ready(status); c.Status != metav1.ConditionTrue {
		t.Fatalf("Ready is %+v", c)
	}
	s.admits(pod("good", s.signed("shop/api").String()))
	s.refuses(pod("bad", s.unsigned("shop/api").String()), "NoTrustedSignature")

	status = s.policy(anyPolicy, with{"name": "absent", "authorities": "{name: release, key: {configMapRef: {name: keys, key: other.pub}}}"})
	if c := ready(status); c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, `has no entry "other.pub"`) {
		t.Errorf("without the entry Ready is %+v", c)
	}
}

// A ClusterImagePolicy's Secret is the install's: one of the same name elsewhere is somebody's own.
func TestAClusterPolicysKeyIsReadFromTheInstallsNamespace(t *testing.T) {
	s := parallelScene(t, "objects-cluster")
	stranger := papers.NewKey(t, papers.P256)
	s.secret(keySecret("objects-cluster", stranger))
	s.in(t, helm.Namespace).secret(keySecret("objects-cluster", s.release))
	status := s.policy(anyPolicy, with{
		"kind": "ClusterImagePolicy", "name": "objects-cluster",
		"images":      fmt.Sprintf(`{include: ["%s/**"]}`, s.reg.Host()) + "\n  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: objects-cluster}}",
		"authorities": "{name: release, key: {secretRef: {name: objects-cluster, key: cosign.pub}}}",
	})
	if len(status.Authorities) != 1 || len(status.Authorities[0].PublicKeys) != 1 || status.Authorities[0].PublicKeys[0].Fingerprint != s.release.Fingerprint {
		t.Fatalf("the keys in use are %+v", status.Authorities)
	}
	s.admits(pod("good", s.signed("shop/api").String()))
	forged := s.unsigned("shop/api")
	s.sign(forged, stranger)
	s.refuses(pod("bad", forged.String()), "NoTrustedSignature")
}
