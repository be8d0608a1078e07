package registry

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// How a Sigstore bundle is attached to an image, as cosign 3 does it.
const (
	bundleType          = "application/vnd.dev.sigstore.bundle.v0.3+json"
	bundleContent       = "dev.sigstore.bundle.content"
	bundlePredicateType = "dev.sigstore.bundle.predicateType"
	contentEnvelope     = "dsse-envelope"
	createdAt           = "org.opencontainers.image.created"

	// emptyType is the type of a config that says nothing (OCI image specification 1.1, "Guidance for an Empty Descriptor").
	emptyType = "application/vnd.oci.empty.v1+json"
	emptyJSON = "{}"
)

// Artifact is what may be attached to an image: one layer, and what is said of it.
type Artifact struct {
	// Type is what it is: the artifactType of its manifest, and the media type of its layer.
	Type string
	// Content is the layer: at most verify.MaxPaper bytes, and at least one.
	Content []byte
	// Annotations are those of the manifest. Readers take at most 64 KiB of them.
	Annotations map[string]string
}

// Bundle returns a Sigstore bundle with a DSSE envelope as an artifact. Created is written to the second.
func Bundle(bundle []byte, predicateType string, created time.Time) Artifact {
	return Artifact{Type: bundleType, Content: bundle, Annotations: map[string]string{
		bundleContent: contentEnvelope, bundlePredicateType: predicateType, createdAt: created.UTC().Format(time.RFC3339),
	}}
}

// check refuses what this package itself would not read.
func (a Artifact) check() error {
	switch n := len(a.Content); {
	case a.Type == "":
		return refuse(verify.Malformed, "an artifact without a type")
	case n == 0:
		return refuse(verify.Malformed, "an artifact without content")
	case n > verify.MaxPaper:
		return &failure{kind: verify.TooLarge, size: int64(n), text: fmt.Sprintf("an artifact of %d bytes is over the bound of %d", n, verify.MaxPaper)}
	}
	if n := annotationBytes(a.Annotations); n > maxAnnotations {
		return refuse(verify.TooLarge, "the annotations of an artifact take %d bytes, over the bound of %d", n, maxAnnotations)
	}
	return nil
}

// Writer attaches artifacts to images. It writes to one repository, that of the image or one for papers, and always to
// the origin: a mirror is for reading. It may be used from many goroutines. Every error is a *verify.FetchError.
type Writer struct {
	client *Client
	access *Access // logged in to write
	creds  Credentials
	repo   name.Repository
	turn   chan struct{} // holds one value while somebody changes a fallback tag
}

// Writer returns a writer to one repository, with those of the credentials that are for it, and then the install's own. It
// asks nobody yet.
func (c *Client) Writer(creds Credentials, repo name.Repository) (*Writer, error) {
	if err := checkTarget(repo); err != nil {
		return nil, fetchError("", repo.RegistryStr(), err)
	}
	mine := c.registries.now().credentials(creds, repo)
	id := mine.ID()
	h := sha256.Sum256(append([]byte("writer"), id[:]...)) // whom it may read as isn't whom it may write as
	return &Writer{
		client: c, creds: creds, repo: repo, turn: make(chan struct{}, 1),
		access: &Access{client: c, id: verify.Access(h), creds: mine, push: true},
	}, nil
}

// Format implements fmt.Formatter, so that no verb shows the credentials.
func (w *Writer) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "[writer to %s]", w.repo.Name()) }

// Attach attaches an artifact to an image, which has to be there, and returns the digest of the artifact's manifest. The
// manifest names the image as its subject (OCI image specification 1.1); where the registry doesn't list it by that, it is
// added to the index under the fallback tag as well (OCI distribution specification 1.1, "Pushing Manifests with
// Subject"). Killed at any point, it leaves nothing that counts, or all of it.
func (w *Writer) Attach(ctx context.Context, image name.Digest, artifact Artifact) (v1.Hash, error) {
	var digest v1.Hash
	err := w.client.guard.run(func() (err error) {
		digest, err = w.attach(ctx, image, artifact)
		return err
	})
	if err != nil {
		return v1.Hash{}, fetchError("", w.repo.RegistryStr(), err)
	}
	return digest, nil
}

