package compile

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/internal/trust/trusttest"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// elsewhere is a root whose logs have the keys of another's and other addresses, so that the two can't be united.
func elsewhere(root []byte) []byte {
	return []byte(strings.ReplaceAll(string(root), "https://", "https://elsewhere."))
}

func TestRow74_ASourceThatDoesNotFitTakesDownNoOther(t *testing.T) {
	good, other := verifytest.NewSigstore(t).TrustedRoot(t), verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		r := trusttest.At(t, other, time.Now())
		w.asks(r.Transport())
		w.namespace("payments", nil, true)
		w.apply(namespaced(bySomeone("corp", "")), 1, "1")
		w.apply(trustRoot("corp", "sources:\n- data: "+quoted(string(good))+"\n"+strings.TrimPrefix(fromMirror(r, ""), "sources:\n")), 1, "2")
		w.apply(named(clusterWide(bySomeone("alone", "")), "by-one"), 1, "3")
		w.apply(inlineRoot("alone", good), 1, "4")
		w.start()
		w.writer(nil)
		w.settle()
		both, alone := w.usable(), only(t, w.set("payments").Cluster)
		r.SetTarget(elsewhere(good))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		left := w.usable()
		if left.Digest == both.Digest || left.Questions()[0].Fingerprint() == both.Questions()[0].Fingerprint() {
			t.Error("what the mirror had before is trusted still")
		}
		status := w.rootStatus(t, "corp")
		if is(status, ConditionReady) != "True "+ReasonSourceUnavailable || is(status, ConditionFresh) != "False "+ReasonNotReadAgain {
			t.Errorf("%s", pretty(t, status.Conditions))
		}
		if s := status.Sources[1]; s.Digest != "" || !strings.HasPrefix(s.Error, "it doesn't fit the sources before it: ") {
			t.Errorf("%s", pretty(t, status.Sources))
		}
		if c := meta.FindStatusCondition(status.Conditions, ConditionFresh); c.Message != "sources[1] (tuf) was read, but doesn't fit the sources before it" {
			t.Errorf("%q", c.Message)
		}
		if len(status.TrustedRoots) != 1 || status.Digest != w.rootStatus(t, "alone").Digest || left.Digest == "" || alone.Unusable != "" {
			t.Error("it isn't what the other source trusts alone")
		}
		note := w.status(t, KindImagePolicy, "payments", "production").Authorities[0].TrustRoot
		if note == nil || note.Message != "sources[1] (tuf) is not in use" {
			t.Errorf("%s", pretty(t, note))
		}
		changes := w.changed()
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		if w.usable() != left || w.changed() != changes {
			t.Error("compiled anew for nothing")
		}
		r.SetTarget(other)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if w.usable().Digest != both.Digest {
			t.Error("the mirror fits again, and isn't in use")
		}
	})
}

