package keyless

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// The programs' versions. hack/binaries has the same, which a test checks.
const (
	FulcioVersion     = "v1.8.8"
	RekorTilesVersion = "v2.3.0"
	TimestampVersion  = "v2.1.3"
)

const (
	fulcioProgram     = "fulcio"
	rekorTilesProgram = "rekor-tiles"
	timestampProgram  = "timestamp-server"

	howToBuild = "run hack/binaries " + fulcioProgram + " " + rekorTilesProgram + " " + timestampProgram
)

// ErrNoPrograms says that a program of the stack was not found. A test that
// sees it skips, with this as its reason: building them takes minutes and a Go
// module proxy.
var ErrNoPrograms = errors.New("program of the keyless stack not found")

// Programs finds fulcio, rekor-tiles and timestamp-server, and returns their
// files by these names. It looks in $PRATIQUE_KEYLESS_PROGRAMS where that is
// set, and else in the user's cache, where hack/binaries puts them by version.
func Programs() (map[string]string, error) {
	files := map[string]string{}
	if dir := os.Getenv("PRATIQUE_KEYLESS_PROGRAMS"); dir != "" {
		for _, name := range []string{fulcioProgram, rekorTilesProgram, timestampProgram} {
			files[name] = filepath.Join(dir, name)
		}
	} else {
		cache, err := cacheDir()
		if err != nil {
			return nil, err
		}
		files[fulcioProgram] = filepath.Join(cache, "fulcio-"+FulcioVersion, fulcioProgram)
		files[rekorTilesProgram] = filepath.Join(cache, "rekor-tiles-"+RekorTilesVersion, rekorTilesProgram)
		files[timestampProgram] = filepath.Join(cache, "timestamp-authority-"+TimestampVersion, timestampProgram)
	}
	for _, file := range slices.Sorted(maps.Values(files)) {
		if !executable(file) {
			return nil, fmt.Errorf("%w: %s: %s", ErrNoPrograms, file, howToBuild)
		}
	}
	return files, nil
}

// Cosign finds the client of a major version, 2 or 3, in the user's cache, where
// hack/binaries puts it.
func Cosign(major int) (file string, err error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("cosign%d", major)
	if file = filepath.Join(cache, "cosign", name); !executable(file) {
		return "", fmt.Errorf("%w: %s: run hack/binaries %s", ErrNoPrograms, file, name)
	}
	return file, nil
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// cacheDir is where hack/binaries keeps what it builds.
func cacheDir() (string, error) {
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "pratique"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".cache", "pratique"), nil
}
