package verifytest

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	cttls "github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/google/certificate-transparency-go/x509util"
)

// stampUsage is id-kp-timeStamping (RFC 3161, 2.3).
func stampUsage() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8} }

// sctList is where a certificate keeps signed certificate timestamps (RFC 6962, 3.3).
func sctList() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2} }

// Person is whom a Fulcio confirms. The zero Person is nobody.
type Person struct {
	Subject string // an email address or a URI
	Issuer  string
	// Extensions are Fulcio's, by the last number of their OID (1.3.6.1.4.1.57264.1.N): 12 is sourceRepositoryURI.
	Extensions map[int]string
	// Valid is the certificate's window; zero: ten minutes around the signature.
	Valid Window
	// SCTs are the instances whose certificate transparency logs have seen it; nil: the one that signs. Empty: none.
	SCTs []*Sigstore
	// SCTAt is when they did; zero: when it was signed.
	SCTAt time.Time
}

// Someone is a person for tests that don't care.
func Someone() Person {
	return Person{Subject: "dev@example.com", Issuer: "https://issuer.example.com"}
}

// certify has the Fulcio confirm a person at a time.
func (s *Sigstore) certify(tb testing.TB, p Person, at time.Time) Holder {
	tb.Helper()
	if p.Valid == (Window{}) {
		p.Valid = Window{at.Add(-time.Minute), at.Add(9 * time.Minute)}
	}
	if p.SCTs == nil {
		p.SCTs = []*Sigstore{s}
	}
	if p.SCTAt.IsZero() {
		p.SCTAt = at
	}
	key := newKey(tb)
	template := func(scts []byte) *x509.Certificate {
		c := &x509.Certificate{
			SerialNumber: serial(tb), NotBefore: p.Valid.From, NotAfter: p.Valid.Until,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
			ExtraExtensions: p.extensions(),
		}
		if strings.Contains(p.Subject, "://") {
			u, err := url.Parse(p.Subject)
			if err != nil {
				tb.Fatal(err)
			}
			c.URIs = []*url.URL{u}
		} else if p.Subject != "" {
			c.EmailAddresses = []string{p.Subject}
		}
		if scts != nil {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: sctList(), Value: mustASN1(scts)})
		}
		return c
	}
	first := template([]byte{0, 0})
	if len(p.SCTs) == 0 {
		first = template(nil)
		return Holder{Certificate: s.fulcio.issue(tb, first, key.Public()), key: key}
	}
	// The logs sign what the certificate says without their signatures: so it is made twice.
	draft := s.fulcio.issue(tb, first, key.Public())
	last := template(s.timestamps(tb, draft, p))
	last.SerialNumber = first.SerialNumber
	return Holder{Certificate: s.fulcio.issue(tb, last, key.Public()), key: key}
}

// extensions are those of Fulcio: the issuer in both of its forms, and the others.
func (p Person) extensions() []pkix.Extension {
	at := func(n int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, n} }
	var out []pkix.Extension
	if p.Issuer != "" {
		out = append(out, pkix.Extension{Id: at(1), Value: []byte(p.Issuer)}, pkix.Extension{Id: at(8), Value: utf8String(p.Issuer)})
	}
	for _, n := range slices.Sorted(maps.Keys(p.Extensions)) {
		out = append(out, pkix.Extension{Id: at(n), Value: utf8String(p.Extensions[n])})
	}
	return out
}

func utf8String(s string) []byte {
	der, err := asn1.MarshalWithParams(s, "utf8")
	if err != nil {
		panic(err) // any text marshals
	}
	return der
}

// mustASN1 is the DER of an octet string, or of a list of object identifiers.
func mustASN1(value any) []byte {
	der, err := asn1.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("marshalling %T: %v", value, err)) // a mistake in this file
	}
	return der
}

// timestamps is the list of signed certificate timestamps of a certificate whose own list is still empty.
func (s *Sigstore) timestamps(tb testing.TB, draft *x509.Certificate, p Person) []byte {
	tb.Helper()
	parse := func(c *x509.Certificate) *ctx509.Certificate {
		out, err := ctx509.ParseCertificate(c.Raw)
		if ctx509.IsFatal(err) {
			tb.Fatal(err)
		}
		return out
	}
	chain := []*ctx509.Certificate{parse(draft), parse(s.fulcio.certificate)}
	var scts []*ct.SignedCertificateTimestamp
	for _, by := range p.SCTs {
		at := uint64(p.SCTAt.UnixMilli())
		leaf, err := ct.MerkleTreeLeafForEmbeddedSCT(chain, at)
		if err != nil {
			tb.Fatal(err)
		}
		sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, Timestamp: at}
		copy(sct.LogID.KeyID[:], by.ct.id)
		input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: *leaf})
		if err != nil {
			tb.Fatal(err)
		}
		signed, err := cttls.CreateSignature(*by.ct.key, cttls.SHA256, input)
		if err != nil {
			tb.Fatal(err)
		}
		sct.Signature = ct.DigitallySigned(signed)
		scts = append(scts, &sct)
	}
	list, err := x509util.MarshalSCTsIntoSCTList(scts)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := cttls.Marshal(*list)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}
