package compile

import (
	"fmt"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

// exception warns of what an ImageException says, but is probably not meant.
func (w *warner) exception(e *v1alpha1.ImageException) {
	w.expired("spec.expires", e.Spec.Expires)
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
