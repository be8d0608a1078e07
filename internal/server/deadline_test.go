package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"
	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pratique-dev/pratique/pkg/policy"
)

func TestATimeoutIsSharedOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		timeout       string
		judge, answer time.Duration
	}{
		"ten seconds keep a second back":                 {"10s", 9 * time.Second, 9500 * time.Millisecond},
		"five seconds, as /pin has, keep half of one":    {"5s", 4500 * time.Millisecond, 4750 * time.Millisecond},
		"thirty seconds keep three back":                 {"30s", 27 * time.Second, 28500 * time.Millisecond},
		"one second keeps half of it back":               {"1s", 500 * time.Millisecond, 750 * time.Millisecond},
		"an absent one is the API server's default":      {"", 9 * time.Second, 9500 * time.Millisecond},
		"a malformed one is the API server's default":    {"ten", 9 * time.Second, 9500 * time.Millisecond},
		"one without a unit is malformed":                {"10", 9 * time.Second, 9500 * time.Millisecond},
		"one too long is the longest there is":           {"10h", 27 * time.Second, 28500 * time.Millisecond},
		"one too short is the shortest there is":         {"1ms", 500 * time.Millisecond, 750 * time.Millisecond},
		"a negative one is the shortest there is":        {"-5s", 500 * time.Millisecond, 750 * time.Millisecond},
		"one that overflows is the API server's default": {"9999999999h", 9 * time.Second, 9500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, want := budgetFor(c.timeout), (budget{c.judge, c.answer}); got != want {
				t.Errorf("budgetFor(%q) = %v, want %v", c.timeout, got, want)
			}
		})
	}
}

func TestTheHandlerGetsTheDeadlineAndTheWholeBody(t *testing.T) {
	t.Parallel()
	sent := review("u-1")
	var left time.Duration
	var got []byte
	h := Deadline(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deadline, ok := r.Context().Deadline()
		if !ok {
			t.Error("the handler has no deadline")
		}
		left = time.Until(deadline)
		got, _ = io.ReadAll(r.Body)
		if r.ContentLength != int64(len(sent)) {
			t.Errorf("ContentLength = %d, want %d", r.ContentLength, len(sent))
		}
		w.Header().Set("X-Test", "kept")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "its own words")
	}), DeadlineOptions{})

	w := serve(h, "/validate?timeout=4s", sent)
	if want := 3500 * time.Millisecond; left > want || left < want-time.Second {
		t.Errorf("the handler had %s, want %s", left, want)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("the handler read %q, want %q", got, sent)
	}
	if w.Code != http.StatusAccepted || w.Header().Get("X-Test") != "kept" || w.Body.String() != "its own words" {
		t.Errorf("answer = %d %v %q, want the handler's own", w.Code, w.Header(), w.Body)
	}
}

// TestR2OwnDeadlineFiresFirst is R2 of security.md: against a registry that never answers, the answer is ours, and it
// comes before the API server stops waiting.
func TestR2OwnDeadlineFiresFirst(t *testing.T) {
	t.Parallel()
	t.Run("a handler that minds its context words the refusal itself", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			h := Deadline(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				_, _ = io.WriteString(w, "the registry did not answer")
			}), DeadlineOptions{})
			began := time.Now()
			w := serve(h, "/validate?timeout=10s", review("u-2"))
			if took := time.Since(began); took != 9*time.Second {
				t.Errorf("the answer took %s, want 9s", took)
			}
			if got := w.Body.String(); got != "the registry did not answer" {
				t.Errorf("answer = %q, want the handler's own", got)
			}
		})
	})
	t.Run("a handler that does not is answered for, and its late answer dropped", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			release, ended := make(chan struct{}), make(chan struct{})
			var told []policy.Reason
			h := Deadline(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				<-release
				w.Header().Set("X-Late", "yes")
				_, _ = io.WriteString(w, `{"response":{"allowed":true}}`)
			}), DeadlineOptions{OnRefuse: func(r policy.Reason) { told = append(told, r) }})
			began := time.Now()
			w := serve(h, "/validate?timeout=10s", review("u-3"))
			if took := time.Since(began); took != 9500*time.Millisecond {
				t.Errorf("the answer took %s, want 9.5s", took)
			}
			refused(t, w, "u-3", 500, policy.Overtime)
			close(release)
			<-ended
			synctest.Wait()
			if w.Header().Get("X-Late") != "" || strings.Contains(w.Body.String(), "true") {
				t.Errorf("the late answer was written: %v %s", w.Header(), w.Body)
			}
			if len(told) != 1 || told[0] != policy.Overtime {
				t.Errorf("told of %v, want one Overtime", told)
			}
		})
	})
}

