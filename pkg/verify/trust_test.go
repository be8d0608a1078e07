package verify_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

func TestATrustThatCannotBeMetCannotBeMade(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigstore(t)
	good := s.TrustedRoot(t)
	one := verify.DefaultThresholds()
	for what, tc := range map[string]struct {
		roots [][]byte
		t     verify.Thresholds
		want  string
	}{
		"without a root":                   {nil, one, "no trusted root"},
		"with too many roots":              {slices.Repeat([][]byte{good}, verify.MaxTrustedRoots+1), one, "at most 8"},
		"with a root that is no JSON":      {[][]byte{[]byte("x")}, one, "trusted root 1 is no trusted_root.json"},
		"with a second that is none":       {[][]byte{good, []byte("[]")}, one, "trusted root 2"},
		"with a root that is too large":    {[][]byte{append(bytes.Repeat([]byte(" "), verify.MaxTrustedRoot), good...)}, one, "over the bound"},
		"without thresholds":               {[][]byte{good}, verify.Thresholds{}, "want 1 to 8"},
		"with a negative threshold":        {[][]byte{good}, verify.Thresholds{Logs: -1, Timestamps: 1}, "want 1 to 8"},
		"with a threshold that nobody has": {[][]byte{good}, verify.Thresholds{Logs: 1, Timestamps: 9}, "want 1 to 8"},
		"with fewer than no SCTs":          {[][]byte{good}, verify.Thresholds{Logs: 1, Timestamps: 1, SCTs: -1}, "want 0 to 8"},
	} {
		if trust, err := verify.NewTrust(tc.roots, tc.t); err == nil || trust != nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error that says %q", what, err, tc.want)
		}
	}
}

func TestAFingerprintOfTrustIsThatOfItsMaterialAndThresholds(t *testing.T) {
	t.Parallel()
	a, b := verifytest.NewSigstore(t).TrustedRoot(t), verifytest.NewSigstore(t).TrustedRoot(t)
	print := func(th verify.Thresholds, roots ...[]byte) verify.Fingerprint {
		t.Helper()
		trust, err := verify.NewTrust(roots, th)
		if err != nil {
			t.Fatal(err)
		}
		return trust.Fingerprint()
	}
	one := verify.DefaultThresholds()
	if print(one, a, b) != print(one, b, a) || print(one, a) != print(one, a, a) {
		t.Error("the order of roots, or their repetition, says something")
	}
	all := []verify.Fingerprint{
		print(one, a), print(one, b), print(one, a, b), print(verify.Thresholds{Logs: 2, Timestamps: 1, SCTs: 1}, a),
		print(verify.Thresholds{Logs: 1, Timestamps: 2, SCTs: 1}, a), print(verify.Thresholds{Logs: 1, Timestamps: 1}, a),
	}
	for i, x := range all {
		if slices.Contains(all[i+1:], x) {
			t.Errorf("trust %d has the fingerprint of another", i)
		}
	}
}

