package verify

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	cosignbundle "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// oldEntry is a log entry of a kind that sigstore-go doesn't read: intoto 0.0.1, which early cosign made for attestations, and rekord 0.0.1, which it
// made for signatures. It is left out of the bundle that a legacy object is brought into. cosign's functions for single objects verify it:
// that a trusted log signed it, and that it is about this very object and key; of the object they verify the signature too.
//
// Everything else is verified here, as for other objects: cosign would ask for less of the chain, of identities and of timestamps.
type oldEntry struct {
	logEntry
	image     v1.Hash
	layer     []byte // the payload that was signed, or the whole envelope
	signature []byte // nil for an envelope, which has its own
}

// modestOld looks over an entry before cosign reads it, as those of bundles are looked over.
func (e *logEntry) modestOld() error {
	if len(e.body) > MaxEntry {
		return fmt.Errorf("a body of %d bytes, over the bound of %d", len(e.body), MaxEntry)
	}
	_, err := modestBody(e.body)
	return err
}

// oldProver is a kind of authority that may use old entries.
type oldProver interface {
	// proveOld is prove with the old entry as the log's.
	proveOld(ctx context.Context, o *opened, t Terms, left *budget, now time.Time) (proof, error)
}

// proveOld tries once more what wasn't shown, or was without a time, with the old entry as what the log says.
func (a Authority) proveOld(ctx context.Context, o *opened, left *budget, now time.Time, without proof, err error) (proof, error) {
	t := a.terms
	var short unproven
	if o.old == nil || t.Trust == nil || !o.about || err == nil && !without.at.IsZero() || err != nil && !errors.As(err, &short) {
		return without, err
	}
	if t.Log == Required && t.Trust.thresholds.Logs > 1 {
		short.lack, short.why = LackLogTrust, fmt.Sprintf("entries of %d logs are asked for, and one of the old kind %s came with it", t.Trust.thresholds.Logs, o.old.kind)
		return proof{}, short
	}
	who, ok := a.who.(oldProver)
	if !ok {
		return without, err
	}
	p, oldErr := who.proveOld(ctx, o, t, left, now)
	switch {
	case oldErr == nil || stop(oldErr):
		return p, oldErr
	case err == nil: // what was shown without the entry is shown
		return without, nil
	}
	short.lack, short.why = o.old.lacking(t, oldErr), fmt.Sprintf("with its log entry of the old kind %s: %s", o.old.kind, why(oldErr))
	return proof{}, short
}

// lacking says what the entry lacks. It reads cosign's words as package-wide lacking does sigstore-go's, and decides as little.
func (e *oldEntry) lacking(t Terms, err error) Lack {
	var known lacks
	text := err.Error()
	switch {
	case errors.As(err, &known):
		return known.lack
	case !t.knows(e.log):
		return LackLogTrust
	case strings.Contains(text, "comparing public key"), strings.Contains(text, "matching bundle to payload"), strings.Contains(text, "does not match"):
		return LackLogMatch
	case strings.Contains(text, "certificate expired before"):
		return LackExpired
	case strings.Contains(text, "certificate was issued after"):
		return LackNotYet
	}
	return LackLogProof
}

func (h keyHolders) proveOld(ctx context.Context, o *opened, t Terms, left *budget, now time.Time) (proof, error) {
	b, err := o.byKey()
	if err != nil {
		return proof{}, err
	}
	rest := t
	rest.Log = Optional // as far as the bundle goes; the entry isn't in it, and comes below
	short := error(lacks{errors.New("no key verifies it"), LackSignature})
	for _, k := range h.likeliest(o.hint) {
		res, err := k.verify(ctx, b, o, rest, left, now)
		if stop(err) {
			return proof{}, err
		}
		if err != nil {
			continue
		}
		by := witnesses(res)
		at, err := o.old.seen(ctx, t, cosign.CheckOpts{SigVerifier: k.verifier, IgnoreSCT: true}, nil, left)
		if err != nil {
			if stop(err) {
				return proof{}, err
			}
			short = err
			continue
		}
		by = append(by, at)
		return proof{signer: k.fingerprint, key: k.fingerprint, who: "key " + k.fingerprint.String(), at: firstOf(by), seen: by}, nil
	}
	return proof{}, short
}

