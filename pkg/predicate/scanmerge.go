package predicate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// place is what makes two listings one finding: the vulnerability, by the rank of its name, and the version of the package that has it. Packages of two
// ecosystems may share a name: where package URLs are told, type, namespace and name are of the place.
type place struct {
	vulnerability uint32
	pkg, version  word
	kind          uint32
}

// merge makes one finding of those about one vulnerability of one package version. A listing without a package stands for itself: the
// scanner may have meant another package each time.
func (b *scanBuilder) merge(rank []uint32) error {
	listed := b.scan.findings
	cve, kind, number := b.sameAsCVE(rank), b.kinds(), make(map[place]int, len(listed))
	groups := make([][2]int, len(listed)) // of each listing: which finding it is of, and its own number
	for i, f := range listed {
		p := place{b.canonical(f, cve, rank), f.pkg, f.version, kind[f.purl]}
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
		purl := first.purl
		names = append(names[:0], b.aliases[first.from:first.to]...)
		for i++; i < len(groups) && groups[i][0] == groups[i-1][0]; i++ {
			f := listed[groups[i][1]]
			names = append(append(names, f.id, first.id), b.aliases[f.from:f.to]...)
			if isCVE(b.text[f.id]) && !isCVE(b.text[first.id]) {
				first.id = f.id
			}
			first.severity, first.fix = max(first.severity, f.severity), mergeFix(first.fix, f.fix)
			first.fixed = cmp.Or(first.fixed, f.fixed)
			if f.purl != purl { // what is said of one of them isn't said of the other
				first.purl = 0
			}
		}
		var err error
		if aliases, err = b.name(&first, names, aliases, rank); err != nil {
			return err
		}
		findings = append(findings, first)
	}
	b.scan.findings, b.aliases = findings, aliases
	return nil
}

// name gives a finding its aliases, and appends them to all: each once, those that are its parts first.
func (b *scanBuilder) name(f *packedFinding, names, all []word, rank []uint32) ([]word, error) {
	isPart := func(w word) bool { return !isCVE(b.text[f.id]) && isCVE(b.text[w]) }
	slices.SortFunc(names, func(x, y word) int {
		if p, q := isPart(x), isPart(y); p != q {
			if p {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(rank[x], rank[y]), strings.Compare(b.text[x], b.text[y]))
	})
	f.from = uint32(len(all))
	f.parts = f.from
	for i, w := range names {
		if rank[w] == rank[f.id] || i > 0 && rank[w] == rank[names[i-1]] {
			continue
		}
		if all = append(all, w); isPart(w) {
			f.parts = uint32(len(all))
		}
	}
	f.to = uint32(len(all))
	if f.to-f.from > maxAliases {
		return nil, fmt.Errorf("%.64q has %d aliases: at most %d", b.text[f.id], f.to-f.from, maxAliases)
	}
	return all, nil
}

// kinds numbers the packages, without their version, that the findings' package URLs are of.
func (b *scanBuilder) kinds() map[word]uint32 {
	out, known := map[word]uint32{}, map[string]uint32{}
	for _, f := range b.scan.findings {
		if _, ok := out[f.purl]; ok || f.purl == 0 {
			continue
		}
		text := b.text[f.purl]
		name, ok := packageOf(text)
		if !ok {
			name = text
		}
		n, ok := known[name]
		if !ok {
			n = uint32(len(known) + 1)
			known[name] = n
		}
		out[f.purl] = n
	}
	return out
}

// mergeFix says what is known of a fix where two listings of one finding differ: what is known to exist exists.
func mergeFix(x, y Fix) Fix {
	if x == FixKnown || y == FixKnown {
		return FixKnown
	}
	return min(x, y)
}

// canonical is the rank of the name by which a vulnerability is counted: its CVE, if it has exactly one, else its own. An advisory over several
// CVEs is none of them.
func (b *scanBuilder) canonical(f packedFinding, cve map[word]word, rank []uint32) uint32 {
	only, several := b.onlyCVE(f, rank)
	switch {
	case several:
		return rank[f.id]
	case only != 0:
		return rank[only]
	}
	if c := cve[f.id]; c != 0 {
		return rank[c]
	}
	return rank[f.id]
}

// onlyCVE is the one CVE that a finding goes by; several says that there are more.
func (b *scanBuilder) onlyCVE(f packedFinding, rank []uint32) (only word, several bool) {
	if isCVE(b.text[f.id]) {
		return f.id, false // it says itself which one it is about, whatever advisories name it with others
	}
	for _, a := range b.aliases[f.from:f.to] {
		if !isCVE(b.text[a]) {
			continue
		}
		if only != 0 && rank[only] != rank[a] {
			return 0, true
		}
		only = a
	}
	return only, false
}

// sameAsCVE says which CVE an identifier stands for, so far as this scan tells, for databases that have one record a vulnerability. An
// advisory of a distribution (RHSA, ELSA, DSA, ...) covers several, and is left out.
func (b *scanBuilder) sameAsCVE(rank []uint32) map[word]word {
	out := map[word]word{}
	var names []word
	for _, f := range b.scan.findings {
		only, several := b.onlyCVE(f, rank)
		if only == 0 || several {
			continue
		}
		names = append(append(names[:0], f.id), b.aliases[f.from:f.to]...)
		for _, a := range names {
			if !oneRecordEach(b.text[a]) {
				continue
			}
			if was, ok := out[a]; ok && (was == 0 || rank[was] != rank[only]) {
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
	for _, prefix := range [...]string{"GHSA-", "GO-", "PYSEC-", "RUSTSEC-"} {
		if len(id) > len(prefix) && strings.EqualFold(id[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}
