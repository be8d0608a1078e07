package verify_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// github is a workflow, as GitHub names it.
func github() verifytest.Person {
	return verifytest.Person{
		Issuer: "https://token.actions.githubusercontent.com", Subject: "https://github.com/acme/app/.github/workflows/release.yaml@refs/heads/main",
		Extensions: map[int]string{11: "github-hosted", 12: "https://github.com/acme/app", 14: "refs/heads/main"},
	}
}

func v1Log() []verifytest.Log { return []verifytest.Log{verifytest.RekorV1} }

func TestRow66_IdentitiesAreComparedWhole(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	trust := s.Trust(t, verify.DefaultThresholds())
	exact := verify.IdentitySpec{Issuer: github().Issuer, Subject: github().Subject}
	with := func(change func(*verify.IdentitySpec)) verify.IdentitySpec {
		out := exact
		change(&out)
		return out
	}
	for what, tc := range map[string]struct {
		spec   verify.IdentitySpec
		change func(*verifytest.Person)
		good   bool
	}{
		"the very identity": {exact, func(*verifytest.Person) {}, true},
		"an issuer that begins like it": {exact, func(p *verifytest.Person) {
			p.Issuer += ".evil.example"
		}, false},
		"an issuer that ends like it":   {exact, func(p *verifytest.Person) { p.Issuer = "https://evil.example/" + p.Issuer }, false},
		"an issuer with a slash behind": {exact, func(p *verifytest.Person) { p.Issuer += "/" }, false},
		"no issuer":                     {exact, func(p *verifytest.Person) { p.Issuer = "" }, false},
		"no subject":                    {exact, func(p *verifytest.Person) { p.Subject = "" }, false},
		"a subject with more behind":    {exact, func(p *verifytest.Person) { p.Subject += "x" }, false},
		"a subject of another ref":      {exact, func(p *verifytest.Person) { p.Subject = strings.Replace(p.Subject, "main", "evil", 1) }, false},
		"a subject in capitals":         {exact, func(p *verifytest.Person) { p.Subject = strings.Replace(p.Subject, "acme", "ACME", 1) }, false},
		"a pattern that matches": {with(func(s *verify.IdentitySpec) {
			s.Subject, s.SubjectPattern = "", `https://github\.com/acme/.+@refs/heads/main`
		}), func(*verifytest.Person) {}, true},
		"a pattern that matches a part":               {with(func(s *verify.IdentitySpec) { s.Subject, s.SubjectPattern = "", `github\.com/acme/app` }), func(*verifytest.Person) {}, false},
		"a pattern of alternatives that matches half": {with(func(s *verify.IdentitySpec) { s.Subject, s.SubjectPattern = "", `https://github\.com/acme/a|x` }), func(*verifytest.Person) {}, false},
		"a pattern over lines":                        {with(func(s *verify.IdentitySpec) { s.Subject, s.SubjectPattern = "", `(?m)https://github\.com/acme/app$` }), func(*verifytest.Person) {}, false},
		"a pattern of the issuer": {with(func(s *verify.IdentitySpec) {
			s.Issuer, s.IssuerPattern = "", `https://token\.actions\.githubusercontent\.com(/acme)?`
		}), func(*verifytest.Person) {}, true},
		"an extension that is so": {with(func(s *verify.IdentitySpec) { s.Extensions = map[string]string{"runnerEnvironment": "github-hosted"} }), func(*verifytest.Person) {}, true},
		"two extensions of which one isn't so": {with(func(s *verify.IdentitySpec) {
			s.Extensions = map[string]string{"runnerEnvironment": "github-hosted", "sourceRepositoryURI": "https://github.com/acme/app2"}
		}), func(*verifytest.Person) {}, false},
		"an extension that the certificate doesn't have": {with(func(s *verify.IdentitySpec) {
			s.Extensions = map[string]string{"sourceRepositoryRef": "refs/heads/main"}
		}), func(p *verifytest.Person) { p.Extensions = nil }, false},
		"an extension that is a pattern, and no text": {with(func(s *verify.IdentitySpec) { s.Extensions = map[string]string{"sourceRepositoryURI": ".*"} }), func(*verifytest.Person) {}, false},
		"an extension that begins like what is asked for": {with(func(s *verify.IdentitySpec) {
			s.Extensions = map[string]string{"sourceRepositoryURI": "https://github.com/acme"}
		}), func(*verifytest.Person) {}, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			id, err := verify.NewIdentity(tc.spec)
			if err != nil {
				t.Fatal(err)
			}
			a, err := verify.NewKeylessAuthority("ci", trust, []verify.Identity{id}, verify.Terms{})
			if err != nil {
				t.Fatal(err)
			}
			p := github()
			tc.change(&p)
			paper := s.Sign(t, verifytest.Signing{Person: &p, Logs: v1Log()}, image)
			if !tc.good {
				refused(t, a, image, then(), paper, verify.MissOtherSigner)
				return
			}
			if e := verified(t, a, image, then(), paper); e.Who() != p.Subject+" ("+p.Issuer+")" {
				t.Errorf("signed by %s", e.Who())
			}
		})
	}
}

