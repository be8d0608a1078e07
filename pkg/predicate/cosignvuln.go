package predicate

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// readCosignVuln reads cosign's vulnerability predicate, version 1 (cosign's COSIGN_VULN_ATTESTATION_SPEC): an envelope around what a scanner
// wrote, whose shape is told from it and not from the scanner's name. trivy --format cosign-vuln writes the whole of it.
func readCosignVuln(text []byte) (*Scan, error) {
	b := newScanBuilder()
	var told, result bool
	err := read(text, func(s *scanner) error {
		return s.object(names{
			"invocation": s.orNull(func() error { return s.object(names{"parameters": b.flags.reader(s)}) }),
			"scanner": func() error {
				told = true
				return s.object(names{
					"version": func() error { return s.textOrNull(&b.scan.version) },
					"db":      s.orNull(func() error { return b.database(s) }),
					"result":  func() error { result = true; return b.result(s) },
				})
			},
			"metadata": s.orNull(func() error { return b.metadata(s) }),
		})
	})
	switch {
	case !told:
		return nil, notCosignVuln(text, err)
	case err != nil:
		return nil, err
	case !result:
		return nil, errors.New("scanner.result: absent: nothing says what was found")
	}
	return b.done()
}

// metadata reads when the scan ran, as cosign's and in-toto's predicates tell it.
func (b *scanBuilder) metadata(s *scanner) error {
	var started, finished time.Time
	err := s.object(names{
		"scanStartedOn":  func() error { return s.time(&started) },
		"scanFinishedOn": func() error { return s.time(&finished) },
	})
	b.began(started)
	b.finished(finished)
	return err
}

// database reads scanner.db: lastUpdate is in-toto's name for when it was updated, and taken in cosign's predicate too, whose
// specification has none.
func (b *scanBuilder) database(s *scanner) error {
	var updated time.Time
	err := s.object(names{"lastUpdate": func() error { return s.time(&updated) }})
	b.built(updated)
	return err
}

// result reads what a scanner wrote: JSON of trivy or grype, or SARIF of either. It goes over it once, so it must not know beforehand which.
func (b *scanBuilder) result(s *scanner) error {
	trivy, grype, sarif := trivyReader{b: b, s: s}, grypeReader{b: b, s: s}, sarifReader{b: b, s: s}
	known := names{}
	for _, tool := range []names{trivy.names(), grype.names(), sarif.names()} {
		for name, f := range tool {
			known[name] = f
		}
	}
	if err := s.object(known); err != nil {
		return err
	}
	var shapes []string
	var err error
	for _, tool := range []struct {
		name string
		told bool
		done func() error
	}{{"trivy", trivy.told(), trivy.done}, {"grype", grype.told(), grype.done}, {"SARIF", sarif.told(), sarif.done}} {
		if tool.told {
			shapes = append(shapes, tool.name)
			err = tool.done()
		}
	}
	switch len(shapes) {
	case 0:
		return errors.New("of no known shape: neither trivy's Results, nor grype's matches, nor SARIF's runs")
	case 1:
		return err
	}
	return fmt.Errorf("of several shapes at once: %s", strings.Join(shapes, ", "))
}

// scannerFlags is what the parameters of an invocation say that was looked for: trivy's --scanners, once --security-checks, be it as a list of
// arguments, as a command line, or as an object with the flag's name for a key.
//
// It is the only sign of a search for secrets that found none: trivy's report then has nothing of it (its Result, its Class and its Secrets are left
// out where they would be empty), and no tool fills parameters in by itself. What says nothing is taken to say that nobody looked.
type scannerFlags struct {
	told, vulnerabilities, secrets bool
	next                           bool // the argument before was the flag: this one is its value
}

func (f *scannerFlags) reader(s *scanner) func() error {
	return func() error { return f.walk(s, false) }
}

// walk reads parameters of any shape; value says that they are the value of the flag.
func (f *scannerFlags) walk(s *scanner, value bool) error {
	switch s.kind() {
	case '{':
		return s.members(func(name string) (func() error, error) {
			return func() error { return f.walk(s, isScannersFlag(name)) }, nil
		})
	case '[':
		f.next = false
		err := s.list(func() error { return f.walk(s, value) })
		f.next = false
		return err
	case '"':
		var text string
		if err := s.text(&text); err != nil {
			return err
		}
		if value {
			f.value(text)
			return nil
		}
		for arg := range strings.FieldsSeq(text) {
			f.argument(arg)
		}
		return nil
	}
	return s.skip()
}

// argument reads one of a command line.
func (f *scannerFlags) argument(arg string) {
	name, value, ok := strings.Cut(arg, "=")
	switch flag := strings.HasPrefix(name, "--") && isScannersFlag(name); {
	case f.next:
		f.next = false
		f.value(arg)
	case flag && ok:
		f.value(value)
	case flag:
		f.next = true
	}
}

func (f *scannerFlags) value(list string) {
	f.told = true
	for item := range strings.SplitSeq(strings.Trim(list, `"'`), ",") {
		switch strings.TrimSpace(item) {
		case "secret":
			f.secrets = true
		case "vuln":
			f.vulnerabilities = true
		}
	}
}

func isScannersFlag(name string) bool {
	switch strings.TrimPrefix(name, "--") {
	case "scanners", "security-checks", "securityChecks":
		return true
	}
	return false
}
