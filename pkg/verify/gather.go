package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// gathered is all that a registry offers about an image, fetched once for everyone who asks.
type gathered struct {
	at         time.Time
	index      bool
	children   []Child
	seen       int
	candidates []*sealed
	misses     []Miss
	unanswered []*FetchError
	listed     bool             // what the image is, and so what is below it, was read
	cut        bool             // whoever asked had no more time: what there is may be more than what was found
	ours       error            // why the registry wasn't asked: that is no outage of it
	lost       map[Place]bool   // places that failed to answer; PlaceManifest: all of them
	unfetched  map[v1.Hash]bool // papers that are listed and could not be fetched

	mu     sync.Mutex
	judged map[key]Findings // by authority, once each
}

// fetchesAtOnce bounds the papers of one image that are fetched side by side.
const fetchesAtOnce = 16

// question is what a flight is about: an image as one set of credentials sees it.
type question struct {
	repository string
	digest     string
	access     Access
	shelf      name.Repository // where papers are kept; all that are asked for together are kept in one place
	types      Fingerprint     // that are sought; what isn't, isn't fetched
	always     bool
	asked      Fingerprint // all that is asked, where always: what comes of large papers is found out for that alone
}

func questionOf(f Fetcher, image name.Digest, questions []Question, always bool) question {
	q := question{repository: image.Context().Name(), digest: image.DigestStr(), access: f.Access(), always: always}
	var types [][]byte
	for _, t := range typesOf(questions) {
		types = append(types, []byte(t))
	}
	if q.types = digestOf(types...); len(questions) > 0 {
		q.shelf = questions[0].authority.terms.Repository
	}
	if always {
		var asked [][]byte
		for _, each := range questions {
			asked = append(asked, each.fingerprint[:])
		}
		q.asked = digestOf(asked...)
	}
	return q
}

// gather lists and fetches the papers of an image and examines them for some questions, once for all who ask at the same time. It goes on
// when a caller leaves, until the last has. It returns nil if all is known by the time that it begins: who missed what a gathering found,
// by coming just before it was kept, doesn't make another; unless always.
func (v *Verifier) gather(ctx context.Context, f Fetcher, image name.Digest, questions []Question, always bool) *gathered {
	asked := questionOf(f, image, questions, always)
	flights, site := v.gathers, siteOf(image.RegistryStr())
	if asked.shelf != (name.Repository{}) {
		flights, site = v.apart, siteOf(asked.shelf.RegistryStr())+" "+site // both may be what it waits for
	}
	g, err := flights.ask(ctx, asked, site, func(work context.Context) (g *gathered, err error) {
		defer v.recover(func(e error) { err = e })
		if !always && v.known(f, image, questions) {
			return nil, nil
		}
		work, cancel := context.WithTimeout(work, gatherTimeout)
		defer cancel()
		held := v.held.account(siteOf(image.RegistryStr()))
		defer func() { g.drop(held.close()) }()
		g = v.gatherNow(work, f, image, questions, held)
		if err := work.Err(); errors.Is(err, context.Canceled) {
			return nil, err // nobody waits, and what may have been cut short isn't kept
		}
		for _, q := range questions {
			_, _ = v.judge(work, f, image, q, g)
		}
		return g, nil
	})
	switch {
	case err == nil:
		return g
	case errors.Is(err, errBusy):
		return &gathered{at: v.clock(), ours: err}
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		err = fmt.Errorf("no answer in the time there was: %w", err)
	}
	g = &gathered{at: v.clock(), unanswered: []*FetchError{{Place: PlaceManifest, Host: image.RegistryStr(), Err: err}}, cut: errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)}
	g.lose(PlaceManifest)
	return g
}

func (v *Verifier) gatherNow(ctx context.Context, f Fetcher, image name.Digest, questions []Question, held *account) *gathered {
	g := &gathered{at: v.clock()}
	listing, err := f.List(ctx, image, typesOf(questions))
	if err != nil {
		fe := asFetchError(err, PlaceManifest, image)
		g.unanswered = append(g.unanswered, fe)
		if outage(fe) {
			g.lose(PlaceManifest)
		}
		return g
	}
	return v.gatherListed(ctx, f, image, questions, listing, held)
}

