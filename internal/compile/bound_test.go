package compile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// A tenant's thousands of policies cost one verdict an image, hurt that tenant alone, and are mended by deleting some.
func TestTooManyPoliciesOfANamespaceRefuseThereAndNowhereElse(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.namespace("dev", nil, true)
		w.apply(inNamespace(namespaced(allowAll), "dev"), 1, "dev")
		var last *unstructured.Unstructured
		for i := range MaxPolicies {
			last = w.apply(named(namespaced(bySecret), fmt.Sprintf("p-%d", i)), 1, fmt.Sprint(i))
		}
		w.secret("payments", "cosign-pub", "cosign.pub", newKey(t))
		w.start()
		if n := len(w.set("payments").Namespaced); n != MaxPolicies {
			t.Fatalf("%d policies at the bound", n)
		}
		s := w.writer(nil)
		w.settle()

		more := w.apply(named(namespaced(allowAll), "more"), 1, "more")
		w.settle()
		p := only(t, w.set("payments").Namespaced)
		want := "65 ImagePolicies, at most 64 are judged in one namespace: delete or merge some"
		if p.Unusable != want || p.Mode != policy.Enforce || p.Name.String() != "payments/(all)" || !refuses(t, p, "anywhere.example.com/app") {
			t.Errorf("%+v", p)
		}
		if p := only(t, w.set("dev").Namespaced); p.Unusable != "" {
			t.Errorf("another namespace: %s", p.Unusable)
		}
		for _, name := range []string{"more", "p-0"} {
			if c := w.status(t, KindImagePolicy, "payments", name).Conditions; c[0].Reason != ReasonTooManyPolicies || !strings.Contains(c[0].Message, "more than 64") {
				t.Errorf("%s: %+v", name, c)
			}
		}
		reads, writes := w.count("Secret/payments/cosign-pub"), s.count()
		time.Sleep(10 * rereadAfter)
		if w.count("Secret/payments/cosign-pub") != reads || s.count() != writes {
			t.Error("policies that aren't judged are worked on")
		}

		w.away(errors.New("away")) // the keys that were read before are still known
		w.remove(more)
		w.settle()
		got := w.set("payments").Namespaced
		if len(got) != MaxPolicies {
			t.Fatalf("%d policies", len(got))
		}
		for _, p := range got {
			if p.Unusable != "" || p.KeysNotReadAgain == "" {
				t.Errorf("%s: unusable %q, not read again %q", p.Name, p.Unusable, p.KeysNotReadAgain)
			}
		}
		w.away(nil)
		w.remove(last)
		time.Sleep(rereadAfter)
		synctest.Wait()
		if got := w.set("payments").Namespaced; len(got) != MaxPolicies-1 || got[0].KeysNotReadAgain != "" {
			t.Errorf("%d policies, %q", len(got), got[0].KeysNotReadAgain)
		}
	})
}

func TestTooManyPoliciesFromTheStartRefuse(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		for i := range MaxPolicies + 1 {
			w.apply(named(namespaced(bySecret), fmt.Sprintf("p-%d", i)), 1, fmt.Sprint(i))
		}
		w.start()
		if p := only(t, w.set("payments").Namespaced); !refuses(t, p, "anywhere.example.com/app") {
			t.Errorf("%+v", p)
		}
		if n := w.count("Secret/payments/cosign-pub"); n != 0 {
			t.Errorf("%d GETs for policies that aren't judged", n)
		}
	})
}

func TestTooManyPoliciesOfAClusterRefuseEverywhere(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		var last *unstructured.Unstructured
		for i := range MaxClusterPolicies + 1 {
			last = w.apply(named(clusterWide("namespaceSelector: {matchLabels: {env: production}}\n"+allowAll), fmt.Sprintf("c-%d", i)), 1, fmt.Sprint(i))
		}
		w.start()
		p := only(t, w.set("payments").Cluster)
		if !strings.HasPrefix(p.Unusable, "257 ClusterImagePolicies, at most 256") || !refuses(t, p, "anywhere.example.com/app") {
			t.Errorf("%+v", p)
		}
		w.remove(last)
		w.settle()
		if got := w.set("payments").Cluster; len(got) != 0 {
			t.Errorf("within the bound, %d policies select a namespace that none selects: %v", len(got), names(got))
		}
	})
}

// What the CLI says of files is what the cluster does.
func TestTooManyPoliciesInFilesRefuseAsInACluster(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{MaxPolicies: MaxPolicies, MaxPolicies + 1: 1} {
		var text strings.Builder
		for i := range n {
			text.WriteString("---\n" + named(namespaced(allowAll), fmt.Sprintf("p-%d", i)))
		}
		b, err := LoadFiles(File{Name: "policies", Reader: strings.NewReader(text.String())})
		if err != nil {
			t.Fatal(err)
		}
		set, _ := b.Set(t.Context(), "payments", policy.UnmatchedWarn)
		if len(set.Namespaced) != want || (set.Namespaced[0].Unusable != "") != (n > MaxPolicies) {
			t.Errorf("%d policies became %v", n, names(set.Namespaced))
		}
	}
}

