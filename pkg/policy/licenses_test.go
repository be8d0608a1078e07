package policy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// licensed returns the facts of an SBOM of packages "name version: licence".
func licensed(t testing.TB, packages ...string) *predicate.SBOM {
	t.Helper()
	type spdx struct {
		Name    string `json:"name"`
		Version string `json:"versionInfo"`
		License string `json:"licenseDeclared,omitempty"`
	}
	var all []spdx
	for _, p := range packages {
		who, license, _ := strings.Cut(p, ": ")
		name, version, _ := strings.Cut(who, " ")
		all = append(all, spdx{name, version, license})
	}
	text, err := json.Marshal(map[string]any{"spdxVersion": "SPDX-2.3", "packages": all})
	if err != nil {
		t.Fatal(err)
	}
	return sbomOf(t, predicate.TypeSPDX, text)
}

func sbomOf(t testing.TB, predicateType string, text []byte) *predicate.SBOM {
	t.Helper()
	f, err := predicate.Read(predicateType, text)
	if err != nil {
		t.Fatal(err)
	}
	return f.(*predicate.SBOM)
}

func licensesOf(t testing.TB, rules LicenseRules) *licenses {
	t.Helper()
	l, err := newLicenses(rules)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func today() time.Time { return time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC) }

func TestLicenceExpressionUnderBansAndAllowances(t *testing.T) {
	t.Parallel()
	gpl := LicenseRules{Deny: []string{"GPL-*", "AGPL-*"}, Unknown: "Deny"}
	only := LicenseRules{Allow: []string{"MIT", "Apache-2.0", "BSD-*"}, Unknown: "Deny"}
	for _, c := range []struct {
		rules   LicenseRules
		license string
		want    Reason
	}{
		{gpl, "MIT", Verified},
		{gpl, "mit", Verified},
		{gpl, "GPL-3.0-or-later", LicenseDenied},
		{gpl, "gpl-3.0-or-later", LicenseDenied},
		{gpl, "GPL-2.0+", LicenseDenied},
		{gpl, "LGPL-2.1-only", Verified},
		{gpl, "AGPL-3.0-only", LicenseDenied},
		{gpl, "MIT OR GPL-2.0", Verified},
		{gpl, "GPL-2.0 OR MIT", Verified},
		{gpl, "MIT AND GPL-2.0", LicenseDenied},
		{gpl, "(MIT OR GPL-2.0) AND BSD-3-Clause", Verified},
		{gpl, "(MIT AND GPL-2.0) OR (GPL-3.0-only AND ISC)", LicenseDenied},
		{gpl, "MPL-1.1 OR GPL-2.0-or-later OR LGPL-2.1-or-later", Verified},
		{gpl, "GPL-2.0-only WITH Classpath-exception-2.0", LicenseDenied},
		{gpl, "GPL-2.0-with-classpath-exception", LicenseDenied},
		{gpl, "GPL-2.0 or later", LicenseDenied},
		{gpl, "GPL-2.0 OR SomethingOfMine", LicenseDenied},
		{gpl, "GPL-2.0-only OR LicenseRef-commercial", LicenseUnknown},
		{gpl, "GPL-3.0-only, MIT", LicenseDenied},
		{gpl, "MIT/GPL-2.0", LicenseDenied},
		{gpl, "MIT, GPL-3", LicenseDenied},
		{gpl, "Apache-2.0 / GPL-3", LicenseDenied},
		{gpl, "MIT+GPL-3", LicenseDenied},
		{gpl, "GPL-3", LicenseDenied},
		{gpl, "ours, but GPL-compatible", LicenseUnknown},
		{LicenseRules{Deny: []string{"GPLv*"}}, "MIT, GPLv3", LicenseDenied},
		{gpl, "GPLv2+ or later", LicenseUnknown},
		{gpl, "Public Domain", LicenseUnknown},
		{gpl, "NOASSERTION", LicenseUnknown},
		{gpl, "NONE", LicenseUnknown},
		{gpl, "", LicenseUnknown},
		{gpl, "LicenseRef-acme", LicenseUnknown},
		{gpl, "MIT OR LicenseRef-acme", Verified},
		{gpl, "MIT AND LicenseRef-acme", LicenseUnknown},
		{gpl, "MIT WITH Commons-Clause", LicenseUnknown},
		{gpl, "MIT OR NOASSERTION", Verified},
		{only, "MIT", Verified},
		{only, "BSD-3-Clause AND MIT", Verified},
		{only, "BSD-3-Clause AND Zlib", LicenseDenied},
		{only, "Zlib OR MIT", Verified},
		{only, "Zlib", LicenseDenied},
		{only, "LicenseRef-acme", LicenseDenied},
		{only, "BSD-like, but not for war", LicenseUnknown},
		{only, "Apache-2.0 WITH LLVM-exception", Verified},
		{LicenseRules{Allow: []string{"MIT", "LicenseRef-acme*"}, Unknown: "Deny"}, "LicenseRef-acme-1 AND MIT", Verified},
		{LicenseRules{Allow: []string{"Public Domain"}, Unknown: "Deny"}, "public domain", Verified},
		{LicenseRules{Allow: []string{"Public*"}, Unknown: "Deny"}, "Public Domain", LicenseUnknown},
		{LicenseRules{Deny: []string{"Public*"}}, "Public Domain", LicenseDenied},
		{LicenseRules{Deny: []string{"NOASSERTION"}, Unknown: "Allow"}, "", LicenseDenied},
		{LicenseRules{Deny: []string{"MIT"}, Allow: []string{"*"}}, "MIT", LicenseDenied},
		{LicenseRules{Deny: []string{"LicenseRef-*"}}, "DocumentRef-a:LicenseRef-b", Verified}, // Warn, below
		{LicenseRules{Deny: []string{"*LicenseRef-*"}}, "DocumentRef-a:LicenseRef-b", LicenseDenied},
		{LicenseRules{Unknown: "Allow"}, "GPL-3.0-only", Verified},
		{LicenseRules{Unknown: "Allow"}, "NOASSERTION", Verified},
	} {
		got := licensesOf(t, c.rules).judge(licensed(t, "a 1: "+c.license), today())
		if got.Reason != c.want || got.Outcome.Passes() != (c.want == Verified) {
			t.Errorf("%q under %+v: %s %s (%s), want %s", c.license, c.rules, got.Outcome, got.Reason, got.Detail, c.want)
		}
	}
}

