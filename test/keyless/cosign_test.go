package keyless_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/pratique-dev/pratique/test/keyless"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// workbench is a stack, the files that cosign reads, a registry and a key.
type workbench struct {
	*keyless.Stack
	dir, host string
	programs  map[int]string // cosign by its major version
	key       crypto.PublicKey
}

func newWorkbench(t *testing.T) *workbench {
	t.Helper()
	return newWorkbenchOf(t, keyless.Options{})
}

func newWorkbenchOf(t *testing.T, o keyless.Options) *workbench {
	t.Helper()
	w := &workbench{Stack: start(t, o), dir: t.TempDir(), programs: map[int]string{}}
	for _, major := range []int{2, 3} {
		file, err := keyless.Cosign(major)
		if errors.Is(err, keyless.ErrNoPrograms) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		w.programs[major] = file
	}
	if err := w.Write(w.dir); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	w.host = strings.TrimPrefix(server.URL, "http://")
	w.cosign(t, 3, "generate-key-pair")
	text, err := os.ReadFile(filepath.Join(w.dir, "cosign.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if w.key, err = cryptoutils.UnmarshalPEMToPublicKey(text); err != nil {
		t.Fatal(err)
	}
	return w
}

// run runs a cosign, whose files are named relative to the workbench's directory.
func (w *workbench) run(ctx context.Context, major int, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.programs[major], args...)
	cmd.Dir = w.dir
	cmd.Env = append(keyless.Environ(w.dir), "COSIGN_PASSWORD=pw")
	said, err := cmd.CombinedOutput()
	return string(said), err
}

func (w *workbench) cosign(t *testing.T, major int, args ...string) {
	t.Helper()
	if said, err := w.run(t.Context(), major, args...); err != nil {
		t.Fatalf("cosign%d %s: %v\n%s", major, strings.Join(args, " "), err, said)
	}
}

// push pushes an image of its own and returns its reference by digest.
func (w *workbench) push(t *testing.T, repository string) name.Digest {
	t.Helper()
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewDigest(w.host + "/" + repository + "@" + digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
	return ref
}

// material is a trusted root and the workbench's key.
func (w *workbench) material(t *testing.T, trusted []byte) root.TrustedMaterial {
	t.Helper()
	r, err := root.NewTrustedRootFromJSON(trusted)
	if err != nil {
		t.Fatal(err)
	}
	key, err := signature.LoadVerifier(w.key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	keys := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(key, time.Time{}, time.Time{}), nil
	})
	return root.TrustedMaterialCollection{r, keys}
}

// Who signs, and what goes with the signature.
const (
	byToken = "by token"
	byKey   = "by key"
)

// proofs are what a verifier demands, beside the signature and, of a
// certificate, an SCT.
var proofs = map[string][]verify.VerifierOption{
	"Rekor v1":              {verify.WithTransparencyLog(1), verify.WithIntegratedTimestamps(1)},
	"Rekor v1, a timestamp": {verify.WithTransparencyLog(1), verify.WithIntegratedTimestamps(1), verify.WithSignedTimestamps(1)},
	"Rekor v2, a timestamp": {verify.WithTransparencyLog(1), verify.WithSignedTimestamps(1)},
	"a timestamp":           {verify.WithSignedTimestamps(1)},
}

// way is one way for cosign to sign.
type way struct {
	cosign int
	layout string
	signer string
	proof  string
	flags  []string
	says   string // what cosign says where it can't
}

func (w way) String() string {
	return fmt.Sprintf("cosign%d signs %s, %s, with %s", w.cosign, w.layout, w.signer, w.proof)
}

// ways are all ways there are. Flags in braces stand for what the stack knows.
func ways() []way {
	config := func(file string) []string {
		return []string{"--signing-config=" + file, "--trusted-root=trusted_root.json"}
	}
	rekor, stamp, unlogged := "--rekor-url={rekor1}", "--timestamp-server-url={timestamp}", "--tlog-upload=false"
	old := []string{"--use-signing-config=false", "--new-bundle-format=false"}
	const (
		needsBundle = "must provide --new-bundle-format or --bundle where applicable with --signing-config or --use-signing-config"
		onlyHashed  = "invalid type, must be hashedrekord" // cosign 2.6.5 sends dsse, which rekor-tiles no longer takes
	)
	return []way{
		{2, "legacy", byToken, "Rekor v1", []string{rekor}, ""},
		{2, "legacy", byToken, "Rekor v1, a timestamp", []string{rekor, stamp}, ""},
		{2, "legacy", byToken, "a timestamp", []string{stamp, unlogged}, ""},
		{2, "legacy", byKey, "Rekor v1", []string{rekor}, ""},
		{2, "legacy", byKey, "a timestamp", []string{stamp, unlogged}, ""},
		{2, "bundle", byToken, "Rekor v1", []string{rekor, "--new-bundle-format"}, ""},
		{2, "bundle", byToken, "a timestamp", append(config(keyless.ConfigTimestamp), "--new-bundle-format"), ""},
		{2, "bundle", byToken, "Rekor v2, a timestamp", append(config(keyless.ConfigRekor2), "--new-bundle-format"), onlyHashed},
		{2, "bundle", byKey, "Rekor v1", []string{rekor, "--new-bundle-format"}, ""},
		{2, "bundle", byKey, "a timestamp", []string{stamp, unlogged, "--new-bundle-format"}, ""},
		{3, "legacy", byToken, "Rekor v1", append(old, rekor), ""},
		{3, "legacy", byToken, "a timestamp", append(old, stamp, unlogged), ""},
		{3, "legacy", byToken, "Rekor v2, a timestamp", append(config(keyless.ConfigRekor2), "--new-bundle-format=false"), needsBundle},
		{3, "legacy", byKey, "Rekor v1", append(old, rekor), ""},
		{3, "legacy", byKey, "a timestamp", append(old, stamp, unlogged), ""},
		{3, "bundle", byToken, "Rekor v1", config(keyless.ConfigRekor1), ""},
		{3, "bundle", byToken, "Rekor v1, a timestamp", config(keyless.ConfigRekor1Timestamp), ""},
		{3, "bundle", byToken, "Rekor v2, a timestamp", config(keyless.ConfigRekor2), ""},
		{3, "bundle", byToken, "a timestamp", config(keyless.ConfigTimestamp), ""},
		{3, "bundle", byKey, "Rekor v1", config(keyless.ConfigRekor1), ""},
		{3, "bundle", byKey, "Rekor v2, a timestamp", config(keyless.ConfigRekor2), ""},
		{3, "bundle", byKey, "a timestamp", config(keyless.ConfigTimestamp), ""},
	}
}

