package policy_test

import (
	"encoding/base64"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// workflow is the identity that GitHub's token for a workflow has.
func workflow(ref string) verifytest.Person {
	return verifytest.Person{Subject: "https://github.com/acme/app/.github/workflows/release.yaml@" + ref, Issuer: "https://token.actions.githubusercontent.com"}
}

func TestARefusalTellsTheNearestMissInOneLine(t *testing.T) {
	t.Parallel()
	image, other := verifytest.Digest("image"), verifytest.Digest("other")
	s, strangers := verifytest.NewSigstore(t), verifytest.NewSigstore(t)
	tag, branch := workflow("refs/tags/v1"), workflow("refs/heads/main")
	long := workflow("refs/heads/" + strings.Repeat("feature/", 40))
	ci := s.Authority(t, "ci", tag.Issuer, tag.Subject)
	key := verifytest.NewSigner(t, 1)
	release := verifytest.Authority(t, "release", key)
	logs := []verifytest.Log{verifytest.RekorV1}
	sign := func(p verifytest.Person, change func(*verifytest.Person, *verifytest.Signing)) verify.Candidate {
		by := verifytest.Signing{Logs: logs}
		if change != nil {
			change(&p, &by)
		}
		by.Person = &p
		return s.Sign(t, by, image)
	}
	moved := func(by verifytest.Signing) verify.Candidate { return renamed(t, s, by, other, image) }
	stamped := keylessBy(t, "ci", s.Trust(t, verify.DefaultThresholds()), tag, verify.Terms{Log: verify.Optional, Timestamp: verify.Required})
	otherLog := verifytest.All()
	otherLog.RekorV1 = nil
	elsewhere := keylessBy(t, "ci", s.TrustOf(t, otherLog, verify.DefaultThresholds()), tag, verify.Terms{})
	pki := verifytest.NewPKI(t, verifytest.Always())
	holder := func(l verifytest.Leaf) *verifytest.Holder {
		l.DNS = []string{"release.example.com"}
		h := pki.Issue(t, l)
		return &h
	}
	corporate := pki.Authority(t, "corporate", verify.Terms{}, "release.example.com")
	const nearest = "1 signature found (bundle), none by ci; nearest: https://github.com/acme/app/.github/workflows/release.yaml@"
	const tagged = nearest + "refs/tags/v1 (https://token.actions.githubusercontent.com), but "
	for what, tc := range map[string]struct {
		by     []verify.Authority
		papers []verify.Candidate
		want   string // a star stands for anything
	}{
		"another branch of the same workflow": {[]verify.Authority{ci}, []verify.Candidate{sign(branch, nil)}, nearest + "refs/heads/main (https://token.actions.githubusercontent.com)"},
		"a key where an identity is sought": {[]verify.Authority{ci}, []verify.Candidate{verifytest.Bundle(key, image, verify.CosignSign, "0.3")},
			"1 signature found (bundle), none by ci; nearest: key SHA256:*..."},
		"a name that is too long for a line": {[]verify.Authority{ci}, []verify.Candidate{sign(long, nil)}, nearest + "refs/heads/feature/*...*feature/*"},
		"no log entry":                       {[]verify.Authority{ci}, []verify.Candidate{sign(tag, func(_ *verifytest.Person, by *verifytest.Signing) { by.Logs, by.Stamps = nil, []int{0} })}, tagged + "no transparency log entry came with it"},
		"a log that isn't trusted":           {[]verify.Authority{elsewhere}, []verify.Candidate{sign(tag, nil)}, tagged + "its transparency log entry is of a log that isn't trusted"},
		"no timestamp":                       {[]verify.Authority{stamped}, []verify.Candidate{sign(tag, nil)}, tagged + "no signed timestamp came with it"},
		"no time":                            {[]verify.Authority{ci}, []verify.Candidate{sign(tag, func(_ *verifytest.Person, by *verifytest.Signing) { by.Logs = []verifytest.Log{verifytest.RekorV2} })}, tagged + "no log or timestamp that is trusted says when it was signed"},
		"a certificate that expired":         {[]verify.Authority{ci}, []verify.Candidate{sign(tag, func(p *verifytest.Person, _ *verifytest.Signing) { p.Valid = verifytest.Before() })}, tagged + "its certificate had expired when it was signed"},
		"a certificate of the future":        {[]verify.Authority{ci}, []verify.Candidate{sign(tag, func(p *verifytest.Person, _ *verifytest.Signing) { p.Valid = verifytest.After() })}, tagged + "its certificate was not valid yet when it was signed"},
		"no SCT":                             {[]verify.Authority{ci}, []verify.Candidate{sign(tag, func(p *verifytest.Person, _ *verifytest.Signing) { p.SCTs = []*verifytest.Sigstore{strangers} })}, tagged + "its certificate is in no certificate transparency log that is trusted"},
		"another image's, renamed":           {[]verify.Authority{ci}, []verify.Candidate{moved(verifytest.Signing{Person: &tag, Logs: logs})}, tagged + "the signature doesn't fit what it is over: one of them was changed"},
		"a key's, renamed":                   {[]verify.Authority{release}, []verify.Candidate{moved(verifytest.Signing{Key: &key})}, "1 signature found (bundle), none by release; nearest: key SHA256:*..., but the signature doesn't fit what it is over: one of them was changed"},
		"another PKI's certificate": {[]verify.Authority{verifytest.NewPKI(t, verifytest.Always()).Authority(t, "corporate", verify.Terms{}, "release.example.com")},
			[]verify.Candidate{s.Sign(t, verifytest.Signing{Holder: holder(verifytest.Leaf{})}, image)},
			"1 signature found (bundle), none by corporate; nearest: release.example.com, but its certificate doesn't lead to a trusted root"},
		"an own PKI's certificate that expired": {[]verify.Authority{corporate}, []verify.Candidate{s.Sign(t, verifytest.Signing{Holder: holder(verifytest.Leaf{Valid: verifytest.Before()})}, image)},
			"1 signature found (bundle), none by corporate; nearest: release.example.com, but its certificate has expired, and no verified time says that it was signed before"},
		"what we have no words for": {[]verify.Authority{ci}, []verify.Candidate{sign(tag, func(_ *verifytest.Person, by *verifytest.Signing) { by.Chain = true })}, tagged + "it doesn't verify: a bundle of version 0.3 has one certificate, not a chain"},
		"the nearest of several papers and authorities": {[]verify.Authority{release, ci},
			[]verify.Candidate{verifytest.LegacySignature(verifytest.NewSigner(t, 9), image), sign(branch, nil), sign(tag, func(_ *verifytest.Person, by *verifytest.Signing) { by.Logs = nil })},
			"3 signatures found (1 legacy, 2 bundle), none by release or ci; nearest: https://github.com/*refs/tags/v1 (https://token.actions.githubusercontent.com), but no transparency log entry came with it"},
		"more than are kept": {[]verify.Authority{release}, manySigned(t, image), "at least 8 signatures found (legacy), none by release"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w, img := newWorld(t), pinned(t, image)
			for _, c := range tc.papers {
				w.Attach(image, c)
			}
			r := requireSignature(t, 1, tc.by...).Judge(img, w.know(img)).Results[0]
			if r.Reason != policy.NoTrustedSignature || !like(r.Detail, tc.want) {
				t.Errorf("%s: %s\nwant %s", r.Reason, r.Detail, tc.want)
			}
			if len(r.Detail) > 360 { // admission cuts lines at 400, requirement and reason included
				t.Errorf("%d bytes: the end would be cut off", len(r.Detail))
			}
		})
	}
}

