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
	for name, args := range map[string][]string{"as it comes": nil, "outside the cluster": outside(t), "everything": everything(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, err := run(t, append([]string{"lint", "--strict", chart}, args...)...)
			if err != nil {
				t.Errorf("%v\n%s%s", err, stdout, stderr)
			}
		})
	}
}

// everything are values that make the chart render all that it can.
func everything(t *testing.T) []string {
	t.Helper()
	return values(t, `
image: {pullSecrets: [regcred]}
rollout: audit
plainHTTP: ["registry.local:5000"]
denyPrivate: true
proxy: {url: "http://proxy.example.com:3128", exclude: [.example.com, 10.0.0.0/8]}
serviceAccount: {annotations: {eks.amazonaws.com/role-arn: "arn:aws:iam::123456789012:role/pull"}}
podLabels: {azure.workload.identity/use: "true"}
certManager: {enabled: true}
registries:
- {prefix: registry.example.com/team, auth: {secretRef: {name: regcred}}, mirror: "10.0.0.5:5000/cache", dialPrivate: true}
- {prefix: 123456789012.dkr.ecr.eu-west-1.amazonaws.com, auth: {ecr: {}}}
- {prefix: europe-docker.pkg.dev/project, auth: {gar: {}}}
- {prefix: acmecorp.azurecr.io, auth: {acr: {}}, tokenHosts: [login.example.com]}
- prefix: "[fd00::5]:5000"
  plainHTTP: false
  caBundle: |
    `+strings.ReplaceAll(someCertificate, "\n", "\n    ")+"\n")
}

// someCertificate is one: no host has it.
const someCertificate = `-----BEGIN CERTIFICATE-----
MIIBPDCB46ADAgECAgEBMAoGCCqGSM49BAMCMA0xCzAJBgNVBAMTAmNhMCAXDTIw
MDEwMTAwMDAwMFoYDzIxMDAwMTAxMDAwMDAwWjANMQswCQYDVQQDEwJjYTBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABHXGOs1T3cnnpklSdMYVqFOlvFTr9M32bO8O
XG3hqWiCsAta0I/nzfSbxLSLMLk+94oELFXkHSDUC+dLb7NE0w2jMjAwMA8GA1Ud
EwEB/wQFMAMBAf8wHQYDVR0OBBYEFBfGuoofiUXj1TUipo1C4zqDBWy3MAoGCCqG
SM49BAMCA0gAMEUCIQCxNm3j9/ITfYyamkmLVMP+T90/+K9OgxLD+fdsQ1fb0wIg
AyV8r0YrgGaoxVV7sQbPUUlXpu+T/lRCJLm+AqA89dQ=
-----END CERTIFICATE-----`

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
		want map[string]int // beside what everybody gets: the CRDs, the webhook object and the roles for people
	}{
		{"all of it", nil, map[string]int{
			"MutatingWebhookConfiguration": 1,
			"Deployment":                   1, "PodDisruptionBudget": 1, "ResourceQuota": 1, "Service": 1, "Secret": 1, "ServiceAccount": 1,
			"ClusterRole": 1, "ClusterRoleBinding": 1, "Role": 1, "RoleBinding": 1,
		}},
		{"nothing that mutates without pinning", values(t, "pin: {enabled: false}"), map[string]int{
			"Deployment": 1, "PodDisruptionBudget": 1, "ResourceQuota": 1, "Service": 1, "Secret": 1, "ServiceAccount": 1,
			"ClusterRole": 1, "ClusterRoleBinding": 1, "Role": 1, "RoleBinding": 1,
		}},
		{"no quota for a class that needs none", values(t, "priorityClassName: ''"), map[string]int{
			"MutatingWebhookConfiguration": 1,
			"Deployment":                   1, "PodDisruptionBudget": 1, "Service": 1, "Secret": 1, "ServiceAccount": 1,
			"ClusterRole": 1, "ClusterRoleBinding": 1, "Role": 1, "RoleBinding": 1,
		}},
		{"a ConfigMap for registries, and cert-manager's Secret instead of ours", everything(t), map[string]int{
			"MutatingWebhookConfiguration": 1, "ConfigMap": 1, "Issuer": 2, "Certificate": 2,
			"Deployment": 1, "PodDisruptionBudget": 1, "ResourceQuota": 1, "Service": 1, "ServiceAccount": 1,
			"ClusterRole": 1, "ClusterRoleBinding": 1, "Role": 1, "RoleBinding": 1,
		}},
		{"only what the API server reads where the webhook runs elsewhere", outside(t), map[string]int{
			"MutatingWebhookConfiguration": 1,
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.want["CustomResourceDefinition"] += 4
			c.want["ValidatingWebhookConfiguration"]++
			c.want["ClusterRole"] += 3
			got := kinds(decode(t, template(t, c.args...)))
			for kind := range got {
				if strings.HasPrefix(kind, "ValidatingAdmissionPolicy") { // guards_test.go counts them
					delete(got, kind)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("objects by kind (-want +rendered):\n%s", diff)
			}
		})
	}
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
		"--rollout=enforce", "--pin=true",
		"--plain-http=registry.local", "--plain-http=[::1]:5000", "--log-level=debug",
		"--port=9443", "--cert-dir=/run/pratique/tls", "--cert-secret=" + only[*corev1.Secret](t, objects).Name,
		"--service=" + only[*corev1.Service](t, objects).Name,
		"--webhook-configuration=" + only[*admissionregistrationv1.ValidatingWebhookConfiguration](t, objects).Name,
		"--mutating-webhook-configuration=" + only[*admissionregistrationv1.MutatingWebhookConfiguration](t, objects).Name,
		"--exempt-namespace=" + Namespace, "--exempt-namespace=kube-system",
		"--metrics-bind-address=:8080", "--health-probe-bind-address=:8081", "--leader-elect",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flags (-want +rendered):\n%s", diff)
	}
}

