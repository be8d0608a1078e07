package registry

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"

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
	header http.Header
	from   *url.URL // after redirects
}

// ask puts a question with each credential that is for the repository in turn, until one is let in, as the kubelet does.
func (a *Access) ask(ctx context.Context, repo name.Repository, q question) (*answer, error) {
	var denied error
	secrets, known := a.secrets(repo), a.settled(repo)
	for _, s := range secrets {
		var got *answer
		err := a.client.retrier.do(ctx, func() (err error) {
			got, err = a.client.once(ctx, repo, s, q)
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

// once asks one time, and once more with another session if the one it had is turned away.
func (c *Client) once(ctx context.Context, repo name.Repository, s secret, q question) (*answer, error) {
	have, err := c.logins.session(ctx, repo, s, nil)
	if err != nil {
		return nil, err
	}
	got, err := c.get(ctx, repo, have, q)
	if statusOf(err) != http.StatusUnauthorized || !have.renewable {
		return got, err
	}
	if have, err = c.logins.session(ctx, repo, s, have); err != nil {
		return nil, err
	}
	return c.get(ctx, repo, have, q)
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
	body, err := c.read(ctx, at, resp, q)
	if err != nil {
		return nil, failureOf(err)
	}
	return &answer{body: body, header: resp.Header, from: resp.Request.URL}, nil
}

// read reads a body whole. Its memory is reserved as it grows, to at most its announced length or the bound.
func (c *Client) read(ctx context.Context, at *seat, resp *http.Response, q question) ([]byte, error) {
	want := resp.ContentLength
	if q.size >= 0 {
		if want >= 0 && want != q.size {
			return nil, wrongSize(q.size)
		}
		want = q.size
	}
	if want < 0 {
		want = q.limit
	}
	most := want + 1 // one more tells a body that is full from one that is too long
	room := at.reserve(most)
	defer room.free()
	// What is announced isn't believed: memory is taken as bytes come.
	body := make([]byte, 0, min(most, firstBuffer))
	for {
		n, err := resp.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if q.size >= 0 && int64(len(body)) > q.size {
			break
		}
		if int64(len(body)) == most {
			return nil, refuse(verify.Malformed, "the answer is longer than it said")
		}
		if len(body) == cap(body) {
			larger := min(2*int64(cap(body)), most)
			if err := room.grow(ctx, larger); err != nil {
				return nil, err
			}
			body = append(make([]byte, 0, larger), body...)
		}
	}
	if q.size >= 0 && int64(len(body)) != q.size {
		return nil, wrongSize(q.size)
	}
	return body, nil
}

// firstBuffer is what is allotted before any byte came: most manifests and signatures fit.
const firstBuffer = 16 << 10

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
