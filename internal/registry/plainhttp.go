package registry

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// HostPort names a host that is let through where others aren't. Without a port it stands for every port. The zero
// HostPort names nothing.
type HostPort struct {
	host string // lower case, without brackets
	port string // empty: every port
}

// ParseHostPort reads HOST or HOST:PORT, an IPv6 address in brackets. A scheme, a path or a wildcard is an error: each
// host is let through by its own name.
func ParseHostPort(s string) (HostPort, error) {
	bad := func(why string) (HostPort, error) {
		return HostPort{}, fmt.Errorf("%q is not HOST or HOST:PORT: %s", s, why)
	}
	u, err := url.Parse("//" + s)
	if err != nil || u.Host != s || s == "" {
		return bad("want the host alone, without scheme or path")
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if host == "" || strings.HasSuffix(s, ":") {
		return bad("a part is empty")
	}
	if strings.Contains(host, ":") && net.ParseIP(host) == nil {
		return bad("not an IPv6 address")
	}
	for _, c := range host {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789.-_:", c) {
			return bad(fmt.Sprintf("%q can't stand in a host", c))
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return bad("a port is 1 to 65535")
	}
	return HostPort{host: host, port: port}, nil
}

// String returns HOST or HOST:PORT.
func (h HostPort) String() string {
	if h.port == "" {
		return h.host
	}
	return net.JoinHostPort(h.host, h.port)
}

// hostSet is a set of named hosts.
type hostSet map[HostPort]bool

func parseHosts(names []string) (hostSet, error) {
	set := hostSet{}
	for _, s := range names {
		h, err := ParseHostPort(s)
		if err != nil {
			return nil, err
		}
		set[h] = true
	}
	return set, nil
}

// has tells whether an address to dial, host:port, is in the set.
func (s hostSet) has(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	host = strings.ToLower(host)
	return s[HostPort{host: host}] || s[HostPort{host: host, port: port}]
}

// passes are the hosts that are let through by name: by the options, for good, and by the install's registries, as they
// are at the moment of asking.
type passes struct {
	flags      hostSet // plain http, and past the dial guard
	exempt     hostSet // past the dial guard
	registries *Registries
}

// plain tells whether the host at an address, host:port, is spoken to by plain http.
func (p passes) plain(address string) bool {
	return p.flags.has(address) || p.registries.now().host(address).plain
}

// through tells whether the host at an address, host:port, is let through wherever it resolves to.
func (p passes) through(address string) bool {
	return p.exempt.has(address) || p.plain(address) || p.registries.now().host(address).private
}

// scheme returns how to speak to a registry: http if it is named, else https.
func (p passes) scheme(registry string) string {
	if p.plain(dialAddress("http", registry)) {
		return "http"
	}
	return "https"
}

// check refuses registries that say otherwise of a host than the options do.
func (p passes) check(l *registryList) error {
	if l == nil {
		return nil
	}
	for _, e := range l.entries {
		if !p.flags.has(dialAddress("http", e.prefix.registry)) {
			continue
		}
		if e.ca != nil || e.plain != nil && !*e.plain {
			return fmt.Errorf("%s: it is to be asked by https, and its host is named with --plain-http: take one of them away", e.label())
		}
	}
	return nil
}

// dialAddress returns the host:port that a URL's scheme and host are dialled by.
func dialAddress(scheme, hostport string) string {
	u := url.URL{Scheme: scheme, Host: hostport}
	port := u.Port()
	switch {
	case port != "":
	case scheme == "http":
		port = "80"
	default:
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
