package predicate

import (
	"errors"
	"fmt"
	"time"
)

// grypeReader reads grype's JSON report (grype/presenter/models of grype).
//
// matches lists the findings; grype writes an empty list where there are none, so one that is null or absent is an error. ignoredMatches is what
// the scan's own rules or VEX took out, which is for whoever signed. relatedVulnerabilities are other names of the same vulnerability.
// descriptor.db tells when the database was built: as built up to its schema 5, inside status from 6 on.
type grypeReader struct {
	b *scanBuilder
	s *scanner

	matches   bool
	described bool
	timestamp time.Time
	built     [2]time.Time
	invalid   bool
	version   string

	f        Finding
	severity string
	state    string
	related  string
	ids      []string
	fixed    []byte // the versions that fix it
}

func (g *grypeReader) told() bool { return g.matches || g.described }

func (g *grypeReader) names() names {
	s, each := g.s, g.match()
	return names{
		"matches": func() error {
			g.matches = true
			return s.list(each)
		},
		"descriptor": func() error {
			g.described = true
			return s.object(names{
				"version":   func() error { return s.textOrNull(&g.version) },
				"timestamp": func() error { return s.time(&g.timestamp) },
				"db":        s.orNull(g.database),
			})
		},
	}
}

func (g *grypeReader) database() error {
	s := g.s
	return s.object(names{
		"built": func() error { return s.time(&g.built[0]) },
		"status": s.orNull(func() error {
			valid := true
			err := s.object(names{
				"built": func() error { return s.time(&g.built[1]) },
				"valid": func() error { return s.flag(&valid) },
			})
			g.invalid = g.invalid || !valid
			return err
		}),
	})
}

// match returns what reads one of matches.
func (g *grypeReader) match() func() error {
	s := g.s
	var hasVulnerability bool
	fix := names{
		"versions": s.orNull(func() error { return s.list(g.fixedIn) }),
		"state":    func() error { return s.textOrNull(&g.state) },
	}
	vulnerability := names{
		"id":       func() error { return s.text(&g.f.ID) },
		"severity": func() error { return s.textOrNull(&g.severity) },
		"fix":      s.orNull(func() error { return s.object(fix) }),
	}
	related := names{"id": func() error { return s.text(&g.related) }}
	other := func() error {
		g.related = ""
		err := s.object(related)
		g.ids = append(g.ids, g.related)
		return err
	}
	artifact := names{
		"name":    func() error { return s.textOrNull(&g.f.Package) },
		"version": func() error { return s.textOrNull(&g.f.Version) },
		"purl":    func() error { return s.textOrNull(&g.f.PURL) },
	}
	known := names{
		"vulnerability":          func() error { hasVulnerability = true; return s.object(vulnerability) },
		"relatedVulnerabilities": s.orNull(func() error { return s.atMost(maxAliases, other) }),
		"artifact":               func() error { return s.object(artifact) },
	}
	return func() error {
		g.f, g.severity, g.state, g.ids, g.fixed, hasVulnerability = Finding{}, "", "", g.ids[:0], g.fixed[:0], false
		if err := s.object(known); err != nil {
			return err
		}
		if !hasVulnerability {
			return errors.New("vulnerability: absent")
		}
		g.f.Severity, g.f.Aliases, g.f.Fixed, g.f.Fix = severityWord(g.severity), g.ids, string(g.fixed), FixNone
		if g.state == "fixed" {
			g.f.Fix = FixKnown
		}
		return g.b.add(&g.f)
	}
}

// fixedIn reads one of fix.versions.
func (g *grypeReader) fixedIn() error {
	var version string
	if err := g.s.text(&version); err != nil || version == "" {
		return err
	}
	if len(g.fixed)+len(", ")+len(version) > maxWord {
		return fmt.Errorf("more than %d bytes of versions", maxWord)
	}
	if len(g.fixed) > 0 {
		g.fixed = append(g.fixed, ", "...)
	}
	g.fixed = append(g.fixed, version...)
	return nil
}

// done says what the report amounts to, once it is read.
func (g *grypeReader) done() error {
	switch {
	case !g.matches:
		return errors.New("matches: absent: nothing says what was found")
	case g.invalid:
		return errors.New("descriptor.db.status: grype says that its database wasn't valid")
	}
	g.b.scan.scanner = "grype"
	if g.b.scan.version == "" {
		g.b.scan.version = g.version
	}
	g.b.scan.soughtVulnerabilities = true
	g.b.finished(g.timestamp)
	g.b.built(g.built[0])
	g.b.built(g.built[1])
	return nil
}
