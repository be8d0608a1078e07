package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// promotion is the requirement that the image was promoted to an environment, in the repository that it runs from.
//
//	by   the authorities that count
//	to   the environment
//
// The subject is the digest that runs. Of the promotions to that environment and repository the newest counts; one to another environment or
// another repository is none (security.md row 79): who promotes to several makes one for each. The repository is compared by its
// canonical name, as the Pod writes it; a mirror doesn't change it.
type promotion struct {
	by        []verify.Authority
	questions []verify.Question
	to        string
}

// NewPromotion returns the requirement of a promotion to an environment by one of the authorities.
func NewPromotion(by []verify.Authority, to string) (Requirement, error) {
	if err := checkEnvironment("to", to); err != nil {
		return nil, err
	}
	questions, err := ask(by, predicate.KindPromotion)
	if err != nil {
		return nil, err
	}
	return promotion{by, questions, to}, nil
}

// Name implements Requirement.
func (p promotion) Name() string { return "promotion" }

// Subject implements Requirement.
func (p promotion) Subject() Subject { return TheImage }

// Questions implements Requirement.
func (p promotion) Questions() []verify.Question { return p.questions }

// String says to where, and by whom.
func (p promotion) String() string { return "to " + p.to + " by " + namesOf(p.by, " or ") }

// Judge implements Requirement.
func (p promotion) Judge(c Case, findings []verify.Findings) Result {
	here := repositoryOf(c)
	all := papers[*predicate.Promotion]{
		requirement: p.Name(), what: "promotion", none: NoPromotion, by: p.by,
		keep: func(f *predicate.Promotion) bool {
			return f.To().Environment == p.to && canonicalRepository(f.To().Repository) == here
		},
	}
	r := all.judge(c, findings, func(paper paper[*predicate.Promotion]) Result {
		return Result{Outcome: Satisfied, Reason: Verified, Detail: fmt.Sprintf("to %s, by %s of %s", printable(p.to), paper.by, stamp(paper.at))}
	})
	if r.Outcome == Violated && r.Reason == NoPromotion {
		all.keep = nil
		if others := all.collect(c, findings).papers; len(others) > 0 {
			r.Reason, r.Detail = p.others(others, here)
		}
	}
	return r
}

// others says what the promotions are to, instead: those to the environment are nearer.
func (p promotion) others(all []paper[*predicate.Promotion], here string) (Reason, string) {
	var to []string
	reason := WrongEnvironment
	for _, other := range all {
		if other.facts.To().Environment == p.to {
			reason = WrongRepository
		}
	}
	for _, other := range all {
		if stage := other.facts.To(); reason == WrongEnvironment || stage.Environment == p.to {
			to = append(to, stage.Environment+" in "+stage.Repository)
		}
	}
	slices.Sort(to)
	return reason, fmt.Sprintf("%s found, to %s, wanted %s in %s", count(len(all), "promotion"), listed(slices.Compact(to)), printable(p.to), printable(here))
}

// canonicalRepository is host/path with the host by its one name.
func canonicalRepository(s string) string {
	host, path, _ := strings.Cut(s, "/")
	return canonicalHost(host) + "/" + path
}
