package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// explainedOf brings what was found out into the form in which it is told.
func (e explainer) explainedOf(image string, about name.Digest, ask []asking, found verify.Explanation) explained {
	out := explained{Image: image, About: about.String()}
	for _, s := range found.Shelves {
		out.Places = append(out.Places, placesOf(s)...)
	}
	for i, a := range found.Answers {
		out.Authorities = append(out.Authorities, e.voucherOf(about, ask[i], a, found.Shelves[a.Shelf]))
	}
	return out
}

// placeName is what people call a place.
func placeName(p verify.Place) string {
	switch p {
	case verify.PlaceSignatures:
		return ".sig tag"
	case verify.PlaceAttestation:
		return ".att tag"
	case verify.PlaceReferrers:
		return "referrers API"
	case verify.PlaceFallbackTag:
		return placeFallback
	case verify.PlaceManifest:
	}
	return "image"
}

func placesOf(s verify.Shelf) []explainedPlace {
	var out []explainedPlace
	repository := s.Repository.Name()
	if s.Err != nil {
		out = append(out, explainedPlace{Repository: repository, Error: ascii(s.Err.Error())})
	}
	for _, p := range s.Places {
		one := explainedPlace{Repository: repository, Place: placeName(p.Place), Name: p.Name}
		for _, paper := range p.Papers {
			if one.Found == nil {
				one.Found = map[string]int{}
			}
			one.Found[paperKind(paper)]++
		}
		if p.Err != nil {
			one.Error = ascii(p.Err.Error())
		}
		out = append(out, one)
	}
	for _, e := range s.Others {
		out = append(out, explainedPlace{Repository: repository, Error: ascii(e.Error())})
	}
	return out
}

// paperKind is what a paper says that it is. It is a claim.
func paperKind(p verify.Paper) string {
	switch p.Kind {
	case verify.LegacySignature:
		return "signature"
	case verify.LegacyAttestation:
		return "attestation"
	case verify.Referrer:
	}
	switch {
	case p.SaysBundle():
		return "bundle"
	case p.ArtifactType == "", p.ArtifactType == "application/vnd.oci.empty.v1+json":
		return "paper of no type"
	}
	return "paper of type " + ascii(p.ArtifactType)
}

func (e explainer) voucherOf(about name.Digest, ask asking, a verify.Answer, shelf verify.Shelf) explainedVoucher {
	by := a.Question.Authority()
	out := explainedVoucher{
		Name: by.Name(), AskedBy: ask.by, Accepted: len(a.Accepted()), Kind: "nobody", Papers: []paper{}, Wants: ask.wanted.what,
	}
	for _, r := range by.Roots() {
		out.Roots = append(out.Roots, ascii(r))
	}
	if by.Repository() != (name.Repository{}) {
		out.Repository = by.Repository().Name()
	}
	switch {
	case len(by.Keys()) > 0:
		out.Kind = "key"
		for _, k := range by.Keys() {
			out.Keys = append(out.Keys, k.Fingerprint().String())
		}
	case len(by.Identities()) > 0:
		out.Kind = "keyless"
		for _, id := range by.Identities() {
			out.Identities = append(out.Identities, ascii(identity(id)))
		}
	case len(by.CertificateIdentities()) > 0:
		out.Kind = "certificate"
		for _, id := range by.CertificateIdentities() {
			out.Identities = append(out.Identities, ascii(id.String()))
		}
	}
	if by.Terms().Trust != nil {
		out.TrustRoot = ask.root.name()
	}
	out.Trusts, out.Demands = trusts(by), demands(by)
	if out.Wants != "" && out.Accepted > 0 {
		out.Verdicts = ask.verdicts
	}
	sign := signer{out, by.Terms(), ask.root, about, ask.wanted, e.program, e.plainHTTP}
	for i, x := range a.Examined {
		out.Papers = append(out.Papers, paperOf(sign, x, i == len(a.Accepted())))
	}
	for _, bad := range a.Unanswered {
		out.Unanswered = append(out.Unanswered, ascii(bad.Error()))
	}
	if whole := whollyRead(shelf); whole && len(a.Examined)+len(a.Unanswered) == 0 {
		out.Cure, out.Run = ask.wanted.cure(by.Name()), sign.command()
	} else if !whole {
		out.Unanswered = append(out.Unanswered, "not every place could be read (see above)")
	}
	return out
}

// whollyRead tells whether every place answered: only then does nothing mean that there is nothing.
func whollyRead(s verify.Shelf) bool {
	return s.Err == nil && len(s.Others) == 0 && !slices.ContainsFunc(s.Places, func(p verify.PlaceAnswer) bool { return p.Err != nil })
}

