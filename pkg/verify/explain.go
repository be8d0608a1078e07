package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// Witness is somebody who is trusted and saw a signature: a transparency log or a timestamp authority.
type Witness struct {
	Log  bool
	Name string    // its address, as the trust root has it; may be empty
	Time time.Time // when; zero for a log that tells no time, as those of Rekor v2
}

// Explanation says how the answers to some questions about one image came about: where papers were sought, what was there, and
// what became of each. It is for people: decisions rest on Findings.
type Explanation struct {
	// Shelves are the repositories where papers were sought: the image's own, and those where authorities keep theirs.
	Shelves []Shelf
	// Answers has one for each question, in their order.
	Answers []Answer
	// Index and Children are as in Findings.
	Index    bool
	Children []Child
}

// Shelf is a repository in which papers were sought.
type Shelf struct {
	Repository name.Repository
	// Places are those where papers may be, in the order in which they count; none if Err says why nothing was listed.
	Places []PlaceAnswer
	// Err says why nothing was listed at all.
	Err *FetchError
	// Others are failures that belong to no single place, such as a mirror's.
	Others []*FetchError
}

// PlaceAnswer is what one place answered.
type PlaceAnswer struct {
	Place Place
	// Name is the place's own: REPOSITORY:TAG, or REPOSITORY@DIGEST of whose referrers it is the list.
	Name string
	// Papers are those that it lists, and no place before it does.
	Papers []Paper
	// Err says why it could not be read, in whole or in part; nil if it was.
	Err *FetchError
}

// Answer is what became of each paper for one question.
type Answer struct {
	Question Question
	// Shelf is where it was sought: an index of Explanation.Shelves.
	Shelf int
	// Examined are the papers: those that were accepted, then the others, the nearest first.
	Examined []Examined
	// Unanswered is what could not be read or examined, beside what its Shelf tells.
	Unanswered []*FetchError
}

// Accepted returns those that became evidence.
func (a Answer) Accepted() []Examined {
	n := slices.IndexFunc(a.Examined, func(e Examined) bool { return e.Miss != nil })
	if n < 0 {
		n = len(a.Examined)
	}
	return a.Examined[:n]
}

// Examined is what became of one paper: Evidence, or a Miss.
type Examined struct {
	Evidence Evidence
	Seen     []Witness // who saw what became evidence
	Miss     *Miss     // nil where it did
	Unread   bool      // it was not even fetched, for its own description says that it is something else
	// Says is what the Fulcio certificate that came with it says beside issuer and subject, where the authority is keyless: a claim, where
	// it didn't become evidence.
	Says []Extension
	// Differs is the extension by which alone the certificate is somebody else's; the zero Extension if it is that by more, or isn't.
	Differs Extension
	// Ended is what of an own PKI's chain was not valid when the signature was judged; nil if all was, or none leads to a root.
	Ended *Ended
}

// Extension is one of Fulcio's certificate extensions, by its name in policies. An empty Value says that the certificate doesn't have it.
type Extension struct{ Name, Value string }

// Ended is a certificate of a chain, and the time at which it was not valid.
type Ended struct {
	Subject     string // as RFC 4514 writes it
	Root        bool   // it is one of the authority's roots
	From, Until time.Time
	At          time.Time // when the signature was seen, or else when it was judged
}

// Explain asks a registry anew, and keeps nothing of it: it is for a shell, where somebody waits for one answer, and not for the admission
// path. Unlike with Findings, all misses are told, within the bounds of what is listed and verified.
func (v *Verifier) Explain(ctx context.Context, f Fetcher, image name.Digest, questions []Question) Explanation {
	out := Explanation{Answers: make([]Answer, len(questions))}
	for n, s := range shelvesOf(questions) {
		own := make([]Question, 0, len(s.which))
		for _, i := range s.which {
			own = append(own, questions[i])
		}
		e := v.explain(ctx, f, image, s.at, own)
		out.Shelves = append(out.Shelves, e.Shelves...)
		if e.Index { // the same image has the same below it, wherever its papers are
			out.Index, out.Children = true, e.Children
		}
		for k, i := range s.which {
			out.Answers[i] = e.Answers[k]
			out.Answers[i].Shelf = n
		}
	}
	return out
}

