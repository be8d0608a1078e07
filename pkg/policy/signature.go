package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// MaxSigners bounds atLeast: no organisation has more people sign one image.
const MaxSigners = 64

// signature is the requirement that the image itself was signed.
//
//	by       the authorities that count
//	atLeast  how many distinct signers are needed (default 1). A signer is a key, whatever its name and however often it signed; the
//	         issuer and subject of a keyless signature; a name in an own PKI. Who sign with one key are one
//
// A signature is a signature: a legacy simple signing payload, or a bundle whose predicate type is
// https://sigstore.dev/cosign/sign/v1. An SBOM attestation by the same key is none. The subject is the digest that
// runs: an index is signed as an index. It is existential: one that is there is enough, whatever else is there or
// can't be read; but that none is there can be said only when every place answered.
type signature struct {
	by        []verify.Authority
	questions []verify.Question
	atLeast   int
}

// NewSignature returns the requirement of signatures by at least so many distinct signers among the authorities.
func NewSignature(by []verify.Authority, atLeast int) (Requirement, error) {
	if len(by) == 0 {
		return nil, errors.New("by: names no authority, so nobody could satisfy it")
	}
	if atLeast < 1 || atLeast > MaxSigners {
		return nil, fmt.Errorf("atLeast: %d, want 1 to %d", atLeast, MaxSigners)
	}
	if most, known := mostSigners(by); known && most < atLeast {
		return nil, fmt.Errorf("atLeast: %d signers, but the authorities have %d distinct keys or identities, so nobody could satisfy it", atLeast, most)
	}
	return signature{by: by, questions: verify.SignaturesBy(by...), atLeast: atLeast}, nil
}

// mostSigners is how many distinct signers the authorities have at most; it isn't known where one of them goes by patterns.
func mostSigners(by []verify.Authority) (most int, known bool) {
	keys, seen := map[verify.Fingerprint]bool{}, map[verify.Fingerprint]bool{}
	for _, a := range by {
		if seen[a.Fingerprint()] {
			continue
		}
		seen[a.Fingerprint()] = true
		for _, k := range a.Keys() {
			keys[k.Fingerprint()] = true
		}
		if len(a.Keys()) > 0 {
			continue
		}
		n := a.Signers()
		if n == 0 {
			return 0, false
		}
		most += n
	}
	return most + len(keys), true
}

// Name implements Requirement.
func (s signature) Name() string { return "signature" }

// Subject implements Requirement.
func (s signature) Subject() Subject { return TheImage }

// Questions implements Requirement.
func (s signature) Questions() []verify.Question { return s.questions }

// String says by whom and how many.
func (s signature) String() string {
	if s.atLeast == 1 {
		return "by " + s.names(" or ")
	}
	return fmt.Sprintf("by %d of %s", s.atLeast, s.names(", "))
}

func (s signature) names(sep string) string { return namesOf(s.by, sep) }

// namesOf are the names of authorities.
func namesOf(by []verify.Authority, sep string) string {
	var names []string
	for _, a := range by {
		names = append(names, a.Name())
	}
	return strings.Join(names, sep)
}

// Judge implements Requirement.
func (s signature) Judge(c Case, findings []verify.Findings) Result {
	digest := c.Digest
	if len(findings) != len(s.by) {
		return Result{Requirement: s.Name(), Reason: InternalError, Detail: "findings are missing"}
	}
	var signers signers
	var unanswered *verify.FetchError
	var ahead time.Time
	for i, f := range findings {
		for _, e := range f.Evidence {
			switch {
			case !s.counts(e, i, digest):
			case aheadOf(c, e):
				ahead = latest(ahead, e.Time())
			default:
				signers.add(e, s.by[i].Name())
			}
		}
		if len(f.Unanswered) > 0 && unanswered == nil {
			unanswered = f.Unanswered[0]
		}
	}
	r := Result{Requirement: s.Name()}
	switch {
	case len(signers) >= s.atLeast:
		r.Outcome, r.Reason, r.Detail = Satisfied, Verified, signers.String()
	case unanswered != nil:
		r.Reason, r.Detail = ReasonOf(unanswered), unanswered.Error()
	case len(signers) > 0:
		r.Outcome, r.Reason = Violated, TooFewSigners
		r.Detail = fmt.Sprintf("%s of at least %d: %s%s", count(len(signers), "signer"), s.atLeast, signers, s.missing(digest, findings))
	case !ahead.IsZero():
		r.Outcome, r.Reason = Violated, DatedAhead
		r.Detail = fmt.Sprintf("the signature by %s is dated %s, ahead of this clock, and doesn't count", s.names(" or "), stamp(ahead))
	default:
		r.Outcome, r.Reason, r.Detail = Violated, NoTrustedSignature, s.nearest(findings)
	}
	return r
}

// aheadOf tells whether a signature was seen at a time that is still to come.
func aheadOf(c Case, e verify.Evidence) bool {
	return !c.Image.Now.IsZero() && e.Time().After(c.Image.Now.Add(maxAhead))
}

// counts tells whether evidence is a signature on the digest by the authority that it was found for.
func (s signature) counts(e verify.Evidence, by int, digest v1.Hash) bool {
	return e.Subject() == digest && e.Authority() == s.by[by].Fingerprint() && e.PredicateType() == verify.CosignSign
}

