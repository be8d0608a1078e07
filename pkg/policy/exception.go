package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// MaxExceptionAge is how long an exception may last from its creation: whoever needs it longer looks at it again.
const MaxExceptionAge = 90 * 24 * time.Hour

// exceptionEnding is how long before its end an exception is warned of: long enough to fix what it excuses, or to ask for another.
const exceptionEnding = 14 * 24 * time.Hour

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

// covers tells whether findings of a severity are excused; it is the one that an unknown one counts as.
func (e Excuse) covers(s predicate.Severity) bool {
	return e.All || slices.Contains(e.Severities, s.String())
}

// severitySet are some severities.
type severitySet [predicate.Severities]bool

func anySeverity() (all severitySet) {
	for s := range all {
		all[s] = true
	}
	return all
}

// lets are the severities that it covers.
func (e Excuse) lets() (some severitySet) {
	for s := range some {
		some[s] = e.covers(predicate.Severity(s))
	}
	return some
}

// Barred is an exception that is about an image, and yet excuses nothing for a policy.
type Barred struct {
	Exception *Exception
	// Why is for people.
	Why string
}

// Use is an exception that was used.
type Use struct {
	Exception string // namespace/name
	Owner     string
	ID        string // of the vulnerability, as the exception has it
	Until     time.Time
}

func mergeUses(a, b []Use) []Use {
	if len(b) == 0 {
		return a
	}
	out, seen := slices.Clone(a), make(map[Use]bool, len(a)+len(b))
	for _, u := range a {
		seen[u] = true
	}
	for _, u := range b {
		if !seen[u] {
			out = append(out, u)
		}
		seen[u] = true
	}
	return out
}

// excuses returns the exceptions of the image's namespace that count for the policy now, and those that would, were the policy another.
func (p *Policy) excuses(img Image) (out []Excuse, barred []Barred) {
	for _, e := range img.Exceptions {
		if e == nil || e.Name.Namespace == "" || e.Name.Namespace != img.Namespace || !e.inForce(img.Now) {
			continue
		}
		if e.Images.Match(img.Reference, img.Digest) != MatchYes {
			continue
		}
		switch within := p.NamespaceExceptions; {
		case p.Name.Namespace == e.Name.Namespace:
			out = append(out, Excuse{Exception: e, All: true})
		case p.Name.Namespace != "":
		case within == nil:
			barred = append(barred, Barred{e, "the policy has no namespaceExceptions"})
		case within.MaxDuration > 0 && e.Until.Sub(e.Created) > within.MaxDuration:
			barred = append(barred, Barred{e, "only those of at most " + span(within.MaxDuration)})
		default:
			out = append(out, Excuse{Exception: e, Severities: within.Severities})
		}
	}
	return out, barred
}

// inForce tells whether an exception counts at a time. Its end is judged again here, whatever was checked when it was made.
func (e *Exception) inForce(now time.Time) bool {
	switch {
	case now.IsZero() || e.Created.IsZero():
		return false
	case now.Add(maxAhead).Before(e.Created):
		return false
	case e.Until.Sub(e.Created) > MaxExceptionAge:
		return now.Before(e.Created.Add(MaxExceptionAge))
	}
	return now.Before(e.Until)
}

// end is the first moment that an exception doesn't cover.
func (e *Exception) end() time.Time {
	if latest := e.Created.Add(MaxExceptionAge); latest.Before(e.Until) {
		return latest
	}
	return e.Until
}

// ParseExpires reads when something ends: a date, which is good through that day in UTC, or a time of RFC 3339. It returns the first moment that isn't
// covered.
func ParseExpires(text string) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	at, err := time.Parse(time.RFC3339, strings.ToUpper(text)) // RFC 3339, 5.6, lets T and Z be in lower case
	if err != nil {
		return time.Time{}, fmt.Errorf("%.40q: want a date, such as 2027-01-31 (good through that day, UTC), or a time of RFC 3339", text)
	}
	return at.UTC(), nil
}

// lastDay is the last day on which something that ends at a time is good, for people.
func lastDay(until time.Time) string { return until.UTC().Add(-time.Second).Format(time.DateOnly) }
