package verify

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
)

// Bounds of certificates.
const (
	// MaxRoots bounds the roots of one authority: a PKI has one, two while it is replaced, and a few of its partners.
	MaxRoots = 32
	// MaxChain bounds the certificates that come with a signature, leaf included: no PKI is deeper (security.md row 53).
	MaxChain = 10
	// MaxChainPEM bounds their text, in bytes: ten certificates of 4 KiB, and as much again.
	MaxChainPEM = 64 << 10
)

// ParseRoots reads the trusted roots of an own PKI, as PEM. A certificate that is no CA's, or whose key is weak, is an error.
func ParseRoots(text []byte) ([]*x509.Certificate, error) {
	if len(text) > MaxPolicyPEM {
		return nil, fmt.Errorf("PEM of %d bytes is over the bound of %d", len(text), MaxPolicyPEM)
	}
	roots, err := parseCertificates(text, MaxRoots)
	if err != nil {
		return nil, err
	}
	for i, c := range roots {
		if err := checkRoot(c); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
	}
	return roots, nil
}

// checkRoot tells why a certificate may not be trusted as a root.
func checkRoot(c *x509.Certificate) error {
	switch {
	case c == nil:
		return errors.New("there is none")
	case !c.IsCA || !c.BasicConstraintsValid:
		return fmt.Errorf("(%s) is no CA's: name the CA that issues the signers' certificates", clip(c.Subject.String()))
	}
	if _, err := strongHashes(c.PublicKey); err != nil {
		return fmt.Errorf("(%s): %w", clip(c.Subject.String()), err)
	}
	return nil
}

// parseCertificates reads at least one and at most so many certificates in PEM, and nothing else.
func parseCertificates(text []byte, most int) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		block, after := pem.Decode(rest)
		if block == nil || !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return nil, fmt.Errorf("no PEM block in what follows certificate %d: want -----BEGIN CERTIFICATE-----", len(out))
		}
		if rest = after; block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("PEM block of type %q: want CERTIFICATE", clip(block.Type))
		}
		if len(out) == most {
			return nil, fmt.Errorf("more than %d certificates", most)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(out)+1, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate in it: want -----BEGIN CERTIFICATE-----")
	}
	return out, nil
}

// NewCertificateAuthority returns the authority of whoever holds a certificate of an own PKI that has one of the names. The chain is
// built with the intermediates that come with the signature, and must be valid as a whole at each time that is verified for the
// signature; where there is none, now. The leaf must be for code signing (extended key usage, RFC 5280 4.2.1.12).
func NewCertificateAuthority(name string, roots []*x509.Certificate, identities []CertificateIdentity, terms Terms) (Authority, error) {
	switch {
	case len(roots) == 0 || len(roots) > MaxRoots:
		return Authority{}, fmt.Errorf("%d roots: want 1 to %d", len(roots), MaxRoots)
	case len(identities) == 0:
		return Authority{}, errors.New("an authority of certificates without an identity would believe everybody in the PKI")
	case len(identities) > MaxIdentities:
		return Authority{}, fmt.Errorf("more than %d identities in one authority", MaxIdentities)
	}
	c := certificates{roots: x509.NewCertPool(), identities: slices.Clone(identities)}
	parts := make([][]byte, 0, len(roots)+len(identities))
	for i, r := range roots {
		if err := checkRoot(r); err != nil {
			return Authority{}, fmt.Errorf("root %d: %w", i+1, err)
		}
		c.roots.AddCert(r)
		c.names = append(c.names, r.Subject.String())
		d := digestOf([]byte("root"), r.Raw)
		parts = append(parts, d[:])
	}
	for _, id := range identities {
		if id.exact == "" && id.whole == nil {
			return Authority{}, errors.New("an identity that was not checked")
		}
		d := digestOf([]byte("identity"), []byte(id.exact), []byte(id.pattern))
		parts = append(parts, d[:])
	}
	return newAuthority(name, c, terms, "certificate", parts)
}

// certificates are those who hold one of an own PKI.
type certificates struct {
	roots      *x509.CertPool
	names      []string // of the roots, for people
	identities []CertificateIdentity
}

func (c certificates) signers() int {
	exact := map[string]bool{}
	for _, id := range c.identities {
		if id.exact == "" {
			return 0
		}
		exact[id.exact] = true
	}
	return len(exact)
}

