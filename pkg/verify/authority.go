package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
)

// MaxKeys bounds the keys of one authority: each may be tried on each candidate, within MaxChecks.
const MaxKeys = 64

// Authority is someone who may vouch for an image: whoever holds one of a set of keys, had one of a set of identities confirmed by a
// Fulcio, or holds a certificate of an own PKI. The set of kinds is closed. The zero Authority vouches for nothing.
type Authority struct {
	name        string
	who         who
	terms       Terms
	fingerprint Fingerprint
}

// who is a kind of authority.
type who interface {
	// prove checks that what was opened is signed by one of them, on terms. It returns what was shown, or why nothing was: a notBy, an
	// unproven, or an error that says that there was no time or budget to find out.
	prove(ctx context.Context, o *opened, t Terms, left *budget, now time.Time) (proof, error)
	// signers is how many distinct signers there can be at most; 0 if that isn't known.
	signers() int
}

// proof is what a verification showed.
type proof struct {
	signer Fingerprint // whoever signed
	key    Fingerprint // the key that signed: SHA-256 of its PKIX DER
	who    string      // the signer, for people
	claims SignedBy    // what is known of it beside; Text is who
	firm   bool        // the certificate is good for no longer than firmWithin
	at     time.Time   // verified time of the signature, the earliest; zero if there is none
	until  time.Time   // until when this may be believed without another look; zero if for ever
	seen   []Witness   // who saw the signature, for people
}

// notBy says that it is signed by somebody else, as far as one can see.
type notBy struct {
	claimed string
	far     uint8 // how far that is from who was sought: see Miss
}

func (e notBy) Error() string { return "not signed by the authority, but by " + e.claimed }

// unproven says that it is, or claims to be, signed by the authority, and that what has to be shown for that isn't.
type unproven struct {
	who  string
	lack Lack
	why  string
}

func (e unproven) Error() string { return e.who + ": " + e.why }

// NewKeyAuthority returns the authority of whoever holds the private half of one of the keys. A policy refers to
// it by name; the name is not part of what it is.
func NewKeyAuthority(name string, keys []Key, terms Terms) (Authority, error) {
	if len(keys) == 0 {
		return Authority{}, errors.New("an authority without a key would vouch for nothing")
	}
	if len(keys) > MaxKeys {
		return Authority{}, errors.New("more than 64 keys in one authority")
	}
	prints := make([][]byte, 0, len(keys))
	for _, k := range keys {
		if k.verifier == nil {
			return Authority{}, errors.New("an authority of a key that was not parsed")
		}
		prints = append(prints, k.fingerprint[:])
	}
	return newAuthority(name, keyHolders(slices.Clone(keys)), terms, "key", prints)
}

// newAuthority completes an authority. The order of its parts says nothing.
func newAuthority(name string, w who, terms Terms, kind string, parts [][]byte) (Authority, error) {
	if name == "" {
		return Authority{}, errors.New("an authority needs a name")
	}
	if err := terms.check(); err != nil {
		return Authority{}, err
	}
	slices.SortFunc(parts, bytes.Compare)
	all := append([][]byte{[]byte(kind)}, slices.CompactFunc(parts, bytes.Equal)...)
	return Authority{name: name, who: w, terms: terms, fingerprint: digestOf(append(all, terms.parts()...)...)}, nil
}

// Name is how the policy refers to the authority.
func (a Authority) Name() string { return a.name }

// Fingerprint identifies the resolved material: another key, root or identity behind the same name is another authority.
func (a Authority) Fingerprint() Fingerprint { return a.fingerprint }

// Keys returns the authority's public keys; none if it isn't one of keys.
func (a Authority) Keys() []Key {
	keys, _ := a.who.(keyHolders)
	return slices.Clone([]Key(keys))
}

// Signers is how many distinct signers the authority has at most; 0 says that it can't be told, as with patterns.
func (a Authority) Signers() int {
	if a.who == nil {
		return 0
	}
	return a.who.signers()
}

// Identities returns the identities of a keyless authority.
func (a Authority) Identities() []Identity {
	if k, ok := a.who.(keyless); ok {
		return slices.Clone(k.identities)
	}
	return nil
}

// CertificateIdentities returns the identities of an authority of certificates.
func (a Authority) CertificateIdentities() []CertificateIdentity {
	if c, ok := a.who.(certificates); ok {
		return slices.Clone(c.identities)
	}
	return nil
}

// Repository is where the authority's papers are kept; the zero Repository says beside the image.
func (a Authority) Repository() name.Repository { return a.terms.Repository }

// keyHolders are those who hold one of some keys.
type keyHolders []Key

func (h keyHolders) signers() int { return len(h) }

