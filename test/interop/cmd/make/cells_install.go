package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pratique-dev/pratique/test/interop"
)

// installCells puts the second set in place of what is in dir, and lists it in SIGNERS.md. The table there is made by a test.
func installCells(dir, out string) error {
	text, err := os.ReadFile(filepath.Join(out, "cells.json"))
	if err != nil {
		return err
	}
	var list []interop.Cell
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	testdata := filepath.Join(dir, "testdata", "signers")
	if err := os.RemoveAll(testdata); err != nil {
		return err
	}
	if err := copyTree(testdata, out); err != nil {
		return err
	}
	return rewrite(filepath.Join(dir, "SIGNERS.md"), describeCells(list))
}

// describeCells lists the cells as SIGNERS.md prints them.
func describeCells(list []interop.Cell) string {
	var b strings.Builder
	for _, c := range list {
		fmt.Fprintf(&b, "\n### %s\n\n", c.Name)
		if c.Refused != "" {
			fmt.Fprintf(&b, "%s can't: `%s`\n", c.Tool, c.Refused)
		}
		said := map[string]interop.State{}
		for _, s := range c.Samples {
			label := s.State
			for _, command := range s.Commands {
				if as, ok := said[command]; ok && label != "" {
					command = "as " + string(as)
				} else if label != "" {
					said[command] = label
				}
				fmt.Fprintf(&b, "    %-16s %s\n", label, command)
				label = ""
			}
		}
	}
	return b.String()
}
