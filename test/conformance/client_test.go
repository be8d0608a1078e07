package conformance_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/pratique-dev/pratique/test/conformance"
)

// TestMain lets the test binary stand for bin/conformance, so that one test runs it as the suite does: as a program.
func TestMain(m *testing.M) {
	if os.Getenv("CONFORMANCE_CLIENT") != "" {
		os.Exit(conformance.Main(os.Args, os.Stderr))
	}
	os.Exit(m.Run())
}

// case1 is a good case, written to a directory: the paths of its bundle, its artifact and its trusted root.
func case1(t *testing.T) (bundle, file, root string) {
	t.Helper()
	in := newInstance(t)
	_, b := in.happy1(v03)
	dir := t.TempDir()
	bundle, file, root = filepath.Join(dir, "bundle.sigstore.json"), filepath.Join(dir, "a.txt"), filepath.Join(dir, "trusted_root.json")
	for path, text := range map[string][]byte{bundle: jsonOf(t, b), file: artifact, root: jsonOf(t, in.trustedRoot())} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return bundle, file, root
}

func TestTheProgramTellsByItsExitCode(t *testing.T) {
	t.Parallel()
	bundle, file, root := case1(t)
	for _, test := range []struct {
		name, identity string
		want           int
	}{{"verified", identity, 0}, {"not verified", "someone@else.example", 1}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "verify-bundle", "--bundle", bundle, "--certificate-identity", test.identity,
				"--certificate-oidc-issuer", issuer, "--trusted-root", root, file)
			cmd.Env = append(os.Environ(), "CONFORMANCE_CLIENT=1")
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != test.want {
				t.Errorf("exit %d, want %d: %s", got, test.want, out)
			}
		})
	}
}

// TestArguments are command lines over a good case.
func TestArguments(t *testing.T) {
	t.Parallel()
	bundle, file, root := case1(t)
	sum := sha256.Sum256(artifact)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	who := []string{"--certificate-identity", identity, "--certificate-oidc-issuer", issuer}
	args := func(more ...string) []string {
		return slices.Concat([]string{"conformance", "verify-bundle", "--bundle", bundle}, who, []string{"--trusted-root", root}, more)
	}
	for _, test := range []struct {
		name string
		args []string
		want string // what it says; empty: verified
	}{
		{"in the suite's order", args(file), ""},
		{"by digest", args(digest), ""},
		{"by digest in capitals", args("sha256:" + strings.ToUpper(hex.EncodeToString(sum[:]))), ""},
		{"with --staging beside a trusted root", args("--staging", file), ""},
		{"with equals signs and the artifact first", []string{
			"conformance", "verify-bundle", file, "--trusted-root=" + root, "--certificate-oidc-issuer=" + issuer,
			"--certificate-identity=" + identity, "--bundle=" + bundle,
		}, ""},
		{"after two dashes", args("--", file), ""},
		{"a digest of another", args("sha256:" + strings.Repeat("0", 64)), "artifact"},
		{"a digest too short is a path", args(digest[:len(digest)-1]), "no such file"},
		{"a digest that is none is a path", args("sha256:" + strings.Repeat("g", 64)), "no such file"},
		{"another algorithm is a path", args("sha512:" + strings.Repeat("0", 128)), "no such file"},
		{"no artifact", args(), "0 artifacts"},
		{"two artifacts", args(file, file), "2 artifacts"},
		{"a directory for an artifact", args(filepath.Dir(file)), "no regular file"},
		{"a flag that it doesn't know", args("--verbose", file), "--verbose is no flag"},
		{"a flag twice", args("--bundle", bundle, file), "--bundle is given twice"},
		{"a flag without its value", args(file, "--key"), "--key has no value"},
		{"an empty value", args("--key=", file), "--key is empty"},
		{"a key and an identity", args("--key", root, file), "exclude each other"},
		{"no bundle", append([]string{"conformance", "verify-bundle", file}, who...), "--bundle is missing"},
		{"nobody to believe", []string{"conformance", "verify-bundle", "--bundle", bundle, file}, "anybody's signature would do"},
		{"an identity without its issuer", []string{"conformance", "verify-bundle", "--bundle", bundle, "--certificate-identity", identity, file}, "--certificate-oidc-issuer is missing"},
		{"an issuer without an identity", []string{"conformance", "verify-bundle", "--bundle", bundle, "--certificate-oidc-issuer", issuer, file}, "--certificate-identity is missing"},
		{"the public good instance's root by default", slices.Concat([]string{"conformance", "verify-bundle", "--bundle", bundle}, who, []string{file}), "not enough verified log entries"},
		{"the staging instance's root by default", slices.Concat([]string{"conformance", "verify-bundle", "--staging", "--bundle", bundle}, who, []string{file}), "isn't embedded"},
		{"a bundle that isn't there", []string{"conformance", "verify-bundle", "--bundle", bundle + "x", who[0], who[1], who[2], who[3], file}, "no such file"},
		{"a trusted root that is none", slices.Concat([]string{"conformance", "verify-bundle", "--bundle", bundle}, who, []string{"--trusted-root", file, file}), "--trusted-root"},
		{"a key that is none", []string{"conformance", "verify-bundle", "--bundle", bundle, "--key", file, file}, "--key: no PEM block"},
		{"signing", []string{"conformance", "sign-bundle", "--identity-token", "x", "--bundle", "x", file}, "signs no bundles"},
		{"another command", []string{"conformance", "verify", file}, `"verify" is no command`},
		{"no command", []string{"conformance"}, "no command"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			code, says := client(test.args...)
			if want := min(1, len(test.want)); code != want || !strings.Contains(says, test.want) || strings.Count(says, "\n") != want {
				t.Errorf("exit %d and %q, want %d and %q", code, says, want, test.want)
			}
		})
	}
}

