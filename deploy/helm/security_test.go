package helm

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// The names of the webhooks that admission messages, metrics and audit annotations carry.
const (
	imagesWebhook   = "images.pratique.dev"
	policiesWebhook = "policies.pratique.dev"
)

// renderings are the values under which a rule of security must hold: as it comes, outside the cluster, and with
// everything set that sounds as if it could loosen it.
func renderings(t *testing.T) map[string][]string {
	t.Helper()
	return map[string][]string{
		"as it comes":         nil,
		"outside the cluster": outside(t),
		"everything opened": values(t, `
unmatchedImages: Allow
exemptNamespaces: [kube-system, team-a]
plainHTTP: [registry.local]
webhook: {timeoutSeconds: 30}
replicas: 1
priorityClassName: ""
`),
	}
}

// eachWebhook calls check with the named webhook of every rendering.
func eachWebhook(t *testing.T, name string, check func(*testing.T, admissionregistrationv1.ValidatingWebhook)) {
	t.Helper()
	for rendering, args := range renderings(t) {
		t.Run(rendering, func(t *testing.T) {
			t.Parallel()
			check(t, webhook(t, name, args...))
		})
	}
}

// webhook renders one webhook.
func webhook(t *testing.T, name string, args ...string) admissionregistrationv1.ValidatingWebhook {
	t.Helper()
	configuration := only[*admissionregistrationv1.ValidatingWebhookConfiguration](t, decode(t, template(t, args...)))
	i := slices.IndexFunc(configuration.Webhooks, func(w admissionregistrationv1.ValidatingWebhook) bool { return w.Name == name })
	if i < 0 {
		t.Fatalf("no webhook %s", name)
	}
	return configuration.Webhooks[i]
}

// covers says whether a rule of the webhook matches the operation on the resource, wildcards aside: the chart
// uses none.
func covers(w admissionregistrationv1.ValidatingWebhook, group, resource string, operation admissionregistrationv1.OperationType) bool {
	return slices.ContainsFunc(w.Rules, func(r admissionregistrationv1.RuleWithOperations) bool {
		return slices.Contains(r.APIGroups, group) && slices.Contains(r.Resources, resource) && slices.Contains(r.Operations, operation)
	})
}

func TestRow01_EphemeralContainersAreJudged(t *testing.T) {
	t.Parallel()
	eachWebhook(t, imagesWebhook, func(t *testing.T, w admissionregistrationv1.ValidatingWebhook) {
		if !covers(w, "", "pods/ephemeralcontainers", admissionregistrationv1.Update) {
			t.Errorf("rules %+v", w.Rules)
		}
	})
}

func TestRow04_UpdatesOfPodsAreJudged(t *testing.T) {
	t.Parallel()
	eachWebhook(t, imagesWebhook, func(t *testing.T, w admissionregistrationv1.ValidatingWebhook) {
		for _, operation := range []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update} {
			if !covers(w, "", "pods", operation) {
				t.Errorf("%s of pods: rules %+v", operation, w.Rules)
			}
		}
	})
}

// TestRow05_NothingButImagesIsWaitedFor: a resize, an eviction, a binding and a status carry no image.
func TestRow05_NothingButImagesIsWaitedFor(t *testing.T) {
	t.Parallel()
	eachWebhook(t, imagesWebhook, func(t *testing.T, w admissionregistrationv1.ValidatingWebhook) {
		var resources []string
		for _, rule := range w.Rules {
			resources = append(resources, rule.Resources...)
		}
		if diff := cmp.Diff([]string{"pods", "pods/ephemeralcontainers"}, resources); diff != "" {
			t.Errorf("(-want +rendered):\n%s", diff)
		}
	})
}

func TestRow15_NobodyOptsOutByALabel(t *testing.T) {
	t.Parallel()
	for _, name := range []string{imagesWebhook, policiesWebhook} {
		eachWebhook(t, name, func(t *testing.T, w admissionregistrationv1.ValidatingWebhook) {
			if w.ObjectSelector != nil {
				t.Errorf("%s has the objectSelector %+v", w.Name, w.ObjectSelector)
			}
		})
	}
}

