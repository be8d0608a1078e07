package main

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// repository is where the Dockerfile and the Makefile are.
const repository = "../.."

// text reads a file of the repository, with continued lines joined and comments gone.
func text(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	joined := regexp.MustCompile(`[ \t]*\\\n[ \t]*`).ReplaceAllString(string(data), " ")
	return regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(joined, "")
}

// stage is what a Dockerfile says from one FROM to the next: the arguments of each instruction, by its name.
type stage map[string][]string

// stages reads a Dockerfile as far as ours go: no here-documents, no directives. The last one is "default" as well.
func stages(t *testing.T, dockerfile string) map[string]stage {
	t.Helper()
	out := map[string]stage{}
	var now stage
	for line := range strings.Lines(dockerfile) {
		instruction, arguments, _ := strings.Cut(strings.TrimSpace(line), " ")
		if instruction == "" {
			continue
		}
		if instruction == "FROM" {
			_, name, ok := strings.Cut(arguments, " AS ")
			if !ok {
				t.Fatalf("a stage has no name: %s", line)
			}
			now = stage{}
			out[name], out["default"] = now, now
		}
		now[instruction] = append(now[instruction], arguments)
	}
	return out
}

// target returns the recipe of make image, as make would run it for a version.
func target(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skipf("there is no make to ask what make image does: %v", err)
	}
	text(t, "Makefile") // so that go test sees what the answer depends on, and asks again when that has changed
	ask := exec.CommandContext(t.Context(), "make", "-n", "image", "VERSION=v1")
	ask.Dir = repository
	ask.Env = append(os.Environ(), "MAKEFLAGS=") // not those of a make test that this may run under
	out, err := ask.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return regexp.MustCompile(`[ \t]*\\\n[ \t]*`).ReplaceAllString(string(out), " ")
}

// The Dockerfile and make image are two ways to one image: what the one says, the other does.
func TestTheDockerfileDescribesWhatMakeImageMakes(t *testing.T) {
	t.Parallel()
	all, recipe := stages(t, text(t, "Dockerfile")), target(t)
	for _, test := range []struct{ stage, title, entrypoint string }{
		{"webhook", "pratique-webhook", "/webhook"},
		{"default", "pratique-webhook", "/webhook"},
		{"cli", "pratique-cli", "/pratique"},
	} {
		t.Run(test.stage, func(t *testing.T) {
			t.Parallel()
			made := about{
				title: test.title, version: "$VERSION", revision: "$REVISION",
				source: "https://github.com/pratique-dev/pratique", licenses: "Apache-2.0",
			}
			labels := []string{}
			for key, value := range made.annotations() {
				labels = append(labels, key+"="+value)
			}
			quoted, err := json.Marshal([]string{test.entrypoint})
			if err != nil {
				t.Fatal(err)
			}
			// There is nothing else: no RUN, no ENV, no port, no check.
			want := stage{
				"ARG":        {"REVISION=unknown", "VERSION=unknown"},
				"LABEL":      labels,
				"COPY":       {"--from=build /out/ca-certificates.crt " + roots, "--from=build /out" + test.entrypoint + " " + test.entrypoint},
				"WORKDIR":    {"/"},
				"USER":       {user},
				"ENTRYPOINT": {string(quoted)},
			}
			got := maps.Clone(all[test.stage])
			if from := got["FROM"]; len(from) != 1 || !strings.HasPrefix(from[0], "scratch AS ") {
				t.Errorf("it begins with %q", from)
			}
			delete(got, "FROM")
			for _, stage := range []stage{want, got} {
				for _, arguments := range stage {
					slices.Sort(arguments)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-make image, +Dockerfile):\n%s", diff)
			}
			for _, part := range []string{
				"-binary amd64=dist/linux-amd64" + test.entrypoint + " ", "-binary arm64=dist/linux-arm64" + test.entrypoint + " ",
				"-name docker.io/library/" + made.title + ":v1 -o dist/" + made.title + "-v1.tar",
				"-source " + made.source + " ", "-licenses " + made.licenses + " ", "-revision ",
			} {
				if !strings.Contains(recipe, part) {
					t.Errorf("make image doesn't say %q:\n%s", part, recipe)
				}
			}
		})
	}
}

