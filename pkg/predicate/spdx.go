package predicate

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// readSPDX reads a document of SPDX 2.2, 2.3 or 3.0, as JSON. Of its shape it needs spdxVersion and packages that have names (3.0: a
// specVersion, and elements); an absent list of packages is an error, an empty one is a document without packages.
//
// A package's licence is licenseConcluded, or licenseDeclared where that is NOASSERTION, NONE or absent.
func readSPDX(predicate []byte) (*SBOM, error) {
	text, err := document(predicate)
	if err != nil {
		return nil, err
	}
	d := spdxDocument{}
	if err := read(text, d.read); err != nil {
		return nil, err
	}
	switch {
	case d.elements != nil && (d.version != "" || d.packages):
		return nil, errors.New("spdxVersion or packages beside @graph: it is of SPDX 2 and 3 at once")
	case d.elements != nil:
		return d.elements.sbom(d.context)
	case d.version == "":
		return nil, notSPDX(text, errors.New("no spdxVersion"))
	case !d.packages:
		return nil, errors.New("no packages: the list is absent, which is not the same as empty")
	}
	version, ok := strings.CutPrefix(d.version, "SPDX-")
	if !ok || version != "2.2" && version != "2.3" {
		return nil, fmt.Errorf("spdxVersion %q, want SPDX-2.2 or SPDX-2.3", clip(d.version))
	}
	for i, t := range d.builder.terms.all {
		if t.Kind == TermRef {
			d.builder.terms.all[i].Name = d.names[t.ID]
		}
	}
	return d.builder.sbom(FormatSPDX, version, d.created), nil
}

// spdxDocument is what is read of a document.
type spdxDocument struct {
	version  string
	created  time.Time
	packages bool // the list is there
	builder  sbomBuilder
	names    map[string]string // of the licences that it makes up itself, both in lower case
	context  string            // of SPDX 3
	elements *spdxElements     // of SPDX 3
}

func (d *spdxDocument) read(s *scanner) error {
	return s.object(names{
		"spdxVersion": func() error { return s.text(&d.version) },
		"creationInfo": s.orNull(func() error {
			return s.object(names{"created": func() error { return s.time(&d.created) }})
		}),
		"packages": func() error {
			d.packages = true
			return s.list(d.pkg(s))
		},
		"hasExtractedLicensingInfos": s.orNull(func() error { return s.list(d.extracted(s)) }),
		"@context": func() error {
			refs, err := s.refs()
			d.context = strings.Join(refs.all, " ")
			return err
		},
		"@graph": func() error {
			d.elements = newSPDXElements(s)
			return s.list(d.elements.read)
		},
	})
}

// pkg returns what reads a package.
func (d *spdxDocument) pkg(s *scanner) func() error {
	var p Package
	var concluded, declared, purpose string
	known := names{
		"name":                  func() error { return s.text(&p.Name) },
		"versionInfo":           func() error { return s.textOrNull(&p.Version) },
		"licenseConcluded":      func() error { return s.textOrNull(&concluded) },
		"licenseDeclared":       func() error { return s.textOrNull(&declared) },
		"primaryPackagePurpose": func() error { return s.textOrNull(&purpose) },
	}
	return func() error {
		p, concluded, declared, purpose = Package{}, "", "", ""
		if err := s.object(known); err != nil {
			return err
		}
		license := strings.TrimSpace(concluded)
		if unsaid(license) {
			license = strings.TrimSpace(declared)
		}
		if p.Name != "" && unsaid(license) && described(purpose) {
			return nil
		}
		return d.builder.add(p, license)
	}
}

// extracted returns what reads a licence that the document makes up.
func (d *spdxDocument) extracted(s *scanner) func() error {
	var id, name string
	known := names{
		"licenseId": func() error { return s.textOrNull(&id) },
		"name":      func() error { return s.textOrNull(&name) },
	}
	return func() error {
		id, name = "", ""
		if err := s.object(known); err != nil || unsaid(name) {
			return err
		}
		if len(id)+len(name) > MaxLicense {
			return fmt.Errorf("a licence whose name has more than %d bytes", MaxLicense)
		}
		id, name = strings.ToLower(id), strings.ToLower(name)
		if before, ok := d.names[id]; ok && before != name {
			return fmt.Errorf("%q is there twice, with two names (case makes no difference)", clip(id))
		}
		if put(&d.names, id, name); len(d.names) > MaxLicenses {
			return fmt.Errorf("more than %d of them", MaxLicenses)
		}
		return nil
	}
}

// refs are what JSON-LD refers by: the first so many strings, and how much else there was.
type refs struct {
	all    []string
	more   int // strings beyond them
	others int // values that aren't strings
}

// refs reads a string, or a list of them.
func (s *scanner) refs() (out refs, err error) {
	one := func() error {
		switch {
		case s.kind() != '"':
			out.others++
			return s.skip()
		case len(out.all) == MaxLicenseTerms:
			out.more++
			return s.skip()
		}
		var ref string
		err := s.text(&ref)
		out.all = append(out.all, ref)
		return err
	}
	if s.kind() == '[' {
		err = s.list(one)
		return out, err
	}
	err = one()
	return out, err
}
