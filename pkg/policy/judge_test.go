package policy_test

import (
	"errors"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// world is a registry in memory with a real verifier over it.
type world struct {
	*verifytest.Registry
	t testing.TB
	v *verify.Verifier
}

func newWorld(t testing.TB) world {
	t.Helper()
	v, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return world{verifytest.NewRegistry(), t, v}
}

// know is what is known of an image.
func (w world) know(img policy.Image) policy.Knowledge {
	return func(digest v1.Hash, q verify.Question) verify.Findings {
		d := img.Reference.Repository().Digest(digest.String())
		return w.v.Findings(w.t.Context(), w, d, []verify.Question{q}, verify.Anew)[0]
	}
}

func pinned(t testing.TB, h v1.Hash) policy.Image {
	t.Helper()
	return policy.Image{Reference: mustReference(t, "registry.example/app@"+h.String()), Digest: h}
}

func requireSignature(t testing.TB, atLeast int, by ...verify.Authority) *policy.Policy {
	t.Helper()
	r, err := policy.NewSignature(by, atLeast)
	if err != nil {
		t.Fatal(err)
	}
	return &policy.Policy{
		Name: policy.Name{Namespace: "payments", Name: "production"}, Action: policy.ActionRequire,
		Images: policy.Matcher{Include: []policy.Pattern{mustPattern(t, "**")}}, Requirements: []policy.Requirement{r},
	}
}

func TestTheZeroValuesRefuse(t *testing.T) {
	t.Parallel()
	var o policy.Outcome
	if o.Passes() {
		t.Error("the zero Outcome passes")
	}
	if (policy.Verdict{}).Outcome().Passes() {
		t.Error("a Verdict without results passes")
	}
	if (policy.Result{}).Outcome.Passes() {
		t.Error("the zero Result passes")
	}
	nothing := func(v1.Hash, verify.Question) verify.Findings { return verify.Findings{} }
	img := pinned(t, verifytest.Digest("x"))
	if v := (&policy.Policy{}).Judge(img, nothing); v.Outcome().Passes() {
		t.Error("the zero Policy passes an image")
	}
	empty := &policy.Policy{Action: policy.ActionRequire}
	if v := empty.Judge(img, nothing); v.Outcome().Passes() {
		t.Error("a Policy that requires nothing passes an image")
	}
	if (policy.Set{}).Select(img.Reference, img.Digest).Unmatched.Outcome().Passes() {
		t.Error("the zero Set passes an image")
	}
	if v := requireSignature(t, 1, verifytest.Authority(t, "a", verifytest.NewSigner(t, 1))).Refuse(policy.Satisfied, "", ""); v.Outcome().Passes() {
		t.Error("Refuse can be made to pass")
	}
}

func TestSignature(t *testing.T) {
	t.Parallel()
	s1, s2, s3 := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2), verifytest.NewSigner(t, 3)
	image, other := verifytest.Digest("image"), verifytest.Digest("other")
	release, lead := verifytest.Authority(t, "release", s1), verifytest.Authority(t, "lead", s2)
	both, again := verifytest.Authority(t, "both", s1, s2), verifytest.Authority(t, "again", s1)
	for what, tc := range map[string]struct {
		attach  []verify.Candidate
		by      []verify.Authority
		atLeast int
		outcome policy.Outcome
		reason  policy.Reason
		says    string
	}{
		"signed by the authority": {
			[]verify.Candidate{verifytest.LegacySignature(s1, image)}, []verify.Authority{release}, 1, policy.Satisfied, policy.Verified, "by release"},
		"signed in a bundle": {
			[]verify.Candidate{verifytest.Bundle(s1, image, verify.CosignSign, "0.3")}, []verify.Authority{release}, 1, policy.Satisfied, policy.Verified, "by release"},
		"signed by one of several authorities": {
			[]verify.Candidate{verifytest.LegacySignature(s2, image)}, []verify.Authority{release, lead}, 1, policy.Satisfied, policy.Verified, "by lead"},
		"signed by one of the keys of an authority": {
			[]verify.Candidate{verifytest.LegacySignature(s2, image)}, []verify.Authority{both}, 1, policy.Satisfied, policy.Verified, "by both"},
		"not signed": {
			nil, []verify.Authority{release}, 1, policy.Violated, policy.NoTrustedSignature, "not signed"},
		"signed by somebody else": {
			[]verify.Candidate{verifytest.Bundle(s3, image, verify.CosignSign, "0.3")}, []verify.Authority{release}, 1, policy.Violated, policy.NoTrustedSignature,
			"1 signature found (bundle), none by release; nearest: key SHA256:" + s3.Key().Fingerprint().String()[7:19]},
		"another image's signature": {
			[]verify.Candidate{verifytest.LegacySignature(s1, other)}, []verify.Authority{release}, 1, policy.Violated, policy.NoTrustedSignature, "for another digest"},
		"an SBOM attestation by the authority": {
			[]verify.Candidate{verifytest.Bundle(s1, image, "https://spdx.dev/Document", "0.3")}, []verify.Authority{release}, 1, policy.Violated, policy.NoTrustedSignature,
			"an attestation of type https://spdx.dev/Document, which is not a signature"},
		"two SBOM attestations by the authority": {
			[]verify.Candidate{verifytest.Bundle(s1, image, "https://spdx.dev/Document", "0.3"), verifytest.Bundle(s2, image, "https://spdx.dev/Document", "0.3")}, []verify.Authority{release}, 1,
			policy.Violated, policy.NoTrustedSignature, "2 papers found, none by release; nearest: an attestation of type https://spdx.dev/Document, which is not a signature"},
		"attestations of several types by the authority": {
			[]verify.Candidate{verifytest.Bundle(s1, image, "https://spdx.dev/Document", "0.3"), verifytest.Bundle(s1, image, "https://slsa.dev/provenance/v1", "0.3")}, []verify.Authority{release, lead}, 1,
			policy.Violated, policy.NoTrustedSignature, "not signed: 2 papers found, none of them a signature; wanted one by release or lead"},
		"more attestations than are told apart": {
			manyAttested(t, image), []verify.Authority{release}, 1,
			policy.Violated, policy.NoTrustedSignature, "not signed: 9 papers found, none of them a signature; wanted one by release"},
		"a legacy SBOM attestation by the authority": {
			[]verify.Candidate{verifytest.LegacyAttestation(s1, image, "https://spdx.dev/Document", "https://spdx.dev/Document")}, []verify.Authority{release}, 1, policy.Violated, policy.NoTrustedSignature,
			"attestation of type https://spdx.dev/Document"},
		"two distinct signers of two": {
			[]verify.Candidate{verifytest.LegacySignature(s1, image), verifytest.LegacySignature(s2, image)}, []verify.Authority{both}, 2, policy.Satisfied, policy.Verified, "both"},
		"one signer of two": {
			[]verify.Candidate{verifytest.LegacySignature(s1, image)}, []verify.Authority{both}, 2, policy.Violated, policy.TooFewSigners, "1 signer of at least 2"},
		"row 63: one signer twice, in two layouts": {
			[]verify.Candidate{verifytest.LegacySignature(s1, image), verifytest.Bundle(s1, image, verify.CosignSign, "0.3")}, []verify.Authority{both}, 2, policy.Violated, policy.TooFewSigners, "1 signer"},
		"row 63: one key under two names": {
			[]verify.Candidate{verifytest.LegacySignature(s1, image)}, []verify.Authority{release, again, lead}, 2, policy.Violated, policy.TooFewSigners, "1 signer"},
		"row 62: the right signer of another image and another signer of this one": {
			[]verify.Candidate{verifytest.LegacySignature(s1, other), verifytest.LegacySignature(s3, image)}, []verify.Authority{release}, 1, policy.Violated, policy.NoTrustedSignature, "nearest"},
		"row 62: the right signer of another type and another signer of the right one": {
			[]verify.Candidate{verifytest.Bundle(s1, image, "https://spdx.dev/Document", "0.3"), verifytest.Bundle(s3, image, verify.CosignSign, "0.3")}, []verify.Authority{release}, 1, policy.Violated, policy.NoTrustedSignature, "nearest: key"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w, img := newWorld(t), pinned(t, image)
			for _, c := range tc.attach {
				w.Attach(image, c)
			}
			v := requireSignature(t, tc.atLeast, tc.by...).Judge(img, w.know(img))
			if len(v.Results) != 1 {
				t.Fatalf("results %+v", v.Results)
			}
			r := v.Results[0]
			if r.Outcome != tc.outcome || r.Reason != tc.reason || !strings.Contains(r.Detail, tc.says) {
				t.Errorf("%s %s: %s\nwant %s %s: ...%s...", r.Outcome, r.Reason, r.Detail, tc.outcome, tc.reason, tc.says)
			}
		})
	}
}

