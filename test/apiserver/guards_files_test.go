package apiserver

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/deploy/helm"
	"github.com/pratique-dev/pratique/test/cluster"
)

// guardsDir has the guards that an API server reads from files, as seen from here.
const guardsDir = "../../deploy/guards"

// guardFiles lays the files out as on a control plane node, and returns the manifests' directory and the API server's flags.
func guardFiles(t *testing.T) (manifests string, flags []string) {
	t.Helper()
	dir := t.TempDir()
	manifests = filepath.Join(dir, "manifests")
	if err := os.CopyFS(manifests, os.DirFS(filepath.Join(guardsDir, "manifests"))); err != nil {
		t.Fatal(err)
	}
	const installed = "/etc/kubernetes/pratique/manifests"
	configuration, err := os.ReadFile(filepath.Join(guardsDir, "admission.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(configuration, []byte(installed)); n != 1 {
		t.Fatalf("admission.yaml has %s %d times", installed, n)
	}
	file := filepath.Join(dir, "admission.yaml")
	if err := os.WriteFile(file, bytes.ReplaceAll(configuration, []byte(installed), []byte(manifests)), 0o600); err != nil {
		t.Fatal(err)
	}
	return manifests, []string{"--feature-gates=ManifestBasedAdmissionControlConfig=true", "--admission-control-config-file=" + file}
}

// installerRules are the rights that the README grants to those who install the chart.
func installerRules(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(guardsDir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "```yaml\napiVersion: rbac.authorization.k8s.io/v1\n")
	block, _, closed := strings.Cut(block, "```")
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict([]byte("apiVersion: rbac.authorization.k8s.io/v1\n"+block), &role); err != nil || !found || !closed || len(role.Rules) == 0 {
		t.Fatalf("the README grants no ClusterRole: %v", err)
	}
	return role.Rules
}

// TestRow24_GuardsFromFilesHoldTheGuards: with every right on admission configuration but the verb, nobody turns off the webhooks or the
// guards, one by one or all at once, once the API server has the files of deploy/guards.
func TestRow24_GuardsFromFilesHoldTheGuards(t *testing.T) {
	manifests, flags := guardFiles(t)
	logs := t.TempDir()
	s := byItself(t, cluster.Options{APIServerFlags: flags, LogDir: logs}, "files")
	p, kubeconfig := findHelm(t), s.bed.Cluster.Kubeconfig()
	install := []string{"pratique", chartDir, "--namespace", helm.Namespace, "--create-namespace", "--set", "webhook.url=https://127.0.0.1:1"}
	_, err := p.run(s.ctx, kubeconfig, append([]string{"install"}, install...)...)
	s.want("helm install", err)
	// Who writes a binding must be able to read what it is bound to.
	rights := []rbacv1.PolicyRule{rule("admissionregistration.k8s.io", "*", "*"), rule("pratique.dev", "clusterimagepolicies", "get list")}
	s.may("files-operator", rights...)
	s.may("files-installer", append(installerRules(t), rights...)...)
	operator, installer := s.as("files-operator"), s.as("files-installer")

	names := map[string][]string{
		"validatingwebhookconfigurations": {"pratique"}, "mutatingwebhookconfigurations": {"pratique"},
		"validatingadmissionpolicies":       {"pratique-crds", labelsGuard, "pratique-namespace-subresources", newLabelsGuard, policiesGuard, webhooksGuard},
		"validatingadmissionpolicybindings": {"pratique-crds", labelsGuard, "pratique-namespace-subresources", newLabelsGuard, policiesGuard, webhooksGuard},
	}
	blunt := map[string]string{
		"validatingwebhookconfigurations":   `[{"op":"add","path":"/webhooks/0/matchConditions/-","value":{"name":"never","expression":"false"}}]`,
		"mutatingwebhookconfigurations":     `[{"op":"add","path":"/webhooks/0/matchConditions/-","value":{"name":"never","expression":"false"}}]`,
		"validatingadmissionpolicies":       `[{"op":"add","path":"/spec/matchConditions/-","value":{"name":"never","expression":"false"}}]`,
		"validatingadmissionpolicybindings": `[{"op":"replace","path":"/spec/validationActions","value":["Audit"]}]`,
	}
	held := func() {
		t.Helper()
		for resource, all := range names {
			guard := "pratique-guards.static.k8s.io"
			if strings.HasSuffix(resource, "webhookconfigurations") {
				guard = "pratique-webhooks.static.k8s.io"
			}
			to, toInstaller := operator.objects.Resource(admissionKind(resource)), installer.objects.Resource(admissionKind(resource))
			dry := metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}
			s.wantGuarded("deleting all "+resource, guard, to.DeleteCollection(s.ctx, metav1.DeleteOptions{}, ours()))
			for _, name := range all {
				says := fmt.Sprintf(`with the rule {apiGroups: [pratique.dev], resources: [%s], resourceNames: ["%s"], verbs: [enforce]}`, resource, name)
				s.wantGuarded("deleting "+resource+" "+name, guard, to.Delete(s.ctx, name, metav1.DeleteOptions{}), says)
				s.wantGuarded("blunting "+resource+" "+name, guard, s.jsonPatch(to, name, blunt[resource], false), says)
				s.want("a label of "+resource+" "+name, s.jsonPatch(to, name, `[{"op":"add","path":"/metadata/labels/a","value":"b"}]`, false))
				s.want("deleting it, by whoever may", toInstaller.Delete(s.ctx, name, dry))
				s.want("changing it, by whoever may", s.jsonPatch(toInstaller, name, blunt[resource], true))
			}
		}
	}
	held()

	// The API has nothing of them, for anybody.
	for _, resource := range []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"} {
		list, err := s.objects.Resource(admissionKind(resource)).List(s.ctx, metav1.ListOptions{})
		s.want("listing them", err)
		for _, o := range list.Items {
			if strings.HasSuffix(o.GetName(), ".static.k8s.io") {
				t.Errorf("the API has %s %s", resource, o.GetName())
			}
		}
	}
	log, err := os.ReadFile(filepath.Join(logs, "kube-apiserver.log"))
	s.want("reading the API server's log", err)
	if line := `"Loaded manifest-based admission policy configurations" plugin="ValidatingAdmissionPolicy" count=2`; !bytes.Contains(log, []byte(line)) {
		t.Errorf("the API server's log doesn't say %s", line)
	}

	// A mistake in the files leaves those before it in force, and what is mended acts without a restart.
	s.want("writing a mistake", os.WriteFile(filepath.Join(manifests, "mistake.yaml"), []byte("kind: Nothing\n"), 0o600))
	s.within(2*patience, "the mistake to be seen", func() error {
		log, err := os.ReadFile(filepath.Join(logs, "kube-apiserver.log"))
		if err == nil && !bytes.Contains(log, []byte("reloading manifest config")) {
			err = fmt.Errorf("the API server's log says nothing of it")
		}
		return err
	})
	held()
	s.want("mending it", os.Remove(filepath.Join(manifests, "mistake.yaml")))
	s.want("taking the files away", os.Remove(filepath.Join(manifests, "pratique.yaml")))
	s.within(2*patience, "the guards to be free", func() error {
		_, err := operator.objects.Resource(admissionKind("validatingadmissionpolicies")).Patch(s.ctx, labelsGuard, types.JSONPatchType,
			[]byte(blunt["validatingadmissionpolicies"]), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
}

// TestRow24_AnAPIServerWithoutTheGateDoesNotStart, so that nobody believes in guards that aren't there; nor does one with a file that it
// can't read.
func TestRow24_AnAPIServerWithoutTheGateDoesNotStart(t *testing.T) {
	t.Parallel()
	needsAPIServer(t)
	for _, c := range []struct {
		name, says string
		spoil      func(manifests string, flags []string) []string
	}{
		{"without the gate", "staticManifestsDir requires the ManifestBasedAdmissionControlConfig feature gate to be enabled",
			func(_ string, flags []string) []string { return flags[1:] }},
		{"with a mistake in a file", "mistake.yaml", func(manifests string, flags []string) []string {
			if err := os.WriteFile(filepath.Join(manifests, "mistake.yaml"), []byte("kind: Nothing\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return flags
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			started, err := cluster.Start(t.Context(), cluster.Options{APIServerFlags: c.spoil(guardFiles(t))})
			if err == nil {
				t.Error("it started", started.Stop())
			} else if !strings.Contains(err.Error(), c.says) {
				t.Errorf("it doesn't say %q: %v", c.says, err)
			}
		})
	}
}

// TestRow24_TheAPIServerJudgesNoPolicyByAnother shows what the chart's guards rest on. The API server asks admission policies about webhook
// configurations, though it asks no webhook about them. It asks no policy about policies. And a policy that names objects in its rules isn't
// asked when a collection is deleted.
func TestRow24_TheAPIServerJudgesNoPolicyByAnother(t *testing.T) {
	s := parallelScene(t, "row24-own")
	const policy = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [admissionregistration.k8s.io], apiVersions: [v1], resources: ["*"], operations: [DELETE]%[2]s}]
  matchConditions: [{name: ours, expression: "oldObject.metadata.name.startsWith('%[3]s')"}]
  validations: [{expression: "false", reason: Forbidden}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec: {policyName: %[1]s, validationActions: [Deny]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: %[3]s, labels: {name: %[3]s}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: %[3]s, labels: {name: %[3]s}}
---
`
	s.want("by name in CEL", s.bed.Apply(s.ctx, fmt.Sprintf(policy, "row24-cel", "", "row24-cel")))
	s.want("by name in the rules", s.bed.Apply(s.ctx, fmt.Sprintf(policy, "row24-rules", ", resourceNames: [row24-rules]", "row24-rules")))
	resources := []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"}
	for _, name := range []string{"row24-cel", "row24-rules"} {
		for _, resource := range resources {
			s.eventually("deleting it to be refused", func() error {
				return guardedBy(name, s.objects.Resource(admissionKind(resource)).Delete(s.ctx, name, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}))
			})
		}
	}
	for _, resource := range resources {
		to := s.objects.Resource(admissionKind(resource))
		s.wantGuarded("deleting a collection", "row24-cel", to.DeleteCollection(s.ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "name=row24-cel"}))
		s.want("deleting a collection past its resourceNames", to.DeleteCollection(s.ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "name=row24-rules"}))
		s.want("and it is gone", wantGone(to.Get(s.ctx, "row24-rules", metav1.GetOptions{})))
	}
	for _, name := range []string{"row24-cel", "row24-rules"} {
		for _, resource := range []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"} {
			s.want("deleting "+resource, s.objects.Resource(admissionKind(resource)).Delete(s.ctx, name, metav1.DeleteOptions{}))
		}
	}
	for _, resource := range resources {
		s.eventually("the rest to be deleted", func() error {
			return s.objects.Resource(admissionKind(resource)).Delete(s.ctx, "row24-cel", metav1.DeleteOptions{})
		})
	}
}