func TestSeveralTrustedRootsAreUnited(t *testing.T) {
	t.Parallel()
	x, y, image, someone := verifytest.NewSigstore(t), verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	trust := func(roots ...[]byte) *verify.Trust {
		out, err := verify.NewTrust(roots, verify.DefaultThresholds())
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	by := verifytest.Signing{Person: &someone, Logs: []verifytest.Log{verifytest.RekorV1}}
	both := keyless(t, trust(x.TrustedRoot(t), y.TrustedRoot(t)), verify.Terms{})
	for _, s := range []*verifytest.Sigstore{x, y} {
		verified(t, both, image, then(), s.Sign(t, by, image))
	}
	refused(t, keyless(t, trust(x.TrustedRoot(t)), verify.Terms{}), image, then(), y.Sign(t, by, image), verify.MissUnproven)

	closed := verifytest.All()
	before := verifytest.Before()
	closed.RekorV1, closed.CT = &before, &before
	older := x.TrustedRootOf(t, closed) // trusts neither log now
	refused(t, keyless(t, trust(older), verify.Terms{}), image, then(), x.Sign(t, by, image), verify.MissUnproven)
	for what, roots := range map[string][][]byte{"the one before first": {older, x.TrustedRoot(t)}, "the one after first": {x.TrustedRoot(t), older}} {
		t.Run(what, func(t *testing.T) {
			verified(t, keyless(t, trust(roots...), verify.Terms{}), image, then(), x.Sign(t, by, image))
		})
	}
}

func TestALogWithAnotherKeyUnderItsNameIsRefused(t *testing.T) {
	t.Parallel()
	x := verifytest.NewSigstore(t)
	var a, b map[string]any
	if err := json.Unmarshal(x.TrustedRoot(t), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(verifytest.NewSigstore(t).TrustedRoot(t), &b); err != nil {
		t.Fatal(err)
	}
	theirs := down(t, b, "tlogs", 0)
	theirs["logId"] = down(t, a, "tlogs", 0)["logId"]
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify.NewTrust([][]byte{x.TrustedRoot(t), text}, verify.DefaultThresholds()); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("error %v", err)
	}
}

func TestRow71_OneLogUnderTwoNamesCannotCountTwice(t *testing.T) {
	t.Parallel()
	x := verifytest.NewSigstore(t)
	var doc map[string]any
	if err := json.Unmarshal(x.TrustedRoot(t), &doc); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(down(t, doc, "tlogs", 0))
	if err != nil {
		t.Fatal(err)
	}
	var twin map[string]any
	if err := json.Unmarshal(again, &twin); err != nil {
		t.Fatal(err)
	}
	twin["logId"] = map[string]any{"keyId": base64.StdEncoding.EncodeToString([]byte("another name for it"))}
	doc["tlogs"] = append(doc["tlogs"].([]any), twin)
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify.NewTrust([][]byte{text}, verify.DefaultThresholds()); err != nil {
		t.Errorf("where one is enough it does no harm: %v", err)
	}
	if _, err := verify.NewTrust([][]byte{text}, verify.Thresholds{Logs: 2, Timestamps: 1, SCTs: 1}); err == nil || !strings.Contains(err.Error(), "count twice") {
		t.Errorf("error %v", err)
	}
}

func TestTermsThatContradictThemselvesAreRefused(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigstore(t)
	all, keys := s.Trust(t, verify.DefaultThresholds()), []verify.Key{verifytest.NewSigner(t, 1).Key()}
	without := func(leave func(*verifytest.Parts)) *verify.Trust {
		p := verifytest.All()
		leave(&p)
		return s.TrustOf(t, p, verify.DefaultThresholds())
	}
	noLogs := without(func(p *verifytest.Parts) { p.RekorV1, p.RekorV2 = nil, nil })
	noStamps := without(func(p *verifytest.Parts) { p.Timestamps = nil })
	neither := without(func(p *verifytest.Parts) { p.RekorV1, p.RekorV2, p.Timestamps = nil, nil, nil })
	for what, tc := range map[string]struct {
		terms verify.Terms
		want  string
	}{
		"a log without trust":                      {verify.Terms{Log: verify.Required}, "no trust root"},
		"a timestamp without trust":                {verify.Terms{Timestamp: verify.Required}, "no trust root"},
		"a log of a trust without one":             {verify.Terms{Log: verify.Required, Trust: noLogs}, "no log"},
		"a timestamp of a trust without authority": {verify.Terms{Timestamp: verify.Required, Trust: noStamps}, "no timestamp authority"},
		"more logs than there are":                 {verify.Terms{Log: verify.Required, Trust: s.Trust(t, verify.Thresholds{Logs: 3, Timestamps: 1})}, "has 2"},
		"more authorities than there are":          {verify.Terms{Timestamp: verify.Required, Trust: s.Trust(t, verify.Thresholds{Logs: 1, Timestamps: 3})}, "has 2"},
		"a demand that isn't known":                {verify.Terms{Log: verify.Required + 1, Trust: all}, "isn't known"},
	} {
		if _, err := verify.NewKeyAuthority("a", keys, tc.terms); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error that says %q", what, err, tc.want)
		}
	}
	ids := identities(t, verifytest.Someone())
	for what, tc := range map[string]struct {
		trust *verify.Trust
		ids   []verify.Identity
		terms verify.Terms
		want  string
	}{
		"no trust":                           {nil, ids, verify.Terms{}, "without a trust root"},
		"two trusts":                         {all, ids, verify.Terms{Trust: noLogs}, "two trust roots"},
		"nobody":                             {all, nil, verify.Terms{}, "believe everybody"},
		"somebody who wasn't checked":        {all, []verify.Identity{{}}, verify.Terms{}, "not checked"},
		"too many":                           {all, slices.Repeat(ids, verify.MaxIdentities+1), verify.Terms{}, "more than 64"},
		"no Fulcio":                          {without(func(p *verifytest.Parts) { p.Fulcio = nil }), ids, verify.Terms{}, "no certificate authority"},
		"no CT log":                          {without(func(p *verifytest.Parts) { p.CT = nil }), ids, verify.Terms{}, "threshold of signed certificate timestamps to 0"},
		"the log left unsaid, and none":      {noLogs, ids, verify.Terms{}, "no log"},
		"both optional, and neither":         {neither, ids, verify.Terms{Log: verify.Optional, Timestamp: verify.Optional}, "no time could be verified"},
		"the log optional, and nobody tells": {neither, ids, verify.Terms{Log: verify.Optional}, "no time could be verified"},
	} {
		if _, err := verify.NewKeylessAuthority("a", tc.trust, tc.ids, tc.terms); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error that says %q", what, err, tc.want)
		}
	}
}

