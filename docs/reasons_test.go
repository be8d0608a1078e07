package docs_test

import (
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

func TestTheReasonsAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	p := readPage(t, "docs/reasons.md")
	var have []string
	for _, r := range policy.Reasons() {
		have = append(have, string(r))
	}
	sameLists(t, "docs/reasons.md", p.headings(3), have)
	sameLists(t, "pkg/policy: Reasons() and its constants", constants(t, "pkg/policy/reason.go", ""), have)
	for _, reason := range p.headings(3) {
		var means, cure int
		for _, line := range p.section(t, reason).lines[1:] {
			switch {
			case strings.HasPrefix(line, "Cure: "):
				cure++
			case line != "" && cure == 0:
				means++
			}
		}
		if means == 0 || cure != 1 {
			t.Errorf("docs/reasons.md: %s: %d lines on what it means, %d cures", reason, means, cure)
		}
	}
}

// TestEveryLackIsOnThePage: what a signature that isn't proved lacks is told in kubectl's message, and people look it up.
func TestEveryLackIsOnThePage(t *testing.T) {
	t.Parallel()
	var listed, have []string
	_, after, _ := strings.Cut(strings.Join(readPage(t, "docs/reasons.md").section(t, "NoTrustedSignature").lines, "\n"), "after `but` what:")
	for _, row := range (page{path: "docs/reasons.md", lines: strings.Split(after, "\n")}).rows(t, "it says") {
		listed = append(listed, plain(row[0]))
	}
	for l := verify.LackOther; l <= verify.LackUse; l++ {
		have = append(have, l.String())
	}
	sameLists(t, "docs/reasons.md, NoTrustedSignature", listed, have)
}
