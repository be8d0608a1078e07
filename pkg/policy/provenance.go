package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// Bounds of a provenance requirement.
const (
	// maxNames bounds each list: what builds one image is a handful.
	maxNames = 64
	// maxPattern bounds each pattern, in bytes: a URI and some. What it may cost to match, whoever reads policies bounds.
	maxPattern = 1024
)

// ProvenanceRules say which provenance will do. Of each pair of lists one name or one pattern must fit; where both are empty, any does. Patterns
// are RE2, and must match the whole.
type ProvenanceRules struct {
	// Builders are ids of builders.
	Builders, BuilderPatterns []string
	// Sources are repositories, compared without @ref; git+https://HOST/PATH and https://HOST/PATH.git are one.
	Sources, SourcePatterns []string
	// Refs are what of the source was built, such as refs/heads/main.
	Refs, RefPatterns []string
	// BuildTypes say how it was built.
	BuildTypes, BuildTypePatterns []string
}

// provenance is the requirement that the image was built by somebody, from something.
//
//	by                              the authorities that count
//	builders, builderPatterns       builder.id is one of these
//	sources, sourcePatterns         every repository that the provenance says to have been built from is one of these
//	refs, refPatterns               every ref that it says to have been built from is one of these
//	buildTypes, buildTypePatterns   buildType is one of these
//
// Of an index, each platform has its own. The newest counts. What it doesn't say, be it because its build type isn't known, is not what is wanted.
//
// The signer is bound to the builder (SLSA, "verifying build provenance": accept only pairs of them). A keyless signer whose certificate says which
// workflow it was given to vouches for that workflow as the builder, or for the runners of its issuer, and for no other: see vouches. A key's
// certificate doesn't say so, and a bare key has none: there the pair that the policy makes, by and builders, is what binds them.
type provenance struct {
	by                               []verify.Authority
	questions                        []verify.Question
	builders, sources, refs, methods oneOf
}

