package evilregistry

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// tokenLife is how long a token lasts unless WithTokenLife says otherwise: the
// 60 s that the token specification names as the least a client may assume,
// five times over.
const tokenLife = 5 * time.Minute

// gate decides who may see which repository. Its rules are grants: these users
// may read and write these repositories. A repository that some grant names is
// private; all others are public.
type gate struct {
	basic, bearer bool
	grants        []grant
	realm         string
	uses          int // requests a token is good for; 0: no limit
	life          time.Duration

	mu     sync.Mutex
	tokens map[string]*token
}

type grant struct {
	users map[string]string // user to password
	repos []string          // globs over the repository's path
}

type token struct {
	repos   []string // exact paths it opens
	left    int      // uses; negative: no limit
	expires time.Time
}

// WithBasicAuth asks for Basic credentials. The users given may use the
// repositories given, as globs over the path ("team/**"); without globs, all.
// It may be given several times, for users with different rights.
func WithBasicAuth(users map[string]string, repos ...string) Option {
	return func(s *settings) error {
		if s.gate.bearer {
			return errors.New("evilregistry: both Basic and bearer authentication")
		}
		s.gate.basic = true
		return s.gate.grant(users, repos)
	}
}

// WithTokenAuth asks for bearer tokens, given out at /token for one repository
// each (Docker's token specification: GET with Basic credentials, or POST in
// the OAuth2 form). Users and repos are as in WithBasicAuth. A user "<token>"
// has an identity token in the place of a password.
func WithTokenAuth(users map[string]string, repos ...string) Option {
	return func(s *settings) error {
		if s.gate.basic {
			return errors.New("evilregistry: both Basic and bearer authentication")
		}
		s.gate.bearer = true
		return s.gate.grant(users, repos)
	}
}

// WithTokenUses makes a token good for n requests; after them the registry
// answers 401 although expires_in has not passed.
func WithTokenUses(n int) Option {
	return func(s *settings) error { s.gate.uses = n; return nil }
}

// WithTokenLife makes tokens expire, by expires_in, to the second.
func WithTokenLife(d time.Duration) Option {
	return func(s *settings) error { s.gate.life = d; return nil }
}

// WithRealm changes the realm that the challenge names: the registry sends its
// clients, with their credentials, elsewhere.
func WithRealm(url string) Option {
	return func(s *settings) error { s.gate.realm = url; return nil }
}

func (g *gate) grant(users map[string]string, repos []string) error {
	if len(repos) == 0 {
		repos = []string{"**"}
	}
	for _, pattern := range repos {
		mustGlob(pattern)
	}
	g.grants = append(g.grants, grant{users, repos})
	return nil
}

// complete fills in what depends on the registry's address.
func (g *gate) complete(url string) {
	if g.realm == "" {
		g.realm = url + tokenPath
	}
	if g.life == 0 {
		g.life = tokenLife
	}
	g.tokens = map[string]*token{}
}

// ExpireTokens makes every token given out so far worthless.
func (r *Registry) ExpireTokens() {
	r.gate.mu.Lock()
	defer r.gate.mu.Unlock()
	clear(r.gate.tokens)
}

// admit lets a request pass or answers it: 401 with a challenge, or 403 where
// the user is known and the repository is not theirs.
func (g *gate) admit(w http.ResponseWriter, r *http.Request, to target) bool {
	switch {
	case g.basic:
		return g.admitBasic(w, r, to)
	case g.bearer:
		return g.admitBearer(w, r, to)
	}
	return true
}

