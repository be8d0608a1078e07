package apiserver

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod is a Pod with a container for each image: c0, c1 and so on.
func pod(name string, images ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for i, image := range images {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: image})
	}
	return p
}

func (s *scene) create(p *corev1.Pod) (*corev1.Pod, error) {
	return s.kube.CoreV1().Pods(s.ns).Create(s.ctx, p, metav1.CreateOptions{})
}

// admits creates a Pod that must be admitted.
func (s *scene) admits(p *corev1.Pod) *corev1.Pod {
	s.t.Helper()
	stored, err := s.create(p)
	s.want("creating Pod "+p.Name+p.GenerateName, err)
	return stored
}

// refuses tries to create a Pod that must be refused in these words, and must not be there afterwards.
func (s *scene) refuses(p *corev1.Pod, says ...string) {
	s.t.Helper()
	_, err := s.create(p)
	s.wantRefused(err, says...)
	s.wantNoPod(p.Name)
}

// wantNoPod checks that there is no Pod of that name, or if that is empty, none at all.
func (s *scene) wantNoPod(name string) {
	s.t.Helper()
	list, err := s.kube.CoreV1().Pods(s.ns).List(s.ctx, metav1.ListOptions{})
	s.want("listing Pods", err)
	if slices.ContainsFunc(list.Items, func(p corev1.Pod) bool { return name == "" || p.Name == name }) {
		s.t.Fatalf("Pod %q is there", name)
	}
}

func (s *scene) get(name string) *corev1.Pod {
	s.t.Helper()
	p, err := s.kube.CoreV1().Pods(s.ns).Get(s.ctx, name, metav1.GetOptions{})
	s.want("getting Pod "+name, err)
	return p
}

// patch is a strategic merge patch of a Pod, or of a subresource of it.
func (s *scene) patch(name, text string, subresources ...string) error {
	_, err := s.kube.CoreV1().Pods(s.ns).Patch(s.ctx, name, types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{}, subresources...)
	return err
}

func (s *scene) gone(name string) {
	s.t.Helper()
	s.eventually("Pod "+name+" to be gone", func() error {
		_, err := s.kube.CoreV1().Pods(s.ns).Get(s.ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there: %w", err)
	})
}
