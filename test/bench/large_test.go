package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// slack is what the heap takes beside what is measured: the runtime's own, and what other tests left to finalizers.
const slack = 2 << 20

// peaks measures three times, and returns the least and the most that came of it. On a busy machine a collection may take so long that it counts what
// was garbage by its end, or comes too late to see what was there.
func peaks(t *testing.T, do func() error) (least, most int64) {
	t.Helper()
	for i := range 3 {
		used, err := peak(do)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			least = used
		}
		least, most = min(least, used), max(most, used)
	}
	return least, most
}

// apart runs a test again in a process without the race detector, and tells whether it did. With it a large paper takes forty times as long, more than
// a gathering of papers may last. That process is built as the commands are, so that it shares what was built for those.
func apart(t *testing.T) bool {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it makes and verifies large papers, and with the race detector builds a process without it")
	}
	if !raced {
		return false
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-trimpath", "-buildvcs=false", "-count=1", "-v", "-run", "^"+t.Name()+"$", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("without the race detector: %v\n%s", err, out)
	}
	return true
}

// Where sigstore-go is given an envelope it makes copies of its own: of what is fetched there are six at most, and with a bare key, of which it is told
// no more than a digest, three times what was signed. This test and the next measure the heap of the whole process, so they don't run in parallel.
func TestALargePaperTakesNoMoreMemoryThanPromised(t *testing.T) {
	if apart(t) {
		return
	}
	const size = 6 << 20
	statement := verifytest.StatementOf(predicate.TypeSPDX, spdx(0, size), verifytest.Digest("image"))
	for _, make := range layoutsOfLarge(statement) {
		l, err := make()
		if err != nil {
			t.Fatal(err)
		}
		fetched := int64(len(l.paper.Payload)) // which is there before
		bound := 6 * fetched
		if strings.HasSuffix(l.name, ", key") {
			bound = 3 * int64(l.payload)
		}
		least, most := peaks(t, func() error { _, _, err := l.facts(t.Context()); return err })
		if least+fetched > bound+slack {
			t.Errorf("%s: %d bytes were live for %d signed, want at most %d", l.name, least+fetched, l.payload, bound)
		}
		if most < int64(l.payload) {
			t.Errorf("%s: %d bytes were live beside the envelope, less than what is in it: nothing was measured", l.name, most)
		}
	}
}

// largest is a policy over the largest papers.
const largest = `apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: large, namespace: %s}
spec:
  images: {include: ["registry.example.com/**"]}
  authorities:
  - {name: scanner, key: {data: %q}}
  require:
    sbom: {by: [scanner], minPackages: 50000, maxAge: 168h, licenses: {deny: ["AGPL-*"], unknown: Warn}}
    vulnerabilities: {by: [scanner], maxAge: 168h, max: {critical: 1, high: 4, medium: 45}, warn: {low: 10000}, maxDatabaseAge: 120h}
`

// The bill of materials is of 60 MiB, near the bound of 64. Both papers are verified one after another, so that the larger one bounds the memory.
func TestAnSBOMOf60MiBAndAScanOf20000FindingsAreJudgedWithinBounds(t *testing.T) {
	if apart(t) {
		return
	}
	image := verifytest.Digest("image")
	key, err := newSigner()
	if err != nil {
		t.Fatal(err)
	}
	registry := &memoryRegistry{verifytest.NewRegistry()}
	signed, fetched := 0, 0
	for _, p := range []paper{{kind: predicate.TypeSPDX, predicate: spdx(0, 60<<20)}, {kind: predicate.TypeCosignVuln, predicate: scan(20_000)}} {
		statement := verifytest.StatementOf(p.kind, p.predicate, image)
		c, err := key.bundle(statement)
		if err != nil {
			t.Fatal(err)
		}
		registry.Attach(image, c)
		signed, fetched = max(signed, len(statement)), fetched+len(c.Payload)
	}
	var e *admission.Evaluator
	var query admission.Query
	least, _ := peaks(t, func() error {
		e, query = largeEngine(t, key, registry)
		if d := e.Decide(t.Context(), query); !d.Allowed() {
			return errors.New(d.Message())
		}
		return nil
	})
	live := least + int64(fetched)
	if bound := int64(3*signed + slack); live > bound {
		t.Errorf("%d bytes were live for %d signed, both papers included, want at most %d", live, signed, bound)
	}
	bytes, entries := e.Verifier.Size()
	before := registry.requests()
	if d := e.Decide(t.Context(), query); !d.Allowed() || registry.requests() != before || entries != 2 {
		t.Errorf("%s: asked again, %d requests more: %d findings of %d bytes are held", d.Message(), registry.requests()-before, entries, bytes)
	}
	t.Logf("%d MiB were live for %d MiB signed; %d KiB are held", live>>20, signed>>20, bytes>>10)
}

func largeEngine(t *testing.T, key signer, registry *memoryRegistry) (*admission.Evaluator, admission.Query) {
	t.Helper()
	e, err := engineOf(t.Context(), fmt.Sprintf(largest, namespace, key.pem()), registry)
	if err != nil {
		t.Fatal(err)
	}
	return e, admission.Query{Namespace: namespace, Images: []admission.Image{
		{List: admission.Containers, Name: "app", Reference: repository + "@" + verifytest.Digest("image").String()},
	}}
}
