package conformance_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	identity = "https://github.com/acme/app/.github/workflows/release.yaml@refs/heads/main"
	issuer   = "https://token.actions.githubusercontent.com"

	rekor1Host, rekor1Tree = "rekor.example.test", 1193050959916656506
	rekor2Host             = "log2026.example.test"
)

// instance is a Sigstore instance in memory. Everything that it signs, it signed a month ago, around at.
type instance struct {
	t  *testing.T
	at time.Time

	root, intermediate *x509.Certificate
	ca                 *ecdsa.PrivateKey // the intermediate's
	ct                 *ecdsa.PrivateKey
	rekor1             *ecdsa.PrivateKey
	rekor2             ed25519.PrivateKey
	tsa                stamper
}

// stamper is a timestamp authority: its root, its leaf, and the leaf's key.
type stamper struct {
	root, leaf *x509.Certificate
	key        *ecdsa.PrivateKey
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	in := &instance{t: t, at: time.Now().Add(-30 * 24 * time.Hour).UTC().Truncate(time.Second)}
	in.root, in.intermediate, in.ca = in.newCA()
	in.ct, in.rekor1 = newKey(t), newKey(t)
	var err error
	if _, in.rekor2, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	in.tsa = in.newStamper(in.at.AddDate(-1, 0, 0), in.at.AddDate(9, 0, 0))
	return in
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newCA makes a root and an intermediate, whose subject is always the same.
func (in *instance) newCA() (root, intermediate *x509.Certificate, key *ecdsa.PrivateKey) {
	rootKey := newKey(in.t)
	template := x509.Certificate{
		Subject: pkix.Name{CommonName: "sigstore", Organization: []string{"sigstore.example"}}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: in.at.AddDate(-1, 0, 0), NotAfter: in.at.AddDate(9, 0, 0),
	}
	root = in.certificate(template, nil, rootKey, rootKey)
	key = newKey(in.t)
	template.Subject.CommonName = "sigstore-intermediate"
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	return root, in.certificate(template, root, key, rootKey), key
}

func (in *instance) newStamper(from, until time.Time) stamper {
	rootKey, key := newKey(in.t), newKey(in.t)
	root := in.certificate(x509.Certificate{
		Subject: pkix.Name{CommonName: "stamps"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: in.at.AddDate(-9, 0, 0), NotAfter: in.at.AddDate(9, 0, 0),
	}, nil, rootKey, rootKey)
	// RFC 3161, section 2.3: the only extended key usage, and critical.
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		in.t.Fatal(err)
	}
	leaf := in.certificate(x509.Certificate{
		Subject: pkix.Name{CommonName: "stamp"}, NotBefore: from, NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}, root, key, rootKey)
	return stamper{root, leaf, key}
}

// certificate signs a certificate for key; without a parent it is its own.
func (in *instance) certificate(template x509.Certificate, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	in.t.Helper()
	if template.SerialNumber == nil {
		template.SerialNumber = in.serial()
	}
	if parent == nil {
		parent = &template
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), signer)
	if err != nil {
		in.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		in.t.Fatal(err)
	}
	return c
}

func (in *instance) serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		in.t.Fatal(err)
	}
	return n
}

// leafSpec says which certificate Fulcio gives. The zero value is a good one, valid for ten minutes around at.
type leafSpec struct {
	from, until time.Time
	noSCT       bool
	ct          *ecdsa.PrivateKey // who signs the timestamp; nil: the instance's log
	extensions  []byte            // of the signed certificate timestamp
	subject     string
}

// leaf has Fulcio confirm the identity of a key's holder.
func (in *instance) leaf(spec leafSpec) (*x509.Certificate, *ecdsa.PrivateKey) {
	in.t.Helper()
	if spec.from.IsZero() {
		spec.from, spec.until = in.at.Add(-5*time.Minute), in.at.Add(5*time.Minute)
	}
	if spec.subject == "" {
		spec.subject = identity
	}
	name, err := url.Parse(spec.subject)
	if err != nil {
		in.t.Fatal(err)
	}
	by, err := asn1.MarshalWithParams(issuer, "utf8")
	if err != nil {
		in.t.Fatal(err)
	}
	key := newKey(in.t)
	template := x509.Certificate{
		SerialNumber: in.serial(), NotBefore: spec.from, NotAfter: spec.until, URIs: []*url.URL{name},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: by}},
	}
	cert := in.certificate(template, in.intermediate, key, in.ca)
	if spec.noSCT {
		return cert, key
	}
	// The log signs the certificate as it is without the extension that holds its timestamp (RFC 6962, section 3.2).
	template.ExtraExtensions = append(template.ExtraExtensions, in.sct(cert, spec))
	return in.certificate(template, in.intermediate, key, in.ca), key
}

