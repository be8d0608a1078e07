package predicate

import (
	"slices"
	"strings"
	"time"
)

// MaxStatements bounds the statements of a VEX document, and the products that it
// may list: a distribution's own has some thousand statements, about all of its packages.
const (
	MaxStatements = 20_000
	maxProducts   = 10_000  // of a statement, and subcomponents of a product
	maxComponents = 200_000 // products and subcomponents of all statements: some ten each
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
	heads      []uint32 // where the mentions of each name begin
}

// packedStatement is one statement: VEX.names[names] are its vulnerability's, VEX.products[products] its products; none means the subject of
// the in-toto Statement that carries the document.
type packedStatement struct {
	names, products part
	at              int64 // in nanoseconds since 1970
	status          VEXStatus
	dated           bool // it has a time of its own
}

// packedProduct is a product: its own component, and its subcomponents among VEX.components.
type packedProduct struct {
	own  packedComponent
	subs part
}

// packedComponent is what identifies a component: its package URL and its SHA-256, in hex, where it has them; and the package that the URL is of.
type packedComponent struct {
	purl, digest, of word
}

// part is a range of a longer list.
type part struct{ from, to uint32 }

// Opinion is what one statement has to say about a finding.
type Opinion struct {
	Status VEXStatus
	At     time.Time
	// Sure are the vulnerabilities of the finding that it is about beyond doubt, naming them and the product: only those it may take away. May are those
	// that it may mean: to bring one back that is enough.
	Sure, May Parts
}

// Author is who says so of himself. Who signed is another thing.
func (v *VEX) Author() string { return v.author }

// Time implements Facts: when the document was issued. Its statements may have times of their own.
func (v *VEX) Time() time.Time { return v.at }

// Len is the number of statements.
func (v *VEX) Len() int { return len(v.statements) }

// Names is how many names of vulnerabilities the statements have, without regard to case, and Name one of them.
func (v *VEX) Names() int { return len(v.heads) }

// Name returns one of the names of vulnerabilities that the statements have.
func (v *VEX) Name(i int) string { return v.words.at(v.mentions[v.heads[i]].name) }

// Opinions appends to dst what the document says of finding i of a scan of the image of these SHA-256 digests, in hex: its own, and that of the index
// that it is in. Where work is spent on the way, what it returns is not all, and of no use.
//
// A statement is about the CVEs that it names, and by another name about all that the finding is about, if that is sure: see Scan.Part. One that names only
// CVEs that aren't the finding's may mean it, where it shares another name: advisories cover several.
//
// A statement without products is about the image. A product is the image if one of its digests is the image's, or the finding's own
// package by its URL; subcomponents narrow a product to those packages.
func (v *VEX) Opinions(dst []Opinion, scan *Scan, i int, work *Work, digests ...string) []Opinion {
	f := scan.findings[i]
	about := subject{purl: scan.words.at(f.purl), digests: digests, work: work}
	about.of, _ = packageOf(about.purl)
	var few [16]uint32
	numbers := v.naming(few[:0], scan.words.at(f.id), work)
	for _, a := range scan.aliases[f.from:f.to] {
		numbers = v.naming(numbers, scan.words.at(a), work)
	}
	slices.Sort(numbers)
	for _, n := range slices.Compact(numbers) {
		s := v.statements[n]
		if !work.Spend(searching * int(s.names.to-s.names.from)) {
			return dst
		}
		product := v.about(s, &about)
		if product == matchNo {
			continue
		}
		o := Opinion{Status: s.status, At: time.Unix(0, s.at).UTC()}
		if o.Sure, o.May = v.parts(s, scan, i); product != matchYes {
			o.Sure = Parts{}
		}
		dst = append(dst, o)
	}
	return dst
}

// naming appends the numbers of the statements that have a name.
func (v *VEX) naming(dst []uint32, name string, work *Work) []uint32 {
	head, ok := slices.BinarySearchFunc(v.heads, name, func(h uint32, name string) int { return foldCompare(v.words.at(v.mentions[h].name), name) })
	if !work.Spend(searching) || !ok {
		return dst
	}
	end := len(v.mentions)
	if head+1 < len(v.heads) {
		end = int(v.heads[head+1])
	}
	all := v.mentions[v.heads[head]:end]
	if !work.Spend(len(all)) {
		return dst
	}
	for _, m := range all {
		dst = append(dst, m.finding)
	}
	return dst
}

// parts tells what of a finding a statement that shares a name with it is about, for sure, and perhaps.
func (v *VEX) parts(s packedStatement, scan *Scan, i int) (sure, may Parts) {
	var cves, other Parts
	namesCVE, own := false, false
	for _, n := range v.names[s.names.from:s.names.to] {
		name := v.words.at(n)
		part := scan.Part(i, name)
		if isCVE(name) {
			namesCVE, cves = true, cves.With(part)
			continue
		}
		other = other.With(part)
		own = own || !part.Empty() && oneRecordEach(name)
	}
	switch all := scan.All(i); {
	case !cves.Empty():
		return cves, cves
	case !namesCVE, own && !scan.knowsCVE(i): // the latter names the CVE of the same record, which the scan doesn't tell
		return other, all
	default:
		return Parts{}, all
	}
}

// subject is a finding, as statements may be about it.
type subject struct {
	purl, of string // the package's URL, and what package it is
	digests  []string
	work     *Work
}

// match is whether a component is something.
type match uint8

const (
	matchNo match = iota
	matchMaybe
	matchYes
)

func (v *VEX) about(s packedStatement, f *subject) match {
	if s.products.from == s.products.to {
		return matchYes
	}
	best := matchNo
	for _, p := range v.products[s.products.from:s.products.to] {
		if !f.work.Spend(1 + int(p.subs.to-p.subs.from)) {
			return matchNo
		}
		m := v.image(p.own, f.digests)
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
func (v *VEX) sub(p packedProduct, f *subject) match {
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
func (v *VEX) pkg(c packedComponent, f *subject) match {
	of := v.words.at(c.of)
	switch {
	case c.purl == 0 || f.purl == "":
		return matchMaybe
	case of == "" || of != f.of || !f.work.Spend(comparing):
		return matchNo
	case samePackage(v.words.at(c.purl), f.purl):
		return matchYes
	}
	return matchNo
}

// Work bounds what is done, where one list is compared with another: it is how many steps are left, of some ten nanoseconds. The zero Work is spent.
type Work int

// Steps of what is more than one.
const (
	searching = 8  // for a name
	comparing = 64 // two package URLs
)

// Spend takes steps off, and tells whether there were as many.
func (w *Work) Spend(steps int) bool {
	*w = max(*w-Work(steps), -1)
	return *w >= 0
}

// Over tells whether more was asked for than there was.
func (w *Work) Over() bool { return *w < 0 }

// Size implements Facts.
func (v *VEX) Size() int64 {
	const own, statement, product, component = 280, 32, 20, 12
	return own + int64(len(v.author)) + v.words.size() + int64(cap(v.statements))*statement + int64(cap(v.products))*product +
		int64(cap(v.components))*component + int64(cap(v.names))*4 + int64(cap(v.mentions))*8 + int64(cap(v.heads))*4
}

func (v *VEX) facts() {}
