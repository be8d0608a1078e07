package helm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	apiservercel "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"
)

// The guards, by what their names end in.
const (
	labelsGuard      = "namespace-labels"
	newLabelsGuard   = "new-namespace-labels"
	subresourceGuard = "namespace-subresources"
	webhooksGuard    = "webhooks"
	crdsGuard        = "crds"
	policiesGuard    = "policies"
	exceptionsGuard  = "exceptions"
)

// allGuards are all of them.
func allGuards() []string {
	return []string{labelsGuard, newLabelsGuard, subresourceGuard, webhooksGuard, crdsGuard, policiesGuard, exceptionsGuard}
}

// guard is a ValidatingAdmissionPolicy, whose expressions the API server's own code compiles and evaluates.
type guard struct {
	policy      *admissionregistrationv1.ValidatingAdmissionPolicy
	conditions  cel.ConditionEvaluator
	validations cel.ConditionEvaluator
	messages    cel.ConditionEvaluator
}

// expression is one of a guard's, a variable's if it has a name.
type expression struct {
	name, text string
	returns    *celgo.Type
}

func (e expression) GetName() string            { return e.name }
func (e expression) GetExpression() string      { return e.text }
func (e expression) ReturnTypes() []*celgo.Type { return []*celgo.Type{e.returns} }

// renderedGuard renders a guard and its binding.
func renderedGuard(t *testing.T, name string, args ...string) (*admissionregistrationv1.ValidatingAdmissionPolicy, *admissionregistrationv1.ValidatingAdmissionPolicyBinding) {
	t.Helper()
	objects := decode(t, template(t, args...))
	var policy *admissionregistrationv1.ValidatingAdmissionPolicy
	var binding *admissionregistrationv1.ValidatingAdmissionPolicyBinding
	for _, p := range all[*admissionregistrationv1.ValidatingAdmissionPolicy](objects) {
		if strings.HasSuffix(p.Name, "pratique-"+name) {
			policy = p
		}
	}
	for _, b := range all[*admissionregistrationv1.ValidatingAdmissionPolicyBinding](objects) {
		if strings.HasSuffix(b.Name, "pratique-"+name) {
			binding = b
		}
	}
	if policy == nil || binding == nil {
		t.Fatalf("no guard %s", name)
	}
	return policy, binding
}

// compileGuard compiles a guard as a Kubernetes of this minor does when it is written.
func compileGuard(t *testing.T, name, minor string) guard {
	t.Helper()
	policy, _ := renderedGuard(t, name)
	return compilePolicy(t, policy, minor)
}

func compilePolicy(t *testing.T, policy *admissionregistrationv1.ValidatingAdmissionPolicy, minor string) guard {
	t.Helper()
	compiler, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(version.MustParseGeneric(minor)))
	if err != nil {
		t.Fatal(err)
	}
	spec := policy.Spec
	declared := cel.OptionalVariableDeclarations{HasParams: spec.ParamKind != nil, HasAuthorizer: true}
	for _, v := range spec.Variables {
		result := compiler.CompileAndStoreVariable(expression{v.Name, v.Expression, celgo.AnyType}, declared, environment.NewExpressions)
		if result.Error != nil {
			t.Fatalf("Kubernetes %s: %s: variable %s: %v", minor, policy.Name, v.Name, result.Error)
		}
	}
	var conditions, validations, messages []cel.ExpressionAccessor
	for _, c := range spec.MatchConditions {
		conditions = append(conditions, expression{text: c.Expression, returns: celgo.BoolType})
	}
	for _, v := range spec.Validations {
		validations = append(validations, expression{text: v.Expression, returns: celgo.BoolType})
		messages = append(messages, expression{text: v.MessageExpression, returns: celgo.StringType})
	}
	plain := declared
	plain.HasAuthorizer = false // the API server gives a message none
	g := guard{
		policy:      policy,
		conditions:  compiler.CompileCondition(conditions, declared, environment.NewExpressions),
		validations: compiler.CompileCondition(validations, declared, environment.NewExpressions),
		messages:    compiler.CompileCondition(messages, plain, environment.NewExpressions),
	}
	for _, evaluator := range []cel.ConditionEvaluator{g.conditions, g.validations, g.messages} {
		for _, err := range evaluator.CompilationErrors() {
			t.Fatalf("Kubernetes %s: %s: %v", minor, policy.Name, err)
		}
	}
	return g
}

// ask is a request that a guard sees: a create without old, a deletion without now.
type ask struct {
	resource, subresource string
	old, now              runtime.Object
	param                 runtime.Object // the policy that the guard is bound to, where it has such
	by                    string         // empty: somebody
	holds                 string         // the right that they hold, as rbac says it; empty: none
}

// somebody is a user without a part in this.
const somebody = "somebody"

