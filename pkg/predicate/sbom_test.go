package predicate

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSBOMFactsOfWhatToolsWrite holds the facts of each document of testdata/sbom, as an object and in a string, to the golden ones.
func TestSBOMFactsOfWhatToolsWrite(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "sbom", "*.json"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			predicateType := TypeSPDX + "/v2.3"
			if strings.Contains(file, "cyclonedx") {
				predicateType = TypeCycloneDX
			}
			got := readSBOM(t, predicateType, text)
			golden := strings.TrimSuffix(file, ".json") + ".facts"
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, []byte(told(got)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), told(got)); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
			quoted, err := json.Marshal(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), told(readSBOM(t, predicateType, quoted))); diff != "" {
				t.Errorf("facts of the same in a string (-want +got):\n%s", diff)
			}
		})
	}
}

func readSBOM(t *testing.T, predicateType string, text []byte) *SBOM {
	t.Helper()
	facts, err := Read(predicateType, text)
	if err != nil {
		t.Fatal(err)
	}
	s, ok := facts.(*SBOM)
	if !ok {
		t.Fatalf("facts are %T", facts)
	}
	return s
}

// told writes all that facts tell.
func told(s *SBOM) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s created %s, %d packages\n", s.Format(), s.Version(), s.Time().Format(time.RFC3339), s.Packages())
	for _, term := range s.Terms() {
		fmt.Fprintf(&out, "term %s: %s\n", []string{"unsaid", "listed", "ref", "text", "mention"}[term.Kind], strings.TrimSpace(term.ID+" "+term.Name))
	}
	for _, l := range s.Licenses() {
		fmt.Fprintf(&out, "%s (%d)\n", l.Text, l.Packages)
		for p := range l.All() {
			fmt.Fprintf(&out, "  %s\n", p)
		}
	}
	return out.String()
}

const (
	spdxHead = `{"spdxVersion":"SPDX-2.3","creationInfo":{"created":"2026-10-01T00:00:00Z"}`
	cdxHead  = `{"bomFormat":"CycloneDX","specVersion":"1.6"`
)

