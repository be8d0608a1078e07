package policy_test

import (
	"testing"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// TestRow63_WhoSignsUnderManyNamesIsOneSigner: N of M counts whoever signs, by key and by identity, whatever the authorities and papers are.
func TestRow63_WhoSignsUnderManyNamesIsOneSigner(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	pki := verifytest.NewPKI(t, verifytest.Always())
	lead := pki.Issue(t, verifytest.Leaf{Emails: []string{"lead@corp.example"}})
	again := pki.Issue(t, verifytest.Leaf{Emails: []string{"lead@corp.example"}}) // another key, the same name
	bot := pki.Issue(t, verifytest.Leaf{DNS: []string{"ci.corp.example"}})
	both := pki.Issue(t, verifytest.Leaf{Emails: []string{"lead@corp.example"}, DNS: []string{"ci.corp.example"}})
	key := verifytest.NewSigner(t, 1)
	leadKey, err := verify.NewKeyAuthority("lead-key", []verify.Key{lead.BareKey(t)}, verify.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	asLead, asBot := pki.Authority(t, "lead", verify.Terms{}, "lead@corp.example"), pki.Authority(t, "ci", verify.Terms{}, "ci.corp.example")
	dev, other := verifytest.Someone(), verifytest.Person{Subject: "other@example.com", Issuer: "https://issuer.example.com"}
	elsewhere := verifytest.Person{Subject: dev.Subject, Issuer: "https://elsewhere.example.com"}
	asDev, asOther := s.Authority(t, "dev", dev.Issuer, dev.Subject), s.Authority(t, "other", other.Issuer, other.Subject)
	asElsewhere := s.Authority(t, "elsewhere", elsewhere.Issuer, elsewhere.Subject)
	byHolder := func(h verifytest.Holder) verify.Candidate { return s.Sign(t, verifytest.Signing{Holder: &h}, image) }
	byPerson := func(p verifytest.Person) verify.Candidate {
		return s.Sign(t, verifytest.Signing{Person: &p, Logs: []verifytest.Log{verifytest.RekorV1}}, image)
	}
	bare := s.Bare(t, lead, image) // signed with the key in lead's certificate, and nothing else
	for what, tc := range map[string]struct {
		by     []verify.Authority
		papers []verify.Candidate
		want   policy.Outcome
	}{
		"one key, bare and in a certificate":          {[]verify.Authority{leadKey, asLead}, []verify.Candidate{bare, byHolder(lead)}, policy.Violated},
		"one key in a certificate, and another key":   {[]verify.Authority{asLead, verifytest.Authority(t, "key", key)}, []verify.Candidate{byHolder(lead), verifytest.LegacySignature(key, image)}, policy.Satisfied},
		"one name in two certificates":                {[]verify.Authority{asLead, asBot}, []verify.Candidate{byHolder(lead), byHolder(again)}, policy.Violated},
		"two names in one certificate":                {[]verify.Authority{asLead, asBot}, []verify.Candidate{byHolder(both)}, policy.Violated},
		"two names, tied together by one certificate": {[]verify.Authority{asLead, asBot}, []verify.Candidate{byHolder(lead), byHolder(bot), byHolder(both)}, policy.Violated},
		"two names in two certificates":               {[]verify.Authority{asLead, asBot}, []verify.Candidate{byHolder(lead), byHolder(bot)}, policy.Satisfied},
		"one person twice, with a new key each time":  {[]verify.Authority{asDev, asOther}, []verify.Candidate{byPerson(dev), byPerson(dev)}, policy.Violated},
		"two people": {[]verify.Authority{asDev, asOther}, []verify.Candidate{byPerson(dev), byPerson(other)}, policy.Satisfied},
		"one subject of two issuers is two people":    {[]verify.Authority{asDev, asElsewhere}, []verify.Candidate{byPerson(dev), byPerson(elsewhere)}, policy.Satisfied},
		"a person and a certificate":                  {[]verify.Authority{asDev, asLead}, []verify.Candidate{byPerson(dev), byHolder(lead)}, policy.Satisfied},
		"one who counts, and one who isn't asked for": {[]verify.Authority{asDev, asOther}, []verify.Candidate{byPerson(dev), byPerson(elsewhere)}, policy.Violated},
		"one authority under two names":               {[]verify.Authority{asDev, s.Authority(t, "again", dev.Issuer, dev.Subject), asOther}, []verify.Candidate{byPerson(dev)}, policy.Violated},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			v, err := verify.NewVerifier(verify.Options{Clock: verifytest.Then})
			if err != nil {
				t.Fatal(err)
			}
			w := world{verifytest.NewRegistry(), t, v}
			for _, c := range tc.papers {
				w.Attach(image, c)
			}
			img := pinned(t, image)
			if v := requireSignature(t, 2, tc.by...).Judge(img, w.know(img)); v.Results[0].Outcome != tc.want {
				t.Errorf("%+v, want %v", v.Results[0], tc.want)
			}
		})
	}
}