func (c certificates) prove(ctx context.Context, o *opened, t Terms, left *budget, now time.Time) (proof, error) {
	b, err := o.byCertificate()
	if err != nil {
		return proof{}, notBy{o.signer, farOtherKind}
	}
	name, ok := c.named(o.leaf)
	if !ok {
		return proof{}, notBy{strings.Join(namesOf(o.leaf), ", "), farOtherName}
	}
	key, err := newKey(o.leaf.PublicKey)
	if err != nil {
		return proof{}, unproven{name, LackOther, err.Error()}
	}
	// sigstore-go doesn't know certificates without an email or URI, so the signature is verified as that of the certificate's key.
	held, err := o.heldKey()
	if err != nil {
		return proof{}, unproven{name, LackOther, err.Error()}
	}
	if err := left.spend(ctx); err != nil {
		return proof{}, err
	}
	bare := []sgverify.VerifierOption{sgverify.WithNoObserverTimestamps()}
	if _, err := o.verify(held, o.material(Terms{}, key.verifier), now, bare, sgverify.WithKey()); err != nil {
		return proof{}, unproven{name, LackSignature, why(err)}
	}
	var short error
	for _, seen := range c.seen(ctx, b, o, t, left, now) {
		if stop(seen.err) {
			return proof{}, seen.err
		}
		var until time.Time
		if short = seen.err; short == nil {
			if err := left.spendChain(ctx, o); err != nil {
				return proof{}, err
			}
			if until, short = c.chain(o, seen.times(), now); short == nil {
				return proof{signer: digestOf([]byte("certificate"), []byte(name)), key: key.fingerprint, who: name, at: first(seen.times()), until: sooner(until, seen.until), seen: seen.by, firm: firm(o.leaf)}, nil
			}
		}
	}
	return proof{}, unproven{name, lackOf(short), why(short)}
}

// named returns the name by which a certificate is one of those that are asked for.
func (c certificates) named(leaf *x509.Certificate) (string, bool) {
	names := namesOf(leaf)
	for _, id := range c.identities {
		if i := slices.IndexFunc(names, id.matches); i >= 0 {
			return names[i], true
		}
	}
	return "", false
}

// sighting is when the signature was seen by somebody who is trusted, on terms; err says why the terms aren't met.
type sighting struct {
	by    []Witness
	until time.Time // until when this may be believed without another look; zero if for ever
	err   error
}

// times are those of the witnesses.
func (s sighting) times() []time.Time {
	var out []time.Time
	for _, w := range s.by {
		out = append(out, w.Time)
	}
	return out
}

// seen tells when the signature was seen, in each of the ways in which the terms can be met: with what is optional, and without.
func (c certificates) seen(ctx context.Context, b *entity, o *opened, t Terms, left *budget, now time.Time) []sighting {
	if t.Trust == nil {
		return []sighting{{}}
	}
	stamps, stampErr := o.stampers(ctx, b, t, left)
	if stampErr != nil && stop(stampErr) {
		return []sighting{{err: stampErr}}
	}
	var ways []sighting
	for _, optional := range []bool{true, false} {
		var way sighting
		var logErr error
		if stampErr == nil && (optional || t.Timestamp == Required) {
			way.by = stamps
		}
		if t.Log == Required || optional && o.entries > 0 {
			var logs []Witness
			var until time.Time
			if logs, until, logErr = o.loggers(ctx, b, t, left, way.times(), now); logErr == nil {
				way.by, way.until = slices.Concat(logs, way.by), until
			}
		}
		switch {
		case logErr != nil && stop(logErr):
			return []sighting{{err: logErr}}
		case t.Log == Required && logErr != nil, t.Timestamp == Required && stampErr != nil:
			way.err = o.unseen(t, errors.Join(logErr, stampErr), logErr)
		}
		ways = append(ways, way)
		if (t.Log == Required || o.entries == 0) && (t.Timestamp == Required || o.stamps == 0) {
			break // nothing is optional
		}
	}
	return ways
}

// stampers are the timestamp authorities that saw the signature, if they are as many as the terms ask for.
func (o *opened) stampers(ctx context.Context, b *entity, t Terms, left *budget) ([]Witness, error) {
	need := 1
	if t.Timestamp == Required {
		need = t.Trust.thresholds.Timestamps
	} else if o.stamps == 0 {
		return nil, nil
	}
	if err := left.spendStamps(ctx, o, t); err != nil {
		return nil, err
	}
	m := o.material(t, nil)
	found, err := sgverify.VerifySignedTimestampWithThreshold(o.signed(b), m, need)
	if err != nil {
		return nil, err
	}
	if o.stamps > 1 {
		stamps, err := o.stampedBy(m)
		return witnesses(&sgverify.VerificationResult{VerifiedTimestamps: stamps}), err
	}
	return []Witness{{Name: found[0].URI, Time: found[0].Time}}, nil
}

