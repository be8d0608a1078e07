package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

func TestATestPassesByItsNameInTheNewestResultThatMentionsIt(t *testing.T) {
	t.Parallel()
	image, s := verifytest.Digest("image"), verifytest.NewSigstore(t)
	key, stranger := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2)
	runner := workflow("refs/heads/main")
	byKey, keyless := verifytest.Authority(t, "ci", key), s.Authority(t, "ci", runner.Issuer, runner.Subject)
	plain := func(text string) verify.Candidate { return sayingBy(key, image, predicate.TypeTestResult, text) }
	at := func(ago time.Duration, text string) verify.Candidate {
		by := verifytest.Signing{Person: &runner, Logs: []verifytest.Log{verifytest.RekorV1}, At: nowFor().Add(-ago)}
		return verifytest.Pack(s.Envelope(t, by, saying(image, predicate.TypeTestResult, text)))
	}
	const (
		passed  = `{"result":"PASSED","passedTests":["smoke"]}`
		failed  = `{"result":"FAILED","failedTests":["smoke"]}`
		other   = `{"result":"FAILED","failedTests":["load"]}`
		config  = `{"result":"PASSED","configuration":[{"name":"smoke","uri":"https://ci.example.com/smoke.yaml"}]}`
		configW = `{"result":"WARNED","configuration":[{"name":"smoke","uri":"https://ci.example.com/smoke.yaml"}],"warnedTests":["a"]}`
	)
	for what, tc := range map[string]struct {
		by      verify.Authority
		maxAge  time.Duration
		papers  []verify.Candidate
		outcome policy.Outcome
		reason  policy.Reason
		says    string
	}{
		"it passed":                               {byKey, 0, []verify.Candidate{plain(passed)}, policy.Satisfied, policy.Verified, "smoke: passed, by ci"},
		"it passed in a run that failed":          {byKey, 0, []verify.Candidate{plain(`{"result":"FAILED","passedTests":["smoke"],"failedTests":["load"]}`)}, policy.Satisfied, policy.Verified, ""},
		"its configuration passed":                {byKey, 0, []verify.Candidate{plain(config)}, policy.Satisfied, policy.Verified, ""},
		"it failed":                               {byKey, 0, []verify.Candidate{plain(failed)}, policy.Violated, policy.TestFailed, "smoke: failed, by ci"},
		"it passed and failed":                    {byKey, 0, []verify.Candidate{plain(`{"result":"PASSED","passedTests":["smoke"],"failedTests":["smoke"]}`)}, policy.Violated, policy.TestFailed, "failed"},
		"it passed with warnings":                 {byKey, 0, []verify.Candidate{plain(`{"result":"PASSED","warnedTests":["smoke"]}`)}, policy.Violated, policy.TestFailed, "warnings only"},
		"its configuration passed with warnings":  {byKey, 0, []verify.Candidate{plain(configW)}, policy.Violated, policy.TestFailed, "its run ended as WARNED"},
		"its configuration passed, a test failed": {byKey, 0, []verify.Candidate{plain(strings.Replace(config, `}]`, `}],"failedTests":["a","b"]`, 1))}, policy.Violated, policy.TestFailed, "2 tests failed"},
		"it is said in another case":              {byKey, 0, []verify.Candidate{plain(strings.Replace(passed, "smoke", "Smoke", 1))}, policy.Violated, policy.NoTestResult, "none of smoke; there is one of Smoke"},
		"only others were tested":                 {byKey, 0, []verify.Candidate{plain(`{"result":"PASSED","passedTests":["a","b","c","d"]}`)}, policy.Violated, policy.NoTestResult, "none of smoke; there is one of a, b, c and 1 more"},
		"a failure of another test":               {byKey, 0, []verify.Candidate{plain(passed), plain(other)}, policy.Satisfied, policy.Verified, ""},
		"nothing was tested":                      {byKey, 0, nil, policy.Violated, policy.NoTestResult, "smoke: no test result found, wanted one by ci"},
		"a stranger says so":                      {byKey, 0, []verify.Candidate{sayingBy(stranger, image, predicate.TypeTestResult, passed)}, policy.Violated, policy.NoTestResult, "none by ci"},
		"another image passed":                    {byKey, 0, []verify.Candidate{sayingBy(key, verifytest.Digest("other"), predicate.TypeTestResult, passed)}, policy.Violated, policy.NoTestResult, "another digest"},
		"it can't be read":                        {byKey, 0, []verify.Candidate{plain(`{"result":"passed","passedTests":["smoke"]}`)}, policy.Violated, policy.PaperMalformed, `"passed": want PASSED`},
		"of two without a time the worse counts":  {byKey, 0, []verify.Candidate{plain(passed), plain(failed)}, policy.Violated, policy.TestFailed, ""},
		"a key tells no age":                      {byKey, time.Hour, []verify.Candidate{plain(passed)}, policy.Violated, policy.NoTime, "smoke: the test result by ci doesn't say when it was made"},
		"a log tells its age":                     {keyless, time.Hour, []verify.Candidate{at(time.Hour, passed)}, policy.Satisfied, policy.Verified, ""},
		"it is too old by a second":               {keyless, time.Hour, []verify.Candidate{at(time.Hour+time.Second, passed)}, policy.Violated, policy.TooOld, "max 1 h"},
		"a newer failure hides it":                {keyless, 0, []verify.Candidate{at(2*time.Hour, passed), at(time.Hour, failed)}, policy.Violated, policy.TestFailed, "failed, by ci (2026-10-01 12:00 UTC)"},
		"a newer pass mends it":                   {keyless, 0, []verify.Candidate{at(2*time.Hour, failed), at(time.Hour, passed)}, policy.Satisfied, policy.Verified, ""},
		"a newer result of others doesn't":        {keyless, 0, []verify.Candidate{at(2*time.Hour, failed), at(time.Hour, strings.Replace(passed, "smoke", "load", 1))}, policy.Violated, policy.TestFailed, ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r, err := policy.NewTest([]verify.Authority{tc.by}, "smoke", tc.maxAge)
			if err != nil {
				t.Fatal(err)
			}
			verdictIs(t, asked(t, r, image, tc.papers...), tc.outcome, tc.reason, tc.says)
		})
	}
}

func TestATestThatCanNotBeMeantIsAnErrorThatNamesTheField(t *testing.T) {
	t.Parallel()
	ci := []verify.Authority{verifytest.Authority(t, "ci", verifytest.NewSigner(t, 1))}
	for want, make := range map[string]func() (policy.Requirement, error){
		"name: empty":      func() (policy.Requirement, error) { return policy.NewTest(ci, "", 0) },
		"name: begins or":  func() (policy.Requirement, error) { return policy.NewTest(ci, "smoke ", 0) },
		"name: 1025 bytes": func() (policy.Requirement, error) { return policy.NewTest(ci, strings.Repeat("a", 1025), 0) },
		"maxAge: -1s":      func() (policy.Requirement, error) { return policy.NewTest(ci, "smoke", -time.Second) },
		"by: names no":     func() (policy.Requirement, error) { return policy.NewTest(nil, "smoke", 0) },
	} {
		if r, err := make(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v: want an error with %q", r, err, want)
		}
	}
	r, err := policy.NewTest(ci, "smoke", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.Name(), " ", r); got != "tests smoke by ci" {
		t.Error(got)
	}
}
