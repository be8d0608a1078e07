package verify_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// logText is the log annotation with one of its values changed; path leads to it.
func logText(t testing.TB, c verify.Candidate, value any, path ...string) verify.Candidate {
	t.Helper()
	var doc map[string]any
	dec := json.NewDecoder(strings.NewReader(c.Paper.Annotations[verifytest.LogAnnotation]))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	at := doc
	for _, name := range path[:len(path)-1] {
		at = at[name].(map[string]any)
	}
	at[path[len(path)-1]] = value
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return legacyWith(c, verifytest.LogAnnotation, string(text))
}

func TestRow61_ABrokenAnnotationIsNeitherACrashNorAProof(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	for who, l := range legacySigners(t, s, verify.Required, verify.Required, verify.DefaultThresholds()) {
		for _, kind := range legacyKinds {
			c := legacyObject(t, s, l.by, image, kind)
			for what, broken := range map[string]verify.Candidate{
				"a certificate that is an empty line":   legacyWith(c, verifytest.CertificateAnnotation, "\n"),
				"a certificate that is none":            legacyWith(c, verifytest.CertificateAnnotation, "x"),
				"an entry whose body is a number":       logText(t, c, 7, "Payload", "body"),
				"an entry whose body is null":           logText(t, c, nil, "Payload", "body"),
				"an entry whose body is a list":         logText(t, c, []any{}, "Payload", "body"),
				"an entry whose body is no entry":       logText(t, c, "e30=", "Payload", "body"),
				"an entry without a payload":            logText(t, c, nil, "Payload"),
				"an entry without a time":               logText(t, c, nil, "Payload", "integratedTime"),
				"an entry at a time that is a fraction": logText(t, c, 1.5, "Payload", "integratedTime"),
				"an entry at a time that is a text":     logText(t, c, "1", "Payload", "integratedTime"),
				"an entry before 1970":                  logText(t, c, -1, "Payload", "integratedTime"),
				"an entry of the year 10000":            logText(t, c, json.Number("253402300800"), "Payload", "integratedTime"),
				"an entry at no place":                  logText(t, c, -1, "Payload", "logIndex"),
				"an entry at a place beyond 64 bits":    logText(t, c, json.Number("9223372036854775808"), "Payload", "logIndex"),
				"an entry of a log without a name":      logText(t, c, "", "Payload", "logID"),
				"an entry of a log with a short name":   logText(t, c, "abcd", "Payload", "logID"),
				"an entry that nobody signed":           logText(t, c, nil, "SignedEntryTimestamp"),
				"an entry that is a list":               legacyWith(c, verifytest.LogAnnotation, "[]"),
				"an entry with a name in two cases":     legacyWith(c, verifytest.LogAnnotation, strings.Replace(c.Paper.Annotations[verifytest.LogAnnotation], `{`, `{"payload":{},`, 1)),
				"an entry that is over the bound":       legacyWith(c, verifytest.LogAnnotation, c.Paper.Annotations[verifytest.LogAnnotation]+strings.Repeat(" ", verify.MaxLogAnnotation)),
				"a timestamp that is garbage":           legacyWith(c, verifytest.StampAnnotation, `{"SignedRFC3161Timestamp":"AAAA"}`),
				"a timestamp that is a number":          legacyWith(c, verifytest.StampAnnotation, `{"SignedRFC3161Timestamp":7}`),
				"a timestamp that is null":              legacyWith(c, verifytest.StampAnnotation, `null`),
				"a timestamp that is over the bound":    legacyWith(c, verifytest.StampAnnotation, c.Paper.Annotations[verifytest.StampAnnotation]+strings.Repeat(" ", verify.MaxStampAnnotation)),
			} {
				t.Run(who+", "+string(kind)+", "+what, func(t *testing.T) {
					t.Parallel()
					f := legacyLook(t, l.authority, image, broken, verifytest.Then())
					if strings.HasPrefix(what, "a certificate") {
						if who == "a key" { // it needs none
							if len(f.Evidence) != 1 {
								t.Errorf("misses %+v, want evidence", f.Misses)
							}
							return
						}
						if len(f.Evidence) != 0 || len(f.Misses) != 1 || !strings.Contains(f.Misses[0].Claimed, "can't be read") {
							t.Errorf("findings %+v, want one miss that says that the certificate can't be read", f)
						}
						return
					}
					if len(f.Evidence) != 0 || len(f.Misses) != 1 || f.Misses[0].Reason != verify.MissUnproven {
						t.Fatalf("findings %+v, want one miss: unproven", f)
					}
					annotation := verifytest.LogAnnotation
					if strings.HasPrefix(what, "a timestamp") {
						annotation = verifytest.StampAnnotation
					}
					if why := f.Misses[0].Why; what != "a timestamp that is garbage" && !strings.Contains(why, annotation+" can't be read") {
						t.Errorf("it says %q, and not that the annotation can't be read", why)
					}
				})
			}
		}
	}
}

