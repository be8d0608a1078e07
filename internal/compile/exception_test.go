package compile

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// excusing is the spec of an ImageException that ends on a day.
func excusing(expires string) string {
	return "owner: payments@corp.example\nreason: not reachable\nexpires: '" + expires + "'\nimages: [registry.example.com/payments/api]\nids: [CVE-2024-3094]\n"
}

// exception is an ImageException of the namespace payments.
func exception(name, spec string) string {
	return "apiVersion: pratique.dev/v1alpha1\nkind: ImageException\nmetadata: {name: " + name + ", namespace: payments}\nspec:\n" + indent(spec, 2) + "\n"
}

func madeOn(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func compiledOf(t testing.TB, spec string, made time.Time) compiledException {
	t.Helper()
	return compileException(t.Context(), toJSON(t, exception("xz", spec)), policy.Name{Namespace: "payments", Name: "xz"}, made)
}

func TestAnExceptionSaysWhatItsObjectSays(t *testing.T) {
	t.Parallel()
	made := madeOn(t, "2026-11-22T10:00:00Z")
	c := compiledOf(t, "owner: \"pay\\nments\"\nreason: not reachable\nexpires: '2026-12-31'\nimages: [registry.example.com/payments/**]\nids: [CVE-2024-3094, GHSA-7ww5-4wqc-m92c]\n", made)
	e := c.exception
	if e == nil {
		t.Fatalf("%+v", c.report)
	}
	if e.Name.String() != "payments/xz" || e.Owner != "pay ments" || e.Reason != "not reachable" || !e.Created.Equal(made) || !e.Until.Equal(madeOn(t, "2027-01-01T00:00:00Z")) {
		t.Errorf("%+v", e)
	}
	if diff := cmp.Diff([]string{"CVE-2024-3094", "GHSA-7ww5-4wqc-m92c"}, e.IDs); diff != "" {
		t.Error(diff)
	}
	for image, want := range map[string]policy.Match{
		"registry.example.com/payments/api:1": policy.MatchYes, "registry.example.com/shop/api:1": policy.MatchNo,
	} {
		ref, err := policy.ParseReference(image)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Images.Match(ref, verifytest.Digest("x")); got != want {
			t.Errorf("%s: %v", image, got)
		}
	}
}

// TestRow20_AnExceptionEndsAtLast90DaysAfterItWasMade, whatever it says, and however it reached etcd.
func TestRow20_AnExceptionEndsAtLast90DaysAfterItWasMade(t *testing.T) {
	t.Parallel()
	made := madeOn(t, "2026-11-22T10:00:00Z")
	const over = ", 90 days after it was made, which is before the end of spec.expires"
	for _, tt := range []struct{ name, expires, until, note string }{
		{"a date is good through its day, in UTC", "2026-12-31", "2027-01-01T00:00:00Z", ""},
		{"a leap day", "2028-02-29", "2027-02-20T10:00:00Z", over},
		{"a time", "2026-12-31T12:00:00+02:00", "2026-12-31T10:00:00Z", ""},
		{"a time in lower case", "2026-12-31t12:00:00z", "2026-12-31T12:00:00Z", ""},
		{"the date of the last day, whose end is later", "2027-02-20", "2027-02-20T10:00:00Z", over},
		{"the day after the last", "2027-02-21", "2027-02-20T10:00:00Z", over},
		{"a century", "2126-01-01", "2027-02-20T10:00:00Z", over},
		{"a second too long", "2027-02-20T10:00:01Z", "2027-02-20T10:00:00Z", over},
		{"the last second", "2027-02-20T10:00:00Z", "2027-02-20T10:00:00Z", ""},
		{"before it was made", "2026-11-01", "2026-11-02T00:00:00Z", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, until := compiledOf(t, excusing(tt.expires), made), madeOn(t, tt.until)
			if c.exception == nil || !c.exception.Until.Equal(until) || !c.report.Until.Equal(until) || c.note != tt.note {
				t.Fatalf("%+v %+v", c, c.exception)
			}
			last, ended := c.at(until.Add(-1)), c.at(until)
			if last.Reason != ReasonInForce || last.Message != "in force until "+tt.until+tt.note {
				t.Errorf("%+v", last)
			}
			if ended.Reason != ReasonExpired || !strings.HasPrefix(ended.Message, "it ended "+tt.until+tt.note+", and excuses nothing any more") {
				t.Errorf("%+v", ended)
			}
		})
	}
}

