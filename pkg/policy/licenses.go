package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// MaxLicenseRules bounds the globs of deny and of allow, and the exceptions: the SPDX list has some 700 identifiers, in a hundred families.
const MaxLicenseRules = 256

// maxLicenseWork bounds what one SBOM's licences may take to judge, in steps of a few nanoseconds at most: 60,000 packages of a denied licence against
// as many exceptions as there may be, or a thousand whole texts of licences against three globs that search. An SBOM beyond it is refused, with the
// reason TooLarge: who may sign one could otherwise keep a replica busy for as long as it takes.
const maxLicenseWork = 1 << 26

// LicenseRules are what a policy says of licences, as it is written.
type LicenseRules struct {
	// Deny and Allow are globs over identifiers. Without Allow all may be there that Deny doesn't name.
	Deny, Allow []string
	// Unknown says what an unknown licence does: Allow, Warn or Deny; empty: Warn.
	Unknown string
	// Exceptions excuse packages.
	Exceptions []LicenseException
}

// LicenseException excuses packages that have a licence, for a time.
type LicenseException struct {
	// Package is a glob over names, with regard to case.
	Package string
	// License is a glob over identifiers, or the whole licence exactly as the SBOM writes it.
	License string
	// Reason is why.
	Reason string
	// Expires is a date (good through that day, UTC) or a time of RFC 3339. An expired exception excuses nothing.
	Expires string
}

// licenses judges the licences of an SBOM's packages.
//
//	deny        globs of identifiers that nobody may need
//	allow       globs of those that may be used; none: all that deny doesn't name
//	unknown     Allow, Warn (default), Deny: what becomes of a package whose licence can't be told
//	exceptions  excuse a package from a licence, until they expire
//
// A glob matches one whole identifier of the SBOM, without regard to case: GPL-* matches GPL-3.0-or-later, not LGPL-2.1-only. Identifiers are compared
// as written: GPL-2.0+ and GPL-2.0-or-later are two. "X WITH exception" counts as X.
//
// An expression passes if what is left of its choices, once the denied and those not allowed are taken away, satisfies it: MIT OR GPL-2.0
// passes a ban of the GPL, MIT AND GPL-2.0 doesn't. Several licences of a package apply all at once.
//
// Unknown is a licence that isn't told (NOASSERTION, NONE, nothing), or told in words that are no SPDX identifier ("GPLv2+", "Public Domain"), or a
// LicenseRef that no glob names. Deny may name any of these, a LicenseRef also by the name that the document gives it, and denies a text too that
// has a denied identifier as a word in it, or what looks like one: "MIT, GPL-3". Allow may name the text of one exactly, but its wildcards reach only
// identifiers: BSD* doesn't allow "BSD, but not for war". Neither allow nor an exception matches a name of more than MaxGlobName bytes. Where one of two choices is no SPDX identifier, the other decides: "GPL-2.0 or later" is no way around a ban.
type licenses struct {
	deny, allow []wildcard
	unknown     string
	exceptions  []licenseException
}

// What may be said of unknown licences.
const (
	unknownAllow = "Allow"
	unknownWarn  = "Warn"
	unknownDeny  = "Deny"
)

type licenseException struct {
	pkg, license wildcard
	until        time.Time // the first moment that it doesn't cover
}

// newLicenses reads rules. An error begins with the field that it is about.
func newLicenses(rules LicenseRules) (*licenses, error) {
	l := &licenses{unknown: rules.Unknown}
	var err error
	if l.deny, err = licenseGlobs("deny", rules.Deny); err != nil {
		return nil, err
	}
	if l.allow, err = licenseGlobs("allow", rules.Allow); err != nil {
		return nil, err
	}
	switch l.unknown {
	case "":
		l.unknown = unknownWarn
	case unknownAllow, unknownWarn, unknownDeny:
	default:
		return nil, fmt.Errorf("unknown: %q, want Allow, Warn or Deny", l.unknown)
	}
	if len(rules.Exceptions) > MaxLicenseRules {
		return nil, fmt.Errorf("exceptions: %d, want at most %d", len(rules.Exceptions), MaxLicenseRules)
	}
	for i, e := range rules.Exceptions {
		one, err := newLicenseException(e)
		if err != nil {
			return nil, fmt.Errorf("exceptions[%d].%w", i, err)
		}
		l.exceptions = append(l.exceptions, one)
	}
	return l, nil
}

func licenseGlobs(field string, all []string) ([]wildcard, error) {
	if len(all) > MaxLicenseRules {
		return nil, fmt.Errorf("%s: %d globs, want at most %d", field, len(all), MaxLicenseRules)
	}
	var out []wildcard
	for i, text := range all {
		w, err := parseWildcard(text, true)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", field, i, err)
		}
		for _, operator := range []string{"AND", "OR", "WITH"} {
			if strings.Contains(text, " "+operator+" ") {
				return nil, fmt.Errorf("%s[%d]: %q is an expression, and would match nothing: name one identifier, without %s", field, i, text, operator)
			}
		}
		out = append(out, w)
	}
	return out, nil
}

