package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
)

// maxHolders bounds what is remembered of who holds evidence: some 350 bytes each.
const maxHolders = 64 << 10

// holding is evidence, whoever's credentials brought it.
type holding struct {
	repository string
	digest     string
	authority  Fingerprint
}

func (k key) holding() holding { return holding{k.repository, k.digest, k.authority} }

// hold remembers by which credentials evidence was found.
func (v *Verifier) hold(k key, f Findings) {
	if len(f.Evidence) > 0 {
		v.holders.Add(k.holding(), k.access)
	}
}

// inherit fills in findings that other credentials brought, and tells whether it could. What one set of credentials was shown is told
// to another only once the registry has let that one read the image's manifest: then it would be shown the same papers. So a pull
// secret that is rotated, or another namespace's, costs one request instead of five. Findings keep their age.
func (v *Verifier) inherit(ctx context.Context, f Fetcher, image name.Digest, authorities []Authority, which []int, out []Findings) bool {
	found := make([]Findings, len(which))
	for n, i := range which {
		k := keyOf(f, image, authorities[i])
		from, ok := v.holders.Get(k.holding())
		if !ok || from == k.access {
			return false
		}
		k.access = from
		held, ok := v.cache.get(k)
		if !ok || held.Stale || len(held.Evidence) == 0 || held.usable(v.clock(), Held) != useNow {
			return false
		}
		found[n] = held
	}
	if v.present(ctx, f, image) != nil {
		return false // asking for the papers says why
	}
	v.observe(EventInherit)
	for n, i := range which {
		k := keyOf(f, image, authorities[i])
		for range v.cache.put(k, found[n]) {
			v.observe(EventEvicted)
		}
		out[i] = found[n]
	}
	return true
}

// present asks whether the image may be read, once for all who ask at the same time.
func (v *Verifier) present(ctx context.Context, f Fetcher, image name.Digest) error {
	access := f.Access()
	work := context.WithoutCancel(ctx)
	done := v.gathers.DoChan(fmt.Sprintf("present %q %q %x", image.Context().Name(), image.DigestStr(), access), func() (_ any, err error) {
		defer v.recover(func(e error) { err = e })
		work, cancel := context.WithTimeout(work, gatherTimeout)
		defer cancel()
		if err := f.Present(work, image); err != nil {
			return nil, err
		}
		return true, nil
	})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case res := <-done:
		if res.Err == nil && res.Val != true { // a panic whose value was lost
			return errors.New("nothing was found out")
		}
		return res.Err
	}
}
