package admission_test

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/pratique-dev/pratique/pkg/admission"
)

// imageFields are the fields of a PodSpec that name an image to run or mount, as paths through the types.
var imageFields = map[string]string{
	"PodSpec.Containers.Image":                                   "read",
	"PodSpec.InitContainers.Image":                               "read",
	"PodSpec.EphemeralContainers.EphemeralContainerCommon.Image": "read",
	"PodSpec.Volumes.VolumeSource.Image":                         "read",
	"PodSpec.Volumes.VolumeSource.Image.Reference":               "read",
	// These name block devices of Ceph, and no container image:
	"PodSpec.Volumes.VolumeSource.RBD.RBDImage": "a block device",
}

// TestRow02_NoFieldOfAPodThatNamesAnImageIsForgotten walks corev1.PodSpec and fails when Kubernetes adds a field that may name an image:
// read it in Images, or say here why it isn't one.
func TestRow02_NoFieldOfAPodThatNamesAnImageIsForgotten(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	walk(reflect.TypeOf(corev1.PodSpec{}), "PodSpec", map[reflect.Type]bool{}, found)
	for path := range found {
		if imageFields[path] == "" {
			t.Errorf("%s may name an image, and nobody reads it", path)
		}
	}
	for path := range imageFields {
		if !found[path] {
			t.Errorf("%s is no longer there", path)
		}
	}
}

func walk(typ reflect.Type, path string, above map[reflect.Type]bool, found map[string]bool) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || above[typ] || !strings.HasPrefix(typ.PkgPath(), "k8s.io/api/") {
		return
	}
	above[typ] = true
	defer delete(above, typ)
	for i := range typ.NumField() {
		f := typ.Field(i)
		at := path + "." + f.Name
		name := strings.ToLower(f.Name)
		if strings.Contains(name, "image") && name != "imagepullpolicy" && name != "imagepullsecrets" || f.Name == "Reference" {
			found[at] = true
		}
		walk(f.Type, at, above, found)
	}
}

func TestRow03_EveryListOfAPodIsRead(t *testing.T) {
	t.Parallel()
	always := corev1.ContainerRestartPolicyAlways
	spec := &corev1.PodSpec{
		Containers:     []corev1.Container{{Name: "a", Image: "1"}},
		InitContainers: []corev1.Container{{Name: "b", Image: "2"}, {Name: "sidecar", Image: "3", RestartPolicy: &always}},
		EphemeralContainers: []corev1.EphemeralContainer{{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "c", Image: "4"},
		}},
		Volumes: []corev1.Volume{
			{Name: "d", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "5"}}},
			{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		},
	}
	want := []admission.Image{
		{List: admission.Containers, Name: "a", Reference: "1"},
		{List: admission.InitContainers, Name: "b", Reference: "2"},
		{List: admission.InitContainers, Name: "sidecar", Reference: "3"},
		{List: admission.EphemeralContainers, Name: "c", Reference: "4"},
		{List: admission.ImageVolumes, Name: "d", Reference: "5"},
	}
	if got := admission.Images(spec); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}