// gatherListed fetches what is listed of the types that are asked for.
func (v *Verifier) gatherListed(ctx context.Context, f Fetcher, image name.Digest, questions []Question, listing Listing, held *account) *gathered {
	g, types := &gathered{at: v.clock()}, typesOf(questions)
	for _, e := range listing.Unanswered {
		if e.Kind == Malformed { // it did answer: what is there can't be read, and so is no paper
			g.misses = append(g.misses, Miss{Reason: MissMalformed, Claimed: clip(e.Error()), Place: e.Place})
			continue
		}
		g.unanswered = append(g.unanswered, e)
		if outage(e) && !standIn(e, image) {
			g.lose(e.Place)
		}
	}
	g.listed = true
	g.seen, g.index, g.children = len(listing.Papers), listing.Index, listing.Children
	tooMany := func(n, most int, what string) *gathered {
		g.unanswered = append(slices.Clone(g.unanswered), &FetchError{
			Kind: TooMany, Host: image.RegistryStr(), Err: fmt.Errorf("%d papers %s: at most %d", n, what, most),
		})
		return g
	}
	if g.seen > MaxListed {
		return tooMany(g.seen, MaxListed, "attached")
	}
	var wanted []Paper
	for _, p := range listing.Papers {
		if miss := p.notSought(types); miss != nil {
			g.misses = append(g.misses, *miss)
			continue
		}
		wanted = append(wanted, p)
	}
	if len(g.misses) > MaxMisses {
		g.misses = g.misses[:MaxMisses]
	}
	if len(wanted) > MaxVerified {
		return tooMany(len(wanted), MaxVerified, "to verify")
	}
	large := v.fetchAll(ctx, f, image, wanted, g, held)
	v.fetchLarge(ctx, f, image, large, questions, g)
	return g
}

// standIn tells whether it is only something that stands in for the image's registry, a mirror, that a listing is without. Then the
// places that are not named as unanswered were answered, by the registry itself, and what they don't list is gone. Without the registry
// itself nothing is, whatever a mirror has: one of images alone answers everywhere that there is nothing.
func standIn(e *FetchError, image name.Digest) bool {
	return e.Place == PlaceManifest && e.Host != image.RegistryStr()
}

// fetchAll fetches papers side by side, and returns those that are too large for that. One that isn't what it says it is is a miss; one that
// can't be read is unanswered.
func (v *Verifier) fetchAll(ctx context.Context, f Fetcher, image name.Digest, papers []Paper, g *gathered, held *account) (large []largePaper) {
	type result struct {
		c    Candidate
		size int64
		err  error
	}
	results := make([]result, len(papers))
	slots := make(chan struct{}, fetchesAtOnce)
	var wg sync.WaitGroup
	for i, p := range papers {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			defer v.recover(func(err error) { results[i].err = err })
			results[i].c, results[i].err = f.Fetch(ctx, image, p, MaxSmallPaper)
			if results[i].err == nil {
				results[i].size = int64(len(results[i].c.Payload))
				if results[i].err = held.take(ctx, results[i].size); results[i].err != nil {
					results[i].c = Candidate{}
				}
			}
		}()
	}
	wg.Wait()
	for i, r := range results {
		if r.err == nil {
			g.candidates = append(g.candidates, &sealed{Candidate: r.c, below: g.below()})
			continue
		}
		if errors.Is(r.err, errLater) {
			large = append(large, largePaper{papers[i], r.size})
			continue
		}
		fe := asFetchError(r.err, papers[i].Place, image)
		if fe.Kind == TooLarge && fe.Size > MaxSmallPaper && fe.Size <= MaxPaper {
			large = append(large, largePaper{papers[i], fe.Size})
			continue
		}
		g.failed(papers[i], fe)
	}
	return large
}

