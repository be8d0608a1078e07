package apiserver

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestRow12_APodWithoutANameIsJudged(t *testing.T) {
	s := parallelScene(t, "row12")
	s.policy(signedBy)
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/api").String()
	named := func(image string) *corev1.Pod {
		p := pod("", image)
		p.GenerateName = "api-"
		return p
	}
	_, err := s.create(named(bad))
	s.wantRefused(err, "container c0: "+bad)
	s.wantNoPod("")
	first, second := s.admits(named(good)), s.admits(named(good))
	if first.Name == "" || first.Name == second.Name {
		t.Errorf("the Pods are called %q and %q", first.Name, second.Name)
	}
}

// The namespace that a Pod says it is in is the Pod's author's word: the API server holds it against the request's, and the
// webhook never reads it.
func TestRow13_OnlyTheRequestsNamespaceCounts(t *testing.T) {
	s := parallelScene(t, "row13-closed")
	s.namespace("row13-open", nil)
	s.policy(signedBy)
	bad := s.unsigned("shop/api").String()
	liar := pod("liar", bad)
	liar.Namespace = "row13-open"

	if _, err := s.create(liar); err == nil {
		t.Error("the API server took a Pod of another namespace than the request's")
	}
	s.wantNoPod("liar")
	s.refuses(pod("silent", bad), "policy row13-closed/signed")
	s.in(t, "row13-open").admits(pod("silent", bad))

	// Past the API server's own check.
	if answer := ask(t, s.bed.Webhook, review("row13-closed", liar)); answer.Allowed {
		t.Error("a Pod that says it is in another namespace escapes the policy of the request's")
	}
	liar.Namespace = "row13-closed"
	if answer := ask(t, s.bed.Webhook, review("row13-open", liar)); !answer.Allowed {
		t.Errorf("a Pod is judged by the namespace that it says: %s", answer.Result.Message)
	}
	if answer := ask(t, s.bed.Webhook, review("", liar)); answer.Allowed {
		t.Error("a request without a namespace is allowed")
	}
	if answer := ask(t, s.bed.Webhook, review("row13-nowhere", liar)); answer.Allowed {
		t.Error("a request of a namespace that nobody knows is allowed")
	}
}

// forged is what other products leave on what they verified or pass over, and what somebody could take ours to be.
func forged() map[string]string {
	return map[string]string{
		"pratique.dev/verified":                  "true",
		"images.pratique.dev/decision":           "allowed",
		"pratique.dev/exempt":                    "true",
		"pratique.dev/skip":                      "true",
		"kyverno.io/verify-images":               `{"*":"pass"}`,
		"kyverno.io/image-verification-outcomes": `{"signed":{"ruleType":"ImageVerify","status":"pass"}}`,
		"policy.sigstore.dev/include":            "false",
		"admission.gatekeeper.sh/ignore":         "no-self-managing",
		"securityconnaisseur/validation":         "skip",
	}
}

func TestRow14_ForgedMarksMakeNoDifference(t *testing.T) {
	s := parallelScene(t, "row14")
	s.policy(signedBy)
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/api").String()
	marked := pod("marked", bad)
	marked.Annotations, marked.Labels = forged(), map[string]string{"pratique.dev/verified": "true", "policy.sigstore.dev/include": "false"}
	s.refuses(marked, "container c0: "+bad, "NoTrustedSignature")

	marked = pod("marked", good)
	marked.Annotations = forged()
	s.admits(marked)
	s.wantRefused(s.patch("marked", `{"spec":{"containers":[{"name":"c0","image":"`+bad+`"}]}}`), "container c0: "+bad)
	later := pod("later", good)
	s.admits(later)
	s.want("annotating it", s.patch("later", `{"metadata":{"annotations":{"pratique.dev/verified":"true"}}}`))
	s.wantRefused(s.patch("later", `{"spec":{"containers":[{"name":"c0","image":"`+bad+`"}]}}`), "container c0: "+bad)
}

// A namespace is exempt by its name, which the API server itself writes into a label.
func TestRow16_NoLabelExemptsANamespace(t *testing.T) {
	s := parallelScene(t, "row16")
	s.policy(signedBy)
	bad := s.unsigned("shop/api").String()
	label := func(labels string) (*corev1.Namespace, error) {
		patch := []byte(`{"metadata":{"labels":{` + labels + `}}}`)
		return s.kube.CoreV1().Namespaces().Patch(s.ctx, s.ns, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	s.eventually("labels of other products", func() error { // the guards refuse until the API server knows their CRD, up to 30 s after its coming
		_, err := label(`"control-plane":"true","policy.sigstore.dev/include":"false","pratique.dev/exempt":"true",` +
			`"admission.gatekeeper.sh/ignore":"true","securityconnaisseur/webhook":"ignore"`)
		return err
	})
	s.refuses(pod("api", bad), "container c0: "+bad)
	for _, value := range []string{`"kube-system"`, `"pratique-system"`, `null`} {
		if ns, err := label(`"kubernetes.io/metadata.name":` + value); err == nil && ns.Labels["kubernetes.io/metadata.name"] != s.ns {
			t.Errorf("the API server let the namespace be called %q", ns.Labels["kubernetes.io/metadata.name"])
		}
		s.refuses(pod("api", bad), "container c0: "+bad)
	}
}
