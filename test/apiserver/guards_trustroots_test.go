package apiserver

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestRow74_WhoMayWriteTrustRootsIsGuarded: a TrustRoot has no mode, and by it every policy that refers to it is as good as open; so all
// of them are for holders of the verb, whether the webhook runs or not.
func TestRow74_WhoMayWriteTrustRootsIsGuarded(t *testing.T) {
	s := alone(t, "row74-guard")
	s.guarded()
	all := "create get list update patch delete deletecollection"
	s.may("row74-author", rule("pratique.dev", "trustroots", all), rule("apiextensions.k8s.io", "customresourcedefinitions", "*"))
	s.may("row74-holder", rule("pratique.dev", "trustroots", all), rule("pratique.dev", "trustroots", "enforce", "row74-gold"))
	s.may("row74-status", rule("pratique.dev", "trustroots/status", "get patch update"))
	gold := s.object(s.fill(trustRoot, with{"name": "row74-gold", "sources": "{public: {}}"}))
	other := s.object(s.fill(trustRoot, with{"name": "row74-other", "sources": "{public: {}}"}))
	author, holder := s.as("row74-author").policies(gold), s.as("row74-holder").policies(gold)
	const says = `spec: whose signatures count hangs on row74-gold. Leave it as it is, or have a ClusterRole bound by a ClusterRoleBinding with the rule ` +
		`{apiGroups: [pratique.dev], resources: [trustroots], resourceNames: ["row74-gold"], verbs: [enforce]}`

	_, err := author.Create(s.ctx, gold, metav1.CreateOptions{})
	s.wantGuarded("creating one", policiesGuard, err, says)
	_, err = holder.Create(s.ctx, other, metav1.CreateOptions{})
	s.wantGuarded("creating one, by who may for another", policiesGuard, err)
	_, err = holder.Create(s.ctx, gold, metav1.CreateOptions{})
	s.want("creating one, by whoever may", err)

	held := func() {
		t.Helper()
		for what, patch := range map[string]string{
			"another source":        `[{"op":"add","path":"/spec/sources/-","value":{"configMapRef":{"name":"a","key":"b"}}}]`,
			"no SCTs":               `[{"op":"add","path":"/spec/thresholds","value":{"signedCertificateTimestamps":0}}]`,
			"an owner that is gone": `[{"op":"add","path":"/metadata/ownerReferences","value":[{"apiVersion":"v1","kind":"Namespace","name":"row74-gone","uid":"1"}]}]`,
		} {
			s.wantGuarded(what, policiesGuard, s.jsonPatch(author, "row74-gold", patch, false), says)
		}
		s.wantGuarded("deleting it", policiesGuard, author.Delete(s.ctx, "row74-gold", metav1.DeleteOptions{}), says)
		s.wantGuarded("deleting all", policiesGuard, author.DeleteCollection(s.ctx, metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name=row74-gold"}), says)
		s.want("a label", s.jsonPatch(author, "row74-gold", `[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]`, false))
		_, err := s.as("row74-status").policies(gold).Patch(s.ctx, "row74-gold", types.MergePatchType, []byte(`{"status":{"digest":"sha256:00"}}`), metav1.PatchOptions{}, "status")
		s.want("its status", err)
		crds := s.as("row74-author").objects.Resource(crdKind())
		const crd = "trustroots.pratique.dev"
		granted := `resources: [customresourcedefinitions], resourceNames: ["` + crd + `"], verbs: [enforce]}`
		s.wantGuarded("deleting the CRD", "pratique-crds", crds.Delete(s.ctx, crd, metav1.DeleteOptions{}), granted)
		s.wantGuarded("a default in the CRD", "pratique-crds", s.jsonPatch(crds, crd,
			`[{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/thresholds/default","value":{"signedCertificateTimestamps":0}}]`, false), granted)
	}
	held()
	s.want("stopping the webhook", s.bed.Webhook.Stop())
	held()
	s.want("deleting it, by whoever may", holder.Delete(s.ctx, "row74-gold", metav1.DeleteOptions{}))
}
