package verify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

const legacyType = "https://slsa.dev/provenance/v0.2"

// legacyLook asks an authority about one candidate for an image, of a legacy layout.
func legacyLook(t testing.TB, a verify.Authority, image v1.Hash, c verify.Candidate, now time.Time) verify.Findings {
	t.Helper()
	reg := verifytest.NewRegistry()
	reg.Attach(image, c)
	q := verify.Signatures(a)
	if c.Paper.Kind == verify.LegacyAttestation {
		var err error
		if q, err = verify.Statements(a, legacyType); err != nil {
			t.Fatal(err)
		}
	}
	out := newVerifier(t, verify.Options{Clock: func() time.Time { return now }}).Findings(t.Context(), reg, at(image), []verify.Question{q}, verify.Held)
	if len(out) != 1 || len(out[0].Unanswered) != 0 {
		t.Fatalf("findings %+v", out)
	}
	return out[0]
}

// legacyAccepted asserts that a candidate is evidence, at a time, and returns it.
func legacyAccepted(t *testing.T, a verify.Authority, image v1.Hash, c verify.Candidate, at time.Time) verify.Evidence {
	t.Helper()
	f := legacyLook(t, a, image, c, verifytest.Then().AddDate(0, 1, 0))
	if len(f.Evidence) != 1 || len(f.Misses) != 0 {
		t.Fatalf("evidence %+v, misses %+v; want one piece of evidence", f.Evidence, f.Misses)
	}
	e := f.Evidence[0]
	want := verify.CosignSign
	if c.Paper.Kind == verify.LegacyAttestation {
		want = legacyType
	}
	if e.Subject() != image || e.PredicateType() != want || e.Form() != verify.FormLegacy || !e.Time().Equal(at) || e.Who() == "" {
		t.Errorf("evidence of %s about %s by %s at %s, form %s; want it of %s about %s at %s",
			e.PredicateType(), e.Subject(), e.Who(), e.Time(), e.Form(), want, image, at)
	}
	return e
}

// legacyRefused asserts that a candidate is a miss, of a reason, and returns it.
func legacyRefused(t *testing.T, a verify.Authority, image v1.Hash, c verify.Candidate, want verify.MissReason) verify.Miss {
	t.Helper()
	f := legacyLook(t, a, image, c, verifytest.Then().AddDate(0, 1, 0))
	if len(f.Evidence) != 0 {
		t.Fatalf("it became evidence: %s at %s", f.Evidence[0].Who(), f.Evidence[0].Time())
	}
	if len(f.Misses) != 1 || f.Misses[0].Reason != want {
		t.Fatalf("misses %+v, want one of reason %d", f.Misses, want)
	}
	return f.Misses[0]
}

// legacySigner is an authority, with who signs for it.
type legacySigner struct {
	authority verify.Authority
	by        verifytest.Signing
	name      string // as Evidence.Who has it
}

// legacySigners are one of each kind. What they demand is as given; what is demanded comes with the signature.
func legacySigners(t testing.TB, s *verifytest.Sigstore, log, stamp verify.Demand, th verify.Thresholds) map[string]legacySigner {
	t.Helper()
	trust := s.Trust(t, th)
	terms := verify.Terms{Log: log, Timestamp: stamp, Trust: trust}
	someone := verifytest.Someone()
	id, err := verify.NewIdentity(verify.IdentitySpec{IssuerPattern: `https://issuer\.example\.(com|org)`, Subject: someone.Subject})
	if err != nil {
		t.Fatal(err)
	}
	keyless, err := verify.NewKeylessAuthority("keyless", trust, []verify.Identity{id}, terms)
	if err != nil {
		t.Fatal(err)
	}
	pki := verifytest.NewPKI(t, verifytest.Always())
	holder := pki.Intermediate(t, verifytest.Always()).Issue(t, verifytest.Leaf{DNS: []string{"build.example.com"}})
	bare := pki.Issue(t, verifytest.Leaf{})
	key := bare.BareKey(t)
	bare.Certificate = nil
	byKey, err := verify.NewKeyAuthority("key", []verify.Key{verifytest.NewSigner(t, 9).Key(), key}, terms)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]legacySigner{
		"a key":         {byKey, verifytest.Signing{Holder: &bare}, "key " + key.Fingerprint().String()},
		"keyless":       {keyless, verifytest.Signing{Person: &someone}, someone.Subject + " (" + someone.Issuer + ")"},
		"a certificate": {pki.Authority(t, "pki", terms, "build.example.com"), verifytest.Signing{Holder: &holder, Chain: true}, "build.example.com"},
	}
	for who, l := range out {
		if log == verify.Required {
			l.by.Logs = []verifytest.Log{verifytest.RekorV1Promise}
		}
		if stamp == verify.Required {
			l.by.Stamps = []int{0}
		}
		out[who] = l
	}
	return out
}

