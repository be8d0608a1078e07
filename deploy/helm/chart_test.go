package helm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/internal/server"
)

func TestLint(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"as it comes": nil, "outside the cluster": outside(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, err := run(t, append([]string{"lint", "--strict", chart}, args...)...)
			if err != nil {
				t.Errorf("%v\n%s%s", err, stdout, stderr)
			}
		})
	}
}

// TestGolden compares what helm renders with what is committed. The CRDs, which no value changes, are in
// out-of-cluster.yaml only.
func TestGolden(t *testing.T) {
	t.Parallel()
	golden := []struct {
		file string
		crds bool
		args []string
	}{
		{"default.yaml", false, nil},
		{"out-of-cluster.yaml", true, outside(t)},
	}
	for _, g := range golden {
		t.Run(g.file, func(t *testing.T) {
			t.Parallel()
			var got strings.Builder
			for _, document := range template(t, g.args...) {
				if g.crds || !strings.Contains(document, "\nkind: CustomResourceDefinition\n") {
					got.WriteString("---\n" + document)
				}
			}
			file := filepath.Join(chart, "testdata", "golden", g.file)
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("%s is not what helm renders; if the change is meant, UPDATE_GOLDEN=1 go test ./deploy/helm (-golden +rendered):\n%s", file, diff)
			}
		})
	}
}

func TestWhatIsInstalled(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		args []string
		want map[string]int
	}{
		{"all of it", nil, map[string]int{
			"CustomResourceDefinition": 2, "ValidatingWebhookConfiguration": 1,
			"Deployment": 1, "PodDisruptionBudget": 1, "ResourceQuota": 1, "Service": 1, "Secret": 1, "ServiceAccount": 1,
			"ClusterRole": 1, "ClusterRoleBinding": 1, "Role": 1, "RoleBinding": 1,
		}},
		{"no quota for a class that needs none", values(t, "priorityClassName: ''"), map[string]int{
			"CustomResourceDefinition": 2, "ValidatingWebhookConfiguration": 1,
			"Deployment": 1, "PodDisruptionBudget": 1, "Service": 1, "Secret": 1, "ServiceAccount": 1,
			"ClusterRole": 1, "ClusterRoleBinding": 1, "Role": 1, "RoleBinding": 1,
		}},
		{"only what the API server reads where the webhook runs elsewhere", outside(t), map[string]int{
			"CustomResourceDefinition": 2, "ValidatingWebhookConfiguration": 1,
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, kinds(decode(t, template(t, c.args...)))); diff != "" {
				t.Errorf("objects by kind (-want +rendered):\n%s", diff)
			}
		})
	}
}

// TestAValueThatIsWrongIsRefused holds the schema to saying which value and why.
func TestAValueThatIsWrongIsRefused(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, values, says string
	}{
		{"a failurePolicy, which is not a value", "webhook: {failurePolicy: Ignore}", "at '/webhook': additional properties 'failurePolicy' not allowed"},
		{"an objectSelector, which is not a value", "objectSelector: {}", "at '': additional properties 'objectSelector' not allowed"},
		{"a misspelt value", "exemptNamespace: [a]", "at '': additional properties 'exemptNamespace' not allowed"},
		{"a webhook without TLS", "webhook: {url: 'http://10.0.0.5'}", "at '/webhook/url': 'http://10.0.0.5' does not match pattern '^(https://.+)?$'"},
		{"a CA that is not base64", "webhook: {url: 'https://a', caBundle: '-----BEGIN'}", "at '/webhook/caBundle': '-----BEGIN' does not match pattern"},
		{"a CA for the webhook in the cluster", "webhook: {caBundle: QQ==}", "webhook.caBundle is set without webhook.url"},
		{"less time than an answer takes", "webhook: {timeoutSeconds: 2}", "at '/webhook/timeoutSeconds': minimum: got 2, want 3"},
		{"more time than the API server gives", "webhook: {timeoutSeconds: 31}", "at '/webhook/timeoutSeconds': maximum: got 31, want 30"},
		{"no replicas", "replicas: 0", "at '/replicas': minimum: got 0, want 1"},
		{"a word that unmatchedImages doesn't know", "unmatchedImages: allow", "at '/unmatchedImages': value must be one of 'Allow', 'Warn', 'Deny'"},
		{"a pattern of namespaces", "exemptNamespaces: ['team-*']", "at '/exemptNamespaces/0': 'team-*' does not match pattern"},
		{"an unquoted null in exemptNamespaces", "exemptNamespaces: [null]", "at '/exemptNamespaces/0': got null, want string"},
		{"a URL in plainHTTP", "plainHTTP: ['http://a']", "at '/plainHTTP/0': 'http://a' does not match pattern"},
		{"a tag in the repository", "image: {repository: 'a/b:1'}", "at '/image/repository': 'a/b:1' does not match pattern"},
		{"a digest cut short", "image: {digest: 'sha256:abc'}", "at '/image/digest': 'sha256:abc' does not match pattern"},
		{"a pull policy that doesn't exist", "image: {pullPolicy: Sometimes}", "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"},
		{"a level that doesn't exist", "logLevel: loud", "at '/logLevel': value must be one of 'debug', 'info', 'warn', 'error'"},
		{"a memory limit that GOMEMLIMIT can't be taken from", "resources: {limits: {memory: 1.5Gi}}", "at '/resources/limits/memory': '1.5Gi' does not match pattern '^[1-9][0-9]*(Ki|Mi|Gi)$'"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, err := run(t, append([]string{"template", "pratique", chart}, values(t, c.values)...)...)
			if err == nil {
				t.Fatalf("rendered:\n%s", stdout)
			}
			if !strings.Contains(stderr, c.says) {
				t.Errorf("it is refused without saying %q:\n%s", c.says, stderr)
			}
		})
	}
}

