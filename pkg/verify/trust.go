package verify

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/root"
)

// Bounds of trusted material.
const (
	// MaxTrustedRoot bounds one trusted_root.json, in bytes: the public good instance's has 7 KiB and grows by a few
	// hundred bytes for each log that is replaced.
	MaxTrustedRoot = 256 << 10
	// MaxTrustedRoots bounds how many are united: one for each Sigstore instance, and two of one while it is replaced.
	MaxTrustedRoots = 8
	// maxThreshold bounds how many logs or timestamp authorities may be asked for: nobody runs more.
	maxThreshold = 8
)

// Thresholds say of how many distinct logs and authorities proof is asked, where it is asked at all.
type Thresholds struct {
	Logs       int // transparency logs
	Timestamps int // timestamp authorities
	SCTs       int // certificate transparency logs that a Fulcio certificate must be in; 0: it need not be in any
}

// DefaultThresholds ask for one of each, as the public good instance can give.
func DefaultThresholds() Thresholds { return Thresholds{Logs: 1, Timestamps: 1, SCTs: 1} }

// Trust is the material of one or several Sigstore instances that are trusted: certificate authorities, transparency logs, timestamp
// authorities. It isn't changed once made, and is safe to share.
type Trust struct {
	material    root.TrustedMaterial
	thresholds  Thresholds
	fingerprint Fingerprint

	logs, stampers int
}

// NewTrust reads trusted roots, as trusted_root.json has them (Sigstore protobuf-specs, TrustedRoot v0.1 and later), and unites them.
func NewTrust(roots [][]byte, t Thresholds) (*Trust, error) {
	switch {
	case len(roots) == 0:
		return nil, errors.New("no trusted root")
	case len(roots) > MaxTrustedRoots:
		return nil, fmt.Errorf("%d trusted roots, at most %d are united", len(roots), MaxTrustedRoots)
	case t.Logs < 1 || t.Logs > maxThreshold || t.Timestamps < 1 || t.Timestamps > maxThreshold:
		return nil, fmt.Errorf("thresholds of %d logs and %d timestamps: want 1 to %d of each", t.Logs, t.Timestamps, maxThreshold)
	case t.SCTs < 0 || t.SCTs > maxThreshold:
		return nil, fmt.Errorf("a threshold of %d signed certificate timestamps: want 0 to %d", t.SCTs, maxThreshold)
	}
	m := &material{rekors: map[string]*root.TransparencyLog{}, cts: map[string]*root.TransparencyLog{}}
	prints := make([]Fingerprint, 0, len(roots))
	for i, text := range roots {
		if len(text) > MaxTrustedRoot {
			return nil, fmt.Errorf("trusted root %d has %d bytes, over the bound of %d", i+1, len(text), MaxTrustedRoot)
		}
		r, err := root.NewTrustedRootFromJSON(text)
		if err != nil {
			return nil, fmt.Errorf("trusted root %d is no trusted_root.json: %w", i+1, err)
		}
		if err := m.unite(r); err != nil {
			return nil, fmt.Errorf("trusted root %d: %w", i+1, err)
		}
		prints = append(prints, digestOf(text))
	}
	slices.SortFunc(prints, func(a, b Fingerprint) int { return bytes.Compare(a[:], b[:]) })
	parts := [][]byte{[]byte("trust"), {byte(t.Logs), byte(t.Timestamps), byte(t.SCTs)}}
	for _, p := range slices.Compact(prints) {
		parts = append(parts, p[:])
	}
	stampers, apart := m.countStampers()
	trust := &Trust{material: m, thresholds: t, fingerprint: digestOf(parts...), logs: len(m.rekors), stampers: stampers}
	if t.Logs > 1 && !distinct(m.rekors) || t.SCTs > 1 && !distinct(m.cts) {
		return nil, errors.New("one key is that of two logs, so that more than one of them can't be asked for: a log would count twice")
	}
	if t.Timestamps > 1 && !apart {
		return nil, errors.New("one key is that of two timestamp authorities, so that more than one of them can't be asked for: an authority would count twice")
	}
	return trust, nil
}

// unite takes in what a trusted root has, once and for all. A log that two of them have, such as the one before and the one after
// the log was closed, is trusted from the earlier start until the later end, whichever comes first.
func (m *material) unite(r root.TrustedMaterial) error {
	m.fulcios, m.stampers = append(m.fulcios, r.FulcioCertificateAuthorities()...), append(m.stampers, r.TimestampingAuthorities()...)
	for _, logs := range []struct {
		all, more map[string]*root.TransparencyLog
	}{{m.rekors, r.RekorLogs()}, {m.cts, r.CTLogs()}} {
		for id, l := range logs.more {
			if err := uniteLog(logs.all, id, l); err != nil {
				return err
			}
		}
	}
	return nil
}

