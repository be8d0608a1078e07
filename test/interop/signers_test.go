package interop_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/interop"
)

// years after the cells were made, when Fulcio's certificates and those of the timestamp authorities are long over, and what isn't to be
// expired of the PKI isn't.
func years() time.Time { return time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC) }

// court judges cells: one client for all of them, and one Verifier, which sees all the states of a repository side by side.
type court struct {
	trust    *verify.Trust
	verifier *verify.Verifier
}

func newCourt(t *testing.T) court {
	t.Helper()
	trust, err := verify.NewTrust([][]byte{interop.CellFile(t, "trusted_root.json")}, verify.DefaultThresholds())
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := verify.NewVerifier(verify.Options{Clock: years})
	if err != nil {
		t.Fatal(err)
	}
	return court{trust, verifier}
}

// terms are what is asked of a cell's signer beside the signature: exactly what the signer's name says.
func (c court) terms(signer interop.Signer) verify.Terms {
	switch signer {
	case interop.KeyRekor1, interop.PKIRekor1:
		return verify.Terms{Trust: c.trust, Log: verify.Required}
	case interop.KeyRekor2:
		return verify.Terms{Trust: c.trust, Log: verify.Required, Timestamp: verify.Required}
	case interop.KeyTimestamp, interop.PKITimestamp:
		return verify.Terms{Trust: c.trust, Timestamp: verify.Required}
	case interop.KeylessTimestamp:
		return verify.Terms{Log: verify.Optional, Timestamp: verify.Required}
	}
	return verify.Terms{}
}

// who is how the signer that a cell is asked for is named, and how the one of the state OtherIdentity.
func who(signer interop.Signer) (sought, other string) {
	switch kind, _, _ := strings.Cut(string(signer), "-"); kind {
	case "key":
		return "key", ""
	case "keyless":
		return interop.Developer, interop.OtherPerson
	}
	switch signer {
	case interop.PKIDNS:
		return interop.BuildHost, interop.OtherEmail
	case interop.PKISubject:
		return interop.ReleaseSubject, interop.OtherEmail
	}
	return interop.ReleaseEmail, interop.OtherEmail
}

// roots are what is trusted of the PKI. cosign 2.6.5 leaves the chain out of its bundles, so that the CAs that issue must be named for these.
func roots(t *testing.T, c interop.Cell) []byte {
	t.Helper()
	text := interop.CellFile(t, "root.pem")
	if c.Tool == interop.Cosign2 && c.Layout == interop.Bundle {
		text = append(append(text, interop.CellFile(t, "intermediate.pem")...), interop.CellFile(t, "expired-intermediate.pem")...)
	}
	return text
}

