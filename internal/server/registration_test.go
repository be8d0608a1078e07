package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/test/cluster"
)

// objects is an API server that has these webhook objects, or doesn't answer.
type objects struct {
	client.Reader
	mu         sync.Mutex
	validating *admissionregistrationv1.ValidatingWebhookConfiguration
	mutating   *admissionregistrationv1.MutatingWebhookConfiguration
	err        error
}

// Get implements client.Reader.
func (o *objects) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	switch into := into.(type) {
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		if o.validating != nil && o.validating.Name == key.Name {
			o.validating.DeepCopyInto(into)
			return nil
		}
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		if o.mutating != nil && o.mutating.Name == key.Name {
			o.mutating.DeepCopyInto(into)
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{Group: admissionregistrationv1.GroupName}, key.Name)
}

// change changes the objects while they are watched.
func (o *objects) change(how func(*objects)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	how(o)
}

const imagesHook, pinHook = "images.pratique.dev", "pin.pratique.dev"

// podRules are what has to be asked about Pods.
func podRules() []admissionregistrationv1.RuleWithOperations {
	namespaced := admissionregistrationv1.NamespacedScope
	return []admissionregistrationv1.RuleWithOperations{{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}, Scope: &namespaced},
	}, {
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Update},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods/ephemeralcontainers"}, Scope: &namespaced},
	}}
}

// expecting is what an install expects that calls its objects by the given name.
func expecting(name string) RegistrationConfig {
	return RegistrationConfig{
		Validating: name, Mutating: name, Service: types.NamespacedName{Namespace: "pratique-system", Name: "pratique-webhook"},
		Webhooks: []ExpectedWebhook{{
			Name: imagesHook, Path: "/validate", FailurePolicy: admissionregistrationv1.Fail, Rules: podRules(),
			ExemptNamespaces: []string{"pratique-system", "kube-system"},
			MatchConditions:  []admissionregistrationv1.MatchCondition{{Name: "images-changed", Expression: "a ||\n  b"}},
		}, {
			Name: pinHook, Mutating: true, Path: "/pin", FailurePolicy: admissionregistrationv1.Ignore, Rules: podRules(),
			ExemptNamespaces: []string{"pratique-system", "kube-system"},
		}},
	}
}

// installed is what the chart installs by that name.
func installed(name string) *objects {
	fail, ignore, none := admissionregistrationv1.Fail, admissionregistrationv1.Ignore, admissionregistrationv1.SideEffectClassNone
	path, pin := "/validate", "/pin"
	service := func(path *string) admissionregistrationv1.WebhookClientConfig {
		return admissionregistrationv1.WebhookClientConfig{
			CABundle: []byte("a CA"), // the API server takes PEM only,
			Service:  &admissionregistrationv1.ServiceReference{Namespace: "pratique-system", Name: "pratique-webhook", Path: path},
		}
	}
	selector := func() *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpNotIn, Values: []string{"pratique-system", "kube-system"},
		}}}
	}
	return &objects{
		validating: &admissionregistrationv1.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Webhooks: []admissionregistrationv1.ValidatingWebhook{{
				Name: imagesHook, ClientConfig: service(&path), Rules: podRules(), FailurePolicy: &fail, SideEffects: &none,
				AdmissionReviewVersions: []string{"v1"}, NamespaceSelector: selector(),
				MatchConditions: []admissionregistrationv1.MatchCondition{{Name: "images-changed", Expression: "a || b"}},
			}},
		},
		mutating: &admissionregistrationv1.MutatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Webhooks: []admissionregistrationv1.MutatingWebhook{{
				Name: pinHook, ClientConfig: service(&pin), Rules: podRules(), FailurePolicy: &ignore, SideEffects: &none,
				AdmissionReviewVersions: []string{"v1"}, NamespaceSelector: selector(),
			}},
		},
	}
}

// verdicts are what a Registration told, by webhook.
type verdicts struct {
	mu   sync.Mutex
	told map[string]bool
	said []string
}

