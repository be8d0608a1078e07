package predicate

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// sarifReader reads SARIF 2.1.0 as trivy and grype write it (trivy's pkg/report/sarif.go, grype's presenter/sarif): a run has a tool, whose
// rules say what can be found, and results, each by a rule. A log of any other tool is an error: what a linter didn't find says nothing of
// vulnerabilities.
//
//	trivy   a rule for each vulnerability; package, version, fix and severity in the result's message; rules are tagged vulnerability, secret,
//	        misconfiguration or license
//	grype   a rule for each vulnerability and package, CVE-2021-1234-openssl; package and version in the result's message, fix and
//	        package URL in the rule; what it holds for low, negligible or unknown it calls low, and gives a score of 0 for the latter two
//
// The severity is the tool's own word; where there is none, its score (security-severity, as GitHub reads it).
type sarifReader struct {
	b *scanBuilder
	s *scanner

	runs    bool
	version string
	tool    string
	count   int
}

// sarifRun is one of runs. Its parts come in any order.
type sarifRun struct {
	driver, version string
	rules           []sarifRule
	byID            map[string]int
	results         []sarifResult
	listed          bool
}

type sarifRule struct {
	id, kind, score, fixed, purl string
	severity                     Severity
	fixTold                      bool
}

type sarifResult struct {
	rule, file, pkg, version, fixed string
	severity, secret                string // as the message tells it; and as that of a secret does
	bad                             error  // what is wrong with the message, if it isn't a secret's
	index                           int
	fixTold                         bool
}

// readSARIF reads a SARIF log as a predicate of its own.
func readSARIF(text []byte) (*Scan, error) {
	b := newScanBuilder()
	err := read(text, func(s *scanner) error {
		r := sarifReader{b: b, s: s}
		if err := s.object(r.names()); err != nil {
			return err
		}
		return r.done()
	})
	if err != nil {
		return nil, err
	}
	return b.done()
}

func (r *sarifReader) told() bool { return r.runs }

func (r *sarifReader) names() names {
	return names{
		"version": func() error { return r.s.text(&r.version) },
		"runs": func() error {
			r.runs = true
			return r.s.list(r.run)
		},
	}
}

func (r *sarifReader) run() error {
	s, run := r.s, &sarifRun{byID: map[string]int{}}
	err := s.object(names{
		"tool": func() error {
			return s.object(names{"driver": func() error {
				return s.object(names{
					"name":    func() error { return s.text(&run.driver) },
					"version": func() error { return s.textOrNull(&run.version) },
					"rules":   s.orNull(func() error { return run.readRules(s) }),
				})
			}})
		},
		"invocations": s.orNull(func() error { return s.list(r.invocation) }),
		"results": func() error {
			run.listed = true
			return run.readResults(s)
		},
	})
	if err != nil {
		return err
	}
	return r.add(run)
}

// invocation reads when and how the tool ran.
func (r *sarifReader) invocation() error {
	var start, end time.Time
	good := true
	err := r.s.object(names{
		"startTimeUtc":        func() error { return r.s.time(&start) },
		"endTimeUtc":          func() error { return r.s.time(&end) },
		"executionSuccessful": func() error { return r.s.flag(&good) },
		"arguments":           r.b.flags.reader(r.s),
		"commandLine":         r.b.flags.reader(r.s),
	})
	r.b.began(start)
	r.b.finished(end)
	if err == nil && !good {
		err = errors.New("executionSuccessful: false: the scan failed")
	}
	return err
}

