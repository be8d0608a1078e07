package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/pratique-dev/pratique/pkg/verify"
)

const (
	// secretHeld is for how long a Secret of the install is held before it is read again: as long as those of Pods.
	secretHeld = 60 * time.Second
	// tokenHeld is for how long a cloud's token is held whose end isn't told.
	tokenHeld = 5 * time.Minute
	// maxTokenHeld bounds for how long any is: twelve hours, what the longest that are known live (ECR).
	maxTokenHeld = 12 * time.Hour
	// tokenMargin is by how much a token is got anew before its end, at most; at least a tenth of its life.
	tokenMargin = 5 * time.Minute
	// tokenTrusted is for how long a token that the registry turns away isn't the suspect: a new one would be turned away
	// as well, and whoever asks for images that nobody may read would make us log in to the cloud each time.
	tokenTrusted = time.Minute
)

// Login gets a credential for one registry of a cloud, HOST as in a reference, as the workload or the node that this
// runs on; package cloud has them. It is asked only for hosts that are exactly such registries, and ends with ctx. The
// zero time means that the end isn't known.
type Login = func(ctx context.Context, host string) (username, password string, expires time.Time, err error)

// grant is the install's own credential for a prefix: how it is got, and not the credential. It identifies who reads,
// so that a token that is got anew doesn't make everything that was read with the last one unknown. The zero grant is none.
type grant struct {
	kind     authKind
	prefix   string
	registry string
	secret   string // with authSecret: its name
}

// source is where grants are got from: one for all the prefixes that share it.
type source struct {
	kind authKind
	name string // of the Secret, else of the registry
}

func (g grant) source() source {
	if g.kind == authSecret {
		return source{g.kind, g.secret}
	}
	return source{g.kind, g.registry}
}

// got is what a source gave.
type got struct {
	creds     Credentials
	at, until time.Time
}

// grants gets the install's own credentials and holds them, those of clouds until shortly before their end. A failure is
// never held.
type grants struct {
	clouds  map[authKind]Login
	read    func(ctx context.Context, name string) (Credentials, error)
	report  func(prefix string, err error)
	timeout time.Duration
	guard   panicGuard
	now     func() time.Time

	held   *lru.Cache[source, got]
	joined flights[source, got]
}

func newGrants(o Options, guard panicGuard) *grants {
	return &grants{
		clouds: map[authKind]Login{authECR: o.ECR, authGAR: o.GAR, authACR: o.ACR},
		read:   o.Secret, report: o.OnLoginError, guard: guard, now: o.Clock,
		timeout: o.Timeouts.Login * 3 / 4, // the rest is for the registry's own login
		held:    newLRU[source, got](maxRegistryEntries),
	}
}

// secret returns the credential for a repository that the grant covers, and when to get it anew. Again says that the
// registry has turned the last one away.
func (g *grants) secret(ctx context.Context, repo name.Repository, which grant, again bool) (secret, time.Time, error) {
	at := which.source()
	have, ok := g.usable(at, again)
	if !ok {
		var err error
		have, err = g.joined.do(ctx, at, g.timeout, g.guard, func(ctx context.Context) (got, error) {
			if have, ok := g.usable(at, again); ok { // another ended just before
				return have, nil
			}
			var made got
			err := g.guard.run(func() (err error) {
				made, err = g.get(ctx, at)
				return err
			})
			if err != nil {
				g.tell(which, err)
				return got{}, err
			}
			g.held.Add(at, made)
			return made, nil
		})
		if err != nil {
			return secret{}, time.Time{}, which.failed(err)
		}
	}
	mine := have.creds.For(repo).entries
	if len(mine) == 0 {
		err := fmt.Errorf("it has no credential for %s", repo.RegistryStr())
		g.tell(which, err)
		return secret{}, time.Time{}, which.failed(err)
	}
	return mine[0].secret, have.until, nil
}

// usable returns what is held, if it is still good.
func (g *grants) usable(at source, again bool) (got, bool) {
	have, ok := g.held.Get(at)
	now := g.now()
	ok = ok && now.Before(have.until) && !(again && now.Sub(have.at) >= tokenTrusted)
	return have, ok
}

// get asks a source.
func (g *grants) get(ctx context.Context, at source) (got, error) {
	asked := g.now()
	if at.kind == authSecret {
		if g.read == nil {
			return got{}, errNoSource
		}
		creds, err := g.read(ctx, at.name)
		return got{creds, asked, asked.Add(secretHeld)}, err
	}
	login := g.clouds[at.kind]
	if login == nil {
		return got{}, errNoSource
	}
	user, password, expires, err := login(ctx, at.name)
	if err != nil {
		return got{}, err
	}
	if user == "" || password == "" || strings.Contains(user, ":") {
		return got{}, errors.New("it gave no user and password")
	}
	until, err := renewal(asked, expires)
	if err != nil {
		return got{}, err
	}
	host, port := splitPort(at.name)
	whole, err := newScope(host, port, "")
	if err != nil {
		return got{}, err
	}
	return got{Credentials{entries: []entry{{whole, secret{username: user, password: password}}}}, asked, until}, nil
}

// renewal says when a token is to be got anew.
func renewal(now, expires time.Time) (time.Time, error) {
	life := expires.Sub(now)
	switch {
	case expires.IsZero():
		return now.Add(tokenHeld), nil
	case life <= 0:
		return time.Time{}, fmt.Errorf("the token that it gave ended at %s: is the clock here right?", expires.UTC().Format(time.RFC3339))
	}
	return now.Add(min(life-min(life/10, tokenMargin), maxTokenHeld)), nil
}

// errNoSource says that this program was given no such way to get a credential.
var errNoSource = errors.New("this program has no such login")

// tell tells the operator what went wrong.
func (g *grants) tell(which grant, err error) {
	if g.report != nil {
		g.report(which.prefix, err)
	}
}

// failed says, to whoever asks for the image, that the credential could not be got, and no more: what a cloud says of
// it may be secret, and the install's identity isn't their affair.
func (g grant) failed(err error) error {
	f := &failure{kind: verify.Unavailable}
	why := "the log says why"
	switch {
	case errors.Is(err, errNoSource):
		why = "this program can't get it; use credentials of your own"
	case errors.Is(err, context.DeadlineExceeded):
		why, f.cause = "no answer in the time given", context.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		why, f.cause = "cancelled while waiting for it", context.Canceled
	}
	f.text = fmt.Sprintf("the credential that `registries` gives for %s (auth.%s) could not be got: %s", g.prefix, g.kind, why)
	return f
}
