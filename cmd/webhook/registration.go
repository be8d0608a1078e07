package main

import (
	"context"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/internal/server"
	"github.com/pratique-dev/pratique/pkg/admission"
)

// registration watches what the API server has been told of us, where the webhook object's name is known.
func (p *parts) registration(read client.Reader) error {
	c := p.config
	if c.webhook == "" {
		return nil
	}
	config := server.RegistrationConfig{
		Reader: read, Validating: c.webhook, Mutating: c.mutating, Webhooks: c.expected(), Report: p.tel.Registered, Log: p.log.WithName("registration"),
	}
	if c.service != "" {
		config.Service = types.NamespacedName{Namespace: c.namespace, Name: c.service}
	}
	watch, err := server.NewRegistration(config)
	if err != nil {
		return err
	}
	return p.mgr.Add(everyReplica(func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(settling):
			return watch.Start(ctx)
		}
	}))
}

// settling is how long an install has to write the first CA into the webhook objects, and an upgrade to be done with them, before what
// is there is looked at.
const settling = 45 * time.Second

// expected are the chart's webhooks: a test holds them to what it renders.
func (c *config) expected() []server.ExpectedWebhook {
	rule := func(group, version, resource string, scope admissionregistrationv1.ScopeType, operations ...admissionregistrationv1.OperationType) admissionregistrationv1.RuleWithOperations {
		return admissionregistrationv1.RuleWithOperations{Operations: operations, Rule: admissionregistrationv1.Rule{
			APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{resource}, Scope: &scope,
		}}
	}
	const create, update = admissionregistrationv1.Create, admissionregistrationv1.Update
	pods := []admissionregistrationv1.RuleWithOperations{
		rule("", "v1", "pods", admissionregistrationv1.NamespacedScope, create, update),
		rule("", "v1", "pods/ephemeralcontainers", admissionregistrationv1.NamespacedScope, update),
	}
	images := admissionregistrationv1.Fail
	if c.rollout == rolloutAudit {
		images = admissionregistrationv1.Ignore
	}
	changed := []admissionregistrationv1.MatchCondition{{Name: "images-changed"}}
	out := []server.ExpectedWebhook{{
		Name: admission.WebhookImages, Path: "/validate", FailurePolicy: images, Rules: pods, ExemptNamespaces: c.exempt, MatchConditions: changed,
	}, {
		Name: admission.WebhookPolicies, Path: "/validate-policy", FailurePolicy: admissionregistrationv1.Fail,
		Rules: []admissionregistrationv1.RuleWithOperations{
			rule("pratique.dev", "v1alpha1", "imagepolicies", admissionregistrationv1.AllScopes, create, update),
			rule("pratique.dev", "v1alpha1", "clusterimagepolicies", admissionregistrationv1.AllScopes, create, update),
		},
		MatchConditions: []admissionregistrationv1.MatchCondition{{Name: "spec-changed"}},
	}}
	if c.mutating != "" {
		out = append(out, server.ExpectedWebhook{
			Name: admission.WebhookPin, Mutating: true, Path: "/pin", FailurePolicy: admissionregistrationv1.Ignore, Rules: pods,
			ExemptNamespaces: c.exempt, MatchConditions: changed,
		})
	}
	return out
}
