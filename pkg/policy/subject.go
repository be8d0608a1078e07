package policy

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Subject says which digests the papers of a requirement are about.
type Subject uint8

// The subjects.
const (
	// TheImage is the digest that runs: an index is signed, approved and promoted as an index, and a child's signature is none of its.
	TheImage Subject = iota
	// EachPlatform is each child of an index that a node may run and that the policy's platforms select: each is built, scanned and
	// described by itself. An image that is no index is its own only child.
	EachPlatform
)

// eachPlatform judges a requirement for every selected child. The worst outcome decides, and says which child it is.
//
// A child's papers are those that are listed with it, and those that are listed with the index and name it among their subjects: one object on
// the index holds for all the children that it names, and for no other.
func (p *Policy) eachPlatform(c Case, r Requirement, children []verify.Child, know Knowledge) Result {
	selected := p.selected(children)
	if len(selected) == 0 {
		return Result{Requirement: r.Name(), Outcome: Violated, Reason: PlatformMissing, Detail: fmt.Sprintf(
			"the index has none of the platforms that the policy is about (%s); it has %s", platforms(p.Platforms), have(children))}
	}
	above := answers(r.Questions(), c.Digest, know)
	var all []Result
	for _, child := range selected {
		found := answers(r.Questions(), child.Digest, know)
		for i := range found {
			found[i] = found[i].With(above[i], child.Digest)
		}
		of := c
		of.Digest = child.Digest
		got := r.Judge(of, found)
		if !got.Outcome.Passes() {
			got.Detail = childName(child) + ": " + got.Detail
		}
		all = append(all, got)
	}
	out := worstOf(all)
	if out.Outcome == Satisfied {
		out.Detail = fmt.Sprintf("for %s: %s", count(len(selected), "platform"), out.Detail)
	}
	return out
}

// answers is what is known of a digest in answer to questions.
func answers(questions []verify.Question, digest v1.Hash, know Knowledge) []verify.Findings {
	return answersIn(make([]verify.Findings, 0, len(questions)), questions, digest, know)
}

// answersIn appends them to a list.
func answersIn(out []verify.Findings, questions []verify.Question, digest v1.Hash, know Knowledge) []verify.Findings {
	for _, q := range questions {
		out = append(out, know(digest, q))
	}
	return out
}

// Below returns the questions that are about the children of an index, if the image is one, by what is known of the index: see Children.
func (p *Policy) Below(img Image, know Knowledge) []verify.Question {
	if p.Unusable != "" || p.Action != ActionRequire {
		return nil
	}
	stands := p.summary(img, know).Outcome == Satisfied
	var out []verify.Question
	for _, r := range p.Requirements {
		if r.Subject() == EachPlatform && !(stands && p.AcceptSummary.For(r.Name())) {
			out = append(out, r.Questions()...)
		}
	}
	return out
}

// Children returns the digests, beside the image's own, that the policy's requirements are about, if the image is an index of these
// children: what a requirement is judged by has to be known of each.
func (p *Policy) Children(children []verify.Child) []v1.Hash {
	if p.Unusable != "" || p.Action != ActionRequire {
		return nil
	}
	if !slices.ContainsFunc(p.Requirements, func(r Requirement) bool { return r.Subject() == EachPlatform }) {
		return nil
	}
	var out []v1.Hash
	for _, c := range p.selected(children) {
		if !slices.Contains(out, c.Digest) {
			out = append(out, c.Digest)
		}
	}
	return out
}

func childName(c verify.Child) string {
	if !c.Platform.Told() {
		return short(c.Digest.String())
	}
	return printable(c.Platform.String()) + " " + short(c.Digest.String())
}

func platforms(all []Platform) string {
	var out []string
	for _, p := range all {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}

// have names the platforms of an index, the first few.
func have(children []verify.Child) string {
	const most = 6
	var out []string
	for i, c := range children {
		if i == most {
			out = append(out, fmt.Sprintf("%d more", len(children)-most))
			break
		}
		out = append(out, printable(c.Platform.String()))
	}
	return strings.Join(out, ", ")
}
