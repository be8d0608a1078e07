package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/internal/registry/cloud"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// canarySecret stands for every secret that must not be seen.
const canarySecret = "hunter2canary"

// acr is a registry whose credential is got by auth.acr.
const acr = "contoso.azurecr.io"

// teller is a Login that gives one credential and counts.
type teller struct {
	user, password string
	life           time.Duration
	now            func() time.Time
	asked          atomic.Int64
	fail           atomic.Pointer[error]
}

func (s *teller) login(_ context.Context, host string) (string, string, time.Time, error) {
	s.asked.Add(1)
	if err := s.fail.Load(); err != nil {
		return "", canarySecret, time.Time{}, *err
	}
	if host != acr {
		return "", "", time.Time{}, fmt.Errorf("asked for %s", host)
	}
	return s.user, s.password, s.now().Add(s.life), nil
}

// mustOpen opens a repository.
func mustOpen(t *testing.T, c *Client, creds Credentials, repo string) Reader {
	t.Helper()
	r, err := c.Open(t.Context(), creds, mustRepo(t, repo))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// secretOf gives a docker config as the install's Secrets.
func secretOf(t *testing.T, configs map[string]string) func(context.Context, string) (Credentials, error) {
	t.Helper()
	return func(_ context.Context, name string) (Credentials, error) {
		config, ok := configs[name]
		if !ok {
			return Credentials{}, errors.New("no such Secret")
		}
		return ParseDockerConfig([]byte(config))
	}
}

func dockerConfig(location, user, password string) string {
	return fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, location, user, password)
}

func TestTheInstallsCredentialOpensItsPrefix(t *testing.T) {
	t.Parallel()
	for name, gate := range map[string]evilregistry.Option{
		"Basic": evilregistry.WithBasicAuth(map[string]string{"u": "p"}, "team/**"), "a token": evilregistry.WithTokenAuth(map[string]string{"u": "p"}, "team/**"),
	} {
		for _, auth := range []string{"{secretRef: {name: regcred}}", "{acr: {}}"} {
			t.Run(name+" by "+auth, func(t *testing.T) {
				t.Parallel()
				reg := evilregistry.New(t, evilregistry.WithTLS(acr), gate, evilregistry.WithRealm("https://"+acr+"/token"))
				image := signed(t, reg, "team/app:v1")
				source := &teller{user: "u", password: "p", life: time.Hour, now: time.Now}
				c := namedClient(t, Options{
					Registries: registries(t, "{prefix: "+acr+"/team, auth: "+auth+"}"), ACR: source.login,
					Secret: secretOf(t, map[string]string{"regcred": dockerConfig(acr, "u", "p")}),
				}, map[string]*evilregistry.Registry{acr + ":443": reg})
				r := mustOpen(t, c, Credentials{}, acr+"/team/app")
				digest, err := r.Resolve(within(t, admission), mustRepo(t, acr+"/team/app").Tag("v1"))
				if err != nil || digest.DigestStr() != image.DigestStr() {
					t.Fatalf("%v, %v", digest, err)
				}
				l, err := r.List(within(t, admission), digest, nil)
				if err != nil || len(l.Papers) != 3 || len(l.Unanswered) != 0 {
					t.Fatalf("%+v, %v", l, err)
				}
				for _, p := range l.Papers {
					if _, err := r.Fetch(within(t, admission), digest, p, verify.MaxPaper); err != nil {
						t.Error(err)
					}
				}
				if r.Access() == (verify.Access{}) {
					t.Error("it passes for anonymous")
				}
			})
		}
	}
}

func TestRow57_TheInstallsCredentialIsNotSentToLookAlikes(t *testing.T) {
	t.Parallel()
	look := "contoso.azurecr.io.evil.example"
	reg := evilregistry.New(t, evilregistry.WithTLS(acr, "ghcr.io", look),
		evilregistry.WithBasicAuth(map[string]string{"u": canarySecret}, "**"))
	image := signed(t, reg, "orgevil/app:v1")
	source := &teller{user: "u", password: canarySecret, life: time.Hour, now: time.Now}
	c := namedClient(t, Options{
		Registries: registries(t, "{prefix: "+acr+"/org, auth: {acr: {}}}", "{prefix: ghcr.io/org, auth: {secretRef: {name: regcred}}}"),
		ACR:        source.login, Secret: secretOf(t, map[string]string{"regcred": dockerConfig("ghcr.io", "u", canarySecret)}),
	}, map[string]*evilregistry.Registry{acr + ":443": reg, "ghcr.io:443": reg, look + ":443": reg})
	for _, repo := range []string{acr + "/orgevil/app", acr + "/app", "ghcr.io/orgevil/app", "ghcr.io/org-evil/app", look + "/org/app", look + "/orgevil/app"} {
		r := mustOpen(t, c, Credentials{}, repo)
		if r.Access() != (verify.Access{}) {
			t.Errorf("%s isn't read anonymously", repo)
		}
		_, err := r.List(within(t, admission), mustDigest(t, repo+"@"+image.DigestStr()), nil)
		wantKind(t, err, verify.Unauthorized)
	}
	if reg.Count(0) == 0 {
		t.Error("nothing was asked")
	}
	unseen(t, reg)
	if source.asked.Load() != 0 {
		t.Errorf("the cloud was asked %d times", source.asked.Load())
	}
}