func TestEveryValueHasASchemaAndAComment(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		key, _, isKey := strings.Cut(strings.TrimSpace(line), ":")
		if !isKey || strings.HasPrefix(key, "#") {
			continue
		}
		depth := len(line) - len(strings.TrimLeft(line, " "))
		said := i > 0 && strings.HasPrefix(strings.TrimSpace(lines[i-1]), "#")
		switch {
		case depth == 0 && said, depth == 2 && said:
		case depth == 0 && (key == "image" || key == "webhook"): // each value below has its own
		case underOneOf(lines[:i], "resources", "nodeSelector"): // Kubernetes' own fields
		default:
			t.Errorf("values.yaml:%d: %s has no comment above it", i+1, key)
		}
	}

	var defaults, schema map[string]any
	if err := yaml.Unmarshal(text, &defaults); err != nil {
		t.Fatal(err)
	}
	text, err = os.ReadFile(filepath.Join(chart, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	for key := range defaults {
		if schema["properties"].(map[string]any)[key] == nil {
			t.Errorf("values.schema.json doesn't have %s", key)
		}
	}
	for key := range schema["properties"].(map[string]any) {
		if _, ok := defaults[key]; !ok && key != "global" {
			t.Errorf("values.yaml doesn't have %s", key)
		}
	}
}

// underOneOf says whether the last line that starts in column 0 is one of these keys.
func underOneOf(lines []string, keys ...string) bool {
	for _, line := range slices.Backward(lines) {
		if line != "" && line[0] != ' ' && line[0] != '#' && line[0] != '-' {
			key, _, _ := strings.Cut(line, ":")
			return slices.Contains(keys, key)
		}
	}
	return false
}

func TestTheImage(t *testing.T) {
	t.Parallel()
	const digest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	cases := []struct{ name, values, want string }{
		{"the chart's own version", "", "docker.io/library/pratique-webhook:" + appVersion(t)},
		{"a tag", "image: {repository: 'r.example:5000/w', tag: v2}", "r.example:5000/w:v2"},
		{"a digest wins over a tag", "image: {repository: 'r.example:5000/w', tag: v2, digest: '" + digest + "'}", "r.example:5000/w@" + digest},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			deployment := only[*appsv1.Deployment](t, decode(t, template(t, values(t, c.values)...)))
			if got := deployment.Spec.Template.Spec.Containers[0].Image; got != c.want {
				t.Errorf("image %s, want %s", got, c.want)
			}
		})
	}
}

func appVersion(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chart, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var metadata struct{ AppVersion string }
	if err := yaml.Unmarshal(text, &metadata); err != nil || metadata.AppVersion == "" {
		t.Fatalf("Chart.yaml has no appVersion: %v", err)
	}
	return metadata.AppVersion
}

func TestTheWebhooksFlags(t *testing.T) {
	t.Parallel()
	objects := decode(t, template(t, values(t, `
unmatchedImages: Deny
plainHTTP: ["registry.local", "[::1]:5000"]
logLevel: debug
`)...))
	got := only[*appsv1.Deployment](t, objects).Spec.Template.Spec.Containers[0].Args
	want := []string{
		"--namespace=" + Namespace, "--unmatched-images=Deny",
		"--plain-http=registry.local", "--plain-http=[::1]:5000", "--log-level=debug",
		"--port=9443", "--cert-dir=/run/pratique/tls", "--cert-secret=" + only[*corev1.Secret](t, objects).Name,
		"--webhook-configuration=" + only[*admissionregistrationv1.ValidatingWebhookConfiguration](t, objects).Name,
		"--service=" + only[*corev1.Service](t, objects).Name,
		"--metrics-bind-address=:8080", "--health-probe-bind-address=:8081", "--leader-elect",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flags (-want +rendered):\n%s", diff)
	}
}

