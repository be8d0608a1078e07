package helm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// notes returns what helm install prints: helm template leaves it out, so it is rendered as a value of an object
// in a copy of the chart.
func notes(t *testing.T, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), chart)
	if err := os.CopyFS(dir, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "templates", "NOTES.txt"))
	if err != nil {
		t.Fatal(err)
	}
	object := `{{ define "notes" }}` + string(text) + "{{ end }}\nkind: Notes\napiVersion: v1\nnotes: {{ include \"notes\" . | toJson }}\n"
	if err := os.WriteFile(filepath.Join(dir, "templates", "notes.yaml"), []byte(object), 0o600); err != nil {
		t.Fatal(err)
	}
	documents := templateOf(t, dir, append(args, "--show-only", "templates/notes.yaml")...)
	var printed struct{ Notes string }
	if err := yaml.Unmarshal([]byte(documents[0]), &printed); err != nil {
		t.Fatal(err)
	}
	return printed.Notes
}

func TestTheNotesSayWhatIsOpenAndWhatToDoNext(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		args []string
		says []string
	}{
		{"in the cluster", values(t, "exemptNamespaces: [kube-system, backup]"), []string{
			"\n- pratique-system\n- kube-system\n- backup\n",
			"kubectl -n pratique-system rollout status deployment/pratique-webhook",
			"Nothing is refused before the first policy.", "kind: ImagePolicy", "--dry-run=server",
			"means tags: Pin: once it enforces, Pods that name a tag are rewritten to its digest",
			"--clusterrole=pratique-policy-author", "Its verb \"enforce\" is what the guards ask for",
			"its webhook objects first",
		}},
		{"outside the cluster", outside(t), []string{
			"webhook --kubeconfig=FILE --cert-dir=DIR --cert-host=webhook.invalid --namespace=pratique-system --unmatched-images=Allow --rollout=enforce --pin=true --log-level=info\n",
			"no Pod is created",
		}},
		{"outside the cluster without a CA", values(t, "webhook: {url: 'https://10.0.0.5:9443'}"), []string{
			"--cert-host=10.0.0.5 ", "set it to the base64 of DIR/ca.crt",
		}},
		{"everything unmatched refused", values(t, "unmatchedImages: Deny"), []string{"refused from now on"}},
		{"while nothing is guaranteed", values(t, "rollout: audit"), []string{"NOTHING IS GUARANTEED", "admits every image\nunjudged", "Pods are created unjudged"}},
		{"what a tag becomes where nothing pins", values(t, "pin: {enabled: false}"), []string{"pin.enabled is false", "a tag is refused, with the digest to use"}},
		{"who may do what without guards", values(t, "guards: {enabled: false}"), []string{"guards.enabled is false"}},
		{"in the namespace default", []string{"--namespace", "default"}, []string{"THE RELEASE IS IN THE NAMESPACE default"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := notes(t, c.args...)
			for _, say := range c.says {
				if !strings.Contains(got, say) {
					t.Errorf("the notes don't say %q:\n%s", say, got)
				}
			}
		})
	}
}

// TestTheNotesOfEnforceSayNothingOfAudit: what is said where something is open is not said where nothing is.
func TestTheNotesOfEnforceSayNothingOfAudit(t *testing.T) {
	t.Parallel()
	got := notes(t)
	for _, say := range []string{"unjudged", "GUARANTEED", "pin.enabled", "guards.enabled", "THE RELEASE IS IN"} {
		if strings.Contains(got, say) {
			t.Errorf("the notes say %q:\n%s", say, got)
		}
	}
}

// TestRow32_EveryExemptNamespaceIsInTheNotes: what the API server never asks about is what the admin is shown, for
// every webhook that has exempt namespaces.
func TestRow32_EveryExemptNamespaceIsInTheNotes(t *testing.T) {
	t.Parallel()
	cases := map[string][]string{
		"as it comes": nil, "outside the cluster": outside(t),
		"some more": values(t, "exemptNamespaces: [kube-system, backup, monitoring]"),
		"its own":   values(t, "exemptNamespaces: []"),
	}
	for name, args := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := notes(t, args...)
			_, list, found := strings.Cut(got, "every namespace but:\n\n")
			list, _, ends := strings.Cut(list, "\n\n")
			if !found || !ends {
				t.Fatalf("the notes have no list of them:\n%s", got)
			}
			var shown []string
			if err := yaml.Unmarshal([]byte(list), &shown); err != nil {
				t.Fatal(err)
			}
			for _, w := range rendered(t, args...) {
				if w.NamespaceSelector == nil {
					continue
				}
				if diff := cmp.Diff(w.NamespaceSelector.MatchExpressions[0].Values, shown); diff != "" {
					t.Errorf("%s exempts others (-rendered +notes):\n%s", w.Name, diff)
				}
			}
		})
	}
}
