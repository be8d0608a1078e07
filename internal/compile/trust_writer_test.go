package compile

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/internal/trust/trusttest"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

func (w *world) rootStatus(t testing.TB, name string) v1alpha1.TrustRootStatus {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	u := w.current(KindTrustRoot, "", name)
	if u == nil {
		t.Fatalf("no TrustRoot %s", name)
	}
	var s v1alpha1.TrustRootStatus
	status, _, err := unstructured.NestedMap(u.Object, "status")
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(status, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// is tells a condition's status and reason.
func is(s v1alpha1.TrustRootStatus, kind string) string {
	c := meta.FindStatusCondition(s.Conditions, kind)
	if c == nil {
		return "absent"
	}
	return string(c.Status) + " " + c.Reason
}

func TestStatusWriterWritesWhatBecameOfTrustRoots(t *testing.T) {
	first, second := verifytest.NewSigstore(t).TrustedRoot(t), verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		begin := time.Now()
		r := trusttest.At(t, first, begin)
		w.asks(r.Transport())
		w.apply(trustRoot("mirror", fromMirror(r, "- public: {}\n")), 3, "1")
		w.apply(trustRoot("missing", rootInSecret), 1, "2")
		w.apply(trustRoot("broken", "sources: []"), 1, "3")
		w.start()
		s := w.writer(nil)
		w.settle()

		got := w.rootStatus(t, "mirror")
		if is(got, ConditionReady) != "True "+ReasonCompiled || is(got, ConditionFresh) != "True "+ReasonAllRead || got.ObservedGeneration != 3 || got.Digest == "" {
			t.Errorf("%s", pretty(t, got))
		}
		if diff := cmp.Diff([]string{string(first), string(trust.PublicGood())}, got.TrustedRoots); diff != "" {
			t.Error(diff)
		}
		at, until, dated := metav1.NewTime(seconds(begin)), metav1.NewTime(seconds(begin.Add(trusttest.TimestampLasts))), metav1.NewTime(trust.PublicGoodDate())
		sources := []v1alpha1.TrustRootSourceStatus{
			{Kind: "tuf", Digest: trust.Digest(first), FetchedAt: &at, Expires: &until}, {Kind: "public", Digest: trust.Digest(trust.PublicGood()), FetchedAt: &dated},
		}
		if diff := cmp.Diff(sources, got.Sources); diff != "" {
			t.Error(diff)
		}
		got = w.rootStatus(t, "missing")
		if is(got, ConditionReady) != "False "+ReasonSourceUnavailable || is(got, ConditionFresh) != "False "+ReasonNotReadAgain || got.Digest != "" || len(got.TrustedRoots) != 0 || !strings.Contains(got.Sources[0].Error, "Secret pratique-system/sigstore: not found") {
			t.Errorf("%s", pretty(t, got))
		}
		if got = w.rootStatus(t, "broken"); is(got, ConditionReady) != "False "+ReasonInvalidField || is(got, ConditionFresh) != "False "+ReasonInvalidField {
			t.Errorf("%s", pretty(t, got))
		}

		w.secret("pratique-system", "sigstore", "trusted_root.json", string(second))
		time.Sleep(retryAfter + time.Second)
		synctest.Wait()
		if got = w.rootStatus(t, "missing"); is(got, ConditionReady) != "True "+ReasonCompiled || got.Sources[0].Error != "" || got.Sources[0].FetchedAt == nil {
			t.Errorf("%s", pretty(t, got))
		}
		r.SetTarget(second)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got = w.rootStatus(t, "mirror"); got.TrustedRoots[0] != string(second) || got.Sources[0].Digest != trust.Digest(second) || got.Sources[0].FetchedAt.Time.Equal(begin) {
			t.Errorf("%s", pretty(t, got))
		}
		r.Down(true)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		got = w.rootStatus(t, "mirror")
		if is(got, ConditionReady) != "True "+ReasonCompiled || is(got, ConditionFresh) != "False "+ReasonNotReadAgain || got.Sources[0].Error == "" || got.Sources[0].Digest != trust.Digest(second) {
			t.Errorf("%s", pretty(t, got))
		}
		if c := meta.FindStatusCondition(got.Conditions, ConditionFresh); !strings.Contains(c.Message, "sources[0] (tuf) could not be read since 2000-01-01T") || !strings.Contains(c.Message, "is used until ") {
			t.Errorf("%+v", c)
		}
		if n := s.count(); n > 16 {
			t.Errorf("%d writes", n)
		}
	})
}

