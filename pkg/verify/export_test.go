package verify

import (
	"context"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// Examine is what a Verifier does with one candidate, for the tests outside of this package.
func Examine(ctx context.Context, q Question, image v1.Hash, c Candidate, now time.Time) (Evidence, *Miss, error) {
	return q.examine(ctx, image, &sealed{Candidate: c}, &budget{}, now)
}

// Material is what sigstore-go is given of a trust.
func Material(t *Trust) root.TrustedMaterial { return t.material }
