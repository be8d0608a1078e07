package verify

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
)

// Lack is what was not shown of a candidate that claims to be by the authority. It decides nothing: it is for people, who are told what to
// do about it. The zero Lack says that it is none of the others, and Miss.Why has the words of the verification.
type Lack uint8

// The lacks.
const (
	LackOther      Lack = iota
	LackSignature       // the signature isn't one by that key over what is there
	LackLog             // no entry of a transparency log came with it
	LackLogTrust        // its log entries are of no log of the trust root, or of fewer than are asked for
	LackLogMatch        // its log entry is about something else
	LackLogProof        // the log doesn't vouch for the entry: its promise or its proof of inclusion doesn't hold
	LackStamp           // no signed timestamp came with it
	LackStampTrust      // its timestamps are by no authority of the trust root, or of something else
	LackTime            // nobody who is trusted says when it was signed
	LackExpired         // its certificate, or one above, had expired when it was signed
	LackExpiredNow      // the same by now, and no verified time says that it was signed before
	LackNotYet          // its certificate, or one above, was not valid yet when it was signed
	LackChain           // its certificate doesn't lead to a root
	LackSCT             // its certificate is in no certificate transparency log of the trust root
	LackUse             // its certificate is not for signing code
)

// String says it in a clause for people, about a signature that was named.
func (l Lack) String() string {
	switch l {
	case LackSignature:
		return "the signature doesn't fit what it is over: one of them was changed"
	case LackLog:
		return "no transparency log entry came with it"
	case LackLogTrust:
		return "its transparency log entry is of a log that isn't trusted"
	case LackLogMatch:
		return "its transparency log entry is about something else"
	case LackLogProof:
		return "the transparency log doesn't vouch for its entry"
	case LackStamp:
		return "no signed timestamp came with it"
	case LackStampTrust:
		return "its timestamp is by an authority that isn't trusted, or of something else"
	case LackTime:
		return "no log or timestamp that is trusted says when it was signed"
	case LackExpired:
		return "its certificate had expired when it was signed"
	case LackExpiredNow:
		return "its certificate has expired, and no verified time says that it was signed before"
	case LackNotYet:
		return "its certificate was not valid yet when it was signed"
	case LackChain:
		return "its certificate doesn't lead to a trusted root"
	case LackSCT:
		return "its certificate is in no certificate transparency log that is trusted"
	case LackUse:
		return "its certificate is not for signing code"
	case LackOther:
	}
	return "it doesn't verify"
}

// lacks is an error that knows which lack it is.
type lacks struct {
	error
	lack Lack
}

// Unwrap returns the cause.
func (l lacks) Unwrap() error { return l.error }

func lackOf(err error) Lack {
	var l lacks
	if errors.As(err, &l) {
		return l.lack
	}
	return LackOther
}

// lacking says at which stage sigstore-go's verification ended. It has no error types for that, so its words are read: where they
// change, people are told less, and nobody is believed more.
func lacking(o *opened, t Terms, err error) Lack {
	if known := lackOf(err); known != LackOther {
		return known
	}
	text := err.Error()
	for _, stage := range []struct {
		words string
		lack  func() Lack
	}{
		{"failed to verify log inclusion: ", func() Lack { return lackingLog(o, t, err) }},
		{"failed to verify timestamps: ", func() Lack { return lackingTime(o, t) }},
		{"failed to verify leaf certificate: ", func() Lack { return LackChain }},
		{"failed to verify signed certificate timestamp: ", func() Lack { return LackSCT }},
		{"failed to verify signature: ", func() Lack { return LackSignature }},
	} {
		if strings.HasPrefix(text, stage.words) {
			return stage.lack()
		}
	}
	return LackOther
}

// lackingLog says what is wrong with the log entries that came with something.
func lackingLog(o *opened, t Terms, err error) Lack {
	text := err.Error()
	says := func(any ...string) bool {
		for _, words := range any {
			if strings.Contains(text, words) {
				return true
			}
		}
		return false
	}
	switch {
	case o.entries == 0:
		return LackLog
	case !o.loggedBy(t):
		return LackLogTrust
	case says("integrated time outside certificate validity"):
		return LackExpired
	case says("does not match", "verifying inclusion", "mismatch", "entry is not a "):
		return LackLogMatch
	}
	return LackLogProof
}

