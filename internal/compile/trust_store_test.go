package compile

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/internal/trust/trusttest"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

const rootInSecret = "sources: [{secretRef: {name: sigstore, key: trusted_root.json}}]"

// fromMirror is the spec of a TrustRoot that follows a repository.
func fromMirror(r *trusttest.Repository, more string) string {
	return "sources:\n- tuf: {mirror: 'https://tuf.corp.example', refreshEvery: 1h, root: " + quoted(string(r.Root())) + "}\n" + more
}

// asks makes the Store's mirrors ask a repository. It is called before start.
func (w *world) asks(transport http.RoundTripper) {
	w.t.Helper()
	store, err := NewStore(StoreConfig{
		Informers: w, Live: w, Namespace: "pratique-system", Unmatched: policy.UnmatchedWarn, Trust: trust.Options{Transport: transport},
		OnChange: func() { w.mu.Lock(); w.changes++; w.mu.Unlock() },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store.shutDown()
	w.store = store
}

// usable is the policy of payments, if it is in force.
func (w *world) usable() *policy.Policy {
	w.t.Helper()
	p := only(w.t, w.set("payments").Namespaced)
	if p.Unusable != "" {
		w.t.Fatalf("unusable: %s", p.Unusable)
	}
	return p
}

// keeping is the policy of payments, if it is in force and tells everyone that a source of corp could not be read again.
func (w *world) keeping(source string) *policy.Policy {
	w.t.Helper()
	p := w.usable()
	if want := "TrustRoot corp: " + source + " could not be read again: see kubectl get trustroot corp -o yaml"; p.KeysNotReadAgain != want {
		w.t.Errorf("it says %q, want %q", p.KeysNotReadAgain, want)
	}
	return p
}

// refusing checks that the policy of payments can't be used, and says why.
func (w *world) refusing(why string) {
	w.t.Helper()
	p := only(w.t, w.set("payments").Namespaced)
	if !strings.Contains(p.Unusable, why) || !refuses(w.t, p, "registry.example.com/app") {
		w.t.Errorf("unusable %q, want %q", p.Unusable, why)
	}
}

// In a bubble the clock begins in the year 2000, long before what verifytest makes is valid: here it shows by digests who counts.

func TestAPolicyFollowsItsTrustRootsObject(t *testing.T) {
	first, second := verifytest.NewSigstore(t).TrustedRoot(t), verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(namespaced(bySomeone("corp", "")), 1, "1")
		w.apply(named(clusterWide(signedBy(newKey(t))), "by-key"), 1, "2")
		w.start()
		w.refusing("authority ci: TrustRoot corp: not found")
		byKey := only(t, w.set("payments").Cluster)

		u := w.apply(inlineRoot("corp", first), 1, "3")
		w.settle()
		one := w.usable()
		w.apply(inlineRoot("corp", second), 2, "3")
		w.settle()
		two := w.usable()
		if two.Digest == one.Digest || two.Questions()[0].Fingerprint() == one.Questions()[0].Fingerprint() {
			t.Error("what was trusted before is trusted still")
		}
		changes := w.changed()
		u = u.DeepCopy()
		u.SetAnnotations(map[string]string{"a": "b"})
		w.apply(inlineRoot("corp", second), 2, "3")
		w.settle()
		if w.usable() != two || w.changed() != changes {
			t.Error("compiled anew for nothing")
		}
		w.apply(trustRoot("corp", "sources: [{data: nonsense}]"), 3, "3")
		w.settle()
		w.refusing("TrustRoot corp: spec.sources[0].data")
		w.apply(trustRoot("corp", "sources: [{public: {}}]\nthreshold: {}"), 4, "3")
		w.settle()
		w.refusing(`TrustRoot corp: unknown field "spec.threshold": did you mean thresholds?`)
		w.apply(inlineRoot("corp", first), 5, "3")
		w.settle()
		if w.usable().Digest != one.Digest {
			t.Error("the first root again, and another policy")
		}
		w.remove(u)
		w.settle()
		w.refusing("TrustRoot corp: not found")
		if only(t, w.set("payments").Cluster) != byKey {
			t.Error("a policy that refers to no TrustRoot was compiled anew")
		}
	})
}

