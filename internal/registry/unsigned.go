package registry

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// What nobody signed counts for nothing. It is named so that people who are told that there is no bill of materials by
// the one they trust see what there is instead: `cosign attach sbom` and BuildKit leave such.
const (
	// maxUnsigned bounds how much of it is named: as many as an index may have of manifests.
	maxUnsigned = verify.MaxChildren
	// maxUnsignedText bounds its media types and annotations, in bytes each: a digest with its algorithm has 71.
	maxUnsignedText = 256
	// unsignedGrace is for how long it is waited for once all that counts is known: a message gets no better by it.
	unsignedGrace = 300 * time.Millisecond

	// referenceDigest is where BuildKit says which child of the index it is about.
	referenceDigest = "vnd.docker.reference.digest"
)

// beside begins to look for bills of materials that were attached without a signature, and returns how to get them: it
// waits no longer than unsignedGrace, for nothing hangs on them.
func (a *Access) beside(ctx context.Context, repo name.Repository, image v1.Hash) func() []verify.Paper {
	ctx, stop := context.WithCancel(ctx)
	found := make(chan []verify.Paper, 1)
	go func() {
		var papers []verify.Paper
		err := a.client.guard.run(func() (err error) {
			papers, err = a.unsigned(ctx, repo, image)
			return err
		})
		if err != nil {
			papers = nil
		}
		found <- papers
	}()
	return func() []verify.Paper {
		defer stop()
		grace := time.NewTimer(a.client.grace)
		defer grace.Stop()
		select {
		case papers := <-found:
			return papers
		case <-grace.C:
			return nil
		}
	}
}

// unsigned lists the layers under cosign's tag for bills of materials.
func (a *Access) unsigned(ctx context.Context, repo name.Repository, image v1.Hash) ([]verify.Paper, error) {
	d, _, err := a.attached(ctx, repo, tagOf(image)+".sbom")
	if err != nil || d == nil {
		return nil, err
	}
	var papers []verify.Paper
	for _, l := range d.Layers[:min(len(d.Layers), maxUnsigned)] {
		papers = append(papers, verify.Paper{
			Kind: verify.Unsigned, Place: verify.PlaceSBOM, Digest: l.Digest, Size: l.Size, MediaType: unsignedText(l.MediaType),
		})
	}
	return papers, nil
}

// unsignedChild describes what BuildKit keeps in an index.
func unsignedChild(m descriptor) verify.Paper {
	annotations := map[string]string{referenceType: attestationManifest}
	if about := unsignedText(m.Annotations[referenceDigest]); about != "" {
		annotations[referenceDigest] = about
	}
	return verify.Paper{
		Kind: verify.Unsigned, Place: verify.PlaceIndex, Digest: m.Digest, Size: m.Size, MediaType: unsignedText(m.MediaType), Annotations: annotations,
	}
}

// unsignedText keeps a text that may be shown, of at most maxUnsignedText.
func unsignedText(s string) string {
	if len(s) > maxUnsignedText {
		return ""
	}
	return strings.Clone(s) // and not the manifest that it stands in
}

// withUnsigned adds what nobody signed to a listing, as far as there is room for it: a listing is never refused for it.
func withUnsigned(papers, unsigned []verify.Paper) []verify.Paper {
	for _, p := range unsigned[:min(len(unsigned), maxUnsigned, max(0, verify.MaxListed-len(papers)))] {
		if !slices.ContainsFunc(papers, func(have verify.Paper) bool { return have.Kind == verify.Unsigned && have.Digest == p.Digest }) {
			papers = append(papers, p)
		}
	}
	return papers
}

// signedOnly returns the papers that count.
func signedOnly(papers []verify.Paper) []verify.Paper {
	return slices.DeleteFunc(slices.Clone(papers), func(p verify.Paper) bool { return p.Kind == verify.Unsigned })
}

// unsignedOnly returns those that don't.
func unsignedOnly(papers []verify.Paper) []verify.Paper {
	return slices.DeleteFunc(slices.Clone(papers), func(p verify.Paper) bool { return p.Kind != verify.Unsigned })
}
