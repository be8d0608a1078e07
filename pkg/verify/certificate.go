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

// namesOf are the names of a certificate, each as it may be asked for. Those of one kind can't be read as another's: a CA that confirms
// addresses of any form must not be taken to confirm a URI, nor one of URIs a subject. An address has an at sign and no colon, a URI a
// scheme, a DNS name neither at sign nor colon; and what has an equals sign is a URI, or a subject.
func namesOf(c *x509.Certificate) []string {
	var names []string
	for _, n := range c.EmailAddresses {
		if strings.Contains(n, "@") && !strings.ContainsAny(n, ":=") {
			names = append(names, n)
		}
	}
	for _, u := range c.URIs {
		if u.IsAbs() {
			names = append(names, u.String())
		}
	}
	for _, n := range c.DNSNames {
		if n != "" && !strings.ContainsAny(n, "@:=") {
			names = append(names, n)
		}
	}
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
	if _, err := o.verify(held, o.material(Terms{}, key.verifier), bare, sgverify.WithKey()); err != nil {
		return proof{}, unproven{name, LackSignature, why(err)}
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
			if until, short = c.chain(o, seen.times(), now); short == nil {
				return proof{signer: digestOf([]byte("certificate"), []byte(name)), key: key.fingerprint, who: name, at: first(seen.times()), until: until, seen: seen.by}, nil
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
	by  []Witness
	err error
}

// times are those of the witnesses.
func (s sighting) times() []time.Time {
	var out []time.Time
	for _, w := range s.by {
		out = append(out, w.Time)
	}
	return out
}

// seen tells when the signature was seen, in each of the ways in which the terms can be met, the one that tells most first.
func (c certificates) seen(ctx context.Context, b *entity, o *opened, t Terms, left *budget) []sighting {
	if t.Trust == nil {
		return []sighting{{}}
	}
	m, th := o.material(t, nil), t.Trust.thresholds
	logged := func(n int) (by []Witness, err error) {
		if err := left.spend(ctx); err != nil {
			return nil, err
		}
		found, err := sgverify.VerifyTlogEntry(b, m, n, true)
		for _, at := range found {
			by = append(by, Witness{Log: true, Name: at.URI, Time: at.Time})
		}
		return by, err
	}
	stamped := func(n int) (by []Witness, err error) {
		if err := left.spend(ctx); err != nil {
			return nil, err
		}
		found, err := sgverify.VerifySignedTimestampWithThreshold(b, m, n)
		for _, at := range found {
			by = append(by, Witness{Name: at.URI, Time: at.Time})
		}
		return by, err
	}
	var need, all sighting
	logs, logErr := []Witness(nil), error(nil)
	if t.Log == Required {
		logs, logErr = logged(th.Logs)
		need.by, need.err = logs, logErr
	} else if o.entries > 0 {
		logs, logErr = logged(1)
	}
	var stamps []Witness
	var stampErr error
	if t.Timestamp == Required {
		stamps, stampErr = stamped(th.Timestamps)
		need.by, need.err = append(need.by, stamps...), errors.Join(need.err, stampErr)
	} else if o.stamps > 0 {
		stamps, stampErr = stamped(1)
	}
	if need.err != nil {
		return []sighting{{err: o.unseen(t, need.err, logErr)}}
	}
	if logErr == nil {
		all.by = append(all.by, logs...)
	}
	if stampErr == nil {
		all.by = append(all.by, stamps...)
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
