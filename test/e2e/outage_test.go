package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// webhookPods selects the webhook's Pods.
const webhookPods = "app.kubernetes.io/component=webhook"

// noFinalizers is the patch that takes an object's finalizers away.
const noFinalizers = `[{"op": "remove", "path": "/metadata/finalizers"}]`

func (s *stage) allPodsDeleted(t *testing.T) {
	s.loop.enter("all webhook Pods deleted", shut)
	s.kubectl(t, "-n", system, "delete", "pods", "-l", webhookPods, "--grace-period=0", "--force")
	s.kubectl(t, "-n", shop, "label", "pod", "old", "changed=meanwhile")
	s.kubectl(t, "-n", shop, "scale", "deployment/api", "--replicas=3") // goes on when a webhook answers
	s.recovered(t)
	s.loop.enter("and back", inForce)
	s.kubectl(t, "-n", shop, "rollout", "status", "deployment/api", "--timeout=120s")
	s.signedPod(t, "after-deletion")
}

// recovered waits until three Pods are ready again and a signed image is admitted.
func (s *stage) recovered(t *testing.T) {
	t.Helper()
	s.kubectl(t, "-n", system, "rollout", "status", "deployment/pratique-webhook", "--timeout=120s")
	s.kubectl(t, "-n", system, "get", "pods")
	s.eventually(t, "signed images are admitted and pinned", func() error {
		a := s.exec(t.Context(), "", s.kubectlFile, "-n", shop, "run", "try", "--image="+s.ref(api), "--dry-run=server", "-o", "jsonpath={.spec.containers[0].image}")
		if want := s.pinned(api, s.at(t, api)); !a.ok || a.said != want {
			return fmt.Errorf("%q: want %s", a.said, want)
		}
		return nil
	})
}

// scaledToZero takes the webhook away for as long as it takes to see what goes on without it.
func (s *stage) scaledToZero(t *testing.T) {
	s.apply(t, fmt.Sprintf(`apiVersion: batch/v1
kind: Job
metadata: {name: work, namespace: %s}
spec:
  template:
    metadata: {labels: {app: work}}
    spec: {restartPolicy: Never, containers: [{name: work, image: "%s"}]}
`, shop, s.ref(tool)))
	s.eventually(t, "the Job has its Pod", func() error { // kubectl wait doesn't wait for what isn't there
		return contains(s.look(t, "-n", shop, "get", "pods", "-l", "app=work", "-o", "name"), "pod/work-")
	})
	s.kubectl(t, "-n", shop, "wait", "--for=condition=Ready", "pod", "-l", "app=work", "--timeout=60s")

	s.loop.enter("scaled to 0", shut)
	s.kubectl(t, "-n", system, "scale", "deployment/pratique-webhook", "--replicas=0")
	s.kubectl(t, "-n", system, "wait", "--for=delete", "pod", "-l", webhookPods, "--timeout=90s")
	t.Run("system Pods start", func(t *testing.T) {
		s.kubectl(t, "-n", "kube-system", "run", "e2e-system", "--image="+s.ref(intruder))
		s.kubectl(t, "-n", "kube-system", "wait", "--for=condition=Ready", "pod/e2e-system", "--timeout=60s")
	})
	t.Run("labels change", func(t *testing.T) {
		s.kubectl(t, "-n", shop, "label", "pod", "old", "still=here")
		s.kubectl(t, "-n", shop, "label", "deployment", "api", "still=here")
		s.kubectl(t, "label", "namespace", shop, "still=here")
		s.kubectl(t, "-n", shop, "label", "imagepolicy", "signed", "still=here")
	})
	t.Run("finalizers are removed", func(t *testing.T) {
		s.kubectl(t, "-n", shop, "delete", "pod", "held", "--wait=false")
		s.kubectl(t, "-n", shop, "patch", "pod", "held", "--type=json", "-p", noFinalizers)
		s.kubectl(t, "-n", shop, "wait", "--for=delete", "pod/held", "--timeout=60s")
	})
	t.Run("Jobs complete", func(t *testing.T) {
		s.kubectl(t, "-n", shop, "exec", "job/work", "--", "/app", "done")
		s.kubectl(t, "-n", shop, "wait", "--for=condition=Complete", "job/work", "--timeout=60s")
	})
	t.Run("Deployments scale down", func(t *testing.T) {
		s.kubectl(t, "-n", shop, "scale", "deployment/api", "--replicas=1")
		s.eventually(t, "one Pod is left", func() error {
			if got := s.running(t, shop, "api"); len(got) != 1 {
				return fmt.Errorf("there are %d", len(got))
			}
			return nil
		})
	})
	t.Run("guards hold", func(t *testing.T) {
		s.kubectl(t, "create", "clusterrole", "e2e-labeller", "--verb=get,patch", "--resource=namespaces")
		s.kubectl(t, "create", "clusterrolebinding", "e2e-labeller", "--clusterrole=e2e-labeller", "--user=labeller")
		s.kubectl(t, "label", "namespace", till, "harmless=yes", "--as=labeller")
		s.refused(t, "", []string{"ValidatingAdmissionPolicy", "e2e-signed", "relabel"}, "label", "namespace", till, "e2e-", "--as=labeller")
	})
	t.Run("namespaces end", func(t *testing.T) {
		s.kubectl(t, "delete", "namespace", stall, "--timeout=60s")
	})
	t.Run("new Pods wait", func(t *testing.T) {
		s.refused(t, "", []string{`failed calling webhook "images.pratique.dev"`}, "-n", shop, "run", "late", "--image="+s.ref(api))
		s.kubectl(t, "-n", shop, "create", "deployment", "late", "--image="+s.ref(api))
		s.eventually(t, "the Deployment's Pod is held up", func() error {
			return contains(s.failures(t), `failed calling webhook "images.pratique.dev"`)
		})
		if got := s.running(t, shop, "late"); len(got) > 0 {
			t.Errorf("there are Pods of %v", got)
		}
	})
	t.Run("all recovers unaided when it returns", func(t *testing.T) {
		s.kubectl(t, "-n", system, "scale", "deployment/pratique-webhook", "--replicas=3")
		s.recovered(t)
		s.loop.enter("and back at 3", inForce)
		s.kubectl(t, "-n", shop, "rollout", "status", "deployment/late", "--timeout=120s")
		if got, want := s.running(t, shop, "late"), s.pinned(api, s.at(t, api)); len(got) != 1 || got[0] != want {
			t.Errorf("what waited runs as %v: want %s", got, want)
		}
	})
	if got := s.kubectl(t, "get", "nodes"); !strings.Contains(got, " Ready") || strings.Contains(got, "NotReady") {
		t.Error("the node is not ready")
	}
}
