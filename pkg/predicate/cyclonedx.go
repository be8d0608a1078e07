package predicate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// readCycloneDX reads a document of CycloneDX 1.2 to 1.7, as JSON: in those versions what is read here has one shape. Of its shape it needs
// bomFormat, specVersion and components that have names; absent components are an error, an empty list is a document without packages.
//
// Components within components count as well. metadata.component is what the document is about, and none of its components, but those within it
// are. All of a component's licences apply at once; where some were concluded, those that its authors declared don't count (the acknowledgement of
// version 1.6). An entry has an expression or a license, which has an id or a name, by the standard: of the former two both are an error, of the
// latter both count, where they differ.
func readCycloneDX(predicate []byte) (*SBOM, error) {
	text, err := document(predicate)
	if err != nil {
		return nil, err
	}
	var d cdxDocument
	if err := read(text, d.read); err != nil {
		return nil, err
	}
	switch {
	case d.format == "":
		return nil, notCycloneDX(text, errors.New("no bomFormat"))
	case d.format != string(FormatCycloneDX):
		return nil, fmt.Errorf("bomFormat %q, want CycloneDX", clip(d.format))
	case d.version == "":
		return nil, errors.New("no specVersion")
	case !d.components:
		return nil, errors.New("no components: the list is absent, which is not the same as empty")
	}
	if minor, ok := strings.CutPrefix(d.version, "1."); !ok || len(minor) != 1 || minor < "2" || minor > "7" {
		return nil, fmt.Errorf("specVersion %q, want 1.2 to 1.7", clip(d.version))
	}
	return d.builder.sbom(FormatCycloneDX, d.version, d.created), nil
}

// cdxDocument is what is read of a document.
type cdxDocument struct {
	format, version string
	created         time.Time
	components      bool // the list is there
	builder         sbomBuilder
}

func (d *cdxDocument) read(s *scanner) error {
	return s.object(names{
		"bomFormat":   func() error { return s.text(&d.format) },
		"specVersion": func() error { return s.text(&d.version) },
		"metadata": s.orNull(func() error {
			return s.object(names{
				"timestamp": func() error { return s.time(&d.created) },
				"component": s.orNull(func() error {
					return s.object(names{"components": s.orNull(func() error { return s.list(newCDXComponent(s, &d.builder).read) })})
				}),
			})
		}),
		"components": func() error {
			d.components = true
			return s.list(newCDXComponent(s, &d.builder).read)
		},
	})
}

// cdxComponent reads components of one depth, one after the other.
type cdxComponent struct {
	s                    *scanner
	builder              *sbomBuilder
	known, entry, within names         // of a component, of an entry of its licences, of the license in one
	inner                *cdxComponent // of the components within

	name, group, version, kind string
	licenses                   []cdxLicense
	reading                    cdxLicense
}

// cdxLicense is one entry of a component's licences.
type cdxLicense struct {
	id, name, expression, acknowledgement string
}

func newCDXComponent(s *scanner, b *sbomBuilder) *cdxComponent {
	c := &cdxComponent{s: s, builder: b}
	c.known = names{
		"name":     func() error { return s.text(&c.name) },
		"group":    func() error { return s.textOrNull(&c.group) },
		"version":  func() error { return s.textOrNull(&c.version) },
		"type":     func() error { return s.textOrNull(&c.kind) },
		"licenses": s.orNull(func() error { return s.list(c.license) }),
		"components": s.orNull(func() error {
			if c.inner == nil {
				c.inner = newCDXComponent(s, b)
			}
			return s.list(c.inner.read)
		}),
	}
	c.within = names{
		"id":              func() error { return s.textOrNull(&c.reading.id) },
		"name":            func() error { return s.textOrNull(&c.reading.name) },
		"acknowledgement": c.acknowledged,
	}
	c.entry = names{
		"expression":      func() error { return s.textOrNull(&c.reading.expression) },
		"acknowledgement": c.acknowledged,
		"license":         s.orNull(func() error { return s.object(c.within) }),
	}
	return c
}

// read reads a component.
func (c *cdxComponent) read() error {
	c.name, c.group, c.version, c.kind, c.licenses = "", "", "", "", c.licenses[:0]
	if err := c.s.object(c.known); err != nil {
		return err
	}
	licenses := c.named()
	if c.name != "" && len(licenses) == 0 && described(c.kind) {
		return nil
	}
	return c.builder.add(Package{Name: c.fullName(), Version: c.version}, licenses...)
}

// license reads an entry of licenses: {"license": {"id" or "name"}} or {"expression"}.
func (c *cdxComponent) license() error {
	if len(c.licenses) == MaxLicenseTerms { // before it is kept: an entry may have two bytes
		return errTooManyTerms
	}
	c.reading = cdxLicense{}
	if err := c.s.object(c.entry); err != nil {
		return err
	}
	if l := &c.reading; l.expression != "" && l.id+l.name != "" {
		return errors.New("both an expression and a license: it has to have one of them")
	}
	c.licenses = append(c.licenses, c.reading)
	return nil
}

// acknowledged reads who says so, which is there at one place of an entry.
func (c *cdxComponent) acknowledged() error {
	if c.reading.acknowledgement != "" {
		return errors.New("acknowledgement: there twice in one entry")
	}
	return c.s.textOrNull(&c.reading.acknowledgement)
}

// fullName is the name behind its group: @babel/core, org.apache.commons/commons-text.
func (c *cdxComponent) fullName() string {
	if c.name == "" || c.group == "" || strings.HasPrefix(c.name, c.group+"/") {
		return c.name
	}
	return c.group + "/" + c.name
}

// named are the licences that apply: what was concluded, or else declared, and what is neither. None if nothing is said.
func (c *cdxComponent) named() []string {
	var plain, concluded, declared []string
	for _, l := range c.licenses {
		switch l.acknowledgement {
		case "concluded":
			concluded = l.appendTo(concluded)
		case "declared":
			declared = l.appendTo(declared)
		default:
			plain = l.appendTo(plain)
		}
	}
	if allUnsaid(concluded) {
		concluded = declared
	}
	out := append(plain, concluded...)
	if allUnsaid(out) {
		return nil
	}
	return out
}

// appendTo appends the licences that an entry names.
func (l cdxLicense) appendTo(out []string) []string {
	before := len(out)
	for _, text := range []string{l.expression, l.id, l.name} {
		text = strings.TrimSpace(text)
		if unsaid(text) || len(out) > before && strings.EqualFold(text, out[before]) {
			continue
		}
		out = append(out, text)
	}
	if len(out) == before {
		return append(out, noAssertion)
	}
	return out
}

func allUnsaid(licenses []string) bool {
	return !slices.ContainsFunc(licenses, func(text string) bool { return !unsaid(text) })
}
