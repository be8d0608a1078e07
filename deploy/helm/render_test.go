package helm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
)

func certificate(tb testing.TB) []byte {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestOutOfClusterPutsAddressAndCAIn(t *testing.T) {
	t.Parallel()
	ca := certificate(t)
	rendering, err := OutOfCluster("https://127.0.0.1:9443", ca)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(rendering), placeholderURL) || strings.Contains(string(rendering), placeholderCA) {
		t.Error("a placeholder is left")
	}
	objects := decode(t, strings.Split(strings.TrimPrefix(string(rendering), "---\n"), "\n---\n"))
	configuration := only[*admissionregistrationv1.ValidatingWebhookConfiguration](t, objects)
	var configs []admissionregistrationv1.WebhookClientConfig
	for _, w := range configuration.Webhooks {
		configs = append(configs, w.ClientConfig)
	}
	for _, w := range only[*admissionregistrationv1.MutatingWebhookConfiguration](t, objects).Webhooks {
		configs = append(configs, w.ClientConfig)
	}
	paths := map[string]bool{}
	for _, config := range configs {
		path, ours := strings.CutPrefix(*config.URL, "https://127.0.0.1:9443")
		if !ours || string(config.CABundle) != string(ca) {
			t.Errorf("%s with CA %s", *config.URL, config.CABundle)
		}
		paths[path] = true
	}
	want := map[string]bool{"/validate": true, "/workloads": true, "/validate-policy": true, "/pin": true}
	if diff := cmp.Diff(want, paths); diff != "" || len(configs) != webhooks {
		t.Errorf("%d webhooks, by path (-want +rendered):\n%s", len(configs), diff)
	}
	for _, object := range objects {
		if hook := object.GetAnnotations()["helm.sh/hook"]; hook != "" {
			t.Errorf("a %s hook is in it: %T", hook, object)
		}
	}
}

// TestOutOfClusterWithoutPinIsWhatHelmRenders: leaving one object out of the golden rendering is all that
// pin.enabled=false does there.
func TestOutOfClusterWithoutPinIsWhatHelmRenders(t *testing.T) {
	t.Parallel()
	args := append(outside(t), "--set", "pin.enabled=false")
	want := "---\n" + strings.Join(template(t, args...), "---\n")
	if diff := cmp.Diff(want, withoutPin(outOfCluster)); diff != "" {
		t.Errorf("(-helm +ours):\n%s", diff)
	}
	ca := certificate(t)
	rendering, err := OutOfClusterWithoutPin("https://127.0.0.1:9443", ca)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(rendering), "https://127.0.0.1:9443/"); n != webhooks-pinning || strings.Contains(string(rendering), "/pin") {
		t.Errorf("%d webhooks", n)
	}
}

func TestOutOfClusterRefusesWhatTheAPIServerCouldNotUse(t *testing.T) {
	t.Parallel()
	ca := certificate(t)
	cases := []struct {
		name, address string
		ca            []byte
	}{
		{"no address", "", ca},
		{"no scheme", "127.0.0.1:9443", ca},
		{"no TLS", "http://127.0.0.1:9443", ca},
		{"a path", "https://127.0.0.1:9443/", ca},
		{"a user", "https://u@127.0.0.1:9443", ca},
		{"a quote", `https://a"b`, ca},
		{"no CA", "https://127.0.0.1:9443", nil},
		{"a CA in DER", "https://127.0.0.1:9443", []byte{0x30, 0x82}},
		{"a key for a CA", "https://127.0.0.1:9443", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY"})},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if out, err := OutOfCluster(c.address, c.ca); err == nil || out != nil {
				t.Errorf("accepted: %d bytes, error %v", len(out), err)
			}
		})
	}
}

func ExampleOutOfCluster() {
	_, err := OutOfCluster("http://127.0.0.1:9443", nil)
	fmt.Println(err)
	// Output: the webhook's address "http://127.0.0.1:9443" is not of the form https://HOST[:PORT]
}
