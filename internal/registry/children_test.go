package registry

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// entry is one manifest of an index that a test makes up.
type indexEntry struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    map[string]string `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func imageFor(text, os, arch, variant string) indexEntry {
	e := indexEntry{MediaType: string(types.OCIManifestSchema1), Digest: hashOf([]byte(text)).String(), Size: 100}
	if os != "" {
		e.Platform = map[string]string{"os": os, "architecture": arch}
		if variant != "" {
			e.Platform["variant"] = variant
		}
	}
	return e
}

func pushIndex(t *testing.T, reg *evilregistry.Registry, repo string, entries ...indexEntry) (name.Digest, indexEntry) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": types.OCIImageIndex, "manifests": entries})
	if err != nil {
		t.Fatal(err)
	}
	d := reg.Plant(t, repo, string(types.OCIImageIndex), body)
	return d, indexEntry{MediaType: string(types.OCIImageIndex), Digest: hashOf(body).String(), Size: len(body)}
}

func TestWhichChildrenOfAnIndexANodeMayRun(t *testing.T) {
	t.Parallel()
	attestation := imageFor("attestation", "unknown", "unknown", "")
	attestation.Annotations = map[string]string{referenceType: attestationManifest}
	claims := imageFor("claims", "linux", "s390x", "")
	claims.Annotations = attestation.Annotations
	reg := evilregistry.New(t)
	_, inner := pushIndex(t, reg, "app", imageFor("arm", "linux", "arm64", "v8"), imageFor("amd", "linux", "amd64", ""))
	image, _ := pushIndex(t, reg, "app", imageFor("amd", "linux", "amd64", ""), attestation, claims, imageFor("anywhere", "", "", ""),
		imageFor("unknown", "unknown", "unknown", ""), inner, inner)
	l := list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
	var got []string
	for _, c := range l.Children {
		text := "?"
		for _, known := range []string{"amd", "claims", "anywhere", "unknown", "arm", "attestation"} {
			if c.Digest == hashOf([]byte(known)) {
				text = known
			}
		}
		got = append(got, fmt.Sprintf("%s %s", text, c.Platform))
	}
	want := []string{"amd linux/amd64", "claims linux/s390x", "anywhere /", "unknown unknown/unknown", "arm linux/arm64"}
	if !l.Index || !slices.Equal(got, want) {
		t.Errorf("index %t, children %q, want %q", l.Index, got, want)
	}
}

func TestAnImageThatIsNoIndexHasNoChildren(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	l := list(t, testClient(t, Options{}, reg).With(Credentials{}), reg.Push(t, "app:v1", evilregistry.RandomImage(1)))
	if l.Index || len(l.Children) != 0 {
		t.Errorf("%+v", l)
	}
}

// TestRow44_NestedAndWideIndexesAreRefusedInBoundedTimeAndMemory measures, and so runs by itself.
func TestRow44_NestedAndWideIndexesAreRefusedInBoundedTimeAndMemory(t *testing.T) {
	reg := evilregistry.New(t)
	many := func(n int) (out []indexEntry) {
		for i := range n {
			out = append(out, imageFor(fmt.Sprint(i), "linux", "amd64", ""))
		}
		return out
	}
	_, at := pushIndex(t, reg, "deep", imageFor("leaf", "linux", "amd64", ""))
	var deep name.Digest
	for range 9 {
		deep, at = pushIndex(t, reg, "deep", at)
	}
	_, wideInner := pushIndex(t, reg, "split", many(verify.MaxChildren-1)...)
	wide, _ := pushIndex(t, reg, "wide", many(10_000)...)
	split, _ := pushIndex(t, reg, "split", append(many(1), wideInner)...)
	for what, image := range map[string]name.Digest{"10 deep": deep, "10,000 children": wide, "65 children over two depths": split} {
		a := testClient(t, Options{}, reg).With(Credentials{})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begin := time.Now()
		_, err := a.List(within(t, admission), image, nil)
		took := time.Since(begin)
		runtime.ReadMemStats(&after)
		fe := wantKind(t, err, verify.IndexTooLarge)
		if fe.Place != verify.PlaceManifest || !fe.Answer() {
			t.Errorf("%s: %+v", what, fe)
		}
		t.Logf("%s: %s, %d MiB allocated in all, the registry's share included", what, took, (after.TotalAlloc-before.TotalAlloc)>>20)
		if took > 5*time.Second || after.TotalAlloc-before.TotalAlloc > 128<<20 {
			t.Errorf("%s: took %s and %d MiB", what, took, (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}
	// Two deep and 64 wide is within the bounds.
	if l := list(t, testClient(t, Options{}, reg).With(Credentials{}), func() name.Digest {
		d, _ := pushIndex(t, reg, "fine", many(verify.MaxChildren)...)
		return d
	}()); len(l.Children) != verify.MaxChildren {
		t.Errorf("%d children", len(l.Children))
	}
}

func TestRow44_AnIndexIsReadOnceHoweverOftenItIsNamed(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	_, inner := pushIndex(t, reg, "app", imageFor("leaf", "linux", "amd64", ""))
	image, _ := pushIndex(t, reg, "app", inner, inner, inner)
	before := len(reg.Requests())
	l := list(t, testClient(t, Options{}, reg).With(Credentials{}), image)
	reads := 0
	for _, r := range reg.Requests()[before:] {
		if strings.HasSuffix(r.Path, inner.Digest) {
			reads++
		}
	}
	if len(l.Children) != 1 || reads != 1 {
		t.Errorf("%d children, %d reads", len(l.Children), reads)
	}
}

func TestAnIndexThatNobodyCouldRunIsMalformed(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	attestation := imageFor("attestation", "unknown", "unknown", "")
	attestation.Annotations = map[string]string{referenceType: attestationManifest}
	empty, _ := pushIndex(t, reg, "empty")
	papers, _ := pushIndex(t, reg, "papers", attestation)
	image := reg.Push(t, "mixed:v1", evilregistry.RandomImage(1))
	raw, err := v1.NewHash(image.DigestStr())
	if err != nil {
		t.Fatal(err)
	}
	lies, _ := pushIndex(t, reg, "mixed", indexEntry{MediaType: string(types.OCIImageIndex), Digest: raw.String(), Size: -1})
	for what, d := range map[string]name.Digest{"without manifests": empty, "of attestations only": papers, "with a negative size": lies} {
		if _, err := testClient(t, Options{}, reg).With(Credentials{}).List(within(t, admission), d, nil); err == nil {
			t.Errorf("%s: listed", what)
		} else {
			wantKind(t, err, verify.Malformed)
		}
	}
}

func TestPresentAsksWithTheCredentialsAtHand(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	a := testClient(t, Options{}, reg).With(Credentials{})
	if err := a.Present(within(t, admission), image); err != nil {
		t.Fatal(err)
	}
	wantKind(t, a.Present(within(t, admission), reg.Repo("app").Digest(someHash)), verify.NotFound)
}
