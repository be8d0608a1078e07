package verify_test

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// longLived are a key's and a certificate's ways of signing, neither of which ends soon, and the authorities that believe them on terms.
func longLived(t *testing.T) map[string]struct {
	by verifytest.Signing
	on func(verify.Terms) verify.Authority
} {
	t.Helper()
	key, pki := verifytest.NewSigner(t, 1), verifytest.NewPKI(t, verifytest.Always())
	holder := pki.Issue(t, verifytest.Leaf{DNS: []string{"ci.example.com"}})
	return map[string]struct {
		by verifytest.Signing
		on func(verify.Terms) verify.Authority
	}{
		"a key": {verifytest.Signing{Key: &key}, func(terms verify.Terms) verify.Authority {
			a, err := verify.NewKeyAuthority("key", []verify.Key{key.Key()}, terms)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}},
		"a certificate": {verifytest.Signing{Holder: &holder}, func(terms verify.Terms) verify.Authority { return pki.Authority(t, "pki", terms, "ci.example.com") }},
	}
}

func TestRow71_ALogThatIsOutOfItsTimeNowVouchesForWhatWasSeenWithinIt(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	always, before, after := verifytest.Always(), verifytest.Before(), verifytest.After()
	logs := func(l ...verifytest.Log) []verifytest.Log { return l }
	v1Promise, v1Proof, v2 := verifytest.RekorV1, verifytest.RekorV1Proof, verifytest.RekorV2
	for who, signer := range longLived(t) {
		for what, tc := range map[string]struct {
			first, second *verifytest.Window // of Rekor v1 and v2
			logs          []verifytest.Log
			need          int           // logs; 0: 1
			signed        time.Duration // from now
			stamped       bool
			good, timed   bool
		}{
			"a log in its time":                                    {&always, &always, logs(v2), 0, 0, false, true, false},
			"a log in its time, stamped now":                       {&always, &always, logs(v2), 0, 0, true, true, true},
			"a retired log, stamped now":                           {&always, &before, logs(v2), 0, 0, true, false, false},
			"a retired log, with the stamp left out":               {&always, &before, logs(v2), 0, 0, false, false, false},
			"a retired log, stamped while it was trusted":          {&always, &before, logs(v2), 0, -2 * time.Hour, true, true, true},
			"a log to come":                                        {&always, &after, logs(v2), 0, 0, false, false, false},
			"Rekor v1's promise, retired since":                    {&before, &always, logs(v1Promise), 0, -2 * time.Hour, false, true, true},
			"Rekor v1's promise of after it was retired":           {&before, &always, logs(v1Promise), 0, 0, false, false, false},
			"Rekor v1's proof alone, retired since":                {&before, &always, logs(v1Proof), 0, -2 * time.Hour, false, false, false},
			"Rekor v1's proof alone, in its time":                  {&always, &always, logs(v1Proof), 0, 0, false, true, false},
			"a retired log beside one in its time":                 {&always, &before, logs(v1Promise, v2), 0, 0, false, true, true},
			"the same where two are asked for":                     {&always, &before, logs(v1Promise, v2), 2, 0, false, false, false},
			"the same, signed while both were trusted":             {&always, &before, logs(v1Promise, v2), 2, -2 * time.Hour, false, true, true},
			"two retired logs, signed while they were trusted":     {&before, &before, logs(v1Promise, v2), 2, -2 * time.Hour, false, true, true},
			"two retired logs that tell no time, asked for as one": {&before, &before, logs(v1Proof, v2), 0, 0, false, false, false},
		} {
			t.Run(who+", "+what, func(t *testing.T) {
				t.Parallel()
				trust := s.TrustOf(t, verifytest.Parts{RekorV1: tc.first, RekorV2: tc.second, Timestamps: &always}, verify.Thresholds{Logs: max(tc.need, 1), Timestamps: 1})
				by := signer.by
				by.Logs, by.At = tc.logs, then().Add(tc.signed)
				if tc.stamped {
					by.Stamps = []int{0}
				}
				a, paper := signer.on(verify.Terms{Trust: trust, Log: verify.Required}), s.Sign(t, by, image)
				if tc.good {
					if e := verified(t, a, image, then(), paper); e.Time().IsZero() == tc.timed || tc.timed && !e.Time().Equal(by.At) {
						t.Errorf("time %s", e.Time())
					}
				} else if m := refused(t, a, image, then(), paper, verify.MissUnproven); m.Lack != verify.LackLogTrust && m.Lack != verify.LackLogProof {
					t.Errorf("it lacks %d (%s)", m.Lack, m.Why)
				}
				optional := signer.on(verify.Terms{Trust: trust})
				if e := verified(t, optional, image, then(), paper); tc.good && !tc.timed && !e.Time().IsZero() {
					t.Errorf("time %s", e.Time())
				}
			})
		}
	}
}