func (w *Writer) attach(ctx context.Context, image name.Digest, artifact Artifact) (v1.Hash, error) {
	if err := artifact.check(); err != nil {
		return v1.Hash{}, err
	}
	subject, err := w.subject(ctx, image)
	if err != nil {
		return v1.Hash{}, fetchError(verify.PlaceManifest, image.RegistryStr(), err)
	}
	manifest, body, err := referrerOf(subject, artifact)
	if err != nil {
		return v1.Hash{}, err
	}
	for _, err := range w.client.guard.each(
		func() error { return w.upload(ctx, []byte(emptyJSON)) },
		func() error { return w.upload(ctx, artifact.Content) },
	) {
		if err != nil {
			return v1.Hash{}, during("uploading a blob", err)
		}
	}
	listed, err := w.put(ctx, manifest.Digest.String(), manifest.MediaType, body, subject.Digest)
	if err != nil {
		return v1.Hash{}, during("pushing the manifest", err)
	}
	if !listed && !w.lists(ctx, subject.Digest, manifest.Digest) {
		if err := w.fallback(ctx, subject.Digest, manifest); err != nil {
			return v1.Hash{}, during("updating the tag "+tagOf(subject.Digest), err)
		}
	}
	return manifest.Digest, nil
}

// subject reads the manifest of the image where the image is, and describes it.
func (w *Writer) subject(ctx context.Context, image name.Digest) (written, error) {
	digest, err := target(image)
	if err != nil {
		return written{}, err
	}
	reader := w.client.With(w.client.registries.now().credentials(w.creds, image.Repository))
	got, err := reader.ask(ctx, image.Repository, question{
		kind: KindManifest, path: "manifests/" + digest.String(), accept: acceptManifests(), size: -1, limit: MaxManifest, gate: true,
	})
	if err != nil {
		return written{}, err
	}
	if got.digest != digest {
		return written{}, wrongDigest(digest, got.digest)
	}
	d, err := reader.keepManifest(image.Repository, digest, got)
	if err != nil {
		return written{}, err
	}
	return written{MediaType: d.MediaType, Digest: digest, Size: int64(len(got.body))}, nil
}

// lists tells whether the registry's referrers API names a manifest. One that can't tell doesn't: a fallback tag that is
// not needed does no harm.
func (w *Writer) lists(ctx context.Context, subject, manifest v1.Hash) bool {
	papers, err := w.access.referrers(ctx, w.repo, subject)
	if err != nil {
		return false
	}
	for _, p := range papers {
		if p.Digest == manifest {
			return true
		}
	}
	return false
}

// written is a descriptor that is written: without what isn't known.
type written struct {
	MediaType    string            `json:"mediaType"`
	Digest       v1.Hash           `json:"digest"`
	Size         int64             `json:"size"` // bytes
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// referrerOf makes the manifest of an artifact, and its descriptor as an index has it.
func referrerOf(subject written, artifact Artifact) (written, []byte, error) {
	body, err := json.Marshal(struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		ArtifactType  string            `json:"artifactType"`
		Config        written           `json:"config"`
		Layers        []written         `json:"layers"`
		Subject       written           `json:"subject"`
		Annotations   map[string]string `json:"annotations,omitempty"`
	}{
		SchemaVersion: 2, MediaType: string(types.OCIManifestSchema1), ArtifactType: artifact.Type,
		// cosign writes the type there too, for registries that list referrers by their config.
		Config:  written{MediaType: emptyType, Digest: hashOf([]byte(emptyJSON)), Size: int64(len(emptyJSON)), ArtifactType: artifact.Type},
		Layers:  []written{{MediaType: artifact.Type, Digest: hashOf(artifact.Content), Size: int64(len(artifact.Content))}},
		Subject: subject, Annotations: artifact.Annotations,
	})
	if err != nil {
		return written{}, nil, err
	}
	if len(body) > MaxManifest {
		return written{}, nil, refuse(verify.TooLarge, "the manifest of an artifact would be of %d bytes, over the bound of %d", len(body), MaxManifest)
	}
	return written{
		MediaType: string(types.OCIManifestSchema1), Digest: hashOf(body), Size: int64(len(body)),
		ArtifactType: artifact.Type, Annotations: maps.Clone(artifact.Annotations),
	}, body, nil
}

// during says what was being done when a failure came.
func during(what string, err error) error {
	f := *failureOf(err)
	f.text = what + ": " + f.text
	return &f
}
