package helm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestAValueThatIsWrongIsRefused holds the schema to saying which value and why.
func TestAValueThatIsWrongIsRefused(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, values, says string
	}{
		{"a failurePolicy that only rollout may choose", "webhook: {failurePolicy: Ignore}", "at '/webhook': additional properties 'failurePolicy' not allowed"},
		{"an objectSelector, which is not a value", "objectSelector: {}", "at '': additional properties 'objectSelector' not allowed"},
		{"a misspelt value", "exemptNamespace: [a]", "at '': additional properties 'exemptNamespace' not allowed"},
		{"a webhook without TLS", "webhook: {url: 'http://10.0.0.5'}", "at '/webhook/url': 'http://10.0.0.5' does not match pattern '^(https://.+)?$'"},
		{"a CA that is not base64", "webhook: {url: 'https://a', caBundle: '-----BEGIN'}", "at '/webhook/caBundle': '-----BEGIN' does not match pattern"},
		{"a CA for the webhook in the cluster", "webhook: {caBundle: QQ==}", "webhook.caBundle is set without webhook.url"},
		{"less time than an answer takes", "webhook: {timeoutSeconds: 2}", "at '/webhook/timeoutSeconds': minimum: got 2, want 3"},
		{"more time than the API server gives", "webhook: {timeoutSeconds: 31}", "at '/webhook/timeoutSeconds': maximum: got 31, want 30"},
		{"a rollout that doesn't exist", "rollout: Audit", "at '/rollout': value must be one of 'enforce', 'audit'"},
		{"a word for pin.enabled", "pin: {enabled: 'no'}", "at '/pin/enabled': got string, want boolean"},
		{"pin without its name", "pin: false", "at '/pin': got boolean, want object"},
		{"a field that guards doesn't have", "guards: {enable: false}", "at '/guards': additional properties 'enable' not allowed"},
		{"a word for denyPrivate", "denyPrivate: 'true'", "at '/denyPrivate': got string, want boolean"},
		{"a word for uninstallHook", "uninstallHook: 'false'", "at '/uninstallHook': got string, want boolean"},
		{"a registry without a prefix", "registries: [{dialPrivate: true}]", "at '/registries/0': missing property 'prefix'"},
		{"a misspelt field of a registry", "registries: [{prefix: a.example, plainHttp: true}]", "at '/registries/0': additional properties 'plainHttp' not allowed"},
		{"a URL for a prefix", "registries: [{prefix: 'https://a.example'}]", "at '/registries/0/prefix': 'https://a.example' does not match pattern"},
		{"a pattern for a prefix", "registries: [{prefix: 'a.example/*'}]", "at '/registries/0/prefix': 'a.example/*' does not match pattern"},
		{"a prefix without a host", "registries: [{prefix: library/nginx}]", "at '/registries/0/prefix': 'library/nginx' does not match pattern"},
		{"a prefix with a slash at its end", "registries: [{prefix: a.example/b/}]", "at '/registries/0/prefix': 'a.example/b/' does not match pattern"},
		{"a prefix in upper case", "registries: [{prefix: A.example}]", "at '/registries/0/prefix': 'A.example' does not match pattern"},
		{"a tag in a mirror", "registries: [{prefix: a.example, mirror: 'b.example/c:v1'}]", "at '/registries/0/mirror': 'b.example/c:v1' does not match pattern"},
		{"a login of no kind", "registries: [{prefix: a.example, auth: {}}]", "at '/registries/0/auth': minProperties: got 0, want 1"},
		{"logins of two kinds", "registries: [{prefix: a.example, auth: {ecr: {}, gar: {}}}]", "at '/registries/0/auth': maxProperties: got 2, want 1"},
		{"a login of another kind", "registries: [{prefix: a.example, auth: {basic: {}}}]", "at '/registries/0/auth': additional properties 'basic' not allowed"},
		{"another namespace's Secret", "registries: [{prefix: a.example, auth: {secretRef: {name: s, namespace: n}}}]", "at '/registries/0/auth/secretRef': additional properties 'namespace' not allowed"},
		{"a Secret without a name", "registries: [{prefix: a.example, auth: {secretRef: {}}}]", "at '/registries/0/auth/secretRef': missing property 'name'"},
		{"a Secret's name that Kubernetes doesn't take", "registries: [{prefix: a.example, auth: {secretRef: {name: A_B}}}]", "at '/registries/0/auth/secretRef/name': 'A_B' does not match pattern"},
		{"options of a cloud", "registries: [{prefix: a.example, auth: {ecr: {region: x}}}]", "at '/registries/0/auth/ecr': additional properties 'region' not allowed"},
		{"a word for a registry's plainHTTP", "registries: [{prefix: a.example, plainHTTP: 'yes'}]", "at '/registries/0/plainHTTP': got string, want boolean"},
		{"a word for a registry's dialPrivate", "registries: [{prefix: a.example, dialPrivate: 1}]", "at '/registries/0/dialPrivate': got number, want boolean"},
		{"a registry's CA in base64", "registries: [{prefix: a.example, caBundle: QUJD}]", "at '/registries/0/caBundle': 'QUJD' does not match pattern"},
		{"a URL for a token service", "registries: [{prefix: a.example, tokenHosts: ['https://a/token']}]", "at '/registries/0/tokenHosts/0': 'https://a/token' does not match pattern"},
		{"a prefix twice", "registries: [{prefix: a.example/x}, {prefix: a.example/x, dialPrivate: true}]", "registries names the prefix a.example/x twice"},
		{"a proxy's password", "proxy: {url: 'http://u:p@proxy:3128'}", "at '/proxy/url': 'http://u:p@proxy:3128' does not match pattern"},
		{"a proxy without a scheme", "proxy: {url: 'proxy:3128'}", "at '/proxy/url': 'proxy:3128' does not match pattern"},
		{"a list in one of a proxy's exclusions", "proxy: {exclude: ['a,b']}", "at '/proxy/exclude/0': 'a,b' does not match pattern"},
		{"a label that the Service selects by", "podLabels: {app.kubernetes.io/name: x}", "at '/podLabels/app.kubernetes.io~1name': false schema"},
		{"a number for an annotation", "serviceAccount: {annotations: {a: 1}}", "at '/serviceAccount/annotations/a': got number, want string"},
		{"registries of a webhook outside the cluster", "{webhook: {url: 'https://a'}, registries: [{prefix: a.example}]}", "registries is set with webhook.url"},
		{"cert-manager for a webhook outside the cluster", "{webhook: {url: 'https://a'}, certManager: {enabled: true}}", "certManager.enabled is set with webhook.url"},
		{"an issuer without a name", "certManager: {issuerRef: {kind: ClusterIssuer}}", "at '/certManager/issuerRef': properties 'name' required, if 'kind' exists"},
		{"a misspelt field of certManager", "certManager: {enable: true}", "at '/certManager': additional properties 'enable' not allowed"},
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

// TestTheOldestKubernetesIsTheOneThatIsTried: what the chart lets itself be installed on is what conditions_test.go
// compiles for.
func TestTheOldestKubernetesIsTheOneThatIsTried(t *testing.T) {
	t.Parallel()
	if _, stderr, err := run(t, "template", "pratique", chart, "--kube-version", oldest+".0"); err != nil {
		t.Errorf("Kubernetes %s: %v\n%s", oldest, err, stderr)
	}
	if _, stderr, err := run(t, "template", "pratique", chart, "--kube-version", "1.32.9"); err == nil || !strings.Contains(stderr, "chart requires kubeVersion: >="+oldest) {
		t.Errorf("Kubernetes 1.32: %v\n%s", err, stderr)
	}
}