// NewProvenance returns the requirement of provenance by one of the authorities.
func NewProvenance(by []verify.Authority, rules ProvenanceRules) (Requirement, error) {
	p := provenance{by: by}
	var err error
	if p.questions, err = ask(by, predicate.KindProvenance); err != nil {
		return nil, err
	}
	for _, list := range []struct {
		to              *oneOf
		name, patternOf string
		exact, patterns []string
	}{
		{&p.builders, "builders", "builderPatterns", rules.Builders, rules.BuilderPatterns},
		{&p.sources, "sources", "sourcePatterns", rules.Sources, rules.SourcePatterns},
		{&p.refs, "refs", "refPatterns", rules.Refs, rules.RefPatterns},
		{&p.methods, "buildTypes", "buildTypePatterns", rules.BuildTypes, rules.BuildTypePatterns},
	} {
		if *list.to, err = newOneOf(list.name, list.patternOf, list.exact, list.patterns); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Name implements Requirement.
func (p provenance) Name() string { return "provenance" }

// Subject implements Requirement.
func (p provenance) Subject() Subject { return EachPlatform }

// Questions implements Requirement.
func (p provenance) Questions() []verify.Question { return p.questions }

// String says by whom.
func (p provenance) String() string { return "by " + namesOf(p.by, " or ") }

// Judge implements Requirement.
func (p provenance) Judge(c Case, findings []verify.Findings) Result {
	all := papers[*predicate.Provenance]{requirement: p.Name(), what: "provenance statement", none: NoProvenance, by: p.by}
	return all.judge(c, findings, p.content)
}

// content judges what one says: the first thing that is wrong gives the reason, and all are told.
func (p provenance) content(paper paper[*predicate.Provenance]) Result {
	f, r := paper.facts, Result{Outcome: Satisfied, Reason: Verified}
	var wrong []string
	fail := func(reason Reason, format string, args ...any) {
		if len(wrong) == 0 {
			r.Outcome, r.Reason = Violated, reason
		}
		wrong = append(wrong, fmt.Sprintf(format, args...))
	}
	if !p.builders.match(f.Builder()) {
		fail(WrongBuilder, "built by %s, wanted %s", printableName(f.Builder()), p.builders)
	}
	if who := paper.evidence.SignedBy(); len(wrong) == 0 && !vouches(who, f.Builder()) { // of one that isn't wanted anyway that says enough
		fail(BuilderNotSigner, "it names %s as the builder, but was signed by %s, who may vouch only for itself", printableName(f.Builder()), printableName(workflowOf(who)))
	}
	if !p.methods.match(f.BuildType()) {
		fail(WrongBuildType, "of build type %s, wanted %s", printableName(f.BuildType()), p.methods)
	}
	sources, refs := f.Sources(), f.Refs()
	switch strange := p.sources.strangers(sources); {
	case p.sources.any():
	case len(sources) == 0:
		fail(WrongSource, "it doesn't say from which repository%s, wanted %s", unknownType(f), p.sources)
	case len(strange) > 0:
		fail(WrongSource, "built from %s, wanted %s", listed(strange), p.sources)
	}
	switch strange := p.refs.strangers(refs); {
	case p.refs.any():
	case len(refs) == 0:
		fail(WrongRef, "it doesn't say from which ref%s, wanted %s", unknownType(f), p.refs)
	case len(strange) > 0:
		fail(WrongRef, "built from ref %s, wanted %s", listed(strange), p.refs)
	}
	if r.Detail = strings.Join(wrong, "; "); len(wrong) == 0 {
		r.Detail = "built by " + printableName(f.Builder()) + from(sources, refs) + bound(paper)
	}
	return r
}

// from says what it was built from, as far as that is known.
func from(sources, refs []string) string {
	text := ""
	if len(sources) > 0 {
		text += ", from " + listed(sources)
	}
	if len(refs) > 0 {
		text += " at " + listed(refs)
	}
	return text
}

// bound says on whose word the builder is who it is said to be, where no certificate tells.
func bound(p paper[*predicate.Provenance]) string {
	if workflowOf(p.evidence.SignedBy()) == "" {
		return ", on the word of " + p.by
	}
	return ""
}

func unknownType(f *predicate.Provenance) string {
	if f.KnownBuildType() {
		return ""
	}
	return ", as far as is known of build type " + printable(f.BuildType())
}

// listed names a few, for a message.
func listed(all []string) string {
	const most = 3
	var out []string
	for _, s := range all[:min(most, len(all))] {
		out = append(out, printable(s))
	}
	text := strings.Join(out, " and ")
	if more := len(all) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// githubActions is the issuer of GitHub's workflows; an enterprise may have /NAME behind it.
const githubActions = "https://token.actions.githubusercontent.com"

// workflowOf is the workflow that a certificate was given to, empty where it says none: it is a person's, or a service's.
func workflowOf(who verify.SignedBy) string {
	switch {
	case who.BuildSigner != "":
		return who.BuildSigner
	case who.BuildConfig != "":
		return who.BuildConfig
	case byGitHub(who): // before Fulcio had those extensions
		return who.Subject
	}
	return ""
}

func byGitHub(who verify.SignedBy) bool {
	return who.Issuer == githubActions || strings.HasPrefix(who.Issuer, githubActions+"/")
}

// vouches tells whether a signer may say what a builder built. A workflow says it of itself, as its certificate names it; of the workflow that called
// it; and of what runs these, which provenance names where the builder is a service as a whole:
//
//	GitHub   https://github.com/actions/runner/ENVIRONMENT, the environment being that of the certificate;
//	         REPOSITORY/actions/runs/NUMBER (buildkit), a run of the workflow that called, in its repository
//	GitLab   URL/-/runners/NUMBER, the URL being that of the issuer, of the project or of a group above it
func vouches(who verify.SignedBy, builder string) bool {
	workflow := workflowOf(who)
	switch {
	case workflow == "":
		return true
	case builder == workflow, builder == who.BuildConfig, strings.Contains(who.Subject, "://") && builder == who.Subject:
		return true
	case byGitHub(who):
		return who.Runner != "" && builder == "https://github.com/actions/runner/"+who.Runner || runsOnGitHub(who, builder)
	}
	return runsOnGitLab(who, workflow, builder)
}

// runsOnGitHub tells whether a builder is a run of the workflow: one there is REPOSITORY/.github/workflows/FILE@REF.
func runsOnGitHub(who verify.SignedBy, builder string) bool {
	caller := who.BuildConfig
	if caller == "" {
		caller = workflowOf(who)
	}
	repository, _, ok := strings.Cut(caller, "/.github/workflows/")
	run, in := strings.CutPrefix(builder, repository+"/actions/runs/")
	number, attempt, again := strings.Cut(run, "/attempts/")
	return ok && in && repository != "" && isNumber(number) && (!again || isNumber(attempt))
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// runsOnGitLab tells whether a builder is a runner that the workflow may have run on: a workflow there is PROJECT//FILE@REF.
func runsOnGitLab(who verify.SignedBy, workflow, builder string) bool {
	at, number, ok := strings.Cut(builder, "/-/runners/")
	if !ok || !isNumber(number) || who.Issuer == "" {
		return false
	}
	path, ok := strings.CutPrefix(workflow, who.Issuer+"/")
	project, _, two := strings.Cut(path, "//")
	if !ok || !two || project == "" {
		return false
	}
	group, ok := strings.CutPrefix(at, who.Issuer+"/groups/")
	return at == who.Issuer || at == who.Issuer+"/"+project || ok && group != "" && strings.HasPrefix(project, group+"/")
}

// oneOf are names and patterns, one of which must fit. The zero oneOf is fit by anything.
type oneOf struct {
	exact    []string
	patterns []*regexp.Regexp
	text     string
	sources  bool // they are of repositories, and compared as such
}

// newOneOf checks a list of names and one of patterns.
func newOneOf(name, patternName string, exact, patterns []string) (oneOf, error) {
	o := oneOf{sources: name == "sources"}
	var text []string
	for i, s := range exact {
		switch {
		case i == maxNames:
			return oneOf{}, fmt.Errorf("%s: more than %d", name, maxNames)
		case s == "":
			return oneOf{}, fmt.Errorf("%s[%d]: empty", name, i)
		}
		text = append(text, printable(s))
		if o.sources {
			s = strings.TrimPrefix(predicate.SourceName(s), "git+")
		}
		o.exact = append(o.exact, s)
	}
	for i, s := range patterns {
		if i == maxNames {
			return oneOf{}, fmt.Errorf("%s: more than %d", patternName, maxNames)
		}
		re, err := whole(s)
		if err != nil {
			return oneOf{}, fmt.Errorf("%s[%d]: %w", patternName, i, err)
		}
		text = append(text, "/"+printable(s)+"/")
		o.patterns = append(o.patterns, re)
	}
	o.text = strings.Join(text[:min(2, len(text))], " or ")
	if more := len(text) - 2; more > 0 {
		o.text += fmt.Sprintf(" or %d more", more)
	}
	return o, nil
}

// whole compiles a pattern that must match the whole of a name. It is compiled by itself first: what isn't balanced could end the group around it.
func whole(pattern string) (*regexp.Regexp, error) {
	switch {
	case pattern == "":
		return nil, errors.New("empty")
	case len(pattern) > maxPattern:
		return nil, fmt.Errorf("%d bytes: at most %d", len(pattern), maxPattern)
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, fmt.Errorf("is no RE2: %w", err)
	}
	re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return nil, errors.New(`can't be anchored: it leaves a quotation open; end \Q with \E`)
	}
	for _, stranger := range []string{"", "https://stranger.invalid/any@refs/heads/any", "git+https://stranger.invalid/any"} {
		if re.MatchString(stranger) {
			return nil, fmt.Errorf("matches anything, such as %q: leave the list out, if any will do", stranger)
		}
	}
	return re, nil
}

func (o oneOf) any() bool { return len(o.exact)+len(o.patterns) == 0 }

// match tells whether a name fits.
func (o oneOf) match(s string) bool {
	if o.any() {
		return true
	}
	bare := s
	if o.sources {
		bare = strings.TrimPrefix(s, "git+")
	}
	return slices.Contains(o.exact, bare) || slices.ContainsFunc(o.patterns, func(re *regexp.Regexp) bool {
		return re.MatchString(s) || o.sources && re.MatchString(bare)
	})
}

// strangers are those that don't fit.
func (o oneOf) strangers(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), o.match)
}

// String names what is wanted.
func (o oneOf) String() string { return o.text }

// ask returns the questions for papers of one kind by each of the authorities.
func ask(by []verify.Authority, kind predicate.Kind) ([]verify.Question, error) {
	if len(by) == 0 {
		return nil, errors.New("by: names no authority, so nobody could satisfy it")
	}
	var out []verify.Question
	for _, a := range by {
		q, err := verify.Papers(a, kind)
		if err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	return out, nil
}
