package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/distribution"
)

const approvalType = "https://pratique.dev/attestation/approval/v1"

// aBundle is an artifact whose content tells it from others.
func aBundle(what string) Artifact {
	return Bundle([]byte(`{"mediaType":"`+bundleType+`","of":"`+what+`"}`), approvalType, time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
}

func mustWriter(t *testing.T, c *Client, creds Credentials, repo name.Repository) *Writer {
	t.Helper()
	w, err := c.Writer(creds, repo)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// attach attaches, and fails the test if it can't.
func attach(t *testing.T, w *Writer, image name.Digest, a Artifact) v1.Hash {
	t.Helper()
	digest, err := w.Attach(within(t, admission), image, a)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// rawAt returns what is under a tag.
func rawAt(t *testing.T, reg *evilregistry.Registry, repo, tag string) []byte {
	t.Helper()
	got, err := remote.Get(reg.Repo(repo).Tag(tag), reg.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	return got.Manifest
}

func fallbackTag(image name.Digest) string { return strings.Replace(image.DigestStr(), ":", "-", 1) }

// registriesToWriteTo are the kinds that there are: with the API, without it, and with one that shows nothing.
func registriesToWriteTo(t *testing.T, options ...evilregistry.Option) map[string]*evilregistry.Registry {
	with := func(more ...evilregistry.Option) *evilregistry.Registry {
		return evilregistry.New(t, append(more, options...)...)
	}
	lies := with()
	lies.On(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.EmptyReferrers())
	return map[string]*evilregistry.Registry{
		"with the referrers API": with(), "with an API of the specification": with(evilregistry.WithArtifactTypes()),
		"without the API": with(evilregistry.WithReferrersAPI(false)), "distribution": with(evilregistry.WithBackend(distribution.New(t))),
		"with an API that shows nothing": lies,
	}
}

func TestWhatIsAttachedIsFoundAgain(t *testing.T) {
	t.Parallel()
	for kind, reg := range registriesToWriteTo(t) {
		for _, repo := range []string{"team/app", "papers/kept"} {
			for what, image := range map[string]name.Digest{
				"an image": reg.Push(t, "team/app:"+repo[:4]+"1", evilregistry.RandomImage(uint64(len(repo)))),
				"an index": reg.Push(t, "team/app:"+repo[:4]+"2", evilregistry.RandomIndex(uint64(len(repo)))),
			} {
				t.Run(fmt.Sprintf("%s, %s in %s", kind, what, repo), func(t *testing.T) {
					c := testClient(t, Options{}, reg)
					w := mustWriter(t, c, Credentials{}, reg.Repo(repo))
					want := map[v1.Hash]string{}
					for _, of := range []string{"one", "two", "three"} {
						want[attach(t, w, image, aBundle(of))] = of
					}
					f := mustElsewhere(t, readerOf(t, c, Credentials{}, image.Repository.Name()), reg.Repo(repo))
					l := mustList(t, f, image)
					if len(l.Papers) != len(want) || len(l.Unanswered) != 0 {
						t.Fatalf("got %+v, want %d papers", l, len(want))
					}
					for _, p := range l.Papers {
						got, err := f.Fetch(within(t, admission), image, p, verify.MaxPaper)
						if err != nil {
							t.Fatal(err)
						}
						artifact := aBundle(want[p.Digest])
						if string(got.Payload) != string(artifact.Content) || got.Paper.ArtifactType != bundleType || got.Paper.MediaType != bundleType ||
							cmp.Diff(artifact.Annotations, got.Paper.Annotations) != "" {
							t.Errorf("got %+v, %s", got.Paper, got.Payload)
						}
					}
				})
			}
		}
	}
}

// The fallback tag is for registries that don't list referrers, and no litter elsewhere.
func TestTheFallbackTagIsWrittenWhereItIsNeeded(t *testing.T) {
	t.Parallel()
	for kind, reg := range registriesToWriteTo(t) {
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		reg.Reset()
		attach(t, mustWriter(t, testClient(t, Options{}, reg), Credentials{}, reg.Repo("app")), image, aBundle("one"))
		needed := !strings.HasPrefix(kind, "with the") && !strings.HasPrefix(kind, "with an API of")
		written := slices.ContainsFunc(reg.Requests(), func(r evilregistry.Request) bool { return r.Method == http.MethodPut && r.Ref == fallbackTag(image) })
		if written != needed {
			t.Errorf("%s: the tag was written: %v", kind, written)
		}
	}
	// Nor is anything asked where the registry says that it did.
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	reg.On(evilregistry.Match{Kind: evilregistry.ManifestByDigest, Method: http.MethodPut}, evilregistry.Header("OCI-Subject", image.DigestStr()))
	reg.Reset()
	attach(t, mustWriter(t, testClient(t, Options{}, reg), Credentials{}, reg.Repo("app")), image, aBundle("one"))
	if n := reg.Count(evilregistry.Referrers | evilregistry.ManifestByTag); n != 0 || reg.Count(evilregistry.Manifest) != 2 {
		t.Errorf("it was asked all the same: %v", reg.Counts())
	}
}

// What is already there isn't sent again.
func TestBlobsThatAreThereAreNotUploaded(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	w := mustWriter(t, testClient(t, Options{}, reg), Credentials{}, reg.Repo("app"))
	first := attach(t, w, image, aBundle("one"))
	reg.Reset()
	if again := attach(t, w, image, aBundle("one")); again != first || reg.Count(evilregistry.Upload) != 0 {
		t.Errorf("%s, %v", again, reg.Counts())
	}
	if l := list(t, w.client.With(Credentials{}), image); len(l.Papers) != 1 {
		t.Errorf("%+v", l)
	}
}

// A manifest has the same shape as one that cosign 3.1.3 wrote, of which there are many under test/interop.
func TestAManifestIsOfTheShapeThatCosignWrites(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "test", "interop", "testdata", "layouts", "cosign3-bundle-referrers-sbom", "blobs", "sha256")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	read := func(body []byte) map[string]any {
		var m map[string]any
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	var theirs map[string]any
	for _, f := range files {
		body, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(body), `"subject"`) {
			theirs = read(body)
		}
	}
	if theirs == nil {
		t.Fatal("no referrer among the fixtures")
	}
	subject := written{MediaType: ociManifest, Digest: hashOf([]byte("image")), Size: 5}
	_, body, err := referrerOf(subject, Bundle([]byte("{}"), "https://spdx.dev/Document", time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	ours := read(body)
	// What differs from one bundle to the next.
	for _, m := range []map[string]any{ours, theirs} {
		for _, d := range []map[string]any{m["subject"].(map[string]any), m["layers"].([]any)[0].(map[string]any)} {
			delete(d, "digest")
			delete(d, "size")
		}
		created := m["annotations"].(map[string]any)["org.opencontainers.image.created"].(string)
		if _, err := time.Parse("2006-01-02T15:04:05Z", created); err != nil {
			t.Error(err)
		}
		delete(m["annotations"].(map[string]any), "org.opencontainers.image.created")
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsUnderTheFallbackTagStays(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithReferrersAPI(false))
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	other := reg.Push(t, "app:other", evilregistry.RandomImage(2)).DigestStr()
	before := `{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[` +
		`{"mediaType":"` + ociManifest + `","digest":"` + other + `","size":7,"artifactType":"application/x","annotations":{"a":"b"},"x.example.field":[1,2]}` +
		`],"annotations":{"kept":"yes"},"x.example.other":{"n":12345678901234567890}}`
	put(t, reg, "app", fallbackTag(image), ociIndex, before)
	w := mustWriter(t, testClient(t, Options{}, reg), Credentials{}, reg.Repo("app"))
	digest := attach(t, w, image, aBundle("one"))
	var got struct {
		Manifests   []json.RawMessage
		Annotations map[string]string
		Other       json.RawMessage `json:"x.example.other"`
	}
	after := rawAt(t, reg, "app", fallbackTag(image))
	if err := json.Unmarshal(after, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Manifests) != 2 || !strings.Contains(before, string(got.Manifests[0])) || !strings.Contains(string(got.Manifests[1]), digest.String()) ||
		got.Annotations["kept"] != "yes" || string(got.Other) != `{"n":12345678901234567890}` {
		t.Errorf("got %s", after)
	}
}

// put puts a manifest under a tag, as another tool would.
func put(t *testing.T, reg *evilregistry.Registry, repo, tag, mediaType, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, reg.URL()+"/v2/"+repo+"/manifests/"+tag, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := reg.Direct().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.Status)
	}
}

func TestAnotherWriterMayComeBetween(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithReferrersAPI(false))
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	other := reg.Push(t, "app:other", evilregistry.RandomImage(2)).DigestStr()
	theirs := `{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[{"mediaType":"` + ociManifest + `","digest":"` + other + `","size":7}]}`
	// Whatever is written first under the tag is replaced by another's at once.
	rule := reg.Times(2, evilregistry.Match{Method: http.MethodPut, Ref: fallbackTag(image)}, evilregistry.Func(func(w http.ResponseWriter, _ *http.Request) {
		put(t, reg, "app", fallbackTag(image), ociIndex, theirs)
		w.WriteHeader(http.StatusCreated)
	}))
	digest := attach(t, mustWriter(t, testClient(t, Options{}, reg), Credentials{}, reg.Repo("app")), image, aBundle("one"))
	if got := string(rawAt(t, reg, "app", fallbackTag(image))); rule.Hits() != 2 || !strings.Contains(got, digest.String()) || !strings.Contains(got, other) {
		t.Errorf("after %d others: %s", rule.Hits(), got)
	}
	// Not for ever.
	reg.On(evilregistry.Match{Method: http.MethodPut, Ref: fallbackTag(image)}, evilregistry.Status(http.StatusCreated, nil, ""))
	reg.Reset()
	_, err := mustWriter(t, testClient(t, Options{}, reg), Credentials{}, reg.Repo("app")).Attach(within(t, admission), image, aBundle("two"))
	if fe := wantKind(t, err, verify.Unavailable); !strings.Contains(fe.Error(), "others write to it") {
		t.Error(fe)
	}
	if n := reg.Count(evilregistry.ManifestByTag); n != 2*maxTagWrites+1 {
		t.Errorf("%d requests", n)
	}
}

func TestManyWhoAttachAtOnceAreAllFound(t *testing.T) {
	t.Parallel()
	const n = 8
	reg := evilregistry.New(t, evilregistry.WithBackend(distribution.New(t)))
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	w := mustWriter(t, testClient(t, Options{}, reg), Credentials{}, reg.Repo("app"))
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := w.Attach(within(t, admission), image, aBundle(fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if l := list(t, w.client.With(Credentials{}), image); len(l.Papers) != n {
		t.Errorf("%d papers of %d", len(l.Papers), n)
	}
	wantAllFree(t, w.client.limits)
}

func TestWhatIsSomebodyElsesUnderTheFallbackTagIsNotReplaced(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithReferrersAPI(false))
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	other := reg.Push(t, "app:"+fallbackTag(image), evilregistry.RandomImage(2))
	_, err := mustWriter(t, testClient(t, Options{}, reg), Credentials{}, reg.Repo("app")).Attach(within(t, admission), image, aBundle("one"))
	wantKind(t, err, verify.Malformed)
	if got := hashOf(rawAt(t, reg, "app", fallbackTag(image))); got.String() != other.DigestStr() {
		t.Error("it was replaced")
	}
	// registry.gitlab.com gives the image itself there, which means nothing.
	for _, what := range []remote.Taggable{evilregistry.RandomImage(3), evilregistry.RandomIndex(3)} {
		image := reg.Push(t, "app:v2", what)
		reg.Push(t, "app:"+fallbackTag(image), what)
		digest := attach(t, mustWriter(t, testClient(t, Options{}, reg), Credentials{}, reg.Repo("app")), image, aBundle("one"))
		if got := string(rawAt(t, reg, "app", fallbackTag(image))); !strings.Contains(got, digest.String()) || strings.Contains(got, `"config"`) {
			t.Errorf("got %s", got)
		}
	}
}

func TestNothingIsWrittenForAnImageThatIsNotThere(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	reg.Reset()
	w := mustWriter(t, testClient(t, Options{}, reg), Credentials{}, reg.Repo("app"))
	_, err := w.Attach(within(t, admission), reg.Repo("app").Digest(someHash), aBundle("one"))
	wantKind(t, err, verify.NotFound)
	_, err = w.Attach(within(t, admission), reg.Repo("app").Digest("sha512:"+strings.Repeat("ab", 64)), aBundle("one"))
	wantKind(t, err, verify.Malformed)
	for _, r := range reg.Requests() {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.Path)
		}
	}
}

func TestArtifactsThatCouldNotBeReadAreNotWritten(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	w := mustWriter(t, testClient(t, Options{}, reg), Credentials{}, reg.Repo("app"))
	reg.Reset()
	for name, tc := range map[string]struct {
		artifact Artifact
		want     verify.FetchKind
	}{
		"nothing":                       {Artifact{}, verify.Malformed},
		"no type":                       {Artifact{Content: []byte("{}")}, verify.Malformed},
		"no content":                    {Artifact{Type: bundleType}, verify.Malformed},
		"content over the bound":        {Artifact{Type: bundleType, Content: make([]byte, verify.MaxPaper+1)}, verify.TooLarge},
		"annotations over the bound":    {Artifact{Type: bundleType, Content: []byte("{}"), Annotations: map[string]string{"a": strings.Repeat("x", maxAnnotations)}}, verify.TooLarge},
		"a type larger than a manifest": {Artifact{Type: strings.Repeat("x", MaxManifest), Content: []byte("{}")}, verify.TooLarge},
	} {
		_, err := w.Attach(within(t, admission), image, tc.artifact)
		if fe := wantKind(t, err, tc.want); name == "content over the bound" && fe.Size != verify.MaxPaper+1 {
			t.Errorf("its size is said to be %d", fe.Size)
		}
	}
	for _, r := range reg.Requests() {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.Path)
		}
	}
}

