package evilregistry_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pratique-dev/pratique/test/evilregistry"
)

func TestBasicAuthOpensEachUsersRepositoriesOnly(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t,
		evilregistry.WithBasicAuth(map[string]string{"ann": "a"}, "team-a/**"),
		evilregistry.WithBasicAuth(map[string]string{"ben": "b"}, "team-b/**"))
	for _, repo := range []string{"team-a/app", "team-b/app", "public/app"} {
		reg.Push(t, repo+":v1", evilregistry.RandomImage(1))
	}
	c := client(t)
	for _, want := range []struct {
		who, path string
		status    int
	}{
		{"", "/v2/", 401},
		{"ann:a", "/v2/", 200},
		{"", "/v2/public/app/manifests/v1", 200},
		{"ann:a", "/v2/public/app/manifests/v1", 200},
		{"ann:wrong", "/v2/public/app/manifests/v1", 401},
		{"", "/v2/team-a/app/manifests/v1", 401},
		{"ann:a", "/v2/team-a/app/manifests/v1", 200},
		{"ann:b", "/v2/team-a/app/manifests/v1", 401},
		{"ben:b", "/v2/team-a/app/manifests/v1", 403},
		{"ben:b", "/v2/team-b/app/manifests/v1", 200},
		{"eve:", "/v2/team-b/app/manifests/v1", 401},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", reg.URL()+want.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user, password, ok := strings.Cut(want.who, ":"); ok {
			req.SetBasicAuth(user, password)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want.status {
			t.Errorf("%q on %s: %d, want %d", want.who, want.path, resp.StatusCode, want.status)
		}
		if challenge := resp.Header.Get("WWW-Authenticate"); (want.status == 401) != strings.HasPrefix(challenge, "Basic ") {
			t.Errorf("%q on %s: challenge %q", want.who, want.path, challenge)
		}
	}
}

func TestTokenAuthWorksWithARealClient(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]evilregistry.Option{
		"token": evilregistry.WithTokenAuth(map[string]string{"ann": "a", "<token>": "refresh-me"}, "team/**"),
		"basic": evilregistry.WithBasicAuth(map[string]string{"ann": "a"}, "team/**"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t, opt)
			private := reg.Push(t, "team/app:v1", evilregistry.RandomImage(1))
			public := reg.Push(t, "public/app:v1", evilregistry.RandomImage(2))
			ann := remote.WithAuth(&authn.Basic{Username: "ann", Password: "a"})
			if _, err := remote.Get(private, ann); err != nil {
				t.Errorf("ann: %v", err)
			}
			if _, err := remote.Get(private); err == nil {
				t.Error("anonymous read a private image")
			}
			if _, err := remote.Get(private, remote.WithAuth(&authn.Basic{Username: "ann", Password: "x"})); err == nil {
				t.Error("a wrong password read a private image")
			}
			if _, err := remote.Get(public); err != nil {
				t.Errorf("public image: %v", err)
			}
			if err := remote.Write(reg.Repo("team/new").Tag("v1"), evilregistry.RandomImage(3), ann); err != nil {
				t.Errorf("push: %v", err)
			}
			if name == "token" {
				identity := remote.WithAuth(authn.FromConfig(authn.AuthConfig{IdentityToken: "refresh-me"}))
				if _, err := remote.Get(private, identity); err != nil {
					t.Errorf("identity token: %v", err)
				}
			}
		})
	}
}

