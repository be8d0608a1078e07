package compile

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
)

// Bounds of what is asked of SBOMs and scans, as their schemas have them.
const (
	maxLicenses         = policy.MaxLicenseRules
	maxLicense          = 128 // bytes: SPDX identifiers have some forty
	maxPackageGlob      = 256 // bytes
	maxPolicyExceptions = 256 // of one requirement; more is a database of its own, for which there is VEX
	maxScanners         = 16
	maxScanner          = 128 // bytes
)

// sbom checks what is asked of a bill of materials.
func (c *checker) sbom(at *field.Path, s *v1alpha1.SBOMRequirement) {
	c.by(at.Child("by"), s.By)
	c.age(at.Child("maxAge"), s.MaxAge)
	formats := []v1alpha1.SBOMFormat{v1alpha1.SBOMFormat(predicate.FormatSPDX), v1alpha1.SBOMFormat(predicate.FormatCycloneDX)}
	if !c.tooMany(at.Child("formats"), len(s.Formats), len(formats)) {
		for i, f := range s.Formats {
			switch {
			case !slices.Contains(formats, f):
				c.add(field.NotSupported(at.Child("formats").Index(i), v1alpha1.SBOMFormat(line(string(f), maxProblem)), formats))
			case slices.Contains(s.Formats[:i], f):
				c.add(field.Duplicate(at.Child("formats").Index(i), f))
			}
		}
	}
	if n := s.MinPackages; n != nil && (*n < 0 || *n > predicate.MaxPackages) {
		c.invalid(at.Child("minPackages"), "%d: want 0 to %d, which is as many as an SBOM may have", *n, predicate.MaxPackages)
	}
	if s.Licenses != nil {
		c.licenses(at.Child("licenses"), s.Licenses)
	}
}

// licenses checks what is asked of packages' licences.
func (c *checker) licenses(at *field.Path, l *v1alpha1.Licenses) {
	c.licenseGlobs(at.Child("deny"), l.Deny)
	c.families(at.Child("deny"), l.Deny)
	c.licenseGlobs(at.Child("allow"), l.Allow)
	switch l.Unknown {
	case "", "Allow", "Warn", "Deny":
	default:
		c.add(field.NotSupported(at.Child("unknown"), line(l.Unknown, maxProblem), []string{"Allow", "Warn", "Deny"}))
	}
	at = at.Child("exceptions")
	if c.tooMany(at, len(l.Exceptions), maxPolicyExceptions) {
		return
	}
	for i, e := range l.Exceptions {
		if c.full() {
			return
		}
		if !c.badLength(at.Index(i).Child("package"), e.Package, maxPackageGlob, "name the packages, for instance readline*") && strings.TrimSpace(e.Package) != e.Package {
			c.invalid(at.Index(i).Child("package"), "begins or ends with a blank, so that it would match nothing")
		}
		if !c.badLength(at.Index(i).Child("license"), e.License, maxLicense, "name the licence, for instance GPL-3.0-or-later") && strings.TrimSpace(e.License) != e.License {
			c.invalid(at.Index(i).Child("license"), "begins or ends with a blank, so that it would match nothing")
		}
		c.excuse(at.Index(i), e.Reason, e.Expires)
	}
}

func (c *checker) licenseGlobs(at *field.Path, globs []string) {
	if c.tooMany(at, len(globs), maxLicenses) {
		return
	}
	for i, g := range globs {
		if c.full() {
			return
		}
		if c.badLength(at.Index(i), g, maxLicense, "write an SPDX identifier, or a glob over them, for instance GPL-*") {
			continue
		}
		if _, err := policy.ParseLicenseGlob(g); err != nil {
			c.invalid(at.Index(i), "%s", line(err.Error(), maxProblem))
		}
	}
}

// families refuses to deny the name of a family for its licences: GPL is no identifier and denies none, not GPL-3.0-only either. It is good beside
// the glob of the family, for what SBOMs say in their own words.
func (c *checker) families(at *field.Path, deny []string) {
	known := licenses{}
	for i, g := range deny[:min(len(deny), maxLicenses)] {
		if c.full() {
			return
		}
		if g == "" || len(g) > maxLicense || isLicenseRef(g) {
			continue
		}
		if family := known.family(g); family != "" && !known.reached(family, deny[:min(len(deny), maxLicenses)]) {
			c.invalid(at.Index(i), "%s is no SPDX identifier and matches none: write %s", line(g, 32), line(family, 32))
		}
	}
}

