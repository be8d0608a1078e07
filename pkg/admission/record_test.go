package admission_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// settled is a requirement whose result is known beforehand.
type settled policy.Result

func (s settled) Name() string                                       { return s.Requirement }
func (settled) Subject() policy.Subject                              { return policy.TheImage }
func (settled) Questions() []verify.Question                         { return nil }
func (s settled) Judge(policy.Case, []verify.Findings) policy.Result { return policy.Result(s) }

// settling is a policy about every image whose results are known beforehand.
func settling(t testing.TB, name string, results ...policy.Result) *policy.Policy {
	t.Helper()
	p := &policy.Policy{Name: policy.Name{Namespace: "payments", Name: name}, Action: policy.ActionRequire, Digest: "sha256:" + strings.Repeat("0", 64), Images: about(t, "**")}
	for _, r := range results {
		p.Requirements = append(p.Requirements, settled(r))
	}
	return p
}

// excepted is a result that rests on so many exceptions, each of which excuses so many vulnerabilities.
func excepted(exceptions, ids int, owner string) policy.Result {
	r := policy.Result{Requirement: "vulnerabilities", Outcome: policy.Satisfied, Reason: policy.Verified}
	for i := range ids { // as they are met: by turns
		for e := range exceptions {
			r.Used = append(r.Used, policy.Use{Exception: fmt.Sprintf("payments/x%d", e), Owner: owner, ID: fmt.Sprintf("CVE-2026-%04d", 100*e+i), Until: time.Date(2027, 1, e+1, 0, 0, 0, 0, time.UTC)})
		}
	}
	return r
}

func recordOf(t *testing.T, images int, policies ...*policy.Policy) admission.Record {
	t.Helper()
	rec := &recorder{}
	h := &admission.Pods{Evaluator: newEvaluator(t, sets{"payments": {Namespaced: policies}}, newHub()), Recorder: rec}
	image := func(i int) string {
		return fmt.Sprintf("x.example/a%d@%s", i, verifytest.Digest("x"))
	}
	h.Handle(t.Context(), review(t, admissionv1.Create, wide(images, image, numbered("c%d")), nil))
	line(t, rec.records[0])
	return rec.records[0]
}

func TestRow20_ARecordNamesEachExceptionOnceWithAllThatItExcused(t *testing.T) {
	t.Parallel()
	rec := recordOf(t, 1, settling(t, "production", excepted(2, 3, "team-a")))
	got, err := json.Marshal(rec.Images[0].Verdicts[0].Exceptions)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"exception":"payments/x0","owner":"team-a","ids":["CVE-2026-0000","CVE-2026-0001","CVE-2026-0002"],"until":"2027-01-01T00:00:00Z"},` +
		`{"exception":"payments/x1","owner":"team-a","ids":["CVE-2026-0100","CVE-2026-0101","CVE-2026-0102"],"until":"2027-01-02T00:00:00Z"}]`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// TestRow20_WhatPassesByExceptionsIsRecordedBeforeWhatPassesAnyway: many ids of an owner with a long name must not push themselves out of the log,
// nor must many images that pass without.
func TestRow20_WhatPassesByExceptionsIsRecordedBeforeWhatPassesAnyway(t *testing.T) {
	t.Parallel()
	const owner = "<owner>"
	lenient := settling(t, "excused", excepted(1, 160, strings.Repeat(owner, 256/len(owner))))
	lenient.Images = about(t, "x.example/a99")
	talk := policy.Result{Requirement: "signature", Outcome: policy.Satisfied, Reason: policy.Verified, Detail: strings.Repeat("y", 1000)}
	rec := recordOf(t, 100, settling(t, "first", talk), settling(t, "second", talk), lenient)
	if rec.Decision != "allowed" || len(rec.Omitted) == 0 {
		t.Fatalf("%s, %+v: this test wants an allowed Pod with more than a record has room for", rec.Decision, rec.Omitted)
	}
	var excused []admission.ExceptionRecord
	for _, img := range rec.Images {
		for _, v := range img.Verdicts {
			excused = slices.Concat(excused, v.Exceptions)
		}
	}
	if len(excused) != 1 || len(excused[0].IDs) != 160 || !strings.HasPrefix(excused[0].Owner, owner) {
		t.Errorf("%d exceptions: %+v", len(excused), excused)
	}
	for _, o := range rec.Omitted {
		if o.Requirement != "signature" {
			t.Errorf("%+v is left out", o)
		}
	}
}

func TestAWarningNamesPolicyAndRequirementInOneLine(t *testing.T) {
	t.Parallel()
	const ends = "exception ends 2026-12-24: CVE-2026-2222..."
	warn := func(reason policy.Reason, text string) policy.Result {
		return policy.Result{Requirement: "vulnerabilities", Outcome: policy.Satisfied, Reason: policy.Verified, Warnings: []policy.Warning{{Reason: reason, Text: text}}}
	}
	long := strings.Repeat("production-", 5)
	for what, tc := range map[string]struct {
		policy, container string
		result            policy.Result
		want              string
	}{
		"a threshold": {"production", "api", warn(policy.TooManyVulnerabilities, "1 low (warn above 0): CVE-2026-1"),
			"container api: policy payments/production: vulnerabilities TooManyVulnerabilities: 1 low (warn above 0): CVE-2026-1"},
		"a short one": {"dev", "api", warn(policy.ExceptionEnding, "exception ends 2026-12-24: CVE-2026-2222"),
			"container api: policy payments/dev: vulnerabilities ExceptionEnding: exception ends 2026-12-24: CVE-2026-2222"},
		"long names": {long, strings.Repeat("b", 63), warn(policy.TooManyVulnerabilities, strings.Repeat("1 low ", 20)),
			"container bbb...: policy payments/produ...: vulnerabilities TooManyVulnerabilities: 1 low 1 low 1 low"},
		"an end among long names": {long, strings.Repeat("b", 63), warn(policy.ExceptionEnding, strings.Replace(ends, "...", " (payments/waf-rule-17)", 1)), ends},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			d := newEvaluator(t, sets{"payments": {Namespaced: []*policy.Policy{settling(t, tc.policy, tc.result)}}}, newHub()).Decide(t.Context(), admission.Query{
				Namespace: "payments", Images: []admission.Image{{List: admission.Containers, Name: tc.container, Reference: "x.example/a@" + verifytest.Digest("x").String()}}})
			got := d.Warnings()
			if len(got) != 1 || len(got[0]) > 120 || !strings.Contains(got[0], tc.want) {
				t.Errorf("%q\nwant %q", got, tc.want)
			}
		})
	}
}