// Each of them decides bytes of the program.
func TestTheDockerfileBuildsAsMakeImageDoes(t *testing.T) {
	t.Parallel()
	build, recipe := stages(t, text(t, "Dockerfile"))["build"], target(t)
	said := strings.Join(build["ENV"], " ") + " " + strings.Join(build["RUN"], " ")
	for _, part := range []string{
		"CGO_ENABLED=0", "GOOS=linux", "GOAMD64=v1", "GOARM64=v8.0", "go build -trimpath -buildvcs=false -ldflags", "./cmd/webhook ./cmd/pratique",
	} {
		if !strings.Contains(said, part) || !strings.Contains(recipe, part) {
			t.Errorf("%q isn't in both: the Dockerfile says\n%s\nand make image\n%s", part, said, recipe)
		}
	}
	for where, text := range map[string]string{`"-X main.version=$VERSION"`: said, `'-X main.version=v1'`: recipe} {
		if !strings.Contains(text, where) {
			t.Errorf("the version isn't told by %s in %s", where, text)
		}
	}
	for _, file := range []string{"ca-certificates.crt", "webhook", "pratique"} {
		mode := "0555"
		if file == "ca-certificates.crt" {
			mode = "0444"
		}
		if !regexp.MustCompile(`chmod ` + mode + ` [^&]*/out/` + file).MatchString(said) {
			t.Errorf("%s doesn't get mode %s: %s", file, mode, said)
		}
	}
	goes := regexp.MustCompile(`golang:(\d+\.\d+)\.\d+ AS build`).FindStringSubmatch(strings.Join(build["FROM"], ""))
	if goes == nil || !strings.Contains(text(t, "go.mod"), "\ngo "+goes[1]+".") {
		t.Errorf("it builds with %q, and go.mod says otherwise", build["FROM"])
	}
}

func TestMakeImageRefusesAVersionThatIsNoTagBeforeItBuilds(t *testing.T) {
	t.Parallel()
	target(t) // skips where there is no make
	for version, want := range map[string]string{"v1.0.0+build": "v1.0.0+build", "": "''", "-dirty": "-dirty"} {
		ask := exec.CommandContext(t.Context(), "make", "--no-print-directory", "image", "VERSION="+version)
		ask.Dir = repository
		// Should it go on, it must not get far.
		ask.Env = append(os.Environ(), "MAKEFLAGS=", "GOFLAGS=-n")
		out, err := ask.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "VERSION=0.1.0") || strings.Contains(string(out), "go build") {
			t.Errorf("%q: %v\n%s", version, err, out)
		}
	}
}

// What docker isn't sent can't be built; what it is sent for nothing makes it build anew.
func TestDockerIsSentWhatTheProgramsAreBuiltFrom(t *testing.T) {
	t.Parallel()
	var sent, held []string
	for line := range strings.Lines(text(t, ".dockerignore")) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "!"); ok {
			sent = append(sent, name)
		} else if line != "" {
			held = append(held, line)
		}
	}
	if want := []string{"*", "**/testdata", "**/*_test.go"}; !slices.Equal(held, want) {
		t.Errorf("it holds back %q, want %q: all but what follows, and what is there for tests", held, want)
	}

	for _, dir := range sent { // so that go test sees, as above
		err := filepath.WalkDir(filepath.Join(repository, dir), func(name string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(name, ".go") {
				_, err = os.ReadFile(name)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
	list := exec.CommandContext(t.Context(), "go", "list", "-deps",
		"-f", "{{with .Module}}{{if .Main}}{{$.ImportPath}}{{range $.EmbedFiles}} {{.}}{{end}}{{end}}{{end}}",
		"./cmd/webhook", "./cmd/pratique", "./hack/image")
	list.Dir = repository
	list.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{"go.mod": true, "go.sum": true}
	for line := range strings.Lines(string(out)) {
		for i, name := range strings.Fields(line) {
			dir := strings.TrimPrefix(strings.Fields(line)[0], "github.com/pratique-dev/pratique/")
			if name = path.Join(dir, name); i == 0 {
				name = dir
			}
			at := slices.IndexFunc(sent, func(s string) bool { return name == s || strings.HasPrefix(name, s+"/") })
			if at < 0 || strings.Contains(name, "testdata") {
				t.Errorf("%s is needed, and .dockerignore holds it back", name)
				continue
			}
			used[sent[at]] = true
		}
	}
	for _, name := range sent {
		if !used[name] {
			t.Errorf("%s is sent, and nothing there is built", name)
		}
	}
}
