package evilregistry_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pratique-dev/pratique/test/evilregistry"
)

func TestPushedThingsCanBeReadOverTheNetwork(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "team/app:v1", evilregistry.RandomImage(1))
	index := reg.Push(t, "team/multi:v1", evilregistry.RandomIndex(2))
	if n := reg.Count(0); n != 0 {
		t.Fatalf("pushing made %d requests, want none in the journal", n)
	}
	got, err := remote.Image(reg.Repo("team/app").Tag("v1"))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := got.Digest(); err != nil || d.String() != image.DigestStr() {
		t.Errorf("by tag: %v, %v, want %s", d, err, image.DigestStr())
	}
	layers, err := got.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("layers: %v, %v", layers, err)
	}
	if _, err := layers[0].Compressed(); err != nil {
		t.Errorf("layer: %v", err)
	}
	list, err := remote.Index(index)
	if err != nil {
		t.Fatal(err)
	}
	m, err := list.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if m.MediaType != types.OCIImageIndex || len(m.Manifests) != 2 || m.Manifests[1].Platform.Architecture != "arm64" {
		t.Errorf("index: %+v", m)
	}
	for _, child := range m.Manifests {
		if _, err := remote.Image(index.Context().Digest(child.Digest.String())); err != nil {
			t.Errorf("child %s: %v", child.Digest, err)
		}
	}
}

func TestImagesFollowFromTheirSeed(t *testing.T) {
	t.Parallel()
	digest := func(what interface{ Digest() (v1.Hash, error) }) string {
		h, err := what.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return h.String()
	}
	if a, b := digest(evilregistry.RandomImage(7)), digest(evilregistry.RandomImage(7)); a != b {
		t.Errorf("same seed: %s and %s", a, b)
	}
	if a, b := digest(evilregistry.RandomIndex(7)), digest(evilregistry.RandomIndex(7)); a != b {
		t.Errorf("same seed: %s and %s", a, b)
	}
	seen := map[string]uint64{}
	for seed := range uint64(100) {
		d := digest(evilregistry.RandomImage(seed))
		if other, ok := seen[d]; ok {
			t.Errorf("seeds %d and %d make one image", other, seed)
		}
		seen[d] = seed
	}
}

func TestTheJournalTellsWhatCame(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "team/app:v1", evilregistry.RandomImage(1))
	reg.Once(evilregistry.Match{Kind: evilregistry.Referrers}, evilregistry.Status(418, nil, "no"))
	c := client(t)
	ask(t, c, "GET", manifestURL(reg, image)+"?x=1", "Authorization", "Bearer abc", "Accept", "a/b")
	ask(t, c, "HEAD", reg.URL()+"/v2/team/app/manifests/v1")
	ask(t, c, "GET", referrersURL(reg, image))
	got := reg.Requests()
	if len(got) != 3 {
		t.Fatalf("%d requests, want 3", len(got))
	}
	for i, want := range []evilregistry.Request{
		{Method: "GET", Kind: evilregistry.ManifestByDigest, Ref: image.DigestStr(), Status: 200, Authorization: "Bearer abc", Query: "x=1"},
		{Method: "HEAD", Kind: evilregistry.ManifestByTag, Ref: "v1", Status: 200},
		{Method: "GET", Kind: evilregistry.Referrers, Ref: image.DigestStr(), Status: 418, Fault: "Status(418)"},
	} {
		q := got[i]
		if q.Method != want.Method || q.Kind != want.Kind || q.Ref != want.Ref || q.Status != want.Status ||
			q.Authorization != want.Authorization || q.Query != want.Query || q.Fault != want.Fault || q.Repo != "team/app" || q.Host != reg.Host() {
			t.Errorf("request %d: %+v", i, q)
		}
		if q.End.Before(q.Start) || q.End.IsZero() {
			t.Errorf("request %d ran from %v to %v", i, q.Start, q.End)
		}
	}
	if got[0].Header.Get("Accept") != "a/b" || got[0].Bytes == 0 || got[1].Bytes != 0 {
		t.Errorf("header %v, bytes %d and %d", got[0].Header, got[0].Bytes, got[1].Bytes)
	}
	if n := reg.Count(evilregistry.Manifest); n != 2 {
		t.Errorf("Count(Manifest) = %d", n)
	}
	reg.Reset()
	if n := len(reg.Requests()) + reg.Count(0); n != 0 {
		t.Errorf("after Reset: %d", n)
	}
}

func TestCountsOnlyKeepsNoList(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithCountsOnly())
	ask(t, client(t), "GET", reg.URL()+"/v2/")
	if got := reg.Requests(); len(got) != 0 {
		t.Errorf("list: %v", got)
	}
	if got := reg.Counts(); len(got) != 1 || got[evilregistry.Ping] != 1 {
		t.Errorf("counts: %v", got)
	}
}

