package registry

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

func serviceRanges() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("fd00:10:96::/112")}
}

func TestRow54_GuardRefusesAddressesOfOurOwn(t *testing.T) {
	t.Parallel()
	services := serviceRanges()
	for _, tc := range []struct {
		name    string
		address string
		refused bool // by the default rules with Service ranges
		private bool // refused only under DenyPrivate
		never   bool // refused for exempt hosts too
	}{
		{name: "a public address is let through", address: "93.184.216.34"},
		{name: "a public IPv6 address is let through", address: "2606:2800:220:1::1"},
		{name: "a private address is let through unless denied", address: "192.168.1.5", private: true},
		{name: "10/8 outside the Service range is let through unless denied", address: "10.1.2.3", private: true},
		{name: "the shared space is private", address: "100.64.0.1", private: true},
		{name: "a unique local address is private", address: "fd12::1", private: true},
		{name: "a site-local address is private", address: "fec0::1", private: true},
		{name: "loopback", address: "127.0.0.1", refused: true},
		{name: "loopback beyond the first", address: "127.8.9.1", refused: true},
		{name: "IPv6 loopback", address: "::1", refused: true},
		{name: "unspecified", address: "0.0.0.0", refused: true},
		{name: "this network", address: "0.1.2.3", refused: true},
		{name: "IPv6 unspecified", address: "::", refused: true},
		{name: "link-local", address: "169.254.10.10", refused: true},
		{name: "IPv6 link-local with a zone", address: "fe80::1%eth0", refused: true},
		{name: "multicast", address: "224.0.0.1", refused: true},
		{name: "IPv6 multicast", address: "ff02::1", refused: true},
		{name: "broadcast", address: "255.255.255.255", refused: true},
		{name: "the Service range", address: "10.96.0.1", refused: true},
		{name: "the end of the Service range", address: "10.111.255.255", refused: true},
		{name: "the IPv6 Service range", address: "fd00:10:96::1", refused: true},
		{name: "metadata", address: "169.254.169.254", refused: true, never: true},
		{name: "metadata of AWS over IPv6", address: "fd00:ec2::254", refused: true, never: true},
		{name: "metadata of EKS over IPv6", address: "fd00:ec2::23", refused: true, never: true},
		{name: "metadata of GCP over IPv6", address: "fd20:ce::254", refused: true, never: true},
		{name: "metadata of Alibaba", address: "100.100.100.200", refused: true, never: true},
		{name: "metadata of ECS", address: "169.254.170.2", refused: true, never: true},
		{name: "WireServer", address: "168.63.129.16", refused: true, never: true},
		{name: "metadata mapped into IPv6", address: "::ffff:169.254.169.254", refused: true, never: true},
		{name: "metadata through NAT64", address: "64:ff9b::a9fe:a9fe", refused: true, never: true},
		{name: "metadata through a local NAT64", address: "64:ff9b:1::a9fe:a9fe", refused: true, never: true},
		{name: "metadata through 6to4", address: "2002:a9fe:a9fe::1", refused: true, never: true},
		{name: "metadata through Teredo", address: "2001:0:a9fe:a9fe::1", refused: true, never: true},
		{name: "metadata behind Teredo's obfuscation", address: "2001:0:5db8:d822:0:0:5601:5601", refused: true, never: true},
		{name: "loopback mapped into IPv6", address: "::ffff:127.0.0.1", refused: true},
		{name: "loopback through NAT64", address: "64:ff9b::7f00:1", refused: true},
		{name: "loopback through 6to4", address: "2002:7f00:1::", refused: true},
		{name: "loopback as an IPv4-compatible address", address: "::127.0.0.1", refused: true},
		{name: "loopback as an IPv4-translated address", address: "::ffff:0:127.0.0.1", refused: true},
		{name: "the Service range mapped into IPv6", address: "::ffff:10.96.0.10", refused: true},
		{name: "the Service range through NAT64", address: "64:ff9b::a60:a", refused: true},
		{name: "a public address through NAT64 is let through", address: "64:ff9b::5db8:d822"},
		{name: "a private address through NAT64 is private", address: "64:ff9b::c0a8:105", private: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			addr := netip.MustParseAddr(tc.address)
			lax, strict := NewGuard(GuardOptions{}), NewGuard(GuardOptions{DenyPrivate: true})
			lax.SetServiceRanges(services)
			strict.SetServiceRanges(services)
			if got := lax.Check(addr) != nil; got != tc.refused {
				t.Errorf("refused by default: %v, want %v (%v)", got, tc.refused, lax.Check(addr))
			}
			if got := strict.Check(addr) != nil; got != (tc.refused || tc.private) {
				t.Errorf("refused where private addresses are denied: %v, want %v", got, tc.refused || tc.private)
			}
			if got := lax.check(addr, true) != nil; got != tc.never {
				t.Errorf("refused for an exempt host: %v, want %v", got, tc.never)
			}
		})
	}
}