func TestWritingAsksForTheRightToWrite(t *testing.T) {
	t.Parallel()
	for name, with := range map[string]gate{"Basic": evilregistry.WithBasicAuth, "a token": evilregistry.WithTokenAuth} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := evilregistry.New(t, with(map[string]string{"u": "p"}, "**"))
			image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
			c := testClient(t, Options{}, reg)
			reg.Reset()
			// Two that fail first: the one that is let in is found.
			creds := Merge(credentialsFor(t, reg.Host()+"/app", "u", "p"), credentialsFor(t, reg.Host(), "other", "x"))
			attach(t, mustWriter(t, c, creds, reg.Repo("app")), image, aBundle("one"))
			asked := map[string]bool{}
			for _, r := range reg.Requests() {
				if r.Kind == evilregistry.Token {
					asked[r.Query] = true
				}
			}
			if name == "Basic" {
				return
			}
			both := 0
			for query := range asked {
				if strings.Contains(query, "pull%2Cpush") || strings.Contains(query, "pull,push") {
					both++
				}
			}
			if both == 0 || both == len(asked) { // the image itself is read by whoever may read
				t.Errorf("tokens were asked for by %v", asked)
			}
		})
	}
}

func TestWhoMayNotWriteIsToldSo(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]int{"not let in": 401, "not allowed": 403} {
		reg := evilregistry.New(t, evilregistry.WithTokenAuth(map[string]string{"u": "p"}, "**"))
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		rule := reg.On(evilregistry.Match{Kind: evilregistry.Upload}, evilregistry.Status(code, nil, `{"errors":[{"code":"DENIED"}]}`))
		reg.Reset()
		_, err := mustWriter(t, testClient(t, Options{}, reg), credentialsFor(t, reg.Host(), "u", "p"), reg.Repo("app")).
			Attach(within(t, admission), image, aBundle("one"))
		if fe := wantKind(t, err, verify.Unauthorized); !strings.Contains(fe.Error(), "uploading a blob") || !strings.Contains(fe.Error(), "DENIED") {
			t.Errorf("%s: %v", name, fe)
		}
		// Two blobs, each asked for once, and once more with a new login.
		if rule.Hits() > 4 {
			t.Errorf("%s: it was asked %d times", name, rule.Hits())
		}
	}
}

