package apiserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/test/bed"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// patience is how long a test waits for what another process is about to do, on a machine that has more to do.
const patience = time.Minute

// scene is what one test has for itself: a namespace, a registry and a key.
type scene struct {
	t   *testing.T
	ctx context.Context
	bed *bed.Bed
	ns  string
	reg *evilregistry.Registry
	// release is the key that the policies trust.
	release papers.Key

	kube     kubernetes.Interface
	objects  dynamic.Interface
	warnings *warnings
}

// seeds gives each image of this package its own content.
var seeds atomic.Uint64

// open opens a scene in a namespace of that name. The registry is up until it is closed, or the test ends.
func open(t *testing.T, b *bed.Bed, ns string, registry ...evilregistry.Option) *scene {
	t.Helper()
	s := &scene{
		t: t, ctx: t.Context(), bed: b, ns: ns, warnings: &warnings{},
		reg: evilregistry.New(t, registry...), release: papers.NewKey(t, papers.P256),
	}
	config := b.Cluster.RESTConfig()
	config.WarningHandler = s.warnings
	s.kube, s.objects = clients(t, config)
	s.namespace(ns, nil)
	return s
}

// parallelScene is open on the shared bed, for a test that runs beside others.
func parallelScene(t *testing.T, ns string, registry ...evilregistry.Option) *scene {
	t.Helper()
	t.Parallel()
	return open(t, sharedBed(t), ns, registry...)
}

func clients(t *testing.T, config *rest.Config) (kubernetes.Interface, dynamic.Interface) {
	t.Helper()
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return kube, objects
}

// in is the scene seen from another namespace, or by another test of the same scene.
func (s *scene) in(t *testing.T, ns string) *scene {
	other := *s
	other.t, other.ctx, other.ns = t, t.Context(), ns
	return &other
}

func (s *scene) namespace(name string, labels map[string]string) {
	s.t.Helper()
	if err := s.bed.Cluster.CreateNamespace(s.ctx, name, labels); err != nil {
		s.t.Fatal(err)
	}
}

// warnings keeps what the API server warned of.
type warnings struct {
	mu   sync.Mutex
	text []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text)
}

// take returns the warnings since it was called last.
func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := w.text
	w.text = nil
	return text
}

// unsigned pushes an image that nobody signed.
func (s *scene) unsigned(ref string) name.Digest {
	s.t.Helper()
	return s.reg.Push(s.t, ref, evilregistry.RandomImage(seeds.Add(1)))
}

// signed pushes an image, and what the release key says of it.
func (s *scene) signed(ref string) name.Digest {
	s.t.Helper()
	d := s.unsigned(ref)
	s.sign(d, s.release)
	return d
}

func (s *scene) sign(d name.Digest, k papers.Key, opts ...papers.Option) {
	s.t.Helper()
	papers.SignBundle(s.t, d, k, append([]papers.Option{papers.Via(s.reg.Options()...)}, opts...)...)
}

// eventually tries until it works, or fails the test.
func (s *scene) eventually(what string, try func() error) {
	s.t.Helper()
	s.within(patience, what, try)
}

func (s *scene) within(long time.Duration, what string, try func() error) {
	s.t.Helper()
	for deadline := time.Now().Add(long); ; time.Sleep(50 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %s for %s: %v", long, what, err)
		}
	}
}

// wantRefused checks that a request was refused by our webhook, as forbidden and in these words.
func (s *scene) wantRefused(err error, says ...string) {
	s.t.Helper()
	s.wantRefusedBy("images.pratique.dev", err, says...)
}

func (s *scene) wantRefusedBy(webhook string, err error, says ...string) {
	s.t.Helper()
	if err == nil {
		s.t.Fatal("it was admitted, and should have been refused")
	}
	status, ok := err.(apierrors.APIStatus)
	if !ok || status.Status().Code != http.StatusForbidden {
		s.t.Fatalf("it failed, but not as forbidden (403): %v", err)
	}
	text := status.Status().Message
	for _, want := range append([]string{`admission webhook "` + webhook + `" denied the request: `}, says...) {
		if !strings.Contains(text, want) {
			s.t.Errorf("the refusal does not say %q:\n%s", want, text)
		}
	}
}

// want fails the test if a request failed.
func (s *scene) want(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

// logDelay is how long a test waits before it reads the decision log, which is written beside the answer and not before it.
const logDelay = 100 * time.Millisecond

// record is one line of the decision log.
type record struct {
	Msg string `json:"msg"`
	admission.Record
}

// decisions returns what the bed's webhook logged about the scene's namespace, the oldest first.
func (s *scene) decisions() []record {
	s.t.Helper()
	time.Sleep(logDelay)
	text, err := os.ReadFile(s.bed.DecisionLog())
	if err != nil {
		s.t.Fatal(err)
	}
	var out []record
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			s.t.Fatalf("the decision log has a line that is no JSON: %v\n%s", err, lines.Text())
		}
		if r.Namespace == s.ns {
			out = append(out, r)
		}
	}
	if err := lines.Err(); err != nil {
		s.t.Fatal(err)
	}
	return out
}

// lastDecision is the newest line about the namespace.
func (s *scene) lastDecision() record {
	s.t.Helper()
	all := s.decisions()
	if len(all) == 0 {
		s.t.Fatalf("the decision log has nothing of namespace %s", s.ns)
	}
	return all[len(all)-1]
}

// kubectl runs kubectl with a document on its standard input, and returns all that it says.
func (s *scene) kubectl(stdin string, args ...string) (string, error) {
	cmd := s.bed.Cluster.KubectlCommand(s.ctx, args...)
	return output(cmd, stdin)
}

func output(cmd *exec.Cmd, stdin string) (string, error) {
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
