package verify

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
)

// each examines the candidates within one budget, and tells what came of each. An error says that not all were: who is told has all that was
// found until then, and may rest on what is good of it.
//
// Whoever may push decides what the others beside a good paper are, and in which order they are listed. So the likeliest and cheapest come first,
// and each has its share before any has more.
func (q Question) each(ctx context.Context, subject v1.Hash, g *gathered, now time.Time, tell func(looked)) error {
	order, err := q.order(ctx, subject, g.candidates)
	if err != nil {
		return err
	}
	_, err = q.inRounds(ctx, subject, order, now, tell)
	return err
}

// inRounds examines candidates: each for its share, and then those that need more for what is left. It returns the checks that this took.
func (q Question) inRounds(ctx context.Context, subject v1.Hash, order []*sealed, now time.Time, tell func(looked)) (spent int, err error) {
	order, spent, short, err := q.dropped(order, tell)
	if err != nil {
		return spent, err
	}
	most := MaxFirstChecks
	for range 2 {
		var dear []*sealed
		for _, c := range order {
			left := budget{most: min(most, MaxChecks-spent)}
			if left.most == 0 {
				dear = append(dear, c)
				continue
			}
			l, err := q.look(ctx, subject, c, &left, now)
			spent += left.checks
			switch {
			case errors.Is(err, errTooManyChecks):
				dear = append(dear, c)
			case err != nil:
				return spent, err
			default:
				tell(l)
			}
		}
		if order, most = dear, MaxChecks; len(order) == 0 {
			return spent, short
		}
	}
	return spent, errTooManyChecks
}

// dropped tells what came of the large papers, and returns the others. Short says that one would have needed more than its share.
func (q Question) dropped(all []*sealed, tell func(looked)) (others []*sealed, spent int, short, err error) {
	for _, c := range all {
		if c.was == nil {
			others = append(others, c)
			continue
		}
		l, checks, err := q.wasLooked(c)
		spent += checks
		switch {
		case errors.Is(err, errTooManyChecks):
			short = err
		case err != nil:
			return nil, spent, nil, err
		default:
			tell(l)
		}
	}
	return others, spent, short, nil
}

// order opens the candidates, small ones first, and sorts them: those that claim to be by the authority first, and of those that are as likely
// the cheaper. What is listed first stays before its like.
func (q Question) order(ctx context.Context, subject v1.Hash, all []*sealed) ([]*sealed, error) {
	out := slices.Clone(all)
	if len(out) < 2 {
		return out, nil
	}
	slices.SortStableFunc(out, func(x, y *sealed) int { return cmp.Compare(len(x.Payload), len(y.Payload)) })
	type rank struct{ far, cost int }
	ranks := make(map[*sealed]rank, len(out))
	for _, c := range out {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if c.was != nil { // what came of it is known
			continue
		}
		r := rank{far: 2}
		if o, err := c.open(subject); err == nil && q.wants(o.predicateType) && o.concerns {
			r = rank{far: 1, cost: o.entries + o.stampChecks(q.authority.terms) + o.climbs}
			if q.authority.claimed(o) {
				r.far = 0
			}
		}
		ranks[c] = r
	}
	out = slices.Clone(all)
	slices.SortStableFunc(out, func(x, y *sealed) int {
		return cmp.Or(cmp.Compare(ranks[x].far, ranks[y].far), cmp.Compare(ranks[x].cost, ranks[y].cost))
	})
	return out, nil
}

// claimed tells whether what was opened says of itself that it is by the authority.
func (a Authority) claimed(o *opened) bool {
	switch who := a.who.(type) {
	case keyHolders:
		return who.hinted(o)
	case keyless:
		if o.leaf == nil {
			return false
		}
		says, err := certificate.SummarizeCertificate(o.leaf)
		return err == nil && slices.ContainsFunc(who.identities, func(id Identity) bool { return id.fulcio.Verify(says) == nil })
	case certificates:
		if o.leaf == nil {
			return false
		}
		_, ok := who.named(o.leaf)
		return ok
	}
	return false
}
