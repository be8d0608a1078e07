package compile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/pkg/policy"
)

func TestNamedTellsWhichRegistriesPoliciesName(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		include := func(patterns ...string) string {
			return "images: {include: ['" + strings.Join(patterns, "', '") + "'], exclude: [excluded.example/**]}\nallow: {reason: r}"
		}
		w.apply(clusterWide(include("registry.example.com/**", "**", "docker.io/library/nginx")), 1, "1")
		w.apply(namespaced(include("*.dev.example/team/**", "registry.example.org:5000/a", "**@"+someDigest, "**/anywhere", "*/anything", "*.*/a", "**:8443/a", "**.internal/a", "ghcr.io/a@"+someDigest)), 1, "2")
		if w.store.Named("registry.example.com") {
			t.Error("named before anything is known")
		}
		w.start()
		for host, want := range map[string]bool{
			"registry.example.com": true, "registry.example.com:443": true, "registry.example.com:5000": false, "evil-registry.example.com": false,
			"eu.dev.example": true, "dev.example": false, "a.eu.dev.example": false, "eu.dev.example.evil.example": false,
			"registry.example.org:5000": true, "registry.example.org": false,
			"docker.io": true, "index.docker.io": true, "registry-1.docker.io": true, "auth.docker.io": false,
			"ghcr.io": true, "evil.example": false, "evil.example:8443": false, "excluded.example": false, "localhost": false, "": false, "vault.internal": false, "metadata.google.internal": false,
		} {
			if got := w.store.Named(host); got != want {
				t.Errorf("%q: %v, want %v", host, got, want)
			}
		}
	})
}

func TestNamedFollowsThePolicies(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		only := func(host string) string { return "images: {include: ['" + host + "/**']}\nallow: {reason: r}" }
		named := func(want ...string) {
			t.Helper()
			w.settle()
			for _, host := range []string{"a.example", "b.example", "c.example"} {
				if got, want := w.store.Named(host), strings.Contains(strings.Join(want, " "), host); got != want {
					t.Errorf("%s: %v, want %v", host, got, want)
				}
			}
		}
		w.start()
		named()
		first := w.apply(namespaced(only("a.example")), 1, "1")
		named("a.example")
		second := w.apply(inNamespace(namespaced(only("a.example")), "dev"), 1, "2")
		cluster := w.apply(clusterWide(only("b.example")), 1, "3")
		named("a.example", "b.example")
		w.remove(first)
		named("a.example", "b.example") // another namespace's policy names it still
		w.apply(inNamespace(namespaced(only("c.example")), "dev"), 2, "2")
		named("b.example", "c.example")
		w.apply(clusterWide("images: {include: ['**']}\nallow: {reason: r}"), 2, "3")
		named("c.example")
		w.remove(second)
		w.remove(cluster)
		named()
		w.apply(namespaced(replaceOnce(bySecret, "registry.example.com", "a.example")), 1, "4") // unusable without its key, and yet it names
		named("a.example")
	})
}

// Behind a proxy it is asked before every request to a registry.
func BenchmarkNamed(b *testing.B) {
	s := &snapshot{hosts: map[string]hosts{}}
	for i := range 1000 {
		p := &policy.Policy{}
		for _, text := range []string{"registry.example.com/**", "ghcr.io/**", fmt.Sprintf("*.r%d.example.com/**", i%50)} {
			pattern, err := policy.ParsePattern(text)
			if err != nil {
				b.Fatal(err)
			}
			p.Images.Include = append(p.Images.Include, pattern)
		}
		s.name(fmt.Sprint(i), []*policy.Policy{p})
	}
	store := &Store{}
	store.snapshot.Store(s)
	for b.Loop() {
		if store.Named("elsewhere.example.com") {
			b.Fatal("named")
		}
	}
}

// A snapshot that was given out isn't changed by a later one.
func TestASnapshotKeepsTheHostsItWasMadeWith(t *testing.T) {
	t.Parallel()
	naming := func(host string) map[string]*entry {
		p, r := Compiler{}.Compile(t.Context(), mustDecode(t, namespaced("images: {include: ['"+host+"/**']}\nallow: {reason: r}")))
		return map[string]*entry{"p": {policy: p, report: r}}
	}
	first := newSnapshot(map[string]map[string]*entry{"payments": naming("a.example")})
	for _, next := range []*snapshot{first.with("payments", naming("b.example")), first.with("payments", nil), first.with("dev", naming("c.example"))} {
		if len(first.named) != 1 || len(first.hosts) != 1 || first.hosts["payments"]["a.example"].String() != "a.example/**" {
			t.Fatalf("changed to %v", first.hosts)
		}
		if want := len(next.hosts); len(next.named) != want {
			t.Errorf("%d hosts are named, want %d", len(next.named), want)
		}
	}
}
