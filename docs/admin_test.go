package docs_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/test/cluster"
)

// What administrators apply: values of the chart, the list of registries and RBAC, as the pages and the examples have them.

// rendered is the chart with further values, without hooks.
func rendered(t testing.TB, args ...string) string {
	t.Helper()
	dir, err := cluster.Binaries("helm")
	if errors.Is(err, cluster.ErrNoBinaries) && testing.Short() {
		t.Skipf("-short, and no helm to render the chart with: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	helm := exec.CommandContext(t.Context(), filepath.Join(dir, "helm"), append([]string{
		"template", "deploy/helm/pratique", "--name-template", "pratique", "--namespace", "pratique-system", "--no-hooks",
	}, args...)...)
	helm.Dir = root
	helm.Env = []string{"HOME=" + home, "KUBECONFIG=" + os.DevNull, "HELM_CACHE_HOME=" + home, "HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home}
	var said bytes.Buffer
	helm.Stderr = &said
	out, err := helm.Output()
	if err != nil {
		t.Fatalf("helm template %s: %v\n%s", args, err, said.String())
	}
	return string(out)
}

// of returns the documents of a kind.
func of(t testing.TB, kind, documents string) []string {
	t.Helper()
	var out []string
	for document := range strings.SplitSeq("\n"+documents, "\n---\n") {
		var meta struct{ Kind string }
		if err := yaml.Unmarshal([]byte(document), &meta); err != nil {
			t.Fatal(err)
		}
		if meta.Kind == kind {
			out = append(out, document)
		}
	}
	return out
}

// listOf returns the list of registries that a rendering hands to the webhook.
func listOf(t testing.TB, documents string) string {
	t.Helper()
	for _, document := range of(t, "ConfigMap", documents) {
		var m struct{ Data map[string]string }
		if err := yaml.Unmarshal([]byte(document), &m); err != nil {
			t.Fatal(err)
		}
		if list, ok := m.Data["registries.yaml"]; ok {
			return list
		}
	}
	t.Fatal("no ConfigMap has registries.yaml")
	return ""
}

// takes makes sure that a client of registries takes a list.
func takes(t testing.TB, list string) {
	t.Helper()
	registries, err := registry.ParseRegistries([]byte(list))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := registry.New(registry.Options{Registries: registries}); err != nil {
		t.Error(err)
	}
}

func TestTheListOfRegistriesIsOneForTheChartAndTheCLI(t *testing.T) {
	t.Parallel()
	takes(t, readFile(t, "examples/registries.yaml"))
	chart := rendered(t, "--values", "examples/registries.yaml")
	takes(t, listOf(t, chart))
	for _, want := range []string{"--registries=/etc/pratique/registries/registries.yaml", "ecr: {}", "mirror: cache.example.com/docker-hub", "name: tools-reader"} {
		if !strings.Contains(chart, want) {
			t.Errorf("the chart with examples/registries.yaml has no %s", want)
		}
	}
}

func TestTheChartTakesTheValuesOfThePages(t *testing.T) {
	t.Parallel()
	for _, path := range policyPages {
		for _, b := range readPage(t, path).blocks(t) {
			if !b.is("yaml", "values") {
				continue
			}
			t.Run(b.where, func(t *testing.T) {
				t.Parallel()
				dir, err := os.MkdirTemp("", "values-") // not t.TempDir: helm takes a comma of the test's name for two files
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := os.RemoveAll(dir); err != nil {
						t.Error(err)
					}
				})
				file := filepath.Join(dir, "values.yaml")
				if err := os.WriteFile(file, []byte(b.text()), 0o600); err != nil {
					t.Fatal(err)
				}
				chart := rendered(t, "--values", file)
				if strings.Contains(b.text(), "registries:") {
					takes(t, listOf(t, chart))
				}
			})
		}
	}
}

