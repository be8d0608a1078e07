package server

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// checkCertificate is how often a CertDir looks whether its certificate is due. It has a month to be renewed in, and a
// machine that slept is up to date within the hour.
const checkCertificate = time.Hour

// CertDir keeps a certificate in a directory, for a webhook outside a cluster: ca.crt, ca.key, tls.crt and tls.key.
//
// What is missing is made: a CA once, which is what the caBundle of a webhook object has to name, and a certificate under
// it, renewed when two thirds of its life are over or when it lacks one of the hosts. A certificate that our CA did not
// issue was put there by somebody: it is served as it is, and never written over. One process uses a directory.
type CertDir struct {
	// Dir is the directory. It is made if it isn't there.
	Dir string
	// Hosts are what the API server may call us by, DNS names or addresses, besides localhost, 127.0.0.1 and ::1.
	Hosts []string
	// Log gets what is made, and why something could not be.
	Log logr.Logger
	// OnError is called when a renewal fails; it is tried again within the hour. Nil means that nobody counts them.
	OnError func(error)

	mu sync.Mutex // one Ensure at a time
}

// Ensure makes what is missing or due in the directory. It is called before the server starts, to fail where it can't
// work, and by Start ever after.
func (d *CertDir) Ensure() error {
	if err := d.ensure(time.Now(), leafLife); err != nil {
		return fmt.Errorf("certificate directory %s: %w", d.Dir, err)
	}
	return nil
}

// CABundle returns the CA's certificate, PEM: what the caBundle of a webhook object has to be.
func (d *CertDir) CABundle() ([]byte, error) {
	ca, err := readPEM(d.Dir, caCertFile)
	if err != nil {
		return nil, fmt.Errorf("certificate directory %s: %w", d.Dir, err)
	}
	if ca == nil {
		return nil, fmt.Errorf("certificate directory %s: no %s", d.Dir, caCertFile)
	}
	return ca, nil
}

// Start renews the certificate until the context is done. It is a Runnable of controller-runtime's manager. A renewal
// that fails is not its end: the certificate at hand is good for a while, and then CertificateReady says so.
func (d *CertDir) Start(ctx context.Context) error {
	due := time.NewTicker(checkCertificate)
	defer due.Stop()
	for {
		if err := d.Ensure(); err != nil {
			d.Log.Error(err, "renewing the certificate")
			if d.OnError != nil {
				d.OnError(err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-due.C:
		}
	}
}

// NeedLeaderElection implements LeaderElectionRunnable: every replica serves.
func (d *CertDir) NeedLeaderElection() bool { return false }

func (d *CertDir) ensure(now time.Time, life time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Dir == "" {
		return errors.New("no directory is given")
	}
	names, err := newHostNames(d.Hosts)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.Dir, privateDir); err != nil {
		return err
	}
	have, err := readPair(d.Dir, certFile, keyFile)
	if err != nil {
		return err
	}
	ca, err := readPair(d.Dir, caCertFile, caKeyFile)
	if err != nil {
		return err
	}
	if have.cert == nil {
		return d.first(have, ca, names, now, life)
	}
	leaf, err := parseLeaf(have.cert)
	if err != nil {
		return fmt.Errorf("%s: %w", certFile, err)
	}
	issuer, err := parseAuthority(ca)
	if err != nil || !issuer.issued(leaf) {
		return have.fits() // somebody else's
	}
	if have.fits() == nil && names.in(leaf) && now.Before(renewAt(leaf)) {
		return nil
	}
	return d.renew(issuer, names, now, life)
}

// first makes the first certificate, and the CA if there is none.
func (d *CertDir) first(have, ca pair, names hostNames, now time.Time, life time.Duration) error {
	if have.key != nil {
		return fmt.Errorf("%s without %s: put both there or neither", keyFile, certFile)
	}
	if ca.cert != nil {
		issuer, err := parseAuthority(ca)
		if err != nil {
			return fmt.Errorf("%s and %s: %w", caCertFile, caKeyFile, err)
		}
		return d.renew(issuer, names, now, life)
	}
	issuer, err := d.found(ca.key, now)
	if err != nil {
		return fmt.Errorf("making a CA: %w", err)
	}
	return d.renew(issuer, names, now, life)
}

// found makes the CA. The key is written first: if we end between the two files, it is found alone and used.
func (d *CertDir) found(key []byte, now time.Time) (*authority, error) {
	var signer crypto.Signer
	var err error
	if key != nil {
		signer, err = parseKey(key)
	} else {
		signer, err = newKey()
	}
	if err != nil {
		return nil, err
	}
	ca, err := newAuthority(signer, now)
	if err != nil {
		return nil, err
	}
	files, err := ca.encode()
	if err != nil {
		return nil, err
	}
	if err := writeFile(d.Dir, caKeyFile, files.key, privateFile); err != nil {
		return nil, err
	}
	if err := writeFile(d.Dir, caCertFile, files.cert, publicFile); err != nil {
		return nil, err
	}
	d.Log.Info("made a CA", "directory", d.Dir, "notAfter", ca.cert.NotAfter)
	return ca, nil
}

// renew writes a new certificate of the CA.
func (d *CertDir) renew(ca *authority, names hostNames, now time.Time, life time.Duration) error {
	leaf, err := ca.issue(names, now, life)
	if err != nil {
		return err
	}
	if err := writeLeaf(d.Dir, leaf); err != nil {
		return err
	}
	d.Log.Info("made a certificate", "directory", d.Dir, "dnsNames", names.dns, "addresses", names.ips)
	return nil
}
