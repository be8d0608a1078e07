package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// one returns the only paper of a place.
func one(t *testing.T, l verify.Listing, place verify.Place) verify.Paper {
	t.Helper()
	got := papersAt(l, place)
	if len(got) != 1 {
		t.Fatalf("%d papers in %s, want 1 (unanswered: %v)", len(got), place, l.Unanswered)
	}
	return got[0]
}

func TestRow41_ContentIsWhatItsDigestSays(t *testing.T) {
	t.Parallel()
	for _, at := range []int{0, 10, -1} {
		for _, tc := range []struct {
			name  string
			match evilregistry.Match
			place verify.Place
		}{
			{"the image's manifest", evilregistry.Match{Kind: evilregistry.ManifestByDigest}, verify.PlaceManifest},
			{"a signature's layer", evilregistry.Match{Kind: evilregistry.Blob}, verify.PlaceSignatures},
			{"an attestation's layer", evilregistry.Match{Kind: evilregistry.Blob}, verify.PlaceAttestation},
			{"a referrer's manifest", evilregistry.Match{Kind: evilregistry.ManifestByDigest}, verify.PlaceReferrers},
			{"a referrer's layer", evilregistry.Match{Kind: evilregistry.Blob}, verify.PlaceReferrers},
		} {
			t.Run(fmt.Sprintf("%s, byte %d", tc.name, at), func(t *testing.T) {
				t.Parallel()
				reg := evilregistry.New(t)
				image := signed(t, reg, "app:v1")
				a := testClient(t, Options{}, reg).With(Credentials{})
				if tc.place == verify.PlaceManifest {
					rule := reg.On(tc.match, evilregistry.FlipByte(at))
					_, err := a.List(within(t, admission), image, nil)
					wantKind(t, err, verify.Malformed)
					if rule.Hits() != 1 {
						t.Errorf("asked %d times: other content doesn't get better by asking again", rule.Hits())
					}
					return
				}
				p := one(t, list(t, a, image), tc.place)
				rule := reg.On(tc.match, evilregistry.FlipByte(at))
				_, err := a.Fetch(within(t, admission), image, p, verify.MaxPaper)
				if fe := wantKind(t, err, verify.Malformed); fe.Place != tc.place {
					t.Errorf("place %s, want %s", fe.Place, tc.place)
				}
				if rule.Hits() != 1 {
					t.Errorf("asked %d times", rule.Hits())
				}
				rule.Remove()
				if _, err := a.Fetch(within(t, admission), image, p, verify.MaxPaper); err != nil {
					t.Errorf("the lie was kept: %v", err)
				}
			})
		}
	}
}

func TestRow41_ContentIsAsLongAsItsDescriptorSays(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := signed(t, reg, "app:v1")
	l := list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
	for _, place := range []verify.Place{verify.PlaceSignatures, verify.PlaceReferrers} {
		for name, change := range map[string]int64{"one byte less": -1, "one byte more": 1, "much more": 1 << 19} {
			for _, chunked := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, chunked %v", place, name, chunked), func(t *testing.T) {
					a := testClient(t, Options{}, reg).With(Credentials{})
					p := one(t, l, place)
					p.Size += change
					if chunked {
						rule := reg.On(evilregistry.Match{If: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, p.Digest.String()) }},
							evilregistry.Func(unannounced(reg)))
						defer rule.Remove()
					}
					_, err := a.Fetch(within(t, admission), image, p, verify.MaxPaper)
					wantKind(t, err, verify.Malformed)
				})
			}
		}
	}
}

// unannounced answers truthfully, without a length.
func unannounced(reg *evilregistry.Registry) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		in := r.Clone(r.Context())
		in.URL.Host, in.URL.Scheme = reg.Host(), "http"
		resp, err := reg.Direct().RoundTrip(in)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		_ = http.NewResponseController(w).Flush()
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		_, _ = w.Write(b.Bytes())
	}
}

