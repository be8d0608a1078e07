package compile

import (
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// Bounds of identities.
const (
	// maxIdentityList bounds the identities of one authority, as its schema does.
	maxIdentityList = verify.MaxIdentities
	// maxIdentities bounds those of one policy: each of their patterns is compiled when the policy is, and tried on every
	// certificate that comes with an image.
	maxIdentities = 256
	maxIssuer     = 512  // bytes, as the schema has it
	maxSubject    = 1024 // bytes, as the schema has it
	maxURI        = 512  // bytes, as the schema has it
	maxExtensions = 32   // as the schema has it: Fulcio has some twenty
)

func (c *checker) keyless(at *field.Path, name string, k *v1alpha1.KeylessAuthority) {
	c.trustRootName(at.Child("trustRoot"), k.TrustRoot)
	at = at.Child("identities")
	if !c.identityCount(at, len(k.Identities), "every certificate of the trust root") {
		return
	}
	exact := map[[2]string]bool{}
	for i := range k.Identities {
		if c.full() {
			return
		}
		id, before := &k.Identities[i], c.found
		c.name(at.Index(i), identityName{"issuer", id.Issuer, id.IssuerPattern, maxIssuer, strangeIssuers(), issuerURL})
		c.name(at.Index(i), identityName{"subject", id.Subject, id.SubjectPattern, maxSubject, strangers(), nil})
		c.extensions(at.Index(i).Child("extensions"), id.Extensions)
		if c.found == before && c.steps <= maxPolicySteps { // what verify says beyond that
			if _, err := identityOf(id); err != nil {
				c.invalid(at.Index(i), "%s", line(err.Error(), maxProblem))
			}
		}
		exact[[2]string{id.Issuer, id.Subject}] = id.Issuer != "" && id.Subject != ""
	}
	if known(exact) {
		c.signers[name] = len(exact)
	}
}

// known tells whether all names are exact, so that they can be counted.
func known[K comparable](names map[K]bool) bool {
	for _, exact := range names {
		if !exact {
			return false
		}
	}
	return true
}

func (c *checker) certificate(at *field.Path, name string, a *v1alpha1.CertificateAuthority) {
	c.trustRootName(at.Child("trustRoot"), a.TrustRoot)
	const cure = "write your own PKI's roots as PEM (-----BEGIN CERTIFICATE-----)"
	roots := at.Child("roots")
	switch {
	case c.badLength(roots, a.Roots, verify.MaxPolicyPEM, cure):
	case privateKey.MatchString(a.Roots):
		c.invalid(roots, "%v", errPrivateKey)
	case !strings.Contains(a.Roots, "-----BEGIN CERTIFICATE-----"):
		c.invalid(roots, "no certificate in it: %s", cure)
	default:
		if _, err := verify.ParseRoots([]byte(a.Roots)); err != nil {
			c.invalid(roots, "%s", line(err.Error(), maxProblem))
		}
	}
	at = at.Child("identities")
	if !c.identityCount(at, len(a.Identities), "every certificate below the roots") {
		return
	}
	exact := map[string]bool{}
	for i, id := range a.Identities {
		if c.full() {
			return
		}
		before := c.found
		c.name(at.Index(i), identityName{"subject", id.Subject, id.SubjectPattern, maxSubject, strangers(), nil})
		if c.found == before && c.steps <= maxPolicySteps {
			if _, err := verify.NewCertificateIdentity(id.Subject, id.SubjectPattern); err != nil {
				c.invalid(at.Index(i), "%s", line(err.Error(), maxProblem))
			}
		}
		exact[id.Subject] = id.Subject != ""
	}
	if known(exact) {
		c.signers[name] = len(exact)
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
	check          func(exact string) error // nil: any will do
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
		if !c.badLength(at.Child(n.field), n.exact, n.bound, "write it as the certificate has it") && n.check != nil {
			if err := n.check(n.exact); err != nil {
				c.invalid(at.Child(n.field), "%s", line(err.Error(), maxProblem))
			}
		}
	case !c.badLength(at.Child(patternField), n.pattern, n.bound, "write a pattern of RE2, which is anchored for you"):
		c.pattern(at.Child(patternField), n)
	}
}

func (c *checker) pattern(at *field.Path, n identityName) {
	if c.steps > maxPolicySteps {
		return // which is said once, of all authorities
	}
	steps, err := stepsOf(n.pattern)
	if c.steps += steps; err == nil && c.steps > maxPolicySteps {
		return
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

// inOrder ranges over a map in the order of its keys, so that errors always read the same.
func inOrder(m map[string]string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
