package policy

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// SummaryRules say which verification summary will do, and what for.
type SummaryRules struct {
	// VerifierID is who must have verified.
	VerifierID string
	// InsteadOf are the requirements that it stands for, by their names: of Summarizable.
	InsteadOf []string
	// MaxAge is how old it may be. It must be set: without it a summary that doesn't say until when it holds would stand for good, while what it
	// stands for, such as a scan, grows old.
	MaxAge time.Duration
}

// Summarizable are the requirements that a summary may stand for. It stands for no signature and no approval: those are about who signed, and a
// summary is a paper by another, whose signer would then sign and approve for everybody.
func Summarizable() []string {
	return []string{"sbom", "vulnerabilities", "secrets", "provenance", "tests", "promotion", "custom"}
}

// summary is a SLSA verification summary (VSA) in place of the papers themselves.
//
//	by           the authorities that count
//	verifierID   who must have verified. SLSA: only certain pairs of signer and verifier are to be accepted
//	insteadOf    the requirements that it stands for
//	maxAge       how old it may be
//
// The one that counts is the newest by that verifier about this digest, in the repository that the image runs from, under this policy's digest; so
// it stands for nothing once the policy asks for something else. If it says FAILED, or it is too old, or the time is past its own validUntil, it
// stands for nothing, and the requirements are judged by their papers.
type summary struct {
	by        []verify.Authority
	questions []verify.Question
	rules     SummaryRules
}

// NewSummary returns what stands for requirements: a summary by one of the authorities.
func NewSummary(by []verify.Authority, rules SummaryRules) (Substitute, error) {
	questions, err := ask(by, predicate.KindSummary)
	switch {
	case err != nil:
		return nil, err
	case rules.VerifierID == "":
		return nil, errors.New("verifierID: empty, so that anybody could have verified")
	case len(rules.InsteadOf) == 0:
		return nil, errors.New("insteadOf: names no requirement, so that it would stand for nothing")
	case rules.MaxAge <= 0:
		return nil, errors.New("maxAge: missing or not positive, so that a summary would stand for good; write how old it may be, such as 168h")
	}
	for i, name := range rules.InsteadOf {
		switch {
		case name == "signature" || name == "approvals":
			return nil, fmt.Errorf("insteadOf[%d]: nothing stands for %s", i, name)
		case !slices.Contains(Summarizable(), name):
			return nil, fmt.Errorf("insteadOf[%d]: %.64q is no requirement: want one of %s", i, name, strings.Join(Summarizable(), ", "))
		case slices.Contains(rules.InsteadOf[:i], name):
			return nil, fmt.Errorf("insteadOf[%d]: %s is there twice", i, name)
		}
	}
	rules.InsteadOf = slices.Clone(rules.InsteadOf)
	return summary{by, questions, rules}, nil
}

// Questions implements Substitute.
func (s summary) Questions() []verify.Question { return s.questions }

// For implements Substitute.
func (s summary) For(requirement string) bool { return slices.Contains(s.rules.InsteadOf, requirement) }

// Judge implements Substitute.
func (s summary) Judge(c Case, policyDigest string, findings []verify.Findings) Result {
	const name = "acceptSummary"
	if policyDigest == "" {
		return Result{Requirement: name, Reason: InternalError, Detail: "the policy has no digest"}
	}
	all := papers[*predicate.Summary]{
		requirement: name, what: "VSA", none: NoSummary, by: s.by, maxAge: s.rules.MaxAge,
		keep: func(f *predicate.Summary) bool {
			return f.Verifier() == s.rules.VerifierID && f.PolicyDigest() == policyDigest && isResource(f.Resource(), c)
		},
	}
	found := false
	r := all.judge(c, findings, func(p paper[*predicate.Summary]) Result {
		found = true
		return s.content(c, p)
	})
	if r.Outcome == Violated && r.Reason == NoSummary && !found {
		all.keep = nil
		if others := all.collect(c, findings).papers; len(others) > 0 {
			r.Detail = s.others(c, others, policyDigest)
		}
	}
	return r
}