func (g *gate) admitBasic(w http.ResponseWriter, r *http.Request, to target) bool {
	user, password, given := r.BasicAuth()
	known := given && g.knows(user, password)
	switch {
	case given && !known, to.repo == "" && !known, !known && g.private(to.repo):
		w.Header().Set("WWW-Authenticate", `Basic realm="evilregistry"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		return false
	case to.repo != "" && g.private(to.repo) && !g.opens(user, password, to.repo):
		refuse(w, http.StatusForbidden, "DENIED", "requested access to the resource is denied")
		return false
	}
	return true
}

func (g *gate) admitBearer(w http.ResponseWriter, r *http.Request, to target) bool {
	challenge := fmt.Sprintf(`Bearer realm=%q,service="evilregistry"`, g.realm)
	if to.repo != "" {
		challenge += fmt.Sprintf(`,scope="repository:%s:pull"`, to.repo)
	}
	bearer, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch live, opens := g.spend(bearer, to.repo); {
	case given && live && opens:
		return true
	case given && live:
		challenge += `,error="insufficient_scope"`
	case given:
		challenge += `,error="invalid_token"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	return false
}

// spend uses a token once. It tells whether the token was good, and whether it
// opens the repository; a request without repository needs any good token.
func (g *gate) spend(value, repo string) (live, opens bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.tokens[value]
	if t == nil || t.left == 0 || !time.Now().Before(t.expires) {
		return false, false
	}
	if t.left > 0 {
		t.left--
	}
	return true, repo == "" || slices.Contains(t.repos, repo)
}

// issue is the token endpoint. A token is given to anyone whose credentials are
// not wrong; what it opens depends on who asks.
func (g *gate) issue(w http.ResponseWriter, r *http.Request) {
	if !g.bearer {
		http.NotFound(w, r)
		return
	}
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "UNSUPPORTED", "malformed form")
		return
	}
	user, password, given := credentials(r)
	if given && !g.knows(user, password) {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		return
	}
	fresh := &token{left: -1, expires: time.Now().Add(g.life)}
	if g.uses > 0 {
		fresh.left = g.uses
	}
	for _, scope := range strings.Fields(strings.Join(r.Form["scope"], " ")) {
		parts := strings.Split(scope, ":")
		if len(parts) != 3 || parts[0] != "repository" {
			continue
		}
		if repo := parts[1]; !g.private(repo) || given && g.opens(user, password, repo) {
			fresh.repos = append(fresh.repos, repo)
		}
	}
	value := rand.Text()
	g.mu.Lock()
	g.tokens[value] = fresh
	g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"token": value, "access_token": value, "expires_in": int(g.life.Seconds()),
		"issued_at": time.Now().UTC().Format(time.RFC3339),
	})
}

// credentials reads what a token request carries: a Basic header, or the form
// fields of an OAuth2 grant.
func credentials(r *http.Request) (user, password string, given bool) {
	if user, password, given = r.BasicAuth(); given {
		return user, password, true
	}
	if r.Method == http.MethodPost {
		switch r.PostForm.Get("grant_type") {
		case "refresh_token":
			return "<token>", r.PostForm.Get("refresh_token"), true
		case "password":
			return r.PostForm.Get("username"), r.PostForm.Get("password"), true
		}
	}
	return "", "", false
}

// knows reports whether some grant has this user with this password.
func (g *gate) knows(user, password string) bool {
	return slices.ContainsFunc(g.grants, func(gr grant) bool { return gr.knows(user, password) })
}

func (gr grant) knows(user, password string) bool {
	want, ok := gr.users[user]
	return ok && want == password
}

func (gr grant) names(repo string) bool {
	return slices.ContainsFunc(gr.repos, func(pattern string) bool { return glob(pattern, repo) })
}

// private reports whether some grant names the repository.
func (g *gate) private(repo string) bool {
	return slices.ContainsFunc(g.grants, func(gr grant) bool { return gr.names(repo) })
}

// opens reports whether some grant gives this user this repository.
func (g *gate) opens(user, password, repo string) bool {
	return slices.ContainsFunc(g.grants, func(gr grant) bool {
		return gr.knows(user, password) && gr.names(repo)
	})
}

// refuse writes an error in the form of the distribution specification.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"errors": []map[string]string{{"code": code, "message": message}},
	})
}
