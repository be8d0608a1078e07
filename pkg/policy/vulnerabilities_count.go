package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// findingCount counts the findings of a scan by the severity that they count as, less those that were taken away.
type findingCount struct {
	rules  *VulnerabilityRules
	scan   *predicate.Scan
	counts [predicate.Severities]int

	vexed, excused numbers                 // findings that VEX, or an exception, took away
	partly         map[int]predicate.Parts // of a finding about several CVEs: those that an exception excuses
	until          time.Time               // the first end of what took any away
	ends           []ending
	used           []Use
	buf            []int
	tried, told    map[excusing]bool // what excuse, and leaves, said
	steps          int               // how many findings were looked at for exceptions
}

// excusing is the name of a vulnerability, in upper case, and the severities of which findings of that name may be excused. What was tried once isn't
// again, however many exceptions have it: the work is bounded by how many names the scan has.
type excusing struct {
	id   string
	lets severitySet
}

// numbers is a set of findings.
type numbers struct {
	bits []uint64
	n    int
}

func (s numbers) has(i int) bool { return i/64 < len(s.bits) && s.bits[i/64]&(1<<(i%64)) != 0 }

// add adds one that isn't in it.
func (s *numbers) add(i int) {
	for len(s.bits) <= i/64 {
		s.bits = append(s.bits, 0)
	}
	s.bits[i/64] |= 1 << (i % 64)
	s.n++
}

// countAll counts every finding.
func (t *findingCount) countAll() {
	for s := range predicate.Severity(predicate.Severities) {
		t.counts[t.as(s)] += t.scan.Count(s, t.rules.OnlyFixable)
	}
}

// as is the severity that one counts as.
func (t *findingCount) as(s predicate.Severity) predicate.Severity {
	if s == predicate.SeverityUnknown {
		return t.rules.Unknown
	}
	return s
}

// over tells whether any count is above its limit.
func (t *findingCount) over(most limits) bool {
	for s, n := range t.counts {
		if above(n, most[s]) {
			return true
		}
	}
	return false
}

func above(n, limit int) bool { return limit >= 0 && n > limit }

// here tells whether a finding is counted, and as what.
func (t *findingCount) here(i int) (predicate.Severity, bool) {
	s, fix := t.scan.Judge(i)
	if t.rules.OnlyFixable && fix == predicate.FixNone || t.vexed.has(i) || t.excused.has(i) {
		return s, false
	}
	return t.as(s), true
}

// take takes a finding away.
func (t *findingCount) take(into *numbers, i int, s predicate.Severity) {
	into.add(i)
	t.counts[s]--
}

// excuse takes away the findings that go by a name, of severities that are over one of the limits and may be excused. It tells whether it did. A
// finding about several CVEs goes only once each of them is excused, or the finding by its own name.
func (t *findingCount) excuse(id string, most, warn limits, lets severitySet) bool {
	what := excusing{strings.ToUpper(id), lets}
	if t.tried[what] {
		return false
	}
	if t.tried == nil {
		t.tried = map[excusing]bool{}
	}
	t.tried[what] = true
	did := false
	over := t.counts // what it would be without this exception
	t.buf = t.scan.Named(t.buf[:0], id)
	t.steps += 1 + len(t.buf)
	for _, i := range t.buf {
		s, counted := t.here(i)
		if !counted || !lets[s] || !above(over[s], most[s]) && !above(over[s], warn[s]) {
			continue
		}
		part, before := t.scan.Part(i, id), t.partly[i]
		all := before.With(part)
		if all == before { // it isn't about the finding, or of what is excused already
			continue
		}
		did = true
		switch {
		case all == t.scan.All(i):
			t.take(&t.excused, i, s)
		case t.partly == nil:
			t.partly = map[int]predicate.Parts{i: all}
		default:
			t.partly[i] = all
		}
	}
	return did
}

// leaves tells whether a finding that goes by a name is over its limit still, of a severity that may not be excused.
func (t *findingCount) leaves(id string, most limits, lets severitySet) bool {
	what := excusing{strings.ToUpper(id), lets}
	left, known := t.told[what]
	if known {
		return left
	}
	t.buf = t.scan.Named(t.buf[:0], id)
	t.steps += 1 + len(t.buf)
	left = slices.ContainsFunc(t.buf, func(i int) bool {
		s, counted := t.here(i)
		return counted && !lets[s] && above(t.counts[s], most[s]) && !t.scan.Part(i, id).Empty()
	})
	if t.told == nil {
		t.told = map[excusing]bool{}
	}
	t.told[what] = left
	return left
}