// missing names the authorities of whom nobody signed.
func (s signature) missing(digest v1.Hash, findings []verify.Findings) string {
	var names []string
	for i, f := range findings {
		if !slices.ContainsFunc(f.Evidence, func(e verify.Evidence) bool { return s.counts(e, i, digest) }) {
			names = append(names, s.by[i].Name())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; none by " + strings.Join(names, " or ")
}

// signers are distinct ones: no two have an identity or a key in common.
type signers []signer

// signer is somebody who signed, as far as evidence tells: all that one identity or one key did.
type signer struct {
	prints []verify.Fingerprint
	text   string
}

// add counts whoever made the evidence, once however often and under however many names.
func (all *signers) add(e verify.Evidence, authority string) {
	one := signer{prints: []verify.Fingerprint{e.Signer(), e.Key()}, text: fmt.Sprintf("%s (%s)", authority, signerName(e.Who()))}
	apart := (*all)[:0:0]
	for _, s := range *all {
		if !slices.ContainsFunc(s.prints, func(p verify.Fingerprint) bool { return slices.Contains(one.prints, p) }) {
			apart = append(apart, s)
			continue
		}
		one.prints, one.text = append(one.prints, s.prints...), min(one.text, s.text)
	}
	*all = append(apart, one)
}

// String names them, sorted, so that the same knowledge always reads the same.
func (all signers) String() string {
	parts := make([]string, 0, len(all))
	for _, s := range all {
		parts = append(parts, s.text)
	}
	slices.Sort(parts)
	return "by " + strings.Join(parts, ", ")
}

// signerName is a signer for a message: of a key's fingerprint the beginning does.
func signerName(who string) string {
	if kind, print, ok := strings.Cut(printable(who), " SHA256:"); ok {
		return kind + " " + short("SHA256:"+print)
	}
	return printableName(who)
}

// nearest tells what was found instead: the nearest miss of all the authorities.
func (s signature) nearest(findings []verify.Findings) string {
	who, f := s.names(" or "), nearestOf(findings)
	if len(f.Misses) == 0 {
		return fmt.Sprintf("not signed: no signature found, wanted one by %s", who)
	}
	m := f.Misses[0]
	signatures, forms := 0, map[verify.Form]int{}
	for _, x := range f.Misses {
		if x.Reason == verify.MissUnproven || x.Reason == verify.MissOtherSigner {
			signatures++
			forms[x.Form]++
		}
	}
	some := fmt.Sprintf("%s found (%s), none by %s", count(signatures, "signature"), packed(forms), who)
	if len(f.Misses) == verify.MaxMisses && signatures == verify.MaxMisses {
		some = "at least " + some
	}
	papers := fmt.Sprintf("%s found, none by %s", count(f.Seen, "paper"), who)
	switch m.Reason {
	case verify.MissUnproven:
		return fmt.Sprintf("%s; nearest: %s, but %s", some, signerName(m.Claimed), lack(m))
	case verify.MissOtherSigner:
		if m.Claimed == "" {
			return some
		}
		return some + "; nearest: " + signerName(m.Claimed)
	case verify.MissOtherSubject:
		return fmt.Sprintf("%s; nearest: a signature (%s) for another digest, %s", papers, m.Form, short(printable(m.Claimed)))
	case verify.MissUnsigned, verify.MissOtherType:
		if !alike(f) { // which of them comes first says nothing
			return fmt.Sprintf("not signed: %s found, none of them a signature; wanted one by %s", count(f.Seen, "paper"), who)
		}
		return fmt.Sprintf("%s; nearest: an attestation of type %s, which is not a signature", papers, printable(m.Claimed))
	case verify.MissMalformed:
	}
	return fmt.Sprintf("%s; nearest: one that can't be read: %s", papers, printable(m.Claimed))
}

// alike tells whether all papers that are there are said to be of one type.
func alike(f verify.Findings) bool {
	return f.Seen <= len(f.Misses) && !slices.ContainsFunc(f.Misses, func(m verify.Miss) bool { return m.Claimed != f.Misses[0].Claimed })
}

// nearestOf are the findings with the nearest miss of all.
func nearestOf(findings []verify.Findings) (f verify.Findings) {
	for _, other := range findings {
		if len(other.Misses) > 0 && (len(f.Misses) == 0 || other.Misses[0].Nearer(f.Misses[0])) {
			f = other
		}
	}
	return f
}

// packed says how signatures are packed, and of several ways how many are so.
func packed(forms map[verify.Form]int) string {
	var parts []string
	for _, form := range []verify.Form{verify.FormLegacy, verify.FormBundle} {
		switch n := forms[form]; {
		case n > 0 && len(forms) > 1:
			parts = append(parts, fmt.Sprintf("%d %s", n, form))
		case n > 0:
			parts = append(parts, string(form))
		}
	}
	return strings.Join(parts, ", ")
}

// lack says what wasn't shown: in our words where we have any.
func lack(m verify.Miss) string {
	if m.Lack == verify.LackOther && m.Why != "" {
		return m.Lack.String() + ": " + printable(m.Why)
	}
	return m.Lack.String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
