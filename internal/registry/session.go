package registry

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Bounds of what is remembered of logins.
const (
	// maxSessions bounds the sessions held, a token of some kilobytes each.
	maxSessions = 4096
	// maxAuthorization bounds what is sent to log in, in bytes: the largest tokens known are some 4 KiB, and servers
	// take headers of 8 to 16 KiB. All sessions together hold 64 MiB at most.
	maxAuthorization = 16 << 10
	// maxChallenges bounds the registries whose way of authenticating is remembered.
	maxChallenges = 1024
	// maxChallenge bounds the parameters of one, in bytes: they are a URL and a host's name.
	maxChallenge = 4 << 10
	// challengeAge is how long it is: it changes with a registry's configuration, and a failing login forgets it at once.
	challengeAge = time.Hour
)

// session is one login: what to send to one registry for one repository. It doesn't change; a new login is a new session.
type session struct {
	origin    url.URL   // scheme and host of the registry
	header    string    // Authorization; empty for none
	renewable bool      // a 401 may mean that it is worn out, so that another login may help
	renewAt   time.Time // when to log in anew without being told; zero if nobody said
	exchanged bool      // for a token, of the registry's token service
}

// sessionKey is a credential, a repository and what is done there, for which tokens are given.
type sessionKey struct {
	secret     [sha256.Size]byte
	repository string
	push       bool
}

// What tokens are asked for (Docker's token specification, "Resource actions").
const (
	pullScope = "pull"
	pushScope = "pull,push"
)

// scope returns what a token is asked for.
func (k sessionKey) scope() string {
	if k.push {
		return pushScope
	}
	return pullScope
}

// challenge is how a registry wants to be asked.
type challenge struct {
	*transport.Challenge
	at time.Time
}

// logins makes and holds sessions. Ping and token exchange are ggcr's, over our own transport; what is sent
// afterwards, and when a login is repeated, is decided here.
type logins struct {
	wire    *wire
	rules   rules
	realms  realms
	grants  *grants
	limits  *limits
	timeout time.Duration
	guard   panicGuard
	now     func() time.Time

	sessions   *lru.Cache[sessionKey, *session]
	challenges *lru.Cache[string, challenge]
	joined     flights[sessionKey, *session]
	pings      flights[string, challenge]
}

// session returns the session for a credential and a repository, logging in if there is none. A session that the
// registry turned away is given as stale: whoever comes with it gets another one, and only the first of them logs in.
// A failed login isn't kept.
func (l *logins) session(ctx context.Context, repo name.Repository, s secret, push bool, stale *session) (*session, error) {
	key := sessionKey{s.id(), repo.Name(), push}
	if have := l.usable(key, stale); have != nil {
		return have, nil
	}
	return l.joined.do(ctx, key, l.timeout, l.guard, func(ctx context.Context) (*session, error) {
		if have := l.usable(key, stale); have != nil { // another login ended just before
			return have, nil
		}
		made, err := l.login(ctx, repo, s, key.scope(), stale != nil)
		if err == nil && len(made.header) > maxAuthorization {
			err = refuse(verify.Malformed, "a token or password of %d bytes to log in with, over the bound of %d", len(made.header), maxAuthorization)
		}
		if err != nil {
			l.sessions.Remove(key)
			return nil, err
		}
		l.sessions.Add(key, made)
		return made, nil
	})
}

func (l *logins) usable(key sessionKey, stale *session) *session {
	have, ok := l.sessions.Get(key)
	if !ok || have == stale || !have.renewAt.IsZero() && !l.now().Before(have.renewAt) {
		return nil
	}
	if have.origin.Scheme != l.rules.passes.scheme(have.origin.Host) { // said otherwise of the host since
		return nil
	}
	return have
}

// login makes a session. Again says that the last one was turned away: then what the registry asks for may have
// changed as well, and unless that is a token, which is got anew, the registry is asked.
func (l *logins) login(ctx context.Context, repo name.Repository, s secret, scope string, again bool) (*session, error) {
	if s.grant == (grant{}) {
		return l.present(ctx, repo, s, scope, again)
	}
	s, until, err := l.grants.secret(ctx, repo, s.grant, again)
	if err != nil {
		return nil, err
	}
	made, err := l.present(ctx, repo, s, scope, again)
	if err == nil && !made.exchanged { // it holds what was got for the entry, and is good for as long
		made.renewable, made.renewAt = true, until
	}
	return made, err
}

