package verify

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
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
		if !c.IsCA || !c.BasicConstraintsValid {
			return nil, fmt.Errorf("certificate %d (%s) is no CA's: name the CA that issues the signers' certificates", i+1, clip(c.Subject.String()))
		}
		if _, err := strongHashes(c.PublicKey); err != nil {
			return nil, fmt.Errorf("certificate %d (%s): %w", i+1, clip(c.Subject.String()), err)
		}
	}
	return roots, nil
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

// CertificateIdentity is a name that a certificate of an own PKI must have: one of its subject alternative names (email, URI or DNS name),
// or its whole subject as RFC 4514 writes it, such as CN=release,O=Acme. The zero CertificateIdentity is nobody's.
type CertificateIdentity struct {
	exact, pattern string
	whole          *regexp.Regexp
}

// NewCertificateIdentity takes a name, or an RE2 pattern that must match the whole of one.
func NewCertificateIdentity(subject, subjectPattern string) (CertificateIdentity, error) {
	anchored, err := anchor("subject", subject, subjectPattern)
	if err != nil {
		return CertificateIdentity{}, err
	}
	id := CertificateIdentity{exact: subject, pattern: subjectPattern}
	if anchored != "" {
		id.whole, err = regexp.Compile(anchored)
	}
	return id, err
}

// String is the identity for people.
func (i CertificateIdentity) String() string { return written(i.exact, i.pattern) }

func (i CertificateIdentity) matches(name string) bool {
	if i.whole != nil {
		return i.whole.MatchString(name)
	}
	return i.exact != "" && i.exact == name
}

// namesOf are the names of a certificate, each as it may be asked for.
func namesOf(c *x509.Certificate) []string {
	var names []string
	names = append(names, c.EmailAddresses...)
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	names = append(names, c.DNSNames...)
	// A subject has an equals sign in it. A CA that confirms addresses of any kind must not be able to be read as confirming a subject.
	names = slices.DeleteFunc(names, func(n string) bool { return n == "" || strings.Contains(n, "=") && !strings.Contains(n, "://") })
	if s := c.Subject.String(); s != "" {
		names = append(names, s)
	}
	return names
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
	for _, r := range roots {
		c.roots.AddCert(r)
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
		return proof{}, notBy{o.signer}
	}
	name, ok := c.named(o.leaf)
	if !ok {
		return proof{}, notBy{strings.Join(namesOf(o.leaf), ", ")}
	}
	key, err := newKey(o.leaf.PublicKey)
	if err != nil {
		return proof{}, unproven{name, err.Error()}
	}
	// sigstore-go doesn't know certificates without an email or URI, so the signature is verified as that of the certificate's key.
	held, err := o.heldKey()
	if err != nil {
		return proof{}, unproven{name, err.Error()}
	}
	if err := left.spend(ctx); err != nil {
		return proof{}, err
	}
	bare := []sgverify.VerifierOption{sgverify.WithNoObserverTimestamps()}
	if _, err := o.verify(held, o.material(Terms{}, key.verifier), bare, sgverify.WithKey()); err != nil {
		return proof{}, unproven{name, why(err)}
	}
	var short error
	for _, seen := range c.seen(ctx, b, o, t, left) {
		if stop(seen.err) {
			return proof{}, seen.err
		}
		var until time.Time
		if short = seen.err; short == nil {
			if err := left.spendChain(ctx, len(o.chain)); err != nil {
				return proof{}, err
			}
			if until, short = c.chain(o, seen.times, now); short == nil {
				return proof{signer: digestOf([]byte("certificate"), []byte(name)), key: key.fingerprint, who: name, at: first(seen.times), until: until}, nil
			}
		}
	}
	return proof{}, unproven{name, why(short)}
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
	times []time.Time
	err   error
}

// seen tells when the signature was seen, in each of the ways in which the terms can be met, the one that tells most first.
func (c certificates) seen(ctx context.Context, b *entity, o *opened, t Terms, left *budget) []sighting {
	if t.Trust == nil {
		return []sighting{{}}
	}
	m, th := o.material(t, nil), t.Trust.thresholds
	logged := func(n int) (times []time.Time, err error) {
		if err := left.spend(ctx); err != nil {
			return nil, err
		}
		found, err := sgverify.VerifyTlogEntry(b, m, n, true)
		for _, at := range found {
			times = append(times, at.Time)
		}
		return times, err
	}
	stamped := func(n int) (times []time.Time, err error) {
		if err := left.spend(ctx); err != nil {
			return nil, err
		}
		found, err := sgverify.VerifySignedTimestampWithThreshold(b, m, n)
		for _, at := range found {
			times = append(times, at.Time)
		}
		return times, err
	}
	var need, all sighting
	logs, logErr := []time.Time(nil), error(nil)
	if t.Log == Required {
		logs, logErr = logged(th.Logs)
		need.times, need.err = logs, logErr
	} else if o.entries > 0 {
		logs, logErr = logged(1)
	}
	var stamps []time.Time
	var stampErr error
	if t.Timestamp == Required {
		stamps, stampErr = stamped(th.Timestamps)
		need.times, need.err = append(need.times, stamps...), errors.Join(need.err, stampErr)
	} else if o.stamps > 0 {
		stamps, stampErr = stamped(1)
	}
	if need.err != nil {
		return []sighting{need}
	}
	if logErr == nil {
		all.times = append(all.times, logs...)
	}
	if stampErr == nil {
		all.times = append(all.times, stamps...)
	}
	for _, err := range []error{logErr, stampErr} {
		if err != nil && stop(err) {
			return []sighting{{err: err}}
		}
	}
	return []sighting{all, need}
}

// chain builds and checks the certificate's chain at every time, or now where there is none; then it says until when that holds.
func (c certificates) chain(o *opened, times []time.Time, now time.Time) (until time.Time, err error) {
	leaf := o.leaf
	switch {
	case leaf.IsCA:
		return until, errors.New("it is a CA's certificate, which signs certificates and no images")
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageCodeSigning):
		return until, errors.New("the certificate is not for code signing (extended key usage)")
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return until, errors.New("the certificate's key is not for signatures (key usage)")
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
			return time.Time{}, fmt.Errorf("the certificate's chain at %s: %w", t.UTC().Format(time.RFC3339), err)
		}
		if len(times) == 0 {
			until = lasting(chains)
		}
	}
	return until, nil
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
