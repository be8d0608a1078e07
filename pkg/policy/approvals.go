package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// ApprovalRules say which approvals will do.
type ApprovalRules struct {
	// AtLeast is how many distinct signers are needed: 1 to MaxSigners.
	AtLeast int
	// Environment is where they say that the image may run.
	Environment string
	// MaxAge is how old each may be; 0 is any age.
	MaxAge time.Duration
}

// approvals is the requirement that people consented to the image's running in an environment.
//
//	by            the authorities that count
//	atLeast       how many distinct signers are needed (default 1); who is one signer, signature says
//	environment   where it is to run: an approval for another environment is none
//	maxAge        how old each approval may be; none: any age
//
// The subject is the digest that runs. It is existential, as signatures are: enough of them is enough, whatever else is there or can't be read; that
// there are too few can be said only when every place answered.
type approvals struct {
	by        []verify.Authority
	questions []verify.Question
	rules     ApprovalRules
}

// NewApprovals returns the requirement of approvals by at least so many distinct signers among the authorities.
func NewApprovals(by []verify.Authority, rules ApprovalRules) (Requirement, error) {
	if err := checkEnvironment("environment", rules.Environment); err != nil {
		return nil, err
	}
	switch {
	case rules.AtLeast < 1 || rules.AtLeast > MaxSigners:
		return nil, fmt.Errorf("atLeast: %d, want 1 to %d", rules.AtLeast, MaxSigners)
	case rules.MaxAge < 0:
		return nil, fmt.Errorf("maxAge: %s: is negative", rules.MaxAge)
	}
	questions, err := ask(by, predicate.KindApproval)
	if err != nil {
		return nil, err
	}
	if most, known := mostSigners(by); known && most < rules.AtLeast {
		return nil, fmt.Errorf("atLeast: %d signers, but the authorities have %d distinct keys or identities, so nobody could satisfy it", rules.AtLeast, most)
	}
	return approvals{by, questions, rules}, nil
}

