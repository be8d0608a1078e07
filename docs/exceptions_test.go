package docs_test

import (
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// TestTheExamplesExceptionCountsOnTheDayThatItIsApplied, with a date 30 days ahead: under the cluster's policy beside it, which must let it last that
// long. The page has both too.
func TestTheExamplesExceptionCountsOnTheDayThatItIsApplied(t *testing.T) {
	t.Parallel()
	cases := exceptionCases()
	const excused = "the excused finding"
	if cases[0].name != excused {
		t.Fatalf("the first case is %q, want %q", cases[0].name, excused)
	}
	cases[0].run(t, "image-exception.yaml")
	longest := regexp.MustCompile(`(?m)^    maxDuration: \S+$`)
	example, page := readFile(t, "examples/image-exception.yaml"), readFile(t, "docs/exceptions.md")
	if of := longest.FindString(example); of == "" || of != longest.FindString(page) {
		t.Errorf("the example has %q, docs/exceptions.md %q", of, longest.FindString(page))
	}
}

// TestTheNamespaceOfTheExamplesPageMakesAStageCount: production.yaml selects by a label, which the page's lines give.
func TestTheNamespaceOfTheExamplesPageMakesAStageCount(t *testing.T) {
	t.Parallel()
	document := ""
	for _, c := range readPage(t, "examples/README.md").commands(t) {
		if text, ok := strings.CutPrefix(c.line, "echo '"); ok {
			document, _, _ = strings.Cut(text, "' > namespace.yaml")
		}
	}
	if _, err := yaml.YAMLToJSONStrict([]byte(document)); err != nil || document == "" {
		t.Fatalf("the page has no Namespace: %q, %v", document, err)
	}
	example := readFile(t, "examples/production.yaml")
	counts := func(bundle *compile.Bundle) bool {
		set, unresolved := bundle.Set(t.Context(), "shop", policy.UnmatchedAllow)
		return len(unresolved) == 0 && len(set.All()) == 1
	}
	if !counts(load(t, example+"\n---\n"+document)) {
		t.Error("with it production.yaml doesn't count")
	}
	if counts(load(t, example)) {
		t.Error("without it production.yaml counts as well, so that the page needn't have it")
	}
}
