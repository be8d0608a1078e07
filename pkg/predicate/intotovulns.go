package predicate

import (
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// readInTotoVulns reads in-toto's vulnerability predicate, version 0.1 and 0.2 (in-toto/attestation, spec/predicates/vulns.md and
// vulns_02.md). scanner.result lists the vulnerabilities; an empty list says that there are none. Version 0.1 wraps each in an object
// (vulnerability) by its text and doesn't in its example, and has other names in its protobuf (database, scanMetadata, result.vulnerabilities):
// all are read.
//
// The predicate tells neither packages nor fixes. So each entry counts by itself, and as one that may have a fix.
func readInTotoVulns(text []byte) (*Scan, error) {
	b := newScanBuilder()
	var told, result bool
	var uri string
	err := read(text, func(s *scanner) error {
		entry := b.inTotoEntry(s)
		database := s.orNull(func() error { return b.database(s) })
		metadata := s.orNull(func() error { return b.metadata(s) })
		return s.object(names{
			"scanner": func() error {
				told = true
				return s.object(names{
					"uri":      func() error { return s.text(&uri) },
					"version":  func() error { return s.textOrNull(&b.scan.version) },
					"db":       database,
					"database": database,
					"result": func() error {
						if s.kind() != '{' {
							result = true
							return s.list(entry)
						}
						return s.object(names{"vulnerabilities": func() error { result = true; return s.list(entry) }})
					},
				})
			},
			"metadata":     metadata,
			"scanMetadata": metadata,
		})
	})
	switch {
	case err != nil:
		return nil, err
	case !told:
		return nil, errors.New("scanner: absent: nothing says what was found")
	case !result:
		return nil, errors.New("scanner.result: absent: nothing says what was found")
	}
	if b.scan.scanner = toolOf(uri); b.scan.scanner == "" {
		return nil, errors.New("scanner.uri: absent: nothing says what scanned")
	}
	b.scan.soughtVulnerabilities = true
	return b.done()
}

// inTotoEntry returns what reads one of scanner.result.
func (b *scanBuilder) inTotoEntry(s *scanner) func() error {
	var f Finding
	var score, method string
	rating := names{
		"method": func() error { return s.textOrNull(&method) },
		"score": func() error {
			if s.kind() != '0' {
				return s.textOrNull(&score)
			}
			v, err := s.value()
			score = string(v)
			return err
		},
	}
	severity := func() error {
		method, score = "", ""
		err := s.object(rating)
		f.Severity = max(f.Severity, rated(method, score)) // of several methods the worst
		return err
	}
	known := names{
		"id": func() error { return s.text(&f.ID) },
		"severity": s.orNull(func() error {
			if s.kind() == jsontext.Kind('{') {
				return severity()
			}
			return s.list(severity)
		}),
	}
	inner := names{"id": known["id"], "severity": known["severity"]}
	known["vulnerability"] = func() error { return s.object(inner) }
	return func() error {
		f = Finding{}
		if err := s.object(known); err != nil {
			return err
		}
		return b.add(&f)
	}
}

// rated reads a score by its method: a word, or a CVSS number. What is no measure of severity, such as EPSS, is none.
func rated(method, score string) Severity {
	m := strings.ToLower(method)
	if strings.Contains(m, "epss") || strings.Contains(m, "percentile") || strings.Contains(m, "probability") {
		return SeverityUnknown
	}
	return max(severityWord(score), severityScore(score))
}

// toolOf is the name of a tool in its URI: the last segment of the path without version, or the host.
func toolOf(uri string) string {
	uri, _, _ = strings.Cut(uri, "#")
	uri, _, _ = strings.Cut(uri, "?")
	uri = strings.TrimRight(uri, "/")
	name := uri[strings.LastIndexByte(uri, '/')+1:]
	name, _, _ = strings.Cut(name, "@")
	return strings.ToLower(strings.TrimSuffix(name, ".git"))
}
