package compile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
)

// require warns of what a policy asks for, but probably doesn't mean.
func (w *warner) require(s *v1alpha1.ImagePolicySpec) {
	r := s.Require
	if r == nil {
		return
	}
	if r.SBOM != nil {
		w.sbom(r.SBOM)
	}
	if r.Vulnerabilities != nil {
		w.vulnerabilities(r.Vulnerabilities)
	}
	if p := r.Provenance; p != nil {
		if len(p.Builders) == 0 && len(p.BuilderPatterns) == 0 {
			w.say("spec.require.provenance: names no builder, so that whatever its signers say has built it will do")
		}
		for i, source := range p.Sources[:min(len(p.Sources), maxProvenanceNames)] {
			if _, path, ok := strings.Cut(source, "://"); ok && strings.Contains(path, "@") {
				w.say("spec.require.provenance.sources[%d]: what is behind the @ isn't compared; write it in refs", i)
			}
		}
	}
	for i, t := range r.Tests[:min(len(r.Tests), maxRequirements)] {
		if t.MaxAge != nil && onlyKeys(t.By, s.Authorities) {
			w.say("spec.require.tests[%d].maxAge: a test result has no time, and by a key none can be told: it is refused", i)
		}
	}
	for i, c := range r.Custom[:min(len(r.Custom), maxRequirements)] {
		for j, rule := range c.Rules[:min(len(c.Rules), policy.MaxRules)] {
			if len(rule.CEL) <= policy.MaxExpression && !mentions(rule.CEL, "predicate", "subject", "signer", "verifiedTime", "image", "request") {
				w.say("spec.require.custom[%d].rules[%d].cel: looks at nothing, so that it says the same of every statement", i, j)
			}
		}
	}
}

// mentions tells whether a text has one of some words in it, be it as a part of another.
func mentions(text string, words ...string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
}

// onlyKeys tells whether all of some authorities are keys: of what they sign nobody but they tells the time of signing.
func onlyKeys(by []string, all []v1alpha1.Authority) bool {
	n := 0
	for _, a := range all[:min(len(all), maxAuthorities)] {
		switch {
		case !slices.Contains(by, a.Name):
		case a.Key == nil:
			return false
		default:
			n++
		}
	}
	return n > 0
}

func (w *warner) sbom(s *v1alpha1.SBOMRequirement) {
	const at = "spec.require.sbom"
	if s.MinPackages != nil && *s.MinPackages == 0 {
		w.say("%s.minPackages: 0: an SBOM of nothing will do", at)
	}
	if s.Formats != nil && len(s.Formats) == 0 {
		w.say("%s.formats: empty, which means any; leave it out, or name those that count", at)
	}
	l := s.Licenses
	switch {
	case l == nil:
		return
	case len(l.Deny)+len(l.Allow) > 0:
	case l.Allow != nil:
		w.say("%s.licenses.allow: empty, which means any licence; name those that may be used", at)
	case l.Unknown == "" || l.Unknown == "Allow": // else it asks for what is known
		w.say("%s.licenses: denies no licence; name some in deny, or in allow those that may be used", at)
	}
	known := licenses{}
	deny := l.Deny[:min(len(l.Deny), maxLicenses)]
	for i, g := range deny {
		if len(g) <= maxLicense && known.reached(known.family(g), deny) {
			continue // GPL beside GPL-*, which is for the words of an SBOM
		}
		w.license(fmt.Sprintf("%s.licenses.deny[%d]", at, i), g, "denies", &known)
	}
	for i, g := range l.Allow[:min(len(l.Allow), maxLicenses)] {
		w.license(fmt.Sprintf("%s.licenses.allow[%d]", at, i), g, "allows", &known)
	}
	for i, e := range l.Exceptions[:min(len(l.Exceptions), maxPolicyExceptions)] {
		at := fmt.Sprintf("%s.licenses.exceptions[%d]", at, i)
		w.license(at, e.License, "excuses", &known)
		w.expired(at, e.Expires)
	}
}

// license warns of a glob that no identifier of the SPDX licence list matches. It may be meant for other texts, but most are typos: GLP-*. The verb
// says what it is there for.
func (w *warner) license(at, glob, verb string, known *licenses) {
	if len(glob) > maxLicense || isLicenseRef(glob) || known.match(glob) {
		return
	}
	cure := "a typo, or the words of an SBOM?"
	if near := known.nearest(glob); near != "" {
		meant := "did you mean " + near + "?"
		if len(at)+len(verb)+len(meant)+len(":  nothing that SPDX lists; ") <= maxWarning { // else the API server would drop it
			cure = meant
		}
	}
	w.say("%s: %s nothing that SPDX lists; %s", at, verb, cure)
}

// manyFindings is how many findings of one severity a limit may let pass before it is taken for none: large images have some thousand in all.
const manyFindings = 10_000

func (w *warner) vulnerabilities(v *v1alpha1.VulnerabilitiesRequirement) {
	const at = "spec.require.vulnerabilities"
	most := countsOf(v.Max)
	for _, m := range most {
		if *m.count > manyFindings {
			w.say("%s.max.%s: %d is more than scans find, so that it limits nothing", at, m.severity, *m.count)
		}
	}
	if v.Unknown == predicate.SeverityNegligible.String() && (v.Max == nil || v.Max.Negligible == nil) {
		w.say("%s.unknown: negligible isn't limited, so any number not rated yet will do; set max.negligible", at)
	}
	for _, warn := range countsOf(v.Warn) {
		for _, m := range most {
			if m.severity == warn.severity && *warn.count >= *m.count {
				w.say("%s.warn.%s: %d never warns: above %d, its max, it is refused", at, warn.severity, *warn.count, *m.count)
			}
		}
	}
	if len(most) == 0 && len(countsOf(v.Warn)) == 0 {
		w.say("%s: limits nothing: it wants a scan, whatever that found; set max or warn", at)
	}
	for i, e := range v.Exceptions[:min(len(v.Exceptions), maxPolicyExceptions)] {
		w.expired(fmt.Sprintf("%s.exceptions[%d]", at, i), e.Expires)
	}
}

// expired warns of an exception that excuses nothing any more.
func (w *warner) expired(at, expires string) {
	if until, err := policy.ParseExpires(expires); err == nil && !w.now.Before(until) {
		w.say("%s: ended at %s, so that it excuses nothing", at, until.UTC().Format(time.RFC3339))
	}
}
