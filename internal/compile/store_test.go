package compile

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// in runs a test in a world of its own, where time passes at once.
func in(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		f(t, w)
	})
}

const allowAll = "images: {include: ['**']}\nallow: {reason: r}"

func TestStoreAnswersFromWhatInformersSay(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", map[string]string{"env": "production"}, true)
		w.namespace("dev", nil, true)
		w.apply(named(clusterWide(allowAll), "b-all"), 1, "1")
		w.apply(named(clusterWide("namespaceSelector: {matchLabels: {env: production}}\n"+allowAll), "a-production"), 1, "2")
		w.apply(named(namespaced(allowAll), "own-2"), 1, "3")
		w.apply(named(namespaced(allowAll), "own-1"), 1, "4")
		w.start()

		got := w.set("payments")
		if diff := cmp.Diff([]string{"a-production", "b-all"}, names(got.Cluster)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"payments/own-1", "payments/own-2"}, names(got.Namespaced)); diff != "" {
			t.Error(diff)
		}
		if got.Unmatched != policy.UnmatchedWarn {
			t.Errorf("unmatched %v", got.Unmatched)
		}
		got = w.set("dev")
		if diff := cmp.Diff([]string{"b-all"}, names(got.Cluster)); diff != "" || len(got.Namespaced) != 0 {
			t.Error(diff, names(got.Namespaced))
		}
	})
}

func TestStoreFollowsEdits(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.start()
		if got := w.set("payments"); len(got.All()) != 0 {
			t.Fatalf("policies from nowhere: %v", names(got.All()))
		}
		before := w.changed()
		own := w.apply(namespaced(allowAll), 1, "1")
		all := w.apply(clusterWide(allowAll), 1, "2")
		w.settle()
		if p := only(t, w.set("payments").Namespaced); p.Action != policy.ActionAllow {
			t.Errorf("%+v", p)
		}
		w.apply(namespaced("images: {include: ['**']}\ndeny: {reason: r}"), 2, "1")
		w.settle()
		if p := only(t, w.set("payments").Namespaced); p.Action != policy.ActionDeny {
			t.Errorf("after the edit: %+v", p)
		}
		w.remove(own)
		w.remove(all)
		w.settle()
		if got := w.set("payments"); len(got.All()) != 0 {
			t.Errorf("deleted, and yet there: %v", names(got.All()))
		}
		if n := w.changed() - before; n != 5 {
			t.Errorf("OnChange was called %d times for 5 changes", n)
		}
	})
}

func TestStoreFollowsTheLabelsOfNamespaces(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(clusterWide("namespaceSelector: {matchLabels: {env: production}}\n"+allowAll), 1, "1")
		w.start()
		if n := len(w.set("payments").Cluster); n != 0 {
			t.Fatalf("%d policies", n)
		}
		w.namespace("payments", map[string]string{"env": "production"}, true)
		w.settle()
		only(t, w.set("payments").Cluster)
		w.namespace("payments", map[string]string{"env": "dev"}, true)
		w.settle()
		if n := len(w.set("payments").Cluster); n != 0 {
			t.Errorf("%d policies", n)
		}
	})
}

func TestStoreCompilesOnlyWhatChanged(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		u := w.apply(namespaced(signedBy(newKey(t))), 1, "1")
		w.start()
		first, changes := only(t, w.set("payments").Namespaced), w.changed()
		for i := range 3 { // a status, an annotation: nothing that is compiled
			u = u.DeepCopy()
			u.SetAnnotations(map[string]string{"n": strings.Repeat("x", i)})
			if err := unstructured.SetNestedField(u.Object, int64(i), "status", "observedGeneration"); err != nil {
				t.Fatal(err)
			}
			w.sources[KindImagePolicy].Modify(u.DeepCopy())
			w.settle()
		}
		if again := only(t, w.set("payments").Namespaced); again != first || w.changed() != changes {
			t.Errorf("compiled anew, or told as a change (%d)", w.changed()-changes)
		}
	})
}

