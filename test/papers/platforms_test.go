package papers_test

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	emptyimage "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// laidOut is an index and its children that nodes run, as a tool laid them out.
type laidOut struct {
	*served
	t        testing.TB
	people   *people
	now      time.Time
	index    v1.Hash
	children []v1.Hash
}

// ship puts an index there.
func ship(t testing.TB, index v1.ImageIndex, runnable int) *laidOut {
	t.Helper()
	l := &laidOut{t: t, people: everyone(t), now: verifytest.Then(), served: newServed(t, false, evilregistry.WithArtifactTypes())("payments/api")}
	l.index = l.put(t, index)
	for _, d := range parts(t, index)[:runnable] {
		l.children = append(l.children, d.Digest)
	}
	return l
}

// buildx returns an index as docker buildx build --sbom --provenance lays it out: the children, and for each an attestation manifest that nobody
// signed, with an in-toto statement in each layer.
func buildx(t testing.TB) v1.ImageIndex {
	t.Helper()
	index := evilregistry.RandomIndex(5)
	for _, child := range parts(t, index) {
		sbom := verifytest.StatementOf(predicate.TypeSPDX, []byte(document(t, "sbom/buildkit-spdx-2.3.json", verifytest.Then())), child.Digest)
		from := verifytest.StatementOf(predicate.TypeProvenance02, []byte(`{"builder": {"id": ""}, "buildType": "https://mobyproject.org/buildkit@v1"}`), child.Digest)
		attestation := mutate.ConfigMediaType(mutate.MediaType(emptyimage.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
		var err error
		for kind, text := range map[string][]byte{predicate.TypeSPDX: sbom, predicate.TypeProvenance02: from} {
			attestation, err = mutate.Append(attestation, mutate.Addendum{
				Layer: static.NewLayer(text, "application/vnd.in-toto+json"), Annotations: map[string]string{"in-toto.io/predicate-type": kind},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: attestation, Descriptor: v1.Descriptor{
			Platform:    &v1.Platform{OS: "unknown", Architecture: "unknown"},
			Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": child.Digest.String()},
		}})
	}
	return index
}

// attachSBOM attaches a bill of materials as cosign attach sbom and ko do: under a tag, unsigned.
func (l *laidOut) attachSBOM(to v1.Hash) {
	l.t.Helper()
	image, err := mutate.Append(mutate.MediaType(emptyimage.Image, types.OCIManifestSchema1), mutate.Addendum{
		Layer: static.NewLayer([]byte(document(l.t, "sbom/syft-spdx-2.3.json", l.now)), "text/spdx+json"),
	})
	if err == nil {
		err = remote.Write(l.Repo(l.path).Tag("sha256-"+to.Hex+".sbom"), image, l.Options()...)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// attestSBOM attests a bill of materials as cosign attest does.
func (l *laidOut) attestSBOM(to v1.Hash, about ...v1.Hash) {
	l.t.Helper()
	l.attach(l.t, to, l.people.release.attest(l.t, l.now, predicate.TypeSPDX, goodSBOM(l.t, said{at: l.now}), about...), predicate.TypeSPDX)
}

// attestBuild attests provenance as GitHub's attest-build-provenance does.
func (l *laidOut) attestBuild(to v1.Hash, about ...v1.Hash) {
	l.t.Helper()
	l.attach(l.t, to, l.people.ci.attest(l.t, l.now, predicate.TypeProvenance1, built(l.t, said{}), about...), predicate.TypeProvenance1)
}

const (
	wantSBOM  = "sbom: {by: [release], minPackages: 5}"
	wantBuild = `provenance: {by: [ci], builders: ["` + workflow + `"], sources: ["git+https://github.com/acme/app"]}`
)

// judge judges the index by a policy for some platforms, all where there are none.
func (l *laidOut) judge(platforms ...string) map[string]policy.Result {
	l.t.Helper()
	text := imagePolicy(l.people, l.repository(), "", wantSBOM, wantBuild)
	if len(platforms) > 0 {
		text = strings.Replace(text, "images: {include: [", "images: {platforms: ["+strings.Join(platforms, ", ")+"], include: [", 1)
	}
	d := newDesk(l.t, l.now, l.served)
	d.load(l.t, text, l.people.trustRoot)
	_, results := d.decide(l.t, l.repository(), l.index)
	return results
}

// is holds a result to an outcome, a reason, and words in the detail.
func is(t testing.TB, r policy.Result, outcome policy.Outcome, reason policy.Reason, words ...string) {
	t.Helper()
	if r.Outcome != outcome || r.Reason != reason {
		t.Errorf("%s: %s %s: %s; want %s %s", r.Requirement, r.Outcome, r.Reason, r.Detail, outcome, reason)
	}
	for _, w := range words {
		if !strings.Contains(r.Detail, w) {
			t.Errorf("%s: %q isn't in: %s", r.Requirement, w, r.Detail)
		}
	}
}

func TestBuildxsUnsignedAttestationsAreNamedAndCountForNothing(t *testing.T) {
	t.Parallel()
	l := ship(t, buildx(t), 2)
	got := l.judge()
	is(t, got["sbom"], policy.Violated, policy.NoSBOM, "linux/amd64", "BuildKit's attestation manifest in the index", "which nobody signed: attest it with cosign attest")
	is(t, got["provenance"], policy.Violated, policy.NoProvenance, "linux/amd64", "BuildKit's attestation manifest in the index", "which nobody signed")
}

func TestBuildxWithPapersOfEachPlatform(t *testing.T) {
	t.Parallel()
	l := ship(t, buildx(t), 2)
	for _, child := range l.children {
		l.attestSBOM(child, child)
		l.attestBuild(child, child)
	}
	got := l.judge()
	is(t, got["sbom"], policy.Satisfied, policy.Verified, "for 2 platforms")
	is(t, got["provenance"], policy.Satisfied, policy.Verified, "for 2 platforms")
}

func TestBuildxsAttestationManifestNeedsNoPapersButAChildThatSaysSoDoes(t *testing.T) {
	t.Parallel()
	// A child for a platform that nodes have runs there, whatever its annotation says.
	index := mutate.AppendManifests(evilregistry.RandomIndex(5), mutate.IndexAddendum{Add: evilregistry.RandomImage(6), Descriptor: v1.Descriptor{
		Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}, Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"},
	}})
	l := ship(t, index, 2)
	for _, child := range l.children {
		l.attestSBOM(child, child)
		l.attestBuild(child, child)
	}
	got := l.judge()
	is(t, got["sbom"], policy.Violated, policy.NoSBOM, "linux/s390x")
	is(t, l.judge("linux/amd64", "linux/arm64")["sbom"], policy.Satisfied, policy.Verified)
}

func TestKosUnsignedSBOMsAreNamed(t *testing.T) {
	t.Parallel()
	l := ship(t, evilregistry.RandomIndex(5), 2)
	l.attachSBOM(l.index)
	for _, child := range l.children {
		l.attachSBOM(child)
	}
	is(t, l.judge()["sbom"], policy.Violated, policy.NoSBOM, "linux/amd64", "what cosign attach sbom attached (text/spdx+json), which nobody signed")
}

func TestCosignAttestOfTheIndexAloneSaysWhatToDo(t *testing.T) {
	t.Parallel()
	l := ship(t, evilregistry.RandomIndex(5), 2)
	l.attestSBOM(l.index, l.index)
	l.attestBuild(l.index, l.index)
	got := l.judge()
	is(t, got["sbom"], policy.Violated, policy.NoSBOM, "linux/amd64", "one for the index, which does not name this platform among its subjects")
	is(t, got["provenance"], policy.Violated, policy.NoProvenance, "linux/amd64", "one for the index, which does not name this platform among its subjects")
}

// cosign attest --recursive attests the index, and each child by itself.
func TestCosignAttestRecursive(t *testing.T) {
	t.Parallel()
	l := ship(t, evilregistry.RandomIndex(5), 2)
	for _, one := range append([]v1.Hash{l.index}, l.children...) {
		l.attestSBOM(one, one)
		l.attestBuild(one, one)
	}
	got := l.judge()
	is(t, got["sbom"], policy.Satisfied, policy.Verified)
	is(t, got["provenance"], policy.Satisfied, policy.Verified)
}

// GitHub's attest takes several subjects (subject-checksums), and puts the bundle beside the first.
func TestOneStatementOnTheIndexThatNamesAllChildren(t *testing.T) {
	t.Parallel()
	l := ship(t, buildx(t), 2)
	l.attestSBOM(l.index, l.index, l.children[0], l.children[1])
	l.attestBuild(l.index, l.index, l.children[0], l.children[1])
	got := l.judge()
	is(t, got["sbom"], policy.Satisfied, policy.Verified, "for 2 platforms")
	is(t, got["provenance"], policy.Satisfied, policy.Verified, "for 2 platforms")
}

// It need not name the index itself: buildx's own attestations, once signed, name the children alone.
func TestAStatementOnTheIndexMayNameItsChildrenAlone(t *testing.T) {
	t.Parallel()
	l := ship(t, evilregistry.RandomIndex(5), 2)
	l.attestSBOM(l.index, l.children[0], l.children[1])
	l.attestBuild(l.index, l.children[1])
	got := l.judge()
	is(t, got["sbom"], policy.Satisfied, policy.Verified, "for 2 platforms")
	is(t, got["provenance"], policy.Violated, policy.NoProvenance, "linux/amd64")
}

// A statement that is listed with one child holds for the others only where they or the index list it too: else nobody finds it.
func TestAStatementListedWithOneChildHoldsForThatAlone(t *testing.T) {
	t.Parallel()
	l := ship(t, evilregistry.RandomIndex(5), 2)
	l.attestSBOM(l.children[0], l.children[0], l.children[1])
	is(t, l.judge()["sbom"], policy.Violated, policy.NoSBOM, "linux/arm64")
	is(t, l.judge("linux/amd64")["sbom"], policy.Satisfied, policy.Verified)
}

func TestThePoliciesPlatformsSayWhichChildrenNeedPapers(t *testing.T) {
	t.Parallel()
	l := ship(t, evilregistry.RandomIndex(5), 2)
	l.attestSBOM(l.children[0], l.children[0])
	is(t, l.judge("linux/amd64")["sbom"], policy.Satisfied, policy.Verified, "for 1 platform")
	is(t, l.judge("linux/arm64")["sbom"], policy.Violated, policy.NoSBOM, "linux/arm64")
	is(t, l.judge("windows/amd64")["sbom"], policy.Violated, policy.PlatformMissing, "windows/amd64", "linux/amd64, linux/arm64")
}

// A child that doesn't say where it runs may run anywhere: it needs papers whatever the platforms.
func TestAChildWithoutAPlatformNeedsPapers(t *testing.T) {
	t.Parallel()
	index := mutate.AppendManifests(evilregistry.RandomIndex(5), mutate.IndexAddendum{Add: evilregistry.RandomImage(6)})
	l := ship(t, index, 2)
	for _, child := range l.children {
		l.attestSBOM(child, child)
	}
	is(t, l.judge("linux/amd64")["sbom"], policy.Violated, policy.NoSBOM)
}

// A paper of one platform is signed, and names a child by its digest: beside another child it is about another image.
func TestAPaperMovedFromOneChildToAnotherIsNone(t *testing.T) {
	t.Parallel()
	l := ship(t, evilregistry.RandomIndex(5), 2)
	l.attestSBOM(l.children[0], l.children[0])
	l.attestSBOM(l.children[1], l.children[0])
	is(t, l.judge()["sbom"], policy.Violated, policy.NoSBOM, "linux/arm64", "nearest: one for another digest, "+l.children[0].String()[:19])
}

// The same in cosign's older layout, whose annotation says the type.
func TestPapersOfEachPlatformInTheOlderLayout(t *testing.T) {
	t.Parallel()
	l := ship(t, buildx(t), 2)
	for _, child := range l.children {
		l.attach(t, child, l.people.release.legacy(t, l.now, predicate.TypeSPDX, goodSBOM(t, said{at: l.now}), child), "")
		l.attach(t, child, l.people.ci.legacy(t, l.now, predicate.TypeProvenance1, built(t, said{}), child), "")
	}
	got := l.judge()
	is(t, got["sbom"], policy.Satisfied, policy.Verified, "for 2 platforms")
	is(t, got["provenance"], policy.Satisfied, policy.Verified, "for 2 platforms")
}

// What is read of one child is of no use for another: the digest is part of what is held.
func TestWhatIsHeldOfOneChildIsNotServedForAnother(t *testing.T) {
	t.Parallel()
	l := ship(t, evilregistry.RandomIndex(5), 2)
	l.attestSBOM(l.children[0], l.children[0])
	d := newDesk(t, l.now, l.served)
	d.load(t, imagePolicy(l.people, l.repository(), "", wantSBOM), l.people.trustRoot)
	_, got := d.decide(t, l.repository(), l.children[0])
	is(t, got["sbom"], policy.Satisfied, policy.Verified)
	_, got = d.decide(t, l.repository(), l.children[1])
	is(t, got["sbom"], policy.Violated, policy.NoSBOM)
	_, got = d.decide(t, l.repository(), l.index)
	is(t, got["sbom"], policy.Violated, policy.NoSBOM, "linux/arm64")
}