// legacyObject is a legacy signature or attestation about an image; a kind of entry tells which.
func legacyObject(t testing.TB, s *verifytest.Sigstore, by verifytest.Signing, image v1.Hash, kind verifytest.EntryKind) verify.Candidate {
	t.Helper()
	if kind == verifytest.HashedRekord || kind == verifytest.OldRekord {
		return s.LegacySignature(t, by, verifytest.SimpleSigning(image), kind)
	}
	return s.LegacyAttestation(t, by, verifytest.Statement(image, legacyType), kind, false)
}

// legacyWithout is a candidate without one of its annotations.
func legacyWithout(c verify.Candidate, annotation string) verify.Candidate {
	return legacyWith(c, annotation, "")
}

// legacyWith is a candidate with another annotation.
func legacyWith(c verify.Candidate, annotation, value string) verify.Candidate {
	c.Paper.Annotations = maps.Clone(c.Paper.Annotations)
	if delete(c.Paper.Annotations, annotation); value != "" {
		c.Paper.Annotations[annotation] = value
	}
	return c
}

var legacyKinds = []verifytest.EntryKind{
	verifytest.HashedRekord, verifytest.OldRekord, verifytest.DSSE, verifytest.Intoto, verifytest.OldIntoto,
}

func TestALegacyObjectWithALogEntryOfAnyKindIsEvidenceAtTheTimeOfTheEntry(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	for who, l := range legacySigners(t, s, verify.Required, verify.Unsaid, verify.DefaultThresholds()) {
		for _, kind := range legacyKinds {
			c := legacyObject(t, s, l.by, image, kind)
			t.Run(who+" with "+string(kind), func(t *testing.T) {
				t.Parallel()
				if e := legacyAccepted(t, l.authority, image, c, verifytest.Then()); e.Who() != l.name {
					t.Errorf("signed by %s, want %s", e.Who(), l.name)
				}
				m := legacyRefused(t, l.authority, image, legacyWithout(c, verifytest.LogAnnotation), verify.MissUnproven)
				if m.Lack != verify.LackLog {
					t.Errorf("without the entry it lacks %q: %s", m.Lack, m.Why)
				}
			})
		}
	}
}

func TestALegacyObjectWithATimestampIsEvidenceAtItsTime(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	later := verifytest.Then().Add(3 * time.Minute)
	for who, l := range legacySigners(t, s, verify.Optional, verify.Required, verify.DefaultThresholds()) {
		l.by.StampedAt = later
		for what, c := range map[string]verify.Candidate{
			"a signature": s.LegacySignature(t, l.by, verifytest.SimpleSigning(image), verifytest.HashedRekord),
			"an attestation whose signature is stamped, as by cosign 3": s.LegacyAttestation(t, l.by, verifytest.Statement(image, legacyType), verifytest.DSSE, false),
			"an attestation that is stamped as a whole, as by cosign 2": s.LegacyAttestation(t, l.by, verifytest.Statement(image, legacyType), verifytest.DSSE, true),
		} {
			t.Run(who+" with "+what, func(t *testing.T) {
				t.Parallel()
				legacyAccepted(t, l.authority, image, c, later)
				legacyRefused(t, l.authority, image, legacyWithout(c, verifytest.StampAnnotation), verify.MissUnproven)
				other := legacyWith(c, verifytest.StampAnnotation, `{"SignedRFC3161Timestamp":"`+base64.StdEncoding.EncodeToString(s.Stamp(t, 0, []byte("another message"), later))+`"}`)
				legacyRefused(t, l.authority, image, other, verify.MissUnproven)
				foreign := legacyWith(c, verifytest.StampAnnotation, `{"SignedRFC3161Timestamp":"`+base64.StdEncoding.EncodeToString(verifytest.NewSigstore(t).Stamp(t, 0, c.Payload, later))+`"}`)
				legacyRefused(t, l.authority, image, foreign, verify.MissUnproven)
			})
		}
	}
}

