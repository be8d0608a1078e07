package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// Bounds of a vulnerabilities requirement, beside those of its schema.
const (
	maxExceptions  = 256 // more is a vulnerability database of its own: VEX is for that
	maxScanners    = 16
	maxExceptionID = 128 // bytes; the longest that is in use has some 40
)

// VulnerabilityRules are what a scan may have found.
type VulnerabilityRules struct {
	// MaxAge is how old the scan may be; 0: any age.
	MaxAge time.Duration
	// Max are the most findings that there may be, and Warn those above which there is a warning, by severity. One that is left out isn't limited.
	Max, Warn map[predicate.Severity]int
	// Unknown is what a finding of unknown severity counts as; SeverityUnknown, the zero value, is high.
	Unknown predicate.Severity
	// OnlyFixable leaves out findings for which no fix is known.
	OnlyFixable bool
	// Scanners are those whose scans count, by name or URI; none: any.
	Scanners []string
	// MaxDatabaseAge is how old the scanner's database may have been at the time of the scan; 0: any age.
	MaxDatabaseAge time.Duration
	// Exceptions excuse single vulnerabilities.
	Exceptions []VulnerabilityException
	// VEX are the authorities whose VEX documents count.
	VEX []verify.Authority
}

// VulnerabilityException excuses one vulnerability, be the name its identifier or an alias.
type VulnerabilityException struct {
	ID, Reason string
	// Expires is a date or a time: see ParseExpires.
	Expires string
}

// vulnerabilities is the requirement that a scan found few enough vulnerabilities.
//
//	by              the authorities that count
//	maxAge          how old the scan may be
//	max, warn       how many findings of a severity there may be, and how many without a warning
//	unknown         what an unknown severity counts as (default high)
//	onlyFixable     findings without a known fix don't count
//	scanners        whose scans count, told from the shape of the result
//	maxDatabaseAge  how old the vulnerability database may have been at the time of the scan; one that isn't told is too old
//	exceptions      single vulnerabilities that don't count, each with an end
//	vex             whose VEX documents count
//
// Of the scans that looked for vulnerabilities, by a scanner that counts, the newest decides. One vulnerability of one package version counts once,
// whatever it is called (predicate.Scan). What is over a limit is looked at again: first findings go that VEX says don't affect the image or are
// fixed in it, then those that an exception excuses, of the policy or of the namespace. Where nothing is over a limit nothing has to go, and no
// exception is used.
//
// VEX takes every document of its authorities, and of what they say about a finding the latest statement; what can't be read takes nothing
// away. So its absence can only refuse: where the documents could not be listed, and the findings are too many without them, the
// requirement is Undetermined.
type vulnerabilities struct {
	by         []verify.Authority
	questions  []verify.Question
	rules      VulnerabilityRules
	exceptions []excused
	max, warn  limits
}

// excused is an exception of the policy itself.
type excused struct {
	id, reason string
	until      time.Time
}

// limits are counts by severity; -1 is no limit.
type limits [predicate.Severities]int

// NewVulnerabilities returns the requirement of a scan by one of the authorities that keeps the rules. The rules are not changed, and must not be.
func NewVulnerabilities(by []verify.Authority, rules VulnerabilityRules) (Requirement, error) {
	v := vulnerabilities{by: by, rules: rules}
	if err := rules.check(); err != nil {
		return nil, err
	}
	if v.rules.Unknown == predicate.SeverityUnknown {
		v.rules.Unknown = predicate.SeverityHigh
	}
	var err error
	if v.max, err = limitsOf(rules.Max, "max"); err != nil {
		return nil, err
	}
	if v.warn, err = limitsOf(rules.Warn, "warn"); err != nil {
		return nil, err
	}
	for i, e := range rules.Exceptions {
		until, err := e.check()
		if err != nil {
			return nil, fmt.Errorf("exceptions[%d].%w", i, err)
		}
		v.exceptions = append(v.exceptions, excused{id: e.ID, reason: e.Reason, until: until})
	}
	if v.questions, err = ask(by, predicate.KindScan); err != nil {
		return nil, err
	}
	if rules.VEX == nil {
		return v, nil
	}
	vex, err := ask(rules.VEX, predicate.KindVEX)
	if err != nil {
		return nil, fmt.Errorf("vex.%w", err)
	}
	v.questions = slices.Concat(v.questions, vex)
	return v, nil
}

