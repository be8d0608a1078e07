package predicate

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	imageDigest = "9f2c0c8f9b8ed27d8e2d8b7a29a1cb7fe56ba6b9d1dc0f3fb48dc6d36b0c5a11"
	otherDigest = "1111111111111111111111111111111111111111111111111111111111111111"
)

// vexDoc is a document of some statements.
func vexDoc(statements ...string) string {
	return `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://openvex.dev/docs/example/x","author":"a","timestamp":"2026-11-01T00:00:00Z","version":1,"statements":[` +
		strings.Join(statements, ",") + `]}`
}

func mustVEX(t testing.TB, text string) *VEX {
	t.Helper()
	f, err := Read(TypeOpenVEX, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f.(*VEX)
}

// enough is work for any finding of these tests.
func enough() *Work {
	work := Work(1 << 20)
	return &work
}

// scanOf is a scan with one finding.
func scanOf(t testing.TB, f Finding) *Scan {
	t.Helper()
	b := newScanBuilder()
	if err := b.add(&f); err != nil {
		t.Fatal(err)
	}
	s, err := b.done()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// opinions are what a document says of a finding in imageDigest.
func opinions(t testing.TB, v *VEX, f Finding) []Opinion {
	t.Helper()
	return v.Opinions(nil, scanOf(t, f), 0, enough(), imageDigest)
}

func TestAnOpenVEXDocumentIsRead(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/vex/openvex-0.2.0.json")
	if err != nil {
		t.Fatal(err)
	}
	v := mustVEX(t, string(text))
	if v.Len() != 4 || v.Author() != "security@example.com" || !v.Time().Equal(time.Date(2026, 11, 2, 0, 2, 3, 647787998, time.UTC)) {
		t.Errorf("%d statements by %s at %s", v.Len(), v.Author(), v.Time())
	}
	openssl := Finding{ID: "CVE-2026-1111", PURL: "pkg:apk/alpine/openssl@3.0.1-r0?arch=x86_64&distro=3.19.1"}
	want := []Opinion{
		{VEXUnderInvestigation, time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), onePart(0), onePart(0)},
		{VEXNotAffected, v.Time(), onePart(0), onePart(0)},
	}
	if diff := cmp.Diff(want, opinions(t, v, openssl)); diff != "" {
		t.Error(diff)
	}
	old, err := os.ReadFile("testdata/vex/openvex-0.0.1.json")
	if err != nil {
		t.Fatal(err)
	}
	zlib := Finding{ID: "CVE-2026-2222", PURL: "pkg:apk/alpine/zlib@1.2-r0"}
	if got := opinions(t, mustVEX(t, string(old)), zlib); len(got) != 1 || got[0].Status != VEXNotAffected || got[0].Sure.Empty() {
		t.Errorf("version 0.0: %v", got)
	}
}

func TestAVEXStatementIsAboutAFinding(t *testing.T) {
	t.Parallel()
	finding := Finding{ID: "CVE-1-1", Aliases: []string{"GHSA-x", "RHSA-7"}, PURL: "pkg:apk/alpine/zlib@1.2-r0?arch=x86_64"}
	advisory := Finding{ID: "RHSA-7", Aliases: []string{"CVE-1-1"}, PURL: finding.PURL}
	untold := Finding{ID: "CVE-1-1"}
	statement := func(vulnerability, products string) string {
		return `{"vulnerability":` + vulnerability + `,"status":"fixed"` + products + `}`
	}
	products := func(list string) string { return statement(`{"name":"CVE-1-1"}`, `,"products":[`+list+`]`) }
	image := `"hashes":{"sha-256":"` + imageDigest + `"}`
	for what, tc := range map[string]struct {
		f    Finding
		text string
		want string // sure, unsure or "" for nothing
	}{
		"without products":                     {finding, statement(`{"name":"CVE-1-1"}`, ``), "sure"},
		"with an empty list of products":       {finding, statement(`{"name":"CVE-1-1"}`, `,"products":[]`), "sure"},
		"by an alias of the finding":           {finding, statement(`{"name":"GHSA-x"}`, ``), "sure"},
		"by an alias of the statement":         {finding, statement(`{"name":"SNYK-1","aliases":["cve-1-1"]}`, ``), "sure"},
		"by the vulnerability's IRI":           {finding, statement(`{"@id":"https://nvd.nist.gov/vuln/detail/CVE-1-1"}`, ``), "sure"},
		"another vulnerability":                {finding, statement(`{"name":"CVE-1-2"}`, ``), ""},
		"another CVE of the same advisory":     {finding, statement(`{"name":"CVE-1-2","aliases":["RHSA-7"]}`, ``), "unsure"},
		"the advisory's own CVE":               {advisory, statement(`{"name":"CVE-1-1","aliases":["RHSA-7"]}`, ``), "sure"},
		"another CVE than the advisory's":      {advisory, statement(`{"name":"CVE-1-2","aliases":["RHSA-7"]}`, ``), "unsure"},
		"the advisory itself":                  {advisory, statement(`{"name":"RHSA-7"}`, ``), "sure"},
		"a CVE that is merely its alias":       {Finding{ID: "CVE-1-1", Aliases: []string{"CVE-1-2"}}, statement(`{"name":"CVE-1-2"}`, ``), "unsure"},
		"a CVE of an advisory that tells none": {Finding{ID: "ELSA-7"}, statement(`{"name":"CVE-1-2","aliases":["ELSA-7"]}`, ``), "unsure"},
		"the CVE of a record of one":           {Finding{ID: "GHSA-x"}, statement(`{"name":"CVE-1-2","aliases":["GHSA-x"]}`, ``), "sure"},
		"the image by hash":                    {finding, products(`{"@id":"https://x",` + image + `}`), "sure"},
		"the image by its URL":                 {finding, products(`{"@id":"pkg:oci/api@sha256%3A` + imageDigest + `?repository_url=x"}`), "sure"},
		"the image by its identifier":          {finding, products(`{"identifiers":{"purl":"pkg:oci/api@sha256:` + imageDigest + `"}}`), "sure"},
		"the image by its name":                {finding, products(`{"@id":"registry.example.com/api@sha256:` + imageDigest + `"}`), "sure"},
		"another image":                        {finding, products(`{"@id":"pkg:oci/api@sha256%3A` + otherDigest + `"}`), ""},
		"some version of an image":             {finding, products(`{"@id":"pkg:oci/api?repository_url=x"}`), "unsure"},
		"another hash, and our name":           {finding, products(`{"@id":"pkg:oci/api","hashes":{"sha-256":"` + otherDigest + `"}}`), ""},
		"the image, and the package in it":     {finding, products(`{` + image + `,"subcomponents":[{"@id":"pkg:apk/alpine/zlib@1.2-r0"}]}`), "sure"},
		"the image, and another package in it": {finding, products(`{` + image + `,"subcomponents":[{"@id":"pkg:apk/alpine/bash@1.2-r0"}]}`), ""},
		"the image, and one of two packages":   {finding, products(`{` + image + `,"subcomponents":[{"@id":"pkg:apk/alpine/bash@1"},{"@id":"pkg:apk/alpine/zlib"}]}`), "sure"},
		"a package, of a finding in none":      {untold, products(`{` + image + `,"subcomponents":[{"@id":"pkg:apk/alpine/zlib@1.2-r0"}]}`), "unsure"},
		"the package":                          {finding, products(`{"@id":"pkg:apk/alpine/zlib@1.2-r0"}`), "sure"},
		"the package in any version":           {finding, products(`{"@id":"pkg:apk/alpine/zlib"}`), "sure"},
		"the package in another version":       {finding, products(`{"@id":"pkg:apk/alpine/zlib@1.3-r0"}`), ""},
		"the package of another architecture":  {finding, products(`{"@id":"pkg:apk/alpine/zlib@1.2-r0?arch=armv7"}`), ""},
		"a package of another distribution":    {finding, products(`{"@id":"pkg:apk/wolfi/zlib@1.2-r0"}`), ""},
		"something in the package":             {finding, products(`{"@id":"pkg:apk/alpine/zlib@1.2-r0","subcomponents":[{"@id":"pkg:generic/x@1"}]}`), "unsure"},
		"one of several products":              {finding, products(`{"@id":"pkg:apk/alpine/bash@1"},{"@id":"pkg:apk/alpine/zlib@1.2-r0"}`), "sure"},
		"a product that is only a name":        {finding, products(`{"@id":"https://example.com/product"}`), "unsure"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			got := ""
			for _, o := range opinions(t, mustVEX(t, vexDoc(tc.text)), tc.f) {
				if got = "unsure"; !o.Sure.Empty() {
					got = "sure"
				}
			}
			if got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestAVEXDocumentThatSaysTooLittleIsNone(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct{ text, says string }{
		"nothing":                           {`{}`, "@context"},
		"of another context":                {strings.Replace(vexDoc(`{"vulnerability":{"name":"CVE-1-1"},"status":"fixed"}`), "openvex.dev/ns/", "openvex.devil/ns/", 1), "@context"},
		"without statements":                {`{"@context":"https://openvex.dev/ns","timestamp":"2026-11-01T00:00:00Z"}`, "statements: absent"},
		"with no statement":                 {vexDoc(), "statements: absent or empty"},
		"statements of null":                {strings.Replace(vexDoc(), "[]", "null", 1), "not a list but null"},
		"a statement about nothing":         {vexDoc(`{"status":"fixed"}`), "no name"},
		"a statement that says nothing":     {vexDoc(`{"vulnerability":{"name":"CVE-1-1"}}`), "status"},
		"a status that isn't one":           {vexDoc(`{"vulnerability":{"name":"CVE-1-1"},"status":"Fixed"}`), "status"},
		"not affected, without a reason":    {vexDoc(`{"vulnerability":{"name":"CVE-1-1"},"status":"not_affected"}`), "without justification"},
		"not affected, by a reason of none": {vexDoc(`{"vulnerability":{"name":"CVE-1-1"},"status":"not_affected","justification":"because"}`), "justification"},
		"no time":                           {strings.Replace(vexDoc(`{"vulnerability":{"name":"CVE-1-1"},"status":"fixed"}`), `"timestamp":"2026-11-01T00:00:00Z",`, "", 1), "no timestamp"},
		"a status twice":                    {vexDoc(`{"vulnerability":{"name":"CVE-1-1"},"status":"affected","status":"fixed"}`), "twice"},
		"a status in another case":          {vexDoc(`{"vulnerability":{"name":"CVE-1-1"},"Status":"affected","status":"fixed"}`), `"Status" for "status"`},
	} {
		if _, err := Read(TypeOpenVEX, []byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", what, err, tc.says)
		}
	}
	if _, err := Read(TypeOpenVEX, []byte(vexDoc(`{"vulnerability":{"name":"CVE-1-1"},"status":"not_affected","impact_statement":"no"}`))); err != nil {
		t.Errorf("an impact statement is a reason: %v", err)
	}
}

// TestVEXIsUnderstoodAsGoVEXDoes compares what applies to a finding with the answers of the reference implementation (go-vex v0.2.9,
// vex.Parse and VEX.Matches, for the same statements). It is no dependency: it would bring modules that nothing else needs.
func TestVEXIsUnderstoodAsGoVEXDoes(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/vex/oracle/go-vex.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Product, Subcomponent, Package string
		Applies                        bool
	}
	if err := json.Unmarshal(text, &rows); err != nil || len(rows) < 50 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows {
		subcomponents := ""
		if row.Subcomponent != "" {
			subcomponents = fmt.Sprintf(`,"subcomponents":[{"@id":%q}]`, row.Subcomponent)
		}
		v := mustVEX(t, vexDoc(fmt.Sprintf(`{"vulnerability":{"name":"CVE-1-1"},"products":[{"@id":%q%s}],"status":"fixed"}`, row.Product, subcomponents)))
		got := slices.ContainsFunc(opinions(t, v, Finding{ID: "CVE-1-1", PURL: row.Package}), func(o Opinion) bool { return !o.Sure.Empty() })
		if got != row.Applies {
			t.Errorf("%+v: %v", row, got)
		}
	}
}

func TestWhatAVEXDocumentMayHoldIsBounded(t *testing.T) {
	t.Parallel()
	many := make([]string, MaxStatements+1)
	for i := range many {
		many[i] = fmt.Sprintf(`{"vulnerability":{"name":"CVE-1-%d"},"status":"fixed"}`, i)
	}
	if _, err := Read(TypeOpenVEX, []byte(vexDoc(many...))); err == nil {
		t.Error("more statements than there may be are read")
	}
	v := mustVEX(t, vexDoc(many[:MaxStatements]...))
	if v.Len() != MaxStatements || v.Size() > 4<<20 {
		t.Errorf("%d statements in %d bytes", v.Len(), v.Size())
	}
	if got := opinions(t, v, Finding{ID: "CVE-1-19999"}); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func FuzzOpenVEX(f *testing.F) {
	files, err := filepath.Glob("testdata/vex/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("nothing to begin with")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := Read(TypeOpenVEX, text)
		if err != nil {
			if strings.Contains(err.Error(), "makes its reader fail") {
				t.Fatal(err)
			}
			return
		}
		v := got.(*VEX)
		if v.Len() == 0 || v.Time().IsZero() {
			t.Errorf("%d statements at %s", v.Len(), v.Time())
		}
		for _, o := range opinions(t, v, Finding{ID: "CVE-2026-1111", PURL: "pkg:apk/alpine/openssl@3.0.1-r0"}) {
			if o.At.IsZero() {
				t.Error("an opinion without a time")
			}
		}
	})
}

func FuzzPURL(f *testing.F) {
	f.Add("pkg:npm/%40scope/left@1.0.0", "pkg:npm/%40scope/left@1.0.0?arch=x")
	f.Add("pkg:apk/alpine/zlib", "pkg:apk/alpine/zlib@1#sub")
	f.Fuzz(func(t *testing.T, a, b string) {
		samePackage(a, b)
		if _, _, _, ok := splitPURL(a); ok && !samePackage(a, a) && !strings.Contains(a, "?") {
			t.Errorf("%q isn't itself", a)
		}
	})
}