func TestThePublicGoodRootIsThereWithoutAnObjectAndCanBeReplaced(t *testing.T) {
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(namespaced(bySomeone(DefaultTrustRoot, "")), 1, "1")
		w.start()
		public := w.usable()
		u := w.apply(inlineRoot(DefaultTrustRoot, text), 1, "2")
		w.settle()
		if w.usable().Digest == public.Digest {
			t.Error("the object doesn't count")
		}
		w.remove(u)
		w.settle()
		if w.usable().Digest != public.Digest {
			t.Error("without the object, not the public good root")
		}
		same := w.apply(trustRoot(DefaultTrustRoot, "sources: [{public: {}}]"), 1, "3")
		w.settle()
		if w.usable().Digest != public.Digest {
			t.Error("public is another root")
		}
		w.remove(same)
	})
}

func TestATrustRootInASecretIsReadAgainEachHalfMinute(t *testing.T) {
	first, second := verifytest.NewSigstore(t).TrustedRoot(t), verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(namespaced(bySomeone("corp", "")), 1, "1")
		w.apply(trustRoot("corp", rootInSecret), 1, "2")
		w.start()
		w.refusing("authority ci: no source of TrustRoot corp can be used: sources[0] (secretRef): see kubectl get trustroot corp -o yaml")
		w.secret("pratique-system", "sigstore", "trusted_root.json", string(first))
		time.Sleep(retryAfter + time.Second)
		synctest.Wait()
		one := w.usable()
		w.secret("pratique-system", "sigstore", "trusted_root.json", string(second))
		time.Sleep(rereadAfter + time.Second)
		synctest.Wait()
		two := w.usable()
		if one.Digest == two.Digest {
			t.Error("the new root isn't in force")
		}
		for name, fail := range map[string]func(){
			"the API server is away": func() { w.away(errors.New("connection refused")) },
			"the Secret is deleted":  func() { w.secret("pratique-system", "sigstore", "", "") },
			"it is no trusted root":  func() { w.secret("pratique-system", "sigstore", "trusted_root.json", "nonsense") },
		} {
			fail()
			time.Sleep(time.Hour)
			if w.keeping("sources[0] (secretRef)").Digest != two.Digest {
				t.Errorf("%s: what was read before isn't in use", name)
			}
			w.away(nil)
			w.secret("pratique-system", "sigstore", "trusted_root.json", string(second))
			time.Sleep(rereadAfter + time.Second)
		}
		w.secret("pratique-system", "sigstore", "", "")
		time.Sleep(keptFor + time.Minute)
		w.refusing("no source of TrustRoot corp can be used: sources[0] (secretRef): see")
	})
}

func TestRow74_ARotatedTrustedRootOfAMirrorIsInForce(t *testing.T) {
	first, second := verifytest.NewSigstore(t).TrustedRoot(t), verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		r := trusttest.At(t, first, time.Now())
		w.asks(r.Transport())
		w.namespace("payments", nil, true)
		w.apply(namespaced(bySomeone("corp", "")), 1, "1")
		w.apply(trustRoot("corp", fromMirror(r, "")), 1, "2")
		w.start()
		one := w.usable() // at the first answer
		r.RotateRoot()
		r.SetTarget(second)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		two := w.usable()
		if one.Digest == two.Digest {
			t.Fatal("the new root isn't in force")
		}
		r.Down(true) // and what was had is used until its metadata expire
		time.Sleep(trusttest.TimestampLasts - 6*time.Hour)
		synctest.Wait()
		if w.keeping("sources[0] (tuf)").Digest != two.Digest {
			t.Error("a mirror that is away took the root with it")
		}
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		w.refusing("no source of TrustRoot corp can be used: sources[0] (tuf): see")
		r.Down(false)
		r.Expire("timestamp", time.Now().Add(trusttest.TimestampLasts))
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if w.usable().Digest != two.Digest {
			t.Error("the mirror is back, and something else is trusted")
		}
	})
}

