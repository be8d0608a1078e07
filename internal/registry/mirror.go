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
	kept           bool            // the mirror is kept whole: papers are sought there alone
	id             verify.Access
}

// access identifies both sets of credentials, the mirror, and whether it is kept whole, with the parts' lengths before them.
func (m *mirrored) access(mirror location) verify.Access {
	how := "mirror"
	if m.kept {
		how = "mirror alone"
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte(how), []byte(mirror.String()), m.origin.id[:], m.mirror.id[:]} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return verify.Access(h.Sum(nil))
}

// Access implements verify.Fetcher.
func (m *mirrored) Access() verify.Access { return m.id }

// Resolve implements Reader.
func (m *mirrored) Resolve(ctx context.Context, tag name.Tag) (name.Digest, error) {
	found, err := either(ctx, m, verify.PlaceManifest, tag.Repository, nil, func(ctx context.Context, a *Access, repo name.Repository) (name.Digest, error) {
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
	fromMirror := begin(ctx, m.mirror, m.at, ask)
	var fromOrigin <-chan said[struct{}]
	if !m.kept {
		fromOrigin = begin(ctx, m.origin, m.repo, ask)
	}
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
func (m *mirrored) Fetch(ctx context.Context, image name.Digest, p verify.Paper, most int64) (verify.Candidate, error) {
	if image.Repository.Name() != m.repo.Name() {
		return verify.Candidate{}, fetchError(p.Place, image.RegistryStr(), m.notOpened())
	}
	if m.kept {
		return m.mirror.Fetch(ctx, m.at.Digest(image.DigestStr()), p, most)
	}
	var comes func() bool
	if most > largeBody { // a large paper takes longer than a mirror may keep us waiting, and is not to be held twice
		comes = func() bool { return m.client.limits.readsLarge(m.at.RegistryStr()) }
	}
	return either(ctx, m, p.Place, image.Repository, comes, func(ctx context.Context, a *Access, repo name.Repository) (verify.Candidate, error) {
		c, err := a.Fetch(ctx, repo.Digest(image.DigestStr()), p, most)
		if err == nil && ctx.Err() != nil && c.Release != nil { // the other was first, and nobody takes this
			c.Release()
			return verify.Candidate{}, ctx.Err()
		}
		return c, err
	})
}

// List implements verify.Fetcher. What mirror and origin list counts together: what is newest of a kind can't be told by
// a part. Where the origin answered in every place, it doesn't matter what the mirror did; where it did not, that is told,
// and what the mirror has may do for what needs no more than one good paper.
func (m *mirrored) List(ctx context.Context, image name.Digest, types []string) (verify.Listing, error) {
	if m.kept {
		return sideBySide(ctx, m.client.guard, image,
			func(ctx context.Context) (verify.Listing, error) { return m.below(ctx, image, types) },
			func(ctx context.Context) (verify.Listing, error) { return m.seek(ctx, image, types) })
	}
	mirror, origin := together(ctx, m, image.Repository, func(ctx context.Context, a *Access, repo name.Repository) (verify.Listing, error) {
		return a.List(ctx, repo.Digest(image.DigestStr()), types)
	})
	return m.both(image, mirror, origin)
}

// below implements view: the image is the same bytes at both.
func (m *mirrored) below(ctx context.Context, image name.Digest, types []string) (verify.Listing, error) {
	return either(ctx, m, verify.PlaceManifest, image.Repository, nil, func(ctx context.Context, a *Access, repo name.Repository) (verify.Listing, error) {
		return a.below(ctx, repo.Digest(image.DigestStr()), types)
	})
}

// seek implements view. It is what List is, but that nothing is asked about the image itself. A mirror that doesn't
// answer anywhere has failed; the origin's failures are named place by place, so that nothing of it counts as gone.
func (m *mirrored) seek(ctx context.Context, image name.Digest, types []string) (verify.Listing, error) {
	if image.Repository.Name() != m.repo.Name() {
		return verify.Listing{}, fetchError("", image.RegistryStr(), m.notOpened())
	}
	if m.kept {
		return m.mirror.seek(ctx, m.at.Digest(image.DigestStr()), types)
	}
	mirror, origin := together(ctx, m, image.Repository, func(ctx context.Context, a *Access, repo name.Repository) (verify.Listing, error) {
		l, err := a.seek(ctx, repo.Digest(image.DigestStr()), types)
		if err == nil && len(l.Unanswered) == len(a.searches()) {
			err = worst(l.Unanswered)
		}
		return l, err
	})
	if len(origin.value.Unanswered) > 0 {
		origin.err = nil
	}
	var fe *verify.FetchError
	if errors.As(mirror.err, &fe) { // it is all of the mirror
		mirror.err = &verify.FetchError{Kind: fe.Kind, Place: verify.PlaceManifest, Host: fe.Host, Err: fe.Err}
	}
	return m.both(image, mirror, origin)
}

// worst returns the error that says least: an outage, if there is one.
func worst(errs []*verify.FetchError) *verify.FetchError {
	for _, e := range errs {
		if !e.Answer() {
			return e
		}
	}
	return errs[0]
}

// both puts together what mirror and origin list.
func (m *mirrored) both(image name.Digest, mirror, origin said[verify.Listing]) (verify.Listing, error) {
	switch {
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
	all.Papers = union([][]verify.Paper{signedOnly(mirror.value.Papers), signedOnly(origin.value.Papers)})
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
	all.Papers = withUnsigned(all.Papers, unsignedOnly(slices.Concat(mirror.value.Papers, origin.value.Papers)))
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

// either takes the first answer that isn't an error: the mirror is asked, and the origin once the mirror has failed or
// keeps us waiting. It doesn't while its answer comes, which that may tell.
func either[T any](ctx context.Context, m *mirrored, place verify.Place, repo name.Repository, comes func() bool, ask asking[T]) (none T, _ error) {
	if repo.Name() != m.repo.Name() {
		return none, fetchError(place, repo.RegistryStr(), m.notOpened())
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	host := m.at.RegistryStr()
	var mirror, origin said[T]
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
	for !mirror.done || !origin.done {
		select {
		case mirror = <-fromMirror:
			fromMirror = nil
			m.client.noteMirror(host, mirror.err)
			if mirror.good() {
				return mirror.value, nil
			}
			second()
		case origin = <-fromOrigin:
			fromOrigin = nil
			if origin.good() {
				return origin.value, nil
			}
		case <-patience.C:
			if !mirror.done && comes != nil && comes() {
				patience.Reset(m.client.timeouts.Mirror)
				continue
			}
			if !mirror.done {
				m.client.slow.Add(host, m.client.now())
			}
			second()
		}
	}
	return none, m.failed(place, mirror.err, origin.err)
}

// together asks mirror and origin for their listings, side by side. Once they had their time, one of them is enough: the
// origin's whatever it says, and of the mirror one that is whole and has papers.
func together(ctx context.Context, m *mirrored, repo name.Repository, ask asking[verify.Listing]) (mirror, origin said[verify.Listing]) {
	if repo.Name() != m.repo.Name() {
		err := m.notOpened()
		return said[verify.Listing]{err: err, done: true}, said[verify.Listing]{err: err, done: true}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	fromMirror, fromOrigin := begin(ctx, m.mirror, m.at, ask), begin(ctx, m.origin, m.repo, ask)
	patience := time.NewTimer(m.client.timeouts.Mirror)
	defer patience.Stop()
	late := refuse(verify.Unavailable, "no answer in %s", m.client.timeouts.Mirror)
	for waited := false; !mirror.done || !origin.done; {
		select {
		case mirror = <-fromMirror:
			m.client.noteMirror(m.at.RegistryStr(), mirror.err)
		case origin = <-fromOrigin:
		case <-patience.C:
			if waited = true; !mirror.done {
				m.client.slow.Add(m.at.RegistryStr(), m.client.now())
			}
		}
		switch {
		case !waited:
		case !mirror.done && origin.good():
			mirror.err = late
			return mirror, origin
		case !origin.done && mirror.good() && len(mirror.value.Papers) > 0 && len(mirror.value.Unanswered) == 0:
			origin.err = late
			return mirror, origin
		}
	}
	return mirror, origin
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
