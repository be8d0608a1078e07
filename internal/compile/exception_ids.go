package compile

import (
	"fmt"
	"regexp"
	"strings"
)

// The grammar of vulnerabilities' ids. The two kinds that most are known by are spelled as their registries do, since what is misspelled
// excuses nothing; the rest are those of distributions and of ecosystems, each a prefix and what follows it: RHSA-2021:1234,
// DLA-1234-1, GO-2024-2687, RUSTSEC-2021-0001, TEMP-0841856-B18BAF. None has a wildcard.
var (
	cveID   = regexp.MustCompile(`^CVE-[0-9]{4}-[0-9]{4,19}$`)
	ghsaID  = regexp.MustCompile(`^GHSA(-[23456789cfghjmpqrvwx]{4}){3}$`)
	otherID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*([-:._][A-Za-z0-9]+)+$`)
)

// maxVulnerabilityID bounds an id, in bytes: the longest are those of distributions' advisories, of some forty.
const maxVulnerabilityID = 64

// checkVulnerabilityID says what is wrong with an id that an exception names.
func checkVulnerabilityID(id string) error {
	prefix, _, _ := strings.Cut(id, "-")
	switch {
	case len(id) > maxVulnerabilityID:
		return fmt.Errorf("%d bytes, at most %d: write one id, for instance CVE-2024-3094", len(id), maxVulnerabilityID)
	case strings.EqualFold(prefix, "CVE"):
		if !cveID.MatchString(id) {
			return fmt.Errorf("%.64q is no CVE id: write it whole, for instance CVE-2024-3094", id)
		}
	case strings.EqualFold(prefix, "GHSA"):
		if !ghsaID.MatchString(id) {
			return fmt.Errorf("%.64q is no GHSA id: write it whole, for instance GHSA-7ww5-4wqc-m92c", id)
		}
	case !otherID.MatchString(id):
		return fmt.Errorf("%.64q is no vulnerability's id: write one as the scanner tells it, for instance CVE-2024-3094 or GHSA-7ww5-4wqc-m92c; wildcards don't count", id)
	}
	return nil
}
