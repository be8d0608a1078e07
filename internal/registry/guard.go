package registry

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Guard says which addresses may be connected to. It judges the address that a name resolved to, at the moment of
// connecting, so that neither DNS nor a redirect leads around it. The zero Guard has the default rules: loopback,
// unspecified, link-local, multicast and metadata addresses are refused, other private ranges are not.
type Guard struct {
	denyPrivate bool
	exempt      hostSet
	services    atomic.Pointer[[]netip.Prefix]
}

// GuardOptions are an installation's own rules.
type GuardOptions struct {
	// DenyPrivate refuses RFC 1918, RFC 6598 (100.64.0.0/10) and IPv6 unique local addresses as well.
	DenyPrivate bool
	// Exempt names hosts that are let through wherever they resolve to, each for itself alone. Metadata addresses
	// stay refused even for them.
	Exempt []HostPort
}

// NewGuard returns a guard with these rules.
func NewGuard(o GuardOptions) *Guard {
	g := &Guard{denyPrivate: o.DenyPrivate, exempt: hostSet{}}
	for _, h := range o.Exempt {
		g.exempt[h] = true
	}
	return g
}

// SetServiceRanges replaces the ranges of the cluster's Services, which are refused: behind them is the API server.
// It may be called while requests run.
func (g *Guard) SetServiceRanges(ranges []netip.Prefix) {
	masked := make([]netip.Prefix, 0, len(ranges))
	for _, p := range ranges {
		masked = append(masked, p.Masked())
	}
	g.services.Store(&masked)
}

// Check returns an error that says why an address is refused, or nil.
func (g *Guard) Check(addr netip.Addr) error {
	return g.check(addr, false)
}

// check judges an address, and the IPv4 address that an IPv6 one leads to.
func (g *Guard) check(addr netip.Addr, exempt bool) error {
	for _, a := range meanings(addr) {
		if slices.Contains(metadataAddresses(), a) {
			return refuse(verify.Forbidden, "%s is a metadata address of a cloud, never asked", a)
		}
		if exempt {
			continue
		}
		if why := g.refuses(a); why != "" {
			return refuse(verify.Forbidden, "%s is %s: not asked unless its host is let through by name", a, why)
		}
	}
	return nil
}

// refuses says what kind of address this is, if it is of a kind that is refused.
func (g *Guard) refuses(a netip.Addr) string {
	switch {
	case a.IsLoopback():
		return "a loopback address"
	case a.IsUnspecified(), thisNetwork.Contains(a):
		return "an unspecified address"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	case a.IsMulticast(), a == broadcast:
		return "a multicast address"
	}
	if ranges := g.services.Load(); ranges != nil {
		for _, p := range *ranges {
			if p.Contains(a) {
				return "in the cluster's Service range " + p.String()
			}
		}
	}
	if g.denyPrivate && (a.IsPrivate() || sharedSpace.Contains(a) || siteLocal.Contains(a)) {
		return "a private address"
	}
	return ""
}

// Ranges that package netip has no word for. They are constants in all but name.
var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")       // RFC 1122, 3.2.1.3
	broadcast   = netip.MustParseAddr("255.255.255.255")   // RFC 919
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10")   // RFC 6598
	siteLocal   = netip.MustParsePrefix("fec0::/10")       // RFC 3879, deprecated
	nat64       = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052
	nat64Local  = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215, with /96 inside
	sixToFour   = netip.MustParsePrefix("2002::/16")       // RFC 3056
	teredo      = netip.MustParsePrefix("2001::/32")       // RFC 4380
	compatible  = netip.MustParsePrefix("::/96")           // RFC 4291, 2.5.5.1, deprecated
	translated  = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 7915, "IPv4-translated"
)

// metadataAddresses are where clouds hand out credentials to whatever runs on a machine.
func metadataAddresses() []netip.Addr {
	return []netip.Addr{
		netip.AddrFrom4([4]byte{169, 254, 169, 254}),                              // AWS, Azure, GCP, OpenStack and others
		netip.AddrFrom4([4]byte{169, 254, 170, 2}),                                // AWS ECS
		netip.AddrFrom4([4]byte{169, 254, 170, 23}),                               // AWS EKS pod identity
		netip.AddrFrom4([4]byte{100, 100, 100, 200}),                              // Alibaba Cloud
		netip.AddrFrom4([4]byte{168, 63, 129, 16}),                                // Azure WireServer
		netip.AddrFrom4([4]byte{192, 0, 0, 192}),                                  // Oracle Cloud
		netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 14: 0x02, 15: 0x54}), // AWS, fd00:ec2::254
		netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 15: 0x23}),           // AWS EKS, fd00:ec2::23
		netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x20, 3: 0xce, 14: 0x02, 15: 0x54}), // GCP, fd20:ce::254
	}
}

// meanings returns an address without its zone, and the IPv4 address that it stands for if it is of a form that is
// translated on the way.
func meanings(addr netip.Addr) []netip.Addr {
	addr = addr.WithZone("").Unmap()
	all := []netip.Addr{addr}
	if addr.Is4() {
		return all
	}
	b := addr.As16()
	last := netip.AddrFrom4([4]byte(b[12:16]))
	switch {
	case addr.IsUnspecified() || addr.IsLoopback(): // they lie in ::/96
	case nat64.Contains(addr), nat64Local.Contains(addr), compatible.Contains(addr), translated.Contains(addr):
		all = append(all, last)
	case sixToFour.Contains(addr):
		all = append(all, netip.AddrFrom4([4]byte(b[2:6])))
	case teredo.Contains(addr):
		all = append(all, netip.AddrFrom4([4]byte(b[4:8])), netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	}
	return all
}

// guardedDial returns a DialContext under the guard. Addresses, as host:port, for which through is true are let through
// wherever they resolve to.
func guardedDial(g *Guard, through func(address string) bool, timeout time.Duration) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		exempt := through(address)
		d := net.Dialer{Timeout: timeout, Control: func(_, resolved string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return fmt.Errorf("dial guard: %w", err)
			}
			return g.check(to.Addr(), exempt)
		}}
		return d.DialContext(ctx, network, address)
	}
}
