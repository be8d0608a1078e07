package predicate

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
)

// maxReferences bounds how often an SPDX 3.0 document says of which licence something is, in all: packages, and files as well, have one concluded
// and one declared.
const maxReferences = 4 * MaxPackages

// spdxElements are the elements of an SPDX 3.0 document, which come in any order and refer to each other by name: packages,
// licences, which of them have which, and who said so when.
//
// By the standard a name is there once, an element has one type, and none is written out within another, but for a CreationInfo. What doesn't hold
// to it would mean one thing here and another to the next reader: about packages and licences it is an error.
type spdxElements struct {
	s             *scanner
	known, within names       // of an element, and of a CreationInfo that is written out
	element       spdxElement // that is read

	packages  []spdxPackage
	ids       map[string]struct{} // of packages and licences
	licenses  map[string]string   // a licence's name to its expression
	concluded map[string][]uint32
	declared  map[string][]uint32 // a package's name to the numbers of its licences
	count     int                 // how many of those there are
	names     []string            // of the licences that packages have
	number    map[string]uint32

	creations map[string]spdxCreation
	any       spdxCreation // the first version and the earliest time of all
	document  *spdxElement
}

type spdxPackage struct {
	Package
	id, purpose string
}

type spdxCreation struct {
	version string
	created time.Time
}

// spdxElement is one element, as far as it is read.
type spdxElement struct {
	id, kind               string
	name, version, purpose string
	expression             string
	relationship, from     string
	to                     refs
	creation, writtenID    string
	own, written           spdxCreation // of a CreationInfo, and of one that is written out within the element
	odd                    string       // what isn't one text, or is there under two names
}

func newSPDXElements(s *scanner) *spdxElements {
	d := &spdxElements{s: s}
	e := &d.element
	d.known = names{
		"type":                              d.one("type", &e.kind),
		"@type":                             d.one("type", &e.kind),
		"spdxId":                            d.one("spdxId", &e.id),
		"@id":                               d.one("spdxId", &e.id),
		"name":                              d.one("name", &e.name),
		"software_packageVersion":           d.one("software_packageVersion", &e.version),
		"software_primaryPurpose":           d.one("software_primaryPurpose", &e.purpose),
		"simplelicensing_licenseExpression": d.one("simplelicensing_licenseExpression", &e.expression),
		"relationshipType":                  d.one("relationshipType", &e.relationship),
		"from":                              d.one("from", &e.from),
		"to":                                func() (err error) { e.to, err = s.refs(); return err },
		"specVersion":                       d.one("specVersion", &e.own.version),
		"created":                           func() error { return s.time(&e.own.created) },
		"creationInfo":                      d.creation,
	}
	d.within = names{
		"@id":         func() error { return s.text(&e.writtenID) },
		"specVersion": func() error { return s.text(&e.written.version) },
		"created":     func() error { return s.time(&e.written.created) },
	}
	return d
}

// one returns what reads a text, or a list of one. Anything else is noted: the element's type, which may come later, says whether it matters.
func (d *spdxElements) one(name string, to *string) func() error {
	return func() error {
		if d.s.kind() == 'n' {
			return d.s.skip()
		}
		r, err := d.s.refs()
		switch {
		case err != nil:
			return err
		case len(r.all) == 1 && r.others == 0 && *to == "":
			*to = r.all[0]
		case len(r.all)+r.others > 0:
			d.element.odd = name
		}
		return nil
	}
}

// creation reads a reference to a CreationInfo, or one that is written out in its place.
func (d *spdxElements) creation() error {
	if d.s.kind() != '{' {
		return d.one("creationInfo", &d.element.creation)()
	}
	if err := d.s.object(d.within); err != nil {
		return err
	}
	return d.said(d.element.writtenID, d.element.written)
}

// read reads an element: all the names of which some type is read, the type itself being one of them.
func (d *spdxElements) read() error {
	d.element = spdxElement{}
	if err := d.s.object(d.known); err != nil {
		return err
	}
	return d.add(&d.element)
}

// add keeps an element, by its type.
func (d *spdxElements) add(e *spdxElement) error {
	switch e.kind {
	case "":
		if e.odd == "type" {
			return errors.New("type: want one type, as a text")
		}
		return errors.New("an element without a type")
	case "CreationInfo", "SpdxDocument", "software_Package", "ai_AIPackage", "dataset_DatasetPackage", // the latter two are kinds of the first
		"simplelicensing_LicenseExpression", "Relationship", "LifecycleScopedRelationship":
		if e.odd != "" {
			return fmt.Errorf("%s: want one text, under one name", e.odd)
		}
	default:
		if e.odd == "type" {
			return errors.New("type: want one type, under one name")
		}
		return nil
	}
	switch e.kind {
	case "CreationInfo":
		return d.said(e.id, e.own)
	case "SpdxDocument":
		if d.document != nil {
			return errors.New("a second SpdxDocument")
		}
		document := *e
		d.document = &document
	case "simplelicensing_LicenseExpression":
		if err := d.named(e.id); err != nil || e.id == "" {
			return err
		}
		if put(&d.licenses, e.id, e.expression); len(d.licenses) > MaxPackages {
			return fmt.Errorf("more than %d licences", MaxPackages)
		}
	case "Relationship", "LifecycleScopedRelationship":
		switch e.relationship {
		case "hasConcludedLicense":
			return d.relate(&d.concluded, e)
		case "hasDeclaredLicense":
			return d.relate(&d.declared, e)
		}
	default:
		if len(d.packages) == MaxPackages {
			return fmt.Errorf("more than %d packages", MaxPackages)
		}
		d.packages = append(d.packages, spdxPackage{Package{e.name, e.version}, e.id, e.purpose})
		return d.named(e.id)
	}
	return nil
}

