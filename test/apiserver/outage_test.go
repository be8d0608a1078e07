package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The tests of this file stop the webhook or the API server. They don't run in parallel, and so run before those that do.

// alone is open on the shared bed for a test that may stop the webhook; afterwards it serves again.
func alone(t *testing.T, ns string) *scene {
	t.Helper()
	s := open(t, sharedBed(t), ns)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.bed.LogTail())
		}
		if s.bed.Running() {
			return
		}
		if err := s.restart(); err != nil {
			t.Errorf("the webhook does not start again, so that what follows will fail: %v", err)
		}
	})
	return s
}

// restart starts the webhook after it was stopped.
func (s *scene) restart() error {
	if err := s.bed.Webhook.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), patience)
	defer cancel()
	return s.bed.WaitReady(ctx)
}

// wantNoAnswer checks that a Pod is not created because nobody can say whether it may be.
func (s *scene) wantNoAnswer(name, image string) {
	s.t.Helper()
	_, err := s.create(pod(name, image))
	status, ok := err.(apierrors.APIStatus)
	if !ok || status.Status().Code != http.StatusInternalServerError || !strings.Contains(err.Error(), `failed calling webhook "images.pratique.dev"`) {
		s.t.Errorf("with the webhook away, creating Pod %s: %v", name, err)
	}
	s.wantNoPod(name)
}

func TestRow104_WithoutTheWebhookNothingIsAdmitted(t *testing.T) {
	s := alone(t, "row104")
	s.policy(signedBy)
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/api").String()
	s.admits(pod("before", good))
	for _, c := range []struct {
		name string
		end  func() error
	}{{"stopped", s.bed.Webhook.Stop}, {"killed", s.bed.Webhook.Kill}} {
		s.want("ending it", c.end())
		s.wantNoAnswer(c.name+"-signed", good)
		s.wantNoAnswer(c.name+"-unsigned", bad)
		s.want("starting it again", s.restart())
		s.admits(pod(c.name+"-again", good))
		s.refuses(pod(c.name+"-bad", bad), "NoTrustedSignature")
	}

	s.want("freezing it", s.bed.Freeze())
	p := pod("frozen", good)
	err := s.kube.CoreV1().RESTClient().Post().Namespace(s.ns).Resource("pods").Timeout(2 * time.Second).Body(p).Do(s.ctx).Error()
	s.want("thawing it", s.bed.Thaw())
	if err == nil {
		t.Error("a Pod was admitted while the webhook answered nothing")
	}
	s.wantNoPod("frozen")
	s.admits(pod("thawed", good))
}

func TestWithTheWebhookStopped(t *testing.T) {
	s := alone(t, "stopped")
	s.policy(signedBy)
	good, next := s.signed("shop/api").String(), s.signed("shop/api").String()
	s.deployment("web", good)
	s.scaleDeployment("web", 3)
	s.replicaSet("old", good)
	s.scaleReplicaSet("old", 2)
	s.pods("web", 3)
	s.pods("old", 2)
	held := pod("held", good)
	held.Finalizers = []string{"tests.example/hold"}
	s.admits(held)
	s.admits(pod("plain", good))
	s.want("deleting the held Pod", s.kube.CoreV1().Pods(s.ns).Delete(s.ctx, "held", metav1.DeleteOptions{}))

	s.want("stopping the webhook", s.bed.Webhook.Stop())
	s.wantNoAnswer("new", good)
	for _, c := range []struct{ patch, subresource string }{
		{fmt.Sprintf(`{"spec":{"ephemeralContainers":[{"name":"debug","image":%q}]}}`, good), "ephemeralcontainers"},
		{fmt.Sprintf(`{"spec":{"containers":[{"name":"c0","image":%q}]}}`, next), ""},
	} {
		if err := s.patch("plain", c.patch, c.subresource); err == nil || !strings.Contains(err.Error(), `failed calling webhook "images.pratique.dev"`) {
			t.Errorf("%s: %v", c.patch, err)
		}
	}
	s.want("a label", s.patch("plain", `{"metadata":{"labels":{"a":"b"}}}`))
	s.want("a status", s.patch("plain", `{"status":{"phase":"Running"}}`, "status"))
	s.want("a finalizer's removal", s.patch("held", `{"metadata":{"finalizers":null}}`))
	s.gone("held")
	s.scaleDeployment("web", 1)
	s.pods("web", 1)
	s.scaleReplicaSet("old", 0)
	s.pods("old", 0)
	s.want("deleting a Pod", s.kube.CoreV1().Pods(s.ns).Delete(s.ctx, "plain", metav1.DeleteOptions{}))
	s.gone("plain")
	if _, err := s.in(t, "kube-system").create(pod("stopped", good)); err != nil {
		t.Errorf("kube-system, which is exempt so that a cluster can come up again: %v", err)
	}
	if said, err := s.kubectl("", "-n", s.ns, "label", "imagepolicy", "signed", "a=b"); err != nil {
		t.Errorf("a label on a policy: %v\n%s", err, said)
	}
	if _, err := s.tryPolicy(signedBy, with{"mode": "Audit"}); err == nil || !strings.Contains(err.Error(), `failed calling webhook "policies.pratique.dev"`) {
		t.Errorf("a policy was edited unseen: %v", err)
	}
	s.scaleReplicaSet("old", 1)
	s.cannotCreate("old", `failed calling webhook "images.pratique.dev"`)
	s.pods("old", 0)

	s.want("starting the webhook again", s.restart())
	s.admits(pod("new", good))
	s.refuses(pod("bad", s.unsigned("shop/api").String()), "NoTrustedSignature")
	s.within(2*patience, "the ReplicaSet to create its Pod after all", func() error {
		list, err := s.kube.CoreV1().Pods(s.ns).List(s.ctx, metav1.ListOptions{LabelSelector: "app=old"})
		if err == nil && len(list.Items) != 1 {
			err = fmt.Errorf("it has %d Pods", len(list.Items))
		}
		return err
	})
}

// TestRowR10_TheAPIServerRestarts ends the API server under the webhook: what was in force stays so, and what is changed right
// after is seen.
func TestRowR10_TheAPIServerRestarts(t *testing.T) {
	s := alone(t, "r10")
	s.policy(signedBy)
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/api").String()
	s.admits(pod("before", good))
	s.refuses(pod("before-bad", bad), "NoTrustedSignature")
	for round := range 2 {
		s.want("stopping the API server", s.bed.Cluster.StopAPIServer())
		judged := func(image string) bool {
			answer := ask(t, s.bed.Webhook, review(s.ns, pod("alone", image)))
			return answer.Allowed
		}
		if !judged(good) || judged(bad) {
			t.Errorf("round %d: without the API server the last policies are not in force", round)
		}
		s.want("starting the API server", s.bed.Cluster.StartAPIServer(s.ctx))
		s.eventually("the API server to serve", func() error {
			_, err := s.kube.CoreV1().Pods(s.ns).Get(s.ctx, "before", metav1.GetOptions{})
			return err
		})
		s.refuses(pod("after-bad", bad), "NoTrustedSignature")
		s.policy(signedBy, with{"mode": "Audit"}) // waits until the webhook has read it
		s.admits(pod(fmt.Sprintf("audited%d", round), bad))
		s.policy(signedBy)
		s.refuses(pod("enforced-again", bad), "NoTrustedSignature")
	}
	if !s.bed.Running() {
		t.Error("the webhook has ended")
	}
}
