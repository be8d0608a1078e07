package verify

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
)

// MaxIdentities bounds the identities of one authority: each may be compared with each certificate.
const MaxIdentities = 64

// IdentitySpec says whose certificate it must be: an issuer and a subject, each exact or an RE2 pattern that must match the whole.
type IdentitySpec struct {
	Issuer, IssuerPattern   string
	Subject, SubjectPattern string
	// Extensions are Fulcio's own (OIDs 1.3.6.1.4.1.57264.1.*), by the names that Fulcio gives them, such as sourceRepositoryURI; exact.
	Extensions map[string]string
}

// Identity is an issuer's word about a subject. The zero Identity is nobody's.
type Identity struct {
	spec   IdentitySpec
	fulcio sgverify.CertificateIdentity
}

// NewIdentity checks a specification: issuer and subject both, neither may be anybody, and patterns are anchored here.
func NewIdentity(spec IdentitySpec) (Identity, error) {
	issuerPattern, err := anchor("issuer", spec.Issuer, spec.IssuerPattern)
	if err != nil {
		return Identity{}, err
	}
	subjectPattern, err := anchor("subject", spec.Subject, spec.SubjectPattern)
	if err != nil {
		return Identity{}, err
	}
	issuer, err := sgverify.NewIssuerMatcher(spec.Issuer, issuerPattern)
	if err != nil {
		return Identity{}, err
	}
	subject, err := sgverify.NewSANMatcher(spec.Subject, subjectPattern)
	if err != nil {
		return Identity{}, err
	}
	extensions, err := extensionsOf(spec.Extensions)
	if err != nil {
		return Identity{}, err
	}
	id, err := sgverify.NewCertificateIdentity(subject, issuer, extensions)
	if err != nil {
		return Identity{}, err
	}
	return Identity{spec: spec, fulcio: id}, nil
}

// anchor makes of a pattern one that must match the whole name (sigstore-go's are unanchored), and refuses one that anybody matches.
func anchor(what, exact, pattern string) (string, error) {
	switch {
	case exact == "" && pattern == "":
		return "", fmt.Errorf("%s: neither it nor its pattern is set, so that anybody's would do", what)
	case exact != "" && pattern != "":
		return "", fmt.Errorf("%s: both it and its pattern are set", what)
	case exact != "":
		return "", nil
	}
	if _, err := regexp.Compile(pattern); err != nil { // alone first: what isn't balanced by itself could escape the anchors
		return "", fmt.Errorf("%sPattern: %w", what, err)
	}
	whole, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return "", fmt.Errorf("%sPattern: %w", what, err)
	}
	if whole.MatchString("") || whole.MatchString("https://stranger.invalid/whoever@anywhere") && whole.MatchString("whoever@stranger.invalid") {
		return "", fmt.Errorf("%sPattern: matches anybody", what)
	}
	if what == "issuer" && (whole.MatchString("https://stranger.invalid") || whole.MatchString("https://stranger.invalid/whoever@anywhere")) {
		return "", fmt.Errorf("%sPattern: matches issuers on any host, so that anybody could run one", what)
	}
	return whole.String(), nil
}

// ExtensionNames are the names of the Fulcio extensions that an identity may ask for, sorted.
func ExtensionNames() []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[certificate.Extensions]()) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "issuer" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func extensionsOf(wanted map[string]string) (certificate.Extensions, error) {
	var out certificate.Extensions
	for name, value := range wanted {
		if value == "" {
			return out, fmt.Errorf("extensions.%s: empty, which asks for nothing", name)
		}
		if err := setExtension(&out, name, value); err != nil {
			return out, err
		}
	}
	return out, nil
}

// setExtension sets a field by the name that Fulcio's own type gives it in JSON, in exactly that case.
func setExtension(out *certificate.Extensions, name, value string) error {
	unknown := fmt.Errorf("extensions.%.64s: Fulcio has no such extension", name)
	if name == "issuer" {
		return errors.New("extensions.issuer: write it as issuer")
	}
	text, err := json.Marshal(map[string]string{name: value})
	if err != nil {
		return unknown
	}
	var one certificate.Extensions
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&one); err != nil {
		return unknown
	}
	back, err := json.Marshal(one)
	if err != nil || !bytes.Equal(back, text) {
		return unknown
	}
	return json.Unmarshal(text, out)
}

