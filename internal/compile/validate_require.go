package compile

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// Bounds of requirements, as their schemas have them.
const (
	maxRequirements = 64  // tests, and custom requirements
	maxTestName     = 256 // bytes
	// maxMaxAge bounds every age: what may be older may be of any age.
	maxMaxAge = 10 * 365 * 24 * time.Hour
)

// require checks each requirement.
func (c *checker) require(at *field.Path, r *v1alpha1.Require) {
	if len(requirementsOf(r)) == 0 {
		c.required(at.Child("signature"), "an empty require asks for nothing: name what an image must show, or use allow with a reason")
		return
	}
	if r.Signature != nil {
		c.signature(at.Child("signature"), r.Signature)
	}
	if r.SBOM != nil {
		c.sbom(at.Child("sbom"), r.SBOM)
	}
	if r.Vulnerabilities != nil {
		c.vulnerabilities(at.Child("vulnerabilities"), r.Vulnerabilities)
	}
	if r.Secrets != nil {
		c.by(at.Child("secrets", "by"), r.Secrets.By)
		c.age(at.Child("secrets", "maxAge"), r.Secrets.MaxAge)
	}
	if r.Provenance != nil {
		c.provenance(at.Child("provenance"), r.Provenance)
	}
	c.tests(at.Child("tests"), r.Tests)
	if r.Approvals != nil {
		c.approvals(at.Child("approvals"), r.Approvals)
	}
	if r.Promotion != nil {
		c.by(at.Child("promotion", "by"), r.Promotion.By)
		c.environment(at.Child("promotion", "to"), r.Promotion.To)
	}
	c.custom(at.Child("custom"), r.Custom)
}

// requirementsOf names the requirements that are there, as require has them.
func requirementsOf(r *v1alpha1.Require) (out []string) {
	if r == nil {
		return nil
	}
	for _, one := range []struct {
		name  string
		there bool
	}{
		{"signature", r.Signature != nil}, {"sbom", r.SBOM != nil}, {"vulnerabilities", r.Vulnerabilities != nil}, {"secrets", r.Secrets != nil},
		{"provenance", r.Provenance != nil}, {"tests", len(r.Tests) > 0}, {"approvals", r.Approvals != nil}, {"promotion", r.Promotion != nil},
		{"custom", len(r.Custom) > 0},
	} {
		if one.there {
			out = append(out, one.name)
		}
	}
	return out
}

func (c *checker) signature(at *field.Path, s *v1alpha1.SignatureRequirement) {
	c.atLeast(at.Child("atLeast"), s.AtLeast, s.By, c.by(at.Child("by"), s.By))
}

func (c *checker) approvals(at *field.Path, a *v1alpha1.ApprovalsRequirement) {
	c.atLeast(at.Child("atLeast"), a.AtLeast, a.By, c.by(at.Child("by"), a.By))
	c.environment(at.Child("environment"), a.Environment)
	c.age(at.Child("maxAge"), a.MaxAge)
}

// atLeast checks how many distinct signers are wanted of authorities, who are known if good is set.
func (c *checker) atLeast(at *field.Path, wanted *int32, by []string, good bool) {
	if wanted == nil {
		return
	}
	if n := *wanted; n < 1 || n > policy.MaxSigners {
		c.add(field.Invalid(at, n, "want 1 to 64 distinct signers"))
	} else if signers, all := c.inline(by); good && all && int(n) > signers {
		c.add(field.Invalid(at, n, "more signers than the authorities in by have distinct keys and identities, so that nobody could satisfy it: add some, or ask for fewer"))
	}
}

func (c *checker) tests(at *field.Path, list []v1alpha1.TestRequirement) {
	if c.tooMany(at, len(list), maxRequirements) {
		return
	}
	seen := map[string]bool{}
	for i, t := range list {
		if c.full() {
			return
		}
		name := at.Index(i).Child("name")
		switch {
		case c.badLength(name, t.Name, maxTestName, "write the test's name as the result has it: an entry of passedTests, or a configuration's name"):
		case strings.TrimSpace(t.Name) != t.Name:
			c.invalid(name, "begins or ends with a blank, so that no test would have it")
		case seen[t.Name]:
			c.add(field.Duplicate(name, line(t.Name, maxProblem)))
		}
		seen[t.Name] = true
		c.by(at.Index(i).Child("by"), t.By)
		c.age(at.Index(i).Child("maxAge"), t.MaxAge)
	}
}

