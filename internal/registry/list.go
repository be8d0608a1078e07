package registry

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// maxListing bounds what is kept of the papers listed for one image, over all pages and places, in bytes: as much as one
// manifest may be of. They are held until the image is judged.
const maxListing = MaxManifest

// search is one place where papers are sought.
type search struct {
	place verify.Place
	look  looking
}

// looking names the papers that are in one place.
type looking func(ctx context.Context, repo name.Repository, image v1.Hash) ([]verify.Paper, error)

// searches are all the places of papers that somebody signed, in the order in which what they say of one paper counts.
func (a *Access) searches() []search {
	return []search{
		{verify.PlaceSignatures, a.signatures},
		{verify.PlaceAttestation, a.attestations},
		{verify.PlaceReferrers, a.referrers},
		{verify.PlaceFallbackTag, a.fallback},
	}
}

// List reads the image's manifest and, side by side with it, every place where papers are kept. A manifest read within
// the last seconds, as by Resolve, isn't read again. It implements verify.Fetcher.
//
// A place that answers "not there" was answered. A registry that has no referrers API says so with 404, 400, 405 or
// 406, with a redirect to somewhere else, or by answering with something that is no index.
func (a *Access) List(ctx context.Context, image name.Digest, types []string) (verify.Listing, error) {
	if !a.settled(image.Repository) { // ask the rest with the credential that opens the image
		if err := a.Present(ctx, image); err != nil {
			return verify.Listing{}, err
		}
	}
	return sideBySide(ctx, a.client.guard, image,
		func(ctx context.Context) (verify.Listing, error) { return a.below(ctx, image, types) },
		func(ctx context.Context) (verify.Listing, error) { return a.seek(ctx, image, types) })
}

// part is one part of a listing.
type part func(ctx context.Context) (verify.Listing, error)

// sideBySide reads the image, with what is below it, while its papers are sought. That the image can't be read ends both.
func sideBySide(ctx context.Context, guard panicGuard, image name.Digest, below, seek part) (verify.Listing, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var listing, papers verify.Listing
	errs := guard.each(
		func() (err error) {
			if listing, err = below(ctx); err != nil {
				stop()
			}
			return err
		},
		func() (err error) {
			papers, err = seek(ctx)
			return err
		},
	)
	if errs[0] != nil {
		return verify.Listing{}, fetchError(verify.PlaceManifest, image.RegistryStr(), errs[0])
	}
	if errs[1] != nil {
		return verify.Listing{}, fetchError("", image.RegistryStr(), errs[1])
	}
	listing.Papers, listing.Unanswered = withUnsigned(papers.Papers, listing.Papers), papers.Unanswered
	return listing, nil
}

// below implements view.
func (a *Access) below(ctx context.Context, image name.Digest, types []string) (listing verify.Listing, _ error) {
	digest, err := target(image)
	if err == nil {
		err = a.client.guard.run(func() error {
			d, err := a.present(ctx, image.Repository, digest)
			if err != nil || !d.index() {
				return err
			}
			listing.Index = true
			var w walk
			if w, err = a.children(ctx, image.Repository, digest, d); err == nil && verify.SeeksSBOM(types) {
				listing.Papers = w.beside
			}
			listing.Children = w.found
			return err
		})
	}
	if err != nil {
		return verify.Listing{}, fetchError(verify.PlaceManifest, image.RegistryStr(), err)
	}
	return listing, nil
}

// seek implements view. Only what is over a bound is an error.
func (a *Access) seek(ctx context.Context, image name.Digest, types []string) (verify.Listing, error) {
	host := image.RegistryStr()
	digest, err := target(image)
	if err != nil {
		return verify.Listing{}, fetchError("", host, err)
	}
	unsigned := func() []verify.Paper { return nil }
	if verify.SeeksSBOM(types) {
		unsigned = a.beside(ctx, image.Repository, digest)
	}
	var listing verify.Listing
	found, errs := a.searchAll(ctx, image.Repository, digest)
	told := unsigned()
	for i, s := range a.searches() {
		if errs[i] == nil {
			continue
		}
		at := fetchError(s.place, host, errs[i])
		if at.Kind == verify.TooMany {
			return verify.Listing{}, at
		}
		listing.Unanswered = append(listing.Unanswered, at)
	}
	if listing.Papers = union(found); len(listing.Papers) > verify.MaxListed {
		return verify.Listing{}, fetchError("", host, tooMany(len(listing.Papers)))
	}
	if err := checkListing(listing.Papers); err != nil {
		return verify.Listing{}, fetchError("", host, err)
	}
	listing.Papers = withUnsigned(listing.Papers, told)
	return listing, nil
}