func TestAMissingSecretIsAskedForEverLessOften(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(namespaced(bySecret), 1, "1")
		w.start()
		began := time.Now().Add(-500 * time.Millisecond)
		reads := 1
		for _, at := range []time.Duration{3, 9, 21, 45, 75, 105} { // pauses of 3, 6, 12, 24, 30 and 30 seconds
			for _, moment := range []struct {
				at   time.Duration
				more int
			}{{at*time.Second - 100*time.Millisecond, 0}, {at*time.Second + 100*time.Millisecond, 1}} {
				time.Sleep(time.Until(began.Add(moment.at)))
				synctest.Wait()
				reads += moment.more
				if n := w.count("Secret/payments/cosign-pub"); n != reads {
					t.Fatalf("after %s: read %d times, want %d", moment.at, n, reads)
				}
			}
		}
		w.apply(namespaced("mode: Warn\n"+bySecret), 2, "1")
		time.Sleep(retryAfter + time.Second)
		synctest.Wait()
		if n := w.count("Secret/payments/cosign-pub"); n != reads+2 {
			t.Errorf("an edit didn't begin anew: %d reads, want 2", n-reads)
		}
	})
}

func TestASecretIsReadOnceForAllAuthorities(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		spec := strings.Builder{}
		spec.WriteString("images: {include: [registry.example.com/**]}\nrequire: {signature: {by: [a-0]}}\nauthorities:\n")
		for i := range maxAuthorities {
			fmt.Fprintf(&spec, "- name: a-%d\n  key: {%sRef: {name: keys, key: key-%d}}\n", i, []string{"secret", "configMap"}[i%2], i)
		}
		w.apply(namespaced(spec.String()), 1, "1")
		w.start()
		if p := only(t, w.set("payments").Namespaced); !strings.Contains(p.Unusable, "Secret payments/keys: not found") {
			t.Errorf("%q", p.Unusable)
		}
		if s, c := w.count("Secret/payments/keys"), w.count("ConfigMap/payments/keys"); s != 1 || c != 1 {
			t.Errorf("the Secret was read %d times, the ConfigMap %d times", s, c)
		}
	})
}

// However slow the Secrets of tenants, the edit of a ClusterImagePolicy is in force at once.
func TestAClusterPolicyDoesNotWaitBehindTenants(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(clusterWide(allowAll), 1, "all")
		w.start()
		w.slowly("/payments/", time.Minute)
		for i := range 2 * compilers {
			w.apply(named(namespaced(bySecret), fmt.Sprintf("p-%d", i)), 1, fmt.Sprint(i))
		}
		w.settle()
		w.apply(clusterWide("images: {include: ['**']}\ndeny: {reason: withdrawn}"), 2, "all")
		w.settle()
		if p := only(t, w.set("payments").Cluster); p.Action != policy.ActionDeny {
			t.Errorf("the revocation waits: %+v", p)
		}
	})
}

// Deleting a key's Secret is an answer: the key is used for a day, of which everyone is told, and then no longer.
func TestAKeyWhoseSecretIsGoneIsUsedForADay(t *testing.T) {
	for name, gone := range map[string]func(w *world){
		"the Secret is deleted":     func(w *world) { w.secret("payments", "cosign-pub", "cosign.pub", "") },
		"the entry is gone":         func(w *world) { w.secret("payments", "cosign-pub", "other", "x") },
		"the entry is no key":       func(w *world) { w.secret("payments", "cosign-pub", "cosign.pub", "revoked") },
		"the entry is now too weak": func(w *world) { w.secret("payments", "cosign-pub", "cosign.pub", weakKey(w.t)) },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				key := newKey(t)
				w.namespace("payments", nil, true)
				w.secret("payments", "cosign-pub", "cosign.pub", key)
				w.apply(namespaced(bySecret), 1, "1")
				w.start()
				gone(w)
				time.Sleep(keptFor - rereadAfter)
				synctest.Wait()
				if p := only(t, w.set("payments").Namespaced); p.Unusable != "" || !strings.Contains(p.KeysNotReadAgain, "is used until 24h0m0s after") {
					t.Fatalf("within a day: unusable %q, not read again %q", p.Unusable, p.KeysNotReadAgain)
				}
				time.Sleep(2 * rereadAfter)
				synctest.Wait()
				if p := only(t, w.set("payments").Namespaced); !strings.Contains(p.Unusable, "Secret payments/cosign-pub") || !refuses(t, p, "registry.example.com/app") {
					t.Errorf("after a day: %+v", p)
				}
				w.away(errors.New("away")) // a failure doesn't bring it back
				time.Sleep(2 * rereadAfter)
				synctest.Wait()
				if p := only(t, w.set("payments").Namespaced); p.Unusable == "" {
					t.Error("a failure revived the key")
				}
				w.away(nil)
				w.secret("payments", "cosign-pub", "cosign.pub", key)
				time.Sleep(2 * rereadAfter)
				synctest.Wait()
				if p := only(t, w.set("payments").Namespaced); p.Unusable != "" || p.KeysNotReadAgain != "" {
					t.Errorf("there again: unusable %q, not read again %q", p.Unusable, p.KeysNotReadAgain)
				}
			})
		})
	}
}

func TestAKeyThatCannotBeReadStaysUntilThereIsAnAnswer(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.secret("payments", "cosign-pub", "cosign.pub", newKey(t))
		w.apply(namespaced(bySecret), 1, "1")
		w.start()
		w.away(errors.New("connection refused"))
		time.Sleep(3 * keptFor)
		synctest.Wait()
		if p := only(t, w.set("payments").Namespaced); p.Unusable != "" || !strings.Contains(p.KeysNotReadAgain, "connection refused") {
			t.Errorf("unusable %q, not read again %q", p.Unusable, p.KeysNotReadAgain)
		}
	})
}