// loggers are the logs that saw the signature and told when, if as many have it as the terms ask for that were trusted when it was signed: at
// the earliest of these times and theirs, or else now. Where it is now, a demand for them is met until the first of them ends.
func (o *opened) loggers(ctx context.Context, b *entity, t Terms, left *budget, stamped []time.Time, now time.Time) (by []Witness, until time.Time, err error) {
	m, need, late := o.material(t, nil), 1, func(err error) error { return err }
	if t.Log == Required {
		need = t.Trust.thresholds.Logs
	}
	for {
		if err := left.spendEntries(ctx, o); err != nil {
			return nil, until, err
		}
		found, err := sgverify.VerifyTlogEntry(o.signed(b), m, need, true)
		if err != nil {
			return nil, until, late(err)
		}
		by = nil
		at := stamped
		for _, f := range found {
			by, at = append(by, Witness{Log: true, Name: f.URI, Time: f.Time}), append(at[:len(at):len(at)], f.Time)
		}
		when := first(at)
		if when.IsZero() {
			if when = now; t.Log == Required {
				until = o.logsEnd(m, now)
			}
		}
		out := o.outdated(m, when)
		if out == nil {
			return by, until, nil
		}
		all := m
		m, until, late = without{m, out}, time.Time{}, func(err error) error { return untimely(all, out, when, err) }
	}
}

// chain builds and checks the certificate's chain at every time, or now where there is none; then it says until when that holds.
func (c certificates) chain(o *opened, times []time.Time, now time.Time) (until time.Time, err error) {
	leaf := o.leaf
	switch {
	case leaf.IsCA:
		return until, lacks{errors.New("it is a CA's certificate, which signs certificates and no images"), LackUse}
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageCodeSigning):
		return until, lacks{errors.New("the certificate is not for code signing (extended key usage)"), LackUse}
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return until, lacks{errors.New("the certificate's key is not for signatures (key usage)"), LackUse}
	}
	between := x509.NewCertPool()
	for _, i := range o.chain {
		between.AddCert(i)
	}
	at := times
	if len(at) == 0 {
		at = []time.Time{now}
	}
	for _, t := range at {
		chains, err := leaf.Verify(x509.VerifyOptions{
			Roots: c.roots, Intermediates: between, CurrentTime: t, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		})
		if err != nil {
			err = fmt.Errorf("the certificate's chain at %s: %w", t.UTC().Format(time.RFC3339), err)
			return time.Time{}, lacks{err, lackingChain(err, t, len(times) > 0)}
		}
		if len(times) == 0 {
			until = lasting(chains)
		}
	}
	return until, nil
}

// above are those of the certificates that came with a signer's that could be above it, each once. A root among them can't help, for none is
// trusted because it came along. With a weak key a chain is nobody's; to check one with an over-large key, from an annotation, takes seconds.
func above(beside []*x509.Certificate) (out []*x509.Certificate) {
	for _, c := range beside {
		// By RFC 5280 (4.2.1.1) nothing but a root may lack the number of the key that signed it, or have its own.
		own := bytes.Equal(c.RawSubject, c.RawIssuer) && (len(c.AuthorityKeyId) == 0 || bytes.Equal(c.AuthorityKeyId, c.SubjectKeyId))
		if _, err := strongHashes(c.PublicKey); err == nil && !own && !slices.ContainsFunc(out, c.Equal) {
			out = append(out, c)
		}
	}
	return out
}

// lasting is when the last of the chains ends, each with the first of its certificates that does.
func lasting(chains [][]*x509.Certificate) time.Time {
	var last time.Time
	for _, chain := range chains {
		end := chain[0].NotAfter
		for _, c := range chain[1:] {
			if c.NotAfter.Before(end) {
				end = c.NotAfter
			}
		}
		if end.After(last) {
			last = end
		}
	}
	return last
}

// first is the earliest of some times; zero if there is none.
func first(times []time.Time) time.Time {
	if len(times) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(times, time.Time.Compare)
}
