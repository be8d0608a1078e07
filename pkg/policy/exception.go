package policy

import (
	"slices"
	"time"
)

// MaxExceptionAge is how long an exception may last from its creation: whoever needs it longer looks at it again.
const MaxExceptionAge = 90 * 24 * time.Hour

// Exception is an ImageException of a namespace: it excuses vulnerabilities of some images for a time. It isn't changed once made.
type Exception struct {
	// Name is the object's.
	Name Name
	// Owner answers for it, and Reason is why it is there; both are told to people.
	Owner, Reason string
	Images        Matcher
	// IDs are of vulnerabilities, or aliases of theirs.
	IDs []string
	// It is in force from Created until before Until, which is at most MaxExceptionAge later.
	Created, Until time.Time
}

// NamespaceExceptions says how far a cluster's policy lets exceptions of a namespace loosen it. The zero value lets nothing.
type NamespaceExceptions struct {
	// Severities are those whose findings may be excused.
	Severities []string
	// MaxDuration is how long such an exception may last in all; 0: as long as any.
	MaxDuration time.Duration
}

// Excuse is an exception as far as it counts for a policy. The zero Excuse excuses nothing.
type Excuse struct {
	Exception *Exception
	// All says that findings of any severity are excused: the policy is of the exception's own namespace. Otherwise those of Severities are.
	All        bool
	Severities []string
}

// Use is an exception that was used.
type Use struct {
	Exception string // namespace/name
	Owner     string
	ID        string // of the vulnerability, as the exception has it
	Until     time.Time
}

func mergeUses(a, b []Use) []Use {
	out := slices.Clone(a)
	for _, u := range b {
		if !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	return out
}

// excuses returns the exceptions of the image's namespace that count for the policy now.
func (p *Policy) excuses(img Image) (out []Excuse) {
	for _, e := range img.Exceptions {
		if e.Name.Namespace == "" || e.Name.Namespace != img.Namespace || img.Now.IsZero() || img.Now.Add(maxAhead).Before(e.Created) || !img.Now.Before(e.Until) {
			continue
		}
		if e.Images.Match(img.Reference, img.Digest) != MatchYes {
			continue
		}
		switch within := p.NamespaceExceptions; {
		case p.Name.Namespace == e.Name.Namespace:
			out = append(out, Excuse{Exception: e, All: true})
		case p.Name.Namespace != "" || within == nil:
		case within.MaxDuration > 0 && e.Until.Sub(e.Created) > within.MaxDuration:
		default:
			out = append(out, Excuse{Exception: e, Severities: within.Severities})
		}
	}
	return out
}
