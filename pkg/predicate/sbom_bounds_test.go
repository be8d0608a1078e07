package predicate

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const spdx3Head = `{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[`

func TestSBOMsThatSayTwoThingsAreRefused(t *testing.T) {
	t.Parallel()
	const license = `{"type":"simplelicensing_LicenseExpression","spdxId":"L","simplelicensing_licenseExpression":"GPL-3.0-only"}`
	const has = `{"type":"Relationship","relationshipType":"hasConcludedLicense",`
	many := `["L"` + strings.Repeat(`,"L"`, MaxLicenseTerms) + `]`
	for name, c := range map[string]struct{ of, text, want string }{
		"SPDX 3: a package's name twice":     {TypeSPDX, spdx3Head + `{"type":"software_Package","spdxId":"x","name":"a"},{"type":"software_Package","spdxId":"x","name":"b"}]}`, `@graph[1]: spdxId "x" is there twice`},
		"SPDX 3: a licence's name twice":     {TypeSPDX, spdx3Head + license + `,` + strings.Replace(license, "GPL-3.0-only", "MIT", 1) + `]}`, `spdxId "L" is there twice`},
		"SPDX 3: two types in a list":        {TypeSPDX, spdx3Head + `{"type":["Element","software_Package"],"spdxId":"b","name":"hidden"}]}`, "type: want one type"},
		"SPDX 3: two types under two names":  {TypeSPDX, spdx3Head + `{"type":"software_Package","@type":"X","spdxId":"b","name":"hidden"}]}`, "type: want one"},
		"SPDX 3: and the other way around":   {TypeSPDX, spdx3Head + `{"type":"X","@type":"software_Package","spdxId":"b","name":"hidden"}]}`, "type: want one type"},
		"SPDX 3: two identities":             {TypeSPDX, spdx3Head + `{"type":"software_Package","@id":"a","spdxId":"b","name":"n"}]}`, "spdxId: want one text"},
		"SPDX 3: two expressions":            {TypeSPDX, spdx3Head + strings.Replace(license, `"GPL-3.0-only"`, `["MIT","GPL-3.0-only"]`, 1) + `]}`, "simplelicensing_licenseExpression: want one text"},
		"SPDX 3: a licence of two packages":  {TypeSPDX, spdx3Head + has + `"from":["a","b"],"to":["L"]}]}`, "from: want one text"},
		"SPDX 3: a licence of nobody":        {TypeSPDX, spdx3Head + has + `"to":["L"]}]}`, "from: missing"},
		"SPDX 3: a licence written out":      {TypeSPDX, spdx3Head + has + `"from":"a","to":["https://spdx.org/licenses/MIT",` + license + `]}]}`, "to: want the names of licences"},
		"SPDX 3: more licences than bound":   {TypeSPDX, spdx3Head + has + `"from":"a","to":` + many + `}]}`, "more than 1000 identifiers"},
		"SPDX 3: more, in two relationships": {TypeSPDX, spdx3Head + has + `"from":"a","to":["L"]},` + has + `"from":"a","to":["M"` + strings.Repeat(`,"M"`, MaxLicenseTerms-1) + `]}]}`, "more than 1000 identifiers"},
		"SPDX 3: two documents":              {TypeSPDX, spdx3Head + `{"type":"SpdxDocument","spdxId":"a"},{"type":"SpdxDocument","spdxId":"b"}]}`, "a second SpdxDocument"},
		"SPDX 3: two times of one creation":  {TypeSPDX, spdx3Head + `{"type":"CreationInfo","@id":"_:c","created":"2026-01-01T00:00:00Z"},{"type":"CreationInfo","@id":"_:c","created":"2027-01-01T00:00:00Z"}]}`, "is there twice, and differs"},
		"SPDX 2: references but for case": {TypeSPDX, spdxHead + `,"packages":[],"hasExtractedLicensingInfos":[{"licenseId":"LicenseRef-a","name":"GPL-3.0-only"},{"licenseId":"LicenseRef-A","name":"MIT"}]}`,
			`"licenseref-a" is there twice`},
		"CycloneDX: expression and licence": {TypeCycloneDX, cdxHead + `,"components":[{"name":"a","licenses":[{"expression":"MIT","license":{"id":"GPL-3.0-only"}}]}]}`, "both an expression and a license"},
		"CycloneDX: two acknowledgements":   {TypeCycloneDX, cdxHead + `,"components":[{"name":"a","licenses":[{"acknowledgement":"declared","license":{"id":"MIT","acknowledgement":"concluded"}}]}]}`, "there twice"},
		"a long s in a known name":          {TypeCycloneDX, cdxHead + `,"components":[{"name":"a","licen` + "\u017f" + `es":[]}]}`, `for "licenses"`},
		"a long s, escaped":                 {TypeCycloneDX, cdxHead + `,"components":[{"name":"a","licen\u017fes":[]}]}`, `for "licenses"`},
		"the sign of Kelvin in one":         {TypeSPDX, spdxHead + `,"pac` + "\u212a" + `ages":[]}`, `for "packages"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if f, err := Read(c.of, []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Read = %v, %v, want an error with %q", f, err, c.want)
			}
		})
	}
}

func TestSBOMsThatSayOneThingTwiceAreRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ of, text, want string }{
		"SPDX 2: a reference twice, by one name": {TypeSPDX, spdxHead + `,"packages":[{"name":"p","licenseConcluded":"LicenseRef-a"}],"hasExtractedLicensingInfos":[{"licenseId":"LicenseRef-a","name":"Ours"},{"licenseId":"LicenseRef-A","name":"ours"}]}`,
			"term ref: licenseref-a ours"},
		"CycloneDX: an id and another name":  {TypeCycloneDX, cdxHead + `,"components":[{"name":"a","licenses":[{"license":{"id":"MIT","name":"GPL-3.0-only"}}]}]}`, "MIT AND GPL-3.0-only (1)\n  a\n"},
		"CycloneDX: an id and the same name": {TypeCycloneDX, cdxHead + `,"components":[{"name":"a","licenses":[{"license":{"id":"MIT","name":"mit"}}]}]}`, "\nMIT (1)\n  a\n"},
		"CycloneDX: components of what it is about": {TypeCycloneDX, cdxHead + `,"metadata":{"component":{"name":"app","components":[{"name":"evil","licenses":[{"license":{"id":"GPL-3.0-only"}}]}]}},"components":[]}`,
			"1 packages\nterm listed: gpl-3.0-only\nGPL-3.0-only (1)\n  evil\n"},
		"SPDX 3: two packages of one licence, each with its name": {TypeSPDX, spdx3Head + `{"type":"software_Package","spdxId":"a","name":"one"},{"type":["software_Package"],"spdxId":"b","name":["two"],"software_packageVersion":null},` +
			`{"type":"LifecycleScopedRelationship","from":["a"],"relationshipType":"hasConcludedLicense","to":["https://spdx.org/licenses/MIT","https://spdx.org/licenses/MIT"]},` +
			`{"type":"Relationship","from":"b","relationshipType":"hasDeclaredLicense","to":"https://spdx.org/licenses/MIT"},{"type":"acme_Thing","name":["x","y"]}]}`,
			"2 packages\nterm listed: mit\nMIT (2)\n  one\n  two\n"},
		"a name that is known to nobody": {TypeCycloneDX, cdxHead + `,"components":[{"name":"a","licen` + "\u0161" + `es":[]}]}`, "1 packages"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := told(readSBOM(t, c.of, []byte(c.text))); !strings.Contains(got, c.want) {
				t.Errorf("facts are\n%s, want in them\n%s", got, c.want)
			}
		})
	}
}

// allocatedBy counts what reading allocates. What calls it isn't parallel, so that nothing else is counted.
func allocatedBy(t *testing.T, of, text string) (bytes, objects uint64, err error) {
	t.Helper()
	in := []byte(text)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = Read(of, in)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, after.Mallocs - before.Mallocs, err
}

func TestSBOMListIsBoundedBeforeItIsBuilt(t *testing.T) {
	const n = 1 << 20
	entries := `[{}` + strings.Repeat(`,{}`, n) + `]`
	bytes, _, err := allocatedBy(t, TypeCycloneDX, cdxHead+`,"components":[{"name":"a","licenses":`+entries+`}]}`)
	if err == nil || !strings.Contains(err.Error(), errTooManyTerms.Error()) {
		t.Errorf("so many licences of one component: %v", err)
	}
	if bytes > n {
		t.Errorf("a list of %d empty licences allocates %d bytes before it is refused", n, bytes)
	}
	bytes, _, err = allocatedBy(t, TypeSPDX, spdx3Head+`{"type":"Relationship","from":"a","relationshipType":"contains","to":["x"`+strings.Repeat(`,"x"`, n)+`]}]}`)
	if err != nil {
		t.Errorf("what contains many files: %v", err)
	}
	if bytes > n {
		t.Errorf("a list of %d references that don't matter allocates %d bytes", n, bytes)
	}
}

func TestListsOfSmallElementsAllocateNothingForEach(t *testing.T) {
	const n = 20_000
	for name, c := range map[string]struct{ of, text string }{
		"SPDX 3, creations":    {TypeSPDX, spdx3Head + `{"type":"x","creationInfo":{}}` + strings.Repeat(`,{"type":"x","creationInfo":{}}`, n) + `]}`},
		"CycloneDX, licences":  {TypeCycloneDX, cdxHead + `,"components":[{"name":"a"}` + strings.Repeat(`,{"name":"a","licenses":[{}]}`, n) + `]}`},
		"provenance, sources":  {TypeProvenance1, `{"buildDefinition":{"buildType":"t","resolvedDependencies":[{}` + strings.Repeat(`,{"digest":{}}`, n) + `]},"runDetails":{"builder":{"id":"b"}}}`},
		"provenance of before": {TypeProvenance02, `{"buildType":"t","builder":{"id":"b"},"materials":[{}` + strings.Repeat(`,{"digest":{}}`, n) + `]}`},
	} {
		_, objects, err := allocatedBy(t, c.of, c.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if objects > 5*n {
			t.Errorf("%s: %d elements make %d objects", name, n, objects)
		}
	}
}

func TestSPDX3LicenceIsReadOnceHoweverManyPackagesHaveIt(t *testing.T) {
	const packages, licenses = 1000, 50
	document := func(size int) string {
		var out, to strings.Builder
		out.WriteString(spdx3Head + `{"type":"CreationInfo","@id":"_:c"}`)
		for i := range licenses {
			fmt.Fprintf(&out, `,{"type":"simplelicensing_LicenseExpression","spdxId":"L%d","simplelicensing_licenseExpression":"%d %s"}`, i, i, strings.Repeat("x", size))
			fmt.Fprintf(&to, `,"L%d"`, i)
		}
		for i := range packages {
			fmt.Fprintf(&out, `,{"type":"software_Package","spdxId":"p%d","name":"p%d"},{"type":"Relationship","from":"p%d","relationshipType":"hasConcludedLicense","to":[%s]}`, i, i, i, to.String()[1:])
		}
		return out.String() + `]}`
	}
	short, _, err := allocatedBy(t, TypeSPDX, document(1))
	if err != nil {
		t.Fatal(err)
	}
	const size = 20_000
	long, _, err := allocatedBy(t, TypeSPDX, document(size))
	if err != nil {
		t.Fatal(err)
	}
	if most := uint64(20 * licenses * size); long > short+most {
		t.Errorf("%d licences of %d bytes that %d packages have allocate %d bytes more, want at most %d", licenses, size, packages, long-short, most)
	}
}

func TestSBOMLicencesAreBoundedInAll(t *testing.T) {
	t.Parallel()
	var b sbomBuilder
	var err error
	for i := 0; i < 200 && err == nil; i++ {
		var text strings.Builder
		for j := range MaxLicenseTerms {
			fmt.Fprintf(&text, "a%d-%d OR ", i, j)
		}
		err = b.add(Package{Name: "a"}, strings.TrimSuffix(text.String(), " OR "))
	}
	if !errors.Is(err, errTooManyNames) || len(b.terms.all) > MaxTerms+MaxLicenseTerms {
		t.Errorf("%d identifiers: %v", len(b.terms.all), err)
	}
	b = sbomBuilder{}
	for i := range 40 {
		if _, err := b.part(fmt.Sprintf("%d %s", i, strings.Repeat("x", MaxLicense-10))); err != nil {
			t.Fatal(err)
		}
	}
	err = nil
	for i := 0; i < 1<<12 && err == nil; i++ { // sets of forty licences of 64 KiB
		var of []uint32
		for n := range uint32(40) {
			if i>>(n%12)&1 != 0 {
				of = append(of, n)
			}
		}
		err = b.addParts(Package{Name: "a"}, of)
	}
	if err == nil || !strings.Contains(err.Error(), "licences of more than 67108864 bytes in all") {
		t.Errorf("licences of any size: %v", err)
	}
	d := newSPDXElements(nil)
	d.count = maxReferences
	if err := d.relate(&d.declared, &spdxElement{from: "a", to: refs{all: []string{"b"}}}); err == nil || !strings.Contains(err.Error(), "referred to more than") {
		t.Errorf("one reference too many: %v", err)
	}
}

func TestTextMentionsAWordOnce(t *testing.T) {
	t.Parallel()
	var all terms
	first, err := all.license("MIT, GPL-3, MIT, GPL-3")
	if err != nil {
		t.Fatal(err)
	}
	again, err := all.license("GPL-3, MIT; GPL-3")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{5, 5}, []int{len(first), len(again)}); diff != "" {
		t.Error(diff)
	}
}

func TestNamesAreFoundWithoutAllocating(t *testing.T) {
	known := names{"licenses": func() error { return nil }, "packages": func() error { return nil }}
	for _, quoted := range []string{`"licenses"`, `"unknowns"`, "\"li\u0107enses\"", `"something else that is rather long, and not known to anybody"`} {
		text := []byte(quoted)
		if n := testing.AllocsPerRun(100, func() { known.find(text) }); n != 0 {
			t.Errorf("%s: %v allocations", quoted, n)
		}
	}
}
