package compile

import (
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/pkg/policy"
)

func load(t testing.TB, texts ...string) (*Bundle, error) {
	t.Helper()
	var files []File
	for i, text := range texts {
		files = append(files, File{Name: string(rune('a'+i)) + ".yaml", Reader: strings.NewReader(text)})
	}
	return LoadFiles(files...)
}

func mustLoad(t testing.TB, texts ...string) *Bundle {
	t.Helper()
	b, err := load(t, texts...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func secretDocument(namespace, pem string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: cosign-pub" + namespace + "}\ndata: {cosign.pub: " + base64.StdEncoding.EncodeToString([]byte(pem)) + "}\n"
}

func TestFilesGiveWhatPoliciesReferTo(t *testing.T) {
	t.Parallel()
	pem := newKey(t)
	inline := "|\n" + indent(pem, 4) + "\n"
	for _, tt := range []struct{ name, text string }{
		{"a Secret of the policy's namespace", secretDocument(", namespace: payments", pem)},
		{"a Secret without a namespace", secretDocument("", pem)},
		{"a Secret's stringData, which wins", "apiVersion: v1\nkind: Secret\nmetadata: {name: cosign-pub, namespace: payments}\ntype: Opaque\ndata: {cosign.pub: bm9uc2Vuc2U=}\nstringData:\n  cosign.pub: " + inline},
		{"JSON", string(toJSON(t, secretDocument("", pem)))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := mustLoad(t, "# only a comment\n---\n"+namespaced(bySecret)+"---\n"+tt.text)
			set, unresolved := b.Set(t.Context(), "payments", policy.UnmatchedDeny)
			if p := only(t, set.Namespaced); p.Unusable != "" || len(unresolved) != 0 {
				t.Errorf("%s; %v", p.Unusable, unresolved)
			}
		})
	}
	for entry, text := range map[string]string{"data": inline, "binaryData": base64.StdEncoding.EncodeToString([]byte(pem)) + "\n"} {
		b := mustLoad(t, namespaced(strings.Replace(bySecret, "secretRef", "configMapRef", 1)), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cosign-pub, namespace: payments}\n"+entry+":\n  cosign.pub: "+text)
		set, unresolved := b.Set(t.Context(), "payments", policy.UnmatchedDeny)
		if p := only(t, set.Namespaced); p.Unusable != "" || len(unresolved) != 0 {
			t.Errorf("ConfigMap %s: %s; %v", entry, p.Unusable, unresolved)
		}
	}
}

func TestWhatFilesDoNotResolveIsNamed(t *testing.T) {
	t.Parallel()
	pem := newKey(t)
	for _, tt := range []struct {
		name  string
		texts []string
		want  string
	}{
		{"no Secret", []string{namespaced(bySecret)}, "ImagePolicy payments/production: authority release: Secret payments/cosign-pub: not among the files"},
		{"a Secret of another namespace", []string{namespaced(bySecret), secretDocument(", namespace: dev", pem)}, "Secret payments/cosign-pub: not among the files"},
		{"a Secret without the entry", []string{namespaced(strings.Replace(bySecret, "key: cosign.pub", "key: other", 1)), secretDocument("", pem)}, `has no entry "other"`},
		{"a Secret that is empty", []string{namespaced(bySecret), secretDocument("", "")}, "no public key in it"},
		{"no Secret for the cluster's policy", []string{clusterWide(bySecret)}, "ClusterImagePolicy everywhere: authority release: Secret cosign-pub: not among the files"},
		{"two Secrets for the cluster's policy", []string{clusterWide(bySecret), secretDocument(", namespace: a", pem), secretDocument(", namespace: b", pem)}, "several namespaces have one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			set, unresolved := mustLoad(t, tt.texts...).Set(t.Context(), "payments", policy.UnmatchedDeny)
			if len(unresolved) != 1 || !strings.Contains(unresolved[0].String(), tt.want) {
				t.Errorf("unresolved %v, want %s", unresolved, tt.want)
			}
			if p := only(t, set.All()); !refuses(t, p, "registry.example.com/app") {
				t.Error("and yet it lets an image in")
			}
		})
	}
}

func TestAClusterPolicysSecretIsTheOnlyOneOrTheInstalls(t *testing.T) {
	t.Parallel()
	b := mustLoad(t, clusterWide(bySecret), secretDocument(", namespace: pratique-system", newKey(t)))
	if _, unresolved := b.Set(t.Context(), "payments", policy.UnmatchedDeny); len(unresolved) != 0 {
		t.Errorf("the only one: %v", unresolved)
	}
	b.InstallNamespace = "elsewhere"
	if _, unresolved := b.Set(t.Context(), "payments", policy.UnmatchedDeny); len(unresolved) != 1 {
		t.Errorf("another namespace's: %v", unresolved)
	}
}

func TestFilesSelectByNamespace(t *testing.T) {
	t.Parallel()
	production := named(clusterWide("namespaceSelector: {matchLabels: {env: production}}\n"+allowAll), "production")
	byName := named(clusterWide("namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: payments}}\n"+allowAll), "by-name")
	nowhere := named(replaceOnce(namespaced(allowAll), ", namespace: payments", ""), "anywhere")
	own := namespaced(allowAll)
	ns := "apiVersion: v1\nkind: Namespace\nmetadata: {name: payments, labels: {env: production}}\n"
	for _, tt := range []struct {
		name, namespace string
		texts           []string
		want            []string
	}{
		{"a namespace with its document", "payments", []string{production, byName, nowhere, own, ns}, []string{"by-name", "production", "payments/anywhere", "payments/production"}},
		{"a namespace without a document has its name for a label", "payments", []string{production, byName, nowhere, own}, []string{"by-name", "payments/anywhere", "payments/production"}},
		{"another namespace", "dev", []string{production, byName, nowhere, own, ns}, []string{"dev/anywhere"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			set, _ := mustLoad(t, tt.texts...).Set(t.Context(), tt.namespace, policy.UnmatchedAllow)
			if diff := cmp.Diff(tt.want, names(set.All())); diff != "" {
				t.Error(diff)
			}
			if set.Unmatched != policy.UnmatchedAllow {
				t.Errorf("unmatched %v", set.Unmatched)
			}
		})
	}
}

