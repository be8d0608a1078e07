package predicate

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// spdxElements are the elements of an SPDX 3.0 document, which come in any order and refer to each other by name: packages,
// licences, which of them have which, and who said so when.
type spdxElements struct {
	packages  []spdxPackage
	licenses  map[string]string // a licence's name to its expression
	concluded map[string][]string
	declared  map[string][]string // a package's name to those of its licences
	creations []spdxCreation
	document  string // the name of the document's own creation
}

type spdxPackage struct {
	Package
	id, purpose string
}

type spdxCreation struct {
	id, version string
	created     time.Time
}

// spdxElement is one element, as far as it is read.
type spdxElement struct {
	id, kind           string
	spdxPackage        spdxPackage
	expression         string
	relationship, from string
	to                 []string
	creation           string
	spdxCreation       spdxCreation
}

// read returns what reads an element: all the names of which some type is read, the type itself being one of them.
func (d *spdxElements) read(s *scanner) func() error {
	var e spdxElement
	one := func(to *string) func() error {
		return func() error {
			refs, err := s.refs()
			if len(refs) > 0 {
				*to = refs[0]
			}
			return err
		}
	}
	known := names{
		"type":                              one(&e.kind),
		"@type":                             one(&e.kind),
		"spdxId":                            one(&e.id),
		"@id":                               one(&e.id),
		"name":                              one(&e.spdxPackage.Name),
		"software_packageVersion":           one(&e.spdxPackage.Version),
		"software_primaryPurpose":           one(&e.spdxPackage.purpose),
		"simplelicensing_licenseExpression": one(&e.expression),
		"relationshipType":                  one(&e.relationship),
		"from":                              one(&e.from),
		"to":                                func() (err error) { e.to, err = s.refs(); return err },
		"specVersion":                       one(&e.spdxCreation.version),
		"created":                           func() error { return s.time(&e.spdxCreation.created) },
		"creationInfo":                      func() error { return d.creation(s, &e) },
	}
	return func() error {
		e = spdxElement{}
		if err := s.object(known); err != nil {
			return err
		}
		return d.add(&e)
	}
}

// creation reads a reference to a CreationInfo, or one that is written out in its place.
func (d *spdxElements) creation(s *scanner, e *spdxElement) error {
	if s.kind() != '{' {
		refs, err := s.refs()
		e.creation = strings.Join(refs, " ")
		return err
	}
	var c spdxCreation
	err := s.object(names{
		"@id":         func() error { return s.text(&c.id) },
		"specVersion": func() error { return s.text(&c.version) },
		"created":     func() error { return s.time(&c.created) },
	})
	if c.id == "" {
		c.id = fmt.Sprintf("within element %d", len(d.creations)) // no element's: theirs have no spaces
	}
	e.creation = c.id
	d.creations = append(d.creations, c)
	return err
}

// add keeps an element, by its type.
func (d *spdxElements) add(e *spdxElement) error {
	switch e.kind {
	case "":
		return errors.New("an element without a type")
	case "CreationInfo":
		e.spdxCreation.id = e.id
		d.creations = append(d.creations, e.spdxCreation)
	case "SpdxDocument":
		d.document = e.creation
	case "software_Package", "ai_AIPackage", "dataset_DatasetPackage": // the latter two are kinds of the first
		if len(d.packages) == MaxPackages {
			return fmt.Errorf("more than %d packages", MaxPackages)
		}
		e.spdxPackage.id = e.id
		d.packages = append(d.packages, e.spdxPackage)
	case "simplelicensing_LicenseExpression":
		put(&d.licenses, e.id, e.expression)
	case "Relationship":
		switch e.relationship {
		case "hasConcludedLicense":
			put(&d.concluded, e.from, append(d.concluded[e.from], e.to...))
		case "hasDeclaredLicense":
			put(&d.declared, e.from, append(d.declared[e.from], e.to...))
		}
	}
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
	version, created, err := d.said(context)
	if err != nil {
		return nil, err
	}
	var b sbomBuilder
	for _, p := range d.packages {
		licenses := d.named(d.concluded[p.id])
		if len(licenses) == 0 {
			licenses = d.named(d.declared[p.id])
		}
		if p.Name != "" && len(licenses) == 0 && described(p.purpose) {
			continue
		}
		if err := b.add(p.Package, licenses...); err != nil {
			return nil, err
		}
	}
	return b.sbom(FormatSPDX, version, created), nil
}

// said is the version and the time of the document: its own CreationInfo's, or the earliest of all where it has none.
func (d *spdxElements) said(context string) (version string, created time.Time, err error) {
	for _, c := range d.creations {
		if version == "" || c.id == d.document {
			version = c.version
		}
		if c.id == d.document && !c.created.IsZero() {
			created = c.created
			break
		}
		if !c.created.IsZero() && (created.IsZero() || c.created.Before(created)) {
			created = c.created
		}
	}
	if version == "" {
		if _, rest, ok := strings.Cut(context, "spdx.org/rdf/"); ok {
			version, _, _ = strings.Cut(rest, "/")
		}
	}
	if version != "3.0" && !strings.HasPrefix(version, "3.0.") {
		return "", time.Time{}, fmt.Errorf("specVersion %q of a document with @graph, want 3.0", clip(version))
	}
	return version, created, nil
}

// named returns the licences behind references, without those that say nothing.
func (d *spdxElements) named(refs []string) []string {
	var out []string
	for _, ref := range refs {
		text, ok := d.licenses[ref]
		if !ok {
			text = individual(ref)
		}
		if text = strings.TrimSpace(text); !unsaid(text) {
			out = append(out, text)
		}
	}
	return out
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
