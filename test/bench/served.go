package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pratique-dev/pratique/internal/server"
	"github.com/pratique-dev/pratique/test/bed"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// containers are the sizes of Pod that are measured: the least, and one with sidecars.
func containers() []int { return []int{1, 5} }

// startTimeout bounds the start of the webhook that only allows.
const startTimeout = time.Minute

// service is our webhook and one that only allows, each a process of its own, beside the API server that has the policy. The
// API server asks another process of our webhook, so that it has no part in what is measured.
type service struct {
	bed    *bed.Bed
	key    papers.Key
	ours   target
	noop   target
	pushed uint64
	stops  []func() error
}

// served measures what needs the webhook's own process: warm admissions and the flood.
func served(ctx context.Context, s settings, out io.Writer) (err error) {
	defer guard(&err)
	v, err := newService(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	if s.only != "flood" {
		if err := v.warm(ctx, s, out); err != nil {
			return err
		}
	}
	if s.only != "warm" {
		return v.flood(ctx, out)
	}
	return nil
}

func newService(ctx context.Context) (v *service, err error) {
	v = &service{}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.close())
		}
	}()
	v.bed, err = bed.Start(ctx, bed.Options{Say: func(step string) { fmt.Fprintln(os.Stderr, "bench:", step) }})
	if err != nil {
		return v, err
	}
	if v.key, err = papers.GenerateKey(papers.P256); err != nil {
		return v, err
	}
	if err = v.bed.Cluster.CreateNamespace(ctx, namespace, nil); err != nil {
		return v, err
	}
	if err = v.bed.Apply(ctx, policyOf(v.bed.Registry.Host(), v.key.PublicPEM)); err != nil {
		return v, err
	}
	if _, _, err = v.bed.Cluster.Kubectl(ctx, "wait", "-n", namespace, "--for=condition=Ready", "imagepolicy/signed", "--timeout=30s"); err != nil {
		return v, err
	}
	if err = v.startOurs(ctx); err != nil {
		return v, err
	}
	return v, v.startNoop(ctx)
}

func (v *service) close() error {
	var errs []error
	for _, stop := range v.stops {
		errs = append(errs, stop())
	}
	if v.bed != nil {
		errs = append(errs, v.bed.Stop())
	}
	return errors.Join(errs...)
}

// startOurs starts the webhook that is measured. Its decision log goes into a pipe that is read, as in a container, and not onto
// a disk, which would be what is measured.
func (v *service) startOurs(ctx context.Context) error {
	w, err := v.bed.NewWebhook(bed.WebhookOptions{Name: "measured"})
	if err != nil {
		return err
	}
	if err := syscall.Mkfifo(w.DecisionLog(), 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(w.DecisionLog(), os.O_RDWR, 0) // for writing too, so that it has no end
	if err != nil {
		return err
	}
	go io.Copy(io.Discard, log) //nolint:errcheck // it ends when log is closed
	v.stops = append(v.stops, log.Close)
	if err := w.Start(); err != nil {
		return err
	}
	v.stops = append([]func() error{w.Stop}, v.stops...)
	ca, err := w.CA(ctx)
	if err != nil {
		return err
	}
	if err := w.WaitReady(ctx); err != nil {
		return err
	}
	config, err := trusting(ca)
	v.ours = target{name: "pratique", address: strings.TrimPrefix(w.URL(), "https://"), tls: config, metrics: w.Metrics}
	return err
}

// startNoop builds and starts the webhook that only allows, with a certificate made as our webhook makes its own.
func (v *service) startNoop(ctx context.Context) error {
	root, err := bed.Root()
	if err != nil {
		return err
	}
	binary := filepath.Join(v.bed.Dir, "noop")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./test/bench/noop")
	build.Dir = root
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building noop: %w\n%s", err, text)
	}
	certs := &server.CertDir{Dir: filepath.Join(v.bed.Dir, "noop-certs")}
	if err := certs.Ensure(); err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(certs.Dir, "ca.crt"))
	if err != nil {
		return err
	}
	config, err := trusting(ca)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, binary, "-port", strconv.Itoa(address.Port), "-cert-dir", certs.Dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	v.stops = append(v.stops, func() error {
		_ = cmd.Process.Kill() // it may be gone already
		_ = cmd.Wait()         // it was killed
		return nil
	})
	v.noop = target{name: "noop", address: address.String(), tls: config, metrics: func(ctx context.Context) (string, error) {
		return get(ctx, config, "https://"+address.String()+"/metrics")
	}}
	for end := time.Now().Add(startTimeout); ; time.Sleep(50 * time.Millisecond) {
		_, err := v.noop.cpu(ctx)
		if err == nil || time.Now().After(end) || ctx.Err() != nil {
			return err
		}
	}
}

// push makes a new image, signed as cosign signs today.
func (v *service) push() (image name.Digest, tag name.Tag) {
	v.pushed++
	text := fmt.Sprintf("v%d", v.pushed)
	image = v.bed.Registry.Push(maker{}, "team/app:"+text, evilregistry.RandomImage(v.pushed))
	papers.SignBundle(maker{}, image, v.key, papers.Via(v.bed.Registry.Options()...))
	return image, image.Context().Tag(text)
}

// pod is a Pod of these images as the API server passes it on, with all its defaults.
func (v *service) pod(ctx context.Context, images ...string) (*corev1.Pod, error) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "app-", Labels: map[string]string{"app": "app"}}}
	for i, image := range images {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
			Name: fmt.Sprintf("c%d", i), Image: image, Env: []corev1.EnvVar{{Name: "PORT", Value: "8080"}},
			Ports: []corev1.ContainerPort{{Name: fmt.Sprintf("http%d", i), ContainerPort: int32(8080 + i)}},
		})
	}
	return v.bed.Cluster.Client().CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

// reviewOf wraps a Pod as the API server does.
func reviewOf(pod *corev1.Pod) ([]byte, error) {
	pod.APIVersion, pod.Kind = "v1", "Pod"
	raw, err := json.Marshal(pod)
	if err != nil {
		return nil, err
	}
	no := false
	kind := metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}
	resource := metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	return json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: types.UID("705ab4f5-6393-11e8-b7cc-42010a800002"), Kind: kind, Resource: resource, RequestKind: &kind, RequestResource: &resource,
			Name: pod.Name, Namespace: namespace, Operation: admissionv1.Create, DryRun: &no,
			UserInfo: authenticationv1.UserInfo{Username: "system:serviceaccount:kube-system:replicaset-controller", UID: "1", Groups: []string{
				"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated",
			}},
			Object:  runtime.RawExtension{Raw: raw},
			Options: runtime.RawExtension{Raw: []byte(`{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}`)},
		},
	})
}
