package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Bounds of what is read, in bytes.
const (
	// maxBundle is as much as the webhook reads of one paper from a registry, and a little more.
	maxBundle = 64 << 20
	// maxArtifact leaves room for a release's archive: the largest of the suite's are installers of some 100 MiB.
	maxArtifact = 512 << 20
)

// read reads a regular file whole, or not at all.
func read(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > most:
		return nil, fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return data, nil
}

// artifactOf reads the artifact that an argument names. It is a digest if it has the form of one and no file has that name; else it is
// a path (docs/cli_protocol.md, FILE_OR_DIGEST).
func artifactOf(argument string) (verify.Artifact, error) {
	if digest, ok := digestOf(argument); ok {
		if _, err := os.Lstat(argument); os.IsNotExist(err) {
			return verify.ArtifactDigest(digest), nil
		}
	}
	data, err := read(argument, maxArtifact)
	if err != nil {
		return verify.Artifact{}, fmt.Errorf("artifact: %w", err)
	}
	return verify.ArtifactOf(data), nil
}

// digestOf reads sha256: and 64 hexadecimal digits.
func digestOf(argument string) (digest [sha256.Size]byte, ok bool) {
	text, named := strings.CutPrefix(argument, "sha256:")
	if !named || len(text) != hex.EncodedLen(len(digest)) {
		return digest, false
	}
	_, err := hex.Decode(digest[:], []byte(text))
	return digest, err == nil
}