// Which one is left out is for the order to say, and the first must do by itself.
func TestUnitingLeavesOutWhatDoesNotFitInOrder(t *testing.T) {
	t.Parallel()
	good, other := verifytest.NewSigstore(t).TrustedRoot(t), verifytest.NewSigstore(t).TrustedRoot(t)
	padded := func(text []byte) []byte {
		return append(text[:len(text):len(text)], strings.Repeat("\n", verify.MaxTrustedRoot-len(text))...)
	}
	two := verify.DefaultThresholds()
	two.Logs = 2
	twice := twoLogsOfOneKey(t, good)
	for _, tt := range []struct {
		name  string
		texts [][]byte
		t     verify.Thresholds
		unfit string // the sources that are left out
		fails bool
	}{
		{"one", [][]byte{good}, verify.DefaultThresholds(), "", false},
		{"several", [][]byte{good, other, trust.PublicGood()}, verify.DefaultThresholds(), "", false},
		{"a log at another address", [][]byte{good, elsewhere(good), other}, verify.DefaultThresholds(), "1", false},
		{"the other way round", [][]byte{elsewhere(good), good, other, good}, verify.DefaultThresholds(), "1 3", false},
		{"too much together", [][]byte{padded(good), padded(other), trust.PublicGood()}, verify.DefaultThresholds(), "2", false},
		{"one that fits into what is left", [][]byte{padded(good), trust.PublicGood(), padded(other), elsewhere(other)}, verify.DefaultThresholds(), "2", false},
		{"two logs with one key, where one counts", [][]byte{good, twice}, verify.DefaultThresholds(), "", false},
		{"two logs with one key, where two count", [][]byte{other, twice, trust.PublicGood()}, two, "1", false},
		{"and by itself", [][]byte{twice, other}, two, "", true},
		{"none", nil, verify.DefaultThresholds(), "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var readings []rootReading
			for _, text := range tt.texts {
				readings = append(readings, rootReading{kind: sourceData, text: text, digest: trust.Digest(text)})
			}
			got := unite(readings, tt.t)
			got.leaveOut(readings)
			var unfit []string
			for i, r := range readings {
				if r.unfit != (r.text == nil) || r.unfit != (r.digest == "") || r.unfit != (r.err != nil) {
					t.Errorf("source %d: %+v", i, r)
				}
				if r.unfit {
					unfit = append(unfit, fmt.Sprint(i))
				}
			}
			if (got.trust == nil) != tt.fails || (got.err != nil) != tt.fails || strings.Join(unfit, " ") != tt.unfit {
				t.Errorf("left out %q, want %q; %v", unfit, tt.unfit, got.err)
			}
			if got.trust == nil {
				return
			}
			texts, _ := textsOf(readings)
			if want, err := verify.NewTrust(texts, tt.t); err != nil || want.Fingerprint() != got.trust.Fingerprint() {
				t.Errorf("isn't the trust of the others alone: %v", err)
			}
		})
	}
}

// twoLogsOfOneKey returns a root of two transparency logs, at two addresses, of one key.
func twoLogsOfOneKey(t testing.TB, text []byte) []byte {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	logs, _ := root["tlogs"].([]any)
	if len(logs) == 0 {
		t.Fatal("a root without logs")
	}
	first, _ := logs[0].(map[string]any)
	id := map[string]any{"keyId": "c2Vjb25kLWxvZy1vZi10aGUtc2FtZS1rZXktMzJieXRlcw=="}
	root["tlogs"] = append(logs, map[string]any{"baseUrl": "https://second.example", "hashAlgorithm": first["hashAlgorithm"], "publicKey": first["publicKey"], "logId": id})
	out, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// unreachable fails in other words each time.
type unreachable struct{ n atomic.Int64 }

func (u *unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("dial tcp: lookup tuf.corp.example on 10.96.0.10:53: read udp 10.1.2.3:%d->10.96.0.10:53: i/o timeout", 40000+u.n.Add(1))
}

// What keeps an administrator's TrustRoot from being read is told to whoever may read TrustRoots. A tenant's policy and whoever it refuses
// are told where to look, in words that don't change with the weather.
func TestRow97_APolicyTellsNoAddressAndNoSecretOfItsTrustRoot(t *testing.T) {
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		u := &unreachable{}
		w.asks(u)
		w.namespace("payments", nil, true)
		w.apply(namespaced(bySomeone("corp", "")), 1, "1")
		r := trusttest.At(t, text, time.Now())
		w.apply(trustRoot("corp", fromMirror(r, "- secretRef: {name: sigstore-corp, key: trusted_root.json}\n")), 1, "2")
		w.start()
		w.writer(nil)
		w.settle()
		production := key{Namespace: "payments", Name: "production"}
		first, at, asked, changes := only(t, w.set("payments").Namespaced), w.compilation(production), u.n.Load(), w.changed()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if u.n.Load() < asked+10 {
			t.Errorf("asked %d times in a day", u.n.Load()-asked)
		}
		if only(t, w.set("payments").Namespaced) != first || w.compilation(production) != at || w.changed() != changes {
			t.Error("compiled anew for other words of one failure")
		}
		if want := "authority ci: no source of TrustRoot corp can be used: sources[0] (tuf), sources[1] (secretRef): see kubectl get trustroot corp -o yaml"; first.Unusable != want {
			t.Errorf("it says %q, want %q", first.Unusable, want)
		}
		if got := pretty(t, w.status(t, KindImagePolicy, "payments", "production")); strings.Contains(got, "10.") || strings.Contains(got, "sigstore-corp") {
			t.Errorf("%s", got)
		}
		if got := w.rootStatus(t, "corp").Sources; !strings.Contains(got[0].Error, "10.96.0.10") || !strings.Contains(got[1].Error, "Secret pratique-system/sigstore-corp: not found") {
			t.Errorf("an administrator isn't told: %s", pretty(t, got))
		}
	})
}

