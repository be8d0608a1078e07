package papers_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature/payload"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// image is a digest in a registry that nobody asks.
func image(t *testing.T) name.Digest {
	t.Helper()
	d, err := name.NewDigest("registry.test/team/app@sha256:" + strings.Repeat("2", 64))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLegacyPayloadsLieAsTold(t *testing.T) {
	t.Parallel()
	k, img := papers.NewKey(t, papers.P256), image(t)
	for name, c := range map[string]struct {
		opt  papers.Option
		want func(p payload.SimpleContainerImage, raw string) bool
	}{
		"another digest": {papers.ClaimDigest(other), func(p payload.SimpleContainerImage, _ string) bool {
			return p.Critical.Image.DockerManifestDigest == other
		}},
		"another reference": {papers.ClaimReference("evil.test/app"), func(p payload.SimpleContainerImage, _ string) bool {
			return p.Critical.Identity.DockerReference == "evil.test/app"
		}},
		"another type": {papers.ClaimType("atomic container signature"), func(p payload.SimpleContainerImage, _ string) bool {
			return p.Critical.Type == "atomic container signature"
		}},
		"the digest twice": {papers.DuplicateKeys(other), func(p payload.SimpleContainerImage, raw string) bool {
			first, last := strings.Index(raw, other), strings.Index(raw, img.DigestStr())
			return p.Critical.Image.DockerManifestDigest == img.DigestStr() && 0 < first && first < last
		}},
		"padding": {papers.Padding(1 << 20), func(p payload.SimpleContainerImage, raw string) bool {
			return len(raw) > 1<<20 && len(p.Optional["padding"].(string)) == 1<<20
		}},
		"rewritten": {papers.RewritePayload(func(b []byte) []byte { return append([]byte(" "), b...) }), func(_ payload.SimpleContainerImage, raw string) bool {
			return raw[0] == ' '
		}},
	} {
		raw, annotations := papers.LegacySignature(t, img, k, c.opt)
		var p payload.SimpleContainerImage
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !c.want(p, string(raw)) {
			t.Errorf("%s: %.300s", name, raw)
		}
		sig, err := base64.StdEncoding.DecodeString(annotations[papers.SignatureAnnotation])
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier(t, k).VerifySignature(bytes.NewReader(sig), bytes.NewReader(raw)); err != nil {
			t.Errorf("%s: the lie is not signed: %v", name, err)
		}
	}
	raw, annotations := papers.LegacySignature(t, img, k, papers.MangleSignature())
	sig, err := base64.StdEncoding.DecodeString(annotations[papers.SignatureAnnotation])
	if err != nil {
		t.Fatal(err)
	}
	if verifier(t, k).VerifySignature(bytes.NewReader(sig), bytes.NewReader(raw)) == nil {
		t.Error("a mangled signature verifies")
	}
}

func TestLegacyAnnotationsAreForgedAsTold(t *testing.T) {
	t.Parallel()
	k, img := papers.NewKey(t, papers.P256), image(t)
	for name, set := range papers.HostileAnnotations() {
		for key, value := range set {
			_, got := papers.LegacySignature(t, img, k, papers.Annotate(key, value))
			if got[key] != value || got[papers.SignatureAnnotation] == "" {
				t.Errorf("%s: %v", name, got)
			}
		}
	}
	if n := len(papers.HostileAnnotations()); n < 3 {
		t.Errorf("%d hostile annotations, api.md 1.4 has 3", n)
	}
	_, got := papers.LegacySignature(t, img, k, papers.Annotate(papers.SignatureAnnotation, "forged"))
	if got[papers.SignatureAnnotation] != "forged" {
		t.Errorf("%v", got)
	}
}

func TestJunkLayersStandBeforeTheGoodOne(t *testing.T) {
	t.Parallel()
	reg, img, via := scene(t)
	paper := papers.SignLegacy(t, img, papers.NewKey(t, papers.P256), via, papers.JunkLayers(999))
	got, err := remote.Image(tagOf(img, ".sig"), reg.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	m, err := got.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Layers) != 1000 || m.Layers[999].Digest.String() != paper.Blob {
		t.Errorf("%d layers", len(m.Layers))
	}
}

// statement is what a bundle's envelope says.
type statement struct {
	Type    string `json:"_type"`
	Subject []struct {
		Name        string            `json:"name"`
		Digest      map[string]string `json:"digest"`
		Annotations map[string]any    `json:"annotations"`
	} `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

func parse(t *testing.T, raw []byte) (*protobundle.Bundle, statement) {
	t.Helper()
	var b protobundle.Bundle
	if err := protojson.Unmarshal(raw, &b); err != nil {
		t.Fatalf("%v: %.200s", err, raw)
	}
	var s statement
	if envelope := b.GetDsseEnvelope(); envelope != nil {
		if err := json.Unmarshal(envelope.GetPayload(), &s); err != nil {
			t.Fatal(err)
		}
	}
	return &b, s
}

// TestBundlesLieAsTold gives, for each lie, what the bundle then holds and
// whether sigstore-go, told nothing but the key and the digest, is taken in by
// it. Where it is, pkg/verify has to look by itself.
func TestBundlesLieAsTold(t *testing.T) {
	t.Parallel()
	k, second, img := papers.NewKey(t, papers.P256), papers.NewKey(t, papers.P256), image(t)
	type lie struct {
		opts    []papers.Option
		holds   func(b *protobundle.Bundle, s statement) bool
		refused string // in sigstore-go's error; empty: it accepts
	}
	hexOf := func(digest string) string { return strings.TrimPrefix(digest, "sha256:") }
	for name, c := range map[string]lie{
		"none": {nil, func(b *protobundle.Bundle, s statement) bool {
			return len(b.GetDsseEnvelope().GetSignatures()) == 1 && s.Subject[0].Digest["sha256"] == hexOf(img.DigestStr()) && string(s.Predicate) == "{}"
		}, ""},
		"another subject": {[]papers.Option{papers.ClaimDigest(other)}, func(_ *protobundle.Bundle, s statement) bool {
			return len(s.Subject) == 1 && s.Subject[0].Digest["sha256"] == hexOf(other)
		}, "digest does not match"},
		"another name": {[]papers.Option{papers.ClaimReference("evil.test/app")}, func(_ *protobundle.Bundle, s statement) bool {
			return s.Subject[0].Name == "evil.test/app"
		}, ""},
		"claims": {[]papers.Option{papers.Claims(map[string]any{"env": "prod"})}, func(_ *protobundle.Bundle, s statement) bool {
			return s.Subject[0].Annotations["env"] == "prod"
		}, ""},
		"the subject twice": {[]papers.Option{papers.DuplicateKeys(other)}, func(b *protobundle.Bundle, s statement) bool {
			raw := string(b.GetDsseEnvelope().GetPayload())
			return strings.Count(raw, `"subject":`) == 2 && strings.Contains(raw, hexOf(other)) && s.Subject[0].Digest["sha256"] == hexOf(img.DigestStr())
		}, "decoding json"},
		"no subject": {[]papers.Option{papers.NullSubject()}, func(b *protobundle.Bundle, s statement) bool {
			return s.Subject == nil && bytes.Contains(b.GetDsseEnvelope().GetPayload(), []byte(`"subject":null`))
		}, "does not match"},
		"1025 subjects": {[]papers.Option{papers.MoreSubjects(1024)}, func(_ *protobundle.Bundle, s statement) bool {
			return len(s.Subject) == 1025 && s.Subject[1024].Digest["sha256"] == hexOf(img.DigestStr())
		}, "too many subjects"},
		"no predicate, as cosign v2.6.5": {[]papers.Option{papers.NoPredicate()}, func(_ *protobundle.Bundle, s statement) bool {
			return s.Predicate == nil
		}, ""},
		"another statement type": {[]papers.Option{papers.StatementType("https://in-toto.io/Statement/v0.1")}, func(_ *protobundle.Bundle, s statement) bool {
			return s.Type == "https://in-toto.io/Statement/v0.1"
		}, ""},
		"another payload type": {[]papers.Option{papers.PayloadType("text/plain")}, func(b *protobundle.Bundle, _ statement) bool {
			return b.GetDsseEnvelope().GetPayloadType() == "text/plain"
		}, "text/plain"},
		"two signatures": {[]papers.Option{papers.SecondSignature(second)}, func(b *protobundle.Bundle, _ statement) bool {
			return len(b.GetDsseEnvelope().GetSignatures()) == 2
		}, "exactly one signature"},
		"a mangled signature": {[]papers.Option{papers.MangleSignature()}, func(*protobundle.Bundle, statement) bool { return true }, "could not verify envelope"},
		"no hint": {[]papers.Option{papers.Hint("")}, func(b *protobundle.Bundle, _ statement) bool {
			return b.GetVerificationMaterial().GetPublicKey() != nil && b.GetVerificationMaterial().GetPublicKey().GetHint() == ""
		}, ""},
		"another's hint": {[]papers.Option{papers.Hint(second.Hint)}, func(b *protobundle.Bundle, _ statement) bool {
			return b.GetVerificationMaterial().GetPublicKey().GetHint() == second.Hint
		}, ""},
		"a message signature": {[]papers.Option{papers.MessageSignature()}, func(b *protobundle.Bundle, _ statement) bool {
			return b.GetDsseEnvelope() == nil && hex.EncodeToString(b.GetMessageSignature().GetMessageDigest().GetDigest()) == hexOf(img.DigestStr())
		}, ""},
		"32 log entries": {[]papers.Option{papers.LogEntries(32)}, func(b *protobundle.Bundle, _ statement) bool {
			return len(b.GetVerificationMaterial().GetTlogEntries()) == 32
		}, ""},
		"33 log entries": {[]papers.Option{papers.LogEntries(33)}, func(b *protobundle.Bundle, _ statement) bool {
			return len(b.GetVerificationMaterial().GetTlogEntries()) == 33
		}, "too many tlog entries"},
		"a huge payload": {[]papers.Option{papers.Padding(9 << 20)}, func(b *protobundle.Bundle, _ statement) bool {
			return len(b.GetDsseEnvelope().GetPayload()) > 9<<20
		}, ""},
		"version 0.4": {[]papers.Option{papers.Version("0.4")}, func(b *protobundle.Bundle, _ statement) bool {
			return b.GetMediaType() == "application/vnd.dev.sigstore.bundle.v0.4+json"
		}, "not yet supported"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := papers.Bundle(t, img, k, papers.SignaturePredicate, struct{}{}, c.opts...)
			if b, s := parse(t, raw); !c.holds(b, s) {
				t.Errorf("the bundle does not hold the lie: %.400s", raw)
			}
			_, err := check(t, raw, img, k)
			switch {
			case c.refused == "" && err != nil:
				t.Errorf("sigstore-go refuses it: %v", err)
			case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("sigstore-go says %v, want %q", err, c.refused)
			}
		})
	}
}

func TestForgedLogEntriesDoNotVerify(t *testing.T) {
	t.Parallel()
	for _, s := range signers(t) {
		if s.key.Hash != 0 && s.key.Kind != papers.RSA1024 {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				forgedLogEntry(t, s.key)
			})
		}
	}
}

func forgedLogEntry(t *testing.T, k papers.Key) {
	t.Helper()
	img := image(t)
	raw := papers.Bundle(t, img, k, papers.SignaturePredicate, struct{}{}, papers.LogEntries(1))
	var b bundle.Bundle
	if err := b.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	v, err := verify.NewVerifier(root.TrustedMaterialCollection{}, verify.WithTransparencyLog(1), verify.WithNoObserverTimestamps())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(&b, verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithKey())); err == nil {
		t.Error("a log entry that nobody signed verifies")
	}
}

func TestRewrittenBundlesAreStoredAsRewritten(t *testing.T) {
	t.Parallel()
	reg, img, via := scene(t)
	k := papers.NewKey(t, papers.P256)
	twice := func(b []byte) []byte {
		return append([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",`), b[1:]...)
	}
	p := papers.SignBundle(t, img, k, via, papers.RewriteBundle(twice))
	_, bodies := layers(t, reg, p.Manifest)
	if bytes.Count(bodies[0], []byte(`"mediaType"`)) != 2 {
		t.Errorf("%s", bodies[0])
	}
	if _, err := check(t, bodies[0], img, k); err == nil {
		t.Error("sigstore-go takes a bundle with a field twice")
	}
	junk := papers.PushBundle(t, img, papers.SignaturePredicate, []byte("no bundle at all"), via)
	if _, bodies := layers(t, reg, junk.Manifest); string(bodies[0]) != "no bundle at all" {
		t.Errorf("%s", bodies[0])
	}
}

