package predicate

import (
	"errors"
	"fmt"
	"time"
)

// trivyReader reads trivy's JSON report (SchemaVersion 2; pkg/types/report.go of trivy).
//
// Results lists what was looked at: each Result has a Target and a Class, and is clean of what it doesn't list. trivy leaves out Results
// where that would be empty, as for an image FROM scratch without anything that it knows; a scan that failed looks the same, so this is an
// error: unknown is never clean. The same goes for a list of no Result.
//
// Every entry of Vulnerabilities is a finding, whatever its Status says: will_not_fix has no fix and is one, and trivy doesn't list what it holds
// for not affected. What was taken out by an ignore file or VEX at the scan isn't in Vulnerabilities (ExperimentalModifiedFindings), and is
// for whoever signed. Of a secret its rule, file and severity are read, never Match or Code.
type trivyReader struct {
	b *scanBuilder
	s *scanner

	version int // SchemaVersion
	results bool
	created time.Time
	secrets bool // a Result of Class secret
	pkgs    bool // a Result that is about packages

	// of the Result being read
	class     string
	hasTarget bool
	target    string
	hasVulns  bool // it lists any
	first     int  // its first secret
	rule      string
	severity  string
	vuln      trivyVulnerability
}

type trivyVulnerability struct {
	f                Finding
	status, severity string
}

func (t *trivyReader) told() bool { return t.results || t.version != 0 }

func (t *trivyReader) names() names {
	each := t.result()
	return names{
		"SchemaVersion": func() (err error) { t.version, err = t.number(); return err },
		"CreatedAt": func() error {
			if t.s.kind() == '0' { // trivy's own documentation shows seconds since 1970
				return t.s.skip()
			}
			return t.s.time(&t.created)
		},
		"Results": func() error {
			t.results = true
			return t.s.list(each)
		},
	}
}

func (t *trivyReader) number() (int, error) {
	v, err := t.s.value()
	if err == nil && string(v) != "2" {
		return 0, fmt.Errorf("%s: only trivy's report of version 2 is known", clip(string(v)))
	}
	return 2, err
}

// result returns what reads one of Results.
func (t *trivyReader) result() func() error {
	s, each, secret := t.s, t.vulnerability(), t.secret()
	vulnerability := func() error { t.hasVulns = true; return each() }
	known := names{
		"Target":          func() error { t.hasTarget = true; return s.text(&t.target) },
		"Class":           func() error { return s.text(&t.class) },
		"Vulnerabilities": s.orNull(func() error { return s.list(vulnerability) }),
		"Secrets": s.orNull(func() error {
			t.secrets = true
			return s.list(secret)
		}),
	}
	return func() error {
		t.class, t.target, t.hasTarget, t.hasVulns, t.first = "", "", false, false, len(t.b.scan.secrets)
		if err := s.object(known); err != nil {
			return err
		}
		if !t.hasTarget {
			return errors.New("no Target: nothing says what was looked at")
		}
		switch t.class {
		case "os-pkgs", "lang-pkgs", "": // reports before Class have none
			t.pkgs = true
		case "secret":
			t.secrets = true
		default: // of another class: what it doesn't list may not have been looked for
			t.pkgs = t.pkgs || t.hasVulns
		}
		for i := t.first; i < len(t.b.scan.secrets); i++ {
			t.b.scan.secrets[i].file = t.b.word(t.target)
		}
		return t.b.err
	}
}

func (t *trivyReader) vulnerability() func() error {
	s, v := t.s, &t.vuln
	var ids []string
	id := func() error { ids = append(ids, ""); return s.text(&ids[len(ids)-1]) }
	identifier := names{"PURL": func() error { return s.textOrNull(&v.f.PURL) }}
	known := names{
		"VulnerabilityID":  func() error { return s.text(&v.f.ID) },
		"VendorIDs":        s.orNull(func() error { return s.atMost(maxAliases, id) }),
		"PkgName":          func() error { return s.textOrNull(&v.f.Package) },
		"InstalledVersion": func() error { return s.textOrNull(&v.f.Version) },
		"FixedVersion":     func() error { return s.textOrNull(&v.f.Fixed) },
		"Status":           func() error { return s.textOrNull(&v.status) },
		"Severity":         func() error { return s.textOrNull(&v.severity) },
		"PkgIdentifier":    s.orNull(func() error { return s.object(identifier) }),
	}
	return func() error {
		*v, ids = trivyVulnerability{}, ids[:0]
		if err := s.object(known); err != nil {
			return err
		}
		v.f.Severity, v.f.Aliases, v.f.Fix = severityWord(v.severity), ids, FixNone
		if v.status == "fixed" {
			v.f.Fix = FixKnown
		}
		return t.b.add(&v.f)
	}
}

func (t *trivyReader) secret() func() error {
	s := t.s
	known := names{
		"RuleID":   func() error { return s.textOrNull(&t.rule) },
		"Severity": func() error { return s.textOrNull(&t.severity) },
	}
	return func() error {
		t.rule, t.severity = "", ""
		if err := s.object(known); err != nil {
			return err
		}
		return t.b.addSecret(t.rule, "", severityWord(t.severity))
	}
}

// done says what the report amounts to, once it is read.
func (t *trivyReader) done() error {
	switch {
	case t.version == 0:
		return errors.New("no SchemaVersion: only trivy's report of version 2 is known")
	case !t.results:
		return errors.New("no Results: trivy leaves them out where it found nothing to look at, as if it had not looked (scan with --list-all-pkgs)")
	case !t.pkgs && !t.secrets:
		return errors.New("none of Results is about packages or secrets (scan with --list-all-pkgs)")
	}
	t.b.scan.scanner = "trivy"
	t.b.finished(t.created)
	t.b.scan.soughtVulnerabilities = t.pkgs
	t.b.scan.soughtSecrets = t.secrets
	t.b.trivy = true
	return nil
}
