package policy

import (
	"fmt"
	"math/bits"
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
	work      *work
	standings []predicate.Standing
	naming    []exceptionSet // of each term, the exceptions about it; nil until one is asked for
	named     []bool         // those of which they are known

	denied, unknown tally
	used            exceptionSet
	expired         int // the first expired exception that would have helped, counted from 1
	until           time.Time
}

// exceptionSet has a bit for each exception, by its place.
type exceptionSet [MaxLicenseRules / 64]uint64

func (s *exceptionSet) add(place int) { s[place/64] |= 1 << (place % 64) }

func (s *exceptionSet) addAll(of exceptionSet) {
	for i := range s {
		s[i] |= of[i]
	}
}

// meets tells whether two sets have one in common.
func (s *exceptionSet) meets(other *exceptionSet) bool {
	for i := range s {
		if s[i]&other[i] != 0 {
			return true
		}
	}
	return false
}

// places are those that are in it, in order.
func (s *exceptionSet) places(yield func(int) bool) {
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			if !yield(64*i + bits.TrailingZeros64(word)) {
				return
			}
		}
	}
}

// tally counts packages, and keeps the first few.
type tally struct {
	n     int
	first []string
}

// mostNamed is how many packages a message names.
const mostNamed = 4

// full tells whether it keeps no more, and only counts.
func (t *tally) full() bool { return len(t.first) == mostNamed }

func (t *tally) add(p predicate.Package, license string) {
	if t.n++; !t.full() {
		t.first = append(t.first, fmt.Sprintf("%s (%s)", within(p.String(), 80), within(license, 96)))
	}
}

// addAll adds all packages of a licence.
func (t *tally) addAll(l *predicate.License, license string) {
	before := t.n
	for p := range l.All() {
		if t.full() {
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

// look goes through the packages of a licence that fails.
func (r *licenseRun) look(l *predicate.License, standing predicate.Standing) {
	about, whole, terms := r.about(l)
	if about == (exceptionSet{}) {
		r.count(l, standing)
		return
	}
	var before exceptionSet // what the package before was excused by: those beside it mostly are by the same
	after := standing
	for p := range l.All() {
		if mine := r.excusing(about, p.Name); mine != before {
			if before, after = mine, r.excused(l, standing, mine, whole); !r.work.spend(terms) {
				return
			}
			if after > standing {
				r.use(mine, r.refuses(standing) && !r.refuses(after))
			}
		}
		if r.fails(after) {
			to, why := r.tally(after), ""
			if !to.full() {
				why = r.because(l, after)
			}
			to.add(p, why)
		}
		if r.work.over() {
			return
		}
	}
}

// count adds all packages of a licence that nothing excuses.
func (r *licenseRun) count(l *predicate.License, standing predicate.Standing) {
	to, why := r.tally(standing), ""
	if !to.full() {
		why = r.because(l, standing)
	}
	to.addAll(l, why)
}

// about are the exceptions about one of a licence's terms, and those that name it as a whole; terms is how many it has. Wildcards reach single terms
// only: GPL-* has nothing to say of the rest of "GPL-2.0-only AND AGPL-3.0-only".
func (r *licenseRun) about(l *predicate.License) (any, whole exceptionSet, terms int) {
	if len(r.exceptions) == 0 {
		return any, whole, 0
	}
	for t := range l.Terms() {
		terms++
		any.addAll(*r.of(t))
	}
	r.work.spend(terms + len(r.exceptions))
	for i := range r.exceptions {
		if strings.EqualFold(r.exceptions[i].license.text, l.Text) {
			whole.add(i)
		}
	}
	any.addAll(whole)
	return any, whole, terms
}

// of are the exceptions about a term. Each term is held against their globs once.
func (r *licenseRun) of(term uint32) *exceptionSet {
	if r.naming == nil {
		n := len(r.sbom.Terms())
		r.naming, r.named = make([]exceptionSet, n), make([]bool, n)
	}
	set, id := &r.naming[term], r.sbom.Terms()[term].ID
	if r.named[term] {
		return set
	}
	r.named[term] = true
	for i := 0; i < len(r.exceptions) && len(id) <= MaxGlobName; i++ {
		if r.work.matches(&r.exceptions[i].license, id) {
			set.add(i)
		}
	}
	return set
}

// excusing are those of some exceptions that are good for a package now.
func (r *licenseRun) excusing(about exceptionSet, name string) (mine exceptionSet) {
	if len(name) > MaxGlobName {
		return mine
	}
	for i := range about.places {
		e := &r.exceptions[i]
		switch {
		case !r.work.matches(&e.pkg, name):
		case r.now.Before(e.until):
			mine.add(i)
		case r.expired == 0:
			r.expired = i + 1
		}
	}
	return mine
}

// excused judges a licence with exceptions, of which whole are about all of it.
func (r *licenseRun) excused(l *predicate.License, standing predicate.Standing, by, whole exceptionSet) predicate.Standing {
	switch {
	case by == exceptionSet{}:
		return standing
	case by.meets(&whole):
		return predicate.StandingGood
	}
	return l.Standing(func(term uint32) predicate.Standing {
		if r.of(term).meets(&by) {
			return predicate.StandingGood
		}
		return r.standings[term]
	})
}

// use notes that exceptions were used; passing hangs on them, or only a warning does.
func (r *licenseRun) use(by exceptionSet, passing bool) {
	r.used.addAll(by)
	for i := range by.places {
		if passing {
			r.until = sooner(r.until, r.exceptions[i].until)
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
	for i := range r.used.places {
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
