package verify

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
)

// The annotations of a legacy layer (cosign's signature specification). All but the first are optional.
const (
	signatureAnnotation   = "dev.cosignproject.cosign/signature"   // of a simple signing payload, in base64
	certificateAnnotation = "dev.sigstore.cosign/certificate"      // the signer's, in PEM
	chainAnnotation       = "dev.sigstore.cosign/chain"            // who issued it, in PEM
	logAnnotation         = "dev.sigstore.cosign/bundle"           // an entry of Rekor v1 with its signed entry timestamp
	stampAnnotation       = "dev.sigstore.cosign/rfc3161timestamp" // a TimeStampResp (RFC 3161)
)

// bundleV01 is the media type of the oldest bundle, the form that legacy objects are brought into: it asks for
// nothing that they don't have.
const bundleV01 = "application/vnd.dev.sigstore.bundle+json;version=0.1"

// Bounds of the annotations, in bytes. What is over its bound is as if it weren't there.
const (
	// MaxLogAnnotation: an entry holds a certificate, in base64 three times over, and a few hundred bytes beside: some 6 KiB as Fulcio's are.
	MaxLogAnnotation = 128 << 10
	// MaxStampAnnotation: a response holds a signature and at most the authority's chain, in base64 once: some 6 KiB as well.
	MaxStampAnnotation = 64 << 10
)

// maxUnixTime is the last second of the year 9999, after which RFC 3339 has no name for a time.
const maxUnixTime = 253402300799

// logKind is a kind of entry of Rekor v1 with its version.
type logKind string

// The kinds of entry that cosign made for its legacy objects. sigstore-go doesn't read the old ones.
const (
	kindHashedRekord logKind = "hashedrekord 0.0.1"
	kindDSSE         logKind = "dsse 0.0.1"
	kindIntoto       logKind = "intoto 0.0.2"
	kindOldIntoto    logKind = "intoto 0.0.1"
	kindOldRekord    logKind = "rekord 0.0.1"
	// kindRekorV2 is the only kind of Rekor v2, and never of a legacy object.
	kindRekorV2 logKind = "hashedrekord 0.0.2"
)

// openLegacySignature brings a simple signing payload and the signature in its annotation into the form of a bundle. The signed
// artifact is the payload; that the payload names the image is checked here, on the very bytes that are verified.
func openLegacySignature(image v1.Hash, c Candidate) (*opened, error) {
	o := &opened{form: FormLegacy, predicateType: CosignSign, unsaid: true, payload: c.Payload}
	payload, err := parseSimpleSigning(c.Payload)
	if err != nil {
		return o, fmt.Errorf("simple signing payload: %w", err)
	}
	o.subject, o.about = payload.digest.String(), payload.digest == image
	sig, err := base64.StdEncoding.DecodeString(c.Paper.Annotations[signatureAnnotation])
	if err != nil || len(sig) == 0 {
		return o, fmt.Errorf("annotation %s is no base64", signatureAnnotation)
	}
	o.artifact = func() sgverify.ArtifactPolicyOption { return sgverify.WithArtifact(bytes.NewReader(c.Payload)) }
	e := o.readEntry(c.Paper.Annotations[logAnnotation], kindHashedRekord, kindOldRekord)
	if e != nil && e.kind == kindOldRekord {
		o.old, e = &oldEntry{logEntry: *e, image: image, layer: c.Payload, signature: sig}, nil
	}
	return o, o.takeLegacy(&protobundle.Bundle{Content: &protobundle.Bundle_MessageSignature{
		MessageSignature: &protocommon.MessageSignature{MessageDigest: e.digest(c.Payload), Signature: sig},
	}}, e, c.Paper.Annotations)
}

// openLegacyAttestation brings a DSSE envelope of cosign's .att layout into the form of a bundle.
func openLegacyAttestation(image v1.Hash, c Candidate) (*opened, error) {
	o := &opened{form: FormLegacy, unsaid: true, stamped: c.Payload}
	env, err := parseEnvelope(c.Payload)
	if err != nil {
		return o, err
	}
	e := o.readEntry(c.Paper.Annotations[logAnnotation], kindDSSE, kindIntoto, kindOldIntoto)
	if e != nil && e.kind == kindOldIntoto {
		o.old, e = &oldEntry{logEntry: *e, image: image, layer: c.Payload}, nil
	}
	if err := o.takeLegacy(&protobundle.Bundle{Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: env}}, e, c.Paper.Annotations); err != nil {
		return o, err
	}
	return o, o.envelope(image)
}