func TestSerialDepthTellsChainsFromFans(t *testing.T) {
	t.Parallel()
	const delay = 150 * time.Millisecond
	reg := evilregistry.New(t, evilregistry.WithDelay(delay))
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	c := client(t)
	began := time.Now()
	for range 3 { // one after another
		ask(t, c, "GET", manifestURL(reg, image))
	}
	if took := time.Since(began); took < 3*delay {
		t.Errorf("three requests took %v, want at least %v", took, 3*delay)
	}
	var side sync.WaitGroup
	for range 5 { // side by side
		side.Go(func() { ask(t, c, "GET", manifestURL(reg, image)) })
	}
	side.Wait()
	ask(t, c, "GET", reg.URL()+"/v2/")
	if got := reg.SerialDepth(); got != 5 {
		t.Errorf("SerialDepth() = %d, want 5", got)
	}
	if got := reg.SerialDepth(evilregistry.Login); got != 4 {
		t.Errorf("SerialDepth(Login) = %d, want 4", got)
	}
	reg.SetDelay(0)
	began = time.Now()
	ask(t, c, "GET", manifestURL(reg, image))
	if took := time.Since(began); took >= delay {
		t.Errorf("after SetDelay(0) a request took %v", took)
	}
}

func TestTLSIsServedUnderTheTestCAUntilItRotates(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t, evilregistry.WithTLS("registry.test"))
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	under := func(serverName string) error {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: reg.CAPool(), ServerName: serverName}}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(manifestURL(reg, image))
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	for _, serverName := range []string{"", "localhost", "registry.test"} {
		if err := under(serverName); err != nil {
			t.Errorf("as %q: %v", serverName, err)
		}
	}
	if err := under("other.test"); err == nil {
		t.Error("a certificate for another name was accepted")
	}
	if got := ask(t, client(t), "GET", reg.URL()+"/v2/"); got.err == nil {
		t.Error("a client without the CA was served")
	}
	old := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: reg.CAPool()}}
	defer old.CloseIdleConnections()
	before := string(reg.CAPEM())
	reg.RotateCA(t)
	if string(reg.CAPEM()) == before {
		t.Error("the CA did not change")
	}
	if got := ask(t, &http.Client{Transport: old}, "GET", reg.URL()+"/v2/"); got.err == nil {
		t.Error("the old CA still verifies")
	}
	if err := under(""); err != nil {
		t.Errorf("under the new CA: %v", err)
	}
	// ggcr finds https by itself.
	fresh := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: reg.CAPool()}}
	defer fresh.CloseIdleConnections()
	if _, err := remote.Get(image, remote.WithTransport(fresh)); err != nil {
		t.Errorf("remote.Get: %v", err)
	}
}

func TestCloseEndsStalledAnswers(t *testing.T) {
	t.Parallel()
	reg, err := evilregistry.Start()
	if err != nil {
		t.Fatal(err)
	}
	reg.On(evilregistry.Match{}, evilregistry.Hang())
	done := make(chan error, 1)
	go func() {
		req, _ := http.NewRequestWithContext(context.Background(), "GET", reg.URL()+"/v2/", nil)
		_, err := http.DefaultClient.Do(req)
		done <- err
	}()
	for reg.Count(0) == 0 {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	reg.Close()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("Close took %v", took)
	}
	if err := <-done; err == nil {
		t.Error("the stalled request was answered")
	}
}

func TestPlantsAreServedAsTheyAre(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	both := evilregistry.AmbiguousManifest("application/vnd.oci.image.manifest.v1+json")
	planted := reg.Plant(t, "app", "application/vnd.oci.image.manifest.v1+json", both, "v1", "v2")
	c := client(t)
	for _, url := range []string{manifestURL(reg, planted), reg.URL() + "/v2/app/manifests/v1", reg.URL() + "/v2/app/manifests/v2"} {
		got := ask(t, c, "GET", url)
		if got.body != string(both) || got.header.Get("Docker-Content-Digest") != planted.DigestStr() || got.status != 200 {
			t.Errorf("%s: %+v", url, got)
		}
		if head := ask(t, c, "HEAD", url); head.status != 200 || head.body != "" {
			t.Errorf("HEAD %s: %+v", url, head)
		}
	}
	blob := reg.PlantBlob("app", []byte("anything"))
	if got := ask(t, c, "GET", reg.URL()+"/v2/app/blobs/"+blob); got.body != "anything" {
		t.Errorf("blob: %+v", got)
	}
	wide := reg.Plant(t, "app", "application/vnd.oci.image.index.v1+json", evilregistry.WideIndex(1000))
	index, err := remote.Index(wide)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := index.IndexManifest(); err != nil || len(m.Manifests) != 1000 {
		t.Errorf("wide index: %v", err)
	}
}

func TestNestedIndexesAreAsDeepAsAsked(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	at := reg.PlantNested(t, "app", 10)
	depth := 0
	for {
		got, err := remote.Get(at)
		if err != nil {
			t.Fatal(err)
		}
		if !got.MediaType.IsIndex() {
			break
		}
		index, err := got.ImageIndex()
		if err != nil {
			t.Fatal(err)
		}
		m, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		at = at.Context().Digest(m.Manifests[0].Digest.String())
		depth++
	}
	if depth != 10 {
		t.Errorf("depth %d, want 10", depth)
	}
}

func TestDeleteByTagLeavesTheDigest(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	c := client(t)
	status := func(ref string) int { return ask(t, c, "GET", reg.URL()+"/v2/app/manifests/"+ref).status }
	reg.Delete(t, "app:v1")
	if tag, digest := status("v1"), status(image.DigestStr()); tag != 404 || digest != 200 {
		t.Errorf("after deleting the tag: tag %d, digest %d", tag, digest)
	}
	reg.Delete(t, "app@"+image.DigestStr())
	if digest := status(image.DigestStr()); digest != 404 {
		t.Errorf("after deleting the digest: %d", digest)
	}
}