func TestFilesAreBounded(t *testing.T) {
	t.Parallel()
	bundle, file, root := case1(t)
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 64<<20+1); err != nil { // sparse
		t.Fatal(err)
	}
	for name, files := range map[string][3]string{"bundle": {large, root, file}, "trusted root": {bundle, large, file}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, says := client("conformance", "verify-bundle", "--bundle", files[0], "--certificate-identity", identity,
				"--certificate-oidc-issuer", issuer, "--trusted-root", files[1], files[2])
			if code != 1 || !strings.Contains(says, "has more than") {
				t.Errorf("exit %d: %s", code, says)
			}
		})
	}
}

// TestAFileThatIsNamedLikeADigestIsAFile: the protocol reads a digest only where no file has its name.
func TestAFileThatIsNamedLikeADigestIsAFile(t *testing.T) {
	bundle, _, root := case1(t)
	t.Chdir(t.TempDir())
	other := sha256.Sum256([]byte("another"))
	name := "sha256:" + hex.EncodeToString(other[:])
	if err := os.WriteFile(name, artifact, 0o600); err != nil {
		t.Fatal(err)
	}
	code, says := client("conformance", "verify-bundle", "--bundle", bundle, "--certificate-identity", identity,
		"--certificate-oidc-issuer", issuer, "--trusted-root", root, name)
	if code != 0 {
		t.Errorf("refused: %s", says)
	}
}

// TestRealBundles are bundles that real instances made, as the module that verifies ours keeps them for its own tests. Of those about npm
// packages nobody here has the package: that only its digest is missed says that everything before it holds, under the embedded public
// good root: log, time, certificate, its transparency log, signature.
func TestRealBundles(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/sigstore-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(strings.TrimSpace(string(out)), "pkg", "testing", "data")
	file := func(t *testing.T, parts ...string) []byte {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(append([]string{kept}, parts...)...))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	bundle := func(t *testing.T, parts ...string) *protobundle.Bundle {
		t.Helper()
		var b protobundle.Bundle
		if err := protojson.Unmarshal(file(t, parts...), &b); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	t.Run("a subject alternative name of another form, of a Fulcio of its own", func(t *testing.T) {
		t.Parallel()
		verified(t, material{
			bundle: bundle(t, "bundles", "othername.sigstore.json"), rootText: file(t, "trusted-roots", "scaffolding.json"),
			who: [2]string{"foo!oidc.local", "http://oidc.local:8080"},
		})
	})
	t.Run("a key and a timestamp", func(t *testing.T) {
		t.Parallel()
		verified(t, material{
			bundle: bundle(t, "bundles", "public-key-validity.sigstore.json"), rootText: file(t, "trusted-roots", "public-key-validity.json"),
			key: file(t, "public-keys", "public-key-validity.pem"),
		})
	})
	for name, of := range map[string]struct {
		path []string
		who  string
	}{
		"npm provenance of 2023, SLSA 1.0": {
			[]string{"bundles", "sigstore.js@2.0.0-provenance.sigstore.json"},
			"https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main",
		},
		"npm provenance of 2023, SLSA 0.2, with its root": {
			[]string{"..", "..", "..", "examples", "bundle-provenance.json"},
			"https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := material{bundle: bundle(t, of.path...), who: [2]string{of.who, issuer}}
			if code, says := m.run(t, false); code != 1 || !strings.Contains(says, "artifact digest") {
				t.Errorf("exit %d: %s", code, says)
			}
			sig := m.bundle.GetDsseEnvelope().GetSignatures()[0].GetSig()
			sig[len(sig)-1] ^= 1
			if code, says := m.run(t, false); code != 1 || strings.Contains(says, "artifact digest") {
				t.Errorf("with another signature: exit %d: %s", code, says)
			}
		})
	}
}

// verified expects a bundle of a message to be verified by the digest that it names.
func verified(t *testing.T, m material) {
	t.Helper()
	digest := m.bundle.GetMessageSignature().GetMessageDigest().GetDigest()
	if len(digest) != sha256.Size {
		t.Fatalf("a digest of %d bytes", len(digest))
	}
	m.digest = "sha256:" + hex.EncodeToString(digest)
	if code, says := m.run(t, true); code != 0 {
		t.Errorf("refused: %s", says)
	}
	digest[0] ^= 1
	if code, _ := m.run(t, true); code != 1 {
		t.Error("verified with another digest in the bundle")
	}
}
