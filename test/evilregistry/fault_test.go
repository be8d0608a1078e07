package evilregistry_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pratique-dev/pratique/test/evilregistry"
)

// scene is a registry with one image, and the image as an honest registry
// serves it.
func scene(t *testing.T, opts ...evilregistry.Option) (reg *evilregistry.Registry, url string, honest reply) {
	t.Helper()
	reg = evilregistry.New(t, opts...)
	url = manifestURL(reg, reg.Push(t, "app:v1", evilregistry.RandomImage(1)))
	honest = ask(t, client(t), "GET", url)
	if honest.err != nil || honest.status != 200 {
		t.Fatalf("honest answer: %+v", honest)
	}
	reg.Reset()
	return reg, url, honest
}

func TestStatusFaultsAnswerAsTold(t *testing.T) {
	t.Parallel()
	reg, url, _ := scene(t)
	c := client(t)
	all := evilregistry.Match{}
	reg.Once(all, evilregistry.Status(403, http.Header{"x-why": {"because"}}, "body"))
	if got := ask(t, c, "GET", url); got.status != 403 || got.header.Get("X-Why") != "because" || got.body != "body" {
		t.Errorf("Status: %+v", got)
	}
	reg.Once(all, evilregistry.RetryAfter(1500*time.Millisecond))
	if got := ask(t, c, "GET", url); got.status != 429 || got.header.Get("Retry-After") != "2" {
		t.Errorf("RetryAfter: %+v", got)
	}
	reg.Once(all, evilregistry.Func(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(299) }))
	if got := ask(t, c, "GET", url); got.status != 299 {
		t.Errorf("Func: %+v", got)
	}
	reg.Once(all, evilregistry.Redirect("http://127.0.0.1:1/there", 307))
	if got := ask(t, c, "GET", url); got.status != 307 || got.header.Get("Location") != "http://127.0.0.1:1/there" {
		t.Errorf("Redirect with a path: %+v", got)
	}
	reg.Once(all, evilregistry.Redirect("http://127.0.0.1:1", 302))
	path := strings.TrimPrefix(url, reg.URL())
	if got := ask(t, c, "GET", url+"?a=b"); got.status != 302 || got.header.Get("Location") != "http://127.0.0.1:1"+path+"?a=b" {
		t.Errorf("Redirect without a path: %+v", got)
	}
}

func TestDelayIsLateAndTrue(t *testing.T) {
	t.Parallel()
	reg, url, honest := scene(t)
	reg.Once(evilregistry.Match{}, evilregistry.Delay(100*time.Millisecond))
	began := time.Now()
	got := ask(t, client(t), "GET", url)
	if took := time.Since(began); took < 100*time.Millisecond || got.body != honest.body {
		t.Errorf("after %v: %+v", took, got)
	}
}

func TestStallDripsUntilTheClientLeaves(t *testing.T) {
	t.Parallel()
	reg, url, honest := scene(t)
	reg.On(evilregistry.Match{}, evilregistry.Stall(5*time.Millisecond))
	ctx, leave := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer leave()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatalf("no headers: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the body ended: %v", err)
	}
	if len(body) == 0 || len(body) > 100 || !strings.HasPrefix(honest.body, string(body)) || resp.ContentLength != -1 {
		t.Errorf("%d bytes %q, length %d", len(body), body, resp.ContentLength)
	}
	eventually(t, func() bool { q := reg.Requests(); return len(q) == 1 && !q[0].End.IsZero() })
}

func TestStallGoesOnWithSpaces(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	blob := reg.PlantBlob("app", []byte("{}"))
	reg.On(evilregistry.Match{}, evilregistry.Stall(time.Millisecond))
	req, err := http.NewRequestWithContext(t.Context(), "GET", reg.URL()+"/v2/app/blobs/"+blob, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body := make([]byte, 10)
	if _, err := io.ReadFull(resp.Body, body); err != nil || string(body) != "{}        " {
		t.Errorf("%q, %v", body, err)
	}
}

func TestHangSaysNothing(t *testing.T) {
	t.Parallel()
	reg, url, _ := scene(t)
	reg.On(evilregistry.Match{}, evilregistry.Hang())
	ctx, leave := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer leave()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := client(t).Do(req); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", resp, err)
	}
	eventually(t, func() bool { q := reg.Requests(); return len(q) == 1 && !q[0].End.IsZero() && q[0].Status == 0 })
}

