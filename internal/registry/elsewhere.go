package registry

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// maxRemembered bounds the credentials that a Reader holds for papers kept elsewhere, in bytes as accesses count them:
// one docker config of the most entries, or eight of the most bytes. Readers live as long as an admission, one for each
// image of a Pod.
const maxRemembered = 8 * MaxDockerConfig

// view is how one repository is read: as it is, or by way of its mirror. What a listing is of comes in two parts, for
// the image may be in one repository and its papers in another. Every error is a *verify.FetchError.
type view interface {
	Resolve(ctx context.Context, tag name.Tag) (name.Digest, error)
	List(ctx context.Context, image name.Digest, types []string) (verify.Listing, error)
	Fetch(ctx context.Context, image name.Digest, p verify.Paper, most int64) (verify.Candidate, error)
	Present(ctx context.Context, image name.Digest) error
	Access() verify.Access

	// below reads the image's manifest and those below it. The listing has Index and Children.
	below(ctx context.Context, image name.Digest, types []string) (verify.Listing, error)
	// seek names what is attached to an image that need not be there. The listing has Papers and Unanswered.
	seek(ctx context.Context, image name.Digest, types []string) (verify.Listing, error)
}

var (
	_ view = (*Access)(nil)
	_ view = (*mirrored)(nil)
)

// view returns how a repository is read: with those of the credentials that are for it, then with the install's own
// for it, and by way of its mirror if it has one.
func (c *Client) view(creds Credentials, repo name.Repository) view {
	all := c.registries.now()
	origin := c.With(all.credentials(creds, repo))
	e := all.find(repo)
	if e == nil || e.mirror == (location{}) {
		return origin
	}
	at, ok := e.mirror.standIn(e.prefix, repo)
	if !ok { // no repository can have that name, so the mirror has none
		return origin
	}
	m := &mirrored{client: c, origin: origin, mirror: c.With(all.credentials(creds, at)), repo: repo, at: at, kept: e.papers == papersMirror}
	m.id = m.access(e.mirror)
	return m
}

// opened is the Reader of a repository. It remembers the credentials that it was opened with, for some may be for where
// papers are kept.
type opened struct {
	view
	client *Client
	creds  Credentials // whole
	much   bool        // they are over maxRemembered, and not remembered
	repo   name.Repository
}

// Elsewhere implements verify.Fetcher. The papers' repository is read as if it were opened by itself with the same
// credentials: it is sent those that are for it, and none of the image's.
func (o *opened) Elsewhere(papers name.Repository) (verify.Fetcher, error) {
	if papers.Name() == o.repo.Name() {
		return o, nil
	}
	if err := checkTarget(papers); err != nil {
		return nil, fetchError("", papers.RegistryStr(), err)
	}
	if o.much {
		return nil, fetchError("", papers.RegistryStr(), refuse(verify.TooLarge,
			"the pull secrets hold more than the %d bytes that are kept for papers in another repository: leave in them the registries that are pulled from", maxRemembered))
	}
	return newElsewhere(o.client.guard, o, o.view, o.client.view(o.creds, papers), papers), nil
}

// Format implements fmt.Formatter, so that no verb shows the credentials.
func (o *opened) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "[reader of %s]", o.repo.Name()) }

// Elsewhere implements verify.Fetcher: with what of these credentials is for the papers' repository. Like the Access
// itself it uses neither credentials nor mirrors of the install.
func (a *Access) Elsewhere(papers name.Repository) (verify.Fetcher, error) {
	if err := checkTarget(papers); err != nil {
		return nil, fetchError("", papers.RegistryStr(), err)
	}
	return newElsewhere(a.client.guard, a, a, a.client.With(a.creds.For(papers)), papers), nil
}

// Format implements fmt.Formatter, so that no verb shows the credentials.
func (a *Access) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "[access by %s]", a.creds.redact()) }

// elsewhere reads an image where it is, and its papers in another repository and nowhere else. Which that is, is for a
// policy to say: it is no hint of the image's or of its registry's.
//
// A paper says by digest what it is about, so whoever keeps it can't make it be about another image. The rule of
// fetch.go that a referrer's subject is the image's digest holds there as well.
type elsewhere struct {
	guard         panicGuard
	from          verify.Fetcher
	image, papers view
	at            name.Repository // of the papers
	id            verify.Access
}

var _ verify.Fetcher = (*elsewhere)(nil)

// newElsewhere identifies the access by both sets of credentials, and the papers' repository, with the parts' lengths before them.
func newElsewhere(guard panicGuard, from verify.Fetcher, image, papers view, at name.Repository) *elsewhere {
	ofImage, ofPapers := image.Access(), papers.Access()
	h := sha256.New()
	for _, part := range [][]byte{[]byte("elsewhere"), []byte(at.Name()), ofImage[:], ofPapers[:]} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return &elsewhere{guard: guard, from: from, image: image, papers: papers, at: at, id: verify.Access(h.Sum(nil))}
}

// Access implements verify.Fetcher.
func (e *elsewhere) Access() verify.Access { return e.id }

// Elsewhere implements verify.Fetcher: it is about the same image, and not about what is kept here.
func (e *elsewhere) Elsewhere(papers name.Repository) (verify.Fetcher, error) {
	return e.from.Elsewhere(papers)
}

// List implements verify.Fetcher. The papers are sought without waiting for the image, which need not be there.
func (e *elsewhere) List(ctx context.Context, image name.Digest, types []string) (verify.Listing, error) {
	return sideBySide(ctx, e.guard, image,
		func(ctx context.Context) (verify.Listing, error) { return e.image.below(ctx, image, types) },
		func(ctx context.Context) (verify.Listing, error) { return e.papers.seek(ctx, e.there(image), types) })
}

// Fetch implements verify.Fetcher.
func (e *elsewhere) Fetch(ctx context.Context, image name.Digest, p verify.Paper, most int64) (verify.Candidate, error) {
	return e.papers.Fetch(ctx, e.there(image), p, most)
}

// Present implements verify.Fetcher. That a registry shows the image says nothing about who is shown the papers, so it
// asks nobody and says no: each lists them for itself.
func (e *elsewhere) Present(context.Context, name.Digest) error {
	return fetchError(verify.PlaceManifest, e.at.RegistryStr(), refuse(verify.Unavailable,
		"the papers are kept in %s: who may read the image need not be one who may read them", quote(e.at.Name())))
}

// there is what the image is called where its papers are.
func (e *elsewhere) there(image name.Digest) name.Digest { return e.at.Digest(image.DigestStr()) }

// Format implements fmt.Formatter, so that no verb shows the credentials.
func (e *elsewhere) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "[papers in %s]", e.at.Name()) }
