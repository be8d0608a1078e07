package apiserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// as is the scene as somebody else acts in it.
func (s *scene) as(user string, groups ...string) *scene {
	s.t.Helper()
	config, err := s.bed.Cluster.UserConfig(user, groups...)
	s.want("making a user", err)
	other := *s
	other.kube, other.objects = clients(s.t, config)
	return &other
}

// rule is what RBAC grants: verbs on resources of a group, on those of the names if there are any.
func rule(group, resources, verbs string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: strings.Fields(resources), Verbs: strings.Fields(verbs), ResourceNames: names}
}

// may grants rights in the whole cluster, and waits until the API server knows. The user is one that no other test has.
func (s *scene) may(user string, rules ...rbacv1.PolicyRule) {
	s.t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{GenerateName: user + "-"}, Rules: rules}
	role, err := s.kube.RbacV1().ClusterRoles().Create(s.ctx, role, metav1.CreateOptions{})
	s.want("making a ClusterRole", err)
	_, err = s.kube.RbacV1().ClusterRoleBindings().Create(s.ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{})
	s.want("binding it", err)
	s.granted(user, "", rules)
}

// mayHere grants rights in the scene's namespace.
func (s *scene) mayHere(user string, rules ...rbacv1.PolicyRule) {
	s.t.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{GenerateName: user + "-"}, Rules: rules}
	role, err := s.kube.RbacV1().Roles(s.ns).Create(s.ctx, role, metav1.CreateOptions{})
	s.want("making a Role", err)
	_, err = s.kube.RbacV1().RoleBindings(s.ns).Create(s.ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{})
	s.want("binding it", err)
	s.granted(user, s.ns, rules)
}

func (s *scene) granted(user, ns string, rules []rbacv1.PolicyRule) {
	s.t.Helper()
	for _, r := range rules {
		asked := &authorizationv1.ResourceAttributes{Namespace: ns, Verb: r.Verbs[0], Group: r.APIGroups[0], Resource: r.Resources[0]}
		if len(r.ResourceNames) > 0 {
			asked.Name = r.ResourceNames[0]
		}
		s.eventually(user+" to be granted it", func() error {
			review, err := s.bed.Cluster.Client().AuthorizationV1().SubjectAccessReviews().Create(s.ctx, &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: asked},
			}, metav1.CreateOptions{})
			if err == nil && !review.Status.Allowed {
				err = fmt.Errorf("%+v is denied", *asked)
			}
			return err
		})
	}
}

// guarded waits until the guards are in force: the API server takes a second or two to take up a policy.
func (s *scene) guarded() {
	s.t.Helper()
	s.may("guards-probe", rule("admissionregistration.k8s.io", "validatingwebhookconfigurations", "delete"))
	probe := s.as("guards-probe").kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	s.eventually("the guards to be in force", func() error {
		return guardedBy(webhooksGuard, probe.Delete(s.ctx, "pratique", metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}))
	})
}

// guardedBy checks that a request was refused by a guard, as forbidden and in these words.
func guardedBy(guard string, err error, says ...string) error {
	if err == nil {
		return fmt.Errorf("it was let pass, and should have been refused")
	}
	status, ok := err.(apierrors.APIStatus)
	if !ok || status.Status().Code != http.StatusForbidden {
		return fmt.Errorf("it failed, but not as forbidden (403): %w", err)
	}
	for _, want := range append([]string{fmt.Sprintf("ValidatingAdmissionPolicy '%s' with binding '%s' denied request: ", guard, guard)}, says...) {
		if !strings.Contains(status.Status().Message, want) {
			return fmt.Errorf("the refusal does not say %q: %w", want, err)
		}
	}
	return nil
}

func (s *scene) wantGuarded(what, guard string, err error, says ...string) {
	s.t.Helper()
	if err := guardedBy(guard, err, says...); err != nil {
		s.t.Errorf("%s: %v", what, err)
	}
}

// label changes labels of a namespace: a value sets one, nil removes it. A subresource is that through which.
func (s *scene) label(ns string, labels map[string]any, subresource ...string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	s.want("making a patch", err)
	_, err = s.kube.CoreV1().Namespaces().Patch(s.ctx, ns, types.MergePatchType, patch, metav1.PatchOptions{}, subresource...)
	return err
}