func TestLicencesOfWhatSyftWroteAreToldOneWayInBothFormats(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"syft-spdx-2.3.json", "syft-cyclonedx-1.6.json"} {
		text, err := os.ReadFile(filepath.Join("..", "predicate", "testdata", "sbom", file))
		if err != nil {
			t.Fatal(err)
		}
		predicateType := predicate.TypeSPDX
		if strings.Contains(file, "cyclonedx") {
			predicateType = predicate.TypeCycloneDX
		}
		got := licensesOf(t, LicenseRules{Deny: []string{"GPL-*"}}).judge(sbomOf(t, predicateType, text), today())
		const denied = "3 packages under denied licences: bash 5.2.15-2+b8 (GPL-2.0-only, GPL-2.0-or-later, 2 more), netbase 6.4 (GPL-2.0-only), " +
			"libreadline8 8.2-1.3 (GPL-2.0-only, GPL-2.0-or-later, 2 more)"
		if got.Reason != LicenseDenied || !sameWords(got.Detail, denied) {
			t.Errorf("%s: %s %s", file, got.Reason, got.Detail)
		}
		if len(got.Warnings) != 1 || !strings.HasPrefix(got.Warnings[0].Text, "5 packages of unknown licence: ") {
			t.Errorf("%s: warnings %+v", file, got.Warnings)
		}
	}
}

func TestLicenceIsDeniedByTheNameOfItsReference(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "predicate", "testdata", "sbom", "trivy-spdx-2.3.json"))
	if err != nil {
		t.Fatal(err)
	}
	s := sbomOf(t, predicate.TypeSPDX, text)
	got := licensesOf(t, LicenseRules{Deny: []string{"GFDL-*"}, Unknown: "Allow"}).judge(s, today())
	if want := "1 package under denied licences: libreadline8 8.2-1.3 (LicenseRef-b64d7e2e0c8c7c64, called gfdl-niv-1.3+)"; got.Reason != LicenseDenied || got.Detail != want {
		t.Errorf("%s %s, want %s", got.Reason, got.Detail, want)
	}
	if got := licensesOf(t, LicenseRules{Allow: []string{"GFDL-*", "GPL-*", "ISC"}, Unknown: "Allow"}).judge(s, today()); got.Reason != LicenseDenied {
		t.Errorf("a name that the document gives a reference allows it: %s", got.Reason)
	}
}

// sameWords compares lists whose order hangs on how a format writes a licence.
func sameWords(a, b string) bool {
	count := func(s string) map[string]int {
		out := map[string]int{}
		for _, w := range strings.Fields(strings.ReplaceAll(s, "),", ")")) {
			out[w]++
		}
		return out
	}
	return cmp.Equal(count(a), count(b))
}

