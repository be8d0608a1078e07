package papers_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

const namespace = "payments"

// clock is a clock that stands until it is set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = to
}

func (c *clock) add(d time.Duration) { c.set(c.read().Add(d)) }

// desk judges as the webhook does, by a policy that may be changed.
type desk struct {
	*admission.Evaluator
	clock *clock

	mu  sync.Mutex
	set policy.Set
}

// newDesk returns one that reads a shelf, whose clock stands.
func newDesk(t testing.TB, at time.Time, from admission.Registries) *desk {
	t.Helper()
	d := &desk{clock: &clock{now: at}}
	verifier, err := verify.NewVerifier(verify.Options{Clock: d.clock.read})
	if err != nil {
		t.Fatal(err)
	}
	d.Evaluator = &admission.Evaluator{Policies: d, Registries: from, Verifier: verifier, Clock: d.clock.read}
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	return d
}

// Set implements admission.PolicySource.
func (d *desk) Set(context.Context, string) (policy.Set, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.set, nil
}

// load makes YAML documents the policies in force.
func (d *desk) load(t testing.TB, documents ...string) {
	t.Helper()
	bundle, err := compile.LoadFiles(compile.File{Name: "policies", Reader: strings.NewReader(strings.Join(documents, "---\n"))})
	if err != nil {
		t.Fatal(err)
	}
	set, unresolved := bundle.Set(t.Context(), namespace, policy.UnmatchedDeny)
	if len(unresolved) > 0 {
		t.Fatal(unresolved)
	}
	for _, p := range set.All() {
		if p.Unusable != "" {
			t.Fatalf("policy %s can't be used: %s", p.Name, p.Unusable)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set = set
}

// digest is that of the one policy.
func (d *desk) digest() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.set.All()[0].Digest
}

// decide judges an image, and returns the results of the one policy about it by requirement.
func (d *desk) decide(t testing.TB, repository string, image v1.Hash) (admission.Decision, map[string]policy.Result) {
	t.Helper()
	got := d.Decide(t.Context(), admission.Query{Namespace: namespace, Images: []admission.Image{
		{List: admission.Containers, Name: "main", Reference: repository + "@" + image.String()},
	}})
	if got.Refusal != nil || len(got.Images) != 1 || len(got.Images[0].Verdicts) != 1 {
		t.Fatalf("the request isn't judged by the one policy: %+v", got)
	}
	out := map[string]policy.Result{}
	for _, r := range got.Images[0].Verdicts[0].Results {
		out[r.Requirement] = r
	}
	return got, out
}

// imagePolicy is the document of a policy about a repository.
func imagePolicy(p *people, repository, more string, require ...string) string {
	text := "apiVersion: pratique.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: production, namespace: " + namespace + "}\nspec:\n  images: {include: [\"" +
		repository + "\"]}\n  authorities:\n" + p.authorities
	if more != "" {
		text += "  " + more + "\n"
	}
	text += "  require:\n"
	for _, r := range require {
		text += "    " + strings.ReplaceAll(r, "\n", "\n    ") + "\n"
	}
	return text
}

// cell is one requirement, and what there is instead of its paper.
type cell struct {
	t      testing.TB
	row    row
	people *people
	shelf  shelf
	desk   *desk
	by     signer
	now    time.Time

	image    v1.Hash
	children []v1.Hash // none, if the image is no index
}

// newCell sets the scene: the image, and a policy that asks for the row's paper.
func newCell(t testing.TB, r row, col column, on shelf) *cell {
	t.Helper()
	c := &cell{t: t, row: r, people: everyone(t), shelf: on, now: verifytest.Then()}
	whose := r.whose
	if c.by = r.by(c.people); col.by != nil {
		c.by, whose = col.by(c.people, r)
	}
	if col.index {
		index := evilregistry.RandomIndex(7)
		c.image = on.put(t, index)
		for _, d := range parts(t, index) {
			c.children = append(c.children, d.Digest)
		}
	} else {
		c.image = on.put(t, evilregistry.RandomImage(7))
	}
	c.desk = newDesk(t, c.now, on)
	fill := func(text string) string { return strings.ReplaceAll(text, "BY", whose) }
	c.desk.load(t, imagePolicy(c.people, on.repository(), fill(r.accept), fill(r.require)), c.people.trustRoot)
	if r.base != nil {
		by, kind, doc := r.base(c.people)
		for _, h := range c.platforms() {
			on.attach(t, h, by.attest(t, c.ago(time.Hour), kind, doc(t, said{at: c.ago(time.Hour)}), h), kind)
		}
	}
	return c
}

// platforms are the digests that run: the children, or else the image.
func (c *cell) platforms() []v1.Hash {
	if len(c.children) > 0 {
		return c.children
	}
	return []v1.Hash{c.image}
}

func (c *cell) ago(d time.Duration) time.Time { return c.now.Add(-d) }

// paper is the row's, as somebody writes it: made at a time, about some digests.
func (c *cell) paper(by signer, doc write, at time.Time, s said) verify.Candidate {
	c.t.Helper()
	if c.row.signature {
		return by.attest(c.t, at, c.row.kind, "{}", s.about...)
	}
	return by.attest(c.t, at, c.row.kind, doc(c.t, c.complete(at, s)), s.about...)
}

// complete fills in what papers say of where the image is, and when they were made.
func (c *cell) complete(at time.Time, s said) said {
	s.at = at
	if s.repository == "" {
		s.repository = c.shelf.repository()
	}
	if s.policy == "" {
		s.policy = c.desk.digest()
	}
	return s
}

// attach attaches the row's paper to a digest.
func (c *cell) attach(to v1.Hash, by signer, doc write, at time.Time, about ...v1.Hash) {
	c.t.Helper()
	c.shelf.attach(c.t, to, c.paper(by, doc, at, said{about: about}), c.row.kind)
}

// good attaches one that satisfies the row.
func (c *cell) good(to v1.Hash, at time.Time, about ...v1.Hash) {
	c.t.Helper()
	c.attach(to, c.by, c.row.good, at, about...)
}

// spoilt attaches one by the right signer that isn't what its type says.
func (c *cell) spoilt(at time.Time) {
	c.t.Helper()
	if c.row.signature {
		c.shelf.attach(c.t, c.image, verifytest.BundleOf(c.people.release.Signer, []byte("no statement"), "0.3"), c.row.kind)
		return
	}
	c.attach(c.image, c.by, c.row.spoilt, at, c.image)
}

// bad attaches one by the right signer that doesn't satisfy the row.
func (c *cell) bad(by signer, at time.Time) {
	c.t.Helper()
	if c.row.signature {
		c.spoilt(at)
		return
	}
	c.attach(c.image, by, c.row.bad, at, c.image)
}

// judge returns what came of it.
func (c *cell) judge() policy.Result {
	c.t.Helper()
	decision, results := c.desk.decide(c.t, c.shelf.repository(), c.image)
	r, ok := results[c.row.result()]
	if !ok || len(results) != 1 {
		c.t.Fatalf("results %v, want one of %s", results, c.row.result())
	}
	if decision.Allowed() != r.Outcome.Passes() {
		c.t.Errorf("the request is %s, and yet %s is %s", decision.Word(), c.row.name, r.Outcome)
	}
	if !slices.Contains(policy.Reasons(), r.Reason) || r.Reason == policy.InternalError {
		c.t.Errorf("reason %q", r.Reason)
	}
	if !r.Outcome.Passes() && !strings.Contains(decision.Message(), string(r.Reason)) {
		c.t.Errorf("the message to people lacks %s:\n%s", r.Reason, decision.Message())
	}
	return r
}

var (
	shortDigest = regexp.MustCompile(`sha256:[0-9a-f]{12}\.\.\.`)
	longDigest  = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
)

// told is a detail without what is another each time: digests have names.
func (c *cell) told(detail string) string {
	names := map[string]string{}
	for i, h := range append([]v1.Hash{c.image}, c.children...) {
		names[h.String()[:len("sha256:")+12]] = []string{"<image>", "<amd64>", "<arm64>"}[i]
	}
	names[elsewhere().String()[:len("sha256:")+12]] = "<another image>"
	digest := func(s string) string {
		if n, ok := names[s[:len("sha256:")+12]]; ok {
			return n
		}
		return "<digest>"
	}
	return longDigest.ReplaceAllStringFunc(shortDigest.ReplaceAllStringFunc(detail, digest), digest)
}

// elsewhere is another image.
func elsewhere() v1.Hash { return verifytest.Digest("another image") }
