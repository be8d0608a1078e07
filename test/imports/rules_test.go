package imports

import (
	"strings"
	"testing"
)

// Where the promises are made.
const (
	layout = "docs/design/0001-layout-and-imports.md"
	facts  = "docs/design/0003-facts-not-verdicts.md"
	style  = "CONTRIBUTING.md"
)

// rule is one promise that the source keeps.
type rule struct {
	says    string // the promise
	written string // where it is made
	finds   finder // what breaks it
	broken  sample // a package that breaks it, for a rule that can't fail is none
	kept    sample // one that comes close and doesn't
}

// sample is a made-up package of one file: its directory and its text.
type sample struct{ dir, text string }

func (s sample) source(t *testing.T) source {
	t.Helper()
	name := s.dir + "/sample.go"
	f, err := parse(name, []byte(s.text))
	if err != nil {
		t.Fatal(err)
	}
	return source{dir: s.dir, files: []file{f}}
}

// importing is a made-up package that imports one other.
func importing(dir, importPath string) sample {
	return sample{dir, "package sample\n\nimport _ \"" + importPath + "\"\n"}
}

// Families of packages.
var (
	sigstore   = packages("github.com/sigstore")
	kubernetes = func(p string) bool {
		host, _, _ := strings.Cut(p, "/")
		return host == "k8s.io" || host == "sigs.k8s.io"
	}
	remote   = packages("github.com/google/go-containerregistry/pkg/v1/remote")
	scanners = packages("github.com/anchore/syft", "github.com/anchore/grype")
	outside  = func(p string) bool {
		return p != "net/url" && packages("net", "os", "syscall", "io/ioutil", "crypto/rand", "math/rand")(p) // net/url reads text, and no more
	}
	forTests = func(p string) bool {
		dir, ok := strings.CutPrefix(p, module+"/")
		return ok && bed(dir)
	}
)

// rules are all of them.
func rules() []rule {
	return append(append(libraryRules(), directionRules()...), styleRules()...)
}

// libraryRules say which packages may know a library.
func libraryRules() []rule {
	return []rule{{
		says:    "only pkg/verify, internal/trust, pkg/promote and the test beds know sigstore, so signatures are judged in one place",
		written: layout,
		finds:   everywhereBut(imported(sigstore), "pkg/verify", "internal/trust", "pkg/promote", "test"),
		broken:  importing("pkg/policy", "github.com/sigstore/sigstore-go/pkg/bundle"),
		kept:    importing("pkg/verify", "github.com/sigstore/sigstore-go/pkg/bundle"),
	}, {
		says:    "of cosign, pkg/verify uses what takes one object: its plural functions panic in goroutines of their own on what strangers write",
		written: "docs/design/0016-old-rekor-entries.md",
		finds: onlyIn(calledBut("github.com/sigstore/cosign/v2/pkg/cosign", "CheckOpts", "Identity", "SimpleClaimVerifier",
			"IntotoSubjectClaimVerifier", "VerifyImageSignature", "VerifyBlobAttestation"), "pkg/verify"),
		broken: sample{"pkg/verify", "package sample\n\nimport \"github.com/sigstore/cosign/v2/pkg/cosign\"\n\nvar _ = cosign.VerifyImageSignatures\n"},
		kept:   sample{"pkg/verify", "package sample\n\nimport \"github.com/sigstore/cosign/v2/pkg/cosign\"\n\nvar _ = cosign.VerifyImageSignature\n"},
	}, {
		says:    "only api, internal/compile, pkg/admission, internal/server, cmd and the test beds know Kubernetes",
		written: layout,
		finds:   everywhereBut(imported(kubernetes), "api", "internal/compile", "pkg/admission", "internal/server", "cmd", "test"),
		broken:  importing("pkg/policy", "k8s.io/api/core/v1"),
		kept:    importing("pkg/admission", "k8s.io/api/core/v1"),
	}, {
		says:    "only internal/registry and the test beds ask registries, so every request is bounded, guarded and counted",
		written: layout,
		finds:   everywhereBut(imported(remote), "internal/registry", "test"),
		broken:  importing("cmd/pratique", "github.com/google/go-containerregistry/pkg/v1/remote/transport"),
		kept:    importing("pkg/verify", "github.com/google/go-containerregistry/pkg/v1"),
	}, {
		says:    "only pkg/promote knows the scanners, so the webhook never links them",
		written: layout,
		finds:   everywhereBut(imported(scanners), "pkg/promote"),
		broken:  importing("internal/compile", "github.com/anchore/grype/grype"),
		kept:    importing("pkg/promote/scan", "github.com/anchore/syft/syft"),
	}}
}

