package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// startTimeout bounds the start of one program. It is some 20 times what
	// the API server takes on two idle cores, for machines that are not idle.
	startTimeout = 2 * time.Minute
	// stopGrace is how long a program may take to end by itself. What it would
	// still write is about to be removed.
	stopGrace = 5 * time.Second
	// pollInterval is the pause between two looks at something that is about
	// to happen.
	pollInterval = 50 * time.Millisecond
	// startTries is how often a start is tried when another program takes the
	// port that was picked for ours.
	startTries = 3
)

// Options say what to start. The zero value is a cluster of etcd and an API
// server from [Binaries], in a temporary directory.
type Options struct {
	// Binaries is the directory that has the programs. Empty means that
	// [Binaries] finds it.
	Binaries string
	// Dir is where the cluster keeps its state, removed by [Cluster.Stop]. It
	// must be absent or empty. Empty means a new temporary directory.
	Dir string
	// LogDir is where the programs' logs and the audit log go, and where they
	// stay. Empty means that they are kept in Dir, and removed with it.
	LogDir string
	// ControllerManager starts kube-controller-manager too, for tests that
	// need Deployments to become Pods or namespaces to be emptied.
	ControllerManager bool
	// APIServerFlags are added to the API server's own flags, after them.
	APIServerFlags []string
}

// Cluster is a running control plane. Its methods may be called from several
// goroutines.
type Cluster struct {
	binaries string
	dir      string
	logDir   string
	auditLog string
	flags    []string // Options.APIServerFlags

	ca     *authority
	config *rest.Config // the administrator's
	client kubernetes.Interface

	etcdURL string
	port    int // the API server's

	mu                                 sync.Mutex // guards what follows
	etcd, apiServer, controllerManager *process
}

// Start starts a cluster and returns when its API server is ready. The context
// bounds the start only: the cluster runs until [Cluster.Stop], or until this
// program ends, whichever way (on Linux). On an error nothing is left running,
// and a program that died while starting is quoted with the end of its log.
//
// The API server uses RBAC and the default admission plugins. Without a
// controller manager a namespace has no ServiceAccount, and so accepts no Pod,
// unless it is "default" or made by [Cluster.CreateNamespace].
func Start(ctx context.Context, o Options) (*Cluster, error) {
	c, err := prepare(o)
	if err != nil {
		return nil, err
	}
	if err := c.boot(ctx, o.ControllerManager); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// prepare makes everything that is needed before a program runs.
func prepare(o Options) (*Cluster, error) {
	binaries, err := binariesFor(o)
	if err != nil {
		return nil, err
	}
	dir, err := stateDir(o.Dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{binaries: binaries, dir: dir, logDir: dir, flags: o.APIServerFlags}
	if o.LogDir != "" {
		c.logDir = o.LogDir
	}
	if err := c.writeFiles(time.Now()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, nil
}

// binariesFor finds the directory with all the programs that o asks for.
func binariesFor(o Options) (string, error) {
	names := []string{etcdProgram, apiServerProgram, kubectlProgram}
	if o.ControllerManager {
		names = append(names, controllerManagerProgram)
	}
	if o.Binaries == "" {
		return Binaries(names...)
	}
	return o.Binaries, complete(o.Binaries, names)
}

// stateDir makes the directory, and refuses one that has anything in it: Stop
// removes it with all it has.
func stateDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "pratique-cluster-")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("the cluster's directory %s is not empty", dir)
	}
	return filepath.Abs(dir)
}

// writeFiles makes the keys, the certificates and the audit policy.
func (c *Cluster) writeFiles(now time.Time) error {
	if err := os.MkdirAll(c.logDir, 0o700); err != nil {
		return err
	}
	logDir, err := filepath.Abs(c.logDir)
	if err != nil {
		return err
	}
	c.logDir, c.auditLog = logDir, filepath.Join(logDir, "audit.log")
	if c.ca, err = newAuthority(now); err != nil {
		return err
	}
	apiServer, err := c.ca.server(now, "kubernetes", "kubernetes.default", "kubernetes.default.svc")
	if err != nil {
		return err
	}
	etcd, err := c.ca.server(now, "etcd")
	if err != nil {
		return err
	}
	signing, err := newSigningKey()
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"ca.crt":        c.ca.pem,
		"apiserver.crt": apiServer.cert, "apiserver.key": apiServer.key,
		"etcd.crt": etcd.cert, "etcd.key": etcd.key,
		"sa.key":     signing,
		"audit.yaml": []byte(auditPolicy),
	} {
		if err := os.WriteFile(c.file(name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// boot starts the programs, each when the one it needs is ready.
func (c *Cluster) boot(ctx context.Context, controllerManager bool) error {
	if err := retryPorts(func() error { return c.startEtcd(ctx) }); err != nil {
		return err
	}
	if err := retryPorts(func() error { return c.placeAPIServer(ctx) }); err != nil {
		return err
	}
	if controllerManager {
		if err := c.startControllerManager(ctx); err != nil {
			return err
		}
	}
	return c.createServiceAccount(ctx, "default")
}

// retryPorts calls start again as long as it fails for a port that somebody
// took between the pick and the use.
func retryPorts(start func() error) error {
	for try := 1; ; try++ {
		err := start()
		if err == nil || !portTaken(err) || try == startTries {
			return err
		}
	}
}

// Stop ends the programs, waits until they are gone and removes the cluster's
// directory. It may be called again.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var failed []error
	for _, p := range []**process{&c.controllerManager, &c.apiServer, &c.etcd} {
		failed = append(failed, (*p).stop(stopGrace))
		*p = nil
	}
	return errors.Join(append(failed, os.RemoveAll(c.dir))...)
}

// RESTConfig is a new copy of the administrator's client configuration, in the
// group system:masters and without a client-side rate limit.
func (c *Cluster) RESTConfig() *rest.Config { return rest.CopyConfig(c.config) }

// Client is an administrator's client.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// file is the path of one of the cluster's own files.
func (c *Cluster) file(name string) string { return filepath.Join(c.dir, name) }

// log is the path of a program's log.
func (c *Cluster) log(program string) string { return filepath.Join(c.logDir, program+".log") }

// await calls ready until it returns nil, the process ends or the context
// does. Its error then has what ready last said.
func await(ctx context.Context, p *process, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := ready(ctx)
		select {
		case <-p.ended: // first: what answered may have been another program on its port
			return p.death()
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return p.death()
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; last: %w", p.name, ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}