// searchAll looks in all places at once. Where it isn't known which credential opens the repository, and only one place
// shows it, those that turned one away are asked again: another place may have been asked with the wrong one alone.
func (a *Access) searchAll(ctx context.Context, repo name.Repository, image v1.Hash) ([][]verify.Paper, []error) {
	searches, known := a.searches(), a.settled(repo)
	found := make([][]verify.Paper, len(searches))
	works := make([]func() error, len(searches))
	for i, s := range searches {
		works[i] = func() (err error) {
			found[i], err = s.look(ctx, repo, image)
			if err == nil && len(found[i]) > verify.MaxListed {
				err = tooMany(len(found[i]))
			}
			return err
		}
	}
	errs := a.client.guard.each(works...)
	if known || !a.settled(repo) {
		return found, errs
	}
	for i, work := range works {
		if err := errs[i]; err == nil || failureOf(err).kind != verify.Unauthorized {
			works[i] = func() error { return err }
		} else {
			works[i] = work
		}
	}
	return found, a.client.guard.each(works...)
}

func tooMany(n int) error {
	return refuse(verify.TooMany, "%d papers or more are attached to the image, over the bound of %d", n, verify.MaxListed)
}

// checkListing holds a list to maxListing.
func checkListing(papers []verify.Paper) error {
	n := 0
	for _, p := range papers {
		n += len(p.MediaType) + len(p.ArtifactType) + annotationBytes(p.Annotations)
	}
	if n > maxListing {
		return refuse(verify.TooLarge, "the list of what is attached to the image takes %d bytes or more, over the bound of %d", n, maxListing)
	}
	return nil
}

// annotationBytes is what annotations take: their text, and a map slot for each.
func annotationBytes(annotations map[string]string) int {
	const slot = 48 // two string headers, control byte and the slots that are free
	n := 0
	for key, value := range annotations {
		n += len(key) + len(value) + slot
	}
	return n
}

// present makes sure that the image is there and may be read, and returns its manifest. Papers may be sought in several
// repositories at once: then it is read for all of them.
func (a *Access) present(ctx context.Context, repo name.Repository, image v1.Hash) (d *document, _ error) {
	key := a.key(repo, image)
	err := a.presents.after(ctx, key, func() (err error) {
		if held, ok := a.client.contents.get(key); ok && a.client.now().Sub(held.readAt) < manifestFresh {
			d, err = parseDocument(held.body, held.mediaType)
			return err
		}
		d, err = a.manifest(ctx, repo, image, -1, true)
		return err
	})
	return d, err
}

// Present reads the image's manifest, but for one that was read within the last seconds. It implements verify.Fetcher.
func (a *Access) Present(ctx context.Context, image name.Digest) error {
	digest, err := target(image)
	if err == nil {
		err = a.client.guard.run(func() error { _, err := a.present(ctx, image.Repository, digest); return err })
	}
	if err != nil {
		return fetchError(verify.PlaceManifest, image.RegistryStr(), err)
	}
	return nil
}

// attached reads a manifest by a tag that is derived from the image's digest. Without such a tag it returns nil.
func (a *Access) attached(ctx context.Context, repo name.Repository, tag string) (*document, v1.Hash, error) {
	got, err := a.ask(ctx, repo, question{
		kind: KindTag, path: "manifests/" + tag, accept: acceptManifests(), size: -1, limit: MaxManifest,
	})
	if statusOf(err) == http.StatusNotFound {
		return nil, v1.Hash{}, nil
	}
	if err != nil {
		return nil, v1.Hash{}, err
	}
	mediaType, err := contentType(got.header)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	d, err := parseDocument(got.body, mediaType)
	return d, got.digest, err
}

