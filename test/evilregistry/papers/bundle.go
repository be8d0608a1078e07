package papers

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// Bundle makes the JSON of a sigstore bundle. For a signature the predicate type
// is SignaturePredicate and the predicate an empty object.
func Bundle(t testing.TB, image name.Digest, k Key, predicateType string, predicate any, opts ...Option) []byte {
	t.Helper()
	b, err := newSpec(opts).bundle(image, k, predicateType, predicate)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mediaType is the bundle's own. Versions 0.1 and 0.2 write it in another form.
func (s *spec) mediaType() string {
	if s.version == "0.1" || s.version == "0.2" {
		return "application/vnd.dev.sigstore.bundle+json;version=" + s.version
	}
	return "application/vnd.dev.sigstore.bundle.v" + s.version + "+json"
}

func (s *spec) bundle(image name.Digest, k Key, predicateType string, predicate any) ([]byte, error) {
	b := &protobundle.Bundle{MediaType: s.mediaType(), VerificationMaterial: s.material(k)}
	var signed signedDigest
	var err error
	if s.messageSignature {
		signed, err = s.addMessageSignature(b, image, k)
	} else {
		signed, err = s.addEnvelope(b, image, k, predicateType, predicate)
	}
	if err != nil {
		return nil, err
	}
	for i := range s.logEntries {
		entry, err := forgedLogEntry(int64(i), signed, k)
		if err != nil {
			return nil, err
		}
		b.VerificationMaterial.TlogEntries = append(b.VerificationMaterial.TlogEntries, entry)
	}
	out, err := protojson.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("papers: bundle: %w", err)
	}
	if s.rewriteBundle != nil {
		out = s.rewriteBundle(out)
	}
	return out, nil
}

// signedDigest is a signature and the digest it is over.
type signedDigest struct{ digest, signature []byte }

func (s *spec) addEnvelope(b *protobundle.Bundle, image name.Digest, k Key, predicateType string, predicate any) (signedDigest, error) {
	payload, err := s.statement(image, predicateType, predicate)
	if err != nil {
		return signedDigest{}, err
	}
	envelope := &protodsse.Envelope{Payload: payload, PayloadType: s.payloadType}
	for _, by := range s.signers(k) {
		signature, err := s.sign(by, pae(s.payloadType, payload))
		if err != nil {
			return signedDigest{}, err
		}
		envelope.Signatures = append(envelope.Signatures, &protodsse.Signature{Sig: signature})
	}
	b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: envelope}
	signed := signedDigest{signature: envelope.Signatures[0].GetSig()}
	if k.Hash != 0 {
		h := k.Hash.New()
		h.Write(pae(s.payloadType, payload))
		signed.digest = h.Sum(nil)
	}
	return signed, nil
}

// addMessageSignature signs the manifest through its digest, which is all that
// is known of it here.
func (s *spec) addMessageSignature(b *protobundle.Bundle, image name.Digest, k Key) (signedDigest, error) {
	if k.Hash != crypto.SHA256 {
		return signedDigest{}, errors.New("papers: MessageSignature needs a key over SHA-256")
	}
	digest, err := hex.DecodeString(s.digest(image)[len("sha256:"):])
	if err != nil {
		return signedDigest{}, fmt.Errorf("papers: message digest: %w", err)
	}
	signature, err := k.Private.Sign(rand.Reader, digest, crypto.SHA256)
	if err != nil {
		return signedDigest{}, fmt.Errorf("papers: sign with %s: %w", k.Kind, err)
	}
	if s.mangle {
		signature[len(signature)-1] ^= 1
	}
	b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: digest},
		Signature:     signature,
	}}
	return signedDigest{digest, signature}, nil
}

// material names the key, or holds the certificates.
func (s *spec) material(k Key) *protobundle.VerificationMaterial {
	if len(s.certificates) == 0 {
		hint := k.Hint
		if s.hint != nil {
			hint = *s.hint
		}
		return &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_PublicKey{
			PublicKey: &protocommon.PublicKeyIdentifier{Hint: hint},
		}}
	}
	chain := &protocommon.X509CertificateChain{}
	for _, c := range s.certificates {
		chain.Certificates = append(chain.Certificates, &protocommon.X509Certificate{RawBytes: c.Raw})
	}
	if len(s.certificates) == 1 && s.version != "0.1" && s.version != "0.2" {
		return &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_Certificate{
			Certificate: chain.Certificates[0],
		}}
	}
	return &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_X509CertificateChain{
		X509CertificateChain: chain,
	}}
}

// forgedLogEntry is a true hashedrekord of the signature with a promise and a
// proof that no log gave.
func forgedLogEntry(index int64, signed signedDigest, k Key) (*protorekor.TransparencyLogEntry, error) {
	if k.Hash == 0 {
		return nil, errors.New("papers: LogEntries needs a key over a hash")
	}
	algorithm := strings.ToLower(strings.ReplaceAll(k.Hash.String(), "-", ""))
	body, err := json.Marshal(object{
		{"apiVersion", "0.0.1"}, {"kind", "hashedrekord"},
		{"spec", object{
			{"data", object{{"hash", object{{"algorithm", algorithm}, {"value", hex.EncodeToString(signed.digest)}}}}},
			{"signature", object{
				{"content", base64.StdEncoding.EncodeToString(signed.signature)},
				{"publicKey", object{{"content", base64.StdEncoding.EncodeToString(k.PublicPEM)}}},
			}},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("papers: log entry: %w", err)
	}
	leaf := sha256.Sum256(append([]byte{0}, body...)) // RFC 6962: the root of a tree of one
	return &protorekor.TransparencyLogEntry{
		LogIndex: index, LogId: &protocommon.LogId{KeyId: leaf[:]},
		KindVersion:       &protorekor.KindVersion{Kind: "hashedrekord", Version: "0.0.1"},
		IntegratedTime:    time.Now().Unix(),
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: []byte("nobody")},
		CanonicalizedBody: body,
		InclusionProof: &protorekor.InclusionProof{
			LogIndex: 0, TreeSize: 1, RootHash: leaf[:],
			Checkpoint: &protorekor.Checkpoint{Envelope: fmt.Sprintf("log.invalid\n1\n%s\n\n\u2014 log.invalid bm9ib2R5\n",
				base64.StdEncoding.EncodeToString(leaf[:]))},
		},
	}, nil
}
