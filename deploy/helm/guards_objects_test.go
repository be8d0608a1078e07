package helm

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// holds checks that a guard asks for a right, refuses whoever hasn't got it in words that contain these, and lets pass who has;
// or, where right is empty, that it lets the request pass and asks for none.
func (g guard) holds(t *testing.T, a ask, right, says string) {
	t.Helper()
	refusal, asked := g.refuses(t, a)
	if asked != right || (refusal == "") != (right == "") || !strings.Contains(refusal, says) {
		t.Errorf("it asks for %q and says %q, want %q and %q", asked, refusal, right, says)
	}
	if a.holds = right; right != "" {
		if refusal, _ := g.refuses(t, a); refusal != "" {
			t.Errorf("whoever may is refused: %s", refusal)
		}
	}
}

// holdsDeletion checks that a deletion needs a right, but of those who clear up in a cluster.
func (g guard) holdsDeletion(t *testing.T, resource string, old runtime.Object, right string) {
	t.Helper()
	g.holds(t, ask{resource: resource, old: old}, right, "have a ")
	for _, by := range []string{"system:kube-controller-manager", "system:serviceaccount:kube-system:namespace-controller", "system:serviceaccount:kube-system:generic-garbage-collector"} {
		g.holds(t, ask{resource: resource, old: old, by: by}, "", "")
	}
	for _, by := range []string{"system:serviceaccount:kube-system:default", "system:serviceaccount:payments:namespace-controller", "namespace-controller", "system:kube-scheduler"} {
		g.holds(t, ask{resource: resource, old: old, by: by}, right, "")
	}
}

// holdsOwners checks that an owner may go and not come: the garbage collector, which may clear up, would take the object away with
// it. It goes by all that names an owner.
func (g guard) holdsOwners(t *testing.T, resource string, object client.Object, right string) {
	t.Helper()
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "a", UID: "u"}
	edit := func(edits ...func(*metav1.OwnerReference)) client.Object {
		now := object.DeepCopyObject().(client.Object)
		var owners []metav1.OwnerReference
		for _, e := range edits {
			o := owner
			e(&o)
			owners = append(owners, o)
		}
		now.SetOwnerReferences(owners)
		return now
	}
	same, yes := func(*metav1.OwnerReference) {}, true
	cases := []struct {
		name     string
		old, now client.Object
		held     bool
	}{
		{"the first owner", edit(), edit(same), true},
		{"one more", edit(same), edit(same, func(o *metav1.OwnerReference) { o.UID = "w" }), true},
		{"another UID", edit(same), edit(func(o *metav1.OwnerReference) { o.UID = "w" }), true},
		{"another name", edit(same), edit(func(o *metav1.OwnerReference) { o.Name = "b" }), true},
		{"another kind", edit(same), edit(func(o *metav1.OwnerReference) { o.Kind = "Secret" }), true},
		{"another version", edit(same), edit(func(o *metav1.OwnerReference) { o.APIVersion = "v2" }), true},
		{"the same", edit(same), edit(same), false},
		{"none any more", edit(same), edit(), false},
		{"one that blocks", edit(same), edit(func(o *metav1.OwnerReference) { o.BlockOwnerDeletion = &yes }), false},
	}
	for _, c := range cases {
		t.Run("owners: "+c.name, func(t *testing.T) {
			want := ""
			if c.held {
				want = right
			}
			g.holds(t, ask{resource: resource, old: c.old, now: c.now}, want, "")
		})
	}
}

// TestRow24_TheWebhookObjectsAreHeld changes each field of each webhook, in turn, as Kubernetes' types have them: a new Kubernetes
// that adds one more fails it until the guard knows it.
func TestRow24_TheWebhookObjectsAreHeld(t *testing.T) {
	t.Parallel()
	objects := decode(t, template(t))
	for resource, object := range map[string]client.Object{
		"validatingwebhookconfigurations": only[*admissionregistrationv1.ValidatingWebhookConfiguration](t, objects),
		"mutatingwebhookconfigurations":   only[*admissionregistrationv1.MutatingWebhookConfiguration](t, objects),
	} {
		right := "enforce pratique.dev/" + resource + " /pratique"
		for _, minor := range []string{oldest, newest} {
			g := compileGuard(t, webhooksGuard, minor)
			t.Run(minor+" "+resource, func(t *testing.T) {
				t.Parallel()
				g.holdsDeletion(t, resource, object, right)
				g.holdsOwners(t, resource, object, right)
				says := fmt.Sprintf("webhooks: by pratique the API server asks which images may run. Leave all but caBundle as it is, or have a ClusterRole bound by "+
					`a ClusterRoleBinding with the rule {apiGroups: [pratique.dev], resources: [%s], resourceNames: ["pratique"], verbs: [enforce]}`, resource)
				for name, now := range otherWebhooks(object) {
					t.Run(name, func(t *testing.T) {
						if name == "ClientConfig.CABundle" {
							g.holds(t, ask{resource: resource, old: object, now: now}, "", "")
							return
						}
						g.holds(t, ask{resource: resource, old: object, now: now}, right, says)
					})
				}
				g.holds(t, ask{resource: resource, old: object, now: annotated(object.DeepCopyObject().(client.Object))}, "", "")
				others := object.DeepCopyObject().(client.Object)
				others.SetName("others")
				g.holds(t, ask{resource: resource, old: others}, "", "")
			})
		}
	}
}

