package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// maxName bounds the name of a test or of an environment, in bytes: their predicates bound what they can be.
const maxName = 1024

// test is the requirement that one test passed.
//
//	name     of the test: an entry of passedTests, or a configuration's name
//	by       the authorities that count
//	maxAge   how old the result may be; none: any age
//
// Of the results that mention the name the newest counts, wherever it mentions it: a newer failure hides an older pass. It passed if passedTests has
// it; a configuration did if the result of its run is PASSED and no test failed; and what failedTests has did not pass, whatever else is said. A
// test that passed with warnings is in warnedTests, and did not pass.
//
// Test results of in-toto have no time of their own. So a maxAge needs a signature whose time somebody verified, of a certificate good for a short
// time; by a bare key it is NoTime. And of several by a bare key all count as the newest.
type test struct {
	by        []verify.Authority
	questions []verify.Question
	name      string
	maxAge    time.Duration
}

// NewTest returns the requirement that the test passed, in the words of one of the authorities. A maxAge of 0 is any age.
func NewTest(by []verify.Authority, name string, maxAge time.Duration) (Requirement, error) {
	t := test{by: by, name: name, maxAge: maxAge}
	switch {
	case name == "":
		return nil, errors.New("name: empty")
	case strings.TrimSpace(name) != name:
		return nil, errors.New("name: begins or ends with a blank, so that no test would have it")
	case len(name) > maxName:
		return nil, fmt.Errorf("name: %d bytes: at most %d", len(name), maxName)
	case maxAge < 0:
		return nil, fmt.Errorf("maxAge: %s: is negative", maxAge)
	}
	var err error
	if t.questions, err = ask(by, predicate.KindTests); err != nil {
		return nil, err
	}
	return t, nil
}

// Name implements Requirement.
func (t test) Name() string { return "tests" }

// Subject implements Requirement.
func (t test) Subject() Subject { return EachPlatform }

// Questions implements Requirement.
func (t test) Questions() []verify.Question { return t.questions }

// String says which test, and by whom.
func (t test) String() string { return t.name + " by " + namesOf(t.by, " or ") }

// Judge implements Requirement.
func (t test) Judge(c Case, findings []verify.Findings) Result {
	all := papers[*predicate.TestResult]{
		requirement: t.Name(), what: "test result", none: NoTestResult, by: t.by, maxAge: t.maxAge,
		keep: func(f *predicate.TestResult) bool { return f.Mentions(t.name) != 0 },
	}
	r := all.judge(c, findings, t.content)
	if r.Outcome == Violated && r.Reason == NoTestResult {
		all.keep = nil
		if others := all.collect(c, findings).papers; len(others) > 0 {
			r.Detail = fmt.Sprintf("none of %s; there %s of %s", printable(t.name), are(len(others)), tested(others))
			return r
		}
	}
	r.Detail = printable(t.name) + ": " + r.Detail
	return r
}

// are says how many there are.
func are(n int) string {
	if n == 1 {
		return "is one"
	}
	return fmt.Sprintf("are %d", n)
}

// tested names a few of the tests that there are results of.
func tested(all []paper[*predicate.TestResult]) string {
	const most = 3
	var names []string
	more := 0
	for _, p := range all {
		if p.facts == nil {
			continue
		}
		n := min(p.facts.Count(), most-len(names))
		names, more = append(names, p.facts.Names(n)...), more+p.facts.Count()-n
	}
	for i := range names {
		names[i] = printable(names[i])
	}
	text := strings.Join(names, ", ")
	if text == "" {
		return "no test"
	}
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// content judges one result.
func (t test) content(p paper[*predicate.TestResult]) Result {
	f := p.facts
	failed := Result{Outcome: Violated, Reason: TestFailed}
	switch m := f.Mentions(t.name); {
	case m&predicate.MentionFailed != 0:
		failed.Detail = "failed"
	case m&predicate.MentionPassed != 0:
		return Result{Outcome: Satisfied, Reason: Verified, Detail: "passed, by " + p.by}
	case m&predicate.MentionWarned != 0:
		failed.Detail = "passed with warnings only"
	case f.Result() != predicate.ResultPassed:
		failed.Detail = "its run ended as " + f.Result().String()
	case f.Failed() > 0:
		failed.Detail = fmt.Sprintf("its run is said to have PASSED, and yet %s failed", count(f.Failed(), "test"))
	default:
		return Result{Outcome: Satisfied, Reason: Verified, Detail: "passed, by " + p.by}
	}
	failed.Detail += ", by " + p.by
	if !p.at.IsZero() {
		failed.Detail += " (" + stamp(p.at) + ")"
	}
	return failed
}