// TestRow96_APanicIsARefusal is row 96 of security.md; the process is alive if the test goes on.
func TestRow96_APanicIsARefusal(t *testing.T) {
	t.Parallel()
	webhook := &admission.Webhook{Handler: admission.HandlerFunc(func(context.Context, admission.Request) admission.Response {
		panic("key of the tenant")
	})}
	for name, h := range map[string]http.HandlerFunc{
		"a handler that panics":           func(http.ResponseWriter, *http.Request) { panic("key of the tenant") },
		"a handler that aborts":           func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a controller-runtime webhook":    webhook.WithRecoverPanic(false).ServeHTTP,
		"a nil pointer":                   func(_ http.ResponseWriter, r *http.Request) { _ = (*admissionv1.AdmissionReview)(nil).Response },
		"an admission half written":       func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, allowance); panic("late") },
		"a handler that recovers nothing": func(http.ResponseWriter, *http.Request) { _ = []int{}[len(t.Name())] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var panics, refusals atomic.Int32
			guarded := Deadline(h, DeadlineOptions{
				OnPanic:  func(any) { panics.Add(1) },
				OnRefuse: func(policy.Reason) { refusals.Add(1) },
			})
			w := serve(guarded, "/validate", review("u-4"))
			refused(t, w, "u-4", 500, policy.InternalError)
			if strings.Contains(w.Body.String(), "tenant") {
				t.Errorf("the panic's value was told: %s", w.Body)
			}
			if panics.Load() != 1 || refusals.Load() != 1 {
				t.Errorf("counted %d panics and %d refusals, want one of each", panics.Load(), refusals.Load())
			}
		})
	}
}

func TestRow96_APanicThatNobodyWaitsForIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var panics atomic.Int32
		h := Deadline(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			time.Sleep(time.Minute)
			panic("long after")
		}), DeadlineOptions{OnPanic: func(any) { panics.Add(1) }})
		refused(t, serve(h, "/validate?timeout=1s", review("u-5")), "u-5", 500, policy.Overtime)
		time.Sleep(time.Minute)
		synctest.Wait()
		if panics.Load() != 1 {
			t.Errorf("counted %d panics, want 1", panics.Load())
		}
	})
}

func TestAHandlerThatSaysNothingRefuses(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"nothing at all": func(http.ResponseWriter, *http.Request) {},
		"a status alone": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, serve(Deadline(h, DeadlineOptions{}), "/validate", review("u-6")), "u-6", 500, policy.InternalError)
		})
	}
}

func TestABodyIsBounded(t *testing.T) {
	t.Parallel()
	echo := Deadline(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "read %d", n)
	}), DeadlineOptions{})
	of := func(size int) []byte {
		head := `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-7","object":"`
		return []byte(head + strings.Repeat("x", size-len(head)-3) + `"}}`)
	}
	t.Run("a review of 7 MiB is read", func(t *testing.T) {
		t.Parallel()
		if got, want := serve(echo, "/validate", of(MaxBody)).Body.String(), fmt.Sprintf("read %d", MaxBody); got != want {
			t.Errorf("answer = %s, want %q", got, want)
		}
	})
	t.Run("one byte more is refused under its UID", func(t *testing.T) {
		t.Parallel()
		refused(t, serve(echo, "/validate", of(MaxBody+1)), "u-7", 413, policy.InvalidRequest)
	})
	t.Run("one that promises little and sends a lot is refused", func(t *testing.T) {
		t.Parallel()
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/validate", io.MultiReader(bytes.NewReader(of(1<<20)), forever{}))
		r.ContentLength = 1
		echo.ServeHTTP(w, r)
		refused(t, w, "u-7", 413, policy.InvalidRequest)
	})
	t.Run("one that breaks off is refused", func(t *testing.T) {
		t.Parallel()
		w := httptest.NewRecorder()
		echo.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/validate",
			io.MultiReader(bytes.NewReader(review("u-8")[:120]), broken{})))
		refused(t, w, "u-8", 400, policy.InvalidRequest)
	})
	t.Run("an empty one is for the handler to refuse", func(t *testing.T) {
		t.Parallel()
		if got := serve(echo, "/validate", nil).Body.String(); got != "read 0" {
			t.Errorf("answer = %s, want that of the handler", got)
		}
	})
}