func TestATrustRootsStatusIsSeldomWrittenForTimesAlone(t *testing.T) {
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		r := trusttest.At(t, text, time.Now())
		w.asks(r.Transport())
		w.secret("pratique-system", "sigstore", "trusted_root.json", string(text))
		w.apply(trustRoot("mirror", strings.Replace(fromMirror(r, ""), "refreshEvery: 1h", "refreshEvery: 1m", 1)), 1, "1")
		w.apply(trustRoot("secret", rootInSecret), 1, "2")
		w.start()
		s := w.writer(nil)
		w.settle()
		n := s.count()
		time.Sleep(6 * time.Hour)
		if got := s.count(); got != n {
			t.Errorf("%d writes in six hours in which nothing changed", got-n)
		}
		for range 6 * 60 { // a mirror that is signed anew each minute
			r.Expire("timestamp", time.Now().Add(trusttest.TimestampLasts))
			time.Sleep(time.Minute)
		}
		if got := s.count() - n; got == 0 || got > 7 {
			t.Errorf("%d writes in six hours in which only expiries changed", got)
		}
	})
}

// Another replica that begins to write keeps since when a text is known.
func TestATextsFirstReadingOutlivesTheWriter(t *testing.T) {
	t.Parallel()
	before := metav1.NewTime(verifytest.Then())
	previous := v1alpha1.TrustRootStatus{Sources: []v1alpha1.TrustRootSourceStatus{{Kind: "tuf", Digest: "sha256:a", FetchedAt: &before}}}
	report := RootReport{Digest: "x", Reason: ReasonCompiled, Sources: []RootSourceReport{{Kind: "tuf", Digest: "sha256:a", FetchedAt: before.Add(time.Hour)}}}
	if got := StatusOfTrustRoot(&v1alpha1.TrustRoot{}, report, previous, before.Time); !got.Sources[0].FetchedAt.Equal(&before) {
		t.Errorf("%v", got.Sources[0].FetchedAt)
	}
	report.Sources[0].Digest = "sha256:b"
	if got := StatusOfTrustRoot(&v1alpha1.TrustRoot{}, report, previous, before.Time); got.Sources[0].FetchedAt.Equal(&before) {
		t.Error("another text, and its time is the first one's")
	}
}

// Whoever waits for a mirror that is dead sees so, and not for an hour that it was not asked yet.
func TestTheFirstFailureOfAMirrorIsWrittenAtOnce(t *testing.T) {
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	in(t, func(t *testing.T, w *world) {
		r := trusttest.At(t, text, time.Now())
		h := &hanging{inner: r.Transport(), release: make(chan struct{})}
		w.asks(h)
		w.apply(trustRoot("mirror", fromMirror(r, "")), 1, "1")
		w.start()
		s := w.writer(nil)
		time.Sleep(firstTrustTimeout)
		w.settle()
		if got := w.rootStatus(t, "mirror"); got.Sources[0].Error != trust.ErrNotFetched.Error() {
			t.Fatalf("%s", pretty(t, got))
		}
		n := s.count()
		r.Down(true)
		close(h.release)
		w.settle()
		if got := w.rootStatus(t, "mirror"); !strings.Contains(got.Sources[0].Error, "could not be read") || s.count() != n+1 {
			t.Errorf("%d writes, %s", s.count()-n, pretty(t, got))
		}
	})
}

func TestAMirrorsFailureIsLoggedOnceForEachKind(t *testing.T) {
	t.Parallel()
	var said []string
	ctx := log.IntoContext(t.Context(), funcr.New(func(_, args string) { said = append(said, args) }, funcr.Options{}))
	sources := []v1alpha1.TrustRootSource{{Public: &v1alpha1.PublicTrustRoot{}}, {TUF: &v1alpha1.TUFSource{Mirror: "https://tuf.corp.example"}}}
	down := func(why string) error {
		return &trust.MirrorError{Result: trust.ResultUnreachable, Err: errors.New(why)}
	}
	var before failing
	for i, one := range []struct {
		err  error
		want string // nothing: nothing is said
	}{
		{trust.ErrNotFetched, ""},
		{down("refused by port 50001"), `"asking a mirror failed"`},
		{down("refused by port 50002"), ""},
		{&trust.MirrorError{Result: trust.ResultRefused, Err: errors.New("unsigned")}, `"kind"="refused"`},
		{nil, `"the mirror is good again"`},
		{nil, ""},
		{down("refused by port 50003"), `"error"=`},
	} {
		said = nil
		before = logFailures(ctx, "corp", sources, []rootReading{{kind: sourcePublic}, {kind: sourceTUF, err: one.err}}, before)
		if got := strings.Join(said, "\n"); len(said) > 1 || !strings.Contains(got, one.want) || one.want == "" && got != "" {
			t.Errorf("%d: %q, want %q", i, got, one.want)
		}
	}
}
