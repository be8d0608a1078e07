package bed

import (
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
	"sync"
	"syscall"
	"time"

	"github.com/pratique-dev/pratique/deploy/helm"
)

// stopTimeout bounds the end of a webhook.
const stopTimeout = 20 * time.Second

// WebhookOptions say how a webhook is started.
type WebhookOptions struct {
	// Name is that of its directory below the Bed's.
	Name string
	// Kubeconfig is who it is; empty: the cluster's administrator.
	Kubeconfig string
	// Flags are added to its flags.
	Flags []string
	// Env is added to its environment, as NAME=VALUE.
	Env []string
}

// Webhook is one process of the webhook, with ports and a directory of its own. It may be started and stopped several times.
type Webhook struct {
	binary, dir           string
	flags, env            []string
	port, metrics, probes int

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
}

// NewWebhook prepares a webhook that reads the Bed's cluster. It isn't started, and nobody asks it; who makes one besides the
// Bed's own stops it.
func (b *Bed) NewWebhook(o WebhookOptions) (*Webhook, error) {
	w := &Webhook{binary: b.options.Webhook, dir: filepath.Join(b.Dir, o.Name), env: o.Env}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return nil, err
	}
	if err := freePorts(&w.port, &w.metrics, &w.probes); err != nil {
		return nil, err
	}
	if o.Kubeconfig == "" {
		o.Kubeconfig = b.Cluster.Kubeconfig()
	}
	w.flags = append([]string{
		"--kubeconfig", o.Kubeconfig, "--namespace", helm.Namespace,
		"--host", "127.0.0.1", "--port", strconv.Itoa(w.port), "--cert-dir", w.certs(),
		"--metrics-bind-address", fmt.Sprintf("127.0.0.1:%d", w.metrics), "--health-probe-bind-address", fmt.Sprintf("127.0.0.1:%d", w.probes),
		"--plain-http", b.Registry.Host(), "--drain-delay", "0s",
	}, o.Flags...)
	return w, nil
}

// freePorts picks free ports of loopback.
func freePorts(ports ...*int) error {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			l.Close() //nolint:errcheck // it was only a reservation
		}
	}()
	for _, p := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
		*p = l.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// Start starts the process. WaitReady waits for it.
func (w *Webhook) Start() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cmd != nil {
		return errors.New("the webhook runs already")
	}
	var logs [2]*os.File
	for i, name := range []string{w.DecisionLog(), w.Log()} {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // the process has its own
		logs[i] = f
	}
	cmd := exec.Command(w.binary, w.flags...) // outlives the context of the start
	cmd.Stdout, cmd.Stderr = logs[0], logs[1]
	cmd.Env = append(os.Environ(), w.env...)
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
	w.cmd, w.ended = cmd, ended
	return nil
}

// Stop ends the process as Kubernetes would, and waits.
func (w *Webhook) Stop() error { return w.end(syscall.SIGTERM) }

// Kill ends it at once.
func (w *Webhook) Kill() error { return w.end(syscall.SIGKILL) }

// Freeze makes it hang: its connections stay open, and nothing is answered, until Thaw.
func (w *Webhook) Freeze() error { return w.signal(syscall.SIGSTOP) }

// Thaw makes it go on after Freeze.
func (w *Webhook) Thaw() error { return w.signal(syscall.SIGCONT) }

func (w *Webhook) signal(sig syscall.Signal) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cmd == nil {
		return errors.New("the webhook doesn't run")
	}
	return w.cmd.Process.Signal(sig)
}

func (w *Webhook) end(sig syscall.Signal) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cmd == nil {
		return nil
	}
	_ = w.cmd.Process.Signal(sig) // it may be gone already
	select {
	case <-w.ended:
	case <-time.After(stopTimeout):
		_ = w.cmd.Process.Kill()
		<-w.ended
	}
	w.cmd = nil
	return nil
}

// Running tells whether the process is alive.
func (w *Webhook) Running() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cmd == nil {
		return false
	}
	select {
	case <-w.ended:
		return false
	default:
		return true
	}
}

// WaitReady waits until the webhook says that it is ready.
func (w *Webhook) WaitReady(ctx context.Context) error {
	return w.wait(ctx, "the webhook to be ready", func(ctx context.Context) error {
		status, says, err := w.Ready(ctx)
		if err == nil && status != http.StatusOK {
			err = errors.New(says)
		}
		return err
	})
}

// Ready asks the webhook whether it is ready, and returns the status and the words of its answer.
func (w *Webhook) Ready(ctx context.Context) (status int, says string, err error) {
	if !w.Running() {
		return 0, "", errors.New("its process has ended")
	}
	return get(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz?verbose", w.probes))
}

// wait tries until it works, the context ends or the start takes too long.
func (w *Webhook) wait(ctx context.Context, what string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w\n%s", what, err, w.LogTail())
		case <-time.After(150 * time.Millisecond):
		}
	}
}

func get(ctx context.Context, url string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return resp.StatusCode, string(data), err
}

// Metrics returns the webhook's metrics, in Prometheus' text format.
func (w *Webhook) Metrics(ctx context.Context) (string, error) {
	status, body, err := get(ctx, fmt.Sprintf("http://127.0.0.1:%d/metrics", w.metrics))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("metrics: status %d: %s", status, body)
	}
	return body, err
}

// URL is the webhook's address.
func (w *Webhook) URL() string { return fmt.Sprintf("https://127.0.0.1:%d", w.port) }

func (w *Webhook) certs() string { return filepath.Join(w.dir, "certs") }

// CA returns the CA of the webhook's certificate, as PEM. It waits for it, since a webhook makes it when it starts.
func (w *Webhook) CA(ctx context.Context) (ca []byte, err error) {
	err = w.wait(ctx, "the webhook's CA", func(context.Context) (err error) {
		ca, err = os.ReadFile(filepath.Join(w.certs(), "ca.crt"))
		return err
	})
	return ca, err
}

// Client returns a client that trusts the webhook's CA, as the API server does.
func (w *Webhook) Client() (*http.Client, error) {
	ca, err := os.ReadFile(filepath.Join(w.certs(), "ca.crt"))
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
func (w *Webhook) DecisionLog() string { return filepath.Join(w.dir, "decisions.jsonl") }

// Log is the file of the operational log.
func (w *Webhook) Log() string { return filepath.Join(w.dir, "webhook.log") }

// LogTail returns the end of the operational log.
func (w *Webhook) LogTail() string {
	data, err := os.ReadFile(w.Log())
	if err != nil {
		return err.Error()
	}
	const most = 4 << 10
	if len(data) > most {
		data = data[len(data)-most:]
	}
	return "the webhook's log ends:\n" + string(data)
}