// unseen fails if a registry was sent anything that is secret.
func unseen(t *testing.T, reg *evilregistry.Registry) {
	t.Helper()
	for _, r := range reg.Requests() {
		if r.Authorization != "" || r.Header.Get("Cookie") != "" || strings.Contains(fmt.Sprint(r.Header, r.Body, r.Query, r.Path), canarySecret) {
			t.Errorf("%s %s was asked with %v and %q", r.Host, r.Path, r.Header, r.Body)
		}
	}
}

func TestRow59_AnImageThatNobodyWasGivenAccessToIsUnauthorized(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTLS("reg.example.com"), evilregistry.WithBasicAuth(map[string]string{"install": canarySecret, "pod": "p"}, "**"))
	image := signed(t, reg, "private/app:v1")
	c := namedClient(t, Options{
		Registries: registries(t, "{prefix: reg.example.com/shared, auth: {secretRef: {name: regcred}}}"),
		Secret:     secretOf(t, map[string]string{"regcred": dockerConfig("reg.example.com", "install", canarySecret)}),
	}, map[string]*evilregistry.Registry{"reg.example.com:443": reg})
	there, missing := mustDigest(t, "reg.example.com/private/app@"+image.DigestStr()), mustDigest(t, "reg.example.com/private/none@"+someHash)
	said := map[string]bool{}
	for _, d := range []name.Digest{there, missing} {
		_, err := mustOpen(t, c, Credentials{}, d.Repository.Name()).List(within(t, admission), d, nil)
		said[wantKind(t, err, verify.Unauthorized).Error()] = true
	}
	if len(said) != 1 {
		t.Errorf("what is said tells whether the image is there: %v", said)
	}
	unseen(t, reg)
	// With the Pod's own secret the same image is read.
	if _, err := mustOpen(t, c, credentialsFor(t, "reg.example.com", "pod", "p"), there.Repository.Name()).List(within(t, admission), there, nil); err != nil {
		t.Error(err)
	}
}

func TestThePodsOwnCredentialsComeFirst(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		pod          string // the password in the Pod's secret; empty: it has none
		mayRead      bool   // whether the Pod's user may read the repository
		first        string // who is sent first
		asksInstall  bool
		installFails bool
		want         verify.FetchKind
		refused      bool
	}{
		"who has one that opens the image needs no other":         {pod: "p", mayRead: true, first: "pod"},
		"even where the install's can't be got":                   {pod: "p", mayRead: true, first: "pod", installFails: true},
		"one that doesn't open it is followed by the install's":   {pod: "p", first: "pod", asksInstall: true},
		"one that the registry doesn't know is followed likewise": {pod: "wrong", first: "pod", asksInstall: true},
		"without one the install's is the first":                  {first: "install", asksInstall: true},
		"where neither can be had nothing is known":               {pod: "wrong", first: "pod", asksInstall: true, installFails: true, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			users := map[string]string{"install": "i"}
			if tc.mayRead {
				users["pod"] = "p"
			}
			reg := evilregistry.New(t, evilregistry.WithTLS(acr), evilregistry.WithBasicAuth(users, "app"), evilregistry.WithBasicAuth(map[string]string{"pod": "p"}, "other"))
			image := signed(t, reg, "app:v1")
			source := &teller{user: "install", password: "i", life: time.Hour, now: time.Now}
			if tc.installFails {
				err := errors.New("the cloud is away")
				source.fail.Store(&err)
			}
			c := namedClient(t, Options{Registries: registries(t, "{prefix: "+acr+", auth: {acr: {}}}"), ACR: source.login},
				map[string]*evilregistry.Registry{acr + ":443": reg})
			var creds Credentials
			if tc.pod != "" {
				creds = credentialsFor(t, acr, "pod", tc.pod)
			}
			_, err := mustOpen(t, c, creds, acr+"/app").List(within(t, admission), mustDigest(t, acr+"/app@"+image.DigestStr()), nil)
			if tc.refused {
				wantKind(t, err, verify.Unavailable)
			} else if err != nil {
				t.Error(err)
			}
			if (source.asked.Load() > 0) != tc.asksInstall {
				t.Errorf("the cloud was asked %d times", source.asked.Load())
			}
			basic := map[string]string{secret{username: "pod", password: tc.pod}.basic(): "pod", secret{username: "install", password: "i"}.basic(): "install"}
			first := ""
			for _, r := range reg.Requests() {
				if first == "" && r.Authorization != "" {
					first = basic[r.Authorization]
				}
			}
			if first != tc.first {
				t.Errorf("first came the credential of %q, want %q", first, tc.first)
			}
		})
	}
}

