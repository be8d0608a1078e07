package predicate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// provenanceType is the predicate type of a golden file, by its name.
func provenanceType(file string) string {
	if strings.HasSuffix(file, ".v02.json") {
		return predicate.TypeProvenance02
	}
	return predicate.TypeProvenance1
}

// TestProvenanceFactsOfWhatBuildersWrite holds the facts of each document of testdata/provenance to the golden ones.
func TestProvenanceFactsOfWhatBuildersWrite(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "provenance", "*.json"))
	if err != nil || len(files) < 16 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := toldProvenance(readAs[*predicate.Provenance](t, provenanceType(file), string(text)))
			golden := strings.TrimSuffix(file, ".json") + ".facts"
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
		})
	}
}

// readAs reads a predicate that can be read.
func readAs[F predicate.Facts](tb testing.TB, predicateType, text string) F {
	tb.Helper()
	facts, err := predicate.Read(predicateType, []byte(text))
	if err != nil {
		tb.Fatalf("%v of %s", err, text)
	}
	f, ok := facts.(F)
	if !ok {
		tb.Fatalf("%T", facts)
	}
	if n := int64(len(text)); f.Size() < 16 || f.Size() > 4*n+4096 {
		tb.Errorf("size %d of %d bytes of text", f.Size(), n)
	}
	return f
}

func toldProvenance(p *predicate.Provenance) string {
	var out strings.Builder
	line := func(name string, value any) { fmt.Fprintf(&out, "%-12s %v\n", name, value) }
	line("builder", p.Builder())
	line("build type", p.BuildType())
	line("known", p.KnownBuildType())
	for _, s := range p.Sources() {
		line("source", s)
	}
	for _, s := range p.Refs() {
		line("ref", s)
	}
	for _, s := range p.Commits() {
		line("commit", s)
	}
	line("invocation", p.InvocationID())
	line("started", p.StartedOn().Format(time.RFC3339Nano))
	line("finished", p.FinishedOn().Format(time.RFC3339Nano))
	line("time", p.Time().Format(time.RFC3339Nano))
	return out.String()
}

// refused holds that predicates can't be read, and what is said of each.
func refused(t *testing.T, predicateType string, cases map[string]struct{ text, why string }) {
	t.Helper()
	for what, tc := range cases {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			facts, err := predicate.Read(predicateType, []byte(tc.text))
			if facts != nil || err == nil || !strings.Contains(err.Error(), tc.why) {
				t.Errorf("%v, %v: want an error with %q", facts, err, tc.why)
			}
		})
	}
}

func TestProvenance02ThatCantBeReadSaysWhy(t *testing.T) {
	t.Parallel()
	refused(t, predicate.TypeProvenance02, map[string]struct{ text, why string }{
		"it is empty":                           {`{}`, "builder.id: missing"},
		"it is null":                            {`null`, "not an object but null"},
		"the builder is null":                   {`{"builder":null,"buildType":"t"}`, "builder: not an object"},
		"the builder's id is empty":             {`{"builder":{"id":""},"buildType":"t"}`, "builder.id: missing"},
		"there is no build type":                {`{"builder":{"id":"b"}}`, "buildType: missing"},
		"a name is there twice":                 {`{"builder":{"id":"b"},"builder":{"id":"c"},"buildType":"t"}`, "twice"},
		"the builder's id is there twice":       {`{"builder":{"id":"b","id":"c"},"buildType":"t"}`, "twice"},
		"a name is there in another case":       {`{"Builder":{"id":"c"},"builder":{"id":"b"},"buildType":"t"}`, `"Builder" for "builder"`},
		"the id is there in two spellings":      {`{"builder":{"id":"b"},"buildType":"t","metadata":{"buildInvocationID":"1","buildInvocationId":"2"}}`, "two spellings"},
		"a time is none":                        {`{"builder":{"id":"b"},"buildType":"t","metadata":{"buildFinishedOn":"yesterday"}}`, "no time"},
		"it is the shape of v1":                 {`{"buildDefinition":{"buildType":"t"},"runDetails":{"builder":{"id":"b"}}}`, "builder.id: missing"},
		"something follows it":                  {`{"builder":{"id":"b"},"buildType":"t"}{}`, "follows"},
		"the materials are no list":             {`{"builder":{"id":"b"},"buildType":"t","materials":{}}`, "materials: not a list"},
		"it names more repositories than bound": {`{"builder":{"id":"b"},"buildType":"t","materials":[` + strings.Repeat(`{"uri":"git+https://h/p"},`, 1024) + `{"uri":"git+https://h/p"}]}`, "more than 1024"},
		"a name is longer than its bound":       {`{"builder":{"id":"` + strings.Repeat("b", 4097) + `"},"buildType":"t"}`, "4097 bytes"},
	})
}

