package docs_test

import (
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/pkg/policy"
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