func TestATokenIsHeldUntilShortlyBeforeItsEnd(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	reg := evilregistry.New(t, evilregistry.WithTLS(acr), evilregistry.WithBasicAuth(map[string]string{"u": "p"}, "**"))
	one, two := signed(t, reg, "app:v1"), signed(t, reg, "other:v1")
	source := &teller{user: "u", password: "p", life: time.Hour, now: clock}
	c := namedClient(t, Options{Registries: registries(t, "{prefix: "+acr+"/app, auth: {acr: {}}}", "{prefix: "+acr+"/other, auth: {acr: {}}}"), ACR: source.login, Clock: clock},
		map[string]*evilregistry.Registry{acr + ":443": reg})
	ask := func(repo string, digest name.Digest) verify.Access {
		t.Helper()
		c.contents = newContents()
		r := mustOpen(t, c, Credentials{}, acr+"/"+repo)
		if err := r.Present(within(t, admission), mustDigest(t, acr+"/"+repo+"@"+digest.DigestStr())); err != nil {
			t.Fatal(err)
		}
		return r.Access()
	}
	before := ask("app", one)
	if ask("other", two) == before {
		t.Error("two entries are the same reader")
	}
	offset.Store(int64(54 * time.Minute))
	ask("app", one)
	if n := source.asked.Load(); n != 1 {
		t.Errorf("%d logins for a token of an hour within 54 minutes, and one host", n)
	}
	offset.Store(int64(56 * time.Minute))
	if ask("app", one) != before {
		t.Error("who reads with the next token is another reader")
	}
	if n := source.asked.Load(); n != 2 {
		t.Errorf("%d logins, want a second one five minutes before the end", n)
	}
}

func TestRenewalOfTokens(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	for life, want := range map[time.Duration]time.Duration{
		time.Minute: 54 * time.Second, 10 * time.Minute: 9 * time.Minute, time.Hour: 55 * time.Minute,
		12 * time.Hour: 11*time.Hour + 55*time.Minute, 24 * 365 * time.Hour: maxTokenHeld,
	} {
		if got, err := renewal(now, now.Add(life)); err != nil || got.Sub(now) != want {
			t.Errorf("%s: %s, %v; want %s", life, got.Sub(now), err, want)
		}
	}
	if got, err := renewal(now, time.Time{}); err != nil || got.Sub(now) != tokenHeld {
		t.Errorf("without an end: %s, %v", got.Sub(now), err)
	}
	for _, gone := range []time.Time{now, now.Add(-time.Hour)} {
		if _, err := renewal(now, gone); err == nil {
			t.Errorf("a token that ended at %s is taken at %s", gone, now)
		}
	}
}

func TestATokenThatIsTurnedAwayIsGotAnewUnlessItIsNew(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	reg := evilregistry.New(t, evilregistry.WithTLS(acr), evilregistry.WithBasicAuth(map[string]string{"u": "second"}, "**"))
	image := signed(t, reg, "app:v1")
	source := &teller{user: "u", password: "first", life: 12 * time.Hour, now: clock}
	c := namedClient(t, Options{Registries: registries(t, "{prefix: "+acr+", auth: {acr: {}}}"), ACR: source.login, Clock: clock},
		map[string]*evilregistry.Registry{acr + ":443": reg})
	ask := func() error {
		return mustOpen(t, c, Credentials{}, acr+"/app").Present(within(t, admission), mustDigest(t, acr+"/app@"+image.DigestStr()))
	}
	for range 3 {
		wantKind(t, ask(), verify.Unauthorized)
	}
	if n := source.asked.Load(); n != 1 {
		t.Errorf("%d logins for a token that was new", n)
	}
	source.password = "second" // as when the first was revoked
	offset.Store(int64(2 * tokenTrusted))
	if err := ask(); err != nil {
		t.Error(err)
	}
	if n := source.asked.Load(); n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
}