// What is kept is told to everyone, as for keys, until it is read again.
func TestEveryoneIsToldThatATrustRootIsNotReadAgain(t *testing.T) {
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.secret("pratique-system", "sigstore", "trusted_root.json", string(text))
		w.apply(namespaced(bySomeone("corp", "")), 1, "1")
		w.apply(trustRoot("corp", rootInSecret), 1, "2")
		w.start()
		w.writer(nil)
		w.settle()
		first := w.usable()
		if first.KeysNotReadAgain != "" {
			t.Errorf("%q", first.KeysNotReadAgain)
		}
		w.away(newWorded())
		time.Sleep(rereadAfter + time.Second)
		synctest.Wait()
		kept := w.keeping("sources[0] (secretRef)")
		status := w.status(t, KindImagePolicy, "payments", "production")
		if c := meta.FindStatusCondition(status.Conditions, ConditionReady); c.Status != metav1.ConditionTrue || c.Message != "in force with trust roots read before: "+kept.KeysNotReadAgain {
			t.Errorf("%+v", c)
		}
		if got := status.Authorities[0].TrustRoot; got.Message != kept.KeysNotReadAgain {
			t.Errorf("%+v", got)
		}
		changes := w.changed()
		time.Sleep(time.Hour)
		synctest.Wait()
		if w.usable() != kept || w.changed() != changes {
			t.Error("compiled anew for other words of one failure")
		}
		w.away(nil)
		time.Sleep(rereadAfter + time.Second)
		synctest.Wait()
		if p := w.usable(); p.KeysNotReadAgain != "" || p.Digest != first.Digest {
			t.Errorf("it was read again: %q", p.KeysNotReadAgain)
		}
	})
}

func TestRow74_TheCLIDoesNotJudgeByTextsThatTheClusterUsesNoLonger(t *testing.T) {
	t.Parallel()
	mirrored, data, newer := verifytest.NewSigstore(t).TrustedRoot(t), verifytest.NewSigstore(t).TrustedRoot(t), verifytest.NewSigstore(t).TrustedRoot(t)
	old, soon := metav1.NewTime(time.Now().Add(-time.Hour)), metav1.NewTime(time.Now().Add(time.Hour))
	root := func(expires metav1.Time) *v1alpha1.TrustRoot {
		r := &v1alpha1.TrustRoot{}
		r.Name, r.Generation = "corp", 1
		r.Spec.Sources = []v1alpha1.TrustRootSource{{TUF: &v1alpha1.TUFSource{Mirror: trust.PublicGoodMirror}}, {Data: string(data)}}
		r.Status = v1alpha1.TrustRootStatus{
			ObservedGeneration: 1, TrustedRoots: []string{string(mirrored), string(data)},
			Conditions: []metav1.Condition{{Type: ConditionReady, Status: metav1.ConditionTrue}},
			Sources:    []v1alpha1.TrustRootSourceStatus{{Kind: sourceTUF, Digest: trust.Digest(mirrored), Expires: &expires}, {Kind: sourceData, Digest: trust.Digest(data)}},
		}
		return r
	}
	prints := func(texts ...[]byte) string {
		made, err := verify.NewTrust(texts, verify.DefaultThresholds())
		if err != nil {
			t.Fatal(err)
		}
		return made.Fingerprint().String()
	}
	gives := func(text []byte, err error) func() trust.State {
		return func() trust.State { return trust.State{TrustedRoot: text, Err: err} }
	}
	for _, tt := range []struct {
		name    string
		expires metav1.Time
		mirror  func() trust.State
		want    string // the fingerprint
		note    string // to the user
		fails   string
	}{
		{"in force", soon, nil, prints(mirrored, data), "", ""},
		{"in force, and the mirror is not asked", soon, gives(newer, nil), prints(mirrored, data), "", ""},
		{"expired, and nobody to ask", old, nil, "", "", "what sources[0] (tuf) had was to be used until "},
		{"expired, and the mirror has another", old, gives(newer, nil), prints(newer, data), "is the webhook running? Its mirror is asked", ""},
		{"expired, and the mirror is away", old, gives(nil, errNoMirror), prints(data), "is the webhook running? Its mirror is asked", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := &clusterRoots{found: map[string]trusted{}}
			if tt.mirror != nil {
				c.q.Mirror = mirrorThatGives(tt.mirror)
			}
			got, err := c.resolve(t.Context(), root(tt.expires))
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) || got.Trust != nil {
					t.Errorf("%v, want %s", err, tt.fails)
				}
				return
			}
			if err != nil || got.Trust.Fingerprint().String() != tt.want {
				t.Fatalf("not what was wanted: %v", err)
			}
			if notes := strings.Join(c.notes, "\n"); !strings.Contains(notes, tt.note) || tt.note == "" && notes != "" {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
			if left := strings.Contains(tt.name, "away"); left != (got.Note == "sources[0] (tuf) is not in use") {
				t.Errorf("%q", got.Note)
			}
		})
	}
}