func TestAMirrorThatDoesNotAnswerDoesNotKeepTheWebhookFromStarting(t *testing.T) {
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	for name, hangs := range map[string]bool{"it hangs": true, "it fails": false} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				r := trusttest.At(t, text, time.Now())
				h := &hanging{inner: r.Transport(), release: make(chan struct{})}
				if r.Down(!hangs); !hangs {
					close(h.release)
				}
				w.asks(h)
				w.namespace("payments", nil, true)
				w.apply(namespaced(bySomeone("corp", "")), 1, "1")
				w.apply(trustRoot("corp", fromMirror(r, "")), 1, "2")
				w.secret("pratique-system", "sigstore", "trusted_root.json", string(text))
				w.apply(named(clusterWide(bySomeone("kept", "")), "by-another"), 1, "3")
				w.apply(trustRoot("kept", rootInSecret), 1, "4")
				w.start()
				time.Sleep(firstTrustTimeout + time.Second)
				synctest.Wait()
				if !w.store.Synced() {
					t.Fatal("not synced")
				}
				w.refusing("no source of TrustRoot corp can be used: sources[0] (tuf): see")
				if p := only(t, w.set("payments").Cluster); p.Unusable != "" {
					t.Errorf("who doesn't refer to it can't be used: %s", p.Unusable)
				}
				if r.Down(false); hangs {
					close(h.release)
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				w.usable()
			})
		})
	}
}

// hanging answers nothing until it is released.
type hanging struct {
	inner   http.RoundTripper
	release chan struct{}
}

func (h *hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-h.release:
		return h.inner.RoundTrip(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// Migration: what any source trusts is trusted; one that can't be used drops out and is told, and the others hold.
func TestSourcesAreUnitedAndOneMayDropOut(t *testing.T) {
	old, replacement := verifytest.NewSigstore(t).TrustedRoot(t), verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		r := trusttest.At(t, replacement, time.Now())
		r.Down(true)
		w.asks(r.Transport())
		w.namespace("payments", nil, true)
		w.apply(namespaced(bySomeone("corp", "")), 1, "1")
		w.apply(trustRoot("corp", fromMirror(r, "- data: "+quoted(string(old)))), 1, "2")
		w.start()
		s := w.writer(nil)
		w.settle()
		one := w.usable()
		note := w.status(t, KindImagePolicy, "payments", "production").Authorities[0].TrustRoot
		if note == nil || note.Message != "sources[0] (tuf) is not in use" || note.Digest == "" {
			t.Errorf("%s", pretty(t, note))
		}
		r.Down(false)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		two := w.usable()
		if one.Digest == two.Digest {
			t.Error("the mirror's root isn't trusted")
		}
		if note := w.status(t, KindImagePolicy, "payments", "production").Authorities[0].TrustRoot; note.Message != "" {
			t.Errorf("%s", pretty(t, note))
		}
		if s.count() == 0 {
			t.Error("nothing was written")
		}
	})
}

func TestRow18_TrustRootsAreReadBeforeTheFirstAnswer(t *testing.T) {
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.secret("pratique-system", "sigstore", "trusted_root.json", string(text))
		w.apply(namespaced(bySomeone("corp", "")), 1, "1")
		w.apply(trustRoot("corp", rootInSecret), 1, "2")
		w.start()
		w.usable()
		if n := w.count("Secret/pratique-system/sigstore"); n != 1 {
			t.Errorf("the Secret was read %d times", n)
		}
	})
}

