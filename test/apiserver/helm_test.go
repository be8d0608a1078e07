package apiserver

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/deploy/helm"
	"github.com/pratique-dev/pratique/test/bed"
	"github.com/pratique-dev/pratique/test/cluster"
)

// chartDir is the chart, as seen from here.
const chartDir = "../../deploy/helm/pratique"

// program is helm, with a home of its own.
type program struct{ file, home string }

func findHelm(t *testing.T) program {
	t.Helper()
	dir, err := cluster.Binaries("helm")
	if err != nil {
		t.Fatal(err)
	}
	return program{filepath.Join(dir, "helm"), t.TempDir()}
}

// run runs helm against a cluster, if kubeconfig names one.
func (p program) run(ctx context.Context, kubeconfig string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, p.file, args...)
	if kubeconfig == "" {
		kubeconfig = os.DevNull
	}
	cmd.Env = []string{
		"HOME=" + p.home, "PATH=" + os.Getenv("PATH"), "KUBECONFIG=" + kubeconfig,
		"HELM_CACHE_HOME=" + p.home, "HELM_CONFIG_HOME=" + p.home, "HELM_DATA_HOME=" + p.home,
	}
	said, err := output(cmd, "")
	if err != nil {
		return said, fmt.Errorf("helm %s: %w\n%s", args[0], err, said)
	}
	return said, nil
}

// TestHelmInstallsAndUninstalls has a cluster of its own, where helm puts what elsewhere the golden rendering does.
func TestHelmInstallsAndUninstalls(t *testing.T) {
	t.Parallel()
	needsAPIServer(t)
	p := findHelm(t)
	var values []string
	install := func(ctx context.Context, b *bed.Bed, ca []byte) error {
		values = []string{
			"--namespace", helm.Namespace, "--set", "webhook.url=" + b.URL(), "--set", "webhook.caBundle=" + base64.StdEncoding.EncodeToString(ca),
		}
		_, err := p.run(ctx, b.Cluster.Kubeconfig(), append([]string{"install", "pratique", chartDir}, values...)...)
		return err
	}
	b, err := startBed(t.Context(), bed.Options{Install: install})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, command := range [][]string{{"lint", "--strict", chartDir}, {"template", "pratique", chartDir}} {
		if _, err := p.run(t.Context(), "", append(command, values...)...); err != nil {
			t.Error(err)
		}
	}

	s := open(t, b, "shop")
	s.policy(signedBy)
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/api").String()
	s.admits(pod("good", good))
	s.refuses(pod("bad", bad), "NoTrustedSignature")

	_, err = p.run(s.ctx, b.Cluster.Kubeconfig(), "uninstall", "pratique", "--namespace", helm.Namespace)
	s.want("helm uninstall", err)
	s.wantWebhooks(0)
	s.eventually("the API server to ask nobody any more", func() error {
		_, err := s.create(pod("unasked", bad))
		return err
	})
	for _, resource := range []string{"imagepolicies", "clusterimagepolicies", "trustroots", "imageexceptions"} {
		_, err := s.objects.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).
			Get(s.ctx, resource+".pratique.dev", metav1.GetOptions{})
		s.want("the CRD of "+resource+" after uninstall", err)
	}
	_, err = s.objects.Resource(v1alpha1.GroupVersion().WithResource("imagepolicies")).Namespace(s.ns).Get(s.ctx, "signed", metav1.GetOptions{})
	s.want("the policy after uninstall", err)

	// With nobody to refuse them, policies can be written that this version can't use. They refuse what they match.
	unusable := map[string]*scene{"typo": s.in(t, "typo"), "newer": s.in(t, "newer")}
	for ns, field := range map[string]string{"typo": "atleast: 2", "newer": "atLeast: 1}, hardware: {by: [release]"} {
		s := unusable[ns]
		s.namespace(ns, nil)
		_, err := s.tryPolicy(strings.ReplaceAll(signedBy, "by: [release]", "by: [release], "+field))
		s.want("writing a policy that can't be used", err)
	}

	_, err = p.run(s.ctx, b.Cluster.Kubeconfig(), append([]string{"install", "pratique", chartDir}, values...)...)
	s.want("helm install over what was kept", err)
	s.wantWebhooks(2)
	s.eventually("the policy that was kept to be in force again", func() error {
		_, err := s.kube.CoreV1().Pods(s.ns).Create(s.ctx, pod("bad", bad), dryRun())
		if err == nil {
			return fmt.Errorf("an unsigned Pod passes")
		}
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "NoTrustedSignature") {
			return err
		}
		return nil
	})
	unusable["typo"].wantUnusable(good, "InvalidField", `unknown field "spec.require.signature.atleast"`)
	unusable["newer"].wantUnusable(good, "InvalidField", `unknown field "spec.require.hardware"`)
}

// wantUnusable checks what becomes of a policy that got past /validate-policy.
func (s *scene) wantUnusable(image, reason, says string) {
	s.t.Helper()
	status := s.waitStatus(s.object(s.fill(signedBy)), "to be found unusable", func(v1alpha1.PolicyStatus) bool { return true })
	if c := ready(status); c.Status != metav1.ConditionFalse || c.Reason != reason || !strings.Contains(c.Message, says) {
		s.t.Errorf("Ready is %+v", c)
	}
	s.refuses(pod("api", image), "PolicyUnusable", says)
}

// wantWebhooks checks how many webhook configurations of ours there are.
func (s *scene) wantWebhooks(n int) {
	s.t.Helper()
	validating, err := s.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(s.ctx, metav1.ListOptions{})
	s.want("listing ValidatingWebhookConfigurations", err)
	mutating, err := s.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().List(s.ctx, metav1.ListOptions{})
	s.want("listing MutatingWebhookConfigurations", err)
	if got := len(validating.Items) + len(mutating.Items); got != n {
		s.t.Errorf("there are %d webhook configurations, want %d", got, n)
	}
}