func TestWritingIsTriedAgainWhereNothingIsWrittenTwice(t *testing.T) {
	t.Parallel()
	for name, match := range map[string]evilregistry.Match{
		"the question": {Kind: evilregistry.Blob, Method: http.MethodHead}, "the beginning": {Kind: evilregistry.Upload, Method: http.MethodPost},
		"the upload": {Kind: evilregistry.Upload, Method: http.MethodPut}, "the manifest": {Kind: evilregistry.ManifestByDigest, Method: http.MethodPut},
		"the tag": {Kind: evilregistry.ManifestByTag, Method: http.MethodPut}, "the list": {Kind: evilregistry.ManifestByTag, Method: http.MethodGet},
	} {
		for what, fault := range map[string]evilregistry.Fault{
			"fails": evilregistry.Status(503, nil, ""), "asks to wait": evilregistry.RetryAfter(time.Second), "breaks off": evilregistry.CloseConnection(),
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				t.Parallel()
				reg := evilregistry.New(t, evilregistry.WithReferrersAPI(false))
				image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
				rule := reg.Once(match, fault)
				c := testClient(t, Options{}, reg)
				attach(t, mustWriter(t, c, Credentials{}, reg.Repo("app")), image, aBundle("one"))
				if l := list(t, c.With(Credentials{}), image); rule.Hits() != 1 || len(l.Papers) != 1 {
					t.Errorf("%d faults; %+v", rule.Hits(), l)
				}
				// And no more often than is bounded.
				reg.Reset()
				always := reg.On(match, fault)
				_, err := mustWriter(t, c, Credentials{}, reg.Repo("app")).Attach(within(t, admission), image, aBundle("two"))
				if wantKind(t, err, verify.Unavailable); always.Hits() > 2*(maxRetries+1)*2 {
					t.Errorf("tried %d times", always.Hits())
				}
			})
		}
	}
}

