package policy

import (
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// UnmatchedRule says what becomes of an image in a namespace that no enforcing policy closes. The zero value refuses it.
type UnmatchedRule uint8

// The rules.
const (
	UnmatchedDeny UnmatchedRule = iota
	UnmatchedWarn
	UnmatchedAllow
)

// Set is the policies of one namespace.
type Set struct {
	// Cluster are the ClusterImagePolicies that select the namespace.
	Cluster []*Policy
	// Namespaced are the namespace's own ImagePolicies.
	Namespaced []*Policy
	// Exceptions are the namespace's own ImageExceptions.
	Exceptions []*Exception
	// Unmatched is the install's rule for namespaces that nothing closes.
	Unmatched UnmatchedRule
}

// All returns every policy of the namespace.
func (s Set) All() []*Policy {
	out := make([]*Policy, 0, len(s.Cluster)+len(s.Namespaced))
	return append(append(out, s.Cluster...), s.Namespaced...)
}

// Selection is what a Set has to say about one image.
type Selection struct {
	// Policies are those that match, all of which must pass.
	Policies []*Policy
	// NeedsDigest says that a policy's match hangs on a digest that isn't known: resolve it and select again.
	NeedsDigest bool
	// Unmatched is the verdict on an image that no policy of the closing level matches; nil where one does.
	Unmatched *Verdict
}

// Verdicts is how many verdicts there must be on the image. It is never zero: nothing passes for want of a verdict.
func (s Selection) Verdicts() int {
	n := len(s.Policies)
	if s.Unmatched != nil {
		n++
	}
	return n
}

// Pins tells whether a tag is to be rewritten to the digest that it stands for: an enforcing policy that matches wants it pinned, and
// none wants it refused.
func (s Selection) Pins() bool {
	pins := false
	for _, p := range s.Policies {
		if p.Mode != Enforce || p.Unusable != "" || p.Action != ActionRequire && p.Action != ActionAllow {
			continue
		}
		switch p.References.Tags {
		case TagsDeny:
			return false
		case TagsPin:
			pins = true
		case TagsAllow:
		}
	}
	return pins
}

// Select returns the policies that are about an image, and the verdict that a namespace's being closed gives.
//
// A namespace is closed at the level that closes it. Where a cluster policy enforces, an image that no enforcing cluster policy
// matches is refused; where only the namespace's policies enforce, one of those must match. Warn and Audit close nothing and
// open nothing; nor does a policy that only denies, or else the revocation of one digest would stop all that has no policy.
func (s Set) Select(r Reference, digest v1.Hash) Selection {
	var sel Selection
	var closers []string
	pick := func(policies []*Policy) (closes, matches bool) {
		closers = nil
		for _, p := range policies {
			if p.closes() {
				closes, closers = true, append(closers, p.Name.String())
			}
			switch p.Match(r, digest) {
			case MatchNo:
				continue
			case MatchByDigest:
				sel.NeedsDigest = true
			case MatchYes:
			}
			sel.Policies = append(sel.Policies, p)
			matches = matches || p.closes()
		}
		return closes, matches
	}
	clusterCloses, clusterMatches := pick(s.Cluster)
	byCluster := closers
	nsCloses, nsMatches := pick(s.Namespaced)
	switch {
	case clusterCloses && !clusterMatches:
		sel.Unmatched = unmatched(Enforce, "no enforcing ClusterImagePolicy is about this image"+closedBy(byCluster))
	case clusterCloses:
	case nsCloses && !nsMatches:
		sel.Unmatched = unmatched(Enforce, "no enforcing ImagePolicy of the namespace is about this image"+closedBy(closers))
	case nsCloses:
	default:
		sel.Unmatched = s.open()
	}
	return sel
}

// closedBy says by which policies a namespace is closed, the first two, and the cure.
func closedBy(names []string) string {
	const most = 2
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return "; others are refused since " + text + ": name it there, or in a policy that allows it"
}

// closes tells whether a policy says which images may run, so that others may not.
func (p *Policy) closes() bool { return p.Mode == Enforce && p.Action != ActionDeny }

// open is the verdict in a namespace that no enforcing policy closes.
func (s Set) open() *Verdict {
	switch s.Unmatched {
	case UnmatchedAllow:
		return &Verdict{Results: []Result{{
			Requirement: "policy", Outcome: Exempt, Reason: NoPolicyInForce, Detail: "no policy is enforced in the namespace",
		}}}
	case UnmatchedWarn:
		return unmatched(Warn, "no policy is enforced in the namespace")
	case UnmatchedDeny:
	}
	return unmatched(Enforce, "no policy is enforced in the namespace, and this install refuses such images")
}

func unmatched(mode Mode, why string) *Verdict {
	return &Verdict{Mode: mode, Results: []Result{{
		Requirement: "policy", Outcome: Violated, Reason: NoPolicyMatches, Detail: why,
	}}}
}

// SelectInvalid returns the selection for an image whose reference can't be parsed: it counts as matched by every policy.
func (s Set) SelectInvalid() Selection {
	sel := Selection{Policies: s.All()}
	for _, p := range sel.Policies {
		if p.Mode == Enforce {
			return sel
		}
	}
	sel.Unmatched = s.open()
	return sel
}

// ParseUnmatchedRule reads Deny, Warn or Allow.
func ParseUnmatchedRule(s string) (UnmatchedRule, error) {
	switch s {
	case "Deny":
		return UnmatchedDeny, nil
	case "Warn":
		return UnmatchedWarn, nil
	case "Allow":
		return UnmatchedAllow, nil
	}
	return UnmatchedDeny, fmt.Errorf("%q: want Deny, Warn or Allow", s)
}
