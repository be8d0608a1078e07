package keyless_test

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"os"
	"testing"

	"github.com/google/certificate-transparency-go/x509util"
	"github.com/google/go-cmp/cmp"
	"github.com/pratique-dev/pratique/test/keyless"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// issue gets a certificate from fulcio, as a client does.
func issue(ctx context.Context, s *keyless.Stack, token string) (*x509.Certificate, error) {
	pair, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, err
	}
	der, err := sign.NewFulcio(&sign.FulcioOptions{BaseURL: s.Fulcio}).GetCertificate(ctx, pair, &sign.CertificateProviderOptions{IDToken: token})
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// verifySCT checks a certificate's chain and its one embedded SCT against a
// trusted root.
func verifySCT(trusted []byte, c *x509.Certificate) error {
	material, err := root.NewTrustedRootFromJSON(trusted)
	if err != nil {
		return err
	}
	chains, err := verify.VerifyLeafCertificate(c.NotBefore, c, material)
	if err != nil {
		return err
	}
	return verify.VerifySignedCertificateTimestamp(chains, 1, material)
}

func TestACertificateSaysWhatTheTokenSaid(t *testing.T) {
	t.Parallel()
	s := start(t, keyless.Options{
		Without: keyless.Parts()[1:],
		Issuers: []keyless.Issuer{{URL: "http://plain.example.org/of/any/path", Kind: keyless.Emails}},
	})
	other := start(t, keyless.Options{Without: keyless.Parts()[1:]})
	const release = "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"
	for _, test := range []struct {
		name string
		keyless.Claims
		issuer, san string
		extensions  certificate.Extensions // what is checked of them, beside the issuer
	}{
		{"a person", keyless.Claims{Email: "dev@example.com"}, keyless.EmailIssuer, "dev@example.com", certificate.Extensions{}},
		{"the same person at another issuer", keyless.Claims{Email: "dev@example.com", Issuer: keyless.OtherIssuer},
			keyless.OtherIssuer, "dev@example.com", certificate.Extensions{}},
		{"an issuer of plain http with a path", keyless.Claims{Email: "dev@example.com", Issuer: "http://plain.example.org/of/any/path"},
			"http://plain.example.org/of/any/path", "dev@example.com", certificate.Extensions{}},
		{"a workload", keyless.Claims{Subject: keyless.URIIssuer + "/ns/build"}, keyless.URIIssuer, keyless.URIIssuer + "/ns/build", certificate.Extensions{}},
		{"a GitHub workflow", keyless.Claims{GitHub: &keyless.Workflow{Repository: "acme/app"}}, keyless.GitHubIssuer, release, certificate.Extensions{
			SourceRepositoryURI: "https://github.com/acme/app", SourceRepositoryRef: "refs/heads/main", SourceRepositoryOwnerURI: "https://github.com/acme",
			RunnerEnvironment: "github-hosted", BuildTrigger: "push", BuildConfigURI: release, SourceRepositoryVisibilityAtSigning: "public",
			RunInvocationURI: "https://github.com/acme/app/actions/runs/42/attempts/1",
		}},
		{"a reusable workflow on a runner of one's own", keyless.Claims{GitHub: &keyless.Workflow{
			Repository: "acme/app", Ref: "refs/tags/v1", Event: "release", Runner: "self-hosted", Environment: "production",
			Signer: "acme/shared/.github/workflows/sign.yml@refs/tags/v2",
		}}, keyless.GitHubIssuer, "https://github.com/acme/shared/.github/workflows/sign.yml@refs/tags/v2", certificate.Extensions{
			SourceRepositoryURI: "https://github.com/acme/app", SourceRepositoryRef: "refs/tags/v1", SourceRepositoryOwnerURI: "https://github.com/acme",
			RunnerEnvironment: "self-hosted", BuildTrigger: "release", SourceRepositoryVisibilityAtSigning: "public",
			BuildConfigURI:   "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1",
			RunInvocationURI: "https://github.com/acme/app/actions/runs/42/attempts/1",
		}},
		{"a GitLab pipeline", keyless.Claims{Issuer: keyless.GitLabIssuer, Extra: keyless.GitLab("acme/app")},
			keyless.GitLabIssuer, "https://gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main", certificate.Extensions{
				SourceRepositoryURI: "https://gitlab.com/acme/app", SourceRepositoryRef: "refs/heads/main", SourceRepositoryOwnerURI: "https://gitlab.com/acme",
				RunnerEnvironment: "gitlab-hosted", BuildTrigger: "push", BuildConfigURI: "https://gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main",
				SourceRepositoryVisibilityAtSigning: "public", RunInvocationURI: "https://gitlab.com/acme/app/-/jobs/44",
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := issue(t.Context(), s, token(t, s, test.Claims))
			if err != nil {
				t.Fatal(err)
			}
			summary, err := certificate.SummarizeCertificate(c)
			if err != nil {
				t.Fatal(err)
			}
			if summary.Issuer != test.issuer || summary.SubjectAlternativeName != test.san {
				t.Errorf("says %s of %s, want %s of %s", summary.SubjectAlternativeName, summary.Issuer, test.san, test.issuer)
			}
			got := certificate.Extensions{
				SourceRepositoryURI: summary.SourceRepositoryURI, SourceRepositoryRef: summary.SourceRepositoryRef,
				SourceRepositoryOwnerURI: summary.SourceRepositoryOwnerURI, RunnerEnvironment: summary.RunnerEnvironment,
				BuildTrigger: summary.BuildTrigger, BuildConfigURI: summary.BuildConfigURI, RunInvocationURI: summary.RunInvocationURI,
				SourceRepositoryVisibilityAtSigning: summary.SourceRepositoryVisibilityAtSigning,
			}
			if diff := cmp.Diff(test.extensions, got); diff != "" {
				t.Error(diff)
			}
			if err := verifySCT(s.TrustedRoot(), c); err != nil {
				t.Error(err)
			}
			if err := verifySCT(other.TrustedRoot(), c); err == nil {
				t.Error("another stack's root took it for its own")
			}
		})
	}
}

