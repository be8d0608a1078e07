package registry

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

func TestLoginsOfEachKind(t *testing.T) {
	t.Parallel()
	users := map[string]string{"robot": "pass", "<token>": "identity"}
	config := func(host, entry string) Credentials {
		c, err := ParseDockerConfig([]byte(`{"auths":{"` + host + `":` + entry + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, tc := range map[string]struct {
		auth  evilregistry.Option
		entry string
		want  verify.FetchKind // Unavailable: let in
	}{
		"Basic":                                {evilregistry.WithBasicAuth(users, "app"), `{"username":"robot","password":"pass"}`, verify.Unavailable},
		"Basic with a wrong password":          {evilregistry.WithBasicAuth(users, "app"), `{"username":"robot","password":"wrong"}`, verify.Unauthorized},
		"Basic, anonymous":                     {evilregistry.WithBasicAuth(users, "app"), `{}`, verify.Unauthorized},
		"a token":                              {evilregistry.WithTokenAuth(users, "app"), `{"username":"robot","password":"pass"}`, verify.Unavailable},
		"a token for auth":                     {evilregistry.WithTokenAuth(users, "app"), `{"auth":"` + base64.StdEncoding.EncodeToString([]byte("robot:pass")) + `"}`, verify.Unavailable},
		"a token with a wrong password":        {evilregistry.WithTokenAuth(users, "app"), `{"username":"robot","password":"wrong"}`, verify.Unauthorized},
		"a token, anonymous":                   {evilregistry.WithTokenAuth(users, "app"), `{}`, verify.Unauthorized},
		"a token, anonymous, of a public":      {evilregistry.WithTokenAuth(users, "other"), `{}`, verify.Unavailable},
		"a token for an identity token":        {evilregistry.WithTokenAuth(users, "app"), `{"identitytoken":"identity"}`, verify.Unavailable},
		"a token for a wrong identity token":   {evilregistry.WithTokenAuth(users, "app"), `{"identitytoken":"wrong"}`, verify.Unauthorized},
		"a wrong registry token":               {evilregistry.WithTokenAuth(users, "app"), `{"registrytoken":"wrong"}`, verify.Unauthorized},
		"no login asked for":                   {evilregistry.WithReferrersAPI(true), `{}`, verify.Unavailable},
		"no login asked for, with credentials": {evilregistry.WithReferrersAPI(true), `{"username":"robot","password":"pass"}`, verify.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t, tc.auth)
			image := signed(t, reg, "app:v1")
			a := testClient(t, Options{}, reg).With(config(reg.Host(), tc.entry))
			l, err := a.List(within(t, admission), image, nil)
			if tc.want != verify.Unavailable {
				if fe := wantKind(t, err, tc.want); !fe.Answer() {
					t.Error("a refusal isn't an answer")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(l.Unanswered) != 0 || len(l.Papers) != 3 {
				t.Errorf("got %+v", l)
			}
			fetchAll(t, a, image, l.Papers)
		})
	}
}

func TestARegistryTokenIsSentAsItIs(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	c, err := ParseDockerConfig([]byte(`{"auths":{"` + reg.Host() + `":{"registrytoken":"canary"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	list(t, testClient(t, Options{}, reg).With(c), image)
	for _, r := range reg.Requests() {
		if r.Authorization != "Bearer canary" || r.Kind&evilregistry.Login != 0 {
			t.Errorf("%s %s with %q", r.Kind, r.Path, r.Authorization)
		}
	}
}

func TestCredentialsAreTriedInTurn(t *testing.T) {
	t.Parallel()
	for name, auth := range map[string]func(map[string]string, ...string) evilregistry.Option{
		"Basic": evilregistry.WithBasicAuth, "a token": evilregistry.WithTokenAuth,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t, auth(map[string]string{"good": "pass"}, "app"), auth(map[string]string{"other": "pass"}, "elsewhere"))
			image := signed(t, reg, "app:v1")
			creds := Merge(
				credentialsFor(t, reg.Host(), "wrong", "pass"),
				credentialsFor(t, reg.Host(), "other", "pass"),
				credentialsFor(t, reg.Host(), "good", "pass"),
			)
			a := testClient(t, Options{}, reg).With(creds)
			l := list(t, a, image)
			if len(l.Papers) != 3 || len(l.Unanswered) != 0 {
				t.Fatalf("got %+v", l)
			}
			fetchAll(t, a, image, l.Papers)
			reg.Reset()
			list(t, a, image)
			for _, r := range reg.Requests() {
				if r.Status == 401 || r.Status == 403 || r.Kind&evilregistry.Login != 0 {
					t.Errorf("it is known which credential opens the repository, and still: %d %s", r.Status, r.Path)
				}
			}
			_, err := testClient(t, Options{}, reg).With(Merge(
				credentialsFor(t, reg.Host(), "wrong", "pass"), credentialsFor(t, reg.Host(), "other", "pass"))).List(within(t, admission), image, nil)
			wantKind(t, err, verify.Unauthorized)
		})
	}
}

// Some registries hide what may not be read behind 404. What such a one says of a signature to a credential that opens
// nothing must not pass for "there is none".
func TestARegistryThatHidesWhatMayNotBeRead(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := signed(t, reg, "app:v1")
	good := "Basic " + base64.StdEncoding.EncodeToString([]byte("good:pass"))
	reg.On(evilregistry.Match{Kind: evilregistry.Manifest | evilregistry.Referrers | evilregistry.Blob, If: func(r *http.Request) bool {
		return r.Header.Get("Authorization") != good
	}}, evilregistry.Status(404, nil, ""))
	a := testClient(t, Options{}, reg).With(Merge(credentialsFor(t, reg.Host(), "other", "pass"), credentialsFor(t, reg.Host(), "good", "pass")))
	l := list(t, a, image)
	if len(l.Papers) != 3 || len(l.Unanswered) != 0 {
		t.Errorf("got %+v", l)
	}
	if _, err := a.Resolve(within(t, admission), tag(t, reg, "app:v1")); err != nil {
		t.Error(err)
	}
}

func TestCredentialsForOthersAreNotSent(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithBasicAuth(map[string]string{"u": "p"}, "orgevil/app"))
	image := reg.Push(t, "orgevil/app:v1", evilregistry.RandomImage(1))
	_, err := testClient(t, Options{}, reg).With(credentialsFor(t, reg.Host()+"/org", "u", "p")).List(within(t, admission), image, nil)
	wantKind(t, err, verify.Unauthorized)
	for _, r := range reg.Requests() {
		if r.Authorization != "" {
			t.Errorf("%s with %q", r.Path, r.Authorization)
		}
	}
}

func TestRowR08_ATokenThatIsWornOut(t *testing.T) {
	t.Parallel()
	users := map[string]string{"u": "p"}
	t.Run("after one use", func(t *testing.T) {
		t.Parallel()
		reg := evilregistry.New(t, evilregistry.WithTokenAuth(users, "app"), evilregistry.WithTokenUses(1))
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		reg.Push(t, "app:v2", evilregistry.RandomImage(1))
		a := testClient(t, Options{}, reg).With(credentialsFor(t, reg.Host(), "u", "p"))
		for _, ref := range []string{"app:v1", "app:v2"} {
			got, err := a.Resolve(within(t, admission), tag(t, reg, ref))
			if err != nil || got.DigestStr() != image.DigestStr() {
				t.Fatalf("%s: %v, %v", ref, got, err)
			}
		}
		if n := reg.Count(evilregistry.Token); n != 2 {
			t.Errorf("%d logins, want one for each use", n)
		}
		if n := reg.Count(evilregistry.Ping); n != 1 {
			t.Errorf("%d pings", n)
		}
	})
	t.Run("in flight, for many at once", func(t *testing.T) {
		t.Parallel()
		reg := evilregistry.New(t, evilregistry.WithTokenAuth(users, "app"))
		image := signed(t, reg, "app:v1")
		a := testClient(t, Options{}, reg).With(credentialsFor(t, reg.Host(), "u", "p"))
		list(t, a, image)
		reg.ExpireTokens()
		reg.Reset()
		if l := list(t, a, image); len(l.Unanswered) != 0 || len(l.Papers) != 3 {
			t.Errorf("got %+v", l)
		}
		if n := reg.Count(evilregistry.Token); n != 1 {
			t.Errorf("%d logins for one token that was worn out", n)
		}
	})
	t.Run("always", func(t *testing.T) {
		t.Parallel()
		reg := evilregistry.New(t, evilregistry.WithTokenAuth(users, "app"))
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		rule := reg.On(evilregistry.Match{Kind: evilregistry.ManifestByTag}, evilregistry.Status(401, http.Header{
			"Www-Authenticate": {`Bearer realm="` + reg.URL() + `/token",service="evilregistry"`}}, ""))
		a := testClient(t, Options{}, reg).With(credentialsFor(t, reg.Host(), "u", "p"))
		_, err := a.Resolve(within(t, admission), image.Context().Tag("v1"))
		wantKind(t, err, verify.Unauthorized)
		if rule.Hits() != 2 || reg.Count(evilregistry.Token) != 2 {
			t.Errorf("asked %d times with %d logins, want 2 and 2", rule.Hits(), reg.Count(evilregistry.Token))
		}
	})
	t.Run("by the clock, before it is used", func(t *testing.T) {
		t.Parallel()
		var at clock
		reg := evilregistry.New(t, evilregistry.WithTokenAuth(users, "app"), evilregistry.WithTokenLife(100*time.Second))
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		a := testClient(t, Options{Clock: at.now}, reg).With(credentialsFor(t, reg.Host(), "u", "p"))
		list(t, a, image)
		at.advance(89 * time.Second)
		list(t, a, image)
		if n := reg.Count(evilregistry.Token); n != 1 {
			t.Errorf("%d logins while the token is good", n)
		}
		at.advance(2 * time.Second)
		list(t, a, image)
		if n := reg.Count(evilregistry.Token); n != 2 {
			t.Errorf("%d logins, want another for a token about to end", n)
		}
		for _, r := range reg.Requests() {
			if r.Status == 401 && r.Kind != evilregistry.Ping {
				t.Errorf("401 for %s", r.Path)
			}
		}
	})
}

func TestManyWhoWaitForALoginShareIt(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTokenAuth(map[string]string{"u": "p"}, "app"), evilregistry.WithDelay(50*time.Millisecond))
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	a := testClient(t, Options{}, reg).With(credentialsFor(t, reg.Host(), "u", "p"))

	// The first caller leaves while the login runs.
	ctx, leave := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer leave()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := a.List(ctx, image, nil)
		wantGone(t, err)
	})
	time.Sleep(5 * time.Millisecond)
	for range 20 {
		wg.Go(func() {
			if _, err := a.List(within(t, admission), image, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if p, k := reg.Count(evilregistry.Ping), reg.Count(evilregistry.Token); p != 1 || k != 1 {
		t.Errorf("%d pings and %d logins, want 1 and 1", p, k)
	}
}

func TestAFailedLoginIsNotHeld(t *testing.T) {
	t.Parallel()
	for _, kind := range []evilregistry.Kind{evilregistry.Ping, evilregistry.Token} {
		for name, fault := range map[string]evilregistry.Fault{
			"503": evilregistry.Status(503, nil, ""), "500 with words": evilregistry.Status(500, nil, "hunter2canary"),
			"cut": evilregistry.CloseConnection(), "403": evilregistry.Status(403, nil, ""), "404": evilregistry.Status(404, nil, ""),
			"no JSON": evilregistry.Status(200, nil, "hunter2canary"), "no token": evilregistry.Status(200, nil, `{"refresh_token":"hunter2canary"}`),
			"endless": evilregistry.Huge(1 << 20),
		} {
			t.Run(kind.String()+" answers "+name, func(t *testing.T) {
				t.Parallel()
				reg := evilregistry.New(t, evilregistry.WithTokenAuth(map[string]string{"u": "p"}, "app"))
				image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
				rule := reg.On(evilregistry.Match{Kind: kind}, fault)
				a := testClient(t, Options{}, reg).With(credentialsFor(t, reg.Host(), "u", "p"))
				_, err := a.Resolve(within(t, admission), image.Context().Tag("v1"))
				if err == nil {
					t.Fatal("let in")
				}
				if strings.Contains(err.Error(), "hunter2canary") {
					t.Errorf("the answer to a login is repeated: %v", err)
				}
				want := verify.Unavailable
				switch name {
				case "403":
					want = verify.Unauthorized
				case "404", "no JSON", "no token", "endless":
					want = verify.Malformed
				}
				if kind == evilregistry.Ping && (name == "no JSON" || name == "no token" || name == "endless") {
					want = verify.Unauthorized // a ping of 200 asks for no login, and then there is one
				}
				wantKind(t, err, want)
				rule.Remove()
				if _, err := a.Resolve(within(t, admission), image.Context().Tag("v1")); err != nil {
					t.Errorf("right after the failure: %v", err)
				}
			})
		}
	}
}

func TestRow55_CredentialsGoToTheRegistrysOwnSite(t *testing.T) {
	t.Parallel()
	secrets := map[string]string{"a password": `{"username":"u","password":"hunter2canary"}`, "an identity token": `{"identitytoken":"hunter2canary"}`}
	for what, entry := range secrets {
		for _, tc := range []struct {
			name, realm string
			redirect    bool
			listed      []string
			sent        bool
		}{
			{name: "its own host", realm: "https://registry.example.com/token", sent: true},
			{name: "its own site", realm: "https://auth.example.com/token", sent: true},
			{name: "another site", realm: "https://evil.example.net/token"},
			{name: "another site that is listed", realm: "https://evil.example.net/token", listed: []string{"evil.example.net"}, sent: true},
			{name: "another site by redirect", realm: "https://auth.example.com/token", redirect: true},
			{name: "credentials in the URL", realm: "https://a:b@registry.example.com/token"},
			{name: "plain http", realm: "http://registry.example.com/token"},
			{name: "another scheme", realm: "file:///etc/passwd"},
			{name: "an address", realm: ""}, // evilregistry's own, which is by address
		} {
			t.Run(what+" and "+tc.name, func(t *testing.T) {
				t.Parallel()
				reg := evilregistry.New(t, evilregistry.WithTLS("registry.example.com", "auth.example.com"),
					evilregistry.WithTokenAuth(map[string]string{"u": "hunter2canary", "<token>": "hunter2canary"}, "app"), evilregistry.WithRealm(tc.realm))
				evil := evilregistry.New(t, evilregistry.WithTLS("evil.example.net"))
				image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
				if tc.redirect {
					reg.On(evilregistry.Match{Kind: evilregistry.Token}, evilregistry.Redirect("https://evil.example.net/token", 307))
				}
				c := namedClient(t, Options{TokenHosts: map[string][]string{"registry.example.com": tc.listed}}, map[string]*evilregistry.Registry{
					"registry.example.com:443": reg, "auth.example.com:443": reg, "evil.example.net:443": evil,
				})
				creds, err := ParseDockerConfig([]byte(`{"auths":{"registry.example.com":` + entry + `}}`))
				if err != nil {
					t.Fatal(err)
				}
				_, err = c.With(creds).List(within(t, admission), mustDigest(t, "registry.example.com/app@"+image.DigestStr()), nil)
				if strings.Contains(fmt.Sprint(err), "hunter2canary") {
					t.Errorf("the secret is in the message: %v", err)
				}
				if tc.listed == nil && tc.sent {
					if err != nil {
						t.Errorf("not let in: %v", err)
					}
					return
				}
				if tc.sent { // to the listed host, which gives no token
					if evil.Count(0) == 0 {
						t.Error("the listed host wasn't asked")
					}
					return
				}
				if err == nil {
					t.Error("let in")
				}
				for _, r := range evil.Requests() {
					if r.Authorization != "" || r.Body != "" || r.Method != http.MethodGet {
						t.Errorf("the other site was sent %s %s with %q and %q", r.Method, r.Path, r.Authorization, r.Body)
					}
				}
			})
		}
	}
}

func TestSameSite(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"index.docker.io", "auth.docker.io", true},
		{"registry.gitlab.com", "gitlab.com", true},
		{"registry.example.co.uk", "auth.example.co.uk", true},
		{"a.co.uk", "b.co.uk", false},
		{"registry.example.com", "registry.example.net", false},
		{"registry.example.com", "example.com.evil.net", false},
		{"alice.github.io", "bob.github.io", false},
		{"x.s3.amazonaws.com", "y.s3.amazonaws.com", false},
		{"registry.corp.internal", "auth.corp.internal", true},
		{"registry.one.internal", "auth.two.internal", false},
		{"registry.team.svc.cluster.local", "auth.team.svc.cluster.local", true},
		{"registry.team.svc.cluster.local", "evil.other.svc.cluster.local", false},
		{"registry.lan", "auth.lan", false},
		{"registry", "auth", false},
		{"registry", "registry", true},
		{"Registry.example.com", "AUTH.example.com", true},
		{"10.0.0.1", "10.0.0.2", false},
		{"10.0.0.1", "10.0.0.1", true},
		{"::1", "::2", false},
		{"com", "com", true},
		{"com", "net", false},
	} {
		if got := sameSite(tc.a, tc.b); got != tc.want {
			t.Errorf("%s and %s: %v, want %v", tc.a, tc.b, got, tc.want)
		}
		if got := sameSite(tc.b, tc.a); got != tc.want {
			t.Errorf("%s and %s: %v, want %v", tc.b, tc.a, got, tc.want)
		}
	}
}

func TestASecondRepositoryNeedsNoPing(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTokenAuth(map[string]string{"u": "p"}))
	one, two := reg.Push(t, "one:v1", evilregistry.RandomImage(1)), reg.Push(t, "two:v1", evilregistry.RandomImage(1))
	a := testClient(t, Options{}, reg).With(credentialsFor(t, reg.Host(), "u", "p"))
	list(t, a, one)
	list(t, a, two)
	if p, k := reg.Count(evilregistry.Ping), reg.Count(evilregistry.Token); p != 1 || k != 2 {
		t.Errorf("%d pings and %d tokens, want 1 and one for each repository", p, k)
	}
}

// ggcr pings some hosts by https and http at once. It must not be the answer to the wrong one that counts.
func TestHostsThatLookLocalAreAskedByTheSchemeThatIsMeant(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		time.Sleep(500 * time.Millisecond) // longer than ggcr waits before it tries http
		http.Error(w, "", http.StatusServiceUnavailable)
	}))
	defer server.Close()
	c := testClient(t, Options{Guard: NewGuard(GuardOptions{Exempt: []HostPort{{host: "127.0.0.1"}}})})
	transportOf(t, c, "https://registry.example").TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	host := strings.TrimPrefix(server.URL, "https://")
	_, err := c.With(Credentials{}).List(within(t, admission), mustDigest(t, host+"/app@"+someHash), nil)
	if fe := wantKind(t, err, verify.Unavailable); !strings.Contains(fe.Error(), "503") {
		t.Errorf("got %v", fe)
	}
	if asked.Load() == 0 {
		t.Error("not asked by https")
	}
}

func TestLoginsThatAreTooLargeAreRefused(t *testing.T) {
	t.Parallel()
	t.Run("a token", func(t *testing.T) {
		t.Parallel()
		for size, refused := range map[int]bool{maxAuthorization - len("Bearer "): false, maxAuthorization: true} {
			reg := evilregistry.New(t, evilregistry.WithTokenAuth(nil, "other"))
			image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
			reg.On(evilregistry.Match{Kind: evilregistry.Token}, evilregistry.Status(200, nil, `{"token":"`+strings.Repeat("x", size)+`"}`))
			c := testClient(t, Options{}, reg)
			_, err := c.With(Credentials{}).List(within(t, admission), image, nil)
			want := verify.Unauthorized // no token that this registry knows
			if refused {
				want = verify.Malformed
			}
			wantKind(t, err, want)
			if n := c.logins.sessions.Len(); refused && n != 0 {
				t.Errorf("%d sessions are held", n)
			}
		}
	})
	t.Run("a password", func(t *testing.T) {
		t.Parallel()
		reg := evilregistry.New(t)
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		_, err := testClient(t, Options{}, reg).With(credentialsFor(t, reg.Host(), "u", strings.Repeat("x", maxAuthorization-1))).List(within(t, admission), image, nil)
		wantKind(t, err, verify.Malformed)
	})
	t.Run("a challenge", func(t *testing.T) {
		t.Parallel()
		reg := evilregistry.New(t)
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		reg.On(evilregistry.Match{Kind: evilregistry.Ping}, evilregistry.Status(401, http.Header{
			"Www-Authenticate": {`Bearer realm="` + reg.URL() + `/token",service="` + strings.Repeat("x", maxChallenge) + `"`}}, ""))
		c := testClient(t, Options{}, reg)
		_, err := c.With(Credentials{}).List(within(t, admission), image, nil)
		if fe := wantKind(t, err, verify.Malformed); !strings.Contains(fe.Error(), "WWW-Authenticate") {
			t.Errorf("got %v", fe)
		}
		if c.logins.challenges.Len() != 0 {
			t.Error("the challenge is held")
		}
	})
}
