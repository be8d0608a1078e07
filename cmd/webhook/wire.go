package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/internal/server"
	"github.com/pratique-dev/pratique/internal/telemetry"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// parts is what serve wires together.
type parts struct {
	config config
	log    logr.Logger
	mgr    manager.Manager
	server *server.Server
	drain  *server.Drain
	tel    *telemetry.Telemetry
	guard  *registry.Guard
	store  *compile.Store
	ready  map[string]healthz.Checker
}

// serve runs the webhook until asked ends. Decisions are logged to out.
func serve(asked context.Context, cluster *rest.Config, c config, log logr.Logger, out io.Writer) error {
	p := &parts{config: c, log: log, ready: map[string]healthz.Checker{}, guard: registry.NewGuard(registry.GuardOptions{DenyPrivate: c.private})}
	drain, until := server.NewDrain(asked, c.drain)
	p.drain = drain
	for _, step := range []func(*rest.Config, io.Writer) error{p.manage, p.certify, p.policies, p.handlers, p.checks} {
		if err := step(cluster, out); err != nil {
			return errors.Join(err, p.flush(asked))
		}
	}
	err := p.mgr.Start(until)
	return errors.Join(err, p.flush(asked))
}

// flushTimeout bounds the writing of the last decisions, within what Kubernetes gives a Pod to end.
const flushTimeout = 5 * time.Second

// flush writes the decisions that are not written yet.
func (p *parts) flush(ctx context.Context) error {
	if p.tel == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	return p.tel.Flush(ctx)
}

// manage makes the server and the manager that runs the parts.
func (p *parts) manage(cluster *rest.Config, out io.Writer) error {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	var err error
	name := "" // of the certificate, where somebody else makes it
	if p.config.provided && p.config.service != "" {
		name = p.config.service + "." + p.config.namespace + ".svc"
	}
	p.server, err = server.New(server.Options{
		Host: p.config.host, Port: p.config.port, CertDir: p.config.certDir, Name: name, Drain: p.drain, Log: p.log.WithName("server"),
	})
	if err != nil {
		return err
	}
	grace := server.ShutdownTimeout
	p.mgr, err = ctrl.NewManager(cluster, manager.Options{
		Scheme: scheme, Logger: p.log, WebhookServer: p.server,
		Metrics:                 metricsserver.Options{BindAddress: p.config.metrics},
		HealthProbeBindAddress:  p.config.probes,
		GracefulShutdownTimeout: &grace,
	})
	if err != nil {
		return err
	}
	if p.tel, err = telemetry.New(metrics.Registry, out); err != nil {
		return err
	}
	return telemetry.ObserveCertificate(metrics.Registry, p.server.NotAfter)
}

// certify keeps the serving certificate: in a Secret in a cluster, else in the directory, unless somebody else does.
func (p *parts) certify(*rest.Config, io.Writer) error {
	if p.config.inCluster() {
		ready, err := server.InCluster{
			Namespace: p.config.namespace, Secret: p.config.certSecret, Service: p.config.service,
			WebhookConfigurations: []string{p.config.webhook}, MutatingWebhookConfigurations: p.config.mutatingNames(),
			CertDir: p.config.certDir, Log: p.log.WithName("certificate"),
		}.AddTo(p.mgr)
		p.ready["ca-bundle"] = server.Done("the CA is not in the webhook object", ready)
		return err
	}
	if p.config.provided {
		return nil // the server waits for what is put there, and follows it
	}
	dir := &server.CertDir{
		Dir: p.config.certDir, Hosts: p.config.certHosts, Log: p.log.WithName("certificate"),
		OnError: func(error) { p.tel.CertificateError() },
	}
	if err := dir.Ensure(); err != nil {
		return fmt.Errorf("--cert-dir: %w", err)
	}
	return p.mgr.Add(dir)
}

// policies adds what watches, compiles and reports on the cluster's policies, and what watches the ranges of its Services.
func (p *parts) policies(cluster *rest.Config, _ io.Writer) error {
	mirrors, err := p.mirrors()
	if err != nil {
		return err
	}
	p.store, err = compile.NewStore(compile.StoreConfig{
		Informers: p.mgr.GetCache(), Live: p.mgr.GetAPIReader(), Namespace: p.config.namespace, Unmatched: p.config.rule,
		RolloutAudit: p.config.rollout == rolloutAudit, Trust: mirrors,
	})
	if err != nil {
		return err
	}
	if err := telemetry.ObserveTrustRoots(metrics.Registry, p.trustRoots); err != nil {
		return err
	}
	services := &serviceRanges{read: p.mgr.GetAPIReader(), set: p.guard.SetServiceRanges, log: p.log.WithName("services")}
	write := func(ctx context.Context) error { return compile.NewStatusWriter(p.store, p.mgr.GetClient()).Start(ctx) }
	var status manager.Runnable = manager.RunnableFunc(write)
	if p.config.elect {
		if status, err = newElected(cluster, p.config.namespace, write, p.log.WithName("status")); err != nil {
			return err
		}
	}
	return errors.Join(p.mgr.Add(p.store), p.mgr.Add(status), p.mgr.Add(services))
}

