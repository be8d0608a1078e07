package compile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	fcache "k8s.io/client-go/tools/cache/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// world is a cluster in memory, with client-go's real informers before it. It is used inside synctest.Test, so that the
// half minutes of the Store pass at once.
type world struct {
	t     testing.TB
	ctx   context.Context
	stop  context.CancelFunc
	store *Store

	mu        sync.Mutex
	sources   map[string]*origin // by kind
	informers map[string]toolscache.SharedIndexInformer
	live      map[string]client.Object // by kind/namespace/name
	liveErr   error
	slow      string // what a live read has in its id that takes its time
	takes     time.Duration
	gets      map[string]int
	changes   int
	running   sync.WaitGroup
}

// origin is what an informer lists and watches; it can be made to hang, as an API server can.
type origin struct {
	*fcache.FakeControllerSource
	hang chan struct{} // nil: answer at once
}

func (s *origin) List(o metav1.ListOptions) (runtime.Object, error) {
	if s.hang != nil {
		<-s.hang
	}
	return s.FakeControllerSource.List(o)
}

func (s *origin) Watch(o metav1.ListOptions) (watch.Interface, error) {
	if o.SendInitialEvents != nil {
		return nil, apierrors.NewInvalid(schema.GroupKind{}, "", nil) // no streamed lists
	}
	return s.FakeControllerSource.Watch(o)
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, sources: map[string]*origin{}, informers: map[string]toolscache.SharedIndexInformer{},
		live: map[string]client.Object{}, gets: map[string]int{},
	}
	w.ctx, w.stop = context.WithCancel(t.Context())
	for _, kind := range []string{"Namespace", KindTrustRoot, KindImageException, KindImagePolicy, KindClusterImagePolicy} {
		w.sources[kind] = &origin{FakeControllerSource: fcache.NewFakeControllerSource()}
	}
	store, err := NewStore(StoreConfig{
		Informers: w, Live: w, Namespace: "pratique-system", Unmatched: policy.UnmatchedWarn,
		OnChange: func() { w.mu.Lock(); w.changes++; w.mu.Unlock() },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.store = store
	return w
}

// start starts the Store, and returns when nothing moves any more.
func (w *world) start() {
	w.running.Go(func() {
		if err := w.store.Start(w.ctx); err != nil {
			w.t.Errorf("Start: %v", err)
		}
	})
	w.settle()
}

// settle lets informers and Store do what they have to: half a second is more than their pauses, and less than any of ours.
func (w *world) settle() {
	time.Sleep(500 * time.Millisecond)
	synctest.Wait()
}

// end ends everything that was started, as a synctest bubble wants.
func (w *world) end() {
	w.stop()
	w.running.Wait()
	w.store.shutDown()
	for _, s := range w.sources {
		s.Shutdown()
	}
	time.Sleep(time.Minute)
	synctest.Wait()
}

// GetInformer implements Informers.
func (w *world) GetInformer(_ context.Context, obj client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := obj.GetObjectKind().GroupVersionKind().Kind
	if w.informers[kind] == nil {
		informer := toolscache.NewSharedIndexInformer(w.sources[kind], obj, 0, toolscache.Indexers{})
		w.informers[kind] = informer
		w.running.Go(func() { informer.RunWithContext(w.ctx) })
	}
	return w.informers[kind], nil
}

// Get implements client.Reader for what is read live.
func (w *world) Get(ctx context.Context, k client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	w.mu.Lock()
	if w.slow != "" && strings.Contains("/"+k.String(), w.slow) {
		takes := w.takes
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(takes):
		}
		w.mu.Lock()
	}
	defer w.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	var kind string
	switch into.(type) {
	case *corev1.Secret:
		kind = kindSecret
	case *corev1.ConfigMap:
		kind = kindConfigMap
	case *metav1.PartialObjectMetadata:
		kind = into.GetObjectKind().GroupVersionKind().Kind
	default:
		return fmt.Errorf("a live GET of %T", into)
	}
	id := kind + "/" + k.String()
	w.gets[id]++
	if w.liveErr != nil {
		return w.liveErr
	}
	obj, ok := w.live[id]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: kind}, k.Name)
	}
	switch into := into.(type) {
	case *corev1.Secret:
		obj.(*corev1.Secret).DeepCopyInto(into)
	case *corev1.ConfigMap:
		obj.(*corev1.ConfigMap).DeepCopyInto(into)
	case *metav1.PartialObjectMetadata:
		obj.(*metav1.PartialObjectMetadata).DeepCopyInto(into)
	}
	return nil
}

// List implements client.Reader: nothing may be listed live.
func (w *world) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("a live LIST")
}

func (w *world) secret(namespace, name, entry, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := kindSecret + "/" + namespace + "/" + name
	if text == "" {
		delete(w.live, id)
		return
	}
	w.live[id] = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string][]byte{entry: []byte(text)}}
}

// away makes live reads fail, until it is called with nil.
func (w *world) away(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.liveErr = err
}

// slowly makes the live reads of objects with that in /NAMESPACE/NAME take some time, if they are waited for.
func (w *world) slowly(what string, takes time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slow, w.takes = what, takes
}

func (w *world) count(id string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gets[id]
}

func (w *world) changed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changes
}

// namespace makes a namespace that the informer and a live GET know, or only the latter.
func (w *world) namespace(name string, labels map[string]string, seen bool) {
	all := map[string]string{corev1.LabelMetadataName: name}
	maps.Copy(all, labels)
	make := func() *metav1.PartialObjectMetadata {
		n := newNamespace()
		n.Name, n.Labels = name, maps.Clone(all)
		return n
	}
	w.mu.Lock()
	w.live["Namespace//"+name] = make()
	w.mu.Unlock()
	if seen {
		w.sources["Namespace"].Modify(make())
	}
}

// apply puts a policy into the cluster, as text; each has the generation and uid that are given.
func (w *world) apply(text string, generation int64, uid string) *unstructured.Unstructured {
	w.t.Helper()
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(toJSON(w.t, text)); err != nil {
		w.t.Fatal(err)
	}
	u.SetGeneration(generation)
	u.SetUID(types.UID(uid))
	w.sources[u.GetKind()].Modify(u.DeepCopy())
	return u
}

func (w *world) remove(u *unstructured.Unstructured) {
	w.sources[u.GetKind()].Delete(u.DeepCopy())
}

// set is Set, where it has to work.
func (w *world) set(namespace string) policy.Set {
	w.t.Helper()
	s, err := w.store.Set(w.ctx, namespace)
	if err != nil {
		w.t.Fatalf("Set(%s): %v", namespace, err)
	}
	return s
}

// only is the one policy of a list.
func only(t testing.TB, list []*policy.Policy) *policy.Policy {
	t.Helper()
	if len(list) != 1 {
		t.Fatalf("%d policies, want 1", len(list))
	}
	return list[0]
}

func names(list []*policy.Policy) []string {
	out := []string{}
	for _, p := range list {
		out = append(out, p.Name.String())
	}
	return out
}

func named(text, name string) string {
	return replaceOnce(replaceOnce(text, "name: production", "name: "+name), "name: everywhere", "name: "+name)
}

func inNamespace(text, namespace string) string {
	return replaceOnce(text, "namespace: payments", "namespace: "+namespace)
}

func replaceOnce(s, old, new string) string { return strings.Replace(s, old, new, 1) }
