package compile

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// Bounds of an ImageException, as its schema has them.
const (
	maxOwner           = 256 // bytes: a name and an address
	maxExceptionImages = 64  // patterns
	maxExceptionIDs    = 64
)

// exceptionErrors returns what is wrong with an ImageException at any time.
func exceptionErrors(e *v1alpha1.ImageException) field.ErrorList {
	c := checker{}
	spec := field.NewPath("spec")
	c.said(spec.Child("owner"), e.Spec.Owner, maxOwner, "say who answers for the exception, as people find them")
	c.said(spec.Child("reason"), e.Spec.Reason, maxReason, "say why, for those who meet the exception")
	if e.Spec.Expires == "" {
		c.required(spec.Child("expires"), "write a date, at most 90 days after the exception is made")
	} else if _, err := readExpiry(e.Spec.Expires); err != nil {
		c.invalid(spec.Child("expires"), "%v", err)
	}
	c.exceptionImages(spec.Child("images"), e.Spec.Images)
	c.exceptionIDs(spec.Child("ids"), e.Spec.IDs)
	return c.all(spec)
}

// said checks a text that is for people.
func (c *checker) said(at *field.Path, text string, bound int, cure string) {
	c.badLength(at, strings.TrimSpace(text), bound, cure)
}

func (c *checker) exceptionImages(at *field.Path, images []string) {
	switch {
	case len(images) == 0:
		c.required(at, "say which images the exception is about, for instance registry.example.com/team/app")
	case len(images) > maxExceptionImages:
		c.add(field.Invalid(at, len(images), "at most 64: write a pattern that covers several, or another exception"))
		return
	}
	for i, p := range images {
		if c.badLength(at.Index(i), p, maxPattern, "write HOST/PATH, for instance registry.example.com/team/app") {
			continue
		}
		if _, err := policy.ParsePattern(p); err != nil {
			c.invalid(at.Index(i), "%v", err)
		}
	}
}

func (c *checker) exceptionIDs(at *field.Path, ids []string) {
	switch {
	case len(ids) == 0:
		c.required(at, "name the vulnerabilities that are excused, for instance CVE-2024-3094")
	case len(ids) > maxExceptionIDs:
		c.add(field.Invalid(at, len(ids), "at most 64: write another exception"))
		return
	}
	seen := map[string]bool{}
	for i, id := range ids {
		if err := checkVulnerabilityID(id); err != nil {
			c.invalid(at.Index(i), "%v", err)
		} else if seen[id] {
			c.add(field.Duplicate(at.Index(i), id))
		}
		seen[id] = true
	}
}

// exceptionTooLong returns what is wrong with when an ImageException ends, one that exceptionErrors has nothing against: what is refused
// of one that is written, though one that is there counts for as long as it may.
func exceptionTooLong(e *v1alpha1.ImageException, now time.Time) field.ErrorList {
	x, err := readExpiry(e.Spec.Expires)
	latest := madeAt(e, now).Add(policy.MaxExceptionAge)
	if err != nil || !x.after(latest) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("spec", "expires"), line(e.Spec.Expires, maxProblem),
		"later than 90 days after the exception was made: write "+latest.UTC().Format(time.DateOnly)+" or earlier")}
}

// exceptionEnded returns what is wrong with an ImageException that has ended before it is there.
func exceptionEnded(e *v1alpha1.ImageException, now time.Time) field.ErrorList {
	x, err := readExpiry(e.Spec.Expires)
	if err != nil || now.Before(x.until) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("spec", "expires"), line(e.Spec.Expires, maxProblem),
		"is over, so that it would excuse nothing: write a date to come, until "+madeAt(e, now).Add(policy.MaxExceptionAge).UTC().Format(time.DateOnly)+" at the latest")}
}

// madeAt is when an ImageException was made: now, where it doesn't say, as in a file that was written by hand, or says what is to come.
func madeAt(e *v1alpha1.ImageException, now time.Time) time.Time {
	if made := e.CreationTimestamp.Time; !made.IsZero() && made.Before(now) {
		return made
	}
	return now
}

// severities are those that a policy's namespaceExceptions may name, as findings have them.
func severities() []string { return []string{"critical", "high", "medium", "low", "negligible"} }

// namespaceExceptions checks how far a cluster's policy lets namespaces loosen it.
func (c *checker) namespaceExceptions(at *field.Path, n *v1alpha1.NamespaceExceptions) {
	if len(n.Severities) == 0 {
		c.required(at.Child("severities"), "name the severities whose findings a namespace may excuse, for instance low, or leave namespaceExceptions out: then it may none")
	}
	if c.tooMany(at.Child("severities"), len(n.Severities), len(severities())) {
		return
	}
	for i, s := range n.Severities {
		switch {
		case !slices.Contains(severities(), s):
			c.add(field.NotSupported(at.Child("severities").Index(i), line(s, maxProblem), severities()))
		case slices.Contains(n.Severities[:i], s):
			c.add(field.Duplicate(at.Child("severities").Index(i), s))
		}
	}
	if d := n.MaxDuration; d != nil && (d.Duration <= 0 || d.Duration > policy.MaxExceptionAge) {
		c.add(field.Invalid(at.Child("maxDuration"), d.Duration.String(), "want more than 0 and at most 2160h (90 days), which is as long as any exception lasts"))
	}
}
