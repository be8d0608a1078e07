package registry

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// slowFor is for how long the origin is asked beside a mirror, and not after it, once that has failed or kept us
// waiting: about an admission, so that one waits once and not at each step.
const slowFor = 10 * time.Second

// Reader reads one repository. Every error is a *verify.FetchError.
type Reader interface {
	verify.Fetcher
	// Resolve returns the digest that a tag stands for now.
	Resolve(ctx context.Context, tag name.Tag) (name.Digest, error)
}

var (
	_ Reader = (*Access)(nil)
	_ Reader = (*opened)(nil)
)

// Open returns a reader of one repository: with those of the given credentials, say a Pod's, that are for it, then with
// the install's own for it, and by way of its mirror if it has one. Give the credentials whole, for some may be for the
// mirror. It asks nobody yet; what an entry's credential is, is found out when it is needed.
func (c *Client) Open(_ context.Context, creds Credentials, repo name.Repository) (Reader, error) {
	if err := checkTarget(repo); err != nil {
		return nil, fetchError(verify.PlaceManifest, repo.RegistryStr(), err)
	}
	o := &opened{view: c.view(creds, repo), client: c, creds: creds, repo: repo}
	if creds.held() > maxRemembered {
		o.creds, o.much = Credentials{}, true
	}
	return o, nil
}

// mirrored reads one repository by way of another one that stands in for it. Policies and caches know nothing of it:
// names are the origin's, and content is what it hashes to, whoever gave it (security.md, row 28). What a mirror says of a
// tag is believed, as the node that pulls the tag believes it.
//
// A mirror is an offer. Where it has something not, says something wrong, or doesn't answer, the origin is asked.
type mirrored struct {
	client         *Client
	origin, mirror *Access
	repo, at       name.Repository // at the origin, and at the mirror
	id             verify.Access
}

// access identifies both sets of credentials, and the mirror, with the parts' lengths before them.
func (m *mirrored) access(mirror location) verify.Access {
	h := sha256.New()
	for _, part := range [][]byte{[]byte("mirror"), []byte(mirror.String()), m.origin.id[:], m.mirror.id[:]} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return verify.Access(h.Sum(nil))
}

// Access implements verify.Fetcher.
func (m *mirrored) Access() verify.Access { return m.id }

// Resolve implements Reader.
func (m *mirrored) Resolve(ctx context.Context, tag name.Tag) (name.Digest, error) {
	found, err := either(ctx, m, verify.PlaceManifest, tag.Repository, func(ctx context.Context, a *Access, repo name.Repository) (name.Digest, error) {
		return a.Resolve(ctx, repo.Tag(tag.TagStr()))
	})
	if err != nil {
		return name.Digest{}, err
	}
	return tag.Repository.Digest(found.DigestStr()), nil
}

// Present implements verify.Fetcher. Papers may be of the mirror or of the origin, and whoever is shown the image by one
// of them need not be shown papers by the other: so it takes both. An error costs no more than that the papers are asked for.
func (m *mirrored) Present(ctx context.Context, image name.Digest) error {
	host := m.at.RegistryStr()
	switch {
	case image.Repository.Name() != m.repo.Name():
		return fetchError(verify.PlaceManifest, image.RegistryStr(), m.notOpened())
	case m.client.isSlow(host): // the mirror shows nothing now, and the time is better spent on asking
		return fetchError(verify.PlaceManifest, host, refuse(verify.Unavailable, "it failed, or kept us waiting, a moment ago"))
	}
	ctx, stop := context.WithTimeout(ctx, m.client.timeouts.Mirror)
	defer stop()
	ask := func(ctx context.Context, a *Access, repo name.Repository) (struct{}, error) {
		return struct{}{}, a.Present(ctx, repo.Digest(image.DigestStr()))
	}
	fromMirror, fromOrigin := begin(ctx, m.mirror, m.at, ask), begin(ctx, m.origin, m.repo, ask)
	for fromMirror != nil || fromOrigin != nil {
		select {
		case mirror := <-fromMirror:
			fromMirror = nil
			m.client.noteMirror(host, mirror.err)
			if mirror.err != nil {
				return fetchError(verify.PlaceManifest, host, mirror.err)
			}
		case origin := <-fromOrigin:
			fromOrigin = nil
			if origin.err != nil {
				return fetchError(verify.PlaceManifest, m.repo.RegistryStr(), origin.err)
			}
		}
	}
	return nil
}

