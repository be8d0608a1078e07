package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// explained is how the answers about one digest came about, for people and programs alike: explain_text.go writes it for the former.
type explained struct {
	Image string `json:"image"`           // as it was written
	About string `json:"about,omitempty"` // REPOSITORY@DIGEST
	// Problem says why there is nothing to tell; empty if there is.
	Problem     string             `json:"problem,omitempty"`
	Places      []explainedPlace   `json:"places,omitempty"`
	Authorities []explainedVoucher `json:"authorities,omitempty"`
}

// explainedPlace is one place where papers were sought.
type explainedPlace struct {
	Repository string         `json:"repository"`
	Place      string         `json:"place,omitempty"` // empty: all of the repository, or what stands in for it
	Name       string         `json:"name,omitempty"`
	Found      map[string]int `json:"found,omitempty"` // papers by kind
	Error      string         `json:"error,omitempty"`
}

// explainedVoucher is one authority: who that is, who asks for it, and what became of each paper.
type explainedVoucher struct {
	Name       string   `json:"name"`
	AskedBy    []string `json:"askedBy"`
	Kind       string   `json:"kind"`
	Keys       []string `json:"keys,omitempty"`
	Identities []string `json:"identities,omitempty"`
	Roots      []string `json:"roots,omitempty"`
	TrustRoot  string   `json:"trustRoot,omitempty"`
	Trusts     []string `json:"trusts,omitempty"`
	Demands    []string `json:"demands,omitempty"`
	Repository string   `json:"repository,omitempty"` // where its papers are kept, if not beside the image
	Wants      string   `json:"wants,omitempty"`      // which paper; empty for a signature
	Accepted   int      `json:"accepted"`
	Papers     []paper  `json:"papers"`
	Verdicts   []string `json:"verdicts,omitempty"` // that don't pass though there are accepted papers: by what those say
	Unanswered []string `json:"unanswered,omitempty"`
	Cure       string   `json:"cure,omitempty"` // what to do where there is no paper at all
	Run        string   `json:"run,omitempty"`  // a command that does it
}

// paper is what became of one paper for one authority.
type paper struct {
	Form     string   `json:"form,omitempty"`
	Source   string   `json:"source,omitempty"`
	Place    string   `json:"place"`
	Accepted bool     `json:"accepted"`
	Signer   string   `json:"signer,omitempty"` // a claim, where it isn't accepted
	Time     string   `json:"time,omitempty"`
	Dated    string   `json:"dated,omitempty"`      // by itself, where it is more than a signature
	Unread   string   `json:"unreadable,omitempty"` // why what an accepted one says can't be read
	SeenBy   []string `json:"seenBy,omitempty"`
	Says     []string `json:"says,omitempty"` // Fulcio's extensions, by name and value; a claim likewise
	Why      string   `json:"why,omitempty"`
	Wanted   []string `json:"wanted,omitempty"`
	Detail   string   `json:"detail,omitempty"`
	Cure     string   `json:"cure,omitempty"`
	Run      string   `json:"run,omitempty"` // a command that does it
}

// explainer asks about images that were judged.
type explainer struct {
	evaluator *admission.Evaluator
	in        inForce
	namespace string
	program   string   // as it was called
	plainHTTP []string // hosts, as they were given to it
}

// all explains every image of a decision, and of an index the children that policies want papers of.
func (e explainer) all(ctx context.Context, d admission.Decision) []explained {
	out := []explained{}
	if d.Refusal != nil {
		return out
	}
	open, err := e.evaluator.Registries.Open(ctx, e.namespace, nil)
	for _, j := range d.Images {
		if err != nil {
			out = append(out, explained{Image: written(j), Problem: err.Error()})
			continue
		}
		out = append(out, e.image(ctx, open, j)...)
	}
	return out
}

// asking is one authority that one or several policies ask about, with one question.
type asking struct {
	question verify.Question
	by       []string
	wanted   wanted
	verdicts []string  // on those who ask, as far as they don't pass
	root     trustRoot // as the first of the policies has it
}

