package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository, as seen from here.
const root = ".."

// page is a Markdown file, as far as the tests need to understand one.
type page struct {
	path  string // below the root, with slashes
	lines []string
}

func readPage(t testing.TB, path string) page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return page{path: path, lines: strings.Split(string(text), "\n")}
}

// block is a fenced block of a page.
type block struct {
	where string   // PAGE:LINE of its fence
	info  []string // the words after the opening fence
	lines []string
}

func (b block) text() string { return strings.Join(b.lines, "\n") + "\n" }

// is tells whether the block's info begins with these words.
func (b block) is(words ...string) bool {
	return strings.HasPrefix(strings.Join(b.info, " ")+" ", strings.Join(words, " ")+" ")
}

// blocks returns the fenced blocks of a page.
func (p page) blocks(t testing.TB) []block {
	t.Helper()
	var out []block
	open := -1
	for i, line := range p.lines {
		fence, found := strings.CutPrefix(line, "```")
		switch {
		case !found && open < 0:
		case !found:
			last := &out[len(out)-1]
			last.lines = append(last.lines, line)
		case open < 0:
			open = i
			out = append(out, block{where: fmt.Sprintf("%s:%d", p.path, i+1), info: strings.Fields(fence)})
		default:
			open = -1
		}
	}
	if open >= 0 {
		t.Fatalf("%s:%d: a fence that isn't closed", p.path, open+1)
	}
	return out
}

// prose returns the lines outside of fences, the others blank, so that line numbers stay.
func (p page) prose() []string {
	out := make([]string, len(p.lines))
	inside := false
	for i, line := range p.lines {
		if strings.HasPrefix(line, "```") {
			inside = !inside
		} else if !inside {
			out[i] = line
		}
	}
	return out
}

// section returns the page from a heading to the next one that isn't below it.
func (p page) section(t testing.TB, heading string) page {
	t.Helper()
	prose := p.prose()
	level, from := 0, -1
	for i, line := range prose {
		n := len(line) - len(strings.TrimLeft(line, "#"))
		switch {
		case n == 0:
		case from < 0 && strings.TrimSpace(line[n:]) == heading:
			level, from = n, i
		case from >= 0 && n <= level:
			return page{path: p.path, lines: p.lines[from:i]}
		}
	}
	if from < 0 {
		t.Fatalf("%s has no heading %q", p.path, heading)
	}
	return page{path: p.path, lines: p.lines[from:]}
}

// headings returns the headings of a level.
func (p page) headings(level int) []string {
	var out []string
	for _, line := range p.prose() {
		if title, ok := strings.CutPrefix(line, strings.Repeat("#", level)+" "); ok {
			out = append(out, strings.TrimSpace(title))
		}
	}
	return out
}

// rows returns the rows of all tables whose first column is called so, without their heads.
func (p page) rows(t testing.TB, firstColumn string) [][]string {
	t.Helper()
	var out [][]string
	wanted, inside := false, false
	for i, line := range p.prose() {
		if !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		row := cells(line)
		switch {
		case !inside:
			inside, wanted = true, row[0] == firstColumn
		case strings.Trim(row[0], "-") == "" && row[0] != "":
		case wanted:
			out = append(out, row)
		}
		if n := len(cells(p.prose()[i])); n < 2 {
			t.Errorf("%s: a table of one column: %s", p.path, line)
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s has no table with the first column %q", p.path, firstColumn)
	}
	return out
}

// cells splits a row of a table; \| is no border.
func cells(line string) []string {
	const hidden = "\x00"
	line = strings.ReplaceAll(strings.Trim(strings.TrimSpace(line), "|"), `\|`, hidden)
	var out []string
	for cell := range strings.SplitSeq(line, "|") {
		out = append(out, strings.TrimSpace(strings.ReplaceAll(cell, hidden, "|")))
	}
	return out
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// codes returns what stands in code spans in a text.
func codes(text string) []string {
	var out []string
	for _, m := range codeSpan.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// plain is a cell without its code marks.
func plain(cell string) string { return strings.ReplaceAll(cell, "`", "") }
