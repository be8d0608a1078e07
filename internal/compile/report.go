package compile

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// The reasons of the condition Ready.
const (
	ReasonCompiled       = "Compiled"       // in force as written
	ReasonNotSupported   = "NotSupported"   // it wants what this version can't do yet
	ReasonInvalidField   = "InvalidField"   // a field is wrong, or unknown
	ReasonKeyUnavailable = "KeyUnavailable" // a Secret or ConfigMap can't be read, and never was
	ReasonInvalidKey     = "InvalidKey"     // what was read is no key, or a weak one
	ReasonInternalError  = "InternalError"  // compiling it failed

	// ReasonTrustRootUnavailable: a TrustRoot isn't there, can't be used, or lacks what the policy asks of it.
	ReasonTrustRootUnavailable = "TrustRootUnavailable"

	ReasonTooManyPolicies = "TooManyPolicies" // there are more than MaxPolicies in its namespace, or MaxClusterPolicies
)

// Bounds of texts for people, in bytes. They are cut, for they are no input.
const (
	maxMessage = 768 // an answer is 4 KiB, and its first KiB stands alone
	maxProblem = 256 // one authority of several
	// maxIdentityText bounds an identity in a status: issuer and subject at their longest, and what is between them.
	maxIdentityText = maxIssuer + maxSubject + 16
)

// Report says what became of a policy. Two Reports of the same state are deeply equal: no times, no chance.
type Report struct {
	// Reason is one of the Reason constants.
	Reason string
	// Message says it to people, in one line.
	Message string
	// Namespaces are those that the policy is about: for an ImagePolicy, which has its own, everything.
	Namespaces labels.Selector
	// Authorities are the policy's, in its order.
	Authorities []AuthorityReport
	// RolloutAudit says that the install lets Pods in while the webhook doesn't answer.
	RolloutAudit bool
}

// AuthorityReport says who an authority turned out to be.
type AuthorityReport struct {
	Name string
	// Source names the entry of a Secret or ConfigMap that the keys were read from; empty where the policy carries them.
	Source string
	// Fingerprint identifies the resolved material; empty where there is none.
	Fingerprint string
	// PublicKeys are the keys in use.
	PublicKeys []v1alpha1.PublicKeyStatus
	// Identities are those of a keyless authority, or of one of certificates, for people.
	Identities []string
	// TrustRoot is the name of the TrustRoot that the authority refers to; empty where it refers to none.
	TrustRoot string
	// TrustRootDigest identifies what that trusts; empty where it can't be used.
	TrustRootDigest string
	// TrustRootNote says what of the TrustRoot is not in use.
	TrustRootNote string
	// TrustRootKept says what of it could not be read again; what was read before is in use.
	TrustRootKept string
	// TrustRootMissing says that the problem is that the TrustRoot isn't there or can't be used.
	TrustRootMissing bool
	// Problem says why there is no such authority.
	Problem string
	// Reason is Problem as one of the Reason constants.
	Reason string
	// NotReadAgain says why Source could not be read this time; the keys in use were read before.
	NotReadAgain string
}

func (r *AuthorityReport) resolved(a verify.Authority) {
	r.Fingerprint = a.Fingerprint().String()
	for _, k := range a.Keys() {
		r.PublicKeys = append(r.PublicKeys, v1alpha1.PublicKeyStatus{Fingerprint: k.Fingerprint().String(), PEM: string(k.PEM())})
	}
	for _, id := range a.Identities() {
		r.Identities = append(r.Identities, line(id.String(), maxIdentityText))
	}
	for _, id := range a.CertificateIdentities() {
		r.Identities = append(r.Identities, line(id.String(), maxIdentityText))
	}
}

// referring tells whether any key was to be read from elsewhere, so that it has to be read again.
func (r Report) referring() bool {
	return slices.ContainsFunc(r.Authorities, func(a AuthorityReport) bool { return a.Source != "" })
}

// waiting tells whether the policy is unusable for want of a key that may turn up.
func (r Report) waiting() bool {
	return slices.ContainsFunc(r.Authorities, func(a AuthorityReport) bool { return a.Source != "" && a.Problem != "" })
}

// line makes a text fit for one line of a terminal, and cuts what is over the bound.
func line(s string, bound int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
	if len(s) > bound {
		return s[:bound-3] + "..."
	}
	return s
}
