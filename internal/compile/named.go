package compile

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// Named tells whether any policy of the cluster, in whichever namespace, names a registry in what it includes, or as where the papers of
// one of its authorities are kept. host is HOST or
// HOST:PORT. Behind an HTTP proxy, which connects in our place, only such a registry may be asked for: the addresses that a
// stranger's host name stands for can't be looked at there. A pattern that leaves the host open, or how deep it is, such as ** or **.internal/**, names none.
//
// Before everything is synced no registry is named.
func (s *Store) Named(host string) bool {
	snap := s.snapshot.Load()
	return snap != nil && slices.ContainsFunc(snap.named, func(p policy.Pattern) bool { return p.MatchesHost(host) })
}

// hostOf is the host that a pattern names, as it was written; empty where it leaves the host open.
func hostOf(p policy.Pattern) string {
	host, _, ok := strings.Cut(p.String(), "/")
	name, _, _ := strings.Cut(host, ":")
	if !ok || p.Any() || strings.Contains(name, "**") || strings.Trim(name, "*.") == "" {
		return ""
	}
	return host
}

// hosts are patterns, one for each host that some of them name.
type hosts map[string]policy.Pattern

// hostsOf returns the hosts that policies name: in what they include, and in what they want of authorities whose papers are elsewhere.
func hostsOf(policies []*policy.Policy) hosts {
	var out hosts
	add := func(p policy.Pattern) {
		host := hostOf(p)
		if host == "" {
			return
		}
		if out == nil {
			out = hosts{}
		}
		out[host] = p
	}
	for _, p := range policies {
		for _, pattern := range p.Images.Include {
			add(pattern)
		}
		for _, q := range p.Questions() {
			repository := q.Authority().Repository()
			if repository == (name.Repository{}) {
				continue
			}
			if pattern, err := policy.ParsePattern(repository.RegistryStr() + "/**"); err == nil {
				add(pattern)
			}
		}
	}
	return out
}

// same tells whether two name the same hosts.
func (h hosts) same(o hosts) bool {
	return maps.EqualFunc(h, o, func(policy.Pattern, policy.Pattern) bool { return true })
}

// together returns the hosts of all, each once and in the order of their texts.
func together(all map[string]hosts) []policy.Pattern {
	one := hosts{}
	for _, h := range all {
		maps.Copy(one, h)
	}
	out := make([]policy.Pattern, 0, len(one))
	for _, host := range slices.Sorted(maps.Keys(one)) {
		out = append(out, one[host])
	}
	return out
}

// name notes which hosts the policies of a namespace name, of the cluster where that is empty. Most changes of policies name
// no other hosts, and then nothing is gathered anew.
func (s *snapshot) name(namespace string, policies []*policy.Policy) {
	h := hostsOf(policies)
	if h.same(s.hosts[namespace]) {
		return
	}
	s.hosts = maps.Clone(s.hosts)
	if h == nil {
		delete(s.hosts, namespace)
	} else {
		s.hosts[namespace] = h
	}
	s.named = together(s.hosts)
}
