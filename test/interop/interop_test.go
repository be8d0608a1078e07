package interop

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/test/interop/internal/layout"
)

func TestEveryCombinationHasItsFixtures(t *testing.T) {
	t.Parallel()
	var want, got []string
	for _, tool := range []string{"cosign2", "cosign3"} {
		for _, lay := range []Layout{Legacy, Bundle} {
			for _, reg := range []Registry{ReferrersAPI, FallbackTag} {
				for _, state := range []State{Signed, OtherKey, OtherDigest, SBOMInstead, TwoSigners} {
					want = append(want, fmt.Sprintf("%s-%s-%s-%s", tool, lay, reg, state))
				}
			}
			for _, key := range []string{"rsa2048", "rsa3072", "ed25519", "p384", "p521"} {
				want = append(want, fmt.Sprintf("%s-%s-referrers-keytype-%s", tool, lay, key))
			}
		}
	}
	if len(want) != 60 {
		t.Fatalf("the matrix has %d fixtures and README.md says sixty", len(want))
	}
	for _, f := range Fixtures() {
		got = append(got, f.Name)
		program := map[Tool]string{Cosign2: "cosign2", Cosign3: "cosign3"}[f.Tool]
		name := fmt.Sprintf("%s-%s-%s-%s", program, f.Layout, f.Registry, f.State)
		if f.State == KeyType {
			name += "-" + f.Signers[0]
		}
		if f.Name != name || f.Repository != "interop/"+name || f.Tag != "v1" {
			t.Errorf("%s in %s:%s is %s by what it says of itself", f.Name, f.Repository, f.Tag, name)
		}
		for _, command := range f.Commands {
			if !strings.HasPrefix(command, program+" ") && !strings.HasPrefix(command, "copy ") {
				t.Errorf("%s was not made by %s: %s", f.Name, program, command)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fixtures (-want +got):\n%s", diff)
	}
	entries, err := fs.ReadDir(files, "testdata/layouts")
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, entry := range entries {
		folders = append(folders, entry.Name())
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, folders); diff != "" {
		t.Errorf("folders (-want +got):\n%s", diff)
	}
}

func TestNoTwoFixturesShareAnImage(t *testing.T) {
	t.Parallel()
	owner := map[string]string{}
	for _, f := range Fixtures() {
		for _, digest := range []string{f.Digest, f.OtherDigest} {
			if digest == "" {
				continue
			}
			if other, ok := owner[digest]; ok {
				t.Errorf("%s and %s have image %s", f.Name, other, digest)
			}
			owner[digest] = f.Name
		}
		if (f.OtherDigest != "") != (f.State == OtherDigest) {
			t.Errorf("%s: state %s with the other digest %q", f.Name, f.State, f.OtherDigest)
		}
	}
}

func TestTheToolsAnsweredAsREADMESays(t *testing.T) {
	t.Parallel()
	for _, f := range Fixtures() {
		var want []Tool
		switch {
		case f.State == Signed, f.State == TwoSigners,
			f.State == SBOMInstead && f.Layout == Bundle,
			f.State == KeyType && f.Signers[0] != "ed25519":
			want = []Tool{Cosign2, Cosign3}
		}
		if !slices.Equal(f.Verifies, want) {
			t.Errorf("%s was verified by %v, and README.md says %v", f.Name, f.Verifies, want)
		}
	}
}

func TestREADMEListsEveryFixtureWithItsCommands(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(text), "\n### ")[1:]
	fixtures := Fixtures()
	if len(sections) != len(fixtures) {
		t.Fatalf("README.md lists %d fixtures of %d", len(sections), len(fixtures))
	}
	for i, f := range fixtures {
		name, body, _ := strings.Cut(sections[i], "\n")
		if name != f.Name {
			t.Errorf("README.md lists %s where %s belongs", name, f.Name)
		}
		var commands []string
		for line := range strings.Lines(body) {
			if command, ok := strings.CutPrefix(line, "    "); ok {
				commands = append(commands, strings.TrimSpace(command))
			}
		}
		if diff := cmp.Diff(f.Commands, commands); diff != "" {
			t.Errorf("%s: commands in README.md (-fixture +README):\n%s", f.Name, diff)
		}
	}
}

func TestTestdataStaysSmallAndHoldsNoPrivateKey(t *testing.T) {
	t.Parallel()
	limits := map[bool]int{ // bytes of the second set, and of the first: a clone should not notice them
		true:  6 << 20,
		false: 2 << 20,
	}
	total := map[bool]int{}
	err := fs.WalkDir(files, "testdata", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(files, path)
		if strings.Contains(string(body), "PRIVATE KEY") {
			t.Errorf("%s holds a private key", path)
		}
		total[strings.HasPrefix(path, cellsFolder+"/")] += len(body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for second, limit := range limits {
		if total[second] > limit {
			t.Errorf("testdata (of the second set: %t) has %d bytes, more than %d", second, total[second], limit)
		}
	}
}

// TestAServedFixtureIsTheStoredOne reads each fixture back through a registry of
// its kind, by what the registry leads to and not by what is known to be there.
func TestAServedFixtureIsTheStoredOne(t *testing.T) {
	t.Parallel()
	for _, f := range Fixtures() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			want, err := f.contents()
			if err != nil {
				t.Fatal(err)
			}
			if want.Tags[f.Tag] != f.Digest || want.Tags["other"] != f.OtherDigest {
				t.Errorf("tags are %v, and the images %q and %q", want.Tags, f.Digest, f.OtherDigest)
			}
			got, err := repository(Serve(t, f), f).Pull(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("pulled (-stored +served):\n%s", diff)
			}
		})
	}
}

func TestOneRegistryServesManyFixtures(t *testing.T) {
	t.Parallel()
	var fixtures []Fixture
	for _, f := range Fixtures() {
		if f.Registry == FallbackTag {
			fixtures = append(fixtures, f)
		}
	}
	host := Serve(t, fixtures...)
	for _, f := range fixtures {
		m, err := repository(host, f).Manifest(t.Context(), f.Tag)
		if err != nil {
			t.Error(err)
		} else if m.Digest() != f.Digest {
			t.Errorf("%s:%s is %s, not %s", f.Repository, f.Tag, m.Digest(), f.Digest)
		}
	}
}

func repository(host string, f Fixture) layout.Repository {
	return layout.Repository{Client: http.DefaultClient, Base: "http://" + host, Name: f.Repository}
}
