package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// tagHold is for how long the webhook holds what a tag names, and a little.
const tagHold = 2200 * time.Millisecond

// running returns the images of a namespace's Pods of an app, one each.
func (s *stage) running(t *testing.T, ns, app string) []string {
	t.Helper()
	return strings.Fields(s.look(t, "-n", ns, "get", "pods", "-l", "app="+app, "-o", "jsonpath={.items[*].spec.containers[0].image}"))
}

// pinned is a reference with the digest that it was pinned to.
func (s *stage) pinned(path string, d name.Digest) string { return s.ref(path) + "@" + d.DigestStr() }

// at returns what an image's tag v1 names now.
func (s *stage) at(t *testing.T, path string) name.Digest {
	t.Helper()
	got, err := remote.Head(s.reg.Repo(path).Tag("v1"), s.reg.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	return s.reg.Repo(path).Digest(got.Digest.String())
}

func (s *stage) signedDeployment(t *testing.T) {
	s.kubectl(t, "-n", shop, "create", "deployment", "api", "--image="+s.ref(api), "--replicas=2")
	s.kubectl(t, "-n", shop, "rollout", "status", "deployment/api", "--timeout=60s")
	want := s.pinned(api, s.at(t, api))
	t.Log("its Pods: " + strings.Join(s.running(t, shop, "api"), " "))
	if got := s.running(t, shop, "api"); len(got) != 2 || got[0] != want || got[1] != want {
		t.Errorf("its Pods are of %v: want 2 of %s", got, want)
	}
	for path, want := range map[string]string{
		"{.spec.template.spec.containers[0].image}": s.ref(api), "{.metadata.generation}": "1", "{.status.observedGeneration}": "1",
	} {
		if got := s.kubectl(t, "-n", shop, "get", "deployment", "api", "-o", "jsonpath="+path); got != want {
			t.Errorf("the Deployment's %s is %q: want %q", path, got, want)
		}
	}
	if got := s.kubectl(t, "-n", shop, "logs", "deployment/api"); !strings.Contains(got, "signed "+api) {
		t.Errorf("what runs is not the signed image")
	}
}

func (s *stage) unsignedRefused(t *testing.T) {
	s.refused(t, "", []string{
		`admission webhook "workloads.pratique.dev" denied the request`, "container intruder: " + s.ref(intruder), "policy " + shop + "/signed", "NoTrustedSignature",
	}, "-n", shop, "create", "deployment", "intruder", "--image="+s.ref(intruder))
	s.refused(t, "", []string{
		"Error from server (Forbidden)", `admission webhook "images.pratique.dev" denied the request: 1 of 1 image refused`,
		"container intruder: " + s.pinned(intruder, s.at(t, intruder)), "policy " + shop + "/signed", "NoTrustedSignature", "explain: kubectl pratique verify",
	}, "-n", shop, "run", "intruder", "--image="+s.ref(intruder))
	s.refused(t, "", []string{"Error from server (Forbidden)", `"images.pratique.dev"`, "policy e2e-signed", "NoTrustedSignature"},
		"-n", till, "run", "intruder", "--image="+s.ref(intruder))
}

// failures are what the ReplicaSets of the shop say of Pods that they can't create.
func (s *stage) failures(t *testing.T) string {
	t.Helper()
	return s.look(t, "-n", shop, "get", "events", "--field-selector=reason=FailedCreate", "-o", "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}")
}

// privatePod names the secret, whether or not the namespace has it.
func (s *stage) privatePod(ns string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: ledger, namespace: %s}
spec:
  imagePullSecrets: [{name: regcred}]
  containers: [{name: ledger, image: "%s"}]
`, ns, s.ref(ledger))
}

func (s *stage) privateImages(t *testing.T) {
	for _, ns := range []string{shop, till} {
		s.kubectl(t, "-n", ns, "create", "secret", "docker-registry", "regcred",
			"--docker-server="+s.reg.address, "--docker-username="+reader, "--docker-password="+password)
	}
	s.apply(t, s.privatePod(shop))
	s.kubectl(t, "-n", shop, "wait", "--for=condition=Ready", "pod/ledger", "--timeout=60s")
	s.kubectl(t, "-n", shop, "get", "pod", "ledger", "-o", "jsonpath={.spec.containers[0].image}")

	s.refused(t, s.privatePod(stall), []string{`admission webhook "images.pratique.dev" denied the request`, "RegistryUnauthorized"}, "apply", "-f", "-")
	s.refused(t, "", []string{`admission webhook "images.pratique.dev" denied the request`, "RegistryUnauthorized"},
		"-n", stall, "run", "ledger", "--image="+s.ref(ledger))

	s.kubectl(t, "-n", till, "patch", "serviceaccount", "default", "-p", `{"imagePullSecrets": [{"name": "regcred"}]}`)
	s.kubectl(t, "-n", till, "create", "deployment", "ledger", "--image="+s.ref(ledger))
	s.kubectl(t, "-n", till, "rollout", "status", "deployment/ledger", "--timeout=60s")
	want := s.pinned(ledger, s.at(t, ledger))
	if got := s.running(t, till, "ledger"); len(got) != 1 || got[0] != want {
		t.Errorf("what runs by the ServiceAccount's secret is %v: want %s", got, want)
	}
}

func (s *stage) movedTag(t *testing.T) {
	good := s.at(t, api)
	s.reg.push(t, api+":v1", s.images.image(t, "moved "+api))
	bad := s.at(t, api)
	back := func() { s.reg.push(t, api+":v1", s.images.image(t, "signed "+api+":v1")) } // the same image, byte for byte
	defer back()
	t.Logf("%s named %s and now names %s, which nobody signed", s.ref(api), good.DigestStr(), bad.DigestStr())
	time.Sleep(tagHold)
	s.refused(t, "", []string{"NoTrustedSignature", s.pinned(api, bad)}, "-n", shop, "run", "moved", "--image="+s.ref(api))

	first, _, _ := strings.Cut(s.look(t, "-n", shop, "get", "pods", "-l", "app=api", "-o", "name"), "\n")
	s.kubectl(t, "-n", shop, "delete", first)
	s.eventually(t, "the ReplicaSet's new Pod is refused", func() error {
		return contains(s.failures(t), bad.DigestStr())
	})
	if got := s.running(t, shop, "api"); len(got) != 1 || got[0] != s.pinned(api, good) {
		t.Errorf("what still runs is %v: want 1 of %s", got, s.pinned(api, good))
	}
	s.kubectl(t, "-n", shop, "get", "deployment,pods", "-l", "app=api")

	back()
	if now := s.at(t, api); now.DigestStr() != good.DigestStr() {
		t.Fatalf("the tag is %s: want it back at %s", now, good)
	}
	s.eventually(t, "with the tag back, the Deployment is whole again", func() error {
		return contains(s.look(t, "-n", shop, "get", "deployment", "api", "-o", "jsonpath={.status.readyReplicas}"), "2")
	})
}

func (s *stage) debug(t *testing.T) {
	s.signedPod(t, "patient")
	s.refused(t, "", []string{`admission webhook "images.pratique.dev" denied the request`, "ephemeralContainer probe", "NoTrustedSignature"},
		"-n", shop, "debug", "patient", "--image="+s.ref(intruder), "-c", "probe")
	s.kubectl(t, "-n", shop, "debug", "patient", "--image="+s.ref(tool), "-c", "helper")
	s.eventually(t, "the signed ephemeral container runs", func() error {
		return contains(s.look(t, "-n", shop, "get", "pod", "patient", "-o", "jsonpath={.status.ephemeralContainerStatuses[0].state.running}"), "startedAt")
	})
	want := s.pinned(tool, s.at(t, tool))
	if got := s.kubectl(t, "-n", shop, "get", "pod", "patient", "-o", "jsonpath={.spec.ephemeralContainers[*].image}"); got != want {
		t.Errorf("the ephemeral containers are %q: want %s alone", got, want)
	}
}

// signedPod runs the signed image by its tag and waits until it is ready.
func (s *stage) signedPod(t *testing.T, pod string) {
	t.Helper()
	s.kubectl(t, "-n", shop, "run", pod, "--image="+s.ref(api))
	s.kubectl(t, "-n", shop, "wait", "--for=condition=Ready", "pod/"+pod, "--timeout=60s")
	if got, want := s.look(t, "-n", shop, "get", "pod", pod, "-o", "jsonpath={.spec.containers[0].image}"), s.pinned(api, s.at(t, api)); got != want {
		t.Errorf("Pod %s is of %q: want %q", pod, got, want)
	}
}

// contains is an error that says what was there, unless it has what is wanted.
func contains(said, want string) error {
	if strings.Contains(said, want) {
		return nil
	}
	return fmt.Errorf("%q has no %q", said, want)
}
