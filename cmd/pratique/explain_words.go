package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// words says why a paper was not accepted, and what can be done about it.
func words(p *paper, sign signer, e verify.Examined) {
	m, v := *e.Miss, sign.voucher
	claimed := ascii(m.Claimed)
	switch m.Reason {
	case verify.MissUnproven:
		p.Signer, p.Why, p.Detail, p.Cure = claimed, m.Lack.String(), ascii(m.Why), cureOf(m.Lack, v)
		if e.Ended != nil {
			ended(p, v, *e.Ended)
		}
	case verify.MissOtherSigner:
		otherSigner(p, v, claimed)
		if e.Differs != (verify.Extension{}) {
			otherExtension(p, v, e.Differs)
		}
	case verify.MissOtherSubject:
		p.Why = "it is about another digest: " + claimed
		if p.Cure, p.Run = "have this one signed", sign.command(); !sign.wanted.signature() {
			p.Cure = sign.wanted.cure(v.Name) + ", by this digest"
		}
	case verify.MissOtherType:
		p.Why = sign.wanted.not(claimed)
		if e.Unread {
			p.Why += " (not fetched: it says so itself)"
		}
	case verify.MissMalformed:
		p.Why = "it can't be read: " + claimed
		p.Cure = "whoever put it there should take it away; it does no harm"
	default:
		p.Why = "it was not accepted"
	}
}

// ended names the certificate of an own PKI's chain that was out of time.
func ended(p *paper, v explainedVoucher, c verify.Ended) {
	day := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	subject := cmp.Or(ascii(c.Subject), "the signer's")
	p.Detail = fmt.Sprintf("%s is valid from %s to %s, and is judged by %s", subject, day(c.From), day(c.Until), day(c.At))
	switch {
	case c.At.Before(c.From):
		p.Why, p.Cure = "a certificate of its chain was not valid yet: "+subject, cureOf(verify.LackNotYet, v)
	case c.Root:
		p.Why = "the root that it leads to has ended: " + subject
		p.Cure = "put the PKI's new root into the roots of authority " + v.Name + ", and have it signed again by a certificate below that"
	default:
		p.Why, p.Cure = "a certificate of its chain has ended: "+subject, cureOf(verify.LackExpiredNow, v)
	}
}

// otherExtension tells of a certificate with the right issuer and subject what else is wrong with it.
func otherExtension(p *paper, v explainedVoucher, x verify.Extension) {
	p.Signer, _, _ = strings.Cut(p.Signer, ", whose "+x.Name+" is ")
	p.Why = fmt.Sprintf("right identity, but its %s is %q", x.Name, ascii(x.Value))
	if x.Value == "" {
		p.Why = "right identity, but it has no " + x.Name
	}
	p.Cure = "if that one may vouch, change the extensions of the identity in authority " + v.Name
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