// age checks how old something may be: nil is any age.
func (c *checker) age(at *field.Path, d *metav1.Duration) {
	switch {
	case d == nil:
	case d.Duration <= 0:
		c.invalid(at, "%s: want more than nothing, for instance 168h; leave it out if any age will do", d.Duration)
	case d.Duration > maxMaxAge:
		c.invalid(at, "%s: at most 87600h (ten years); leave it out if any age will do", d.Duration)
	}
}

// environment checks the name of an environment.
func (c *checker) environment(at *field.Path, name string) {
	if name == "" {
		c.required(at, "name the environment, as the approval or promotion names it, for instance production")
	} else if err := predicate.CheckEnvironment(name); err != nil {
		c.invalid(at, "%s", line(err.Error(), maxProblem))
	}
}

// by checks a list of authorities' names, and tells whether all is well with it.
func (c *checker) by(at *field.Path, by []string) bool {
	if len(by) == 0 {
		c.required(at, "name at least one authority; spec.authorities has: "+c.names())
		return false
	}
	if c.tooMany(at, len(by), maxAuthorities) {
		return false
	}
	before := c.found
	seen := map[string]bool{}
	for i, name := range by {
		switch {
		case !c.known[name]:
			c.invalid(at.Index(i), "%.80q is not defined; spec.authorities has: %s", name, c.names())
		case seen[name]:
			c.add(field.Duplicate(at.Index(i), name))
		}
		seen[name] = true
	}
	return c.found == before
}

// inline counts the distinct keys and identities of authorities; all is false where one's keys aren't in the policy itself, or its
// identities are patterns.
func (c *checker) inline(by []string) (n int, all bool) {
	distinct := map[verify.Fingerprint]bool{}
	for _, name := range by {
		if signers, ok := c.signers[name]; ok {
			n += signers
			continue
		}
		keys, ok := c.keys[name]
		if !ok {
			return 0, false
		}
		for _, k := range keys {
			distinct[k.Fingerprint()] = true
		}
	}
	return n + len(distinct), true
}

// maxVerifierID bounds the id of a verifier, in bytes, as its schema does.
const maxVerifierID = 512

// acceptSummary checks what a verification summary may stand for.
func (c *checker) acceptSummary(at *field.Path, s *v1alpha1.AcceptSummary, r *v1alpha1.Require) {
	c.by(at.Child("by"), s.By)
	if !c.badLength(at.Child("verifierID"), s.VerifierID, maxVerifierID, "write the id of the verifier, as the summary has it: by the signer alone anybody could have verified") &&
		strings.TrimSpace(s.VerifierID) != s.VerifierID {
		c.invalid(at.Child("verifierID"), "begins or ends with a blank, so that no summary would have it")
	}
	if s.MaxAge == nil {
		c.required(at.Child("maxAge"), "say how old a summary may be, for instance 168h: without it one would stand for good, while what it stands for grows old")
	}
	c.age(at.Child("maxAge"), s.MaxAge)
	if r == nil {
		c.invalid(at, "stands in for requirements: set require, or leave it out")
		return
	}
	c.insteadOf(at.Child("insteadOf"), s.InsteadOf, requirementsOf(r))
}

// insteadOf checks the names of requirements that a summary may stand for, by those that are there.
func (c *checker) insteadOf(at *field.Path, names, there []string) {
	if len(names) == 0 {
		c.required(at, "name the requirements that a summary may stand for; the policy has: "+strings.Join(there, ", "))
		return
	}
	if c.tooMany(at, len(names), len(policy.Summarizable())) {
		return
	}
	for i, name := range names {
		switch {
		case name == "signature" || name == "approvals":
			c.invalid(at.Index(i), "nothing stands for %s, which says who signed: leave it out", name)
		case !slices.Contains(policy.Summarizable(), name):
			c.add(field.NotSupported(at.Index(i), line(name, maxProblem), policy.Summarizable()))
		case !slices.Contains(there, name):
			c.invalid(at.Index(i), "the policy doesn't require %s: leave it out, or require it; it has: %s", name, strings.Join(there, ", "))
		case slices.Contains(names[:i], name):
			c.add(field.Duplicate(at.Index(i), name))
		}
	}
}
