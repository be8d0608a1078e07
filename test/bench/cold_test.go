package main

import (
	"testing"
	"time"
)

// The delay is there to tell side by side from one after another, and well above what a busy machine adds; no time is tested.
func TestOneSignatureWaitsForNoMoreRequestsThanPromised(t *testing.T) {
	t.Parallel()
	for _, l := range layouts() {
		for by, byTag := range map[string]bool{"by digest": false, "by tag": true} {
			t.Run(l.name+" "+by, func(t *testing.T) {
				t.Parallel()
				c, err := newColdStart(t.Context(), t, l)
				if err != nil {
					t.Fatal(err)
				}
				defer c.registry.Close()
				c.registry.SetDelay(300 * time.Millisecond)
				got, err := c.measure(t.Context(), t, byTag)
				if err != nil {
					t.Fatal(err)
				}
				promised := l.promised
				if byTag {
					promised++
				}
				if got.serial > promised {
					t.Errorf("%d requests one after another, want at most %d:\n%s", got.serial, promised, c.journal())
				}
				if got.serial < 2 || got.requests < got.serial {
					t.Errorf("%d requests, %d of them one after another: that verifies nothing\n%s", got.requests, got.serial, c.journal())
				}
			})
		}
	}
}