func uniteLog(all map[string]*root.TransparencyLog, id string, l *root.TransparencyLog) error {
	known, ok := all[id]
	if !ok {
		all[id] = l
		return nil
	}
	if key, ok := known.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !key.Equal(l.PublicKey) || strings.TrimSuffix(known.BaseURL, "/") != strings.TrimSuffix(l.BaseURL, "/") {
		return fmt.Errorf("log %s has another key or address in another trusted root", id)
	}
	both := *known
	if l.ValidityPeriodStart.Before(both.ValidityPeriodStart) { // a zero start is the earliest there is
		both.ValidityPeriodStart = l.ValidityPeriodStart
	}
	if l.ValidityPeriodEnd.IsZero() || !both.ValidityPeriodEnd.IsZero() && l.ValidityPeriodEnd.After(both.ValidityPeriodEnd) {
		both.ValidityPeriodEnd = l.ValidityPeriodEnd
	}
	all[id] = &both
	return nil
}

// distinct tells whether no two logs have one key: logs are counted by what they call themselves.
func distinct(logs map[string]*root.TransparencyLog) bool {
	seen := map[Fingerprint]bool{}
	for _, l := range logs {
		print, err := fingerprintOf(l.PublicKey)
		if err != nil || seen[print] {
			return false
		}
		seen[print] = true
	}
	return true
}

// countStampers counts the timestamp authorities by what they call themselves, as they are counted where they verify, and tells whether they are
// apart: no key, of a root, of who stamps or of whoever is between, is that of two.
func (m *material) countStampers() (n int, apart bool) {
	apart = true
	names, holders := map[string]bool{}, map[Fingerprint]string{}
	for _, s := range m.stampers {
		tsa, ok := s.(*root.SigstoreTimestampingAuthority)
		if !ok {
			return n, false
		}
		names[tsa.URI] = true
		for _, c := range slices.Concat(tsa.Intermediates, []*x509.Certificate{tsa.Root, tsa.Leaf}) {
			if c == nil {
				continue
			}
			print, err := fingerprintOf(c.PublicKey)
			if holder, known := holders[print]; err != nil || known && holder != tsa.URI {
				apart = false
			}
			holders[print] = tsa.URI
		}
	}
	return len(names), apart
}

// Fingerprint identifies the material and the thresholds.
func (t *Trust) Fingerprint() Fingerprint { return t.fingerprint }

// checkKeyless tells why no keyless signature could ever be verified by it.
func (t *Trust) checkKeyless() error {
	switch {
	case len(t.material.FulcioCertificateAuthorities()) == 0:
		return errors.New("the trust root has no certificate authority (Fulcio)")
	case len(t.material.CTLogs()) < t.thresholds.SCTs:
		return fmt.Errorf("the trust root has %d certificate transparency logs and asks for %d: where its Fulcio uses none, set the threshold of signed certificate timestamps to 0",
			len(t.material.CTLogs()), t.thresholds.SCTs)
	}
	return nil
}

// material is trusted material, read once. It has no keys of its own.
type material struct {
	root.BaseTrustedMaterial
	fulcios  []root.CertificateAuthority
	stampers []root.TimestampingAuthority
	rekors   map[string]*root.TransparencyLog
	cts      map[string]*root.TransparencyLog
}

// FulcioCertificateAuthorities implements root.TrustedMaterial.
func (m *material) FulcioCertificateAuthorities() []root.CertificateAuthority { return m.fulcios }

// TimestampingAuthorities implements root.TrustedMaterial.
func (m *material) TimestampingAuthorities() []root.TimestampingAuthority { return m.stampers }

// RekorLogs implements root.TrustedMaterial.
func (m *material) RekorLogs() map[string]*root.TransparencyLog { return m.rekors }

// CTLogs implements root.TrustedMaterial.
func (m *material) CTLogs() map[string]*root.TransparencyLog { return m.cts }

// withKey is trusted material with one key, whatever hint it is asked by: the policy says which key it is, and not the candidate.
type withKey struct {
	root.TrustedMaterial
	key root.TimeConstrainedVerifier
}

// PublicKeyVerifier implements root.TrustedMaterial.
func (w withKey) PublicKeyVerifier(string) (root.TimeConstrainedVerifier, error) { return w.key, nil }

// alsoStamped is trusted material whose timestamp authorities may have stamped another message than the signature: cosign 2 stamps
// the whole envelope of a legacy attestation, where everybody else stamps the signature in it (reference: api.md 2.4).
type alsoStamped struct {
	root.TrustedMaterial
	message []byte
}

// TimestampingAuthorities implements root.TrustedMaterial.
func (s alsoStamped) TimestampingAuthorities() []root.TimestampingAuthority {
	inner := s.TrustedMaterial.TimestampingAuthorities()
	out := make([]root.TimestampingAuthority, 0, len(inner))
	for _, tsa := range inner {
		out = append(out, eitherStamped{tsa, s.message})
	}
	return out
}

type eitherStamped struct {
	root.TimestampingAuthority
	message []byte
}

// Verify implements root.TimestampingAuthority.
func (e eitherStamped) Verify(stamp, signature []byte) (*root.Timestamp, error) {
	at, err := e.TimestampingAuthority.Verify(stamp, signature)
	if err == nil {
		return at, nil
	}
	return e.TimestampingAuthority.Verify(stamp, e.message)
}