// A typo reaches the Store as it was written, and the policy refuses: typed informers would have dropped it.
func TestRowR26_ABadPolicyRefusesAndTheOthersWork(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(named(namespaced(strings.Replace(signedBy(newKey(t)), "by: [release]", "by: [release], atleast: 2", 1)), "typo"), 1, "1")
		w.apply(named(namespaced("images: {include: [other.example.com/**]}\nallow: {reason: r}"), "good"), 1, "2")
		w.start()
		got := w.set("payments").Namespaced
		if diff := cmp.Diff([]string{"payments/good", "payments/typo"}, names(got)); diff != "" {
			t.Fatal(diff)
		}
		if got[0].Unusable != "" || refuses(t, got[0], "other.example.com/app") {
			t.Errorf("the good one: %+v", got[0])
		}
		if !strings.Contains(got[1].Unusable, "atleast") || !refuses(t, got[1], "registry.example.com/app") {
			t.Errorf("the bad one: %+v", got[1])
		}
	})
}

func TestRow13_OnlyTheRequestsNamespaceSelects(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", map[string]string{"env": "production"}, true)
		w.namespace("dev", map[string]string{"env": "dev"}, true)
		w.apply(namespaced(allowAll), 1, "1")
		w.apply(clusterWide("namespaceSelector: {matchLabels: {env: production}}\n"+allowAll), 1, "2")
		w.start()
		if got := w.set("dev"); len(got.All()) != 0 {
			t.Errorf("dev has the policies %v", names(got.All()))
		}
		if got := w.set("payments"); len(got.All()) != 2 {
			t.Errorf("payments has the policies %v", names(got.All()))
		}
		if _, err := w.store.Set(w.ctx, ""); !errors.Is(err, ErrNamespaceUnknown) {
			t.Errorf("no namespace: %v", err)
		}
	})
}

func TestRow17_NamespaceLookupFails(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.apply(clusterWide("namespaceSelector: {matchLabels: {env: production}}\n"+signedBy(newKey(t))), 1, "1")
		w.start()
		away := errors.New("the API server is away")
		w.away(away)
		if s, err := w.store.Set(w.ctx, "payments"); !errors.Is(err, ErrNamespaceUnknown) || !errors.Is(err, away) || len(s.All()) != 0 {
			t.Errorf("lister miss and failed GET: %v, %v", s, err)
		}
		w.away(nil)
		if _, err := w.store.Set(w.ctx, "payments"); !errors.Is(err, ErrNamespaceUnknown) {
			t.Errorf("no such namespace: %v", err)
		}
		w.namespace("payments", map[string]string{"env": "production"}, false) // the informer lags behind
		only(t, w.set("payments").Cluster)
		w.away(away) // and what was found live isn't held to be known
		if _, err := w.store.Set(w.ctx, "payments"); !errors.Is(err, ErrNamespaceUnknown) {
			t.Errorf("after a live GET: %v", err)
		}
	})
}

// A reader that says nothing at all must not become a namespace without labels.
func TestRow17_AnEmptyAnswerIsNoNamespace(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.start()
		w.mu.Lock()
		w.live["Namespace//payments"] = newNamespace()
		w.mu.Unlock()
		if _, err := w.store.Set(w.ctx, "payments"); !errors.Is(err, ErrNamespaceUnknown) {
			t.Errorf("got %v", err)
		}
	})
}

func TestRow17_ADeletedNamespaceIsForgotten(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(clusterWide("namespaceSelector: {matchLabels: {env: production}}\n"+allowAll), 1, "1")
		w.start()
		if n := len(w.set("payments").Cluster); n != 0 {
			t.Fatalf("%d policies", n)
		}
		gone := newNamespace()
		gone.Name = "payments"
		w.sources["Namespace"].Delete(gone)
		w.settle()
		w.namespace("payments", map[string]string{"env": "production"}, false) // made again, with other labels
		only(t, w.set("payments").Cluster)
	})
}

