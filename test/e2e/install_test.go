package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// The image tags of the story, below the registry.
const (
	api      = "shop/api"      // signed
	intruder = "shop/intruder" // unsigned
	tool     = "shop/tool"     // signed
	ledger   = "private/ledger"
)

// ref is an image's name by its tag v1, as people write it.
func (s *stage) ref(path string) string { return s.reg.address + "/" + path + ":v1" }

// before runs an unsigned image on the bare cluster, so that a refusal later is no failure to pull it, and starts the loop.
func (s *stage) before(t *testing.T) {
	bad := s.unsigned(t, intruder+":v1")
	good := s.signed(t, tool+":v1")
	s.signed(t, api+":v1")
	s.signed(t, ledger+":v1")
	for _, ns := range []string{shop, stall, till} {
		s.kubectl(t, "create", "namespace", ns)
	}
	s.kubectl(t, "label", "namespace", till, "e2e=till")
	s.kubectl(t, "-n", shop, "run", "old", "--image="+s.ref(intruder))
	s.apply(t, fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: held, namespace: %s, finalizers: [e2e.pratique.dev/hold]}
spec: {containers: [{name: app, image: "%s"}]}
`, shop, s.ref(intruder)))
	s.kubectl(t, "-n", shop, "wait", "--for=condition=Ready", "pod/old", "pod/held", "--timeout=60s")
	s.loop = startLoop(s.kube, tagged{s.ref(intruder), bad}, tagged{s.ref(tool), good})
	s.eventually(t, "the loop gets unsigned Pods in", s.loop.admits)
}

// install brings the image to the nodes and installs the chart, as docs/install.md says.
func (s *stage) install(t *testing.T) {
	s.kubectl(t, "create", "namespace", system)
	s.kubectl(t, "label", "namespace", system, "pod-security.kubernetes.io/enforce=restricted")
	values := []string{"--set", "plainHTTP={" + s.reg.address + "}"}
	if s.load != "" {
		if a := s.show(t, "", "bash", "-c", s.load+` "$@"`, "load", s.archive); !a.ok {
			t.Fatal("the image can't be loaded onto the nodes: E2E_LOAD says how")
		}
		values = append(values, "--set", "image.tag="+s.version)
	} else {
		d := s.pushArchive(t, "pratique/webhook:"+s.version)
		values = append(values, "--set", "image.repository="+d.Context().Name(), "--set", "image.digest="+d.DigestStr())
	}
	s.loop.enter("install", nothing)
	s.helm(t, append([]string{"install", release, chart, "-n", system, "--wait", "--timeout=3m"}, values...)...)
	s.loop.enter("no policy yet", openOnly)
	if got := s.look(t, "-n", system, "get", "deployment", "pratique-webhook", "-o", "jsonpath={.status.readyReplicas}"); got != "3" {
		t.Errorf("%s replicas are ready: want 3", got)
	}
	s.kubectl(t, "-n", system, "get", "pods", "-o", "wide")
	s.kubectl(t, "get", "validatingwebhookconfigurations,mutatingwebhookconfigurations,validatingadmissionpolicies")
}

// restricted has the webhook's own program try to write where nothing should be writable.
func (s *stage) restricted(t *testing.T) {
	s.refused(t, "", []string{`violates PodSecurity "restricted:latest"`},
		"-n", system, "run", "loose", "--image="+s.ref(intruder), "--dry-run=server")
	pod := strings.Fields(s.look(t, "-n", system, "get", "pods", "-l", "app.kubernetes.io/component=webhook", "-o", "name"))[0]
	if said := s.kubectl(t, "-n", system, "exec", pod, "--", "/webhook", "--version"); !strings.Contains(said, s.version) {
		t.Errorf("it is not version %s", s.version)
	}
	s.refused(t, "", []string{"read-only file system"},
		"-n", system, "exec", pod, "--", "/webhook", "--cert-dir=/certs", "--metrics-bind-address=0", "--health-probe-bind-address=0", "--port=19443")
}

// withoutPolicy runs an unsigned image while Pratique is there and nothing has been asked of it.
func (s *stage) withoutPolicy(t *testing.T) {
	s.kubectl(t, "-n", shop, "run", "free", "--image="+s.ref(intruder))
	s.kubectl(t, "-n", shop, "wait", "--for=condition=Ready", "pod/free", "--timeout=60s")
	s.eventually(t, "the loop gets unsigned Pods in", s.loop.admits)
}

// requirement is what every policy of the story asks for.
const requirement = `  images: {include: ["%s/shop/**", "%[1]s/private/**"]}
  authorities:
  - name: release
    key: %s
  require:
    signature: {by: [release]}
`

// policies closes the three namespaces: two by a policy of their own, one by the cluster's, whose key is a Secret's.
func (s *stage) policies(t *testing.T) {
	pem := strings.TrimSpace(string(s.release.PublicPEM))
	inline := "\n      data: |\n        " + strings.ReplaceAll(pem, "\n", "\n        ")
	for _, ns := range []string{shop, stall} {
		s.apply(t, fmt.Sprintf("apiVersion: pratique.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: signed, namespace: %s}\nspec:\n", ns)+
			fmt.Sprintf(requirement, s.reg.address, inline))
	}
	s.kubectl(t, "-n", system, "create", "secret", "generic", "e2e-release", "--from-literal=cosign.pub="+pem)
	s.apply(t, "apiVersion: pratique.dev/v1alpha1\nkind: ClusterImagePolicy\nmetadata: {name: e2e-signed}\nspec:\n  namespaceSelector: {matchLabels: {e2e: till}}\n"+
		fmt.Sprintf(requirement, s.reg.address, "{secretRef: {name: e2e-release, key: cosign.pub}}"))
	s.kubectl(t, "-n", shop, "wait", "--for=condition=Ready", "imagepolicy/signed", "--timeout=30s")
	s.loop.enter("policies are in force", inForce)
	s.kubectl(t, "-n", stall, "wait", "--for=condition=Ready", "imagepolicy/signed", "--timeout=30s")
	s.kubectl(t, "wait", "--for=condition=Ready", "clusterimagepolicy/e2e-signed", "--timeout=30s")
	s.kubectl(t, "get", "imagepolicies,clusterimagepolicies", "-A")
}
