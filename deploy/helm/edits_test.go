package helm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// running is a Pod with an image in each of the lists.
func running() *corev1.Pod {
	image := func(name string) string { return "registry.example.com/payments/" + name + ":1.4.2@sha256:9f2c" }
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "payments", Finalizers: []string{"batch.kubernetes.io/job-tracking"}},
		Spec: corev1.PodSpec{
			InitContainers:      []corev1.Container{{Name: "migrate", Image: image("migrate")}},
			Containers:          []corev1.Container{{Name: "api", Image: image("api")}, {Name: "proxy", Image: image("proxy")}},
			EphemeralContainers: []corev1.EphemeralContainer{debugger("debug", image("debug"))},
			Volumes: []corev1.Volume{
				{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{Name: "model", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image("model"), PullPolicy: corev1.PullIfNotPresent}}},
			},
		},
	}
}

// empty has the one list that every PodSpec has: the API server refuses a Pod without containers before it asks.
func empty() corev1.PodSpec { return corev1.PodSpec{Containers: []corev1.Container{}} }

func debugger(name, image string) corev1.EphemeralContainer {
	return corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: image}}
}

const unsigned = "registry.example.com/payments/unsigned:1"

// edit is an update of the Pod that running returns.
type edit struct {
	name string
	do   func(*corev1.Pod)
}

// harmless are updates that change no image: they go through with the webhook down.
func harmless() []edit {
	return []edit{
		{"nothing", func(*corev1.Pod) {}},
		{"a label", func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }},
		{"an annotation", func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} }},
		{"a finalizer removed", func(p *corev1.Pod) { p.Finalizers = nil }},
		{"a finalizer removed from a Pod that is being deleted", func(p *corev1.Pod) { deleted(p); p.Finalizers = nil }},
		{"an owner", func(p *corev1.Pod) { p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "x"}} }},
		{"a status", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }},
		{"an image in the status", func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "api", Image: unsigned}}
		}},
		{"a deadline", func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = new(int64) }},
		{"a toleration", func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}} }},
		{"a container's command", func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"sh"} }},
		{"a volume that is no image", func(p *corev1.Pod) { p.Spec.Volumes = p.Spec.Volumes[1:] }},
		{"an image volume's pull policy", func(p *corev1.Pod) { p.Spec.Volumes[1].Image.PullPolicy = corev1.PullAlways }},
	}
}

// harmful are updates that could bring an image that nobody looked at.
func harmful() []edit {
	return []edit{
		{"a container's image", func(p *corev1.Pod) { p.Spec.Containers[1].Image = unsigned }},
		{"an init container's image", func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = unsigned }},
		{"an ephemeral container's image", func(p *corev1.Pod) { p.Spec.EphemeralContainers[0].Image = unsigned }},
		{"an image volume's reference", func(p *corev1.Pod) { p.Spec.Volumes[1].Image.Reference = unsigned }},
		{"the tag of the same digest", func(p *corev1.Pod) {
			p.Spec.Containers[0].Image = strings.Replace(p.Spec.Containers[0].Image, ":1.4.2", ":latest", 1)
		}},
		{"a space after an image", func(p *corev1.Pod) { p.Spec.Containers[0].Image += " " }},
		{"an image taken away", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "" }},
		{"an image volume's reference taken away", func(p *corev1.Pod) { p.Spec.Volumes[1].Image.Reference = "" }},
		{"a container added", func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "new", Image: unsigned})
		}},
		{"a container added with an image that another has", func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "new", Image: p.Spec.Containers[0].Image})
		}},
		{"a container added under a name that another has", func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "api", Image: unsigned})
		}},
		{"an ephemeral container added", func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, debugger("debug2", unsigned))
		}},
		{"the first init container added", func(p *corev1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: "sidecar", Image: unsigned})
		}},
		{"an image volume added", func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "new", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: unsigned}}})
		}},
		{"a volume turned into an image", func(p *corev1.Pod) {
			p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: unsigned}}
		}},
		{"a container removed", func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[:1] }},
		{"two containers in the other order", func(p *corev1.Pod) { slices.Reverse(p.Spec.Containers) }},
		{"two containers' images swapped", func(p *corev1.Pod) {
			c := p.Spec.Containers
			c[0].Image, c[1].Image = c[1].Image, c[0].Image
		}},
		{"a container renamed", func(p *corev1.Pod) { p.Spec.Containers[0].Name = "renamed" }},
		{"an image volume renamed", func(p *corev1.Pod) { p.Spec.Volumes[1].Name = "renamed" }},
		{"a container moved to the init containers", func(p *corev1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, p.Spec.Containers[1])
			p.Spec.Containers = p.Spec.Containers[:1]
		}},
		{"an init container and a container changing places", func(p *corev1.Pod) {
			p.Spec.InitContainers[0], p.Spec.Containers[0] = p.Spec.Containers[0], p.Spec.InitContainers[0]
		}},
	}
}

