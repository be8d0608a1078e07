package predicate

import (
	"slices"
	"time"
)

// Bounds of what a scan may list. The worst images that people run have some ten thousand findings, and no tool writes an identifier,
// a package name or a package URL of more than a few hundred bytes; what is beyond is refused, for it would be held in memory.
const (
	MaxFindings = 100_000
	MaxSecrets  = 10_000
	maxAliases  = 1024    // of one finding, or of one VEX statement's vulnerability: advisories about kernels name hundreds of CVEs
	maxNames    = 1 << 20 // aliases of all findings: some ten each
	maxWord     = 4096
)

// Scan is what a scanner found in an image: vulnerabilities of its packages, and secrets in its files.
//
// One vulnerability of one package version is one finding, however often the scanner lists it and under which of its names (CVE, GHSA, ...).
// Findings are sorted: the worst first, then by identifier. Most are about one vulnerability. An advisory of a distribution may be about several
// CVEs: those are its parts (Parts).
type Scan struct {
	scanner, version            string
	started, finished, database time.Time
	soughtVulnerabilities       bool
	soughtSecrets               bool

	words    words
	findings []packedFinding
	aliases  []word    // of all findings, one after the other
	mentions []mention // of every identifier and alias, sorted by it
	counts   [Severities][2]int
	secrets  []packedSecret
}

// packedFinding is a finding without pointers. Its aliases are Scan.aliases[from:to], each once without regard to case: those that are its parts
// first, up to parts, and both lists sorted.
type packedFinding struct {
	id, pkg, version, purl, fixed word
	from, parts, to               uint32
	severity                      Severity
	fix                           Fix
}

type packedSecret struct {
	rule, file word
	severity   Severity
}

// mention says that a finding goes by a name.
type mention struct {
	name    word
	finding uint32
}

// Fix says whether a finding can be fixed by a newer version.
type Fix uint8

// What is known of a fix.
const (
	FixUntold Fix = iota // this format doesn't tell of fixes
	FixNone              // none is known
	FixKnown             // there is one
)

// Finding is one vulnerability of one version of a package.
type Finding struct {
	ID       string   // as the scanner calls it: CVE-2026-1111, GHSA-..., RHSA-...
	Aliases  []string // its other names
	Severity Severity
	Fix      Fix
	Fixed    string // the versions that fix it, as the scanner writes them; may be empty
	Package  string // may be empty: some formats don't tell
	Version  string
	PURL     string // the package's URL, where it is told
}

// Secret is a secret that was found: never the secret itself.
type Secret struct {
	Rule     string // which rule of the scanner found it
	File     string // where
	Severity Severity
}

// Scanner is the tool's name in lower case, told from the shape of its result: trivy, grype; of the in-toto types, which have a shape of
// their own, the last segment of the scanner's URI.
func (s *Scan) Scanner() string { return s.scanner }

// ScannerVersion is the tool's version, if it is told.
func (s *Scan) ScannerVersion() string { return s.version }

// Started is when the scan began, if it is told.
func (s *Scan) Started() time.Time { return s.started }

// Time implements Facts: when the scan finished; the earlier, where the document tells it twice. Where it tells when it began alone, that.
func (s *Scan) Time() time.Time {
	if s.finished.IsZero() {
		return s.started
	}
	return s.finished
}

// Database is when the scanner's vulnerability database was built or last updated; zero if that isn't told.
func (s *Scan) Database() time.Time { return s.database }

// SoughtVulnerabilities tells whether the document shows that vulnerabilities were looked for. One that didn't can't be clean of them.
func (s *Scan) SoughtVulnerabilities() bool { return s.soughtVulnerabilities }

// SoughtSecrets tells whether the document shows that secrets were looked for.
func (s *Scan) SoughtSecrets() bool { return s.soughtSecrets }

// Len is the number of findings.
func (s *Scan) Len() int { return len(s.findings) }

// Finding returns a finding by its number.
func (s *Scan) Finding(i int) Finding {
	f := s.findings[i]
	out := Finding{
		ID: s.words.at(f.id), Severity: f.severity, Fix: f.fix, Fixed: s.words.at(f.fixed),
		Package: s.words.at(f.pkg), Version: s.words.at(f.version), PURL: s.words.at(f.purl),
	}
	for _, a := range s.aliases[f.from:f.to] {
		out.Aliases = append(out.Aliases, s.words.at(a))
	}
	return out
}

// ID is the identifier of a finding.
func (s *Scan) ID(i int) string { return s.words.at(s.findings[i].id) }

// Judge returns the severity of a finding and what is known of its fix, without the rest.
func (s *Scan) Judge(i int) (Severity, Fix) { return s.findings[i].severity, s.findings[i].fix }

// Count is the number of findings of a severity; those alone that can be fixed, or of which that isn't told, if fixable is set.
func (s *Scan) Count(severity Severity, fixable bool) int {
	if int(severity) >= Severities {
		return 0
	}
	if fixable {
		return s.counts[severity][1]
	}
	return s.counts[severity][0]
}

// Named appends to dst the numbers of the findings that go by a name, be it identifier or alias, without regard to case.
func (s *Scan) Named(dst []int, name string) []int {
	i, _ := slices.BinarySearchFunc(s.mentions, name, func(m mention, name string) int { return foldCompare(s.words.at(m.name), name) })
	for ; i < len(s.mentions) && foldCompare(s.words.at(s.mentions[i].name), name) == 0; i++ {
		dst = append(dst, int(s.mentions[i].finding))
	}
	return dst
}

// Secrets returns the secrets that were found.
func (s *Scan) Secrets() []Secret {
	var out []Secret
	for _, x := range s.secrets {
		out = append(out, Secret{Rule: s.words.at(x.rule), File: s.words.at(x.file), Severity: x.severity})
	}
	return out
}

// Size implements Facts.
func (s *Scan) Size() int64 {
	const own, finding, secret = 320, 36, 12
	return own + s.words.size() + int64(cap(s.findings))*finding + int64(cap(s.aliases))*4 + int64(cap(s.mentions))*8 +
		int64(cap(s.secrets))*secret + int64(len(s.scanner)+len(s.version))
}

func (s *Scan) facts() {}

// words holds many short texts, each once, in one string. The zero word is the empty text.
type words struct {
	text string
	ends []uint32 // text of word w is text[ends[w-1]:ends[w]]
}

type word uint32

func (w words) at(i word) string {
	if i == 0 {
		return ""
	}
	return w.text[w.ends[i-1]:w.ends[i]]
}

func (w words) size() int64 { return int64(len(w.text)) + int64(cap(w.ends))*4 }

// foldCompare compares without regard to the case of ASCII letters.
func foldCompare(a, b string) int {
	for i := range min(len(a), len(b)) {
		if x, y := upper(a[i]), upper(b[i]); x != y {
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}
