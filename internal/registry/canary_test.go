package registry

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// canaryHost is a host that a registry leads us to. It takes any request, and should be sent nothing that is secret.
const canaryHost = "canary.example.net"

// bearer is who reads, and how its credential comes to be used.
type bearer struct {
	name    string
	config  string // of the Pod
	entries string // of the install, after the prefix
}

func bearers() []bearer {
	at := func(secret string) string { return `{"auths":{"` + acr + `":` + secret + `}}` }
	return []bearer{
		{name: "a Pod's password", config: at(`{"username":"u","password":"` + canarySecret + `"}`)},
		{name: "a Pod's identity token", config: at(`{"identitytoken":"` + canarySecret + `"}`)},
		{name: "the install's Secret", entries: ", auth: {secretRef: {name: regcred}}"},
		{name: "a cloud's token", entries: ", auth: {acr: {}}"},
		{name: "a Pod's that isn't let in, then a cloud's", config: at(`{"username":"u","password":"old` + canarySecret + `"}`), entries: ", auth: {acr: {}}"},
	}
}

// canaryScene is a registry that asks for a credential, a canary, and who reads.
type canaryScene struct {
	reg, canary *evilregistry.Registry
	client      *Client
	creds       Credentials
}

// sceneOf starts one. The canary has a credential of its own in the install's registries, which is for its own images.
func sceneOf(t *testing.T, b bearer, realm string, gate gate) *canaryScene {
	t.Helper()
	users := map[string]string{"u": canarySecret, "<token>": canarySecret}
	s := &canaryScene{
		reg:    evilregistry.New(t, evilregistry.WithTLS(acr), gate(users, "app"), evilregistry.WithRealm(realm)),
		canary: evilregistry.New(t, evilregistry.WithTLS(canaryHost)),
	}
	source := &teller{user: "u", password: canarySecret, life: time.Hour, now: time.Now}
	s.client = namedClient(t, Options{
		Registries: registries(t, "{prefix: "+acr+b.entries+"}", "{prefix: "+canaryHost+", auth: {secretRef: {name: canary}}}"),
		ACR:        source.login,
		Secret: secretOf(t, map[string]string{
			"regcred": dockerConfig(acr, "u", canarySecret), "canary": dockerConfig(canaryHost, "u", canarySecret),
		}),
	}, map[string]*evilregistry.Registry{acr + ":443": s.reg, canaryHost + ":443": s.canary})
	if b.config != "" {
		var err error
		if s.creds, err = ParseDockerConfig([]byte(b.config)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// read does all that is done with an image, as far as it is let.
func (s *canaryScene) read(t *testing.T, digest string) []error {
	t.Helper()
	image := mustDigest(t, acr+"/app@"+digest)
	r := mustOpen(t, s.client, s.creds, acr+"/app")
	ctx := within(t, admission)
	_, resolved := r.Resolve(ctx, image.Repository.Tag("v1"))
	l, listed := r.List(ctx, image, nil)
	errs := []error{resolved, listed, r.Present(ctx, image)}
	for _, e := range l.Unanswered {
		errs = append(errs, e)
	}
	for _, p := range l.Papers {
		_, err := r.Fetch(ctx, image, p, verify.MaxPaper)
		errs = append(errs, err)
	}
	for _, err := range errs {
		if err != nil && strings.Contains(err.Error(), canarySecret) {
			t.Errorf("the secret is in the message: %v", err)
		}
	}
	return errs
}

// gate makes a registry ask for credentials.
type gate = func(users map[string]string, repos ...string) evilregistry.Option

// eachBearer runs a test for everyone who may read, at a registry that takes the credential itself and at one that gives
// a token for it.
func eachBearer(t *testing.T, test func(*testing.T, bearer, gate)) {
	t.Helper()
	for _, b := range bearers() {
		if !strings.Contains(b.config, "identitytoken") { // which can't be used there
			t.Run(b.name+" by Basic", func(t *testing.T) {
				t.Parallel()
				test(t, b, evilregistry.WithBasicAuth)
			})
		}
		t.Run(b.name+" for a token", func(t *testing.T) {
			t.Parallel()
			test(t, b, evilregistry.WithTokenAuth)
		})
	}
}

const ownRealm = "https://" + acr + "/token"

func TestRow45_NoCredentialIsSentAfterABlobsRedirect(t *testing.T) {
	t.Parallel()
	eachBearer(t, func(t *testing.T, b bearer, gate gate) {
		s := sceneOf(t, b, ownRealm, gate)
		image := signed(t, s.reg, "app:v1")
		s.reg.On(blobs, evilregistry.Redirect("https://"+canaryHost, 307))
		s.read(t, image.DigestStr())
		if s.canary.Count(evilregistry.Blob) == 0 {
			t.Error("the redirect was not followed")
		}
		unseen(t, s.canary)
	})
}

func TestRow56_NoCredentialIsSentAfterALocation(t *testing.T) {
	t.Parallel()
	for _, kind := range []evilregistry.Kind{evilregistry.ManifestByTag, evilregistry.ManifestByDigest, evilregistry.Referrers, evilregistry.Ping} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			eachBearer(t, func(t *testing.T, b bearer, gate gate) {
				s := sceneOf(t, b, ownRealm, gate)
				image := signed(t, s.reg, "app:v1")
				location := "https://" + canaryHost
				if kind == evilregistry.Referrers {
					location += "/v2/app/referrers/" + image.DigestStr()
				}
				first := s.reg.Once(evilregistry.Match{Kind: kind}, evilregistry.Redirect(location, 302))
				second := s.reg.On(evilregistry.Match{Kind: kind}, evilregistry.Redirect(location, 307))
				s.read(t, image.DigestStr())
				s.read(t, image.DigestStr())
				once := kind == evilregistry.Ping // whose answer, if it is one, is remembered
				if first.Hits() == 0 || second.Hits() == 0 && !once || s.canary.Count(0) == 0 {
					t.Errorf("%d and %d redirects, %d requests at the canary", first.Hits(), second.Hits(), s.canary.Count(0))
				}
				unseen(t, s.canary)
			})
		})
	}
}