func deleted(p *corev1.Pod) {
	p.DeletionTimestamp = &metav1.Time{}
	p.DeletionGracePeriodSeconds = new(int64)
}

// randomPod has few names and images, so that they collide.
func randomPod(random *rand.Rand) *corev1.Pod {
	pod := running()
	pod.Spec = empty()
	for range random.IntN(5) {
		randomEdit(random, pod)
	}
	return pod
}

// randomEdit changes a Pod, and says whether it touched a list that names images.
func randomEdit(random *rand.Rand, pod *corev1.Pod) (touched bool) {
	name, image := string(rune('a'+random.IntN(3))), string(rune('p'+random.IntN(3)))
	spec := &pod.Spec
	switch random.IntN(9) {
	case 0:
		spec.Containers = append(spec.Containers, corev1.Container{Name: name, Image: image})
	case 1:
		spec.InitContainers = append(spec.InitContainers, corev1.Container{Name: name, Image: image})
	case 2:
		spec.EphemeralContainers = append(spec.EphemeralContainers, debugger(name, image))
	case 3:
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image}}})
	case 4:
		spec.Containers, spec.InitContainers = append(empty().Containers, spec.InitContainers...), spec.Containers
	case 5:
		if len(spec.Containers) > 0 {
			spec.Containers[random.IntN(len(spec.Containers))].Image = image
		}
	case 6:
		if len(spec.Containers) > 0 {
			spec.Containers = spec.Containers[1:]
		}
	case 7:
		pod.Labels = map[string]string{name: image}
		return false
	case 8:
		pod.Annotations = map[string]string{"pratique.dev/verified": "true"}
		deleted(pod)
		return false
	}
	return true
}

// imagesOf lists what a Pod runs, as list/name=image, sorted.
func imagesOf(pod *corev1.Pod) []string {
	var images []string
	add := func(list, name, image string) { images = append(images, fmt.Sprintf("%s/%s=%s", list, name, image)) }
	for _, c := range pod.Spec.Containers {
		add("containers", c.Name, c.Image)
	}
	for _, c := range pod.Spec.InitContainers {
		add("initContainers", c.Name, c.Image)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		add("ephemeralContainers", c.Name, c.Image)
	}
	for _, v := range pod.Spec.Volumes {
		if v.Image != nil {
			add("volumes", v.Name, v.Image.Reference)
		}
	}
	slices.Sort(images)
	return images
}

// largest is a Pod larger than any that was admitted: twice the 256 images that the webhook judges, with references
// of the length a tag and a digest can have.
func largest(seed string) *corev1.Pod {
	pod := running()
	image := func(i int) string {
		return fmt.Sprintf("registry.example.com/%s/%s-%d:%s@sha256:%s", seed, strings.Repeat("p", 200), i, strings.Repeat("t", 128), strings.Repeat("0", 64))
	}
	for i := range 128 {
		name := fmt.Sprintf("c%d", i)
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name, Image: image(i)})
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: name, Image: image(i)})
		pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, debugger(name, image(i)))
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image(i)}}})
	}
	return pod
}
