package compile

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// defaultTags is what references.tags means where it is absent. Where the install pins nothing it refuses a tag, as Deny does.
const defaultTags = policy.TagsPin

// Compiler turns policy objects into policies.
type Compiler struct {
	// Materials reads the keys that policies refer to.
	Materials Materials
	// TrustRoots knows the TrustRoots that policies refer to; nil is PublicGoodOnly.
	TrustRoots TrustRoots
	// Namespace is the install's own: a ClusterImagePolicy's references are read there.
	Namespace string
	// RolloutAudit says that the install lets Pods in while the webhook doesn't answer: policies say so in their statuses.
	RolloutAudit bool
}

// Compile turns an object into a policy. It never fails: a policy that can't be used refuses what it matches, and one whose
// images can't be read matches everything. The Report says what became of it; a panic is reported too.
func (c Compiler) Compile(ctx context.Context, obj Object) (*policy.Policy, Report) {
	b := c.newBuild()
	b.guard(ctx, func() {
		v, err := viewOf(obj)
		if err != nil {
			b.unusable(ReasonInternalError, err.Error())
			return
		}
		c.compile(ctx, b, v)
	})
	return b.policy, b.report
}

// compileRaw is Compile for what an API server gave: what can't be decoded becomes a policy that refuses what can be
// understood of its images.
func (c Compiler) compileRaw(ctx context.Context, raw []byte, name policy.Name) (*policy.Policy, Report) {
	b := c.newBuild()
	b.policy.Name = name
	b.guard(ctx, func() {
		d, err := open(raw)
		if err != nil {
			b.unusable(ReasonInvalidField, err.Error())
			return
		}
		obj, problems := d.object()
		if len(problems) > 0 {
			if v, err := viewOf(d.salvage()); err == nil {
				b.shape(v)
			}
			b.policy.Name = name
			b.unusable(ReasonInvalidField, (&DecodeError{Problems: problems}).Error())
			return
		}
		v, err := viewOf(obj)
		if err != nil {
			b.unusable(ReasonInternalError, err.Error())
			return
		}
		c.compile(ctx, b, v)
	})
	return b.policy, b.report
}

// compile fills in a policy, and makes it usable only at the very end.
func (c Compiler) compile(ctx context.Context, b *build, v view) {
	b.shape(v)
	if errs := Validate(v.object); len(errs) > 0 {
		reason := ReasonInvalidField
		if onlyNotYet(errs) {
			reason = ReasonNotSupported
		}
		b.unusable(reason, errs.ToAggregate().Error())
		return
	}
	namespace := v.object.GetNamespace()
	if v.cluster != nil {
		namespace = c.Namespace
	}
	if !b.resolve(ctx, c.resolver(namespace), v.spec.Authorities) {
		return
	}
	if err := b.platforms(v.spec.Images.Platforms); err != nil {
		b.unusable(ReasonInvalidField, "spec.images.platforms: "+err.Error())
		return
	}
	if err := b.references(v.spec.References); err != nil {
		b.unusable(ReasonInvalidField, "spec.references: "+err.Error())
		return
	}
	if err := b.action(v.spec); err != nil {
		b.unusable(ReasonInvalidField, err.Error())
		return
	}
	if v.cluster != nil {
		b.namespaceExceptions(v.cluster.NamespaceExceptions)
	}
	b.policy.Unusable = ""
	b.report.Reason, b.report.Message = ReasonCompiled, b.inForce()
}

// notGuaranteed is what people are told of a policy that enforces where the install's rollout is audit.
const notGuaranteed = "the install's rollout is audit, so images are admitted while the webhook doesn't answer"

// inForce says of a usable policy what it does, or what is to be known of that first.
func (b *build) inForce() string {
	loose := b.report.RolloutAudit && b.policy.Mode == policy.Enforce
	switch kept := b.policy.KeysNotReadAgain; {
	case kept != "" && loose:
		return "in force with " + b.kept + " read before, but not guaranteed: " + notGuaranteed + "; " + kept
	case kept != "":
		return "in force with " + b.kept + " read before: " + kept
	case loose:
		return "in force, but not guaranteed: " + notGuaranteed
	}
	return "in force: " + b.policy.Summary()
}

