package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pratique-dev/pratique/test/bed"
	"github.com/pratique-dev/pratique/test/cluster"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

const (
	// system is where the chart is installed, and release under which name.
	system, release = "pratique-system", "pratique"
	// shop has a policy and a pull secret, stall the policy alone; till has a ServiceAccount with the secret, and its policy is
	// the cluster's.
	shop, stall, till = "e2e-shop", "e2e-stall", "e2e-till"
	// chart is the chart, from the root of the module.
	chart = "deploy/helm/pratique"
)

// stage is what the story is played on.
type stage struct {
	root   string // of the module, where commands run
	config *rest.Config
	kube   kubernetes.Interface

	kubectlFile, helmFile string
	helmHome              string

	archive, version string // the webhook's image, as `make image` left it
	load             string // the command that imports it; empty: pushed and pulled

	reg     *registry
	images  *builder
	release papers.Key
	loop    *loop
	trusted bool // the cluster has a TrustRoot
}

// openStage reads what the script run has set up, and starts the registry. It fails where the cluster has Pratique already: the
// story ends with taking it away.
func openStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{archive: needs(t, "E2E_ARCHIVE"), version: needs(t, "E2E_VERSION"), load: os.Getenv("E2E_LOAD"), helmHome: t.TempDir()}
	var err error
	if s.root, err = bed.Root(); err != nil {
		t.Fatal(err)
	}
	programs, err := cluster.Binaries("kubectl", "helm")
	if err != nil {
		t.Fatal(err)
	}
	s.kubectlFile, s.helmFile = filepath.Join(programs, "kubectl"), filepath.Join(programs, "helm")
	if s.config, err = clientcmd.BuildConfigFromFlags("", needs(t, "KUBECONFIG")); err != nil {
		t.Fatal(err)
	}
	s.config.QPS = -1 // the loops are as fast as the API server
	if s.kube, err = kubernetes.NewForConfig(s.config); err != nil {
		t.Fatal(err)
	}
	if found := s.look(t, "get", "crds,namespaces", "-o", "name"); strings.Contains(found, "pratique.dev") || strings.Contains(found, "namespace/"+system+"\n") || strings.Contains(found, "namespace/e2e-") {
		t.Fatalf("the cluster has Pratique, or what a run of this left: take the namespaces %s and e2e-* and the CRDs away", system)
	}
	s.reg = startRegistry(t, needs(t, "E2E_REGISTRY"))
	s.images = newBuilder(t, s.root, s.architecture(t))
	s.release = papers.NewKey(t, papers.P256)
	t.Cleanup(func() { s.clear(t) })
	return s
}

func needs(t *testing.T, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		t.Fatalf("%s is not set: make e2e sets it", variable)
	}
	return value
}

// architecture is that of the nodes; all have to have the same, since the images are made for one.
func (s *stage) architecture(t *testing.T) string {
	t.Helper()
	found := strings.Fields(s.look(t, "get", "nodes", "-o", "jsonpath={.items[*].status.nodeInfo.architecture}"))
	slices.Sort(found)
	if found = slices.Compact(found); len(found) != 1 {
		t.Fatalf("the nodes' architectures are %v: want one", found)
	}
	return found[0]
}

// clear takes away whatever is left, whichever step failed.
func (s *stage) clear(t *testing.T) {
	ctx := context.Background() // the test's own is over
	if s.loop != nil {
		s.loop.stop()
	}
	s.exec(ctx, "", s.kubectlFile, "-n", shop, "patch", "pod", "held", "--type=json", "-p", noFinalizers) // else it keeps its namespace
	for _, command := range [][]string{
		{s.helmFile, "uninstall", release, "-n", system, "--ignore-not-found", "--wait"},
		{s.kubectlFile, "delete", "namespace", shop, stall, till, ci, system, "--ignore-not-found", "--timeout=90s"},
		{s.kubectlFile, "delete", "crd", "imagepolicies.pratique.dev", "clusterimagepolicies.pratique.dev", "trustroots.pratique.dev", "--ignore-not-found"},
		{s.kubectlFile, "delete", "clusterrole,clusterrolebinding", "e2e-labeller", "--ignore-not-found"},
		{s.kubectlFile, "-n", "kube-system", "delete", "pod", "e2e-system", "--ignore-not-found", "--timeout=60s"},
	} {
		if a := s.exec(ctx, "", command...); !a.ok {
			t.Errorf("cleaning up: %s\n%s", strings.Join(command, " "), a.said)
		}
	}
}
