package compile

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// ClusterQuery says what FromCluster asks a cluster for.
type ClusterQuery struct {
	// Reader asks the API server with the rights of whoever runs the CLI.
	Reader client.Reader
	// Namespace is the one whose policies are asked for.
	Namespace string
	// InstallNamespace is the install's, where a ClusterImagePolicy's references are read if its status has no keys.
	InstallNamespace string
	// Unmatched is the install's rule for namespaces that no enforcing policy closes.
	Unmatched policy.UnmatchedRule
	// Mirror asks the mirror of a TrustRoot whose status has no texts yet, as FetchMirror's do. Where it is nil, none is asked.
	Mirror func(context.Context, trust.MirrorConfig) trust.State
}

// ClusterAnswer is the policies of one namespace of a cluster.
type ClusterAnswer struct {
	Set policy.Set
	// Unresolved is what was not found. Those policies are in the set, and refuse what they match.
	Unresolved []Unresolved
	// Notes say in one line each where the answer may differ from the cluster's own, such as for a stale status.
	Notes []string
}

// FromCluster asks a cluster for the policies of a namespace, and for its exceptions. Referenced keys are taken from the policies' statuses, which
// publish them, so that nobody needs access to Secrets; where a status has none, or is about an older generation of its policy,
// the Secret or ConfigMap itself is read. So it is with TrustRoots.
func FromCluster(ctx context.Context, q ClusterQuery) (ClusterAnswer, error) {
	answer := ClusterAnswer{Set: policy.Set{Unmatched: q.Unmatched}}
	cluster, err := list(ctx, q.Reader, KindClusterImagePolicy)
	if err != nil {
		return ClusterAnswer{}, err
	}
	own, err := list(ctx, q.Reader, KindImagePolicy, client.InNamespace(q.Namespace))
	if err != nil {
		return ClusterAnswer{}, err
	}
	exceptions, notes, err := q.exceptions(ctx, time.Now())
	if err != nil {
		return ClusterAnswer{}, err
	}
	answer.Set.Exceptions, answer.Notes = exceptions, notes
	roots := &clusterRoots{q: q, found: map[string]trusted{}}
	var ns *labels.Set // asked for only if a policy selects by labels, since not everyone may read namespaces
	for i := range cluster {
		p, r, u, notes := q.compile(ctx, &cluster[i], roots)
		if !r.Namespaces.Empty() {
			if ns == nil {
				if ns, err = q.labels(ctx); err != nil {
					return ClusterAnswer{}, err
				}
			}
			if !r.Namespaces.Matches(*ns) {
				continue
			}
		}
		answer.Set.Cluster = append(answer.Set.Cluster, p)
		answer.Unresolved, answer.Notes = append(answer.Unresolved, u...), append(answer.Notes, notes...)
	}
	for i := range own {
		p, _, u, notes := q.compile(ctx, &own[i], roots)
		answer.Set.Namespaced = append(answer.Set.Namespaced, p)
		answer.Unresolved, answer.Notes = append(answer.Unresolved, u...), append(answer.Notes, notes...)
	}
	if ns == nil && len(answer.Set.All()) == 0 { // or a mistyped name would be a namespace that nothing closes
		if _, err := q.labels(ctx); apierrors.IsNotFound(err) {
			return ClusterAnswer{}, fmt.Errorf("there is no namespace %s in the cluster: %w", q.Namespace, err)
		}
	}
	sortByName(answer.Set.Cluster)
	sortByName(answer.Set.Namespaced)
	answer.Set = bounded(answer.Set, q.Namespace, len(cluster))
	answer.Notes = append(answer.Notes, roots.notes...)
	return answer, nil
}

// list lists policies as they were stored: decoding into types would drop unknown fields.
func list(ctx context.Context, r client.Reader, kind string, opts ...client.ListOption) ([]unstructured.Unstructured, error) {
	var u unstructured.UnstructuredList
	u.SetGroupVersionKind(v1alpha1.GroupVersion().WithKind(kind + "List"))
	if err := r.List(ctx, &u, opts...); err != nil {
		return nil, fmt.Errorf("listing %s objects: %w", kind, err)
	}
	return u.Items, nil
}