// otherWebhooks are changes of a webhook object: each field of its last webhook changed, and whole webhooks come and gone.
func otherWebhooks(object client.Object) map[string]client.Object {
	found := map[string]client.Object{}
	webhooksOf := func(o client.Object) reflect.Value { return reflect.ValueOf(o).Elem().FieldByName("Webhooks") }
	change := func(name string, edit func(all reflect.Value)) {
		now := object.DeepCopyObject().(client.Object)
		edit(webhooksOf(now))
		found[name] = now
	}
	change("one less", func(all reflect.Value) { all.SetLen(all.Len() - 1) })
	change("none", func(all reflect.Value) { all.SetZero() })
	change("one more", func(all reflect.Value) { all.Set(reflect.Append(all, all.Index(0))) })
	for field := range webhooksOf(object).Type().Elem().Fields() {
		if field.Name != "ClientConfig" {
			change(field.Name, func(all reflect.Value) { other(all.Index(all.Len() - 1).FieldByIndex(field.Index)) })
			continue
		}
		for inner := range field.Type.Fields() {
			change("ClientConfig."+inner.Name, func(all reflect.Value) {
				other(all.Index(all.Len() - 1).FieldByIndex(field.Index).FieldByIndex(inner.Index))
			})
		}
	}
	return found
}

// other gives a value that it hasn't got: nothing if it is something, else something.
func other(v reflect.Value) {
	switch {
	case !v.IsZero():
		v.SetZero()
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	default:
		v.SetString("x")
	}
}

func TestRow24_TheCRDsAreHeld(t *testing.T) {
	t.Parallel()
	g := compileGuard(t, crdsGuard, newest)
	for _, crd := range all[*apiextensionsv1.CustomResourceDefinition](decode(t, template(t))) {
		t.Run(crd.Name, func(t *testing.T) {
			t.Parallel()
			const resource = "customresourcedefinitions"
			right := "enforce pratique.dev/customresourcedefinitions /" + crd.Name
			g.holdsDeletion(t, resource, crd, right)
			g.holdsOwners(t, resource, crd, right)
			defaulted := crd.DeepCopy()
			spec := defaulted.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
			mode := spec.Properties["mode"]
			mode.Default = &apiextensionsv1.JSON{Raw: []byte(`"Audit"`)}
			spec.Properties["mode"] = mode
			g.holds(t, ask{resource: resource, old: crd, now: defaulted}, right, "spec: with "+crd.Name+" go all policies of its kind. Leave it as it is, or have a ClusterRole "+
				`bound by a ClusterRoleBinding with the rule {apiGroups: [pratique.dev], resources: [customresourcedefinitions], resourceNames: ["`+crd.Name+`"], verbs: [enforce]}`)
			g.holds(t, ask{resource: resource, old: crd, now: annotated(crd.DeepCopy())}, "", "")
			others := crd.DeepCopy()
			others.Spec.Group = "example.com"
			g.holds(t, ask{resource: resource, old: others}, "", "")
		})
	}
}

