package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
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
	var resp admission.Response
	var rec Record
	h.decide(ctx, req, func(d Decision, blank []Image) {
		resp = respond(d)
		rec = record(req, WebhookTemplates, d, start, clock().Sub(start))
		if !d.Allowed() && !d.violated() {
			resp = unjudged(d)
			rec.Decision = wordUnjudged
		}
		if len(blank) > 0 {
			resp.Warnings = within(append(blanks(blank), resp.Warnings...))
		}
	})
	h.Recorder.Record(rec)
	return resp
}

// decide judges the images of a template, but for those that are blank. A Refusal is of what could not be judged.
func (h *Templates) decide(ctx context.Context, req admission.Request, use func(d Decision, blank []Image)) {
	say := func(d Decision) {
		d.Namespace = req.Namespace
		use(d, nil)
	}
	refuse := func(detail string) { say(Refuse(policy.InvalidRequest, detail)) }
	spec, err := templateOf(req.Kind.Group, req.Kind.Kind, req.Object.Raw)
	if err != nil {
		refuse(err.Error())
		return
	}
	if spec == nil {
		say(Decision{Unchanged: true}) // no template: it makes no Pods
		return
	}
	q := Query{Namespace: req.Namespace, Images: Images(spec), PullSecrets: PullSecrets(spec), Ahead: true}
	if req.Operation == admissionv1.Update {
		old, err := templateOf(req.Kind.Group, req.Kind.Kind, req.OldObject.Raw)
		if err == nil && old != nil {
			q.Images = Changed(Images(old), q.Images)
		}
		if len(q.Images) == 0 {
			say(Decision{Unchanged: true})
			return
		}
	}
	var blank []Image
	if len(q.Images) <= MaxImages { // else none of them is judged
		blank, q.Images = withoutBlank(q.Images)
	}
	if len(blank) > 0 && len(q.Images) == 0 {
		say(Refuse(policy.NoImages, "its images are blank still"))
		return
	}
	if len(q.PullSecrets) == 0 {
		if q.PullSecrets, err = h.ServiceAccounts.PullSecrets(ctx, req.Namespace, serviceAccount(spec)); err != nil {
			refuse(err.Error())
			return
		}
	}
	h.Evaluator.decideFor(ctx, q, func(d Decision) { use(d, blank) })
}

// withoutBlank parts the images that a template leaves blank from the others. Kubernetes lets templates do so: something fills
// them in, such as the image triggers of OpenShift, or else no Pod comes of it.
func withoutBlank(images []Image) (blank, rest []Image) {
	for _, i := range images {
		if strings.TrimSpace(i.Reference) == "" {
			blank = append(blank, i)
		} else {
			rest = append(rest, i)
		}
	}
	return blank, rest
}

// blanks warns of images that are blank.
func blanks(images []Image) []string {
	var lines warnings
	for _, i := range images {
		lines.add(func() string { return i.brief(48) + ": not judged yet: its image is blank" })
	}
	return lines.all()
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
		return nil, fmt.Errorf("this webhook knows no Pod template of a %s: mend the rules of its ValidatingWebhookConfiguration", clip(kind, maxName))
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
		lines = append(lines, bound(fmt.Sprintf("not judged yet: %s: %s", d.Refusal.Reason, clip(d.Refusal.Detail, maxWarning)), maxWarning))
	}
	for _, j := range d.refused() {
		why := string(policy.InternalError)
		for _, v := range j.Verdicts {
			if f := v.Failing(); v.Mode == policy.Enforce && len(f) > 0 {
				why = fmt.Sprintf("%s by %s: %s", f[0].Reason, label(v), clip(f[0].Detail, maxWarning))
				break
			}
		}
		where := ""
		if len(j.Images) > 0 {
			where = j.Images[0].brief(48) + ": "
		}
		lines = append(lines, bound(fmt.Sprintf("%snot judged yet: %s", where, why), maxWarning))
	}
	resp.Warnings = within(append(lines, d.Warnings()...))
	return resp
}
