package apiserver

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRow05_AResizeAsksNobody(t *testing.T) {
	s := parallelScene(t, "row05")
	s.policy(signedBy)
	p := pod("api", s.signed("shop/api").String())
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
	s.admits(p)
	judged := len(s.decisions())
	s.reg.Close()
	s.want("a resize with the registry gone", s.patch("api", `{"spec":{"containers":[{"name":"c0","resources":{"requests":{"cpu":"200m"}}}]}}`, "resize"))
	if got := s.get("api").Spec.Containers[0].Resources.Requests.Cpu().String(); got != "200m" {
		t.Errorf("the Pod asks for %s of a CPU, want 200m", got)
	}
	if n := len(s.decisions()) - judged; n != 0 {
		t.Errorf("the webhook was asked %d times", n)
	}
	// The subresource can't carry an image, whatever it is sent.
	bad := s.reg.Repo("shop/api").Tag("unsigned").String()
	err := s.patch("api", fmt.Sprintf(`{"spec":{"containers":[{"name":"c0","image":%q}]}}`, bad), "resize")
	if got := s.get("api").Spec.Containers[0].Image; got == bad {
		t.Errorf("an image was changed through resize (%v)", err)
	}
}

func TestRow09_ADeletionExcusesNoImage(t *testing.T) {
	s := parallelScene(t, "row09")
	s.policy(signedBy)
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/api").String()
	p := pod("api", good)
	p.Finalizers = []string{"tests.example/hold"}
	s.admits(p)
	s.want("deleting it", s.kube.CoreV1().Pods(s.ns).Delete(s.ctx, "api", metav1.DeleteOptions{}))
	if s.get("api").DeletionTimestamp == nil {
		t.Fatal("the Pod is not being deleted")
	}
	s.wantRefused(s.patch("api", fmt.Sprintf(`{"spec":{"containers":[{"name":"c0","image":%q}]}}`, bad)), "container c0: "+bad, "NoTrustedSignature")
	ephemeral := fmt.Sprintf(`{"spec":{"ephemeralContainers":[{"name":"debug","image":%q}]}}`, bad)
	s.wantRefused(s.patch("api", ephemeral, "ephemeralcontainers"), "ephemeralContainer debug: "+bad)

	born := pod("born-deleted", bad)
	now := metav1.Now()
	born.DeletionTimestamp, born.DeletionGracePeriodSeconds = &now, new(int64)
	s.refuses(born, "container c0: "+bad)

	s.reg.Close()
	s.want("dropping the finalizer with the registry gone", s.patch("api", `{"metadata":{"finalizers":null}}`))
	s.gone("api")
}

func TestRow11_UpdatesOfOtherThingsAskNobody(t *testing.T) {
	s := parallelScene(t, "row11")
	s.policy(signedBy)
	first, second := s.signed("shop/api").String(), s.signed("shop/web").String()
	s.admits(pod("api", first, second))
	judged := len(s.decisions())
	s.reg.Close()
	for _, c := range []struct{ name, patch string }{
		{"a label", `{"metadata":{"labels":{"a":"b"}}}`},
		{"an annotation", `{"metadata":{"annotations":{"a":"b"}}}`},
		{"a finalizer added", `{"metadata":{"finalizers":["tests.example/hold"]}}`},
		{"a finalizer removed", `{"metadata":{"finalizers":null}}`},
		{"a toleration added", `{"spec":{"tolerations":[{"key":"a","operator":"Exists"}]}}`},
		{"a deadline", `{"spec":{"activeDeadlineSeconds":3600}}`},
		{"the image that it has", fmt.Sprintf(`{"spec":{"containers":[{"name":"c0","image":%q}]}}`, first)},
	} {
		if err := s.patch("api", c.patch); err != nil {
			t.Errorf("%s, with the registry gone: %v", c.name, err)
		}
	}
	s.want("a status, with the registry gone", s.patch("api", `{"status":{"phase":"Running","containerStatuses":[{"name":"c0","image":"unsigned","imageID":"","ready":true,"restartCount":0}]}}`, "status"))
	if n := len(s.decisions()) - judged; n != 0 {
		t.Fatalf("the webhook was asked %d times about updates that change no image", n)
	}
}

// The API server lets no image wander between a Pod's lists, nor a container be added; what can be done with a Pod that runs is
// covered here, and any edit at all by the property over pkg/admission and by the chart's tests of the matchCondition.
func TestRow11_AnImageThatIsNewToItsContainerIsJudged(t *testing.T) {
	s := parallelScene(t, "row11b")
	s.policy(signedBy)
	first, second := s.signed("shop/api"), s.signed("shop/web")
	bad := s.unsigned("shop/api")
	s.admits(pod("api", first.String(), second.String()))
	swap := fmt.Sprintf(`{"spec":{"containers":[{"name":"c0","image":%q},{"name":"c1","image":%q}]}}`, second, first)
	s.want("two signed images swapped", s.patch("api", swap))
	if d := s.lastDecision(); d.Operation != "UPDATE" || d.Decision != "allowed" || len(d.Images) != 2 {
		t.Errorf("swapped images were not judged: %+v", d)
	}
	// Beside a label, which alone would pass.
	s.wantRefused(s.patch("api", fmt.Sprintf(`{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c1","image":%q}]}}`, bad)),
		"1 of 1 image refused", "container c1: "+bad.String())
	// The same digest by a tag is another string, and so is looked at: nobody can hide an edit in a spelling.
	spelt := second.Context().Name() + ":any@" + second.DigestStr()
	s.want("the same digest under a tag", s.patch("api", fmt.Sprintf(`{"spec":{"containers":[{"name":"c0","image":%q}]}}`, spelt)))
	if d := s.lastDecision(); d.Operation != "UPDATE" || len(d.Images) != 1 || d.Images[0].Image != spelt {
		t.Errorf("another spelling was not judged: %+v", d)
	}
}
