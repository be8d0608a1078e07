package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// parsed reads every certificate of a PEM text, which has nothing else.
func parsed(t *testing.T, text []byte) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for len(text) > 0 {
		block, rest := pem.Decode(text)
		if block == nil {
			t.Fatalf("no PEM: %.40q", text)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out, text = append(out, c), rest
	}
	return out
}

func TestThePublicAuthoritiesAreAuthoritiesAndMoreThanAHundred(t *testing.T) {
	t.Parallel()
	text := public()
	if err := onlyCertificates(text); err != nil {
		t.Fatal(err)
	}
	all := parsed(t, text)
	if len(all) <= 100 {
		t.Errorf("only %d", len(all))
	}
	names := map[string]bool{}
	for _, c := range all {
		names[c.Subject.CommonName] = true
		if !c.IsCA || !bytes.Equal(c.RawIssuer, c.RawSubject) {
			t.Errorf("%s is no root", c.Subject)
		}
	}
	// Who signs for ghcr.io and docker.io, ECR, GAR, ACR and everybody's own.
	for _, name := range []string{
		"USERTrust ECC Certification Authority", "Amazon Root CA 1", "GTS Root R1", "DigiCert Global Root G2", "ISRG Root X1",
	} {
		if !names[name] {
			t.Errorf("%s isn't among them", name)
		}
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		t.Error("Go reads no certificate in them")
	}
}

func TestAnAuthorityThatIsTrustedOnlyForThePastIsLeftOut(t *testing.T) {
	t.Parallel()
	has := map[string]bool{}
	for _, c := range parsed(t, public()) {
		has[string(c.Raw)] = true
	}
	for root := range bundle.Roots() {
		if is, want := has[string(root.Certificate)], root.Constraint == nil; is != want {
			c, err := x509.ParseCertificate(root.Certificate)
			if err != nil {
				t.Fatal(err)
			}
			t.Errorf("%s: there is %v, want %v", c.Subject, is, want)
		}
	}
}

func TestThePublicAuthoritiesAreTheSameEveryTime(t *testing.T) {
	t.Parallel()
	if !bytes.Equal(public(), public()) {
		t.Error("they differ")
	}
}

// authority makes a certificate and its key, as PEM.
func authority(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority of one's own"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func TestAFileOfAuthoritiesTakesThePlaceOfThePublicOnes(t *testing.T) {
	t.Parallel()
	one, _ := authority(t)
	other, _ := authority(t)
	file := filepath.Join(t.TempDir(), "authorities.pem")
	text := bytes.Join([][]byte{[]byte("# ours\n"), one, []byte("\n"), other}, nil)
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := authorities(file)
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("got %v, %q", err, got)
	}
	var shown bytes.Buffer
	if err := showCertificates(&shown, file); err != nil || !bytes.Equal(shown.Bytes(), text) {
		t.Errorf("shown: %v, %q", err, shown.Bytes())
	}
	if shown.Reset(); showCertificates(&shown, "") != nil || !bytes.Equal(shown.Bytes(), public()) {
		t.Error("without a file, the public ones aren't shown")
	}
}

func TestAFileOfMoreOrLessThanCertificatesIsRefused(t *testing.T) {
	t.Parallel()
	good, key := authority(t)
	dir := t.TempDir()
	for name, test := range map[string]struct {
		text []byte
		want string
	}{
		"an empty file":        {nil, "no certificate"},
		"another file":         {[]byte("hello\n"), "no certificate"},
		"a private key beside": {append(bytes.Clone(good), key...), "PRIVATE KEY"},
		"nonsense in PEM":      {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("nonsense")}), "certificate 1"},
		"one that is cut off":  {append(bytes.Clone(good), good[:len(good)/2]...), "follows certificate 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if err := os.WriteFile(file, test.text, 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := authorities(file)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "-certificates") {
				t.Errorf("got %v, want an error of -certificates that says %q", err, test.want)
			}
		})
	}
	if _, err := authorities(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a file that isn't there: %v", err)
	}
}