func TestEveryTermIsPartOfAnAuthority(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigstore(t)
	trust, other := s.Trust(t, verify.DefaultThresholds()), s.Trust(t, verify.Thresholds{Logs: 1, Timestamps: 1})
	shelf := name.MustParseReference("papers.example/p:1").Context()
	key, someone := verifytest.NewSigner(t, 1), verifytest.Someone()
	pki := verifytest.NewPKI(t, verifytest.Always())
	other1 := verifytest.NewPKI(t, verifytest.Always())
	keyOf := func(terms verify.Terms) verify.Authority {
		a, err := verify.NewKeyAuthority("a", []verify.Key{key.Key()}, terms)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	stranger, extended := someone, someone
	stranger.Issuer = "https://elsewhere.example.com"
	extended.Extensions = map[int]string{12: "https://example.com/app"}
	all := []verify.Authority{
		keyOf(verify.Terms{}), keyOf(verify.Terms{Trust: trust}), keyOf(verify.Terms{Trust: other}), keyOf(verify.Terms{Trust: trust, Log: verify.Required}),
		keyOf(verify.Terms{Trust: trust, Timestamp: verify.Required}), keyOf(verify.Terms{Trust: trust, Timestamp: verify.Required, Log: verify.Required}),
		keyOf(verify.Terms{Repository: shelf}),
		keyless(t, trust, verify.Terms{}), keyless(t, other, verify.Terms{}), keyless(t, trust, verify.Terms{Log: verify.Optional}),
		keyless(t, trust, verify.Terms{Log: verify.Optional, Timestamp: verify.Required}), keyless(t, trust, verify.Terms{Timestamp: verify.Required}),
		keyless(t, trust, verify.Terms{Repository: shelf}), keyless(t, trust, verify.Terms{}, stranger), keyless(t, trust, verify.Terms{}, extended),
		keyless(t, trust, verify.Terms{}, someone, stranger),
		pki.Authority(t, "a", verify.Terms{}, "x"), pki.Authority(t, "a", verify.Terms{}, "y"), pki.Authority(t, "a", verify.Terms{}, "x", "y"),
		other1.Authority(t, "a", verify.Terms{}, "x"), pki.Authority(t, "a", verify.Terms{Trust: trust}, "x"), pki.Authority(t, "a", verify.Terms{Repository: shelf}, "x"),
	}
	seen := map[verify.Fingerprint]int{}
	for i, a := range all {
		if j, ok := seen[a.Fingerprint()]; ok {
			t.Errorf("authorities %d and %d are one", i, j)
		}
		seen[a.Fingerprint()] = i
	}
	if a := pki.Authority(t, "other name", verify.Terms{}, "y", "x"); a.Fingerprint() != all[18].Fingerprint() {
		t.Error("the name of an authority, or the order of identities, is a part of what it is")
	}
	if got := all[6].Repository(); got != shelf {
		t.Errorf("repository %s", got)
	}
	for i, want := range map[int]int{0: 1, 7: 1, 15: 2, 18: 2} {
		if got := all[i].Signers(); got != want {
			t.Errorf("authority %d has %d signers, want %d", i, got, want)
		}
	}
	if (verify.Authority{}).Signers() != 0 || len(all[7].Identities()) != 1 || len(all[16].CertificateIdentities()) != 1 || len(all[0].Keys()) != 1 || all[7].Keys() != nil && len(all[7].Keys()) != 0 {
		t.Error("what an authority tells of itself")
	}
}

// identities are those of some people, exact.
func identities(t testing.TB, people ...verifytest.Person) []verify.Identity {
	t.Helper()
	var out []verify.Identity
	for _, p := range people {
		spec := verify.IdentitySpec{Issuer: p.Issuer, Subject: p.Subject}
		if uri := p.Extensions[12]; uri != "" {
			spec.Extensions = map[string]string{"sourceRepositoryURI": uri}
		}
		id, err := verify.NewIdentity(spec)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, id)
	}
	return out
}

// keyless is the authority of some people; of someone if none is named.
func keyless(t testing.TB, trust *verify.Trust, terms verify.Terms, people ...verifytest.Person) verify.Authority {
	t.Helper()
	if len(people) == 0 {
		people = []verifytest.Person{verifytest.Someone()}
	}
	a, err := verify.NewKeylessAuthority("keyless", trust, identities(t, people...), terms)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
