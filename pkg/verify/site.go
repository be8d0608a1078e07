package verify

import (
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// siteOf names whose a registry is: the registrable domain of its host under the public suffix list, or the host itself where that is
// an address or has none; whatever the port. Turns are shared out by it, for names below a domain, and ports, cost nothing.
func siteOf(registry string) string {
	host := registry
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return host
	}
	if site, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return site
	}
	return host
}
