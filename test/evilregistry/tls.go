package evilregistry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"sync"
	"time"
)

// issuer holds the test CA and the server certificate under it.
type issuer struct {
	names []string // DNS names besides localhost

	mu    sync.Mutex
	caPEM []byte
	leaf  *tls.Certificate
}

func newIssuer(names []string) (*issuer, error) {
	i := &issuer{names: names}
	return i, i.rotate()
}

// rotate makes a new CA and a new leaf.
func (i *issuer) rotate() error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("evilregistry: CA key: %w", err)
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "evilregistry test CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return fmt.Errorf("evilregistry: CA certificate: %w", err)
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("evilregistry: server key: %w", err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1), Subject: pkix.Name{CommonName: "evilregistry"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		DNSNames:    append([]string{"localhost"}, i.names...),
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), caKey)
	if err != nil {
		return fmt.Errorf("evilregistry: server certificate: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.caPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	i.leaf = &tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}
	return nil
}

// certificate is a tls.Config's GetCertificate.
func (i *issuer) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.leaf, nil
}

func (i *issuer) pem() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.caPEM)
}