func (r VulnerabilityRules) check() error {
	switch {
	case r.MaxAge < 0:
		return fmt.Errorf("maxAge: %s: is negative", r.MaxAge)
	case r.MaxDatabaseAge < 0:
		return fmt.Errorf("maxDatabaseAge: %s: is negative", r.MaxDatabaseAge)
	case int(r.Unknown) >= predicate.Severities:
		return errors.New("unknown: no severity that is known")
	case len(r.Scanners) > maxScanners:
		return fmt.Errorf("scanners: %d: at most %d", len(r.Scanners), maxScanners)
	case len(r.Exceptions) > maxExceptions:
		return fmt.Errorf("exceptions: %d: at most %d", len(r.Exceptions), maxExceptions)
	}
	for i, s := range r.Scanners {
		if strings.TrimSpace(s) == "" {
			return fmt.Errorf("scanners[%d]: empty", i)
		}
	}
	return nil
}

// check tells what is wrong with an exception, and else its end. One that has ended is right, and excuses nothing.
func (e VulnerabilityException) check() (time.Time, error) {
	switch {
	case strings.TrimSpace(e.ID) == "" || strings.TrimSpace(e.ID) != e.ID:
		return time.Time{}, fmt.Errorf("id: %q: want the identifier of a vulnerability, such as CVE-2026-1111", e.ID)
	case len(e.ID) > maxExceptionID:
		return time.Time{}, fmt.Errorf("id: %d bytes: at most %d", len(e.ID), maxExceptionID)
	case strings.TrimSpace(e.Reason) == "":
		return time.Time{}, errors.New("reason: empty: say why it may be there")
	}
	until, err := ParseExpires(e.Expires)
	if err != nil {
		return time.Time{}, fmt.Errorf("expires: %w", err)
	}
	return until, nil
}

func limitsOf(counts map[predicate.Severity]int, field string) (limits, error) {
	var out limits
	for i := range out {
		out[i] = -1
	}
	for s, n := range counts {
		switch {
		case s == predicate.SeverityUnknown || int(s) >= predicate.Severities:
			return out, fmt.Errorf("%s: an unknown severity has no limit of its own: unknown says what it counts as", field)
		case n < 0:
			return out, fmt.Errorf("%s.%s: %d: is negative", field, s, n)
		}
		out[s] = n
	}
	return out, nil
}

// Name implements Requirement.
func (v vulnerabilities) Name() string { return "vulnerabilities" }

// Subject implements Requirement.
func (v vulnerabilities) Subject() Subject { return EachPlatform }

// Questions implements Requirement.
func (v vulnerabilities) Questions() []verify.Question { return v.questions }

// String says by whom, and how many there may be.
func (v vulnerabilities) String() string {
	var most []string
	for s := predicate.SeverityCritical; s > predicate.SeverityUnknown; s-- {
		if v.max[s] >= 0 {
			most = append(most, fmt.Sprintf("%d %s", v.max[s], s))
		}
	}
	text := "by " + namesOf(v.by, " or ")
	if len(most) > 0 {
		text += ", at most " + strings.Join(most, ", ")
	}
	return text
}

// Judge implements Requirement.
func (v vulnerabilities) Judge(c Case, findings []verify.Findings) Result {
	if len(findings) != len(v.questions) {
		return Result{Requirement: v.Name(), Reason: InternalError, Detail: "findings are missing"}
	}
	scans, vex := findings[:len(v.by)], findings[len(v.by):]
	all := papers[*predicate.Scan]{requirement: v.Name(), what: "scan", none: NoScan, by: v.by, keep: v.counts, maxAge: v.rules.MaxAge}
	said := sync.OnceValue(func() vexSaid { return v.vexOf(c, vex) })
	r := all.judge(c, scans, func(p paper[*predicate.Scan]) Result { return v.content(c, p, said) })
	if r.Outcome == Violated && r.Reason == NoScan {
		all.keep = nil
		v.others(&r, all.collect(c, scans).papers)
	}
	return r
}

// counts tells whether a scan is one of those of which the newest decides.
func (v vulnerabilities) counts(s *predicate.Scan) bool {
	return s.SoughtVulnerabilities() && v.scannerCounts(s)
}

func (v vulnerabilities) scannerCounts(s *predicate.Scan) bool {
	return len(v.rules.Scanners) == 0 || slices.ContainsFunc(v.rules.Scanners, func(name string) bool { return strings.EqualFold(name, s.Scanner()) })
}

// others says which scans there are where none counts.
func (v vulnerabilities) others(r *Result, all []paper[*predicate.Scan]) {
	for _, p := range all {
		switch {
		case p.facts == nil:
		case !p.facts.SoughtVulnerabilities():
			r.Detail = fmt.Sprintf("%s by %s found, but none that looked for vulnerabilities", count(len(all), "scan"), namesOf(v.by, " or "))
		default:
			r.Reason = WrongScanner
			r.Detail = fmt.Sprintf("a scan by %s found, made by %s, wanted one of %s", p.by, scannerOf(p.facts), strings.Join(v.rules.Scanners, ", "))
			return
		}
	}
}

