package admission

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// MaxImages bounds the images of one Pod: far above any Pod that runs, and what can be judged within one deadline.
const MaxImages = 256

// List names the list of a Pod in which an image stands.
type List string

// The lists of a Pod that name images. A test walks corev1.PodSpec and fails when Kubernetes adds another.
const (
	Containers          List = "container"
	InitContainers      List = "initContainer"
	EphemeralContainers List = "ephemeralContainer"
	ImageVolumes        List = "volume"
)

// Image is one image as a Pod names it.
type Image struct {
	List List
	Name string // of the container or volume
	// Reference is the string as written.
	Reference string
}

// String names the place of the image in the Pod.
func (i Image) String() string { return string(i.List) + " " + i.Name }

// Images returns every image that a Pod names.
func Images(spec *corev1.PodSpec) []Image {
	out := make([]Image, 0, len(spec.Containers)+len(spec.InitContainers)+len(spec.EphemeralContainers))
	for i := range spec.Containers {
		out = append(out, Image{Containers, spec.Containers[i].Name, spec.Containers[i].Image})
	}
	for i := range spec.InitContainers {
		out = append(out, Image{InitContainers, spec.InitContainers[i].Name, spec.InitContainers[i].Image})
	}
	for i := range spec.EphemeralContainers {
		out = append(out, Image{EphemeralContainers, spec.EphemeralContainers[i].Name, spec.EphemeralContainers[i].Image})
	}
	for i := range spec.Volumes {
		if v := spec.Volumes[i].Image; v != nil {
			out = append(out, Image{ImageVolumes, spec.Volumes[i].Name, v.Reference})
		}
	}
	return out
}

// Changed returns the images of now that were not there before: in the same list, under the same name, by the same string.
// Nothing else makes an image unchanged: not labels, annotations, owners nor a deletion timestamp.
func Changed(before, now []Image) []Image {
	was := make(map[Image]bool, len(before))
	for _, i := range before {
		was[i] = true
	}
	var out []Image
	for _, i := range now {
		if !was[i] {
			out = append(out, i)
		}
	}
	return out
}

// PullSecrets returns the names of the Secrets that a Pod pulls with: the API server has merged its ServiceAccount's.
func PullSecrets(spec *corev1.PodSpec) []string {
	var out []string
	for _, r := range spec.ImagePullSecrets {
		if name := strings.TrimSpace(r.Name); name != "" {
			out = append(out, name)
		}
	}
	return out
}