// explain explains the answers to questions about the papers of one shelf.
func (v *Verifier) explain(ctx context.Context, f Fetcher, image name.Digest, at name.Repository, questions []Question) (out Explanation) {
	ctx, cancel := context.WithTimeout(ctx, gatherTimeout)
	defer cancel()
	shelf := Shelf{Repository: image.Context()}
	if at != (name.Repository{}) {
		shelf.Repository = at
	}
	answers := make([]Answer, len(questions))
	for i, q := range questions {
		answers[i].Question = q
	}
	failed := func(err error) Explanation {
		shelf.Err = asFetchError(err, "", image)
		return Explanation{Shelves: []Shelf{shelf}, Answers: answers}
	}
	defer v.recover(func(err error) { out = failed(err) })
	if at != (name.Repository{}) {
		var err error
		if f, err = f.Elsewhere(at); err != nil {
			return failed(err)
		}
	}
	subject, err := hashOf(image)
	if err != nil {
		return failed(&FetchError{Kind: Malformed, Host: image.RegistryStr(), Err: err})
	}
	listing, err := f.List(ctx, image, typesOf(questions))
	if err != nil {
		return failed(err)
	}
	shelf.take(listing, subject)
	types := typesOf(questions)
	held := v.held.account(siteOf(image.RegistryStr()))
	defer held.close()
	g := v.gatherListed(ctx, f, image, questions, listing, held)
	var passed []Examined
	for _, m := range g.misses {
		if m.Reason == MissMalformed && m.Source != (v1.Hash{}) { // those without are in the listing's places
			passed = append(passed, Examined{Miss: &m})
		}
	}
	for _, p := range listing.Papers {
		if miss := p.notSought(types); miss != nil {
			passed = append(passed, Examined{Miss: miss, Unread: true})
		}
	}
	for i, q := range questions {
		answers[i].fill(ctx, q, subject, g, passed, v.clock())
		for _, e := range g.unanswered {
			if !slices.Contains(listing.Unanswered, e) {
				answers[i].Unanswered = append(answers[i].Unanswered, e)
			}
		}
	}
	return Explanation{Shelves: []Shelf{shelf}, Answers: answers, Index: listing.Index, Children: listing.Children}
}

// fill examines what was gathered.
func (a *Answer) fill(ctx context.Context, q Question, subject v1.Hash, g *gathered, passed []Examined, now time.Time) {
	err := q.each(ctx, subject, g, now, func(l looked) {
		a.Examined = append(a.Examined, detailed(ctx, q.authority, g, l, now))
	})
	if err != nil {
		a.Unanswered = append(a.Unanswered, &FetchError{Kind: TooMany, Err: err})
	}
	a.Examined = append(a.Examined, passed...)
	slices.SortStableFunc(a.Examined, func(x, y Examined) int {
		if x.Miss == nil || y.Miss == nil {
			return cmp.Compare(accepted(y), accepted(x))
		}
		return nearer(*x.Miss, *y.Miss)
	})
}

func accepted(e Examined) int {
	if e.Miss == nil {
		return 1
	}
	return 0
}

// take notes what each place of the shelf answered.
func (s *Shelf) take(l Listing, image v1.Hash) {
	tag := fmt.Sprintf("%s:%s-%s", s.Repository, image.Algorithm, image.Hex)
	s.Places = []PlaceAnswer{
		{Place: PlaceSignatures, Name: tag + ".sig"},
		{Place: PlaceAttestation, Name: tag + ".att"},
		{Place: PlaceReferrers, Name: fmt.Sprintf("%s@%s", s.Repository, image)},
		{Place: PlaceFallbackTag, Name: tag},
	}
	at := map[Place]*PlaceAnswer{}
	for i := range s.Places {
		at[s.Places[i].Place] = &s.Places[i]
	}
	for _, p := range l.Papers {
		if place := at[p.Place]; place != nil {
			place.Papers = append(place.Papers, p)
		}
	}
	for _, e := range l.Unanswered {
		if place := at[e.Place]; place != nil && place.Err == nil {
			place.Err = e
		} else {
			s.Others = append(s.Others, e)
		}
	}
}

// SaysBundle tells whether the paper says of itself that it is a Sigstore bundle. Registries without the referrers API may tell nothing of it.
func (p Paper) SaysBundle() bool {
	return p.Kind == Referrer && (p.Annotations[bundlePredicateAnnotation] != "" || strings.HasPrefix(p.ArtifactType, bundleArtifactPrefix))
}

// Terms are what must come with the authority's signatures.
func (a Authority) Terms() Terms { return a.terms }

// Roots are those of an own PKI, as RFC 4514 writes their subjects; none if it isn't an authority of certificates.
func (a Authority) Roots() []string {
	c, _ := a.who.(certificates)
	return slices.Clone(c.names)
}

// Holds is what a Trust holds, by address, sorted.
type Holds struct {
	CertificateAuthorities, CertificateLogs, Logs, TimestampAuthorities []string
	Thresholds                                                          Thresholds
}

// addressOf is the address of an authority of a trusted root.
func addressOf(authority any) string {
	switch a := authority.(type) {
	case *root.FulcioCertificateAuthority:
		return a.URI
	case *root.SigstoreTimestampingAuthority:
		return a.URI
	}
	return ""
}

// Holds tells people what the trust holds.
func (t *Trust) Holds() Holds {
	h := Holds{Thresholds: t.thresholds}
	for _, c := range t.material.FulcioCertificateAuthorities() {
		h.CertificateAuthorities = append(h.CertificateAuthorities, addressOf(c))
	}
	for _, l := range t.material.CTLogs() {
		h.CertificateLogs = append(h.CertificateLogs, l.BaseURL)
	}
	for _, l := range t.material.RekorLogs() {
		h.Logs = append(h.Logs, l.BaseURL)
	}
	for _, c := range t.material.TimestampingAuthorities() {
		h.TimestampAuthorities = append(h.TimestampAuthorities, addressOf(c))
	}
	for _, list := range []*[]string{&h.CertificateAuthorities, &h.CertificateLogs, &h.Logs, &h.TimestampAuthorities} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return h
}