// content judges one scan.
func (v vulnerabilities) content(c Case, p paper[*predicate.Scan], vex func() vexSaid) Result {
	if bad := v.database(c, p); bad != nil {
		return *bad
	}
	t := findingCount{rules: &v.rules, scan: p.facts}
	t.countAll()
	if !t.over(v.max) && !t.over(v.warn) {
		return Result{Outcome: Satisfied, Reason: Verified, Detail: t.String()}
	}
	said := vex()
	if !v.removeByVEX(c, &t, said) {
		said.malformed = "scan and documents name so many vulnerabilities and products that comparing them takes too long"
	}
	v.excuse(c, &t)
	r := Result{Outcome: Satisfied, Reason: Verified, Detail: t.String() + said.suffix(), Until: t.until, Used: t.used, Warnings: t.ending(c.Image.Now)}
	if t.over(v.max) {
		r = Result{Outcome: Violated, Reason: TooManyVulnerabilities, Detail: t.tooMany(v.max, "max") + t.gone() + v.barred(c, &t) + said.suffix() + said.elsewhere()}
		if said.unread != nil { // they might have taken enough away
			r.Outcome, r.Reason = Undetermined, ReasonOf(said.unread)
			r.Detail = fmt.Sprintf("VEX documents could not be read (%s); without them %s", said.unread, r.Detail)
		}
		return r
	}
	if t.over(v.warn) {
		r.Warnings = append(r.Warnings, Warning{Reason: TooManyVulnerabilities, Text: bounded(t.tooMany(v.warn, "warn above"))})
	}
	return r
}

// database judges the age that the scanner's database had when it was used.
func (v vulnerabilities) database(c Case, p paper[*predicate.Scan]) *Result {
	most := v.rules.MaxDatabaseAge
	if most == 0 {
		return nil
	}
	built, used := p.facts.Database(), p.at
	if used.IsZero() {
		used = c.Image.Now
	}
	bad := Result{Outcome: Violated, Reason: DatabaseTooOld}
	switch age := used.Sub(built); {
	case built.IsZero():
		bad.Reason = NoTime
		bad.Detail = fmt.Sprintf("the scan by %s (%s) doesn't say of when its database was, so that its age (max %s) can't be told", p.by, scannerOf(p.facts), span(most))
	case age < -maxAhead:
		bad.Detail = fmt.Sprintf("the scan by %s says that its database is of %s, after the scan itself", p.by, stamp(built))
	case age > most:
		bad.Detail = fmt.Sprintf("the scan by %s used a database of %s: %s old then (max %s)", p.by, stamp(built), span(age), span(most))
	default:
		return nil
	}
	return &bad
}

// excuse takes away what exceptions excuse: of the policy, then of the namespace.
func (v vulnerabilities) excuse(c Case, t *findingCount) {
	for _, e := range v.exceptions {
		if c.Image.Now.Before(e.until) && t.excuse(e.id, v.max, v.warn, anySeverity()) {
			t.end(ending{id: e.id, at: e.until})
		}
	}
	for _, x := range c.Excuses {
		lets := x.lets()
		for _, id := range x.Exception.IDs {
			if t.excuse(id, v.max, v.warn, lets) {
				t.end(ending{by: x.Exception.Name.String(), id: id, at: x.Exception.end()})
				t.used = append(t.used, Use{Exception: x.Exception.Name.String(), Owner: x.Exception.Owner, ID: id, Until: x.Exception.end()})
			}
		}
	}
}

// barred names the exceptions that are about what is over a limit still, and don't count for the policy, the first few.
func (v vulnerabilities) barred(c Case, t *findingCount) string {
	const most = 2
	var out []string
	tell := func(e *Exception, why string, lets severitySet) {
		if slices.ContainsFunc(e.IDs, func(id string) bool { return t.leaves(id, v.max, lets) }) {
			out = append(out, "exception "+within(e.Name.String(), 64)+" doesn't count here: "+why)
		}
	}
	for _, x := range c.Excuses {
		if !x.All {
			tell(x.Exception, "only for severities "+strings.Join(x.Severities, ", "), x.lets())
		}
	}
	for _, b := range c.Barred {
		tell(b.Exception, b.Why, severitySet{})
	}
	if more := len(out) - most; more > 0 {
		out = append(out[:most], count(more, "exception")+" more likewise")
	}
	if len(out) == 0 {
		return ""
	}
	return "; " + strings.Join(out, "; ")
}

// scannerOf names a scanner and its version.
func scannerOf(s *predicate.Scan) string {
	return strings.TrimSpace(printable(s.Scanner()) + " " + printable(s.ScannerVersion()))
}
