package keyless

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// caLife is how long the certificate authority lives: long, for the fixtures
// that are made with it are kept.
const caLife = 20 * 365 * 24 * time.Hour

// fulcio is the certificate authority: a root, an intermediate, and the program
// that signs with the intermediate's key.
type fulcio struct {
	*process
	url                string
	root, intermediate *x509.Certificate
	sockets            string // the directory of the socket by which the program talks to itself
}

func (f *fulcio) stop() error { return errors.Join(f.process.stop(), os.RemoveAll(f.sockets)) }

// startFulcio makes the authority's certificates and starts the program. ct may
// be nil: then certificates have no SCT.
func startFulcio(ctx context.Context, programs map[string]string, dir string, iss *issuer, ct *ctLog) (*fulcio, error) {
	dir = filepath.Join(dir, "fulcio")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f := &fulcio{}
	key, err := f.makeCA()
	if err != nil {
		return nil, fmt.Errorf("making fulcio's certificates: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	config, err := iss.config()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		"key.pem":     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		"chain.pem":   f.chainPEM(),
		"tls.pem":     iss.caPEM,
		"config.json": config,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return nil, err
		}
	}
	// A socket's path may have 108 bytes, which a test's directory can exceed.
	if f.sockets, err = os.MkdirTemp("", "fulcio-"); err != nil {
		return nil, err
	}
	ctURL := ""
	if ct != nil {
		ctURL = ct.url
	}
	p := program{
		name: fulcioProgram, file: programs[fulcioProgram], dir: dir, ports: 3,
		// The issuer is the way to the world, and vouches for every name there.
		env: []string{"HTTP_PROXY=" + iss.url, "HTTPS_PROXY=" + iss.url, "SSL_CERT_FILE=" + filepath.Join(dir, "tls.pem"), "SSL_CERT_DIR=" + dir},
		args: func(ports []string) []string {
			return []string{
				"serve", "--ca=fileca", "--fileca-cert=" + filepath.Join(dir, "chain.pem"), "--fileca-key=" + filepath.Join(dir, "key.pem"),
				"--fileca-key-passwd=unused", "--fileca-watch=false", "--ct-log-url=" + ctURL, "--config-path=" + filepath.Join(dir, "config.json"),
				"--http-host=" + loopback, "--http-port=" + ports[0], "--grpc-host=" + loopback, "--grpc-port=" + ports[1],
				// The one thing here that listens on every address: fulcio knows no host for its metrics.
				"--metrics-port=" + ports[2],
				"--legacy-unix-domain-socket=" + filepath.Join(f.sockets, "s"),
			}
		},
		ready: func(ports []string) string { return "http://" + loopback + ":" + ports[0] + "/api/v2/trustBundle" },
	}
	process, ports, err := p.start(ctx)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(f.sockets))
	}
	f.process, f.url = process, "http://"+loopback+":"+ports[0]
	return f, nil
}

// makeCA makes the root and the intermediate, and returns the latter's key.
func (f *fulcio) makeCA() (*ecdsa.PrivateKey, error) {
	var err error
	var keys [2]*ecdsa.PrivateKey
	for i := range keys {
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	now := time.Now()
	template := x509.Certificate{
		Subject:   pkix.Name{Organization: []string{"pratique keyless"}, CommonName: "root"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(caLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLen: 1,
	}
	if f.root, err = certificate(template, nil, keys[0], keys[0]); err != nil {
		return nil, err
	}
	template.Subject.CommonName = "intermediate"
	template.MaxPathLen, template.MaxPathLenZero = 0, true
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	f.intermediate, err = certificate(template, f.root, keys[1], keys[0])
	return keys[1], err
}

// chainPEM is the chain, the intermediate first.
func (f *fulcio) chainPEM() []byte { return certificatesPEM(f.intermediate, f.root) }

// certificate signs a template with signer for the public half of key. A nil
// parent is the certificate itself.
func certificate(template x509.Certificate, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	if parent == nil {
		parent = &template
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func certificatesPEM(certificates ...*x509.Certificate) []byte {
	var text []byte
	for _, c := range certificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

// config is fulcio's configuration: the issuers and what their tokens mean.
func (i *issuer) config() ([]byte, error) {
	type entry struct {
		IssuerURL, ClientID, Type, Description, Contact string
		SubjectDomain                                   string `json:",omitempty"`
	}
	all := map[string]entry{}
	for _, iss := range i.issuers {
		e := entry{IssuerURL: iss.URL, ClientID: audience, Type: string(iss.Kind), Description: "test", Contact: "nobody@example.com"}
		if iss.Kind == URIs {
			e.SubjectDomain = iss.URL
		}
		all[iss.URL] = e
	}
	return json.Marshal(map[string]any{"OIDCIssuers": all})
}