// badExceptions are specs that no exception may have, with the field that is named and the cure.
func badExceptions() map[string]struct{ spec, at, says string } {
	good := excusing("2026-12-31")
	with := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	many := func(n int, format string) string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf(format, i))
		}
		return "[" + strings.Join(out, ", ") + "]"
	}
	return map[string]struct{ spec, at, says string }{
		"an unknown field":             {good + "severities: [low]\n", `unknown field "spec.severities"`, "want owner, reason, expires, images, ids"},
		"a field in another case":      {with("owner:", "Owner:"), `unknown field "spec.Owner"`, "did you mean owner?"},
		"no owner":                     {with("owner: payments@corp.example", "owner: ' '"), "spec.owner", "say who answers for the exception"},
		"a long owner":                 {with("payments@corp.example", strings.Repeat("x", 257)), "spec.owner", "257 bytes, at most 256"},
		"no reason":                    {with("reason: not reachable\n", ""), "spec.reason", "say why"},
		"a long reason":                {with("not reachable", strings.Repeat("x", 513)), "spec.reason", "513 bytes, at most 512"},
		"no end":                       {with("'2026-12-31'", "''"), "spec.expires", "write a date"},
		"an end that is no date":       {with("2026-12-31", "tomorrow"), "spec.expires", "want a date, such as 2027-01-31"},
		"an end that is no day":        {with("2026-12-31", "2026-02-30"), "spec.expires", "want a date"},
		"an end without a zone":        {with("2026-12-31", "2026-12-31T10:00:00"), "spec.expires", "or a time of RFC 3339"},
		"no images":                    {with("[registry.example.com/payments/api]", "[]"), "spec.images", "say which images"},
		"an image without a host":      {with("registry.example.com/payments/api", "api"), "spec.images[0]", "want HOST/PATH"},
		"too many images":              {with("[registry.example.com/payments/api]", many(65, "a.example/b%d")), "spec.images", "at most 64"},
		"no ids":                       {with("[CVE-2024-3094]", "[]"), "spec.ids", "name the vulnerabilities"},
		"too many ids":                 {with("[CVE-2024-3094]", many(65, "CVE-2024-1%03d")), "spec.ids", "at most 64"},
		"one id twice":                 {with("[CVE-2024-3094]", "[CVE-2024-3094, CVE-2024-3094]"), "spec.ids[1]", "Duplicate"},
		"an id of no known grammar":    {with("CVE-2024-3094", "'*'"), "spec.ids[0]", "wildcards don't count"},
		"a CVE id that isn't one":      {with("CVE-2024-3094", "CVE-24-3094"), "spec.ids[0]", "no CVE id: write it whole"},
		"a CVE id in lower case":       {with("CVE-2024-3094", "cve-2024-3094"), "spec.ids[0]", "no CVE id"},
		"a CVE id with a wildcard":     {with("CVE-2024-3094", "'CVE-2024-*'"), "spec.ids[0]", "no CVE id"},
		"a GHSA id that isn't one":     {with("CVE-2024-3094", "GHSA-7ww5-4wqc"), "spec.ids[0]", "no GHSA id: write it whole"},
		"a GHSA id with other letters": {with("CVE-2024-3094", "GHSA-aeio-4wqc-m92c"), "spec.ids[0]", "no GHSA id"},
		"a long id":                    {with("CVE-2024-3094", "A-"+strings.Repeat("1", 64)), "spec.ids[0]", "66 bytes, at most 64"},
		"a list that is text":          {with("[CVE-2024-3094]", "CVE-2024-3094"), "spec.ids", "want list of text"},
	}
}

