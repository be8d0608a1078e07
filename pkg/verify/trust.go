package verify

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

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
	var united root.TrustedMaterialCollection
	prints := make([]Fingerprint, 0, len(roots))
	for i, text := range roots {
		if len(text) > MaxTrustedRoot {
			return nil, fmt.Errorf("trusted root %d has %d bytes, over the bound of %d", i+1, len(text), MaxTrustedRoot)
		}
		r, err := root.NewTrustedRootFromJSON(text)
		if err != nil {
			return nil, fmt.Errorf("trusted root %d is no trusted_root.json: %w", i+1, err)
		}
		united = append(united, r)
		prints = append(prints, digestOf(text))
	}
	// Read once: a collection puts its maps together anew for each question.
	m := &material{
		fulcios: united.FulcioCertificateAuthorities(), stampers: united.TimestampingAuthorities(),
		rekors: united.RekorLogs(), cts: united.CTLogs(),
	}
	slices.SortFunc(prints, func(a, b Fingerprint) int { return bytes.Compare(a[:], b[:]) })
	parts := [][]byte{[]byte("trust"), {byte(t.Logs), byte(t.Timestamps), byte(t.SCTs)}}
	for _, p := range slices.Compact(prints) {
		parts = append(parts, p[:])
	}
	return &Trust{
		material: m, thresholds: t, fingerprint: digestOf(parts...),
		logs: len(m.rekors), stampers: len(m.stampers),
	}, nil
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
