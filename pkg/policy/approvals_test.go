package policy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// approvedFor is an approval for an environment, so long ago.
func approvedFor(t testing.TB, environment string, ago time.Duration) string {
	t.Helper()
	text, err := predicate.NewApproval(environment, nowFor().Add(-ago), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func approvalsBy(t testing.TB, rules policy.ApprovalRules, by ...verify.Authority) policy.Requirement {
	t.Helper()
	r, err := policy.NewApprovals(by, rules)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestApprovalsCountDistinctSignersForTheDigestAndEnvironment(t *testing.T) {
	t.Parallel()
	image := verifytest.Digest("image")
	s1, s2, s3 := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2), verifytest.NewSigner(t, 3)
	lead, twin, both := verifytest.Authority(t, "lead", s1), verifytest.Authority(t, "twin", s1), verifytest.Authority(t, "both", s1, s2)
	by := func(s verifytest.Signer, environment string, ago time.Duration) verify.Candidate {
		return sayingBy(s, image, predicate.TypeApproval, approvedFor(t, environment, ago))
	}
	one := policy.ApprovalRules{AtLeast: 1, Environment: "production", MaxAge: 24 * time.Hour}
	two := policy.ApprovalRules{AtLeast: 2, Environment: "production", MaxAge: 24 * time.Hour}
	for what, tc := range map[string]struct {
		rules   policy.ApprovalRules
		by      []verify.Authority
		papers  []verify.Candidate
		outcome policy.Outcome
		reason  policy.Reason
		says    string
		until   time.Duration // after now
	}{
		"one":                                 {one, []verify.Authority{lead}, []verify.Candidate{by(s1, "production", time.Hour)}, policy.Satisfied, policy.Verified, "for production by lead (key SHA256:", 23 * time.Hour},
		"one by a key, whose time is its own": {one, []verify.Authority{lead}, []verify.Candidate{by(s1, "production", time.Hour)}, policy.Satisfied, policy.Verified, ", by the signer's own clock", 23 * time.Hour},
		"one that is as old as may be":        {one, []verify.Authority{lead}, []verify.Candidate{by(s1, "production", 24*time.Hour)}, policy.Satisfied, policy.Verified, "", 0},
		"one a second too old":                {one, []verify.Authority{lead}, []verify.Candidate{by(s1, "production", 24*time.Hour+time.Second)}, policy.Violated, policy.TooOld, "1 approval too old, the newest by lead of 2026-09-30 12:59 UTC (max 24 h)", 0},
		"an old one beside a newer":           {one, []verify.Authority{lead}, []verify.Candidate{by(s1, "production", 48*time.Hour), by(s1, "production", 2*time.Hour)}, policy.Satisfied, policy.Verified, "", 22 * time.Hour},
		"one for another environment":         {one, []verify.Authority{lead}, []verify.Candidate{by(s1, "staging", time.Hour)}, policy.Violated, policy.WrongEnvironment, "1 approval found, for staging, wanted production", 0},
		"those for others":                    {one, []verify.Authority{lead}, []verify.Candidate{by(s1, "staging", time.Hour), by(s1, "Production", time.Hour), by(s1, "staging", 2*time.Hour)}, policy.Violated, policy.WrongEnvironment, "3 approvals found, for Production and staging, wanted production", 0},
		"one dated ahead":                     {one, []verify.Authority{lead}, []verify.Candidate{by(s1, "production", -6*time.Minute)}, policy.Violated, policy.DatedAhead, "1 approval dated ahead of this clock, by lead", 0},
		"one dated a little ahead":            {one, []verify.Authority{lead}, []verify.Candidate{by(s1, "production", -4*time.Minute)}, policy.Satisfied, policy.Verified, "", 24*time.Hour + 4*time.Minute},
		"one that can't be read":              {one, []verify.Authority{lead}, []verify.Candidate{sayingBy(s1, image, predicate.TypeApproval, `{"environment":"production"}`)}, policy.Violated, policy.PaperMalformed, "approvedAt: missing", 0},
		"one that can't be read beside one":   {one, []verify.Authority{lead}, []verify.Candidate{sayingBy(s1, image, predicate.TypeApproval, `{}`), by(s1, "production", time.Hour)}, policy.Satisfied, policy.Verified, "", 23 * time.Hour},
		"none":                                {one, []verify.Authority{lead}, nil, policy.Violated, policy.NoApproval, "no approval for production found, wanted one by lead", 0},
		"by a stranger":                       {one, []verify.Authority{lead}, []verify.Candidate{by(s3, "production", time.Hour)}, policy.Violated, policy.NoApproval, "none by lead; nearest: key SHA256:", 0},
		"of another digest":                   {one, []verify.Authority{lead}, []verify.Candidate{sayingBy(s1, verifytest.Digest("other"), predicate.TypeApproval, approvedFor(t, "production", time.Hour))}, policy.Violated, policy.NoApproval, "another digest", 0},
		"of another type":                     {one, []verify.Authority{lead}, []verify.Candidate{sayingBy(s1, image, predicate.TypePromotion, approvedFor(t, "production", time.Hour))}, policy.Violated, policy.NoApproval, "", 0},
		"two of two":                          {two, []verify.Authority{both}, []verify.Candidate{by(s1, "production", time.Hour), by(s2, "production", 3*time.Hour)}, policy.Satisfied, policy.Verified, "both", 21 * time.Hour},
		"one of two":                          {two, []verify.Authority{both}, []verify.Candidate{by(s1, "production", time.Hour)}, policy.Violated, policy.TooFewApprovals, "1 signer of at least 2: by both (key SHA256:", 0},
		"row 63: one signer twice":            {two, []verify.Authority{both}, []verify.Candidate{by(s1, "production", time.Hour), by(s1, "production", 2*time.Hour)}, policy.Violated, policy.TooFewApprovals, "1 signer", 0},
		"row 63: one key under two names":     {two, []verify.Authority{lead, twin, both}, []verify.Candidate{by(s1, "production", time.Hour)}, policy.Violated, policy.TooFewApprovals, "1 signer", 0},
		"one of two, another for elsewhere":   {two, []verify.Authority{both}, []verify.Candidate{by(s1, "production", time.Hour), by(s2, "staging", time.Hour)}, policy.Violated, policy.TooFewApprovals, "; 1 approval found, for staging, wanted production", 0},
		"one of two, another too old":         {two, []verify.Authority{both}, []verify.Candidate{by(s1, "production", time.Hour), by(s2, "production", 30*time.Hour)}, policy.Violated, policy.TooFewApprovals, "; 1 approval too old", 0},
		"as old as any, where no age is set":  {policy.ApprovalRules{AtLeast: 1, Environment: "production"}, []verify.Authority{lead}, []verify.Candidate{by(s1, "production", 10_000*time.Hour)}, policy.Satisfied, policy.Verified, "", -1},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			got := asked(t, approvalsBy(t, tc.rules, tc.by...), image, tc.papers...)
			verdictIs(t, got, tc.outcome, tc.reason, tc.says)
			want := time.Time{}
			if tc.outcome == policy.Satisfied && tc.until >= 0 {
				want = nowFor().Add(tc.until)
			}
			if !got.Until.Equal(want) {
				t.Errorf("it holds until %v, want %v", got.Until, want)
			}
		})
	}
}

