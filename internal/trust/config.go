package trust

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

const (
	// DefaultTarget is the target that a mirror is asked for where none is named, as sigstore's clients do.
	DefaultTarget = "trusted_root.json"
	// DefaultRefresh is how often a mirror is asked where nothing is said: sigstore's clients ask once a day.
	DefaultRefresh = 24 * time.Hour
	// MinRefresh bounds how often a mirror may be asked: every replica asks, and a mirror is a static site.
	MinRefresh = time.Minute
	// MaxRefresh bounds how seldom: a certificate authority that is struck off has to be heard of.
	MaxRefresh = 30 * 24 * time.Hour
	// MaxTUFRoot bounds one root.json, in bytes: the sigstore project's is 6 KiB, and 512,000 is what TUF clients take.
	MaxTUFRoot = 512_000
	// maxURL bounds a mirror's URL: longer ones aren't taken by many servers.
	maxURL = 2048
	// maxTarget bounds a target's name: it is the last part of a path, with a hash in front, and file names end at 255.
	maxTarget = 128
)

// MirrorConfig says which mirror, and who is believed about it. It is never changed once given.
type MirrorConfig struct {
	// URL is where the TUF repository is: https, no user, query or fragment. Metadata are at it, targets below targets/.
	URL string
	// Root is the root.json to begin with, which is believed without proof. It may be nil for PublicGoodMirror alone.
	Root []byte
	// Target is the name of the trusted root's text in the repository; empty is DefaultTarget.
	Target string
	// RefreshEvery is how often the mirror is asked, MinRefresh to MaxRefresh; zero is DefaultRefresh.
	RefreshEvery time.Duration
}

// withDefaults fills in what is left out.
func (c MirrorConfig) withDefaults() MirrorConfig {
	c.URL = strings.TrimRight(c.URL, "/")
	if c.Root == nil && c.URL == PublicGoodMirror {
		c.Root = PublicGoodTUFRoot()
	}
	if c.Target == "" {
		c.Target = DefaultTarget
	}
	if c.RefreshEvery == 0 {
		c.RefreshEvery = DefaultRefresh
	}
	return c
}

// Key is equal for configurations that ask the same mirror for the same thing on the same authority. How often is no
// part of it.
func (c MirrorConfig) Key() string {
	c = c.withDefaults()
	h := sha256.New()
	for _, part := range []string{c.URL, string(c.Root), c.Target} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Check tells what is wrong with a configuration, naming the field; of the Options only PlainHTTP counts. It asks
// nobody.
func (c MirrorConfig) Check(o Options) error {
	plain, err := parseHosts(o.PlainHTTP)
	if err != nil {
		return err
	}
	return c.withDefaults().check(plain)
}

func (c MirrorConfig) check(plain hosts) error {
	if _, err := c.base(plain); err != nil {
		return err
	}
	if err := checkTarget(c.Target); err != nil {
		return err
	}
	if c.RefreshEvery < MinRefresh || c.RefreshEvery > MaxRefresh {
		return fmt.Errorf("refreshEvery is %s, not within %s and %s", c.RefreshEvery, MinRefresh, MaxRefresh)
	}
	return checkTUFRoot(c.Root)
}

// base reads the URL.
func (c MirrorConfig) base(plain hosts) (*url.URL, error) {
	if len(c.URL) > maxURL {
		return nil, fmt.Errorf("mirror is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("mirror is not a URL: %w", err)
	case u.Host == "" || u.Hostname() == "":
		return nil, fmt.Errorf("mirror %q names no host: write https://host/path", c.URL)
	case u.User != nil:
		return nil, errors.New("mirror has a user in its URL: mirrors are asked without credentials")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("mirror %q has a query or a fragment: file names are put behind it", c.URL)
	case u.Scheme == "https", u.Scheme == "http" && plain.has(u.Host):
		return u, nil
	case u.Scheme == "http":
		return nil, fmt.Errorf("mirror %q is asked by plain http: write https, or name its host with --plain-http", c.URL)
	}
	return nil, fmt.Errorf("mirror %q is not https", c.URL)
}

// checkTarget holds a target's name to what stays below targets/ however a path is read.
func checkTarget(name string) error {
	if len(name) > maxTarget {
		return fmt.Errorf("target is longer than %d bytes", maxTarget)
	}
	for _, c := range name {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/", c) {
			return fmt.Errorf("target %q: %q can't stand in a target's name", name, c)
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("target %q is not a relative path of plain names", name)
		}
	}
	return nil
}

// checkTUFRoot tells whether a pinned root can begin a chain: signed by its own keys, in its own number.
func checkTUFRoot(text []byte) (err error) {
	if len(text) == 0 {
		return fmt.Errorf("root is missing: it may be left out for %s alone", PublicGoodMirror)
	}
	if len(text) > MaxTUFRoot {
		return fmt.Errorf("root is longer than %d bytes", MaxTUFRoot)
	}
	defer func() {
		if r := recover(); r != nil { // go-tuf does on a role that is null
			err = fmt.Errorf("root can't be read: the parser failed: %v", r)
		}
	}()
	if _, err := trustedmetadata.New(text); err != nil {
		return fmt.Errorf("root is not a TUF root.json signed by its own keys: %w", err)
	}
	return nil
}

// Options are what all mirrors of a process share.
type Options struct {
	// Transport makes the connections; nil, as in the webhook and the CLI, is one that asks by way of the environment's
	// proxies, and connects to no link-local address, nor ever to a cloud's metadata.
	Transport http.RoundTripper
	// PlainHTTP names hosts, as HOST or HOST:PORT, that may be asked by plain http. Without a port, every port. They may be
	// link-local.
	PlainHTTP []string
	// Clock tells the time that expiries are judged by; nil is time.Now.
	Clock func() time.Time
	// UserAgent is sent with every request; empty is "pratique".
	UserAgent string
	// OnChange is told which mirror's State has changed, by the Keeper alone. It must not block.
	OnChange func(MirrorConfig)
	// Observe is told of every refresh that has ended. It must not block.
	Observe func(Result)
	// OnPanic is told of a panic that was caught, with its stack.
	OnPanic func(recovered any, stack []byte)
}

// withDefaults fills in what is left out.
func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.UserAgent == "" {
		o.UserAgent = "pratique"
	}
	if o.OnChange == nil {
		o.OnChange = func(MirrorConfig) {}
	}
	if o.Observe == nil {
		o.Observe = func(Result) {}
	}
	if o.OnPanic == nil {
		o.OnPanic = func(any, []byte) {}
	}
	return o
}

// hosts is a set of HOST and HOST:PORT, in lower case.
type hosts map[string]bool

func parseHosts(names []string) (hosts, error) {
	set := hosts{}
	for _, name := range names {
		u, err := url.Parse("//" + name)
		if err != nil || u.Host != name || u.Hostname() == "" || strings.HasSuffix(name, ":") {
			return nil, fmt.Errorf("plain http: %q is not HOST or HOST:PORT", name)
		}
		set[hostKey(u.Hostname(), u.Port())] = true
	}
	return set, nil
}

// has tells whether the host of an http URL is named, alone or with its port.
func (s hosts) has(host string) bool {
	u := url.URL{Host: host}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return s[hostKey(u.Hostname(), "")] || s[hostKey(u.Hostname(), port)]
}

func hostKey(host, port string) string { return net.JoinHostPort(strings.ToLower(host), port) }