// takeLegacy keeps a legacy object as a bundle that is signed by a bare key, with whatever else its annotations hold.
//
// All of that is optional, and whoever may push could take it away. So what can't be read is as if it weren't there; that it was is noted,
// for people who wonder why it doesn't count.
func (o *opened) takeLegacy(pb *protobundle.Bundle, e *logEntry, annotations map[string]string) error {
	material := &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{}},
	}
	pb.MediaType, pb.VerificationMaterial = bundleV01, material
	if text := annotations[stampAnnotation]; text != "" {
		stamp, err := parseStampAnnotation(text)
		if o.note(stampAnnotation, err); err == nil {
			material.TimestampVerificationData = &protobundle.TimestampVerificationData{
				Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp}},
			}
		}
	}
	if e != nil {
		entry := e.protobuf()
		if err := modestEntry(entry); err != nil {
			o.note(logAnnotation, err)
		} else if _, err := tlog.ParseTransparencyLogEntry(entry); err != nil {
			o.note(logAnnotation, err)
		} else {
			material.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
		}
	}
	if err := o.take(pb); err != nil {
		return err
	}
	if annotations[certificateAnnotation] == "" {
		return nil
	}
	leaf, err := certificatesOf(annotations[certificateAnnotation], MaxChain)
	if err != nil {
		o.signer = "a certificate that can't be read: " + clip(err.Error())
		o.note(certificateAnnotation, err)
		return nil
	}
	o.certified(leaf[0], o.issuers(leaf[1:], annotations[chainAnnotation]))
	if o.leaf.PublicKeyAlgorithm == x509.Ed25519 && o.entries == 0 {
		o.message = nil // see certifiedEd25519
	}
	return nil
}

// issuers are the certificates that came with a signer's: in the same annotation, and in that which is for them.
func (o *opened) issuers(beside []*x509.Certificate, text string) []*x509.Certificate {
	if text == "" {
		return beside
	}
	chain, err := certificatesOf(text, MaxChain-1)
	if err == nil && len(beside)+len(chain) > MaxChain-1 {
		err = fmt.Errorf("more than %d certificates with the signer's", MaxChain)
	}
	if err != nil {
		o.note(chainAnnotation, err)
		return beside
	}
	return slices.Concat(beside, chain)
}

// certificatesOf reads the certificates of an annotation.
func certificatesOf(text string, most int) ([]*x509.Certificate, error) {
	if len(text) > MaxChainPEM {
		return nil, fmt.Errorf("PEM of %d bytes is over the bound of %d", len(text), MaxChainPEM)
	}
	all, err := parseCertificates([]byte(text), most)
	if err != nil {
		return nil, err
	}
	for i, c := range all {
		if err := modest(c.Raw); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
	}
	return all, nil
}

// note keeps why something that came with a signature isn't taken into account.
func (o *opened) note(annotation string, err error) {
	if err != nil {
		o.unread = append(o.unread, fmt.Sprintf("annotation %s can't be read: %s", annotation, clip(err.Error())))
	}
}

// noted adds to what wasn't shown what came with it and can't be read.
func (o *opened) noted(err error) error {
	var short unproven
	if len(o.unread) > 0 && errors.As(err, &short) {
		short.why = strings.Join(slices.Concat(o.unread, []string{short.why}), "; ")
		return short
	}
	return err
}

// readEntry reads the log entry of a legacy object, if there is one that can be read, of a kind that cosign makes for such objects.
func (o *opened) readEntry(text string, kinds ...logKind) *logEntry {
	if text == "" {
		return nil
	}
	e, err := parseLogAnnotation(text)
	switch {
	case err != nil:
	case !slices.Contains(kinds, e.kind):
		err = fmt.Errorf("an entry of kind %s, which isn't for this", clip(string(e.kind)))
	case e.kind == kindOldIntoto || e.kind == kindOldRekord:
		err = e.modestOld()
	}
	if err != nil {
		o.note(logAnnotation, err)
		return nil
	}
	return e
}

// logEntry is an entry of Rekor v1 as cosign keeps it beside a legacy object.
type logEntry struct {
	kind  logKind
	body  []byte // the entry, in JSON
	at    int64  // when the log took it in, in seconds since 1970
	index int64  // where
	log   []byte // which: the SHA-256 of its key
	set   []byte // the log's signature over the former four
}

