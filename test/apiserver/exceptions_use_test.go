package apiserver

import (
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// scanned is the policy of these tests: a scan by release found nothing critical. It is one namespace's, or of the cluster for that
// namespace.
const scanned = `
apiVersion: pratique.dev/v1alpha1
kind: {{or .kind "ImagePolicy"}}
metadata: {name: {{or .name "scanned"}}{{if not .kind}}, namespace: {{.ns}}{{end}}}
spec:
  {{if .kind}}namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{.ns}}}}{{end}}
  {{with .loosened}}namespaceExceptions: {{.}}{{end}}
  images: {include: ["{{.host}}/**"]}
  references: {tags: Allow}
  authorities: [{name: release, key: {data: {{.release}}}}]
  require: {vulnerabilities: {by: [release], max: {critical: 0}}}
`

// scanOf is what cosign attests of a scan by trivy that found one critical vulnerability.
func scanOf(id string) map[string]any {
	now := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	return map[string]any{
		"scanner": map[string]any{"uri": "pkg:github/aquasecurity/trivy@0.60.0", "version": "0.60.0", "result": map[string]any{
			"SchemaVersion": 2, "CreatedAt": now, "Results": []any{map[string]any{
				"Target": "debian 12", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": []any{map[string]any{
					"VulnerabilityID": id, "PkgName": "xz-utils", "InstalledVersion": "5.6.0", "FixedVersion": "5.6.2", "Severity": "CRITICAL",
				}},
			}},
		}},
		"metadata": map[string]any{"scanStartedOn": now, "scanFinishedOn": now},
	}
}

// TestRow20_AnExceptionLetsRunWhatItSaysAndLoosensNoClusterPolicyMore: the policy of the namespace it loosens; one of the cluster only as far as
// that says itself.
func TestRow20_AnExceptionLetsRunWhatItSaysAndLoosensNoClusterPolicyMore(t *testing.T) {
	s := parallelScene(t, "row20-use")
	d := s.unsigned("shop/scanned")
	papers.AttestBundle(t, d, s.release, "https://cosign.sigstore.dev/attestation/vuln/v1", scanOf("CVE-2024-3094"), papers.Via(s.reg.Options()...))
	image := d.String()
	const refusal = "TooManyVulnerabilities"
	s.policy(scanned)
	s.refuses(pod("found", image), refusal, "CVE-2024-3094")

	other := s.excused(with{"name": "other", "images": `["` + s.reg.Host() + `/**"]`, "ids": "[CVE-2021-44228]"})
	_, err := s.policies(other).Create(s.ctx, other, metav1.CreateOptions{})
	s.want("writing an exception for something else", err)
	s.waitException(other, "True InForce")
	s.refuses(pod("another-id", image), refusal, "CVE-2024-3094")

	elsewhere := s.excused(with{"name": "elsewhere"})
	_, err = s.policies(elsewhere).Create(s.ctx, elsewhere, metav1.CreateOptions{})
	s.want("writing an exception for another image", err)
	s.waitException(elsewhere, "True InForce")
	s.refuses(pod("another-image", image), refusal, "CVE-2024-3094")

	xz := s.excused(with{"images": `["` + s.reg.Host() + `/**"]`})
	_, err = s.policies(xz).Create(s.ctx, xz, metav1.CreateOptions{})
	s.want("writing the exception", err)
	s.waitException(xz, "True InForce")
	s.admits(pod("excused", image))

	for i, c := range []struct {
		loosened string // what the policy of the cluster says of namespaces' exceptions
		admits   bool
	}{
		{"", false}, {"{severities: [low, medium, high]}", false}, {"{severities: [critical], maxDuration: 24h}", false},
		{"{severities: [critical], maxDuration: 720h}", true}, {"{severities: [critical]}", true},
	} {
		s.policy(scanned, with{"kind": "ClusterImagePolicy", "name": s.ns, "loosened": c.loosened})
		p := pod(fmt.Sprintf("cluster-%d", i), image)
		if c.admits {
			s.admits(p)
		} else {
			s.refuses(p, "policy "+s.ns+"\n", refusal, "CVE-2024-3094")
		}
	}
	s.want("deleting the exception", s.policies(xz).Delete(s.ctx, "xz", metav1.DeleteOptions{}))
	s.eventually("the exception to be gone", func() error {
		if _, err := s.kube.CoreV1().Pods(s.ns).Create(s.ctx, pod("ended", image), dryRun()); err == nil {
			return errors.New("it is still excused")
		}
		return nil
	})
	s.refuses(pod("ended", image), refusal, "CVE-2024-3094")
}
