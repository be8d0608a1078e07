package compile

import (
	"fmt"
	"slices"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

// Warnings returns what is allowed in a policy object, but probably not meant. Each is one line of at most 120
// characters, since the API server drops longer ones.
func Warnings(obj Object) []string {
	v, err := viewOf(obj)
	if err != nil {
		return nil
	}
	var out []string
	images := v.spec.Images
	for i, p := range images.Include {
		at := fmt.Sprintf("spec.images.include[%d]", i)
		switch {
		case slices.Contains(images.Exclude, p):
			out = append(out, at+": is in exclude too, so the policy is not about it")
		case slices.Contains(images.Include[:i], p):
			out = append(out, at+": is there twice")
		}
		if v.spec.Allow != nil && p == "**" {
			out = append(out, at+": with allow, every image of any host gets in without papers as far as this policy goes")
		}
	}
	if r := v.spec.References; r != nil {
		switch {
		case v.spec.Deny != nil:
			out = append(out, "spec.references: means nothing beside deny, which refuses however the image is named")
		case r.Tags == v1alpha1.TagsAllow:
			out = append(out, "spec.references.tags: Allow: a tag may move between the check and the kubelet's pull")
		}
	}
	return out
}