func TestRow62_EachObjectSatisfiesARequirementWholeOrNotAtAll(t *testing.T) {
	// The two rows named so in TestSignature are its cases; this is the one of a quorum: each half of it must be whole.
	t.Parallel()
	s1, s2 := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2)
	image, other := verifytest.Digest("image"), verifytest.Digest("other")
	w, img := newWorld(t), pinned(t, image)
	w.Attach(image, verifytest.LegacySignature(s1, image))
	w.Attach(image, verifytest.LegacySignature(s2, other))
	v := requireSignature(t, 2, verifytest.Authority(t, "both", s1, s2)).Judge(img, w.know(img))
	if v.Outcome() != policy.Violated || v.Results[0].Reason != policy.TooFewSigners {
		t.Errorf("%+v", v.Results)
	}
}

func TestAnOutageIsUndeterminedAndNeverUnsigned(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	for kind, reason := range map[verify.FetchKind]policy.Reason{
		verify.Unavailable: policy.RegistryUnavailable, verify.Unauthorized: policy.RegistryUnauthorized, verify.NotFound: policy.ImageNotFound,
		verify.Forbidden: policy.RegistryForbidden, verify.Malformed: policy.ImageMalformed, verify.TooLarge: policy.TooLarge, verify.TooMany: policy.TooManyPapers,
	} {
		w, img := newWorld(t), pinned(t, image)
		w.Fail(&verify.FetchError{Kind: kind, Host: "registry.example", Err: errors.New("boom")})
		v := requireSignature(t, 1, verifytest.Authority(t, "release", s)).Judge(img, w.know(img))
		if r := v.Results[0]; r.Outcome != policy.Undetermined || r.Reason != reason {
			t.Errorf("%s: %s %s", kind, r.Outcome, r.Reason)
		}
	}
	t.Run("one place that doesn't answer doesn't matter where a signature was found", func(t *testing.T) {
		w, img := newWorld(t), pinned(t, image)
		w.Sign(s, image)
		w.FailPlace(&verify.FetchError{Place: verify.PlaceReferrers, Err: errors.New("503")})
		if v := requireSignature(t, 1, verifytest.Authority(t, "release", s)).Judge(img, w.know(img)); v.Outcome() != policy.Satisfied {
			t.Errorf("%+v", v.Results)
		}
	})
}

