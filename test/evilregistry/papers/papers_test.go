package papers_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"github.com/sigstore/sigstore/pkg/signature/payload"

	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

const (
	other = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	spdx  = "https://spdx.dev/Document"
)

// signer is a key with the hash it signs over.
type signer struct {
	name string
	key  papers.Key
}

// signers are all the ways of signing that a verifier must know.
func signers(t *testing.T) []signer {
	t.Helper()
	var out []signer
	for _, kind := range []papers.KeyKind{papers.P256, papers.P384, papers.P521, papers.RSA1024, papers.RSA2048, papers.RSA3072, papers.Ed25519} {
		k := papers.NewKey(t, kind)
		out = append(out, signer{string(kind), k})
		switch kind {
		case papers.P384, papers.P521:
			out = append(out, signer{string(kind) + " over SHA-256", k.WithHash(crypto.SHA256)})
		case papers.Ed25519:
			out = append(out, signer{"Ed25519ph", k.WithHash(crypto.SHA512)})
		}
	}
	return out
}

// verifier is sigstore's for the key, from its PEM.
func verifier(t *testing.T, k papers.Key) signature.Verifier {
	t.Helper()
	public, err := cryptoutils.UnmarshalPEMToPublicKey(k.PublicPEM)
	if err != nil {
		t.Fatal(err)
	}
	opts := []signature.LoadOption{options.WithHash(k.Hash)}
	if k.Kind == papers.Ed25519 {
		opts = nil
		if k.Hash == crypto.SHA512 {
			opts = append(opts, options.WithED25519ph())
		}
	}
	v, err := signature.LoadVerifierWithOpts(public, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// check verifies a bundle about an image with sigstore-go, by key, without log.
func check(t *testing.T, raw []byte, image name.Digest, k papers.Key) (*verify.VerificationResult, error) {
	t.Helper()
	var b bundle.Bundle
	if err := b.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	return checkParsed(t, &b, image, k)
}

func checkParsed(t *testing.T, b *bundle.Bundle, image name.Digest, k papers.Key) (*verify.VerificationResult, error) {
	t.Helper()
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(verifier(t, k), time.Time{}, time.Time{}), nil
	})
	v, err := verify.NewVerifier(material, verify.WithNoObserverTimestamps())
	if err != nil {
		t.Fatal(err)
	}
	digest, err := hex.DecodeString(strings.TrimPrefix(image.DigestStr(), "sha256:"))
	if err != nil {
		t.Fatal(err)
	}
	return v.Verify(b, verify.NewPolicy(verify.WithArtifactDigest("sha256", digest), verify.WithKey()))
}

// scene is a registry with an image in it, and the way in behind its back.
func scene(t *testing.T, opts ...evilregistry.Option) (*evilregistry.Registry, name.Digest, papers.Option) {
	t.Helper()
	reg := evilregistry.New(t, opts...)
	return reg, reg.Push(t, "team/app:v1", evilregistry.RandomImage(1)), papers.Via(reg.Options()...)
}

// layers reads the layers of an image, with their descriptors.
func layers(t *testing.T, reg *evilregistry.Registry, ref name.Reference) ([]v1.Descriptor, [][]byte) {
	t.Helper()
	img, err := remote.Image(ref, reg.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	content, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var bodies [][]byte
	for _, layer := range content {
		r, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, body)
	}
	return m.Layers, bodies
}

func tagOf(image name.Digest, suffix string) name.Tag {
	return image.Context().Tag(strings.Replace(image.DigestStr(), ":", "-", 1) + suffix)
}

func TestKeysAreNamedByTheHashOfTheirSPKI(t *testing.T) {
	t.Parallel()
	for _, s := range signers(t) {
		public, err := cryptoutils.UnmarshalPEMToPublicKey(s.key.PublicPEM)
		if err != nil {
			t.Fatal(err)
		}
		if err := cryptoutils.EqualKeys(public, s.key.Private.Public()); err != nil {
			t.Errorf("%s: the PEM is of another key: %v", s.name, err)
		}
		der, err := cryptoutils.MarshalPublicKeyToDER(public)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(der)
		if want := "SHA256:" + hex.EncodeToString(sum[:]); s.key.Fingerprint != want {
			t.Errorf("%s: fingerprint %s, want %s", s.name, s.key.Fingerprint, want)
		}
		if want := base64.StdEncoding.EncodeToString(sum[:]); s.key.Hint != want {
			t.Errorf("%s: hint %s, want %s", s.name, s.key.Hint, want)
		}
	}
}

