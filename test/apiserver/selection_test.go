package apiserver

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admission/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/test/bed"
)

// clusterSignedBy is a ClusterImagePolicy for namespaces with a label, by default that of their name.
const clusterSignedBy = `
apiVersion: pratique.dev/v1alpha1
kind: ClusterImagePolicy
metadata: {name: {{.ns}}}
spec:
  mode: {{or .mode "Enforce"}}
  namespaceSelector: {matchLabels: { {{or .label (print "kubernetes.io/metadata.name: " .ns)}} }}
  images: {include: ["{{or .include (print .host "/**")}}"]}
  references: {tags: Allow}
  authorities: [{name: release, key: {data: {{.release}}}}]
  require: {signature: {by: [release]}}
`

// TestRow17_ANamespaceOfThisMomentIsNoGap creates namespaces and, before any informer can have told, unsigned Pods in them. What
// selects the namespaces is a label: without the labels the policy would not be for them.
func TestRow17_ANamespaceOfThisMomentIsNoGap(t *testing.T) {
	const namespaces, atOnce = 100, 10
	s := parallelScene(t, "row17")
	s.policy(clusterSignedBy, with{"label": `"row17.example/tier": gold`})
	bad, good := s.unsigned("shop/api").String(), s.signed("shop/api").String()
	pods := func(ns string) (refused error) {
		if err := s.bed.Cluster.CreateNamespace(s.ctx, ns, map[string]string{"row17.example/tier": "gold"}); err != nil {
			return err
		}
		_, err := s.kube.CoreV1().Pods(ns).Create(s.ctx, pod("api", bad), metav1.CreateOptions{})
		switch {
		case err == nil:
			return fmt.Errorf("%s: an unsigned Pod was admitted", ns)
		case !strings.Contains(err.Error(), `admission webhook "images.pratique.dev" denied the request: 1 of 1 image refused`),
			!strings.Contains(err.Error(), "policy row17\n"), !strings.Contains(err.Error(), "NoTrustedSignature"):
			return fmt.Errorf("%s: it was refused, but not by the policy: %w", ns, err)
		}
		return nil
	}
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i := range namespaces {
		group.Go(func() error { return pods(fmt.Sprintf("row17-%03d", i)) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	s.in(t, "row17-000").admits(pod("signed", good))
	s.admits(pod("elsewhere", bad)) // without the label the policy is not about the namespace
}

// TestRow18_NothingIsAllowedBeforeThePoliciesAreRead starts a webhook that may not list ImagePolicies, as after a mistake in
// RBAC, and asks it directly.
func TestRow18_NothingIsAllowedBeforeThePoliciesAreRead(t *testing.T) {
	s := parallelScene(t, "row18")
	s.policy(signedBy)
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/api").String()
	may := func(name string, resources ...string) {
		s.t.Helper()
		_, err := s.kube.RbacV1().ClusterRoles().Create(s.ctx, &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Rules: []rbacv1.PolicyRule{{
				APIGroups: []string{"", "pratique.dev", "networking.k8s.io"}, Resources: resources, Verbs: []string{"get", "list", "watch", "patch"},
			}},
		}, metav1.CreateOptions{})
		s.want("making a role", err)
		_, err = s.kube.RbacV1().ClusterRoleBindings().Create(s.ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "blind"}},
		}, metav1.CreateOptions{})
		s.want("binding it", err)
	}
	may("row18-some", "namespaces", "clusterimagepolicies", "clusterimagepolicies/status", "trustroots", "trustroots/status", "imageexceptions", "imageexceptions/status", "servicecidrs")
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	s.want("making a user", s.bed.Cluster.WriteUserKubeconfig(kubeconfig, "blind"))
	blind := s.webhook(bed.WebhookOptions{Name: "row18", Kubeconfig: kubeconfig})
	_, err := blind.CA(s.ctx)
	s.want("its CA", err)
	s.eventually("it to listen", func() error {
		_, _, err := blind.Ready(s.ctx)
		return err
	})
	// Long enough for an informer that could list.
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		status, says, err := blind.Ready(s.ctx)
		if err != nil || status == http.StatusOK || !strings.Contains(says, "[-]policies failed") {
			t.Fatalf("/readyz of a webhook that can't list policies: %d, %v\n%s", status, err, says)
		}
		for _, image := range []string{good, bad} {
			answer := ask(t, blind, review(s.ns, pod("api", image)))
			if answer.Allowed || answer.Result.Code != http.StatusForbidden || !strings.HasPrefix(answer.Result.Message, "NotReady: ") {
				t.Fatalf("before the policies are read the answer is %+v, %+v", answer, answer.Result)
			}
			if answer.AuditAnnotations["reasons"] != "NotReady" {
				t.Errorf("the audit annotations are %v", answer.AuditAnnotations)
			}
		}
	}

	may("row18-all", "imagepolicies", "imagepolicies/status")
	s.within(2*patience, "readiness once policies may be listed", func() error {
		status, says, err := blind.Ready(s.ctx)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d: %s", status, says)
		}
		return err
	})
	if answer := ask(t, blind, review(s.ns, pod("api", good))); !answer.Allowed {
		t.Errorf("a signed Pod, once policies are read: %s", answer.Result.Message)
	}
	if answer := ask(t, blind, review(s.ns, pod("api", bad))); answer.Allowed || !strings.Contains(answer.Result.Message, "NoTrustedSignature") {
		t.Errorf("an unsigned Pod, once policies are read: %+v", answer)
	}
}

