package compile

import (
	"fmt"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// judged is a policy, an image, and what a verifier that holds what it has read knows of it.
type judged struct {
	*verifytest.Registry
	t      *testing.T
	policy *policy.Policy
	image  policy.Image
	held   *verify.Verifier
}

// judge compiles a policy with requirements on what a signer, called release, says.
func judge(t *testing.T, by verifytest.Signer, require string) *judged {
	t.Helper()
	p, r := Compiler{}.Compile(t.Context(), mustDecode(t, namespaced(requiring(string(by.Key().PEM()), require))))
	if p.Unusable != "" {
		t.Fatalf("%s: %s", r.Reason, p.Unusable)
	}
	v, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	digest := verifytest.Digest("image")
	return &judged{Registry: verifytest.NewRegistry(), t: t, policy: p, held: v, image: policy.Image{
		Reference: reference(t, "registry.example.com/app@"+digest.String()), Digest: digest, Namespace: "payments", Now: verifytest.Then(),
	}}
}

// at judges at a time, by what is held.
func (j *judged) at(now time.Time) policy.Result {
	j.t.Helper()
	img := j.image
	img.Now = now
	know := func(digest v1.Hash, q verify.Question) verify.Findings {
		return j.held.Findings(j.t.Context(), j, img.Reference.Repository().Digest(digest.String()), []verify.Question{q}, verify.Held)[0]
	}
	return j.policy.Judge(img, know).Results[0]
}

// cleanScan is what trivy found in an image that has nothing to find, as cosign attests it.
func cleanScan(at time.Time) []byte {
	when := at.UTC().Format(time.RFC3339)
	return fmt.Appendf(nil, `{"invocation": {"parameters": null}, "scanner": {"uri": "pkg:github/aquasecurity/trivy@0.50.0", "version": "0.50.0", "db": {"uri": "", "version": ""},
		"result": {"SchemaVersion": 2, "ArtifactName": "app", "ArtifactType": "container_image", "Results": [{"Target": "app (debian 12)", "Class": "os-pkgs", "Type": "debian"}]}},
		"metadata": {"scanStartedOn": %q, "scanFinishedOn": %q}}`, when, when)
}

func spdx(at time.Time) []byte {
	return fmt.Appendf(nil, `{"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "app", "documentNamespace": "https://acme.example/app",
		"creationInfo": {"created": %q, "creators": ["Tool: test"]}, "packages": [{"name": "zlib", "SPDXID": "SPDXRef-zlib", "versionInfo": "1.3", "downloadLocation": "NOASSERTION", "licenseConcluded": "Zlib"}]}`,
		at.UTC().Format(time.RFC3339))
}

// Security.md row 80: a paper counts for the requirement that its signed type is of, and for no other, whatever it says besides.
func TestRow80_APaperOfAnotherTypeSatisfiesNothing(t *testing.T) {
	t.Parallel()
	release, now := verifytest.NewSigner(t, 1), verifytest.Then()
	for _, tt := range []struct {
		name, require, kind string
		predicate           []byte
		reason              policy.Reason
	}{
		{"a scan is a scan", "vulnerabilities: {by: [release], max: {critical: 0}}", predicate.TypeCosignVuln, cleanScan(now), policy.Verified},
		{"an SBOM is no scan", "vulnerabilities: {by: [release], max: {critical: 0}}", predicate.TypeSPDX, spdx(now), policy.NoScan},
		{"a scan under an SBOM's type is no scan", "vulnerabilities: {by: [release], max: {critical: 0}}", predicate.TypeSPDX, cleanScan(now), policy.NoScan},
		{"an SBOM is an SBOM", "sbom: {by: [release]}", predicate.TypeSPDX, spdx(now), policy.Verified},
		{"a scan is no SBOM", "sbom: {by: [release]}", predicate.TypeCosignVuln, cleanScan(now), policy.NoSBOM},
		{"a scan under an SBOM's type can't be read as one", "sbom: {by: [release]}", predicate.TypeSPDX, cleanScan(now), policy.PaperMalformed},
		{"an SBOM is no signature", "signature: {by: [release]}", predicate.TypeSPDX, spdx(now), policy.NoTrustedSignature},
		{"an SBOM is no provenance", "provenance: {by: [release], builders: [b]}", predicate.TypeSPDX, spdx(now), policy.NoProvenance},
		{"an SBOM is no test result", "tests: [{name: smoke, by: [release]}]", predicate.TypeSPDX, spdx(now), policy.NoTestResult},
		{"an SBOM is no approval", "approvals: {by: [release], environment: production}", predicate.TypeSPDX, spdx(now), policy.NoApproval},
		{"an SBOM is no promotion", "promotion: {by: [release], to: production}", predicate.TypeSPDX, spdx(now), policy.NoPromotion},
		{"an SBOM is no review", `custom: [{predicateType: "https://acme.example/review/v1", by: [release], rules: [{cel: "true", message: m}]}]`, predicate.TypeSPDX, spdx(now), policy.NoStatement},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			j := judge(t, release, tt.require)
			j.Attach(j.image.Digest, verifytest.Attest(release, tt.kind, tt.predicate, j.image.Digest))
			if got := j.at(now); got.Reason != tt.reason || got.Outcome.Passes() != (tt.reason == policy.Verified) {
				t.Errorf("%v %s: %s, want %s", got.Outcome, got.Reason, got.Detail, tt.reason)
			}
		})
	}
}

