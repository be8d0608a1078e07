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
	if len(configuration.Webhooks) != webhooks {
		t.Fatalf("%d webhooks", len(configuration.Webhooks))
	}
	for _, w := range configuration.Webhooks {
		if !strings.HasPrefix(*w.ClientConfig.URL, "https://127.0.0.1:9443/validate") || string(w.ClientConfig.CABundle) != string(ca) {
			t.Errorf("%s: %s with CA %s", w.Name, *w.ClientConfig.URL, w.ClientConfig.CABundle)
		}
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
