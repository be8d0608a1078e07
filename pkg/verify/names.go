package verify

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// CertificateIdentity is a name that a certificate of an own PKI must have: one of its subject alternative names (email, URI or DNS name),
// or its whole subject as RFC 4514 writes it, such as CN=release,O=Acme. The zero CertificateIdentity is nobody's.
type CertificateIdentity struct {
	exact, pattern string
	whole          *regexp.Regexp
	kind           nameKind // of the names that the pattern is about
}

// NewCertificateIdentity takes a name, or an RE2 pattern that must match the whole of one. A pattern is about names of one kind: a subject if it
// begins with an attribute type and an equals sign, a URI if it begins with a scheme and a colon, both literally; else an email address
// if there is a literal at sign in it, and else a DNS name. One that might be about several is an error.
func NewCertificateIdentity(subject, subjectPattern string) (CertificateIdentity, error) {
	anchored, err := anchor("subject", subject, subjectPattern)
	if err != nil {
		return CertificateIdentity{}, err
	}
	id := CertificateIdentity{exact: subject, pattern: subjectPattern}
	if anchored == "" {
		return id, nil
	}
	if id.kind, err = patternKind(subjectPattern); err != nil {
		return CertificateIdentity{}, err
	}
	if id.whole, err = regexp.Compile(anchored); err != nil {
		return CertificateIdentity{}, err
	}
	for _, stranger := range []string{"stranger.invalid", "CN=stranger", "spiffe://stranger.invalid/whoever", "whoever@stranger.invalid"} {
		if id.matches(stranger) {
			return CertificateIdentity{}, fmt.Errorf("subjectPattern: matches anybody in the PKI, such as %s", stranger)
		}
	}
	return id, nil
}

// String is the identity for people.
func (i CertificateIdentity) String() string { return written(i.exact, i.pattern) }

func (i CertificateIdentity) matches(name string) bool {
	if i.whole != nil {
		return kindOf(name) == i.kind && i.whole.MatchString(name)
	}
	return i.exact != "" && i.exact == name
}

// nameKind is what a name is of. A CA that confirms addresses of any form must not be taken to confirm a URI, nor one of URIs a subject:
// so a name shows its kind, and those that would show another than they are of are nobody's.
type nameKind uint8

const (
	nameDNS     nameKind = iota // neither colon nor equals sign nor at sign
	nameEmail                   // neither colon nor equals sign, but an at sign
	nameURI                     // a colon before any equals sign: a scheme
	nameSubject                 // an equals sign before any colon: an attribute type
)

func kindOf(name string) nameKind {
	if i := strings.IndexAny(name, ":="); i >= 0 {
		if name[i] == ':' {
			return nameURI
		}
		return nameSubject
	}
	if strings.Contains(name, "@") {
		return nameEmail
	}
	return nameDNS
}

// namesOf are the names of a certificate, each as it may be asked for.
func namesOf(c *x509.Certificate) []string {
	var names []string
	take := func(kind nameKind, name string) {
		if name != "" && kindOf(name) == kind {
			names = append(names, name)
		}
	}
	for _, n := range c.EmailAddresses {
		take(nameEmail, n)
	}
	for _, u := range c.URIs {
		if u.IsAbs() {
			take(nameURI, u.String())
		}
	}
	for _, n := range c.DNSNames {
		take(nameDNS, n)
	}
	if s, err := subjectOf(c.RawSubject); err == nil {
		take(nameSubject, s)
	}
	return names
}

// patternKind is the kind of the names that a pattern is about.
func patternKind(pattern string) (nameKind, error) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, fmt.Errorf("subjectPattern: %w", err)
	}
	begin, _ := beginning(re)
	if kind := kindOf(begin); kind == nameURI || kind == nameSubject {
		return kind, nil
	}
	all := literals(re)
	switch kind := kindOf(all); {
	case kind == nameURI || kind == nameSubject || kind == nameDNS && strings.ContainsAny(all, "/,+"):
		return 0, errors.New("subjectPattern: it isn't clear what kind of name it is about: begin it with the attribute type for a subject (CN=), " +
			"with the scheme for a URI (spiffe://), both literally; and write one identity for each kind")
	default:
		return kind, nil
	}
}

// beginning is the text that whatever matches begins with, and whether there is nothing else to it.
func beginning(re *syntax.Regexp) (text string, whole bool) {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 {
			return string(re.Rune), true
		}
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpBeginLine:
		return "", true
	case syntax.OpCapture:
		return beginning(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			more, all := beginning(sub)
			if text += more; !all {
				return text, false
			}
		}
		return text, true
	}
	return "", false
}

// literals are all the texts that a pattern has in it, wherever.
func literals(re *syntax.Regexp) string {
	if re.Op == syntax.OpLiteral {
		return string(re.Rune)
	}
	var out strings.Builder
	for _, sub := range re.Sub {
		out.WriteString(literals(sub))
	}
	return out.String()
}

// relativeSET is one relative distinguished name (X.501, 9.3). Its name tells encoding/asn1 that it is a SET OF.
type relativeSET []attribute

type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// subjectOf writes a distinguished name as RFC 4514 has it: all attributes of all relative names, the last first. crypto/x509 would
// forget their order and, of several common names, all but one, so that other people's certificates had the same name. That an equals sign in a
// value is escaped, which RFC 4514 (2.4) leaves open, keeps patterns from taking a part of a value for an attribute.
func subjectOf(raw []byte) (string, error) {
	var name []relativeSET
	if rest, err := asn1.Unmarshal(raw, &name); err != nil || len(rest) > 0 {
		return "", errors.New("the subject can't be read")
	}
	var all []string
	for _, relative := range slices.Backward(name) {
		var parts []string
		for _, a := range relative {
			parts = append(parts, a.String())
		}
		if len(parts) == 0 {
			return "", errors.New("the subject has an empty relative name")
		}
		all = append(all, strings.Join(parts, "+"))
	}
	return strings.Join(all, ","), nil
}

// String is the attribute by a name that is in RFC 4514 (3) or registered (RFC 4519), and its value; else as a number, and in hex.
func (a attribute) String() string {
	short := map[string]string{
		"2.5.4.3": "CN", "2.5.4.5": "SERIALNUMBER", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET", "2.5.4.10": "O", "2.5.4.11": "OU",
		"2.5.4.17": "POSTALCODE", "0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC",
	}[a.Type.String()]
	text, ok := a.text()
	switch {
	case short == "":
		return a.Type.String() + "=#" + hex.EncodeToString(a.Value.FullBytes)
	case !ok:
		return short + "=#" + hex.EncodeToString(a.Value.FullBytes)
	}
	return short + "=" + escaped(text)
}

// text is the value, if it is one of the kinds of text that RFC 5280 (4.1.2.4) would have a CA write, or ASCII anyway.
func (a attribute) text() (string, bool) {
	if a.Value.Class != asn1.ClassUniversal || a.Value.IsCompound {
		return "", false
	}
	switch text := string(a.Value.Bytes); a.Value.Tag {
	case asn1.TagUTF8String:
		return text, utf8.ValidString(text)
	case asn1.TagPrintableString, asn1.TagIA5String, asn1.TagNumericString:
		return text, !strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
	}
	return "", false
}

// escaped writes a value as RFC 4514 (2.4) asks for.
func escaped(text string) string {
	var out strings.Builder
	for i, r := range text {
		switch {
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&out, `\%02X`, r)
		case strings.ContainsRune(`"+,;<>\=`, r), i == 0 && (r == ' ' || r == '#'), i == len(text)-1 && r == ' ':
			out.WriteByte('\\')
			out.WriteRune(r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}
