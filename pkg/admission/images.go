package admission

import (
	"fmt"
	"iter"
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

// brief names the place in at most so many bytes of ASCII, whatever it is called.
func (i Image) brief(most int) string {
	return bound(string(i.List)+" "+clip(i.Name, most), most)
}

// Images returns every image that a Pod names.
func Images(spec *corev1.PodSpec) []Image {
	out := make([]Image, 0, len(spec.Containers)+len(spec.InitContainers)+len(spec.EphemeralContainers))
	for p := range places(spec) {
		out = append(out, p.Image)
	}
	return out
}

// place is where in a Pod an image stands.
type place struct {
	Image
	index int // in its list
}

// pointer returns the place as a JSON Pointer (RFC 6901).
func (p place) pointer() string {
	switch p.List {
	case InitContainers:
		return fmt.Sprintf("/spec/initContainers/%d/image", p.index)
	case EphemeralContainers:
		return fmt.Sprintf("/spec/ephemeralContainers/%d/image", p.index)
	case ImageVolumes:
		return fmt.Sprintf("/spec/volumes/%d/image/reference", p.index)
	default:
		return fmt.Sprintf("/spec/containers/%d/image", p.index)
	}
}

// places goes through every place of a Pod that names an image.
func places(spec *corev1.PodSpec) iter.Seq[place] {
	return func(yield func(place) bool) {
		for i := range spec.Containers {
			if !yield(place{Image{Containers, spec.Containers[i].Name, spec.Containers[i].Image}, i}) {
				return
			}
		}
		for i := range spec.InitContainers {
			if !yield(place{Image{InitContainers, spec.InitContainers[i].Name, spec.InitContainers[i].Image}, i}) {
				return
			}
		}
		for i := range spec.EphemeralContainers {
			if !yield(place{Image{EphemeralContainers, spec.EphemeralContainers[i].Name, spec.EphemeralContainers[i].Image}, i}) {
				return
			}
		}
		for i := range spec.Volumes {
			if v := spec.Volumes[i].Image; v != nil && !yield(place{Image{ImageVolumes, spec.Volumes[i].Name, v.Reference}, i}) {
				return
			}
		}
	}
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
