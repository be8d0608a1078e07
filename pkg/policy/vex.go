package policy

import (
	"fmt"
	"slices"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// vexSaid is what the VEX documents of a requirement's authorities are, of one image.
type vexSaid struct {
	documents []*predicate.VEX
	unread    *verify.FetchError // they could not all be listed: what isn't known may take back what is
	malformed string             // why one of them can't be read; its statements may take back those of others
}

// usable tells whether they take findings away.
func (s vexSaid) usable() bool { return s.unread == nil && s.malformed == "" }

// suffix says that they don't, where they were read.
func (s vexSaid) suffix() string {
	if s.malformed == "" {
		return ""
	}
	return "; VEX takes nothing away: " + s.malformed
}

// vexOf gathers the VEX documents about the digest of a case.
func (v vulnerabilities) vexOf(c Case, findings []verify.Findings) (said vexSaid) {
	for i, f := range findings {
		if whole, why := f.Whole(); !whole {
			said.unread = why
			return said
		}
		for _, e := range f.Evidence {
			if !e.About(c.Digest) || e.Authority() != v.rules.VEX[i].Fingerprint() {
				continue
			}
			facts, err := e.Facts()
			switch doc, ok := facts.(*predicate.VEX); {
			case err != nil:
				said.malformed = fmt.Sprintf("a document by %s (%s) can't be read: %s", v.rules.VEX[i].Name(), short(e.Source().String()), printable(err.Error()))
			case ok && doc != nil:
				said.documents = append(said.documents, doc)
			default:
				said.malformed = fmt.Sprintf("a document by %s (%s) isn't read as VEX", v.rules.VEX[i].Name(), short(e.Source().String()))
			}
		}
	}
	return said
}

// removeByVEX takes away the findings, of severities that are over a limit, that VEX says don't affect the image or are fixed in it.
func (v vulnerabilities) removeByVEX(c Case, t *findingCount, said vexSaid) {
	if !said.usable() || len(said.documents) == 0 {
		return
	}
	over := t.counts
	digests := []string{c.Digest.Hex, c.Image.Digest.Hex}
	var opinions []predicate.Opinion
	for _, i := range candidates(t.scan, said.documents) {
		s, counted := t.here(i)
		if !counted || !above(over[s], v.max[s]) && !above(over[s], v.warn[s]) {
			continue
		}
		f := t.scan.Finding(i)
		if v.vexed(c, &f, said.documents, digests, &opinions) {
			t.take(&t.vexed, i, s)
		}
	}
}

// candidates are the findings that the documents may say something about: all, where the documents are the longer list.
func candidates(scan *predicate.Scan, documents []*predicate.VEX) []int {
	names := 0
	for _, d := range documents {
		names += d.Names()
	}
	var out []int
	if names >= scan.Len() {
		for i := range scan.Len() {
			out = append(out, i)
		}
		return out
	}
	for _, d := range documents {
		for i := range d.Names() {
			out = scan.Named(out, d.Name(i))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// vexed tells whether the documents take a finding away. One about several CVEs goes only if each of them does, or it by its own name.
func (v vulnerabilities) vexed(c Case, f *predicate.Finding, documents []*predicate.VEX, digests []string, buf *[]predicate.Opinion) bool {
	cves := f.CVEs()
	if len(cves) < 2 {
		return v.latest(c, f, documents, digests, buf)
	}
	own := *f
	own.Aliases = nil
	if v.latest(c, &own, documents, digests, buf) {
		return true
	}
	return !slices.ContainsFunc(cves, func(cve string) bool {
		own.ID = cve
		return !v.latest(c, &own, documents, digests, buf)
	})
}

// latest tells whether the latest statement about a finding takes it away. Of several of one time each must. A statement dated ahead of our
// clock takes nothing away yet.
func (v vulnerabilities) latest(c Case, f *predicate.Finding, documents []*predicate.VEX, digests []string, buf *[]predicate.Opinion) bool {
	all := (*buf)[:0]
	for _, d := range documents {
		all = d.Opinions(all, f, digests...)
	}
	*buf = all
	removes, last := false, predicate.Opinion{}
	for _, o := range all {
		switch takes := o.Status.Removes(); {
		case takes && (!o.Sure || o.At.After(c.Image.Now.Add(maxAhead))):
		case o.At.After(last.At):
			removes, last = takes, o
		case o.At.Equal(last.At):
			removes = removes && takes
		}
	}
	return removes
}
