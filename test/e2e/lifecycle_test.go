package e2e

import (
	"strings"
	"testing"
)

// webhookObjects are what the API server asks by, and what it holds by itself.
const webhookObjects = "validatingwebhookconfigurations,mutatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings"

// upgrade changes a value and nothing that is asked of images: signed ones are admitted and pinned all the while.
func (s *stage) upgrade(t *testing.T) {
	s.loop.enter("helm upgrade", inForce)
	s.helm(t, "upgrade", release, chart, "-n", system, "--reuse-values", "--set", "logLevel=debug", "--wait", "--timeout=3m")
	s.loop.enter("upgraded", inForce)
	s.signedPod(t, "upgraded")
}

// withoutPin takes the mutating webhook away.
func (s *stage) withoutPin(t *testing.T) {
	s.loop.enter("upgrade to pin.enabled=false", digests)
	s.helm(t, "upgrade", release, chart, "-n", system, "--reuse-values", "--set", "pin.enabled=false", "--wait", "--timeout=3m")
	s.loop.enter("pin.enabled=false", digests)
	if found := s.kubectl(t, "get", "mutatingwebhookconfigurations", "-o", "name"); strings.Contains(found, "pratique") {
		t.Error("something that mutates is installed")
	}
	good := s.at(t, api)
	plain := s.reg.address + "/" + api + "@" + good.DigestStr()
	s.kubectl(t, "-n", shop, "run", "by-digest", "--image="+plain)
	s.kubectl(t, "-n", shop, "wait", "--for=condition=Ready", "pod/by-digest", "--timeout=60s")
	use := "use " + s.pinned(api, good)
	s.refused(t, "", []string{`"images.pratique.dev" denied`, "TagNotAllowed", use}, "-n", shop, "run", "by-tag", "--image="+s.ref(api))
	s.refused(t, "", []string{`"workloads.pratique.dev" denied`, "TagNotAllowed", use}, "-n", shop, "create", "deployment", "by-tag", "--image="+s.ref(api))
	s.refused(t, "", []string{"NoTrustedSignature"}, "-n", shop, "run", "intruder", "--image="+s.ref(intruder))
	s.kubectl(t, "-n", shop, "debug", "by-digest", "--image="+plain, "-c", "helper")
	s.refused(t, "", []string{"NoTrustedSignature"}, "-n", shop, "debug", "by-digest", "--image="+s.ref(intruder), "-c", "probe")
}

func (s *stage) rollback(t *testing.T) {
	s.loop.enter("helm rollback", digests)
	s.helm(t, "rollback", release, "1", "-n", system, "--wait", "--timeout=3m")
	s.helm(t, "history", release, "-n", system)
	if found := s.kubectl(t, "get", "mutatingwebhookconfigurations", "-o", "name"); !strings.Contains(found, "pratique") {
		t.Error("the mutating webhook is not back")
	}
	s.recovered(t)
	s.loop.enter("rolled back", inForce)
	s.signedPod(t, "rolled-back")
}

func (s *stage) uninstall(t *testing.T) {
	s.loop.enter("helm uninstall", openOnly)
	s.helm(t, "uninstall", release, "-n", system, "--wait", "--timeout=3m")
	s.loop.enter("uninstalled", openOnly)
	if found := s.kubectl(t, "get", webhookObjects, "-o", "name"); strings.Contains(found, "pratique") {
		t.Error("some of its objects are left")
	}
	s.kubectl(t, "-n", shop, "run", "intruder", "--image="+s.ref(intruder))
	s.kubectl(t, "-n", shop, "create", "deployment", "intruder", "--image="+s.ref(intruder))
	s.kubectl(t, "-n", shop, "wait", "--for=condition=Ready", "pod/intruder", "--timeout=60s")
	s.kubectl(t, "-n", shop, "rollout", "status", "deployment/intruder", "--timeout=60s")
	s.eventually(t, "the loop gets unsigned Pods in again", s.loop.admits)
	kept := s.kubectl(t, "get", "crds,imagepolicies,clusterimagepolicies,trustroots", "-A", "-o", "name")
	wants := []string{
		"/imagepolicies.pratique.dev\n", "/clusterimagepolicies.pratique.dev\n", "/trustroots.pratique.dev\n",
		"imagepolicy.pratique.dev/signed\n", "clusterimagepolicy.pratique.dev/e2e-signed\n",
	}
	if s.trusted {
		wants = append(wants, "trustroot.pratique.dev/"+ci+"\n", "imagepolicy.pratique.dev/built\n")
	}
	for _, want := range wants {
		if !strings.Contains(kept, want) {
			t.Errorf("%s is gone", strings.TrimSpace(want))
		}
	}
	if got := s.kubectl(t, "-n", shop, "get", "pod", "old", "-o", "jsonpath={.status.phase} {.status.containerStatuses[0].restartCount}"); got != "Running 0" {
		t.Errorf("the Pod that ran before all of this is %q: want Running 0", got)
	}
}
