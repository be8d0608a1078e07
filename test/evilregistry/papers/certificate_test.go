package papers_test

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

func TestCertificatesStandInTheKeysPlace(t *testing.T) {
	t.Parallel()
	ca, k, img := papers.NewCA(t), papers.NewKey(t, papers.P256), image(t)
	chain := ca.Issue(t, k, papers.Identity{Email: "lead@corp.example", Issuer: "https://issuer.test"})
	roots := &root.FulcioCertificateAuthority{Root: ca.Root, Intermediates: []*x509.Certificate{ca.Intermediate}}
	material := authority{roots}
	policy, err := verify.NewShortCertificateIdentity("https://issuer.test", "", "lead@corp.example", "")
	if err != nil {
		t.Fatal(err)
	}
	digest, err := hex.DecodeString(strings.TrimPrefix(img.DigestStr(), "sha256:"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		certs []*x509.Certificate
		opts  []papers.Option
		parse []bundle.Option
	}{
		"one, version 0.3":   {chain[:1], nil, nil},
		"chain, version 0.3": {chain, nil, []bundle.Option{bundle.AllowCertificateChain()}},
		"one, version 0.2":   {chain[:1], []papers.Option{papers.Version("0.2")}, nil},
		"chain, version 0.1": {chain, []papers.Option{papers.Version("0.1")}, nil},
	} {
		raw := papers.Bundle(t, img, k, papers.SignaturePredicate, struct{}{}, append(c.opts, papers.Certificates(c.certs...))...)
		pb, _ := parse(t, raw)
		b, err := bundle.NewBundle(pb, c.parse...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		v, err := verify.NewVerifier(material, verify.WithCurrentTime())
		if err != nil {
			t.Fatal(err)
		}
		result, err := v.Verify(b, verify.NewPolicy(verify.WithArtifactDigest("sha256", digest), verify.WithCertificateIdentity(policy)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := certificate.Summary{CertificateIssuer: result.Signature.Certificate.CertificateIssuer, SubjectAlternativeName: "lead@corp.example"}
		if got := *result.Signature.Certificate; got.SubjectAlternativeName != want.SubjectAlternativeName || got.Issuer != "https://issuer.test" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	_, annotations := papers.LegacySignature(t, img, k, papers.Certificates(chain...))
	for key, want := range map[string]*x509.Certificate{papers.CertificateAnnotation: chain[0], papers.ChainAnnotation: chain[1]} {
		block, rest := pem.Decode([]byte(annotations[key]))
		if block == nil || !bytes.Equal(block.Bytes, want.Raw) || len(rest) != 0 {
			t.Errorf("%s: %q", key, annotations[key])
		}
	}
}

// authority is trusted material of one certification authority.
type authority struct {
	ca *root.FulcioCertificateAuthority
}

func (authority) TimestampingAuthorities() []root.TimestampingAuthority { return nil }
func (a authority) FulcioCertificateAuthorities() []root.CertificateAuthority {
	return []root.CertificateAuthority{a.ca}
}
func (authority) RekorLogs() map[string]*root.TransparencyLog { return nil }
func (authority) CTLogs() map[string]*root.TransparencyLog    { return nil }
func (authority) PublicKeyVerifier(string) (root.TimeConstrainedVerifier, error) {
	return nil, fmt.Errorf("no keys")
}

func TestIssuedCertificatesSayWhatTheIdentitySays(t *testing.T) {
	t.Parallel()
	ca, k := papers.NewCA(t), papers.NewKey(t, papers.Ed25519)
	from := time.Now().Add(-48 * time.Hour).Truncate(time.Second)
	leaf := ca.Issue(t, k, papers.Identity{
		URI: "https://a.test/wf@refs/heads/main", DNS: "a.test", NotBefore: from, NotAfter: from.Add(time.Hour), NoCodeSigning: true,
	})[0]
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != "https://a.test/wf@refs/heads/main" || leaf.DNSNames[0] != "a.test" ||
		!leaf.NotBefore.Equal(from) || !leaf.NotAfter.Equal(from.Add(time.Hour)) || len(leaf.ExtKeyUsage) != 0 {
		t.Errorf("%+v", leaf)
	}
	pool, middle := x509.NewCertPool(), x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(ca.RootPEM())) {
		t.Fatal("RootPEM holds no certificate")
	}
	middle.AddCert(ca.Intermediate)
	at := func(when time.Time) error {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: middle, CurrentTime: when, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		return err
	}
	// The authority itself is valid from a day ago, after this leaf has ended.
	if at(time.Now()) == nil {
		t.Error("an expired certificate verifies")
	}
}
