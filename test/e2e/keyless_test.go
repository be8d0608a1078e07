package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/test/keyless"
)

// ci is the namespace whose images a workflow signs, without a key; its TrustRoot has the same name.
const ci = "e2e-ci"

// The images of ci.
const (
	tiled  = "ci/tiled"  // by cosign 3: a bundle, logged by Rekor v2, stamped by a timestamp authority
	older  = "ci/older"  // by cosign 2: a signature tag, logged by Rekor v1
	forged = "ci/forged" // by cosign 3, and by the workflow of a fork
)

// signTimeout bounds one cosign, some 30 times what it takes.
const signTimeout = time.Minute

// ours is the identity that the policy trusts.
func ours() keyless.Workflow { return keyless.Workflow{Repository: "acme/app"} }

// keyless has two real clients sign with a Sigstore of our own, stops that for good, and only then asks for what they signed.
func (s *stage) keyless(t *testing.T) {
	quoted, err := json.Marshal(s.signKeyless(t)) // YAML reads JSON's strings
	if err != nil {
		t.Fatal(err)
	}
	s.kubectl(t, "create", "namespace", ci)
	s.apply(t, fmt.Sprintf(`apiVersion: pratique.dev/v1alpha1
kind: TrustRoot
metadata: {name: %[1]s}
spec:
  sources:
  - data: %[2]s
---
apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: built, namespace: %[1]s}
spec:
  images: {include: ["%[3]s/ci/**"]}
  authorities:
  - name: ci
    keyless:
      trustRoot: %[1]s
      identities:
      - issuer: https://token.actions.githubusercontent.com
        subject: https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main
  require:
    signature: {by: [ci]}
`, ci, quoted, s.reg.address))
	s.trusted = true
	s.kubectl(t, "-n", ci, "wait", "--for=condition=Ready", "trustroot/"+ci, "imagepolicy/built", "--timeout=30s")
	s.kubectl(t, "get", "trustroots,imagepolicies", "-A")
	for pod, path := range map[string]string{"tiled": tiled, "older": older} {
		s.kubectl(t, "-n", ci, "run", pod, "--image="+s.ref(path))
	}
	s.kubectl(t, "-n", ci, "wait", "--for=condition=Ready", "pod/tiled", "pod/older", "--timeout=60s")
	for pod, path := range map[string]string{"tiled": tiled, "older": older} {
		if got, want := s.look(t, "-n", ci, "get", "pod", pod, "-o", "jsonpath={.spec.containers[0].image}"), s.pinned(path, s.at(t, path)); got != want {
			t.Errorf("Pod %s is of %q: want %q", pod, got, want)
		}
	}
	s.refused(t, "", []string{
		`admission webhook "images.pratique.dev" denied the request`, "NoTrustedSignature", "none by ci; nearest: https://github.com/mallory/app/.github/workflows/release.yml@refs/heads/main",
	}, "-n", ci, "run", "forged", "--image="+s.ref(forged))
	s.refused(t, "", []string{"NoTrustedSignature", "none by ci; nearest: key SHA256:"}, "-n", ci, "run", "by-key", "--image="+s.copied(t, tool, "ci/by-key").String())
}

// copied pushes the image of a path to another one and has release sign it there too.
func (s *stage) copied(t *testing.T, from, to string) name.Digest {
	t.Helper()
	d := s.reg.push(t, to+":v1", s.images.image(t, "signed "+from+":v1"))
	s.reg.sign(t, d, s.release)
	return d
}

// signKeyless pushes the images of ci and has them signed. The Sigstore that it starts for that is stopped when it returns its trusted
// root; it was on this machine's loopback, where nothing in the cluster could have reached it.
func (s *stage) signKeyless(t *testing.T) (trustedRoot string) {
	t.Helper()
	programs := map[int]string{}
	for _, major := range []int{2, 3} {
		file, err := keyless.Cosign(major)
		if errors.Is(err, keyless.ErrNoPrograms) {
			t.Skipf("nobody to sign without a key: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		programs[major] = file
	}
	stack, err := keyless.Start(t.Context(), keyless.Options{})
	if errors.Is(err, keyless.ErrNoPrograms) {
		t.Skipf("nobody to certify who signs without a key: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stack.Close(); err != nil {
			t.Error(err)
		}
		t.Log("the Sigstore that certified, logged and stamped is stopped")
	}()
	files := t.TempDir()
	if err := stack.Write(files); err != nil {
		t.Fatal(err)
	}
	host, _, err := net.SplitHostPort(s.reg.address) // all else that isn't loopback's goes to a proxy that isn't there
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path  string
		by    keyless.Workflow
		major int
		flags []string
	}{
		{tiled, ours(), 3, []string{"--signing-config=" + keyless.ConfigRekor2, "--trusted-root=trusted_root.json"}},
		{older, ours(), 2, []string{"--fulcio-url=" + stack.Fulcio, "--rekor-url=" + stack.Rekor1}},
		{forged, keyless.Workflow{Repository: "mallory/app"}, 3, []string{"--signing-config=" + keyless.ConfigRekor2, "--trusted-root=trusted_root.json"}},
	} {
		token, err := stack.Token(keyless.Claims{GitHub: &c.by})
		if err != nil {
			t.Fatal(err)
		}
		image := s.reg.push(t, c.path+":v1", s.images.image(t, "signed "+c.path+" without a key"))
		args := append(append([]string{"sign", "-y", "--allow-http-registry"}, c.flags...), image.String())
		t.Logf("$ cosign%d %s", c.major, line(args))
		ctx, cancel := context.WithTimeout(t.Context(), signTimeout)
		cmd := exec.CommandContext(ctx, programs[c.major], append(args, "--identity-token="+token)...)
		cmd.Dir, cmd.Env = files, append(keyless.Environ(files), "NO_PROXY="+host, "no_proxy="+host)
		said, err := cmd.CombinedOutput()
		if cancel(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
	}
	return string(stack.TrustedRoot())
}
