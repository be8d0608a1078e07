package verify

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
)

// loggedMessage is what a DSSE envelope's signature is over, and that signature. A client may log an envelope in Rekor v1 as a
// hashedrekord of those bytes (Sigstore client specification, "Bundle content vs. Rekor entry kind"; Rekor v2 knows no other kind). sigstore-go
// reads that of v2 alone, so that of v1 it is given the bytes and the signature in the envelope's stead, which are the same proof.
type loggedMessage struct {
	message []byte
	content sgverify.SignatureContent
}

// loggedMessageOf returns nil where the bundle's entries are of any other kind: the envelope is verified as one.
func loggedMessageOf(b *bundle.Bundle) *loggedMessage {
	env, entries := b.GetDsseEnvelope(), b.GetVerificationMaterial().GetTlogEntries()
	if env == nil || len(env.GetSignatures()) != 1 || len(entries) == 0 {
		return nil
	}
	for _, e := range entries { // what they claim; what they are is looked at below, and again where they are verified
		if kind := e.GetKindVersion(); kind.GetKind() != "hashedrekord" || kind.GetVersion() != "0.0.1" {
			return nil
		}
	}
	read, err := b.TlogEntries()
	if err != nil || len(read) == 0 || read[0].IsRekorV2() {
		return nil
	}
	_, algorithm, ok := read[0].GetHashedRekordDigest()
	hash := map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}[algorithm]
	if !ok || hash == 0 {
		return nil
	}
	// PAE of DSSE 1.0.2, protocol.
	kind, payload := env.GetPayloadType(), env.GetPayload()
	message := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
	h := hash.New()
	h.Write(message)
	return &loggedMessage{message: message, content: bundle.NewMessageSignature(h.Sum(nil), algorithm, env.GetSignatures()[0].GetSig())}
}

func (l *loggedMessage) artifact() sgverify.ArtifactPolicyOption {
	return sgverify.WithArtifact(bytes.NewReader(l.message))
}

// messageEntity is a bundle with a message in its envelope's stead.
type messageEntity struct {
	*entity
	content sgverify.SignatureContent
}

// SignatureContent implements sgverify.SignatureProvider.
func (m messageEntity) SignatureContent() (sgverify.SignatureContent, error) { return m.content, nil }

// stampsWithin tells whether each timestamp that a trusted authority vouches for is of a time at which the certificate was valid. sigstore-go
// looks at one of each authority, and passes over the others: a signature that was seen after its certificate had expired, too, is one
// that was made then, for all anybody knows.
func (o *opened) stampsWithin(m root.TrustedMaterial) error {
	if o.leaf == nil || o.stamps < 2 {
		return nil
	}
	stamps, err := o.bundle.Timestamps()
	if err != nil {
		return err
	}
	content, err := o.bundle.SignatureContent()
	if err != nil {
		return err
	}
	for _, stamp := range stamps {
		for _, authority := range m.TimestampingAuthorities() {
			at, err := authority.Verify(stamp, content.Signature())
			if err != nil {
				continue
			}
			if at.Time.Before(o.leaf.NotBefore) || at.Time.After(o.leaf.NotAfter) {
				return errors.New("failed to verify timestamps: one of several is of " + at.Time.UTC().Format(time.RFC3339) + ", when the certificate wasn't valid")
			}
			break
		}
	}
	return nil
}

// outdated are the logs that have an entry of it and weren't trusted when it was signed. sigstore-go asks that of the times that Rekor v1
// signs, but not of an entry with a proof alone, as all of Rekor v2 are: a log's key that was taken out of use, because it had leaked, say,
// could still vouch for what is signed today. Without a verified time nobody can say.
func (o *opened) outdated(m root.TrustedMaterial, res *sgverify.VerificationResult) map[string]bool {
	at := earliest(res)
	if at.IsZero() {
		return nil
	}
	var out map[string]bool
	for _, e := range o.bundle.GetVerificationMaterial().GetTlogEntries() {
		id := hex.EncodeToString(e.GetLogId().GetKeyId())
		log, ok := m.RekorLogs()[id]
		if !ok || !at.Before(log.ValidityPeriodStart) && (log.ValidityPeriodEnd.IsZero() || !at.After(log.ValidityPeriodEnd)) {
			continue
		}
		if out == nil {
			out = map[string]bool{}
		}
		out[id] = true
	}
	return out
}

// without is trusted material without some logs.
type without struct {
	root.TrustedMaterial
	logs map[string]bool
}

// RekorLogs implements root.TrustedMaterial.
func (w without) RekorLogs() map[string]*root.TransparencyLog {
	all := maps.Clone(w.TrustedMaterial.RekorLogs())
	maps.DeleteFunc(all, func(id string, _ *root.TransparencyLog) bool { return w.logs[id] })
	return all
}
