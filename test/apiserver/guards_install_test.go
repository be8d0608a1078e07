package apiserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/deploy/helm"
	"github.com/pratique-dev/pratique/test/bed"
	"github.com/pratique-dev/pratique/test/cluster"
	"github.com/pratique-dev/pratique/test/cluster/clustertest"
)

// byItself is a scene on a cluster of its own, where no webhook and no registry runs.
func byItself(t *testing.T, o cluster.Options, ns string) *scene {
	t.Helper()
	t.Parallel()
	needsAPIServer(t)
	s := &scene{t: t, ctx: t.Context(), bed: &bed.Bed{Cluster: clustertest.ForTest(t, o)}, ns: ns}
	s.kube, s.objects = clients(t, s.bed.Cluster.RESTConfig())
	s.namespace(ns, nil)
	return s
}

// tierPolicy selects namespaces by a label, and refuses everything.
const tierPolicy = `
apiVersion: pratique.dev/v1alpha1
kind: ClusterImagePolicy
metadata: {name: tier}
spec:
  namespaceSelector: {matchExpressions: [{key: tier, operator: In, values: [gold]}]}
  images: {include: ["nowhere.example/**"]}
  deny: {reason: closed}
`

// TestRow16_TheGuardsNeedNoWebhook installs the chart where no webhook ever ran, and sees what becomes of the guards when the API
// server restarts, when their CRD goes and comes, and when the chart is uninstalled.
func TestRow16_TheGuardsNeedNoWebhook(t *testing.T) {
	s := byItself(t, cluster.Options{ControllerManager: true}, "guards-alone")
	p, kubeconfig := findHelm(t), s.bed.Cluster.Kubeconfig()
	chart := []string{"--namespace", helm.Namespace, "--set", "webhook.url=https://127.0.0.1:1"}
	_, err := p.run(s.ctx, kubeconfig, append([]string{"install", "pratique", chartDir, "--create-namespace"}, chart...)...)
	s.want("helm install", err)
	s.guarded()
	// Without these nobody is asked about policies, so that the test can write some.
	for _, resource := range []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"} {
		s.want("deleting our "+resource, s.objects.Resource(admissionKind(resource)).DeleteCollection(s.ctx, metav1.DeleteOptions{}, ours()))
	}
	s.may("labeller", rule("", "namespaces", "patch"))
	somebody := s.as("labeller")
	var value atomic.Int64
	label := func() error { return somebody.label(s.ns, map[string]any{"tier": fmt.Sprint(value.Add(1))}) }
	held := func() error { return guardedBy(labelsGuard, label()) }
	policy := func() {
		t.Helper()
		u := s.object(tierPolicy)
		s.eventually("a policy to be written", func() error {
			_, err := s.policies(u).Create(s.ctx, u, metav1.CreateOptions{})
			return err
		})
	}

	s.eventually("no label to be held before there is a policy", label)
	policy()
	s.eventually("its label to be held", held)

	// From here on no attempt may pass, whatever the API server is about: it would rather refuse everybody.
	passed := make(chan int, 1)
	trying, stop := context.WithCancel(s.ctx)
	defer stop()
	go func() {
		n := 0
		for ; trying.Err() == nil; time.Sleep(time.Millisecond) {
			if label() == nil {
				n++
			}
		}
		passed <- n
	}()
	s.want("restarting the API server", s.bed.Cluster.RestartAPIServer(s.ctx))
	s.eventually("the label to be held again", held)
	stop()
	if n := <-passed; n > 0 {
		t.Errorf("while the API server restarted, %d labels were changed", n)
	}

	s.want("deleting the CRD", s.objects.Resource(crdKind()).Delete(s.ctx, "clusterimagepolicies.pratique.dev", metav1.DeleteOptions{}))
	s.eventually("the label to be free with the policies gone", label)
	said, err := p.run(s.ctx, "", append([]string{"template", "pratique", chartDir, "--show-only", "templates/crds.yaml"}, chart...)...)
	s.want("helm template", err)
	s.want("the CRD once more", s.bed.Apply(s.ctx, said))
	policy()
	s.eventually("the label to be held after that", held)

	_, err = p.run(s.ctx, kubeconfig, "uninstall", "pratique", "--namespace", helm.Namespace)
	s.want("helm uninstall", err)
	s.wantNoGuards()
	s.eventually("the label to be free, though the policy is still there", label)
	s.withoutTheCRD(p, chart)
}

// wantNoGuards checks that no guard is left.
func (s *scene) wantNoGuards() {
	s.t.Helper()
	for _, resource := range []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"} {
		list, err := s.objects.Resource(admissionKind(resource)).List(s.ctx, metav1.ListOptions{})
		s.want("listing "+resource, err)
		for _, left := range list.Items {
			s.t.Errorf("%s %s is left", left.GetKind(), left.GetName())
		}
	}
}

// withoutTheCRD puts the guards in force where their CRD isn't: labels of namespaces can't be changed, by anybody, until it is. All else
// goes on: the making of namespaces, and their end.
func (s *scene) withoutTheCRD(p program, chart []string) {
	s.t.Helper()
	const unknown = "paramKind" // it is not found, or can't be listed where the API server still remembers it
	s.want("deleting the CRDs", s.objects.Resource(crdKind()).DeleteCollection(s.ctx, metav1.DeleteOptions{}, ours()))
	s.eventually("the CRDs to be gone", func() error {
		list, err := s.objects.Resource(crdKind()).List(s.ctx, ours())
		if err == nil && len(list.Items) > 0 {
			err = fmt.Errorf("%d are left", len(list.Items))
		}
		return err
	})
	guards, err := p.run(s.ctx, "", append([]string{"template", "pratique", chartDir, "--show-only", "templates/guards.yaml"}, chart...)...)
	s.want("helm template", err)
	s.namespace("guards-ending", nil)
	s.want("applying the guards alone", s.bed.Apply(s.ctx, guards))
	refused := func(err error) error {
		if err == nil {
			return errors.New("it was let pass")
		}
		if !strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+labelsGuard+"'") || !strings.Contains(err.Error(), unknown) {
			return err
		}
		return nil
	}
	s.eventually("every change of a namespace to be refused", func() error { return refused(s.label(s.ns, map[string]any{"tier": "any"})) })
	s.want("a new namespace", s.namespaceLabelled("guards-new", nil))
	s.admits(pod("runs", "registry.example.com/app@sha256:"+strings.Repeat("0", 64)))
	_, err = s.kube.CoreV1().Nodes().Create(s.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "guards"}}, metav1.CreateOptions{})
	s.want("a node", err)
	_, err = s.kube.CoordinationV1().Leases("kube-node-lease").Create(s.ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "guards"}}, metav1.CreateOptions{})
	s.want("its lease", err)
	s.want("deleting a namespace", s.kube.CoreV1().Namespaces().Delete(s.ctx, "guards-ending", metav1.DeleteOptions{}))
	s.eventually("the namespace to be gone", func() error {
		return wantGone(s.kube.CoreV1().Namespaces().Get(s.ctx, "guards-ending", metav1.GetOptions{}))
	})

	crd, err := p.run(s.ctx, "", append([]string{"template", "pratique", chartDir, "--show-only", "templates/crds.yaml"}, chart...)...)
	s.want("helm template", err)
	s.want("applying the CRDs", s.bed.Apply(s.ctx, crd))
	s.within(2*patience, "the guard to find them", func() error { return s.label(s.ns, map[string]any{"tier": "any"}) })
}
