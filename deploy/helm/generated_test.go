package helm

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGeneratedIsCurrent makes anew what hack/generate makes of api/ and compares it with what is committed.
func TestGeneratedIsCurrent(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	dir := t.TempDir()
	command := exec.CommandContext(t.Context(), filepath.Join(root, "hack", "generate"), dir)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("hack/generate: %v\n%s", err, out)
	}
	want, got := generatedBelow(t, dir), generatedBelow(t, root)
	if len(want) < 3 {
		t.Fatalf("hack/generate made only %s", slices.Sorted(maps.Keys(want)))
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if diff := cmp.Diff(want[name], got[name]); diff != "" {
			t.Errorf("%s is not what hack/generate makes of api/: run it and commit (-generated +committed):\n%s", name, diff)
		}
		delete(got, name)
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		t.Errorf("%s is no longer generated: remove it", name)
	}
}

// generatedBelow reads the files that are generated, by their paths in the repository.
func generatedBelow(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, dir := range []string{"api", filepath.Join("deploy", "helm", chart, "crd-bases")} {
		err := fs.WalkDir(os.DirFS(root), filepath.ToSlash(dir), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasSuffix(name, ".go") && !strings.HasPrefix(entry.Name(), "zz_generated.") {
				return err
			}
			text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
			files[name] = string(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}
