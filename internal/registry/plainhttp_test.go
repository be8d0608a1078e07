package registry

import "testing"

func TestParseHostPort(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in, want string }{
		{"a host", "registry.example.com", "registry.example.com"},
		{"a host and a port", "registry.example.com:5000", "registry.example.com:5000"},
		{"an address", "127.0.0.1:5000", "127.0.0.1:5000"},
		{"an IPv6 address", "[::1]:5000", "[::1]:5000"},
		{"case is folded", "Registry.Example.COM", "registry.example.com"},
		{"a scheme is refused", "http://registry.example.com", ""},
		{"a path is refused", "registry.example.com/team", ""},
		{"a wildcard is refused", "*.example.com", ""},
		{"nothing is refused", "", ""},
		{"an empty port is refused", "registry.example.com:", ""},
		{"an empty host is refused", ":5000", ""},
		{"port 0 is refused", "registry.example.com:0", ""},
		{"a port above 65535 is refused", "registry.example.com:65536", ""},
		{"a port by name is refused", "registry.example.com:http", ""},
		{"credentials are refused", "user@registry.example.com", ""},
		{"letters beyond ASCII are refused", "r\u00e9gistry.example.com", ""},
		{"white space is refused", "registry.example.com ", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseHostPort(tc.in)
			if tc.want == "" {
				if err == nil {
					t.Fatalf("%q was read as %q", tc.in, got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.host == "::1" {
				if got.port != "5000" {
					t.Fatalf("got %+v", got)
				}
				return
			}
			if got.String() != tc.want {
				t.Fatalf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestPlainHTTPIsForTheNamedHostAlone(t *testing.T) {
	t.Parallel()
	set, err := parseHosts([]string{"any.example", "one.example:5000"})
	if err != nil {
		t.Fatal(err)
	}
	for registry, want := range map[string]string{
		"any.example":          "http",
		"any.example:5000":     "http",
		"any.example:443":      "http",
		"one.example:5000":     "http",
		"one.example":          "https",
		"one.example:5001":     "https",
		"not.any.example":      "https",
		"any.example.evil.com": "https",
		"localhost:5000":       "https",
		"10.0.0.1:5000":        "https",
	} {
		if got := (passes{flags: set}).scheme(registry); got != want {
			t.Errorf("%s is spoken to by %s, want %s", registry, got, want)
		}
	}
	if _, err := New(Options{PlainHTTP: []string{"http://any.example"}}); err == nil {
		t.Error("a host with a scheme was taken")
	}
	if (hostSet{{}: true}).has("any.example:80") {
		t.Error("the zero HostPort names a host")
	}
}
