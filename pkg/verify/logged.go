package verify

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
)

// loggedMessage is what a DSSE envelope's signature is over, and that signature. A client may log an envelope in Rekor v1 as a
// hashedrekord of those bytes (Sigstore client specification, "Bundle content vs. Rekor entry kind"; Rekor v2 knows no other kind). sigstore-go
// reads that of v2 alone, so that of v1 it is given the bytes and the signature in the envelope's stead, which are the same proof.
type loggedMessage struct {
	head, payload []byte // of the pre-authentication encoding
	content       sgverify.SignatureContent
}

// loggedMessageOf returns nil where the bundle's entries are of any other kind: the envelope is verified as one.
func loggedMessageOf(b *bundle.Bundle) *loggedMessage {
	env, entries := b.GetDsseEnvelope(), b.GetVerificationMaterial().GetTlogEntries()
	if env == nil || len(env.GetSignatures()) != 1 {
		return nil
	}
	if len(entries) == 0 {
		if len(env.GetPayload()) <= MaxSmallPaper || certifiedEd25519(b) {
			return nil
		}
		return messageOf(env, crypto.SHA256, "sha256") // nobody knows it as anything, and sigstore-go would copy a large payload four times
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
	return messageOf(env, hash, algorithm)
}

// messageOf brings an envelope into the form of its pre-authentication encoding (PAE of DSSE 1.0.2, protocol).
func messageOf(env *protodsse.Envelope, hash crypto.Hash, algorithm string) *loggedMessage {
	kind, payload := env.GetPayloadType(), env.GetPayload()
	m := &loggedMessage{head: fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(kind), kind, len(payload)), payload: payload}
	h := hash.New()
	h.Write(m.head)
	h.Write(m.payload)
	m.content = bundle.NewMessageSignature(h.Sum(nil), algorithm, env.GetSignatures()[0].GetSig())
	return m
}

// certifiedEd25519 tells whether it is signed by a certificate's ed25519 key: of those sigstore-go takes a message to be hashed first, and an
// envelope not to be.
func certifiedEd25519(b *bundle.Bundle) bool {
	material := b.GetVerificationMaterial()
	raw := material.GetCertificate().GetRawBytes()
	if chain := material.GetX509CertificateChain().GetCertificates(); len(chain) > 0 {
		raw = chain[0].GetRawBytes()
	}
	if raw == nil {
		return false
	}
	c, err := x509.ParseCertificate(raw)
	return err != nil || c.PublicKeyAlgorithm == x509.Ed25519
}

func (l *loggedMessage) artifact() sgverify.ArtifactPolicyOption {
	return sgverify.WithArtifact(io.MultiReader(bytes.NewReader(l.head), bytes.NewReader(l.payload)))
}

// messageEntity is a bundle with a message in its envelope's stead, or with an envelope that was made before.
type messageEntity struct {
	*entity
	content sgverify.SignatureContent
}

// SignatureContent implements sgverify.SignatureProvider.
func (m messageEntity) SignatureContent() (sgverify.SignatureContent, error) { return m.content, nil }

// signed is what was opened as a log and a timestamp authority know it.
func (o *opened) signed(b *entity) sgverify.SignedEntity {
	if o.message != nil {
		return messageEntity{b, o.message.content}
	}
	if content, err := o.signatureContent(); err == nil {
		return messageEntity{b, content}
	}
	return b
}

// signatureContent is what the bundle's signature is over, and that. It is made once: of an envelope it has the payload in base64 again.
func (o *opened) signatureContent() (sgverify.SignatureContent, error) {
	if o.content == nil {
		content, err := o.bundle.SignatureContent()
		if err != nil {
			return nil, err
		}
		o.content = content
	}
	return o.content, nil
}

