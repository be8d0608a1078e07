package predicate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// scanBuilder gathers what a reader finds, and makes a Scan of it. A string is kept once, however often it occurs.
type scanBuilder struct {
	scan    Scan
	known   map[string]word
	text    []string // by word
	aliases []word
	flags   scannerFlags
	trivy   bool // the tool looks for secrets, where it is told to
	err     error
}

func newScanBuilder() *scanBuilder {
	return &scanBuilder{known: map[string]word{"": 0}, text: []string{""}}
}

// word keeps a text.
func (b *scanBuilder) word(text string) word {
	if w, ok := b.known[text]; ok {
		return w
	}
	if len(text) > maxWord && b.err == nil {
		b.err = fmt.Errorf("an identifier, package or file name of %d bytes: at most %d", len(text), maxWord)
	}
	w := word(len(b.text))
	b.text = append(b.text, text)
	b.known[text] = w
	return w
}

// add keeps a finding as a scanner lists it. What it makes of the finding's texts is its own; f is not kept.
func (b *scanBuilder) add(f *Finding) error {
	f.ID = strings.TrimSpace(f.ID)
	switch {
	case f.ID == "":
		return errors.New("a finding without identifier")
	case len(b.scan.findings) >= MaxFindings:
		return fmt.Errorf("more than %d findings", MaxFindings)
	case len(f.Aliases) > maxAliases:
		return fmt.Errorf("%.64q has %d aliases: at most %d", f.ID, len(f.Aliases), maxAliases)
	}
	if f.Fixed != "" {
		f.Fix = FixKnown
	}
	p := packedFinding{
		id: b.word(f.ID), pkg: b.word(f.Package), version: b.word(f.Version), purl: b.word(f.PURL), fixed: b.word(f.Fixed),
		severity: f.Severity, fix: f.Fix, from: uint32(len(b.aliases)),
	}
	for _, a := range f.Aliases {
		if a = strings.TrimSpace(a); a != "" && !strings.EqualFold(a, f.ID) {
			b.aliases = append(b.aliases, b.word(a))
		}
	}
	p.to = uint32(len(b.aliases))
	b.scan.findings = append(b.scan.findings, p)
	return b.err
}

func (b *scanBuilder) addSecret(rule, file string, severity Severity) error {
	if len(b.scan.secrets) >= MaxSecrets {
		return fmt.Errorf("more than %d secrets", MaxSecrets)
	}
	if rule == "" {
		rule = "unnamed rule"
	}
	b.scan.secrets = append(b.scan.secrets, packedSecret{rule: b.word(rule), file: b.word(file), severity: severity})
	return b.err
}

// finished takes one more time by which the scan was done: the earliest told counts, so that an old result in a new envelope stays old.
func (b *scanBuilder) finished(at time.Time) {
	if !at.IsZero() && (b.scan.finished.IsZero() || at.Before(b.scan.finished)) {
		b.scan.finished = at
	}
}

// built takes one more time of the vulnerability database: the earliest counts.
func (b *scanBuilder) built(at time.Time) {
	if !at.IsZero() && (b.scan.database.IsZero() || at.Before(b.scan.database)) {
		b.scan.database = at
	}
}

// done makes the Scan: findings merged and sorted, names indexed, strings packed.
func (b *scanBuilder) done() (*Scan, error) {
	if b.err != nil {
		return nil, b.err
	}
	s := &b.scan
	if b.flags.told && !b.flags.vulnerabilities && len(s.findings) == 0 {
		s.soughtVulnerabilities = false
	}
	if b.trivy && b.flags.secrets {
		s.soughtSecrets = true
	}
	b.merge()
	slices.SortFunc(s.findings, func(x, y packedFinding) int {
		return cmp.Or(cmp.Compare(y.severity, x.severity), strings.Compare(b.text[x.id], b.text[y.id]),
			strings.Compare(b.text[x.pkg], b.text[y.pkg]), strings.Compare(b.text[x.version], b.text[y.version]))
	})
	for i, f := range s.findings {
		s.counts[f.severity][0]++
		if f.fix != FixNone {
			s.counts[f.severity][1]++
		}
		for _, name := range append([]word{f.id}, b.aliases[f.from:f.to]...) {
			s.mentions = append(s.mentions, mention{name, uint32(i)})
		}
	}
	slices.SortFunc(s.mentions, func(x, y mention) int {
		return cmp.Or(foldCompare(b.text[x.name], b.text[y.name]), cmp.Compare(x.finding, y.finding))
	})
	s.mentions = slices.Clip(slices.CompactFunc(s.mentions, func(x, y mention) bool {
		return x.finding == y.finding && foldCompare(b.text[x.name], b.text[y.name]) == 0
	}))
	s.aliases = slices.Clip(b.aliases)
	s.findings, s.secrets = slices.Clone(s.findings), slices.Clone(s.secrets)
	b.pack()
	out := *s
	return &out, nil
}

