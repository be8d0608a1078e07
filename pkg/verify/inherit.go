package verify

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"
)

// maxHolders bounds what is remembered of who holds evidence: some 400 bytes each, so 26 MiB beside the cache.
const maxHolders = 64 << 10

// holding is evidence, whoever's credentials brought it.
type holding struct {
	repository string
	digest     string
	question   Fingerprint
}

func (k key) holding() holding { return holding{k.repository, k.digest, k.question} }

// hold remembers by which credentials evidence was found.
func (v *Verifier) hold(k key, f Findings) {
	if len(f.Evidence) > 0 {
		v.holders.Add(k.holding(), k.access)
	}
}

// inherit fills in findings that other credentials brought, and tells whether it could. What one set of credentials was shown is told
// to another only once the registry has let that one read the image's manifest: then it would be shown the same papers. So a pull
// secret that is rotated, or another namespace's, costs one request instead of five. Findings keep their age, and are marked: who is about
// to be refused is shown a listing of its own. Nor do they stand against a later one of its own.
func (v *Verifier) inherit(ctx context.Context, f Fetcher, image name.Digest, questions []Question, which []int, out []Findings) bool {
	found := make([]Findings, len(which))
	for n, i := range which {
		k := keyOf(f, image, questions[i])
		from, ok := v.holders.Get(k.holding())
		if !ok || from == k.access {
			return false
		}
		k.access = from
		held, ok := v.cache.get(k)
		if !ok || held.Stale || len(held.Evidence) == 0 || held.usable(v.clock(), Held) != useNow {
			return false
		}
		if v.listedSince(keyOf(f, image, questions[i]), held) {
			return false
		}
		held.inherited = true
		found[n] = held
	}
	if v.present(ctx, f, image) != nil {
		return false // asking for the papers says why
	}
	for n, i := range which {
		if v.listedSince(keyOf(f, image, questions[i]), found[n]) { // while the manifest was read
			return false
		}
	}
	v.observe(EventInherit)
	for n, i := range which {
		k := keyOf(f, image, questions[i])
		for range v.cache.put(k, found[n]) {
			v.observe(EventEvicted)
		}
		out[i] = found[n]
	}
	return true
}

// listedSince tells whether these credentials have brought a listing of their own that isn't older than findings.
func (v *Verifier) listedSince(k key, than Findings) bool {
	own, ok := v.cache.get(k)
	return ok && !own.inherited && !own.ListedAt.Before(than.ListedAt)
}

// present asks whether the image may be read, once for all who ask at the same time.
func (v *Verifier) present(ctx context.Context, f Fetcher, image name.Digest) error {
	_, err := v.presents.ask(ctx, questionOf(f, image, nil, false), siteOf(image.RegistryStr()), func(work context.Context) (_ struct{}, err error) {
		defer v.recover(func(e error) { err = e })
		work, cancel := context.WithTimeout(work, gatherTimeout)
		defer cancel()
		return struct{}{}, f.Present(work, image)
	})
	return err
}
