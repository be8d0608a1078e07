package compile

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// Bounds of a policy, as its schema has them. They are held here too, since files reach the CLI without a schema.
const (
	maxImages      = 256 // patterns in include, and in exclude
	maxPattern     = 512 // bytes: a host of 253, a repository of 255
	maxTagGlobs    = 64
	maxTagGlob     = 128 // bytes: a tag has no more
	maxAuthorities = 64
	maxReason      = 512 // bytes: the first KiB of an answer must stand alone
	maxObjectName  = 253 // bytes, as Kubernetes bounds names
)

// maxPlatforms bounds images.platforms, as its schema does: an index has no more children.
const maxPlatforms = verify.MaxChildren

// MaxKeys bounds the keys of one policy over all its authorities: its status publishes them, and shares one etcd object
// of 1.5 MiB with its spec (256 keys of RSA-8192 are 370 KiB of PEM).
const MaxKeys = 256

// maxProblems bounds the problems that are told of one object: nobody mends more of them at once, and to find and to word thousands
// costs seconds.
const maxProblems = 32

// notYet is how every error begins that says that this version can't do something which the schema already has.
const notYet = "not supported yet"

// Validate returns what is wrong with one of our objects, as far as that can be told without a cluster and at any time. It is what
// /validate-policy refuses, what makes a policy unusable, and what the CLI reports: each error names the field and the cure.
// A TrustRoot's mirror may be asked by plain http only if its host is among plainHTTP, as HOST or HOST:PORT.
func Validate(obj Object, plainHTTP ...string) field.ErrorList {
	if t, ok := obj.(*v1alpha1.TrustRoot); ok && t != nil {
		return trustRootErrors(t, plainHTTP, false)
	}
	if e, ok := obj.(*v1alpha1.ImageException); ok && e != nil {
		return exceptionErrors(e)
	}
	v, err := viewOf(obj)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	c := checker{
		known: map[string]bool{}, keys: map[string][]verify.Key{}, signers: map[string]int{},
		reader: "a policy", own: ownNamespace(v.cluster != nil), entry: entryOfKey,
	}
	spec := field.NewPath("spec")
	c.mode(spec.Child("mode"), v.spec.Mode)
	c.images(spec.Child("images"), v.spec.Images)
	c.references(spec.Child("references"), v.spec.References)
	c.authorities(spec.Child("authorities"), v.spec.Authorities, v.cluster != nil)
	c.action(spec, v.spec)
	if s := v.spec.AcceptSummary; s != nil {
		c.acceptSummary(spec.Child("acceptSummary"), s, v.spec.Require)
	}
	if v.cluster != nil {
		c.clusterOnly(spec, v.cluster)
	}
	return c.all(spec)
}

// checker gathers errors, and what later fields need of earlier ones.
type checker struct {
	errs  field.ErrorList         // the first maxProblems of them
	found int                     // how many there are, those included that were not kept
	known map[string]bool         // the authorities by name
	order []string                // their names as they come
	keys  map[string][]verify.Key // the keys of those that carry theirs
	// signers counts the distinct names of those that have names, exact ones all.
	signers map[string]int
	reader  string // who reads Secrets and ConfigMaps
	own     string // which namespace's, and no other's
	entry   string // what to do about an entry that isn't named
	// identities counts those of all authorities, each of which may be a pattern to compile.
	identities int
	// steps are those that all patterns are compiled to.
	steps int
	// fulcio are the names of Fulcio's extensions, once they were needed.
	fulcio []string
}

// add keeps an error, if there aren't too many.
func (c *checker) add(e *field.Error) {
	if c.found++; c.found <= maxProblems {
		c.errs = append(c.errs, e)
	}
}

// full tells that nothing more need be looked for: enough is wrong.
func (c *checker) full() bool { return c.found >= maxProblems }

// all returns what is wrong, and says so where that isn't all.
func (c *checker) all(spec *field.Path) field.ErrorList {
	if c.found > 0 && c.full() {
		return append(c.errs, field.Invalid(spec, field.OmitValueType{}, "and perhaps more: mend these first"))
	}
	return c.errs
}

// invalid adds an error that doesn't repeat the value: it may be long, or a private key in the wrong place.
func (c *checker) invalid(at *field.Path, format string, args ...any) {
	if c.full() {
		c.found++
		return
	}
	c.add(field.Invalid(at, field.OmitValueType{}, fmt.Sprintf(format, args...)))
}

func (c *checker) required(at *field.Path, cure string) {
	c.add(field.Required(at, cure))
}

func (c *checker) unsupported(at *field.Path, cure string) {
	c.add(field.Forbidden(at, notYet+" by this version: "+cure))
}

// tooMany adds an error if there are more than bound, and tells whether that is so.
func (c *checker) tooMany(at *field.Path, n, bound int) bool {
	if n > bound {
		c.add(field.Invalid(at, n, fmt.Sprintf("at most %d: split the policy", bound)))
	}
	return n > bound
}

// badLength adds an error if a text is empty or longer than bound, and tells whether that is so.
func (c *checker) badLength(at *field.Path, s string, bound int, cure string) bool {
	switch {
	case s == "":
		c.required(at, cure)
	case len(s) > bound:
		c.invalid(at, "%d bytes, at most %d: %s", len(s), bound, cure)
	default:
		return false
	}
	return true
}

