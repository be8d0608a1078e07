package server

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"golang.org/x/sync/semaphore"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// templates is the warning that a review of a Pod template gets.
const templates = "pratique: this template was not judged; its Pods will be"

// failure is a way in which a review ends without an answer of its handler.
type failure struct {
	handler http.HandlerFunc
	body    io.Reader
	full    bool // there is no room for another request
	reason  policy.Reason
	code    int32
}

// failures are all of them.
func failures() map[string]failure {
	answers := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, allowance) }
	whole := func() io.Reader { return bytes.NewReader(review("u-30")) }
	return map[string]failure{
		"out of time":                  {func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }, whole(), false, policy.Overtime, 500},
		"out of time, then panicking":  {func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute); panic("late") }, whole(), false, policy.Overtime, 500},
		"overload":                     {answers, whole(), true, policy.Overloaded, 429},
		"a panic":                      {func(http.ResponseWriter, *http.Request) { panic("key of the tenant") }, whole(), false, policy.InternalError, 500},
		"a panic with half an answer":  {func(w http.ResponseWriter, _ *http.Request) { answers(w, nil); panic("late") }, whole(), false, policy.InternalError, 500},
		"an aborted handler":           {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, whole(), false, policy.InternalError, 500},
		"no answer":                    {func(http.ResponseWriter, *http.Request) {}, whole(), false, policy.InternalError, 500},
		"a status without an answer":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }, whole(), false, policy.InternalError, 500},
		"a body too large":             {answers, io.MultiReader(whole(), bytes.NewReader(make([]byte, MaxBody))), false, policy.InvalidRequest, 413},
		"a body that breaks off":       {answers, io.MultiReader(bytes.NewReader(review("u-30")[:150]), broken{}), false, policy.InvalidRequest, 400},
		"a body that breaks off early": {answers, io.MultiReader(bytes.NewReader(review("u-30")[:90]), broken{}), false, policy.InvalidRequest, 400},
	}
}

// answerOf has a review answered that fails in the given way, in a bubble of synctest.
func answerOf(how string, o DeadlineOptions) *httptest.ResponseRecorder {
	failure := failures()[how]
	g, _ := Deadline(failure.handler, o).(*guard)
	if failure.full {
		g.load = semaphore.NewWeighted(minWeight - 1)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/workloads?timeout=5s", failure.body)
	r.ContentLength = -1
	g.ServeHTTP(w, r)
	return w
}

// theHandlerEnds waits until a handler that sleeps has ended too, as all goroutines of a bubble have to.
func theHandlerEnds() {
	time.Sleep(time.Minute)
	synctest.Wait()
}

func TestEveryFailureRefusesUnlessItIsToPass(t *testing.T) {
	t.Parallel()
	for how, failure := range failures() {
		for name, o := range map[string]DeadlineOptions{
			"by the zero value": {},
			"in words":          {OnFailure: Refuse, Warning: templates},
			"by an unknown one": {OnFailure: Pass + 1, Warning: templates},
		} {
			t.Run(how+", "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var refused, passed []policy.Reason
					o.OnRefuse = func(r policy.Reason) { refused = append(refused, r) }
					o.OnPass = func(r policy.Reason) { passed = append(passed, r) }
					got := decode(t, answerOf(how, o))
					theHandlerEnds()
					isRefusal(t, got, "u-30", failure.code, failure.reason)
					if len(got.Response.Warnings) > 0 {
						t.Errorf("a refusal has the warnings %q", got.Response.Warnings)
					}
					if len(refused) != 1 || refused[0] != failure.reason || len(passed) > 0 {
						t.Errorf("counted the refusals %v and the passes %v, want one for %s", refused, passed, failure.reason)
					}
				})
			})
		}
	}
}

func TestEveryFailurePassesWhereItIsTo(t *testing.T) {
	t.Parallel()
	for how, failure := range failures() {
		for name, c := range map[string]struct {
			warning string
			want    []string
		}{
			"with a warning": {templates, []string{fmt.Sprintf("%s (%s)", templates, failure.reason)}},
			"in silence":     {"", nil},
		} {
			t.Run(how+", "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var refused, passed []policy.Reason
					began := time.Now()
					got := decode(t, answerOf(how, DeadlineOptions{
						OnFailure: Pass, Warning: c.warning,
						OnRefuse: func(r policy.Reason) { refused = append(refused, r) },
						OnPass:   func(r policy.Reason) { passed = append(passed, r) },
					})).Response
					took := time.Since(began)
					theHandlerEnds()
					if took > 4750*time.Millisecond {
						t.Errorf("the answer took %s of the 5s that the API server waits", took)
					}
					if !got.Allowed || got.UID != "u-30" || got.Patch != nil || got.PatchType != nil || got.Result != nil {
						t.Errorf("answer = %+v, want an allowance of u-30 without a patch", got)
					}
					if !slices.Equal(got.Warnings, c.want) {
						t.Errorf("warnings = %q, want %q", got.Warnings, c.want)
					}
					if got.AuditAnnotations["decision"] != "unjudged" || got.AuditAnnotations["reasons"] != string(failure.reason) {
						t.Errorf("audit annotations = %v", got.AuditAnnotations)
					}
					if len(passed) != 1 || passed[0] != failure.reason || len(refused) > 0 {
						t.Errorf("counted the passes %v and the refusals %v, want one for %s", passed, refused, failure.reason)
					}
				})
			})
		}
	}
}