// parseLogAnnotation reads what cosign calls a Rekor bundle. No name may occur twice, and no value be of another type than it has to be.
func parseLogAnnotation(text string) (*logEntry, error) {
	if len(text) > MaxLogAnnotation {
		return nil, fmt.Errorf("%d bytes, over the bound of %d", len(text), MaxLogAnnotation)
	}
	top, err := strictObject([]byte(text))
	if err != nil {
		return nil, err
	}
	payload, err := strictObject(top["Payload"])
	if err != nil {
		return nil, fmt.Errorf("its Payload: %w", err)
	}
	e := &logEntry{}
	if e.set, err = base64Field(top, "SignedEntryTimestamp"); err != nil {
		return nil, err
	}
	if e.body, err = base64Field(payload, "body"); err != nil {
		return nil, err
	}
	if e.at, err = numberField(payload, "integratedTime", 1, maxUnixTime); err != nil {
		return nil, err
	}
	if e.index, err = numberField(payload, "logIndex", 0, math.MaxInt64); err != nil {
		return nil, err
	}
	id, err := stringField(payload, "logID")
	if err != nil {
		return nil, err
	}
	if e.log, err = hex.DecodeString(id); err != nil || len(e.log) != crypto.SHA256.Size() {
		return nil, errors.New("logID is no SHA-256 in hex")
	}
	body, err := strictObject(e.body)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	kind, err := stringField(body, "kind")
	if err != nil {
		return nil, err
	}
	version, err := stringField(body, "apiVersion")
	e.kind = logKind(kind + " " + version)
	return e, err
}

// protobuf is the entry as a bundle has it.
func (e *logEntry) protobuf() *protorekor.TransparencyLogEntry {
	kind, version, _ := strings.Cut(string(e.kind), " ")
	return &protorekor.TransparencyLogEntry{
		LogIndex: e.index, LogId: &protocommon.LogId{KeyId: e.log},
		KindVersion:    &protorekor.KindVersion{Kind: kind, Version: version},
		IntegratedTime: e.at, InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: e.set},
		CanonicalizedBody: e.body,
	}
}

// digest is that of the payload by the hash that the entry uses, for the two are compared: a key of P-384 or ed25519 may have been logged with
// SHA-384 or SHA-512. What the entry says is no more than a hint; the digest is that of the payload.
func (e *logEntry) digest(payload []byte) *protocommon.HashOutput {
	var body struct {
		Spec struct {
			Data struct {
				Hash struct{ Algorithm string }
			}
		}
	}
	if e != nil && json.Unmarshal(e.body, &body) != nil {
		body.Spec.Data.Hash.Algorithm = ""
	}
	hash, algorithm := crypto.SHA256, protocommon.HashAlgorithm_SHA2_256
	switch body.Spec.Data.Hash.Algorithm {
	case "sha384":
		hash, algorithm = crypto.SHA384, protocommon.HashAlgorithm_SHA2_384
	case "sha512":
		hash, algorithm = crypto.SHA512, protocommon.HashAlgorithm_SHA2_512
	}
	h := hash.New()
	h.Write(payload)
	return &protocommon.HashOutput{Algorithm: algorithm, Digest: h.Sum(nil)}
}

// parseStampAnnotation reads a signed timestamp. What it stamps, and who, is for whoever verifies it.
func parseStampAnnotation(text string) ([]byte, error) {
	if len(text) > MaxStampAnnotation {
		return nil, fmt.Errorf("%d bytes, over the bound of %d", len(text), MaxStampAnnotation)
	}
	top, err := strictObject([]byte(text))
	if err != nil {
		return nil, err
	}
	return base64Field(top, "SignedRFC3161Timestamp")
}

func base64Field(obj map[string]json.RawMessage, key string) ([]byte, error) {
	text, err := stringField(obj, key)
	if err != nil {
		return nil, err
	}
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(data) == 0 {
		return nil, fmt.Errorf("%s is no base64", key)
	}
	return data, nil
}

func numberField(obj map[string]json.RawMessage, key string, least, most int64) (int64, error) {
	var n *int64
	if err := json.Unmarshal(obj[key], &n); err != nil || n == nil || *n < least || *n > most {
		return 0, fmt.Errorf("%s is no whole number from %d to %d", key, least, most)
	}
	return *n, nil
}