func TestRow65_AnIdentityOfAnybodyCannotBeMade(t *testing.T) {
	t.Parallel()
	const issuer, subject = "https://issuer.example.com", "dev@example.com"
	for what, tc := range map[string]struct {
		spec verify.IdentitySpec
		want string
	}{
		"nothing":                          {verify.IdentitySpec{}, "issuer: neither"},
		"no issuer":                        {verify.IdentitySpec{Subject: subject}, "issuer: neither"},
		"no subject":                       {verify.IdentitySpec{Issuer: issuer}, "subject: neither"},
		"both an issuer and a pattern":     {verify.IdentitySpec{Issuer: issuer, IssuerPattern: "x", Subject: subject}, "both"},
		"both a subject and a pattern":     {verify.IdentitySpec{Issuer: issuer, SubjectPattern: "x", Subject: subject}, "both"},
		"any subject":                      {verify.IdentitySpec{Issuer: issuer, SubjectPattern: ".*"}, "matches anybody"},
		"any subject of a character":       {verify.IdentitySpec{Issuer: issuer, SubjectPattern: ".+"}, "matches anybody"},
		"any subject, in other words":      {verify.IdentitySpec{Issuer: issuer, SubjectPattern: `[\s\S]*`}, "matches anybody"},
		"any subject, by an alternative":   {verify.IdentitySpec{Issuer: issuer, SubjectPattern: `x|.*`}, "matches anybody"},
		"an empty subject too":             {verify.IdentitySpec{Issuer: issuer, SubjectPattern: `x?`}, "matches anybody"},
		"any issuer":                       {verify.IdentitySpec{IssuerPattern: ".*", Subject: subject}, "matches anybody"},
		"an issuer on any host":            {verify.IdentitySpec{IssuerPattern: "https://.*", Subject: subject}, "on any host"},
		"an issuer on any host, by itself": {verify.IdentitySpec{IssuerPattern: "https://[^/]+", Subject: subject}, "on any host"},
		"a pattern that is broken":         {verify.IdentitySpec{Issuer: issuer, SubjectPattern: "("}, "subjectPattern"},
		"a pattern that leaves its group":  {verify.IdentitySpec{Issuer: issuer, SubjectPattern: "a)|(b"}, "subjectPattern"},
		"an extension of no name":          {verify.IdentitySpec{Issuer: issuer, Subject: subject, Extensions: map[string]string{"": "x"}}, "no such extension"},
		"an extension of another case":     {verify.IdentitySpec{Issuer: issuer, Subject: subject, Extensions: map[string]string{"SourceRepositoryURI": "x"}}, "no such extension"},
		"an unknown extension":             {verify.IdentitySpec{Issuer: issuer, Subject: subject, Extensions: map[string]string{"x": "x"}}, "no such extension"},
		"an extension without a value":     {verify.IdentitySpec{Issuer: issuer, Subject: subject, Extensions: map[string]string{"sourceRepositoryURI": ""}}, "asks for nothing"},
		"the issuer as an extension":       {verify.IdentitySpec{Issuer: issuer, Subject: subject, Extensions: map[string]string{"issuer": "x"}}, "write it as issuer"},
	} {
		if _, err := verify.NewIdentity(tc.spec); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error that says %q", what, err, tc.want)
		}
	}
	if names := verify.ExtensionNames(); !slices.Contains(names, "sourceRepositoryURI") || slices.Contains(names, "issuer") || !slices.IsSorted(names) {
		t.Errorf("extensions %v", names)
	}
}

