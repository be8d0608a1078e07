package registry

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// BuildKit keeps provenance and SBOMs as manifests of the index, for a platform that no node has (moby/buildkit,
// docs/attestations/attestation-storage.md).
const (
	referenceType       = "vnd.docker.reference.type"
	attestationManifest = "attestation-manifest"
)

// platform is the platform of a descriptor, as an index has it.
type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
}

// runnable tells whether a node may run a child of an index: it may, unless it is an attestation in both respects. A child without a
// platform may run anywhere; one that only claims to be an attestation, for a platform that nodes have, runs there.
func (d descriptor) runnable() bool {
	attestation := d.Annotations[referenceType] == attestationManifest && d.Platform != nil &&
		d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
	return !attestation
}

// walk gathers what is below an index.
type walk struct {
	access  *Access
	repo    name.Repository
	seen    map[v1.Hash]bool
	entries int
	found   []verify.Child
	beside  []verify.Paper // what BuildKit keeps of them in the index, unsigned
}

// children finds the manifests below an index that a node may run: at least one. Indexes in it are read, to verify.MaxIndexDepth and
// no more than verify.MaxChildren manifests in all.
func (a *Access) children(ctx context.Context, repo name.Repository, image v1.Hash, d *document) (walk, error) {
	w := walk{access: a, repo: repo, seen: map[v1.Hash]bool{image: true}}
	if err := w.index(ctx, d, 1); err != nil {
		return walk{}, err
	}
	if len(w.found) == 0 {
		return walk{}, refuse(verify.Malformed, "an index without a manifest that a node could run")
	}
	return w, nil
}

func (w *walk) index(ctx context.Context, d *document, depth int) error {
	if w.entries += len(d.Manifests); w.entries > verify.MaxChildren {
		return refuse(verify.IndexTooLarge, "an index of %d manifests or more, over the bound of %d", w.entries, verify.MaxChildren)
	}
	for _, m := range d.Manifests {
		if !m.index() {
			if m.runnable() {
				w.add(m)
			} else {
				w.beside = append(w.beside, unsignedChild(m))
			}
			continue
		}
		if depth == verify.MaxIndexDepth {
			return refuse(verify.IndexTooLarge, "indexes nested more than %d deep", verify.MaxIndexDepth)
		}
		if w.seen[m.Digest] {
			continue
		}
		w.seen[m.Digest] = true
		below, err := w.access.known(ctx, w.repo, m)
		if err != nil {
			return err
		}
		if !below.index() {
			return refuse(verify.Malformed, "a child said to be an index that isn't one: %s", m.Digest)
		}
		if err := w.index(ctx, below, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) add(m descriptor) {
	c := verify.Child{Digest: m.Digest}
	if m.Platform != nil {
		c.Platform = verify.NewPlatform(m.Platform.OS, m.Platform.Architecture, m.Platform.Variant)
	}
	for _, have := range w.found {
		if have == c {
			return
		}
	}
	w.found = append(w.found, c)
}

// known returns a manifest that a descriptor names, from what is held if it is there.
func (a *Access) known(ctx context.Context, repo name.Repository, m descriptor) (*document, error) {
	if held, ok := a.client.contents.get(a.key(repo, m.Digest)); ok {
		return parseDocument(held.body, held.mediaType)
	}
	if m.Size > MaxManifest {
		return nil, refuse(verify.TooLarge, "a manifest of %d bytes is over the bound of %d", m.Size, MaxManifest)
	}
	return a.manifest(ctx, repo, m.Digest, m.Size, false)
}
