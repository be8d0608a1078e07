package compile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// The times of a Store.
const (
	// rereadAfter is how often referenced Secrets and ConfigMaps are read again: how long a rotated key may go unseen.
	rereadAfter = 30 * time.Second
	// retryAfter is how soon a key is asked for again that a policy can't be used without: people apply both at once. Each
	// time that it isn't there doubles the pause, up to rereadAfter: what has been missing for long may stay so.
	retryAfter = 3 * time.Second
	// informerRetry is the pause before asking again for an informer that couldn't be had, such as of a CRD not there yet.
	informerRetry = 2 * time.Second
	// compileTimeout bounds the reading of all the keys of one policy, which may name 64 Secrets: as long as the pause before they
	// are read again. A policy must not keep a compiler from the others for longer.
	compileTimeout = rereadAfter
	// firstTimeout bounds the reading of the keys of all policies before the first answer. Secrets that aren't to be had by then,
	// because the API server is slow in giving them or somebody named thousands, must not keep the webhook from starting: their
	// policies refuse, and are compiled anew every few seconds.
	firstTimeout = 30 * time.Second
	// namespaceTimeout bounds the live GET of a namespace that the informer doesn't know, within an admission's own deadline.
	namespaceTimeout = 3 * time.Second
)

// How many policies are compiled side by side: compiling waits for Secrets, and hardly computes.
const (
	compilers = 8 // ImagePolicies
	// clusterCompilers are the ClusterImagePolicies' own, with a queue of their own: however many policies tenants write, the
	// edit of an admin, such as a revocation, doesn't wait behind them.
	clusterCompilers = 2
)

// The errors of Set. Either way no policy can be told, and so nothing is admitted.
var (
	ErrNotSynced        = errors.New("the policies of the cluster are not all known yet")
	ErrNamespaceUnknown = errors.New("the namespace's labels can't be told")
)

// Informers gives informers, as cache.Cache does.
type Informers interface {
	GetInformer(ctx context.Context, obj client.Object, opts ...cache.InformerGetOption) (cache.Informer, error)
}

// StoreConfig says what a Store is made of.
type StoreConfig struct {
	// Informers are asked for policies as unstructured objects, since decoding into types would drop the fields that this
	// version doesn't know, and for namespaces as metadata.
	Informers Informers
	// Live asks the API server itself (the manager's GetAPIReader): for Secrets, ConfigMaps and new namespaces.
	Live client.Reader
	// Namespace is the install's own.
	Namespace string
	// Unmatched is the install's rule for namespaces that no enforcing policy closes.
	Unmatched policy.UnmatchedRule
	// RolloutAudit says that the API server admits Pods while the webhook doesn't answer (failurePolicy Ignore), so that
	// nothing is guaranteed: the status of each policy that enforces says so.
	RolloutAudit bool
	// Trust says how the mirrors of TrustRoots are asked, and who is told of it. The Store follows them itself.
	Trust trust.Options
	// OnChange, if set, is called after each change of the policies. It must not block.
	OnChange func()
}

// Store holds the compiled policies of a cluster, the TrustRoots that they refer to and the ImageExceptions that loosen them, and keeps them
// up to date. Every replica runs one.
type Store struct {
	config       StoreConfig
	compiler     Compiler
	queue        workqueue.TypedDelayingInterface[key] // of ImagePolicies
	clusterQueue workqueue.TypedDelayingInterface[key] // of ClusterImagePolicies
	roots        *trustStore
	exceptions   *exceptionStore
	started      atomic.Bool

	snapshot   atomic.Pointer[snapshot] // nil until everything is known
	namespaces namespaces

	mu      sync.Mutex
	objects map[string]map[string]*unstructured.Unstructured // as the informers gave them; not to be changed
	entries map[string]map[string]*entry                     // by namespace ("" for the cluster's), then name, as objects are
	watcher func(key)                                        // told of each policy that may have a new status
}

// key names a policy; its namespace is empty for a ClusterImagePolicy.
type key = policy.Name

// NewStore returns a Store, which knows nothing before Start.
func NewStore(c StoreConfig) (*Store, error) {
	if c.Informers == nil || c.Live == nil || c.Namespace == "" {
		return nil, errors.New("a Store needs informers, a live reader and the install's namespace")
	}
	s := &Store{
		config:       c,
		compiler:     Compiler{Materials: ClusterMaterials{Reader: c.Live}, Namespace: c.Namespace, RolloutAudit: c.RolloutAudit},
		queue:        workqueue.NewTypedDelayingQueue[key](),
		clusterQueue: workqueue.NewTypedDelayingQueue[key](),
		namespaces:   namespaces{m: map[string]*namespace{}},
		objects:      map[string]map[string]*unstructured.Unstructured{},
		entries:      map[string]map[string]*entry{},
	}
	var err error
	s.exceptions = newExceptionStore(func() {
		if s.Synced() { // of the first there is told with the first policies
			s.changed()
		}
	})
	s.roots, err = newTrustStore(s.compiler.Materials, c.Namespace, c.Trust, s.trustChanged)
	return s, err
}

// Synced tells whether every policy, TrustRoot, ImageException and namespace is known and compiled. It never turns false again: with the API server
// gone, the last policies stay in force.
func (s *Store) Synced() bool { return s.snapshot.Load() != nil }

// Set returns the policies of a namespace, and its exceptions. Only the namespace that the request itself names may be asked for, never one
// written in an object. Before everything is synced the error is ErrNotSynced; where the namespace's labels can't be told,
// it wraps ErrNamespaceUnknown: a namespace without labels would escape every policy that selects by them.
//
// The slices are shared and must not be changed.
func (s *Store) Set(ctx context.Context, namespace string) (policy.Set, error) {
	snap := s.snapshot.Load()
	if snap == nil {
		return policy.Set{}, ErrNotSynced
	}
	ns, known := s.namespaces.get(namespace)
	if !known {
		var err error
		if ns, err = s.liveNamespace(ctx, namespace); err != nil {
			return policy.Set{}, err
		}
	}
	return policy.Set{
		Cluster: ns.choose(snap), Namespaced: snap.namespaced[namespace], Unmatched: s.config.Unmatched, Exceptions: s.exceptions.of(namespace),
	}, nil
}

// liveNamespace asks the API server for a namespace that the informer doesn't know: it may be newer than the last event.
func (s *Store) liveNamespace(ctx context.Context, name string) (*namespace, error) {
	if name == "" {
		return nil, fmt.Errorf("%w: the request names none", ErrNamespaceUnknown)
	}
	ctx, cancel := context.WithTimeout(ctx, namespaceTimeout)
	defer cancel()
	got := newNamespace()
	if err := s.config.Live.Get(ctx, client.ObjectKey{Name: name}, got); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNamespaceUnknown, err)
	}
	if got.Name != name {
		return nil, fmt.Errorf("%w: asked for %q, the answer is %q", ErrNamespaceUnknown, name, got.Name)
	}
	return &namespace{labels: got.Labels}, nil
}

// newNamespace is a namespace of which only metadata are read.
func newNamespace() *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
}

// newObject is a policy of a kind, whole as it was stored.
func newObject(kind string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(v1alpha1.GroupVersion().WithKind(kind))
	return u
}