// excuse checks why an exception is there, and when it ends. One that has ended is no error: the policy was good when it was written, and then
// excuses nothing.
func (c *checker) excuse(at *field.Path, reason, expires string) {
	c.said(at.Child("reason"), reason, maxReason, "say why, for those who look at it again")
	if expires == "" {
		c.required(at.Child("expires"), "write a date, for instance 2027-01-31 (good through that day, UTC)")
	} else if _, err := policy.ParseExpires(expires); err != nil {
		c.invalid(at.Child("expires"), "%s", line(err.Error(), maxProblem))
	}
}

// vulnerabilities checks what is asked of a scan.
func (c *checker) vulnerabilities(at *field.Path, v *v1alpha1.VulnerabilitiesRequirement) {
	c.by(at.Child("by"), v.By)
	c.age(at.Child("maxAge"), v.MaxAge)
	c.age(at.Child("maxDatabaseAge"), v.MaxDatabaseAge)
	c.counts(at.Child("max"), v.Max)
	c.counts(at.Child("warn"), v.Warn)
	if v.Unknown != "" && !slices.Contains(severities(), v.Unknown) {
		c.add(field.NotSupported(at.Child("unknown"), line(v.Unknown, maxProblem), severities()))
	}
	if !c.tooMany(at.Child("scanners"), len(v.Scanners), maxScanners) {
		for i, s := range v.Scanners {
			name := at.Child("scanners").Index(i)
			switch {
			case c.badLength(name, strings.TrimSpace(s), maxScanner, "name a scanner, for instance trivy or grype"):
			case strings.ContainsFunc(v.Scanners[i], func(r rune) bool { return r <= ' ' || r > '~' }):
				c.invalid(name, "has a blank or a letter that no scanner has: write for instance trivy or grype")
			case slices.ContainsFunc(v.Scanners[:i], func(other string) bool { return strings.EqualFold(other, s) }):
				c.add(field.Duplicate(name, s))
			}
		}
	}
	if v.VEX != nil {
		c.by(at.Child("vex", "by"), v.VEX.By)
	}
	c.vulnerabilityExceptions(at.Child("exceptions"), v.Exceptions)
}

func (c *checker) vulnerabilityExceptions(at *field.Path, list []v1alpha1.VulnerabilityException) {
	if c.tooMany(at, len(list), maxPolicyExceptions) {
		return
	}
	seen := map[string]bool{}
	for i, e := range list {
		if c.full() {
			return
		}
		id := at.Index(i).Child("id")
		if e.ID == "" {
			c.required(id, "name the vulnerability, for instance CVE-2024-3094")
		} else if err := checkVulnerabilityID(e.ID); err != nil {
			c.invalid(id, "%s", line(err.Error(), maxProblem))
		} else if key := strings.ToUpper(e.ID); seen[key] {
			c.add(field.Duplicate(id, e.ID))
		} else {
			seen[key] = true
		}
		c.excuse(at.Index(i), e.Reason, e.Expires)
	}
}

// counts checks counts by severity.
func (c *checker) counts(at *field.Path, s *v1alpha1.SeverityCounts) {
	for _, n := range countsOf(s) {
		if *n.count < 0 {
			c.invalid(at.Child(n.severity.String()), "%d: want 0 or more", *n.count)
		}
	}
}

// severityCount is the count of one severity.
type severityCount struct {
	severity predicate.Severity
	count    *int32
}

// countsOf returns the counts that are there, the worst severity first.
func countsOf(s *v1alpha1.SeverityCounts) []severityCount {
	if s == nil {
		return nil
	}
	return slices.DeleteFunc([]severityCount{
		{predicate.SeverityCritical, s.Critical}, {predicate.SeverityHigh, s.High}, {predicate.SeverityMedium, s.Medium},
		{predicate.SeverityLow, s.Low}, {predicate.SeverityNegligible, s.Negligible},
	}, func(n severityCount) bool { return n.count == nil })
}