func TestManifestsOfBundlesLieAsTold(t *testing.T) {
	t.Parallel()
	k := papers.NewKey(t, papers.P256)
	manifest := func(t *testing.T, opts ...papers.Option) (*v1.Manifest, int) {
		t.Helper()
		reg, img, via := scene(t)
		p := papers.SignBundle(t, img, k, append(opts, via)...)
		got, err := remote.Image(p.Manifest, reg.Options()...)
		if err != nil {
			t.Fatal(err)
		}
		m, err := got.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		return m, len(listed(t, reg, img))
	}
	if m, n := manifest(t, papers.ArtifactType("text/spdx+json")); m.ArtifactType != "text/spdx+json" || n != 1 {
		t.Errorf("artifact type %q, %d listed", m.ArtifactType, n)
	}
	if m, n := manifest(t, papers.NoAnnotations()); len(m.Annotations) != 0 || n != 1 {
		t.Errorf("annotations %v, %d listed", m.Annotations, n)
	}
	if m, n := manifest(t, papers.Annotate(papers.PredicateAnnotation, spdx)); m.Annotations[papers.PredicateAnnotation] != spdx || n != 1 {
		t.Errorf("annotations %v, %d listed", m.Annotations, n)
	}
	if m, n := manifest(t, papers.NoOCISubject()); m.Subject != nil || n != 0 {
		t.Errorf("subject %v, %d listed", m.Subject, n)
	}
	if m, _ := manifest(t, papers.Version("0.2")); string(m.Layers[0].MediaType) != "application/vnd.dev.sigstore.bundle+json;version=0.2" {
		t.Errorf("layer %s", m.Layers[0].MediaType)
	}
}