// directionRules say which of our packages may know which.
func directionRules() []rule {
	return []rule{{
		says:    "pkg/predicate knows none of our packages",
		written: layout,
		finds:   onlyIn(imported(oursBut("pkg/predicate")), "pkg/predicate"),
		broken:  importing("pkg/predicate/sbom", module+"/pkg/verify"),
		kept:    importing("pkg/predicate/sbom", module+"/pkg/predicate"),
	}, {
		says:    "pkg/verify knows only pkg/predicate: what is true doesn't depend on what a policy wants",
		written: layout,
		finds:   onlyIn(imported(oursBut("pkg/verify", "pkg/predicate")), "pkg/verify"),
		broken:  importing("pkg/verify", module+"/pkg/policy"),
		kept:    importing("pkg/verify", module+"/pkg/predicate"),
	}, {
		says:    "pkg/policy knows only pkg/verify and pkg/predicate, and not who asks it",
		written: layout,
		finds:   onlyIn(imported(oursBut("pkg/policy", "pkg/verify", "pkg/predicate")), "pkg/policy"),
		broken:  importing("pkg/policy", module+"/pkg/admission"),
		kept:    importing("pkg/policy", module+"/pkg/verify"),
	}, {
		says:    "pkg/admission and pkg/promote don't know each other",
		written: layout,
		finds: both(onlyIn(imported(ours("pkg/promote")), "pkg/admission"),
			onlyIn(imported(ours("pkg/admission")), "pkg/promote")),
		broken: importing("pkg/promote", module+"/pkg/admission"),
		kept:   importing("pkg/promote", module+"/pkg/policy"),
	}, {
		says:    "internal/registry and internal/trust know only pkg/verify, whose interfaces they meet, and never a policy",
		written: layout,
		finds: both(onlyIn(imported(oursBut("internal/registry", "pkg/verify")), "internal/registry"),
			onlyIn(imported(oursBut("internal/trust", "pkg/verify")), "internal/trust")),
		broken: importing("internal/registry", module+"/pkg/policy"),
		kept:   importing("internal/registry", module+"/pkg/verify"),
	}, {
		says:    "the packages below pkg know none below internal: whoever needs one there declares an interface",
		written: layout,
		finds:   onlyIn(inProduct(imported(ours("internal", "cmd"))), "pkg"),
		broken:  importing("pkg/admission", module+"/internal/registry"),
		kept:    importing("internal/telemetry", module+"/pkg/admission"),
	}, {
		says:    "api holds the types and knows none of our packages",
		written: layout,
		finds:   onlyIn(imported(oursBut("api")), "api"),
		broken:  importing("api/v1alpha1", module+"/pkg/policy"),
		kept:    importing("api/v1alpha1", "k8s.io/apimachinery/pkg/runtime"),
	}, {
		says:    "the product knows no package that is there for tests",
		written: layout,
		finds:   inProduct(imported(forTests)),
		broken:  importing("cmd/webhook", module+"/test/cluster"),
		kept:    importing("test/demo", module+"/test/cluster"),
	}, {
		says:    "the product does without the standard library's packages for tests",
		written: layout,
		finds:   inProduct(imported(packages("testing", "net/http/httptest"))),
		broken:  importing("internal/server", "net/http/httptest"),
		kept:    importing("pkg/verify/verifytest", "testing"),
	}}
}

