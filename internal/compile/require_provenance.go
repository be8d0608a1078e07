package compile

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

// Bounds of what is asked of provenance, as its schema has them.
const (
	maxProvenanceNames = 64   // in each list
	maxProvenanceName  = 1024 // bytes
	maxRef             = 512  // bytes
)

// provenanceList is one pair of lists, exact and of patterns.
type provenanceList struct {
	exactField, patternField string
	exact, patterns          []string
	bound                    int
	strangers                []string // whom no pattern may match: they are anybody
	cure                     string
}

// provenance checks what is asked of provenance. A pattern that matches what anybody may have is refused, as it is of identities.
func (c *checker) provenance(at *field.Path, p *v1alpha1.ProvenanceRequirement) {
	c.by(at.Child("by"), p.By)
	for _, l := range []provenanceList{
		{"builders", "builderPatterns", p.Builders, p.BuilderPatterns, maxProvenanceName, strangers(), "write out the host and the owner"},
		{"sources", "sourcePatterns", p.Sources, p.SourcePatterns, maxProvenanceName, strangeSources(), "write out the host and the owner"},
		{"refs", "refPatterns", p.Refs, p.RefPatterns, maxRef, strangeRefs(), "write out refs/heads/ or refs/tags/"},
		{"buildTypes", "buildTypePatterns", p.BuildTypes, p.BuildTypePatterns, maxProvenanceName, strangers(), "write out the host"},
	} {
		c.provenanceNames(at, l)
	}
}

func (c *checker) provenanceNames(at *field.Path, l provenanceList) {
	if !c.tooMany(at.Child(l.exactField), len(l.exact), maxProvenanceNames) {
		for i, name := range l.exact {
			if !c.badLength(at.Child(l.exactField).Index(i), name, l.bound, "write it as the provenance has it") && strings.TrimSpace(name) != name {
				c.invalid(at.Child(l.exactField).Index(i), "begins or ends with a blank, so that no provenance would have it")
			}
		}
	}
	at = at.Child(l.patternField)
	if c.tooMany(at, len(l.patterns), maxProvenanceNames) {
		return
	}
	for i, pattern := range l.patterns {
		if c.full() {
			return
		}
		if !c.badLength(at.Index(i), pattern, l.bound, "write a pattern of RE2, which is anchored for you") {
			c.provenancePattern(at.Index(i), pattern, l)
		}
	}
}

func (c *checker) provenancePattern(at *field.Path, pattern string, l provenanceList) {
	if c.steps > maxPolicySteps {
		return // which was said
	}
	steps, err := stepsOf(pattern)
	if err != nil {
		c.invalid(at, "%s", line(err.Error(), maxProblem))
		return
	}
	if c.steps += steps; c.steps > maxPolicySteps {
		c.invalid(at, "the policy's patterns make more than %d steps together: write + or * in place of large counts, or split the policy", maxPolicySteps)
		return
	}
	whole, err := anchored(pattern)
	if err != nil {
		c.invalid(at, "%s", line(err.Error(), maxProblem))
	} else if who, ok := matchesStranger(whole, pattern, l.strangers); ok {
		c.invalid(at, "matches anybody's, such as %q: %s; leave the list out if any will do", line(who, maxProblem), l.cure)
	}
}

// strangeSources are repositories that anybody may have.
func strangeSources() []string {
	return []string{
		"git+https://github.com/stranger/any", "https://github.com/stranger/any", "git+https://gitlab.com/stranger/any",
		"git+https://stranger.invalid/any", "https://stranger.invalid", "",
	}
}

// strangeRefs are refs that anybody may have a build started for: whoever opens a pull request or merge request.
func strangeRefs() []string {
	return []string{"refs/pull/1/merge", "refs/merge-requests/1/head", ""}
}
