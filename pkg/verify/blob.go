package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
)

// Artifact is something that a bundle may be about beside an image: a file, or the SHA-256 of one.
type Artifact struct {
	digest [sha256.Size]byte
	data   []byte // nil if only the digest is known
	known  bool
}

// ArtifactOf is what these bytes are.
func ArtifactOf(data []byte) Artifact {
	return Artifact{digest: sha256.Sum256(data), data: slices.Concat([]byte{}, data), known: true}
}

// ArtifactDigest is what has this SHA-256.
func ArtifactDigest(digest [sha256.Size]byte) Artifact { return Artifact{digest: digest, known: true} }

func (a Artifact) policy() sgverify.ArtifactPolicyOption {
	if a.data != nil {
		return sgverify.WithArtifact(bytes.NewReader(a.data))
	}
	return sgverify.WithArtifactDigest("sha256", a.digest[:])
}

// Signed is what a verified bundle shows.
type Signed struct {
	Who           string    // the signer, as Evidence.Who has it
	Time          time.Time // verified; zero if there is none
	PredicateType string    // of an in-toto Statement; empty for a signature over the artifact itself
}

// Bundle verifies a Sigstore bundle about an artifact, of whatever type: a signature over it, or an in-toto Statement of which it is a
// subject. It is the very code by which a bundle that a registry offers becomes Evidence. An error is a refusal.
func (a Authority) Bundle(ctx context.Context, text []byte, about Artifact, now time.Time) (out Signed, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = Signed{}, fmt.Errorf("%w: %v", ErrPanic, p)
		}
	}()
	switch {
	case a.who == nil:
		return Signed{}, errors.New("an authority that nobody made")
	case !about.known:
		return Signed{}, errors.New("an artifact that isn't known")
	}
	o, err := openBundle(text)
	if err != nil {
		return Signed{}, err
	}
	if env := o.bundle.GetDsseEnvelope(); env != nil {
		if env.GetPayloadType() != payloadInToto {
			return Signed{}, fmt.Errorf("payload type %q: want %s", clip(env.GetPayloadType()), payloadInToto)
		}
		s, err := parseStatement(env.GetPayload())
		if err != nil {
			return Signed{}, fmt.Errorf("statement: %w", err)
		}
		o.predicateType, o.about = s.predicateType, s.about(v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(about.digest[:])})
		o.concerns = o.about
	}
	o.artifact = about.policy
	p, err := a.prove(ctx, o, &budget{}, now)
	if err != nil {
		return Signed{}, err
	}
	return Signed{Who: p.who, Time: p.at, PredicateType: o.predicateType}, nil
}
