package helm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// guardsFromFiles reads what deploy/guards has for an API server.
func guardsFromFiles(t *testing.T) (map[string]*admissionregistrationv1.ValidatingAdmissionPolicy, []*admissionregistrationv1.ValidatingAdmissionPolicyBinding) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "guards", "manifests", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	var objects []client.Object
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, decode(t, strings.SplitAfter(string(text), "\n---\n"))...)
	}
	policies := map[string]*admissionregistrationv1.ValidatingAdmissionPolicy{}
	for _, p := range all[*admissionregistrationv1.ValidatingAdmissionPolicy](objects) {
		policies[p.Name] = p
	}
	return policies, all[*admissionregistrationv1.ValidatingAdmissionPolicyBinding](objects)
}

// TestRow24_TheGuardsFromFilesAreTheCharts: they say the same of the webhook objects, hold each guard of the chart, and are all in
// force.
func TestRow24_TheGuardsFromFilesAreTheCharts(t *testing.T) {
	t.Parallel()
	policies, bindings := guardsFromFiles(t)
	for _, b := range bindings {
		want := admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: b.Name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		}
		if diff := cmp.Diff(want, b.Spec); diff != "" || policies[b.Name] == nil {
			t.Errorf("binding %s (-want +read):\n%s", b.Name, diff)
		}
	}
	if len(policies) != 2 || len(bindings) != len(policies) {
		t.Fatalf("%d policies and %d bindings", len(policies), len(bindings))
	}
	chart, _ := renderedGuard(t, webhooksGuard)
	if diff := cmp.Diff(chart.Spec, policies["pratique-webhooks.static.k8s.io"].Spec); diff != "" {
		t.Errorf("of the webhook objects (-chart +file):\n%s", diff)
	}

	for _, minor := range []string{"1.36", newest} { // older ones read no files
		g := compilePolicy(t, policies["pratique-guards.static.k8s.io"], minor)
		for _, name := range allGuards() {
			policy, binding := renderedGuard(t, name)
			blunt := policy.DeepCopy()
			blunt.Spec.MatchConditions = append(slices.Clone(policy.Spec.MatchConditions), admissionregistrationv1.MatchCondition{Name: "never", Expression: "false"})
			audit := binding.DeepCopy()
			audit.Spec.ValidationActions = []admissionregistrationv1.ValidationAction{admissionregistrationv1.Audit}
			for resource, o := range map[string]struct{ was, now client.Object }{
				"validatingadmissionpolicies": {policy, blunt}, "validatingadmissionpolicybindings": {binding, audit},
			} {
				right := "enforce pratique.dev/" + resource + " /" + policy.Name
				g.holds(t, ask{resource: resource, old: o.was, now: o.now}, right, "spec: "+policy.Name+" guards which images may run. Leave it as it is, or have a ClusterRole bound by "+
					`a ClusterRoleBinding with the rule {apiGroups: [pratique.dev], resources: [`+resource+`], resourceNames: ["`+policy.Name+`"], verbs: [enforce]}`)
				g.holds(t, ask{resource: resource, old: o.was, now: annotated(o.was.DeepCopyObject().(client.Object))}, "", "")
				g.holdsDeletion(t, resource, o.was, right)
				g.holdsOwners(t, resource, o.was, right)
				others := o.was.DeepCopyObject().(client.Object)
				others.SetName("others")
				g.holds(t, ask{resource: resource, old: others}, "", "")
			}
		}
	}
}