// trustRoot is the TrustRoot by which an authority is judged.
type trustRoot struct {
	named string // by the policy; empty for none
	known bool   // there is an object of that name, or else of the default's
}

// questions are those of the requirements of some policies about one subject, each with who asks it.
func (e explainer) questions(policies []*policy.Policy, verdicts []policy.Verdict, about func(policy.Subject) bool) []asking {
	var out []asking
	for _, p := range policies {
		if p.Unusable != "" || p.Action != policy.ActionRequire {
			continue
		}
		for _, r := range p.Requirements {
			if !about(r.Subject()) {
				continue
			}
			by := fmt.Sprintf("policy %s (%s)", p.Name, r.Name())
			for _, q := range r.Questions() {
				same := func(a asking) bool {
					return a.question.Fingerprint() == q.Fingerprint() && a.question.Authority().Name() == q.Authority().Name()
				}
				i := slices.IndexFunc(out, same)
				if i < 0 {
					i = len(out)
					root := e.in.objects.rootOf(p.Name, q.Authority().Name())
					out = append(out, asking{question: q, root: root, wanted: e.in.objects.wantedBy(p.Name, r.Name(), q)})
				}
				if !slices.Contains(out[i].by, by) {
					out[i].by = append(out[i].by, by)
					out[i].verdicts = append(out[i].verdicts, failing(verdicts, p.Name, r.Name())...)
				}
			}
		}
	}
	return out
}

// unusableOf names the policies that can't be used, whose questions aren't known.
func unusableOf(policies []*policy.Policy) string {
	var names []string
	for _, p := range policies {
		if p.Unusable != "" {
			names = append(names, p.Name.String())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "nothing was looked for: can't be used as it is: policy " + strings.Join(names, ", ")
}

func (e explainer) image(ctx context.Context, open admission.Opener, j admission.Judged) []explained {
	none := func(why string) []explained { return []explained{{Image: written(j), Problem: why}} }
	ref, err := policy.ParseReference(j.Written)
	if err != nil {
		return none("what is written is no image reference")
	}
	policies := e.in.set.Select(ref, j.Digest).Policies
	whole := e.questions(policies, j.Verdicts, func(s policy.Subject) bool { return s == policy.TheImage })
	parts := e.questions(policies, j.Verdicts, func(s policy.Subject) bool { return s == policy.EachPlatform })
	switch unusable := unusableOf(policies); {
	case len(whole)+len(parts) == 0 && unusable != "":
		return none(unusable)
	case len(whole)+len(parts) == 0:
		return none("no policy asks for any paper of it")
	case j.Digest == v1.Hash{}:
		return none("its digest isn't known, so that nothing could be looked for")
	}
	registry, err := open(ref.Repository())
	if err != nil {
		return none(err.Error())
	}
	about := func(digest v1.Hash, ask []asking) (explained, verify.Explanation) {
		var all []verify.Question
		for _, a := range ask {
			all = append(all, a.question)
		}
		image := ref.Repository().Digest(digest.String())
		found := e.evaluator.Verifier.Explain(ctx, registry, image, all)
		return e.explainedOf(written(j), image, ask, found), found
	}
	if len(parts) == 0 {
		one, _ := about(j.Digest, whole)
		return []explained{one}
	}
	first, found := about(j.Digest, e.questions(policies, j.Verdicts, func(policy.Subject) bool { return true }))
	if !found.Index {
		return []explained{first}
	}
	var out []explained
	if len(whole) > 0 {
		one, _ := about(j.Digest, whole)
		out = append(out, one)
	}
	var children []v1.Hash
	for _, p := range policies {
		for _, c := range p.Children(found.Children) {
			if !slices.Contains(children, c) {
				children = append(children, c)
			}
		}
	}
	for _, c := range children {
		one, _ := about(c, parts)
		out = append(out, one)
	}
	return out
}