// TestRow16_NamespacesAreExemptByTheirNameAlone: kubernetes.io/metadata.name is the one label of a namespace that
// nobody can set.
func TestRow16_NamespacesAreExemptByTheirNameAlone(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		args []string
		want []string
	}{
		{"as it comes", nil, []string{Namespace, "kube-system"}},
		{"outside the cluster", outside(t), []string{Namespace, "kube-system"}},
		{"some more", values(t, "exemptNamespaces: [kube-system, backup]"), []string{Namespace, "kube-system", "backup"}},
		{"none but its own", values(t, "exemptNamespaces: []"), []string{Namespace}},
		{"its own is not named twice", values(t, "exemptNamespaces: ["+Namespace+"]"), []string{Namespace}},
		{"names that YAML would read otherwise", values(t, `exemptNamespaces: ["null", "1e3", "007"]`), []string{Namespace, "null", "1e3", "007"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			selector := webhook(t, imagesWebhook, c.args...).NamespaceSelector
			if selector == nil || len(selector.MatchLabels) != 0 || len(selector.MatchExpressions) != 1 {
				t.Fatalf("namespaceSelector %+v", selector)
			}
			e := selector.MatchExpressions[0]
			if e.Key != corev1.LabelMetadataName || e.Operator != "NotIn" {
				t.Errorf("it selects by %s %s", e.Key, e.Operator)
			}
			if diff := cmp.Diff(c.want, e.Values); diff != "" {
				t.Errorf("exempt namespaces (-want +rendered):\n%s", diff)
			}
		})
	}
}

func TestRow16_APolicyIsJudgedInEveryNamespace(t *testing.T) {
	t.Parallel()
	eachWebhook(t, policiesWebhook, func(t *testing.T, w admissionregistrationv1.ValidatingWebhook) {
		if w.NamespaceSelector != nil {
			t.Errorf("namespaceSelector %+v", w.NamespaceSelector)
		}
		for _, resource := range []string{"imagepolicies", "clusterimagepolicies"} {
			for _, operation := range []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update} {
				if !covers(w, "pratique.dev", resource, operation) {
					t.Errorf("%s of %s: rules %+v", operation, resource, w.Rules)
				}
			}
		}
	})
}

func TestRow22_EquivalentResourcesAreJudgedToo(t *testing.T) {
	t.Parallel()
	for _, name := range []string{imagesWebhook, policiesWebhook} {
		eachWebhook(t, name, func(t *testing.T, w admissionregistrationv1.ValidatingWebhook) {
			if w.MatchPolicy == nil || *w.MatchPolicy != admissionregistrationv1.Equivalent {
				t.Errorf("%s has matchPolicy %v", w.Name, w.MatchPolicy)
			}
		})
	}
}

// TestRow23_ConditionsReadNothingThatAUserCanSetToBePassedOver looks at the words; conditions_test.go looks at what
// the conditions do.
func TestRow23_ConditionsReadNothingThatAUserCanSetToBePassedOver(t *testing.T) {
	t.Parallel()
	for _, name := range []string{imagesWebhook, policiesWebhook} {
		eachWebhook(t, name, func(t *testing.T, w admissionregistrationv1.ValidatingWebhook) {
			if len(w.MatchConditions) != 1 {
				t.Errorf("%s has %d matchConditions, and each could pass a request over", w.Name, len(w.MatchConditions))
			}
			for _, c := range w.MatchConditions {
				for _, word := range []string{"metadata", "labels", "annotations", "userInfo", "authorizer", "deletion", "owner", "dryRun", "options", "namespaceObject", "status"} {
					if strings.Contains(c.Expression, word) {
						t.Errorf("%s reads %s:\n%s", c.Name, word, c.Expression)
					}
				}
			}
		})
	}
}

// TestRow104_AFailureNeverAdmits: no value turns failurePolicy to Ignore, and both webhooks say so.
func TestRow104_AFailureNeverAdmits(t *testing.T) {
	t.Parallel()
	for _, name := range []string{imagesWebhook, policiesWebhook} {
		eachWebhook(t, name, func(t *testing.T, w admissionregistrationv1.ValidatingWebhook) {
			if w.FailurePolicy == nil || *w.FailurePolicy != admissionregistrationv1.Fail {
				t.Errorf("%s has failurePolicy %v", w.Name, w.FailurePolicy)
			}
		})
	}
}

// TestRow104_TheWebhookObjectsAreOrdinaryObjects: a hook would be deleted and made anew by an upgrade, and admit what
// comes between.
func TestRow104_TheWebhookObjectsAreOrdinaryObjects(t *testing.T) {
	t.Parallel()
	for name, args := range renderings(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			configuration := only[*admissionregistrationv1.ValidatingWebhookConfiguration](t, decode(t, template(t, args...)))
			if hook, ok := configuration.Annotations["helm.sh/hook"]; ok {
				t.Errorf("it is a %s hook", hook)
			}
		})
	}
}

