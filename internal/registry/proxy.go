package registry

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// proxying says what is asked by way of a proxy, and whether it may be. The proxy resolves names, so that the dial
// guard sees the proxy's address and no other. What stands in its place is a list: behind a proxy only those hosts are
// asked that somebody named, in a policy or in the install's registries, whether they come from a reference, a redirect
// or a challenge. Who may name them could have them asked anyway.
type proxying struct {
	choose func(*url.URL) (*url.URL, error) // nil: no proxy
	named  func(host string) bool           // by policies; nil: none
	names  passes
	guard  *Guard
}

// of returns the proxy for a URL, nil for none, or an error if the URL may not be asked through it.
func (p proxying) of(to *url.URL) (*url.URL, error) {
	if p.choose == nil {
		return nil, nil
	}
	via, err := p.choose(to)
	if err != nil { // its words may hold the proxy's password
		return nil, refuse(verify.Forbidden, "the settings of the proxy can't be used for %s", quote(to.Host))
	}
	if via == nil {
		return nil, nil
	}
	return via, p.check(to)
}

// must returns the proxy for a URL that is asked through one.
func (p proxying) must(to *url.URL) (*url.URL, error) {
	via, err := p.of(to)
	if err == nil && via == nil { // else it would be dialled past the guard
		err = refuse(verify.Forbidden, "the settings of the proxy for %s have changed", quote(to.Host))
	}
	return via, err
}

// check tells whether a host may be asked through a proxy.
func (p proxying) check(to *url.URL) error {
	host := strings.ToLower(to.Hostname())
	if addr, err := netip.ParseAddr(host); err == nil {
		if err := p.guard.check(addr, p.names.through(dialAddress(to.Scheme, to.Host))); err != nil {
			return err
		}
	} else if numeric(host) {
		return refuse(verify.Forbidden, "%s is a number that the proxy may take for an address: write the address, or a name", quote(to.Host))
	}
	if p.names.registries.now().names(to.Scheme, to.Host) || p.known(to) {
		return nil
	}
	return refuse(verify.Forbidden,
		"%s is not asked through the proxy, which hides what it resolves to, unless it is named: in `images` of a policy, or as a prefix, mirror or token host in `registries`",
		quote(to.Host))
}

// known tells whether a policy names the host.
func (p proxying) known(to *url.URL) bool {
	if p.named == nil {
		return false
	}
	host := strings.ToLower(to.Host)
	bare := strings.TrimSuffix(host, map[string]string{"https": ":443", "http": ":80"}[to.Scheme])
	if bare == hubAlias {
		bare = hubName
	}
	return p.named(bare) || p.named(host)
}

// numeric tells whether a host's last label is a number: such hosts are IPv4 addresses to many resolvers, in spellings
// such as 127.1, 0x7f000001 and 2130706433 (URL standard of WHATWG, "ends in a number").
func numeric(host string) bool {
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	last := labels[len(labels)-1]
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	hex, ok := strings.CutPrefix(last, "0x")
	return ok && strings.Trim(hex, "0123456789abcdef") == ""
}
