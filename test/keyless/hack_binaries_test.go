package keyless_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/test/keyless"
)

// fakeGo writes down what it is asked to build and makes a file of it.
const fakeGo = `#!/bin/sh
[ ! "$FAKE_FAILS" ] || exit 1
dir=$GOBIN
for a; do [ "$last" = -o ] && dir=$a; last=$a; done
echo "$1 $last" >>"$BUILT"
echo '#!/bin/sh' >"$dir/made"
chmod +x "$dir/made"
`

// hackBinaries runs hack/binaries with a cache of its own and a go that builds
// nothing, and returns what was built and said.
func hackBinaries(t *testing.T, cache string, fails string, names ...string) (built []string, said string, err error) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(fakeGo), 0o700); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(bin, "built")
	cmd := exec.Command("bash", append([]string{"../../hack/binaries"}, names...)...)
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "XDG_CACHE_HOME="+cache, "BUILT="+log, "FAKE_FAILS="+fails)
	text, err := cmd.CombinedOutput()
	if lines, readErr := os.ReadFile(log); readErr == nil {
		built = strings.Split(strings.TrimSpace(string(lines)), "\n")
	}
	return built, string(text), err
}

func TestHackBinariesPutsProgramsWhereTheyAreLookedFor(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skipf("hack/binaries is a bash script: %v", err)
	}
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	names := []string{"fulcio", "rekor-tiles", "timestamp-server", "cosign2", "cosign3"}
	if _, said, err := hackBinaries(t, cache, "yes", names...); err == nil || !strings.Contains(said, "fulcio did not build") {
		t.Errorf("with a go that fails: %v, %s", err, said)
	}
	if _, err := keyless.Programs(); err == nil {
		t.Error("programs that did not build are there")
	}
	built, said, err := hackBinaries(t, cache, "", names...)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	want := []string{
		"install github.com/sigstore/fulcio@" + keyless.FulcioVersion,
		"install github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix@" + keyless.RekorTilesVersion,
		"build .",
		"install github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5",
		"install github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3",
	}
	if !slices.Equal(built, want) {
		t.Errorf("built %q, want %q", built, want)
	}
	if _, err := keyless.Programs(); err != nil {
		t.Error(err)
	}
	for _, major := range []int{2, 3} {
		if _, err := keyless.Cosign(major); err != nil {
			t.Error(err)
		}
	}
	if built, said, err := hackBinaries(t, cache, "yes", names...); err != nil || said != "" || len(built) != 0 {
		t.Errorf("the second time it built %q and said %q, %v", built, said, err)
	}
}
