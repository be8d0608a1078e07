package predicate

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
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
	case len(b.aliases)+len(f.Aliases) > maxNames:
		return fmt.Errorf("more than %d aliases of all findings", maxNames)
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

// began takes one more time at which the scan began: the earliest counts.
func (b *scanBuilder) began(at time.Time) {
	if !at.IsZero() && (b.scan.started.IsZero() || at.Before(b.scan.started)) {
		b.scan.started = at
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
	rank, ranks := b.ranks()
	if err := b.merge(rank); err != nil {
		return nil, err
	}
	slices.SortFunc(s.findings, func(x, y packedFinding) int {
		return cmp.Or(cmp.Compare(y.severity, x.severity), strings.Compare(b.text[x.id], b.text[y.id]), strings.Compare(b.text[x.pkg], b.text[y.pkg]),
			strings.Compare(b.text[x.version], b.text[y.version]), strings.Compare(b.text[x.purl], b.text[y.purl]))
	})
	for _, f := range s.findings {
		s.counts[f.severity][0]++
		if f.fix != FixNone {
			s.counts[f.severity][1]++
		}
	}
	s.mentions = mentionsOf(rank, ranks, func(yield func(word, uint32) bool) {
		for i, f := range s.findings {
			if !yield(f.id, uint32(i)) {
				return
			}
			for _, a := range b.aliases[f.from:f.to] {
				if !yield(a, uint32(i)) {
					return
				}
			}
		}
	})
	s.aliases = slices.Clone(b.aliases)
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

// ranks says of each text where it stands in their order without regard to case, and how many places there are.
func (b *scanBuilder) ranks() (rank []uint32, n uint32) {
	order := make([]word, len(b.text))
	for i := range order {
		order[i] = word(i)
	}
	slices.SortFunc(order, func(x, y word) int { return foldCompare(b.text[x], b.text[y]) })
	rank = make([]uint32, len(b.text))
	for i, w := range order {
		if i > 0 && foldCompare(b.text[order[i-1]], b.text[w]) != 0 {
			n++
		}
		rank[w] = n
	}
	return rank, n + 1
}

// mentionsOf indexes names, which come with the number of what goes by them, in its order: sorted by rank, and then by number. It takes as many steps as
// there are names.
func mentionsOf(rank []uint32, ranks uint32, names iter.Seq2[word, uint32]) []mention {
	next, last := make([]uint32, ranks+1), make([]uint32, ranks) // of each rank: where its next mention goes, and the last number seen, plus one
	for w, of := range names {
		if r := rank[w]; last[r] != of+1 {
			last[r] = of + 1
			next[r+1]++
		}
	}
	for r := range ranks {
		next[r+1] += next[r]
	}
	out := make([]mention, next[ranks])
	clear(last)
	for w, of := range names {
		if r := rank[w]; last[r] != of+1 {
			last[r] = of + 1
			out[next[r]] = mention{w, of}
			next[r]++
		}
	}
	return out
}

// atMost reads a list of at most n: what is over is refused before it is kept.
func (s *scanner) atMost(n int, each func() error) error {
	left := n
	return s.list(func() error {
		if left--; left < 0 {
			return fmt.Errorf("more than %d", n)
		}
		return each()
	})
}