func TestRow61_AnEntryThatMakesCosignPanicIsNoProof(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	for who, l := range legacySigners(t, s, verify.Required, verify.Unsaid, verify.DefaultThresholds()) {
		rekord, intoto := legacyObject(t, s, l.by, image, verifytest.OldRekord), legacyObject(t, s, l.by, image, verifytest.OldIntoto)
		for what, broken := range map[string]verify.Candidate{
			"a rekord with data and no hash":       logBody(t, rekord, map[string]any{"content": "AAAA"}, "spec", "data"),
			"a rekord whose key is none":           logBody(t, rekord, "AAAA", "spec", "signature", "publicKey", "content"),
			"a rekord without a signature":         logBody(t, rekord, nil, "spec", "signature"),
			"a rekord whose hash is none":          logBody(t, rekord, map[string]any{}, "spec", "data", "hash"),
			"an attestation whose hash is none":    logBody(t, intoto, nil, "spec", "content", "hash"),
			"an attestation without content":       logBody(t, intoto, nil, "spec", "content"),
			"an attestation whose key is none":     logBody(t, intoto, "AAAA", "spec", "publicKey"),
			"an attestation whose key is a number": logBody(t, intoto, 7, "spec", "publicKey"),
		} {
			t.Run(who+", "+what, func(t *testing.T) {
				t.Parallel()
				legacyRefused(t, l.authority, image, broken, verify.MissUnproven)
			})
		}
	}
}

// logBody is the log annotation with one value in the entry's body changed; what the log signed isn't.
func logBody(t testing.TB, c verify.Candidate, value any, path ...string) verify.Candidate {
	t.Helper()
	var doc struct{ Payload struct{ Body []byte } }
	if err := json.Unmarshal([]byte(c.Paper.Annotations[verifytest.LogAnnotation]), &doc); err != nil {
		t.Fatal(err)
	}
	inner := logText(t, legacyWith(c, verifytest.LogAnnotation, string(doc.Payload.Body)), value, path...)
	return logText(t, c, base64.StdEncoding.EncodeToString([]byte(inner.Paper.Annotations[verifytest.LogAnnotation])), "Payload", "body")
}

