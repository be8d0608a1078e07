package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
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
		if hubWithoutLibrary(p) {
			out = append(out, at+": matches nothing: Docker Hub's own images are docker.io/library/NAME")
		}
		if v.spec.Allow != nil && p == "**" {
			out = append(out, at+": with allow, every image of any host gets in without papers as far as this policy goes")
		}
	}
	for i, p := range images.Exclude {
		if hubWithoutLibrary(p) {
			out = append(out, fmt.Sprintf("spec.images.exclude[%d]: matches nothing: Docker Hub's own images are docker.io/library/NAME", i))
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

// hubWithoutLibrary tells whether a pattern names an image of Docker Hub by one segment: the kubelet reads nginx and
// docker.io/nginx as docker.io/library/nginx, so that no image has such a name.
func hubWithoutLibrary(p string) bool {
	name, _, _ := strings.Cut(p, "@")
	host, path, _ := strings.Cut(name, "/")
	if !slices.Contains([]string{"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}, strings.TrimSuffix(host, ":443")) {
		return false
	}
	_, err := policy.ParsePattern(p)
	return err == nil && path != "**" && !strings.Contains(path, "/")
}
