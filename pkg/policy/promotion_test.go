package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// promotedTo is a promotion to a repository and an environment, so long ago.
func promotedTo(t testing.TB, repository, environment string, ago time.Duration) string {
	t.Helper()
	text, err := predicate.NewPromotion(predicate.Stage{Repository: "registry.example/staging"}, predicate.Stage{Repository: repository, Environment: environment}, nowFor().Add(-ago), nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPromotionIsToTheEnvironmentAndTheRepositoryThatItRunsFrom(t *testing.T) {
	t.Parallel()
	image := verifytest.Digest("image")
	key, stranger := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2)
	promoter := verifytest.Authority(t, "promoter", key)
	by := func(repository, environment string, ago time.Duration) verify.Candidate {
		return sayingBy(key, image, predicate.TypePromotion, promotedTo(t, repository, environment, ago))
	}
	const here = "registry.example/app"
	for what, tc := range map[string]struct {
		papers  []verify.Candidate
		outcome policy.Outcome
		reason  policy.Reason
		says    string
	}{
		"here and to there":                    {[]verify.Candidate{by(here, "production", time.Hour)}, policy.Satisfied, policy.Verified, "to production, by promoter of 2026-10-01 12:00 UTC"},
		"the host with the port of https":      {[]verify.Candidate{by("registry.example:443/app", "production", time.Hour)}, policy.Satisfied, policy.Verified, ""},
		"to another environment":               {[]verify.Candidate{by(here, "staging", time.Hour)}, policy.Violated, policy.WrongEnvironment, "1 promotion found, to staging in registry.example/app, wanted production in registry.example/app"},
		"in another repository":                {[]verify.Candidate{by("registry.example/app2", "production", time.Hour)}, policy.Violated, policy.WrongRepository, "to production in registry.example/app2, wanted production in registry.example/app"},
		"on another host":                      {[]verify.Candidate{by("evil.example/app", "production", time.Hour)}, policy.Violated, policy.WrongRepository, ""},
		"on another port":                      {[]verify.Candidate{by("registry.example:5000/app", "production", time.Hour)}, policy.Violated, policy.WrongRepository, ""},
		"half here and half there":             {[]verify.Candidate{by(here, "staging", time.Hour), by("registry.example/app2", "production", time.Hour)}, policy.Violated, policy.WrongRepository, "2 promotions found, to production in registry.example/app2, wanted"},
		"to several repositories":              {[]verify.Candidate{by("eu.example/app", "production", time.Minute), by(here, "production", time.Hour)}, policy.Satisfied, policy.Verified, ""},
		"none":                                 {nil, policy.Violated, policy.NoPromotion, "no promotion found, wanted one by promoter"},
		"by a stranger":                        {[]verify.Candidate{sayingBy(stranger, image, predicate.TypePromotion, promotedTo(t, here, "production", time.Hour))}, policy.Violated, policy.NoPromotion, "none by promoter"},
		"of another digest":                    {[]verify.Candidate{sayingBy(key, verifytest.Digest("other"), predicate.TypePromotion, promotedTo(t, here, "production", time.Hour))}, policy.Violated, policy.NoPromotion, "another digest"},
		"dated ahead":                          {[]verify.Candidate{by(here, "production", -6*time.Minute)}, policy.Violated, policy.DatedAhead, ""},
		"one that can't be read":               {[]verify.Candidate{sayingBy(key, image, predicate.TypePromotion, `{}`)}, policy.Violated, policy.PaperMalformed, "missing"},
		"one of ours with a name that is none": {[]verify.Candidate{sayingBy(key, image, predicate.TypePromotion, strings.Replace(promotedTo(t, here, "production", time.Hour), "{", `{"unless":"x",`, 1))}, policy.Violated, policy.PaperMalformed, "no such name"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r, err := policy.NewPromotion([]verify.Authority{promoter}, "production")
			if err != nil {
				t.Fatal(err)
			}
			verdictIs(t, asked(t, r, image, tc.papers...), tc.outcome, tc.reason, tc.says)
		})
	}
}

func TestRow79_APromotionToAnotherEnvironmentOrRepositoryIsRefused(t *testing.T) {
	t.Parallel()
	image, key := verifytest.Digest("image"), verifytest.NewSigner(t, 1)
	r, err := policy.NewPromotion([]verify.Authority{verifytest.Authority(t, "promoter", key)}, "production")
	if err != nil {
		t.Fatal(err)
	}
	dev := sayingBy(key, image, predicate.TypePromotion, promotedTo(t, "registry.example/app", "dev", time.Hour))
	verdictIs(t, asked(t, r, image, dev), policy.Violated, policy.WrongEnvironment, "to dev in registry.example/app, wanted production")
	elsewhere := sayingBy(key, image, predicate.TypePromotion, promotedTo(t, "registry.example/dev/app", "production", time.Hour))
	verdictIs(t, asked(t, r, image, elsewhere), policy.Violated, policy.WrongRepository, "to production in registry.example/dev/app, wanted production in registry.example/app")
}

func TestAPromotionThatCanNotBeMeantIsAnErrorThatNamesTheField(t *testing.T) {
	t.Parallel()
	by := []verify.Authority{verifytest.Authority(t, "promoter", verifytest.NewSigner(t, 1))}
	for want, make := range map[string]func() (policy.Requirement, error){
		"to: empty":    func() (policy.Requirement, error) { return policy.NewPromotion(by, "") },
		`to: " x"`:     func() (policy.Requirement, error) { return policy.NewPromotion(by, " x") },
		"by: names no": func() (policy.Requirement, error) { return policy.NewPromotion(nil, "production") },
	} {
		if r, err := make(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v: want an error with %q", r, err, want)
		}
	}
}