func (k keyless) proveOld(ctx context.Context, o *opened, t Terms, left *budget, _ time.Time) (proof, error) {
	if o.leaf == nil {
		return proof{}, errNoCertificate
	}
	claimed, err := certificate.SummarizeCertificate(o.leaf)
	if err != nil {
		return proof{}, err
	}
	i := slices.IndexFunc(k.identities, func(id Identity) bool { return id.fulcio.Verify(claimed) == nil })
	if i < 0 {
		return proof{}, errors.New("it is somebody else's")
	}
	id, th := k.identities[i], t.Trust.thresholds
	by, err := o.oldWitnesses(ctx, t, cosign.CheckOpts{IgnoreSCT: th.SCTs == 0, Identities: []cosign.Identity{{
		Issuer: id.spec.Issuer, IssuerRegExp: id.fulcio.Issuer.Regexp.String(),
		Subject: id.spec.Subject, SubjectRegExp: id.fulcio.SubjectAlternativeName.Regexp.String(),
	}}}, left)
	if err != nil {
		return proof{}, err
	}
	res := sgverify.VerificationResult{VerifiedIdentity: &id.fulcio, Signature: &sgverify.SignatureVerificationResult{Certificate: &claimed}}
	for _, w := range by {
		chains, err := sgverify.VerifyLeafCertificate(w.Time, checkable(o.leaf), t.Trust.material)
		if err != nil {
			return proof{}, lacks{fmt.Errorf("the certificate's chain at %s: %w", told(w.Time), err), LackChain}
		}
		if th.SCTs > 0 {
			if err := sgverify.VerifySignedCertificateTimestamp(chains, th.SCTs, t.Trust.material); err != nil {
				return proof{}, lacks{err, LackSCT}
			}
		}
		kind := "TimestampAuthority"
		if w.Log {
			kind = "Tlog"
		}
		res.VerifiedTimestamps = append(res.VerifiedTimestamps, sgverify.TimestampVerificationResult{Type: kind, URI: w.Name, Timestamp: w.Time})
	}
	return k.shown(o, &res)
}

func (c certificates) proveOld(ctx context.Context, o *opened, t Terms, left *budget, now time.Time) (proof, error) {
	if o.leaf == nil {
		return proof{}, errNoCertificate
	}
	name, ok := c.named(o.leaf)
	if !ok {
		return proof{}, errors.New("it is somebody else's")
	}
	key, err := newKey(o.leaf.PublicKey)
	if err != nil {
		return proof{}, err
	}
	// The chain is of an own PKI, which cosign is told nothing of: for it, it is the certificate's key that signs.
	by, err := o.oldWitnesses(ctx, t, cosign.CheckOpts{SigVerifier: key.verifier, IgnoreSCT: true}, left)
	if err != nil {
		return proof{}, err
	}
	if err := left.spendChain(ctx, o); err != nil {
		return proof{}, err
	}
	if _, err := c.chain(o, sighting{by: by}.times(), now); err != nil {
		return proof{}, unproven{name, lackOf(err), err.Error()}
	}
	return proof{signer: digestOf([]byte("certificate"), []byte(name)), key: key.fingerprint, who: name, at: firstOf(by), seen: by, firm: firm(o.leaf)}, nil
}

