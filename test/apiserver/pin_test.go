package apiserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// pins is the policy of the tests of pinning.
var pins = with{"tags": "Pin"}

// wantPinned checks that every image of a stored Pod is one tag with its digest.
func (s *scene) wantPinned(p *corev1.Pod, to string) {
	s.t.Helper()
	for _, i := range admission.Images(&p.Spec) {
		if i.Reference != to {
			s.t.Errorf("%s of Pod %s is %s, want %s", i, p.Name, i.Reference, to)
		}
	}
}

func TestEveryTagOfAPodIsPinnedWhenItIsStored(t *testing.T) {
	s := parallelScene(t, "pin")
	s.policy(signedBy, pins)
	good := s.signed("shop/api:v1")
	tag := good.Context().Tag("v1").String()
	want := tag + "@" + good.DigestStr()
	p := pod("api", tag, tag)
	p.Spec.InitContainers = []corev1.Container{{Name: "init", Image: tag}}
	p.Spec.Volumes = []corev1.Volume{imageVolume("data", tag)}
	s.wantPinned(s.admits(p), want)
	if got := s.warnings.take(); len(got) != 0 {
		t.Errorf("warnings %q", got)
	}

	// An ephemeral container; what the Pod has already stays as it is.
	if said, err := s.kubectl("", "-n", s.ns, "debug", "api", "--attach=false", "--image="+tag); err != nil {
		t.Fatalf("kubectl debug with a tag: %v\n%s", err, said)
	}
	s.wantPinned(s.get("api"), want)

	// kubectl apply of the same file again changes nothing, and of another tag pins that.
	file := func(image string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: file, namespace: %s}\nspec: {containers: [{name: c0, image: %q}]}\n", s.ns, image)
	}
	for range 2 {
		if said, err := s.kubectl(file(tag), "apply", "-f", "-"); err != nil {
			t.Fatalf("kubectl apply: %v\n%s", err, said)
		}
		s.wantPinned(s.get("file"), want)
	}
	s.move("v2", good)
	if said, err := s.kubectl(file(good.Context().Tag("v2").String()), "apply", "-f", "-"); err != nil {
		t.Fatalf("kubectl apply: %v\n%s", err, said)
	}
	s.wantPinned(s.get("file"), good.Context().Tag("v2").String()+"@"+good.DigestStr())
}

func TestRow27_APinnedPodRunsWhatWasCheckedWhereverItsTagMoves(t *testing.T) {
	s := parallelScene(t, "pin27")
	s.policy(signedBy, pins)
	good := s.signed("shop/api:v1")
	tag := good.Context().Tag("v1").String()
	s.admits(pod("before", tag))
	bad := s.unsigned("shop/api:v1") // the tag moves
	time.Sleep(tagHold)
	s.refuses(pod("after", tag), tag+"@"+bad.DigestStr(), "NoTrustedSignature")
	s.wantPinned(s.get("before"), tag+"@"+good.DigestStr())
	s.refuses(pod("gone", good.Context().Tag("v9").String()), "ImageNotFound", "could not resolve the tag")
}

func TestRow26_WhatAnotherWebhookPutsInIsPinnedAndJudged(t *testing.T) {
	s := parallelScene(t, "pin26")
	s.policy(signedBy, pins)
	good, side := s.signed("shop/api"), s.signed("shop/sidecar:v1")
	tag := side.Context().Tag("v1").String()
	// "pin-..." objects come in the order of their names: this one is asked after ours, which is then asked again.
	s.swap(tag)
	s.wantPinned(s.admits(pod("api", good.String())), tag+"@"+side.DigestStr())
}

func TestPinningCostsTheRegistryNoMoreThanJudging(t *testing.T) {
	s := parallelScene(t, "pin-cost")
	s.policy(signedBy, pins)
	good := s.signed("shop/api:v1")
	before := s.reg.Count(evilregistry.Manifest)
	s.admits(pod("api", good.Context().Tag("v1").String()))
	byTag := 0
	for _, r := range s.reg.Requests() {
		if r.Ref == "v1" {
			byTag++
		}
	}
	if byTag != 1 {
		t.Errorf("the tag was asked for %d times (of %d manifests), want once", byTag, s.reg.Count(evilregistry.Manifest)-before)
	}
}

func TestAPolicyThatRefusesTagsIsNotAskedToLikeThemPinned(t *testing.T) {
	s := parallelScene(t, "pin-deny")
	s.policy(signedBy, pins)
	s.policy(signedBy, with{"tags": "Deny", "name": "strict"})
	good := s.signed("shop/api:v1")
	s.refuses(pod("api", good.Context().Tag("v1").String()), "TagNotAllowed", "strict")
}

func TestADryRunIsPinnedToo(t *testing.T) {
	s := parallelScene(t, "pin-dry")
	s.policy(signedBy, pins)
	good := s.signed("shop/api:v1")
	tag := good.Context().Tag("v1").String()
	got, err := s.kube.CoreV1().Pods(s.ns).Create(s.ctx, pod("api", tag), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	s.want("a dry run", err)
	s.wantPinned(got, tag+"@"+good.DigestStr())
}

func TestATemplateIsNeverRewritten(t *testing.T) {
	s := parallelScene(t, "pin-template")
	s.policy(signedBy, pins)
	good := s.signed("shop/api:v1")
	tag := good.Context().Tag("v1").String()
	s.deployment("api", tag)
	s.scaleDeployment("api", 2)
	s.pods("api", 2)
	list, err := s.kube.CoreV1().Pods(s.ns).List(s.ctx, metav1.ListOptions{LabelSelector: "app=api"})
	s.want("listing Pods", err)
	for i := range list.Items {
		s.wantPinned(&list.Items[i], tag+"@"+good.DigestStr())
	}
	d, err := s.kube.AppsV1().Deployments(s.ns).Get(s.ctx, "api", metav1.GetOptions{})
	s.want("getting the Deployment", err)
	if got := d.Spec.Template.Spec.Containers[0].Image; got != tag || d.Generation != 2 { // as created, and scaled
		t.Errorf("the template has %s, in generation %d", got, d.Generation)
	}
}

func TestWithThePinWebhookAwayATagIsRefusedWhereItShouldBePinned(t *testing.T) {
	s := alone(t, "pin-away")
	s.policy(signedBy, pins)
	good := s.signed("shop/api:v1")
	if err := s.bed.Freeze(); err != nil {
		t.Fatal(err)
	}
	_, err := s.create(pod("frozen", good.Context().Tag("v1").String()))
	if thaw := s.bed.Thaw(); thaw != nil {
		t.Fatal(thaw)
	}
	if err == nil || !strings.Contains(err.Error(), "images.pratique.dev") {
		t.Errorf("with the webhook hanging: %v", err)
	}
	s.wantNoPod("frozen")
	s.eventually("Pods to be pinned again", func() error {
		_, err := s.create(pod("thawed", good.Context().Tag("v1").String()))
		return err
	})
	s.wantPinned(s.get("thawed"), good.Context().Tag("v1").String()+"@"+good.DigestStr())
}
