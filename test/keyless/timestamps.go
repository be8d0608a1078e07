package keyless

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

// maxStampChainBytes bounds the timestamp authority's chain: three certificates
// have some 2 KiB.
const maxStampChainBytes = 1 << 20

// timestamps is the RFC 3161 timestamp authority.
type timestamps struct {
	*process
	url   string
	chain []*x509.Certificate // leaf first
}

func startTimestamps(ctx context.Context, programs map[string]string, dir string) (*timestamps, error) {
	dir = filepath.Join(dir, "timestamp-server")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	chain := func(ports []string) string {
		return "http://" + loopback + ":" + ports[0] + "/api/v1/timestamp/certchain"
	}
	p := program{
		name: timestampProgram, file: programs[timestampProgram], dir: dir, ports: 1,
		args:  func(ports []string) []string { return []string{"-port=" + ports[0]} },
		ready: chain,
	}
	process, ports, err := p.start(ctx)
	if err != nil {
		return nil, err
	}
	t := &timestamps{process: process, url: "http://" + loopback + ":" + ports[0] + "/api/v1/timestamp"}
	if t.chain, err = fetchChain(ctx, chain(ports)); err != nil {
		return nil, errors.Join(err, t.stop())
	}
	return t, nil
}

func fetchChain(ctx context.Context, url string) ([]*x509.Certificate, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := directClient().Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxStampChainBytes))
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	if len(chain) < 2 {
		return nil, fmt.Errorf("the timestamp authority's chain has %d certificates", len(chain))
	}
	return chain, nil
}
