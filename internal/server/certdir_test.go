package server

import (
	"bytes"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCertDirMakesWhatIsMissing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "certs")
	d := &CertDir{Dir: dir, Hosts: []string{"webhook.example", "192.0.2.7"}}
	if err := d.Ensure(); err != nil {
		t.Fatal(err)
	}
	modes := map[string]fs.FileMode{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		modes[e.Name()] = info.Mode()
	}
	want := map[string]fs.FileMode{"ca.crt": 0o644, "ca.key": 0o600, "tls.crt": 0o644, "tls.key": 0o600}
	if diff := cmp.Diff(want, modes); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v; want mode 0700", info.Mode(), err)
	}

	leaf, ca := readLeaf(t, dir), readCA(t, d)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "webhook.example", "192.0.2.7"} {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("as %s: %v", name, err)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "other.example", Roots: roots}); err == nil {
		t.Error("the certificate is good for a host that nobody gave")
	}
	if left := time.Until(leaf.NotAfter); left > leafLife || left < leafLife-time.Hour {
		t.Errorf("the certificate is good for %s, want %s", left, leafLife)
	}
	if left := time.Until(ca.NotAfter); left > authorityLife || left < authorityLife-time.Hour {
		t.Errorf("the CA is good for %s, want %s", left, authorityLife)
	}
	if leaf.IsCA || !ca.IsCA || !ca.MaxPathLenZero {
		t.Errorf("leaf.IsCA = %t, ca.IsCA = %t, ca.MaxPathLenZero = %t", leaf.IsCA, ca.IsCA, ca.MaxPathLenZero)
	}
}

func TestCertDirRenewsWhatIsDueUnderTheSameCA(t *testing.T) {
	t.Parallel()
	made := time.Now()
	for name, c := range map[string]struct {
		change  func(t *testing.T, d *CertDir)
		later   time.Duration
		renewed bool
	}{
		"a new one stays":                           {later: time.Minute},
		"one before two thirds of its life stays":   {later: leafLife/3*2 - time.Hour},
		"one after two thirds of its life does not": {later: leafLife/3*2 + time.Hour, renewed: true},
		"one long expired does not":                 {later: 3 * leafLife, renewed: true},
		"one that lacks a host does not": {renewed: true, change: func(_ *testing.T, d *CertDir) {
			d.Hosts = []string{"new.example"}
		}},
		"one whose key was not written does not": {renewed: true, change: func(t *testing.T, d *CertDir) {
			if err := os.Remove(filepath.Join(d.Dir, keyFile)); err != nil {
				t.Fatal(err)
			}
		}},
		"one whose key is the one before does not": {renewed: true, change: func(t *testing.T, d *CertDir) {
			other := &CertDir{Dir: t.TempDir()}
			if err := other.Ensure(); err != nil {
				t.Fatal(err)
			}
			put(t, d.Dir, keyFile, get(t, other.Dir, keyFile))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &CertDir{Dir: t.TempDir()}
			if err := d.ensure(made, leafLife); err != nil {
				t.Fatal(err)
			}
			before, ca := readLeaf(t, d.Dir), readCA(t, d)
			if c.change != nil {
				c.change(t, d)
			}
			if err := d.ensure(made.Add(c.later), leafLife); err != nil {
				t.Fatal(err)
			}
			after := readLeaf(t, d.Dir)
			if got := !after.Equal(before); got != c.renewed {
				t.Errorf("renewed = %t, want %t", got, c.renewed)
			}
			if !readCA(t, d).Equal(ca) {
				t.Error("the CA changed, and with it the caBundle that is in use")
			}
			if err := after.CheckSignatureFrom(ca); err != nil {
				t.Errorf("the certificate is not the CA's: %v", err)
			}
			if p, err := readPair(d.Dir, certFile, keyFile); err != nil || p.fits() != nil {
				t.Errorf("the pair does not fit: %v, %v", err, p.fits())
			}
		})
	}
}

func TestCertDirLeavesAloneWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	theirs := &CertDir{Dir: t.TempDir(), Hosts: []string{"theirs.example"}}
	if err := theirs.Ensure(); err != nil {
		t.Fatal(err)
	}
	ours := &CertDir{Dir: t.TempDir()}
	if err := ours.Ensure(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files map[string]string // name: the directory it is from
		wrong string            // what the error says; empty for none
	}{
		"a pair":                              {files: map[string]string{certFile: theirs.Dir, keyFile: theirs.Dir}},
		"a pair and its CA's certificate":     {files: map[string]string{certFile: theirs.Dir, keyFile: theirs.Dir, caCertFile: theirs.Dir}},
		"a pair beside a CA of ours":          {files: map[string]string{certFile: theirs.Dir, keyFile: theirs.Dir, caCertFile: ours.Dir, caKeyFile: ours.Dir}},
		"a pair that does not fit":            {files: map[string]string{certFile: theirs.Dir, keyFile: ours.Dir}, wrong: "does not match"},
		"a certificate without its key":       {files: map[string]string{certFile: theirs.Dir}, wrong: "PEM"},
		"a key without its certificate":       {files: map[string]string{keyFile: theirs.Dir}, wrong: "put both there or neither"},
		"a CA without its key":                {files: map[string]string{caCertFile: theirs.Dir}, wrong: "not a PEM key"},
		"a CA with another's key":             {files: map[string]string{caCertFile: theirs.Dir, caKeyFile: ours.Dir}, wrong: "belong together"},
		"a leaf in the CA's place":            {files: map[string]string{caCertFile: "leaf", caKeyFile: theirs.Dir}, wrong: "not the certificate of a CA"},
		"something else in the certificate's": {files: map[string]string{certFile: "junk", keyFile: theirs.Dir}, wrong: "not a PEM certificate"},
		"something huge in the certificate's": {files: map[string]string{certFile: "huge", keyFile: theirs.Dir}, wrong: "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &CertDir{Dir: t.TempDir(), Hosts: []string{"wanted.example"}}
			content := map[string][]byte{}
			for file, from := range c.files {
				switch from {
				case "junk":
					content[file] = []byte("junk")
				case "huge":
					content[file] = bytes.Repeat([]byte("x"), maxPEM+1)
				case "leaf":
					content[file] = get(t, theirs.Dir, certFile)
				default:
					content[file] = get(t, from, file)
				}
				put(t, d.Dir, file, content[file])
			}
			err := d.ensure(time.Now().Add(2*leafLife), leafLife)
			if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("error = %v, want one with %q", err, c.wrong)
			}
			entries, err := os.ReadDir(d.Dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) != len(content) {
				t.Errorf("the directory has %d files, want the %d that were put there", len(entries), len(content))
			}
			for file, want := range content {
				if !bytes.Equal(get(t, d.Dir, file), want) {
					t.Errorf("%s was written over", file)
				}
			}
		})
	}
}

func TestCertDirGoesOnFromAnyFileItEndedAt(t *testing.T) {
	t.Parallel()
	for _, missing := range [][]string{
		{caCertFile, certFile, keyFile}, // the CA's key was written
		{certFile, keyFile},             // and its certificate
		{keyFile},                       // and the leaf
	} {
		t.Run("without "+strings.Join(missing, " "), func(t *testing.T) {
			t.Parallel()
			d := &CertDir{Dir: t.TempDir()}
			if err := d.Ensure(); err != nil {
				t.Fatal(err)
			}
			caKey := get(t, d.Dir, caKeyFile)
			for _, name := range missing {
				if err := os.Remove(filepath.Join(d.Dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Ensure(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(get(t, d.Dir, caKeyFile), caKey) {
				t.Error("the CA has another key")
			}
			if err := readLeaf(t, d.Dir).CheckSignatureFrom(readCA(t, d)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCertDirDoesNotOutliveItsCA(t *testing.T) {
	t.Parallel()
	d := &CertDir{Dir: t.TempDir()}
	made := time.Now()
	if err := d.ensure(made, leafLife); err != nil {
		t.Fatal(err)
	}
	if err := d.ensure(made.Add(authorityLife-24*time.Hour), leafLife); err != nil {
		t.Fatal(err)
	}
	if leaf, ca := readLeaf(t, d.Dir), readCA(t, d); !leaf.NotAfter.Equal(ca.NotAfter) {
		t.Errorf("the certificate is good until %s, its CA until %s", leaf.NotAfter, ca.NotAfter)
	}
	if err := d.ensure(made.Add(authorityLife+time.Hour), leafLife); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("error = %v, want that the CA expired", err)
	}
}

func TestCertDirRefusesWhatItCanNotName(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]*CertDir{
		"no directory":        {},
		"an empty host":       {Dir: t.TempDir(), Hosts: []string{""}},
		"a host with a port":  {Dir: t.TempDir(), Hosts: []string{"webhook.example:443"}},
		"a URL":               {Dir: t.TempDir(), Hosts: []string{"https://webhook.example"}},
		"a wildcard":          {Dir: t.TempDir(), Hosts: []string{"*"}},
		"a file for its name": {Dir: "certdir_test.go"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := d.Ensure(); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestCertDirCanNotSayTheCAOfAnother(t *testing.T) {
	t.Parallel()
	if ca, err := (&CertDir{Dir: t.TempDir()}).CABundle(); err == nil {
		t.Errorf("CABundle = %q, want an error", ca)
	}
}

func TestAFailedRenewalIsTold(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	d := &CertDir{Dir: t.TempDir(), OnError: func(err error) { failed <- err }}
	put(t, d.Dir, keyFile, []byte("somebody's"))
	ended := make(chan error, 1)
	ctx, cancel := contextOf(t)
	go func() { ended <- d.Start(ctx) }()
	if err := <-failed; !strings.Contains(err.Error(), d.Dir) {
		t.Errorf("error = %v, want one that names the directory", err)
	}
	select {
	case err := <-ended:
		t.Fatalf("a failed renewal ended the process: %v", err)
	default:
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Start = %v", err)
	}
}

func readLeaf(t *testing.T, dir string) *x509.Certificate {
	t.Helper()
	leaf, err := parseLeaf(get(t, dir, certFile))
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func readCA(t *testing.T, d *CertDir) *x509.Certificate {
	t.Helper()
	bundle, err := d.CABundle()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := parseLeaf(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func get(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func put(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, privateFile); err != nil {
		t.Fatal(err)
	}
}
