package predicate

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of an SBOM.
const (
	// MaxPackages bounds the packages of one SBOM: the largest images have some 50,000, most of them of node_modules.
	MaxPackages = 250_000
	// MaxPackageName bounds the bytes of a package's name, and of its version: a path within an image has at most 4 KiB.
	MaxPackageName = 4 << 10
	// MaxLicenses bounds the distinct licences of one SBOM: a whole distribution has some thousand.
	MaxLicenses = 20_000
)

// Format is the standard that an SBOM follows.
type Format string

// The formats.
const (
	FormatSPDX      Format = "SPDX"
	FormatCycloneDX Format = "CycloneDX"
)

// SBOM is what is kept of a software bill of materials: its packages, by licence.
//
// What an SBOM says of the image itself, of its operating system or of a file is no package unless it is given a licence: formats mix them with the
// packages (SPDX by primaryPackagePurpose, which 2.2 doesn't have; CycloneDX by type), and an SBOM that describes nothing but the image is one
// of no packages. The same name, version and licence twice is one package: scanners write it once for each place where it was found.
type SBOM struct {
	format   Format
	version  string
	created  time.Time
	packages int
	terms    []Term
	licenses []License
	size     int64
}

// License is one licence as packages have it, and these packages.
type License struct {
	// Text is the licence as written; NOASSERTION where nobody named one.
	Text string
	// Packages is how many packages have it.
	Packages int

	expression expression
	packed     string // names and versions, each after its length
}

// Package is one package.
type Package struct {
	Name    string
	Version string // empty if it isn't told
}

// String returns name and version.
func (p Package) String() string {
	if p.Version == "" {
		return p.Name
	}
	return p.Name + " " + p.Version
}

// Format is the standard that the document follows.
func (s *SBOM) Format() Format { return s.format }

// Version is the standard's: 2.3 or 1.6.
func (s *SBOM) Version() string { return s.version }

// Packages is how many packages it names.
func (s *SBOM) Packages() int { return s.packages }

// Licenses are the distinct licences, by their text; every package is in exactly one. They must not be changed.
func (s *SBOM) Licenses() []License { return s.licenses }

// Terms are all identifiers that its licences have. They must not be changed.
func (s *SBOM) Terms() []Term { return s.terms }

// Time implements Facts: when the document was created.
func (s *SBOM) Time() time.Time { return s.created }

// Size implements Facts.
func (s *SBOM) Size() int64 { return s.size }

func (s *SBOM) facts() {}

// Standing judges the licence by what is thought of each term, by its place among SBOM.Terms. It allocates nothing.
func (l *License) Standing(of func(term uint32) Standing) Standing { return l.expression.standing(of) }

// Terms are the places among SBOM.Terms of the terms that the licence has.
func (l *License) Terms() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, op := range l.expression {
			if op != opAnd && op != opOr && !yield(op) {
				return
			}
		}
	}
}

// All are the packages that have the licence, by name and version.
func (l *License) All() iter.Seq[Package] {
	return func(yield func(Package) bool) {
		rest := l.packed
		for rest != "" {
			var p Package
			p.Name, rest = unpack(rest)
			p.Version, rest = unpack(rest)
			if !yield(p) {
				return
			}
		}
	}
}

func pack(buf []byte, s string) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(s))), s...)
}

// unpack takes off what pack has added. Lengths are of at most two bytes, of seven bits each (MaxPackageName).
func unpack(s string) (first, rest string) {
	n, at := int(s[0]&0x7f), 1
	if s[0] >= 0x80 {
		n, at = n|int(s[1])<<7, 2
	}
	return s[at : at+n], s[at+n:]
}

// sbomBuilder gathers packages by licence.
type sbomBuilder struct {
	count    int
	terms    terms
	parts    []licensePart
	byText   map[string]uint32 // the number of a part
	licenses []*License
	packed   [][]byte // what goes into packed of each
	byKey    map[string]int
	key      []byte
	numbers  []uint32
	adds     uint32 // how many times licences were counted, each once
	written  int    // bytes of all licences as written
}

// licensePart is one licence as a document writes it: a package may have several at once.
type licensePart struct {
	text       string
	expression expression
	last       uint32 // the last package that had it, by sbomBuilder.adds
}

// add adds a package; licenses are those that apply to it, all at once.
func (b *sbomBuilder) add(p Package, licenses ...string) error {
	b.numbers = b.numbers[:0]
	for _, l := range licenses {
		n, err := b.part(l)
		if err != nil {
			return err
		}
		b.numbers = append(b.numbers, n)
	}
	return b.addParts(p, b.numbers)
}

// part returns the number of a licence as written: each is compiled once.
func (b *sbomBuilder) part(text string) (uint32, error) {
	text = cmp.Or(text, noAssertion)
	if n, ok := b.byText[text]; ok {
		return n, nil
	}
	if len(b.parts) == MaxLicenses {
		return 0, errTooManyLicenses
	}
	x, err := b.terms.license(text)
	if err != nil {
		return 0, err
	}
	if len(b.terms.all) > MaxTerms {
		return 0, errTooManyNames
	}
	n := uint32(len(b.parts))
	put(&b.byText, text, n)
	b.parts = append(b.parts, licensePart{text: text, expression: slices.Clip(x)})
	return n, nil
}

