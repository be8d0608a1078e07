package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

const (
	policiesGuard = "pratique-policies"
	webhooksGuard = "pratique-webhooks"
)

// admissionKind is a kind of object that tells the API server what to ask and what to hold.
func admissionKind(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: resource}
}

func crdKind() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// ours selects what the chart installs.
func ours() metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=pratique"}
}

// jsonPatch patches an object by a JSON patch, without storing what comes of it if dry.
func (s *scene) jsonPatch(to dynamic.ResourceInterface, name, patch string, dry bool) error {
	options := metav1.PatchOptions{}
	if dry {
		options.DryRun = []string{metav1.DryRunAll}
	}
	_, err := to.Patch(s.ctx, name, types.JSONPatchType, []byte(patch), options)
	return err
}

// TestRow24_TheWebhookObjectsAreGuarded: with every right on webhook configurations but the verb, somebody can neither turn the
// webhooks off nor blunt them, whether they run or not. What keeps a CA needs no more than RBAC.
func TestRow24_TheWebhookObjectsAreGuarded(t *testing.T) {
	s := alone(t, "row24")
	s.guarded()
	s.may("row24-admin", rule("admissionregistration.k8s.io", "validatingwebhookconfigurations mutatingwebhookconfigurations", "*"))
	s.may("row24-holder", rule("admissionregistration.k8s.io", "validatingwebhookconfigurations mutatingwebhookconfigurations", "*"),
		rule("pratique.dev", "validatingwebhookconfigurations mutatingwebhookconfigurations", "enforce", "pratique"))
	admin, holder := s.as("row24-admin"), s.as("row24-holder")
	held := func(t *testing.T) {
		s := s.in(t, s.ns)
		for _, resource := range []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"} {
			kind := admissionKind(resource)
			to, toHolder := admin.objects.Resource(kind), holder.objects.Resource(kind)
			says := "webhooks: by pratique the API server asks which images may run. Leave all but caBundle as it is, or have a ClusterRole bound by a ClusterRoleBinding " +
				`with the rule {apiGroups: [pratique.dev], resources: [` + resource + `], resourceNames: ["pratique"], verbs: [enforce]}`
			if _, err := s.objects.Resource(kind).Get(s.ctx, "pratique", metav1.GetOptions{}); apierrors.IsNotFound(err) {
				t.Fatalf("the chart has no %s", resource)
			}
			s.wantGuarded("deleting it", webhooksGuard, to.Delete(s.ctx, "pratique", metav1.DeleteOptions{}), says)
			s.wantGuarded("deleting all", webhooksGuard, to.DeleteCollection(s.ctx, metav1.DeleteOptions{}, ours()), says)
			for what, patch := range map[string]string{
				"a failurePolicy":   `[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"},{"op":"replace","path":"/webhooks/0/timeoutSeconds","value":1}]`,
				"a selector":        `[{"op":"add","path":"/webhooks/0/objectSelector","value":{"matchLabels":{"a":"b"}}}]`,
				"a matchCondition":  `[{"op":"add","path":"/webhooks/0/matchConditions/-","value":{"name":"never","expression":"false"}}]`,
				"an operation less": `[{"op":"remove","path":"/webhooks/0/rules/0/operations/0"}]`,
				"another address":   `[{"op":"replace","path":"/webhooks/0/clientConfig/url","value":"https://127.0.0.1:1/validate"}]`,
				"a webhook less":    `[{"op":"remove","path":"/webhooks/0"}]`,
				"an owner":          `[{"op":"add","path":"/metadata/ownerReferences","value":[{"apiVersion":"v1","kind":"Namespace","name":"row24-gone","uid":"1"}]}]`,
			} {
				s.wantGuarded(what, webhooksGuard, s.jsonPatch(to, "pratique", patch, false), says)
				s.want(what+", by whoever may", s.jsonPatch(toHolder, "pratique", patch, true))
			}
			s.want("deleting it, by whoever may", toHolder.Delete(s.ctx, "pratique", metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}))
			s.want("a label", s.jsonPatch(to, "pratique", `[{"op":"add","path":"/metadata/labels/row24.example~1a","value":"b"}]`, false))
			// The same CA once more: the webhook is trusted as before.
			now, err := s.objects.Resource(kind).Get(s.ctx, "pratique", metav1.GetOptions{})
			s.want("reading it", err)
			ca := doubledCA(t, now)
			s.want("another caBundle", s.jsonPatch(to, "pratique", `[{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":`+ca+`}]`, false))
		}
	}
	t.Run("with the webhook running", held)
	s.want("stopping the webhook", s.bed.Webhook.Stop())
	t.Run("with the webhook stopped", held)
}

