package apiserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/template"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/api/v1alpha1"
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

// signedBy is the policy of most tests: images of the scene's registry must be signed by release.
const signedBy = `
apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: {{or .name "signed"}}, namespace: {{.ns}}}
spec:
  mode: {{or .mode "Enforce"}}
  images: {include: ["{{or .include (print .host "/**")}}"]}
  references: {tags: {{or .tags "Allow"}}}
  authorities: [{name: release, key: {data: {{.release}}}}]
  require: {signature: {by: [release]}}
`

// with are values for a policy's template, besides ns, host and release (the key as a quoted PEM).
type with map[string]any

// pem is a key as the template of a policy takes it.
func pem(k papers.Key) string { return quoted(string(k.PublicPEM)) }

func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always can
	}
	return string(text)
}

// fill fills in the template of a policy.
func (s *scene) fill(text string, values ...with) string {
	s.t.Helper()
	all := with{"ns": s.ns, "host": s.reg.Host(), "release": pem(s.release)}
	for _, v := range values {
		maps.Copy(all, v)
	}
	tmpl, err := template.New("policy").Parse(text)
	if err != nil {
		s.t.Fatal(err)
	}
	var out strings.Builder
	if err := tmpl.Execute(&out, map[string]any(all)); err != nil {
		s.t.Fatal(err)
	}
	return out.String()
}

// object reads a YAML document.
func (s *scene) object(text string) *unstructured.Unstructured {
	s.t.Helper()
	var u unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		s.t.Fatalf("%v in:\n%s", err, text)
	}
	return &u
}

// policies is where a policy is written.
func (s *scene) policies(u *unstructured.Unstructured) dynamic.ResourceInterface {
	switch u.GetKind() {
	case "ImagePolicy":
		return s.objects.Resource(v1alpha1.GroupVersion().WithResource("imagepolicies")).Namespace(u.GetNamespace())
	case "ClusterImagePolicy":
		return s.objects.Resource(v1alpha1.GroupVersion().WithResource("clusterimagepolicies"))
	}
	s.t.Fatalf("%s is no policy", u.GetKind())
	return nil
}

// tryPolicy applies a policy and returns what the API server says. A ClusterImagePolicy goes with the test, since it would be there
// for the other tests.
func (s *scene) tryPolicy(text string, values ...with) (*unstructured.Unstructured, error) {
	s.t.Helper()
	u := s.object(s.fill(text, values...))
	to := s.policies(u)
	stored, err := to.Apply(s.ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: "test", Force: true})
	if err == nil && u.GetNamespace() == "" {
		s.t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), patience)
			defer cancel()
			if err := to.Delete(ctx, u.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				s.t.Error(err)
			}
		})
	}
	return stored, err
}

// policy applies a policy and waits until the webhook says that it has read it; it returns the status.
func (s *scene) policy(text string, values ...with) v1alpha1.PolicyStatus {
	s.t.Helper()
	u, err := s.tryPolicy(text, values...)
	if err != nil {
		s.t.Fatalf("applying the policy: %v", err)
	}
	return s.waitStatus(u, "to be read", func(v1alpha1.PolicyStatus) bool { return true })
}

// waitStatus waits until the status is about the policy as it is now and pleases ok.
func (s *scene) waitStatus(u *unstructured.Unstructured, what string, ok func(v1alpha1.PolicyStatus) bool) v1alpha1.PolicyStatus {
	s.t.Helper()
	var status v1alpha1.PolicyStatus
	s.eventually("policy "+u.GetName()+" "+what, func() error {
		now, err := s.policies(u).Get(s.ctx, u.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		status = v1alpha1.PolicyStatus{}
		if raw, is := now.Object["status"].(map[string]any); is {
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &status); err != nil {
				return err
			}
		}
		if status.ObservedGeneration != now.GetGeneration() || !ok(status) {
			return fmt.Errorf("generation %d has the status %+v", now.GetGeneration(), status)
		}
		return nil
	})
	return status
}

// ready is the condition Ready of a status.
func ready(status v1alpha1.PolicyStatus) metav1.Condition {
	if c := meta.FindStatusCondition(status.Conditions, "Ready"); c != nil {
		return *c
	}
	return metav1.Condition{}
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

// record is one line of the decision log.
type record struct {
	Msg string `json:"msg"`
	admission.Record
}

// decisions returns what the bed's webhook logged about the scene's namespace, the oldest first.
func (s *scene) decisions() []record {
	s.t.Helper()
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

// pod is a Pod with a container for each image: c0, c1 and so on.
func pod(name string, images ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for i, image := range images {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: image})
	}
	return p
}

func (s *scene) create(p *corev1.Pod) (*corev1.Pod, error) {
	return s.kube.CoreV1().Pods(s.ns).Create(s.ctx, p, metav1.CreateOptions{})
}

// admits creates a Pod that must be admitted.
func (s *scene) admits(p *corev1.Pod) *corev1.Pod {
	s.t.Helper()
	stored, err := s.create(p)
	s.want("creating Pod "+p.Name+p.GenerateName, err)
	return stored
}

// refuses tries to create a Pod that must be refused in these words, and must not be there afterwards.
func (s *scene) refuses(p *corev1.Pod, says ...string) {
	s.t.Helper()
	_, err := s.create(p)
	s.wantRefused(err, says...)
	s.wantNoPod(p.Name)
}

// wantNoPod checks that there is no Pod of that name, or if that is empty, none at all.
func (s *scene) wantNoPod(name string) {
	s.t.Helper()
	list, err := s.kube.CoreV1().Pods(s.ns).List(s.ctx, metav1.ListOptions{})
	s.want("listing Pods", err)
	if slices.ContainsFunc(list.Items, func(p corev1.Pod) bool { return name == "" || p.Name == name }) {
		s.t.Fatalf("Pod %q is there", name)
	}
}

func (s *scene) get(name string) *corev1.Pod {
	s.t.Helper()
	p, err := s.kube.CoreV1().Pods(s.ns).Get(s.ctx, name, metav1.GetOptions{})
	s.want("getting Pod "+name, err)
	return p
}