func TestRow68_AnEntryOfSomethingElseIsNoEntryOfThis(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	signers := legacySigners(t, s, verify.Required, verify.Unsaid, verify.DefaultThresholds())
	strangers := legacySigners(t, s, verify.Required, verify.Unsaid, verify.DefaultThresholds())
	for who, l := range signers {
		for _, kind := range legacyKinds {
			good := legacyObject(t, s, l.by, image, kind)
			entryOf := func(c verify.Candidate) verify.Candidate {
				return legacyWith(good, verifytest.LogAnnotation, c.Paper.Annotations[verifytest.LogAnnotation])
			}
			for what, bad := range map[string]verify.Candidate{
				"of another artifact":                  entryOf(legacyObject(t, s, l.by, verifytest.Digest("another"), kind)),
				"of the same artifact, by a stranger":  entryOf(legacyObject(t, s, strangers[who].by, image, kind)),
				"of the same artifact, signed anew":    entryOf(legacyObject(t, s, l.by, image, kind)),
				"of the same artifact, with its hash":  logBody(t, good, strings.Repeat("00", 32), hashOf(kind)...),
				"of a stranger's, made over to us":     entryOf(logBody(t, legacyObject(t, s, strangers[who].by, image, kind), verifierOf(t, good, kind), keyOf(kind)...)),
				"of a kind that is for something else": entryOf(legacyObject(t, s, l.by, image, elsewhere(kind))),
			} {
				t.Run(who+", "+string(kind)+", "+what, func(t *testing.T) {
					t.Parallel()
					legacyRefused(t, l.authority, image, bad, verify.MissUnproven)
				})
			}
		}
	}
}

// elsewhere is a kind of entry for the other kind of object.
func elsewhere(kind verifytest.EntryKind) verifytest.EntryKind {
	if kind == verifytest.HashedRekord || kind == verifytest.OldRekord {
		return verifytest.OldIntoto
	}
	return verifytest.OldRekord
}

// hashOf is where an entry has the hash of what it is about.
func hashOf(kind verifytest.EntryKind) []string {
	switch kind {
	case verifytest.DSSE:
		return []string{"spec", "payloadHash", "value"}
	case verifytest.Intoto:
		return []string{"spec", "content", "payloadHash", "value"}
	case verifytest.OldIntoto:
		return []string{"spec", "content", "hash", "value"}
	}
	return []string{"spec", "data", "hash", "value"}
}

// keyOf is where an entry has the signer's key or certificate, or what holds it.
func keyOf(kind verifytest.EntryKind) []string {
	switch kind {
	case verifytest.DSSE:
		return []string{"spec", "signatures"}
	case verifytest.Intoto:
		return []string{"spec", "content", "envelope", "signatures"}
	case verifytest.OldIntoto:
		return []string{"spec", "publicKey"}
	}
	return []string{"spec", "signature"}
}

// verifierOf is what an object's entry has at keyOf.
func verifierOf(t testing.TB, c verify.Candidate, kind verifytest.EntryKind) any {
	t.Helper()
	var doc struct{ Payload struct{ Body []byte } }
	if err := json.Unmarshal([]byte(c.Paper.Annotations[verifytest.LogAnnotation]), &doc); err != nil {
		t.Fatal(err)
	}
	var at any
	if err := json.Unmarshal(doc.Payload.Body, &at); err != nil {
		t.Fatal(err)
	}
	for _, name := range keyOf(kind) {
		at = at.(map[string]any)[name]
	}
	return at
}

func TestRow68_AnEntryThatNoTrustedLogSignedIsNoEntry(t *testing.T) {
	t.Parallel()
	s, other, image := verifytest.NewSigstore(t), verifytest.NewSigstore(t), verifytest.Digest("image")
	signer := verifytest.NewSigner(t, 1) // ed25519: signs alike each time, so that the entries of two logs differ in nothing but the log
	a, err := verify.NewKeyAuthority("key", []verify.Key{signer.Key()}, verify.Terms{Log: verify.Required, Trust: s.Trust(t, verify.DefaultThresholds())})
	if err != nil {
		t.Fatal(err)
	}
	by := verifytest.Signing{Key: &signer, Logs: []verifytest.Log{verifytest.RekorV1Promise}}
	for _, kind := range []verifytest.EntryKind{verifytest.OldRekord, verifytest.DSSE, verifytest.Intoto, verifytest.OldIntoto} {
		good, foreign := legacyObject(t, s, by, image, kind), legacyObject(t, other, by, image, kind)
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			legacyAccepted(t, a, image, good, verifytest.Then())
			if m := legacyRefused(t, a, image, foreign, verify.MissUnproven); m.Lack != verify.LackLogTrust {
				t.Errorf("an entry of a log that isn't trusted lacks %q: %s", m.Lack, m.Why)
			}
			id := make([]byte, 32)
			for what, bad := range map[string]verify.Candidate{
				"signed by another log in the name of the trusted one": logText(t, foreign, logID(t, good), "Payload", "logID"),
				"in the name of a log that isn't there":                logText(t, good, hex.EncodeToString(id), "Payload", "logID"),
				"at another place":                                     logText(t, good, 77, "Payload", "logIndex"),
			} {
				if f := legacyLook(t, a, image, bad, verifytest.Then()); len(f.Evidence) != 0 {
					t.Errorf("an entry %s is believed", what)
				}
			}
		})
	}
}