func TestRow67_AKeyAndACertificateDoNotStandForOneAnother(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	trust := s.Trust(t, verify.DefaultThresholds())
	key := verifytest.NewSigner(t, 1)
	pki := verifytest.NewPKI(t, verifytest.Always())
	holder := pki.Issue(t, verifytest.Leaf{Emails: []string{someone.Subject}})
	holderKey, err := verify.NewKeyAuthority("key", []verify.Key{holder.BareKey(t)}, verify.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	byKey := s.Sign(t, verifytest.Signing{Key: &key, Logs: v1Log(), Stamps: []int{0}}, image)
	refused(t, keyless(t, trust, verify.Terms{}), image, then(), byKey, verify.MissOtherSigner)
	refused(t, pki.Authority(t, "pki", verify.Terms{}, someone.Subject), image, then(), byKey, verify.MissOtherSigner)
	byHolder := s.Sign(t, verifytest.Signing{Holder: &holder, Logs: v1Log(), Stamps: []int{0}}, image)
	verified(t, pki.Authority(t, "pki", verify.Terms{}, someone.Subject), image, then(), byHolder)
	refused(t, holderKey, image, then(), byHolder, verify.MissOtherSigner)
	refused(t, keyless(t, trust, verify.Terms{}), image, then(), byHolder, verify.MissOtherSigner, verify.MissUnproven)
	// The certificate taken away, and its key named: that is the key's signature, if a policy says so.
	b := object(t, byHolder)
	m := down(t, b, "verificationMaterial")
	delete(m, "certificate")
	print := holder.BareKey(t).Fingerprint()
	m["publicKey"] = map[string]any{"hint": base64.StdEncoding.EncodeToString(print[:])}
	delete(m, "tlogEntries")
	verified(t, holderKey, image, then(), verifytest.Pack(b))
	refused(t, pki.Authority(t, "pki", verify.Terms{}, someone.Subject), image, then(), verifytest.Pack(b), verify.MissOtherSigner)
}

func TestRow68_ALogEntryOfSomethingElseProvesNothing(t *testing.T) {
	t.Parallel()
	s, other, image, someone := verifytest.NewSigstore(t), verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	a := keyless(t, s.Trust(t, verify.DefaultThresholds()), verify.Terms{})
	for _, l := range []verifytest.Log{verifytest.RekorV1, verifytest.RekorV1Proof, verifytest.RekorV2} {
		by := verifytest.Signing{Person: &someone, Logs: []verifytest.Log{l}, Stamps: []int{0}}
		good := s.Sign(t, by, image)
		verified(t, a, image, then(), good)
		for what, change := range map[string]func(entry map[string]any){
			"of the same image by another certificate": func(e map[string]any) {
				for k, v := range down(t, object(t, s.Sign(t, by, image)), "verificationMaterial", "tlogEntries", 0) {
					e[k] = v
				}
			},
			"of another log": func(e map[string]any) {
				for k, v := range down(t, object(t, other.Sign(t, by, image)), "verificationMaterial", "tlogEntries", 0) {
					e[k] = v
				}
			},
			"that calls itself by another log's name": func(e map[string]any) {
				e["logId"] = down(t, object(t, other.Sign(t, by, image)), "verificationMaterial", "tlogEntries", 0)["logId"]
			},
			"with a changed body": func(e map[string]any) {
				body, _ := base64.StdEncoding.DecodeString(e["canonicalizedBody"].(string))
				e["canonicalizedBody"] = base64.StdEncoding.EncodeToString(append(body, ' '))
			},
			"with the proof of another": func(e map[string]any) {
				e["inclusionProof"] = down(t, object(t, s.Sign(t, by, verifytest.Digest("x"))), "verificationMaterial", "tlogEntries", 0)["inclusionProof"]
			},
			"at another place in the log": func(e map[string]any) {
				p := down(t, e, "inclusionProof")
				if p["logIndex"] = "1"; e["logIndex"] == p["logIndex"] {
					p["logIndex"] = "0"
				}
				if l == verifytest.RekorV2 {
					e["logIndex"] = "7"
				} else {
					p["logIndex"] = "7"
				}
			},
			"with neither proof nor promise": func(e map[string]any) {
				delete(e, "inclusionProof")
				delete(e, "inclusionPromise")
			},
		} {
			if l == verifytest.RekorV2 && what == "with a changed body" {
				continue // Rekor v2's is made anew from what was signed, and not read
			}
			b := object(t, good)
			change(down(t, b, "verificationMaterial", "tlogEntries", 0))
			if f := find(t, a, image, then(), verifytest.Pack(b)); len(f.Evidence) != 0 {
				t.Errorf("log %d: an entry %s was believed", l, what)
			}
		}
	}
}

func TestRow68_AnEntryThatSigstoreGoWouldNotBindIsRefused(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	a := keyless(t, s.Trust(t, verify.DefaultThresholds()), verify.Terms{})
	b := object(t, s.Sign(t, verifytest.Signing{Person: &someone, Stamps: []int{0}}, image))
	// The entry of something else, as Rekor v2 has it, in a tree whose head is signed as Rekor v1 signs it.
	down(t, b, "verificationMaterial")["tlogEntries"] = []any{s.Unbound(t, verifytest.Signing{Person: &someone}, verifytest.Digest("other"))}
	if m := refused(t, a, image, then(), verifytest.Pack(b), verify.MissMalformed); !strings.Contains(m.Claimed, "Rekor v1") {
		t.Errorf("missed because %s", m.Claimed)
	}
}

func TestRow69_KeylessWithoutLogAndTimestampIsRefusedWhateverTheTerms(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	trust := s.Trust(t, verify.DefaultThresholds())
	none, logged := verifytest.Signing{Person: &someone}, verifytest.Signing{Person: &someone, Logs: v1Log()}
	proof := verifytest.Signing{Person: &someone, Logs: []verifytest.Log{verifytest.RekorV1Proof}}
	v2 := verifytest.Signing{Person: &someone, Logs: []verifytest.Log{verifytest.RekorV2}}
	stamped := verifytest.Signing{Person: &someone, Stamps: []int{1}}
	both := verifytest.Signing{Person: &someone, Logs: v1Log(), Stamps: []int{1}}
	for _, log := range []verify.Demand{verify.Unsaid, verify.Optional, verify.Required} {
		for _, stamp := range []verify.Demand{verify.Unsaid, verify.Optional, verify.Required} {
			a := keyless(t, trust, verify.Terms{Log: log, Timestamp: stamp})
			needLog, needStamp := log != verify.Optional, stamp == verify.Required
			for what, tc := range map[string]struct {
				by   verifytest.Signing
				good bool
			}{
				"neither":            {none, false},
				"a proof alone":      {proof, false},
				"Rekor v2 alone":     {v2, false},
				"a log entry":        {logged, !needStamp},
				"a timestamp":        {stamped, !needLog},
				"both":               {both, true},
				"both, log mangled":  {both, !needLog},
				"both, none trusted": {both, false},
			} {
				b := object(t, s.Sign(t, tc.by, image))
				m := down(t, b, "verificationMaterial")
				switch what {
				case "both, log mangled":
					m["tlogEntries"] = down(t, object(t, s.Sign(t, logged, verifytest.Digest("x"))), "verificationMaterial")["tlogEntries"]
				case "both, none trusted":
					theirs := down(t, object(t, verifytest.NewSigstore(t).Sign(t, both, image)), "verificationMaterial")
					m["tlogEntries"], m["timestampVerificationData"] = theirs["tlogEntries"], theirs["timestampVerificationData"]
				}
				f := find(t, a, image, then(), verifytest.Pack(b))
				if (len(f.Evidence) == 1) != tc.good {
					t.Errorf("log %d, timestamp %d, %s: evidence %d, misses %+v", log, stamp, what, len(f.Evidence), f.Misses)
				}
			}
		}
	}
}

func TestRow70_TimeIsWhatATrustedPartySigned(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	trust := s.Trust(t, verify.DefaultThresholds())
	a, stampOnly := keyless(t, trust, verify.Terms{}), keyless(t, trust, verify.Terms{Log: verify.Optional, Timestamp: verify.Required})
	by := verifytest.Signing{Person: &someone, Logs: v1Log()}
	entry := func(change func(e map[string]any)) verify.Candidate {
		b := object(t, s.Sign(t, by, image))
		change(down(t, b, "verificationMaterial", "tlogEntries", 0))
		return verifytest.Pack(b)
	}
	refused(t, a, image, then(), entry(func(e map[string]any) { e["integratedTime"] = then().Add(time.Minute).Unix() }), verify.MissUnproven)
	refused(t, a, image, then(), entry(func(e map[string]any) { delete(e, "integratedTime") }), verify.MissUnproven)
	refused(t, a, image, then(), entry(func(e map[string]any) { delete(e, "inclusionPromise") }), verify.MissUnproven)

	late := verifytest.Signing{Person: &someone, Logs: v1Log(), Stamps: []int{0}, StampedAt: then().Add(time.Hour)}
	refused(t, a, image, then(), s.Sign(t, late, image), verify.MissUnproven)         // every time must be within
	refused(t, stampOnly, image, then(), s.Sign(t, late, image), verify.MissUnproven) // this one alone too
	early := verifytest.Signing{Person: &someone, Stamps: []int{0}, StampedAt: then().Add(-time.Hour)}
	refused(t, stampOnly, image, then(), s.Sign(t, early, image), verify.MissUnproven)

	ours := object(t, s.Sign(t, verifytest.Signing{Person: &someone, Stamps: []int{0}}, image))
	verified(t, stampOnly, image, then(), verifytest.Pack(ours))
	sig, _ := base64.StdEncoding.DecodeString(down(t, ours, "dsseEnvelope", "signatures", 0)["sig"].(string))
	stamp := func(data []byte) map[string]any {
		return map[string]any{"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": base64.StdEncoding.EncodeToString(data)}}}
	}
	for what, data := range map[string][]byte{
		"by another authority": verifytest.NewSigstore(t).Stamp(t, 0, sig, then()),
		"of something else":    s.Stamp(t, 0, []byte("something else"), then()),
		"of nothing":           s.Stamp(t, 0, nil, then()),
		"that is none":         []byte("x"),
	} {
		down(t, ours, "verificationMaterial")["timestampVerificationData"] = stamp(data)
		t.Run("a timestamp "+what, func(t *testing.T) {
			refused(t, stampOnly, image, then(), verifytest.Pack(ours), verify.MissUnproven)
		})
	}

	earliest := verifytest.Signing{Person: &someone, Logs: v1Log(), Stamps: []int{0, 1}, StampedAt: then().Add(-30 * time.Second)}
	if e := verified(t, a, image, then(), s.Sign(t, earliest, image)); !e.Time().Equal(earliest.StampedAt) {
		t.Errorf("time %s, want the earliest", e.Time())
	}
}

