package policy

import (
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// Chosen is what a requirement is judged by of one digest.
type Chosen struct {
	// Digest is what the papers are about, and Platform, of a child of an index, where it runs.
	Digest   v1.Hash
	Platform verify.Platform
	// Result is what came of the requirement for this digest.
	Result Result
	// Papers are the newest, as the requirement selects it: one, or several that may be. There is none where none counts, or which is the
	// newest can't be told.
	Papers []ChosenPaper
}

// ChosenPaper is a paper by which a requirement is judged: verified, and read.
type ChosenPaper struct {
	Facts predicate.Facts
	// By is the authority's name, and Signer who that was, for people.
	By, Signer string
	// Source is the digest of the object that it was read from.
	Source v1.Hash
	// At is the time that counts for it; zero if nothing tells.
	At time.Time
	// Excused says, of a scan's findings by number, what excuses them wherever they are too many: ExcusedByVEX, ExcusedByException, NotFixable.
	Excused map[int]string
}

// Why a finding doesn't count.
const (
	ExcusedByVEX       = "VEX"
	ExcusedByException = "exception"
	NotFixable         = "no fix" // where onlyFixable is set
)

// choosing is a requirement that is judged by the newest paper.
type choosing interface {
	Requirement
	chosen(c Case, findings []verify.Findings) []ChosenPaper
}

// Chooses returns the questions whose answers Chosen wants about a requirement, by its name; none if the policy has no such requirement, or it isn't judged by
// its newest paper. Where the image is an index they are about the children as well: see Children.
func (p *Policy) Chooses(requirement string) []verify.Question {
	if r := p.choosing(requirement); r != nil {
		return r.Questions()
	}
	return nil
}

func (p *Policy) choosing(requirement string) choosing {
	if p.Unusable != "" || p.Action != ActionRequire {
		return nil
	}
	for _, r := range p.Requirements {
		if one, ok := r.(choosing); ok && r.Name() == requirement {
			return one
		}
	}
	return nil
}

// Chosen returns what a requirement is judged by, for the image, or each of its platforms where that is an index. No summary stands for it here:
// what it says is wanted, and not whether the image may run.
func (p *Policy) Chosen(img Image, know Knowledge, requirement string) []Chosen {
	r := p.choosing(requirement)
	if r == nil || !img.resolved() {
		return nil
	}
	c := p.caseOf(img)
	findings := answers(r.Questions(), img.Digest, know)
	index := slices.IndexFunc(findings, func(f verify.Findings) bool { return f.Index })
	if r.Subject() != EachPlatform || index < 0 {
		return []Chosen{{Digest: img.Digest, Result: r.Judge(c, findings), Papers: r.chosen(c, findings)}}
	}
	children := p.selected(findings[index].Children)
	if len(children) == 0 {
		return []Chosen{{Digest: img.Digest, Result: p.eachPlatform(c, r, findings[index].Children, know)}}
	}
	var out []Chosen
	for _, child := range children {
		found := answers(r.Questions(), child.Digest, know)
		for i := range found {
			found[i] = found[i].With(findings[i], child.Digest)
		}
		of := c
		of.Digest = child.Digest
		out = append(out, Chosen{Digest: child.Digest, Platform: child.Platform, Result: r.Judge(of, found), Papers: r.chosen(of, found)})
	}
	return out
}

// choose returns the newest papers, where it can be told which those are, and of these what can be read.
func (s papers[F]) choose(c Case, findings []verify.Findings) (out []paper[F]) {
	if len(findings) != len(s.by) || c.Image.Now.IsZero() {
		return nil
	}
	for _, f := range findings {
		if whole, _ := f.Whole(); !whole {
			return nil
		}
	}
	for _, p := range newest(s.collect(c, findings).papers) {
		if p.err == nil {
			out = append(out, p)
		}
	}
	return out
}

func chosenPaper[F predicate.Facts](p paper[F]) ChosenPaper {
	return ChosenPaper{Facts: p.facts, By: p.by, Signer: p.evidence.Who(), Source: p.evidence.Source(), At: p.at}
}

// chosen implements choosing.
func (s sbom) chosen(c Case, findings []verify.Findings) (out []ChosenPaper) {
	all := papers[*predicate.SBOM]{what: "SBOM", by: s.by}
	if len(s.formats) > 0 {
		all.keep = s.counts
	}
	for _, p := range all.choose(c, findings) {
		out = append(out, chosenPaper(p))
	}
	return out
}

// chosen implements choosing. Findings are told to be excused wherever there are too many of them, be they now or not.
func (v vulnerabilities) chosen(c Case, findings []verify.Findings) (out []ChosenPaper) {
	if len(findings) != len(v.questions) {
		return nil
	}
	scans, vex := findings[:len(v.by)], findings[len(v.by):]
	v.max = limits{} // none of any: then each is looked at
	for _, p := range (papers[*predicate.Scan]{what: "scan", by: v.by, keep: v.counts}).choose(c, scans) {
		t := findingCount{rules: &v.rules, scan: p.facts}
		t.countAll()
		v.removeByVEX(c, &t, v.vexOf(c, vex))
		v.excuse(c, &t)
		one := chosenPaper(p)
		one.Excused = map[int]string{}
		for i := range p.facts.Len() {
			switch _, counted := t.here(i); {
			case t.vexed.has(i):
				one.Excused[i] = ExcusedByVEX
			case t.excused.has(i):
				one.Excused[i] = ExcusedByException
			case !counted:
				one.Excused[i] = NotFixable
			}
		}
		out = append(out, one)
	}
	return out
}

// LicenseGlob is a glob over the identifiers of licences, as a policy's licenses have them: over the whole of one, without regard to case. The zero
// LicenseGlob matches nothing.
type LicenseGlob struct {
	of  wildcard
	set bool
}

// ParseLicenseGlob reads a glob such as GPL-*.
func ParseLicenseGlob(text string) (LicenseGlob, error) {
	all, err := licenseGlobs("", []string{text})
	if err != nil {
		return LicenseGlob{}, fmt.Errorf("%.64q: want an identifier, such as GPL-3.0-only, or a glob, such as GPL-*", text)
	}
	return LicenseGlob{all[0], true}, nil
}

// Matches tells whether any identifier in a licence of an SBOM matches.
func (g LicenseGlob) Matches(s *predicate.SBOM, l *predicate.License) bool {
	if !g.set {
		return false
	}
	for term := range l.Terms() {
		if g.of.matches(s.Terms()[term].ID) {
			return true
		}
	}
	return false
}
