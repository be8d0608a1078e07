package helm

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	apiservercel "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// conditions are the matchConditions of one webhook, compiled and evaluated by the API server's own code.
type conditions struct {
	evaluator cel.ConditionEvaluator
	matcher   matchconditions.Matcher
}

// compile compiles the rendered conditions of a webhook as a Kubernetes of this minor does when the webhook object
// is written.
func compile(t *testing.T, webhookName, minor string) conditions {
	t.Helper()
	w := webhook(t, webhookName)
	var expressions []cel.ExpressionAccessor
	for _, c := range w.MatchConditions {
		condition := matchconditions.MatchCondition(c)
		expressions = append(expressions, &condition)
	}
	compiler := cel.NewConditionCompiler(environment.MustBaseEnvSet(version.MustParseGeneric(minor)))
	evaluator := compiler.CompileCondition(expressions, cel.OptionalVariableDeclarations{HasAuthorizer: true}, environment.NewExpressions)
	for _, err := range evaluator.CompilationErrors() {
		t.Fatalf("Kubernetes %s: %v", minor, err)
	}
	fail := admissionregistrationv1.Fail // whatever w has: with Ignore the API server says nothing of an error
	return conditions{evaluator, matchconditions.NewMatcher(evaluator, &fail, "webhook", "validating", w.Name)}
}

// oldest and newest are the Kubernetes minors that the conditions are compiled for: kubeVersion of the chart, and
// that of the API server's code in our go.mod.
const oldest, newest = "1.33", "1.37"

// asks says whether the API server calls the webhook for a request. An error of the conditions, which the API server
// answers with a refusal, fails the test. Up to 1.36 the API server gives conditions an object's JSON, since then its
// Go value, in which an empty field is another thing than an absent one: both are tried.
func (c conditions) asks(t *testing.T, resource, subresource string, old, now runtime.Object) bool {
	t.Helper()
	asValue := c.matcher.Match(t.Context(), request(resource, subresource, old, now), nil, nil)
	asJSON := c.matcher.Match(t.Context(), request(resource, subresource, inJSON(t, old), inJSON(t, now)), nil, nil)
	if asValue.Error != nil || asJSON.Error != nil {
		t.Fatalf("the API server would refuse: as a value %v, as JSON %v", asValue.Error, asJSON.Error)
	}
	if asValue.Matches != asJSON.Matches {
		t.Fatalf("the webhook is called: as a value %t, as JSON %t", asValue.Matches, asJSON.Matches)
	}
	return asValue.Matches
}

// inJSON returns the object as its JSON has it.
func inJSON(t *testing.T, o runtime.Object) runtime.Object {
	t.Helper()
	if o == nil {
		return nil
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: fields}
}

// request is an update, or a create where there is no old object.
func request(resource, subresource string, old, now runtime.Object) *admission.VersionedAttributes {
	operation := admission.Update
	if old == nil {
		operation = admission.Create
	}
	kind := now.GetObjectKind().GroupVersionKind()
	attributes := admission.NewAttributesRecord(now, old, kind, "payments", "x", kind.GroupVersion().WithResource(resource), subresource, operation, &metav1.UpdateOptions{}, false, nil)
	versioned := &admission.VersionedAttributes{Attributes: attributes, VersionedKind: kind}
	versioned.VersionedObject.Set(now)
	if old != nil {
		versioned.VersionedOldObject.Set(old)
	}
	return versioned
}

func TestTheConditionsCompileOnEveryKubernetesTheChartIsFor(t *testing.T) {
	t.Parallel()
	for _, minor := range []string{oldest, "1.34", "1.35", "1.36", newest} {
		for _, name := range allWebhooks() {
			t.Run(minor+" "+name, func(t *testing.T) {
				t.Parallel()
				compile(t, name, minor)
			})
		}
	}
}

func TestAnUpdateThatChangesNoImageAsksNobody(t *testing.T) {
	t.Parallel()
	for _, minor := range []string{oldest, newest} {
		c := compile(t, imagesWebhook, minor)
		for _, e := range harmless() {
			t.Run(minor+" "+e.name, func(t *testing.T) {
				t.Parallel()
				old, now := running(), running()
				e.do(now)
				if c.asks(t, "pods", "", old, now) {
					t.Error("the webhook is called")
				}
			})
		}
	}
}

func TestEveryOtherRequestIsJudged(t *testing.T) {
	t.Parallel()
	for _, minor := range []string{oldest, newest} {
		c := compile(t, imagesWebhook, minor)
		t.Run(minor+" a create", func(t *testing.T) {
			t.Parallel()
			if !c.asks(t, "pods", "", nil, running()) {
				t.Error("the webhook is not called")
			}
		})
		for _, e := range harmful() {
			t.Run(minor+" "+e.name, func(t *testing.T) {
				t.Parallel()
				old, now := running(), running()
				e.do(now)
				if !c.asks(t, "pods", "", old, now) {
					t.Error("the webhook is not called")
				}
			})
		}
	}
}

