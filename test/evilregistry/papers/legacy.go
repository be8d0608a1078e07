package papers

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// LegacySignature makes the payload of a legacy signature and the annotations of
// its layer.
func LegacySignature(t testing.TB, image name.Digest, k Key, opts ...Option) (payload []byte, annotations map[string]string) {
	t.Helper()
	payload, annotations, err := newSpec(opts).legacySignature(image, k)
	if err != nil {
		t.Fatal(err)
	}
	return payload, annotations
}

func (s *spec) legacySignature(image name.Digest, k Key) ([]byte, map[string]string, error) {
	payload, err := s.simpleSigning(image)
	if err != nil {
		return nil, nil, err
	}
	signature, err := s.sign(k, payload)
	if err != nil {
		return nil, nil, err
	}
	return payload, s.layerAnnotations(base64.StdEncoding.EncodeToString(signature)), nil
}

// Envelope makes the DSSE envelope of a legacy attestation.
func Envelope(t testing.TB, image name.Digest, k Key, predicateType string, predicate any, opts ...Option) []byte {
	t.Helper()
	envelope, err := newSpec(opts).envelope(image, k, predicateType, predicate)
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

func (s *spec) envelope(image name.Digest, k Key, predicateType string, predicate any) ([]byte, error) {
	payload, err := s.statement(image, predicateType, predicate)
	if err != nil {
		return nil, err
	}
	signatures := []any{}
	for _, by := range s.signers(k) {
		signature, err := s.sign(by, pae(s.payloadType, payload))
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, object{{"keyid", ""}, {"sig", signature}})
	}
	return json.Marshal(object{{"payloadType", s.payloadType}, {"payload", payload}, {"signatures", signatures}})
}

// signers are whose signatures an envelope holds.
func (s *spec) signers(k Key) []Key {
	if s.second == nil {
		return []Key{k}
	}
	return []Key{k, *s.second}
}

// layerAnnotations are those of a legacy layer. What the caller asked for
// comes last and may overwrite the signature.
func (s *spec) layerAnnotations(signature string) map[string]string {
	out := map[string]string{SignatureAnnotation: signature}
	if len(s.certificates) > 0 {
		out[CertificateAnnotation] = certificatesPEM(s.certificates[:1])
		out[ChainAnnotation] = certificatesPEM(s.certificates[1:])
	}
	for key, value := range s.annotations {
		out[key] = value
	}
	return out
}

func certificatesPEM(chain []*x509.Certificate) string {
	var b strings.Builder
	for _, c := range chain {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // to memory
	}
	return b.String()
}

// SignLegacy adds a signature to the image's `.sig` tag.
func SignLegacy(t testing.TB, image name.Digest, k Key, opts ...Option) Paper {
	t.Helper()
	s := newSpec(opts)
	payload, annotations, err := s.legacySignature(image, k)
	if err == nil {
		var p Paper
		if p, err = s.appendLayer(image, "sig", SimpleSigningType, payload, annotations); err == nil {
			return p
		}
	}
	t.Fatal(err)
	return Paper{}
}

// AttestLegacy adds an attestation to the image's `.att` tag.
func AttestLegacy(t testing.TB, image name.Digest, k Key, predicateType string, predicate any, opts ...Option) Paper {
	t.Helper()
	s := newSpec(opts)
	envelope, err := s.envelope(image, k, predicateType, predicate)
	if err == nil {
		annotations := s.layerAnnotations("")
		if _, ok := annotations["predicateType"]; !ok {
			annotations["predicateType"] = predicateType
		}
		var p Paper
		if p, err = s.appendLayer(image, "att", EnvelopeType, envelope, annotations); err == nil {
			return p
		}
	}
	t.Fatal(err)
	return Paper{}
}

// appendLayer adds a layer to the image under the tag sha256-<hex>.<suffix>.
// It reads and then writes the tag, as cosign does: two at once lose one.
func (s *spec) appendLayer(image name.Digest, suffix string, mediaType types.MediaType, body []byte, annotations map[string]string) (Paper, error) {
	repo := s.home(image)
	tag := repo.Tag(strings.Replace(image.DigestStr(), ":", "-", 1) + "." + suffix)
	base, err := remote.Image(tag, s.remote...)
	if missing(err) {
		base = mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	} else if err != nil {
		return Paper{}, fmt.Errorf("papers: %s: %w", tag, err)
	}
	var layers []mutate.Addendum
	for i := range s.junkLayers {
		layers = append(layers, mutate.Addendum{
			Layer:       static.NewLayer(fmt.Appendf(nil, `{"junk":%d}`, i), mediaType),
			Annotations: map[string]string{SignatureAnnotation: "anVuaw=="},
		})
	}
	layer := static.NewLayer(body, mediaType)
	img, err := mutate.Append(base, append(layers, mutate.Addendum{Layer: layer, Annotations: annotations})...)
	if err != nil {
		return Paper{}, fmt.Errorf("papers: %s: %w", tag, err)
	}
	if err := remote.Write(tag, img, s.remote...); err != nil {
		return Paper{}, fmt.Errorf("papers: %s: %w", tag, err)
	}
	raw, err := img.RawManifest()
	if err != nil {
		return Paper{}, fmt.Errorf("papers: %s: %w", tag, err)
	}
	return newPaper(repo, types.OCIManifestSchema1, raw, body, "", nil)
}

// home is the repository that papers go to.
func (s *spec) home(image name.Digest) name.Repository {
	if s.repository != nil {
		return *s.repository
	}
	return image.Context()
}

// missing reports whether the registry said that there is no such thing.
func missing(err error) bool {
	var terr *transport.Error
	return errors.As(err, &terr) && terr.StatusCode == http.StatusNotFound
}

// Paper is something that was stored.
type Paper struct {
	// Manifest is the manifest that holds it, at the time it was written.
	Manifest name.Digest
	// Descriptor is how an honest list of referrers would show Manifest.
	Descriptor v1.Descriptor
	// Blob is the digest of Bytes, under which the registry has it.
	Blob string
	// Bytes is the payload, the envelope or the bundle.
	Bytes []byte
}
