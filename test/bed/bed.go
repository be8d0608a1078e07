// Package bed puts Pratique together as an admin would, on loopback: a real API server, a real registry, the real webhook binary as
// a process of its own, and the chart's objects. The demo shows it and the tests of test/apiserver attack it.
package bed

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pratique-dev/pratique/deploy/helm"
	"github.com/pratique-dev/pratique/test/cluster"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

const (
	// startTimeout bounds the start of the webhook, some 20 times what it takes.
	startTimeout = time.Minute
	// stopTimeout bounds its end.
	stopTimeout = 20 * time.Second
)

// Options say what to start.
type Options struct {
	// Webhook is the webhook's binary; empty builds it.
	Webhook string
	// ControllerManager starts kube-controller-manager too.
	ControllerManager bool
	// Flags are added to the webhook's.
	Flags []string
	// Registry are options of the registry.
	Registry []evilregistry.Option
	// Say is told each step as it begins; nil says nothing.
	Say func(step string)
}

// Bed is everything running.
type Bed struct {
	Cluster  *cluster.Cluster
	Registry *evilregistry.Registry
	// Dir keeps the webhook's certificate and logs; Stop removes it.
	Dir string

	options Options
	port    int
	metrics int
	probes  int

	mu      sync.Mutex
	webhook *exec.Cmd
	ended   chan struct{}
}

// Root returns the root of the module, where its go.mod is.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if data, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && bytes.Contains(data, []byte("module github.com/pratique-dev/pratique\n")) {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("not within the module github.com/pratique-dev/pratique")
		}
		dir = up
	}
}

// Build builds a command of the module, by its folder below cmd, into dir and returns the binary's path.
func Build(ctx context.Context, command, dir string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, command)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, "./cmd/"+command)
	cmd.Dir = root
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", command, err, text)
	}
	return out, nil
}

// Start starts everything and returns when the webhook is ready and the API server asks it. On an error nothing is left running.
func Start(ctx context.Context, o Options) (b *Bed, err error) {
	if o.Say == nil {
		o.Say = func(string) {}
	}
	b = &Bed{options: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Stop())
			b = nil
		}
	}()
	if b.Dir, err = os.MkdirTemp("", "pratique-bed-"); err != nil {
		return b, err
	}
	if o.Webhook == "" {
		o.Say("build the webhook")
		if b.options.Webhook, err = Build(ctx, "webhook", b.Dir); err != nil {
			return b, err
		}
	}
	o.Say("start etcd and a Kubernetes API server")
	if b.Cluster, err = cluster.Start(ctx, cluster.Options{ControllerManager: o.ControllerManager}); err != nil {
		return b, err
	}
	o.Say("start a registry")
	if b.Registry, err = evilregistry.Start(o.Registry...); err != nil {
		return b, err
	}
	if err = b.ports(); err != nil {
		return b, err
	}
	o.Say("start the webhook, and apply the chart's objects")
	return b, b.install(ctx)
}

// install starts the webhook and makes the API server ask it.
func (b *Bed) install(ctx context.Context) error {
	if err := b.Cluster.CreateNamespace(ctx, helm.Namespace, nil); err != nil {
		return err
	}
	if err := b.StartWebhook(ctx); err != nil {
		return err
	}
	var ca []byte
	if err := b.wait(ctx, "the webhook's CA", func(context.Context) (err error) {
		ca, err = os.ReadFile(filepath.Join(b.Dir, "certs", "ca.crt"))
		return err
	}); err != nil {
		return err
	}
	objects, err := helm.OutOfCluster(fmt.Sprintf("https://127.0.0.1:%d", b.port), ca)
	if err != nil {
		return err
	}
	if err := b.Apply(ctx, string(objects)); err != nil {
		return err
	}
	return b.WaitReady(ctx)
}

// ports picks free ports of loopback.
func (b *Bed) ports() error {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			l.Close() //nolint:errcheck // it was only a reservation
		}
	}()
	for _, p := range []*int{&b.port, &b.metrics, &b.probes} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
		*p = l.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// StartWebhook starts the webhook's process. WaitReady waits for it.