func (q ClusterQuery) labels(ctx context.Context) (*labels.Set, error) {
	got := newNamespace()
	if err := q.Reader.Get(ctx, client.ObjectKey{Name: q.Namespace}, got); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNamespaceUnknown, err)
	}
	if got.Name != q.Namespace {
		return nil, fmt.Errorf("%w: asked for %q, the answer is %q", ErrNamespaceUnknown, q.Namespace, got.Name)
	}
	l := labels.Set(got.Labels)
	return &l, nil
}

func (q ClusterQuery) compile(ctx context.Context, u *unstructured.Unstructured, roots TrustRoots) (*policy.Policy, Report, []Unresolved, []string) {
	name, kind := keyOf(u), u.GetKind()
	raw, err := json.Marshal(u)
	if err != nil {
		raw = nil // which then can't be read, and refuses
	}
	materials := published{live: eachOnce(ClusterMaterials{Reader: q.Reader}), keys: map[source][]byte{}}
	var notes []string
	if obj, err := Decode(raw); err == nil {
		notes = materials.take(obj, q.InstallNamespace)
	}
	p, r := Compiler{Materials: materials, TrustRoots: roots, Namespace: q.InstallNamespace}.compileRaw(ctx, raw, name)
	for i := range notes {
		notes[i] = fmt.Sprintf("%s %s: %s", kind, name, notes[i])
	}
	return p, r, unresolvedOf(kind, name, r), notes
}

// published is the keys that the status of one policy shows, and the cluster's Secrets and ConfigMaps for the rest.
type published struct {
	live Materials
	keys map[source][]byte
}

// take takes the keys of references from a policy's status, and says what is to be known of them.
func (m published) take(obj Object, install string) (notes []string) {
	v, err := viewOf(obj)
	if err != nil {
		return nil
	}
	if seen, now := v.status.ObservedGeneration, obj.GetGeneration(); seen != now {
		note, then := "no status yet: is the webhook running?", " Referenced keys are read from their Secrets and ConfigMaps"
		if seen != 0 {
			note, then = fmt.Sprintf("its status is stale (of generation %d, the policy is at %d)", seen, now), ": referenced keys are read from their Secrets and ConfigMaps"
		}
		if slices.ContainsFunc(v.spec.Authorities, func(a v1alpha1.Authority) bool {
			return a.Key != nil && (a.Key.SecretRef != nil || a.Key.ConfigMapRef != nil)
		}) {
			note += then
		}
		return []string{note}
	}
	namespace := obj.GetNamespace()
	if v.cluster != nil {
		namespace = install
	}
	shown := map[string]v1alpha1.AuthorityStatus{}
	for _, a := range v.status.Authorities {
		shown[a.Name] = a
	}
	for _, a := range v.spec.Authorities {
		if a.Key == nil {
			continue
		}
		src, ok := sourceOf(a.Key, namespace)
		if !ok {
			continue
		}
		s := shown[a.Name]
		if s.LastReadError != "" {
			notes = append(notes, "authority "+a.Name+": the cluster could not read its keys again: "+line(s.LastReadError, maxProblem))
		}
		var pem strings.Builder
		for _, k := range s.PublicKeys {
			pem.WriteString(k.PEM)
		}
		if pem.Len() > 0 {
			m.keys[src] = []byte(pem.String())
		}
	}
	return notes
}

// Secret implements Materials.
func (m published) Secret(ctx context.Context, namespace, name, key string) ([]byte, error) {
	if data, ok := m.keys[source{kindSecret, namespace, name, key}]; ok {
		return data, nil
	}
	return m.live.Secret(ctx, namespace, name, key)
}

// ConfigMap implements Materials.
func (m published) ConfigMap(ctx context.Context, namespace, name, key string) ([]byte, error) {
	if data, ok := m.keys[source{kindConfigMap, namespace, name, key}]; ok {
		return data, nil
	}
	return m.live.ConfigMap(ctx, namespace, name, key)
}