func (v *verdicts) report(webhook string, registered bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.told == nil {
		v.told = map[string]bool{}
	}
	v.told[webhook] = registered
}

// now returns what was told last.
func (v *verdicts) now() map[string]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.told)
}

// lines returns the lines of the log that have come since the last call.
func (v *verdicts) lines() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	said := v.said
	v.said = nil
	return said
}

// watching returns the watch and what it tells.
func watching(t *testing.T, c RegistrationConfig, reader client.Reader) (*Registration, *verdicts) {
	t.Helper()
	v := &verdicts{}
	c.Reader, c.Report = reader, v.report
	c.Log = funcr.New(func(_, args string) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.said = append(v.said, args)
	}, funcr.Options{})
	r, err := NewRegistration(c)
	if err != nil {
		t.Fatal(err)
	}
	return r, v
}

func TestRow24_ADeletedWebhookObjectIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit func(*objects)
		want map[string]bool
		says []string
	}{
		"the validating one": {func(o *objects) { o.validating = nil }, map[string]bool{imagesHook: false, pinHook: true},
			[]string{"there is no ValidatingWebhookConfiguration pratique"}},
		"the mutating one": {func(o *objects) { o.mutating = nil }, map[string]bool{imagesHook: true, pinHook: false},
			[]string{"there is no MutatingWebhookConfiguration pratique"}},
		"both": {func(o *objects) { o.validating, o.mutating = nil, nil }, map[string]bool{imagesHook: false, pinHook: false},
			[]string{"there is no ValidatingWebhookConfiguration pratique", "there is no MutatingWebhookConfiguration pratique"}},
		"by another name": {func(o *objects) { o.validating.Name = "pratique-old" }, map[string]bool{imagesHook: false, pinHook: true},
			[]string{"there is no ValidatingWebhookConfiguration pratique"}},
		"with no webhooks in it": {func(o *objects) { o.validating.Webhooks = nil }, map[string]bool{imagesHook: false, pinHook: true},
			[]string{"the ValidatingWebhookConfiguration pratique doesn't have it"}},
		"the webhook in the other object": {func(o *objects) {
			o.mutating.Webhooks[0].Name = imagesHook
			o.validating.Webhooks[0].Name = pinHook
		}, map[string]bool{imagesHook: false, pinHook: false},
			[]string{"the ValidatingWebhookConfiguration pratique doesn't have it", "the MutatingWebhookConfiguration pratique doesn't have it"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := installed("pratique")
			c.edit(o)
			r, told := watching(t, expecting("pratique"), o)
			r.check(t.Context(), time.Now())
			if diff := cmp.Diff(c.want, told.now()); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			said := strings.Join(told.lines(), "\n")
			for _, words := range c.says {
				if !strings.Contains(said, words) {
					t.Errorf("said %q, want %q in it", said, words)
				}
			}
		})
	}
}

func TestTheMutatingObjectIsNotLookedForWithPinningOff(t *testing.T) {
	t.Parallel()
	o := installed("pratique")
	o.mutating = nil
	c := expecting("pratique")
	c.Mutating, c.Webhooks = "", c.Webhooks[:1]
	r, told := watching(t, c, o)
	r.check(t.Context(), time.Now())
	if diff := cmp.Diff(map[string]bool{imagesHook: true}, told.now()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// Every replica says once what changed, at the start, and again when it changes.
func TestRow24_AChangeIsSaidOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := installed("pratique")
		r, told := watching(t, expecting("pratique"), o)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Start(ctx) }()
		for _, step := range []struct {
			edit   func(*objects)
			images bool
			says   []string
		}{
			{func(*objects) {}, true, nil},
			{func(o *objects) { *o.validating.Webhooks[0].FailurePolicy = "Ignore" }, false, []string{"failurePolicy is Ignore"}},
			{func(*objects) {}, false, nil},
			{func(o *objects) { o.validating.Webhooks[0].ClientConfig.CABundle = nil }, false, []string{"failurePolicy is Ignore, want Fail; caBundle is empty"}},
			{func(o *objects) { o.validating = installed("pratique").validating }, true, []string{"is registered as it should be again"}},
			{func(o *objects) { o.validating = nil }, false, []string{"there is no ValidatingWebhookConfiguration"}},
		} {
			o.change(step.edit)
			time.Sleep(readRegistration)
			synctest.Wait()
			if got := told.now(); got[imagesHook] != step.images || !got[pinHook] {
				t.Errorf("told %v, want %t of images", got, step.images)
			}
			said := told.lines()
			if len(said) != len(step.says) {
				t.Errorf("said %q, want %q", said, step.says)
				continue
			}
			for i, words := range step.says {
				if !strings.Contains(said[i], words) {
					t.Errorf("said %q, want %q", said[i], words)
				}
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Start = %v", err)
		}
	})
}