func (h keyHolders) prove(ctx context.Context, o *opened, t Terms, left *budget, now time.Time) (proof, error) {
	b, err := o.byKey()
	if err != nil {
		return proof{}, notBy{o.signer, farOtherKind}
	}
	for _, k := range h.likeliest(o.hint) {
		who := "key " + k.fingerprint.String()
		res, err := k.verify(ctx, b, o, t, left, now)
		var other notSigned
		switch {
		case err == nil:
			p := proof{signer: k.fingerprint, key: k.fingerprint, who: who, at: earliest(res), seen: witnesses(res)}
			if t.Log == Required && p.at.IsZero() {
				p.until = o.logsEnd(o.material(t, nil), now)
			}
			return p, nil
		case stop(err):
			return proof{}, err
		case !errors.As(err, &other): // nobody else's key will do for a signature by this one
			return proof{}, unproven{who, lacking(o, t, err), why(err)}
		}
	}
	if h.hinted(o) {
		return proof{}, unproven{o.signer, LackSignature, "the signature doesn't verify with the key that it names"}
	}
	return proof{}, notBy{o.signer, 0}
}

// hinted tells whether the candidate names one of the keys.
func (h keyHolders) hinted(o *opened) bool {
	return slices.ContainsFunc(h, func(k Key) bool { return bytes.Equal(o.hint, k.fingerprint[:]) })
}

// likeliest returns the keys, the one that is hinted at first.
func (h keyHolders) likeliest(hint []byte) []Key {
	for i, k := range h {
		if i > 0 && hint != nil && bytes.Equal(hint, k.fingerprint[:]) {
			return slices.Concat([]Key{k}, h[:i], h[i+1:])
		}
	}
	return h
}

// notSigned says that a signature by itself isn't one by a key.
type notSigned struct{ error }

// Unwrap returns the cause.
func (e notSigned) Unwrap() error { return e.error }

// verify checks the signature by itself, which costs least, and then what the terms ask for and what may tell a time: whatever a stranger puts
// beside a signature of nobody's, as slow as it may be, is never looked at.
func (k Key) verify(ctx context.Context, b *entity, o *opened, t Terms, left *budget, now time.Time) (*sgverify.VerificationResult, error) {
	if k.verifier == nil {
		return nil, errors.New("a key that was not parsed")
	}
	if err, known := o.isntBy[k.fingerprint]; known {
		return nil, err
	}
	if err := left.spend(ctx); err != nil {
		return nil, err
	}
	res, err := o.verify(b, o.material(Terms{}, k.verifier), now, []sgverify.VerifierOption{sgverify.WithNoObserverTimestamps()}, sgverify.WithKey())
	if err != nil {
		return nil, o.not(k, err)
	}
	m := o.material(t, k.verifier)
	for _, try := range t.attempts(o) {
		if err := left.spendAll(ctx, o, t, false); err != nil {
			return nil, err
		}
		var more *sgverify.VerificationResult
		if more, err = o.verify(b, m, now, try, sgverify.WithKey()); err == nil {
			return more, nil
		}
	}
	if t.Log == Required || t.Timestamp == Required {
		return nil, err
	}
	return res, nil
}

// attempts are the ways in which a signature by a key can meet the terms, or tell a time, the one that tells most first.
func (t Terms) attempts(o *opened) [][]sgverify.VerifierOption {
	if t.Trust == nil {
		return nil
	}
	logs, stamped := 1, []sgverify.VerifierOption{sgverify.WithObserverTimestamps(1)}
	if t.Log == Required {
		logs = t.Trust.thresholds.Logs
	}
	if t.Timestamp == Required {
		stamped = append(stamped, sgverify.WithSignedTimestamps(t.Trust.thresholds.Timestamps)) // and the log's time, if it has one
	}
	var out [][]sgverify.VerifierOption
	if t.Log == Required || o.entries > 0 {
		out = append(out, append([]sgverify.VerifierOption{sgverify.WithTransparencyLog(logs)}, stamped...))
	}
	if t.Log != Required && (t.Timestamp == Required || o.stamps > 0) {
		out = append(out, stamped)
	}
	if t.Log == Required && t.Timestamp != Required { // which is judged by now
		out = append(out, []sgverify.VerifierOption{sgverify.WithTransparencyLog(logs), sgverify.WithNoObserverTimestamps()})
	}
	return out
}

// earliest is the earliest time at which the signature was seen; zero if nobody who is trusted saw it.
func earliest(res *sgverify.VerificationResult) time.Time {
	var out time.Time
	for _, t := range res.VerifiedTimestamps {
		if out.IsZero() || t.Timestamp.Before(out) {
			out = t.Timestamp
		}
	}
	return out
}

// witnesses are those who saw a signature at a time.
func witnesses(res *sgverify.VerificationResult) []Witness {
	out := make([]Witness, 0, len(res.VerifiedTimestamps))
	for _, t := range res.VerifiedTimestamps {
		out = append(out, Witness{Log: t.Type == "Tlog", Name: t.URI, Time: t.Timestamp})
	}
	return out
}

// stop tells an error that says nothing about the candidate: there was no time or budget left.
func stop(err error) bool {
	return errors.Is(err, errTooManyChecks) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// why is what sigstore says of a verification that failed, in as many bytes as strangers are quoted.
func why(err error) string {
	const most = 256
	text := err.Error()
	if len(text) > most {
		text = text[:most] + "..."
	}
	return text
}

// digestOf hashes parts with their lengths before them, so that no two lists of parts collide by their seams.
func digestOf(parts ...[]byte) Fingerprint {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	return Fingerprint(h.Sum(nil))
}