func TestRow71_WhatALogVouchesForNowIsJudgedAgainWhenTheLogEnds(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	always, before, short := verifytest.Always(), verifytest.Before(), window(-time.Hour, time.Minute)
	for who, signer := range longLived(t) {
		for what, tc := range map[string]struct {
			logs   []verifytest.Log
			stamps []int
			kept   bool
		}{
			"without a time":                         {[]verifytest.Log{verifytest.RekorV2}, nil, false},
			"with a time":                            {[]verifytest.Log{verifytest.RekorV2}, []int{0}, true},
			"without a time, beside one that's over": {[]verifytest.Log{verifytest.RekorV1Proof, verifytest.RekorV2}, nil, false},
		} {
			t.Run(who+" "+what, func(t *testing.T) {
				t.Parallel()
				c := &clock{now: then()}
				by := signer.by
				by.Logs, by.Stamps = tc.logs, tc.stamps
				reg := verifytest.NewRegistry()
				reg.Attach(image, s.Sign(t, by, image))
				v := newVerifier(t, verify.Options{Clock: c.Now})
				a := signer.on(verify.Terms{Trust: s.TrustOf(t, verifytest.Parts{RekorV1: &before, RekorV2: &short, Timestamps: &always}, verify.Thresholds{Logs: 1, Timestamps: 1}), Log: verify.Required})
				if f := one(t, v, reg, image, a, verify.Held); len(f.Evidence) != 1 {
					t.Fatalf("misses %+v", f.Misses)
				}
				reg.Fail(&verify.FetchError{Kind: verify.Unavailable, Place: verify.PlaceManifest, Host: "registry.example", Err: errors.New("down")})
				c.pass(30 * time.Second) // and what is held is all there is
				if f := one(t, v, reg, image, a, verify.Anew); len(f.Evidence) != 1 {
					t.Fatalf("half a minute later: misses %+v", f.Misses)
				}
				c.pass(31 * time.Second)
				if f := one(t, v, reg, image, a, verify.Anew); (len(f.Evidence) == 1) != tc.kept {
					t.Errorf("after the log's end: evidence %+v, misses %+v", f.Evidence, f.Misses)
				}
			})
		}
	}
}

// stamped puts timestamps of other times into a bundle, all by one authority, in that order.
func stamped(t *testing.T, s *verifytest.Sigstore, c verify.Candidate, at ...time.Time) verify.Candidate {
	t.Helper()
	b := object(t, c)
	sig, err := base64.StdEncoding.DecodeString(down(t, b, "dsseEnvelope", "signatures", 0)["sig"].(string))
	if err != nil {
		t.Fatal(err)
	}
	var all []any
	for _, when := range at {
		all = append(all, map[string]any{"signedTimestamp": base64.StdEncoding.EncodeToString(s.Stamp(t, 0, sig, when))})
	}
	down(t, b, "verificationMaterial")["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": all}
	return verifytest.Pack(b)
}

func TestRow70_TheEarliestOfAnAuthoritysTimestampsCounts(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	trust := s.Trust(t, verify.DefaultThresholds())
	signers := longLived(t)
	signers["a person"] = struct {
		by verifytest.Signing
		on func(verify.Terms) verify.Authority
	}{verifytest.Signing{Person: &someone}, func(terms verify.Terms) verify.Authority {
		return keyless(t, trust, verify.Terms{Log: verify.Optional, Timestamp: terms.Timestamp})
	}}
	early, late := then().Add(-30*time.Second), then().Add(time.Minute)
	for who, signer := range signers {
		for _, demand := range []verify.Demand{verify.Optional, verify.Required} {
			paper := s.Sign(t, signer.by, image)
			a := signer.on(verify.Terms{Trust: trust, Timestamp: demand})
			for _, order := range [][]time.Time{{early, then(), late}, {late, then(), early}, {then(), early, late}} {
				t.Run(fmt.Sprintf("%s %d %s", who, demand, order[0].Format(time.TimeOnly)), func(t *testing.T) {
					t.Parallel()
					if e := verified(t, a, image, then(), stamped(t, s, paper, order...)); !e.Time().Equal(early) {
						t.Errorf("time %s, want %s", e.Time(), early)
					}
				})
			}
		}
	}
}