func TestProvenance1ThatCantBeReadSaysWhy(t *testing.T) {
	t.Parallel()
	const workflow = "https://actions.github.io/buildtypes/workflow/v1"
	with := func(params string) string {
		return `{"buildDefinition":{"externalParameters":` + params + `,"buildType":"` + workflow + `"},"runDetails":{"builder":{"id":"b"}}}`
	}
	refused(t, predicate.TypeProvenance1, map[string]struct{ text, why string }{
		"it is empty":                     {`{}`, "runDetails.builder.id: missing"},
		"there is no builder":             {`{"buildDefinition":{"buildType":"t"},"runDetails":{}}`, "runDetails.builder.id: missing"},
		"there is no build type":          {`{"buildDefinition":{},"runDetails":{"builder":{"id":"b"}}}`, "buildDefinition.buildType: missing"},
		"it is the shape of v0.2":         {`{"builder":{"id":"b"},"buildType":"t"}`, "runDetails.builder.id: missing"},
		"a workflow is a text":            {with(`{"workflow":"x"}`), "externalParameters: workflow: not an object"},
		"a repository is there twice":     {with(`{"workflow":{"repository":"https://a/b","repository":"https://c/d"}}`), "twice"},
		"a repository is in another case": {with(`{"workflow":{"Repository":"https://a/b"}}`), `"Repository" for "repository"`},
		"a workflow is in another case":   {with(`{"Workflow":{"repository":"https://a/b"}}`), `"Workflow" for "workflow"`},
		"the parameters are a list":       {with(`[]`), "externalParameters: not an object"},
		"the details are there twice":     {`{"buildDefinition":{"buildType":"t"},"runDetails":{"builder":{"id":"b"}},"runDetails":{}}`, "twice"},
	})
}

func TestProvenanceTimeIsTheEndOrElseTheBegin(t *testing.T) {
	t.Parallel()
	const begin = `{"buildDefinition":{"buildType":"t"},"runDetails":{"builder":{"id":"b"},"metadata":{"startedOn":"2026-02-01T10:00:00+01:00"`
	for text, want := range map[string]string{
		begin + `}}}`: "2026-02-01T09:00:00Z",
		begin + `,"finishedOn":"2026-02-01T09:05:00Z"}}}`:                           "2026-02-01T09:05:00Z",
		begin + `,"finishedOn":null}}}`:                                             "2026-02-01T09:00:00Z",
		`{"buildDefinition":{"buildType":"t"},"runDetails":{"builder":{"id":"b"}}}`: "0001-01-01T00:00:00Z",
	} {
		if got := readAs[*predicate.Provenance](t, predicate.TypeProvenance1, text).Time().Format(time.RFC3339); got != want {
			t.Errorf("%s, want %s of %s", got, want, text)
		}
	}
}

