package cloud

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// constructors are all of them, by what policies call them.
func constructors() map[string]struct {
	login func(Options) Login
	check func(string) error
	host  string // one of its registries
} {
	return map[string]struct {
		login func(Options) Login
		check func(string) error
		host  string
	}{
		"ecr": {NewECR, CheckECR, "123456789012.dkr.ecr.eu-west-1.amazonaws.com"},
		"gar": {NewGAR, CheckGAR, "europe-west4-docker.pkg.dev"},
		"acr": {NewACR, CheckACR, "acmeregistry.azurecr.io"},
	}
}

func TestRegistriesOfEachCloudAreKnownByTheirNames(t *testing.T) {
	t.Parallel()
	for cloud, hosts := range map[string][]string{
		"ecr": {
			"123456789012.dkr.ecr.eu-west-1.amazonaws.com", "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com",
			"123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "123456789012.dkr.ecr.ap-southeast-5.amazonaws.com",
			"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "000000000000.dkr.ecr.mx-central-1.amazonaws.com",
		},
		"gar": {
			"us-docker.pkg.dev", "europe-docker.pkg.dev", "asia-docker.pkg.dev", "us-central1-docker.pkg.dev",
			"northamerica-northeast1-docker.pkg.dev", "europe-west12-docker.pkg.dev", "gcr.io", "us.gcr.io", "eu.gcr.io", "asia.gcr.io",
		},
		"acr": {"acmeregistry.azurecr.io", "acme1.azurecr.cn", "12345.azurecr.us", "acmeregistry-d2g5gqg6adg8fnbn.azurecr.io"},
	} {
		for _, host := range hosts {
			if err := constructors()[cloud].check(host); err != nil {
				t.Errorf("%s: %v", cloud, err)
			}
		}
	}
}

// strangers are hosts that no cloud runs a private registry at, or that are written as references don't write them.
func strangers() map[string][]string {
	return map[string][]string{
		"ecr": {
			"123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example", "evil.example/123456789012.dkr.ecr.eu-west-1.amazonaws.com",
			"x123456789012.dkr.ecr.eu-west-1.amazonaws.com", "1234567890123.dkr.ecr.eu-west-1.amazonaws.com",
			"12345678901.dkr.ecr.eu-west-1.amazonaws.com", "a.123456789012.dkr.ecr.eu-west-1.amazonaws.com",
			"123456789012.dkr.ecr.eu-west-1.amazonaws.com.cn", "123456789012.dkr.ecr.cn-north-1.amazonaws.com",
			"123456789012.dkr.ecr.evil.amazonaws.com", "123456789012.dkr.ecr.eu-west-1.evil-1.amazonaws.com",
			"123456789012.dkr.ecr.eu-west-1xamazonaws.com", "123456789012xdkr.ecr.eu-west-1.amazonaws.com",
			"123456789012.dkr.ecr.eu-west-1.amazonaws.com.", "123456789012.dkr.ecr.eu-west-1.amazonaws.com:443",
			"123456789012.dkr.ecr.eu-west-1.amazonaws.com\n", "123456789012.DKR.ecr.eu-west-1.amazonaws.com",
			"123456789012.dkr.ecr.eu-west-1.amazonaws.com#x", "123456789012.dkr.ecr.eu-west-1.amazonaws.com@evil.example",
			"123456789012.dkr.ecr-fips.fips.eu-west-1.amazonaws.com", "public.ecr.aws", "ecr.amazonaws.com", "amazonaws.com", "", " ",
		},
		"gar": {
			"gcr.io.evil.example", "evil.gcr.io", "x.us.gcr.io", "us-docker.pkg.dev.evil.example", "evil.pkg.dev", "evil-docker-docker.pkg.dev",
			"a.us-docker.pkg.dev", "docker.pkg.dev", "-docker.pkg.dev", "us-npm.pkg.dev", "us-docker.pkg.dev:443", "us-docker.pkg.dev.",
			"us-dockerxpkg.dev", "gcrxio", "GCR.io", "mirror.gcr.io", "k8s.gcr.io", "registry.k8s.io", "gcr.io/evil.example", "gcr.io\n", "gcr.io\x00", "",
		},
		"acr": {
			"x.azurecr.io.evil.example", "acmeregistry.azurecr.io.evil.example", "evil.example/acmeregistry.azurecr.io", "acmeregistryxazurecr.io",
			"acmeregistry.azurecrxio", "acmeregistry.azurecr.io:443", "acmeregistry.azurecr.io.", "acmeregistry.azurecr.com", "acmeregistry.azurecr.de",
			"AcmeRegistry.azurecr.io", "a.acmeregistry.azurecr.io", "acmeregistry.westeurope.data.azurecr.io", "azurecr.io", ".azurecr.io", "acme.azurecr.io",
			"acmeregistry-.azurecr.io", "-acmeregistry.azurecr.io", "acmeregistry-a-b.azurecr.io", "acmeregistry.azurecr.io\n", "acmeregistry.azurecr.io?x",
			"user@acmeregistry.azurecr.io", strings.Repeat("a", 51) + ".azurecr.io", "mcr.microsoft.com", "",
		},
	}
}