func TestGoMemoryLimitIsNineTenthsOfTheLimit(t *testing.T) {
	t.Parallel()
	cases := []struct{ limit, want string }{
		{"memory: 512Mi", "460MiB"}, {"memory: 1Gi", "921MiB"}, {"memory: 400000Ki", "360000KiB"}, {"memory: null", ""},
	}
	for _, c := range cases {
		t.Run(c.limit, func(t *testing.T) {
			t.Parallel()
			deployment := only[*appsv1.Deployment](t, decode(t, template(t, values(t, "resources: {limits: {"+c.limit+"}}")...)))
			var got string
			for _, variable := range deployment.Spec.Template.Spec.Containers[0].Env {
				if variable.Name == "GOMEMLIMIT" {
					got = variable.Value
				}
			}
			if got != c.want {
				t.Errorf("GOMEMLIMIT=%s, want %q", got, c.want)
			}
		})
	}
}

// TestAReleaseOfAnyNameFindsItsParts: whatever the release and its namespace are called, also where YAML would
// take their names for something else.
func TestAReleaseOfAnyNameFindsItsParts(t *testing.T) {
	t.Parallel()
	cases := []struct{ release, namespace, want string }{
		{"pratique", "pratique-system", "pratique"},
		{"x", "1e3", "x-pratique"},
		{"my-pratique", "null", "my-pratique"},
		{strings.Repeat("r", 53), "n", strings.Repeat("r", 50)},
	}
	for _, c := range cases {
		t.Run(c.release, func(t *testing.T) {
			t.Parallel()
			objects := decode(t, template(t, "--name-template", c.release, "--namespace", c.namespace))
			configuration := only[*admissionregistrationv1.ValidatingWebhookConfiguration](t, objects)
			service := only[*corev1.Service](t, objects)
			deployment := only[*appsv1.Deployment](t, objects)
			if configuration.Name != c.want || service.Name != c.want+"-webhook" || service.Namespace != c.namespace {
				t.Errorf("webhooks %s, Service %s/%s", configuration.Name, service.Namespace, service.Name)
			}
			for _, w := range configuration.Webhooks {
				if s := w.ClientConfig.Service; s == nil || s.Name != service.Name || s.Namespace != c.namespace || *s.Port != service.Spec.Ports[0].Port {
					t.Errorf("%s goes to %+v", w.Name, s)
				}
			}
			if diff := cmp.Diff(deployment.Spec.Selector.MatchLabels, deployment.Spec.Template.Labels); diff != "" {
				t.Errorf("the Deployment doesn't select its Pods (-selector +labels):\n%s", diff)
			}
			if diff := cmp.Diff(service.Spec.Selector, deployment.Spec.Template.Labels); diff != "" {
				t.Errorf("the Service doesn't select the Pods (-selector +labels):\n%s", diff)
			}
		})
	}
}

// TestAPodHasTimeToDrain holds the Pod's time to end to what internal/server takes.
func TestAPodHasTimeToDrain(t *testing.T) {
	t.Parallel()
	pod := only[*appsv1.Deployment](t, decode(t, template(t))).Spec.Template.Spec
	if need := (server.DefaultDrainDelay + server.ShutdownTimeout).Seconds(); float64(*pod.TerminationGracePeriodSeconds) <= need {
		t.Errorf("%d s to end, and a drain takes up to %.0f s", *pod.TerminationGracePeriodSeconds, need)
	}
}

func TestUninstallKeepsTheCRDs(t *testing.T) {
	t.Parallel()
	for _, object := range decode(t, template(t)) {
		_, isCRD := object.(*apiextensionsv1.CustomResourceDefinition)
		if kept := object.GetAnnotations()["helm.sh/resource-policy"] == "keep"; kept != isCRD {
			t.Errorf("%T %s is kept on uninstall: %t", object, object.GetName(), kept)
		}
	}
}

// TestTheCRDsAreTheGeneratedOnes: going through a template costs them nothing.
func TestTheCRDsAreTheGeneratedOnes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(chart, "crd-bases", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no generated CRDs: %v", err)
	}
	generated := map[string]apiextensionsv1.CustomResourceDefinitionSpec{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := only[*apiextensionsv1.CustomResourceDefinition](t, decode(t, []string{string(text)}))
		generated[crd.Name] = crd.Spec
	}
	rendered := map[string]apiextensionsv1.CustomResourceDefinitionSpec{}
	for _, crd := range all[*apiextensionsv1.CustomResourceDefinition](decode(t, template(t))) {
		rendered[crd.Name] = crd.Spec
	}
	if diff := cmp.Diff(generated, rendered); diff != "" {
		t.Errorf("(-generated +rendered):\n%s", diff)
	}
}

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
		}},
		{"outside the cluster", outside(t), []string{
			"webhook --kubeconfig=FILE --cert-dir=DIR --cert-host=webhook.invalid --namespace=pratique-system --unmatched-images=Allow --log-level=info\n",
		}},
		{"outside the cluster without a CA", values(t, "webhook: {url: 'https://10.0.0.5:9443'}"), []string{
			"--cert-host=10.0.0.5 ", "set it to the base64 of DIR/ca.crt",
		}},
		{"everything unmatched refused", values(t, "unmatchedImages: Deny"), []string{"refused from now on"}},
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
