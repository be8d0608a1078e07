package registry

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// RegistriesEvery is how often the file with the install's registries is looked at. The kubelet takes up to a minute or
// two to bring a ConfigMap to its Pods: ten seconds more don't matter, and reading a file that often costs nothing.
const RegistriesEvery = 10 * time.Second

// Registries are what an install says of registries: its own credentials for them, their mirrors, authorities and
// token services, and which of them are let through where others aren't. They are read from a file of YAML:
//
//	registries:
//	- prefix: registry.example.com/team        # HOST[:PORT][/PATH], exact by whole segments; the longest wins, whole
//	  auth: {secretRef: {name: regcred}}       # or ecr: {}, gar: {}, acr: {}; exactly one
//	  mirror: mirror.example.com/cache         # HOST[:PORT][/PATH] that stands in for the prefix
//	  papers: Both                             # papers are sought at both (the default), or at the Mirror alone, which is kept whole
//	  tokenHosts: [login.example.net]          # further hosts that may be sent the credentials as its token service
//	  plainHTTP: false                         # these three are about the host, and hold for it alone
//	  dialPrivate: false
//	  caBundle: |                              # PEM; certificates by these authorities, and by no others
//	    -----BEGIN CERTIFICATE-----
//
// The zero and the nil Registries have none. Registries may be used from many goroutines.
type Registries struct {
	path    string // empty: they don't change
	current atomic.Pointer[registryList]

	mu      sync.Mutex // one reload at a time
	seen    [sha256.Size]byte
	checks  []func(*registryList) error // what those who use the list want of it
	swapped []func()                    // told of a new list
}

// ParseRegistries reads what an install says of registries. An error names the entry by index and prefix, the field,
// and the cure.
func ParseRegistries(data []byte) (*Registries, error) {
	l, err := parseRegistries(data)
	if err != nil {
		return nil, err
	}
	r := &Registries{seen: sha256.Sum256(data)}
	r.current.Store(l)
	return r, nil
}

// LoadRegistries reads them from a file, which Reload and Watch look at again.
func LoadRegistries(path string) (*Registries, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	r, err := ParseRegistries(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.path = path
	return r, nil
}

// now returns the list as it is.
func (r *Registries) now() *registryList {
	if r == nil {
		return nil
	}
	return r.current.Load()
}

// Reload reads the file anew, and tells whether its content is another. A file that can't be read, or that says
// something wrong, changes nothing: the last good list stays, and the error says why.
func (r *Registries) Reload() (changed bool, err error) {
	if r == nil || r.path == "" {
		return false, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	data, err := readBounded(r.path)
	if err != nil {
		return false, err
	}
	sum := sha256.Sum256(data)
	if sum == r.seen {
		return false, nil
	}
	l, err := parseRegistries(data)
	for i := 0; err == nil && i < len(r.checks); i++ {
		err = r.checks[i](l)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", r.path, err)
	}
	r.current.Store(l)
	r.seen = sum
	for _, tell := range r.swapped {
		tell()
	}
	return true, nil
}

// Watch reloads the file every so often (0: RegistriesEvery) until ctx ends. It calls changed when there is a new list,
// and failed when there would be one but for an error; once for each error, not each time that it is met. Both may be nil.
func (r *Registries) Watch(ctx context.Context, every time.Duration, changed func(), failed func(error)) {
	if every <= 0 {
		every = RegistriesEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		is, err := r.Reload()
		if err == nil {
			said = ""
			if is && changed != nil {
				changed()
			}
			continue
		}
		if failed != nil && err.Error() != said {
			failed(err)
		}
		said = err.Error()
	}
}

// attach makes a user of the list known: what it wants of it, now and of later ones, and whom to tell of a new one.
func (r *Registries) attach(check func(*registryList) error, swapped func()) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := check(r.now()); err != nil {
		return err
	}
	r.checks, r.swapped = append(r.checks, check), append(r.swapped, swapped)
	return nil
}

// readBounded reads a file of at most MaxRegistries.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxRegistries+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxRegistries {
		return nil, fmt.Errorf("%s: over the bound of %d bytes", path, MaxRegistries)
	}
	return data, nil
}
