package verify

import (
	"cmp"
	"slices"
	"time"
	"unique"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// CosignSign is the predicate type by which a bundle is a signature: cosign 3 writes it (reference: cosign's
// bundle specification). A legacy simple signing payload is given the same type here, for it says the same thing.
const CosignSign = "https://sigstore.dev/cosign/sign/v1"

// Form is how evidence was packed, for people.
type Form string

// The forms.
const (
	FormLegacy Form = "legacy"
	FormBundle Form = "bundle"
)

// Evidence is a verified fact: this authority said something of this type about this digest. Only a Verifier makes it;
// the zero Evidence is about no digest and by nobody.
type Evidence struct {
	subject       v1.Hash
	authority     Fingerprint
	signer        Fingerprint
	key           Fingerprint
	who           unique.Handle[SignedBy]
	predicateType string
	form          Form
	source        v1.Hash
	place         Place
	at, until     int64 // seconds since 1970; 0 for none
	firm          bool  // at is when it was signed, give or take firmWithin
	said          *said // what was stated; nil if its type says it all
}

// SignedBy is a signer, for people and for rules.
type SignedBy struct {
	Text string // for people: a key's fingerprint, a subject and its issuer, or a name
	// Issuer and Subject are of a keyless signature, and BuildSigner, BuildConfig and Runner what its certificate says of the build by
	// Fulcio's extensions BuildSignerURI, BuildConfigURI and RunnerEnvironment; all are empty where it doesn't.
	Issuer, Subject                  string
	BuildSigner, BuildConfig, Runner string
}

// Subject is the digest that the evidence is about. It is the zero Hash where that is not the image that was asked about, but only children of it:
// see About.
func (e Evidence) Subject() v1.Hash { return e.subject }

// Authority is the fingerprint of the authority that vouches.
func (e Evidence) Authority() Fingerprint { return e.authority }

// Signer identifies who signed: by key, so that an authority of several keys is several signers, and one key under two names is one; by
// issuer and subject for a keyless signature; by name in an own PKI.
func (e Evidence) Signer() Fingerprint { return e.signer }

// Key is the key that signed, as the SHA-256 of its PKIX DER. Signers who share one are no two.
func (e Evidence) Key() Fingerprint { return e.key }

// Who is the signer for people: a key's fingerprint, a subject and its issuer, or a name.
func (e Evidence) Who() string {
	if e == (Evidence{}) {
		return ""
	}
	return e.who.Value().Text
}

// SignedBy is the signer.
func (e Evidence) SignedBy() SignedBy {
	if e == (Evidence{}) {
		return SignedBy{}
	}
	return e.who.Value()
}

// firmWithin is how long a certificate may be good for its signature's verified time to tell when it was signed, and not only that it was by
// then: Fulcio's are good for ten minutes.
const firmWithin = 24 * time.Hour

// Firm tells whether Time is when it was signed, within a day. Otherwise it was signed by then, and may be older by any length.
func (e Evidence) Firm() bool { return e.firm && e.at != 0 }

// About tells whether what was stated is about a digest: whether that is among the subjects of the statement.
func (e Evidence) About(h v1.Hash) bool {
	return e.subject == h && h != (v1.Hash{}) || e.said != nil && slices.Contains(e.said.also, h)
}

// Facts are what was stated. An error says why it can't be read: that is a fault of what was signed, and not a lack of it. Both are nil where the
// question was about signatures, whose type says it all.
func (e Evidence) Facts() (predicate.Facts, error) {
	if e.said == nil {
		return nil, nil
	}
	return e.said.facts, e.said.err
}

// same tells whether it is the same evidence, read once more.
func (e Evidence) same(as Evidence) bool {
	e.said, as.said = nil, nil
	return e == as
}

// Time is when the signature was seen by a log or timestamp authority that is trusted, the earliest, to the second; zero if none saw it.
//
// It was signed by then, and may be older. A certificate of ten minutes bounds by how much; a bare key, or a certificate of years, doesn't:
// whoever may push can leave an old timestamp out and have the same signature stamped today. So how old something may be must not rest on the
// time of a key's signature alone.
func (e Evidence) Time() time.Time {
	if e.at == 0 {
		return time.Time{}
	}
	return time.Unix(e.at, 0).UTC()
}

// good tells whether the evidence still holds: what was judged by the present time must be judged again.
func (e Evidence) good(now time.Time) bool { return e.until == 0 || now.Unix() <= e.until }

// PredicateType is the full URI of what was said, from the signed bytes.
func (e Evidence) PredicateType() string { return e.predicateType }

// Form is how it was packed.
func (e Evidence) Form() Form { return e.form }

// Source is the digest of the object that it was read from.
func (e Evidence) Source() v1.Hash { return e.source }

// Place is where it was listed.
func (e Evidence) Place() Place { return e.place }

// MissReason says why a candidate did not become evidence.
type MissReason uint8

// The reasons, the nearest first.
const (
	MissUnproven     MissReason = iota + 1 // it claims to be by the authority, and that isn't shown
	MissOtherSubject                       // it is about another digest
	MissOtherSigner                        // it isn't signed by the authority
	MissUnsigned                           // nobody signed it, whatever it is
	MissOtherType                          // it is about something else than what was sought
	MissMalformed                          // it can't be read
)

// Miss is something that was found and not accepted. It is told to people, so that they need not search; as nothing in
// it is verified, it is told as a claim.
type Miss struct {
	Reason  MissReason
	Lack    Lack  // what wasn't shown, where it is MissUnproven
	far     uint8 // of two that are alike, the nearer has less
	Form    Form
	Claimed string // what it says of itself: signer, subject digest, predicate type, or what is wrong with it
	Why     string // the same in the words of whoever verified, or with its times
	Source  v1.Hash
	Place   Place
}

// Nearer tells whether the miss is nearer to being evidence than another.
func (m Miss) Nearer(than Miss) bool { return nearer(m, than) < 0 }

// nearer orders misses, so that the same ones always read the same, in whatever order a registry lists them.
func nearer(x, y Miss) int {
	return cmp.Or(cmp.Compare(x.Reason, y.Reason), cmp.Compare(x.far, y.far), cmp.Compare(x.Claimed, y.Claimed))
}

// Findings is what one authority is known to have said about one digest.
type Findings struct {
	// Evidence holds what was verified.
	Evidence []Evidence
	// Misses holds what was found and not accepted, the nearest first, at most MaxMisses of them.
	Misses []Miss
	// Seen counts the papers that were there, whoever made them.
	Seen int
	// Unanswered lists what could not be read: while it isn't empty, absence means nothing.
	Unanswered []*FetchError
	// ListedAt is when the registry was last asked what there is.
	ListedAt time.Time
	// Stale says that the registry fails and Evidence is from before.
	Stale bool
	// part says that Evidence from before wasn't all either.
	part bool
	// inherited says that it was listed for other credentials: see Verifier.inherit.
	inherited bool
	// Index says that the image is an index of manifests, and Children which of them a node may run. Without a listing, neither is known.
	Index    bool
	Children []Child
}

// MaxUnanswered bounds the failures kept with findings: one says what is wrong, a few say where.
const MaxUnanswered = 4

// MaxMisses bounds the misses kept with findings: enough to tell the nearest of each reason.
const MaxMisses = 8

// Whole tells whether Evidence is all that the authority said, as far as anybody knows who asked within KeepFor: every place was listed and every
// paper of the kind could be looked at. Only then can be told what is the newest. If it isn't, the failure says why.
func (f Findings) Whole() (bool, *FetchError) {
	switch {
	case len(f.Unanswered) == 0:
		return true, nil
	case f.Stale && !f.part:
		return true, nil
	}
	return false, f.Unanswered[0]
}

// With adds to the findings about a child of an index those about the index itself, as far as they name the child.
func (f Findings) With(index Findings, child v1.Hash) Findings {
	mine, _ := f.Whole()
	its, _ := index.Whole()
	f.Evidence, f.Misses, f.Unanswered = slices.Clone(f.Evidence), slices.Clone(f.Misses), slices.Concat(f.Unanswered, index.Unanswered)
	for _, e := range index.Evidence {
		if e.About(child) {
			f.Evidence = append(f.Evidence, e)
			continue
		}
		f.Misses = append(f.Misses, Miss{Reason: MissOtherSubject, Form: e.form, Claimed: "the index, which does not name this platform among its subjects", Source: e.source, Place: e.place})
	}
	f.Misses = append(f.Misses, index.Misses...)
	slices.SortStableFunc(f.Misses, nearer)
	f.Seen, f.Stale, f.part = f.Seen+index.Seen, f.Stale || index.Stale, !mine || !its
	return f
}
