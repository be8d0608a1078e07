package policy

import (
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// vexWork bounds what is done to compare the findings of scans with VEX documents, in one judgement: it is enough for as many findings as there may be, of
// some names each, with a statement each. That takes less than a tenth of a second, and nobody's real papers come near it.
const vexWork predicate.Work = 1 << 22

// vexSaid is what the VEX documents of a requirement's authorities are, of one image.
type vexSaid struct {
	documents []*predicate.VEX
	unread    *verify.FetchError // they could not all be listed: what isn't known may take back what is
	malformed string             // why none counts: one can't be read, whose statements may take back those of others
	work      *predicate.Work    // what may be done still to compare with them
	others    map[v1.Hash]bool   // papers that are no documents of the authorities about this image, as far as they were kept
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

// elsewhere says that there are others, which don't count.
func (s vexSaid) elsewhere() string {
	if len(s.others) == 0 {
		return ""
	}
	return fmt.Sprintf("; %s by others, or about another image, don't count", count(len(s.others), "VEX document"))
}

// vexOf gathers the VEX documents about the digest of a case.
func (v vulnerabilities) vexOf(c Case, findings []verify.Findings) (said vexSaid) {
	work := vexWork
	said.others, said.work = map[v1.Hash]bool{}, &work
	for _, f := range findings {
		for _, m := range f.Misses {
			switch m.Reason {
			case verify.MissUnproven, verify.MissOtherSubject, verify.MissOtherSigner:
				said.others[m.Source] = true
			case verify.MissUnsigned, verify.MissOtherType, verify.MissMalformed: // it may be anything
			}
		}
	}
	for i, f := range findings {
		if whole, why := f.Whole(); !whole {
			said.unread = why
			return said
		}
		for _, e := range f.Evidence {
			if !e.About(c.Digest) || e.Authority() != v.rules.VEX[i].Fingerprint() {
				continue
			}
			delete(said.others, e.Source())
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

// removeByVEX takes away the findings, of severities that are over a limit, that VEX says don't affect the image or are fixed in it. It tells
// whether it could: where comparing is too much work nothing goes.
func (v vulnerabilities) removeByVEX(c Case, t *findingCount, said vexSaid) bool {
	if !said.usable() || len(said.documents) == 0 {
		return true
	}
	j := vexJudge{
		now: c.Image.Now, scan: t.scan, documents: said.documents, digests: []string{c.Digest.Hex, c.Image.Digest.Hex}, work: said.work,
	}
	var gone []int
	for _, i := range j.named(func(i int) bool {
		s, counted := t.here(i)
		return counted && (above(t.counts[s], v.max[s]) || above(t.counts[s], v.warn[s]))
	}) {
		if j.removes(i) {
			gone = append(gone, i)
		}
	}
	if said.work.Over() {
		return false
	}
	for _, i := range gone {
		s, _ := t.here(i)
		t.take(&t.vexed, i, s)
	}
	return true
}

// vexJudge compares the findings of a scan with VEX documents.
type vexJudge struct {
	now       time.Time
	scan      *predicate.Scan
	documents []*predicate.VEX
	digests   []string
	work      *predicate.Work

	opinions []predicate.Opinion
	last     []latestWord
}

// latestWord is what VEX said last about a vulnerability.
type latestWord struct {
	at      time.Time
	removes bool
}

// named are the findings of those that the documents name, each once.
func (j *vexJudge) named(of func(i int) bool) (out []int) {
	var seen numbers
	var buf []int
	for _, d := range j.documents {
		for n := range d.Names() {
			buf = j.scan.Named(buf[:0], d.Name(n))
			if !j.work.Spend(nameSteps + len(buf)) {
				return nil
			}
			for _, i := range buf {
				if !seen.has(i) && of(i) {
					seen.add(i)
					out = append(out, i)
				}
			}
		}
	}
	return out
}

// nameSteps is how many steps it takes to find a name in a scan.
const nameSteps = 8

// removes tells whether the documents take a finding away: of each vulnerability that it is about the latest statement must, be it by the finding's name
// or the vulnerability's own. Of several statements of one time each must. One dated ahead of our clock takes nothing away yet.
func (j *vexJudge) removes(i int) bool {
	j.opinions = j.opinions[:0]
	for _, d := range j.documents {
		j.opinions = d.Opinions(j.opinions, j.scan, i, j.work, j.digests...)
	}
	parts := j.scan.Parts(i)
	if !j.work.Spend(parts * (1 + len(j.opinions))) {
		return false
	}
	j.last = append(j.last[:0], make([]latestWord, parts)...)
	for _, o := range j.opinions {
		takes, about := o.Status.Removes(), o.May
		if takes {
			about = o.Sure
		}
		if takes && o.At.After(j.now.Add(maxAhead)) {
			continue
		}
		for n := range j.last {
			switch last := &j.last[n]; {
			case !about.Has(n):
			case o.At.After(last.at):
				*last = latestWord{o.At, takes}
			case o.At.Equal(last.at):
				last.removes = last.removes && takes
			}
		}
	}
	return !slices.ContainsFunc(j.last, func(w latestWord) bool { return !w.removes })
}
