package verify_test

import (
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// lacking is two instances of Sigstore, a PKI and an image, for signatures that lack one thing each.
type lacking struct {
	testing.TB
	ours, others *verifytest.Sigstore
	pki          *verifytest.PKI
	key          verifytest.Signer
	image        v1.Hash
}

// someone is the identity that is asked for, whoever the trust is in.
func (l lacking) someone(trust *verify.Trust, terms verify.Terms) verify.Authority {
	l.Helper()
	p := verifytest.Someone()
	id, err := verify.NewIdentity(verify.IdentitySpec{Issuer: p.Issuer, Subject: p.Subject})
	if err != nil {
		l.Fatal(err)
	}
	a, err := verify.NewKeylessAuthority("someone", trust, []verify.Identity{id}, terms)
	if err != nil {
		l.Fatal(err)
	}
	return a
}

func (l lacking) keyless(terms verify.Terms) verify.Authority {
	return l.someone(l.ours.Trust(l, verify.DefaultThresholds()), terms)
}

// without is trust in all of our instance but some parts.
func (l lacking) without(change func(*verifytest.Parts)) *verify.Trust {
	p := verifytest.All()
	change(&p)
	return l.ours.TrustOf(l, p, verify.DefaultThresholds())
}

func (l lacking) release(terms verify.Terms) verify.Authority {
	return l.pki.Authority(l, "release", terms, "release@example.com")
}

func (l lacking) holder(leaf verifytest.Leaf) *verifytest.Holder {
	leaf.Emails = []string{"release@example.com"}
	h := l.pki.Issue(l, leaf)
	return &h
}

// signed is a signature by someone with a certificate of a kind, logged in Rekor v1 unless it is said otherwise.
func (l lacking) signed(change func(*verifytest.Person, *verifytest.Signing)) verify.Candidate {
	person := verifytest.Someone()
	s := verifytest.Signing{Logs: []verifytest.Log{verifytest.RekorV1}}
	if change != nil {
		change(&person, &s)
	}
	if s.Holder == nil && s.Key == nil {
		s.Person = &person
	}
	return l.ours.Sign(l, s, l.image)
}

// swapped is a signature with something of another's in it.
func (l lacking) swapped(from *verifytest.Sigstore, what string, s verifytest.Signing) verify.Candidate {
	person := verifytest.Someone()
	s.Person = &person
	bundle := l.ours.Envelope(l, s, verifytest.Statement(l.image, verify.CosignSign))
	other := from.Envelope(l, s, verifytest.Statement(verifytest.Digest("other"), verify.CosignSign))
	material(l, bundle)[what] = material(l, other)[what]
	return verifytest.Pack(bundle)
}

func material(tb testing.TB, bundle map[string]any) map[string]any {
	tb.Helper()
	m, ok := bundle["verificationMaterial"].(map[string]any)
	if !ok {
		tb.Fatal("a bundle without verification material")
	}
	return m
}

// moved is a signature over another image, and then made to name this one.
func (l lacking) moved(s verifytest.Signing) verify.Candidate {
	l.Helper()
	bundle := l.ours.Envelope(l, s, verifytest.Statement(verifytest.Digest("other"), verify.CosignSign))
	envelope, ok := bundle["dsseEnvelope"].(map[string]any)
	if !ok {
		l.Fatal("a bundle without an envelope")
	}
	envelope["payload"] = base64.StdEncoding.EncodeToString(verifytest.Statement(l.image, verify.CosignSign))
	return verifytest.Pack(bundle)
}

// brokenPromise is a signature whose log entry has another's signature of the log.
func (l lacking) brokenPromise() verify.Candidate {
	person := verifytest.Someone()
	s := verifytest.Signing{Person: &person, Logs: []verifytest.Log{verifytest.RekorV1}}
	bundle := l.ours.Envelope(l, s, verifytest.Statement(l.image, verify.CosignSign))
	entries, ok := material(l, bundle)["tlogEntries"].([]any)
	if !ok || len(entries) != 1 {
		l.Fatal("not one log entry")
	}
	entry, ok := entries[0].(map[string]any)
	if !ok {
		l.Fatal("no log entry")
	}
	entry["inclusionPromise"] = map[string]any{"signedEntryTimestamp": base64.StdEncoding.EncodeToString([]byte("nonsense"))}
	return verifytest.Pack(bundle)
}

func TestWhatASignatureLacksIsToldInOurWords(t *testing.T) {
	t.Parallel()
	l := lacking{t, verifytest.NewSigstore(t), verifytest.NewSigstore(t), verifytest.NewPKI(t, verifytest.Always()), verifytest.NewSigner(t, 1), verifytest.Digest("image")}
	always, before, after := verifytest.Always(), verifytest.Before(), verifytest.After()
	trust := l.ours.Trust(t, verify.DefaultThresholds())
	mixed, err := verify.NewTrust([][]byte{
		l.ours.TrustedRootOf(t, verifytest.Parts{RekorV1: &always, CT: &always}), l.others.TrustedRoot(t),
	}, verify.DefaultThresholds())
	if err != nil {
		t.Fatal(err)
	}
	person, leaf := verifytest.Someone(), l.holder(verifytest.Leaf{})
	stamped := verify.Terms{Log: verify.Optional, Timestamp: verify.Required}
	logged := verify.Terms{Log: verify.Required, Trust: trust}
	keyed, err := verify.NewKeyAuthority("release", []verify.Key{l.key.Key()}, logged)
	if err != nil {
		t.Fatal(err)
	}
	rekor := []verifytest.Log{verifytest.RekorV1}
	for what, tc := range map[string]struct {
		by        verify.Authority
		candidate verify.Candidate
		want      verify.Lack
		says      string // in Miss.Why
	}{
		"keyless: another image's, renamed":   {l.keyless(verify.Terms{}), l.moved(verifytest.Signing{Person: &person, Logs: rekor}), verify.LackSignature, ""},
		"keyless: renamed, and in Rekor v2":   {l.keyless(verify.Terms{}), l.moved(verifytest.Signing{Person: &person, Logs: []verifytest.Log{verifytest.RekorV2}, Stamps: []int{0}}), verify.LackSignature, ""},
		"key: another image's, renamed":       {verifytest.Authority(t, "release", l.key), l.moved(verifytest.Signing{Key: &l.key}), verify.LackSignature, "the key that it names"},
		"own PKI: another image's, renamed":   {l.release(verify.Terms{}), l.moved(verifytest.Signing{Holder: leaf}), verify.LackSignature, ""},
		"keyless: no log entry":               {l.keyless(verify.Terms{}), l.signed(func(_ *verifytest.Person, s *verifytest.Signing) { s.Logs, s.Stamps = nil, []int{0} }), verify.LackLog, ""},
		"key: no log entry":                   {keyed, l.signed(func(_ *verifytest.Person, s *verifytest.Signing) { s.Key, s.Logs = &l.key, nil }), verify.LackLog, ""},
		"own PKI: no log entry":               {l.release(logged), l.signed(func(_ *verifytest.Person, s *verifytest.Signing) { s.Holder, s.Logs = leaf, nil }), verify.LackLog, ""},
		"keyless: another log's entry":        {l.someone(l.without(func(p *verifytest.Parts) { p.RekorV1 = nil }), verify.Terms{}), l.signed(nil), verify.LackLogTrust, ""},
		"keyless: another signature's entry":  {l.keyless(verify.Terms{}), l.swapped(l.ours, "tlogEntries", verifytest.Signing{Logs: rekor}), verify.LackLogMatch, "does not match"},
		"keyless: another's entry, Rekor v2":  {l.keyless(verify.Terms{}), l.swapped(l.ours, "tlogEntries", verifytest.Signing{Logs: []verifytest.Log{verifytest.RekorV2}, Stamps: []int{0}}), verify.LackLogMatch, ""},
		"keyless: the log's promise is false": {l.keyless(verify.Terms{}), l.brokenPromise(), verify.LackLogProof, ""},
		"keyless: no timestamp":               {l.keyless(stamped), l.signed(nil), verify.LackStamp, ""},
		"own PKI: no timestamp":               {l.release(verify.Terms{Timestamp: verify.Required, Trust: trust}), l.signed(func(_ *verifytest.Person, s *verifytest.Signing) { s.Holder, s.Logs = leaf, nil }), verify.LackStamp, ""},
		"keyless: another's timestamp":        {l.keyless(stamped), l.swapped(l.ours, "timestampVerificationData", verifytest.Signing{Logs: rekor, Stamps: []int{0}}), verify.LackStampTrust, ""},
		"keyless: a stranger's timestamp":     {l.keyless(stamped), l.swapped(l.others, "timestampVerificationData", verifytest.Signing{Logs: rekor, Stamps: []int{0}}), verify.LackStampTrust, ""},
		"keyless: a log that tells no time":   {l.keyless(verify.Terms{}), l.signed(func(_ *verifytest.Person, s *verifytest.Signing) { s.Logs = []verifytest.Log{verifytest.RekorV2} }), verify.LackTime, ""},
		"keyless: expired when logged":        {l.keyless(verify.Terms{}), l.signed(func(p *verifytest.Person, _ *verifytest.Signing) { p.Valid = before }), verify.LackExpired, "was valid from 2021-10-01T12:00:00Z to 2026-10-01T11:00:00Z, and the signature was seen at 2026-10-01T12:00:00Z"},
		"keyless: expired when stamped":       {l.keyless(stamped), l.signed(func(p *verifytest.Person, s *verifytest.Signing) { p.Valid, s.Stamps, s.Logs = before, []int{1}, nil }), verify.LackExpired, "2026-10-01T12:00:00Z"},
		"keyless: not valid yet":              {l.keyless(verify.Terms{}), l.signed(func(p *verifytest.Person, _ *verifytest.Signing) { p.Valid = after }), verify.LackNotYet, "was valid from 2026-10-01T13:00:00Z"},
		"keyless: another Fulcio's":           {l.someone(mixed, verify.Terms{}), l.signed(nil), verify.LackChain, ""},
		"keyless: no SCT":                     {l.keyless(verify.Terms{}), l.signed(func(p *verifytest.Person, _ *verifytest.Signing) { p.SCTs = []*verifytest.Sigstore{} }), verify.LackSCT, ""},
		"keyless: a stranger's SCT":           {l.keyless(verify.Terms{}), l.signed(func(p *verifytest.Person, _ *verifytest.Signing) { p.SCTs = []*verifytest.Sigstore{l.others} }), verify.LackSCT, ""},
		"own PKI: not for signing code": {l.release(verify.Terms{}), l.signed(func(_ *verifytest.Person, s *verifytest.Signing) {
			s.Holder, s.Logs = l.holder(verifytest.Leaf{Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}), nil
		}), verify.LackUse, "extended key usage"},
		"own PKI: expired by now": {l.release(verify.Terms{}), l.signed(func(_ *verifytest.Person, s *verifytest.Signing) {
			s.Holder, s.Logs = l.holder(verifytest.Leaf{Valid: before}), nil
		}), verify.LackExpiredNow, "expired"},
		"own PKI: expired when logged":       {l.release(logged), l.signed(func(_ *verifytest.Person, s *verifytest.Signing) { s.Holder = l.holder(verifytest.Leaf{Valid: before}) }), verify.LackExpired, "at 2026-10-01T12:00:00Z"},
		"own PKI: not valid yet":             {l.release(logged), l.signed(func(_ *verifytest.Person, s *verifytest.Signing) { s.Holder = l.holder(verifytest.Leaf{Valid: after}) }), verify.LackNotYet, "at 2026-10-01T12:00:00Z"},
		"own PKI: another PKI's":             {verifytest.NewPKI(t, always).Authority(t, "release", verify.Terms{}, "release@example.com"), l.signed(func(_ *verifytest.Person, s *verifytest.Signing) { s.Holder, s.Logs = leaf, nil }), verify.LackChain, ""},
		"keyless: a chain where none may be": {l.keyless(verify.Terms{}), l.signed(func(_ *verifytest.Person, s *verifytest.Signing) { s.Chain = true }), verify.LackOther, "one certificate, not a chain"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			e := explain(t, l.image, verify.SignaturesBy(tc.by), tc.candidate)
			if len(e.Answers) != 1 || len(e.Answers[0].Examined) != 1 || e.Answers[0].Examined[0].Miss == nil {
				t.Fatalf("not one miss: %+v", e.Answers)
			}
			m := e.Answers[0].Examined[0].Miss
			if m.Reason != verify.MissUnproven || m.Lack != tc.want || m.Why == "" || !strings.Contains(m.Why, tc.says) {
				t.Errorf("reason %d, lack %d (%s): %s\nwant lack %d (%s): ...%s...", m.Reason, m.Lack, m.Lack, m.Why, tc.want, tc.want, tc.says)
			}
		})
	}
}

func TestEveryLackHasWordsOfItsOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]verify.Lack{}
	for l := verify.LackOther; l <= verify.LackUse; l++ {
		words := l.String()
		if first, twice := seen[words]; twice {
			t.Errorf("lacks %d and %d both say %q", first, l, words)
		}
		seen[words] = l
	}
}
