package apiserver

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func podTemplate(name, image string) (*metav1.LabelSelector, corev1.PodTemplateSpec) {
	labels := map[string]string{"app": name}
	return &metav1.LabelSelector{MatchLabels: labels}, corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod(name, image).Spec}
}

// replicaSet makes a ReplicaSet without Pods.
func (s *scene) replicaSet(name, image string) {
	s.t.Helper()
	selector, pods := podTemplate(name, image)
	_, err := s.kube.AppsV1().ReplicaSets(s.ns).Create(s.ctx, &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       appsv1.ReplicaSetSpec{Replicas: new(int32), Selector: selector, Template: pods},
	}, metav1.CreateOptions{})
	s.want("creating ReplicaSet "+name, err)
}

// deployment makes a Deployment without Pods.
func (s *scene) deployment(name, image string) {
	s.t.Helper()
	selector, pods := podTemplate(name, image)
	_, err := s.kube.AppsV1().Deployments(s.ns).Create(s.ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       appsv1.DeploymentSpec{Replicas: new(int32), Selector: selector, Template: pods},
	}, metav1.CreateOptions{})
	s.want("creating Deployment "+name, err)
}

func scaleTo(name, ns string, n int32) *autoscalingv1.Scale {
	return &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}, Spec: autoscalingv1.ScaleSpec{Replicas: n}}
}

func (s *scene) scaleReplicaSet(name string, n int32) {
	s.t.Helper()
	_, err := s.kube.AppsV1().ReplicaSets(s.ns).UpdateScale(s.ctx, name, scaleTo(name, s.ns, n), metav1.UpdateOptions{})
	s.want(fmt.Sprintf("scaling ReplicaSet %s to %d", name, n), err)
}

func (s *scene) scaleDeployment(name string, n int32) {
	s.t.Helper()
	_, err := s.kube.AppsV1().Deployments(s.ns).UpdateScale(s.ctx, name, scaleTo(name, s.ns, n), metav1.UpdateOptions{})
	s.want(fmt.Sprintf("scaling Deployment %s to %d", name, n), err)
}

// pods waits until so many Pods of an app are there.
func (s *scene) pods(app string, n int) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d Pods of %s", n, app), func() error {
		list, err := s.kube.CoreV1().Pods(s.ns).List(s.ctx, metav1.ListOptions{LabelSelector: "app=" + app})
		if err == nil && len(list.Items) != n {
			err = fmt.Errorf("there are %d", len(list.Items))
		}
		return err
	})
}

// cannotCreate waits until a ReplicaSet says that it can't create its Pods, and why.
func (s *scene) cannotCreate(name string, says ...string) {
	s.t.Helper()
	s.eventually("ReplicaSet "+name+" to say that its Pods are refused", func() error {
		rs, err := s.kube.AppsV1().ReplicaSets(s.ns).Get(s.ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range rs.Status.Conditions {
			if c.Type != appsv1.ReplicaSetReplicaFailure || c.Status != corev1.ConditionTrue || c.Reason != "FailedCreate" {
				continue
			}
			for _, want := range says {
				if !strings.Contains(c.Message, want) {
					return fmt.Errorf("its condition does not say %q: %s", want, c.Message)
				}
			}
			return nil
		}
		return fmt.Errorf("its status is %+v", rs.Status)
	})
}

func TestRow06_ScalingUpRunsNothingUnsigned(t *testing.T) {
	s := parallelScene(t, "row06")
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/old").String()
	s.replicaSet("old", bad) // before there was a policy
	s.deployment("new", good)
	s.policy(signedBy)

	s.scaleReplicaSet("old", 3)
	s.scaleDeployment("new", 3)
	s.cannotCreate("old", "images.pratique.dev", "NoTrustedSignature", bad)
	s.pods("new", 3)
	s.pods("old", 0)
	s.eventually("an Event of the refusal", func() error {
		events, err := s.kube.CoreV1().Events(s.ns).List(s.ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=old,reason=FailedCreate"})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if strings.Contains(e.Message, "NoTrustedSignature") {
				return nil
			}
		}
		return fmt.Errorf("%d Events, none of which says NoTrustedSignature", len(events.Items))
	})
	s.scaleReplicaSet("old", 0)
	s.scaleDeployment("new", 1)
	s.pods("new", 1)
}
