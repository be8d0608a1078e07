package papers_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// Whom the policies know, and whom they don't.
const (
	github   = "https://token.actions.githubusercontent.com"
	workflow = "https://github.com/acme/app/.github/workflows/release.yaml@refs/heads/main"
	intruder = "https://github.com/acme/app/.github/workflows/pull-request.yaml@refs/heads/main"
)

// signer signs papers. A bare key's have no time but their own; a workflow's certificate is logged, which tells it to the second.
type signer interface {
	// attest returns a bundle that states a predicate about some digests.
	attest(t testing.TB, at time.Time, kind, predicate string, about ...v1.Hash) verify.Candidate
	// legacy returns the same as cosign's .att layout has it.
	legacy(t testing.TB, at time.Time, kind, predicate string, about ...v1.Hash) verify.Candidate
}

// key is a bare key.
type key struct{ verifytest.Signer }

func (k key) attest(_ testing.TB, _ time.Time, kind, predicate string, about ...v1.Hash) verify.Candidate {
	return verifytest.Attest(k.Signer, kind, []byte(predicate), about...)
}

func (k key) legacy(t testing.TB, at time.Time, kind, predicate string, about ...v1.Hash) verify.Candidate {
	t.Helper()
	var bundle struct {
		Envelope json.RawMessage `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(k.attest(t, at, kind, predicate, about...).Payload, &bundle); err != nil {
		t.Fatal(err)
	}
	return verify.Candidate{Payload: bundle.Envelope, Paper: verify.Paper{
		Kind: verify.LegacyAttestation, Place: verify.PlaceAttestation, Size: int64(len(bundle.Envelope)),
		Digest: verifytest.Digest(string(bundle.Envelope)), Annotations: map[string]string{verifytest.SignatureAnnotation: "", "predicateType": kind},
	}}
}

// job is a workflow that a Fulcio knows.
type job struct {
	of   *verifytest.Sigstore
	name string
}

func (j job) signing(at time.Time) verifytest.Signing {
	return verifytest.Signing{
		Person: &verifytest.Person{Subject: j.name, Issuer: github, Extensions: map[int]string{9: j.name}}, At: at, Logs: []verifytest.Log{verifytest.RekorV1},
	}
}

func (j job) attest(t testing.TB, at time.Time, kind, predicate string, about ...v1.Hash) verify.Candidate {
	t.Helper()
	return j.of.Attest(t, j.signing(at), kind, []byte(predicate), about...)
}

func (j job) legacy(t testing.TB, at time.Time, kind, predicate string, about ...v1.Hash) verify.Candidate {
	t.Helper()
	c := j.of.LegacyAttestation(t, j.signing(at), verifytest.StatementOf(kind, []byte(predicate), about...), verifytest.DSSE, false)
	c.Paper.Annotations["predicateType"] = kind
	return c
}

// people are all who sign here.
type people struct {
	// release, lead, promoter and security are keys that the policies know, each for something else; stranger is one that they don't.
	release, lead, promoter, security, stranger key
	// ci is the workflow that they know; other is another of the same repository.
	ci, other job
	// authorities is how the policies name them, in YAML.
	authorities string
	// trustRoot is the document of the TrustRoot that they refer to.
	trustRoot string
}

// everybody is made once: keys are slow to make, and nobody changes them.
var everybody struct {
	sync.Once
	people
}

// everyone returns the same people for every test.
func everyone(t testing.TB) *people {
	t.Helper()
	everybody.Do(func() { everybody.meet(t) })
	if everybody.trustRoot == "" {
		t.Fatal("the people of these tests could not be made: see the first that failed")
	}
	return &everybody.people
}

// meet makes the keys of all, and how policies name them.
func (p *people) meet(t testing.TB) {
	t.Helper()
	known := func(seed byte) key { return key{verifytest.NewSigner(t, seed)} }
	p.release, p.lead, p.promoter, p.security, p.stranger = known(1), known(2), known(3), known(4), known(9)
	sigstore := verifytest.NewSigstore(t)
	p.ci, p.other = job{sigstore, workflow}, job{sigstore, intruder}
	var text strings.Builder
	for _, k := range []struct {
		name string
		key
	}{{"release", p.release}, {"lead", p.lead}, {"promoter", p.promoter}, {"security", p.security}} {
		text.WriteString("  - name: " + k.name + "\n    key:\n      data: |\n        " +
			strings.ReplaceAll(strings.TrimSpace(string(k.Key().PEM())), "\n", "\n        ") + "\n")
	}
	text.WriteString("  - name: ci\n    keyless:\n      trustRoot: here\n      identities: [{issuer: \"" + github + "\", subject: \"" + workflow + "\"}]\n")
	p.authorities = text.String()
	var compact bytes.Buffer
	if err := json.Compact(&compact, sigstore.TrustedRoot(t)); err != nil {
		t.Fatal(err)
	}
	quoted, err := json.Marshal(compact.String())
	if err != nil {
		t.Fatal(err)
	}
	p.trustRoot = "apiVersion: pratique.dev/v1alpha1\nkind: TrustRoot\nmetadata: {name: here}\nspec:\n  sources:\n  - data: " + string(quoted) + "\n"
}
