package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// MaxTrustedRoot bounds one trusted_root.json, in bytes, wherever it comes from. The public good instance's is 7 KiB;
// four of this size fit into one Kubernetes object, in whose status those in force are published.
const MaxTrustedRoot = verify.MaxTrustedRoot

// CheckText tells whether a text is a trusted_root.json that can be used: within MaxTrustedRoot, of a form that
// sigstore-go reads (protobuf-specs TrustedRoot, media type application/vnd.dev.sigstore.trustedroot+json;version=0.1),
// and one that names anybody at all.
func CheckText(text []byte) (err error) {
	if len(text) > MaxTrustedRoot {
		return fmt.Errorf("the trusted root is longer than %d bytes", MaxTrustedRoot)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the trusted root can't be read: the parser failed: %v", r)
		}
	}()
	t, err := root.NewTrustedRootFromJSON(text)
	if err != nil {
		return fmt.Errorf("the trusted root can't be read as a trusted_root.json: %w", err)
	}
	if len(t.FulcioCertificateAuthorities())+len(t.RekorLogs())+len(t.TimestampingAuthorities()) == 0 {
		return errors.New("the trusted root names no certificate authority, log or timestamp authority")
	}
	return nil
}

// Digest returns sha256: and the hexadecimal SHA-256 of a text, as a TrustRoot's status shows it.
func Digest(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}
