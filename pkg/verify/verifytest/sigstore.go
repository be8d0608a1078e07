package verifytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Hosts of a virtual instance's logs: the origins of their checkpoints.
const (
	rekorV1Host = "rekor1.example.com"
	rekorV2Host = "rekor2.example.com"
)

// Then is when things are signed unless told otherwise. Nothing here looks at the clock.
func Then() time.Time { return time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC) }

// Window is a time from and until when something is valid.
type Window struct{ From, Until time.Time }

// Always is a window of ten years around Then.
func Always() Window { return Window{Then().AddDate(-5, 0, 0), Then().AddDate(5, 0, 0)} }

// Before and After are halves of Always that leave Then out by an hour.
func Before() Window { return Window{Always().From, Then().Add(-time.Hour)} }

// After is the later half.
func After() Window { return Window{Then().Add(time.Hour), Always().Until} }

// Sigstore is an instance of Sigstore in memory: a Fulcio, a Rekor v1, a Rekor v2, a certificate transparency log and two timestamp
// authorities. What it signs is signed for real, with the times that it is told.
type Sigstore struct {
	fulcio         *PKI // the intermediate that issues
	rekor1, rekor2 *log
	ct             *log
	stampers       [2]*stamper
	counted        atomic.Int64 // entries, for tests that sign side by side
}

// log is a key that signs for a log.
type log struct {
	key *ecdsa.PrivateKey
	id  []byte
}

// stamper is a timestamp authority (RFC 3161).
type stamper struct {
	root, leaf *x509.Certificate
	key        *ecdsa.PrivateKey
}

// NewSigstore returns an instance with keys of its own.
func NewSigstore(tb testing.TB) *Sigstore {
	tb.Helper()
	s := &Sigstore{fulcio: NewPKI(tb, Always()).Intermediate(tb, Always()), rekor1: newLog(tb), rekor2: newLog(tb), ct: newLog(tb)}
	for i := range s.stampers {
		s.stampers[i] = newStamper(tb)
	}
	return s
}

func newLog(tb testing.TB) *log {
	tb.Helper()
	key := newKey(tb)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	id := sha256.Sum256(der)
	return &log{key, id[:]}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func newStamper(tb testing.TB) *stamper {
	tb.Helper()
	above := NewPKI(tb, Always())
	s := &stamper{root: above.certificate, key: newKey(tb)}
	s.leaf = above.issue(tb, &x509.Certificate{
		Subject: pkix.Name{CommonName: "timestamps"}, NotBefore: Always().From, NotAfter: Always().Until, KeyUsage: x509.KeyUsageDigitalSignature,
		// RFC 3161, 2.3: the extended key usage is critical.
		ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 37}, Critical: true, Value: mustASN1([]asn1.ObjectIdentifier{stampUsage()})}},
	}, s.key.Public())
	return s
}

// Parts are what a trusted root has of an instance, and how long each is valid; nil leaves it out.
type Parts struct{ Fulcio, RekorV1, RekorV2, CT, Timestamps *Window }

// All are all parts, for ever.
func All() Parts {
	w := Always()
	return Parts{&w, &w, &w, &w, &w}
}

// TrustedRoot returns the text of a trusted_root.json with all parts.
func (s *Sigstore) TrustedRoot(tb testing.TB) []byte {
	tb.Helper()
	return s.TrustedRootOf(tb, All())
}

// TrustedRootOf returns the text of a trusted_root.json with some parts.
func (s *Sigstore) TrustedRootOf(tb testing.TB, p Parts) []byte {
	tb.Helper()
	var fulcios []root.CertificateAuthority
	if p.Fulcio != nil {
		fulcios = append(fulcios, &root.FulcioCertificateAuthority{
			Root: s.fulcio.top(), Intermediates: []*x509.Certificate{s.fulcio.certificate}, URI: "https://fulcio.example.com",
			ValidityPeriodStart: p.Fulcio.From, ValidityPeriodEnd: p.Fulcio.Until,
		})
	}
	var stampers []root.TimestampingAuthority
	if p.Timestamps != nil {
		for i, t := range s.stampers {
			stampers = append(stampers, &root.SigstoreTimestampingAuthority{
				Root: t.root, Leaf: t.leaf, URI: "https://timestamp" + string(rune('1'+i)) + ".example.com",
				ValidityPeriodStart: p.Timestamps.From, ValidityPeriodEnd: p.Timestamps.Until,
			})
		}
	}
	rekors, cts := map[string]*root.TransparencyLog{}, map[string]*root.TransparencyLog{}
	s.rekor1.trusted(rekors, rekorV1Host, p.RekorV1)
	s.rekor2.trusted(rekors, rekorV2Host, p.RekorV2)
	s.ct.trusted(cts, "ct.example.com", p.CT)
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, fulcios, cts, stampers, rekors)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := trusted.MarshalJSON()
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func (l *log) trusted(all map[string]*root.TransparencyLog, host string, w *Window) {
	if w == nil {
		return
	}
	all[hex.EncodeToString(l.id)] = &root.TransparencyLog{
		BaseURL: "https://" + host, ID: l.id, HashFunc: crypto.SHA256, PublicKey: l.key.Public(), SignatureHashFunc: crypto.SHA256,
		ValidityPeriodStart: w.From, ValidityPeriodEnd: w.Until,
	}
}

// Trust returns the trust in the whole instance.
func (s *Sigstore) Trust(tb testing.TB, t verify.Thresholds) *verify.Trust {
	tb.Helper()
	return s.TrustOf(tb, All(), t)
}

// TrustOf returns the trust in some parts.
func (s *Sigstore) TrustOf(tb testing.TB, p Parts, t verify.Thresholds) *verify.Trust {
	tb.Helper()
	trust, err := verify.NewTrust([][]byte{s.TrustedRootOf(tb, p)}, t)
	if err != nil {
		tb.Fatal(err)
	}
	return trust
}

// Authority returns the keyless authority of one identity, exact.
func (s *Sigstore) Authority(tb testing.TB, name, issuer, subject string) verify.Authority {
	tb.Helper()
	id, err := verify.NewIdentity(verify.IdentitySpec{Issuer: issuer, Subject: subject})
	if err != nil {
		tb.Fatal(err)
	}
	a, err := verify.NewKeylessAuthority(name, s.Trust(tb, verify.DefaultThresholds()), []verify.Identity{id}, verify.Terms{})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func serial(tb testing.TB) *big.Int {
	tb.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