func TestSBOMsThatCantBeReadSayWhy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ of, text, want string }{
		"nothing at all":                      {TypeSPDX, `{}`, "no spdxVersion"},
		"null":                                {TypeSPDX, `null`, "not an object but null"},
		"a list":                              {TypeSPDX, `[]`, "not an object but a list"},
		"no version":                          {TypeSPDX, `{"packages":[]}`, "no spdxVersion"},
		"a version from before JSON":          {TypeSPDX, `{"spdxVersion":"SPDX-2.1","packages":[]}`, `spdxVersion "SPDX-2.1", want`},
		"a version without its prefix":        {TypeSPDX, `{"spdxVersion":"2.3","packages":[]}`, "want SPDX-2.2"},
		"absent packages aren't none":         {TypeSPDX, spdxHead + `}`, "no packages"},
		"null packages aren't none":           {TypeSPDX, spdxHead + `,"packages":null}`, "packages: not a list but null"},
		"a package without a name":            {TypeSPDX, spdxHead + `,"packages":[{"name":"a"},{"versionInfo":"1"}]}`, "packages[1]: a package without a name"},
		"a package that is null":              {TypeSPDX, spdxHead + `,"packages":[null]}`, "packages[0]: not an object"},
		"packages in another case":            {TypeSPDX, spdxHead + `,"Packages":[]}`, `"Packages" for "packages"`},
		"packages twice":                      {TypeSPDX, spdxHead + `,"packages":[],"packages":[]}`, "twice"},
		"a licence twice":                     {TypeSPDX, spdxHead + `,"packages":[{"name":"a","licenseConcluded":"GPL-2.0","licenseConcluded":"MIT"}]}`, "twice"},
		"a licence that is a list":            {TypeSPDX, spdxHead + `,"packages":[{"name":"a","licenseConcluded":["MIT"]}]}`, "licenseConcluded: not a string"},
		"a time that is none":                 {TypeSPDX, `{"spdxVersion":"SPDX-2.3","creationInfo":{"created":"yesterday"},"packages":[]}`, "is no time"},
		"broken in the middle":                {TypeSPDX, spdxHead + `,"packages":[{"name":"a"`, "broken JSON"},
		"something behind it":                 {TypeSPDX, spdxHead + `,"packages":[]} {}`, "something follows"},
		"of SPDX 2 and 3 at once":             {TypeSPDX, spdxHead + `,"packages":[],"@graph":[]}`, "at once"},
		"a name that is too long":             {TypeSPDX, spdxHead + `,"packages":[{"name":"` + strings.Repeat("a", MaxPackageName+1) + `"}]}`, "more than 4096 bytes"},
		"a licence that is too long":          {TypeSPDX, spdxHead + `,"packages":[{"name":"a","licenseDeclared":"` + strings.Repeat("a", MaxLicense+1) + `"}]}`, "a licence of 65537 bytes"},
		"a licence that is too deep":          {TypeSPDX, spdxHead + `,"packages":[{"name":"a","licenseDeclared":"` + strings.Repeat("(", 40) + "MIT" + strings.Repeat(")", 40) + `"}]}`, "parentheses more than 32 deep"},
		"tag-value in a string":               {TypeSPDX, `"SPDXVersion: SPDX-2.3\nDataLicense: CC0-1.0"`, "tag-value"},
		"a string in a string":                {TypeSPDX, `"\"{}\""`, "holds no JSON object"},
		"a string, and more":                  {TypeSPDX, `"{}" 1`, "something follows"},
		"a broken string":                     {TypeSPDX, `"{`, "broken JSON"},
		"CycloneDX under SPDX's type":         {TypeSPDX, cdxHead + `,"components":[]}`, "this is CycloneDX: attest it with --type cyclonedx"},
		"SPDX 3 of a version nobody knows":    {TypeSPDX, `{"@context":"https://spdx.org/rdf/4.0/spdx-context.jsonld","@graph":[]}`, `specVersion "4.0"`},
		"SPDX 3 of no version":                {TypeSPDX, `{"@graph":[]}`, `specVersion ""`},
		"an element without a type":           {TypeSPDX, `{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[{"name":"a"}]}`, "without a type"},
		"SPDX 3 and a package without a name": {TypeSPDX, `{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[{"type":"software_Package"}]}`, "without a name"},
		"no bomFormat":                        {TypeCycloneDX, `{"specVersion":"1.6","components":[]}`, "no bomFormat"},
		"another bomFormat":                   {TypeCycloneDX, `{"bomFormat":"cyclonedx","specVersion":"1.6","components":[]}`, `bomFormat "cyclonedx"`},
		"no specVersion":                      {TypeCycloneDX, `{"bomFormat":"CycloneDX","components":[]}`, "no specVersion"},
		"a specVersion of tomorrow":           {TypeCycloneDX, `{"bomFormat":"CycloneDX","specVersion":"2.0","components":[]}`, `specVersion "2.0"`},
		"absent components aren't none":       {TypeCycloneDX, cdxHead + `}`, "no components"},
		"a component without a name":          {TypeCycloneDX, cdxHead + `,"components":[{"group":"a"}]}`, "without a name"},
		"one within, without a name":          {TypeCycloneDX, cdxHead + `,"components":[{"name":"a","components":[{"type":"file"}]}]}`, "components[0].components[0]: a package without a name"},
		"licenses in another case":            {TypeCycloneDX, cdxHead + `,"components":[{"name":"a","Licenses":[]}]}`, `"Licenses" for "licenses"`},
		"components too deep":                 {TypeCycloneDX, cdxHead + `,"components":[` + strings.Repeat(`{"name":"a","components":[`, 80) + strings.Repeat(`]}`, 80) + `]}`, "nested more than 128 deep"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := Read(c.of, []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Read = %v, %v, want an error with %q", f, err, c.want)
			}
		})
	}
}

func TestSBOMWithAnEmptyListHasNoPackages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ of, text string }{
		{TypeSPDX, spdxHead + `,"packages":[]}`},
		{TypeSPDX, spdxHead + `,"packages":[{"name":"registry.example.com/app","primaryPackagePurpose":"CONTAINER","licenseDeclared":"NONE"}]}`},
		{TypeSPDX, `{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[]}`},
		{TypeCycloneDX, cdxHead + `,"components":[]}`},
	} {
		if s := readSBOM(t, c.of, []byte(c.text)); s.Packages() != 0 || len(s.Licenses()) != 0 {
			t.Errorf("%s: %d packages", c.text, s.Packages())
		}
	}
}