func TestTooFewSignersNamesThoseWhoSignedAndThoseWhoDidNot(t *testing.T) {
	t.Parallel()
	image, s := verifytest.Digest("image"), verifytest.NewSigstore(t)
	tag, lead := workflow("refs/tags/v1"), verifytest.Someone()
	ci := s.Authority(t, "ci", tag.Issuer, tag.Subject)
	people := s.Authority(t, "lead", lead.Issuer, lead.Subject)
	w, img := newWorld(t), pinned(t, image)
	w.Attach(image, s.Sign(t, verifytest.Signing{Person: &tag, Logs: []verifytest.Log{verifytest.RekorV1}}, image))
	judge := func(by ...verify.Authority) policy.Result {
		return requireSignature(t, 2, by...).Judge(img, w.know(img)).Results[0]
	}
	const signed = "1 signer of at least 2: by ci (" + "https://github.com/acme/app/.github/workflows/release.yaml@refs/tags/v1 (https://token.actions.githubusercontent.com))"
	if r := judge(ci, people); r.Reason != policy.TooFewSigners || r.Detail != signed+"; none by lead" {
		t.Errorf("%s: %s", r.Reason, r.Detail)
	}
	if r := judge(ci, people, verifytest.Authority(t, "release", verifytest.NewSigner(t, 1))); r.Detail != signed+"; none by lead or release" {
		t.Error(r.Detail)
	}
	same := s.Authority(t, "builds", tag.Issuer, tag.Subject)
	if r := judge(ci, same, people); !strings.HasSuffix(r.Detail, "; none by lead") || !strings.HasPrefix(r.Detail, "1 signer of at least 2: by builds (https") {
		t.Error(r.Detail)
	}
}

// keylessBy is the authority of one person, exact, on terms.
func keylessBy(tb testing.TB, name string, trust *verify.Trust, p verifytest.Person, terms verify.Terms) verify.Authority {
	tb.Helper()
	id, err := verify.NewIdentity(verify.IdentitySpec{Issuer: p.Issuer, Subject: p.Subject})
	if err != nil {
		tb.Fatal(err)
	}
	a, err := verify.NewKeylessAuthority(name, trust, []verify.Identity{id}, terms)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// renamed is a signature over one image that was made to name another.
func renamed(tb testing.TB, s *verifytest.Sigstore, by verifytest.Signing, signed, image v1.Hash) verify.Candidate {
	tb.Helper()
	bundle := s.Envelope(tb, by, verifytest.Statement(signed, verify.CosignSign))
	envelope, ok := bundle["dsseEnvelope"].(map[string]any)
	if !ok {
		tb.Fatal("a bundle without an envelope")
	}
	envelope["payload"] = base64.StdEncoding.EncodeToString(verifytest.Statement(image, verify.CosignSign))
	return verifytest.Pack(bundle)
}

// manySigned are more signatures by strangers than findings keep.
func manySigned(tb testing.TB, image v1.Hash) []verify.Candidate {
	tb.Helper()
	var out []verify.Candidate
	for i := range verify.MaxMisses + 1 {
		out = append(out, verifytest.LegacySignature(verifytest.NewSigner(tb, byte(100+i)), image))
	}
	return out
}

// like tells whether a text is as wanted, where a star stands for anything.
func like(got, want string) bool {
	parts := strings.Split(want, "*")
	rest, ok := strings.CutPrefix(got, parts[0])
	if !ok || len(parts) == 1 {
		return ok && rest == ""
	}
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, p)
		if i < 0 {
			return false
		}
		rest = rest[i+len(p):]
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
