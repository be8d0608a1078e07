package policy

import (
	"fmt"
	"path"
	"strings"
)

// TagRule says what happens to an image that is named by a tag without a digest. The zero value refuses it.
type TagRule uint8

// The tag rules.
const (
	TagsDeny  TagRule = iota // refused, with the digest to use
	TagsAllow                // checked, with a warning that the tag may move before the kubelet pulls
	TagsPin                  // rewritten to the digest on Pods, before they are judged
)

// Pinning says what becomes of tags that policies want pinned. The zero value pins none.
type Pinning uint8

// The states of pinning.
const (
	PinningOff   Pinning = iota // the install rewrites no tags: such a tag is refused, with the digest to use
	PinningDone                 // tags were rewritten before: what is a tag still was not
	PinningAhead                // the tag will be rewritten before it is judged for a Pod
)

// TagGlob matches a tag as written: * stands for any characters, ? for one.
type TagGlob string

// ParseTagGlob reads a glob over tags.
func ParseTagGlob(s string) (TagGlob, error) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-*?"
	if s == "" || strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(alphabet, r) }) >= 0 {
		return "", fmt.Errorf("tag glob %q: a tag has letters, digits, _ . and -; * and ? are wildcards", s)
	}
	return TagGlob(s), nil
}

func (g TagGlob) match(tag string) bool {
	ok, err := path.Match(string(g), tag)
	return ok && err == nil
}

// References says how an image may be named.
//
//	tags   what happens to an image named by a tag without a digest: Pin, Deny or Allow
//	allow  globs of which a written tag must match one, also beside a digest; none: any
//	deny   globs of which a written tag must match none, also beside a digest
//
// No tag and no digest means latest. A lone digest has no tag to judge.
type References struct {
	Tags  TagRule
	Allow []TagGlob
	Deny  []TagGlob
}

const requirementReferences = "references"

// judge returns what is wrong with how the image is named, or the warning that goes with it.
//
// A policy that only warns or audits pins nothing, and so judges a tag as if it had been pinned: it tells what enforcing would.
func (rule References) judge(img Image, mode Mode) (bad *Result, warning *Warning) {
	violated := func(format string, args ...any) (*Result, *Warning) {
		return &Result{Requirement: requirementReferences, Outcome: Violated, Reason: TagNotAllowed, Detail: fmt.Sprintf(format, args...)}, nil
	}
	tag := img.Reference.Tag()
	if tag != "" {
		for _, g := range rule.Deny {
			if g.match(tag) {
				return violated("tag %s is denied (%s)", tag, g)
			}
		}
		allowed := len(rule.Allow) == 0
		for _, g := range rule.Allow {
			allowed = allowed || g.match(tag)
		}
		if !allowed {
			return violated("tag %s is none of those allowed", tag)
		}
	}
	if !img.Reference.ByTag() {
		return nil, nil
	}
	if rule.Tags == TagsPin && img.Pinning != PinningOff {
		return rule.unpinned(img, mode), nil
	}
	if rule.Tags != TagsAllow {
		if img.resolved() {
			return violated("a tag may move; use %s@%s", img.Reference.withTag(), img.Digest)
		}
		return violated("a tag may move; name the image by its digest (@sha256:...)")
	}
	text := "named by a tag, which may move before it is pulled"
	if img.resolved() {
		text = fmt.Sprintf("tag %s may move before it is pulled; checked @%s", tag, short(img.Digest.String()))
	}
	return nil, &Warning{Reason: TagMayMove, Text: text}
}

// unpinned judges a tag that should have been pinned, or will be.
func (rule References) unpinned(img Image, mode Mode) *Result {
	switch {
	case !img.resolved():
		r := unresolved(requirementReferences, img)
		return &r
	case img.Pinning == PinningAhead || mode != Enforce:
		return nil
	}
	return &Result{Requirement: requirementReferences, Reason: NotPinned, Detail: fmt.Sprintf(
		"the tag was not pinned before it came here; try again, or use %s@%s", img.Reference.withTag(), img.Digest)}
}

// withTag returns the reference with the tag that it stands for.
func (r Reference) withTag() string {
	if r.explicit || r.tag == "" {
		return r.written
	}
	return r.written + ":" + r.tag
}

// short shortens a digest or fingerprint for people: its first 12 hex digits tell any two apart.
func short(s string) string {
	kind, hex, ok := strings.Cut(s, ":")
	if !ok || len(hex) <= 12 {
		return s
	}
	return kind + ":" + hex[:12] + "..."
}
