package registry

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Options say how registries are read. The zero Options are strict: https only, default address rules, system roots.
type Options struct {
	// PlainHTTP names hosts, as HOST or HOST:PORT, that are spoken to by plain http and that the dial guard lets
	// through. Without a port, every port.
	PlainHTTP []string
	// Registries are what the install says of registries; nil for nothing. They are looked at anew for each request.
	Registries *Registries
	// ECR, GAR and ACR get the credentials of entries that say so. Without one, such entries can't be used.
	ECR, GAR, ACR Login
	// Secret reads a docker-config Secret of the install's own namespace, for entries with a secretRef.
	Secret func(ctx context.Context, name string) (Credentials, error)
	// OnLoginError is told why an entry's credential could not be got, for the operator's log; it may be nil. What the
	// Login or Secret said is told to nobody else.
	OnLoginError func(prefix string, err error)
	// Proxy says by which proxy a URL is asked; nil, and a nil URL, mean none. It is what httpproxy's Config.ProxyFunc
	// returns. Its own address is let through the dial guard. See proxy.go for what may be asked through it.
	Proxy func(*url.URL) (*url.URL, error)
	// Named tells whether a policy names a host, as it stands in a reference: HOST or HOST:PORT, docker.io for Docker Hub.
	// Behind a proxy only those hosts are asked, and those of Registries; nil names none.
	Named func(host string) bool
	// Guard holds the address rules; nil for the default ones.
	Guard *Guard
	// RootCAs are the authorities that registries' certificates may be by; nil for the system's.
	RootCAs *x509.CertPool
	// TokenHosts names, for a registry, hosts of token services that may be sent its credentials beyond its own site.
	TokenHosts map[string][]string
	// UserAgent is sent with every request; empty for "pratique".
	UserAgent string
	// Observe is told of each request once it is over, from many goroutines; it may be nil.
	Observe func(RequestInfo)
	// OnPanic is told of a panic, which has become an error already; it may be nil.
	OnPanic func(value any, stack []byte)
	// Clock replaces time.Now, for tests.
	Clock func() time.Time
	// Timeouts bound single steps; the caller's context bounds the whole.
	Timeouts Timeouts
}

// Timeouts bound single steps. A zero field has its default.
type Timeouts struct {
	Dial           time.Duration // to connect, all addresses of a name together; default 3 s
	TLSHandshake   time.Duration // default 3 s
	ResponseHeader time.Duration // from request to the first line of the answer; default 8 s
	Request        time.Duration // one request with its body, where the caller sets no deadline; default 2 minutes
	Login          time.Duration // the install's credential, ping and token together, for all who wait for them; default 8 s
	Resolve        time.Duration // resolving a tag, for all who wait for it; default 9 s
	Mirror         time.Duration // a mirror alone, before the origin is asked beside it; default 3 s
}

func (t *Timeouts) complete() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Dial, 3 * time.Second},
		{&t.TLSHandshake, 3 * time.Second},
		{&t.ResponseHeader, 8 * time.Second},
		{&t.Request, 2 * time.Minute},
		{&t.Login, 8 * time.Second},
		{&t.Resolve, 9 * time.Second}, // a second less than an admission has
		{&t.Mirror, 3 * time.Second},  // twice in an admission: to resolve a tag, and to list
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
}

// Client reads registries. It holds connections, logins and content, for the life of the process.
type Client struct {
	wire       *wire
	transports *transports
	registries *Registries
	rules      rules
	logins     *logins
	limits     *limits
	retrier    retrier
	contents   *contents
	guard      panicGuard
	timeouts   Timeouts
	now        func() time.Time
	accesses   *accesses
	tags       *lru.Cache[tagKey, resolved]
	opened     *lru.Cache[openedKey, [sha256.Size]byte] // the id of the secret that does
	slow       *lru.Cache[string, time.Time]            // mirrors that kept us waiting, and when
	pace       pace
	grace      time.Duration // see unsignedGrace
}

// dialFunc is the DialContext of an http.Transport.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// New returns a client. An error names the option that contradicts itself or another.
func New(o Options) (*Client, error) {
	plain, err := parseHosts(o.PlainHTTP)
	if err != nil {
		return nil, fmt.Errorf("plain http: %w", err)
	}
	o.Timeouts.complete()
	if o.Guard == nil {
		o.Guard = NewGuard(GuardOptions{})
	}
	through := passes{plain, o.Guard.exempt, o.Registries}.through
	return newClient(o, plain, guardedDial(o.Guard, through, o.Timeouts.Dial))
}

