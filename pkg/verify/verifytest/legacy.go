package verifytest

import (
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"testing"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// The annotations of cosign's legacy layers.
const (
	SignatureAnnotation   = "dev.cosignproject.cosign/signature"
	CertificateAnnotation = "dev.sigstore.cosign/certificate"
	ChainAnnotation       = "dev.sigstore.cosign/chain"
	LogAnnotation         = "dev.sigstore.cosign/bundle"
	StampAnnotation       = "dev.sigstore.cosign/rfc3161timestamp"
)

// EntryKind is a kind of entry of Rekor v1, with its version.
type EntryKind string

// The kinds that cosign made over the years.
const (
	HashedRekord    EntryKind = "hashedrekord 0.0.1"         // for signatures
	HashedRekord384 EntryKind = "hashedrekord 0.0.1, sha384" // the same by another hash
	OldRekord       EntryKind = "rekord 0.0.1"               // before those
	DSSE            EntryKind = "dsse 0.0.1"                 // for attestations
	Intoto          EntryKind = "intoto 0.0.2"               // before those
	OldIntoto       EntryKind = "intoto 0.0.1"               // and before those
)

// LegacySignature returns a layer of the .sig layout over a payload: with an entry of a kind in Rekor v1 if the signing says that it is logged, with the
// timestamp of one authority if it says so, with the certificate if there is one, and what is above it if it says so.
func (s *Sigstore) LegacySignature(tb testing.TB, by Signing, payload []byte, kind EntryKind) verify.Candidate {
	tb.Helper()
	w := s.work(tb, by)
	w.signed, w.signature = payload, signed(tb, w.key, payload)
	annotations := w.annotations(kind, payload, w.signature)
	annotations[SignatureAnnotation] = b64(w.signature)
	return legacyLayer(verify.LegacySignature, verify.PlaceSignatures, payload, annotations)
}

// LegacyAttestation returns a layer of the .att layout. What is stamped is the signature, as cosign 3 has it, or the whole envelope, as cosign 2 has it.
func (s *Sigstore) LegacyAttestation(tb testing.TB, by Signing, payload []byte, kind EntryKind, stampWhole bool) verify.Candidate {
	tb.Helper()
	const payloadType = "application/vnd.in-toto+json"
	w := s.work(tb, by)
	w.signed = fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
	w.signature = signed(tb, w.key, w.signed)
	layer, err := json.Marshal(map[string]any{
		"payloadType": payloadType, "payload": b64(payload), "signatures": []any{map[string]any{"keyid": "", "sig": b64(w.signature)}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	stamped := w.signature
	if stampWhole {
		stamped = layer
	}
	w.signed = layer // what an entry's hash of the envelope is over
	annotations := w.annotations(kind, payload, stamped)
	annotations[SignatureAnnotation] = ""
	return legacyLayer(verify.LegacyAttestation, verify.PlaceAttestation, layer, annotations)
}

func legacyLayer(kind verify.Kind, place verify.Place, layer []byte, annotations map[string]string) verify.Candidate {
	return verify.Candidate{Payload: layer, Paper: verify.Paper{
		Kind: kind, Place: place, Size: int64(len(layer)), Digest: Digest(fmt.Sprint(string(layer), annotations)), Annotations: annotations,
	}}
}

// annotations are what comes with a layer.
func (w *work) annotations(kind EntryKind, payload, stamped []byte) map[string]string {
	out := map[string]string{}
	if w.certificate != nil {
		out[CertificateAnnotation] = string(w.verifier())
	}
	if w.by.Chain {
		for _, c := range append(w.above, w.by.More...) {
			out[ChainAnnotation] += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
		}
	}
	if len(w.by.Logs) > 0 {
		out[LogAnnotation] = w.logged(w.oldBody(kind, payload))
	}
	for _, which := range w.by.Stamps {
		out[StampAnnotation] = w.text(map[string]any{"SignedRFC3161Timestamp": b64(w.on.Stamp(w.tb, which, stamped, w.by.StampedAt))})
	}
	return out
}

// logged is an entry as cosign keeps it: with the promise of Rekor v1.
func (w *work) logged(body map[string]any) string {
	canonical := []byte(w.text(body)) // names are sorted, and no text in it needs escapes
	index := w.on.counted.Add(1)
	return w.text(map[string]any{
		"SignedEntryTimestamp": b64(w.promise(w.on.rekor1, canonical, index)),
		"Payload": map[string]any{
			"body": b64(canonical), "integratedTime": w.by.At.Unix(), "logIndex": index, "logID": hex.EncodeToString(w.on.rekor1.id),
		},
	})
}

func (w *work) text(doc map[string]any) string {
	text, err := json.Marshal(doc)
	if err != nil {
		w.tb.Fatal(err)
	}
	return string(text)
}

// oldBody is an entry of a kind. Its hash of an envelope is over what is signed.
func (w *work) oldBody(kind EntryKind, payload []byte) map[string]any {
	switch kind {
	case HashedRekord, HashedRekord384:
		hash := hashed(payload)
		if kind == HashedRekord384 {
			hash = map[string]any{"algorithm": "sha384", "value": fmt.Sprintf("%x", sha512.Sum384(payload))}
		}
		return map[string]any{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": map[string]any{
			"data":      map[string]any{"hash": hash},
			"signature": map[string]any{"content": b64(w.signature), "publicKey": map[string]any{"content": b64(w.verifier())}},
		}}
	case OldRekord:
		return map[string]any{"apiVersion": "0.0.1", "kind": "rekord", "spec": map[string]any{
			"data": map[string]any{"hash": hashed(payload)},
			"signature": map[string]any{
				"content": b64(w.signature), "format": "x509", "publicKey": map[string]any{"content": b64(w.verifier())},
			},
		}}
	case DSSE:
		return map[string]any{"apiVersion": "0.0.1", "kind": "dsse", "spec": map[string]any{
			"envelopeHash": hashed(w.signed), "payloadHash": hashed(payload),
			"signatures": []any{map[string]any{"signature": b64(w.signature), "verifier": b64(w.verifier())}},
		}}
	case Intoto: // signature and key are in base64 twice: such is the schema
		return map[string]any{"apiVersion": "0.0.2", "kind": "intoto", "spec": map[string]any{"content": map[string]any{
			"envelope": map[string]any{
				"payloadType": "application/vnd.in-toto+json",
				"signatures":  []any{map[string]any{"publicKey": b64(w.verifier()), "sig": b64([]byte(b64(w.signature)))}},
			},
			"hash": hashed(w.signed), "payloadHash": hashed(payload),
		}}}
	case OldIntoto:
		return map[string]any{"apiVersion": "0.0.1", "kind": "intoto", "spec": map[string]any{
			"content":   map[string]any{"hash": hashed(w.signed), "payloadHash": hashed(payload)},
			"publicKey": b64(w.verifier()),
		}}
	}
	w.tb.Fatalf("no such kind of entry: %s", kind)
	return nil
}
