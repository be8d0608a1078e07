package predicate

import (
	"fmt"
	"strings"
)

// Build types, and where provenance of each says what was built. Of others only SLSA's own fields are read.
//
//	written by                       build type                                                        sources and refs
//	v0.2
//	slsa-github-generator            https://github.com/slsa-framework/slsa-github-generator/*         invocation.configSource, as git+REPOSITORY@REF
//	buildkit                         https://mobyproject.org/buildkit@v1                               invocation.configSource, as REPOSITORY.git#REF[:FOLDER]
//	GitLab's runner                  https://gitlab.com/gitlab-org/gitlab-runner/-/blob/*              invocation.configSource; no ref
//	Tekton Chains                    tekton.dev/{v1,v1beta1}/{TaskRun,PipelineRun}, and                every material of git: the definitions that
//	                                 https://tekton.dev/attestations/chains{,/pipelinerun}@v2          it ran are among them, and can't be told apart
//	any other                                                                                          invocation.configSource, as git+REPOSITORY@REF
//	v1
//	actions/attest-build-provenance  https://actions.github.io/buildtypes/workflow/v1                  externalParameters.workflow.{repository,ref};
//	slsa-github-generator            https://github.com/slsa-framework/slsa-github-generator/*,        of resolvedDependencies those of the same
//	                                 https://slsa-framework.github.io/github-actions-buildtypes/*      repository, for their refs and commits
//	buildkit                         https://github.com/moby/buildkit/blob/master/docs/*, and          externalParameters.configSource,
//	                                 https://mobyproject.org/buildkit@v1                               as REPOSITORY.git#REF[:FOLDER]
//	GitLab's runner, GitLab          https://gitlab.com/gitlab-org/gitlab-runner/-/blob/*,             externalParameters.source; no ref: of its
//	                                 https://docs.gitlab.com/ci/pipeline_security/slsa/*               variables a job may set any
//	Tekton Chains (slsa/v2alpha*)    https://tekton.dev/chains/v2/slsa{,-tekton}                       resolvedDependencies of git, but for the
//	                                                                                                   definitions: pipeline, task, pipelineTask
//	any other                                                                                          none: parameters mean what the type says
//
// What buildkit calls vcs, in its metadata, whoever starts the build says, and buildkit doesn't check: it is not read.
const (
	typeGenerator      = "https://github.com/slsa-framework/slsa-github-generator/"
	typeWorkflow       = "https://actions.github.io/buildtypes/workflow/v1"
	typeWorkflowBefore = "https://slsa-framework.github.io/github-actions-buildtypes/"
	typeBuildkit       = "https://mobyproject.org/buildkit@v1"
	typeBuildkit1      = "https://github.com/moby/buildkit/blob/master/docs/"
	typeGitLabRunner   = "https://gitlab.com/gitlab-org/gitlab-runner/-/blob/"
	typeGitLab         = "https://docs.gitlab.com/ci/pipeline_security/slsa/"
)

// meaning is what a provenance says of where the build's input came from.
type meaning struct {
	sources, refs, commits []string
	known                  bool
}

// asGit says of what is a repository that it is git's, as SPDX does.
func (r resource) asGit() resource {
	if r.uri != "" && !isGit(r.uri) {
		r.uri = "git+" + r.uri
	}
	return r
}

// add takes a source as SPDX writes its location, [git+]REPOSITORY[@REF][#FOLDER], and what else is known of its ref.
func (m *meaning) add(r resource, refs ...string) {
	name, ref := splitSource(r.uri)
	if name == "" {
		return
	}
	m.sources, m.refs, m.commits = append(m.sources, name), append(append(m.refs, ref), refs...), append(m.commits, r.commit)
}

// addContext takes a build context as buildkit writes it: REPOSITORY.git[#REF[:FOLDER]], or the address of a file, which has no commit. An @ in its
// path is a part of the repository's name, and begins no ref as it does in SPDX's form, in which it is kept: as %40.
func (m *meaning) addContext(r resource) {
	uri, fragment, _ := strings.Cut(r.uri, "#")
	ref, _, _ := strings.Cut(fragment, ":")
	path := pathOf(uri)
	if r.uri = uri[:path] + strings.ReplaceAll(uri[path:], "@", "%40"); r.commit != "" {
		r = r.asGit()
	}
	m.add(r, ref)
}

// meaning02 reads what is said in the fields of v0.2.
func (p *provenanceText) meaning02() (m meaning) {
	m.known = true
	switch t := p.buildType; {
	case t == typeBuildkit:
		m.addContext(p.config)
	case isTekton02(t):
		p.addRepositories(&m, nil)
	case strings.HasPrefix(t, typeGenerator):
		m.add(p.config)
	case strings.HasPrefix(t, typeGitLabRunner):
		m.add(p.config.asGit())
	default:
		m.known = false
		m.add(p.config)
	}
	return m
}

