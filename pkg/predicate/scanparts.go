package predicate

import "slices"

// Parts is a set of the vulnerabilities that a finding is about. An advisory that isn't named after a CVE, and has several among its aliases, is about
// each of them; any other finding is about one. The zero Parts is none.
type Parts [(maxAliases + 63) / 64]uint64

// Empty tells whether none is in it.
func (p Parts) Empty() bool { return p == Parts{} }

// Has tells whether one is in it, by its number.
func (p Parts) Has(n int) bool { return p[n/64]&(1<<(n%64)) != 0 }

// With returns the set with those of another.
func (p Parts) With(q Parts) Parts {
	for i := range p {
		p[i] |= q[i]
	}
	return p
}

func onePart(n int) (p Parts) {
	p[n/64] = 1 << (n % 64)
	return p
}

// Parts is how many vulnerabilities a finding is about: at least one.
func (s *Scan) Parts(i int) int { return max(1, int(s.findings[i].parts-s.findings[i].from)) }

// All is the set of all that a finding is about.
func (s *Scan) All(i int) (all Parts) {
	for n := range s.Parts(i) {
		all = all.With(onePart(n))
	}
	return all
}

// Part tells for which of the vulnerabilities that a finding is about a name stands:
//
//	the finding's own identifier       all of them
//	a CVE                              itself, if the finding is about it; a CVE that is merely another's alias is none of them
//	any other alias                    the one, of a finding about one; of several it doesn't tell which
//	what isn't a name of the finding   none
func (s *Scan) Part(i int, name string) Parts {
	f := &s.findings[i]
	own, several := s.words.at(f.id), f.parts-f.from > 1
	if foldCompare(own, name) == 0 {
		return s.All(i)
	}
	if isCVE(name) {
		n, ok := s.alias(f.from, f.parts, name)
		if !ok {
			return Parts{}
		}
		return onePart(n)
	}
	if _, ok := s.alias(f.parts, f.to, name); several || !ok {
		return Parts{}
	}
	return onePart(0)
}

// alias finds a name in a part of Scan.aliases that is sorted.
func (s *Scan) alias(from, to uint32, name string) (int, bool) {
	return slices.BinarySearchFunc(s.aliases[from:to], name, func(w word, name string) int { return foldCompare(s.words.at(w), name) })
}

// knowsCVE tells whether any name of a finding is a CVE's.
func (s *Scan) knowsCVE(i int) bool {
	f := s.findings[i]
	return f.parts > f.from || isCVE(s.words.at(f.id))
}