func TestFilesTakeLists(t *testing.T) {
	t.Parallel()
	for _, head := range []string{"apiVersion: v1\nkind: List\n", "apiVersion: pratique.dev/v1alpha1\nkind: ImagePolicyList\nmetadata: {resourceVersion: '7'}\n"} {
		text := head + "items:\n- " + strings.TrimSpace(strings.ReplaceAll(namespaced(allowAll), "\n", "\n  ")) + "\n"
		set, _ := mustLoad(t, text).Set(t.Context(), "payments", policy.UnmatchedDeny)
		only(t, set.Namespaced)
	}
}

func TestLoadFilesRefuses(t *testing.T) {
	t.Parallel()
	good := namespaced(allowAll)
	for _, tt := range []struct {
		name string
		text string
		want string
	}{
		{"a typo in a policy", namespaced(allowAll + "\nrequrie: {}"), `a.yaml, document 1: unknown field "spec.requrie"`},
		{"a typo in a policy's metadata", replaceOnce(good, "namespace:", "namepsace:"), `a.yaml, document 1: unknown field "metadata.namepsace"`},
		{"a duplicate key", namespaced(allowAll + "\nmode: Enforce\nmode: Audit"), `a.yaml, document 1: yaml: unmarshal errors:`},
		{"an invalid policy, in its document", good + "---\n" + named(namespaced("images: {include: [nginx]}\nallow: {reason: r}"), "other"), "a.yaml, document 2: ImagePolicy payments/other: spec.images.include[0]"},
		{"what isn't supported yet", clusterWide(strings.Replace(bySecret, "secretRef: {name: cosign-pub, key: cosign.pub}", "kms: 'awskms:///x'", 1)), "not supported yet"},
		{"a policy without a name", replaceOnce(good, "name: production, ", ""), "metadata.name is missing"},
		{"a policy twice", good + "---\n" + good, "a.yaml, document 2: ImagePolicy payments/production is there twice, first in a.yaml, document 1"},
		{"a Secret twice", secretDocument("", "x") + "---\n" + secretDocument("", "x"), "Secret cosign-pub is there twice"},
		{"a typo in a Secret", secretDocument("", "x") + "dat: {}\n", `unknown field "dat"`},
		{"a Secret whose data are no base64", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: '***'}\n", "base64"},
		{"a typo in a ConfigMap", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\ndate: {a: b}\n", `unknown field "date"`},
		{"a typo in a Namespace", "apiVersion: v1\nkind: Namespace\nmetadata: {name: s, label: {a: b}}\n", `unknown field "metadata.label"`},
		{"a TrustRoot without a spec", "apiVersion: pratique.dev/v1alpha1\nkind: TrustRoot\nmetadata: {name: t}\n", "a.yaml, document 1: spec: missing: say in it where the trusted roots come from"},
		{"another kind", "apiVersion: apps/v1\nkind: Deployment\n", "a.yaml, document 1: apps/v1 Deployment: want ImagePolicy, ClusterImagePolicy, TrustRoot or ImageException (pratique.dev/v1alpha1), Secret, ConfigMap or Namespace (v1)"},
		{"another version", replaceOnce(good, "v1alpha1", "v1"), "pratique.dev/v1 ImagePolicy: want"},
		{"no object", "images: ['**']\n", "not a Kubernetes object"},
		{"a list", "- a\n- b\n", "a.yaml, document 1"},
		{"no YAML", "a: [\n", "a.yaml, document 1"},
		{"an item of a list that is invalid", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod}\n", "a.yaml, document 1: item 1: v1 Pod: want"},
		{"a list in a list", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: List, items: []}\n", "a list in a list"},
		{"a document after ...", good + "...\n" + namespaced("images: {include: ['**']}\ndeny: {reason: r}"), "separate documents by ---"},
		{"a lone carriage return", replaceOnce(good, "\nkind", "\rkind"), "lone carriage return"},
		{"a separator with content", good + "--- {}\n", "a.yaml, document 1"},
		{"more than 32 MiB", "# " + strings.Repeat("x", maxFile), "over the bound"},
		{"more than 10000 documents", strings.Repeat("---\n#\n", maxDocuments+1), "over the bound"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := load(t, tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant an error with %s", err, tt.want)
			}
			if b != nil {
				t.Error("a bundle beside the error")
			}
		})
	}
	if _, err := LoadFiles(File{Name: "x.yaml", Reader: iotest.ErrReader(io.ErrClosedPipe)}); !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(err.Error(), "x.yaml") {
		t.Errorf("an unreadable file: %v", err)
	}
	if _, err := load(t, good, good); err == nil || !strings.Contains(err.Error(), "b.yaml, document 1: ImagePolicy payments/production is there twice, first in a.yaml, document 1") {
		t.Errorf("a policy in two files: %v", err)
	}
}

func TestCarriageReturnsBeforeNewlinesAreFine(t *testing.T) {
	t.Parallel()
	mustLoad(t, strings.ReplaceAll(namespaced(allowAll), "\n", "\r\n"))
}
