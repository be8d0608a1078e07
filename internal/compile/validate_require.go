package compile

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// maxRequirements bounds the lists of requirements, as their schemas do.
const maxRequirements = 64

// require checks each requirement. One that this version can't evaluate is an error: it would be ignored.
func (c *checker) require(at *field.Path, r *v1alpha1.Require) {
	if requiresNothing(r) {
		c.required(at.Child("signature"), "an empty require asks for nothing: name what an image must show, or use allow with a reason")
		return
	}
	if r.SBOM != nil {
		c.by(c.later(at, "sbom").Child("by"), r.SBOM.By)
	}
	if v := r.Vulnerabilities; v != nil {
		c.by(c.later(at, "vulnerabilities").Child("by"), v.By)
		if v.VEX != nil {
			c.by(at.Child("vulnerabilities", "vex", "by"), v.VEX.By)
		}
	}
	if r.Secrets != nil {
		c.by(c.later(at, "secrets").Child("by"), r.Secrets.By)
	}
	if r.Provenance != nil {
		c.by(c.later(at, "provenance").Child("by"), r.Provenance.By)
	}
	if len(r.Tests) > 0 && !c.tooMany(c.later(at, "tests"), len(r.Tests), maxRequirements) {
		for i := range r.Tests {
			c.by(at.Child("tests").Index(i).Child("by"), r.Tests[i].By)
		}
	}
	if r.Approvals != nil {
		c.by(c.later(at, "approvals").Child("by"), r.Approvals.By)
	}
	if r.Promotion != nil {
		c.by(c.later(at, "promotion").Child("by"), r.Promotion.By)
	}
	if len(r.Custom) > 0 && !c.tooMany(c.later(at, "custom"), len(r.Custom), maxRequirements) {
		for i := range r.Custom {
			c.by(at.Child("custom").Index(i).Child("by"), r.Custom[i].By)
		}
	}
	if r.Signature != nil {
		c.signature(at.Child("signature"), r.Signature)
	}
}

func requiresNothing(r *v1alpha1.Require) bool {
	return r.Signature == nil && r.SBOM == nil && r.Vulnerabilities == nil && r.Secrets == nil && r.Provenance == nil &&
		len(r.Tests) == 0 && r.Approvals == nil && r.Promotion == nil && len(r.Custom) == 0
}

// later says that this version can't evaluate a requirement, and returns its path: whom it names is checked all the same.
func (c *checker) later(at *field.Path, name string) *field.Path {
	c.unsupported(at.Child(name), "leave it out; of the requirements, this version evaluates signature")
	return at.Child(name)
}

func (c *checker) signature(at *field.Path, s *v1alpha1.SignatureRequirement) {
	ok := c.by(at.Child("by"), s.By)
	if s.AtLeast == nil {
		return
	}
	if n := *s.AtLeast; n < 1 || n > policy.MaxSigners {
		c.add(field.Invalid(at.Child("atLeast"), n, "want 1 to 64 distinct signers"))
	} else if signers, all := c.inline(s.By); ok && all && int(n) > signers {
		c.add(field.Invalid(at.Child("atLeast"), n, "more signers than the authorities in by have distinct keys and identities, so that nobody could satisfy it: add some, or ask for fewer"))
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