// loggedBy tells whether any of the entries claims to be of a log of the terms' trust.
func (o *opened) loggedBy(t Terms) bool {
	if o.bundle == nil {
		return false
	}
	return slices.ContainsFunc(o.bundle.GetVerificationMaterial().GetTlogEntries(), func(e *protorekor.TransparencyLogEntry) bool {
		return t.knows(e.GetLogId().GetKeyId())
	})
}

// knows tells whether a log is one of the terms' trust.
func (t Terms) knows(log []byte) bool {
	if t.Trust == nil {
		return false
	}
	_, ok := t.Trust.material.RekorLogs()[hex.EncodeToString(log)]
	return ok
}

// lackingTime says why no time was verified.
func lackingTime(o *opened, t Terms) Lack {
	switch {
	case o.stamps > 0:
		return LackStampTrust
	case t.Timestamp == Required:
		return LackStamp
	}
	return LackTime
}

// lackingChain says why a chain of certificates didn't hold; seen tells whether it was judged by a verified time.
func lackingChain(err error, at time.Time, seen bool) Lack {
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired || invalid.Cert == nil {
		if errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage {
			return LackUse
		}
		return LackChain
	}
	switch {
	case at.Before(invalid.Cert.NotBefore):
		return LackNotYet
	case seen:
		return LackExpired
	}
	return LackExpiredNow
}

// How far others are from who was sought, where everything else is alike.
const (
	farOtherName = 1 // a certificate with another issuer, or another name
	farOtherKind = 2 // no certificate where one is sought, or the reverse
)

// short says what a keyless signature lacks, by a second look. What that costs is paid for; where there is nothing left, less is told.
func (o *opened) short(ctx context.Context, b *entity, m root.TrustedMaterial, t Terms, so unproven, left *budget) unproven {
	if left.spend(ctx) != nil {
		return so
	}
	if err := o.bare(); err != nil {
		so.lack, so.why = LackSignature, why(err)
		return so
	}
	if so.lack != LackChain && so.lack != LackExpired || left.spendStamps(ctx, o, t) != nil {
		return so
	}
	stamped, _, err := sgverify.VerifySignedTimestamp(b, m)
	if err != nil {
		return so
	}
	times := o.loggedAt(t)
	for _, at := range stamped {
		times = append(times, at.Time)
	}
	if out, is := o.outside(times); is {
		so.lack, so.why = out.lack, out.Error()
	}
	return so
}

// unseen says what a demand that isn't met lacks: a log entry first, if it is that.
func (o *opened) unseen(t Terms, err, logErr error) error {
	if t.Log != Required || logErr == nil {
		return lacks{err, lackingTime(o, t)}
	}
	lack := lackOf(logErr)
	if lack == LackOther {
		lack = lackingLog(o, t, logErr)
	}
	if out, is := o.outside(o.loggedAt(t)); is && lack == LackExpired {
		return out
	}
	return lacks{err, lack}
}

// outside tells whether the signature was seen at a time at which its certificate was not valid.
func (o *opened) outside(times []time.Time) (lacks, bool) {
	for _, at := range times {
		lack := LackOther
		switch {
		case at.After(o.leaf.NotAfter):
			lack = LackExpired
		case at.Before(o.leaf.NotBefore):
			lack = LackNotYet
		default:
			continue
		}
		return lacks{fmt.Errorf("the certificate was valid from %s to %s, and the signature was seen at %s", told(o.leaf.NotBefore), told(o.leaf.NotAfter), told(at)), lack}, true
	}
	return lacks{}, false
}

// loggedAt is when the entries of logs that are trusted say that they were made.
func (o *opened) loggedAt(t Terms) []time.Time {
	var out []time.Time
	for _, e := range o.bundle.GetVerificationMaterial().GetTlogEntries() {
		if at := e.GetIntegratedTime(); at > 0 && t.knows(e.GetLogId().GetKeyId()) {
			out = append(out, time.Unix(at, 0))
		}
	}
	return out
}

func told(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// bare checks the signature by itself, with the key of the certificate that came with it.
func (o *opened) bare() error {
	key, err := newKey(o.leaf.PublicKey)
	if err != nil {
		return err
	}
	held, err := o.heldKey()
	if err != nil {
		return err
	}
	_, err = o.verify(held, o.material(Terms{}, key.verifier), time.Time{}, []sgverify.VerifierOption{sgverify.WithNoObserverTimestamps()}, sgverify.WithKey())
	return err
}
