package compile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// Bundle is policies from files with all that they refer to, and what loosens them. It implements Materials and TrustRoots.
type Bundle struct {
	// InstallNamespace is the install's namespace, where a ClusterImagePolicy's references are read. Where it is empty,
	// they are those of the only Secret or ConfigMap of that name.
	InstallNamespace string
	// Mirror asks the mirror of a TrustRoot, as FetchMirror's do. Where it is nil, what refers to one is unresolved.
	Mirror func(context.Context, trust.MirrorConfig) trust.State

	policies   []Object
	exceptions []*v1alpha1.ImageException
	namespaces map[string]map[string]string // labels by name
	stored     []stored
	roots      map[string]*v1alpha1.TrustRoot

	mu      sync.Mutex
	trusted map[source]trusted // what was made of roots
}

// stored is a Secret or ConfigMap. Without a namespace it is of whichever namespace it is sought in, as kubectl would
// create it there.
type stored struct {
	object  source // without key
	entries map[string][]byte
}

// Unresolved is something that a policy refers to and that wasn't found.
type Unresolved struct {
	// Kind of the policy.
	Kind string
	// Policy is the policy's name.
	Policy policy.Name
	// Authority is the authority's name; empty where it is the policy itself.
	Authority string
	// Problem says what wasn't found, and why.
	Problem string
}

// String says it in one line.
func (u Unresolved) String() string {
	if u.Authority == "" {
		return fmt.Sprintf("%s %s: %s", u.Kind, u.Policy, u.Problem)
	}
	return fmt.Sprintf("%s %s: authority %s: %s", u.Kind, u.Policy, u.Authority, u.Problem)
}

func (b *Bundle) add(object source, entries map[string][]byte) {
	b.stored = append(b.stored, stored{object: object, entries: entries})
}

// Set returns the policies of a namespace with its exceptions, and what of them is unresolved: those policies are in the set, and refuse what
// they match. A namespace of which there is no document has the one label that the API server gives each.
func (b *Bundle) Set(ctx context.Context, namespace string, unmatched policy.UnmatchedRule) (policy.Set, []Unresolved) {
	own, known := b.namespaces[namespace]
	if !known {
		own = labels.Set{corev1.LabelMetadataName: namespace}
	}
	set := policy.Set{Unmatched: unmatched, Exceptions: b.exceptionsOf(namespace, time.Now())}
	var unresolved []Unresolved
	cluster := 0
	compiler := Compiler{Materials: b, TrustRoots: b, Namespace: b.InstallNamespace}
	for _, obj := range b.policies {
		v, err := viewOf(obj)
		if err != nil {
			continue // LoadFiles takes no other
		}
		if v.cluster == nil && v.object.GetNamespace() == "" {
			here, _ := v.object.DeepCopyObject().(Object)
			here.SetNamespace(namespace)
			v.object = here
		}
		if v.cluster == nil && v.object.GetNamespace() != namespace {
			continue
		}
		if v.cluster != nil {
			cluster++
		}
		p, r := compiler.Compile(ctx, v.object)
		if !known && asksForLabels(r.Namespaces) {
			unresolved = append(unresolved, Unresolved{Kind: v.kind, Policy: p.Name, Problem: fmt.Sprintf(
				"spec.namespaceSelector: selects by labels, and there is no Namespace %s among the files: add it, with its labels", namespace)})
		}
		switch {
		case !r.Namespaces.Matches(labels.Set(own)):
			continue
		case v.cluster != nil:
			set.Cluster = append(set.Cluster, p)
		default:
			set.Namespaced = append(set.Namespaced, p)
		}
		unresolved = append(unresolved, unresolvedOf(v.kind, p.Name, r)...)
	}
	sortByName(set.Cluster)
	sortByName(set.Namespaced)
	return bounded(set, namespace, cluster), unresolved
}

// asksForLabels tells whether a selector needs more than the one label that every namespace has, its name.
func asksForLabels(s labels.Selector) bool {
	requirements, _ := s.Requirements()
	return slices.ContainsFunc(requirements, func(r labels.Requirement) bool { return r.Key() != corev1.LabelMetadataName })
}

func sortByName(list []*policy.Policy) {
	slices.SortFunc(list, func(a, b *policy.Policy) int { return strings.Compare(a.Name.Name, b.Name.Name) })
}

func unresolvedOf(kind string, name policy.Name, r Report) []Unresolved {
	var out []Unresolved
	for _, a := range r.Authorities {
		if a.Problem != "" && (a.Source != "" || a.TrustRootMissing) {
			out = append(out, Unresolved{Kind: kind, Policy: name, Authority: a.Name, Problem: a.Problem})
		}
	}
	return out
}

// Secret implements Materials.
func (b *Bundle) Secret(_ context.Context, namespace, name, key string) ([]byte, error) {
	return b.read(source{kindSecret, namespace, name, key})
}

// ConfigMap implements Materials.
func (b *Bundle) ConfigMap(_ context.Context, namespace, name, key string) ([]byte, error) {
	return b.read(source{kindConfigMap, namespace, name, key})
}

// read finds an entry: in the object of that namespace, or in one without. An empty namespace asks for the only one.
func (b *Bundle) read(src source) ([]byte, error) {
	var found []stored
	for _, s := range b.stored {
		if s.object.kind == src.kind && s.object.name == src.name && (src.namespace == "" || s.object.namespace == src.namespace) {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		for _, s := range b.stored {
			if s.object.kind == src.kind && s.object.name == src.name && s.object.namespace == "" {
				found = append(found, s)
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%s: not among the files", src.object())
	case 1:
	default:
		return nil, fmt.Errorf("%s: %w", src.object(), errAmbiguous)
	}
	data, ok := found[0].entries[src.key]
	if !ok {
		return nil, errNoEntry(src)
	}
	if data == nil {
		data = []byte{} // an empty entry is one, and no key
	}
	return data, nil
}

var errAmbiguous = errors.New("several namespaces have one, and which is the install's is not said")