func TestRow18_NothingIsAnsweredBeforeAllIsSynced(t *testing.T) {
	for _, kind := range []string{"Namespace", KindTrustRoot, KindImagePolicy, KindClusterImagePolicy} {
		t.Run("the list of "+kind+" hangs", func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				w.namespace("payments", nil, true)
				w.apply(namespaced(allowAll), 1, "1")
				hang := make(chan struct{})
				w.sources[kind].hang = hang
				w.start()
				for range 3 {
					time.Sleep(10 * time.Second)
					if s, err := w.store.Set(w.ctx, "payments"); !errors.Is(err, ErrNotSynced) || len(s.All()) != 0 {
						t.Errorf("got %v, %v", s, err)
					}
					if w.store.Synced() {
						t.Error("says that it is synced")
					}
				}
				close(hang)
				time.Sleep(30 * time.Second)
				if !w.store.Synced() {
					t.Fatal("never synced")
				}
				only(t, w.set("payments").Namespaced)
			})
		})
	}
}

// Synced means compiled: at the first answer a policy with a key in a Secret is in force, not waiting for its key.
func TestRow18_TheFirstAnswerHasEveryKey(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.secret("payments", "cosign-pub", "cosign.pub", newKey(t))
		w.apply(namespaced(bySecret), 1, "1")
		w.start()
		if p := only(t, w.set("payments").Namespaced); p.Unusable != "" {
			t.Errorf("unusable: %s", p.Unusable)
		}
		if n := w.count("Secret/payments/cosign-pub"); n != 1 {
			t.Errorf("the Secret was read %d times", n)
		}
	})
}

func TestRowR10_WithTheWatchLostTheLastPoliciesStay(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(namespaced(allowAll), 1, "1")
		w.start()
		w.sources[KindImagePolicy].ResetWatch()
		w.sources[KindImagePolicy].ListError = errors.New("away")
		w.settle()
		only(t, w.set("payments").Namespaced)
	})
}

func TestAKeyChangedInASecretIsInForceWithinHalfAMinute(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.secret("payments", "cosign-pub", "cosign.pub", newKey(t))
		w.apply(namespaced(bySecret), 1, "1")
		w.start()
		first := only(t, w.set("payments").Namespaced)
		time.Sleep(2 * rereadAfter)
		if same := only(t, w.set("payments").Namespaced); same != first {
			t.Error("the same key gave another policy")
		}
		if n := w.count("Secret/payments/cosign-pub"); n != 3 {
			t.Errorf("read %d times in a minute, want 3", n)
		}
		changes := w.changed()
		w.secret("payments", "cosign-pub", "cosign.pub", newKey(t))
		time.Sleep(rereadAfter)
		synctest.Wait()
		second := only(t, w.set("payments").Namespaced)
		if second == first || second.Digest == first.Digest || second.Questions()[0].Fingerprint() == first.Questions()[0].Fingerprint() {
			t.Error("the new key isn't in force")
		}
		if n := w.changed() - changes; n != 1 {
			t.Errorf("OnChange was called %d times", n)
		}
	})
}

