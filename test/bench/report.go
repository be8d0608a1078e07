package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pratique-dev/pratique/test/bed"
)

// page is where the numbers are shown, between two marks.
const (
	page  = "docs/performance.md"
	begin = "<!-- numbers: make bench writes what is between the marks -->\n"
	end   = "<!-- end of numbers -->\n"
)

// publish puts the table into the page.
func publish(table string) error {
	root, err := bed.Root()
	if err != nil {
		return err
	}
	file := filepath.Join(root, filepath.FromSlash(page))
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	replaced, err := between(string(text), table)
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return os.WriteFile(file, []byte(replaced), 0o644)
}

// between replaces what is between the marks.
func between(text, table string) (string, error) {
	head, rest, ok := strings.Cut(text, begin)
	_, tail, ended := strings.Cut(rest, end)
	if !ok || !ended {
		return "", fmt.Errorf("the marks of the numbers are missing: want %q and %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return head + begin + "```text\n" + strings.TrimSpace(table) + "\n```\n" + end + tail, nil
}