const allowAll = `
apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: allowed, namespace: {{.ns}}}
spec:
  mode: {{or .mode "Enforce"}}
  images: {include: ["{{.host}}/**"]}
  allow: {reason: images of the mesh}
`

func TestRow19_AnImageThatNoPolicyIsAboutIsRefusedWhereOneEnforces(t *testing.T) {
	s := parallelScene(t, "row19")
	bad := s.unsigned("other/tool").String()

	s.admits(pod("open", bad)) // nothing is enforced here yet, and the install's rule is Allow
	if d := s.lastDecision(); d.Decision != "allowed" || fmt.Sprint(d.Reasons) != "[NoPolicyInForce]" {
		t.Errorf("in an open namespace: %s %s", d.Decision, d.Reasons)
	}
	s.policy(signedBy, with{"name": "warns", "mode": "Warn", "include": s.reg.Host() + "/shop/**"})
	s.policy(signedBy, with{"name": "audits", "mode": "Audit", "include": s.reg.Host() + "/shop/**"})
	s.admits(pod("still-open", bad)) // Warn and Audit close nothing

	s.policy(signedBy, with{"include": s.reg.Host() + "/shop/**"})
	s.refuses(pod("closed", bad), "NoPolicyMatches: no enforcing ImagePolicy of the namespace is about this image")
	s.admits(pod("matched", s.signed("shop/api").String()))

	s.policy(allowAll)
	s.admits(pod("allowed", bad))

	// A cluster policy that enforces closes the namespace for its own level: nothing of the namespace opens it.
	s.policy(clusterSignedBy, with{"include": s.reg.Host() + "/shop/**"})
	s.refuses(pod("closed-above", bad), "NoPolicyMatches: no enforcing ClusterImagePolicy is about this image")
	s.admits(pod("matched-above", s.signed("shop/api").String()))
}

func TestRow19_ClusterAndNamespaceMustBothBePleased(t *testing.T) {
	s := parallelScene(t, "row19b")
	s.policy(clusterSignedBy)
	s.policy(allowAll)
	s.refuses(pod("api", s.unsigned("shop/api").String()), "policy row19b\n", "NoTrustedSignature")
	s.policy(signedBy, with{"include": s.reg.Host() + "/other/**"}) // a namespaced policy that is about something else adds nothing
	s.admits(pod("api", s.signed("shop/api").String()))
}

func TestRow19_TheInstallsRuleForOpenNamespaces(t *testing.T) {
	s := parallelScene(t, "row19c")
	bad := s.unsigned("shop/api").String()
	for _, rule := range []struct {
		name    string
		allowed bool
		says    string
	}{{"Deny", false, "NoPolicyMatches"}, {"Warn", true, "NoPolicyMatches"}} {
		w := s.webhook(bed.WebhookOptions{Name: "row19-" + rule.name, Flags: []string{"--unmatched-images", rule.name}})
		s.want("waiting for it", w.WaitReady(s.ctx))
		answer := ask(t, w, review(s.ns, pod("api", bad)))
		if answer.Allowed != rule.allowed || !strings.Contains(saidBy(answer), rule.says) {
			t.Errorf("%s: allowed %v, %s", rule.name, answer.Allowed, saidBy(answer))
		}
	}
}

// saidBy is all that an answer says to its user.
func saidBy(a *admissionv1.AdmissionResponse) string {
	text := strings.Join(a.Warnings, "\n")
	if a.Result != nil {
		text += a.Result.Message
	}
	return text
}
