package apiserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

const exceptionsGuard = "pratique-exceptions"

// excuse is an ImageException that ends in ten days, unless another end is given.
const excuse = `
apiVersion: pratique.dev/v1alpha1
kind: ImageException
metadata: {name: {{or .name "xz"}}, namespace: {{.ns}}}
spec:
  owner: payments@corp.example
  reason: not reachable
  expires: "{{or .expires .soon}}"
  images: {{or .images "[registry.example.com/payments/api]"}}
  ids: {{or .ids "[CVE-2024-3094]"}}
  {{with .more}}{{.}}{{end}}
`

// inDays is a date as exceptions have it.
func inDays(n int) string { return time.Now().AddDate(0, 0, n).UTC().Format(time.DateOnly) }

// excused reads an ImageException of the scene.
func (s *scene) excused(values ...with) *unstructured.Unstructured {
	s.t.Helper()
	return s.object(s.fill(excuse, append([]with{{"soon": inDays(10)}}, values...)...))
}

// waitException waits until the status of an ImageException says this of it: status and reason of the condition Ready.
func (s *scene) waitException(u *unstructured.Unstructured, want string) v1alpha1.ImageExceptionStatus {
	s.t.Helper()
	var status v1alpha1.ImageExceptionStatus
	s.eventually("ImageException "+u.GetName()+" to be "+want, func() error {
		status = v1alpha1.ImageExceptionStatus{}
		if _, err := s.statusOf(u, &status); err != nil {
			return err
		}
		if c := meta.FindStatusCondition(status.Conditions, "Ready"); c == nil || string(c.Status)+" "+c.Reason != want {
			return fmt.Errorf("it has the status %+v", status)
		}
		return nil
	})
	return status
}

// TestRow20_WhoMayWriteExceptionsIsGuarded: with every right on ImageExceptions but the verb, somebody can neither write nor take away
// one, whether the webhook runs or not; and whoever holds the verb in a namespace holds it there alone.
func TestRow20_WhoMayWriteExceptionsIsGuarded(t *testing.T) {
	s := alone(t, "row20-excuse")
	s.guarded()
	s.namespace("row20-excuse-other", nil)
	const all = "create get list update patch delete deletecollection"
	s.may("row20-author", rule("pratique.dev", "imageexceptions", all))
	s.may("row20-enforcer", rule("pratique.dev", "imageexceptions", all), rule("pratique.dev", "imageexceptions imagepolicies", "enforce"))
	s.may("row20-holder", rule("pratique.dev", "imageexceptions", all))
	s.mayHere("row20-holder", rule("pratique.dev", "imageexceptions", "except"))
	s.may("row20-status", rule("pratique.dev", "imageexceptions/status", "get patch update"))
	xz, other := s.excused(), s.excused(with{"ns": "row20-excuse-other"})
	author, holder := s.as("row20-author").policies(xz), s.as("row20-holder").policies(xz)
	const says = `spec: xz excuses vulnerabilities, or would. Leave it as it is, or have a Role bound in namespace row20-excuse with the rule ` +
		`{apiGroups: [pratique.dev], resources: [imageexceptions], resourceNames: ["xz"], verbs: [except]}`

	_, err := author.Create(s.ctx, xz, metav1.CreateOptions{})
	s.wantGuarded("creating one", exceptionsGuard, err, says)
	_, err = s.as("row20-enforcer").policies(xz).Create(s.ctx, xz, metav1.CreateOptions{})
	s.wantGuarded("creating one, by who may enforce", exceptionsGuard, err, says)
	_, err = s.as("row20-holder").policies(other).Create(s.ctx, other, metav1.CreateOptions{})
	s.wantGuarded("creating one in another namespace", exceptionsGuard, err)
	_, err = holder.Create(s.ctx, xz, metav1.CreateOptions{})
	s.want("creating one, by whoever may", err)
	s.waitException(xz, "True InForce")

	held := func() {
		t.Helper()
		s.wantGuarded("an owner that is gone", exceptionsGuard, s.jsonPatch(author, "xz",
			`[{"op":"add","path":"/metadata/ownerReferences","value":[{"apiVersion":"v1","kind":"Namespace","name":"row20-gone","uid":"1"}]}]`, false), says)
		s.wantGuarded("deleting it", exceptionsGuard, author.Delete(s.ctx, "xz", metav1.DeleteOptions{}), says)
		s.wantGuarded("deleting all", exceptionsGuard, author.DeleteCollection(s.ctx, metav1.DeleteOptions{}, metav1.ListOptions{}), says)
		s.want("a label", s.jsonPatch(author, "xz", `[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]`, false))
		_, err := s.as("row20-status").policies(xz).Patch(s.ctx, "xz", types.MergePatchType, []byte(`{"status":{"expires":null}}`), metav1.PatchOptions{}, "status")
		s.want("its status", err)
	}
	held()
	s.want("stopping the webhook", s.bed.Webhook.Stop())
	held()
	second := s.excused(with{"name": "second"})
	if _, err := author.Create(s.ctx, second, metav1.CreateOptions{}); !apierrors.IsForbidden(err) && !apierrors.IsInternalError(err) {
		t.Errorf("creating one with the webhook down: %v", err)
	}
	s.want("deleting it, by whoever may", holder.Delete(s.ctx, "xz", metav1.DeleteOptions{}))
}

