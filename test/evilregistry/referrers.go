package evilregistry

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// BundleType is the artifactType of a sigstore bundle, as cosign v3 writes it.
const BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// entries reads the descriptors of an index; none if the answer is not one.
func (a *answer) entries() []v1.Descriptor {
	var index v1.IndexManifest
	if a.status != http.StatusOK || json.Unmarshal(a.body, &index) != nil {
		return nil
	}
	slices.SortFunc(index.Manifests, func(x, y v1.Descriptor) int {
		return strings.Compare(x.Digest.String(), y.Digest.String())
	})
	return index.Manifests
}

// list makes the answer an index of these descriptors.
func (a *answer) list(entries []v1.Descriptor) error {
	if entries == nil {
		entries = []v1.Descriptor{}
	}
	body, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: entries})
	if err == nil {
		a.replace(body)
	}
	return err
}

// EmptyReferrers answers with an empty index whatever there is: a registry
// whose referrers API is switched on and knows nothing, while the fallback tag
// has it all.
func EmptyReferrers() Fault {
	f := ReplaceBody([]byte(`{"schemaVersion":2,"mediaType":"` + indexType + `","manifests":[]}`))
	f.name = "EmptyReferrers"
	return f
}

// ReferrersPages gives out the true list in pages of this size, ordered by
// digest, each naming the next in a Link header as the distribution
// specification has it. It works on any index, so also over ReferrersCount in
// a Stack.
func ReferrersPages(size int) Fault {
	return edit(fmt.Sprintf("ReferrersPages(%d)", size), func(a *answer, r *http.Request) {
		entries := a.entries()
		from, _ := strconv.Atoi(r.URL.Query().Get("last")) // "" is 0
		from = min(max(from, 0), len(entries))
		to := min(from+size, len(entries))
		if a.list(entries[from:to]) != nil || to == len(entries) {
			return
		}
		query := r.URL.Query()
		query.Set("n", strconv.Itoa(size))
		query.Set("last", strconv.Itoa(to))
		next := url.URL{Path: r.URL.Path, RawQuery: query.Encode()}
		a.header.Set("Link", fmt.Sprintf(`<%s>; rel="next"`, next.String()))
	})
}

// Junk describes the descriptors that ReferrersCount adds. Nothing is behind
// them: their digests answer 404.
type Junk struct {
	// ArtifactType of the junk; empty means BundleType, so that it can't be
	// told from papers by its type.
	ArtifactType string
	// Annotations of the junk.
	Annotations map[string]string
	// Good is listed among the junk, besides what the registry has.
	Good []v1.Descriptor
	// HideReal leaves out what the registry has.
	HideReal bool
	// Seed decides the order.
	Seed uint64
}

// ReferrersCount answers with n descriptors: the true ones and junk.Good, each
// at a place that follows from the seed, and junk for the rest. It never lists
// fewer than the true and the good. The list is written as it is made, so that
// n may be a million; its length is not announced.
func ReferrersCount(n int, junk Junk) Fault {
	return Fault{fmt.Sprintf("ReferrersCount(%d)", n), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		listed := slices.Clone(junk.Good)
		if !junk.HideReal {
			listed = append(listed, capture(next, r).entries()...)
		}
		w.Header().Set("Content-Type", indexType)
		w.WriteHeader(http.StatusOK)
		if r.Method != http.MethodHead {
			junk.write(w, n, listed)
		}
	}}
}

// write streams the index. The true descriptors are kept for later with the
// chance that spreads them evenly over what is left.
func (j Junk) write(w http.ResponseWriter, n int, kept []v1.Descriptor) {
	dice := rand.New(rand.NewPCG(j.Seed, uint64(n)))
	dice.Shuffle(len(kept), func(a, b int) { kept[a], kept[b] = kept[b], kept[a] })
	out := bufio.NewWriterSize(w, 64<<10)
	fmt.Fprintf(out, `{"schemaVersion":2,"mediaType":%q,"manifests":[`, indexType)
	for left := max(n, len(kept)); left > 0; left-- {
		entry := j.entry(left)
		if dice.IntN(left) < len(kept) {
			entry, kept = kept[0], kept[1:]
		}
		raw, err := json.Marshal(entry)
		if err != nil {
			return
		}
		if left > 1 {
			raw = append(raw, ',')
		}
		if _, err := out.Write(raw); err != nil {
			return
		}
	}
	fmt.Fprint(out, `]}`)
	_ = out.Flush() // the client may have left
}

// entry is the i-th piece of junk.
func (j Junk) entry(i int) v1.Descriptor {
	artifactType := j.ArtifactType
	if artifactType == "" {
		artifactType = BundleType
	}
	digest, _ := v1.NewHash(digestOf(fmt.Appendf(nil, "junk %d %d", j.Seed, i))) // well formed by construction
	return v1.Descriptor{
		MediaType: types.OCIManifestSchema1, Size: 800, Digest: digest,
		ArtifactType: artifactType, Annotations: j.Annotations,
	}
}

// honestReferrers corrects what ggcr's registry says of artifact types.
type honestReferrers struct{ backend http.Handler }

// ServeHTTP passes everything on, and rewrites good answers of the referrers
// API: artifactType is the manifest's own, else its config's media type (OCI
// distribution 1.1, "Listing Referrers").
func (h *honestReferrers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to := classify(r)
	if to.kind != Referrers || r.Method != http.MethodGet {
		h.backend.ServeHTTP(w, r)
		return
	}
	a := capture(h.backend, r)
	if a.status != http.StatusOK {
		a.send(w, r)
		return
	}
	entries := a.entries()
	for i := range entries {
		path := "/v2/" + to.repo + "/manifests/" + entries[i].Digest.String()
		ask := r.Clone(r.Context())
		ask.URL = &url.URL{Path: path}
		manifest := capture(h.backend, ask)
		var m v1.Manifest
		if json.Unmarshal(manifest.body, &m) == nil && m.ArtifactType != "" {
			entries[i].ArtifactType = m.ArtifactType
		}
	}
	if want := r.URL.Query().Get("artifactType"); want != "" {
		entries = slices.DeleteFunc(entries, func(d v1.Descriptor) bool { return d.ArtifactType != want })
		a.header.Set("OCI-Filters-Applied", "artifactType")
	}
	if err := a.list(entries); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	a.header.Del(digestHeader)
	a.send(w, r)
}
