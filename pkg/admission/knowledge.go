package admission

import (
	"context"
	"errors"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// know asks all the policies' questions at once: about the image, and where it is an index about those of its
// children whose papers a policy wants.
func (e *Evaluator) know(ctx context.Context, open opener, policies []*policy.Policy, img policy.Image, fresh verify.Freshness) policy.Knowledge {
	questions, index := questionsOf(policies)
	if len(questions) == 0 || img.Digest == (v1.Hash{}) {
		return unknown(img, errors.New("nothing was asked for"))
	}
	registry, err := open()
	if err != nil {
		return unknown(img, err)
	}
	ask := func(digest v1.Hash) []verify.Findings {
		return e.Verifier.Findings(ctx, registry, img.Reference.Repository().Digest(digest.String()), questions, fresh)
	}
	found := map[v1.Hash][]verify.Findings{img.Digest: ask(img.Digest)}
	if at := slices.IndexFunc(found[img.Digest], func(f verify.Findings) bool { return f.Index }); at >= 0 {
		e.below(policies, found[img.Digest][at].Children, found, ask)
	}
	missing := unknown(img, errors.New("this question was not asked"))
	return func(digest v1.Hash, q verify.Question) verify.Findings {
		i, ok := index[q.Fingerprint()]
		if !ok || i >= len(found[digest]) {
			return missing(digest, q)
		}
		return found[digest][i]
	}
}

// below asks about the children that policies want papers of, side by side. What isn't answered is not in found.
func (e *Evaluator) below(policies []*policy.Policy, children []verify.Child, found map[v1.Hash][]verify.Findings, ask func(v1.Hash) []verify.Findings) {
	var wanted []v1.Hash
	for _, p := range policies {
		for _, d := range p.Children(children) {
			if _, known := found[d]; !known && !slices.Contains(wanted, d) {
				wanted = append(wanted, d)
			}
		}
	}
	answers := make([][]verify.Findings, len(wanted))
	var wg sync.WaitGroup
	for i, d := range wanted {
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() {
				if p := recover(); p != nil {
					e.panicked(p)
				}
			}()
			answers[i] = ask(d)
		}()
	}
	wg.Wait()
	for i, d := range wanted {
		if answers[i] != nil {
			found[d] = answers[i]
		}
	}
}

// questionsOf returns the distinct questions of policies, and where each is among them.
func questionsOf(policies []*policy.Policy) (all []verify.Question, index map[verify.Fingerprint]int) {
	index = map[verify.Fingerprint]int{}
	for _, p := range policies {
		for _, q := range p.Questions() {
			if _, ok := index[q.Fingerprint()]; !ok {
				index[q.Fingerprint()] = len(all)
				all = append(all, q)
			}
		}
	}
	return all, index
}

// unknown is what is known when nothing could be asked.
func unknown(img policy.Image, err error) policy.Knowledge {
	f := verify.Findings{Unanswered: []*verify.FetchError{{Kind: verify.Unavailable, Host: img.Reference.Host(), Err: err}}}
	var fe *verify.FetchError
	if errors.As(err, &fe) {
		f.Unanswered[0] = fe
	}
	return func(v1.Hash, verify.Question) verify.Findings { return f }
}
