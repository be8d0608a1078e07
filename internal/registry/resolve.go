package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

const (
	// tagAge is for how long a resolved tag is held: the Pods of one rollout ask within seconds of each other, and a tag
	// that moves is seen at once by human measure.
	tagAge = 2 * time.Second
	// maxTags bounds the tags held, over all accesses: as many as are asked for in tagAge, some 1.5 KiB each.
	maxTags = 4096
)

// tagKey is a tag and who asks for it: what one reader was shown isn't told to another.
type tagKey struct {
	access verify.Access
	tag    string
}

// resolved is what a tag was found to be.
type resolved struct {
	digest name.Digest
	at     time.Time
}

// Resolve returns the digest that a tag stands for now, give or take tagAge. It reads the manifest and hashes it: a
// header, which is all that HEAD brings, can say anything. Many who ask at once cost one request.
func (a *Access) Resolve(ctx context.Context, ref name.Tag) (name.Digest, error) {
	host := ref.RegistryStr()
	if err := checkTarget(ref.Repository); err != nil {
		return name.Digest{}, fetchError(verify.PlaceManifest, host, err)
	}
	if held, ok := a.client.tags.Get(tagKey{a.id, ref.Name()}); ok && a.client.now().Sub(held.at) < tagAge {
		return held.digest, nil
	}
	got, err := a.resolve.do(ctx, ref.Name(), a.client.timeouts.Resolve, a.client.guard, func(ctx context.Context) (resolved, error) {
		asked := a.client.now()
		found, err := a.tagged(ctx, ref)
		if err != nil {
			return resolved{}, err
		}
		r := resolved{ref.Context().Digest(found.String()), asked}
		a.client.tags.Add(tagKey{a.id, ref.Name()}, r)
		return r, nil
	})
	if err != nil {
		return name.Digest{}, fetchError(verify.PlaceManifest, host, err)
	}
	return got.digest, nil
}

// tagged reads an image's manifest by tag, keeps it, and returns its digest.
func (a *Access) tagged(ctx context.Context, ref name.Tag) (v1.Hash, error) {
	got, err := a.ask(ctx, ref.Repository, question{
		kind: KindTag, path: "manifests/" + ref.TagStr(), accept: acceptManifests(), size: -1, limit: MaxManifest, gate: true,
	})
	if err != nil {
		return v1.Hash{}, err
	}
	_, err = a.keepManifest(ref.Repository, got.digest, got)
	return got.digest, err
}

// keepManifest checks a manifest whose hash is known to be right, and keeps it for whoever asks by digest next.
func (a *Access) keepManifest(repo name.Repository, digest v1.Hash, got *answer) (*document, error) {
	mediaType, err := contentType(got.header)
	if err != nil {
		return nil, err
	}
	d, err := parseDocument(got.body, mediaType)
	if err != nil {
		return nil, err
	}
	a.client.contents.put(a.key(repo, digest), content{body: got.body, mediaType: d.MediaType, readAt: a.client.now()})
	return d, nil
}

// manifest returns a manifest by digest, and when the registry last gave it.
func (a *Access) manifest(ctx context.Context, repo name.Repository, digest v1.Hash, size int64, gate bool) (*document, error) {
	got, err := a.ask(ctx, repo, question{
		kind: KindManifest, path: "manifests/" + digest.String(), accept: acceptManifests(), size: size, limit: MaxManifest, gate: gate,
	})
	if err != nil {
		return nil, err
	}
	if got.digest != digest {
		return nil, wrongDigest(digest, got.digest)
	}
	return a.keepManifest(repo, digest, got)
}

func (a *Access) key(repo name.Repository, digest v1.Hash) contentKey {
	return contentKey{a.id, repo.Name(), digest}
}

// checkTarget refuses names that could be read as other ones.
func checkTarget(repo name.Repository) error {
	if err := checkHost(repo.RegistryStr()); err != nil {
		return err
	}
	return checkRepository(repo.RepositoryStr())
}

// target returns the digest of an image that may be asked for.
func target(image name.Digest) (v1.Hash, error) {
	if err := checkTarget(image.Repository); err != nil {
		return v1.Hash{}, err
	}
	return imageDigest(image)
}

// imageDigest returns the digest of a reference. Only sha256 is taken: nothing else is signed about.
func imageDigest(image name.Digest) (v1.Hash, error) {
	h, err := v1.NewHash(image.DigestStr())
	if err != nil || h.Algorithm != "sha256" {
		return v1.Hash{}, refuse(verify.Malformed, "%s is not a sha256 digest, the only kind that is accepted", quote(image.DigestStr()))
	}
	return h, nil
}

func hashOf(body []byte) v1.Hash {
	sum := sha256.Sum256(body)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

func wrongDigest(want, have v1.Hash) error {
	return refuse(verify.Malformed, "asked for %s and got other content, %s", want, have)
}