func newLicenseException(e LicenseException) (out licenseException, err error) {
	if out.pkg, err = parseWildcard(e.Package, false); err != nil {
		return out, fmt.Errorf("package: %w", err)
	}
	if out.license, err = parseWildcard(e.License, true); err != nil {
		return out, fmt.Errorf("license: %w", err)
	}
	if strings.TrimSpace(e.Reason) == "" {
		return out, errors.New("reason: empty: say why")
	}
	if out.until, err = ParseExpires(e.Expires); err != nil {
		return out, fmt.Errorf("expires: %w", err)
	}
	return out, nil
}

// work is what is left of maxLicenseWork.
type work struct {
	left int
}

// matches tells whether a glob matches a name, as long as there is something left. Below nothing what it says is of no use.
func (w *work) matches(g *wildcard, name string) bool {
	return !w.over() && w.spend(g.cost(name)) && g.matches(name)
}

// spend takes steps off, and tells whether they were there.
func (w *work) spend(steps int) bool {
	w.left -= steps
	return w.left >= 0
}

// over tells whether it took more than it may.
func (w *work) over() bool { return w.left < 0 }

// standing is what the rules say of one term.
func (l *licenses) standing(t *predicate.Term, w *work) predicate.Standing {
	for i := range l.deny {
		if w.matches(&l.deny[i], t.ID) || t.Name != "" && w.matches(&l.deny[i], t.Name) {
			return predicate.StandingDenied
		}
	}
	if t.Kind == predicate.TermMention {
		return predicate.StandingGood
	}
	identifier := t.Kind == predicate.TermListed || t.Kind == predicate.TermRef
	for i := 0; i < len(l.allow) && len(t.ID) <= MaxGlobName; i++ {
		if (identifier || l.allow[i].exact()) && w.matches(&l.allow[i], t.ID) {
			return predicate.StandingGood
		}
	}
	switch {
	case !identifier:
		return predicate.StandingUnread
	case len(l.allow) > 0:
		return predicate.StandingDenied
	case t.Kind == predicate.TermRef:
		return predicate.StandingUnknown
	}
	return predicate.StandingGood
}

// judge judges all licences. Each term is held against the globs once, each distinct licence judged once, and packages are looked at one by one
// only where there is something to tell of them.
func (l *licenses) judge(s *predicate.SBOM, now time.Time) Result {
	w := work{left: maxLicenseWork}
	return l.judgeWithin(s, now, &w)
}

func (l *licenses) judgeWithin(s *predicate.SBOM, now time.Time, w *work) Result {
	var few [256]predicate.Standing // most SBOMs have fewer terms
	standings := few[:0]
	terms := s.Terms()
	for i := range terms {
		standings = append(standings, l.standing(&terms[i], w))
		if w.over() {
			return l.tooMuch(s)
		}
	}
	run := licenseRun{licenses: l, sbom: s, now: now, work: w, standings: standings}
	for i := range s.Licenses() {
		one := &s.Licenses()[i]
		standing := one.Standing(func(term uint32) predicate.Standing { return standings[term] })
		if l.fails(standing) {
			run.look(one, standing)
		}
		if w.over() {
			return l.tooMuch(s)
		}
	}
	return run.result()
}

// tooMuch refuses what takes more than maxLicenseWork.
func (l *licenses) tooMuch(s *predicate.SBOM) Result {
	return Result{Outcome: Violated, Reason: TooLarge, Detail: fmt.Sprintf(
		"the SBOM takes too much to judge by its licences: %s under %s, which have %s, against %s and %s",
		count(s.Packages(), "package"), count(len(s.Licenses()), "licence"), count(len(s.Terms()), "identifier"),
		count(len(l.deny)+len(l.allow), "glob"), count(len(l.exceptions), "exception"))}
}

// fails tells whether something is to be said of a licence that stands so.
func (l *licenses) fails(standing predicate.Standing) bool {
	return standing == predicate.StandingDenied || standing != predicate.StandingGood && l.unknown != unknownAllow
}

// refuses tells whether a licence that stands so makes the image be refused.
func (l *licenses) refuses(standing predicate.Standing) bool {
	return standing == predicate.StandingDenied || standing != predicate.StandingGood && l.unknown == unknownDeny
}

// String says when it ends, and what it is about. The day comes first, for messages are cut at their end.
func (e *licenseException) String() string {
	return fmt.Sprintf("%s: %s (%s)", lastDay(e.until), within(e.pkg.text, 48), within(e.license.text, 48))
}