func TestRow01_AnEphemeralContainerIsJudgedThroughItsSubresource(t *testing.T) {
	t.Parallel()
	c := compile(t, imagesWebhook, newest)
	t.Run("the first one, where the list was absent", func(t *testing.T) {
		old, now := running(), running()
		old.Spec.EphemeralContainers = nil
		if !c.asks(t, "pods", "ephemeralcontainers", old, now) {
			t.Error("the webhook is not called")
		}
	})
	t.Run("none that is new", func(t *testing.T) {
		old, now := running(), running()
		now.Labels = map[string]string{"a": "b"}
		if c.asks(t, "pods", "ephemeralcontainers", old, now) {
			t.Error("the webhook is called")
		}
	})
}

// TestRow02_EveryFieldThatNamesAnImageCounts walks PodSpec and changes each string called Image or Reference: a new
// Kubernetes that adds one more fails it until the condition knows it.
func TestRow02_EveryFieldThatNamesAnImageCounts(t *testing.T) {
	t.Parallel()
	c := compile(t, imagesWebhook, newest)
	places := imageFields(reflect.TypeFor[corev1.PodSpec](), nil)
	if len(places) < 4 {
		t.Fatalf("found only %v", places)
	}
	for _, place := range places {
		t.Run(strings.Join(place, "."), func(t *testing.T) {
			t.Parallel()
			old, now := running(), running()
			old.Spec, now.Spec = empty(), empty()
			set(reflect.ValueOf(&old.Spec).Elem(), place, "registry.example.com/signed:1")
			set(reflect.ValueOf(&now.Spec).Elem(), place, unsigned)
			if !c.asks(t, "pods", "", old, now) {
				t.Error("the webhook is not called")
			}
		})
	}
}

// imageFields finds the paths of the string fields called Image or Reference.
func imageFields(of reflect.Type, path []string) [][]string {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || of.PkgPath() != reflect.TypeFor[corev1.Pod]().PkgPath() {
		return nil
	}
	var found [][]string
	for field := range of.Fields() {
		at := append(slices.Clone(path), field.Name)
		if field.Type.Kind() == reflect.String && (field.Name == "Image" || field.Name == "Reference") {
			found = append(found, at)
		}
		found = append(found, imageFields(field.Type, at)...)
	}
	return found
}

// set gives the field at a path a value, with one element in each list on the way, named x.
func set(v reflect.Value, path []string, value string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		set(v.Elem(), path, value)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		set(v.Index(0), path, value)
	case reflect.Struct:
		if name := v.FieldByName("Name"); name.IsValid() && name.Kind() == reflect.String {
			name.SetString("x")
		}
		set(v.FieldByName(path[0]), path[1:], value)
	default:
		v.SetString(value)
	}
}

// TestRow09_ADeletionExcusesNothing: whatever else the update does to the Pod, a new image is judged.
func TestRow09_ADeletionExcusesNothing(t *testing.T) {
	t.Parallel()
	c := compile(t, imagesWebhook, newest)
	for _, e := range harmful() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			old, now := running(), running()
			deleted(old)
			deleted(now)
			now.Finalizers = nil
			e.do(now)
			if !c.asks(t, "pods", "", old, now) {
				t.Error("the webhook is not called")
			}
		})
	}
}

// TestRow10_ScalingAsksNobody: no rule is about scale, or about everything, and a change of replicas is no change of
// images. Together with an image it is judged: see templates_test.go.
func TestRow10_ScalingAsksNobody(t *testing.T) {
	t.Parallel()
	for _, name := range allWebhooks() {
		eachWebhook(t, name, func(t *testing.T, w admissionregistrationv1.ValidatingWebhook) {
			for _, rule := range w.Rules {
				if slices.ContainsFunc(rule.Resources, func(r string) bool { return strings.Contains(r, "*") || strings.HasSuffix(r, "/scale") }) {
					t.Errorf("rule %+v", rule)
				}
			}
		})
	}
}

// TestRow11_NoEditSlipsThrough makes random updates. What asks nobody has the same images under the same names in the
// same lists, and what touches no list asks nobody.
func TestRow11_NoEditSlipsThrough(t *testing.T) {
	t.Parallel()
	c := compile(t, imagesWebhook, newest)
	random := rand.New(rand.NewPCG(2, 11))
	passed := 0
	for range 3000 {
		old := randomPod(random)
		now := old.DeepCopy()
		touched := false
		for range random.IntN(3) {
			touched = randomEdit(random, now) || touched
		}
		asked := c.asks(t, "pods", "", old, now)
		same := slices.Equal(imagesOf(old), imagesOf(now))
		if !asked && !same {
			t.Fatalf("nobody is asked about\n%q\nafter\n%q", imagesOf(now), imagesOf(old))
		}
		if asked && !touched {
			t.Fatalf("the webhook is called though no list was touched: %q", imagesOf(now))
		}
		if !asked {
			passed++
		}
	}
	if passed < 300 || passed > 2700 {
		t.Errorf("%d of 3000 updates asked nobody: the edits are too much of one kind", passed)
	}
}

