package interop_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/interop"
)

// TestOneKeylessAuthorityTakesWhateverSawTheSignature: no switch says which log or layout it is. The same authority, by which a log or a
// timestamp will do, verifies what any cosign signed in any layout.
func TestOneKeylessAuthorityTakesWhateverSawTheSignature(t *testing.T) {
	t.Parallel()
	c, n := newCourt(t), 0
	for _, cell := range interop.Cells() {
		if s, ok := cell.Sample(interop.Signed); ok && strings.HasPrefix(string(cell.Signer), "keyless-") {
			n++
			t.Run(cell.Name, func(t *testing.T) {
				t.Parallel()
				a := c.authority(t, cell, verify.Terms{Log: verify.Optional, Timestamp: verify.Optional})
				accepted(t, cell, c.judge(t, interop.ServeCell(t, cell), cell, s, a))
			})
		}
	}
	if n < 20 {
		t.Errorf("%d cells are keyless", n)
	}
}

// TestACertificateThatHasExpiredCountsWhereATimestampSaysItHadNot: of an own PKI, when all its certificates are over.
func TestACertificateThatHasExpiredCountsWhereATimestampSaysItHadNot(t *testing.T) {
	t.Parallel()
	late, err := verify.NewVerifier(verify.Options{Clock: func() time.Time { return time.Date(2130, 1, 1, 0, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	c := newCourt(t)
	c.verifier = late
	for _, cell := range interop.Cells() {
		s, ok := cell.Sample(interop.Signed)
		if !ok || !strings.HasPrefix(string(cell.Signer), "pki") {
			continue
		}
		t.Run(cell.Name, func(t *testing.T) {
			t.Parallel()
			j := c.judge(t, interop.ServeCell(t, cell), cell, s, c.authority(t, cell, c.terms(cell.Signer)))
			if cell.Signer == interop.PKIRekor1 || cell.Signer == interop.PKITimestamp {
				accepted(t, cell, j)
				return
			}
			if len(j.findings.Evidence) > 0 || len(j.findings.Misses) != 1 || j.findings.Misses[0].Lack != verify.LackExpiredNow {
				t.Errorf("%s; misses %+v", j.result.Detail, j.findings.Misses)
			}
		})
	}
}

// TestAProofThatDoesntHoldIsAsIfItWerentThere: what is exchanged or changed of a log's or timestamp authority's word in these samples is all that
// is wrong with them. Where neither is demanded the signature is one, and has no time.
func TestAProofThatDoesntHoldIsAsIfItWerentThere(t *testing.T) {
	t.Parallel()
	c := newCourt(t)
	for _, cell := range interop.Cells() {
		if strings.HasPrefix(string(cell.Signer), "keyless") || cell.Refused != "" {
			continue
		}
		t.Run(cell.Name, func(t *testing.T) {
			t.Parallel()
			host, a := interop.ServeCell(t, cell), c.authority(t, cell, verify.Terms{Trust: c.trust})
			for _, state := range []interop.State{interop.TamperedProof, interop.Swapped} {
				s, ok := cell.Sample(state)
				if !ok {
					continue
				}
				j := c.judge(t, host, cell, s, a)
				if len(j.findings.Evidence) != 1 {
					t.Errorf("%s: refused: %s", state, j.result.Detail)
					continue
				}
				stamped := cell.Signer == interop.KeyRekor2 // its timestamp is left
				if at := j.findings.Evidence[0].Time(); at.IsZero() == stamped {
					t.Errorf("%s: seen at %s", state, at)
				}
			}
		})
	}
}

// TestALogIsDemandedOnlyOfThoseWhoHaveOne: whoever signed without what the terms demand is refused, and told what is missing.
func TestALogIsDemandedOnlyOfThoseWhoHaveOne(t *testing.T) {
	t.Parallel()
	c := newCourt(t)
	for _, cell := range interop.Cells() {
		s, ok := cell.Sample(interop.Signed)
		if !ok {
			continue
		}
		terms, lack := verify.Terms{Trust: c.trust}, verify.LackOther
		switch cell.Signer {
		case interop.KeyRekor1, interop.KeylessRekor1, interop.PKIRekor1:
			terms.Timestamp, lack = verify.Required, verify.LackStamp
		case interop.KeyTimestamp, interop.KeylessTimestamp, interop.PKITimestamp, interop.Key, interop.PKI:
			terms.Log, lack = verify.Required, verify.LackLog
		default:
			continue
		}
		t.Run(cell.Name, func(t *testing.T) {
			t.Parallel()
			j := c.judge(t, interop.ServeCell(t, cell), cell, s, c.authority(t, cell, terms))
			f := j.findings
			if len(f.Evidence) > 0 || len(f.Misses) != 1 || f.Misses[0].Reason != verify.MissUnproven || f.Misses[0].Lack != lack {
				t.Errorf("want it refused for %q: evidence %v, misses %+v", lack, f.Evidence, f.Misses)
			}
		})
	}
}

// TestAnAttestationOfTheseSignersIsNoSignature, and their signatures are no attestations.
func TestAnAttestationOfTheseSignersIsNoSignature(t *testing.T) {
	t.Parallel()
	c := newCourt(t)
	for _, cell := range interop.Cells() {
		s, ok := cell.Sample(interop.Signed)
		if !ok || !strings.HasPrefix(string(cell.Signer), "keyless") {
			continue
		}
		t.Run(cell.Name, func(t *testing.T) {
			t.Parallel()
			asked := cell
			asked.Attests = !cell.Attests
			j := c.judge(t, interop.ServeCell(t, cell), asked, s, c.authority(t, cell, c.terms(cell.Signer)))
			if len(j.findings.Evidence) > 0 || len(j.findings.Unanswered) > 0 {
				t.Errorf("evidence %v, unanswered %v", j.findings.Evidence, j.findings.Unanswered)
			}
		})
	}
}

// TestABundleOfCosign2NeedsTheIssuingCAAmongTheRoots: it has the certificate and not those above it, and so leads to no root but the CA that
// issued it.
func TestABundleOfCosign2NeedsTheIssuingCAAmongTheRoots(t *testing.T) {
	t.Parallel()
	c := newCourt(t)
	for _, cell := range interop.Cells() {
		s, ok := cell.Sample(interop.Signed)
		if !ok || cell.Signer != interop.PKI || cell.Layout != interop.Bundle || cell.Tool != interop.Cosign2 {
			continue
		}
		t.Run(cell.Name, func(t *testing.T) {
			t.Parallel()
			withChain := cell
			withChain.Tool = interop.Cosign3 // only the root is trusted for its bundles
			j := c.judge(t, interop.ServeCell(t, cell), cell, s, c.authority(t, withChain, verify.Terms{}))
			if len(j.findings.Misses) != 1 || j.findings.Misses[0].Lack != verify.LackChain {
				t.Errorf("%s; misses %+v", j.result.Detail, j.findings.Misses)
			}
		})
	}
}

// TestACellIsNothingToAnotherSigstore: with the trust root of a Sigstore that isn't the one that these were made with (the public one), no keyless
// cell verifies.
func TestACellIsNothingToAnotherSigstore(t *testing.T) {
	t.Parallel()
	public, err := verify.NewTrust([][]byte{trust.PublicGood()}, verify.DefaultThresholds())
	if err != nil {
		t.Fatal(err)
	}
	c := newCourt(t)
	c.trust = public
	for _, cell := range interop.Cells() {
		s, ok := cell.Sample(interop.Signed)
		if !ok || !strings.HasPrefix(string(cell.Signer), "keyless") {
			continue
		}
		t.Run(cell.Name, func(t *testing.T) {
			t.Parallel()
			j := c.judge(t, interop.ServeCell(t, cell), cell, s, c.authority(t, cell, verify.Terms{Log: verify.Optional, Timestamp: verify.Optional}))
			if len(j.findings.Evidence) > 0 || len(j.findings.Misses) != 1 || j.findings.Misses[0].Reason != verify.MissUnproven {
				t.Errorf("evidence %v, misses %+v", j.findings.Evidence, j.findings.Misses)
			}
		})
	}
}
