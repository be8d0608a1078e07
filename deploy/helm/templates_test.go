package helm

import (
	"math/rand/v2"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// holder makes an object that holds the template of a Pod, with this many replicas where it has such.
type holder struct {
	resource string
	of       func(t *testing.T, pod *corev1.Pod, replicas int32) runtime.Object
}

// holders are the kinds that workloads.pratique.dev judges.
func holders() []holder {
	meta := metav1.ObjectMeta{Name: "x", Namespace: "payments", Finalizers: []string{"a.example/b"}}
	kind := func(version, kind string) metav1.TypeMeta { return metav1.TypeMeta{APIVersion: version, Kind: kind} }
	template := func(pod *corev1.Pod) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels, Annotations: pod.Annotations}, Spec: pod.Spec}
	}
	return []holder{
		{"deployments", func(_ *testing.T, pod *corev1.Pod, replicas int32) runtime.Object {
			return &appsv1.Deployment{TypeMeta: kind("apps/v1", "Deployment"), ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Replicas: &replicas, Template: template(pod)}}
		}},
		{"statefulsets", func(_ *testing.T, pod *corev1.Pod, replicas int32) runtime.Object {
			return &appsv1.StatefulSet{TypeMeta: kind("apps/v1", "StatefulSet"), ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Replicas: &replicas, Template: template(pod)}}
		}},
		{"daemonsets", func(_ *testing.T, pod *corev1.Pod, replicas int32) runtime.Object {
			return &appsv1.DaemonSet{TypeMeta: kind("apps/v1", "DaemonSet"), ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{MinReadySeconds: replicas, Template: template(pod)}}
		}},
		{"replicasets", func(_ *testing.T, pod *corev1.Pod, replicas int32) runtime.Object {
			return &appsv1.ReplicaSet{TypeMeta: kind("apps/v1", "ReplicaSet"), ObjectMeta: meta, Spec: appsv1.ReplicaSetSpec{Replicas: &replicas, Template: template(pod)}}
		}},
		{"replicationcontrollers", func(_ *testing.T, pod *corev1.Pod, replicas int32) runtime.Object {
			held := template(pod)
			return &corev1.ReplicationController{TypeMeta: kind("v1", "ReplicationController"), ObjectMeta: meta, Spec: corev1.ReplicationControllerSpec{Replicas: &replicas, Template: &held}}
		}},
		{"jobs", func(_ *testing.T, pod *corev1.Pod, replicas int32) runtime.Object {
			return &batchv1.Job{TypeMeta: kind("batch/v1", "Job"), ObjectMeta: meta, Spec: batchv1.JobSpec{Parallelism: &replicas, Template: template(pod)}}
		}},
		{"cronjobs", func(_ *testing.T, pod *corev1.Pod, replicas int32) runtime.Object {
			return &batchv1.CronJob{TypeMeta: kind("batch/v1", "CronJob"), ObjectMeta: meta, Spec: batchv1.CronJobSpec{
				Schedule: "@daily", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Parallelism: &replicas, Template: template(pod)}},
			}}
		}},
		{"deploymentconfigs", func(t *testing.T, pod *corev1.Pod, replicas int32) runtime.Object {
			held := template(pod)
			spec, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&held)
			if err != nil {
				t.Fatal(err)
			}
			return &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "apps.openshift.io/v1", "kind": "DeploymentConfig", "metadata": map[string]any{"name": "x", "namespace": "payments"},
				"spec": map[string]any{"replicas": int64(replicas), "template": spec},
			}}
		}},
	}
}

// TestEveryKindOfTemplateIsTried: a kind that the rules name and this file doesn't would be judged by a condition that
// nobody tried on it.
func TestEveryKindOfTemplateIsTried(t *testing.T) {
	t.Parallel()
	var named, tried []string
	for _, rule := range webhook(t, workloadsWebhook).Rules {
		named = append(named, rule.Resources...)
	}
	for _, h := range holders() {
		tried = append(tried, h.resource)
	}
	slices.Sort(named)
	slices.Sort(tried)
	if !slices.Equal(named, tried) {
		t.Errorf("the rules name %s, tried are %s", named, tried)
	}
}