// rbac writes down what an authorizer is asked.
func rbac(a authorizer.Attributes) string {
	return fmt.Sprintf("%s %s/%s %s/%s", a.GetVerb(), a.GetAPIGroup(), a.GetResource(), a.GetNamespace(), a.GetName())
}

// refuses returns a guard's refusal, empty if it lets a request pass, and the right it asked RBAC for. An object is tried as JSON
// and as a Go value, from which and to which the API server is on its way, and must come to the same. An error of an expression
// fails the test.
func (g guard) refuses(t *testing.T, a ask) (refusal, asked string) {
	t.Helper()
	refusal, asked = g.evaluate(t, a, a.attributes(inJSON(t, a.old), inJSON(t, a.now), false))
	says, right := g.evaluate(t, a, a.attributes(a.old, a.now, true))
	if says != refusal || right != asked {
		t.Fatalf("%s: as JSON %q, asking for %q; as a value %q, asking for %q", g.policy.Name, refusal, asked, says, right)
	}
	return refusal, asked
}

// evaluate is what the API server does with a policy: conditions, validations and messages, each list within a budget.
func (g guard) evaluate(t *testing.T, a ask, attributes *admission.VersionedAttributes) (refusal, asked string) {
	t.Helper()
	authz := authorizer.AuthorizerFunc(func(_ context.Context, attributes authorizer.Attributes) (authorizer.Decision, string, error) {
		asked = rbac(attributes)
		if asked == a.holds {
			return authorizer.DecisionAllow, "", nil
		}
		return authorizer.DecisionNoOpinion, "", nil
	})
	for _, condition := range g.results(t, g.conditions, attributes, cel.OptionalVariableBindings{VersionedParams: a.param, Authorizer: authz}) {
		if condition != true {
			return "", asked
		}
	}
	validations := g.results(t, g.validations, attributes, cel.OptionalVariableBindings{VersionedParams: a.param, Authorizer: authz})
	if !slices.Contains(validations, any(false)) {
		return "", asked
	}
	return g.results(t, g.messages, attributes, cel.OptionalVariableBindings{VersionedParams: a.param})[0].(string), asked
}

// results are the values of expressions. A question to RBAC costs 350,000 of the million that the API server allows an expression;
// all else together is to cost less than a tenth of it.
func (g guard) results(t *testing.T, of cel.ConditionEvaluator, attributes *admission.VersionedAttributes, with cel.OptionalVariableBindings) []any {
	t.Helper()
	review := cel.CreateAdmissionRequest(attributes.Attributes, metav1.GroupVersionResource(attributes.GetResource()), metav1.GroupVersionKind(attributes.VersionedKind))
	results, left, err := of.ForInput(t.Context(), attributes, review, with, nil, apiservercel.PerCallLimit)
	if err != nil {
		t.Fatalf("%s: %v", g.policy.Name, err)
	}
	if cost := apiservercel.PerCallLimit - left; cost%350_000 > apiservercel.PerCallLimit/10 {
		t.Errorf("%s costs %d of %d", g.policy.Name, cost, apiservercel.PerCallLimit)
	}
	var values []any
	for _, r := range results {
		if r.Error != nil {
			t.Fatalf("%s: %s: %v", g.policy.Name, r.ExpressionAccessor.GetExpression(), r.Error)
		}
		values = append(values, r.EvalResult.Value())
	}
	return values
}

// attributes is the request as the API server has it.
func (a ask) attributes(old, now runtime.Object, lazily bool) *admission.VersionedAttributes {
	operation, either := admission.Update, now
	switch {
	case a.old == nil:
		operation, old = admission.Create, nil
	case a.now == nil:
		operation, either, now = admission.Delete, old, nil
	}
	by := a.by
	if by == "" {
		by = somebody
	}
	kind := either.GetObjectKind().GroupVersionKind()
	object := either.(metav1.Object)
	attributes := admission.NewAttributesRecord(now, old, kind, object.GetNamespace(), object.GetName(), kind.GroupVersion().WithResource(a.resource),
		a.subresource, operation, nil, false, &user.DefaultInfo{Name: by})
	versioned := &admission.VersionedAttributes{Attributes: attributes, VersionedKind: kind}
	if now != nil {
		versioned.VersionedObject = admission.NewLazyObject(now)
	}
	if old != nil {
		versioned.VersionedOldObject = admission.NewLazyObject(old)
	}
	//lint:ignore SA1019 it is to become what is done always
	versioned.VersionedObject.UseSchemalessTypeRef, versioned.VersionedOldObject.UseSchemalessTypeRef = lazily, lazily
	return versioned
}

func TestTheGuardsCompileOnEveryKubernetesTheChartIsFor(t *testing.T) {
	t.Parallel()
	for _, minor := range []string{oldest, "1.34", "1.35", "1.36", newest} {
		for _, name := range allGuards() {
			t.Run(minor+" "+name, func(t *testing.T) {
				t.Parallel()
				compileGuard(t, name, minor)
			})
		}
	}
}

