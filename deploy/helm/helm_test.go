package helm

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/test/cluster"
)

const chart = "pratique"

// program is the path of helm, found once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := cluster.Binaries("helm")
	return filepath.Join(dir, "helm"), err
})

// run runs helm, with nothing of the user's own settings and no cluster to reach.
func run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	helm, err := program()
	if errors.Is(err, cluster.ErrNoBinaries) && testing.Short() {
		t.Skipf("-short, and no helm to render the chart with: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	command := exec.CommandContext(t.Context(), helm, args...)
	command.Env = []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "KUBECONFIG=" + os.DevNull,
		"HELM_CACHE_HOME=" + home, "HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home,
	}
	var o, e bytes.Buffer
	command.Stdout, command.Stderr = &o, &e
	err = command.Run()
	return o.String(), e.String(), err
}

// template renders the chart as the release pratique in Namespace, unless the further arguments say otherwise,
// and returns the documents as helm prints them. A hook is not part of what is in force.
func template(t *testing.T, args ...string) []string {
	t.Helper()
	return templateOf(t, chart, args...)
}

func templateOf(t *testing.T, dir string, args ...string) []string {
	t.Helper()
	return withHooks(t, dir, append(args, "--no-hooks")...)
}

// withHooks renders what helm template prints where nobody says --no-hooks.
func withHooks(t *testing.T, dir string, args ...string) []string {
	t.Helper()
	stdout, stderr, err := run(t, append([]string{"template", dir, "--name-template", "pratique", "--namespace", Namespace}, args...)...)
	if err != nil {
		t.Fatalf("helm template %s: %v\n%s", args, err, stderr)
	}
	var documents []string
	for document := range strings.SplitSeq("\n"+stdout, "\n---\n") {
		if strings.TrimSpace(document) != "" {
			documents = append(documents, strings.TrimSpace(document)+"\n")
		}
	}
	return documents
}

// values writes a values file and returns the arguments that name it.
func values(t *testing.T, yaml string) []string {
	t.Helper()
	dir, err := os.MkdirTemp("", "values-") // not t.TempDir: helm takes a comma of the test's name for two files
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(dir, "values.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--values", file}
}

// outside are the values of a webhook outside the cluster.
func outside(t *testing.T) []string {
	t.Helper()
	return values(t, "webhook: {url: '"+placeholderURL+"', caBundle: '"+placeholderCA+"'}")
}

// decode reads rendered documents into Kubernetes' own types. A field that Kubernetes doesn't know fails the
// test: the API server would drop it in silence.
func decode(t *testing.T, documents []string) []client.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientscheme.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []client.Object
	for _, document := range documents {
		if strings.Contains(document, "\napiVersion: cert-manager.io/v1\n") { // its types are no dependency of ours
			objects = append(objects, decodeCertManager(t, document))
			continue
		}
		object, kind, err := decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		object.GetObjectKind().SetGroupVersionKind(*kind)
		objects = append(objects, object.(client.Object))
	}
	return objects
}

// only returns the one object of a type.
func only[T client.Object](t *testing.T, objects []client.Object) T {
	t.Helper()
	found := all[T](objects)
	if len(found) != 1 {
		t.Fatalf("%d objects of type %s, want 1", len(found), reflect.TypeFor[T]())
	}
	return found[0]
}

// all returns the objects of a type.
func all[T client.Object](objects []client.Object) []T {
	var found []T
	for _, o := range objects {
		if o, ok := o.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

// kinds counts objects by kind.
func kinds(objects []client.Object) map[string]int {
	count := map[string]int{}
	for _, o := range objects {
		count[o.GetObjectKind().GroupVersionKind().Kind]++
	}
	return count
}
