package conformance_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"golang.org/x/mod/sumdb/note"
)

// The media types of a bundle, by version.
const (
	v01    = "application/vnd.dev.sigstore.bundle+json;version=0.1"
	v02    = "application/vnd.dev.sigstore.bundle+json;version=0.2"
	v03Old = "application/vnd.dev.sigstore.bundle+json;version=0.3"
	v03    = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

// signed is what somebody signed, before it is logged or stamped.
type signed struct {
	key       *ecdsa.PrivateKey
	cert      *x509.Certificate // nil: a bare key
	artifact  []byte
	payload   []byte // of an envelope; nil: the artifact itself was signed
	signature []byte
}

const payloadType = "application/vnd.in-toto+json"

// pae is what an envelope's signature is over (DSSE 1.0.2, protocol).
func pae(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// message is what was signed.
func (s *signed) message() []byte {
	if s.payload != nil {
		return pae(s.payload)
	}
	return s.artifact
}

func (s *signed) sign(t *testing.T) *signed {
	t.Helper()
	s.signature = sign(t, s.key, s.message())
	return s
}

// statement is an in-toto Statement about an artifact.
func statement(kind string, artifact []byte) []byte {
	sum := sha256.Sum256(artifact)
	if kind != "" {
		kind = fmt.Sprintf(`"_type":%q,`, kind)
	}
	return fmt.Appendf(nil, `{%s"subject":[{"name":"a.txt","digest":{"sha256":%q}}],"predicateType":"https://example.com/test","predicate":{}}`,
		kind, hex.EncodeToString(sum[:]))
}

// verifier is what a Rekor v1 entry says about who signed: PEM.
func (s *signed) verifier(t *testing.T) []byte {
	if s.cert != nil {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})
	}
	return pemOf(t, s.key.Public())
}

// The bodies of entries, canonical by RFC 8785: their members are sorted, as json.Marshal sorts a map's.

type object = map[string]any

func canonical(t *testing.T, body object) []byte {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func hash(data []byte) object {
	sum := sha256.Sum256(data)
	return object{"algorithm": "sha256", "value": hex.EncodeToString(sum[:])}
}

// hashedrekord1 is an entry of kind hashedrekord 0.0.1.
func (s *signed) hashedrekord1(t *testing.T) *protorekor.TransparencyLogEntry {
	return entry("hashedrekord", "0.0.1", canonical(t, object{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": object{
		"data":      object{"hash": hash(s.message())},
		"signature": object{"content": s.signature, "publicKey": object{"content": s.verifier(t)}},
	}}))
}

// dsse1 is an entry of kind dsse 0.0.1.
func (s *signed) dsse1(t *testing.T) *protorekor.TransparencyLogEntry {
	envelope := canonical(t, object{"payload": s.payload, "payloadType": payloadType, "signatures": []object{{"sig": s.signature}}})
	return entry("dsse", "0.0.1", canonical(t, object{"apiVersion": "0.0.1", "kind": "dsse", "spec": object{
		"envelopeHash": hash(envelope), "payloadHash": hash(s.payload),
		"signatures": []object{{"signature": base64.StdEncoding.EncodeToString(s.signature), "verifier": s.verifier(t)}},
	}}))
}

// intoto2 is an entry of kind intoto 0.0.2, as Rekor keeps it: without the payload, and with the signature encoded twice.
func (s *signed) intoto2(t *testing.T) *protorekor.TransparencyLogEntry {
	sig := []byte(base64.StdEncoding.EncodeToString(s.signature))
	return entry("intoto", "0.0.2", canonical(t, object{"apiVersion": "0.0.2", "kind": "intoto", "spec": object{"content": object{
		"envelope": object{"payloadType": payloadType, "signatures": []object{{"publicKey": s.verifier(t), "sig": sig}}},
		"hash":     hash(s.payload), "payloadHash": hash(s.payload),
	}}}))
}

// hashedrekord2 is an entry of kind hashedrekord 0.0.2, the only one of Rekor v2.
func (s *signed) hashedrekord2(t *testing.T) *protorekor.TransparencyLogEntry {
	sum := sha256.Sum256(s.message())
	verifier := object{"keyDetails": "PKIX_ECDSA_P256_SHA_256"}
	if s.cert != nil {
		verifier["x509Certificate"] = object{"rawBytes": s.cert.Raw}
	} else {
		verifier["publicKey"] = object{"rawBytes": pkixOf(t, s.key.Public())}
	}
	return entry("hashedrekord", "0.0.2", canonical(t, object{"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": object{
		"hashedRekordV002": object{
			"data":      object{"algorithm": "SHA2_256", "digest": sum[:]},
			"signature": object{"content": s.signature, "verifier": verifier},
		},
	}}))
}

func entry(kind, version string, body []byte) *protorekor.TransparencyLogEntry {
	return &protorekor.TransparencyLogEntry{
		KindVersion: &protorekor.KindVersion{Kind: kind, Version: version}, CanonicalizedBody: body,
	}
}

// include puts an entry into a tree of two, beside another of which nothing is known (RFC 6962, section 2.1).
func include(t *testing.T, e *protorekor.TransparencyLogEntry) []byte {
	t.Helper()
	leaf := sha256.Sum256(append([]byte{0}, e.GetCanonicalizedBody()...))
	other := make([]byte, sha256.Size)
	if _, err := rand.Read(other); err != nil {
		t.Fatal(err)
	}
	root := sha256.Sum256(append(append([]byte{1}, other...), leaf[:]...))
	e.InclusionProof = &protorekor.InclusionProof{LogIndex: 1, TreeSize: 2, RootHash: root[:], Hashes: [][]byte{other}}
	return root[:]
}

