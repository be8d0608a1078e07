package admission

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestWhatIsHeldIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	const kib = 1 << 10
	h := newHeld[string](1000, 64*kib, time.Minute)
	at := func(i int) types.NamespacedName {
		return types.NamespacedName{Namespace: "ns", Name: fmt.Sprint(i)}
	}
	sum := func() (bytes int) {
		for _, s := range h.lru.Values() {
			bytes += s.bytes
		}
		return bytes
	}
	for i := range 100 {
		h.put(at(i), "v", 8*kib-entryBytes)
		if got := sum(); got > 64*kib || got != h.add(0) {
			t.Fatalf("after %d: %d bytes held, %d counted", i+1, got, h.add(0))
		}
	}
	if _, ok := h.get(at(99)); !ok || h.lru.Len() != 8 {
		t.Errorf("%d are held, the last among them: %t", h.lru.Len(), ok)
	}
	for i := range 10 { // one that is read anew counts once
		h.put(at(99), "w", i*100)
	}
	if got := sum(); got != h.add(0) || h.lru.Len() != 8 {
		t.Errorf("%d are held of %d bytes, %d counted", h.lru.Len(), got, h.add(0))
	}
	h.put(at(99), "x", 64*kib) // too large by itself
	if _, ok := h.get(at(99)); ok || h.lru.Len() != 7 || sum() != h.add(0) {
		t.Errorf("what is larger than all may be is held: %t; of the others %d", ok, h.lru.Len())
	}
	short := newHeld[string](1000, 64*kib, 20*time.Millisecond)
	short.put(at(1), "v", kib)
	for end := time.Now().Add(10 * time.Second); short.add(0) != 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes are counted of what expired", short.add(0))
		}
	}
}

func TestAllPullSecretsHeldAreAFewMiB(t *testing.T) {
	t.Parallel()
	secrets := NewSecretReader[string](nil, nil, nil)
	accounts := NewServiceAccountReader(nil)
	for i := range 5000 {
		at := types.NamespacedName{Namespace: fmt.Sprint(i), Name: "s"}
		secrets.held.put(at, "c", maxPullSecret)
		accounts.held.put(at, nil, maxPullSecrets*maxSecretName)
	}
	if s, a := secrets.held.add(0), accounts.held.add(0); s > 16<<20 || a > 4<<20 || s < 15<<20 || a < 3<<20 {
		t.Errorf("%d bytes of Secrets and %d of ServiceAccounts are held", s, a)
	}
}
