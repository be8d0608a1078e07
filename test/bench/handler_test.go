package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/internal/server"
	"github.com/pratique-dev/pratique/internal/telemetry"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// BenchmarkHandler is a warm admission without the network: for profiles (-cpuprofile), and to see what a change is worth.
func BenchmarkHandler(b *testing.B) {
	log.SetLogger(logr.Discard())
	reg := evilregistry.New(b)
	key := papers.NewKey(b, papers.P256)
	handlers := map[string]http.Handler{"noop": noopHandler(), "pratique": ourHandler(b, reg, key)}
	for _, n := range containers() {
		pod := storedPod(b)
		for i := range n {
			image := reg.Push(b, fmt.Sprintf("team/app%d", i), evilregistry.RandomImage(uint64(100*n+i)))
			papers.SignBundle(b, image, key, papers.Via(reg.Options()...))
			c := pod.Spec.Containers[0]
			c.Name, c.Image = fmt.Sprintf("c%d", i), image.String()
			pod.Spec.Containers = append(pod.Spec.Containers, c)
		}
		pod.Spec.Containers = pod.Spec.Containers[1:]
		review, err := reviewOf(pod)
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range []string{"noop", "pratique"} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				ask(b, handlers[name], review) // so that everything is known
				b.ReportAllocs()
				b.ResetTimer()
				before := processorTime(b)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						ask(b, handlers[name], review)
					}
				})
				b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op") // on a busy machine the one to look at
			})
		}
	}
}

// storedPod is a Pod of one container as an API server passed it on, which `kubectl create --dry-run=server -o json` prints.
func storedPod(b *testing.B) *corev1.Pod {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "pod.json"))
	if err != nil {
		b.Fatal(err)
	}
	var pod corev1.Pod
	if err := json.Unmarshal(text, &pod); err != nil {
		b.Fatal(err)
	}
	return &pod
}

// processorTime is what this process has taken of the processors.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	used, err := processorTimeOf()
	if err != nil {
		b.Fatal(err)
	}
	return used
}

func ask(b *testing.B, h http.Handler, review []byte) {
	req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/validate?timeout=10s", bytes.NewReader(review))
	req.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	if !bytes.Contains(rec.Body.Bytes(), []byte(`"allowed":true`)) {
		b.Errorf("not allowed: %s", rec.Body)
	}
}

// noopHandler is what the command noop serves.
func noopHandler() http.Handler {
	decoder := ctrladmission.NewDecoder(clientgoscheme.Scheme)
	return &webhook.Admission{Handler: ctrladmission.HandlerFunc(func(_ context.Context, req ctrladmission.Request) ctrladmission.Response {
		var pod corev1.Pod
		if err := decoder.Decode(req, &pod); err != nil {
			return ctrladmission.Errored(http.StatusBadRequest, err)
		}
		return ctrladmission.Allowed("")
	})}
}

// ourHandler is /validate as the webhook wires it, its decision log in a file.
func ourHandler(b *testing.B, reg *evilregistry.Registry, key papers.Key) http.Handler {
	b.Helper()
	e, err := evaluator(b.Context(), policyOf(reg.Host(), key.PublicPEM), reg.Host(), registry.Credentials{})
	if err != nil {
		b.Fatal(err)
	}
	decisions, err := os.Create(filepath.Join(b.TempDir(), "decisions.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = decisions.Close() })
	tel, err := telemetry.New(prometheus.NewRegistry(), decisions)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = tel.Flush(context.WithoutCancel(b.Context())) }) // runs before the file is closed
	pods := &admission.Pods{Evaluator: e, Recorder: tel}
	hook := (&webhook.Admission{Handler: pods}).WithRecoverPanic(false)
	return server.Deadline(hook, server.DeadlineOptions{Log: logr.Discard()})
}
