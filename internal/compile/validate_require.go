package compile

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// require checks each requirement. One that this version can't evaluate is an error: it would be ignored.
func (c *checker) require(at *field.Path, r *v1alpha1.Require) {
	none := true
	for _, u := range unevaluated(r) {
		if u.set {
			none = false
			c.unsupported(at.Child(u.name), "leave it out; of the requirements, this version evaluates signature")
		}
	}
	if r.Signature != nil {
		none = false
		c.signature(at.Child("signature"), r.Signature)
	}
	if none {
		c.required(at.Child("signature"), "an empty require asks for nothing: name what an image must show, or use allow with a reason")
	}
}

// requirement is a field of require, and whether a policy has it.
type requirement struct {
	name string
	set  bool
}

// unevaluated lists the requirements that this version can't evaluate, in the order of the schema.
func unevaluated(r *v1alpha1.Require) []requirement {
	return []requirement{
		{"sbom", r.SBOM != nil},
		{"vulnerabilities", r.Vulnerabilities != nil},
		{"secrets", r.Secrets != nil},
		{"provenance", r.Provenance != nil},
		{"tests", len(r.Tests) > 0},
		{"approvals", r.Approvals != nil},
		{"promotion", r.Promotion != nil},
		{"custom", len(r.Custom) > 0},
	}
}

func (c *checker) signature(at *field.Path, s *v1alpha1.SignatureRequirement) {
	ok := c.by(at.Child("by"), s.By)
	if s.AtLeast == nil {
		return
	}
	if n := *s.AtLeast; n < 1 || n > policy.MaxSigners {
		c.errs = append(c.errs, field.Invalid(at.Child("atLeast"), n, "want 1 to 64 distinct signers"))
	} else if keys, all := c.inline(s.By); ok && all && int(n) > keys {
		c.errs = append(c.errs, field.Invalid(at.Child("atLeast"), n, "more signers than the authorities in by have distinct keys, so that nobody could satisfy it: add keys, or ask for fewer"))
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
	before := len(c.errs)
	seen := map[string]bool{}
	for i, name := range by {
		switch {
		case !c.known[name]:
			c.invalid(at.Index(i), "%.80q is not defined; spec.authorities has: %s", name, c.names())
		case seen[name]:
			c.errs = append(c.errs, field.Duplicate(at.Index(i), name))
		}
		seen[name] = true
	}
	return len(c.errs) == before
}

// inline counts the distinct keys of authorities; all is false where one's keys aren't in the policy itself.
func (c *checker) inline(by []string) (n int, all bool) {
	distinct := map[verify.Fingerprint]bool{}
	for _, name := range by {
		keys, ok := c.keys[name]
		if !ok {
			return 0, false
		}
		for _, k := range keys {
			distinct[k.Fingerprint()] = true
		}
	}
	return len(distinct), true
}
