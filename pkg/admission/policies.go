package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// WebhookPolicies is the name of the webhook that judges our own objects.
const WebhookPolicies = "policies.pratique.dev"

// Policies answers AdmissionReviews of our own objects: it is the handler of /validate-policy. One that could not be used is
// refused here, with the field and the cure, rather than later with the Pods that it matches.
type Policies struct {
	// Check reads an object strictly and returns what is wrong with it, and what its author should know.
	Check    func(raw []byte) (problems, warnings []string)
	Recorder Recorder
	// Clock tells the time; nil means time.Now.
	Clock func() time.Time
}

// Validate tells what the handler lacks.
func (h *Policies) Validate() error {
	if h.Check == nil || h.Recorder == nil {
		return errors.New("the handler of policies needs a check and a recorder")
	}
	return nil
}

// Handle implements admission.Handler.
func (h *Policies) Handle(_ context.Context, req admission.Request) admission.Response {
	clock := h.Clock
	if clock == nil {
		clock = time.Now
	}
	start := clock()
	resp, d := h.answer(req)
	rec := record(req, WebhookPolicies, d, start, clock().Sub(start))
	if resp.Allowed {
		rec.Decision, rec.Reasons = "allowed", []string{}
	}
	h.Recorder.Record(rec)
	return resp
}

func (h *Policies) answer(req admission.Request) (admission.Response, Decision) {
	if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		d := Refuse(policy.InvalidRequest, "this webhook judges CREATE and UPDATE of policies and was sent "+string(req.Operation))
		return respond(d), d
	}
	if len(req.Object.Raw) == 0 {
		d := Refuse(policy.InvalidRequest, "there is no object in the request")
		return respond(d), d
	}
	if specUnchanged(req) {
		return admission.Allowed(""), Decision{Unchanged: true}
	}
	problems, warnings := h.Check(req.Object.Raw)
	for i, w := range warnings {
		warnings[i] = clip(w, maxWarning)
	}
	if len(problems) == 0 {
		resp := admission.Allowed("")
		resp.Warnings = within(warnings)
		resp.AuditAnnotations = map[string]string{"decision": "allowed"}
		return resp, Decision{Unchanged: true}
	}
	text := listed(problems)
	d := Refuse(policy.InvalidPolicy, strings.Join(text, "; "))
	resp := admission.Denied("")
	resp.Result.Message = string(policy.InvalidPolicy) + ": this " + called(req.Kind.Kind) + " could not be used\n  " + strings.Join(text, "\n  ")
	resp.Result.Code = http.StatusForbidden
	resp.AuditAnnotations = d.Annotations()
	resp.Warnings = within(warnings)
	return resp, d
}

// called is what people are told that an object of ours is, by its kind.
func called(kind string) string {
	switch kind {
	case "TrustRoot", "ImageException":
		return kind
	}
	return "policy"
}

// listed returns the problems that fit into a refusal, each in a line.
func listed(problems []string) []string {
	const heading, between = 64, 3
	var out []string
	left := maxMessage - heading - maxLine
	for i, p := range problems {
		line := clip(p, maxLine)
		if left -= len(line) + between; left < 0 {
			return append(out, fmt.Sprintf("and %d more", len(problems)-i))
		}
		out = append(out, line)
	}
	return out
}

// specUnchanged tells that an update leaves the spec as it is: labels, finalizers and the like can be changed on an object that
// today's rules would refuse.
func specUnchanged(req admission.Request) bool {
	if req.Operation != admissionv1.Update {
		return false
	}
	var now, before struct {
		Spec any `json:"spec"`
	}
	if json.Unmarshal(req.Object.Raw, &now) != nil || json.Unmarshal(req.OldObject.Raw, &before) != nil {
		return false
	}
	return now.Spec != nil && reflect.DeepEqual(now.Spec, before.Spec)
}
