package imports

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// closureFile lists the packages of other modules that the webhook links.
const closureFile = "testdata/webhook-closure.txt"

// decisionsIn is where decisions are written.
const decisionsIn = "docs/design"

// closureHead starts the file. What follows the colon is the decision that last let the list grow.
const closureHead = `# The packages of other modules that cmd/webhook links on linux/amd64, one a line. What is linked can be attacked,
# and has to be updated. The list shrinks by itself: UPDATE_CLOSURE=1 go test ./test/imports. It grows only by a
# dated decision: UPDATE_CLOSURE=docs/design/NNNN-title.md go test ./test/imports.
# let grow by: `

// neverLinked are packages that the webhook must not link, whoever imports them, with the reason.
func neverLinked() map[string]string {
	return map[string]string{
		"github.com/anchore":                "scanners belong to promotion",
		"github.com/sigstore/cosign/v2/cmd": "cosign's commands write papers, in promotion",
		"github.com/sigstore/cosign/v3":     "of cosign, old Rekor entries are read by v2, and nothing else is",
		"k8s.io/kubernetes":                 "it is the server that we talk to",
		"helm.sh":                           "charts are rendered elsewhere",
		module + "/pkg/promote":             "admission and promotion don't know each other",
		module + "/test":                    "test beds are no part of the product",
	}
}

// closure returns the import paths of all packages that the webhook links.
func closure(t *testing.T) []string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, "cmd", "webhook")); errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no cmd/webhook yet, so there is no closure to compare")
	}
	repository(t) // so that go test sees what the answer of the go command depends on,
	required(t)   // and runs this again when that has changed
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{.ImportPath}}", "./cmd/webhook")
	list.Dir = root
	list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	var complaint strings.Builder
	list.Stderr = &complaint
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, complaint.String())
	}
	return strings.Fields(string(out))
}