func TestRow50_PapersLargerThanTheBound(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := signed(t, reg, "app:v1")
	a := testClient(t, Options{}, reg).With(Credentials{})
	l := list(t, a, image)

	const most = 1 << 20
	for name, most := range map[string]int64{"what was asked for": most, "the bound of all papers": 1 << 40} {
		t.Run("a layer said to be over "+name+" isn't asked for", func(t *testing.T) {
			reg.Reset()
			p := one(t, l, verify.PlaceSignatures)
			p.Size = min(most, verify.MaxPaper) + 1
			_, err := a.Fetch(within(t, admission), image, p, most)
			if fe := wantKind(t, err, verify.TooLarge); fe.Size != p.Size {
				t.Errorf("its size is said to be %d, want %d", fe.Size, p.Size)
			}
			if reg.Count(0) != 0 {
				t.Error("it was asked for")
			}
		})
	}
	t.Run("a referrer's manifest said to be over 4 MiB isn't asked for", func(t *testing.T) {
		reg.Reset()
		p := one(t, l, verify.PlaceReferrers)
		p.Size = MaxManifest + 1
		_, err := a.Fetch(within(t, admission), image, p, verify.MaxPaper)
		wantKind(t, err, verify.TooLarge)
		if reg.Count(0) != 0 {
			t.Error("it was asked for")
		}
	})
	t.Run("a bundle over 1 MiB, where no more is wanted", func(t *testing.T) {
		digest := hashOf([]byte("big"))
		body := fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[{"digest":%q,"size":%d}],"subject":{"digest":%q,"size":1}}`,
			someConfig, digest, most+1, image.DigestStr())
		reg.Reset()
		_, err := a.Fetch(within(t, admission), image, plantReferrer(t, reg, body), most)
		if fe := wantKind(t, err, verify.TooLarge); fe.Size != most+1 {
			t.Errorf("its size is said to be %d", fe.Size)
		}
		if reg.Count(evilregistry.Blob) != 0 {
			t.Error("it was asked for")
		}
	})
}

// plantReferrer puts a manifest into app and returns it as the paper that a list would have.
func plantReferrer(t *testing.T, reg *evilregistry.Registry, body string) verify.Paper {
	t.Helper()
	reg.Plant(t, "app", ociManifest, []byte(body))
	return verify.Paper{Kind: verify.Referrer, Place: verify.PlaceReferrers, Digest: hashOf([]byte(body)), Size: int64(len(body))}
}

// A body of a gigabyte costs the memory of its bound, in each place.
func TestRow50_EndlessManifestsInBoundedMemory(t *testing.T) { // not parallel: it measures
	reg := evilregistry.New(t)
	image := signed(t, reg, "app:v1")
	a := testClient(t, Options{}, reg).With(Credentials{})
	p := one(t, list(t, a, image), verify.PlaceSignatures)
	rule := reg.On(evilregistry.Match{Kind: evilregistry.Manifest | evilregistry.Referrers | evilregistry.Blob}, evilregistry.Huge(1<<30))

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := testClient(t, Options{}, reg).With(Credentials{}).List(within(t, admission), image, nil)
	wantKind(t, err, verify.TooLarge)
	_, err = a.Fetch(within(t, admission), image, p, verify.MaxPaper)
	wantKind(t, err, verify.Malformed)
	runtime.ReadMemStats(&after)
	if rule.Hits() < 2 {
		t.Errorf("the fault was met %d times", rule.Hits())
	}
	// Five bodies of 4 MiB, each grown by steps, and what the server in this process allots to write them.
	if got := after.TotalAlloc - before.TotalAlloc; got > 160<<20 {
		t.Errorf("%d MiB were allotted", got>>20)
	}
}

func TestRow50_APlaceThatIsTooLargeDoesNotAnswer(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := signed(t, reg, "app:v1")
	reg.On(evilregistry.Match{Ref: "*.att"}, evilregistry.Huge(64<<20))
	l := list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
	if e := unanswered(l, verify.PlaceAttestation); e == nil || e.Kind != verify.TooLarge {
		t.Errorf("unanswered: %v", l.Unanswered)
	}
	one(t, l, verify.PlaceSignatures)
}

func TestRow75_AReferrerOfAnotherImage(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	other := reg.Push(t, "app:v2", evilregistry.RandomImage(2))
	bundle := papers.SignBundle(t, other, papers.NewKey(t, papers.P256), papers.Via(reg.Options()...))
	reg.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.ReferrersCount(1, evilregistry.Junk{Good: []v1.Descriptor{bundle.Descriptor}}))
	a := testClient(t, Options{}, reg).With(Credentials{})
	p := one(t, list(t, a, image), verify.PlaceReferrers)
	_, err := a.Fetch(within(t, admission), image, p, verify.MaxPaper)
	if fe := wantKind(t, err, verify.Malformed); !strings.Contains(fe.Error(), "its subject is another digest") {
		t.Errorf("got %v", fe)
	}
	if _, err := a.Fetch(within(t, admission), other, p, verify.MaxPaper); err != nil {
		t.Errorf("for its own subject: %v", err)
	}
}

func TestReferrersThatAreNoPapers(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	a := testClient(t, Options{}, reg).With(Credentials{})
	subject := fmt.Sprintf(`,"subject":{"digest":%q,"size":1}`, image.DigestStr())
	start := `{"schemaVersion":2,"mediaType":"` + ociManifest + `","config":` + someConfig
	for name, tc := range map[string]struct{ body, want string }{
		"without layers":   {start + `,"layers":[]` + subject + `}`, "0 layers"},
		"with two layers":  {start + `,"layers":[` + someLayer + `,` + someLayer + `]` + subject + `}`, "2 layers"},
		"without subject":  {start + `,"layers":[` + someLayer + `]}`, "names no subject"},
		"two things":       {start + `,"layers":[],"manifests":[]` + subject + `}`, "index as well"},
		"of another image": {start + `,"layers":[` + someLayer + `],"subject":` + someChild + `}`, "another digest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := a.Fetch(within(t, admission), image, plantReferrer(t, reg, tc.body), verify.MaxPaper)
			if fe := wantKind(t, err, verify.Malformed); !strings.Contains(fe.Error(), tc.want) {
				t.Errorf("got %v, want something of %q", fe, tc.want)
			}
		})
	}
	t.Run("that are an index", func(t *testing.T) {
		t.Parallel()
		body := `{"schemaVersion":2,"manifests":[]` + subject + `}`
		reg.Plant(t, "app", ociIndex, []byte(body))
		_, err := a.Fetch(within(t, admission), image, verify.Paper{Kind: verify.Referrer, Digest: hashOf([]byte(body)), Size: int64(len(body))}, verify.MaxPaper)
		wantKind(t, err, verify.Malformed)
	})
}

// What the manifest says of itself stands in the place of what a list says of it.
func TestAReferrerIsDescribedByItsManifest(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	payload := []byte(`{"a":1}`)
	digest := reg.PlantBlob("app", payload)
	p := plantReferrer(t, reg, fmt.Sprintf(`{"schemaVersion":2,"artifactType":"application/real","config":%s,
		"layers":[{"mediaType":"application/layer","digest":%q,"size":%d}],"subject":{"digest":%q,"size":1},"annotations":{"k":"real","m":"1"}}`,
		someConfig, digest, len(payload), image.DigestStr()))
	p.ArtifactType, p.Annotations = "application/hint", map[string]string{"k": "hint", "l": "2"}
	c, err := testClient(t, Options{}, reg).With(Credentials{}).Fetch(within(t, admission), image, p, verify.MaxPaper)
	if err != nil {
		t.Fatal(err)
	}
	got := c.Paper
	if !bytes.Equal(c.Payload, payload) || got.MediaType != "application/layer" || got.ArtifactType != "application/real" ||
		got.Annotations["k"] != "real" || got.Annotations["l"] != "2" || got.Annotations["m"] != "1" {
		t.Errorf("got %+v, %s", got, c.Payload)
	}
	if p.Annotations["k"] != "hint" {
		t.Error("the caller's paper was changed")
	}
}

func TestRow45_LayersAreNeverReadFromTheirURLs(t *testing.T) {
	t.Parallel()
	canary := evilregistry.New(t)
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	payload := []byte(`{}`)
	urls := fmt.Sprintf(`,"urls":["%s/v2/x/blobs/%s"]`, canary.URL(), hashOf(payload))
	layer := fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","digest":%q,"size":2%s}`, hashOf(payload), urls)
	p := plantReferrer(t, reg, fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s],"subject":{"digest":%q,"size":1}}`,
		someConfig, layer, image.DigestStr()))
	_, err := testClient(t, Options{}, reg, canary).With(Credentials{}).Fetch(within(t, admission), image, p, verify.MaxPaper)
	wantKind(t, err, verify.NotFound)
	if canary.Count(0) != 0 {
		t.Error("the URL in the layer was asked")
	}
}

func TestRow37_OtherDigestsThanSHA256(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	a := testClient(t, Options{}, reg).With(Credentials{})
	sha512 := "sha512:" + strings.Repeat("ab", 64)
	images := map[string]name.Digest{"made without a parser": reg.Repo("app").Digest(sha512), "nothing": reg.Repo("app").Digest("")}
	if parsed, err := name.NewDigest(reg.Host() + "/app@" + sha512); err == nil {
		images["parsed"] = parsed
	}
	for what, image := range images {
		_, err := a.List(within(t, admission), image, nil)
		if fe := wantKind(t, err, verify.Malformed); !strings.Contains(fe.Error(), "sha256") {
			t.Errorf("%s: %v", what, fe)
		}
		_, err = a.Fetch(within(t, admission), image, verify.Paper{Kind: verify.LegacySignature, Digest: hashOf(nil)}, verify.MaxPaper)
		wantKind(t, err, verify.Malformed)
	}
	good := reg.Repo("app").Digest(someHash)
	_, err := a.Fetch(within(t, admission), good, verify.Paper{Kind: verify.LegacySignature}, verify.MaxPaper)
	wantKind(t, err, verify.Malformed)
	_, err = a.Fetch(within(t, admission), good, verify.Paper{Digest: hashOf(nil)}, verify.MaxPaper)
	wantKind(t, err, verify.Malformed) // the zero Kind
	if reg.Count(0) != 0 {
		t.Error("the registry was asked")
	}
}

func TestContentIsHeldForTheSameReaderOnly(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := signed(t, reg, "app:v1")
	c := testClient(t, Options{}, reg)
	anonymous, other := c.With(Credentials{}), c.With(credentialsFor(t, reg.Host(), "u", "p"))
	l := list(t, anonymous, image)
	first := fetchAll(t, anonymous, image, l.Papers)
	reg.Reset()
	again := fetchAll(t, anonymous, image, l.Papers)
	if n := reg.Count(0); n != 0 {
		t.Errorf("%d requests for content that is held", n)
	}
	for _, c := range append(first, again...) { // what is handed out isn't what is held
		for i := range c.Payload {
			c.Payload[i] = 'x'
		}
	}
	for _, c := range fetchAll(t, anonymous, image, l.Papers) {
		if !json.Valid(c.Payload) {
			t.Error("what is held was changed through what was handed out")
		}
	}
	fetchAll(t, other, image, l.Papers)
	if n := reg.Count(evilregistry.Blob); n != 3 {
		t.Errorf("%d blobs were read by another reader, want all 3", n)
	}
}

func TestContentIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	c := newContents()
	for i := range 200 {
		c.put(contentKey{digest: hashOf([]byte{byte(i)})}, content{body: make([]byte, maxContentEntry)})
	}
	if c.bytes > maxContentBytes || c.lru.Len() != maxContentBytes/(maxContentEntry+entryOverhead) {
		t.Errorf("%d bytes in %d entries", c.bytes, c.lru.Len())
	}
	big := contentKey{repository: "big"}
	if c.put(big, content{body: make([]byte, maxContentEntry+1)}); c.lru.Contains(big) {
		t.Error("an entry over the bound is held")
	}
	key := contentKey{repository: "twice"}
	before := c.bytes
	c.put(key, content{body: make([]byte, 10)})
	c.put(key, content{body: make([]byte, 10)})
	if c.lru.RemoveOldest(); c.bytes < 0 || c.bytes > before+cost(key, content{body: make([]byte, 16)}) {
		t.Errorf("%d bytes after one entry was put twice", c.bytes)
	}
	for c.lru.Len() > 0 {
		c.lru.RemoveOldest()
	}
	if c.bytes != 0 {
		t.Errorf("%d bytes when empty", c.bytes)
	}
}

func TestContentCostsWhatItHolds(t *testing.T) { // not parallel: it measures
	const n = 4000
	c := newContents()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		buffer := make([]byte, 400, firstBuffer) // a small manifest of unknown length, as it was read
		buffer[0], buffer[1] = byte(i), byte(i>>8)
		c.put(contentKey{repository: strings.Repeat("r", 100+i%2), digest: hashOf(buffer)}, content{body: buffer})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := after.HeapAlloc - before.HeapAlloc; held > uint64(c.bytes) {
		t.Errorf("%d bytes are held for each entry, and %d are counted", held/n, c.bytes/n)
	}
	runtime.KeepAlive(c)
}

func TestAnnotationsOfAReferrerAreBounded(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	payload := []byte(`{"a":1}`)
	digest := reg.PlantBlob("app", payload)
	a := testClient(t, Options{}, reg).With(Credentials{})
	for size, refused := range map[int]bool{maxAnnotations - 100: false, maxAnnotations: true} {
		_, err := a.Fetch(within(t, admission), image, plantReferrer(t, reg, fmt.Sprintf(`{"schemaVersion":2,"config":%s,
			"layers":[{"digest":%q,"size":%d}],"subject":{"digest":%q,"size":1},"annotations":{"k":%q}}`,
			someConfig, digest, len(payload), image.DigestStr(), strings.Repeat("x", size))), verify.MaxPaper)
		if !refused && err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if refused {
			wantKind(t, err, verify.TooLarge)
		}
	}
}
