package papers

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/url"
	"testing"
	"time"
)

// CA is a certification authority of the bring-your-own kind: a root, and an
// intermediate that issues.
type CA struct {
	Root         *x509.Certificate
	Intermediate *x509.Certificate
	key          Key // the intermediate's
}

// NewCA makes an authority whose certificates are valid from a day ago for a
// year.
func NewCA(t testing.TB) *CA {
	t.Helper()
	rootKey, key := NewKey(t, P256), NewKey(t, P256)
	from := time.Now().Add(-24 * time.Hour)
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: serial(t), Subject: pkix.Name{CommonName: name},
			NotBefore: from, NotAfter: from.AddDate(1, 0, 0),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
	}
	root := template("papers test root")
	root = certify(t, root, root, rootKey, rootKey)
	intermediate := template("papers test intermediate")
	intermediate.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	return &CA{Root: root, Intermediate: certify(t, intermediate, root, key, rootKey), key: key}
}

// RootPEM is the root, as a policy's `roots` would hold it.
func (ca *CA) RootPEM() string { return certificatesPEM([]*x509.Certificate{ca.Root}) }

// Identity is who a certificate says its holder is.
type Identity struct {
	Email  string // a subject alternative name
	URI    string // a subject alternative name
	DNS    string // a subject alternative name
	Issuer string // Fulcio's extension 1.3.6.1.4.1.57264.1.8; none if empty
	// NotBefore and NotAfter bound the certificate; zero means from an hour
	// ago, for a day.
	NotBefore, NotAfter time.Time
	// NoCodeSigning leaves out the extended key usage that sigstore asks for.
	NoCodeSigning bool
}

// Issue certifies a key and returns the chain without the root, leaf first: what
// Certificates takes.
func (ca *CA) Issue(t testing.TB, k Key, id Identity) []*x509.Certificate {
	t.Helper()
	leaf := &x509.Certificate{
		SerialNumber: serial(t), NotBefore: id.NotBefore, NotAfter: id.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if leaf.NotBefore.IsZero() {
		leaf.NotBefore = time.Now().Add(-time.Hour)
	}
	if leaf.NotAfter.IsZero() {
		leaf.NotAfter = leaf.NotBefore.Add(24 * time.Hour)
	}
	if !id.NoCodeSigning {
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	}
	if id.Email != "" {
		leaf.EmailAddresses = []string{id.Email}
	}
	if id.DNS != "" {
		leaf.DNSNames = []string{id.DNS}
	}
	if id.URI != "" {
		uri, err := url.Parse(id.URI)
		if err != nil {
			t.Fatal(err)
		}
		leaf.URIs = []*url.URL{uri}
	}
	if id.Issuer != "" {
		value, err := asn1.MarshalWithParams(id.Issuer, "utf8")
		if err != nil {
			t.Fatal(err)
		}
		leaf.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: value}}
	}
	return []*x509.Certificate{certify(t, leaf, ca.Intermediate, k, ca.key), ca.Intermediate}
}

func certify(t testing.TB, template, parent *x509.Certificate, subject, signer Key) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, subject.Private.Public(), signer.Private)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