// TestRow20_WhatAnExceptionSaysCantBeChanged, by nobody: it was looked at as it is, and its time runs from when it was made.
func TestRow20_WhatAnExceptionSaysCantBeChanged(t *testing.T) {
	s := parallelScene(t, "row20-fixed")
	xz := s.excused()
	to := s.policies(xz)
	_, err := to.Create(s.ctx, xz, metav1.CreateOptions{})
	s.want("creating one", err)
	for what, patch := range map[string]string{
		"when it ends":                           `[{"op":"replace","path":"/spec/expires","value":"` + inDays(20) + `"}]`,
		"one more id":                            `[{"op":"add","path":"/spec/ids/-","value":"CVE-2021-44228"}]`,
		"other images":                           `[{"op":"replace","path":"/spec/images/0","value":"**"}]`,
		"another owner":                          `[{"op":"replace","path":"/spec/owner","value":"nobody"}]`,
		"its reason":                             `[{"op":"replace","path":"/spec/reason","value":"because"}]`,
		"a field that this version doesn't know": `[{"op":"add","path":"/spec/packages","value":["openssl"]}]`,
	} {
		if err := s.jsonPatch(to, "xz", patch, false); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "an ImageException can't be changed: write another, and delete this one") {
			t.Errorf("%s: %v", what, err)
		}
	}
	s.want("a label", s.jsonPatch(to, "xz", `[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]`, false))
}

// TestRow20_AnExceptionThatCouldNotBeUsedIsRefused where it is written, by the schema or by the webhook, with the cure.
func TestRow20_AnExceptionThatCouldNotBeUsedIsRefused(t *testing.T) {
	s := parallelScene(t, "row20-bad")
	latest := time.Now().Add(90 * 24 * time.Hour).UTC().Format(time.DateOnly)
	long := "[" + strings.Join(slices.Repeat([]string{"CVE-2024-3094"}, 65), ", ") + "]"
	for _, c := range []struct {
		name   string
		values with
		says   []string // by the webhook
		schema string   // or by the schema
	}{
		{"too-long", with{"expires": inDays(92)}, []string{"spec.expires", "later than 90 days after the exception was made: write " + latest + " or earlier"}, ""},
		{"over", with{"expires": "2020-01-31"}, []string{"spec.expires", "is over, so that it would excuse nothing"}, ""},
		{"no-date", with{"expires": "tomorrow"}, []string{"spec.expires", "want a date, such as 2027-01-31"}, ""},
		{"no-id", with{"ids": `["CVE-2024-*"]`}, []string{"spec.ids[0]", "no CVE id: write it whole"}, ""},
		{"no-host", with{"images": "[api]"}, []string{"spec.images[0]", "want HOST/PATH"}, ""},
		{"unknown", with{"more": "severities: [low]"}, []string{`unknown field "spec.severities"`}, ""},
		{"too-many", with{"ids": long}, nil, "must have at most 64 items"},
		{"nothing", with{"ids": "[]"}, nil, "should have at least 1 items"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.in(t, s.ns)
			u := s.excused(append([]with{{"name": c.name}}, c.values)...)
			_, err := s.policies(u).Create(s.ctx, u, metav1.CreateOptions{})
			if c.schema != "" {
				if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), c.schema) {
					t.Errorf("%v, want %q", err, c.schema)
				}
				return
			}
			s.wantRefusedBy("policies.pratique.dev", err, append(c.says, "InvalidPolicy: this ImageException could not be used\n")...)
		})
	}
}

