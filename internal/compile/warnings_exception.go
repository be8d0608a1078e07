package compile

import (
	"fmt"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

// exception warns of what an ImageException says, but is probably not meant.
func (w *warner) exception(e *v1alpha1.ImageException) {
	if e.CreationTimestamp.IsZero() { // which no API server leaves out
		w.say("metadata.creationTimestamp: absent, so it counts as made now; a cluster counts from when it was made there")
	}
	seen := map[string]bool{}
	for i, p := range e.Spec.Images[:min(len(e.Spec.Images), maxExceptionImages)] {
		at := fmt.Sprintf("spec.images[%d]", i)
		switch {
		case seen[p]:
			w.say("%s: is there twice", at)
		case p == "**":
			w.say("%s: any image of any host is excused; name those that you have looked at", at)
		}
		seen[p] = true
	}
}

// namespaceExceptions warns of what loosens nothing, since the policy asks nothing of vulnerabilities.
func (w *warner) namespaceExceptions(s *v1alpha1.ClusterImagePolicySpec) {
	if s.NamespaceExceptions != nil && (s.Require == nil || s.Require.Vulnerabilities == nil) {
		w.say("spec.namespaceExceptions: means nothing without require.vulnerabilities, all that exceptions loosen")
	}
}