func TestBrokenConnectionsBreakAtTheByteNamed(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %t", secure), func(t *testing.T) {
			t.Parallel()
			var opts []evilregistry.Option
			if secure {
				opts = append(opts, evilregistry.WithTLS())
			}
			reg := evilregistry.New(t, opts...)
			url := manifestURL(reg, reg.Push(t, "app:v1", evilregistry.RandomImage(1)))
			c := trusting(t, reg)
			honest := ask(t, c, "GET", url)
			for _, n := range []int{0, 1, 100, len(honest.body) - 1} {
				reg.Once(evilregistry.Match{}, evilregistry.Truncate(n))
				got := ask(t, c, "GET", url)
				if !errors.Is(got.err, io.ErrUnexpectedEOF) || got.body != honest.body[:n] || got.status != 200 {
					t.Errorf("Truncate(%d): %d bytes, %v", n, len(got.body), got.err)
				}
			}
			reg.Once(evilregistry.Match{}, evilregistry.Truncate(len(honest.body)))
			if got := ask(t, c, "GET", url); got.err != nil || got.body != honest.body {
				t.Errorf("Truncate at the end: %v", got.err)
			}
			reg.Once(evilregistry.Match{}, evilregistry.Reset(10))
			if got := ask(t, c, "GET", url); !errors.Is(got.err, syscall.ECONNRESET) {
				t.Errorf("Reset: %v", got.err)
			}
			reg.On(evilregistry.Match{}, evilregistry.CloseConnection())
			if got := ask(t, c, "GET", url); got.err == nil || got.status != 0 {
				t.Errorf("CloseConnection: %+v", got)
			}
		})
	}
}

// trusting is a client that trusts the registry's CA, if it has one.
func trusting(t *testing.T, reg *evilregistry.Registry) *http.Client {
	t.Helper()
	c := client(t)
	if pool := reg.CAPool(); pool != nil {
		transport := c.Transport.(*http.Transport)
		transport.TLSClientConfig = tlsConfig(pool)
	}
	return c
}

func TestSpoiledAnswersDifferOnlyWhereTold(t *testing.T) {
	t.Parallel()
	reg, url, honest := scene(t)
	c := client(t)
	all := evilregistry.Match{}
	for _, i := range []int{0, 17, -1} {
		reg.Once(all, evilregistry.FlipByte(i))
		got := ask(t, c, "GET", url)
		at := (i + len(honest.body)) % len(honest.body)
		want := []byte(honest.body)
		want[at] ^= 1
		if got.body != string(want) || got.header.Get("Docker-Content-Digest") != honest.header.Get("Docker-Content-Digest") {
			t.Errorf("FlipByte(%d): %+v", i, got)
		}
	}
	reg.Once(all, evilregistry.FlipByte(1<<20))
	if got := ask(t, c, "GET", url); got.body != honest.body {
		t.Error("FlipByte outside the body changed it")
	}
	lie := "sha256:" + strings.Repeat("a", 64)
	reg.Times(2, all, evilregistry.FalseDigestHeader(lie))
	for _, method := range []string{"GET", "HEAD"} {
		if got := ask(t, c, method, url); got.header.Get("Docker-Content-Digest") != lie || method == "GET" && got.body != honest.body {
			t.Errorf("FalseDigestHeader on %s: %+v", method, got)
		}
	}
	// The lie of security.md section 0: ggcr's HEAD believes it.
	reg.On(evilregistry.Match{Method: "HEAD"}, evilregistry.FalseDigestHeader(lie))
	if head, err := remote.Head(reg.Repo("app").Tag("v1")); err != nil || head.Digest.String() != lie {
		t.Errorf("remote.Head: %v, %v", head, err)
	}
	reg.ClearFaults()
	reg.Once(all, evilregistry.WrongContentType("text/html"))
	if got := ask(t, c, "GET", url); got.header.Get("Content-Type") != "text/html" || got.body != honest.body {
		t.Errorf("WrongContentType: %+v", got)
	}
	reg.Once(all, evilregistry.Header("Docker-Content-Digest", ""))
	if got := ask(t, c, "GET", url); got.header.Get("Docker-Content-Digest") != "" || got.body != honest.body {
		t.Errorf("Header removed: %+v", got)
	}
}

func TestReplacedBodiesAgreeWithTheirHeaders(t *testing.T) {
	t.Parallel()
	reg, url, _ := scene(t)
	index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	reg.On(evilregistry.Match{}, evilregistry.ReplaceBody([]byte(index)))
	c := client(t)
	h, _, err := v1.SHA256(strings.NewReader(index))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{url, reg.URL() + "/v2/never/pushed/manifests/v1"} {
		got := ask(t, c, "GET", at)
		if got.status != 200 || got.body != index || got.header.Get("Docker-Content-Digest") != h.String() ||
			got.header.Get("Content-Type") != "application/vnd.oci.image.index.v1+json" {
			t.Errorf("GET %s: %+v", at, got)
		}
		if head := ask(t, c, "HEAD", at); head.header.Get("Content-Length") != fmt.Sprint(len(index)) || head.status != 200 {
			t.Errorf("HEAD %s: %+v", at, head)
		}
	}
}