// TestR16OverloadIsRefusedAtOnce is R16 of security.md: what can't be judged in time is refused early, not timed out. The
// bound is made small here; TestTheBoundsFitTogether holds the real one to its reason.
func TestR16OverloadIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	const room = 3
	inside, release := make(chan struct{}, room), make(chan struct{})
	g := &guard{load: semaphore.NewWeighted(room * minWeight), next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		inside <- struct{}{}
		<-release
		_, _ = io.WriteString(w, allowance)
	})}
	var all sync.WaitGroup
	for range room {
		all.Go(func() {
			if got := serve(g, "/validate", review("u-9")).Body.String(); got != allowance {
				t.Errorf("answer = %s, want the handler's", got)
			}
		})
		<-inside
	}
	began := time.Now()
	w := serve(g, "/validate", review("u-10"))
	if took := time.Since(began); took > time.Second {
		t.Errorf("the refusal took %s", took)
	}
	refused(t, w, "u-10", 429, policy.Overloaded)
	if after := decode(t, w).Response.Result.Details.RetryAfterSeconds; after != retryAfter {
		t.Errorf("retryAfterSeconds = %d, want %d", after, retryAfter)
	}
	close(release)
	all.Wait()
	if got := serve(g, "/validate", review("u-11")).Body.String(); got != allowance {
		t.Errorf("with room again, answer = %s, want the handler's", got)
	}
}

func TestALargeBodyCountsForMore(t *testing.T) {
	t.Parallel()
	g := &guard{load: semaphore.NewWeighted(2 * minWeight), next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, allowance)
	})}
	large := append(review("u-12"), bytes.Repeat([]byte(" "), 2*minWeight)...)
	w := serve(g, "/validate", large)
	refused(t, w, "u-12", 429, policy.Overloaded)
	if after := decode(t, w).Response.Result.Details.RetryAfterSeconds; after != retryAfter {
		t.Errorf("retryAfterSeconds = %d, want %d", after, retryAfter)
	}
	if got := serve(g, "/validate", review("u-13")).Body.String(); got != allowance {
		t.Errorf("what a refused request held was not given back: %s", got)
	}
}

// Sixteen reviews of 2.2 MiB once filled a replica: each was charged for 4 MiB, and there was nothing that they couldn't have.
func TestLargeReviewsLeaveRoomForSmallOnes(t *testing.T) {
	t.Parallel()
	inside, release := make(chan struct{}, maxLoad/minWeight), make(chan struct{})
	g, _ := Deadline(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		inside <- struct{}{}
		<-release
		_, _ = io.WriteString(w, allowance)
	}), DeadlineOptions{}).(*guard)
	padded := func(uid string, size int) []byte {
		head := review(uid)
		return append(head, bytes.Repeat([]byte(" "), size-len(head))...)
	}
	const size = 2200 << 10
	var all sync.WaitGroup
	defer all.Wait()
	defer close(release)
	admitted := func(uid string, size int) {
		answered := make(chan struct{})
		all.Go(func() {
			defer close(answered)
			if got := serve(g, "/validate?timeout=30s", padded(uid, size)).Body.String(); got != allowance {
				t.Errorf("answer = %.300s, want the handler's", got)
			}
		})
		select {
		case <-inside:
		case <-answered: // and said why
		}
	}
	fit := int64((maxLoad - smallReserve) / size)
	if fit < 20 {
		t.Fatalf("%d reviews of 2.2 MiB fit", fit)
	}
	for range fit {
		admitted("u-20", size)
	}
	refused(t, serve(g, "/validate", padded("u-21", size)), "u-21", 429, policy.Overloaded)
	refused(t, serve(g, "/validate", padded("u-22", 2<<20)), "u-22", 429, policy.Overloaded)
	for range smallReserve / smallReview {
		admitted("u-23", smallReview)
	}
	if g.large.TryAcquire(maxLoad - smallReserve - fit*size + 1) {
		t.Error("the large reviews are charged for less than they are")
	}
	if !g.large.TryAcquire(maxLoad - smallReserve - fit*size) {
		t.Error("the large reviews are charged for more than they are, or a refused one still is")
	}
}

func TestAReviewOfUnknownLengthIsCharged(t *testing.T) {
	t.Parallel()
	g, _ := Deadline(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "read %d", n)
	}), DeadlineOptions{}).(*guard)
	r := httptest.NewRequest(http.MethodPost, "/validate", io.MultiReader(bytes.NewReader(make([]byte, 3<<20))))
	r.ContentLength = -1
	held := &share{load: g.load, large: g.large}
	body, err := readBody(httptest.NewRecorder(), r, held, time.Now().Add(time.Minute))
	if err != nil || len(body) != 3<<20 || held.held != 4<<20 || held.heldWithLarge != 4<<20 {
		t.Errorf("read %d bytes, %v, charged for %d and %d", len(body), err, held.held, held.heldWithLarge)
	}
	held.release()
	if !g.load.TryAcquire(maxLoad) || !g.large.TryAcquire(maxLoad-smallReserve) {
		t.Error("not all was given back")
	}
}

