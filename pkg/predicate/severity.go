package predicate

import (
	"strconv"
	"strings"
)

// Severity is how bad a finding is, as a scanner says. The zero Severity is unknown; of two others, the larger is worse.
type Severity uint8

// The severities.
const (
	SeverityUnknown Severity = iota
	SeverityNegligible
	SeverityLow
	SeverityMedium
	SeverityHigh
	SeverityCritical

	// Severities is how many there are.
	Severities = int(SeverityCritical) + 1
)

// String returns the severity in one lower-case word, as policies write it.
func (s Severity) String() string {
	switch s {
	case SeverityCritical:
		return "critical"
	case SeverityHigh:
		return "high"
	case SeverityMedium:
		return "medium"
	case SeverityLow:
		return "low"
	case SeverityNegligible:
		return "negligible"
	case SeverityUnknown:
	}
	return "unknown"
}

// ParseSeverity reads one of the words that String returns, without regard to case.
func ParseSeverity(word string) (Severity, bool) {
	for s := range Severity(Severities) {
		if strings.EqualFold(word, s.String()) {
			return s, true
		}
	}
	return SeverityUnknown, false
}

// severityWord reads what scanners and vendors write for a severity: the words themselves, those of Red Hat (important, moderate), of GitHub
// (moderate) and of GitLab (info). A word that isn't known is an unknown severity, and no error: what counts is that there is a finding.
func severityWord(word string) Severity {
	word = strings.TrimSpace(word)
	if s, ok := ParseSeverity(word); ok {
		return s
	}
	switch strings.ToLower(word) {
	case "important":
		return SeverityHigh
	case "moderate":
		return SeverityMedium
	case "minor":
		return SeverityLow
	case "info", "informational":
		return SeverityNegligible
	}
	return SeverityUnknown
}

// severityScore reads a CVSS score by the bands of CVSS 3: 9.0 critical, 7.0 high, 4.0 medium, above 0 low. 0 is what tools write where they
// know none, and so unknown, as is what is no score.
func severityScore(score string) Severity {
	n, err := strconv.ParseFloat(strings.TrimSpace(score), 64)
	switch {
	case err != nil || !(n > 0 && n <= 10):
		return SeverityUnknown
	case n >= 9:
		return SeverityCritical
	case n >= 7:
		return SeverityHigh
	case n >= 4:
		return SeverityMedium
	}
	return SeverityLow
}