// TestAValueIsAFlagOfItsOwn: what one value changes of the flags, and nothing else.
func TestAValueIsAFlagOfItsOwn(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, values string
		gone, come   []string
	}{
		{"rollout", "rollout: audit", []string{"--rollout=enforce"}, []string{"--rollout=audit"}},
		{"pin.enabled", "pin: {enabled: false}", []string{"--pin=true", "--mutating-webhook-configuration=pratique"}, []string{"--pin=false"}},
		{"denyPrivate", "denyPrivate: true", nil, []string{"--deny-private"}},
		{"registries", "registries: [{prefix: a.example}]", nil, []string{"--registries=/etc/pratique/registries/registries.yaml"}},
		{"no registries", "registries: []", nil, nil},
		{"guards.enabled, which the API server alone goes by", "guards: {enabled: false}", nil, nil},
		{"certManager.enabled", "certManager: {enabled: true}", []string{"--cert-secret=pratique-webhook-tls"}, []string{"--cert-provided"}},
		{"exemptNamespaces", "exemptNamespaces: [kube-system, monitoring]", nil, []string{"--exempt-namespace=monitoring"}},
	}
	flags := func(t *testing.T, args ...string) []string {
		return only[*appsv1.Deployment](t, decode(t, template(t, args...))).Spec.Template.Spec.Containers[0].Args
	}
	before := flags(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			now := flags(t, values(t, c.values)...)
			without := func(all, those []string) (left []string) {
				for _, flag := range all {
					if !slices.Contains(those, flag) {
						left = append(left, flag)
					}
				}
				return left
			}
			if diff := cmp.Diff(c.gone, without(before, now)); diff != "" {
				t.Errorf("gone (-want +rendered):\n%s", diff)
			}
			if diff := cmp.Diff(c.come, without(now, before)); diff != "" {
				t.Errorf("new (-want +rendered):\n%s", diff)
			}
		})
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

func TestTheProxyIsInTheEnvironment(t *testing.T) {
	t.Parallel()
	environment := func(args []string) map[string]string {
		found := map[string]string{}
		for _, v := range only[*appsv1.Deployment](t, decode(t, template(t, args...))).Spec.Template.Spec.Containers[0].Env {
			found[v.Name] = v.Value
		}
		return found
	}
	want := map[string]string{
		"GOMEMLIMIT": "921MiB", "HTTP_PROXY": "http://proxy.example.com:3128", "HTTPS_PROXY": "http://proxy.example.com:3128",
		"NO_PROXY": "$(KUBERNETES_SERVICE_HOST),.example.com,10.0.0.0/8", // Kubernetes puts the API server's address in
	}
	if diff := cmp.Diff(want, environment(everything(t))); diff != "" {
		t.Errorf("with a proxy (-want +rendered):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"GOMEMLIMIT": "921MiB"}, environment(nil)); diff != "" {
		t.Errorf("without one (-want +rendered):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{}, environment(values(t, "resources: {limits: {memory: null}}"))); diff != "" {
		t.Errorf("without anything (-want +rendered):\n%s", diff)
	}
}

// TestACloudMayGiveTheWebhookAnIdentity: by the annotations of its ServiceAccount and the labels of its Pods.
func TestACloudMayGiveTheWebhookAnIdentity(t *testing.T) {
	t.Parallel()
	objects := decode(t, template(t, everything(t)...))
	if got := only[*corev1.ServiceAccount](t, objects).Annotations["eks.amazonaws.com/role-arn"]; got != "arn:aws:iam::123456789012:role/pull" {
		t.Errorf("the ServiceAccount's annotation is %q", got)
	}
	pods := only[*appsv1.Deployment](t, objects)
	if got := pods.Spec.Template.Labels["azure.workload.identity/use"]; got != "true" {
		t.Errorf("the Pods' label is %q", got)
	}
	for key, value := range pods.Spec.Selector.MatchLabels {
		if pods.Spec.Template.Labels[key] != value {
			t.Errorf("the Pods lost their label %s", key)
		}
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
