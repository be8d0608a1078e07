package imports

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dependencies is where each module is explained.
const dependencies = "docs/design/dependencies.md"

var moduleRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| *([^|]*?) *\\|")

// explained returns the modules that the table has a row for, with the reason given.
func explained(table string) map[string]string {
	out := map[string]string{}
	for _, row := range moduleRow.FindAllStringSubmatch(table, -1) {
		out[row[1]] = row[2]
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

// direct returns the modules that our source imports, tests included, each with one place where it does.
func direct(all []source, modules map[string]bool) map[string]string {
	out := map[string]string{}
	for _, p := range all {
		for _, f := range slices.Concat(p.files, p.tests) {
			for importPath, at := range f.imports() {
				if m := moduleOf(importPath, modules); m != "" {
					out[m] = at
				}
			}
		}
	}
	return out
}

func TestEveryModuleThatIsImportedHasItsReason(t *testing.T) {
	t.Parallel()
	table, err := os.ReadFile(filepath.Join(root, dependencies))
	if err != nil {
		t.Fatal(err)
	}
	reasons := explained(string(table))
	imported := direct(repository(t), required(t))
	for _, m := range slices.Sorted(maps.Keys(imported)) {
		if reasons[m] == "" {
			t.Errorf("%s imports from %s, which has no row with a reason in %s", imported[m], m, dependencies)
		}
	}
	for _, m := range slices.Sorted(maps.Keys(reasons)) {
		if imported[m] == "" {
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
		at, is := imported[m]
		switch indirect := modules[m]; {
		case is && indirect:
			t.Errorf("%s imports from %s, which go.mod marks as indirect: run go mod tidy", at, m)
		case !is && !indirect:
			t.Errorf("nothing imports from %s, which go.mod doesn't mark as indirect: run go mod tidy", m)
		}
	}
}

func TestTheTableOfModulesIsRead(t *testing.T) {
	t.Parallel()
	got := explained("| module | for |\n|---|---|\n| `a.example/m` | reading | x |\n| `b.example/m` |  | x |\ntext | `c.example/m` | no row |\n")
	if want := map[string]string{"a.example/m": "reading", "b.example/m": ""}; !maps.Equal(got, want) {
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
	s := sample{"pkg/verify", "package verify\n\nimport _ \"a.example/m/v2/x\"\n"}.source(t)
	if got := direct([]source{{dir: "pkg/verify", tests: s.files}}, modules); len(got) != 1 || !strings.HasPrefix(got["a.example/m/v2"], "pkg/verify/sample.go:") {
		t.Errorf("an import of a test file gives %q", got)
	}
}