// The status of a TrustRoot repeats its texts, which as JSON in JSON may be twice as long.
func TestAStatusThatEtcdWouldNotTakeIsWrittenWithoutItsTexts(t *testing.T) {
	one := string(trust.PublicGood())
	wide := func(n int) []byte { return []byte(one + strings.Repeat("\n", n-len(one))) }
	in(t, func(t *testing.T, w *world) {
		w.apply(inlineRoot("big", wide(255<<10), wide(254<<10)), 1, "1")
		w.apply(inlineRoot("small", wide(128<<10)), 1, "2")
		w.start()
		w.writer(nil)
		w.settle()
		big, small := w.rootStatus(t, "big"), w.rootStatus(t, "small")
		if is(big, ConditionReady) != "True "+ReasonCompiled || len(big.TrustedRoots) != 0 || big.Digest == "" {
			t.Errorf("%d texts; %s", len(big.TrustedRoots), pretty(t, big.Conditions))
		}
		if c := meta.FindStatusCondition(big.Conditions, ConditionReady); c.Message != "in force: 2 trusted roots united"+noRoom {
			t.Errorf("%q", c.Message)
		}
		if is(small, ConditionReady) != "True "+ReasonCompiled || len(small.TrustedRoots) != 1 {
			t.Errorf("%d texts; %s", len(small.TrustedRoots), pretty(t, small.Conditions))
		}
		w.mu.Lock()
		raw, err := json.Marshal(w.current(KindTrustRoot, "", "big").Object)
		w.mu.Unlock()
		if err != nil || len(raw) > maxRootObject {
			t.Errorf("%d bytes, %v", len(raw), err)
		}
		u, report, ok := w.store.roots.known("big")
		if !ok {
			t.Fatal("unknown")
		}
		u = u.DeepCopy()
		if patched, differs, _, err := withRootStatus(u, report, time.Now()); err == nil && differs {
			if _, again, _, err := withRootStatus(patched, report, time.Now()); again || err != nil {
				t.Errorf("it is written again and again: %v", err)
			}
		}
	})
}

// However many TrustRoots have mirrors and Secrets that take their time, the first answer isn't later for it.
func TestTheFirstReadingOfAllTrustRootsHasOneDeadline(t *testing.T) {
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		r := trusttest.At(t, text, time.Now())
		r.Down(true)
		w.asks(r.Transport())
		w.slowly("/pratique-system/", time.Hour)
		for i := range MaxTrustRoots {
			w.apply(trustRoot(fmt.Sprintf("r%d", i), fromMirror(r, "- secretRef: {name: sigstore, key: trusted_root.json}\n")), 1, fmt.Sprint(i))
		}
		w.namespace("payments", nil, true)
		w.start()
		time.Sleep(firstTrustTimeout + 2*readTimeout)
		synctest.Wait()
		if !w.store.Synced() {
			t.Error("not synced")
		}
	})
}

func mirrorThatGives(state func() trust.State) func(context.Context, trust.MirrorConfig) trust.State {
	return func(context.Context, trust.MirrorConfig) trust.State { return state() }
}
