package evilregistry

import (
	"net/http"
	"slices"
	"sync"
)

// Match says which requests a fault is for. Its zero value matches every
// request; each field that is set narrows it.
//
// A request that authentication turns away never comes this far, so that a
// fault meant for one read is not spent on the 401 before it. Ping and Token
// requests do: they are matched before authentication looks at them.
type Match struct {
	Kind   Kind   // any of these kinds
	Method string // exact, such as "GET"
	Path   string // glob over the URL's path; * stays in a segment, ** crosses
	Repo   string // glob over the repository's path
	Ref    string // glob over the tag or digest
	// If, where set, must agree as well. It may not use the registry.
	If func(*http.Request) bool
}

func (m Match) matches(r *http.Request, to target) bool {
	return (m.Kind == 0 || m.Kind&to.kind != 0) &&
		(m.Method == "" || m.Method == r.Method) &&
		(m.Path == "" || glob(m.Path, r.URL.Path)) &&
		(m.Repo == "" || glob(m.Repo, to.repo)) &&
		(m.Ref == "" || glob(m.Ref, to.ref)) &&
		(m.If == nil || m.If(r))
}

// Rule is a fault in the script.
type Rule struct {
	script *script
	match  Match
	fault  Fault
	left   int // negative: for ever
	hits   int
}

// Hits returns how many requests this rule has answered. A test that sets a
// fault should ask: a fault that nobody met proves nothing.
func (r *Rule) Hits() int {
	r.script.mu.Lock()
	defer r.script.mu.Unlock()
	return r.hits
}

// Remove takes the rule out of the script.
func (r *Rule) Remove() {
	r.script.mu.Lock()
	defer r.script.mu.Unlock()
	r.script.rules = slices.DeleteFunc(r.script.rules, func(other *Rule) bool { return other == r })
}

// On answers every request that m matches with f, until the rule is removed.
//
// Rules are tried in the order in which they were given, and the first that
// matches and is not used up answers. So Once(m, a), Times(2, m, b), On(m, c)
// reads as it happens: a, b, b, then c for ever.
func (r *Registry) On(m Match, f Fault) *Rule { return r.script.add(-1, m, f) }

// Once answers the first request that m matches with f.
func (r *Registry) Once(m Match, f Fault) *Rule { return r.script.add(1, m, f) }

// Times answers the first n requests that m matches with f.
func (r *Registry) Times(n int, m Match, f Fault) *Rule { return r.script.add(n, m, f) }

// ClearFaults empties the script.
func (r *Registry) ClearFaults() {
	r.script.mu.Lock()
	defer r.script.mu.Unlock()
	r.script.rules = nil
}

type script struct {
	mu    sync.Mutex
	rules []*Rule
}

func (s *script) add(times int, m Match, f Fault) *Rule {
	for _, pattern := range []string{m.Path, m.Repo, m.Ref} {
		mustGlob(pattern)
	}
	if f.serve == nil {
		panic("evilregistry: the zero Fault")
	}
	rule := &Rule{script: s, match: m, fault: f, left: times}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, rule)
	return rule
}

// pick finds the rule for a request and uses it once.
func (s *script) pick(r *http.Request, to target) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rule := range s.rules {
		if rule.left == 0 || !rule.match.matches(r, to) {
			continue
		}
		if rule.left > 0 {
			rule.left--
		}
		rule.hits++
		return rule.fault, true
	}
	return Fault{}, false
}
