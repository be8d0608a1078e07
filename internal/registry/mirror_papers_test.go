package registry

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// keptWhole is the list for a pair whose mirror is kept whole.
func keptWhole(t *testing.T) *Registries {
	t.Helper()
	return registries(t, "{prefix: "+originHost+"/team, mirror: "+mirrorHost+"/cache, papers: Mirror}")
}

// An origin that nobody can reach, as behind a wall, is never asked for papers of what has a whole mirror.
func TestPapersOfAMirrorThatIsKeptWholeAreSoughtThereAlone(t *testing.T) {
	t.Parallel()
	p := pairOf(t, Options{Registries: keptWhole(t)}, true, true)
	one := papers.NewKey(t, papers.P256)
	p.sign(t, p.mirror, one)
	p.sign(t, p.origin, papers.NewKey(t, papers.P256))
	p.origin.Reset()
	r := p.open(t, Credentials{})
	l := mustSeek(t, r, p.image, boms())
	if len(l.Papers) != 1 || len(l.Unanswered) != 0 {
		t.Fatalf("got %+v", l)
	}
	if _, err := r.Fetch(within(t, admission), p.image, l.Papers[0], verify.MaxPaper); err != nil {
		t.Error(err)
	}
	if err := r.Present(within(t, admission), p.image); err != nil {
		t.Error(err)
	}
	if n := p.mirror.Count(evilregistry.ManifestByTag | evilregistry.Referrers); n != 5 {
		t.Errorf("the mirror was asked in %d places", n)
	}
	// A mirror without papers has said so.
	none := pairOf(t, Options{Registries: keptWhole(t)}, true, true)
	none.sign(t, none.origin, one)
	none.origin.Reset()
	if l := mustSeek(t, none.open(t, Credentials{}), none.image, nil); len(l.Papers) != 0 || len(l.Unanswered) != 0 {
		t.Errorf("got %+v", l)
	}
	// Nor is a paper that the mirror lost read from the origin.
	_, err := none.open(t, Credentials{}).Fetch(within(t, admission), none.image, l.Papers[0], verify.MaxPaper)
	wantKind(t, err, verify.NotFound)
	for what, reg := range map[string]*evilregistry.Registry{"papers at the mirror": p.origin, "no papers": none.origin} {
		if n := reg.Count(0); n != 0 {
			t.Errorf("%s: the origin was asked %d times", what, n)
		}
	}
	// Whom it reads as isn't whom it would read as with papers at both: what those were shown may be more.
	other := mustOpen(t, pairOf(t, Options{}, true, true).client, Credentials{}, originHost+"/team/app")
	if r.Access() == other.Access() {
		t.Error("it passes for a reader of both")
	}
}

// That it fails is an outage, place by place, and not one of a mirror that only stands in.
func TestAMirrorThatIsKeptWholeAndFailsHasNotAnswered(t *testing.T) {
	t.Parallel()
	for name, match := range map[string]evilregistry.Match{"everywhere": {}, "but for the image": {Kind: evilregistry.ManifestByTag | evilregistry.Referrers}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pairOf(t, Options{Registries: keptWhole(t)}, true, true)
			p.sign(t, p.origin, papers.NewKey(t, papers.P256))
			p.mirror.On(match, evilregistry.Status(503, nil, ""))
			l := mustSeek(t, p.open(t, Credentials{}), p.image, nil)
			if len(l.Papers) != 0 || len(l.Unanswered) != 4 {
				t.Fatalf("got %+v", l)
			}
			for _, e := range l.Unanswered {
				if e.Answer() || e.Place == verify.PlaceManifest || e.Host != mirrorHost {
					t.Errorf("unanswered: %v", e)
				}
			}
		})
	}
}

// Where the origin hangs, what the mirror has is told in time, and that the origin didn't answer as well.
func TestAnOriginThatHangsIsUnansweredBesideWhatTheMirrorHas(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]evilregistry.Fault{
		"it hangs": evilregistry.Hang(), "it fails": evilregistry.Status(500, nil, ""), "it breaks off": evilregistry.CloseConnection(),
		"it wants a login": evilregistry.Status(401, nil, ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pairOf(t, Options{Timeouts: Timeouts{Mirror: 300 * time.Millisecond}}, true, true)
			p.sign(t, p.mirror, papers.NewKey(t, papers.P256))
			p.sign(t, p.origin, papers.NewKey(t, papers.P256))
			p.origin.On(evilregistry.Match{}, fault)
			ctx := within(t, admission)
			l, err := p.open(t, Credentials{}).List(ctx, p.image, boms())
			if err != nil || ctx.Err() != nil || len(l.Papers) != 1 || len(l.Unanswered) != 1 {
				t.Fatalf("%+v, %v", l, err)
			}
			if e := l.Unanswered[0]; e.Host != originHost || e.Place != verify.PlaceManifest {
				t.Errorf("unanswered: %v", e)
			}
			if p.client.isSlow(mirrorHost) {
				t.Error("the mirror is taken for slow")
			}
		})
	}
}