// Fetch implements verify.Fetcher.
func (m *mirrored) Fetch(ctx context.Context, image name.Digest, p verify.Paper) (verify.Candidate, error) {
	return either(ctx, m, p.Place, image.Repository, func(ctx context.Context, a *Access, repo name.Repository) (verify.Candidate, error) {
		return a.Fetch(ctx, repo.Digest(image.DigestStr()), p)
	})
}

// List implements verify.Fetcher. A mirror that has the image, that answered in every place and that has papers is
// enough. A mirror of images alone has none, so else the origin is asked as well, and what both have counts. Where the
// origin answered in every place, it doesn't matter what the mirror did: it is the origin that says what there is.
func (m *mirrored) List(ctx context.Context, image name.Digest) (verify.Listing, error) {
	mirror, origin := race(ctx, m, image.Repository, enough, func(ctx context.Context, a *Access, repo name.Repository) (verify.Listing, error) {
		return a.List(ctx, repo.Digest(image.DigestStr()))
	})
	return m.both(image, mirror, origin)
}

// below implements view: the image is the same bytes at both.
func (m *mirrored) below(ctx context.Context, image name.Digest) (verify.Listing, error) {
	return either(ctx, m, verify.PlaceManifest, image.Repository, func(ctx context.Context, a *Access, repo name.Repository) (verify.Listing, error) {
		return a.below(ctx, repo.Digest(image.DigestStr()))
	})
}

// enough tells whether a mirror's listing makes it needless to ask the origin.
func enough(l verify.Listing) bool { return len(l.Papers) > 0 && len(l.Unanswered) == 0 }

// both puts together what mirror and origin list.
func (m *mirrored) both(image name.Digest, mirror, origin said[verify.Listing]) (verify.Listing, error) {
	switch {
	case mirror.good() && enough(mirror.value):
		return mirror.value, nil
	case !mirror.good() && !origin.good():
		return verify.Listing{}, m.failed(verify.PlaceManifest, mirror.err, origin.err)
	case !mirror.good() && len(origin.value.Unanswered) == 0:
		return origin.value, nil
	case !mirror.good():
		return lacking(origin.value, m.at, mirror.err), nil
	case !origin.good():
		return lacking(mirror.value, m.repo, origin.err), nil
	}
	all := origin.value // the image and what is below it are the same bytes at both
	all.Papers = union([][]verify.Paper{mirror.value.Papers, origin.value.Papers})
	if len(origin.value.Unanswered) > 0 {
		all.Unanswered = slices.Concat(mirror.value.Unanswered, origin.value.Unanswered)
	}
	err := checkListing(all.Papers)
	if len(all.Papers) > verify.MaxListed {
		err = tooMany(len(all.Papers))
	}
	if err != nil {
		return verify.Listing{}, fetchError("", image.RegistryStr(), err)
	}
	return all, nil
}

// lacking adds to the one's listing that the other didn't answer; that it hasn't the image is an answer.
func lacking(l verify.Listing, other name.Repository, err error) verify.Listing {
	if e := fetchError(verify.PlaceManifest, other.RegistryStr(), err); e.Kind != verify.NotFound {
		l.Unanswered = append(slices.Clip(l.Unanswered), e)
	}
	return l
}

// failed says why neither could. It is the origin's to say that the image isn't there, or isn't for us; but as long as
// one of them doesn't answer, nothing is known.
func (m *mirrored) failed(place verify.Place, mirror, origin error) error {
	at, from := fetchError(place, m.at.RegistryStr(), mirror), fetchError(place, m.repo.RegistryStr(), origin)
	e := &verify.FetchError{Kind: from.Kind, Place: from.Place, Host: from.Host, Err: fmt.Errorf("%w; its mirror %s: %w", from.Err, at.Host, at.Err)}
	if !at.Answer() {
		e.Kind = verify.Unavailable
	}
	return e
}

