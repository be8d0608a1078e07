package registry

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// maxOpened bounds the repositories for which it is remembered which of several credentials opens them, over all
// accesses: some 600 bytes each.
const maxOpened = 8192

// openedKey is a repository and who asks for it.
type openedKey struct {
	access     verify.Access
	repository string
}

// Access reads registries with one set of credentials. It implements verify.Fetcher, and resolves tags. It may be used
// from many goroutines. Every error is a *verify.FetchError.
type Access struct {
	client *Client
	id     verify.Access
	creds  Credentials
	push   bool // it logs in to write as well

	resolve  flights[string, resolved]
	presents queue[contentKey]
}

var _ verify.Fetcher = (*Access)(nil)

// Access identifies the credentials used. It implements verify.Fetcher.
func (a *Access) Access() verify.Access { return a.id }

// question is one thing to ask a repository.
type question struct {
	kind   RequestKind
	path   string   // below the repository
	page   *url.URL // in place of path: a further page
	accept string
	size   int64 // of the body, in bytes; negative: unknown
	limit  int64 // of the body, in bytes
	// gate says that the answer tells whether the repository is open to the credential used: then 404 is a reason to try
	// another, for some registries hide what may not be read. So it is as long as it isn't known which one opens it.
	gate bool
}

// answer is a body that came with status 200, whole.
type answer struct {
	body   []byte
	digest v1.Hash // of body
	header http.Header
	from   *url.URL // after redirects
	// release gives back the memory of a large body, which is held until it is no longer looked at; nil for others.
	release func()
}

// ask puts a question with each credential that is for the repository in turn, until one is let in, as the kubelet does.
func (a *Access) ask(ctx context.Context, repo name.Repository, q question) (*answer, error) {
	var denied error
	secrets, known := a.secrets(repo), a.settled(repo)
	for _, s := range secrets {
		var got *answer
		err := a.client.retrier.do(ctx, func() (err error) {
			got, err = once(ctx, a.client, repo, s, a.push, func(have *session) (*answer, error) { return a.client.get(ctx, repo, have, q) })
			return err
		})
		switch status := statusOf(err); {
		case err == nil:
			if len(secrets) > 1 {
				a.client.opened.Add(openedKey{a.id, repo.Name()}, s.id())
			}
			return got, nil
		case status == http.StatusUnauthorized || status == http.StatusForbidden:
			denied = err
		case status == http.StatusNotFound && (q.gate || !known):
			if denied == nil {
				denied = err
			}
		default:
			return nil, err
		}
	}
	return nil, denied
}

// secrets returns what the repository is asked with: first what it was opened with before, else the most specific.
func (a *Access) secrets(repo name.Repository) []secret {
	entries := a.creds.For(repo).entries
	if len(entries) == 0 {
		return []secret{{}}
	}
	known, ok := a.client.opened.Get(openedKey{a.id, repo.Name()})
	all := make([]secret, 0, len(entries))
	for _, e := range entries {
		if ok && e.secret.id() == known {
			all = slices.Insert(all, 0, e.secret)
			ok = false
			continue
		}
		all = append(all, e.secret)
	}
	return all
}

// settled tells whether it is known which credential opens the repository. While it isn't, what a place says to one
// credential may be different from what it says to the next.
func (a *Access) settled(repo name.Repository) bool {
	return len(a.creds.For(repo).entries) < 2 || a.client.opened.Contains(openedKey{a.id, repo.Name()})
}

// once does something with a session, and once more with another session if the one it had is turned away.
func once[T any](ctx context.Context, c *Client, repo name.Repository, s secret, push bool, do func(*session) (T, error)) (T, error) {
	var none T
	have, err := c.logins.session(ctx, repo, s, push, nil)
	if err != nil {
		return none, err
	}
	got, err := do(have)
	if statusOf(err) != http.StatusUnauthorized || !have.renewable {
		return got, err
	}
	if have, err = c.logins.session(ctx, repo, s, push, have); err != nil {
		return none, err
	}
	return do(have)
}

// get makes the request and reads its answer.
func (c *Client) get(ctx context.Context, repo name.Repository, s *session, q question) (_ *answer, err error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeouts.Request)
		defer cancel()
	}
	host := repo.RegistryStr()
	at, err := c.limits.enter(ctx, host)
	if err != nil {
		return nil, err
	}
	defer func() { at.leave(err) }()
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	target := s.origin
	target.Path = "/v2/" + repo.RepositoryStr() + "/" + q.path
	if q.page != nil {
		target = *q.page
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, refuse(verify.Forbidden, "not a URL to ask: %s", printable(err.Error()))
	}
	if q.accept != "" {
		req.Header.Set("Accept", q.accept)
	}
	client := http.Client{
		Transport:     &authorized{next: c.wire.of(host, q.kind, q.limit), session: s},
		CheckRedirect: c.rules.check(&s.origin, q),
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, failureOf(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, statusFailure(resp, c.now(), s.header != "")
	}
	got, err := c.read(ctx, at, resp, q, giveUp)
	if err != nil {
		return nil, failureOf(err)
	}
	got.header, got.from = resp.Header, resp.Request.URL
	return got, nil
}

func wrongSize(want int64) error {
	return refuse(verify.Malformed, "it isn't of the %d bytes that its descriptor says", want)
}

// authorized adds a session's Authorization to requests to the registry itself, and to no others.
type authorized struct {
	next    http.RoundTripper
	session *session
}

// RoundTrip implements http.RoundTripper.
func (a *authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Del("Authorization")
	if a.session.header != "" && sameHost(&a.session.origin, req.URL) {
		req.Header.Set("Authorization", a.session.header)
	}
	return a.next.RoundTrip(req)
}
