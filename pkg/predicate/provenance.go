package predicate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unique"
	"unsafe"
)

// Bounds of what is kept of a provenance.
const (
	// maxSources bounds the repositories that one may name: what pipelines of Tekton list is some tens.
	maxSources = 1024
	// maxURI bounds each URI, ref and id, in bytes: servers take no longer ones.
	maxURI = 4096
)

// Provenance is SLSA provenance (https://slsa.dev/provenance/v0.2 and v1): who built something, from what. What v1's parameters and v0.2's
// invocation mean hangs on the build type; provenance_types.go says how each is read.
type Provenance struct {
	builder, buildType unique.Handle[string]
	sources            []unique.Handle[string]
	refs               []unique.Handle[string]
	commits            []string
	invocation         string
	started, finished  time.Time
	known              bool
}

// Builder is the id of who built and wrote this: builder.id. It isn't empty.
func (p *Provenance) Builder() string { return p.builder.Value() }

// BuildType says how it was built, and what the parameters mean. It isn't empty.
func (p *Provenance) BuildType() string { return p.buildType.Value() }

// Sources are the repositories that it was built from, sorted, without ref and .git: as git+https://HOST/PATH where they are git's.
// None where the provenance doesn't say, or in a way that isn't known.
func (p *Provenance) Sources() []string { return values(p.sources) }

// Refs are the refs of the sources, as the provenance writes them, sorted.
func (p *Provenance) Refs() []string { return values(p.refs) }

// Commits are the commits of the sources, in hex, sorted.
func (p *Provenance) Commits() []string { return slices.Clone(p.commits) }

// StartedOn is when the build began; zero if the provenance doesn't say.
func (p *Provenance) StartedOn() time.Time { return p.started }

// FinishedOn is when the build ended; zero if the provenance doesn't say.
func (p *Provenance) FinishedOn() time.Time { return p.finished }

// InvocationID is the run of the builder; empty if the provenance doesn't say.
func (p *Provenance) InvocationID() string { return p.invocation }

// KnownBuildType tells whether it is known where provenance of this build type says what it was built from.
func (p *Provenance) KnownBuildType() bool { return p.known }

// Time implements Facts: the end of the build, or else its begin, which is no later.
func (p *Provenance) Time() time.Time {
	if !p.finished.IsZero() {
		return p.finished
	}
	return p.started
}

// Size implements Facts.
func (p *Provenance) Size() int64 {
	n := int64(unsafe.Sizeof(*p)) + int64(len(p.Builder())+len(p.BuildType())+len(p.invocation))
	for _, list := range [][]string{p.Sources(), p.Refs(), p.commits} {
		for _, s := range list {
			n += int64(unsafe.Sizeof(s)) + int64(len(s))
		}
	}
	return n
}

func (p *Provenance) facts() {}

func values(handles []unique.Handle[string]) []string {
	out := make([]string, 0, len(handles))
	for _, h := range handles {
		out = append(out, h.Value())
	}
	return out
}

// provenanceText is what of a provenance is read, before its build type says what it means.
type provenanceText struct {
	builder, buildType, invocation string
	started, finished              time.Time
	config                         resource // v0.2: invocation.configSource
	parameters                     []byte   // v1: externalParameters
	dependencies                   []resource
}

// resource is a material of v0.2, a configSource, or a resource descriptor of v1.
type resource struct {
	name, uri, commit string
}

// readProvenance02 reads https://slsa.dev/provenance/v0.2.
func readProvenance02(text []byte) (*Provenance, error) {
	var p provenanceText
	err := read(text, func(s *scanner) error {
		return s.object(names{
			"builder":    func() error { return s.object(names{"id": func() error { return s.text(&p.builder) }}) },
			"buildType":  func() error { return s.text(&p.buildType) },
			"invocation": s.orNull(func() error { return p.readInvocation(s) }),
			"metadata": s.orNull(func() error {
				return s.object(names{
					"buildInvocationID": func() error { return p.readInvocationID(s) }, // in-toto's library, and so buildkit and GitHub
					"buildInvocationId": func() error { return p.readInvocationID(s) }, // the specification
					"buildStartedOn":    func() error { return s.time(&p.started) },
					"buildFinishedOn":   func() error { return s.time(&p.finished) },
				})
			}),
			"materials": s.orNull(func() error { return p.readDependencies(s) }),
		})
	})
	if err != nil {
		return nil, err
	}
	return p.facts("builder.id", "buildType", p.meaning02())
}

func (p *provenanceText) readInvocation(s *scanner) error {
	return s.object(names{
		"configSource": s.orNull(func() (err error) {
			p.config, err = readResource(s)
			return err
		}),
	})
}

