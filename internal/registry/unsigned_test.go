package registry

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// boms are the predicate types of a requirement for bills of materials.
func boms() []string { return predicate.KindSBOM.Types() }

// mustSeek lists an image's papers of some types.
func mustSeek(t *testing.T, f verify.Fetcher, image name.Digest, types []string) verify.Listing {
	t.Helper()
	l, err := f.List(within(t, admission), image, types)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// attachSBOM leaves what `cosign attach sbom` leaves.
func attachSBOM(t *testing.T, reg *evilregistry.Registry, image name.Digest, layers ...string) {
	t.Helper()
	reg.Plant(t, image.RepositoryStr(), ociManifest, []byte(`{"schemaVersion":2,"config":`+someConfig+`,"layers":[`+strings.Join(layers, ",")+`]}`), fallbackTag(image)+".sbom")
}

const spdxLayer = `{"mediaType":"text/spdx+json","digest":"` + someHash + `","size":2}`

func TestBillsOfMaterialsThatNobodySignedAreNamed(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	attestation := imageFor("attestation", "unknown", "unknown", "")
	child := imageFor("amd", "linux", "amd64", "")
	attestation.Annotations = map[string]string{referenceType: attestationManifest, referenceDigest: child.Digest, "other": "x"}
	image, _ := pushIndex(t, reg, "app", child, attestation)
	attachSBOM(t, reg, image, spdxLayer)
	attachSBOM(t, reg, reg.Repo("kept").Digest(image.DigestStr()), spdxLayer)
	c := testClient(t, Options{}, reg)
	r := readerOf(t, c, Credentials{}, image.Repository.Name())
	for what, f := range map[string]verify.Fetcher{"beside the image": r, "where papers are kept": mustElsewhere(t, r, reg.Repo("kept"))} {
		reg.Reset()
		l := mustSeek(t, f, image, []string{verify.CosignSign})
		if len(l.Papers) != 0 || slices.ContainsFunc(reg.Requests(), func(r evilregistry.Request) bool { return strings.HasSuffix(r.Ref, ".sbom") }) {
			t.Errorf("%s: who seeks signatures is told of %+v, after %v", what, l.Papers, reg.Counts())
		}
		l = mustSeek(t, f, image, append(boms(), verify.CosignSign))
		if len(l.Papers) != 2 || len(l.Unanswered) != 0 || len(l.Children) != 1 {
			t.Fatalf("%s: got %+v", what, l)
		}
		for _, p := range l.Papers {
			switch p.Place {
			case verify.PlaceSBOM:
				if p.MediaType != "text/spdx+json" || p.Digest.String() != someHash {
					t.Errorf("got %+v", p)
				}
			case verify.PlaceIndex:
				if p.MediaType != ociManifest || p.Digest.String() != attestation.Digest || p.Annotations[referenceDigest] != child.Digest ||
					p.Annotations[referenceType] != attestationManifest || len(p.Annotations) != 2 {
					t.Errorf("got %+v", p)
				}
			default:
				t.Errorf("got %+v", p)
			}
			reg.Reset()
			if _, err := f.Fetch(within(t, admission), image, p, verify.MaxPaper); p.Kind != verify.Unsigned || err == nil || reg.Count(0) != 0 {
				t.Errorf("%s: it was read: %v", p.Place, err)
			}
		}
	}
}

// What counts for nothing keeps nobody from what counts.
func TestWhatNobodySignedNeverFailsAListing(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]evilregistry.Fault{
		"it fails": evilregistry.Status(503, nil, ""), "it breaks off": evilregistry.CloseConnection(), "it hangs": evilregistry.Hang(),
		"it wants a login": evilregistry.Status(401, nil, ""), "it asks to wait": evilregistry.RetryAfter(5e9), "it is very large": evilregistry.Huge(64 << 20),
		"it leads astray": evilregistry.Redirect("http://169.254.169.254", 307), "it says nonsense": evilregistry.ReplaceBody([]byte("{}")),
		"it is an index": evilregistry.ReplaceBody([]byte(`{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[]}`)),
		"it dribbles":    evilregistry.Stall(50e6), "it panics": evilregistry.Func(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t)
			image := signed(t, reg, "app:v1")
			rule := reg.On(evilregistry.Match{Ref: "*.sbom"}, fault)
			a := testClient(t, Options{}, reg).With(Credentials{})
			ctx := within(t, admission)
			l, err := a.List(ctx, image, boms())
			if err != nil || len(l.Papers) != 3 || len(l.Unanswered) != 0 || ctx.Err() != nil {
				t.Errorf("%+v, %v", l, err)
			}
			if rule.Hits() == 0 {
				t.Error("it was not asked for")
			}
		})
	}
}

func TestWhatNobodySignedIsBounded(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	var layers []string
	for i := range verify.MaxListed + 1 {
		layers = append(layers, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":2,"annotations":{"a":"b"}}`, strings.Repeat("x", i%2*(maxUnsignedText+1)), hashOf(fmt.Append(nil, i))))
	}
	attachSBOM(t, reg, image, layers...)
	l := mustSeek(t, testClient(t, Options{}, reg).With(Credentials{}), image, boms())
	if len(l.Papers) != maxUnsigned {
		t.Errorf("%d papers", len(l.Papers))
	}
	for _, p := range l.Papers {
		if p.MediaType != "" || p.Annotations != nil {
			t.Errorf("got %+v", p)
		}
	}
	// There is no room for it beside as many papers as there may be.
	reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.ReferrersCount(verify.MaxListed, evilregistry.Junk{}))
	if l = mustSeek(t, testClient(t, Options{}, reg).With(Credentials{}), image, boms()); len(l.Papers) != verify.MaxListed || len(papersAt(l, verify.PlaceSBOM)) != 0 {
		t.Errorf("%d papers", len(l.Papers))
	}
}

// What it costs: five requests, side by side, for signatures; one more where bills of materials are sought.
func TestRequestsOfAListing(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		types []string
		want  int
	}{"signatures": {[]string{verify.CosignSign}, 5}, "bills of materials": {boms(), 6}} {
		reg := evilregistry.New(t)
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		a := testClient(t, Options{}, reg).With(Credentials{})
		list(t, a, image) // logs in
		a.client.contents = newContents()
		reg.Reset()
		if mustSeek(t, a, image, tc.types); reg.Count(0) != tc.want {
			t.Errorf("%s: %v, want %d", what, reg.Counts(), tc.want)
		}
	}
}
