package verify

import (
	"context"
	"errors"
	"slices"
	"time"
	"unique"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// sealed is a candidate, which is opened when it is first looked at, once for everybody who asks.
type sealed struct {
	Candidate
	below  []v1.Hash // the children of the image, if it is an index
	done   bool
	opened *opened
	err    error
	said   [2]*said // what it states: as facts, and whole; read when that is first asked for
	// was says what came of it for the questions that there were before it was dropped, for it is large; nil if it is still there.
	was map[Fingerprint]settled
}

// settled is what came of a large paper for a question, and the checks that it took.
type settled struct {
	looked looked
	err    error
	checks int
}

// open takes the candidate apart. A panic is what a broken one deserves: it can't be read.
func (s *sealed) open(image v1.Hash) (o *opened, err error) {
	if s.done {
		return s.opened, s.err
	}
	s.done, s.opened, s.err = true, &opened{}, errors.New("it makes the reading fail")
	defer func() {
		if p := recover(); p != nil {
			o, err = s.opened, s.err
		}
	}()
	opened, cause := open(image, s.Candidate)
	if opened != nil {
		s.opened = opened
		opened.concerns = opened.about || opened.predicateType != CosignSign && slices.ContainsFunc(opened.also, func(h v1.Hash) bool { return slices.Contains(s.below, h) })
	}
	s.err = cause
	return s.opened, s.err
}

// looked is what came of one candidate: evidence, and who saw the signature when, or a miss.
type looked struct {
	evidence Evidence
	seen     []Witness
	miss     *Miss
}

// examine checks one candidate for a question. It returns evidence, or the reason why it isn't; an error says that there was
// no time or budget left to find out.
func (q Question) examine(ctx context.Context, image v1.Hash, c *sealed, left *budget, now time.Time) (Evidence, *Miss, error) {
	l, err := q.look(ctx, image, c, left, now)
	return l.evidence, l.miss, err
}

// look is examine, and says who saw the signature.
func (q Question) look(ctx context.Context, image v1.Hash, c *sealed, left *budget, now time.Time) (l looked, err error) {
	a := q.authority
	missed := func(m Miss) (looked, error) {
		m.Source, m.Place = c.Paper.Digest, c.Paper.Place
		return looked{miss: &m}, nil
	}
	defer func() {
		if p := recover(); p != nil {
			l, err = missed(Miss{Reason: MissMalformed, Claimed: "it makes the verification fail"})
		}
	}()
	if err := ctx.Err(); err != nil { // to open one is work
		return looked{}, err
	}
	o, err := c.open(image)
	switch {
	case err != nil:
		return missed(Miss{Reason: MissMalformed, Form: o.form, Claimed: clip(err.Error())})
	case !q.wants(o.predicateType):
		return missed(Miss{Reason: MissOtherType, Form: o.form, Claimed: clip(o.predicateType)})
	case !o.concerns:
		return missed(Miss{Reason: MissOtherSubject, Form: o.form, Claimed: o.subject})
	case a.who == nil:
		return missed(Miss{Reason: MissOtherSigner, Form: o.form, Claimed: o.signer})
	}
	p, err := a.prove(ctx, o, left, now)
	var short unproven
	var other notBy
	switch {
	case err == nil:
		e := a.mint(image, c.Paper, o, p)
		e.said = q.tellOf(c, image)
		return looked{evidence: e, seen: p.seen}, nil
	case stop(err):
		return looked{}, err
	case errors.As(err, &short):
		return missed(Miss{Reason: MissUnproven, Lack: short.lack, Form: o.form, Claimed: clipName(short.who), Why: short.why})
	case errors.As(err, &other):
		return missed(Miss{Reason: MissOtherSigner, Form: o.form, Claimed: clipName(other.claimed), far: other.far})
	}
	return missed(Miss{Reason: MissUnproven, Form: o.form, Claimed: clipName(o.signer), Why: why(err)})
}

// prove has the authority's kind check what was opened.
func (a Authority) prove(ctx context.Context, o *opened, left *budget, now time.Time) (proof, error) {
	p, err := a.who.prove(ctx, o, a.terms, left, now)
	if o.old != nil {
		p, err = a.proveOld(ctx, o, left, now, p, err)
	}
	return p, o.noted(err)
}

// mint makes evidence of a proof. Nothing else does.
func (a Authority) mint(image v1.Hash, from Paper, o *opened, p proof) Evidence {
	if !o.about { // it is about children alone: see Evidence.About
		image = v1.Hash{}
	}
	return Evidence{
		subject: image, authority: a.fingerprint, signer: p.signer, key: p.key, who: unique.Make(p.signedBy()), firm: p.firm,
		predicateType: o.predicateType, form: o.form, source: from.Digest, place: from.Place,
		at: unix(p.at), until: unix(p.until),
	}
}

func (p proof) signedBy() SignedBy {
	p.claims.Text = p.who
	return p.claims
}

// unix is a time in seconds since 1970, and 0 for none.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// clipName shortens the name of a signer, for messages: subjects of workflows are long, and their ends matter.
func clipName(s string) string {
	const most = 256
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