// A restart of the API server is no alarm; but what nobody can read for minutes, nobody knows to be there.
func TestRow24_WhatCanNotBeReadForMinutesIsNotRegistered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := installed("pratique")
		r, told := watching(t, expecting("pratique"), o)
		r.check(t.Context(), time.Now())
		failures := 0
		o.change(func(o *objects) { o.err = errors.New("connection refused") })
		for range 2 * unreadRegistration / readRegistration {
			time.Sleep(readRegistration)
			failures++
			o.change(func(o *objects) { o.err = fmt.Errorf("connection %d refused", failures) })
			r.check(t.Context(), time.Now())
			want := time.Duration(failures)*readRegistration < unreadRegistration
			if diff := cmp.Diff(map[string]bool{imagesHook: want, pinHook: want}, told.now()); diff != "" {
				t.Errorf("after %d failures told (-want +got):\n%s", failures, diff)
			}
		}
		if said := told.lines(); len(said) != 2 || !strings.Contains(said[0], "can't be read") || !strings.Contains(said[0], "refused") {
			t.Errorf("said %q, want one line for each webhook, with the reason", said)
		}
		o.change(func(o *objects) { o.err = nil })
		r.check(t.Context(), time.Now())
		if diff := cmp.Diff(map[string]bool{imagesHook: true, pinHook: true}, told.now()); diff != "" {
			t.Errorf("when it answers again, told (-want +got):\n%s", diff)
		}
	})
}

