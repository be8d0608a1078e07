package promote_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/cosign/v2/pkg/cosign"

	"github.com/pratique-dev/pratique/pkg/promote"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// generate makes a private key of a kind.
func generate(t *testing.T, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "P-224":
		key, err = ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	case "P-256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "P-384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "P-521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "RSA 2048":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("no kind %q", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// newKey is a key of a kind, as nothing protects it.
func newKey(t *testing.T, kind string) promote.SigningKey {
	t.Helper()
	key, err := promote.ParseSigningKey(block("PRIVATE KEY", pkcs8(t, generate(t, kind))), nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// typed is a password that somebody types.
func typed(password string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(password), nil }
}

func TestEveryKindOfKeySignsWhatAPolicyThatTrustsItTakes(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"P-256", "P-384", "P-521", "RSA 2048", "ed25519"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			key := newKey(t, kind)
			b, err := key.Sign(t.Context(), promote.Statement{Subjects: []name.Digest{image(t, "a")}, PredicateType: review, Predicate: []byte("{}")}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if found := evidence(t, b, image(t, "a"), key.Public(), verify.Terms{}); len(found) != 1 {
				t.Errorf("%d pieces of evidence, want 1", len(found))
			}
		})
	}
}

func TestAKeyIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	ec, small, ed := generate(t, "P-256").(*ecdsa.PrivateKey), generate(t, "RSA 2048").(*rsa.PrivateKey), generate(t, "ed25519")
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	sealed := func(key any, password string) []byte {
		text, err := encrypted.Encrypt(pkcs8(t, key), []byte(password))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for says, c := range map[string]struct {
		text     []byte
		password func() ([]byte, error)
		public   crypto.PublicKey
	}{
		"as cosign 2 and 3 write it":     {block("ENCRYPTED SIGSTORE PRIVATE KEY", sealed(ec, "secret")), typed("secret"), ec.Public()},
		"as cosign 1 wrote it":           {block("ENCRYPTED COSIGN PRIVATE KEY", sealed(ec, "secret")), typed("secret"), ec.Public()},
		"with an empty password":         {block("ENCRYPTED SIGSTORE PRIVATE KEY", sealed(small, "")), typed(""), small.Public()},
		"an imported one of ed25519":     {block("ENCRYPTED SIGSTORE PRIVATE KEY", sealed(ed, "secret")), typed("secret"), ed.Public()},
		"plain PKCS 8":                   {block("PRIVATE KEY", pkcs8(t, ed)), nil, ed.Public()},
		"plain PKCS 1":                   {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)), nil, small.Public()},
		"plain SEC 1":                    {block("EC PRIVATE KEY", sec1), nil, ec.Public()},
		"as openssl ecparam writes it":   {append(block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}), block("EC PRIVATE KEY", sec1)...), nil, ec.Public()},
		"with words before it and after": {append(append([]byte("our key\n"), block("PRIVATE KEY", pkcs8(t, ec))...), "\nend\n"...), nil, ec.Public()},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			key, err := promote.ParseSigningKey(c.text, c.password)
			if err != nil {
				t.Fatal(err)
			}
			der, err := x509.MarshalPKIXPublicKey(c.public)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := key.Public().Fingerprint(), verify.Fingerprint(sha256.Sum256(der)); got != want {
				t.Errorf("public half %s, want %s", got, want)
			}
		})
	}
}

func TestAKeyOfCosignsOwnMakingIsRead(t *testing.T) {
	t.Parallel()
	made, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return []byte("secret"), nil })
	if err != nil {
		t.Fatal(err)
	}
	key, err := promote.ParseSigningKey(made.PrivateBytes, typed("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(key.Public().PEM(), made.PublicBytes) {
		t.Errorf("public half\n%s, want\n%s", key.Public().PEM(), made.PublicBytes)
	}
}