// styleRules say what no file may contain.
func styleRules() []rule {
	pure := []string{"pkg/policy", "pkg/predicate"}
	return []rule{{
		says:    "pkg/policy and pkg/predicate open no connection and read no file, so a verdict is the same wherever it is asked for",
		written: layout,
		finds:   onlyIn(imported(outside), pure...),
		broken:  importing("pkg/policy", "net/http"),
		kept:    importing("pkg/verify", "net/http"),
	}, {
		says:    "pkg/policy and pkg/predicate ask no clock: the time comes in as a value",
		written: facts,
		finds:   onlyIn(called("time", "Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"), pure...),
		broken:  sample{"pkg/policy", "package policy\n\nimport clock \"time\"\n\nfunc stale(t clock.Time) bool { return clock.Since(t) > 0 }\n"},
		kept:    sample{"pkg/policy", "package policy\n\nimport \"time\"\n\nfunc stale(t, now time.Time) bool { return now.After(t) }\n"},
	}, {
		says:    "only programs and tests begin a context: everywhere else it comes from the caller, with the deadline",
		written: style,
		finds:   everywhereBut(notInMain(called("context", "Background", "TODO")), "test"),
		broken:  sample{"internal/registry", "package registry\n\nimport \"context\"\n\nvar _ = context.TODO()\n"},
		kept:    sample{"internal/registry", "package registry\n\nimport \"context\"\n\nvar _ = context.WithoutCancel\n"},
	}, {
		says:    "no import has a dot, which would hide what a file uses",
		written: style,
		finds:   dotted,
		broken:  sample{"pkg/verify", "package verify\n\nimport . \"context\"\n"},
		kept:    sample{"pkg/verify", "package verify\n\nimport _ \"context\"\n"},
	}, {
		says:    "nothing happens by importing a package: there is no init",
		written: style,
		finds:   initialisers,
		broken:  sample{"pkg/verify", "package verify\n\nfunc init() {}\n"},
		kept:    sample{"pkg/verify", "package verify\n\nfunc (v verifier) init() {}\n"},
	}, {
		says:    "no package of the product keeps state in a variable of its own",
		written: style,
		finds:   inProduct(variables),
		broken:  sample{"pkg/verify", "package verify\n\nvar seen = map[string]bool{}\n"},
		kept:    sample{"pkg/verify", "package verify\n\nimport \"errors\"\n\nvar errPanic = errors.New(\"panic\")\n"},
	}, {
		says:    "a package is named for what is inside",
		written: style,
		finds:   vague,
		broken:  sample{"internal/utils", "package utils\n"},
		kept:    sample{"internal/trust", "package trust\n"},
	}, {
		says:    "every package says above its package clause what it is",
		written: style,
		finds:   unexplained,
		broken:  sample{"pkg/verify", "package verify\n"},
		kept:    sample{"pkg/verify", "// Package verify turns candidates into evidence.\npackage verify\n"},
	}, {
		says:    "every exported name of the product says what it is",
		written: style,
		finds:   everywhereBut(undocumented, "test"),
		broken:  sample{"pkg/verify", "package verify\n\ntype Evidence struct{}\n\n// Twice is good.\nfunc Twice() {}\n"},
		kept:    sample{"pkg/verify", "package verify\n\n// The kinds.\nconst (\n\tOne = iota\n\tTwo\n)\n\nfunc (e evidence) Digest() {}\n"},
	}}
}

func TestARuleFindsWhatBreaksItAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, r := range rules() {
		t.Run(r.says, func(t *testing.T) {
			t.Parallel()
			if found := r.finds(r.broken.source(t)); len(found) == 0 {
				t.Errorf("this breaks the rule and was not found, in %s:\n%s", r.broken.dir, r.broken.text)
			}
			if found := r.finds(r.kept.source(t)); len(found) != 0 {
				t.Errorf("this keeps the rule and was found (%s), in %s:\n%s", found, r.kept.dir, r.kept.text)
			}
		})
	}
}