// tagOf returns the tag that a digest is turned into: sha256-<hex>.
func tagOf(image v1.Hash) string { return image.Algorithm + "-" + image.Hex }

func (a *Access) signatures(ctx context.Context, repo name.Repository, image v1.Hash) ([]verify.Paper, error) {
	return a.layers(ctx, repo, tagOf(image)+".sig", verify.LegacySignature, verify.PlaceSignatures)
}

func (a *Access) attestations(ctx context.Context, repo name.Repository, image v1.Hash) ([]verify.Paper, error) {
	return a.layers(ctx, repo, tagOf(image)+".att", verify.LegacyAttestation, verify.PlaceAttestation)
}

// layers lists the layers of one of cosign's legacy manifests.
func (a *Access) layers(ctx context.Context, repo name.Repository, tag string, kind verify.Kind, place verify.Place) ([]verify.Paper, error) {
	d, _, err := a.attached(ctx, repo, tag)
	if err != nil || d == nil {
		return nil, err
	}
	if d.index() {
		return nil, refuse(verify.Malformed, "an index, where layers are expected")
	}
	papers := make([]verify.Paper, 0, len(d.Layers))
	for _, l := range d.Layers {
		papers = append(papers, verify.Paper{
			Kind: kind, Place: place, Digest: l.Digest, Size: l.Size, MediaType: l.MediaType, Annotations: l.Annotations,
		})
	}
	return papers, nil
}

// fallback lists the index under the OCI 1.1 fallback tag. Whatever isn't an index there is somebody's tag, and no
// list; so is the image itself, which registry.gitlab.com gives for this tag (oras-go issue 1396).
func (a *Access) fallback(ctx context.Context, repo name.Repository, image v1.Hash) ([]verify.Paper, error) {
	d, digest, err := a.attached(ctx, repo, tagOf(image))
	if err != nil || d == nil || !d.index() || digest == image {
		return nil, err
	}
	return referrerPapers(d, verify.PlaceFallbackTag), nil
}

func referrerPapers(d *document, place verify.Place) []verify.Paper {
	papers := make([]verify.Paper, 0, len(d.Manifests))
	for _, m := range d.Manifests {
		papers = append(papers, verify.Paper{
			Kind: verify.Referrer, Place: place, Digest: m.Digest, Size: m.Size,
			MediaType: m.MediaType, ArtifactType: m.ArtifactType, Annotations: m.Annotations,
		})
	}
	return papers
}

// union puts together what the places list. A referrer counts once, by digest; where two descriptions of it differ,
// neither is a hint any more, so that a wrong one can't hide it. Layers of the legacy manifests count once for each
// set of annotations: two signatures over one image are the same payload, and the signature is an annotation.
func union(found [][]verify.Paper) []verify.Paper {
	var all []verify.Paper
	at := map[v1.Hash][]int{}
next:
	for _, p := range slices.Concat(found...) {
		for _, i := range at[p.Digest] {
			have := &all[i]
			if have.Kind != p.Kind {
				continue
			}
			same := maps.Equal(have.Annotations, p.Annotations)
			switch {
			case p.Kind == verify.Referrer:
				merge(have, p, same)
				continue next
			case same && have.Size == p.Size && have.MediaType == p.MediaType:
				continue next
			}
		}
		at[p.Digest] = append(at[p.Digest], len(all))
		all = append(all, p)
	}
	return all
}

// merge keeps of two descriptions of one referrer what they agree about. A size of 0 is one that isn't known.
func merge(have *verify.Paper, other verify.Paper, sameAnnotations bool) {
	if have.Size != other.Size {
		have.Size = 0
	}
	if have.MediaType != other.MediaType {
		have.MediaType = ""
	}
	if have.ArtifactType != other.ArtifactType {
		have.ArtifactType = ""
	}
	if !sameAnnotations {
		have.Annotations = nil
	}
}
