package compile

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// snapshot is all the policies of a cluster at one moment. It isn't changed once published.
type snapshot struct {
	cluster []clusterPolicy // by name
	// generation counts the changes of cluster, so that namespaces can remember which of them select them.
	generation uint64
	namespaced map[string][]*policy.Policy // by namespace, then by name
	hosts      map[string]hosts            // that the policies of each namespace name, "" for the cluster's
	named      []policy.Pattern            // of hosts, each once
}

// clusterPolicy is a ClusterImagePolicy and the namespaces that it is about.
type clusterPolicy struct {
	policy     *policy.Policy
	namespaces labels.Selector
}

// newSnapshot makes the first snapshot, of entries by namespace and name.
func newSnapshot(entries map[string]map[string]*entry) *snapshot {
	s := &snapshot{
		generation: 1, cluster: clusterPolicies(entries[""]), namespaced: map[string][]*policy.Policy{}, hosts: map[string]hosts{},
	}
	for namespace, own := range entries {
		if namespace != "" {
			s.namespaced[namespace] = namespacedPolicies(namespace, own)
		}
		if h := hostsOf(s.of(namespace)); h != nil {
			s.hosts[namespace] = h
		}
	}
	s.named = together(s.hosts)
	return s
}

// of returns the policies of a namespace, or where that is empty of the cluster.
func (s *snapshot) of(namespace string) []*policy.Policy {
	if namespace != "" {
		return s.namespaced[namespace]
	}
	list := make([]*policy.Policy, 0, len(s.cluster))
	for _, p := range s.cluster {
		list = append(list, p.policy)
	}
	return list
}

// with returns the snapshot with the policies of one namespace, or where that is empty of the cluster, replaced.
func (s *snapshot) with(namespace string, entries map[string]*entry) *snapshot {
	next := *s
	switch {
	case namespace == "":
		next.generation++
		next.cluster = clusterPolicies(entries)
	case len(entries) == 0:
		next.namespaced = maps.Clone(s.namespaced)
		delete(next.namespaced, namespace)
	default:
		next.namespaced = maps.Clone(s.namespaced)
		next.namespaced[namespace] = namespacedPolicies(namespace, entries)
	}
	next.name(namespace, next.of(namespace))
	return &next
}

func clusterPolicies(entries map[string]*entry) []clusterPolicy {
	if p := tooMany("", len(entries)); p != nil {
		return []clusterPolicy{{policy: p, namespaces: labels.Everything()}}
	}
	list := make([]clusterPolicy, 0, len(entries))
	for _, e := range entries {
		list = append(list, clusterPolicy{policy: e.policy, namespaces: e.report.Namespaces})
	}
	slices.SortFunc(list, func(a, b clusterPolicy) int { return strings.Compare(a.policy.Name.Name, b.policy.Name.Name) })
	return list
}

func namespacedPolicies(namespace string, entries map[string]*entry) []*policy.Policy {
	if p := tooMany(namespace, len(entries)); p != nil {
		return []*policy.Policy{p}
	}
	list := make([]*policy.Policy, 0, len(entries))
	for _, e := range entries {
		list = append(list, e.policy)
	}
	slices.SortFunc(list, func(a, b *policy.Policy) int { return strings.Compare(a.Name.Name, b.Name.Name) })
	return list
}

// namespace is what is known of a namespace: its labels, and which cluster policies they led to last.
type namespace struct {
	labels labels.Set
	chosen atomic.Pointer[chosen]
}

// chosen are the cluster policies of one generation that select a namespace.
type chosen struct {
	generation uint64
	policies   []*policy.Policy
}

// choose returns the cluster policies that select the namespace. The slice is shared: it must not be changed.
func (n *namespace) choose(s *snapshot) []*policy.Policy {
	if c := n.chosen.Load(); c != nil && c.generation == s.generation {
		return c.policies
	}
	c := &chosen{generation: s.generation}
	for _, p := range s.cluster {
		if p.namespaces.Matches(n.labels) {
			c.policies = append(c.policies, p.policy)
		}
	}
	n.chosen.Store(c)
	return c.policies
}

// namespaces are those that the informer knows.
type namespaces struct {
	mu sync.RWMutex
	m  map[string]*namespace
}

func (t *namespaces) get(name string) (*namespace, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n, ok := t.m[name]
	return n, ok
}

func (t *namespaces) set(name string, l labels.Set) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.m[name]; ok && maps.Equal(old.labels, l) {
		return // what it led to still holds
	}
	t.m[name] = &namespace{labels: l}
}

func (t *namespaces) remove(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, name)
}
