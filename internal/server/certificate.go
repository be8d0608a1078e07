package server

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	// authorityLife is ten years, since nothing renews a CA outside a cluster: its certificate is in the caBundle of a
	// webhook object that somebody else wrote, and a new one would be refused by the API server. It vouches for these
	// servers only, to those who were given that caBundle.
	authorityLife = 10 * 365 * 24 * time.Hour
	// leafLife is 90 days: a stolen key is worth something for a season, and whoever restarts nothing for that long
	// still has a month's notice if the renewal fails.
	leafLife = 90 * 24 * time.Hour
	// backdate makes a certificate good at once for an API server whose clock is behind ours.
	backdate = time.Hour
)

// pair is a certificate, or a chain of them, and the key of the first; both PEM.
type pair struct{ cert, key []byte }

// authority is a CA that issues our own certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// newKey makes a P-256 key: what every TLS library takes, and quick to sign handshakes with.
func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// newAuthority makes the CA of the given key.
func newAuthority(key crypto.Signer, now time.Time) (*authority, error) {
	template, err := newTemplate("pratique-ca", now, now.Add(authorityLife))
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.MaxPathLenZero = true // it issues leaves only
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making the CA's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("making the CA's certificate: %w", err)
	}
	return &authority{cert: cert, key: key}, nil
}

// parseAuthority reads a CA that encode wrote.
func parseAuthority(p pair) (*authority, error) {
	cert, err := parseLeaf(p.cert)
	if err != nil {
		return nil, err
	}
	if !cert.IsCA {
		return nil, errors.New("not the certificate of a CA")
	}
	key, err := parseKey(p.key)
	if err != nil {
		return nil, err
	}
	if !sameKey(cert.PublicKey, key.Public()) {
		return nil, errors.New("the CA's certificate and key don't belong together")
	}
	return &authority{cert: cert, key: key}, nil
}

// encode returns the CA's certificate and key.
func (a *authority) encode() (pair, error) { return encode(a.cert.Raw, a.key) }

// issued tells whether the CA issued the certificate.
func (a *authority) issued(cert *x509.Certificate) bool {
	return cert.CheckSignatureFrom(a.cert) == nil
}

// issue makes a key and a certificate for a server of the given names, good from now for the given time, but no longer
// than the CA.
func (a *authority) issue(names hostNames, now time.Time, life time.Duration) (pair, error) {
	until := now.Add(life)
	if until.After(a.cert.NotAfter) {
		until = a.cert.NotAfter
	}
	if !until.After(now) {
		return pair{}, fmt.Errorf("the CA's certificate expired at %s", a.cert.NotAfter.Format(time.RFC3339))
	}
	key, err := newKey()
	if err != nil {
		return pair{}, fmt.Errorf("making a key: %w", err)
	}
	template, err := newTemplate("pratique-webhook", now, until)
	if err != nil {
		return pair{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.DNSNames, template.IPAddresses = names.dns, names.ips
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return pair{}, fmt.Errorf("making a certificate: %w", err)
	}
	return encode(der, key)
}

// newTemplate is what all our certificates have in common.
func newTemplate(name string, now, until time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // RFC 5280: at most 20 octets, positive
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name, Organization: []string{"pratique"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              until,
		BasicConstraintsValid: true,
	}, nil
}

// renewAt is when two thirds of the certificate's life are over.
func renewAt(cert *x509.Certificate) time.Time {
	return cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) / 3 * 2)
}

// hostNames are what a certificate names its server by.
type hostNames struct {
	dns []string
	ips []net.IP
}

// newHostNames sorts hosts into DNS names and addresses, this machine's own first.
func newHostNames(hosts []string) (hostNames, error) {
	names := hostNames{dns: []string{"localhost"}, ips: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			names.ips = append(names.ips, ip)
			continue
		}
		if wrong := validation.IsDNS1123Subdomain(host); len(wrong) > 0 {
			return hostNames{}, fmt.Errorf("%q is neither an address nor a DNS name: %s", host, wrong[0])
		}
		names.dns = append(names.dns, host)
	}
	return names, nil
}

// in tells whether the certificate has all the names.
func (n hostNames) in(cert *x509.Certificate) bool {
	for _, name := range n.dns {
		if cert.VerifyHostname(name) != nil {
			return false
		}
	}
	for _, ip := range n.ips {
		if cert.VerifyHostname(ip.String()) != nil {
			return false
		}
	}
	return true
}

// encode writes PEM, the key as PKCS #8.
func encode(der []byte, key crypto.Signer) (pair, error) {
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, fmt.Errorf("encoding a key: %w", err)
	}
	return pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// parseLeaf returns the first certificate of a chain.
func parseLeaf(chain []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(chain)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("not a PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// parseKey reads a key that encode wrote.
func parseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("not a PEM key in PKCS #8")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T can't sign", key)
	}
	return signer, nil
}

// fits tells whether the key is that of the certificate.
func (p pair) fits() error {
	_, err := tls.X509KeyPair(p.cert, p.key)
	return err
}

func (p pair) equal(other pair) bool {
	return bytes.Equal(p.cert, other.cert) && bytes.Equal(p.key, other.key)
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
