package registry

import (
	"context"
	"maps"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// maxAnnotations bounds the annotations of one referrer, in bytes held: tools write some hundred. They are kept until the
// image is judged, those of as many referrers as may be verified together as large as one list.
const maxAnnotations = maxListing / verify.MaxVerified

// Fetch reads one paper that List named: the layer itself for the legacy kinds; for a referrer its manifest, which has
// to say that it is about this image, and the one layer in it. A layer of more than most bytes by its descriptor isn't
// asked for. It implements verify.Fetcher.
func (a *Access) Fetch(ctx context.Context, image name.Digest, p verify.Paper, most int64) (verify.Candidate, error) {
	var c verify.Candidate
	err := a.client.guard.run(func() (err error) {
		c, err = a.fetch(ctx, image, p, min(most, verify.MaxPaper))
		return err
	})
	if err != nil {
		return verify.Candidate{}, fetchError(p.Place, image.RegistryStr(), err)
	}
	return c, nil
}

func (a *Access) fetch(ctx context.Context, image name.Digest, p verify.Paper, most int64) (verify.Candidate, error) {
	subject, err := target(image)
	if err != nil {
		return verify.Candidate{}, err
	}
	if p.Digest.Algorithm != "sha256" {
		return verify.Candidate{}, refuse(verify.Malformed, "a paper without a sha256 digest")
	}
	layer := descriptor{Digest: p.Digest, Size: p.Size}
	switch p.Kind {
	case verify.LegacySignature, verify.LegacyAttestation:
	case verify.Unsigned:
		return verify.Candidate{}, refuse(verify.Malformed, "nobody signed it, so it isn't read")
	case verify.Referrer:
		if p, layer, err = a.unwrap(ctx, image.Repository, subject, p); err != nil {
			return verify.Candidate{}, err
		}
	default:
		return verify.Candidate{}, refuse(verify.Malformed, "a paper of unknown kind %d", p.Kind)
	}
	payload, release, err := a.blob(ctx, image.Repository, layer, most)
	if err != nil {
		return verify.Candidate{}, err
	}
	return verify.Candidate{Paper: p, Payload: payload, Release: release}, nil
}

// unwrap reads a referrer's manifest and returns its one layer, with the paper as the manifest describes it.
func (a *Access) unwrap(ctx context.Context, repo name.Repository, subject v1.Hash, p verify.Paper) (verify.Paper, descriptor, error) {
	d, err := a.referrer(ctx, repo, p)
	if err != nil {
		return p, descriptor{}, err
	}
	switch {
	case d.index():
		return p, descriptor{}, refuse(verify.Malformed, "it is an index, not a manifest with one layer")
	case d.Subject == nil:
		return p, descriptor{}, refuse(verify.Malformed, "it names no subject")
	case d.Subject.Digest != subject:
		return p, descriptor{}, refuse(verify.Malformed, "its subject is another digest: %s", d.Subject.Digest)
	case len(d.Layers) != 1:
		return p, descriptor{}, refuse(verify.Malformed, "it has %d layers, want one", len(d.Layers))
	}
	layer := d.Layers[0]
	p.MediaType = layer.MediaType
	if p.ArtifactType = d.ArtifactType; p.ArtifactType == "" {
		p.ArtifactType = d.Config.MediaType // OCI distribution 1.1, "Listing Referrers"
	}
	merged := maps.Clone(p.Annotations)
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, d.Annotations) // the manifest is what the digest is of; the listing is a hint
	if n := annotationBytes(merged); n > maxAnnotations {
		return p, descriptor{}, refuse(verify.TooLarge, "its annotations take %d bytes, over the bound of %d", n, maxAnnotations)
	}
	p.Annotations = merged
	return p, layer, nil
}

// referrer reads a referrer's manifest.
func (a *Access) referrer(ctx context.Context, repo name.Repository, p verify.Paper) (*document, error) {
	if held, ok := a.client.contents.get(a.key(repo, p.Digest)); ok {
		return parseDocument(held.body, held.mediaType)
	}
	size := p.Size
	if size == 0 { // the places that listed it disagree
		size = -1
	}
	if size > MaxManifest {
		return nil, refuse(verify.TooLarge, "a manifest of %d bytes is over the bound of %d", size, MaxManifest)
	}
	return a.manifest(ctx, repo, p.Digest, size, false)
}

// blob reads a blob of at most so many bytes whole and checks its size and its hash.
func (a *Access) blob(ctx context.Context, repo name.Repository, d descriptor, most int64) (_ []byte, release func(), _ error) {
	if d.Size < 0 {
		return nil, nil, refuse(verify.Malformed, "a descriptor with a negative size")
	}
	if d.Size > most {
		f := refuse(verify.TooLarge, "a paper of %d bytes is over the bound of %d", d.Size, most)
		f.size = d.Size
		return nil, nil, f
	}
	key := a.key(repo, d.Digest)
	if held, ok := a.client.contents.get(key); ok {
		if int64(len(held.body)) != d.Size {
			return nil, nil, wrongSize(d.Size)
		}
		return slices.Clone(held.body), nil, nil
	}
	got, err := a.ask(ctx, repo, question{kind: KindBlob, path: "blobs/" + d.Digest.String(), size: d.Size, limit: verify.MaxPaper})
	if err != nil {
		return nil, nil, err
	}
	if got.digest != d.Digest {
		if got.release != nil {
			got.release()
		}
		return nil, nil, wrongDigest(d.Digest, got.digest)
	}
	a.client.contents.put(key, content{body: got.body, readAt: a.client.now()})
	return got.body, got.release, nil
}
