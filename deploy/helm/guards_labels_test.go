package helm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// relabel is the right to change the labels of the tests' namespace. It is asked for without a namespace, where only a
// ClusterRoleBinding grants it.
const relabel = "relabel pratique.dev/namespaces /payments"

// labelled is a namespace with these labels beside that of its name.
func labelled(labels ...string) *corev1.Namespace {
	ns := &corev1.Namespace{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: "payments", Labels: map[string]string{corev1.LabelMetadataName: "payments"}},
		Spec:       corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{corev1.FinalizerKubernetes}},
	}
	for _, l := range labels {
		key, value, _ := strings.Cut(l, "=")
		ns.Labels[key] = value
	}
	return ns
}

// selecting is a ClusterImagePolicy with this namespaceSelector, which may be absent.
func selecting(selector map[string]any) *unstructured.Unstructured {
	u := imagePolicy("ClusterImagePolicy", "Enforce")
	if selector != nil {
		u.Object["spec"].(map[string]any)["namespaceSelector"] = selector
	}
	return u
}

// imagePolicy is a policy with a mode, which may be absent.
func imagePolicy(kind, mode string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "pratique.dev/v1alpha1", "kind": kind, "metadata": map[string]any{"name": "gold"},
		"spec": map[string]any{"images": map[string]any{"include": []any{"**"}}, "deny": map[string]any{"reason": "closed"}},
	}}
	if kind == "ImagePolicy" {
		u.SetNamespace("payments")
	}
	if mode != "" {
		u.Object["spec"].(map[string]any)["mode"] = mode
	}
	return u
}

func TestRow16_TheLabelsThatPoliciesSelectByAreHeld(t *testing.T) {
	t.Parallel()
	var (
		byLabel  = selecting(map[string]any{"matchLabels": map[string]any{"tier": "gold"}})
		byAbsent = selecting(map[string]any{"matchExpressions": []any{map[string]any{"key": "exempt", "operator": "DoesNotExist"}}})
		byBoth   = selecting(map[string]any{"matchLabels": map[string]any{"tier": "gold"}, "matchExpressions": []any{map[string]any{"key": "exempt", "operator": "NotIn", "values": []any{"yes"}}}})
		byName   = selecting(map[string]any{"matchLabels": map[string]any{corev1.LabelMetadataName: "payments"}})
	)
	nameless := labelled()
	nameless.Labels = nil
	cases := []struct {
		name     string
		old, now *corev1.Namespace
		policy   *unstructured.Unstructured
		held     string // the label that is held; empty: it passes
	}{
		{"added", labelled(), labelled("tier=gold"), byLabel, "tier"},
		{"removed", labelled("tier=gold"), labelled(), byLabel, "tier"},
		{"changed", labelled("tier=gold"), labelled("tier=lead"), byLabel, "tier"},
		{"emptied", labelled("tier=gold"), labelled("tier="), byLabel, "tier"},
		{"every label removed", labelled("tier=gold"), nameless, byLabel, "tier"},
		{"the first label of all", nameless, labelled("tier=gold"), byLabel, "tier"},
		{"added, where its absence selects", labelled(), labelled("exempt=yes"), byAbsent, "exempt"},
		{"the second of two", labelled("tier=gold"), labelled("tier=gold", "exempt=yes"), byBoth, "exempt"},
		{"set on a new namespace", nil, labelled("exempt=yes"), byAbsent, "exempt"},
		{"not the labels, but an annotation", labelled("tier=gold"), annotated(labelled("tier=gold")), byBoth, ""},
		{"one that no policy uses", labelled("tier=gold"), labelled("tier=gold", "team=a"), byBoth, ""},
		{"one of another spelling", labelled(), labelled("Tier=gold"), byLabel, ""},
		{"a new namespace without it", nil, labelled("team=a"), byBoth, ""},
		{"a new namespace without labels", nil, nameless, byBoth, ""},
		{"the name, which the API server sets", nil, labelled(), byName, ""},
		{"the name, as if it could be changed", nameless, labelled(), byName, ""},
		{"a policy without a selector", labelled(), labelled("tier=gold"), selecting(nil), ""},
		{"a policy with an empty selector", labelled(), labelled("tier=gold"), selecting(map[string]any{}), ""},
	}
	for _, minor := range []string{oldest, newest} {
		updated, created := compileGuard(t, labelsGuard, minor), compileGuard(t, newLabelsGuard, minor)
		for _, c := range cases {
			g := updated
			if c.old == nil {
				g = created
			}
			t.Run(minor+" "+c.name, func(t *testing.T) {
				t.Parallel()
				a := ask{resource: "namespaces", now: c.now, param: c.policy}
				if c.old != nil {
					a.old = c.old
				}
				refusal, asked := g.refuses(t, a)
				if c.held == "" {
					if refusal != "" || asked != "" {
						t.Errorf("refused, asking for %q: %s", asked, refusal)
					}
					return
				}
				says := fmt.Sprintf(`metadata.labels["%s"]: ClusterImagePolicy gold selects namespaces by this label, so that it decides which images may run in payments. `+
					`Leave it as it is, or have a ClusterRole bound by a ClusterRoleBinding with the rule `+
					`{apiGroups: [pratique.dev], resources: [namespaces], resourceNames: ["payments"], verbs: [relabel]}`, c.held)
				if diff := cmp.Diff(says, refusal); diff != "" || asked != relabel {
					t.Errorf("it asks for %q and says (-want +said):\n%s", asked, diff)
				}
				a.holds = relabel
				if refusal, _ := g.refuses(t, a); refusal != "" {
					t.Errorf("whoever may is refused: %s", refusal)
				}
			})
		}
	}
}