// foreign leaves the packages of other modules: the standard library's first element has no dot.
func foreign(all []string) []string {
	var out []string
	for _, p := range all {
		first, _, _ := strings.Cut(p, "/")
		if strings.Contains(first, ".") && !under(p, module) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// difference returns what is only in the one and only in the other.
func difference(before, now []string) (gone, come []string) {
	for _, p := range before {
		if !slices.Contains(now, p) {
			gone = append(gone, p)
		}
	}
	for _, p := range now {
		if !slices.Contains(before, p) {
			come = append(come, p)
		}
	}
	return gone, come
}

// written is the content of the closure file.
type written struct {
	decision string
	packages []string
}

func parseWritten(text string) (written, error) {
	var w written
	body, ok := strings.CutPrefix(text, closureHead)
	if !ok {
		return w, fmt.Errorf("%s doesn't begin as this test writes it", closureFile)
	}
	w.decision, body, _ = strings.Cut(body, "\n")
	w.packages = strings.Fields(body)
	if !slices.IsSorted(w.packages) {
		return w, fmt.Errorf("%s isn't sorted", closureFile)
	}
	return w, nil
}

func (w written) text() string {
	return closureHead + w.decision + "\n" + strings.Join(w.packages, "\n") + "\n"
}

// ratchet says what becomes of the list: update is UPDATE_CLOSURE. An error is a growth without a decision.
func ratchet(have written, now []string, update string) (written, error) {
	gone, come := difference(have.packages, now)
	switch {
	case len(gone)+len(come) == 0:
		return have, nil
	case update == "":
		return have, errors.New("the list isn't what the webhook links")
	case update == "1" && len(come) > 0:
		return have, errors.New("the list grows, and UPDATE_CLOSURE=1 names no decision that lets it")
	case update != "1":
		have.decision = update
	}
	have.packages = now
	return have, nil
}

var dated = regexp.MustCompile(`(?m)^Date: 20\d\d-\d\d-\d\d$`)

// decided tells whether a decision is there and has its date.
func decided(name string) error {
	name = filepath.ToSlash(name)
	if filepath.ToSlash(filepath.Dir(name)) != decisionsIn {
		return fmt.Errorf("%q is no decision: they are in %s", name, decisionsIn)
	}
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return err
	}
	if !dated.Match(text) {
		return fmt.Errorf("%s has no line \"Date: YYYY-MM-DD\"", name)
	}
	return nil
}

func TestTheWebhookLinksWhatIsWrittenDown(t *testing.T) {
	now := foreign(closure(t))
	update := os.Getenv("UPDATE_CLOSURE")
	text, err := os.ReadFile(closureFile)
	have := written{decision: layout}
	first := errors.Is(err, fs.ErrNotExist)
	switch {
	case first && update == "":
		t.Fatalf("%s isn't there: write it with UPDATE_CLOSURE=1 go test ./test/imports", closureFile)
	case first:
		have.packages = now
	case err != nil:
		t.Fatal(err)
	default:
		if have, err = parseWritten(string(text)); err != nil {
			t.Fatal(err)
		}
	}
	gone, come := difference(have.packages, now)
	want, err := ratchet(have, now, update)
	if err != nil {
		t.Errorf("%v:\n%s\tpromised in %s", err, explain(gone, come), layout)
		return
	}
	if err := decided(want.decision); err != nil {
		t.Errorf("the decision that lets the list grow: %v", err)
		return
	}
	if update != "" && want.text() != string(text) {
		if err := os.MkdirAll(filepath.Dir(closureFile), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(closureFile, []byte(want.text()), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s now has %d packages: %d gone, %d come", closureFile, len(now), len(gone), len(come))
	}
}

// explain says what to do about a difference.
func explain(gone, come []string) string {
	var b strings.Builder
	if len(gone) > 0 {
		fmt.Fprintf(&b, "\tno longer linked (%d): well done. Write it down with UPDATE_CLOSURE=1 go test ./test/imports:\n\t\t%s\n",
			len(gone), strings.Join(gone, "\n\t\t"))
	}
	if len(come) > 0 {
		fmt.Fprintf(&b, "\tnew (%d): avoid them, or write a dated decision from docs/design/0000-template.md and name it with\n"+
			"\tUPDATE_CLOSURE=docs/design/NNNN-title.md go test ./test/imports:\n\t\t%s\n", len(come), strings.Join(come, "\n\t\t"))
	}
	return b.String()
}

func TestTheWebhookNeverLinks(t *testing.T) {
	t.Parallel()
	all := closure(t)
	for _, what := range slices.Sorted(maps.Keys(neverLinked())) {
		for _, p := range all {
			if under(p, what) {
				t.Errorf("cmd/webhook links %s: %s\n\tpromised in %s", p, neverLinked()[what], layout)
			}
		}
	}
}

func TestTheClosureOnlyShrinksUnlessADecisionIsNamed(t *testing.T) {
	t.Parallel()
	have := written{decision: "docs/design/0001-a.md", packages: []string{"a.example/x", "b.example/y"}}
	for _, test := range []struct {
		name, update string
		now          []string
		want         []string // nil: an error
		decision     string
	}{
		{"the same is good", "", []string{"a.example/x", "b.example/y"}, have.packages, have.decision},
		{"less is told", "", []string{"a.example/x"}, nil, ""},
		{"less is written down without a decision", "1", []string{"a.example/x"}, []string{"a.example/x"}, have.decision},
		{"more is told", "", []string{"a.example/x", "b.example/y", "c.example/z"}, nil, ""},
		{"more isn't written down without a decision", "1", []string{"a.example/x", "b.example/y", "c.example/z"}, nil, ""},
		{"one for another is more", "1", []string{"a.example/x", "c.example/z"}, nil, ""},
		{"more is written down with its decision", "docs/design/0002-b.md", []string{"a.example/x", "b.example/y", "c.example/z"},
			[]string{"a.example/x", "b.example/y", "c.example/z"}, "docs/design/0002-b.md"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := ratchet(have, test.now, test.update)
			if (err != nil) != (test.want == nil) {
				t.Fatalf("got %v, %v", got, err)
			}
			if err == nil && (!slices.Equal(got.packages, test.want) || got.decision != test.decision) {
				t.Errorf("got %v, want %v by %s", got, test.want, test.decision)
			}
		})
	}
}

func TestTheClosureFileReadsAsItIsWritten(t *testing.T) {
	t.Parallel()
	want := written{decision: layout, packages: []string{"a.example/x", "b.example/y"}}
	got, err := parseWritten(want.text())
	if err != nil || got.decision != want.decision || !slices.Equal(got.packages, want.packages) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for name, text := range map[string]string{
		"without its head": "a.example/x\n",
		"out of order":     written{packages: []string{"b", "a"}}.text(),
	} {
		if _, err := parseWritten(text); err == nil {
			t.Errorf("a file %s was read", name)
		}
	}
}

func TestOnlyADatedDecisionLetsTheClosureGrow(t *testing.T) {
	t.Parallel()
	if err := decided(layout); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"README.md", "docs/design/9999-missing.md", "docs/design/0000-template.md", "docs/design/../../go.mod", "1"} {
		if err := decided(name); err == nil {
			t.Errorf("%s was taken for a dated decision", name)
		}
	}
}

func TestOnlyOtherModulesAreForeign(t *testing.T) {
	t.Parallel()
	got := foreign([]string{"net/http", "vendor/golang.org/x/net/idna", module + "/pkg/verify", "k8s.io/api/core/v1", "golang.org/x/net/idna"})
	if want := []string{"golang.org/x/net/idna", "k8s.io/api/core/v1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