func (run *sarifRun) readRules(s *scanner) error {
	var rule sarifRule
	properties := names{
		"security-severity": func() error { return s.textOrNull(&rule.score) },
		"tags": s.orNull(func() error {
			return s.list(func() error {
				var tag string
				err := s.text(&tag)
				rule.tag(tag)
				return err
			})
		}),
		"purls": s.orNull(func() error { return s.list(func() error { return s.text(&rule.purl) }) }),
	}
	help := names{"text": func() error {
		var text string
		if err := s.textOrNull(&text); err != nil {
			return err
		}
		var err error
		rule.fixed, rule.fixTold, err = line(text, "Fix Version: ")
		return err
	}}
	known := names{
		"id":         func() error { return s.text(&rule.id) },
		"properties": s.orNull(func() error { return s.object(properties) }),
		"help":       s.orNull(func() error { return s.object(help) }),
	}
	return s.atMost(MaxFindings, func() error {
		rule = sarifRule{}
		if err := s.object(known); err != nil {
			return err
		}
		if rule.id == "" {
			return errors.New("a rule without id")
		}
		run.byID[rule.id] = len(run.rules)
		run.rules = append(run.rules, rule)
		return nil
	})
}

// tag takes one of a rule's tags: what it is about, or how bad.
func (rule *sarifRule) tag(tag string) {
	switch tag {
	case "vulnerability", "secret", "misconfiguration", "license":
		rule.kind = tag
		return
	}
	rule.severity = max(rule.severity, severityWord(tag))
}

func (run *sarifRun) readResults(s *scanner) error {
	var got sarifResult
	artifact := names{"uri": func() error { return s.textOrNull(&got.file) }}
	physical := names{"artifactLocation": s.orNull(func() error { return s.object(artifact) })}
	location := names{"physicalLocation": s.orNull(func() error { return s.object(physical) })}
	message := names{"text": func() error {
		var text string
		if err := s.textOrNull(&text); err != nil {
			return err
		}
		got.read(text)
		return nil
	}}
	known := names{
		"ruleId": func() error { return s.textOrNull(&got.rule) },
		"ruleIndex": func() error {
			v, err := s.value()
			if err == nil {
				_, err = fmt.Sscanf(string(v), "%d", &got.index)
			}
			return err
		},
		"message":   s.orNull(func() error { return s.object(message) }),
		"locations": s.orNull(func() error { return s.list(func() error { return s.object(location) }) }),
	}
	return s.atMost(MaxFindings+MaxSecrets, func() error {
		got = sarifResult{index: -1}
		if err := s.object(known); err != nil {
			return err
		}
		if got.rule == "" && got.index < 0 {
			return errors.New("a result without a rule")
		}
		run.results = append(run.results, got)
		return nil
	})
}

// read takes apart a result's message: trivy's lines, or grype's sentence. Whether it is a secret's tells the rule, which may come later. Of a secret's
// nothing from the match on is looked at; of any other's everything is, for a package's version may hold what looks like a match.
func (got *sarifResult) read(text string) {
	if rest, ok := strings.CutPrefix(text, "A "); ok {
		got.severity, rest, _ = strings.Cut(rest, " vulnerability in ")
		_, rest, _ = strings.Cut(rest, " package: ")
		got.pkg, rest, _ = strings.Cut(rest, ", version ")
		got.version, _, _ = strings.Cut(rest, " was found")
		return
	}
	if head, _, ok := strings.Cut(text, "\nMatch: "); ok {
		got.secret, _, _ = line(head, "Severity: ")
	}
	for _, x := range []struct {
		key string
		to  *string
	}{{"Package: ", &got.pkg}, {"Installed Version: ", &got.version}, {"Severity: ", &got.severity}} {
		if *x.to, _, got.bad = line(text, x.key); got.bad != nil {
			return
		}
	}
	got.fixed, got.fixTold, got.bad = line(text, "Fixed Version: ")
}

// line is what follows a key, which ends in a space, at the beginning of a line. Twice the same key is an error: a package's name may hold what looks like
// a line.
func line(text, key string) (value string, found bool, err error) {
	for one := range strings.SplitSeq(text, "\n") {
		rest, ok := strings.CutPrefix(one, key)
		if !ok && one != strings.TrimSuffix(key, " ") {
			continue
		}
		if found {
			return "", false, fmt.Errorf("a message with two lines of %q", strings.TrimSpace(key))
		}
		found = true
		if ok {
			value = strings.TrimSpace(rest)
		}
	}
	return value, found, nil
}

