package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// sbomDay is when SBOMs of these tests are judged.
func sbomDay() time.Time { return time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC) }

// spdx is an SPDX predicate created so long before sbomDay, with packages as pairs of name and licence.
func spdx(before time.Duration, packages ...[2]string) string {
	var all []string
	for _, p := range packages {
		all = append(all, fmt.Sprintf(`{"name":%q,"versionInfo":"1","licenseConcluded":%q}`, p[0], p[1]))
	}
	return fmt.Sprintf(`{"spdxVersion":"SPDX-2.3","creationInfo":{"created":%q},"packages":[%s]}`,
		sbomDay().Add(-before).Format(time.RFC3339), strings.Join(all, ","))
}

func cyclonedx(before time.Duration, names ...string) string {
	var all []string
	for _, name := range names {
		all = append(all, fmt.Sprintf(`{"type":"library","name":%q}`, name))
	}
	return fmt.Sprintf(`{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"timestamp":%q},"components":[%s]}`,
		sbomDay().Add(-before).Format(time.RFC3339), strings.Join(all, ","))
}

func attested(s verifytest.Signer, image v1.Hash, predicateType, predicateText string) verify.Candidate {
	return verifytest.BundleOf(s, fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":%s}`,
		image.Hex, predicateType, predicateText), "0.3")
}