// oldWitnesses are the log, by the old entry, and the timestamp authorities that saw the signature by the certificate that came with it, as the terms
// demand. That the signature is one over the object, and the object about the image, is verified too; whose the certificate is, and since when,
// isn't judged.
func (o *opened) oldWitnesses(ctx context.Context, t Terms, co cosign.CheckOpts, left *budget) ([]Witness, error) {
	if err := left.spend(ctx); err != nil {
		return nil, err
	}
	if err := o.bare(); err != nil {
		return nil, lacks{err, LackSignature}
	}
	logged, err := o.old.seen(ctx, t, co, o.leaf, left)
	if err != nil {
		return nil, err
	}
	by, need := []Witness{logged}, 1
	if t.Timestamp == Required {
		need = t.Trust.thresholds.Timestamps
	} else if o.stamps == 0 {
		return by, nil
	}
	b, err := o.byCertificate()
	if err != nil {
		return nil, err
	}
	if err := left.spendStamps(ctx, o, t); err != nil {
		return nil, err
	}
	stamps, err := sgverify.VerifySignedTimestampWithThreshold(b, o.material(t, nil), need)
	switch {
	case err != nil && t.Timestamp == Required:
		return nil, lacks{err, lackingTime(o, t)}
	case err != nil: // one that doesn't verify is as if it weren't there
		return by, nil
	}
	for _, s := range stamps {
		by = append(by, Witness{Name: s.URI, Time: s.Time})
	}
	return by, nil
}

// firstOf is the earliest time of some witnesses.
func firstOf(by []Witness) time.Time { return first(sighting{by: by}.times()) }

// seen is the log's word, if cosign verifies the entry and the object on the options given, which are used once. Without a certificate the
// entry must be of the bare key.
func (e *oldEntry) seen(ctx context.Context, t Terms, co cosign.CheckOpts, leaf *x509.Certificate, left *budget) (w Witness, err error) {
	defer func() {
		if p := recover(); p != nil { // its code takes types and lengths for granted
			w, err = Witness{}, errors.New("the entry makes the verification fail")
		}
	}()
	if err := left.spend(ctx); err != nil {
		return Witness{}, err
	}
	co.TrustedMaterial = t.Trust.material
	// No network, and no use of timestamps: what cosign does with those it can't verify ends the process.
	co.Offline, co.RekorClient, co.IgnoreTlog, co.UseSignedTimestamps = true, nil, false, false
	with := []static.Option{static.WithBundle(&cosignbundle.RekorBundle{
		SignedEntryTimestamp: e.set,
		Payload: cosignbundle.RekorPayload{
			Body: base64.StdEncoding.EncodeToString(e.body), IntegratedTime: e.at, LogIndex: e.index, LogID: hex.EncodeToString(e.log),
		},
	})}
	if leaf != nil {
		with = append(with, static.WithCertChain(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), nil))
	}
	var logged bool
	if e.signature != nil {
		co.ClaimVerifier = cosign.SimpleClaimVerifier
		sig, err := static.NewSignature(e.layer, base64.StdEncoding.EncodeToString(e.signature), with...)
		if err != nil {
			return Witness{}, err
		}
		if logged, err = cosign.VerifyImageSignature(ctx, sig, e.image, &co); err != nil {
			return Witness{}, err
		}
	} else {
		co.ClaimVerifier = cosign.IntotoSubjectClaimVerifier
		att, err := static.NewAttestation(e.layer, with...)
		if err != nil {
			return Witness{}, err
		}
		if logged, err = cosign.VerifyBlobAttestation(ctx, att, e.image, &co); err != nil {
			return Witness{}, err
		}
	}
	log, known := t.Trust.material.RekorLogs()[hex.EncodeToString(e.log)]
	if !logged || !known {
		return Witness{}, errors.New("the entry was not verified")
	}
	return Witness{Log: true, Name: log.BaseURL, Time: time.Unix(e.at, 0)}, nil
}

// checkable is a certificate whose chain crypto/x509 can check: it doesn't know names of other types than its own (OtherName), which Fulcio may
// mark as critical, and which are compared elsewhere.
func checkable(leaf *x509.Certificate) *x509.Certificate {
	c := *leaf
	c.UnhandledCriticalExtensions = nil
	for _, oid := range leaf.UnhandledCriticalExtensions {
		if !oid.Equal(cryptoutils.SANOID) {
			c.UnhandledCriticalExtensions = append(c.UnhandledCriticalExtensions, oid)
		}
	}
	return &c
}