// Row 57: a credential to a look-alike host (CVE-2025-27403, GO-2026-6225).
func TestRow57_AHostThatOnlyLooksLikeARegistryOfTheCloudIsRefusedBeforeAnythingIsAsked(t *testing.T) {
	t.Parallel()
	for cloud, hosts := range strangers() {
		for other, c := range constructors() {
			if other != cloud {
				hosts = append(hosts, c.host) // another cloud's registry is a stranger too
			}
		}
		for _, host := range hosts {
			t.Run(cloud+" "+host, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t) // it fails the test if it is asked anything
				a, err := ask(t, constructors()[cloud].login(w.options()), host)
				if e := refused(t, a, err, "", "nothing was asked", "secretRef"); e.Kind != verify.Forbidden {
					t.Errorf("the kind is %v, want %v", e.Kind, verify.Forbidden)
				}
				if asked := w.requests(); len(asked) != 0 {
					t.Errorf("asked %q", asked)
				}
				if err := constructors()[cloud].check(host); err == nil {
					t.Error("the check finds nothing wrong")
				}
			})
		}
	}
}

func TestAHostIsShownAsPrintableASCIIWithinABound(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"evil\n\x1b[2J.example", "ev\u0456l.example", strings.Repeat("a", 1<<20), strings.Repeat("\x00", 1000)} {
		var e *Error
		if !errors.As(CheckGAR(host), &e) {
			t.Fatalf("%.20q: no error", host)
		}
		if len(e.Host) > maxShown+2 || strings.ContainsFunc(e.Host, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%.20q is shown as %q", host, e.Host)
		}
	}
}

// What passes for a cloud's registry is a plain name in that cloud's own domain, however it is read.
func FuzzHost(f *testing.F) {
	for _, hosts := range strangers() {
		for _, host := range hosts {
			f.Add(host)
		}
	}
	domains := map[string][]string{
		"ecr": {".amazonaws.com", ".amazonaws.com.cn"}, "gar": {"-docker.pkg.dev", "gcr.io"}, "acr": {".azurecr.io", ".azurecr.cn", ".azurecr.us"},
	}
	for _, c := range constructors() {
		f.Add(c.host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		clouds := 0
		for cloud, c := range constructors() {
			if c.check(host) != nil {
				continue
			}
			clouds++
			u, err := url.Parse("https://" + host + "/oauth2/exchange")
			if err != nil || u.Host != host || u.Hostname() != host || u.User != nil || u.Path != "/oauth2/exchange" {
				t.Errorf("%q is read as %+v (%v)", host, u, err)
			}
			at := false
			for _, domain := range domains[cloud] {
				at = at || strings.HasSuffix(host, domain)
			}
			if !at || strings.ToLower(host) != host {
				t.Errorf("%q passes for a registry of %s", host, cloud)
			}
		}
		if clouds > 1 {
			t.Errorf("%q is of %d clouds", host, clouds)
		}
	})
}

// The zero Options are for production.
func TestTheZeroOptionsUseNoProxyAndReadTheEnvironment(t *testing.T) {
	for _, given := range []*http.Client{nil, {}} {
		c := careful(given)
		transport, ok := c.Transport.(*http.Transport)
		if !ok || transport.Proxy != nil {
			t.Errorf("a proxy is asked, by a %T", c.Transport)
		}
		if c.Timeout <= 0 || transport.ResponseHeaderTimeout <= 0 || transport.TLSHandshakeTimeout <= 0 {
			t.Error("something has no time-out")
		}
	}
	if c := careful(&http.Client{Timeout: time.Second}); c.Timeout != time.Second {
		t.Errorf("the time-out that was given became %v", c.Timeout)
	}
	agent := newWorld(t)
	agent.on("GET "+agent.plain.URL+"/v1/credentials", echo(http.StatusForbidden, "ECHO"))
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.plain.URL+"/v1/credentials")
	a, err := ask(t, NewECR(Options{}), ecrName)
	refused(t, a, err, ecrName, "403 Forbidden", "Pod Identity")
}