// handlers registers the webhook's paths.
func (p *parts) handlers(*rest.Config, io.Writer) error {
	evaluator, err := p.evaluator()
	if err != nil {
		return err
	}
	pods := &admission.Pods{Evaluator: evaluator, Recorder: p.tel}
	pins := &admission.Pins{Evaluator: evaluator, Recorder: p.tel}
	templates := &admission.Templates{Evaluator: evaluator, ServiceAccounts: admission.NewServiceAccountReader(p.mgr.GetAPIReader()), Recorder: p.tel}
	policies := &admission.Policies{Check: compile.Install{Pinning: p.config.pin, PlainHTTP: p.config.plainHTTP}.Check, Recorder: p.tel}
	if err := errors.Join(pods.Validate(), pins.Validate(), templates.Validate(), policies.Validate()); err != nil {
		return err
	}
	refuse := server.DeadlineOptions{Log: p.log.WithName("deadline"), OnPanic: func(any) { p.tel.Panicked() }, OnRefuse: p.tel.RefusedByServer}
	for _, at := range []struct {
		path    string
		handler ctrladmission.Handler
		options server.DeadlineOptions
	}{
		{"/validate", pods, refuse},
		{"/validate-policy", newTurns(policies, p.tel.RefusedByServer), refuse},
		{"/pin", pins, p.passing(refuse, admission.WebhookPin, "")},
		{"/workloads", templates, p.passing(refuse, admission.WebhookTemplates, "pratique: this template was not judged; its Pods will be")},
	} {
		hook := (&webhook.Admission{Handler: at.handler}).WithRecoverPanic(false) // Deadline words panics
		p.mgr.GetWebhookServer().Register(at.path, server.Deadline(hook, at.options))
	}
	return p.registration(p.mgr.GetAPIReader())
}

// passing are the options of a path on which nothing rests: what can't be answered passes.
func (p *parts) passing(o server.DeadlineOptions, name, warning string) server.DeadlineOptions {
	o.OnFailure, o.Warning = server.Pass, warning
	o.OnPass = func(policy.Reason) { p.tel.PassedByServer(name) }
	return o
}

func (p *parts) evaluator() (*admission.Evaluator, error) {
	panicked := func(value any, stack []byte) {
		p.tel.Panicked()
		p.log.Error(fmt.Errorf("panic: %v", value), "a panic became a refusal", "stack", string(stack))
	}
	secrets, err := p.registries(panicked)
	if err != nil {
		return nil, err
	}
	verifier, err := verify.NewVerifier(verify.Options{CacheBytes: p.config.cacheBytes, Observe: p.tel.Evidence, Panicked: panicked})
	if err != nil {
		return nil, err
	}
	if err := telemetry.ObserveCache(metrics.Registry, verifier); err != nil {
		return nil, err
	}
	return &admission.Evaluator{Policies: source{p.store}, Registries: secrets, Verifier: verifier, Pinning: p.config.pin, Clock: time.Now, Panicked: panicked}, nil
}

// checks says when the webhook is ready.
func (p *parts) checks(*rest.Config, io.Writer) error {
	p.ready["policies"] = server.Holds("policies are not synced", p.store.Synced)
	p.ready["certificate"] = p.server.CertificateReady
	p.ready["drain"] = p.drain.Ready
	return server.AddChecks(p.mgr, p.ready)
}

// source is the store, in the errors that admission knows.
type source struct{ store *compile.Store }

// Set implements admission.PolicySource.
func (s source) Set(ctx context.Context, namespace string) (policy.Set, error) {
	set, err := s.store.Set(ctx, namespace)
	switch {
	case errors.Is(err, compile.ErrNotSynced):
		err = fmt.Errorf("%w: %w", admission.ErrNotReady, err)
	case errors.Is(err, compile.ErrNamespaceUnknown):
		err = fmt.Errorf("%w: %w", admission.ErrNamespaceUnknown, err)
	}
	return set, err
}
