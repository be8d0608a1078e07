package compile

import (
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// Bounds of identities.
const (
	// maxIdentityList bounds the identities of one authority, as its schema does.
	maxIdentityList = 64
	// maxIdentities bounds those of one policy: each of their patterns is compiled when the policy is, and tried on every
	// certificate that comes with an image.
	maxIdentities = 256
	maxIssuer     = 512  // bytes, as the schema has it
	maxSubject    = 1024 // bytes, as the schema has it
	maxURI        = 512  // bytes, as the schema has it
)

// This version can't judge by keyless authorities and certificates yet. What is wrong with one is said all the same: a policy
// that is written for a later version should be right when that comes.

func (c *checker) keyless(at *field.Path, k *v1alpha1.KeylessAuthority) {
	if k.TrustRoot != "" && len(validation.IsDNS1123Subdomain(k.TrustRoot)) > 0 {
		c.invalid(at.Child("trustRoot"), "%.80q is no name of an object: name a TrustRoot, for instance sigstore-public", k.TrustRoot)
	}
	at = at.Child("identities")
	if !c.identityCount(at, len(k.Identities), "every certificate of the trust root") {
		return
	}
	for i, id := range k.Identities {
		c.name(at.Index(i), identityName{"issuer", id.Issuer, id.IssuerPattern, maxIssuer, strangeIssuers()})
		c.name(at.Index(i), identityName{"subject", id.Subject, id.SubjectPattern, maxSubject, strangers()})
	}
}

func (c *checker) certificate(at *field.Path, a *v1alpha1.CertificateAuthority) {
	const cure = "write your own PKI's roots as PEM (-----BEGIN CERTIFICATE-----)"
	roots := at.Child("roots")
	switch {
	case c.badLength(roots, a.Roots, verify.MaxPolicyPEM, cure):
	case privateKey.MatchString(a.Roots):
		c.invalid(roots, "%v", errPrivateKey)
	case !strings.Contains(a.Roots, "-----BEGIN CERTIFICATE-----"):
		c.invalid(roots, "no certificate in it: %s", cure)
	}
	at = at.Child("identities")
	if !c.identityCount(at, len(a.Identities), "every certificate below the roots") {
		return
	}
	for i, id := range a.Identities {
		c.name(at.Index(i), identityName{"subject", id.Subject, id.SubjectPattern, maxSubject, strangers()})
	}
}

// identityCount checks how many identities there are, and tells whether they are to be looked at.
func (c *checker) identityCount(at *field.Path, n int, without string) bool {
	c.identities += n
	if n == 0 {
		c.required(at, "name at least one identity: without any, "+without+" would do")
	}
	return !c.tooMany(at, n, maxIdentityList) && c.identities <= maxIdentities
}

// identityName is one of the names that an identity has, exact or as a pattern.
type identityName struct {
	field          string // and fieldPattern
	exact, pattern string
	bound          int // in bytes
	strangers      []string
}

// name checks that exactly one of a name and its pattern is there, and that the pattern is one and not about everybody.
func (c *checker) name(at *field.Path, n identityName) {
	patternField := n.field + "Pattern"
	switch {
	case n.exact == "" && n.pattern == "":
		c.required(at.Child(n.field), "set it, or "+patternField+": an identity is an issuer's word about one subject, and neither may be anybody")
	case n.exact != "" && n.pattern != "":
		c.invalid(at.Child(patternField), "set it or %s, not both: write one identity for each", n.field)
	case n.exact != "":
		c.badLength(at.Child(n.field), n.exact, n.bound, "write it as the certificate has it")
	case !c.badLength(at.Child(patternField), n.pattern, n.bound, "write a pattern of RE2, which is anchored for you"):
		c.pattern(at.Child(patternField), n)
	}
}

func (c *checker) pattern(at *field.Path, n identityName) {
	steps, err := stepsOf(n.pattern)
	if c.steps += steps; err == nil && c.steps > maxPolicySteps {
		return // which is said once, of all authorities
	}
	var whole *regexp.Regexp
	if err == nil {
		whole, err = anchored(n.pattern)
	}
	if err != nil {
		c.invalid(at, "%s", line(err.Error(), maxProblem))
	} else if who, ok := matchesStranger(whole, n.pattern, n.strangers); ok {
		c.invalid(at, "matches anybody, such as %q: write out the host, and the owner or the domain", line(who, maxProblem))
	}
}