func TestRow71_ThresholdsCountDistinctLogsAndAuthorities(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	logs := func(l ...verifytest.Log) []verifytest.Log { return l }
	v1, v2 := verifytest.RekorV1, verifytest.RekorV2
	key := verifytest.NewSigner(t, 1)
	for what, tc := range map[string]struct {
		th     verify.Thresholds
		logs   []verifytest.Log
		stamps []int
		good   bool
	}{
		"two logs":                       {verify.Thresholds{Logs: 2, Timestamps: 1, SCTs: 1}, logs(v1, v2), []int{0}, true},
		"one log twice":                  {verify.Thresholds{Logs: 2, Timestamps: 1, SCTs: 1}, logs(v1, v1), []int{0}, false},
		"one log twice, Rekor v2":        {verify.Thresholds{Logs: 2, Timestamps: 1, SCTs: 1}, logs(v2, v2), []int{0}, false},
		"one log three times":            {verify.Thresholds{Logs: 2, Timestamps: 1, SCTs: 1}, logs(v1, v1, v1), []int{0}, false},
		"one log":                        {verify.Thresholds{Logs: 2, Timestamps: 1, SCTs: 1}, logs(v1), []int{0}, false},
		"two authorities":                {verify.Thresholds{Logs: 1, Timestamps: 2, SCTs: 1}, logs(v1), []int{0, 1}, true},
		"one authority twice":            {verify.Thresholds{Logs: 1, Timestamps: 2, SCTs: 1}, logs(v1), []int{0, 0}, false},
		"one log twice where one counts": {verify.DefaultThresholds(), logs(v1, v1), []int{0}, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			trust := s.Trust(t, tc.th)
			terms := verify.Terms{Log: verify.Required, Timestamp: verify.Required}
			by := verifytest.Signing{Person: &someone, Logs: tc.logs, Stamps: tc.stamps}
			keyTerms := terms
			keyTerms.Trust = trust
			held, err := verify.NewKeyAuthority("key", []verify.Key{key.Key()}, keyTerms)
			if err != nil {
				t.Fatal(err)
			}
			pki := verifytest.NewPKI(t, verifytest.Always())
			holder := pki.Issue(t, verifytest.Leaf{DNS: []string{"signer.example.com"}})
			for _, c := range []struct {
				a  verify.Authority
				by verifytest.Signing
			}{
				{keyless(t, trust, terms), by},
				{held, verifytest.Signing{Key: &key, Logs: tc.logs, Stamps: tc.stamps}},
				{pki.Authority(t, "pki", keyTerms, "signer.example.com"), verifytest.Signing{Holder: &holder, Logs: tc.logs, Stamps: tc.stamps}},
			} {
				f := find(t, c.a, image, then(), s.Sign(t, c.by, image))
				if (len(f.Evidence) == 1) != tc.good {
					t.Errorf("%s: evidence %d, misses %+v", c.a.Name(), len(f.Evidence), f.Misses)
				}
			}
		})
	}
}