func TestLicenceMessagesCountAndNameTheFirst(t *testing.T) {
	t.Parallel()
	s := licensed(t, "readline 8.2: GPL-3.0-or-later", "bash 5: GPL-3.0-or-later", "zlib 1: Zlib", "odd: x y z", "none 1:", "a 1: GPL-2.0-only", "b 1: GPL-2.0-only", "c 1: GPL-2.0-only")
	for unknown, want := range map[string]Result{
		"Allow": {Outcome: Violated, Reason: LicenseDenied,
			Detail: "5 packages under denied licences: a 1 (GPL-2.0-only), b 1 (GPL-2.0-only), c 1 (GPL-2.0-only), bash 5 (GPL-3.0-or-later), 1 more"},
		"Warn": {Outcome: Violated, Reason: LicenseDenied,
			Detail:   "5 packages under denied licences: a 1 (GPL-2.0-only), b 1 (GPL-2.0-only), c 1 (GPL-2.0-only), bash 5 (GPL-3.0-or-later), 1 more",
			Warnings: []Warning{{Reason: LicenseUnknown, Text: "2 packages of unknown licence: none 1: (NOASSERTION), odd (x y z)"}}},
		"Deny": {Outcome: Violated, Reason: LicenseDenied,
			Detail: "5 packages under denied licences: a 1 (GPL-2.0-only), b 1 (GPL-2.0-only), c 1 (GPL-2.0-only), bash 5 (GPL-3.0-or-later), 1 more; " +
				"2 packages of unknown licence: none 1: (NOASSERTION), odd (x y z)"},
	} {
		got := licensesOf(t, LicenseRules{Deny: []string{"GPL-*"}, Unknown: unknown}).judge(s, today())
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("unknown: %s (-want +got):\n%s", unknown, diff)
		}
	}
}

func TestLicenceMessageIsPlainWhateverThePackageIsCalled(t *testing.T) {
	t.Parallel()
	got := licensesOf(t, LicenseRules{Deny: []string{"GPL-*"}}).judge(licensed(t, "evil\n\x1b[31m 1: GPL-2.0-only"), today())
	if strings.ContainsAny(got.Detail, "\n\x1b") {
		t.Errorf("%q", got.Detail)
	}
}

