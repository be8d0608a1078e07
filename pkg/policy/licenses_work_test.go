package policy

import (
	"fmt"
	"strings"
	"testing"
)

// many returns n packages of one licence, whose names begin with a prefix.
func many(n int, prefix, license string) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%s%d 1: %s", prefix, i, license))
	}
	return out
}

// excuses returns as many exceptions as there may be, each of a package that isn't there, which is told only at the end of its name.
func excuses() (out []LicenseException) {
	for i := range MaxLicenseRules {
		out = append(out, LicenseException{Package: "*" + strings.Repeat("a", 200) + fmt.Sprintf("b%d", i), License: "*GPL-*", Reason: "r", Expires: "2027-01-31"})
	}
	return out
}

func TestLicenceWorkIsBoundedWhateverTheSBOMHolds(t *testing.T) {
	t.Parallel()
	var search []string
	for i := range MaxLicenseRules {
		search = append(search, "*"+strings.Repeat("a", 200)+fmt.Sprintf("b%d*", i))
	}
	texts := func(n, size int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("p%d 1: %s %d", i, strings.Repeat("a", size), i))
		}
		return out
	}
	for name, c := range map[string]struct {
		rules    LicenseRules
		packages []string
		want     Reason
		most     int // steps
	}{
		"names of four kilobytes":               {LicenseRules{Deny: []string{"GPL-*"}, Exceptions: excuses()}, many(40, strings.Repeat("a", 4000), "GPL-3.0-only"), LicenseDenied, 10_000},
		"as many as there are in a large image": {LicenseRules{Deny: []string{"GPL-*"}, Exceptions: excuses()}, many(3000, "a", "GPL-3.0-only"), LicenseDenied, 10_000_000},
		"long names without end":                {LicenseRules{Deny: []string{"GPL-*"}, Exceptions: excuses()}, many(2000, strings.Repeat("a", 500), "GPL-3.0-only"), TooLarge, maxLicenseWork + 1000},
		"texts of 60 KiB":                       {LicenseRules{Deny: search, Unknown: "Deny"}, texts(4, 60_000), LicenseUnknown, 4 * 256 * 60_100},
		"texts of 60 KiB without end":           {LicenseRules{Deny: search, Unknown: "Allow"}, texts(20, 60_000), TooLarge, maxLicenseWork + 61_000},
		"a glob that searches with ?": {LicenseRules{Deny: []string{"*a?" + strings.Repeat("a", 200) + "b*"}, Unknown: "Allow"}, texts(20, 60_000),
			TooLarge, maxLicenseWork + 61_000*256},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := work{left: maxLicenseWork}
			got := licensesOf(t, c.rules).judgeWithin(licensed(t, c.packages...), today(), &w)
			if got.Reason != c.want || got.Outcome.Passes() {
				t.Errorf("%s %s (%s), want %s", got.Outcome, got.Reason, got.Detail, c.want)
			}
			if spent := maxLicenseWork - w.left; spent > c.most {
				t.Errorf("it takes %d steps, want at most %d", spent, c.most)
			}
			if got.Reason == TooLarge && !strings.Contains(got.Detail, "takes too much to judge by its licences: ") {
				t.Errorf("it says only %q", got.Detail)
			}
		})
	}
}

func TestLicenceIdentifierIsHeldAgainstExceptionsOnce(t *testing.T) {
	t.Parallel()
	spent := func(n int) int {
		var packages []string
		for i := range n { // licences that differ, of the same identifier
			packages = append(packages, fmt.Sprintf("p%d 1: %sGPL-3.0-only", i, strings.Repeat("GPL-3.0-only AND ", i)))
		}
		var exceptions []LicenseException
		for i := range MaxLicenseRules {
			exceptions = append(exceptions, LicenseException{Package: "none", License: fmt.Sprintf("*x%d", i), Reason: "r", Expires: "2027-01-31"})
		}
		w := work{left: maxLicenseWork}
		licensesOf(t, LicenseRules{Deny: []string{"GPL-*"}, Exceptions: exceptions}).judgeWithin(licensed(t, packages...), today(), &w)
		return maxLicenseWork - w.left
	}
	few, more := spent(2), spent(40)
	if most := few + 38*(MaxLicenseRules+40); more > most {
		t.Errorf("%d steps of 2 licences, %d of 40 that have the same identifier, want at most %d", few, more, most)
	}
}

func TestLicenceOfWhatIsTooLongToNameIsNotExcused(t *testing.T) {
	t.Parallel()
	rules := LicenseRules{Deny: []string{"GPL-*", "LicenseRef-*"}, Exceptions: []LicenseException{{Package: "*", License: "*", Reason: "all of it", Expires: "2027-01-31"}}}
	long := strings.Repeat("a", MaxGlobName)
	for pkg, want := range map[string]Reason{
		"a 1: GPL-3.0-only":             Verified,
		long + " 1: GPL-3.0-only":       Verified,
		long + "a 1: GPL-3.0-only":      LicenseDenied,
		"a 1: LicenseRef-" + long[:500]: Verified,
		"a 1: LicenseRef-" + long:       LicenseDenied,
	} {
		if got := licensesOf(t, rules).judge(licensed(t, pkg), today()); got.Reason != want {
			t.Errorf("%.40s, of %d bytes: %s %s, want %s", pkg, len(pkg), got.Reason, got.Detail, want)
		}
	}
	only := LicenseRules{Allow: []string{"LicenseRef-*"}}
	if got := licensesOf(t, only).judge(licensed(t, "a 1: LicenseRef-"+long), today()); got.Reason != LicenseDenied {
		t.Errorf("an identifier of more bytes than bound is allowed: %s", got.Reason)
	}
	if got := licensesOf(t, LicenseRules{Deny: []string{"*-end"}}).judge(licensed(t, "a 1: LicenseRef-"+long+"-end"), today()); got.Reason != LicenseDenied {
		t.Errorf("an identifier is too long to be denied: %s", got.Reason)
	}
}