func TestManyWhoNeedATokenCostOneLogin(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTLS(acr), evilregistry.WithBasicAuth(map[string]string{"u": "p"}, "**"))
	var all []name.Digest
	for i := range 8 {
		all = append(all, mustDigest(t, fmt.Sprintf("%s/app%d@%s", acr, i, reg.Push(t, fmt.Sprintf("app%d:v1", i), evilregistry.RandomImage(1)).DigestStr())))
	}
	source := &teller{user: "u", password: "p", life: time.Hour, now: time.Now}
	slow := func(ctx context.Context, host string) (string, string, time.Time, error) {
		time.Sleep(100 * time.Millisecond)
		return source.login(ctx, host)
	}
	c := namedClient(t, Options{Registries: registries(t, "{prefix: "+acr+", auth: {acr: {}}}"), ACR: slow}, map[string]*evilregistry.Registry{acr + ":443": reg})
	var wg sync.WaitGroup
	for _, d := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := mustOpen(t, c, Credentials{}, d.Repository.Name()).Present(within(t, admission), d); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if n := source.asked.Load(); n != 1 {
		t.Errorf("%d logins", n)
	}
}

func TestALoginThatFailsIsNotHeldAndTellsNothingSecret(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		auth  string
		login Login
		said  string // beside the prefix
		told  string // to the operator
	}{
		"an error of any kind": {auth: "{acr: {}}", login: func(context.Context, string) (string, string, time.Time, error) {
			return "", canarySecret, time.Time{}, errors.New("sent " + canarySecret)
		}, said: "auth.acr", told: canarySecret},
		"one of our own": {auth: "{acr: {}}", login: cloud.NewACR(cloud.Options{Getenv: func(string) string { return "" }, MetadataClient: nowhere(), Client: nowhere()}),
			said: "the log says why", told: "login to " + acr},
		"nothing in time": {auth: "{acr: {}}", login: func(ctx context.Context, _ string) (string, string, time.Time, error) {
			<-ctx.Done()
			return "", "", time.Time{}, ctx.Err()
		}, said: "no answer in the time given"},
		"a panic": {auth: "{acr: {}}", login: func(context.Context, string) (string, string, time.Time, error) { panic(canarySecret) }, said: "the log says why"},
		"no password": {auth: "{acr: {}}", login: func(context.Context, string) (string, string, time.Time, error) {
			return "u", "", time.Now().Add(time.Hour), nil
		}, said: "the log says why", told: "no user and password"},
		"a user that is two": {auth: "{acr: {}}", login: func(context.Context, string) (string, string, time.Time, error) {
			return "u:" + canarySecret, "p", time.Now().Add(time.Hour), nil
		}, said: "the log says why", told: "no user and password"},
		"a token that has ended": {auth: "{acr: {}}", login: func(context.Context, string) (string, string, time.Time, error) {
			return "u", canarySecret, time.Now().Add(-time.Hour), nil
		}, said: "the log says why", told: "is the clock here right?"},
		"no such login":         {auth: "{acr: {}}", said: "this program can't get it"},
		"no Secret":             {auth: "{secretRef: {name: none}}", said: "auth.secretRef", told: "no such Secret"},
		"a Secret for others":   {auth: "{secretRef: {name: others}}", said: "the log says why", told: "no credential for " + acr},
		"a Secret of no config": {auth: "{secretRef: {name: junk}}", said: "the log says why", told: "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t, evilregistry.WithTLS(acr), evilregistry.WithBasicAuth(map[string]string{"u": "p"}, "**"))
			image := signed(t, reg, "team/app:v1")
			source := &teller{user: "u", password: "p", life: time.Hour, now: time.Now}
			var mended atomic.Bool
			configs := map[string]string{"others": dockerConfig("other.example", "u", canarySecret), "junk": canarySecret}
			var told []string
			c := namedClient(t, Options{
				Registries: registries(t, "{prefix: "+acr+"/team, auth: "+tc.auth+"}"), Timeouts: Timeouts{Login: 300 * time.Millisecond},
				Secret:       secretOf(t, configs),
				OnLoginError: func(prefix string, err error) { told = append(told, prefix+": "+err.Error()) },
			}, map[string]*evilregistry.Registry{acr + ":443": reg})
			if tc.login != nil {
				c.logins.grants.clouds[authACR] = func(ctx context.Context, host string) (string, string, time.Time, error) {
					if mended.Load() {
						return source.login(ctx, host)
					}
					return tc.login(ctx, host)
				}
			}
			ask := func() error {
				return mustOpen(t, c, Credentials{}, acr+"/team/app").Present(within(t, admission), mustDigest(t, acr+"/team/app@"+image.DigestStr()))
			}
			fe := wantKind(t, ask(), verify.Unavailable)
			for _, want := range []string{acr + "/team", tc.said} {
				if !strings.Contains(fe.Error(), want) {
					t.Errorf("%q isn't said: %v", want, fe)
				}
			}
			for err := error(fe); err != nil; err = errors.Unwrap(err) {
				if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), canarySecret) {
					t.Errorf("the secret is in the error: %#v", err)
				}
			}
			if len(told) == 0 || !strings.HasPrefix(told[0], acr+"/team: ") || !strings.Contains(told[0], tc.told) {
				t.Errorf("the operator is told %q", told)
			}
			if reg.Count(0) != 0 {
				t.Error("the registry was asked without the credential")
			}
			if mended.Store(true); tc.login != nil {
				if err := ask(); err != nil {
					t.Errorf("the failure was held: %v", err)
				}
			}
		})
	}
}

