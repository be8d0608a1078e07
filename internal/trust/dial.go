package trust

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// guardedDial connects for mirrors. It judges the address that a name resolved to, at the moment of connecting, so that
// neither DNS nor a redirect leads around it. Mirrors are named by administrators, so private addresses and the cluster's
// Services are let through; link-local ones are not, unless the host is one of plain, and the clouds' metadata never are.
// Where a proxy is asked, it is the proxy's address that is judged.
func guardedDial(plain hosts) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		named := plain.has(address)
		d := net.Dialer{Timeout: requestTimeout, Control: func(_, resolved string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return fmt.Errorf("address %q can't be judged: %w", resolved, err)
			}
			return checkAddress(to.Addr(), named)
		}}
		return d.DialContext(ctx, network, address)
	}
}

// checkAddress judges an address, and the IPv4 address that an IPv6 one stands for. named tells that its host may be
// asked by plain http.
func checkAddress(addr netip.Addr, named bool) error {
	addr = addr.WithZone("").Unmap()
	for _, a := range []netip.Addr{addr, throughNAT64(addr)} {
		if slices.Contains(metadataAddresses(), a) {
			return refuse("%s is a metadata address of a cloud, never asked", a)
		}
		if a.IsLinkLocalUnicast() && !named {
			return refuse("%s is a link-local address: not asked unless its host is named with --plain-http", a)
		}
	}
	return nil
}

// throughNAT64 is the IPv4 address that one of 64:ff9b::/96 is translated to on the way (RFC 6052); any other is itself.
func throughNAT64(addr netip.Addr) netip.Addr {
	if !netip.PrefixFrom(netip.AddrFrom16([16]byte{1: 0x64, 2: 0xff, 3: 0x9b}), 96).Contains(addr) {
		return addr
	}
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

// metadataAddresses are where clouds hand out credentials to whatever runs on a machine. internal/registry, which
// this package may not know, has the same list for images' hosts.
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
