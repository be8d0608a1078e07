package keyless

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// audience is who tokens are for: what cosign asks for and fulcio demands.
const audience = "sigstore"

// Kind is what the tokens of an issuer say, and so what fulcio writes into
// certificates: the values of its configuration's type.
type Kind string

// The kinds.
const (
	Emails          Kind = "email"           // a person: the SAN is an email address
	GitHubWorkflows Kind = "github-workflow" // a run of GitHub Actions: the SAN is the workflow's URI
	GitLabPipelines Kind = "gitlab-pipeline" // a run of GitLab CI: the same of its configuration
	URIs            Kind = "uri"             // a workload: the SAN is the subject, a URI on the issuer's host
)

// Issuer is an OpenID Connect issuer that fulcio believes.
type Issuer struct {
	URL  string // http or https, any host, any path; in certificates as it is here
	Kind Kind
}

// The issuers that are always there.
const (
	EmailIssuer  = "https://accounts.example.com"
	OtherIssuer  = "https://login.example.net/oauth2/default" // emails too
	GitHubIssuer = "https://token.actions.githubusercontent.com"
	GitLabIssuer = "https://gitlab.com"
	URIIssuer    = "https://workloads.example.com"
)

// Issuers returns those that are always there.
func Issuers() []Issuer {
	return []Issuer{
		{EmailIssuer, Emails},
		{OtherIssuer, Emails},
		{GitHubIssuer, GitHubWorkflows},
		{GitLabIssuer, GitLabPipelines},
		{URIIssuer, URIs},
	}
}

// issuer stands in for every OpenID Connect issuer at once. It is the http
// proxy by which fulcio gets at issuers, and answers for each as that would,
// all with one key. For https it ends the TLS connection itself, with
// certificates of its own that fulcio is told to believe.
type issuer struct {
	url     string // of the proxy
	issuers []Issuer
	key     *rsa.PrivateKey
	caPEM   []byte

	ca      *x509.Certificate
	caKey   *ecdsa.PrivateKey
	tls     net.Listener
	servers []*http.Server
}

func newIssuer(issuers []Issuer) (*issuer, error) {
	i := &issuer{}
	seen := map[string]bool{}
	for _, iss := range issuers {
		u, err := url.Parse(iss.URL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || seen[iss.URL] {
			return nil, fmt.Errorf("issuer %q is no URL of http or https, or is there twice", iss.URL)
		}
		if !slices.Contains([]Kind{Emails, GitHubWorkflows, GitLabPipelines, URIs}, iss.Kind) {
			return nil, fmt.Errorf("issuer %s: no kind %q", iss.URL, iss.Kind)
		}
		seen[iss.URL] = true
		i.issuers = append(i.issuers, iss)
	}
	var err error
	if i.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	if i.caKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	if i.ca, err = certificate(x509.Certificate{
		Subject:   pkix.Name{CommonName: "keyless stack TLS"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(caLife),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}, nil, i.caKey, i.caKey); err != nil {
		return nil, err
	}
	i.caPEM = certificatesPEM(i.ca)
	plain, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return nil, err
	}
	if i.tls, err = net.Listen("tcp", loopback+":0"); err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	i.url = "http://" + plain.Addr().String()
	i.serve(plain, http.HandlerFunc(i.proxy))
	i.serve(tls.NewListener(i.tls, &tls.Config{GetCertificate: i.certificateFor, MinVersion: tls.VersionTLS12}), i.answer("https"))
	return i, nil
}

func (i *issuer) serve(l net.Listener, h http.Handler) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: startTimeout}
	i.servers = append(i.servers, s)
	go s.Serve(l)
}

func (i *issuer) close() error {
	var errs []error
	for _, s := range i.servers {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// proxy answers for issuers of http, and leads connections for those of https to
// our own end of TLS, whatever host they are meant for.
func (i *issuer) proxy(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		i.answer("http").ServeHTTP(w, r)
		return
	}
	there, err := net.Dial("tcp", i.tls.Addr().String())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer there.Close()
	w.WriteHeader(http.StatusOK)
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	go func() {
		io.Copy(there, buffered)
		there.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(here, there)
}

// certificateFor makes a TLS certificate for the host that the client names.
func (i *issuer) certificateFor(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	leaf, err := certificate(x509.Certificate{
		Subject:   pkix.Name{CommonName: hello.ServerName},
		DNSNames:  []string{hello.ServerName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(caLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, i.ca, i.caKey, i.caKey)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: i.caKey}, nil
}

// answer serves OpenID Connect discovery (OpenID Connect Discovery 1.0, section
// 4) and the keys, for the issuers there are.
func (i *issuer) answer(scheme string) http.Handler {
	const discovery, keys = "/.well-known/openid-configuration", "/.well-known/jwks.json"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := scheme + "://" + r.Host + r.URL.Path
		for _, iss := range i.issuers {
			base := strings.TrimSuffix(iss.URL, "/")
			switch at {
			case base + discovery:
				writeJSON(w, http.StatusOK, map[string]any{
					"issuer": iss.URL, "jwks_uri": base + keys, "authorization_endpoint": base + "/auth", "token_endpoint": base + "/token",
					"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
					"id_token_signing_alg_values_supported": []string{"RS256"},
				})
				return
			case base + keys:
				writeJSON(w, http.StatusOK, map[string]any{"keys": []any{map[string]string{
					"kty": "RSA", "alg": "RS256", "use": "sig", "kid": keyID, "n": b64(i.key.N.Bytes()), "e": b64(big.NewInt(int64(i.key.E)).Bytes()),
				}}})
				return
			}
		}
		http.NotFound(w, r)
	})
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
