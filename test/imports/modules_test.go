package imports

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// dependencies is where each module is explained.
const dependencies = "docs/design/dependencies.md"

// module rows: | `PATH` | FOR | INSTEAD OF | USED BY |
var moduleRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| *([^|]*?) *\\| *([^|]*?) *\\| *([^|]*?) *\\|$")

// explanation is a row of the table.
type explanation struct{ why, instead, usedBy string }

// explained returns the modules that the table has a row for.
func explained(table string) map[string]explanation {
	out := map[string]explanation{}
	for _, row := range moduleRow.FindAllStringSubmatch(table, -1) {
		out[row[1]] = explanation{row[2], row[3], row[4]}
	}
	return out
}

// moduleOf returns the module that a package belongs to: the longest of those whose path begins it.
func moduleOf(importPath string, modules map[string]bool) string {
	best := ""
	for m := range modules {
		if under(importPath, m) && len(m) > len(best) {
			best = m
		}
	}
	return best
}

// use is how a module is imported.
type use struct {
	at      string // one place where it is; the product's if it imports it
	product bool   // not only what is there for tests and tools
}

func (u use) by() string {
	if u.product {
		return "product"
	}
	return "tests"
}

// direct returns the modules that our source imports, tests included.
func direct(all []source, modules map[string]bool) map[string]use {
	out := map[string]use{}
	note := func(files []file, product bool) {
		for _, f := range files {
			for importPath, at := range f.imports() {
				if m := moduleOf(importPath, modules); m != "" && !out[m].product {
					out[m] = use{at, product}
				}
			}
		}
	}
	for _, p := range all {
		note(p.files, !bed(p.dir) && !p.within("hack"))
		note(p.tests, false)
	}
	return out
}

func TestEveryModuleThatIsImportedHasItsReason(t *testing.T) {
	t.Parallel()
	table, err := os.ReadFile(filepath.Join(root, dependencies))
	if err != nil {
		t.Fatal(err)
	}
	rows := explained(string(table))
	imported := direct(repository(t), required(t))
	for _, m := range slices.Sorted(maps.Keys(imported)) {
		row, ok := rows[m]
		switch {
		case !ok:
			t.Errorf("%s imports from %s, which has no row in %s", imported[m].at, m, dependencies)
		case row.why == "" || row.instead == "":
			t.Errorf("the row of %s in %s doesn't say what for, or instead of what", m, dependencies)
		case row.usedBy != imported[m].by():
			t.Errorf("%s says that %s is used by %q; it is by %q: %s", dependencies, m, row.usedBy, imported[m].by(), imported[m].at)
		}
	}
	for _, m := range slices.Sorted(maps.Keys(rows)) {
		if _, ok := imported[m]; !ok {
			t.Errorf("%s has a row for %s, which nothing imports: take it out", dependencies, m)
		}
	}
}

// go.mod's own marks are kept by go mod tidy; this says when it was forgotten.
func TestGoModTellsDirectFromIndirect(t *testing.T) {
	t.Parallel()
	modules := required(t)
	imported := direct(repository(t), modules)
	for _, m := range slices.Sorted(maps.Keys(modules)) {
		use, is := imported[m]
		switch indirect := modules[m]; {
		case is && indirect:
			t.Errorf("%s imports from %s, which go.mod marks as indirect: run go mod tidy", use.at, m)
		case !is && !indirect:
			t.Errorf("nothing imports from %s, which go.mod doesn't mark as indirect: run go mod tidy", m)
		}
	}
}

func TestTheTableOfModulesIsRead(t *testing.T) {
	t.Parallel()
	got := explained("| module | for | instead of | used by |\n|---|---|---|---|\n| `a.example/m` | reading | a file | product |\n" +
		"| `b.example/m` |  | | tests |\ntext | `c.example/m` | no row | at all | tests |\n")
	if want := map[string]explanation{"a.example/m": {"reading", "a file", "product"}, "b.example/m": {"", "", "tests"}}; !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAPackageBelongsToTheLongestModule(t *testing.T) {
	t.Parallel()
	modules := map[string]bool{"a.example/m": false, "a.example/m/v2": true, "a.example/m/v2/deep": true}
	for importPath, want := range map[string]string{
		"a.example/m/x":         "a.example/m",
		"a.example/m/v2/x":      "a.example/m/v2",
		"a.example/m/v2/deep/x": "a.example/m/v2/deep",
		"a.example/mm":          "",
		"net/http":              "",
	} {
		if got := moduleOf(importPath, modules); got != want {
			t.Errorf("%s belongs to %q, want %q", importPath, got, want)
		}
	}
}

func TestAModuleIsUsedByTheProductOrOnlyByTests(t *testing.T) {
	t.Parallel()
	modules := map[string]bool{"a.example/m": false}
	files := importing("x", "a.example/m/y").source(t).files
	for name, test := range map[string]struct {
		in   source
		want string
	}{
		"a package of the product": {source{dir: "pkg/verify", files: files}, "product"},
		"a test of it":             {source{dir: "pkg/verify", tests: files}, "tests"},
		"a test bed":               {source{dir: "test/cluster", files: files}, "tests"},
		"a package of fakes":       {source{dir: "pkg/verify/verifytest", files: files}, "tests"},
		"a tool":                   {source{dir: "hack/image", files: files}, "tests"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, all := range [][]source{{test.in}, {{dir: "test/x", files: files}, test.in}, {test.in, {dir: "test/x", files: files}}} {
				if got := direct(all, modules); len(got) != 1 || got["a.example/m"].by() != test.want {
					t.Errorf("got %v, want %s", got, test.want)
				}
			}
		})
	}
}
