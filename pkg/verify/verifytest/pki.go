package verifytest

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net/url"
	"slices"
	"testing"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// PKI is a certificate authority: a root, or one below another.
type PKI struct {
	certificate *x509.Certificate
	key         crypto.Signer
	above       *PKI // nil for a root
}

// NewPKI returns a root that is valid in a window.
func NewPKI(tb testing.TB, w Window) *PKI {
	tb.Helper()
	return (&PKI{}).below(tb, w, nil)
}

// Intermediate returns an authority that this one has certified.
func (p *PKI) Intermediate(tb testing.TB, w Window) *PKI {
	tb.Helper()
	return p.below(tb, w, p)
}

// IntermediateOf does so for a key of one's choice.
func (p *PKI) IntermediateOf(tb testing.TB, w Window, key crypto.Signer) *PKI {
	tb.Helper()
	return p.of(tb, w, p, key)
}

func (p *PKI) below(tb testing.TB, w Window, above *PKI) *PKI {
	tb.Helper()
	return p.of(tb, w, above, newKey(tb))
}

func (p *PKI) of(tb testing.TB, w Window, above *PKI, key crypto.Signer) *PKI {
	tb.Helper()
	ca := &PKI{key: key, above: above}
	template := &x509.Certificate{
		SerialNumber: serial(tb), NotBefore: w.From, NotAfter: w.Until, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	template.Subject = pkix.Name{CommonName: "CA " + template.SerialNumber.String(), Organization: []string{"Acme"}}
	if above == nil {
		ca.certificate = certified(tb, template, template, key.Public(), key)
	} else {
		ca.certificate = certified(tb, template, p.certificate, key.Public(), p.key)
	}
	return ca
}

func certified(tb testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, by crypto.Signer) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// issue certifies a key as a template says.
func (p *PKI) issue(tb testing.TB, template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	tb.Helper()
	if template.SerialNumber == nil {
		template.SerialNumber = serial(tb)
	}
	return certified(tb, template, p.certificate, public, p.key)
}

// top is the root's certificate.
func (p *PKI) top() *x509.Certificate {
	for p.above != nil {
		p = p.above
	}
	return p.certificate
}

// Roots returns the root's certificate.
func (p *PKI) Roots() []*x509.Certificate { return []*x509.Certificate{p.top()} }

// RootsPEM returns the root's certificate in PEM.
func (p *PKI) RootsPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.top().Raw})
}

// Certificate returns the authority's own certificate.
func (p *PKI) Certificate() *x509.Certificate { return p.certificate }

// Authority returns the authority of whoever in the PKI has one of some names, exact.
func (p *PKI) Authority(tb testing.TB, name string, terms verify.Terms, names ...string) verify.Authority {
	tb.Helper()
	var ids []verify.CertificateIdentity
	for _, n := range names {
		id, err := verify.NewCertificateIdentity(n, "")
		if err != nil {
			tb.Fatal(err)
		}
		ids = append(ids, id)
	}
	a, err := verify.NewCertificateAuthority(name, p.Roots(), ids, terms)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// Leaf says what a signer's certificate is like. The zero Leaf has no name but its subject's, and is always valid.
type Leaf struct {
	Subject           pkix.Name
	Emails, URIs, DNS []string
	Usages            []x509.ExtKeyUsage // nil: code signing; empty: none
	KeyUsage          x509.KeyUsage      // 0: digital signature
	CA                bool
	Valid             Window        // zero: Always
	Key               crypto.Signer // nil: a new P-256
	Extra             []pkix.Extension
}

// Holder is whoever holds a certificate and its key.
type Holder struct {
	Certificate *x509.Certificate
	// Chain is what is above it, without the root.
	Chain []*x509.Certificate
	key   crypto.Signer
}

// Issue certifies a signer.
func (p *PKI) Issue(tb testing.TB, l Leaf) Holder {
	tb.Helper()
	if l.Key == nil {
		l.Key = newKey(tb)
	}
	if l.Usages == nil {
		l.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	}
	if l.KeyUsage == 0 {
		l.KeyUsage = x509.KeyUsageDigitalSignature
	}
	if l.Valid == (Window{}) {
		l.Valid = Always()
	}
	template := &x509.Certificate{
		Subject: l.Subject, EmailAddresses: l.Emails, DNSNames: l.DNS, ExtKeyUsage: l.Usages, KeyUsage: l.KeyUsage,
		NotBefore: l.Valid.From, NotAfter: l.Valid.Until, IsCA: l.CA, BasicConstraintsValid: l.CA, ExtraExtensions: l.Extra,
	}
	for _, text := range l.URIs {
		u, err := url.Parse(text)
		if err != nil {
			tb.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	h := Holder{Certificate: p.issue(tb, template, l.Key.Public()), key: l.Key}
	for ca := p; ca.above != nil; ca = ca.above {
		h.Chain = append(h.Chain, ca.certificate)
	}
	return h
}

// Issues certifies another signer with the holder's own certificate, which says nothing of being a CA's.
func (h Holder) Issues(tb testing.TB, l Leaf) Holder {
	tb.Helper()
	out := (&PKI{certificate: h.Certificate, key: h.key}).Issue(tb, l)
	out.Chain = slices.Concat([]*x509.Certificate{h.Certificate}, h.Chain)
	return out
}

// ChainPEM returns the certificates above the signer's, and of more, in PEM.
func (h Holder) ChainPEM(more ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range slices.Concat(h.Chain, more) {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// String names the holder.
func (h Holder) String() string { return fmt.Sprintf("holder of %s", h.Certificate.Subject) }