func TestAWriterThatIsCancelledStops(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	reg.On(evilregistry.Match{Kind: evilregistry.Upload}, evilregistry.Hang())
	c := testClient(t, Options{}, reg)
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	_, err := mustWriter(t, c, Credentials{}, reg.Repo("app")).Attach(ctx, image, aBundle("one"))
	wantKind(t, err, verify.Unavailable)
	wantAllFree(t, c.limits)
}

// Whether a blob is there need not be told: some registries turn the question away, and take the blob.
func TestABlobIsUploadedWhereItIsNotToldWhetherItIsThere(t *testing.T) {
	t.Parallel()
	for code, questions := range map[int]int{401: 4, 403: 2, 404: 2, 405: 2} { // after 401 once more, with a new login
		reg := evilregistry.New(t)
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		rule := reg.On(evilregistry.Match{Kind: evilregistry.Blob, Method: http.MethodHead}, evilregistry.Status(code, nil, ""))
		c := testClient(t, Options{}, reg)
		attach(t, mustWriter(t, c, Credentials{}, reg.Repo("app")), image, aBundle("one"))
		if l := list(t, c.With(Credentials{}), image); rule.Hits() != questions || len(l.Papers) != 1 {
			t.Errorf("%d: %d questions, %+v", code, rule.Hits(), l)
		}
	}
}

// What attaching costs once the registry is known: the image, three requests for each of two blobs, the manifest, and the
// question whether it is listed; where it isn't, the tag is read, written and read.
func TestRequestsOfAttaching(t *testing.T) {
	t.Parallel()
	for api, want := range map[bool]int{true: 9, false: 12} {
		reg := evilregistry.New(t, evilregistry.WithReferrersAPI(api))
		image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
		c := testClient(t, Options{}, reg)
		list(t, c.With(Credentials{}), image) // pings
		reg.Reset()
		if attach(t, mustWriter(t, c, Credentials{}, reg.Repo("app")), image, aBundle("one")); reg.Count(0) != want {
			t.Errorf("referrers API %v: %v, want %d", api, reg.Counts(), want)
		}
	}
}