// logged1 is an entry of Rekor v1 of some time, with a promise and a proof.
func (in *instance) logged1(e *protorekor.TransparencyLogEntry, at time.Time) *protorekor.TransparencyLogEntry {
	in.t.Helper()
	e.LogId = &protocommon.LogId{KeyId: logID(in.t, in.rekor1.Public())}
	e.LogIndex, e.IntegratedTime = 25579, at.Unix()
	in.promise(e)
	root := include(in.t, e)
	e.InclusionProof.Checkpoint = &protorekor.Checkpoint{Envelope: in.checkpoint1(root, in.rekor1)}
	return e
}

// promise signs an entry's timestamp (Rekor v1's SET).
func (in *instance) promise(e *protorekor.TransparencyLogEntry) {
	in.t.Helper()
	set := canonical(in.t, object{
		"body": e.GetCanonicalizedBody(), "integratedTime": e.GetIntegratedTime(), "logID": hex.EncodeToString(e.GetLogId().GetKeyId()), "logIndex": e.GetLogIndex(),
	})
	e.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: sign(in.t, in.rekor1, set)}
}

// checkpoint1 is a signed note as Rekor v1 writes it.
func (in *instance) checkpoint1(root []byte, key *ecdsa.PrivateKey) string {
	text := fmt.Sprintf("%s - %d\n2\n%s\n", rekor1Host, rekor1Tree, base64.StdEncoding.EncodeToString(root))
	hint := logID(in.t, key.Public())[:4]
	return text + "\n" + noteLine(rekor1Host, hint, sign(in.t, key, []byte(text)))
}

// noteLine is one signature of a signed note (C2SP, signed-note).
func noteLine(name string, hint, signature []byte) string {
	return fmt.Sprintf("\u2014 %s %s\n", name, base64.StdEncoding.EncodeToString(append(append([]byte{}, hint...), signature...)))
}

// logged2 is an entry of Rekor v2.
func (in *instance) logged2(e *protorekor.TransparencyLogEntry) *protorekor.TransparencyLogEntry {
	in.t.Helper()
	e.LogId, e.LogIndex = &protocommon.LogId{KeyId: in.rekor2ID()}, 1
	include(in.t, e)
	e.InclusionProof.Checkpoint = &protorekor.Checkpoint{Envelope: in.checkpoint2(e, func(text string) string {
		return in.noteSignature2(text)
	})}
	return e
}

// checkpoint2 is a signed note as Rekor v2 writes it, with whatever signatures.
func (in *instance) checkpoint2(e *protorekor.TransparencyLogEntry, signatures func(text string) string) string {
	text := fmt.Sprintf("%s\n2\n%s\n", rekor2Host, base64.StdEncoding.EncodeToString(e.GetInclusionProof().GetRootHash()))
	return text + "\n" + signatures(text)
}

// noteSignature2 is Rekor v2's own line under a note.
func (in *instance) noteSignature2(text string) string {
	return noteLine(rekor2Host, in.rekor2ID()[:4], ed25519.Sign(in.rekor2, []byte(text)))
}

// rekor2ID is how Rekor v2 is called: the whole hash of which a signed note has the first four bytes.
func (in *instance) rekor2ID() []byte {
	sum := sha256.Sum256(append([]byte(rekor2Host+"\n\x01"), in.rekor2.Public().(ed25519.PublicKey)...))
	return sum[:]
}

// stranger is the line of somebody else under a note, a witness or another log; whoever it is signs what was written.
func stranger(t *testing.T, name string) func(text string) string {
	t.Helper()
	private, _, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) string {
		signature, err := signer.Sign([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return noteLine(name, binary.BigEndian.AppendUint32(nil, signer.KeyHash()), signature)
	}
}

// bundle puts it all together.
func (s *signed) bundle(mediaType string, entries []*protorekor.TransparencyLogEntry, stamps ...[]byte) *protobundle.Bundle {
	b := &protobundle.Bundle{MediaType: mediaType, VerificationMaterial: &protobundle.VerificationMaterial{TlogEntries: entries}}
	switch m := b.VerificationMaterial; {
	case s.cert == nil:
		hint := sha256.Sum256(mustPKIX(s.key.Public()))
		m.Content = &protobundle.VerificationMaterial_PublicKey{
			PublicKey: &protocommon.PublicKeyIdentifier{Hint: base64.StdEncoding.EncodeToString(hint[:])},
		}
	case mediaType == v01 || mediaType == v02:
		m.Content = chain(s.cert)
	default:
		m.Content = &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: s.cert.Raw}}
	}
	if len(stamps) > 0 {
		b.VerificationMaterial.TimestampVerificationData = stampsOf(stamps...)
	}
	if s.payload != nil {
		b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: s.payload, PayloadType: payloadType, Signatures: []*protodsse.Signature{{Sig: s.signature}},
		}}
		return b
	}
	sum := sha256.Sum256(s.artifact)
	b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]}, Signature: s.signature,
	}}
	return b
}

func stampsOf(stamps ...[]byte) *protobundle.TimestampVerificationData {
	out := &protobundle.TimestampVerificationData{}
	for _, s := range stamps {
		out.Rfc3161Timestamps = append(out.Rfc3161Timestamps, &protocommon.RFC3161SignedTimestamp{SignedTimestamp: s})
	}
	return out
}

func chain(certs ...*x509.Certificate) *protobundle.VerificationMaterial_X509CertificateChain {
	out := &protocommon.X509CertificateChain{}
	for _, c := range certs {
		out.Certificates = append(out.Certificates, &protocommon.X509Certificate{RawBytes: c.Raw})
	}
	return &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: out}
}

func mustPKIX(key crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err) // a P-256 key that was just made
	}
	return der
}
