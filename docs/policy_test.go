package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// The pages whose YAML is our objects. A block's info says what it is:
//
//	yaml            whole policies and TrustRoots, valid in this version
//	yaml spec       fields of spec, put into the example first-policy.yaml in place of those of that name
//	yaml require    fields of require, put into it with an authority for each name in by
//	yaml exception  a whole ImageException
//	yaml not-yet    a whole document that is refused with exactly "not supported yet"
//	yaml values     values of the chart
//
// Texts that nobody reads stand there in parentheses: see filled.
var policyPages = []string{
	"README.md", "docs/policy.md", "docs/requirements.md", "docs/exceptions.md", "docs/papers.md", "docs/operations.md", "docs/install.md", "docs/verify.md",
	"docs/commands.md", "docs/trust-roots.md",
}

func TestEverySnippetIsWhatItIsMarkedAs(t *testing.T) {
	t.Parallel()
	for _, path := range policyPages {
		for _, b := range readPage(t, path).blocks(t) {
			if !b.is("yaml") || b.is("yaml", "values") {
				continue
			}
			t.Run(b.where, func(t *testing.T) {
				t.Parallel()
				text := filled(t, b.text())
				switch {
				case b.is("yaml", "not-yet"):
					notYet(t, text)
				case b.is("yaml", "spec"):
					valid(t, withSpec(t, readFile(t, "examples/first-policy.yaml"), text))
				case b.is("yaml", "require"):
					valid(t, withRequire(t, text))
				case b.is("yaml", "exception"):
					valid(t, inTime(text))
				case len(b.info) == 1:
					valid(t, text)
				default:
					t.Errorf("marked as %q, which means nothing", b.info)
				}
			})
		}
	}
}

// filled puts into a snippet what stands for a text in parentheses.
func filled(t testing.TB, snippet string) string {
	t.Helper()
	example := readFile(t, "examples/private-sigstore.yaml")
	mirrors := regexp.MustCompile(`\{"signatures":.*\}`).FindString(example)
	if mirrors == "" {
		t.Fatal("examples/private-sigstore.yaml has no root.json of a mirror")
	}
	return strings.NewReplacer(
		"(the text of a trusted_root.json)", rootText.FindString(example), "(the text of the mirror's root.json)", mirrors,
	).Replace(snippet)
}

// valid makes sure that a document is a policy that this version takes as it is.
func valid(t testing.TB, document string) {
	t.Helper()
	load(t, document)
	raw, err := yaml.YAMLToJSONStrict([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	obj, err := compile.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if errs := compile.Validate(obj); len(errs) > 0 {
		t.Error(errs.ToAggregate())
	}
	said := slices.DeleteFunc(compile.Warnings(obj), func(w string) bool { // which the page is about to tell
		return strings.HasPrefix(w, "spec.references.tags: Allow")
	})
	if len(said) > 0 {
		t.Errorf("it brings warnings: %q", said)
	}
}

// withSpec puts fields of a spec into a policy.
func withSpec(t testing.TB, document, fields string) string {
	t.Helper()
	var into, from map[string]any
	if err := yaml.UnmarshalStrict([]byte(document), &into); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte(fields), &from); err != nil {
		t.Fatal(err)
	}
	spec, _ := into["spec"].(map[string]any)
	maps.Copy(spec, from)
	if _, ok := from["authorities"]; ok && from["require"] == nil {
		spec["require"] = map[string]any{"signature": map[string]any{"by": names(from["authorities"])}}
	}
	out, err := yaml.Marshal(into)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// names returns the names of authorities.
func names(authorities any) []any {
	var out []any
	list, _ := authorities.([]any)
	for _, a := range list {
		if a, ok := a.(map[string]any); ok {
			out = append(out, a["name"])
		}
	}
	return out
}

func TestTheFirstPolicyIsTheSameOnEveryPage(t *testing.T) {
	t.Parallel()
	var want any
	if err := yaml.Unmarshal([]byte(readFile(t, "examples/first-policy.yaml")), &want); err != nil {
		t.Fatal(err)
	}
	for _, p := range []page{readPage(t, "README.md"), readPage(t, "docs/policy.md").section(t, "One policy")} {
		var got any
		for _, b := range p.blocks(t) {
			if b.is("yaml") && got == nil {
				if err := yaml.Unmarshal([]byte(b.text()), &got); err != nil {
					t.Fatal(err)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: not examples/first-policy.yaml:\n%s", p.path, diff)
		}
	}
}

// counts are the fields that are counts by severity: what is below them is described at once.
func counts(field string) bool {
	return slices.Contains([]string{"require.vulnerabilities.max", "require.vulnerabilities.warn"}, field)
}

// withRequire puts fields of require into the first policy, with a key of that for each authority that they name.
func withRequire(t testing.TB, fields string) string {
	t.Helper()
	var from map[string]any
	if err := yaml.UnmarshalStrict([]byte(fields), &from); err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case []any:
			for _, child := range node {
				walk(child)
			}
		case map[string]any:
			for key, child := range node {
				who, ok := child.([]any)
				if key != "by" || !ok {
					walk(child)
					continue
				}
				for _, name := range who {
					named[fmt.Sprint(name)] = true
				}
			}
		}
	}
	walk(from)
	if len(named) == 0 {
		t.Fatal("it names no authority")
	}
	key := strings.TrimSpace(strings.ReplaceAll(pemBlock.FindString(readFile(t, "examples/first-policy.yaml")), "\n        ", "\n"))
	spec := map[string]any{"require": from, "authorities": []any{}}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		spec["authorities"] = append(spec["authorities"].([]any), map[string]any{"name": name, "key": map[string]any{"data": key + "\n"}})
	}
	text, err := yaml.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return withSpec(t, readFile(t, "examples/first-policy.yaml"), string(text))
}

// fieldsOf lists the paths of a type's JSON fields, down to what isn't a struct of ours, or to where stop says.
func fieldsOf(typ reflect.Type, at string, stop func(string) bool) []string {
	var out []string
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		if typ.Kind() == reflect.Slice {
			at += "[]"
		}
		typ = typ.Elem()
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		path := strings.TrimPrefix(at+"."+name, ".")
		inner := f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		switch ours := strings.HasPrefix(inner.PkgPath(), "github.com/pratique-dev/"); {
		case strings.Contains(options, "inline") || name == "" && f.Anonymous:
			out = append(out, fieldsOf(f.Type, at, stop)...)
		case stop(path) || inner.Kind() != reflect.Struct || !ours:
			out = append(out, path)
		default:
			out = append(out, fieldsOf(f.Type, path, stop)...)
		}
	}
	return out
}