// checkEnvironment refuses names that no approval or promotion can have.
func checkEnvironment(field, name string) error {
	switch err := predicate.CheckEnvironment(name); {
	case name == "":
		return errors.New(field + ": empty")
	case err != nil:
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

// Name implements Requirement.
func (a approvals) Name() string { return "approvals" }

// Subject implements Requirement.
func (a approvals) Subject() Subject { return TheImage }

// Questions implements Requirement.
func (a approvals) Questions() []verify.Question { return a.questions }

// String says by whom, how many and for where.
func (a approvals) String() string {
	return fmt.Sprintf("by %d of %s for %s", a.rules.AtLeast, namesOf(a.by, ", "), a.rules.Environment)
}

// sortedApprovals are the approvals of a case, by what is wrong with them.
type sortedApprovals struct {
	good, old, ahead, elsewhere, malformed []paper[*predicate.Approval]

	signers signers // of the good ones
}

// sort tells those that count from the others.
func (a approvals) sort(c Case, findings []verify.Findings) (out sortedApprovals) {
	all := papers[*predicate.Approval]{requirement: a.Name(), what: "approval", none: NoApproval, by: a.by}.collect(c, findings)
	for _, p := range all.papers {
		switch {
		case p.err != nil:
			out.malformed = append(out.malformed, p)
		case p.facts.Environment() != a.rules.Environment:
			out.elsewhere = append(out.elsewhere, p)
		case a.rules.MaxAge > 0 && c.Image.Now.Sub(p.at) > a.rules.MaxAge:
			out.old = append(out.old, p)
		default:
			out.good = append(out.good, p)
			out.signers.add(p.evidence, p.by)
		}
	}
	for _, p := range all.ahead {
		if p.facts.Environment() == a.rules.Environment {
			out.ahead = append(out.ahead, p)
		} else {
			out.elsewhere = append(out.elsewhere, p)
		}
	}
	return out
}

// Judge implements Requirement.
func (a approvals) Judge(c Case, findings []verify.Findings) Result {
	r := Result{Requirement: a.Name()}
	switch {
	case len(findings) != len(a.by):
		r.Reason, r.Detail = InternalError, "findings are missing"
		return r
	case c.Image.Now.IsZero():
		r.Reason, r.Detail = InternalError, "it isn't known what time it is"
		return r
	}
	found := a.sort(c, findings)
	if len(found.signers) >= a.rules.AtLeast {
		r.Outcome, r.Reason, r.Until = Satisfied, Verified, a.until(found)
		r.Detail = fmt.Sprintf("for %s %s", printable(a.rules.Environment), found.signers)
		if a.rules.MaxAge > 0 && slices.ContainsFunc(found.good, func(p paper[*predicate.Approval]) bool { return !p.evidence.Firm() }) {
			r.Detail += ", by the signer's own clock"
		}
		return r
	}
	for _, f := range findings {
		if whole, why := f.Whole(); !whole {
			r.Reason, r.Detail = ReasonOf(why), why.Error()
			return r
		}
	}
	r.Outcome = Violated
	r.Reason, r.Detail = a.lack(found, findings)
	return r
}

// until is when too few signers will be left: the age of each signer's newest counts.
func (a approvals) until(found sortedApprovals) time.Time {
	if a.rules.MaxAge == 0 {
		return time.Time{}
	}
	last := make([]time.Time, len(found.signers))
	for _, p := range found.good {
		i := slices.IndexFunc(found.signers, func(s signer) bool { return slices.Contains(s.prints, p.evidence.Signer()) })
		if i >= 0 {
			last[i] = latest(last[i], p.at)
		}
	}
	slices.SortFunc(last, func(x, y time.Time) int { return y.Compare(x) })
	return last[a.rules.AtLeast-1].Add(a.rules.MaxAge)
}

// lack says why there are too few: how many there are, and what became of the others.
func (a approvals) lack(found sortedApprovals, findings []verify.Findings) (Reason, string) {
	var parts []string
	var reasons []Reason
	tell := func(reason Reason, format string, args ...any) {
		reasons, parts = append(reasons, reason), append(parts, fmt.Sprintf(format, args...))
	}
	if n := len(found.old); n > 0 {
		p := youngest(found.old)
		tell(TooOld, "%s too old, the newest by %s of %s (max %s)", count(n, "approval"), p.by, stamp(p.at), span(a.rules.MaxAge))
	}
	if n := len(found.ahead); n > 0 {
		tell(DatedAhead, "%s dated ahead of this clock, by %s of %s", count(n, "approval"), found.ahead[0].by, stamp(latest(found.ahead[0].at, found.ahead[0].facts.Time())))
	}
	if n := len(found.elsewhere); n > 0 {
		tell(WrongEnvironment, "%s found, for %s, wanted %s", count(n, "approval"), environments(found.elsewhere), printable(a.rules.Environment))
	}
	if n := len(found.malformed); n > 0 {
		p := found.malformed[0]
		tell(PaperMalformed, "%s can't be read, one by %s (%s): %s", count(n, "approval"), p.by, short(p.evidence.Source().String()), printable(p.err.Error()))
	}
	rest := strings.Join(parts, "; ")
	switch {
	case len(found.signers) > 0:
		text := fmt.Sprintf("%s of at least %d: %s", count(len(found.signers), "signer"), a.rules.AtLeast, found.signers)
		if rest != "" {
			text += "; " + rest
		}
		return TooFewApprovals, text
	case len(reasons) > 0:
		return reasons[0], rest
	}
	return NoApproval, nearestPaper("approval for "+printable(a.rules.Environment), namesOf(a.by, " or "), findings)
}

func youngest(all []paper[*predicate.Approval]) paper[*predicate.Approval] {
	return slices.MaxFunc(all, func(x, y paper[*predicate.Approval]) int { return x.at.Compare(y.at) })
}

// environments names those that approvals are for, a few.
func environments(all []paper[*predicate.Approval]) string {
	var names []string
	for _, p := range all {
		names = append(names, p.facts.Environment())
	}
	slices.Sort(names)
	return listed(slices.Compact(names))
}