func TestDefaultHashesAreSigstores(t *testing.T) {
	t.Parallel()
	for _, kind := range []papers.KeyKind{papers.P256, papers.P384, papers.P521, papers.RSA2048, papers.RSA3072, papers.Ed25519} {
		k := papers.NewKey(t, kind)
		details, err := signature.GetDefaultAlgorithmDetails(k.Private.Public())
		if err != nil {
			t.Fatal(err)
		}
		if details.GetHashType() != k.Hash {
			t.Errorf("%s: %v, want %v", kind, k.Hash, details.GetHashType())
		}
	}
}

func TestEd25519AndEd25519phDoNotMix(t *testing.T) {
	t.Parallel()
	k := papers.NewKey(t, papers.Ed25519)
	ph := k.WithHash(crypto.SHA512)
	message := []byte("message")
	for _, c := range []struct{ signs, checks papers.Key }{{k, ph}, {ph, k}} {
		sig, err := c.signs.Sign(message)
		if err != nil {
			t.Fatal(err)
		}
		if verifier(t, c.checks).VerifySignature(bytes.NewReader(sig), bytes.NewReader(message)) == nil {
			t.Errorf("signed over %v, verified over %v", c.signs.Hash, c.checks.Hash)
		}
	}
}

func TestLegacySignaturesVerify(t *testing.T) {
	t.Parallel()
	for i, s := range signers(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			reg, _, via := scene(t)
			image := reg.Push(t, "team/app", evilregistry.RandomImage(uint64(i)))
			paper := papers.SignLegacy(t, image, s.key, via)
			descriptors, bodies := layers(t, reg, tagOf(image, ".sig"))
			if len(bodies) != 1 || string(descriptors[0].MediaType) != papers.SimpleSigningType {
				t.Fatalf("layers: %+v", descriptors)
			}
			want, err := payload.Cosign{Image: image}.MarshalJSON() // sigstore's own maker
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(bodies[0])); diff != "" {
				t.Errorf("payload (-cosign +papers):\n%s", diff)
			}
			sig, err := base64.StdEncoding.DecodeString(descriptors[0].Annotations[papers.SignatureAnnotation])
			if err != nil {
				t.Fatal(err)
			}
			if err := verifier(t, s.key).VerifySignature(bytes.NewReader(sig), bytes.NewReader(bodies[0])); err != nil {
				t.Error(err)
			}
			if paper.Blob != descriptors[0].Digest.String() || !bytes.Equal(paper.Bytes, bodies[0]) {
				t.Errorf("paper %+v does not describe layer %+v", paper, descriptors[0])
			}
			if got, err := remote.Head(tagOf(image, ".sig"), reg.Options()...); err != nil || got.Digest.String() != paper.Manifest.DigestStr() {
				t.Errorf("tag at %v (%v), want %s", got, err, paper.Manifest)
			}
		})
	}
}

func TestASecondLegacySignatureIsAppended(t *testing.T) {
	t.Parallel()
	reg, image, via := scene(t)
	a, b := papers.NewKey(t, papers.P256), papers.NewKey(t, papers.P256)
	papers.SignLegacy(t, image, a, via)
	papers.SignLegacy(t, image, b, via, papers.Claims(map[string]any{"env": "prod"}))
	descriptors, bodies := layers(t, reg, tagOf(image, ".sig"))
	if len(bodies) != 2 {
		t.Fatalf("%d layers", len(bodies))
	}
	for i, k := range []papers.Key{a, b} {
		sig, _ := base64.StdEncoding.DecodeString(descriptors[i].Annotations[papers.SignatureAnnotation])
		if err := verifier(t, k).VerifySignature(bytes.NewReader(sig), bytes.NewReader(bodies[i])); err != nil {
			t.Errorf("layer %d: %v", i, err)
		}
	}
	var claims payload.SimpleContainerImage
	if err := json.Unmarshal(bodies[1], &claims); err != nil || claims.Optional["env"] != "prod" {
		t.Errorf("claims %v, %v", claims.Optional, err)
	}
}