// args are the arguments of a way, but for the subcommand and the image.
func (w *workbench) args(t *testing.T, way way) []string {
	t.Helper()
	args := []string{"-y", "--key=cosign.key"}
	if way.signer == byToken {
		args = []string{"-y", "--identity-token=" + token(t, w.Stack, keyless.Claims{Email: "dev@example.com"})}
		if !slices.ContainsFunc(way.flags, func(f string) bool { return strings.HasPrefix(f, "--signing-config") }) {
			args = append(args, "--fulcio-url="+w.Fulcio)
		}
	}
	return append(args, strings.Split(strings.NewReplacer("{rekor1}", w.Rekor1, "{timestamp}", w.Timestamping).
		Replace(strings.Join(way.flags, " ")), " ")...)
}

func TestEveryWayToSignVerifies(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t)
	ours := w.material(t, w.TrustedRoot())
	others := w.material(t, start(t, keyless.Options{}).TrustedRoot())
	for i, way := range ways() {
		t.Run(way.String(), func(t *testing.T) {
			image := w.push(t, fmt.Sprintf("app%d", i))
			said, err := w.run(t.Context(), way.cosign, append(append([]string{"sign"}, w.args(t, way)...), image.String())...)
			if way.says != "" {
				if err == nil || !strings.Contains(said, way.says) {
					t.Errorf("got %v, want it to say %q; it said\n%s", err, way.says, said)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			s := w.find(t, way.layout, image)
			if err := s.verify(ours, way); err != nil {
				t.Error(err)
			}
			if err := s.verify(others, way); err == nil {
				t.Error("verified against another stack's trusted root")
			}
			for _, verifier := range []int{2, 3} {
				w.checkCosign(t, verifier, way, image)
			}
			s.digest.Hex = strings.Repeat("0", 64)
			if s.payload != nil {
				s.payload = append(s.payload, ' ')
			}
			if err := s.verify(ours, way); err == nil {
				t.Error("verified for another image")
			}
		})
	}
}

// checkCosign asks a cosign about a signature, twice: it must accept it, and
// refuse it as another's.
func (w *workbench) checkCosign(t *testing.T, major int, way way, image name.Digest) {
	t.Helper()
	args := []string{"verify", "--trusted-root=trusted_root.json"}
	if major == 2 && way.layout == "bundle" {
		args = append(args, "--new-bundle-format")
	}
	if strings.HasSuffix(way.proof, "a timestamp") {
		args = append(args, "--use-signed-timestamps")
	}
	if way.proof == "a timestamp" {
		args = append(args, "--insecure-ignore-tlog")
	}
	right, wrong := []string{"--key=cosign.pub"}, []string{"--key=rekor1.pub"}
	if way.signer == byToken {
		right = []string{"--certificate-identity=dev@example.com", "--certificate-oidc-issuer=" + keyless.EmailIssuer}
		wrong = []string{"--certificate-identity=dev@example.com", "--certificate-oidc-issuer=" + keyless.OtherIssuer}
	}
	if said, err := w.run(t.Context(), major, slices.Concat(args, right, []string{image.String()})...); err != nil {
		t.Errorf("cosign%d verify: %v\n%s", major, err, said)
	}
	if said, err := w.run(t.Context(), major, slices.Concat(args, wrong, []string{image.String()})...); err == nil {
		t.Errorf("cosign%d took it for another's:\n%s", major, said)
	}
}

// verify checks a signature as sigstore-go does.
func (s *signed) verify(material root.TrustedMaterial, way way) error {
	options, policy := slices.Clone(proofs[way.proof]), verify.WithKey()
	if way.signer == byToken {
		identity, err := verify.NewShortCertificateIdentity(keyless.EmailIssuer, "", "dev@example.com", "")
		if err != nil {
			return err
		}
		options, policy = append(options, verify.WithSignedCertificateTimestamps(1)), verify.WithCertificateIdentity(identity)
	}
	verifier, err := verify.NewVerifier(material, options...)
	if err != nil {
		return err
	}
	artifact := verify.WithArtifact(bytes.NewReader(s.payload))
	if s.payload == nil {
		digest, err := hex.DecodeString(s.digest.Hex)
		if err != nil {
			return err
		}
		artifact = verify.WithArtifactDigest(s.digest.Algorithm, digest)
	}
	_, err = verifier.Verify(s.bundle, verify.NewPolicy(artifact, policy))
	return err
}