// Both are asked at once, so that the depth is what it is without a mirror; and each in all places.
func TestRequestsOfAListingBehindAMirror(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		list           *Registries
		mirror, origin int
	}{"papers at both": {nil, 5, 5}, "a mirror that is kept whole": {keptWhole(t), 5, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pairOf(t, Options{Registries: tc.list}, true, true)
			p.sign(t, p.mirror, papers.NewKey(t, papers.P256))
			r := p.open(t, Credentials{})
			mustSeek(t, r, p.image, []string{verify.CosignSign}) // logs in
			p.client.contents = newContents()
			p.mirror.Reset()
			p.origin.Reset()
			mustSeek(t, r, p.image, []string{verify.CosignSign})
			if m, o := p.mirror.Count(0), p.origin.Count(0); m != tc.mirror || o != tc.origin {
				t.Errorf("%v at the mirror and %v at the origin", p.mirror.Counts(), p.origin.Counts())
			}
		})
	}
}

func TestWherePapersAreSoughtIsSaidStrictly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{prefix: a.example, mirror: b.example, papers: Both}":               "",
		"{prefix: a.example, mirror: b.example, papers: Mirror}":             "",
		"{prefix: a.example, mirror: b.example, papers: mirror}":             `registries[0] (a.example): papers: "mirror": want Both, or Mirror for a mirror that is kept whole`,
		"{prefix: a.example, mirror: b.example, papers: Origin}":             `papers: "Origin": want Both, or Mirror`,
		"{prefix: a.example, mirror: b.example, papers: ''}":                 "papers: want text that isn't empty",
		"{prefix: a.example, mirror: b.example, papers: [Mirror]}":           "papers: want text that isn't empty",
		"{prefix: a.example, papers: Mirror}":                                "papers: it says where the papers are of what has a mirror, and there is no mirror",
		"{prefix: a.example, papers: Both}":                                  "papers: it says where",
		"{prefix: a.example, mirror: b.example, papers: Both, Papers: Both}": `"Papers": no such field`,
	} {
		_, err := ParseRegistries([]byte("registries: [" + text + "]"))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// A large paper comes for longer than a mirror may keep us waiting: it is read once, and the mirror isn't slow for that.
func TestALargePaperIsReadFromTheMirrorAlone(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	p := pairOf(t, Options{Timeouts: Timeouts{Mirror: 150 * time.Millisecond}}, true, true)
	paper := patterned(t, size)
	slowly := func(w http.ResponseWriter, _ *http.Request) {
		for _, block := range sized(size) {
			_, _ = io.Copy(w, block)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}
	rule := p.mirror.On(evilregistry.Match{Kind: evilregistry.Blob}, evilregistry.Func(slowly))
	p.origin.Reset()
	c, err := p.open(t, Credentials{}).Fetch(within(t, admission), p.image, paper, verify.MaxPaper)
	if err != nil || len(c.Payload) != size {
		t.Fatalf("%d bytes, %v", len(c.Payload), err)
	}
	c.Release()
	if rule.Hits() != 1 || p.origin.Count(0) != 0 || p.client.isSlow(mirrorHost) {
		t.Errorf("read %d times; the origin was asked %d times; the mirror is slow: %v", rule.Hits(), p.origin.Count(0), p.client.isSlow(mirrorHost))
	}
	// One that begins, and then dribbles, is given up for the origin's.
	p.mirror.ClearFaults()
	p.client.pace = pace{least: 64 << 10, window: 100 * time.Millisecond}
	rule = p.mirror.On(evilregistry.Match{Kind: evilregistry.Blob}, evilregistry.Func(dribbles(2<<20)))
	p.origin.On(evilregistry.Match{Kind: evilregistry.Blob}, evilregistry.Func(writesPattern(size, true)))
	c, err = p.open(t, Credentials{}).Fetch(within(t, admission), p.image, paper, verify.MaxPaper)
	if err != nil || len(c.Payload) != size || rule.Hits() != 1 {
		t.Fatalf("%d bytes, %v, after %d", len(c.Payload), err, rule.Hits())
	}
	c.Release()
	wantAllFree(t, p.client.limits)
}
