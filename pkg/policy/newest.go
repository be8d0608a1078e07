package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// maxAhead is how far ahead of our clock something may be dated: clocks differ.
const maxAhead = 5 * time.Minute

// papers is what a requirement selects its paper from: those of one kind, about one digest, by some authorities. Of those that keep lets pass, the
// newest counts, and only then its age and content are judged: an old clean scan doesn't outlive a newer bad one.
type papers[F predicate.Facts] struct {
	requirement string // its name
	what        string // the kind of paper in a word or two, for messages: "SBOM"
	none        Reason // where there is none
	by          []verify.Authority
	keep        func(F) bool  // nil: all
	maxAge      time.Duration // 0: any
}

// paper is one of them.
type paper[F predicate.Facts] struct {
	facts    F
	err      error // why it can't be read
	at       time.Time
	evidence verify.Evidence
	by       string // the authority's name
}

// selected are the papers of a case.
type selected[F predicate.Facts] struct {
	papers []paper[F]
	ahead  []paper[F] // dated ahead of our clock: they don't count
	other  int        // that keep left out
}

// dated returns the time that counts for a paper: the earlier of when its signature was seen and what it says itself. Without its own, the
// other counts only where it tells when it was signed: else whoever may push can have it seen anew, and so make it younger. Zero: nothing tells.
func dated(e verify.Evidence, own time.Time) time.Time {
	seen := e.Time()
	switch {
	case own.IsZero() && e.Firm():
		return seen
	case own.IsZero(), seen.IsZero(), own.Before(seen):
		return own
	}
	return seen
}

