package admission

import (
	"context"
	"errors"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	kjson "sigs.k8s.io/json"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// WebhookImages is the name of the webhook that judges Pods.
const WebhookImages = "images.pratique.dev"

// Pods answers AdmissionReviews of Pods and their ephemeral containers: it is the handler of /validate.
type Pods struct {
	Evaluator *Evaluator
	Recorder  Recorder
	// Clock tells the time; nil means time.Now.
	Clock func() time.Time
}

// Validate tells what the handler lacks.
func (h *Pods) Validate() error {
	if h.Evaluator == nil || h.Recorder == nil {
		return errors.New("the handler of Pods needs an evaluator and a recorder")
	}
	return h.Evaluator.Validate()
}

// Handle implements admission.Handler.
func (h *Pods) Handle(ctx context.Context, req admission.Request) admission.Response {
	clock := h.Clock
	if clock == nil {
		clock = time.Now
	}
	start := clock()
	var resp admission.Response
	var rec Record
	h.decide(ctx, req, func(d Decision) {
		resp, rec = respond(d), record(req, WebhookImages, d, start, clock().Sub(start))
	})
	h.Recorder.Record(rec)
	return resp
}

func (h *Pods) decide(ctx context.Context, req admission.Request, use func(Decision)) {
	q, d := query(req)
	if d != nil {
		d.Namespace = req.Namespace
		use(*d)
		return
	}
	h.Evaluator.decideFor(ctx, q, use)
}

// query reads what is asked. It returns a decision where none need be made by policy: a request that can't be read is refused,
// and an update that changes no image passes.
func query(req admission.Request) (Query, *Decision) {
	refuse := func(detail string) (Query, *Decision) {
		d := Refuse(policy.InvalidRequest, detail)
		return Query{}, &d
	}
	if req.Kind.Group != "" || req.Kind.Kind != "Pod" {
		return refuse("this webhook judges Pods and was sent a " + req.Kind.Kind + ": mend the rules of its ValidatingWebhookConfiguration")
	}
	if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return refuse("this webhook judges CREATE and UPDATE and was sent " + string(req.Operation) + ": mend the rules of its ValidatingWebhookConfiguration")
	}
	pod, err := decodePod(req.Object.Raw)
	if err != nil {
		return refuse("the Pod could not be read: " + err.Error())
	}
	q := Query{Namespace: req.Namespace, Images: Images(&pod.Spec), PullSecrets: PullSecrets(&pod.Spec)}
	if req.Operation == admissionv1.Create {
		return q, nil
	}
	old, err := decodePod(req.OldObject.Raw)
	if err != nil {
		return refuse("the Pod as it was could not be read: " + err.Error())
	}
	q.Images = Changed(Images(&old.Spec), q.Images)
	if len(q.Images) == 0 {
		return Query{}, &Decision{Unchanged: true}
	}
	return q, nil
}

// decodePod reads a Pod by the field names that Kubernetes has, case and all.
func decodePod(raw []byte) (*corev1.Pod, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, errors.New("there is none in the request")
	}
	var pod corev1.Pod
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &pod); err != nil {
		return nil, err
	}
	return &pod, nil
}

// respond words a decision for the API server.
func respond(d Decision) admission.Response {
	resp := admission.Denied("")
	if d.Allowed() {
		resp = admission.Allowed("")
	} else {
		resp.Result.Message = d.Message()
		resp.Result.Code = http.StatusForbidden
	}
	resp.AuditAnnotations = d.Annotations()
	resp.Warnings = d.Warnings()
	return resp
}

// record describes a decision for the log.
func record(req admission.Request, webhook string, d Decision, start time.Time, took time.Duration) Record {
	rec := recordOf(req, webhook, start, took)
	rec.Decision = d.Word()
	for _, r := range d.Reasons() {
		rec.Reasons = append(rec.Reasons, string(r))
	}
	if d.Refusal != nil {
		rec.Detail = clip(d.Refusal.Detail, maxDetail)
	}
	rec.Images, rec.Omitted = d.describe(rec.room())
	return rec
}

// recordOf describes a request for the log. At /pin nobody has checked what its object is called.
func recordOf(req admission.Request, webhook string, start time.Time, took time.Duration) Record {
	rec := Record{
		Time: start.UTC(), UID: bound(string(req.UID), maxName), Webhook: webhook, Operation: bound(string(req.Operation), maxName),
		Resource: bound(req.Resource.Resource, maxName), Namespace: bound(req.Namespace, maxName), Name: bound(req.Name, maxName),
		User: bound(req.UserInfo.Username, maxUser), DryRun: req.DryRun != nil && *req.DryRun, Duration: took,
	}
	if req.SubResource != "" {
		rec.Resource += "/" + bound(req.SubResource, maxName)
	}
	return rec
}