// listed are the referrers of an image.
func listed(t *testing.T, reg *evilregistry.Registry, img name.Digest) []v1.Descriptor {
	t.Helper()
	index, err := remote.Referrers(img, reg.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	return m.Manifests
}

func TestTheFallbackTagCanBeKeptBesideTheAPI(t *testing.T) {
	t.Parallel()
	for _, poor := range []bool{false, true} {
		for _, api := range []bool{false, true} {
			t.Run(fmt.Sprintf("poor %t, API %t", poor, api), func(t *testing.T) {
				t.Parallel()
				reg, img, via := scene(t, evilregistry.WithReferrersAPI(api))
				k, opt := papers.NewKey(t, papers.P256), papers.FallbackTag()
				if poor {
					opt = papers.PoorFallbackTag()
				}
				want := map[string]bool{}
				for range 3 {
					want[papers.SignBundle(t, img, k, via, opt).Manifest.DigestStr()] = true
				}
				got, err := remote.Index(tagOf(img, ""), reg.Options()...)
				if err != nil {
					t.Fatal(err)
				}
				m, err := got.IndexManifest()
				if err != nil {
					t.Fatal(err)
				}
				if len(m.Manifests) != 3 {
					t.Errorf("%d entries", len(m.Manifests))
				}
				for _, d := range m.Manifests {
					if !want[d.Digest.String()] {
						t.Errorf("entry %+v", d)
					}
					if isPoor := d.ArtifactType == papers.EmptyType && len(d.Annotations) == 0; isPoor != poor {
						t.Errorf("entry %+v", d)
					}
				}
			})
		}
	}
}

func TestPapersCanLieInAnotherRepository(t *testing.T) {
	t.Parallel()
	reg, img, via := scene(t)
	k, elsewhere := papers.NewKey(t, papers.P256), reg.Repo("papers")
	papers.SignLegacy(t, img, k, via, papers.In(elsewhere))
	bundled := papers.SignBundle(t, img, k, via, papers.In(elsewhere))
	if got := listed(t, reg, elsewhere.Digest(img.DigestStr())); len(got) != 1 || got[0].Digest.String() != bundled.Manifest.DigestStr() {
		t.Errorf("listed elsewhere: %v", got)
	}
	if got := listed(t, reg, img); len(got) != 0 {
		t.Errorf("listed beside the image: %v", got)
	}
	tag := tagOf(img, ".sig")
	if _, err := remote.Head(elsewhere.Tag(tag.TagStr()), reg.Options()...); err != nil {
		t.Error(err)
	}
	if _, err := remote.Head(tag, reg.Options()...); err == nil {
		t.Error("the tag is beside the image")
	}
}

func TestAMessageSignatureNeedsSHA256(t *testing.T) {
	t.Parallel()
	img := image(t)
	for _, kind := range []papers.KeyKind{papers.P256, papers.RSA2048} {
		k := papers.NewKey(t, kind)
		if _, err := check(t, papers.Bundle(t, img, k, "", nil, papers.MessageSignature()), img, k); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if k := papers.NewKey(t, papers.P384).WithHash(crypto.SHA256); k.Hash == crypto.SHA256 {
		if _, err := check(t, papers.Bundle(t, img, k, "", nil, papers.MessageSignature()), img, k); err != nil {
			t.Errorf("P-384 over SHA-256: %v", err)
		}
	}
	refused := &recordingTB{TB: t}
	func() {
		defer func() { _ = recover() }()
		papers.Bundle(refused, img, papers.NewKey(t, papers.Ed25519), "", nil, papers.MessageSignature())
	}()
	if !refused.failed {
		t.Error("a key that cannot sign a digest made a message signature")
	}
}

// recordingTB notes a Fatal and stops by panic instead of ending the test.
type recordingTB struct {
	testing.TB
	failed bool
}

func (r *recordingTB) Fatal(args ...any) {
	r.failed = true
	panic(fmt.Sprint(args...))
}
