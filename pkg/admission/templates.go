package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	kjson "sigs.k8s.io/json"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// WebhookTemplates is the name of the webhook that judges Pod templates.
const WebhookTemplates = "workloads.pratique.dev"

// wordUnjudged is what an answer is called that rests on no judgement: the Pods will be judged.
const wordUnjudged = "unjudged"

// ServiceAccounts reads ServiceAccounts.
type ServiceAccounts interface {
	// PullSecrets returns the names of the Secrets that a ServiceAccount's Pods pull with; none for one that isn't there.
	PullSecrets(ctx context.Context, namespace, serviceAccount string) ([]string, error)
}

// Templates answers AdmissionReviews of whatever makes Pods from a template: it is the handler of /workloads. It is early feedback,
// for whoever applies a Deployment sees no answer that its Pods get. So it refuses only what a policy says no to: what can't be told
// is a warning, since every Pod is judged by itself. Nothing rests on a template having been judged.
type Templates struct {
	Evaluator       *Evaluator
	ServiceAccounts ServiceAccounts
	Recorder        Recorder
	// Clock tells the time; nil means time.Now.
	Clock func() time.Time
}

// Validate tells what the handler lacks.
func (h *Templates) Validate() error {
	if h.Evaluator == nil || h.ServiceAccounts == nil || h.Recorder == nil {
		return errors.New("the handler of templates needs an evaluator, ServiceAccounts and a recorder")
	}
	return h.Evaluator.Validate()
}

// Handle implements admission.Handler.
func (h *Templates) Handle(ctx context.Context, req admission.Request) admission.Response {
	clock := h.Clock
	if clock == nil {
		clock = time.Now
	}
	start := clock()
	d := h.decide(ctx, req)
	resp := respond(d)
	rec := record(req, WebhookTemplates, d, start, clock().Sub(start))
	if !d.Allowed() && !d.violated() {
		resp = unjudged(d)
		rec.Decision = wordUnjudged
	}
	h.Recorder.Record(rec)
	return resp
}

// decide judges the images of a template. A Refusal is of what could not be judged.
func (h *Templates) decide(ctx context.Context, req admission.Request) Decision {
	refuse := func(detail string) Decision {
		d := Refuse(policy.InvalidRequest, detail)
		d.Namespace = req.Namespace
		return d
	}
	spec, err := templateOf(req.Kind.Group, req.Kind.Kind, req.Object.Raw)
	if err != nil {
		return refuse(err.Error())
	}
	if spec == nil {
		return Decision{Namespace: req.Namespace, Unchanged: true} // no template: it makes no Pods
	}
	q := Query{Namespace: req.Namespace, Images: Images(spec), PullSecrets: PullSecrets(spec), Ahead: true}
	if req.Operation == admissionv1.Update {
		old, err := templateOf(req.Kind.Group, req.Kind.Kind, req.OldObject.Raw)
		if err == nil && old != nil {
			q.Images = Changed(Images(old), q.Images)
		}
		if len(q.Images) == 0 {
			return Decision{Namespace: req.Namespace, Unchanged: true}
		}
	}
	if len(q.PullSecrets) == 0 {
		if q.PullSecrets, err = h.ServiceAccounts.PullSecrets(ctx, req.Namespace, serviceAccount(spec)); err != nil {
			return refuse(err.Error())
		}
	}
	return h.Evaluator.Decide(ctx, q)
}

// serviceAccount is whose Secrets the API server will give to a Pod that names none.
func serviceAccount(spec *corev1.PodSpec) string {
	switch {
	case spec.ServiceAccountName != "":
		return spec.ServiceAccountName
	case spec.DeprecatedServiceAccount != "":
		return spec.DeprecatedServiceAccount
	}
	return "default"
}

// templateOf returns the Pod template of an object, nil if it has none.
func templateOf(group, kind string, raw []byte) (*corev1.PodSpec, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, errors.New("there is no object in the request")
	}
	type template struct {
		Spec corev1.PodSpec `json:"spec"`
	}
	var found *template
	var err error
	switch group + "/" + kind {
	case "apps/Deployment", "apps/StatefulSet", "apps/DaemonSet", "apps/ReplicaSet", "/ReplicationController", "batch/Job",
		"apps.openshift.io/DeploymentConfig":
		var o struct {
			Spec struct {
				Template *template `json:"template"`
			} `json:"spec"`
		}
		err = kjson.UnmarshalCaseSensitivePreserveInts(raw, &o)
		found = o.Spec.Template
	case "batch/CronJob":
		var o struct {
			Spec struct {
				JobTemplate struct {
					Spec struct {
						Template *template `json:"template"`
					} `json:"spec"`
				} `json:"jobTemplate"`
			} `json:"spec"`
		}
		err = kjson.UnmarshalCaseSensitivePreserveInts(raw, &o)
		found = o.Spec.JobTemplate.Spec.Template
	default:
		return nil, fmt.Errorf("this webhook knows no Pod template of a %s: mend the rules of its ValidatingWebhookConfiguration", ascii(kind))
	}
	if err != nil {
		return nil, fmt.Errorf("the %s could not be read: %w", kind, err)
	}
	if found == nil {
		return nil, nil
	}
	return &found.Spec, nil
}

// violated tells whether an enforced policy says no, whatever else could not be told.
func (d Decision) violated() bool {
	for _, j := range d.Images {
		if j.rank() == 0 {
			return true
		}
	}
	return false
}

// unjudged admits what could not be judged, and says so: a warning for each image.
func unjudged(d Decision) admission.Response {
	resp := admission.Allowed("")
	resp.Result.Code = http.StatusOK
	resp.AuditAnnotations = d.Annotations()
	resp.AuditAnnotations["decision"] = wordUnjudged
	var lines []string
	if d.Refusal != nil {
		lines = append(lines, bound(fmt.Sprintf("not judged yet, its Pods will be: %s: %s", d.Refusal.Reason, ascii(d.Refusal.Detail)), maxWarning))
	}
	for _, j := range d.refused() {
		why := policy.InternalError
		for _, v := range j.Verdicts {
			if f := v.Failing(); v.Mode == policy.Enforce && len(f) > 0 {
				why = f[0].Reason
			}
		}
		where := ""
		if len(j.Images) > 0 {
			where = bound(ascii(j.Images[0].String()), 48) + ": "
		}
		lines = append(lines, bound(fmt.Sprintf("%snot judged yet, its Pods will be: %s", where, why), maxWarning))
	}
	resp.Warnings = within(append(lines, d.Warnings()...), maxWarnings)
	return resp
}