func TestRow79_AnApprovalForStagingIsNoneForProduction(t *testing.T) {
	t.Parallel()
	image, key := verifytest.Digest("image"), verifytest.NewSigner(t, 1)
	r := approvalsBy(t, policy.ApprovalRules{AtLeast: 1, Environment: "production"}, verifytest.Authority(t, "lead", key))
	got := asked(t, r, image, sayingBy(key, image, predicate.TypeApproval, approvedFor(t, "staging", time.Hour)))
	verdictIs(t, got, policy.Violated, policy.WrongEnvironment, "1 approval found, for staging, wanted production")
}

func TestApprovalsAreKnownOnceThereAreEnoughAndMissingOnlyWhenAllAnswered(t *testing.T) {
	t.Parallel()
	image, key := verifytest.Digest("image"), verifytest.NewSigner(t, 1)
	r := approvalsBy(t, policy.ApprovalRules{AtLeast: 1, Environment: "production"}, verifytest.Authority(t, "lead", key))
	w := newWorld(t)
	w.FailPlace(&verify.FetchError{Kind: verify.Unavailable, Place: verify.PlaceAttestation, Err: errors.New("503")})
	verdictIs(t, askedIn(t, w, r, image), policy.Undetermined, policy.RegistryUnavailable)
	w = newWorld(t)
	w.FailPlace(&verify.FetchError{Kind: verify.Unavailable, Place: verify.PlaceAttestation, Err: errors.New("503")})
	w.Attach(image, sayingBy(key, image, predicate.TypeApproval, approvedFor(t, "production", time.Hour)))
	verdictIs(t, askedIn(t, w, r, image), policy.Satisfied, policy.Verified)
}

func TestApprovalRulesThatCanNotBeMetAreErrorsThatNameTheField(t *testing.T) {
	t.Parallel()
	lead := []verify.Authority{verifytest.Authority(t, "lead", verifytest.NewSigner(t, 1))}
	for want, tc := range map[string]struct {
		by    []verify.Authority
		rules policy.ApprovalRules
	}{
		"environment: empty":           {lead, policy.ApprovalRules{AtLeast: 1}},
		`environment: "production "`:   {lead, policy.ApprovalRules{AtLeast: 1, Environment: "production "}},
		"atLeast: 0, want 1 to 64":     {lead, policy.ApprovalRules{Environment: "production"}},
		"atLeast: 65, want 1 to 64":    {lead, policy.ApprovalRules{Environment: "production", AtLeast: 65}},
		"atLeast: 2 signers, but the ": {lead, policy.ApprovalRules{Environment: "production", AtLeast: 2}},
		"maxAge: -1s":                  {lead, policy.ApprovalRules{Environment: "production", AtLeast: 1, MaxAge: -time.Second}},
		"by: names no authority":       {nil, policy.ApprovalRules{Environment: "production", AtLeast: 1}},
	} {
		if r, err := policy.NewApprovals(tc.by, tc.rules); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v: want an error with %q", r, err, want)
		}
	}
}
