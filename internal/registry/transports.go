package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"sync"
)

// transports keep the connections: apart for each bundle of authorities, and apart for those through a proxy, whose
// address the dial guard lets through. When the install's registries change all are made anew, for a connection
// outlives what it was allowed by.
type transports struct {
	options Options
	proxy   proxying
	direct  dialFunc // under the dial guard
	toProxy dialFunc // for the dial to a proxy, and to nothing else

	mu   sync.Mutex
	held map[transportKey]*http.Transport
}

// transportKey tells transports apart. The zero transportKey is the one of nearly all requests.
type transportKey struct {
	ca      bundleID
	proxied bool
}

func newTransports(o Options, names passes, direct dialFunc) *transports {
	anything := func(string) bool { return true } // metadata addresses are refused all the same
	return &transports{
		options: o, direct: direct, toProxy: guardedDial(o.Guard, anything, o.Timeouts.Dial),
		proxy: proxying{choose: o.Proxy, named: o.Named, names: names, guard: o.Guard},
		held:  map[transportKey]*http.Transport{},
	}
}

// route returns the transport for a URL, or an error if it may not be asked.
func (t *transports) route(to *url.URL) (http.RoundTripper, error) {
	via, err := t.proxy.of(to)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// Looked up under the lock: once replace is done, no transport is made by the list before.
	key, roots := transportKey{proxied: via != nil}, t.options.RootCAs
	if ca := t.options.Registries.now().host(dialAddress(to.Scheme, to.Host)).ca; ca != nil {
		key.ca, roots = ca.id, ca.pool
	}
	have, ok := t.held[key]
	if !ok {
		have = t.make(key, roots)
		t.held[key] = have
	}
	return have, nil
}

// make returns a transport with the dial guard in it.
func (t *transports) make(key transportKey, roots *x509.CertPool) *http.Transport {
	made := &http.Transport{
		DialContext:            t.direct,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		TLSHandshakeTimeout:    t.options.Timeouts.TLSHandshake,
		ResponseHeaderTimeout:  t.options.Timeouts.ResponseHeader,
		IdleConnTimeout:        maxIdleTime,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdleHost,
		MaxResponseHeaderBytes: maxHeaders,
	}
	if key.ca != (bundleID{}) { // for a host or two
		made.MaxIdleConns = maxIdleHost
	}
	if key.proxied {
		made.Proxy = func(r *http.Request) (*url.URL, error) { return t.proxy.must(r.URL) }
		made.DialContext, made.DialTLSContext = t.toProxy, t.dialTLS
	}
	return made
}

// dialTLS connects to a proxy that is itself spoken to by TLS. Its authorities are those that hosts have without an entry.
func (t *transports) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	conn, err := t.toProxy(ctx, network, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.options.Timeouts.TLSHandshake)
	defer cancel()
	secure := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: t.options.RootCAs, ServerName: host})
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's error is the one that counts
		return nil, err
	}
	return secure, nil
}

// replace lets go of all transports: requests in flight end on theirs, and no other begins on it.
func (t *transports) replace() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, old := range t.held {
		old.CloseIdleConnections() // and those that become idle later, as no request comes after
		delete(t.held, key)
	}
}

func (t *transports) closeIdle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, each := range t.held {
		each.CloseIdleConnections()
	}
}