// pack puts all texts into one string.
func (b *scanBuilder) pack() {
	n := 0
	for _, t := range b.text {
		n += len(t)
	}
	var all strings.Builder
	all.Grow(n)
	ends := make([]uint32, len(b.text))
	for i, t := range b.text {
		all.WriteString(t)
		ends[i] = uint32(all.Len())
	}
	b.scan.words = words{text: all.String(), ends: ends}
	b.scan.scanner, b.scan.version = strings.Clone(b.scan.scanner), strings.Clone(b.scan.version)
}

// place is what makes two listings one finding: the vulnerability and the version of the package that has it.
type place struct {
	vulnerability string
	pkg, version  word
}

// merge makes one finding of those about one vulnerability of one package version. A listing without a package stands for itself: the
// scanner may have meant another package each time.
func (b *scanBuilder) merge() {
	listed := b.scan.findings
	cve, number := b.sameAsCVE(), make(map[place]int, len(listed))
	groups := make([][2]int, len(listed)) // of each listing: which finding it is of, and its own number
	for i, f := range listed {
		p := place{b.canonical(f, cve), f.pkg, f.version}
		n, seen := number[p]
		if !seen || f.pkg == 0 {
			n = i
			number[p] = n
		}
		groups[i] = [2]int{n, i}
	}
	slices.SortFunc(groups, func(x, y [2]int) int { return cmp.Or(x[0]-y[0], x[1]-y[1]) })
	var findings []packedFinding
	var aliases, names []word
	for i := 0; i < len(groups); {
		first := listed[groups[i][1]]
		names = append(names[:0], b.aliases[first.from:first.to]...)
		for i++; i < len(groups) && groups[i][0] == groups[i-1][0]; i++ {
			f := listed[groups[i][1]]
			names = append(append(names, f.id, first.id), b.aliases[f.from:f.to]...)
			if isCVE(b.text[f.id]) && !isCVE(b.text[first.id]) {
				first.id = f.id
			}
			first.severity, first.fix = max(first.severity, f.severity), mergeFix(first.fix, f.fix)
			first.fixed, first.purl = cmp.Or(first.fixed, f.fixed), cmp.Or(first.purl, f.purl)
		}
		slices.SortFunc(names, func(x, y word) int { return strings.Compare(b.text[x], b.text[y]) })
		names = slices.DeleteFunc(slices.Compact(names), func(w word) bool { return w == first.id })
		first.from = uint32(len(aliases))
		aliases = append(aliases, names...)
		first.to = uint32(len(aliases))
		findings = append(findings, first)
	}
	b.scan.findings, b.aliases = findings, aliases
}

// mergeFix says what is known of a fix where two listings of one finding differ: what is known to exist exists.
func mergeFix(x, y Fix) Fix {
	if x == FixKnown || y == FixKnown {
		return FixKnown
	}
	return min(x, y)
}

// canonical is the name by which a vulnerability is counted: its CVE, if it has exactly one, else its own. An advisory over several CVEs
// is none of them.
func (b *scanBuilder) canonical(f packedFinding, cve map[word]word) string {
	only, several := b.onlyCVE(f)
	switch {
	case several:
		return strings.ToUpper(b.text[f.id])
	case only != 0:
		return strings.ToUpper(b.text[only])
	}
	if c := cve[f.id]; c != 0 {
		return strings.ToUpper(b.text[c])
	}
	return strings.ToUpper(b.text[f.id])
}

// onlyCVE is the one CVE that a finding goes by; several says that there are more.
func (b *scanBuilder) onlyCVE(f packedFinding) (only word, several bool) {
	if isCVE(b.text[f.id]) {
		return f.id, false // it says itself which one it is about, whatever advisories name it with others
	}
	for _, a := range b.aliases[f.from:f.to] {
		if !isCVE(b.text[a]) {
			continue
		}
		if only != 0 && !strings.EqualFold(b.text[only], b.text[a]) {
			return 0, true
		}
		only = a
	}
	return only, false
}

// sameAsCVE says which CVE an identifier stands for, so far as this scan tells, for databases that have one record a vulnerability. An
// advisory of a distribution (RHSA, ELSA, DSA, ...) covers several, and is left out.
func (b *scanBuilder) sameAsCVE() map[word]word {
	out := map[word]word{}
	for _, f := range b.scan.findings {
		only, several := b.onlyCVE(f)
		if only == 0 || several {
			continue
		}
		for _, a := range append([]word{f.id}, b.aliases[f.from:f.to]...) {
			if !oneRecordEach(b.text[a]) {
				continue
			}
			if was, ok := out[a]; ok && !strings.EqualFold(b.text[was], b.text[only]) {
				out[a] = 0 // it stands for two: it is neither
				continue
			}
			out[a] = only
		}
	}
	return out
}

func isCVE(id string) bool { return len(id) > 4 && strings.EqualFold(id[:4], "CVE-") }

func oneRecordEach(id string) bool {
	for _, prefix := range []string{"GHSA-", "GO-", "PYSEC-", "RUSTSEC-"} {
		if len(id) > len(prefix) && strings.EqualFold(id[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}