// sameLists compares what a page lists with what the code has, whatever the order.
func sameLists(t testing.TB, where string, listed, have []string) {
	t.Helper()
	slices.Sort(listed)
	slices.Sort(have)
	if diff := cmp.Diff(have, listed); diff != "" {
		t.Errorf("%s (-the code has, +the page lists):\n%s", where, diff)
	}
}

// column returns the code spans of one column of a table, each row's first.
func column(t testing.TB, p page, firstColumn string) []string {
	t.Helper()
	var out []string
	for _, row := range p.rows(t, firstColumn) {
		if c := codes(row[0]); len(c) > 0 {
			out = append(out, c[0])
		}
	}
	return out
}

func TestEveryFieldIsDescribed(t *testing.T) {
	t.Parallel()
	section := readPage(t, "docs/policy.md").section(t, "Every field")
	sameLists(t, "docs/policy.md, Every field", column(t, section, "field"), fieldsOf(reflect.TypeFor[v1alpha1.ClusterImagePolicySpec](), "", counts))
}

func TestWhatIsMarkedNotYetIsExactlyWhatIsRefused(t *testing.T) {
	t.Parallel()
	p := readPage(t, "docs/policy.md")
	var marked []string
	for _, row := range p.section(t, "Every field").rows(t, "field") {
		if strings.Contains(row[2], "**not yet**") {
			marked = append(marked, codes(row[0])[0])
		}
	}
	refused := map[string]bool{}
	index := regexp.MustCompile(`\[\d+\]`)
	for _, b := range p.blocks(t) {
		if b.is("yaml", "not-yet") {
			for _, field := range notYet(t, b.text()) {
				refused[index.ReplaceAllString(strings.TrimPrefix(field, "spec."), "[]")] = true
			}
		}
	}
	sameLists(t, "docs/policy.md, not yet", marked, slices.Collect(maps.Keys(refused)))
}

func TestTheStatusIsDescribed(t *testing.T) {
	t.Parallel()
	section := readPage(t, "docs/policy.md").section(t, "Status")
	conditions := func(path string) bool { return path == "conditions" }
	sameLists(t, "docs/policy.md, Status", column(t, section, "field of `status`"), fieldsOf(reflect.TypeFor[v1alpha1.PolicyStatus](), "", conditions))
	sameLists(t, "docs/policy.md, reasons of Ready", column(t, section, "reason of `Ready`"), constants(t, "internal/compile/report.go", "Reason"))
	sameLists(t, "docs/policy.md, reasons of Guaranteed", column(t, section, "reason of `Guaranteed`"), constants(t, "internal/compile/status.go", "ReasonRollout"))
}