func TestMoreTrustRootsThanMayBeCannotBeUsed(t *testing.T) {
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(namespaced(bySomeone("corp", "")), 1, "policy")
		w.apply(inlineRoot("corp", text), 1, "corp")
		w.start()
		w.usable()
		for i := range MaxTrustRoots - 1 {
			w.apply(trustRoot(fmt.Sprintf("more-%d", i), "sources: [{public: {}}]"), 1, fmt.Sprint(i))
		}
		w.settle()
		w.usable()
		last := w.apply(trustRoot("one-more", "sources: [{public: {}}]"), 1, "last")
		w.settle()
		w.refusing("TrustRoot corp: more than 64 TrustRoots: delete some")
		w.remove(last)
		w.settle()
		w.usable()
	})
}

func TestTrustRootsTellHowFreshTheyAre(t *testing.T) {
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		r := trusttest.At(t, text, time.Now())
		begin := time.Now()
		w.asks(r.Transport())
		w.namespace("payments", nil, true)
		w.secret("pratique-system", "sigstore", "trusted_root.json", string(text))
		w.apply(namespaced(bySomeone(DefaultTrustRoot, "")), 1, "1")
		w.apply(trustRoot("a-mirror", fromMirror(r, "")), 1, "2")
		w.apply(trustRoot("b-secret", rootInSecret), 1, "3")
		w.apply(inlineRoot("c-text", text), 1, "4")
		w.apply(trustRoot("d-broken", "sources: []"), 1, "5")
		w.start()
		r.Down(true)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		got := w.store.TrustRoots()
		if age := time.Since(got[1].CheckedAt); age > rereadAfter {
			t.Errorf("the Secret was read %v ago", age)
		}
		got[1].CheckedAt = time.Time{}
		if age := time.Since(got[0].CheckedAt); age < 22*time.Hour || age > 25*time.Hour || !got[0].Expires.Equal(begin.Add(trusttest.TimestampLasts)) {
			t.Errorf("the mirror vouched for its root %v ago, until %v", age, got[0].Expires)
		}
		got[0].CheckedAt, got[0].Expires = time.Time{}, time.Time{}
		want := []TrustRootState{
			{Name: "a-mirror", Ready: true}, {Name: "b-secret", Ready: true}, {Name: "c-text", Ready: true}, {Name: "d-broken"},
			{Name: DefaultTrustRoot, Ready: true, Used: true, CheckedAt: trust.PublicGoodDate()},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestATrustRootsReadingThatPanicsLeavesTheOthersInForce(t *testing.T) {
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.store.roots.materials = exploding{}
		w.apply(named(namespaced(bySomeone("bad", "")), "bad"), 1, "1")
		w.apply(named(namespaced(bySomeone("good", "")), "good"), 1, "2")
		w.apply(trustRoot("bad", rootInSecret), 1, "3")
		w.apply(inlineRoot("good", text), 1, "4")
		w.start()
		got := w.set("payments").Namespaced
		if len(got) != 2 || !strings.Contains(got[0].Unusable, "TrustRoot bad: reading it failed: see kubectl get trustroot bad -o yaml") || !refuses(t, got[0], "registry.example.com/app") || got[1].Unusable != "" {
			t.Errorf("%v", got)
		}
	})
}

func TestNamedKnowsWherePapersAreKept(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.start()
		with := func(more string) string {
			return namespaced(strings.Replace(signedBy(newKey(t)), "- name: release", "- name: release"+more, 1))
		}
		w.apply(with("\n  repository: papers.example.com:5000/x"), 1, "1")
		w.settle()
		if !w.store.Named("papers.example.com:5000") || w.store.Named("papers.example.com") || !w.store.Named("registry.example.com") {
			t.Error("the host of the papers isn't named, or another is")
		}
		w.apply(with(""), 2, "1")
		w.settle()
		if w.store.Named("papers.example.com:5000") {
			t.Error("named still")
		}
	})
}
