package verify

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Bounds of papers over MaxSmallPaper. They are fetched and verified one at a time for each image, and dropped once it is known what they say: a
// bill of materials may take a hundred megabytes while that lasts.
const (
	// maxLargeBytes bounds what the large papers take that are being verified side by side, in bytes of memory beside themselves: the largest one, or
	// a score of some megabytes. They themselves are in memory that the Fetcher counts, by registry, until they are let go.
	maxLargeBytes = 256 << 20
	// maxLargeOfOne bounds those of one image, as they are kept: two formats of a bill of materials and a scan, of the largest images there are.
	maxLargeOfOne = 256 << 20
	// largeFactor is how much memory a paper takes for each byte of it, beside itself, while it is verified: once decoded, and where a log knows the
	// envelope itself, the copies that sigstore-go makes of it.
	largeFactor = 4
)

// largePaper is a paper that is too large to be fetched side by side with others, of so many bytes.
type largePaper struct {
	Paper
	size int64
}

// errDropped says that nothing can be found out of a large paper any more, since it was dropped after others had asked.
var errDropped = errors.New("a large paper was dropped before this was asked")

// fetchLarge fetches large papers one after another, and finds out what each says to the questions before it is dropped.
func (v *Verifier) fetchLarge(ctx context.Context, f Fetcher, image name.Digest, papers []largePaper, questions []Question, g *gathered) {
	if !slices.ContainsFunc(typesOf(questions), func(t string) bool { return t != CosignSign }) {
		// none is fetched for signatures
		tooLarge := func(p largePaper) bool { return p.size > MaxSmallPaper }
		for _, p := range papers {
			if !tooLarge(p) {
				continue
			}
			g.misses = append(g.misses, Miss{Reason: MissMalformed, Claimed: fmt.Sprintf("%d bytes: no signature is as large", p.size), Source: p.Digest, Place: p.Place})
		}
		papers = slices.DeleteFunc(papers, tooLarge)
	}
	slices.SortStableFunc(papers, func(a, b largePaper) int { return cmp.Compare(a.size, b.size) })
	var all int64
	for _, p := range papers {
		if all += p.size; all > maxLargeOfOne {
			g.failed(p.Paper, &FetchError{Kind: TooLarge, Place: p.Place, Host: image.RegistryStr(), Size: p.size,
				Err: fmt.Errorf("the papers of this image take more than %d MiB", maxLargeOfOne>>20)})
			return
		}
		if err := v.fetchOne(ctx, f, image, p, questions, g); err != nil {
			g.failed(p.Paper, asFetchError(err, p.Place, image))
		}
	}
}

// fetchOne fetches one large paper, and verifies it once there is room for that. What doesn't come takes no room.
func (v *Verifier) fetchOne(ctx context.Context, f Fetcher, image name.Digest, p largePaper, questions []Question, g *gathered) (err error) {
	defer v.recover(func(e error) { err = e })
	subject, err := hashOf(image)
	if err != nil {
		return err
	}
	c, err := f.Fetch(ctx, image, p.Paper, p.size)
	if err != nil {
		return err
	}
	defer c.done()
	need := min(p.size*largeFactor, maxLargeBytes)
	if err := v.room.Acquire(ctx, need); err != nil {
		return fmt.Errorf("no room for a paper of %d bytes in the time there was: %w", p.size, err)
	}
	defer v.room.Release(need)
	s := &sealed{Candidate: c, below: g.below()}
	s.lookAndDrop(ctx, subject, questions, v.clock)
	g.candidates = append(g.candidates, s)
	return ctx.Err()
}

// lookAndDrop finds out what a large paper says to the questions, each within the share that every paper has, and lets go of it.
func (s *sealed) lookAndDrop(ctx context.Context, subject v1.Hash, questions []Question, now func() time.Time) {
	s.was = map[Fingerprint]settled{}
	for _, q := range questions {
		left := budget{most: MaxFirstChecks}
		l, err := q.look(ctx, subject, s, &left, now())
		s.was[q.fingerprint] = settled{l, err, left.checks}
	}
	s.drop()
}

// drop lets go of a paper.
func (s *sealed) drop() {
	s.Payload = nil
	if s.was == nil {
		s.was = map[Fingerprint]settled{}
	}
	if o := s.opened; o != nil {
		o.payload, o.stated, o.stamped, o.old, o.message, o.artifact, o.content = nil, nil, nil, nil, nil, nil, nil
		if o.bundle != nil && o.bundle.GetDsseEnvelope() != nil {
			o.bundle.GetDsseEnvelope().Payload = nil
		}
	}
	if s.opened == nil {
		s.done, s.opened, s.err = true, &opened{}, errDropped
	}
}

// wasLooked returns what came of a large paper that was dropped.
func (q Question) wasLooked(s *sealed) (looked, int, error) {
	was, ok := s.was[q.fingerprint]
	if !ok {
		return looked{}, 0, errDropped
	}
	return was.looked, was.checks, was.err
}

// cutPayload takes the payload out of a bundle's envelope, decoded, and returns the rest of the bundle with an empty one: protobuf's JSON would
// copy it three times. The names are those of protobuf's JSON; in a large bundle no other spelling of them is read.
func cutPayload(text []byte) (rest, payload []byte, err error) {
	top, err := strictMembers(text)
	if err != nil {
		return nil, nil, err
	}
	outer := top["dsseEnvelope"]
	env, err := strictMembers(outer.of(text))
	if err != nil {
		return nil, nil, fmt.Errorf("dsseEnvelope: %w", err)
	}
	inner := env["payload"]
	if payload, err = decodePayload(inner.of(outer.of(text))); err != nil {
		return nil, nil, err
	}
	rest = slices.Concat(text[:outer.from+inner.from], []byte(`""`), text[outer.from+inner.to:])
	return rest, payload, nil
}

// decodePayload decodes a JSON string in base64.
func decodePayload(quoted json.RawMessage) ([]byte, error) {
	if len(quoted) < 2 || quoted[0] != '"' {
		return nil, errors.New("payload is no string")
	}
	inner := quoted[1 : len(quoted)-1]
	if slices.Contains(inner, '\\') { // some writers escape the slashes
		var err error
		if inner, err = jsontext.AppendUnquote(nil, quoted); err != nil {
			return nil, errors.New("payload is no string")
		}
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(inner)))
	n, err := base64.StdEncoding.Decode(out, inner)
	if err != nil || n == 0 {
		return nil, errors.New("payload is no base64")
	}
	return out[:n], nil
}