func TestRow71_WhatSignsOutsideItsWindowDoesNotCount(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	by := verifytest.Signing{Person: &someone, Logs: v1Log(), Stamps: []int{0}}
	paper := s.Sign(t, by, image)
	before, after := verifytest.Before(), verifytest.After()
	for what, leave := range map[string]func(*verifytest.Parts, *verifytest.Window){
		"the log":                 func(p *verifytest.Parts, w *verifytest.Window) { p.RekorV1 = w },
		"the CT log":              func(p *verifytest.Parts, w *verifytest.Window) { p.CT = w },
		"the timestamp authority": func(p *verifytest.Parts, w *verifytest.Window) { p.Timestamps = w },
		"the Fulcio":              func(p *verifytest.Parts, w *verifytest.Window) { p.Fulcio = w },
	} {
		for when, w := range map[string]*verifytest.Window{"no more": &before, "not yet": &after} {
			p := verifytest.All()
			leave(&p, w)
			a := keyless(t, s.TrustOf(t, p, verify.DefaultThresholds()), verify.Terms{Log: verify.Required, Timestamp: verify.Required})
			t.Run(what+" is valid "+when, func(t *testing.T) { refused(t, a, image, then(), paper, verify.MissUnproven) })
		}
	}
	verified(t, keyless(t, s.Trust(t, verify.DefaultThresholds()), verify.Terms{Log: verify.Required, Timestamp: verify.Required}), image, then(), paper)
}

