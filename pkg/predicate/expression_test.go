package predicate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/github/go-spdx/v2/spdxexp"
)

// written writes a compiled licence with all its parentheses.
func written(t *terms, x expression) string {
	var stack []string
	for _, op := range x {
		word := ""
		switch op {
		case opAnd:
			word = " AND "
		case opOr:
			word = " OR "
		default:
			term := t.all[op]
			stack = append(stack, []string{"unsaid", "", "ref", "text", "mention"}[term.Kind]+"<"+term.ID+">")
			continue
		}
		n := len(stack)
		stack = append(stack[:n-2], "("+stack[n-2]+word+stack[n-1]+")")
	}
	return strings.Join(stack, " | ")
}

func TestLicenseIsReadAsWhatItSays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"MIT":                   "<mit>",
		"mit":                   "<mit>",
		" ( MIT ) ":             "<mit>",
		"MIT OR GPL-2.0":        "(<mit> OR <gpl-2.0>)",
		"MIT or GPL-2.0":        "(<mit> OR <gpl-2.0>)",
		"MIT AND ISC OR Zlib":   "((<mit> AND <isc>) OR <zlib>)",
		"MIT OR ISC AND Zlib":   "(<mit> OR (<isc> AND <zlib>))",
		"(MIT OR ISC)AND(Zlib)": "((<mit> OR <isc>) AND <zlib>)",
		"MIT OR ISC OR Zlib":    "((<mit> OR <isc>) OR <zlib>)",
		"GPL-2.0+":              "<gpl-2.0+>",
		"GPL-2.0-or-later":      "<gpl-2.0-or-later>",
		"Apache-1.1+":           "<apache-1.1+>",
		"GPL-2.0-only WITH Classpath-exception-2.0":        "<gpl-2.0-only>",
		"GPL-2.0-only with classpath-exception-2.0":        "<gpl-2.0-only>",
		"Apache-2.0 WITH LLVM-exception OR MIT":            "(<apache-2.0> OR <mit>)",
		"MIT WITH Commons-Clause":                          "(<mit> AND text<mit with commons-clause>)",
		"GPL-2.0-with-classpath-exception":                 "<gpl-2.0-with-classpath-exception>",
		"LicenseRef-acme":                                  "ref<licenseref-acme>",
		"DocumentRef-spdx-tool-1.2:LicenseRef-MIT-Style-2": "ref<documentref-spdx-tool-1.2:licenseref-mit-style-2>",
		"MIT AND LicenseRef-scancode-public-domain":        "(<mit> AND ref<licenseref-scancode-public-domain>)",
		"NOASSERTION":                      "unsaid<noassertion>",
		"none":                             "unsaid<none>",
		"":                                 "unsaid<noassertion>",
		"NOASSERTION AND MIT":              "(unsaid<noassertion> AND <mit>)",
		"GPLv2":                            "text<gplv2>",
		"GPLv2+ or later":                  "(text<gplv2+> OR text<later>)",
		"GPL-2.0 or later":                 "(<gpl-2.0> OR text<later>)",
		"Public Domain":                    "text<public domain>",
		"Apache License, Version 2.0":      "text<apache license, version 2.0>",
		"GPL-3.0-only, MIT.":               "((text<gpl-3.0-only, mit.> AND mention<gpl-3.0-only>) AND mention<mit>)",
		"MIT/GPL-2.0+":                     "((text<mit/gpl-2.0+> AND mention<mit>) AND mention<gpl-2.0+>)",
		"GPL-2.0 with classpath exception": "(text<gpl-2.0 with classpath exception> AND mention<gpl-2.0>)",
		"MIT MIT MIT":                      "(text<mit mit mit> AND mention<mit>)",
		"MIT OR":                           "(text<mit or> AND mention<mit>)",
		"AND":                              "text<and>",
		"(MIT":                             "(text<(mit> AND mention<mit>)",
		"MIT)":                             "(text<mit)> AND mention<mit>)",
		"()":                               "text<()>",
		"+":                                "text<+>",
		"MIT WITH":                         "(text<mit with> AND mention<mit>)",
		"LicenseRef-":                      "text<licenseref->",
		"DocumentRef-a:MIT":                "((text<documentref-a:mit> AND mention<documentref-a>) AND mention<mit>)",
		"MIT, GPL-3":                       "((text<mit, gpl-3> AND mention<mit>) AND mention<gpl-3>)",
		"Apache-2.0 / GPLv3":               "((text<apache-2.0 / gplv3> AND mention<apache-2.0>) AND mention<gplv3>)",
		"MIT+GPL-3":                        "((text<mit+gpl-3> AND mention<mit+>) AND mention<gpl-3>)",
		"ours, GPL-compatible":             "text<ours, gpl-compatible>",
		"since 2001-2004, -- 3.0":          "text<since 2001-2004, -- 3.0>",
		"Lizenz f\u00fcr alle":             "text<lizenz f\u00fcr alle>",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			var all terms
			x, err := all.license(strings.TrimSpace(text))
			if err != nil {
				t.Fatal(err)
			}
			if got := written(&all, x); got != want {
				t.Errorf("%q is read as %s, want %s", text, got, want)
			}
			for n := range all.all {
				if !strings.Contains(want, all.all[n].ID) {
					t.Errorf("%q leaves the term %q behind", text, all.all[n].ID)
				}
			}
		})
	}
}

