package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// answer is a handler's answer, held back until it is whole.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
	ended  bool // the handler returned; one that panicked did not
}

func newAnswer() *answer { return &answer{header: http.Header{}} }

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter; the first call counts.
func (a *answer) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// complete tells whether the handler ended, and said something. Not to answer is not to allow.
func (a *answer) complete() bool { return a.ended && a.body.Len() > 0 }

func (a *answer) copyTo(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.code)
	_, _ = w.Write(a.body.Bytes()) // an error means that nobody waits for the answer any more
}

// refusal is an answer of ours, where the handler gave none. Where failures pass, it says what went wrong all the same.
type refusal struct {
	reason policy.Reason
	code   int32               // the HTTP status of what the API server answers
	status metav1.StatusReason // Kubernetes' word for it, which controllers act upon
	detail string
}

// refusalOf words an error. A review out of time is a ServerTimeout, in Kubernetes' words "try again"; the Timeout of a
// 504 would say "it may have happened".
func refusalOf(err error, b budget) refusal {
	switch {
	case errors.Is(err, errOvertime):
		return refusal{policy.Overtime, http.StatusInternalServerError, metav1.StatusReasonServerTimeout,
			fmt.Sprintf("not judged within %s, which speaks neither for nor against the images; try again", b.answer.Round(10*time.Millisecond))}
	case errors.Is(err, errOverloaded):
		return refusal{policy.Overloaded, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests,
			"the webhook has too many requests in flight; try again"}
	case errors.Is(err, errTooLarge):
		return refusal{policy.InvalidRequest, http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge,
			fmt.Sprintf("the AdmissionReview is larger than %d MiB", MaxBody>>20)}
	case errors.Is(err, errUnreadable):
		return refusal{policy.InvalidRequest, http.StatusBadRequest, metav1.StatusReasonBadRequest,
			"the AdmissionReview could not be read"}
	default:
		return refusal{policy.InternalError, http.StatusInternalServerError, metav1.StatusReasonInternalError,
			"the webhook failed while it judged this request; its log says how"}
	}
}

// retryAfter is when to come back after a refusal for load, in seconds. The API server makes it a Retry-After header,
// upon which client-go, and so kubectl and every controller, tries again by itself.
const retryAfter = 1

// fail answers a review that was not judged, of which body is all or the beginning.
func (g *guard) fail(w http.ResponseWriter, body []byte, no refusal) {
	if g.options.OnFailure == Pass {
		g.pass(w, body, no)
		return
	}
	g.refuse(w, body, no)
}

// refuse writes the refusal of the review that body has, or has the beginning of.
//
// The HTTP status is always 200: to the API server another one is a webhook that failed, and what becomes of the request
// is for failurePolicy to say. This is an answer.
func (g *guard) refuse(w http.ResponseWriter, body []byte, no refusal) {
	uid := uidIn(body)
	status := &metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    no.code,
		Reason:  no.status,
		Message: string(no.reason) + ": " + no.detail,
	}
	if no.code == http.StatusTooManyRequests {
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: retryAfter}
	}
	g.options.Log.Info("refused without a judgement", "uid", uid, "reason", no.reason, "detail", no.detail)
	if g.options.OnRefuse != nil {
		g.options.OnRefuse(no.reason)
	}
	writeReview(w, &admissionv1.AdmissionResponse{
		UID:              uid,
		Allowed:          false,
		Result:           status,
		AuditAnnotations: map[string]string{"decision": "refused", "reasons": string(no.reason)},
	})
}

// writeReview sends an answer of ours.
func writeReview(w http.ResponseWriter, response *admissionv1.AdmissionResponse) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(admissionv1.AdmissionReview{ // an error means what it does in copyTo
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Response: response,
	})
}