func TestHowAnImageMayBeNamed(t *testing.T) {
	t.Parallel()
	globs := func(ss ...string) (out []policy.TagGlob) {
		for _, s := range ss {
			g, err := policy.ParseTagGlob(s)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, g)
		}
		return out
	}
	h, err := v1.NewHash(sha)
	if err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		rule  policy.References
		image string
		ok    bool
		warns bool
		says  string
	}{
		"a digest":                              {policy.References{}, "r.example/a@" + sha, true, false, ""},
		"a tag, where tags are denied":          {policy.References{}, "r.example/a:1", false, false, "use r.example/a:1@" + sha},
		"no tag is latest":                      {policy.References{}, "r.example/a", false, false, "use r.example/a:latest@" + sha},
		"a tag, where tags are allowed":         {policy.References{Tags: policy.TagsAllow}, "r.example/a:1", true, true, "may move"},
		"a denied tag":                          {policy.References{Tags: policy.TagsAllow, Deny: globs("latest")}, "r.example/a", false, false, "tag latest is denied"},
		"a denied tag beside a digest":          {policy.References{Deny: globs("dev-*")}, "r.example/a:dev-3@" + sha, false, false, "tag dev-3 is denied"},
		"none of the allowed tags":              {policy.References{Tags: policy.TagsAllow, Allow: globs("v*", "release-?")}, "r.example/a:1", false, false, "none of those allowed"},
		"one of the allowed tags":               {policy.References{Tags: policy.TagsAllow, Allow: globs("v*", "release-?")}, "r.example/a:release-1", true, true, ""},
		"a lone digest has no tag to be denied": {policy.References{Allow: globs("v*"), Deny: globs("latest")}, "r.example/a@" + sha, true, false, ""},
	} {
		t.Run(what, func(t *testing.T) {
			p := &policy.Policy{Action: policy.ActionAllow, Images: policy.Matcher{Include: []policy.Pattern{mustPattern(t, "**")}}, References: tc.rule}
			v := p.Judge(policy.Image{Reference: mustReference(t, tc.image), Digest: h}, nil)
			if v.Outcome().Passes() != tc.ok || (len(v.Warnings) > 0) != tc.warns {
				t.Fatalf("passes %t, warnings %v", v.Outcome().Passes(), v.Warnings)
			}
			var text string
			for _, r := range v.Results {
				text += r.Detail
			}
			for _, w := range v.Warnings {
				text += w.Text
			}
			if !strings.Contains(text, tc.says) {
				t.Errorf("it says %q, want %q", text, tc.says)
			}
		})
	}
}