func TestRow56_NoCredentialIsSentAfterALink(t *testing.T) {
	t.Parallel()
	for name, link := range map[string]string{
		"another host":      `<https://` + canaryHost + `/v2/app/referrers/DIGEST?n=2>; rel="next"`,
		"another scheme":    `<http://` + acr + `/v2/app/referrers/DIGEST?n=2>; rel="next"`,
		"without a scheme":  `<//` + canaryHost + `/v2/app/referrers/DIGEST?n=2>; rel="next"`,
		"a user":            `<https://` + acr + `@` + canaryHost + `/v2/app/referrers/DIGEST?n=2>; rel="next"`,
		"another port":      `<https://` + acr + `:8443/v2/app/referrers/DIGEST?n=2>; rel="next"`,
		"another path":      `</v2/other/referrers/DIGEST?n=2>; rel="next"`,
		"two, one of which": `</v2/app/referrers/DIGEST?n=2>; rel="next", <https://` + canaryHost + `/>; rel=next`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, b := range bearers()[2:4] {
				s := sceneOf(t, b, ownRealm, evilregistry.WithTokenAuth)
				image := signed(t, s.reg, "app:v1")
				rule := s.reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.Header("Link", strings.ReplaceAll(link, "DIGEST", image.DigestStr())))
				errs := s.read(t, image.DigestStr())
				if rule.Hits() == 0 {
					t.Error("the Link was not met")
				}
				refused := false
				for _, err := range errs {
					refused = refused || err != nil
				}
				if !refused {
					t.Error("a list that goes on elsewhere passes for whole")
				}
				if n := s.canary.Count(0); n != 0 {
					t.Errorf("the canary got %d requests", n)
				}
			}
		})
	}
}

func TestRow55_NoCredentialIsSentToARealmElsewhere(t *testing.T) {
	t.Parallel()
	for name, realm := range map[string]string{
		"another site":                "https://" + canaryHost + "/token",
		"another site by way of ours": ownRealm, // which redirects: what is asked there is asked by nobody
		"a look-alike":                "https://" + acr + "." + canaryHost + "/token",
		"a user of ours":              "https://" + acr + "@" + canaryHost + "/token",
	} {
		for _, b := range bearers() {
			t.Run(name+" by "+b.name, func(t *testing.T) {
				t.Parallel()
				s := sceneOf(t, b, realm, evilregistry.WithTokenAuth)
				image := signed(t, s.reg, "app:v1")
				if realm == ownRealm {
					s.reg.On(evilregistry.Match{Kind: evilregistry.Token}, evilregistry.Redirect("https://"+canaryHost+"/token", 307))
				}
				for _, err := range s.read(t, image.DigestStr()) {
					if err == nil {
						t.Error("let in")
					}
				}
				if n := s.canary.Count(0); n != 0 && realm != ownRealm {
					t.Errorf("the canary got %d requests", n)
				}
				unseen(t, s.canary)
			})
		}
	}
}

