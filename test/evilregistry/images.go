package evilregistry

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// RandomImage makes a tiny OCI image for linux/amd64. The same seed makes the
// same image, byte for byte.
func RandomImage(seed uint64) v1.Image {
	return platformImage(seed, v1.Platform{OS: "linux", Architecture: "amd64"})
}

// RandomIndex makes an OCI index with a tiny image for each platform; without
// platforms, linux/amd64 and linux/arm64. The same seed makes the same index.
func RandomIndex(seed uint64, platforms ...v1.Platform) v1.ImageIndex {
	if len(platforms) == 0 {
		platforms = []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, p := range platforms {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: platformImage(seed+uint64(i)<<32, p), Descriptor: v1.Descriptor{Platform: &p},
		})
	}
	return index
}

func platformImage(seed uint64, p v1.Platform) v1.Image {
	dice := rand.New(rand.NewPCG(seed, 0))
	layer := fmt.Appendf(nil, "layer %d %016x %016x\n", seed, dice.Uint64(), dice.Uint64())
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(image, &v1.ConfigFile{
		OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, RootFS: v1.RootFS{Type: "layers"},
	})
	if err == nil {
		image, err = mutate.AppendLayers(image, static.NewLayer(layer, types.OCIUncompressedLayer))
	}
	if err != nil { // all in memory, from constants
		panic(fmt.Sprintf("evilregistry: %v", err))
	}
	return image
}

// ambiguousParts are what makes an image an index and an index an image.
func ambiguousParts() map[string]json.RawMessage {
	part := func(mediaType string) string {
		return fmt.Sprintf(`{"mediaType":%q,"size":2,"digest":%q}`, mediaType, emptyDigest)
	}
	return map[string]json.RawMessage{
		"manifests": json.RawMessage("[" + part(imageType) + "]"),
		"config":    json.RawMessage(part("application/vnd.oci.image.config.v1+json")),
		"layers":    json.RawMessage("[" + part("application/vnd.oci.image.layer.v1.tar") + "]"),
	}
}

// emptyDigest is the digest of "{}".
const emptyDigest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

// AmbiguousManifest is a document with both `manifests` and `layers`, under the
// given mediaType, or under none if it is empty. Plant it, so that it can be
// asked for by its own digest.
func AmbiguousManifest(mediaType string) []byte {
	doc := map[string]any{"schemaVersion": 2}
	if mediaType != "" {
		doc["mediaType"] = mediaType
	}
	for key, value := range ambiguousParts() {
		doc[key] = value
	}
	body, err := json.Marshal(doc)
	if err != nil {
		panic(fmt.Sprintf("evilregistry: %v", err))
	}
	return body
}

// WideIndex is an index of n children that do not exist; Plant it.
func WideIndex(n int) []byte {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for i := range n {
		digest, _ := v1.NewHash(digestOf(fmt.Appendf(nil, "child %d", i))) // well formed by construction
		index.Manifests = append(index.Manifests, v1.Descriptor{
			MediaType: types.OCIManifestSchema1, Size: 500, Digest: digest,
			Platform: &v1.Platform{OS: "linux", Architecture: "amd64"},
		})
	}
	body, err := json.Marshal(index)
	if err != nil {
		panic(fmt.Sprintf("evilregistry: %v", err))
	}
	return body
}