// namespaceLabelled tries to make a namespace.
func (s *scene) namespaceLabelled(name string, labels map[string]string) error {
	_, err := s.kube.CoreV1().Namespaces().Create(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	return err
}

// labelPolicy is a ClusterImagePolicy for namespaces by two labels: one that has to be there, and one that must not.
const labelPolicy = `
apiVersion: pratique.dev/v1alpha1
kind: ClusterImagePolicy
metadata: {name: {{.ns}}}
spec:
  namespaceSelector:
    matchLabels: { {{.ns}}.example/tier: gold }
    matchExpressions: [{key: {{.ns}}.example/exempt, operator: DoesNotExist}]
  images: {include: ["{{.host}}/**"]}
  references: {tags: Allow}
  authorities: [{name: release, key: {data: {{.release}}}}]
  require: {signature: {by: [release]}}
`

const (
	labelsGuard    = "pratique-namespace-labels"
	newLabelsGuard = "pratique-new-namespace-labels"
)

func TestRow16_WhoMayLabelANamespaceIsGuarded(t *testing.T) {
	const ns, tier, exempt = "row16-guarded", "row16-guarded.example/tier", "row16-guarded.example/exempt"
	s := alone(t, ns)
	s.guarded()
	s.want("labelling it", s.label(ns, map[string]any{tier: "gold"}))
	s.namespace(ns+"-other", map[string]string{tier: "gold"})
	s.policy(labelPolicy)
	bad := s.unsigned("shop/api").String()

	// The owner of a namespace may do everything in it, which includes its Namespace object, and grants it to themselves.
	s.mayHere("row16-owner", rule("*", "*", "*"))
	s.as("row16-owner").mayHere("row16-owner", rule("pratique.dev", "namespaces imagepolicies", "relabel enforce"))
	s.may("row16-admin", rule("", "namespaces namespaces/status namespaces/finalize", "create get list update patch delete"))
	s.may("row16-holder", rule("", "namespaces", "create get list update patch"), rule("pratique.dev", "namespaces", "relabel", ns, ns+"-made"))
	owner, admin, holder := s.as("row16-owner"), s.as("row16-admin"), s.as("row16-holder")

	held := func(t *testing.T, when string) {
		s, owner, admin, holder := s.in(t, ns), owner.in(t, ns), admin.in(t, ns), holder.in(t, ns)
		for name, who := range map[string]*scene{"owner": owner, "admin": admin} {
			says := func(label string) []string {
				return []string{`metadata.labels["` + label + `"]: ClusterImagePolicy ` + ns + " selects namespaces by this label",
					`{apiGroups: [pratique.dev], resources: [namespaces], resourceNames: ["` + ns + `"], verbs: [relabel]}`}
			}
			s.wantGuarded(name+" removes it", labelsGuard, who.label(ns, map[string]any{tier: nil}), says(tier)...)
			s.wantGuarded(name+" changes it", labelsGuard, who.label(ns, map[string]any{tier: "lead"}), says(tier)...)
			s.wantGuarded(name+" adds the other", labelsGuard, who.label(ns, map[string]any{exempt: ""}), says(exempt)...)
			now, err := who.kube.CoreV1().Namespaces().Get(s.ctx, ns, metav1.GetOptions{})
			s.want("reading it", err)
			now.Labels = nil
			_, err = who.kube.CoreV1().Namespaces().Update(s.ctx, now, metav1.UpdateOptions{})
			s.wantGuarded(name+" removes all", labelsGuard, err, says(tier)...)
			s.want(name+" sets a label that no policy uses", who.label(ns, map[string]any{"row16.example/team": when + name}))
		}
		const subresources = "pratique-namespace-subresources"
		s.wantGuarded("through its status", subresources, admin.label(ns, map[string]any{tier: nil}, "status"), "metadata.labels: namespaces/status is no way to change them")
		s.wantGuarded("through its finalizers", subresources, admin.finalize(ns, map[string]string{exempt: ""}), "metadata.labels: namespaces/finalize is no way to change them")
		s.want("its finalizers without a label", admin.finalize(ns, nil))
		s.wantGuarded("a new namespace with it", newLabelsGuard, admin.namespaceLabelled(ns+"-new", map[string]string{exempt: ""}), `metadata.labels["`+exempt+`"]`, `resourceNames: ["`+ns+`-new"]`)
		s.want("a new namespace without it", admin.namespaceLabelled(ns+"-"+when, map[string]string{"row16.example/team": "a"}))
		s.wantGuarded("whoever may relabel another", labelsGuard, holder.label(ns+"-other", map[string]any{tier: nil}), `resourceNames: ["`+ns+`-other"]`)
		s.want("whoever may relabel this", holder.label(ns, map[string]any{tier: "lead", exempt: ""}))
		s.want("and back", holder.label(ns, map[string]any{tier: "gold", exempt: nil}))
	}
	judged := func() {
		s.t.Helper()
		s.refuses(pod("api", bad), "policy "+ns+"\n", "NoTrustedSignature")
	}
	judged()
	t.Run("with the webhook running", func(t *testing.T) { held(t, "running") })
	judged()
	s.want("stopping the webhook", s.bed.Webhook.Stop())
	t.Run("with the webhook stopped", func(t *testing.T) { held(t, "stopped") })
	s.wantNoAnswer("api", bad)
	s.want("starting it again", s.restart())
	judged()
	s.want("whoever may makes a namespace with it", holder.namespaceLabelled(ns+"-made", map[string]string{exempt: ""}))
}

// finalize writes a namespace's finalizers as they are, and labels beside those that it has.
func (s *scene) finalize(name string, labels map[string]string) error {
	ns, err := s.kube.CoreV1().Namespaces().Get(s.ctx, name, metav1.GetOptions{})
	s.want("reading it", err)
	for key, value := range labels {
		ns.Labels[key] = value
	}
	_, err = s.kube.CoreV1().Namespaces().Finalize(s.ctx, ns, metav1.UpdateOptions{})
	return err
}

// TestRow16_TheGuardFollowsThePolicies: a label is held from the moment that a policy uses it, whatever the policy's mode, and free
// again when none does.
func TestRow16_TheGuardFollowsThePolicies(t *testing.T) {
	const ns, tier = "row16-follows", "row16-follows.example/tier"
	s := parallelScene(t, ns)
	s.guarded()
	s.may("row16-follower", rule("", "namespaces", "patch"))
	somebody := s.as("row16-follower")
	value := 0
	label := func() error {
		value++
		return somebody.label(ns, map[string]any{tier: fmt.Sprint(value)})
	}
	s.want("before there is a policy", label())
	for _, mode := range []string{"Enforce", "Warn", "Audit"} {
		u, err := s.tryPolicy(clusterSignedBy, with{"label": `"` + tier + `": gold`, "mode": mode})
		s.want("applying a policy", err)
		s.within(patience, "the label to be held by a policy with mode "+mode, func() error { return guardedBy(labelsGuard, label()) })
		s.want("deleting it", s.policies(u).Delete(s.ctx, u.GetName(), metav1.DeleteOptions{}))
		s.eventually("the label to be free", label)
	}
}

// TestTheGuardsPassTheAPIServersTypeCheck: it checks a policy's expressions against the schemas of what the policy is about, and
// says what it finds in the policy's status.
func TestTheGuardsPassTheAPIServersTypeCheck(t *testing.T) {
	s := parallelScene(t, "guards-types")
	s.eventually("the guards to be checked", func() error {
		list, err := s.kube.AdmissionregistrationV1().ValidatingAdmissionPolicies().List(s.ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=pratique"})
		if err != nil {
			return err
		}
		var names []string
		for _, p := range list.Items {
			names = append(names, p.Name)
			if p.Status.ObservedGeneration != p.Generation || p.Status.TypeChecking == nil {
				return fmt.Errorf("%s has the status %+v", p.Name, p.Status)
			}
			for _, w := range p.Status.TypeChecking.ExpressionWarnings {
				t.Errorf("%s: %s: %s", p.Name, w.FieldRef, w.Warning)
			}
		}
		want := []string{"pratique-crds", exceptionsGuard, labelsGuard, "pratique-namespace-subresources", newLabelsGuard, policiesGuard, webhooksGuard}
		if slices.Sort(names); !slices.Equal(names, want) {
			t.Errorf("the guards are %s, want %s", names, want)
		}
		return nil
	})
}