func TestGuardWithoutServiceRangesLetsThemThrough(t *testing.T) {
	t.Parallel()
	var g Guard
	addr := netip.MustParseAddr("10.96.0.1")
	if err := g.Check(addr); err != nil {
		t.Fatalf("before any range is set: %v", err)
	}
	g.SetServiceRanges([]netip.Prefix{netip.MustParsePrefix("10.96.7.7/12")}) // not masked
	if g.Check(addr) == nil {
		t.Fatal("an address in a range that was set is let through")
	}
	g.SetServiceRanges(nil)
	if err := g.Check(addr); err != nil {
		t.Fatalf("after the ranges were taken away: %v", err)
	}
}

func TestRow54_GuardJudgesWhatANameResolvesTo(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	ctx := within(t, 5*time.Second)

	dial := guardedDial(NewGuard(GuardOptions{}), passes{}.through, time.Second)
	for _, host := range []string{"localhost", "127.0.0.1", "127.1", "[::ffff:127.0.0.1]"} {
		conn, err := dial(ctx, "tcp", host+":"+port)
		if err == nil {
			conn.Close()
			t.Errorf("%s: a loopback address was connected to", host)
			continue
		}
		var f *failure
		if host != "127.1" && !errors.As(err, &f) { // whether 127.1 resolves at all is the resolver's affair
			t.Errorf("%s: %v, want the guard's refusal", host, err)
		}
	}

	named := HostPort{host: "localhost", port: port}
	dial = guardedDial(NewGuard(GuardOptions{}), passes{exempt: hostSet{named: true}}.through, time.Second)
	conn, err := dial(ctx, "tcp", "localhost:"+port)
	if err != nil {
		t.Fatalf("a host that is named isn't let through: %v", err)
	}
	conn.Close()
	if conn, err := dial(ctx, "tcp", "127.0.0.1:"+port); err == nil {
		conn.Close()
		t.Error("localhost was named, and 127.0.0.1 is let through")
	}
}

func TestIPv4AddressesWrittenAsIPv6AreJudged(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	_, port, _ := strings.Cut(reg.Host(), ":")
	guard := NewGuard(GuardOptions{})
	guard.SetServiceRanges([]netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")})
	c, err := New(Options{Guard: guard, PlainHTTP: []string{"[::ffff:169.254.169.254]"}})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"[::ffff:127.0.0.1]:" + port: "loopback", "[::ffff:169.254.169.254]": "metadata", "[::ffff:10.96.0.1]": "Service range",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := c.With(Credentials{}).List(ctx, mustDigest(t, host+"/app@"+someHash), nil)
		cancel()
		if fe := wantKind(t, err, verify.Forbidden); !strings.Contains(fe.Error(), want) {
			t.Errorf("%s: %v", host, fe)
		}
	}
	if reg.Count(0) != 0 {
		t.Error("the registry was asked")
	}
}
