// Package interop serves images that the real cosign programs have signed.
//
// A verifier that is tested only against papers its own project wrote proves
// that the two agree, not that either is right. So this package keeps, as OCI
// image layouts in testdata/layouts, what cosign 2.6.5 and cosign 3.1.3 have
// pushed to a registry: one small repository a fixture, whole, byte for byte.
// README.md lists every fixture with the commands that made it and what the two
// programs themselves say about it.
//
// A fixture is told by five things: the tool, the layout of the papers (legacy
// tags or sigstore bundles), the kind of registry they were pushed to (with the
// referrers API or without, where the tool keeps the fallback tag itself), the
// state, and the signers. [Fixtures] lists them, [Serve] starts a registry of
// the right kind with some of them in it, [Load] fills a registry of the
// caller's, and [Fixture.Push] one that runs elsewhere:
//
//	f := interop.Named(t, "cosign3-bundle-fallback-signed")
//	host := interop.Serve(t, f)
//	image := host + "/" + f.Repository + "@" + f.Digest
//	key := interop.PublicKey(t, f.Signers[0])
//
// No two fixtures share an image: an answer remembered for one can not be taken
// for another's.
//
// Those are signatures by bare keys. A second set, [Cells], has every kind of
// signer (keyless, own PKI, with logs and timestamps), and SIGNERS.md lists it.
package interop

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"testing"

	"github.com/pratique-dev/pratique/test/interop/internal/layout"
)

// Tool is the program that made the papers.
type Tool string

// The tools.
const (
	Cosign2 Tool = "cosign 2.6.5"
	Cosign3 Tool = "cosign 3.1.3"
)

// Layout is where and how the papers lie beside the image.
type Layout string

// The layouts.
const (
	// Legacy is the tag sha256-HEX.sig with simplesigning payloads, and
	// sha256-HEX.att with DSSE envelopes.
	Legacy Layout = "legacy"
	// Bundle is sigstore bundles in manifests whose subject is the image.
	Bundle Layout = "bundle"
)

// Registry is the kind of registry the papers were pushed to.
type Registry string

// The kinds of registry.
const (
	// ReferrersAPI has the referrers API of OCI distribution 1.1. The fixtures
	// were pushed to ggcr's pkg/registry, which reports a manifest's
	// config.mediaType as its artifactType.
	ReferrersAPI Registry = "referrers"
	// FallbackTag has no referrers API: the client keeps the index
	// sha256-HEX itself. The fixtures were pushed to distribution 3.1.2.
	FallbackTag Registry = "fallback"
)

// State is what there is beside the image, and so what a verifier that is asked
// for a signature by key "a" has to answer.
type State string

// The states. Every state but KeyType exists for each tool, layout and registry.
const (
	// Signed: one signature by a. The image verifies.
	Signed State = "signed"
	// OtherKey: one signature by b and none by a.
	OtherKey State = "otherkey"
	// OtherDigest: a has signed the image tagged "other", and its signature lies
	// beside this image too: true bytes about another digest.
	OtherDigest State = "otherdigest"
	// SBOMInstead: a has attested an SPDX document and signed nothing. An
	// attestation is not a signature, though both cosigns' verify takes a bundle
	// with one for it.
	SBOMInstead State = "sbom"
	// TwoSigners: one signature by a and one by b.
	TwoSigners State = "twosigners"
	// KeyType: one signature by a key that is not ECDSA P-256; Signers names it,
	// and the image verifies with it. Both cosigns sign p384 with SHA-384, p521
	// with SHA-512, ed25519 as Ed25519ph (RFC 8032, prehashed by SHA-512), and
	// RSA as PKCS #1 v1.5 with SHA-256. Registry is ReferrersAPI.
	KeyType State = "keytype"
)

// Fixture is one image and everything a tool pushed beside it.
type Fixture struct {
	// Name is the fixture's folder in testdata/layouts, and unique.
	Name     string   `json:"name"`
	Tool     Tool     `json:"tool"`
	Layout   Layout   `json:"layout"`
	Registry Registry `json:"registry"`
	State    State    `json:"state"`
	// Repository is the path of the repository: "interop/" and Name.
	Repository string `json:"repository"`
	// Tag is the image's tag and Digest its digest, "sha256:" and hex.
	Tag    string `json:"tag"`
	Digest string `json:"digest"`
	// OtherDigest is the digest of the image tagged "other" that the signature
	// is about; set in the state OtherDigest only.
	OtherDigest string `json:"otherDigest,omitempty"`
	// Signers are the names of the keys that signed or attested, for PublicKey.
	Signers []string `json:"signers"`
	// Commands made the papers, in this order. $REGISTRY stands for the
	// registry's host and port. One that starts with "copy" was done by
	// cmd/make, for no tool does it.
	Commands []string `json:"commands"`
	// Verifies are the tools whose own verify command accepted the image when
	// the fixture was made, asked for a signature by "a" (KeyType: by the
	// signer). It is their answer and not always the right one.
	Verifies []Tool `json:"verifies"`

	root fs.FS // the folder testdata
}

//go:embed testdata
var files embed.FS

// Fixtures returns every fixture, in the order of README.md.
func Fixtures() []Fixture {
	root, err := fs.Sub(files, "testdata")
	if err != nil {
		panic(err) // only for a path that is not one
	}
	list, err := Read(root)
	if err != nil {
		panic(err) // compiled in, and read by this package's own tests
	}
	return list
}

// Read returns the fixtures listed in root's fixtures.json. It is for the
// program that makes them; tests use Fixtures.
func Read(root fs.FS) ([]Fixture, error) {
	body, err := fs.ReadFile(root, "fixtures.json")
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	var list []Fixture
	if err := decoder.Decode(&list); err != nil {
		return nil, fmt.Errorf("fixtures.json: %w", err)
	}
	for i := range list {
		list[i].root = root
	}
	return list, nil
}

// Named returns the fixture with the name given, or ends the test.
func Named(tb testing.TB, name string) Fixture {
	tb.Helper()
	for _, f := range Fixtures() {
		if f.Name == name {
			return f
		}
	}
	tb.Fatalf("no interop fixture is named %q", name)
	return Fixture{}
}

// PublicKey returns the public key with the name given, as cosign wrote it: PEM,
// a PKIX SubjectPublicKeyInfo. The keys a and b are ECDSA P-256; the others,
// rsa2048, rsa3072, ed25519, p384 and p521, are what their names say.
func PublicKey(tb testing.TB, name string) []byte {
	tb.Helper()
	key, err := fs.ReadFile(files, path.Join("testdata/keys", name+".pub"))
	if err != nil {
		tb.Fatalf("interop key %q: %v", name, err)
	}
	return key
}

// contents reads the fixture's layout.
func (f Fixture) contents() (layout.Contents, error) { return read(f.root, f.Name) }

// Push writes the fixture into the registry at base, a URL without a path such
// as http://127.0.0.1:5000, under f.Repository. Every object keeps its bytes:
// each is read back and compared, and a difference is an error. A registry of
// another kind than f.Registry can hold the fixture but will not answer as the
// tool left it.
func (f Fixture) Push(ctx context.Context, client *http.Client, base string) error {
	c, err := f.contents()
	if err != nil {
		return err
	}
	if err := push(ctx, client, base, f.Repository, c); err != nil {
		return fmt.Errorf("fixture %s: %w", f.Name, err)
	}
	return nil
}
