package docs_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rowsOfAttacks is how many attacks the list has.
const rowsOfAttacks = 107

// promised tells whether a row is one that this version has to hold.
func promised(row int) bool {
	for _, r := range [][2]int{{1, 7}, {9, 23}, {26, 27}, {31, 93}, {95, 97}, {104, 104}, {107, 107}} {
		if r[0] <= row && row <= r[1] {
			return true
		}
	}
	return false
}

var rowTest = regexp.MustCompile(`func ((?:Test|Fuzz)Row0*(\d+)[A-Za-z0-9_]*)\(`)

// rowTests returns the tests that are named after a row, with the row.
func rowTests(t testing.TB) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, text := range goFiles(t, ".", func(file string) bool { return strings.HasSuffix(file, "_test.go") }) {
		for _, m := range rowTest.FindAllStringSubmatch(text, -1) {
			row, err := strconv.Atoi(m[2])
			if err != nil {
				t.Fatal(err)
			}
			out[m[1]] = row
		}
	}
	if len(out) < 50 {
		t.Fatalf("found only %d tests of rows", len(out))
	}
	return out
}

func TestTheThreatModelNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	tests := rowTests(t)
	state := regexp.MustCompile(`^(held|(in part|later): [4-7]|out of scope: .+)$`)
	seen := map[int]bool{}
	p := readPage(t, "docs/threat-model.md").section(t, "Attacks")
	for _, row := range p.rows(t, "row") {
		n, err := strconv.Atoi(row[0])
		if err != nil || len(row) != 5 {
			t.Errorf("can't read the row %q", row)
			continue
		}
		if seen[n] {
			t.Errorf("row %d is there twice", n)
		}
		seen[n] = true
		named := codes(row[4])
		if !state.MatchString(row[3]) {
			t.Errorf("row %d: its state is %q", n, row[3])
		}
		isHeld := row[3] == "held" || strings.HasPrefix(row[3], "in part")
		outside := strings.HasPrefix(row[3], "out of scope") // which may have a test of what isn't
		if isHeld != (len(named) > 0) && !outside {
			t.Errorf("row %d is %q and names the tests %q", n, row[3], named)
		}
		if promised(n) && row[3] != "held" {
			t.Errorf("row %d is promised for this version and %q", n, row[3])
		}
		for _, name := range named {
			of, ok := tests[name]
			if !ok {
				t.Errorf("row %d: there is no %s", n, name)
			} else if of != n {
				t.Errorf("row %d: %s is of row %d", n, name, of)
			}
		}
		for name, of := range tests {
			if of == n && !slices.Contains(named, name) {
				t.Errorf("row %d: name %s too", n, name)
			}
		}
	}
	for n := 1; n <= rowsOfAttacks; n++ {
		if !seen[n] {
			t.Errorf("row %d is missing", n)
		}
	}
	if len(seen) != rowsOfAttacks {
		t.Errorf("%d rows, want %d", len(seen), rowsOfAttacks)
	}
}
