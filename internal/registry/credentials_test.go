package registry

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// users returns the user names that a repository is asked with, in order.
func users(t *testing.T, c Credentials, repository string) []string {
	t.Helper()
	repo, err := name.NewRepository(repository)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range c.For(repo).entries {
		out = append(out, e.secret.username)
	}
	return out
}

func TestRow57_CredentialsAreForTheirOwnPlace(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, location, repository string
		want                       bool
	}{
		{"the host", "ghcr.io", "ghcr.io/org/app", true},
		{"the host as a URL", "https://ghcr.io", "ghcr.io/org/app", true},
		{"the host as a URL with an API version", "https://ghcr.io/v2/", "ghcr.io/org/app", true},
		{"another host", "ghcr.io", "quay.io/org/app", false},
		{"a host that ends alike", "ghcr.io", "evil-ghcr.io/org/app", false},
		{"a host that begins alike", "ghcr.io", "ghcr.io.evil.example/org/app", false},
		{"an Azure look-alike", "*.azurecr.io", "x.azurecr.io.evil.example/app", false},
		{"the organisation", "ghcr.io/org", "ghcr.io/org/app", true},
		{"the repository itself", "ghcr.io/org/app", "ghcr.io/org/app", true},
		{"an organisation that begins alike", "ghcr.io/org", "ghcr.io/orgevil/app", false},
		{"the organisation with a slash", "ghcr.io/org/", "ghcr.io/org/app", true},
		{"the organisation with a slash, and one that begins alike", "ghcr.io/org/", "ghcr.io/orgevil/app", false},
		{"a repository below", "ghcr.io/org/app", "ghcr.io/org/app/sub", true},
		{"a repository beside", "ghcr.io/org/app", "ghcr.io/org/app2", false},
		{"a repository above", "ghcr.io/org/app", "ghcr.io/org", false},
		{"the same port", "registry.example.com:5000", "registry.example.com:5000/app", true},
		{"no port for a port", "registry.example.com", "registry.example.com:5000/app", false},
		{"a port for no port", "registry.example.com:5000", "registry.example.com/app", false},
		{"another port", "registry.example.com:5000", "registry.example.com:5001/app", false},
		{"the default port written out", "registry.example.com", "registry.example.com:443/app", false},
		{"a glob for a label", "*.example.com", "registry.example.com/app", true},
		{"a glob doesn't cross labels", "*.example.com", "a.b.example.com/app", false},
		{"a glob needs a label", "*.example.com", "example.com/app", false},
		{"a glob inside a label", "reg-*.example.com", "reg-eu.example.com/app", true},
		{"a glob inside a label of another", "reg-*.example.com", "mirror-eu.example.com/app", false},
		{"a glob doesn't stand for a path", "ghcr.io/*", "ghcr.io/org/app", false},
		{"a glob with a port", "*.example.com:5000", "registry.example.com:5000/app", true},
		{"Docker Hub by docker's own name for it", "https://index.docker.io/v1/", "alpine", true},
		{"Docker Hub by the name in references", "docker.io", "alpine", true},
		{"Docker Hub by its other name", "index.docker.io", "docker.io/library/alpine", true},
		{"an organisation on Docker Hub", "docker.io/acme", "acme/app", true},
		{"another organisation on Docker Hub", "docker.io/acme", "acme2/app", false},
		{"a glob that would match Docker Hub's other name", "*.docker.io", "alpine", false},
		{"a mirror of Docker Hub is not Docker Hub", "docker.io", "registry-1.docker.io/library/alpine", false},
		{"case counts", "GHCR.io", "ghcr.io/org/app", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := credentialsFor(t, tc.location, "user", "secret")
			if got := len(users(t, c, tc.repository)) == 1; got != tc.want {
				t.Errorf("credentials for %s used for %s: %v, want %v", tc.location, tc.repository, got, tc.want)
			}
		})
	}
}

func TestCredentialsAreTriedMostSpecificFirst(t *testing.T) {
	t.Parallel()
	c, err := ParseDockerConfig([]byte(`{"auths":{
		"*.example.com": {"username":"glob","password":"x"},
		"registry.example.com": {"username":"host","password":"x"},
		"registry.example.com/team": {"username":"team","password":"x"},
		"registry.example.com/team/app": {"username":"app","password":"x"},
		"registry.example.com/other": {"username":"other","password":"x"}
	}}`))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(users(t, c, "registry.example.com/team/app"), " ")
	if want := "app team host glob"; got != want {
		t.Errorf("tried in the order %q, want %q", got, want)
	}
}

func TestMergedCredentialsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	first, second := credentialsFor(t, "ghcr.io", "first", "x"), credentialsFor(t, "ghcr.io", "second", "x")
	wide := credentialsFor(t, "*.io", "wide", "x")
	if got := strings.Join(users(t, Merge(wide, first, second, first), "ghcr.io/a/b"), " "); got != "first second wide" {
		t.Errorf("tried in the order %q", got)
	}
	if Merge(first, second).ID() == Merge(second, first).ID() {
		t.Error("the order in which credentials are tried doesn't count in their ID")
	}
	if Merge(first, first).ID() != first.ID() {
		t.Error("the same credentials twice are others")
	}
	if Merge(Credentials{}, first).ID() != first.ID() {
		t.Error("merging nothing changes credentials")
	}
	if (Merge().ID() != verify.Access{}) || (Merge(Credentials{}, Credentials{}).ID() != verify.Access{}) {
		t.Error("nothing merged isn't anonymous")
	}
}

func TestParseDockerConfigForms(t *testing.T) {
	t.Parallel()
	basic := base64.StdEncoding.EncodeToString([]byte("user:pass:word"))
	unpadded := base64.RawStdEncoding.EncodeToString([]byte("user:pass:word"))
	for _, tc := range []struct {
		name, config string
		want         secret
	}{
		{"auth", `{"auths":{"ghcr.io":{"auth":"` + basic + `"}}}`, secret{username: "user", password: "pass:word"}},
		{"auth without padding", `{"auths":{"ghcr.io":{"auth":"` + unpadded + `"}}}`, secret{username: "user", password: "pass:word"}},
		{"auth wins over user and password", `{"auths":{"ghcr.io":{"username":"u","password":"p","auth":"` + basic + `"}}}`, secret{username: "user", password: "pass:word"}},
		{"user and password", `{"auths":{"ghcr.io":{"username":"u","password":"p","email":"e"}}}`, secret{username: "u", password: "p"}},
		{"the legacy form", `{"ghcr.io":{"auth":"` + basic + `","email":"e"}}`, secret{username: "user", password: "pass:word"}},
		{"an identity token", `{"auths":{"ghcr.io":{"identitytoken":"it"}}}`, secret{identityToken: "it"}},
		{"a registry token", `{"auths":{"ghcr.io":{"registrytoken":"rt"}}}`, secret{registryToken: "rt"}},
		{"an entry for a helper", `{"auths":{"ghcr.io":{}},"credsStore":"desktop"}`, secret{}},
		{"helpers alone", `{"credHelpers":{"ghcr.io":"x"},"credsStore":"desktop"}`, secret{}},
		{"an entry that is no registry", `{"auths":{"https://":{"username":"u","password":"p"}}}`, secret{}},
		{"empty", `{}`, secret{}},
		{"no auths", `{"auths":null}`, secret{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, err := ParseDockerConfig([]byte(tc.config))
			if err != nil {
				t.Fatal(err)
			}
			var got secret
			if repo, _ := name.NewRepository("ghcr.io/a/b"); len(c.For(repo).entries) > 0 {
				got = c.For(repo).entries[0].secret
			}
			if got != tc.want {
				t.Errorf("got another secret than wanted: %d/%d bytes of user, %d/%d of password",
					len(got.username), len(tc.want.username), len(got.password), len(tc.want.password))
			}
			if c.ID() == (verify.Access{}) != tc.want.anonymous() {
				t.Error("the zero ID is for anonymous credentials alone")
			}
		})
	}
}