// collect returns the papers of a case that count.
func (s papers[F]) collect(c Case, findings []verify.Findings) (out selected[F]) {
	for i, f := range findings {
		for _, e := range f.Evidence {
			if !e.About(c.Digest) || e.Authority() != s.by[i].Fingerprint() {
				continue
			}
			p := paper[F]{evidence: e, by: s.by[i].Name()}
			facts, err := e.Facts()
			var ok bool
			switch p.facts, ok = facts.(F); {
			case err != nil:
				p.err, p.at = err, dated(e, time.Time{})
			case !ok:
				p.err, p.at = fmt.Errorf("it isn't read as %s", s.what), dated(e, time.Time{})
			case s.keep != nil && !s.keep(p.facts):
				out.other++
				continue
			default:
				p.at = dated(e, p.facts.Time())
				if latest(p.at, p.facts.Time()).After(c.Image.Now.Add(maxAhead)) {
					out.ahead = append(out.ahead, p)
					continue
				}
			}
			out.papers = append(out.papers, p)
		}
	}
	return out
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// newest leaves those that may be the newest: the latest of those with a time, and all that have none.
func newest[F predicate.Facts](all []paper[F]) []paper[F] {
	if len(all) < 2 {
		return all
	}
	var last time.Time
	for _, p := range all {
		last = latest(last, p.at)
	}
	return slices.DeleteFunc(slices.Clone(all), func(p paper[F]) bool { return !p.at.IsZero() && p.at.Before(last) })
}

// judge finds the newest paper and judges it. Where more than one may be the newest, the worst decides.
func (s papers[F]) judge(c Case, findings []verify.Findings, content func(paper[F]) Result) Result {
	r := Result{Requirement: s.requirement}
	switch {
	case len(findings) != len(s.by):
		r.Reason, r.Detail = InternalError, "findings are missing"
		return r
	case c.Image.Now.IsZero():
		r.Reason, r.Detail = InternalError, "it isn't known what time it is"
		return r
	}
	for _, f := range findings {
		if whole, why := f.Whole(); !whole { // what was not listed may be newer
			r.Reason, r.Detail = ReasonOf(why), why.Error()
			return r
		}
	}
	found := s.collect(c, findings)
	if len(found.papers) == 0 {
		r.Outcome, r.Reason, r.Detail = Violated, s.none, s.missing(found, findings)
		if len(found.ahead) > 0 {
			r.Reason = DatedAhead
		}
		return r
	}
	var all []Result
	for _, p := range newest(found.papers) {
		got := s.aged(c, p, content)
		got.Requirement = s.requirement
		all = append(all, got)
	}
	return worstOf(all)
}

// aged judges the age of a paper, and then its content.
func (s papers[F]) aged(c Case, p paper[F], content func(paper[F]) Result) Result {
	if p.err != nil {
		return Result{Outcome: Violated, Reason: PaperMalformed, Detail: fmt.Sprintf("the %s by %s (%s) can't be read: %s",
			s.what, p.by, short(p.evidence.Source().String()), printable(p.err.Error()))}
	}
	if s.maxAge == 0 {
		return content(p)
	}
	switch age := c.Image.Now.Sub(p.at); {
	case p.at.IsZero():
		return Result{Outcome: Violated, Reason: NoTime, Detail: fmt.Sprintf(
			"the %s by %s doesn't say when it was made, and nobody else does, so that its age (max %s) can't be told", s.what, p.by, span(s.maxAge))}
	case age > s.maxAge:
		return Result{Outcome: Violated, Reason: TooOld, Detail: fmt.Sprintf("the newest %s, by %s, is of %s: %s old (max %s)%s",
			s.what, p.by, stamp(p.at), span(age), span(s.maxAge), p.alone())}
	}
	r := content(p)
	if r.Outcome.Passes() {
		r.Until = sooner(r.Until, p.at.Add(s.maxAge))
		r.Detail += p.alone()
	}
	return r
}

// alone says that nobody but the signer tells the time of a paper.
func (p paper[F]) alone() string {
	if p.at.IsZero() || p.evidence.Firm() {
		return ""
	}
	return ", by its signer's own clock"
}

// missing says that there is none, and what is nearest.
func (s papers[F]) missing(found selected[F], findings []verify.Findings) string {
	who := namesOf(s.by, " or ")
	switch {
	case len(found.ahead) > 0:
		p := found.ahead[0]
		return fmt.Sprintf("the %s by %s is dated %s, ahead of this clock, and doesn't count", s.what, p.by, stamp(latest(p.at, p.facts.Time())))
	case found.other > 0:
		return fmt.Sprintf("%s by %s found, but none that is about this", count(found.other, s.what), who)
	}
	return nearestPaper(s.what, who, findings)
}

// nearestPaper says that there is no paper of a kind by somebody, and what comes nearest to it.
func nearestPaper(what, who string, findings []verify.Findings) string {
	f := nearestOf(findings)
	if len(f.Misses) == 0 || f.Misses[0].Reason == verify.MissOtherType {
		return fmt.Sprintf("no %s found, wanted one by %s", what, who)
	}
	m, some := f.Misses[0], 0
	for _, x := range f.Misses {
		if x.Reason == m.Reason {
			some++
		}
	}
	switch m.Reason {
	case verify.MissUnproven:
		return fmt.Sprintf("%s found, none by %s; nearest: %s, but %s", count(some, what), who, signerName(m.Claimed), lack(m))
	case verify.MissOtherSigner:
		text := fmt.Sprintf("%s found, none by %s", count(some, what), who)
		if m.Claimed != "" {
			text += "; nearest: " + signerName(m.Claimed)
		}
		return text
	case verify.MissOtherSubject:
		claimed := printable(m.Claimed)
		if strings.HasPrefix(claimed, "sha256:") {
			claimed = "another digest, " + short(claimed)
		}
		return fmt.Sprintf("no %s by %s; nearest: one for %s", what, who, claimed)
	case verify.MissUnsigned:
		return fmt.Sprintf("no %s by %s; nearest: %s, which nobody signed: attest it with cosign attest", what, who, unsigned(m))
	case verify.MissOtherType, verify.MissMalformed:
	}
	return fmt.Sprintf("no %s by %s; nearest: a paper that can't be read: %s", what, who, printable(m.Claimed))
}

// unsigned says what it is that nobody signed.
func unsigned(m verify.Miss) string {
	switch m.Place {
	case verify.PlaceSBOM:
		return "what cosign attach sbom attached (" + printable(m.Claimed) + ")"
	case verify.PlaceIndex:
		return "BuildKit's attestation manifest in the index"
	}
	return printable(m.Claimed)
}

// stamp is a time for people.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// span is a length of time for people, in the largest unit that says enough.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour && d%(24*time.Hour) < time.Hour, d >= 10*24*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}
