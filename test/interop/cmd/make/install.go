package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pratique-dev/pratique/test/interop"
)

// listMark is where the generated part of README.md and SIGNERS.md starts; it goes to the end.
const listMark = "<!-- from here on written by cmd/make -->\n"

// install puts what was made in place of what is in dir.
func install(dir, out string, fixtures []interop.Fixture) error {
	testdata := filepath.Join(dir, "testdata")
	for _, name := range []string{"layouts", "keys", "fixtures.json"} {
		if err := os.RemoveAll(filepath.Join(testdata, name)); err != nil {
			return err
		}
	}
	if err := copyTree(testdata, out); err != nil {
		return err
	}
	return rewrite(filepath.Join(dir, "README.md"), describe(fixtures))
}

// rewrite replaces the generated part of a text file.
func rewrite(file, list string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, _, ok := strings.Cut(string(text), listMark)
	if !ok {
		return fmt.Errorf("%s has no line %q", file, listMark)
	}
	return os.WriteFile(file, []byte(head+listMark+list), 0o644)
}

// copyTree copies the files under from into to.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), body, 0o644)
	})
}

// describe lists the fixtures as README.md prints them.
func describe(fixtures []interop.Fixture) string {
	var b strings.Builder
	for _, f := range fixtures {
		fmt.Fprintf(&b, "\n### %s\n\n", f.Name)
		fmt.Fprintf(&b, "State `%s`, signers %s. Verified by: %s.\n\n", f.State, strings.Join(f.Signers, ", "), accepted(f))
		for _, command := range f.Commands {
			fmt.Fprintf(&b, "    %s\n", command)
		}
	}
	return b.String()
}

func accepted(f interop.Fixture) string {
	var names []string
	for _, tool := range f.Verifies {
		names = append(names, string(tool))
	}
	if len(names) == 0 {
		return "neither"
	}
	return strings.Join(names, ", ")
}
