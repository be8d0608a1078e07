package compile

import (
	"maps"
	"slices"
	"time"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
)

// TrustRootState tells how fresh a TrustRoot is.
type TrustRootState struct {
	Name string
	// Ready tells whether anything can be judged by it.
	Ready bool
	// Used tells whether a policy refers to it.
	Used bool
	// CheckedAt is when it was last known to be current: of several sources, of the one that was seen longest ago. Zero: nothing in it
	// can be seen anew, or none of it ever was.
	CheckedAt time.Time
	// Expires is when the first of its mirrors' texts will be, or was, no longer used. Zero: none of them has an end.
	Expires time.Time
}

// TrustRoots returns how fresh each TrustRoot is, in the order of their names. The public good root that comes with the release is
// among them, as sigstore-public, where there is no such object and a policy refers to it.
func (s *Store) TrustRoots() []TrustRootState {
	used := map[string]bool{}
	s.mu.Lock()
	for _, own := range s.entries {
		for _, e := range own {
			for name := range e.roots {
				used[name] = true
			}
		}
	}
	s.mu.Unlock()
	return s.roots.states(used)
}

func (s *trustStore) states(used map[string]bool) []TrustRootState {
	s.mu.Lock()
	entries := maps.Clone(s.entries)
	s.mu.Unlock()
	if entries[DefaultTrustRoot] == nil && used[DefaultTrustRoot] {
		entries[DefaultTrustRoot] = &rootEntry{state: s.embedded, sources: []v1alpha1.TrustRootSource{{Public: &v1alpha1.PublicTrustRoot{}}}}
	}
	var out []TrustRootState
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e := entries[name]
		one := TrustRootState{Name: name, Ready: e.state.Trust != nil, Used: used[name]}
		for i := range e.sources {
			checked, expires := s.times(&e.sources[i], e.kept)
			one.CheckedAt, one.Expires = earlier(one.CheckedAt, checked), earlier(one.Expires, expires)
		}
		out = append(out, one)
	}
	return out
}

// times are when a source was last seen, and until when its text is used.
func (s *trustStore) times(src *v1alpha1.TrustRootSource, kept map[source]keptKey) (checked, expires time.Time) {
	switch {
	case src.Public != nil:
		return trust.PublicGoodDate(), time.Time{}
	case src.SecretRef != nil:
		return kept[source{kindSecret, s.namespace, src.SecretRef.Name, src.SecretRef.Key}].read, time.Time{}
	case src.ConfigMapRef != nil:
		return kept[source{kindConfigMap, s.namespace, src.ConfigMapRef.Name, src.ConfigMapRef.Key}].read, time.Time{}
	case src.TUF != nil:
		got := s.keeper.State(mirrorOf(src.TUF))
		return got.CheckedAt, got.Expires
	}
	return time.Time{}, time.Time{}
}

// earlier is the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