func TestLicenseBeyondItsBoundsIsRefused(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat("(MIT OR ISC AND ", n) + "Zlib" + strings.Repeat(")", n) }
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"as deep as may be":      {nested(MaxLicenseDepth), nil},
		"deeper":                 {nested(MaxLicenseDepth + 1), errTooDeep},
		"as many terms":          {strings.Repeat("MIT AND ", MaxLicenseTerms-1) + "MIT", nil},
		"more terms":             {strings.Repeat("MIT AND ", MaxLicenseTerms) + "MIT", errTooManyTerms},
		"a text as long":         {strings.Repeat("x", MaxLicense), nil},
		"a whole licence's text": {strings.Repeat("MIT and other words, ", 3000), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all terms
			x, err := all.license(c.text)
			if !errors.Is(err, c.want) {
				t.Fatalf("err = %v, want %v", err, c.want)
			}
			if err == nil && x.standing(func(uint32) Standing { return StandingGood }) != StandingGood {
				t.Errorf("all of it is good, but not the whole")
			}
		})
	}
}

func TestLicenseOffersOnlyTheChoicesItHas(t *testing.T) {
	t.Parallel()
	const d, s, u, g = StandingDenied, StandingUnread, StandingUnknown, StandingGood
	for _, c := range []struct {
		text string
		a, b Standing
		want Standing
	}{
		{"MIT OR ISC", d, g, g}, {"MIT AND ISC", d, g, d},
		{"MIT OR ISC", d, u, u}, {"MIT AND ISC", u, g, u},
		{"MIT OR ISC", d, s, d}, {"MIT OR ISC", s, d, d}, {"MIT OR ISC", s, g, g}, {"MIT OR ISC", s, u, u},
		{"MIT AND ISC", s, d, d}, {"MIT AND ISC", s, u, s},
		{"MIT OR ISC OR ISC", d, s, d}, {"ISC OR MIT OR ISC", d, s, d}, {"(ISC OR MIT) AND ISC", d, g, g},
		{"MIT AND ISC OR MIT", d, g, d}, {"MIT AND (ISC OR MIT)", d, g, d},
	} {
		var all terms
		x, err := all.license(c.text)
		if err != nil {
			t.Fatal(err)
		}
		got := x.standing(func(term uint32) Standing {
			if all.all[term].ID == "mit" {
				return c.a
			}
			return c.b
		})
		if got != c.want {
			t.Errorf("%s with MIT %d and ISC %d: %d, want %d", c.text, c.a, c.b, got, c.want)
		}
	}
}

func TestLicenseOfNothingIsDenied(t *testing.T) {
	t.Parallel()
	if got := expression(nil).standing(func(uint32) Standing { return StandingGood }); got != StandingDenied {
		t.Errorf("no expression: %d", got)
	}
}

