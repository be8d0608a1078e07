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
	g := v.gatherNow(ctx, f, image, []Question{q}, v.held.account("test"))
	return func() { _, _ = v.judge(ctx, f, image, q, g) }
}

// Room is memory that sites share.
type Room struct{ room *room }

// NewRoom returns one of so many bytes.
func NewRoom(most int64) Room { return Room{newRoom(most)} }

// Account is what one gathering holds.
type Account struct{ *account }

// Account opens one.
func (r Room) Account(site string) Account { return Account{r.room.account(site)} }

// Take is what a gathering does.
func (a Account) Take(ctx context.Context, n int64) error { return a.take(ctx, n) }

// Close is what ends it.
func (a Account) Close() int64 { return a.close() }

// Held is what is held, and by how many sites.
func (r Room) Held() (int64, int) {
	r.room.mu.Lock()
	defer r.room.mu.Unlock()
	return r.room.all, len(r.room.sites)
}

// HeldBytes is what is held of small papers.
func (v *Verifier) HeldBytes() int64 {
	v.held.mu.Lock()
	defer v.held.mu.Unlock()
	return v.held.all
}
