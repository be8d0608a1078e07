package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"text/template"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// signedBy is the policy of most tests: images of the scene's registry must be signed by release.
const signedBy = `
apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: {{or .name "signed"}}, namespace: {{.ns}}}
spec:
  mode: {{or .mode "Enforce"}}
  images: {include: ["{{or .include (print .host "/**")}}"]}
  references: {tags: {{or .tags "Allow"}}}
  authorities: [{name: release, key: {data: {{.release}}}}]
  require: {signature: {by: [release]}}
`

// with are values for a policy's template, besides ns, host and release (the key as a quoted PEM).
type with map[string]any

// pem is a key as the template of a policy takes it.
func pem(k papers.Key) string { return quoted(string(k.PublicPEM)) }

func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always can
	}
	return string(text)
}

// fill fills in the template of a policy.
func (s *scene) fill(text string, values ...with) string {
	s.t.Helper()
	all := with{"ns": s.ns, "host": s.reg.Host(), "release": pem(s.release)}
	for _, v := range values {
		maps.Copy(all, v)
	}
	tmpl, err := template.New("policy").Parse(text)
	if err != nil {
		s.t.Fatal(err)
	}
	var out strings.Builder
	if err := tmpl.Execute(&out, map[string]any(all)); err != nil {
		s.t.Fatal(err)
	}
	return out.String()
}

// object reads a YAML document.
func (s *scene) object(text string) *unstructured.Unstructured {
	s.t.Helper()
	var u unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		s.t.Fatalf("%v in:\n%s", err, text)
	}
	return &u
}

// policies is where a policy, a TrustRoot or an ImageException is written.
func (s *scene) policies(u *unstructured.Unstructured) dynamic.ResourceInterface {
	switch u.GetKind() {
	case "ImagePolicy":
		return s.objects.Resource(v1alpha1.GroupVersion().WithResource("imagepolicies")).Namespace(u.GetNamespace())
	case "ClusterImagePolicy":
		return s.objects.Resource(v1alpha1.GroupVersion().WithResource("clusterimagepolicies"))
	case "TrustRoot":
		return s.objects.Resource(v1alpha1.GroupVersion().WithResource("trustroots"))
	case "ImageException":
		return s.objects.Resource(v1alpha1.GroupVersion().WithResource("imageexceptions")).Namespace(u.GetNamespace())
	}
	s.t.Fatalf("%s is no policy", u.GetKind())
	return nil
}

// tryPolicy applies a policy or a TrustRoot and returns what the API server says. What is the cluster's goes with the test, since it
// would be there for the other tests.
func (s *scene) tryPolicy(text string, values ...with) (*unstructured.Unstructured, error) {
	s.t.Helper()
	u := s.object(s.fill(text, values...))
	to := s.policies(u)
	stored, err := to.Apply(s.ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: "test", Force: true})
	if err == nil && u.GetNamespace() == "" {
		s.t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), patience)
			defer cancel()
			if err := to.Delete(ctx, u.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				s.t.Error(err)
			}
		})
	}
	return stored, err
}

// policy applies a policy and waits until the webhook says that it has read it; it returns the status.
func (s *scene) policy(text string, values ...with) v1alpha1.PolicyStatus {
	s.t.Helper()
	u, err := s.tryPolicy(text, values...)
	if err != nil {
		s.t.Fatalf("applying the policy: %v", err)
	}
	return s.waitStatus(u, "to be read", func(v1alpha1.PolicyStatus) bool { return true })
}

// waitStatus waits until the status is about the policy as it is now and pleases ok.
func (s *scene) waitStatus(u *unstructured.Unstructured, what string, ok func(v1alpha1.PolicyStatus) bool) v1alpha1.PolicyStatus {
	s.t.Helper()
	var status v1alpha1.PolicyStatus
	s.eventually("policy "+u.GetName()+" "+what, func() error {
		status = v1alpha1.PolicyStatus{}
		now, err := s.statusOf(u, &status)
		if err != nil {
			return err
		}
		if status.ObservedGeneration != now.GetGeneration() || !ok(status) {
			return fmt.Errorf("generation %d has the status %+v", now.GetGeneration(), status)
		}
		return nil
	})
	return status
}

// statusOf reads what is stored of an object, and its status.
func (s *scene) statusOf(u *unstructured.Unstructured, status any) (*unstructured.Unstructured, error) {
	now, err := s.policies(u).Get(s.ctx, u.GetName(), metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if raw, is := now.Object["status"].(map[string]any); is {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(raw, status)
	}
	return now, err
}

// ready is the condition Ready of a status.
func ready(status v1alpha1.PolicyStatus) metav1.Condition {
	if c := meta.FindStatusCondition(status.Conditions, "Ready"); c != nil {
		return *c
	}
	return metav1.Condition{}
}
