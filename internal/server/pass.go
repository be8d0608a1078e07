package server

import (
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// MaxWarning is the longest warning that is sent, in characters: as Kubernetes asks of webhooks. It may cut longer ones.
const MaxWarning = 120

// decisionUnjudged is what the audit log says of a review that passed without a judgement.
const decisionUnjudged = "unjudged"

// pass lets the review through that body has, or has the beginning of: allowed under its UID, without a patch.
//
// Where the UID can't be read there is nothing to allow: an answer without it is for no review, and the API server takes
// it for a failure, whatever else it says. So it is called one, by its HTTP status, and what becomes of the request is for
// the failurePolicy to say, which is Ignore for whatever may pass. The API server writes the UID into the first hundred
// bytes; this is a caller that isn't one, or a connection that broke.
func (g *guard) pass(w http.ResponseWriter, body []byte, why refusal) {
	uid := uidIn(body)
	g.options.Log.Info("passed without a judgement", "uid", uid, "reason", why.reason, "detail", why.detail)
	if g.options.OnPass != nil {
		g.options.OnPass(why.reason)
	}
	if uid == "" {
		http.Error(w, string(why.reason)+": "+why.detail, int(why.code))
		return
	}
	response := &admissionv1.AdmissionResponse{
		UID:              uid,
		Allowed:          true,
		AuditAnnotations: map[string]string{"decision": decisionUnjudged, "reasons": string(why.reason)},
	}
	if warning := warningOf(g.options.Warning, why.reason); warning != "" {
		response.Warnings = []string{warning}
	}
	writeReview(w, response)
}

// warningOf is the text with the reason behind it, as in "not judged (Overtime)": one line of ASCII.
func warningOf(text string, reason policy.Reason) string {
	if text == "" {
		return ""
	}
	end := " (" + string(reason) + ")"
	line := make([]byte, 0, MaxWarning)
	for _, r := range text {
		if len(line)+len(end) == MaxWarning {
			break
		}
		if r < ' ' || r > '~' {
			r = '?'
		}
		line = append(line, byte(r))
	}
	return string(append(line, end...))
}