func TestLegacyAttestationsVerify(t *testing.T) {
	t.Parallel()
	for i, s := range signers(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			reg, _, via := scene(t)
			image := reg.Push(t, "team/app", evilregistry.RandomImage(uint64(i)))
			papers.AttestLegacy(t, image, s.key, spdx, map[string]any{"spdxVersion": "SPDX-2.3"}, via)
			descriptors, bodies := layers(t, reg, tagOf(image, ".att"))
			if len(bodies) != 1 || string(descriptors[0].MediaType) != papers.EnvelopeType ||
				descriptors[0].Annotations["predicateType"] != spdx {
				t.Fatalf("layers: %+v", descriptors)
			}
			if sig, ok := descriptors[0].Annotations[papers.SignatureAnnotation]; !ok || sig != "" {
				t.Errorf("signature annotation %q, %t", sig, ok)
			}
			// As api.md 2.4: a bundle of version 0.1 around the envelope.
			raw := fmt.Appendf(nil, `{"mediaType":"application/vnd.dev.sigstore.bundle+json;version=0.1",
				"verificationMaterial":{"publicKey":{}},"dsseEnvelope":%s}`, bodies[0])
			result, err := check(t, raw, image, s.key)
			if err != nil {
				t.Fatal(err)
			}
			if result.Statement.PredicateType != spdx || result.Statement.Type != "https://in-toto.io/Statement/v0.1" ||
				result.Statement.Subject[0].Name != image.Context().Name() {
				t.Errorf("statement %+v", result.Statement)
			}
		})
	}
}

func TestBundlesVerify(t *testing.T) {
	t.Parallel()
	reg, image, _ := scene(t)
	_ = reg
	for _, s := range signers(t) {
		for _, version := range []string{"0.1", "0.2", "0.3"} {
			t.Run(s.name+", version "+version, func(t *testing.T) {
				t.Parallel()
				raw := papers.Bundle(t, image, s.key, papers.SignaturePredicate, struct{}{}, papers.Version(version))
				result, err := check(t, raw, image, s.key)
				if err != nil {
					t.Fatal(err)
				}
				if result.Statement.PredicateType != papers.SignaturePredicate || result.Statement.Type != "https://in-toto.io/Statement/v1" {
					t.Errorf("statement %+v", result.Statement)
				}
				var b bundle.Bundle
				if err := b.UnmarshalJSON(raw); err != nil {
					t.Fatal(err)
				}
				if got, err := b.Version(); err != nil || got != "v"+version {
					t.Errorf("version %s, %v", got, err)
				}
				if hint := b.GetVerificationMaterial().GetPublicKey().GetHint(); hint != s.key.Hint {
					t.Errorf("hint %q", hint)
				}
				if _, err := check(t, raw, image, papers.NewKey(t, papers.P256)); err == nil {
					t.Error("another key verifies it")
				}
				if _, err := check(t, raw, image.Context().Digest(other), s.key); err == nil {
					t.Error("another image verifies it")
				}
			})
		}
	}
}

func TestABundleLiesInTheRegistryAsCosignPutsIt(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]evilregistry.Option{
		"referrers API": {evilregistry.WithArtifactTypes()},
		"fallback tag":  {evilregistry.WithReferrersAPI(false)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg, image, via := scene(t, opts...)
			k := papers.NewKey(t, papers.P256)
			at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			signed := papers.SignBundle(t, image, k, via, papers.Created(at))
			attested := papers.AttestBundle(t, image, k, spdx, map[string]any{"spdxVersion": "SPDX-2.3"}, via, papers.Created(at))
			index, err := remote.Referrers(image, reg.Options()...)
			if err != nil {
				t.Fatal(err)
			}
			m, err := index.IndexManifest()
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]v1.Descriptor{}
			for _, d := range m.Manifests {
				got[d.Digest.String()] = d
			}
			want := map[string]v1.Descriptor{}
			for _, p := range []papers.Paper{signed, attested} {
				want[p.Manifest.DigestStr()] = p.Descriptor
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("referrers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]string{
				"org.opencontainers.image.created": "2026-01-02T03:04:05Z",
				"dev.sigstore.bundle.content":      "dsse-envelope",
				papers.PredicateAnnotation:         papers.SignaturePredicate,
			}, signed.Descriptor.Annotations); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
			img, err := remote.Image(signed.Manifest, reg.Options()...)
			if err != nil {
				t.Fatal(err)
			}
			manifest, err := img.Manifest()
			if err != nil {
				t.Fatal(err)
			}
			if manifest.ArtifactType != papers.BundleType || manifest.Config.MediaType != papers.EmptyType || manifest.Config.Size != 2 ||
				manifest.Subject.Digest.String() != image.DigestStr() || string(manifest.Layers[0].MediaType) != papers.BundleType {
				t.Errorf("manifest %+v", manifest)
			}
			for _, p := range []papers.Paper{signed, attested} {
				_, bodies := layers(t, reg, p.Manifest)
				if !bytes.Equal(bodies[0], p.Bytes) {
					t.Errorf("%s: the registry has other bytes", p.Manifest)
				}
				if _, err := check(t, bodies[0], image, k); err != nil {
					t.Errorf("%s: %v", p.Manifest, err)
				}
			}
		})
	}
}