// add takes a run over into the scan.
func (r *sarifReader) add(run *sarifRun) error {
	tool := strings.ToLower(run.driver)
	switch {
	case tool != "trivy" && tool != "grype":
		return fmt.Errorf("tool.driver.name: %q: only the logs of trivy and grype are read", clip(run.driver))
	case !run.listed:
		return errors.New("results: absent: nothing says what was found")
	case r.tool != "" && r.tool != tool:
		return errors.New("runs of two tools")
	}
	r.tool = tool
	r.count++
	if r.b.scan.version == "" {
		r.b.scan.version = run.version
	}
	for i := range run.results {
		if err := r.addResult(run, &run.results[i]); err != nil {
			return err
		}
	}
	for _, rule := range run.rules {
		if rule.kind == "secret" { // it had the rule, so it looked
			r.b.scan.soughtSecrets = true
		}
	}
	return nil
}

func (r *sarifReader) addResult(run *sarifRun, got *sarifResult) error {
	var rule sarifRule
	if i, ok := run.byID[got.rule]; ok && got.rule != "" {
		rule = run.rules[i]
	} else if got.rule == "" && got.index >= 0 && got.index < len(run.rules) {
		rule = run.rules[got.index]
		got.rule = rule.id
	}
	if got.rule == "" {
		return errors.New("a result without a rule")
	}
	switch rule.kind {
	case "secret":
		if got.secret != "" {
			got.severity = got.secret
		}
		r.b.scan.soughtSecrets = true
		return r.b.addSecret(got.rule, got.file, got.rated(rule))
	case "misconfiguration", "license":
		return nil
	}
	if got.bad != nil {
		return got.bad
	}
	severity := got.rated(rule)
	f := Finding{ID: got.rule, Package: got.pkg, Version: got.version, Severity: severity, Fixed: got.fixed, PURL: rule.purl}
	told := got.fixTold
	if r.tool == "grype" {
		f.ID, f.Fixed, told = vulnerabilityOf(got.rule, &f.Package), rule.fixed, rule.fixTold
	}
	if told {
		f.Fix = FixNone
	}
	return r.b.add(&f)
}

// rated is how bad a result is.
func (got *sarifResult) rated(rule sarifRule) Severity {
	switch word := severityWord(got.severity); {
	case word > SeverityLow || got.severity != "" && got.severity != "low":
		return word
	case got.severity == "" && rule.severity != SeverityUnknown:
		return rule.severity
	}
	return severityScore(rule.score)
}

// vulnerabilityOf is the identifier in one of grype's rules, which ends in the package's name; where the message doesn't tell that, it is found
// by the form of the identifier.
func vulnerabilityOf(rule string, pkg *string) string {
	if id, ok := strings.CutSuffix(rule, "-"+*pkg); ok && *pkg != "" {
		return id
	}
	parts := strings.SplitN(rule, "-", 5)
	n := 0
	switch {
	case isCVE(rule) && len(parts) > 3:
		n = 3
	case strings.EqualFold(parts[0], "GHSA") && len(parts) > 4:
		n = 4
	default:
		return rule
	}
	id := strings.Join(parts[:n], "-")
	if *pkg == "" {
		*pkg = strings.TrimPrefix(rule, id+"-")
	}
	return id
}

// done says what the log amounts to, once it is read.
func (r *sarifReader) done() error {
	switch {
	case r.version != "2.1.0":
		return fmt.Errorf("version: %q: only SARIF 2.1.0 is known", clip(r.version))
	case r.count == 0:
		return errors.New("runs: absent or empty: nothing says what was found")
	}
	r.b.scan.scanner = r.tool
	r.b.scan.soughtVulnerabilities = true
	r.b.trivy = r.tool == "trivy"
	return nil
}
