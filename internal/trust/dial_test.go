package trust

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func TestRow54_MirrorsAreNotSoughtAtLinkLocalOrMetadataAddresses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		address string
		refused string // empty: let through
		never   bool   // refused where its host is named too
	}{
		"a public address":                    {address: "93.184.216.34"},
		"a public IPv6 address":               {address: "2606:2800:220:1::1"},
		"a mirror in the same network":        {address: "10.1.2.3"},
		"a Service of the cluster":            {address: "10.96.0.10"},
		"a unique local address":              {address: "fd12::1"},
		"loopback":                            {address: "127.0.0.1"},
		"a public address through NAT64":      {address: "64:ff9b::5db8:d822"},
		"link-local":                          {address: "169.254.10.10", refused: "link-local"},
		"the first link-local":                {address: "169.254.0.0", refused: "link-local"},
		"the last link-local":                 {address: "169.254.255.255", refused: "link-local"},
		"IPv6 link-local":                     {address: "fe80::1", refused: "link-local"},
		"IPv6 link-local with a zone":         {address: "fe80::1%eth0", refused: "link-local"},
		"the last IPv6 link-local":            {address: "febf::ffff", refused: "link-local"},
		"link-local mapped into IPv6":         {address: "::ffff:169.254.10.10", refused: "link-local"},
		"link-local through NAT64":            {address: "64:ff9b::a9fe:a0a", refused: "link-local"},
		"metadata":                            {address: "169.254.169.254", refused: "metadata", never: true},
		"metadata mapped into IPv6":           {address: "::ffff:169.254.169.254", refused: "metadata", never: true},
		"metadata through NAT64":              {address: "64:ff9b::a9fe:a9fe", refused: "metadata", never: true},
		"metadata of AWS over IPv6":           {address: "fd00:ec2::254", refused: "metadata", never: true},
		"metadata of AWS over IPv6, zoned":    {address: "fd00:ec2::254%eth0", refused: "metadata", never: true},
		"metadata of EKS":                     {address: "169.254.170.23", refused: "metadata", never: true},
		"metadata of EKS over IPv6":           {address: "fd00:ec2::23", refused: "metadata", never: true},
		"metadata of ECS":                     {address: "169.254.170.2", refused: "metadata", never: true},
		"metadata of GCP over IPv6":           {address: "fd20:ce::254", refused: "metadata", never: true},
		"metadata of Alibaba, no link-local":  {address: "100.100.100.200", refused: "metadata", never: true},
		"metadata of Oracle, no link-local":   {address: "192.0.0.192", refused: "metadata", never: true},
		"WireServer of Azure, no link-local":  {address: "168.63.129.16", refused: "metadata", never: true},
		"the neighbour of metadata over IPv6": {address: "fd00:ec2::255"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := netip.MustParseAddr(c.address)
			for _, named := range []bool{false, true} {
				err := checkAddress(addr, named)
				if want := c.refused != "" && (!named || c.never); want != (err != nil) || want && !strings.Contains(err.Error(), c.refused) {
					t.Errorf("named %t: %v, want refused %t as %q", named, err, want, c.refused)
				}
			}
		})
	}
}

// Without an own Transport no mirror leads there, by whatever name, and it is said why.
func TestRow54_TheTransportOfMirrorsJudgesTheAddressItConnectsTo(t *testing.T) {
	t.Parallel()
	plain, err := parseHosts([]string{"169.254.169.254"})
	if err != nil {
		t.Fatal(err)
	}
	dial := newTransport(plain).DialContext
	var refused *refusal
	for _, address := range []string{"169.254.169.254:80", "169.254.10.10:443", "[::ffff:169.254.10.10]:443"} {
		conn, err := dial(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v, want the guard's refusal", address, err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	conn, err := dial(t.Context(), "tcp", "localhost:"+port)
	if err != nil {
		t.Fatalf("an address that isn't link-local: %v", err)
	}
	_ = conn.Close()

	transport := newTransport(nil)
	transport.Proxy = nil // whoever runs this test may have one
	m, err := NewMirror(MirrorConfig{URL: "https://169.254.169.254/latest", Root: PublicGoodTUFRoot()}, Options{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	err = m.Refresh(t.Context())
	var failure *MirrorError
	if !errors.As(err, &failure) || failure.Result != ResultRefused || !strings.Contains(err.Error(), "metadata address of a cloud, never asked") {
		t.Errorf("refresh: %v", err)
	}
}

func TestRow54_WhoGivesNoTransportHasTheGuardedOne(t *testing.T) {
	t.Parallel()
	o := Options{PlainHTTP: []string{"169.254.169.254"}}
	m, err := NewMirror(MirrorConfig{URL: "http://169.254.169.254", Root: PublicGoodTUFRoot()}, o)
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKeeper(o)
	if err != nil {
		t.Fatal(err)
	}
	for name, transport := range map[string]http.RoundTripper{"a Mirror": m.client.Transport, "a Keeper": k.options.Transport} {
		own, ok := transport.(*http.Transport)
		if !ok {
			t.Fatalf("%s has a %T", name, transport)
		}
		conn, err := own.DialContext(t.Context(), "tcp", "169.254.169.254:80")
		if err == nil {
			_ = conn.Close()
		}
		var refused *refusal
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v, want the guard's refusal", name, err)
		}
	}
}