// build is a policy while it is being compiled. It refuses everything until it is found to be better.
type build struct {
	policy      *policy.Policy
	report      Report
	authorities map[string]verify.Authority
	kept        string // what was read before, where it could not be read again
}

func (c Compiler) newBuild() *build {
	return &build{
		policy:      &policy.Policy{Unusable: "it was not compiled", MatchesAll: true},
		report:      Report{Reason: ReasonInternalError, Namespaces: labels.Everything(), RolloutAudit: c.RolloutAudit},
		authorities: map[string]verify.Authority{},
	}
}

// guard runs what compiles. A panic makes this policy unusable; the others, and the process, live on.
func (b *build) guard(ctx context.Context, f func()) {
	defer func() {
		if v := recover(); v != nil {
			log.FromContext(ctx).Error(fmt.Errorf("panic: %v", v), "compiling a policy", "policy", b.policy.Name.String(), "stack", string(debug.Stack()))
			b.unusable(ReasonInternalError, fmt.Sprintf("compiling it failed: panic: %v", v))
		}
	}()
	f()
}

// unusable says why the policy can't be used. What it matches, and in which mode, stays.
func (b *build) unusable(reason, why string) {
	why = line(why, maxMessage)
	b.policy.Unusable = why
	b.policy.Action, b.policy.Because, b.policy.Requirements, b.policy.AcceptSummary, b.policy.Digest = policy.ActionNone, "", nil, nil, ""
	b.report.Reason, b.report.Message = reason, why
}

// shape reads which images and namespaces the policy is about, and in which mode. What can't be read is read as what
// refuses most: an unknown mode enforces, an unreadable selector selects every namespace, a bad include matches
// everything, a bad exclude excludes nothing. (Each of them also makes the policy unusable, by Validate.)
func (b *build) shape(v view) {
	b.policy.Name = v.name()
	switch v.spec.Mode {
	case v1alpha1.ModeWarn:
		b.policy.Mode = policy.Warn
	case v1alpha1.ModeAudit:
		b.policy.Mode = policy.Audit
	case v1alpha1.ModeEnforce:
	}
	if v.cluster != nil && v.cluster.NamespaceSelector != nil {
		if s, err := metav1.LabelSelectorAsSelector(v.cluster.NamespaceSelector); err == nil {
			b.report.Namespaces = s
		}
	}
	include, good := patterns(v.spec.Images.Include)
	exclude, _ := patterns(v.spec.Images.Exclude)
	b.policy.Images = policy.Matcher{Include: include, Exclude: exclude}
	b.policy.MatchesAll = !good || len(include) == 0
}

// patterns parses what can be parsed; all is false where one can't.
func patterns(texts []string) (out []policy.Pattern, all bool) {
	all = len(texts) <= maxImages
	for _, text := range texts[:min(len(texts), maxImages)] {
		p, err := policy.ParsePattern(text)
		if err != nil || len(text) > maxPattern {
			all = false
			continue
		}
		out = append(out, p)
	}
	return out, all
}

func (c Compiler) resolver(namespace string) *resolver {
	r := &resolver{materials: c.Materials, namespace: namespace, roots: c.TrustRoots, asked: map[string]trusted{}}
	if r.roots == nil {
		r.roots = PublicGoodOnly{}
	}
	return r
}