func TestRow70_EveryTimestampMustBeOfATimeAtWhichTheCertificateWasValid(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	trust := s.Trust(t, verify.DefaultThresholds())
	pki := verifytest.NewPKI(t, verifytest.Always())
	holder := pki.Issue(t, verifytest.Leaf{DNS: []string{"ci.example.com"}, Valid: window(-time.Hour, time.Hour)})
	terms := verify.Terms{Log: verify.Optional, Timestamp: verify.Required}
	with := terms
	with.Trust = trust
	for what, tc := range map[string]struct {
		a  verify.Authority
		by verifytest.Signing
	}{
		"a person":      {keyless(t, trust, terms), verifytest.Signing{Person: &someone}},
		"a certificate": {pki.Authority(t, "pki", with, "ci.example.com"), verifytest.Signing{Holder: &holder}},
	} {
		paper := s.Sign(t, tc.by, image)
		for _, out := range []time.Time{then().Add(-2 * time.Hour), then().Add(2 * time.Hour)} {
			for _, order := range [][]time.Time{{then(), out}, {out, then()}} {
				refused(t, tc.a, image, then(), stamped(t, s, paper, order...), verify.MissUnproven)
			}
		}
		t.Run(what, func(t *testing.T) {
			verified(t, tc.a, image, then(), stamped(t, s, paper, then(), then().Add(time.Second)))
		})
	}
}

func TestRow71_OneTimestampAuthorityUnderTwoNamesCannotCountTwice(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigstore(t)
	before, after := verifytest.Before(), verifytest.After()
	first, second := s.TrustedRootOf(t, verifytest.Parts{Timestamps: &before}), s.TrustedRootOf(t, verifytest.Parts{Timestamps: &after})
	renamed := []byte(strings.ReplaceAll(string(second), "https://timestamp", "https://tsa"))
	two := verify.Thresholds{Logs: 1, Timestamps: 2}
	if _, err := verify.NewTrust([][]byte{first, renamed}, two); err == nil || !strings.Contains(err.Error(), "count twice") {
		t.Errorf("error %v", err)
	}
	if _, err := verify.NewTrust([][]byte{first, renamed}, verify.DefaultThresholds()); err != nil {
		t.Errorf("where one is enough it does no harm: %v", err)
	}
	for what, roots := range map[string][][]byte{"the same with the same name": {first, second}, "others": {first, verifytest.NewSigstore(t).TrustedRootOf(t, verifytest.Parts{Timestamps: &after})}} {
		if _, err := verify.NewTrust(roots, two); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	// An authority that is in both roots is one: of two and two there are two.
	trust, err := verify.NewTrust([][]byte{first, second}, verify.Thresholds{Logs: 1, Timestamps: 3})
	if err != nil {
		t.Fatal(err)
	}
	key := verifytest.NewSigner(t, 1)
	if _, err := verify.NewKeyAuthority("key", []verify.Key{key.Key()}, verify.Terms{Trust: trust, Timestamp: verify.Required}); err == nil || !strings.Contains(err.Error(), "has 2") {
		t.Errorf("error %v", err)
	}
}

func TestRow68_AnEnvelopeMayBeLoggedAsWhatIsSignedWhoeverSigns(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	trust := s.Trust(t, verify.DefaultThresholds())
	signers := longLived(t)
	signers["a person"] = struct {
		by verifytest.Signing
		on func(verify.Terms) verify.Authority
	}{verifytest.Signing{Person: &someone}, func(verify.Terms) verify.Authority { return keyless(t, trust, verify.Terms{}) }}
	for who, signer := range signers {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			by := signer.by
			by.Logs, by.Hashed = v1Log(), true
			a, paper := signer.on(verify.Terms{Trust: trust, Log: verify.Required}), s.Sign(t, by, image)
			if e := verified(t, a, image, then(), paper); !e.Time().Equal(then()) {
				t.Errorf("time %s", e.Time())
			}
			refused(t, a, verifytest.Digest("another"), then(), paper, verify.MissOtherSubject)
			b, other := object(t, paper), object(t, s.Sign(t, by, verifytest.Digest("another")))
			down(t, b, "verificationMaterial")["tlogEntries"] = down(t, other, "verificationMaterial")["tlogEntries"]
			refused(t, a, image, then(), verifytest.Pack(b), verify.MissUnproven)
		})
	}
}

