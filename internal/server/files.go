package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The files of a certificate directory, named as in a Secret of type kubernetes.io/tls.
const (
	certFile   = "tls.crt"
	keyFile    = "tls.key"
	caCertFile = "ca.crt"
	caKeyFile  = "ca.key"
)

// maxPEM is the largest certificate or key file that is read, in bytes: what a Secret can hold.
const maxPEM = 1 << 20

// The permissions of what we write: keys are for us alone.
const (
	privateDir  = 0o700
	privateFile = 0o600
	publicFile  = 0o644
)

// readPEM returns the content of a file, or nil if there is none.
func readPEM(dir, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPEM {
		return nil, fmt.Errorf("%s is larger than %d bytes", f.Name(), maxPEM)
	}
	return data, nil
}

// readPair reads a certificate and its key; what isn't there is nil.
func readPair(dir, certName, keyName string) (pair, error) {
	cert, err := readPEM(dir, certName)
	if err != nil {
		return pair{}, err
	}
	key, err := readPEM(dir, keyName)
	if err != nil {
		return pair{}, err
	}
	return pair{cert: cert, key: key}, nil
}

// writeLeaf replaces the pair that is served, each file at once. Between the two the pair doesn't fit, and whoever reads
// it then keeps the one he has and reads again. The certificate comes first, for it tells whose the pair is: if we end
// between the two, we know it for ours and make it anew.
func writeLeaf(dir string, p pair) error {
	if err := writeFile(dir, certFile, p.cert, publicFile); err != nil {
		return err
	}
	return writeFile(dir, keyFile, p.key, privateFile)
}

// writeFile replaces a file in one step: a reader sees the old one or the new one, whole.
func writeFile(dir, name string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(dir, "."+name+"-*") // readable for us alone until its mode is set
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}
