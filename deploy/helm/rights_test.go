package helm

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestTheWebhookMayDoWhatItNeedsAndNoMore spells out every right.
func TestTheWebhookMayDoWhatItNeedsAndNoMore(t *testing.T) {
	t.Parallel()
	objects := decode(t, template(t))
	read := []string{"get", "list", "watch"}
	cluster := []rbacv1.PolicyRule{
		{APIGroups: []string{"pratique.dev"}, Resources: []string{"imagepolicies", "clusterimagepolicies", "trustroots", "imageexceptions"}, Verbs: read},
		{APIGroups: []string{"pratique.dev"}, Resources: []string{"imagepolicies/status", "clusterimagepolicies/status", "trustroots/status", "imageexceptions/status"}, Verbs: []string{"update", "patch"}},
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: read},
		{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"servicecidrs"}, Verbs: read},
		{APIGroups: []string{""}, Resources: []string{"secrets", "configmaps"}, Verbs: []string{"get"}},
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"get"}},
		{APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"}, Verbs: read},
		{APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"}, ResourceNames: []string{"pratique"}, Verbs: []string{"update", "patch"}},
	}
	if diff := cmp.Diff(cluster, clusterRole(t, objects, "pratique-webhook").Rules); diff != "" {
		t.Errorf("in every namespace (-want +rendered):\n%s", diff)
	}
	own := []rbacv1.PolicyRule{
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "create", "update"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: read},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"pratique-webhook-tls"}, Verbs: []string{"update"}},
		{APIGroups: []string{"", "events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
	}
	if diff := cmp.Diff(own, only[*rbacv1.Role](t, objects).Rules); diff != "" {
		t.Errorf("in its own namespace (-want +rendered):\n%s", diff)
	}
	account := only[*corev1.ServiceAccount](t, objects)
	for _, binding := range all[*rbacv1.ClusterRoleBinding](objects) {
		if s := binding.Subjects; len(s) != 1 || s[0].Kind != "ServiceAccount" || s[0].Name != account.Name || s[0].Namespace != account.Namespace {
			t.Errorf("ClusterRoleBinding of %+v", s)
		}
	}
	for _, binding := range all[*rbacv1.RoleBinding](objects) {
		if s := binding.Subjects; len(s) != 1 || s[0].Kind != "ServiceAccount" || s[0].Name != account.Name || s[0].Namespace != account.Namespace {
			t.Errorf("RoleBinding of %+v", s)
		}
	}
	if pod := only[*appsv1.Deployment](t, objects).Spec.Template.Spec; pod.ServiceAccountName != account.Name {
		t.Errorf("the Pods run as %s", pod.ServiceAccountName)
	}
}

// clusterRole returns the ClusterRole of a name.
func clusterRole(t *testing.T, objects []client.Object, name string) *rbacv1.ClusterRole {
	t.Helper()
	roles := all[*rbacv1.ClusterRole](objects)
	i := slices.IndexFunc(roles, func(role *rbacv1.ClusterRole) bool { return role.Name == name })
	if i < 0 {
		t.Fatalf("no ClusterRole %s", name)
	}
	return roles[i]
}

// TestARightGoesWithItsUse: what cert-controller needs, the webhook has only where cert-controller works.
func TestARightGoesWithItsUse(t *testing.T) {
	t.Parallel()
	has := func(rules []rbacv1.PolicyRule, verb, resource string) bool {
		return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
			return slices.Contains(r.Verbs, verb) && slices.Contains(r.Resources, resource)
		})
	}
	cases := []struct {
		name, values           string
		validating, mutating   bool
		watchSecrets, ownLease bool
		pins                   bool
	}{
		{"with all of it", "", true, true, true, true, true},
		{"without pinning", "pin: {enabled: false}", true, false, true, true, false},
		{"with cert-manager", "certManager: {enabled: true}", false, false, false, true, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			objects := decode(t, template(t, values(t, c.values)...))
			cluster, own := clusterRole(t, objects, "pratique-webhook").Rules, only[*rbacv1.Role](t, objects).Rules
			for _, verb := range []string{"get", "list", "watch", "update", "patch"} {
				// Ours may be read by name always: what edits of them leave out is told.
				if got := has(cluster, verb, "validatingwebhookconfigurations"); got != (c.validating || verb == "get") {
					t.Errorf("may %s validatingwebhookconfigurations: %t", verb, got)
				}
				if got := has(cluster, verb, "mutatingwebhookconfigurations"); got != (c.mutating || verb == "get" && c.pins) {
					t.Errorf("may %s mutatingwebhookconfigurations: %t", verb, got)
				}
			}
			for _, verb := range []string{"list", "watch", "update"} {
				if got := has(own, verb, "secrets"); got != c.watchSecrets {
					t.Errorf("may %s Secrets of its namespace: %t", verb, got)
				}
				if has(cluster, verb, "secrets") {
					t.Errorf("may %s every namespace's Secrets", verb)
				}
			}
			if got := has(own, "update", "leases"); got != c.ownLease {
				t.Errorf("may keep its lease: %t", got)
			}
		})
	}
}

// TestPeopleReadPoliciesWithTheirNamespace: whoever may view, edit or administer may read; who may write is bound to
// the author's role by name, and has it by no other.
func TestPeopleReadPoliciesWithTheirNamespace(t *testing.T) {
	t.Parallel()
	policies := []string{"imagepolicies", "clusterimagepolicies", "trustroots"}
	for rendering, args := range renderings(t) {
		t.Run(rendering, func(t *testing.T) {
			t.Parallel()
			objects := decode(t, template(t, args...))
			view, author := clusterRole(t, objects, "pratique-view"), clusterRole(t, objects, "pratique-policy-author")
			exceptions := []string{"imageexceptions"}
			want := []rbacv1.PolicyRule{{APIGroups: []string{"pratique.dev"}, Resources: slices.Concat(policies, exceptions), Verbs: []string{"get", "list", "watch"}}}
			if diff := cmp.Diff(want, view.Rules); diff != "" {
				t.Errorf("view (-want +rendered):\n%s", diff)
			}
			want[0].Resources, want[0].Verbs = exceptions, []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "except"}
			if diff := cmp.Diff(want, clusterRole(t, objects, "pratique-exception-author").Rules); diff != "" {
				t.Errorf("exception-author (-want +rendered):\n%s", diff)
			}
			want[0].Resources, want[0].Verbs = policies, []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "enforce"}
			if diff := cmp.Diff(want, author.Rules); diff != "" {
				t.Errorf("policy-author (-want +rendered):\n%s", diff)
			}
			for _, role := range all[*rbacv1.ClusterRole](objects) {
				for _, into := range []string{"view", "edit", "admin"} {
					if got := role.Labels["rbac.authorization.k8s.io/aggregate-to-"+into] == "true"; got != (role == view) {
						t.Errorf("%s is part of %s: %t", role.Name, into, got)
					}
				}
				if role.AggregationRule != nil {
					t.Errorf("%s is made of others", role.Name)
				}
			}
		})
	}
}
