package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// DefaultMinPackages is how many packages an SBOM must name if the policy doesn't say: one that names none tells nothing.
const DefaultMinPackages = 1

// SBOMRules are what a policy wants of an SBOM, as it is written.
type SBOMRules struct {
	// Formats that count, SPDX or CycloneDX; none: any.
	Formats []string
	// MinPackages is how many packages it must name; nil: DefaultMinPackages.
	MinPackages *int32
	// MaxAge of the document; 0: any.
	MaxAge time.Duration
	// Licenses say what its packages may be licensed under; nil: anything.
	Licenses *LicenseRules
}

// sbom is the requirement of a software bill of materials.
//
//	by           the authorities that count
//	formats      SPDX, CycloneDX; none: any. Of those the newest counts
//	minPackages  how many packages it must name (default 1)
//	maxAge       of the document
//	licenses     see licenses.go
//
// Each platform of an index has its own. What is attached without a signature (cosign attach sbom, buildkit's attestation manifests) is none, and
// is named as the nearest miss.
type sbom struct {
	by          []verify.Authority
	questions   []verify.Question
	formats     []predicate.Format
	minPackages int
	maxAge      time.Duration
	licenses    *licenses
}

// NewSBOM returns the requirement of an SBOM by one of the authorities. An error names the field that it is about.
func NewSBOM(by []verify.Authority, rules SBOMRules) (Requirement, error) {
	questions, err := ask(by, predicate.KindSBOM)
	if err != nil {
		return nil, err
	}
	s := sbom{by: by, questions: questions, minPackages: DefaultMinPackages, maxAge: rules.MaxAge}
	for i, f := range rules.Formats {
		if f != string(predicate.FormatSPDX) && f != string(predicate.FormatCycloneDX) {
			return nil, fmt.Errorf("formats[%d]: %q, want SPDX or CycloneDX", i, f)
		}
		s.formats = append(s.formats, predicate.Format(f))
	}
	if n := rules.MinPackages; n != nil {
		if *n < 0 || *n > predicate.MaxPackages {
			return nil, fmt.Errorf("minPackages: %d, want 0 to %d", *n, predicate.MaxPackages)
		}
		s.minPackages = int(*n)
	}
	if s.maxAge < 0 {
		return nil, fmt.Errorf("maxAge: %s, want more than nothing", s.maxAge)
	}
	if rules.Licenses != nil {
		if s.licenses, err = newLicenses(*rules.Licenses); err != nil {
			return nil, fmt.Errorf("licenses.%w", err)
		}
	}
	return s, nil
}

// Name implements Requirement.
func (s sbom) Name() string { return "sbom" }

// Subject implements Requirement.
func (s sbom) Subject() Subject { return EachPlatform }

// Questions implements Requirement.
func (s sbom) Questions() []verify.Question { return s.questions }

// String says by whom, and in which format.
func (s sbom) String() string {
	if len(s.formats) == 0 {
		return "by " + namesOf(s.by, " or ")
	}
	return s.wanted() + " by " + namesOf(s.by, " or ")
}

// Judge implements Requirement.
func (s sbom) Judge(c Case, findings []verify.Findings) Result {
	all := papers[*predicate.SBOM]{requirement: s.Name(), what: "SBOM", none: NoSBOM, by: s.by, maxAge: s.maxAge}
	if len(s.formats) > 0 {
		all.keep = s.counts
	}
	r := all.judge(c, findings, func(p paper[*predicate.SBOM]) Result { return s.content(p, c.Image.Now) })
	if r.Reason == NoSBOM && all.keep != nil {
		if found := all.collect(c, findings); found.other > 0 {
			r.Reason, r.Detail = WrongFormat, fmt.Sprintf("%s by %s found, but none in %s", count(found.other, "SBOM"), namesOf(s.by, " or "), s.wanted())
		}
	}
	return r
}

// counts tells whether an SBOM is of a format that counts.
func (s sbom) counts(f *predicate.SBOM) bool { return slices.Contains(s.formats, f.Format()) }

// wanted names the formats that count.
func (s sbom) wanted() string {
	var names []string
	for _, f := range s.formats {
		names = append(names, string(f))
	}
	return strings.Join(names, " or ")
}

// content judges what an SBOM says.
func (s sbom) content(p paper[*predicate.SBOM], now time.Time) Result {
	n := p.facts.Packages()
	if n < s.minPackages {
		return Result{Outcome: Violated, Reason: TooFewPackages, Detail: fmt.Sprintf(
			"the SBOM by %s names %s (min %d)", p.by, count(n, "package"), s.minPackages)}
	}
	r := Result{Outcome: Satisfied, Reason: Verified}
	if s.licenses != nil {
		r = s.licenses.judge(p.facts, now)
	}
	if r.Outcome.Passes() {
		r.Detail = fmt.Sprintf("%s %s by %s, %s", p.facts.Format(), p.facts.Version(), p.by, count(n, "package"))
	}
	return r
}