func TestSBOMOfSPDX3RefersInEveryWayThatJSONLDHas(t *testing.T) {
	t.Parallel()
	const head, tail = `{"@context":["https://spdx.org/rdf/3.0.1/spdx-context.jsonld",{"acme":"https://acme.example/"}],"@graph":[`, `]}`
	for name, c := range map[string]struct{ elements, want string }{
		"a creation written out": {`{"type":"SpdxDocument","spdxId":"d","creationInfo":{"specVersion":"3.0.1","created":"2026-10-05T10:00:00Z"}},
			{"type":"CreationInfo","@id":"_:c","specVersion":"3.0.1","created":"2020-01-01T00:00:00Z"}`, "created 2026-10-05T10:00:00Z, 0 packages"},
		"no document, so the earliest creation": {`{"type":"CreationInfo","@id":"_:a","specVersion":"3.0.1","created":"2026-10-05T10:00:00Z"},
			{"type":"CreationInfo","@id":"_:b","specVersion":"3.0.1","created":"2026-10-04T10:00:00Z"}`, "created 2026-10-04T10:00:00Z"},
		"no creation, so the context's version": {`{"type":"software_Package","spdxId":"p","name":"a"}`, "SPDX 3.0.1 created 0001-01-01T00:00:00Z, 1 packages"},
		"a licence by the name of none":         {`{"type":"software_Package","spdxId":"p","name":"a"},{"type":"Relationship","from":"p","relationshipType":"hasConcludedLicense","to":"expandedlicensing_NoneLicense"}`, "NOASSERTION (1)"},
		"a licence that isn't there":            {`{"type":"software_Package","spdxId":"p","name":"a"},{"type":"Relationship","from":"p","relationshipType":"hasConcludedLicense","to":["https://acme.example/set"]}`, "https://acme.example/set (1)"},
		"two licences at once": {`{"@type":"ai_AIPackage","@id":"p","name":"model"},{"type":"Relationship","from":"p","relationshipType":"hasDeclaredLicense","to":["https://spdx.org/licenses/MIT","https://spdx.org/licenses/ISC"]}`,
			"MIT AND ISC (1)\n  model"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := told(readSBOM(t, TypeSPDX+"/v3", []byte(head+c.elements+tail))); !strings.Contains(got, c.want) {
				t.Errorf("facts are\n%s, want %q in them", got, c.want)
			}
		})
	}
}

func TestSBOMCountsAPackageOnceWhateverItsPlaces(t *testing.T) {
	t.Parallel()
	s := readSBOM(t, TypeSPDX, []byte(spdxHead+`,"packages":[
		{"name":"a","SPDXID":"1","versionInfo":"1","licenseDeclared":"MIT"},{"name":"a","SPDXID":"2","versionInfo":"1","licenseDeclared":"MIT"},
		{"name":"a","SPDXID":"3","versionInfo":"2","licenseDeclared":"MIT"},{"name":"a","SPDXID":"4","versionInfo":"1","licenseDeclared":"ISC"}]}`))
	if s.Packages() != 3 {
		t.Errorf("%d packages, want 3:\n%s", s.Packages(), told(s))
	}
}

func TestSBOMListsOfLicencesAreToldApart(t *testing.T) {
	t.Parallel()
	s := readSBOM(t, TypeCycloneDX, []byte(cdxHead+`,"components":[
		{"name":"one","licenses":[{"license":{"name":"MIT AND (some words)"}}]},
		{"name":"two","licenses":[{"license":{"id":"MIT"}},{"license":{"name":"some words"}}]}]}`))
	if n := len(s.Licenses()); n != 2 {
		t.Errorf("%d licences, want 2:\n%s", n, told(s))
	}
}

func TestSBOMOfMoreThanItsBoundsIsRefused(t *testing.T) {
	t.Parallel()
	var b sbomBuilder
	b.count = MaxPackages
	if err := b.add(Package{Name: "a"}); err == nil || !strings.Contains(err.Error(), "more than 250000 packages") {
		t.Errorf("one package too many: %v", err)
	}
	b = sbomBuilder{}
	var err error
	for i := 0; i <= MaxLicenses && err == nil; i++ {
		err = b.add(Package{Name: "a"}, fmt.Sprintf("LicenseRef-%d", i))
	}
	if err == nil || !strings.Contains(err.Error(), "more than 20000 distinct licences") {
		t.Errorf("one licence too many: %v", err)
	}
	var many []string
	for i := range MaxLicenseTerms + 1 {
		many = append(many, fmt.Sprintf("LicenseRef-%d", i))
	}
	if err := new(sbomBuilder).add(Package{Name: "a"}, many...); !errors.Is(err, errTooManyTerms) {
		t.Errorf("too many licences of one package: %v", err)
	}
}