// present makes a session with a secret that is at hand.
func (l *logins) present(ctx context.Context, repo name.Repository, s secret, scope string, again bool) (*session, error) {
	registry := repo.RegistryStr()
	origin := url.URL{Scheme: l.rules.passes.scheme(registry), Host: registry}
	if s.registryToken != "" { // it is the result of a login
		return &session{origin: origin, header: "Bearer " + s.registryToken}, nil
	}
	asked, ok := l.challenges.Get(origin.String())
	if !ok || l.now().Sub(asked.at) >= challengeAge || again && !strings.EqualFold(asked.Scheme, "bearer") {
		var err error
		asked, err = l.pings.do(ctx, origin.String(), l.timeout, l.guard, func(ctx context.Context) (challenge, error) {
			return l.ping(ctx, origin)
		})
		if err != nil {
			return nil, err
		}
		l.challenges.Add(origin.String(), asked)
	}
	if !strings.EqualFold(asked.Scheme, "bearer") {
		// Sent as well where no login was asked for: registries that anyone may read in part don't ask.
		return &session{origin: origin, header: s.basic(), renewable: asked.Scheme == ""}, nil
	}
	made, err := l.exchange(ctx, repo, s, scope, asked, origin)
	if err != nil {
		l.challenges.Remove(origin.String())
	}
	return made, err
}

// ping asks a registry how it wants to be asked.
func (l *logins) ping(ctx context.Context, origin url.URL) (_ challenge, err error) {
	at, err := l.limits.enter(ctx, origin.Host)
	if err != nil {
		return challenge{}, err
	}
	defer func() { at.leave(err) }()
	var options []name.Option
	if origin.Scheme == "http" {
		options = append(options, name.Insecure)
	}
	registry, err := name.NewRegistry(origin.Host, options...)
	if err != nil {
		return challenge{}, refuse(verify.Forbidden, "not a registry: %s", quote(origin.Host))
	}
	w := &watch{next: l.wire.of(origin.Host, KindPing, maxLogin), now: l.now, guard: l.guard, allow: func(req *http.Request) error {
		hops := redirects(req)
		if hops == 0 && req.URL.Scheme != origin.Scheme {
			return errOtherScheme // ggcr tries https and http with some hosts; here it is known which it is
		}
		return l.rules.redirect(&origin, req.URL, hops)
	}}
	asked, err := transport.Ping(ctx, registry, w)
	if err != nil {
		return challenge{}, w.explain("login", err)
	}
	if err := compact(asked); err != nil {
		return challenge{}, err
	}
	return challenge{asked, l.now()}, nil
}

// compact refuses a challenge that is too large to be remembered, and parts it from the header that it was read from.
func compact(c *transport.Challenge) error {
	n, parameters := len(c.Scheme), make(map[string]string, len(c.Parameters))
	for key, value := range c.Parameters {
		n += len(key) + len(value)
		parameters[strings.Clone(key)] = strings.Clone(value)
	}
	if n > maxChallenge {
		return refuse(verify.Malformed, "its WWW-Authenticate of %d bytes is over the bound of %d", n, maxChallenge)
	}
	c.Scheme, c.Parameters = strings.Clone(c.Scheme), parameters
	return nil
}

// exchange gets a token for one repository.
func (l *logins) exchange(ctx context.Context, repo name.Repository, s secret, scope string, asked challenge, origin url.URL) (_ *session, err error) {
	realm, err := url.Parse(asked.Parameters["realm"])
	if err != nil || realm.Host == "" {
		return nil, refuse(verify.Malformed, "the registry names no token service that could be asked: %s", quote(asked.Parameters["realm"]))
	}
	if err := l.realms.check(l.rules, repo, origin, realm, !s.anonymous()); err != nil {
		return nil, err
	}
	at, err := l.limits.enter(ctx, origin.Host)
	if err != nil {
		return nil, err
	}
	defer func() { at.leave(err) }()
	w := &watch{next: l.wire.of(origin.Host, KindToken, maxLogin), now: l.now, guard: l.guard, allow: func(req *http.Request) error {
		if redirects(req) > maxRedirects {
			return refuse(verify.Forbidden, "more than %d redirects", maxRedirects)
		}
		// A secret is in the header, or in the form of an OAuth2 request.
		secret := req.Header.Get("Authorization") != "" || req.Method != http.MethodGet
		return l.realms.check(l.rules, repo, origin, req.URL, secret)
	}}
	start := l.now()
	token, err := transport.Exchange(ctx, repo.Registry, s.authenticator(), w, []string{repo.Scope(scope)}, asked.Challenge)
	if err != nil {
		return nil, w.explain("token service "+printable(realm.Host), err)
	}
	value := token.AccessToken
	if value == "" {
		value = token.Token
	}
	made := &session{origin: origin, header: "Bearer " + value, renewable: true, exchanged: true}
	if token.ExpiresIn > 0 { // a tenth early, so that it doesn't end on its way
		made.renewAt = start.Add(time.Duration(token.ExpiresIn) * time.Second * 9 / 10)
	}
	return made, nil
}

// basic returns the Authorization header of RFC 7617, empty if the secret is no user and password.
func (s secret) basic() string {
	if s.username == "" || s.password == "" {
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(s.username+":"+s.password))
}
