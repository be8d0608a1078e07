package predicate

import (
	"slices"
	"strings"
	"time"
)

// MaxStatements bounds the statements of a VEX document, and maxParts what one of them may list: a distribution's own has some thousand, about
// all of its packages.
const (
	MaxStatements = 20_000
	maxParts      = 10_000
)

// VEXStatus is what a VEX statement says. The zero VEXStatus removes nothing.
type VEXStatus uint8

// The statuses (OpenVEX, Status Labels).
const (
	VEXUnderInvestigation VEXStatus = iota
	VEXAffected
	VEXNotAffected
	VEXFixed
)

// Removes tells whether the status takes a finding away.
func (s VEXStatus) Removes() bool { return s == VEXNotAffected || s == VEXFixed }

// String returns the status as OpenVEX writes it.
func (s VEXStatus) String() string {
	switch s {
	case VEXAffected:
		return "affected"
	case VEXNotAffected:
		return "not_affected"
	case VEXFixed:
		return "fixed"
	case VEXUnderInvestigation:
	}
	return "under_investigation"
}

// VEX is an OpenVEX document: statements that a product is, or is not, affected by a vulnerability.
type VEX struct {
	author     string
	at         time.Time
	words      words
	statements []packedStatement
	products   []packedProduct
	components []packedComponent
	names      []word // of the vulnerabilities of all statements, one after the other
	mentions   []mention
}

// packedStatement is one statement: VEX.names[names] are its vulnerability's, VEX.products[products] its products; none means the subject of
// the in-toto Statement that carries the document.
type packedStatement struct {
	names, products part
	at              int64 // in nanoseconds since 1970
	status          VEXStatus
}

// packedProduct is a product: its own component, and its subcomponents among VEX.components.
type packedProduct struct {
	own  packedComponent
	subs part
}

// packedComponent is what identifies a component: its package URL and its SHA-256, in hex, where it has them.
type packedComponent struct {
	purl, digest word
}

// part is a range of a longer list.
type part struct{ from, to uint32 }

// Opinion is what one statement has to say about a finding.
type Opinion struct {
	Status VEXStatus
	At     time.Time
	// Sure says that the statement names the vulnerability and the product beyond doubt. Only then may it take a finding away; to bring one
	// back it is enough that it may mean it.
	Sure bool
}

// Author is who says so of himself. Who signed is another thing.
func (v *VEX) Author() string { return v.author }

// Time implements Facts: when the document was issued. Its statements may have times of their own.
func (v *VEX) Time() time.Time { return v.at }

// Len is the number of statements.
func (v *VEX) Len() int { return len(v.statements) }

// Names is how many names of vulnerabilities the statements have, and Name one of them.
func (v *VEX) Names() int { return len(v.names) }

// Name returns one of the names of vulnerabilities that the statements have.
func (v *VEX) Name(i int) string { return v.words.at(v.names[i]) }

// Opinions appends to dst what the document says of a finding in the image of these SHA-256 digests, in hex: its own, and that of the index
// that it is in.
//
// A statement without products is about the image. A product is the image if one of its digests is the image's, or the finding's own
// package by its URL; subcomponents narrow a product to those packages.
func (v *VEX) Opinions(dst []Opinion, f *Finding, digests ...string) []Opinion {
	seen := -1
	for _, name := range append([]string{f.ID}, f.Aliases...) {
		i, _ := slices.BinarySearchFunc(v.mentions, name, func(m mention, name string) int { return foldCompare(v.words.at(m.name), name) })
		for ; i < len(v.mentions) && foldCompare(v.words.at(v.mentions[i].name), name) == 0; i++ {
			n := int(v.mentions[i].finding)
			if n == seen {
				continue
			}
			seen = n
			s := v.statements[n]
			product := v.about(s, f, digests)
			if product == matchNo {
				continue
			}
			dst = append(dst, Opinion{Status: s.status, At: time.Unix(0, s.at).UTC(), Sure: product == matchYes && v.sameCVE(s, f)})
		}
	}
	return dst
}

// sameCVE tells whether statement and finding are about the same vulnerability, given that they share a name. Advisories cover several: where
// both name a CVE, it must be the same.
func (v *VEX) sameCVE(s packedStatement, f *Finding) bool {
	var any bool
	for _, n := range v.names[s.names.from:s.names.to] {
		name := v.words.at(n)
		if !isCVE(name) {
			continue
		}
		if strings.EqualFold(name, f.ID) || !isCVE(f.ID) && slices.ContainsFunc(f.Aliases, func(a string) bool { return strings.EqualFold(a, name) }) {
			return true
		}
		any = true
	}
	return !any || !isCVE(f.ID) && !slices.ContainsFunc(f.Aliases, isCVE)
}

// match is whether a component is something.
type match uint8

const (
	matchNo match = iota
	matchMaybe
	matchYes
)

func (v *VEX) about(s packedStatement, f *Finding, digests []string) match {
	if s.products.from == s.products.to {
		return matchYes
	}
	best := matchNo
	for _, p := range v.products[s.products.from:s.products.to] {
		m := v.image(p.own, digests)
		if m == matchNo {
			if m = v.pkg(p.own, f); m != matchNo && p.subs.from != p.subs.to {
				m = matchMaybe // something inside the package: the finding is about all of it
			}
		} else {
			m = min(m, v.sub(p, f))
		}
		best = max(best, m)
	}
	return best
}

// sub tells whether the finding's package is among a product's subcomponents, or it has none.
func (v *VEX) sub(p packedProduct, f *Finding) match {
	if p.subs.from == p.subs.to {
		return matchYes
	}
	best := matchNo
	for _, c := range v.components[p.subs.from:p.subs.to] {
		best = max(best, v.pkg(c, f))
	}
	return best
}

// image tells whether a component is the image: by its digest. One that is an image without saying which may be.
func (v *VEX) image(c packedComponent, digests []string) match {
	if d := v.words.at(c.digest); d != "" {
		if slices.Contains(digests, d) {
			return matchYes
		}
		return matchNo
	}
	if p := v.words.at(c.purl); strings.HasPrefix(p, "pkg:oci/") || strings.HasPrefix(p, "pkg:docker/") {
		return matchMaybe
	}
	return matchNo
}

// pkg tells whether a component is the package of a finding. Of one that isn't told, it may be.
func (v *VEX) pkg(c packedComponent, f *Finding) match {
	purl := v.words.at(c.purl)
	switch {
	case purl == "" || f.PURL == "":
		return matchMaybe
	case samePackage(purl, f.PURL):
		return matchYes
	}
	return matchNo
}

// Size implements Facts.
func (v *VEX) Size() int64 {
	const own, statement, product, component = 256, 32, 16, 8
	return own + int64(len(v.author)) + v.words.size() + int64(cap(v.statements))*statement + int64(cap(v.products))*product +
		int64(cap(v.components))*component + int64(cap(v.names))*4 + int64(cap(v.mentions))*8
}

func (v *VEX) facts() {}