// below are the digests of the image's children.
func (g *gathered) below() (out []v1.Hash) {
	for _, c := range g.children {
		out = append(out, c.Digest)
	}
	return out
}

// failed notes why a paper could not be fetched.
func (g *gathered) failed(p Paper, fe *FetchError) {
	if fe.Kind == Malformed {
		g.misses = append(g.misses, Miss{Reason: MissMalformed, Claimed: clip(fe.Err.Error()), Source: p.Digest, Place: p.Place})
		return
	}
	g.unanswered = append(slices.Clone(g.unanswered), fe)
	if outage(fe) {
		if g.unfetched == nil {
			g.unfetched = map[v1.Hash]bool{}
		}
		g.unfetched[p.Digest] = true
	}
}

func (g *gathered) lose(p Place) {
	if g.lost == nil {
		g.lost = map[Place]bool{}
	}
	g.lost[p] = true
}

// mayHave tells whether evidence from before may still be there, as far as this gathering can say: its place failed, or
// it is listed and could not be fetched.
func (g *gathered) mayHave(e Evidence) bool {
	return g.lost[PlaceManifest] || g.lost[e.place] || g.unfetched[e.source]
}

func asFetchError(err error, place Place, image name.Digest) *FetchError {
	var fe *FetchError
	if errors.As(err, &fe) {
		return fe
	}
	return &FetchError{Kind: Unavailable, Place: place, Host: image.RegistryStr(), Err: err}
}

// Annotations and media types by which a paper may say what it is. They are hints: what is left out by them is named as a
// miss, and what has none is fetched and looked at.
const (
	bundlePredicateAnnotation = "dev.sigstore.bundle.predicateType"
	legacyPredicateAnnotation = "predicateType"
	bundleArtifactPrefix      = "application/vnd.dev.sigstore.bundle"
)

// notSought tells a paper that says of itself that it is of none of the types. Registries without the referrers API,
// and some tools, give no type or that of the empty config: those are looked at.
func (p Paper) notSought(types []string) *Miss {
	other := func(form Form, claimed string) *Miss {
		return &Miss{Reason: MissOtherType, Form: form, Claimed: clip(claimed), Source: p.Digest, Place: p.Place}
	}
	switch p.Kind {
	case Unsigned:
		return &Miss{Reason: MissUnsigned, Claimed: clip(p.MediaType), Source: p.Digest, Place: p.Place}
	case LegacySignature:
		if !anyType(types, CosignSign) {
			return other(FormLegacy, CosignSign)
		}
		return nil
	case LegacyAttestation:
		t := p.Annotations[legacyPredicateAnnotation]
		if onlySignatures := len(types) == 1 && types[0] == CosignSign; t == "" && onlySignatures { // nobody keeps signatures there
			return other(FormLegacy, "attestation")
		}
		if t != "" && !anyType(types, t) {
			return other(FormLegacy, t)
		}
		return nil
	}
	// cosign 2.6 writes the type of a signature beside whatever it attests by a signing config: that hint rules an attestation out for nobody.
	if t := p.Annotations[bundlePredicateAnnotation]; t != "" && t != CosignSign && !anyType(types, t) {
		return other(FormBundle, t)
	}
	switch t := p.ArtifactType; {
	case t == "", strings.HasPrefix(t, bundleArtifactPrefix), t == "application/vnd.oci.empty.v1+json",
		t == "application/vnd.oci.image.config.v1+json", t == "application/vnd.docker.container.image.v1+json":
		return nil
	default:
		return other("", t)
	}
}

func hashOf(image name.Digest) (v1.Hash, error) {
	h, err := v1.NewHash(image.DigestStr())
	if err != nil {
		return v1.Hash{}, err
	}
	if h.Algorithm != "sha256" {
		return v1.Hash{}, fmt.Errorf("digest by %s: only sha256 is verified", h.Algorithm)
	}
	return h, nil
}