func isTekton02(buildType string) bool {
	switch buildType {
	case "tekton.dev/v1/TaskRun", "tekton.dev/v1/PipelineRun", "tekton.dev/v1beta1/TaskRun", "tekton.dev/v1beta1/PipelineRun",
		"https://tekton.dev/attestations/chains@v2", "https://tekton.dev/attestations/chains/pipelinerun@v2":
		return true
	}
	return false
}

// meaning1 reads what is said in the fields of v1.
func (p *provenanceText) meaning1() (m meaning, err error) {
	m.known = true
	switch t := p.buildType; {
	case t == typeWorkflow, strings.HasPrefix(t, typeWorkflowBefore), strings.HasPrefix(t, typeGenerator):
		err = p.workflow(&m)
	case t == typeBuildkit, strings.HasPrefix(t, typeBuildkit1):
		err = p.readParameters("configSource", func(s *scanner) error {
			r, err := readResource(s)
			m.addContext(r)
			return err
		})
	case strings.HasPrefix(t, typeGitLabRunner), strings.HasPrefix(t, typeGitLab):
		err = p.gitLab(&m)
	case t == "https://tekton.dev/chains/v2/slsa", t == "https://tekton.dev/chains/v2/slsa-tekton":
		p.addRepositories(&m, []string{"pipeline", "task", "pipelineTask"})
	default:
		m.known = false
	}
	return m, err
}

// addRepositories takes all dependencies of git but those of some names.
func (p *provenanceText) addRepositories(m *meaning, without []string) {
	for _, d := range p.dependencies {
		named := false
		for _, name := range without {
			named = named || d.name == name
		}
		if !named && isGit(d.uri) {
			m.add(d)
		}
	}
}

// workflow reads the parameters of a workflow of GitHub.
func (p *provenanceText) workflow(m *meaning) error {
	var repository, ref string
	err := p.readParameters("workflow", func(s *scanner) error {
		return s.object(names{
			"repository": func() error { return s.text(&repository) },
			"ref":        func() error { return s.text(&ref) },
		})
	})
	if err != nil || repository == "" {
		return err
	}
	m.add(resource{uri: repository}.asGit(), ref)
	p.addSame(m)
	return nil
}

// gitLab reads the parameters of a job of GitLab.
func (p *provenanceText) gitLab(m *meaning) error {
	var source string
	err := p.readParameters("source", func(s *scanner) error { return s.text(&source) })
	if err != nil || source == "" {
		return err
	}
	m.add(resource{uri: source}.asGit())
	p.addSame(m)
	return nil
}

// addSame takes the refs and commits of the dependencies that are the sources.
func (p *provenanceText) addSame(m *meaning) {
	if len(m.sources) == 0 {
		return
	}
	source := m.sources[0]
	for _, d := range p.dependencies {
		if SameSource(d.uri, source) {
			m.add(d.asGit())
		}
	}
}

// readParameters has f read one of the external parameters, if it is there.
func (p *provenanceText) readParameters(name string, f func(s *scanner) error) error {
	if len(p.parameters) == 0 {
		return nil
	}
	err := read(p.parameters, func(s *scanner) error {
		return s.orNull(func() error {
			return s.object(names{name: s.orNull(func() error { return f(s) })})
		})()
	})
	if err != nil {
		return fmt.Errorf("buildDefinition.externalParameters: %w", err)
	}
	return nil
}

// isGit tells whether a URI says that it is one of a repository of git.
func isGit(uri string) bool {
	for _, begin := range []string{"git+", "git://", "git@", "ssh://git@"} {
		if strings.HasPrefix(uri, begin) {
			return true
		}
	}
	return false
}

// SourceName is the repository in the URI of a source, as SPDX (7.7) and buildkit write it: without @ref, #folder, a slash at its end and .git.
func SourceName(uri string) string {
	name, _ := splitSource(uri)
	return name
}

// SameSource tells whether two URIs are of one repository: git+https://HOST/PATH, https://HOST/PATH and https://HOST/PATH.git@REF are.
func SameSource(a, b string) bool {
	return strings.TrimPrefix(SourceName(a), "git+") == strings.TrimPrefix(SourceName(b), "git+")
}

// splitSource splits a URI at the first @ of its path: one in its authority is of who logs in, later ones are of the ref.
func splitSource(uri string) (name, ref string) {
	uri, _, _ = strings.Cut(uri, "#")
	path := pathOf(uri)
	if at := strings.IndexByte(uri[path:], '@'); at >= 0 {
		uri, ref = uri[:path+at], uri[path+at+1:]
	}
	return strings.TrimSuffix(strings.TrimRight(uri, "/"), ".git"), ref
}

// pathOf is where the path of a URI begins, or of git@HOST:PATH.
func pathOf(uri string) int {
	if i := strings.Index(uri, "://"); i >= 0 {
		path := i + len("://")
		if slash := strings.IndexByte(uri[path:], '/'); slash >= 0 {
			return path + slash
		}
		return len(uri)
	}
	return max(0, strings.IndexByte(uri, ':'))
}