func TestTheAPIServerIsAskedAsItShouldBe(t *testing.T) {
	t.Parallel()
	cases := []struct {
		webhook, path string
		sideEffects   admissionregistrationv1.SideEffectClass
	}{
		{imagesWebhook, "/validate", admissionregistrationv1.SideEffectClassNoneOnDryRun},
		{policiesWebhook, "/validate-policy", admissionregistrationv1.SideEffectClassNone},
	}
	for _, c := range cases {
		t.Run(c.webhook, func(t *testing.T) {
			t.Parallel()
			inside, elsewhere := webhook(t, c.webhook), webhook(t, c.webhook, outside(t)...)
			if service := inside.ClientConfig.Service; service == nil || *service.Path != c.path || inside.ClientConfig.URL != nil || inside.ClientConfig.CABundle != nil {
				t.Errorf("in the cluster: %+v", inside.ClientConfig)
			}
			if config := elsewhere.ClientConfig; config.URL == nil || *config.URL != placeholderURL+c.path || config.Service != nil || string(config.CABundle) != "CA-BUNDLE-PLACEHOLDER" {
				t.Errorf("outside the cluster: %+v", config)
			}
			if *inside.SideEffects != c.sideEffects || *inside.TimeoutSeconds != 10 || !slices.Equal(inside.AdmissionReviewVersions, []string{"v1"}) {
				t.Errorf("sideEffects %s, timeoutSeconds %d, admissionReviewVersions %s", *inside.SideEffects, *inside.TimeoutSeconds, inside.AdmissionReviewVersions)
			}
		})
	}
	t.Run("a slash at the end of webhook.url is not doubled", func(t *testing.T) {
		t.Parallel()
		if got := *webhook(t, imagesWebhook, values(t, "webhook: {url: 'https://a:1/p/'}")...).ClientConfig.URL; got != "https://a:1/p/validate" {
			t.Error(got)
		}
	})
}

// TestTheWebhookMayDoWhatItNeedsAndNoMore spells out every right.
func TestTheWebhookMayDoWhatItNeedsAndNoMore(t *testing.T) {
	t.Parallel()
	objects := decode(t, template(t))
	read := []string{"get", "list", "watch"}
	cluster := []rbacv1.PolicyRule{
		{APIGroups: []string{"pratique.dev"}, Resources: []string{"imagepolicies", "clusterimagepolicies"}, Verbs: read},
		{APIGroups: []string{"pratique.dev"}, Resources: []string{"imagepolicies/status", "clusterimagepolicies/status"}, Verbs: []string{"update", "patch"}},
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: read},
		{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"servicecidrs"}, Verbs: read},
		{APIGroups: []string{""}, Resources: []string{"secrets", "configmaps"}, Verbs: []string{"get"}},
		{APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"validatingwebhookconfigurations"}, Verbs: read},
		{APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"validatingwebhookconfigurations"}, ResourceNames: []string{"pratique"}, Verbs: []string{"update", "patch"}},
	}
	if diff := cmp.Diff(cluster, only[*rbacv1.ClusterRole](t, objects).Rules); diff != "" {
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

// TestThePodsAreRestricted holds them to the restricted Pod security standard and a little more.
func TestThePodsAreRestricted(t *testing.T) {
	t.Parallel()
	pod := only[*appsv1.Deployment](t, decode(t, template(t))).Spec.Template.Spec
	if s := pod.SecurityContext; s == nil || !*s.RunAsNonRoot || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("Pod: %+v", s)
	}
	if pod.HostNetwork || pod.HostPID || pod.HostIPC {
		t.Error("the Pod uses a namespace of its node")
	}
	for _, volume := range pod.Volumes {
		if dir := volume.EmptyDir; dir == nil || dir.Medium != corev1.StorageMediumMemory || dir.SizeLimit.Value() > 1<<20 {
			t.Errorf("volume %s is more than a little memory: %+v", volume.Name, volume)
		}
	}
	for _, container := range slices.Concat(pod.InitContainers, pod.Containers) {
		s := container.SecurityContext
		if s == nil || *s.AllowPrivilegeEscalation || *s.Privileged || !*s.ReadOnlyRootFilesystem || !*s.RunAsNonRoot {
			t.Errorf("container %s: %+v", container.Name, s)
		}
		want := &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}
		if diff := cmp.Diff(want, s.Capabilities); diff != "" {
			t.Errorf("container %s: capabilities (-want +rendered):\n%s", container.Name, diff)
		}
	}
}

