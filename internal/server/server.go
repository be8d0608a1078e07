package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// retryCertificate is how often to look for a certificate that isn't there yet. In a cluster it comes from a Secret that
// one of the replicas fills, moments after the start.
const retryCertificate = 250 * time.Millisecond

// Options say where to serve, and as whom.
type Options struct {
	// Host is the address to listen at; empty means all.
	Host string
	// Port to listen at; 0 means controller-runtime's default, 9443.
	Port int
	// CertDir has the certificate and its key, as tls.crt and tls.key: of a CertDir, of InCluster, or of somebody else, such
	// as a Secret volume that cert-manager fills. Whoever writes them, they are waited for at the start, and followed: by
	// file events, and where those fail to come, within 10 seconds.
	CertDir string
	// Name is the host name by which the API server calls, SERVICE.NAMESPACE.svc in a cluster. A certificate that isn't for
	// it is not ready, since every call would fail. Empty means that any will do.
	Name string
	// ClientCA is the name of a file in CertDir with the CAs, PEM, that a caller must have a certificate of. Empty means
	// that anybody may ask.
	ClientCA string
	// Drain ends the serving. Nil means that the server ends at once, and what is in flight with it.
	Drain *Drain
	// Log gets what happens to the certificate.
	Log logr.Logger
}

// Server is controller-runtime's webhook server, which it takes for one of its own: it serves from before the informers
// are synced until after they end, TLS 1.2 or later, HTTP/1.1 or 2.
//
// It differs in that it waits for its certificate where controller-runtime's ends the process, knows when the one that
// it serves expires, and drains. Register its handlers before the manager starts.
type Server struct {
	webhook.Server
	options Options

	mu      sync.Mutex // guards what follows
	watcher *certwatcher.CertWatcher
	missing error // why there is no watcher
}

// New returns the server. It listens from Start on.
func New(o Options) (*Server, error) {
	if o.CertDir == "" {
		return nil, errors.New("a server needs a directory with its certificate")
	}
	s := &Server{options: o, missing: errors.New("not started")}
	s.Server = webhook.NewServer(webhook.Options{
		Host:         o.Host,
		Port:         o.Port,
		CertDir:      o.CertDir,
		ClientCAName: o.ClientCA,
		TLSOpts: []func(*tls.Config){func(c *tls.Config) {
			c.MinVersion = tls.VersionTLS12
			c.NextProtos = []string{"h2", "http/1.1"}
			c.GetCertificate = s.certificate
		}},
	})
	return s, nil
}

// Register implements webhook.Server.
func (s *Server) Register(path string, handler http.Handler) {
	if s.options.Drain != nil {
		handler = s.options.Drain.Handler(handler)
	}
	s.Server.Register(path, handler)
}

// Start serves until the context is done and what is in flight has ended. It implements webhook.Server.
func (s *Server) Start(ctx context.Context) error {
	watcher := s.awaitCertificate(ctx)
	if watcher == nil {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan error, 1)
	go func() {
		err := watcher.Start(ctx)
		if ctx.Err() != nil {
			err = nil // it was told to end
		}
		// Without the watcher this process would serve until its certificate expires, and then fail.
		cancel(err)
		watched <- err
	}()
	err := s.Server.Start(ctx)
	cancel(nil)
	if failed := <-watched; failed != nil && err == nil {
		return fmt.Errorf("watching the certificate: %w", failed)
	}
	return err
}

// awaitCertificate returns what watches the certificate, as soon as there is one, or nil when the context is done.
func (s *Server) awaitCertificate(ctx context.Context) *certwatcher.CertWatcher {
	dir := s.options.CertDir
	for said := ""; ; {
		watcher, err := certwatcher.New(filepath.Join(dir, certFile), filepath.Join(dir, keyFile))
		s.mu.Lock()
		s.watcher, s.missing = watcher, err
		s.mu.Unlock()
		if err == nil {
			return watcher
		}
		if err.Error() != said {
			said = err.Error()
			s.options.Log.Info("waiting for the certificate to serve with", "directory", dir, "missing", said)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryCertificate):
		}
	}
}

// certificate is the one to serve with.
func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	watcher, missing := s.watcher, s.missing
	s.mu.Unlock()
	if watcher == nil {
		return nil, fmt.Errorf("no certificate: %w", missing)
	}
	return watcher.GetCertificate(hello)
}

func (s *Server) leaf() (*x509.Certificate, error) {
	cert, err := s.certificate(nil)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(cert.Certificate[0])
}

// NotAfter is when the certificate that is served now expires; zero if there is none.
func (s *Server) NotAfter() time.Time {
	leaf, err := s.leaf()
	if err != nil {
		return time.Time{}
	}
	return leaf.NotAfter
}

// CertificateReady is a readiness check: an error without a certificate that is good now, and for our name.
func (s *Server) CertificateReady(*http.Request) error {
	leaf, err := s.leaf()
	if err != nil {
		return err
	}
	if now := time.Now(); now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		return fmt.Errorf("the certificate is good from %s to %s only", leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339))
	}
	if s.options.Name != "" {
		if err := leaf.VerifyHostname(s.options.Name); err != nil {
			return fmt.Errorf("the API server will refuse the certificate: %w", err)
		}
	}
	return nil
}