func TestSBOM(t *testing.T) {
	t.Parallel()
	s1, s2 := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2)
	image, other := verifytest.Digest("image"), verifytest.Digest("other")
	release := verifytest.Authority(t, "release", s1)
	const hour, day = time.Hour, 24 * time.Hour
	mit, gpl := [2]string{"zlib", "MIT"}, [2]string{"readline", "GPL-3.0-or-later"}
	papers := func(all ...verify.Candidate) []verify.Candidate { return all }
	none, many := int32(0), int32(3)
	for what, tc := range map[string]struct {
		attach  []verify.Candidate
		rules   policy.SBOMRules
		outcome policy.Outcome
		reason  policy.Reason
		says    string
	}{
		"SPDX by the authority": {papers(attested(s1, image, predicate.TypeSPDX, spdx(hour, mit))), policy.SBOMRules{}, policy.Satisfied, policy.Verified,
			"SPDX 2.3 by release, 1 package"},
		"of a type with its version": {papers(attested(s1, image, predicate.TypeSPDX+"/v2.3", spdx(hour, mit))), policy.SBOMRules{}, policy.Satisfied, policy.Verified, "SPDX 2.3"},
		"SPDX in a string":           {papers(attested(s1, image, predicate.TypeSPDX, fmt.Sprintf("%q", spdx(hour, mit)))), policy.SBOMRules{}, policy.Satisfied, policy.Verified, "SPDX 2.3"},
		"CycloneDX": {papers(attested(s1, image, predicate.TypeCycloneDX, cyclonedx(hour, "a", "b"))), policy.SBOMRules{}, policy.Satisfied, policy.Verified,
			"CycloneDX 1.6 by release, 2 packages"},
		"none":                 {nil, policy.SBOMRules{}, policy.Violated, policy.NoSBOM, "no SBOM found, wanted one by release"},
		"by somebody else":     {papers(attested(s2, image, predicate.TypeSPDX, spdx(hour, mit))), policy.SBOMRules{}, policy.Violated, policy.NoSBOM, "none by release"},
		"of another image":     {papers(attested(s1, other, predicate.TypeSPDX, spdx(hour, mit))), policy.SBOMRules{}, policy.Violated, policy.NoSBOM, "another digest"},
		"of another type":      {papers(attested(s1, image, predicate.TypeTestResult, spdx(hour, mit))), policy.SBOMRules{}, policy.Violated, policy.NoSBOM, "no SBOM"},
		"a signature is none":  {papers(verifytest.LegacySignature(s1, image)), policy.SBOMRules{}, policy.Violated, policy.NoSBOM, "no SBOM"},
		"an empty predicate":   {papers(attested(s1, image, predicate.TypeSPDX, `{}`)), policy.SBOMRules{}, policy.Violated, policy.PaperMalformed, "no spdxVersion"},
		"an absent list":       {papers(attested(s1, image, predicate.TypeCycloneDX, `{"bomFormat":"CycloneDX","specVersion":"1.6"}`)), policy.SBOMRules{}, policy.Violated, policy.PaperMalformed, "no components"},
		"no packages":          {papers(attested(s1, image, predicate.TypeSPDX, spdx(hour))), policy.SBOMRules{}, policy.Violated, policy.TooFewPackages, "names 0 packages (min 1)"},
		"none, and none asked": {papers(attested(s1, image, predicate.TypeSPDX, spdx(hour))), policy.SBOMRules{MinPackages: &none}, policy.Satisfied, policy.Verified, "0 packages"},
		"too few packages":     {papers(attested(s1, image, predicate.TypeSPDX, spdx(hour, mit, gpl))), policy.SBOMRules{MinPackages: &many}, policy.Violated, policy.TooFewPackages, "names 2 packages (min 3)"},
		"the wanted format":    {papers(attested(s1, image, predicate.TypeSPDX, spdx(hour, mit))), policy.SBOMRules{Formats: []string{"SPDX"}}, policy.Satisfied, policy.Verified, "SPDX"},
		"another format": {papers(attested(s1, image, predicate.TypeCycloneDX, cyclonedx(hour, "a"))), policy.SBOMRules{Formats: []string{"SPDX"}}, policy.Violated, policy.WrongFormat,
			"1 SBOM by release found, but none in SPDX"},
		"the wanted format beside a newer of another": {papers(attested(s1, image, predicate.TypeSPDX, spdx(2*hour, mit)), attested(s1, image, predicate.TypeCycloneDX, cyclonedx(hour, "a"))),
			policy.SBOMRules{Formats: []string{"SPDX"}}, policy.Satisfied, policy.Verified, "SPDX 2.3"},
		"fresh enough": {papers(attested(s1, image, predicate.TypeSPDX, spdx(day, mit))), policy.SBOMRules{MaxAge: day}, policy.Satisfied, policy.Verified, "by its signer's own clock"},
		"too old":      {papers(attested(s1, image, predicate.TypeSPDX, spdx(day+time.Second, mit))), policy.SBOMRules{MaxAge: day}, policy.Violated, policy.TooOld, "max 24 h"},
		"no time":      {papers(attested(s1, image, predicate.TypeSPDX, `{"spdxVersion":"SPDX-2.3","packages":[{"name":"a"}]}`)), policy.SBOMRules{MaxAge: day}, policy.Violated, policy.NoTime, "when it was made"},
		"dated ahead":  {papers(attested(s1, image, predicate.TypeSPDX, spdx(-hour, mit))), policy.SBOMRules{}, policy.Violated, policy.DatedAhead, "ahead of this clock"},
		"licences that are allowed": {papers(attested(s1, image, predicate.TypeSPDX, spdx(hour, mit))), policy.SBOMRules{Licenses: &policy.LicenseRules{Deny: []string{"GPL-*"}}}, policy.Satisfied,
			policy.Verified, "SPDX 2.3 by release"},
		"a denied licence": {papers(attested(s1, image, predicate.TypeSPDX, spdx(hour, mit, gpl))), policy.SBOMRules{Licenses: &policy.LicenseRules{Deny: []string{"GPL-*"}}}, policy.Violated,
			policy.LicenseDenied, "1 package under denied licences: readline 1 (GPL-3.0-or-later)"},
		"an old clean one doesn't outlive a newer bad one": {papers(attested(s1, image, predicate.TypeSPDX, spdx(2*hour, mit)), attested(s1, image, predicate.TypeSPDX, spdx(hour, gpl))),
			policy.SBOMRules{Licenses: &policy.LicenseRules{Deny: []string{"GPL-*"}}}, policy.Violated, policy.LicenseDenied, "readline"},
		"an old bad one doesn't outlive a newer clean one": {papers(attested(s1, image, predicate.TypeSPDX, spdx(hour, mit)), attested(s1, image, predicate.TypeSPDX, spdx(2*hour, gpl))),
			policy.SBOMRules{Licenses: &policy.LicenseRules{Deny: []string{"GPL-*"}}}, policy.Satisfied, policy.Verified, "SPDX"},
		"one attached without a signature is named": {papers(unsigned(verify.PlaceSBOM, "text/spdx+json")), policy.SBOMRules{}, policy.Violated, policy.NoSBOM, "what cosign attach sbom attached (text/spdx+json), which nobody signed"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, c := range tc.attach {
				w.Attach(image, c)
			}
			img := pinned(t, image)
			img.Now, img.Namespace = sbomDay(), "payments"
			v := requireSBOM(t, tc.rules, release).Judge(img, w.know(img))
			if len(v.Results) != 1 {
				t.Fatalf("%d results", len(v.Results))
			}
			r := v.Results[0]
			if r.Requirement != "sbom" || r.Outcome != tc.outcome || r.Reason != tc.reason || !strings.Contains(r.Detail, tc.says) {
				t.Errorf("%s: %s %s: %s; want %s %s with %q", r.Requirement, r.Outcome, r.Reason, r.Detail, tc.outcome, tc.reason, tc.says)
			}
		})
	}
}

