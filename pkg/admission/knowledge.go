package admission

import (
	"context"
	"errors"
	"maps"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// childrenAtOnce bounds the children of one index whose papers are listed side by side: an index may have 64, and each is listed in four places.
const childrenAtOnce = 8

// know asks the policies' questions: about the image, and where it is an index about those of its children whose papers a policy wants. What
// is asked only where no summary stands for it is asked once that is known.
func (e *Evaluator) know(ctx context.Context, open opener, policies []*policy.Policy, img policy.Image, fresh verify.Freshness) policy.Knowledge {
	var questions []verify.Question
	if len(policies) == 1 {
		questions = policies[0].First()
	} else {
		for _, p := range policies {
			questions = append(questions, p.First()...)
		}
	}
	if len(questions) == 0 || img.Digest == (v1.Hash{}) {
		return unknown(img, errors.New("nothing was asked for"))
	}
	registry, err := open()
	if err != nil {
		return unknown(img, err)
	}
	k := &known{missing: unknown(img, errors.New("this question was not asked")), found: make(map[subject]verify.Findings, len(questions))}
	ask := func(digest v1.Hash, questions []verify.Question) []verify.Findings {
		return e.Verifier.Findings(ctx, registry, img.Reference.Repository().Digest(digest.String()), questions, fresh)
	}
	k.ask(img.Digest, questions, ask)
	var rest []verify.Question
	for _, p := range policies {
		rest = append(rest, p.Rest(img, k.about)...)
	}
	k.ask(img.Digest, rest, ask)
	if index, children := k.children(img.Digest); index {
		e.below(policies, children, img, k, ask)
	}
	return k.about
}

// asking asks a registry about one digest.
type asking func(digest v1.Hash, questions []verify.Question) []verify.Findings

// subject is what an answer is about.
type subject struct {
	digest   v1.Hash
	question verify.Fingerprint
}

// known is what was answered.
type known struct {
	missing policy.Knowledge
	found   map[subject]verify.Findings
}

// about implements policy.Knowledge.
func (k *known) about(digest v1.Hash, q verify.Question) verify.Findings {
	f, ok := k.found[subject{digest, q.Fingerprint()}]
	if !ok {
		return k.missing(digest, q)
	}
	return f
}

// ask asks those questions about a digest that weren't yet, each once.
func (k *known) ask(digest v1.Hash, questions []verify.Question, ask asking) {
	k.take(digest, k.open(digest, questions), ask)
}

// open returns those of the questions that weren't asked yet, each once.
func (k *known) open(digest v1.Hash, questions []verify.Question) (out []verify.Question) {
	if len(questions) == 0 {
		return nil
	}
	out = make([]verify.Question, 0, len(questions))
	seen := make(map[verify.Fingerprint]bool, len(questions))
	for _, q := range questions {
		if _, done := k.found[subject{digest, q.Fingerprint()}]; done || seen[q.Fingerprint()] {
			continue
		}
		seen[q.Fingerprint()] = true
		out = append(out, q)
	}
	return out
}

func (k *known) take(digest v1.Hash, questions []verify.Question, ask asking) {
	if len(questions) == 0 {
		return
	}
	for i, f := range ask(digest, questions) {
		k.found[subject{digest, questions[i].Fingerprint()}] = f
	}
}

// children returns what is below a digest, if it is known to be an index.
func (k *known) children(digest v1.Hash) (index bool, children []verify.Child) {
	for s, f := range k.found {
		if s.digest == digest && f.Index {
			return true, f.Children
		}
	}
	return false, nil
}

// below asks about the children that policies want papers of, some side by side. What isn't answered isn't known.
func (e *Evaluator) below(policies []*policy.Policy, children []verify.Child, img policy.Image, k *known, ask asking) {
	wanted := map[v1.Hash][]verify.Question{}
	var order []v1.Hash
	for _, p := range policies {
		questions := p.Below(img, k.about)
		for _, d := range p.Children(children) {
			if _, ok := wanted[d]; !ok {
				order = append(order, d)
			}
			wanted[d] = append(wanted[d], questions...)
		}
	}
	answers := make([]known, len(order))
	slots := make(chan struct{}, childrenAtOnce)
	var wg sync.WaitGroup
	for i, d := range order {
		questions := k.open(d, wanted[d])
		answers[i].found = map[subject]verify.Findings{}
		slots <- struct{}{}
		wg.Add(1)
		go func() {
			defer func() { <-slots; wg.Done() }()
			defer func() {
				if p := recover(); p != nil {
					e.panicked(p)
				}
			}()
			answers[i].take(d, questions, ask)
		}()
	}
	wg.Wait()
	for _, a := range answers {
		maps.Copy(k.found, a.found)
	}
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
