// Package bed puts Pratique together as an admin would, on loopback: a real API server, a real registry, the real webhook binary as
// a process of its own, and the chart's objects. The demo shows it and the tests of test/apiserver attack it.
package bed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/deploy/helm"
	"github.com/pratique-dev/pratique/test/cluster"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// startTimeout bounds the start of the webhook, some 20 times what it takes.
const startTimeout = time.Minute

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
	// Install makes the API server ask the webhook, which runs and has this CA. Nil applies the chart's golden rendering.
	Install func(ctx context.Context, b *Bed, ca []byte) error
	// Say is told each step as it begins; nil says nothing.
	Say func(step string)
}

// Bed is everything running.
type Bed struct {
	// Webhook is the one that the API server asks. Its Stop stops it alone, the Bed's own everything.
	*Webhook
	Cluster  *cluster.Cluster
	Registry *evilregistry.Registry
	// Dir keeps the binary and what the webhooks write, each below its name; Stop removes it.
	Dir string

	options Options
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
	if b.Webhook, err = b.NewWebhook(WebhookOptions{Name: "serving", Flags: o.Flags}); err != nil {
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
	if err := b.Webhook.Start(); err != nil {
		return err
	}
	ca, err := b.CA(ctx)
	if err != nil {
		return err
	}
	install := b.options.Install
	if install == nil {
		install = applyGolden
	}
	if err := install(ctx, b, ca); err != nil {
		return err
	}
	return b.WaitReady(ctx)
}

// applyGolden applies what the chart renders for a webhook outside the cluster.
func applyGolden(ctx context.Context, b *Bed, ca []byte) error {
	objects, err := helm.OutOfCluster(b.URL(), ca)
	if err != nil {
		return err
	}
	return b.Apply(ctx, string(objects))
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
	if b.Webhook != nil {
		errs = append(errs, b.Webhook.Stop())
	}
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
