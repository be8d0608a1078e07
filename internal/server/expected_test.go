package server

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRow24_AnEditThatLetsImagesPassIsTold(t *testing.T) {
	t.Parallel()
	type images = admissionregistrationv1.ValidatingWebhook
	selector := func(key string, operator metav1.LabelSelectorOperator, values ...string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: operator, Values: values}}}
	}
	for name, c := range map[string]struct {
		edit func(*images)
		want string // what is said to be wrong; empty where nothing is
	}{
		"as installed":                       {func(*images) {}, ""},
		"failurePolicy Ignore":               {func(w *images) { *w.FailurePolicy = "Ignore" }, "failurePolicy is Ignore, want Fail"},
		"no failurePolicy, which means Fail": {func(w *images) { w.FailurePolicy = nil }, ""},
		"matchPolicy Exact": {func(w *images) {
			exact := admissionregistrationv1.Exact
			w.MatchPolicy = &exact
		}, "matchPolicy is Exact"},
		"no rules":                {func(w *images) { w.Rules = nil }, "its rules don't name CREATE of pods, UPDATE of pods, UPDATE of pods/ephemeralcontainers"},
		"no ephemeral containers": {func(w *images) { w.Rules = w.Rules[:1] }, "its rules don't name UPDATE of pods/ephemeralcontainers"},
		"no updates":              {func(w *images) { w.Rules[0].Operations = w.Rules[0].Operations[:1] }, "its rules don't name UPDATE of pods"},
		"another group":           {func(w *images) { w.Rules[0].APIGroups = []string{"apps"} }, "its rules don't name CREATE of pods, UPDATE of pods"},
		"another version":         {func(w *images) { w.Rules[0].APIVersions = []string{"v1alpha1"} }, "its rules don't name CREATE of pods, UPDATE of pods"},
		"another scope": {func(w *images) {
			cluster := admissionregistrationv1.ClusterScope
			w.Rules[0].Scope = &cluster
		}, "its rules don't name CREATE of pods, UPDATE of pods"},
		"rules of wildcards": {func(w *images) {
			w.Rules = w.Rules[:1]
			w.Rules[0].Operations = []admissionregistrationv1.OperationType{"*"}
			w.Rules[0].APIGroups, w.Rules[0].APIVersions, w.Rules[0].Resources = []string{"*"}, []string{"*"}, []string{"*/*"}
			w.Rules[0].Scope = nil
		}, ""},
		"pods/*, which includes pods": {func(w *images) {
			w.Rules = w.Rules[:1]
			w.Rules[0].Resources = []string{"pods/*"}
		}, ""},
		"*, which includes no subresource": {func(w *images) {
			w.Rules = w.Rules[:1]
			w.Rules[0].Resources = []string{"*"}
		}, "its rules don't name UPDATE of pods/ephemeralcontainers"},
		"the subresource of everything": {func(w *images) { w.Rules[1].Resources = []string{"*/ephemeralcontainers"} }, ""},
		"another subresource":           {func(w *images) { w.Rules[1].Resources = []string{"pods/status"} }, "UPDATE of pods/ephemeralcontainers"},
		"more rules": {func(w *images) {
			w.Rules = append(w.Rules, admissionregistrationv1.RuleWithOperations{})
		}, ""},
		"an objectSelector by labels": {func(w *images) {
			w.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"judge": "me"}}
		}, "it has an objectSelector"},
		"an objectSelector by expressions":   {func(w *images) { w.ObjectSelector = selector("skip", metav1.LabelSelectorOpDoesNotExist) }, "it has an objectSelector"},
		"an objectSelector that selects all": {func(w *images) { w.ObjectSelector = &metav1.LabelSelector{} }, ""},
		"another namespace exempt": {func(w *images) {
			w.NamespaceSelector.MatchExpressions[0].Values = []string{"kube-system", "payments", "shop"}
		}, "its namespaceSelector exempts payments, shop"},
		"fewer namespaces exempt":       {func(w *images) { w.NamespaceSelector.MatchExpressions[0].Values = []string{"kube-system"} }, ""},
		"no namespaceSelector":          {func(w *images) { w.NamespaceSelector = nil }, ""},
		"an empty namespaceSelector":    {func(w *images) { w.NamespaceSelector = &metav1.LabelSelector{} }, ""},
		"only some namespaces":          {func(w *images) { w.NamespaceSelector = selector(corev1.LabelMetadataName, "In", "kube-system") }, "its namespaceSelector asks for \"kubernetes.io/metadata.name\" In"},
		"namespaces with another label": {func(w *images) { w.NamespaceSelector = selector("exempt", metav1.LabelSelectorOpDoesNotExist) }, "its namespaceSelector asks for \"exempt\" DoesNotExist"},
		"namespaces by matchLabels": {func(w *images) {
			w.NamespaceSelector.MatchLabels = map[string]string{"judge": "me"}
		}, "its namespaceSelector has matchLabels"},
		"another matchCondition": {func(w *images) {
			w.MatchConditions = append(w.MatchConditions, admissionregistrationv1.MatchCondition{Name: "never", Expression: "false"})
		}, "it has matchConditions that aren't ours: never"},
		"a matchCondition that says something else": {func(w *images) { w.MatchConditions[0].Expression = "false" }, "it has matchConditions that aren't ours: images-changed"},
		"no matchConditions, which asks for more":   {func(w *images) { w.MatchConditions = nil }, ""},
		"no caBundle": {func(w *images) { w.ClientConfig.CABundle = nil }, "caBundle is empty"},
		"a URL": {func(w *images) {
			at := "https://elsewhere.example/validate"
			w.ClientConfig.Service, w.ClientConfig.URL = nil, &at
		}, "it isn't the Service pratique-system/pratique-webhook that is called"},
		"another Service":    {func(w *images) { w.ClientConfig.Service.Namespace = "elsewhere" }, "the Service elsewhere/pratique-webhook is called"},
		"another path":       {func(w *images) { *w.ClientConfig.Service.Path = "/allow" }, `it is called at "/allow", want "/validate"`},
		"no path":            {func(w *images) { w.ClientConfig.Service.Path = nil }, `it is called at "/", want "/validate"`},
		"another name":       {func(w *images) { w.Name = "gone.pratique.dev" }, "the ValidatingWebhookConfiguration pratique doesn't have it"},
		"nothing but a name": {func(w *images) { *w = images{Name: imagesHook} }, "caBundle is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := installed("pratique")
			c.edit(&o.validating.Webhooks[0])
			r, told := watching(t, expecting("pratique"), o)
			r.check(t.Context(), time.Now())
			if diff := cmp.Diff(map[string]bool{imagesHook: c.want == "", pinHook: true}, told.now()); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			said := told.lines()
			if c.want == "" && len(said) > 0 {
				t.Errorf("said %q of what is as it should be", said)
			}
			if c.want != "" && (len(said) != 1 || !strings.Contains(said[0], strings.ReplaceAll(c.want, `"`, `\"`)) || !strings.Contains(said[0], imagesHook)) {
				t.Errorf("said %q, want one line with %q", said, c.want)
			}
		})
	}
}

func TestALineNamesSomeAndCountsTheRest(t *testing.T) {
	t.Parallel()
	if got := some([]string{"a", "b"}); got != "a, b" {
		t.Errorf("some = %q", got)
	}
	if got := some(slices.Repeat([]string{strings.Repeat("x", 1000)}, 1000)); len(got) > 500 || !strings.HasSuffix(got, " and 995 more") {
		t.Errorf("some = %q", got)
	}
}