// TestPeopleSeeWhatBecameOfAnException with kubectl, by its short name.
func TestPeopleSeeWhatBecameOfAnException(t *testing.T) {
	s := parallelScene(t, "excuse-columns")
	u := s.excused()
	_, err := s.policies(u).Create(s.ctx, u, metav1.CreateOptions{})
	s.want("creating one", err)
	until, err := time.Parse(time.DateOnly, inDays(11))
	s.want("reading a date", err)
	if status := s.waitException(u, "True InForce"); status.ObservedGeneration != 1 || status.Expires == nil || !status.Expires.Time.Equal(until) {
		t.Errorf("%+v", status)
	}
	out, err := s.kubectl("", "get", "pie", "-n", s.ns)
	s.want("kubectl get pie: "+out, err)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if got := strings.Join(strings.Fields(lines[0]), " "); got != "NAME EXPIRES OWNER REASON IN FORCE AGE" {
		t.Errorf("%s", got)
	}
	if got, want := strings.Join(strings.Fields(lines[len(lines)-1]), " "), "xz "+until.Format(time.RFC3339)+" payments@corp.example not reachable True "; !strings.HasPrefix(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestTheSchemaBoundsWhatPoliciesList, so that the API server itself refuses what would take long to read.
func TestTheSchemaBoundsWhatPoliciesList(t *testing.T) {
	s := parallelScene(t, "schema-bounds")
	policy := func(require string) string {
		return strings.Replace(signedBy, "{signature: {by: [release]}}", require, 1)
	}
	repeat := func(text string, n int) string {
		return "[" + strings.Join(slices.Repeat([]string{text}, n), ", ") + "]"
	}
	for what, c := range map[string]struct{ require, says string }{
		"rules":      {"{custom: [{predicateType: a, by: [release], rules: " + repeat("{cel: 'true', message: m}", 33) + "}]}", "must have at most 32 items"},
		"a rule":     {"{custom: [{predicateType: a, by: [release], rules: [{cel: " + strings.Repeat("x", 4097) + ", message: m}]}]}", "may not be more than 4096 bytes"},
		"a message":  {"{custom: [{predicateType: a, by: [release], rules: [{cel: 'true', message: " + strings.Repeat("x", 513) + "}]}]}", "may not be more than 512 bytes"},
		"builders":   {"{provenance: {by: [release], builderPatterns: " + repeat("a", 65) + "}}", "must have at most 64 items"},
		"scanners":   {"{vulnerabilities: {by: [release], scanners: " + repeat("a", 17) + "}}", "must have at most 16 items"},
		"exceptions": {"{vulnerabilities: {by: [release], exceptions: " + repeat("{id: CVE-2024-3094, reason: r, expires: '2027-01-31'}", 257) + "}}", "must have at most 256 items"},
		"licences":   {"{sbom: {by: [release], licenses: {deny: " + repeat("a", 257) + "}}}", "must have at most 256 items"},
		"by":         {"{sbom: {by: " + repeat("release", 65) + "}}", "must have at most 64 items"},
	} {
		if _, err := s.tryPolicy(policy(c.require)); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %.300v, want %q", what, err, c.says)
		}
	}
	_, err := s.tryPolicy(strings.Replace(labelPolicy, "spec:", "spec:\n  namespaceExceptions: {severities: [High]}", 1))
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), `Unsupported value: "High": supported values: "critical", "high", "medium", "low", "negligible"`) {
		t.Errorf("a severity that there isn't: %v", err)
	}
}
