package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// concurrency is how many admissions are asked for at once.
const concurrency = 16

// target is a webhook that is asked.
type target struct {
	name    string
	address string // of loopback, host:port
	tls     *tls.Config
	// metrics returns its metrics in Prometheus' text format.
	metrics func(context.Context) (string, error)
}

// trusting trusts a CA, as PEM.
func trusting(ca []byte) (*tls.Config, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("the CA is no certificate")
	}
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}, nil
}

// conn is one connection, kept alive, by HTTP/1.1: as an API server has them (k8s.io/apiserver, pkg/util/webhook).
type conn struct {
	tls  *tls.Conn
	in   *bufio.Reader
	body bytes.Buffer
}

func (t target) dial(ctx context.Context) (*conn, error) {
	d := tls.Dialer{Config: t.tls}
	c, err := d.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return nil, err
	}
	over, ok := c.(*tls.Conn)
	if !ok {
		return nil, errors.New("a connection that isn't TLS")
	}
	return &conn{tls: over, in: bufio.NewReader(over)}, nil
}

// request is an AdmissionReview as it goes over the wire.
func request(review []byte) []byte {
	return append(fmt.Appendf(nil, "POST /validate?timeout=10s HTTP/1.1\r\nHost: webhook\r\nAccept: application/json, */*\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(review)), review...)
}

// ask sends a request and wants it allowed. The client is spare, for it shares the processors with what it measures.
func (c *conn) ask(request []byte) error {
	if _, err := c.tls.Write(request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	c.body.Reset()
	_, err = c.body.ReadFrom(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !bytes.Contains(c.body.Bytes(), []byte(`"allowed":true`)) {
		return fmt.Errorf("not allowed: %s\n%s", resp.Status, c.body.Bytes())
	}
	return nil
}

// measured is one round.
type measured struct {
	perSecond float64
	p50, p99  time.Duration
	cpu       time.Duration // of the webhook, for each request
}

// round asks a number of times, 16 at once, over connections that are open when the time begins.
func (t target) round(ctx context.Context, requests int, request []byte) (measured, error) {
	conns := make([]*conn, concurrency)
	for i := range conns {
		c, err := t.dial(ctx)
		if err != nil {
			return measured{}, err
		}
		defer c.tls.Close() //nolint:errcheck // nothing is lost with it
		conns[i] = c
	}
	before, err := t.cpu(ctx)
	if err != nil {
		return measured{}, err
	}
	took := make([][]time.Duration, concurrency)
	errs := make([]error, concurrency)
	var left atomic.Int64
	left.Store(int64(requests))
	var wg sync.WaitGroup
	begin := time.Now()
	for w, c := range conns {
		wg.Go(func() {
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				start := time.Now()
				if err := c.ask(request); err != nil {
					errs[w] = fmt.Errorf("%s: %w", t.name, err)
					return
				}
				took[w] = append(took[w], time.Since(start))
			}
		})
	}
	wg.Wait()
	wall := time.Since(begin)
	after, err := t.cpu(ctx)
	if err = errors.Join(append(errs, err, ctx.Err())...); err != nil {
		return measured{}, err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	return measured{
		perSecond: float64(len(all)) / wall.Seconds(),
		p50:       all[len(all)/2], p99: all[len(all)*99/100],
		cpu: (after - before) / time.Duration(len(all)),
	}, nil
}

var cpuMetric = regexp.MustCompile(`(?m)^process_cpu_seconds_total (\S+)$`)

// cpu is the processor time that the webhook's process has taken.
func (t target) cpu(ctx context.Context) (time.Duration, error) {
	text, err := t.metrics(ctx)
	if err != nil {
		return 0, err
	}
	m := cpuMetric.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%s tells no process_cpu_seconds_total", t.name)
	}
	seconds, err := strconv.ParseFloat(m[1], 64)
	return time.Duration(seconds * float64(time.Second)), err
}

// get reads a URL by TLS.
func get(ctx context.Context, config *tls.Config, url string) (string, error) {
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}
