package papers_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// most is how much of a detail the table has, in bytes.
const most = 160

// passing are the only cells that may pass, by row. Nothing else decides that: the golden file tells only what refusals say.
func passing() map[string][]string {
	// A paper of each platform's own, or one that names it.
	platforms := []string{"index: names all", "index: each child's own", "index: both", "index: only its children named", "index: half above, half below"}
	// A paper about the index itself.
	whole := []string{"index: names all", "index: both", "index: one child named", "index: only the index named", "index: half above, half below"}
	// Enough is enough, whatever else there is.
	exists := []string{"hidden newer", "newer bad beside older good", "oversized beside good", "index: newer bad above", "index: hidden newer above"}
	newest := []string{"satisfied", "older bad beside newer good", "newer bad by another"}
	of := func(lists ...[]string) []string { return slices.Concat(lists...) }
	return map[string][]string{
		"signature": of(newest, exists, whole), "approvals": of(newest, exists, whole),
		"acceptSummary": of(newest, whole),
		// A promotion that can't be read has no time, by a bare key, and so may be the newest.
		"promotion": of([]string{"satisfied", "newer bad by another"}, whole),
		"sbom":      of(newest, platforms), "licenses": of(newest, platforms), "vulnerabilities": of(newest, platforms), "secrets": of(newest, platforms),
		"provenance": of(newest, platforms), "tests": of(newest, platforms), "custom": of(newest, platforms),
		"vex": of(newest, platforms),
	}
}

// undetermined are the columns in which something could not be found out; in no other may a cell say so.
func undetermined() []string {
	return []string{"hidden newer", "oversized", "oversized beside good", "index: hidden newer above"}
}

// TestTheTableOfPapers: what becomes of each requirement for each state of its paper.
func TestTheTableOfPapers(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	lines := map[string]map[string]string{}
	t.Run("cells", func(t *testing.T) {
		for _, r := range rows() {
			lines[r.name] = map[string]string{}
			for _, col := range columns() {
				if why := col.whyNot(r); why != "" {
					lines[r.name][col.name] = "| - | | " + why + " |"
					continue
				}
				t.Run(r.name+": "+col.name, func(t *testing.T) {
					t.Parallel()
					c := newCell(t, r, col, newMemory())
					col.stage(c)
					got := c.judge()
					check(t, r, col, got)
					mu.Lock()
					defer mu.Unlock()
					lines[r.name][col.name] = fmt.Sprintf("| %s | %s | %s |", got.Outcome, got.Reason, strings.ReplaceAll(begin(c.told(got.Detail)), "|", `\|`))
				})
			}
		}
	})
	compare(t, filepath.Join("testdata", "TABLE.md"), table(lines))
}

// whyNot says why a row has no cell in the column.
func (c column) whyNot(r row) string {
	if c.without == nil {
		return ""
	}
	return c.without(r)
}

// check holds a cell to what it may be, whatever the golden file says.
func check(t testing.TB, r row, col column, got policy.Result) {
	t.Helper()
	if may := slices.Contains(passing()[r.name], col.name); got.Outcome.Passes() != may {
		t.Errorf("%s %s: %s; it may pass: %v", got.Outcome, got.Reason, got.Detail, may)
	}
	if got.Outcome == policy.Undetermined && !slices.Contains(undetermined(), col.name) {
		t.Errorf("undetermined, %s: %s; but all could be found out", got.Reason, got.Detail)
	}
	if got.Detail == "" {
		t.Errorf("%s %s says nothing to people", got.Outcome, got.Reason)
	}
}

// begin is the beginning of a detail.
func begin(s string) string {
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

const head = `# What becomes of each paper

Each requirement of a policy, for each state that its paper may be in. "UPDATE_GOLDEN=1 go test ./test/papers" writes this file; which cells may
pass is listed in the test itself. Details are cut at 160 bytes.

**licenses** is *sbom* with rules about licences, and **vex** is *vulnerabilities* with VEX: the scan is there and has two critical findings, and
the paper in question is the VEX document. Of **acceptSummary** the requirement is *vulnerabilities*, without any scan. Signer of signature, sbom,
licenses, vulnerabilities, secrets, vex, approvals, promotion and acceptSummary is a bare key, whose papers have no time but their own; that of
provenance, tests and custom is a workflow with a certificate of ten minutes, in a log.

"-" says that there is no such cell, and why.

| state | is |
|---|---|
`

// table is the golden file.
func table(lines map[string]map[string]string) string {
	var b strings.Builder
	b.WriteString(head)
	for _, col := range columns() {
		fmt.Fprintf(&b, "| %s | %s |\n", col.name, col.means)
	}
	for _, r := range rows() {
		fmt.Fprintf(&b, "\n## %s\n\n    %s\n", r.name, strings.ReplaceAll(r.require, "BY", r.whose))
		if r.accept != "" {
			fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(r.accept, "BY", r.whose))
		}
		b.WriteString("\n| state | outcome | reason | detail |\n|---|---|---|---|\n")
		for _, col := range columns() {
			fmt.Fprintf(&b, "| %s %s\n", col.name, lines[r.name][col.name])
		}
	}
	return b.String()
}

// compare compares with a golden file, or writes it anew.
func compare(t testing.TB, path, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got); UPDATE_GOLDEN=1 writes it anew:\n%s", path, diff)
	}
}

// TestTheListOfPassingCellsNamesCells: a name that is no cell's would let nothing pass, and be thought to.
func TestTheListOfPassingCellsNamesCells(t *testing.T) {
	t.Parallel()
	names := map[string]row{}
	for _, r := range rows() {
		names[r.name] = r
	}
	if len(names) != len(passing()) {
		t.Errorf("%d rows, and passing cells of %d", len(names), len(passing()))
	}
	for _, name := range slices.Sorted(maps.Keys(passing())) {
		r, ok := names[name]
		if !ok {
			t.Errorf("%s is no row", name)
			continue
		}
		for _, cell := range passing()[name] {
			i := slices.IndexFunc(columns(), func(c column) bool { return c.name == cell })
			if i < 0 || columns()[i].whyNot(r) != "" {
				t.Errorf("%s: %s is no cell", name, cell)
			}
		}
	}
}
