package trust

import (
	_ "embed"
	"time"
)

// PublicGoodMirror is the TUF repository of the sigstore project's public good instance.
const PublicGoodMirror = "https://tuf-repo-cdn.sigstore.dev"

// The texts are embedded as strings, which nobody can write to. Their origin is in publicgood/README.md.
var (
	//go:embed publicgood/trusted_root.json
	publicGood string
	//go:embed publicgood/root.json
	publicGoodTUFRoot string
)

// publicGoodDate is when the embedded texts were published by their origin as the ones in force.
const publicGoodDate = "2026-11-05T00:19:12Z"

// PublicGood returns the trusted_root.json of the sigstore project's public good instance that this release was built
// with. The caller may keep it and write to it.
func PublicGood() []byte { return []byte(publicGood) }

// PublicGoodDate tells when the embedded text was last known to be the one in force. It has no expiry of its own: the
// periods in it are judged with each signature.
func PublicGoodDate() time.Time {
	// The constant is read by a test: a time that doesn't parse isn't released.
	t, _ := time.Parse(time.RFC3339, publicGoodDate)
	return t
}

// PublicGoodTUFRoot returns the root.json that begins the chain of roots of PublicGoodMirror. It may have expired: a
// client begins with it and goes on to the newest (TUF specification 5.3).
func PublicGoodTUFRoot() []byte { return []byte(publicGoodTUFRoot) }