func TestAManifestCanBeAnIndexToo(t *testing.T) {
	t.Parallel()
	reg, url, honest := scene(t)
	multi := manifestURL(reg, reg.Push(t, "multi", evilregistry.RandomIndex(1)))
	reg.On(evilregistry.Match{}, evilregistry.ManifestAndIndex())
	for _, at := range []string{url, multi} {
		got := ask(t, client(t), "GET", at)
		var doc map[string]json.RawMessage
		if err := json.Unmarshal([]byte(got.body), &doc); err != nil {
			t.Fatal(err)
		}
		if doc["manifests"] == nil || doc["layers"] == nil || doc["config"] == nil {
			t.Errorf("%s: %s", at, got.body)
		}
		if h, _, _ := v1.SHA256(strings.NewReader(got.body)); got.header.Get("Docker-Content-Digest") != h.String() {
			t.Errorf("%s: header %s, body %s", at, got.header.Get("Docker-Content-Digest"), h)
		}
	}
	var image struct{ Layers []json.RawMessage }
	if err := json.Unmarshal([]byte(honest.body), &image); err != nil || len(image.Layers) != 1 {
		t.Errorf("honest manifest: %v", err)
	}
}

func TestHugeNeverEndsItsDocument(t *testing.T) {
	t.Parallel()
	reg, url, _ := scene(t)
	const n = 1 << 20
	reg.Once(evilregistry.Match{}, evilregistry.Huge(n))
	got := ask(t, client(t), "GET", url)
	if len(got.body) != n || got.header.Get("Content-Length") != "" {
		t.Errorf("%d bytes, length %q", len(got.body), got.header.Get("Content-Length"))
	}
	var index v1.IndexManifest
	if err := json.Unmarshal([]byte(got.body), &index); err == nil {
		t.Error("the document ends")
	}
	end := strings.LastIndex(got.body, "},") + 1
	if err := json.Unmarshal([]byte(got.body[:end]+"]}"), &index); err != nil || len(index.Manifests) < 1000 {
		t.Errorf("the document does not look valid: %v, %d entries", err, len(index.Manifests))
	}
	reg.Once(evilregistry.Match{}, evilregistry.Huge(0))
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if read, err := io.CopyN(io.Discard, resp.Body, 20<<20); err != nil {
		t.Errorf("an endless body ended after %d bytes: %v", read, err)
	}
	_ = resp.Body.Close()
	eventually(t, func() bool { q := reg.Requests(); return !q[len(q)-1].End.IsZero() })
}

func TestTheGzipBombIsAThousandToOne(t *testing.T) {
	t.Parallel()
	reg, url, _ := scene(t)
	const n = 8 << 20
	reg.On(evilregistry.Match{}, evilregistry.GzipBomb(n))
	got := ask(t, client(t), "GET", url)
	if got.header.Get("Content-Encoding") != "gzip" || len(got.body)*900 > n {
		t.Errorf("encoding %q, %d bytes for %d", got.header.Get("Content-Encoding"), len(got.body), n)
	}
	zip, err := gzip.NewReader(strings.NewReader(got.body))
	if err != nil {
		t.Fatal(err)
	}
	var manifest v1.Manifest
	if err := json.NewDecoder(zip).Decode(&manifest); err != nil || len(manifest.Annotations["a"]) != n {
		t.Errorf("%v, %d", err, len(manifest.Annotations["a"]))
	}
	// Go's own client unpacks it unasked, which is what makes it a bomb.
	plain := &http.Transport{}
	defer plain.CloseIdleConnections()
	if got := ask(t, &http.Client{Transport: plain}, "GET", url); len(got.body) < n {
		t.Errorf("a default client saw %d bytes", len(got.body))
	}
}

func TestSwapChangesItsStoryAndStaysAtTheLast(t *testing.T) {
	t.Parallel()
	reg, url, honest := scene(t)
	reg.On(evilregistry.Match{}, evilregistry.Swap(
		evilregistry.Pass(), evilregistry.ReplaceBody([]byte("B")), evilregistry.Stack(evilregistry.Delay(time.Millisecond), evilregistry.Status(404, nil, ""))))
	c := client(t)
	var got []string
	for range 4 {
		r := ask(t, c, "GET", url)
		got = append(got, fmt.Sprint(r.status, len(r.body)))
	}
	want := []string{fmt.Sprint(200, len(honest.body)), "200 1", "404 0", "404 0"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestSometimesHitsItsShareAndFollowsFromItsSeed(t *testing.T) {
	t.Parallel()
	reg, url, _ := scene(t)
	c := client(t)
	pattern := func(share float64, seed uint64) (string, int) {
		rule := reg.On(evilregistry.Match{}, evilregistry.Sometimes(share, seed, evilregistry.Status(503, nil, "")))
		defer rule.Remove()
		var b strings.Builder
		hits := 0
		for range 200 {
			if ask(t, c, "GET", url).status == 503 {
				hits++
				b.WriteByte('x')
			} else {
				b.WriteByte('.')
			}
		}
		return b.String(), hits
	}
	first, hits := pattern(0.5, 1)
	if hits < 60 || hits > 140 {
		t.Errorf("half of 200 came out as %d", hits)
	}
	if again, _ := pattern(0.5, 1); again != first {
		t.Errorf("the same seed told another story:\n%s\n%s", first, again)
	}
	if _, hits := pattern(1, 1); hits != 200 {
		t.Errorf("all of 200 came out as %d", hits)
	}
	if _, hits := pattern(0, 1); hits != 0 {
		t.Errorf("none of 200 came out as %d", hits)
	}
}
