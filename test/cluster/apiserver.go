package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"k8s.io/client-go/kubernetes"
)

const (
	// serviceRange is where Services get their addresses. Nothing routes them.
	serviceRange = "10.0.0.0/24"
	// firstServiceIP is the address of the Service "kubernetes" in that range.
	firstServiceIP = "10.0.0.1"
)

// placeAPIServer picks the API server's port, makes the administrator's access
// to it and starts it.
func (c *Cluster) placeAPIServer(ctx context.Context) error {
	var err error
	if c.port, err = freePort(); err != nil {
		return err
	}
	if c.config, err = c.UserConfig("admin", "system:masters"); err != nil {
		return err
	}
	if c.client, err = kubernetes.NewForConfig(c.config); err != nil {
		return err
	}
	if err := writeKubeconfig(c.Kubeconfig(), c.config); err != nil {
		return err
	}
	return c.StartAPIServer(ctx)
}

// StartAPIServer starts the API server again after [Cluster.StopAPIServer], at
// the same address and with the same data, and returns when it is ready.
func (c *Cluster) StartAPIServer(ctx context.Context) error {
	c.mu.Lock()
	if c.apiServer.running() {
		c.mu.Unlock()
		return errors.New("the API server is running already")
	}
	p, err := startProcess(apiServerProgram, c.log(apiServerProgram), c.program(apiServerProgram), c.apiServerFlags()...)
	if err == nil {
		c.apiServer = p
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return await(ctx, p, c.apiServerReady)
}

// StopAPIServer stops the API server and leaves etcd running.
func (c *Cluster) StopAPIServer() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.apiServer.stop(stopGrace)
	if err == nil {
		c.apiServer = nil
	}
	return err
}

// RestartAPIServer stops the API server and starts it again. Clients find it
// at the same address with the same certificates; watches have to be made
// anew, as everywhere.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	if err := c.StopAPIServer(); err != nil {
		return err
	}
	return c.StartAPIServer(ctx)
}

// apiServerReady asks /readyz, which includes the hooks that make the default
// roles and namespaces.
func (c *Cluster) apiServerReady(ctx context.Context) error {
	_, err := c.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("readyz: %w", err)
	}
	return nil
}

func (c *Cluster) apiServerFlags() []string {
	return append([]string{
		"--bind-address=" + loopback,
		"--advertise-address=" + loopback,
		"--secure-port=" + strconv.Itoa(c.port),
		"--endpoint-reconciler-type=none", // endpoints on loopback are refused
		"--tls-cert-file=" + c.file("apiserver.crt"),
		"--tls-private-key-file=" + c.file("apiserver.key"),
		"--client-ca-file=" + c.file("ca.crt"),
		"--etcd-servers=" + c.etcdURL,
		"--etcd-cafile=" + c.file("ca.crt"),
		"--etcd-certfile=" + c.file("etcd.crt"),
		"--etcd-keyfile=" + c.file("etcd.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.file("sa.key"),
		"--service-account-signing-key-file=" + c.file("sa.key"),
		"--service-cluster-ip-range=" + serviceRange,
		"--authorization-mode=RBAC",
		"--allow-privileged=true",
		"--audit-policy-file=" + c.file("audit.yaml"),
		"--audit-log-path=" + c.auditLog,
		"--profiling=false",
	}, c.flags...)
}
