package evilregistry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
)

// closeWait bounds how long Close waits for handlers after their connections
// are gone; every handler here ends with its connection.
const closeWait = 5 * time.Second

// Registry is a registry on a loopback port. Make one with New or Start.
type Registry struct {
	host    string
	backend http.Handler
	server  *http.Server
	stop    context.CancelFunc
	running atomic.Int64 // handlers at work
	delay   atomic.Int64 // nanoseconds
	journal journal
	script  script
	plants  plants
	gate    *gate
	issuer  *issuer // nil: plain http
}

// Option is a choice made before the registry starts.
type Option func(*settings) error

type settings struct {
	backend       http.Handler
	noReferrers   bool
	artifactTypes bool
	countsOnly    bool
	delay         time.Duration
	gate          gate
	tls           bool
	tlsNames      []string
}

// WithBackend puts another registry in the place of ggcr's. The faults, the
// journal and the authentication stay the same. The package distribution
// beside this one has such a backend.
func WithBackend(h http.Handler) Option {
	return func(s *settings) error {
		if h == nil {
			return errors.New("evilregistry: WithBackend(nil)")
		}
		s.backend = h
		return nil
	}
}

// WithReferrersAPI says whether ggcr's registry answers the referrers API of
// OCI distribution 1.1 (default true). Without it, 404 sends clients to the
// fallback tag sha256-<hex>.
func WithReferrersAPI(on bool) Option {
	return func(s *settings) error { s.noReferrers = !on; return nil }
}

// WithArtifactTypes makes the referrers API say what the specification wants:
// the manifest's own artifactType, and ?artifactType= honoured. Without it the
// list is ggcr's, which reports the config's media type in that place and
// ignores the query.
func WithArtifactTypes() Option {
	return func(s *settings) error { s.artifactTypes = true; return nil }
}

// WithDelay makes every request wait before it is answered, pings and tokens
// too. See SerialDepth.
func WithDelay(d time.Duration) Option {
	return func(s *settings) error { s.delay = d; return nil }
}

// WithCountsOnly keeps no list of requests, only their number by kind: for
// benchmarks, whose memory the list would dominate. Requests returns nil and
// SerialDepth 0.
func WithCountsOnly() Option {
	return func(s *settings) error { s.countsOnly = true; return nil }
}

// WithTLS serves https under a certificate of a new test CA, for 127.0.0.1,
// ::1, localhost and the names given. See CAPool, CAPEM and RotateCA.
func WithTLS(names ...string) Option {
	return func(s *settings) error { s.tls, s.tlsNames = true, names; return nil }
}