func TestWhatWasNeverReadIsNotRegistered(t *testing.T) {
	t.Parallel()
	r, told := watching(t, expecting("pratique"), &objects{err: errors.New("forbidden")})
	r.check(t.Context(), time.Now())
	if diff := cmp.Diff(map[string]bool{imagesHook: false, pinHook: false}, told.now()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestARegistrationThatCanNotBeCheckedIsRefused(t *testing.T) {
	t.Parallel()
	whole := func() RegistrationConfig {
		c := expecting("pratique")
		c.Reader = &objects{}
		return c
	}
	if _, err := NewRegistration(whole()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*RegistrationConfig)
		want   string
	}{
		"the zero value":                    {func(c *RegistrationConfig) { *c = RegistrationConfig{} }, "needs a reader"},
		"no reader":                         {func(c *RegistrationConfig) { c.Reader = nil }, "needs a reader"},
		"no object":                         {func(c *RegistrationConfig) { c.Validating = "" }, "needs a reader"},
		"nothing expected":                  {func(c *RegistrationConfig) { c.Webhooks = nil }, "webhooks to expect"},
		"a webhook twice":                   {func(c *RegistrationConfig) { c.Webhooks[1].Name = imagesHook }, "expected twice"},
		"a webhook without a name":          {func(c *RegistrationConfig) { c.Webhooks[0].Name = "" }, "it has no name"},
		"a webhook without rules":           {func(c *RegistrationConfig) { c.Webhooks[0].Rules = nil }, "it has no rules"},
		"a webhook with an empty rule":      {func(c *RegistrationConfig) { c.Webhooks[0].Rules[1].Operations = nil }, "names no group"},
		"a webhook without a failurePolicy": {func(c *RegistrationConfig) { c.Webhooks[0].FailurePolicy = "" }, "want Fail or Ignore"},
		"a mutating one without its object": {func(c *RegistrationConfig) { c.Mutating = "" }, "name the MutatingWebhookConfiguration"},
		"an unknown failurePolicy":          {func(c *RegistrationConfig) { c.Webhooks[0].FailurePolicy = "fail" }, `"fail"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := whole()
			c.change(&config)
			if _, err := NewRegistration(config); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want %q", err, c.want)
			}
		})
	}
}

func TestEveryReplicaWatchesItsRegistrationWithinAMinute(t *testing.T) {
	t.Parallel()
	r, _ := watching(t, expecting("pratique"), &objects{})
	if r.NeedLeaderElection() {
		t.Error("only the leader would know")
	}
	if r.every > 30*time.Second { // row 24 of security.md: within 60 s, of which the scrape takes the half
		t.Errorf("it looks every %s", r.every)
	}
}

// testRow24OnTheAPIServer is row 24 of security.md on a real API server, whose defaults are filled in: what is installed is
// registered; edited or deleted, it is not. The user may get these two objects, and nothing else.
func testRow24OnTheAPIServer(t *testing.T, c *cluster.Cluster) {
	const name = "watched"
	o := installed(name)
	o.validating.Webhooks[0].MatchConditions[0].Expression = "true || false"
	d := &CertDir{Dir: t.TempDir()}
	if err := d.Ensure(); err != nil {
		t.Fatal(err)
	}
	bundle, err := d.CABundle()
	if err != nil {
		t.Fatal(err)
	}
	o.validating.Webhooks[0].ClientConfig.CABundle, o.mutating.Webhooks[0].ClientConfig.CABundle = bundle, bundle
	registration := c.Client().AdmissionregistrationV1()
	if _, err := registration.ValidatingWebhookConfigurations().Create(t.Context(), o.validating, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := registration.MutatingWebhookConfigurations().Create(t.Context(), o.mutating, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	reader, err := client.New(getterConfig(t, c, name), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	expected := expecting(name)
	expected.Webhooks[0].MatchConditions[0].Expression = "true || false"
	r, told := watching(t, expected, reader)
	r.every = 100 * time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Start = %v", err)
		}
	})
	becomes := func(what string, images, pin bool) {
		t.Helper()
		eventually(t, what, func() bool {
			got, ok := told.now(), false
			_, ok = got[imagesHook]
			return ok && got[imagesHook] == images && got[pinHook] == pin
		})
	}
	becomes("what is installed is registered", true, true)
	if said := told.lines(); len(said) > 0 {
		t.Errorf("said %q", said)
	}
	edit := []byte(`[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}]`)
	if _, err := registration.ValidatingWebhookConfigurations().Patch(t.Context(), name, types.JSONPatchType, edit, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	becomes("an edit is told", false, true)
	if err := registration.MutatingWebhookConfigurations().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	becomes("a deletion is told", false, false)
	said := strings.Join(told.lines(), "\n")
	for _, want := range []string{"failurePolicy is Ignore, want Fail", "there is no MutatingWebhookConfiguration watched"} {
		if strings.Count(said, want) != 1 {
			t.Errorf("said %q, want %q once", said, want)
		}
	}
}

// getterConfig is the access of a user who may get the webhook objects of that name, and do nothing else.
func getterConfig(t *testing.T, c *cluster.Cluster, name string) *rest.Config {
	t.Helper()
	user := "getter-of-" + name
	return userWith(t, c, user, fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: %[1]s}
rules:
- apiGroups: [admissionregistration.k8s.io]
  resources: [validatingwebhookconfigurations, mutatingwebhookconfigurations]
  resourceNames: [%[2]s]
  verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %[1]s}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[1]s}]
`, user, name))
}
