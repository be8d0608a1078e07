package registry

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	// maxBundle bounds the certificates of one registry's authorities, in bytes of PEM: as much as a policy may hold.
	maxBundle = 64 << 10
	// maxBundleCertificates bounds their number: a private CA is one, and two while it is replaced.
	maxBundleCertificates = 10
)

// bundle is the authorities that a registry's certificate may be by.
type bundle struct {
	id   bundleID
	pool *x509.CertPool
}

// bundleID tells bundles apart; the zero bundleID is that of the authorities that hosts have without an entry.
type bundleID [sha256.Size]byte

// parseBundle reads certificates in PEM, all of them or none. What stands between them is left alone, for people put
// names there.
func parseBundle(text []byte) (*bundle, error) {
	if len(text) > maxBundle {
		return nil, fmt.Errorf("%d bytes are over the bound of %d", len(text), maxBundle)
	}
	b := &bundle{pool: x509.NewCertPool()}
	digest := sha256.New()
	n := 0
	for rest := text; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if bytes.Contains(rest, []byte("-----BEGIN")) {
				return nil, fmt.Errorf("PEM block %d can't be read: is it cut off?", n+1)
			}
			break
		}
		switch {
		case n == maxBundleCertificates:
			return nil, fmt.Errorf("more than the bound of %d certificates", maxBundleCertificates)
		case block.Type != "CERTIFICATE": // its type is quoted and nothing else: it may be a key
			return nil, fmt.Errorf("PEM block %d is %s: want certificates alone", n+1, quote(block.Type))
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d can't be read: %s", n+1, printable(err.Error()))
		}
		b.pool.AddCert(certificate)
		sum := sha256.Sum256(block.Bytes)
		digest.Write(sum[:])
	}
	if n == 0 {
		return nil, errors.New("no certificate in it: want PEM")
	}
	b.id = bundleID(digest.Sum(nil))
	return b, nil
}