func (b *Bed) StartWebhook(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.webhook != nil {
		return errors.New("the webhook runs already")
	}
	decisions, err := os.OpenFile(b.DecisionLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer decisions.Close() //nolint:errcheck // the process has its own
	operational, err := os.OpenFile(filepath.Join(b.Dir, "webhook.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer operational.Close() //nolint:errcheck // the process has its own
	args := append([]string{
		"--kubeconfig", b.Cluster.Kubeconfig(), "--namespace", helm.Namespace,
		"--host", "127.0.0.1", "--port", strconv.Itoa(b.port), "--cert-dir", filepath.Join(b.Dir, "certs"),
		"--metrics-bind-address", fmt.Sprintf("127.0.0.1:%d", b.metrics), "--health-probe-bind-address", fmt.Sprintf("127.0.0.1:%d", b.probes),
		"--plain-http", b.Registry.Host(), "--drain-delay", "0s",
	}, b.options.Flags...)
	cmd := exec.Command(b.options.Webhook, args...) // outlives the context of the start
	cmd.Stdout, cmd.Stderr = decisions, operational
	cmd.SysProcAttr = withParent()
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // the process ends with the thread that started it: keep that
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is seen by who waits for it
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	b.webhook, b.ended = cmd, ended
	return nil
}

// StopWebhook ends the webhook's process as Kubernetes would, and waits.
func (b *Bed) StopWebhook() error { return b.end(syscall.SIGTERM) }

// KillWebhook ends it at once.
func (b *Bed) KillWebhook() error { return b.end(syscall.SIGKILL) }

func (b *Bed) end(sig syscall.Signal) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.webhook == nil {
		return nil
	}
	_ = b.webhook.Process.Signal(sig) // it may be gone already
	select {
	case <-b.ended:
	case <-time.After(stopTimeout):
		_ = b.webhook.Process.Kill()
		<-b.ended
	}
	b.webhook = nil
	return nil
}

// Running tells whether the webhook's process is alive.
func (b *Bed) Running() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.webhook == nil {
		return false
	}
	select {
	case <-b.ended:
		return false
	default:
		return true
	}
}

// WaitReady waits until the webhook says that it is ready.
func (b *Bed) WaitReady(ctx context.Context) error {
	return b.wait(ctx, "the webhook to be ready", func(ctx context.Context) error {
		if !b.Running() {
			return errors.New("its process has ended")
		}
		body, status, err := get(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz?verbose", b.probes), http.DefaultClient)
		if err == nil && status != http.StatusOK {
			err = errors.New(body)
		}
		return err
	})
}

// wait tries until it works, the context ends or the start takes too long.
func (b *Bed) wait(ctx context.Context, what string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w\n%s", what, err, b.LogTail())
		case <-time.After(150 * time.Millisecond):
		}
	}
}

func get(ctx context.Context, url string, c *http.Client) (body string, status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", 0, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return string(data), resp.StatusCode, err
}

// Metrics returns the webhook's metrics, in Prometheus' text format.
func (b *Bed) Metrics(ctx context.Context) (string, error) {
	body, _, err := get(ctx, fmt.Sprintf("http://127.0.0.1:%d/metrics", b.metrics), http.DefaultClient)
	return body, err
}

// URL is the webhook's address.
func (b *Bed) URL() string { return fmt.Sprintf("https://127.0.0.1:%d", b.port) }

// Client returns a client that trusts the webhook's CA, as the API server does.
func (b *Bed) Client() (*http.Client, error) {
	ca, err := os.ReadFile(filepath.Join(b.Dir, "certs", "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("the webhook's CA is no certificate")
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 256,
	}}, nil
}

// DecisionLog is the file of the decision log.
func (b *Bed) DecisionLog() string { return filepath.Join(b.Dir, "decisions.jsonl") }

// LogTail returns the end of the webhook's operational log.
func (b *Bed) LogTail() string {
	data, err := os.ReadFile(filepath.Join(b.Dir, "webhook.log"))
	if err != nil {
		return err.Error()
	}
	const most = 4 << 10
	if len(data) > most {
		data = data[len(data)-most:]
	}
	return "the webhook's log ends:\n" + string(data)
}

// Apply applies YAML documents with kubectl.
func (b *Bed) Apply(ctx context.Context, documents string) error {
	cmd := b.Cluster.KubectlCommand(ctx, "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(documents)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("kubectl apply: %w\n%s", err, out)
	}
	return nil
}

// Stop stops everything and removes its files.
func (b *Bed) Stop() error {
	var errs []error
	errs = append(errs, b.StopWebhook())
	if b.Cluster != nil {
		errs = append(errs, b.Cluster.Stop())
	}
	if b.Registry != nil {
		b.Registry.Close()
	}
	if b.Dir != "" {
		errs = append(errs, os.RemoveAll(b.Dir))
	}
	return errors.Join(errs...)
}