// TestRow20_AnExceptionThatCantBeReadExcusesNothing, and is refused where it is written: a file, and /validate-policy.
func TestRow20_AnExceptionThatCantBeReadExcusesNothing(t *testing.T) {
	t.Parallel()
	made := madeOn(t, "2026-11-22T10:00:00Z")
	for name, tt := range badExceptions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := compiledOf(t, tt.spec, made)
			r := c.at(made)
			if c.exception != nil || r.Reason != ReasonInvalidField || !strings.HasPrefix(r.Message, "it excuses nothing: ") || !strings.Contains(r.Message, tt.at) {
				t.Errorf("%+v", r)
			}
			problems, _ := Install{Now: func() time.Time { return made }}.Check(toJSON(t, exception("xz", tt.spec)))
			if all := strings.Join(problems, "\n"); len(problems) != 1 || !strings.Contains(all, tt.at) || !strings.Contains(all, tt.says) {
				t.Errorf("/validate-policy: %q, want %q and %q", problems, tt.at, tt.says)
			}
			if _, err := load(t, exception("xz", tt.spec)); err == nil || !strings.Contains(err.Error(), tt.at) {
				t.Errorf("in a file: %v", err)
			}
		})
	}
	for name, c := range map[string]compiledException{
		"no creation":  compiledOf(t, excusing("2026-12-31"), time.Time{}),
		"no JSON":      compileException(t.Context(), nil, policy.Name{}, made),
		"another kind": compileException(t.Context(), toJSON(t, namespaced(allowAll)), policy.Name{}, made),
	} {
		if c.exception != nil || c.at(made).Reason != ReasonInvalidField {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestIDsOfEveryKindAreKnown(t *testing.T) {
	t.Parallel()
	for _, id := range []string{
		"CVE-2024-3094", "CVE-2021-44228", "CVE-2024-1234567", "GHSA-7ww5-4wqc-m92c", "GO-2024-2687", "RUSTSEC-2021-0001", "PYSEC-2021-76", "DLA-1234-1",
		"DSA-5000-1", "USN-6000-1", "RHSA-2021:1234", "ELSA-2021-1234", "ALAS2-2021-1700", "SUSE-SU-2023:0001-1", "TEMP-0841856-B18BAF", "SNYK-JS-LODASH-450202",
		"CGA-2v4q-x3m5-9c2f", "MAL-2024-1", "BIT-nginx-2024-7347", "UBUNTU-CVE-2024-3094", "openSUSE-SU-2023:0001-1",
	} {
		if err := checkVulnerabilityID(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	for _, id := range []string{"", "*", "openssl", "CVE", "CVE-", "CVE-2024", "CVE-2024-123", "CVE-2024-3094 ", " CVE-2024-3094", "CVE-2024-3094,CVE-2024-3095", "GHSA-", "-1", "A-", "A--1", "2024-1", "GO-2024-\n1"} {
		if err := checkVulnerabilityID(id); err == nil {
			t.Errorf("%q is taken for an id", id)
		}
	}
}

// TestRow20_WhatIsWrittenIsToEnd within 90 days of when it was made, which the API server says and nobody else.
func TestRow20_WhatIsWrittenIsToEnd(t *testing.T) {
	t.Parallel()
	now := madeOn(t, "2026-11-22T10:00:00Z")
	const long, over = "later than 90 days after the exception was made: write %s or earlier", "is over, so that it would excuse nothing"
	for _, tt := range []struct{ name, expires, made, want string }{
		{"tomorrow", "2026-11-23", "", ""},
		{"today, which isn't over", "2026-11-22", "", ""},
		{"the 90th day", "2027-02-20", "", ""},
		{"the 91st day", "2027-02-21", "", fmt.Sprintf(long, "2027-02-20")},
		{"90 days and a second", "2027-02-20T10:00:01Z", "", fmt.Sprintf(long, "2027-02-20")},
		{"yesterday", "2026-11-21", "", over},
		{"a second ago", "2026-11-22T09:59:59Z", "", over},
		{"now", "2026-11-22T10:00:00Z", "", over},
		{"counted from when it was made", "2027-02-20", "2026-11-21T10:00:00Z", fmt.Sprintf(long, "2027-02-19")},
		{"made at a time to come", "2027-02-21", "2027-01-01T00:00:00Z", fmt.Sprintf(long, "2027-02-20")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := exception("xz", excusing(tt.expires))
			if tt.made != "" {
				text = strings.Replace(text, "name: xz", "name: xz, creationTimestamp: '"+tt.made+"'", 1)
			}
			problems, _ := Install{Now: func() time.Time { return now }}.Check(toJSON(t, text))
			got := strings.Join(problems, "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) || tt.want != "" && !strings.HasPrefix(got, "spec.expires: ") {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestWarningsOfExceptions(t *testing.T) {
	t.Parallel()
	spec := strings.Replace(excusing("2026-12-31"), "[registry.example.com/payments/api]", "['**', a.example/b, a.example/b]", 1)
	check := func(text string) []string {
		problems, warnings := Install{Now: func() time.Time { return madeOn(t, "2026-11-22T10:00:00Z") }}.Check(toJSON(t, text))
		if len(problems) > 0 {
			t.Errorf("%q", problems)
		}
		return warnings
	}
	want := []string{
		"spec.images[0]: any image of any host is excused; name those that you have looked at",
		"spec.images[2]: is there twice",
	}
	made := strings.Replace(exception("xz", spec), "name: xz", "name: xz, creationTimestamp: '2026-11-22T10:00:00Z'", 1)
	for _, text := range []string{made, exception("xz", spec)} { // as files have it: made when it is applied
		if diff := cmp.Diff(want, check(text)); diff != "" {
			t.Error(diff)
		}
	}
	for _, text := range want {
		if len(text) > maxWarning {
			t.Errorf("%d bytes: %s", len(text), text)
		}
	}
	ended := mustDecode(t, exception("xz", excusing("2026-11-21")))
	if diff := cmp.Diff([]string{"spec.expires: ended at 2026-11-22T00:00:00Z, so that it excuses nothing"}, warningsAt(ended, madeOn(t, "2026-11-22T10:00:00Z"))); diff != "" {
		t.Error(diff)
	}
	loosened := clusterWide("namespaceExceptions: {severities: [low]}\n" + allowAll)
	if diff := cmp.Diff([]string{"spec.namespaceExceptions: means nothing without require.vulnerabilities, all that exceptions loosen"}, check(loosened)[1:]); diff != "" {
		t.Error(diff)
	}
}
