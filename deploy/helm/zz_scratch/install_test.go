package scratch

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"

	chart "github.com/pratique-dev/pratique/deploy/helm"
	"github.com/pratique-dev/pratique/test/cluster"
	"github.com/pratique-dev/pratique/test/cluster/clustertest"
)

func TestInstall(t *testing.T) {
	c := clustertest.ForTest(t, cluster.Options{})
	kc := c.Kubeconfig()
	helm := func(args ...string) string {
		cmd := exec.Command("../../../bin/k8s/helm", args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+kc, "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		t.Logf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
		return string(out)
	}
	k := func(stdin string, args ...string) {
		cmd := exec.Command("../../../bin/k8s/kubectl", args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+kc)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		t.Logf("kubectl %s: %v\n%.3000s", strings.Join(args, " "), err, out)
	}
	if err := c.CreateNamespace(context.Background(), "payments", nil); err != nil {
		t.Fatal(err)
	}
	pod := `{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: payments, finalizers: [a.example/b]}, spec: {containers: [{name: a, image: "a:1"}], volumes: [{name: v, image: {reference: "v:1"}}]}}`
	k(pod, "apply", "-f", "-")
	helm("install", "pratique", "../pratique", "-n", chart.Namespace, "--create-namespace")
	k("", "get", "all,pdb,quota,role,rolebinding,secret", "-n", chart.Namespace)
	k("", "-n", "payments", "label", "pod", "a", "x=y")
	k("", "-n", "payments", "set", "image", "pod/a", "a=b:1")
	k("", "-n", "payments", "debug", "a", "--image=x:1")
	k("", "-n", chart.Namespace, "run", "p", "--image=x:1")
	k("", "-n", "payments", "run", "p", "--image=x:1")
	k("", "-n", "payments", "run", "p", "--image=x:1", "--dry-run=server")
	pol := `{apiVersion: pratique.dev/v1alpha1, kind: ImagePolicy, metadata: {name: p, namespace: payments}, spec: {images: {include: ["**"]}, deny: {reason: no}}}`
	k(pol, "apply", "-f", "-")
	// caBundle written by "program", survives upgrade
	k("", "patch", "validatingwebhookconfiguration", "pratique", "--type=json", "-p", `[{"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"QQ=="}]`)
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tm := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, _ := x509.CreateCertificate(rand.Reader, tm, tm, key.Public(), key)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	k("", "-n", chart.Namespace, "patch", "secret", "pratique-webhook-tls", "-p", `{"data":{"tls.crt":"QUFB"}}`)
	helm("upgrade", "pratique", "../pratique", "-n", chart.Namespace, "--set", "webhook.timeoutSeconds=7,exemptNamespaces={kube-system,backup}")
	k("", "get", "validatingwebhookconfiguration", "pratique", "-o", "jsonpath={.webhooks[*].clientConfig}{.webhooks[*].timeoutSeconds}{.webhooks[0].namespaceSelector}")
	k("", "-n", chart.Namespace, "get", "secret", "pratique-webhook-tls", "-o", "jsonpath={.data}")
	helm("rollback", "pratique", "1", "-n", chart.Namespace)
	k("", "get", "validatingwebhookconfiguration", "pratique", "-o", "jsonpath={.webhooks[*].clientConfig}{.webhooks[*].timeoutSeconds}")
	helm("uninstall", "pratique", "-n", chart.Namespace)
	k("", "get", "validatingwebhookconfiguration,crd,clusterrole,clusterrolebinding", "-o", "name", "--selector=app.kubernetes.io/name=pratique")
	k("", "get", "all,pdb,quota,role,rolebinding,secret", "-n", chart.Namespace)
	k(pol, "apply", "-f", "-")
	k("", "get", "pip", "-A")
	k("", "-n", "payments", "run", "p", "--image=x:1")
	helm("install", "pratique", "../pratique", "-n", chart.Namespace)
	k("", "get", "pip", "-A")
	k(`{apiVersion: pratique.dev/v1alpha1, kind: ImagePolicy, metadata: {name: p2, namespace: payments}, spec: {images: {include: ["**"]}, deny: {reason: no}}}`, "apply", "-f", "-")
	k("", "label", "pip", "-n", "payments", "p", "a=b")
	k("", "patch", "pip", "-n", "payments", "p", "--type=merge", "-p", `{"spec":{"mode":"Warn"}}`)
	k("", "delete", "pip", "-n", "payments", "p")
	helm("uninstall", "pratique", "-n", chart.Namespace)
	m, err := chart.OutOfCluster("https://127.0.0.1:1", ca)
	if err != nil {
		t.Fatal(err)
	}
	f := filepath.Join(t.TempDir(), "m.yaml")
	os.WriteFile(f, m, 0o600)
	k("", "apply", "-f", f)
	k("", "-n", "payments", "run", "p3", "--image=x:1")
	k("", "-n", "payments", "patch", "pod", "a", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	k("", "-n", "payments", "delete", "pod", "a", "--wait=false")
	k("", "get", "pod", "-A")
	k("", "delete", "-f", f)
	helm("install", "x", "../pratique", "-n", "default", "--set", "webhook.url=https://127.0.0.1:1/")
}