// Security.md row 92: what is held are facts. What hangs on the time, on the namespace and on the policy is judged anew each time, though nothing
// is read again.
func TestRow92_WhatIsHeldIsJudgedAnew(t *testing.T) {
	t.Parallel()
	release, now := verifytest.NewSigner(t, 1), verifytest.Then()
	const week = 7 * 24 * time.Hour
	j := judge(t, release, "vulnerabilities: {by: [release], max: {critical: 0}, maxAge: 168h}")
	j.Attach(j.image.Digest, verifytest.Attest(release, predicate.TypeCosignVuln, cleanScan(now), j.image.Digest))
	for _, tt := range []struct {
		name   string
		at     time.Time
		reason policy.Reason
	}{
		{"fresh", now, policy.Verified},
		{"as old as it may be", now.Add(week), policy.Verified},
		{"a second older", now.Add(week + time.Second), policy.TooOld},
		{"fresh again, by a clock that was set back", now, policy.Verified},
		{"dated ahead of the clock", now.Add(-time.Hour), policy.DatedAhead},
	} {
		if got := j.at(tt.at); got.Reason != tt.reason || got.Outcome.Passes() != (tt.reason == policy.Verified) {
			t.Errorf("%s: %v %s: %s, want %s", tt.name, got.Outcome, got.Reason, got.Detail, tt.reason)
		}
	}
	if lists, fetches := j.Counts(); lists != 1 || fetches != 1 {
		t.Errorf("%d listings, %d fetches: want that it was read once", lists, fetches)
	}

	j = judge(t, release, `custom: [{predicateType: "https://acme.example/review/v1", by: [release], rules: [{cel: "request.namespace == predicate.namespace", message: elsewhere}]}]`)
	j.Attach(j.image.Digest, verifytest.Attest(release, "https://acme.example/review/v1", []byte(`{"namespace": "payments"}`), j.image.Digest))
	if got := j.at(now); got.Reason != policy.Verified {
		t.Errorf("in its namespace: %s: %s", got.Reason, got.Detail)
	}
	j.image.Namespace = "orders"
	if got := j.at(now); got.Reason != policy.RuleViolated || got.Outcome.Passes() {
		t.Errorf("in another namespace: %s: %s, want RuleViolated", got.Reason, got.Detail)
	}
	if lists, fetches := j.Counts(); lists != 1 || fetches != 1 {
		t.Errorf("%d listings, %d fetches: want that it was read once", lists, fetches)
	}
}