// Spec returns what the identity was made from.
func (i Identity) Spec() IdentitySpec { return i.spec }

// String is the identity for people: subject, then issuer.
func (i Identity) String() string {
	return written(i.spec.Subject, i.spec.SubjectPattern) + " (" + written(i.spec.Issuer, i.spec.IssuerPattern) + ")"
}

func written(exact, pattern string) string {
	if exact != "" {
		return exact
	}
	return "/" + pattern + "/"
}

// part is what the fingerprint of an authority takes from the identity.
func (i Identity) part() []byte {
	s := i.spec
	parts := [][]byte{[]byte(s.Issuer), []byte(s.IssuerPattern), []byte(s.Subject), []byte(s.SubjectPattern)}
	names := make([]string, 0, len(s.Extensions))
	for name := range s.Extensions {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		parts = append(parts, []byte(name), []byte(s.Extensions[name]))
	}
	d := digestOf(parts...)
	return d[:]
}

// NewKeylessAuthority returns the authority of whoever had one of the identities confirmed by a Fulcio of the trust, at a time that one
// of its logs or timestamp authorities vouches for. Where the terms leave the log unsaid it is required; where both log and
// timestamp are optional, one of them must be there all the same: without a time a certificate of ten minutes says nothing.
func NewKeylessAuthority(name string, trust *Trust, identities []Identity, terms Terms) (Authority, error) {
	switch {
	case trust == nil:
		return Authority{}, errors.New("a keyless authority without a trust root")
	case terms.Trust != nil && terms.Trust != trust:
		return Authority{}, errors.New("a keyless authority with two trust roots")
	case len(identities) == 0:
		return Authority{}, errors.New("a keyless authority without an identity would believe everybody")
	case len(identities) > MaxIdentities:
		return Authority{}, fmt.Errorf("more than %d identities in one authority", MaxIdentities)
	}
	if err := trust.checkKeyless(); err != nil {
		return Authority{}, err
	}
	if terms.Trust = trust; terms.Log == Unsaid {
		terms.Log = Required
	}
	if terms.Log != Required && terms.Timestamp != Required && trust.logs+trust.stampers == 0 {
		return Authority{}, errors.New("the trust root has neither log nor timestamp authority, so that no time could be verified")
	}
	k := keyless{identities: slices.Clone(identities)}
	parts := make([][]byte, 0, len(identities))
	for _, id := range identities {
		if id.fulcio.Issuer.Issuer == "" && id.fulcio.Issuer.Regexp.String() == "" {
			return Authority{}, errors.New("an identity that was not checked")
		}
		k.policies = append(k.policies, sgverify.WithCertificateIdentity(id.fulcio))
		parts = append(parts, id.part())
	}
	return newAuthority(name, k, terms, "keyless", parts)
}

// keyless are those whom a Fulcio confirmed.
type keyless struct {
	identities []Identity
	policies   []sgverify.PolicyOption
}

// signers counts identities that are one person's or program's each; a pattern may be many's.
func (k keyless) signers() int {
	exact := map[[2]string]bool{}
	for _, id := range k.identities {
		if id.spec.Issuer == "" || id.spec.Subject == "" {
			return 0
		}
		exact[[2]string{id.spec.Issuer, id.spec.Subject}] = true
	}
	return len(exact)
}

func (k keyless) prove(ctx context.Context, o *opened, t Terms, left *budget, now time.Time) (proof, error) {
	b, err := o.byCertificate()
	if err != nil {
		return proof{}, notBy{o.signer, farOtherKind}
	}
	claimed, err := certificate.SummarizeCertificate(o.leaf)
	if err != nil {
		return proof{}, notBy{"a certificate that is none of Fulcio's", farOtherKind}
	}
	name := claimed.SubjectAlternativeName + " (" + claimed.Issuer + ")"
	if !slices.ContainsFunc(k.identities, func(id Identity) bool { return id.fulcio.Verify(claimed) == nil }) {
		return proof{}, notBy{name + k.differs(claimed), k.far(claimed)} // before anything is verified: most certificates beside an image are other people's
	}
	if o.chained {
		return proof{}, unproven{name, LackOther, "a bundle of version 0.3 has one certificate, not a chain"}
	}
	m := o.material(t, nil)
	var short error
	for _, try := range t.attemptsKeyless(o) {
		if err := left.spendAll(ctx, o, t, true); err != nil {
			return proof{}, err
		}
		res, err := o.verify(b, m, now, try, k.policies...)
		if err != nil {
			if short == nil { // what the first try lacks tells most
				short = err
			}
			continue
		}
		return k.shown(o, res)
	}
	return proof{}, o.short(ctx, b, m, t, unproven{name, lacking(o, t, short), why(short)}, left)
}