func TestBuildContextKeepsAnAtInItsPath(t *testing.T) {
	t.Parallel()
	for context, want := range map[string]string{
		"https://git.example.com/acme/app.git#refs/heads/main":        "git+https://git.example.com/acme/app",
		"https://git.example.com/acme/app@x/evil.git#refs/heads/main": "git+https://git.example.com/acme/app%40x/evil",
		"https://git.example.com/acme/app@evil.git#refs/heads/main":   "git+https://git.example.com/acme/app%40evil",
		"https://anna@git.example.com/acme/app.git#refs/heads/main":   "git+https://anna@git.example.com/acme/app",
		"git@git.example.com:acme/app.git#refs/heads/main":            "git@git.example.com:acme/app",
	} {
		config := `{"uri":"` + context + `","digest":{"sha1":"` + strings.Repeat("a", 40) + `"}}`
		for predicateType, text := range map[string]string{
			predicate.TypeProvenance02: `{"builder":{"id":"b"},"buildType":"https://mobyproject.org/buildkit@v1","invocation":{"configSource":` + config + `}}`,
			predicate.TypeProvenance1:  `{"buildDefinition":{"buildType":"https://mobyproject.org/buildkit@v1","externalParameters":{"configSource":` + config + `}},"runDetails":{"builder":{"id":"b"}}}`,
		} {
			p := readAs[*predicate.Provenance](t, predicateType, text)
			if got := p.Sources(); len(got) != 1 || got[0] != want || strings.Contains(want, "%40") && predicate.SameSource(got[0], "https://git.example.com/acme/app") {
				t.Errorf("%s of %s: %q, want %s", predicateType, context, got, want)
			}
			if got := p.Refs(); len(got) != 1 || got[0] != "refs/heads/main" {
				t.Errorf("%s of %s: refs %q", predicateType, context, got)
			}
		}
	}
}

func TestSourcesAreNamedWithoutRefAndFolder(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"git+https://github.com/acme/app":                           "git+https://github.com/acme/app",
		"git+https://github.com/acme/app@refs/heads/main":           "git+https://github.com/acme/app",
		"git+https://github.com/acme/app@refs/tags/@acme/app@1.0.0": "git+https://github.com/acme/app",
		"git+https://github.com/acme/app.git@refs/heads/main#a/b":   "git+https://github.com/acme/app",
		"https://github.com/acme/app.git#refs/heads/main:services":  "https://github.com/acme/app",
		"https://github.com/acme/app/":                              "https://github.com/acme/app",
		"https://anna@git.example.com/acme/app@main":                "https://anna@git.example.com/acme/app",
		"https://anna@git.example.com":                              "https://anna@git.example.com",
		"git+ssh://git@github.com/acme/app.git@v1":                  "git+ssh://git@github.com/acme/app",
		"git@github.com:acme/app.git":                               "git@github.com:acme/app",
		"https://github.com/acme/app.github":                        "https://github.com/acme/app.github",
		"":                                                          "",
	} {
		if got := predicate.SourceName(uri); got != want {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
	}
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"git+https://github.com/acme/app", "https://github.com/acme/app.git@refs/heads/x", true},
		{"git+https://github.com/acme/app", "git+https://github.com/acme/app2", false},
		{"git+https://github.com/acme/app", "git+https://github.com/acme", false},
		{"git+https://github.com/acme/app", "git+http://github.com/acme/app", false},
		{"git+https://github.com/acme/app", "git+ssh://github.com/acme/app", false},
		{"git+https://github.com/acme/app", "git+https://github.com.evil.example/acme/app", false},
	} {
		if got := predicate.SameSource(tc.a, tc.b); got != tc.same {
			t.Errorf("%s and %s: %v", tc.a, tc.b, got)
		}
	}
}

func FuzzProvenance(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "provenance", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, predicateType := range []string{predicate.TypeProvenance02, predicate.TypeProvenance1} {
			facts, err := predicate.Read(predicateType, text)
			if err != nil {
				if strings.Contains(err.Error(), "makes its reader fail") {
					t.Error(err)
				}
				continue
			}
			p, ok := facts.(*predicate.Provenance)
			if !ok || p.Builder() == "" || p.BuildType() == "" {
				t.Fatalf("%T without builder or build type, of %q", facts, text)
			}
			for _, s := range p.Sources() {
				if s == "" || predicate.SourceName(s) == "" {
					t.Errorf("a source without a name, of %q", text)
				}
			}
			if len(p.Refs()) > 0 && len(p.Sources()) == 0 {
				t.Errorf("refs of no source, of %q", text)
			}
		}
	})
}