// identity is one with the extensions that it asks for.
func identity(id verify.Identity) string {
	text := id.String()
	for _, name := range verify.ExtensionNames() {
		if want := id.Spec().Extensions[name]; want != "" {
			text += fmt.Sprintf(", %s %s", name, want)
		}
	}
	return text
}

// trusts are the parties of its trust root that count for an authority, by address.
func trusts(a verify.Authority) []string {
	t := a.Terms().Trust
	if t == nil {
		return nil
	}
	var out []string
	h := t.Holds()
	if len(a.Identities()) == 0 { // certificates are Fulcio's word for keyless authorities alone
		h.CertificateAuthorities, h.CertificateLogs = nil, nil
	}
	if h.Thresholds.SCTs == 0 {
		h.CertificateLogs = nil
	}
	for _, part := range []struct {
		what string
		all  []string
	}{{"certificate authority", h.CertificateAuthorities}, {"certificate transparency log", h.CertificateLogs}, {"transparency log", h.Logs},
		{"timestamp authority", h.TimestampAuthorities},
	} {
		for _, address := range part.all {
			if address == "" {
				address = "without an address"
			}
			out = append(out, part.what+" "+ascii(address))
		}
	}
	return out
}

// demands are what must come with a signature.
func demands(a verify.Authority) []string {
	var out []string
	t := a.Terms()
	if t.Trust == nil {
		return nil
	}
	h := t.Trust.Holds().Thresholds
	keyless := len(a.Identities()) > 0
	if t.Log == verify.Required {
		out = append(out, many(h.Logs, "transparency log entry", "transparency log entries"))
	}
	if t.Timestamp == verify.Required {
		out = append(out, many(h.Timestamps, "signed timestamp", "signed timestamps"))
	}
	if keyless && len(out) == 0 {
		out = append(out, "a transparency log entry or a signed timestamp")
	}
	if keyless && h.SCTs > 0 {
		out = append(out, many(h.SCTs, "signed certificate timestamp (SCT)", "signed certificate timestamps (SCTs)"))
	}
	return out
}

func many(n int, one, several string) string {
	if n == 1 {
		return "a " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// name is what a TrustRoot is called, and what that is if nobody chose it.
func (r trustRoot) name() string {
	switch {
	case r.named == "" && !r.known:
		return compile.DefaultTrustRoot + " (the default, as this release knows it)"
	case r.named == "":
		return compile.DefaultTrustRoot + " (the default)"
	case !r.known:
		return r.named + " (as this release knows it)"
	}
	return ascii(r.named)
}

// paperOf tells what became of a paper. What its certificate says is told of those that count, and of the nearest of the others.
func paperOf(sign signer, e verify.Examined, nearest bool) paper {
	p := paperAlone(sign, e)
	if e.Miss != nil && !nearest {
		return p
	}
	for _, x := range e.Says {
		p.Says = append(p.Says, ascii(x.Name+" "+x.Value))
	}
	return p
}

func paperAlone(sign signer, e verify.Examined) paper {
	if e.Miss == nil {
		ev := e.Evidence
		p := paper{Form: string(ev.Form()), Source: source(ev.Source()), Place: placeName(ev.Place()), Accepted: true, Signer: ascii(ev.Who())}
		if at := ev.Time(); !at.IsZero() {
			p.Time = at.Format(time.RFC3339)
		}
		if !sign.wanted.signature() {
			p.facts(ev)
		}
		for _, w := range e.Seen {
			kind := "timestamp authority"
			if w.Log {
				kind = "transparency log"
			}
			when := "(tells no time)"
			if !w.Time.IsZero() {
				when = "at " + w.Time.UTC().Format(time.RFC3339)
			}
			p.SeenBy = append(p.SeenBy, strings.TrimSpace(kind+" "+ascii(w.Name))+" "+when)
		}
		return p
	}
	m := *e.Miss
	p := paper{Form: string(m.Form), Source: source(m.Source), Place: placeName(m.Place)}
	words(&p, sign, e)
	return p
}

// facts tells when an accepted statement says that it is of, or why it can't be read.
func (p *paper) facts(ev verify.Evidence) {
	facts, err := ev.Facts()
	switch {
	case err != nil:
		p.Unread = ascii(err.Error())
	case facts != nil && !facts.Time().IsZero():
		p.Dated = facts.Time().UTC().Format(time.RFC3339)
	}
}

func source(h v1.Hash) string {
	if h == (v1.Hash{}) {
		return ""
	}
	return h.String()
}

// ascii makes what others wrote fit for a terminal, in at most 2 KiB: an identity of a policy has at most 1.5, and what strangers wrote
// was clipped where it was read.
func ascii(s string) string {
	const most = 2 << 10
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if len(clean) > most {
		return clean[:most] + "..."
	}
	return clean
}
