package interop_test

import (
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/interop"
)

// judged is a fixture under a policy that asks for signatures by some keys.
func judged(t *testing.T, f interop.Fixture, atLeast int, keys ...string) policy.Result {
	t.Helper()
	host := interop.Serve(t, f)
	client, err := registry.New(registry.Options{PlainHTTP: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var by []verify.Authority
	for _, k := range keys {
		parsed, err := verify.ParseKeys(interop.PublicKey(t, k))
		if err != nil {
			t.Fatal(err)
		}
		a, err := verify.NewKeyAuthority(k, parsed, verify.Terms{})
		if err != nil {
			t.Fatal(err)
		}
		by = append(by, a)
	}
	requirement, err := policy.NewSignature(by, atLeast)
	if err != nil {
		t.Fatal(err)
	}
	image, err := name.NewDigest(host + "/" + f.Repository + "@" + f.Digest)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := v1.NewHash(f.Digest)
	if err != nil {
		t.Fatal(err)
	}
	findings := verifier.Findings(t.Context(), client.With(registry.Credentials{}), image, verify.SignaturesBy(by...), verify.Held)
	return requirement.Judge(policy.Case{Digest: digest}, findings)
}

// TestWhatCosignMadeIsJudgedRight: cosign 2.6.5 and 3.1.3, legacy and bundle, referrers API and fallback tag. All eight verify; each with
// another key, with another image's signature, or with an SBOM attestation in its place, is refused, and the answer says which it was.
func TestWhatCosignMadeIsJudgedRight(t *testing.T) {
	t.Parallel()
	verified := 0
	for _, f := range interop.Fixtures() {
		want := policy.Result{Outcome: policy.Violated, Reason: policy.NoTrustedSignature}
		atLeast, keys := 1, []string{"a"}
		switch f.State {
		case interop.Signed:
			want = policy.Result{Outcome: policy.Satisfied, Reason: policy.Verified, Detail: "by a"}
			verified++
		case interop.OtherKey:
			want.Detail = "1 signature found (" + string(f.Layout) + "), none by a"
		case interop.OtherDigest:
			want.Detail = "for another digest, " + f.OtherDigest[:19]
		case interop.SBOMInstead:
			want.Detail = "https://spdx.dev/Document, which is not a signature"
		case interop.TwoSigners:
			want = policy.Result{Outcome: policy.Satisfied, Reason: policy.Verified, Detail: "by a"}
			atLeast, keys = 2, []string{"a", "b"}
		case interop.KeyType:
			want = policy.Result{Outcome: policy.Satisfied, Reason: policy.Verified, Detail: "by " + f.Signers[0]}
			keys = f.Signers
		default:
			t.Fatalf("%s: state %q is not known here", f.Name, f.State)
		}
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			got := judged(t, f, atLeast, keys...)
			if got.Outcome != want.Outcome || got.Reason != want.Reason || !strings.Contains(got.Detail, want.Detail) {
				t.Errorf("%s %s: %s\nwant %s %s: ...%s...", got.Outcome, got.Reason, got.Detail, want.Outcome, want.Reason, want.Detail)
			}
		})
	}
	if verified != 8 {
		t.Errorf("%d fixtures are signed, want the eight", verified)
	}
}

// TestRow63_TwoSignaturesByOneKeyAreOneSigner: of the images that a and b signed, a alone isn't two.
func TestRow63_TwoSignaturesByOneKeyAreOneSigner(t *testing.T) {
	t.Parallel()
	for _, f := range interop.Fixtures() {
		if f.State != interop.TwoSigners {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			got := judged(t, f, 2, "a", "p384")
			if got.Outcome != policy.Violated || got.Reason != policy.TooFewSigners {
				t.Errorf("%s %s: %s", got.Outcome, got.Reason, got.Detail)
			}
		})
	}
}