// doubledCA is the caBundle of the first webhook, twice over, in JSON.
func doubledCA(t *testing.T, u *unstructured.Unstructured) string {
	t.Helper()
	var configuration struct {
		Webhooks []struct{ ClientConfig struct{ CABundle []byte } }
	}
	text, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &configuration); err != nil {
		t.Fatal(err)
	}
	ca := configuration.Webhooks[0].ClientConfig.CABundle
	text, err = json.Marshal(append(ca, ca...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRow24_TheCRDsAreGuarded: with a CRD all policies of its kind would go, past the guard that holds each.
func TestRow24_TheCRDsAreGuarded(t *testing.T) {
	s := parallelScene(t, "row24-crds")
	s.guarded()
	s.may("row24-crds", rule("apiextensions.k8s.io", "customresourcedefinitions", "*"))
	to := s.as("row24-crds").objects.Resource(crdKind())
	for _, name := range []string{"imagepolicies.pratique.dev", "clusterimagepolicies.pratique.dev"} {
		const guard = "pratique-crds"
		says := `resources: [customresourcedefinitions], resourceNames: ["` + name + `"], verbs: [enforce]}`
		s.wantGuarded("deleting it", guard, to.Delete(s.ctx, name, metav1.DeleteOptions{}), says)
		s.wantGuarded("a default", guard, s.jsonPatch(to, name,
			`[{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/default","value":"Audit"}]`, false), says)
		s.want("an annotation", s.jsonPatch(to, name, `[{"op":"add","path":"/metadata/annotations/row24.example~1a","value":"b"}]`, false))
	}
	s.wantGuarded("deleting all", "pratique-crds", to.DeleteCollection(s.ctx, metav1.DeleteOptions{}, ours()))
	s.want("what the API server itself writes", s.jsonPatch(s.objects.Resource(crdKind()), "imagepolicies.pratique.dev", `[{"op":"add","path":"/spec/names/categories/-","value":"row24"}]`, true))
}

// closed is a policy that refuses everything.
const closed = `
apiVersion: pratique.dev/v1alpha1
kind: {{or .kind "ImagePolicy"}}
metadata: {name: {{or .name "closed"}}{{if ne .kind "ClusterImagePolicy"}}, namespace: {{.ns}}{{end}}}
spec:
  {{with .mode}}mode: {{.}}{{end}}
  {{if eq .kind "ClusterImagePolicy"}}namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{.ns}}}}{{end}}
  images: {include: ["nowhere.example/**"]}
  deny: {reason: closed}
`

// TestRow20_WhoMayEnforceIsGuarded: whoever may write policies writes those that warn; those that enforce, and what becomes of them,
// are for holders of the verb.
func TestRow20_WhoMayEnforceIsGuarded(t *testing.T) {
	s := alone(t, "row20")
	s.guarded()
	s.mayHere("row20-author", rule("pratique.dev", "imagepolicies", "create get list update patch delete deletecollection"))
	s.may("row20-author", rule("pratique.dev", "clusterimagepolicies", "create get list update patch delete deletecollection"))
	s.mayHere("row20-holder", rule("pratique.dev", "imagepolicies", "create get list update patch delete deletecollection"), rule("pratique.dev", "imagepolicies", "enforce", "closed"))
	s.may("row20-holder", rule("pratique.dev", "clusterimagepolicies", "create get list update patch delete deletecollection"),
		rule("pratique.dev", "clusterimagepolicies", "enforce", "closed", "row20"))
	s.may("row20-status", rule("pratique.dev", "imagepolicies/status clusterimagepolicies/status", "get patch update"))
	for kind, granted := range map[string]string{
		"ImagePolicy":        `a Role bound in namespace row20 with the rule {apiGroups: [pratique.dev], resources: [imagepolicies], resourceNames: ["%s"], verbs: [enforce]}`,
		"ClusterImagePolicy": `a ClusterRole bound by a ClusterRoleBinding with the rule {apiGroups: [pratique.dev], resources: [clusterimagepolicies], resourceNames: ["%s"], verbs: [enforce]}`,
	} {
		t.Run(kind, func(t *testing.T) {
			s := s.in(t, s.ns)
			if !s.bed.Running() {
				s.want("starting the webhook", s.restart())
			}
			u := func(mode, name string) *unstructured.Unstructured {
				return s.object(s.fill(closed, with{"kind": kind, "mode": mode, "name": name}))
			}
			all := s.policies(u("Warn", "closed"))
			author, holder := s.as("row20-author").policies(u("", "")), s.as("row20-holder").policies(u("", ""))
			t.Cleanup(func() {
				for _, name := range []string{"closed", "warns"} {
					if err := all.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
						t.Error(err)
					}
				}
			})
			create := func(to dynamic.ResourceInterface, mode, name string) error {
				_, err := to.Create(s.ctx, u(mode, name), metav1.CreateOptions{})
				return err
			}
			for _, mode := range []string{"Enforce", ""} {
				s.wantGuarded("creating one", policiesGuard, create(author, mode, "closed"), "spec.mode: closed enforces, or did. Have mode say Warn or Audit", fmt.Sprintf(granted, "closed"))
			}
			s.want("one that warns", create(author, "Warn", "warns"))
			s.want("one that is to be known", s.jsonPatch(author, "warns", `[{"op":"replace","path":"/spec/mode","value":"Audit"}]`, false))
			s.wantGuarded("making it enforce", policiesGuard, s.jsonPatch(author, "warns", `[{"op":"remove","path":"/spec/mode"}]`, false), fmt.Sprintf(granted, "warns"))
			s.wantGuarded("by who may for another", policiesGuard, s.jsonPatch(holder, "warns", `[{"op":"remove","path":"/spec/mode"}]`, false))
			s.want("one that enforces, by whoever may", create(holder, "", "closed"))

			held := func() {
				t.Helper()
				for what, patch := range map[string]string{
					"making it warn":        `[{"op":"add","path":"/spec/mode","value":"Warn"}]`,
					"taking images out":     `[{"op":"add","path":"/spec/images/exclude","value":["nowhere.example/a"]}]`,
					"an owner that is gone": `[{"op":"add","path":"/metadata/ownerReferences","value":[{"apiVersion":"v1","kind":"Namespace","name":"row20-gone","uid":"1"}]}]`,
				} {
					s.wantGuarded(what, policiesGuard, s.jsonPatch(author, "closed", patch, false), fmt.Sprintf(granted, "closed"))
				}
				s.wantGuarded("deleting it", policiesGuard, author.Delete(s.ctx, "closed", metav1.DeleteOptions{}), fmt.Sprintf(granted, "closed"))
				s.wantGuarded("deleting all", policiesGuard, author.DeleteCollection(s.ctx, metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name=closed"}), fmt.Sprintf(granted, "closed"))
				s.want("a label", s.jsonPatch(author, "closed", `[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]`, false))
				s.want("a finalizer", s.jsonPatch(author, "closed", `[{"op":"add","path":"/metadata/finalizers","value":["tests.example/hold"]}]`, false))
				s.want("none any more", s.jsonPatch(author, "closed", `[{"op":"remove","path":"/metadata/finalizers"}]`, false))
				_, err := s.as("row20-status").policies(u("", "")).Patch(s.ctx, "closed", types.MergePatchType, []byte(`{"status":{"rule":"tests"}}`), metav1.PatchOptions{}, "status")
				s.want("its status", err)
			}
			held()
			s.want("stopping the webhook", s.bed.Webhook.Stop())
			held()
			s.wantGuarded("creating one", policiesGuard, create(author, "", "another"))
			s.want("deleting one that doesn't enforce", author.Delete(s.ctx, "warns", metav1.DeleteOptions{}))
			s.want("deleting it, by whoever may", holder.Delete(s.ctx, "closed", metav1.DeleteOptions{}))
		})
	}
}

// TestTheClusterClearsUp: what the cluster itself deletes goes, with the webhook stopped: policies with their namespace, and with what
// owned them.
func TestTheClusterClearsUp(t *testing.T) {
	s := alone(t, "clears-up")
	s.guarded()
	s.may("clearer", rule("", "namespaces", "delete"), rule("", "configmaps", "delete"))
	owner, err := s.kube.CoreV1().ConfigMaps(s.ns).Create(s.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
	s.want("making an owner", err)
	ending := s.in(t, "clears-up-ending")
	s.namespace(ending.ns, map[string]string{"a": "b"})
	for _, name := range []string{"first", "second"} {
		_, err := ending.tryPolicy(closed, with{"name": name})
		s.want("applying a policy", err)
	}
	owned := s.object(s.fill(closed, with{"name": "owned"}))
	owned.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}})
	to := s.objects.Resource(v1alpha1.GroupVersion().WithResource("imagepolicies")).Namespace(s.ns)
	_, err = to.Create(s.ctx, owned, metav1.CreateOptions{})
	s.want("creating a policy with an owner", err)

	s.want("stopping the webhook", s.bed.Webhook.Stop())
	somebody := s.as("clearer")
	s.want("deleting the namespace", somebody.kube.CoreV1().Namespaces().Delete(s.ctx, ending.ns, metav1.DeleteOptions{}))
	s.want("deleting the owner", somebody.kube.CoreV1().ConfigMaps(s.ns).Delete(s.ctx, owner.Name, metav1.DeleteOptions{}))
	s.eventually("the namespace to be gone", func() error { return wantGone(s.kube.CoreV1().Namespaces().Get(s.ctx, ending.ns, metav1.GetOptions{})) })
	s.eventually("the owned policy to be gone", func() error { return wantGone(to.Get(s.ctx, "owned", metav1.GetOptions{})) })
}

// wantGone checks that an object is not found.
func wantGone[T metav1.Object](o T, err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return fmt.Errorf("it is still there: %s", text)
}
