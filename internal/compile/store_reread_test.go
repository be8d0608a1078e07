package compile

import (
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// worded is an error that reads otherwise each time, as one that tells the port which it was tried from.
type worded struct{ n *atomic.Int64 }

func newWorded() worded { return worded{&atomic.Int64{}} }

func (w worded) Error() string {
	return fmt.Sprintf("read tcp 10.1.2.3:%d->10.96.0.1:443: i/o timeout", 40000+w.n.Add(1))
}

// compilation identifies when a policy was compiled: each time makes a list of TrustRoots of its own.
func (w *world) compilation(k key) uintptr {
	w.t.Helper()
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	e := w.store.entries[k.Namespace][k.Name]
	if e == nil || e.roots == nil {
		w.t.Fatalf("%s was not compiled", k)
	}
	return reflect.ValueOf(e.roots).Pointer()
}

// One namespace may have 64 policies that take half a second each to compile. Their keys are read again each half minute; they are
// compiled again where that brought something new.
func TestRow106_KeysThatAreTheSameAreReadAgainWithoutCompiling(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		production := key{Namespace: "payments", Name: "production"}
		w.namespace("payments", nil, true)
		w.secret("payments", "cosign-pub", "cosign.pub", newKey(t))
		w.apply(namespaced(bySecret), 1, "1")
		w.start()
		first, at := w.usable(), w.compilation(production)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := w.count("Secret/payments/cosign-pub"); n < 20 || n > 22 {
			t.Errorf("the Secret was read %d times in ten minutes", n)
		}
		if w.compilation(production) != at || w.usable() != first {
			t.Error("compiled anew for nothing")
		}

		w.away(newWorded()) // which is news once, however it is worded
		time.Sleep(rereadAfter + time.Second)
		synctest.Wait()
		kept, at := w.usable(), w.compilation(production)
		if kept.KeysNotReadAgain == "" {
			t.Error("nobody is told that the key is an old one")
		}
		changes := w.changed()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if w.compilation(production) != at || w.usable() != kept || w.changed() != changes {
			t.Error("compiled anew for other words of one failure")
		}

		w.away(nil)
		time.Sleep(rereadAfter + time.Second)
		synctest.Wait()
		if p := w.usable(); p.KeysNotReadAgain != "" || p.Digest != first.Digest {
			t.Errorf("the Secret is back: %q", p.KeysNotReadAgain)
		}
		w.secret("payments", "cosign-pub", "cosign.pub", newKey(t))
		time.Sleep(rereadAfter + time.Second)
		synctest.Wait()
		if w.usable().Digest == first.Digest {
			t.Error("the rotated key isn't in force")
		}
		w.secret("payments", "cosign-pub", "cosign.pub", "")
		time.Sleep(keptFor + time.Minute)
		synctest.Wait()
		w.refusing("Secret payments/cosign-pub: not found; what it held before was last read 24h0m0s ago or more")
		at = w.compilation(production)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if w.compilation(production) != at {
			t.Error("compiled anew for a Secret that is missing still")
		}
		w.secret("payments", "cosign-pub", "cosign.pub", newKey(t))
		time.Sleep(rereadAfter + time.Second)
		synctest.Wait()
		w.usable()
	})
}

// What is missing is asked for less and less often, also where nothing is compiled for it.
func TestAMissingKeyIsAskedForLessAndLessOften(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.namespace("payments", nil, true)
		w.apply(namespaced(bySecret), 1, "1")
		w.start()
		time.Sleep(3*retryAfter + time.Second)
		synctest.Wait()
		if n := w.count("Secret/payments/cosign-pub"); n != 3 { // at once, and after 3 and 6 seconds
			t.Errorf("read %d times in ten seconds", n)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := w.count("Secret/payments/cosign-pub"); n < 20 || n > 25 {
			t.Errorf("read %d times in ten minutes", n)
		}
		if p := only(t, w.set("payments").Namespaced); !strings.Contains(p.Unusable, "not found") {
			t.Errorf("%q", p.Unusable)
		}
	})
}