func TestALegacySignatureIsNotStampedByAStampOverItsPayload(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	for who, l := range legacySigners(t, s, verify.Optional, verify.Required, verify.DefaultThresholds()) {
		c := s.LegacySignature(t, l.by, verifytest.SimpleSigning(image), verifytest.HashedRekord)
		stamp := base64.StdEncoding.EncodeToString(s.Stamp(t, 0, c.Payload, verifytest.Then()))
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			legacyRefused(t, l.authority, image, legacyWith(c, verifytest.StampAnnotation, `{"SignedRFC3161Timestamp":"`+stamp+`"}`), verify.MissUnproven)
		})
	}
}

func TestALegacyObjectOfAKeyNeedsNothingMoreWhereNothingIsDemanded(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	bare := verifytest.NewPKI(t, verifytest.Always()).Issue(t, verifytest.Leaf{})
	a, err := verify.NewKeyAuthority("key", []verify.Key{bare.BareKey(t)}, verify.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	junk := map[string][]string{
		verifytest.LogAnnotation:         {"x", `{"SignedEntryTimestamp":"AAAA","Payload":{"body":7}}`, strings.Repeat(" ", verify.MaxLogAnnotation+1)},
		verifytest.StampAnnotation:       {"x", `{"SignedRFC3161Timestamp":"AAAA"}`, strings.Repeat(" ", verify.MaxStampAnnotation+1)},
		verifytest.CertificateAnnotation: {"\n", "x", strings.Repeat(" ", verify.MaxChainPEM+1)},
		verifytest.ChainAnnotation:       {"\n", "x", strings.Repeat(" ", verify.MaxChainPEM+1)},
	}
	for _, with := range []*verifytest.Holder{{}, &bare} { // with the key alone, and with a certificate of it
		h := bare
		if with != &bare {
			h.Certificate = nil
		}
		c := s.LegacySignature(t, verifytest.Signing{Holder: &h}, verifytest.SimpleSigning(image), verifytest.HashedRekord)
		legacyAccepted(t, a, image, c, time.Time{})
		for annotation, values := range junk {
			for _, value := range values {
				legacyAccepted(t, a, image, legacyWith(c, annotation, value), time.Time{})
			}
		}
	}
}

func TestALegacyObjectOfWhomItIsNotIsRefused(t *testing.T) {
	t.Parallel()
	s, other := verifytest.NewSigstore(t), verifytest.NewSigstore(t)
	image := verifytest.Digest("image")
	signers, strangers := legacySigners(t, s, verify.Required, verify.Unsaid, verify.DefaultThresholds()), legacySigners(t, s, verify.Required, verify.Unsaid, verify.DefaultThresholds())
	elsewhere := legacySigners(t, other, verify.Required, verify.Unsaid, verify.DefaultThresholds())
	for who, l := range signers {
		for _, kind := range legacyKinds {
			good := legacyObject(t, s, l.by, image, kind)
			stranger := strangers[who].by
			if who == "keyless" {
				stranger.Person = &verifytest.Person{Subject: "mallory@example.com", Issuer: stranger.Person.Issuer}
			}
			t.Run(who+" with "+string(kind), func(t *testing.T) {
				t.Parallel()
				if legacyLook(t, l.authority, image, legacyObject(t, s, stranger, image, kind), verifytest.Then()).Evidence != nil {
					t.Error("somebody else's is taken for the authority's")
				}
				legacyRefused(t, l.authority, image, legacyObject(t, s, l.by, verifytest.Digest("another"), kind), verify.MissOtherSubject)
				legacyRefused(t, l.authority, image, legacyObject(t, other, elsewhere[who].by, image, kind), map[string]verify.MissReason{
					"a key": verify.MissOtherSigner, "keyless": verify.MissUnproven, "a certificate": verify.MissUnproven,
				}[who])
				tampered := good
				tampered.Payload = legacyTampered(t, good)
				if legacyLook(t, l.authority, image, tampered, verifytest.Then()).Evidence != nil {
					t.Error("what was changed after it was signed is believed")
				}
			})
		}
	}
}

// legacyTampered changes what was signed, so that it still is about the image.
func legacyTampered(t testing.TB, c verify.Candidate) []byte {
	t.Helper()
	if c.Paper.Kind == verify.LegacySignature {
		return []byte(strings.Replace(string(c.Payload), `"optional":null`, `"optional":{}`, 1))
	}
	var env map[string]any
	if err := json.Unmarshal(c.Payload, &env); err != nil {
		t.Fatal(err)
	}
	payload, err := base64.StdEncoding.DecodeString(env["payload"].(string))
	if err != nil {
		t.Fatal(err)
	}
	env["payload"] = base64.StdEncoding.EncodeToString([]byte(strings.Replace(string(payload), `"predicate":{}`, `"predicate":{"a":1}`, 1)))
	out, err := json.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// hugeKey has a public key of RSA with twice as many bits as anybody's, and signs nothing.
type hugeKey struct{}

func (hugeKey) Public() crypto.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), 16383)
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}
}