// TestTheVerbsOfTheExampleAreThoseThatTheGuardsAskFor: the API server takes any verb in a Role, and a typo grants nothing.
func TestTheVerbsOfTheExampleAreThoseThatTheGuardsAskFor(t *testing.T) {
	t.Parallel()
	guards := readFile(t, "deploy/helm/pratique/templates/guards.yaml")
	roles := of(t, "ClusterRole", rendered(t))
	granted, documents := map[string]bool{}, 0
	for document := range strings.SplitSeq(readFile(t, "examples/rbac.yaml"), "\n---\n") {
		documents++
		var role rbacv1.ClusterRole // a Role has the same rules
		var binding rbacv1.ClusterRoleBinding
		isRole := yaml.UnmarshalStrict([]byte(document), &role) == nil && len(role.Rules) > 0
		isBinding := yaml.UnmarshalStrict([]byte(document), &binding) == nil && len(binding.Subjects) > 0
		switch {
		case isRole == isBinding:
			t.Errorf("document %d is neither a role nor a binding, as strictly read", documents)
		case isBinding && binding.RoleRef.Name == "pratique-policy-author":
			if !slices.ContainsFunc(roles, func(r string) bool {
				return strings.Contains(r, "\n  name: pratique-policy-author\n") && strings.Contains(r, "enforce")
			}) {
				t.Error("the chart has no ClusterRole pratique-policy-author with the verb enforce")
			}
		}
		for _, rule := range role.Rules {
			for _, verb := range rule.Verbs {
				if slices.Contains(rule.APIGroups, "pratique.dev") && (verb == "enforce" || verb == "relabel") {
					granted[verb+" "+strings.Join(rule.Resources, ",")] = true
				}
			}
		}
	}
	if documents != 5 {
		t.Errorf("%d documents", documents)
	}
	if !granted["relabel namespaces"] || !strings.Contains(guards, "resource('namespaces').name(object.metadata.name).check('relabel')") {
		t.Errorf("it grants %v, and the guards ask for relabel on namespaces", granted)
	}
}

func TestTheFieldsOfTheListAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	fields := func(list string) []string { // as the error of an unknown one names them
		_, err := registry.ParseRegistries([]byte(list))
		if err == nil {
			t.Fatalf("%s is taken", list)
		}
		_, want, _ := strings.Cut(err.Error(), "no such field: want ")
		return strings.Split(want, ", ")
	}
	have := slices.DeleteFunc(fields("registries: [{none: 1}]"), func(field string) bool { return field == "auth" })
	for _, way := range fields("registries: [{prefix: registry.example.com, auth: {none: 1}}]") {
		if way == "secretRef" {
			way += ".name"
		}
		have = append(have, "auth."+way)
	}
	section := readPage(t, "docs/operations.md").section(t, "The list of registries")
	var listed []string
	for _, row := range section.rows(t, "field") {
		listed = append(listed, plain(row[0]))
	}
	sameLists(t, "docs/operations.md, The list of registries", listed, have)
}

func TestTheGuardsAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	var have []string
	for _, document := range of(t, "ValidatingAdmissionPolicy", rendered(t)) {
		var policy struct {
			Metadata struct{ Name string }
			Spec     struct{ Validations []struct{ Expression string } }
		}
		if err := yaml.Unmarshal([]byte(document), &policy); err != nil {
			t.Fatal(err)
		}
		name := policy.Metadata.Name
		have = append(have, name)
		for _, row := range readPage(t, "docs/operations.md").section(t, "Guards").rows(t, "guard") {
			verb := codes(row[2])
			if plain(row[0]) == name && len(verb) > 0 && !strings.Contains(policy.Spec.Validations[0].Expression, ".check('"+verb[0]+"')") {
				t.Errorf("docs/operations.md: %s doesn't ask for %s", name, verb[0])
			}
		}
	}
	sameLists(t, "docs/operations.md, Guards", column(t, readPage(t, "docs/operations.md").section(t, "Guards"), "guard"), have)
}
