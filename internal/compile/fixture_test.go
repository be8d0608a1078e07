package compile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// newKey returns a new P-256 public key in PEM.
func newKey(t testing.TB) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return publicPEM(t, &private.PublicKey)
}

func weakKey(t testing.TB) string {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // weak on purpose
	if err != nil {
		t.Fatal(err)
	}
	return publicPEM(t, &private.PublicKey)
}

func publicPEM(t testing.TB, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// indent makes a PEM text part of a YAML block scalar.
func indent(text string, by int) string {
	pad := strings.Repeat(" ", by)
	return pad + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+pad)
}

func toJSON(t testing.TB, text string) []byte {
	t.Helper()
	raw, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		t.Fatalf("the test's own YAML: %v\n%s", err, text)
	}
	return raw
}

func mustDecode(t testing.TB, text string) Object {
	t.Helper()
	obj, err := Decode(toJSON(t, text))
	if err != nil {
		t.Fatalf("Decode: %v\n%s", err, text)
	}
	return obj
}

// namespaced returns an ImagePolicy in payments with a spec given in YAML, whose lines need no indentation.
func namespaced(spec string) string {
	return "apiVersion: pratique.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: production, namespace: payments, generation: 1}\nspec:\n" + indent(spec, 2) + "\n"
}

// clusterWide returns a ClusterImagePolicy with a spec given in YAML.
func clusterWide(spec string) string {
	return "apiVersion: pratique.dev/v1alpha1\nkind: ClusterImagePolicy\nmetadata: {name: everywhere, generation: 1}\nspec:\n" + indent(spec, 2) + "\n"
}

// signedBy returns a spec that wants a signature by one key.
func signedBy(key string) string {
	return "images: {include: [registry.example.com/**]}\nauthorities:\n- name: release\n  key:\n    data: |\n" + indent(key, 6) + "\nrequire: {signature: {by: [release]}}\n"
}

const bySecret = `
images: {include: [registry.example.com/**]}
authorities:
- name: release
  key: {secretRef: {name: cosign-pub, key: cosign.pub}}
require: {signature: {by: [release]}}
`

// quoted is a text as a YAML scalar in one line.
func quoted(text string) string { return fmt.Sprintf("%q", text) }

func reference(t testing.TB, s string) policy.Reference {
	t.Helper()
	r, err := policy.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const someDigest = "sha256:9f2c0c0000000000000000000000000000000000000000000000000000000000"

// refuses tells whether a policy is about an image and refuses it, whatever is known of it.
func refuses(t testing.TB, p *policy.Policy, image string) bool {
	t.Helper()
	r := reference(t, image+"@"+someDigest)
	digest, err := v1.NewHash(someDigest)
	if err != nil {
		t.Fatal(err)
	}
	if p.Match(r, digest) == policy.MatchNo {
		return false
	}
	nothing := func(v1.Hash, verify.Question) verify.Findings { return verify.Findings{} }
	return !p.Judge(policy.Image{Reference: r, Digest: digest}, nothing).Outcome().Passes()
}

func pretty(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
