package verify

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// Examine is what a Verifier does with one candidate, for the tests outside of this package.
func Examine(ctx context.Context, q Question, image v1.Hash, c Candidate, now time.Time) (Evidence, *Miss, error) {
	return q.examine(ctx, image, &sealed{Candidate: c}, &budget{}, now)
}

// Material is what sigstore-go is given of a trust.
func Material(t *Trust) root.TrustedMaterial { return t.material }

// Cost is how many checks one candidate costs.
func Cost(ctx context.Context, q Question, image v1.Hash, c Candidate, now time.Time) int {
	var left budget
	_, _, _ = q.examine(ctx, image, &sealed{Candidate: c}, &left, now)
	return left.checks
}

// SubjectOf writes the DER of a distinguished name.
func SubjectOf(der []byte) (string, error) { return subjectOf(der) }

// Spent is what a Verifier does with the papers of one image for one question. It returns the evidence, and the checks that it took.
func Spent(ctx context.Context, q Question, image v1.Hash, now time.Time, papers ...Candidate) (found []Evidence, checks int, err error) {
	order, err := q.order(ctx, image, sealAll(papers))
	if err != nil {
		return nil, 0, err
	}
	checks, err = q.inRounds(ctx, image, order, now, func(l looked) {
		if l.miss == nil {
			found = append(found, l.evidence)
		}
	})
	return found, checks, err
}

// Judge is what a Verifier does once papers were gathered.
func Judge(ctx context.Context, v *Verifier, f Fetcher, image name.Digest, q Question, papers ...Candidate) Findings {
	found, _ := v.judge(ctx, f, image, q, &gathered{at: v.clock(), listed: true, candidates: sealAll(papers)})
	return found
}

func sealAll(papers []Candidate) (out []*sealed) {
	for _, c := range papers {
		out = append(out, &sealed{Candidate: c})
	}
	return out
}

// Climbs is what building a chain is taken to cost.
func Climbs(leaf *x509.Certificate, above []*x509.Certificate) int { return climbsOf(leaf, above) }

// Waiting is how many wait for gatherings.
func (v *Verifier) Waiting() (n int) {
	v.gathers.mu.Lock()
	defer v.gathers.mu.Unlock()
	for _, f := range v.gathers.going {
		n += f.waiting
	}
	return n
}

// GatherOf lists and fetches now, and judges when what it returns is called.
func GatherOf(ctx context.Context, v *Verifier, f Fetcher, image name.Digest, q Question) (judge func()) {
	g := v.gatherNow(ctx, f, image, []Question{q})
	return func() { _, _ = v.judge(ctx, f, image, q, g) }
}