func TestLicenceExceptionExcusesAPackageUntilItExpires(t *testing.T) {
	t.Parallel()
	at := func(text string) time.Time {
		out, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	const pkg = "readline 8.2: GPL-3.0-or-later"
	one := LicenseException{Package: "readline*", License: "GPL-3.0-or-later", Reason: "build time only", Expires: "2027-01-31"}
	as := func(change func(*LicenseException)) LicenseException {
		e := one
		change(&e)
		return e
	}
	end := at("2027-02-01T00:00:00Z")
	for name, c := range map[string]struct {
		packages   []string
		exceptions []LicenseException
		unknown    string
		now        string
		want       Reason
		says       string
		warns      string
		until      time.Time
	}{
		"excused":                             {packages: []string{pkg}, exceptions: []LicenseException{one}, now: "2026-12-01T00:00:00Z", want: Verified, until: end},
		"excused, and warned of near its end": {packages: []string{pkg}, exceptions: []LicenseException{one}, now: "2027-01-18T00:00:00Z", want: Verified, until: end, warns: "exception ends 2027-01-31: readline* (GPL-3.0-or-later)"},
		"a moment before, not warned of":      {packages: []string{pkg}, exceptions: []LicenseException{one}, now: "2027-01-17T23:59:59Z", want: Verified, until: end},
		"excused through its last day":        {packages: []string{pkg}, exceptions: []LicenseException{one}, now: "2027-01-31T23:59:59Z", want: Verified, until: end, warns: "ends"},
		"expired":                             {packages: []string{pkg}, exceptions: []LicenseException{one}, now: "2027-02-01T00:00:00Z", want: LicenseDenied, says: "readline 8.2 (GPL-3.0-or-later); exception ended 2027-01-31: readline* (GPL-3.0-or-later)"},
		"of RFC 3339, before": {packages: []string{pkg}, exceptions: []LicenseException{as(func(e *LicenseException) { e.Expires = "2027-01-31T12:00:00+02:00" })},
			now: "2027-01-31T09:59:59Z", want: Verified, warns: "exception ends 2027-01-31", until: at("2027-01-31T10:00:00Z")},
		"of RFC 3339, after": {packages: []string{pkg}, exceptions: []LicenseException{as(func(e *LicenseException) { e.Expires = "2027-01-31T12:00:00+02:00" })},
			now: "2027-01-31T10:00:00Z", want: LicenseDenied, says: "ended"},
		"for another package":             {packages: []string{pkg}, exceptions: []LicenseException{as(func(e *LicenseException) { e.Package = "bash" })}, now: "2026-12-01T00:00:00Z", want: LicenseDenied},
		"for the package in another case": {packages: []string{pkg}, exceptions: []LicenseException{as(func(e *LicenseException) { e.Package = "Readline" })}, now: "2026-12-01T00:00:00Z", want: LicenseDenied},
		"for another licence":             {packages: []string{pkg}, exceptions: []LicenseException{as(func(e *LicenseException) { e.License = "GPL-2.0-only" })}, now: "2026-12-01T00:00:00Z", want: LicenseDenied},
		"for licences by a glob":          {packages: []string{pkg}, exceptions: []LicenseException{as(func(e *LicenseException) { e.License = "gpl-*" })}, now: "2026-12-01T00:00:00Z", want: Verified, until: end},
		"for one of two denied licences": {packages: []string{"readline 8.2: GPL-3.0-or-later AND GPL-2.0-only"}, exceptions: []LicenseException{one},
			now: "2027-01-30T00:00:00Z", want: LicenseDenied},
		"for both, by two exceptions": {packages: []string{"readline 8.2: GPL-3.0-or-later AND GPL-2.0-only"},
			exceptions: []LicenseException{one, as(func(e *LicenseException) { e.License, e.Expires = "GPL-2.0-only", "2026-12-31" })},
			now:        "2026-12-01T00:00:00Z", want: Verified, until: at("2027-01-01T00:00:00Z")},
		"for both, as written": {packages: []string{"readline 8.2: GPL-3.0-or-later AND GPL-2.0-only"},
			exceptions: []LicenseException{as(func(e *LicenseException) { e.License = "GPL-3.0-or-later and GPL-2.0-only" })}, now: "2026-12-01T00:00:00Z", want: Verified, until: end},
		"a glob has nothing to say of the rest": {packages: []string{"readline 8.2: GPL-3.0-or-later AND AGPL-3.0-only"},
			exceptions: []LicenseException{as(func(e *LicenseException) { e.License = "GPL-*" })}, now: "2026-12-01T00:00:00Z", want: LicenseDenied},
		"for one package of two": {packages: []string{pkg, "bash 5: GPL-3.0-or-later"}, exceptions: []LicenseException{one}, now: "2026-12-01T00:00:00Z", want: LicenseDenied,
			says: "1 package under denied licences: bash 5 (GPL-3.0-or-later)"},
		"for a licence nobody named": {packages: []string{"odd 1"}, unknown: "Deny", exceptions: []LicenseException{{Package: "odd", License: "NOASSERTION", Reason: "ours", Expires: "2027-01-31"}},
			now: "2026-12-01T00:00:00Z", want: Verified, until: end},
		"for a text": {packages: []string{"odd 1: GPLv2+, or so"}, unknown: "Deny", exceptions: []LicenseException{{Package: "odd", License: "GPLv2+, or so", Reason: "ours", Expires: "2027-01-31"}},
			now: "2026-12-01T00:00:00Z", want: Verified, until: end},
		"a warning spared is nothing to rest on": {packages: []string{"odd 1"}, exceptions: []LicenseException{{Package: "odd", License: "NOASSERTION", Reason: "ours", Expires: "2027-01-31"}},
			now: "2026-12-01T00:00:00Z", want: Verified},
		"one that isn't needed isn't used": {packages: []string{"readline 8.2: MIT"}, exceptions: []LicenseException{as(func(e *LicenseException) { e.License = "MIT" })}, now: "2027-01-31T00:00:00Z", want: Verified},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := LicenseRules{Deny: []string{"GPL-*", "AGPL-*"}, Unknown: c.unknown, Exceptions: c.exceptions}
			got := licensesOf(t, rules).judge(licensed(t, c.packages...), at(c.now))
			if got.Reason != c.want || got.Outcome.Passes() != (c.want == Verified) || !strings.Contains(got.Detail, c.says) {
				t.Errorf("%s %s: %s, want %s with %q", got.Outcome, got.Reason, got.Detail, c.want, c.says)
			}
			if !got.Until.Equal(c.until) {
				t.Errorf("until %s, want %s", got.Until, c.until)
			}
			switch {
			case c.warns == "" && len(got.Warnings) > 0:
				t.Errorf("warnings %+v, want none", got.Warnings)
			case c.warns != "" && (len(got.Warnings) != 1 || got.Warnings[0].Reason != ExceptionEnding || !strings.Contains(got.Warnings[0].Text, c.warns)):
				t.Errorf("warnings %+v, want one with %q", got.Warnings, c.warns)
			}
		})
	}
}

