package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
)

// startEtcd starts etcd on a free port. It asks every client for a certificate
// of ours: nobody else on the machine can read it, and no other etcd that got
// hold of our port can be taken for it. What it has is lost when the machine
// stops at the wrong moment (--unsafe-no-fsync), which nobody minds here.
func (c *Cluster) startEtcd(ctx context.Context) error {
	clients, err := freePort()
	if err != nil {
		return err
	}
	peers, err := freePort()
	if err != nil {
		return err
	}
	url := fmt.Sprintf("https://%s:%d", loopback, clients)
	peerURL := fmt.Sprintf("http://%s:%d", loopback, peers)
	p, err := startProcess(etcdProgram, c.log(etcdProgram), c.program(etcdProgram),
		"--data-dir="+c.file("etcd"),
		"--unsafe-no-fsync",
		"--listen-client-urls="+url,
		"--advertise-client-urls="+url,
		"--listen-peer-urls="+peerURL,
		"--initial-advertise-peer-urls="+peerURL,
		"--initial-cluster=default="+peerURL,
		"--cert-file="+c.file("etcd.crt"),
		"--key-file="+c.file("etcd.key"),
		"--trusted-ca-file="+c.file("ca.crt"),
		"--client-cert-auth",
	)
	if err != nil {
		return err
	}
	client, err := c.etcdClient()
	if err != nil {
		return fmt.Errorf("client for etcd: %w", err)
	}
	defer client.CloseIdleConnections()
	c.mu.Lock()
	c.etcd, c.etcdURL = p, url
	c.mu.Unlock()
	return await(ctx, p, func(ctx context.Context) error { return healthy(ctx, client, url+"/health") })
}

// etcdClient is an HTTP client with etcd's own certificate.
func (c *Cluster) etcdClient() (*http.Client, error) {
	cert, err := tls.LoadX509KeyPair(c.file("etcd.crt"), c.file("etcd.key"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.ca.cert)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}},
	}}, nil
}

// healthy is nil if the URL answers 200.
func healthy(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	return nil
}
