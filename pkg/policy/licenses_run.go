package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// licenseRun is one judging of an SBOM's licences: what fails, and which exceptions are used.
type licenseRun struct {
	*licenses
	sbom      *predicate.SBOM
	now       time.Time
	standings []predicate.Standing

	denied, unknown tally
	used            []int // exceptions, by their place
	expired         int   // the first expired exception that would have helped, counted from 1
	until           time.Time
}

// tally counts packages, and keeps the first few.
type tally struct {
	n     int
	first []string
}

// mostNamed is how many packages a message names.
const mostNamed = 4

func (t *tally) add(p predicate.Package, license string) {
	if t.n++; len(t.first) < mostNamed {
		t.first = append(t.first, fmt.Sprintf("%s (%s)", within(p.String(), 80), within(license, 96)))
	}
}

// addAll adds all packages of a licence.
func (t *tally) addAll(l *predicate.License, license string) {
	before := t.n
	for p := range l.All() {
		if len(t.first) == mostNamed {
			break
		}
		t.add(p, license)
	}
	t.n = before + l.Packages
}

// String names the packages.
func (t *tally) String() string {
	out := strings.Join(t.first, ", ")
	if more := t.n - len(t.first); more > 0 {
		out += fmt.Sprintf(", %d more", more)
	}
	return out
}

// applied is an exception that is about a licence.
type applied struct {
	*licenseException
	place int
	whole bool // about all of it
}

// look goes through the packages of a licence that fails.
func (r *licenseRun) look(l *predicate.License, standing predicate.Standing) {
	var about []applied
	for i := range r.exceptions {
		e := &r.exceptions[i]
		if term, whole := e.about(r.sbom, l); term || whole {
			about = append(about, applied{e, i, whole})
		}
	}
	to, why := r.tally(standing), r.because(l, standing)
	if len(about) == 0 {
		to.addAll(l, why)
		return
	}
	var mine []applied
	for p := range l.All() {
		mine = mine[:0]
		for _, a := range about {
			switch {
			case !a.pkg.matches(p.Name):
			case r.now.Before(a.until):
				mine = append(mine, a)
			case r.expired == 0:
				r.expired = a.place + 1
			}
		}
		after := r.excused(l, standing, mine)
		if after > standing {
			r.use(mine, r.refuses(standing) && !r.refuses(after))
		}
		if r.fails(after) {
			r.tally(after).add(p, r.because(l, after))
		}
	}
}

// excused judges a licence with exceptions.
func (r *licenseRun) excused(l *predicate.License, standing predicate.Standing, by []applied) predicate.Standing {
	if len(by) == 0 {
		return standing
	}
	if slices.ContainsFunc(by, func(a applied) bool { return a.whole }) {
		return predicate.StandingGood
	}
	return l.Standing(func(term uint32) predicate.Standing {
		id := r.sbom.Terms()[term].ID
		if slices.ContainsFunc(by, func(a applied) bool { return a.license.matches(id) }) {
			return predicate.StandingGood
		}
		return r.standings[term]
	})
}

// use notes that exceptions were used; passing hangs on them, or only a warning does.
func (r *licenseRun) use(by []applied, passing bool) {
	for _, a := range by {
		if !slices.Contains(r.used, a.place) {
			r.used = append(r.used, a.place)
		}
		if passing {
			r.until = sooner(r.until, a.until)
		}
	}
}

func (r *licenseRun) tally(standing predicate.Standing) *tally {
	if standing == predicate.StandingDenied {
		return &r.denied
	}
	return &r.unknown
}

// because names the terms for which a licence fails, or the whole of it where that says it as shortly.
func (r *licenseRun) because(l *predicate.License, standing predicate.Standing) string {
	const short = 40
	var out []string
	plain := len(l.Text) <= short
	for t := range l.Terms() {
		term := r.sbom.Terms()[t]
		if r.standings[t] == predicate.StandingGood || (r.standings[t] == predicate.StandingDenied) != (standing == predicate.StandingDenied) {
			continue
		}
		text := term.Text
		if term.Name != "" && !strings.Contains(term.ID, strings.TrimPrefix(term.Name, "sha256:")) {
			text, plain = text+", called "+term.Name, false
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	if plain || len(out) == 0 {
		return l.Text
	}
	if len(out) > 2 {
		out = append(out[:2], fmt.Sprintf("%d more", len(out)-2))
	}
	return strings.Join(out, ", ")
}

// result says what came of it.
func (r *licenseRun) result() Result {
	slices.Sort(r.used)
	out := Result{Outcome: Satisfied, Reason: Verified, Until: r.until}
	var said []string
	if r.denied.n > 0 {
		out.Reason = LicenseDenied
		said = append(said, fmt.Sprintf("%s under denied licences: %s", count(r.denied.n, "package"), &r.denied))
	}
	unknown := ""
	if r.unknown.n > 0 {
		unknown = fmt.Sprintf("%s of unknown licence: %s", count(r.unknown.n, "package"), &r.unknown)
	}
	switch {
	case unknown == "":
	case r.licenses.unknown == unknownDeny:
		if said = append(said, unknown); len(said) == 1 {
			out.Reason = LicenseUnknown
		}
	default:
		out.Warnings = append(out.Warnings, Warning{Reason: LicenseUnknown, Text: unknown})
	}
	for _, i := range r.used {
		if e := &r.exceptions[i]; e.until.Sub(r.now) <= exceptionEnding {
			out.Warnings = append(out.Warnings, Warning{Reason: ExceptionEnding, Text: "exception ends " + e.String()})
		}
	}
	if len(said) == 0 {
		return out
	}
	if r.expired > 0 {
		e := &r.exceptions[r.expired-1]
		said = append(said, "exception ended "+e.String())
	}
	out.Outcome, out.Until, out.Detail = Violated, time.Time{}, strings.Join(said, "; ")
	return out
}