func TestRow97_ASecretOfTheInstallThatIsRotatedCountsWithinAMinute(t *testing.T) {
	t.Parallel()
	for name, gate := range map[string]func(map[string]string, ...string) evilregistry.Option{"Basic": evilregistry.WithBasicAuth, "a token": evilregistry.WithTokenAuth} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var offset atomic.Int64
			clock := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
			reg := evilregistry.New(t, gate(map[string]string{"new": "n"}, "**"))
			image := signed(t, reg, "app:v1")
			configs := map[string]string{"regcred": dockerConfig(reg.Host(), "old", "o")}
			c := testClient(t, Options{Clock: clock, Registries: registries(t, "{prefix: "+reg.Host()+", auth: {secretRef: {name: regcred}}}"), Secret: secretOf(t, configs)}, reg)
			ask := func() error {
				return mustOpen(t, c, Credentials{}, image.Repository.Name()).Present(within(t, admission), image)
			}
			wantKind(t, ask(), verify.Unauthorized)
			configs["regcred"] = dockerConfig(reg.Host(), "new", "n")
			wantKind(t, ask(), verify.Unauthorized) // it is held
			offset.Store(int64(secretHeld))
			if err := ask(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhoReadsIsToldApart(t *testing.T) {
	t.Parallel()
	pod, other := credentialsFor(t, acr, "pod", "p"), credentialsFor(t, acr, "pod", "q")
	seen := map[verify.Access]string{}
	for what, tc := range map[string]struct {
		entries []string
		creds   Credentials
	}{
		"anonymous":             {entries: []string{"{prefix: " + acr + "}"}},
		"a Pod":                 {creds: pod},
		"another Pod":           {creds: other},
		"the install":           {entries: []string{"{prefix: " + acr + ", auth: {acr: {}}}"}},
		"the install below":     {entries: []string{"{prefix: " + acr + "/team, auth: {acr: {}}}"}},
		"the install by Secret": {entries: []string{"{prefix: " + acr + ", auth: {secretRef: {name: a}}}"}},
		"by another Secret":     {entries: []string{"{prefix: " + acr + ", auth: {secretRef: {name: b}}}"}},
		"a Pod and the install": {entries: []string{"{prefix: " + acr + ", auth: {acr: {}}}"}, creds: pod},
		"by a mirror":           {entries: []string{"{prefix: " + acr + ", mirror: m.example}"}},
		"by another mirror":     {entries: []string{"{prefix: " + acr + ", mirror: m.example/x}"}},
		"a Pod by a mirror":     {entries: []string{"{prefix: " + acr + ", mirror: m.example}"}, creds: pod},
		"by a mirror with credentials": {
			entries: []string{"{prefix: " + acr + ", mirror: m.example}", "{prefix: m.example, auth: {secretRef: {name: a}}}"}},
	} {
		c := namedClient(t, Options{Registries: registries(t, tc.entries...)}, nil)
		id := mustOpen(t, c, tc.creds, acr+"/team/app").Access()
		if twin, ok := seen[id]; ok {
			t.Errorf("%s and %s are one reader", what, twin)
		}
		seen[id] = what
		if again := mustOpen(t, c, tc.creds, acr+"/team/app").Access(); again != id {
			t.Errorf("%s isn't the same reader twice", what)
		}
		if (id == verify.Access{}) != (what == "anonymous") {
			t.Errorf("%s is %x", what, id)
		}
	}
}