func TestASecretThatCannotBeReadAgainKeepsTheKeyAndMarksIt(t *testing.T) {
	for name, fail := range map[string]func(w *world){
		"the API server is away":            func(w *world) { w.away(errors.New("connection refused")) },
		"the Secret is deleted":             func(w *world) { w.secret("payments", "cosign-pub", "cosign.pub", "") },
		"the entry is gone":                 func(w *world) { w.secret("payments", "cosign-pub", "other", "x") },
		"the entry is no key":               func(w *world) { w.secret("payments", "cosign-pub", "cosign.pub", "nonsense") },
		"the entry is now too weak":         func(w *world) { w.secret("payments", "cosign-pub", "cosign.pub", weakKey(w.t)) },
		"it is away, and the policy edited": func(w *world) { w.away(errors.New("away")); w.apply(namespaced("mode: Warn\n"+bySecret), 2, "1") },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				key := newKey(t)
				w.namespace("payments", nil, true)
				w.secret("payments", "cosign-pub", "cosign.pub", key)
				w.apply(namespaced(bySecret), 1, "1")
				w.start()
				first := only(t, w.set("payments").Namespaced)
				fail(w)
				time.Sleep(rereadAfter + time.Second)
				marked := only(t, w.set("payments").Namespaced)
				if marked.Unusable != "" || !strings.Contains(marked.KeysNotReadAgain, "Secret payments/cosign-pub") || marked.Digest != first.Digest {
					t.Fatalf("unusable %q, not read again %q", marked.Unusable, marked.KeysNotReadAgain)
				}
				time.Sleep(time.Hour)
				if p := only(t, w.set("payments").Namespaced); p != marked {
					t.Errorf("an hour later: %+v", p)
				}
				w.away(nil)
				w.secret("payments", "cosign-pub", "cosign.pub", key)
				time.Sleep(rereadAfter + time.Second)
				if p := only(t, w.set("payments").Namespaced); p.KeysNotReadAgain != "" || p.Digest != first.Digest {
					t.Errorf("still marked: %q", p.KeysNotReadAgain)
				}
			})
		})
	}
}

func TestASecretThatIsMissingFromTheStartMakesThePolicyUnusableUntilItIsThere(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(namespaced(bySecret), 1, "1")
		w.start()
		p := only(t, w.set("payments").Namespaced)
		if !strings.Contains(p.Unusable, "Secret payments/cosign-pub: not found") || !refuses(t, p, "registry.example.com/app") {
			t.Fatalf("%+v", p)
		}
		w.secret("payments", "cosign-pub", "cosign.pub", newKey(t))
		time.Sleep(retryAfter)
		synctest.Wait()
		if p := only(t, w.set("payments").Namespaced); p.Unusable != "" {
			t.Errorf("still unusable: %s", p.Unusable)
		}
	})
}

// What a deleted policy knew is gone: a new one of its name doesn't inherit a key that nobody can read any more.
func TestANewPolicyOfAnOldNameInheritsNoKey(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.secret("payments", "cosign-pub", "cosign.pub", newKey(t))
		old := w.apply(namespaced(bySecret), 1, "1")
		w.start()
		w.secret("payments", "cosign-pub", "", "")
		w.remove(old)
		w.apply(namespaced(bySecret), 1, "2")
		w.settle()
		if p := only(t, w.set("payments").Namespaced); !strings.Contains(p.Unusable, "not found") {
			t.Errorf("unusable %q, not read again %q", p.Unusable, p.KeysNotReadAgain)
		}
	})
}

func TestADeletedPolicyIsNotReadForAnyMore(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		u := w.apply(namespaced(bySecret), 1, "1")
		w.start()
		w.remove(u)
		w.settle()
		n := w.count("Secret/payments/cosign-pub")
		time.Sleep(10 * time.Minute)
		if got := w.count("Secret/payments/cosign-pub"); got != n {
			t.Errorf("read %d times more", got-n)
		}
	})
}

func TestAPanicInOnePolicyLeavesTheOthersInForce(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.store.compiler.Materials = exploding{}
		w.apply(named(namespaced(bySecret), "bad"), 1, "1")
		w.apply(named(namespaced(signedBy(newKey(t))), "good"), 1, "2")
		w.start()
		got := w.set("payments").Namespaced
		if len(got) != 2 || !strings.Contains(got[0].Unusable, "boom") || !refuses(t, got[0], "registry.example.com/app") || got[1].Unusable != "" {
			t.Errorf("%v", got)
		}
	})
}

func TestAStoreStartsOnce(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.start()
		if err := w.store.Start(w.ctx); err == nil {
			t.Error("started twice")
		}
	})
}

func TestNewStoreRefusesHalfAConfiguration(t *testing.T) {
	t.Parallel()
	if _, err := NewStore(StoreConfig{}); err == nil {
		t.Error("a Store of nothing")
	}
}
