package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/pratique-dev/pratique/test/interop"
)

// startRegistries starts a registry of each kind and returns their hosts and a
// function that stops them.
func startRegistries(ctx context.Context, scratch, distribution string) (map[interop.Registry]string, func(), error) {
	api, stopAPI, err := serve(interop.NewRegistry(interop.ReferrersAPI))
	if err != nil {
		return nil, nil, err
	}
	handler, stopProgram, err := startDistribution(ctx, scratch, distribution)
	if err != nil {
		stopAPI()
		return nil, nil, err
	}
	fallback, stopFallback, err := serve(handler)
	if err != nil {
		stopAPI()
		stopProgram()
		return nil, nil, err
	}
	stop := func() {
		stopFallback()
		stopProgram()
		stopAPI()
	}
	return map[interop.Registry]string{interop.ReferrersAPI: api, interop.FallbackTag: fallback}, stop, nil
}

// serve serves handler on a free port of loopback.
func serve(handler http.Handler) (host string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go server.Serve(listener) // ends with Close, and its error then says so
	return listener.Addr().String(), func() { server.Close() }, nil
}

// startDistribution runs the distribution registry on a unix socket, so that no
// port has to be guessed, and returns a handler that leads to it.
func startDistribution(ctx context.Context, scratch, program string) (http.Handler, func(), error) {
	socket := filepath.Join(scratch, "distribution.sock")
	config := filepath.Join(scratch, "distribution.yaml")
	text := fmt.Sprintf("version: 0.1\nlog: {accesslog: {disabled: true}}\nstorage: {inmemory: {}}\nhttp: {net: unix, addr: %q, secret: interop}\n", socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, program, "serve", config)
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none"}
	var printed bytes.Buffer // an error for each 404, which every push asks for
	cmd.Stderr = &printed
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	stop := func() {
		cmd.Process.Kill()
		cmd.Wait() // reports the kill
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	if err := await(ctx, &http.Client{Transport: transport}, "http://distribution.invalid/v2/"); err != nil {
		stop()
		return nil, nil, fmt.Errorf("%s: %w\n%s", program, err, printed.Bytes())
	}
	target := &url.URL{Scheme: "http", Host: "distribution.invalid"}
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // upload locations are built from it
	}}
	return proxy, stop, nil
}

// await asks url until it answers, for at most ten seconds.
func await(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("did not answer: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