func TestWhatComesWithASignatureOfNobodysIsNeverLookedAt(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	trust := s.Trust(t, verify.DefaultThresholds())
	key, stranger := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2)
	cost := func(a verify.Authority, c verify.Candidate) int {
		return verify.Cost(t.Context(), verify.Signatures(a), image, c, then())
	}
	both := func(k *verifytest.Signer) verifytest.Signing {
		return verifytest.Signing{Key: k, Logs: []verifytest.Log{verifytest.RekorV1, verifytest.RekorV2}, Stamps: []int{0, 1}}
	}
	claimed := object(t, s.Sign(t, both(&stranger), image))
	print := key.Key().Fingerprint()
	down(t, claimed, "verificationMaterial")["publicKey"] = map[string]any{"hint": base64.StdEncoding.EncodeToString(print[:])}
	for what, terms := range map[string]verify.Terms{
		"no terms": {}, "a trust": {Trust: trust}, "a log": {Trust: trust, Log: verify.Required}, "both": {Trust: trust, Log: verify.Required, Timestamp: verify.Required},
	} {
		a, err := verify.NewKeyAuthority("key", []verify.Key{key.Key()}, terms)
		if err != nil {
			t.Fatal(err)
		}
		papers := map[string]verify.Candidate{
			"a bundle":                             s.Sign(t, both(&stranger), image),
			"a bundle that names our key":          verifytest.Pack(claimed),
			"a legacy signature":                   s.LegacySignature(t, both(&stranger), verifytest.SimpleSigning(image), verifytest.HashedRekord),
			"a legacy signature with an old entry": s.LegacySignature(t, both(&stranger), verifytest.SimpleSigning(image), verifytest.OldRekord),
		}
		for paper, c := range papers {
			if n := cost(a, c); n != 1 {
				t.Errorf("%s, %s of a stranger's: %d checks", what, paper, n)
			}
		}
		if n := cost(a, s.Sign(t, both(&key), image)); (n == 1) != (terms == verify.Terms{}) {
			t.Errorf("%s: %d checks of what is good", what, n)
		}
	}
}

func TestAChainCostsWhatMayBeAboveTheSigner(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	a := keyless(t, s.Trust(t, verify.DefaultThresholds()), verify.Terms{})
	cost := func(c v1.Hash, by verifytest.Signing) int {
		t.Helper()
		paper := s.Sign(t, by, c)
		verified(t, a, c, then(), paper)
		return verify.Cost(t.Context(), verify.Signatures(a), c, paper, then())
	}
	alone := verifytest.Signing{Person: &someone, Logs: v1Log()}
	if n := cost(image, alone); n != 1 {
		t.Errorf("without a chain: %d", n)
	}
	chain := alone
	chain.Version, chain.Chain = "0.2", true
	if n := cost(image, chain); n != 2 {
		t.Errorf("with the one that issued it: %d", n)
	}
	other := verifytest.NewPKI(t, verifytest.Always())
	chain.More = other.Roots()
	for range 6 {
		other = other.Intermediate(t, verifytest.Always())
		chain.More = append(slices.Clone(chain.More), other.Certificate())
	}
	if n := cost(image, chain); n != 2 {
		t.Errorf("with those of somebody else: %d", n)
	}
	b := object(t, s.Sign(t, verifytest.Signing{Person: &someone, Logs: v1Log(), Version: "0.2", Chain: true}, image))
	certificates := down(t, b, "verificationMaterial", "x509CertificateChain")
	all := certificates["certificates"].([]any)
	certificates["certificates"] = append(slices.Clone(all), slices.Repeat(all[1:2], 8)...)
	if n := verify.Cost(t.Context(), verify.Signatures(a), image, verifytest.Pack(b), then()); n != 2 {
		t.Errorf("with the same many times: %d", n)
	}
	root := verifytest.NewPKI(t, verifytest.Always())
	holder := root.Intermediate(t, verifytest.Always()).Issue(t, verifytest.Leaf{DNS: []string{"ci.example.com"}})
	own := root.Authority(t, "pki", verify.Terms{}, "ci.example.com")
	for what, more := range map[string][]*x509.Certificate{"of an own PKI": nil, "of an own PKI, with its root": root.Roots()} {
		paper := s.Sign(t, verifytest.Signing{Holder: &holder, Chain: true, More: more}, image)
		verified(t, own, image, then(), paper)
		if n := verify.Cost(t.Context(), verify.Signatures(own), image, paper, then()); n != 2 {
			t.Errorf("%s: %d", what, n)
		}
	}
}