// token asks the token endpoint for one scope.
func token(t *testing.T, reg *evilregistry.Registry, user, password, scope string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", reg.URL()+"/token?service=evilregistry&scope="+url.QueryEscape(scope), nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var out struct {
		Token     string `json:"token"`
		ExpiresIn int    `json:"expires_in"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out.Token
}

func TestTokensAreForOneRepositoryAndWearOut(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTokenAuth(map[string]string{"ann": "a"}), evilregistry.WithTokenUses(2))
	reg.Push(t, "one:v1", evilregistry.RandomImage(1))
	reg.Push(t, "two:v1", evilregistry.RandomImage(2))
	c := client(t)
	get := func(repo, bearer string) reply {
		return ask(t, c, "GET", reg.URL()+"/v2/"+repo+"/manifests/v1", "Authorization", "Bearer "+bearer)
	}
	one := token(t, reg, "ann", "a", "repository:one:pull")
	if got := get("one", one); got.status != 200 {
		t.Errorf("first use: %d", got.status)
	}
	wrong := get("two", one)
	if wrong.status != 401 || !strings.Contains(wrong.header.Get("WWW-Authenticate"), `scope="repository:two:pull",error="insufficient_scope"`) {
		t.Errorf("other repository: %d %v", wrong.status, wrong.header)
	}
	worn := get("one", one)
	if worn.status != 401 || !strings.Contains(worn.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("third use: %d %v", worn.status, worn.header)
	}
	if got := get("one", token(t, reg, "", "", "repository:one:pull")); got.status != 401 {
		t.Errorf("an anonymous token opened a private repository: %d", got.status)
	}
	if tok := token(t, reg, "ann", "wrong", "repository:one:pull"); tok != "" {
		t.Error("a wrong password got a token")
	}
	fresh := token(t, reg, "ann", "a", "repository:one:pull")
	reg.ExpireTokens()
	if got := get("one", fresh); got.status != 401 {
		t.Errorf("after ExpireTokens: %d", got.status)
	}
}

func TestTokensEndWithTheirLife(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTokenAuth(map[string]string{"ann": "a"}), evilregistry.WithTokenLife(time.Nanosecond))
	tok := token(t, reg, "ann", "a", "repository:one:pull")
	if got := ask(t, client(t), "GET", reg.URL()+"/v2/", "Authorization", "Bearer "+tok); got.status != 401 {
		t.Errorf("status %d", got.status)
	}
}

func TestARealmElsewhereSeesWhatTheClientSends(t *testing.T) {
	t.Parallel()
	thief := evilregistry.New(t, evilregistry.WithTokenAuth(map[string]string{"ann": "a", "<token>": "r"}))
	reg := evilregistry.New(t, evilregistry.WithTokenAuth(map[string]string{"ann": "a"}), evilregistry.WithRealm(thief.URL()+"/token"))
	got := ask(t, client(t), "GET", reg.URL()+"/v2/")
	if want := `Bearer realm="` + thief.URL() + `/token",service="evilregistry"`; got.header.Get("WWW-Authenticate") != want {
		t.Errorf("challenge %q, want %q", got.header.Get("WWW-Authenticate"), want)
	}
	// A client without scruples: its secrets must show in the thief's journal.
	token(t, thief, "ann", "a", "repository:one:pull")
	resp, err := client(t).PostForm(thief.URL()+"/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"r"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	seen := thief.Requests()
	if len(seen) != 2 || !strings.HasPrefix(seen[0].Authorization, "Basic ") || !strings.Contains(seen[1].Body, "refresh_token=r") {
		t.Errorf("journal: %+v", seen)
	}
	if resp.StatusCode != 200 {
		t.Errorf("the form was not readable after it was logged: %d", resp.StatusCode)
	}
}

func TestOneRegistryHasOneWayToAuthenticate(t *testing.T) {
	t.Parallel()
	users := map[string]string{"ann": "a"}
	if reg, err := evilregistry.Start(evilregistry.WithBasicAuth(users), evilregistry.WithTokenAuth(users)); err == nil {
		reg.Close()
		t.Error("both were accepted")
	}
}

func TestFaultsComeAfterAuthenticationExceptForLogins(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTokenAuth(map[string]string{"ann": "a"}))
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	blob := reg.Once(evilregistry.Match{Kind: evilregistry.Manifest}, evilregistry.Status(503, nil, ""))
	ping := reg.Once(evilregistry.Match{Kind: evilregistry.Ping}, evilregistry.Status(503, nil, ""))
	tok := reg.Once(evilregistry.Match{Kind: evilregistry.Token}, evilregistry.Status(503, nil, ""))
	c := client(t)
	if got := ask(t, c, "GET", manifestURL(reg, image)); got.status != 401 || blob.Hits() != 0 {
		t.Errorf("without a token: %d, %d hits", got.status, blob.Hits())
	}
	if got := ask(t, c, "GET", reg.URL()+"/v2/"); got.status != 503 || ping.Hits() != 1 {
		t.Errorf("ping: %d, %d hits", got.status, ping.Hits())
	}
	if got := ask(t, c, "GET", reg.URL()+"/token"); got.status != 503 || tok.Hits() != 1 {
		t.Errorf("token: %d, %d hits", got.status, tok.Hits())
	}
	good := token(t, reg, "ann", "a", "repository:app:pull")
	if got := ask(t, c, "GET", manifestURL(reg, image), "Authorization", "Bearer "+good); got.status != 503 || blob.Hits() != 1 {
		t.Errorf("with a token: %d, %d hits", got.status, blob.Hits())
	}
}