func TestWhatIsNoKeyIsRefusedWithItsCure(t *testing.T) {
	t.Parallel()
	ec := generate(t, "P-256")
	public, err := x509.MarshalPKIXPublicKey(ec.Public())
	if err != nil {
		t.Fatal(err)
	}
	agree, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := encrypted.Encrypt(pkcs8(t, ec), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	plain := block("PRIVATE KEY", pkcs8(t, ec))
	for says, c := range map[string]struct {
		text     []byte
		password func() ([]byte, error)
		want     string
	}{
		"nothing":                   {nil, nil, "no private key in PEM: want what cosign generate-key-pair writes to cosign.key"},
		"no PEM":                    {[]byte("secret"), nil, "no private key in PEM"},
		"too much":                  {bytes.Repeat([]byte("a"), promote.MaxKeyPEM+1), nil, "a file of 65537 bytes"},
		"the public half":           {block("PUBLIC KEY", public), nil, "this is the public half: give the private key, cosign.key"},
		"a certificate":             {block("CERTIFICATE", public), nil, "this is a certificate"},
		"encrypted by openssl":      {block("ENCRYPTED PRIVATE KEY", public), nil, "cosign import-key-pair --key FILE"},
		"of ssh":                    {block("OPENSSH PRIVATE KEY", public), nil, `PEM block of type "OPENSSH PRIVATE KEY": want ENCRYPTED SIGSTORE PRIVATE KEY`},
		"two keys":                  {append(plain, plain...), nil, "more than one PEM block"},
		"parameters alone":          {block("EC PARAMETERS", []byte{6, 0}), nil, "no private key in PEM"},
		"a block of something else": {block("RSA PRIVATE KEY", []byte("secret")), nil, "PEM block of type RSA PRIVATE KEY that holds no such key"},
		"one that can't sign":       {block("PRIVATE KEY", pkcs8(t, agree)), nil, "can't sign: want ECDSA, RSA or ed25519"},
		"a weak curve":              {block("PRIVATE KEY", pkcs8(t, generate(t, "P-224"))), nil, "no policy could trust it: "},
		"a wrong password":          {block("ENCRYPTED SIGSTORE PRIVATE KEY", sealed), typed("Secret"), "the password is wrong, or the file isn't as cosign writes it"},
		"no password":               {block("ENCRYPTED SIGSTORE PRIVATE KEY", sealed), nil, "the key is encrypted, and there is no password"},
		"nobody who knows it": {block("ENCRYPTED SIGSTORE PRIVATE KEY", sealed), func() ([]byte, error) { return nil, errors.New("no terminal") },
			"no terminal"},
		"encrypted junk": {block("ENCRYPTED SIGSTORE PRIVATE KEY", []byte(`{"secret": 1}`)), typed("secret"), "the password is wrong, or the file isn't as cosign writes it"},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			key, err := promote.ParseSigningKey(c.text, c.password)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if key != (promote.SigningKey{}) {
				t.Error("a key all the same")
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "Secret") {
				t.Errorf("it tells the password, or what is in the file: %v", err)
			}
		})
	}
}

func TestAPasswordIsAskedForOnlyWhereItIsNeeded(t *testing.T) {
	t.Parallel()
	asked := func() ([]byte, error) { return nil, errors.New("asked") }
	if _, err := promote.ParseSigningKey(block("PRIVATE KEY", pkcs8(t, generate(t, "P-256"))), asked); err != nil {
		t.Error(err)
	}
}

// TestRow97_AKeyIsPrintedByNothing: what is private of a key is numbers, and these are looked for in every form that printing has. A key of ed25519 is
// a list of bytes, which fmt would print; one of ECDSA is behind pointers.
func TestRow97_AKeyIsPrintedByNothing(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"ed25519", "P-256", "RSA 2048"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			private := generate(t, kind)
			key, err := promote.ParseSigningKey(block("PRIVATE KEY", pkcs8(t, private)), nil)
			if err != nil {
				t.Fatal(err)
			}
			secret := forms(secretOf(t, private))
			for _, value := range []any{key, &key, struct{ Key promote.SigningKey }{key}, promote.Attestor{Key: key}, []promote.SigningKey{key}, map[string]any{"key": key}} {
				text := printed(value)
				for _, s := range secret {
					if strings.Contains(text, s) {
						t.Errorf("%T tells %.20s...", value, s)
					}
				}
				if !strings.Contains(text, key.Public().Fingerprint().String()) {
					t.Errorf("%T tells nothing, so that this finds nothing:\n%s", value, text)
				}
			}
		})
	}
	if got := (promote.SigningKey{}).String(); got != "no key" {
		t.Error(got)
	}
}

// secretOf is what is private of a key.
func secretOf(t *testing.T, private crypto.Signer) []byte {
	t.Helper()
	switch k := private.(type) {
	case ed25519.PrivateKey:
		return k.Seed()
	case *rsa.PrivateKey:
		return k.D.Bytes()
	case *ecdsa.PrivateKey:
		raw, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	t.Fatalf("a key of type %T", private)
	return nil
}

// forms are how bytes are printed, as a whole and each by itself.
func forms(raw []byte) []string {
	list := func(verb string) string { return strings.Trim(fmt.Sprintf(verb, raw), "[]") }
	return []string{
		new(big.Int).SetBytes(raw).String(), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
		base64.StdEncoding.EncodeToString(raw)[:40], string(raw), list("%d"), list("%b"), list("%o"), strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", raw), "[]byte{"), "}"),
	}
}

// printed is a value in every way that programs print it.
func printed(value any) string {
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o"} {
		fmt.Fprintf(&out, verb+"\n", value)
	}
	if text, err := json.Marshal(value); err == nil {
		out.Write(text)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "key", value)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "key", value)
	return out.String()
}