// TestRow10_ATemplateIsJudgedWhenItsImagesChange, whatever else the update does, and only then.
func TestRow10_ATemplateIsJudgedWhenItsImagesChange(t *testing.T) {
	t.Parallel()
	for _, minor := range []string{oldest, newest} {
		c := compile(t, workloadsWebhook, minor)
		for _, h := range holders() {
			t.Run(minor+" "+h.resource, func(t *testing.T) {
				t.Parallel()
				if !c.asks(t, h.resource, "", nil, h.of(t, running(), 3)) {
					t.Error("a create asks nobody")
				}
				if c.asks(t, h.resource, "", h.of(t, running(), 3), h.of(t, running(), 0)) {
					t.Error("a scale-down asks")
				}
				for _, e := range harmless() {
					now := running()
					e.do(now)
					if c.asks(t, h.resource, "", h.of(t, running(), 3), h.of(t, now, 3)) {
						t.Errorf("%s: the webhook is called", e.name)
					}
				}
				for _, e := range harmful() {
					now := running()
					e.do(now)
					if !c.asks(t, h.resource, "", h.of(t, running(), 3), h.of(t, now, 2)) {
						t.Errorf("%s, and a scale-down: the webhook is not called", e.name)
					}
				}
			})
		}
	}
}

// TestRow11_NoEditOfATemplateSlipsThrough is as for Pods: what asks nobody has the same images under the same names.
func TestRow11_NoEditOfATemplateSlipsThrough(t *testing.T) {
	t.Parallel()
	c := compile(t, workloadsWebhook, newest)
	random := rand.New(rand.NewPCG(3, 11))
	kinds := holders()
	passed := 0
	for range 1000 {
		h := kinds[random.IntN(len(kinds))]
		old := randomPod(random)
		now := old.DeepCopy()
		touched := false
		for range random.IntN(3) {
			touched = randomEdit(random, now) || touched
		}
		asked := c.asks(t, h.resource, "", h.of(t, old, 1), h.of(t, now, 1))
		if !asked && !slices.Equal(imagesOf(old), imagesOf(now)) {
			t.Fatalf("%s: nobody is asked about\n%q\nafter\n%q", h.resource, imagesOf(now), imagesOf(old))
		}
		if asked && !touched {
			t.Fatalf("%s: the webhook is called though no list was touched: %q", h.resource, imagesOf(now))
		}
		if !asked {
			passed++
		}
	}
	if passed < 100 || passed > 900 {
		t.Errorf("%d of 1000 updates asked nobody: the edits are too much of one kind", passed)
	}
}

// TestRow23_TheConditionOfTemplatesNeverErrs, also where there is no template, or it has nothing.
func TestRow23_TheConditionOfTemplatesNeverErrs(t *testing.T) {
	t.Parallel()
	without := &corev1.ReplicationController{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ReplicationController"}}
	other := func(object map[string]any) *unstructured.Unstructured {
		object["apiVersion"], object["kind"], object["metadata"] = "apps.openshift.io/v1", "DeploymentConfig", map[string]any{"name": "x"}
		return &unstructured.Unstructured{Object: object}
	}
	null := running()
	null.Spec = corev1.PodSpec{}
	for _, minor := range []string{oldest, newest} {
		c := compile(t, workloadsWebhook, minor)
		for _, h := range holders() {
			bare := []runtime.Object{h.of(t, null, 1), h.of(t, &corev1.Pod{Spec: empty()}, 1)}
			switch h.resource {
			case "replicationcontrollers":
				bare = append(bare, without)
			case "deploymentconfigs":
				bare = append(bare, other(map[string]any{}), other(map[string]any{"spec": map[string]any{}}),
					other(map[string]any{"spec": map[string]any{"template": nil}}), other(map[string]any{"spec": map[string]any{"template": map[string]any{}}}))
			}
			full := h.of(t, running(), 1)
			for _, old := range bare {
				for _, now := range bare {
					if c.asks(t, h.resource, "", old, now) {
						t.Errorf("%s %s: asked about no images after none", minor, h.resource)
					}
				}
				if !c.asks(t, h.resource, "", old, full) || !c.asks(t, h.resource, "", full, old) {
					t.Errorf("%s %s: nobody is asked about images after none, or none after them", minor, h.resource)
				}
			}
		}
	}
}

// TestRow23_TheConditionOfTemplatesIsCheap on the largest template, the deepest way down.
func TestRow23_TheConditionOfTemplatesIsCheap(t *testing.T) {
	t.Parallel()
	c := compile(t, workloadsWebhook, newest)
	for _, h := range holders() {
		c.cheap(t, request(h.resource, "", h.of(t, largest("a"), 1), h.of(t, largest("a"), 1)))
	}
}