func (hugeKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("a key that signs nothing")
}

func TestRow53_TheCertificatesOfALegacyObjectAreBounded(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	pki := verifytest.NewPKI(t, verifytest.Always())
	holder := pki.Intermediate(t, verifytest.Always()).Issue(t, verifytest.Leaf{DNS: []string{"build.example.com"}})
	huge := pki.Issue(t, verifytest.Leaf{CA: true, Key: hugeKey{}}).Certificate
	a := pki.Authority(t, "pki", verify.Terms{}, "build.example.com")
	c := s.LegacySignature(t, verifytest.Signing{Holder: &holder}, verifytest.SimpleSigning(image), verifytest.HashedRekord)
	own, chain := c.Paper.Annotations[verifytest.CertificateAnnotation], string(holder.ChainPEM())
	big := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: huge.Raw}))
	for what, tc := range map[string]struct {
		certificate, chain string
		ok                 bool
	}{
		"the chain where it belongs":               {own, chain, true},
		"the chain behind the certificate":         {own + chain, "", true},
		"half of it here, half of it there":        {own + chain, chain, true},
		"no chain":                                 {own, "", false},
		"as many certificates as there may be":     {own, strings.Repeat(chain, verify.MaxChain-1), true},
		"one more":                                 {own, strings.Repeat(chain, verify.MaxChain), false},
		"one more, behind the certificate":         {own + strings.Repeat(chain, verify.MaxChain), "", false},
		"as much text as there may be":             {own, chain + strings.Repeat("\n", verify.MaxChainPEM-len(chain)), true},
		"a byte more":                              {own, chain + strings.Repeat("\n", verify.MaxChainPEM-len(chain)+1), false},
		"a byte more, behind the certificate":      {own + chain + strings.Repeat("\n", verify.MaxChainPEM-len(own+chain)+1), "", false},
		"a certificate with a huge key beside":     {own, chain + big, false},
		"a certificate with a huge key at its end": {own + chain + big, "", false},
		"something behind the chain":               {own, chain + "x", false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := legacyWith(legacyWith(c, verifytest.CertificateAnnotation, tc.certificate), verifytest.ChainAnnotation, tc.chain)
			f := legacyLook(t, a, image, c, verifytest.Then())
			if (len(f.Evidence) == 1) != tc.ok {
				t.Fatalf("evidence %+v, misses %+v", f.Evidence, f.Misses)
			}
			if !tc.ok && tc.chain != "" && !strings.Contains(f.Misses[0].Why, verifytest.ChainAnnotation+" can't be read") {
				t.Errorf("the miss says %q", f.Misses[0].Why)
			}
		})
	}
	t.Run("more in both than there may be", func(t *testing.T) { // as if the chain weren't there
		t.Parallel()
		c := legacyWith(legacyWith(c, verifytest.CertificateAnnotation, own+strings.Repeat(own, 5)), verifytest.ChainAnnotation, strings.Repeat(chain, 5))
		legacyRefused(t, a, image, c, verify.MissUnproven)
	})
}

func TestALegacySignatureOfALargerCurveIsLoggedWithItsOwnHash(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := verifytest.NewPKI(t, verifytest.Always()).Issue(t, verifytest.Leaf{Key: key}) // signs with SHA-384
	a, err := verify.NewKeyAuthority("key", []verify.Key{h.BareKey(t)}, verify.Terms{Log: verify.Required, Trust: s.Trust(t, verify.DefaultThresholds())})
	if err != nil {
		t.Fatal(err)
	}
	h.Certificate = nil
	by := verifytest.Signing{Holder: &h, Logs: []verifytest.Log{verifytest.RekorV1Promise}}
	legacyAccepted(t, a, image, s.LegacySignature(t, by, verifytest.SimpleSigning(image), verifytest.HashedRekord384), verifytest.Then())
	legacyRefused(t, a, image, s.LegacySignature(t, by, verifytest.SimpleSigning(image), verifytest.HashedRekord), verify.MissUnproven)
}
