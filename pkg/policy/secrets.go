package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// secrets is the requirement that a scan looked for secrets in the image and found none.
//
//	by      the authorities that count
//	maxAge  how old the scan may be
//
// Of the scans that looked for secrets the newest decides. That one looked must be told by the document: one that lists vulnerabilities alone is
// none (predicate.Scan says how it is told). A message names the rule and the file, and never the secret.
type secrets struct {
	by        []verify.Authority
	questions []verify.Question
	maxAge    time.Duration
}

// NewSecrets returns the requirement of a scan by one of the authorities that found no secret. A maxAge of 0 is any age.
func NewSecrets(by []verify.Authority, maxAge time.Duration) (Requirement, error) {
	if maxAge < 0 {
		return nil, fmt.Errorf("maxAge: %s: is negative", maxAge)
	}
	questions, err := ask(by, predicate.KindScan)
	if err != nil {
		return nil, err
	}
	return secrets{by: by, questions: questions, maxAge: maxAge}, nil
}

// Name implements Requirement.
func (s secrets) Name() string { return "secrets" }

// Subject implements Requirement.
func (s secrets) Subject() Subject { return EachPlatform }

// Questions implements Requirement.
func (s secrets) Questions() []verify.Question { return s.questions }

// String says by whom.
func (s secrets) String() string { return "by " + namesOf(s.by, " or ") }

// Judge implements Requirement.
func (s secrets) Judge(c Case, findings []verify.Findings) Result {
	all := papers[*predicate.Scan]{
		requirement: s.Name(), what: "secret scan", none: NoSecretScan, by: s.by, maxAge: s.maxAge, keep: (*predicate.Scan).SoughtSecrets,
	}
	r := all.judge(c, findings, s.content)
	if r.Outcome == Violated && r.Reason == NoSecretScan {
		all.keep = nil
		if others := all.collect(c, findings).papers; len(others) > 0 {
			r.Detail = fmt.Sprintf("%s by %s found, but none says that it looked for secrets (trivy's does by invocation.parameters: --scanners vuln,secret)",
				count(len(others), "scan"), namesOf(s.by, " or "))
		}
	}
	return r
}

// content judges one scan.
func (s secrets) content(p paper[*predicate.Scan]) Result {
	found := p.facts.Secrets()
	if len(found) == 0 {
		return Result{Outcome: Satisfied, Reason: Verified, Detail: "none found by " + scannerOf(p.facts)}
	}
	const most = 4
	var names []string
	for i, x := range found {
		if i == most {
			names = append(names, fmt.Sprintf("%d more", len(found)-most))
			break
		}
		name := within(x.Rule, 48)
		if x.File != "" {
			name += " in " + within(x.File, 96)
		}
		names = append(names, name)
	}
	return Result{Outcome: Violated, Reason: SecretsFound, Detail: fmt.Sprintf("%s found by %s: %s", count(len(found), "secret"), scannerOf(p.facts), strings.Join(names, ", "))}
}
