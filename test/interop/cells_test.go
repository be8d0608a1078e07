package interop

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/test/interop/internal/layout"
)

// TestEverySignerLayoutAndClientHasItsCell: all combinations are there; those that a client can't make say so in its words.
func TestEverySignerLayoutAndClientHasItsCell(t *testing.T) {
	t.Parallel()
	var want []string
	cells := func(prefix string, signers ...Signer) {
		for _, s := range signers {
			for _, tool := range []string{"cosign2", "cosign3"} {
				for _, place := range []string{"legacy", "referrers", "fallback"} {
					want = append(want, fmt.Sprintf("%s%s-%s-%s", prefix, s, tool, place))
				}
			}
		}
	}
	cells("", Key, KeyRekor1, KeyRekor2, KeyTimestamp, KeylessRekor1, KeylessRekor2, KeylessTimestamp, PKI, PKIRekor1, PKITimestamp, PKIDNS, PKISubject)
	cells("sbom-", KeylessRekor1, KeylessTimestamp)
	want = append(want, "sbom-keyless-intoto-cosign2-legacy")
	var got, folders, made []string
	for _, c := range Cells() {
		got = append(got, c.Name)
		if c.Refused == "" {
			made = append(made, c.Name)
		}
		refuses := (c.Signer == KeyRekor2 || c.Signer == KeylessRekor2) && (c.Tool == Cosign2 || c.Layout == Legacy)
		if (c.Refused != "") != refuses || refuses && len(c.Samples) > 0 {
			t.Errorf("%s: %d samples, and the tool said %q", c.Name, len(c.Samples), c.Refused)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	entries, err := fs.ReadDir(files, cellsFolder+"/layouts")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		folders = append(folders, e.Name())
	}
	slices.Sort(made)
	if diff := cmp.Diff(made, folders); diff != "" {
		t.Errorf("folders (-want +got):\n%s", diff)
	}
}

// TestEveryCellHasTheStatesOfItsSigner: what can be wrong with a signer's papers, a cell has.
func TestEveryCellHasTheStatesOfItsSigner(t *testing.T) {
	t.Parallel()
	always := []State{Signed, OtherIdentity, OtherDigest, Forged, Tampered}
	proved := append(slices.Clone(always), TamperedProof, Swapped)
	twice := append(slices.Clone(proved), SwappedTimestamp)
	certified := []State{OtherIssuer, Expired}
	want := map[Signer][]State{
		Key: always, KeyRekor1: proved, KeyRekor2: twice, KeyTimestamp: proved,
		KeylessRekor1: slices.Concat(proved, certified), KeylessIntoto: slices.Concat(proved, certified),
		KeylessRekor2: slices.Concat(twice, certified), KeylessTimestamp: slices.Concat(proved, certified),
		PKI:       slices.Concat(always, certified, []State{ExpiredIssuer}),
		PKIRekor1: slices.Concat(proved, certified, []State{ExpiredIssuer}), PKITimestamp: slices.Concat(proved, certified, []State{ExpiredIssuer}),
		PKIDNS: {Signed, OtherIdentity}, PKISubject: {Signed, OtherIdentity},
	}
	for _, c := range Cells() {
		if c.Refused != "" {
			continue
		}
		var got []State
		for _, s := range c.Samples {
			got = append(got, s.State)
		}
		states := slices.Sorted(slices.Values(want[c.Signer]))
		slices.Sort(got)
		if diff := cmp.Diff(states, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.Name, diff)
		}
	}
}

// TestNoTwoSamplesShareAnImage, and each image is there under its state.
func TestNoTwoSamplesShareAnImage(t *testing.T) {
	t.Parallel()
	owner := map[string]string{}
	for _, c := range Cells() {
		if c.Refused != "" {
			continue
		}
		contents, err := read(c.root, c.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		other := contents.Tags["other"]
		for _, s := range c.Samples {
			if first, ok := owner[s.Digest]; ok {
				t.Errorf("%s and %s have image %s", c.Name, first, s.Digest)
			}
			owner[s.Digest] = c.Name
			if contents.Tags[string(s.State)] != s.Digest {
				t.Errorf("%s: the tag %s is %q, not %s", c.Name, s.State, contents.Tags[string(s.State)], s.Digest)
			}
			if about := s.State == OtherDigest || s.State == Forged; about != (s.OtherDigest != "") || about && s.OtherDigest != other {
				t.Errorf("%s %s: other digest %q, and the tag other is %s", c.Name, s.State, s.OtherDigest, other)
			}
			if n := papersBeside(t, c, contents, s.Digest); n != 1 {
				t.Errorf("%s %s: %d papers, not one", c.Name, s.State, n)
			}
		}
	}
}

// papersBeside counts the papers of an image, and fails the test where one lies where the cell's layout has none.
func papersBeside(t *testing.T, c Cell, contents layout.Contents, image string) int {
	t.Helper()
	referrers, err := contents.Referrers(image)
	if err != nil {
		t.Fatal(err)
	}
	n := len(referrers)
	tag := layout.FallbackTag(image)
	for _, suffix := range []string{".sig", ".att"} {
		if _, ok := contents.Tags[tag+suffix]; ok {
			n++
			if c.Layout != Legacy || c.Attests != (suffix == ".att") {
				t.Errorf("%s has a tag %s%s", c.Name, tag, suffix)
			}
		}
	}
	if _, ok := contents.Tags[tag]; ok != (c.Registry == FallbackTag) {
		t.Errorf("%s: is there a fallback index: %t", c.Name, ok)
	}
	return n
}

// TestCommandsAreOfTheCellsOwnTool, and SIGNERS.md has every one of them.
func TestCommandsAreOfTheCellsOwnTool(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("SIGNERS.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split(string(text), "\n### ")[1:] {
		name, body, _ := strings.Cut(s, "\n")
		sections[name] = body
	}
	for _, c := range Cells() {
		body, ok := sections[c.Name]
		if !ok || !strings.Contains(body, c.Refused) {
			t.Errorf("SIGNERS.md doesn't list %s", c.Name)
		}
		program := map[Tool]string{Cosign2: "cosign2 ", Cosign3: "cosign3 "}[c.Tool]
		for _, s := range c.Samples {
			for i, command := range s.Commands {
				if first := i == 0; first != strings.HasPrefix(command, program) || !first && !strings.HasPrefix(command, "then ") {
					t.Errorf("%s %s was made by %q", c.Name, s.State, command)
				}
				if !strings.Contains(body, command+"\n") || strings.Contains(command, "127.0.0.1") || strings.Contains(command, "eyJ") {
					t.Errorf("%s %s: not so in SIGNERS.md, or with an address or token of the run: %s", c.Name, s.State, command)
				}
			}
		}
	}
	if len(sections) != len(Cells()) {
		t.Errorf("SIGNERS.md lists %d cells of %d", len(sections), len(Cells()))
	}
}
