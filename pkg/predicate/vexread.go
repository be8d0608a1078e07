package predicate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// vexReader reads OpenVEX 0.2 (OPENVEX-SPEC.md), and 0.0, where a vulnerability and a product are strings. Unlike go-vex, which takes a name twice or in
// another case, an unknown status and an unjustified not_affected, and links what the webhook has no use for, it is strict; its answers are
// compared with go-vex's in a test.
type vexReader struct {
	s    *scanner
	v    VEX
	pack scanBuilder // for its words

	status, justification, impact string
	at                            time.Time
	issued                        time.Time
	id, name                      string
	names                         []string
	hasVulnerability              bool
}

func readOpenVEX(text []byte) (*VEX, error) {
	r := vexReader{pack: *newScanBuilder()}
	var context string
	var listed bool
	err := read(text, func(s *scanner) error {
		r.s = s
		statement := r.statement()
		return s.object(names{
			"@context":  func() error { return s.text(&context) },
			"author":    func() error { return s.textOrNull(&r.v.author) },
			"timestamp": func() error { return s.time(&r.issued) },
			"statements": func() error {
				listed = true
				return s.atMost(MaxStatements, statement)
			},
		})
	})
	switch {
	case err != nil:
		return nil, err
	case !of(context, TypeOpenVEX):
		return nil, fmt.Errorf("@context: %q: want %s or a version of it", clip(context), TypeOpenVEX)
	case !listed || len(r.v.statements) == 0:
		return nil, errors.New("statements: absent or empty: it says nothing")
	}
	return r.done()
}

// statement returns what reads one of statements.
func (r *vexReader) statement() func() error {
	s := r.s
	product := r.product()
	alias := func() error { r.names = append(r.names, ""); return s.text(&r.names[len(r.names)-1]) }
	vulnerability := names{
		"@id":     func() error { return s.textOrNull(&r.id) },
		"name":    func() error { return s.textOrNull(&r.name) },
		"aliases": s.orNull(func() error { return s.atMost(maxAliases, alias) }),
	}
	known := names{
		"vulnerability": func() error {
			r.hasVulnerability = true
			if s.kind() == '"' {
				return s.text(&r.name)
			}
			return s.object(vulnerability)
		},
		"products":         s.orNull(func() error { return s.atMost(maxProducts, product) }),
		"status":           func() error { return s.text(&r.status) },
		"justification":    func() error { return s.textOrNull(&r.justification) },
		"impact_statement": func() error { return s.textOrNull(&r.impact) },
		"timestamp":        func() error { return s.time(&r.at) },
	}
	return func() error {
		r.status, r.justification, r.impact, r.id, r.name, r.at, r.names, r.hasVulnerability = "", "", "", "", "", time.Time{}, r.names[:0], false
		first := uint32(len(r.v.products))
		if err := s.object(known); err != nil {
			return err
		}
		return r.keep(first)
	}
}

// keep keeps the statement that was read, whose products begin at first.
func (r *vexReader) keep(first uint32) error {
	st := packedStatement{products: part{first, uint32(len(r.v.products))}}
	switch r.status {
	case "not_affected":
		st.status = VEXNotAffected
		if r.justification == "" && r.impact == "" {
			return errors.New("not_affected without justification or impact_statement")
		}
		if r.justification != "" && !slices.Contains(justifications(), r.justification) {
			return fmt.Errorf("justification: %q isn't one of OpenVEX's", clip(r.justification))
		}
	case "fixed":
		st.status = VEXFixed
	case "affected":
		st.status = VEXAffected
	case "under_investigation":
		st.status = VEXUnderInvestigation
	default:
		return fmt.Errorf("status: %q isn't one of OpenVEX's", clip(r.status))
	}
	if r.name == "" {
		r.name = r.id[strings.LastIndexByte(r.id, '/')+1:]
	}
	if r.name == "" {
		return errors.New("vulnerability: no name")
	}
	st.names.from = uint32(len(r.v.names))
	for _, n := range append(r.names, r.name, r.id) {
		if n = strings.TrimSpace(n); n != "" {
			r.v.names = append(r.v.names, r.pack.word(n))
		}
	}
	st.names.to = uint32(len(r.v.names))
	if !r.at.IsZero() {
		if err := inTime(r.at); err != nil {
			return err
		}
		st.at, st.dated = r.at.UnixNano(), true
	}
	r.v.statements = append(r.v.statements, st)
	return r.pack.err
}

// justifications are those that OpenVEX has.
func justifications() []string {
	return []string{
		"component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
		"vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist",
	}
}