// named notes the name of a package or a licence, of which there is one.
func (d *spdxElements) named(id string) error {
	if id == "" {
		return nil
	}
	if _, ok := d.ids[id]; ok {
		return fmt.Errorf("spdxId %q is there twice", clip(id))
	}
	put(&d.ids, id, struct{}{})
	return nil
}

// said notes who said something when: a CreationInfo, which may be written out within each element.
func (d *spdxElements) said(id string, c spdxCreation) error {
	if before, ok := d.creations[id]; ok && before != c {
		return fmt.Errorf("the CreationInfo %q is there twice, and differs", clip(id))
	}
	d.any.version = cmp.Or(d.any.version, c.version)
	if !c.created.IsZero() && (d.any.created.IsZero() || c.created.Before(d.any.created)) {
		d.any.created = c.created
	}
	if id == "" {
		return nil
	}
	if put(&d.creations, id, c); len(d.creations) > MaxPackages {
		return fmt.Errorf("more than %d of CreationInfo", MaxPackages)
	}
	return nil
}

// relate notes the licences of a package.
func (d *spdxElements) relate(to *map[string][]uint32, e *spdxElement) error {
	switch {
	case e.from == "":
		return errors.New("from: missing, so that the licence is nobody's")
	case e.to.others > 0:
		return errors.New("to: want the names of licences, which are elements of their own")
	}
	all := (*to)[e.from]
	if len(all)+len(e.to.all)+e.to.more > MaxLicenseTerms {
		return errTooManyTerms
	}
	if d.count += len(e.to.all); d.count > maxReferences {
		return fmt.Errorf("licences are referred to more than %d times", maxReferences)
	}
	for _, name := range e.to.all {
		n, ok := d.number[name]
		if !ok {
			n = uint32(len(d.names))
			put(&d.number, name, n)
			if d.names = append(d.names, name); len(d.names) > MaxPackages {
				return fmt.Errorf("more than %d licences", MaxPackages)
			}
		}
		all = append(all, n)
	}
	put(to, e.from, all)
	return nil
}

// put sets a value in a map that may not be made yet.
func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}

// sbom gathers the packages with their licences.
func (d *spdxElements) sbom(context string) (*SBOM, error) {
	version, created, err := d.origin(context)
	if err != nil {
		return nil, err
	}
	r := spdxResolver{spdxElements: d, parts: make([]uint32, len(d.names))}
	for _, p := range d.packages {
		if err := r.resolve(d.concluded[p.id]); err != nil {
			return nil, err
		}
		if len(r.found) == 0 {
			if err := r.resolve(d.declared[p.id]); err != nil {
				return nil, err
			}
		}
		if p.Name != "" && len(r.found) == 0 && described(p.purpose) {
			continue
		}
		if err := r.builder.addParts(p.Package, r.found); err != nil {
			return nil, err
		}
	}
	return r.builder.sbom(FormatSPDX, version, created), nil
}

// origin is the version and the time of the document: its own CreationInfo's, or the earliest of all where it has none.
func (d *spdxElements) origin(context string) (version string, created time.Time, err error) {
	c := d.any
	if e := d.document; e != nil {
		own := e.written
		if e.creation != "" {
			own = d.creations[e.creation]
		}
		c.version = cmp.Or(own.version, c.version)
		if !own.created.IsZero() {
			c.created = own.created
		}
	}
	if c.version == "" {
		if _, rest, ok := strings.Cut(context, "spdx.org/rdf/"); ok {
			c.version, _, _ = strings.Cut(rest, "/")
		}
	}
	if c.version != "3.0" && !strings.HasPrefix(c.version, "3.0.") {
		return "", time.Time{}, fmt.Errorf("specVersion %q of a document with @graph, want 3.0", clip(c.version))
	}
	return c.version, c.created, nil
}

// spdxResolver looks licences up by their names, each once.
type spdxResolver struct {
	*spdxElements
	builder sbomBuilder
	parts   []uint32 // of each name: 0 if it wasn't looked up, 1 if it says nothing, or else the number of the builder's part, and 2
	found   []uint32
}

// resolve puts into found the licences behind references, without those that say nothing.
func (r *spdxResolver) resolve(all []uint32) error {
	r.found = r.found[:0]
	for _, n := range all {
		if r.parts[n] == 0 {
			text, ok := r.licenses[r.names[n]]
			if !ok {
				text = individual(r.names[n])
			}
			r.parts[n] = 1
			if text = strings.TrimSpace(text); !unsaid(text) {
				part, err := r.builder.part(text)
				if err != nil {
					return err
				}
				r.parts[n] = part + 2
			}
		}
		if r.parts[n] > 1 {
			r.found = append(r.found, r.parts[n]-2)
		}
	}
	return nil
}

// individual is a licence that is referred to without being in the document: one of the SPDX list by its address, or one of the two that say
// nothing. Of any other nothing is known but its name.
func individual(ref string) string {
	if id, ok := strings.CutPrefix(ref, "https://spdx.org/licenses/"); ok {
		return id
	}
	switch ref[strings.LastIndexAny(ref, "/_")+1:] {
	case "NoAssertion", "NoAssertionLicense":
		return noAssertion
	case "None", "NoneLicense":
		return "NONE"
	}
	return ref
}