func TestTheSourceKeepsTheRules(t *testing.T) {
	t.Parallel()
	all := repository(t)
	for _, r := range rules() {
		t.Run(r.says, func(t *testing.T) {
			t.Parallel()
			for _, p := range all {
				for _, found := range r.finds(p) {
					t.Errorf("%s\n\tbut: %s\n\tpromised in %s", found, r.says, r.written)
				}
			}
		})
	}
}

func TestTheWholeSourceIsRead(t *testing.T) {
	t.Parallel()
	read := map[string]bool{}
	for _, p := range repository(t) {
		read[p.dir] = true
	}
	for _, dir := range []string{"api/v1alpha1", "pkg/verify", "pkg/policy", "pkg/admission", "internal/registry", "test/imports"} {
		if !read[dir] {
			t.Errorf("%s was not read", dir)
		}
	}
	for _, dir := range []string{"hack/tools", "test/cluster/binaries", "test/cluster/helm"} {
		if read[dir] {
			t.Errorf("%s was read: it is a module of its own", dir)
		}
	}
}

// Each finder has corners that one sample a rule doesn't reach.
func TestTheFindersSeeTheCorners(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		find  finder
		in    sample
		wants int
	}{
		{"a path that only begins alike is another package", imported(remote),
			importing("cmd/pratique", "github.com/google/go-containerregistry/pkg/v1/remotely"), 0},
		{"a host that only begins alike is another host", imported(kubernetes), importing("pkg/policy", "k8s.io.example/api"), 0},
		{"the package itself is found as well as those below", imported(remote),
			importing("cmd/pratique", "github.com/google/go-containerregistry/pkg/v1/remote"), 1},
		{"another module that only begins like ours is not ours", imported(oursBut("api")), importing("api/v1alpha1", module+"-extra/x"), 0},
		{"a name under which nothing is imported is another thing", called("time", "Now"),
			sample{"pkg/policy", "package policy\n\nfunc now(time clock) { time.Now() }\n"}, 0},
		{"an assertion that a type meets an interface is no state", variables,
			sample{"pkg/verify", "package verify\n\nvar _ Fetcher = (*fetcher)(nil)\n"}, 0},
		{"an embedded file is no state", variables,
			sample{"pkg/verify", "package verify\n\nimport _ \"embed\"\n\n//go:embed a.txt\nvar text string\n"}, 0},
		{"an error beside a map is state", variables,
			sample{"pkg/verify", "package verify\n\nimport \"errors\"\n\nvar a, b = errors.New(\"\"), map[int]int{}\n"}, 1},
		{"a program's version is set when it is linked", variables, sample{"cmd/webhook", "package main\n\nvar version = \"\"\n"}, 0},
		{"a library's version is state", variables, sample{"pkg/verify", "package verify\n\nvar version = \"\"\n"}, 1},
		{"state in generated code is left alone", variables,
			sample{"api/v1", "// Code generated by hand. DO NOT EDIT.\n\npackage v1\n\nvar seen = map[string]bool{}\n"}, 0},
		{"a directive is no documentation", undocumented, sample{"pkg/verify", "package verify\n\n//go:noinline\nfunc Slow() {}\n"}, 1},
		{"a comment above a group of types documents none of them", undocumented,
			sample{"pkg/verify", "package verify\n\n// Types.\ntype (\n\tA int\n\tB int\n)\n"}, 2},
		{"a method of a generic type is seen", undocumented,
			sample{"pkg/verify", "package verify\n\nfunc (c *Cache[K, V]) Get() {}\n"}, 1},
		{"a comment apart from the package clause is about something else", unexplained,
			sample{"pkg/verify", "// Package verify.\n\npackage verify\n"}, 1},
		{"a package comment begins with the package's name", unexplained, sample{"pkg/verify", "// Verifies things.\npackage verify\n"}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if found := test.find(test.in.source(t)); len(found) != test.wants {
				t.Errorf("found %q, want %d, in:\n%s", found, test.wants, test.in.text)
			}
		})
	}
}