func annotated[T metav1.Object](o T) T {
	o.SetAnnotations(map[string]string{"a": "b"})
	return o
}

// TestRow16_NoLabelChangesThroughASubresource: namespaces/status and namespaces/finalize take labels too. What the cluster itself
// writes there passes, whatever else is the matter.
func TestRow16_NoLabelChangesThroughASubresource(t *testing.T) {
	t.Parallel()
	ending := labelled("tier=gold")
	ending.DeletionTimestamp = &metav1.Time{}
	ending.Spec.Finalizers = nil
	ending.Status.Phase = corev1.NamespaceTerminating
	ending.Status.Conditions = []corev1.NamespaceCondition{{Type: corev1.NamespaceDeletionContentFailure, Status: corev1.ConditionFalse}}
	g := compileGuard(t, subresourceGuard, newest)
	for _, subresource := range []string{"status", "finalize"} {
		t.Run(subresource, func(t *testing.T) {
			t.Parallel()
			for name, now := range map[string]*corev1.Namespace{"the end of a namespace": ending, "an annotation": annotated(labelled("tier=gold"))} {
				if refusal, asked := g.refuses(t, ask{resource: "namespaces", subresource: subresource, old: labelled("tier=gold"), now: now}); refusal != "" || asked != "" {
					t.Errorf("%s: refused, asking for %q: %s", name, asked, refusal)
				}
			}
			a := ask{resource: "namespaces", subresource: subresource, old: labelled(), now: labelled("any=thing")}
			want := "metadata.labels: namespaces/" + subresource + " is no way to change them. Change them through the namespace itself, or have a ClusterRole bound by " +
				`a ClusterRoleBinding with the rule {apiGroups: [pratique.dev], resources: [namespaces], resourceNames: ["payments"], verbs: [relabel]}`
			refusal, asked := g.refuses(t, a)
			if diff := cmp.Diff(want, refusal); diff != "" || asked != relabel {
				t.Errorf("it asks for %q and says (-want +said):\n%s", asked, diff)
			}
			a.holds = relabel
			if refusal, _ := g.refuses(t, a); refusal != "" {
				t.Errorf("whoever may is refused: %s", refusal)
			}
		})
	}
}

// TestRow23_TheLabelsGuardIsCheap: with more labels and more keys than anybody has, it costs less than a tenth of what it may.
func TestRow23_TheLabelsGuardIsCheap(t *testing.T) {
	t.Parallel()
	const many = 400
	var labels []string
	var terms []any
	matched := map[string]any{}
	for i := range many {
		key := fmt.Sprintf("%s.example/%s-%03d", strings.Repeat("d", 200), strings.Repeat("k", 59), i)
		labels = append(labels, key+"="+strings.Repeat("v", 63))
		terms = append(terms, map[string]any{"key": key, "operator": "NotIn", "values": []any{"a", "b"}})
		matched[key] = "gold"
	}
	for _, minor := range []string{oldest, newest} {
		g := compileGuard(t, labelsGuard, minor)
		policy := selecting(map[string]any{"matchLabels": matched, "matchExpressions": terms})
		for name, now := range map[string]*corev1.Namespace{"every label removed": labelled(), "none changed but one of no policy": labelled(append(labels, "x=y")...)} {
			refusal, _ := g.refuses(t, ask{resource: "namespaces", old: labelled(labels...), now: now, param: policy})
			if held := refusal != ""; held != (name == "every label removed") {
				t.Errorf("Kubernetes %s: %s: %q", minor, name, refusal)
			}
		}
	}
}
