package interop_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/pratique-dev/pratique/test/interop"
)

// columns are those of the table.
func columns() []string {
	return []string{"signed", "wrong identity", "wrong digest", "expired", "tampered", "swapped entry"}
}

func columnOf(s interop.State) string {
	switch s {
	case interop.OtherIdentity, interop.OtherIssuer:
		return "wrong identity"
	case interop.OtherDigest:
		return "wrong digest"
	case interop.Expired, interop.ExpiredIssuer:
		return "expired"
	case interop.Forged, interop.Tampered, interop.TamperedProof:
		return "tampered"
	case interop.Swapped, interop.SwappedTimestamp:
		return "swapped entry"
	}
	return "signed"
}

// tally counts samples by cell and column.
type tally struct {
	sync.Mutex
	right, of map[string]int
}

func (a *tally) note(c interop.Cell, s interop.Sample, right bool) {
	a.Lock()
	defer a.Unlock()
	key := c.Name + " " + columnOf(s.State)
	a.of[key]++
	if right {
		a.right[key]++
	}
}

// table is the result for people: a row for each signer, layout and client.
func (a *tally) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| signer | layout | client | %s |\n", strings.Join(columns(), " | "))
	fmt.Fprintf(&b, "|%s\n", strings.Repeat("---|", 3+len(columns())))
	for _, c := range interop.Cells() {
		signer := string(c.Signer)
		if c.Attests {
			signer += ", SBOM"
		}
		layout := string(c.Layout)
		if c.Layout == interop.Bundle {
			layout += ", " + string(c.Registry)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |", signer, layout, c.Tool)
		for _, column := range columns() {
			fmt.Fprintf(&b, " %s |", a.cell(c, column))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (a *tally) cell(c interop.Cell, column string) string {
	word := "refused"
	if column == "signed" {
		word = "verified"
	}
	key := c.Name + " " + column
	switch {
	case c.Refused != "" && column == "signed":
		return "the client can't"
	case a.of[key] == 0:
		return "-"
	case a.right[key] < a.of[key]:
		return fmt.Sprintf("WRONG (%d of %d)", a.of[key]-a.right[key], a.of[key])
	case a.of[key] > 1:
		return fmt.Sprintf("%s (%d)", word, a.of[key])
	}
	return word
}

// Where the table is in SIGNERS.md.
const (
	tableBegins = "<!-- table, written by UPDATE_GOLDEN=1 go test ./test/interop -->\n"
	tableEnds   = "<!-- end of the table -->\n"
)

// golden compares the table with SIGNERS.md, or writes it there.
func golden(t *testing.T, table string) {
	t.Helper()
	text, err := os.ReadFile("SIGNERS.md")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), tableBegins)
	old, tail, also := strings.Cut(rest, tableEnds)
	if !ok || !also {
		t.Fatalf("SIGNERS.md has no place for the table: %q and %q", tableBegins, tableEnds)
	}
	if old == table {
		return
	}
	if os.Getenv("UPDATE_GOLDEN") == "" {
		t.Fatalf("SIGNERS.md has another table; UPDATE_GOLDEN=1 writes this one:\n%s", table)
	}
	if err := os.WriteFile("SIGNERS.md", []byte(head+tableBegins+table+tableEnds+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