func TestLicenseIsJudgedWithoutAllocating(t *testing.T) {
	var all terms
	x, err := all.license("(MIT AND ISC) OR GPL-3.0-only WITH GCC-exception-3.1 OR (LicenseRef-a AND (Zlib OR curl))")
	if err != nil {
		t.Fatal(err)
	}
	standings := make([]Standing, len(all.all))
	if n := testing.AllocsPerRun(100, func() { x.standing(func(term uint32) Standing { return standings[term] }) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// oracleTerms are identifiers that go-spdx takes for nothing but themselves: none is within a range of versions with another. There are no
// references among them: go-spdx v2.7.0 tells them apart by case, and says that "LicenseRef-acme OR MIT" isn't satisfied by LicenseRef-acme and ISC.
var oracleTerms = []string{"MIT", "ISC", "Zlib", "X11", "curl", "BSD-3-Clause", "NTP", "Unlicense"}

// agrees holds what we think of an expression to what go-spdx thinks, for each choice of allowed identifiers; both is false where it can't tell.
func agrees(t *testing.T, text string, allowed uint8) (both bool) {
	t.Helper()
	var all terms
	x, err := all.license(strings.TrimSpace(text))
	if err != nil {
		return false
	}
	for _, term := range all.all {
		if !containsFold(oracleTerms, term.ID) {
			return false
		}
	}
	if turns(x) > 2 { // go-spdx v2.7.0 says that "MIT AND (ISC OR Zlib) OR X11" isn't satisfied by MIT and Zlib
		return false
	}
	var list []string
	for i, id := range oracleTerms {
		if allowed&(1<<i) != 0 {
			list = append(list, id)
		}
	}
	if len(list) == 0 || strings.Contains(strings.ToUpper(text), "WITH") { // an exception is part of the licence for go-spdx
		return false
	}
	want, err := spdxexp.Satisfies(text, list)
	if err != nil {
		return false // it takes no operators in mixed case
	}
	got := x.standing(func(term uint32) Standing {
		if containsFold(list, all.all[term].ID) {
			return StandingGood
		}
		return StandingDenied
	}) == StandingGood
	if got != want {
		t.Errorf("%q with %v allowed: %v, go-spdx says %v", text, list, got, want)
	}
	return true
}

// turns is how often AND and OR turn into each other on the way down.
func turns(x expression) int {
	type node struct {
		op uint32
		n  int
	}
	var stack []node
	for _, op := range x {
		if op != opAnd && op != opOr {
			stack = append(stack, node{})
			continue
		}
		n := len(stack)
		out := node{op, 1}
		for _, below := range stack[n-2:] {
			if below.op != op {
				below.n++
			}
			out.n = max(out.n, below.n)
		}
		stack = append(stack[:n-2], out)
	}
	return stack[0].n
}

func containsFold(all []string, id string) bool {
	for _, a := range all {
		if strings.EqualFold(a, id) {
			return true
		}
	}
	return false
}

func TestLicenseMeansWhatGoSPDXSaysItMeans(t *testing.T) {
	t.Parallel()
	both := 0
	for _, text := range []string{
		"MIT", "MIT OR ISC", "MIT AND ISC", "MIT OR ISC AND Zlib", "(MIT OR ISC) AND Zlib", "MIT AND (ISC OR Zlib) OR X11",
		"(MIT AND ISC) OR (Zlib AND X11)", "NTP OR MIT", "Unlicense AND MIT", "((MIT))",
		"MIT AND MIT AND (curl OR (BSD-3-Clause AND (MIT OR NTP)))",
	} {
		for allowed := range 256 {
			if agrees(t, text, uint8(allowed)) {
				both++
			}
		}
	}
	if both < 2000 {
		t.Errorf("go-spdx could judge only %d", both)
	}
}

func FuzzLicenseExpression(f *testing.F) {
	for _, text := range []string{
		"MIT", "MIT OR GPL-2.0", "(MIT AND ISC) OR Zlib", "GPLv2+ or later", "GPL-2.0 WITH Classpath-exception-2.0", "NOASSERTION", "Public Domain",
		"DocumentRef-other:LicenseRef-acme AND (X11 OR curl)", "((((MIT))))", "MIT/Apache-2.0, or GPL-2.0+",
	} {
		f.Add(text, uint8(0x55))
	}
	f.Fuzz(func(t *testing.T, text string, allowed uint8) {
		var all terms
		x, err := all.license(text)
		if err != nil {
			return
		}
		for _, s := range []Standing{StandingDenied, StandingUnread, StandingUnknown, StandingGood} {
			if got := x.standing(func(uint32) Standing { return s }); got != s {
				t.Errorf("%q: all of it stands at %d, the whole at %d", text, s, got)
			}
		}
		// better terms never make a worse licence
		low := x.standing(func(n uint32) Standing { return Standing(n+uint32(allowed)) % 4 })
		high := x.standing(func(n uint32) Standing { return min(StandingGood, Standing(n+uint32(allowed))%4+1) })
		if high < low {
			t.Errorf("%q: %d with better terms, %d before", text, high, low)
		}
		agrees(t, text, allowed)
	})
}

func fuzzSBOM(f *testing.F, pattern, predicateType string) {
	files, err := filepath.Glob(filepath.Join("testdata", "sbom", pattern))
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(fmt.Appendf(nil, "%q", text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		facts, err := Read(predicateType, text)
		if err != nil {
			if strings.Contains(err.Error(), "makes its reader fail") {
				t.Error(err)
			}
			return
		}
		s := facts.(*SBOM)
		packages := 0
		for _, l := range s.Licenses() {
			n := 0
			for p := range l.All() {
				if n++; p.Name == "" {
					t.Error("a package without a name")
				}
			}
			if n != l.Packages || n == 0 || l.Text == "" {
				t.Errorf("%q has %d packages, and says %d", l.Text, n, l.Packages)
			}
			packages += n
			if l.Standing(func(uint32) Standing { return StandingGood }) != StandingGood {
				t.Errorf("%q can't be judged", l.Text)
			}
			for term := range l.Terms() {
				if int(term) >= len(s.Terms()) {
					t.Errorf("%q has a term that isn't", l.Text)
				}
			}
		}
		if packages != s.Packages() || s.Version() == "" || s.Size() <= 0 {
			t.Errorf("%d packages, and says %d", packages, s.Packages())
		}
		again, err := Read(predicateType, text)
		if err != nil || told(again.(*SBOM)) != told(s) {
			t.Errorf("read again, it tells something else: %v", err)
		}
	})
}

func FuzzSPDX(f *testing.F)      { fuzzSBOM(f, "*spdx*.json", TypeSPDX) }
func FuzzCycloneDX(f *testing.F) { fuzzSBOM(f, "*cyclonedx*.json", TypeCycloneDX) }