func TestFulcioRefusesATokenThatIsNotTheIssuers(t *testing.T) {
	t.Parallel()
	without := keyless.Parts()[1:]
	s, other := start(t, keyless.Options{Without: without}), start(t, keyless.Options{Without: without})
	for name, text := range map[string]string{
		"signed by another":      token(t, other, keyless.Claims{Email: "dev@example.com"}),
		"of an unknown issuer":   token(t, s, keyless.Claims{Email: "dev@example.com", Issuer: "https://unknown.example.com"}),
		"out of date":            token(t, s, keyless.Claims{Email: "dev@example.com", Extra: map[string]any{"exp": 1}}),
		"for somebody else":      token(t, s, keyless.Claims{Email: "dev@example.com", Extra: map[string]any{"aud": "else"}}),
		"of an email unverified": token(t, s, keyless.Claims{Email: "dev@example.com", Extra: map[string]any{"email_verified": false}}),
	} {
		if c, err := issue(t.Context(), s, text); err == nil {
			t.Errorf("a token %s got a certificate for %s", name, c.EmailAddresses)
		}
	}
}

func TestWithoutACTLogCertificatesHaveNoSCT(t *testing.T) {
	t.Parallel()
	s := start(t, keyless.Options{Without: keyless.Parts()})
	c, err := issue(t.Context(), s, token(t, s, keyless.Claims{Email: "dev@example.com"}))
	if err != nil {
		t.Fatal(err)
	}
	if scts, err := x509util.ParseSCTsFromCertificate(c.Raw); err != nil || len(scts) != 0 {
		t.Errorf("got %d SCTs, %v", len(scts), err)
	}
	poison := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}
	for _, e := range c.Extensions {
		if e.Id.Equal(poison) {
			t.Error("got a precertificate")
		}
	}
	trusted, err := root.NewTrustedRootFromJSON(s.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(trusted.CTLogs()) + len(trusted.RekorLogs()) + len(trusted.TimestampingAuthorities()); n != 0 || s.Rekor1+s.Rekor2+s.Timestamping+s.OffTimestamping != "" {
		t.Errorf("the trusted root has %d logs and timestamp authorities of parts left out", n)
	}
	if _, err := s.SigningConfig(keyless.RekorV1); err == nil {
		t.Error("got a signing config with a log that doesn't run")
	}
}

func TestAfterCloseNothingIsLeft(t *testing.T) {
	t.Parallel()
	s := start(t, keyless.Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", s.Dir, err)
	}
	for _, url := range []string{s.Fulcio, s.Rekor1, s.Rekor2, s.Timestamping, s.OffTimestamping} {
		if answers(t.Context(), url) {
			t.Errorf("%s still answers", url)
		}
	}
}