// TestRow14_NoMarkOnThePodExcusesIt: neither labels, annotations nor owners that others' webhooks go by.
func TestRow14_NoMarkOnThePodExcusesIt(t *testing.T) {
	t.Parallel()
	c := compile(t, imagesWebhook, newest)
	marks := map[string]string{
		"pratique.dev/verified": "true", "kyverno.io/image-verification-outcomes": `{"x":{"status":"pass"}}`,
		"image-policy.k8s.io/break-glass": "true", "admission.pratique.dev/ignore": "true",
	}
	for _, e := range harmful() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			old, now := running(), running()
			now.Labels, now.Annotations = marks, marks
			now.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n", UID: "u"}}
			e.do(now)
			if !c.asks(t, "pods", "", old, now) {
				t.Error("the webhook is not called")
			}
		})
	}
}

// TestRow23_TheConditionNeverErrs: an error would refuse the update without asking.
func TestRow23_TheConditionNeverErrs(t *testing.T) {
	t.Parallel()
	bare := running()
	bare.Spec = empty()
	null := running() // as whoever may fail is asked before the Pod is checked
	null.Spec.Containers = nil
	nameless := running()
	nameless.Spec = corev1.PodSpec{Containers: []corev1.Container{{}}, Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{}}}}}
	for _, minor := range []string{oldest, newest} {
		c := compile(t, imagesWebhook, minor)
		for _, old := range []*corev1.Pod{bare, null, nameless, running(), largest(minor)} {
			for _, now := range []*corev1.Pod{bare, null, nameless, running(), largest(minor)} {
				want := !slices.Equal(imagesOf(old), imagesOf(now))
				if got := c.asks(t, "pods", "", old, now); got != want {
					t.Errorf("%s: asked %t, want %t:\n%q\nafter\n%q", minor, got, want, imagesOf(now), imagesOf(old))
				}
			}
		}
	}
}

// TestRow23_TheConditionIsCheap: the largest Pod costs less than a tenth of what the API server allows a condition.
func TestRow23_TheConditionIsCheap(t *testing.T) {
	t.Parallel()
	c := compile(t, imagesWebhook, newest)
	c.cheap(t, request("pods", "", largest("a"), largest("a")))
}

// cheap fails the test if a request costs more than a tenth of what the API server allows.
func (c conditions) cheap(t *testing.T, attributes *admission.VersionedAttributes) {
	t.Helper()
	review := cel.CreateAdmissionRequest(attributes.Attributes, metav1.GroupVersionResource(attributes.GetResource()), metav1.GroupVersionKind(attributes.VersionedKind))
	_, left, err := c.evaluator.ForInput(t.Context(), attributes, review, cel.OptionalVariableBindings{}, nil, apiservercel.PerCallLimit)
	if err != nil {
		t.Fatal(err)
	}
	if cost := apiservercel.PerCallLimit - left; cost > apiservercel.PerCallLimit/10 {
		t.Errorf("it costs %d of %d", cost, apiservercel.PerCallLimit)
	}
}

func TestAPolicyIsJudgedWhenWhatItSaysChanges(t *testing.T) {
	t.Parallel()
	c := compile(t, policiesWebhook, newest)
	policy := func() *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"name": "x", "namespace": "payments", "finalizers": []any{"a.example/b"}},
			"spec": map[string]any{
				"images": map[string]any{"include": []any{"**"}},
				"deny":   map[string]any{"reason": "closed"},
			},
		}}
		u.SetGroupVersionKind(schema.GroupVersionKind{Group: "pratique.dev", Version: "v1alpha1", Kind: "ImagePolicy"})
		return u
	}
	cases := []struct {
		name string
		edit func(*unstructured.Unstructured)
		want bool
	}{
		{"a label", func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"a": "b"}) }, false},
		{"a finalizer removed", func(u *unstructured.Unstructured) { u.SetFinalizers(nil) }, false},
		{"its mode", func(u *unstructured.Unstructured) { u.Object["spec"].(map[string]any)["mode"] = "Audit" }, true},
		{"deep inside", func(u *unstructured.Unstructured) {
			u.Object["spec"].(map[string]any)["images"].(map[string]any)["include"] = []any{"**", "a/**"}
		}, true},
		{"a field that this version doesn't know", func(u *unstructured.Unstructured) { u.Object["spec"].(map[string]any)["typo"] = true }, true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			now := policy()
			tc.edit(now)
			if got := c.asks(t, "imagepolicies", "", policy(), now); got != tc.want {
				t.Errorf("asked %t, want %t", got, tc.want)
			}
		})
	}
	t.Run("a create", func(t *testing.T) {
		t.Parallel()
		if !c.asks(t, "imagepolicies", "", nil, policy()) {
			t.Error("the webhook is not called")
		}
	})
}