// TestRow20_PoliciesThatEnforceAreHeld: RBAC lets somebody write policies; whether these enforce, and whether those that do stay,
// is a right of its own.
func TestRow20_PoliciesThatEnforceAreHeld(t *testing.T) {
	t.Parallel()
	kinds := []struct{ kind, resource, right, says string }{
		{"ImagePolicy", "imagepolicies", "enforce pratique.dev/imagepolicies payments/gold",
			`spec.mode: gold enforces, or did. Have mode say Warn or Audit from the start, or have a Role bound in namespace payments with the rule ` +
				`{apiGroups: [pratique.dev], resources: [imagepolicies], resourceNames: ["gold"], verbs: [enforce]}`},
		{"ClusterImagePolicy", "clusterimagepolicies", "enforce pratique.dev/clusterimagepolicies /gold",
			`spec.mode: gold enforces, or did. Have mode say Warn or Audit from the start, or have a ClusterRole bound by a ClusterRoleBinding with the rule ` +
				`{apiGroups: [pratique.dev], resources: [clusterimagepolicies], resourceNames: ["gold"], verbs: [enforce]}`},
	}
	// The modes before and after; "-" is no object.
	cases := []struct {
		old, now string
		held     bool
	}{
		{"-", "Enforce", true}, {"-", "", true}, {"-", "enforce", true}, {"-", "Warn", false}, {"-", "Audit", false},
		{"Enforce", "Audit", true}, {"", "Warn", true}, {"Warn", "Enforce", true}, {"Audit", "", true}, {"Warn", "Audit", false},
		{"Warn", "-", false}, {"Audit", "-", false}, {"Enforce", "", true},
	}
	for _, k := range kinds {
		for _, minor := range []string{oldest, newest} {
			g := compileGuard(t, policiesGuard, minor)
			t.Run(minor+" "+k.kind, func(t *testing.T) {
				t.Parallel()
				g.holdsDeletion(t, k.resource, imagePolicy(k.kind, "Enforce"), k.right)
				g.holdsDeletion(t, k.resource, imagePolicy(k.kind, ""), k.right)
				g.holdsOwners(t, k.resource, imagePolicy(k.kind, ""), k.right)
				for _, c := range cases {
					t.Run(fmt.Sprintf("%q to %q", c.old, c.now), func(t *testing.T) {
						a, right, says := ask{resource: k.resource}, "", ""
						if c.old != "-" {
							a.old = imagePolicy(k.kind, c.old)
						}
						if c.now != "-" {
							a.now = imagePolicy(k.kind, c.now)
						}
						if c.held {
							right, says = k.right, k.says
						}
						g.holds(t, a, right, says)
					})
				}
				for name, edit := range map[string]func(spec map[string]any){
					"what it refuses":                      func(spec map[string]any) { spec["images"] = map[string]any{"include": []any{"a/**"}} },
					"what it does":                         func(spec map[string]any) { delete(spec, "deny"); spec["allow"] = map[string]any{"reason": "open"} },
					"a field that this version can't read": func(spec map[string]any) { spec["later"] = true },
				} {
					t.Run(name, func(t *testing.T) {
						now, warns := imagePolicy(k.kind, "Enforce"), imagePolicy(k.kind, "Warn")
						edit(now.Object["spec"].(map[string]any))
						g.holds(t, ask{resource: k.resource, old: imagePolicy(k.kind, "Enforce"), now: now}, k.right, k.says)
						edit(warns.Object["spec"].(map[string]any))
						g.holds(t, ask{resource: k.resource, old: imagePolicy(k.kind, "Warn"), now: warns}, "", "")
					})
				}
				ending := annotated(imagePolicy(k.kind, "Enforce"))
				ending.SetLabels(map[string]string{"a": "b"})
				ending.SetFinalizers([]string{"a.example/b"})
				g.holds(t, ask{resource: k.resource, old: imagePolicy(k.kind, "Enforce"), now: ending}, "", "")
				g.holds(t, ask{resource: k.resource, old: ending, now: imagePolicy(k.kind, "Enforce")}, "", "")
				broken := &unstructured.Unstructured{Object: imagePolicy(k.kind, "").Object}
				delete(broken.Object, "spec")
				g.holdsDeletion(t, k.resource, broken, k.right) // no schema lets it in; it would refuse whatever it matches
			})
		}
	}
}

// TestRow74_ATrustRootIsHeldWhateverItSays: it has no mode, and what it says loosens every policy that refers to it.
func TestRow74_ATrustRootIsHeldWhateverItSays(t *testing.T) {
	t.Parallel()
	const (
		right = "enforce pratique.dev/trustroots /gold"
		says  = `spec: whose signatures count hangs on gold. Leave it as it is, or have a ClusterRole bound by a ClusterRoleBinding with the rule ` +
			`{apiGroups: [pratique.dev], resources: [trustroots], resourceNames: ["gold"], verbs: [enforce]}`
	)
	for _, minor := range []string{oldest, newest} {
		g := compileGuard(t, policiesGuard, minor)
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			for _, mode := range []string{"", "Warn", "Audit"} { // a field that it doesn't have, and that the schema lets through
				g.holds(t, ask{resource: "trustroots", now: imagePolicy("TrustRoot", mode)}, right, says)
				other := imagePolicy("TrustRoot", mode)
				other.Object["spec"].(map[string]any)["sources"] = []any{map[string]any{"public": map[string]any{}}}
				g.holds(t, ask{resource: "trustroots", old: imagePolicy("TrustRoot", mode), now: other}, right, says)
				g.holds(t, ask{resource: "trustroots", old: imagePolicy("TrustRoot", mode), now: annotated(imagePolicy("TrustRoot", mode))}, "", "")
			}
			g.holdsDeletion(t, "trustroots", imagePolicy("TrustRoot", ""), right)
		})
	}
}