// readProvenance1 reads https://slsa.dev/provenance/v1.
func readProvenance1(text []byte) (*Provenance, error) {
	var p provenanceText
	err := read(text, func(s *scanner) error {
		return s.object(names{
			"buildDefinition": func() error {
				return s.object(names{
					"buildType": func() error { return s.text(&p.buildType) },
					"externalParameters": func() (err error) { // the build type, which may come later, says what they are
						p.parameters, err = s.value()
						return err
					},
					"resolvedDependencies": s.orNull(func() error { return p.readDependencies(s) }),
				})
			},
			"runDetails": func() error { return p.readRunDetails(s) },
		})
	})
	if err != nil {
		return nil, err
	}
	m, err := p.meaning1()
	if err != nil {
		return nil, err
	}
	return p.facts("runDetails.builder.id", "buildDefinition.buildType", m)
}

func (p *provenanceText) readRunDetails(s *scanner) error {
	return s.object(names{
		"builder": func() error { return s.object(names{"id": func() error { return s.text(&p.builder) }}) },
		"metadata": s.orNull(func() error {
			return s.object(names{
				"invocationId": func() error { return p.readInvocationID(s) }, // the specification
				"invocationID": func() error { return p.readInvocationID(s) }, // buildkit
				"startedOn":    func() error { return s.time(&p.started) },
				"finishedOn":   func() error { return s.time(&p.finished) },
			})
		}),
	})
}

// readInvocationID reads a text, or the number that GitLab writes.
func (p *provenanceText) readInvocationID(s *scanner) error {
	if p.invocation != "" {
		return errors.New("the invocation's id is there in two spellings")
	}
	if s.kind() == '0' {
		number, err := s.value()
		p.invocation = string(number)
		return err
	}
	return s.textOrNull(&p.invocation)
}

// readDependencies keeps those that may be sources: repositories of git.
func (p *provenanceText) readDependencies(s *scanner) error {
	reader := newResourceReader(s)
	return s.list(func() error {
		r, err := reader.read()
		if err != nil || r.uri == "" || !isGit(r.uri) && r.commit == "" {
			return err
		}
		if len(p.dependencies) == maxSources {
			return fmt.Errorf("more than %d repositories", maxSources)
		}
		p.dependencies = append(p.dependencies, r)
		return nil
	})
}

// readResource reads one.
func readResource(s *scanner) (resource, error) {
	return newResourceReader(s).read()
}

// resourceReader reads resources, one after the other: a list may have millions of two bytes.
type resourceReader struct {
	s                       *scanner
	known                   names
	name, uri               string
	sha1, gitCommit, sha256 string
}

func newResourceReader(s *scanner) *resourceReader {
	r := &resourceReader{s: s}
	digest := names{
		"gitCommit": func() error { return s.textOrNull(&r.gitCommit) },
		"sha1":      func() error { return s.textOrNull(&r.sha1) },
		"sha256":    func() error { return s.textOrNull(&r.sha256) },
	}
	r.known = names{
		"name":   func() error { return s.textOrNull(&r.name) },
		"uri":    func() error { return s.textOrNull(&r.uri) },
		"digest": s.orNull(func() error { return s.object(digest) }),
	}
	return r
}

// read reads a name, a URI and, of the digests, a commit: gitCommit, or sha1 as it was called before. What Tekton writes there may be the name of
// a branch: that is no commit.
func (r *resourceReader) read() (resource, error) {
	r.name, r.uri, r.sha1, r.gitCommit, r.sha256 = "", "", "", "", ""
	err := r.s.object(r.known)
	out := resource{name: r.name, uri: r.uri}
	switch {
	case isCommit(r.gitCommit):
		out.commit = r.gitCommit
	case isCommit(r.sha1):
		out.commit = r.sha1
	case len(r.sha256) == 40 && isCommit(r.sha256): // by GitLab's runner; a SHA-256 has 64 digits
		out.commit = r.sha256
	}
	return out, err
}

// isCommit tells whether a text is the name of a git object: SHA-1 or SHA-256 in hex.
func isCommit(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// facts keeps what the provenance means.
func (p *provenanceText) facts(builderName, typeName string, m meaning) (*Provenance, error) {
	switch {
	case p.builder == "":
		return nil, errors.New(builderName + ": missing, so that nobody says to have built it")
	case p.buildType == "":
		return nil, errors.New(typeName + ": missing, so that it isn't known what the provenance means")
	}
	for _, s := range slices.Concat([]string{p.builder, p.buildType, p.invocation}, m.sources, m.refs, m.commits) {
		if len(s) > maxURI {
			return nil, fmt.Errorf("a name of %d bytes, %q: at most %d", len(s), clip(s), maxURI)
		}
	}
	return &Provenance{
		builder: unique.Make(p.builder), buildType: unique.Make(p.buildType), invocation: strings.Clone(p.invocation),
		sources: handles(m.sources), refs: handles(m.refs), commits: sorted(m.commits),
		started: p.started, finished: p.finished, known: m.known,
	}, nil
}

// sorted are the texts once each; those that are empty are left out.
func sorted(all []string) []string {
	all = slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "" })
	slices.Sort(all)
	return slices.Clip(slices.Compact(all))
}

func handles(all []string) []unique.Handle[string] {
	var out []unique.Handle[string]
	for _, s := range sorted(all) {
		out = append(out, unique.Make(s))
	}
	return out
}