// authority is the one that a cell is asked for.
func (c court) authority(t *testing.T, cell interop.Cell, terms verify.Terms) verify.Authority {
	t.Helper()
	sought, _ := who(cell.Signer)
	var a verify.Authority
	var err error
	switch {
	case sought == "key":
		keys, bad := verify.ParseKeys(interop.CellFile(t, "key.pub"))
		if bad != nil {
			t.Fatal(bad)
		}
		a, err = verify.NewKeyAuthority("sought", keys, terms)
	case sought == interop.Developer:
		id, bad := verify.NewIdentity(verify.IdentitySpec{Issuer: interop.Issuer, Subject: sought})
		if bad != nil {
			t.Fatal(bad)
		}
		a, err = verify.NewKeylessAuthority("sought", c.trust, []verify.Identity{id}, terms)
	default:
		parsed, bad := verify.ParseRoots(roots(t, cell))
		if bad != nil {
			t.Fatal(bad)
		}
		id, bad := verify.NewCertificateIdentity(sought, "")
		if bad != nil {
			t.Fatal(bad)
		}
		a, err = verify.NewCertificateAuthority("sought", parsed, []verify.CertificateIdentity{id}, terms)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// judgment is what became of one sample.
type judgment struct {
	findings verify.Findings
	result   policy.Result // of a signature; an attestation has none yet
}

// judge asks for the sample's papers, over the real client.
func (c court) judge(t *testing.T, host string, cell interop.Cell, s interop.Sample, a verify.Authority) judgment {
	t.Helper()
	client, err := registry.New(registry.Options{PlainHTTP: []string{host}, Observe: func(r registry.RequestInfo) {
		if r.Registry != host {
			t.Errorf("a request for %s", r.Registry)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	image, err := name.NewDigest(host + "/" + cell.Repository + "@" + s.Digest)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := v1.NewHash(s.Digest)
	if err != nil {
		t.Fatal(err)
	}
	questions := verify.SignaturesBy(a)
	if cell.Attests {
		q, err := verify.Statements(a, interop.SPDX)
		if err != nil {
			t.Fatal(err)
		}
		questions = []verify.Question{q}
	}
	findings := c.verifier.Findings(t.Context(), client.With(registry.Credentials{}), image, questions, verify.Anew)
	j := judgment{findings: findings[0]}
	if !cell.Attests {
		requirement, err := policy.NewSignature([]verify.Authority{a}, 1)
		if err != nil {
			t.Fatal(err)
		}
		j.result = requirement.Judge(policy.Case{Digest: digest}, findings)
	}
	return j
}

// cause is why a sample must be refused: the reason, what is lacking where it claims to be by whom was sought, and words that must be in
// the claim.
type cause struct {
	reason verify.MissReason
	lack   verify.Lack
	claim  string
}

func (c cause) String() string {
	return fmt.Sprintf("reason %d, lack %q, claim %q", c.reason, c.lack, c.claim)
}

// wanted is why a sample of a cell must be refused.
func wanted(c interop.Cell, s interop.Sample) cause {
	kind, seen, _ := strings.Cut(string(c.Signer), "-")
	sought, other := who(c.Signer)
	logged := strings.HasPrefix(seen, "rekor") || c.Signer == interop.KeylessIntoto
	if kind == "key" {
		sought = ""
	}
	unproven := func(l verify.Lack) cause { return cause{verify.MissUnproven, l, sought} }
	switch s.State {
	case interop.OtherIdentity:
		return cause{verify.MissOtherSigner, 0, other}
	case interop.OtherIssuer:
		if kind == "keyless" {
			return cause{verify.MissOtherSigner, 0, interop.OtherTokens}
		}
		return unproven(verify.LackChain)
	case interop.OtherDigest:
		return cause{verify.MissOtherSubject, 0, s.OtherDigest}
	case interop.Expired, interop.ExpiredIssuer:
		if c.Signer == interop.PKI {
			return unproven(verify.LackExpiredNow)
		}
		return unproven(verify.LackExpired)
	case interop.Forged, interop.Tampered:
		if kind == "key" && c.Layout == interop.Legacy { // nothing says whose it is meant to be
			return cause{verify.MissOtherSigner, 0, ""}
		}
		return unproven(verify.LackSignature)
	case interop.TamperedProof:
		if logged {
			return unproven(verify.LackLogProof)
		}
		return unproven(verify.LackStampTrust)
	case interop.Swapped:
		if logged {
			return unproven(verify.LackLogMatch)
		}
		return unproven(verify.LackStampTrust)
	case interop.SwappedTimestamp:
		return unproven(verify.LackStampTrust)
	}
	return cause{}
}

// accepted checks what is known of a sample that must be accepted.
func accepted(t *testing.T, c interop.Cell, j judgment) bool {
	t.Helper()
	f := j.findings
	if len(f.Evidence) != 1 || len(f.Unanswered) > 0 || !c.Attests && j.result.Outcome != policy.Satisfied {
		t.Errorf("not accepted: %s; misses %+v, unanswered %v", j.result.Detail, f.Misses, f.Unanswered)
		return false
	}
	e := f.Evidence[0]
	want, form := verify.CosignSign, verify.Form(c.Layout)
	if c.Attests {
		want = interop.SPDX
	}
	sought, _ := who(c.Signer)
	if e.PredicateType() != want || e.Form() != form || !strings.HasPrefix(e.Who(), sought) {
		t.Errorf("evidence of type %s, packed as %s, by %s", e.PredicateType(), e.Form(), e.Who())
	}
	unseen := c.Signer == interop.Key || c.Signer == interop.PKI || c.Signer == interop.PKIDNS || c.Signer == interop.PKISubject
	if at := e.Time(); at.IsZero() != unseen || !unseen && (at.Year() < 2026 || at.After(years())) {
		t.Errorf("the signature was seen at %s", at)
	}
	return true
}

// refused checks that a sample was refused, and for the right cause.
func refused(t *testing.T, c interop.Cell, s interop.Sample, j judgment) bool {
	t.Helper()
	f := j.findings
	if len(f.Evidence) > 0 || len(f.Unanswered) > 0 || len(f.Misses) != 1 || !c.Attests && j.result.Outcome != policy.Violated {
		t.Errorf("%s: evidence by %v; misses %+v, unanswered %v", j.result.Outcome, f.Evidence, f.Misses, f.Unanswered)
		return false
	}
	m, want := f.Misses[0], wanted(c, s)
	if m.Reason != want.reason || m.Lack != want.lack || !strings.Contains(m.Claimed, want.claim) {
		t.Errorf("refused for %s (%s)\nwant %s", cause{m.Reason, m.Lack, m.Claimed}, m.Why, want)
	}
	if c.Attests {
		return true
	}
	says := m.Lack.String()
	switch want.reason {
	case verify.MissOtherSubject:
		says = "for another digest"
	case verify.MissOtherSigner:
		says = "none by sought"
	}
	if !strings.Contains(j.result.Detail, says) {
		t.Errorf("the answer is %q, want it to say %q", j.result.Detail, says)
	}
	return true
}

// TestEverySignerInEveryLayoutIsJudgedRight: every signer, in every layout, as each cosign made it, is accepted, and each of the states that
// must be refused is, for its cause. SIGNERS.md has the table of it.
func TestEverySignerInEveryLayoutIsJudgedRight(t *testing.T) {
	t.Parallel()
	all := judgeAll(t)
	golden(t, all.table())
}

// judgeAll judges every sample, and fails the test where one isn't judged right.
func judgeAll(t *testing.T) *tally {
	t.Helper()
	c, all := newCourt(t), &tally{right: map[string]int{}, of: map[string]int{}}
	t.Run("cells", func(t *testing.T) {
		for _, cell := range interop.Cells() {
			if cell.Refused != "" {
				continue
			}
			t.Run(cell.Name, func(t *testing.T) {
				t.Parallel()
				host, a := interop.ServeCell(t, cell), c.authority(t, cell, c.terms(cell.Signer))
				for _, s := range cell.Samples {
					t.Run(string(s.State), func(t *testing.T) {
						j := c.judge(t, host, cell, s, a)
						if s.State == interop.Signed {
							all.note(cell, s, accepted(t, cell, j))
						} else {
							all.note(cell, s, refused(t, cell, s, j))
						}
					})
				}
			})
		}
	})
	return all
}