// inTime refuses a time that has no place among the others: before 1970, and after what fits into 63 bits of nanoseconds.
func inTime(at time.Time) error {
	if y := at.UTC().Year(); y < 1970 || y > 2261 {
		return fmt.Errorf("timestamp: %s: want one of 1970 to 2261", at.Format(time.RFC3339))
	}
	return nil
}

// product returns what reads one of products.
func (r *vexReader) product() func() error {
	s, sub := r.s, r.component(names{})
	each := func() error {
		c, err := sub()
		if err == nil {
			err = r.room()
		}
		r.v.components = append(r.v.components, c)
		return err
	}
	product := r.component(names{"subcomponents": s.orNull(func() error { return s.atMost(maxProducts, each) })})
	return func() error {
		if err := r.room(); err != nil {
			return err
		}
		from := uint32(len(r.v.components))
		own, err := product()
		r.v.products = append(r.v.products, packedProduct{own: own, subs: part{from, uint32(len(r.v.components))}})
		return err
	}
}

// room refuses one more product or subcomponent, where there are as many as there may be.
func (r *vexReader) room() error {
	if len(r.v.products)+len(r.v.components) >= maxComponents {
		return fmt.Errorf("more than %d products and subcomponents", maxComponents)
	}
	return nil
}

// component returns what reads what identifies a component, and what else it has.
func (r *vexReader) component(known names) func() (packedComponent, error) {
	s := r.s
	var id, purl, hash string
	identifiers := names{"purl": func() error { return s.textOrNull(&purl) }}
	hashes := names{"sha-256": func() error { return s.textOrNull(&hash) }}
	known["@id"] = func() error { return s.textOrNull(&id) }
	known["identifiers"] = s.orNull(func() error { return s.object(identifiers) })
	known["hashes"] = s.orNull(func() error { return s.object(hashes) })
	return func() (c packedComponent, err error) {
		id, purl, hash = "", "", ""
		if s.kind() == '"' { // OpenVEX 0.0
			err = s.text(&id)
		} else {
			err = s.object(known)
		}
		if err != nil {
			return c, err
		}
		if purl == "" && strings.HasPrefix(id, "pkg:") {
			purl = id
		}
		of, _ := packageOf(purl)
		c.purl, c.digest, c.of = r.pack.word(purl), r.pack.word(cmp.Or(strings.ToLower(hash), digestIn(purl), digestIn(id))), r.pack.word(of)
		return c, r.pack.err
	}
}

// digestIn is the SHA-256 in a reference or package URL (name@sha256:..., pkg:oci/name@sha256%3A...); empty if there is none.
func digestIn(reference string) string {
	_, version, ok := strings.Cut(reference, "@")
	if !ok {
		return ""
	}
	version, _, _ = strings.Cut(version, "?")
	version, _, _ = strings.Cut(version, "#")
	for _, begin := range []string{"sha256:", "sha256%3A", "sha256%3a"} {
		if hex, ok := strings.CutPrefix(version, begin); ok && len(hex) == 64 {
			return strings.ToLower(hex)
		}
	}
	return ""
}

// done gives every statement its time, and packs the document.
func (r *vexReader) done() (*VEX, error) {
	v := &r.v
	if v.at = r.issued; !r.issued.IsZero() {
		if err := inTime(r.issued); err != nil {
			return nil, err
		}
	}
	for i := range v.statements {
		s := &v.statements[i]
		if !s.dated && r.issued.IsZero() {
			return nil, fmt.Errorf("statements[%d]: no timestamp, nor has the document one", i)
		}
		if !s.dated {
			s.at = r.issued.UnixNano() // Inheritance Flow: the document's
		}
		if at := time.Unix(0, s.at).UTC(); r.issued.IsZero() && at.After(v.at) {
			v.at = at
		}
	}
	rank, ranks := r.pack.ranks()
	v.mentions = mentionsOf(rank, ranks, func(yield func(word, uint32) bool) {
		for i, s := range v.statements {
			for _, n := range v.names[s.names.from:s.names.to] {
				if !yield(n, uint32(i)) {
					return
				}
			}
		}
	})
	for i, m := range v.mentions {
		if i == 0 || rank[m.name] != rank[v.mentions[i-1].name] {
			v.heads = append(v.heads, uint32(i))
		}
	}
	r.pack.pack()
	v.words = r.pack.scan.words
	v.author = strings.Clone(v.author)
	v.statements, v.names, v.heads = slices.Clone(v.statements), slices.Clone(v.names), slices.Clone(v.heads)
	v.products, v.components = slices.Clone(v.products), slices.Clone(v.components)
	out := *v
	return &out, nil
}
