package server

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// volume is a Secret volume, laid out and changed as the kubelet does: the files are links into ..data, which is itself a
// link to a directory of the time, and is replaced by one rename.
type volume struct {
	dir   string
	times int
	kept  bool // the directories of the past are not removed, so that nothing happens to a file that is watched
}

// put replaces all files of the volume at once.
func (v *volume) put(t *testing.T, files map[string][]byte) {
	t.Helper()
	v.times++
	name := fmt.Sprintf("..2026_11_22_00_00_00.%09d", v.times)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(v.dir, name), 0o755))
	for file, data := range files {
		put(t, filepath.Join(v.dir, name), file, data)
	}
	data := filepath.Join(v.dir, "..data")
	old, err := os.Readlink(data)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	must(os.Symlink(name, data+"_tmp"))
	must(os.Rename(data+"_tmp", data))
	for file := range files {
		if _, err := os.Lstat(filepath.Join(v.dir, file)); os.IsNotExist(err) {
			must(os.Symlink(filepath.Join("..data", file), filepath.Join(v.dir, file)))
		}
	}
	if old != "" && !v.kept {
		must(os.RemoveAll(filepath.Join(v.dir, old)))
	}
}

// issuer is somebody else who makes pairs, all under one CA.
type issuer struct{ CertDir }

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	return &issuer{CertDir{Dir: t.TempDir()}}
}

// pair makes a pair and returns the files of its Secret.
func (i *issuer) pair(t *testing.T) map[string][]byte {
	t.Helper()
	if err := i.ensure(time.Now(), backdate/2); err != nil { // due at once, so that the next is another
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range []string{caCertFile, certFile, keyFile} {
		files[name] = get(t, i.Dir, name)
	}
	return files
}

// TestR12AProvidedCertificateIsFollowed is R12 of security.md with a pair that is somebody else's, in a Secret volume: it
// changes every second under load, and no request fails.
func TestR12AProvidedCertificateIsFollowed(t *testing.T) {
	t.Parallel()
	from := newIssuer(t)
	secret := &volume{dir: t.TempDir()}
	s := begin(t, Options{CertDir: secret.dir, Name: "localhost"})
	if err := s.server.CertificateReady(nil); err == nil {
		t.Error("ready without a certificate")
	}
	secret.put(t, from.pair(t))
	eventually(t, "the server serves", func() bool { return s.server.StartedChecker()(nil) == nil })
	s.roots = rootsOf(t, &from.CertDir)

	var asked, stop atomic.Int64
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			client := s.client(t, i%2 == 0)
			client.Transport.(*http.Transport).DisableKeepAlives = i > 1 // a handshake with every request
			for stop.Load() == 0 {
				if err := s.allows(client); err != nil {
					t.Errorf("request %d: %v", asked.Load(), err)
					return
				}
				asked.Add(1)
			}
		})
	}
	served := map[string]bool{}
	for range 8 {
		secret.put(t, from.pair(t))
		time.Sleep(time.Second)
		leaf, err := s.server.leaf()
		if err != nil {
			t.Fatal(err)
		}
		served[leaf.SerialNumber.String()] = true
	}
	last := readLeaf(t, secret.dir)
	eventually(t, "the last certificate is served", func() bool {
		leaf, err := s.server.leaf()
		return err == nil && leaf.Equal(last)
	})
	stop.Store(1)
	clients.Wait()
	if len(served) < 2 {
		t.Error("the certificate was not followed while it changed")
	}
	if err := s.server.CertificateReady(nil); err != nil {
		t.Errorf("readiness: %v", err)
	}
	t.Logf("%d requests, %d certificates seen", asked.Load(), len(served))
}

// A file event may fail to come, or be lost. That is no reason to serve the old certificate for longer than 10 seconds.
func TestAProvidedCertificateIsFollowedWithoutFileEvents(t *testing.T) {
	t.Parallel()
	from := newIssuer(t)
	secret := &volume{dir: t.TempDir(), kept: true}
	secret.put(t, from.pair(t))
	s := begin(t, Options{CertDir: secret.dir})
	eventually(t, "the server serves", func() bool { return s.server.StartedChecker()(nil) == nil })
	secret.put(t, from.pair(t))
	changed := time.Now()
	last := readLeaf(t, secret.dir)
	eventually(t, "the last certificate is served", func() bool {
		leaf, err := s.server.leaf()
		return err == nil && leaf.Equal(last)
	})
	if took := time.Since(changed); took > 20*time.Second { // 10 s; a busy machine is forgiven
		t.Errorf("it took %s", took)
	}
}

// Half a pair, a pair that doesn't fit, or none: what was served before is served on.
func TestABadPairLeavesTheOneBeforeInService(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*testing.T, map[string][]byte){
		"no key":        func(_ *testing.T, files map[string][]byte) { delete(files, keyFile) },
		"another's key": func(t *testing.T, files map[string][]byte) { files[keyFile] = newIssuer(t).pair(t)[keyFile] },
		"no PEM":        func(_ *testing.T, files map[string][]byte) { files[certFile] = []byte("soon") },
		"nothing":       func(_ *testing.T, files map[string][]byte) { clear(files) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := newIssuer(t)
			secret := &volume{dir: t.TempDir()}
			secret.put(t, from.pair(t))
			s := begin(t, Options{CertDir: secret.dir})
			eventually(t, "the server serves", func() bool { return s.server.StartedChecker()(nil) == nil })
			s.roots = rootsOf(t, &from.CertDir)
			before := readLeaf(t, secret.dir)
			bad := from.pair(t)
			spoil(t, bad)
			secret.put(t, bad)
			client := s.client(t, false)
			client.Transport.(*http.Transport).DisableKeepAlives = true
			for range 10 {
				if err := s.allows(client); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Millisecond)
			}
			if leaf, err := s.server.leaf(); err != nil || !leaf.Equal(before) {
				t.Errorf("another certificate is served, or none: %v", err)
			}
			secret.put(t, from.pair(t))
			last := readLeaf(t, secret.dir)
			eventually(t, "the next good one is served", func() bool {
				leaf, err := s.server.leaf()
				return err == nil && leaf.Equal(last)
			})
		})
	}
}

func TestACertificateForAnotherNameIsNotReady(t *testing.T) {
	t.Parallel()
	const service = "pratique-webhook.pratique-system.svc"
	for name, c := range map[string]struct {
		hosts []string
		name  string
		want  string
	}{
		"it is for our name":     {[]string{service}, service, ""},
		"it is for others":       {[]string{"other.pratique-system.svc"}, service, "not " + service},
		"it is for an address":   {[]string{"192.0.2.1"}, service, "not " + service},
		"our name isn't known":   {[]string{"other.pratique-system.svc"}, "", ""},
		"our name is an address": {[]string{"192.0.2.1"}, "192.0.2.1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &CertDir{Dir: t.TempDir(), Hosts: c.hosts}
			if err := d.Ensure(); err != nil {
				t.Fatal(err)
			}
			s := startWith(t, Options{Name: c.name}, d)
			err := s.server.CertificateReady(nil)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("readiness = %v, want %q", err, c.want)
			}
		})
	}
}
