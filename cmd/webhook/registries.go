package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/net/http/httpproxy"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/internal/registry/cloud"
	"github.com/pratique-dev/pratique/pkg/admission"
)

// pullSecrets reads the pull secrets of Pods, and the install's own.
type pullSecrets = admission.SecretReader[registry.Credentials]

// registries makes the client of registries, and what reads pull secrets for it.
func (p *parts) registries(panicked func(any, []byte)) (*pullSecrets, error) {
	var secrets *pullSecrets
	log := p.log.WithName("registries")
	options := registry.Options{
		PlainHTTP: p.config.plainHTTP, Guard: p.guard, UserAgent: "pratique/" + version, OnPanic: panicked, Observe: p.observe,
		Proxy: proxy(), Named: p.store.Named,
		ECR: cloud.NewECR(cloud.Options{}), GAR: cloud.NewGAR(cloud.Options{}), ACR: cloud.NewACR(cloud.Options{}),
		Secret: func(ctx context.Context, secret string) (registry.Credentials, error) {
			return secrets.Secret(ctx, p.config.namespace, secret)
		},
		OnLoginError: func(prefix string, err error) {
			log.Error(err, "the credential of a registries entry can't be got", "prefix", prefix)
		},
	}
	if p.config.registries != "" {
		list, err := registry.LoadRegistries(p.config.registries)
		if err != nil {
			return nil, fmt.Errorf("--registries: %w", err)
		}
		options.Registries = list
		if err := p.mgr.Add(everyReplica(p.watch(list))); err != nil {
			return nil, err
		}
	}
	client, err := registry.New(options)
	if err != nil {
		return nil, err
	}
	secrets = admission.NewSecretReader(p.mgr.GetAPIReader(), registry.ParseDockerConfig, open(client))
	return secrets, nil
}

// watch follows the file of --registries.
func (p *parts) watch(list *registry.Registries) func(context.Context) error {
	log := p.log.WithName("registries")
	return func(ctx context.Context) error {
		list.Watch(ctx, 0, func() {
			p.tel.RegistriesReloaded(nil)
			log.Info("took up the list of registries", "file", p.config.registries)
		}, func(err error) {
			p.tel.RegistriesReloaded(err)
			log.Error(err, "the list of registries can't be taken up; the last one stays")
		})
		return nil
	}
}

// everyReplica is what runs whoever leads.
type everyReplica func(context.Context) error

var _ manager.LeaderElectionRunnable = everyReplica(nil)

// Start implements manager.Runnable.
func (e everyReplica) Start(ctx context.Context) error { return e(ctx) }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (everyReplica) NeedLeaderElection() bool { return false }

// proxy is that of the environment: HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
func proxy() func(*url.URL) (*url.URL, error) { return httpproxy.FromEnvironment().ProxyFunc() }

// open opens a repository with the credentials of a Pod.
func open(client *registry.Client) func(context.Context, []registry.Credentials, name.Repository) (admission.Registry, error) {
	return func(ctx context.Context, credentials []registry.Credentials, repository name.Repository) (admission.Registry, error) {
		return client.Open(ctx, registry.Merge(credentials...), repository)
	}
}

// observe counts a request to a registry.
func (p *parts) observe(r registry.RequestInfo) {
	result := "error"
	if r.Status != 0 {
		result = string('0'+rune(r.Status/100)) + "xx"
	}
	p.tel.RegistryRequest(string(r.Kind), result, r.Duration)
}