func TestTheWebhookStaysUp(t *testing.T) {
	t.Parallel()
	objects := decode(t, template(t))
	deployment := only[*appsv1.Deployment](t, objects)
	pod := deployment.Spec.Template.Spec
	t.Run("three replicas, none missing while they are replaced", func(t *testing.T) {
		if *deployment.Spec.Replicas != 3 || deployment.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
			t.Errorf("%d replicas, %+v", *deployment.Spec.Replicas, deployment.Spec.Strategy)
		}
	})
	t.Run("a drain takes one at a time and never waits forever", func(t *testing.T) {
		budget := only[*policyv1.PodDisruptionBudget](t, objects).Spec
		if budget.MinAvailable != nil || budget.MaxUnavailable.IntValue() != 1 || *budget.UnhealthyPodEvictionPolicy != policyv1.AlwaysAllow {
			t.Errorf("%+v", budget)
		}
		if diff := cmp.Diff(deployment.Spec.Selector, budget.Selector); diff != "" {
			t.Errorf("it is about other Pods (-Deployment +budget):\n%s", diff)
		}
	})
	t.Run("spread where there is where to, one node being enough", func(t *testing.T) {
		if len(pod.TopologySpreadConstraints) != 2 {
			t.Errorf("%+v", pod.TopologySpreadConstraints)
		}
		for _, c := range pod.TopologySpreadConstraints {
			if c.WhenUnsatisfiable != corev1.ScheduleAnyway {
				t.Errorf("%+v", c)
			}
			if diff := cmp.Diff(deployment.Spec.Selector, c.LabelSelector); diff != "" {
				t.Errorf("%s spreads other Pods (-Deployment +constraint):\n%s", c.TopologyKey, diff)
			}
		}
	})
	t.Run("memory bounded, CPU not", func(t *testing.T) {
		resources := pod.Containers[0].Resources
		if resources.Limits.Memory().IsZero() || !resources.Limits.Cpu().IsZero() || resources.Requests.Cpu().IsZero() || resources.Requests.Memory().IsZero() {
			t.Errorf("%+v", resources)
		}
	})
	t.Run("only readiness asks for more than the process", func(t *testing.T) {
		container := pod.Containers[0]
		for name, probe := range map[string]*corev1.Probe{"/healthz startup": container.StartupProbe, "/readyz readiness": container.ReadinessProbe, "/healthz liveness": container.LivenessProbe} {
			path, _, _ := strings.Cut(name, " ")
			port := slices.IndexFunc(container.Ports, func(p corev1.ContainerPort) bool { return probe != nil && p.Name == probe.HTTPGet.Port.StrVal })
			if port < 0 || container.Ports[port].ContainerPort != 8081 || probe.HTTPGet.Path != path {
				t.Errorf("%s: %+v", name, probe)
			}
		}
	})
	t.Run("the Service leads to the webhook's port", func(t *testing.T) {
		port := only[*corev1.Service](t, objects).Spec.Ports[0]
		if port.Port != 443 || !slices.ContainsFunc(pod.Containers[0].Ports, func(p corev1.ContainerPort) bool {
			return p.Name == port.TargetPort.StrVal && p.ContainerPort == 9443
		}) {
			t.Errorf("%+v", port)
		}
	})
	t.Run("an upgrade leaves the certificate and its CA alone", func(t *testing.T) {
		if secret := only[*corev1.Secret](t, objects); len(secret.Data) != 0 || len(secret.StringData) != 0 {
			t.Error("the chart writes over the Secret that the webhook fills")
		}
		for _, w := range only[*admissionregistrationv1.ValidatingWebhookConfiguration](t, objects).Webhooks {
			if w.ClientConfig.CABundle != nil {
				t.Errorf("the chart writes over the caBundle that the webhook sets in %s", w.Name)
			}
		}
	})
	t.Run("the certificate is read where there is room to write it", func(t *testing.T) {
		mount := pod.Containers[0].VolumeMounts[0]
		if mount.ReadOnly || mount.Name != pod.Volumes[0].Name || !slices.Contains(pod.Containers[0].Args, "--cert-dir="+mount.MountPath) {
			t.Errorf("%+v", mount)
		}
	})
}