// newClient returns a client whose direct connections are made by dial.
func newClient(o Options, plain hostSet, dial dialFunc) (*Client, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.UserAgent == "" {
		o.UserAgent = "pratique"
	}
	names := passes{plain, o.Guard.exempt, o.Registries}
	transports := newTransports(o, names, dial)
	c := &Client{
		wire:       &wire{route: transports.route, plain: names.plain, userAgent: o.UserAgent, observe: o.Observe, now: o.Clock},
		transports: transports,
		registries: o.Registries,
		rules:      rules{names},
		limits:     newLimits(func(host string) bool { return o.Registries.now().names(names.scheme(host), host) }),
		retrier:    retrier{sleep: sleep},
		contents:   newContents(),
		guard:      panicGuard{report: o.OnPanic},
		timeouts:   o.Timeouts,
		now:        o.Clock,
		accesses:   newAccesses(o.Clock),
		tags:       newLRU[tagKey, resolved](maxTags),
		opened:     newLRU[openedKey, [sha256.Size]byte](maxOpened),
		slow:       newLRU[string, time.Time](maxRegistryEntries),
		pace:       pace{minRate * int64(rateWindow/time.Second), rateWindow},
		grace:      unsignedGrace,
	}
	c.logins = &logins{
		wire: c.wire, rules: c.rules, realms: realms{o.TokenHosts, o.Registries}, grants: newGrants(o, c.guard), limits: c.limits,
		timeout: o.Timeouts.Login, guard: c.guard, now: o.Clock,
		sessions:   newLRU[sessionKey, *session](maxSessions),
		challenges: newLRU[string, challenge](maxChallenges),
	}
	if err := o.Registries.attach(names.check, transports.replace); err != nil {
		return nil, err
	}
	return c, nil
}

// newLRU returns a cache of a constant size.
func newLRU[K comparable, V any](size int) *lru.Cache[K, V] {
	cache, err := lru.New[K, V](size)
	if err != nil { // only for a size that isn't positive
		panic(err)
	}
	return cache
}

// With returns the access that a set of credentials gives. The same credentials get the same Access, with its logins
// and what it holds, as long as it is in use. The zero Credentials are anonymous.
//
// Narrow them with Credentials.For first: then Pods that read a repository alike share an Access. It uses neither
// credentials nor mirrors of the install: Open does.
func (c *Client) With(creds Credentials) *Access {
	return c.accesses.get(&Access{client: c, id: creds.ID(), creds: creds})
}

// CloseIdleConnections closes connections that no request uses.
func (c *Client) CloseIdleConnections() { c.transports.closeIdle() }

// checkHost refuses names of registries that have another spelling: they would be matched by one and asked by another.
func checkHost(host string) error {
	bare := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		bare = host[:i]
		if n, err := strconv.ParseUint(host[i+1:], 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != host[i+1:] {
			return refuse(verify.Malformed, "the port of %s isn't a number of 1 to 65535 without zeros before it", quote(host))
		}
	}
	if literal, ok := strings.CutPrefix(bare, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		if addr, err := netip.ParseAddr(literal); !ok || err != nil || !addr.Is6() || addr.Zone() != "" || addr.String() != literal {
			return refuse(verify.Forbidden, "%s is not an IPv6 address as RFC 5952 writes it", quote(host))
		}
		return nil
	}
	if bare == "" || strings.HasSuffix(bare, ".") || strings.HasPrefix(bare, "-") {
		return refuse(verify.Forbidden, "%s is not the name of a registry", quote(host))
	}
	for _, c := range bare {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789.-_", c) {
			return refuse(verify.Forbidden, "%s is not the name of a registry: want lower-case ASCII", quote(host))
		}
	}
	return nil
}

// checkRepository refuses paths that a server or a proxy may read as another path.
func checkRepository(path string) error {
	for _, segment := range strings.Split(path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return refuse(verify.Forbidden, "%s is not the name of a repository", quote(path))
		}
	}
	return nil
}