func TestTagGlobsThatNoTagCouldMatchAreRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "latest ", "v1/2", "a@b", "[ab]", "a:b", "\\d", "\u00e9"} {
		if _, err := policy.ParseTagGlob(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

func TestANamespaceIsClosedAtTheLevelThatClosesIt(t *testing.T) {
	t.Parallel()
	mk := func(mode policy.Mode, include string) *policy.Policy {
		return &policy.Policy{Mode: mode, Action: policy.ActionAllow, Images: policy.Matcher{Include: []policy.Pattern{mustPattern(t, include)}}}
	}
	deny := func(include string) *policy.Policy {
		p := mk(policy.Enforce, include)
		p.Action = policy.ActionDeny
		return p
	}
	here, elsewhere := "r.example/**", "other.example/**"
	img := mustReference(t, "r.example/a@"+sha)
	for what, tc := range map[string]struct {
		set    policy.Set
		passes bool
		count  int
	}{
		"nothing, and the install refuses":                            {policy.Set{}, false, 1},
		"nothing, and the install allows":                             {policy.Set{Unmatched: policy.UnmatchedAllow}, true, 1},
		"a cluster policy about it":                                   {policy.Set{Cluster: []*policy.Policy{mk(policy.Enforce, here)}}, true, 1},
		"a cluster policy about others":                               {policy.Set{Cluster: []*policy.Policy{mk(policy.Enforce, elsewhere)}, Unmatched: policy.UnmatchedAllow}, false, 1},
		"a namespaced one doesn't open what the cluster closes":       {policy.Set{Cluster: []*policy.Policy{mk(policy.Enforce, elsewhere)}, Namespaced: []*policy.Policy{mk(policy.Enforce, here)}}, false, 2},
		"a namespaced one about it":                                   {policy.Set{Namespaced: []*policy.Policy{mk(policy.Enforce, here)}}, true, 1},
		"a namespaced one about others":                               {policy.Set{Namespaced: []*policy.Policy{mk(policy.Enforce, elsewhere)}, Unmatched: policy.UnmatchedAllow}, false, 1},
		"a warning cluster policy closes nothing":                     {policy.Set{Cluster: []*policy.Policy{mk(policy.Warn, elsewhere)}, Unmatched: policy.UnmatchedAllow}, true, 1},
		"a warning cluster policy opens nothing":                      {policy.Set{Cluster: []*policy.Policy{mk(policy.Warn, here), mk(policy.Enforce, elsewhere)}}, false, 2},
		"an auditing policy opens nothing either":                     {policy.Set{Namespaced: []*policy.Policy{mk(policy.Audit, here), mk(policy.Enforce, elsewhere)}}, false, 2},
		"a revocation closes nothing":                                 {policy.Set{Cluster: []*policy.Policy{deny(elsewhere)}, Unmatched: policy.UnmatchedAllow}, true, 1},
		"a revocation of it opens nothing":                            {policy.Set{Cluster: []*policy.Policy{deny(here), mk(policy.Enforce, elsewhere)}}, false, 2},
		"under a revocation, the namespace closes":                    {policy.Set{Cluster: []*policy.Policy{deny(elsewhere)}, Namespaced: []*policy.Policy{mk(policy.Enforce, elsewhere)}, Unmatched: policy.UnmatchedAllow}, false, 1},
		"under the install's refusal, a warning policy opens nothing": {policy.Set{Namespaced: []*policy.Policy{mk(policy.Warn, here)}}, false, 2},
	} {
		t.Run(what, func(t *testing.T) {
			sel := tc.set.Select(img, v1.Hash{})
			if sel.Verdicts() != tc.count {
				t.Errorf("%d verdicts, want %d", sel.Verdicts(), tc.count)
			}
			passes := sel.Unmatched == nil || sel.Unmatched.Mode != policy.Enforce || sel.Unmatched.Outcome().Passes()
			if passes != tc.passes {
				t.Errorf("passes %t", passes)
			}
		})
	}
}

func TestAnUnusablePolicyRefusesWhatItMatches(t *testing.T) {
	t.Parallel()
	p := requireSignature(t, 1, verifytest.Authority(t, "release", verifytest.NewSigner(t, 1)))
	p.Unusable = "spec.require.sbom: not supported yet"
	v := p.Judge(pinned(t, verifytest.Digest("x")), nil)
	if v.Outcome() != policy.Undetermined || v.Results[0].Reason != policy.PolicyUnusable || !strings.Contains(v.Results[0].Detail, "sbom") {
		t.Errorf("%+v", v.Results)
	}
	p.Images, p.MatchesAll = policy.Matcher{}, true
	if p.Match(mustReference(t, "nginx"), v1.Hash{}) != policy.MatchYes {
		t.Error("a policy whose images can't be read matches nothing")
	}
}

func TestARevocationByDigestRefusesWhenTheDigestCannotBeLearnt(t *testing.T) {
	t.Parallel()
	p := &policy.Policy{Action: policy.ActionDeny, Because: "backdoor", Images: policy.Matcher{Include: []policy.Pattern{mustPattern(t, "**@"+sha)}}}
	img := policy.Image{Reference: mustReference(t, "r.example/a:1"), Unresolved: &verify.FetchError{Err: errors.New("down")}}
	if v := p.Judge(img, nil); v.Outcome() != policy.Undetermined || v.Results[0].Reason != policy.RegistryUnavailable {
		t.Errorf("unresolved: %+v", v.Results)
	}
	h, err := v1.NewHash(sha)
	if err != nil {
		t.Fatal(err)
	}
	img.Digest, img.Unresolved = h, nil
	if v := p.Judge(img, nil); v.Outcome() != policy.Violated || v.Results[0].Reason != policy.DeniedByPolicy || v.Results[0].Detail != "backdoor" {
		t.Errorf("resolved: %+v", v.Results)
	}
}

func TestARequirementThatNobodyCouldSatisfyCannotBeMade(t *testing.T) {
	t.Parallel()
	a := verifytest.Authority(t, "a", verifytest.NewSigner(t, 1))
	again := verifytest.Authority(t, "b", verifytest.NewSigner(t, 1))
	for what, try := range map[string]func() (policy.Requirement, error){
		"by nobody":                     func() (policy.Requirement, error) { return policy.NewSignature(nil, 1) },
		"at least none":                 func() (policy.Requirement, error) { return policy.NewSignature([]verify.Authority{a}, 0) },
		"more signers than keys":        func() (policy.Requirement, error) { return policy.NewSignature([]verify.Authority{a}, 2) },
		"two names for the same key":    func() (policy.Requirement, error) { return policy.NewSignature([]verify.Authority{a, again}, 2) },
		"more signers than are allowed": func() (policy.Requirement, error) { return policy.NewSignature([]verify.Authority{a}, 65) },
	} {
		if _, err := try(); err == nil {
			t.Errorf("a signature requirement %s was made", what)
		}
	}
}

// manyAttested are more attestations than findings keep misses: one isn't a signature, and of the others nobody can tell any more.
func manyAttested(tb testing.TB, image v1.Hash) (out []verify.Candidate) {
	tb.Helper()
	for i := range verify.MaxMisses + 1 {
		out = append(out, verifytest.Bundle(verifytest.NewSigner(tb, byte(100+i)), image, "https://spdx.dev/Document", "0.3"))
	}
	return out
}