func (c *checker) mode(at *field.Path, m v1alpha1.Mode) {
	switch m {
	case "", v1alpha1.ModeEnforce, v1alpha1.ModeWarn, v1alpha1.ModeAudit:
		return
	}
	c.add(field.NotSupported(at, m, []v1alpha1.Mode{v1alpha1.ModeEnforce, v1alpha1.ModeWarn, v1alpha1.ModeAudit}))
}

func (c *checker) images(at *field.Path, images v1alpha1.Images) {
	if len(images.Include) == 0 {
		c.required(at.Child("include"), "say which images the policy is about, for instance registry.example.com/team/** or, for any image, **")
	}
	c.patterns(at.Child("include"), images.Include)
	c.patterns(at.Child("exclude"), images.Exclude)
	if c.tooMany(at.Child("platforms"), len(images.Platforms), maxPlatforms) {
		return
	}
	for i, p := range images.Platforms {
		if _, err := policy.ParsePlatform(p); err != nil {
			c.invalid(at.Child("platforms").Index(i), "%v", err)
		}
	}
}

func (c *checker) patterns(at *field.Path, patterns []string) {
	if c.tooMany(at, len(patterns), maxImages) {
		return
	}
	for i, p := range patterns {
		if c.full() {
			return
		}
		if c.badLength(at.Index(i), p, maxPattern, "write HOST/PATH, for instance registry.example.com/team/**") {
			continue
		}
		if _, err := policy.ParsePattern(p); err != nil {
			c.invalid(at.Index(i), "%v", err)
		}
	}
}

func (c *checker) references(at *field.Path, r *v1alpha1.References) {
	if r == nil {
		return
	}
	switch r.Tags {
	case "", v1alpha1.TagsPin, v1alpha1.TagsDeny, v1alpha1.TagsAllow:
	default:
		c.add(field.NotSupported(at.Child("tags"), r.Tags, []v1alpha1.TagRule{v1alpha1.TagsPin, v1alpha1.TagsDeny, v1alpha1.TagsAllow}))
	}
	c.tagGlobs(at.Child("allow"), r.Allow)
	c.tagGlobs(at.Child("deny"), r.Deny)
}

func (c *checker) tagGlobs(at *field.Path, globs []string) {
	const cure = "write a glob over tags, for instance v1.* (letters, digits, _ . - and the wildcards * and ?)"
	if c.tooMany(at, len(globs), maxTagGlobs) {
		return
	}
	for i, g := range globs {
		if c.badLength(at.Index(i), g, maxTagGlob, cure) {
			continue
		}
		if _, err := policy.ParseTagGlob(g); err != nil {
			c.invalid(at.Index(i), "%v", err)
		}
	}
}

const sayWhy = "say why, for those who meet the policy"

// action checks that the policy does exactly one thing, and that.
func (c *checker) action(at *field.Path, s *v1alpha1.ImagePolicySpec) {
	n := 0
	if s.Require != nil {
		n++
		c.require(at.Child("require"), s.Require)
	}
	if s.Allow != nil {
		n++
		c.badLength(at.Child("allow", "reason"), s.Allow.Reason, maxReason, sayWhy)
	}
	if s.Deny != nil {
		n++
		c.badLength(at.Child("deny", "reason"), s.Deny.Reason, maxReason, sayWhy)
	}
	switch n {
	case 0:
		c.required(at.Child("require"), "set exactly one of require, allow and deny")
	case 1:
	default:
		c.invalid(at, "set exactly one of require, allow and deny, not %d: write one policy for each", n)
	}
}

func (c *checker) clusterOnly(at *field.Path, s *v1alpha1.ClusterImagePolicySpec) {
	c.selector(at.Child("namespaceSelector"), s.NamespaceSelector)
	if s.NamespaceExceptions != nil {
		c.namespaceExceptions(at.Child("namespaceExceptions"), s.NamespaceExceptions)
	}
}

// authorityName checks that a name is one that requirements can refer to.
func (c *checker) authorityName(at *field.Path, name string) {
	switch problems := validation.IsDNS1123Label(name); {
	case name == "":
		c.required(at, "name the authority, for instance release: requirements refer to it by name")
	case len(problems) > 0:
		c.invalid(at, "%.80q: want lower-case letters, digits and -, at most 63", name)
	case c.known[name]:
		c.add(field.Duplicate(at, name))
	default:
		c.known[name] = true
		c.order = append(c.order, name)
	}
}

// names lists the authorities there are, for whoever mistyped one.
func (c *checker) names() string {
	const most = 10 // enough to find the one that was meant
	switch {
	case len(c.order) == 0:
		return "none"
	case len(c.order) > most:
		return strings.Join(c.order[:most], ", ") + fmt.Sprintf(" and %d more", len(c.order)-most)
	}
	return strings.Join(c.order, ", ")
}

// isNotYet tells whether an error says that this version can't do it.
func isNotYet(e *field.Error) bool { return strings.HasPrefix(e.Detail, notYet) }

// onlyNotYet tells whether nothing is wrong but that this version is too old for it.
func onlyNotYet(errs field.ErrorList) bool {
	return !slices.ContainsFunc(errs, func(e *field.Error) bool { return !isNotYet(e) })
}