func TestRow72_ACertificateWithoutSCTIsRefusedUnlessTheTrustSaysOtherwise(t *testing.T) {
	t.Parallel()
	s, other, image := verifytest.NewSigstore(t), verifytest.NewSigstore(t), verifytest.Digest("image")
	demanded := keyless(t, s.Trust(t, verify.DefaultThresholds()), verify.Terms{})
	lax := keyless(t, s.Trust(t, verify.Thresholds{Logs: 1, Timestamps: 1}), verify.Terms{})
	two, err := verify.NewTrust([][]byte{s.TrustedRoot(t), other.TrustedRoot(t)}, verify.Thresholds{Logs: 1, Timestamps: 1, SCTs: 2})
	if err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		a     verify.Authority
		scts  []*verifytest.Sigstore
		at    time.Time
		good  bool
		other bool
	}{
		"one":                         {a: demanded, scts: []*verifytest.Sigstore{s}, good: true},
		"none":                        {a: demanded, scts: []*verifytest.Sigstore{}},
		"one of another log":          {a: demanded, scts: []*verifytest.Sigstore{other}},
		"none where none is demanded": {a: lax, scts: []*verifytest.Sigstore{}, good: true},
		"one before its log was":      {a: demanded, scts: []*verifytest.Sigstore{s}, at: verifytest.Always().From.Add(-time.Hour)},
		"two":                         {a: keyless(t, two, verify.Terms{}), scts: []*verifytest.Sigstore{s, other}, good: true},
		"one where two are demanded":  {a: keyless(t, two, verify.Terms{}), scts: []*verifytest.Sigstore{s}},
		"one twice where two are":     {a: keyless(t, two, verify.Terms{}), scts: []*verifytest.Sigstore{s, s}},
	} {
		t.Run(what, func(t *testing.T) {
			p := verifytest.Someone()
			p.SCTs, p.SCTAt = tc.scts, tc.at
			paper := s.Sign(t, verifytest.Signing{Person: &p, Logs: v1Log()}, image)
			if tc.good {
				verified(t, tc.a, image, then(), paper)
			} else {
				refused(t, tc.a, image, then(), paper, verify.MissUnproven)
			}
		})
	}
}

func TestAKeylessBundleOfEveryVersionIsReadAndAChainIsNone(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	a := keyless(t, s.Trust(t, verify.DefaultThresholds()), verify.Terms{})
	for _, version := range []string{"0.1", "0.2", "0.3"} {
		verified(t, a, image, then(), s.Sign(t, verifytest.Signing{Person: &someone, Logs: v1Log(), Version: version}, image))
	}
	verified(t, a, image, then(), s.Sign(t, verifytest.Signing{Person: &someone, Logs: []verifytest.Log{verifytest.RekorV1Promise}, Version: "0.1"}, image))
	refused(t, a, image, then(), s.Sign(t, verifytest.Signing{Person: &someone, Logs: []verifytest.Log{verifytest.RekorV1Promise}}, image), verify.MissMalformed)
	verified(t, a, image, then(), s.Sign(t, verifytest.Signing{Person: &someone, Logs: v1Log(), Version: "0.1", Chain: true}, image))
	refused(t, a, image, then(), s.Sign(t, verifytest.Signing{Person: &someone, Logs: v1Log(), Chain: true}, image), verify.MissUnproven)
}
