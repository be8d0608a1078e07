package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// words says why a paper was not accepted, and what can be done about it.
func words(p *paper, about name.Digest, v explainedVoucher, m verify.Miss, unread bool) {
	claimed := ascii(m.Claimed)
	switch m.Reason {
	case verify.MissUnproven:
		p.Signer, p.Why, p.Detail, p.Cure = claimed, m.Lack.String(), ascii(m.Why), cureOf(m.Lack, v)
	case verify.MissOtherSigner:
		otherSigner(p, v, claimed)
	case verify.MissOtherSubject:
		p.Why = "it is about another digest: " + claimed
		p.Cure, p.Run = "have this one signed", signCommand(v, about)
	case verify.MissOtherType:
		p.Why = "it is no signature, but of type " + claimed
		if unread {
			p.Why += " (not fetched: it says so itself)"
		}
	case verify.MissMalformed:
		p.Why = "it can't be read: " + claimed
		p.Cure = "whoever put it there should take it away; it does no harm"
	default:
		p.Why = "it was not accepted"
	}
}

// otherSigner tells whose signature it is, beside those that are wanted.
func otherSigner(p *paper, v explainedVoucher, claimed string) {
	bare := claimed == "" || strings.HasPrefix(claimed, "key ")
	p.Signer, p.Why = claimed, "it is by somebody else"
	switch {
	case v.Kind == "key" && bare:
		p.Wanted = few(v.Keys)
		if p.Cure = "if that key may vouch, add its public half to authority " + v.Name; claimed == "" {
			p.Why = "none of the keys verifies it"
		}
	case v.Kind == "key":
		p.Why = "it is signed with a certificate, and not with a bare key"
		p.Cure = "if that one may vouch, add an authority with keyless, or for an own PKI with certificate"
	case bare:
		p.Why = "it is signed with a bare key: no certificate came with it"
		p.Cure = "if that key may vouch, add an authority with key"
	default:
		p.Wanted = few(v.Identities)
		p.Cure = "if that one may vouch, add it to the identities of authority " + v.Name
	}
}

// few are the first names of some: the lines of the authority itself have all of them.
func few(names []string) []string {
	const most = 3
	if len(names) <= most {
		return names
	}
	return slices.Concat(names[:most], []string{fmt.Sprintf("or one of %d more", len(names)-most)})
}

// cureOf is what can be done about what a signature lacks.
func cureOf(l verify.Lack, v explainedVoucher) string {
	at := "authority " + v.Name
	switch l {
	case verify.LackSignature:
		return "have it signed again, and find out who changed it: whoever can push there could"
	case verify.LackLog:
		return "have it signed with a log (cosign does unless it is told not to), or set log: Optional in " + at
	case verify.LackLogTrust:
		return "name a TrustRoot that has that log as the trustRoot of " + at
	case verify.LackLogMatch, verify.LackLogProof:
		return "have it signed again; if all signatures fail so, the TrustRoot has an old key of the log"
	case verify.LackStamp:
		return "have it signed with a timestamp authority, or set timestamp: Optional in " + at
	case verify.LackStampTrust:
		return "name a TrustRoot that has that timestamp authority as the trustRoot of " + at
	case verify.LackTime:
		return "have it signed with a timestamp authority: logs of Rekor v2 tell no time"
	case verify.LackExpired:
		return "have it signed again, and logged or stamped while the certificate is valid"
	case verify.LackExpiredNow:
		return "have it signed again with a new certificate; with a timestamp, a signature outlives its certificate"
	case verify.LackNotYet:
		return "have it signed again, once the clocks agree"
	case verify.LackChain:
		if v.Kind == "certificate" {
			return "add the PKI's root to the roots of " + at + ", or have the intermediates sent along with the signature"
		}
		return "name a TrustRoot that has that Fulcio as the trustRoot of " + at
	case verify.LackSCT:
		return "if that Fulcio uses no certificate transparency log: thresholds.signedCertificateTimestamps: 0 in the TrustRoot"
	case verify.LackUse:
		return "have the certificate issued for code signing (extended key usage codeSigning)"
	case verify.LackOther:
	}
	return ""
}
