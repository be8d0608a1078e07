package compile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// maxWarning bounds a warning, in bytes: the API server drops longer ones.
const maxWarning = 120

// Warnings returns what is allowed in one of our objects, but probably not meant. Each is one line of at most 120
// characters, since the API server drops longer ones.
func Warnings(obj Object) []string { return warningsAt(obj, time.Now()) }

// warningsAt is Warnings at some time, by which certificates may have expired.
func warningsAt(obj Object, now time.Time) []string {
	w := warner{now: now}
	if t, ok := obj.(*v1alpha1.TrustRoot); ok && t != nil {
		w.trustRoot(t)
		return w.out
	}
	if e, ok := obj.(*v1alpha1.ImageException); ok && e != nil {
		w.exception(e)
		return w.out
	}
	v, err := viewOf(obj)
	if err != nil {
		return nil
	}
	w.images(v.spec)
	w.references(v.spec)
	w.authorities(v.spec.Authorities)
	w.require(v.spec)
	if v.cluster != nil {
		w.namespaceExceptions(v.cluster)
		if label, ok := escapesBy(v.cluster.NamespaceSelector); ok && enforces(v.spec.Mode) { // Warn and Audit hold nothing that could escape
			const text = "spec.namespaceSelector: a namespace without the label %s escapes; NotIn and DoesNotExist select it"
			w.say(text, line(label, maxWarning-len(text)+len("%s")))
		}
	}
	return w.out
}

// enforces tells whether a policy of a mode refuses, as one does that says none.
func enforces(m v1alpha1.Mode) bool { return m != v1alpha1.ModeWarn && m != v1alpha1.ModeAudit }

// warner gathers warnings.
type warner struct {
	out []string
	now time.Time
}

func (w *warner) say(format string, args ...any) {
	w.out = append(w.out, line(fmt.Sprintf(format, args...), maxWarning))
}

func (w *warner) images(s *v1alpha1.ImagePolicySpec) {
	exclude := s.Images.Exclude[:min(len(s.Images.Exclude), maxImages)]
	for i, p := range s.Images.Include[:min(len(s.Images.Include), maxImages)] {
		at := fmt.Sprintf("spec.images.include[%d]", i)
		switch {
		case slices.Contains(exclude, p):
			w.say("%s: is in exclude too, so the policy is not about it", at)
		case slices.Contains(s.Images.Include[:i], p):
			w.say("%s: is there twice", at)
		}
		if s.Allow != nil && p == "**" {
			w.say("%s: with allow, every image of any host gets in without papers as far as this policy goes", at)
		}
	}
	seen := map[policy.Platform]bool{}
	for i, text := range s.Images.Platforms[:min(len(s.Images.Platforms), maxPlatforms)] {
		if p, err := policy.ParsePlatform(text); err == nil && seen[p] {
			w.say("spec.images.platforms[%d]: is there twice", i)
		} else if err == nil {
			seen[p] = true
		}
	}
	if len(s.Images.Platforms) > 0 && !aboutPlatforms(s.Require) {
		w.say("spec.images.platforms: means nothing here; what is required is about the digest that runs, all platforms at once")
	}
}

// aboutPlatforms tells whether a requirement is about each platform of an image, and not about the digest that runs alone.
func aboutPlatforms(r *v1alpha1.Require) bool {
	return r != nil && (r.SBOM != nil || r.Vulnerabilities != nil || r.Secrets != nil || r.Provenance != nil || len(r.Tests) > 0 || len(r.Custom) > 0)
}

func (w *warner) references(s *v1alpha1.ImagePolicySpec) {
	switch r := s.References; {
	case r == nil:
	case s.Deny != nil:
		w.say("spec.references: means nothing beside deny, which refuses however the image is named")
	case r.Tags == v1alpha1.TagsAllow:
		w.say("spec.references.tags: Allow: a tag may move between the check and the kubelet's pull")
	}
}

func (w *warner) authorities(list []v1alpha1.Authority) {
	n := 0
	for i, a := range list[:min(len(list), maxAuthorities)] {
		at := fmt.Sprintf("spec.authorities[%d]", i)
		if a.Keyless != nil {
			for j, id := range a.Keyless.Identities {
				if n++; n > maxIdentities {
					return
				}
				w.identity(fmt.Sprintf("%s.keyless.identities[%d]", at, j), &id)
			}
		}
		if a.Certificate != nil {
			w.roots(at+".certificate.roots", &a)
			for j, id := range a.Certificate.Identities {
				if n++; n > maxIdentities {
					return
				}
				in := fmt.Sprintf("%s.certificate.identities[%d]", at, j)
				w.exact(in+".subject", id.Subject)
				w.open(in+".subjectPattern", id.SubjectPattern)
				w.dot(in+".subjectPattern", id.SubjectPattern)
			}
		}
	}
}

// exact warns of a name that was written as a pattern.
func (w *warner) exact(at, name string) {
	if strings.Contains(name, "*") {
		w.say("%s: is compared as it is, * included", at)
	}
}

// open warns of a pattern that goes on within the name of an owner: https://github\.com/acme.* is about acme-stranger too.
func (w *warner) open(at, pattern string) {
	if pattern == "" || len(pattern) > maxSubject {
		return
	}
	if _, err := stepsOf(pattern); err != nil { // of which Validate tells
		return
	}
	if owner, ok := neighbour(pattern); ok {
		w.say("%s: matches the owner %s too; end the name with /", at, line(owner, 32))
	}
}