func (m *mirrored) notOpened() error {
	return refuse(verify.Forbidden, "%s was opened, and not this repository", quote(m.repo.Name()))
}

// said is what the mirror or the origin answered. Not done, it wasn't waited for.
type said[T any] struct {
	value T
	err   error
	done  bool
}

func (s said[T]) good() bool { return s.done && s.err == nil }

// asking is a question to one repository.
type asking[T any] func(ctx context.Context, a *Access, repo name.Repository) (T, error)

// either takes the first answer that isn't an error.
func either[T any](ctx context.Context, m *mirrored, place verify.Place, repo name.Repository, ask asking[T]) (T, error) {
	mirror, origin := race(ctx, m, repo, nil, ask)
	switch {
	case mirror.good():
		return mirror.value, nil
	case origin.good():
		return origin.value, nil
	}
	var none T
	return none, m.failed(place, mirror.err, origin.err)
}

// race asks the mirror, and the origin once the mirror has failed, has answered with what isn't enough, or keeps us
// waiting. With enough nil an answer of either is enough. Else only one of the mirror is, and that of the origin ends
// the waiting for a mirror that has had its time.
func race[T any](ctx context.Context, m *mirrored, repo name.Repository, enough func(T) bool, ask asking[T]) (mirror, origin said[T]) {
	if repo.Name() != m.repo.Name() {
		err := m.notOpened()
		return said[T]{err: err, done: true}, said[T]{err: err, done: true}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	host := m.at.RegistryStr()
	fromMirror := begin(ctx, m.mirror, m.at, ask)
	var fromOrigin <-chan said[T]
	second := func() {
		if fromOrigin == nil && !origin.done {
			fromOrigin = begin(ctx, m.origin, m.repo, ask)
		}
	}
	if m.client.isSlow(host) {
		second()
	}
	patience := time.NewTimer(m.client.timeouts.Mirror)
	defer patience.Stop()
	for waited := false; ; {
		select {
		case mirror = <-fromMirror:
			fromMirror = nil
			m.client.noteMirror(host, mirror.err)
			if mirror.good() && (enough == nil || enough(mirror.value)) {
				return mirror, origin
			}
			second()
		case origin = <-fromOrigin:
			fromOrigin = nil
			if origin.good() && enough == nil {
				return mirror, origin
			}
		case <-patience.C:
			waited = true
			m.client.slow.Add(host, m.client.now())
			second()
		}
		if !mirror.done && origin.good() && waited {
			mirror.err = refuse(verify.Unavailable, "no answer in %s", m.client.timeouts.Mirror)
			return mirror, origin
		}
		if mirror.done && origin.done {
			return mirror, origin
		}
	}
}

// begin puts a question, whose answer comes on the channel.
func begin[T any](ctx context.Context, a *Access, repo name.Repository, ask asking[T]) <-chan said[T] {
	answer := make(chan said[T], 1)
	go func() {
		s := said[T]{done: true}
		s.err = a.client.guard.run(func() (err error) {
			s.value, err = ask(ctx, a, repo)
			return err
		})
		answer <- s
	}()
	return answer
}

// isSlow tells whether a mirror failed or kept us waiting a moment ago.
func (c *Client) isSlow(host string) bool {
	at, ok := c.slow.Get(host)
	return ok && c.now().Sub(at) < slowFor
}

// noteMirror remembers whether a mirror answers. That a request of ours was cancelled says nothing about it.
func (c *Client) noteMirror(host string, err error) {
	var fe *verify.FetchError
	switch {
	case errors.Is(err, context.Canceled):
	case errors.As(err, &fe) && !fe.Answer():
		c.slow.Add(host, c.now())
	default:
		c.slow.Remove(host)
	}
}
