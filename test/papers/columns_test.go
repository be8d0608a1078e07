package papers_test

import (
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// column is what a registry has instead of the right paper.
type column struct {
	name  string
	means string
	index bool // the image is an index of linux/amd64 and linux/arm64
	// without says why a row has no such cell; empty: it has one.
	without func(row) string
	// by says who signs, and by which name the policy knows them, where that isn't the row's.
	by    func(*people, row) (signer, string)
	stage func(*cell)
}

// fresh is the age of what is right.
const fresh = time.Hour

func aged(r row) string { return r.ageless }

// bound says why a paper can't be replayed from elsewhere by what it says: it says nothing of it.
func bound(r row) string {
	switch r.name {
	case "approvals", "promotion", "acceptSummary":
		return ""
	}
	return "says nothing of an environment: one key or identity a stage binds it"
}

// columns are all states there are.
func columns() []column {
	return append(plainColumns(), indexColumns()...)
}

func plainColumns() []column {
	return []column{
		{name: "satisfied", means: "the right paper", stage: func(c *cell) { c.good(c.image, c.ago(fresh), c.image) }},
		{name: "missing", means: "no paper", stage: func(*cell) {}},
		{name: "wrong signer", means: "the right paper, by somebody whom the policy knows for something else", stage: func(c *cell) {
			c.attach(c.image, c.row.other(c.people), c.row.good, c.ago(fresh), c.image)
		}},
		{name: "wrong predicate", means: "a paper of another kind, by the right signer", stage: func(c *cell) {
			kind, text := c.row.wrong(c.t, c.complete(c.ago(fresh), said{about: []v1.Hash{c.image}}))
			c.shelf.attach(c.t, c.image, c.by.attest(c.t, c.ago(fresh), kind, text, c.image), kind)
		}},
		{name: "wrong predicate, said to be right", means: "the same, where the registry says that it is of the right kind", stage: func(c *cell) {
			kind, text := c.row.wrong(c.t, c.complete(c.ago(fresh), said{about: []v1.Hash{c.image}}))
			c.shelf.attach(c.t, c.image, c.by.attest(c.t, c.ago(fresh), kind, text, c.image), c.row.kind)
		}},
		{name: "wrong subject", means: "the right paper about another image", stage: func(c *cell) { c.good(c.image, c.ago(fresh), elsewhere()) }},
		{name: "stale", means: "the right paper, an hour older than it may be", without: aged, stage: func(c *cell) { c.good(c.image, c.ago(169*time.Hour), c.image) }},
		{
			name: "no time to count from", means: "the right paper by a bare key, and it doesn't say when it was made", without: func(r row) string {
				if r.name == "vex" { // of several documents the latest counts, and so each has to say of when it is
					return ""
				}
				return r.ageless
			},
			by: func(p *people, r row) (signer, string) {
				if r.whose == "ci" {
					return p.release, "release"
				}
				return r.by(p), r.whose
			},
			stage: func(c *cell) { c.good(c.image, time.Time{}, c.image) },
		},
		{name: "hidden newer", means: "the right paper, and a place that could have a newer one fails", stage: func(c *cell) {
			c.older(c.ago(fresh))
			c.shelf.hide(c.t, c.image)
		}},
		{name: "newer bad beside older good", means: "the right paper, and a newer one that says no (of signature, approvals and promotion: that can't be read)", stage: func(c *cell) {
			c.good(c.image, c.ago(48*time.Hour), c.image)
			c.bad(c.by, c.ago(fresh))
		}},
		{name: "older bad beside newer good", means: "the right paper, and an older one that says no", stage: func(c *cell) {
			c.bad(c.by, c.ago(48*time.Hour))
			c.good(c.image, c.ago(fresh), c.image)
		}},
		{name: "newer bad by another", means: "the right paper, and a newer one that says no, by whom the policy knows for something else", stage: func(c *cell) {
			c.good(c.image, c.ago(48*time.Hour), c.image)
			c.bad(c.row.other(c.people), c.ago(fresh))
		}},
		{
			name: "future-dated", means: "the right paper, an hour ahead of the clock (a signature: by the log)", by: func(p *people, r row) (signer, string) {
				if r.signature {
					return p.ci, "ci"
				}
				return r.by(p), r.whose
			},
			stage: func(c *cell) { c.good(c.image, c.now.Add(time.Hour), c.image) },
		},
		{name: "malformed", means: "a paper of the right type by the right signer, and not what that type is", stage: func(c *cell) { c.spoilt(c.ago(fresh)) }},
		{name: "oversized", means: "a paper over the bound", stage: func(c *cell) { c.shelf.oversize(c.t, c.image) }},
		{name: "oversized beside good", means: "the right paper, and one over the bound", stage: func(c *cell) {
			c.good(c.image, c.ago(fresh), c.image)
			c.shelf.oversize(c.t, c.image)
		}},
		{name: "replayed from another environment", means: "the right paper for staging (a summary: under staging's policy)", without: bound, stage: func(c *cell) {
			s := said{about: []v1.Hash{c.image}, environment: "staging", policy: verifytest.Digest("the policy of staging").String()}
			c.shelf.attach(c.t, c.image, c.paper(c.by, c.row.good, c.ago(fresh), s), c.row.kind)
		}},
		{name: "replayed from another repository", means: "the right paper for staging's repository", without: func(r row) string {
			if r.name == "approvals" {
				return "says nothing of a repository: it is for a digest and an environment"
			}
			return bound(r)
		}, stage: func(c *cell) {
			s := said{about: []v1.Hash{c.image}, repository: "registry.example.com/staging/api"}
			c.shelf.attach(c.t, c.image, c.paper(c.by, c.row.good, c.ago(fresh), s), c.row.kind)
		}},
	}
}

// older attaches the right paper in cosign's older layout, so that the place of bundles has none.
func (c *cell) older(at time.Time) {
	c.t.Helper()
	if c.row.signature {
		c.shelf.attach(c.t, c.image, verifytest.LegacySignature(c.people.release.Signer, c.image), verify.CosignSign)
		return
	}
	s := c.complete(at, said{about: []v1.Hash{c.image}})
	c.shelf.attach(c.t, c.image, c.by.legacy(c.t, at, c.row.kind, c.row.good(c.t, s), c.image), c.row.kind)
}

// onIndex attaches the right paper to the index, about some digests.
func (c *cell) onIndex(about ...v1.Hash) { c.t.Helper(); c.good(c.image, c.ago(fresh), about...) }

// onChild attaches the right paper about a child to that.
func (c *cell) onChild(i int) { c.t.Helper(); c.good(c.children[i], c.ago(fresh), c.children[i]) }

func indexColumns() []column {
	return []column{
		{name: "index: names all", index: true, means: "one paper on the index, about the index and each child", stage: func(c *cell) {
			c.onIndex(c.image, c.children[0], c.children[1])
		}},
		{name: "index: each child's own", index: true, means: "a paper on each child, about that", stage: func(c *cell) {
			c.onChild(0)
			c.onChild(1)
		}},
		{name: "index: both", index: true, means: "both of these", stage: func(c *cell) {
			c.onIndex(c.image, c.children[0], c.children[1])
			c.onChild(0)
			c.onChild(1)
		}},
		{name: "index: some", index: true, means: "a paper on one child alone", stage: func(c *cell) { c.onChild(0) }},
		{name: "index: one child named", index: true, means: "one paper on the index, about the index and one child", stage: func(c *cell) { c.onIndex(c.image, c.children[0]) }},
		{name: "index: only the index named", index: true, means: "one paper on the index, about the index alone", stage: func(c *cell) { c.onIndex(c.image) }},
		{name: "index: only its children named", index: true, means: "one paper on the index, about each child and not the index", stage: func(c *cell) {
			c.onIndex(c.children[0], c.children[1])
		}},
		{name: "index: half above, half below", index: true, means: "one paper on the index about one child, and one on the other child", stage: func(c *cell) {
			c.onIndex(c.image, c.children[0])
			c.onChild(1)
		}},
		{name: "other platform's", index: true, means: "a paper about linux/arm64, on the index and on each child", stage: func(c *cell) {
			for _, to := range []v1.Hash{c.image, c.children[0], c.children[1]} {
				c.good(to, c.ago(fresh), c.children[1])
			}
		}},
		{name: "index: newer bad above", index: true, means: "a paper on each child, and a newer one on the index, about all, that says no (or can't be read)", stage: func(c *cell) {
			c.good(c.children[0], c.ago(48*time.Hour), c.children[0])
			c.good(c.children[1], c.ago(48*time.Hour), c.children[1])
			if c.row.image {
				c.onIndex(c.image)
			}
			if c.row.signature {
				c.spoilt(c.ago(fresh))
				return
			}
			c.attach(c.image, c.by, c.row.bad, c.ago(fresh/2), c.image, c.children[0], c.children[1])
		}},
		{name: "index: hidden newer above", index: true, means: "a paper on each child, and the place where the index's are fails", stage: func(c *cell) {
			if c.row.image {
				c.older(c.ago(fresh))
			}
			c.onChild(0)
			c.onChild(1)
			c.shelf.hide(c.t, c.image)
		}},
	}
}