func logID(t testing.TB, c verify.Candidate) string {
	t.Helper()
	var doc struct{ Payload struct{ LogID string } }
	if err := json.Unmarshal([]byte(c.Paper.Annotations[verifytest.LogAnnotation]), &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Payload.LogID
}

func TestRow70_TheTimeOfAnEntryIsTheOneThatTheLogSigned(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	for who, l := range legacySigners(t, s, verify.Required, verify.Unsaid, verify.DefaultThresholds()) {
		for _, kind := range legacyKinds {
			c := logText(t, legacyObject(t, s, l.by, image, kind), verifytest.Then().Add(time.Second).Unix(), "Payload", "integratedTime")
			t.Run(who+", "+string(kind), func(t *testing.T) {
				t.Parallel()
				if m := legacyRefused(t, l.authority, image, c, verify.MissUnproven); m.Lack != verify.LackLogProof {
					t.Errorf("it lacks %q: %s", m.Lack, m.Why)
				}
			})
		}
	}
}

func TestRow70_ACertificateMustBeValidAsAWholeChainWhenTheLogSawTheSignature(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	th := verify.DefaultThresholds()
	required := func(trust *verify.Trust) verify.Terms { return verify.Terms{Log: verify.Required, Trust: trust} }
	in := []verifytest.Log{verifytest.RekorV1Promise}
	before, after, always := verifytest.Before(), verifytest.After(), verifytest.Always()
	keyless := func(trust *verify.Trust) verify.Authority {
		id, err := verify.NewIdentity(verify.IdentitySpec{Issuer: verifytest.Someone().Issuer, Subject: verifytest.Someone().Subject})
		if err != nil {
			t.Fatal(err)
		}
		a, err := verify.NewKeylessAuthority("keyless", trust, []verify.Identity{id}, verify.Terms{})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	someone := func(w verifytest.Window) verifytest.Signing {
		p := verifytest.Someone()
		p.Valid, p.SCTAt = w, verifytest.Then()
		return verifytest.Signing{Person: &p, Logs: in}
	}
	type attempt struct {
		a  verify.Authority
		by verifytest.Signing
	}
	all := verifytest.All()
	of := func(change func(*verifytest.Parts)) *verify.Trust {
		p := all
		change(&p)
		return s.TrustOf(t, p, th)
	}
	pki := func(root, between, leaf verifytest.Window) attempt {
		ca := verifytest.NewPKI(t, root)
		h := ca.Intermediate(t, between).Issue(t, verifytest.Leaf{Emails: []string{"ci@example.com"}, Valid: leaf})
		return attempt{ca.Authority(t, "pki", required(s.Trust(t, th)), "ci@example.com"), verifytest.Signing{Holder: &h, Chain: true, Logs: in}}
	}
	attempts := map[string]attempt{
		"a keyless certificate that had expired":            {keyless(s.Trust(t, th)), someone(before)},
		"a keyless certificate that wasn't valid yet":       {keyless(s.Trust(t, th)), someone(after)},
		"a Fulcio that wasn't trusted any more":             {keyless(of(func(p *verifytest.Parts) { p.Fulcio = &before })), someone(always)},
		"a Fulcio that wasn't trusted yet":                  {keyless(of(func(p *verifytest.Parts) { p.Fulcio = &after })), someone(always)},
		"a log that wasn't trusted any more":                {keyless(of(func(p *verifytest.Parts) { p.RekorV1 = &before })), someone(always)},
		"an own certificate that had expired":               pki(always, always, before),
		"an own certificate that wasn't valid yet":          pki(always, always, after),
		"an intermediate that had expired (CVE-2026-24122)": pki(always, before, always),
		"a root that had expired":                           pki(before, always, always),
	}
	good := map[string]attempt{
		"keyless":            {keyless(s.Trust(t, th)), someone(always)},
		"an own certificate": pki(always, always, always),
	}
	for _, kind := range legacyKinds {
		for what, try := range attempts {
			c := legacyObject(t, s, try.by, image, kind)
			t.Run(string(kind)+", "+what, func(t *testing.T) {
				t.Parallel()
				legacyRefused(t, try.a, image, c, verify.MissUnproven)
			})
		}
		for what, try := range good {
			c := legacyObject(t, s, try.by, image, kind)
			t.Run(string(kind)+", "+what, func(t *testing.T) {
				t.Parallel()
				legacyAccepted(t, try.a, image, c, verifytest.Then())
			})
		}
	}
}

func TestRow72_ThresholdsHoldForOldEntriesToo(t *testing.T) {
	t.Parallel()
	s, other, image := verifytest.NewSigstore(t), verifytest.NewSigstore(t), verifytest.Digest("image")
	roots := [][]byte{s.TrustedRoot(t), other.TrustedRoot(t)}
	someone := verifytest.Someone()
	id, err := verify.NewIdentity(verify.IdentitySpec{Issuer: someone.Issuer, Subject: someone.Subject})
	if err != nil {
		t.Fatal(err)
	}
	in := []verifytest.Log{verifytest.RekorV1Promise}
	for what, tc := range map[string]struct {
		th     verify.Thresholds
		terms  verify.Terms
		scts   []*verifytest.Sigstore
		stamps []int
		ok     bool
	}{
		"no certificate transparency log":                        {verify.Thresholds{Logs: 1, Timestamps: 1, SCTs: 1}, verify.Terms{}, []*verifytest.Sigstore{}, nil, false},
		"none, where none is asked for":                          {verify.Thresholds{Logs: 1, Timestamps: 1}, verify.Terms{}, []*verifytest.Sigstore{}, nil, true},
		"a foreign one":                                          {verify.Thresholds{Logs: 1, Timestamps: 1, SCTs: 1}, verify.Terms{}, []*verifytest.Sigstore{verifytest.NewSigstore(t)}, nil, false},
		"one, where two are asked for":                           {verify.Thresholds{Logs: 1, Timestamps: 1, SCTs: 2}, verify.Terms{}, []*verifytest.Sigstore{s}, nil, false},
		"two, where two are asked for":                           {verify.Thresholds{Logs: 1, Timestamps: 1, SCTs: 2}, verify.Terms{}, []*verifytest.Sigstore{s, other}, nil, true},
		"one log, where two are asked for":                       {verify.Thresholds{Logs: 2, Timestamps: 1, SCTs: 1}, verify.Terms{}, nil, nil, false},
		"no timestamp, where one is required beside the log":     {verify.Thresholds{Logs: 1, Timestamps: 1, SCTs: 1}, verify.Terms{Log: verify.Required, Timestamp: verify.Required}, nil, nil, false},
		"one timestamp, where one is required beside the log":    {verify.Thresholds{Logs: 1, Timestamps: 1, SCTs: 1}, verify.Terms{Log: verify.Required, Timestamp: verify.Required}, nil, []int{0}, true},
		"one timestamp, where two are required beside the log":   {verify.Thresholds{Logs: 1, Timestamps: 2, SCTs: 1}, verify.Terms{Log: verify.Required, Timestamp: verify.Required}, nil, []int{0}, false},
		"the log alone, where log and timestamp are each enough": {verify.Thresholds{Logs: 1, Timestamps: 1, SCTs: 1}, verify.Terms{Log: verify.Optional, Timestamp: verify.Optional}, nil, nil, true},
	} {
		trust, err := verify.NewTrust(roots, tc.th)
		if err != nil {
			t.Fatal(err)
		}
		a, err := verify.NewKeylessAuthority("keyless", trust, []verify.Identity{id}, tc.terms)
		if err != nil {
			t.Fatal(err)
		}
		p := someone
		p.SCTs = tc.scts
		for _, kind := range legacyKinds {
			c := legacyObject(t, s, verifytest.Signing{Person: &p, Logs: in, Stamps: tc.stamps}, image, kind)
			t.Run(what+", "+string(kind), func(t *testing.T) {
				t.Parallel()
				if tc.ok {
					legacyAccepted(t, a, image, c, verifytest.Then())
				} else {
					legacyRefused(t, a, image, c, verify.MissUnproven)
				}
			})
		}
	}
}

func TestAnOldEntryThatIsOptionalGivesATimeOrNothing(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	signers := legacySigners(t, s, verify.Optional, verify.Unsaid, verify.DefaultThresholds())
	for _, who := range []string{"a key", "a certificate"} {
		l := signers[who]
		l.by.Logs = []verifytest.Log{verifytest.RekorV1Promise}
		for _, kind := range legacyKinds {
			c := legacyObject(t, s, l.by, image, kind)
			t.Run(who+", "+string(kind), func(t *testing.T) {
				t.Parallel()
				legacyAccepted(t, l.authority, image, c, verifytest.Then())
				legacyAccepted(t, l.authority, image, logText(t, c, 77, "Payload", "logIndex"), time.Time{})
			})
		}
	}
}

func TestTheEarlierOfOldEntryAndTimestampIsTheTimeOfTheSignature(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	for who, l := range legacySigners(t, s, verify.Required, verify.Required, verify.DefaultThresholds()) {
		for _, kind := range []verifytest.EntryKind{verifytest.OldRekord, verifytest.OldIntoto} {
			for _, shift := range []time.Duration{-30 * time.Second, 30 * time.Second} {
				by := l.by
				by.StampedAt = verifytest.Then().Add(shift)
				c, want := legacyObject(t, s, by, image, kind), verifytest.Then()
				if shift < 0 {
					want = by.StampedAt
				}
				t.Run(who+", "+string(kind)+", "+shift.String(), func(t *testing.T) {
					t.Parallel()
					legacyAccepted(t, l.authority, image, c, want)
				})
			}
		}
	}
}

func TestRow66_TheExtensionsOfAnIdentityHoldForOldEntriesToo(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	p := verifytest.Someone()
	id, err := verify.NewIdentity(verify.IdentitySpec{Issuer: p.Issuer, Subject: p.Subject, Extensions: map[string]string{"sourceRepositoryURI": "https://example.com/ours"}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := verify.NewKeylessAuthority("keyless", s.Trust(t, verify.DefaultThresholds()), []verify.Identity{id}, verify.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	signedFrom := func(repository string, kind verifytest.EntryKind) verify.Candidate {
		p := p
		p.Extensions = map[int]string{12: repository}
		return legacyObject(t, s, verifytest.Signing{Person: &p, Logs: []verifytest.Log{verifytest.RekorV1Promise}}, image, kind)
	}
	for _, kind := range legacyKinds {
		legacyAccepted(t, a, image, signedFrom("https://example.com/ours", kind), verifytest.Then())
		legacyRefused(t, a, image, signedFrom("https://example.com/ours2", kind), verify.MissOtherSigner)
	}
}