// TestTheGuardsCanBeTurnedOff, and are on otherwise, wherever the webhook runs and whatever the release is called.
func TestTheGuardsCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		args []string
		want int
	}{
		{"as it comes", nil, len(allGuards())},
		{"outside the cluster", outside(t), len(allGuards())},
		{"off", values(t, "guards: {enabled: false}"), 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			objects := decode(t, template(t, c.args...))
			policies := all[*admissionregistrationv1.ValidatingAdmissionPolicy](objects)
			bindings := all[*admissionregistrationv1.ValidatingAdmissionPolicyBinding](objects)
			if len(policies) != c.want || len(bindings) != c.want {
				t.Errorf("%d policies and %d bindings, want %d of each", len(policies), len(bindings), c.want)
			}
			for _, b := range bindings {
				if !slices.ContainsFunc(policies, func(p *admissionregistrationv1.ValidatingAdmissionPolicy) bool {
					return p.Name == b.Spec.PolicyName && p.Name == b.Name
				}) {
					t.Errorf("binding %s puts %s in force", b.Name, b.Spec.PolicyName)
				}
			}
		})
	}
}

// TestTheGuardsRefuseRatherThanGuess: whatever goes wrong refuses, a binding has no exceptions, and with no policy to select by
// there is nothing to hold.
func TestTheGuardsRefuseRatherThanGuess(t *testing.T) {
	t.Parallel()
	for _, name := range allGuards() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy, binding := renderedGuard(t, name)
			failure := admissionregistrationv1.Fail
			if name == newLabelsGuard { // or nobody could make a namespace while the API server looks for a new CRD
				failure = admissionregistrationv1.Ignore
			}
			if f := policy.Spec.FailurePolicy; f == nil || *f != failure {
				t.Errorf("failurePolicy %v, want %s", f, failure)
			}
			if m := policy.Spec.MatchConstraints.MatchPolicy; m == nil || *m != admissionregistrationv1.Equivalent {
				t.Errorf("matchPolicy %v", m)
			}
			want := admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
				PolicyName: policy.Name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			}
			if policy.Spec.ParamKind != nil {
				allow := admissionregistrationv1.AllowAction
				want.ParamRef = &admissionregistrationv1.ParamRef{Selector: &metav1.LabelSelector{}, ParameterNotFoundAction: &allow}
			}
			if diff := cmp.Diff(want, binding.Spec); diff != "" {
				t.Errorf("binding (-want +rendered):\n%s", diff)
			}
		})
	}
}

// TestTheGuardsAreAboutNothingElse spells out what they see: nothing that a node or a running Pod needs. None names objects in its
// rules, where the deletion of a collection would pass it by, and none has a selector.
func TestTheGuardsAreAboutNothingElse(t *testing.T) {
	t.Parallel()
	const create, update, remove = admissionregistrationv1.Create, admissionregistrationv1.Update, admissionregistrationv1.Delete
	cluster, namespaced, everywhere := admissionregistrationv1.ClusterScope, admissionregistrationv1.NamespacedScope, admissionregistrationv1.AllScopes
	rule := func(group, version string, scope *admissionregistrationv1.ScopeType, resources []string, operations ...admissionregistrationv1.OperationType) admissionregistrationv1.MatchResources {
		equivalent := admissionregistrationv1.Equivalent
		return admissionregistrationv1.MatchResources{MatchPolicy: &equivalent, ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
			RuleWithOperations: admissionregistrationv1.RuleWithOperations{Operations: operations, Rule: admissionregistrationv1.Rule{
				APIGroups: []string{group}, APIVersions: []string{version}, Resources: resources, Scope: scope,
			}},
		}}}
	}
	want := map[string]admissionregistrationv1.MatchResources{
		labelsGuard:      rule("", "v1", &cluster, []string{"namespaces"}, update),
		newLabelsGuard:   rule("", "v1", &cluster, []string{"namespaces"}, create),
		subresourceGuard: rule("", "v1", &cluster, []string{"namespaces/status", "namespaces/finalize"}, update),
		webhooksGuard:    rule("admissionregistration.k8s.io", "v1", &cluster, []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"}, update, remove),
		crdsGuard:        rule("apiextensions.k8s.io", "v1", &cluster, []string{"customresourcedefinitions"}, update, remove),
		policiesGuard:    rule("pratique.dev", "v1alpha1", &everywhere, []string{"imagepolicies", "clusterimagepolicies", "trustroots"}, create, update, remove),
		exceptionsGuard:  rule("pratique.dev", "v1alpha1", &namespaced, []string{"imageexceptions"}, create, update, remove),
	}
	for _, name := range allGuards() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy, _ := renderedGuard(t, name)
			if diff := cmp.Diff(want[name], *policy.Spec.MatchConstraints); diff != "" {
				t.Errorf("it sees (-want +rendered):\n%s", diff)
			}
		})
	}
}