// resolve finds out who the authorities are, all of them, so that the status tells of each. It says whether all are known.
func (b *build) resolve(ctx context.Context, r *resolver, list []v1alpha1.Authority) bool {
	var bad, kept, roots []string
	reason, keys := ReasonKeyUnavailable, 0
	for i := range list {
		report, who := r.authority(ctx, &list[i])
		b.report.Authorities = append(b.report.Authorities, report)
		switch {
		case report.Problem != "":
			bad = append(bad, "authority "+report.Name+": "+report.Problem)
			reason = worse(reason, report.Reason)
		case report.NotReadAgain != "":
			kept = append(kept, "authority "+report.Name+": "+report.NotReadAgain)
		}
		if text := report.TrustRootKept; text != "" && !slices.Contains(roots, text) {
			roots = append(roots, text)
		}
		keys += len(report.PublicKeys)
		b.authorities[report.Name] = who
	}
	if keys > MaxKeys {
		reason, bad = ReasonInvalidKey, append(bad, fmt.Sprintf("%d keys, at most %d in one policy: split the policy", keys, MaxKeys))
	}
	if len(bad) > 0 {
		b.unusable(reason, strings.Join(bad, "; "))
		return false
	}
	switch {
	case len(roots) == 0:
		b.kept = "keys"
	case len(kept) == 0:
		b.kept = "trust roots"
	default:
		b.kept = "keys and trust roots"
	}
	b.policy.KeysNotReadAgain = line(strings.Join(append(kept, roots...), "; "), maxMessage)
	return true
}

// worse is which of two reasons is told of a policy: what only an edit can cure comes before what may come right by itself.
func worse(a, b string) string {
	order := []string{ReasonInvalidField, ReasonInvalidKey, ReasonTrustRootUnavailable, ReasonKeyUnavailable}
	if slices.Index(order, b) < slices.Index(order, a) {
		return b
	}
	return a
}

// platforms reads which children of an index must have papers, each once however it is spelled.
func (b *build) platforms(list []string) error {
	for _, text := range list {
		p, err := policy.ParsePlatform(text)
		if err != nil {
			return err
		}
		if !slices.Contains(b.policy.Platforms, p) {
			b.policy.Platforms = append(b.policy.Platforms, p)
		}
	}
	return nil
}

func (b *build) references(r *v1alpha1.References) error {
	if r == nil {
		b.policy.References.Tags = defaultTags
		return nil
	}
	switch r.Tags {
	case "":
		b.policy.References.Tags = defaultTags
	case v1alpha1.TagsPin:
		b.policy.References.Tags = policy.TagsPin
	case v1alpha1.TagsAllow:
		b.policy.References.Tags = policy.TagsAllow
	case v1alpha1.TagsDeny:
		b.policy.References.Tags = policy.TagsDeny
	default:
		return fmt.Errorf("tags: %.64q is no rule", r.Tags)
	}
	for _, text := range r.Allow {
		g, err := policy.ParseTagGlob(text)
		if err != nil {
			return err
		}
		b.policy.References.Allow = append(b.policy.References.Allow, g)
	}
	for _, text := range r.Deny {
		g, err := policy.ParseTagGlob(text)
		if err != nil {
			return err
		}
		b.policy.References.Deny = append(b.policy.References.Deny, g)
	}
	return nil
}

// action reads what the policy does with what it matches.
func (b *build) action(s *v1alpha1.ImagePolicySpec) error {
	switch {
	case s.Allow != nil:
		b.policy.Action, b.policy.Because = policy.ActionAllow, line(s.Allow.Reason, maxReason)
		return nil
	case s.Deny != nil:
		b.policy.Action, b.policy.Because = policy.ActionDeny, line(s.Deny.Reason, maxReason)
		return nil
	}
	require := withDefaults(s.Require)
	requirements, err := b.requirements(require)
	if err != nil {
		return err
	}
	summary, err := b.summary(s.AcceptSummary)
	if err != nil {
		return err
	}
	digest, err := digestOf(b.authorities, s)
	if err != nil {
		return fmt.Errorf("the policy's digest: %w", err)
	}
	b.policy.Action, b.policy.Digest = policy.ActionRequire, digest
	b.policy.Requirements, b.policy.AcceptSummary = requirements, summary
	return nil
}