// What names no review allows none: it is a failure, of which the API server does what failurePolicy says.
func TestAReviewWithoutAUIDIsAFailedCallWhereFailuresPass(t *testing.T) {
	t.Parallel()
	silent := func(http.ResponseWriter, *http.Request) {}
	for name, c := range map[string]struct {
		body io.Reader
		load int64
		code int
	}{
		"a body that breaks off before it": {io.MultiReader(strings.NewReader(`{"kind":"AdmissionReview","request":{"ui`), broken{}), maxLoad, 400},
		"a body too large":                 {bytes.NewReader(make([]byte, MaxBody+1)), maxLoad, 413},
		"no review, under load":            {strings.NewReader("hello"), 0, 429},
		"no review, and no answer":         {strings.NewReader("{}"), maxLoad, 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			passed := 0
			g, _ := Deadline(http.HandlerFunc(silent), DeadlineOptions{
				OnFailure: Pass, Warning: templates, OnPass: func(policy.Reason) { passed++ },
			}).(*guard)
			g.load = semaphore.NewWeighted(c.load)
			w := httptest.NewRecorder()
			g.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/workloads?timeout=5s", c.body))
			if w.Code != c.code || strings.Contains(w.Body.String(), "allowed") {
				t.Errorf("answer = %d %s, want the failure %d", w.Code, w.Body, c.code)
			}
			if passed != 1 {
				t.Errorf("counted %d, want 1", passed)
			}
		})
	}
}

func TestRow96_APanicThatPassesIsCountedAndLogged(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]string{
		"in time":                  "a panic",
		"after half an answer":     "a panic with half an answer",
		"when nobody waits for it": "out of time, then panicking",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var panics atomic.Int32
				said := make(chan string, 10)
				w := answerOf(how, DeadlineOptions{
					OnFailure: Pass, OnPanic: func(any) { panics.Add(1) },
					Log: funcr.New(func(_, args string) { said <- args }, funcr.Options{}),
				})
				theHandlerEnds()
				if panics.Load() != 1 {
					t.Errorf("counted %d panics, want one", panics.Load())
				}
				close(said)
				var panicked, passed int
				for line := range said {
					if strings.Contains(line, "the handler panicked") && strings.Contains(line, "pass_test.go") {
						panicked++
					}
					if strings.Contains(line, "passed without a judgement") {
						passed++
					}
				}
				if panicked != 1 || passed != 1 {
					t.Errorf("the panic with its stack was logged %d times, the pass %d times, want once each", panicked, passed)
				}
				if strings.Contains(w.Body.String(), "tenant") {
					t.Errorf("the panic's value was told: %s", w.Body)
				}
			})
		})
	}
}

func TestAHandlersOwnAnswerIsNotTouchedWhereFailuresPass(t *testing.T) {
	t.Parallel()
	const refusal = `{"response":{"uid":"u-31","allowed":false}}`
	h := Deadline(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, refusal) }),
		DeadlineOptions{OnFailure: Pass, Warning: templates, Log: logr.Discard()})
	if got := serve(h, "/workloads", review("u-31")).Body.String(); got != refusal {
		t.Errorf("answer = %s, want the handler's %s", got, refusal)
	}
}

func TestAWarningIsOneLineOfAtMost120Characters(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"a text":                 {"not judged", "not judged (InvalidRequest)"},
		"the longest that fits":  {strings.Repeat("a", 103), strings.Repeat("a", 103) + " (InvalidRequest)"},
		"one longer":             {strings.Repeat("a", 104), strings.Repeat("a", 103) + " (InvalidRequest)"},
		"several lines":          {"one\ntwo\r\n", "one?two?? (InvalidRequest)"},
		"what is not ASCII":      {"caf\u00e9 \U0001f6a2\x7f\xff", "caf? ??? (InvalidRequest)"},
		"none":                   {"", ""},
		"the one for a template": {templates, templates + " (InvalidRequest)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := warningOf(c.text, policy.InvalidRequest)
			if got != c.want || len(got) > MaxWarning {
				t.Errorf("warningOf(%q) = %q of %d characters, want %q", c.text, got, len(got), c.want)
			}
		})
	}
	for _, reason := range policy.Reasons() {
		if got := warningOf(strings.Repeat("a", 1000), reason); len(got) != MaxWarning || !strings.HasSuffix(got, " ("+string(reason)+")") {
			t.Errorf("%q has %d characters", got, len(got))
		}
	}
}

func TestWhatMayPassHasHalfTheRoom(t *testing.T) {
	t.Parallel()
	g, _ := Deadline(http.NotFoundHandler(), DeadlineOptions{OnFailure: Pass}).(*guard)
	for name, c := range map[string]struct {
		of   *semaphore.Weighted
		room int64
	}{
		"all":            {g.load, 32 << 20},
		"the large ones": {g.large, 24 << 20},
	} {
		if !c.of.TryAcquire(c.room) || c.of.TryAcquire(1) {
			t.Errorf("%s have other room than %d bytes", name, c.room)
		}
	}
	if n := maxLoad / passingShare / minWeight; n < 1000 {
		t.Errorf("%d requests may be in flight; the Pods of one rollout are 1000", n)
	}
	if (maxLoad-smallReserve)/passingShare < 2*MaxBody {
		t.Error("two of the largest bodies don't fit")
	}
}
