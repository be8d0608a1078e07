package helm

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// The names of the webhooks that admission messages, metrics and audit annotations carry.
const (
	imagesWebhook    = "images.pratique.dev"
	workloadsWebhook = "workloads.pratique.dev"
	pinWebhook       = "pin.pratique.dev"
	policiesWebhook  = "policies.pratique.dev"
)

// allWebhooks are all of them.
func allWebhooks() []string {
	return []string{imagesWebhook, workloadsWebhook, pinWebhook, policiesWebhook}
}

// renderings are the values under which a rule of security must hold: as it comes, outside the cluster, and with
// everything set that sounds as if it could loosen it.
func renderings(t *testing.T) map[string][]string {
	t.Helper()
	return map[string][]string{
		"as it comes":         nil,
		"outside the cluster": outside(t),
		"everything opened": values(t, `
rollout: audit
unmatchedImages: Allow
exemptNamespaces: [kube-system, team-a]
plainHTTP: [registry.local]
registries: [{prefix: registry.example.com, plainHTTP: true, dialPrivate: true, auth: {ecr: {}}}]
guards: {enabled: false}
uninstallHook: false
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
	all := rendered(t, args...)
	i := slices.IndexFunc(all, func(w admissionregistrationv1.ValidatingWebhook) bool { return w.Name == name })
	if i < 0 {
		t.Fatalf("no webhook %s", name)
	}
	return all[i]
}

// rendered renders all webhooks. Those of the MutatingWebhookConfiguration are last, without what they alone have.
func rendered(t *testing.T, args ...string) []admissionregistrationv1.ValidatingWebhook {
	t.Helper()
	objects := decode(t, template(t, args...))
	found := only[*admissionregistrationv1.ValidatingWebhookConfiguration](t, objects).Webhooks
	for _, configuration := range all[*admissionregistrationv1.MutatingWebhookConfiguration](objects) {
		for _, w := range configuration.Webhooks {
			found = append(found, admissionregistrationv1.ValidatingWebhook{
				Name: w.Name, ClientConfig: w.ClientConfig, Rules: w.Rules, FailurePolicy: w.FailurePolicy, MatchPolicy: w.MatchPolicy,
				NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector, SideEffects: w.SideEffects,
				TimeoutSeconds: w.TimeoutSeconds, AdmissionReviewVersions: w.AdmissionReviewVersions, MatchConditions: w.MatchConditions,
			})
		}
	}
	return found
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
	for _, name := range []string{imagesWebhook, pinWebhook} {
		eachWebhook(t, name, func(t *testing.T, w admissionregistrationv1.ValidatingWebhook) {
			if !covers(w, "", "pods/ephemeralcontainers", admissionregistrationv1.Update) {
				t.Errorf("rules %+v", w.Rules)
			}
		})
	}
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

// TestRow05_NothingButImagesIsWaitedFor: a resize, an eviction, a binding, a scale and a status carry no image.
func TestRow05_NothingButImagesIsWaitedFor(t *testing.T) {
	t.Parallel()
	pods := []string{"pods", "pods/ephemeralcontainers"}
	for name, want := range map[string][]string{
		imagesWebhook: pods, pinWebhook: pods,
		workloadsWebhook: {
			"apps/deployments", "apps/statefulsets", "apps/daemonsets", "apps/replicasets", "replicationcontrollers",
			"batch/jobs", "batch/cronjobs", "apps.openshift.io/deploymentconfigs",
		},
	} {
		eachWebhook(t, name, func(t *testing.T, w admissionregistrationv1.ValidatingWebhook) {
			var resources []string
			for _, rule := range w.Rules {
				for _, resource := range rule.Resources {
					resources = append(resources, strings.TrimPrefix(rule.APIGroups[0]+"/"+resource, "/"))
				}
				if len(rule.APIGroups) != 1 || !slices.Equal(rule.APIVersions, []string{"v1"}) || *rule.Scope != admissionregistrationv1.NamespacedScope {
					t.Errorf("%s: rule %+v", name, rule)
				}
			}
			if diff := cmp.Diff(want, resources); diff != "" {
				t.Errorf("%s (-want +rendered):\n%s", name, diff)
			}
		})
	}
}

// TestRow06_WhatMakesPodsIsJudgedWhenItIsWritten: early, so that its author hears of it. The Pods are judged anyway.
func TestRow06_WhatMakesPodsIsJudgedWhenItIsWritten(t *testing.T) {
	t.Parallel()
	eachWebhook(t, workloadsWebhook, func(t *testing.T, w admissionregistrationv1.ValidatingWebhook) {
		for _, rule := range w.Rules {
			if !slices.Equal(rule.Operations, []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update}) {
				t.Errorf("%s: %s", rule.Resources, rule.Operations)
			}
		}
	})
}

func TestRow15_NobodyOptsOutByALabel(t *testing.T) {
	t.Parallel()
	for _, name := range allWebhooks() {
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
			for _, w := range rendered(t, c.args...) {
				if w.Name == policiesWebhook {
					continue // the next test
				}
				selector := w.NamespaceSelector
				if selector == nil || len(selector.MatchLabels) != 0 || len(selector.MatchExpressions) != 1 {
					t.Fatalf("%s: namespaceSelector %+v", w.Name, selector)
				}
				e := selector.MatchExpressions[0]
				if e.Key != corev1.LabelMetadataName || e.Operator != "NotIn" {
					t.Errorf("%s selects by %s %s", w.Name, e.Key, e.Operator)
				}
				if diff := cmp.Diff(c.want, e.Values); diff != "" {
					t.Errorf("%s: exempt namespaces (-want +rendered):\n%s", w.Name, diff)
				}
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
		for _, resource := range []string{"imagepolicies", "clusterimagepolicies", "trustroots", "imageexceptions"} {
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
	for _, name := range allWebhooks() {
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
	for _, name := range allWebhooks() {
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

// TestRow104_AFailureNeverAdmits: what judges Pods and policies refuses what it could not judge. What pins and what
// judges templates may fail, since the Pods come to images.pratique.dev all the same.
func TestRow104_AFailureNeverAdmits(t *testing.T) {
	t.Parallel()
	const fail, ignore = admissionregistrationv1.Fail, admissionregistrationv1.Ignore
	for rendering, args := range renderings(t) {
		t.Run(rendering, func(t *testing.T) {
			t.Parallel()
			want := map[string]admissionregistrationv1.FailurePolicyType{imagesWebhook: fail, policiesWebhook: fail, workloadsWebhook: ignore, pinWebhook: ignore}
			if rendering == "everything opened" { // with rollout: audit
				want[imagesWebhook] = ignore
			}
			got := map[string]admissionregistrationv1.FailurePolicyType{}
			for _, w := range rendered(t, args...) {
				got[w.Name] = *w.FailurePolicy
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("failurePolicy (-want +rendered):\n%s", diff)
			}
		})
	}
}

// TestRow104_OnlyRolloutOpensAFailure: audit turns one failurePolicy, and changes nothing else of any webhook.
func TestRow104_OnlyRolloutOpensAFailure(t *testing.T) {
	t.Parallel()
	enforce, audit := rendered(t), rendered(t, values(t, "rollout: audit")...)
	want := admissionregistrationv1.Ignore
	for i := range enforce {
		if enforce[i].Name == imagesWebhook {
			enforce[i].FailurePolicy = &want
		}
	}
	if diff := cmp.Diff(enforce, audit); diff != "" {
		t.Errorf("(-enforce, with images' failurePolicy turned +audit):\n%s", diff)
	}
}

// TestRow104_WhatPinsSeesNoPodThatIsNotJudged: the webhook that may fail is asked about the same Pods as the one that
// may not, in whatever way they are chosen, and whether it is there changes nothing for the other.
func TestRow104_WhatPinsSeesNoPodThatIsNotJudged(t *testing.T) {
	t.Parallel()
	for rendering, args := range renderings(t) {
		t.Run(rendering, func(t *testing.T) {
			t.Parallel()
			images, pin := webhook(t, imagesWebhook, args...), webhook(t, pinWebhook, args...)
			if diff := cmp.Diff(images.Rules, pin.Rules); diff != "" {
				t.Errorf("rules (-images +pin):\n%s", diff)
			}
			if diff := cmp.Diff(images.NamespaceSelector, pin.NamespaceSelector); diff != "" {
				t.Errorf("namespaces (-images +pin):\n%s", diff)
			}
			if diff := cmp.Diff(images.MatchConditions, pin.MatchConditions); diff != "" {
				t.Errorf("conditions (-images +pin):\n%s", diff)
			}
			if diff := cmp.Diff(images, webhook(t, imagesWebhook, append(args, "--set", "pin.enabled=false")...)); diff != "" {
				t.Errorf("without pinning (-with +without):\n%s", diff)
			}
		})
	}
}

// TestNothingMutatesWithoutPinning: pin.enabled=false installs nothing that could change a Pod, nor the right to keep
// such a thing.
func TestNothingMutatesWithoutPinning(t *testing.T) {
	t.Parallel()
	for rendering, args := range renderings(t) {
		t.Run(rendering, func(t *testing.T) {
			t.Parallel()
			objects := decode(t, withHooks(t, chart, append(args, "--set", "pin.enabled=false")...))
			for kind, n := range kinds(objects) {
				if strings.HasPrefix(kind, "Mutating") {
					t.Errorf("%d of kind %s", n, kind)
				}
			}
			for _, role := range all[*rbacv1.ClusterRole](objects) {
				for _, rule := range role.Rules {
					if slices.ContainsFunc(rule.Resources, func(r string) bool { return r == "*" || strings.HasPrefix(r, "mutating") }) {
						t.Errorf("%s may %s %s", role.Name, rule.Verbs, rule.Resources)
					}
				}
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
			objects := decode(t, template(t, args...))
			for _, annotations := range []map[string]string{
				only[*admissionregistrationv1.ValidatingWebhookConfiguration](t, objects).Annotations,
				only[*admissionregistrationv1.MutatingWebhookConfiguration](t, objects).Annotations,
			} {
				if hook, ok := annotations["helm.sh/hook"]; ok {
					t.Errorf("one is a %s hook", hook)
				}
			}
		})
	}
}

func TestTheAPIServerIsAskedAsItShouldBe(t *testing.T) {
	t.Parallel()
	cases := []struct {
		webhook, path string
		sideEffects   admissionregistrationv1.SideEffectClass
		seconds       int32
	}{
		{imagesWebhook, "/validate", admissionregistrationv1.SideEffectClassNoneOnDryRun, 10},
		{workloadsWebhook, "/workloads", admissionregistrationv1.SideEffectClassNoneOnDryRun, 10},
		{pinWebhook, "/pin", admissionregistrationv1.SideEffectClassNone, 5},
		{policiesWebhook, "/validate-policy", admissionregistrationv1.SideEffectClassNone, 10},
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
			if *inside.SideEffects != c.sideEffects || *inside.TimeoutSeconds != c.seconds || !slices.Equal(inside.AdmissionReviewVersions, []string{"v1"}) {
				t.Errorf("sideEffects %s, timeoutSeconds %d, admissionReviewVersions %s", *inside.SideEffects, *inside.TimeoutSeconds, inside.AdmissionReviewVersions)
			}
		})
	}
	t.Run("pinning is asked again where a later webhook changed the Pod", func(t *testing.T) {
		t.Parallel()
		pin := only[*admissionregistrationv1.MutatingWebhookConfiguration](t, decode(t, template(t))).Webhooks[0]
		if pin.ReinvocationPolicy == nil || *pin.ReinvocationPolicy != admissionregistrationv1.IfNeededReinvocationPolicy {
			t.Errorf("reinvocationPolicy %v", pin.ReinvocationPolicy)
		}
	})
	t.Run("a slash at the end of webhook.url is not doubled", func(t *testing.T) {
		t.Parallel()
		if got := *webhook(t, imagesWebhook, values(t, "webhook: {url: 'https://a:1/p/'}")...).ClientConfig.URL; got != "https://a:1/p/validate" {
			t.Error(got)
		}
	})
}
