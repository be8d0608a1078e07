package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^()\s]+)\)`)

// links returns the targets of the links in a text.
func links(text string) []string {
	var out []string
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// pages returns every Markdown file of the repository, by its path below the root.
func pages(t testing.TB) []page {
	t.Helper()
	var out []page
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		below = filepath.ToSlash(below)
		if entry.IsDir() {
			switch entry.Name() {
			case ".git", "bin", "dist", "testdata", "node_modules":
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(below, ".md") {
			out = append(out, readPage(t, below))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var notInAnchors = regexp.MustCompile(`[^a-z0-9 _-]`)

// anchors returns the anchors that GitHub gives a page's headings.
func (p page) anchors() map[string]bool {
	out := map[string]bool{}
	for level := 1; level <= 6; level++ {
		for _, title := range p.headings(level) {
			anchor := notInAnchors.ReplaceAllString(strings.ToLower(title), "")
			anchor = strings.ReplaceAll(anchor, " ", "-")
			for n, unique := 1, anchor; ; n++ {
				if !out[unique] {
					out[unique] = true
					break
				}
				unique = fmt.Sprintf("%s-%d", anchor, n)
			}
		}
	}
	return out
}

func TestEveryRelativeLinkLeadsSomewhere(t *testing.T) {
	t.Parallel()
	all := pages(t)
	byPath := map[string]page{}
	for _, p := range all {
		byPath[p.path] = p
	}
	checked := 0
	for _, p := range all {
		for i, line := range p.prose() {
			for _, target := range links(codeSpan.ReplaceAllString(line, "")) {
				if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
					continue
				}
				checked++
				where := fmt.Sprintf("%s:%d", p.path, i+1)
				file, anchor, hasAnchor := strings.Cut(target, "#")
				to := p.path
				if file != "" {
					to = path.Join(path.Dir(p.path), file)
				}
				if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(to))); err != nil {
					t.Errorf("%s: %s isn't there", where, target)
					continue
				}
				if hasAnchor && !byPath[to].anchors()[anchor] {
					t.Errorf("%s: %s has no heading %q", where, to, anchor)
				}
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d links were checked", checked)
	}
}

func TestThePagesAreASCII(t *testing.T) {
	t.Parallel()
	for _, p := range pages(t) {
		for i, line := range p.lines {
			for _, r := range line {
				if r > '~' || r < ' ' && r != '\t' {
					t.Errorf("%s:%d: %q", p.path, i+1, r)
				}
			}
		}
	}
}