func TestParseDockerConfigRefusesWithoutRepeatingSecrets(t *testing.T) {
	t.Parallel()
	const canary = "hunter2canary"
	big := `{"auths":{`
	for i := range maxEntries + 1 {
		big += fmt.Sprintf(`"r%d.example":{"auth":"%s"},`, i, canary)
	}
	big = strings.TrimSuffix(big, ",") + "}}"
	for name, config := range map[string]string{
		"not JSON":              canary,
		"JSON cut short":        `{"auths":{"ghcr.io":{"password":"` + canary,
		"a list":                `["` + canary + `"]`,
		"auths of another type": `{"auths":"` + canary + `"}`,
		"an entry of text":      `{"auths":{"ghcr.io":"` + canary + `"}}`,
		"a number as password":  `{"auths":{"ghcr.io":{"username":"` + canary + `","password":1}}}`,
		"auth not base64":       `{"auths":{"ghcr.io":{"auth":"` + canary + `!"}}}`,
		"auth without a colon":  `{"auths":{"ghcr.io":{"auth":"` + base64.StdEncoding.EncodeToString([]byte(canary)) + `"}}}`,
		"too many entries":      big,
		"too large":             `{"` + canary + strings.Repeat(" ", MaxDockerConfig) + `":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseDockerConfig([]byte(config))
			if err == nil {
				t.Fatal("it was taken")
			}
			encoded := base64.StdEncoding.EncodeToString([]byte(canary))
			if strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), encoded) {
				t.Errorf("the error repeats the secret: %v", err)
			}
		})
	}
}

func TestRow97_CredentialsArePrintedByNothing(t *testing.T) {
	t.Parallel()
	const canary = "hunter2canary"
	c := credentialsFor(t, "ghcr.io", "user"+canary, canary)
	client := testClient(t, Options{})
	access := client.With(c)
	wrapped := struct {
		C Credentials
		P *Credentials
	}{c, &c}
	opened := readerOf(t, client, c, "ghcr.io/a/b")
	papers := mustElsewhere(t, readerOf(t, client, c, "quay.io/a/b"), mustRepo(t, "ghcr.io/a/b"))
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "c", c, "w", wrapped)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "c", c)
	asJSON, err := json.Marshal(map[string]any{"c": c, "w": wrapped})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		c.String(), fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s %q %x %d", c, c, c, c, c, c, c),
		fmt.Sprintf("%v %+v %#v", wrapped, wrapped, wrapped),
		fmt.Sprintf("%v %+v %#v %x", c.entries[0].secret, c.entries[0].secret, c.entries[0].secret, c.entries[0].secret),
		fmt.Sprintf("%+v", access.creds), fmt.Sprintf("%v %+v %#v %s %x", access, access, access, access, access),
		fmt.Sprintf("%v %+v %#v %s %x", opened, opened, opened, opened, opened), fmt.Sprintf("%v %+v %#v %s %x", papers, papers, papers, papers, papers), logged.String(), string(asJSON),
	} {
		if strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%x", canary)) {
			t.Errorf("printed: %s", text)
		}
	}
}

func TestTheSameCredentialsGetTheSameAccess(t *testing.T) {
	t.Parallel()
	c := testClient(t, Options{})
	one, same := credentialsFor(t, "ghcr.io", "u", "p"), credentialsFor(t, "ghcr.io", "u", "p")
	if c.With(one) != c.With(same) {
		t.Error("the same credentials get two accesses")
	}
	seen := map[*Access]string{c.With(Credentials{}): "anonymous", c.With(one): "one"}
	for what, other := range map[string]Credentials{
		"another password": credentialsFor(t, "ghcr.io", "u", "q"),
		"another user":     credentialsFor(t, "ghcr.io", "v", "p"),
		"another place":    credentialsFor(t, "ghcr.io/x", "u", "p"),
		"a moved seam":     credentialsFor(t, "ghcr.io", "up", ""),
	} {
		if before, ok := seen[c.With(other)]; ok {
			t.Errorf("%s gets the access of %s", what, before)
		}
		seen[c.With(other)] = what
	}
	if c.With(Credentials{}).Access() != (verify.Access{}) {
		t.Error("anonymous access has an ID")
	}
	if c.With(one).Access() != one.ID() {
		t.Error("an access has another ID than its credentials")
	}
}

func TestForLeavesOutWhatIsForOtherRepositories(t *testing.T) {
	t.Parallel()
	ours, other := credentialsFor(t, "ghcr.io/ours", "u", "p"), credentialsFor(t, "quay.io", "u", "p")
	repo, _ := name.NewRepository("ghcr.io/ours/app")
	if Merge(ours, other).For(repo).ID() != ours.For(repo).ID() {
		t.Error("a pull secret for elsewhere makes another reader")
	}
	if (other.For(repo).ID() != verify.Access{}) {
		t.Error("a reader without credentials for the repository isn't anonymous")
	}
}

func FuzzParseDockerConfig(f *testing.F) {
	for _, seed := range []string{
		`{"auths":{"ghcr.io":{"auth":"dTpw"}}}`,
		`{"https://index.docker.io/v1/":{"username":"u","password":"p"}}`,
		`{"auths":{"*.example.com:5000/a/b":{"identitytoken":"t"}}}`,
		`{"auths":{"[::1]:5000":{"registrytoken":"t"}},"credsStore":"x"}`,
		`{"auths":null}`, `[]`, `{"auths":{"":{"auth":""}}}`, `{"auths":{"http://a@b/c?d#e":{"auth":"Og=="}}}`,
	} {
		f.Add([]byte(seed))
	}
	repo, err := name.NewRepository("ghcr.io/a/b")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseDockerConfig(data)
		if err != nil {
			return
		}
		again, err := ParseDockerConfig(data)
		if err != nil || again.ID() != c.ID() {
			t.Fatal("the same text is other credentials")
		}
		if Merge(c, again).ID() != c.ID() {
			t.Fatal("merged with themselves they are others")
		}
		for _, e := range c.For(repo).entries {
			if e.secret.anonymous() {
				t.Fatal("an entry with nothing to send")
			}
			if e.scope.path != "" && e.scope.path != "a" && e.scope.path != "a/b" {
				t.Fatalf("path %q was taken for a/b", e.scope.path)
			}
		}
	})
}
