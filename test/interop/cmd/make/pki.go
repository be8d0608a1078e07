package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"
	"path/filepath"
	"time"

	"github.com/pratique-dev/pratique/test/interop"
)

// Years of certificates: what isn't to be expired outlives the fixtures' use.
const (
	firstYear = 2020
	pastYear  = 2021
	lastYear  = 2120
)

// issuer is a CA of an own PKI.
type issuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	above       *issuer
}

// leafFor names the certificate that signs.
func leafFor(signer interop.Signer, state interop.State) string {
	switch state {
	case interop.OtherIdentity:
		return "other-leaf"
	case interop.OtherIssuer:
		return "stranger"
	case interop.Expired:
		return "expired"
	case interop.ExpiredIssuer:
		return "expired-issuer"
	}
	switch signer {
	case interop.PKIDNS:
		return "dns"
	case interop.PKISubject:
		return "subject"
	}
	return "email"
}

// makePKI makes an own PKI: what signs goes into the tools' folders, brought in by their import-key-pair, and what is trusted into out.
func makePKI(ctx context.Context, w *workbench, out string) error {
	root, err := newIssuer("Acme Root CA", lastYear, nil)
	if err != nil {
		return err
	}
	intermediate, err := newIssuer("Acme Signing CA", lastYear, root)
	if err != nil {
		return err
	}
	expired, err := newIssuer("Acme Signing CA of 2020", pastYear, root)
	if err != nil {
		return err
	}
	strangerRoot, err := newIssuer("Acme Root CA", lastYear, nil)
	if err != nil {
		return err
	}
	stranger, err := newIssuer("Acme Signing CA", lastYear, strangerRoot)
	if err != nil {
		return err
	}
	release := pkix.Name{Organization: []string{"Acme"}, CommonName: "release"}
	email := x509.Certificate{Subject: pkix.Name{CommonName: "email"}, EmailAddresses: []string{interop.ReleaseEmail}}
	for _, l := range []struct {
		name     string
		template x509.Certificate
		until    int
		by       *issuer
	}{
		{"email", email, lastYear, intermediate},
		{"dns", x509.Certificate{Subject: pkix.Name{CommonName: "dns"}, DNSNames: []string{interop.BuildHost}}, lastYear, intermediate},
		{"subject", x509.Certificate{Subject: release}, lastYear, intermediate},
		{"other-leaf", x509.Certificate{Subject: pkix.Name{CommonName: "other"}, EmailAddresses: []string{interop.OtherEmail}}, lastYear, intermediate},
		{"stranger", email, lastYear, stranger},
		{"expired", email, pastYear, intermediate},
		{"expired-issuer", email, lastYear, expired},
	} {
		l.template.KeyUsage, l.template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		certificate, key, err := issue(l.template, l.until, l.by)
		if err != nil {
			return err
		}
		if err := w.bringIn(ctx, l.name, certificate, key, l.by); err != nil {
			return err
		}
	}
	for name, ca := range map[string]*issuer{"root.pem": root, "intermediate.pem": intermediate, "expired-intermediate.pem": expired} {
		if err := os.WriteFile(filepath.Join(out, name), certificatePEM(ca.certificate), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func newIssuer(name string, until int, by *issuer) (*issuer, error) {
	certificate, key, err := issue(x509.Certificate{
		Subject: pkix.Name{Organization: []string{"Acme"}, CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, until, by)
	return &issuer{certificate, key, by}, err
}

// issue makes a certificate with a new key; without an issuer it signs itself.
func issue(template x509.Certificate, until int, by *issuer) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template.NotBefore = time.Date(firstYear, 1, 1, 0, 0, 0, 0, time.UTC)
	template.NotAfter = time.Date(until, 1, 1, 0, 0, 0, 0, time.UTC)
	parent, signer := &template, key
	if by != nil {
		parent, signer = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, key, err
}

// bringIn has both tools import a key, and lays its certificate and those above beside it.
func (w *workbench) bringIn(ctx context.Context, name string, certificate *x509.Certificate, key *ecdsa.PrivateKey, by *issuer) error {
	if err := w.imported(ctx, name, key); err != nil {
		return err
	}
	var chain bytes.Buffer
	for ; by != nil; by = by.above {
		chain.Write(certificatePEM(by.certificate))
	}
	for _, tool := range tools() {
		for file, body := range map[string][]byte{name + ".crt": certificatePEM(certificate), name + "-chain.crt": chain.Bytes()} {
			if err := os.WriteFile(filepath.Join(w.dirs[tool], file), body, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

func certificatePEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