func TestLicenceRulesThatSayNothingUsefulAreRefused(t *testing.T) {
	t.Parallel()
	good := LicenseException{Package: "a", License: "MIT", Reason: "r", Expires: "2027-01-31"}
	with := func(change func(*LicenseException)) LicenseRules {
		e := good
		change(&e)
		return LicenseRules{Exceptions: []LicenseException{good, e}}
	}
	for name, c := range map[string]struct {
		rules LicenseRules
		want  string
	}{
		"an empty glob":             {LicenseRules{Deny: []string{"MIT", ""}}, "deny[1]: empty"},
		"an expression as a glob":   {LicenseRules{Allow: []string{"MIT OR ISC"}}, `allow[0]: "MIT OR ISC" is an expression`},
		"an exception to a glob":    {LicenseRules{Deny: []string{"GPL-2.0-only WITH Classpath-exception-2.0"}}, "deny[0]: "},
		"too many globs":            {LicenseRules{Deny: make([]string, MaxLicenseRules+1)}, "deny: 257 globs, want at most 256"},
		"too many exceptions":       {LicenseRules{Exceptions: make([]LicenseException, MaxLicenseRules+1)}, "exceptions: 257, want at most 256"},
		"unknown of no such word":   {LicenseRules{Unknown: "warn"}, `unknown: "warn", want Allow, Warn or Deny`},
		"no package":                {with(func(e *LicenseException) { e.Package = "" }), "exceptions[1].package: empty"},
		"no licence":                {with(func(e *LicenseException) { e.License = "" }), "exceptions[1].license: empty"},
		"no reason":                 {with(func(e *LicenseException) { e.Reason = " " }), "exceptions[1].reason: empty"},
		"no end":                    {with(func(e *LicenseException) { e.Expires = "" }), "exceptions[1].expires: "},
		"an end that is no date":    {with(func(e *LicenseException) { e.Expires = "never" }), "exceptions[1].expires: "},
		"a date that doesn't exist": {with(func(e *LicenseException) { e.Expires = "2027-02-30" }), "exceptions[1].expires: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := newLicenses(c.rules); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want %q", err, c.want)
			}
		})
	}
}

// manyLicences is an SBOM of 3,000 packages under some hundred distinct licences, none of which the rules of BenchmarkLicences deny.
func manyLicences(t testing.TB) *predicate.SBOM {
	t.Helper()
	ids := []string{"MIT", "Apache-2.0", "BSD-3-Clause", "BSD-2-Clause", "ISC", "Zlib", "MPL-2.0", "LGPL-2.1-only", "LGPL-3.0-or-later", "curl", "Unlicense", "X11", "PSF-2.0", "Artistic-2.0"}
	var all []string
	for i := range 3000 {
		license := ids[i%len(ids)]
		switch i % 3 {
		case 1:
			license += " OR GPL-2.0-or-later"
		case 2:
			license = "(" + license + " AND " + ids[(i/len(ids))%len(ids)] + ") OR GPL-3.0-only WITH GCC-exception-3.1"
		}
		all = append(all, fmt.Sprintf("package-%d 1.%d: %s", i, i%5, license))
	}
	return licensed(t, all...)
}

func TestLicencesAreJudgedWithFewAllocations(t *testing.T) {
	s := manyLicences(t)
	l := licensesOf(t, LicenseRules{Deny: []string{"GPL-*", "AGPL-*", "SSPL-*"}})
	if r := l.judge(s, today()); r.Outcome != Satisfied || len(s.Licenses()) < 100 {
		t.Fatalf("%d licences: %+v", len(s.Licenses()), r)
	}
	if n := testing.AllocsPerRun(20, func() { l.judge(s, today()) }); n > 4 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLicences(b *testing.B) {
	s := manyLicences(b)
	l := licensesOf(b, LicenseRules{Deny: []string{"GPL-*", "AGPL-*", "SSPL-*"}, Exceptions: []LicenseException{
		{Package: "readline*", License: "GPL-3.0-or-later", Reason: "build time only", Expires: "2027-01-31"}}})
	b.ReportAllocs()
	for b.Loop() {
		if !l.judge(s, today()).Outcome.Passes() {
			b.Fatal("refused")
		}
	}
}