// constants returns the values of the string constants of a file whose names begin so.
func constants(t testing.TB, path, prefix string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, filepath.FromSlash(path)), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) || len(spec.Values) != 1 {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if value, err := strconv.Unquote(literal.Value); err == nil {
				out = append(out, value)
			}
		}
		return true
	})
	if len(out) == 0 {
		t.Fatalf("%s has no constants %s...", path, prefix)
	}
	return out
}

func TestThePatternsMatchWhatThePageSays(t *testing.T) {
	t.Parallel()
	for _, row := range readPage(t, "docs/policy.md").section(t, "Which images").rows(t, "pattern") {
		pattern, err := policy.ParsePattern(plain(row[0]))
		if err != nil {
			t.Errorf("%s: %v", row[0], err)
			continue
		}
		for i, want := range []policy.Match{policy.MatchYes, policy.MatchNo} {
			for _, image := range codes(row[1+i]) {
				ref, err := policy.ParseReference(image)
				if err != nil {
					t.Errorf("%s: %v", image, err)
				} else if got := pattern.Match(ref, v1.Hash{}); got != want {
					t.Errorf("%s about %s: %d, want %d", row[0], image, got, want)
				}
			}
		}
	}
}

func TestTheModesAndTagRulesAreTheTypes(t *testing.T) {
	t.Parallel()
	p := readPage(t, "docs/policy.md")
	sameLists(t, "docs/policy.md, Modes", column(t, p, "`mode`"),
		[]string{string(v1alpha1.ModeEnforce), string(v1alpha1.ModeWarn), string(v1alpha1.ModeAudit)})
	var tags []string
	for _, line := range p.section(t, "Tags").lines {
		if strings.HasPrefix(line, "- `") {
			tags = append(tags, codes(line)[0])
		}
	}
	sameLists(t, "docs/policy.md, Tags", tags, []string{string(v1alpha1.TagsDeny), string(v1alpha1.TagsAllow), string(v1alpha1.TagsPin)})
	obj := &v1alpha1.ImagePolicy{ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "x"}, Spec: v1alpha1.ImagePolicySpec{
		Images: v1alpha1.Images{Include: []string{"**"}}, Allow: &v1alpha1.Because{Reason: "x"},
	}}
	if compiled, _ := (compile.Compiler{}).Compile(t.Context(), obj); compiled.References.Tags != policy.TagsPin || compiled.Mode != policy.Enforce {
		t.Error("the page says that the defaults are Pin and Enforce, and they aren't")
	}
}

// TestTheExtensionsOfFulcioAreNamed: all that an identity may ask for, and no others.
func TestTheExtensionsOfFulcioAreNamed(t *testing.T) {
	t.Parallel()
	known := verify.ExtensionNames()
	text := strings.Join(readPage(t, "docs/policy.md").section(t, "Keyless").lines, "\n")
	_, list, _ := strings.Cut(text, "compared exactly:")
	list, _, _ = strings.Cut(list, "The issuer is no extension")
	sameLists(t, "docs/policy.md, Keyless", codes(list), known)
}

// TestPatternsOfIdentitiesAreJudgedAsThePageSays: what is refused, warned of and taken.
func TestPatternsOfIdentitiesAreJudgedAsThePageSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		field, pattern  string
		refused, warned bool
	}{
		{"subjectPattern", ".*", true, false},
		{"issuerPattern", "https://.+", true, false},
		{"issuerPattern", `https://github\.com.*`, true, false},
		{"subjectPattern", ".+@.+", true, false},
		{"subjectPattern", `https://github\.com/acme.*`, false, true},
		{"subjectPattern", `[a-z]+@acme\.example`, false, false},
		{"subjectPattern", `https://github\.com/acme/tools/\.github/workflows/[^/]+\.yaml@refs/tags/v.+`, false, false},
	} {
		other := map[string]string{"subjectPattern": "issuer: https://ci.acme.example", "issuerPattern": "subject: x@acme.example"}[c.field]
		document := withSpec(t, readFile(t, "examples/first-policy.yaml"),
			"authorities:\n- name: a\n  keyless:\n    identities:\n    - "+other+"\n      "+c.field+": '"+c.pattern+"'\n")
		raw, err := yaml.YAMLToJSONStrict([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		problems, warnings := compile.Install{Pinning: true}.Check(raw)
		if len(problems) > 0 != c.refused || len(warnings) > 0 != c.warned {
			t.Errorf("%s %s: %q, %q", c.field, c.pattern, problems, warnings)
		}
	}
}
