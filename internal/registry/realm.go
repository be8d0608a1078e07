package registry

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/net/publicsuffix"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// realms say which token services may be sent a registry's credentials: those on the registry's own site, and those
// named for it. The registry itself names the service in its challenge, and so does whoever speaks in its place.
type realms struct {
	fixed      map[string][]string // registry -> further hosts
	registries *Registries
}

// check judges a request to a token service. One that carries a secret goes to the registry's own site or a host named
// for it; one that carries none may go anywhere over https. Neither goes to hosts that are let through by name, but to
// the registry itself and those named for it.
func (r realms) check(rules rules, repo name.Repository, origin url.URL, to *url.URL, secret bool) error {
	address := dialAddress(to.Scheme, to.Host)
	switch {
	case to.User != nil:
		return refuse(verify.Forbidden, "a token service with credentials in its URL")
	case to.Scheme != "https" && (to.Scheme != "http" || !rules.passes.plain(address)):
		return refuse(verify.Forbidden, "the token service %s by %s: only https", quote(to.Host), quote(to.Scheme))
	case sameHost(&origin, to), r.named(origin.Host, to.Host), r.registries.now().tokenHost(repo, to.Scheme, to.Host):
		return nil
	case rules.passes.through(address): // before its site: those beside it reach no path of it that they like
		return refuse(verify.Forbidden, "the token service %s, which is let through by name for its own images only: if it is the registry's token service, name it in tokenHosts of an entry in `registries`",
			quote(to.Host))
	case sameSite(origin.Hostname(), to.Hostname()):
		return nil
	case secret:
		return refuse(verify.Forbidden, "the registry wants its credentials sent to %s, which isn't its own site: if it is its token service, name it in tokenHosts of an entry in `registries`",
			quote(to.Host))
	}
	return nil
}

func (r realms) named(registry, host string) bool {
	for _, h := range r.fixed[registry] {
		if strings.EqualFold(h, host) {
			return true
		}
	}
	return false
}

// sameSite tells whether two hosts are run by the same people: the same host, or the same registrable domain under the
// public suffix list. Where that list has no word, as under .internal or in a cluster, they have to be siblings: the
// same name but for the first label. Addresses are the same site only as themselves.
func sameSite(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if a == b {
		return true
	}
	if isAddress(a) || isAddress(b) {
		return false
	}
	if suffix, listed := publicsuffix.PublicSuffix(a); !listed && !strings.Contains(suffix, ".") {
		_, parentA, _ := strings.Cut(a, ".")
		_, parentB, _ := strings.Cut(b, ".")
		return parentA == parentB && strings.Contains(parentA, ".")
	}
	siteA, errA := publicsuffix.EffectiveTLDPlusOne(a)
	siteB, errB := publicsuffix.EffectiveTLDPlusOne(b)
	return errA == nil && errB == nil && siteA == siteB
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