// ending is an exception that took findings away.
type ending struct {
	by, id string // the object's name, empty for the policy's own; and the vulnerability
	at     time.Time
}

// end notes when something ends that took findings away.
func (t *findingCount) end(e ending) {
	t.until = sooner(t.until, e.at)
	t.ends = append(t.ends, e)
}

// ending are the warnings of what ends soon.
func (t *findingCount) ending(now time.Time) (out []Warning) {
	const most = 32 // more than an answer has room for
	slices.SortStableFunc(t.ends, func(x, y ending) int { return x.at.Compare(y.at) })
	for _, e := range t.ends[:min(len(t.ends), most)] {
		if e.at.Sub(now) > exceptionEnding {
			continue
		}
		text := "exception ends " + lastDay(e.at) + ": " + within(e.id, 32) // the day first, for lines are cut at their end
		if e.by != "" {
			text += " (" + within(e.by, 40) + ")"
		}
		out = append(out, Warning{Reason: ExceptionEnding, Text: bounded(text)})
	}
	return mergeWarnings(nil, out)
}

// String says what was found, for a requirement that holds.
func (t *findingCount) String() string {
	var parts []string
	for s := predicate.SeverityCritical; s > predicate.SeverityUnknown; s-- {
		if n := t.counts[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	found := strings.Join(parts, ", ")
	if found == "" {
		found = "no vulnerability"
		if t.rules.OnlyFixable {
			found = "no vulnerability with a fix"
		}
	}
	return found + " by " + scannerOf(t.scan) + t.gone()
}

// gone names what VEX and exceptions took away.
func (t *findingCount) gone() string {
	text := ""
	if t.vexed.n > 0 {
		text += "; not affected or fixed by VEX: " + t.names(t.vexed)
	}
	if t.excused.n > 0 {
		text += "; excepted: " + t.names(t.excused)
	}
	return text
}

// names are the identifiers of some findings, the first few.
func (t *findingCount) names(of numbers) string {
	const most = 5
	seen := map[string]bool{}
	var ids []string
	for i := range t.scan.Len() {
		if !of.has(i) || seen[t.scan.ID(i)] {
			continue
		}
		seen[t.scan.ID(i)] = true
		if len(ids) < most {
			ids = append(ids, printable(t.scan.ID(i)))
		}
	}
	if more := len(seen) - len(ids); more > 0 {
		ids = append(ids, fmt.Sprintf("%d more", more))
	}
	return strings.Join(ids, ", ")
}

// tooMany says what is above its limit, which goes by a name, the worst first, each with the first few findings.
func (t *findingCount) tooMany(most limits, name string) string {
	var parts []string
	for s := predicate.SeverityCritical; s > predicate.SeverityUnknown; s-- {
		if above(t.counts[s], most[s]) {
			parts = append(parts, fmt.Sprintf("%d %s (%s %d): %s", t.counts[s], s, name, most[s], t.first(s)))
		}
	}
	return strings.Join(parts, "; ")
}

// first words the first few findings that count as a severity.
func (t *findingCount) first(s predicate.Severity) string {
	const most = 3
	var out []string
	for i := 0; i < t.scan.Len() && len(out) < most; i++ {
		if as, counted := t.here(i); counted && as == s {
			out = append(out, findingText(t.scan.Finding(i)))
		}
	}
	text := strings.Join(out, ", ")
	if more := t.counts[s] - len(out); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// findingText words a finding: what, in what, and what fixes it.
func findingText(f predicate.Finding) string {
	text := within(f.ID, 48)
	if f.Package != "" {
		text += " " + within(f.Package, 48)
	}
	if f.Version != "" {
		text += " " + within(f.Version, 40)
	}
	var notes []string
	if f.Severity == predicate.SeverityUnknown {
		notes = append(notes, "severity unknown")
	}
	switch {
	case f.Fixed != "":
		notes = append(notes, "fixed in "+within(f.Fixed, 40))
	case f.Fix == predicate.FixKnown:
		notes = append(notes, "has a fix")
	case f.Fix == predicate.FixNone:
		notes = append(notes, "no fix")
	}
	if len(notes) > 0 {
		text += " (" + strings.Join(notes, ", ") + ")"
	}
	return text
}

// within is a stranger's text in printable ASCII, cut where it is longer.
func within(text string, most int) string {
	clean := ascii(text)
	if len(clean) > most {
		return clean[:most] + "..."
	}
	return clean
}

// maxWarning bounds the text of a warning, in bytes: with the name of the policy and the requirement before it, a line of 120 has room for no more.
const maxWarning = 96

// bounded cuts a warning.
func bounded(text string) string { return within(text, maxWarning-len("...")) }