// New starts a registry that stops when the test ends.
func New(t testing.TB, opts ...Option) *Registry {
	t.Helper()
	r, err := Start(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// Start starts a registry for programs that are not tests. The caller closes it.
func Start(opts ...Option) (*Registry, error) {
	var s settings
	for _, opt := range opts {
		if err := opt(&s); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("evilregistry: %w", err)
	}
	quiet := log.New(io.Discard, "", 0)
	r := &Registry{host: listener.Addr().String(), backend: s.backend}
	if r.backend == nil {
		r.backend = registry.New(registry.Logger(quiet), registry.WithReferrersSupport(!s.noReferrers))
	}
	if s.artifactTypes {
		r.backend = &honestReferrers{backend: r.backend}
	}
	r.delay.Store(int64(s.delay))
	r.journal.countsOnly, r.journal.counts = s.countsOnly, map[Kind]int{}
	if s.tls {
		if r.issuer, err = newIssuer(s.tlsNames); err != nil {
			_ = listener.Close()
			return nil, err
		}
	}
	s.gate.complete(r.URL())
	r.gate = &s.gate
	r.serve(listener, quiet)
	return r, nil
}

// serve starts the server. Requests' contexts end with Close, so that a stalled
// answer cannot outlive the test.
func (r *Registry) serve(listener net.Listener, quiet *log.Logger) {
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.server = &http.Server{
		Handler:           http.HandlerFunc(r.handle),
		ErrorLog:          quiet,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: time.Minute,
	}
	go func() {
		if r.issuer == nil {
			_ = r.server.Serve(listener) // returns when closed
			return
		}
		// HTTP/1.1 only: faults that break a connection need one request
		// to own one.
		r.server.TLSConfig = &tls.Config{GetCertificate: r.issuer.certificate, NextProtos: []string{"http/1.1"}}
		r.server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		_ = r.server.ServeTLS(listener, "", "")
	}()
}

// Close stops the registry: connections are cut, as by a crash.
func (r *Registry) Close() {
	r.stop()
	_ = r.server.Close()
	for end := time.Now().Add(closeWait); r.running.Load() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// Host returns the registry's host and port, as it stands in a reference.
func (r *Registry) Host() string { return r.host }

// URL returns the registry's scheme and host, without a trailing slash.
func (r *Registry) URL() string {
	if r.issuer != nil {
		return "https://" + r.host
	}
	return "http://" + r.host
}

// Repo names a repository of this registry. It panics on a malformed path.
func (r *Registry) Repo(path string) name.Repository {
	var opts []name.Option
	if r.issuer == nil {
		opts = append(opts, name.Insecure)
	}
	repo, err := name.NewRepository(r.host+"/"+path, opts...)
	if err != nil {
		panic(fmt.Sprintf("evilregistry: %v", err))
	}
	return repo
}

// SetDelay changes how long every later request waits.
func (r *Registry) SetDelay(d time.Duration) { r.delay.Store(int64(d)) }

// CAPool returns a pool with the current test CA; nil without WithTLS.
func (r *Registry) CAPool() *x509.CertPool {
	if r.issuer == nil {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.issuer.pem())
	return pool
}

// CAPEM returns the current test CA's certificate; nil without WithTLS.
func (r *Registry) CAPEM() []byte {
	if r.issuer == nil {
		return nil
	}
	return r.issuer.pem()
}

// RotateCA makes a new CA and serves under it from the next handshake on.
// Connections that are open stay open.
func (r *Registry) RotateCA(t testing.TB) {
	t.Helper()
	if r.issuer == nil {
		t.Fatal("evilregistry: RotateCA without WithTLS")
	}
	if err := r.issuer.rotate(); err != nil {
		t.Fatal(err)
	}
}

// handle takes one request through the layers that doc.go lists.
func (r *Registry) handle(w http.ResponseWriter, req *http.Request) {
	r.running.Add(1)
	defer r.running.Add(-1)
	to := classify(req)
	entry := r.journal.begin(req, to)
	answer := &recorder{ResponseWriter: w}
	defer r.journal.end(entry, answer) // also when a fault aborts by panic
	if d := r.delay.Load(); d > 0 {
		pause(req.Context(), time.Duration(d))
	}
	if to.kind&Login != 0 { // the script comes before the gate: it may fault the gate
		r.scripted(answer, req, to, entry, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if to.kind == Token {
				r.gate.issue(w, req)
			} else if r.gate.admit(w, req, to) {
				r.backend.ServeHTTP(w, req)
			}
		}))
		return
	}
	if r.gate.admit(answer, req, to) {
		r.scripted(answer, req, to, entry, http.HandlerFunc(r.content))
	}
}

// scripted answers with the fault that the script holds for this request, or
// with next.
func (r *Registry) scripted(w http.ResponseWriter, req *http.Request, to target, entry *Request, next http.Handler) {
	fault, ok := r.script.pick(req, to)
	if !ok {
		next.ServeHTTP(w, req)
		return
	}
	r.journal.note(entry, fault.name)
	fault.serve(w, req, next)
}

// content answers from the plants, else from the backend.
func (r *Registry) content(w http.ResponseWriter, req *http.Request) {
	if !r.plants.serve(w, req) {
		r.backend.ServeHTTP(w, req)
	}
}