func TestAHandlerThatGoesOnCountsUntilItEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g := &guard{load: semaphore.NewWeighted(minWeight), next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			<-release
			_, _ = io.WriteString(w, allowance)
		})}
		refused(t, serve(g, "/validate?timeout=1s", review("u-14")), "u-14", 500, policy.Overtime)
		if g.load.TryAcquire(1) {
			t.Error("the handler that goes on is not counted")
		}
		close(release)
		synctest.Wait()
		if !g.load.TryAcquire(minWeight) {
			t.Error("the handler that ended is still counted")
		}
	})
}

func TestTheBoundsFitTogether(t *testing.T) {
	t.Parallel()
	if n := maxLoad / minWeight; n < 1000 {
		t.Errorf("%d requests may be in flight; the Pods of one rollout are 1000", n)
	}
	if maxLoad-smallReserve < 2*MaxBody {
		t.Error("two of the largest bodies don't fit")
	}
	if smallReserve < 100*smallReview || smallReview < minWeight {
		t.Error("the reserve has no room for a hundred small reviews")
	}
}

func TestUIDIsFoundInWhatThereIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ review, uid string }{
		"a whole review":                   {`{"kind":"AdmissionReview","request":{"uid":"a-1","object":{}}}`, "a-1"},
		"a review that breaks off":         {`{"kind":"AdmissionReview","request":{"uid":"a-2","object":{"spec":`, "a-2"},
		"a uid behind other fields":        {`{"request":{"kind":{"uid":"no"},"list":[{"uid":"no"}],"uid":"a-3"}}`, "a-3"},
		"a uid that isn't the request's":   {`{"uid":"no","response":{"uid":"no"},"request":{"object":{"metadata":{"uid":"no"}}}}`, ""},
		"a uid beyond the break":           {`{"request":{"object":{"spec":{"containers":[`, ""},
		"a uid that is no string":          {`{"request":{"uid":7}}`, ""},
		"a uid that nobody would give":     {`{"request":{"uid":"` + strings.Repeat("a", maxUID+1) + `"}}`, ""},
		"a request that is no object":      {`{"request":["uid","no"]}`, ""},
		"no object":                        {`["request",{"uid":"no"}]`, ""},
		"no JSON":                          {`request: {uid: no}`, ""},
		"nothing":                          {``, ""},
		"brackets that only open":          {strings.Repeat("[", 1<<16), ""},
		"a review that breaks in the name": {`{"request":{"ui`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := uidIn([]byte(c.review)); string(got) != c.uid {
				t.Errorf("uidIn = %q, want %q", got, c.uid)
			}
		})
	}
}

// allowance is what a handler writes that allows.
const allowance = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"","allowed":true}}`

// review is an AdmissionReview as the API server writes them.
func review(uid string) []byte {
	return fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":%q,`+
		`"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},`+
		`"namespace":"payments","operation":"CREATE","userInfo":{},"object":{"apiVersion":"v1","kind":"Pod","spec":{}}}}`, uid)
}

func serve(h http.Handler, target string, body []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, target, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(w, r)
	return w
}

func decode(t *testing.T, w *httptest.ResponseRecorder) admissionv1.AdmissionReview {
	t.Helper()
	return decodeReview(t, w.Code, w.Body.Bytes())
}

func decodeReview(t *testing.T, status int, body []byte) admissionv1.AdmissionReview {
	t.Helper()
	var got admissionv1.AdmissionReview
	if status != http.StatusOK {
		t.Fatalf("HTTP status = %d, want 200, or the API server takes the answer for a failure", status)
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("answer %q: %v", body, err)
	}
	if got.Kind != "AdmissionReview" || got.APIVersion != "admission.k8s.io/v1" || got.Response == nil {
		t.Fatalf("answer is no AdmissionReview with a response: %s", body)
	}
	return got
}

// refused fails the test unless the answer is a refusal of ours.
func refused(t *testing.T, w *httptest.ResponseRecorder, uid string, code int32, reason policy.Reason) {
	t.Helper()
	isRefusal(t, decode(t, w), uid, code, reason)
}

func isRefusal(t *testing.T, got admissionv1.AdmissionReview, uid string, code int32, reason policy.Reason) {
	t.Helper()
	r := got.Response
	if r.Allowed || string(r.UID) != uid || r.Result.Code != code || !strings.HasPrefix(r.Result.Message, string(reason)+": ") {
		t.Errorf("answer = allowed %t, uid %q, code %d, %q; want a refusal of %q with code %d for %s",
			r.Allowed, r.UID, r.Result.Code, r.Result.Message, uid, code, reason)
	}
	if r.AuditAnnotations["reasons"] != string(reason) {
		t.Errorf("audit annotations = %v, want the reason %s", r.AuditAnnotations, reason)
	}
}

// forever is a body without an end.
type forever struct{}

func (forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// broken is a connection that was reset.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