// stampedBy are all timestamps that came with it and that a trusted authority vouches for. sigstore-go looks at one of each authority and
// passes over the others, in the order in which they came: an earlier one would not count, and one that is out of time not be seen.
func (o *opened) stampedBy(m root.TrustedMaterial) ([]sgverify.TimestampVerificationResult, error) {
	stamps, err := o.bundle.Timestamps()
	if err != nil {
		return nil, err
	}
	content, err := o.signatureContent()
	if err != nil {
		return nil, err
	}
	var out []sgverify.TimestampVerificationResult
	for _, stamp := range stamps {
		for _, authority := range m.TimestampingAuthorities() {
			if at, err := authority.Verify(stamp, content.Signature()); err == nil {
				out = append(out, sgverify.TimestampVerificationResult{Type: "TimestampAuthority", URI: at.URI, Timestamp: at.Time})
				break
			}
		}
	}
	return out, nil
}

// everyStamp puts all timestamps in the place of those that sigstore-go looked at. Each must be of a time at which the certificate was
// valid: a signature that was seen after its certificate had expired, too, is one that was made then, for all anybody knows.
func (o *opened) everyStamp(m root.TrustedMaterial, res *sgverify.VerificationResult) error {
	stamp := func(t sgverify.TimestampVerificationResult) bool { return t.Type == "TimestampAuthority" }
	if o.stamps < 2 || !slices.ContainsFunc(res.VerifiedTimestamps, stamp) {
		return nil
	}
	stamps, err := o.stampedBy(m)
	if err != nil {
		return err
	}
	for _, s := range stamps {
		if res.Signature.Certificate != nil && (s.Timestamp.Before(o.leaf.NotBefore) || s.Timestamp.After(o.leaf.NotAfter)) {
			return errors.New("failed to verify timestamps: one of several is of " + told(s.Timestamp) + ", when the certificate wasn't valid")
		}
	}
	res.VerifiedTimestamps = append(slices.DeleteFunc(res.VerifiedTimestamps, stamp), stamps...)
	return nil
}

// outdated are the logs that have an entry of it and weren't trusted at a time: the earliest at which the signature was seen, or else now.
// sigstore-go asks that of the times that Rekor v1 signs, but not of an entry with a proof alone, as all of Rekor v2 are: a log's key that
// was taken out of use, because it had leaked, say, could still vouch for what is signed today. Nothing but a verified time shows that
// something was signed before.
func (o *opened) outdated(m root.TrustedMaterial, at time.Time) map[string]bool {
	var out map[string]bool
	for id, log := range o.logs(m) {
		if !at.Before(log.ValidityPeriodStart) && (log.ValidityPeriodEnd.IsZero() || !at.After(log.ValidityPeriodEnd)) {
			continue
		}
		if out == nil {
			out = map[string]bool{}
		}
		out[id] = true
	}
	return out
}

// logs are the trusted logs that it claims an entry of.
func (o *opened) logs(m root.TrustedMaterial) map[string]*root.TransparencyLog {
	out := map[string]*root.TransparencyLog{}
	for _, e := range o.bundle.GetVerificationMaterial().GetTlogEntries() {
		id := hex.EncodeToString(e.GetLogId().GetKeyId())
		if log, ok := m.RekorLogs()[id]; ok {
			out[id] = log
		}
	}
	return out
}

// logsEnd is when the first of its logs ends that haven't ended yet: until then it may be believed where that was judged by now. Zero if none does.
func (o *opened) logsEnd(m root.TrustedMaterial, now time.Time) time.Time {
	var end time.Time
	for _, log := range o.logs(m) {
		if log.ValidityPeriodEnd.After(now) {
			end = sooner(end, log.ValidityPeriodEnd)
		}
	}
	return end
}

// sooner is the first of two ends, of which a zero one never comes.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// untimely says that something isn't shown without the logs that weren't trusted at a time.
func untimely(m root.TrustedMaterial, out map[string]bool, at time.Time, err error) error {
	var names []string
	for id := range out {
		names = append(names, clip(m.RekorLogs()[id].BaseURL))
	}
	slices.Sort(names)
	return lacks{fmt.Errorf("%s isn't trusted at %s, and nothing shows that it was signed at another time: %w", strings.Join(names, ", "), told(at), err), LackLogTrust}
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
