package policy

import (
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Mode says what a refusal does. The zero value enforces.
type Mode uint8

// The modes.
const (
	Enforce Mode = iota // the request is refused
	Warn                // the request passes, its author sees a warning
	Audit               // the request passes, the audit log tells
)

// String returns the mode as policies write it.
func (m Mode) String() string {
	switch m {
	case Warn:
		return "Warn"
	case Audit:
		return "Audit"
	case Enforce:
	}
	return "Enforce"
}

// Action is what a policy does with the images that it matches. The zero value makes it unusable.
type Action uint8

// The actions.
const (
	ActionNone    Action = iota // nobody said: it refuses
	ActionRequire               // they must satisfy its requirements
	ActionAllow                 // they need no papers, as far as it goes
	ActionDeny                  // they are refused
)

// Name names a policy: Namespace is empty for a cluster's.
type Name struct {
	Namespace string
	Name      string
}

// String returns namespace/name, or the name alone.
func (n Name) String() string {
	if n.Namespace == "" {
		return n.Name
	}
	return n.Namespace + "/" + n.Name
}

// Policy is a compiled policy. It isn't changed once made, and is safe to share.
type Policy struct {
	Name   Name
	Mode   Mode
	Images Matcher
	// Platforms say which children of an index must have papers of their own; none: every one that a node may run.
	Platforms  []Platform
	References References
	Action     Action
	// Because is the reason given with allow and deny, shown to people.
	Because string
	// Requirements are those of ActionRequire.
	Requirements []Requirement
	// AcceptSummary is what may stand for some of the requirements; nil for nothing.
	AcceptSummary Substitute
	// NamespaceExceptions says how far exceptions of a namespace loosen a cluster's policy; nil: not at all.
	NamespaceExceptions *NamespaceExceptions
	// Unusable says why the policy can't be used. Such a policy refuses what it matches.
	Unusable string
	// MatchesAll makes an unusable policy, whose images can't be read, match everything.
	MatchesAll bool
	// KeysNotReadAgain says that referenced keys could not be read again; those read before are in use.
	KeysNotReadAgain string
	// Digest identifies what the policy asks for: sha256 of the RFC 8785 JSON of its authorities and requirements, of the platforms that these are
	// about, and of what may stand for them.
	Digest string
}

// Requirement is one thing that a policy wants of an image. Each kind has a file of its own.
type Requirement interface {
	// Name is the requirement's field in the policy.
	Name() string
	// Subject says which digests its papers are about.
	Subject() Subject
	// Questions are those whose answers Judge wants, in that order.
	Questions() []verify.Question
	// Judge says what comes of the requirement for one digest of its subject, from one Findings for each of Questions.
	Judge(c Case, findings []verify.Findings) Result
}

// Substitute is what may stand for requirements, whose papers then need not be read: a summary of somebody who read them.
type Substitute interface {
	// Questions are those whose answers Judge wants, in that order. They are about the digest that runs.
	Questions() []verify.Question
	// Judge says whether it stands for requirements of the policy whose digest this is: only a Satisfied one does.
	Judge(c Case, policyDigest string, findings []verify.Findings) Result
	// For tells whether it may stand for a requirement, by its name.
	For(requirement string) bool
}

// Case is what a requirement judges: a digest of an image, in a namespace, at a time.
type Case struct {
	// Digest is what the papers are about: the image that runs, or a child of it.
	Digest v1.Hash
	// Image is the one that runs.
	Image Image
	// Excuses are the exceptions of the namespace, as far as they count for the policy and are about the image.
	Excuses []Excuse
	// Barred are those about the image that don't count for the policy.
	Barred []Barred
	// rules is what the rules of the policy's custom requirements may cost together; nil: those of each requirement and statement have it for themselves.
	rules *allowance
}

// Image is what a policy judges.
type Image struct {
	Reference Reference
	// Digest is the one that will run, resolved; the zero Hash if that isn't known.
	Digest v1.Hash
	// Unresolved says why Digest isn't known, once that was tried.
	Unresolved *verify.FetchError
	// Pinning says what becomes of its tag under a policy that pins tags.
	Pinning Pinning
	// Namespace is where it is to run.
	Namespace string
	// Now is the time at which it is judged. What has an age is refused without it.
	Now time.Time
	// Exceptions are those of the namespace, whatever they are about.
	Exceptions []*Exception
	// Done is closed when nobody waits for the answer any more, so that rules need not be evaluated to their end; nil: somebody always does.
	Done <-chan struct{}
}

func (i Image) resolved() bool { return i.Digest != v1.Hash{} }

// Knowledge returns what is known of a digest in answer to a question: the one that is being judged, or one below it.
type Knowledge func(digest v1.Hash, question verify.Question) verify.Findings

// Questions returns all the questions whose answers Judge wants.
func (p *Policy) Questions() []verify.Question {
	if p.Unusable != "" || p.Action != ActionRequire {
		return nil
	}
	n := 0
	for _, r := range p.Requirements {
		n += len(r.Questions())
	}
	out := make([]verify.Question, 0, n+1) // a summary is mostly asked of one
	if p.AcceptSummary != nil {
		out = append(out, p.AcceptSummary.Questions()...)
	}
	for _, r := range p.Requirements {
		out = append(out, r.Questions()...)
	}
	return out
}

// First returns the questions to ask first: all, but those of requirements for which a summary may stand. Rest returns what is left to ask once
// they are answered.
func (p *Policy) First() []verify.Question {
	if p.AcceptSummary == nil || p.Unusable != "" || p.Action != ActionRequire {
		return p.Questions()
	}
	out := slices.Clone(p.AcceptSummary.Questions())
	for _, r := range p.Requirements {
		if !p.AcceptSummary.For(r.Name()) {
			out = append(out, r.Questions()...)
		}
	}
	return out
}

// Rest returns the questions beside those of First whose answers Judge wants, by what is known from them.
func (p *Policy) Rest(img Image, know Knowledge) []verify.Question {
	if p.AcceptSummary == nil || p.Unusable != "" || p.Action != ActionRequire || p.summary(img, know).Outcome == Satisfied {
		return nil
	}
	var out []verify.Question
	for _, r := range p.Requirements {
		if p.AcceptSummary.For(r.Name()) {
			out = append(out, r.Questions()...)
		}
	}
	return out
}

// summary says whether a summary stands for requirements.
func (p *Policy) summary(img Image, know Knowledge) Result {
	if p.AcceptSummary == nil || !img.resolved() {
		return Result{}
	}
	return p.AcceptSummary.Judge(p.caseOf(img), p.Digest, answers(p.AcceptSummary.Questions(), img.Digest, know))
}

// caseOf is what requirements judge of an image.
func (p *Policy) caseOf(img Image) Case {
	excuses, barred := p.excuses(img)
	return Case{Digest: img.Digest, Image: img, Excuses: excuses, Barred: barred, rules: &allowance{}}
}

// Match tells whether the policy is about a reference. An unusable one whose images can't be read is about everything.
func (p *Policy) Match(r Reference, digest v1.Hash) Match {
	if p.MatchesAll {
		return MatchYes
	}
	return p.Images.Match(r, digest)
}

// NeedsDigest tells whether Judge can say more once the digest is known.
func (p *Policy) NeedsDigest(r Reference) bool {
	if p.Unusable != "" || !r.ByTag() {
		return false
	}
	return p.Action == ActionRequire || p.Action == ActionAllow && p.References.Tags != TagsAllow
}

// Judge returns the verdict on an image that the policy matches.
func (p *Policy) Judge(img Image, know Knowledge) Verdict {
	v := Verdict{Policy: p.Name, Mode: p.Mode, Digest: p.Digest}
	if p.Unusable != "" {
		v.add(Result{Requirement: "policy", Reason: PolicyUnusable, Detail: p.Unusable})
		return v
	}
	if p.Images.Match(img.Reference, img.Digest) == MatchByDigest {
		v.add(unresolved("images", img)) // whether it matches hangs on a digest that nobody knows
		return v
	}
	switch p.Action {
	case ActionDeny:
		v.add(Result{Requirement: "deny", Outcome: Violated, Reason: DeniedByPolicy, Detail: p.Because})
		return v
	case ActionAllow:
		v.add(Result{Requirement: "allow", Outcome: Exempt, Reason: AllowedByPolicy, Detail: p.Because})
	case ActionRequire:
		p.require(&v, img, know)
	case ActionNone:
		v.add(Result{Requirement: "policy", Reason: PolicyUnusable, Detail: "it says neither require nor allow nor deny"})
	}
	bad, warning := p.References.judge(img, p.Mode)
	if said := p.Action == ActionRequire && !img.resolved() && bad != nil && bad.Outcome == Undetermined; bad != nil && !said {
		v.add(*bad)
	}
	if warning != nil {
		v.Warnings = append(v.Warnings, *warning)
	}
	if p.KeysNotReadAgain != "" {
		v.Warnings = append(v.Warnings, Warning{Reason: KeyNotReadAgain, Text: p.KeysNotReadAgain})
	}
	return v
}

// require judges every requirement, so that all reasons reach the user at once.
func (p *Policy) require(v *Verdict, img Image, know Knowledge) {
	if len(p.Requirements) == 0 {
		v.add(Result{Requirement: "require", Reason: PolicyUnusable, Detail: "it requires nothing"})
		return
	}
	c, summary := p.caseOf(img), p.summary(img, know)
	v.Results = make([]Result, 0, len(p.Requirements)+1) // and what becomes of its tag
	said := false                                        // why no summary stands, which is told once
	var findings []verify.Findings
	for _, r := range p.Requirements {
		if !img.resolved() {
			v.add(unresolved(r.Name(), img))
			continue
		}
		summed := p.AcceptSummary != nil && p.AcceptSummary.For(r.Name())
		if summed && summary.Outcome == Satisfied {
			v.add(Result{Requirement: r.Name(), Outcome: Satisfied, Reason: VerifiedBySummary, Detail: summary.Detail, Until: summary.Until})
			continue
		}
		findings = answersIn(findings[:0], r.Questions(), img.Digest, know)
		index := slices.IndexFunc(findings, func(f verify.Findings) bool { return f.Index })
		for _, f := range findings {
			if f.Stale {
				v.stale(f)
			}
		}
		var got Result
		if r.Subject() == EachPlatform && index >= 0 {
			got = p.eachPlatform(c, r, findings[index].Children, know)
		} else {
			got = r.Judge(c, findings)
		}
		if summed && !said && !got.Outcome.Passes() && summary.Detail != "" {
			got.Detail, said = got.Detail+"; no summary stands for it: "+summary.Detail, true
		}
		v.add(got)
	}
}

func unresolved(requirement string, img Image) Result {
	if img.Unresolved == nil {
		return Result{Requirement: requirement, Reason: RegistryUnavailable, Detail: "its digest was not resolved"}
	}
	return Result{Requirement: requirement, Reason: ReasonOf(img.Unresolved), Detail: "could not resolve the tag: " + img.Unresolved.Error()}
}

// Refuse returns the verdict of a policy on something that can't even be judged.
func (p *Policy) Refuse(outcome Outcome, reason Reason, detail string) Verdict {
	if outcome.Passes() {
		outcome = Undetermined
	}
	v := Verdict{Policy: p.Name, Mode: p.Mode, Digest: p.Digest}
	v.add(Result{Requirement: "image", Outcome: outcome, Reason: reason, Detail: detail})
	return v
}

// Summary describes what the policy asks for, in one line.
func (p *Policy) Summary() string {
	switch p.Action {
	case ActionAllow:
		return "allow: " + p.Because
	case ActionDeny:
		return "deny: " + p.Because
	case ActionRequire:
		text := "require"
		for i, r := range p.Requirements {
			sep := ", "
			if i == 0 {
				sep = " "
			}
			text += sep + r.Name()
			if s, ok := r.(fmt.Stringer); ok {
				text += " " + s.String()
			}
		}
		return text
	case ActionNone:
	}
	return "unusable"
}