// content judges what one says.
func (s summary) content(c Case, p paper[*predicate.Summary]) Result {
	until := p.facts.ValidUntil()
	switch {
	case !p.facts.Passed():
		return Result{Outcome: Violated, Reason: NoSummary, Detail: fmt.Sprintf("the newest VSA, by %s of %s, says FAILED", p.by, stamp(p.at))}
	case !until.IsZero() && c.Image.Now.After(until):
		return Result{Outcome: Violated, Reason: TooOld, Detail: fmt.Sprintf("the newest VSA, by %s of %s, was valid until %s", p.by, stamp(p.at), stamp(until))}
	}
	return Result{Outcome: Satisfied, Reason: VerifiedBySummary, Until: until, Detail: fmt.Sprintf("verified by %s on %s, in a VSA by %s",
		printableName(s.rules.VerifierID), stamp(p.at), p.by)}
}

// others says in what the nearest of other summaries differs.
func (s summary) others(c Case, all []paper[*predicate.Summary], policyDigest string) string {
	some := count(len(all), "VSA") + " found, but none "
	all = slices.DeleteFunc(all, func(p paper[*predicate.Summary]) bool { return p.facts.Verifier() != s.rules.VerifierID })
	if len(all) == 0 {
		return some + "of verifier " + printableName(s.rules.VerifierID)
	}
	there := all[0].facts.Resource()
	all = slices.DeleteFunc(all, func(p paper[*predicate.Summary]) bool { return !isResource(p.facts.Resource(), c) })
	if len(all) == 0 {
		return fmt.Sprintf("%sfor this image in %s: it is for %s", some, printable(repositoryOf(c)), printableName(there))
	}
	return fmt.Sprintf("%sunder this policy as it is now: policy digest %s, wanted %s", some, short(all[0].facts.PolicyDigest()), short(policyDigest))
}

// repositoryOf is host/path of the image that runs, by its canonical name.
func repositoryOf(c Case) string { return c.Image.Reference.Host() + "/" + c.Image.Reference.Path() }

// isResource tells whether a URI is of the image that runs, in the repository that it runs from. Such URIs are written in three ways:
//
//	registry.example.com/app@sha256:...
//	oci://registry.example.com/app@sha256:...
//	pkg:oci/app@sha256:...?repository_url=registry.example.com/app (package-url's type oci)
func isResource(uri string, c Case) bool {
	text := strings.TrimPrefix(uri, "oci://")
	if rest, ok := strings.CutPrefix(uri, "pkg:oci/"); ok {
		if text, ok = referenceOf(rest); !ok {
			return false
		}
	}
	ref, err := ParseReference(text)
	if err != nil {
		return false
	}
	digest, ok := ref.Digest()
	return ok && digest == c.Image.Digest && ref.Host() == c.Image.Reference.Host() && ref.Path() == c.Image.Reference.Path()
}

// referenceOf makes a reference of a package URL, from what follows pkg:oci/: NAME@VERSION?QUALIFIERS, the name being the last part of the
// repository, and the version its digest.
func referenceOf(purl string) (string, bool) {
	purl, _, _ = strings.Cut(purl, "#")
	path, query, _ := strings.Cut(purl, "?")
	name, version, ok := strings.Cut(path, "@")
	if !ok {
		return "", false
	}
	digest, err := url.PathUnescape(version)
	if err != nil {
		return "", false
	}
	qualifiers, err := url.ParseQuery(query)
	if err != nil || len(qualifiers["repository_url"]) != 1 {
		return "", false
	}
	repository := qualifiers["repository_url"][0]
	if last := repository[strings.LastIndexByte(repository, '/')+1:]; last != name {
		return "", false
	}
	return repository + "@" + digest, true
}
