package verify_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/pkg/verify"
)

func publicPEM(t testing.TB, public crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func ecKey(t testing.TB, c elliptic.Curve) crypto.PublicKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

func rsaKey(t testing.TB, bits int) crypto.PublicKey {
	t.Helper()
	if bits < 2048 {
		t.Setenv("GODEBUG", "rsa1024min=0")
	}
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

func TestRow73_StrongKeysAreTakenAndWeakOnesRefused(t *testing.T) {
	edPublic, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		key  crypto.PublicKey
		good bool
	}{
		"P-256":    {ecKey(t, elliptic.P256()), true},
		"P-384":    {ecKey(t, elliptic.P384()), true},
		"P-521":    {ecKey(t, elliptic.P521()), true},
		"P-224":    {ecKey(t, elliptic.P224()), false},
		"RSA 2048": {rsaKey(t, 2048), true},
		"RSA 1024": {rsaKey(t, 1024), false},
		"ed25519":  {edPublic, true},
	} {
		t.Run(what, func(t *testing.T) {
			keys, err := verify.ParseKeys(publicPEM(t, tc.key))
			if (err == nil) != tc.good {
				t.Fatalf("err %v", err)
			}
			if !tc.good {
				return
			}
			if !bytes.Equal(keys[0].PEM(), publicPEM(t, tc.key)) {
				t.Error("the key's PEM isn't what it was read from")
			}
			if !strings.HasPrefix(keys[0].Fingerprint().String(), "SHA256:") {
				t.Error("the fingerprint isn't named by its hash")
			}
		})
	}
}

func TestPEMThatIsNotPublicKeysIsRefusedWithTheCure(t *testing.T) {
	t.Parallel()
	good := string(publicPEM(t, ecKey(t, elliptic.P256())))
	block := func(kind string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("x")}))
	}
	for what, tc := range map[string]struct{ text, want string }{
		"nothing":            {"", "no public key"},
		"blanks":             {" \n\t", "no public key"},
		"prose":              {"my key", "no PEM block"},
		"a private key":      {block("PRIVATE KEY"), "private key"},
		"a cosign key":       {block("ENCRYPTED SIGSTORE PRIVATE KEY"), "private key"},
		"a certificate":      {block("CERTIFICATE"), "certificate"},
		"another block":      {block("PGP PUBLIC KEY BLOCK"), "want PUBLIC KEY"},
		"a broken key":       {block("PUBLIC KEY"), "not a PKIX public key"},
		"prose between keys": {good + "and\n" + good, "no PEM block"},
		"prose after a key":  {good + "tail", "no PEM block"},
		"more than 64 KiB":   {strings.Repeat(good, 1+verify.MaxPolicyPEM/len(good)), "over the bound"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			keys, err := verify.ParseKeys([]byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%d keys, error %v: want one that says %q", len(keys), err, tc.want)
			}
		})
	}
}

func TestTheSameKeyTwiceIsOneKey(t *testing.T) {
	t.Parallel()
	good := publicPEM(t, ecKey(t, elliptic.P256()))
	keys, err := verify.ParseKeys(append(append([]byte("\n"), good...), good...))
	if err != nil || len(keys) != 1 {
		t.Errorf("%d keys (%v), want 1", len(keys), err)
	}
}

func TestAnAuthorityThatVouchesForNothingCannotBeMade(t *testing.T) {
	t.Parallel()
	keys, err := verify.ParseKeys(publicPEM(t, ecKey(t, elliptic.P256())))
	if err != nil {
		t.Fatal(err)
	}
	for what, mint := range map[string]func() (verify.Authority, error){
		"without a name":       func() (verify.Authority, error) { return verify.NewKeyAuthority("", keys, verify.Terms{}) },
		"without a key":        func() (verify.Authority, error) { return verify.NewKeyAuthority("a", nil, verify.Terms{}) },
		"with an unparsed key": func() (verify.Authority, error) { return verify.NewKeyAuthority("a", []verify.Key{{}}, verify.Terms{}) },
		"with too many keys": func() (verify.Authority, error) {
			many := make([]verify.Key, verify.MaxKeys+1)
			for i := range many {
				many[i] = keys[0]
			}
			return verify.NewKeyAuthority("a", many, verify.Terms{})
		},
	} {
		if _, err := mint(); err == nil {
			t.Errorf("an authority %s was made", what)
		}
	}
}

func TestTheOrderOfKeysIsNoPartOfAnAuthority(t *testing.T) {
	t.Parallel()
	var keys []verify.Key
	for range 3 {
		k, err := verify.ParseKeys(publicPEM(t, ecKey(t, elliptic.P256())))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k...)
	}
	a, err := verify.NewKeyAuthority("a", keys, verify.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := verify.NewKeyAuthority("b", []verify.Key{keys[2], keys[0], keys[1], keys[0]}, verify.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := verify.NewKeyAuthority("a", keys[:2], verify.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	if a.Fingerprint() != b.Fingerprint() || a.Fingerprint() == c.Fingerprint() {
		t.Error("a fingerprint is not that of the set of keys")
	}
}

func ExampleParseKeys() {
	keys, err := verify.ParseKeys([]byte(`-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhyQCx0E9wQWSFI9ULGwy3BuRklnt
IqozONbbdbqz11hlRJy9c7SG+hdcFl9jE9uE/dwtuwU2MqU9T/cN0YkWww==
-----END PUBLIC KEY-----`))
	fmt.Println(len(keys), err)
	// Output: 1 <nil>
}
