package admission_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// accounts are ServiceAccounts by name.
type accounts map[string][]string

func (a accounts) PullSecrets(_ context.Context, namespace, name string) ([]string, error) {
	s, ok := a[namespace+"/"+name]
	if !ok {
		return nil, errors.New("no such account")
	}
	return s, nil
}

// templates is a handler of /workloads in namespace payments.
func templates(t testing.TB, h *hub, policies ...*policy.Policy) *admission.Templates {
	t.Helper()
	pins, rec := pinner(t, h, policies...)
	out := &admission.Templates{Evaluator: pins.Evaluator, Recorder: rec, ServiceAccounts: accounts{"payments/default": {"regcred"}, "payments/robot": {"robot-secret"}}}
	if err := out.Validate(); err != nil {
		t.Fatal(err)
	}
	return out
}

// workload is an object of a kind around a Pod's spec.
func workload(t testing.TB, group, kind string, replicas int, spec corev1.PodSpec) []byte {
	t.Helper()
	inner, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"kind":%q,"metadata":{"name":"app","namespace":"elsewhere"},"spec":{"replicas":%d,"template":{"metadata":{"namespace":"elsewhere"},"spec":%s}}}`, kind, replicas, inner)
	if kind == "CronJob" {
		text = fmt.Sprintf(`{"kind":"CronJob","spec":{"jobTemplate":{"spec":{"template":{"spec":%s}}}}}`, inner)
	}
	return []byte(text)
}

func kinds() map[string]string {
	return map[string]string{
		"Deployment": "apps", "StatefulSet": "apps", "DaemonSet": "apps", "ReplicaSet": "apps", "ReplicationController": "",
		"Job": "batch", "CronJob": "batch", "DeploymentConfig": "apps.openshift.io",
	}
}

func templateReview(t testing.TB, op admissionv1.Operation, group, kind string, now, before []byte) ctrladmission.Request {
	t.Helper()
	var old any
	if before != nil {
		old = before
	}
	req := review(t, op, now, old)
	req.Kind.Group, req.Kind.Kind = group, kind
	return req
}

func TestRow07_TheTemplateOfEveryKindIsJudged(t *testing.T) {
	t.Parallel()
	s, h := verifytest.NewSigner(t, 1), newHub()
	good, bad := verifytest.Digest("good"), verifytest.Digest("bad")
	h.Sign(s, good)
	h.tag("r.example/app:good", good)
	h.tag("r.example/app:bad", bad)
	handler := templates(t, h, pinning(t, "**", s))
	for kind, group := range kinds() {
		for tag, want := range map[string]bool{"good": true, "bad": false} {
			for list, spec := range map[string]corev1.PodSpec{"containers": pod("r.example/app:" + tag).Spec, "every list": everywhere("r.example/app:" + tag).Spec} {
				resp := handler.Handle(t.Context(), templateReview(t, admissionv1.Create, group, kind, workload(t, group, kind, 1, spec), nil))
				if resp.Allowed != want || len(resp.Patches) != 0 {
					t.Errorf("%s, %s in %s: allowed %t, patches %v, %s", kind, tag, list, resp.Allowed, resp.Patches, resp.Result.Message)
				}
				if !want && !strings.Contains(resp.Result.Message, "NoTrustedSignature") {
					t.Errorf("%s: %s", kind, resp.Result.Message)
				}
			}
		}
	}
}

func TestRow10_AnImageHiddenInAScaleDownIsJudged(t *testing.T) {
	t.Parallel()
	s, h := verifytest.NewSigner(t, 1), newHub()
	h.tag("r.example/app:bad", verifytest.Digest("bad"))
	h.tag("r.example/app:good", verifytest.Digest("good"))
	handler := templates(t, h, pinning(t, "**", s))
	for kind, group := range kinds() {
		before := workload(t, group, kind, 3, pod("r.example/app:good").Spec)
		if resp := handler.Handle(t.Context(), templateReview(t, admissionv1.Update, group, kind, workload(t, group, kind, 2, pod("r.example/app:bad").Spec), before)); resp.Allowed {
			t.Errorf("%s: a scale-down with another image is allowed", kind)
		}
		asked := h.resolves
		if resp := handler.Handle(t.Context(), templateReview(t, admissionv1.Update, group, kind, workload(t, group, kind, 2, pod("r.example/app:good").Spec), before)); !resp.Allowed || h.resolves != asked {
			t.Errorf("%s: a scale-down alone: allowed %t, and asked the registry %d times", kind, resp.Allowed, h.resolves-asked)
		}
	}
}

func TestATemplateThatCanNotBeJudgedIsAWarning(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigner(t, 1)
	outage := &verify.FetchError{Kind: verify.Unavailable, Host: "r.example", Err: errors.New("down")}
	signed := "r.example/app@" + verifytest.Digest("good").String()
	for what, tc := range map[string]struct {
		namespace string
		kind      string
		object    []byte
		want      string
	}{
		"the registry is down":     {object: workload(t, "apps", "Deployment", 1, pod(signed).Spec), want: "container c0: not judged yet: RegistryUnavailable"},
		"a kind that nobody knows": {kind: "Rollout", object: []byte(`{}`), want: "knows no Pod template of a Rollout"},
		"no object":                {object: []byte("null"), want: "no object"},
		"not JSON":                 {object: []byte("{"), want: "could not be read"},
		"no images":                {object: workload(t, "apps", "Deployment", 1, corev1.PodSpec{}), want: "NoImages"},
		"too many images":          {object: workload(t, "apps", "Deployment", 1, pod(make([]string, 300)...).Spec), want: "TooManyImages"},
		"an unknown namespace": {namespace: "nowhere", object: workload(t, "apps", "Deployment", 1, func() corev1.PodSpec {
			p := pod(signed).Spec
			p.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "x"}}
			return p
		}()), want: "NamespaceUnknown"},
		"an account can't be read": {object: workload(t, "apps", "Deployment", 1, func() corev1.PodSpec { p := pod(signed).Spec; p.ServiceAccountName = "gone"; return p }()), want: "no such account"},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHub()
			h.Fail(outage)
			handler := templates(t, h, pinning(t, "**", s))
			kind := "Deployment"
			if tc.kind != "" {
				kind = tc.kind
			}
			req := templateReview(t, admissionv1.Create, "apps", kind, tc.object, nil)
			if tc.namespace != "" {
				req.Namespace = tc.namespace
			}
			resp := handler.Handle(t.Context(), req)
			if !resp.Allowed || len(resp.Warnings) == 0 || !strings.Contains(strings.Join(resp.Warnings, "\n"), tc.want) {
				t.Errorf("allowed %t, warnings %q", resp.Allowed, resp.Warnings)
			}
			for _, w := range resp.Warnings {
				printable(t, w, 120, false)
			}
			if rec := handler.Recorder.(*recorder).records; len(rec) != 1 || rec[0].Decision != "unjudged" || resp.AuditAnnotations["decision"] != "unjudged" {
				t.Errorf("%+v, %v", rec, resp.AuditAnnotations)
			}
		})
	}
}

func TestOneViolationRefusesATemplateWhateverElseIsNotKnown(t *testing.T) {
	t.Parallel()
	s, h := verifytest.NewSigner(t, 1), newHub()
	h.tag("r.example/bad:v1", verifytest.Digest("bad"))
	handler := templates(t, h, pinning(t, "**", s))
	object := workload(t, "apps", "Deployment", 1, pod("r.example/bad:v1", "r.example/unknown:v1").Spec)
	if resp := handler.Handle(t.Context(), templateReview(t, admissionv1.Create, "apps", "Deployment", object, nil)); resp.Allowed {
		t.Error("allowed")
	}
	if resp := handler.Handle(t.Context(), templateReview(t, admissionv1.Create, "apps", "Deployment", workload(t, "apps", "Deployment", 1, pod("../x").Spec), nil)); resp.Allowed {
		t.Error("what is no reference is allowed")
	}
}

func TestATemplateIsReadWithThePullSecretsThatItsPodsWillHave(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigner(t, 1)
	spec := func(change func(*corev1.PodSpec)) corev1.PodSpec {
		p := pod("r.example/app@" + verifytest.Digest("x").String()).Spec
		change(&p)
		return p
	}
	for what, tc := range map[string]struct {
		spec corev1.PodSpec
		want string
	}{
		"none: those of the default account":          {spec(func(*corev1.PodSpec) {}), "payments/regcred"},
		"none: those of its account":                  {spec(func(p *corev1.PodSpec) { p.ServiceAccountName = "robot" }), "payments/robot-secret"},
		"none: those of its account, by the old name": {spec(func(p *corev1.PodSpec) { p.DeprecatedServiceAccount = "robot" }), "payments/robot-secret"},
		"its own": {spec(func(p *corev1.PodSpec) {
			p.ServiceAccountName, p.ImagePullSecrets = "robot", []corev1.LocalObjectReference{{Name: "own"}}
		}), "payments/own"},
	} {
		h := newHub()
		handler := templates(t, h, pinning(t, "**", s))
		handler.Handle(t.Context(), templateReview(t, admissionv1.Create, "apps", "Deployment", workload(t, "apps", "Deployment", 1, tc.spec), nil))
		if len(h.asked) == 0 || h.asked[0] != tc.want {
			t.Errorf("%s: asked for %v", what, h.asked)
		}
	}
}

func TestATemplateOfADeploymentConfigWithoutOneIsNoTemplate(t *testing.T) {
	t.Parallel()
	handler := templates(t, newHub(), pinning(t, "**", verifytest.NewSigner(t, 1)))
	resp := handler.Handle(t.Context(), templateReview(t, admissionv1.Create, "apps.openshift.io", "DeploymentConfig", []byte(`{"spec":{"template":null}}`), nil))
	if !resp.Allowed || len(resp.Warnings) != 0 {
		t.Errorf("%+v", resp)
	}
}

func TestWhatIsAboutEachPlatformIsAskedOfEachChild(t *testing.T) {
	t.Parallel()
	s, h := verifytest.NewSigner(t, 1), newHub()
	index, amd, arm := verifytest.Digest("index"), verifytest.Digest("amd"), verifytest.Digest("arm")
	h.Index(index, verify.Child{Digest: amd, Platform: verify.NewPlatform("linux", "amd64", "")}, verify.Child{Digest: arm, Platform: verify.NewPlatform("linux", "arm64", "")})
	h.Sign(s, amd)
	p := signedBy(t, "**", s)
	p.Requirements = []policy.Requirement{eachSigned{p.Requirements[0]}}
	q := admission.Query{Namespace: "payments", Images: containers("r.example/app@" + index.String())}
	e := newEvaluator(t, sets{"payments": {Namespaced: []*policy.Policy{p}}}, h)
	if d := e.Decide(t.Context(), q); d.Allowed() || !strings.Contains(d.Message(), "linux/arm64") {
		t.Errorf("one child of two is signed: %s", d.Message())
	}
	h.Sign(s, arm)
	e = newEvaluator(t, sets{"payments": {Namespaced: []*policy.Policy{p}}}, h)
	if d := e.Decide(t.Context(), q); !d.Allowed() {
		t.Error(d.Message())
	}
}

// eachSigned wants every platform signed by itself: a requirement of each platform over real evidence.
type eachSigned struct{ policy.Requirement }

func (eachSigned) Subject() policy.Subject { return policy.EachPlatform }

func TestAnImageThatATemplateLeavesBlankIsNotJudged(t *testing.T) {
	t.Parallel()
	s, h := verifytest.NewSigner(t, 1), newHub()
	good := verifytest.Digest("good")
	h.Sign(s, good)
	h.tag("r.example/app:good", good)
	h.tag("r.example/app:bad", verifytest.Digest("bad"))
	volume := pod("r.example/app:good").Spec
	volume.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{}}}}
	for what, tc := range map[string]struct {
		spec     corev1.PodSpec
		before   *corev1.PodSpec
		allowed  bool
		decision string
		warns    string
	}{
		"a space, as OpenShift's triggers want":   {spec: pod(" ").Spec, allowed: true, decision: "unjudged", warns: "not judged yet: NoImages: its images are blank still"},
		"nothing":                                 {spec: pod("", "\t").Spec, allowed: true, decision: "unjudged", warns: "blank still"},
		"an image volume without a reference":     {spec: volume, allowed: true, decision: "allowed", warns: "volume data: not judged yet: its image is blank"},
		"one is blank and the other bad":          {spec: pod("", "r.example/app:bad").Spec, decision: "refused", warns: "container c0: not judged yet: its image is blank"},
		"it was blank and is bad":                 {spec: pod("r.example/app:bad").Spec, before: &pod("").Spec, decision: "refused"},
		"it was good and is blank":                {spec: pod(" ").Spec, before: &pod("r.example/app:good").Spec, allowed: true, decision: "unjudged", warns: "blank still"},
		"what is no reference isn't taken for it": {spec: pod(".").Spec, decision: "refused"},
	} {
		t.Run(what, func(t *testing.T) {
			handler := templates(t, h, pinning(t, "**", s))
			op, before := admissionv1.Create, []byte(nil)
			if tc.before != nil {
				op, before = admissionv1.Update, workload(t, "apps", "Deployment", 1, *tc.before)
			}
			resp := handler.Handle(t.Context(), templateReview(t, op, "apps", "Deployment", workload(t, "apps", "Deployment", 1, tc.spec), before))
			warned := strings.Join(resp.Warnings, "\n")
			if resp.Allowed != tc.allowed || !strings.Contains(warned, tc.warns) || tc.warns == "" && warned != "" {
				t.Errorf("allowed %t, warnings %q", resp.Allowed, resp.Warnings)
			}
			if rec := handler.Recorder.(*recorder).records; len(rec) != 1 || rec[0].Decision != tc.decision || resp.AuditAnnotations["decision"] != tc.decision {
				t.Errorf("%+v, %v", rec, resp.AuditAnnotations)
			}
		})
	}
	// A Pod's are, and so is what somebody asks about.
	handler := templates(t, h, pinning(t, "**", s))
	if resp := (&admission.Pods{Evaluator: handler.Evaluator, Recorder: &recorder{}}).Handle(t.Context(), review(t, admissionv1.Create, pod("r.example/app:good", ""), nil)); resp.Allowed {
		t.Error("a Pod with a blank image is allowed")
	}
	d := handler.Evaluator.Decide(t.Context(), admission.Query{Namespace: "payments", Images: containers(""), Ahead: true})
	if d.Allowed() || d.Reasons()[0] != policy.InvalidReference {
		t.Errorf("a blank question: %v", d.Reasons())
	}
}
