package verify

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
)

// detailed tells of one paper what nothing is decided by. Where that fails, less is told.
func detailed(ctx context.Context, a Authority, g *gathered, l looked, now time.Time) (e Examined) {
	e = Examined{Evidence: l.evidence, Seen: l.seen, Miss: l.miss}
	o := g.lookedAt(l)
	if o == nil {
		return e
	}
	plain := e
	defer func() {
		if recover() != nil {
			e = plain
		}
	}()
	switch who := a.who.(type) {
	case keyless:
		e.says(who, o)
	case certificates:
		if l.miss != nil && slices.Contains([]Lack{LackChain, LackExpired, LackExpiredNow, LackNotYet}, l.miss.Lack) {
			e.Ended = who.ended(ctx, o, a.terms, now)
		}
	}
	if l.miss == nil {
		e.Seen = append(slices.Clip(l.seen), o.untimed(a, l, now)...)
	}
	return e
}

// lookedAt is the candidate of which something was found; nil if that can't be told: one layer may carry the signatures of several.
func (g *gathered) lookedAt(l looked) *opened {
	source, place := l.evidence.source, l.evidence.place
	if l.miss != nil {
		source, place = l.miss.Source, l.miss.Place
	}
	var found []*opened
	for _, c := range g.candidates {
		if c.Paper.Digest == source && c.Paper.Place == place && c.done && c.err == nil {
			found = append(found, c.opened)
		}
	}
	if len(found) > 1 {
		found = slices.DeleteFunc(found, func(o *opened) bool { return !o.fits(l) })
	}
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

// fits tells whether what was found may have been found of what was opened, as far as its certificate goes.
func (o *opened) fits(l looked) bool {
	if o.leaf == nil {
		return false
	}
	if l.miss == nil {
		key, err := fingerprintOf(o.leaf.PublicKey)
		return err == nil && key == l.evidence.key
	}
	if s, err := certificate.SummarizeCertificate(o.leaf); err == nil && strings.HasPrefix(l.miss.Claimed, clipName(s.SubjectAlternativeName+" ("+s.Issuer+")")) {
		return true
	}
	return slices.Contains(namesOf(o.leaf), l.miss.Claimed)
}

// says notes the extensions of a Fulcio certificate.
func (e *Examined) says(k keyless, o *opened) {
	if o.leaf == nil {
		return
	}
	claimed, err := certificate.SummarizeCertificate(o.leaf)
	if err != nil {
		return
	}
	has := map[string]string{}
	if text, err := json.Marshal(claimed.Extensions); err != nil || json.Unmarshal(text, &has) != nil {
		return
	}
	delete(has, "issuer")
	for _, name := range slices.Sorted(maps.Keys(has)) {
		if has[name] != "" {
			e.Says = append(e.Says, Extension{name, clipName(has[name])})
		}
	}
	if e.Miss == nil || e.Miss.Reason != MissOtherSigner {
		return
	}
	for _, id := range k.identities {
		if id.fulcio.Issuer.Verify(claimed) != nil || id.fulcio.SubjectAlternativeName.Verify(claimed) != nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(id.spec.Extensions)) {
			if has[name] != id.spec.Extensions[name] {
				e.Differs = Extension{name, clipName(has[name])}
				return
			}
		}
	}
}

// ended is the first certificate of the chain that was not valid when the signature was seen, or is not now if nobody who is trusted saw it. The chain
// is looked for at times at which it may have been valid; nil if there is none then either.
func (c certificates) ended(ctx context.Context, o *opened, t Terms, now time.Time) *Ended {
	b, err := o.byCertificate()
	if err != nil {
		return nil
	}
	judged := []time.Time{now}
	for _, s := range c.seen(ctx, b, o, t, &budget{}, now) {
		if s.err == nil && len(s.times()) > 0 {
			judged = s.times()
			break
		}
	}
	between := x509.NewCertPool()
	tries := []time.Time{o.leaf.NotBefore, o.leaf.NotAfter}
	for _, i := range o.chain {
		between.AddCert(i)
		tries = append(tries, i.NotBefore, i.NotAfter)
	}
	for _, at := range tries {
		chains, err := o.leaf.Verify(x509.VerifyOptions{
			Roots: c.roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		})
		if err != nil {
			continue
		}
		for _, when := range judged {
			for i, one := range chains[0] {
				if when.Before(one.NotBefore) || when.After(one.NotAfter) {
					return &Ended{clip(one.Subject.String()), i == len(chains[0])-1, one.NotBefore, one.NotAfter, when}
				}
			}
		}
	}
	return nil
}

// untimed are the logs that vouch for what became evidence and tell no time.
func (o *opened) untimed(a Authority, l looked, now time.Time) []Witness {
	if a.terms.Trust == nil || o.entries == 0 || o.old != nil {
		return nil
	}
	at := l.evidence.Time()
	if at.IsZero() {
		at = now
	}
	b, m := (*entity)(nil), o.material(a.terms, nil)
	if keys := a.Keys(); len(keys) > 0 {
		b, _ = o.byKey()
		i := slices.IndexFunc(keys, func(k Key) bool { return k.fingerprint == l.evidence.key })
		if i < 0 {
			return nil
		}
		m = o.material(a.terms, keys[i].verifier)
	} else {
		b, _ = o.byCertificate()
	}
	if b == nil {
		return nil
	}
	trusted := without{m, o.outdated(m, at)}
	if _, err := sgverify.VerifyTlogEntry(o.signed(b), trusted, 1, true); err != nil {
		return nil
	}
	var out []Witness
	for _, log := range o.logs(trusted) {
		if !slices.ContainsFunc(l.seen, func(w Witness) bool { return w.Log && w.Name == log.BaseURL }) {
			out = append(out, Witness{Log: true, Name: log.BaseURL})
		}
	}
	slices.SortFunc(out, func(x, y Witness) int { return strings.Compare(x.Name, y.Name) })
	return out
}
