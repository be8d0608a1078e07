package verifytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	rekortiles "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	rekornote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	rekorutil "github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
	checkpoints "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"google.golang.org/protobuf/encoding/protojson"
)

// rekorV1Tree is the ID of Rekor v1's one tree.
const rekorV1Tree = 1193050959916656506

// entry is a transparency log entry as bundles have it. A log is a tree of two leaves, in which the entry is now the left, now the right.
func (w *work) entry(l Log, body func() map[string]any) map[string]any {
	index := w.on.counted.Add(1) - 1
	if l == RekorV2 {
		return w.entryV2(index)
	}
	canonical, err := json.Marshal(body()) // names are sorted, and no text in it needs escapes
	if err != nil {
		w.tb.Fatal(err)
	}
	log := w.on.rekor1
	kind, _ := body()["kind"].(string)
	out := map[string]any{
		"logIndex": index, "logId": map[string]any{"keyId": b64(log.id)}, "kindVersion": map[string]any{"kind": kind, "version": "0.0.1"},
		"integratedTime": w.by.At.Unix(), "canonicalizedBody": b64(canonical),
	}
	if l != RekorV1Proof {
		out["inclusionPromise"] = map[string]any{"signedEntryTimestamp": b64(w.promise(log, canonical, index))}
	}
	if l == RekorV1Promise {
		return out
	}
	root, sibling := tree(rfc6962.DefaultHasher.HashLeaf(canonical), index%2)
	signer, err := signature.LoadECDSASignerVerifier(log.key, crypto.SHA256)
	if err != nil {
		w.tb.Fatal(err)
	}
	checkpoint, err := rekorutil.CreateAndSignCheckpoint(w.ctx, rekorV1Host, rekorV1Tree, 2, root, signer)
	if err != nil {
		w.tb.Fatal(err)
	}
	out["inclusionProof"] = proof(index%2, root, sibling, string(checkpoint))
	return out
}

// promise is the signed entry timestamp: over the canonical JSON (RFC 8785) of four fields.
func (w *work) promise(l *log, body []byte, index int64) []byte {
	text, err := json.Marshal(map[string]any{
		"body": b64(body), "integratedTime": w.by.At.Unix(), "logID": hex.EncodeToString(l.id), "logIndex": index,
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	sum := sha256.Sum256(text)
	sig, err := ecdsa.SignASN1(rand.Reader, l.key, sum[:])
	if err != nil {
		w.tb.Fatal(err)
	}
	return sig
}

// tree is the root of a tree of two leaves with one at an index, and the other.
func tree(leaf []byte, index int64) (root, sibling []byte) {
	sum := sha256.Sum256([]byte("the other leaf"))
	sibling = sum[:]
	if index == 0 {
		return rfc6962.DefaultHasher.HashChildren(leaf, sibling), sibling
	}
	return rfc6962.DefaultHasher.HashChildren(sibling, leaf), sibling
}

func proof(index int64, root, sibling []byte, checkpoint string) map[string]any {
	return map[string]any{
		"logIndex": index, "rootHash": b64(root), "treeSize": 2, "hashes": []any{b64(sibling)},
		"checkpoint": map[string]any{"envelope": checkpoint},
	}
}

// entryV2 is Rekor v2's entry, always a hashedrekord 0.0.2.
func (w *work) entryV2(index int64) map[string]any {
	index %= 2
	algorithm, err := signature.GetDefaultAlgorithmDetails(w.key.Public(), options.WithED25519ph())
	if err != nil {
		w.tb.Fatal(err)
	}
	verifier := &rekortiles.Verifier{KeyDetails: algorithm.GetSignatureAlgorithm()}
	if w.certificate != nil {
		verifier.Verifier = &rekortiles.Verifier_X509Certificate{X509Certificate: &protocommon.X509Certificate{RawBytes: w.certificate.Raw}}
	} else {
		verifier.Verifier = &rekortiles.Verifier_PublicKey{PublicKey: &rekortiles.PublicKey{RawBytes: w.der()}}
	}
	h := algorithm.GetHashType().New()
	h.Write(w.signed)
	text, err := protojson.Marshal(&rekortiles.Entry{Kind: "hashedrekord", ApiVersion: "0.0.2", Spec: &rekortiles.Spec{
		Spec: &rekortiles.Spec_HashedRekordV002{HashedRekordV002: &rekortiles.HashedRekordLogEntryV002{
			Data:      &protocommon.HashOutput{Digest: h.Sum(nil), Algorithm: algorithm.GetProtoHashType()},
			Signature: &rekortiles.Signature{Content: w.signature, Verifier: verifier},
		}},
	}})
	if err != nil {
		w.tb.Fatal(err)
	}
	body, err := jsoncanonicalizer.Transform(text)
	if err != nil {
		w.tb.Fatal(err)
	}
	root, sibling := tree(rfc6962.DefaultHasher.HashLeaf(body), index)
	return map[string]any{
		"logIndex": index, "logId": map[string]any{"keyId": b64(w.on.rekor2.id)}, "kindVersion": map[string]any{"kind": "hashedrekord", "version": "0.0.2"},
		"canonicalizedBody": b64(body), "inclusionProof": proof(index, root, sibling, w.checkpoint(root)),
	}
}

// der is the PKIX DER of the signer's key.
func (w *work) der() []byte {
	out, err := x509.MarshalPKIXPublicKey(w.key.Public())
	if err != nil {
		w.tb.Fatal(err)
	}
	return out
}

// checkpoint is Rekor v2's signed tree head (C2SP tlog-checkpoint).
func (w *work) checkpoint(root []byte) string {
	signer, err := signature.LoadECDSASignerVerifier(w.on.rekor2.key, crypto.SHA256)
	if err != nil {
		w.tb.Fatal(err)
	}
	by, err := rekornote.NewNoteSigner(w.ctx, rekorV2Host, signer)
	if err != nil {
		w.tb.Fatal(err)
	}
	text, err := note.Sign(&note.Note{Text: string(checkpoints.Checkpoint{Origin: rekorV2Host, Size: 2, Hash: root}.Marshal())}, by)
	if err != nil {
		w.tb.Fatal(err)
	}
	return string(text)
}

// Unbound returns an entry that no log makes: of Rekor v2's kind, in a tree whose head Rekor v1 signs. What reads it as either forgets
// to compare it with what was signed.
func (s *Sigstore) Unbound(tb testing.TB, by Signing, image v1.Hash) map[string]any {
	tb.Helper()
	w := s.work(tb, by)
	w.signed = []byte(image.String())
	w.signature = signed(tb, w.key, w.signed)
	e := w.entryV2(0)
	body, err := base64.StdEncoding.DecodeString(e["canonicalizedBody"].(string))
	if err != nil {
		tb.Fatal(err)
	}
	root, sibling := tree(rfc6962.DefaultHasher.HashLeaf(body), 0)
	signer, err := signature.LoadECDSASignerVerifier(s.rekor1.key, crypto.SHA256)
	if err != nil {
		tb.Fatal(err)
	}
	checkpoint, err := rekorutil.CreateAndSignCheckpoint(tb.Context(), rekorV1Host, rekorV1Tree, 2, root, signer)
	if err != nil {
		tb.Fatal(err)
	}
	e["logId"], e["inclusionProof"] = map[string]any{"keyId": b64(s.rekor1.id)}, proof(0, root, sibling, string(checkpoint))
	return e
}
