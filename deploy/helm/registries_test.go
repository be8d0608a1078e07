package helm

import (
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/internal/registry"
)

// TestTheRegistriesFileSaysWhatTheValueSays: each field under its own name, nothing added and nothing lost.
func TestTheRegistriesFileSaysWhatTheValueSays(t *testing.T) {
	t.Parallel()
	objects := decode(t, template(t, everything(t)...))
	file := only[*corev1.ConfigMap](t, objects)
	if file.Name != "pratique-registries" || file.Namespace != Namespace || len(file.Data) != 1 || len(file.BinaryData) != 0 {
		t.Fatalf("%s/%s has %d files", file.Namespace, file.Name, len(file.Data))
	}
	var got any
	if err := yaml.UnmarshalStrict([]byte(file.Data["registries.yaml"]), &got); err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	want := object{"registries": []any{
		object{
			"prefix": "registry.example.com/team", "auth": object{"secretRef": object{"name": "regcred"}},
			"mirror": "10.0.0.5:5000/cache", "dialPrivate": true,
		},
		object{"prefix": "123456789012.dkr.ecr.eu-west-1.amazonaws.com", "auth": object{"ecr": object{}}},
		object{"prefix": "europe-docker.pkg.dev/project", "auth": object{"gar": object{}}},
		object{"prefix": "acmecorp.azurecr.io", "auth": object{"acr": object{}}, "tokenHosts": []any{"login.example.com"}},
		object{
			"prefix": "[fd00::5]:5000", "plainHTTP": false,
			"caBundle": someCertificate + "\n",
		},
	}}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Errorf("(-want +rendered):\n%s", diff)
	}
	if _, err := registry.ParseRegistries([]byte(file.Data["registries.yaml"])); err != nil {
		t.Errorf("the webhook doesn't take it: %v", err)
	}
}

// TestAChangeOfRegistriesReplacesNoPod: the file is read again where it is, so the Pods' template is the same, and it
// is mounted as a directory, since the kubelet never changes a file that is mounted alone.
func TestAChangeOfRegistriesReplacesNoPod(t *testing.T) {
	t.Parallel()
	deployment := func(yaml string) *appsv1.Deployment {
		return only[*appsv1.Deployment](t, decode(t, template(t, values(t, yaml)...)))
	}
	one := deployment("registries: [{prefix: a.example}]")
	other := deployment("registries: [{prefix: a.example, dialPrivate: true}, {prefix: b.example/c, auth: {gar: {}}}]")
	if diff := cmp.Diff(one, other); diff != "" {
		t.Errorf("(-one +other):\n%s", diff)
	}
	pod := one.Spec.Template.Spec
	volume, mount := pod.Volumes[1], pod.Containers[0].VolumeMounts[1]
	if volume.ConfigMap == nil || volume.ConfigMap.Name != "pratique-registries" || mount.Name != volume.Name || mount.SubPath != "" || !mount.ReadOnly {
		t.Errorf("%+v at %+v", volume, mount)
	}
	if flag := "--registries=" + path.Join(mount.MountPath, "registries.yaml"); !strings.Contains(strings.Join(pod.Containers[0].Args, " "), flag) {
		t.Errorf("no %s in %s", flag, pod.Containers[0].Args)
	}
	if none := deployment(""); len(none.Spec.Template.Spec.Volumes) != 1 {
		t.Errorf("without registries there are the volumes %+v", none.Spec.Template.Spec.Volumes)
	}
}
