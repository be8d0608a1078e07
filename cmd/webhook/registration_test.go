package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/deploy/helm"
	"github.com/pratique-dev/pratique/internal/server"
)

// rendered reads the webhook objects that the chart renders.
type rendered struct{ text []byte }

// Get implements client.Reader.
func (r rendered) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(r.text), 4<<10)
	for {
		var object map[string]any
		if err := documents.Decode(&object); errors.Is(err, io.EOF) {
			return errors.New("it is not rendered")
		} else if err != nil {
			return err
		}
		kind, _ := object["kind"].(string)
		_, validating := into.(*admissionregistrationv1.ValidatingWebhookConfiguration)
		if validating && kind == "ValidatingWebhookConfiguration" || !validating && kind == "MutatingWebhookConfiguration" {
			return runtime.DefaultUnstructuredConverter.FromUnstructured(object, into)
		}
	}
}

// List implements client.Reader.
func (rendered) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("nothing needs a list")
}

func TestWhatIsExpectedOfTheRegistrationIsWhatTheChartRenders(t *testing.T) {
	t.Parallel()
	some := httptest.NewTLSServer(nil)
	defer some.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: some.Certificate().Raw})
	text, err := helm.OutOfCluster("https://127.0.0.1:9443", ca)
	if err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		args []string
		want bool
	}{
		"as it is":                           {[]string{"--mutating-webhook-configuration", "pratique", "--exempt-namespace", helm.Namespace, "--exempt-namespace", "kube-system"}, true},
		"an exemption that nobody asked for": {[]string{"--mutating-webhook-configuration", "pratique", "--exempt-namespace", helm.Namespace}, false},
		"another rollout":                    {[]string{"--rollout", "audit", "--exempt-namespace", helm.Namespace, "--exempt-namespace", "kube-system"}, false},
	} {
		c, err := parse(t, append(tc.args, "--cert-dir", "certs", "--cert-provided", "--service", "webhook", "--webhook-configuration", "pratique")...)
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]bool{}
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		watch, err := server.NewRegistration(server.RegistrationConfig{
			Reader: rendered{text}, Validating: c.webhook, Mutating: c.mutating, Webhooks: c.expected(), Log: logr.Discard(),
			Report: func(webhook string, ok bool) {
				if told[webhook] = ok; len(told) == len(c.expected()) {
					stop()
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := watch.Start(ctx); err != nil {
			t.Fatal(err)
		}
		all := len(told) > 0
		for _, ok := range told {
			all = all && ok
		}
		if all != tc.want {
			t.Errorf("%s: %v", what, told)
		}
	}
}