// sct is a list of one signed certificate timestamp (RFC 6962, sections 3.2 and 3.3).
func (in *instance) sct(cert *x509.Certificate, spec leafSpec) pkix.Extension {
	in.t.Helper()
	signer := in.ct
	if spec.ct != nil {
		signer = spec.ct
	}
	issuerKey := sha256.Sum256(in.intermediate.RawSubjectPublicKeyInfo)
	at := uint64(in.at.UnixMilli())
	signed := binary.BigEndian.AppendUint64([]byte{0, 0}, at)
	signed = append(append(signed, 0, 1), issuerKey[:]...)
	size := len(cert.RawTBSCertificate)
	signed = append(append(signed, byte(size>>16), byte(size>>8), byte(size)), cert.RawTBSCertificate...)
	extensions := append(binary.BigEndian.AppendUint16(nil, uint16(len(spec.extensions))), spec.extensions...)
	signature := sign(in.t, signer, append(signed, extensions...))

	id := sha256.Sum256(pkixOf(in.t, in.ct.Public()))
	sct := binary.BigEndian.AppendUint64(append([]byte{0}, id[:]...), at)
	sct = append(append(sct, extensions...), 4, 3) // SHA-256, ECDSA
	sct = append(binary.BigEndian.AppendUint16(sct, uint16(len(signature))), signature...)
	list := append(binary.BigEndian.AppendUint16(nil, uint16(len(sct))), sct...)
	value, err := asn1.Marshal(append(binary.BigEndian.AppendUint16(nil, uint16(len(list))), list...))
	if err != nil {
		in.t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: value}
}

// stamp is a timestamp of a signature (RFC 3161).
func (s stamper) stamp(t *testing.T, signature []byte, at time.Time, embed bool) []byte {
	t.Helper()
	digest := sha256.Sum256(signature)
	stamp := timestamp.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: digest[:], Time: at, SerialNumber: big.NewInt(at.UnixNano()),
		Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}, AddTSACertificate: embed,
	}
	text, err := stamp.CreateResponseWithOpts(s.leaf, s.key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func sign(t *testing.T, key *ecdsa.PrivateKey, message []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(message)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func pkixOf(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pemOf(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkixOf(t, key)})
}

// trustedRoot is whom to believe: the instance and nobody else.
func (in *instance) trustedRoot() *prototrustroot.TrustedRoot {
	always := &protocommon.TimeRange{Start: timestamppb.New(in.at.AddDate(-1, 0, 0))}
	return &prototrustroot.TrustedRoot{
		MediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		Tlogs: []*prototrustroot.TransparencyLogInstance{
			in.log("https://"+rekor1Host, in.rekor1.Public(), logID(in.t, in.rekor1.Public()), always),
			in.log("https://"+rekor2Host, in.rekor2.Public(), in.rekor2ID(), always),
		},
		CertificateAuthorities: []*prototrustroot.CertificateAuthority{authority(always, in.intermediate, in.root)},
		Ctlogs:                 []*prototrustroot.TransparencyLogInstance{in.log("https://ct.example.test", in.ct.Public(), logID(in.t, in.ct.Public()), always)},
		TimestampAuthorities:   []*prototrustroot.CertificateAuthority{authority(always, in.tsa.leaf, in.tsa.root)},
	}
}

func (in *instance) log(url string, key crypto.PublicKey, id []byte, valid *protocommon.TimeRange) *prototrustroot.TransparencyLogInstance {
	details := protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256
	if _, ok := key.(ed25519.PublicKey); ok {
		details = protocommon.PublicKeyDetails_PKIX_ED25519
	}
	return &prototrustroot.TransparencyLogInstance{
		BaseUrl: url, HashAlgorithm: protocommon.HashAlgorithm_SHA2_256, LogId: &protocommon.LogId{KeyId: id},
		PublicKey: &protocommon.PublicKey{RawBytes: pkixOf(in.t, key), KeyDetails: details, ValidFor: valid},
	}
}

func authority(valid *protocommon.TimeRange, chain ...*x509.Certificate) *prototrustroot.CertificateAuthority {
	out := &prototrustroot.CertificateAuthority{Uri: "https://authority.example.test", CertChain: &protocommon.X509CertificateChain{}, ValidFor: valid}
	for _, c := range chain {
		out.CertChain.Certificates = append(out.CertChain.Certificates, &protocommon.X509Certificate{RawBytes: c.Raw})
	}
	return out
}

// logID is how a log of RFC 6962, and Rekor v1, is called: the SHA-256 of its key.
func logID(t *testing.T, key crypto.PublicKey) []byte {
	sum := sha256.Sum256(pkixOf(t, key))
	return sum[:]
}