func TestSBOMPacksNamesOfAnyLength(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 127, 128, 129, MaxPackageName} {
		var b sbomBuilder
		want := Package{Name: strings.Repeat("n", n), Version: strings.Repeat("v", n-1)}
		if err := b.add(want, "MIT"); err != nil {
			t.Fatal(err)
		}
		for got := range b.sbom(FormatSPDX, "2.3", time.Time{}).Licenses()[0].All() {
			if got != want {
				t.Errorf("a name of %d bytes came back as %d, its version as %d", n, len(got.Name), len(got.Version))
			}
		}
	}
}

// generated returns an SPDX document of about so many bytes, in the proportions of syft's: packages, files, relationships.
func generated(size int) []byte {
	licenses := []string{"MIT", "Apache-2.0", "GPL-2.0-or-later AND LicenseRef-doc", "NOASSERTION", "BSD-3-Clause OR MIT", "(MIT AND ISC) OR GPL-3.0-only WITH GCC-exception-3.1"}
	var out strings.Builder
	out.Grow(size + 4096)
	out.WriteString(spdxHead + `,"name":"generated","packages":[`)
	for i := 0; out.Len() < size*6/10; i++ {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, `{"name":"package-%d","SPDXID":"SPDXRef-Package-npm-package-%d-0123456789abcdef","versionInfo":"%d.%d.0","supplier":"NOASSERTION","downloadLocation":"NOASSERTION","filesAnalyzed":false,"sourceInfo":"acquired package info from installed node module manifest: /app/node_modules/package-%d/package.json","licenseConcluded":"NOASSERTION","licenseDeclared":%q,"copyrightText":"NOASSERTION","externalRefs":[{"referenceCategory":"SECURITY","referenceType":"cpe23Type","referenceLocator":"cpe:2.3:a:package-%d:package-%d:1.0.0:*:*:*:*:*:*:*"},{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:npm/package-%d@1.0.0"}]}`,
			i, i, i%50, i%7, i, licenses[i%len(licenses)], i, i, i)
	}
	out.WriteString(`],"files":[`)
	for i := 0; out.Len() < size*8/10; i++ {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, `{"fileName":"app/node_modules/package-%d/package.json","SPDXID":"SPDXRef-File-%d","checksums":[{"algorithm":"SHA1","checksumValue":"0000000000000000000000000000000000000000"}],"licenseConcluded":"NOASSERTION","copyrightText":"NOASSERTION","comment":"layerID: sha256:%064d"}`, i, i, i)
	}
	out.WriteString(`],"relationships":[`)
	for i := 0; out.Len() < size; i++ {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, `{"spdxElementId":"SPDXRef-Package-npm-package-%d","relatedSpdxElement":"SPDXRef-File-%d","relationshipType":"OTHER","comment":"evident-by"}`, i, i)
	}
	out.WriteString(`]}`)
	return []byte(out.String())
}

// TestSBOMOf60MiBIsReadWithinBounds counts what reading allocates and what is kept; it isn't parallel, so that nothing else is counted.
func TestSBOMOf60MiBIsReadWithinBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("60 MiB take some seconds")
	}
	text := generated(60 << 20)
	before := heap()
	facts := readSBOM(t, TypeSPDX, text)
	after := heap()
	if facts.Packages() < 50_000 {
		t.Fatalf("%d packages", facts.Packages())
	}
	total := after.TotalAlloc - before.TotalAlloc
	kept := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d packages of %d MiB: allocated %d MiB in all, kept %d KiB, counted %d KiB",
		facts.Packages(), len(text)>>20, total>>20, kept>>10, facts.Size()>>10)
	if total > 2*uint64(len(text)) {
		t.Errorf("reading %d bytes allocated %d in all", len(text), total)
	}
	if facts.Size() > int64(len(text))/10 {
		t.Errorf("facts of %d bytes of %d", facts.Size(), len(text))
	}
	if slack := kept - facts.Size(); slack > facts.Size()/4+64<<10 {
		t.Errorf("facts hold %d bytes, and say %d", kept, facts.Size())
	}
	runtime.KeepAlive(text)
}

func heap() (m runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m
}

func BenchmarkSPDX20MiB(b *testing.B) {
	text := generated(20 << 20)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(TypeSPDX, text); err != nil {
			b.Fatal(err)
		}
	}
}
