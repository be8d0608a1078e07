package apiserver

import (
	"fmt"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func debugger(name, image string) corev1.EphemeralContainer {
	return corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: image}}
}

func imageVolume(name, reference string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: reference}}}
}

func TestRow01_AnUnsignedEphemeralContainerIsRefused(t *testing.T) {
	s := parallelScene(t, "row01")
	s.policy(signedBy)
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/tool").String()
	running := s.admits(pod("api", good))
	pods := s.kube.CoreV1().Pods(s.ns)
	put := func(image string) error {
		p := s.get("api")
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, debugger(fmt.Sprintf("debug%d", len(p.Spec.EphemeralContainers)), image))
		_, err := pods.UpdateEphemeralContainers(s.ctx, p.Name, p, metav1.UpdateOptions{})
		return err
	}
	s.wantRefused(put(bad), "ephemeralContainer debug0: "+bad, "NoTrustedSignature")
	patch := []byte(`{"spec":{"ephemeralContainers":[{"name":"debug","image":"` + bad + `"}]}}`)
	_, err := pods.Patch(s.ctx, running.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "ephemeralcontainers")
	s.wantRefused(err, "ephemeralContainer debug: "+bad)
	if said, err := s.kubectl("", "-n", s.ns, "debug", "api", "--attach=false", "--image="+bad); err == nil {
		t.Errorf("kubectl debug with an unsigned image worked: %s", said)
	}
	if n := len(s.get("api").Spec.EphemeralContainers); n != 0 {
		t.Fatalf("%d ephemeral containers are there after nothing but refusals", n)
	}

	s.want("a signed one", put(good))
	s.wantRefused(put(bad), "1 of 1 image refused", "ephemeralContainer debug1: "+bad) // the one that is there isn't asked about again
	if said, err := s.kubectl("", "-n", s.ns, "debug", "api", "--attach=false", "--image="+good); err != nil {
		t.Errorf("kubectl debug with a signed image: %v\n%s", err, said)
	}
	if n := len(s.get("api").Spec.EphemeralContainers); n != 2 {
		t.Errorf("%d ephemeral containers, want the 2 signed ones", n)
	}
}

func TestRow02_AnUnsignedImageVolumeIsRefused(t *testing.T) {
	s := parallelScene(t, "row02")
	s.policy(signedBy)
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/model").String()
	reader := func(name, container, volume string) *corev1.Pod {
		p := pod(name, container)
		p.Spec.Volumes = []corev1.Volume{imageVolume("data", volume)}
		return p
	}
	s.refuses(reader("unsigned-volume", good, bad), "1 of 2 images refused", "volume data: "+bad, "NoTrustedSignature")
	s.refuses(reader("unsigned-container", bad, good), "1 of 2 images refused", "container c0: "+bad)
	s.admits(reader("both-signed", good, good))
	if _, err := s.create(reader("none", good, "")); err == nil {
		t.Error("an image volume without a reference, which nobody can judge, was admitted")
	}
}

func TestRow03_EveryListOfAPodIsJudged(t *testing.T) {
	s := parallelScene(t, "row03")
	s.policy(signedBy)
	good, bad := s.signed("shop/api"), s.unsigned("shop/tool")
	always := corev1.ContainerRestartPolicyAlways
	for _, list := range []struct {
		name string
		put  func(p *corev1.Pod, image string)
		says string
	}{
		{"containers", func(p *corev1.Pod, image string) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "x", Image: image})
		}, "container x: "},
		{"init-containers", func(p *corev1.Pod, image string) {
			p.Spec.InitContainers = []corev1.Container{{Name: "x", Image: image}}
		}, "initContainer x: "},
		{"sidecars", func(p *corev1.Pod, image string) {
			p.Spec.InitContainers = []corev1.Container{{Name: "x", Image: image, RestartPolicy: &always}}
		}, "initContainer x: "},
		{"image-volumes", func(p *corev1.Pod, image string) { p.Spec.Volumes = []corev1.Volume{imageVolume("x", image)} }, "volume x: "},
	} {
		t.Run(list.name, func(t *testing.T) {
			s := s.in(t, s.ns)
			with := func(name string, image name.Digest) *corev1.Pod {
				p := pod(list.name+"-"+name, good.String())
				list.put(p, image.String())
				return p
			}
			s.refuses(with("unsigned", bad), list.says+bad.String(), "NoTrustedSignature")
			s.admits(with("signed", good))
		})
	}
}

func TestRow04_AnUpdateToAnUnsignedImageIsRefused(t *testing.T) {
	s := parallelScene(t, "row04")
	s.policy(signedBy)
	good, next, bad := s.signed("shop/api").String(), s.signed("shop/api").String(), s.unsigned("shop/api").String()
	p := pod("api", good)
	p.Spec.InitContainers = []corev1.Container{{Name: "migrate", Image: good}}
	s.admits(p)
	patch := func(list, container, image string) error {
		text := fmt.Sprintf(`{"spec":{%q:[{"name":%q,"image":%q}]}}`, list, container, image)
		_, err := s.kube.CoreV1().Pods(s.ns).Patch(s.ctx, "api", types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{})
		return err
	}
	s.wantRefused(patch("containers", "c0", bad), "container c0: "+bad, "NoTrustedSignature")
	s.wantRefused(patch("initContainers", "migrate", bad), "initContainer migrate: "+bad, "NoTrustedSignature")
	whole := s.get("api")
	whole.Spec.Containers[0].Image = bad
	_, err := s.kube.CoreV1().Pods(s.ns).Update(s.ctx, whole, metav1.UpdateOptions{})
	s.wantRefused(err, "container c0: "+bad)
	if got := s.get("api"); got.Spec.Containers[0].Image != good || got.Spec.InitContainers[0].Image != good {
		t.Fatalf("after nothing but refusals the Pod has %s and %s", got.Spec.Containers[0].Image, got.Spec.InitContainers[0].Image)
	}

	s.want("a signed container image", patch("containers", "c0", next))
	s.want("a signed init container image", patch("initContainers", "migrate", next))
	if got := s.get("api"); got.Spec.Containers[0].Image != next || got.Spec.InitContainers[0].Image != next {
		t.Errorf("the Pod has %s and %s", got.Spec.Containers[0].Image, got.Spec.InitContainers[0].Image)
	}
}