// addParts adds a package with licences by their numbers. One that is there twice counts once.
func (b *sbomBuilder) addParts(p Package, of []uint32) error {
	if p.Name == "" {
		return errors.New("a package without a name")
	}
	if len(p.Name) > MaxPackageName || len(p.Version) > MaxPackageName {
		return fmt.Errorf("a package's name or version of more than %d bytes", MaxPackageName)
	}
	if b.count++; b.count > MaxPackages {
		return fmt.Errorf("more than %d packages", MaxPackages)
	}
	n, err := b.license(of)
	if err != nil {
		return err
	}
	b.packed[n] = pack(pack(b.packed[n], p.Name), p.Version)
	b.licenses[n].Packages++
	return nil
}

// license returns the number of a licence: of several that apply at once, or of none that is told.
func (b *sbomBuilder) license(of []uint32) (int, error) {
	if len(of) == 0 {
		none, err := b.part(noAssertion)
		if err != nil {
			return 0, err
		}
		of = []uint32{none}
	}
	b.adds++
	b.key = b.key[:0]
	terms, written := 0, 0
	for _, n := range of {
		part := &b.parts[n]
		if part.last == b.adds {
			continue
		}
		part.last = b.adds
		b.key = binary.LittleEndian.AppendUint32(b.key, n)
		terms, written = terms+(len(part.expression)+1)/2, written+len(part.text)+len(" AND ()")
		if terms > MaxLicenseTerms && len(b.key) > 4 {
			return 0, errTooManyTerms
		}
	}
	if n, ok := b.byKey[string(b.key)]; ok {
		return n, nil
	}
	if b.written += written; b.written > maxWritten {
		return 0, fmt.Errorf("licences of more than %d bytes in all", maxWritten)
	}
	if len(b.licenses) == MaxLicenses {
		return 0, errTooManyLicenses
	}
	var texts []string
	var parts []expression
	for key := b.key; len(key) > 0; key = key[4:] {
		part := &b.parts[binary.LittleEndian.Uint32(key)]
		texts, parts = append(texts, part.text), append(parts, part.expression)
	}
	x := parts[0]
	if len(parts) > 1 {
		x = slices.Clip(and(parts...))
	}
	n := len(b.licenses)
	put(&b.byKey, string(b.key), n)
	b.licenses = append(b.licenses, &License{Text: joined(texts), expression: x})
	b.packed = append(b.packed, nil)
	return n, nil
}

// maxWritten bounds the bytes of all licences of one SBOM as written: SPDX 3 refers to them, so that a short document could name long ones any
// number of times. No other document holds more than a payload may have.
const maxWritten = 64 << 20

var errTooManyLicenses = fmt.Errorf("more than %d distinct licences", MaxLicenses)

// joined writes several licences as one, in the words of an expression.
func joined(licenses []string) string {
	if len(licenses) == 1 {
		return licenses[0]
	}
	var out strings.Builder
	for i, l := range licenses {
		if i > 0 {
			out.WriteString(" AND ")
		}
		if strings.ContainsAny(l, " ()") {
			l = "(" + l + ")"
		}
		out.WriteString(l)
	}
	return out.String()
}

// sbom returns what was gathered.
func (b *sbomBuilder) sbom(format Format, version string, created time.Time) *SBOM {
	s := &SBOM{format: format, version: strings.Clone(version), created: created, terms: slices.Clip(b.terms.all)}
	s.size = sbomOverhead
	for _, t := range s.terms {
		s.size += termOverhead + int64(len(t.ID)+len(t.Text)+len(t.Name))
	}
	for i, l := range b.licenses {
		l.packed, l.Packages = tidy(b.packed[i], l.Packages)
		b.packed[i] = nil
		s.packages += l.Packages
		s.size += licenseOverhead + int64(len(l.Text)+4*len(l.expression)+len(l.packed))
		s.licenses = append(s.licenses, *l)
	}
	s.licenses = slices.Clip(s.licenses)
	slices.SortFunc(s.licenses, func(a, b License) int { return strings.Compare(a.Text, b.Text) })
	return s
}

// What facts take in memory beside their texts, in bytes.
const (
	sbomOverhead    = 160
	termOverhead    = 56
	licenseOverhead = 64
)

// tidy sorts packages by name and version, and drops those that are there twice.
func tidy(packed []byte, n int) (string, int) {
	whole := License{packed: string(packed)}
	all := slices.AppendSeq(make([]Package, 0, n), whole.All())
	slices.SortFunc(all, func(a, b Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
	})
	all = slices.Compact(all)
	packed = packed[:0]
	for _, p := range all {
		packed = pack(pack(packed, p.Name), p.Version)
	}
	return string(packed), len(all)
}

// document returns the JSON of an SBOM, that a predicate is or that it has in a string: "cosign attest --type spdx" writes whatever the file
// holds as one string.
func document(predicate []byte) ([]byte, error) {
	if scan(predicate).kind() != '"' {
		return predicate, nil
	}
	var text []byte
	err := read(predicate, func(s *scanner) error {
		v, err := s.dec.ReadValue()
		if err != nil {
			return broken(err)
		}
		text, err = jsontext.AppendUnquote(make([]byte, 0, len(v)), v)
		return broken(err)
	})
	if err != nil {
		return nil, err
	}
	if scan(text).kind() != '{' {
		return nil, errors.New("a string that holds no JSON object: an SBOM must be JSON, not XML or the tag-value form")
	}
	return text, nil
}

// described tells, by its purpose, what isn't a package in the image, but the image itself, its operating system or a file.
func described(purpose string) bool {
	switch strings.ToLower(purpose) {
	case "container", "operating-system", "operatingsystem", "file":
		return true
	}
	return false
}
