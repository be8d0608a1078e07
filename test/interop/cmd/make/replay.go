package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pratique-dev/pratique/test/interop"
	"github.com/pratique-dev/pratique/test/interop/internal/layout"
)

// replay lays the signature of f's other image beside f's image, as anyone who
// may push to the repository can. What was signed is not touched.
func replay(ctx context.Context, repo layout.Repository, f *interop.Fixture) error {
	if f.Layout == interop.Legacy {
		return replayLegacy(ctx, repo, f)
	}
	return replayBundle(ctx, repo, f)
}

func replayLegacy(ctx context.Context, repo layout.Repository, f *interop.Fixture) error {
	from, to := layout.FallbackTag(f.OtherDigest)+".sig", layout.FallbackTag(f.Digest)+".sig"
	m, err := repo.Manifest(ctx, from)
	if err != nil {
		return err
	}
	f.Commands = append(f.Commands, fmt.Sprintf("copy the manifest tagged %s, as it is, to the tag %s", from, to))
	return repo.PutManifest(ctx, to, m)
}

// replayBundle copies the manifest around the bundle with f's image in place of
// the other as its subject, and where the registry has no referrers API, the
// fallback index too.
func replayBundle(ctx context.Context, repo layout.Repository, f *interop.Fixture) error {
	c, err := repo.Pull(ctx)
	if err != nil {
		return err
	}
	papers, err := c.Referrers(f.OtherDigest)
	if err != nil {
		return err
	}
	if len(papers) != 1 {
		return fmt.Errorf("%d papers beside the other image, not one", len(papers))
	}
	image := c.Manifests[f.Digest]
	moved, err := edit(c.Manifests[papers[0]], "subject", layout.Descriptor{
		MediaType: image.MediaType, Digest: f.Digest, Size: int64(len(image.Body)),
	})
	if err != nil {
		return err
	}
	if err := repo.PutManifest(ctx, moved.Digest(), moved); err != nil {
		return err
	}
	f.Commands = append(f.Commands, fmt.Sprintf("copy the manifest %s with subject %s", papers[0], f.Digest))
	if f.Registry == interop.ReferrersAPI {
		return nil
	}
	from, to := layout.FallbackTag(f.OtherDigest), layout.FallbackTag(f.Digest)
	links, err := c.Manifests[c.Tags[from]].Links()
	if err != nil {
		return err
	}
	entry := links.Manifests[0]
	entry.Digest, entry.Size = moved.Digest(), int64(len(moved.Body))
	index, err := edit(c.Manifests[c.Tags[from]], "manifests", []layout.Descriptor{entry})
	if err != nil {
		return err
	}
	f.Commands = append(f.Commands, fmt.Sprintf("copy the index tagged %s, listing that manifest, to the tag %s", from, to))
	return repo.PutManifest(ctx, to, index)
}

// edit returns m with one field set.
func edit(m layout.Manifest, field string, value any) (layout.Manifest, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(m.Body, &fields); err != nil {
		return layout.Manifest{}, err
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return layout.Manifest{}, err
	}
	fields[field] = raw
	body, err := json.Marshal(fields)
	return layout.Manifest{MediaType: m.MediaType, Body: body}, err
}
