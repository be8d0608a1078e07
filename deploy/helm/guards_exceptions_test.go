package helm

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func imageException(edit func(spec map[string]any)) *unstructured.Unstructured {
	spec := map[string]any{
		"owner": "payments@corp.example", "reason": "not reachable", "expires": "2027-01-31",
		"images": []any{"registry.example.com/payments/api"}, "ids": []any{"CVE-2024-3094"},
	}
	if edit != nil {
		edit(spec)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "pratique.dev/v1alpha1", "kind": "ImageException", "metadata": map[string]any{"name": "xz", "namespace": "payments"}, "spec": spec,
	}}
}

// TestRow20_ExceptionsAreHeld: RBAC lets somebody write ImageExceptions; whether these excuse anything is a right of its own, of that
// namespace and no other, and no verb that policies ask for.
func TestRow20_ExceptionsAreHeld(t *testing.T) {
	t.Parallel()
	const (
		resource = "imageexceptions"
		right    = "except pratique.dev/imageexceptions payments/xz"
		says     = `spec: xz excuses vulnerabilities, or would. Leave it as it is, or have a Role bound in namespace payments with the rule ` +
			`{apiGroups: [pratique.dev], resources: [imageexceptions], resourceNames: ["xz"], verbs: [except]}`
	)
	for _, minor := range []string{oldest, newest} {
		g := compileGuard(t, exceptionsGuard, minor)
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			g.holds(t, ask{resource: resource, now: imageException(nil)}, right, says)
			for _, other := range []string{
				"enforce pratique.dev/imageexceptions payments/xz", "except pratique.dev/imageexceptions shop/xz", "except pratique.dev/imageexceptions /xz",
			} {
				if refusal, _ := g.refuses(t, ask{resource: resource, now: imageException(nil), holds: other}); refusal != says {
					t.Errorf("whoever holds %q may: %q", other, refusal)
				}
			}
			for name, edit := range map[string]func(spec map[string]any){
				"when it ends":                         func(spec map[string]any) { spec["expires"] = "2027-02-28" },
				"what it excuses":                      func(spec map[string]any) { spec["ids"] = []any{"CVE-2024-3094", "CVE-2021-44228"} },
				"which images it is about":             func(spec map[string]any) { spec["images"] = []any{"**"} },
				"a field that this version can't read": func(spec map[string]any) { spec["later"] = true },
			} {
				t.Run(name, func(t *testing.T) {
					g.holds(t, ask{resource: resource, old: imageException(nil), now: imageException(edit)}, right, says)
					g.holds(t, ask{resource: resource, old: imageException(edit), now: imageException(nil)}, right, says)
				})
			}
			ending := annotated(imageException(nil))
			ending.SetLabels(map[string]string{"a": "b"})
			ending.SetFinalizers([]string{"a.example/b"})
			g.holds(t, ask{resource: resource, old: imageException(nil), now: ending}, "", "")
			g.holdsDeletion(t, resource, imageException(nil), right)
			g.holdsOwners(t, resource, imageException(nil), right)
			broken := imageException(nil)
			delete(broken.Object, "spec")
			g.holdsDeletion(t, resource, broken, right) // no schema lets it in
		})
	}
}