func TestRow55_ATokenHostOfAnEntryIsForItsPrefixAlone(t *testing.T) {
	t.Parallel()
	for repo, sent := range map[string]bool{"team/app": true, "teamx/app": false, "other/app": false, "team/own/app": false} {
		t.Run(repo, func(t *testing.T) {
			t.Parallel()
			login := evilregistry.New(t, evilregistry.WithTLS("login.example.net"))
			reg := evilregistry.New(t, evilregistry.WithTLS("reg.example.com"), evilregistry.WithTokenAuth(map[string]string{"u": canarySecret}, "**"),
				evilregistry.WithRealm("https://login.example.net/token"))
			c := namedClient(t, Options{Registries: registries(t, "{prefix: reg.example.com/team, tokenHosts: [login.example.net]}", "{prefix: reg.example.com/team/own}")},
				map[string]*evilregistry.Registry{"reg.example.com:443": reg, "login.example.net:443": login})
			_, err := mustOpen(t, c, credentialsFor(t, "reg.example.com", "u", canarySecret), "reg.example.com/"+repo).
				List(within(t, admission), mustDigest(t, "reg.example.com/"+repo+"@"+someHash), nil)
			if err == nil || (login.Count(0) > 0) != sent {
				t.Errorf("%v, %d requests at the token service", err, login.Count(0))
			}
			if fe := (&verify.FetchError{}); !sent {
				if fe = wantKind(t, err, verify.Forbidden); !strings.Contains(fe.Error(), "tokenHosts") {
					t.Errorf("the cure isn't told: %v", fe)
				}
			}
		})
	}
}

func TestRow57_ACanaryInTheImagesPlaceIsReadAnonymously(t *testing.T) {
	t.Parallel()
	for _, b := range bearers() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			look := acr + ".evil.example"
			canary := evilregistry.New(t, evilregistry.WithTLS(look), evilregistry.WithBasicAuth(map[string]string{"u": canarySecret}, "app"))
			s := sceneOf(t, b, ownRealm, evilregistry.WithBasicAuth)
			c := namedClient(t, Options{
				Registries: s.client.registries, ACR: s.client.logins.grants.clouds[authACR], Secret: s.client.logins.grants.read,
			}, map[string]*evilregistry.Registry{look + ":443": canary})
			_, err := mustOpen(t, c, s.creds, look+"/app").List(within(t, admission), mustDigest(t, look+"/app@"+someHash), nil)
			wantKind(t, err, verify.Unauthorized)
			if canary.Count(0) == 0 {
				t.Error("the canary was not asked")
			}
			unseen(t, canary)
		})
	}
}

// Each way to lead us to a canary within, with the dial guard as it is: nothing arrives there.
func TestRow54_ACanaryWithinGetsNoRequest(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	canary := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(canary.Close)
	inside := canary.Listener.Addr().String()
	_, port, err := net.SplitHostPort(inside)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{inside, "localhost:" + port, "[::ffff:127.0.0.1]:" + port} {
		for vector, scene := range map[string]func(*testing.T) (*Client, string){
			"image host": func(t *testing.T) (*Client, string) { return testClient(t, Options{}), host + "/app" },
			"mirror": func(t *testing.T) (*Client, string) {
				if strings.HasPrefix(host, "[") {
					return testClient(t, Options{Registries: registries(t, "{prefix: "+acr+", mirror: 127.0.0.1:"+port+"}")}), acr + "/app"
				}
				return testClient(t, Options{Registries: registries(t, "{prefix: "+acr+", mirror: \""+host+"\"}")}), acr + "/app"
			},
			"realm": func(t *testing.T) (*Client, string) {
				reg := evilregistry.New(t, evilregistry.WithTokenAuth(nil, "app"), evilregistry.WithRealm("https://"+host+"/token"))
				return testClient(t, Options{}, reg), reg.Host() + "/app"
			},
			"Link": func(t *testing.T) (*Client, string) {
				reg := evilregistry.New(t)
				signed(t, reg, "app:v1")
				reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.Header("Link", `<https://`+host+`/>; rel="next"`))
				return testClient(t, Options{}, reg), reg.Host() + "/app"
			},
			"Location": func(t *testing.T) (*Client, string) {
				reg := evilregistry.New(t)
				reg.On(evilregistry.Match{}, evilregistry.Redirect("https://"+host, 307))
				return testClient(t, Options{}, reg), reg.Host() + "/app"
			},
		} {
			t.Run(vector+" "+host, func(t *testing.T) {
				c, repo := scene(t)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				r, err := c.Open(ctx, Credentials{}, mustRepo(t, repo))
				if err != nil {
					return // not even a name of a registry
				}
				l, err := r.List(ctx, mustDigest(t, repo+"@"+someHash), nil)
				if err == nil && len(l.Unanswered) == 0 {
					t.Error("let in")
				}
			})
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the canary got %d requests", n)
	}
}