// differs names an extension by which alone a certificate is somebody else's; none if its issuer or subject is another already.
func (k keyless) differs(claimed certificate.Summary) string {
	has := map[string]string{}
	if text, err := json.Marshal(claimed.Extensions); err != nil || json.Unmarshal(text, &has) != nil {
		return ""
	}
	for _, id := range k.identities {
		if id.fulcio.Issuer.Verify(claimed) != nil || id.fulcio.SubjectAlternativeName.Verify(claimed) != nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(id.spec.Extensions)) {
			if has[name] != id.spec.Extensions[name] {
				return fmt.Sprintf(", whose %s is %q", name, clip(has[name]))
			}
		}
	}
	return ""
}

// far orders certificates of others: one by the same issuer is nearer.
func (k keyless) far(claimed certificate.Summary) uint8 {
	if slices.ContainsFunc(k.identities, func(id Identity) bool { return id.fulcio.Issuer.Verify(claimed) == nil }) {
		return 0
	}
	return farOtherName
}

// shown reads what a verification showed, from what it verified.
func (k keyless) shown(o *opened, res *sgverify.VerificationResult) (proof, error) {
	if res == nil || res.Signature == nil || res.Signature.Certificate == nil || res.VerifiedIdentity == nil || len(res.VerifiedTimestamps) == 0 {
		return proof{}, unproven{o.signer, LackOther, "it was verified without an identity or a time"}
	}
	cert := res.Signature.Certificate
	key, err := fingerprintOf(o.leaf.PublicKey)
	if err != nil {
		return proof{}, unproven{o.signer, LackOther, err.Error()}
	}
	return proof{
		signer: digestOf([]byte("keyless"), []byte(cert.Issuer), []byte(cert.SubjectAlternativeName)), key: key,
		who: cert.SubjectAlternativeName + " (" + cert.Issuer + ")", at: earliest(res), seen: witnesses(res), firm: firm(o.leaf),
		claims: SignedBy{
			Issuer: cert.Issuer, Subject: cert.SubjectAlternativeName,
			BuildSigner: cert.BuildSignerURI, BuildConfig: cert.BuildConfigURI, Runner: cert.RunnerEnvironment,
		},
	}, nil
}

// attemptsKeyless are the ways in which a keyless signature can meet the terms.
func (t Terms) attemptsKeyless(o *opened) [][]sgverify.VerifierOption {
	th := t.Trust.thresholds
	var always []sgverify.VerifierOption
	if th.SCTs > 0 {
		always = append(always, sgverify.WithSignedCertificateTimestamps(th.SCTs))
	}
	stamped := []sgverify.VerifierOption{sgverify.WithObserverTimestamps(1)}
	if t.Timestamp == Required {
		stamped = append(stamped, sgverify.WithSignedTimestamps(th.Timestamps)) // and the log's time, if it has one
	}
	with := func(more ...sgverify.VerifierOption) []sgverify.VerifierOption {
		return slices.Concat(always, stamped, more)
	}
	if t.Log == Required {
		return [][]sgverify.VerifierOption{with(sgverify.WithTransparencyLog(th.Logs))}
	}
	var out [][]sgverify.VerifierOption
	if t.Timestamp != Required && o.entries > 0 {
		out = append(out, with(sgverify.WithTransparencyLog(1)))
	}
	return append(out, with())
}

// firm tells whether a signature by the certificate's key, seen while it was good, was made within firmWithin of that.
func firm(leaf *x509.Certificate) bool {
	return leaf != nil && leaf.NotAfter.Sub(leaf.NotBefore) <= firmWithin
}