// unsigned is an SBOM that nobody signed.
func unsigned(place verify.Place, mediaType string) verify.Candidate {
	return verify.Candidate{Paper: verify.Paper{Kind: verify.Unsigned, Place: place, Digest: verifytest.Digest("unsigned"), Size: 100, MediaType: mediaType}}
}

func requireSBOM(t testing.TB, rules policy.SBOMRules, by ...verify.Authority) *policy.Policy {
	t.Helper()
	r, err := policy.NewSBOM(by, rules)
	if err != nil {
		t.Fatal(err)
	}
	return &policy.Policy{
		Name: policy.Name{Namespace: "payments", Name: "production"}, Action: policy.ActionRequire,
		Images: policy.Matcher{Include: []policy.Pattern{mustPattern(t, "**")}}, Requirements: []policy.Requirement{r},
	}
}

func TestSBOMExpiryChangesTheDecisionWithTheSameEvidence(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigner(t, 1)
	image := verifytest.Digest("image")
	w := newWorld(t)
	w.Attach(image, attested(s, image, predicate.TypeSPDX, spdx(time.Hour, [2]string{"readline", "GPL-3.0-or-later"})))
	p := requireSBOM(t, policy.SBOMRules{MaxAge: 720 * time.Hour, Licenses: &policy.LicenseRules{Deny: []string{"GPL-*"}, Exceptions: []policy.LicenseException{
		{Package: "readline*", License: "GPL-3.0-or-later", Reason: "build time only", Expires: "2026-12-15"}}}}, verifytest.Authority(t, "release", s))
	img := pinned(t, image)
	know := w.know(img)
	for _, c := range []struct {
		now    time.Time
		want   policy.Reason
		warned int
	}{
		{sbomDay(), policy.Verified, 0},
		{sbomDay().Add(3 * 24 * time.Hour), policy.Verified, 1},
		{time.Date(2026, 12, 16, 0, 0, 0, 0, time.UTC), policy.LicenseDenied, 0},
		{sbomDay().Add(720 * time.Hour), policy.TooOld, 0},
	} {
		img.Now = c.now
		r := p.Judge(img, know).Results[0]
		if r.Reason != c.want || len(r.Warnings) != c.warned {
			t.Errorf("at %s: %s (%s), warnings %+v, want %s", c.now, r.Reason, r.Detail, r.Warnings, c.want)
		}
		if want := time.Date(2026, 12, 16, 0, 0, 0, 0, time.UTC); c.want == policy.Verified && !r.Until.Equal(want) {
			t.Errorf("at %s it rests on something until %s, want %s", c.now, r.Until, want)
		}
	}
}

func TestSBOMRulesThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	release := []verify.Authority{verifytest.Authority(t, "release", verifytest.NewSigner(t, 1))}
	minus := int32(-1)
	for name, c := range map[string]struct {
		by    []verify.Authority
		rules policy.SBOMRules
		want  string
	}{
		"nobody":                {nil, policy.SBOMRules{}, "by: names no authority"},
		"a format of no name":   {release, policy.SBOMRules{Formats: []string{"SPDX", "spdx"}}, `formats[1]: "spdx", want SPDX or CycloneDX`},
		"fewer packages than 0": {release, policy.SBOMRules{MinPackages: &minus}, "minPackages: -1, want 0 to 250000"},
		"an age before birth":   {release, policy.SBOMRules{MaxAge: -time.Hour}, "maxAge: -1h0m0s"},
		"a bad licence rule":    {release, policy.SBOMRules{Licenses: &policy.LicenseRules{Unknown: "?"}}, `licenses.unknown: "?"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := policy.NewSBOM(c.by, c.rules); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want %q", err, c.want)
			}
		})
	}
}

func ExampleNewSBOM() {
	keys, err := verify.ParseKeys([]byte(`-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhyQCx0E9wQWSFI9ULGwy3BuRklnt
IqozONbbdbqz11hlRJy9c7SG+hdcFl9jE9uE/dwtuwU2MqU9T/cN0YkWww==
-----END PUBLIC KEY-----
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	release, err := verify.NewKeyAuthority("release", keys, verify.Terms{})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := policy.NewSBOM([]verify.Authority{release}, policy.SBOMRules{
		Formats:  []string{"SPDX"},
		Licenses: &policy.LicenseRules{Deny: []string{"GPL-*", "AGPL-*"}},
	})
	fmt.Println(r, err)
	// Output: SPDX by release <nil>
}
