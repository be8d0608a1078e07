package keyless_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
)

// signed is one signature as sigstore-go takes it.
type signed struct {
	bundle  *bundle.Bundle
	digest  v1.Hash // the image's, which a bundle's statement names
	payload []byte  // what a legacy signature is of; nil for a bundle
}

// find gets the one signature of an image.
func (w *workbench) find(t *testing.T, layout string, image name.Digest) *signed {
	t.Helper()
	digest, err := v1.NewHash(image.DigestStr())
	if err != nil {
		t.Fatal(err)
	}
	s := &signed{digest: digest}
	if layout == "legacy" {
		s.legacy(t, image.Tag("sha256-"+digest.Hex+".sig"))
		return s
	}
	index, err := remote.Referrers(image)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 {
		t.Fatalf("%d referrers, want the bundle", len(manifest.Manifests))
	}
	_, text := layer(t, image.Digest(manifest.Manifests[0].Digest.String()))
	s.bundle = new(bundle.Bundle)
	if err := s.bundle.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	return s
}

// layer gets the one layer of what a reference names, and its annotations.
func layer(t *testing.T, ref name.Reference) (annotations map[string]string, text []byte) {
	t.Helper()
	image, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 1 {
		t.Fatalf("%d layers, want one", len(layers))
	}
	content, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if text, err = io.ReadAll(content); err != nil {
		t.Fatal(err)
	}
	return manifest.Layers[0].Annotations, text
}

// legacy brings a signature of the old layout, whose parts are annotations, into
// the form of a bundle.
func (s *signed) legacy(t *testing.T, tag name.Tag) {
	t.Helper()
	annotations, payload := layer(t, tag)
	digest := sha256.Sum256(payload)
	s.payload = payload
	b := &protobundle.Bundle{
		MediaType: "application/vnd.dev.sigstore.bundle+json;version=0.1",
		VerificationMaterial: &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_PublicKey{
			PublicKey: &protocommon.PublicKeyIdentifier{},
		}},
		Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: digest[:]},
			Signature:     decode(t, annotations["dev.cosignproject.cosign/signature"]),
		}},
	}
	if block, _ := pem.Decode([]byte(annotations["dev.sigstore.cosign/certificate"])); block != nil {
		b.VerificationMaterial.Content = &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{
			Certificates: []*protocommon.X509Certificate{{RawBytes: block.Bytes}},
		}}
	}
	if text := annotations["dev.sigstore.cosign/bundle"]; text != "" {
		b.VerificationMaterial.TlogEntries = append(b.VerificationMaterial.TlogEntries, logEntry(t, text))
	}
	if text := annotations["dev.sigstore.cosign/rfc3161timestamp"]; text != "" {
		var stamp struct{ SignedRFC3161Timestamp []byte }
		if err := json.Unmarshal([]byte(text), &stamp); err != nil {
			t.Fatal(err)
		}
		b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp.SignedRFC3161Timestamp}},
		}
	}
	var err error
	if s.bundle, err = bundle.NewBundle(b); err != nil {
		t.Fatal(err)
	}
}

// logEntry reads cosign's annotation for an entry of Rekor v1.
func logEntry(t *testing.T, text string) *protorekor.TransparencyLogEntry {
	t.Helper()
	var entry struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body                     []byte
			IntegratedTime, LogIndex int64
			LogID                    string
		}
	}
	if err := json.Unmarshal([]byte(text), &entry); err != nil {
		t.Fatal(err)
	}
	var kind struct{ Kind, APIVersion string }
	if err := json.Unmarshal(entry.Payload.Body, &kind); err != nil {
		t.Fatal(err)
	}
	id, err := hex.DecodeString(entry.Payload.LogID)
	if err != nil {
		t.Fatal(err)
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex: entry.Payload.LogIndex, LogId: &protocommon.LogId{KeyId: id}, IntegratedTime: entry.Payload.IntegratedTime,
		KindVersion:       &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: entry.SignedEntryTimestamp},
		CanonicalizedBody: entry.Payload.Body,
	}
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
