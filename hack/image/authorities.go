package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// certificate is what PEM calls one.
const certificate = "CERTIFICATE"

// authorities returns the certificates that go into the image, as PEM: those of a file, or the public ones.
func authorities(file string) ([]byte, error) {
	if file == "" {
		return public(), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("-certificates: %w", err)
	}
	if err := onlyCertificates(text); err != nil {
		return nil, fmt.Errorf("-certificates %s: %w", file, err)
	}
	return text, nil
}

// public returns the authorities that Mozilla trusts to sign servers' certificates, as Go's maintainers pass them on,
// at the version that go.mod pins: those of this machine would make another image on the next.
//
// An authority on its way out is trusted only for certificates from before some day. A file can't say that, and whoever
// reads it would trust the authority for all: it is left out.
func public() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			out.Write(pem.EncodeToMemory(&pem.Block{Type: certificate, Bytes: root.Certificate}))
		}
	}
	return out.Bytes()
}

// onlyCertificates refuses a file without a certificate, and one with anything else: everybody who can pull the image
// can read it, so that a private key must not get there by mistake.
func onlyCertificates(text []byte) error {
	found := 0
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != certificate {
			return fmt.Errorf("it has a %s, and may have certificates alone", block.Type)
		}
		found++
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("certificate %d: %w", found, err)
		}
	}
	switch {
	case found == 0:
		return fmt.Errorf("it has no certificate in PEM")
	case bytes.Contains(text, []byte("-----BEGIN")):
		return fmt.Errorf("what follows certificate %d can't be read as PEM", found)
	}
	return nil
}
